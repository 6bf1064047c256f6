//! Numbers that are public anyway: which they are, what they say, and where else in the tables of a kind and year they stand.

use std::collections::{BTreeMap, HashSet};

use accord_protocol::{
    catalogue::{Axis, Quantity, Table},
    code::ListError,
    codec::Bounded,
    consent::{PublicCell, PublicNumber},
    edition::Layout,
    time::{Period, TimeLevel},
};

use super::{
    super::{
        contribution::Contributions,
        disclosure::{Outcome, outcomes, star::Public},
        revision::{HeldLine, contributions},
        tabulate::{Cell, tabulate},
    },
    block::LaidOut,
};

/// Why a number cannot be waived.
#[derive(Debug, thiserror::Error)]
pub enum NotWaived {
    /// A code list is missing.
    #[error(transparent)]
    List(#[from] ListError),
    /// A dimension that the table does not have.
    #[error("table {table} has no dimension `{name}`; it has: {known}")]
    Dimension {
        /// The table.
        table: String,
        /// What was said.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// No period.
    #[error("a cell has a period: time=2024, time=2024-Q1 or time=2024-03")]
    Time,
    /// A code that its list does not have.
    #[error("`{code}` is no code of {dimension}")]
    Code {
        /// The dimension.
        dimension: String,
        /// What was said.
        code: String,
    },
    /// A cell that the table does not have.
    #[error("table {0} has no such cell: it does not offer this combination of levels")]
    OffGrid(String),
    /// A measure that the table does not have there.
    #[error("table {table} does not offer `{name}` there")]
    Measure {
        /// The table.
        table: String,
        /// What was said.
        name: String,
    },
    /// A measure that has parts, or a table that stands alone.
    #[error("only numbers and amounts of seizures and sites can be waived, in tables that have totals")]
    Kind,
}

/// A cell that is named by its codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its year.
    pub year: u16,
    table_id: u16,
    levels: Vec<u8>,
    codes: Vec<u32>,
    measures: Vec<usize>,
}

/// Finds the cell that somebody names, and the numbers of it that go together: lines with a mass are shown where the lines are.
///
/// # Errors
/// What is not there.
pub fn find(
    table: &Table,
    country: &str,
    key: &BTreeMap<String, String>,
    measures: &[String],
) -> Result<Named, NotWaived> {
    if !table.margins {
        return Err(NotWaived::Kind);
    }
    if let Some(name) = key.keys().find(|name| table.dimension(name).is_none()) {
        let known: Vec<&str> = table.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        return Err(NotWaived::Dimension { table: table.name.clone(), name: name.clone(), known: known.join(", ") });
    }
    let axes = table.axes(country)?;
    let (mut levels, mut codes, mut year) = (Vec::new(), Vec::new(), None);
    for (dimension, axis) in table.dimensions.iter().zip(&axes) {
        let found = match (key.get(&dimension.name), axis) {
            (Some(code), _) => {
                let unknown = || NotWaived::Code { dimension: dimension.name.clone(), code: code.clone() };
                axis.find(code).ok_or_else(unknown)?
            }
            (None, Axis::Time) => return Err(NotWaived::Time),
            (None, Axis::Codes(_)) => root(axis).ok_or_else(|| NotWaived::OffGrid(table.name.clone()))?,
        };
        if matches!(axis, Axis::Time) {
            year = Period::from_number(found.1).map(Period::year);
        }
        levels.push(found.0);
        codes.push(found.1);
    }
    let off_grid = || NotWaived::OffGrid(table.name.clone());
    let (year, offered) = (year.ok_or(NotWaived::Time)?, table.measures_at(&levels).ok_or_else(off_grid)?);
    let layout = Layout::new(table, country, year)?;
    layout.index(&levels, &codes).ok_or_else(off_grid)?;
    let is_count = |of: Quantity| [Quantity::Lines, Quantity::LinesWeighed].contains(&of);
    let is_sum =
        |of: Quantity| [Quantity::MassMg, Quantity::Tablets, Quantity::Doses, Quantity::VolumeMl].contains(&of);
    let is_meant = |index: &usize, id: &str, of: Quantity| {
        offered >> index & 1 == 1
            && (is_count(of) || is_sum(of) && measures.iter().any(|name| name == id))
            && (!is_count(of) || measures.is_empty() || counts_are_meant(table, measures))
    };
    for name in measures {
        let index = table.measure(name).filter(|index| offered >> index & 1 == 1);
        let unknown = || NotWaived::Measure { table: table.name.clone(), name: name.clone() };
        let of = table.measures.get(index.ok_or_else(unknown)?).map(|measure| measure.of);
        if !of.is_some_and(|of| is_count(of) || is_sum(of)) {
            return Err(NotWaived::Kind);
        }
    }
    let meant: Vec<usize> = table
        .measures
        .iter()
        .enumerate()
        .filter(|(index, measure)| is_meant(index, &measure.id, measure.of))
        .map(|(index, _)| index)
        .collect();
    // What has values has parts that would have to be shown with them.
    if meant.is_empty() || table.measures.iter().any(|measure| measure.width() > 1) {
        return Err(NotWaived::Kind);
    }
    Ok(Named { year, table_id: table.id, levels, codes, measures: meant })
}

fn counts_are_meant(table: &Table, measures: &[String]) -> bool {
    let is_count = |name: &String| {
        let of = table.measure(name).and_then(|index| table.measures.get(index)).map(|measure| measure.of);
        of.is_some_and(|of| [Quantity::Lines, Quantity::LinesWeighed].contains(&of))
    };
    measures.iter().any(is_count)
}

// Level and number of the code above all others.
fn root(axis: &Axis) -> Option<(u8, u32)> {
    axis.numbers(0, 0).first().map(|number| (0, *number))
}

impl Named {
    /// The cell with what its numbers say, as lines that were published have it.
    ///
    /// # Errors
    /// A code list that is missing; a number that no cell can hold.
    pub fn with_values(&self, table: &Table, country: &str, held: &[HeldLine]) -> Result<PublicCell, NotWaived> {
        let layout = Layout::new(table, country, self.year)?;
        let lines = Contributions::of_lines(table.kind, self.year, contributions(held));
        let cells = tabulate(table, &layout, &lines, self.year);
        let off_grid = || NotWaived::OffGrid(table.name.clone());
        let cell = layout.index(&self.levels, &self.codes).and_then(|at| cells.get(at)).ok_or_else(off_grid)?;
        let number = |measure: &usize| {
            let within = u16::try_from(table.numbers_of(*measure).start).ok()?;
            Some(PublicNumber { within, value: says(table, cell, *measure)? })
        };
        let numbers: Option<Vec<PublicNumber>> = self.measures.iter().map(number).collect();
        let all = (Bounded::new(self.levels.clone()), Bounded::new(self.codes.clone()), numbers.and_then(Bounded::new));
        let (Some(levels), Some(codes), Some(numbers)) = all else { return Err(off_grid()) };
        Ok(PublicCell { table_id: self.table_id, levels, codes, numbers })
    }

