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
    time::{DAY_MS, Date, UnixMs},
};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use zeroize::Zeroizing;

use super::store::{NewEntry, is_full};

/// Bytes of a key's name.
const NAME: usize = 12;
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

    /// So many months later.
    #[must_use]
    pub const fn plus(self, months: u32) -> Self {
        Self(self.0.saturating_add(months))
    }

    /// Its first instant, in UTC; the beginning of time for a month that the calendar does not have.
    pub fn begins(self) -> UnixMs {
        let (year, month) = (u16::try_from(self.0 / 12).ok(), u8::try_from(self.0 % 12 + 1).ok());
        let date = year.zip(month).and_then(|(year, month)| Date::new(year, month, 1));
        let days = date.and_then(|date| u64::try_from(date.to_days()).ok());
        UnixMs(days.unwrap_or(0).saturating_mul(DAY_MS))
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

impl JournalError {
    /// The folder where there was no room, if that is why.
    pub fn lacks_room(&self) -> Option<&Path> {
        match self {
            Self::File(FileError::Io { path, source, .. }) | Self::Io { path, source } if is_full(source) => {
                path.parent()
            }
            Self::File(_) | Self::Io { .. } | Self::Random(_) | Self::Changed | Self::Length { .. } => None,
        }
    }
}

/// Keys of months, and what seals with them.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    secret: Secret,
    months: Mutex<BTreeMap<Month, Zeroizing<[u8; 32]>>>,
}

