//! Requests that wait for a person here: what is kept of each, how many a member may have, and what a verdict comes to (`wire.md` D5).

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    approval::{Approval, StandingApproval, Verdict},
    codec::{Bounded, Text},
    id::{Hash, NodeId, RequestId},
    key::PublicKey,
    member_keys::KeyRole,
    message::SignedBytes,
    officers::Purpose,
    signed::{Document, Verified},
    time::{DAY_MS, UnixMs},
    trust::Trust,
};
use bincode::{Decode, Encode};

use super::provide::About;

/// Requests of one member that wait here at once, at most.
pub const WAITING_MAX: usize = 200;
/// Requests of one member that are kept in all, at most: those that were decided, too.
pub const KEPT_MAX: usize = accord_protocol::held::LISTED_MAX;
/// How long after a decision the asker's word that it arrived is waited for before the log says that it is missing (`trust.md` 4.3).
pub const RECEIPT_WITHIN_MS: u64 = DAY_MS;
/// How long a request is kept after it was decided.
pub const KEEP_MS: u64 = 30 * DAY_MS;

accord_protocol::codes! {
    /// How a held request stands.
    pub enum Course: u8 {
        /// A person has to decide.
        Held = 1 "held",
        /// It was answered.
        Answered = 2 "answered",
        /// A person said no.
        Rejected = 3 "rejected",
        /// Its officer took it back.
        Withdrawn = 4 "withdrawn",
        /// Nobody decided in time.
        Expired = 5 "expired",
    }
}

/// That a person has seen a request and has not decided.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Note {
    /// Who.
    pub by: PublicKey,
    /// When.
    pub at: UnixMs,
    /// What colleagues should know; empty if nothing.
    pub text: Text<200>,
}

/// A request that a person has to decide, or has decided.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Held {
    /// What the asker's node signed: the officer's request in it, over the connection that it came by.
    pub envelope: SignedBytes,
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// Its id.
    pub request_id: RequestId,
    /// The officer's key.
    pub officer: PublicKey,
    /// Who asks.
    pub requester: NodeId,
    /// Size class of every reply.
    pub reply_class: u8,
    /// When it came.
    pub received_at: UnixMs,
    /// Until when an answer is wanted.
    pub wanted_until: UnixMs,
    /// How it stands.
    pub course: Course,
    /// Number of the latest statement to the asker.
    pub state_seq: u32,
    /// Since when it stands so.
    pub changed_at: UnixMs,
    /// Signed verdicts that count towards a decision, or have made it.
    pub verdicts: Bounded<Document, 4>,
    /// Who has seen it.
    pub notes: Bounded<Note, 8>,
    /// The asker's signed word that the decision has arrived.
    pub receipt: Bounded<SignedBytes, 1>,
}

impl Held {
    /// Whether a person can still decide it.
    pub fn is_open(&self) -> bool {
        self.course == Course::Held
    }

    /// What a reply to it is about.
    pub const fn about(&self) -> About {
        About { body_hash: self.body_hash, request_id: self.request_id, reply_class: self.reply_class }
    }

    /// What is remembered of it in memory.
    pub fn line(&self) -> Line {
        Line {
            requester: self.requester.clone(),
            officer: self.officer,
            request_id: self.request_id,
            wanted_until: self.wanted_until,
            changed_at: self.changed_at,
            state_seq: self.state_seq,
            is_open: self.is_open(),
            has_receipt: !self.receipt.as_slice().is_empty(),
            is_missed: false,
        }
    }
}

/// One held request, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who asks.
    pub requester: NodeId,
    /// The officer's key, by which with the id its reply is remembered.
    pub officer: PublicKey,
    /// Its id.
    pub request_id: RequestId,
    /// Until when an answer is wanted.
    pub wanted_until: UnixMs,
    /// Since when it stands as it does.
    pub changed_at: UnixMs,
    /// Number of the latest statement.
    pub state_seq: u32,
    /// Whether a person can still decide it.
    pub is_open: bool,
    /// Whether the asker has said that it knows.
    pub has_receipt: bool,
    /// Whether it was named as one whose receipt is missing.
    pub is_missed: bool,
}

/// All held requests, in memory, by the hash of the body.
#[derive(Debug, Default)]
pub struct Inbox {
    lines: BTreeMap<Hash, Line>,
}

impl Inbox {
    /// Enters a request, or how it stands now.
    pub fn enter(&mut self, held: &Held) {
        self.lines.insert(held.body_hash, held.line());
    }

    /// Forgets a request.
    pub fn forget(&mut self, body_hash: &Hash) {
        self.lines.remove(body_hash);
    }

    /// One request.
    pub fn get(&self, body_hash: &Hash) -> Option<&Line> {
        self.lines.get(body_hash)
    }

    /// Whether one more request of a member can wait.
    pub fn has_room_for(&self, member: &NodeId) -> bool {
        let of_member = || self.lines.values().filter(|line| line.requester == *member);
        of_member().filter(|line| line.is_open).count() < WAITING_MAX && of_member().count() < KEPT_MAX
    }

    /// How many wait for a person.
    pub fn waiting(&self) -> usize {
        self.lines.values().filter(|line| line.is_open).count()
    }

