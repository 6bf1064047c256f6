//! Typed access to contradictions: two signed replies of a partner to one request, kept as evidence against it.

use accord_protocol::{
    id::{Hash, NodeId},
    message::SignedBytes,
    time::UnixMs,
};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ContradictionEntry {
    /// Whose.
    pub partner: NodeId,
    /// When the second one came.
    pub at: UnixMs,
    /// The head that came first, with its signature.
    pub first: SignedBytes,
    /// The one that came later.
    pub second: SignedBytes,
}

impl Batch {
    /// Keeps a contradiction; the same one again changes nothing.
    pub fn put_contradiction(&mut self, entry: &ContradictionEntry) {
        let Hash(id) = Hash::of(entry.first.payload.as_slice());
        self.put_parts(&key(KeyKind::Contradiction, &[&id]), &to_bytes(entry));
    }
}

impl Store {
    /// All contradictions, in the order of their hashes.
    pub fn contradictions(&self) -> Result<Vec<ContradictionEntry>, StoreError> {
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for entry in self.scan(KeyKind::Contradiction) {
            let (key, part) = entry?;
            let id = key.get(..33).unwrap_or_default().to_vec();
            match all.last_mut().filter(|(last, _)| *last == id) {
                Some((_, bytes)) => bytes.extend(part),
                None => all.push((id, part)),
            }
        }
        all.iter().map(|(_, bytes)| decoded(bytes, "a contradiction")).collect()
    }
}
