//! The store: sled behind one typed module. Nothing is acknowledged before it is durable, and damage is named, never served.
//!
//! Every value is `[version u8][crc32 u32][bytes]`. Every commit is one atomic batch that also holds the meta record
//! `{sequence, keys by kind}`; then sled's flush, then `fdatasync` of sled's file through our own handle (sled 0.34's flush does
//! not reach the disk by itself), then the manifest beside the database. Opening compares the three.

mod layout;
mod manifest;
mod open;
mod tables;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use layout::{Batch, KeyKind};
pub use tables::{BLOCK_LINES_MAX, EditionDetail, EditionEntry, ImportEntry, Packer, ReplayEntry, Stored};

use writer::Writer;

/// Free space below which nothing is accepted any more, in bytes: what the store needs to finish what it has begun.
pub const BALLAST: u64 = 32 << 20;

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
    db: sled::Db,
    dir: PathBuf,
    writer: Arc<Writer>,
    sequence: Arc<AtomicU64>,
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
            self.room(batch.bytes())?;
        }
        let sequence = self.writer.commit(batch)?;
        self.sequence.fetch_max(sequence, Ordering::Relaxed);
        Ok(sequence)
    }

    /// The sequence number of the last commit.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Refuses work for which there is no room.
    pub fn room(&self, bytes: u64) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| StoreError::Read(error.to_string()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        // sled writes each value once to its log and may rewrite its segment.
        let needed = bytes.saturating_mul(3).saturating_add(BALLAST);
        if free < needed { Err(StoreError::DiskFull { free, needed }) } else { Ok(()) }
    }
}
