//! The auditor: checks, in whole numbers and without a solver, that what is to be published protects what must be protected.
//!
//! It derives the equations anew from catalogue and code lists, trusts nothing that the chooser says, and knows of it only the
//! witnesses: for each protected number, changes of base cells that nobody can tell from the truth (`disclosure.md` A.1, Proof by
//! witnesses).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use accord_protocol::{
    catalogue::{Axis, Measure, Quantity},
    code::Tree,
    time::{Period, TimeLevel},
};

use super::{
    Rules,
    chooser::Way,
    primary,
    star::{Block, Family, Filled, MADE_HUB, NO_VALUE, Place},
};
use crate::domain::contribution::{Contribution, WEIGHT_LIST, band_has_mass, part, slot};

/// One table as it is to be published.
#[derive(Debug, Clone, Copy)]
pub struct Audited<'a> {
    /// The table and its cells before protection.
    pub filled: Filled<'a>,
    /// For each number of the block, in layout order, whether it is kept back. What is not available counts as hidden.
    pub hidden: &'a [bool],
}

/// What an audit looks at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The tables of the block that have the family's measures.
    pub tables: &'a [Audited<'a>],
    /// The block.
    pub block: Block<'a>,
    /// The rules.
    pub rules: &'a Rules,
    /// The family.
    pub family: Family,
}

/// The witnesses of a block.
pub trait Witnesses {
    /// Those of a number of a table.
    fn of(&self, table: usize, number: usize) -> Option<&[Way]>;
    /// Where a base cell of a witness is.
    fn place(&self, base: u32) -> Option<&Place>;
}

/// What an audit found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Protected numbers, each with a witness that holds.
    pub protected: u64,
    /// Of them, those with several witnesses, so that each one who is alone in a base cell finds one without it.
    pub one_insider_at_a_time: u64,
    /// Of them, those that somebody who is alone in a base cell may narrow.
    pub insider_excepted: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.protected += other.protected;
        self.one_insider_at_a_time += other.one_insider_at_a_time;
        self.insider_excepted += other.insider_excepted;
    }
}

/// Why an edition may not be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A number that breaks a primary rule would be shown.
    #[error("table {table}, number {number}: it breaks a primary rule and is not hidden")]
    Shown {
        /// The table.
        table: String,
        /// The number's place in the block.
        number: usize,
    },
    /// No witness.
    #[error("table {table}, number {number}: no witness")]
    NoWitness {
        /// The table.
        table: String,
        /// The number's place in the block.
        number: usize,
    },
    /// A witness that does not hold.
    #[error("table {table}, number {number}: its witness {what}")]
    Witness {
        /// The table.
        table: String,
        /// The number's place in the block.
        number: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The tables are not what the auditor can derive equations for.
    #[error("table {table}: {what}")]
    Tables {
        /// The table.
        table: String,
        /// What is wrong.
        what: &'static str,
    },
}

// A sum that a table shares with the hub: table, period, code of the drug, and whether of lines with a mass.
type Margin = (u16, u32, u32, Option<bool>);

// What the auditor derives about a base cell.
#[derive(Debug)]
struct Known {
    in_hub: bool,
    amount: i128,
    alone: Option<u32>,
    // Tables and numbers that count it, and which of them an attacker knows.
    counted_in: Vec<(usize, usize)>,
    shown_in: Vec<(usize, usize)>,
    margins: Vec<Margin>,
}

struct Auditor<'a> {
    case: Case<'a>,
    finest: Vec<Vec<u8>>,
    // Which tables are of time and drug alone: their cells are sums of the hub's base cells. One table by itself has no hub.
    in_hub: Vec<bool>,
    hub_levels: [u8; 2],
    hub_splits_mass: bool,
    // Amount and cases of every base cell that has lines.
    truth: HashMap<Place, (i128, BTreeSet<u32>)>,
    // The only case of a number that has exactly one.
    only: HashMap<(usize, usize), u32>,
}

