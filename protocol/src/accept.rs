//! The acceptance of members' keys by an administrator of this node's own member, who has compared fingerprints (`trust.md` 2.6, K19).

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap},
    id::{Hash, NodeId},
    member_keys::MemberKeys,
    signed::{Document, FederationId, Label, NotVerified, Preamble, Signable, Verified},
    time::UnixMs,
};

/// Keys of one member that were compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Compared {
    /// The member.
    pub member: NodeId,
    /// SHA-256 of its keys document.
    pub keys: Hash,
}

/// What an administrator accepts. Local: it never leaves the member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Accept {
    /// Protocol and kind.
    pub preamble: Preamble<9>,
    /// The federation.
    pub federation: FederationId,
    /// The member whose administrator accepts.
    pub node_id: NodeId,
    /// When.
    pub issued_at: UnixMs,
    /// What, sorted.
    pub compared: Bounded<Compared, 64>,
}

impl Signable for Accept {
    const LABEL: Label = Label::Accept;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        let all = self.compared.as_slice();
        if all.is_empty() || !all.windows(2).all(|pair| matches!(pair, [a, b] if a.member < b.member)) {
            return Err("nothing is accepted, or it is not sorted by member");
        }
        Ok(())
    }
}

/// Believes an acceptance: one administrator of that member has signed it.
pub fn verify(
    document: &Document,
    federation: &FederationId,
    keys: &MemberKeys,
) -> Result<Verified<Accept>, NotVerified> {
    let accept: Verified<Accept> = document.verify(federation, keys.admin_keys.as_slice(), 1, &[])?;
    if accept.federation != *federation || accept.node_id != keys.node_id {
        return Err(NotVerified::Rule("the acceptance is of another member or federation"));
    }
    Ok(accept)
}
