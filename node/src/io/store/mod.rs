//! The store: sled behind one typed module. Nothing is acknowledged before it is durable, and damage is named, never served.
//!
//! Every value is `[version u8][crc32 u32][bytes]`. Every commit is one atomic batch that also holds the meta record
//! `{sequence, keys by kind}`; then sled's flush, then `fdatasync` of sled's file through our own handle (sled 0.34's flush does
//! not reach the disk by itself), then the manifest beside the database. Opening compares the three.

mod agreements;
mod check;
mod clock;
mod compact;
mod contradictions;
mod destroyed;
mod failure;
mod greetings;
mod held;
mod layout;
mod log;
mod manifest;
mod open;
mod records;
mod restoring;
mod room;
mod seen;
mod snapshot;
mod tables;
mod withdrawals;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

pub use agreements::{AgreementEntry, Course};
pub use check::{Checked, Flaw, Holding};
pub use contradictions::ContradictionEntry;
pub use destroyed::{Destroyed, Place, Said};
pub use held::ReceivedEntry;
pub use layout::{Batch, KeyKind};
pub use log::{LogNodes, LogTree, NewEntry};
pub use records::{BLOCK_LINES_MAX, Declaration, ErasureEntry, ImportEntry, Packer, Stored, Undone};
pub use restoring::{Counted, Filling, Restored, Tally};
pub use room::{Shortage, is_full, shortage};
pub use seen::PromiseEntry;
pub use snapshot::{Page, Snapshot};
pub use tables::{EditionDetail, EditionEntry};
pub use withdrawals::WithdrawnEntry;

use compact::Database;
use layout::{SCHEMA, unwrap};
use open::Lock;
use room::Room;
use writer::Writer;

/// Largest commit that may use what is kept for what is essential, in bytes.
const ESSENTIAL_MAX: u64 = 256 << 10;

/// Entries taken from the database at once in a scan.
const PAGE: usize = 256;

type Entry = Result<(Vec<u8>, Vec<u8>), StoreError>;

fn bad_checksum(key: &[u8]) -> StoreError {
    StoreError::Read(format!("the checksum of {} does not fit", accord_protocol::id::to_hex(key)))
}

/// What is wrong with the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the node in {} is already running ({by})", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
        /// Who, as far as is known.
        by: String,
    },
    /// Something is missing or changed. Never opened as if it were empty.
    #[error("the store in {} is damaged: {what} (expected {expected}, found {found})", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What the manifest or the meta record says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Written by an older program.
    #[error(
        "the store was written by an older version of Accord (layout {0}, this one writes {SCHEMA}); import the records again into a new store, or use that version"
    )]
    TooOld(u32),
    /// Written by a newer program.
    #[error("the store was written by a newer version of Accord (layout {0}); update this program")]
    TooNew(u32),
    /// No room.
    #[error(
        "the disk of {} is nearly full: {free} bytes free, {needed} needed; free some space, then try again - nothing was changed",
        path.display()
    )]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// There was no room in the middle of a write; the store takes no more until it is opened again.
    #[error(
        "the disk was full while this was written ({0}): it may be stored or not; the node opens its store again by itself"
    )]
    Interrupted(String),
    /// Writing failed; the store takes no more writes until the node is restarted.
    #[error("the store cannot write any more ({0}); restart the node once the cause is gone")]
    Broken(String),
    /// Reading failed.
    #[error("the store cannot be read: {0}")]
    Read(String),
}

/// An open store. Calls block: use them from a blocking task.
#[derive(Debug, Clone)]
pub struct Store {
    db: Database,
    writer: Arc<Writer>,
    sequence: Arc<AtomicU64>,
    tree: Arc<RwLock<LogTree>>,
    room: Arc<Room>,
    // Why it takes no more writes, if so.
    broken: tokio::sync::watch::Receiver<Option<StoreError>>,
    // Nobody else opens it before the last of these is gone.
    _lock: Arc<Lock>,
}

