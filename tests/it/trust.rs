//! Trust documents that change while nodes run: they spread by themselves, versions never go back, contradictions stop the exchange.

mod learning;
mod revoked;
mod rotation;
mod stops;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use accord_edge::{clock::Stopwatch, trust_folder::TrustFolder};
use accord_node::domain::{
    clock_mark::{foreign_times, resets},
    freshness::{Freshness, Greeted},
};
use accord_protocol::{
    accept::{Accept, Compared},
    codec::{Bounded, Text},
    member_keys::KeyRole,
    roster::{MemberState, Roster},
    signed::Preamble,
    suspend::{Suspend, Target, Way},
    time::UnixMs,
};
use accord_tests::{Federation, officer::Officer as Person};
use serde_json::{Value, json};

/// How long news may take on loopback.
const WITHIN: Duration = Duration::from_secs(10);

pub(super) fn until(federation: &Federation, what: &str, mut holds: impl FnMut() -> bool) {
    let since = Stopwatch::start();
    while !holds() {
        assert!(
            u128::from(since.ms()) < WITHIN.as_millis(),
            "not within {} s: {what}\n{}",
            WITHIN.as_secs(),
            federation.logs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends what others do until then, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ask(federation: &Federation, partner: &str) -> (String, Value) {
    let said =
        federation.officer(&["ask", "seizures-year-drug", "--from", partner, "--period", "2023..2024", "--json"]);
    let json = said.json();
    (json["result"]["partners"][0]["status"].as_str().unwrap_or("").to_owned(), json)
}

fn suspend(roster: &mut Roster, member: &str, state: MemberState) {
    let mut members = roster.members.as_slice().to_vec();
    members.iter_mut().find(|entry| entry.node_id.as_str() == member).unwrap().state = state;
    roster.members = Bounded::new(members).unwrap();
}

#[test]
fn a_roster_handed_to_one_node_reaches_all_and_whoever_it_suspends_is_cut_off() {
    let members = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY"];
    let federation = Federation::new(&members);
    let _nodes = federation.start_all();
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");

    federation.next_roster("public/roster.accord", "roster-2.accord", |roster| {
        suspend(roster, "IT-AGENCY", MemberState::Suspended);
    });
    let said = federation.publish("PT-AGENCY", &["roster-2.accord"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    for member in members {
        until(&federation, &format!("{member} has roster 2"), || federation.roster_version(member) == 2);
    }
    let (status, json) = ask(&federation, "IT-AGENCY");
    assert_ne!(status, "answered", "{json}");
    assert_eq!(ask(&federation, "PT-AGENCY").0, "answered", "the others are not disturbed");
    let shown = federation.officer(&["trust", "--json"]).json();
    let listed = shown["result"]["members"].as_array().unwrap();
    let it = listed.iter().find(|member| member["member"] == "IT-AGENCY").unwrap();
    assert_eq!(it["state"], "suspended", "the officer's profile has learnt it from its node");

    federation.next_roster("roster-2.accord", "roster-3.accord", |roster| {
        suspend(roster, "IT-AGENCY", MemberState::Active);
    });
    assert_eq!(federation.publish("AT-AGENCY", &["roster-3.accord"]).code, 0);
    until(&federation, "IT-AGENCY answers again", || ask(&federation, "IT-AGENCY").0 == "answered");
}

#[test]
fn k1_an_older_roster_does_not_come_back_not_even_after_a_restart() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let mut nodes = federation.start_all();
    federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    assert_eq!(federation.publish("ES-AGENCY", &["roster-2.accord"]).code, 0);
    let old = federation.publish("ES-AGENCY", &["public/roster.accord"]);
    assert_eq!(old.code, 1, "{}", old.stdout);
    assert_eq!(federation.roster_version("ES-AGENCY"), 2);
    nodes.clear();
    nodes = federation.start_all();
    assert_eq!(federation.roster_version("ES-AGENCY"), 2);
    // A version that follows nothing, and one that only one root holder has signed.
    federation.next_roster("roster-2.accord", "roster-3.accord", |_| {});
    federation.next_roster("roster-3.accord", "roster-4.accord", |_| {});
    assert_eq!(federation.publish("ES-AGENCY", &["roster-4.accord"]).code, 1);
    assert_eq!(federation.roster_version("ES-AGENCY"), 2);
    assert_eq!(federation.publish("ES-AGENCY", &["roster-4.accord", "roster-3.accord"]).code, 0, "step by step");
    assert_eq!(federation.roster_version("ES-AGENCY"), 4);
    drop(nodes);
}

#[test]
fn k2_two_rosters_of_one_version_stop_the_exchange_until_the_root_holders_say_which() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    federation.next_roster("public/roster.accord", "other-2.accord", |roster| {
        roster.expires_at = UnixMs(roster.expires_at.0 - 1_000);
    });
    assert_eq!(federation.publish("ES-AGENCY", &["roster-2.accord"]).code, 0);
    until(&federation, "IT-AGENCY has roster 2", || federation.roster_version("IT-AGENCY") == 2);
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
    assert_eq!(federation.publish("IT-AGENCY", &["other-2.accord"]).code, 0, "it is signed as it must be: evidence");
    until(&federation, "nothing is exchanged", || ask(&federation, "IT-AGENCY").0 != "answered");
    federation.next_roster("roster-2.accord", "roster-3.accord", |_| {});
    assert_eq!(federation.publish("ES-AGENCY", &["roster-3.accord"]).code, 0);
    until(&federation, "IT-AGENCY answers again", || ask(&federation, "IT-AGENCY").0 == "answered");
}

#[test]
fn k19_keys_without_continuity_are_not_used_before_an_administrator_here_accepts_them() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    let keys = "public/keys-IT-AGENCY.accord";
    // With continuity it applies by itself, everywhere.
    let second = federation.next_keys("IT-AGENCY", keys, "keys-2.accord", |keys| {
        keys.expires_at = UnixMs(keys.expires_at.0 - 86_400_000);
    });
    assert_eq!(federation.publish("IT-AGENCY", &["keys-2.accord"]).code, 0);
    let held = |member: &str, hash: &str| {
        let folder = federation.path().join(member).join("node/trust");
        folder.join(format!("member-keys-{}.accord", &hash[..16])).is_file()
    };
    until(&federation, "ES-AGENCY has the new keys", || held("ES-AGENCY", &second.hash().to_string()));
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");

    // The root holders anchor the member anew, on keys that do not follow: an administrator here has to compare them.
    let anew = federation.next_keys("IT-AGENCY", keys, "keys-9.accord", |keys| {
        keys.keys_version = 9;
        keys.prev_hash = accord_protocol::id::Hash::ZERO;
    });
    federation.next_roster("public/roster.accord", "roster-2.accord", |roster| {
        let mut members = roster.members.as_slice().to_vec();
        let entry = members.iter_mut().find(|entry| entry.node_id.as_str() == "IT-AGENCY").unwrap();
        (entry.anchor_version, entry.anchor_hash) = (9, anew.hash());
        roster.members = Bounded::new(members).unwrap();
    });
    assert_eq!(federation.publish("ES-AGENCY", &["keys-9.accord", "roster-2.accord"]).code, 0);
    let (status, json) = ask(&federation, "IT-AGENCY");
    assert_ne!(status, "answered", "{json}");
    let accept = Accept {
        preamble: Preamble,
        federation: federation.federation_id(),
        node_id: "ES-AGENCY".parse().unwrap(),
        issued_at: UnixMs(1_790_000_000_000),
        compared: Bounded::new(vec![Compared { member: "IT-AGENCY".parse().unwrap(), keys: anew.hash() }]).unwrap(),
    };
    federation.sign("accept.accord", &accept, &[("ES-AGENCY/admin-1/admin.ring", KeyRole::Administrator)]);
    assert_eq!(federation.publish("ES-AGENCY", &["accept.accord"]).code, 0);
    until(&federation, "IT-AGENCY answers again", || ask(&federation, "IT-AGENCY").0 == "answered");
}

#[test]
fn one_administrator_suspends_an_officer_everywhere() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes = federation.start_all();
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
    let card = std::fs::read(federation.path().join("officer/officer.card")).unwrap();
    let hash = accord_protocol::id::Hash::of(&card).to_string();
    let stop = (Way::Stops, Target::Officer, hash.as_str());
    // Another member's administrator has no say.
    let mut foreign: Suspend = {
        federation.suspend("ES-AGENCY", stop, &[2], "suspend.accord");
        federation.document("suspend.accord").unverified().unwrap()
    };
    foreign.reason = Text::new("none of theirs").unwrap();
    federation.sign("foreign.accord", &foreign, &[("IT-AGENCY/admin-2/admin.ring", KeyRole::Administrator)]);
    assert_eq!(federation.publish("IT-AGENCY", &["foreign.accord"]).code, 1);
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
    assert_eq!(federation.publish("ES-AGENCY", &["suspend.accord"]).code, 0);
    let refused =
        federation.officer(&["ask", "seizures-year-drug", "--from", "IT-AGENCY", "--period", "2024", "--json"]);
    assert_ne!(refused.code, 0);
    assert_eq!(refused.json()["error"]["code"], "NODE-REFUSED", "{}", refused.stdout);
    let hash = federation.document("suspend.accord").hash().to_string();
    let file = format!("IT-AGENCY/node/trust/suspend-{}.accord", &hash[..16]);
    until(&federation, "IT-AGENCY knows", || federation.path().join(&file).is_file());
}

/// What is special, whose last greeting was what, and whether that is fresh.
type MetCase = (&'static str, Vec<(&'static str, Greeted)>, bool);

