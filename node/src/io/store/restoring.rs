//! A store from a backup: what came is counted and held to its meta record, and the store remembers that it was restored.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use accord_edge::files;
use accord_protocol::{
    id::Hash,
    log::{Entry, tree::Frontier},
    time::UnixMs,
};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError, bad_checksum,
    compact::Handle,
    destroyed::Destroyed,
    layout::{META_KEY, Meta, OLDEST_SCHEMA, SCHEMA, from_bytes, key, to_bytes, unwrap, wrap},
    log::{TILE, tile_key},
    manifest::Manifest,
    open::open_sled,
    tables::decoded,
};
use crate::domain::record::Line;

/// Entries written in one batch.
const WRITE_BATCH: usize = 1_000;
/// What is kept under the kind of key: that the store was restored, and what the node does not decide any more because of that.
const MARK: &[u8] = &[1];
const NOT_BEFORE: &[u8] = &[2];

/// That the store was restored, until somebody has found that nothing is lacking in it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Restored {
    /// When the backup was made.
    pub made_at: UnixMs,
    /// Entries of the audit log then.
    pub log_size: u64,
    /// The root over them.
    pub log_root: Hash,
    /// When it was restored.
    pub restored_at: UnixMs,
}

impl Batch {
    /// Forgets that the store was restored. Requests from before the first start after it are refused all the same.
    pub fn clear_restored(&mut self) {
        self.delete(key(KeyKind::Restored, &[MARK]));
    }

    /// Keeps the time of the first start after the restoration.
    pub fn put_not_before(&mut self, at: UnixMs) {
        self.put(key(KeyKind::Restored, &[NOT_BEFORE]), &to_bytes(&at));
    }
}

impl Store {
    /// Whether the store was restored from a backup, and nobody has cleared that yet.
    pub fn restored(&self) -> Result<Option<Restored>, StoreError> {
        let mark = self.value(&key(KeyKind::Restored, &[MARK]))?;
        mark.map(|value| decoded(&value, "the mark of a restored store")).transpose()
    }

    /// When the node first started after its store was restored: what was asked before may have been answered by what was lost.
    pub fn not_before(&self) -> Result<Option<UnixMs>, StoreError> {
        let at = self.value(&key(KeyKind::Restored, &[NOT_BEFORE]))?;
        at.map(|value| decoded(&value, "the first start of a restored store")).transpose()
    }
}

/// What a store consists of, entry by entry in the order of keys.
#[derive(Debug, Default)]
pub struct Tally {
    meta: Option<Meta>,
    counts: BTreeMap<u8, u64>,
    // Entries of the log that were destroyed: what is left of them is in tiles.
    destroyed: u64,
    log: Frontier,
    last: Vec<u8>,
    lines: u64,
    imports: u64,
    editions: u64,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Last commit.
    pub sequence: u64,
    /// Layout.
    pub schema: u32,
    /// Entries of the audit log.
    pub log_size: u64,
    /// The root over them, computed from each.
    pub log_root: Hash,
    /// Keys, the meta record not counted.
    pub keys: u64,
    /// Lines of records, all versions.
    pub lines: u64,
    /// Imports.
    pub imports: u64,
    /// Editions.
    pub editions: u64,
}

