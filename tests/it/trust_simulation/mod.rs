//! Random histories of trust: several nodes on one thread, each history from one seed; documents that people publish spread over a bad
//! network, past deaths and old copies, and past a member gone bad.
//!
//! `ACCORD_TRUST_HISTORIES=5000 ACCORD_SEED=1 cargo test --profile ci -p accord-tests --test it trust_simulation -- --nocapture`
//!
//! The decisions are the product's: what documents say together, greetings and what they name, what is fetched and what of it is
//! taken, hints, freshness. Simulated are the network, disks, clocks and people.
//!
//! What counts as failure: a roster in force that goes back; anything in force that fewer signed than must, or keys that nobody here
//! compared; a key that counts where it is known to be suspended, removed or dropped; a node that does not start again; a document
//! that is published in a sound network and is not known everywhere at once, or not two rounds after the network has healed; at the
//! end, honest nodes that are not fresh, do not treat each other as the last roster says, or do not hold and trust the same.
//!
//! What does not: a node that comes back with an old copy of its folder is as old as the copy until it has greeted somebody who knows
//! more; what is not known within reach of a node is not known to it; a member that is removed stays on its last roster.
//!
//! `ACCORD_TRUST_HISTORIES` sets how many, `ACCORD_SEED` where to begin. A failure prints its seed.

mod laws;
mod make;
mod mischief;
mod node;
mod script;
mod world;

use std::{collections::BTreeMap, rc::Rc};

use accord_tests::seeded::from_environment;
use node::Memory;
use script::Script;
use world::World;

/// Histories that share a script: they differ in all that befalls the nodes.
const OF_ONE_SCRIPT: u64 = 40;
/// Broken histories after which a thread stops.
const BROKEN_MAX: usize = 4;

#[test]
fn in_every_history_what_is_published_counts_everywhere_and_nothing_else_does() {
    let histories = from_environment("ACCORD_TRUST_HISTORIES", 500);
    let first = from_environment("ACCORD_SEED", 1);
    println!("ACCORD_SEED={first} ACCORD_TRUST_HISTORIES={histories}");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let (seen, broken) = std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || campaign(first, histories, thread, threads))).collect();
        let (mut all, mut broken) = (Seen::new(), BTreeMap::new());
        for thread in running {
            let (seen, violations) = thread.join().unwrap();
            broken.extend(violations);
            for (what, count) in seen {
                *all.entry(what).or_default() += count;
            }
        }
        (all, broken)
    });
    println!("{histories} histories: {seen:?}");
    if let Some(seed) = broken.keys().next() {
        panic!("{} broken: {broken:#?}; run one again with ACCORD_SEED={seed} ACCORD_TRUST_HISTORIES=1", broken.len());
    }
    // A campaign in which something never happens would prove nothing about it.
    if histories >= 500 {
        for what in HAPPENS {
            assert!(seen.get(what).is_some_and(|count| *count > 0), "`{what}` never happened");
        }
    }
}

const HAPPENS: &[&str] = &[
    "a chain without end",
    "acceptances",
    "an old document",
    "another document",
    "as many marks as fit",
    "calm histories",
    "clock jumps",
    "deaths",
    "deaths while writing",
    "false hashes",
    "fetches given up",
    "greetings refused",
    "hints given up",
    "huge root version",
    "huge versions",
    "key suspended",
    "keys change without continuity",
    "keys rotate",
    "keys switched",
    "lines broken",
    "long silences",
    "messages lost",
    "no signatures",
    "noise",
    "nothing given",
    "officer lifted",
    "officer suspended",
    "officers narrowed by one",
    "officers widened",
    "old copies",
    "old documents",
    "old keys dropped",
    "partitions",
    "root rotates",
    "roster adds",
    "roster moves an anchor",
    "roster reinstates",
    "roster removes",
    "roster suspends",
    "signed by too few",
    "silence",
    "two keys of one version",
    "unsigned roots",
];

type Seen = BTreeMap<&'static str, u64>;

// What happened, and the laws that were broken, by seed; the first few.
fn campaign(first: u64, histories: u64, thread: u64, threads: u64) -> (Seen, BTreeMap<u64, Vec<String>>) {
    let (mut seen, mut broken) = (Seen::new(), BTreeMap::new());
    let mut known: Option<(u64, Rc<Script>, Rc<Memory>)> = None;
    for seed in (first..first + histories).filter(|seed| seed / OF_ONE_SCRIPT % threads == thread) {
        let number = seed / OF_ONE_SCRIPT;
        let (_, script, memory) = match known.take() {
            Some(known) if known.0 == number => known,
            ended => {
                for (what, count) in ended.iter().flat_map(|(_, _, memory)| memory.counts()) {
                    *seen.entry(what).or_default() += count;
                }
                (number, Rc::new(script::write(number)), Rc::new(Memory::default()))
            }
        };
        let world = World::new(seed, Rc::clone(&script), &memory).run();
        *seen.entry("steps").or_default() += world.steps;
        known = Some((number, script, memory));
        for (what, count) in world.seen {
            *seen.entry(what).or_default() += count;
        }
        if !world.laws.violations.is_empty() {
            broken.insert(seed, world.laws.violations);
        }
        if broken.len() >= BROKEN_MAX {
            break;
        }
    }
    (seen, broken)
}
