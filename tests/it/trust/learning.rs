//! A node that was offline learns what the others know before it answers anything.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use accord_protocol::roster::MemberState;
use accord_tests::{Federation, member::Member, officer::Officer};

use super::{Over, ask, suspend, until};

#[test]
fn a_node_that_was_offline_answers_nobody_before_it_has_heard_who_is_suspended() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
    let [spain, italy, portugal] = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"].map(|member| federation.start(member));
    let officer = Officer::open(&federation.path().join("officer"));
    let client = Member::open(&federation.path(), "ES-AGENCY", "IT-AGENCY");
    let came = || client.try_hand_on(&officer.sign(&officer.request("IT-AGENCY", "2023..2024"))).map(|(_, word)| word);
    assert_eq!(came(), Some("answered"));
    // Whoever is suspended keeps it to itself.
    spain.kill();
    assert!(italy.stop());
    federation.next_roster("public/roster.accord", "roster-2.accord", |roster| {
        suspend(roster, "ES-AGENCY", MemberState::Suspended);
    });
    assert_eq!(federation.publish("PT-AGENCY", &["roster-2.accord"]).code, 0);
    // Who could tell is slow.
    portugal.pause();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut all = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        all.push(came());
                    }
                    all
                })
            })
            .collect();
        let asked_until = Over(&over);
        let _italy = federation.start("IT-AGENCY");
        thread::sleep(Duration::from_millis(1_500));
        portugal.resume();
        until(&federation, "IT-AGENCY has roster 2", || federation.roster_version("IT-AGENCY") == 2);
        thread::sleep(Duration::from_millis(500));
        drop(asked_until);
        let all: Vec<_> = asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(!all.contains(&Some("answered")), "{all:?}\n{}", federation.logs());
        assert!(all.iter().any(Option::is_some), "it was there to refuse: {all:?}");
    });
}

#[test]
fn two_nodes_that_start_at_once_wait_for_each_other_and_for_nobody_else() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _nodes: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> =
            federation.members.iter().map(|member| scope.spawn(|| federation.start(member))).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let since = Stopwatch::start();
    assert_eq!(ask(&federation, "IT-AGENCY").0, "answered");
    assert!(since.ms() < 5_000, "{} ms", since.ms());
}

#[test]
fn a_node_that_hears_nobody_goes_on_after_a_while() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _spain = federation.start("ES-AGENCY");
    let shown = federation.operator("ES-AGENCY", &["status", "--json"]).json();
    assert_eq!(shown["result"]["learning"], true, "{shown}");
    assert_eq!(ask(&federation, "ES-AGENCY").0, "answered");
    let shown = federation.operator("ES-AGENCY", &["status", "--json"]).json();
    assert_eq!(shown["result"]["learning"], false, "{shown}");
}