impl Tally {
    /// Takes the next entry.
    pub fn take(&mut self, key: &[u8], stored: &[u8]) -> Result<(), StoreError> {
        let wrong = |what: &str| Err(StoreError::Read(what.to_owned()));
        if key <= self.last.as_slice() {
            return wrong("entries are not in the order of their keys");
        }
        self.last = key.to_vec();
        let value = unwrap(stored).ok_or_else(|| bad_checksum(key))?;
        if key == META_KEY {
            self.meta = Some(decoded(value, "the meta record")?);
            return Ok(());
        }
        let kind = key.first().copied().unwrap_or(0);
        *self.counts.entry(kind).or_default() += 1;
        match KeyKind::from_number(kind) {
            Some(KeyKind::Block) => self.lines += decoded::<Vec<Line>>(value, "a block of records")?.len() as u64,
            Some(KeyKind::Import) => self.imports += 1,
            Some(KeyKind::Edition) => self.editions += 1,
            // Keys come in their order: this before the tiles, and those before the entries.
            Some(KeyKind::LogDestroyed) => {
                self.destroyed = decoded::<Destroyed>(value, "how many entries are destroyed")?.entries;
            }
            Some(KeyKind::LogTile) => {
                let (leaves, rest) = value.as_chunks::<32>();
                if is_leaves(key, self.log.size()) && self.log.size() < self.destroyed && rest.is_empty() {
                    for leaf in leaves {
                        self.log.push(Hash(*leaf));
                    }
                }
            }
            Some(KeyKind::LogEntry) => {
                let entry = Entry::from_bytes(value).map_err(|_| StoreError::Read("an entry of the log".into()))?;
                if entry.seq != self.log.size() {
                    return wrong("an entry of the audit log is missing");
                }
                self.log.push(entry.leaf_hash());
            }
            Some(_) => {}
            None => return wrong("a kind of entry that this version does not know"),
        }
        Ok(())
    }

    /// Holds what was counted to the meta record.
    pub fn finish(&self) -> Result<Counted, StoreError> {
        let meta = self.meta.as_ref().ok_or_else(|| StoreError::Read("the meta record is missing".into()))?;
        if meta.schema > SCHEMA {
            return Err(StoreError::TooNew(meta.schema));
        }
        if meta.schema < OLDEST_SCHEMA {
            return Err(StoreError::TooOld(meta.schema));
        }
        if meta.counts != self.counts.iter().map(|(kind, count)| (*kind, *count)).collect::<Vec<_>>() {
            return Err(StoreError::Read("entries are missing or too many".into()));
        }
        if (meta.log_size, meta.log_root) != (self.log.size(), self.log.root()) {
            return Err(StoreError::Read("the audit log is not the one of the meta record".into()));
        }
        Ok(Counted {
            sequence: meta.sequence,
            schema: meta.schema,
            log_size: meta.log_size,
            log_root: meta.log_root,
            keys: self.counts.values().sum(),
            lines: self.lines,
            imports: self.imports,
            editions: self.editions,
        })
    }
}

// Whether a tile's key is that of the leaves behind so many.
fn is_leaves(key: &[u8], behind: u64) -> bool {
    key == tile_key(0, behind / TILE as u64)
}

/// A new store that is being filled.
#[derive(Debug)]
pub struct Filling {
    db: Handle,
    dir: PathBuf,
    batch: sled::Batch,
    waiting: usize,
    put: usize,
    meta: Option<Meta>,
}

fn fault(error: impl std::fmt::Display) -> StoreError {
    StoreError::Broken(error.to_string())
}

impl Filling {
    /// Begins one in a folder that does not exist.
    pub fn begin(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        files::make_dir(dir).map_err(fault)?;
        let db = open_sled(&dir.join("sled"), cache_bytes).map_err(fault)?;
        Ok(Self { db, dir: dir.to_owned(), batch: sled::Batch::default(), waiting: 0, put: 0, meta: None })
    }

    /// Puts an entry, as [`Tally::take`] has taken it. What an earlier restoration has left behind is not taken over.
    pub fn put(&mut self, key: &[u8], stored: &[u8]) -> Result<(), StoreError> {
        if key == META_KEY {
            self.meta = unwrap(stored).and_then(from_bytes);
            return Ok(());
        }
        if key.first() == Some(&KeyKind::Restored.number()) {
            return Ok(());
        }
        self.insert(key, stored.to_vec())
    }

    fn insert(&mut self, key: &[u8], stored: Vec<u8>) -> Result<(), StoreError> {
        self.batch.insert(key, stored);
        self.put += 1;
        self.waiting += 1;
        if self.waiting < WRITE_BATCH { Ok(()) } else { self.apply() }
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        self.waiting = 0;
        let batch = std::mem::take(&mut self.batch);
        let db = self.db.db().map_err(fault)?;
        // sled panics in places where it should return an error.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| db.apply_batch(batch)))
            .map_err(|_| fault("sled stopped unexpectedly"))?
            .map_err(fault)
    }

