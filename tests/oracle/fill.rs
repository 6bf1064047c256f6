//! The oracle's driver: fills, protects and audits an edition for each `lines-N.json` of a folder, each going on from the one before.
//!
//! Where the edition tells of other lines than the records hold (late ones wait, a month is not published yet), the lines that it tells
//! of take the place of `lines-N.json`, and the records' go to `records-N.json`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the campaign sees a panic as a driver that failed"
)]

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use accord_node::domain::{
    amount::{Amount, Unit},
    contribution::{Contributions, LEAVES, Part, dimensions},
    coverage::Coverage,
    disclosure::{Rules, Zeros},
    edition::{Agreed, Basis, Before, Block, Filled, Filling, Frozen, RulesNow, gather, jobs, make, waiver},
    record::When,
    revision::HeldLine,
};
use accord_protocol::{
    catalogue::{Catalogue, Kind, LevelSet, Quantity, Table},
    cell::{CELL_LEN, Released, State},
    code,
    codec::Bounded,
    consent::PublicCell,
    edition::{CoverageState, EditionHeader, Layout, Protection},
    id::Hash,
    signed::Preamble,
    time::{Months, UnixMs},
};
use serde_json::{Value, json};

// Exit status for a random catalogue that is none: too many cells, say.
const CATALOGUE_REFUSED: i32 = 3;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| panic!("usage: oracle-fill FOLDER"));
    let folder = Path::new(&folder);
    let catalogue = match Catalogue::parse(&fs::read_to_string(folder.join("catalogue.toml")).unwrap()) {
        Ok(catalogue) => Arc::new(catalogue),
        Err(rule) => {
            eprintln!("the catalogue is refused: {rule}");
            std::process::exit(CATALOGUE_REFUSED);
        }
    };
    let rules: Value = serde_json::from_str(&fs::read_to_string(folder.join("rules.json")).unwrap()).unwrap();
    let country = rules["country"].as_str().unwrap();
    let number = |name: &str| u32::try_from(rules[name].as_u64().unwrap()).unwrap();
    let zeros = if rules["zeros"] == "shown" { Zeros::Shown } else { Zeros::Hidden };
    let rules = Rules::new(number("k"), number("p_percent"), number("dominance_percent"), zeros).unwrap();
    let mut before: Option<(Frozen, Vec<Basis>)> = None;
    let mut vintages: HashMap<(Kind, u16, u64), Vec<HeldLine>> = HashMap::new();
    let steps = fs::read_to_string(folder.join("months.json")).unwrap_or_else(|_| "[12]".to_owned());
    let steps: Vec<u8> = serde_json::from_str(&steps).unwrap();
    let (made_anew, with_waiver) = (editions(folder, "corrects.json"), editions(folder, "waives.json"));
    let mut waived: Vec<PublicCell> = Vec::new();
    let mut told = Told::default();
    for edition in 1.. {
        let Ok(text) = fs::read_to_string(folder.join(format!("lines-{edition}.json"))) else { break };
        let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
        let months = *steps.get(usize::try_from(edition).unwrap() - 1).or(steps.last()).unwrap();
        let (contributions, coverage) = records(&lines, months, &catalogue, country);
        let years: Vec<(Kind, u16)> =
            before.iter().flat_map(|(_, bases)| bases).map(|basis| (basis.kind, basis.year)).collect();
        let fill = |correct: &[(Kind, u16)], waived: &[PublicCell]| {
            let filling = Filling {
                catalogue: &catalogue,
                country,
                contributions: &contributions,
                coverage: &coverage,
                rules: &rules,
                now: UnixMs(4_000_000_000_000),
                delay_days: 30,
                protection: Protection::Audited,
                before: before.as_ref().map(|(frozen, bases)| Before { frozen, bases, rules: &|_| RulesNow::Same }),
                number: edition,
                held: &|kind, year, edition| vintages.get(&(kind, year, edition)).cloned(),
                agreed: Agreed { correct, waived },
                fingerprint: &Hash::of,
            };
            let made = jobs(&filling).iter().map(|job| make(job, &filling)).collect::<Result<Vec<_>, _>>();
            made.map(gather)
        };
        // What cannot be protected beside what was published is not corrected, whoever agrees on it.
        let corrected = if made_anew.contains(&edition) { fill(&years, &waived).ok() } else { None };
        if let Some(filled) = &corrected {
            let narrows = json!({ "narrows": narrows(filled, &catalogue, country) });
            fs::write(folder.join(format!("corrected-{edition}.json")), narrows.to_string()).unwrap();
        }
        let corrected = corrected.map_or_else(|| fill(&[], &waived), Ok);
        let mut filled = corrected.unwrap_or_else(|fault| panic!("edition {edition}: {fault}"));
        if let Some((frozen, bases)) = before.as_ref().filter(|_| with_waiver.contains(&edition)) {
            // The first of some small numbers that can be shown beside the others.
            for cell in candidates(frozen, bases, &catalogue, country, &vintages) {
                let with = [waived.as_slice(), std::slice::from_ref(&cell)].concat();
                if let Some(other) = fill(&[], &with).ok().filter(|other| shows(other, &catalogue, country, &cell)) {
                    (filled, waived) = (other, with);
                    break;
                }
            }
        }
        let public = json!(waived.iter().map(|cell| public(cell, &catalogue, country)).collect::<Vec<_>>());
        fs::write(folder.join(format!("waived-{edition}.json")), public.to_string()).unwrap();
        let held = std::mem::take(&mut filled.held);
        vintages.extend(held.into_iter().map(|(kind, year, lines)| ((kind, year, edition), lines)));
        eprintln!("edition {edition}: {:?} {:?} {:?}", filled.revised, filled.kept, filled.corrected);
        // Where somebody who is alone may narrow a cell, the node says so; the campaign shows it beside what the oracle finds.
        eprintln!("edition {edition}: {:?}", filled.audit);
        let tells_of = told.by(&filled, &lines);
        if tells_of != lines {
            fs::write(folder.join(format!("records-{edition}.json")), &text).unwrap();
            fs::write(folder.join(format!("lines-{edition}.json")), json!(tells_of).to_string()).unwrap();
        }
        let cells = cells(filled.blocks.iter(), &catalogue, country);
        fs::write(folder.join(format!("edition-{edition}.json")), json!({ "cells": cells }).to_string()).unwrap();
        before = Some(frozen(filled, country, &catalogue));
    }
}

