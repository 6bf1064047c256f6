//! What a person types wrong, and what the tool says: code, what is wrong, what to do next.

use std::fmt::Write;

use accord_tests::{Federation, accord, accord_node};

fn transcript(said: &accord_tests::Said, arguments: &[&str]) -> String {
    let mut text = format!("$ accord {}\n", arguments.join(" "));
    for line in said.stderr.lines().filter(|line| !line.trim().is_empty()) {
        writeln!(text, "{line}").unwrap();
    }
    writeln!(text, "=> {}", said.code).unwrap();
    text
}

#[test]
fn mistakes_of_an_officer_are_named_with_what_to_do_next() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let mut text = String::new();
    let ask = ["ask", "seizures-year-drug"];
    let long = |rest: &[&'static str]| [ask.as_slice(), rest].concat();
    for arguments in [
        vec!["ask", "seizures-year-drugs"],
        long(&["--from", "IT-AGENCI"]),
        long(&["--from", "IT-AGENCY,IT-AGENCY"]),
        long(&["--period", "2014-01"]),
        long(&["--period", "2016..2011"]),
        long(&["--by", "time=month"]),
        long(&["--by", "drug=powder"]),
        long(&["--by", "colour=red"]),
        long(&["--by", "drug"]),
        long(&["--by", "drug=group,drug=all"]),
        long(&["--by", "time=month,drug=all", "--period", "2014-01"]),
        long(&["--where", "drug=COK"]),
        long(&["--where", "place=seaport"]),
        long(&["--measure", "kilos"]),
        long(&["--purpose", "curiosity"]),
        long(&["--purpose", "operational-support"]),
        long(&["--legal-basis", "none"]),
        long(&["--csv", "missing/out.csv"]),
        long(&["--evidence", "evidence.json"]),
    ] {
        let said = federation.officer(&arguments);
        assert_eq!(said.stdout, "", "{arguments:?}");
        text += &transcript(&said, &arguments);
        let json = federation.officer(&[arguments.as_slice(), &["--json"]].concat());
        assert_eq!(json.code, said.code);
        assert!(json.json()["error"]["next"].is_string());
    }
    expect_test::expect_file!["golden/officer_mistakes.txt"].assert_eq(&text);
}

