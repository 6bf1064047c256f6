//! What a provider answers: a signed head, and the slice as body.

use bincode::{Decode, Encode};

use crate::{
    codec::Cap,
    handling::Handling,
    id::{Hash, NodeId, RequestId},
    refusal::{Reason, Refusal},
    signed::{Label, Preamble, Signable},
    time::UnixMs,
};

crate::codes! {
    /// Whether there is a table or a refusal.
    pub enum Decision: u8 {
        /// A table.
        Answered = 1 "answered",
        /// A refusal.
        Refused = 2 "refused",
    }
}

/// Largest encoded head of an answer: its longest field is a list of at most 64 members.
pub const HEAD_MAX: usize = 4_096;

/// The signed head of a reply to a request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AnswerHead {
    /// Protocol and kind.
    pub preamble: Preamble<18>,
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// Its id.
    pub request_id: RequestId,
    /// Who answers.
    pub responder: NodeId,
    /// Who asked.
    pub requester: NodeId,
    /// Table or refusal.
    pub decision: Decision,
    /// Number of the refusal; 0 for a table. Where a person said no, the high byte says why.
    pub code: u16,
    /// Node time of the responder.
    pub issued_at: UnixMs,
    /// The responder's epoch, a statement.
    pub epoch: u32,
    /// The responder's roster version, a statement.
    pub roster_version: u64,
    /// Version of the policy it was decided by.
    pub policy_version: u64,
    /// Salted commitment to that policy; zero until policies are signed.
    pub policy_commit: Hash,
    /// The edition it was selected from; 0 for a refusal.
    pub edition: u64,
    /// That edition's commitment.
    pub edition_commit: Hash,
    /// SHA-256 of the slice.
    pub slice_hash: Hash,
    /// Its length in bytes.
    pub slice_len: u32,
    /// How to handle it.
    pub handling: Handling,
    /// From when a log proof can be had; 0 until there is a log.
    pub provable_after: UnixMs,
}

impl Signable for AnswerHead {
    const LABEL: Label = Label::Answer;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        if !self.handling.recipients.is_sorted_unique() {
            return Err("recipients are not sorted, or one stands twice");
        }
        match self.decision {
            Decision::Answered if self.code != 0 || self.edition == 0 => {
                Err("an answer with a refusal code, or without an edition")
            }
            Decision::Answered => Ok(()),
            Decision::Refused if self.refusal().is_none() => Err("a refusal with an unknown code"),
            Decision::Refused if (self.code > 0xff) != (self.refusal() == Some(Refusal::Rejected)) => {
                Err("a reason without a rejection, or a rejection without a reason")
            }
            Decision::Refused if self.code > 0xff && self.reason().is_none() => {
                Err("a rejection with an unknown reason")
            }
            Decision::Refused if self.slice_len != 0 || self.edition != 0 => Err("a refusal with a table"),
            Decision::Refused => Ok(()),
        }
    }
}

impl AnswerHead {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.decision {
            Decision::Answered => None,
            Decision::Refused => Refusal::from_number(self.code & 0xff),
        }
    }

    /// Why a person said no, if one did.
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().filter(|refusal| *refusal == Refusal::Rejected)?;
        Reason::from_number(self.code.to_be_bytes()[0])
    }
}

/// Sizes of the reply classes in stream bytes (`wire.md` D10).
pub const CLASS_SIZES: [usize; 5] = [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// What head, frame headers and `end` may take of a class.
pub const CLASS_OVERHEAD: usize = 8192;

/// The smallest class that a slice fits; `None` above the last.
pub fn reply_class(slice_len: usize) -> Option<u8> {
    CLASS_SIZES
        .iter()
        .position(|size| slice_len.checked_add(CLASS_OVERHEAD).is_some_and(|needed| needed <= *size))
        .and_then(|class| u8::try_from(class).ok())
}

/// Stream bytes of a class.
pub fn class_size(class: u8) -> Option<usize> {
    CLASS_SIZES.get(usize::from(class)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_smallest_that_fits() {
        for (length, class) in [
            (0, Some(0)),
            (8192, Some(0)),
            (8193, Some(1)),
            (57_344, Some(1)),
            (57_345, Some(2)),
            ((4 << 20) - 8192, Some(4)),
            ((4 << 20) - 8191, None),
            (usize::MAX, None),
        ] {
            assert_eq!(reply_class(length), class, "{length}");
        }
    }
}
