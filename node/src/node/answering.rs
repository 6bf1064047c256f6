//! A partner's request to a signed answer: checks, memory, selection, signature, durability - in that order.

use accord_edge::clock;
use accord_protocol::{
    answer::AnswerHead,
    codec::{Bounded, encode},
    id::{NodeId, RequestId},
    key::{PublicKey, Signature},
    refusal::Refusal,
    signed::Label,
    time::{DAY_MS, UnixMs},
};

use super::Node;
use crate::{
    domain::{
        edition::select,
        provide::{self, About, Checked, Denied, Peer, Speaker},
    },
    io::store::{Batch, ReplayEntry, StoreError},
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
    /// The edition that it was selected from; none for a refusal.
    pub edition: Option<u64>,
}

impl Node {
    /// Answers one request. Blocks on the store: call it from a blocking task. Never fails: what goes wrong inside is `E_BUSY`
    /// outside.
    pub fn answer(&self, peer: Peer<'_>, payload: &[u8]) -> SignedAnswer {
        let now = clock::now();
        let checked = match provide::check(&self.standing.trust, &self.config.member, peer, payload, now) {
            Ok(checked) => checked,
            Err(denied) => return self.refuse(&denied, peer.member, now),
        };
        let allowed = {
            let mut quota = self.quota.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            checked.body.requester == self.config.member || quota.take(&checked.body.requester, &checked.card.key, now)
        };
        if !allowed {
            let denied = Denied { refusal: Refusal::Quota, why: "token bucket empty".into(), about: checked.about() };
            return self.refuse(&denied, peer.member, now);
        }
        let key = (checked.card.key, checked.body.request_id);
        let _flight = self.in_flight.enter(key);
        match self.remembered_or_new(&checked, now) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, peer = %peer.member, "a request cannot be answered");
                let denied = Denied { refusal: Refusal::Busy, why: error.to_string(), about: checked.about() };
                self.refuse(&denied, peer.member, now)
            }
        }
    }

    /// A refusal for a stream whose bytes are no request at all.
    pub fn refuse_bytes(&self, peer: &NodeId, why: &str) -> SignedAnswer {
        let about = About { body_hash: accord_protocol::id::Hash::ZERO, request_id: RequestId::ZERO, reply_class: 0 };
        self.refuse(&Denied { refusal: Refusal::Encoding, why: why.to_owned(), about }, peer, clock::now())
    }

    fn refuse(&self, denied: &Denied, requester: &NodeId, now: UnixMs) -> SignedAnswer {
        tracing::info!(peer = %requester, request = %denied.about.request_id, refusal = %denied.refusal, why = %denied.why, "refused");
        let head = self.speaker(now).refuse(&denied.about, requester, denied.refusal);
        self.sign(&head, Vec::new(), denied.about.reply_class, None)
    }

    fn speaker(&self, now: UnixMs) -> Speaker<'_> {
        Speaker { me: &self.config.member, trust: &self.standing.trust, now }
    }

    fn sign(&self, head: &AnswerHead, slice: Vec<u8>, reply_class: u8, edition: Option<u64>) -> SignedAnswer {
        let head = encode(head).unwrap_or_default();
        let signature = self.keys.sign.sign(Label::Answer, self.standing.trust.federation(), &head);
        SignedAnswer { head, signature, slice, reply_class, edition }
    }

    // `wire.md` D4: known with the same body - the stored head; known with another - conflict; new - decided once, stored first.
    fn remembered_or_new(&self, checked: &Checked, now: UnixMs) -> Result<SignedAnswer, StoreError> {
        let body = &checked.body;
        if let Some(entry) = self.store.replay(&checked.card.key, &body.request_id)? {
            if entry.body_hash != checked.body_hash {
                let denied = Denied {
                    refusal: Refusal::Conflict,
                    why: "the request id is used already".into(),
                    about: checked.about(),
                };
                return Ok(self.refuse(&denied, &body.requester, now));
            }
            return self.again(checked, &entry);
        }
        let answer = self.decide(checked, now)?;
        let entry = ReplayEntry {
            body_hash: checked.body_hash,
            head: Bounded::new(answer.head.clone()).unwrap_or_default(),
            signature: answer.signature,
            reply_class: answer.reply_class,
            keep_until: now
                .plus(REMEMBER_MS)
                .max(body.deliver_by.max(body.wanted_until).plus(accord_protocol::request::SKEW_MS)),
        };
        let mut batch = Batch::default();
        batch.put_replay(&checked.card.key, &body.request_id, &entry);
        // Whoever received an edition is told if it is withdrawn.
        if let Some(edition) = answer.edition.filter(|_| body.requester != self.config.member) {
            batch.put_received(edition, &body.requester);
        }
        self.store.commit(batch)?;
        self.tell_if_withdrawn(&body.requester, answer.edition)?;
        Ok(answer)
    }

    // An edition that was withdrawn while the answer was made: whoever withdrew it did not see this member among those to tell.
    fn tell_if_withdrawn(&self, member: &NodeId, edition: Option<u64>) -> Result<(), StoreError> {
        if let Some(edition) = edition.filter(|_| *member != self.config.member)
            && self.store.withdrawn(edition)?.is_some()
        {
            let mut batch = Batch::default();
            batch.put_untold(edition, member);
            self.store.commit(batch)?;
        }
        Ok(())
    }

    fn decide(&self, checked: &Checked, now: UnixMs) -> Result<SignedAnswer, StoreError> {
        let body = &checked.body;
        let wanted = if body.edition == 0 { self.current_number() } else { Some(body.edition) };
        // Nothing is loaded for whom nothing is granted.
        let may_load = body.requester == self.config.member || self.grants_anything(&body.requester);
        let edition = match wanted {
            Some(number) if may_load => self.edition(number)?,
            Some(_) | None => None,
        };
        let grants = self.grants();
        // Without an edition the catalogue in force decides what may be discovered, so that the order of checks is the same.
        let catalogue = edition.as_ref().map_or(self.standing.trust.catalogue(), |edition| &edition.catalogue);
        let permitted = match provide::permit(checked, catalogue, &self.config.member, &grants, now) {
            Ok(permitted) => permitted,
            Err(denied) => return Ok(self.refuse(&denied, &body.requester, now)),
        };
        let (Some(edition), Some(table)) = (&edition, catalogue.table_by_id(permitted.table_id())) else {
            let denied = Denied { refusal: Refusal::Edition, why: "no such edition".into(), about: checked.about() };
            return Ok(self.refuse(&denied, &body.requester, now));
        };
        if self.store.withdrawn(edition.header.number)?.is_some() {
            let denied = Denied { refusal: Refusal::Edition, why: "withdrawn".into(), about: checked.about() };
            return Ok(self.refuse(&denied, &body.requester, now));
        }
        let slice =
            select(table, self.config.member.country(), permitted.selection(), |year| edition.block(table.id, year))
                .map_err(|error| StoreError::Read(error.to_string()))?;
        let head = self.speaker(now).answer(checked, &edition.header, &slice, &self.config.handling);
        tracing::info!(peer = %body.requester, request = %body.request_id, table = %table.name, edition = edition.header.number, "answered");
        Ok(self.sign(&head, slice, body.reply_class, Some(edition.header.number)))
    }

    // The stored head with the slice selected again from the frozen edition: byte-identical, because neither can change.
    fn again(&self, checked: &Checked, entry: &ReplayEntry) -> Result<SignedAnswer, StoreError> {
        let head: AnswerHead = accord_protocol::codec::decode(entry.head.as_slice(), accord_protocol::codec::Cap::Head)
            .map_err(|error| StoreError::Read(error.to_string()))?;
        let mut slice = Vec::new();
        if head.refusal().is_none() {
            let edition =
                self.edition(head.edition)?.ok_or_else(|| StoreError::Read("an answered edition is gone".into()))?;
            let table = edition.catalogue.table_by_id(checked.body.query.table_id);
            let table = table.ok_or_else(|| StoreError::Read("an answered table is gone".into()))?;
            let country = self.config.member.country();
            let selection = accord_protocol::selection::Selection::new(&checked.body.query, table, country)
                .map_err(|error| StoreError::Read(error.to_string()))?;
            slice = select(table, country, &selection, |year| edition.block(table.id, year))
                .map_err(|error| StoreError::Read(error.to_string()))?;
        }
        Ok(SignedAnswer {
            head: entry.head.as_slice().to_vec(),
            signature: entry.signature,
            slice,
            reply_class: entry.reply_class,
            edition: None,
        })
    }
}

impl super::InFlight {
    /// Waits until nobody else decides the same request; leaving is dropping what comes back.
    fn enter(&self, key: (PublicKey, RequestId)) -> Flight<'_> {
        let mut keys = self.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while !keys.insert(key) {
            keys = self.done.wait(keys).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Flight { all: self, key }
    }
}

struct Flight<'a> {
    all: &'a super::InFlight,
    key: (PublicKey, RequestId),
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.all.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.key);
        self.all.done.notify_all();
    }
}
