//! The equations of a block: the count cells of one kind of record and calendar year, and the base cells that they are sums of.
//!
//! The tables of a kind are a star (`disclosure.md` A.1): they share time by drug, and every other dimension stands in one of
//! them. So an attacker knows exactly this: one non-negative whole number for each base cell of each table, and for each time and
//! drug the same sum in every table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use accord_protocol::{
    catalogue::{Axis, Quantity, Table},
    edition::Layout,
    time::{Period, TimeLevel},
};

use crate::domain::{
    contribution::{Contribution, part, slot},
    tabulate::Cell,
};

/// No node: the number is not a count, or not available.
pub const NONE: u32 = u32::MAX;

/// One count: a number of lines that is published, or that links two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Lines.
    pub lines: u64,
    /// Distinct cases behind it.
    pub cases: u64,
    /// The node whose state it shares; itself for most.
    pub lead: u32,
    /// Whether some table publishes it.
    pub offered: bool,
    /// What hiding one case of it costs, by level: month 1, quarter 1, year 2.
    pub weight: u64,
    /// The year's total over all drugs, which an attacker is taken to know.
    pub national: bool,
    pub key: (u16, [u32; 8], u16),
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

/// Lists of numbers, one after the other.
#[derive(Debug, Default)]
struct Lists {
    ends: Vec<u32>,
    all: Vec<u32>,
}

impl Lists {
    fn push(&mut self, list: impl IntoIterator<Item = u32>) {
        self.all.extend(list);
        self.ends.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }

    fn get(&self, index: usize) -> &[u32] {
        let end = self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.all.get(start..end).unwrap_or_default()
    }

    // The lists of who holds whom, from those of who is held by whom.
    fn inverted(&self, size: usize) -> Self {
        let mut found: Vec<Vec<u32>> = vec![Vec::new(); size];
        for index in 0..self.ends.len() {
            for of in self.get(index) {
                if let Some(list) = found.get_mut(*of as usize) {
                    list.push(u32::try_from(index).unwrap_or(u32::MAX));
                }
            }
        }
        let mut lists = Self::default();
        found.into_iter().for_each(|list| lists.push(list));
        lists
    }
}

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

// What a node counts within its cell: all lines, those with a mass, those with a value, those in a bin.
type What = u16;
const LINES: What = 0;
const WEIGHED: What = 1;
const MEASURED: What = 2;
const BINS: What = 3;

type Key = (u16, [u32; 8], What);

// The leaves of one dimension of one table, cut off at the finest level that the table has.
struct Leaves {
    // For each leaf, the number of its ancestor at each level, itself included.
    ancestors: Vec<Vec<Option<u32>>>,
    // Leaf of the kind's contributions to leaf of the table. Empty for time.
    of_contribution: Vec<Option<u32>>,
    // For time: the periods.
    periods: Vec<Period>,
    slot: Option<usize>,
}

impl Leaves {
    fn time(finest: u8, year: u16, published: &dyn Fn(Period) -> bool) -> Self {
        let level = TimeLevel::from_number(finest).unwrap_or(TimeLevel::Year);
        let all: Vec<Period> = TimeLevel::ALL
            .iter()
            .filter(|of| **of <= level)
            .flat_map(|of| Period::of_year(year, *of))
            .collect();
        let inner: BTreeSet<Period> = all.iter().filter_map(|period| period.parent()).collect();
        let periods: Vec<Period> =
            all.into_iter().filter(|period| !inner.contains(period) && published(*period)).collect();
        let ancestors = periods
            .iter()
            .map(|leaf| {
                let mut found = vec![None; TimeLevel::ALL.len()];
                let mut at = Some(*leaf);
                while let Some(period) = at {
                    if let Some(slot) = found.get_mut(usize::from(period.level().number())) {
                        *slot = published(period).then(|| period.number());
                    }
                    at = period.parent();
                }
                found
            })
            .collect();
        Self { ancestors, of_contribution: Vec::new(), periods, slot: None }
    }

