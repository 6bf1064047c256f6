//! One row's cells by field: through the mapping's constants and word tables to codes, numbers, dates and places.

use std::collections::BTreeSet;

use accord_protocol::{
    code::{self, Tree},
    id::{Hash, to_hex},
    layout,
};

use super::{
    RowFault, Rule, date,
    mapping::{FieldSource, Word},
    place::PlaceRule,
    row::RowReader,
};
use crate::domain::{
    amount::{self, Amount, BadAmount, Decimal, Unit},
    record::{Common, Stated, When},
};
use accord_protocol::text::{fold_case, fold_word, shown};

/// Code lists that rows are checked against.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) drugs: std::sync::Arc<Tree>,
    pub(super) transport: BTreeSet<String>,
    pub(super) place: BTreeSet<String>,
    pub(super) concealment: BTreeSet<String>,
    pub(super) countries: BTreeSet<String>,
}

impl Lists {
    pub(super) fn new() -> Self {
        let codes = |name: &str, levels: &[&str]| -> BTreeSet<String> {
            code::rows(name)
                .into_iter()
                .filter(|row| row.get("level").is_some_and(|level| levels.contains(&level.as_str())))
                .filter_map(|mut row| row.remove("code"))
                .filter(|code| code != "_U")
                .collect()
        };
        let drugs = code::tree("drugs-1", "").unwrap_or_else(|_| unreachable!("the list ships and a test reads it"));
        let mut countries = codes("countries-1", &["country", "alias"]);
        countries.retain(|code| code.len() == 2);
        Self {
            drugs,
            transport: codes("transport-1", &["detail"]),
            place: codes("place-1", &["place"]),
            concealment: codes("concealment-1", &["concealment"]),
            countries,
        }
    }
}

/// One row's cells.
pub(super) struct Cells<'a> {
    pub(super) reader: &'a RowReader,
    pub(super) fields: &'a [&'a str],
}

