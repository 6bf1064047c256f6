//! Room on the disk: the water mark below which nothing is accepted, and the ballast that is given up where what must be written lacks it.
//!
//! The ballast is a file beside the database that holds nothing: it keeps room for an open of the store, the entry of a start or a
//! stop and what else is essential. It goes where less than that is free, and while it is gone, or less than the water mark is free,
//! the store is read-only. That is over once there is room for the ballast and some more beside the water mark, and the ballast could
//! be written: so it does not flap, and a disk that only claims to have room (a quota, no inodes) is found out.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use accord_edge::{clock::Stopwatch, random};

use super::StoreError;

/// Free space below which the store is read-only, in bytes: what it needs to finish what it has begun.
const WATER_MARK: u64 = 32 << 20;

/// More than the water mark, so much must be free before it is left again.
const SLACK: u64 = 8 << 20;

/// What must be free beside what is essential.
const RESERVE: u64 = 8 << 20;

/// What must be free beside removals, and for an open: two segments of sled's, a manifest, and the snapshot of a small database.
const LEAST: u64 = 2 << 20;

/// Smallest ballast: the reserve, and as much for entries.
const BALLAST_LEAST: u64 = 2 * RESERVE;

/// The part of the database that sled writes anew when it opens, its snapshot, is a 1700th of it, as measured; this is more than two.
const SNAPSHOT_PART: u64 = 512;

/// How long a ballast that could not be written is not tried again, in milliseconds: others ask for room as often as they like.
const IN_VAIN_MS: u64 = 1_000;

/// Bytes of the ballast written at once.
const CHUNK: usize = 64 << 10;

/// Why a store takes no changes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The folder whose disk it is.
    pub folder: PathBuf,
    /// Bytes free there.
    pub free: u64,
    /// Bytes that must be free before it goes on.
    pub needed: u64,
}

impl From<Shortage> for StoreError {
    fn from(Shortage { folder, free, needed }: Shortage) -> Self {
        Self::DiskFull { path: folder, free, needed }
    }
}

/// The room beside one database.
#[derive(Debug)]
pub(super) struct Room {
    dir: PathBuf,
    // The file of the database, by whose size the ballast is measured.
    database: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_short: bool,
    // When the ballast could not be written.
    in_vain: Option<Stopwatch>,
}

/// Whether an error says that there is no room: on the disk, or for this user.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that are free for this user on the disk of a folder.
fn free(dir: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(dir).map_err(|error| StoreError::Read(format!("{}: {error}", dir.display())))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// That something failed for want of room in a folder.
pub fn shortage(dir: &Path) -> StoreError {
    StoreError::DiskFull { path: dir.to_owned(), free: free(dir).unwrap_or(0), needed: WATER_MARK }
}

impl Room {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), database: dir.join("sled").join("db"), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self) -> Result<u64, StoreError> {
        free(&self.dir)
    }

    fn snapshots(&self) -> u64 {
        fs::metadata(&self.database).map_or(0, |metadata| metadata.len()) / SNAPSHOT_PART
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// What lacks of the ballast. A database that has grown a little since makes none too small.
    fn missing(&self) -> u64 {
        let wanted = BALLAST_LEAST + self.snapshots();
        if self.held() >= wanted / 4 * 3 { 0 } else { wanted }
    }

    fn held(&self) -> u64 {
        fs::symlink_metadata(self.ballast()).map_or(0, |metadata| metadata.len())
    }

    fn shortage(&self, free: u64, needed: u64) -> StoreError {
        Shortage { folder: self.dir.clone(), free, needed }.into()
    }

    /// Makes room for opening the database, if it must, and refuses where there is not enough all the same.
    pub(super) fn for_opening(&self) -> Result<(), StoreError> {
        self.beside(0, LEAST + self.snapshots())
    }

    /// Refuses what is not essential where there is no room for it, or the store is read-only.
    pub(super) fn for_work(&self, bytes: u64) -> Result<(), StoreError> {
        if let Some(shortage) = self.look()? {
            return Err(shortage.into());
        }
        let (free, needed) = (self.free()?, with_reserve(bytes, WATER_MARK));
        if free < needed { Err(self.shortage(free, needed)) } else { Ok(()) }
    }

    /// Refuses what is essential only where the ballast does not help either.
    pub(super) fn for_essentials(&self, bytes: u64) -> Result<(), StoreError> {
        self.beside(bytes, RESERVE)
    }

    /// The same for removals, which are what makes room: `bytes` are those of the keys.
    pub(super) fn for_removals(&self, bytes: u64) -> Result<(), StoreError> {
        self.beside(bytes, LEAST)
    }

    fn beside(&self, bytes: u64, reserve: u64) -> Result<(), StoreError> {
        let (mut free, needed) = (self.free()?, with_reserve(bytes, reserve));
        if free < needed {
            self.release();
            free = self.free()?;
        }
        if free < needed { Err(self.shortage(free, needed)) } else { Ok(()) }
    }

    /// Gives the ballast up.
    pub(super) fn release(&self) {
        let mut state = self.state();
        match fs::remove_file(self.ballast()) {
            Ok(()) => {
                tracing::warn!(folder = %self.dir.display(), "the disk is full: the ballast is given up for what must be written");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, file = %self.ballast().display(), "the ballast cannot be removed"),
        }
        self.becomes_short(&mut state);
    }

    fn becomes_short(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_short, true) {
            let (free, needed) = (self.free().unwrap_or(0), self.needed_to_go_on());
            tracing::error!(folder = %self.dir.display(), free, needed, "the disk is full: nothing is accepted and no request answered until there is room again");
        }
    }

    fn needed_to_go_on(&self) -> u64 {
        WATER_MARK + SLACK + self.missing()
    }

    /// Looks whether there is room, and makes the ballast again where there is; why the store is read-only, if it is.
    pub(super) fn look(&self) -> Result<Option<Shortage>, StoreError> {
        let mut state = self.state();
        let (free, missing) = (self.free()?, self.missing());
        let needed = self.needed_to_go_on();
        // One that has become small for its database has to do where there is no room for a larger one.
        let serves = missing == 0 || self.held() >= BALLAST_LEAST && free < needed;
        if !state.is_short && serves && free >= WATER_MARK {
            return Ok(None);
        }
        if free >= needed && (missing == 0 || self.fill(missing, &mut state)) {
            if std::mem::replace(&mut state.is_short, false) {
                tracing::info!(folder = %self.dir.display(), free, "there is room on the disk again: the node goes on");
            }
            return Ok(None);
        }
        self.becomes_short(&mut state);
        Ok(Some(Shortage { folder: self.dir.clone(), free, needed }))
    }

    // Whole, or not there.
    fn fill(&self, bytes: u64, state: &mut State) -> bool {
        if state.in_vain.as_ref().is_some_and(|since| since.ms() < IN_VAIN_MS) {
            return false;
        }
        let path = self.ballast();
        let made = remove(&path).and_then(|()| write_ballast(&path, bytes));
        if let Err(error) = &made {
            if state.in_vain.is_none() {
                tracing::warn!(%error, file = %path.display(), "the ballast cannot be written");
            }
            if let Err(error) = remove(&path) {
                tracing::error!(%error, file = %path.display(), "the ballast cannot be removed");
            }
        }
        state.in_vain = made.is_err().then(Stopwatch::start);
        made.is_ok()
    }
}