    fn codes(axis: &Axis, finest: u8, slot: Option<usize>) -> Self {
        let Axis::Codes(tree) = axis else {
            return Self { ancestors: Vec::new(), of_contribution: Vec::new(), periods: Vec::new(), slot };
        };
        let cut = |mut at: usize| loop {
            let code = tree.get(at)?;
            if code.level <= finest {
                return Some(at);
            }
            at = code.parent?;
        };
        let mut positions: BTreeMap<usize, u32> = BTreeMap::new();
        for leaf in (0..tree.codes().len()).filter(|index| !tree.is_inner(*index)).filter_map(cut) {
            let next = u32::try_from(positions.len()).unwrap_or(u32::MAX);
            positions.entry(leaf).or_insert(next);
        }
        let of_contribution =
            (0..tree.codes().len()).map(|leaf| cut(leaf).and_then(|leaf| positions.get(&leaf).copied())).collect();
        let mut leaves: Vec<(usize, u32)> = positions.into_iter().collect();
        leaves.sort_by_key(|(_, position)| *position);
        let ancestors = leaves
            .iter()
            .map(|(leaf, _)| {
                (0..=finest)
                    .map(|level| {
                        tree.ancestor_at(*leaf, level).and_then(|found| tree.get(found)).map(|code| code.number)
                    })
                    .collect()
            })
            .collect();
        Self { ancestors, of_contribution, periods: Vec::new(), slot }
    }

    fn len(&self) -> usize {
        self.ancestors.len()
    }

    // All ancestors of a leaf, the leaf included.
    fn above(&self, leaf: usize) -> impl Iterator<Item = u32> {
        self.ancestors.get(leaf).into_iter().flatten().filter_map(|number| *number)
    }

    fn at(&self, leaf: usize, level: u8) -> Option<u32> {
        self.ancestors.get(leaf)?.get(usize::from(level)).copied().flatten()
    }

    fn of(&self, contribution: &Contribution) -> Option<usize> {
        if self.periods.is_empty() {
            let leaf = contribution.leaves.get(self.slot?)?;
            return self.of_contribution.get(usize::from(*leaf)).copied().flatten().map(|leaf| leaf as usize);
        }
        let mut at = contribution.period;
        loop {
            if let Some(found) = self.periods.iter().position(|period| *period == at) {
                return Some(found);
            }
            at = at.parent()?;
        }
    }
}

// What a table counts of the lines of its cells.
enum Values<'a> {
    Lines,
    Weighed,
    Binned { bins: Vec<(u64, u64)>, first_fine: usize, histogram: usize, table: &'a Table },
}

impl<'a> Values<'a> {
    fn of(table: &'a Table) -> Self {
        if let Some((histogram, measure)) =
            table.measures.iter().enumerate().find(|(_, measure)| measure.of == Quantity::Histogram)
        {
            let bins: Vec<_> = measure.all_bins().collect();
            let fine = measure.bins.last().map_or(0, |level| level.bins().count());
            return Self::Binned { first_fine: bins.len() - fine, bins, histogram, table };
        }
        if table.measures.iter().any(|measure| measure.of == Quantity::LinesWeighed) {
            return Self::Weighed;
        }
        Self::Lines
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Lines => 1,
            Self::Weighed => 2,
            Self::Binned { bins, first_fine, .. } => bins.len() - first_fine + 1,
        }
    }

    fn leaf(&self, line: &Contribution) -> usize {
        match self {
            Self::Lines => 0,
            Self::Weighed => usize::from(part(line.amount, Quantity::MassMg).is_none()),
            Self::Binned { bins, first_fine, .. } => {
                let fine = bins.get(*first_fine..).unwrap_or_default();
                let bin = line.value.and_then(|value| fine.iter().position(|(from, to)| (*from..*to).contains(&value)));
                bin.unwrap_or(fine.len())
            }
        }
    }

    // What counts a value leaf, beside all lines.
    fn whats(&self, leaf: usize) -> Vec<What> {
        match self {
            Self::Lines => Vec::new(),
            Self::Weighed if leaf == 0 => vec![WEIGHED],
            Self::Weighed => Vec::new(),
            Self::Binned { bins, first_fine, .. } => {
                let Some((from, to)) = bins.get(first_fine + leaf) else { return Vec::new() };
                let holding = bins.iter().enumerate().filter(|(_, (low, high))| low <= from && to <= high);
                let bin = |(bin, _)| BINS + u16::try_from(bin).unwrap_or(u16::MAX - BINS);
                std::iter::once(MEASURED).chain(holding.map(bin)).collect()
            }
        }
    }
}