#[test]
fn d9_more_than_half_of_those_ever_met_must_have_greeted_within_seven_days_under_this_roster() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY"]);
    let folder = TrustFolder::open(&federation.path().join("ES-AGENCY/node/trust"), &id("ES-AGENCY")).unwrap();
    let second = federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    let trust = folder.with(&[second]).unwrap().trust;
    let first: Roster = federation.document("public/roster.accord").unverified().unwrap();
    let day = 86_400_000;
    let now = first.issued_at.plus(30 * day);
    let of = |at: UnixMs, version, hash| Greeted { at, epoch: 1, version, hash };
    let before = federation.document("public/roster.accord").hash();
    let (current, other) = (trust.roster().hash(), accord_protocol::id::Hash([7; 32]));
    let recent = UnixMs(now.0 - day);
    let old = UnixMs(now.0 - 8 * day);
    let cases: Vec<MetCase> = vec![
        ("nobody was ever met", vec![], true),
        ("one, and it knows this roster", vec![("IT-AGENCY", of(recent, 2, current))], true),
        ("one, and it knows the roster before", vec![("IT-AGENCY", of(recent, 1, before))], true),
        ("one, and it names a roster that never was", vec![("IT-AGENCY", of(recent, 3, other))], false),
        ("one, eight days ago", vec![("IT-AGENCY", of(old, 2, current))], false),
        ("one, while the clock was a month ahead", vec![("IT-AGENCY", of(now.plus(30 * day), 2, current))], false),
        ("one, before the clock was set back a little", vec![("IT-AGENCY", of(now.plus(60_000), 2, current))], true),
        ("one of two", vec![("IT-AGENCY", of(recent, 2, current)), ("PT-AGENCY", of(old, 2, current))], false),
        (
            "two of three",
            vec![
                ("IT-AGENCY", of(recent, 2, current)),
                ("PT-AGENCY", of(recent, 1, before)),
                ("AT-AGENCY", of(old, 2, current)),
            ],
            true,
        ),
        ("nobody of the roster", vec![("FR-AGENCY", of(old, 2, current))], true),
    ];
    for (what, met, want) in cases {
        let freshness = Freshness::new(met.into_iter().map(|(member, greeted)| (id(member), greeted)));
        assert_eq!(freshness.is_fresh(&trust, &id("ES-AGENCY"), now), want, "{what}");
    }
    // The next greeting by a clock that is right again takes its place.
    let mut freshness = Freshness::new([(id("IT-AGENCY"), of(now.plus(30 * day), 2, current))]);
    assert!(freshness.note(&id("IT-AGENCY"), of(now, 2, current)));
    assert!(freshness.is_fresh(&trust, &id("ES-AGENCY"), now));
    assert!(!freshness.is_fresh(&trust, &id("ES-AGENCY"), now.plus(8 * day)));
}