// A key that seals, and what is written before that which it sealed: its month, and the beginning of the key's own hash.
struct Named {
    name: [u8; NAME],
    key: LessSafeKey,
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
            let bytes = Zeroizing::new(files::read_secret(&path, 64)?);
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
        let named = self.key_of(month)?;
        let mut sealed = [detail.salt.as_slice(), &detail.text].concat();
        named
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(named.name), &mut sealed)
            .map_err(|_| JournalError::Changed)?;
        Ok(NewEntry {
            kind,
            time,
            actor_commit: detail.actor_commit(actor),
            subject,
            detail_commit: detail.commit(),
            sealed: [named.name.as_slice(), &nonce, &sealed].concat(),
        })
    }

    /// An entry that says nothing: its commitments are random numbers.
    pub fn padding(time: UnixMs) -> Result<NewEntry, JournalError> {
        let (actor_commit, detail_commit) = (Hash(random::bytes()?), Hash(random::bytes()?));
        let kind = EventKind::Padding;
        Ok(NewEntry { kind, time, actor_commit, subject: Hash::ZERO, detail_commit, sealed: Vec::new() })
    }

    /// Reads what was sealed; nothing if the key that it was sealed with was thrown away.
    pub fn read(&self, sealed: &[u8]) -> Result<Option<Detail>, JournalError> {
        let Some(named) = self.key_for(sealed)? else { return Ok(None) };
        let parts = sealed.get(NAME..).and_then(<[u8]>::split_first_chunk::<12>);
        let (nonce, sealed) = parts.ok_or(JournalError::Changed)?;
        let mut bytes = sealed.to_vec();
        let opened = named
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(named.name), &mut bytes)
            .map_err(|_| JournalError::Changed)?;
        let (salt, text) = opened.split_first_chunk::<32>().ok_or(JournalError::Changed)?;
        Ok(Some(Detail { salt: *salt, text: text.to_vec() }))
    }

    /// The month that something was sealed in, and whether its key is still there.
    pub fn month_of(&self, sealed: &[u8]) -> Option<(Month, bool)> {
        let month = Month(sealed.first_chunk().copied().map(u32::from_be_bytes)?);
        Some((month, self.key_for(sealed).is_ok_and(|key| key.is_some())))
    }

    // The key whose name something begins with.
    fn key_for(&self, sealed: &[u8]) -> Result<Option<Named>, JournalError> {
        let name = sealed.first_chunk::<NAME>().ok_or(JournalError::Changed)?;
        let month = Month(name.first_chunk().copied().map_or(0, u32::from_be_bytes));
        let Some(key) = self.months().get(&month).cloned() else { return Ok(None) };
        // A month has another key where its first one was thrown away, and the clock went back.
        Ok(Some(self.derived(month, &key)?).filter(|named| named.name == *name))
    }

    // The key of a month; made, and durable, before anything is sealed with it.
    fn key_of(&self, month: Month) -> Result<Named, JournalError> {
        let mut months = self.months();
        let key = if let Some(key) = months.get(&month) {
            key.clone()
        } else {
            let key = Zeroizing::new(random::bytes::<32>()?);
            files::write_atomically(&self.path(month), key.as_slice())?;
            months.entry(month).or_insert(key).clone()
        };
        self.derived(month, &key)
    }

    fn derived(&self, month: Month, key: &[u8; 32]) -> Result<Named, JournalError> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.secret.0.as_slice());
        let mut context = hmac::Context::with_key(&secret);
        for part in [b"accord/1 details\0".as_slice(), &month.0.to_be_bytes(), key] {
            context.update(part);
        }
        let tag = context.sign();
        let mut name = [0; NAME];
        // Of the key that seals: another ring makes another one, whose name tells.
        let Hash(print) = Hash::of(&[b"accord/1 month\0".as_slice(), tag.as_ref()].concat());
        for (to, from) in name.iter_mut().zip(month.0.to_be_bytes().iter().chain(&print)) {
            *to = *from;
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, tag.as_ref()).map_err(|_| JournalError::Changed)?;
        Ok(Named { name, key: LessSafeKey::new(key) })
    }

    /// The keys of all months, as the files they lie in.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let mut all = Vec::new();
        for month in self.months_on_disk()? {
            match files::read_secret(&self.path(month), 64) {
                Ok(bytes) => all.push((format!("{month}{KEY}"), bytes)),
                // Thrown away at this moment, which is what is wanted of it.
                Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    /// Months whose details can be read, the oldest first.
    pub fn readable(&self) -> Vec<Month> {
        self.months().keys().copied().collect()
    }

    /// Throws the key of a month away: overwritten, then removed, both durable. What was sealed with it is unreadable from then on.
    pub fn forget(&self, month: Month) -> Result<(), JournalError> {
        let path = self.path(month);
        let io = |source| JournalError::Io { path: path.clone(), source };
        match std::fs::OpenOptions::new().write(true).open(&path) {
            Ok(mut file) => {
                file.write_all(&random::bytes::<32>()?).map_err(io)?;
                file.sync_all().map_err(io)?;
                std::fs::remove_file(&path).map_err(io)?;
            }
            // Somebody was first.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        files::sync_dir(&self.dir)?;
        self.months().remove(&month);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER: UnixMs = UnixMs(1_795_500_000_000);
    const DECEMBER: UnixMs = UnixMs(1_798_000_000_000);

    fn entry(journal: &Journal, at: UnixMs, text: &str) -> NewEntry {
        journal.entry((EventKind::Asked, at), "node", Hash::ZERO, text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn details_are_read_until_the_key_of_their_month_is_gone_and_never_after() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), [7; 32]).unwrap();
        let (old, new) = (entry(&journal, NOVEMBER, "{\"n\":1}"), entry(&journal, DECEMBER, "{\"n\":2}"));
        assert_eq!(journal.readable().iter().map(Month::to_string).collect::<Vec<_>>(), ["2026-11", "2026-12"]);
        for (entry, text) in [(&old, "{\"n\":1}"), (&new, "{\"n\":2}")] {
            let detail = journal.read(&entry.sealed).unwrap().unwrap();
            assert_eq!((detail.text.as_slice(), detail.commit()), (text.as_bytes(), entry.detail_commit));
            assert_eq!(detail.actor_commit("node"), entry.actor_commit);
            let plain = entry.sealed.windows(5).any(|part| part == b"{\"n\":");
            assert!(!plain, "sealed");
        }
        // The same keys after a restart; another ring opens nothing.
        let again = Journal::open(folder.path(), [7; 32]).unwrap();
        assert!(again.read(&old.sealed).unwrap().is_some());
        let stolen = Journal::open(folder.path(), [8; 32]).unwrap();
        assert!(matches!(stolen.read(&old.sealed), Ok(None)));
        for at in 0..old.sealed.len() {
            let mut bad = old.sealed.clone();
            bad[at] ^= 1;
            assert!(!matches!(again.read(&bad), Ok(Some(_))), "byte {at}");
        }

        again.forget(Month::of(NOVEMBER)).unwrap();
        assert!(again.read(&old.sealed).unwrap().is_none());
        assert!(!folder.path().join("journal/2026-11.key").exists());
        // A clock that goes back makes a new key, which opens nothing of what was.
        entry(&again, NOVEMBER, "{}");
        assert!(matches!(again.read(&old.sealed), Ok(None)));
        assert_eq!(again.month_of(&old.sealed), Some((Month::of(NOVEMBER), false)));
        assert_eq!(again.month_of(&new.sealed), Some((Month::of(DECEMBER), true)));
        assert!(again.read(&new.sealed).unwrap().is_some());
    }

    #[test]
    fn a_month_has_one_spelling() {
        assert_eq!(Month::of(NOVEMBER).minus(24).to_string(), "2024-11");
        assert_eq!(Month::from_name("2024-11"), Some(Month::of(NOVEMBER).minus(24)));
        let begins = |name: &str| Month::from_name(name).unwrap().begins().to_string();
        assert_eq!(
            (begins("2024-11"), begins("2025-01")),
            ("2024-11-01T00:00:00Z".into(), "2025-01-01T00:00:00Z".into())
        );
        assert_eq!(Month::of(NOVEMBER).plus(2), Month::of(Month::from_name("2027-01").unwrap().begins()));
        assert_eq!((Month(0).begins(), Month(u32::MAX).begins()), (UnixMs(0), UnixMs(0)));
        for bad in ["2024-00", "2024-13", "2024-1", "24-11", "2024", "2024-011", "x"] {
            assert_eq!(Month::from_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn salts_and_nonces_are_never_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), [7; 32]).unwrap();
        let (one, other) = (entry(&journal, NOVEMBER, "{}"), entry(&journal, NOVEMBER, "{}"));
        assert_ne!(one.detail_commit, other.detail_commit);
        assert_ne!(one.actor_commit, other.actor_commit);
        assert_ne!(one.sealed.get(NAME..NAME + 12), other.sealed.get(NAME..NAME + 12));
        let (one, other) = (Journal::padding(NOVEMBER).unwrap(), Journal::padding(NOVEMBER).unwrap());
        assert_ne!(one.detail_commit, other.detail_commit);
    }
}
