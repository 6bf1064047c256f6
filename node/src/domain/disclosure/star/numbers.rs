//! The numbers of a star: every cell that is published, once for all tables that have it, and the nodes in which tables meet.

use std::collections::HashMap;

use accord_protocol::{
    catalogue::{Measure, Quantity, Table},
    time::{Period, TimeLevel},
};

use super::{
    Block, Family, Filled, Key, Links, NONE, Node, Star,
    bases::hub_leaves,
    values::{BINS, LINES, MEASURED, WEIGHED, What},
};
use crate::domain::tabulate::Cell;

// One measure of counts of one cell.
struct Counted<'a> {
    table: &'a Table,
    cell: &'a Cell,
    index: usize,
    key: Key,
    lead: u32,
    // For each bin of each measure the first one with the same range.
    same_bin: &'a [Vec<usize>],
}

impl Star {
    fn node(&mut self, keys: &mut HashMap<Key, u32>, key: Key, node: impl FnOnce() -> Node) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let index = *keys.entry(key).or_insert(next);
        if index == next {
            self.nodes.push(node());
        }
        index
    }

    pub(super) fn add_numbers(
        &mut self,
        of: &Filled<'_>,
        keys: &mut HashMap<Key, u32>,
        published: &dyn Fn(Period) -> bool,
        family: Family,
    ) -> Vec<u32> {
        let (table, layout) = (of.table, of.layout);
        // Two bins of one range, at different depths, are one number.
        let same_bin: Vec<Vec<usize>> = table.measures.iter().map(first_of_same_range).collect();
        let width = layout.width();
        let mut found = vec![NONE; layout.cells() * width];
        let finest = finest(of, family);
        for (set, first) in layout.sets().iter().filter(|(set, _)| offers(table, set.measures, family)) {
            let numbers = layout.numbers(set);
            let size: usize = numbers.iter().map(Vec::len).product();
            let level = set.levels.first().copied().and_then(TimeLevel::from_number).unwrap_or(TimeLevel::Year);
            let weight = weight(level, &set.levels, &finest);
            for offset in 0..size {
                let coordinates = coordinates(&numbers, offset);
                let available = coordinates.first().and_then(|time| Period::from_number(*time)).is_some_and(published);
                let Some(cell) = of.cells.get(first + offset).filter(|_| available) else { continue };
                let key = key(table, &set.levels, &coordinates);
                let national = key.0 == 0 && level == TimeLevel::Year && is_root(table, &set.levels, "drug");
                let blank = |lines, cases, lead| Node {
                    lines,
                    cases,
                    lead,
                    offered: true,
                    weight,
                    national,
                    links: Vec::new(),
                };
                let mut put = |number: usize, node: u32| {
                    if let Some(slot) = found.get_mut((first + offset) * width + number) {
                        *slot = node;
                    }
                };
                let of_family =
                    |(index, measure): &(usize, &Measure)| set.measures >> index & 1 == 1 && family.has(measure.of);
                if let Family::Sums(_) = family {
                    for (index, _) in table.measures.iter().enumerate().filter(of_family) {
                        let Some(magnitude) = cell.magnitudes.get(index) else { continue };
                        let sum = u64::try_from(magnitude.sum).unwrap_or(u64::MAX);
                        let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
                        let node = Node { national: false, ..blank(sum, magnitude.contributors, next) };
                        put(table.numbers_of(index).start, self.node(keys, key, || node));
                    }
                    continue;
                }
                let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
                let lead = self.node(keys, key, || blank(cell.lines, cell.cases, next));
                // What stands in several tables is lost in all of them.
                if let Some(node) = self.nodes.get_mut(lead as usize).filter(|_| lead < next) {
                    node.weight += weight;
                }
                for (index, _) in table.measures.iter().enumerate().filter(of_family) {
                    let counted = Counted { table, cell, index, key, lead, same_bin: &same_bin };
                    for (number, node) in self.count_nodes(&counted, keys, &blank) {
                        put(number, node);
                    }
                }
            }
        }
        found
    }

    // The nodes of one measure of counts of a cell, with their places among the numbers of the table.
    fn count_nodes(
        &mut self,
        of: &Counted<'_>,
        keys: &mut HashMap<Key, u32>,
        blank: &dyn Fn(u64, u64, u32) -> Node,
    ) -> Vec<(usize, u32)> {
        let (cell, mut key) = (of.cell, of.key);
        let first = of.table.numbers_of(of.index).start;
        let measured = (cell.values.lines, cell.values.cases);
        match of.table.measures.get(of.index).map(|measure| measure.of) {
            Some(Quantity::Lines) => vec![(first, of.lead)],
            Some(Quantity::LinesWeighed) => {
                key.2 = WEIGHED;
                let weighed = blank(cell.lines_weighed, cell.cases, of.lead);
                let node = Node { weight: WEIGHT_OF_WEIGHED, national: false, ..weighed };
                vec![(first, self.node(keys, key, || node))]
            }
            Some(Quantity::LinesMeasured) => vec![(first, self.own(keys, &mut key, MEASURED, measured, None, blank))],
            Some(Quantity::Histogram) => {
                let measured = self.own(keys, &mut key, MEASURED, measured, None, blank);
                let mut found = vec![(first, measured)];
                for (bin, tally) in cell.bins.get(of.index).into_iter().flatten().enumerate() {
                    let same = of.same_bin.get(of.index).and_then(|same| same.get(bin)).copied().unwrap_or(bin);
                    let what = BINS + u16::try_from(same).unwrap_or(u16::MAX - BINS);
                    let tally = (tally.lines, tally.cases);
                    found.push((first + 1 + bin, self.own(keys, &mut key, what, tally, Some(measured), blank)));
                }
                found
            }
            _ => Vec::new(),
        }
    }

    // A node for a part of a cell's lines: a histogram's bins are not shown where their number of lines is not.
    fn own(
        &mut self,
        keys: &mut HashMap<Key, u32>,
        key: &mut Key,
        what: What,
        (lines, cases): (u64, u64),
        lead: Option<u32>,
        blank: &dyn Fn(u64, u64, u32) -> Node,
    ) -> u32 {
        key.2 = what;
        let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.node(keys, *key, || Node { national: false, ..blank(lines, cases, lead.unwrap_or(next)) })
    }

    // The nodes in which a table's base cells meet the hub: every leaf of time and drug that the table has.
    pub(super) fn add_links(
        &mut self,
        of: &Filled<'_>,
        levels: &[u8],
        block: Block<'_>,
        whats: &[What],
        keys: &mut HashMap<Key, u32>,
        link: &mut Links,
    ) {
        let (Some(time), Some(drug)) = hub_leaves(of, levels, block) else { return };
        for (t, f) in (0..time.len()).flat_map(|t| (0..drug.len()).map(move |f| (t, f))) {
            let (Some(t), Some(f)) = (time.above(t).last(), drug.above(f).last()) else { continue };
            for what in whats {
                let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
                let node = self.node(keys, (0, hub_coordinates(t, f), *what), || Node {
                    lines: 0,
                    cases: 0,
                    lead: next,
                    offered: false,
                    weight: 1,
                    national: false,
                    links: Vec::new(),
                });
                link.insert((t, f, *what), node);
            }
        }
    }
}

