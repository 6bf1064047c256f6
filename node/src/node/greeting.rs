//! Greetings: what this node says of itself, and what it makes of what others say.

use accord_edge::clock;
use accord_protocol::{
    PROTOCOL,
    codec::{Bounded, Cap, decode, encode},
    greeting::{Hello, Mark, lacking, marks},
    id::NodeId,
    message::SignedBytes,
    signed::{Label, Preamble, verify_message},
};

use super::Node;
use crate::{domain::freshness::Greeted, io::store::Batch};

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
        let roster = standing.trust().roster();
        let hello = Hello {
            preamble: Preamble,
            federation: *standing.trust().federation(),
            node_id: self.config.member.clone(),
            epoch: roster.epoch,
            roster_version: roster.roster_version,
            roster_hash: roster.hash(),
            held: Bounded::new(marks(&standing.held.documents)).unwrap_or_default(),
            min_protocol: PROTOCOL,
            max_protocol: PROTOCOL,
            now: clock::now(),
        };
        let payload = encode(&hello).unwrap_or_default();
        let signature = self.voice().sign.sign(Label::Hello, standing.trust().federation(), &payload);
        encode(&SignedBytes { payload: Bounded::new(payload).unwrap_or_default(), signature }).unwrap_or_default()
    }

    /// Believes a member's greeting, keeps that it came, and says what it holds that is lacking here. Blocks on the store.
    pub(crate) fn hear(&self, from: &NodeId, payload: &[u8]) -> Result<Vec<Mark>, NotGreeted> {
        let not = |why: String| NotGreeted::NotTheirs(from.clone(), why);
        let standing = self.standing();
        let trust = standing.trust();
        let signed: SignedBytes = decode(payload, Cap::Head).map_err(|error| not(error.to_string()))?;
        let now = clock::now();
        let hello = verify_message::<Hello>(
            trust.federation(),
            &trust.greeting_keys(from, now),
            signed.payload.as_slice(),
            &signed.signature,
        )
        .map_err(|error| not(error.to_string()))?;
        if hello.node_id != *from || hello.federation != *trust.federation() {
            return Err(not("it is in another name".into()));
        }
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
        let mut lacking = lacking(&marks(&standing.held.documents), hello.held.as_slice());
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
