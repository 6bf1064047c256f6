//! Killed under mixed load, again and again: whatever was acknowledged is there afterwards, once, and the audit log holds.
//!
//! In each round requests, imports, coverage and closings of the log go on at once until `kill -9` at a random moment; every third round
//! the start after that is killed, too. What was acknowledged is remembered here, outside of the node. ACCORD_KILLS rounds (default 4)
//! from ACCORD_SEED; the long run: `ACCORD_KILLS=200 cargo nextest run --cargo-profile ci -p accord-tests -E 'test(kills::)'`.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use accord_tests::{
    Federation,
    member::Member,
    officer::Officer,
    program,
    seeded::{Seeded, from_environment},
};

use crate::load::{Acknowledged, ES, IT, declare_and_close, holds, import, without_quota};

// Everything at once, until the node is gone.
fn load(
    federation: &Federation,
    officer: &Officer,
    numbers: &[AtomicU64; 2],
    said_yes: &Acknowledged,
    over: &AtomicBool,
) {
    let [files, months] = numbers;
    let goes_on = || !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            // One: a member has one connection at a time.
            let member = Member::open(&federation.path(), ES, IT);
            let connection = member.hold();
            while goes_on() && connection.is_open() {
                let call = officer.sign(&officer.request(IT, "2021..2024"));
                if connection.hand_on_within(&call, Duration::from_secs(1)).is_some_and(|(_, word)| word == "answered")
                {
                    said_yes.answers.lock().unwrap().push(call);
                }
            }
        });
        scope.spawn(|| {
            while goes_on() {
                import(federation, files, said_yes);
            }
        });
        scope.spawn(|| {
            while goes_on() {
                declare_and_close(federation, months, said_yes);
            }
        });
    });
}

// A start that is killed before it is over.
fn killed_while_starting(federation: &Federation, after: Duration) {
    let mut child = Command::new(program("accord-node"))
        .args(["run", "IT-AGENCY/node", "--allow-root"])
        .current_dir(federation.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_was_acknowledged_survives_every_kill_and_is_in_the_log() {
    let (rounds, seed) = (from_environment("ACCORD_KILLS", 4), from_environment("ACCORD_SEED", 8));
    let mut dice = Seeded::new(seed);
    let federation = Federation::new(&[ES, IT]);
    without_quota(&federation, "IT-AGENCY/node/node.toml");
    let officer = Officer::open(&federation.path().join("officer"));
    let (said_yes, numbers) = (Acknowledged::default(), [AtomicU64::new(0), AtomicU64::new(0)]);
    for round in 0..rounds {
        // Before it has heard others, or waited for them, it answers nobody.
        let node = federation.start_settled(IT);
        // What was answered is answered the same.
        let last = said_yes.answers.lock().unwrap().last().cloned();
        if let Some(call) = last {
            let member = Member::open(&federation.path(), ES, IT);
            assert_eq!(member.hold().hand_on(&call).map(|(_, word)| word), Some("answered"), "round {round}");
        }
        let (over, wait) = (AtomicBool::new(false), Duration::from_millis(dice.between(400, 2_500)));
        thread::scope(|scope| {
            scope.spawn(|| load(&federation, &officer, &numbers, &said_yes, &over));
            thread::sleep(wait);
            node.kill();
            over.store(true, Ordering::Relaxed);
        });
        if round % 3 == 2 {
            killed_while_starting(&federation, Duration::from_millis(dice.between(5, 300)));
        }
        let node = federation.start(IT);
        holds(&federation, &said_yes, &format!("round {round}"));
        node.kill();
    }
    let said = format!("{rounds} kills: {}", said_yes.count());
    println!("{said}");
    let is_empty = [
        said_yes.answers.lock().unwrap().is_empty(),
        said_yes.imports.lock().unwrap().is_empty(),
        said_yes.closed.lock().unwrap().is_empty(),
    ];
    assert_eq!(is_empty, [false; 3], "{said}");
}
