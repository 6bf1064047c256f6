//! A survey of a file: what each of its columns holds, in shapes and counts, within fixed bounds of memory.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::ControlFlow,
};

use accord_protocol::pattern;

use crate::{
    output::Failure,
    sheet::{Format, Layout, Table, guess_encoding, header, sheet_names},
};

/// Distinct words of a column that are kept; a column with more is no column of codes.
pub(crate) const WORDS_MAX: usize = 2_000;
/// Longest word of a code, in bytes; a column with a longer cell is no column of codes.
const WORD_MAX: usize = 200;
/// Distinct cells of a column that are counted.
pub(crate) const DISTINCT_MAX: usize = 200_000;
/// Distinct shapes of a column that are kept.
const SHAPES_MAX: usize = 40;
/// Longest shape shown.
const SHAPE_LENGTH_MAX: usize = 24;
/// Rows among which the header is looked for.
const HEADER_WITHIN: usize = 30;
/// Columns of a sheet that is taken for a table, at least.
const TABLE_COLUMNS_MIN: usize = 3;
/// Separators that files have.
const DELIMITERS: [char; 4] = [';', ',', '\t', '|'];

/// Patterns of dates that are tried, the usual ones of Europe first.
pub(crate) const DATE_PATTERNS: [&str; 26] = [
    "YYYY-MM-DD",
    "DD.MM.YYYY",
    "D.M.YYYY",
    "DD/MM/YYYY",
    "D/M/YYYY",
    "MM/DD/YYYY",
    "M/D/YYYY",
    "DD-MM-YYYY",
    "D-M-YYYY",
    "YYYY/MM/DD",
    "YYYY.MM.DD",
    "YYYY.MM.DD.",
    "YYYY. MM. DD.",
    "DD.MM.YYYY.",
    "DD. MM. YYYY",
    "D. M. YYYY",
    "DD.MM.YY",
    "DD/MM/YY",
    "MM/DD/YY",
    "YYYYMMDD",
    "YYYY-MM-DD hh:mm",
    "YYYY-MM-DD hh:mm:ss",
    "YYYY-MM-DDThh:mm:ss",
    "DD.MM.YYYY hh:mm",
    "DD/MM/YYYY hh:mm",
    "DD.MM.YYYY hh:mm:ss",
];

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    /// Whether the file has to be turned into rows for the node.
    pub(crate) needs_section: bool,
    pub(crate) delimiter: char,
    pub(crate) rows: u64,
    pub(crate) columns: Vec<Column>,
}

/// One column.
#[derive(Debug, Default)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) filled: u64,
    /// Distinct cells with counts; nothing if there are more than [`WORDS_MAX`].
    pub(crate) words: Option<BTreeMap<String, u64>>,
    pub(crate) shapes: BTreeMap<String, u64>,
    // Hashes of distinct cells, to tell numbers of records (each once) from numbers of cases.
    seen: HashSet<u64>,
    /// Patterns that every filled cell fits.
    pub(crate) dates: Vec<&'static str>,
    pub(crate) numbers: Numbers,
}

/// How many cells are numbers, and how they are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Digits alone.
    pub(crate) whole: u64,
    /// One decimal point.
    pub(crate) point: u64,
    /// One decimal comma.
    pub(crate) comma: u64,
    /// Thousands with points, and perhaps a decimal comma.
    pub(crate) thousands_point: u64,
    /// Thousands with commas, and perhaps a decimal point.
    pub(crate) thousands_comma: u64,
    /// An exponent.
    pub(crate) exponent: u64,
}

impl Numbers {
    pub(crate) const fn total(&self) -> u64 {
        self.whole + self.point + self.comma + self.thousands_point + self.thousands_comma + self.exponent
    }

