//! The equations of a block: the count cells of one kind of record and calendar year, and the base cells that they are sums of.
//!
//! The tables of a kind are a star (`disclosure.md` A.1): they share time by drug, and every other dimension stands in one of
//! them. So an attacker knows exactly this: one non-negative whole number for each base cell of each table, and for each time and
//! drug the same sum in every table.

mod leaves;
mod lists;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use accord_protocol::{
    catalogue::{Axis, Quantity, Table},
    edition::Layout,
    time::{Period, TimeLevel},
};

use crate::domain::{
    contribution::{Contribution, WEIGHT_LIST, band_has_mass, slot},
    tabulate::Cell,
};
use leaves::Leaves;
use lists::Lists;
use values::{BINS, LINES, MEASURED, UNWEIGHED, Values, WEIGHED, What};

/// No node: the number is not a count, or not available.
pub const NONE: u32 = u32::MAX;

/// One count: a number of lines that is published, or that links two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Lines.
    pub lines: u64,
    /// Distinct cases behind it.
    pub cases: u64,
    /// The node without which it is not shown; itself for most. Lines with a mass are never shown where the lines are not.
    pub lead: u32,
    /// Whether some table publishes it.
    pub offered: bool,
    /// What hiding one case of it costs, by level.
    pub weight: u64,
    /// The year's total over all drugs, which an attacker is taken to know.
    pub national: bool,
    /// A hub node that has a place in every table's base: tables whose base rows end in it.
    pub links: Vec<u16>,
}

/// Who is behind a base cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cases {
    /// Nobody.
    None,
    /// One case.
    One(u32),
    /// Several.
    Many,
}

/// One variable: the lines of one leaf of each dimension of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Lines.
    pub lines: u64,
    /// Cases.
    pub cases: Cases,
    /// Which table of the star.
    pub table: u16,
    /// Whether the table has any line of the same time and drug.
    pub seen: bool,
}

/// The count cells of a block and their equations.
#[derive(Debug, Default)]
pub struct Star {
    /// Every count.
    pub nodes: Vec<Node>,
    /// Every variable, table after table; table 0 has the hub.
    pub bases: Vec<Base>,
    /// For each table that is published, its node at each number of its block, or [`NONE`].
    pub numbers: Vec<Vec<u32>>,
    above: Lists,
    below: Lists,
    // The node that links a table's base cell to the hub; `NONE` in the hub itself.
    link: Vec<u32>,
}

/// What a block is made of, beside its tables.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// The lines of the kind and year.
    pub lines: &'a [Contribution],
    /// The calendar year.
    pub year: u16,
    /// Which periods are published.
    pub published: &'a dyn Fn(Period) -> bool,
}

impl std::fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("year", &self.year).field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

// For each time and drug in which a table meets the hub, and what of it is counted, the node.
type Links = BTreeMap<(u32, u32, What), u32>;

/// One table of the star as it is filled.
#[derive(Debug, Clone, Copy)]
pub struct Filled<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its layout.
    pub layout: &'a Layout,
    /// Its cells before protection, in layout order.
    pub cells: &'a [Cell],
}

type Key = (u16, [u32; 8], What);

