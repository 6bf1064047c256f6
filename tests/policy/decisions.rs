//! How many decisions a second: `cargo run --profile ci -p accord-tests --example decisions [ROWS]`.
//!
//! A policy of that many rows (1, 10, 100 and 256 unless said) for 30 members, asked about in turn; each time what a node does for one
//! request: may the table be discovered, and may this be answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement may end so")]

use std::collections::BTreeSet;

use accord_edge::clock::Stopwatch;
use accord_policy::{Ask, Decision, Policy, Texts, World};
use accord_protocol::{
    catalogue::{Catalogue, SHIPPED},
    id::NodeId,
    officers::Purpose,
    time::{Months, UnixMs},
};

fn main() {
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let members: BTreeSet<NodeId> = (0..30).map(|number| format!("ES-M{number}").parse().unwrap()).collect();
    let world = World { members: &members, catalogue: &catalogue, strict: true };
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    for size in if sizes.is_empty() { vec![1, 10, 100, 256] } else { sizes } {
        let row = |number: usize| {
            format!(
                "[[grant]]\npartner = [\"ES-M{}\"]\ntable = [\"*\"]\nfinest = {{ time = \"quarter\" }}\nnewest = \"6 months\"\npurpose = [\"strategic-analysis\"]\nuntil = \"2030-01-01\"\n",
                number % 30
            )
        };
        let rows: String = (0..size).map(row).collect();
        let started = Stopwatch::start();
        let policy = Policy::new(Texts { rows: &rows, cedar: "" }, world).unwrap();
        let read_us = started.us();
        let (table, now) = (catalogue.table("seizures-year-drug").unwrap(), UnixMs(1_795_500_000_000));
        let months = Months::new((2024, 1), (2024, 12)).unwrap();
        let (started, mut asked, mut permitted) = (Stopwatch::start(), 0u64, 0u64);
        while started.ms() < 2_000 {
            for member in &members {
                let ask = Ask {
                    member,
                    table,
                    levels: &[0, 1],
                    purpose: Purpose::StrategicAnalysis,
                    topic: false,
                    months,
                    now,
                };
                let may = policy.discoverable(member, table, now).unwrap();
                permitted += u64::from(may && matches!(policy.decide(ask), Decision::Permit(..)));
                asked += 1;
            }
        }
        let us = started.us();
        println!(
            "{size:>4} rows: read in {} us; {} requests decided a second, {} % permitted",
            read_us,
            asked * 1_000_000 / us.max(1),
            permitted * 100 / asked.max(1)
        );
    }
}