    /// Marks the store as restored and makes it durable, in one more commit than it had.
    pub fn finish(mut self, restored: &Restored) -> Result<(), StoreError> {
        let mut meta = self.meta.take().ok_or_else(|| fault("the meta record is missing"))?;
        self.insert(&key(KeyKind::Restored, &[MARK]), wrap(&to_bytes(restored)))?;
        let mut counts: BTreeMap<u8, u64> = meta.counts.iter().copied().collect();
        counts.insert(KeyKind::Restored.number(), 1);
        meta.counts = counts.into_iter().collect();
        meta.sequence += 1;
        meta.schema = SCHEMA;
        self.insert(META_KEY, wrap(&to_bytes(&meta)))?;
        self.apply()?;
        let Self { db: handle, dir, put, .. } = self;
        let db = handle.db().map_err(fault)?;
        let flushed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| db.flush()));
        flushed.map_err(|_| fault("sled stopped unexpectedly"))?.map_err(fault)?;
        if db.len() != put {
            return Err(fault(format!("the new database holds {} entries instead of {put}", db.len())));
        }
        drop(handle);
        // As with every commit: sled's own flush does not reach the disk.
        let sled = dir.join("sled");
        File::open(sled.join("db")).and_then(|file| file.sync_data()).map_err(fault)?;
        files::sync_dir(&sled).map_err(fault)?;
        let keys = meta.counts.iter().map(|(_, count)| count).sum();
        Manifest { schema: SCHEMA, sequence: meta.sequence, keys }.write(&dir).map_err(fault)?;
        files::sync_dir(&dir).map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::journal::Journal;
    use accord_protocol::log::EventKind;

    fn filled(folder: &Path) -> Store {
        let journal = Journal::open(folder, [7; 32]).unwrap();
        let (store, _) = Store::open(&folder.join("store"), 1 << 20).unwrap();
        for number in 0..700u64 {
            let mut batch = Batch::default();
            let hash = Hash::of(&number.to_be_bytes());
            batch.append(journal.entry((EventKind::Asked, UnixMs(number)), "node", hash, b"{}".to_vec()).unwrap());
            batch.put_frozen(&number.to_be_bytes());
            store.commit(batch).unwrap();
        }
        store
    }

    fn entries(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut snapshot, mut all) = (store.snapshot().unwrap(), Vec::new());
        while let Some(page) = snapshot.next_page().unwrap() {
            all.extend(page);
        }
        all
    }

    fn tallied(entries: &[(Vec<u8>, Vec<u8>)]) -> Result<Counted, StoreError> {
        let mut tally = Tally::default();
        entries.iter().try_for_each(|(key, value)| tally.take(key, value))?;
        tally.finish()
    }

    fn fill(dir: &Path, entries: &[(Vec<u8>, Vec<u8>)], mark: &Restored) {
        let mut filling = Filling::begin(dir, 1 << 20).unwrap();
        for (key, value) in entries {
            filling.put(key, value).unwrap();
        }
        filling.finish(mark).unwrap();
    }

    #[test]
    fn a_store_from_another_one_s_entries_opens_holds_the_same_and_knows_that_it_was_restored() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        let all = entries(&store);
        let counted = tallied(&all).unwrap();
        assert_eq!((counted.sequence, counted.log_size), (700, 700));
        let mark = Restored { made_at: UnixMs(1), log_size: 700, log_root: counted.log_root, restored_at: UnixMs(2) };
        let (second, third) = (folder.path().join("second"), folder.path().join("third"));
        fill(&second, &all, &mark);
        let (copy, _) = Store::open(&second, 1 << 20).unwrap();
        assert_eq!((copy.sequence(), copy.log_tree().root()), (701, store.log_tree().root()));
        assert_eq!((copy.restored().unwrap(), copy.not_before().unwrap()), (Some(mark.clone()), None));
        assert_eq!((store.restored().unwrap(), store.not_before().unwrap()), (None, None));
        let mut batch = Batch::default();
        batch.put_not_before(UnixMs(9));
        copy.commit(batch).unwrap();

        // Restored once more: what the first restoration left behind is not taken over.
        let again = Restored { restored_at: UnixMs(3), ..mark };
        fill(&third, &entries(&copy), &again);
        let (copy, _) = Store::open(&third, 1 << 20).unwrap();
        assert_eq!((copy.restored().unwrap(), copy.not_before().unwrap()), (Some(again), None));
        let mut batch = Batch::default();
        batch.put_not_before(UnixMs(9));
        batch.clear_restored();
        copy.commit(batch).unwrap();
        assert_eq!((copy.restored().unwrap(), copy.not_before().unwrap()), (None, Some(UnixMs(9))));
        assert!(copy.check().flaws.is_empty());
    }

    #[test]
    fn a_log_whose_first_entries_were_destroyed_is_counted_by_their_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        let said = crate::io::store::Said { by: 600, at: UnixMs(3) };
        assert_eq!(store.destroy_next(200, said).unwrap().entries, 192);
        let good = entries(&store);
        let counted = tallied(&good).unwrap();
        assert_eq!((counted.log_size, counted.log_root), (700, store.log_tree().root()));
        let mark = Restored { made_at: UnixMs(1), log_size: 700, log_root: counted.log_root, restored_at: UnixMs(2) };
        let second = folder.path().join("second");
        fill(&second, &good, &mark);
        let (copy, _) = Store::open(&second, 1 << 20).unwrap();
        assert_eq!((copy.destroyed().unwrap(), copy.log_tree().root()), (store.destroyed().unwrap(), counted.log_root));
        assert_eq!(copy.check().flaws, []);
        assert_eq!(copy.destroy_next(700, said).unwrap().entries, 640, "it goes on where it was");

        let at = |prefix: &[u8]| good.iter().position(|(key, _)| key.starts_with(prefix)).unwrap();
        let first_tile = at(&tile_key(0, 0));
        let (destroyed, first) = (at(&[KeyKind::LogDestroyed.number()]), at(&[KeyKind::LogEntry.number()]));
        for place in [destroyed, first_tile, first_tile + 1, first_tile + 2, first] {
            let mut bad = good.clone();
            bad.remove(place);
            assert!(tallied(&bad).is_err(), "without {place}");
        }
        for (place, byte) in [(first_tile, 0), (first_tile + 2, 2_047), (destroyed, 7)] {
            let mut bad = good.clone();
            let mut value = unwrap(&bad[place].1).unwrap().to_vec();
            value[byte] ^= 0x40;
            bad[place].1 = wrap(&value);
            assert!(tallied(&bad).is_err(), "changed at {place}");
        }
        // The same number of entries as if one had not been destroyed that was.
        let mut bad = good.clone();
        let mut tiles = unwrap(&bad[first_tile].1).unwrap().to_vec();
        tiles.truncate(2_016);
        bad[first_tile].1 = wrap(&tiles);
        assert!(tallied(&bad).is_err(), "a hash is missing");
    }

    #[test]
    fn entries_that_are_missing_changed_swapped_or_too_many_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let good = entries(&filled(folder.path()));
        assert!(tallied(&good).is_ok());
        let first_of_log = good.iter().position(|(key, _)| key.first() == Some(&b'j')).unwrap();
        for at in [0, first_of_log, first_of_log + 300, good.len() - 1] {
            let mut bad = good.clone();
            bad.remove(at);
            assert!(tallied(&bad).is_err(), "without {at}");
            let mut bad = good.clone();
            *bad[at].1.last_mut().unwrap() ^= 1;
            assert!(tallied(&bad).is_err(), "changed at {at}");
        }
        let mut bad = good.clone();
        bad.swap(first_of_log, first_of_log + 1);
        assert!(tallied(&bad).is_err(), "swapped");
        let mut bad = good.clone();
        bad.insert(first_of_log, (b"d\xff".to_vec(), wrap(b"more")));
        assert!(tallied(&bad).is_err(), "one more");
        // An entry of the log with a good checksum that is not the one of the tree.
        let mut bad = good;
        let mut entry = unwrap(&bad[first_of_log].1).unwrap().to_vec();
        entry[10] ^= 1;
        bad[first_of_log].1 = wrap(&entry);
        assert!(tallied(&bad).unwrap_err().to_string().contains("audit log"));
    }
}
