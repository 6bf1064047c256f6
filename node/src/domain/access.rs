//! The policy in force, as its administrators signed it, and what it says: denied unless permitted.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use accord_policy::{Ask, Decision, DenyReason, Policy, Reach, Texts, World, reach};
use accord_protocol::{
    catalogue::{Catalogue, Table},
    id::{Hash, NodeId},
    policy::PolicyDocument,
    signed::Verified,
    time::UnixMs,
    trust::Trust,
};

/// Who may receive what from this node.
#[derive(Debug)]
pub struct Access {
    policy: Option<Policy>,
    version: u64,
    fault: Option<String>,
    basis: Basis,
    // Whoever was once permitted anything by it.
    known: RwLock<BTreeSet<NodeId>>,
}

// What a policy is read from and for. While all of it is the same, so is what it says.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    // Zero if there is none.
    policy: Hash,
    members: BTreeSet<NodeId>,
    catalogue: Hash,
}

impl Basis {
    fn of(trust: &Trust) -> Self {
        Self {
            policy: trust.policy().map_or(Hash::ZERO, Verified::hash),
            members: trust.roster().member_ids(),
            catalogue: trust.roster().catalogue_hash,
        }
    }
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
        let basis = Basis::of(trust);
        let Some(document) = trust.policy() else { return Self::new(None, 0, None, basis) };
        let version = document.policy_version;
        match read(document, trust, false) {
            Ok(policy) => Self::new(Some(policy), version, None, basis),
            Err(refused) => Self::new(None, version, Some(refused.to_string()), basis),
        }
    }

    const fn new(policy: Option<Policy>, version: u64, fault: Option<String>, basis: Basis) -> Self {
        Self { policy, version, fault, basis, known: RwLock::new(BTreeSet::new()) }
    }

    /// The same with other trust documents. To read a policy takes up to half a second, and most documents change nothing that it
    /// rests on: this one goes on then.
    #[must_use]
    pub fn under(self: &Arc<Self>, trust: &Trust) -> Arc<Self> {
        if self.basis == Basis::of(trust) { Arc::clone(self) } else { Arc::new(Self::of(trust)) }
    }

    /// The version in force; 0 if there is none.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the policy in force; zero if there is none.
    pub const fn hash(&self) -> Hash {
        self.basis.policy
    }

    /// Why the policy in force cannot be read: nobody receives anything then, and it is an alarm.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// What the policy in force names and the roster and catalogue do not have: it permits nothing of that.
    pub fn unknown(&self) -> Vec<&str> {
        self.policy.iter().flat_map(Policy::unknown).map(String::as_str).collect()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.policy.as_ref().map_or(0, Policy::rows)
    }

    /// Whether a member may receive anything at all.
    pub fn anything(&self, member: &NodeId, catalogue: &Catalogue, now: UnixMs) -> bool {
        catalogue.tables().iter().any(|table| self.discoverable(member, table, now) == Ok(true))
    }

    /// Whether an edition may be read from the disk to decide about a member's request: for nobody whom this policy has never permitted
    /// anything. What the member receives is decided after that.
    pub fn may_load(&self, member: &NodeId, catalogue: &Catalogue, now: UnixMs) -> bool {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(member) {
            return true;
        }
        let may = self.anything(member, catalogue, now);
        if may {
            self.known.write().unwrap_or_else(PoisonError::into_inner).insert(member.clone());
        }
        may
    }

    /// Whether a member may receive anything of a table, at whatever level and for whatever purpose: then its grid is no secret.
    ///
    /// # Errors
    /// A policy that cannot be evaluated.
    pub fn discoverable(&self, member: &NodeId, table: &Table, now: UnixMs) -> Result<bool, String> {
        self.policy.as_ref().map_or(Ok(false), |policy| policy.discoverable(member, table, now))
    }

    /// What a member may receive of a table; nothing if it may not be discovered.
    ///
    /// # Errors
    /// A policy that cannot be evaluated.
    pub fn reach(&self, member: &NodeId, table: &Table, now: UnixMs) -> Result<Vec<Reach>, String> {
        self.policy.as_ref().map_or_else(|| Ok(Vec::new()), |policy| reach(policy, member, table, now))
    }

    /// Decides one request.
    pub fn decide(&self, ask: Ask<'_>) -> Decision {
        self.policy.as_ref().map_or(Decision::Deny(DenyReason::NotPermitted), |policy| policy.decide(ask))
    }
}
