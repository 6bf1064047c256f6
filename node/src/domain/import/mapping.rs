//! Mappings: how a file that is not in the canonical layout is read. A file in TOML that people write.

use std::collections::BTreeMap;

use accord_protocol::{catalogue::Kind, code, id::Hash, layout};
use serde::Deserialize;

use crate::domain::amount::{Decimal, Unit};
use accord_protocol::text::fold_word;

/// The mappings that ship, by name.
pub const SHIPPED: [(&str, &str); 3] = [
    ("unodc-ids", include_str!("../../../mappings/unodc-ids.toml")),
    ("dea-stride-purity", include_str!("../../../mappings/dea-stride-purity.toml")),
    ("dea-stride-price", include_str!("../../../mappings/dea-stride-price.toml")),
];

/// A mapping that was read and checked.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its text.
    pub sha256: Hash,
    /// Kind of record.
    pub kind: Kind,
    /// Whose data it reads, to be shown where figures are shown.
    pub acknowledgement: Option<String>,
    /// Field separator.
    pub delimiter: u8,
    /// Decimal sign.
    pub decimal: char,
    /// Thousands separator, if there is one.
    pub thousands: Option<char>,
    /// Whether numbers such as `9e-05` occur.
    pub exponent: bool,
    /// Whether each record is its own case, because the file has no case column.
    pub one_case_per_record: bool,
    /// Whether ids are made from the rows, because the file has no id column.
    pub id_from_row: bool,
    /// Columns that are read past.
    pub ignore: Vec<String>,
    /// Field to column.
    pub fields: BTreeMap<String, FieldSource>,
    /// Columns with words for the place, in the order in which they are tried.
    pub place_columns: Vec<String>,
    /// Fields with one value for all rows.
    pub constants: BTreeMap<String, String>,
    /// Word tables, words folded.
    pub tables: BTreeMap<String, BTreeMap<String, Word>>,
    /// Place words by country, folded, to NUTS codes.
    pub aliases: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSource {
    /// The column.
    pub column: String,
    /// The word table that its words go through.
    pub table: Option<String>,
    /// The date patterns, tried in this order.
    #[serde(default, deserialize_with = "one_or_more")]
    pub format: Vec<String>,
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Formats {
        One(String),
        More(Vec<String>),
    }
    Ok(match Formats::deserialize(deserializer)? {
        Formats::One(format) => vec![format],
        Formats::More(formats) => formats,
    })
}

impl FieldSource {
    fn is_undecided(&self) -> bool {
        self.column == UNDECIDED || self.format.iter().any(|format| format == UNDECIDED)
    }
}

/// What a word of the file means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A code.
    Code(String),
    /// A unit, times a factor.
    Unit(Unit, Option<Decimal>),
}

/// Why a text is not a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Not TOML of the expected form; the message names line and column.
    #[error("{0}")]
    Syntax(String),
    /// No mapping of that name ships.
    #[error("no mapping is named `{0}`")]
    Unknown(String),
    /// A rule is broken.
    #[error("[{section}] `{entry}`: {rule}")]
    Rule {
        /// The section.
        section: String,
        /// The entry.
        entry: String,
        /// What is wrong.
        rule: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    version: u32,
    kind: String,
    #[serde(default)]
    description: String,
    acknowledgement: Option<String>,
    #[serde(default = "comma")]
    delimiter: String,
    #[serde(default = "point")]
    decimal: String,
    thousands: Option<String>,
    #[serde(default)]
    exponent: bool,
    /// What the tool needs to turn the file into rows; the node has no use for it.
    #[serde(default, rename = "file")]
    _file: Option<toml::Table>,
    case: Option<String>,
    id: Option<String>,
    #[serde(default)]
    ignore: Vec<String>,
    fields: BTreeMap<String, FieldSource>,
    #[serde(default)]
    place: RawPlace,
    #[serde(default)]
    constants: BTreeMap<String, String>,
    #[serde(default)]
    tables: BTreeMap<String, BTreeMap<String, RawWord>>,
    #[serde(default)]
    aliases: BTreeMap<String, BTreeMap<String, String>>,
}

fn broken(section: &str, entry: &str, rule: &str) -> MappingError {
    MappingError::Rule { section: section.to_owned(), entry: entry.to_owned(), rule: rule.to_owned() }
}

