//! What the auditor knows of a number: what it counts, whether an attacker knows it, whether it breaks a primary rule.

use accord_protocol::{
    catalogue::Quantity,
    time::{Period, TimeLevel},
};

use super::{super::primary, Auditor};
use crate::domain::disclosure::star::Family;

impl Auditor<'_> {
    // Cell, measure and number within the measure.
    pub(super) fn parts(&self, at: usize, number: usize) -> Option<(usize, usize, usize)> {
        let table = self.case.tables.get(at)?.filled;
        let width = table.layout.width().max(1);
        let (cell, within) = (number / width, number % width);
        let measure =
            (0..table.table.measures.len()).find(|measure| table.table.numbers_of(*measure).contains(&within))?;
        Some((cell, measure, within - table.table.numbers_of(measure).start))
    }

    // Whether a number is of the family; the number of lines of a mean is, too.
    pub(super) fn of_family(&self, at: usize, measure: usize, within: usize) -> bool {
        let of = self
            .case
            .tables
            .get(at)
            .and_then(|table| table.filled.table.measures.get(measure))
            .map(|measure| measure.of);
        of.is_some_and(|of| self.case.family.has(of))
            || (of, within, self.case.family) == (Some(Quantity::Mean), 0, Family::Counts)
    }

    pub(super) fn tallied(&self, at: usize, number: usize) -> Option<(u64, i128)> {
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

    pub(super) fn cases(&self, at: usize, number: usize) -> Option<u64> {
        self.tallied(at, number).map(|(cases, _)| cases)
    }

    pub(super) fn amount(&self, at: usize, number: usize) -> Option<i128> {
        self.tallied(at, number).map(|(_, amount)| amount)
    }

    pub(super) fn is_available(&self, at: usize, number: usize) -> bool {
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
    pub(super) fn is_national(&self, at: usize, number: usize) -> bool {
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

    pub(super) fn is_known(&self, at: usize, number: usize) -> bool {
        let Some((_, measure, within)) = self.parts(at, number) else { return false };
        let table = self.case.tables.get(at);
        let shown = table.and_then(|table| table.hidden.get(number)) == Some(&false)
            || table.and_then(|table| table.was_shown.get(number)) == Some(&true)
            || table.is_some_and(|table| table.filled.public.is_shown(number));
        self.of_family(at, measure, within) && self.is_available(at, number) && (shown || self.is_national(at, number))
    }

    // Every available number of the family that breaks a primary rule, unless everybody knows it anyway.
    pub(super) fn unsafe_numbers(&self, at: usize) -> Vec<usize> {
        let size = self.case.tables.get(at).map_or(0, |table| table.hidden.len());
        let public = self.case.tables.get(at).map(|table| table.filled.public).unwrap_or_default();
        let is_protected = |number: &usize| {
            self.is_unsafe(at, *number)
                && self.is_available(at, *number)
                && !public.is_shown(*number)
                && public.at_most(*number) != Some(0)
        };
        (0..size).filter(is_protected).collect()
    }

    pub(super) fn is_unsafe(&self, at: usize, number: usize) -> bool {
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
}
