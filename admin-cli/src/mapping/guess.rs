//! From a survey to a proposal: which column is which field, what its words mean, what stands for all rows.

use accord_protocol::{catalogue::Kind, layout, pattern, text::fold_word};

use super::{
    survey::{Column, Survey},
    words::{Meaning, Words},
};

/// Below this share of known words a column is not taken for a field's by its words alone, in per cent.
const KNOWN_PERCENT_MIN: usize = 60;

/// A proposal.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    /// Field, column and what the guess rests on.
    pub(crate) fields: Vec<(String, usize, &'static str)>,
    /// Columns with words for the place.
    pub(crate) place: Vec<usize>,
    /// Columns that look like personal data.
    pub(crate) personal: Vec<usize>,
    /// Fields with one value for all rows, and why.
    pub(crate) constants: Vec<(&'static str, String, &'static str)>,
    /// Patterns of the date column; `?` where days and months cannot be told apart.
    pub(crate) dates: Vec<&'static str>,
    /// Why the pattern is open, in words.
    pub(crate) date_note: Option<String>,
    pub(crate) decimal_comma: bool,
    pub(crate) thousands: Option<char>,
    pub(crate) exponent: bool,
}

impl Guess {
    /// The column that a field is taken from.
    pub(crate) fn column_of(&self, field: &str) -> Option<usize> {
        self.fields.iter().find(|(name, ..)| name == field).map(|(_, column, _)| *column)
    }

    /// What a column is used for.
    pub(crate) fn use_of(&self, column: usize) -> Option<(&str, &'static str)> {
        self.fields.iter().find(|(_, at, _)| *at == column).map(|(field, _, why)| (field.as_str(), *why))
    }
}

/// Fields whose cells are words of a list.
pub(crate) fn has_words(field: &str) -> bool {
    !matches!(field, "record_id" | "case_id" | "date" | "nuts" | "unlocode" | "source" | "line" | "seizure_id")
        && Words::shipped().has(field)
}

/// Proposes a mapping for a kind of record.
pub(crate) fn guess(survey: &Survey, kind: Kind) -> Guess {
    let words = Words::shipped();
    let mut guess = Guess::default();
    let mut candidates: Vec<(u32, usize, String, &'static str)> = Vec::new();
    for (index, column) in survey.columns.iter().enumerate() {
        match words.heading(&column.name) {
            // Whatever else such a column may look like: it is not proposed.
            Some(("personal", _)) => guess.personal.push(index),
            Some(("place", sure)) => candidates.push((sure, index, "place".into(), "by its heading")),
            Some((field, sure)) => {
                let field = as_field(kind, field, column);
                if layout::knows(kind, &field) {
                    candidates.push((sure + fits(&field, column), index, field, "by its heading"));
                }
            }
            None => {}
        }
        if !guess.personal.contains(&index) {
            candidates.extend(by_content(kind, column).map(|(score, field)| (score, index, field, "by what it holds")));
        }
    }
    // The surest first; of equals the leftmost column.
    candidates.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut taken = Vec::new();
    for (_, column, field, why) in candidates {
        if taken.contains(&column) {
            continue;
        }
        if field == "place" {
            taken.push(column);
            guess.place.push(column);
        } else if guess.column_of(&field).is_none() {
            taken.push(column);
            guess.fields.push((field, column, why));
        }
    }
    numbers_of_cases(survey, &mut guess);
    guess.place.sort_unstable();
    guess.fields.sort_by_key(|(field, ..)| layout::fields(kind).iter().position(|known| known.name == *field));
    signs(survey, &mut guess);
    dates(survey, &mut guess);
    constants(survey, kind, &mut guess);
    guess
}

// Of two columns with numbers of records and cases, the one in which each number stands once is the record's.
fn numbers_of_cases(survey: &Survey, guess: &mut Guess) {
    let words = Words::shipped();
    let is_number = |column: &Column| matches!(words.heading(&column.name), Some(("case_id" | "record_id", _)));
    let mut found: Vec<(usize, usize)> = survey
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.filled == survey.rows && is_number(column))
        .map(|(index, column)| (column.distinct(), index))
        .collect();
    found.sort_unstable();
    if let (Some((fewest, case)), Some((most, record))) = (found.first(), found.last())
        && fewest < most
        && u64::try_from(*most).is_ok_and(|most| most == survey.rows)
    {
        guess.fields.retain(|(field, ..)| field != "case_id" && field != "record_id");
        let why = "by its heading and by how often its numbers stand";
        guess.fields.push(("case_id".into(), *case, why));
        guess.fields.push(("record_id".into(), *record, why));
    }
}