    /// Requests of a member of whose state it may not know yet.
    pub fn unknown_to<'a>(&'a self, member: &'a NodeId) -> impl Iterator<Item = (Hash, &'a Line)> {
        let of_member = self.lines.iter().filter(|(_, line)| line.requester == *member && !line.has_receipt);
        of_member.map(|(hash, line)| (*hash, line))
    }

    /// Bodies of requests that can still be decided.
    pub fn open(&self) -> BTreeSet<Hash> {
        self.lines.iter().filter(|(_, line)| line.is_open).map(|(hash, _)| *hash).collect()
    }

    /// Requests that nobody decided in time.
    pub fn expired(&self, now: UnixMs) -> Vec<Hash> {
        let over = self.lines.iter().filter(|(_, line)| line.is_open && line.wanted_until < now);
        over.map(|(hash, _)| *hash).collect()
    }

    /// Requests of whose decision the asker should have said by now that it arrived; each is named once.
    pub fn miss_receipts(&mut self, now: UnixMs) -> Vec<Hash> {
        let missing = self.lines.iter_mut().filter(|(_, line)| {
            !line.is_open && !line.has_receipt && !line.is_missed && line.changed_at.plus(RECEIPT_WITHIN_MS) < now
        });
        missing
            .map(|(hash, line)| {
                line.is_missed = true;
                *hash
            })
            .collect()
    }

    /// One of them was not entered, and is to be named again.
    pub fn still_missed(&mut self, body_hash: &Hash) {
        if let Some(line) = self.lines.get_mut(body_hash) {
            line.is_missed = false;
        }
    }

    /// Requests that were decided long ago.
    pub fn old(&self, now: UnixMs) -> Vec<Hash> {
        let over = self.lines.iter().filter(|(_, line)| !line.is_open && line.changed_at.plus(KEEP_MS) < now);
        over.map(|(hash, _)| *hash).collect()
    }

    /// Bodies of requests whose id begins with these hexadecimal letters.
    pub fn find(&self, id: &str) -> Vec<Hash> {
        let begins = |line: &Line| !id.is_empty() && line.request_id.to_string().starts_with(id);
        self.lines.iter().filter(|(_, line)| begins(line)).map(|(hash, _)| *hash).collect()
    }
}

/// Why a verdict does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoVerdict {
    /// It is not signed by somebody who may decide.
    #[error("it is not signed by an approver of this agency whose entry is valid now")]
    Signature,
    /// It is about something else.
    #[error("it is about another request, or another agency")]
    Another,
    /// The officer's request was decided by somebody else.
    #[error("the same approver has said so already")]
    Twice,
    /// What was seen is not what would leave now.
    #[error("what you saw is not what would leave now: the edition or the policy has changed since")]
    Changed,
}

/// Believes a verdict on a request, by an approver of the agency at `now`.
///
/// # Errors
/// Why it does not count.
pub fn believed(
    trust: &Trust,
    me: &NodeId,
    held: &Held,
    document: &Document,
    now: UnixMs,
) -> Result<Verified<Approval>, NoVerdict> {
    // One verdict, one signature: another beside it could make one person look like two.
    let approval: Verified<Approval> = alone(document)
        .then(|| document.verify(trust.federation(), &approvers(trust, now), 1, &[]).ok())
        .flatten()
        .ok_or(NoVerdict::Signature)?;
    let is_about = approval.body_hash == held.body_hash && approval.node_id == *me;
    if is_about { Ok(approval) } else { Err(NoVerdict::Another) }
}

/// Whether a document has exactly one signature.
pub fn alone(document: &Document) -> bool {
    document.signed_by().len() == 1
}

/// The keys of the people who may decide at `now`.
pub fn approvers(trust: &Trust, now: UnixMs) -> Vec<PublicKey> {
    let staff = trust.staff().into_iter().filter(|staff| now < staff.expires_at);
    let people = staff.flat_map(|staff| staff.people.iter());
    people
        .filter(|person| person.role == KeyRole::Approver && person.valid_from <= now && now < person.valid_to)
        .map(|person| person.key)
        .collect()
}

/// What would leave now, if it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// SHA-256 of the slice.
    pub slice_hash: Hash,
    /// The edition.
    pub edition: u64,
    /// SHA-256 of the policy.
    pub policy_hash: Hash,
}

/// The verdicts in favour that name exactly what would leave now, by different approvers who may still decide.
pub fn in_favour(trust: &Trust, me: &NodeId, held: &Held, outlook: Outlook, now: UnixMs) -> Vec<Document> {
    let mut by = BTreeSet::new();
    let counts = |document: &&Document| {
        let Ok(approval) = believed(trust, me, held, document, now) else { return false };
        let names = (approval.slice_hash, approval.edition, approval.policy_hash);
        approval.verdict == Verdict::Approve
            && names == (outlook.slice_hash, outlook.edition, outlook.policy_hash)
            && approval.signers().first().is_some_and(|key| by.insert(*key))
    };
    held.verdicts.iter().filter(counts).cloned().collect()
}

/// How many approvers have said yes in advance, for a partner, table and purpose at `now`. Of two by one approver the later counts.
pub fn in_advance(
    trust: &Trust,
    me: &NodeId,
    all: &[Document],
    (partner, table_id, purpose): (&NodeId, u16, Purpose),
    now: UnixMs,
) -> usize {
    let keys = approvers(trust, now);
    let mut latest: BTreeMap<PublicKey, (UnixMs, UnixMs)> = BTreeMap::new();
    for document in all.iter().filter(|document| alone(document)) {
        let Ok(said) = document.verify::<StandingApproval>(trust.federation(), &keys, 1, &[]) else { continue };
        if (&said.node_id, &said.partner, said.table_id, said.purpose) != (me, partner, table_id, purpose) {
            continue;
        }
        let Some(key) = said.signers().first() else { continue };
        let said = (said.from, said.until);
        let one = latest.entry(*key).or_insert(said);
        if said.0 >= one.0 {
            *one = said;
        }
    }
    latest.values().filter(|(from, until)| *from <= now && now < *until).count()
}
