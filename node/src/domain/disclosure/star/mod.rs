//! The equations of a block: the cells of one measure of one kind of record and calendar year, and the base cells that they are sums of.
//!
//! The tables of a kind are a star (`disclosure.md` A.1): they share time by drug, and every other dimension stands in one of
//! them. So an attacker knows exactly this: one non-negative whole number for each base cell of each table, and for each time and
//! drug the same sum in every table.

mod bases;
mod leaves;
mod lists;
mod numbers;
mod values;

use std::collections::{BTreeMap, HashMap};

use accord_protocol::{
    catalogue::{Quantity, Table},
    edition::Layout,
    time::Period,
};

use crate::domain::{contribution::Contribution, tabulate::Cell};
use lists::Lists;
use values::{LINES, UNWEIGHED, Values, WEIGHED, What};

/// No node: the number is not a count, or not available.
pub const NONE: u32 = u32::MAX;

/// What the numbers of a star are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Counts of lines: all, those with a mass, those with a value, those in a bin.
    Counts,
    /// Sums of amounts.
    Sums(Quantity),
}

impl Family {
    /// Whether a measure belongs to it. A mean is no sum that adds up; its number of lines is that of lines with a value.
    pub fn has(self, of: Quantity) -> bool {
        match self {
            Self::Counts => {
                [Quantity::Lines, Quantity::LinesWeighed, Quantity::LinesMeasured, Quantity::Histogram].contains(&of)
            }
            Self::Sums(quantity) => of == quantity,
        }
    }
}

/// One number that is published, or that links two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Lines, or the sum in the unit of the measure.
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

/// One variable: the lines of one leaf of each dimension of one table, or what they sum to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Lines, or their sum.
    pub lines: u64,
    /// Cases.
    pub cases: Cases,
    /// Which table of the star.
    pub table: u16,
    /// Whether the table has any line of the same time and drug.
    pub seen: bool,
}

/// Where a base cell is, in the words of catalogue and code lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which of the tables, in the order in which they were given; [`MADE_HUB`] for none of them.
    pub table: u16,
    /// Number of its period.
    pub time: u32,
    /// Numbers of its codes, one for each dimension after time: the finest code that the table has above the line.
    pub codes: Vec<u32>,
    /// Which of the lines there: in which finest bin; [`NO_VALUE`] without a value, or without a mass where that is told apart.
    pub value: u16,
}

/// Lines without a value, or without a mass.
pub const NO_VALUE: u16 = u16::MAX;

/// A hub that is none of the tables.
pub const MADE_HUB: u16 = u16::MAX;

/// The cells of a block and their equations.
#[derive(Debug, Default)]
pub struct Star {
    /// Every number.
    pub nodes: Vec<Node>,
    /// Every variable, table after table; table 0 has the hub.
    pub bases: Vec<Base>,
    /// Where each variable is; empty for equations that come from elsewhere.
    pub places: Vec<Place>,
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
    /// What was published of it before, if its records have changed since.
    pub earlier: &'a [Earlier],
}

/// The lines of an earlier vintage of a block.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its lines.
    pub lines: Vec<Contribution>,
    /// The months that were published: bit 0 is January.
    pub months: u16,
}

impl Earlier {
    /// Whether a period was published.
    pub fn has(&self, period: Period) -> bool {
        is_within(period, self.months)
    }
}

/// Whether every month of a period is among some of its year: bit 0 is January.
pub fn is_within(period: Period, months: u16) -> bool {
    let ((_, from), (_, to)) = period.months();
    (from..=to).all(|month| (1..=12).contains(&month) && months >> (month - 1) & 1 == 1)
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
    /// What is public of its numbers anyway.
    pub public: Public<'a>,
}

/// What is public of the numbers of a table, whatever the rules say. Nothing is beyond the ends of the lists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Public<'a> {
    /// Which numbers are public themselves: they are shown, and known.
    pub shown: &'a [bool],
    /// What a number is at most, because a public one contains it.
    pub at_most: &'a [Option<u64>],
}