// Headings are written under the field that they are for most often; some mean another one for another kind.
fn as_field(kind: Kind, field: &str, column: &Column) -> String {
    let drug_words = || known_percent("drug", column) >= KNOWN_PERCENT_MIN;
    match (kind, field) {
        (Kind::Price, "amount") if names_a_mass(&column.name) => "quantity".into(),
        (Kind::Site, "drug") => "found_drug".into(),
        (Kind::Site, "amount") => "found_amount".into(),
        (Kind::Site, "unit") => "found_unit".into(),
        (Kind::Purity, "amount") => "sample_mg".into(),
        // "Type" and the like: of the drug if its words are.
        (Kind::Seizure | Kind::Purity | Kind::Price, "form") if drug_words() => "drug".into(),
        _ => field.to_owned(),
    }
}

fn names_a_mass(heading: &str) -> bool {
    let folded = fold_word(heading);
    ["gewicht", "weight", "poids", "peso", "gewicht", "waga", "masse", "mass", "gram"]
        .iter()
        .any(|word| folded.contains(word))
}

// How well a column's cells fit a field that its heading names.
fn fits(field: &str, column: &Column) -> u32 {
    let share = |part: u64| u32::try_from(part * 20 / column.filled.max(1)).unwrap_or(0);
    match field {
        "date" => {
            if column.dates.is_empty() {
                0
            } else {
                20
            }
        }
        "amount" | "quantity" | "purity_percent" | "found_amount" => share(column.numbers.total()),
        field if has_words(field) => u32::try_from(known_percent(field, column) / 5).unwrap_or(0),
        _ => 0,
    }
}

// Fields that a column may be for, by its cells alone.
fn by_content(kind: Kind, column: &Column) -> impl Iterator<Item = (u32, String)> {
    let mut found = Vec::new();
    if column.filled > 0 && !column.dates.is_empty() && column.dates.iter().any(|pattern| pattern.contains("DD")) {
        found.push((45, "date".to_owned()));
    }
    for field in ["drug", "unit", "currency"] {
        if layout::knows(kind, field) && has_words(field) && known_percent(field, column) >= KNOWN_PERCENT_MIN {
            found.push((50, field.to_owned()));
        }
    }
    let is_currency = |word: &String| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if layout::knows(kind, "currency")
        && column.words.as_ref().is_some_and(|words| !words.is_empty() && words.keys().all(is_currency))
    {
        found.push((50, "currency".to_owned()));
    }
    found.into_iter()
}

// Of the distinct words of a column, how many are known in a field.
fn known_percent(field: &str, column: &Column) -> usize {
    let Some(words) = column.words.as_ref().filter(|words| !words.is_empty()) else { return 0 };
    let known = words.keys().filter(|word| matches!(Words::shipped().meaning(field, word), Meaning::Known(_))).count();
    known * 100 / words.len()
}

fn signs(survey: &Survey, guess: &mut Guess) {
    let numeric = |field: &str| guess.column_of(field).and_then(|column| survey.columns.get(column));
    let columns: Vec<&Column> =
        ["amount", "quantity", "purity_percent", "found_amount"].into_iter().filter_map(numeric).collect();
    let sum = |part: fn(&Column) -> u64| columns.iter().map(|column| part(column)).sum::<u64>();
    let (point, comma) = (sum(|column| column.numbers.point), sum(|column| column.numbers.comma));
    let (thousands_point, thousands_comma) =
        (sum(|column| column.numbers.thousands_point), sum(|column| column.numbers.thousands_comma));
    guess.decimal_comma = comma + thousands_point > point + thousands_comma;
    guess.thousands = match (guess.decimal_comma, thousands_point + point, thousands_comma + comma) {
        // `1.234` beside `1,5` can only be a thousand and more.
        (true, 1.., _) => Some('.'),
        (false, _, 1..) => Some(','),
        (_, _, _) => None,
    };
    guess.exponent = sum(|column| column.numbers.exponent) > 0;
}

