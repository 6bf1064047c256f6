//! Dates of files: the canonical four precisions, or the pattern that a mapping names.

use accord_protocol::time::Date;

use crate::domain::record::When;

/// Reads `2014-05-17`, `2014-05`, `2014-Q2` or `2014`.
pub fn canonical(text: &str) -> Option<When> {
    let number = |part: &str, length: usize| {
        (part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let mut parts = text.split('-');
    let year = parts.next().and_then(|part| number(part, 4)).filter(|year| *year >= 1900)?;
    let (second, third) = (parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let small = |value: u16| u8::try_from(value).ok();
    match (second, third) {
        (None, _) => Some(When { year, quarter: 0, month: 0, day: 0 }),
        (Some(quarter), None) if quarter.starts_with('Q') => {
            let quarter = quarter.strip_prefix('Q').and_then(|part| number(part, 1)).and_then(small)?;
            (1..=4).contains(&quarter).then_some(When { year, quarter, month: 0, day: 0 })
        }
        (Some(month), day) => {
            let month = number(month, 2).and_then(small)?;
            let day = match day {
                None => 0,
                Some(day) => number(day, 2).and_then(small).filter(|day| *day > 0)?,
            };
            Date::new(year, month, day.max(1))?;
            Some(When { year, quarter: 0, month, day })
        }
    }
}

/// Day 0 of Excel's serial dates in days since 1970-01-01: 1899-12-30, so that day 60 (29 February 1900, which never was) keeps all
/// later days right.
const EXCEL_EPOCH_DAYS: i64 = -25_569;
/// Days between the serial dates of Excel's two calendars.
const EXCEL_1904_DAYS: i64 = 1462;

/// Reads a date by a pattern: `YYYY` or `YY`, `MM` or `M`, `DD` or `D` (the short ones take one or two digits), `hh`, `mm`, `ss` for a
/// time of day that is read past, and separators as they stand; or `excel` and `excel-1904` for serial dates.
///
/// `YY` is the year of this century up to 68, of the last one from 69, as POSIX `strptime` reads it.
pub fn by_pattern(text: &str, pattern: &str) -> Option<When> {
    match pattern {
        "excel" => return serial(text, 0),
        "excel-1904" => return serial(text, EXCEL_1904_DAYS),
        _ => {}
    }
    let (mut year, mut month, mut day) = (None, 1u8, None);
    let mut rest = text;
    let mut shape = pattern;
    while let Some(first) = shape.chars().next() {
        let run = shape.chars().take_while(|next| *next == first).count();
        let token = shape.get(..run).filter(|_| first.is_ascii()).unwrap_or_default();
        let (least, most) = match token {
            "YYYY" => (4, 4),
            "YY" | "MM" | "DD" | "hh" | "mm" | "ss" => (2, 2),
            "M" | "D" => (1, 2),
            _ => {
                rest = rest.strip_prefix(first)?;
                shape = shape.get(first.len_utf8()..)?;
                continue;
            }
        };
        let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < least {
            return None;
        }
        let (part, after) = rest.split_at_checked(digits)?;
        let number: u16 = part.parse().ok()?;
        match token {
            "YYYY" => year = Some(number),
            "YY" => year = Some(if number < 69 { 2000 + number } else { 1900 + number }),
            "MM" | "M" => month = u8::try_from(number).ok()?,
            "DD" | "D" => day = Some(u8::try_from(number).ok()?),
            _ => {}
        }
        rest = after;
        shape = shape.get(token.len()..)?;
    }
    let (year, has_month) = (year?, pattern.contains('M'));
    if !rest.is_empty() || !has_month && day.is_some() {
        return None;
    }
    Date::new(year, month, day.unwrap_or(1))?;
    Some(When { year, quarter: 0, month: if has_month { month } else { 0 }, day: day.unwrap_or(0) })
}

// Whole days since the epoch; a fraction is the time of day.
fn serial(text: &str, offset: i64) -> Option<When> {
    let (days, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if days.is_empty() || days.len() > 7 || !digits(days) || !digits(fraction) {
        return None;
    }
    let date = Date::from_days(EXCEL_EPOCH_DAYS + days.parse::<i64>().ok().filter(|days| *days > 60)? + offset);
    Some(When { year: date.year(), quarter: 0, month: date.month(), day: date.day() })
}

/// The first day that the date may mean, for comparing with today.
pub fn earliest(when: When) -> Option<Date> {
    let month = if when.quarter > 0 { when.quarter * 3 - 2 } else { when.month.max(1) };
    Date::new(when.year, month, when.day.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_keep_their_precision_and_no_other_spelling_is_read() {
        let when = |year, quarter, month, day| Some(When { year, quarter, month, day });
        assert_eq!(canonical("2014-05-17"), when(2014, 0, 5, 17));
        assert_eq!(canonical("2014-05"), when(2014, 0, 5, 0));
        assert_eq!(canonical("2014-Q2"), when(2014, 2, 0, 0));
        assert_eq!(canonical("2014"), when(2014, 0, 0, 0));
        for bad in [
            "2026-02-29",
            "29/02/2024",
            "0001-01-01",
            "2014-13",
            "2014-00",
            "2014-05-00",
            "2014-5-1",
            "2014-05-17T00:00:00Z",
            "2014-Q5",
            "",
            "14",
        ] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert_eq!(by_pattern("17/05/2014", "DD/MM/YYYY"), when(2014, 0, 5, 17));
        assert_eq!(by_pattern("2014-05-17", "YYYY-MM-DD"), when(2014, 0, 5, 17));
        for bad in ["2014-05-17 ", "2014-05", "2014/05/17", "2014-02-30"] {
            assert_eq!(by_pattern(bad, "YYYY-MM-DD"), None, "{bad}");
        }
        for (text, pattern, want) in [
            ("7.5.2014", "D.M.YYYY", when(2014, 0, 5, 7)),
            ("17.05.14", "DD.MM.YY", when(2014, 0, 5, 17)),
            ("17.05.69", "DD.MM.YY", when(1969, 0, 5, 17)),
            ("2014-05-17 13:45", "YYYY-MM-DD hh:mm", when(2014, 0, 5, 17)),
            ("2014-05-17T13:45:09", "YYYY-MM-DDThh:mm:ss", when(2014, 0, 5, 17)),
            ("201405", "YYYYMM", when(2014, 0, 5, 0)),
            ("5", "M", None),
            ("2014", "YYYY", when(2014, 0, 0, 0)),
            ("41776", "excel", when(2014, 0, 5, 17)),
            ("41776.573", "excel", when(2014, 0, 5, 17)),
            ("40314", "excel-1904", when(2014, 0, 5, 17)),
            ("59", "excel", None),
            ("17/05/2014", "DD.MM.YYYY", None),
            ("٣", "D", None),
        ] {
            assert_eq!(by_pattern(text, pattern), want, "{text} {pattern}");
        }
    }

    proptest! {
        #[test]
        fn every_day_is_read_back_in_every_pattern(days in -25_500i64..2_900_000) {
            let date = Date::from_days(days);
            let (year, month, day) = (date.year(), date.month(), date.day());
            let want = Some(When { year, quarter: 0, month, day });
            prop_assert_eq!(canonical(&format!("{year:04}-{month:02}-{day:02}")), want);
            prop_assert_eq!(by_pattern(&format!("{day:02}.{month:02}.{year:04}"), "DD.MM.YYYY"), want);
            prop_assert_eq!(by_pattern(&format!("{month}/{day}/{year:04}"), "M/D/YYYY"), want);
            prop_assert_eq!(by_pattern(&format!("{}", days + 25_569), "excel"), want);
        }
    }
}
