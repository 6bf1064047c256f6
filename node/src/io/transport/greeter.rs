//! Greeting every member, again and again, and fetching the trust documents that they hold and this node lacks (`wire.md` D9, D19).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use accord_edge::stream::{self, NoBody};
use accord_protocol::{
    greeting::{Mark, mark},
    id::{Hash, NodeId},
    message::{Fetch, MessageKind},
    signed::{Document, Label},
};
use quinn::Connection;

use super::partners::Partners;

/// How often everybody is greeted.
const GREET_EVERY: Duration = Duration::from_secs(30);
/// Longest greeting of one member, with all that is fetched after it.
const WITHIN: Duration = Duration::from_secs(10);
/// Waits between tries to greet one member, until the next round.
const AGAIN_AFTER_MS: [u64; 5] = [200, 1_000, 2_000, 4_000, 8_000];
/// Documents fetched after one greeting, at most, and their bytes.
const FETCHED_MAX: usize = 1_024;
const FETCHED_BYTES_MAX: usize = 8 << 20;

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
            Ok(lacking) => self.fetch_lacking(member, &connection, &lacking).await?,
            Err(error) => tracing::debug!(%error, "a greeting is not believed"),
        }
        Some(())
    }

    // A mark is a hint: what counts is what the documents say, and those that lead there.
    async fn fetch_lacking(&self, member: &NodeId, connection: &Connection, lacking: &[Mark]) -> Option<()> {
        let mut fetched: Vec<Document> = Vec::new();
        let mut bytes = 0;
        let mut seen: BTreeSet<Hash> = self.node.standing().held.documents.iter().map(Document::hash).collect();
        for mark in lacking {
            for wanted in self.wanted(mark) {
                let mut next = Some(wanted);
                while let Some(fetch) = next.take() {
                    if fetched.len() >= FETCHED_MAX || bytes > FETCHED_BYTES_MAX {
                        break;
                    }
                    // A line that broke says nothing about the hint.
                    let Some(document) = self.fetch_over(connection, &fetch).await.ok()? else { break };
                    next = before(&document).filter(|before| !seen.contains(&before.hash));
                    bytes += document.payload().len();
                    if !seen.insert(document.hash()) {
                        break;
                    }
                    fetched.push(document);
                }
            }
        }
        let node = Arc::clone(&self.node);
        let documents = fetched;
        let taken = tokio::task::spawn_blocking(move || node.take_documents(&documents, &[])).await;
        if let Ok(Err(error)) = &taken {
            tracing::warn!(peer = %member, error = accord_protocol::text::with_causes(error), "documents were not taken");
        }
        let standing = self.node.standing();
        let holds = |mark: &&Mark| standing.held.documents.iter().any(|document| document.hash() == mark.hash);
        for mark in lacking.iter().filter(|mark| !holds(mark)) {
            self.node.hint_failed(member, mark);
        }
        Some(())
    }

    // Root documents name no predecessor: those in between are fetched by their numbers.
    fn wanted(&self, mark: &Mark) -> Vec<Fetch> {
        let by_hash = Fetch { label: mark.label, node_id: mark.of.clone(), number: 0, hash: mark.hash };
        if mark.label != Label::Root {
            return vec![by_hash];
        }
        let mine = self.node.standing().trust().root().root_version;
        let in_between = (mine + 1..mark.version).take(FETCHED_MAX);
        let numbered = in_between.map(|number| Fetch { label: Label::Root, node_id: None, number, hash: Hash::ZERO });
        numbered.chain([by_hash]).collect()
    }
}

fn before(document: &Document) -> Option<Fetch> {
    let (mark, before) = mark(document)?;
    (before != Hash::ZERO).then_some(Fetch { label: mark.label, node_id: mark.of, number: 0, hash: before })
}
