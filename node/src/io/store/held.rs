//! Typed access to requests that wait for a person: here and elsewhere, standing approvals, and what each officer received.

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};
use crate::domain::{inbox::Held, outbox::Sent};
use accord_protocol::{
    id::{Hash, NodeId},
    key::PublicKey,
    signed::Document,
    time::UnixMs,
};

/// Parts that an entry can have, at most: the longest has a request of 48 KiB in it.
const PARTS_MAX: u32 = 20;

/// What an officer has received of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedEntry {
    /// Number of the table.
    pub table_id: u16,
    /// The edition.
    pub edition: u64,
    /// When for the first time.
    pub first: UnixMs,
}

fn history_key(member: &NodeId, officer: &PublicKey, rest: &[u8]) -> Vec<u8> {
    key(KeyKind::History, &[member.as_str().as_bytes(), b"/", officer.as_bytes(), rest])
}

// Two people may say the same.
fn standing_key(document: &Document) -> Vec<u8> {
    let by = document.signed_by().first().map(|key| *key.as_bytes()).unwrap_or_default();
    key(KeyKind::Standing, &[&by, &document.hash().0])
}

impl Batch {
    // Parts of an entry that may have become shorter.
    pub(super) fn replace_parts(&mut self, prefix: &[u8], value: &[u8]) {
        self.put_parts(prefix, value);
        let parts = u32::try_from(value.len().div_ceil(super::layout::VALUE_MAX)).unwrap_or(PARTS_MAX);
        for part in parts..PARTS_MAX {
            self.delete([prefix, &part.to_be_bytes()].concat());
        }
    }

    pub(super) fn delete_parts(&mut self, prefix: &[u8]) {
        for part in 0..PARTS_MAX {
            self.delete([prefix, &part.to_be_bytes()].concat());
        }
    }

    /// Keeps a request that a person here decides, as it stands.
    pub fn put_held(&mut self, held: &Held) {
        self.replace_parts(&key(KeyKind::Held, &[&held.body_hash.0]), &to_bytes(held));
    }

    /// Forgets a request that a person here has decided.
    pub fn delete_held(&mut self, body_hash: &Hash) {
        self.delete_parts(&key(KeyKind::Held, &[&body_hash.0]));
    }

    /// Keeps an own request that may have to wait elsewhere, as it stands.
    pub fn put_sent(&mut self, sent: &Sent) {
        self.replace_parts(&key(KeyKind::Sent, &[&sent.body_hash().0]), &to_bytes(sent));
    }

    /// Keeps the cells that an own request was answered with.
    pub fn put_slice(&mut self, body_hash: &Hash, slice: &[u8]) {
        self.put_parts(&key(KeyKind::Slice, &[&body_hash.0]), slice);
    }

    /// Keeps a standing approval.
    pub fn put_standing(&mut self, document: &Document) {
        self.put(standing_key(document), &to_bytes(document));
    }

    /// Forgets a standing approval.
    pub fn delete_standing(&mut self, document: &Document) {
        self.delete(standing_key(document));
    }

    /// Remembers that an officer receives cells of a table and edition.
    pub fn put_history(&mut self, member: &NodeId, officer: &PublicKey, entry: ReceivedEntry) {
        self.put(history_key(member, officer, &entry.rest()), &entry.first.0.to_be_bytes());
    }
}

impl ReceivedEntry {
    fn rest(self) -> Vec<u8> {
        [self.table_id.to_be_bytes().as_slice(), &self.edition.to_be_bytes()].concat()
    }
}

impl Store {
    /// A request that a person here decides.
    pub fn held(&self, body_hash: &Hash) -> Result<Option<Held>, StoreError> {
        let bytes = self.parts(KeyKind::Held, body_hash)?;
        if bytes.is_empty() { Ok(None) } else { decoded(&bytes, "a held request").map(Some) }
    }

    /// Every one of them.
    pub fn all_held(&self) -> Result<Vec<Held>, StoreError> {
        self.whole(KeyKind::Held)?.iter().map(|bytes| decoded(bytes, "a held request")).collect()
    }

    /// An own request that may have to wait elsewhere.
    pub fn sent(&self, body_hash: &Hash) -> Result<Option<Sent>, StoreError> {
        let bytes = self.parts(KeyKind::Sent, body_hash)?;
        if bytes.is_empty() { Ok(None) } else { decoded(&bytes, "an own request").map(Some) }
    }

    /// Every one of them.
    pub fn all_sent(&self) -> Result<Vec<Sent>, StoreError> {
        self.whole(KeyKind::Sent)?.iter().map(|bytes| decoded(bytes, "an own request")).collect()
    }

    /// The cells that an own request was answered with.
    pub fn slice(&self, body_hash: &Hash) -> Result<Vec<u8>, StoreError> {
        self.parts(KeyKind::Slice, body_hash)
    }

    /// Forgets an own request with what it was answered with.
    pub fn drop_sent(&self, body_hash: &Hash, batch: &mut Batch) -> Result<(), StoreError> {
        batch.delete_parts(&key(KeyKind::Sent, &[&body_hash.0]));
        for entry in self.scan_prefix(&key(KeyKind::Slice, &[&body_hash.0])) {
            batch.delete(entry?.0);
        }
        Ok(())
    }

    /// Standing approvals, with those that are over.
    pub fn standing(&self) -> Result<Vec<Document>, StoreError> {
        self.scan(KeyKind::Standing).map(|entry| decoded(&entry?.1, "a standing approval")).collect()
    }

    /// Whether it is known that an officer has received cells of a table and edition.
    pub fn has_history(&self, member: &NodeId, officer: &PublicKey, entry: ReceivedEntry) -> Result<bool, StoreError> {
        Ok(self.value(&history_key(member, officer, &entry.rest()))?.is_some())
    }

    /// What an officer has received.
    pub fn history(&self, member: &NodeId, officer: &PublicKey) -> Result<Vec<ReceivedEntry>, StoreError> {
        self.scan_prefix(&history_key(member, officer, &[]))
            .map(|entry| {
                let (key, value) = entry?;
                let read = || {
                    let (rest, edition) = key.split_last_chunk::<8>()?;
                    let (table_id, first) = (rest.last_chunk::<2>()?, value.first_chunk::<8>()?);
                    Some(ReceivedEntry {
                        table_id: u16::from_be_bytes(*table_id),
                        edition: u64::from_be_bytes(*edition),
                        first: UnixMs(u64::from_be_bytes(*first)),
                    })
                };
                read().ok_or_else(|| StoreError::Read("what an officer received does not decode".into()))
            })
            .collect()
    }

    // Entries of a kind that lie in parts under a hash, put together.
    fn whole(&self, kind: KeyKind) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for entry in self.scan(kind) {
            let (key, value) = entry?;
            let hash = key.get(..33).unwrap_or_default().to_vec();
            match all.last_mut().filter(|(last, _)| *last == hash) {
                Some((_, bytes)) => bytes.extend(value),
                None => all.push((hash, value)),
            }
        }
        Ok(all.into_iter().map(|(_, bytes)| bytes).collect())
    }
}
