//! What a table counts of the lines of its cells: all of them, those with a mass, those with a value in a bin.

use accord_protocol::catalogue::{Quantity, Table};

use super::{Family, NO_VALUE};
use crate::domain::contribution::{Contribution, part};

// What a node counts within its cell.
pub(super) type What = u16;
pub(super) const LINES: What = 0;
pub(super) const WEIGHED: What = 1;
pub(super) const MEASURED: What = 2;
// No table publishes it, but bands of weight add up to it.
pub(super) const UNWEIGHED: What = 3;
/// The first bin.
pub(super) const BINS: What = 4;

// What a table counts of the lines of its cells.
pub(super) enum Values {
    Lines,
    Weighed,
    Binned { bins: Vec<(u64, u64)>, first_fine: usize },
}

impl Values {
    pub(super) fn of(table: &Table, family: Family) -> Self {
        if family != Family::Counts {
            return Self::Lines;
        }
        if let Some(measure) = table.measures.iter().find(|measure| measure.of == Quantity::Histogram) {
            let bins: Vec<_> = measure.all_bins().collect();
            let fine = measure.bins.last().map_or(0, |level| level.bins().count());
            return Self::Binned { first_fine: bins.len() - fine, bins };
        }
        if table.measures.iter().any(|measure| measure.of == Quantity::LinesWeighed) {
            return Self::Weighed;
        }
        Self::Lines
    }

    pub(super) fn leaves(&self) -> usize {
        match self {
            Self::Lines => 1,
            Self::Weighed => 2,
            Self::Binned { bins, first_fine, .. } => bins.len() - first_fine + 1,
        }
    }

    pub(super) fn leaf(&self, line: &Contribution) -> usize {
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

    // What a value leaf is called in a place.
    pub(super) fn name(&self, leaf: usize) -> u16 {
        let has_no_value = self.leaves() > 1 && leaf + 1 == self.leaves();
        if has_no_value { NO_VALUE } else { u16::try_from(leaf).unwrap_or(NO_VALUE) }
    }

    // What counts a value leaf, beside all lines.
    pub(super) fn whats(&self, leaf: usize) -> Vec<What> {
        match self {
            Self::Lines => Vec::new(),
            Self::Weighed => vec![if leaf == 0 { WEIGHED } else { UNWEIGHED }],
            Self::Binned { bins, first_fine, .. } => {
                let Some((from, to)) = bins.get(first_fine + leaf) else { return Vec::new() };
                let holding = bins.iter().enumerate().filter(|(_, (low, high))| low <= from && to <= high);
                let bin = |(bin, _)| BINS + u16::try_from(bin).unwrap_or(u16::MAX - BINS);
                std::iter::once(MEASURED).chain(holding.map(bin)).collect()
            }
        }
    }
}