impl Cells<'_> {
    fn source(&self, field: &str) -> Option<&FieldSource> {
        self.reader.mapping.fields.get(field)
    }

    pub(super) fn fault(&self, field: &str, rule: Rule, message: impl Into<String>) -> RowFault {
        let column = self.source(field).map_or(field, |source| source.column.as_str()).to_owned();
        RowFault { rule, column, message: message.into(), word: None }
    }

    pub(super) fn unknown_word(&self, field: &str, rule: Rule, word: &str, message: impl Into<String>) -> RowFault {
        RowFault { word: Some(shown(word)), ..self.fault(field, rule, message) }
    }

    // The cell as it stands, trimmed; the mapping's constant where there is no column; empty where there is neither.
    pub(super) fn raw(&self, field: &str) -> &str {
        match self.reader.index.get(field).and_then(|index| self.fields.get(*index)) {
            Some(cell) => cell.trim(),
            None => self.reader.mapping.constants.get(field).map_or("", String::as_str),
        }
    }

    pub(super) fn word(&self, field: &str) -> Result<Option<&Word>, RowFault> {
        let cell = self.raw(field);
        let Some(table) = self.source(field).and_then(|source| source.table.as_ref()) else { return Ok(None) };
        if cell.is_empty() {
            return Ok(None);
        }
        let table = self.reader.mapping.tables.get(table);
        let meaning = table.and_then(|table| table.get(&fold_word(cell)));
        meaning.map(Some).ok_or_else(|| {
            let rule = if field.ends_with("unit") { Rule::Unit } else { Rule::Code };
            self.unknown_word(field, rule, cell, "a word that the mapping does not know")
        })
    }

    // The cell's code: through the word table if there is one; `None` for a blank cell.
    pub(super) fn translated(&self, field: &str) -> Result<Option<String>, RowFault> {
        let cell = self.raw(field);
        if cell.is_empty() {
            return Ok(None);
        }
        match self.word(field)? {
            Some(Word::Code(code)) => Ok(Some(code.clone()).filter(|code| !code.is_empty())),
            Some(Word::Unit(..)) => Err(self.fault(field, Rule::Code, "its table holds units")),
            None => Ok(Some(cell.to_owned())),
        }
    }

    pub(super) fn stated(&self, field: &str, known: impl Fn(&str) -> bool) -> Result<Stated<String>, RowFault> {
        match self.translated(field)?.as_deref() {
            None => Ok(Stated::Blank),
            Some("unknown") => Ok(Stated::Unknown),
            // Where there can have been none, the list says so.
            Some("none") if known("none") => Ok(Stated::Nothing),
            Some(code) if known(code) => Ok(Stated::Is(code.to_owned())),
            Some(code) => Err(self.unknown_word(field, Rule::Code, code, "not in the code list")),
        }
    }

    pub(super) fn among(&self, field: &str, known: &[&str]) -> Result<Stated<String>, RowFault> {
        self.stated(field, |code| known.contains(&code))
    }

    /// A code that must be stated; `unknown` is one where `may_be_unknown`.
    pub(super) fn one_of(&self, field: &str, known: &[&str], unknown: Unknown) -> Result<String, RowFault> {
        match (self.among(field, known)?, unknown) {
            (Stated::Is(code), _) => Ok(code),
            (Stated::Unknown, Unknown::Permitted) => Ok("unknown".to_owned()),
            (Stated::Blank, _) => Err(self.fault(field, Rule::Required, "must not be empty")),
            (Stated::Unknown | Stated::Nothing, _) => Err(self.fault(field, Rule::Code, "not in the code list")),
        }
    }

    pub(super) fn required(&self, field: &str) -> Result<&str, RowFault> {
        let cell = self.raw(field);
        if cell.is_empty() { Err(self.fault(field, Rule::Required, "must not be empty")) } else { Ok(cell) }
    }

    pub(super) fn yes_no(&self, field: &str) -> Result<Stated<bool>, RowFault> {
        match self.among(field, &["yes", "no"])? {
            Stated::Is(word) => Ok(Stated::Is(word == "yes")),
            Stated::Unknown => Ok(Stated::Unknown),
            Stated::Blank => Ok(Stated::Blank),
            Stated::Nothing => Err(self.fault(field, Rule::Code, "`yes`, `no` or `unknown`")),
        }
    }

    pub(super) fn country(&self, field: &str) -> Result<Stated<String>, RowFault> {
        // `other` comes from word tables alone: territories and groups of countries without a code of their own.
        let through_table = self.source(field).is_some_and(|source| source.table.is_some());
        self.stated(field, |code| self.reader.lists.countries.contains(code) || (through_table && code == "other"))
    }

    /// A list in one cell, its parts separated by `;`, each through the word table if there is one.
    pub(super) fn list(
        &self,
        field: &str,
        most: usize,
        known: impl Fn(&str) -> bool,
    ) -> Result<Stated<Vec<String>>, RowFault> {
        let cell = self.raw(field);
        match cell {
            "" => return Ok(Stated::Blank),
            "unknown" => return Ok(Stated::Unknown),
            "none" => return Ok(Stated::Nothing),
            _ => {}
        }
        let table = self
            .source(field)
            .and_then(|source| source.table.as_ref())
            .and_then(|table| self.reader.mapping.tables.get(table));
        let mut codes = Vec::new();
        for part in cell.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let code = match table.map(|table| table.get(&fold_word(part))) {
                None => part,
                Some(Some(Word::Code(code))) => code,
                Some(None | Some(Word::Unit(..))) => {
                    return Err(self.unknown_word(field, Rule::Code, part, "a word that the mapping does not know"));
                }
            };
            if !known(code) {
                return Err(self.unknown_word(field, Rule::Code, code, "not in the code list"));
            }
            codes.push(code.to_owned());
        }
        if codes.len() > most {
            return Err(self.fault(field, Rule::Range, format!("at most {most} entries, separated by `;`")));
        }
        Ok(Stated::Is(codes))
    }

    pub(super) fn countries(&self, field: &str) -> Result<Stated<Vec<String>>, RowFault> {
        self.list(field, 5, |code| self.reader.lists.countries.contains(code))
    }

    /// What records of every kind have, and how the place was found. `record_id` and `case_id` of rows that have none of their own
    /// are completed in staging.
    pub(super) fn common(&self, row_hash: Option<&str>) -> Result<(Common, PlaceRule), RowFault> {
        let record_id = match row_hash {
            Some(hash) => format!("x-{hash}"),
            None => self.id("record_id")?,
        };
        let case_id = if self.reader.mapping.one_case_per_record { fold_case(&record_id) } else { self.case()? };
        let (region, place_rule) = self.region()?;
        let common = Common {
            record_id,
            case_id,
            date: self.date()?,
            region,
            unlocode: self.unlocode()?,
            agency: self.among("agency", &["police", "customs", "coast_guard", "gendarmerie", "military", "other"])?,
            source: self
                .short_text("source", 40)?
                .ok_or_else(|| self.fault("source", Rule::Required, "must not be empty"))?,
            status: match self.among("status", &["provisional", "confirmed"])? {
                Stated::Is(status) => status,
                Stated::Blank => "confirmed".to_owned(),
                Stated::Unknown | Stated::Nothing => {
                    return Err(self.fault("status", Rule::Code, "`provisional` or `confirmed`"));
                }
            },
        };
        Ok((common, place_rule))
    }

    pub(super) fn id(&self, field: &str) -> Result<String, RowFault> {
        let id = self.required(field)?;
        if is_record_id(id) {
            return Ok(id.to_owned());
        }
        // Case systems number as `2023/17` or `Č. 5`: a mapped file's ids are rewritten, a canonical one's are as they must be.
        if !self.reader.mapping.is_canonical() && id.chars().count() <= 200 {
            return Ok(rewritten_id(id));
        }
        Err(self.fault(field, Rule::Id, "1 to 64 letters, digits, `.`, `_` or `-`, no dot first"))
    }

    fn case(&self) -> Result<String, RowFault> {
        let case = self.required("case_id")?;
        case_id(case).ok_or_else(|| self.fault("case_id", Rule::Case, "1 to 64 visible characters"))
    }

    fn date(&self) -> Result<When, RowFault> {
        if !self.raw("year").is_empty() {
            return self.date_of_parts();
        }
        let cell = self.required("date")?;
        let formats = self.source("date").map_or(&[] as &[String], |source| source.format.as_slice());
        let when = if formats.is_empty() {
            date::canonical(cell)
        } else {
            formats.iter().find_map(|pattern| date::by_pattern(cell, pattern))
        };
        let when = when.ok_or_else(|| {
            let expected = formats.join(" or ");
            let expected = if formats.is_empty() { "2014-05-17, 2014-05, 2014-Q2 or 2014" } else { expected.as_str() };
            self.fault("date", Rule::Date, format!("not a date of the form {expected}"))
        })?;
        self.not_in_the_future("date", when)
    }

    fn date_of_parts(&self) -> Result<When, RowFault> {
        let part = |field, most| self.whole(field, most).map(|part| part.unwrap_or(0));
        let (year, month, day) = (part("year", 9999)?, part("month", 12)?, part("day", 31)?);
        if month == 0 && day > 0 {
            return Err(self.fault("day", Rule::Date, "a day without its month"));
        }
        let narrow = |number| u8::try_from(number).unwrap_or(0);
        let year = u16::try_from(year).unwrap_or(0);
        self.not_in_the_future("year", When { year, quarter: 0, month: narrow(month), day: narrow(day) })
    }

    fn not_in_the_future(&self, field: &str, when: When) -> Result<When, RowFault> {
        match date::earliest(when) {
            Some(date) if date <= self.reader.latest => Ok(when),
            Some(_) => Err(self.fault(field, Rule::DateFuture, "later than tomorrow")),
            None => Err(self.fault(field, Rule::Date, "not a day of the calendar")),
        }
    }

    fn region(&self) -> Result<(Stated<String>, PlaceRule), RowFault> {
        let places = &self.reader.places;
        if !self.reader.place_index.is_empty() {
            let words = self.reader.place_index.iter().filter_map(|index| self.fields.get(*index)).copied();
            let (code, rule) = places.resolve(words);
            return Ok((code.map_or(Stated::Blank, Stated::Is), rule));
        }
        match self.translated("nuts")?.as_deref() {
            None => Ok((Stated::Blank, PlaceRule::RegionUnknown)),
            Some("unknown") => Ok((Stated::Unknown, PlaceRule::RegionUnknown)),
            Some(code) if places.knows(code) => {
                let rule = if code.len() == 2 { PlaceRule::RegionUnknown } else { PlaceRule::Code };
                Ok((Stated::Is(code.to_owned()), rule))
            }
            Some(code) => {
                let message = format!("not a {} of {}", places.code_name(), self.reader.country);
                Err(self.unknown_word("nuts", Rule::Place, code, message))
            }
        }
    }

    fn unlocode(&self) -> Result<Stated<String>, RowFault> {
        let country = self.reader.country.as_str();
        let form = |code: &str| {
            code.len() == 5
                && code.starts_with(country)
                && code.bytes().skip(2).all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'9').contains(&byte))
        };
        self.stated("unlocode", form).map_err(|fault| RowFault {
            rule: Rule::Place,
            message: format!("not a UN/LOCODE of {country}: five characters, the country first"),
            ..fault
        })
    }

    // Printable ASCII up to a length; there are no other texts in a record.
    fn short_text(&self, field: &str, most: usize) -> Result<Option<String>, RowFault> {
        let text = self.raw(field);
        if text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            Ok((!text.is_empty()).then(|| text.to_owned()))
        } else {
            Err(self.fault(field, Rule::Range, format!("at most {most} printable ASCII characters")))
        }
    }

    pub(super) fn level_rule(&self) -> Result<Stated<String>, RowFault> {
        Ok(match self.short_text("level_rule", 20)? {
            None => Stated::Blank,
            Some(text) if text == "unknown" => Stated::Unknown,
            Some(text) => Stated::Is(text),
        })
    }

    /// A whole number within bounds; absent if the cell is empty.
    pub(super) fn whole(&self, field: &str, most: u64) -> Result<Option<u64>, RowFault> {
        let cell = self.raw(field);
        if cell.is_empty() {
            return Ok(None);
        }
        if !cell.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.fault(field, Rule::Number, "not a whole number"));
        }
        match cell.parse::<u64>() {
            Ok(number) if number <= most => Ok(Some(number)),
            Ok(_) | Err(_) => Err(self.fault(field, Rule::Range, format!("at most {most}"))),
        }
    }

    fn decimal(&self, text: &str) -> Result<Decimal, BadAmount> {
        let mapping = &self.reader.mapping;
        match mapping.thousands {
            // Only as a thousands separator stands: groups of three, never in the fraction.
            Some(separator) if text.contains(separator) => amount::without_thousands(text, separator, mapping.decimal)
                .and_then(|plain| Decimal::parse(&plain, mapping.decimal, mapping.exponent)),
            Some(_) | None => Decimal::parse(text, mapping.decimal, mapping.exponent),
        }
    }

    pub(super) fn bad_amount(&self, field: &str, error: BadAmount) -> RowFault {
        let rule = match error {
            BadAmount::NotDecimal | BadAmount::Fraction => Rule::Number,
            BadAmount::Zero | BadAmount::Range => Rule::Range,
        };
        self.fault(field, rule, error.to_string())
    }

    /// A number of hundredths: at most two decimals.
    pub(super) fn hundredths(&self, field: &str, most: u64) -> Result<Option<u64>, RowFault> {
        let cell = self.raw(field);
        if cell.is_empty() {
            return Ok(None);
        }
        let value = self.decimal(cell).map_err(|error| self.bad_amount(field, error))?;
        // Spreadsheets hold binary fractions (56.199999999999996), so mapped files are rounded.
        let value = if self.reader.mapping.is_canonical() { value.scaled(2) } else { value.hundredths_rounded() };
        match value {
            Ok(number) if number <= most => Ok(Some(number)),
            Ok(_) | Err(BadAmount::Range) => {
                Err(self.fault(field, Rule::Range, format!("at most {}.{:02}", most / 100, most % 100)))
            }
            Err(_) => Err(self.fault(field, Rule::Number, "at most two decimals")),
        }
    }

    /// The drug at the finest level that is stated.
    pub(super) fn drug(&self, drug_field: &str, form_field: &str) -> Result<Option<String>, RowFault> {
        let drugs = &self.reader.lists.drugs;
        let code = match self.translated(drug_field)?.as_deref() {
            None => return Ok(None),
            Some("unknown") => "_U".to_owned(),
            Some(code) => code.to_owned(),
        };
        let at = drugs
            .find(&code)
            .filter(|_| code != "_T")
            .ok_or_else(|| self.unknown_word(drug_field, Rule::Code, &code, "not a code of drugs-1"))?;
        match self.translated(form_field)?.as_deref() {
            None | Some("unknown") => Ok(Some(code)),
            Some(form) => {
                let below = drugs.find(form).filter(|form| {
                    drugs.get(*form).is_some_and(|found| found.level == 3)
                        && drugs.get(at).is_some_and(|drug| drugs.ancestor_at(*form, drug.level) == Some(at))
                });
                below
                    .map(|_| Some(form.to_owned()))
                    .ok_or_else(|| self.unknown_word(form_field, Rule::Code, form, "not a form of that drug"))
            }
        }
    }

    pub(super) fn required_drug(&self) -> Result<String, RowFault> {
        self.drug("drug", "form")?.ok_or_else(|| self.fault("drug", Rule::Required, "must not be empty"))
    }

    /// An amount with its unit; both or neither.
    pub(super) fn amount(&self, amount_field: &str, unit_field: &str) -> Result<Option<Amount>, RowFault> {
        let (value, unit) = (self.raw(amount_field), self.raw(unit_field));
        if value.is_empty() && unit.is_empty() {
            return Ok(None);
        }
        // A unit that the mapping states for all rows says nothing about a row without an amount.
        if value.is_empty() && self.is_constant(unit_field) {
            return Ok(None);
        }
        if unit.is_empty() {
            return Err(self.fault(unit_field, Rule::Unit, "an amount without a unit"));
        }
        let (unit, times) = match self.word(unit_field)? {
            Some(Word::Unit(unit, times)) => (*unit, *times),
            Some(Word::Code(_)) => return Err(self.fault(unit_field, Rule::Unit, "its table holds codes")),
            None => {
                let known = Unit::from_word(unit).ok_or_else(|| {
                    let message = "not a unit: mg g kg t oz lb, tablet dose capsule blotter plant piece, ml l";
                    self.unknown_word(unit_field, Rule::Unit, unit, message)
                })?;
                (known, None)
            }
        };
        if value.is_empty() {
            return Err(self.fault(amount_field, Rule::Required, "a unit without an amount"));
        }
        let fault = |error: BadAmount| self.bad_amount(amount_field, error);
        let value = self.decimal(value).map_err(fault)?;
        amount::amount(value, unit, times).map(Some).map_err(fault)
    }

    /// Whether the mapping states the field for all rows.
    pub(super) fn is_constant(&self, field: &str) -> bool {
        !self.reader.index.contains_key(field) && self.reader.mapping.constants.contains_key(field)
    }

    /// Whether the kind has this field at all in the file or the mapping.
    pub(super) fn has(&self, field: &str) -> bool {
        layout::knows(self.reader.mapping.kind, field)
            && (self.reader.index.contains_key(field) || self.reader.mapping.constants.contains_key(field))
    }
}

/// Whether a required code may be `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Asked and not known is an answer.
    Permitted,
    /// It must be known.
    Refused,
}

/// Whether a text is a record id.
pub fn is_record_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && !id.starts_with('.')
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A record id for what is none: other characters become `-`, and part of the text's hash keeps ids apart that then look alike.
fn rewritten_id(id: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' };
    let head: String = id.chars().take(50).map(plain).collect();
    let Hash(digest) = Hash::of(id.as_bytes());
    format!("{head}-{}", to_hex(digest.get(..6).unwrap_or_default()))
}

/// A case id, folded for comparing; `None` for a text that is none.
pub fn case_id(text: &str) -> Option<String> {
    let folded = fold_case(text);
    (text.chars().count() <= 64 && !folded.is_empty() && !folded.chars().any(char::is_control)).then_some(folded)
}