#[test]
fn a_tool_without_profile_node_or_sense_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (arguments, code, words) in [
        (vec!["--profile", "nowhere", "status"], 2, "name a profile with --profile DIR"),
        (vec!["evidence", "verify", "nothing.json", "--federation", "00"], 2, "64 hex digits"),
        (vec!["import", "-", "--profile", "nowhere"], 2, "standard input is not imported"),
        (vec!["policy", "check", "closed"], 2, "accord --profile DIR policy check FILE"),
        (vec!["--profile", "nowhere", "policy", "check", "closed"], 2, "name a profile with --profile DIR"),
        (vec!["frobnicate"], 2, "unrecognized subcommand"),
        (vec!["ask", "t", "--periood", "2012"], 2, "--period"),
        (vec!["demo", "--members", "ES"], 2, "at least two members"),
        (vec!["demo", "--members", "ES,FR"], 2, "no sample"),
        (vec!["demo", "--refuse", "FR"], 2, "not in the demo"),
        (vec!["demo", "--data", "nowhere"], 2, "nowhere"),
        (vec!["demo", "--keep", "."], 2, "exists already"),
        (vec!["demo", "--period", "20x4"], 2, "--period"),
        (vec!["demo", "--records", "nowhere"], 2, "ES-AGENCY.csv is not there"),
        (vec!["root", "new", "a.ring", "--name", "x"], 2, "--unprotected"),
    ] {
        let said = accord(here, &arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{arguments:?}: {}", said.stderr);
        let json = accord(here, &[arguments.as_slice(), &["--json"]].concat());
        assert!(json.json()["error"]["message"].is_string(), "{arguments:?}: {}", json.stdout);
    }
    let said = accord_node(here, &["init", "n", "--member", "es", "--name", "x", "--listen", "127.0.0.1:0"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(!here.join("n").exists(), "nothing half done");
    assert_eq!(accord_node(here, &["init", "n", "--member", "ES-A", "--name", "x", "--listen", "127.0.0.1:0"]).code, 0);
    assert_eq!(accord_node(here, &["init", "n", "--member", "ES-A", "--name", "x", "--listen", "127.0.0.1:0"]).code, 2);
    let said = accord_node(here, &["run", "n", "--allow-root"]);
    assert_eq!(said.code, 3, "no trust documents yet: {}", said.stderr);
    assert!(said.stdout.is_empty(), "not ready");
    let said = accord(here, &["--profile", "n/operator", "--json", "tables", "seizure-year-drug"]);
    assert_ne!(said.code, 0);
}

#[test]
fn a_node_that_is_down_is_a_fault_and_a_wrong_role_is_refused() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let down = federation.operator("ES-AGENCY", &["status", "--json"]);
    assert_eq!((down.code, down.json()["error"]["code"].clone()), (4, "NODE-UNREACHABLE".into()));
    let node = federation.start("ES-AGENCY");
    std::fs::write(federation.path().join("x.csv"), "record_id\n").unwrap();
    let officer = federation.officer(&["import", "x.csv", "--json"]);
    assert_eq!((officer.code, officer.json()["error"]["code"].clone()), (3, "ROLE".into()));
    let operator = federation.operator("ES-AGENCY", &["ask", "seizures-year-drug", "--json"]);
    assert_eq!((operator.code, operator.json()["error"]["code"].clone()), (2, "CARD".into()));
    assert!(node.stop(), "SIGTERM ends a node in order");
}

#[test]
fn what_people_look_at_has_the_shape_of_the_contract() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let trust = federation.officer(&["trust", "--json"]);
    assert_eq!(trust.code, 0, "{}", trust.stdout);
    let trust = &trust.json()["result"];
    assert_eq!(trust["federation"]["id"], federation.id.as_str());
    assert_eq!(trust["root"]["threshold"], 2);
    assert_eq!(trust["roster"]["state"], "current");
    assert_eq!(trust["me"]["role"], "officer");
    assert_eq!(trust["members"][1]["member"], "IT-AGENCY");
    assert_eq!(trust["officers"][0]["state"], "active");
    for list in ["expires", "needs", "problems"] {
        assert!(trust[list].is_array(), "{list}");
    }
    let tables = federation.officer(&["tables", "--json"]).json();
    assert_eq!(tables["result"]["tables"].as_array().unwrap().len(), 11);
    let one = federation.officer(&["tables", "seizures-year-drug", "--json"]).json();
    assert_eq!(one["result"]["tables"][0]["dimensions"][1]["levels"][1]["codes"][0]["code"], "COC");
    let show = federation
        .operator("ES-AGENCY", &["edition", "show", "--table", "seizures-year-drug", "--cells", "--json"])
        .json();
    let show = &show["result"];
    assert_eq!(show["rules"]["p_percent"], 15.0);
    let table = &show["tables"][0];
    let states: u64 =
        ["value", "suppressed", "not_available"].iter().map(|state| table["states"][state].as_u64().unwrap()).sum();
    assert_eq!(table["cells"].as_u64().unwrap(), states);
    assert_eq!(show["cells"].as_array().unwrap().len() as u64, states);
    let preview = federation.operator("ES-AGENCY", &["edition", "preview", "--json"]).json();
    assert_eq!(
        preview["result"]["tables"],
        federation.operator("ES-AGENCY", &["edition", "show", "--json"]).json()["result"]["tables"]
    );
    let mappings = federation.operator("ES-AGENCY", &["mapping", "list", "--json"]).json();
    assert_eq!(mappings["result"]["mappings"][0]["name"], "unodc-ids");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("{} tables | head -1 >/dev/null", accord_tests::program("accord").display())])
        .output()
        .unwrap();
    assert!(status.stderr.is_empty(), "{}", String::from_utf8_lossy(&status.stderr));
}
