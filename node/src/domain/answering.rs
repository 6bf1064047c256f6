//! A checked request to a signed answer: memory, selection, signature, durability - in that order (`wire.md` D4, D15).
//!
//! What a node keeps is behind [`Keeps`], so that the same decisions run over a disk in a node and over a simulated disk in a test.

use std::{fmt::Display, sync::Arc};

use accord_protocol::{
    answer::{AnswerHead, HEAD_MAX},
    catalogue::Catalogue,
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, NodeId, RequestId},
    key::{PublicKey, Signature, SigningKey},
    refusal::Refusal,
    request::SKEW_MS,
    selection::Selection,
    signed::Label,
    suspend::Target,
    time::{DAY_MS, UnixMs},
    trust::Trust,
};
use bincode::{Decode, Encode};

use super::{
    access::Access,
    edition::{Frozen, select},
    provide::{self, About, Checked, Denied, Peer, Speaker},
};

/// How long a reply is remembered at least.
const REMEMBER_MS: u64 = DAY_MS;

/// A reply that is ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAnswer {
    /// The answer head's bytes.
    pub head: Vec<u8>,
    /// Its signature.
    pub signature: Signature,
    /// The slice; empty for a refusal.
    pub slice: Vec<u8>,
    /// Size class of the whole reply.
    pub reply_class: u8,
}

/// A reply that was decided once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Remembered {
    /// SHA-256 of the request's body.
    pub body_hash: Hash,
    /// The signed head.
    pub head: Bounded<u8, HEAD_MAX>,
    /// Its signature.
    pub signature: Signature,
    /// Size class of the reply.
    pub reply_class: u8,
    /// Until when it is kept.
    pub keep_until: UnixMs,
}

/// What is written before an answer leaves.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The officer, who with the request's id is its key.
    pub officer: &'a PublicKey,
    /// The request's id.
    pub request: &'a RequestId,
    /// Who asked.
    pub requester: &'a NodeId,
    /// The reply.
    pub reply: &'a Remembered,
    /// The edition that a partner receives by it: whoever received one is told if it is withdrawn.
    pub edition: Option<u64>,
}

/// What a node keeps for answering.
pub trait Keeps {
    /// Why it cannot be read or written.
    type Error: Display;

    /// A remembered reply.
    fn remembered(&self, officer: &PublicKey, request: &RequestId) -> Result<Option<Remembered>, Self::Error>;

    /// Whether one more reply to this member can be remembered.
    fn has_room_for(&self, member: &NodeId) -> bool;

    /// Remembers a reply; durable when it returns.
    fn remember(&self, decided: Decided<'_>) -> Result<(), Self::Error>;

    /// The number of the latest edition.
    fn latest(&self) -> Option<u64>;

    /// An edition by its number.
    fn edition(&self, number: u64) -> Result<Option<Arc<Frozen>>, Self::Error>;

    /// Whether an edition was withdrawn.
    fn is_withdrawn(&self, number: u64) -> Result<bool, Self::Error>;
}

/// How an answer came about, for the node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// Decided now: a slice of this table of this edition.
    Answered {
        /// The table's name.
        table: String,
        /// The edition's number.
        edition: u64,
    },
    /// Decided before; the same bytes again.
    Again,
    /// Refused.
    Refused(Denied),
    /// Something inside does not work; outside it is `E_BUSY`.
    Fault(Denied),
}

/// Why a decision was not taken: the peer's fault, or ours.
enum Failure<E> {
    Denied(Denied),
    Inside(E),
    Inconsistent(&'static str),
}

impl<E> From<Denied> for Failure<E> {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// A node that answers, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Provider<'a> {
    /// The member.
    pub me: &'a NodeId,
    /// The trust documents in force.
    pub trust: &'a Trust,
    /// The policy in force.
    pub access: &'a Access,
    /// What commits to it.
    pub policy_commit: Hash,
    /// How answers must be handled.
    pub handling: &'a accord_protocol::answer::Handling,
    /// The node's signing key.
    pub key: &'a SigningKey,
    /// Node time.
    pub now: UnixMs,
}

impl Provider<'_> {
    /// Checks a request's bytes, signatures and times; nothing of what the node keeps is touched.
    pub fn check(&self, peer: Peer<'_>, payload: &[u8]) -> Result<Checked, Denied> {
        provide::check(self.trust, self.me, peer, payload, self.now)
    }

