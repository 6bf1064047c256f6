//! Requests that a person decides, through real processes and from both sides: held, approved, rejected, taken back, expired.

use std::{thread::sleep, time::Duration};

use accord_edge::clock::Stopwatch;
use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    held::{Collect, HeldState, List, Recall, Status},
    id::Hash,
    key::Signature,
    message::{MessageKind, SignedBytes},
    signed::{Label, Preamble},
    time::UnixMs,
};
use accord_tests::{Federation, Said, member::Member, officer::Officer};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const PT: &str = "PT-AGENCY";
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
    let watch = Stopwatch::start();
    loop {
        let shown = done(&officer(federation, &["requests", "show", id]));
        let state = shown["state"].as_str().unwrap();
        if state != before {
            return state.to_owned();
        }
        assert!(watch.ms() < 20_000, "still {before} after 20 s\n{}", federation.logs());
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
    let explained = done(&federation.operator(IT, &["policy", "explain", &id[..8], "--json"]));
    assert_eq!((&explained["decision"], &explained["rows"][0]["lacks"]), (&json!("after-approval"), &json!([])));
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
    let watch = Stopwatch::start();
    while done(&officer(&federation, &["requests", "show", &id]))["state_seq"] != 2 {
        assert!(watch.ms() < 20_000);
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

#[test]
fn two_approvers_at_once_let_one_answer_leave() {
    let federation = staged("after-two-approvals");
    let _nodes = federation.start_all();
    for name in ["giulia", "marco"] {
        federation.hire(IT, name, "approver");
    }
    let both = |id: &str| {
        let say = |name: &'static str| approver(&federation, name, &["approve", id, "--yes"]);
        std::thread::scope(|scope| {
            let all = ["giulia", "marco"].map(|name| scope.spawn(move || say(name)));
            all.map(|said| said.join().unwrap())
        })
    };
    let words = |all: [Said; 2]| {
        let word = |said: &Said| {
            let json = said.json();
            json["result"]["state"].as_str().or(json["error"]["code"].as_str()).unwrap().to_owned()
        };
        let mut words: Vec<String> = all.iter().map(word).collect();
        words.sort();
        words
    };
    // Both are needed: the one that comes second lets it leave.
    for _ in 0..4 {
        let id = ask_and_wait(&federation);
        assert_eq!(words(both(&id)), ["answered", "held"]);
        assert_eq!(state_after(&federation, &id, "held"), "answered");
    }
    // One is enough: the other one is told that it is over.
    federation.publish_policy(IT, &rows("after-approval"));
    for _ in 0..4 {
        let id = ask_and_wait(&federation);
        let said = words(both(&id));
        assert!(["NOTHING", "OVER"].contains(&said[0].as_str()) && said[1] == "answered", "{said:?}");
        assert_eq!(state_after(&federation, &id, "held"), "answered");
    }
}

#[test]
fn two_people_say_yes_to_the_same_and_what_has_changed_since_does_not_count() {
    let federation = staged("after-two-approvals");
    let _nodes = federation.start_all();
    federation.hire(IT, "giulia", "approver");
    federation.hire(IT, "marco", "approver");
    let id = ask_and_wait(&federation);
    let first = done(&approver(&federation, "giulia", &["approve", &id, "--yes"]));
    assert_eq!((&first["state"], &first["approvals"]), (&json!("held"), &json!(1)));
    refused(&approver(&federation, "giulia", &["approve", &id, "--yes"]), "TWICE");

    // Another policy in between: the first yes was to what the one before permitted.
    federation.publish_policy(IT, &rows("after-two-approvals").replace("2027-11-01", "2028-11-01"));
    let seen = done(&approver(&federation, "marco", &["show", &id]))["would_leave"].clone();
    assert_eq!((&seen["approvals"], &seen["voided"], &seen["needed"]), (&json!(0), &json!(1), &json!(2)));
    assert_eq!(done(&approver(&federation, "marco", &["approve", &id, "--yes"]))["state"], "held");
    assert_eq!(done(&approver(&federation, "giulia", &["approve", &id, "--yes"]))["state"], "answered");
    assert_eq!(state_after(&federation, &id, "held"), "answered");

    // What was decided is not repeated to whom the policy in force denies it, and stands at whoever has it.
    federation.publish_policy(IT, "");
    let shown = done(&officer(&federation, &["requests", "show", &id]));
    assert_eq!(shown["state"], "answered");
    let next = officer(&federation, &ASK);
    assert_eq!(next.json()["result"]["partners"][0]["refusal"]["code"], "E_UNAVAILABLE");
    // Nobody can say yes to what the policy denies now.
    federation.publish_policy(IT, &rows("after-approval"));
    let denied = ask_and_wait(&federation);
    federation.publish_policy(IT, "");
    refused(&approver(&federation, "giulia", &["approve", &denied, "--yes"]), "NOTHING");
    let text = federation.as_colleague("giulia", &["inbox", "show", &denied]).stdout;
    assert!(text.contains("nothing can leave now"), "{text}");
    done(&approver(&federation, "giulia", &["reject", &denied, "--reason", "authority"]));
    assert_eq!(state_after(&federation, &denied, "held"), "refused");
}

#[test]
fn a_yes_in_advance_lets_through_what_it_names_until_it_ends() {
    let federation = staged("after-approval");
    let _nodes = federation.start_all();
    federation.hire(IT, "giulia", "approver");
    let standing = |arguments: &[&str]| {
        let to = ["--partner", ES, "--table", "seizures-year-drug", "--purpose", "strategic-analysis"];
        approver(&federation, "giulia", &[&["standing"], arguments, &to].concat())
    };
    let unknown = approver(
        &federation,
        "giulia",
        &[
            "standing",
            "grant",
            "--partner",
            "XX-AGENCY",
            "--table",
            "seizures-year-drug",
            "--purpose",
            "test",
            "--until",
            "2027-01-01",
        ],
    );
    assert_eq!((unknown.code, &unknown.json()["error"]["code"]), (2, &json!("UNKNOWN-MEMBER")));
    let too_long = standing(&["grant", "--until", "2030-01-01"]);
    assert_eq!((too_long.code, &too_long.json()["error"]["code"]), (2, &json!("UNTIL")));
    let granted = done(&standing(&["grant", "--until", "2027-06-30"]));
    assert_eq!(granted["standing"][0]["partner"], ES);
    done(&officer(&federation, &ASK));
    // For what it does not name a person decides as before.
    let finer = [ASK.as_slice(), &["--by", "time=quarter"]].concat();
    let finer: Vec<&str> =
        finer.iter().map(|word| if *word == "2021..2024" { "2021-Q1..2024-Q4" } else { word }).collect();
    done(&officer(&federation, &finer));
    assert_eq!(done(&standing(&["end"]))["standing"], json!([]));
    ask_and_wait(&federation);
    // Without the wish to wait there is no point in holding it.
    let at_once = officer(&federation, &[ASK.as_slice(), &["--wait", "0"]].concat());
    assert_eq!(at_once.json()["result"]["partners"][0]["refusal"]["code"], "E_UNAVAILABLE");
}

// Neither side loses a request, or answers it twice, whoever is killed when.
#[test]
fn whoever_is_killed_in_between_nothing_is_lost() {
    let federation = staged("after-approval");
    let mut nodes = federation.start_all();
    let id = ask_and_wait(&federation);
    // Nobody there may decide, which its operator is told.
    let status = federation.operator(IT, &["status", "--json"]);
    assert_eq!((status.code, &status.json()["warnings"][0]["code"]), (1, &json!("NO-APPROVER")));
    federation.hire(IT, "giulia", "approver");

    // The provider, while it waits.
    nodes.pop().unwrap().kill();
    let shown = done(&officer(&federation, &["requests", "show", &id]));
    assert_eq!(shown["state"], "held");
    let provider = federation.start_settled(IT);
    assert_eq!(done(&approver(&federation, "giulia", &["list"]))["requests"][0]["request_id"], json!(id));

    // The asker, before the decision; the provider again, after it.
    nodes.pop().unwrap().kill();
    assert_eq!(done(&approver(&federation, "giulia", &["approve", &id, "--yes"]))["state"], "answered");
    provider.kill();
    let _provider = federation.start_settled(IT);
    refused(&approver(&federation, "giulia", &["approve", &id, "--yes"]), "NOTHING");
    let asker = federation.start_settled(ES);
    assert_eq!(state_after(&federation, &id, "held"), "answered");
    asker.kill();
    let _asker = federation.start_settled(ES);
    assert_eq!(done(&officer(&federation, &["requests", "show", &id]))["state"], "answered");
    done(&officer(&federation, &["history", "collect"]));
    let name = last_answer(&federation);
    assert_eq!(done(&officer(&federation, &["history", "verify", &name]))["verified"], true);
    let watch = Stopwatch::start();
    while done(&approver(&federation, "giulia", &["list", "--all"]))["requests"][0]["receipt"] != true {
        assert!(watch.ms() < 60_000, "no receipt");
        sleep(Duration::from_millis(200));
    }
    let status = done(&federation.operator(ES, &["status", "--json"]));
    assert_eq!((&status["contradictions"], &status["requests"]["waiting"]), (&json!([]), &json!(0)));
}

#[test]
fn time_that_is_over_is_said_and_whoever_watches_is_told() {
    let federation = staged("after-approval");
    let script = federation.path().join("tell.sh");
    let told = federation.path().join("told");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display())).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    federation.edit(
        &format!("{IT}/node/node.toml"),
        "notify = []",
        &format!("notify = [\"{}\", \"accord\"]", script.display()),
    );
    let _nodes = federation.start_all();
    federation.hire(IT, "giulia", "approver");
    let (there, here) = std::thread::scope(|scope| {
        let there =
            scope.spawn(|| federation.as_colleague("giulia", &["watch", "--events", "2", "--seconds", "30", "--json"]));
        let here = scope.spawn(|| federation.officer(&["watch", "--events", "2", "--seconds", "30", "--json"]));
        sleep(Duration::from_millis(700));
        let officer = Officer::open(&federation.path().join("officer"));
        let mut body = officer.request(IT, "2021..2024");
        body.wanted_until = body.issued_at.plus(3_000);
        let back = officer.ask(&body);
        let said = back.reply.answer.unwrap();
        let status = decode::<Status>(said.payload.as_slice(), Cap::Small).unwrap();
        assert_eq!((status.state, status.request_id), (HeldState::Held, body.request_id));
        // The very same once more is the very same.
        assert_eq!(officer.ask(&body).reply.answer, Some(said));
        let id = body.request_id.to_string();
        assert_eq!(state_after(&federation, &id, "held"), "expired");
        refused(&approver(&federation, "giulia", &["approve", &id, "--yes"]), "NOTHING");
        (there.join().unwrap(), here.join().unwrap())
    });
    for (said, what) in [(there, "inbox"), (here, "request")] {
        let events = done(&said)["events"].clone();
        let states: Vec<&str> =
            events.as_array().unwrap().iter().map(|event| event["state"].as_str().unwrap()).collect();
        assert_eq!((events[0]["what"].as_str().unwrap(), states), (what, vec!["held", "expired"]));
    }
    let watch = Stopwatch::start();
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    while lines().lines().count() < 2 {
        assert!(watch.ms() < 20_000, "{}", lines());
        sleep(Duration::from_millis(100));
    }
    assert!(lines().starts_with("accord inbox held "), "{}", lines());
}

