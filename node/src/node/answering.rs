//! Answering over the node's own store: the order of checks is `domain::answering`'s; here are quota, log and disk.

use std::sync::Arc;

use accord_edge::clock;
use accord_protocol::{
    answer::AnswerHead,
    codec::{Cap, decode},
    id::{Hash, NodeId, RequestId},
    key::PublicKey,
    officers::Purpose,
    policy::policy_commit,
    refusal::Refusal,
};

use ring::hmac;

use super::Node;
use crate::{
    domain::{
        answering::{Course, Decided, Keeps, Provider, Remembered, SignedAnswer},
        edition::Frozen,
        inbox::{self, Held},
        provide::{Checked, Denied, Peer},
    },
    io::{
        keys::Voice,
        store::{Batch, ReceivedEntry, StoreError},
    },
};

/// Replies to one member that are remembered at once, at most: about 40 MB of disk. At the standing rate of a member's quota it
/// takes hours to get there, and each is forgotten after a day.
pub(super) const REPLIES_MAX: usize = 50_000;

impl Node {
    /// Answers one request. Blocks on the store: call it from a blocking task. Never fails: what goes wrong inside is `E_BUSY`
    /// outside.
    pub fn answer(&self, peer: Peer<'_>, payload: &[u8]) -> SignedAnswer {
        let (standing, voice) = (self.standing(), self.voice());
        let provider = self.provider(&standing, &voice);
        let checked = match provider.check(peer, payload) {
            Ok(checked) => checked,
            Err(denied) => return self.refused(&provider, peer.member, &denied),
        };
        let own = checked.body.requester == self.config.member;
        if let Some(why) = self.stands_still(peer.member) {
            return self.refused(&provider, peer.member, &checked.deny(Refusal::Unavailable, why.to_string()));
        }
        if let Some(denied) = self.may_be_answered_already(&checked) {
            return self.refused(&provider, peer.member, &denied);
        }
        if !own && !self.quota().take(&checked.body.requester, &checked.card.key, self.since_start.ms()) {
            return self.refused(&provider, peer.member, &checked.deny(Refusal::Quota, "token bucket empty"));
        }
        let _flight = self.in_flight.enter((checked.card.key, checked.body.request_id));
        let (answer, course) = provider.answer(self, &checked, payload);
        let (peer, request) = (peer.member, checked.body.request_id);
        match &course {
            Course::Answered { table, edition } => tracing::info!(%peer, %request, %table, edition, "answered"),
            Course::Held { table } => {
                tracing::info!(%peer, %request, %table, "held: a person has to decide");
                self.tell_of_inbox(&checked.body_hash);
            }
            Course::Again => tracing::info!(%peer, %request, "the same bytes again"),
            Course::Refused(denied) => self.log_refusal(peer, denied),
            Course::NotNow(denied) => {
                self.log_refusal(peer, denied);
                self.record_refusal(peer, denied);
            }
            Course::Fault(denied) => {
                tracing::error!(%peer, %request, why = %denied.why, "a request cannot be answered");
                self.record_refusal(peer, denied);
            }
        }
        self.door.count(&course);
        answer
    }

    // A node that was restored has forgotten what it answered since the backup: what was asked before its first start is not decided
    // anew, so that it never signs two replies to one request. What it still remembers is said again.
    fn may_be_answered_already(&self, checked: &Checked) -> Option<Denied> {
        let from = self.not_before.filter(|from| checked.body.issued_at < *from)?;
        let remembered = self.store.replay(&checked.card.key, &checked.body.request_id);
        if remembered.is_ok_and(|reply| reply.is_some()) {
            return None;
        }
        let why = format!("issued before {from}, when this node first started after it was restored from a backup");
        Some(checked.deny(Refusal::Time, why))
    }

    /// A refusal for a stream whose bytes are no request at all. Blocks on the store.
    pub fn refuse_bytes(&self, peer: &NodeId, why: &str) -> SignedAnswer {
        let (standing, voice) = (self.standing(), self.voice());
        let (answer, denied) = self.provider(&standing, &voice).refuse_bytes(peer, why);
        self.log_refusal(peer, &denied);
        self.record_refusal(peer, &denied);
        self.door.count(&Course::Refused(denied));
        answer
    }

    pub(super) fn provider<'a>(&'a self, standing: &'a super::Standing, voice: &'a Voice) -> Provider<'a> {
        Provider {
            me: &self.config.member,
            trust: standing.trust(),
            access: &standing.access,
            policy_commit: self.policy_commit(standing),
            marking: &self.config.marking,
            key: &voice.sign,
            now: clock::now(),
        }
    }

    // With the key of editions: whoever knows the policy's hash cannot find out whether it is this one.
    fn policy_commit(&self, standing: &super::Standing) -> Hash {
        let hash = standing.access.hash();
        if hash == Hash::ZERO {
            return Hash::ZERO;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.keys().edition_key);
        let mut salt = [0; 32];
        salt.copy_from_slice(hmac::sign(&key, &[b"policy\0".as_slice(), &hash.0].concat()).as_ref());
        policy_commit(standing.trust().federation(), &self.config.member, &salt, &hash)
    }

    pub(super) fn refused(&self, provider: &Provider<'_>, peer: &NodeId, denied: &Denied) -> SignedAnswer {
        self.log_refusal(peer, denied);
        self.record_refusal(peer, denied);
        self.door.count(&Course::Refused(denied.clone()));
        provider.refuse(denied, peer)
    }

    // A peer can provoke as many refusals as it likes; the log gets some of each kind, and how many were left out.
    fn log_refusal(&self, peer: &NodeId, denied: &Denied) {
        let Some(left_out) = self.door.may_log(peer, denied, self.since_start.ms()) else { return };
        let Denied { refusal, why, about, alarm } = denied;
        if *alarm {
            tracing::error!(%peer, request = %about.request_id, %why, left_out, "ALARM: nobody receives anything by this policy");
        } else {
            tracing::info!(%peer, request = %about.request_id, %refusal, %why, left_out, "refused");
        }
    }
}