    /// Answers a checked request. The same one twice at once must be kept apart by the caller.
    pub fn answer<S: Keeps>(&self, kept: &S, checked: &Checked) -> (SignedAnswer, Course) {
        let fault = |why: String| {
            let denied = Denied { refusal: Refusal::Busy, why, about: checked.about(), alarm: false };
            (self.refuse(&denied, &checked.body.requester), Course::Fault(denied))
        };
        match self.remembered_or_new(kept, checked) {
            Ok(answered) => answered,
            Err(Failure::Denied(denied)) => (self.refuse(&denied, &checked.body.requester), Course::Refused(denied)),
            Err(Failure::Inside(error)) => fault(error.to_string()),
            Err(Failure::Inconsistent(what)) => fault(what.to_owned()),
        }
    }

    /// A signed refusal.
    pub fn refuse(&self, denied: &Denied, requester: &NodeId) -> SignedAnswer {
        let head = self.speaker().refuse(&denied.about, requester, denied.refusal);
        self.sign(&head, Vec::new(), denied.about.reply_class)
    }

    /// A signed refusal of a stream whose bytes are no request at all.
    pub fn refuse_bytes(&self, requester: &NodeId, why: &str) -> (SignedAnswer, Denied) {
        let about = About { body_hash: Hash::ZERO, request_id: RequestId::ZERO, reply_class: 0 };
        let denied = Denied { refusal: Refusal::Encoding, why: why.to_owned(), about, alarm: false };
        (self.refuse(&denied, requester), denied)
    }

