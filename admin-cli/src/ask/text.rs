//! The pooled table as people read it: who answered, what is a lower bound, who is missing.

use std::collections::BTreeMap;

use accord_protocol::{
    catalogue::{Measure, OPEN_EDGE, Quantity},
    distribution::Interval,
    pool::{Pooled, PooledTable, Row, Why},
    question::level_words,
    time::Period,
};

use super::{Answers, Asking, NOT_PROTECTED, Options, PartnerStatus, Replied, json};
use crate::output::{grouped, table};

/// Below this share of cells with a number a coarser question is suggested, in per cent.
const FEW_PERCENT: u64 = 30;

pub(super) fn show(asking: &Asking<'_>, answers: &Answers, pooled: &PooledTable, options: Options) -> String {
    let mut text = String::new();
    // As asked: the rows for periods that are not stated come with it.
    let stated = |period: &&Period| !matches!(period, Period::QuarterUnknown(_) | Period::MonthUnknown(..));
    let periods: Vec<&Period> = asking.question.periods.iter().filter(stated).collect();
    let span = match (periods.first(), periods.last()) {
        (Some(first), Some(last)) if first != last => format!("{first}..{last}"),
        (Some(only), _) => only.to_string(),
        (None, _) => String::new(),
    };
    text += &format!("{} {span}, by {}\n", asking.table.name, level_words(asking.table, &pooled.levels));
    text += &format!("{}; counts {}\n", asking.table.title, asking.table.counting_unit);
    if answers.primary_only() {
        text += NOT_PROTECTED;
        text.push('\n');
    }
    text.push('\n');
    text += &partners(asking, answers);
    if let Some(handling) = answers.handling() {
        text += &format!("\nhandling of the whole: {}\n", handling.words().join("; "));
    }
    text.push('\n');
    text += &rows(asking, pooled, options);
    if options.cite {
        text += &format!("\n{}\n", answers.cite(asking));
    }
    text
}

fn partners(asking: &Asking<'_>, answers: &Answers) -> String {
    let mut rows = Vec::new();
    for member in asking.partners {
        let status = answers.status(asking, member);
        let mut detail = String::new();
        for asked in answers.of(member) {
            match &asked.reply {
                Replied::Verified(exchange, _) => {
                    if let Some(edition) = &exchange.edition {
                        let handling = &exchange.answer.handling;
                        detail = format!(
                            "edition {} of {}, {}, {} TLP:{}",
                            edition.number,
                            edition.as_of.date(),
                            edition.protection,
                            handling.code,
                            handling.tlp
                        );
                    }
                }
                Replied::Waits(said, _) => detail = format!("since {}", said.at),
                Replied::NotVerified(error) | Replied::Unreachable(error) => detail.clone_from(error),
            }
        }
        if answers.is_mixed(member) {
            json::MIXED.clone_into(&mut detail);
        }
        if let PartnerStatus::Refused(refusal) = status {
            detail = refusal.to_string();
            if let Some(reason) = answers.reason(member) {
                detail += &format!(", {}", reason.words());
            }
        }
        if let Some(next) = json::next_step(asking, answers, status, member) {
            detail = if detail.is_empty() { next } else { format!("{detail}: {next}") };
        }
        rows.push(vec![member.to_string(), status.as_str().replace('_', " "), detail]);
    }
    let mut text = table(&["partner", "status", ""].map(str::to_owned), &rows, &[]);
    for member in asking.partners {
        for reason in answers.incomparable(asking, member) {
            text += &format!("  {member} is not comparable in {reason}\n");
        }
    }
    text
}

fn rows(asking: &Asking<'_>, pooled: &PooledTable, options: Options) -> String {
    let measures: Vec<&Measure> =
        pooled.measures.iter().filter_map(|index| asking.table.measures.get(*index)).collect();
    // A measure without any number is said in one line instead of a column of dashes.
    let has_number: Vec<bool> = (0..measures.len())
        .map(|slot| {
            let value = |row: &Row| row.pooled.get(slot).is_some_and(|value| value.value().is_some());
            options.all_rows || pooled.rows.iter().any(value)
        })
        .collect();
    let shown = Shown { asking, measures: &measures, has_number: &has_number, all_rows: options.all_rows };

    let mut header: Vec<String> = asking.table.dimensions.iter().map(|dimension| dimension.name.clone()).collect();
    let mut right = vec![false; header.len()];
    header.extend(shown.iter().map(|(_, measure)| format!("{}  ", heading(measure))));
    right.resize(header.len(), true);

    let mut legend = Legend::default();
    let mut lines = Vec::new();
    let mut folded = 0usize;
    for row in &pooled.rows {
        if row.pooled.iter().all(|value| value.value().is_none()) && !options.all_rows {
            folded += 1;
        } else {
            lines.push(shown.line(row, &mut legend));
        }
    }
    let data = lines.len();
    if pooled.codes.first().is_some_and(|periods| periods.len() > 1) {
        for row in pooled.totals.iter().filter(|row| row.pooled.iter().any(|value| value.value().is_some())) {
            let mut total = shown.line(row, &mut legend);
            total.insert(0, "all periods".to_owned());
            lines.push(total);
        }
    }
    let mut text = if data == 0 { "no row carries a number\n".to_owned() } else { table(&header, &lines, &right) };
    text.push('\n');
    for (mark, words) in legend.words() {
        text += &format!("{mark}: {words}\n");
    }
    text += &codes(asking, pooled, &lines);
    text += &footer(asking, pooled, &shown, folded);
    text
}

