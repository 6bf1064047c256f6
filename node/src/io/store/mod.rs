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
mod greetings;
mod held;
mod layout;
mod log;
mod manifest;
mod open;
mod records;
mod restoring;
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
pub use seen::PromiseEntry;
pub use snapshot::{Page, Snapshot};
pub use tables::{EditionDetail, EditionEntry};
pub use withdrawals::WithdrawnEntry;

use compact::Database;
use layout::{SCHEMA, unwrap};
use writer::Writer;

/// Free space below which nothing is accepted any more, in bytes: what the store needs to finish what it has begun.
pub const BALLAST: u64 = 32 << 20;

/// Largest commit that may use three quarters of that, in bytes.
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
        "the disk is nearly full: {free} bytes free, {needed} needed; free some space, then try again - nothing was changed"
    )]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
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
    dir: PathBuf,
    writer: Arc<Writer>,
    sequence: Arc<AtomicU64>,
    tree: Arc<RwLock<LogTree>>,
}

impl Store {
    /// Opens the store of a node's folder, or makes a new one. Every value's checksum and every count is verified.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Stored), StoreError> {
        open::open(dir, cache_bytes)
    }

    /// Commits a batch; returns its sequence number once it is durable.
    pub fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        // Taking something away needs no room to be asked for; it is what makes room.
        if batch.bytes() > 0 {
            let reserve = if batch.is_essential && batch.bytes() <= ESSENTIAL_MAX { BALLAST / 4 } else { BALLAST };
            self.room_beside(batch.bytes(), reserve)?;
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
        self.room_beside(bytes, BALLAST)
    }

    fn room_beside(&self, bytes: u64, reserve: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| StoreError::Read(error.to_string()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        // sled writes each value once to its log and may rewrite its segment.
        let needed = bytes.saturating_mul(3).saturating_add(reserve);
        if free < needed { Err(StoreError::DiskFull { free, needed }) } else { Ok(()) }
    }
}
