//! The auditor: checks, in whole numbers and without a solver, that what is to be published protects what must be protected.
//!
//! It derives the equations anew from catalogue and code lists, trusts nothing that the chooser says, and knows of it only the
//! witnesses: for each protected number, changes of base cells that nobody can tell from the truth (`disclosure.md` A.1, Proof by
//! witnesses).

mod numbers;
mod places;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use accord_protocol::catalogue::Quantity;

use super::{
    Rules,
    chooser::Way,
    star::{Block, Earlier, Family, Filled, Place},
};
use crate::domain::contribution::{Contribution, part};

/// One table as it is to be published.
#[derive(Debug, Clone, Copy)]
pub struct Audited<'a> {
    /// The table and its cells before protection.
    pub filled: Filled<'a>,
    /// For each number of the block, in layout order, whether it is kept back. What is not available counts as hidden.
    pub hidden: &'a [bool],
    /// Of these numbers those that an earlier edition showed: they stay known.
    pub was_shown: &'a [bool],
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
    // Whatever the chooser calls it: two names may mean one base cell.
    place: Place,
    in_hub: bool,
    amount: i128,
    alone: Option<u32>,
    // Tables and numbers that count it, and which of them an attacker knows.
    counted_in: Vec<(usize, usize)>,
    shown_in: Vec<(usize, usize)>,
    margins: Vec<Margin>,
}

type Truth = HashMap<Place, (i128, BTreeSet<u32>)>;

struct Auditor<'a> {
    case: Case<'a>,
    finest: Vec<Vec<u8>>,
    // Which tables are of time and drug alone: their cells are sums of the hub's base cells. One table by itself has no hub.
    in_hub: Vec<bool>,
    // Codes that base cells have: drugs of the hub; of the other tables by dimension after time.
    hub_codes: HashSet<u32>,
    base_codes: Vec<Vec<HashSet<u32>>>,
    hub_levels: [u8; 2],
    hub_splits_mass: bool,
    // Amount and cases of every base cell that has lines.
    truth: Truth,
    // The same of every earlier vintage.
    earlier: Vec<(&'a Earlier, Truth)>,
    // What every number is at least, if each of its base cells is what it was when it was lowest.
    least: HashMap<(usize, usize), i128>,
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
            if table.was_shown.get(number) == Some(&true) {
                // Its earlier value is known; what is secret is the change, which has an audit of its own.
                continue;
            }
            let ways = witnesses.of(at, number).ok_or_else(|| Fault::NoWitness { table: name(), number })?;
            for (base, _) in ways.iter().flatten().flatten() {
                if let std::collections::hash_map::Entry::Vacant(entry) = known.entry(*base) {
                    let place = witnesses.place(*base).ok_or_else(|| Fault::NoWitness { table: name(), number })?;
                    let what = "moves what is no base cell";
                    let base = auditor.known(place);
                    entry.insert(base.ok_or_else(|| Fault::Witness { table: name(), number, what })?);
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
        for table in case.tables {
            let numbers = table.filled.layout.cells() * table.filled.layout.width();
            if [table.hidden.len(), table.was_shown.len()] != [numbers; 2]
                || table.filled.cells.len() != table.filled.layout.cells()
            {
                let what = "its lists are not as long as its block";
                return Err(Fault::Tables { table: table.filled.table.name.clone(), what });
            }
        }
        let finest: Vec<Vec<u8>> = case.tables.iter().map(|table| places::finest(&table.filled, case.family)).collect();
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
            hub_codes: HashSet::new(),
            base_codes: Vec::new(),
            truth: HashMap::new(),
            earlier: Vec::new(),
            least: HashMap::new(),
            only: HashMap::new(),
        };
        (auditor.hub_codes, auditor.base_codes) = auditor.codes_of_bases();
        auditor.truth = auditor.truth_of(case.block.lines);
        auditor.earlier =
            case.block.earlier.iter().map(|earlier| (earlier, auditor.truth_of(&earlier.lines))).collect();
        let mut lines_of: HashMap<(usize, usize), i128> = HashMap::new();
        for (place, (amount, cases)) in &auditor.truth {
            for (at, number) in auditor.counted_in(place) {
                *lines_of.entry((at, number)).or_default() += amount;
                if auditor.cases(at, number) == Some(1) {
                    auditor.only.extend(cases.iter().map(|case| ((at, number), *case)));
                }
            }
        }
        if !auditor.earlier.is_empty() {
            let mut least: HashMap<(usize, usize), i128> = HashMap::new();
            for (place, (amount, _)) in &auditor.truth {
                let amount = auditor.lowest(place, *amount);
                for counted in auditor.counted_in(place) {
                    *least.entry(counted).or_default() += amount;
                }
            }
            auditor.least = least;
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

    // Amount and cases of every base cell that some lines fall in.
    fn truth_of(&self, lines: &[Contribution]) -> Truth {
        let mut truth = Truth::new();
        for line in lines {
            let amount = match self.case.family {
                Family::Counts => 1,
                Family::Sums(quantity) => part(line.amount, quantity).map_or(0, i128::from),
            };
            if amount == 0 {
                continue;
            }
            let spokes = (0..self.case.tables.len()).filter(|at| self.in_hub.get(*at) == Some(&false));
            for place in spokes.filter_map(|at| self.place_of(at, line)).chain(self.hub_place(line)) {
                let entry = truth.entry(place).or_default();
                entry.0 += amount;
                entry.1.insert(line.case);
            }
        }
        truth
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
        // Nothing can be kept wider apart than what is public of it leaves it.
        let public = self.case.tables.get(target.0).and_then(|table| table.filled.public.at_most(target.1));
        let at_most = public.map_or(i128::MAX, i128::from);
        match self.case.family {
            Family::Counts => up - down >= i128::from(self.case.rules.width()).min(at_most),
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
                let room = (at_most - sum).max(0);
                let sum = if self.earlier.is_empty() { sum } else { self.least.get(&target).copied().unwrap_or(0) };
                up >= reach.min(room) && -down >= reach.min(sum)
            }
        }
    }
}

// By how much a change moves a number; an error if anybody would notice it.
fn change_of(target: (usize, usize), change: &[(u32, i64)], known: &HashMap<u32, Known>) -> Result<i128, &'static str> {
    let mut by_place: HashMap<&Place, (i128, &Known)> = HashMap::new();
    for (base, by) in change {
        let of = known.get(base).ok_or("moves what is no base cell")?;
        by_place.entry(&of.place).or_insert((0, of)).0 += i128::from(*by);
    }
    let mut shown: BTreeMap<(usize, usize), i128> = BTreeMap::new();
    let mut margins: BTreeMap<Margin, i128> = BTreeMap::new();
    let mut moved = 0;
    for (by, of) in by_place.into_values() {
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

#[cfg(test)]
mod tests;
