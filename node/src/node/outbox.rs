//! Own requests that wait for a person elsewhere: kept before they are sent, heard of later, taken back.

use std::sync::{MutexGuard, PoisonError};

use accord_edge::clock;
use accord_protocol::{
    answer::AnswerHead,
    codec::{Bounded, Cap, decode, encode},
    edition::EditionHeader,
    held::{Recall, Receipt},
    id::{Hash, NodeId, from_hex, to_hex},
    key::PublicKey,
    log::EventKind,
    member_keys::KeyRole,
    message::{AskCall, SignedBytes},
    request::{RequestBody, SKEW_MS},
    signed::{Document, Label, Preamble, verify_message},
    text::shown,
    trust::Trust,
};
use serde_json::{Value, json};

use super::{Actor, Happening, Node, Reply, done, failed, inbox_view::asks, store_failed};
use crate::{
    domain::{
        outbox::{self, Course, Heard, Sent, judge},
        round::Contradiction,
    },
    io::store::{Batch, StoreError},
};

/// Why a request cannot be kept, and is not sent therefore: its answer could be lost.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// The officer has too many that wait.
    #[error("500 of your requests wait already: take some back (accord requests)")]
    TooMany,
    /// The store.
    #[error("your own node cannot keep the request: {0}")]
    Store(#[from] StoreError),
}

/// What is to be done with a partner for one own request.
#[derive(Debug, Clone)]
pub enum Unsettled {
    /// Something is to be heard.
    Listen {
        /// The number of the latest statement that was heard.
        state_seq: u32,
        /// The size class of replies.
        reply_class: u8,
        /// Whether it was sent so long ago that the partner knows of it by now, or never will.
        may_be_lost: bool,
    },
    /// The partner is to be told that it is taken back.
    Recall {
        /// The officer's signed word.
        recall: SignedBytes,
        /// The size class of replies.
        reply_class: u8,
    },
    /// The partner is to be told that the decision arrived.
    Receipt(SignedBytes),
}

impl Node {
    /// Keeps an own request that may have to wait, before it is sent. Blocks on the store.
    pub fn keep_sent(&self, call: &AskCall, body: &RequestBody, officer: &PublicKey) -> Result<(), NotKept> {
        let body_hash = Hash::of(call.body.as_slice());
        let alone = self.hearing();
        if self.outbox().get(&body_hash).is_some() {
            return Ok(());
        }
        let gives_way = self.outbox().room_for(officer).map_err(|outbox::Full| NotKept::TooMany)?;
        if let Some(oldest) = gives_way {
            self.drop_sent(&oldest, &alone)?;
        }
        let sent = Sent {
            body: call.body.clone(),
            officer_signature: call.officer_signature,
            officer_card: call.officer_card.clone(),
            officer: *officer,
            request_id: body.request_id,
            audience: body.audience.clone(),
            issued_at: body.issued_at,
            wanted_until: body.wanted_until,
            course: Course::Sent,
            state_seq: 0,
            changed_at: clock::now(),
            latest: Bounded::default(),
            edition: Bounded::default(),
            slice_hash: Hash::ZERO,
            recall: Bounded::default(),
            has_receipt: false,
        };
        self.put_sent(&sent, None)?;
        Ok(())
    }

    fn put_sent(&self, sent: &Sent, slice: Option<&[u8]>) -> Result<(), StoreError> {
        self.put_sent_with(sent, slice, None)
    }

    // With what it is in the audit log.
    fn put_sent_with(&self, sent: &Sent, slice: Option<&[u8]>, entry: Option<&Happening>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put_sent(sent);
        if let Some(happening) = entry {
            self.enter(&mut batch, happening)?;
        }
        // What is kept of a final answer was believed.
        let latest = sent.latest.as_slice().first().filter(|_| entry.is_some() && sent.course.is_final());
        let promise = latest.and_then(|latest| self.put_promise(&mut batch, &sent.audience, latest.payload.as_slice()));
        if let Some(slice) = slice {
            batch.put_slice(&sent.body_hash(), slice);
        }
        self.store.commit(batch)?;
        self.wait_for(promise);
        self.outbox().enter(sent);
        Ok(())
    }

    /// Forgets an own request that was decided while its officer waited, or never left. Blocks on the store.
    pub fn forget_sent(&self, body_hash: &Hash) {
        let alone = self.hearing();
        if let Err(error) = self.drop_sent(body_hash, &alone) {
            tracing::error!(%error, "an own request that is settled stays");
        }
    }

