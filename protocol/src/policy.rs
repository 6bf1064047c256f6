//! A member's policy as its administrators sign it: the texts that people write, a version, and the commitment in every answer.
//!
//! What the texts mean is not known here: whoever decides reads them (`accord-policy`).

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap},
    id::{Hash, NodeId},
    signed::{FederationId, Label, Preamble, Signable},
    time::UnixMs,
};

/// Bytes of either text, at most.
pub const POLICY_TEXT_MAX: usize = 64 * 1024;

/// Who may receive what from one member. Local: it never leaves the member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicyDocument {
    /// Protocol and kind.
    pub preamble: Preamble<6>,
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub node_id: NodeId,
    /// Never goes back.
    pub policy_version: u64,
    /// SHA-256 of the policy before; zero for the first.
    pub prev_hash: Hash,
    /// When it was made.
    pub issued_at: UnixMs,
    /// Rows (`grants.toml`), UTF-8.
    pub rows: Bounded<u8, POLICY_TEXT_MAX>,
    /// Hand-written Cedar beside them (`policy.cedar`), UTF-8; empty if there is none.
    pub cedar: Bounded<u8, POLICY_TEXT_MAX>,
}

impl PolicyDocument {
    /// The rows.
    pub fn rows(&self) -> &str {
        std::str::from_utf8(self.rows.as_slice()).unwrap_or_default()
    }

    /// The hand-written part.
    pub fn cedar(&self) -> &str {
        std::str::from_utf8(self.cedar.as_slice()).unwrap_or_default()
    }

    /// Whether nothing but remarks stands in it, so that nobody receives anything.
    pub fn is_closed(&self) -> bool {
        let remarks =
            |text: &str, mark: &str| text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with(mark));
        remarks(self.rows(), "#") && remarks(self.cedar(), "//")
    }
}

impl Signable for PolicyDocument {
    const LABEL: Label = Label::Policy;
    const CAP: Cap = Cap::Document;
    fn check(&self) -> Result<(), &'static str> {
        if self.policy_version == 0 {
            return Err("versions start at 1");
        }
        if std::str::from_utf8(self.rows.as_slice()).is_err() || std::str::from_utf8(self.cedar.as_slice()).is_err() {
            return Err("a text is not UTF-8");
        }
        Ok(())
    }
}

/// `policy_commit = SHA-256("accord/1 policy" || 0 || fed_id || node_id || salt || hash)`, where `hash` is SHA-256 of the signed policy:
/// who receives it learns nothing of the policy, and the provider can show later which one it was.
pub fn policy_commit(federation: &FederationId, node: &NodeId, salt: &[u8; 32], hash: &Hash) -> Hash {
    let mut bytes = b"accord/1 policy\0".to_vec();
    bytes.extend(federation.0);
    bytes.extend(node.as_str().as_bytes());
    bytes.extend(salt);
    bytes.extend(hash.0);
    Hash::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rows: &str, cedar: &str) -> PolicyDocument {
        PolicyDocument {
            preamble: Preamble,
            federation: Hash::ZERO,
            node_id: "ES-AGENCY".parse().unwrap(),
            policy_version: 1,
            prev_hash: Hash::ZERO,
            issued_at: UnixMs(0),
            rows: Bounded::new(rows.as_bytes().to_vec()).unwrap(),
            cedar: Bounded::new(cedar.as_bytes().to_vec()).unwrap(),
        }
    }

    #[test]
    fn a_policy_of_remarks_is_closed() {
        for (rows, cedar, closed) in [
            ("", "", true),
            ("# nobody\n\n  # receives\n", "// anything\n", true),
            ("[[grant]]", "", false),
            ("", "permit (principal, action, resource);", false),
            // What looks like a remark of the other language is none.
            ("// nobody", "", false),
            ("", "# nobody", false),
            ("# a\n[[grant]] # b", "", false),
            ("", "/* nobody */", false),
        ] {
            assert_eq!(policy(rows, cedar).is_closed(), closed, "{rows:?} {cedar:?}");
        }
    }

    #[test]
    fn a_policy_keeps_its_rules() {
        assert_eq!(policy("", "").check(), Ok(()));
        assert!(PolicyDocument { policy_version: 0, ..policy("", "") }.check().is_err());
        assert!(PolicyDocument { rows: Bounded::new(vec![0xff]).unwrap(), ..policy("", "") }.check().is_err());
        assert!(PolicyDocument { cedar: Bounded::new(vec![0xc3]).unwrap(), ..policy("", "") }.check().is_err());
    }

    #[test]
    fn a_commitment_differs_with_each_part() {
        let (node, other): (NodeId, NodeId) = ("ES-AGENCY".parse().unwrap(), "IT-AGENCY".parse().unwrap());
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let commits = [
            policy_commit(&a, &node, &[1; 32], &b),
            policy_commit(&b, &node, &[1; 32], &b),
            policy_commit(&a, &other, &[1; 32], &b),
            policy_commit(&a, &node, &[2; 32], &b),
            policy_commit(&a, &node, &[1; 32], &a),
        ];
        assert_eq!(commits.iter().collect::<std::collections::BTreeSet<_>>().len(), commits.len());
    }
}