    fn speaker(&self) -> Speaker<'_> {
        Speaker { me: self.me, trust: self.trust, policy: (self.access.version(), self.policy_commit), now: self.now }
    }

    fn sign(&self, head: &AnswerHead, slice: Vec<u8>, reply_class: u8) -> SignedAnswer {
        let head = encode(head).unwrap_or_default();
        let signature = self.key.sign(Label::Answer, self.trust.federation(), &head);
        SignedAnswer { head, signature, slice, reply_class }
    }

    // `wire.md` D4: known with the same body - the stored head; known with another - conflict; new - decided once, stored first.
    fn remembered_or_new<S: Keeps>(
        &self,
        kept: &S,
        checked: &Checked,
    ) -> Result<(SignedAnswer, Course), Failure<S::Error>> {
        let body = &checked.body;
        // Before memory: nobody is answered from a table that is stopped, not even what was answered once. It is not remembered
        // either, since it may be allowed again.
        self.refuse_stopped(checked, self.trust.catalogue())?;
        if let Some(entry) = kept.remembered(&checked.card.key, &body.request_id).map_err(Failure::Inside)? {
            if entry.body_hash != checked.body_hash {
                return Err(checked.deny(Refusal::Conflict, "the request id is used already").into());
            }
            return Ok((self.again(kept, checked, &entry)?, Course::Again));
        }
        if !self.is_own(checked) && !kept.has_room_for(&body.requester) {
            return Err(checked.deny(Refusal::Quota, "the memory of this member's requests is full").into());
        }
        let (answer, course, edition) = match self.decide(kept, checked) {
            Ok((answer, table, edition)) => (answer, Course::Answered { table, edition }, Some(edition)),
            // A refusal by policy is a decision like any other: remembered, and the same ever after.
            Err(Failure::Denied(denied)) => (self.refuse(&denied, &body.requester), Course::Refused(denied), None),
            Err(fault) => return Err(fault),
        };
        let reply = Remembered {
            body_hash: checked.body_hash,
            head: Bounded::new(answer.head.clone()).unwrap_or_default(),
            signature: answer.signature,
            reply_class: answer.reply_class,
            keep_until: self.now.plus(REMEMBER_MS).max(body.deliver_by.max(body.wanted_until).plus(SKEW_MS)),
        };
        let decided = Decided {
            officer: &checked.card.key,
            request: &body.request_id,
            requester: &body.requester,
            reply: &reply,
            edition: edition.filter(|_| !self.is_own(checked)),
        };
        kept.remember(decided).map_err(Failure::Inside)?;
        Ok((answer, course))
    }

    fn refuse_stopped(&self, checked: &Checked, catalogue: &Catalogue) -> Result<(), Denied> {
        let table = catalogue.table_by_id(checked.body.query.table_id);
        let stop = table.and_then(|table| self.trust.local_stop(self.me, Target::Table, &table.name, self.now));
        stop.map_or(Ok(()), |_| Err(checked.deny(Refusal::Unavailable, "an own administrator has stopped this table")))
    }

    fn is_own(&self, checked: &Checked) -> bool {
        checked.body.requester == *self.me
    }

    fn decide<S: Keeps>(&self, kept: &S, checked: &Checked) -> Result<(SignedAnswer, String, u64), Failure<S::Error>> {
        let body = &checked.body;
        if !self.is_own(checked) && self.trust.provider(self.me, self.now).is_none() {
            return Err(checked.deny(Refusal::Unavailable, "the roster does not list this node as a provider").into());
        }
        let wanted = if body.edition == 0 { kept.latest() } else { Some(body.edition) };
        // Nothing is loaded for whom nothing is permitted.
        let may_load = self.is_own(checked) || self.access.anything(&body.requester, self.trust.catalogue(), self.now);
        let edition = match wanted {
            Some(number) if may_load => kept.edition(number).map_err(Failure::Inside)?,
            Some(_) | None => None,
        };
        // Without an edition the catalogue in force decides what may be discovered, so that the order of checks is the same.
        let catalogue = edition.as_ref().map_or(self.trust.catalogue(), |edition| &edition.catalogue);
        self.refuse_stopped(checked, catalogue)?;
        let permitted = provide::permit(checked, catalogue, self.me, self.access, self.now)?;
        let (Some(edition), Some(table)) = (&edition, catalogue.table_by_id(permitted.table_id())) else {
            return Err(checked.deny(Refusal::Edition, "no such edition").into());
        };
        let number = edition.header.number;
        if kept.is_withdrawn(number).map_err(Failure::Inside)? {
            return Err(checked.deny(Refusal::Edition, "withdrawn").into());
        }
        let slice = select(table, self.me.country(), permitted.selection(), |year| edition.block(table.id, year))
            .map_err(|_| Failure::Inconsistent("the edition does not hold what its layout says"))?;
        let head = self.speaker().answer(checked, &edition.header, &slice, self.handling);
        Ok((self.sign(&head, slice, body.reply_class), table.name.clone(), number))
    }

    // The stored head with the slice selected again from the frozen edition: byte-identical, because neither can change.
    fn again<S: Keeps>(
        &self,
        kept: &S,
        checked: &Checked,
        entry: &Remembered,
    ) -> Result<SignedAnswer, Failure<S::Error>> {
        let head: AnswerHead = decode(entry.head.as_slice(), Cap::Head)
            .map_err(|_| Failure::Inconsistent("a remembered head does not decode"))?;
        let mut slice = Vec::new();
        if head.refusal().is_none() {
            let edition = kept
                .edition(head.edition)
                .map_err(Failure::Inside)?
                .ok_or(Failure::Inconsistent("an answered edition is gone"))?;
            self.refuse_stopped(checked, &edition.catalogue)?;
            // Nobody receives by repeating a request what the policy in force denies. It is not remembered, since it may be permitted
            // again.
            provide::permit(checked, &edition.catalogue, self.me, self.access, self.now)?;
            let table = edition
                .catalogue
                .table_by_id(checked.body.query.table_id)
                .ok_or(Failure::Inconsistent("an answered table is gone"))?;
            let country = self.me.country();
            let selection = Selection::new(&checked.body.query, table, country)
                .map_err(|_| Failure::Inconsistent("an answered query is off the grid"))?;
            slice = select(table, country, &selection, |year| edition.block(table.id, year))
                .map_err(|_| Failure::Inconsistent("the edition does not hold what its layout says"))?;
        }
        Ok(SignedAnswer {
            head: entry.head.as_slice().to_vec(),
            signature: entry.signature,
            slice,
            reply_class: entry.reply_class,
        })
    }
}
