//! One row of a file to one line of a seizure.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    code::{self, Tree},
    id::{Hash, to_hex},
    time::Date,
};

use super::{
    RowFault, Rule, date,
    mapping::{FieldSource, Mapping, REPORTING_COUNTRY, SEIZURE_FIELDS, SEIZURE_REQUIRED, Word},
    place::{PlaceRule, Places, is_nuts_of},
};
use crate::domain::{
    amount::{self, Amount, BadAmount, Decimal, Unit},
    record::{Seizure, SeizureLine, Stated, When},
    text::{fold_case, fold_word, shown},
};

/// Headers that look like personal data; a file with one is refused unless the mapping ignores the column.
const PERSONAL: [&str; 22] = [
    "name",
    "surname",
    "first name",
    "last name",
    "family name",
    "full name",
    "birth",
    "birth date",
    "date of birth",
    "born",
    "passport",
    "nationality",
    "suspect",
    "suspect name",
    "address",
    "phone",
    "telephone",
    "e mail",
    "email",
    "plate",
    "gender",
    "person",
];

/// Only rows whose field has this code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    /// The field.
    pub field: String,
    /// The code.
    pub code: String,
}

/// What is wrong with the whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// The rule.
    pub rule: Rule,
    /// The column, if one is meant.
    pub column: Option<String>,
    /// In words.
    pub message: String,
}

/// A reader of rows: a mapping applied to a header, for one country.
#[derive(Debug)]
pub struct RowReader {
    mapping: Mapping,
    country: String,
    columns: Vec<String>,
    index: BTreeMap<String, usize>,
    places: Places,
    place_index: Vec<usize>,
    only: Option<Only>,
    latest: Date,
    lists: Lists,
}

#[derive(Debug)]
struct Lists {
    drugs: std::sync::Arc<Tree>,
    transport: BTreeSet<String>,
    place: BTreeSet<String>,
    concealment: BTreeSet<String>,
    countries: BTreeSet<String>,
}

/// A row that is a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRecord {
    /// The line; its id and case still open where they are made from the row.
    pub line: SeizureLine,
    /// The row's own hash, where ids are made from it: equal rows are one case.
    pub row_hash: Option<String>,
    /// How the place was found.
    pub place_rule: PlaceRule,
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Not asked for.
    NotSelected,
    /// A record.
    Record(Box<RowRecord>),
}

impl RowReader {
    /// Applies a mapping to a header. `country` is the node's, ISO 3166 alpha-2; `today` bounds dates from above.
    pub fn new(
        mapping: Mapping,
        header: &[&str],
        country: &str,
        only: Option<Only>,
        today: Date,
    ) -> Result<Self, FileFault> {
        let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        check_columns(&mapping, &columns)?;
        let position = |name: &str| columns.iter().position(|column| column == name);
        let missing = |name: &str| FileFault {
            rule: Rule::ColumnMissing,
            column: Some(name.to_owned()),
            message: format!("column `{}` is not in the file", shown(name)),
        };
        let mut index = BTreeMap::new();
        for (field, source) in &mapping.fields {
            match position(&source.column) {
                Some(at) => {
                    index.insert(field.clone(), at);
                }
                None if mapping.is_canonical() && !SEIZURE_REQUIRED.contains(&field.as_str()) => {}
                None => return Err(missing(&source.column)),
            }
        }
        let place_index = mapping
            .place_columns
            .iter()
            .map(|name| position(name).ok_or_else(|| missing(name)))
            .collect::<Result<_, _>>()?;
        if let Some(only) = &only
            && !mapping.fields.contains_key(&only.field)
        {
            return Err(FileFault {
                rule: Rule::ColumnMissing,
                column: Some(only.field.clone()),
                message: format!("--only names field `{}`, which this layout does not have", shown(&only.field)),
            });
        }
        let places = Places::new(country, &mapping);
        let latest = Date::from_days(today.to_days() + 1);
        Ok(Self {
            mapping,
            country: country.to_owned(),
            columns,
            index,
            places,
            place_index,
            only,
            latest,
            lists: Lists::new(),
        })
    }

