//! The guarded open: a lock, room, left-overs cleaned up, panics caught, every checksum and count compared.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use accord_edge::files;
use rustix::fs::{Advice, fadvise};

use super::{
    KeyKind, Store, StoreError,
    compact::{Database, Handle, remove_left_over},
    failure::Failure,
    layout::{META_KEY, Meta, OLDEST_SCHEMA, SCHEMA, from_bytes, unwrap},
    log::LogTree,
    manifest::Manifest,
    records::{Stored, load},
    room::{Room, shortage},
    writer::Writer,
};

/// Locks of folders that this process has opened. It keeps them for as long as it lasts, also while a store is closed and opened again.
static LOCKS: Mutex<BTreeMap<PathBuf, Locked>> = Mutex::new(BTreeMap::new());

/// How often it is looked whether the last handle of a database that was closed is gone, and the pause in between.
const LET_GO_TRIES: u32 = 400;
const LET_GO_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Locked {
    file: File,
    is_open: bool,
}

/// The lock of a folder, while a store is open there.
#[derive(Debug)]
pub(super) struct Lock {
    dir: PathBuf,
}

fn damaged(dir: &Path, what: &str, expected: impl Into<String>, found: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: dir.to_owned(), what: what.to_owned(), expected: expected.into(), found: found.into() }
}

pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<(Store, Stored), StoreError> {
    let failed =
        |failure: Failure| if failure.is_full() { shortage(dir) } else { StoreError::Read(failure.to_string()) };
    files::make_dir(dir).map_err(|error| failed(error.into()))?;
    let lock = Arc::new(Lock::take(dir)?);
    let room = Arc::new(Room::new(dir));
    room.for_opening()?;
    lock.sign();
    let manifest =
        Manifest::read(dir).map_err(|error| damaged(dir, "the manifest cannot be read", "a manifest", error))?;
    let path = dir.join("sled");
    let is_new = manifest.is_none();
    if !is_new && !path.join("db").exists() {
        return Err(damaged(dir, "the database file is missing", "sled/db", "nothing"));
    }
    prepare(&path).map_err(failed)?;
    let mut opened = open_sled(&path, cache_bytes);
    if opened.as_ref().is_err_and(Failure::is_full) {
        // There was less room than there seemed to be.
        room.release();
        prepare(&path).map_err(failed)?;
        opened = open_sled(&path, cache_bytes);
    }
    let db = opened.map_err(|failure| {
        if failure.is_full() {
            return shortage(dir);
        }
        damaged(dir, "the database does not open", "an intact database", failure.to_string())
    })?;
    let db = Database::new(db, path.clone(), cache_bytes);
    let meta = checked(dir, &db, manifest.as_ref())?;
    let file = File::open(path.join("db")).map_err(|error| failed(error.into()))?;
    if is_new {
        // The names of the new files must survive a power cut too.
        for folder in [&path, &dir.to_path_buf()] {
            files::sync_dir(folder).map_err(|error| failed(error.into()))?;
        }
    }
    let sequence = Arc::new(AtomicU64::new(meta.sequence));
    let (log_size, log_root) = (meta.log_size, meta.log_root);
    let tree = Arc::<RwLock<LogTree>>::default();
    let place = (dir.to_owned(), Arc::clone(&room));
    let (writer, broken) = Writer::start(db.clone(), file, place, meta, Arc::clone(&tree))
        .map_err(|error| StoreError::Read(error.to_string()))?;
    let writer = Arc::new(writer);
    let store = Store { db, writer, sequence, tree, room, broken, _lock: lock };
    let read = store.read_tree(log_size)?;
    if read.root() != log_root {
        let (expected, found) = (format!("root {log_root} over {log_size} entries"), format!("root {}", read.root()));
        return Err(damaged(dir, "the audit log was changed", expected, found));
    }
    *store.tree.write().unwrap_or_else(PoisonError::into_inner) = read;
    let stored = load(&store)?;
    // The ballast is made where it is missing; without it the store is read-only.
    store.look_at_room()?;
    Ok((store, stored))
}

