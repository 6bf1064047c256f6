//! What members tell each other of their logs: checkpoints to be cosigned, checkpoints to be compared, proofs (`wire.md` D7, `trust.md` 4.2).

use bincode::{Decode, Encode};

use super::{
    checkpoint::{Checkpoint, NotACheckpoint, SignedCheckpoint},
    note::Note,
    tree::{PATH_MAX, verify_consistency},
};
use crate::{codec::Bounded, id::Hash};

/// Largest note of a checkpoint with its log's signature alone.
pub const BARE_NOTE_MAX: usize = 1_024;
/// Checkpoints that one member tells another at once, at most.
pub const TOLD_MAX: usize = 48;
/// Largest line of a cosignature.
pub const LINE_MAX: usize = 512;
/// Members that are enough as witnesses.
pub const WITNESSES_ENOUGH: usize = 2;

/// A checkpoint as it travels: its note with the log's signature, and no cosignatures.
pub type BareNote = Bounded<u8, BARE_NOTE_MAX>;

/// How many cosignatures of other members make a checkpoint witnessed, where so many others could give one: two, or all if there are
/// fewer. Where nobody could, it is unwitnessed, which is no fault.
pub const fn needed(others: usize) -> usize {
    if others < WITNESSES_ENOUGH { others } else { WITNESSES_ENOUGH }
}

/// A log's owner asks another member to look at its log again, and to cosign it (C2SP `tlog-witness`, `add-checkpoint`).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cosign {
    /// Size of the checkpoint that the other is believed to hold; 0 for none.
    pub old_size: u64,
    /// That the log only grew since.
    pub consistency: Bounded<Hash, PATH_MAX>,
    /// The checkpoint.
    pub checkpoint: BareNote,
}

crate::codes! {
    /// What a member makes of another's checkpoint.
    pub enum CosignOutcome: u8 {
        /// It holds it from now on.
        Held = 1 "held",
        /// It holds one of another size than was believed.
        OtherSize = 2 "other_size",
        /// What it holds is not in the log that was shown, or the checkpoint is not believed.
        Refused = 3 "refused",
    }
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cosigned {
    /// What became of it.
    pub outcome: CosignOutcome,
    /// The checkpoint of that log that it holds now; empty for none.
    pub held: BareNote,
    /// The line of its cosignature, where it holds the one that was sent and is a witness; else empty.
    pub line: Bounded<u8, LINE_MAX>,
}

/// The latest checkpoint that the teller holds of each member's log, its own last closed one among them. Each is signed by that log, so
/// that the teller adds nothing to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Told {
    /// The notes, in no order.
    pub notes: Bounded<BareNote, TOLD_MAX>,
}

crate::codes! {
    /// What is to be proven.
    pub enum Asked: u8 {
        /// That an entry about a signed statement stands in the log, under a checkpoint that others may have cosigned.
        Entry = 1 "entry",
        /// That the tree of one size begins with that of another.
        Consistency = 2 "consistency",
    }
}

/// Somebody asks a log's owner for a proof.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProofCall {
    /// Of what.
    pub what: Asked,
    /// The entry's subject: whoever has the signed statement knows it. Zero where none is meant.
    pub subject: Hash,
    /// The smaller size; 0 where none is meant.
    pub old: u64,
    /// The larger one; 0 where none is meant.
    pub new: u64,
}

/// What is proven of two sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct ConsistencyReply {
    /// The path.
    pub path: Bounded<Hash, PATH_MAX>,
}

/// What a checkpoint that a log's owner shows is to whoever holds an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The log is as it was, or has grown: it is held from now on.
    Grown,
    /// The owner believes that another size is held. Nothing follows from it.
    OtherSize,
    /// It is smaller than what is held: the owner has lost what it had already signed.
    Behind,
    /// It is another past: both are signed, and not of one log.
    Fork,
}

/// Judges a checkpoint by the one that is held, in the order of C2SP `tlog-witness`.
pub fn judge(held: Option<&Checkpoint>, new: &Checkpoint, old_size: u64, path: &[Hash]) -> Seen {
    let Some(held) = held else {
        return if old_size == 0 && path.is_empty() { Seen::Grown } else { Seen::OtherSize };
    };
    if new.size == held.size && new.root != held.root {
        return Seen::Fork;
    }
    if new.size < held.size {
        return Seen::Behind;
    }
    if old_size != held.size {
        return Seen::OtherSize;
    }
    // Every tree begins with the empty one.
    if held.size == 0 || verify_consistency((held.size, &held.root), (new.size, &new.root), path) {
        Seen::Grown
    } else {
        Seen::Fork
    }
}

