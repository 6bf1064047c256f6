//! Filling and freezing an edition: all tables of the catalogue, in blocks of one calendar year.

mod block;
mod making;
pub mod waiver;
mod work;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use accord_protocol::{
    catalogue::{Catalogue, Kind, Table},
    cell::{CELL_LEN, Released},
    code::ListError,
    consent::PublicCell,
    edition::{EditionHeader, Layout, Protection},
    id::Hash,
    selection::Selection,
    time::{Period, UnixMs},
};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    contribution::Contributions,
    coverage::Coverage,
    disclosure::{
        Reason, Rules,
        audit::{Fault, Summary},
        chooser::Effort,
    },
    revision::HeldLine,
};
pub use making::make;

/// One table's cells of one year, as they stand in slices, and why hidden ones are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The table.
    pub table_id: u16,
    /// The year.
    pub year: u16,
    /// The cells, in layout order, each with all measures of the table.
    pub cells: Vec<u8>,
    /// One byte for each number: 0, or the number of a [`Reason`]; and the bit [`KNOWN`]. Never leaves the node.
    pub reasons: Vec<u8>,
}

/// The number of the edition after `latest`. A node that was restored from a backup has forgotten numbers that others may hold editions of;
/// it goes on at the second at which it `first_started` after that: no node publishes an edition each second for years, and of what
/// is published after one restoration nothing meets what is published after the next.
pub fn next_number(latest: Option<u64>, first_started: Option<UnixMs>) -> u64 {
    let beyond_forgotten = first_started.map_or(1, |at| at.0 / 1_000);
    latest.map_or(1, |latest| latest.saturating_add(1)).max(beyond_forgotten)
}

/// States of a kind and year that were published and are protected together, at most.
pub const VINTAGES_KEPT_MAX: usize = 8;

/// Set for a number that is hidden, although an earlier edition has shown it: what it said is known for ever.
pub const KNOWN: u8 = 0x80;

/// A published edition as it is answered from: it never changes.
#[derive(Debug)]
pub struct Frozen {
    /// Its signed header's content.
    pub header: EditionHeader,
    /// The catalogue that it was made under.
    pub catalogue: Arc<Catalogue>,
    /// Its blocks by table and year.
    pub blocks: HashMap<(u16, u16), Block>,
    country: String,
    // Where the cells of a block stand; made when they are first asked for.
    layouts: HashMap<(u16, u16), OnceLock<Layout>>,
}

impl Frozen {
    /// An edition of a provider in `country`.
    pub fn new(
        country: &str,
        header: EditionHeader,
        catalogue: Arc<Catalogue>,
        blocks: HashMap<(u16, u16), Block>,
    ) -> Self {
        let layouts = blocks.keys().map(|place| (*place, OnceLock::new())).collect();
        Self { header, catalogue, blocks, country: country.to_owned(), layouts }
    }

    /// A table's cells of a year.
    pub fn block(&self, table: u16, year: u16) -> Option<&[u8]> {
        self.blocks.get(&(table, year)).map(|block| block.cells.as_slice())
    }

    /// Selects a slice of one of its catalogue's tables.
    ///
    /// The same bytes for everybody: nothing here looks at who asks or at what a cell holds.
    ///
    /// # Errors
    /// A country that the catalogue's lists do not have.
    pub fn select(&self, table: &Table, selection: &Selection) -> Result<Vec<u8>, ListError> {
        let width = table.width() * CELL_LEN;
        let mut slice = Vec::with_capacity(selection.slice_len());
        for position in 0..selection.cells() {
            let numbers = selection.numbers_at(position);
            let year = numbers.first().and_then(|time| Period::from_number(*time)).map_or(0, Period::year);
            let cell = self.placed(table, year)?.and_then(|(layout, cells)| {
                let index = layout.index(&selection.levels, &numbers)?;
                cells.get(index * width..(index + 1) * width)
            });
            for measure in &selection.measures {
                let numbers = table.numbers_of(*measure);
                match cell.and_then(|cell| cell.get(numbers.start * CELL_LEN..numbers.end * CELL_LEN)) {
                    Some(bytes) => slice.extend_from_slice(bytes),
                    // Outside every block of the edition: not covered.
                    None => numbers.for_each(|_| slice.extend(Released::NOT_AVAILABLE.to_bytes())),
                }
            }
        }
        Ok(slice)
    }

