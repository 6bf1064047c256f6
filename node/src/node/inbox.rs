//! Requests that a person here decides: verdicts, statements to the asker, what the asker's node collects.

use accord_edge::clock;
use accord_protocol::{
    approval::StandingApproval,
    codec::{Bounded, Cap, decode},
    held::{HeldState, List, Listed, Receipt},
    id::{Hash, NodeId, from_hex},
    key::PublicKey,
    log::EventKind,
    member_keys::KeyRole,
    message::{InboxCall, SignedBytes},
    refusal::Refusal,
    signed::{Document, Label, verify_message},
    text::shown,
};
use serde_json::{Value, json};

use super::{Actor, Happening, Node, Reply, answering::Flight, done, failed, store_failed};
use crate::{
    domain::{
        answering::{Provider, SignedAnswer},
        deciding::{Decision, NotDecided},
        inbox::{self, Course, Held, Note},
        provide::{About, Denied},
    },
    io::store::{Batch, StoreError},
};

/// Standing approvals that are kept at once, at most.
const STANDING_MAX: usize = 1_000;

impl Node {
    /// Enters in memory what waits here and elsewhere. Blocks on the store.
    pub(super) fn open_boxes(&self) -> Result<(), StoreError> {
        for held in self.store.all_held()? {
            self.inbox().enter(&held);
        }
        for sent in self.store.all_sent()? {
            self.outbox().enter(&sent);
        }
        Ok(())
    }

    pub(super) fn tell_of_inbox(&self, body_hash: &Hash) {
        let line = self.inbox().get(body_hash).cloned();
        if let Some(line) = line {
            self.tell(true, (line.request_id, &line.requester, line.officer), "held");
        }
    }

    /// What a person does with the inbox. Blocks on the store.
    pub(crate) fn inbox_call(&self, call: &InboxCall, key: &PublicKey) -> Reply {
        match call {
            InboxCall::List { all } => self.list_inbox(*all),
            InboxCall::Show { id } => self.with_held(id, |held| Ok(self.show_held(&held))),
            InboxCall::Decide { id, document } => self.with_held(id, |held| {
                self.may_be_decided(&held)?;
                self.decide(&held, &read(document)?).map_err(|error| not_decided(&error))
            }),
            InboxCall::Hold { id, note } => {
                let Some(text) = accord_protocol::codec::Text::new(note) else {
                    let next = "write it shorter, without other letters than those of ASCII";
                    return failed(2, "NOTE", "a note has at most 200 ASCII characters on one line", next);
                };
                let note = Note { by: *key, at: clock::now(), text };
                self.with_held(id, |held| {
                    self.may_be_decided(&held)?;
                    let noted = self.speaking(|provider| provider.note(self, &held, note.clone()));
                    Ok(self.after(&noted.map_err(|error| not_decided(&error))?, "held"))
                })
            }
            InboxCall::Standing { document } => match read(document).and_then(|document| self.keep_standing(&document))
            {
                Ok(reply) => reply,
                Err(reply) => *reply,
            },
        }
    }

    // The request is kept apart from everything else that may happen to it meanwhile, and read again then.
    fn with_held(&self, id: &str, work: impl FnOnce(Held) -> Result<Reply, Box<Reply>>) -> Reply {
        let found = self.inbox().find(id);
        let id = shown(id);
        let hash = match found.as_slice() {
            [hash] => *hash,
            [] => {
                let message = format!("no request here begins with `{id}`");
                return failed(2, "NO-REQUEST", message, "see accord inbox list --all");
            }
            [_, ..] => {
                let message = format!("`{id}` is the beginning of {} requests", found.len());
                return failed(2, "AMBIGUOUS", message, "write more of the id: accord inbox list");
            }
        };
        match self.alone_with(&hash) {
            Ok(Some((held, _alone))) => work(held).unwrap_or_else(|reply| *reply),
            Ok(None) => failed(2, "NO-REQUEST", "it is not kept any more", "see accord inbox list --all"),
            Err(error) => store_failed(&error),
        }
    }

    fn alone_with(&self, body_hash: &Hash) -> Result<Option<(Held, Flight<'_>)>, StoreError> {
        let Some(line) = self.inbox().get(body_hash).cloned() else { return Ok(None) };
        let alone = self.in_flight.enter((line.officer, line.request_id));
        Ok(self.store.held(body_hash)?.map(|held| (held, alone)))
    }

