//! Dates of files: the canonical four precisions, or the pattern that a mapping names.

use accord_protocol::{
    pattern::{self, Parts},
    time::Date,
};

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

/// Reads a date by a pattern of a mapping.
pub fn by_pattern(text: &str, pattern: &str) -> Option<When> {
    pattern::read(text, pattern).map(|Parts { year, month, day }| When { year, quarter: 0, month, day })
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