impl Star {
    /// Lays out the count cells of a kind and year. `published` says which periods the edition fills.
    pub fn new(filled: &[Filled<'_>], lines: &[Contribution], year: u16, published: &dyn Fn(Period) -> bool) -> Self {
        let mut star = Self::default();
        let mut keys: HashMap<Key, u32> = HashMap::new();
        for of in filled {
            let numbers = star.add_numbers(of, &mut keys, published);
            star.numbers.push(numbers);
        }
        // The hub first: the table of time and drug alone that is finest in both, or one made for the purpose.
        let finest = |of: &Filled<'_>| {
            let mut levels = vec![0; of.table.dimensions.len()];
            for (set, _) in of.layout.sets() {
                levels.iter_mut().zip(&set.levels).for_each(|(finest, level)| *finest = (*finest).max(*level));
            }
            levels
        };
        let levels: Vec<Vec<u8>> = filled.iter().map(finest).collect();
        let hub_levels = |place: usize| levels.iter().filter_map(|levels| levels.get(place)).copied().max().unwrap_or(0);
        let hub = filled.iter().zip(&levels).position(|(of, levels)| {
            filled.len() == 1
                || of.table.dimensions.len() == 2 && *levels == [hub_levels(0), hub_levels(1)] && is_hub(of.table)
        });
        let mut link = BTreeMap::new();
        if filled.len() > 1 {
            for (of, levels) in filled.iter().zip(&levels).enumerate().filter(|(at, _)| Some(*at) != hub).map(|(_, of)| of)
            {
                star.add_links(of, levels, year, published, &mut keys, &mut link);
            }
        }
        match hub.and_then(|hub| filled.get(hub).zip(levels.get(hub))) {
            Some((of, levels)) => star.add_bases(of, levels, &keys, None, lines, year, published),
            None => {
                if let Some(of) = filled.first() {
                    star.add_hub(of, &[hub_levels(0), hub_levels(1)], &keys, lines, year, published);
                }
            }
        }
        let others = filled.iter().zip(&levels).enumerate().filter(|(at, _)| Some(*at) != hub);
        for (number, (_, (of, levels))) in others.enumerate() {
            let table = u16::try_from(number + 1).unwrap_or(u16::MAX);
            star.add_bases(of, levels, &keys, Some((table, &link)), lines, year, published);
        }
        star.below = star.above.inverted(star.nodes.len());
        for (table, node) in star.bases.iter().zip(&star.link).filter(|(_, link)| **link != NONE).map(|(b, l)| (b.table, *l))
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
            self.nodes.push(Node { key, ..node() });
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
        for (set, first) in layout.sets() {
            let numbers = layout.numbers(set);
            let size: usize = numbers.iter().map(Vec::len).product();
            let level = set.levels.first().copied().and_then(TimeLevel::from_number).unwrap_or(TimeLevel::Year);
            let weight = if level == TimeLevel::Year { 2 } else { 1 };
            for offset in 0..size {
                let coordinates = coordinates(&numbers, offset);
                let available =
                    coordinates.first().and_then(|time| Period::from_number(*time)).is_some_and(published);
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
                    key: (0, [0; 8], 0),
                };
                let lead = self.node(keys, key, || blank(cell.lines, cell.cases, NONE));
                if let Some(node) = self.nodes.get_mut(lead as usize) {
                    node.lead = lead;
                    node.offered = true;
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
                            put(range.start, self.node(keys, key, || blank(cell.lines_weighed, cell.cases, lead)));
                        }
                        Quantity::LinesMeasured => {
                            put(range.start, self.own(keys, &mut key, MEASURED, cell.values.lines, cell.values.cases, &blank));
                        }
                        Quantity::Histogram => {
                            put(range.start, self.own(keys, &mut key, MEASURED, cell.values.lines, cell.values.cases, &blank));
                            let tallies = cell.bins.get(index).map_or(&[] as &[_], Vec::as_slice);
                            for (bin, tally) in tallies.iter().enumerate() {
                                let what = BINS + u16::try_from(bin).unwrap_or(u16::MAX - BINS);
                                put(range.start + 1 + bin, self.own(keys, &mut key, what, tally.lines, tally.cases, &blank));
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
        year: u16,
        published: &dyn Fn(Period) -> bool,
        keys: &mut HashMap<Key, u32>,
        link: &mut BTreeMap<(u32, u32), u32>,
    ) {
        let (Some(time), Some(drug)) = hub_leaves(of, levels, year, published) else { return };
        for (t, f) in (0..time.len()).flat_map(|t| (0..drug.len()).map(move |f| (t, f))) {
            let (Some(t), Some(f)) = (time.above(t).last(), drug.above(f).last()) else { continue };
            let node = self.node(keys, (0, hub_coordinates(t, f), LINES), || Node {
                lines: 0,
                cases: 0,
                lead: NONE,
                offered: false,
                weight: 1,
                national: false,
                links: Vec::new(),
                key: (0, [0; 8], 0),
            });
            if let Some(entry) = self.nodes.get_mut(node as usize) {
                entry.lead = node;
            }
            link.insert((t, f), node);
        }
    }

    fn add_hub(
        &mut self,
        of: &Filled<'_>,
        levels: &[u8; 2],
        keys: &HashMap<Key, u32>,
        lines: &[Contribution],
        year: u16,
        published: &dyn Fn(Period) -> bool,
    ) {
        let drug = of.table.dimensions.iter().position(|dimension| dimension.name == "drug");
        let Some(axis) = drug.and_then(|drug| of.layout.axes().get(drug)) else { return };
        let leaves = vec![
            Leaves::time(levels[0], year, published),
            Leaves::codes(axis, levels[1], slot(of.table.kind, "drug")),
        ];
        let above = |at: &[usize]| hub_nodes(&leaves, at, Some((0, 1)), keys);
        self.add_all(&leaves, &Values::Lines, lines, 0, Some(1), |at, _| (above(at), NONE));
    }

    fn add_bases(
        &mut self,
        of: &Filled<'_>,
        levels: &[u8],
        keys: &HashMap<Key, u32>,
        linked: Option<(u16, &BTreeMap<(u32, u32), u32>)>,
        lines: &[Contribution],
        year: u16,
        published: &dyn Fn(Period) -> bool,
    ) {
        let table = of.table;
        let leaves: Vec<Leaves> = table
            .dimensions
            .iter()
            .zip(of.layout.axes())
            .zip(levels)
            .map(|((dimension, axis), level)| match axis {
                Axis::Time => Leaves::time(*level, year, published),
                Axis::Codes(_) => Leaves::codes(axis, *level, slot(table.kind, &dimension.name)),
            })
            .collect();
        let values = Values::of(table);
        let drug = table.dimension("drug");
        let own = |at: &[usize], value: usize| {
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
                for what in std::iter::once(LINES).chain(values.whats(value)) {
                    key.2 = what;
                    nodes.extend(keys.get(&key));
                }
            }
            match (linked, drug) {
                (Some((_, link)), Some(drug)) => {
                    let end = |place: usize| {
                        at.get(place).and_then(|leaf| leaves.get(place).and_then(|leaves| leaves.above(*leaf).last()))
                    };
                    let node = end(0).zip(end(drug)).and_then(|pair| link.get(&pair)).copied();
                    nodes.extend(node);
                    nodes.sort_unstable();
                    nodes.dedup();
                    (nodes, node.unwrap_or(NONE))
                }
                _ => {
                    nodes.extend(hub_nodes(&leaves, at, drug.map(|drug| (0, drug)), keys));
                    nodes.sort_unstable();
                    nodes.dedup();
                    (nodes, NONE)
                }
            }
        };
        self.add_all(&leaves, &values, lines, linked.map_or(0, |(table, _)| table), drug, own);
    }

    fn add_all(
        &mut self,
        leaves: &[Leaves],
        values: &Values<'_>,
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
            let position = leaves
                .iter()
                .try_fold(0, |position, leaves| Some(position * leaves.len() + leaves.of(line)?));
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

fn is_hub(table: &Table) -> bool {
    table.dimensions.iter().all(|dimension| ["time", "drug"].contains(&dimension.name.as_str()))
}

// Whether a dimension stands at its root.
fn is_root(table: &Table, levels: &[u8], name: &str) -> bool {
    table.dimension(name).and_then(|place| levels.get(place)) == Some(&0)
}

// A cell is named by time and drug alone where every further dimension stands at its total.
fn key(table: &Table, levels: &[u8], coordinates: &[u32]) -> Key {
    let further = |name: &str| !["time", "drug"].contains(&name);
    let in_hub = table
        .dimensions
        .iter()
        .zip(levels)
        .all(|(dimension, level)| !further(&dimension.name) || *level == 0);
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

fn hub_leaves(
    of: &Filled<'_>,
    levels: &[u8],
    year: u16,
    published: &dyn Fn(Period) -> bool,
) -> (Option<Leaves>, Option<Leaves>) {
    let time = levels.first().map(|level| Leaves::time(*level, year, published));
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
        .filter_map(|(time, drug)| keys.get(&(0, hub_coordinates(time, drug), LINES)).copied())
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
