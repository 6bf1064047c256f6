//! The node: the one place where edge meets domain.

mod agreements;
mod answering;
mod audit;
mod backup;
mod contradictions;
mod disk;
mod edition_diff;
mod edition_view;
mod editions;
mod events;
mod greeting;
mod inbox;
mod inbox_view;
mod journal;
mod mappings;
mod outbox;
mod own_keys;
mod publishing;
mod rates;
mod records;
mod standstill;
mod status;
mod trust;
mod unpublished;
mod views;
mod way_back;
mod withdrawals;
mod witness;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, RwLock, atomic::AtomicBool},
};

use accord_edge::{clock::Stopwatch, files};
use accord_protocol::{
    id::{NodeId, RequestId},
    key::PublicKey,
    message::{Fault, Notice, PersonReply, Where},
    time::UnixMs,
};
use serde_json::Value;

pub(crate) use backup::Made;
pub use events::Event;
pub use journal::{Actor, Happening};
pub use mappings::mappings;
pub use outbox::{NotKept, Unsettled};
pub use records::Prepared;
pub(crate) use witness::Next;

use crate::{
    domain::{
        answering::Course,
        bucket::{Buckets, Rate},
        clock_mark::ClockMark,
        contacts::Contacts,
        coverage::Coverage,
        door::Door,
        freshness::{Freshness, Hints},
        import::index::Index,
        inbox::Inbox,
        learning::Learning,
        ledger::Ledger,
        outbox::Outbox,
        provide::Denied,
        quota::Quota,
        sure_time::SureTime,
    },
    io::{
        config::{Config, ConfigError},
        identity::{self, IdentityError, Standing},
        import::empty_spool,
        journal::{Journal, JournalError},
        keys::{Credential, NodeKeys, Voice},
        store::{Store, StoreError, is_full},
    },
};
use editions::LoadedEdition;