// What passes about held requests is for the two members and the officer alone.
#[test]
fn others_neither_collect_nor_take_back_nor_confirm() {
    let federation = Federation::new(&[ES, IT, PT]);
    federation.install_policy(IT, &rows("after-approval"));
    let _nodes: Vec<_> = [ES, IT].iter().map(|member| federation.start(member)).collect();
    federation.hire(IT, "giulia", "approver");
    let id = ask_and_wait(&federation);
    let shown = done(&officer(&federation, &["requests", "show", &id]));
    let body_hash: Hash = shown["body_hash"].as_str().unwrap().parse().unwrap();
    // Portugal's node does not run: its keys are used here.
    let stranger = Member::open(&federation.path(), PT, IT);
    let collect = |body_hash| encode(&Collect { body_hash }).unwrap();
    let (list, size) = stranger.hear(MessageKind::Collect, collect(Hash::ZERO)).unwrap();
    assert_eq!(decode::<List>(&list, Cap::Head).unwrap().as_slice(), []);
    let own = Member::open(&federation.path(), ES, IT);
    let (list, same_size) = own.hear(MessageKind::Collect, collect(Hash::ZERO)).unwrap();
    assert_eq!(decode::<List>(&list, Cap::Head).unwrap().as_slice().len(), 1);
    assert_eq!(size, same_size, "how many wait cannot be seen from outside");
    // Somebody else's request is as unknown as one that does not exist.
    let word = |hash| stranger.exchange(MessageKind::Collect, |_| collect(hash)).unwrap();
    assert_eq!((word(body_hash), word(body_hash)), (word(Hash([7; 32])), (16 << 10, "E_UNAVAILABLE")));
    // A withdrawal that its officer did not sign, and one that another member hands on.
    let officer_key = Officer::open(&federation.path().join("officer"));
    let recall = |signer: &dyn Fn(&[u8]) -> Signature| {
        let recall = Recall { preamble: Preamble, body_hash, request_id: id.parse().unwrap(), at: UnixMs(1) };
        let payload = encode(&recall).unwrap();
        let signature = signer(&payload);
        encode(&SignedBytes { payload: Bounded::new(payload).unwrap(), signature }).unwrap()
    };
    let forged = recall(&|_| Signature([1; 64]));
    let signed = recall(&|payload| officer_key.sign_as(Label::Withdraw, payload));
    for (member, message) in [(&own, &forged), (&stranger, &signed)] {
        assert_eq!(member.hear(MessageKind::Recall, message.clone()).unwrap().0, Vec::<u8>::new());
    }
    // A receipt for what is not decided, and garbage.
    assert_eq!(own.hear(MessageKind::Receipt, forged).unwrap().0, [0]);
    assert_eq!(own.exchange(MessageKind::Collect, |_| vec![1, 2, 3]), Some((0, "refused as no request")));
    assert!(stranger.hear(MessageKind::Nudge, Vec::new()).is_some());
    assert_eq!(done(&approver(&federation, "giulia", &["list"]))["requests"][0]["state"], "held");
    // Its own officer's word, handed on by its own node, is enough.
    let (said, _) = own.hear(MessageKind::Recall, signed).unwrap();
    let said: SignedBytes = decode(&said, Cap::Head).unwrap();
    assert_eq!(decode::<Status>(said.payload.as_slice(), Cap::Small).unwrap().state, HeldState::Withdrawn);
}