impl Star {
    /// Lays out the count cells of a kind and year.
    pub fn new(filled: &[Filled<'_>], block: Block<'_>) -> Self {
        let mut star = Self::default();
        let mut keys: HashMap<Key, u32> = HashMap::new();
        for of in filled {
            let numbers = star.add_numbers(of, &mut keys, block.published);
            star.numbers.push(numbers);
        }
        // The hub first: the table of time and drug alone that is finest in both, or one made for the purpose.
        let levels: Vec<Vec<u8>> = filled.iter().map(finest).collect();
        let hub_levels =
            |place: usize| levels.iter().filter_map(|levels| levels.get(place)).copied().max().unwrap_or(0);
        let hub = filled.iter().zip(&levels).position(|(of, levels)| {
            filled.len() == 1
                || of.table.dimensions.len() == 2 && *levels == [hub_levels(0), hub_levels(1)] && is_hub(of.table)
        });
        let weighed =
            hub.and_then(|hub| filled.get(hub)).is_some_and(|of| matches!(Values::of(of.table), Values::Weighed));
        let mut link = BTreeMap::new();
        if filled.len() > 1 {
            for (of, levels) in
                filled.iter().zip(&levels).enumerate().filter(|(at, _)| Some(*at) != hub).map(|(_, of)| of)
            {
                let whats: &[What] = if weighed && bands(of).is_some() { &[WEIGHED, UNWEIGHED] } else { &[LINES] };
                star.add_links(of, levels, block, whats, &mut keys, &mut link);
            }
        }
        match hub.and_then(|hub| filled.get(hub).zip(levels.get(hub))) {
            Some((of, levels)) => star.add_bases(of, levels, &keys, None, block),
            None => {
                if let Some(of) = filled.first() {
                    star.add_hub(of, [hub_levels(0), hub_levels(1)], &keys, block);
                }
            }
        }
        let others = filled.iter().zip(&levels).enumerate().filter(|(at, _)| Some(*at) != hub);
        for (number, (_, (of, levels))) in others.enumerate() {
            let table = u16::try_from(number + 1).unwrap_or(u16::MAX);
            star.add_bases(of, levels, &keys, Some((table, &link)), block);
        }
        star.below = star.above.inverted(star.nodes.len());
        for (table, node) in
            star.bases.iter().zip(&star.link).filter(|(_, link)| **link != NONE).map(|(b, l)| (b.table, *l))
        {
            if let Some(node) = star.nodes.get_mut(node as usize)
                && !node.links.contains(&table)
            {
                node.links.push(table);
            }
        }
        star
    }

    /// Equations that come from elsewhere: nodes, and base cells with the nodes that count them and their link.
    pub fn from_parts(nodes: Vec<Node>, bases: Vec<(Base, Vec<u32>, u32)>) -> Self {
        let mut star = Self { nodes, ..Self::default() };
        for (base, above, link) in bases {
            star.bases.push(base);
            star.above.push(above);
            star.link.push(link);
        }
        star.below = star.above.inverted(star.nodes.len());
        star
    }

    /// The nodes that a base cell is counted in; for a base cell outside the hub its link is among them.
    pub fn above(&self, base: usize) -> &[u32] {
        self.above.get(base)
    }

    /// The base cells that a node counts: in the hub for a node of the hub, and in each table that links to it.
    pub fn below(&self, node: usize) -> &[u32] {
        self.below.get(node)
    }

    /// The node that links a base cell of a table to the hub; [`NONE`] in the hub.
    pub fn link(&self, base: usize) -> u32 {
        self.link.get(base).copied().unwrap_or(NONE)
    }

    fn node(&mut self, keys: &mut HashMap<Key, u32>, key: Key, node: impl FnOnce() -> Node) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let index = *keys.entry(key).or_insert(next);
        if index == next {
            self.nodes.push(node());
        }
        index
    }

