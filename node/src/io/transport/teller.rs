//! Telling members of withdrawn editions, until all of them know.

use std::{collections::HashMap, sync::Arc, time::Duration};

use accord_edge::{
    clock::Stopwatch,
    stream::{self, NoBody},
};
use accord_protocol::{codec::encode, id::NodeId, message::MessageKind, signed::Document};

use super::partners::Partners;

/// Longest time for telling a member something.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody is to be told something.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How long a member that does not answer is left alone, at most.
const TELL_AGAIN_WITHIN: Duration = Duration::from_mins(10);

impl Partners {
    /// Tells a member something signed; whether it was taken.
    async fn tell(&self, member: &NodeId, document: &Document) -> bool {
        let telling = async {
            let (connection, _) = self.connection(member, None).await.ok()?;
            let payload = encode(document).ok()?;
            stream::call(&connection, stream::Call::new(MessageKind::Notice, payload), NoBody, |_| {}).await.ok()
        };
        let reply = tokio::time::timeout(TOLD_WITHIN, telling).await.ok().flatten();
        reply.is_some_and(|reply| reply.head.first() == Some(&1))
    }

    /// Tells members of withdrawn editions until all of them know, for as long as the node runs.
    pub(super) async fn keep_telling(&self) {
        // Members that do not answer are asked again after a while that doubles.
        let mut waits: HashMap<NodeId, (Duration, Stopwatch)> = HashMap::new();
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            let node = Arc::clone(&self.node);
            let untold = match tokio::task::spawn_blocking(move || node.untold()).await {
                Ok(Ok(untold)) => untold,
                Ok(Err(error)) => {
                    tracing::error!(%error, "withdrawals that are still to be told cannot be read");
                    continue;
                }
                Err(_) => continue,
            };
            for (number, member, document) in untold {
                if self.node.stands_still(&member).is_some() {
                    continue;
                }
                if waits.get(&member).is_some_and(|(wait, since)| u128::from(since.ms()) < wait.as_millis()) {
                    continue;
                }
                if self.tell(&member, &document).await {
                    waits.remove(&member);
                    let (node, to) = (Arc::clone(&self.node), member.clone());
                    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || node.was_told(number, &to)).await {
                        tracing::error!(%error, partner = %member, "that a member was told cannot be kept");
                    }
                } else {
                    let before = waits.get(&member).map_or(TELL_EVERY, |(wait, _)| *wait);
                    waits.insert(member, ((before * 2).min(TELL_AGAIN_WITHIN), Stopwatch::start()));
                }
            }
        }
    }
}
