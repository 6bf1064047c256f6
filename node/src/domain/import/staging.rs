//! All rows of one file: which are new, which are there already, which contradict.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    RowFault, Rule,
    index::{Index, Keys, RecordDigest, short},
    place::PlaceRule,
    report::{ERRORS_MAX, ErrorLine, Report, Tally},
    row::{Row, RowReader, RowRecord},
};
use crate::domain::{
    amount::Amount,
    record::{Line, When},
};

/// What becomes of one good row.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To be stored: new, or in the place of an earlier version.
    Store(Box<Line>),
    /// There already.
    Unchanged,
    /// Not asked for, or bad: nothing to store.
    Nothing,
}

/// What becomes of a record that is there already with another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is a conflict.
    Conflicts,
    /// It takes the place of what is there.
    Corrects,
}

/// Takes rows one by one and keeps the counts.
#[derive(Debug)]
pub struct Staging<'a> {
    reader: &'a RowReader,
    stored: &'a Index,
    changed: Changed,
    import: u64,
    added: Index,
    row_hashes: HashMap<String, u32>,
    cases: Distinct,
    // Records whose shared content is corrected: the line of the file where that was first seen, and whether it counts as corrected.
    corrected: BTreeMap<RecordDigest, (u64, bool)>,
    rests_on: BTreeSet<u64>,
    report: Report,
    tally: Tally,
    seen: Option<(When, When)>,
}

/// Counts distinct numbers in eight bytes each: hashes of cases, which are only counted.
#[derive(Debug, Default)]
struct Distinct {
    seen: Vec<u64>,
    // How many were left when doubles were last removed.
    settled: usize,
}

impl Distinct {
    fn insert(&mut self, number: u64) {
        self.seen.push(number);
        if self.seen.len() >= 2 * self.settled.max(1 << 16) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.seen.sort_unstable();
        self.seen.dedup();
        self.settled = self.seen.len();
    }

    fn count(&mut self) -> u64 {
        self.settle();
        self.seen.len() as u64
    }
}

/// All rows, taken.
#[derive(Debug)]
pub struct Staged {
    /// The report.
    pub report: Report,
    /// Digests of what is to be stored.
    pub added: Index,
    /// Earlier imports that hold records which this one repeats or corrects: they cannot be undone before it.
    pub rests_on: BTreeSet<u64>,
}

impl<'a> Staging<'a> {
    /// Starts with an empty report; `import` is the number that the rows are stored under.
    pub fn new(reader: &'a RowReader, stored: &'a Index, changed: Changed, import: u64) -> Self {
        let mut report = Report::default();
        report.cases.one_per_row = reader.mapping().one_case_per_record;
        Self {
            reader,
            stored,
            changed,
            import,
            added: Index::default(),
            row_hashes: HashMap::new(),
            cases: Distinct::default(),
            corrected: BTreeMap::new(),
            rests_on: BTreeSet::new(),
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
            | Rule::Currency
            | Rule::Rate
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
            record.line.common_mut().record_id = format!("x-{hash}-{before}");
            *before += 1;
        }
        let keys = Keys::of(&record.line);
        // Within the file first: what it says itself it may not contradict, corrections or not.
        if let Some(held) = self.added.line(&keys.record, keys.number) {
            if held.content != keys.content {
                return self.conflict(at, "the same record and line stands in this file twice, with another content");
            }
            self.report.exact_duplicates += 1;
            self.report.rows.unchanged += 1;
            self.good(&record);
            return Outcome::Unchanged;
        }
        if self.added.shared(&keys.record).is_some_and(|shared| shared != keys.shared) {
            return self.conflict(at, "the lines of one seizure must agree in everything but the drug and its amount");
        }
        let stored = self.stored.line(&keys.record, keys.number);
        if stored.is_some_and(|held| held.content == keys.content) {
            self.rests_on.extend(self.stored.imports_of(&keys.record));
            self.report.rows.unchanged += 1;
            self.good(&record);
            return Outcome::Unchanged;
        }
        let differs = self.stored.shared(&keys.record).is_some_and(|shared| shared != keys.shared);
        match (self.changed, stored.is_some(), differs) {
            (Changed::Conflicts, true, _) => {
                return self.conflict(at, "the same record and line is there already with another content");
            }
            (Changed::Conflicts, false, true) => {
                return self
                    .conflict(at, "the lines of one seizure must agree in everything but the drug and its amount");
            }
            (Changed::Corrects, true, _) | (_, false, _) => {}
        }
        if differs {
            self.corrected.entry(keys.record).or_insert((at, stored.is_some()));
        }
        self.rests_on.extend(self.stored.imports_of(&keys.record));
        self.added.insert(keys, self.import);
        if stored.is_some() {
            self.report.rows.corrected += 1;
        } else {
            self.report.rows.new += 1;
        }
        self.good(&record);
        Outcome::Store(Box::new(record.line))
    }

    fn conflict(&mut self, at: u64, message: &str) -> Outcome {
        let column = self.reader.mapping().fields.get("record_id").map_or("record_id", |source| source.column.as_str());
        let fault =
            RowFault { rule: Rule::Conflict, column: column.to_owned(), message: message.to_owned(), word: None };
        self.fault(&fault, at);
        Outcome::Nothing
    }

