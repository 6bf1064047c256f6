//! All rows of one file: which are new, which are there already, which contradict.

use std::collections::{HashMap, HashSet};

use accord_protocol::id::Hash;

use super::{
    RowFault, Rule,
    place::PlaceRule,
    report::{ERRORS_MAX, ErrorLine, Report, Tally},
    row::{Row, RowReader, RowRecord},
};
use crate::domain::{
    amount::Amount,
    record::{Seizure, SeizureLine, When},
};

/// A short digest: 128 bits are enough to tell an agency's own records apart.
pub type Digest = [u8; 16];

/// What the store holds already, by digests: enough to recognise records without reading them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    lines: HashMap<Digest, Digest>,
    seizures: HashMap<Digest, Digest>,
}

impl Index {
    /// Remembers a stored line.
    pub fn insert(&mut self, line: &SeizureLine) {
        let keys = Keys::of(line);
        self.lines.insert(keys.line, keys.line_content);
        self.seizures.insert(keys.seizure, keys.seizure_content);
    }

    /// Takes over what a committed import has added.
    pub fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.seizures.extend(other.seizures);
    }

    /// How many lines are known.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

struct Keys {
    line: Digest,
    line_content: Digest,
    seizure: Digest,
    seizure_content: Digest,
}

fn digest(bytes: &[u8]) -> Digest {
    let Hash(full) = Hash::of(bytes);
    full.first_chunk().copied().unwrap_or_default()
}

impl Keys {
    fn of(line: &SeizureLine) -> Self {
        let id = line.seizure.record_id.as_bytes();
        let seizure_content = content(&line.seizure);
        let rest = format!("{}\u{1f}{}\u{1f}{:?}\u{1f}{}", line.line, line.drug, line.amount, line.quantity_kind);
        Self {
            line: digest(&[id, &[0, line.line]].concat()),
            line_content: digest(&[seizure_content.as_slice(), rest.as_bytes()].concat()),
            seizure: digest(id),
            seizure_content,
        }
    }
}

fn content(seizure: &Seizure) -> Digest {
    // The debug form names every field and quotes every text, so that no two different seizures read the same.
    digest(format!("{seizure:?}").as_bytes())
}

/// What becomes of one good row.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To be stored.
    New(Box<SeizureLine>),
    /// There already.
    Unchanged,
    /// Not asked for, or bad: nothing to store.
    Nothing,
}

/// Takes rows one by one and keeps the counts.
#[derive(Debug)]
pub struct Staging<'a> {
    reader: &'a RowReader,
    stored: &'a Index,
    added: Index,
    row_hashes: HashMap<String, u32>,
    records: HashSet<Digest>,
    cases: HashSet<Digest>,
    report: Report,
    tally: Tally,
    seen: Option<(When, When)>,
}

impl<'a> Staging<'a> {
    /// Starts with an empty report.
    pub fn new(reader: &'a RowReader, stored: &'a Index) -> Self {
        let mut report = Report::default();
        report.cases.one_per_row = reader.mapping().one_case_per_record;
        Self {
            reader,
            stored,
            added: Index::default(),
            row_hashes: HashMap::new(),
            records: HashSet::new(),
            cases: HashSet::new(),
            report,
            tally: Tally::default(),
            seen: None,
        }
    }

    /// Takes one row; `line` is the physical line where it starts.
    pub fn row(&mut self, fields: &[&str], line: u64) -> Outcome {
        self.report.rows.read += 1;
        match self.reader.read(fields) {
            Ok(Row::NotSelected) => {
                self.report.rows.not_selected += 1;
                Outcome::Nothing
            }
            Ok(Row::Record(record)) => {
                self.report.rows.selected += 1;
                self.record(*record, line)
            }
            Err(fault) => {
                self.report.rows.selected += 1;
                self.fault(&fault, line);
                Outcome::Nothing
            }
        }
    }

    /// Takes a row that could not even be split into fields.
    pub fn broken(&mut self, fault: &RowFault, line: u64) {
        self.report.rows.read += 1;
        self.report.rows.selected += 1;
        self.fault(fault, line);
    }