// Numbers of editions in a file that may be there.
fn editions(folder: &Path, name: &str) -> Vec<u64> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|_| "[]".to_owned());
    serde_json::from_str(&text).unwrap()
}

// What the lines contribute, with the first months of their years declared complete.
fn records(lines: &[Value], months: u8, catalogue: &Catalogue, country: &str) -> (Contributions, Coverage) {
    let (mut contributions, mut coverage) = (Contributions::default(), Coverage::default());
    for line in lines {
        let (kind, part) = part(line, catalogue, country);
        let months = Months::new((part.when.year, 1), (part.when.year, months)).unwrap();
        contributions.add_part(kind, line["case"].as_str().unwrap().as_bytes(), part);
        coverage.declare(kind, months, CoverageState::Complete);
    }
    (contributions, coverage)
}

// Small numbers that were hidden, in an order that looks like chance and is always the same.
fn candidates(
    frozen: &Frozen,
    made_from: &[Basis],
    catalogue: &Catalogue,
    country: &str,
    vintages: &HashMap<(Kind, u16, u64), Vec<HeldLine>>,
) -> Vec<PublicCell> {
    let mut keys = Vec::new();
    for cell in cells(frozen.blocks.values(), catalogue, country) {
        if cell["values"]["seizures"]["state"] == "suppressed" {
            keys.push(cell);
        }
    }
    keys.sort_by_key(|cell| Hash::of(format!("{}{}", cell["table"], cell["key"]).as_bytes()));
    let named = |cell: &Value| {
        let table = catalogue.table(cell["table"].as_str().unwrap()).unwrap();
        let codes: Vec<(&String, &Value)> = cell["key"].as_object().unwrap().iter().collect();
        let key = codes.into_iter().map(|(name, code)| (name.clone(), code.as_str().unwrap().to_owned())).collect();
        let named = waiver::find(table, country, &key, &[]).ok()?;
        let basis = made_from.iter().find(|basis| (basis.kind, basis.year) == (table.kind, named.year))?;
        let held = vintages.get(&(table.kind, named.year, basis.vintages.last()?.edition))?;
        named.with_values(table, country, held).ok()
    };
    keys.iter().filter_map(named).take(8).collect()
}