    fn take(&mut self, cell: &str) {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_grouped = |text: &str, separator: char| {
            let mut groups = text.split(separator);
            groups.next().is_some_and(|first| is_digits(first) && first.len() <= 3)
                && text.contains(separator)
                && groups.all(|group| group.len() == 3 && is_digits(group))
        };
        let parted = |decimal: char| cell.split_once(decimal).filter(|(_, rest)| is_digits(rest));
        if is_digits(cell) {
            self.whole += 1;
        } else if parted('.').is_some_and(|(whole, _)| is_digits(whole)) {
            self.point += 1;
        } else if parted(',').is_some_and(|(whole, _)| is_digits(whole)) {
            self.comma += 1;
        } else if is_grouped(cell, '.') || parted(',').is_some_and(|(whole, _)| is_grouped(whole, '.')) {
            self.thousands_point += 1;
        } else if is_grouped(cell, ',') || parted('.').is_some_and(|(whole, _)| is_grouped(whole, ',')) {
            self.thousands_comma += 1;
        } else if cell.split_once(['e', 'E']).is_some_and(|(mantissa, exponent)| {
            is_digits(&mantissa.replacen('.', "", 1)) && is_digits(exponent.trim_start_matches(['-', '+']))
        }) {
            self.exponent += 1;
        }
    }
}

impl Column {
    fn new(name: String) -> Self {
        Self { name, words: Some(BTreeMap::new()), dates: DATE_PATTERNS.to_vec(), ..Self::default() }
    }

    fn take(&mut self, cell: &str) {
        let cell = cell.trim();
        if cell.is_empty() {
            return;
        }
        self.filled += 1;
        if let Some(words) = &mut self.words {
            // Codes are words, not texts.
            if cell.len() > WORD_MAX {
                self.words = None;
            } else if let Some(count) = words.get_mut(cell) {
                *count += 1;
            } else if words.len() < WORDS_MAX {
                words.insert(cell.to_owned(), 1);
            } else {
                self.words = None;
            }
        }
        if self.seen.len() < DISTINCT_MAX {
            let mut hasher = DefaultHasher::new();
            cell.hash(&mut hasher);
            self.seen.insert(hasher.finish());
        }
        let shape = shape(cell);
        if let Some(count) = self.shapes.get_mut(&shape) {
            *count += 1;
        } else if self.shapes.len() < SHAPES_MAX {
            self.shapes.insert(shape, 1);
        }
        self.dates.retain(|pattern| pattern::read(cell, pattern).is_some());
        self.numbers.take(cell);
    }

