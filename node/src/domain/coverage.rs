//! Coverage: what a provider declares to hold. It is declared, never guessed.

use std::collections::BTreeMap;

use accord_protocol::{
    catalogue::Kind,
    edition::{CoverageRow, CoverageState},
    time::{DAY_MS, Date, Months, Period, UnixMs},
};

/// Runs that an edition's header can hold.
pub const ROWS_MAX: usize = 256;

/// Declared coverage, month by month. A later declaration replaces an earlier one for its months.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    months: BTreeMap<(Kind, u32), CoverageState>,
}

impl Coverage {
    /// Declares a run of months.
    pub fn declare(&mut self, kind: Kind, months: Months, state: CoverageState) {
        let (from, to) = months.indexes();
        for month in from..=to {
            self.months.insert((kind, month), state);
        }
    }

    /// As rows: runs of equal months, sorted.
    pub fn rows(&self) -> Vec<CoverageRow> {
        let mut rows: Vec<CoverageRow> = Vec::new();
        let mut run: Option<(Kind, u32, u32, CoverageState)> = None;
        let to_row = |(kind, from, to, state): (Kind, u32, u32, CoverageState)| {
            let end = |index: u32| (u16::try_from(index / 12).unwrap_or(0), u8::try_from(index % 12 + 1).unwrap_or(1));
            Months::new(end(from), end(to)).map(|months| CoverageRow { kind, months, state })
        };
        for ((kind, month), state) in &self.months {
            run = match run {
                Some((k, from, to, s)) if k == *kind && s == *state && to + 1 == *month => Some((k, from, *month, s)),
                before => {
                    rows.extend(before.and_then(to_row));
                    Some((*kind, *month, *month, *state))
                }
            };
        }
        rows.extend(run.and_then(to_row));
        rows
    }

    /// Coverage from rows.
    pub fn from_rows(rows: &[CoverageRow]) -> Self {
        let mut coverage = Self::default();
        for row in rows.iter().filter(|row| row.months.is_valid()) {
            coverage.declare(row.kind, row.months, row.state);
        }
        coverage
    }

    /// Whether a period may be published: every month of it is declared complete, and the last one closed `delay_days` ago.
    pub fn publishes(&self, kind: Kind, period: Period, now: UnixMs, delay_days: u16) -> bool {
        let (from, to) = period.months();
        let Some(months) = Months::new(from, to) else { return false };
        let (first, last) = months.indexes();
        let complete = (first..=last).all(|month| self.months.get(&(kind, month)) == Some(&CoverageState::Complete));
        let next = last + 1;
        let closed = Date::new(u16::try_from(next / 12).unwrap_or(9999), u8::try_from(next % 12 + 1).unwrap_or(1), 1);
        let closed = closed.and_then(|date| u64::try_from(date.to_days()).ok()).map_or(u64::MAX, |days| days * DAY_MS);
        complete && closed.saturating_add(u64::from(delay_days) * DAY_MS) <= now.0
    }

    /// Calendar years in which anything is declared complete for a kind.
    pub fn years(&self, kind: Kind) -> Vec<u16> {
        let mut years: Vec<u16> = self
            .months
            .iter()
            .filter(|((of, _), state)| *of == kind && **state == CoverageState::Complete)
            .filter_map(|((_, month), _)| u16::try_from(month / 12).ok())
            .collect();
        years.dedup();
        years
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_declarations_replace_earlier_ones_and_runs_join() {
        let mut coverage = Coverage::default();
        let months = |text: &str| text.parse::<Months>().unwrap();
        coverage.declare(Kind::Seizure, months("2011..2012"), CoverageState::Complete);
        coverage.declare(Kind::Seizure, months("2011-07..2011-08"), CoverageState::Partial);
        let shown: Vec<_> =
            coverage.rows().iter().map(|row| format!("{:?} {}", row.months.ends(), row.state)).collect();
        assert_eq!(
            shown,
            [
                "(\"2011-01\", \"2011-06\") complete",
                "(\"2011-07\", \"2011-08\") partial",
                "(\"2011-09\", \"2012-12\") complete"
            ]
        );
        assert_eq!(Coverage::from_rows(&coverage.rows()), coverage);
    }

    #[test]
    fn a_period_is_published_when_it_is_complete_and_closed_long_enough() {
        let mut coverage = Coverage::default();
        coverage.declare(Kind::Seizure, "2012-01..2012-06".parse().unwrap(), CoverageState::Complete);
        let now: UnixMs = "2012-05-01T00:00:00Z".parse().unwrap();
        let open = |period, delay| coverage.publishes(Kind::Seizure, period, now, delay);
        assert!(open(Period::Month(2012, 3), 30));
        assert!(!open(Period::Month(2012, 3), 31));
        assert!(open(Period::Month(2012, 4), 0));
        assert!(!open(Period::Month(2012, 5), 0));
        assert!(open(Period::Quarter(2012, 1), 30));
        assert!(!open(Period::Year(2012), 0), "half of the year is not declared");
        assert!(!coverage.publishes(Kind::Purity, Period::Month(2012, 1), now, 0));
    }
}
