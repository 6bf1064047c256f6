//! Filling and freezing an edition: all tables of the catalogue, in blocks of one calendar year.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use accord_protocol::{
    catalogue::{Catalogue, LevelSet, Quantity, Table},
    cell::{CELL_LEN, Released, State},
    code::ListError,
    edition::{EditionHeader, Layout},
    selection::Selection,
    time::{Period, TimeLevel, UnixMs},
};
use serde::{Deserialize, Serialize};

use super::{
    contribution::Contributions,
    coverage::Coverage,
    disclosure::{FinerBins, Outcome, Reason, Rules, finer_bins, review},
    tabulate::{Cell, tabulate},
};

/// One table's cells of one year, as they stand in slices, and why hidden ones are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The table.
    pub table_id: u16,
    /// The year.
    pub year: u16,
    /// The cells, in layout order, each with all measures of the table.
    pub cells: Vec<u8>,
    /// One byte for each number: 0, or the number of a [`Reason`]. Never leaves the node.
    pub reasons: Vec<u8>,
}

/// A published edition as it is answered from: it never changes.
#[derive(Debug)]
pub struct Frozen {
    /// Its signed header's content.
    pub header: EditionHeader,
    /// The catalogue that it was made under.
    pub catalogue: Arc<Catalogue>,
    /// Its blocks by table and year.
    pub blocks: HashMap<(u16, u16), Block>,
}

impl Frozen {
    /// A table's cells of a year.
    pub fn block(&self, table: u16, year: u16) -> Option<&[u8]> {
        self.blocks.get(&(table, year)).map(|block| block.cells.as_slice())
    }

    /// Whether it holds the same tables and years: the cells alone do not say which year they are of.
    pub fn holds_blocks_of(&self, filled: &Filled) -> bool {
        self.blocks.len() == filled.blocks.len()
            && filled.blocks.iter().all(|block| self.blocks.contains_key(&(block.table_id, block.year)))
    }
}

/// How much of a table and level set is shown. Secret like the records: kept for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The table.
    pub table: String,
    /// Level names by dimension.
    pub levels: BTreeMap<String, String>,
    /// Cells whose period is covered.
    pub cells: u64,
    /// Of them, cells with a case.
    pub nonzero: u64,
    /// Of them, cells shown (first measure).
    pub shown: u64,
    /// Sum of cases over the cells.
    pub cases: u64,
    /// Sum of cases over the shown cells.
    pub cases_shown: u64,
}

/// A filled edition, not numbered yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// The blocks, by table, then year.
    pub blocks: Vec<Block>,
    /// Shares shown.
    pub shares: Vec<Share>,
}

impl Filled {
    /// All cells: what an edition commits to (`wire.md` D11).
    pub fn content(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|block| block.cells.iter().copied()).collect()
    }
}

/// What an edition is filled from.
#[derive(Debug)]
pub struct Filling<'a> {
    /// The catalogue.
    pub catalogue: &'a Catalogue,
    /// The provider's country, ISO 3166 alpha-2.
    pub country: &'a str,
    /// The records' contributions.
    pub contributions: &'a Contributions,
    /// What is declared.
    pub coverage: &'a Coverage,
    /// The protection rules.
    pub rules: &'a Rules,
    /// Node time.
    pub now: UnixMs,
    /// Days after its end until a period is published.
    pub delay_days: u16,
}

/// Fills all tables.
pub fn fill(filling: &Filling<'_>) -> Result<Filled, ListError> {
    let mut filled = Filled::default();
    for table in filling.catalogue.tables() {
        let mut shares: BTreeMap<Vec<u8>, Share> = BTreeMap::new();
        for year in filling.coverage.years(table.kind) {
            filled.blocks.push(fill_block(table, year, filling, &mut shares)?);
        }
        filled.shares.extend(shares.into_values());
    }
    Ok(filled)
}

fn fill_block(
    table: &Table,
    year: u16,
    filling: &Filling<'_>,
    shares: &mut BTreeMap<Vec<u8>, Share>,
) -> Result<Block, ListError> {
    let layout = Layout::new(table, filling.country, year)?;
    let raw = tabulate(table, &layout, filling.contributions, year);
    let mut cells = Vec::with_capacity(layout.len_bytes());
    let mut reasons = Vec::with_capacity(layout.cells() * layout.width());
    for (set, first) in layout.sets() {
        let numbers = layout.numbers(set);
        let others: usize = numbers.iter().skip(1).map(Vec::len).product();
        let share = shares.entry(set.levels.clone()).or_insert_with(|| share_of(table, &layout, &set.levels));
        let families = Families { table, layout: &layout, raw: &raw, set, first: *first, others };
        for (row, time) in numbers.first().into_iter().flatten().enumerate() {
            let available = Period::from_number(*time)
                .is_some_and(|period| filling.coverage.publishes(table.kind, period, filling.now, filling.delay_days));
            for column in 0..others {
                let Some(cell) = raw.get(first + row * others + column) else { continue };
                let mut first_is_shown = false;
                for (index, measure) in table.measures.iter().enumerate() {
                    let offered = set.measures >> index & 1 == 1;
                    if !available || !offered {
                        cells
                            .extend(std::iter::repeat_n(Released::NOT_AVAILABLE.to_bytes(), measure.width()).flatten());
                        reasons.extend(std::iter::repeat_n(0, measure.width()));
                        continue;
                    }
                    let finer = match measure.of {
                        Quantity::Mean => families.finer_bins(row, column, filling.rules),
                        _ => FinerBins::Hidden,
                    };
                    for (number, outcome) in review(cell, index, measure, filling.rules, finer).into_iter().enumerate()
                    {
                        let (released, reason) = match outcome {
                            Outcome::Release(released) => (released, 0),
                            Outcome::Suppress(reason) => (Released::SUPPRESSED, reason.number()),
                        };
                        first_is_shown |= (index, number) == (0, 0) && released.state() == State::Value;
                        cells.extend(released.to_bytes());
                        reasons.push(reason);
                    }
                }
                if available {
                    share.cells += 1;
                    share.nonzero += u64::from(cell.cases > 0);
                    share.shown += u64::from(first_is_shown);
                    share.cases += cell.cases;
                    share.cases_shown += if first_is_shown { cell.cases } else { 0 };
                }
            }
        }
    }
    Ok(Block { table_id: table.id, year, cells, reasons })
}