    /// The mapping.
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Reads one row.
    pub fn read(&self, fields: &[&str]) -> Result<Row, RowFault> {
        if fields.len() != self.columns.len() {
            return Err(RowFault {
                rule: Rule::RowSize,
                column: String::new(),
                message: format!("{} fields, the header has {}", fields.len(), self.columns.len()),
                word: None,
            });
        }
        let row = Cells { reader: self, fields };
        if let Some(only) = &self.only
            && row.translated(&only.field)?.as_deref() != Some(only.code.as_str())
        {
            return Ok(Row::NotSelected);
        }
        if self.mapping.fields.contains_key(REPORTING_COUNTRY) {
            let reported = row.translated(REPORTING_COUNTRY)?;
            if reported.as_deref() != Some(self.country.as_str()) {
                let message = format!("the row is another country's; use --only {REPORTING_COUNTRY}={}", self.country);
                return Err(row.fault(REPORTING_COUNTRY, Rule::Country, message));
            }
        }
        row.record().map(|record| Row::Record(Box::new(record)))
    }
}

fn check_columns(mapping: &Mapping, columns: &[String]) -> Result<(), FileFault> {
    let fault = |rule, column: &str, message: String| FileFault { rule, column: Some(shown(column)), message };
    let known: BTreeSet<&str> = mapping
        .fields
        .values()
        .map(|source| source.column.as_str())
        .chain(mapping.ignore.iter().map(String::as_str))
        .chain(mapping.place_columns.iter().map(String::as_str))
        .collect();
    let mut seen = BTreeSet::new();
    for column in columns {
        if !seen.insert(column) {
            return Err(fault(Rule::ColumnDuplicate, column, format!("column `{}` stands twice", shown(column))));
        }
        let ignored = mapping.is_canonical() && column.starts_with("x_");
        if known.contains(column.as_str()) || ignored {
            continue;
        }
        if PERSONAL.contains(&fold_word(column).as_str()) {
            let message = format!(
                "column `{}` looks like personal data, which Accord does not take; remove it, or list it under `ignore` in a mapping",
                shown(column)
            );
            return Err(fault(Rule::Personal, column, message));
        }
        let known: Vec<&str> = known.iter().copied().collect();
        let near = accord_protocol::question::nearest(column, known.into_iter());
        let hint = if near.is_empty() { String::new() } else { format!("; near: {}", near.join(", ")) };
        return Err(fault(Rule::ColumnUnknown, column, format!("column `{}` is not known{hint}", shown(column))));
    }
    Ok(())
}

impl Lists {
    fn new() -> Self {
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

/// One row's cells by field.
struct Cells<'a> {
    reader: &'a RowReader,
    fields: &'a [&'a str],
}

