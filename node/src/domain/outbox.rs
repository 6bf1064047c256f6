//! Own requests that wait for a person elsewhere: what is kept of each, and what a partner's later statement comes to (`wire.md` D16).

use std::collections::BTreeMap;

use accord_protocol::{
    codec::Bounded,
    held::{NotAbout, ReplyHead, Status, verify_reply},
    id::{Hash, NodeId, RequestId},
    key::{PublicKey, Signature},
    message::SignedBytes,
    request::{RequestBody, SKEW_MS},
    time::{DAY_MS, UnixMs},
    trust::Trust,
};
use bincode::{Decode, Encode};

/// Requests of one officer that are kept at once, at most: a decided one gives way to a new one.
pub const KEPT_MAX: usize = 500;
/// How long a request is kept after it was decided.
pub const KEEP_MS: u64 = 30 * DAY_MS;
/// How long after the end of waiting a partner's last word is still waited for: as long as the partner keeps it.
const LAST_WORD_MS: u64 = super::inbox::KEEP_MS;

accord_protocol::codes! {
    /// How an own request stands, as far as is known.
    pub enum Course: u8 {
        /// It was sent, and nothing was heard.
        Sent = 1 "sent",
        /// A person there has to decide.
        Held = 2 "held",
        /// It was answered.
        Answered = 3 "answered",
        /// A person, or the policy, said no.
        Refused = 4 "refused",
        /// It was taken back.
        Withdrawn = 5 "withdrawn",
        /// Nobody decided in time.
        Expired = 6 "expired",
    }
}

impl Course {
    /// Whether nothing more is to come.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Sent | Self::Held => false,
            Self::Answered | Self::Refused | Self::Withdrawn | Self::Expired => true,
        }
    }

    fn of(reply: &ReplyHead) -> Self {
        use accord_protocol::held::HeldState;
        match reply {
            ReplyHead::Answer(answer) if answer.refusal().is_none() => Self::Answered,
            ReplyHead::Answer(_) => Self::Refused,
            ReplyHead::Status(status) => match status.state {
                HeldState::Received | HeldState::Held => Self::Held,
                HeldState::Withdrawn => Self::Withdrawn,
                HeldState::Expired => Self::Expired,
            },
        }
    }
}

/// A request that may have to wait.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Sent {
    /// The officer's signed bytes.
    pub body: Bounded<u8, { 32 << 10 }>,
    /// The officer's signature.
    pub officer_signature: Signature,
    /// The officer's card.
    pub officer_card: Bounded<u8, 1024>,
    /// The officer's key.
    pub officer: PublicKey,
    /// The request's id.
    pub request_id: RequestId,
    /// Who was asked.
    pub audience: NodeId,
    /// When.
    pub issued_at: UnixMs,
    /// Until when an answer is wanted.
    pub wanted_until: UnixMs,
    /// How it stands.
    pub course: Course,
    /// Number of the latest statement heard.
    pub state_seq: u32,
    /// Since when, by this node's clock.
    pub changed_at: UnixMs,
    /// The latest signed statement.
    pub latest: Bounded<SignedBytes, 1>,
    /// The header of the edition that it was answered from.
    pub edition: Bounded<u8, { 32 << 10 }>,
    /// SHA-256 of the slice, which lies beside it; zero without one.
    pub slice_hash: Hash,
    /// The officer's signed wish to take it back, until the partner has it.
    pub recall: Bounded<SignedBytes, 1>,
    /// Whether the partner knows that the decision arrived.
    pub has_receipt: bool,
}

impl Sent {
    /// SHA-256 of the request body.
    pub fn body_hash(&self) -> Hash {
        Hash::of(self.body.as_slice())
    }

    /// What is remembered of it in memory.
    pub fn line(&self) -> Line {
        Line {
            audience: self.audience.clone(),
            officer: self.officer,
            request_id: self.request_id,
            wanted_until: self.wanted_until,
            changed_at: self.changed_at,
            state_seq: self.state_seq,
            course: self.course,
            has_recall: !self.recall.as_slice().is_empty(),
            has_receipt: self.has_receipt,
        }
    }
}

/// One own request, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who was asked.
    pub audience: NodeId,
    /// The officer's key.
    pub officer: PublicKey,
    /// The request's id.
    pub request_id: RequestId,
    /// Until when an answer is wanted.
    pub wanted_until: UnixMs,
    /// Since when it stands as it does.
    pub changed_at: UnixMs,
    /// Number of the latest statement heard.
    pub state_seq: u32,
    /// How it stands.
    pub course: Course,
    /// Whether it is to be taken back.
    pub has_recall: bool,
    /// Whether the partner knows that the decision arrived.
    pub has_receipt: bool,
}

/// No more requests of an officer can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// All own requests that may have to wait, in memory, by the hash of the body.
#[derive(Debug, Default)]
pub struct Outbox {
    lines: BTreeMap<Hash, Line>,
}

impl Outbox {
    /// Enters a request, or how it stands now.
    pub fn enter(&mut self, sent: &Sent) {
        self.lines.insert(sent.body_hash(), sent.line());
    }

    /// Forgets a request.
    pub fn forget(&mut self, body_hash: &Hash) {
        self.lines.remove(body_hash);
    }

    /// One request.
    pub fn get(&self, body_hash: &Hash) -> Option<&Line> {
        self.lines.get(body_hash)
    }