    fn fault(&mut self, fault: &RowFault, line: u64) {
        let rows = &mut self.report.rows;
        match fault.rule {
            Rule::Conflict => rows.conflict += 1,
            Rule::Empty
            | Rule::ColumnMissing
            | Rule::ColumnDuplicate
            | Rule::ColumnUnknown
            | Rule::Encoding
            | Rule::Quote
            | Rule::RowSize
            | Rule::Required
            | Rule::Id
            | Rule::Case
            | Rule::Date
            | Rule::DateFuture
            | Rule::Number
            | Rule::Range
            | Rule::Unit
            | Rule::Code
            | Rule::Place
            | Rule::Country
            | Rule::Personal
            | Rule::FileChanged => {
                rows.skipped += 1;
                self.tally.skip(fault.rule.as_str(), &fault.column);
            }
        }
        if let Some(word) = &fault.word {
            self.tally.word(&fault.column, word);
        }
        self.report.errors_total += 1;
        if self.report.errors.len() < ERRORS_MAX {
            self.report.errors.push(ErrorLine {
                line,
                row: self.report.rows.read,
                column: fault.column.clone(),
                rule: fault.rule.to_string(),
                message: fault.message.clone(),
            });
        }
    }

    fn record(&mut self, mut record: RowRecord, at: u64) -> Outcome {
        if let Some(hash) = &record.row_hash {
            // Equal rows are told apart by how many equal ones stand before them, and are one case.
            let before = self.row_hashes.entry(hash.clone()).or_default();
            if *before > 0 {
                self.report.exact_duplicates += 1;
            }
            record.line.seizure.record_id = format!("x-{hash}-{before}");
            *before += 1;
        }
        let keys = Keys::of(&record.line);
        let known = |map: fn(&Index) -> &HashMap<Digest, Digest>, key: &Digest| {
            map(&self.added).get(key).or_else(|| map(self.stored).get(key)).copied()
        };
        let conflict = |column: &str, message: &str| RowFault {
            rule: Rule::Conflict,
            column: column.to_owned(),
            message: message.to_owned(),
            word: None,
        };
        match known(|index| &index.lines, &keys.line) {
            Some(content) if content == keys.line_content => {
                let in_file = self.added.lines.contains_key(&keys.line);
                self.report.exact_duplicates += u64::from(in_file);
                self.report.rows.unchanged += 1;
                self.good(&record, &keys);
                return Outcome::Unchanged;
            }
            Some(_) => {
                self.fault(
                    &conflict("record_id", "the same record and line is there already with another content"),
                    at,
                );
                return Outcome::Nothing;
            }
            None => {}
        }
        if known(|index| &index.seizures, &keys.seizure).is_some_and(|content| content != keys.seizure_content) {
            self.fault(
                &conflict("record_id", "the lines of one seizure must agree in everything but the drug and its amount"),
                at,
            );
            return Outcome::Nothing;
        }
        self.added.lines.insert(keys.line, keys.line_content);
        self.added.seizures.insert(keys.seizure, keys.seizure_content);
        self.report.rows.new += 1;
        if self.records.insert(keys.seizure) {
            self.report.records += 1;
        }
        self.good(&record, &keys);
        Outcome::New(Box::new(record.line))
    }

    fn good(&mut self, record: &RowRecord, _keys: &Keys) {
        let seizure = &record.line.seizure;
        self.cases.insert(digest(seizure.case_id.as_bytes()));
        let place = &mut self.report.place;
        *match record.place_rule {
            PlaceRule::Code => &mut place.code,
            PlaceRule::Name => &mut place.name,
            PlaceRule::Alias => &mut place.alias,
            PlaceRule::RegionUnknown => &mut place.region_unknown,
        } += 1;
        let weighed = matches!(record.line.amount, Some(Amount::MassMg(_)));
        self.report.without_mass += u64::from(!weighed);
        let when = seizure.date;
        self.seen = Some(self.seen.map_or((when, when), |(first, last)| (first.min(when), last.max(when))));
    }