    fn add_numbers(
        &mut self,
        of: &Filled<'_>,
        keys: &mut HashMap<Key, u32>,
        published: &dyn Fn(Period) -> bool,
    ) -> Vec<u32> {
        let (table, layout) = (of.table, of.layout);
        let width = layout.width();
        let mut found = vec![NONE; layout.cells() * width];
        let finest = finest(of);
        for (set, first) in layout.sets() {
            let numbers = layout.numbers(set);
            let size: usize = numbers.iter().map(Vec::len).product();
            let level = set.levels.first().copied().and_then(TimeLevel::from_number).unwrap_or(TimeLevel::Year);
            let weight = weight(level, &set.levels, &finest);
            for offset in 0..size {
                let coordinates = coordinates(&numbers, offset);
                let available = coordinates.first().and_then(|time| Period::from_number(*time)).is_some_and(published);
                let Some(cell) = of.cells.get(first + offset).filter(|_| available) else { continue };
                let mut key = key(table, &set.levels, &coordinates);
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
                let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
                let lead = self.node(keys, key, || blank(cell.lines, cell.cases, next));
                // What stands in several tables is lost in all of them.
                if let Some(node) = self.nodes.get_mut(lead as usize).filter(|_| lead < next) {
                    node.weight += weight;
                }
                let mut put = |number: usize, node: u32| {
                    if let Some(slot) = found.get_mut((first + offset) * width + number) {
                        *slot = node;
                    }
                };
                for (index, measure) in
                    table.measures.iter().enumerate().filter(|(index, _)| set.measures >> index & 1 == 1)
                {
                    let range = table.numbers_of(index);
                    match measure.of {
                        Quantity::Lines => put(range.start, lead),
                        Quantity::LinesWeighed => {
                            key.2 = WEIGHED;
                            let node = Node {
                                weight: WEIGHT_OF_WEIGHED,
                                national: false,
                                ..blank(cell.lines_weighed, cell.cases, lead)
                            };
                            put(range.start, self.node(keys, key, || node));
                        }
                        Quantity::LinesMeasured => {
                            put(
                                range.start,
                                self.own(keys, &mut key, MEASURED, cell.values.lines, cell.values.cases, &blank),
                            );
                        }
                        Quantity::Histogram => {
                            put(
                                range.start,
                                self.own(keys, &mut key, MEASURED, cell.values.lines, cell.values.cases, &blank),
                            );
                            let tallies = cell.bins.get(index).map_or(&[] as &[_], Vec::as_slice);
                            for (bin, tally) in tallies.iter().enumerate() {
                                let what = BINS + u16::try_from(bin).unwrap_or(u16::MAX - BINS);
                                put(
                                    range.start + 1 + bin,
                                    self.own(keys, &mut key, what, tally.lines, tally.cases, &blank),
                                );
                            }
                        }
                        Quantity::MassMg
                        | Quantity::Tablets
                        | Quantity::Doses
                        | Quantity::VolumeMl
                        | Quantity::Cases
                        | Quantity::Mean => {}
                    }
                }
            }
        }
        found
    }