#[test]
fn d12_the_clocks_mark_follows_documents_of_others_and_none_of_the_own() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let folder = TrustFolder::open(&federation.path().join("ES-AGENCY/node/trust"), &id("ES-AGENCY")).unwrap();
    let latest = |documents: &[accord_protocol::signed::Document]| {
        let trust = folder.with(documents).unwrap().trust;
        foreign_times(&trust, &id("ES-AGENCY")).into_iter().max().unwrap().0
    };
    let begin = latest(&[]);
    let later = |hours: u64| begin.plus(hours * 3_600_000);
    let keys = |member: &str, hours| {
        let file = format!("public/keys-{member}.accord");
        federation.next_keys(member, &file, "keys-2.accord", |keys| keys.issued_at = later(hours))
    };
    assert_eq!(latest(&[keys("ES-AGENCY", 9)]), begin, "the own ones say nothing");
    assert_eq!(latest(&[keys("IT-AGENCY", 2)]), later(2));
    let roster = federation.next_roster("public/roster.accord", "roster-2.accord", |roster| {
        roster.issued_at = later(3);
    });
    assert_eq!(latest(&[keys("IT-AGENCY", 2), roster]), later(3), "the federation's count");
    let reset = |admins: &[u8]| {
        federation.suspend("ES-AGENCY", (Way::Lifts, Target::Clock, "ES-AGENCY"), admins, "reset.accord");
        let trust = folder.with(&[federation.document("reset.accord")]).unwrap().trust;
        resets(&trust, &id("ES-AGENCY")).count()
    };
    assert_eq!((reset(&[1]), reset(&[1, 2])), (0, 1), "two administrators set it anew");
}

