//! Typed access: records in packed blocks, imports, coverage, editions, memory of requests.

use std::collections::BTreeSet;

use accord_protocol::{
    codec::Bounded,
    edition::CoverageRow,
    id::{Hash, RequestId},
    key::{PublicKey, Signature},
    signed::Document,
    time::UnixMs,
};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{VALUE_MAX, from_bytes, key, to_bytes, unwrap},
};
use crate::domain::{coverage::Coverage, disclosure::Rules, import::staging::Index, record::SeizureLine};

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
    /// Lines stored.
    pub lines: u64,
    /// SHA-256 of the report's JSON, which lies in parts of its own.
    pub report: Hash,
}

/// One published edition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EditionEntry {
    /// The signed header.
    pub header: Document,
    /// Its number.
    pub number: u64,
    /// The store's sequence whose records it was made from.
    pub record_sequence: u64,
    /// The rules it was protected by.
    pub rules: Rules,
    /// SHA-256 of its encoded [`EditionDetail`], which lies in parts of its own.
    pub detail: Hash,
}

/// What an edition consists of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EditionDetail {
    /// Table, year and hash of each frozen block.
    pub blocks: Vec<(u16, u16, Hash)>,
    /// Shares shown, as JSON for the operator.
    pub shares: Vec<u8>,
}

/// A reply that was decided once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReplayEntry {
    /// SHA-256 of the request's body.
    pub body_hash: Hash,
    /// The signed head.
    pub head: Bounded<u8, 4096>,
    /// Its signature.
    pub signature: Signature,
    /// Size class of the reply.
    pub reply_class: u8,
    /// Until when it is kept.
    pub keep_until: UnixMs,
}

/// What an open store holds besides its records' bytes.
#[derive(Debug, Default)]
pub struct Stored {
    /// Digests of all records.
    pub index: Index,
    /// Declared coverage.
    pub coverage: Coverage,
    /// Number of the last committed import.
    pub imports: u64,
    /// Number of the last edition.
    pub editions: u64,
}

/// Reads what the node keeps in memory, and removes blocks of imports that were never committed.
pub(super) fn load(store: &Store) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    let committed = store.committed_imports()?;
    stored.imports = committed.last().copied().unwrap_or(0);
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
        for line in decoded::<Vec<SeizureLine>>(&value, "a block of records")? {
            stored.index.insert(&line);
        }
    }
    if !abandoned.is_empty() {
        tracing::warn!("removing the blocks of an import that was never committed");
        store.commit(abandoned)?;
    }
    if let Some(value) = store.value(&key(KeyKind::Coverage, &[]))? {
        stored.coverage = Coverage::from_rows(&decoded::<Vec<CoverageRow>>(&value, "the coverage")?);
    }
    for entry in store.scan(KeyKind::Edition) {
        let (_, value) = entry?;
        stored.editions = stored.editions.max(decoded::<EditionEntry>(&value, "an edition")?.number);
    }
    Ok(stored)
}

fn block_import(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn decoded<T: Encode + Decode<()>>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    from_bytes(bytes).ok_or_else(|| StoreError::Read(format!("{what} does not decode")))
}

/// Packs lines into values of a block each.
#[derive(Debug, Default)]
pub struct Packer {
    lines: Vec<SeizureLine>,
    bytes: usize,
}

impl Packer {
    /// Takes a line; returns a block's value when it is full.
    pub fn push(&mut self, line: SeizureLine) -> Option<Vec<u8>> {
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

    /// Replaces the declared coverage.
    pub fn put_coverage(&mut self, coverage: &Coverage) {
        self.put(key(KeyKind::Coverage, &[]), &to_bytes(&coverage.rows()));
    }

    /// Adds an edition.
    pub fn put_edition(&mut self, edition: &EditionEntry) {
        self.put(key(KeyKind::Edition, &[&edition.number.to_be_bytes()]), &to_bytes(edition));
    }

    /// Adds bytes that never change, under their hash: a block in two editions is stored once.
    pub fn put_frozen(&mut self, bytes: &[u8]) -> Hash {
        let hash = Hash::of(bytes);
        self.put_parts(&key(KeyKind::Frozen, &[&hash.0]), bytes);
        hash
    }

    /// Adds what an edition consists of.
    pub fn put_detail(&mut self, detail: &EditionDetail) -> Hash {
        self.put_frozen(&to_bytes(detail))
    }

    /// Keeps a catalogue's signed document for the editions that were made under it.
    pub fn put_catalogue(&mut self, hash: &Hash, document: &[u8]) {
        self.put_parts(&key(KeyKind::Catalogue, &[&hash.0]), document);
    }

    /// Remembers a reply.
    pub fn put_replay(&mut self, officer: &PublicKey, request: &RequestId, entry: &ReplayEntry) {
        self.put(key(KeyKind::Replay, &[officer.as_bytes(), &request.0]), &to_bytes(entry));
    }
}

type Entry = Result<(Vec<u8>, Vec<u8>), StoreError>;

impl Store {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.db.get(key).map_err(|error| StoreError::Read(error.to_string()))?;
        found
            .map(|bytes| {
                unwrap(&bytes).map(<[u8]>::to_vec).ok_or_else(|| {
                    StoreError::Read(format!("the checksum of {} does not fit", accord_protocol::id::to_hex(key)))
                })
            })
            .transpose()
    }