impl SignedCheckpoint {
    /// The checkpoint as it travels; nothing for one that is longer than any that is made here.
    pub fn bare(&self) -> Option<BareNote> {
        let mut note = Note::new(self.note().text().to_owned()).ok()?;
        let own = self.note().signatures().iter().filter(|line| line.name == self.checkpoint().origin);
        own.for_each(|line| note.add(line.clone()));
        Bounded::new(note.to_string().into_bytes())
    }
}

/// Reads a note as it travels.
///
/// # Errors
/// Why it is none.
pub fn read(note: &BareNote) -> Result<Note, NotACheckpoint> {
    let text = std::str::from_utf8(note.as_slice()).map_err(|_| NotACheckpoint::Text("it is not UTF-8"))?;
    Ok(Note::parse(text)?)
}

/// What names one fork for the people who decide about it: SHA-256 of both texts, the one that was held first.
pub fn fork_id(held: &Checkpoint, shown: &Checkpoint) -> Hash {
    Hash::of(&[held.text().as_bytes(), b"\0", shown.text().as_bytes()].concat())
}

/// The same where a log's owner does not prove that both are of one log, which is another thing to accept: both texts, and a zero byte.
pub fn refusal_id(held: &Checkpoint, shown: &Checkpoint) -> Hash {
    Hash::of(&[held.text().as_bytes(), b"\0", shown.text().as_bytes(), b"\0"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::tree::{InMemory, consistency, leaf_hash, root_of},
        signed::tests::test_key,
    };

    fn leaves(salt: u8, count: u8) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&[salt, number])).collect()
    }

    fn signed(leaves: &[Hash]) -> SignedCheckpoint {
        let checkpoint = Checkpoint {
            origin: "fed/IT/log1".into(),
            size: leaves.len() as u64,
            root: root_of(leaves.iter().copied()),
        };
        checkpoint.sign(&test_key(7)).unwrap()
    }

    #[test]
    fn a_log_that_grew_is_held_and_any_other_past_is_a_fork() {
        let (ours, theirs) = (leaves(1, 20), leaves(2, 20));
        let path = |all: &[Hash], old| consistency(&InMemory(all), old, all.len() as u64).unwrap().unwrap();
        let held = signed(&ours[..12]).checkpoint().clone();
        let forked: Vec<Hash> = ours[..11].iter().chain(&theirs[11..20]).copied().collect();
        let flipped = {
            let mut path = path(&ours, 12);
            path[0].0[0] ^= 1;
            path
        };
        for (what, held, shown, old, path, want) in [
            ("the first that is seen", None, signed(&ours), 0, vec![], Seen::Grown),
            ("none is held, whatever is believed", None, signed(&ours), 12, path(&ours, 12), Seen::OtherSize),
            ("grown", Some(&held), signed(&ours), 12, path(&ours, 12), Seen::Grown),
            ("unchanged", Some(&held), signed(&ours[..12]), 12, vec![], Seen::Grown),
            ("another is believed to be held", Some(&held), signed(&ours), 11, path(&ours, 11), Seen::OtherSize),
            ("none is believed to be held", Some(&held), signed(&ours), 0, vec![], Seen::OtherSize),
            ("smaller", Some(&held), signed(&ours[..11]), 11, vec![], Seen::Behind),
            ("of one size with another root", Some(&held), signed(&theirs[..12]), 12, vec![], Seen::Fork),
            ("the same without its size being named", Some(&held), signed(&theirs[..12]), 0, vec![], Seen::Fork),
            ("rewritten and grown", Some(&held), signed(&forked), 12, path(&forked, 12), Seen::Fork),
            ("rewritten, with the true proof", Some(&held), signed(&forked), 12, path(&ours, 12), Seen::Fork),
            ("without a proof", Some(&held), signed(&ours), 12, vec![], Seen::Fork),
            ("with a changed proof", Some(&held), signed(&ours), 12, flipped, Seen::Fork),
        ] {
            assert_eq!(judge(held, shown.checkpoint(), old, &path), want, "{what}");
        }
    }

    #[test]
    fn a_bare_note_has_the_logs_signature_and_nobody_elses() {
        let log = signed(&leaves(1, 5));
        let witness = test_key(9);
        let line = log.cosign("fed/ES/witness".into(), &witness, 77);
        let bare = log.clone().with(line).bare().unwrap();
        let note = read(&bare).unwrap();
        assert_eq!(note.signatures().len(), 1);
        let believed = SignedCheckpoint::verify(note, "fed/IT/log1", &[log.signer()]).unwrap();
        assert_eq!(believed.checkpoint(), log.checkpoint());
    }

    #[test]
    fn two_others_are_enough_and_fewer_where_there_are_fewer() {
        assert_eq!([0, 1, 2, 3, 27].map(needed), [0, 1, 2, 2, 2]);
    }
}
