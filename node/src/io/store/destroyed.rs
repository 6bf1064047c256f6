//! Entries of the audit log that were destroyed: how many, what is left of them, and destroying more.
//!
//! What is left of an entry is its hash, which stands in a full tile of the tree's lowest level: so roots and proofs of what comes later
//! stay as they were. Entries go from the first one on, in whole tiles, and how many are gone is part of the same commit.

use accord_protocol::{id::Hash, log::Entry, time::UnixMs};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    log::{TILE, entry_key, seq_of, subject_key},
    tables::decoded,
};
use crate::domain::retention::superseded;

/// Entries that are destroyed in one commit, at most: 32 tiles.
const A_COMMIT: u64 = 32 * TILE as u64;

/// What was destroyed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Destroyed {
    /// How many entries, from the first one on.
    pub entries: u64,
    /// The entry that says so.
    pub said: Said,
    /// Size of the last checkpoint of them that is kept; 0 for none.
    last_kept: u64,
    /// The year in which the log had that size.
    last_year: u16,
}

/// The entry by which the log says that others are destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Said {
    /// Its place.
    pub by: u64,
    /// Its time.
    pub at: UnixMs,
}

impl Default for Said {
    fn default() -> Self {
        Self { by: 0, at: UnixMs(0) }
    }
}

/// What there is of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The entry.
    There(Entry),
    /// Its hash in the tree; the entry was destroyed.
    Destroyed(Hash),
}

impl Place {
    /// Its hash in the tree.
    pub fn leaf_hash(&self) -> Hash {
        match self {
            Self::There(entry) => entry.leaf_hash(),
            Self::Destroyed(leaf) => *leaf,
        }
    }
}

impl Store {
    /// What was destroyed so far.
    pub fn destroyed(&self) -> Result<Destroyed, StoreError> {
        let value = self.value(&key(KeyKind::LogDestroyed, &[]))?;
        Ok(value.map(|value| decoded(&value, "how many entries are destroyed")).transpose()?.unwrap_or_default())
    }

    /// Every place of a log of this size, in order. Ends with the first that cannot be read, or is missing without having been destroyed.
    pub fn places(&self, size: u64) -> impl Iterator<Item = Result<Place, StoreError>> + use<> {
        let (store, mut entries) = (self.clone(), self.entries(0).peekable());
        let (mut next, mut destroyed, mut tile) = (0, 0, Vec::new());
        std::iter::from_fn(move || {
            if next >= size {
                return None;
            }
            let here = entries.next_if(|found| found.as_ref().map_or(true, |entry| entry.seq <= next));
            let place = match here {
                Some(entry) => entry.map(Place::There),
                None => store.leaf(next, &mut destroyed, &mut tile).map(Place::Destroyed),
            };
            // Nothing is behind a fault.
            next = if place.is_ok() { next + 1 } else { size };
            Some(place)
        })
    }

    // The hash of an entry that is not there; `destroyed` and `tile` are what is known from the one before.
    fn leaf(&self, seq: u64, destroyed: &mut u64, tile: &mut Vec<Hash>) -> Result<Hash, StoreError> {
        if seq >= *destroyed {
            // More may have been destroyed while they are read.
            *destroyed = self.destroyed()?.entries;
        }
        let missing = || StoreError::Read(format!("entry {seq} is missing"));
        if seq >= *destroyed {
            return Err(missing());
        }
        let within = usize::try_from(seq % TILE as u64).unwrap_or_default();
        if within == 0 || tile.is_empty() {
            *tile = self.tile(0, seq / TILE as u64)?;
        }
        tile.get(within).copied().ok_or_else(missing)
    }

    /// Destroys the next of the entries before `up_to`, as many as one commit takes: themselves, what is left of their details, what
    /// they are found by, and the checkpoints that need not stay. Returns what is destroyed now. Called by one at a time.
    pub fn destroy_next(&self, up_to: u64, said: Said) -> Result<Destroyed, StoreError> {
        let before = self.destroyed()?;
        let size = self.log_tree().size();
        let end = up_to.min(size).min(before.entries.saturating_add(A_COMMIT)) / TILE as u64 * TILE as u64;
        if end <= before.entries {
            return Ok(before);
        }
        let (mut batch, mut next) = (Batch::default(), before.entries);
        let mut closed = self.checkpoint_sizes(before.entries, end)?.into_iter().peekable();
        let mut years = Vec::new();
        for entry in self.entries(before.entries) {
            let entry = entry?;
            if next == end {
                break;
            }
            if entry.seq != next {
                return Err(StoreError::Read(format!("entry {next} is missing")));
            }
            next += 1;
            batch.delete(entry_key(entry.seq));
            self.drop_detail(entry.seq, &mut batch)?;
            if entry.subject != Hash::ZERO {
                batch.delete(subject_key(&entry.subject, Some(entry.seq)));
            }
            years.extend(closed.next_if_eq(&next).map(|size| (size, entry.time.date().year())));
        }
        if next != end {
            return Err(StoreError::Read(format!("entry {next} is missing")));
        }
        let last = (before.last_kept > 0).then_some((before.last_kept, before.last_year));
        let (go, last) = superseded(last, &years);
        for size in go {
            for part in self.scan_prefix(&key(KeyKind::LogCheckpoint, &[&size.to_be_bytes()])) {
                batch.delete(part?.0);
            }
        }
        let (last_kept, last_year) = last.unwrap_or_default();
        let destroyed = Destroyed { entries: end, said, last_kept, last_year };
        batch.put(key(KeyKind::LogDestroyed, &[]), &to_bytes(&destroyed));
        // It makes room.
        batch.is_essential();
        self.commit(batch)?;
        Ok(destroyed)
    }