    /// The report and what was added, once all rows are in.
    pub fn finish(mut self) -> (Report, Index) {
        self.report.cases.distinct = self.cases.len() as u64;
        let month = |when: When, last: bool| {
            let month = match (when.month, when.quarter) {
                (0, 0) if last => 12,
                (0, 0) => 1,
                (0, quarter) if last => quarter * 3,
                (0, quarter) => quarter * 3 - 2,
                (month, _) => month,
            };
            format!("{:04}-{month:02}", when.year)
        };
        self.report.coverage.seen_from = self.seen.map(|(first, _)| month(first, false));
        self.report.coverage.seen_to = self.seen.map(|(_, last)| month(last, true));
        self.tally.into_report(&mut self.report);
        (self.report, self.added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::import::{mapping::Mapping, row::Only};
    use accord_protocol::time::Date;

    const HEADER: [&str; 12] = [
        "record_id",
        "case_id",
        "line",
        "date",
        "nuts",
        "source",
        "drug",
        "form",
        "amount",
        "unit",
        "quantity_kind",
        "concealment",
    ];

    fn reader() -> RowReader {
        RowReader::new(Mapping::canonical(), &HEADER, "ES", None, Date::new(2026, 11, 24).unwrap()).unwrap()
    }

    fn row<'a>(changes: &[(&str, &'a str)]) -> Vec<&'a str> {
        let mut row =
            vec!["A1", "K1", "1", "2014-05-17", "ES30", "case-system", "COC", "COC_HCL", "1.5", "kg", "net", "none"];
        for (column, value) in changes {
            let at = HEADER.iter().position(|name| name == column).unwrap();
            row[at] = value;
        }
        row
    }

    #[test]
    fn each_rule_refuses_its_own_kind_of_row() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("record_id", "")], "R-REQUIRED record_id"),
            (&[("record_id", "../x")], "R-ID record_id"),
            (&[("case_id", " \u{200b}")], "R-CASE case_id"),
            (&[("line", "51")], "R-RANGE line"),
            (&[("line", "1.0")], "R-NUMBER line"),
            (&[("date", "2026-02-29")], "R-DATE date"),
            (&[("date", "2026-11-26")], "R-DATE-FUTURE date"),
            (&[("nuts", "FR10")], "R-PLACE nuts"),
            (&[("source", "Fälle")], "R-RANGE source"),
            (&[("drug", "COK")], "R-CODE drug"),
            (&[("drug", "\u{421}OC")], "R-CODE drug"),
            (&[("form", "HER_BROWN")], "R-CODE form"),
            (&[("amount", "1,5")], "R-NUMBER amount"),
            (&[("amount", "0")], "R-RANGE amount"),
            (&[("amount", "")], "R-REQUIRED amount"),
            (&[("unit", "")], "R-UNIT unit"),
            (&[("unit", "viss")], "R-UNIT unit"),
            (&[("unit", "tablet")], "R-NUMBER amount"),
            (&[("quantity_kind", "")], "R-REQUIRED quantity_kind"),
            (&[("concealment", "swallowed")], "R-CODE concealment"),
            (&[("nuts", "none")], "R-PLACE nuts"),
        ];
        let reader = reader();
        for (changes, want) in cases {
            let index = Index::default();
            let mut staging = Staging::new(&reader, &index);
            assert_eq!(staging.row(&row(changes), 2), Outcome::Nothing, "{changes:?}");
            let (report, _) = staging.finish();
            let found = report.errors.first().map(|error| format!("{} {}", error.rule, error.column)).unwrap();
            assert_eq!(found, *want, "{changes:?}");
            assert_eq!(
                (report.rows.selected, report.rows.skipped, report.errors[0].line, report.errors[0].row),
                (1, 1, 2, 1)
            );
        }
    }

    #[test]
    fn unknown_none_blank_and_a_value_are_stored_apart() {
        use crate::domain::record::Stated;
        let reader = reader();
        let index = Index::default();
        for (cell, want) in [
            ("", Stated::Blank),
            ("unknown", Stated::Unknown),
            ("none", Stated::Nothing),
            ("rip_on", Stated::Is("rip_on".to_owned())),
        ] {
            let Outcome::New(line) = Staging::new(&reader, &index).row(&row(&[("concealment", cell)]), 2) else {
                panic!("{cell}")
            };
            assert_eq!(line.seizure.concealment, want);
        }
    }

    #[test]
    fn the_same_again_is_unchanged_and_another_content_is_a_conflict() {
        let reader = reader();
        let index = Index::default();
        let mut staging = Staging::new(&reader, &index);
        assert!(matches!(staging.row(&row(&[]), 2), Outcome::New(_)));
        assert!(matches!(staging.row(&row(&[("line", "2"), ("drug", "HER"), ("form", "")]), 3), Outcome::New(_)));
        assert_eq!(staging.row(&row(&[]), 4), Outcome::Unchanged);
        // Another amount under the same line, another date under the same seizure.
        assert_eq!(staging.row(&row(&[("amount", "2")]), 5), Outcome::Nothing);
        assert_eq!(staging.row(&row(&[("line", "3"), ("date", "2014-05-18")]), 6), Outcome::Nothing);
        let (report, added) = staging.finish();
        assert_eq!(
            (report.rows.new, report.rows.unchanged, report.rows.conflict, report.rows.skipped, report.records),
            (2, 1, 2, 0, 1)
        );
        let mut again = Staging::new(&reader, &added);
        assert_eq!(again.row(&row(&[]), 2), Outcome::Unchanged);
        assert_eq!(again.row(&row(&[("amount", "2")]), 3), Outcome::Nothing);
    }

    #[test]
    fn rows_without_id_and_case_get_theirs_from_the_row_and_equal_rows_are_one_case() {
        let mapping = Mapping::shipped("unodc-ids").unwrap();
        let header = [
            "REGION",
            "SUBREGION",
            "COUNTRY",
            "ADMINISTRATIVE_DIVISION",
            "PLACE",
            "SEIZURE_DATE",
            "DRUG_NAME",
            "AMOUNT",
            "DRUG_UNIT",
            "HIDING_PLACE",
            "INSTALLATION",
            "TRANSPORT",
            "PRODUCING_COUNTRY",
            "DEPARTURE_COUNTRY",
            "DESTINATION_COUNTRY",
            "ROUTING",
        ];
        let only = Some(Only { field: "reporting_country".into(), code: "CZ".into() });
        let reader = RowReader::new(mapping, &header, "CZ", only, Date::new(2026, 11, 24).unwrap()).unwrap();
        let index = Index::default();
        let mut staging = Staging::new(&reader, &index);
        let fields = |country| {
            vec![
                "Europe",
                "",
                country,
                "",
                "Praha",
                "2014-05-17",
                "Heroin",
                "9e-05",
                "Kilogram",
                "",
                "",
                "Unknown",
                "",
                "Unknown",
                "",
                "",
            ]
        };
        let mut ids = Vec::new();
        for country in ["Czechia", "Czechia", "Czech Republic", "Spain"] {
            if let Outcome::New(line) = staging.row(&fields(country), 2) {
                assert_eq!(line.amount, Some(Amount::MassMg(90)));
                ids.push((line.seizure.record_id, line.seizure.case_id));
            }
        }
        assert_eq!(ids.len(), 3, "{:?}", staging.report.errors);
        assert_eq!(ids[0].1, ids[1].1, "equal rows are one case");
        assert_ne!(ids[0].0, ids[1].0);
        assert_ne!(ids[0].1, ids[2].1);
        let plain = Hash::of(fields("Czechia").join("\u{1f}").as_bytes()).to_string();
        assert_eq!(ids[1].0, format!("x-{}-1", &plain[..20]));
        let (report, _) = staging.finish();
        assert_eq!(
            (report.rows.read, report.rows.not_selected, report.exact_duplicates, report.cases.distinct),
            (4, 1, 1, 2)
        );
        assert!(report.cases.one_per_row);
    }

    #[test]
    fn a_header_is_checked_before_any_row() {
        let today = Date::new(2026, 11, 24).unwrap();
        let open = |header: &[&str]| {
            RowReader::new(Mapping::canonical(), header, "ES", None, today).map(|_| ()).map_err(|fault| fault.rule)
        };
        let mut header = HEADER.to_vec();
        assert_eq!(open(&header), Ok(()));
        header.push("x_note");
        assert_eq!(open(&header), Ok(()));
        header.push("colour");
        assert_eq!(open(&header), Err(Rule::ColumnUnknown));
        *header.last_mut().unwrap() = "Date of Birth";
        assert_eq!(open(&header), Err(Rule::Personal));
        *header.last_mut().unwrap() = "drug";
        assert_eq!(open(&header), Err(Rule::ColumnDuplicate));
        assert_eq!(open(&HEADER[1..]), Err(Rule::ColumnMissing));
    }
}