/// What the codes in the table stand for.
fn codes(asking: &Asking<'_>, pooled: &PooledTable, lines: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, dimension) in asking.table.dimensions.iter().enumerate().skip(1) {
        let known = pooled.codes.get(index).map_or(&[] as &[String], Vec::as_slice);
        let used = known.iter().filter(|code| lines.iter().any(|line| line.get(index) == Some(*code)));
        let words: Vec<String> = used
            .map(|code| {
                // Regions are the provider's own: whoever knows the code knows its label.
                let label = asking
                    .partners
                    .iter()
                    .filter_map(|partner| asking.table.axes(partner.country()).ok()?.into_iter().nth(index))
                    .map(|axis| axis.label(code))
                    .find(|label| label != code);
                format!("{code} {}", label.unwrap_or_default())
            })
            .collect();
        if !words.is_empty() && words.len() <= 40 {
            text += &format!("{}: {}\n", dimension.name, words.join("; "));
        }
    }
    text
}

/// The measures that get a column.
struct Shown<'a> {
    asking: &'a Asking<'a>,
    all_rows: bool,
    measures: &'a [&'a Measure],
    has_number: &'a [bool],
}

impl Shown<'_> {
    fn iter(&self) -> impl Iterator<Item = (usize, &Measure)> {
        self.measures.iter().copied().enumerate().filter(|(slot, _)| self.has_number.get(*slot) == Some(&true))
    }

    fn line(&self, row: &Row, legend: &mut Legend) -> Vec<String> {
        let mut cells = row.key.clone();
        for (slot, measure) in self.iter() {
            let Some(value) = row.pooled.get(slot) else { continue };
            // Who is missing stands beside the number that it is about, and beside a dash where every row is shown.
            let mark = if value.value().is_some() || self.all_rows { legend.mark(self.asking, value) } else { None };
            let mark = mark.unwrap_or_default();
            cells.push(format!("{} {mark:<1}", number(value, measure)));
        }
        cells
    }
}

fn footer(asking: &Asking<'_>, pooled: &PooledTable, shown: &Shown<'_>, folded: usize) -> String {
    let mut text = String::new();
    let empty: Vec<&str> = shown
        .measures
        .iter()
        .zip(shown.has_number)
        .filter(|(_, has_number)| !**has_number)
        .map(|(measure, _)| measure.id.as_str())
        .collect();
    if !empty.is_empty() && empty.len() < shown.measures.len() {
        text += &format!("no row carries a number of {}\n", empty.join(", "));
    }
    if folded > 0 {
        text += &format!("{folded} of {} rows carry no number (--all-rows shows them)\n", pooled.rows.len());
    }
    let (asked, with_value) = json::counts(pooled);
    text += &format!("{with_value} of {asked} cells asked carry a number");
    // A coarser question helps against suppression alone.
    let hidden = |row: &Row| row.pooled.iter().flat_map(Pooled::missing).any(|(_, why)| why == Why::Suppressed);
    if asked > 0
        && with_value * 100 < asked * FEW_PERCENT
        && pooled.rows.iter().any(hidden)
        && let Some(coarser) = coarser(asking, pooled)
    {
        text += &format!("; a coarser question may show more: --by {coarser}");
    }
    text.push('\n');
    for (_, measure) in shown.iter() {
        text += &format!("{}: {}\n", measure.id, measure.note);
    }
    text
}

fn heading(measure: &Measure) -> String {
    let name = measure.id.trim_end_matches("_mg").trim_end_matches("_ml");
    let name = match measure.of {
        Quantity::Histogram => &format!("{name}: median (quartiles)"),
        _ => name,
    };
    match unit(measure) {
        "1" => name.to_owned(),
        unit => format!("{name} [{unit}]"),
    }
}