    // Sizes of the checkpoints that were kept above one size and up to another, the smallest first.
    fn checkpoint_sizes(&self, above: u64, up_to: u64) -> Result<Vec<u64>, StoreError> {
        let from = key(KeyKind::LogCheckpoint, &[&above.saturating_add(1).to_be_bytes()]);
        let mut sizes = Vec::new();
        for part in self.scan_from(from, &[KeyKind::LogCheckpoint.number()]) {
            let size = seq_of(&part?.0);
            if size > up_to {
                break;
            }
            if sizes.last() != Some(&size) {
                sizes.push(size);
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use accord_protocol::{
        log::{EventKind, tree},
        time::DAY_MS,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::io::store::NewEntry;

    const SAID: Said = Said { by: 7_000, at: UnixMs(9) };
    const START: u64 = 18_262 * DAY_MS; // 2020-01-01

    fn entry(number: u64, at: u64) -> NewEntry {
        let hash = |what: u64| Hash::of(&[number.to_be_bytes(), what.to_be_bytes()].concat());
        NewEntry {
            kind: EventKind::Asked,
            time: UnixMs(at),
            actor_commit: hash(1),
            subject: if number.is_multiple_of(3) { Hash::ZERO } else { hash(2) },
            detail_commit: hash(3),
            // Of none, one and two parts.
            sealed: vec![1; [0, 20, 20, 20, 7_000][usize::try_from(number % 5).unwrap()]],
        }
    }

    // A store with so many entries, two days apart.
    fn filled(folder: &Path, size: u64) -> Store {
        let (store, _) = Store::open(folder, 1 << 20).unwrap();
        for from in (0..size).step_by(500) {
            let mut batch = Batch::default();
            (from..size.min(from + 500)).for_each(|number| batch.append(entry(number, START + number * 2 * DAY_MS)));
            store.commit(batch).unwrap();
        }
        store
    }

    fn destroy(store: &Store, up_to: u64) -> Destroyed {
        let mut before = store.destroyed().unwrap();
        loop {
            let now = store.destroy_next(up_to, SAID).unwrap();
            if now == before {
                return now;
            }
            before = now;
        }
    }

    fn leaves(store: &Store) -> Vec<Hash> {
        store.places(store.log_tree().size()).map(|place| place.unwrap().leaf_hash()).collect()
    }

    // As the disk has it at this moment.
    fn copied(from: &Path, to: &Path) -> Store {
        fs::create_dir_all(to.join("sled")).unwrap();
        fs::copy(from.join("manifest.json"), to.join("manifest.json")).unwrap();
        for file in fs::read_dir(from.join("sled")).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), to.join("sled").join(file.file_name())).unwrap();
            }
        }
        Store::open(to, 1 << 20).unwrap().0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn the_root_and_every_proof_that_does_not_show_what_is_gone_stay_as_they_were(
            size in 1u64..400, up_to in 0u64..400, more in 0u64..100,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = filled(&folder.path().join("store"), size);
            let before = leaves(&store);
            let destroyed = destroy(&store, up_to).entries;
            prop_assert_eq!(destroyed, up_to.min(size) / 64 * 64);
            prop_assert_eq!(&leaves(&store), &before);
            prop_assert!(store.check().flaws.is_empty());
            // It goes on growing, and opens again.
            let mut batch = Batch::default();
            (size..size + more).for_each(|number| batch.append(entry(number, START)));
            store.commit(batch).unwrap();
            let again = copied(&folder.path().join("store"), &folder.path().join("again"));
            for store in [&store, &again] {
                let (all, log) = (leaves(store), store.log_tree());
                let (size, nodes, want) = (size + more, log.nodes(store), tree::InMemory(&all));
                prop_assert_eq!(all.len() as u64, size);
                prop_assert_eq!(log.root(), tree::root_of(all.iter().copied()));
                for old in (1..=size).step_by(7) {
                    let path = tree::consistency(&nodes, old, size).unwrap();
                    prop_assert_eq!(path, tree::consistency(&want, old, size).unwrap());
                    prop_assert_eq!(tree::root_at(&nodes, old).unwrap(), tree::root_of(all.iter().copied().take(usize::try_from(old).unwrap())));
                }
                for index in (destroyed..size).step_by(5) {
                    let path = tree::inclusion(&nodes, index, size).unwrap();
                    prop_assert_eq!(path, tree::inclusion(&want, index, size).unwrap());
                    let leaf = store.entry(index).unwrap().map(|entry| entry.leaf_hash());
                    prop_assert_eq!(leaf.as_ref(), all.get(usize::try_from(index).unwrap()));
                }
            }
        }
    }

