//! The one writer: commits that wait together become durable together.

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, mpsc},
    thread,
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use tokio::sync::watch;

use super::{
    Batch, StoreError,
    compact::Database,
    failure::Failure,
    layout::{META_KEY, Meta, SCHEMA, to_bytes, wrap},
    log::LogTree,
    manifest::{Manifest, ManifestFile},
    room::{Room, shortage},
    snapshot::{Shelf, Snapshot},
};

/// Commits merged into one flush, at most.
const GROUP_MAX: usize = 64;
/// How long after a commit the next one begins at the earliest, where commits come faster than they become durable: one that is for several
/// costs hardly more than one for one.
const GATHER: Duration = Duration::from_millis(2);

type Answer = mpsc::SyncSender<Result<u64, StoreError>>;
type Sizes = Result<(u64, u64), StoreError>;

enum Job {
    Commit(Batch, Answer),
    Compact(mpsc::SyncSender<Sizes>),
    Snapshot(mpsc::SyncSender<Result<Snapshot, StoreError>>),
}

// What is done between two commits, and not before those that were handed over earlier.
enum Between {
    Compact(mpsc::SyncSender<Sizes>),
    Snapshot(mpsc::SyncSender<Result<Snapshot, StoreError>>),
}

/// Handle to the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<mpsc::Sender<Job>>,
}

impl Writer {
    /// Starts the thread. `file` is sled's own database file, kept open for `fdatasync`.
    /// `shown` is the log's tree as readers see it: what is durable. What comes back with it says when it takes no more writes.
    pub(super) fn start(
        db: Database,
        file: File,
        (dir, room): (PathBuf, Arc<Room>),
        meta: Meta,
        shown: Arc<RwLock<LogTree>>,
    ) -> std::io::Result<(Self, watch::Receiver<Option<StoreError>>)> {
        let (sender, receiver) = mpsc::channel();
        let (broken, is_broken) = watch::channel(None);
        let counts = meta.counts.into_iter().collect();
        let shelf = Arc::default();
        let manifest = ManifestFile::new(dir.clone());
        let sequence = meta.sequence;
        let state = State { db, file, dir, room, manifest, sequence, counts, shown, shelf, broken };
        thread::Builder::new().name("store-writer".into()).spawn(move || state.run(&receiver))?;
        Ok((Self { jobs: Mutex::new(sender) }, is_broken))
    }

    /// Hands a batch over and waits until it is durable.
    pub(super) fn commit(&self, batch: Batch) -> Result<u64, StoreError> {
        let gone = || StoreError::Broken("the writer has stopped".into());
        let (answer, done) = mpsc::sync_channel(1);
        self.jobs.lock().map_err(|_| gone())?.send(Job::Commit(batch, answer)).map_err(|_| gone())?;
        done.recv().map_err(|_| gone())?
    }

    /// Compacts the database between two commits.
    pub(super) fn compact(&self) -> Sizes {
        self.between(Job::Compact)
    }

    /// Begins a snapshot between two commits.
    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.between(Job::Snapshot)
    }

    fn between<T>(&self, job: impl FnOnce(mpsc::SyncSender<Result<T, StoreError>>) -> Job) -> Result<T, StoreError> {
        let gone = || StoreError::Broken("the writer has stopped".into());
        let (answer, done) = mpsc::sync_channel(1);
        self.jobs.lock().map_err(|_| gone())?.send(job(answer)).map_err(|_| gone())?;
        done.recv().map_err(|_| gone())?
    }
}

struct State {
    db: Database,
    file: File,
    dir: PathBuf,
    room: Arc<Room>,
    manifest: ManifestFile,
    sequence: u64,
    counts: BTreeMap<u8, u64>,
    shown: Arc<RwLock<LogTree>>,
    shelf: Arc<Shelf>,
    // After a failed flush nobody knows what is on the disk: no more writes.
    broken: watch::Sender<Option<StoreError>>,
}

