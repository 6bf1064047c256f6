//! Requests that a person decides, through real processes and from both sides: held, approved, rejected, taken back, expired.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use accord_tests::{Federation, Said};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const ASK: [&str; 6] = ["ask", "seizures-year-drug", "--from", IT, "--period", "2021..2024"];

fn rows(answer: &str) -> String {
    format!(
        r#"[[grant]]
partner = ["{ES}"]
table   = ["seizures-year-drug"]
finest  = {{ time = "quarter" }}
purpose = ["strategic-analysis"]
answer  = "{answer}"
until   = "2027-11-01"
"#
    )
}

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn refused(said: &Said, code: &str) {
    assert_eq!(said.json()["error"]["code"], code, "{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, 3);
}

// Italy answers after people have said yes; two of them may.
fn staged(answer: &str) -> Federation {
    let federation = Federation::new(&[ES, IT]);
    federation.install_policy(IT, &rows(answer));
    federation
}

fn officer(federation: &Federation, arguments: &[&str]) -> Said {
    federation.officer(&[arguments, &["--json"]].concat())
}

fn approver(federation: &Federation, name: &str, arguments: &[&str]) -> Said {
    federation.as_colleague(name, &[&["inbox"], arguments, &["--json"]].concat())
}

// Asks, and is told that a person has to decide; the request's id.
fn ask_and_wait(federation: &Federation) -> String {
    let said = officer(federation, &ASK);
    let answer = &said.json()["result"];
    assert_eq!((said.code, &answer["partners"][0]["status"]), (1, &json!("held")), "{}{}", said.stdout, said.stderr);
    assert_eq!(answer["pooled"][0]["values"]["seizures"]["missing"][0]["why"], "held");
    answer["partners"][0]["request_id"].as_str().unwrap().to_owned()
}

// How an own request stands, as soon as it is not as it was.
fn state_after(federation: &Federation, id: &str, before: &str) -> String {
    let start = Instant::now();
    loop {
        let shown = done(&officer(federation, &["requests", "show", id]));
        let state = shown["state"].as_str().unwrap();
        if state != before {
            return state.to_owned();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "still {before} after 20 s");
        sleep(Duration::from_millis(100));
    }
}

fn last_answer(federation: &Federation) -> String {
    let history = done(&officer(federation, &["history", "list"]));
    history["answers"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_person_approves_leaves_and_nothing_else() {
    let federation = staged("after-approval");
    let nodes = federation.start_all();
    federation.hire(IT, "giulia", "approver");
    let id = ask_and_wait(&federation);

    // Exactly what would leave, who asks and why.
    let inbox = done(&approver(&federation, "giulia", &["list"]));
    assert_eq!(inbox["requests"][0]["request_id"], json!(id));
    let seen = done(&approver(&federation, "giulia", &["show", &id[..8]]));
    assert_eq!((&seen["member"], &seen["purpose"]), (&json!(ES), &json!("strategic-analysis")));
    assert_eq!((&seen["would_leave"]["approvals"], &seen["would_leave"]["needed"]), (&json!(0), &json!(1)));
    // That officer has asked once before, when the federation was raised.
    assert_eq!(seen["received_before"].as_array().unwrap().len(), 1);
    assert_eq!(seen["received_before"][0]["table"], "seizures-year-drug");
    let text = federation.as_colleague("giulia", &["inbox", "show", &id]).stdout;
    for part in ["ES-AGENCY", "strategic-analysis", "would leave, of edition 1", "hidden", "has received"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // Nobody but an approver decides, and nobody signs unasked.
    refused(&federation.operator(IT, &["inbox", "approve", &id, "--yes", "--json"]), "ROLE");
    let unasked = approver(&federation, "giulia", &["approve", &id]);
    assert_eq!((unasked.code, &unasked.json()["error"]["code"]), (2, &json!("CONFIRM")));
    refused(&approver(&federation, "giulia", &["approve", &id, "--yes", "--slice", &"0".repeat(64)]), "CHANGED");

    // Somebody has seen it: the asker learns that, and no more.
    done(&approver(&federation, "giulia", &["hold", &id, "--note", "call Madrid first"]));
    let start = Instant::now();
    while done(&officer(&federation, &["requests", "show", &id]))["state_seq"] != 2 {
        assert!(start.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(100));
    }

    let slice = seen["would_leave"]["slice_hash"].as_str().unwrap();
    let approved = done(&approver(&federation, "giulia", &["approve", &id, "--yes", "--slice", slice]));
    assert_eq!((&approved["state"], &approved["waiting"]), (&json!("answered"), &json!(0)));
    assert_eq!(state_after(&federation, &id, "held"), "answered");
    refused(&approver(&federation, "giulia", &["reject", &id, "--reason", "scope"]), "OVER");

    // The answer that was kept is made anew with it, and its evidence verifies.
    let collected = done(&officer(&federation, &["history", "collect"]));
    assert_eq!(collected["answers"][0]["news"], json!(["IT-AGENCY has answered"]));
    let name = &last_answer(&federation);
    let shown = done(&officer(&federation, &["history", "show", name]));
    assert_eq!(shown["answer"]["partners"][0]["status"], "answered");
    assert_eq!(shown["answer"]["complete"], true);
    assert!(shown["answer"]["cells_with_value"].as_u64().unwrap() > 0);
    assert_eq!(done(&officer(&federation, &["history", "verify", name]))["verified"], true);
    assert_eq!(done(&officer(&federation, &["history", "collect"]))["answers"], json!([]));

    // It is known there that the answer arrived.
    let next = ask_and_wait(&federation);
    let all = done(&approver(&federation, "giulia", &["list", "--all"]));
    assert_eq!((&all["requests"][0]["state"], &all["requests"][0]["receipt"]), (&json!("answered"), &json!(true)));

    // No, with a reason that the asker learns.
    let unknown = approver(&federation, "giulia", &["reject", &next, "--reason", "scop"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stdout.contains("near: scope"), "{}", unknown.stdout);
    done(&approver(&federation, "giulia", &["reject", &next, "--reason", "scope"]));
    assert_eq!(state_after(&federation, &next, "held"), "refused");
    done(&officer(&federation, &["history", "collect"]));
    let name = last_answer(&federation);
    let partner = &done(&officer(&federation, &["history", "show", &name]))["answer"]["partners"][0];
    assert_eq!(partner["refusal"], json!({ "code": "E_REJECTED", "after_seconds": null, "reason": "scope" }));

    // Taken back: nobody can approve it any more.
    let third = ask_and_wait(&federation);
    done(&officer(&federation, &["requests", "withdraw", &third, "--yes"]));
    assert_eq!(state_after(&federation, &third, "held"), "withdrawn");
    refused(&approver(&federation, "giulia", &["approve", &third, "--yes"]), "NOTHING");
    assert_eq!(done(&approver(&federation, "giulia", &["list"]))["requests"], json!([]));
    drop(nodes);
}
