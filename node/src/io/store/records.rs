//! Typed access to records: packed blocks by import, imports, declarations of coverage, the way back.
//!
//! Every import keeps its own blocks. A line's latest version counts; an earlier one stays below it, so that undoing an import is
//! taking its blocks away. Erasing a case takes all versions of its records out of all blocks.

use std::collections::BTreeSet;

use accord_protocol::{
    catalogue::Kind,
    edition::CoverageState,
    id::Hash,
    time::{Months, UnixMs},
};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, NewEntry, Store, StoreError,
    layout::{VALUE_MAX, key, to_bytes},
    tables::{EditionEntry, decoded},
};
use crate::domain::{
    coverage::Coverage,
    erasure::Erasure,
    import::index::{Index, Keys, digest},
    record::Line,
};

/// Records packed in one value, at most: sled's cost is per key.
pub const BLOCK_LINES_MAX: usize = 20;

/// One committed import.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ImportEntry {
    /// Its number.
    pub number: u64,
    /// Random, chosen by the tool: the same import after a lost connection returns the stored report.
    pub key: [u8; 16],
    /// When it was committed.
    pub committed_at: UnixMs,
    /// Kind of its records.
    pub kind: Kind,
    /// Lines stored.
    pub lines: u64,
    /// SHA-256 of the report's JSON, which lies in parts of its own.
    pub report: Hash,
    /// Why it was allowed to take the place of what was there.
    pub correction: Option<String>,
    /// When and why it was undone.
    pub undone: Option<Undone>,
}

/// An import that was undone: its records are gone, its number stays used.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Undone {
    /// When.
    pub at: UnixMs,
    /// Why.
    pub reason: String,
}

/// One declaration of coverage, by hand or together with an import.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Declaration {
    /// Kind of record.
    pub kind: Kind,
    /// The months.
    pub months: Months,
    /// What is declared.
    pub state: CoverageState,
    /// The import that it came with; 0 if it was declared by hand.
    pub import: u64,
}

/// That a case was erased; nothing in it says which one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasureEntry {
    /// When.
    pub at: UnixMs,
    /// On whose authority: the operator's reference.
    pub authority: String,
    /// Records erased.
    pub records: u64,
    /// Lines erased, in all versions.
    pub lines: u64,
}

/// What an open store holds besides its records' bytes.
#[derive(Debug, Default)]
pub struct Stored {
    /// Digests of all records.
    pub index: Index,
    /// Declared coverage.
    pub coverage: Coverage,
    /// Highest number that an import has had.
    pub imports: u64,
    /// Number of the last edition.
    pub editions: u64,
}

/// Reads what the node keeps in memory, and removes blocks of imports that were never committed.
pub(super) fn load(store: &Store) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    let committed = store.in_force()?;
    for entry in store.imports() {
        stored.imports = stored.imports.max(entry?.number);
    }
    let mut abandoned = Batch::default();
    for entry in store.scan(KeyKind::Block) {
        let (key, value) = entry?;
        let import = block_import(&key);
        if !committed.contains(&import) {
            // Its number is not used again either, until the blocks are gone.
            stored.imports = stored.imports.max(import);
            abandoned.delete(key);
            continue;
        }
        for line in decoded::<Vec<Line>>(&value, "a block of records")? {
            // In the order of imports, so that the latest version stays.
            stored.index.insert(Keys::of(&line), import);
        }
    }
    if !abandoned.is_empty() {
        tracing::warn!("removing the blocks of an import that was never committed");
        store.commit(abandoned)?;
    }
    stored.coverage = store.coverage()?;
    for entry in store.scan(KeyKind::Edition) {
        let (_, value) = entry?;
        stored.editions = stored.editions.max(decoded::<EditionEntry>(&value, "an edition")?.number);
    }
    Ok(stored)
}

fn block_import(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Packs lines into values of a block each.
#[derive(Debug, Default)]
pub struct Packer {
    lines: Vec<Line>,
    bytes: usize,
}

impl Packer {
    /// Takes a line; returns a block's value when it is full.
    pub fn push(&mut self, line: Line) -> Option<Vec<u8>> {
        let size = to_bytes(&line).len();
        let full =
            !self.lines.is_empty() && (self.lines.len() == BLOCK_LINES_MAX || self.bytes + size > VALUE_MAX - 16);
        let block = if full { self.finish() } else { None };
        self.bytes += size;
        self.lines.push(line);
        block
    }

    /// The last block's value, if there is one.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.bytes = 0;
        let lines = std::mem::take(&mut self.lines);
        (!lines.is_empty()).then(|| to_bytes(&lines))
    }
}

impl Batch {
    /// A block of records of an import.
    pub fn put_block(&mut self, import: u64, block: u32, value: &[u8]) {
        self.put(key(KeyKind::Block, &[&import.to_be_bytes(), &block.to_be_bytes()]), value);
    }

    /// Makes an import's blocks count.
    pub fn put_import(&mut self, import: &ImportEntry) {
        self.put(key(KeyKind::Import, &[&import.number.to_be_bytes()]), &to_bytes(import));
    }

    /// Declares coverage; later declarations replace earlier ones for their months.
    pub fn put_declaration(&mut self, number: u64, declaration: &Declaration) {
        self.put(key(KeyKind::Coverage, &[&number.to_be_bytes()]), &to_bytes(declaration));
    }
}