// What the database says of itself, if nothing that was acknowledged is missing.
fn checked(dir: &Path, db: &Database, manifest: Option<&Manifest>) -> Result<Meta, StoreError> {
    let scan = db
        .read(|db| Ok(Scan::of(db)))?
        .map_err(|(key, error)| damaged(dir, &format!("a value cannot be read ({key})"), "an intact value", error))?;
    let meta = scan.meta.unwrap_or_else(Meta::of_nothing);
    if meta.schema > SCHEMA {
        return Err(StoreError::TooNew(meta.schema));
    }
    if meta.schema < OLDEST_SCHEMA {
        return Err(StoreError::TooOld(meta.schema));
    }
    if let Some(manifest) = manifest
        && meta.sequence < manifest.sequence
    {
        return Err(damaged(
            dir,
            "acknowledged commits are missing",
            format!("commit {}", manifest.sequence),
            format!("commit {}", meta.sequence),
        ));
    }
    // A crash before the first manifest leaves an empty database; anything in it means that the manifest was lost, and with it
    // the knowledge of what was acknowledged.
    if manifest.is_none() && meta.sequence > 1 {
        return Err(damaged(dir, "the manifest is missing", "manifest.json", format!("commit {}", meta.sequence)));
    }
    let expected: BTreeMap<u8, u64> = meta.counts.iter().copied().collect();
    if expected != scan.counts {
        let words = |counts: &BTreeMap<u8, u64>| {
            let list: Vec<String> = counts
                .iter()
                .map(|(kind, count)| {
                    format!("{count} {}", KeyKind::from_number(*kind).map_or("unknown", KeyKind::as_str))
                })
                .collect();
            if list.is_empty() { "nothing".to_owned() } else { list.join(", ") }
        };
        return Err(damaged(dir, "entries are missing or too many", words(&expected), words(&scan.counts)));
    }
    Ok(meta)
}

fn locks() -> MutexGuard<'static, BTreeMap<PathBuf, Locked>> {
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lock {
    fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let fault = |error: io::Error| match Failure::from(files::at("lock", &path)(error)) {
            failure if failure.is_full() => shortage(dir),
            failure => StoreError::Read(failure.to_string()),
        };
        let busy = |by: String| StoreError::Busy { path: dir.to_owned(), by: format!("process {by}") };
        let known = fs::canonicalize(dir).map_err(fault)?;
        let mut locks = locks();
        if let Some(locked) = locks.get_mut(&known) {
            if std::mem::replace(&mut locked.is_open, true) {
                return Err(busy(std::process::id().to_string()));
            }
            return Ok(Self { dir: known });
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                // The process id is a help for people; without it the message is still right.
                let _ = (&mut file).take(64).read_to_string(&mut by);
                let by = if by.is_empty() { "of another number".to_owned() } else { by.trim().to_owned() };
                return Err(busy(by));
            }
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
        locks.insert(known.clone(), Locked { file, is_open: true });
        Ok(Self { dir: known })
    }

    // Writes down who has it: a help for people, and none if that fails.
    fn sign(&self) {
        let id = std::process::id().to_string();
        if let Some(Locked { file, .. }) = locks().get_mut(&self.dir) {
            let signed = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(id.as_bytes()));
            if let Err(error) = signed {
                tracing::warn!(%error, "the lock of the store does not say which process has it");
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(locked) = locks().get_mut(&self.dir) {
            locked.is_open = false;
        }
    }
}

// Waits until no handle of before is left, and removes what an interrupted open or compaction has left behind.
fn prepare(path: &Path) -> Result<(), Failure> {
    let db = path.join("db");
    if db.exists() {
        let file = File::open(&db)?;
        wait_until_let_go(&file)?;
        read_from_disk(&file)?;
        read_all(path)?;
    }
    remove_half_snapshots(path)?;
    remove_left_over(path)
}

