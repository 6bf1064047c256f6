//! Evidence of requests that a person decides: that one was held, answered, or not decided in time stands in the partner's log, too.

use accord_protocol::time::UnixMs;
use accord_tests::Federation;
use serde_json::{Value, json};

use crate::{
    hours::{DK, HOUR_S, Stage},
    load::{ES, IT},
};

const ROWS: &str = r#"[[grant]]
partner = ["ES-AGENCY"]
table   = ["seizures-year-drug"]
purpose = ["strategic-analysis"]
answer  = "after-approval"
until   = "2027-11-01"
"#;

fn officer(stage: &Stage, arguments: &[&str]) -> (i32, Value) {
    let said = stage.run("officer", arguments);
    (said.code, said.json())
}

// Asks, and keeps the evidence in a file of this name; the request's id, and the id of the answer that is kept.
fn ask(stage: &Stage, file: &str) -> (String, String) {
    let before = kept(stage);
    let ask = ["ask", "seizures-year-drug", "--from", IT, "--period", "2021..2024", "--wait", "1", "--evidence", file];
    let (code, said) = officer(stage, &ask);
    assert_eq!((code, &said["result"]["partners"][0]["status"]), (1, &json!("held")), "{said}");
    let id = said["result"]["partners"][0]["request_id"].as_str().unwrap().to_owned();
    // Those of one second are in no order.
    let new = kept(stage).into_iter().find(|answer| before.iter().all(|other| other["id"] != answer["id"]));
    (id, new.unwrap()["id"].as_str().unwrap().to_owned())
}

fn kept(stage: &Stage) -> Vec<Value> {
    officer(stage, &["history", "list"]).1["result"]["answers"].as_array().unwrap().clone()
}

// The evidence of an answer that is kept.
fn file_of(stage: &Stage, id: &str) -> String {
    let all = kept(stage);
    let answer = all.iter().find(|answer| answer["id"] == id).unwrap();
    answer["evidence"].as_str().unwrap().to_owned()
}

fn close(stage: &Stage) {
    let before = stage.clock.now();
    stage.operator(IT, &["audit", "close"]);
    // In whole seconds.
    stage.until("both others cosign", || stage.is_cosigned_since(IT, 2, UnixMs(before.0 - 1_000)));
}

// The one statement of a file after it was completed: what it is, and its number in the partner's log.
fn completed(stage: &Stage, file: &str) -> (String, u64) {
    let (code, said) = officer(stage, &["evidence", "complete", file]);
    let statement = &said["result"]["statements"][0];
    assert_eq!((code, &statement["standing"]), (0, &json!("complete")), "{said}");
    assert_eq!(statement["log"]["witnesses"], json!([DK, ES]), "{said}");
    let (code, said) = officer(stage, &["evidence", "verify", file, "--require", "witnessed"]);
    assert_eq!((code, &said["result"]["level"]), (0, &json!("witnessed")), "{said}");
    (statement["what"].as_str().unwrap().to_owned(), statement["log"]["entry"].as_u64().unwrap())
}

fn kind_of(stage: &Stage, entry: u64) -> String {
    let shown = stage.operator(IT, &["audit", "show", "--from", &entry.to_string(), "--limit", "1"]);
    shown["result"]["entries"][0]["kind"].as_str().unwrap().to_owned()
}

fn until_it_is(stage: &Stage, id: &str, word: &str) {
    stage.until(word, || officer(stage, &["requests", "show", id]).1["result"]["state"] == word);
}

