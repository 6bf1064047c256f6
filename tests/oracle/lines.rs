//! Writes the lines of a node's store as the oracle reads them (README): `oracle-lines STORE COUNTRY OUT`. The node must be stopped.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a campaign that cannot read a store has failed"
)]

use std::{fs, path::Path};

use accord_node::{
    domain::{
        amount::{Amount, Unit},
        contribution::{Contribution, Contributions, Leaves, dimensions},
    },
    io::store::Store,
};
use accord_protocol::{
    catalogue::{Catalogue, Kind, SHIPPED},
    code,
    time::Period,
};
use serde_json::{Map, Value, json};

const CACHE_BYTES: u64 = 64 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, store, country, out] = arguments.as_slice() else { panic!("usage: oracle-lines STORE COUNTRY OUT") };
    let (store, stored) = Store::open(Path::new(store), CACHE_BYTES).unwrap();
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let leaves = Leaves::new(&catalogue, country).unwrap();
    let mut contributions = Contributions::default();
    for lines in store.lines(&stored.index) {
        for line in lines.unwrap() {
            contributions.add(&line, &leaves);
        }
    }
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for year in stored.coverage.years(*kind) {
            let of_year = contributions.year(*kind, year).iter();
            all.extend(of_year.map(|line| line_json(*kind, line, &catalogue, country)));
        }
    }
    fs::write(out, Value::Array(all).to_string()).unwrap();
}

fn line_json(kind: Kind, line: &Contribution, catalogue: &Catalogue, country: &str) -> Value {
    let mut fields = Map::new();
    fields.insert("kind".into(), json!(kind.as_str()));
    fields.insert("case".into(), json!(format!("case-{}", line.case)));
    fields.insert("time".into(), json!(stated(line.period)));
    for (leaf, name) in line.leaves.iter().zip(dimensions(kind)) {
        let mut tables =
            catalogue.tables().iter().filter(|table| table.kind == kind).flat_map(|table| &table.dimensions);
        let Some(dimension) = tables.find(|dimension| dimension.name == *name) else { continue };
        let tree = code::tree(&dimension.list, country).unwrap();
        fields.insert((*name).to_owned(), json!(tree.get(usize::from(*leaf)).unwrap().code));
    }
    if let Some((name, amount)) = line.amount.map(amount) {
        fields.insert(name.to_owned(), json!(amount));
    }
    if let Some(value) = line.value {
        fields.insert("value".into(), json!(value));
    }
    Value::Object(fields)
}

// As it is stated: a year alone, a quarter, a month.
fn stated(period: Period) -> String {
    period.to_string().trim_end_matches("_U").to_owned()
}

const fn amount(amount: Amount) -> (&'static str, u64) {
    match amount {
        Amount::MassMg(mass) => ("mass_mg", mass),
        Amount::VolumeMl(volume) => ("volume_ml", volume),
        Amount::Count(Unit::Tablet | Unit::Capsule, count) => ("tablets", count),
        Amount::Count(Unit::Dose | Unit::Blotter, count) => ("doses", count),
        Amount::Count(_, count) => ("pieces", count),
    }
}