    /// The measures whose numbers are meant.
    pub fn measures(&self) -> &[usize] {
        &self.measures
    }

    /// Where a measure of the cell stands among the numbers of its block.
    pub fn place(&self, table: &Table, layout: &Layout, measure: usize) -> Option<usize> {
        Some(layout.index(&self.levels, &self.codes)? * layout.width() + table.numbers_of(measure).start)
    }
}

// What a number would say.
fn says(table: &Table, cell: &Cell, measure: usize) -> Option<u64> {
    let of = table.measures.get(measure)?;
    match outcomes(cell, measure, of, &[None]).first()? {
        Outcome::Release(released) => released.number().and_then(|number| u64::try_from(number).ok()),
        Outcome::Suppress(_) => None,
    }
}

/// What is public anyway of the numbers of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Waived {
    shown: Vec<bool>,
    at_most: Vec<Option<u64>>,
}

impl Waived {
    pub(super) fn public(&self) -> Public<'_> {
        Public { shown: &self.shown, at_most: &self.at_most }
    }

    /// The numbers that are public themselves.
    pub(super) fn shown(&self) -> impl Iterator<Item = usize> {
        self.shown.iter().enumerate().filter(|(_, shown)| **shown).map(|(number, _)| number)
    }

    /// What waivers that hold make public of a table.
    pub(super) fn of(of: &LaidOut<'_>, holding: &[(&Table, &PublicCell)]) -> Self {
        let mut waived = Self::default();
        for (source, cell) in holding.iter().filter(|_| of.table.margins) {
            let numbers: Vec<(Quantity, u64)> = public_numbers(source, cell).collect();
            if let Some(codes) = in_table(cell, source, of) {
                waived.add(of, &codes, &numbers);
            }
        }
        waived
    }

    fn add(&mut self, of: &LaidOut<'_>, codes: &[(u8, u32)], numbers: &[(Quantity, u64)]) {
        let (levels, codes): (Vec<u8>, Vec<u32>) = codes.iter().copied().unzip();
        let width = of.layout.width();
        let own = of.layout.index(&levels, &codes);
        let within: Vec<HashSet<u32>> =
            of.layout.axes().iter().zip(&codes).map(|(axis, code)| descendants(axis, *code)).collect();
        self.shown.resize(of.layout.cells() * width, false);
        self.at_most.resize(of.layout.cells() * width, None);
        for (set, first) in of.layout.sets() {
            let along = of.layout.numbers(set);
            let size: usize = along.iter().map(Vec::len).product();
            let cells = (*first..first + size).filter(|at| is_within(&along, &within, at - first));
            for (at, (index, measure)) in
                cells.flat_map(|at| of.table.measures.iter().enumerate().map(move |it| (at, it)))
            {
                let places = of.table.numbers_of(index).map(|number| at * width + number);
                for (quantity, value) in numbers.iter().filter(|(quantity, _)| contains(*quantity, measure.of)) {
                    let is_itself = own == Some(at) && measure.of == *quantity && set.measures >> index & 1 == 1;
                    for number in places.clone() {
                        if let (Some(most), Some(shown)) = (self.at_most.get_mut(number), self.shown.get_mut(number)) {
                            *most = Some(most.map_or(*value, |most| most.min(*value)));
                            *shown |= is_itself;
                        }
                    }
                }
            }
        }
    }
}

