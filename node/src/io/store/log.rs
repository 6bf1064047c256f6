//! The audit log in the store: entries in order, hashes of their tree in tiles, sealed details beside them, checkpoints.
//!
//! A tile holds the 64 hashes of one level of the tree under one node six levels higher; it is written when it is full and never
//! again. What is not in a full tile yet is in memory, and is computed anew from the last entries when the store is opened.

use accord_protocol::{
    id::Hash,
    log::{
        Entry, EventKind,
        entry::EntryVersion,
        tree::{Frontier, Nodes, root_of},
    },
    time::UnixMs,
};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{VALUE_MAX, key, wrap},
};

/// Levels of the tree in one tile.
const TILE_LEVELS: u32 = 6;
/// Hashes in one tile.
pub(super) const TILE: usize = 1 << TILE_LEVELS;
/// Bytes of a subject that it is found by.
const SUBJECT_BYTES: usize = 16;

/// Something to be appended; the writer gives it its place.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub time: UnixMs,
    /// Commits to who did it.
    pub actor_commit: Hash,
    /// What it is about; zero for nothing that is signed.
    pub subject: Hash,
    /// Commits to the rest.
    pub detail_commit: Hash,
    /// Salt and detail, sealed.
    pub sealed: Vec<u8>,
}

/// The tree at one moment: its frontier, and of each sixth level the hashes that are in no full tile yet.
#[derive(Debug, Clone, Default)]
pub struct LogTree {
    frontier: Frontier,
    partial: Vec<Vec<Hash>>,
}

impl LogTree {
    /// Number of entries.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root over all of them.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The hashes of all its subtrees.
    pub fn nodes<'a>(&'a self, store: &'a Store) -> LogNodes<'a> {
        LogNodes { store, partial: &self.partial, size: self.size() }
    }

    // Takes a leaf; tiles that are full now go to `full`.
    fn push(&mut self, leaf: Hash, full: &mut impl FnMut(u32, u64, &[Hash])) {
        self.frontier.push(leaf);
        let (mut level, mut hash) = (0u32, leaf);
        loop {
            let at = level as usize;
            if self.partial.len() <= at {
                self.partial.resize_with(at + 1, Vec::new);
            }
            let Some(tile) = self.partial.get_mut(at) else { return };
            tile.push(hash);
            if tile.len() < TILE {
                return;
            }
            let index = (self.frontier.size() >> (TILE_LEVELS * (level + 1))) - 1;
            full(level, index, tile);
            hash = root_of(tile.drain(..));
            level += 1;
        }
    }

    /// Gives each new entry its place behind those that are there, and puts what is to be stored into `puts`.
    pub(super) fn append(&mut self, new: Vec<NewEntry>, puts: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        let prev_size = self.size();
        for new in new {
            let seq = self.size();
            let entry = Entry {
                version: EntryVersion::One,
                kind: new.kind,
                time: new.time,
                seq,
                actor_commit: new.actor_commit,
                subject: new.subject,
                detail_commit: new.detail_commit,
                prev_size,
            };
            puts.push((entry_key(seq), wrap(&entry.to_bytes())));
            for (part, piece) in (0u8..).zip(new.sealed.chunks(VALUE_MAX)) {
                puts.push((key(KeyKind::LogDetail, &[&seq.to_be_bytes(), &[part]]), wrap(piece)));
            }
            if new.subject != Hash::ZERO {
                puts.push((subject_key(&new.subject, Some(seq)), wrap(&[])));
            }
            self.push(entry.leaf_hash(), &mut |level, index, hashes| {
                let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
                puts.push((tile_key(level, index), wrap(&bytes)));
            });
        }
    }
}

pub(super) fn entry_key(seq: u64) -> Vec<u8> {
    key(KeyKind::LogEntry, &[&seq.to_be_bytes()])
}

pub(super) fn tile_key(level: u32, index: u64) -> Vec<u8> {
    key(KeyKind::LogTile, &[&level.to_be_bytes(), &index.to_be_bytes()])
}

pub(super) fn subject_key(Hash(subject): &Hash, seq: Option<u64>) -> Vec<u8> {
    let (short, _) = subject.split_at(SUBJECT_BYTES);
    let seq = seq.map(u64::to_be_bytes);
    key(KeyKind::LogSubject, &[short, seq.as_ref().map_or(&[], |seq| seq.as_slice())])
}