impl Store {
    /// Opens the store of a node's folder, or makes a new one. Every value's checksum and every count is verified.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Stored), StoreError> {
        open::open(dir, cache_bytes)
    }

    /// Commits a batch; returns its sequence number once it is durable.
    pub fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        match batch.bytes() {
            // Taking something away is what makes room.
            0 => self.room.for_removals(batch.bytes_of_removals())?,
            bytes if batch.is_essential && bytes <= ESSENTIAL_MAX => self.room.for_essentials(bytes)?,
            bytes => self.room.for_work(bytes)?,
        }
        let sequence = self.writer.commit(batch)?;
        self.sequence.fetch_max(sequence, Ordering::Relaxed);
        Ok(sequence)
    }

    /// Copies everything that is there into a new database and swaps the two, so that what was deleted is gone from the disk too.
    /// Returns the bytes on disk before and after. Commits wait meanwhile, reads for the moment of the swap.
    pub fn compact(&self) -> Result<(u64, u64), StoreError> {
        self.writer.compact()
    }

    /// The store as it is between two commits, to be read while others commit. There is one at a time.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.writer.snapshot()
    }

    /// Bytes of the database on disk.
    pub fn size(&self) -> u64 {
        self.db.size()
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.db.read(|db| db.get(key))?;
        found.map(|bytes| unwrap(&bytes).map(<[u8]>::to_vec).ok_or_else(|| bad_checksum(key))).transpose()
    }

    fn scan(&self, kind: KeyKind) -> impl Iterator<Item = Entry> + use<> {
        self.scan_prefix(&[kind.number()])
    }

    /// Every entry under a prefix. Entries are taken in pages, so that no scan keeps a compaction from finishing.
    fn scan_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Entry> + use<> {
        self.scan_from(prefix.to_vec(), prefix)
    }

    /// The same from a key on.
    fn scan_from(&self, from: Vec<u8>, prefix: &[u8]) -> impl Iterator<Item = Entry> + use<> {
        let (db, prefix) = (self.db.clone(), prefix.to_vec());
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let from = next.take()?;
            let page = db.read(|db| {
                db.range(from..)
                    .take_while(|entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
                    .take(PAGE)
                    .collect::<Result<Vec<_>, _>>()
            });
            if let Ok(page) = &page
                && page.len() == PAGE
                && let Some((last, _)) = page.last()
            {
                // The smallest key after the last one.
                next = Some([last.as_ref(), &[0]].concat());
            }
            Some(match page {
                Ok(page) => page
                    .into_iter()
                    .map(|(key, value)| {
                        let value = unwrap(&value).ok_or_else(|| bad_checksum(&key))?;
                        Ok((key.to_vec(), value.to_vec()))
                    })
                    .collect::<Vec<Entry>>(),
                Err(error) => vec![Err(error)],
            })
        })
        .flatten()
    }

    /// The sequence number of the last commit.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Refuses work for which there is no room.
    pub fn room(&self, bytes: u64) -> Result<(), StoreError> {
        self.room.for_work(bytes)
    }

    /// Looks whether there is room, and goes on where there is again; why the store is read-only, if it is.
    pub fn look_at_room(&self) -> Result<Option<Shortage>, StoreError> {
        self.room.look()
    }

    /// Why it takes no more writes, if so.
    pub fn broken(&self) -> Option<StoreError> {
        self.broken.borrow().clone()
    }

    /// Waits until there was no room in the middle of a write.
    pub async fn interrupted(&self) {
        let mut broken = self.broken.clone();
        let interrupted = |why: &Option<StoreError>| matches!(why, Some(StoreError::Interrupted(_)));
        if broken.wait_for(interrupted).await.is_err() {
            // Its writer has stopped, and will not say anything any more.
            std::future::pending::<()>().await;
        }
    }

    /// Closes the database under whoever still uses it: nothing can be read or committed any more.
    pub fn close(&self) {
        self.db.close();
    }
}