impl State {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        let mut since_last = Stopwatch::start();
        loop {
            let first = match jobs.try_recv() {
                Ok(job) => {
                    // Where one waits already when the commit before it is done, more are about to come.
                    thread::sleep(GATHER.saturating_sub(Duration::from_micros(since_last.us())));
                    job
                }
                Err(mpsc::TryRecvError::Empty) => match jobs.recv() {
                    Ok(job) => job,
                    Err(mpsc::RecvError) => return,
                },
                Err(mpsc::TryRecvError::Disconnected) => return,
            };
            let (mut batches, mut answers, mut between) = (Vec::new(), Vec::new(), None);
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Commit(batch, answer) => {
                        batches.push(batch);
                        answers.push(answer);
                        if batches.len() < GROUP_MAX {
                            next = jobs.try_recv().ok();
                        }
                    }
                    Job::Compact(answer) => between = Some(Between::Compact(answer)),
                    Job::Snapshot(answer) => between = Some(Between::Snapshot(answer)),
                }
            }
            if !batches.is_empty() {
                let result = self.is_whole().and_then(|()| self.write(batches));
                since_last = Stopwatch::start();
                for answer in answers {
                    // Whoever waited may have been cancelled; the commit stands either way.
                    let _ = answer.send(result.clone());
                }
            }
            match between {
                Some(Between::Compact(answer)) => {
                    let result = self.is_whole().and_then(|()| self.compact());
                    let _ = answer.send(result);
                }
                Some(Between::Snapshot(answer)) => {
                    let result = self.is_whole().and_then(|()| self.snapshot());
                    let _ = answer.send(result);
                }
                None => {}
            }
        }
    }

    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let tree = self.shown.read().unwrap_or_else(PoisonError::into_inner).clone();
        let meta = meta(self.sequence, &self.counts, &tree);
        Snapshot::begin(self.db.clone(), Arc::clone(&self.shelf), meta)
            .ok_or_else(|| StoreError::Read("another copy of the store is being made".into()))
    }

    fn is_whole(&self) -> Result<(), StoreError> {
        self.broken.borrow().clone().map_or(Ok(()), Err)
    }

    // From here on nothing is written. Where it was for want of room, the ballast goes, so that the store can be opened again.
    fn breaks(&self, failure: Failure) -> StoreError {
        if failure.is_full() {
            self.room.release();
        }
        let error = StoreError::from(failure);
        tracing::error!(%error, "a write has failed");
        self.broken.send_replace(Some(error.clone()));
        error
    }

    // sled panics in places where it should return an error; the node must not hang because of it.
    fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.unwrap_or_else(|_| Err(Failure::other("sled stopped unexpectedly")))
    }

    // Whatever became of it: commits go to the file that has the name now, or nowhere.
    fn compact(&mut self) -> Sizes {
        let compacted = Self::guarded(|| self.db.compact());
        let whole = if self.db.is_open() { self.reopen() } else { Err(Failure::other("it did not open again")) };
        match (compacted, whole) {
            (Ok(sizes), Ok(())) => Ok(sizes),
            (Err(failure), Ok(())) if failure.is_full() => Err(shortage(&self.dir)),
            (Err(failure), Ok(())) => Err(StoreError::Broken(failure.to_string())),
            // Where the database is closed, what closed it says why.
            (Err(failure), Err(_)) | (Ok(_), Err(failure)) => Err(self.breaks(failure)),
        }
    }

    fn reopen(&mut self) -> Result<(), Failure> {
        self.file = File::open(self.dir.join("sled").join("db"))?;
        Ok(())
    }

    fn write(&mut self, batches: Vec<Batch>) -> Result<u64, StoreError> {
        Self::guarded(|| self.write_inner(batches)).map_err(|failure| self.breaks(failure))
    }

    fn write_inner(&mut self, batches: Vec<Batch>) -> Result<u64, Failure> {
        let mut counts = self.counts.clone();
        let mut pending: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut tree = self.shown.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut entries, mut of_log, mut padding) = (Vec::new(), Vec::new(), Vec::new());
        for batch in batches {
            entries.extend(batch.entries);
            if batch.padding.len() > padding.len() {
                padding = batch.padding;
            }
            for (key, value) in batch.puts {
                pending.insert(key, Some(value));
            }
            for key in batch.deletes {
                pending.insert(key, None);
            }
        }
        let over = (tree.size() + entries.len() as u64) % (padding.len() as u64 + 1);
        if over > 0 {
            let missing = padding.len() + 1 - usize::try_from(over).unwrap_or_default();
            entries.extend(padding.into_iter().take(missing));
        }
        tree.append(entries, &mut of_log);
        let meta = self.apply(pending, of_log, &mut counts, &tree)?;
        // sled 0.34's flush ends in sync_file_range, which does not survive a power cut; fdatasync through our own handle does.
        self.db.write(|db| db.flush())?;
        self.file.sync_data()?;
        let keys = meta.counts.iter().map(|(_, count)| count).sum();
        self.manifest.write(&Manifest { schema: SCHEMA, sequence: meta.sequence, keys })?;
        self.counts = counts;
        self.sequence = meta.sequence;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = tree;
        Ok(self.sequence)
    }

    // Writes all of it at once, and the meta record with it.
    fn apply(
        &self,
        pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        of_log: Vec<(Vec<u8>, Vec<u8>)>,
        counts: &mut BTreeMap<u8, u64>,
        tree: &LogTree,
    ) -> Result<Meta, Failure> {
        // What a snapshot still has to read is put aside before it is changed, and nothing is read of it in between.
        let mut kept = self.shelf.lock();
        if let Some(aside) = kept.as_mut() {
            let of_log = of_log.iter().map(|(key, _)| key);
            for key in pending.keys().chain(of_log).map(Vec::as_slice).chain([META_KEY]) {
                aside.keep(key, || self.db.read(|db| Ok(db.get(key)?.map(|value| value.to_vec()))));
            }
        }
        let mut batch = sled::Batch::default();
        let kind = |key: &[u8]| key.first().copied().unwrap_or(0);
        for (key, value) in pending {
            let exists = self.db.write(|db| db.contains_key(&key))?;
            let count = counts.entry(kind(&key)).or_default();
            if let Some(value) = value {
                *count += u64::from(!exists);
                batch.insert(key, value);
            } else {
                *count -= u64::from(exists);
                batch.remove(key);
            }
        }
        // Nothing of the log was there before, so nothing is looked for.
        for (key, value) in of_log {
            *counts.entry(kind(&key)).or_default() += 1;
            batch.insert(key, value);
        }
        let meta = meta(self.sequence + 1, counts, tree);
        batch.insert(META_KEY, wrap(&to_bytes(&meta)));
        self.db.write(|db| db.apply_batch(batch))?;
        Ok(meta)
    }
}

fn meta(sequence: u64, counts: &BTreeMap<u8, u64>, tree: &LogTree) -> Meta {
    let counts = counts.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| (*kind, *count));
    Meta { schema: SCHEMA, sequence, counts: counts.collect(), log_size: tree.size(), log_root: tree.root() }
}
