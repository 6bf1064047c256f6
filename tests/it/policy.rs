//! Who may receive what, through real processes: a policy is checked, signed by two, handed in, and holds at once.

use std::fs;

use accord_protocol::id::RequestId;
use accord_tests::{Federation, Said, accord, officer::Officer};
use serde_json::{Value, json};

const IT: &str = "IT-AGENCY";
const ASKED: &str = "2021..2024";
const ROWS: &str = r#"[[grant]]
partner = ["@eu-members"]
table   = ["seizures-year-drug"]
finest  = { time = "quarter" }
newest  = "12 months"
purpose = ["strategic-analysis"]
until   = "2027-11-01"
"#;

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

// `accord policy ...` by the operator of Italy.
fn policy(federation: &Federation, arguments: &[&str]) -> Said {
    federation.operator(IT, &[&["policy"], arguments, &["--json"]].concat())
}

#[test]
fn a_policy_is_in_force_as_soon_as_it_is_handed_in() {
    let federation = Federation::new(&["ES-AGENCY", IT]);
    let nodes = federation.start_all();
    let officer = Officer::open(&federation.path().join("officer"));
    let first = officer.request(IT, ASKED);
    let back = officer.ask(&first);
    assert_eq!(back.word(), "answered");
    let (version, commit) = (back.head().policy_version, back.head().policy_commit);
    assert_eq!(version, 1);
    // Nobody receives what the policy denies, not by repeating what was answered once either; and it is no news that it was.
    federation.publish_policy(IT, "");
    let status = done(&federation.operator(IT, &["status", "--json"]));
    assert_eq!((&status["policy"]["version"], &status["policy"]["rows"]), (&json!(2), &json!(0)));
    let closed = officer.ask(&first);
    assert_eq!(closed.word(), "E_UNAVAILABLE");
    assert_eq!((closed.head().policy_version, closed.slice.len()), (2, 0));
    assert_ne!(closed.head().policy_commit, commit);
    let mut second = officer.request(IT, ASKED);
    assert_eq!(officer.ask(&second).word(), "E_UNAVAILABLE");
    // Permitted again: what was answered once is so again, byte by byte. What was refused stays refused: it was decided.
    federation.publish_policy(IT, &ROWS.replace("2027-11-01", "2028-11-01"));
    let again = officer.ask(&first);
    assert_eq!((&again.reply.answer, &again.slice), (&back.reply.answer, &back.slice));
    assert_eq!(officer.ask(&second).word(), "E_UNAVAILABLE");
    second.request_id = RequestId([9; 16]);
    let other = officer.ask(&second);
    assert_eq!((other.word(), other.head().policy_version), ("answered", 3));
    // Nobody is accused because of it.
    let contradictions = || done(&federation.operator("ES-AGENCY", &["status", "--json"]))["contradictions"].clone();
    assert_eq!(contradictions(), json!([]));
    // After a restart the same.
    drop(nodes);
    let _nodes = federation.start_all();
    assert_eq!(officer.ask(&first).word(), "answered");
}

#[test]
fn who_writes_a_policy_sees_what_it_does_before_it_counts() {
    let federation = Federation::new(&["ES-AGENCY", IT, "PT-AGENCY"]);
    let path = federation.path();
    fs::write(path.join("rows.toml"), ROWS).unwrap();
    let checked = done(&policy(&federation, &["check", "rows.toml"]));
    assert_eq!((&checked["rows"], &checked["reaches"]), (&json!(1), &json!(["ES-AGENCY", "PT-AGENCY"])));
    let diff = done(&policy(&federation, &["diff", "rows.toml"]));
    let changes = diff["changes"].as_array().unwrap();
    assert!(changes.iter().all(|of| of["member"] != IT), "own officers may always ask");
    assert!(changes.iter().any(|of| of["member"] == "PT-AGENCY" && of["before"][0]["answer"] == "denied"));
    let who = done(&policy(&federation, &["who-can", "seizures-year-drug"]));
    assert!(who["who"].as_array().unwrap().iter().all(|of| of["member"] == "ES-AGENCY"), "{who}");
    let explain = |more: &[&str]| {
        let arguments = ["explain", "seizures-year-drug", "--asker", "PT-AGENCY", "--period", "2024"];
        done(&policy(&federation, &[&arguments, more].concat()))
    };
    let denied = explain(&[]);
    assert_eq!((&denied["decision"], &denied["discoverable"]), (&json!("denied"), &json!(false)));
    assert_eq!(denied["rows"][0]["lacks"], json!(["it does not name PT-AGENCY"]));
    let rows = ["--rows", "rows.toml"];
    assert_eq!(explain(&rows)["decision"], "at-once");
    let fine = explain(&[rows.as_slice(), &["--by", "time=month", "--purpose", "test"]].concat());
    assert_eq!(fine["rows"][0]["lacks"], json!(["it is not for test", "its finest time is quarter"]));
    // Expectations that are kept beside the rows.
    let case = |asker: &str, expect: &str| {
        format!(
            "[[case]]\nasker = \"{asker}\"\ntable = \"seizures-year-drug\"\nperiod = \"2024\"\npurpose = \"strategic-analysis\"\nat = \"2026-12-01\"\nexpect = \"{expect}\"\n"
        )
    };
    fs::write(path.join("cases.toml"), [case("ES-AGENCY", "at-once"), case("PT-AGENCY", "denied")].concat()).unwrap();
    assert_eq!(done(&policy(&federation, &["test", "cases.toml"]))["cases"], 2);
    let failed = policy(&federation, &["test", "cases.toml", "--rows", "rows.toml"]);
    assert_eq!((failed.code, &failed.json()["result"]["failed"][0]["case"]), (3, &json!(2)));
    // The Cedar that decides, the schema, and what is ready to use.
    let cedar = done(&policy(&federation, &["show", "--cedar-text", "--rows", "rows.toml"]));
    assert!(cedar["cedar"].as_str().unwrap().contains("principal in [Accord::Group::\"eu-members\"]"), "{cedar}");
    assert!(done(&policy(&federation, &["show", "--schema"]))["schema"].as_str().unwrap().contains("action discover"));
    for ready in ["closed", "eu-strategic-exchange", "partner-yearly-totals"] {
        done(&policy(&federation, &["show", "--ready", ready]));
        done(&policy(&federation, &["check", ready]));
    }
}