impl Raw {
    // Whether every field exists, is decided, and none that a record needs is missing.
    fn check_fields(&self, kind: Kind, id_from_row: bool, one_case_per_record: bool) -> Result<(), MappingError> {
        for (section, name) in
            self.fields.keys().map(|name| ("fields", name)).chain(self.constants.keys().map(|name| ("constants", name)))
        {
            if !layout::knows(kind, name) && name != REPORTING_COUNTRY && !DATE_PARTS.contains(&name.as_str()) {
                let rule = format!("a {kind} record has no such field");
                return Err(broken(section, name, &rule));
            }
        }
        if let Some((name, _)) = self.constants.iter().find(|(_, value)| value.as_str() == UNDECIDED) {
            return Err(broken("constants", name, STILL_OPEN));
        }
        if let Some((name, _)) = self.fields.iter().find(|(_, source)| source.is_undecided()) {
            return Err(broken("fields", name, STILL_OPEN));
        }
        let has = |field: &str| self.fields.contains_key(field) || self.constants.contains_key(field);
        for field in layout::fields(kind).iter().filter(|field| field.required).map(|field| field.name) {
            let made = (field == "record_id" && id_from_row)
                || (field == "case_id" && one_case_per_record)
                || (field == "date" && has("year"))
                // A file without line numbers has one line for each record.
                || field == "line";
            if !made && !has(field) {
                return Err(broken("fields", field, "needed, as a field or a constant"));
            }
        }
        for (name, source) in &self.fields {
            if let Some(table) = &source.table
                && !self.tables.contains_key(table)
            {
                return Err(broken("fields", name, "its table does not exist"));
            }
        }
        Ok(())
    }
}

fn comma() -> String {
    ",".into()
}

fn point() -> String {
    "point".into()
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlace {
    columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawWord {
    Code(String),
    Unit { unit: String, times: Option<String> },
}

/// Fields that only mappings have, for files that state a date in parts: whole numbers, of which the year is needed.
pub const DATE_PARTS: [&str; 3] = ["year", "month", "day"];
/// What stands in a mapping where a person still has to decide.
pub const UNDECIDED: &str = "?";
const STILL_OPEN: &str = "still to be decided: `?`";
/// The one field that only mappings have: whose row it is.
pub const REPORTING_COUNTRY: &str = "reporting_country";

impl Mapping {
    /// A mapping that ships.
    pub fn shipped(name: &str) -> Result<Self, MappingError> {
        let (_, text) =
            SHIPPED.iter().find(|(known, _)| *known == name).ok_or_else(|| MappingError::Unknown(name.to_owned()))?;
        Self::parse(text)
    }

    /// The canonical layout of a kind: every column is called like its field. `None` for a kind that cannot be imported.
    pub fn canonical(kind: Kind) -> Option<Self> {
        let fields: BTreeMap<String, FieldSource> = layout::fields(kind)
            .iter()
            .map(|field| {
                let name = field.name.to_owned();
                (name.clone(), FieldSource { column: name, table: None, format: Vec::new() })
            })
            .collect();
        if fields.is_empty() {
            return None;
        }
        Some(Self {
            name: "canonical".into(),
            version: 1,
            sha256: Hash::ZERO,
            kind,
            acknowledgement: None,
            delimiter: b',',
            decimal: '.',
            thousands: None,
            exponent: false,
            one_case_per_record: false,
            id_from_row: false,
            ignore: Vec::new(),
            fields,
            place_columns: Vec::new(),
            constants: BTreeMap::new(),
            tables: BTreeMap::new(),
            aliases: BTreeMap::new(),
        })
    }

    /// Whether this is the canonical layout, in which optional columns may be missing and `x_` columns are ignored.
    pub fn is_canonical(&self) -> bool {
        self.sha256 == Hash::ZERO
    }

    /// Reads and checks a mapping.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let raw: Raw = toml::from_str(text).map_err(|error| MappingError::Syntax(error.to_string()))?;
        let _ = raw.description;
        let kind = Kind::from_word(&raw.kind).ok_or_else(|| broken("", "kind", "not a kind of record"))?;
        let delimiter = match raw.delimiter.as_bytes() {
            [byte] if byte.is_ascii() && *byte != b'"' && *byte != b'\n' => *byte,
            _ => return Err(broken("", "delimiter", "one ASCII character")),
        };
        let decimal = match raw.decimal.as_str() {
            "point" => '.',
            "comma" => ',',
            _ => return Err(broken("", "decimal", "`point` or `comma`")),
        };
        let thousands = match raw.thousands.as_deref().map(|text| text.chars().collect::<Vec<_>>()) {
            None => None,
            Some(separator) => match separator.as_slice() {
                [separator] if !separator.is_ascii_digit() && *separator != decimal => Some(*separator),
                _ => return Err(broken("", "thousands", "one character, not the decimal sign")),
            },
        };
        let one_case_per_record = match raw.case.as_deref() {
            None => false,
            Some("one-per-record") => true,
            Some(_) => return Err(broken("", "case", "`one-per-record`, or leave it out and map case_id")),
        };
        let id_from_row = match raw.id.as_deref() {
            None => false,
            Some("row-hash") => true,
            Some(_) => return Err(broken("", "id", "`row-hash`, or leave it out and map record_id")),
        };
        raw.check_fields(kind, id_from_row, one_case_per_record)?;
        Ok(Self {
            name: raw.name,
            version: raw.version,
            sha256: Hash::of(text.as_bytes()),
            kind,
            acknowledgement: raw.acknowledgement,
            delimiter,
            decimal,
            thousands,
            exponent: raw.exponent,
            one_case_per_record,
            id_from_row,
            ignore: raw.ignore,
            fields: raw.fields,
            place_columns: raw.place.columns,
            constants: raw.constants,
            tables: tables(raw.tables)?,
            aliases: aliases(raw.aliases)?,
        })
    }
}

/// One place of a mapping where a person still has to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPoint {
    /// The section, `tables.drugs`.
    pub section: String,
    /// The entry, as it stands in the file.
    pub entry: String,
}

