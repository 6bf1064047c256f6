//! What a provider lets one partner see before it asks: tables, levels and how they are answered, coverage, rules, limits, contact.
//!
//! The same state gives the same bytes, whoever asks when: a request names the view that it was made from by its hash.

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap, Text},
    edition::CoverageRow,
    handling::Handling,
    id::{Hash, NodeId},
    officers::Purpose,
    signed::{Label, Preamble, Signable},
    time::UnixMs,
    topic::Under,
};

/// How something is answered: 0 not at all, 1 at once, 2 after an approval, 3 after two.
pub const WAY_MAX: u8 = 3;

/// What one partner may see.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct View {
    /// Protocol and kind.
    pub preamble: Preamble<22>,
    /// Who shows.
    pub provider: NodeId,
    /// To whom.
    pub audience: NodeId,
    /// SHA-256 of the catalogue that its tables and levels are those of.
    pub catalogue_hash: Hash,
    /// The edition that answers; nothing if there is none, or no table is shown.
    pub edition: Bounded<ViewEdition, 1>,
    /// What the provider declares to hold of the kinds of the tables shown, sorted.
    pub coverage: Bounded<CoverageRow, 256>,
    /// The rules by which numbers are hidden; they are public.
    pub rules: ViewRules,
    /// How answers must be handled.
    pub handling: Handling,
    /// Requests that one officer may send at once.
    pub burst: u32,
    /// And a minute in the long run.
    pub per_minute: u32,
    /// Whom to call.
    pub contact: Text<200>,
    /// Months between the end of what is asked for and now at which [`ViewRow::ways`] says how it is answered, rising.
    pub ages: Bounded<u32, 32>,
    /// The tables, sorted by number.
    pub tables: Bounded<ViewTable, 256>,
    /// Numbers that are public anyway and are shown for that reason.
    pub footnotes: Bounded<ViewFootnote, 512>,
}

/// The edition that answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ViewEdition {
    /// Its number.
    pub number: u64,
    /// Its commitment.
    pub commit: Hash,
    /// When the newest record in it was imported.
    pub as_of: UnixMs,
    /// When it was published.
    pub published_at: UnixMs,
}

/// The rules by which numbers are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ViewRules {
    /// Fewest cases behind a number.
    pub k: u32,
    /// Per cent within which the second-largest contributor must not know the largest.
    pub p_percent: u32,
    /// Largest share of one case, in per cent.
    pub dominance_percent: u32,
    /// Whether zeros are shown.
    pub zeros_shown: bool,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ViewTable {
    /// Its number.
    pub table_id: u16,
    /// Version of its layout.
    pub table_version: u16,
    /// What the provider says of how its numbers came about.
    pub note: Text<400>,
    /// What is answered how; the rest is not.
    pub rows: Bounded<ViewRow, 256>,
}

/// Levels of a table that are answered alike for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ViewRow {
    /// Why it is asked for.
    pub purpose: Purpose,
    /// Whether it is asked under a topic, where that makes a difference.
    pub under: Under,
    /// How, at each of [`View::ages`].
    pub ways: Bounded<u8, 32>,
    /// Indexes of the table's combinations of levels, in the catalogue's order; sorted.
    pub levels: Bounded<u16, 4096>,
}

/// A number that is public anyway.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ViewFootnote {
    /// The table.
    pub table_id: u16,
    /// Level of each dimension.
    pub levels: Bounded<u8, 8>,
    /// Code number of each dimension.
    pub codes: Bounded<u32, 8>,
    /// Where it is public.
    pub source: Text<200>,
}

impl Signable for View {
    const LABEL: Label = Label::View;
    const CAP: Cap = Cap::Document;
    fn check(&self) -> Result<(), &'static str> {
        if self.provider == self.audience {
            return Err("nobody needs a view of the own node");
        }
        if !self.coverage.is_sorted_unique() || self.coverage.iter().any(|row| !row.months.is_valid()) {
            return Err("coverage is not in order");
        }
        if !self.ages.is_sorted_unique() {
            return Err("ages do not rise");
        }
        let tables = self.tables.as_slice();
        if !tables.iter().zip(tables.iter().skip(1)).all(|(one, next)| one.table_id < next.table_id) {
            return Err("tables are not sorted, or one stands twice");
        }
        for row in tables.iter().flat_map(|table| table.rows.iter()) {
            if row.ways.as_slice().len() != self.ages.as_slice().len() || row.ways.iter().any(|way| *way > WAY_MAX) {
                return Err("a row does not say how it is answered at each age");
            }
            if !row.levels.is_sorted_unique() {
                return Err("levels are not sorted, or some stand twice");
            }
        }
        if tables.is_empty() && !self.edition.as_slice().is_empty() {
            return Err("an edition without a table");
        }
        Ok(())
    }
}