    // A table's cells of a year and where they stand, if the edition has that block.
    fn placed(&self, table: &Table, year: u16) -> Result<Option<(&Layout, &[u8])>, ListError> {
        let place = (table.id, year);
        let (Some(cells), Some(layout)) = (self.block(table.id, year), self.layouts.get(&place)) else {
            return Ok(None);
        };
        let layout = if let Some(made) = layout.get() {
            made
        } else {
            let new = Layout::new(table, &self.country, year)?;
            layout.get_or_init(|| new)
        };
        Ok(Some((layout, cells)))
    }

    /// Whether it holds the same tables and years: the cells alone do not say which year they are of.
    pub fn holds_blocks_of(&self, filled: &Filled) -> bool {
        self.blocks.len() == filled.blocks.len()
            && filled.blocks.iter().all(|block| self.blocks.contains_key(&(block.table_id, block.year)))
    }
}

/// How much of a table and level set is shown. Secret like the records: kept for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The table.
    pub table: String,
    /// Level names by dimension.
    pub levels: BTreeMap<String, String>,
    /// Cells whose period is covered.
    pub cells: u64,
    /// Of them, cells with a case.
    pub nonzero: u64,
    /// Of them, cells shown (first measure).
    pub shown: u64,
    /// Sum of cases over the cells.
    pub cases: u64,
    /// Sum of cases over the shown cells.
    pub cases_shown: u64,
}

impl Share {
    // The same levels in another year.
    fn add(&mut self, other: Self) {
        self.cells += other.cells;
        self.nonzero += other.nonzero;
        self.shown += other.shown;
        self.cases += other.cases;
        self.cases_shown += other.cases_shown;
        self.table = other.table;
        self.levels = other.levels;
    }
}

/// A filled edition, not numbered yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// The blocks, by table, then year.
    pub blocks: Vec<Block>,
    /// Shares shown.
    pub shares: Vec<Share>,
    /// What choosing took.
    pub effort: Effort,
    /// What the audit found.
    pub audit: Summary,
    /// What the blocks were made from.
    pub bases: Vec<Basis>,
    /// Blocks that stand as before although there is something new.
    pub kept: Vec<(Kind, u16, Kept)>,
    /// Kinds and years that were revised.
    pub revised: Vec<Revision>,
    /// Lines of new vintages: to be kept with the edition.
    pub held: Vec<(Kind, u16, Vec<HeldLine>)>,
    /// Kinds and years that were made anew because people agreed on it.
    pub corrected: Vec<Correction>,
    /// Kinds and years that needed no work, because nothing changed.
    pub unchanged: usize,
}

impl Filled {
    /// All cells: what an edition commits to (`wire.md` D11).
    pub fn content(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|block| block.cells.iter().copied()).collect()
    }
}

/// What an edition is filled from.
pub struct Filling<'a> {
    /// The catalogue.
    pub catalogue: &'a Catalogue,
    /// The provider's country, ISO 3166 alpha-2.
    pub country: &'a str,
    /// The records' contributions.
    pub contributions: &'a Contributions,
    /// What is declared.
    pub coverage: &'a Coverage,
    /// The protection rules.
    pub rules: &'a Rules,
    /// Node time.
    pub now: UnixMs,
    /// Days after its end until a period is published.
    pub delay_days: u16,
    /// Whether the primary rules alone are applied.
    pub protection: Protection,
    /// What the latest edition holds.
    pub before: Option<Before<'a>>,
    /// The number that the edition would have.
    pub number: u64,
    /// The lines of the vintage of a kind and year that was made with an edition.
    pub held: &'a (dyn Fn(Kind, u16, u64) -> Option<Vec<HeldLine>> + Sync),
    /// What people have agreed on.
    pub agreed: Agreed<'a>,
    /// Fingerprint of the lines of a block, which nobody without the node's key can guess.
    pub fingerprint: &'a (dyn Fn(&[u8]) -> Hash + Sync),
}

impl std::fmt::Debug for Filling<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filling").field("country", &self.country).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// How the rules in force compare with those that a block was made under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesNow {
    /// The same rules and catalogue.
    Same,
    /// None of the rules is weaker, and the catalogue is the same: what is added follows them, and what was published is known.
    Stricter,
    /// A weaker rule, or another catalogue.
    Other,
}