impl Store {
    /// Every line's latest version, in the order of import. Blocks of an import that failed or was undone do not count.
    pub fn lines<'a>(&'a self, index: &'a Index) -> impl Iterator<Item = Result<Vec<Line>, StoreError>> + 'a {
        self.scan(KeyKind::Block).map(move |entry| {
            let (key, value) = entry?;
            let import = block_import(&key);
            let mut lines = decoded::<Vec<Line>>(&value, "a block of records")?;
            lines.retain(|line| index.is_latest(line, import));
            Ok(lines)
        })
    }

    /// Every version of every line with the number of its import, which is in force: blocks that an import has left when it failed
    /// do not count.
    pub fn versions(&self) -> Result<impl Iterator<Item = Result<(u64, Vec<Line>), StoreError>>, StoreError> {
        let committed = self.in_force()?;
        Ok(self.scan(KeyKind::Block).filter_map(move |entry| {
            let (key, value) = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let import = block_import(&key);
            committed.contains(&import).then(|| Ok((import, decoded(&value, "a block of records")?)))
        }))
    }

    fn in_force(&self) -> Result<BTreeSet<u64>, StoreError> {
        let mut numbers = BTreeSet::new();
        for entry in self.imports() {
            let entry = entry?;
            if entry.undone.is_none() {
                numbers.insert(entry.number);
            }
        }
        Ok(numbers)
    }

    /// Every committed import, oldest first, also those that were undone.
    pub fn imports(&self) -> impl Iterator<Item = Result<ImportEntry, StoreError>> {
        self.scan(KeyKind::Import).map(|entry| decoded(&entry?.1, "an import"))
    }

    /// An import by its number.
    pub fn import(&self, number: u64) -> Result<Option<ImportEntry>, StoreError> {
        self.value(&key(KeyKind::Import, &[&number.to_be_bytes()]))?
            .map(|value| decoded(&value, "an import"))
            .transpose()
    }

    /// Every declaration of coverage, oldest first.
    pub fn declarations(&self) -> Result<Vec<(u64, Declaration)>, StoreError> {
        self.scan(KeyKind::Coverage)
            .map(|entry| {
                let (key, value) = entry?;
                Ok((block_import(&key), decoded(&value, "a declaration of coverage")?))
            })
            .collect()
    }

    /// What is declared.
    pub fn coverage(&self) -> Result<Coverage, StoreError> {
        let mut coverage = Coverage::default();
        for (_, declaration) in self.declarations()? {
            coverage.declare(declaration.kind, declaration.months, declaration.state);
        }
        Ok(coverage)
    }

    /// Digests of everything that is stored.
    pub fn index(&self) -> Result<Index, StoreError> {
        let mut index = Index::default();
        for block in self.versions()? {
            let (import, lines) = block?;
            for line in lines {
                index.insert(Keys::of(&line), import);
            }
        }
        Ok(index)
    }

    /// Takes an import away: its blocks and the coverage that was declared with it, in one commit.
    pub fn undo_import(&self, entry: ImportEntry, undone: Undone, entered: NewEntry) -> Result<u64, StoreError> {
        let mut batch = Batch::default();
        batch.append(entered);
        self.delete_blocks(entry.number, &mut batch)?;
        for (number, declaration) in self.declarations()? {
            if declaration.import == entry.number {
                batch.delete(key(KeyKind::Coverage, &[&number.to_be_bytes()]));
            }
        }
        batch.put_import(&ImportEntry { undone: Some(undone), ..entry });
        self.commit(batch)
    }

    /// Rewrites every block without what is erased, and every vintage without the name of the case, in one commit with the note that it
    /// was done.
    pub fn erase(
        &self,
        erasure: &Erasure,
        case: &str,
        (at, authority): (UnixMs, &str),
        entered: NewEntry,
    ) -> Result<ErasureEntry, StoreError> {
        let mut batch = Batch::default();
        batch.append(entered);
        let (mut lines, number) = (0, self.scan(KeyKind::Erasure).count() as u64 + 1);
        for entry in self.scan(KeyKind::Block) {
            let (key, value) = entry?;
            let before = decoded::<Vec<Line>>(&value, "a block of records")?;
            let count = before.len();
            let after: Vec<Line> = before.iter().cloned().filter_map(|line| erasure.apply(line)).collect();
            lines += (count - after.len()) as u64;
            if after.is_empty() {
                batch.delete(key);
            } else if after != before {
                batch.put(key, &to_bytes(&after));
            }
        }
        self.forget_case(digest(case.as_bytes()), &mut batch)?;
        let entry = ErasureEntry { at, authority: authority.to_owned(), records: erasure.records(), lines };
        batch.put(key(KeyKind::Erasure, &[&number.to_be_bytes()]), &to_bytes(&entry));
        self.commit(batch)?;
        Ok(entry)
    }

    /// Every erasure, oldest first.
    pub fn erasures(&self) -> impl Iterator<Item = Result<ErasureEntry, StoreError>> {
        self.scan(KeyKind::Erasure).map(|entry| decoded(&entry?.1, "an erasure"))
    }

    /// Removes the blocks of an import that failed before it was committed.
    pub fn abandon_import(&self, import: u64) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.delete_blocks(import, &mut batch)?;
        if batch.is_empty() { Ok(()) } else { self.commit(batch).map(|_| ()) }
    }

    fn delete_blocks(&self, import: u64, batch: &mut Batch) -> Result<(), StoreError> {
        for entry in self.scan_prefix(&key(KeyKind::Block, &[&import.to_be_bytes()])) {
            batch.delete(entry?.0);
        }
        Ok(())
    }
}