impl Keeps for Node {
    type Error = StoreError;

    fn remembered(&self, officer: &PublicKey, request: &RequestId) -> Result<Option<Remembered>, StoreError> {
        self.store.replay(officer, request)
    }

    fn has_room_for(&self, member: &NodeId) -> bool {
        self.replies().get(member).is_none_or(|count| *count < REPLIES_MAX)
    }

    fn enters(&self, member: &NodeId, refusal: Refusal) -> bool {
        self.enters_refusal(member, refusal)
    }

    fn remember(&self, decided: Decided<'_>) -> Result<(), StoreError> {
        let member = decided.requester;
        let mut batch = Batch::default();
        batch.put_replay(decided.officer, decided.request, decided.reply);
        if let Some(edition) = decided.edition {
            batch.put_received(edition, member);
            let entry = ReceivedEntry { table_id: decided.table_id, edition, first: clock::now() };
            if !self.store.has_history(member, decided.officer, entry)? {
                batch.put_history(member, decided.officer, entry);
            }
        }
        if let Some(held) = decided.held {
            batch.put_held(held);
        }
        self.enter_decision(&mut batch, &decided)?;
        if let Some(held) = decided.held {
            self.enter_verdict(&mut batch, held)?;
        }
        self.store.commit(batch)?;
        if let Some(held) = decided.held {
            self.inbox().enter(held);
        }
        *self.replies().entry(member.clone()).or_default() += 1;
        // An edition that was withdrawn meanwhile: whoever withdrew it did not see this member among those to tell.
        if let Some(edition) = decided.edition
            && self.store.withdrawn(edition)?.is_some()
        {
            let mut batch = Batch::default();
            batch.put_untold(edition, member);
            self.store.commit(batch)?;
        }
        Ok(())
    }

    fn keep_held(&self, held: &Held) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put_held(held);
        self.enter_verdict(&mut batch, held)?;
        self.store.commit(batch)?;
        self.inbox().enter(held);
        Ok(())
    }

    fn approvals_of(&self, body_hash: &Hash) -> Result<usize, StoreError> {
        let held = self.store.held(body_hash)?.filter(|held| held.course == inbox::Course::Answered);
        Ok(held.map_or(0, |held| held.verdicts.as_slice().len()))
    }

    fn has_room_to_hold(&self, member: &NodeId) -> bool {
        self.inbox().has_room_for(member)
    }

    fn in_advance(&self, partner: &NodeId, table_id: u16, purpose: Purpose) -> Result<usize, StoreError> {
        let (standing, approvals) = (self.standing(), self.store.standing()?);
        let about = (partner, table_id, purpose);
        Ok(inbox::in_advance(standing.trust(), &self.config.member, &approvals, about, clock::now()))
    }

    fn latest(&self) -> Option<u64> {
        self.current_number()
    }

    fn edition(&self, number: u64) -> Result<Option<Arc<Frozen>>, StoreError> {
        Ok(self.loaded_edition(number)?.map(|loaded| Arc::clone(&loaded.frozen)))
    }

    fn is_withdrawn(&self, number: u64) -> Result<bool, StoreError> {
        Ok(self.store.withdrawn(number)?.is_some())
    }

    fn view_hash(&self, member: &NodeId) -> Option<Hash> {
        match self.current_view(member) {
            Ok(kept) => Some(kept.hash()),
            Err(error) => {
                tracing::error!(peer = %member, %error, "a view cannot be made");
                None
            }
        }
    }
}

/// Who asked, by a remembered reply; nothing for one that a person still has to decide, which is counted elsewhere.
pub(super) fn requester_of(reply: &Remembered) -> Option<NodeId> {
    decode::<AnswerHead>(reply.head.as_slice(), Cap::Head).ok().map(|head| head.requester)
}

impl super::InFlight {
    /// Waits until nobody else decides the same request; leaving is dropping what comes back.
    pub(super) fn enter(&self, key: (PublicKey, RequestId)) -> Flight<'_> {
        let mut keys = self.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while !keys.insert(key) {
            keys = self.done.wait(keys).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Flight { all: self, key }
    }
}

pub(super) struct Flight<'a> {
    all: &'a super::InFlight,
    key: (PublicKey, RequestId),
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.all.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.key);
        self.all.done.notify_all();
    }
}
