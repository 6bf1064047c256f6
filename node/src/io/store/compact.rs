//! The database handle, and compaction: a copy of what is there takes the place of files that never shrink.
//!
//! sled's files keep what was deleted until the space is used again. Compaction copies every live entry into a new database beside
//! the old one, makes it durable, exchanges the two folders in one step (`RENAME_EXCHANGE`), and removes the old one. A crash before
//! the exchange leaves the old database in place, one after it the new one; the other folder is removed at the next start. What sled
//! cannot read while it opens a database it takes for the end of it: the old one is removed once all of the copy has been found again.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use accord_edge::files;

use super::{StoreError, failure::Failure, open::open_sled};

/// Why a store that is closed under its users, or did not open again after a compaction, says no.
const CLOSED: &str = "its database is closed";

/// Entries copied in one batch.
const COPY_BATCH: usize = 1_000;

// sled syncs its file when it is dropped, and panics where that fails: no error may become a crash by that.
#[derive(Debug)]
pub(super) struct Handle(Option<sled::Db>);

impl Handle {
    pub(super) fn new(db: sled::Db) -> Self {
        Self(Some(db))
    }

    /// The database behind it.
    pub(super) fn db(&self) -> Result<&sled::Db, Failure> {
        self.0.as_ref().ok_or_else(|| Failure::other(CLOSED))
    }

    // Whether a copy holds so many entries.
    fn is_whole(&self, count: usize) -> Result<(), Failure> {
        let db = self.db()?;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| db.len()))
            .map_err(|_| Failure::other("sled panicked while the copy was counted"))?;
        if found == count {
            return Ok(());
        }
        Err(Failure::other(format!("the copy holds {found} entries instead of {count}")))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(db) = self.0.take() else { return };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::error!("the database could not be closed in order; what was acknowledged is on the disk");
        }
    }
}

/// The open database. Readers hold it for one call each; compaction takes it away for a moment.
#[derive(Debug, Clone)]
pub(super) struct Database {
    open: Arc<RwLock<Handle>>,
    path: PathBuf,
    cache_bytes: u64,
}

impl Database {
    pub(super) fn new(db: Handle, path: PathBuf, cache_bytes: u64) -> Self {
        Self { open: Arc::new(RwLock::new(db)), path, cache_bytes }
    }

    /// One read of the database.
    pub(super) fn read<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        work(open.db()?).map_err(|error| StoreError::Read(error.to_string()))
    }

    /// One change of the database.
    pub(super) fn write<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Failure> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        Ok(work(open.db()?)?)
    }

    /// Whether it can be read and written.
    pub(super) fn is_open(&self) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Closes it for everybody.
    pub(super) fn close(&self) {
        let db = self.open.write().unwrap_or_else(PoisonError::into_inner).0.take();
        drop(Handle(db));
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        size_of(&self.path)
    }

    /// Replaces the database by a copy; called by the one writer. Returns bytes on disk before and after.
    pub(super) fn compact(&self) -> Result<(u64, u64), Failure> {
        let fresh = beside(&self.path);
        let before = size_of(&self.path);
        remove(&fresh)?;
        let count = self.copy_to(&fresh).inspect_err(|_| {
            // Half a copy would keep the room that it lacks.
            if let Err(error) = remove(&fresh) {
                tracing::warn!(%error, "half a copy stays until the next start");
            }
        })?;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // The only handle: with it the files of the old database are closed.
        drop(open.0.take());
        let swapped = swap(&fresh, &self.path).and_then(|()| {
            let copy = open_sled(&self.path, self.cache_bytes);
            copy.and_then(|copy| copy.is_whole(count).map(|()| copy)).or_else(|failure| {
                // The old one gets its name back.
                swap(&fresh, &self.path)?;
                Err(failure)
            })
        });
        match swapped {
            Ok(copy) => *open = copy,
            Err(failure) => {
                // Whichever of the two has the name now is whole.
                *open = open_sled(&self.path, self.cache_bytes)?;
                return Err(failure);
            }
        }
        drop(open);
        // What cannot be removed now is removed at the next start.
        if let Err(error) = remove(&fresh) {
            tracing::warn!(%error, "the old database of a compaction stays until the next start");
        }
        Ok((before, size_of(&self.path)))
    }

    // Returns how many entries the copy has.
    fn copy_to(&self, fresh: &Path) -> Result<usize, Failure> {
        let handle = open_sled(fresh, self.cache_bytes)?;
        let copy = handle.db()?;
        let mut next: Vec<u8> = Vec::new();
        let mut copied = 0usize;
        loop {
            let page = self.read(|db| db.range(next.clone()..).take(COPY_BATCH).collect::<Result<Vec<_>, _>>())?;
            let Some((last, _)) = page.last() else { break };
            next = [last.as_ref(), &[0]].concat();
            copied += page.len();
            let mut batch = sled::Batch::default();
            for (key, value) in page {
                super::unwrap(&value).ok_or_else(|| super::bad_checksum(&key))?;
                batch.insert(key, value);
            }
            copy.apply_batch(batch)?;
        }
        copy.flush()?;
        handle.is_whole(copied)?;
        drop(handle);
        // As with every commit: sled's own flush does not reach the disk.
        fs::File::open(fresh.join("db"))?.sync_data()?;
        files::sync_dir(fresh)?;
        Ok(copied)
    }
}

/// Where the copy is made.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("fresh")
}

/// Removes what a compaction that was interrupted has left.
pub(super) fn remove_left_over(path: &Path) -> Result<(), Failure> {
    remove(&beside(path))
}

fn swap(fresh: &Path, path: &Path) -> Result<(), Failure> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, fresh, CWD, path, RenameFlags::EXCHANGE).map_err(std::io::Error::from)?;
    let parent = path.parent().unwrap_or(path);
    Ok(files::sync_dir(parent)?)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(files::at("remove", folder)(source).into()),
    }
}

fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
