//! Logs over the wire: telling each other which checkpoints are held, having the own one cosigned, asking partners for proofs.

use std::{sync::Arc, time::Duration};

use accord_edge::{
    clock::Stopwatch,
    stream::{self, NoBody},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    id::{Hash, NodeId},
    log::passing::{Asked, ConsistencyReply, Cosigned, ProofCall, Told},
    message::{Fault, MessageKind},
};
use quinn::Connection;
use serde_json::json;

use super::partners::{AskError, Partners};
use crate::{
    domain::unmatched::Without,
    node::{Next, Node, Reply},
};

/// Longest exchange with one member about logs.
const WITHIN: Duration = Duration::from_secs(20);
/// Longest round of asking for proofs.
const ROUND_WITHIN: Duration = Duration::from_mins(5);
/// From how many milliseconds on a partner is slow to give a proof.
const SLOW_MS: u64 = 5_000;
/// How often those are shown the own log again who do not hold it as it was last closed, and proofs are asked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Partners {
    /// Tells a member which checkpoints this node holds, hears which it holds, and shows it the own log if it lacks some. Nothing if it
    /// was not heard.
    pub(super) async fn compare(&self, member: &NodeId, connection: &Connection) -> Option<()> {
        let payload = encode(&self.node.logs_told()).ok()?;
        let reply =
            stream::call(connection, stream::Call::new(MessageKind::Tell, payload), NoBody, |_| {}).await.ok()?;
        let told: Told = decode(&reply.head, Cap::Head).ok()?;
        let (node, by) = (Arc::clone(&self.node), member.clone());
        let lacks = tokio::task::spawn_blocking(move || node.compare_logs(&by, &told)).await.ok()?;
        match lacks {
            Ok(true) => self.show_over(member, connection).await,
            Ok(false) => Some(()),
            Err(error) => {
                tracing::error!(%error, peer = %member, "what it holds of logs cannot be compared");
                None
            }
        }
    }

    // Shows a member the own log as it was last closed; once more if it holds another size than was believed.
    async fn show_over(&self, member: &NodeId, connection: &Connection) -> Option<()> {
        for _ in 0..2 {
            let (node, to) = (Arc::clone(&self.node), member.clone());
            let shown = tokio::task::spawn_blocking(move || node.log_shown_to(&to)).await.ok()?;
            let (closed, call) =
                shown.inspect_err(|error| tracing::error!(%error, "the log cannot be shown")).ok()??;
            let payload = encode(&call).ok()?;
            let call = stream::Call::new(MessageKind::Cosign, payload);
            let reply = stream::call(connection, call, NoBody, |_| {}).await.ok()?;
            let said: Cosigned = decode(&reply.head, Cap::Head).ok()?;
            let (node, by) = (Arc::clone(&self.node), member.clone());
            let taking = tokio::task::spawn_blocking(move || node.take_cosigned(&by, &closed, &said));
            match taking.await.ok()? {
                Ok(Next::Done) => return Some(()),
                Ok(Next::Again) => {}
                Err(error) => {
                    tracing::error!(%error, peer = %member, "what it says of the own log cannot be kept");
                    return None;
                }
            }
        }
        Some(())
    }

    async fn show(&self, member: &NodeId) -> Option<()> {
        let (connection, _) = self.connection(member, None).await.ok()?;
        self.show_over(member, &connection).await
    }

    /// Has the own log looked at again by everybody as soon as it is closed, and later by those who were not reached, for as long as the
    /// node runs.
    pub(super) async fn keep_showing(self: Arc<Self>) {
        let mut everybody = true;
        loop {
            let mut showing = tokio::task::JoinSet::new();
            for member in self.node.to_be_shown(everybody) {
                let partners = Arc::clone(&self);
                showing.spawn(async move {
                    if tokio::time::timeout(WITHIN, partners.show(&member)).await.ok().flatten().is_none() {
                        tracing::debug!(peer = %member, "was not shown the audit log; it is so later");
                    }
                });
            }
            while showing.join_next().await.is_some() {}
            self.reconcile_all().await;
            let node = Arc::clone(&self.node);
            match tokio::task::spawn_blocking(move || node.reconcile_if_all_is_there()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "that this node serves again cannot be kept"),
                Err(error) => tracing::error!(%error, "that this node serves again cannot be kept"),
            }
            everybody = tokio::select! {
                () = self.node.log_closed.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
        }
    }

    // Every owner for itself: who stalls keeps nobody else from being asked.
    async fn reconcile_all(self: &Arc<Self>) {
        let mut asking = tokio::task::JoinSet::new();
        for (of, others) in self.node.unmatched() {
            let partners = Arc::clone(self);
            asking.spawn(async move {
                for (by, sizes) in others {
                    // Who has proven nothing once is left alone until the next round.
                    if partners.reconcile((&of, &by), sizes).await.is_none() {
                        break;
                    }
                }
            });
        }
        while asking.join_next().await.is_some() {}
    }

    // What somebody else holds of a member's log and what is held here are of two sizes: its owner has to prove that they are of one log.
    // Something if it has given a proof, whatever that says.
    async fn reconcile(&self, (member, by): (&NodeId, &NodeId), (old, new): (u64, u64)) -> Option<()> {
        let call = ProofCall { what: Asked::Consistency, subject: Hash::ZERO, old, new };
        let asked = tokio::time::timeout(WITHIN, self.ask_proof(member, &call)).await;
        let said = if let Ok(Ok(proof)) = asked {
            proof.and_then(|body| decode::<ConsistencyReply>(&body, Cap::Head).ok()).ok_or(Without::Refused)
        } else {
            // One that is not there, or not there for anything, is not to blame.
            tokio::time::timeout(WITHIN, self.is_greeted(member)).await.ok()??;
            Err(Without::PutOff)
        };
        if said.is_err() {
            tracing::warn!(peer = %member, old, new, "does not prove that its audit log of one size begins with that of the other, of which somebody else holds one");
        }
        let has_proven = said.is_ok().then_some(());
        let (node, of, by) = (Arc::clone(&self.node), member.clone(), by.clone());
        let taking = tokio::task::spawn_blocking(move || {
            let said = said.as_ref().map(|reply| reply.path.as_slice()).map_err(|without| *without);
            node.reconcile((&of, &by), (old, new), said)
        });
        taking.await.ok()?.inspect_err(|error| tracing::error!(%error, "a fork cannot be kept")).ok()?;
        has_proven
    }

    // Whether a member answers a greeting now.
    async fn is_greeted(&self, member: &NodeId) -> Option<()> {
        let (connection, _) = self.connection(member, None).await.ok()?;
        let call = stream::Call::new(MessageKind::Greet, self.node.hello());
        stream::call(&connection, call, NoBody, |_| {}).await.ok().map(drop)
    }

    // A proof, or that there is none, by the member's word.
    async fn ask_proof(&self, member: &NodeId, call: &ProofCall) -> Result<Option<Vec<u8>>, AskError> {
        let unreachable = |error: &dyn std::error::Error| AskError::Unreachable(error.to_string());
        let payload = encode(call).map_err(|error| unreachable(&error))?;
        let (connection, _) = self.connection(member, None).await?;
        let call = stream::Call::new(MessageKind::Proof, payload);
        let reply = stream::call(&connection, call, NoBody, |_| {}).await.map_err(|error| unreachable(&error))?;
        Ok((reply.head.first() == Some(&1)).then_some(reply.body))
    }

    /// Asks for the proof of what a partner has signed, and keeps it if it holds; why there is none, in words.
    pub(super) async fn fetch_proof(&self, member: &NodeId, subject: Hash) -> Result<(), String> {
        let call = ProofCall { what: Asked::Entry, subject, old: 0, new: 0 };
        let own = *member == self.node.config.member;
        let body = if own {
            let node = Arc::clone(&self.node);
            let proving = tokio::task::spawn_blocking(move || node.prove(&call).ok().flatten());
            proving.await.map_err(|error| error.to_string())?
        } else {
            let asking = tokio::time::timeout(WITHIN, self.ask_proof(member, &call));
            let asked = asking.await.map_err(|_| format!("{member} did not answer in time"))?;
            asked.map_err(|error| format!("{member} gave no proof: {error}"))?
        };
        let body =
            body.ok_or_else(|| format!("{member} gave no proof: its audit log may not be closed over that yet"))?;
        let text = String::from_utf8(body).map_err(|_| "what came is no text".to_owned())?;
        let (node, of) = (Arc::clone(&self.node), member.clone());
        let taking = tokio::task::spawn_blocking(move || node.take_proof(&of, &subject, &text));
        let taken = taking.await.map_err(|error| error.to_string())?;
        taken.map_err(|error| {
            tracing::warn!(partner = %member, %subject, %error, "a proof does not hold");
            format!("the proof that {member} gave does not hold: {error}")
        })
    }

    /// The proof that is kept of what a partner signed, for a person of this node; asked for now if there is none, or if more could have
    /// cosigned it.
    pub(super) async fn best_proof(&self, member: &str, subject: &str) -> Reply {
        let reply = |exit, result, error| Reply { exit, result, warnings: Vec::new(), error };
        let (Ok(member), Ok(subject)) = (member.parse::<NodeId>(), subject.parse::<Hash>()) else {
            let message = "no member, or no hash in hexadecimal".to_owned();
            let fault =
                Fault { code: "CALL".into(), message, next: Some("see docs/wire.md".into()), ..Fault::default() };
            return reply(2, None, Some(fault));
        };
        let before = self.kept_proof(&member, subject).await;
        let is_enough = before.as_ref().is_some_and(|(_, count)| self.node.is_witnessed(&member, *count));
        let (found, why) = if is_enough {
            (before, None)
        } else {
            let fetched = self.fetch_proof(&member, subject).await;
            (self.kept_proof(&member, subject).await, fetched.err())
        };
        let why = why.filter(|_| found.is_none());
        reply(0, Some(json!({ "proof": found.map(|(text, _)| text), "why": why })), None)
    }

    async fn kept_proof(&self, member: &NodeId, subject: Hash) -> Option<(String, usize)> {
        let (node, of) = (Arc::clone(&self.node), member.clone());
        let kept = tokio::task::spawn_blocking(move || node.kept_proof(&of, &subject)).await.ok()?;
        kept.inspect_err(|error| tracing::error!(%error, "a proof cannot be read")).ok().flatten()
    }

    /// Asks for proofs once they can be had, for as long as the node runs.
    pub(super) async fn keep_proving(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let node = Arc::clone(&self.node);
            // A panic in it is counted and logged where all are.
            let _ = tokio::task::spawn_blocking(move || node.miss_proofs()).await;
            let mut asking = tokio::task::JoinSet::new();
            for (member, subjects) in self.node.due_proofs() {
                let partners = Arc::clone(&self);
                asking.spawn(async move {
                    for subject in subjects {
                        let watch = Stopwatch::start();
                        if let Err(why) = partners.fetch_proof(&member, subject).await {
                            tracing::debug!(partner = %member, %subject, why, "no proof yet");
                        }
                        // Who takes its time is asked for the rest in a later round.
                        if watch.ms() > SLOW_MS {
                            break;
                        }
                    }
                });
            }
            // Whoever stalls keeps nobody waiting: what is left is asked for again.
            let _ = tokio::time::timeout(ROUND_WITHIN, async { while asking.join_next().await.is_some() {} }).await;
        }
    }
}

/// What a member is told when it tells which checkpoints it holds; nothing for bytes that say nothing of the kind.
pub(super) fn told(node: &Node, by: &NodeId, payload: &[u8]) -> Option<Vec<u8>> {
    let told: Told = decode(payload, Cap::Head).ok()?;
    if let Err(error) = node.compare_logs(by, &told) {
        tracing::error!(%error, peer = %by, "what it holds of logs cannot be compared");
    }
    encode(&node.logs_told()).ok()
}
