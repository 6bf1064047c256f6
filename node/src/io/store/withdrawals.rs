//! Typed access to withdrawals: who received which edition, what was withdrawn, who is still to be told, what partners have told.

use accord_protocol::{id::NodeId, signed::Document, time::UnixMs};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};

/// A withdrawn edition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WithdrawnEntry {
    /// The signed statement.
    pub document: Document,
    /// Why, for the node's own people.
    pub reason: String,
    /// When.
    pub at: UnixMs,
}

impl Batch {
    /// Remembers that a member received an edition.
    pub fn put_received(&mut self, edition: u64, member: &NodeId) {
        self.put(key(KeyKind::Received, &[&edition.to_be_bytes(), member.as_str().as_bytes()]), &[]);
    }

    /// Withdraws an edition; `untold` are the members to tell.
    pub fn put_withdrawn(&mut self, edition: u64, entry: &WithdrawnEntry, untold: &[NodeId]) {
        self.put(key(KeyKind::Withdrawn, &[&edition.to_be_bytes()]), &to_bytes(entry));
        for member in untold {
            self.put_untold(edition, member);
        }
    }

    /// Remembers that a member is to be told.
    pub fn put_untold(&mut self, edition: u64, member: &NodeId) {
        self.put(untold_key(edition, member), &[]);
    }

    /// Remembers what a partner has told.
    pub fn put_told(&mut self, member: &NodeId, edition: u64, document: &Document) {
        let number = edition.to_be_bytes();
        self.put(key(KeyKind::Told, &[member.as_str().as_bytes(), b"/", &number]), &to_bytes(document));
    }

    /// Remembers that a member was told.
    pub fn delete_untold(&mut self, edition: u64, member: &NodeId) {
        self.delete(untold_key(edition, member));
    }
}

fn untold_key(edition: u64, member: &NodeId) -> Vec<u8> {
    key(KeyKind::Untold, &[&edition.to_be_bytes(), member.as_str().as_bytes()])
}

// Edition and member of a key whose rest is the two.
fn edition_and_member(key: &[u8]) -> Result<(u64, NodeId), StoreError> {
    let read = || {
        let (number, member) = key.get(1..)?.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*number), std::str::from_utf8(member).ok()?.parse().ok()?))
    };
    read().ok_or_else(|| StoreError::Read("a key does not name an edition and a member".into()))
}

impl Store {
    /// The members that received an edition.
    pub fn received(&self, edition: u64) -> Result<Vec<NodeId>, StoreError> {
        self.scan_prefix(&key(KeyKind::Received, &[&edition.to_be_bytes()]))
            .map(|entry| edition_and_member(&entry?.0).map(|(_, member)| member))
            .collect()
    }

    /// A withdrawn edition.
    pub fn withdrawn(&self, edition: u64) -> Result<Option<WithdrawnEntry>, StoreError> {
        self.value(&key(KeyKind::Withdrawn, &[&edition.to_be_bytes()]))?
            .map(|value| decoded(&value, "a withdrawal"))
            .transpose()
    }

    /// Every withdrawn edition.
    pub fn all_withdrawn(&self) -> impl Iterator<Item = Result<WithdrawnEntry, StoreError>> {
        self.scan(KeyKind::Withdrawn).map(|entry| decoded(&entry?.1, "a withdrawal"))
    }

    /// Who is still to be told of which edition.
    pub fn untold(&self) -> Result<Vec<(u64, NodeId)>, StoreError> {
        self.scan(KeyKind::Untold).map(|entry| edition_and_member(&entry?.0)).collect()
    }

    /// The numbers of the editions that a partner has withdrawn.
    pub fn told_by(&self, member: &NodeId) -> Result<Vec<u64>, StoreError> {
        self.scan_prefix(&key(KeyKind::Told, &[member.as_str().as_bytes(), b"/"]))
            .map(|entry| {
                let (key, _) = entry?;
                Ok(key.last_chunk().copied().map_or(0, u64::from_be_bytes))
            })
            .collect()
    }

    /// What partners have told.
    pub fn told(&self) -> Result<Vec<Document>, StoreError> {
        self.scan(KeyKind::Told).map(|entry| decoded(&entry?.1, "a partner's withdrawal")).collect()
    }
}