/// Events that one who watches may lag behind.
const EVENTS_MAX: usize = 1_024;
/// How often a partner is asked because it says that it has decided something.
const NUDGES: Rate = Rate { burst: 5, per_minute: 12 };
/// Statements of a partner that decide nothing, kept or said in the log.
const STATEMENTS: Rate = Rate { burst: 30, per_minute: 10 };
/// Views for a partner.
const VIEWS: Rate = Rate { burst: 30, per_minute: 30 };
/// What a partner says and asks of logs: checkpoints, and proofs of what it was answered.
const LOGS: Rate = Rate { burst: 600, per_minute: 300 };
/// Partners counted; a roster lists fewer.
const BUCKETS_MAX: usize = 256;
/// How long a change waits for the one before it, in milliseconds.
const ALONE_WITHIN_MS: u64 = 15_000;

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// Its settings.
    pub config: Config,
    credential: Credential,
    keys: RwLock<Arc<NodeKeys>>,
    /// The keys that it speaks with, at this moment.
    pub voice: tokio::sync::watch::Sender<Arc<Voice>>,
    standing: RwLock<Arc<Standing>>,
    taking_trust: Mutex<()>,
    freshness: Mutex<Freshness>,
    contacts: Mutex<Contacts>,
    hints: Mutex<Hints>,
    clock_mark: Mutex<ClockMark>,
    sure_time: Mutex<SureTime>,
    // As the log says last, of this start.
    clock_said_behind: Mutex<bool>,
    learning: Mutex<Learning>,
    // Since when others are greeted, and whether the first round of it is over.
    greeting_since: OnceLock<Stopwatch>,
    learned: tokio::sync::watch::Sender<bool>,
    /// Somebody said that it holds what is lacking here.
    pub lacking: tokio::sync::Notify,
    /// Counts changes of who is trusted, so that connections are looked at again.
    pub trust_changes: tokio::sync::watch::Sender<u64>,
    store: Store,
    journal: Journal,
    logs: witness::Logs,
    promises: Mutex<witness::Promises>,
    /// The own log was closed: others are to look at it again.
    pub log_closed: tokio::sync::Notify,
    // Refusals that are only counted.
    ledger: Mutex<Ledger>,
    // How much of the start is in the store: it may lack room.
    start: Mutex<disk::Start>,
    // What an interrupted retention has left was looked for since the start.
    has_swept: AtomicBool,
    // When each of the own people's reading was last entered, by the monotonic clock.
    readings: Mutex<BTreeMap<String, u64>>,
    spool: PathBuf,
    records: Mutex<Records>,
    quota: Mutex<Quota>,
    // Replies remembered for each member.
    replies: Mutex<BTreeMap<NodeId, usize>>,
    /// What happens at the door.
    pub door: DoorLog,
    /// Since when it runs: the monotonic clock of all rates.
    pub since_start: Stopwatch,
    loaded: Mutex<BTreeMap<u64, Arc<LoadedEdition>>>,
    views: Mutex<BTreeMap<NodeId, Arc<views::Kept>>>,
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    // One statement about own requests at a time.
    hearing: Mutex<()>,
    /// What happens to requests, for whoever watches.
    pub events: tokio::sync::broadcast::Sender<Event>,
    // Partners to be asked for what they have decided.
    collecting: Mutex<BTreeSet<NodeId>>,
    /// There is somebody to be asked.
    pub to_collect: tokio::sync::Notify,
    nudges_heard: Mutex<Buckets<NodeId>>,
    statements: Mutex<Buckets<NodeId>>,
    views_shown: Mutex<Buckets<NodeId>>,
    logs_heard: Mutex<Buckets<NodeId>>,
    // Members to whom a decision is to be announced.
    nudges: Mutex<BTreeSet<NodeId>>,
    // Partners that have said more often that they have decided something than they are asked at once.
    late: Mutex<BTreeSet<NodeId>>,
    /// There is somebody to whom a decision is to be announced.
    pub to_nudge: tokio::sync::Notify,
    in_flight: InFlight,
    offered: Mutex<agreements::Offered>,
    // One backup at a time.
    backing_up: Mutex<()>,
    // One run of retention at a time.
    retaining: Mutex<()>,
    // When the node first started after its store was restored: what was asked before may have been answered by what was lost.
    not_before: Option<UnixMs>,
    /// One change of records or coverage at a time.
    pub importing: tokio::sync::Mutex<()>,
    /// One edition in the making at a time, and nothing meanwhile but imports, which it does not see.
    publishing: tokio::sync::Mutex<()>,
}

/// Nobody else changes records, coverage or editions until it is dropped.
struct Alone<'a> {
    _publishing: tokio::sync::MutexGuard<'a, ()>,
    _importing: tokio::sync::MutexGuard<'a, ()>,
}

/// What changes with imports and publications.
#[derive(Debug)]
struct Records {
    index: Arc<Index>,
    coverage: Coverage,
    imports: u64,
    editions: u64,
}

/// Requests that are being decided right now, so that the same one twice at once is executed once.
#[derive(Debug, Default)]
struct InFlight {
    keys: Mutex<HashSet<(PublicKey, RequestId)>>,
    done: Condvar,
}

/// Counts and log budget of the door, shared by all tasks.
#[derive(Debug, Default)]
pub struct DoorLog(Mutex<Door>);

impl DoorLog {
    fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts something that happened.
    pub fn add(&self, what: &'static str) {
        self.lock().add(what);
    }

    fn count(&self, course: &Course) {
        self.lock().count(course);
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts().clone()
    }

