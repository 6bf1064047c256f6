//! Instants, calendar dates, and periods of tables: month in quarter in year.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};

/// Milliseconds since 1970-01-01T00:00:00Z, as a node's clock reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct UnixMs(pub u64);

/// One minute in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// One day in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

impl UnixMs {
    /// This instant plus some milliseconds; stops at the end of time.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The calendar date in UTC.
    pub fn date(self) -> Date {
        Date::from_days(i64::try_from(self.0 / DAY_MS).unwrap_or(i64::MAX / 2))
    }
}

impl fmt::Display for UnixMs {
    /// `2026-11-24T00:38:00Z`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000 % 86_400;
        write!(f, "{}T{:02}:{:02}:{:02}Z", self.date(), seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

/// Why a text is not an instant, a date or a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct NotATime(&'static str);

impl FromStr for UnixMs {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        const WANT: NotATime = NotATime("a time such as 2026-11-24T00:38:00Z");
        let (date, time) = text.strip_suffix('Z').and_then(|text| text.split_once('T')).ok_or(WANT)?;
        let date: Date = date.parse().map_err(|_| WANT)?;
        let mut parts = time.split(':').map(|part| digits(part, 2));
        let (Some(Some(h)), Some(Some(m)), Some(Some(s)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(WANT);
        };
        let days = u64::try_from(date.to_days()).map_err(|_| WANT)?;
        if h > 23 || m > 59 || s > 59 {
            return Err(WANT);
        }
        Ok(Self(days * DAY_MS + u64::from(h * 3600 + m * 60 + s) * 1000))
    }
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// A day of the Gregorian calendar between 1900-01-01 and 9999-12-31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Makes a date; `None` if the calendar has no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        ((1900..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day))
            .then_some(Self { year, month, day })
    }

    /// The year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
    pub fn to_days(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * shifted + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// The date of a number of days since 1970-01-01 (`civil_from_days`); the ends of the range for days outside it.
    pub fn from_days(days: i64) -> Self {
        let shifted = days.clamp(-25_567, 2_932_896) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let narrow = |value: i64| u8::try_from(value).unwrap_or(1);
        Self { year: u16::try_from(year).unwrap_or(9999), month: narrow(month), day: narrow(day) }
    }
}

/// Days of a month; 0 for a month outside 1 to 12.
pub const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        const WANT: NotATime = NotATime("a date such as 2026-11-24");
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(WANT);
        };
        let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
            return Err(WANT);
        };
        let narrow = |value: u32| u8::try_from(value).ok();
        u16::try_from(year)
            .ok()
            .zip(narrow(month).zip(narrow(day)))
            .and_then(|(year, (month, day))| Self::new(year, month, day))
            .ok_or(WANT)
    }
}

/// The grid of time: a node of the tree month in quarter in year, with the unknown child of each inner node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A calendar year.
    Year(u16),
    /// A quarter, 1 to 4.
    Quarter(u16, u8),
    /// Quarter not stated, within a year.
    QuarterUnknown(u16),
    /// A month, 1 to 12.
    Month(u16, u8),
    /// Month not stated, within a quarter.
    MonthUnknown(u16, u8),
}

crate::codes! {
    /// Levels of time.
    pub enum TimeLevel: u8 {
        /// Calendar years.
        Year = 0 "year",
        /// Quarters.
        Quarter = 1 "quarter",
        /// Months.
        Month = 2 "month",
    }
}

impl Period {
    /// The block that the period belongs to.
    pub const fn year(self) -> u16 {
        match self {
            Self::Year(year)
            | Self::Quarter(year, _)
            | Self::QuarterUnknown(year)
            | Self::Month(year, _)
            | Self::MonthUnknown(year, _) => year,
        }
    }

    /// The level that the period stands on.
    pub const fn level(self) -> TimeLevel {
        match self {
            Self::Year(_) => TimeLevel::Year,
            Self::Quarter(..) | Self::QuarterUnknown(_) => TimeLevel::Quarter,
            Self::Month(..) | Self::MonthUnknown(..) => TimeLevel::Month,
        }
    }

