//! An edition as its operator sees it: tables, cells, and why numbers are hidden, as JSON (`contract.md` 1.6).

use std::collections::{BTreeMap, HashMap};

use accord_protocol::{
    catalogue::{Catalogue, Measure, OPEN_EDGE, Quantity, Table},
    cell::{CELL_LEN, Released, State},
    edition::{CoverageRow, Layout},
};
use serde_json::{Map, Value, json};

use crate::domain::{
    disclosure::{Reason, Rules},
    edition::{Block, Share, reason},
};

/// The rules of an edition.
pub(super) fn rules_json(rules: &Rules) -> Value {
    json!({
        "k": rules.k(),
        "p_percent": f64::from(rules.p_percent()),
        "dominance_percent": f64::from(rules.dominance_percent()),
        "zeros": rules.zeros().as_str(),
        "hash": rules.hash().to_string(),
    })
}

/// Declared coverage.
pub(super) fn coverage_rows_json(rows: &[CoverageRow]) -> Value {
    rows.iter()
        .map(|row| {
            let (from, to) = row.months.ends();
            json!({ "kind": row.kind.as_str(), "from": from, "to": to, "state": row.state.as_str() })
        })
        .collect()
}

/// An edition's cells as JSON for the operator.
pub(super) struct View<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) country: &'a str,
    pub(super) blocks: &'a HashMap<(u16, u16), Block>,
    pub(super) shares: &'a [Share],
}

impl View<'_> {
    pub(super) fn tables(&self, only: Option<&str>, with_cells: bool, result: &mut Map<String, Value>) {
        let mut tables = Vec::new();
        let mut cells = Vec::new();
        for table in self.catalogue.tables().iter().filter(|table| only.is_none_or(|only| only == table.name)) {
            tables.push(self.table(table, with_cells, &mut cells));
        }
        result.insert("tables".into(), Value::Array(tables));
        if with_cells {
            result.insert("cells".into(), Value::Array(cells));
        }
    }

    /// One table; its cells are added to the list if they are asked for.
    pub(super) fn table(&self, table: &Table, with_cells: bool, listed: &mut Vec<Value>) -> Value {
        let mut states: BTreeMap<&str, u64> = State::ALL.iter().map(|state| (state.as_str(), 0)).collect();
        let mut reasons: BTreeMap<&str, u64> = Reason::ALL.iter().map(|reason| (reason.as_str(), 0)).collect();
        let mut cells = 0u64;
        let mut levels: BTreeMap<Vec<u8>, (u64, u64)> = BTreeMap::new();
        let mut years: Vec<u16> = self.blocks.keys().filter(|(id, _)| *id == table.id).map(|(_, year)| *year).collect();
        years.sort_unstable();
        for year in years {
            let (Some(block), Ok(layout)) =
                (self.blocks.get(&(table.id, year)), Layout::new(table, self.country, year))
            else {
                continue;
            };
            for (set, first) in layout.sets() {
                let numbers = layout.numbers(set);
                let count: usize = numbers.iter().map(Vec::len).product();
                let names: Vec<Vec<String>> = layout
                    .axes()
                    .iter()
                    .zip(&set.levels)
                    .zip(&numbers)
                    .map(|((axis, level), numbers)| {
                        numbers.iter().map(|number| axis.name(*level, *number).unwrap_or_default()).collect()
                    })
                    .collect();
                let level = levels.entry(set.levels.clone()).or_default();
                for offset in 0..count {
                    let cell = first + offset;
                    let number_at = |place: usize| {
                        let at = cell * layout.width() + place;
                        let bytes = block.cells.as_chunks::<CELL_LEN>().0.get(at).copied();
                        let released =
                            bytes.and_then(|bytes| Released::from_bytes(bytes).ok()).unwrap_or(Released::NOT_AVAILABLE);
                        (released, block.reasons.get(at).copied().and_then(reason))
                    };
                    cells += 1;
                    level.0 += 1;
                    let (first_measure, _) = number_at(0);
                    level.1 += u64::from(first_measure.state() == State::Value);
                    *states.entry(first_measure.state().as_str()).or_default() += 1;
                    let mut values = Map::new();
                    for (index, measure) in
                        table.measures.iter().enumerate().filter(|(index, _)| set.measures >> index & 1 == 1)
                    {
                        let numbers: Vec<_> = table.numbers_of(index).map(number_at).collect();
                        if let Some((_, Some(reason))) = numbers.first() {
                            *reasons.entry(reason.as_str()).or_default() += 1;
                        }
                        if with_cells {
                            values.insert(measure.id.clone(), measure_json(measure, &numbers));
                        }
                    }
                    if with_cells {
                        let key: Map<String, Value> = table
                            .dimensions
                            .iter()
                            .zip(position(&names, offset))
                            .map(|(dimension, name)| (dimension.name.clone(), json!(name)))
                            .collect();
                        listed.push(json!({ "table": table.name, "key": key, "values": values }));
                    }
                }
            }
        }
        let levels: Vec<Value> =
            levels.into_iter().map(|(set, (count, value))| self.level(table, &set, count, value)).collect();
        json!({ "table": table.name, "cells": cells, "states": states, "levels": levels, "reasons": reasons })
    }

    fn level(&self, table: &Table, set: &[u8], cells: u64, value: u64) -> Value {
        let axes = table.axes(self.country).unwrap_or_default();
        let levels: BTreeMap<String, String> = table
            .dimensions
            .iter()
            .zip(&axes)
            .zip(set)
            .map(|((dimension, axis), level)| {
                (dimension.name.clone(), axis.level_names().get(usize::from(*level)).cloned().unwrap_or_default())
            })
            .collect();
        let share = self
            .shares
            .iter()
            .find(|share| share.table == table.name && share.levels == levels)
            .cloned()
            .unwrap_or_default();
        json!({
            "levels": levels, "cells": cells, "value": value,
            "cells_shown_percent": percent(share.shown, share.nonzero),
            "cases_shown_percent": percent(share.cases_shown, share.cases),
        })
    }
}

