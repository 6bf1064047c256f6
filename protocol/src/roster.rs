//! The roster: who is a member, and which keys document and catalogue are meant.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap, Text},
    id::{Hash, NodeId},
    signed::{FederationId, Label, Preamble, Signable},
    time::UnixMs,
};

crate::codes! {
    /// Whether a member takes part.
    pub enum MemberState: u8 {
        /// Takes part.
        Active = 1 "active",
        /// Is served nothing; its documents are accepted.
        Suspended = 2 "suspended",
        /// Is out; the entry stays, so that evidence of old years verifies.
        Removed = 3 "removed",
    }
}

crate::codes! {
    /// What a member does in the federation.
    pub enum MemberRole: u8 {
        /// Answers.
        Provider = 1 "provider",
        /// Asks.
        Requester = 2 "requester",
        /// Cosigns checkpoints.
        Witness = 3 "witness",
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Its name.
    pub node_id: NodeId,
    /// What people call it.
    pub name: Text<64>,
    /// Whether it takes part.
    pub state: MemberState,
    /// What it does, sorted.
    pub roles: Bounded<MemberRole, 3>,
    /// Version of the member-keys document that the root holders saw.
    pub anchor_version: u64,
    /// SHA-256 of that document.
    pub anchor_hash: Hash,
    /// From when it is a member.
    pub valid_from: UnixMs,
    /// From when on no longer.
    pub valid_to: UnixMs,
}

/// The list of members.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Roster {
    /// Protocol and kind.
    pub preamble: Preamble<2>,
    /// The federation.
    pub federation: FederationId,
    /// Version of the root document whose keys sign.
    pub root_version: u64,
    /// Epoch of that root document.
    pub epoch: u32,
    /// Never goes back.
    pub roster_version: u64,
    /// SHA-256 of the roster before; zero for the first.
    pub prev_hash: Hash,
    /// When it was made.
    pub issued_at: UnixMs,
    /// From when on no data is exchanged under it.
    pub expires_at: UnixMs,
    /// SHA-256 of the signed catalogue in force.
    pub catalogue_hash: Hash,
    /// Lowest protocol version that members speak.
    pub min_protocol: u16,
    /// Highest.
    pub max_protocol: u16,
    /// The members, sorted by name, each once.
    pub members: Bounded<Member, 64>,
}

impl Roster {
    /// Who is on it, whatever the state.
    pub fn member_ids(&self) -> BTreeSet<NodeId> {
        self.members.iter().map(|member| member.node_id.clone()).collect()
    }
}

impl Signable for Roster {
    const LABEL: Label = Label::Roster;
    const CAP: Cap = Cap::Document;
    fn check(&self) -> Result<(), &'static str> {
        let members = self.members.as_slice();
        if members.is_empty() {
            return Err("a roster without members");
        }
        if !members.windows(2).all(|pair| matches!(pair, [a, b] if a.node_id < b.node_id)) {
            return Err("members are not sorted, or one stands twice");
        }
        if members.iter().any(|member| member.valid_from >= member.valid_to || !member.roles.is_sorted_unique()) {
            return Err("a member's validity or roles are not in order");
        }
        if self.roster_version == 0 || self.epoch == 0 || self.root_version == 0 {
            return Err("versions start at 1");
        }
        if self.issued_at >= self.expires_at {
            return Err("expires before it is issued");
        }
        if self.min_protocol > self.max_protocol {
            return Err("the lowest protocol version is above the highest");
        }
        Ok(())
    }
}