    // What is kept of own requests is read and written by one at a time.
    fn hearing(&self) -> MutexGuard<'_, ()> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_sent(&self, body_hash: &Hash, _alone: &MutexGuard<'_, ()>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.store.drop_sent(body_hash, &mut batch)?;
        self.store.commit(batch)?;
        self.outbox().forget(body_hash);
        Ok(())
    }

    /// How many own requests wait for a person elsewhere.
    pub(super) fn waiting_elsewhere(&self) -> usize {
        self.outbox().waiting()
    }

    /// The partners from whom something is to be heard, or who are to be told something.
    pub fn unsettled_partners(&self) -> Vec<NodeId> {
        self.outbox().partners()
    }

    /// Has a partner asked for what it has decided.
    pub fn collect_from(&self, partner: &NodeId) {
        self.collecting.lock().unwrap_or_else(PoisonError::into_inner).insert(partner.clone());
        self.to_collect.notify_one();
    }

    /// A partner says that it has decided something. For saying so more often than it is asked at once it is asked with the next ones
    /// that are late.
    pub fn nudged_by(&self, partner: &NodeId) {
        if self.outbox().unsettled(partner).next().is_none() {
            return;
        }
        let now = self.since_start.ms();
        if self.nudges_heard.lock().unwrap_or_else(PoisonError::into_inner).take(partner.clone(), now) {
            self.collect_from(partner);
        } else {
            self.late.lock().unwrap_or_else(PoisonError::into_inner).insert(partner.clone());
        }
    }

    /// The partners that have said too often that they have decided something; they are taken off the list.
    pub fn take_late(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// The partners to be asked now; they are taken off the list.
    pub fn take_collecting(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.collecting.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    // Whether one more statement of a partner that decides nothing is kept, or said.
    fn may_state(&self, partner: &NodeId) -> bool {
        let now = self.since_start.ms();
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).take(partner.clone(), now)
    }

    /// What is not settled with a partner. Blocks on the store.
    pub fn unsettled(&self, partner: &NodeId) -> Vec<(Hash, Unsettled)> {
        let hashes: Vec<Hash> = self.outbox().unsettled(partner).map(|(hash, _)| hash).collect();
        let mut all = Vec::new();
        for hash in hashes {
            let Ok(Some(sent)) = self.store.sent(&hash) else { continue };
            let body: Option<RequestBody> = decode(sent.body.as_slice(), Cap::Head).ok();
            let what = match (sent.course.is_final(), sent.recall.as_slice().first(), body) {
                (true, ..) => self.receipt_for(&sent).map(Unsettled::Receipt),
                (false, Some(recall), Some(body)) => {
                    Some(Unsettled::Recall { recall: recall.clone(), reply_class: body.reply_class })
                }
                (false, None, Some(body)) => Some(Unsettled::Listen {
                    state_seq: sent.state_seq,
                    reply_class: body.reply_class,
                    may_be_lost: sent.course == Course::Sent && body.deliver_by.plus(2 * SKEW_MS) < clock::now(),
                }),
                (false, _, None) => None,
            };
            all.extend(what.map(|what| (hash, what)));
        }
        all
    }

    fn receipt_for(&self, sent: &Sent) -> Option<SignedBytes> {
        let head_hash = Hash::of(sent.latest.as_slice().first()?.payload.as_slice());
        let receipt = Receipt { preamble: Preamble, body_hash: sent.body_hash(), head_hash, at: clock::now() };
        let payload = encode(&receipt).ok()?;
        let signature = self.voice().sign.sign(Label::Receipt, self.standing().trust().federation(), &payload);
        Some(SignedBytes { payload: Bounded::new(payload)?, signature })
    }

    /// Hears what a partner says of an own request: a signed head, with the slice and the edition's header where it is an answer.
    /// Returns the receipt to send, if it decides. Blocks on the store.
    pub fn hear_of_request(
        &self,
        body_hash: &Hash,
        signed: &SignedBytes,
        slice: &[u8],
        edition: &[u8],
    ) -> Option<SignedBytes> {
        let _alone = self.hearing();
        let sent = self.store.sent(body_hash).ok().flatten()?;
        let body: RequestBody = decode(sent.body.as_slice(), Cap::Head).ok()?;
        let partner = &sent.audience;
        let standing = self.standing();
        let judged = judge(standing.trust(), &sent, &body, (signed, slice), clock::now());
        let (course, state_seq) = match judged {
            Ok(Heard::New { course, state_seq }) => (course, state_seq),
            Ok(Heard::Known) => return None,
            Ok(Heard::Contradiction) => {
                tracing::error!(%partner, "ALARM: two different signed decisions on one request; both are kept");
                let first = sent.latest.as_slice().first()?.clone();
                let both = Contradiction { first, second: signed.clone() };
                if let Err(error) = self.keep_contradiction(partner, &both) {
                    tracing::error!(%error, "they cannot be kept");
                }
                return None;
            }
            // A partner can send as many as it likes; some are said.
            Err(_) if !self.may_state(partner) => return None,
            Err(error) => {
                tracing::warn!(%partner, request = %sent.request_id, %error, "what was said of a request is not believed");
                return None;
            }
        };
        // An answer is nothing without the edition that it is from, and a partner says only so often that it still waits.
        let is_whole = course != Course::Answered || has_header(standing.trust(), partner, signed, edition);
        if !is_whole || course == sent.course && !self.may_state(partner) {
            return None;
        }
        let next = Sent {
            course,
            state_seq,
            changed_at: clock::now(),
            latest: Bounded::new(vec![signed.clone()])?,
            edition: Bounded::new(edition.to_vec())?,
            slice_hash: if slice.is_empty() { Hash::ZERO } else { Hash::of(slice) },
            recall: if course.is_final() { Bounded::default() } else { sent.recall.clone() },
            ..sent.clone()
        };
        let heard = self.heard(&body, body_hash, signed, slice.len());
        if let Err(error) = self.put_sent_with(&next, (!slice.is_empty()).then_some(slice), Some(&heard)) {
            tracing::error!(%error, "what was decided elsewhere cannot be kept; it is collected again");
            return None;
        }
        tracing::info!(%partner, request = %next.request_id, state = %course, "heard of a request");
        if course != sent.course {
            self.tell(false, (next.request_id, partner, next.officer), course.as_str());
        }
        course.is_final().then(|| self.receipt_for(&next)).flatten()
    }

    /// Notes that a partner knows that its decision arrived. Blocks on the store.
    pub fn receipt_given(&self, body_hash: &Hash) {
        let _alone = self.hearing();
        let Ok(Some(sent)) = self.store.sent(body_hash) else { return };
        if let Err(error) = self.put_sent(&Sent { has_receipt: true, ..sent }, None) {
            tracing::error!(%error, "that a receipt was given cannot be kept");
        }
    }

    /// An officer's requests that wait elsewhere, once more asked about first. Blocks on the store.
    pub(crate) fn collect_requests(&self, key: &PublicKey) -> Result<Reply, Box<Reply>> {
        for partner in self.unsettled_partners() {
            self.collect_from(&partner);
        }
        self.list_requests(key)
    }

    fn request_of(&self, key: &PublicKey, id: &str) -> Result<Sent, Box<Reply>> {
        let found = if id.is_empty() { Vec::new() } else { self.outbox().find(key, id) };
        let id = shown(id);
        match found.as_slice() {
            [hash] => match self.store.sent(hash) {
                Ok(Some(sent)) => Ok(sent),
                Ok(None) => {
                    Err(Box::new(failed(2, "NO-REQUEST", "it is not kept any more", "see accord requests list")))
                }
                Err(error) => Err(Box::new(store_failed(&error))),
            },
            [] => {
                let message = format!("no request of yours that waits, or has waited, begins with `{id}`");
                Err(Box::new(failed(2, "NO-REQUEST", message, "see accord requests list")))
            }
            [_, ..] => {
                let message = format!("`{id}` is the beginning of {} requests", found.len());
                Err(Box::new(failed(2, "AMBIGUOUS", message, "write more of the id: accord requests list")))
            }
        }
    }

    /// An officer's requests that wait elsewhere. Blocks on the store.
    pub(crate) fn list_requests(&self, key: &PublicKey) -> Result<Reply, Box<Reply>> {
        let hashes = self.outbox().of(key);
        let mut all = Vec::new();
        for hash in hashes {
            all.extend(self.store.sent(&hash).map_err(|error| Box::new(store_failed(&error)))?);
        }
        all.sort_by_key(|sent| (sent.issued_at, sent.request_id));
        let requests: Vec<Value> = all.iter().map(|sent| self.request_json(sent)).collect();
        let waiting = all.iter().filter(|sent| !sent.course.is_final()).count();
        Ok(done(json!({ "requests": requests, "waiting": waiting })))
    }

    fn request_json(&self, sent: &Sent) -> Value {
        let standing = self.standing();
        let body: Option<RequestBody> = decode(sent.body.as_slice(), Cap::Head).ok();
        let catalogue = standing.trust().catalogue();
        json!({
            "request_id": sent.request_id.to_string(),
            "body_hash": sent.body_hash().to_string(),
            "member": sent.audience.as_str(),
            "state": sent.course.as_str(),
            "state_seq": sent.state_seq,
            "asked_at": sent.issued_at.to_string(),
            "wanted_until": sent.wanted_until.to_string(),
            "changed_at": sent.changed_at.to_string(),
            "withdrawing": !sent.recall.as_slice().is_empty(),
            "purpose": body.as_ref().map(|body| body.purpose.as_str()),
            "asks": body.map(|body| asks(&body.query, catalogue, sent.audience.country())),
        })
    }

    // With the exact bytes: the tool verifies them itself.
    /// One of them, with what came of it. Blocks on the store.
    pub(crate) fn show_request(&self, key: &PublicKey, id: &str) -> Result<Reply, Box<Reply>> {
        let sent = self.request_of(key, id)?;
        let mut shown = self.request_json(&sent);
        let slice = self.store.slice(&sent.body_hash()).map_err(|error| Box::new(store_failed(&error)))?;
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("body".into(), json!(to_hex(sent.body.as_slice())));
            fields.insert("officer_signature".into(), json!(to_hex(&sent.officer_signature.0)));
            fields.insert("officer_card".into(), json!(to_hex(sent.officer_card.as_slice())));
            let reply = sent.latest.as_slice().first().map(|latest| {
                json!({
                    "head": to_hex(latest.payload.as_slice()), "signature": to_hex(&latest.signature.0),
                    "slice": to_hex(&slice), "edition": to_hex(sent.edition.as_slice()),
                })
            });
            fields.insert("reply".into(), json!(reply));
        }
        Ok(done(shown))
    }

    /// Takes one of them back, as its officer has signed. Blocks on the store.
    pub(crate) fn withdraw_request(&self, key: &PublicKey, id: &str, recall: &str) -> Result<Reply, Box<Reply>> {
        let _alone = self.hearing();
        let sent = self.request_of(key, id)?;
        if sent.course.is_final() {
            let message = format!("it is {} already", sent.course);
            return Err(Box::new(failed(3, "OVER", message, "see accord requests show")));
        }
        let signed = from_hex(recall).and_then(|bytes| decode::<SignedBytes>(&bytes, Cap::Small).ok());
        let standing = self.standing();
        let federation = standing.trust().federation();
        let is_valid = |signed: &SignedBytes| {
            verify_message::<Recall>(federation, &[sent.officer], signed.payload.as_slice(), &signed.signature)
                .is_ok_and(|said| said.body_hash == sent.body_hash() && said.request_id == sent.request_id)
        };
        let Some(signed) = signed.filter(is_valid) else {
            let message = "the withdrawal is not signed by the officer who asked";
            return Err(Box::new(failed(3, "SIGNATURE", message, "use the profile that you asked with")));
        };
        let actor = Actor::Person(KeyRole::Officer, sent.officer);
        let detail = json!({ "request_id": sent.request_id.to_string(), "body_hash": sent.body_hash().to_string(), "audience": sent.audience.as_str() });
        let recalled = Happening::new(EventKind::Recalled, &actor, detail);
        let recalled = recalled.about(Label::Withdraw, federation, signed.payload.as_slice());
        let next = Sent { recall: Bounded::new(vec![signed]).unwrap_or_default(), ..sent };
        self.put_sent_with(&next, None, Some(&recalled)).map_err(|error| Box::new(store_failed(&error)))?;
        self.collect_from(&next.audience);
        Ok(done(self.request_json(&next)))
    }

    /// Forgets own requests that were decided long ago, or were never heard of again. Blocks on the store.
    pub(super) fn forget_own_requests(&self) {
        let old = self.outbox().old(self.sure_now());
        for body_hash in old {
            self.forget_sent(&body_hash);
        }
    }
}

// Whether the header beside an answer is the signed one of the edition that the answer names.
fn has_header(trust: &Trust, partner: &NodeId, signed: &SignedBytes, edition: &[u8]) -> bool {
    let (Ok(head), Ok(document)) =
        (decode::<AnswerHead>(signed.payload.as_slice(), Cap::Head), decode::<Document>(edition, Cap::Document))
    else {
        return false;
    };
    let keys = trust.sign_keys(partner, clock::now());
    let header = document.verify::<EditionHeader>(trust.federation(), &keys, 1, &[]);
    header.is_ok_and(|header| (header.number, header.commit) == (head.edition, head.edition_commit))
}
