//! The policy in force, as its administrators signed it, and what it says: denied unless permitted.

use accord_policy::{Ask, Decision, DenyReason, Policy, Texts, World};
use accord_protocol::{
    catalogue::{Catalogue, Table},
    id::{Hash, NodeId},
    policy::PolicyDocument,
    time::UnixMs,
    trust::Trust,
};

/// Who may receive what from this node.
#[derive(Debug)]
pub struct Access {
    policy: Option<Policy>,
    version: u64,
    hash: Hash,
    fault: Option<String>,
}

/// Reads a policy that is proposed, for a roster and a catalogue: as a whole or not at all.
///
/// # Errors
/// The first rule that is broken, with its place.
pub fn read(document: &PolicyDocument, trust: &Trust, strict: bool) -> Result<Policy, accord_policy::Refused> {
    let members = trust.roster().member_ids();
    let texts = Texts { rows: document.rows(), cedar: document.cedar() };
    Policy::new(texts, World { members: &members, catalogue: trust.catalogue(), strict })
}

impl Access {
    /// The policy that the trust documents hold. Without one, or with one that cannot be read, nobody receives anything.
    pub fn of(trust: &Trust) -> Self {
        let Some(document) = trust.policy() else {
            return Self { policy: None, version: 0, hash: Hash::ZERO, fault: None };
        };
        let (version, hash) = (document.policy_version, document.hash());
        match read(document, trust, false) {
            Ok(policy) => Self { policy: Some(policy), version, hash, fault: None },
            Err(refused) => Self { policy: None, version, hash, fault: Some(refused.to_string()) },
        }
    }

    /// The version in force; 0 if there is none.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the policy in force; zero if there is none.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Why the policy in force cannot be read: nobody receives anything then, and it is an alarm.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.policy.as_ref().map_or(0, Policy::rows)
    }

    /// Whether a member may receive anything at all.
    pub fn anything(&self, member: &NodeId, catalogue: &Catalogue, now: UnixMs) -> bool {
        catalogue.tables().iter().any(|table| self.discoverable(member, table, now) == Ok(true))
    }

    /// Whether a member may receive anything of a table, at whatever level and for whatever purpose: then its grid is no secret.
    ///
    /// # Errors
    /// A policy that cannot be evaluated.
    pub fn discoverable(&self, member: &NodeId, table: &Table, now: UnixMs) -> Result<bool, String> {
        self.policy.as_ref().map_or(Ok(false), |policy| policy.discoverable(member, table, now))
    }

    /// Decides one request.
    pub fn decide(&self, ask: Ask<'_>) -> Decision {
        self.policy.as_ref().map_or(Decision::Deny(DenyReason::NotPermitted), |policy| policy.decide(ask))
    }
}
