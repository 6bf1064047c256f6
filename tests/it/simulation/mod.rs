//! Random histories of several nodes on one thread, each from one seed: network, clocks, disks, deaths, and a member gone bad.
//!
//! The decisions are the product's: checks, memory and answering of the provider, rounds and heads of the asker, frames, and the
//! verification of the officer's tool. Simulated are the network beneath streams, disks, and clocks.
//!
//! What counts as failure: a request that is executed twice, or that no officer signed; two different replies of an honest provider to
//! one request; numbers that are believed without the provider having signed exactly these for exactly this request; an honest
//! provider accused of a contradiction; a question that never ends or takes longer than its tries may; in a history without faults, a
//! question without a signed reply. What does not: a provider's own signed lie is believed, for nobody else can know better; a
//! question may end unreachable or not verified whenever something is wrong with network, clock, disk or partner.
//!
//! `ACCORD_HISTORIES` sets how many, `ACCORD_SEED` where to begin. A failure prints its seed.

mod decisions;
mod fixture;
mod judge;
mod mischief;
mod network;
mod node;
mod plan;
mod policies;
mod world;

use std::collections::BTreeMap;

use accord_tests::seeded::from_environment;
use world::{World, to_stream as world_stream};

#[test]
fn in_every_history_requests_are_executed_once_and_only_signed_numbers_are_believed() {
    let histories = from_environment("ACCORD_HISTORIES", 20_000);
    let first = from_environment("ACCORD_SEED", 1);
    println!("ACCORD_SEED={first} ACCORD_HISTORIES={histories}");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let seen = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    campaign(
                        (first..first + histories)
                            .skip(usize::try_from(thread).unwrap())
                            .step_by(usize::try_from(threads).unwrap()),
                    )
                })
            })
            .collect();
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for thread in running {
            for (what, count) in thread.join().unwrap() {
                *all.entry(what).or_default() += count;
            }
        }
        all
    });
    println!("{histories} histories: {seen:?}");
    // A campaign in which something never happens would prove nothing about it.
    if histories >= 1_000 {
        for what in [
            "Answered",
            "Contradiction",
            "E_AUTH",
            "E_BUSY",
            "E_CONFLICT",
            "E_ENCODING",
            "E_QUOTA",
            "E_TIME",
            "E_UNAVAILABLE",
            "NotVerified",
            "OwnNodeDied",
            "Refused",
            "Unreachable",
            "bad replies",
            "calm histories",
            "connections lost",
            "deaths",
            "died while deciding",
            "executed",
            "handed in again",
            "kept connection",
            "signed lies",
            "spoiled requests",
            "the same bytes again",
        ] {
            assert!(seen.get(what).is_some_and(|count| *count > 0), "`{what}` never happened");
        }
    }
}

fn campaign(seeds: impl Iterator<Item = u64>) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds {
        let (judge, _) = World::new(seed).run();
        assert!(
            judge.violations.is_empty(),
            "history {seed}: {:#?}; run it again with ACCORD_SEED={seed} ACCORD_HISTORIES=1",
            judge.violations
        );
        for (what, count) in judge.seen {
            *all.entry(what).or_default() += count;
        }
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 1..40 {
        let (one, other) = (World::new(seed).run(), World::new(seed).run());
        assert_eq!((one.1, one.0.seen), (other.1, other.0.seen), "history {seed}");
    }
}