#[test]
fn an_officer_sees_beforehand_what_may_be_asked() {
    let federation = staged("after-approval");
    let mut nodes = federation.start_all();
    let look = |more: &[&str]| officer(&federation, &[&["tables", "--from", IT], more].concat());
    let seen = done(&look(&[]));
    let names: Vec<&str> =
        seen["tables"].as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect();
    assert_eq!(names, ["seizures-year-drug"], "nothing else is shown, and nothing says whether there is more");
    let ask = &seen["tables"][0]["may_ask"][0];
    assert_eq!((&ask["purpose"], &ask["answer"]), (&json!("strategic-analysis"), &json!("after-approval")));
    let levels: Vec<&str> = ask["levels"].as_array().unwrap().iter().map(|levels| levels.as_str().unwrap()).collect();
    assert!(
        levels.contains(&"time=quarter,drug=group") && !levels.iter().any(|levels| levels.contains("month")),
        "{levels:?}"
    );
    let view = &seen["view"];
    assert_eq!(
        (&view["edition"]["number"], &view["rules"]["k"], &view["changed"]),
        (&json!(1), &json!(5), &json!(false))
    );
    assert!(view["coverage"].as_array().unwrap().iter().all(|row| row["kind"] == "seizure"), "{view}");
    let text = federation.officer(&["tables", "seizures-year-drug", "--from", IT]).stdout;
    assert!(text.contains("--by time=quarter,drug=group") && text.contains("after-approval"), "{text}");
    let unknown = look(&["seizures-jear-drug"]);
    assert_eq!((unknown.code, &unknown.json()["error"]["code"]), (2, &json!("UNKNOWN-TABLE")));
    let own = officer(&federation, &["tables", "--from", ES]);
    assert_eq!((own.code, &own.json()["error"]["code"]), (2, &json!("OWN-MEMBER")));

    // A question names the view; when that has changed it is looked at again, and the officer is told.
    ask_and_wait(&federation);
    federation.publish_policy(IT, &rows("at-once"));
    let said = officer(&federation, &ASK);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let codes: Vec<Value> =
        said.json()["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].clone()).collect();
    assert!(codes.contains(&json!("VIEW-CHANGED")), "{codes:?}");
    assert!(!officer(&federation, &ASK).stdout.contains("VIEW-CHANGED"), "once is enough");

    // Whoever is shown nothing sees no edition either; whoever cannot be reached shows nothing new, and what was seen stays.
    federation.publish_policy(IT, "");
    let nothing = done(&look(&[]));
    assert_eq!(
        (&nothing["tables"], &nothing["view"]["edition"], &nothing["view"]["changed"]),
        (&json!([]), &Value::Null, &json!(true))
    );
    nodes.pop().unwrap().kill();
    let gone = look(&[]);
    assert_eq!((gone.code, &gone.json()["error"]["code"]), (4, &json!("NO-VIEW")));
}

#[test]
fn a_withdrawal_that_comes_after_the_decision_brings_the_decision() {
    let federation = staged("after-approval");
    let mut nodes = federation.start_all();
    federation.hire(IT, "giulia", "approver");
    let id = ask_and_wait(&federation);
    // It cannot be delivered while the provider is down; when it is back, somebody there is faster.
    nodes.pop().unwrap().kill();
    done(&officer(&federation, &["requests", "withdraw", &id, "--yes"]));
    assert_eq!(done(&officer(&federation, &["requests", "show", &id]))["withdrawing"], true);
    let _provider = federation.start_settled(IT);
    done(&approver(&federation, "giulia", &["approve", &id, "--yes"]));
    assert_eq!(state_after(&federation, &id, "held"), "answered");
    let news = done(&officer(&federation, &["history", "collect"]))["answers"][0]["news"].clone();
    assert_eq!(news, json!(["IT-AGENCY has answered"]));
}