    /// The most frequent shapes, with counts.
    pub(crate) fn top_shapes(&self, most: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.shapes.iter().map(|(shape, count)| (shape.as_str(), *count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all.truncate(most);
        all
    }

    /// Distinct cells, up to [`DISTINCT_MAX`].
    pub(crate) fn distinct(&self) -> usize {
        self.seen.len()
    }
}

/// A cell's shape: what a person needs to see of it, and nothing of what it says. Letters are `a` and `A`, digits `9`; long runs are cut.
pub(crate) fn shape(cell: &str) -> String {
    let mut shape = String::new();
    let mut run = 0;
    for character in cell.chars() {
        let kind = match character {
            '0'..='9' => '9',
            character if character.is_uppercase() => 'A',
            character if character.is_alphabetic() => 'a',
            character if character.is_whitespace() => ' ',
            character if character.is_control() || !character.is_ascii() => '?',
            character => character,
        };
        run = if shape.ends_with(kind) { run + 1 } else { 1 };
        if run <= 4 {
            shape.push(kind);
        }
        if shape.len() >= SHAPE_LENGTH_MAX {
            shape.push('~');
            break;
        }
    }
    shape
}

/// Looks at a whole file. `sheet` and `header_row` are what the operator states; the rest is found.
pub(crate) fn survey(table: &Table, sheet: Option<&str>, header_row: Option<u64>) -> anyhow::Result<Survey> {
    if table.format == Format::Xlsx && sheet.is_none() {
        // Workbooks often begin with a page of notes: the first sheet with a table counts.
        let names = sheet_names(table)?;
        for name in &names {
            match survey(table, Some(name), header_row) {
                Ok(found) if found.columns.len() >= TABLE_COLUMNS_MIN => return Ok(found),
                Ok(_) | Err(_) => {}
            }
        }
        let message = format!("no sheet of {} holds a table; it has {}", table.path.display(), names.join(", "));
        return Err(Failure::refused("R-EMPTY", message, "name the sheet with --sheet").into());
    }
    let mut layout = Layout { sheet: sheet.map(str::to_owned), ..Layout::default() };
    let mut encoding = "UTF-8";
    if table.format != Format::Xlsx {
        encoding = guess_encoding(table)?;
        layout.encoding = Some(encoding.to_owned());
    }
    layout.delimiter = Some(delimiter(table, &layout));
    layout.header_row = match header_row {
        Some(row) => Some(row),
        None => Some(find_header(table, &layout)?),
    };
    let mut columns: Vec<Column> = Vec::new();
    let mut rows = 0;
    let mut plain = true;
    table.rows(&layout, &mut |_, cells| {
        if columns.is_empty() {
            let names = header(cells);
            // The node takes headings as they stand, blanks around them aside.
            plain = names.len() == cells.len() && names.iter().zip(cells).all(|(name, cell)| name == cell.trim());
            columns = names.into_iter().map(Column::new).collect();
            return Ok(ControlFlow::Continue(()));
        }
        rows += 1;
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.take(cell);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if columns.is_empty() || rows == 0 {
        let message = format!("{} has no header with rows below it", table.path.display());
        return Err(Failure::refused("R-EMPTY", message, "name the row of the header with --header-row").into());
    }
    let needs_section = table.format == Format::Xlsx || encoding != "UTF-8" || layout.header_row != Some(1) || !plain;
    let delimiter = layout.delimiter.unwrap_or(',');
    Ok(Survey { format: table.format, layout, needs_section, delimiter, rows, columns })
}

// The separator that gives most of the first rows the same number of columns, more than one.
fn delimiter(table: &Table, layout: &Layout) -> char {
    if table.format == Format::Xlsx {
        return ',';
    }
    let mut best = (0, ',');
    for delimiter in DELIMITERS {
        let tried = Layout { delimiter: Some(delimiter), ..layout.clone() };
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        let mut seen = 0;
        let read = table.rows(&tried, &mut |_, cells| {
            *widths.entry(cells.len()).or_default() += 1;
            seen += 1;
            Ok(if seen < 200 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        // A wrong separator may make a quote look open; then it is not the one.
        if read.is_err() {
            continue;
        }
        let score = widths.iter().filter(|(width, _)| **width > 1).map(|(width, rows)| rows * width).max().unwrap_or(0);
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}

// The first row that is as wide as the table and holds texts that all differ and are no numbers.
fn find_header(table: &Table, layout: &Layout) -> anyhow::Result<u64> {
    let mut first: Vec<(u64, Vec<String>)> = Vec::new();
    let from_start = Layout { header_row: Some(1), ..layout.clone() };
    table.rows(&from_start, &mut |line, cells| {
        first.push((line, cells.to_vec()));
        Ok(if first.len() < HEADER_WITHIN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    let filled = |cells: &[String]| cells.iter().filter(|cell| !cell.trim().is_empty()).count();
    let widest = first.iter().map(|(_, cells)| filled(cells)).max().unwrap_or(0);
    let is_header = |cells: &[String]| {
        let names: Vec<&str> = cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect();
        let distinct: std::collections::BTreeSet<&&str> = names.iter().collect();
        // Titles above a table fill a cell or two; blank headings may stand among real ones.
        names.len() * 10 >= widest * 7
            && distinct.len() == names.len()
            && names.iter().all(|name| name.chars().any(char::is_alphabetic))
    };
    Ok(first.iter().find(|(_, cells)| is_header(cells)).or(first.first()).map_or(1, |(line, _)| *line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_say_nothing_of_what_a_cell_says() {
        for (cell, want) in [
            ("ES-2014/0017", "AA-9999/9999"),
            ("Müller, Hans", "Aaaaa, Aaaa"),
            ("1.234,56", "9.999,99"),
            ("a\u{1b}[2J", "a?[9A"),
            ("Ж-5", "A-9"),
        ] {
            assert_eq!(shape(cell), want);
        }
        assert!(shape(&"a1".repeat(500)).len() <= 25);
    }

    #[test]
    fn numbers_are_told_apart_by_how_they_are_written() {
        let mut numbers = Numbers::default();
        for cell in ["12", "1.5", "1,5", "1.234,5", "1,234.5", "12.345.678", "9e-05", "12 kg", "-4", "1.2.3"] {
            numbers.take(cell);
        }
        let want = Numbers { whole: 1, point: 1, comma: 1, thousands_point: 2, thousands_comma: 1, exponent: 1 };
        assert_eq!(numbers, want);
    }
}
