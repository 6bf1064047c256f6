//! Greetings: what this node says of itself, and what it makes of what others say.

use accord_edge::clock;
use accord_protocol::{
    greeting::{Mark, lacking, marks},
    id::NodeId,
};

use super::Node;
use crate::{
    domain::{freshness::Greeted, greeting},
    io::store::Batch,
};

/// Why a greeting is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotGreeted {
    /// It is not a message, or not signed by the member.
    #[error("the greeting is not one of {0}: {1}")]
    NotTheirs(NodeId, String),
    /// That it came cannot be kept.
    #[error(transparent)]
    Store(#[from] crate::io::store::StoreError),
}

impl Node {
    /// What this node says to a member: head payload of a greeting, or of the reply to one.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let standing = self.standing();
        let voice = self.voice();
        greeting::say(standing.trust(), &self.config.member, &standing.held.documents, &voice.sign, clock::now())
    }

    /// Believes a member's greeting, keeps that it came, and says what it holds that is lacking here. Blocks on the store.
    pub(crate) fn hear(&self, from: &NodeId, payload: &[u8]) -> Result<Vec<Mark>, NotGreeted> {
        let standing = self.standing();
        let trust = standing.trust();
        let now = clock::now();
        let hello =
            greeting::believe(trust, from, payload, now).map_err(|why| NotGreeted::NotTheirs(from.clone(), why))?;
        let greeted = Greeted { at: now, epoch: hello.epoch, version: hello.roster_version, hash: hello.roster_hash };
        let worth_keeping = self.freshness().note(from, greeted);
        if worth_keeping {
            let mut batch = Batch::default();
            batch.put_greeted(from, &greeted);
            self.store.commit(batch)?;
        }
        self.contacts().heard(&self.config.member, &hello, now);
        self.mark_members(trust)?;
        self.choose_voice();
        let since_start = self.since_start.ms();
        let mut lacking = lacking(&marks(&greeting::complete(trust, &standing.held.documents)), hello.held.as_slice());
        lacking.retain(|mark| self.hints().follows(from, &mark.hash, since_start));
        Ok(lacking)
    }

    /// Notes hints of a member that led to nothing.
    pub(crate) fn hint_failed(&self, from: &NodeId, mark: &Mark) {
        if self.hints().failed(from, &mark.hash, self.since_start.ms()) {
            let (label, version) = (mark.label, mark.version);
            tracing::warn!(peer = %from, %label, version, hash = %mark.hash, "names a document that it does not give or that does not hold");
        }
    }

    /// Whether this node knows what the others know; if not, no data is exchanged.
    pub fn is_fresh(&self) -> bool {
        self.freshness().is_fresh(self.standing().trust(), &self.config.member, clock::now())
    }
}
