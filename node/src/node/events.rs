//! What happens to requests, told to whoever watches.

use accord_edge::clock;
use accord_protocol::{
    id::{NodeId, RequestId},
    key::PublicKey,
    member_keys::KeyRole,
    message::WatchEvent,
    time::UnixMs,
};

use super::Node;

/// Something that happened to a request.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whether it waits here; else it is an own one that waits elsewhere.
    pub is_here: bool,
    /// The request.
    pub request_id: RequestId,
    /// The other member.
    pub member: NodeId,
    /// The officer who asks.
    pub officer: PublicKey,
    /// How it stands now.
    pub state: &'static str,
    /// When.
    pub at: UnixMs,
}

impl Event {
    /// `inbox` or `request`.
    pub const fn what(&self) -> &'static str {
        if self.is_here { "inbox" } else { "request" }
    }

    /// Whether a person may hear of it: officers of their own requests, everybody else of what waits here.
    pub fn concerns(&self, role: KeyRole, key: &PublicKey) -> bool {
        if role == KeyRole::Officer { !self.is_here && self.officer == *key } else { self.is_here }
    }

    /// As it is told.
    pub fn told(&self) -> WatchEvent {
        WatchEvent {
            what: self.what().to_owned(),
            request_id: self.request_id.to_string(),
            member: self.member.to_string(),
            state: self.state.to_owned(),
            at: self.at.to_string(),
        }
    }
}

impl Node {
    pub(super) fn tell(
        &self,
        is_here: bool,
        (request_id, member, officer): (RequestId, &NodeId, PublicKey),
        state: &'static str,
    ) {
        let event = Event { is_here, request_id, member: member.clone(), officer, state, at: clock::now() };
        // Nobody may be watching.
        let _ = self.events.send(event);
    }
}