/// The latest edition, as far as the next one must go on from it.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Its cells, with the catalogue that they were laid out under.
    pub frozen: &'a Frozen,
    /// What its blocks were made from.
    pub bases: &'a [Basis],
    /// How the rules in force compare with those of an edition.
    pub rules: &'a (dyn Fn(u64) -> RulesNow + Sync),
}

/// What people have agreed on, two at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Agreed<'a> {
    /// Kinds and years that are made anew from the records as they are, whatever was published of them.
    pub correct: &'a [(Kind, u16)],
    /// Numbers that are shown because they are public anyway.
    pub waived: &'a [PublicCell],
}

/// What becomes of a kind and year that is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The kind of record.
    pub kind: Kind,
    /// The year.
    pub year: u16,
    /// Lines that came since the newest vintage.
    pub added: usize,
    /// Lines that went.
    pub removed: usize,
    /// Numbers whose difference is no better protected than a number that breaks a primary rule.
    pub disclosed: Vec<Disclosed>,
    /// Numbers, by table and place in the block, that stay hidden and that somebody with an edition before may narrow, beyond what
    /// changed.
    pub narrowed: Vec<(u16, usize)>,
}

/// A number that says something else in both of two editions, because of too few cases or mainly of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disclosed {
    /// The table.
    pub table_id: u16,
    /// The number's place in the block.
    pub number: usize,
    /// Cases that came, went or changed.
    pub cases: u64,
}

impl std::fmt::Debug for Before<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Before").field("bases", &self.bases).finish_non_exhaustive()
    }
}

/// What a kind and year of an edition was made from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Basis {
    /// The kind of record.
    pub kind: Kind,
    /// The year.
    pub year: u16,
    /// Its published months: bit 0 is January.
    pub months: u16,
    /// Fingerprint of their lines.
    pub lines: Hash,
    /// How often what was published of it was put right.
    pub revisions: u8,
    /// Every state of the records that some of its numbers were published from, oldest first.
    pub vintages: Vec<Vintage>,
}

/// One vintage of a kind and year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Vintage {
    /// The edition that its lines are kept with.
    pub edition: u64,
    /// Its published months: bit 0 is January.
    pub months: u16,
    /// Whether two people agreed that anybody may see what changed since.
    pub corrected: bool,
}

/// How a kind and year was revised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// The kind of record.
    pub kind: Kind,
    /// The year.
    pub year: u16,
    /// Which vintage it is now: 2 is revised, 3 is final.
    pub vintage: u8,
    /// Lines that came since the vintage before.
    pub added: usize,
    /// Lines that went.
    pub removed: usize,
    /// Numbers that show something else now.
    pub anew: usize,
    /// Numbers that show what they showed, because their change is hidden.
    pub stay: usize,
}

/// Why a block stands as in the edition before, although there is something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Records of published periods were added, corrected or removed, but so few that nothing of it may be seen.
    RecordsChanged,
    /// They were, after its final vintage. Periods that closed since are added.
    Final,
    /// Rules or catalogue changed: they hold for years that are not published yet, stricter rules for what closes as well.
    RulesChanged,
    /// A published month is not declared complete any more.
    CoverageShrank,
    /// They were, in a year that is not complete yet. Periods that closed since are added.
    Waits,
    /// With what is known already, new periods cannot be protected.
    NotProtectable,
}

impl Kept {
    /// In the operator's words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::RecordsChanged => {
                "records of published periods changed, but nothing of the difference to what is published may be seen yet"
            }
            Self::Waits => {
                "records of published periods changed; they are taken in when the year is complete, and what closes is added until then"
            }
            Self::Final => "records of published periods changed after its final vintage, the third",
            Self::RulesChanged => "rules and catalogue hold for years that are not published yet",
            Self::CoverageShrank => "what was published stays published; withdraw the edition if it was wrong",
            Self::NotProtectable => "with what is published already, the new periods cannot be protected yet",
        }
    }
}

