//! The guarded open: a lock, a left-over cleaned up, panics caught, every checksum and count compared.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, atomic::AtomicU64},
};

use accord_edge::files;

use super::{
    KeyKind, Store, StoreError,
    compact::{Database, remove_left_over},
    layout::{META_KEY, Meta, OLDEST_SCHEMA, SCHEMA, from_bytes, unwrap},
    log::LogTree,
    manifest::Manifest,
    records::{Stored, load},
    writer::Writer,
};

/// Locks held by this process, so that they last as long as it does.
static LOCKS: OnceLock<Mutex<Vec<File>>> = OnceLock::new();

pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<(Store, Stored), StoreError> {
    let damaged = |what: &str, expected: String, found: String| StoreError::Damaged {
        path: dir.to_owned(),
        what: what.to_owned(),
        expected,
        found,
    };
    files::make_dir(dir).map_err(|error| StoreError::Read(error.to_string()))?;
    lock(dir)?;
    let manifest =
        Manifest::read(dir).map_err(|error| damaged("the manifest cannot be read", "a manifest".into(), error))?;
    let path = dir.join("sled");
    let is_new = manifest.is_none();
    if !is_new && !path.join("db").exists() {
        return Err(damaged("the database file is missing", "sled/db".into(), "nothing".into()));
    }
    remove_half_snapshots(&path)?;
    remove_left_over(&path).map_err(StoreError::Read)?;
    let db = open_sled(&path, cache_bytes)
        .map_err(|error| damaged("the database does not open", "an intact database".into(), error))?;

    let db = Database::new(db, path.clone(), cache_bytes);

    let scan = db
        .read(|db| Ok(Scan::of(db)))?
        .map_err(|(key, error)| damaged(&format!("a value cannot be read ({key})"), "an intact value".into(), error))?;
    let meta = scan.meta.unwrap_or_else(Meta::of_nothing);
    if meta.schema > SCHEMA {
        return Err(StoreError::TooNew(meta.schema));
    }
    if meta.schema < OLDEST_SCHEMA {
        return Err(StoreError::TooOld(meta.schema));
    }
    if let Some(manifest) = &manifest
        && meta.sequence < manifest.sequence
    {
        return Err(damaged(
            "acknowledged commits are missing",
            format!("commit {}", manifest.sequence),
            format!("commit {}", meta.sequence),
        ));
    }
    // A crash before the first manifest leaves an empty database; anything in it means that the manifest was lost, and with it
    // the knowledge of what was acknowledged.
    if is_new && meta.sequence > 1 {
        return Err(damaged("the manifest is missing", "manifest.json".into(), format!("commit {}", meta.sequence)));
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
        return Err(damaged("entries are missing or too many", words(&expected), words(&scan.counts)));
    }
    let file = File::open(path.join("db")).map_err(|error| StoreError::Read(error.to_string()))?;
    if is_new {
        // The names of the new files must survive a power cut too.
        for folder in [&path, &dir.to_path_buf()] {
            files::sync_dir(folder).map_err(|error| StoreError::Read(error.to_string()))?;
        }
    }
    let sequence = Arc::new(AtomicU64::new(meta.sequence));
    let (log_size, log_root) = (meta.log_size, meta.log_root);
    let tree = Arc::<RwLock<LogTree>>::default();
    let writer = Writer::start(db.clone(), file, dir.to_owned(), meta, Arc::clone(&tree))
        .map_err(|error| StoreError::Read(error.to_string()))?;
    let store = Store { db, dir: dir.to_owned(), writer: Arc::new(writer), sequence, tree };
    let read = store.read_tree(log_size)?;
    if read.root() != log_root {
        let (expected, found) = (format!("root {log_root} over {log_size} entries"), format!("root {}", read.root()));
        return Err(damaged("the audit log was changed", expected, found));
    }
    *store.tree.write().unwrap_or_else(PoisonError::into_inner) = read;
    let stored = load(&store)?;
    Ok((store, stored))
}

fn lock(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join("lock");
    let fault = |error: std::io::Error| StoreError::Read(format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut by = String::new();
            // The process id is a help for people; without it the message is still right.
            let _ = (&mut file).take(64).read_to_string(&mut by);
            let by = if by.is_empty() { "another process".to_owned() } else { format!("process {}", by.trim()) };
            return Err(StoreError::Busy { path: dir.to_owned(), by });
        }
        Err(TryLockError::Error(error)) => return Err(fault(error)),
    }
    file.set_len(0).map_err(fault)?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(fault)?;
    if let Ok(mut locks) = LOCKS.get_or_init(|| Mutex::new(Vec::new())).lock() {
        locks.push(file);
    }
    Ok(())
}

/// A kill while sled writes a snapshot leaves `snap.*.generating`, which blocks every later open although nothing is lost
/// (spacejam/sled issue 1527). sled renames a snapshot only when it is whole, so the half one is safe to delete.
fn remove_half_snapshots(path: &Path) -> Result<(), StoreError> {
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
        fs::remove_file(&path).map_err(|error| StoreError::Read(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// Opens sled's files; a panic of sled's is an error.
///
/// While it opens, sled puts a new snapshot in the place of the old one, and overwrites what only the old one needs. It never syncs the
/// folder: after a power cut the overwriting could have lasted and the new name not, and sled finds nothing behind the gap. So the
/// folder is synced before anything else reaches the disk. Nor does sled sync the settings of a new database, without which it does not
/// open again.
pub(super) fn open_sled(path: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let db = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()))
        .map_err(|_| "sled panicked while opening".to_owned())?
        .map_err(|error| error.to_string())?;
    let synced =
        File::open(path.join("conf")).and_then(|file| file.sync_all()).and_then(|()| File::open(path)?.sync_all());
    match synced {
        Ok(()) => Ok(db),
        Err(error) => {
            // Dropped, it would try to sync once more, and panic where that fails, too.
            std::mem::forget(db);
            Err(format!("the folder of the database cannot be synced: {error}"))
        }
    }
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
