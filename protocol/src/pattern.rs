//! Patterns of dates that mappings name: `DD.MM.YYYY`, `M/D/YY`, serial dates of spreadsheets.

use crate::time::Date;

/// What a date states; 0 for what it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Year.
    pub year: u16,
    /// Month, or 0.
    pub month: u8,
    /// Day of the month, or 0.
    pub day: u8,
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
pub fn read(text: &str, pattern: &str) -> Option<Parts> {
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
    Some(Parts { year, month: if has_month { month } else { 0 }, day: day.unwrap_or(0) })
}

// Whole days since the epoch; a fraction is the time of day.
fn serial(text: &str, offset: i64) -> Option<Parts> {
    let (days, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if days.is_empty() || days.len() > 7 || !digits(days) || !digits(fraction) {
        return None;
    }
    let date = Date::from_days(EXCEL_EPOCH_DAYS + days.parse::<i64>().ok().filter(|days| *days > 60)? + offset);
    Some(Parts { year: date.year(), month: date.month(), day: date.day() })
}
