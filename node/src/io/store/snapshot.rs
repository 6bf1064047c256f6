//! Snapshots: the store as of one commit, read in pages while commits go on.
//!
//! sled has no snapshots. While one is read, the writer puts aside what a commit is about to replace, remove or add beyond the place
//! that was read to, in the same critical section in which the commit is applied; reading puts it back. So every page is what stood
//! there when the snapshot was taken, whatever happened since.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use accord_protocol::id::Hash;

use super::{
    StoreError, bad_checksum,
    compact::Database,
    layout::{Meta, unwrap},
};

/// Entries read at once: commits wait for so many.
const PAGE: usize = 256;
/// Bytes put aside, at most: reading goes at the speed of the disk, so that whoever changes more meanwhile has changed most of it.
const ASIDE_MAX: usize = 64 << 20;
/// What an entry in memory costs beside its bytes, about.
const OVERHEAD: usize = 96;

/// Entries as they are stored, by key.
pub type Page = BTreeMap<Vec<u8>, Vec<u8>>;

/// What commits have replaced, for the snapshot that is being read; there is one at most.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Option<Aside>>);

#[derive(Debug, Default)]
pub(super) struct Aside {
    // Nothing below it matters any more.
    next: Vec<u8>,
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    is_lost: bool,
}

impl Shelf {
    /// Held by the writer from before it looks at what a commit replaces until the commit is applied.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Aside>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Aside {
    /// Keeps what stands under a key that a commit is about to change; `read` gives nothing if nothing does. A fault of it is the
    /// snapshot's and not the commit's.
    pub(super) fn keep<E>(&mut self, key: &[u8], read: impl FnOnce() -> Result<Option<Vec<u8>>, E>) {
        if self.is_lost || key < self.next.as_slice() || self.before.contains_key(key) {
            return;
        }
        let Ok(value) = read() else {
            self.is_lost = true;
            return;
        };
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + OVERHEAD;
        self.before.insert(key.to_vec(), value);
        if self.bytes > ASIDE_MAX {
            self.before = BTreeMap::new();
            self.is_lost = true;
        }
    }

    // Puts back what stood between the last page and this one's end, and forgets it.
    fn put_back(&mut self, page: &mut Page, last: Option<&[u8]>) {
        let rest = match last {
            Some(last) => {
                self.next = [last, &[0]].concat();
                self.before.split_off(&self.next)
            }
            None => BTreeMap::new(),
        };
        for (key, value) in std::mem::replace(&mut self.before, rest) {
            self.bytes = self.bytes.saturating_sub(key.len() + value.as_ref().map_or(0, Vec::len) + OVERHEAD);
            match value {
                Some(value) => page.insert(key, value),
                None => page.remove(&key),
            };
        }
    }
}

/// The store as of one commit.
#[derive(Debug)]
pub struct Snapshot {
    db: Database,
    shelf: Arc<Shelf>,
    meta: Meta,
    is_over: bool,
}

impl Snapshot {
    /// Begins one; called between two commits. `None` if another one is being read.
    pub(super) fn begin(db: Database, shelf: Arc<Shelf>, meta: Meta) -> Option<Self> {
        let mut aside = shelf.lock();
        if aside.is_some() {
            return None;
        }
        *aside = Some(Aside::default());
        drop(aside);
        Some(Self { db, shelf, meta, is_over: false })
    }

    /// The last commit that is in it.
    pub const fn sequence(&self) -> u64 {
        self.meta.sequence
    }

    /// Layout of the store.
    pub const fn schema(&self) -> u32 {
        self.meta.schema
    }

    /// Number of entries of the audit log, and the root over them.
    pub const fn log(&self) -> (u64, Hash) {
        (self.meta.log_size, self.meta.log_root)
    }

