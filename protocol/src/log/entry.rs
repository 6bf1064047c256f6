//! One entry of the log: what kind of thing happened and when, with commitments to the rest.

use bincode::{Decode, Encode};

use super::tree::leaf_hash;
use crate::{
    codec::{Cap, Malformed, decode, encode},
    id::Hash,
    signed::{FederationId, Label, sign_input},
    time::UnixMs,
};

/// Bytes of an encoded entry.
pub const ENTRY_BYTES: usize = 123;

crate::codes! {
    /// Layouts of entries.
    pub enum EntryVersion: u8 {
        /// The one described here.
        One = 1 "1",
    }
}

crate::codes! {
    /// What happened.
    pub enum EventKind: u16 {
        /// Nothing: it hides how many entries an hour has.
        Padding = 1 "padding",
        /// The node started.
        Started = 2 "started",
        /// The node stopped in order.
        Stopped = 3 "stopped",
        /// Settings differ from those of the start before.
        Settings = 4 "settings",
        /// The clock is behind its mark, or no longer, or its mark was set anew.
        Clock = 5 "clock",
        /// An own officer's request was handed on to a partner.
        Asked = 10 "asked",
        /// A partner's signed reply to an own officer's request came.
        Heard = 11 "heard",
        /// An own officer took a request back.
        Recalled = 12 "recalled",
        /// A request was answered with a table.
        Answered = 20 "answered",
        /// A request was refused.
        Refused = 21 "refused",
        /// A request waits for a person.
        Held = 22 "held",
        /// A request that waited was taken back by its officer.
        Withdrawn = 23 "withdrawn",
        /// A request that waited was not decided in time.
        Expired = 24 "expired",
        /// Refusals of a member beyond those that have entries of their own.
        Refusals = 25 "refusals",
        /// The asker has said that a decision arrived.
        Receipt = 26 "receipt",
        /// For a day the asker has not said that a decision arrived.
        NoReceipt = 28 "no-receipt",
        /// An approver said yes or no to a request.
        Verdict = 30 "verdict",
        /// A standing approval was signed, or ended.
        Standing = 31 "standing",
        /// A file was imported.
        Import = 40 "import",
        /// A file was not imported.
        ImportRefused = 41 "import-refused",
        /// An import was undone.
        Undone = 42 "undone",
        /// A case was erased.
        Erased = 43 "erased",
        /// Coverage was declared.
        Coverage = 44 "coverage",
        /// Euro reference rates were imported.
        Rates = 45 "rates",
        /// The store was copied, so that what was deleted is gone.
        Compacted = 46 "compacted",
        /// An edition was published.
        Edition = 50 "edition",
        /// An edition was withdrawn.
        EditionWithdrawn = 51 "edition-withdrawn",
        /// Somebody signed a proposal about editions.
        Proposal = 52 "proposal",
        /// A proposal was taken off the table.
        ProposalRejected = 53 "proposal-rejected",
        /// A partner has withdrawn an edition.
        PartnerWithdrew = 54 "partner-withdrew",
        /// A trust document is in force here.
        Document = 60 "document",
        /// A partner signed two things that contradict each other.
        Contradiction = 61 "contradiction",
        /// Details of entries were made unreadable for ever, or entries destroyed.
        Retention = 70 "retention",
        /// Somebody looked at the log, or took a copy of it.
        Read = 71 "read",
        /// Everything that the node holds was read.
        Verified = 73 "verified",
        /// A backup was made.
        Backup = 74 "backup",
        /// The node started for the first time after a backup was restored.
        Restored = 75 "restored",
        /// A log, a partner's or the own one, shows another past than it did.
        Fork = 72 "fork",
        /// A partner has not proven within a day that its log holds what it signed.
        Unproven = 76 "unproven",
    }
}

/// One entry, as it stands in the tree. Its own hash is that of a leaf of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Layout.
    pub version: EntryVersion,
    /// What happened.
    pub kind: EventKind,
    /// When, by the node's clock.
    pub time: UnixMs,
    /// Its place in the log, from 0.
    pub seq: u64,
    /// SHA-256(salt || who did it).
    pub actor_commit: Hash,
    /// [`subject_of`] the signed thing that it is about; zero if there is none.
    pub subject: Hash,
    /// SHA-256(salt || detail).
    pub detail_commit: Hash,
    /// Size of the log when what became durable together with this entry began.
    pub prev_size: u64,
}

impl Entry {
    /// The bytes whose hash is the leaf.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A fixed 123 bytes, far below the codec's limit.
        encode(self).unwrap_or_default()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        decode(bytes, Cap::Small)
    }

    /// Its hash in the tree.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.to_bytes())
    }

    /// Whether this is the detail that it commits to.
    #[must_use]
    pub fn commits_to(&self, detail: &Detail) -> bool {
        detail.commit() == self.detail_commit
    }
}

/// What an entry commits to and does not hold: a JSON object, and the salt without which nobody can guess it.
#[derive(Clone, PartialEq, Eq)]
pub struct Detail {
    /// Random, for this entry alone.
    pub salt: [u8; 32],
    /// UTF-8 text of a JSON object. Its `actor` is who did it.
    pub text: Vec<u8>,
}

impl std::fmt::Debug for Detail {
    // Who did what is for auditors, not for a program's log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Detail")
    }
}

impl Detail {
    /// SHA-256(salt || detail).
    pub fn commit(&self) -> Hash {
        Hash::of(&[self.salt.as_slice(), &self.text].concat())
    }

    /// SHA-256(salt || who did it). No name begins as a JSON object does, so that it is never a detail's commitment.
    pub fn actor_commit(&self, actor: &str) -> Hash {
        Hash::of(&[self.salt.as_slice(), actor.as_bytes()].concat())
    }
}

/// How entries name a signed thing: SHA-256 of what its signature is over (`wire.md` D7). Whoever holds it finds its entry; nobody else
/// can say what the entry is about.
pub fn subject_of(label: Label, federation: &FederationId, payload: &[u8]) -> Hash {
    Hash::of(&sign_input(label, federation, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_length_and_reads_back_and_no_bit_of_it_is_free() {
        let detail = Detail { salt: [7; 32], text: br#"{"actor":"node"}"#.to_vec() };
        let entry = Entry {
            version: EntryVersion::One,
            kind: EventKind::Answered,
            time: UnixMs(1_795_500_000_000),
            seq: 41,
            actor_commit: detail.actor_commit("node"),
            subject: Hash([0x55; 32]),
            detail_commit: detail.commit(),
            prev_size: 40,
        };
        let bytes = entry.to_bytes();
        assert_eq!(bytes.len(), ENTRY_BYTES);
        assert_eq!(Entry::from_bytes(&bytes), Ok(entry));
        assert!(entry.commits_to(&detail));
        assert_ne!(detail.commit(), detail.actor_commit("node"));
        for index in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[index] ^= 1;
            assert_ne!(leaf_hash(&bad), entry.leaf_hash(), "byte {index}");
            assert_ne!(Entry::from_bytes(&bad).ok(), Some(entry), "byte {index}");
            assert!(Entry::from_bytes(&bytes[..index]).is_err(), "cut at {index}");
        }
    }
}