// What sled cannot read while it opens its files it takes for the end of what is there, and clears it away: all of it is read once before,
// and a disk that does not give back a part of it is found before anything is touched.
fn read_all(folder: &Path) -> Result<(), Failure> {
    let mut buffer = vec![0; 1 << 20];
    for entry in fs::read_dir(folder).map_err(files::at("read", folder))? {
        let path = entry.map_err(files::at("read", folder))?.path();
        if path.is_dir() {
            read_all(&path)?;
            continue;
        }
        let mut file = File::open(&path).map_err(files::at("read", &path))?;
        while file.read(&mut buffer).map_err(files::at("read", &path))? > 0 {}
    }
    Ok(())
}

// sled's own lock goes with the last of its handles, which its threads may keep for a moment after it was closed in this process.
fn wait_until_let_go(file: &File) -> Result<(), Failure> {
    for _ in 0..LET_GO_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file.unlock()?),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LET_GO_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(Failure::other("something still holds the database that was closed"))
}

// After a sync that failed the kernel may remember what the disk does not hold, and not write it again: what is checked is to come
// from the disk.
fn read_from_disk(file: &File) -> Result<(), Failure> {
    file.sync_data()?;
    // A file system that keeps nothing in memory has nothing to forget.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
    Ok(())
}

/// A kill while sled writes a snapshot leaves `snap.*.generating`, which blocks every later open although nothing is lost
/// (spacejam/sled issue 1527). sled renames a snapshot only when it is whole, so the half one is safe to delete.
fn remove_half_snapshots(path: &Path) -> Result<(), Failure> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    let half: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating"))
        })
        .collect();
    for path in half {
        tracing::warn!(file = %path.display(), "removing a half-written snapshot");
        fs::remove_file(&path).map_err(files::at("remove", &path))?;
    }
    Ok(())
}

/// Opens sled's files; a panic of sled's is an error.
///
/// While it opens, sled puts a new snapshot in the place of the old one, and overwrites what only the old one needs. It never syncs the
/// folder: after a power cut the overwriting could have lasted and the new name not, and sled finds nothing behind the gap. So the
/// folder is synced before anything else reaches the disk. Nor does sled sync the settings of a new database, without which it does not
/// open again.
pub(super) fn open_sled(path: &Path, cache_bytes: u64) -> Result<Handle, Failure> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let db = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()))
        .map_err(|_| Failure::other("sled panicked while opening"))??;
    let handle = Handle::new(db);
    File::open(path.join("conf"))
        .and_then(|file| file.sync_all())
        .and_then(|()| File::open(path)?.sync_all())
        .map_err(files::at("sync", path))?;
    Ok(handle)
}

#[derive(Default)]
struct Scan {
    meta: Option<Meta>,
    counts: BTreeMap<u8, u64>,
}

impl Scan {
    fn of(db: &sled::Db) -> Result<Self, (String, String)> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Self::run(db)))
            .unwrap_or_else(|_| Err(("unknown key".into(), "sled panicked while reading".into())))
    }

    fn run(db: &sled::Db) -> Result<Self, (String, String)> {
        let mut scan = Self::default();
        for entry in db.iter() {
            let (key, value) = entry.map_err(|error| ("unknown key".to_owned(), error.to_string()))?;
            let name = || accord_protocol::id::to_hex(&key);
            let value = unwrap(&value).ok_or_else(|| (name(), "the checksum does not fit".to_owned()))?;
            if key.as_ref() == META_KEY {
                scan.meta =
                    Some(from_bytes(value).ok_or_else(|| (name(), "the meta record does not decode".to_owned()))?);
                continue;
            }
            *scan.counts.entry(key.first().copied().unwrap_or(0)).or_default() += 1;
        }
        Ok(scan)
    }
}
