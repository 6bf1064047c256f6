//! The proposal as a commented TOML file: every column, what it holds in shapes, every word of the columns of codes.

use accord_protocol::catalogue::Kind;

use super::{
    guess::{Guess, guess, has_words},
    survey::{Column, DISTINCT_MAX, Survey},
    words::{Meaning, Words},
};
use crate::sheet::Format;

/// A proposal and how much of it is open.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// The file's text.
    pub(crate) text: String,
    /// Fields that have a column.
    pub(crate) fields: Vec<String>,
    /// Headings of columns that were not understood.
    pub(crate) unused: Vec<String>,
    /// Places where `?` stands.
    pub(crate) open: usize,
    /// Words that have a code.
    pub(crate) words_known: usize,
}

/// Writes a proposal for a survey.
pub(crate) fn write(survey: &Survey, kind: Kind, name: &str, file: &str) -> Proposal {
    let guess = guess(survey, kind);
    let mut text = format!(
        "# Proposed for {file}: {} rows, {} columns. Nothing of what the cells say is in these comments, only shapes and counts:\n\
         # letters are a and A, digits 9. Check every line; an import refuses this file while a \"?\" stands in it.\n\
         # Then: accord mapping check THIS-FILE, and accord import FILE --mapping THIS-FILE --dry-run\n\n",
        survey.rows,
        survey.columns.len(),
        file = quoted(file),
    );
    text += &format!("name = {}\nversion = 1\nkind = \"{kind}\"\n", quoted(name));
    if survey.format != Format::Xlsx {
        text += &format!("delimiter = {}\n", quoted(&survey.delimiter.to_string()));
    }
    text += &format!("decimal = \"{}\"\n", if guess.decimal_comma { "comma" } else { "point" });
    if let Some(separator) = guess.thousands {
        text += &format!("thousands = \"{separator}\"\n");
    }
    if guess.exponent {
        text += "exponent = true\n";
    }
    if guess.column_of("case_id").is_none() {
        text += "# No column with the number of the case was found: then each record counts as a case of its own. Protection rests on\n\
                 # cases, so map case_id under [fields] and remove this line if the file has them.\n\
                 case = \"one-per-record\"\n";
    }
    if guess.column_of("record_id").is_none() {
        text += "# No column with the record's own number was found: ids are made from the rows, so a row that changes is a new record.\n\
                 id = \"row-hash\"\n";
    }
    ignored(survey, &guess, &mut text);
    section(survey, &mut text);
    fields(survey, &guess, &mut text);
    if !guess.place.is_empty() {
        let columns: Vec<String> =
            guess.place.iter().filter_map(|at| survey.columns.get(*at)).map(|c| quoted(&c.name)).collect();
        text += &format!(
            "\n# Words for the place, tried in this order: NUTS code, name of a region, alias of this file.\n[place]\ncolumns = [{}]\n",
            columns.join(", ")
        );
    }
    if !guess.constants.is_empty() {
        text += "\n# One value for all rows, where no column has it.\n[constants]\n";
        for (field, value, why) in &guess.constants {
            text += &format!("{field} = {}  # {why}\n", quoted(value));
        }
    }
    let words_known = tables(survey, &guess, &mut text);
    let unused = survey
        .columns
        .iter()
        .enumerate()
        .filter(|(index, _)| {
            guess.use_of(*index).is_none() && !guess.place.contains(index) && !guess.personal.contains(index)
        })
        .map(|(_, column)| column.name.clone())
        .collect();
    let open = text.lines().filter(|line| line.split('#').next().unwrap_or_default().contains("\"?\"")).count();
    Proposal { open, fields: guess.fields.iter().map(|(field, ..)| field.clone()).collect(), unused, words_known, text }
}

fn describe(column: &Column) -> String {
    let shapes: Vec<String> = column
        .top_shapes(3)
        .into_iter()
        .map(|(shape, count)| format!("{} ({count})", shape.escape_default()))
        .collect();
    let distinct = match column.distinct() {
        DISTINCT_MAX.. => format!("more than {DISTINCT_MAX}"),
        count => count.to_string(),
    };
    format!("{} filled, {distinct} distinct; {}", column.filled, shapes.join(", "))
}

