//! Lines of inquiry, through real processes: signed by two, kept by an officer, required by a partner, ended by one.

use accord_protocol::codec::{Bounded, encode};
use accord_tests::{Federation, Said, accord, member::Member, officer::Officer};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const PT: &str = "PT-AGENCY";
const ASK: [&str; 4] = ["ask", "seizures-year-drug", "--period", "2021..2024"];

fn rows(answer: &str, topic: &str) -> String {
    format!(
        r#"[[grant]]
partner = ["{ES}"]
table   = ["seizures-year-drug"]
finest  = {{ time = "quarter" }}
purpose = ["strategic-analysis"]
answer  = "{answer}"
topic   = "{topic}"
until   = "2027-11-01"
"#
    )
}

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn fails(said: &Said, exit: i32, code: &str) -> String {
    assert_eq!((said.code, &said.json()["error"]["code"]), (exit, &json!(code)), "{}{}", said.stdout, said.stderr);
    said.json()["error"].to_string()
}

fn officer(federation: &Federation, arguments: &[&str]) -> Said {
    federation.officer(&[arguments, &["--json"]].concat())
}

// Administrators of Spain work on a file.
fn administrators(federation: &Federation, arguments: &[&str], who: &[usize]) -> Said {
    let rings: Vec<String> = who.iter().map(|number| format!("{ES}/admin-{number}/admin.ring")).collect();
    let rings: Vec<&str> = rings.iter().flat_map(|ring| ["--ring", ring.as_str()]).collect();
    let place = ["--with", "public/federation.accord", "--federation", &federation.id, "--yes", "--json"];
    accord(&federation.path(), &[arguments, rings.as_slice(), &place].concat())
}

fn new_topic(federation: &Federation, name: &str, to: &str) {
    let new = ["topic", "new", name, "--title", "Cocaine in refrigerated containers", "--to", to, "--member", ES];
    assert_eq!(done(&administrators(federation, &new, &[1, 2]))["complete"], true);
}