    fn good(&mut self, record: &RowRecord) {
        let common = record.line.common();
        self.cases.insert(short(common.case_id.as_bytes()));
        let place = &mut self.report.place;
        *match record.place_rule {
            PlaceRule::Code => &mut place.code,
            PlaceRule::Name => &mut place.name,
            PlaceRule::Alias => &mut place.alias,
            PlaceRule::RegionUnknown => &mut place.region_unknown,
        } += 1;
        if let Line::Seizure(line) = &record.line {
            let weighed = matches!(line.amount, Some(Amount::MassMg(_)));
            self.report.without_mass += u64::from(!weighed);
        }
        let when = common.date;
        self.seen = Some(self.seen.map_or((when, when), |(first, last)| (first.min(when), last.max(when))));
    }

    /// What came of all rows, once they are in.
    pub fn finish(mut self) -> Staged {
        // A correction of what the lines of a record share has to bring all of its lines.
        for (record, (at, counted)) in std::mem::take(&mut self.corrected) {
            let here = self.added.numbers(&record);
            if let Some(left) = self.stored.numbers(&record).into_iter().find(|number| !here.contains(number)) {
                let message = format!(
                    "corrects what all lines of its record share, but line {left} of the record is not in this file"
                );
                // One row cannot be a correction and a conflict.
                let rows = &mut self.report.rows;
                *(if counted { &mut rows.corrected } else { &mut rows.new }) -= 1;
                let _ = self.conflict(at, &message);
            }
        }
        self.report.records = self.added.records() as u64;
        self.report.cases.distinct = self.cases.count();
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
        Staged { report: self.report, added: self.added, rests_on: self.rests_on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::import::{
        mapping::Mapping,
        row::{Only, Reading},
    };
    use accord_protocol::{catalogue::Kind, id::Hash, time::Date};

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

    fn reading(country: &str, only: Option<Only>) -> Reading {
        Reading {
            country: country.into(),
            only,
            today: Date::new(2026, 11, 24).unwrap(),
            rates: std::sync::Arc::default(),
        }
    }

    fn canonical() -> Mapping {
        Mapping::canonical(Kind::Seizure).unwrap()
    }

    fn reader() -> RowReader {
        RowReader::new(canonical(), &HEADER, reading("ES", None)).unwrap()
    }

    fn start<'a>(reader: &'a RowReader, index: &'a Index) -> Staging<'a> {
        Staging::new(reader, index, Changed::Conflicts, 1)
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
            let mut staging = start(&reader, &index);
            assert_eq!(staging.row(&row(changes), 2), Outcome::Nothing, "{changes:?}");
            let report = staging.finish().report;
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
            let Outcome::Store(line) = start(&reader, &index).row(&row(&[("concealment", cell)]), 2) else {
                panic!("{cell}")
            };
            let Line::Seizure(line) = *line else { panic!("{cell}") };
            assert_eq!(line.seizure.concealment, want);
        }
    }

    #[test]
    fn the_same_again_is_unchanged_and_another_content_is_a_conflict() {
        let reader = reader();
        let index = Index::default();
        let mut staging = start(&reader, &index);
        assert!(matches!(staging.row(&row(&[]), 2), Outcome::Store(_)));
        assert!(matches!(staging.row(&row(&[("line", "2"), ("drug", "HER"), ("form", "")]), 3), Outcome::Store(_)));
        assert_eq!(staging.row(&row(&[]), 4), Outcome::Unchanged);
        // Another amount under the same line, another date under the same seizure.
        assert_eq!(staging.row(&row(&[("amount", "2")]), 5), Outcome::Nothing);
        assert_eq!(staging.row(&row(&[("line", "3"), ("date", "2014-05-18")]), 6), Outcome::Nothing);
        let Staged { report, added, .. } = staging.finish();
        assert_eq!(
            (report.rows.new, report.rows.unchanged, report.rows.conflict, report.rows.skipped, report.records),
            (2, 1, 2, 0, 1)
        );
        let mut again = start(&reader, &added);
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
        let reader = RowReader::new(mapping, &header, reading("CZ", only)).unwrap();
        let index = Index::default();
        let mut staging = start(&reader, &index);
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
            if let Outcome::Store(line) = staging.row(&fields(country), 2) {
                let Line::Seizure(line) = *line else { panic!("{country}") };
                assert_eq!(line.amount, Some(Amount::MassMg(90)));
                ids.push((line.seizure.common.record_id, line.seizure.common.case_id));
            }
        }
        assert_eq!(ids.len(), 3, "{:?}", staging.report.errors);
        assert_eq!(ids[0].1, ids[1].1, "equal rows are one case");
        assert_ne!(ids[0].0, ids[1].0);
        assert_ne!(ids[0].1, ids[2].1);
        let plain = Hash::of(fields("Czechia").join("\u{1f}").as_bytes()).to_string();
        assert_eq!(ids[1].0, format!("x-{}-1", &plain[..20]));
        let report = staging.finish().report;
        assert_eq!(
            (report.rows.read, report.rows.not_selected, report.exact_duplicates, report.cases.distinct),
            (4, 1, 1, 2)
        );
        assert!(report.cases.one_per_row);
    }

    #[test]
    fn a_header_is_checked_before_any_row() {
        let open = |header: &[&str]| {
            RowReader::new(canonical(), header, reading("ES", None)).map(|_| ()).map_err(|fault| fault.rule)
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