fn shows(filled: &Filled, catalogue: &Catalogue, country: &str, cell: &PublicCell) -> bool {
    let public = public(cell, catalogue, country);
    let cells = cells(filled.blocks.iter(), catalogue, country);
    let cell = cells.iter().find(|cell| (&cell["table"], &cell["key"]) == (&public["table"], &public["key"])).unwrap();
    public["values"].as_object().unwrap().iter().all(|(measure, value)| cell["values"][measure]["value"] == *value)
}

// A waived cell as the oracle reads it.
fn public(cell: &PublicCell, catalogue: &Catalogue, country: &str) -> Value {
    let table = catalogue.tables().iter().find(|table| table.id == cell.table_id).unwrap();
    let layout = Layout::new(table, country, waiver::year_of(cell).unwrap()).unwrap();
    let mut key = serde_json::Map::new();
    for ((dimension, axis), (level, code)) in
        table.dimensions.iter().zip(layout.axes()).zip(cell.levels.iter().zip(cell.codes.iter()))
    {
        key.insert(dimension.name.clone(), json!(axis.name(*level, *code).unwrap()));
    }
    let values: serde_json::Map<String, Value> = cell
        .numbers
        .iter()
        .map(|number| {
            let of = |index: &usize| table.numbers_of(*index).start == usize::from(number.within);
            let index = (0..table.measures.len()).find(of).unwrap();
            (table.measures[index].id.clone(), json!(number.value))
        })
        .collect();
    json!({ "table": table.name, "key": key, "values": values })
}

// What the latest edition tells of: the lines of each kind and year, and its published months (bit 0 is January).
#[derive(Default)]
struct Told {
    lines: HashMap<(String, String), (Vec<Value>, u16)>,
}

impl Told {
    // The lines that an edition tells of: those of a block that was kept stay, with those of months that it publishes first.
    fn by(&mut self, filled: &Filled, records: &[Value]) -> Vec<Value> {
        let mut all = Vec::new();
        for basis in &filled.bases {
            let (kind, year) = (basis.kind.as_str().to_owned(), format!("{:04}", basis.year));
            let is_kept = filled.kept.iter().any(|(kind, year, _)| (*kind, *year) == (basis.kind, basis.year));
            let mut records: Vec<Value> =
                records.iter().filter(|line| line["kind"] == kind.as_str()).cloned().collect();
            records.retain(|line| line["time"].as_str().unwrap().starts_with(&year));
            records.retain(|line| is_published(line, basis.months));
            let stands = self.lines.remove(&(kind.clone(), year.clone()));
            let lines = match stands.filter(|_| is_kept) {
                Some((mut lines, before)) => {
                    lines.extend(records.into_iter().filter(|line| !is_published(line, before)));
                    lines
                }
                None => records,
            };
            all.extend(lines.iter().cloned());
            self.lines.insert((kind, year), (lines, basis.months));
        }
        all
    }
}

// Whether every month that a line may be of is published.
fn is_published(line: &Value, months: u16) -> bool {
    let time = line["time"].as_str().unwrap();
    let all: Vec<u16> = match time.get(5..) {
        None => (1..=12).collect(),
        Some(quarter) if quarter.starts_with('Q') => {
            let quarter: u16 = quarter[1..].parse().unwrap();
            (quarter * 3 - 2..=quarter * 3).collect()
        }
        Some(month) => vec![month.parse().unwrap()],
    };
    all.iter().all(|month| months >> (month - 1) & 1 == 1)
}

// A line as the oracle writes it (README), in its leaves.
fn part(line: &Value, catalogue: &Catalogue, country: &str) -> (Kind, Part) {
    let kind = Kind::from_word(line["kind"].as_str().unwrap()).unwrap();
    let mut leaves = [0; LEAVES];
    for (slot, name) in leaves.iter_mut().zip(dimensions(kind)) {
        let mut tables =
            catalogue.tables().iter().filter(|table| table.kind == kind).flat_map(|table| &table.dimensions);
        let Some(dimension) = tables.find(|dimension| dimension.name == *name) else { continue };
        let tree = code::tree(&dimension.list, country).unwrap();
        let code = tree.find(line[*name].as_str().unwrap_or("_U")).unwrap();
        *slot = u16::try_from(tree.leaf(code).unwrap()).unwrap();
    }
    let time = line["time"].as_str().unwrap();
    let year = time[..4].parse().unwrap();
    let (quarter, month) = match time.get(5..) {
        None => (0, 0),
        Some(quarter) if quarter.starts_with('Q') => (quarter[1..].parse().unwrap(), 0),
        Some(month) => (0, month.parse().unwrap()),
    };
    let amount = |name: &str| line[name].as_u64();
    let amount = amount("mass_mg")
        .map(Amount::MassMg)
        .or_else(|| amount("volume_ml").map(Amount::VolumeMl))
        .or_else(|| amount("tablets").map(|count| Amount::Count(Unit::Tablet, count)))
        .or_else(|| amount("doses").map(|count| Amount::Count(Unit::Dose, count)));
    let when = When { year, quarter, month, day: 0 };
    (kind, Part { when, leaves, amount, value: line["value"].as_u64(), groups: 0 })
}

