//! What a machine does to a node: its clock is set, it is held for a minute, it has few files and little memory.

use std::{
    thread::{self, sleep},
    time::Duration,
};

use accord_protocol::{message::AskCall, officers::Purpose, time::UnixMs};
use accord_tests::{Federation, Running, member::Member, officer::Officer, set_clock::SetClock};
use serde_json::{Value, json};

use crate::{
    backup::with_recovery,
    load::{ES, IT, next_file, request_id, without_quota},
};

const NODE: &str = "IT-AGENCY/node";
const DAY_S: i64 = 86_400;
const ROWS: &str = r#"[[grant]]
partner = ["ES-AGENCY"]
table   = ["seizures-year-drug"]
purpose = ["strategic-analysis"]
until   = "2027-11-01"

[[grant]]
partner = ["ES-AGENCY"]
table   = ["seizures-year-drug"]
purpose = ["early-warning"]
answer  = "after-approval"
until   = "2027-11-01"
"#;

fn operator(federation: &Federation, arguments: &[&str]) -> Value {
    let said = federation.operator(IT, &[arguments, &["--json"]].concat());
    assert!(said.code <= 1, "{arguments:?}: {}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn entries(federation: &Federation, kinds: &str) -> Vec<Value> {
    let shown = operator(federation, &["audit", "show", "--kind", kinds, "--limit", "10000"]);
    shown["entries"].as_array().unwrap().clone()
}

// Everything that the node holds holds, and nothing in it has panicked.
fn holds(federation: &Federation) {
    assert_eq!(operator(federation, &["verify"])["verified"], true);
    operator(federation, &["audit", "verify"]);
    let panics = operator(federation, &["status"])["panics"].as_u64();
    assert_eq!(panics, Some(0));
}

// Asks again until the node answers: it was just started, or its clock has just been set.
fn answered(federation: &Federation, call: &AskCall, what: &str) {
    let mut last = None;
    // Half a minute may go by until others are greeted again.
    for _ in 0..300 {
        last = Member::open(&federation.path(), ES, IT).try_hand_on(call);
        if last.is_some_and(|(_, word)| word == "answered") {
            return;
        }
        sleep(Duration::from_millis(200));
    }
    panic!("{what}: {last:?}\n{}", federation.logs());
}

#[test]
fn a_clock_that_is_set_makes_nothing_forgotten_ended_or_missing() {
    let federation = Federation::new(&[ES, IT]);
    federation.install_policy(IT, ROWS);
    let path = federation.path();
    let clock = SetClock::of_day(&path.join("clock"));
    let _es = federation.start(ES);
    let mut it = clock.start(&path, NODE);
    federation.settle(ES);
    federation.settle(IT);
    federation.hire(IT, "giulia", "approver");
    let officer = Officer::open(&path.join("officer"));
    let mut waits = officer.request(IT, "2021..2024");
    waits.purpose = Purpose::EarlyWarning;
    waits.wanted_until = waits.issued_at.plus(12 * 3_600_000);
    assert!(officer.ask(&waits).reply.answer.is_some());
    let waiting = || {
        let all = operator(&federation, &["inbox", "list"]);
        all["requests"].as_array().unwrap().iter().filter(|one| one["state"] == "held").count()
    };
    assert_eq!(waiting(), 1);
    let call = officer.sign(&officer.request(IT, "2021..2023"));
    answered(&federation, &call, "first");

    // Ten years ahead, details would be over, too.
    for seconds in [DAY_S, 3_650 * DAY_S, -DAY_S, -3_650 * DAY_S] {
        clock.jump(seconds);
        // Hourly work is done by every start, too.
        assert!(it.stop());
        it = clock.start(&path, NODE);
        // Longer than requests are looked at that are over.
        sleep(Duration::from_secs(5));
        // Its people may have been listed after what it shows now: the log of the process says it to whoever looks after the machine.
        let log = std::fs::read_to_string(path.join("IT-AGENCY-node.log")).unwrap();
        assert_eq!(log.contains("the clock of your node's machine is behind"), seconds < 0, "{seconds} s: {log}");
        clock.jump(-seconds);
        answered(&federation, &call, &format!("after {seconds} s"));
        assert_eq!(waiting(), 1, "after {seconds} s");
    }
    for round in 0..10 {
        clock.jump(if round % 2 == 0 { 3_600 } else { -3_600 });
        let another = officer.sign(&officer.request(IT, "2024..2025"));
        // It says no where the clocks differ, and yes where they do not.
        let _ = Member::open(&path, ES, IT).try_hand_on(&another);
        sleep(Duration::from_millis(500));
    }
    answered(&federation, &call, "after many jumps");

    let id = waits.request_id.to_string();
    let said = federation.as_colleague("giulia", &["inbox", "approve", &id, "--yes", "--json"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let first = json!(request_id(&call));
    let of_first = entries(&federation, "answered").into_iter().filter(|entry| entry["detail"]["request_id"] == first);
    assert_eq!(of_first.count(), 1, "answered once");
    assert_eq!(entries(&federation, "expired,no-receipt,unproven,retention"), [] as [Value; 0]);
    let states = entries(&federation, "clock");
    let states: Vec<&str> = states.iter().map(|entry| entry["detail"]["state"].as_str().unwrap()).collect();
    // A node that is stopped before it has looked again says nothing of it.
    assert!(states.iter().filter(|state| **state == "behind").count() >= 2, "{states:?}");
    assert_eq!(states.last(), Some(&"right"));
    holds(&federation);
    assert!(it.stop());
}

#[test]
fn a_node_that_was_held_for_a_minute_serves_on_and_refuses_what_is_over() {
    let federation = Federation::new(&[ES, IT]);
    let it = federation.start_settled(IT);
    let officer = Officer::open(&federation.path().join("officer"));
    let member = Member::open(&federation.path(), ES, IT);
    let connection = member.hold();
    // In time until half a minute from now: two minutes after it was to be delivered.
    let mut soon_over = officer.request(IT, "2021..2024");
    soon_over.issued_at = UnixMs(soon_over.issued_at.0 - 500_000);
    soon_over.deliver_by = soon_over.issued_at.plus(410_000);
    let soon_over = officer.sign(&soon_over);
    it.pause();
    let under_way = thread::scope(|scope| {
        let asking = scope.spawn(|| connection.hand_on_within(&soon_over, Duration::from_secs(50)));
        sleep(Duration::from_secs(62));
        asking.join().unwrap()
    });
    it.resume();
    assert_eq!(under_way, None);
    let word = |call| member.try_hand_on(call).map(|(_, word)| word);
    let fresh = officer.sign(&officer.request(IT, "2021..2024"));
    answered(&federation, &fresh, "after a minute");
    assert!(!connection.is_open());
    assert_eq!(word(&soon_over), Some("E_TIME"));
    let over = json!(request_id(&soon_over));
    let all = entries(&federation, "answered");
    assert!(!all.is_empty() && all.iter().all(|entry| entry["detail"]["request_id"] != over), "{all:?}");
    holds(&federation);
}

// Requests, imports, coverage, an edition, a check of everything, a copy, a backup: all goes through.
fn works(federation: &Federation) {
    let path = federation.path();
    let officer = Officer::open(&path.join("officer"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let member = Member::open(&path, ES, IT);
                for _ in 0..100 {
                    let call = officer.sign(&officer.request(IT, "2021..2024"));
                    // Another connection of the same member ends this one.
                    let _ = member.try_hand_on(&call);
                }
            });
        }
        // One person has four connections at most.
        let people: Vec<_> = (0..3).map(|_| scope.spawn(|| operator(federation, &["status"]))).collect();
        for one in people {
            one.join().unwrap();
        }
        let numbers = std::sync::atomic::AtomicU64::new(0);
        for _ in 0..3 {
            operator(federation, &["import", &next_file(federation, &numbers)]);
        }
        operator(federation, &["coverage", "set", "site", "1990-01", "partial"]);
        operator(federation, &["edition", "publish"]);
        operator(federation, &["verify"]);
        operator(federation, &["audit", "export", "copy"]);
        operator(federation, &["backup", "it.age"]);
        operator(federation, &["compact"]);
    });
    answered(federation, &officer.sign(&officer.request(IT, "2021..2024")), "after all that");
    holds(federation);
}

#[test]
fn it_works_with_sixty_four_files() {
    let federation = Federation::new(&[ES, IT]);
    without_quota(&federation, "IT-AGENCY/node/node.toml");
    with_recovery(&federation, IT);
    let _it = Running::start_limited(&federation.path(), NODE, &["--nofile=64"]);
    federation.settle(IT);
    works(&federation);
}

#[test]
fn it_works_with_256_mib_of_memory() {
    let federation = Federation::new(&[ES, IT]);
    without_quota(&federation, "IT-AGENCY/node/node.toml");
    with_recovery(&federation, IT);
    // Everything that the process writes to but files: its heap, its threads' stacks, its data.
    let _it = Running::start_limited(&federation.path(), NODE, &["--data=268435456"]);
    federation.settle(IT);
    works(&federation);
}