// What is public of a cell, by quantity.
fn public_numbers<'a>(table: &'a Table, cell: &'a PublicCell) -> impl Iterator<Item = (Quantity, u64)> + use<'a> {
    cell.numbers.iter().filter_map(|number| {
        let is_it = |index: &usize| table.numbers_of(*index).start == usize::from(number.within);
        let index = (0..table.measures.len()).find(is_it)?;
        Some((table.measures.get(index)?.of, number.value))
    })
}

/// The waivers of a year that hold: of which the records say what they say. With the table that each is of.
pub(super) fn holding<'a>(
    laid_out: &[LaidOut<'a>],
    waivers: &'a [PublicCell],
    year: u16,
) -> Vec<(&'a Table, &'a PublicCell)> {
    let mut found = Vec::new();
    for waiver in waivers.iter().filter(|waiver| year_of(waiver) == Some(year)) {
        let Some(of) = laid_out.iter().find(|of| of.table.id == waiver.table_id) else { continue };
        let at = of.layout.index(waiver.levels.as_slice(), waiver.codes.as_slice());
        let Some(cell) = at.and_then(|at| of.cells.get(at)) else { continue };
        let says_so = |(quantity, value): (Quantity, u64)| {
            let index = of.table.measures.iter().position(|measure| measure.of == quantity);
            index.and_then(|index| says(of.table, cell, index)) == Some(value)
        };
        if public_numbers(of.table, waiver).all(says_so) {
            found.push((of.table, waiver));
        }
    }
    found
}

/// The year of a cell.
pub fn year_of(cell: &PublicCell) -> Option<u16> {
    cell.codes.as_slice().first().and_then(|time| Period::from_number(*time)).map(Period::year)
}

// Whether all that a number counts is in another one of the same cell or one above it.
fn contains(public: Quantity, of: Quantity) -> bool {
    public == of
        || public == Quantity::Lines
            && [Quantity::LinesWeighed, Quantity::LinesMeasured, Quantity::Histogram].contains(&of)
}

// Numbers of a code and of all below it.
fn descendants(axis: &Axis, code: u32) -> HashSet<u32> {
    match axis {
        Axis::Time => {
            let Some(whole) = Period::from_number(code) else { return HashSet::new() };
            let all = TimeLevel::ALL.iter().flat_map(|level| Period::of_year(whole.year(), *level));
            let is_in = |period: &Period| std::iter::successors(Some(*period), |at| at.parent()).any(|at| at == whole);
            all.filter(is_in).map(Period::number).collect()
        }
        Axis::Codes(tree) => {
            let above = |at: &usize| tree.get(*at).and_then(|code| code.parent);
            let is_in = |at: usize| {
                let mut all = std::iter::successors(Some(at), above);
                all.any(|at| tree.get(at).is_some_and(|found| found.number == code))
            };
            let codes = tree.codes().iter().enumerate().filter(|(at, _)| is_in(*at));
            codes.map(|(_, code)| code.number).collect()
        }
    }
}

// Whether the cell at a place among those of its levels has only such codes.
fn is_within(along: &[Vec<u32>], within: &[HashSet<u32>], mut offset: usize) -> bool {
    along.iter().zip(within).rev().all(|(numbers, within)| {
        let number = numbers.get(offset % numbers.len().max(1));
        offset /= numbers.len().max(1);
        number.is_some_and(|number| within.contains(number))
    })
}

// The same cell in another table: one of time and drug alone stands in all tables, in the row of everything else.
fn in_table(waiver: &PublicCell, source: &Table, of: &LaidOut<'_>) -> Option<Vec<(u8, u32)>> {
    let own = waiver.levels.iter().copied().zip(waiver.codes.iter().copied());
    if source.id == of.table.id {
        return Some(own.collect());
    }
    let of_all = waiver.levels.iter().skip(2).all(|level| *level == 0);
    let begins = |table: &Table| {
        let names: Vec<&str> = table.dimensions.iter().take(2).map(|dimension| dimension.name.as_str()).collect();
        names == ["time", "drug"]
    };
    if !of_all || !begins(source) || !begins(of.table) {
        return None;
    }
    let rest: Option<Vec<(u8, u32)>> = of.layout.axes().iter().skip(2).map(root).collect();
    Some(own.take(2).chain(rest?).collect())
}