/// The codes of a cell of a block, by dimension.
pub(super) fn cell_key(table: &Table, layout: &Layout, cell: usize) -> Map<String, Value> {
    let Some((set, first)) = layout.sets().iter().rev().find(|(_, first)| *first <= cell) else { return Map::new() };
    let mut offset = cell - first;
    let mut codes = Vec::new();
    let numbers = layout.numbers(set);
    for ((axis, level), numbers) in layout.axes().iter().zip(&set.levels).zip(&numbers).rev() {
        let number = numbers.get(offset % numbers.len().max(1));
        codes.push(number.and_then(|number| axis.name(*level, *number)).unwrap_or_default());
        offset /= numbers.len().max(1);
    }
    let names = table.dimensions.iter().map(|dimension| dimension.name.clone());
    names.zip(codes.into_iter().rev().map(Value::String)).collect()
}

fn position(names: &[Vec<String>], mut offset: usize) -> Vec<&str> {
    let mut found: Vec<&str> = names
        .iter()
        .rev()
        .map(|names| {
            let name = names.get(offset % names.len().max(1)).map_or("", String::as_str);
            offset /= names.len().max(1);
            name
        })
        .collect();
    found.reverse();
    found
}

// Counts and sums are one number; means and histograms have their parts (`contract.md` 1.7).
fn measure_json(measure: &Measure, numbers: &[(Released, Option<Reason>)]) -> Value {
    let Some((first, first_reason)) = numbers.first().copied() else { return Value::Null };
    let mut value = value_json(first, first_reason);
    let (Some(fields), Some(lines)) = (value.as_object_mut(), first.number()) else { return value };
    match measure.of {
        Quantity::Mean => {
            let sum = numbers.get(1).and_then(|(sum, _)| sum.number()).unwrap_or(0);
            fields.remove("value");
            fields.insert("n".into(), json!(lines));
            fields.insert("sum".into(), json!(sum));
            fields.insert("mean_hundredths".into(), json!((lines > 0).then(|| (sum * 200 + lines) / (lines * 2))));
        }
        Quantity::Histogram => {
            let bins: Vec<Value> = measure
                .all_bins()
                .zip(numbers.iter().skip(1))
                .map(|((from, to), (released, reason))| {
                    let mut bin = value_json(*released, *reason);
                    if let Some(bin) = bin.as_object_mut() {
                        bin.insert("from".into(), json!(from));
                        bin.insert("to".into(), json!((to != OPEN_EDGE).then_some(to)));
                    }
                    bin
                })
                .collect();
            fields.remove("value");
            fields.insert("n".into(), json!(lines));
            fields.insert("bins".into(), Value::Array(bins));
        }
        _ => {}
    }
    value
}

fn value_json(released: Released, reason: Option<Reason>) -> Value {
    match (released.number(), reason) {
        // It says what an earlier edition said: its change is kept back.
        (Some(number), Some(reason)) => json!({ "state": "value", "value": number, "reason": reason.as_str() }),
        (Some(number), None) => json!({ "state": "value", "value": number }),
        (None, Some(reason)) => json!({ "state": released.state().as_str(), "reason": reason.as_str() }),
        (None, None) => json!({ "state": released.state().as_str() }),
    }
}

/// A share in per cent with one decimal; 0 of 0 is 0.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    let tenths = u32::try_from((part * 1000 + whole / 2) / whole).unwrap_or(1000);
    f64::from(tenths) / 10.0
}