#[test]
fn a_policy_with_a_mistake_changes_nothing() {
    let federation = Federation::new(&["ES-AGENCY", IT]);
    let path = federation.path();
    let refused = |said: &Said| {
        let error = said.json()["error"].clone();
        let place = &error["where"];
        (said.code, error["code"].as_str().unwrap_or("").to_owned(), place["line"].as_u64(), place["column"].clone())
    };
    let place = |line: u64, column: &str| (3, "POLICY".to_owned(), Some(line), json!(column));
    for (from, to, at) in [
        ("seizures-year-drug", "seizures", place(3, "12")),
        ("@eu-members", "FR-AGENCY", place(2, "12")),
        ("until ", "untill ", place(7, "1")),
    ] {
        fs::write(path.join("bad.toml"), ROWS.replace(from, to)).unwrap();
        assert_eq!(refused(&policy(&federation, &["check", "bad.toml"])), at, "{to}");
        assert_eq!(refused(&policy(&federation, &["diff", "bad.toml"])), at, "{to}");
    }
    fs::write(path.join("rows.toml"), ROWS).unwrap();
    fs::write(path.join("more.cedar"), "permit (principal,\n  action, resource) when { context.purpose == 7 };")
        .unwrap();
    let said = policy(&federation, &["check", "rows.toml", "--cedar", "more.cedar"]);
    assert_eq!((said.code, said.json()["error"]["where"]["line"].as_u64()), (3, Some(2)), "{}", said.stdout);
    for arguments in [
        ["check", "nowhere.toml"].as_slice(),
        &["show", "--ready", "open"],
        &["who-can", "seizures"],
        &["explain", "seizures-year-drug", "--asker", "FR-AGENCY", "--period", "2024"],
        &["explain", "seizures-year-drug", "--asker", "ES-AGENCY", "--period", "2024..2020"],
        &["explain", "seizures-year-drug", "--asker", "ES-AGENCY", "--period", "2024", "--by", "colour=red"],
        &["explain", "seizures-year-drug", "--asker", "ES-AGENCY", "--period", "2024", "--purpose", "curiosity"],
    ] {
        assert_eq!(policy(&federation, arguments).code, 2, "{arguments:?}");
    }
    // The node takes a policy as a whole or not at all, whoever signed it: this one was signed for a roster that had France.
    let _nodes = federation.start_all();
    let one_ring = ["--ring", "IT-AGENCY/admin-1/admin.ring", "--yes"];
    let apply_to = |held: &str, rows: &str, out: &str| {
        let with = ["--with", held, "--federation", &federation.id, "--member", IT, "--json"];
        let arguments = [["policy", "apply", rows].as_slice(), &with, &one_ring, &["--out", out]].concat();
        done(&accord(&path, &arguments))["complete"].clone()
    };
    let apply = |rows: &str, out: &str| apply_to("public/federation.accord,IT-AGENCY/policy.accord", rows, out);
    let forget = || fs::remove_file(path.join("IT-AGENCY/admin-1/admin.signed")).unwrap();
    // One administrator is not enough to permit anything, nor for a first policy, and enough to close the one in force.
    forget();
    assert_eq!(apply_to("public/federation.accord", "closed", "first.accord"), false);
    forget();
    assert_eq!(apply("rows.toml", "one.accord"), false);
    let said = federation.publish(IT, &["one.accord"]);
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    let version = || done(&federation.operator(IT, &["status", "--json"]))["policy"]["version"].clone();
    assert_eq!(version(), 1);
    forget();
    assert_eq!(apply("closed", "closed.accord"), true);
    assert_eq!(federation.publish(IT, &["closed.accord"]).code, 0);
    assert_eq!(version(), 2);
    // The one before does not come back.
    let said = federation.publish(IT, &["IT-AGENCY/policy.accord"]);
    assert_eq!((said.json()["result"]["new"].clone(), version()), (json!([]), json!(2)), "{}", said.stdout);
    // Another member's is not for this node.
    let said = federation.publish("ES-AGENCY", &["IT-AGENCY/policy.accord"]);
    assert_eq!(said.code, 3, "{}{}", said.stdout, said.stderr);
}
