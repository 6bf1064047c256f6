//! Euro reference rates: units of a currency for one euro, by day, as the European Central Bank publishes them.

use std::collections::BTreeMap;

use accord_protocol::time::Date;

use super::{amount::Decimal, record::Rate};

/// How old the last rate before a day may be, in days: longer than any run of bank holidays (C78).
pub const AGE_DAYS_MAX: i64 = 7;
/// Currencies of a file, at most.
pub const CURRENCIES_MAX: usize = 200;
/// Days of a file, at most: more than a century of working days.
pub const DAYS_MAX: usize = 40_000;
/// Rates of a file, at most: four times what the European Central Bank has published since 1999.
pub const RATES_MAX: usize = 1_000_000;

/// The rates of one currency by day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series(BTreeMap<i64, u64>);

/// The rates of all currencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates(BTreeMap<String, Series>);

/// Why there is no rate for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// No rate on the day or in the week before it.
    #[error("no euro reference rate of the currency within {AGE_DAYS_MAX} days before the date; import newer rates")]
    TooOld,
}

/// Why a file is not a table of rates. Lines are physical, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRates {
    /// The first column is not `Date`, or there is no currency.
    #[error(
        "line 1: the header is `Date` and then currencies of ISO 4217, as in the file eurofxref-hist.csv of the ECB"
    )]
    Header,
    /// A day.
    #[error("line {line}: not a day of the form 2014-05-17")]
    Day {
        /// The line.
        line: usize,
    },
    /// A rate.
    #[error("line {line}, column {column}: not a rate")]
    Rate {
        /// The line.
        line: usize,
        /// The currency.
        column: String,
    },
    /// A rate that is known with another value.
    #[error("{currency} on {day}: this file has another rate than the node; reference rates do not change")]
    Differs {
        /// The currency.
        currency: String,
        /// The day.
        day: String,
    },
    /// Too large.
    #[error("more than {CURRENCIES_MAX} currencies, {DAYS_MAX} days or {RATES_MAX} rates")]
    TooLarge,
}

impl Series {
    /// The last rate on or before a day.
    pub fn last_before(&self, day: Date) -> Result<Rate, RateError> {
        let day = day.to_days();
        self.0
            .range(day - AGE_DAYS_MAX..=day)
            .next_back()
            .map(|(day, units)| Rate { units_e8: *units, day: *day })
            .ok_or(RateError::TooOld)
    }

    /// Every day with its rate.
    pub fn days(&self) -> impl Iterator<Item = (i64, u64)> {
        self.0.iter().map(|(day, units)| (*day, *units))
    }

    /// Adds one; false if the day is there with another value.
    pub fn insert(&mut self, day: i64, units_e8: u64) -> bool {
        *self.0.entry(day).or_insert(units_e8) == units_e8
    }
}

impl Rates {
    /// The series of a currency.
    pub fn get(&self, currency: &str) -> Option<&Series> {
        self.0.get(currency)
    }

    /// All series.
    pub fn series(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.0.iter().map(|(currency, series)| (currency.as_str(), series))
    }

    /// Adds a rate; false if it is there with another value.
    pub fn insert(&mut self, currency: &str, day: i64, units_e8: u64) -> bool {
        self.0.entry(currency.to_owned()).or_default().insert(day, units_e8)
    }

    /// First and last day, in days since 1970-01-01.
    pub fn span(&self) -> Option<(i64, i64)> {
        let days = || self.0.values().flat_map(Series::days).map(|(day, _)| day);
        Some((days().min()?, days().max()?))
    }

    /// Adds another table; returns how many rates are new. Nothing is added if one differs.
    pub fn merge(&mut self, other: &Self) -> Result<u64, BadRates> {
        let mut merged = self.clone();
        let before = merged.len();
        for (currency, series) in other.series() {
            for (day, units) in series.days() {
                if !merged.insert(currency, day, units) {
                    let day = Date::from_days(day).to_string();
                    return Err(BadRates::Differs { currency: currency.to_owned(), day });
                }
            }
        }
        let added = merged.len() - before;
        *self = merged;
        Ok(added)
    }