fn dates(survey: &Survey, guess: &mut Guess) {
    let Some(column) = guess.column_of("date").and_then(|column| survey.columns.get(column)) else { return };
    let Some(first) = column.dates.first().copied() else {
        let serial = column.words.as_ref().is_some_and(|words| {
            !words.is_empty()
                && words.keys().all(|word| pattern::read(word, "excel").is_some_and(|date| date.year >= 1980))
        });
        if serial {
            guess.dates = vec!["excel"];
            guess.date_note = Some("numbers: the serial dates of a spreadsheet".into());
        } else {
            guess.dates = vec!["?"];
            guess.date_note =
                Some("no pattern fits every cell; several may stand here: [\"DD.MM.YYYY\", \"YYYY\"]".into());
        }
        return;
    };
    // 03/04/2014 may be the third of April or the fourth of March: only a person knows.
    let swapped = first.replace("DD", "##").replace("MM", "DD").replace("##", "MM");
    let short = first.replace('D', "#").replace('M', "D").replace('#', "M");
    let other = column.dates.iter().find(|pattern| **pattern != first && (**pattern == swapped || **pattern == short));
    match other {
        Some(other) if first.contains('/') => {
            guess.dates = vec!["?"];
            guess.date_note = Some(format!("every cell fits both {first} and {other}"));
        }
        Some(_) | None => guess.dates = vec![first],
    }
}

// What a record needs and no column gives. `?` where only a person knows.
fn constants(survey: &Survey, kind: Kind, guess: &mut Guess) {
    let unit = |guess: &Guess, field: &str| {
        let column = survey.columns.get(guess.column_of(field)?)?;
        unit_in_heading(&column.name)
    };
    let mut constants: Vec<(&'static str, String, &'static str)> = Vec::new();
    for field in layout::fields(kind).iter().map(|field| field.name) {
        if guess.column_of(field).is_some() {
            continue;
        }
        let value = match (kind, field) {
            (_, "source") => Some(("case-system".to_owned(), "which system the file comes from")),
            (Kind::Seizure, "quantity_kind") => {
                Some(("unknown".into(), "gross, net or carrier, if it is the same for all"))
            }
            (Kind::Seizure, "unit") if guess.column_of("amount").is_some() => {
                Some((unit(guess, "amount").unwrap_or("?").into(), "the unit of all amounts"))
            }
            (Kind::Price, "unit") => {
                Some((unit(guess, "quantity").unwrap_or("?").into(), "the unit of all quantities"))
            }
            (Kind::Site, "found_unit") if guess.column_of("found_amount").is_some() => {
                Some((unit(guess, "found_amount").unwrap_or("?").into(), "the unit of all amounts found"))
            }
            (Kind::Purity, "form") => {
                Some(("unknown".into(), "the form of the drug, if the drug column does not state it"))
            }
            (Kind::Purity, "below_detection") => Some(("no".into(), "no row without a purity is read then")),
            (Kind::Purity, "expressed_as") => Some(("?".into(), "base, hcl, other_salt or unknown: they never pool")),
            (Kind::Purity, "sampling") => Some(("unknown".into(), "random, all or threshold")),
            (Kind::Purity, "origin") => Some(("?".into(), "seizure or drug_checking: they never pool")),
            (Kind::Price, "currency") => Some(("?".into(), "for example EUR")),
            (Kind::Price, "market_level") => Some(("unknown".into(), "wholesale, mid or retail: they never pool")),
            (Kind::Price, "weight_basis") => Some(("unknown".into(), "weighed or assumed: they never pool")),
            (Kind::Price, "price_source") => Some(("unknown".into(), "test_purchase, police_intelligence, ...")),
            (Kind::Seizure | Kind::Purity | Kind::Price, "drug") => {
                Some(("?".into(), "the drug of all rows, or map its column"))
            }
            (Kind::Site, "site_role") => Some(("?".into(), "extraction, conversion, ...")),
            (_, "date") => Some(("?".into(), "no column with dates was found")),
            (Kind::Price, "amount" | "quantity") | (Kind::Purity, "purity_percent") => {
                Some(("?".into(), "no column was found for it"))
            }
            _ => None,
        };
        constants.extend(value.map(|(value, why)| (field, value, why)));
    }
    guess.constants = constants;
}

// `Menge (g)`, `Gewicht kg`: the unit stands in the heading.
fn unit_in_heading(heading: &str) -> Option<&'static str> {
    let folded = fold_word(heading);
    let of_word = |word: &str| match word {
        "mg" => Some("mg"),
        "g" | "gr" | "gramm" | "gram" | "grams" => Some("g"),
        "kg" | "kilo" | "kilogram" => Some("kg"),
        "ml" => Some("ml"),
        "l" | "liter" | "litre" => Some("l"),
        _ => None,
    };
    folded.split(' ').rev().find_map(of_word)
}