    /// The number on the wire: year times 100 plus 0 (the year), 1..12 (month), 21..24 (quarter), 31..34 (month of that
    /// quarter not stated) or 99 (quarter not stated). Ascending within a level.
    pub fn number(self) -> u32 {
        let (year, rest) = match self {
            Self::Year(year) => (year, 0),
            Self::Month(year, month) => (year, month),
            Self::Quarter(year, quarter) => (year, 20 + quarter),
            Self::MonthUnknown(year, quarter) => (year, 30 + quarter),
            Self::QuarterUnknown(year) => (year, 99),
        };
        u32::from(year) * 100 + u32::from(rest)
    }

    /// The period of a number on the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        let year = u16::try_from(number / 100).ok().filter(|year| (1900..=9999).contains(year))?;
        let rest = u8::try_from(number % 100).ok()?;
        match rest {
            0 => Some(Self::Year(year)),
            1..=12 => Some(Self::Month(year, rest)),
            21..=24 => Some(Self::Quarter(year, rest - 20)),
            31..=34 => Some(Self::MonthUnknown(year, rest - 30)),
            99 => Some(Self::QuarterUnknown(year)),
            _ => None,
        }
    }

    /// The parent in the tree; `None` for a year (no table has a node above it).
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::Year(_) => None,
            Self::Quarter(year, _) | Self::QuarterUnknown(year) => Some(Self::Year(year)),
            Self::Month(year, month) => Some(Self::Quarter(year, month.div_ceil(3))),
            Self::MonthUnknown(year, quarter) => Some(Self::Quarter(year, quarter)),
        }
    }

    /// Every period of one level in one year, in the order of their numbers.
    pub fn of_year(year: u16, level: TimeLevel) -> Vec<Self> {
        match level {
            TimeLevel::Year => vec![Self::Year(year)],
            TimeLevel::Quarter => {
                (1..=4).map(|quarter| Self::Quarter(year, quarter)).chain([Self::QuarterUnknown(year)]).collect()
            }
            TimeLevel::Month => (1..=12)
                .map(|month| Self::Month(year, month))
                .chain((1..=4).map(|quarter| Self::MonthUnknown(year, quarter)))
                .collect(),
        }
    }

    /// First and last month of the period, as `(year, month)`.
    pub const fn months(self) -> ((u16, u8), (u16, u8)) {
        match self {
            Self::Year(year) | Self::QuarterUnknown(year) => ((year, 1), (year, 12)),
            Self::Quarter(year, quarter) | Self::MonthUnknown(year, quarter) => {
                ((year, quarter * 3 - 2), (year, quarter * 3))
            }
            Self::Month(year, month) => ((year, month), (year, month)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Year(year) => format!("{year:04}"),
            Self::Quarter(year, quarter) => format!("{year:04}-Q{quarter}"),
            Self::QuarterUnknown(year) => format!("{year:04}_U"),
            Self::Month(year, month) => format!("{year:04}-{month:02}"),
            Self::MonthUnknown(year, quarter) => format!("{year:04}-Q{quarter}_U"),
        };
        f.pad(&text)
    }
}

impl FromStr for Period {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        const WANT: NotATime = NotATime("a period such as 2012, 2012-Q1 or 2012-01");
        let (stem, unknown) = text.strip_suffix("_U").map_or((text, false), |stem| (stem, true));
        let (year, rest) = stem.split_once('-').map_or((stem, None), |(year, rest)| (year, Some(rest)));
        let year =
            digits(year, 4).and_then(|year| u16::try_from(year).ok()).filter(|year| *year >= 1900).ok_or(WANT)?;
        let quarter = |rest: &str| {
            rest.strip_prefix('Q')
                .and_then(|rest| digits(rest, 1))
                .and_then(|quarter| u8::try_from(quarter).ok())
                .filter(|quarter| (1..=4).contains(quarter))
        };
        match (rest, unknown) {
            (None, false) => Ok(Self::Year(year)),
            (None, true) => Ok(Self::QuarterUnknown(year)),
            (Some(rest), true) => quarter(rest).map(|quarter| Self::MonthUnknown(year, quarter)).ok_or(WANT),
            (Some(rest), false) => quarter(rest)
                .map(|quarter| Self::Quarter(year, quarter))
                .or_else(|| {
                    let month = digits(rest, 2).and_then(|month| u8::try_from(month).ok())?;
                    (1..=12).contains(&month).then_some(Self::Month(year, month))
                })
                .ok_or(WANT),
        }
    }
}

