//! Typed access to what is kept of others' logs: the checkpoints that were seen, forks as evidence, and what partners have to prove.

use std::collections::BTreeMap;

use accord_protocol::{
    codec::Bounded,
    id::{Hash, NodeId},
    log::{
        Checkpoint,
        passing::{BareNote, read},
    },
    time::UnixMs,
};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};
use crate::domain::witnessing::{Fork, Held};

/// Checkpoints of one member's log that are kept, the latest ones: ten days of hourly ones.
const KEPT_OF_EACH: usize = 256;

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct SeenEntry {
    at: UnixMs,
    note: BareNote,
}

/// What a partner has signed, and has to prove that its log holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PromiseEntry {
    /// The partner.
    pub member: NodeId,
    /// The entry's subject.
    pub subject: Hash,
    /// Number of the kind that the entry must be of; 0 where that is not known.
    pub kind: u16,
    /// When it was signed, by the partner's clock; 0 where that is not known.
    pub issued_at: UnixMs,
    /// From when it can be proven.
    pub from: UnixMs,
    /// When the partner was last asked; 0 for never.
    pub asked_at: UnixMs,
    /// The proof, once it was given and held.
    pub proof: Bounded<u8, { 16 << 10 }>,
    /// How many other members have cosigned the checkpoint under it.
    pub witnesses: u8,
    /// Whether it was said that it is missing.
    pub is_missed: bool,
}

fn seen_key(member: &NodeId, size: Option<u64>) -> Vec<u8> {
    let size = size.map(u64::to_be_bytes);
    key(KeyKind::Seen, &[member.as_str().as_bytes(), b"/", size.as_ref().map_or(&[], |size| size.as_slice())])
}

fn promise_key(member: &NodeId, Hash(subject): &Hash) -> Vec<u8> {
    key(KeyKind::Promise, &[member.as_str().as_bytes(), b"/", subject])
}

impl Batch {
    /// Keeps a checkpoint of a member's log.
    pub fn put_seen(&mut self, member: &NodeId, held: &Held) {
        let entry = SeenEntry { at: held.at, note: held.note.clone() };
        self.put(seen_key(member, Some(held.checkpoint.size)), &to_bytes(&entry));
    }

    /// Keeps a fork, in place of what was kept of it.
    pub fn put_fork(&mut self, fork: &Fork) {
        self.put(key(KeyKind::Fork, &[&fork.id.0]), &to_bytes(fork));
    }

    /// Keeps what a partner has to prove, as it stands.
    pub fn put_promise(&mut self, promise: &PromiseEntry) {
        self.replace_parts(&promise_key(&promise.member, &promise.subject), &to_bytes(promise));
    }

    /// Forgets it.
    pub fn delete_promise(&mut self, member: &NodeId, subject: &Hash) {
        self.delete_parts(&promise_key(member, subject));
    }
}

impl Store {
    // Checkpoints of one member, or of all, the smallest of each first.
    fn seen_under(&self, prefix: &[u8]) -> Result<Vec<(NodeId, Held)>, StoreError> {
        let bad = || StoreError::Read("a checkpoint of a member's log does not decode".into());
        let read_one = |entry: super::Entry| {
            let (key, value) = entry?;
            let (name, _) = key.get(1..).and_then(|rest| rest.split_last_chunk::<9>()).ok_or_else(bad)?;
            let member = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or_else(bad)?;
            let SeenEntry { at, note } = decoded(&value, "a checkpoint of a member's log")?;
            let checkpoint =
                read(&note).ok().and_then(|note| Checkpoint::from_text(note.text()).ok()).ok_or_else(bad)?;
            Ok((member, Held { checkpoint, note, at }))
        };
        self.scan_prefix(prefix).map(read_one).collect()
    }

    /// The largest checkpoint that is held of each member's log.
    pub fn held_checkpoints(&self) -> Result<BTreeMap<NodeId, Held>, StoreError> {
        // They come in the order of their sizes.
        Ok(self.seen_under(&[KeyKind::Seen.number()])?.into_iter().collect())
    }

    /// The checkpoint of one size that was seen of a member's log.
    pub fn seen(&self, member: &NodeId, size: u64) -> Result<Option<Held>, StoreError> {
        Ok(self.seen_under(&seen_key(member, Some(size)))?.pop().map(|(_, held)| held))
    }

    /// All that are kept of one member's log, the smallest first.
    pub fn checkpoints_of(&self, member: &NodeId) -> Result<Vec<Held>, StoreError> {
        Ok(self.seen_under(&seen_key(member, None))?.into_iter().map(|(_, held)| held).collect())
    }

    /// Takes away the oldest of a member's log beyond those that are kept.
    pub fn drop_old_seen(&self, member: &NodeId, batch: &mut Batch) -> Result<(), StoreError> {
        let all = self.checkpoints_of(member)?;
        let over = all.len().saturating_sub(KEPT_OF_EACH);
        all.iter().take(over).for_each(|old| batch.delete(seen_key(member, Some(old.checkpoint.size))));
        Ok(())
    }

    /// Takes away all of them but that of one size, in whose place another is put: what a batch deletes is gone after all that it puts.
    pub fn drop_seen(&self, member: &NodeId, but: u64, batch: &mut Batch) -> Result<(), StoreError> {
        let kept = seen_key(member, Some(but));
        for entry in self.scan_prefix(&seen_key(member, None)) {
            let (key, _) = entry?;
            if key != kept {
                batch.delete(key);
            }
        }
        Ok(())
    }

    /// Every fork that was ever found, in the order of their names.
    pub fn forks(&self) -> Result<Vec<Fork>, StoreError> {
        self.scan(KeyKind::Fork).map(|entry| decoded(&entry?.1, "a fork")).collect()
    }

    /// What a partner has to prove, or has proven, of one statement.
    pub fn promise(&self, member: &NodeId, subject: &Hash) -> Result<Option<PromiseEntry>, StoreError> {
        let mut bytes = Vec::new();
        for entry in self.scan_prefix(&promise_key(member, subject)) {
            bytes.extend(entry?.1);
        }
        if bytes.is_empty() { Ok(None) } else { decoded(&bytes, "a promise").map(Some) }
    }

    /// All of them.
    pub fn promises(&self) -> impl Iterator<Item = Result<PromiseEntry, StoreError>> + use<> {
        let mut parts = self.scan(KeyKind::Promise).peekable();
        std::iter::from_fn(move || {
            let (first, mut bytes) = match parts.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let is_same = |key: &[u8]| {
                key.split_last_chunk::<4>().map(|(rest, _)| rest) == first.split_last_chunk::<4>().map(|(rest, _)| rest)
            };
            while let Some(Ok((_, more))) = parts.next_if(|next| next.as_ref().is_ok_and(|(key, _)| is_same(key))) {
                bytes.extend(more);
            }
            Some(decoded(&bytes, "a promise"))
        })
    }
}
