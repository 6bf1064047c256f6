//! One block from cells to what may be shown of them: primary rules, complementary suppression, audit.

use accord_protocol::{
    catalogue::{Measure, Quantity, Table},
    time::TimeLevel,
};

use crate::domain::tabulate::Cell;

use super::{
    MEAN_CASES_MIN, Reason, Rules,
    audit::{Audited, Case, Fault, Summary, Witnesses, audit},
    chooser::{Choice, Effort, Reach, Task, Way, choose},
    primary,
    star::{Block, Family, Filled, NONE, Place, Star},
};

/// Programmes that the clean-up of one block and family may solve.
const CLEAN_UP_MAX: usize = 300;

/// What becomes of the numbers of a block.
#[derive(Debug, Default)]
pub struct Protected {
    /// For each table and number why it is kept back; `None` for what may leave. Of numbers that are not available nothing is said.
    pub reasons: Vec<Vec<Option<Reason>>>,
    /// What choosing took.
    pub effort: Effort,
    /// What the audit found.
    pub audit: Summary,
}

/// What was said of a number before: whether it was shown; `None` if it was not available.
pub type Before<'a> = &'a dyn Fn(usize, usize) -> Option<bool>;

/// Protects the tables of one kind and year together, and audits the result. What an earlier edition has decided stays as it is.
///
/// # Errors
/// What the auditor objects to: then nothing of the block may be published.
pub fn protect(tables: &[Filled<'_>], block: Block<'_>, rules: &Rules, before: Before<'_>) -> Result<Protected, Fault> {
    let (mut protected, done) = decide(Given { tables, block, rules, before });
    // Everything is decided: now every family is audited against all that would be shown, and all that was.
    let was_shown: Vec<Vec<bool>> = (0..tables.len())
        .map(|at| {
            let numbers = protected.reasons.get(at).map_or(0, Vec::len);
            (0..numbers).map(|number| before(at, number) == Some(true)).collect()
        })
        .collect();
    for of_family in &done {
        let hidden: Vec<Vec<bool>> =
            protected.reasons.iter().map(|of| of.iter().map(Option::is_some).collect()).collect();
        let audited: Vec<Audited<'_>> = of_family
            .with
            .iter()
            .filter_map(|at| {
                let (filled, hidden, was_shown) = (*tables.get(*at)?, hidden.get(*at)?, was_shown.get(*at)?);
                Some(Audited { filled, hidden, was_shown })
            })
            .collect();
        protected.audit += audit(Case { tables: &audited, block, rules, family: of_family.family }, of_family)?;
        protected.effort += of_family.choice.effort;
    }
    Ok(protected)
}

/// Numbers, by table and place, that somebody may narrow who knows what `before` says was shown, if what it says was hidden is and
/// everything else is shown: those for which no witness is found. That is no proof that they can be.
pub fn narrowed(tables: &[Filled<'_>], block: Block<'_>, rules: &Rules, before: Before<'_>) -> Vec<(usize, usize)> {
    let (_, done) = decide(Given { tables, block, rules, before });
    let mut found = Vec::new();
    for of in &done {
        for (at, nodes) in of.with.iter().zip(&of.star.numbers) {
            let without = |node: &u32| of.choice.without.contains(node);
            found.extend(nodes.iter().enumerate().filter(|(_, node)| without(node)).map(|(number, _)| (*at, number)));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

// What every family hides, with its witnesses, not audited yet.
fn decide(given: Given<'_>) -> (Protected, Vec<Done>) {
    let tables = given.tables;
    let mut protected = Protected {
        reasons: tables.iter().map(|of| vec![None; of.layout.cells() * of.layout.width()]).collect(),
        ..Protected::default()
    };
    let counts = Work::new(given, &with(tables, Family::Counts), Family::Counts, &protected.reasons);
    let counts = counts.finish(&mut protected);
    means(given, &mut protected.reasons);
    let mut done = vec![counts];
    for quantity in SUMS {
        let family = Family::Sums(quantity);
        let with = with(tables, family);
        if !with.is_empty() {
            let sums = Work::new(given, &with, family, &protected.reasons);
            done.push(sums.finish(&mut protected));
        }
    }
    (protected, done)
}

/// The primary rules alone: what they hide can be recomputed by subtraction. For tests, with data that is no secret.
pub fn primary_only(tables: &[Filled<'_>], block: Block<'_>, rules: &Rules) -> Protected {
    let mut protected = Protected {
        reasons: tables.iter().map(|of| vec![None; of.layout.cells() * of.layout.width()]).collect(),
        ..Protected::default()
    };
    for (of, reasons) in tables.iter().zip(&mut protected.reasons) {
        let width = of.layout.width().max(1);
        for (index, measure) in of.table.measures.iter().enumerate() {
            let numbers = of.table.numbers_of(index);
            for (cell, within) in (0..of.cells.len()).flat_map(|cell| numbers.clone().map(move |within| (cell, within)))
            {
                let verdict =
                    of.cells.get(cell).map(|of| primary_reason(of, index, measure, within - numbers.start, rules));
                let number = cell * width + within;
                if let (Some(slot), Some(verdict)) = (reasons.get_mut(number), verdict) {
                    *slot = verdict.filter(|_| !of.public.is_shown(number));
                }
            }
        }
    }
    means(Given { tables, block, rules, before: &|_, _| None }, &mut protected.reasons);
    protected
}

/// Whether a number of a cell breaks a primary rule: one of a measure, by its place among the measure's numbers.
pub fn breaks_a_rule(cell: &Cell, index: usize, measure: &Measure, within: usize, rules: &Rules) -> bool {
    primary_reason(cell, index, measure, within, rules).is_some()
}

// Why the primary rules alone keep a number back.
fn primary_reason(cell: &Cell, index: usize, measure: &Measure, within: usize, rules: &Rules) -> Option<Reason> {
    let threshold = |cases| primary::threshold(cases, rules);
    let verdict = match measure.of {
        Quantity::Lines | Quantity::LinesWeighed | Quantity::Cases => threshold(cell.cases),
        Quantity::LinesMeasured | Quantity::Mean => threshold(cell.values.cases),
        Quantity::Histogram => {
            let bin = within.checked_sub(1).and_then(|bin| cell.bins.get(index)?.get(bin));
            threshold(cell.values.cases).and_then(|()| bin.map_or(Ok(()), |bin| threshold(bin.cases)))
        }
        Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl => {
            let magnitude = cell.magnitudes.get(index).copied().unwrap_or_default();
            threshold(cell.cases).and_then(|()| primary::magnitude_is_safe(cell, &magnitude, rules))
        }
    };
    verdict.err()
}

// The tables that have a measure of a family.
fn with(tables: &[Filled<'_>], family: Family) -> Vec<usize> {
    let has = |of: &Filled<'_>| of.table.measures.iter().any(|measure| family.has(measure.of));
    tables.iter().enumerate().filter(|(_, of)| has(of)).map(|(at, _)| at).collect()
}

/// Magnitudes that are summed.
const SUMS: [Quantity; 4] = [Quantity::MassMg, Quantity::Tablets, Quantity::Doses, Quantity::VolumeMl];

// What a block is protected from.
#[derive(Clone, Copy)]
struct Given<'a> {
    tables: &'a [Filled<'a>],
    block: Block<'a>,
    rules: &'a Rules,
    before: Before<'a>,
}

// The equations of a family, and what must be hidden and protected.
struct Work<'a> {
    given: Given<'a>,
    with: Vec<usize>,
    family: Family,
    star: Star,
    unsafe_nodes: Vec<Option<Reason>>,
    must_hide: Vec<bool>,
    shown_before: Vec<bool>,
    hidden_before: Vec<bool>,
    width: Vec<i64>,
    up: Vec<i64>,
}

// A family that is decided.
struct Done {
    with: Vec<usize>,
    family: Family,
    star: Star,
    choice: Choice,
}

impl Witnesses for Done {
    fn of(&self, table: usize, number: usize) -> Option<&[Way]> {
        let node = self.star.numbers.get(table)?.get(number)?;
        self.choice.witnesses.get(node).map(Vec::as_slice)
    }

    fn place(&self, base: u32) -> Option<&Place> {
        self.star.places.get(base as usize)
    }
}

impl<'a> Work<'a> {
    fn new(given: Given<'a>, with: &[usize], family: Family, decided: &[Vec<Option<Reason>>]) -> Self {
        let filled: Vec<Filled<'_>> = with.iter().filter_map(|at| given.tables.get(*at).copied()).collect();
        let mut star = Star::new(&filled, given.block, family);
        for earlier in given.block.earlier {
            star.lower_to(&filled, given.block, family, earlier);
        }
        let size = star.nodes.len();
        let mut work = Self {
            given,
            with: with.to_vec(),
            family,
            star,
            unsafe_nodes: vec![None; size],
            must_hide: vec![false; size],
            shown_before: vec![false; size],
            hidden_before: vec![false; size],
            width: vec![i64::from(given.rules.width()); size],
            up: vec![i64::MAX; size],
        };
        work.judge(decided);
        work
    }

    // The primary rules on every number of the family; a sum is hidden as well where the number of its lines is.
    fn judge(&mut self, decided: &[Vec<Option<Reason>>]) {
        let numbers = std::mem::take(&mut self.star.numbers);
        for (at, nodes) in self.with.iter().zip(&numbers) {
            let Some(of) = self.given.tables.get(*at) else { continue };
            let width = of.layout.width().max(1);
            for (number, node) in nodes.iter().enumerate().filter(|(_, node)| **node != NONE) {
                let (Some(cell), Some(slot)) =
                    (of.cells.get(number / width), self.unsafe_nodes.get_mut(*node as usize))
                else {
                    continue;
                };
                let verdict = match self.family {
                    Family::Counts => {
                        let cases = self.star.nodes.get(*node as usize).map_or(0, |node| node.cases);
                        primary::threshold(cases, self.given.rules)
                    }
                    Family::Sums(quantity) => {
                        let index = of.table.measures.iter().position(|measure| measure.of == quantity).unwrap_or(0);
                        let magnitude = cell.magnitudes.get(index).copied().unwrap_or_default();
                        let step = of.table.measures.get(index).map_or(1, |measure| measure.step);
                        if let Some(width) = self.width.get_mut(*node as usize) {
                            *width = i64::try_from(self.given.rules.reach(magnitude.largest, quantity, step))
                                .unwrap_or(i64::MAX);
                        }
                        let lines = of.table.measures.iter().position(|measure| measure.of == Quantity::Lines);
                        let lines = lines.map(|lines| number / width * width + of.table.numbers_of(lines).start);
                        let count = lines.and_then(|lines| decided.get(*at)?.get(lines).copied()?);
                        if count.is_some()
                            && let Some(must) = self.must_hide.get_mut(*node as usize)
                        {
                            *must = true;
                        }
                        primary::count_is_safe(cell, self.given.rules)
                            .and_then(|()| primary::magnitude_is_safe(cell, &magnitude, self.given.rules))
                    }
                };
                if let Err(reason) = verdict {
                    *slot = Some(reason);
                }
            }
        }
        for (at, nodes) in self.with.iter().zip(&numbers) {
            for (number, node) in nodes.iter().enumerate().filter(|(_, node)| **node != NONE) {
                let before = match (self.given.before)(*at, number) {
                    Some(true) => &mut self.shown_before,
                    Some(false) => &mut self.hidden_before,
                    None => continue,
                };
                if let Some(before) = before.get_mut(*node as usize) {
                    *before = true;
                }
            }
        }
        self.star.numbers = numbers;
        for (must, before) in self.must_hide.iter_mut().zip(&self.hidden_before) {
            *must |= before;
        }
        for (must, reason) in self.must_hide.iter_mut().zip(&self.unsafe_nodes) {
            *must |= reason.is_some();
        }
        self.respect_what_is_public();
    }

    // What is public anyway is known, whatever was said before; and within it nothing is kept wider apart than that leaves it.
    fn respect_what_is_public(&mut self) {
        for (at, nodes) in self.with.iter().zip(&self.star.numbers) {
            let Some(public) = self.given.tables.get(*at).map(|of| of.public) else { continue };
            for (number, node) in nodes.iter().enumerate().filter(|(_, node)| **node != NONE) {
                let at = *node as usize;
                if let Some(most) = public.at_most(number)
                    && let (Some(width), Some(up), Some(of)) =
                        (self.width.get_mut(at), self.up.get_mut(at), self.star.nodes.get(at))
                {
                    match self.family {
                        Family::Counts => *width = (*width).min(most),
                        Family::Sums(_) => {
                            *up = (*up).min(most - i64::try_from(of.lines).unwrap_or(i64::MAX)).max(0);
                            if of.lines == 0 {
                                *width = (*width).min(*up);
                            }
                        }
                    }
                }
                if public.is_shown(number)
                    && let (Some(why), Some(must), Some(shown)) =
                        (self.unsafe_nodes.get_mut(at), self.must_hide.get_mut(at), self.shown_before.get_mut(at))
                {
                    (*why, *must, *shown) = (None, false, true);
                }
            }
        }
    }

    // Chooses.
    fn finish(self, protected: &mut Protected) -> Done {
        // What was shown is known. If it is unsafe now, it is its change that is protected, as a number of the change table.
        // Nor is anything left to protect of what everybody knows to be nothing.
        let is_open = |((why, shown), width): ((&Option<Reason>, &bool), &i64)| why.is_some() && !shown && *width > 0;
        let unsafe_nodes: Vec<bool> =
            self.unsafe_nodes.iter().zip(&self.shown_before).zip(&self.width).map(is_open).collect();
        let mass = self.family == Family::Sums(Quantity::MassMg);
        let task = Task {
            star: &self.star,
            must_hide: &self.must_hide,
            protect: &unsafe_nodes,
            shown_before: &self.shown_before,
            width: &self.width,
            up: &self.up,
            reach: if self.family == Family::Counts { Reach::Together } else { Reach::EachWay },
            unit: if mass { 1_000_000 } else { 1 },
            k: u64::from(self.given.rules.k()),
            insiders: true,
            clean_up_max: CLEAN_UP_MAX,
        };
        let choice = choose(&task);
        self.write_down(&choice.hidden, protected);
        Done { with: self.with, family: self.family, star: self.star, choice }
    }

    // Why numbers are kept back.
    fn write_down(&self, hidden: &[bool], protected: &mut Protected) {
        for (at, nodes) in self.with.iter().zip(&self.star.numbers) {
            let Some(reasons) = protected.reasons.get_mut(*at) else { continue };
            for (node, reason) in nodes.iter().zip(reasons).filter(|(node, _)| **node != NONE) {
                if hidden.get(*node as usize) == Some(&true) {
                    *reason = Some(self.reason(*node));
                }
            }
        }
    }

    fn reason(&self, node: u32) -> Reason {
        let own = |node: u32| self.unsafe_nodes.get(node as usize).copied().flatten();
        let lead = self.star.nodes.get(node as usize).map_or(node, |of| of.lead);
        let carried = self.hidden_before.get(node as usize) == Some(&true);
        own(node).or_else(|| own(lead)).unwrap_or(if carried { Reason::Carried } else { Reason::ProtectsAnother })
    }
}

// An exact mean is shown with its number of lines, of enough cases, and never where a bin below the coarsest is.
fn means(given: Given<'_>, reasons: &mut [Vec<Option<Reason>>]) {
    for (at, (of, reasons)) in given.tables.iter().zip(reasons).enumerate() {
        let Some(mean) = of.table.measures.iter().position(|measure| measure.of == Quantity::Mean) else { continue };
        for cell in 0..of.layout.cells() {
            // A mean that was shown stays, and one that was hidden does not come.
            let first = cell * of.layout.width() + of.table.numbers_of(mean).start;
            let reason = match (given.before)(at, first) {
                Some(true) => None,
                Some(false) => Some(Reason::Carried),
                None => mean_reason(*of, cell, given.rules, reasons),
            };
            for within in of.table.numbers_of(mean) {
                if let Some(slot) = reasons.get_mut(cell * of.layout.width() + within) {
                    *slot = reason;
                }
            }
        }
    }
}

fn mean_reason(of: Filled<'_>, cell: usize, rules: &Rules, reasons: &[Option<Reason>]) -> Option<Reason> {
    let values = of.cells.get(cell).map(|cell| cell.values).unwrap_or_default();
    if values.cases < MEAN_CASES_MIN.max(u64::from(rules.k())) || values.lines == 0 {
        return Some(Reason::TooFewCases);
    }
    let first_of = |quantity: Quantity| of.table.measures.iter().position(|measure| measure.of == quantity);
    let reason = |cell: usize, within: usize| reasons.get(cell * of.layout.width() + within).copied().flatten();
    let lines = first_of(Quantity::LinesMeasured).or_else(|| first_of(Quantity::Histogram));
    let Some(lines) = lines.map(|lines| of.table.numbers_of(lines).start) else { return Some(Reason::ProtectsAnother) };
    if let Some(reason) = reason(cell, lines) {
        return Some(reason);
    }
    let histogram = first_of(Quantity::Histogram).and_then(|index| Some((index, of.table.measures.get(index)?)));
    let shows_finer = |cell: usize| {
        histogram.is_some_and(|(index, measure)| {
            let numbers = of.table.numbers_of(index);
            numbers.skip(1 + coarsest(measure)).any(|within| reason(cell, within).is_none())
        })
    };
    if same_lines(of.table, of, cell).into_iter().any(shows_finer) { Some(Reason::ProtectsAnother) } else { None }
}

fn coarsest(measure: &Measure) -> usize {
    measure.bins.first().map_or(0, |level| level.bins().count())
}

// The cell and those of its quarters and months; all of the table if it is not of a year, so that no mean is shown there.
fn same_lines(table: &Table, of: Filled<'_>, cell: usize) -> Vec<usize> {
    let Some((set, first)) = of.layout.sets().iter().rev().find(|(_, first)| *first <= cell) else { return Vec::new() };
    if set.levels.first() != Some(&TimeLevel::Year.number()) {
        return (0..of.layout.cells()).collect();
    }
    let histogram = table.measures.iter().position(|measure| measure.of == Quantity::Histogram);
    let mut found = vec![cell];
    for (shorter, start) in of.layout.sets().iter().filter(|(shorter, _)| {
        shorter.levels.get(1..) == set.levels.get(1..)
            && shorter.levels.first() > set.levels.first()
            && histogram.is_some_and(|index| shorter.measures >> index & 1 == 1)
    }) {
        let numbers = of.layout.numbers(shorter);
        let others: usize = numbers.iter().skip(1).map(Vec::len).product();
        let periods = numbers.first().map_or(0, Vec::len);
        found.extend((0..periods).map(|period| start + period * others + (cell - first) % others.max(1)));
    }
    found
}

#[cfg(test)]
mod mutations;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        disclosure::{outcomes, star::Public},
        tabulate::{Cell, Tally, Values},
    };
    use accord_protocol::{
        catalogue::{Catalogue, SHIPPED},
        edition::Layout,
    };

    // A cell of the year in the purity table with one case for each purity in per cent.
    fn purities(table: &Table, percent: &[u64]) -> Cell {
        let lines = percent.len() as u64;
        let bins = |measure: &Measure| {
            let count =
                |(from, to)| percent.iter().filter(|value| (from..to).contains(&(**value * 100))).count() as u64;
            measure.all_bins().map(count).map(|lines| Tally { cases: lines, lines }).collect()
        };
        Cell {
            cases: lines,
            lines,
            values: Values { cases: lines, lines, sum: percent.iter().map(|value| u128::from(*value) * 100).sum() },
            bins: table.measures.iter().map(bins).collect(),
            ..Cell::default()
        }
    }

    // What is shown of mean and histogram of the only cell that has samples.
    fn shown(percent: &[u64]) -> (String, String) {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let table = catalogue.table("purity-quarter-form-market").unwrap();
        let layout = Layout::new(table, "ES", 2025).unwrap();
        let empty = Cell { bins: purities(table, &[]).bins, ..Cell::default() };
        let mut cells = vec![empty; layout.cells()];
        cells[0] = purities(table, percent);
        let filled = [Filled { table, layout: &layout, cells: &cells, public: Public::NOTHING }];
        let block = Block { lines: &[], year: 2025, published: &|_| true, earlier: &[] };
        let protected = primary_only(&filled, block, &Rules::DEFAULT);
        let show = |index: usize| {
            let numbers = table.numbers_of(index);
            let decided = outcomes(&cells[0], index, &table.measures[index], &protected.reasons[0][numbers]);
            let word = |outcome: &crate::domain::disclosure::Outcome| match outcome {
                crate::domain::disclosure::Outcome::Release(released) => format!("{released:?}"),
                crate::domain::disclosure::Outcome::Suppress(_) => "-".to_owned(),
            };
            decided.iter().map(word).collect::<Vec<_>>().join(" ")
        };
        (show(2), show(3))
    }

    #[test]
    fn a_bin_is_a_count_and_a_mean_needs_twenty_cases_and_no_finer_bin() {
        // Twenty cases spread so that no bin of 10 points has five: each bin of 20 points has four, and the mean is 48.7.
        let (mean, _) = shown(&[1, 6, 11, 16, 21, 26, 31, 36, 41, 46, 56, 55, 61, 66, 71, 76, 81, 86, 91, 96]);
        assert_eq!(mean, "20 98000");
        // In one bin of five points, the mean is not shown beside it.
        assert_eq!(shown(&[50; 20]).0, "- -");
        let (mean, bins) = shown(&[50; 19]);
        assert_eq!(mean, "- -");
        assert!(bins.starts_with("19 - - 19 - - "), "{bins}");
        assert_eq!(bins.matches("19").count(), 4, "the total and one bin on each level");
        assert_eq!(shown(&[50; 4]).1.matches('-').count(), 36);
        // 100 per cent stands in the last bin.
        assert_eq!(shown(&[100; 5]).1.matches('5').count(), 4);
    }
}
