//! Greeting every member, again and again, and fetching the trust documents that they hold and this node lacks (`wire.md` D9, D19).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use accord_edge::stream::{self, NoBody};
use accord_protocol::{greeting::Mark, id::NodeId, message::MessageKind};
use quinn::Connection;

use super::partners::{AskError, Partners};
use crate::{
    domain::{
        catching_up::{CatchingUp, Got},
        greeting,
    },
    node::Node,
};

/// How often everybody is greeted.
const GREET_EVERY: Duration = Duration::from_secs(30);
/// Longest greeting of one member, with all that is fetched after it.
const WITHIN: Duration = Duration::from_secs(10);
/// Waits between tries to greet one member, until the next round.
const AGAIN_AFTER_MS: [u64; 5] = [200, 1_000, 2_000, 4_000, 8_000];

/// How often it is looked whether a walk under way has ended.
const WALK_AGAIN: Duration = Duration::from_millis(50);

impl Partners {
    /// Greets all members for as long as the node runs: every 30 seconds, at once when something has changed here, and when somebody
    /// has said that it knows more.
    pub(super) async fn keep_greeting(self: &Arc<Self>) {
        let mut changes = self.node.trust_changes.subscribe();
        self.node.greeting_begins();
        loop {
            changes.mark_unchanged();
            self.drop_untrusted().await;
            let standing = self.node.standing();
            let mut greetings = tokio::task::JoinSet::new();
            for member in self.node.to_be_greeted(&standing) {
                let (partners, member) = (Arc::clone(self), member.clone());
                greetings.spawn(async move { partners.greet_until_heard(&member).await });
            }
            self.node.look_whether_learned();
            drop(standing);
            // Somebody who does not answer keeps nobody waiting: the next round begins when there is a reason, and takes the place of
            // what is left of this one.
            tokio::select! {
                () = tokio::time::sleep(GREET_EVERY) => {}
                _ = changes.changed() => {}
                () = self.node.lacking.notified() => {}
            }
            drop(greetings);
        }
    }

    // A connection may be cut just when there is something to say: whoever was suspended learns it by being cut off.
    async fn greet_until_heard(&self, member: &NodeId) {
        for wait_ms in AGAIN_AFTER_MS {
            let heard = tokio::time::timeout(WITHIN, self.greet(member)).await.is_ok_and(|heard| heard.is_some());
            self.node.was_greeted(member, heard);
            if heard {
                return;
            }
            tracing::debug!(peer = %member, "a greeting was not heard");
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    async fn greet(&self, member: &NodeId) -> Option<()> {
        let (connection, _) = self.connection(member, None).await.ok()?;
        let hello = self.node.hello();
        let reply =
            stream::call(&connection, stream::Call::new(MessageKind::Greet, hello), NoBody, |_| {}).await.ok()?;
        let (node, from) = (Arc::clone(&self.node), member.clone());
        let heard = tokio::task::spawn_blocking(move || node.hear(&from, &reply.head)).await.ok()?;
        match heard {
            Ok(lacking) if lacking.is_empty() => {}
            Ok(lacking) => self.fetch_lacking(member, &connection, lacking).await?,
            Err(error) => tracing::debug!(%error, "a greeting is not believed"),
        }
        // A connection begins with what both hold of each other's logs, and of all others'; where something is amiss, each greeting.
        // Who does not say what it holds is greeted all the same.
        let is_new = self.compared.is_new(member, connection.stable_id());
        if (is_new || self.node.is_to_be_compared(member)) && self.compare(member, &connection).await.is_some() {
            self.compared.note(member, connection.stable_id());
        }
        Some(())
    }

    // What is begun runs to its end, whatever greetings take the place of this one meanwhile: two nodes of which each lacks what the
    // other holds would else keep each other from ever getting it.
    async fn fetch_lacking(&self, member: &NodeId, connection: &Connection, lacking: Vec<Mark>) -> Option<()> {
        let Some(alone) = self.walks.begin(member) else {
            // What is lacking is being fetched already: it is heard out when that is there.
            while self.walks.is_under_way(member) {
                tokio::time::sleep(WALK_AGAIN).await;
            }
            return Some(());
        };
        let walk = walk(Arc::clone(&self.node), connection.clone(), member.clone(), lacking);
        let walking = tokio::spawn(async move {
            let _alone = alone;
            tokio::time::timeout(WITHIN, walk).await.ok().flatten()
        });
        walking.await.ok().flatten()
    }
}

// A mark is a hint: what counts is what the documents say, and those that lead there.
async fn walk(node: Arc<Node>, connection: Connection, member: NodeId, lacking: Vec<Mark>) -> Option<()> {
    let standing = node.standing();
    let root_version = standing.trust().root().root_version;
    let held = greeting::complete(standing.trust(), &standing.held.documents);
    let mut catching_up = CatchingUp::new(lacking, &held, root_version);
    drop(standing);
    let mut is_whole = Some(());
    while let Some(fetch) = catching_up.ask() {
        catching_up.take(match Partners::fetch_over(&connection, &fetch).await {
            Ok(Some(document)) => Got::Document(document),
            Ok(None) | Err(AskError::NotAReply(_)) => Got::Nothing,
            Err(AskError::Unreachable(_)) => {
                is_whole = None;
                Got::LineBroke
            }
        });
    }
    let taking = tokio::task::spawn_blocking(move || {
        if let Err(error) =
            node.take_documents(catching_up.documents(), &[], &crate::node::Actor::Member(member.clone()))
        {
            let error = accord_protocol::text::with_causes(&error);
            tracing::warn!(peer = %member, error, "documents were not taken");
        }
        let standing = node.standing();
        let held = greeting::complete(standing.trust(), &standing.held.documents);
        for mark in catching_up.led_to_nothing(&held) {
            node.hint_failed(&member, mark);
        }
    });
    taking.await.ok()?;
    is_whole
}

/// The connections over which logs were compared: the latest of each member.
#[derive(Debug, Default)]
pub(super) struct Compared(Mutex<BTreeMap<NodeId, usize>>);

impl Compared {
    // Whether it was not done over this connection.
    fn is_new(&self, member: &NodeId, connection: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(member) != Some(&connection)
    }

    fn note(&self, member: &NodeId, connection: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(member.clone(), connection);
    }
}

/// The members from whom something is being fetched: one walk each.
#[derive(Debug, Default)]
pub(super) struct Walks(Arc<Mutex<BTreeSet<NodeId>>>);

struct Walking(Arc<Mutex<BTreeSet<NodeId>>>, NodeId);

impl Walks {
    fn is_under_way(&self, member: &NodeId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(member)
    }

    fn begin(&self, member: &NodeId) -> Option<Walking> {
        let is_first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(member.clone());
        is_first.then(|| Walking(Arc::clone(&self.0), member.clone()))
    }
}

impl Drop for Walking {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