impl Public<'_> {
    /// Nothing is public.
    pub const NOTHING: Self = Self { shown: &[], at_most: &[] };

    /// Whether a number is public anyway.
    pub fn is_shown(&self, number: usize) -> bool {
        self.shown.get(number) == Some(&true)
    }

    /// What a number is at most, as everybody knows.
    pub fn at_most(&self, number: usize) -> Option<i64> {
        let most = self.at_most.get(number).copied().flatten()?;
        Some(i64::try_from(most).unwrap_or(i64::MAX))
    }
}

// A number of a table by its coordinates; of the hub, where the table is none and the coordinates are time and drug.
type Key = (u16, [u32; 8], What);

// What base cells are added under.
#[derive(Clone, Copy)]
struct Adding<'a> {
    block: Block<'a>,
    family: Family,
    weighed: bool,
    keys: &'a HashMap<Key, u32>,
    link: &'a Links,
}

impl Star {
    /// Lays out the cells of a kind and year, of all tables that have the measures of a family.
    pub fn new(filled: &[Filled<'_>], block: Block<'_>, family: Family) -> Self {
        let mut star = Self::default();
        let mut keys: HashMap<Key, u32> = HashMap::new();
        for of in filled {
            let numbers = star.add_numbers(of, &mut keys, block.published, family);
            star.numbers.push(numbers);
        }
        // The hub first: the table of time and drug alone that is finest in both, or one made for the purpose.
        let levels: Vec<Vec<u8>> = filled.iter().map(|of| numbers::finest(of, family)).collect();
        let hub_levels =
            |place: usize| levels.iter().filter_map(|levels| levels.get(place)).copied().max().unwrap_or(0);
        let hub = filled.iter().zip(&levels).position(|(of, levels)| {
            filled.len() == 1
                || of.table.dimensions.len() == 2
                    && *levels == [hub_levels(0), hub_levels(1)]
                    && numbers::is_hub(of.table)
        });
        // Every table of time and drug alone is counted in the hub; lines with a mass stand apart there if one of them counts these.
        let weighed = filled
            .iter()
            .any(|of| numbers::is_hub(of.table) && matches!(Values::of(of.table, family), Values::Weighed));
        let mut link = BTreeMap::new();
        let is_spoke = |at: usize, of: &Filled<'_>| Some(at) != hub && !numbers::is_hub(of.table);
        let spokes = || filled.iter().zip(&levels).enumerate().filter(|(at, (of, _))| is_spoke(*at, of));
        for (_, (of, levels)) in spokes() {
            let whats: &[What] = if weighed && bases::bands(of).is_some() { &[WEIGHED, UNWEIGHED] } else { &[LINES] };
            star.add_links(of, levels, block, whats, &mut keys, &mut link);
        }
        let add = Adding { block, family, weighed, keys: &keys, link: &link };
        match hub.and_then(|hub| Some((hub, filled.get(hub)?, levels.get(hub)?))) {
            Some((at, of, levels)) => star.add_bases(of, levels, at, 0, &add),
            None => {
                if let Some(of) = filled.first() {
                    star.add_hub(of, [hub_levels(0), hub_levels(1)], &add);
                }
            }
        }
        for (number, (at, (of, levels))) in spokes().enumerate() {
            star.add_bases(of, levels, at, u16::try_from(number + 1).unwrap_or(u16::MAX), &add);
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

    /// Lowers base cells to what they were in an earlier vintage, of the same tables: a witness must hold for both.
    pub fn lower_to(&mut self, filled: &[Filled<'_>], block: Block<'_>, family: Family, earlier: &Earlier) {
        let then = Self::new(filled, Block { lines: &earlier.lines, earlier: &[], ..block }, family);
        for ((base, then), place) in self.bases.iter_mut().zip(&then.bases).zip(&self.places) {
            if Period::from_number(place.time).is_some_and(|period| earlier.has(period)) {
                base.lines = base.lines.min(then.lines);
            }
        }
        // A sum that must fall as well as rise can fall no further than in every vintage.
        if let Family::Sums(_) = family {
            for node in 0..self.nodes.len() {
                let below = || self.below(node).iter().filter_map(|base| self.bases.get(*base as usize));
                let table = below().map(|base| base.table).min();
                let lines = below().filter(|base| Some(base.table) == table).map(|base| base.lines).sum();
                if let Some(node) = self.nodes.get_mut(node) {
                    node.lines = lines;
                }
            }
        }
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
}