/// The cells of one level set, with those of shorter periods that hold the same lines.
struct Families<'a> {
    table: &'a Table,
    layout: &'a Layout,
    raw: &'a [Cell],
    set: &'a LevelSet,
    first: usize,
    others: usize,
}

impl Families<'_> {
    // Whether this cell or one of its quarters or months shows a bin below the coarsest level.
    fn finer_bins(&self, row: usize, column: usize, rules: &Rules) -> FinerBins {
        let Some((index, histogram)) =
            self.table.measures.iter().enumerate().find(|(_, measure)| measure.of == Quantity::Histogram)
        else {
            return FinerBins::Hidden;
        };
        let shows = |cell: Option<&Cell>| {
            cell.is_some_and(|cell| finer_bins(cell, index, histogram, rules) == FinerBins::Shown)
        };
        let own = self.raw.get(self.first + row * self.others + column);
        let shorter = self.layout.sets().iter().filter(|(set, _)| {
            set.measures >> index & 1 == 1
                && set.levels.get(1..) == self.set.levels.get(1..)
                && set.levels.first() > self.set.levels.first()
        });
        // An exact mean exists by year alone, so every shorter period of the block lies in it.
        let is_year = self.set.levels.first().copied() == Some(TimeLevel::Year.number());
        let of_parts = shorter.flat_map(|(set, first)| {
            let periods = self.layout.numbers(set).first().map_or(0, Vec::len);
            (0..periods).map(move |period| first + period * self.others + column)
        });
        if shows(own) || !is_year || of_parts.into_iter().any(|cell| shows(self.raw.get(cell))) {
            FinerBins::Shown
        } else {
            FinerBins::Hidden
        }
    }
}

fn share_of(table: &Table, layout: &Layout, levels: &[u8]) -> Share {
    let levels = table
        .dimensions
        .iter()
        .zip(layout.axes())
        .zip(levels)
        .map(|((dimension, axis), level)| {
            let name = axis.level_names().get(usize::from(*level)).cloned().unwrap_or_default();
            (dimension.name.clone(), name)
        })
        .collect();
    Share { table: table.name.clone(), levels, ..Share::default() }
}

/// Selects a slice from blocks of an edition. `block` gives a table's cells of a year, if the edition has that block.
///
/// The same bytes for everybody: nothing here looks at who asks or at what a cell holds.
pub fn select<'a>(
    table: &Table,
    country: &str,
    selection: &Selection,
    block: impl Fn(u16) -> Option<&'a [u8]>,
) -> Result<Vec<u8>, ListError> {
    let width = table.width() * CELL_LEN;
    let mut layouts: BTreeMap<u16, Layout> = BTreeMap::new();
    let mut slice = Vec::with_capacity(selection.slice_len());
    for position in 0..selection.cells() {
        let numbers = selection.numbers_at(position);
        let year = numbers.first().and_then(|time| Period::from_number(*time)).map_or(0, Period::year);
        if let std::collections::btree_map::Entry::Vacant(e) = layouts.entry(year) {
            e.insert(Layout::new(table, country, year)?);
        }
        let cell = layouts
            .get(&year)
            .and_then(|layout| layout.index(&selection.levels, &numbers))
            .and_then(|index| block(year)?.get(index * width..(index + 1) * width));
        for measure in &selection.measures {
            let numbers = table.numbers_of(*measure);
            match cell.and_then(|cell| cell.get(numbers.start * CELL_LEN..numbers.end * CELL_LEN)) {
                Some(bytes) => slice.extend_from_slice(bytes),
                // Outside every block of the edition: not covered.
                None => numbers.for_each(|_| slice.extend(Released::NOT_AVAILABLE.to_bytes())),
            }
        }
    }
    Ok(slice)
}

/// The reason stored for a number.
pub fn reason(byte: u8) -> Option<Reason> {
    Reason::from_number(byte)
}