    fn may_log(&self, member: &NodeId, denied: &Denied, now_ms: u64) -> Option<u64> {
        self.lock().may_log(member, denied, now_ms)
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings.
    #[error("the settings are not usable")]
    Config(#[from] ConfigError),
    /// Keys and documents.
    #[error("keys or trust documents are not usable")]
    Identity(#[from] IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Keys of the audit log's details.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file.
    #[error(transparent)]
    File(#[from] files::FileError),
}

impl StartError {
    /// Whether there was no room on the disk for what a start must write.
    pub fn lacks_room(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::DiskFull { .. } | StoreError::Interrupted(_)),
            Self::Journal(error) => error.lacks_room().is_some(),
            Self::File(files::FileError::Io { source, .. }) => is_full(source),
            Self::File(_) | Self::Config(_) | Self::Identity(_) => false,
        }
    }
}

impl Node {
    /// Opens everything that a node needs, in the order in which a fault is cheapest to find.
    pub fn open(config: Config, credential: Credential) -> Result<Self, StartError> {
        let keys = NodeKeys::load(&config.dir, &credential).map_err(IdentityError::from)?;
        let standing = identity::load_trust(&config.trust_dir(), &config.member)?;
        standing.check_own_keys(&keys)?;
        let voice = own_keys::first_voice(&keys, &standing, &config.member)?;
        standing.log_policy();
        let spool = config.dir.join("spool");
        files::make_dir(&spool)?;
        empty_spool(&spool);
        let journal = Journal::open(&config.dir, keys.details_key)?;
        let (store, stored) = Store::open(&config.dir.join("store"), config.store_cache_bytes)?;
        let logs = witness::Logs::open(&store)?;
        let clock_mark = ClockMark::new(store.clock_mark()?);
        let node = Self {
            backing_up: Mutex::default(),
            retaining: Mutex::default(),
            not_before: backup::not_before(&store)?,
            quota: Mutex::new(Quota::new(config.quota)),
            replies: Mutex::default(),
            offered: Mutex::default(),
            door: DoorLog::default(),
            since_start: Stopwatch::start(),
            records: Mutex::new(Records {
                index: Arc::new(stored.index),
                coverage: stored.coverage,
                imports: stored.imports,
                editions: stored.editions,
            }),
            loaded: Mutex::new(BTreeMap::new()),
            views: Mutex::default(),
            inbox: Mutex::default(),
            outbox: Mutex::default(),
            hearing: Mutex::default(),
            events: tokio::sync::broadcast::Sender::new(EVENTS_MAX),
            collecting: Mutex::default(),
            to_collect: tokio::sync::Notify::new(),
            nudges_heard: Mutex::new(Buckets::new(NUDGES, BUCKETS_MAX)),
            statements: Mutex::new(Buckets::new(STATEMENTS, BUCKETS_MAX)),
            views_shown: Mutex::new(Buckets::new(VIEWS, BUCKETS_MAX)),
            logs_heard: Mutex::new(Buckets::new(LOGS, BUCKETS_MAX)),
            nudges: Mutex::default(),
            late: Mutex::default(),
            to_nudge: tokio::sync::Notify::new(),
            in_flight: InFlight::default(),
            importing: tokio::sync::Mutex::new(()),
            publishing: tokio::sync::Mutex::new(()),
            standing: RwLock::new(Arc::new(standing)),
            taking_trust: Mutex::default(),
            freshness: Mutex::new(Freshness::new(store.greetings()?)),
            contacts: Mutex::default(),
            hints: Mutex::default(),
            sure_time: Mutex::new(SureTime::new(clock_mark.mark().at)),
            clock_said_behind: Mutex::new(false),
            clock_mark: Mutex::new(clock_mark),
            learning: Mutex::default(),
            greeting_since: OnceLock::new(),
            learned: tokio::sync::watch::Sender::new(false),
            lacking: tokio::sync::Notify::new(),
            trust_changes: tokio::sync::watch::Sender::new(0),
            config,
            voice: tokio::sync::watch::Sender::new(Arc::new(voice)),
            keys: RwLock::new(Arc::new(keys)),
            credential,
            store,
            journal,
            logs,
            promises: Mutex::default(),
            log_closed: tokio::sync::Notify::new(),
            ledger: Mutex::default(),
            start: Mutex::default(),
            has_swept: AtomicBool::new(false),
            readings: Mutex::default(),
            spool,
        };
        node.take_up()?;
        Ok(node)
    }

    // What was left when it stopped, in the order in which one needs the other.
    fn take_up(&self) -> Result<(), StartError> {
        self.choose_voice();
        self.enter_start_or_later()?;
        self.take_up_closed()?;
        self.take_up_promises()?;
        self.open_boxes()?;
        self.forget_replies()?;
        if let Some(number) = self.current_number() {
            self.loaded_edition(number)?;
        }
        Ok(())
    }

    /// Forgets replies that need not be remembered any more; returns how many. Blocks on the store.
    pub fn forget_replies(&self) -> Result<usize, StoreError> {
        // What is said of a request that waits is replaced by its end, however late that comes: it must not go in between.
        let open = self.inbox().open();
        let forgotten = self.store.forget_replies(self.sure_now(), &open)?;
        let mut counted = BTreeMap::new();
        for reply in self.store.replies() {
            if let Some(member) = answering::requester_of(&reply?) {
                *counted.entry(member).or_default() += 1;
            }
        }
        // Replies that are decided meanwhile may be counted twice or not at all, until the next time.
        *self.replies() = counted;
        Ok(forgotten)
    }

    /// Who is trusted, at this moment.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The keys that it speaks with, at this moment.
    pub fn voice(&self) -> Arc<Voice> {
        Arc::clone(&self.voice.borrow())
    }

    fn keys(&self) -> Arc<NodeKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn freshness(&self) -> MutexGuard<'_, Freshness> {
        self.freshness.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn contacts(&self) -> MutexGuard<'_, Contacts> {
        self.contacts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn clock_mark(&self) -> MutexGuard<'_, ClockMark> {
        self.clock_mark.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn learning(&self) -> MutexGuard<'_, Learning> {
        self.learning.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.quota.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn replies(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.replies.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Nobody else changes records, coverage or editions until what comes back is dropped. Waits a while for whoever does; then it is
    /// told that somebody is at work, rather than that a command was done long after its tool had given up.
    fn alone(&self) -> Result<Alone<'_>, Box<Reply>> {
        let watch = Stopwatch::start();
        Ok(Alone { _publishing: only_one(&self.publishing, &watch)?, _importing: only_one(&self.importing, &watch)? })
    }

    fn start(&self) -> MutexGuard<'_, disk::Start> {
        self.start.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    // A poisoned lock means that another request panicked while it held plain data that is whole at every moment.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn only_one<'a>(
    lock: &'a tokio::sync::Mutex<()>,
    watch: &Stopwatch,
) -> Result<tokio::sync::MutexGuard<'a, ()>, Box<Reply>> {
    loop {
        if let Ok(guard) = lock.try_lock() {
            return Ok(guard);
        }
        if watch.ms() > ALONE_WITHIN_MS {
            let message = "an import, an edition or another change is under way; nothing was changed";
            return Err(Box::new(failed(4, "BUSY", message, "wait until it is done, then try again")));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A reply to a person.
pub type Reply = PersonReply<Value>;

fn done(result: Value) -> Reply {
    Reply { exit: 0, result: Some(result), warnings: Vec::new(), error: None }
}

fn failed(exit: u8, code: &str, message: impl Into<String>, next: &str) -> Reply {
    let error =
        Fault { code: code.to_owned(), message: message.into(), place: Where::default(), next: Some(next.to_owned()) };
    Reply { exit, result: None, warnings: Vec::new(), error: Some(error) }
}

pub(crate) fn store_failed(error: &StoreError) -> Reply {
    let (code, next) = match error {
        StoreError::DiskFull { .. } => ("DISK-FULL", "free space on the node's disk, then try again"),
        StoreError::Interrupted(_) => {
            ("DISK-FULL", "free space on the node's disk, then look whether it was done before you try again")
        }
        StoreError::Busy { .. }
        | StoreError::Damaged { .. }
        | StoreError::TooOld(_)
        | StoreError::TooNew(_)
        | StoreError::Broken(_)
        | StoreError::Read(_) => ("STORE", "look at the node's log; if the store is damaged, restore it from a backup"),
    };
    failed(4, code, error.to_string(), next)
}

fn notice(code: &str, message: &str) -> Notice {
    Notice { code: code.to_owned(), message: message.to_owned() }
}

/// What is asked of a reason or reference.
const NOTE_RULE: &str = "a reason or reference has 3 to 200 visible characters on one line";

/// What every output of an edition that is not audited says.
pub const NOT_PROTECTED: &str = "NOT PROTECTED AGAINST SUBTRACTION - FOR TESTS ONLY";