    // A node with a state of its own.
    fn own(
        &mut self,
        keys: &mut HashMap<Key, u32>,
        key: &mut Key,
        what: What,
        lines: u64,
        cases: u64,
        blank: &dyn Fn(u64, u64, u32) -> Node,
    ) -> u32 {
        key.2 = what;
        let index = self.node(keys, *key, || blank(lines, cases, NONE));
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.lead = index;
        }
        index
    }

    // The nodes in which a table's base cells meet the hub: every leaf of time and drug that the table has.
    fn add_links(
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

    fn add_hub(&mut self, of: &Filled<'_>, levels: [u8; 2], keys: &HashMap<Key, u32>, block: Block<'_>) {
        let drug = of.table.dimensions.iter().position(|dimension| dimension.name == "drug");
        let Some(axis) = drug.and_then(|drug| of.layout.axes().get(drug)) else { return };
        let leaves = vec![
            Leaves::time(levels[0], block.year, block.published),
            Leaves::codes(axis, levels[1], slot(of.table.kind, "drug")),
        ];
        let above = |at: &[usize]| hub_nodes(&leaves, at, Some((0, 1)), &[LINES], keys);
        self.add_all(&leaves, &Values::Lines, block.lines, 0, Some(1), |at, _| (above(at), NONE));
    }

    fn add_bases(
        &mut self,
        of: &Filled<'_>,
        levels: &[u8],
        keys: &HashMap<Key, u32>,
        linked: Option<(u16, &Links)>,
        block: Block<'_>,
    ) {
        let table = of.table;
        let leaves: Vec<Leaves> = table
            .dimensions
            .iter()
            .zip(of.layout.axes())
            .zip(levels)
            .map(|((dimension, axis), level)| match axis {
                Axis::Time => Leaves::time(*level, block.year, block.published),
                Axis::Codes(_) => Leaves::codes(axis, *level, slot(table.kind, &dimension.name)),
            })
            .collect();
        let values = Values::of(table);
        let drug = table.dimension("drug");
        let bands = bands(of);
        let own = |at: &[usize], value: usize| {
            let whats = [&[LINES], values.whats(value).as_slice()].concat();
            let mut nodes: Vec<u32> = Vec::new();
            for (set, _) in of.layout.sets() {
                let mut coordinates = Vec::with_capacity(leaves.len());
                for ((leaves, leaf), level) in leaves.iter().zip(at).zip(&set.levels) {
                    let Some(number) = leaves.at(*leaf, *level) else { break };
                    coordinates.push(number);
                }
                if coordinates.len() != leaves.len() {
                    continue;
                }
                let mut key = key(table, &set.levels, &coordinates);
                // Outside the hub, nodes of the hub are reached through the link.
                if key.0 == 0 && linked.is_some() {
                    continue;
                }
                for what in &whats {
                    key.2 = *what;
                    nodes.extend(keys.get(&key));
                }
            }
            let link = if let (Some((_, link)), Some(drug)) = (linked, drug) {
                let end = |place: usize| {
                    at.get(place).and_then(|leaf| leaves.get(place).and_then(|leaves| leaves.above(*leaf).last()))
                };
                let of_band = bands.as_ref().and_then(|(place, has_mass)| {
                    let band = leaves.get(*place)?.above(*at.get(*place)?).last()?;
                    Some(if has_mass.contains(&band) { WEIGHED } else { UNWEIGHED })
                });
                let ends = end(0).zip(end(drug));
                let link_of = |what: What| ends.and_then(|(time, drug)| link.get(&(time, drug, what)));
                let node = of_band.and_then(link_of).or_else(|| link_of(LINES)).copied();
                nodes.extend(node);
                node.unwrap_or(NONE)
            } else {
                nodes.extend(hub_nodes(&leaves, at, drug.map(|drug| (0, drug)), &whats, keys));
                NONE
            };
            nodes.sort_unstable();
            nodes.dedup();
            (nodes, link)
        };
        self.add_all(&leaves, &values, block.lines, linked.map_or(0, |(table, _)| table), drug, own);
    }

    fn add_all(
        &mut self,
        leaves: &[Leaves],
        values: &Values,
        lines: &[Contribution],
        table: u16,
        drug: Option<usize>,
        nodes: impl Fn(&[usize], usize) -> (Vec<u32>, u32),
    ) {
        let first = self.bases.len();
        let size: usize = leaves.iter().map(Leaves::len).product();
        let width = values.leaves();
        self.bases.resize(first + size * width, Base { lines: 0, cases: Cases::None, table, seen: false });
        for line in lines {
            let position =
                leaves.iter().try_fold(0, |position, leaves| Some(position * leaves.len() + leaves.of(line)?));
            let Some(base) = position.and_then(|at| self.bases.get_mut(first + at * width + values.leaf(line))) else {
                continue;
            };
            base.lines += 1;
            base.cases = match base.cases {
                Cases::None => Cases::One(line.case),
                Cases::One(case) if case == line.case => Cases::One(case),
                Cases::One(_) | Cases::Many => Cases::Many,
            };
        }
        let pair = |position: usize| {
            let (mut rest, mut pair) = (position, 0);
            for (place, leaves) in leaves.iter().enumerate().rev() {
                if place == 0 || Some(place) == drug {
                    pair = pair * leaves.len().max(1) + rest % leaves.len().max(1);
                }
                rest /= leaves.len().max(1);
            }
            pair
        };
        let seen: BTreeSet<usize> = (0..size * width)
            .filter(|at| self.bases.get(first + at).is_some_and(|base| base.lines > 0))
            .map(|at| pair(at / width))
            .collect();
        for at in 0..size * width {
            if let Some(base) = self.bases.get_mut(first + at) {
                base.seen = seen.contains(&pair(at / width));
            }
        }
        for position in 0..size {
            let mut rest = position;
            let mut at: Vec<usize> = leaves
                .iter()
                .rev()
                .map(|leaves| {
                    let leaf = rest % leaves.len().max(1);
                    rest /= leaves.len().max(1);
                    leaf
                })
                .collect();
            at.reverse();
            for value in 0..width {
                let (above, link) = nodes(&at, value);
                self.above.push(above);
                self.link.push(link);
            }
        }
    }
}