pub(super) fn seq_of(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn entry_of(bytes: &[u8]) -> Result<Entry, StoreError> {
    Entry::from_bytes(bytes).map_err(|_| StoreError::Read("an entry of the log does not decode".into()))
}

/// The tree at one moment as a source of hashes: full tiles from the store, the rest as it was then.
#[derive(Debug)]
pub struct LogNodes<'a> {
    store: &'a Store,
    partial: &'a [Vec<Hash>],
    size: u64,
}

impl Nodes for LogNodes<'_> {
    type Error = StoreError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, StoreError> {
        let (tile_level, within) = (level / TILE_LEVELS, level % TILE_LEVELS);
        let first = index << within;
        let (tile, from) = (first >> TILE_LEVELS, usize::try_from(first % (1 << TILE_LEVELS)).unwrap_or(TILE));
        let full = self.size >> (TILE_LEVELS * (tile_level + 1));
        let hashes = if tile < full {
            self.store.tile(tile_level, tile)?
        } else {
            self.partial.get(tile_level as usize).cloned().unwrap_or_default()
        };
        let part = hashes.get(from..from + (1 << within));
        let part = part.ok_or_else(|| StoreError::Read("the log's tree lacks a hash".into()))?;
        Ok(root_of(part.iter().copied()))
    }
}

impl Batch {
    /// Appends to the log, in the same commit as the rest.
    pub fn append(&mut self, entry: NewEntry) {
        self.entries.push(entry);
    }

    /// Has the log filled up behind everything that becomes durable together with this, by as many of these as that takes to a multiple
    /// of one more than there are.
    pub fn pad(&mut self, padding: Vec<NewEntry>) {
        self.padding = padding;
    }

    /// May use the room that is kept free for what must not fail: stops, and the log's own entries about the node.
    pub fn is_essential(&mut self) {
        self.is_essential = true;
    }

    /// Keeps a checkpoint under its size, in place of an earlier text of it.
    pub fn put_checkpoint(&mut self, size: u64, note: &str) {
        self.put_parts(&key(KeyKind::LogCheckpoint, &[&size.to_be_bytes()]), note.as_bytes());
    }
}