// The finest level of each dimension of a table.
pub(super) fn finest(of: &Filled<'_>, family: Family) -> Vec<u8> {
    let mut levels = vec![0; of.table.dimensions.len()];
    for (set, _) in of.layout.sets().iter().filter(|(set, _)| offers(of.table, set.measures, family)) {
        levels.iter_mut().zip(&set.levels).for_each(|(finest, level)| *finest = (*finest).max(*level));
    }
    levels
}

// For each bin of a measure the first one with the same range.
fn first_of_same_range(measure: &Measure) -> Vec<usize> {
    let bins: Vec<(u64, u64)> = measure.all_bins().collect();
    bins.iter().map(|bin| bins.iter().position(|before| before == bin).unwrap_or(0)).collect()
}

// Whether a set of levels has a measure of the family.
pub(super) fn offers(table: &Table, measures: u32, family: Family) -> bool {
    table.measures.iter().enumerate().any(|(index, measure)| measures >> index & 1 == 1 && family.has(measure.of))
}

// Month 1, quarter 1, year 2 (`disclosure.md` A.1), in fortieths. A level costs as much as all finer ones of its dimension together:
// of numbers that are equal because a group has one substance only, the coarsest is the one that people ask for.
fn weight(time: TimeLevel, levels: &[u8], finest: &[u8]) -> u64 {
    let of_time = match time {
        TimeLevel::Year => 80,
        TimeLevel::Quarter => 42,
        TimeLevel::Month => 40,
    };
    let above: u32 =
        levels.iter().zip(finest).skip(1).map(|(level, finest)| u32::from(finest.saturating_sub(*level))).sum();
    of_time << above.min(16)
}

// Lines with a mass are looked at less than lines.
const WEIGHT_OF_WEIGHED: u64 = 10;

pub(super) fn is_hub(table: &Table) -> bool {
    table.dimensions.iter().all(|dimension| ["time", "drug"].contains(&dimension.name.as_str()))
}

// Whether a dimension stands at its root.
fn is_root(table: &Table, levels: &[u8], name: &str) -> bool {
    table.dimension(name).and_then(|place| levels.get(place)) == Some(&0)
}

// A cell is named by time and drug alone where every further dimension stands at its total.
pub(super) fn key(table: &Table, levels: &[u8], coordinates: &[u32]) -> Key {
    let further = |name: &str| !["time", "drug"].contains(&name);
    let in_hub = table.dimensions.iter().zip(levels).all(|(dimension, level)| !further(&dimension.name) || *level == 0);
    if in_hub {
        let at = |name: &str| table.dimension(name).and_then(|place| coordinates.get(place)).copied().unwrap_or(0);
        return (0, hub_coordinates(at("time"), at("drug")), LINES);
    }
    let mut all = [0; 8];
    all.iter_mut().zip(coordinates).for_each(|(slot, number)| *slot = *number);
    (table.id, all, LINES)
}

pub(super) fn hub_coordinates(time: u32, drug: u32) -> [u32; 8] {
    [time, drug, 0, 0, 0, 0, 0, 0]
}

fn coordinates(numbers: &[Vec<u32>], offset: usize) -> Vec<u32> {
    let mut rest = offset;
    let mut found: Vec<u32> = numbers
        .iter()
        .rev()
        .map(|codes| {
            let number = codes.get(rest % codes.len().max(1)).copied().unwrap_or(0);
            rest /= codes.len().max(1);
            number
        })
        .collect();
    found.reverse();
    found
}