// The finest level of each dimension of a table.
fn finest(of: &Filled<'_>) -> Vec<u8> {
    let mut levels = vec![0; of.table.dimensions.len()];
    for (set, _) in of.layout.sets() {
        levels.iter_mut().zip(&set.levels).for_each(|(finest, level)| *finest = (*finest).max(*level));
    }
    levels
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

fn is_hub(table: &Table) -> bool {
    table.dimensions.iter().all(|dimension| ["time", "drug"].contains(&dimension.name.as_str()))
}

// Bands of weight say which lines have a mass: their place among the dimensions, and the numbers of the bands that do.
fn bands(of: &Filled<'_>) -> Option<(usize, BTreeSet<u32>)> {
    let place = of.table.dimensions.iter().position(|dimension| dimension.list == WEIGHT_LIST)?;
    let Axis::Codes(tree) = of.layout.axes().get(place)? else { return None };
    let leaves = (0..tree.codes().len()).filter(|index| !tree.is_inner(*index)).filter_map(|index| tree.get(index));
    let bands: BTreeSet<u32> = leaves.filter(|code| band_has_mass(&code.code)).map(|code| code.number).collect();
    let finest = of.layout.sets().iter().filter_map(|(set, _)| set.levels.get(place)).max();
    // Cut off above the bands, the dimension does not tell.
    (finest.copied() == tree.codes().iter().map(|code| code.level).max()).then_some((place, bands))
}

// Whether a dimension stands at its root.
fn is_root(table: &Table, levels: &[u8], name: &str) -> bool {
    table.dimension(name).and_then(|place| levels.get(place)) == Some(&0)
}

// A cell is named by time and drug alone where every further dimension stands at its total.
fn key(table: &Table, levels: &[u8], coordinates: &[u32]) -> Key {
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

fn hub_coordinates(time: u32, drug: u32) -> [u32; 8] {
    [time, drug, 0, 0, 0, 0, 0, 0]
}

fn hub_leaves(of: &Filled<'_>, levels: &[u8], block: Block<'_>) -> (Option<Leaves>, Option<Leaves>) {
    let time = levels.first().map(|level| Leaves::time(*level, block.year, block.published));
    let drug = of.table.dimension("drug").and_then(|place| {
        Some(Leaves::codes(of.layout.axes().get(place)?, *levels.get(place)?, slot(of.table.kind, "drug")))
    });
    (time, drug)
}

// Every node of the hub that a leaf of time and drug is counted in.
fn hub_nodes(
    leaves: &[Leaves],
    at: &[usize],
    places: Option<(usize, usize)>,
    whats: &[What],
    keys: &HashMap<Key, u32>,
) -> Vec<u32> {
    let Some((time, drug)) = places else { return Vec::new() };
    let above = |place: usize| -> Vec<u32> {
        leaves.get(place).zip(at.get(place)).map(|(leaves, leaf)| leaves.above(*leaf).collect()).unwrap_or_default()
    };
    let drugs = above(drug);
    above(time)
        .into_iter()
        .flat_map(|time| drugs.iter().map(move |drug| (time, *drug)))
        .flat_map(|(time, drug)| whats.iter().map(move |what| (0, hub_coordinates(time, drug), *what)))
        .filter_map(|key| keys.get(&key).copied())
        .collect()
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