impl Cells<'_> {
    fn source(&self, field: &str) -> Option<&FieldSource> {
        self.reader.mapping.fields.get(field)
    }

    fn fault(&self, field: &str, rule: Rule, message: impl Into<String>) -> RowFault {
        let column = self.source(field).map_or(field, |source| source.column.as_str()).to_owned();
        RowFault { rule, column, message: message.into(), word: None }
    }

    // The cell as it stands, trimmed; the mapping's constant where there is no column; empty where there is neither.
    fn raw(&self, field: &str) -> &str {
        match self.reader.index.get(field).and_then(|index| self.fields.get(*index)) {
            Some(cell) => cell.trim(),
            None => self.reader.mapping.constants.get(field).map_or("", String::as_str),
        }
    }

    fn word(&self, field: &str) -> Result<Option<&Word>, RowFault> {
        let cell = self.raw(field);
        let Some(table) = self.source(field).and_then(|source| source.table.as_ref()) else { return Ok(None) };
        if cell.is_empty() {
            return Ok(None);
        }
        let table = self.reader.mapping.tables.get(table);
        let meaning = table.and_then(|table| table.get(&fold_word(cell)));
        meaning.map(Some).ok_or_else(|| {
            let rule = if field == "unit" { Rule::Unit } else { Rule::Code };
            let mut fault = self.fault(field, rule, "a word that the mapping does not know");
            fault.word = Some(shown(cell));
            fault
        })
    }

    // The cell's code: through the word table if there is one; `None` for a blank cell.
    fn translated(&self, field: &str) -> Result<Option<String>, RowFault> {
        let cell = self.raw(field);
        if cell.is_empty() {
            return Ok(None);
        }
        match self.word(field)? {
            Some(Word::Code(code)) => Ok(Some(code.clone())),
            Some(Word::Unit(..)) => Err(self.fault(field, Rule::Code, "its table holds units")),
            None => Ok(Some(cell.to_owned())),
        }
    }

    fn stated(&self, field: &str, known: impl Fn(&str) -> bool) -> Result<Stated<String>, RowFault> {
        match self.translated(field)?.as_deref() {
            None => Ok(Stated::Blank),
            Some("unknown") => Ok(Stated::Unknown),
            // Where there can have been none, the list says so.
            Some("none") if known("none") => Ok(Stated::Nothing),
            Some(code) if known(code) => Ok(Stated::Is(code.to_owned())),
            Some(code) => {
                let mut fault = self.fault(field, Rule::Code, "not in the code list");
                fault.word = Some(shown(code));
                Err(fault)
            }
        }
    }

    fn among(&self, field: &str, known: &[&str]) -> Result<Stated<String>, RowFault> {
        self.stated(field, |code| known.contains(&code))
    }

    fn required(&self, field: &str) -> Result<&str, RowFault> {
        let cell = self.raw(field);
        if cell.is_empty() { Err(self.fault(field, Rule::Required, "must not be empty")) } else { Ok(cell) }
    }

    fn yes_no(&self, field: &str) -> Result<Stated<bool>, RowFault> {
        match self.among(field, &["yes", "no"])? {
            Stated::Is(word) => Ok(Stated::Is(word == "yes")),
            Stated::Unknown => Ok(Stated::Unknown),
            Stated::Blank => Ok(Stated::Blank),
            Stated::Nothing => Err(self.fault(field, Rule::Code, "`yes`, `no` or `unknown`")),
        }
    }

    fn country(&self, field: &str) -> Result<Stated<String>, RowFault> {
        // `other` comes from word tables alone: territories and groups of countries without a code of their own.
        let through_table = self.source(field).is_some_and(|source| source.table.is_some());
        self.stated(field, |code| self.reader.lists.countries.contains(code) || (through_table && code == "other"))
    }

    fn countries(&self, field: &str) -> Result<Stated<Vec<String>>, RowFault> {
        let cell = self.raw(field);
        match cell {
            "" => return Ok(Stated::Blank),
            "unknown" => return Ok(Stated::Unknown),
            "none" => return Ok(Stated::Nothing),
            _ => {}
        }
        let codes: Vec<String> = cell.split(';').map(|code| code.trim().to_owned()).collect();
        if codes.len() > 5 {
            return Err(self.fault(field, Rule::Range, "at most five countries"));
        }
        match codes.iter().find(|code| !self.reader.lists.countries.contains(*code)) {
            None => Ok(Stated::Is(codes)),
            Some(code) => {
                let mut fault = self.fault(field, Rule::Code, "not an ISO 3166 alpha-2 code");
                fault.word = Some(shown(code));
                Err(fault)
            }
        }
    }

    fn record(&self) -> Result<RowRecord, RowFault> {
        let mapping = &self.reader.mapping;
        let row_hash = mapping.id_from_row.then(|| {
            let Hash(digest) = Hash::of(self.fields.join("\u{1f}").as_bytes());
            to_hex(digest.get(..10).unwrap_or_default())
        });
        let record_id = match &row_hash {
            Some(hash) => format!("x-{hash}"),
            None => self.id("record_id")?,
        };
        let case_id = if mapping.one_case_per_record { fold_case(&record_id) } else { self.case()? };
        let (nuts, place_rule) = self.place()?;
        let seizure = Seizure {
            record_id,
            case_id,
            date: self.date()?,
            nuts,
            unlocode: self.unlocode()?,
            agency: self.among("agency", &["police", "customs", "coast_guard", "gendarmerie", "military", "other"])?,
            source: self.source_word()?,
            status: match self.among("status", &["provisional", "confirmed"])? {
                Stated::Is(status) => status,
                Stated::Blank => "confirmed".to_owned(),
                Stated::Unknown | Stated::Nothing => {
                    return Err(self.fault("status", Rule::Code, "`provisional` or `confirmed`"));
                }
            },
            transport: self.stated("transport", |code| self.reader.lists.transport.contains(code))?,
            place_type: self.stated("place_type", |code| self.reader.lists.place.contains(code))?,
            concealment: self.stated("concealment", |code| self.reader.lists.concealment.contains(code))?,
            direction: self.among("direction", &["import", "export", "transit", "internal"])?,
            departure: self.country("departure")?,
            destination: self.country("destination")?,
            transit: self.countries("transit")?,
            market_level: self.among("market_level", &["wholesale", "mid", "retail"])?,
            level_rule: self.level_rule()?,
            controlled_delivery: self.yes_no("controlled_delivery")?,
            joint_operation: self.yes_no("joint_operation")?,
            joint_with: self.countries("joint_with")?,
        };
        let line = SeizureLine {
            seizure,
            line: self.line_number()?,
            drug: self.drug()?,
            amount: self.amount()?,
            quantity_kind: match self.among("quantity_kind", &["gross", "net", "carrier"])? {
                Stated::Is(kind) => kind,
                Stated::Unknown => "unknown".to_owned(),
                Stated::Blank => return Err(self.fault("quantity_kind", Rule::Required, "must not be empty")),
                Stated::Nothing => return Err(self.fault("quantity_kind", Rule::Code, "not in the code list")),
            },
        };
        Ok(RowRecord { line, row_hash, place_rule })
    }

    fn id(&self, field: &str) -> Result<String, RowFault> {
        let id = self.required(field)?;
        let fits = id.len() <= 64
            && !id.starts_with('.')
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if fits {
            Ok(id.to_owned())
        } else {
            Err(self.fault(field, Rule::Id, "1 to 64 letters, digits, `.`, `_` or `-`, no dot first"))
        }
    }

    fn case(&self) -> Result<String, RowFault> {
        let case = self.required("case_id")?;
        let folded = fold_case(case);
        if case.chars().count() > 64 || folded.is_empty() || folded.chars().any(char::is_control) {
            return Err(self.fault("case_id", Rule::Case, "1 to 64 visible characters"));
        }
        Ok(folded)
    }

    fn date(&self) -> Result<When, RowFault> {
        let cell = self.required("date")?;
        let format = self.source("date").and_then(|source| source.format.as_deref());
        let when = match format {
            Some(pattern) => date::by_pattern(cell, pattern),
            None => date::canonical(cell),
        };
        let expected = format.unwrap_or("2014-05-17, 2014-05, 2014-Q2 or 2014");
        let when = when.ok_or_else(|| self.fault("date", Rule::Date, format!("not a date of the form {expected}")))?;
        match date::earliest(when) {
            Some(date) if date <= self.reader.latest => Ok(when),
            Some(_) => Err(self.fault("date", Rule::DateFuture, "later than tomorrow")),
            None => Err(self.fault("date", Rule::Date, "not a day of the calendar")),
        }
    }

    fn place(&self) -> Result<(Stated<String>, PlaceRule), RowFault> {
        if !self.reader.place_index.is_empty() {
            let words = self.reader.place_index.iter().filter_map(|index| self.fields.get(*index)).copied();
            let (code, rule) = self.reader.places.resolve(words);
            return Ok((code.map_or(Stated::Blank, Stated::Is), rule));
        }
        match self.translated("nuts")?.as_deref() {
            None => Ok((Stated::Blank, PlaceRule::RegionUnknown)),
            Some("unknown") => Ok((Stated::Unknown, PlaceRule::RegionUnknown)),
            Some(code) if is_nuts_of(code, &self.reader.country) => {
                let rule = if code.len() == 2 { PlaceRule::RegionUnknown } else { PlaceRule::Code };
                Ok((Stated::Is(code.to_owned()), rule))
            }
            Some(code) => {
                let message = format!("not a NUTS 2021 code of {}", self.reader.country);
                let mut fault = self.fault("nuts", Rule::Place, message);
                fault.word = Some(shown(code));
                Err(fault)
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

    fn source_word(&self) -> Result<String, RowFault> {
        let source = self.required("source")?;
        let fits = source.len() <= 40 && source.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if fits {
            Ok(source.to_owned())
        } else {
            Err(self.fault("source", Rule::Range, "at most 40 printable ASCII characters"))
        }
    }

    fn level_rule(&self) -> Result<Stated<String>, RowFault> {
        self.stated("level_rule", |text| {
            text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        })
        .map_err(|fault| RowFault {
            rule: Rule::Range,
            message: "at most 20 printable ASCII characters".into(),
            word: None,
            ..fault
        })
    }

    fn line_number(&self) -> Result<u8, RowFault> {
        let cell = self.raw("line");
        if cell.is_empty() && !self.reader.index.contains_key("line") {
            return Ok(1);
        }
        let digits = !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
        cell.parse::<u8>().ok().filter(|line| digits && (1..=50).contains(line)).ok_or_else(|| {
            self.fault("line", if digits { Rule::Range } else { Rule::Number }, "a whole number from 1 to 50")
        })
    }

    fn drug(&self) -> Result<String, RowFault> {
        let drugs = &self.reader.lists.drugs;
        let code = match self.translated("drug")?.as_deref() {
            None => return Err(self.fault("drug", Rule::Required, "must not be empty")),
            Some("unknown") => "_U".to_owned(),
            Some(code) => code.to_owned(),
        };
        let unknown = |field: &str, code: &str, message: &str| {
            let mut fault = self.fault(field, Rule::Code, message);
            fault.word = Some(shown(code));
            fault
        };
        let at = drugs
            .find(&code)
            .filter(|_| code != "_T")
            .ok_or_else(|| unknown("drug", &code, "not a code of drugs-1"))?;
        match self.translated("form")?.as_deref() {
            None | Some("unknown") => Ok(code),
            Some(form) => {
                let below = drugs.find(form).filter(|form| {
                    drugs.get(*form).is_some_and(|found| found.level == 3)
                        && drugs.get(at).is_some_and(|drug| drugs.ancestor_at(*form, drug.level) == Some(at))
                });
                below.map(|_| form.to_owned()).ok_or_else(|| unknown("form", form, "not a form of that drug"))
            }
        }
    }

    fn amount(&self) -> Result<Option<Amount>, RowFault> {
        let (value, unit) = (self.raw("amount"), self.raw("unit"));
        if value.is_empty() && unit.is_empty() {
            return Ok(None);
        }
        if unit.is_empty() {
            return Err(self.fault("unit", Rule::Unit, "an amount without a unit"));
        }
        let (unit, times) = match self.word("unit")? {
            Some(Word::Unit(unit, times)) => (*unit, *times),
            Some(Word::Code(_)) => return Err(self.fault("unit", Rule::Unit, "its table holds codes")),
            None => {
                let known = Unit::from_word(unit).ok_or_else(|| {
                    let mut fault = self.fault(
                        "unit",
                        Rule::Unit,
                        "not a unit: mg g kg t oz lb, tablet dose capsule blotter plant piece, ml l",
                    );
                    fault.word = Some(shown(unit));
                    fault
                })?;
                (known, None)
            }
        };
        if value.is_empty() {
            return Err(self.fault("amount", Rule::Required, "a unit without an amount"));
        }
        let fault = |error: BadAmount| {
            let rule = match error {
                BadAmount::NotDecimal | BadAmount::Fraction => Rule::Number,
                BadAmount::Zero | BadAmount::Range => Rule::Range,
            };
            self.fault("amount", rule, error.to_string())
        };
        let value = Decimal::parse(value, self.reader.mapping.decimal, self.reader.mapping.exponent).map_err(fault)?;
        amount::amount(value, unit, times).map(Some).map_err(fault)
    }
}

/// Every field of the canonical layout with whether it must be there, for the documents.
pub fn canonical_columns() -> impl Iterator<Item = (&'static str, bool)> {
    SEIZURE_FIELDS.into_iter().map(|field| (field, SEIZURE_REQUIRED.contains(&field)))
}
