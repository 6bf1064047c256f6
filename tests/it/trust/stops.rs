//! What an administrator stops stops at once, and two allow it again.

use accord_protocol::suspend::{Target, Way};
use accord_tests::Federation;
use serde_json::{Value, json};

use super::{ask, until};

/// One administrator stops, and the node's operator hands it in.
fn stop(federation: &Federation, member: &str, target: Target, subject: &str) {
    federation.suspend(member, (Way::Stops, target, subject), &[1], "stop.accord");
    let said = federation.publish(member, &["stop.accord"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
}

/// One administrator cannot lift it, two can.
fn lift(federation: &Federation, member: &str, target: Target, subject: &str) {
    let lifted = (Way::Lifts, target, subject);
    federation.suspend(member, lifted, &[2], "lift-alone.accord");
    assert_eq!(federation.publish(member, &["lift-alone.accord"]).code, 1, "one is not enough");
    federation.suspend(member, lifted, &[1, 2], "lift.accord");
    let said = federation.publish(member, &["lift.accord"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
}

fn status(federation: &Federation, member: &str) -> Value {
    federation.operator(member, &["status", "--json"]).json()
}

fn warnings(shown: &Value) -> Vec<&str> {
    shown["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

#[test]
fn a_suspended_partner_is_answered_nothing_and_asked_nothing_and_still_learns_what_all_learn() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
    let _nodes = federation.start_all();
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");

    stop(&federation, "IT-AGENCY", Target::Partner, "ES-AGENCY");
    let (word, json) = ask(&federation, "IT-AGENCY");
    assert_ne!(word, "answered", "{json}");
    assert_eq!(ask(&federation, "PT-AGENCY").0, "answered", "only there");
    let shown = status(&federation, "IT-AGENCY");
    let listed = &shown["result"]["suspensions"][0];
    assert_eq!((&listed["target"], &listed["subject"]), (&json!("partner"), &json!("ES-AGENCY")), "{shown}");
    let document = federation.document("stop.accord").hash().to_string();
    for member in ["ES-AGENCY", "PT-AGENCY"] {
        let file = format!("{member}/node/trust/suspend-{}.accord", &document[..16]);
        assert!(!federation.path().join(file).exists(), "it is nobody else's affair");
    }
    federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    assert_eq!(federation.publish("IT-AGENCY", &["roster-2.accord"]).code, 0);
    until(&federation, "ES-AGENCY has roster 2", || federation.roster_version("ES-AGENCY") == 2);
    lift(&federation, "IT-AGENCY", Target::Partner, "ES-AGENCY");
    until(&federation, "IT-AGENCY answers again", || ask(&federation, "IT-AGENCY").0 == "answered");

    stop(&federation, "ES-AGENCY", Target::Partner, "IT-AGENCY");
    let (word, json) = ask(&federation, "IT-AGENCY");
    assert_eq!(word, "unreachable", "{json}");
    assert!(json.to_string().contains("suspended the exchange with IT-AGENCY"), "{json}");
    lift(&federation, "ES-AGENCY", Target::Partner, "IT-AGENCY");
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
}

#[test]
fn a_suspended_table_answers_nobody_not_even_own_officers() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    let other = |partner: &str| {
        let table = "seizures-year-drug-weight";
        let said = federation.officer(&["ask", table, "--from", partner, "--period", "2024", "--json"]);
        said.json()["result"]["partners"][0]["status"].as_str().unwrap_or("").to_owned()
    };
    for member in ["ES-AGENCY", "IT-AGENCY"] {
        assert_eq!((ask(&federation, member).0.as_str(), other(member).as_str()), ("answered", "answered"));
        stop(&federation, member, Target::Table, "seizures-year-drug");
        let (word, json) = ask(&federation, member);
        assert_eq!(word, "refused", "{json}");
        assert!(json.to_string().contains("E_UNAVAILABLE"), "{json}");
        assert_eq!(other(member), "answered", "other tables go on");
        lift(&federation, member, Target::Table, "seizures-year-drug");
        assert_eq!(ask(&federation, member).0, "answered");
    }
}

#[test]
fn an_isolated_node_answers_and_asks_nobody_and_its_operators_still_work() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let mut nodes = federation.start_all();
    stop(&federation, "IT-AGENCY", Target::Node, "IT-AGENCY");
    let (word, json) = ask(&federation, "IT-AGENCY");
    assert_ne!(word, "answered", "{json}");
    let shown = status(&federation, "IT-AGENCY");
    assert_eq!(shown["result"]["isolated"], true, "{shown}");
    assert_eq!(warnings(&shown)[0], "ISOLATED", "{shown}");
    lift(&federation, "IT-AGENCY", Target::Node, "IT-AGENCY");
    until(&federation, "IT-AGENCY answers again", || ask(&federation, "IT-AGENCY").0 == "answered");

    stop(&federation, "ES-AGENCY", Target::Node, "ES-AGENCY");
    for partner in ["ES-AGENCY", "IT-AGENCY"] {
        let (word, json) = ask(&federation, partner);
        assert_eq!(word, "unreachable", "{json}");
        assert!(json.to_string().contains("isolated by one of its administrators"), "{json}");
    }
    let previewed = federation.operator("ES-AGENCY", &["edition", "list", "--json"]);
    assert_eq!(previewed.code, 0, "{}", previewed.stdout);
    // Documents go on in both directions, and it stays isolated over a restart.
    federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    assert_eq!(federation.publish("IT-AGENCY", &["roster-2.accord"]).code, 0);
    until(&federation, "ES-AGENCY has roster 2", || federation.roster_version("ES-AGENCY") == 2);
    nodes.remove(0);
    nodes.insert(0, federation.start("ES-AGENCY"));
    assert_eq!(ask(&federation, "IT-AGENCY").0, "unreachable");
    lift(&federation, "ES-AGENCY", Target::Node, "ES-AGENCY");
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
}