/// Every place of a mapping where `?` still stands, in the order of the sections. An error for what is no TOML of this form.
pub fn open_points(text: &str) -> Result<Vec<OpenPoint>, MappingError> {
    let raw: Raw = toml::from_str(text).map_err(|error| MappingError::Syntax(error.to_string()))?;
    let point = |section: String, entry: &str| OpenPoint { section, entry: entry.to_owned() };
    let fields = raw.fields.iter().filter(|(_, source)| source.is_undecided());
    let constants = raw.constants.iter().filter(|(_, value)| value.as_str() == UNDECIDED);
    let words = raw.tables.iter().flat_map(|(name, words)| {
        words
            .iter()
            .filter(|(_, meaning)| matches!(meaning, RawWord::Code(code) if code == UNDECIDED))
            .map(move |(word, _)| point(format!("tables.{name}"), word))
    });
    Ok(fields
        .map(|(name, _)| point("fields".into(), name))
        .chain(constants.map(|(name, _)| point("constants".into(), name)))
        .chain(words)
        .collect())
}

fn tables(
    raw: BTreeMap<String, BTreeMap<String, RawWord>>,
) -> Result<BTreeMap<String, BTreeMap<String, Word>>, MappingError> {
    let mut tables = BTreeMap::new();
    for (name, words) in raw {
        let mut table = BTreeMap::new();
        for (word, meaning) in words {
            let broken = |rule: &str| MappingError::Rule {
                section: format!("tables.{name}"),
                entry: word.clone(),
                rule: rule.to_owned(),
            };
            let meaning = match meaning {
                RawWord::Code(code) if code == UNDECIDED => return Err(broken(STILL_OPEN)),
                RawWord::Code(code) => Word::Code(code),
                RawWord::Unit { unit, times } => {
                    let unit = Unit::from_word(&unit).ok_or_else(|| broken("no such unit"))?;
                    let times = times
                        .map(|times| {
                            Decimal::parse(&times, '.', false)
                                .map_err(|_| broken("`times` is a decimal number in quotes"))
                        })
                        .transpose()?;
                    Word::Unit(unit, times)
                }
            };
            // Two spellings of one word may stand in the table if they mean the same.
            if table.insert(fold_word(&word), meaning.clone()).is_some_and(|before| before != meaning) {
                return Err(broken("another spelling of this word has another meaning"));
            }
        }
        tables.insert(name, table);
    }
    Ok(tables)
}

fn aliases(
    raw: BTreeMap<String, BTreeMap<String, String>>,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, MappingError> {
    let mut aliases = BTreeMap::new();
    for (country, words) in raw {
        let mut table = BTreeMap::new();
        for (word, code) in words {
            let known = code::nuts().iter().any(|region| region.country == country && region.code == code)
                || code::subdivisions().iter().any(|part| part.country() == country && part.code == code);
            if !known {
                let rule = format!("`{code}` is no region of {country} in NUTS 2021 or ISO 3166-2");
                return Err(MappingError::Rule { section: format!("aliases.{country}"), entry: word, rule });
            }
            table.insert(fold_word(&word), code);
        }
        aliases.insert(country, table);
    }
    Ok(aliases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mapping_that_ships_is_whole() {
        for (name, _) in SHIPPED {
            let mapping = Mapping::shipped(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(mapping.name, name);
            let drugs = code::tree("drugs-1", "ES").unwrap();
            for (word, meaning) in mapping.tables.get("drugs").into_iter().flatten() {
                assert!(matches!(meaning, Word::Code(code) if drugs.find(code).is_some()), "{word}");
            }
        }
        assert!(matches!(Mapping::shipped("nobody"), Err(MappingError::Unknown(_))));
    }

    #[test]
    fn a_mapping_that_breaks_a_rule_is_refused_with_the_place() {
        let (_, text) = SHIPPED[0];
        for (from, to, want) in [
            ("kind = \"seizure\"", "kind = \"seizures\"", "not a kind"),
            ("case = \"one-per-record\"", "", "case_id"),
            ("table = \"drugs\"", "table = \"dregs\"", "table does not exist"),
            ("\"Kilogram\" = { unit = \"kg\" }", "\"Kilogram\" = { unit = \"kgs\" }", "no such unit"),
            ("\"2C-B\" = \"NPS_PHENETHYLAMINE\"", "\"2C-B\" = \"?\"", "still to be decided"),
            ("version = 1", "vversion = 1", "vversion"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Mapping::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