/// Audits a block of one family of measures.
pub fn audit(case: Case<'_>, witnesses: &dyn Witnesses) -> Result<Summary, Fault> {
    let auditor = Auditor::new(case)?;
    let mut known: HashMap<u32, Known> = HashMap::new();
    let mut summary = Summary::default();
    for (at, table) in case.tables.iter().enumerate() {
        for number in auditor.unsafe_numbers(at) {
            let name = || table.filled.table.name.clone();
            if !table.hidden.get(number).copied().unwrap_or(false) {
                return Err(Fault::Shown { table: name(), number });
            }
            let ways = witnesses.of(at, number).ok_or_else(|| Fault::NoWitness { table: name(), number })?;
            for (base, _) in ways.iter().flatten().flatten() {
                if let std::collections::hash_map::Entry::Vacant(entry) = known.entry(*base) {
                    let place = witnesses.place(*base).ok_or_else(|| Fault::NoWitness { table: name(), number })?;
                    entry.insert(auditor.known(place));
                }
            }
            let bad = |what| Fault::Witness { table: name(), number, what };
            auditor.check((at, number), ways, &known, &mut summary).map_err(bad)?;
            summary.protected += 1;
        }
    }
    Ok(summary)
}

impl<'a> Auditor<'a> {
    fn new(case: Case<'a>) -> Result<Self, Fault> {
        let finest: Vec<Vec<u8>> = case.tables.iter().map(|table| finest(&table.filled, case.family)).collect();
        let linked = case.tables.len() > 1;
        let list = |of: &Audited<'_>, at: usize| {
            of.filled.table.dimensions.get(at).map(|one| (one.name.clone(), one.list.clone()))
        };
        for table in case.tables.iter().filter(|_| linked) {
            let named = |at: usize, name: &str| list(table, at).is_some_and(|(of, _)| of == name);
            let same = case.tables.first().is_some_and(|first| list(first, 1) == list(table, 1));
            if !named(0, "time") || !named(1, "drug") || !same {
                let what = "it does not begin with time and the drugs of the others";
                return Err(Fault::Tables { table: table.filled.table.name.clone(), what });
            }
        }
        let in_hub: Vec<bool> =
            case.tables.iter().map(|table| linked && table.filled.table.dimensions.len() == 2).collect();
        let most = |place: usize| finest.iter().filter_map(|levels| levels.get(place)).max().copied().unwrap_or(0);
        let weighs = |table: &Audited<'_>| {
            table.filled.table.measures.iter().any(|measure| measure.of == Quantity::LinesWeighed)
        };
        let mut auditor = Self {
            case,
            hub_levels: [most(0), most(1)],
            hub_splits_mass: case.family == Family::Counts
                && case.tables.iter().zip(&in_hub).any(|(table, in_hub)| *in_hub && weighs(table)),
            in_hub,
            finest,
            truth: HashMap::new(),
            only: HashMap::new(),
        };
        let mut lines_of: HashMap<(usize, usize), i128> = HashMap::new();
        for line in case.block.lines {
            let amount = match case.family {
                Family::Counts => 1,
                Family::Sums(quantity) => part(line.amount, quantity).map_or(0, i128::from),
            };
            if amount == 0 {
                continue;
            }
            let spokes = (0..case.tables.len()).filter(|at| auditor.in_hub.get(*at) == Some(&false));
            let places: Vec<Place> =
                spokes.filter_map(|at| auditor.place_of(at, line)).chain(auditor.hub_place(line)).collect();
            for place in places {
                let entry = auditor.truth.entry(place).or_default();
                entry.0 += amount;
                entry.1.insert(line.case);
            }
        }
        for (place, (amount, cases)) in &auditor.truth {
            for (at, number) in auditor.counted_in(place) {
                *lines_of.entry((at, number)).or_default() += amount;
                if auditor.cases(at, number) == Some(1) {
                    auditor.only.extend(cases.iter().map(|case| ((at, number), *case)));
                }
            }
        }
        // What is to be published must be what the auditor counts.
        for (at, table) in case.tables.iter().enumerate() {
            for number in 0..table.hidden.len() {
                let counted = lines_of.get(&(at, number)).copied().unwrap_or(0);
                if auditor.is_known(at, number) && auditor.amount(at, number).is_some_and(|amount| amount != counted) {
                    return Err(Fault::Tables {
                        table: table.filled.table.name.clone(),
                        what: "its numbers are not the sums of its lines",
                    });
                }
            }
        }
        Ok(auditor)
    }

    // Cell, measure and number within the measure.
    fn parts(&self, at: usize, number: usize) -> Option<(usize, usize, usize)> {
        let table = self.case.tables.get(at)?.filled;
        let width = table.layout.width().max(1);
        let (cell, within) = (number / width, number % width);
        let measure =
            (0..table.table.measures.len()).find(|measure| table.table.numbers_of(*measure).contains(&within))?;
        Some((cell, measure, within - table.table.numbers_of(measure).start))
    }

    // Whether a number is of the family; the number of lines of a mean is, too.
    fn of_family(&self, at: usize, measure: usize, within: usize) -> bool {
        let of = self
            .case
            .tables
            .get(at)
            .and_then(|table| table.filled.table.measures.get(measure))
            .map(|measure| measure.of);
        of.is_some_and(|of| self.case.family.has(of))
            || (of, within, self.case.family) == (Some(Quantity::Mean), 0, Family::Counts)
    }

    fn tallied(&self, at: usize, number: usize) -> Option<(u64, i128)> {
        let (cell, measure, within) = self.parts(at, number)?;
        let table = self.case.tables.get(at)?.filled;
        let cell = table.cells.get(cell)?;
        let values = (cell.values.cases, i128::from(cell.values.lines));
        Some(match table.table.measures.get(measure)?.of {
            Quantity::Lines => (cell.cases, i128::from(cell.lines)),
            Quantity::LinesWeighed => (cell.cases, i128::from(cell.lines_weighed)),
            Quantity::LinesMeasured => values,
            Quantity::Histogram | Quantity::Mean if within == 0 => values,
            Quantity::Histogram => {
                let tally = cell.bins.get(measure)?.get(within - 1)?;
                (tally.cases, i128::from(tally.lines))
            }
            Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl => {
                let magnitude = cell.magnitudes.get(measure)?;
                (magnitude.contributors, i128::try_from(magnitude.sum).ok()?)
            }
            Quantity::Mean | Quantity::Cases => return None,
        })
    }

    fn cases(&self, at: usize, number: usize) -> Option<u64> {
        self.tallied(at, number).map(|(cases, _)| cases)
    }

    fn amount(&self, at: usize, number: usize) -> Option<i128> {
        self.tallied(at, number).map(|(_, amount)| amount)
    }

    fn is_available(&self, at: usize, number: usize) -> bool {
        let Some((cell, measure, _)) = self.parts(at, number) else { return false };
        let Some(table) = self.case.tables.get(at).map(|table| table.filled) else { return false };
        table.layout.sets().iter().rev().find(|(_, first)| *first <= cell).is_some_and(|(set, first)| {
            let numbers = table.layout.numbers(set);
            let others: usize = numbers.iter().skip(1).map(Vec::len).product();
            let time = numbers.first().and_then(|times| times.get((cell - first) / others.max(1)));
            set.measures >> measure & 1 == 1
                && time.and_then(|time| Period::from_number(*time)).is_some_and(self.case.block.published)
        })
    }

    // A national total of a year is known from elsewhere, unless it is below the threshold.
    fn is_national(&self, at: usize, number: usize) -> bool {
        let Some((cell, measure, _)) = self.parts(at, number) else { return false };
        let Some(table) = self.case.tables.get(at).map(|table| table.filled) else { return false };
        let set = table.layout.sets().iter().rev().find(|(_, first)| *first <= cell).map(|(set, _)| set);
        table.table.dimension("drug").is_some()
            && table.table.measures.get(measure).is_some_and(|measure| measure.of == Quantity::Lines)
            && set.is_some_and(|set| {
                set.levels.first() == Some(&TimeLevel::Year.number())
                    && set.levels.iter().skip(1).all(|level| *level == 0)
            })
            && self.cases(at, number) >= Some(u64::from(self.case.rules.k()))
    }

    fn is_known(&self, at: usize, number: usize) -> bool {
        let Some((_, measure, within)) = self.parts(at, number) else { return false };
        let shown = self.case.tables.get(at).and_then(|table| table.hidden.get(number)) == Some(&false);
        self.of_family(at, measure, within) && self.is_available(at, number) && (shown || self.is_national(at, number))
    }

    // Every available number of the family that breaks a primary rule.
    fn unsafe_numbers(&self, at: usize) -> Vec<usize> {
        let size = self.case.tables.get(at).map_or(0, |table| table.hidden.len());
        (0..size).filter(|number| self.is_unsafe(at, *number) && self.is_available(at, *number)).collect()
    }

    fn is_unsafe(&self, at: usize, number: usize) -> bool {
        let (Some((cell, measure, _)), Some(table)) = (self.parts(at, number), self.case.tables.get(at)) else {
            return false;
        };
        if !table.filled.table.measures.get(measure).is_some_and(|measure| self.case.family.has(measure.of)) {
            return false;
        }
        match (self.case.family, table.filled.cells.get(cell)) {
            (Family::Counts, _) => {
                self.cases(at, number).is_some_and(|cases| primary::threshold(cases, self.case.rules).is_err())
            }
            (Family::Sums(_), Some(cell)) => cell.magnitudes.get(measure).is_some_and(|magnitude| {
                primary::count_is_safe(cell, self.case.rules).is_err()
                    || primary::magnitude_is_safe(cell, magnitude, self.case.rules).is_err()
            }),
            (Family::Sums(_), None) => false,
        }
    }

    fn axis(&self, at: usize, dimension: usize) -> Option<&Axis> {
        self.case.tables.get(at)?.filled.layout.axes().get(dimension)
    }

    // The base cell of a line in a table: the finest codes above it that the table has.
    fn place_of(&self, at: usize, line: &Contribution) -> Option<Place> {
        let table = self.case.tables.get(at)?.filled;
        let levels = self.finest.get(at)?;
        let time = cut_time(line.period, *levels.first()?);
        if !(self.case.block.published)(time) {
            return None;
        }
        let mut codes = Vec::with_capacity(levels.len());
        for (dimension, level) in levels.iter().enumerate().skip(1) {
            let leaf = line.leaves.get(slot(table.table.kind, &table.table.dimensions.get(dimension)?.name)?)?;
            let Axis::Codes(tree) = self.axis(at, dimension)? else { return None };
            codes.push(cut_code(tree, usize::from(*leaf), *level)?);
        }
        Some(Place { table: u16::try_from(at).ok()?, time: time.number(), codes, value: self.value_of(at, line) })
    }

    // The base cell of a line in the hub, if there is one.
    fn hub_place(&self, line: &Contribution) -> Option<Place> {
        let at = self.in_hub.len().checked_sub(1).filter(|last| *last > 0)?;
        let time = cut_time(line.period, self.hub_levels[0]);
        if !(self.case.block.published)(time) {
            return None;
        }
        let leaf = line.leaves.get(slot(self.case.tables.get(at)?.filled.table.kind, "drug")?)?;
        let Axis::Codes(tree) = self.axis(at, 1)? else { return None };
        let codes = vec![cut_code(tree, usize::from(*leaf), self.hub_levels[1])?];
        let without_mass = self.hub_splits_mass && part(line.amount, Quantity::MassMg).is_none();
        Some(Place { table: MADE_HUB, time: time.number(), codes, value: if without_mass { NO_VALUE } else { 0 } })
    }

    // The same place under the one name of the hub, if it is the hub's.
    fn named(&self, place: &Place) -> Place {
        let in_hub = self.in_hub.get(usize::from(place.table)) == Some(&true);
        Place { table: if in_hub { MADE_HUB } else { place.table }, ..place.clone() }
    }

    // Which part of a table's lines: with and without a mass; by finest bin, and without a value.
    fn value_of(&self, at: usize, line: &Contribution) -> u16 {
        let Some(table) = self.case.tables.get(at).filter(|_| self.case.family == Family::Counts) else { return 0 };
        let measures = &table.filled.table.measures;
        if let Some(bins) = measures.iter().find_map(|measure| measure.bins.last()) {
            let bins: Vec<(u64, u64)> = bins.bins().collect();
            let bin = line.value.and_then(|value| bins.iter().position(|(from, to)| (*from..*to).contains(&value)));
            return bin.and_then(|bin| u16::try_from(bin).ok()).unwrap_or(NO_VALUE);
        }
        let weighed = measures.iter().any(|measure| measure.of == Quantity::LinesWeighed);
        if weighed && part(line.amount, Quantity::MassMg).is_none() { NO_VALUE } else { 0 }
    }

    // Every number that counts a base cell: of its table, or of every table of time and drug alone.
    fn counted_in(&self, place: &Place) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, table) in self.case.tables.iter().enumerate() {
            let counts_it = if place.table == MADE_HUB {
                self.in_hub.get(at) == Some(&true)
            } else {
                at == usize::from(place.table)
            };
            if !counts_it {
                continue;
            }
            let table = table.filled;
            for (set, _) in table.layout.sets() {
                let numbers = self.coordinates(at, place, &set.levels);
                let Some(cell) = numbers.and_then(|numbers| table.layout.index(&set.levels, &numbers)) else {
                    continue;
                };
                let offered =
                    table.table.measures.iter().enumerate().filter(|(index, _)| set.measures >> index & 1 == 1);
                for (index, measure) in offered {
                    let numbers = table.table.numbers_of(index);
                    let within = (0..numbers.len()).filter(|within| {
                        self.of_family(at, index, *within) && counts(measure, *within, place.value, self.case.family)
                    });
                    found.extend(within.map(|within| (at, cell * table.layout.width() + numbers.start + within)));
                }
            }
        }
        found
    }

    fn coordinates(&self, at: usize, place: &Place, levels: &[u8]) -> Option<Vec<u32>> {
        let time = Period::from_number(place.time).map(|time| cut_time(time, levels.first().copied().unwrap_or(0)))?;
        if Some(&time.level().number()) != levels.first() {
            return None;
        }
        let mut numbers = vec![time.number()];
        for ((code, level), dimension) in place.codes.iter().zip(levels.iter().skip(1)).zip(1..) {
            let Axis::Codes(tree) = self.axis(at, dimension)? else { return None };
            numbers.push(tree.get(tree.ancestor_at(tree.by_number(*code)?, *level)?)?.number);
        }
        Some(numbers)
    }

    // The sums that the base cell of a table shares with the hub, or that one of the hub shares with every table.
    fn margins(&self, place: &Place) -> Vec<Margin> {
        if self.case.tables.len() < 2 {
            return Vec::new();
        }
        if place.table != MADE_HUB {
            let drug = place.codes.first().copied().unwrap_or(0);
            return vec![(place.table, place.time, drug, self.band(place))];
        }
        let mut found = Vec::new();
        for (at, levels) in self.finest.iter().enumerate().filter(|(at, _)| self.in_hub.get(*at) == Some(&false)) {
            let time = Period::from_number(place.time).map(|time| cut_time(time, levels.first().copied().unwrap_or(0)));
            // A table that has nothing of this time yet follows whatever the hub does.
            if !time.is_some_and(self.case.block.published) {
                continue;
            }
            let Some(Axis::Codes(tree)) = self.axis(at, 1) else { continue };
            let drug = place.codes.first().and_then(|code| tree.by_number(*code));
            let drug = drug.and_then(|drug| cut_code(tree, drug, levels.get(1).copied().unwrap_or(0)));
            let mass = self.has_bands(at).then_some(place.value == 0);
            if let (Some(time), Some(drug), Ok(at)) = (time, drug, u16::try_from(at)) {
                found.push((at, time.number(), drug, mass));
            }
        }
        found
    }

    // A table of bands of weight tells which lines have a mass, as the hub does.
    fn has_bands(&self, at: usize) -> bool {
        self.hub_splits_mass && self.band_dimension(at).is_some()
    }

    fn band_dimension(&self, at: usize) -> Option<usize> {
        let table = self.case.tables.get(at)?.filled.table;
        let dimension = table.dimensions.iter().position(|dimension| dimension.list == WEIGHT_LIST)?;
        (self.finest.get(at)?.get(dimension)? > &0).then_some(dimension)
    }

    fn band(&self, place: &Place) -> Option<bool> {
        let at = usize::from(place.table);
        let dimension = self.band_dimension(at).filter(|_| self.hub_splits_mass)?;
        let Axis::Codes(tree) = self.axis(at, dimension)? else { return None };
        let code = tree.get(tree.by_number(*place.codes.get(dimension - 1)?)?)?;
        Some(band_has_mass(&code.code))
    }

    fn known(&self, place: &Place) -> Known {
        let place = &self.named(place);
        let (amount, cases) = self.truth.get(place).map_or((0, None), |(amount, cases)| (*amount, Some(cases)));
        let alone = cases.filter(|cases| cases.len() == 1).and_then(|cases| cases.first().copied());
        let counted_in = self.counted_in(place);
        let shown_in = counted_in.iter().copied().filter(|(at, number)| self.is_known(*at, *number)).collect();
        Known { in_hub: place.table == MADE_HUB, amount, alone, counted_in, shown_in, margins: self.margins(place) }
    }

    // Whether the ways of a protected number hold, reach its width and leave insiders out.
    fn check(
        &self,
        target: (usize, usize),
        ways: &[Way],
        known: &HashMap<u32, Known>,
        summary: &mut Summary,
    ) -> Result<(), &'static str> {
        let own = self.only.get(&target).copied();
        let mut needed: Option<BTreeSet<u32>> = None;
        for way in ways {
            let (mut up, mut down) = (0, 0);
            let mut alone = BTreeSet::new();
            for change in way {
                let by = change_of(target, change, known)?;
                up = up.max(by);
                down = down.min(by);
                alone.extend(
                    change.iter().filter_map(|(base, _)| known.get(base)?.alone).filter(|case| Some(*case) != own),
                );
            }
            if !self.is_wide(target, up, down) {
                return Err("is not as wide as the rules ask");
            }
            needed = Some(match needed {
                None => alone,
                Some(before) => before.intersection(&alone).copied().collect(),
            });
        }
        let needed = needed.ok_or("is empty")?;
        if !needed.is_empty() {
            summary.insider_excepted += 1;
        } else if ways.len() > 1 {
            summary.one_insider_at_a_time += 1;
        }
        Ok(())
    }

    fn is_wide(&self, target: (usize, usize), up: i128, down: i128) -> bool {
        match self.case.family {
            Family::Counts => up - down >= i128::from(self.case.rules.width()),
            Family::Sums(quantity) => {
                let Some((cell, measure, _)) = self.parts(target.0, target.1) else { return false };
                let table = self.case.tables.get(target.0).map(|table| table.filled);
                let magnitude = table.and_then(|table| table.cells.get(cell)?.magnitudes.get(measure));
                let step = table.and_then(|table| table.table.measures.get(measure)).map(|measure| measure.step);
                let (Some(magnitude), Some(step)) = (magnitude, step) else { return false };
                let (Ok(reach), Ok(sum)) = (
                    i128::try_from(self.case.rules.reach(magnitude.largest, quantity, step)),
                    i128::try_from(magnitude.sum),
                ) else {
                    return false;
                };
                up >= reach && -down >= reach.min(sum)
            }
        }
    }
}