    #[test]
    fn a_crash_between_two_commits_leaves_a_store_that_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = filled(&path, 5_000);
        let (before, root) = (leaves(&store), store.log_tree().root());
        let about = |store: &Store, number| store.about(&entry(number, 0).subject).unwrap();
        assert_eq!((about(&store, 100), about(&store, 4_000)), (vec![100], vec![4_000]));

        let (mut number, mut ends) = (0, Vec::new());
        let whole = loop {
            let now = store.destroy_next(4_999, SAID).unwrap();
            let copy = copied(&path, &folder.path().join(format!("copy-{number}")));
            assert_eq!(copy.destroyed().unwrap(), now);
            assert_eq!(copy.check().flaws, [], "{now:?}");
            assert_eq!((leaves(&copy), copy.log_tree().root()), (before.clone(), root));
            assert_eq!(copy.entry(now.entries - 1).unwrap(), None);
            assert_eq!(copy.entries(0).next().unwrap().unwrap().seq, now.entries);
            let without = u64::from(now.entries.is_multiple_of(5));
            assert_eq!(copy.all_sealed(0).next().unwrap().unwrap().0, now.entries + without);
            // What is left of the run is done after the crash.
            assert_eq!(destroy(&copy, 4_999).entries, 4_992);
            ends.push(copy.check().holdings);
            number += 1;
            if now.entries == 4_992 {
                break now;
            }
        };
        assert_eq!((number, whole.said), (3, SAID));
        let holdings = store.check().holdings;
        assert!(ends.iter().all(|end| *end == holdings), "{ends:?}");
        assert_eq!((about(&store, 100), about(&store, 4_000)), (vec![], vec![]), "nothing is found by its subject");
        let left = |kind| holdings.iter().find(|one| one.kind == kind).unwrap().values;
        assert_eq!((left(KeyKind::LogEntry), left(KeyKind::LogSubject), left(KeyKind::LogTile)), (8, 5, 79));
        // No byte of an entry is in what can be read of the store.
        let [actor, detail] = [1u64, 3].map(|what| Hash::of(&[100u64.to_be_bytes(), what.to_be_bytes()].concat()));
        let mut snapshot = store.snapshot().unwrap();
        while let Some(page) = snapshot.next_page().unwrap() {
            for (key, value) in page {
                let holds = |hash: &Hash| value.windows(32).any(|part| part == hash.0);
                assert!(!holds(&actor) && !holds(&detail), "{key:?}");
            }
        }
    }

    #[test]
    fn of_the_checkpoints_below_what_is_destroyed_the_last_of_each_year_stays() {
        // Two days apart, from 2020 on: 183 entries a year.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = filled(&path, 1_000);
        let mut batch = Batch::default();
        (64..=960).step_by(64).for_each(|size| batch.put_checkpoint(size, &"x".repeat(9_000)));
        store.commit(batch).unwrap();
        let sizes = |store: &Store| {
            let all = store.checkpoints().unwrap();
            assert!(all.iter().all(|(_, text)| text.len() == 9_000));
            all.into_iter().map(|(size, _)| size).collect::<Vec<_>>()
        };
        let above = |from: usize| (from..=960).step_by(64).map(|size| size as u64);
        assert_eq!(destroy(&store, 191).entries, 128);
        assert_eq!(sizes(&store), above(128).collect::<Vec<_>>());
        // Of 2020, 128 was the last; of 2021, 320; 384 is of 2022.
        assert_eq!(destroy(&store, 384).entries, 384);
        assert_eq!(sizes(&store), [128, 320].into_iter().chain(above(384)).collect::<Vec<_>>());
        let again = copied(&path, &folder.path().join("again"));
        for store in [&store, &again] {
            assert_eq!(destroy(store, 5_000).entries, 960);
            assert_eq!(sizes(store), [128, 320, 512, 704, 896, 960]);
            assert_eq!(store.check().flaws, []);
        }
    }

    #[test]
    fn where_something_is_missing_nothing_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(&folder.path().join("store"), 300);
        let before = store.sequence();
        for nothing in [0, 1, 63] {
            assert_eq!(store.destroy_next(nothing, SAID).unwrap(), Destroyed::default());
        }
        assert_eq!(store.sequence(), before, "that is no commit");
        assert_eq!(destroy(&store, 64).entries, 64);
        assert_eq!(destroy(&store, 10).entries, 64, "nothing comes back");
        let mut batch = Batch::default();
        batch.delete(entry_key(70));
        store.commit(batch).unwrap();
        let error = store.destroy_next(256, SAID).unwrap_err().to_string();
        assert!(error.contains("entry 70 is missing"), "{error}");
        assert_eq!(store.destroyed().unwrap().entries, 64);
        assert_eq!(store.entry(64).unwrap().unwrap().seq, 64);
        let places: Vec<_> = store.places(300).collect();
        assert_eq!(places.len(), 71, "nothing is behind a fault");
        assert!(places.last().unwrap().as_ref().unwrap_err().to_string().contains("entry 70 is missing"));
    }
}