fn ignored(survey: &Survey, guess: &Guess, text: &mut String) {
    let unused: Vec<(usize, &Column)> = survey
        .columns
        .iter()
        .enumerate()
        .filter(|(index, _)| guess.use_of(*index).is_none() && !guess.place.contains(index))
        .collect();
    if unused.is_empty() {
        return;
    }
    *text += "\n# Columns that are read past. Move one to [fields] if a field is in it.\nignore = [\n";
    for (index, column) in unused {
        let what = if guess.personal.contains(&index) {
            "looks like personal data, which Accord does not take".to_owned()
        } else {
            describe(column)
        };
        *text += &format!("  {},  # {what}\n", quoted(&column.name));
    }
    *text += "]\n";
}

fn section(survey: &Survey, text: &mut String) {
    if !survey.needs_section {
        return;
    }
    *text += "\n# How the tool turns the file into rows.\n[file]\n";
    if let Some(encoding) = survey.layout.encoding.as_ref().filter(|_| survey.format != Format::Xlsx) {
        *text += &format!("encoding = {}\n", quoted(encoding));
    }
    if let Some(sheet) = &survey.layout.sheet {
        *text += &format!("sheet = {}\n", quoted(sheet));
    }
    if let Some(row) = survey.layout.header_row {
        *text += &format!("header_row = {row}\n");
    }
}

fn fields(survey: &Survey, guess: &Guess, text: &mut String) {
    *text += "\n[fields]\n";
    for (field, index, why) in &guess.fields {
        let Some(column) = survey.columns.get(*index) else { continue };
        let mut source = format!("column = {}", quoted(&column.name));
        if is_table(column, field) {
            source += &format!(", table = \"{field}\"");
        }
        if field == "date" && !guess.dates.is_empty() {
            let formats: Vec<String> = guess.dates.iter().map(|format| quoted(format)).collect();
            source += &format!(", format = [{}]", formats.join(", "));
        }
        *text += &format!("# {why}: {}\n", describe(column));
        if let Some(note) = guess.date_note.as_ref().filter(|_| field == "date") {
            *text += &format!("# {note}\n");
        }
        *text += &format!("{field} = {{ {source} }}\n");
    }
}

// A column of codes: its words are few enough to be listed.
fn is_table(column: &Column, field: &str) -> bool {
    has_words(field) && column.words.as_ref().is_some_and(|words| !words.is_empty())
}

fn tables(survey: &Survey, guess: &Guess, text: &mut String) -> usize {
    let dictionary = Words::shipped();
    let mut known = 0;
    for (field, index, _) in &guess.fields {
        let Some(column) = survey.columns.get(*index).filter(|column| is_table(column, field)) else { continue };
        let mut words: Vec<(&String, &u64)> = column.words.iter().flatten().collect();
        words.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        *text +=
            &format!("\n# Every word of column {}, the most frequent first.\n[tables.{field}]\n", quoted(&column.name));
        let mut folded = std::collections::BTreeSet::new();
        for (word, count) in words {
            // Spellings that differ in capitals or accents alone are one word.
            if !folded.insert(accord_protocol::text::fold_word(word)) {
                continue;
            }
            let (value, note) = match dictionary.meaning(field, word) {
                Meaning::Known(code) => {
                    known += 1;
                    (value(field, &code), String::new())
                }
                Meaning::Like(code, like) => (quoted("?"), format!("; like {} = {}?", quoted(&like), quoted(&code))),
                Meaning::Unknown => (quoted("?"), String::new()),
            };
            *text += &format!("{} = {value}  # {count}{note}\n", quoted(word));
        }
    }
    known
}

fn value(field: &str, code: &str) -> String {
    if field.ends_with("unit") { format!("{{ unit = {} }}", quoted(code)) } else { quoted(code) }
}

/// A text as TOML writes it; what a terminal would take for a command is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            character if character.is_control() || !character.is_alphanumeric() && !character.is_ascii() => {
                quoted.push_str(&format!("\\U{:08x}", u32::from(character)));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_read_back_whatever_it_holds() {
        for text in ["Stück (g)", "say \"x\" \\ y", "a\u{1b}[2J", "zwei\nZeilen", "\u{202e}x", "Łódź"] {
            let read: toml::Table = toml::from_str(&format!("a = {}\n{} = 1\n", quoted(text), quoted(text))).unwrap();
            assert_eq!(read["a"].as_str(), Some(text));
            assert!(read.contains_key(text));
            assert!(!quoted(text).contains('\u{1b}'));
        }
    }
}
