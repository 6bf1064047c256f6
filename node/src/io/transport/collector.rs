//! Requests that wait for a person: collecting what was decided elsewhere, announcing what was decided here (`wire.md` D20).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use accord_edge::stream::{self, NoBody};
use accord_protocol::{
    answer::class_size,
    codec::{Cap, decode, encode},
    held::{Collect, List, is_status},
    id::{Hash, NodeId},
    message::{MessageKind, SignedBytes},
};
use quinn::Connection;

use super::partners::Partners;
use crate::node::Unsettled;

/// How often it is looked whether something was decided.
const COLLECT_EVERY: Duration = Duration::from_secs(30);
/// How often those are asked who have said more often that there is something than they are asked at once.
const COLLECT_LATE_EVERY: Duration = Duration::from_secs(5);
/// Shortest time between two rounds, however often somebody says that there is something.
const COLLECT_NOT_SOONER: Duration = Duration::from_millis(500);
/// Longest round with one partner.
const WITHIN: Duration = Duration::from_mins(1);
/// Longest wait for the first sign of life over a connection.
const KEPT_ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Longest announcement.
const NUDGED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether time is over for something.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

impl Partners {
    /// Collects for as long as the node runs: every 30 seconds, and when somebody says that there is something.
    pub(super) async fn keep_collecting(self: Arc<Self>) {
        // A partner that takes its time keeps no other waiting.
        let under_way = Arc::new(Mutex::new(BTreeSet::new()));
        // By the clock, so that one who says often that there is something does not put off all others.
        let mut every = ticks(COLLECT_EVERY);
        let mut late = ticks(COLLECT_LATE_EVERY);
        let mut wanted: Vec<NodeId> = Vec::new();
        loop {
            for member in wanted {
                let lock = || under_way.lock().unwrap_or_else(PoisonError::into_inner);
                if !lock().insert(member.clone()) {
                    // It is asked again when this round is over: there may be more.
                    self.node.collect_from(&member);
                    continue;
                }
                let (partners, under_way) = (Arc::clone(&self), Arc::clone(&under_way));
                tokio::spawn(async move {
                    // What was not settled is so the next time.
                    let _ = tokio::time::timeout(WITHIN, partners.settle(&member)).await;
                    under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&member);
                });
            }
            tokio::time::sleep(COLLECT_NOT_SOONER).await;
            wanted = tokio::select! {
                _ = every.tick() => self.node.unsettled_partners(),
                _ = late.tick() => self.node.take_late(),
                () = self.node.to_collect.notified() => self.node.take_collecting(),
            };
        }
    }

    /// Ends what nobody decided in time, and notes receipts that do not come, for as long as the node runs.
    pub(super) async fn keep_expiring(self: Arc<Self>) {
        loop {
            let node = Arc::clone(&self.node);
            // A panic in it is counted and logged where all are.
            let _ = tokio::task::spawn_blocking(move || {
                node.expire_requests();
                node.miss_receipts();
            })
            .await;
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    /// Announces decisions for as long as the node runs. Whoever does not hear it collects by itself.
    pub(super) async fn keep_nudging(self: Arc<Self>) {
        loop {
            self.node.to_nudge.notified().await;
            for member in self.node.take_nudges() {
                let partners = Arc::clone(&self);
                tokio::spawn(async move {
                    let nudging = partners.first_call(&member, MessageKind::Nudge, Vec::new());
                    if !matches!(tokio::time::timeout(NUDGED_WITHIN, nudging).await, Ok(Some(_))) {
                        tracing::debug!(peer = %member, "a decision was not announced");
                    }
                });
            }
        }
    }

    // All that is not settled with one partner.
    async fn settle(&self, member: &NodeId) -> Option<()> {
        self.node.has_learned().await;
        if self.node.stands_still(member).is_some() {
            return None;
        }
        let (node, of) = (Arc::clone(&self.node), member.clone());
        let unsettled = tokio::task::spawn_blocking(move || node.unsettled(&of)).await.ok()?;
        let all = encode(&Collect { body_hash: Hash::ZERO }).ok()?;
        let (connection, listed) = self.first_call(member, MessageKind::Collect, all).await?;
        let listed: List = decode(&listed, Cap::Head).ok()?;
        for (body_hash, what) in unsettled {
            // One that fails keeps no other from being settled.
            self.settle_one(member, &connection, (&body_hash, what), &listed).await;
        }
        Some(())
    }

    async fn settle_one(
        &self,
        member: &NodeId,
        connection: &Connection,
        (body_hash, what): (&Hash, Unsettled),
        listed: &List,
    ) -> Option<()> {
        match what {
            Unsettled::Receipt(receipt) => self.give_receipt(connection, body_hash, &receipt).await,
            Unsettled::Recall { recall, reply_class } => {
                let call = stream::Call::new(MessageKind::Recall, encode(&recall).ok()?);
                let reply = stream::call(connection, call, NoBody, |_| {}).await.ok()?;
                // Nothing, where the partner has never heard of it.
                let signed: SignedBytes = decode(&reply.head, Cap::Head).ok()?;
                if is_status(signed.payload.as_slice()) {
                    self.hear(member, connection, body_hash, signed, Vec::new()).await;
                } else {
                    // The partner was faster: what it decided comes with its table.
                    let (signed, slice) = collect(connection, body_hash, reply_class).await?;
                    self.hear(member, connection, body_hash, signed, slice).await;
                }
            }
            Unsettled::Listen { state_seq, reply_class, may_be_lost } => {
                let said = listed.iter().find(|line| line.body_hash == *body_hash);
                if said.is_some_and(|line| line.state_seq > state_seq) {
                    let (signed, slice) = collect(connection, body_hash, reply_class).await?;
                    self.hear(member, connection, body_hash, signed, slice).await;
                } else if said.is_none() && may_be_lost {
                    // It was decided at once and the reply was lost, or it never came: nobody there will say more of it.
                    let (node, hash) = (Arc::clone(&self.node), *body_hash);
                    tokio::task::spawn_blocking(move || node.forget_sent(&hash)).await.ok()?;
                }
            }
        }
        Some(())
    }

    // One call over a connection that works: a kept one may have died unnoticed, and then a new one is made.
    async fn first_call(&self, member: &NodeId, kind: MessageKind, payload: Vec<u8>) -> Option<(Connection, Vec<u8>)> {
        let (connection, kept) = self.connection(member, None).await.ok()?;
        let calling = stream::call(&connection, stream::Call::new(kind, payload.clone()), NoBody, |_| {});
        if let Ok(Ok(reply)) = tokio::time::timeout(KEPT_ANSWERS_WITHIN, calling).await {
            return Some((connection, reply.head));
        }
        if !kept {
            return None;
        }
        let (connection, _) = self.connection(member, Some(connection.stable_id())).await.ok()?;
        let reply = stream::call(&connection, stream::Call::new(kind, payload), NoBody, |_| {}).await.ok()?;
        Some((connection, reply.head))
    }

    async fn hear(
        &self,
        member: &NodeId,
        connection: &Connection,
        body_hash: &Hash,
        signed: SignedBytes,
        slice: Vec<u8>,
    ) {
        let Ok(edition) = self.edition_header(connection, member, &signed).await else { return };
        let (node, hash) = (Arc::clone(&self.node), *body_hash);
        let hearing =
            tokio::task::spawn_blocking(move || node.hear_of_request(&hash, &signed, &slice, edition.as_slice()));
        if let Ok(Some(receipt)) = hearing.await {
            self.give_receipt(connection, body_hash, &receipt).await;
        }
    }

    async fn give_receipt(&self, connection: &Connection, body_hash: &Hash, receipt: &SignedBytes) {
        let Ok(payload) = encode(receipt) else { return };
        let call = stream::Call::new(MessageKind::Receipt, payload);
        let reply = stream::call(connection, call, NoBody, |_| {}).await;
        if reply.is_ok_and(|reply| reply.head.first() == Some(&1)) {
            let (node, hash) = (Arc::clone(&self.node), *body_hash);
            // Given once more otherwise, which does no harm.
            let _ = tokio::task::spawn_blocking(move || node.receipt_given(&hash)).await;
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks
}

async fn collect(connection: &Connection, body_hash: &Hash, reply_class: u8) -> Option<(SignedBytes, Vec<u8>)> {
    let size = class_size(reply_class)? as u64;
    let payload = encode(&Collect { body_hash: *body_hash }).ok()?;
    let call = stream::Call::new(MessageKind::Collect, payload).padded(None, size);
    let reply = stream::call(connection, call, NoBody, |_| {}).await.ok()?;
    Some((decode(&reply.head, Cap::Head).ok()?, reply.body))
}