    /// Whether one more request of an officer can be kept: at once, or once the oldest one that is settled is forgotten.
    ///
    /// # Errors
    /// That all of them still wait.
    pub fn room_for(&self, officer: &PublicKey) -> Result<Option<Hash>, Full> {
        let of_officer = || self.lines.iter().filter(|(_, line)| line.officer == *officer);
        if of_officer().count() < KEPT_MAX {
            return Ok(None);
        }
        let settled = of_officer().filter(|(_, line)| line.course.is_final());
        settled.min_by_key(|(_, line)| (!line.has_receipt, line.changed_at)).map(|(hash, _)| Some(*hash)).ok_or(Full)
    }

    /// How many are not decided.
    pub fn waiting(&self) -> usize {
        self.lines.values().filter(|line| !line.course.is_final()).count()
    }

    /// The partners from whom something is still to be heard, or who are to be told something.
    pub fn partners(&self) -> Vec<NodeId> {
        let mut all: Vec<NodeId> =
            self.lines.values().filter(|line| line.is_unsettled()).map(|line| line.audience.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What is not settled with a partner.
    pub fn unsettled<'a>(&'a self, partner: &'a NodeId) -> impl Iterator<Item = (Hash, &'a Line)> {
        let of_partner = self.lines.iter().filter(|(_, line)| line.audience == *partner && line.is_unsettled());
        of_partner.map(|(hash, line)| (*hash, line))
    }

    /// Requests that need not be kept any more: decided long ago, or never heard of again.
    pub fn old(&self, now: UnixMs) -> Vec<Hash> {
        let is_old = |line: &Line| {
            if line.course.is_final() {
                line.changed_at.plus(KEEP_MS) < now
            } else {
                line.wanted_until.plus(LAST_WORD_MS) < now
            }
        };
        self.lines.iter().filter(|(_, line)| is_old(line)).map(|(hash, _)| *hash).collect()
    }

    /// Bodies of an officer's requests whose id begins with these hexadecimal letters.
    pub fn find(&self, officer: &PublicKey, id: &str) -> Vec<Hash> {
        let begins = |line: &Line| line.officer == *officer && line.request_id.to_string().starts_with(id);
        self.lines.iter().filter(|(_, line)| begins(line)).map(|(hash, _)| *hash).collect()
    }

    /// An officer's requests.
    pub fn of(&self, officer: &PublicKey) -> Vec<Hash> {
        self.find(officer, "")
    }
}

impl Line {
    fn is_unsettled(&self) -> bool {
        !self.course.is_final() || !self.has_receipt
    }
}

/// What a partner's statement comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It says something new.
    New {
        /// How the request stands by it.
        course: Course,
        /// The number of the statement.
        state_seq: u32,
    },
    /// It is known, or older than what is known.
    Known,
    /// It is another final statement than the one that came first: evidence against its signer.
    Contradiction,
}

/// Why a statement says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    /// It is not about the request.
    #[error(transparent)]
    NotAbout(#[from] NotAbout),
    /// Its time is not possible.
    #[error("its time does not fit the request")]
    Time,
    /// The table beside it is another one.
    #[error("the table is not the one that was signed")]
    Slice,
}

/// Judges what a partner says of a request later. `slice` is what came beside it.
///
/// # Errors
/// Why it says nothing: then it is as if nothing had come.
pub fn judge(
    trust: &Trust,
    sent: &Sent,
    body: &RequestBody,
    (signed, slice): (&SignedBytes, &[u8]),
    now: UnixMs,
) -> Result<Heard, NotHeard> {
    let reply = verify_reply(trust, body, sent.body_hash(), signed, now)?;
    let (at, slice_hash) = match &reply {
        ReplyHead::Answer(answer) => (answer.issued_at, answer.slice_hash),
        ReplyHead::Status(status) => (status.at, Hash::of(&[])),
    };
    if at.plus(SKEW_MS) < body.issued_at || at > now.plus(SKEW_MS) {
        return Err(NotHeard::Time);
    }
    if Hash::of(slice) != slice_hash {
        return Err(NotHeard::Slice);
    }
    let is_same = sent.latest.as_slice().first() == Some(signed);
    if sent.course.is_final() {
        // What was answered may be denied later, by a policy that has changed; the answer stands. Nothing else changes.
        let may_follow = match &reply {
            ReplyHead::Answer(answer) => answer.refusal().is_some_and(|refusal| !is_verdict(refusal)),
            ReplyHead::Status(status) => !status.state.is_final(),
        };
        return Ok(if is_same || may_follow { Heard::Known } else { Heard::Contradiction });
    }
    Ok(match &reply {
        ReplyHead::Answer(answer) if answer.refusal().is_some_and(|refusal| !is_decision(refusal)) => Heard::Known,
        ReplyHead::Answer(_) => Heard::New { course: Course::of(&reply), state_seq: sent.state_seq.saturating_add(1) },
        ReplyHead::Status(status) if is_later(status, sent) => {
            Heard::New { course: Course::of(&reply), state_seq: status.state_seq }
        }
        ReplyHead::Status(_) => Heard::Known,
    })
}

fn is_later(status: &Status, sent: &Sent) -> bool {
    status.state_seq > sent.state_seq
}

// Refusals that are a person's, and are remembered.
fn is_verdict(refusal: accord_protocol::refusal::Refusal) -> bool {
    refusal == accord_protocol::refusal::Refusal::Rejected
}

// Refusals that decide, rather than say that it is not possible now.
fn is_decision(refusal: accord_protocol::refusal::Refusal) -> bool {
    use accord_protocol::refusal::Refusal;
    match refusal {
        Refusal::Query
        | Refusal::Unavailable
        | Refusal::Edition
        | Refusal::View
        | Refusal::Rejected
        | Refusal::Conflict => true,
        Refusal::Auth | Refusal::Time | Refusal::Encoding | Refusal::Quota | Refusal::Busy => false,
    }
}