/// A pooled number for people: masses in kilograms, volumes in litres; `>=` where somebody's number is missing.
fn number(value: &Pooled, measure: &Measure) -> String {
    let Some(number) = value.value() else { return "-".to_owned() };
    match measure.of {
        Quantity::Mean => {
            // In steps of the measure, so that no digit is shown that nobody published.
            let mean = value.mean_hundredths().unwrap_or(0) / 100;
            return format!("{} of {}", hundredths(mean), grouped(number));
        }
        Quantity::Histogram => return quartiles(value, number),
        _ => {}
    }
    let shown = match measure.unit.as_str() {
        "mg" => tenths(number, 1_000_000),
        "ml" => tenths(number, 1_000),
        _ => grouped(number),
    };
    if value.is_lower_bound() { format!(">= {shown}") } else { shown }
}

/// The median with its error, then both quartiles: `45-50 (30-35, 60-65) of 120`.
fn quartiles(value: &Pooled, lines: i64) -> String {
    let show = |part| match value.distribution().quantile(part, 4) {
        None => "-".to_owned(),
        Some(Interval { low, high: OPEN_EDGE }) => format!("from {}", hundredths(edge(low))),
        Some(Interval { low, high }) => format!("{}-{}", hundredths(edge(low)), hundredths(edge(high))),
    };
    format!("{} ({}, {}) of {}", show(2), show(1), show(3), grouped(lines))
}

// The upper edge of purities is just above 100 per cent.
fn edge(edge: u64) -> i64 {
    i64::try_from(edge - edge % 5).unwrap_or(i64::MAX)
}

/// Hundredths of the shown unit, without needless decimals.
fn hundredths(number: i64) -> String {
    match number % 100 {
        0 => grouped(number / 100),
        rest => format!("{}.{rest:02}", grouped(number / 100)),
    }
}

fn unit(measure: &Measure) -> &str {
    match measure.unit.as_str() {
        "0.01 percent" => "%",
        "euro cent" => "EUR",
        "mg" => "kg",
        "ml" => "l",
        unit => unit,
    }
}

fn tenths(number: i64, per: i64) -> String {
    let tenths = number / (per / 10);
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// Who is missing and why, each combination once.
#[derive(Default)]
struct Legend {
    marks: BTreeMap<String, usize>,
}

impl Legend {
    fn mark(&mut self, asking: &Asking<'_>, value: &Pooled) -> Option<String> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut missing: Vec<_> = value.missing().collect();
        missing.sort_by_key(|(member, _)| json::position(asking, member));
        for (member, why) in missing {
            reasons.entry(why.as_str()).or_default().push(member.as_str());
        }
        if reasons.is_empty() {
            return None;
        }
        let words: Vec<String> = reasons
            .into_iter()
            .map(|(why, members)| format!("{} {}", members.join(", "), why.replace('_', " ")))
            .collect();
        let next = self.marks.len();
        let index = *self.marks.entry(format!("without {}", words.join("; "))).or_insert(next);
        Some(letters(index))
    }

    fn words(&self) -> Vec<(String, &str)> {
        let mut all: Vec<(usize, &str)> = self.marks.iter().map(|(words, index)| (*index, words.as_str())).collect();
        all.sort_unstable();
        all.into_iter().map(|(index, words)| (letters(index), words)).collect()
    }
}

fn letters(mut index: usize) -> String {
    let mut text = String::new();
    loop {
        text.insert(0, char::from(b'a' + u8::try_from(index % 26).unwrap_or(0)));
        if index < 26 {
            return text;
        }
        index = index / 26 - 1;
    }
}

/// A coarser combination of levels than asked, from the levels alone: the last dimension that can be coarsened is.
fn coarser(asking: &Asking<'_>, pooled: &PooledTable) -> Option<String> {
    for index in (0..pooled.levels.len()).rev() {
        let mut levels = pooled.levels.clone();
        let level = levels.get_mut(index)?;
        if *level == 0 {
            continue;
        }
        *level -= 1;
        if asking.table.measures_at(&levels).is_some() {
            return Some(level_words(asking.table, &levels));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_letters_and_masses_are_kilograms() {
        assert_eq!([0, 25, 26, 27, 701, 702].map(letters), ["a", "z", "aa", "ab", "zz", "aaa"]);
        assert_eq!([0, 100_000, 1_234_567_900_000].map(|mg| tenths(mg, 1_000_000)), ["0.0", "0.1", "1 234 567.9"]);
    }
}
