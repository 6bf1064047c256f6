//! From rows of a file to records: the mapping, the header, one row at a time, and the report.

pub mod cells;
pub mod date;
pub mod index;
pub mod mapping;
pub mod place;
mod price;
mod purity;
pub mod report;
pub mod row;
mod seizure;
mod site;
pub mod staging;

accord_protocol::codes! {
    /// Rules that a row or a file may break; stable words of the report.
    pub enum Rule: u8 {
        /// The file or a record is empty.
        Empty = 1 "R-EMPTY",
        /// A column that is needed is not there.
        ColumnMissing = 2 "R-COLUMN-MISSING",
        /// A column stands twice.
        ColumnDuplicate = 3 "R-COLUMN-DUPLICATE",
        /// A column that nobody knows.
        ColumnUnknown = 4 "R-COLUMN-UNKNOWN",
        /// Not UTF-8, or control characters.
        Encoding = 5 "R-ENCODING",
        /// A quote that is never closed.
        Quote = 6 "R-QUOTE",
        /// A record that is too large, or has another number of fields than the header.
        RowSize = 7 "R-ROW-SIZE",
        /// A cell that must not be empty.
        Required = 8 "R-REQUIRED",
        /// A record id.
        Id = 9 "R-ID",
        /// A case id.
        Case = 10 "R-CASE",
        /// A date.
        Date = 11 "R-DATE",
        /// A date that has not come yet.
        DateFuture = 12 "R-DATE-FUTURE",
        /// A number.
        Number = 13 "R-NUMBER",
        /// A number out of its range.
        Range = 14 "R-RANGE",
        /// A unit.
        Unit = 15 "R-UNIT",
        /// A word that is not in its code list.
        Code = 16 "R-CODE",
        /// A region or port.
        Place = 17 "R-PLACE",
        /// Another country's row.
        Country = 18 "R-COUNTRY",
        /// A currency.
        Currency = 22 "R-CURRENCY",
        /// No exchange rate near the date.
        Rate = 23 "R-RATE",
        /// The same record with another content.
        Conflict = 19 "R-CONFLICT",
        /// A column that looks like personal data.
        Personal = 20 "R-PERSONAL",
        /// The file changed while it was read.
        FileChanged = 21 "R-FILE-CHANGED",
    }
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The rule.
    pub rule: Rule,
    /// The column, by the file's own name.
    pub column: String,
    /// In words, without the cell's content.
    pub message: String,
    /// The word, escaped, where the column is mapped to a code list; nowhere else is content shown (C63 and following).
    pub word: Option<String>,
}