    /// With the keys and documents of this moment.
    pub(super) fn speaking<T>(&self, work: impl FnOnce(&Provider<'_>) -> T) -> T {
        let (standing, voice) = (self.standing(), self.voice());
        work(&self.provider(&standing, &voice))
    }

    // As with requests that come: what a restored node held at the backup may have been decided since.
    fn may_be_decided(&self, held: &Held) -> Result<(), Box<Reply>> {
        let Some(from) = self.not_before.filter(|from| held.received_at < *from) else { return Ok(()) };
        let message = format!(
            "it came before {from}, when this node first started after it was restored from a backup, and may be decided already"
        );
        Err(Box::new(failed(3, "RESTORED", message, "have its officer ask anew")))
    }

    fn decide(&self, held: &Held, document: &Document) -> Result<Reply, NotDecided> {
        if let Some(why) = self.stands_still(&held.requester) {
            return Err(NotDecided::Fault(format!("nothing is exchanged with {} now: {why}", held.requester)));
        }
        let (next, decision) = self.speaking(|provider| provider.take_verdict(self, held, document))?;
        let (peer, request) = (&next.requester, next.request_id);
        Ok(match decision {
            Decision::Answered => {
                tracing::info!(%peer, %request, "approved: answered");
                self.after(&next, "answered")
            }
            Decision::Rejected(reason) => {
                tracing::info!(%peer, %request, %reason, "rejected");
                self.after(&next, "rejected")
            }
            Decision::OneMore => {
                tracing::info!(%peer, %request, "approved by one: one more has to say yes");
                self.done_with(&next, "held")
            }
        })
    }

    // What is kept is told: to whoever watches here, and to the asker's node.
    fn after(&self, held: &Held, state: &'static str) -> Reply {
        self.tell(true, (held.request_id, &held.requester, held.officer), state);
        self.nudge(&held.requester);
        self.done_with(held, state)
    }

    fn done_with(&self, held: &Held, state: &str) -> Reply {
        let approvals = held.verdicts.as_slice().len();
        done(json!({
            "request_id": held.request_id.to_string(), "member": held.requester.as_str(), "state": state,
            "state_seq": held.state_seq, "approvals": approvals, "at": held.changed_at.to_string(),
            "waiting": self.inbox().waiting(),
        }))
    }

    fn keep_standing(&self, document: &Document) -> Result<Reply, Box<Reply>> {
        let (standing, now) = (self.standing(), clock::now());
        let trust = standing.trust();
        let keys = inbox::approvers(trust, now);
        let said = document.verify::<StandingApproval>(trust.federation(), &keys, 1, &[]);
        let said = said.ok().filter(|_| inbox::alone(document)).ok_or_else(|| {
            let message = "the standing approval does not have one approver's signature, and no other";
            Box::new(failed(3, "SIGNATURE", message, "sign it with the key of an approver of this agency"))
        })?;
        if said.node_id != self.config.member || trust.catalogue().table_by_id(said.table_id).is_none() {
            let message = "the standing approval is another agency's, or for a table that does not exist";
            return Err(Box::new(failed(3, "STANDING", message, "see accord tables and accord trust")));
        }
        let kept = self.store.standing().map_err(|error| Box::new(store_failed(&error)))?;
        // Ending one is always possible.
        if kept.len() >= STANDING_MAX && said.until > now {
            let next = "end some: accord inbox standing end";
            return Err(Box::new(failed(3, "TOO-MANY", "there are 1,000 standing approvals already", next)));
        }
        let mut batch = Batch::default();
        batch.put_standing(document);
        let by = document.signed_by().first().map_or(Actor::Node, |key| Actor::Person(KeyRole::Approver, *key));
        let detail = json!({
            "partner": said.partner.as_str(), "table_id": said.table_id, "purpose": said.purpose.as_str(),
            "from": said.from.to_string(), "until": said.until.to_string(),
        });
        let entry = Happening::new(EventKind::Standing, &by, detail).about_document(trust.federation(), document);
        self.enter(&mut batch, &entry).map_err(|error| Box::new(store_failed(&error)))?;
        self.store.commit(batch).map_err(|error| Box::new(store_failed(&error)))?;
        tracing::info!(partner = %said.partner, table = said.table_id, until = %said.until, "a standing approval was signed");
        Ok(done(json!({ "hash": document.hash().to_string(), "standing": self.standing_json() })))
    }

    /// Ends requests that nobody decided in time. Blocks on the store.
    pub fn expire_requests(&self) {
        let expired = self.inbox().expired(self.sure_now());
        for body_hash in expired {
            match self.alone_with(&body_hash) {
                Ok(Some((held, _alone))) if held.is_open() => {
                    let ended =
                        self.speaking(|provider| provider.end(self, &held, Course::Expired, HeldState::Expired));
                    match ended {
                        Ok(next) => {
                            tracing::info!(peer = %next.requester, request = %next.request_id, "nobody decided in time: expired");
                            // Both sides hear of it; the reply is for nobody.
                            drop(self.after(&next, "expired"));
                        }
                        Err(error) => tracing::error!(%error, "an expired request cannot be ended"),
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "an expired request cannot be read"),
            }
        }
    }

    /// Enters decisions of which the asker has not said for a day that they arrived, each once. Blocks on the store.
    pub fn miss_receipts(&self) {
        let missed = self.inbox().miss_receipts(self.sure_now());
        for body_hash in missed {
            if let Err(error) = self.enter_missing_receipt(&body_hash) {
                tracing::error!(%error, "a missing receipt cannot be entered in the audit log");
                self.inbox().still_missed(&body_hash);
            }
        }
    }

    fn enter_missing_receipt(&self, body_hash: &Hash) -> Result<(), StoreError> {
        let Some((held, _alone)) = self.alone_with(body_hash)? else { return Ok(()) };
        let Some(said) = self.store.replay(&held.officer, &held.request_id)? else { return Ok(()) };
        if !held.receipt.as_slice().is_empty() {
            return Ok(());
        }
        let detail = json!({
            "request_id": held.request_id.to_string(), "body_hash": body_hash.to_string(), "requester": held.requester.as_str(),
            "reply_hash": Hash::of(said.head.as_slice()).to_string(), "decided_at": held.changed_at.to_string(),
        });
        let standing = self.standing();
        let entry = Happening::new(EventKind::NoReceipt, &Actor::Node, detail);
        let entry = entry.about(Label::Request, standing.trust().federation(), held.envelope.payload.as_slice());
        // A start before this one may have entered it.
        for seq in self.store.about(&entry.subject)? {
            if self.store.entry(seq)?.is_some_and(|entry| entry.kind == EventKind::NoReceipt) {
                return Ok(());
            }
        }
        tracing::warn!(peer = %held.requester, request = %held.request_id, "its asker has not said for a day that the decision arrived");
        self.record(&entry)
    }

    /// Forgets requests that were decided long ago, here and elsewhere, and standing approvals that are over. Blocks on the store.
    pub fn forget_requests(&self) {
        let now = self.sure_now();
        let old = self.inbox().old(now);
        for body_hash in old {
            let mut batch = Batch::default();
            batch.delete_held(&body_hash);
            match self.store.commit(batch) {
                Ok(_) => self.inbox().forget(&body_hash),
                Err(error) => tracing::error!(%error, "an old request stays"),
            }
        }
        self.forget_standing(now);
        self.forget_own_requests();
    }

    // One that is over permits nothing, and somebody who said so later is heard all the same.
    fn forget_standing(&self, now: accord_protocol::time::UnixMs) {
        let Ok(all) = self.store.standing() else { return };
        for document in all {
            let is_over = document
                .unverified::<StandingApproval>()
                .map_or(true, |said| said.until.plus(accord_protocol::approval::STANDING_WITHIN_MS) < now);
            if is_over {
                let mut batch = Batch::default();
                batch.delete_standing(&document);
                if let Err(error) = self.store.commit(batch) {
                    tracing::error!(%error, "a standing approval that is over stays");
                }
            }
        }
    }

    /// How a member's requests stand of which it may not know.
    pub fn listed_for(&self, member: &NodeId) -> List {
        let inbox = self.inbox();
        let lines = inbox.unknown_to(member);
        let lines = lines.map(|(body_hash, line)| Listed { body_hash, state_seq: line.state_seq });
        Bounded::new(lines.take(accord_protocol::held::LISTED_MAX).collect()).unwrap_or_default()
    }

    /// What a member collects of one request. Blocks on the store.
    pub fn collected_by(&self, member: &NodeId, body_hash: &Hash) -> SignedAnswer {
        let unknown = About { body_hash: *body_hash, ..NOTHING };
        let refused = |about, refusal, why: String| {
            let denied = Denied { refusal, why, about, alarm: false };
            self.speaking(|provider| self.refused(provider, member, &denied))
        };
        match self.alone_with(body_hash) {
            Ok(Some((held, _alone))) if held.requester == *member => {
                match self.speaking(|provider| provider.collected(self, &held)) {
                    Ok(answer) => answer,
                    // It was decided, and may be had when the reason is gone.
                    Err(error) => refused(held.about(), Refusal::Busy, error.to_string()),
                }
            }
            Ok(_) => refused(unknown, Refusal::Unavailable, "nothing of this member waits under this hash".into()),
            Err(error) => refused(unknown, Refusal::Busy, error.to_string()),
        }
    }

    /// Keeps a member's word that a decision has arrived; whether it is one. Blocks on the store.
    pub fn take_receipt(&self, member: &NodeId, signed: &SignedBytes) -> bool {
        let standing = self.standing();
        let trust = standing.trust();
        let keys = trust.sign_keys(member, clock::now());
        let payload = signed.payload.as_slice();
        let Ok(receipt) = verify_message::<Receipt>(trust.federation(), &keys, payload, &signed.signature) else {
            return false;
        };
        let Ok(Some((held, _alone))) = self.alone_with(&receipt.body_hash) else { return false };
        if held.requester == *member && !held.receipt.as_slice().is_empty() {
            // The first one is kept.
            return true;
        }
        let said = self.store.replay(&held.officer, &held.request_id).ok().flatten();
        let names = said.is_some_and(|said| Hash::of(said.head.as_slice()) == receipt.head_hash);
        if held.requester != *member || held.is_open() || !names {
            return false;
        }
        let next = Held { receipt: Bounded::new(vec![signed.clone()]).unwrap_or_default(), ..held };
        let mut batch = Batch::default();
        batch.put_held(&next);
        let detail = json!({ "request_id": next.request_id.to_string(), "body_hash": next.body_hash.to_string(), "reply_hash": receipt.head_hash.to_string() });
        let entry = Happening::new(EventKind::Receipt, &Actor::Member(member.clone()), detail);
        let entered = self.enter(&mut batch, &entry.about(Label::Receipt, trust.federation(), payload));
        match entered.and_then(|()| self.store.commit(batch)) {
            Ok(_) => {
                self.inbox().enter(&next);
                true
            }
            Err(error) => {
                tracing::error!(%error, peer = %member, "a receipt cannot be kept");
                false
            }
        }
    }

    /// Takes an officer's wish to take a request back; what is said of the request then. Blocks on the store.
    pub fn take_recall(&self, member: &NodeId, signed: &SignedBytes) -> Option<SignedBytes> {
        let claimed: accord_protocol::held::Recall = decode(signed.payload.as_slice(), Cap::Small).ok()?;
        let (held, _alone) = self.alone_with(&claimed.body_hash).ok().flatten()?;
        if held.requester != *member || !self.speaking(|provider| provider.is_recalled(&held, signed)) {
            return None;
        }
        if held.is_open() {
            let ended = self.speaking(|provider| provider.end(self, &held, Course::Withdrawn, HeldState::Withdrawn));
            match ended {
                Ok(next) => {
                    tracing::info!(peer = %member, request = %next.request_id, "taken back by its officer");
                    self.tell(true, (next.request_id, &next.requester, next.officer), "withdrawn");
                }
                Err(error) => {
                    tracing::error!(%error, peer = %member, "a request cannot be taken back");
                    return None;
                }
            }
        }
        let said = self.store.replay(&held.officer, &held.request_id).ok().flatten()?;
        Some(SignedBytes { payload: Bounded::new(said.head.as_slice().to_vec())?, signature: said.signature })
    }

    fn nudge(&self, member: &NodeId) {
        self.nudges.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(member.clone());
        self.to_nudge.notify_one();
    }

    /// The members to whom a decision is to be announced; they are taken off the list.
    pub fn take_nudges(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.nudges.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
            .into_iter()
            .collect()
    }

    fn list_inbox(&self, all: bool) -> Reply {
        match self.store.all_held() {
            Ok(mut held) => {
                held.retain(|held| all || held.is_open());
                held.sort_by_key(|held| held.received_at);
                let requests: Vec<Value> = held.iter().map(|held| self.held_json(held)).collect();
                done(
                    json!({ "requests": requests, "waiting": self.inbox().waiting(), "standing": self.standing_json() }),
                )
            }
            Err(error) => store_failed(&error),
        }
    }
}

const NOTHING: About =
    About { body_hash: Hash::ZERO, request_id: accord_protocol::id::RequestId::ZERO, reply_class: 0 };

fn read(hex: &str) -> Result<Document, Box<Reply>> {
    let document = from_hex(hex).and_then(|bytes| decode(&bytes, Cap::Document).ok());
    document.ok_or_else(|| {
        Box::new(failed(2, "CALL", "what was signed does not decode", "use the same version of accord and accord-node"))
    })
}

fn not_decided(error: &NotDecided) -> Box<Reply> {
    let (exit, code, next) = match error {
        NotDecided::Over(_) => (3, "OVER", "see accord inbox list --all"),
        NotDecided::NoVerdict(inbox::NoVerdict::Signature) => {
            (3, "SIGNATURE", "sign with the key of an approver of this agency: accord trust lists them")
        }
        NotDecided::NoVerdict(inbox::NoVerdict::Another) => {
            (3, "ANOTHER", "look at the request again: accord inbox show")
        }
        NotDecided::NoVerdict(inbox::NoVerdict::Twice) => (3, "TWICE", "a second person has to say yes"),
        NotDecided::NoVerdict(inbox::NoVerdict::Changed) => {
            (3, "CHANGED", "look at the request again: accord inbox show")
        }
        NotDecided::Denied(_) => (3, "DENIED", "reject it, or change what denies it and look again"),
        NotDecided::Fault(_) => (4, "FAULT", "look at the node's log, then try again; nothing was changed"),
    };
    Box::new(failed(exit, code, error.to_string(), next))
}
