//! Whoever is taken out gets nothing any more: over connections that are open, over new ones, and for what is under way; and what
//! was acknowledged survives.

use accord_protocol::roster::MemberState;
use accord_tests::{member::Member, officer::Officer};

use super::*;

#[test]
fn k10_a_member_taken_out_gets_no_further_answer_over_any_connection() {
    for state in [MemberState::Suspended, MemberState::Removed] {
        let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
        // The node of ES is the tests' own: a second one would take its connection's place.
        let _nodes = ["IT-AGENCY", "PT-AGENCY"].map(|member| federation.start(member));
        let officer = Officer::open(&federation.path().join("officer"));
        let spain = Member::open(&federation.path(), "ES-AGENCY", "IT-AGENCY");
        let call = || officer.sign(&officer.request("IT-AGENCY", "2024"));
        let held = spain.hold();
        assert_eq!(held.hand_on(&call()).map(|(_, word)| word), Some("answered"), "{state}");
        let under_way = held.begin(&call());

        federation.next_roster("public/roster.accord", "roster-2.accord", |roster| suspend(roster, "ES-AGENCY", state));
        assert_eq!(federation.publish("PT-AGENCY", &["roster-2.accord"]).code, 0);
        until(&federation, "IT has roster 2", || federation.roster_version("IT-AGENCY") == 2);
        until(&federation, "the open connection is cut", || !held.is_open());
        assert_eq!(held.end(under_way), None, "{state}: what was under way");
        assert_eq!(held.hand_on(&call()), None, "{state}: the connection that was open");
        // No session can be resumed (the server gives no tickets), so that a new connection is a new handshake.
        let anew = spain.try_hand_on(&call()).map(|(_, word)| word);
        assert!(anew.is_none_or(|word| word.starts_with("E_")), "{state}: a new connection: {anew:?}");
    }
}

#[test]
fn k11_an_officer_of_one_member_is_worth_nothing_through_anothers_node() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
    let _node = federation.start("IT-AGENCY");
    let officer = Officer::open(&federation.path().join("officer"));
    let portugal = Member::open(&federation.path(), "PT-AGENCY", "IT-AGENCY");
    let own_name = officer.sign(&officer.request("IT-AGENCY", "2024"));
    let mut body = officer.request("IT-AGENCY", "2024");
    body.requester = "PT-AGENCY".parse().unwrap();
    let other_name = officer.sign(&body);
    for (what, call) in [("in the name of its own member", own_name), ("in the name of the other", other_name)] {
        assert_eq!(portugal.hand_on(&call, |_| {}).map(|(_, word)| word), Some("E_AUTH"), "{what}");
    }
}

#[test]
fn k18_under_an_expired_roster_no_data_is_exchanged_and_the_next_one_ends_that() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
    let now = accord_edge::clock::now();
    federation.next_roster("public/roster.accord", "expired.accord", |roster| {
        (roster.issued_at, roster.expires_at) = (UnixMs(now.0 - 1_000_000), UnixMs(now.0 - 1_000));
    });
    assert_eq!(federation.publish("ES-AGENCY", &["expired.accord"]).code, 0);
    until(&federation, "IT has it", || federation.roster_version("IT-AGENCY") == 2);
    let (status, json) = ask(&federation, "IT-AGENCY");
    assert_ne!(status, "answered", "{json}");
    let shown = federation.operator("ES-AGENCY", &["trust", "--json"]);
    assert_eq!((shown.code, &shown.json()["result"]["roster"]["state"]), (3, &json!("expired")), "{}", shown.stdout);
    federation.next_roster("expired.accord", "roster-3.accord", |roster| {
        (roster.issued_at, roster.expires_at) = (now, now.plus(86_400_000 * 100));
    });
    // Handed to the other one: that a roster has expired keeps nobody from learning the next.
    assert_eq!(federation.publish("IT-AGENCY", &["roster-3.accord"]).code, 0);
    until(&federation, "IT answers again", || ask(&federation, "IT-AGENCY").0 == "answered");
}

#[test]
fn k20_what_was_acknowledged_is_there_after_a_kill() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let mut node = federation.start("ES-AGENCY");
    let mut before = "public/roster.accord".to_owned();
    for version in 2..8_u64 {
        let file = format!("roster-{version}.accord");
        federation.next_roster(&before, &file, |_| {});
        assert_eq!(federation.publish("ES-AGENCY", &[&file]).code, 0);
        node.kill();
        node = federation.start("ES-AGENCY");
        assert_eq!(federation.roster_version("ES-AGENCY"), version);
        before = file;
    }
}

/// How long it takes from one node's `publish` to the last of `ACCORD_NODES` nodes (at most five), five times.
#[test]
fn news_reaches_the_last_node_within_ten_seconds() {
    let count = accord_tests::seeded::from_environment("ACCORD_NODES", 4);
    let names: Vec<String> = ["ES", "IT", "PT", "AT", "DK"]
        .iter()
        .take(usize::try_from(count).unwrap())
        .map(|country| format!("{country}-AGENCY"))
        .collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let federation = Federation::new(&members);
    let _nodes = federation.start_all();
    let mut before = "public/roster.accord".to_owned();
    let mut took = Vec::new();
    for version in 2..7_u64 {
        let file = format!("roster-{version}.accord");
        let next = federation.next_roster(&before, &file, |_| {});
        let stem = format!("roster-{}.accord", &next.hash().to_string()[..16]);
        let has = |member: &str| federation.path().join(member).join("node/trust").join(&stem).is_file();
        let since = Stopwatch::start();
        assert_eq!(federation.publish("ES-AGENCY", &[&file]).code, 0);
        until(&federation, "all have it", || members.iter().all(|member| has(member)));
        took.push(since.ms());
        before = file;
    }
    println!("publish to the last of {count} nodes, in ms: {took:?}");
}