    fn scan(&self, kind: KeyKind) -> impl Iterator<Item = Entry> {
        self.scan_prefix(&[kind.number()])
    }

    fn scan_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Entry> + use<> {
        self.db.scan_prefix(prefix).map(|entry| {
            let (key, value) = entry.map_err(|error| StoreError::Read(error.to_string()))?;
            let value = unwrap(&value).ok_or_else(|| {
                StoreError::Read(format!("the checksum of {} does not fit", accord_protocol::id::to_hex(&key)))
            })?;
            Ok((key.to_vec(), value.to_vec()))
        })
    }

    fn parts(&self, kind: KeyKind, hash: &Hash) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        for entry in self.scan_prefix(&key(kind, &[&hash.0])) {
            bytes.extend(entry?.1);
        }
        Ok(bytes)
    }

    fn committed_imports(&self) -> Result<BTreeSet<u64>, StoreError> {
        self.imports().map(|import| import.map(|import| import.number)).collect()
    }

    /// Every line of every committed import, in the order of import. Blocks of an import that failed do not count.
    pub fn lines(&self) -> Result<impl Iterator<Item = Result<Vec<SeizureLine>, StoreError>>, StoreError> {
        let committed = self.committed_imports()?;
        Ok(self
            .scan(KeyKind::Block)
            .filter(move |entry| {
                entry.as_ref().is_ok_and(|(key, _)| committed.contains(&block_import(key))) || entry.is_err()
            })
            .map(|entry| decoded(&entry?.1, "a block of records")))
    }

    /// Every committed import, oldest first.
    pub fn imports(&self) -> impl Iterator<Item = Result<ImportEntry, StoreError>> {
        self.scan(KeyKind::Import).map(|entry| decoded(&entry?.1, "an import"))
    }

    /// An edition by its number.
    pub fn edition(&self, number: u64) -> Result<Option<EditionEntry>, StoreError> {
        self.value(&key(KeyKind::Edition, &[&number.to_be_bytes()]))?
            .map(|value| decoded(&value, "an edition"))
            .transpose()
    }

    /// Every edition, oldest first.
    pub fn editions(&self) -> impl Iterator<Item = Result<EditionEntry, StoreError>> {
        self.scan(KeyKind::Edition).map(|entry| decoded(&entry?.1, "an edition"))
    }

    /// What an edition consists of.
    pub fn detail(&self, edition: &EditionEntry) -> Result<EditionDetail, StoreError> {
        decoded(&self.frozen(&edition.detail)?, "an edition's detail")
    }

    /// Bytes that never change by their hash, checked against it.
    pub fn frozen(&self, hash: &Hash) -> Result<Vec<u8>, StoreError> {
        let bytes = self.parts(KeyKind::Frozen, hash)?;
        if Hash::of(&bytes) == *hash {
            Ok(bytes)
        } else {
            Err(StoreError::Read(format!("frozen block {hash} is not whole")))
        }
    }

    /// Whether a frozen block is there.
    pub fn has_frozen(&self, hash: &Hash) -> Result<bool, StoreError> {
        let first = key(KeyKind::Frozen, &[&hash.0, &0u32.to_be_bytes()]);
        self.db.contains_key(first).map_err(|error| StoreError::Read(error.to_string()))
    }

    /// The signed document of a catalogue, if some edition was made under it.
    pub fn catalogue(&self, hash: &Hash) -> Result<Option<Document>, StoreError> {
        let bytes = self.parts(KeyKind::Catalogue, hash)?;
        if bytes.is_empty() { Ok(None) } else { decoded(&bytes, "a catalogue").map(Some) }
    }

    /// A remembered reply.
    pub fn replay(&self, officer: &PublicKey, request: &RequestId) -> Result<Option<ReplayEntry>, StoreError> {
        self.value(&key(KeyKind::Replay, &[officer.as_bytes(), &request.0]))?
            .map(|value| decoded(&value, "a reply"))
            .transpose()
    }

    /// Forgets replies that are no longer to be kept; returns how many.
    pub fn forget_replies(&self, now: UnixMs) -> Result<usize, StoreError> {
        let mut batch = Batch::default();
        for entry in self.scan(KeyKind::Replay) {
            let (key, value) = entry?;
            if decoded::<ReplayEntry>(&value, "a reply")?.keep_until < now {
                batch.delete(key);
            }
        }
        let count = batch.deletes.len();
        if count > 0 {
            self.commit(batch)?;
        }
        Ok(count)
    }

    /// Removes the blocks of an import that failed before it was committed.
    pub fn abandon_import(&self, import: u64) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for entry in self.scan_prefix(&key(KeyKind::Block, &[&import.to_be_bytes()])) {
            batch.delete(entry?.0);
        }
        if batch.is_empty() { Ok(()) } else { self.commit(batch).map(|_| ()) }
    }
}
