//! How many decisions a second: `cargo run --profile ci -p accord-policy --example decisions [ROWS]`.
//!
//! A policy of that many rows (1, 10, 100 and 256 unless said) for 30 members, asked about in turn; each time what a node does for one
//! request: may the table be discovered, and may this be answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement may end so")]

use std::{collections::BTreeSet, time::Instant};

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
        let started = Instant::now();
        let policy = Policy::new(Texts { rows: &rows, cedar: "" }, world).unwrap();
        let read = started.elapsed();
        let (table, now) = (catalogue.table("seizures-year-drug").unwrap(), UnixMs(1_795_500_000_000));
        let months = Months::new((2024, 1), (2024, 12)).unwrap();
        let (started, mut asked, mut permitted) = (Instant::now(), 0u32, 0u32);
        while started.elapsed().as_secs() < 2 {
            for member in &members {
                let ask = Ask { member, table, levels: &[0, 1], purpose: Purpose::StrategicAnalysis, months, now };
                let may = policy.discoverable(member, table, now).unwrap();
                permitted += u32::from(may && matches!(policy.decide(ask), Decision::Permit(..)));
                asked += 1;
            }
        }
        let each = started.elapsed().as_secs_f64() / f64::from(asked);
        println!(
            "{size:>4} rows: read in {:>6.1} ms; {:>7.0} requests decided a second ({:.1} us each), {:.0} % permitted",
            read.as_secs_f64() * 1e3,
            1.0 / each,
            each * 1e6,
            f64::from(permitted) / f64::from(asked) * 100.0
        );
    }
}
