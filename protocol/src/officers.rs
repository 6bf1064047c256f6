//! Officers and staff: the people whom a member's administrators vouch for.

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap},
    id::{Hash, NodeId, OfficerId},
    key::PublicKey,
    member_keys::{KeyRole, MemberKeys, VALIDITY_MAX_MS},
    signed::{Document, FederationId, Label, NotVerified, Preamble, Signable, Verified},
    time::UnixMs,
};

crate::codes! {
    /// Why somebody asks.
    pub enum Purpose: u16 {
        /// Strategic analysis.
        StrategicAnalysis = 1 "strategic-analysis",
        /// Early warning.
        EarlyWarning = 2 "early-warning",
        /// Operational support.
        OperationalSupport = 3 "operational-support",
        /// Exchange of methods.
        MethodExchange = 4 "method-exchange",
        /// A test.
        Test = 5 "test",
    }
}

/// What vouches for one officer; only its hash is listed, and it travels only with that officer's own requests.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Card {
    /// A pseudonym.
    pub officer_id: OfficerId,
    /// The officer's key.
    pub key: PublicKey,
    /// What the officer may ask for, sorted.
    pub purposes: Bounded<Purpose, 16>,
    /// From when.
    pub valid_from: UnixMs,
    /// From when on no longer.
    pub valid_to: UnixMs,
}

/// The officers of one member, as hashes of their cards.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Officers {
    /// Protocol and kind.
    pub preamble: Preamble<4>,
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub node_id: NodeId,
    /// Never goes back.
    pub list_version: u64,
    /// SHA-256 of the list before; zero for the first.
    pub prev_hash: Hash,
    /// When it was made.
    pub issued_at: UnixMs,
    /// At most 400 days later.
    pub expires_at: UnixMs,
    /// SHA-256 of each card, sorted.
    pub cards: Bounded<Hash, 1024>,
}

fn check_list(version: u64, issued_at: UnixMs, expires_at: UnixMs) -> Result<(), &'static str> {
    if version == 0 {
        return Err("versions start at 1");
    }
    if issued_at >= expires_at || expires_at.0 - issued_at.0 > VALIDITY_MAX_MS {
        return Err("validity is not between 0 and 400 days");
    }
    Ok(())
}

impl Signable for Officers {
    const LABEL: Label = Label::Officers;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        if !self.cards.is_sorted_unique() {
            return Err("cards are not sorted, or one stands twice");
        }
        check_list(self.list_version, self.issued_at, self.expires_at)
    }
}

/// One person of a node's staff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StaffMember {
    /// Operator, approver or auditor.
    pub role: KeyRole,
    /// The key.
    pub key: PublicKey,
    /// From when.
    pub valid_from: UnixMs,
    /// From when on no longer.
    pub valid_to: UnixMs,
}

/// Who may work at a node; never leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Staff {
    /// Protocol and kind.
    pub preamble: Preamble<5>,
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub node_id: NodeId,
    /// Never goes back.
    pub list_version: u64,
    /// SHA-256 of the list before; zero for the first.
    pub prev_hash: Hash,
    /// When it was made.
    pub issued_at: UnixMs,
    /// At most 400 days later.
    pub expires_at: UnixMs,
    /// The people.
    pub people: Bounded<StaffMember, 64>,
}

impl Signable for Staff {
    const LABEL: Label = Label::Staff;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        let mut keys: Vec<_> = self.people.iter().map(|person| person.key).collect();
        keys.sort();
        keys.dedup();
        if keys.len() != self.people.as_slice().len() {
            return Err("one key in two places");
        }
        let local = self.people.iter().all(|person| match person.role {
            KeyRole::Operator | KeyRole::Approver | KeyRole::Auditor => true,
            KeyRole::Root
            | KeyRole::Administrator
            | KeyRole::Tls
            | KeyRole::Sign
            | KeyRole::Log
            | KeyRole::Witness
            | KeyRole::Officer
            | KeyRole::Edition => false,
        });
        if !local {
            return Err("staff are operators, approvers and auditors");
        }
        check_list(self.list_version, self.issued_at, self.expires_at)
    }
}

/// Believes an officers list: as many administrators of that member as widen anything have signed it.
pub fn verify(
    document: &Document,
    federation: &FederationId,
    keys: &MemberKeys,
) -> Result<Verified<Officers>, NotVerified> {
    let list: Verified<Officers> =
        document.verify(federation, keys.admin_keys.as_slice(), usize::from(keys.admin_threshold), &[])?;
    if list.federation != *federation || list.node_id != keys.node_id {
        return Err(NotVerified::Rule("the officers list is of another member or federation"));
    }
    if list.list_version < keys.officers_version_min {
        return Err(NotVerified::Rule("the officers list is older than the member's keys allow"));
    }
    Ok(list)
}

/// Believes a staff list, by the same signatures as an officers list.
pub fn verify_staff(
    document: &Document,
    federation: &FederationId,
    keys: &MemberKeys,
) -> Result<Verified<Staff>, NotVerified> {
    let list: Verified<Staff> =
        document.verify(federation, keys.admin_keys.as_slice(), usize::from(keys.admin_threshold), &[])?;
    if list.federation != *federation || list.node_id != keys.node_id {
        return Err(NotVerified::Rule("the staff list is of another member or federation"));
    }
    Ok(list)
}