    /// The next entries in the order of their keys, values as they are stored, the meta record among them; nothing at the end.
    pub fn next_page(&mut self) -> Result<Option<Page>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let mut kept = self.shelf.lock();
        let too_much = || {
            let why = "too much was changed while it was copied; try again when no import, undo, erasure or retention is under way";
            StoreError::Read(why.to_owned())
        };
        let aside = kept.as_mut().filter(|aside| !aside.is_lost).ok_or_else(too_much)?;
        let from = Bound::Included(aside.next.clone());
        let mut page: Page = self.db.read(|db| {
            let entries = db.range((from, Bound::Unbounded)).take(PAGE);
            entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })?;
        self.is_over = page.len() < PAGE;
        let last = page.last_key_value().filter(|_| !self.is_over).map(|(last, _)| last.clone());
        aside.put_back(&mut page, last.as_deref());
        if self.is_over {
            *kept = None;
        }
        drop(kept);
        match page.iter().find(|(_, value)| unwrap(value).is_none()) {
            Some((key, _)) => Err(bad_checksum(key)),
            None => Ok(Some(page)),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // One that was read to its end is off the shelf already, and another one may lie there.
        if !self.is_over {
            *self.shelf.lock() = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::{Batch, KeyKind, Store, layout::key};

    fn under(store: &Store, numbers: impl Iterator<Item = u64>, text: Option<&str>) {
        let mut batch = Batch::default();
        for number in numbers {
            let key = key(KeyKind::Block, &[&number.to_be_bytes()]);
            match text {
                Some(text) => batch.put(key, text.as_bytes()),
                None => batch.delete(key),
            }
        }
        store.commit(batch).unwrap();
    }

    fn rest(snapshot: &mut Snapshot) -> Page {
        let mut all = BTreeMap::new();
        while let Some(page) = snapshot.next_page().unwrap() {
            all.extend(page);
        }
        all
    }

    #[test]
    fn a_snapshot_is_the_store_as_of_one_commit_whatever_is_committed_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), 1 << 20).unwrap();
        under(&store, (0..2_000).map(|number| number * 2), Some("old"));
        let want = rest(&mut store.snapshot().unwrap());
        assert_eq!(want.len(), 2_001, "the meta record is in it");

        for read_before in [0usize, 1, 3, 7] {
            let mut snapshot = store.snapshot().unwrap();
            let want = {
                let mut other = BTreeMap::new();
                // Only one at a time: what it must be is what is there now.
                for entry in store.db.read(|db| db.iter().collect::<Result<Vec<_>, _>>()).unwrap() {
                    other.insert(entry.0.to_vec(), entry.1.to_vec());
                }
                other
            };
            let mut got = BTreeMap::new();
            for _ in 0..read_before {
                got.extend(snapshot.next_page().unwrap().unwrap());
            }
            under(&store, (0..2_000).step_by(3).map(|number| number * 2), Some("new"));
            under(&store, (0..2_000).step_by(7).map(|number| number * 2), None);
            under(&store, (0..900).map(|number| number * 2 + 1), Some("added"));
            under(&store, (0..900).map(|number| number * 2 + 1), None);
            under(&store, 5_000..5_600, Some("behind everything"));
            got.extend(snapshot.next_page().unwrap().unwrap());
            under(&store, (0..2_000).map(|number| number * 2), Some("newer"));
            got.extend(rest(&mut snapshot));
            assert!(got == want, "{read_before} pages were read before");
            assert_eq!(snapshot.next_page().unwrap(), None);
        }
    }

    #[test]
    fn there_is_one_snapshot_at_a_time_and_one_that_is_dropped_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), 1 << 20).unwrap();
        under(&store, 0..1_000, Some("old"));
        let first = store.snapshot().unwrap();
        assert!(store.snapshot().is_err());
        drop(first);
        let mut second = store.snapshot().unwrap();
        rest(&mut second);
        // At its end it is out of the way, also while it is still there.
        let mut third = store.snapshot().unwrap();
        drop(second);
        under(&store, 0..1_000, Some("new"));
        assert!(rest(&mut third).values().filter(|value| value.ends_with(b"old")).count() == 1_000);
    }

    #[test]
    fn a_snapshot_of_which_too_much_was_replaced_says_so_and_takes_no_more_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), 1 << 20).unwrap();
        under(&store, 0..12_000, Some(&"x".repeat(5_900)));
        let mut snapshot = store.snapshot().unwrap();
        snapshot.next_page().unwrap();
        under(&store, 0..12_000, None);
        assert!(snapshot.next_page().unwrap_err().to_string().contains("too much was changed"));
        drop(snapshot);
        assert!(store.snapshot().is_ok());
    }
}