/// A run of months, both ends included: what coverage is declared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Months {
    from: u32,
    to: u32,
}

impl Months {
    /// A run of months from `from` to `to` (year, month); `None` if it is empty.
    pub fn new(from: (u16, u8), to: (u16, u8)) -> Option<Self> {
        let index =
            |(year, month): (u16, u8)| (1..=12).contains(&month).then(|| u32::from(year) * 12 + u32::from(month) - 1);
        let (from, to) = (index(from)?, index(to)?);
        (from <= to).then_some(Self { from, to })
    }

    /// Both ends as month indexes: year times 12 plus month minus 1.
    pub const fn indexes(self) -> (u32, u32) {
        (self.from, self.to)
    }

    /// Whether the decoded value is within the calendar and not empty.
    pub const fn is_valid(self) -> bool {
        self.from <= self.to && self.from >= 1900 * 12 && self.to < 10_000 * 12
    }

    /// First and last month as text, `2011-01`.
    pub fn ends(self) -> (String, String) {
        let show = |index: u32| format!("{:04}-{:02}", index / 12, index % 12 + 1);
        (show(self.from), show(self.to))
    }
}

impl FromStr for Months {
    type Err = NotATime;
    /// `2011..2016`, `2011-Q2..2012-03`, or a single period.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        const WANT: NotATime = NotATime("a range such as 2011..2016 or 2011-01..2016-06");
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let from: Period = from.parse().map_err(|_| WANT)?;
        let to: Period = to.parse().map_err(|_| WANT)?;
        Self::new(from.months().0, to.months().1).ok_or(WANT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_and_write_the_same() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_000, "2000-02-28T23:59:59Z"),
            (1_795_567_080_000, "2026-11-25T00:38:00Z"),
        ] {
            assert_eq!(UnixMs(ms).to_string(), text);
            assert_eq!(text.parse::<UnixMs>().unwrap(), UnixMs(ms));
        }
        for bad in [
            "2026-11-24",
            "2026-11-24T24:00:00Z",
            "2026-11-24T00:00:00+01:00",
            "2026-02-29T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(bad.parse::<UnixMs>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_way_to_days_and_back() {
        let first = Date::new(1900, 1, 1).unwrap().to_days();
        let last = Date::new(2300, 12, 31).unwrap().to_days();
        let mut before = Date::from_days(first);
        for days in first + 1..=last {
            let date = Date::from_days(days);
            assert_eq!(date.to_days(), days);
            assert!(date > before);
            before = date;
        }
    }

    #[test]
    fn periods_have_one_number_and_one_spelling() {
        for year in [1999, 2016] {
            for level in TimeLevel::ALL {
                let periods = Period::of_year(year, *level);
                assert!(periods.windows(2).all(|pair| pair[0].number() < pair[1].number()));
                for period in periods {
                    assert_eq!(period.level(), *level);
                    assert_eq!(Period::from_number(period.number()), Some(period));
                    assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
                }
            }
        }
        for bad in ["2012-13", "2012-Q5", "2012-1", "12", "2012-01_U", "2012-01-01", ""] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
        assert_eq!(Period::from_number(201_213), None);
    }

    #[test]
    fn the_tree_of_time_adds_up() {
        assert_eq!(Period::Month(2012, 4).parent(), Some(Period::Quarter(2012, 2)));
        assert_eq!(Period::MonthUnknown(2012, 2).parent(), Some(Period::Quarter(2012, 2)));
        assert_eq!(Period::QuarterUnknown(2012).parent(), Some(Period::Year(2012)));
        assert_eq!("2011-Q2..2012-03".parse::<Months>().unwrap().ends(), ("2011-04".into(), "2012-03".into()));
        assert!("2012..2011".parse::<Months>().is_err());
    }
}