    /// How many rates there are.
    pub fn len(&self) -> u64 {
        self.0.values().map(|series| series.0.len() as u64).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the table of the ECB: `Date,USD,JPY,...`, one row for each working day, `N/A` or nothing where there is no rate.
    pub fn parse(text: &str) -> Result<Self, BadRates> {
        let mut lines = text.trim_start_matches('\u{feff}').lines();
        let header: Vec<&str> = lines.next().unwrap_or("").split(',').map(str::trim).collect();
        let currencies = header.get(1..).unwrap_or_default();
        let is_currency = |code: &&str| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if header.first() != Some(&"Date") || !currencies.iter().any(is_currency) {
            return Err(BadRates::Header);
        }
        if currencies.len() > CURRENCIES_MAX {
            return Err(BadRates::TooLarge);
        }
        let mut rates = Self::default();
        let mut count = 0;
        for (index, row) in lines.enumerate().filter(|(_, row)| !row.trim().is_empty()) {
            let line = index + 2;
            if index >= DAYS_MAX {
                return Err(BadRates::TooLarge);
            }
            let mut cells = row.split(',').map(str::trim);
            let day = cells.next().unwrap_or("").parse::<Date>().map_err(|_| BadRates::Day { line })?.to_days();
            for (currency, cell) in currencies.iter().zip(cells).filter(|(currency, _)| is_currency(currency)) {
                if cell.is_empty() || cell == "N/A" {
                    continue;
                }
                count += 1;
                if count > RATES_MAX {
                    return Err(BadRates::TooLarge);
                }
                let bad = || BadRates::Rate { line, column: (*currency).to_owned() };
                let units = Decimal::parse(cell, '.', false).and_then(|rate| rate.scaled(8)).map_err(|_| bad())?;
                if units == 0 || !rates.insert(currency, day, units) {
                    return Err(bad());
                }
            }
        }
        Ok(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Date,USD,BGN,\n2014-05-16,1.3704,1.9558,\n2014-05-15,1.3659,1.9558,\n2014-05-02,1.3850,N/A,\n";

    #[test]
    fn the_last_rate_on_or_before_the_day_counts_for_a_week() {
        let rates = Rates::parse(TABLE).unwrap();
        let on = |text: &str| rates.get("USD").unwrap().last_before(text.parse().unwrap()).map(|rate| rate.units_e8);
        assert_eq!(on("2014-05-16"), Ok(137_040_000));
        assert_eq!(on("2014-05-18"), Ok(137_040_000), "a Sunday takes Friday's");
        assert_eq!(on("2014-05-09"), Ok(138_500_000));
        assert_eq!(on("2014-05-10"), Err(RateError::TooOld));
        assert_eq!(on("2014-05-01"), Err(RateError::TooOld));
        assert_eq!(rates.len(), 5);
    }

    #[test]
    fn what_is_no_table_of_rates_is_refused_with_the_line() {
        for (text, want) in [
            ("", BadRates::Header),
            ("Day,USD\n", BadRates::Header),
            ("Date,USD\n16.05.2014,1\n", BadRates::Day { line: 2 }),
            ("Date,USD\n2014-05-16,1\n2014-05-15,x\n", BadRates::Rate { line: 3, column: "USD".into() }),
            ("Date,USD\n2014-05-16,0\n", BadRates::Rate { line: 2, column: "USD".into() }),
            ("Date,USD\n2014-05-16,1\n2014-05-16,2\n", BadRates::Rate { line: 3, column: "USD".into() }),
        ] {
            assert_eq!(Rates::parse(text), Err(want), "{text:?}");
        }
    }

    #[test]
    fn rates_that_are_known_may_come_again_but_not_change() {
        let mut rates = Rates::parse(TABLE).unwrap();
        assert_eq!(rates.merge(&Rates::parse("Date,USD\n2014-05-16,1.3704\n2014-05-19,1.37\n").unwrap()), Ok(1));
        let before = rates.clone();
        let other = Rates::parse("Date,USD\n2014-05-20,1.1\n2014-05-16,1.3705\n").unwrap();
        assert!(matches!(rates.merge(&other), Err(BadRates::Differs { .. })));
        assert_eq!(rates, before);
    }
}
