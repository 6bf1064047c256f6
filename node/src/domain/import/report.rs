//! The report of an import, as the operator gets it (`contract.md` 1.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Errors listed one by one, at most.
pub const ERRORS_MAX: usize = 100;
/// Distinct unknown words listed, at most.
pub const WORDS_MAX: usize = 1000;

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// `imp-000003`.
    pub import_id: String,
    /// Kind of record.
    pub kind: String,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// Whether the records are stored.
    pub committed: bool,
    /// The store's sequence afterwards.
    pub sequence: u64,
    /// The file.
    pub file: FileInfo,
    /// The mapping.
    pub mapping: MappingInfo,
    /// What became of the rows.
    pub rows: RowCounts,
    /// Distinct records stored.
    pub records: u64,
    /// Cases.
    pub cases: CaseCounts,
    /// Rows equal in every field to one before.
    pub exact_duplicates: u64,
    /// Coverage seen and declared.
    pub coverage: CoverageInfo,
    /// Rows placed by each rule.
    pub place: PlaceCounts,
    /// Rows of records without a mass.
    pub without_mass: u64,
    /// Rows left out, by rule and column.
    pub skipped: Vec<SkipCount>,
    /// Words that the code lists and the mapping do not know.
    pub unknown_words: Vec<WordCount>,
    /// The first errors.
    pub errors: Vec<ErrorLine>,
    /// How many there are.
    pub errors_total: u64,
    /// Earlier imports that hold records which this one repeats or corrects: it is undone before them.
    #[serde(default)]
    pub rests_on: Vec<String>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// SHA-256.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
    /// `csv`.
    pub format: String,
    /// Sheet of a workbook.
    pub sheet: Option<String>,
}

/// The mapping.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MappingInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256.
    pub sha256: String,
}

/// What became of the rows: `read = selected + not_selected`, `selected = new + unchanged + corrected + conflict + skipped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows of the file, header not counted.
    pub read: u64,
    /// Not asked for.
    pub not_selected: u64,
    /// Asked for.
    pub selected: u64,
    /// Not there before.
    pub new: u64,
    /// There already, the same.
    pub unchanged: u64,
    /// Replaced.
    pub corrected: u64,
    /// There already with another content.
    pub conflict: u64,
    /// Bad.
    pub skipped: u64,
}

/// Cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaseCounts {
    /// Distinct cases in the file's good rows.
    pub distinct: u64,
    /// Whether each record is its own case.
    pub one_per_row: bool,
}

/// Coverage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CoverageInfo {
    /// First month seen.
    pub seen_from: Option<String>,
    /// Last month seen.
    pub seen_to: Option<String>,
    /// What was declared together with the import, `2011..2016`.
    #[serde(default)]
    pub with_it: Option<String>,
    /// What is declared now.
    pub declared: Vec<CoverageLine>,
}

/// One declared run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CoverageLine {
    /// Kind of record.
    pub kind: String,
    /// First month.
    pub from: String,
    /// Last month.
    pub to: String,
    /// `complete`, `partial` or `none`.
    pub state: String,
}

/// Rows placed by each rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlaceCounts {
    /// NUTS code.
    pub code: u64,
    /// Exact name.
    pub name: u64,
    /// Alias.
    pub alias: u64,
    /// None.
    pub region_unknown: u64,
}

/// Rows left out by one rule on one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipCount {
    /// The rule.
    pub rule: String,
    /// The column.
    pub column: String,
    /// How many rows.
    pub count: u64,
}

/// An unknown word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordCount {
    /// The column.
    pub column: String,
    /// The word, escaped, at most 40 characters.
    pub word: String,
    /// How often.
    pub count: u64,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLine {
    /// Physical line where the record starts, from 1; the header is 1.
    pub line: u64,
    /// Record number, from 1; the header is not counted.
    pub row: u64,
    /// The column.
    pub column: String,
    /// The rule.
    pub rule: String,
    /// In words.
    pub message: String,
}

/// Counts that become lists.
#[derive(Debug, Default)]
pub struct Tally {
    skipped: BTreeMap<(String, String), u64>,
    words: BTreeMap<(String, String), u64>,
}

impl Tally {
    /// Counts a bad row.
    pub fn skip(&mut self, rule: &str, column: &str) {
        *self.skipped.entry((rule.to_owned(), column.to_owned())).or_default() += 1;
    }

    /// Counts an unknown word; beyond [`WORDS_MAX`] distinct ones new words are not kept.
    pub fn word(&mut self, column: &str, word: &str) {
        let key = (column.to_owned(), word.to_owned());
        if self.words.len() < WORDS_MAX || self.words.contains_key(&key) {
            *self.words.entry(key).or_default() += 1;
        }
    }

    /// Writes the lists, most frequent first.
    pub fn into_report(self, report: &mut Report) {
        report.skipped =
            self.skipped.into_iter().map(|((rule, column), count)| SkipCount { rule, column, count }).collect();
        report.unknown_words =
            self.words.into_iter().map(|((column, word), count)| WordCount { column, word, count }).collect();
        report.skipped.sort_by_key(|row| std::cmp::Reverse(row.count));
        report.unknown_words.sort_by_key(|row| std::cmp::Reverse(row.count));
    }
}