#[test]
fn that_a_request_was_held_and_then_answered_or_expired_is_proved_by_the_partners_log() {
    let federation = Federation::new(&[ES, IT, DK]);
    federation.install_policy(IT, ROWS);
    let stage = Stage::of(federation);
    let _nodes: Vec<_> = [ES, IT, DK].iter().map(|member| stage.start(member)).collect();
    stage.federation.hire(IT, "giulia", "approver");
    let (first, kept_first) = ask(&stage, "held.json");
    let (second, kept_second) = ask(&stage, "second.json");
    // Not closed over it yet: it is only signed.
    let (code, early) = officer(&stage, &["evidence", "complete", "held.json"]);
    assert_eq!((code, &early["result"]["statements"][0]["standing"]), (1, &json!("not_yet")), "{early}");
    close(&stage);
    let (what, held) = completed(&stage, "held.json");
    assert_eq!((what.as_str(), kind_of(&stage, held).as_str()), ("held", "held"));
    let second_held = completed(&stage, &file_of(&stage, &kept_second));
    assert_eq!((second_held.0.as_str(), second_held.1 > held), ("held", true));

    // A person says yes: the answer has a proof of its own, and what was said before stays proved.
    let said = stage.run("giulia", &["inbox", "approve", &first, "--yes"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    until_it_is(&stage, &first, "answered");
    assert_eq!(officer(&stage, &["history", "collect"]).0, 0);
    let file = file_of(&stage, &kept_first);
    let (_, said) = officer(&stage, &["evidence", "verify", &file]);
    assert_eq!(said["result"]["statements"][0]["log"], Value::Null, "the proof that it was held is none of the answer");
    close(&stage);
    let (what, answered) = completed(&stage, &file);
    assert_eq!((what.as_str(), kind_of(&stage, answered).as_str()), ("answer", "answered"));
    assert!(answered > held);
    assert_eq!(completed(&stage, "held.json"), ("held".to_owned(), held));

    // Nobody says anything to the other one while it is wanted.
    stage.clock.go_on(25 * HOUR_S);
    until_it_is(&stage, &second, "expired");
    assert_eq!(officer(&stage, &["history", "collect"]).0, 0);
    close(&stage);
    let (what, expired) = completed(&stage, &file_of(&stage, &kept_second));
    assert_eq!((what.as_str(), kind_of(&stage, expired).as_str()), ("expired", "expired"));
}

#[test]
fn a_decision_of_which_nobody_says_for_a_day_that_it_arrived_is_in_the_log_once() {
    let federation = Federation::new(&[ES, IT, DK]);
    federation.install_policy(IT, ROWS);
    let stage = Stage::of(federation);
    let es = stage.start(ES);
    let it = stage.start(IT);
    stage.federation.hire(IT, "giulia", "approver");
    let [(first, _), (second, _)] = ["first.json", "second.json"].map(|file| ask(&stage, file));
    let approve = |id: &str| {
        let said = stage.run("giulia", &["inbox", "approve", id, "--yes"]);
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    };
    approve(&first);
    stage.until("a receipt", || stage.entries(IT, "receipt").len() == 1);
    assert!(es.stop());
    approve(&second);
    let missing = || stage.entries(IT, "no-receipt");

    stage.clock.go_on(23 * HOUR_S);
    // Whatever is due is done within a minute of the node's clock.
    stage.clock.go_on(120);
    stage.operator(IT, &["audit", "close"]);
    assert_eq!(missing(), [] as [Value; 0]);
    stage.clock.go_on(2 * HOUR_S);
    stage.until("the receipt is missed", || !missing().is_empty());
    let [entry] = missing().try_into().unwrap();
    assert_eq!(entry["detail"]["request_id"].as_str().unwrap()[..second.len()], second);
    assert_eq!((&entry["detail"]["requester"], &entry["detail"]["actor"]), (&json!(ES), &json!("node")));

    // Neither the next hour nor a start says it again.
    assert!(it.stop());
    let _it = stage.start(IT);
    stage.clock.go_on(HOUR_S);
    stage.operator(IT, &["audit", "close"]);
    let _es = stage.start(ES);
    stage.until("it comes after all", || {
        stage.clock.go_on(60);
        stage.entries(IT, "receipt").len() == 2
    });
    assert_eq!(missing().len(), 1);
}
