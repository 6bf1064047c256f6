//! An edition as peers see it: its signed header, and where a cell stands in its tables.

use bincode::{Decode, Encode};

use crate::{
    catalogue::{Axis, Kind, LevelSet, Table},
    cell::CELL_LEN,
    code::ListError,
    codec::{Bounded, Cap},
    id::{Hash, NodeId},
    signed::{FederationId, Label, Preamble, Signable},
    time::{Months, UnixMs},
};

crate::codes! {
    /// How far an edition is protected.
    pub enum Protection: u8 {
        /// Only unsafe cells are hidden; they can be recomputed by subtraction. For tests only.
        PrimaryOnly = 1 "primary-only",
        /// Complementary suppression, audited.
        Audited = 2 "audited",
    }
}

crate::codes! {
    /// What a provider declares for a run of months.
    pub enum CoverageState: u8 {
        /// Everything is there.
        Complete = 1 "complete",
        /// Something is missing.
        Partial = 2 "partial",
        /// Nothing was collected.
        None = 3 "none",
    }
}

/// One declared run of months of one kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct CoverageRow {
    /// Kind of record.
    pub kind: Kind,
    /// The months.
    pub months: Months,
    /// What is declared.
    pub state: CoverageState,
}

/// The signed header of an edition (`wire.md` D11).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EditionHeader {
    /// Protocol and kind.
    pub preamble: Preamble<21>,
    /// From 1, without gaps.
    pub number: u64,
    /// Commitment of the edition before; zero for the first.
    pub prev_commit: Hash,
    /// Commitment to the content.
    pub commit: Hash,
    /// SHA-256 of the rules it was protected by.
    pub rules_hash: Hash,
    /// SHA-256 of the catalogue it fills.
    pub catalogue_hash: Hash,
    /// How far it is protected.
    pub protection: Protection,
    /// What the provider declares to hold, sorted.
    pub coverage: Bounded<CoverageRow, 256>,
    /// When the newest record in it was imported.
    pub as_of: UnixMs,
    /// When it was published.
    pub published_at: UnixMs,
}

impl Signable for EditionHeader {
    const LABEL: Label = Label::Edition;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        if self.number == 0 {
            return Err("editions are numbered from 1");
        }
        if !self.coverage.is_sorted_unique() || self.coverage.iter().any(|row| !row.months.is_valid()) {
            return Err("coverage is not in order");
        }
        Ok(())
    }
}

/// A provider's signed statement that an edition must not be used any more. Why is the provider's own affair.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Withdrawal {
    /// Protocol and kind.
    pub preamble: Preamble<13>,
    /// Whose edition.
    pub member: NodeId,
    /// Its number.
    pub number: u64,
    /// Its commitment.
    pub commit: Hash,
    /// When it was withdrawn.
    pub at: UnixMs,
}

impl Signable for Withdrawal {
    const LABEL: Label = Label::Withdraw;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        if self.number == 0 { Err("editions are numbered from 1") } else { Ok(()) }
    }
}

/// `edition_commit = SHA-256("accord/1 edition" || 0 || fed_id || node_id || salt || content)`.
pub fn commitment(federation: &FederationId, node_id: &NodeId, salt: &Hash, content: &[u8]) -> Hash {
    let parts = [b"accord/1 edition\0".as_slice(), &federation.0, node_id.as_str().as_bytes(), &salt.0, content];
    Hash::of(&parts.concat())
}

/// Where the cells of one table and block stand: level sets in the catalogue's order, each in row-major order of its codes,
/// each cell with the numbers of all measures of the table.
#[derive(Debug, Clone)]
pub struct Layout {
    axes: Vec<Axis>,
    // Code numbers of each axis by level: every lookup needs them, and a tree is walked for them.
    numbers: Vec<Vec<Vec<u32>>>,
    sets: Vec<(LevelSet, usize)>,
    width: usize,
    cells: usize,
}

impl Layout {
    /// The layout of a table for a provider in `country` and one calendar year.
    pub fn new(table: &Table, country: &str, year: u16) -> Result<Self, ListError> {
        let axes = table.axes(country)?;
        let by_level =
            |axis: &Axis| (0..).zip(axis.level_names()).map(|(level, _)| axis.numbers(level, year)).collect();
        let numbers = axes.iter().map(by_level).collect();
        let mut layout = Self { axes, numbers, sets: Vec::new(), width: table.width(), cells: 0 };
        for set in table.level_sets() {
            let size: usize = layout.along(&set.levels).map(<[u32]>::len).product();
            layout.sets.push((set, layout.cells));
            layout.cells += size;
        }
        Ok(layout)
    }

    // Code numbers along each axis at these levels.
    fn along(&self, levels: &[u8]) -> impl Iterator<Item = &[u32]> {
        let of_axes = self.numbers.iter().zip(levels);
        of_axes.map(|(axis, level)| axis.get(usize::from(*level)).map_or(&[] as &[u32], Vec::as_slice))
    }

    /// Cells of the block.
    pub const fn cells(&self) -> usize {
        self.cells
    }

    /// Numbers in each cell.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Bytes of the block.
    pub const fn len_bytes(&self) -> usize {
        self.cells * self.width * CELL_LEN
    }

    /// The axes.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The level sets, each with the index of its first cell.
    pub fn sets(&self) -> &[(LevelSet, usize)] {
        &self.sets
    }

    /// Code numbers along each dimension of a level set.
    pub fn numbers(&self, set: &LevelSet) -> Vec<Vec<u32>> {
        self.along(&set.levels).map(<[u32]>::to_vec).collect()
    }

    /// Index of the cell with these levels and code numbers.
    pub fn index(&self, levels: &[u8], numbers: &[u32]) -> Option<usize> {
        let (set, first) = self.sets.iter().find(|(set, _)| set.levels == levels)?;
        let mut offset = 0;
        for (codes, number) in self.along(&set.levels).zip(numbers) {
            let at = codes.binary_search(number).ok()?;
            offset = offset * codes.len() + at;
        }
        (numbers.len() == self.axes.len()).then_some(first + offset)
    }
}
