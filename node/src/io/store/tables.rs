//! Typed access: editions with their frozen blocks, euro reference rates, memory of requests.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    catalogue::Kind,
    id::{Hash, RequestId},
    key::PublicKey,
    signed::Document,
    time::{Date, UnixMs},
};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{from_bytes, key, to_bytes},
};
use crate::domain::{
    answering::Remembered, disclosure::Rules, edition::Basis, import::index::Digest, rates::Rates, revision::HeldLine,
};

/// One published edition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EditionEntry {
    /// The signed header.
    pub header: Document,
    /// Its number.
    pub number: u64,
    /// The store's sequence whose records it was made from.
    pub record_sequence: u64,
    /// The rules it was protected by.
    pub rules: Rules,
    /// SHA-256 of its encoded [`EditionDetail`], which lies in parts of its own.
    pub detail: Hash,
}

/// Lines of a vintage in one value, at most: up to 65 bytes each.
const LINES_A_PART: usize = 90;

/// What an edition consists of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EditionDetail {
    /// Table, year and hash of each frozen block.
    pub blocks: Vec<(u16, u16, Hash)>,
    /// What its kinds and years were made from.
    pub bases: Vec<Basis>,
    /// Shares shown, as JSON for the operator.
    pub shares: Vec<u8>,
}

fn vintage_key(kind: Kind, year: u16, edition: u64) -> Vec<u8> {
    key(KeyKind::Vintage, &[&kind.number().to_be_bytes(), &year.to_be_bytes(), &edition.to_be_bytes()])
}

pub(super) fn decoded<T: Encode + Decode<()>>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    from_bytes(bytes).ok_or_else(|| StoreError::Read(format!("{what} does not decode")))
}

impl Batch {
    /// Adds an edition.
    pub fn put_edition(&mut self, edition: &EditionEntry) {
        self.put(key(KeyKind::Edition, &[&edition.number.to_be_bytes()]), &to_bytes(edition));
    }

    /// Adds bytes that never change, under their hash: a block in two editions is stored once.
    pub fn put_frozen(&mut self, bytes: &[u8]) -> Hash {
        let hash = Hash::of(bytes);
        self.put_parts(&key(KeyKind::Frozen, &[&hash.0]), bytes);
        hash
    }

    /// Adds what an edition consists of.
    pub fn put_detail(&mut self, detail: &EditionDetail) -> Hash {
        self.put_frozen(&to_bytes(detail))
    }

    /// Keeps a catalogue's signed document for the editions that were made under it.
    pub fn put_catalogue(&mut self, hash: &Hash, document: &[u8]) {
        self.put_parts(&key(KeyKind::Catalogue, &[&hash.0]), document);
    }

    /// Keeps the lines that a kind and year of an edition was made from.
    pub fn put_vintage(&mut self, kind: Kind, year: u16, edition: u64, lines: &[HeldLine]) {
        let prefix = vintage_key(kind, year, edition);
        // A vintage without lines is there all the same.
        let parts = lines.chunks(LINES_A_PART).chain(lines.is_empty().then_some(lines));
        for (part, lines) in (0u32..).zip(parts) {
            self.put([prefix.as_slice(), &part.to_be_bytes()].concat(), &to_bytes(&lines.to_vec()));
        }
    }

    /// Remembers a reply.
    pub fn put_replay(&mut self, officer: &PublicKey, request: &RequestId, entry: &Remembered) {
        self.put(key(KeyKind::Replay, &[officer.as_bytes(), &request.0]), &to_bytes(entry));
    }
}

