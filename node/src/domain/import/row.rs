//! A mapping applied to a header: the reader that turns rows into records of its kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use accord_protocol::{
    catalogue::Kind,
    id::{Hash, to_hex},
    layout,
    time::Date,
};

use super::{
    RowFault, Rule,
    cells::{Cells, Lists},
    mapping::{Mapping, REPORTING_COUNTRY},
    place::{PlaceRule, Places},
};
use crate::domain::{rates::Rates, record::Line};
use accord_protocol::text::{fold_word, shown};

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
    pub(super) mapping: Mapping,
    pub(super) country: String,
    columns: Vec<String>,
    pub(super) index: BTreeMap<String, usize>,
    pub(super) places: Places,
    pub(super) place_index: Vec<usize>,
    only: Option<Only>,
    pub(super) latest: Date,
    pub(super) lists: Lists,
    pub(super) rates: Arc<Rates>,
}

/// Whose file is read, and when.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The node's country, ISO 3166 alpha-2.
    pub country: String,
    /// Only these rows.
    pub only: Option<Only>,
    /// Today, which bounds dates from above.
    pub today: Date,
    /// Euro reference rates, for prices in other currencies.
    pub rates: Arc<Rates>,
}

/// A row that is a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRecord {
    /// The line; its id and case still open where they are made from the row.
    pub line: Line,
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
    /// Applies a mapping to a header.
    pub fn new(mapping: Mapping, header: &[&str], reading: Reading) -> Result<Self, FileFault> {
        let Reading { country, only, today, rates } = reading;
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
                None if mapping.is_canonical() && !layout::needs(mapping.kind, field) => {}
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
        let places = Places::new(&country, &mapping);
        let latest = Date::from_days(today.to_days() + 1);
        Ok(Self { mapping, country, columns, index, places, place_index, only, latest, lists: Lists::new(), rates })
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
        self.record(&row).map(|record| Row::Record(Box::new(record)))
    }
}

impl RowReader {
    fn record(&self, row: &Cells<'_>) -> Result<RowRecord, RowFault> {
        let row_hash = self.mapping.id_from_row.then(|| {
            let Hash(digest) = Hash::of(row.fields.join("\u{1f}").as_bytes());
            to_hex(digest.get(..10).unwrap_or_default())
        });
        let (common, place_rule) = row.common(row_hash.as_deref())?;
        let line = match self.mapping.kind {
            Kind::Seizure => row.seizure(common)?,
            Kind::Purity => row.purity(common)?,
            Kind::Price => row.price(common)?,
            Kind::Site => row.site(common)?,
            // No mapping and no canonical layout is of this kind.
            Kind::Profile => return Err(row.fault("", Rule::Code, "chemical profiles have no layout yet")),
        };
        Ok(RowRecord { line, row_hash, place_rule })
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
