//! A checked request to a signed answer: memory, selection, signature, durability - in that order (`wire.md` D4, D15).
//!
//! What a person must decide first is held here and decided in [`super::deciding`]. What a node keeps is behind [`Keeps`], so that the same decisions run over a disk in a node and over a simulated disk in a test.

use std::{fmt::Display, sync::Arc};

use accord_policy::Way;
use accord_protocol::{
    answer::{AnswerHead, HEAD_MAX},
    catalogue::Catalogue,
    codec::{Bounded, Cap, decode, encode},
    held::{HeldState, is_status},
    id::{Hash, NodeId, RequestId},
    key::{PublicKey, Signature, SigningKey},
    message::SignedBytes,
    officers::Purpose,
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
    deciding,
    edition::Frozen,
    inbox::Held,
    marking::Marking,
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

impl SignedAnswer {
    /// Head and signature as they go into the reply's head; nothing for a head that is too long.
    pub fn signed_bytes(&self) -> Option<SignedBytes> {
        Some(SignedBytes { payload: Bounded::new(self.head.clone())?, signature: self.signature })
    }
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
    /// The table that is asked for.
    pub table_id: u16,
    /// The request itself, where a person has to decide it, or has.
    pub held: Option<&'a Held>,
    /// What was checked of it just now; nothing where it was kept, and is over without being looked at again.
    pub checked: Option<&'a Checked>,
    /// Why it is refused, precisely; for the node's own people. Empty if it is not.
    pub why: &'a str,
    /// The cells that leave with it.
    pub slice: &'a [u8],
    /// Whether it has an entry of its own in the audit log; else it is counted.
    pub has_entry: bool,
}

/// What a node keeps for answering.
pub trait Keeps {
    /// Why it cannot be read or written.
    type Error: Display;

    /// A remembered reply.
    fn remembered(&self, officer: &PublicKey, request: &RequestId) -> Result<Option<Remembered>, Self::Error>;

    /// Whether one more reply to this member can be remembered.
    fn has_room_for(&self, member: &NodeId) -> bool;

    /// Whether a refusal of this member has an entry of its own in the audit log; asked once for each.
    fn enters(&self, member: &NodeId, refusal: Refusal) -> bool;

    /// Remembers a reply; durable when it returns.
    fn remember(&self, decided: Decided<'_>) -> Result<(), Self::Error>;

    /// Keeps how a held request stands, where nothing is said of it; durable when it returns.
    fn keep_held(&self, held: &Held) -> Result<(), Self::Error>;

    /// The number of the latest edition.
    fn latest(&self) -> Option<u64>;

    /// An edition by its number.
    fn edition(&self, number: u64) -> Result<Option<Arc<Frozen>>, Self::Error>;

    /// Whether an edition was withdrawn.
    fn is_withdrawn(&self, number: u64) -> Result<bool, Self::Error>;

    /// How many approvers have let this request's answer leave; 0 if it never waited for any.
    fn approvals_of(&self, body_hash: &Hash) -> Result<usize, Self::Error>;

    /// Whether one more request of this member can wait for a person.
    fn has_room_to_hold(&self, member: &NodeId) -> bool;

    /// How many approvers have said yes in advance, to a partner, table and purpose.
    fn in_advance(&self, partner: &NodeId, table_id: u16, purpose: Purpose) -> Result<usize, Self::Error>;

    /// The hash of what a member may see now; nothing if that cannot be said.
    fn view_hash(&self, member: &NodeId) -> Option<Hash>;
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
    /// A person has to decide it.
    Held {
        /// The table's name.
        table: String,
    },
    /// Decided before; the same bytes again.
    Again,
    /// Refused, and remembered so.
    Refused(Denied),
    /// Refused for now, and not remembered.
    NotNow(Denied),
    /// Something inside does not work; outside it is `E_BUSY`.
    Fault(Denied),
}

/// Why a decision was not taken: the peer's fault, or ours.
pub(super) enum Failure<E> {
    /// The request is refused.
    Denied(Denied),
    /// What is kept cannot be read or written.
    Inside(E),
    /// What is kept contradicts itself.
    Inconsistent(&'static str),
}

impl<E> From<Denied> for Failure<E> {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// What would leave: permitted, and selected.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The table's name.
    pub table: String,
    /// Its number.
    pub table_id: u16,
    /// How the policy has it answered.
    pub way: Way,
    /// The edition.
    pub edition: Arc<Frozen>,
    /// The cells.
    pub slice: Vec<u8>,
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
    /// How answers are marked.
    pub marking: &'a Marking,
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

    /// Answers a checked request; `envelope` is the signed request as it came, which is kept where a person has to decide. The same one
    /// twice at once must be kept apart by the caller.
    pub fn answer<S: Keeps>(&self, kept: &S, checked: &Checked, envelope: &[u8]) -> (SignedAnswer, Course) {
        let fault = |why: String| {
            let denied = Denied { refusal: Refusal::Busy, why, about: checked.about(), alarm: false };
            (self.refuse(&denied, &checked.body.requester), Course::Fault(denied))
        };
        match self.remembered_or_new(kept, checked, envelope) {
            Ok(answered) => answered,
            Err(Failure::Denied(denied)) => (self.refuse(&denied, &checked.body.requester), Course::NotNow(denied)),
            Err(Failure::Inside(error)) => fault(error.to_string()),
            Err(Failure::Inconsistent(what)) => fault(what.to_owned()),
        }
    }

    /// A signed refusal that is not remembered.
    pub fn refuse(&self, denied: &Denied, requester: &NodeId) -> SignedAnswer {
        self.refuse_for_good(denied, requester, false)
    }

    // One that is, with or without an entry of its own in the audit log.
    fn refuse_for_good(&self, denied: &Denied, requester: &NodeId, has_entry: bool) -> SignedAnswer {
        let head = self.speaker().refuse(&denied.about, requester, denied.refusal, has_entry);
        self.sign(&head, Vec::new(), denied.about.reply_class)
    }

    /// A signed refusal of a stream whose bytes are no request at all.
    pub fn refuse_bytes(&self, requester: &NodeId, why: &str) -> (SignedAnswer, Denied) {
        let about = About { body_hash: Hash::ZERO, request_id: RequestId::ZERO, reply_class: 0 };
        let denied = Denied { refusal: Refusal::Encoding, why: why.to_owned(), about, alarm: false };
        (self.refuse(&denied, requester), denied)
    }

    pub(super) fn speaker(&self) -> Speaker<'_> {
        Speaker { me: self.me, trust: self.trust, policy: (self.access.version(), self.policy_commit), now: self.now }
    }

    pub(super) fn sign(&self, head: &AnswerHead, slice: Vec<u8>, reply_class: u8) -> SignedAnswer {
        let head = encode(head).unwrap_or_default();
        let signature = self.key.sign(Label::Answer, self.trust.federation(), &head);
        SignedAnswer { head, signature, slice, reply_class }
    }

    // `wire.md` D4: known with the same body - the stored head; known with another - conflict; new - decided once, stored first.
    fn remembered_or_new<S: Keeps>(
        &self,
        kept: &S,
        checked: &Checked,
        envelope: &[u8],
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
        let (mut held, mut has_entry) = (None, true);
        let mut refused = |denied: Denied| {
            has_entry = kept.enters(&body.requester, denied.refusal);
            (self.refuse_for_good(&denied, &body.requester, has_entry), Course::Refused(denied), None)
        };
        let (answer, course, edition) = match self.choose(kept, checked) {
            Ok(chosen) if deciding::may_leave(kept, checked, &chosen)? => {
                let edition = chosen.edition.header.number;
                (self.give(checked, &chosen), Course::Answered { table: chosen.table, edition }, Some(edition))
            }
            Ok(chosen) if body.wanted_until > self.now && !self.is_own(checked) => {
                if !kept.has_room_to_hold(&body.requester) {
                    return Err(checked
                        .deny(Refusal::Quota, "too many requests of this member wait for a person")
                        .into());
                }
                let new = self.hold(checked, envelope)?;
                let answer = self.say(&new, HeldState::Held);
                held = Some(new);
                (answer, Course::Held { table: chosen.table }, None)
            }
            Ok(chosen) => {
                let why = format!("answered {} only, and no answer is wanted later", chosen.way);
                refused(checked.deny(Refusal::Unavailable, why))
            }
            // A refusal by policy is a decision like any other: remembered, and the same ever after.
            Err(Failure::Denied(denied)) => refused(denied),
            Err(fault) => return Err(fault),
        };
        let wanted = body.deliver_by.max(body.wanted_until);
        let reply = self.remembered(&checked.about(), wanted, &answer, REMEMBER_MS);
        let decided = Decided {
            officer: &checked.card.key,
            request: &body.request_id,
            requester: &body.requester,
            reply: &reply,
            edition: edition.filter(|_| !self.is_own(checked)),
            table_id: body.query.table_id,
            held: held.as_ref(),
            checked: Some(checked),
            why: if let Course::Refused(denied) = &course { &denied.why } else { "" },
            slice: &answer.slice,
            has_entry,
        };
        kept.remember(decided).map_err(Failure::Inside)?;
        Ok((answer, course))
    }

    pub(super) fn remembered(&self, about: &About, wanted: UnixMs, answer: &SignedAnswer, for_ms: u64) -> Remembered {
        Remembered {
            body_hash: about.body_hash,
            head: Bounded::new(answer.head.clone()).unwrap_or_default(),
            signature: answer.signature,
            reply_class: about.reply_class,
            keep_until: self.now.plus(for_ms).max(wanted.plus(SKEW_MS)),
        }
    }

    fn refuse_stopped(&self, checked: &Checked, catalogue: &Catalogue) -> Result<(), Denied> {
        let table = catalogue.table_by_id(checked.body.query.table_id);
        let stop = table.and_then(|table| self.trust.local_stop(self.me, Target::Table, &table.name, self.now));
        stop.map_or(Ok(()), |_| Err(checked.deny(Refusal::Unavailable, "an own administrator has stopped this table")))
    }

    fn is_own(&self, checked: &Checked) -> bool {
        checked.body.requester == *self.me
    }

    // What would leave, if it may: permitted, and selected from the edition that answers.
    fn choose<S: Keeps>(&self, kept: &S, checked: &Checked) -> Result<Chosen, Failure<S::Error>> {
        let view = || kept.view_hash(&checked.body.requester);
        self.choose_from(kept, checked, view)
    }

    pub(super) fn choose_from<S: Keeps>(
        &self,
        kept: &S,
        checked: &Checked,
        view: impl FnOnce() -> Option<Hash>,
    ) -> Result<Chosen, Failure<S::Error>> {
        let body = &checked.body;
        if !self.is_own(checked) && self.trust.provider(self.me, self.now).is_none() {
            return Err(checked.deny(Refusal::Unavailable, "the roster does not list this node as a provider").into());
        }
        let wanted = if body.edition == 0 { kept.latest() } else { Some(body.edition) };
        // Nothing is loaded for whom nothing is permitted.
        let may_load = self.is_own(checked) || self.access.may_load(&body.requester, self.trust.catalogue(), self.now);
        let edition = match wanted {
            Some(number) if may_load => kept.edition(number).map_err(Failure::Inside)?,
            Some(_) | None => None,
        };
        // Without an edition the catalogue in force decides what may be discovered, so that the order of checks is the same.
        let catalogue = edition.as_ref().map_or(self.trust.catalogue(), |edition| &edition.catalogue);
        self.refuse_stopped(checked, catalogue)?;
        let permitted = provide::permit(checked, catalogue, (self.me, self.access, self.now), view)?;
        let (Some(edition), Some(table)) = (&edition, catalogue.table_by_id(permitted.table_id())) else {
            return Err(checked.deny(Refusal::Edition, "no such edition").into());
        };
        let number = edition.header.number;
        if kept.is_withdrawn(number).map_err(Failure::Inside)? {
            return Err(checked.deny(Refusal::Edition, "withdrawn").into());
        }
        let slice = edition
            .select(table, permitted.selection())
            .map_err(|_| Failure::Inconsistent("the edition does not hold what its layout says"))?;
        let (table, table_id, way) = (table.name.clone(), table.id, permitted.way());
        Ok(Chosen { table, table_id, way, edition: Arc::clone(edition), slice })
    }

    pub(super) fn give(&self, checked: &Checked, chosen: &Chosen) -> SignedAnswer {
        let head = self.speaker().answer(
            checked,
            &chosen.edition.header,
            &chosen.slice,
            &self.marking.of(&chosen.edition.header),
        );
        self.sign(&head, chosen.slice.clone(), checked.body.reply_class)
    }

    // The stored head with the slice selected again from the frozen edition: byte-identical, because neither can change.
    pub(super) fn again<S: Keeps>(
        &self,
        kept: &S,
        checked: &Checked,
        entry: &Remembered,
    ) -> Result<SignedAnswer, Failure<S::Error>> {
        let mut slice = Vec::new();
        // Where a request stands that a person has to decide is said again as it is.
        let head: Option<AnswerHead> = if is_status(entry.head.as_slice()) {
            None
        } else {
            let head = decode(entry.head.as_slice(), Cap::Head);
            Some(head.map_err(|_| Failure::Inconsistent("a remembered head does not decode"))?)
        };
        if let Some(head) = head.filter(|head| head.refusal().is_none()) {
            let edition = kept
                .edition(head.edition)
                .map_err(Failure::Inside)?
                .ok_or(Failure::Inconsistent("an answered edition is gone"))?;
            self.refuse_stopped(checked, &edition.catalogue)?;
            // Nobody receives by repeating a request what the policy in force denies. It is not remembered, since it may be permitted
            // again.
            let answered_from = || Some(checked.body.view_hash);
            let permitted =
                provide::permit(checked, &edition.catalogue, (self.me, self.access, self.now), answered_from)?;
            deciding::refuse_unapproved(kept, checked, &permitted)?;
            let table = edition
                .catalogue
                .table_by_id(checked.body.query.table_id)
                .ok_or(Failure::Inconsistent("an answered table is gone"))?;
            let selection = Selection::new(&checked.body.query, table, self.me.country())
                .map_err(|_| Failure::Inconsistent("an answered query is off the grid"))?;
            slice = edition
                .select(table, &selection)
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
