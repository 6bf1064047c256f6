//! What goes into the audit log: salts, and details sealed under the key of their month, which can be thrown away.
//!
//! A month's key is a file of 32 random bytes in `journal/`; details are sealed under that and a secret of the node's ring together.
//! Deleting the file makes every copy of the month's details unreadable, also those that the database's files and backups still hold
//! (crypto-erasure, `trust.md` 4.5). The tree of commitments is not touched by it.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use accord_edge::{
    files::{self, FileError},
    random::{self, NoRandomness},
};
use accord_protocol::{
    id::Hash,
    log::{Detail, EventKind},
    time::UnixMs,
};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use zeroize::Zeroizing;

use super::store::NewEntry;

/// Extension of a month's key.
const KEY: &str = ".key";

/// Months are counted from January of year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(u32);

impl Month {
    /// The month of an instant, in UTC.
    pub fn of(at: UnixMs) -> Self {
        let date = at.date();
        Self(u32::from(date.year()) * 12 + u32::from(date.month()) - 1)
    }

    /// So many months earlier.
    #[must_use]
    pub const fn minus(self, months: u32) -> Self {
        Self(self.0.saturating_sub(months))
    }

    fn from_name(name: &str) -> Option<Self> {
        let (year, month) = name.split_once('-')?;
        let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
        let parsed = Self(year.checked_mul(12)?.checked_add(month.checked_sub(1)?)?);
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

/// Why nothing can be written into the log, or a detail cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A month's key.
    #[error("the key of a month of the audit log")]
    File(#[from] FileError),
    /// The same.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A detail is not what was sealed.
    #[error("the detail of an entry of the audit log was changed")]
    Changed,
    /// A key file has another length.
    #[error("{}: a key of a month has 32 bytes", path.display())]
    Length {
        /// The file.
        path: PathBuf,
    },
}

/// Keys of months, and what seals with them.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    secret: Secret,
    months: Mutex<BTreeMap<Month, Zeroizing<[u8; 32]>>>,
}

struct Secret(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Journal {
    /// Opens the keys in a node's folder; `secret` comes out of its ring.
    pub fn open(dir: &Path, secret: [u8; 32]) -> Result<Self, JournalError> {
        let dir = dir.join("journal");
        files::make_dir(&dir)?;
        let journal = Self { dir, secret: Secret(Zeroizing::new(secret)), months: Mutex::default() };
        for month in journal.months_on_disk()? {
            let path = journal.path(month);
            let bytes = Zeroizing::new(files::read_limited(&path, 64)?);
            let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| JournalError::Length { path })?;
            journal.months().insert(month, Zeroizing::new(key));
        }
        Ok(journal)
    }

    fn months(&self) -> MutexGuard<'_, BTreeMap<Month, Zeroizing<[u8; 32]>>> {
        self.months.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, month: Month) -> PathBuf {
        self.dir.join(format!("{month}{KEY}"))
    }

    fn months_on_disk(&self) -> Result<Vec<Month>, JournalError> {
        let io = |source| JournalError::Io { path: self.dir.clone(), source };
        let mut months = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(KEY));
            months.extend(name.and_then(Month::from_name));
        }
        months.sort_unstable();
        Ok(months)
    }

    /// Makes an entry: salts and commits to who and what, and seals both.
    pub fn entry(
        &self,
        (kind, time): (EventKind, UnixMs),
        actor: &str,
        subject: Hash,
        text: Vec<u8>,
    ) -> Result<NewEntry, JournalError> {
        let detail = Detail { salt: random::bytes()?, text };
        let month = Month::of(time);
        let nonce: [u8; 12] = random::bytes()?;
        let key = self.key_of(month)?;
        let mut sealed = [detail.salt.as_slice(), &detail.text].concat();
        let aad = month.0.to_be_bytes();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed)
            .map_err(|_| JournalError::Changed)?;
        Ok(NewEntry {
            kind,
            time,
            actor_commit: detail.actor_commit(actor),
            subject,
            detail_commit: detail.commit(),
            sealed: [aad.as_slice(), &nonce, &sealed].concat(),
        })
    }

    /// An entry that says nothing: its commitments are random numbers.
    pub fn padding(time: UnixMs) -> Result<NewEntry, JournalError> {
        let (actor_commit, detail_commit) = (Hash(random::bytes()?), Hash(random::bytes()?));
        let kind = EventKind::Padding;
        Ok(NewEntry { kind, time, actor_commit, subject: Hash::ZERO, detail_commit, sealed: Vec::new() })
    }

    /// Reads what was sealed; nothing if the key of its month was thrown away.
    pub fn read(&self, sealed: &[u8]) -> Result<Option<Detail>, JournalError> {
        let parts = sealed.split_first_chunk::<4>().and_then(|(month, rest)| Some((month, rest.split_first_chunk::<12>()?)));
        let (month, (nonce, sealed)) = parts.ok_or(JournalError::Changed)?;
        let number = Month(u32::from_be_bytes(*month));
        let Some(key) = self.months().get(&number).cloned() else { return Ok(None) };
        let key = self.derived(number, &key)?;
        let mut bytes = sealed.to_vec();
        let opened = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(*month), &mut bytes)
            .map_err(|_| JournalError::Changed)?;
        let (salt, text) = opened.split_first_chunk::<32>().ok_or(JournalError::Changed)?;
        Ok(Some(Detail { salt: *salt, text: text.to_vec() }))
    }

    /// The month that something was sealed in.
    pub fn month_of(sealed: &[u8]) -> Option<Month> {
        sealed.first_chunk().copied().map(|month| Month(u32::from_be_bytes(month)))
    }

    // The key of a month; made, and durable, before anything is sealed with it.
    fn key_of(&self, month: Month) -> Result<LessSafeKey, JournalError> {
        let mut months = self.months();
        let key = match months.get(&month) {
            Some(key) => key.clone(),
            None => {
                let key = Zeroizing::new(random::bytes::<32>()?);
                files::write_atomically(&self.path(month), key.as_slice())?;
                months.entry(month).or_insert(key).clone()
            }
        };
        self.derived(month, &key)
    }

    fn derived(&self, month: Month, key: &[u8; 32]) -> Result<LessSafeKey, JournalError> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.secret.0.as_slice());
        let input = [b"accord/1 details\0".as_slice(), &month.0.to_be_bytes(), key].concat();
        let tag = hmac::sign(&secret, &input);
        UnboundKey::new(&CHACHA20_POLY1305, tag.as_ref()).map(LessSafeKey::new).map_err(|_| JournalError::Changed)
    }

    /// Months whose details can be read, the oldest first.
    pub fn readable(&self) -> Vec<Month> {
        self.months().keys().copied().collect()
    }

    /// Throws the key of a month away: overwritten, then removed, both durable. What was sealed with it is unreadable from then on.
    pub fn forget(&self, month: Month) -> Result<(), JournalError> {
        let path = self.path(month);
        let io = |source| JournalError::Io { path: path.clone(), source };
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).map_err(io)?;
        file.write_all(&random::bytes::<32>()?).map_err(io)?;
        file.sync_all().map_err(io)?;
        std::fs::remove_file(&path).map_err(io)?;
        files::sync_dir(&self.dir)?;
        self.months().remove(&month);
        Ok(())
    }
}