// By how much a change moves a number; an error if anybody would notice it.
fn change_of(target: (usize, usize), change: &[(u32, i64)], known: &HashMap<u32, Known>) -> Result<i128, &'static str> {
    let mut by_base: BTreeMap<u32, i128> = BTreeMap::new();
    for (base, by) in change {
        *by_base.entry(*base).or_default() += i128::from(*by);
    }
    let mut shown: BTreeMap<(usize, usize), i128> = BTreeMap::new();
    let mut margins: BTreeMap<Margin, i128> = BTreeMap::new();
    let mut moved = 0;
    for (base, by) in by_base {
        let of = known.get(&base).ok_or("moves what is no base cell")?;
        if of.amount + by < 0 {
            return Err("falls below zero");
        }
        for number in &of.shown_in {
            *shown.entry(*number).or_default() += by;
        }
        for margin in &of.margins {
            *margins.entry(*margin).or_default() += if of.in_hub { -by } else { by };
        }
        if of.counted_in.contains(&target) {
            moved += by;
        }
    }
    if shown.values().any(|by| *by != 0) {
        return Err("changes a number that is known");
    }
    if margins.values().any(|by| *by != 0) {
        return Err("changes a table without the others");
    }
    Ok(moved)
}

// Whether one number of a measure counts the lines of a part.
fn counts(measure: &Measure, within: usize, value: u16, family: Family) -> bool {
    if family != Family::Counts {
        return true;
    }
    match measure.of {
        Quantity::LinesWeighed => value == 0,
        Quantity::Histogram if within > 0 => {
            let whole = measure.all_bins().nth(within - 1);
            let part = measure.bins.last().and_then(|bins| bins.bins().nth(usize::from(value)));
            whole.zip(part).is_some_and(|(whole, part)| whole.0 <= part.0 && part.1 <= whole.1)
        }
        Quantity::Histogram | Quantity::LinesMeasured | Quantity::Mean => value != NO_VALUE,
        _ => true,
    }
}

fn finest(of: &Filled<'_>, family: Family) -> Vec<u8> {
    let has = |measures: u32| {
        of.table
            .measures
            .iter()
            .enumerate()
            .any(|(index, measure)| measures >> index & 1 == 1 && family.has(measure.of))
    };
    let mut levels = vec![0; of.table.dimensions.len()];
    for (set, _) in of.layout.sets().iter().filter(|(set, _)| has(set.measures)) {
        levels.iter_mut().zip(&set.levels).for_each(|(finest, level)| *finest = (*finest).max(*level));
    }
    levels
}

fn cut_time(mut time: Period, finest: u8) -> Period {
    while time.level().number() > finest {
        let Some(parent) = time.parent() else { break };
        time = parent;
    }
    time
}

// The number of the finest code at or above one that a table has.
fn cut_code(tree: &Tree, mut at: usize, finest: u8) -> Option<u32> {
    loop {
        let code = tree.get(at)?;
        if code.level <= finest {
            return Some(code.number);
        }
        at = code.parent?;
    }
}