impl Store {
    pub(super) fn parts(&self, kind: KeyKind, hash: &Hash) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        for entry in self.scan_prefix(&key(kind, &[&hash.0])) {
            bytes.extend(entry?.1);
        }
        Ok(bytes)
    }

    /// An edition by its number.
    pub fn edition(&self, number: u64) -> Result<Option<EditionEntry>, StoreError> {
        self.value(&key(KeyKind::Edition, &[&number.to_be_bytes()]))?
            .map(|value| decoded(&value, "an edition"))
            .transpose()
    }

    /// Every edition, oldest first.
    pub fn editions(&self) -> impl Iterator<Item = Result<EditionEntry, StoreError>> {
        self.scan(KeyKind::Edition).map(|entry| decoded(&entry?.1, "an edition"))
    }

    /// What an edition consists of.
    pub fn detail(&self, edition: &EditionEntry) -> Result<EditionDetail, StoreError> {
        decoded(&self.frozen(&edition.detail)?, "an edition's detail")
    }

    /// Bytes that never change by their hash, checked against it.
    pub fn frozen(&self, hash: &Hash) -> Result<Vec<u8>, StoreError> {
        let bytes = self.parts(KeyKind::Frozen, hash)?;
        if Hash::of(&bytes) == *hash {
            Ok(bytes)
        } else {
            Err(StoreError::Read(format!("frozen block {hash} is not whole")))
        }
    }

    /// Whether a frozen block is there.
    pub fn has_frozen(&self, hash: &Hash) -> Result<bool, StoreError> {
        let first = key(KeyKind::Frozen, &[&hash.0, &0u32.to_be_bytes()]);
        Ok(self.value(&first)?.is_some())
    }

    /// The signed document of a catalogue, if some edition was made under it.
    pub fn catalogue(&self, hash: &Hash) -> Result<Option<Document>, StoreError> {
        let bytes = self.parts(KeyKind::Catalogue, hash)?;
        if bytes.is_empty() { Ok(None) } else { decoded(&bytes, "a catalogue").map(Some) }
    }

    /// The lines that a kind and year of an edition was made from; `None` if they are not there.
    pub fn vintage(&self, kind: Kind, year: u16, edition: u64) -> Result<Option<Vec<HeldLine>>, StoreError> {
        let mut lines = None;
        for entry in self.scan_prefix(&vintage_key(kind, year, edition)) {
            let part = decoded::<Vec<HeldLine>>(&entry?.1, "lines of a vintage")?;
            lines.get_or_insert_with(Vec::new).extend(part);
        }
        Ok(lines)
    }

    /// Takes the lines of a vintage away.
    pub fn drop_vintage(&self, kind: Kind, year: u16, edition: u64, batch: &mut Batch) -> Result<(), StoreError> {
        for entry in self.scan_prefix(&vintage_key(kind, year, edition)) {
            batch.delete(entry?.0);
        }
        Ok(())
    }

    // Forgets a case in every vintage: what it was counted in stays, without its name.
    pub(super) fn forget_case(&self, case: Digest, batch: &mut Batch) -> Result<(), StoreError> {
        for entry in self.scan(KeyKind::Vintage) {
            let (key, value) = entry?;
            let mut lines = decoded::<Vec<HeldLine>>(&value, "lines of a vintage")?;
            let forgotten = lines.iter_mut().filter(|line| line.case == case).map(|line| line.forget(case)).count();
            if forgotten > 0 {
                batch.put(key, &to_bytes(&lines));
            }
        }
        Ok(())
    }

    /// A remembered reply.
    pub fn replay(&self, officer: &PublicKey, request: &RequestId) -> Result<Option<Remembered>, StoreError> {
        self.value(&key(KeyKind::Replay, &[officer.as_bytes(), &request.0]))?
            .map(|value| decoded(&value, "a reply"))
            .transpose()
    }

    /// Every remembered reply.
    pub fn replies(&self) -> impl Iterator<Item = Result<Remembered, StoreError>> {
        self.scan(KeyKind::Replay).map(|entry| decoded(&entry?.1, "a reply"))
    }

    /// Forgets replies that are no longer to be kept, but none to these requests; returns how many.
    pub fn forget_replies(&self, now: UnixMs, open: &BTreeSet<Hash>) -> Result<usize, StoreError> {
        let mut batch = Batch::default();
        for entry in self.scan(KeyKind::Replay) {
            let (key, value) = entry?;
            let reply = decoded::<Remembered>(&value, "a reply")?;
            if reply.keep_until < now && !open.contains(&reply.body_hash) {
                batch.delete(key);
            }
        }
        let count = batch.deletes.len();
        if count > 0 {
            self.commit(batch)?;
        }
        Ok(count)
    }

    /// All euro reference rates.
    pub fn rates(&self) -> Result<Rates, StoreError> {
        let mut rates = Rates::default();
        for entry in self.scan(KeyKind::Rates) {
            let (key, value) = entry?;
            let currency = key.get(1..4).map(String::from_utf8_lossy).unwrap_or_default();
            for (day, units) in decoded::<Vec<(i64, u64)>>(&value, "a year of rates")? {
                rates.insert(&currency, day, units);
            }
        }
        Ok(rates)
    }
}

impl Batch {
    /// Adds or replaces euro reference rates.
    pub fn put_rates(&mut self, rates: &Rates) {
        for (currency, series) in rates.series() {
            // A year of working days is about 4 KB.
            let mut years: BTreeMap<u16, Vec<(i64, u64)>> = BTreeMap::new();
            for (day, units) in series.days() {
                years.entry(Date::from_days(day).year()).or_default().push((day, units));
            }
            for (year, days) in years {
                self.put(key(KeyKind::Rates, &[currency.as_bytes(), &year.to_be_bytes()]), &to_bytes(&days));
            }
        }
    }
}