/// Why an edition cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A code list is missing.
    #[error(transparent)]
    List(#[from] ListError),
    /// Lines of an earlier vintage are gone.
    #[error("{kind} {year}: the lines of the vintage that came with edition {edition} are not there")]
    Vintage {
        /// The kind of record.
        kind: Kind,
        /// The year.
        year: u16,
        /// The edition.
        edition: u64,
    },
    /// The auditor objects.
    #[error("{kind} {year}: {fault}")]
    Audit {
        /// The kind of record.
        kind: Kind,
        /// The year.
        year: u16,
        /// What it objects to.
        fault: Fault,
    },
}

/// The tables of one kind and calendar year: what is protected together. Jobs share no equation, so they can be worked on at once.
#[derive(Debug)]
pub struct Job<'a> {
    kind: Kind,
    year: u16,
    tables: Vec<(usize, &'a Table)>,
}

/// What becomes of a job: a block for each table, with what counts in the shares.
#[derive(Debug)]
pub struct Made {
    blocks: Vec<(usize, Block, BTreeMap<Vec<u8>, Share>)>,
    effort: Effort,
    audit: Summary,
    basis: Basis,
    held: Option<Vec<HeldLine>>,
    how: How,
}

// How a block came about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    New,
    Corrected(Correction),
    Revised(Revision),
    Unchanged,
    Kept(Kept),
}

/// The work on an edition, in pieces.
pub fn jobs<'a>(filling: &Filling<'a>) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for kind in Kind::ALL {
        let tables: Vec<(usize, &Table)> =
            filling.catalogue.tables().iter().enumerate().filter(|(_, table)| table.kind == *kind).collect();
        if !tables.is_empty() {
            // What was published once stays in the edition, whatever is declared now.
            let published = filling.before.iter().flat_map(|before| before.bases).filter(|basis| basis.kind == *kind);
            let mut years = filling.coverage.years(*kind);
            years.extend(published.map(|basis| basis.year));
            years.sort_unstable();
            years.dedup();
            jobs.extend(years.into_iter().map(|year| Job { kind: *kind, year, tables: tables.clone() }));
        }
    }
    jobs
}

/// Puts the pieces of an edition together, in whatever order they come.
pub fn gather(done: Vec<Made>) -> Filled {
    let mut filled = Filled::default();
    let mut blocks = Vec::new();
    for made in done {
        filled.effort += made.effort;
        filled.audit += made.audit;
        filled.held.extend(made.held.map(|lines| (made.basis.kind, made.basis.year, lines)));
        match made.how {
            How::New => {}
            How::Revised(revision) => filled.revised.push(revision),
            How::Corrected(correction) => filled.corrected.push(correction),
            How::Unchanged => filled.unchanged += 1,
            How::Kept(why) => filled.kept.push((made.basis.kind, made.basis.year, why)),
        }
        filled.bases.push(made.basis);
        blocks.extend(made.blocks);
    }
    filled.bases.sort_by_key(|basis| (basis.kind, basis.year));
    filled.kept.sort_by_key(|(kind, year, _)| (*kind, *year));
    filled.corrected.sort_by_key(|correction| (correction.kind, correction.year));
    filled.revised.sort_by_key(|revision| (revision.kind, revision.year));
    blocks.sort_by_key(|(table, block, _)| (*table, block.year));
    let mut shares: BTreeMap<(usize, Vec<u8>), Share> = BTreeMap::new();
    for (table, block, of_block) in blocks {
        filled.blocks.push(block);
        for (levels, share) in of_block {
            shares.entry((table, levels)).or_default().add(share);
        }
    }
    filled.shares = shares.into_values().collect();
    filled
}

/// The reason stored for a number.
pub fn reason(byte: u8) -> Option<Reason> {
    Reason::from_number(byte & !KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_a_restored_node_takes_none_that_it_may_have_forgotten() {
        let (first, second) = (UnixMs(1_780_000_000_000), UnixMs(1_780_000_090_999));
        for (what, latest, first_started, want) in [
            ("the first edition", None, None, 1),
            ("the next one", Some(7), None, 8),
            ("the first of a restored node", None, Some(first), 1_780_000_000),
            ("the next one of a restored node", Some(7), Some(first), 1_780_000_000),
            ("and the one after that", Some(1_780_000_000), Some(first), 1_780_000_001),
            ("restored again, from the same backup", Some(7), Some(second), 1_780_000_090),
            ("the clock is behind", Some(7), Some(UnixMs(0)), 8),
        ] {
            assert_eq!(next_number(latest, first_started), want, "{what}");
        }
    }
}