#[test]
fn trust_shows_whom_the_node_has_heard_and_what_only_operators_need() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
    let nodes = federation.start_all();
    assert_eq!(ask(&federation, "PT-AGENCY").0, "answered");
    let shown = |profile: &str| {
        let said = accord_tests::accord(&federation.path(), &["--profile", profile, "status", "--json"]);
        assert_eq!(said.code, 0, "{}", said.stdout);
        let folder = federation.path().join(profile).join("trust");
        let names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        ["staff-", "suspend-"].map(|kind| names.iter().any(|name| name.starts_with(kind)))
    };
    federation.suspend("ES-AGENCY", (Way::Stops, Target::Partner, "IT-AGENCY"), &[1], "stop.accord");
    assert_eq!(federation.publish("ES-AGENCY", &["stop.accord"]).code, 0);
    assert_eq!(shown("ES-AGENCY/node/operator"), [true, true]);
    assert!(!shown("officer")[1], "an officer's tool learns of no local suspension");

    let person = Person::open(&federation.path().join("officer"));
    let trust = person.trust();
    assert_eq!((&trust["fresh"], &trust["learning"], &trust["isolated"]), (&json!(true), &json!(false), &json!(false)));
    assert_eq!(trust["clock"]["behind"], false);
    assert_eq!(trust["suspensions"][0]["subject"], "IT-AGENCY");
    let about = |trust: &Value, member: &str| {
        trust["members"].as_array().unwrap().iter().find(|entry| entry["member"] == member).unwrap().clone()
    };
    let entry = about(&trust, "PT-AGENCY");
    assert_eq!((&entry["knows_roster"], &entry["keys_known"]), (&json!(1), &json!(1)), "{entry}");
    assert_eq!((&entry["reachable"], entry["last_seen"].is_string()), (&json!(true), true), "{entry}");
    let mut nodes = nodes;
    nodes.pop().unwrap().kill();
    federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    assert_eq!(federation.publish("ES-AGENCY", &["roster-2.accord"]).code, 0);
    until(&federation, "PT-AGENCY is not reachable", || about(&person.trust(), "PT-AGENCY")["reachable"] == false);
    until(&federation, "IT-AGENCY knows roster 2", || about(&person.trust(), "IT-AGENCY")["knows_roster"] == 2);
}

fn id(name: &str) -> accord_protocol::id::NodeId {
    name.parse().unwrap()
}