// sled writes each value once to its log and may rewrite its segment.
const fn with_reserve(bytes: u64, reserve: u64) -> u64 {
    bytes.saturating_mul(3).saturating_add(reserve)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// Of random bytes, so that a file system that compresses keeps room for all of them. It need not survive a power cut.
fn write_ballast(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut left = bytes;
    while left > 0 {
        let chunk = random::bytes::<CHUNK>().map_err(io::Error::other)?;
        file.write_all(&chunk)?;
        left = left.saturating_sub(CHUNK as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_ballast_goes_when_it_must_and_is_made_again_where_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path());
        let held = || fs::metadata(folder.path().join("ballast")).ok().map(|metadata| metadata.len());
        assert_eq!((room.look().unwrap(), held()), (None, Some(BALLAST_LEAST)));
        let mode = fs::metadata(folder.path().join("ballast")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let free = room.free().unwrap();
        // More than there is: what is essential takes the ballast, other work does not.
        assert!(matches!(room.for_work(free), Err(StoreError::DiskFull { .. })));
        assert_eq!(held(), Some(BALLAST_LEAST));
        assert!(matches!(room.for_essentials(free), Err(StoreError::DiskFull { .. })));
        assert_eq!((held(), room.state().is_short), (None, true));
        room.for_work(1).unwrap();
        assert_eq!((held(), room.state().is_short), (Some(BALLAST_LEAST), false));
        // Half a ballast, as a kill leaves it, is made whole, and one of a database that has grown larger.
        fs::write(folder.path().join("ballast"), b"half").unwrap();
        assert_eq!((room.look().unwrap(), held()), (None, Some(BALLAST_LEAST)));
        fs::create_dir(folder.path().join("sled")).unwrap();
        let database = fs::File::create(&room.database).unwrap();
        database.set_len(2 << 30).unwrap();
        assert_eq!((room.look().unwrap(), held()), (None, Some(BALLAST_LEAST)), "a little more is none too small");
        database.set_len(8 << 30).unwrap();
        assert_eq!((room.look().unwrap(), held()), (None, Some(BALLAST_LEAST + (16 << 20))));
        // Where it cannot be written there is no room, whatever the file system says.
        room.release();
        fs::create_dir(folder.path().join("ballast")).unwrap();
        fs::write(folder.path().join("ballast/in-the-way"), b"").unwrap();
        let shortage = room.look().unwrap().unwrap();
        assert!(shortage.free > shortage.needed);
        assert!(matches!(room.for_work(1), Err(StoreError::DiskFull { .. })));
        room.for_essentials(1).unwrap();
    }

    #[test]
    fn a_store_that_was_closed_is_opened_again_in_the_same_process_and_nobody_else_meanwhile() {
        use super::super::{Batch, Store};
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(&folder.path().join("store"), 1 << 20);
        let commit = |store: &Store, number: u64| {
            let mut batch = Batch::default();
            batch.put_frozen(&number.to_be_bytes());
            store.commit(batch)
        };
        let (store, _) = open().unwrap();
        assert!(matches!(open(), Err(StoreError::Busy { .. })));
        for number in 1..=20 {
            assert_eq!(commit(&store, number).unwrap(), number);
        }
        let other = store.clone();
        store.close();
        assert!(matches!(commit(&store, 21), Err(StoreError::Broken(_))));
        assert!(!store.check().flaws.is_empty(), "nothing is read any more");
        drop(store);
        assert!(matches!(open(), Err(StoreError::Busy { .. })), "whoever still uses it keeps it");
        drop(other);
        let (store, _) = open().unwrap();
        assert_eq!((store.sequence(), store.check().flaws), (20, Vec::new()));
        assert_eq!(commit(&store, 21).unwrap(), 21);
    }
}
