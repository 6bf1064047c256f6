//! The base cells of a star: for each table one for each combination of leaves, and the numbers that count it.

use std::collections::{BTreeSet, HashMap};

use accord_protocol::catalogue::Axis;

use super::{
    Adding, Base, Block, Cases, Family, Filled, Key, MADE_HUB, NONE, Place, Star,
    leaves::Leaves,
    numbers::{hub_coordinates, key, offers},
    values::{LINES, UNWEIGHED, Values, WEIGHED, What},
};
use crate::domain::contribution::{Contribution, WEIGHT_LIST, band_has_mass, part, slot};

// One table's base cells as they are added.
struct Table<'a> {
    leaves: Vec<Leaves>,
    values: Values,
    // Its number in the star, and among the tables that were given.
    number: u16,
    given: u16,
    drug: Option<usize>,
    add: &'a Adding<'a>,
}

impl Star {
    pub(super) fn add_hub(&mut self, of: &Filled<'_>, levels: [u8; 2], add: &Adding<'_>) {
        let Some(drug) = of.table.dimension("drug") else { return };
        let Some(axis) = of.layout.axes().get(drug) else { return };
        let leaves = vec![
            Leaves::time(levels[0], add.block.year, add.block.published),
            Leaves::codes(axis, levels[1], slot(of.table.kind, "drug")),
        ];
        let values = if add.weighed { Values::Weighed } else { Values::Lines };
        let table = Table { leaves, values, number: 0, given: MADE_HUB, drug: Some(1), add };
        let above = |at: &[usize], value: usize| {
            let whats = [&[LINES], table.values.whats(value).as_slice()].concat();
            hub_nodes(&table.leaves, at, Some((0, 1)), &whats, add.keys)
        };
        self.add_all(&table, |at, value| (above(at, value), NONE));
    }

    pub(super) fn add_bases(&mut self, of: &Filled<'_>, levels: &[u8], given: usize, number: u16, add: &Adding<'_>) {
        let linked = (number > 0).then_some(add.link);
        let table = of.table;
        let leaves: Vec<Leaves> = table
            .dimensions
            .iter()
            .zip(of.layout.axes())
            .zip(levels)
            .map(|((dimension, axis), level)| match axis {
                Axis::Time => Leaves::time(*level, add.block.year, add.block.published),
                Axis::Codes(_) => Leaves::codes(axis, *level, slot(table.kind, &dimension.name)),
            })
            .collect();
        let given = u16::try_from(given).unwrap_or(MADE_HUB);
        let in_hub = number == 0 && add.weighed;
        let values = if in_hub { Values::Weighed } else { Values::of(table, add.family) };
        let of_table = Table { leaves, values, number, given, drug: table.dimension("drug"), add };
        let Table { leaves, values, drug, .. } = &of_table;
        let (drug, keys) = (*drug, add.keys);
        let bands = bands(of);
        let own = |at: &[usize], value: usize| {
            let whats = [&[LINES], values.whats(value).as_slice()].concat();
            let mut nodes: Vec<u32> = Vec::new();
            for (set, _) in of.layout.sets().iter().filter(|(set, _)| offers(table, set.measures, add.family)) {
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
            let link = if let (Some(link), Some(drug)) = (linked, drug) {
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
                nodes.extend(hub_nodes(leaves, at, drug.map(|drug| (0, drug)), &whats, keys));
                NONE
            };
            nodes.sort_unstable();
            nodes.dedup();
            (nodes, link)
        };
        self.add_all(&of_table, own);
    }

    fn add_all(&mut self, of: &Table<'_>, nodes: impl Fn(&[usize], usize) -> (Vec<u32>, u32)) {
        let Table { leaves, values, number: table, drug, .. } = of;
        let (table, drug) = (*table, *drug);
        let first = self.bases.len();
        let size: usize = leaves.iter().map(Leaves::len).product();
        let width = values.leaves();
        self.bases.resize(first + size * width, Base { lines: 0, cases: Cases::None, table, seen: false });
        for line in of.add.block.lines {
            let Some(amount) = amount(line, of.add.family) else { continue };
            let position =
                leaves.iter().try_fold(0, |position, leaves| Some(position * leaves.len() + leaves.of(line)?));
            let Some(base) = position.and_then(|at| self.bases.get_mut(first + at * width + values.leaf(line))) else {
                continue;
            };
            base.lines = base.lines.saturating_add(amount);
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
                let name = |(leaves, leaf): (&Leaves, &usize)| leaves.above(*leaf).last().unwrap_or(0);
                let mut codes = leaves.iter().zip(&at).map(name);
                let time = codes.next().unwrap_or(0);
                let codes = codes.collect();
                self.places.push(Place { table: of.given, time, codes, value: values.name(value) });
            }
        }
    }
}

// What a line adds; a line without a part is none of a sum.
fn amount(line: &Contribution, family: Family) -> Option<u64> {
    match family {
        Family::Counts => Some(1),
        Family::Sums(quantity) => part(line.amount, quantity).filter(|part| *part > 0),
    }
}

// Bands of weight say which lines have a mass: their place among the dimensions, and the numbers of the bands that do.
pub(super) fn bands(of: &Filled<'_>) -> Option<(usize, BTreeSet<u32>)> {
    let place = of.table.dimensions.iter().position(|dimension| dimension.list == WEIGHT_LIST)?;
    let Axis::Codes(tree) = of.layout.axes().get(place)? else { return None };
    let leaves = (0..tree.codes().len()).filter(|index| !tree.is_inner(*index)).filter_map(|index| tree.get(index));
    let bands: BTreeSet<u32> = leaves.filter(|code| band_has_mass(&code.code)).map(|code| code.number).collect();
    let finest = of.layout.sets().iter().filter_map(|(set, _)| set.levels.get(place)).max();
    // Cut off above the bands, the dimension does not tell.
    (finest.copied() == tree.codes().iter().map(|code| code.level).max()).then_some((place, bands))
}

pub(super) fn hub_leaves(of: &Filled<'_>, levels: &[u8], block: Block<'_>) -> (Option<Leaves>, Option<Leaves>) {
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