fn statuses(said: &Said) -> Vec<String> {
    let result = said.json()["result"].clone();
    let partners = result["partners"].as_array().unwrap_or_else(|| panic!("{}{}", said.stdout, said.stderr)).iter();
    partners.map(|partner| partner["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_partner_that_requires_a_topic_answers_under_one_until_it_is_ended() {
    let federation = Federation::new(&[ES, IT, PT]);
    let _nodes = federation.start_all();
    federation.publish_policy(IT, &rows("at-once", "required"));

    // Without a topic it is refused, and what the partner shows says what is missing.
    let ask_italy = [ASK.as_slice(), &["--from", IT]].concat();
    let refused = fails(&officer(&federation, &ask_italy), 3, "E_UNAVAILABLE");
    assert!(refused.contains("liaison"), "{refused}");
    let shown = done(&officer(&federation, &["tables", "--from", IT]));
    assert_eq!(shown["tables"][0]["may_ask"][0]["topic"], true, "{shown}");
    assert!(federation.officer(&["tables", "--from", IT]).stdout.contains("strategic-analysis, with a topic"));
    let refused = fails(&officer(&federation, &ask_italy), 3, "E_UNAVAILABLE");
    assert!(refused.contains("under a topic of your agency"), "{refused}");
    let refused = fails(
        &officer(&federation, &[ask_italy.as_slice(), &["--purpose", "early-warning"]].concat()),
        3,
        "E_UNAVAILABLE",
    );
    assert!(refused.contains("for strategic-analysis alone"), "{refused}");

    // One administrator alone approves no line of inquiry.
    let new = [
        "topic",
        "new",
        "reefers",
        "--title",
        "Cocaine in refrigerated containers",
        "--to",
        "IT-AGENCY,PT-AGENCY",
        "--member",
        ES,
    ];
    assert_eq!(done(&administrators(&federation, &new, &[1]))["complete"], false);
    fails(&officer(&federation, &["topic", "add", "reefers.accord"]), 3, "TOPIC");
    assert_eq!(done(&administrators(&federation, &["federation", "sign", "reefers.accord"], &[2]))["complete"], true);
    // It is for officers, not for nodes.
    fails(&federation.operator(ES, &["federation", "publish", "reefers.accord", "--json"]), 2, "TOPIC");
    let kept = done(&officer(&federation, &["topic", "add", "reefers.accord"]));
    assert_eq!(kept, json!({ "name": "reefers", "partners": [IT, PT] }));
    fails(&officer(&federation, &["topic", "add", "reefers.accord"]), 2, "EXISTS");
    fails(&officer(&federation, &["topic", "add", "reefers.accord", "--name", "../x"]), 2, "NAME");
    fails(&officer(&federation, &["topic", "show", "reefer"]), 2, "TOPIC");

    // Both are asked under a topic of their own; each names the partner alone, and two hashes tell nothing of each other.
    let under = [ASK.as_slice(), &["--topic", "reefers"]].concat();
    let answer = officer(&federation, &[under.as_slice(), &["--evidence", "topics.json"]].concat());
    assert_eq!((answer.code, statuses(&answer)), (0, vec!["answered".to_owned(); 2]), "{}", answer.stdout);
    assert_eq!(answer.json()["result"]["topic"], "Cocaine in refrigerated containers");
    let listed = done(&officer(&federation, &["topic", "list"]));
    let topics = listed["topics"][0]["topics"].as_array().unwrap();
    assert_ne!(topics[0]["hash"], topics[1]["hash"]);
    let verified = done(&accord(
        &federation.path(),
        &["evidence", "verify", "topics.json", "--federation", &federation.id, "--json"],
    ));
    let told = |member: &str| json!({ "member": member, "title": "Cocaine in refrigerated containers" });
    assert_eq!(verified["topics"], json!([told(IT), told(PT)]));
    // The part of one partner names no other, and evidence without the topic that its request names is none.
    let extract =
        ["evidence", "extract", "topics.json", "--partner", IT, "--out", "part.json", "--federation", &federation.id];
    assert_eq!(accord(&federation.path(), &extract).code, 0);
    let part = std::fs::read_to_string(federation.path().join("part.json")).unwrap();
    let mut part: Value = serde_json::from_str(&part).unwrap();
    assert_eq!(part["exchanges"].as_array().unwrap().len(), 1);
    part["exchanges"][0].as_object_mut().unwrap().remove("topic");
    std::fs::write(federation.path().join("part.json"), part.to_string()).unwrap();
    let verify = ["evidence", "verify", "part.json", "--federation", &federation.id, "--json"];
    assert!(fails(&accord(&federation.path(), &verify), 3, "NOT-VERIFIED").contains("topic"));

    // What cannot be asked under it is said before anything is sent.
    fails(&officer(&federation, &[under.as_slice(), &["--purpose", "early-warning"]].concat()), 2, "TOPIC");
    fails(&officer(&federation, &[ASK.as_slice(), &["--topic", "nothing"]].concat()), 2, "TOPIC");
    new_topic(&federation, "italy-only", IT);
    done(&officer(&federation, &["topic", "add", "italy-only.accord"]));
    let wrong = fails(&officer(&federation, &[ASK.as_slice(), &["--topic", "italy-only"]].concat()), 2, "TOPIC");
    assert!(wrong.contains("none for PT-AGENCY"), "{wrong}");

    // One administrator ends it for Italy; it is refused there from then on, whatever the officer's tool says.
    let end = ["topic", "end", "reefers.accord", "--to", IT, "--reason", "closed", "--member", ES];
    assert_eq!(done(&administrators(&federation, &end, &[2]))["complete"], true);
    let document = federation.document("reefers.accord");
    let spain = Member::open(&federation.path(), ES, IT);
    let person = Officer::open(&federation.path().join("officer"));
    let hand_on = |topic: &[u8]| {
        let mut body = person.request(IT, "2021..2024");
        body.topic_hash = document.hash();
        let call = person.sign(&body);
        spain.hand_on(&call, |request| request.topic = Bounded::new(topic.to_vec()).unwrap()).map(|came| came.1)
    };
    let bytes = encode(&document).unwrap();
    assert_eq!(hand_on(&bytes), Some("answered"));
    assert_eq!(hand_on(&[]), Some("E_AUTH"), "named and not brought");
    // What is written is not replaced: it may not have been handed in.
    fails(&administrators(&federation, &end, &[2]), 2, "EXISTS");
    assert_eq!(federation.publish(ES, &["reefers-IT-AGENCY-end.accord"]).code, 0);
    super::trust::until(&federation, "Italy knows that it is ended", || hand_on(&bytes) == Some("E_AUTH"));
    let wrong = fails(&officer(&federation, &[ask_italy.as_slice(), &["--topic", "reefers"]].concat()), 2, "TOPIC");
    assert!(wrong.contains("ended"), "{wrong}");
    let portugal = officer(&federation, &[ASK.as_slice(), &["--from", PT, "--topic", "reefers"]].concat());
    assert_eq!(statuses(&portugal), ["answered"], "{}", portugal.stdout);
}

#[test]
fn a_person_sees_the_topic_and_what_is_ended_meanwhile_does_not_leave() {
    let federation = Federation::new(&[ES, IT]);
    let _nodes = federation.start_all();
    federation.publish_policy(IT, &rows("after-approval", "required"));
    federation.hire(IT, "giulia", "approver");
    new_topic(&federation, "reefers", IT);
    done(&officer(&federation, &["topic", "add", "reefers.accord"]));
    let under = [ASK.as_slice(), &["--from", IT, "--topic", "reefers"]].concat();
    let ask = || {
        let said = officer(&federation, &under);
        assert_eq!(statuses(&said), ["held"], "{}", said.stdout);
        said.json()["result"]["partners"][0]["request_id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (ask(), ask());
    let show = |id: &str| federation.as_colleague("giulia", &["inbox", "show", id]).stdout;
    assert!(show(&first).contains("under the topic “Cocaine in refrigerated containers”"), "{}", show(&first));
    let approve = |id: &str| federation.as_colleague("giulia", &["inbox", "approve", id, "--yes", "--json"]);
    assert_eq!(done(&approve(&first))["state"], "answered");

    let end = ["topic", "end", "reefers.accord", "--reason", "closed", "--member", ES];
    done(&administrators(&federation, &end, &[1]));
    assert_eq!(federation.publish(ES, &["reefers-end.accord"]).code, 0);
    super::trust::until(&federation, "Italy knows that it is ended", || {
        show(&second).contains("nothing can leave now")
    });
    fails(&approve(&second), 3, "NOTHING");

    // What came late has its topic in the evidence too.
    done(&officer(&federation, &["history", "collect"]));
    let history = done(&officer(&federation, &["history", "list"]));
    let waited = history["answers"].as_array().unwrap();
    let name = waited[waited.len() - 2]["id"].as_str().unwrap();
    let verified = done(&officer(&federation, &["history", "verify", name]));
    assert_eq!((&verified["verified"], &verified["topics"][0]["member"]), (&json!(true), &json!(IT)));
}