// The numbers of which a correction says that they can perhaps be narrowed: cells as below, with the measures that are meant.
fn narrows(filled: &Filled, catalogue: &Catalogue, country: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for correction in &filled.corrected {
        for (table_id, number) in &correction.narrowed {
            let table = catalogue.tables().iter().find(|table| table.id == *table_id).unwrap();
            let layout = Layout::new(table, country, correction.year).unwrap();
            let (cell, within) = (number / layout.width(), number % layout.width());
            let measure = (0..table.measures.len()).find(|index| table.numbers_of(*index).contains(&within)).unwrap();
            let (set, first) = layout.sets().iter().rfind(|(_, first)| *first <= cell).unwrap();
            found.push(json!({
                "kind": correction.kind.as_str(), "table": table.name,
                "key": key(table, &layout, set, cell - first), "measure": table.measures[measure].id,
            }));
        }
    }
    found
}

// The codes of the cell at a place within a level set.
fn key(table: &Table, layout: &Layout, set: &LevelSet, at: usize) -> serde_json::Map<String, Value> {
    let mut rest = at;
    let mut key = serde_json::Map::new();
    for (place, codes) in layout.numbers(set).iter().enumerate().rev() {
        let name = layout.axes()[place].name(set.levels[place], codes[rest % codes.len()]).unwrap();
        key.insert(table.dimensions[place].name.clone(), json!(name));
        rest /= codes.len();
    }
    key
}

// Cells as `accord edition show --cells` gives them.
fn cells<'a>(blocks: impl Iterator<Item = &'a Block>, catalogue: &Catalogue, country: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for block in blocks {
        let table = catalogue.tables().iter().find(|table| table.id == block.table_id).unwrap();
        let layout = Layout::new(table, country, block.year).unwrap();
        let numbers: Vec<Released> =
            block.cells.as_chunks::<CELL_LEN>().0.iter().map(|bytes| Released::from_bytes(*bytes).unwrap()).collect();
        for (set, first) in layout.sets() {
            let size: usize = layout.numbers(set).iter().map(Vec::len).product();
            for offset in 0..size {
                let key = key(table, &layout, set, offset);
                let values = values(table, set.measures, &numbers[(first + offset) * layout.width()..]);
                found.push(json!({ "table": table.name, "key": key, "values": values }));
            }
        }
    }
    found
}

fn values(table: &Table, measures: u32, numbers: &[Released]) -> Value {
    let offered = table.measures.iter().enumerate().filter(|(index, _)| measures >> index & 1 == 1);
    let said = |released: Released| match (released.state(), released.number()) {
        (State::Value, Some(number)) => json!({ "state": "value", "value": number }),
        (state, _) => json!({ "state": state.as_str() }),
    };
    let of_measure = |(index, measure): (usize, &accord_protocol::catalogue::Measure)| {
        let single = !matches!(measure.of, Quantity::Mean | Quantity::Histogram);
        assert!(single, "random sets have counts and sums alone");
        (measure.id.clone(), said(numbers[table.numbers_of(index).start]))
    };
    offered.map(of_measure).collect::<serde_json::Map<_, _>>().into()
}

fn frozen(filled: Filled, country: &str, catalogue: &Arc<Catalogue>) -> (Frozen, Vec<Basis>) {
    let header = EditionHeader {
        preamble: Preamble,
        number: 1,
        prev_commit: Hash::ZERO,
        commit: Hash::ZERO,
        rules_hash: Hash::ZERO,
        catalogue_hash: catalogue.hash,
        protection: Protection::Audited,
        coverage: Bounded::default(),
        as_of: UnixMs(0),
        published_at: UnixMs(0),
    };
    let blocks: HashMap<_, _> = filled.blocks.into_iter().map(|block| ((block.table_id, block.year), block)).collect();
    (Frozen::new(country, header, Arc::clone(catalogue), blocks), filled.bases)
}
