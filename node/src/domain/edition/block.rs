//! One table and year of an edition: from cells and the reasons why numbers are kept back to the bytes that stand in slices.

use std::collections::BTreeMap;

use accord_protocol::{
    catalogue::Table,
    cell::{CELL_LEN, Released, State},
    edition::Layout,
    time::Period,
};

use super::{
    super::{
        disclosure::{Outcome, Reason, Rules, alone, outcomes},
        tabulate::Cell,
    },
    Before, Block, KNOWN, Share,
    waiver::Waived,
};

// One table of one year before protection.
pub(super) struct LaidOut<'a> {
    pub(super) place: usize,
    pub(super) table: &'a Table,
    pub(super) layout: Layout,
    pub(super) cells: Vec<Cell>,
    pub(super) waived: Waived,
}

// The block of the edition before; of a table that was not in it, nothing is available.
pub(super) fn carried(of: &LaidOut<'_>, year: u16, before: Before<'_>) -> Block {
    let same = before.frozen.catalogue.tables().iter().any(|table| table == of.table);
    let block = before
        .frozen
        .blocks
        .get(&(of.table.id, year))
        .filter(|block| same && block.cells.len() == of.layout.len_bytes());
    let numbers = of.layout.cells() * of.layout.width();
    block.cloned().unwrap_or_else(|| Block {
        table_id: of.table.id,
        year,
        cells: std::iter::repeat_n(Released::NOT_AVAILABLE.to_bytes(), numbers).flatten().collect(),
        reasons: vec![0; numbers],
    })
}

// How much of a block is shown: of its cells whose period is available.
pub(super) fn count_shares(of: &LaidOut<'_>, block: &Block, shares: &mut BTreeMap<Vec<u8>, Share>) {
    let width = of.layout.width().max(1);
    let states = block.cells.as_chunks::<CELL_LEN>().0;
    for (set, first) in of.layout.sets() {
        let size: usize = of.layout.numbers(set).iter().map(Vec::len).product();
        let share = shares.entry(set.levels.clone()).or_insert_with(|| share_of(of.table, &of.layout, &set.levels));
        for (at, cell) in of.cells.iter().enumerate().skip(*first).take(size) {
            let state = states.get(at * width).and_then(|bytes| Released::from_bytes(*bytes).ok()).map(Released::state);
            if matches!(state, None | Some(State::NotAvailable)) {
                continue;
            }
            let shown = state == Some(State::Value);
            share.cells += 1;
            share.nonzero += u64::from(cell.cases > 0);
            share.shown += u64::from(shown);
            share.cases += cell.cases;
            share.cases_shown += if shown { cell.cases } else { 0 };
        }
    }
}

// `kept` says for each number why it is kept back; a table without margins is decided cell by cell.
pub(super) fn to_block(
    of: &LaidOut<'_>,
    kept: Option<&[Option<Reason>]>,
    year: u16,
    published: &dyn Fn(Period) -> bool,
    rules: &Rules,
) -> Block {
    let (table, layout) = (of.table, &of.layout);
    let mut cells = Vec::with_capacity(layout.len_bytes());
    let mut reasons = Vec::with_capacity(layout.cells() * layout.width());
    for (set, first) in layout.sets() {
        let numbers = layout.numbers(set);
        let others: usize = numbers.iter().skip(1).map(Vec::len).product();
        for (row, time) in numbers.first().into_iter().flatten().enumerate() {
            let available = Period::from_number(*time).is_some_and(published);
            for column in 0..others {
                let at = first + row * others + column;
                let Some(cell) = of.cells.get(at) else { continue };
                for (index, measure) in table.measures.iter().enumerate() {
                    let offered = set.measures >> index & 1 == 1;
                    if !available || !offered {
                        cells
                            .extend(std::iter::repeat_n(Released::NOT_AVAILABLE.to_bytes(), measure.width()).flatten());
                        reasons.extend(std::iter::repeat_n(0, measure.width()));
                        continue;
                    }
                    let numbers = table.numbers_of(index);
                    let range = at * layout.width() + numbers.start..at * layout.width() + numbers.end;
                    let decided = match kept {
                        Some(kept) => outcomes(cell, index, measure, kept.get(range).unwrap_or_default()),
                        None => alone(cell, index, measure, rules),
                    };
                    for outcome in decided {
                        let (released, reason) = match outcome {
                            Outcome::Release(released) => (released, 0),
                            Outcome::Suppress(reason) => (Released::SUPPRESSED, reason.number()),
                        };
                        cells.extend(released.to_bytes());
                        reasons.push(reason);
                    }
                }
            }
        }
    }
    Block { table_id: table.id, year, cells, reasons }
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

// What a block says of a number: shown, hidden, or not available.
pub(super) fn said(block: &[u8], number: usize) -> Option<bool> {
    let bytes = block.as_chunks::<CELL_LEN>().0.get(number)?;
    match Released::from_bytes(*bytes).ok()?.state() {
        State::Value => Some(true),
        State::Suppressed => Some(false),
        State::NotAvailable => None,
    }
}

// The same for what is known of a number: what was shown once is known for ever.
pub(super) fn known(block: &Block, number: usize) -> Option<bool> {
    let was_shown = block.reasons.get(number).is_some_and(|why| why & KNOWN != 0);
    if was_shown { Some(true) } else { said(&block.cells, number) }
}

// Remembers which numbers were shown and are not any more.
pub(super) fn remember(block: &mut Block, before: &Block) {
    for number in 0..block.reasons.len() {
        if known(before, number) == Some(true)
            && said(&block.cells, number) != Some(true)
            && let Some(why) = block.reasons.get_mut(number)
        {
            *why |= KNOWN;
        }
    }
}