impl Store {
    /// The log's tree at this moment.
    pub fn log_tree(&self) -> LogTree {
        self.tree.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn tile(&self, level: u32, index: u64) -> Result<Vec<Hash>, StoreError> {
        let bytes = self.value(&tile_key(level, index))?;
        let bytes = bytes.filter(|bytes| bytes.len() == 32 * TILE);
        let bytes = bytes.ok_or_else(|| StoreError::Read("a tile of the log's tree is missing".into()))?;
        Ok(bytes.as_chunks::<32>().0.iter().copied().map(Hash).collect())
    }

    // What an open store holds of a log of this size.
    pub(super) fn read_tree(&self, size: u64) -> Result<LogTree, StoreError> {
        let mut tree = LogTree::default();
        let mut level = 0;
        loop {
            let count = size >> (TILE_LEVELS * level);
            if count == 0 {
                break;
            }
            let full = count >> TILE_LEVELS << TILE_LEVELS;
            let partial = (full..count).map(|index| {
                if level > 0 {
                    return Ok(root_of(self.tile(level - 1, index)?));
                }
                let entry = self.entry(index)?.ok_or_else(|| StoreError::Read(format!("entry {index} is missing")))?;
                Ok(entry.leaf_hash())
            });
            tree.partial.push(partial.collect::<Result<_, StoreError>>()?);
            level += 1;
        }
        // The frontier comes from the tiles and the parts; its size says which are full.
        let frontier = Frontier::of(&LogNodes { store: self, partial: &tree.partial, size }, size)?;
        Ok(LogTree { frontier, ..tree })
    }

    /// An entry of the log; nothing for one that was destroyed.
    pub fn entry(&self, seq: u64) -> Result<Option<Entry>, StoreError> {
        self.value(&entry_key(seq))?.map(|bytes| entry_of(&bytes)).transpose()
    }

    /// Entries from a place on, in order, that were not destroyed.
    pub fn entries(&self, from: u64) -> impl Iterator<Item = Result<Entry, StoreError>> + use<> {
        self.scan_from(entry_key(from), &[KeyKind::LogEntry.number()]).map(|entry| entry_of(&entry?.1))
    }

    /// Salt and detail of an entry as they are sealed; nothing if they were deleted.
    pub fn sealed(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut sealed = None;
        for entry in self.scan_prefix(&key(KeyKind::LogDetail, &[&seq.to_be_bytes()])) {
            sealed.get_or_insert_with(Vec::new).extend(entry?.1);
        }
        Ok(sealed)
    }

    /// All of them from a place on, each with its entry's place.
    pub fn all_sealed(&self, from: u64) -> impl Iterator<Item = Result<(u64, Vec<u8>), StoreError>> + use<> {
        let start = key(KeyKind::LogDetail, &[&from.to_be_bytes()]);
        let mut parts = self.scan_from(start, &[KeyKind::LogDetail.number()]).peekable();
        std::iter::from_fn(move || {
            let (seq, mut bytes) = match parts.next()? {
                Ok((key, value)) => (seq_of(&key), value),
                Err(error) => return Some(Err(error)),
            };
            while let Some(Ok((_, more))) = parts.next_if(|next| next.as_ref().is_ok_and(|(key, _)| seq_of(key) == seq))
            {
                bytes.extend(more);
            }
            Some(Ok((seq, bytes)))
        })
    }

    /// Takes the detail of an entry away.
    pub fn drop_detail(&self, seq: u64, batch: &mut Batch) -> Result<(), StoreError> {
        for entry in self.scan_prefix(&key(KeyKind::LogDetail, &[&seq.to_be_bytes()])) {
            batch.delete(entry?.0);
        }
        Ok(())
    }

    /// The places of the entries about a signed thing, in order, that were not destroyed.
    pub fn about(&self, subject: &Hash) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        for entry in self.scan_prefix(&subject_key(subject, None)) {
            let (key, _) = entry?;
            let seq = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
            if self.entry(seq)?.is_some_and(|entry| entry.subject == *subject) {
                found.push(seq);
            }
        }
        Ok(found)
    }

    /// The settings of the last start, if there was one.
    pub fn settings(&self) -> Result<Option<String>, StoreError> {
        let mut text = Vec::new();
        for entry in self.scan(KeyKind::Settings) {
            text.extend(entry?.1);
        }
        let text = String::from_utf8(text).map_err(|_| StoreError::Read("kept settings are no text".into()))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Puts the settings of this start in the place of those.
    pub fn replace_settings(&self, text: &str, batch: &mut Batch) -> Result<(), StoreError> {
        let mut new = Batch::default();
        new.put_parts(&key(KeyKind::Settings, &[]), text.as_bytes());
        for entry in self.scan(KeyKind::Settings) {
            let (old, _) = entry?;
            if new.puts.iter().all(|(key, _)| *key != old) {
                batch.delete(old);
            }
        }
        batch.puts.extend(new.puts);
        Ok(())
    }

    /// Every checkpoint that is kept, the oldest first, with its size.
    pub fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
        for entry in self.scan(KeyKind::LogCheckpoint) {
            let (key, part) = entry?;
            let size = seq_of(&key);
            match all.last_mut().filter(|(last, _)| *last == size) {
                Some((_, bytes)) => bytes.extend(part),
                None => all.push((size, part)),
            }
        }
        let text = |bytes| String::from_utf8(bytes).map_err(|_| StoreError::Read("a checkpoint is no text".into()));
        all.into_iter().map(|(size, bytes)| Ok((size, text(bytes)?))).collect()
    }

    /// The checkpoint of one size.
    pub fn checkpoint(&self, size: u64) -> Result<Option<String>, StoreError> {
        let mut bytes = Vec::new();
        for entry in self.scan_prefix(&key(KeyKind::LogCheckpoint, &[&size.to_be_bytes()])) {
            bytes.extend(entry?.1);
        }
        let text = String::from_utf8(bytes).map_err(|_| StoreError::Read("a checkpoint is no text".into()))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The latest checkpoint that was kept.
    pub fn last_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        Ok(self.checkpoints()?.pop())
    }
}
