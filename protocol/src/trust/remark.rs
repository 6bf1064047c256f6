//! What people need to know about a set of trust documents: what waits for them, what contradicts, what is not believed.

use super::TrustError;
use crate::{
    id::{Hash, NodeId},
    signed::{Label, NotVerified},
};

/// Why keys are not used before an administrator has compared them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyWaiting {
    /// The member is new.
    New,
    /// The root holders anchored the member anew: its own chain does not lead there.
    Anchored,
    /// The member's administrators changed the keys, but its signing key did not say so.
    NoContinuity,
}

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Keys that count only when an administrator here has accepted them (K19).
    Waiting {
        /// Whose.
        member: NodeId,
        /// Version of the keys document.
        version: u64,
        /// Its hash.
        hash: Hash,
        /// Why.
        why: WhyWaiting,
    },
    /// Two documents of one version that are both signed as they must be: evidence against the signers, and neither counts (K2).
    Equivocation {
        /// What they are.
        label: Label,
        /// Whose: a member, or `the federation`.
        of: String,
        /// The version of both.
        version: u64,
        /// Their hashes.
        hashes: [Hash; 2],
    },
    /// A document that another one refers to is not there.
    Missing {
        /// What it is.
        label: Label,
        /// Whose.
        of: String,
    },
    /// A document that follows nothing that is held: a version in between is missing.
    Gap {
        /// What it is.
        label: Label,
        /// Whose.
        of: String,
        /// Its version.
        version: u64,
    },
    /// One key in two places.
    SharedKey {
        /// The members.
        members: [NodeId; 2],
    },
    /// The root was rotated, and no roster under the new root is there yet.
    RootAhead {
        /// Version of the root document.
        root_version: u64,
    },
    /// A document whose signatures or rules do not hold.
    NotBelieved {
        /// What it is.
        label: Label,
        /// Whose it claims to be.
        of: String,
        /// Its hash.
        hash: Hash,
        /// Why.
        source: NotVerified,
    },
}

impl Remark {
    pub(super) fn not_believed(label: Label, of: &str, hash: Hash, source: NotVerified) -> Self {
        Self::NotBelieved { label, of: of.to_owned(), hash, source }
    }

    /// As a reason not to take the documents at all.
    pub(super) fn as_error(&self) -> Option<TrustError> {
        match self {
            Self::NotBelieved { label, of, source, .. } => {
                Some(TrustError::NotVerified { label: *label, of: of.clone(), source: source.clone() })
            }
            Self::Missing { label, of } => Some(TrustError::Missing { label: *label, of: of.clone() }),
            Self::Equivocation { label, of, version, .. } => {
                Some(TrustError::Inconsistent(format!("two {label} documents of {of} with version {version}")))
            }
            Self::SharedKey { members: [one, other] } => {
                Some(TrustError::Inconsistent(format!("one key under {one} and {other}")))
            }
            Self::Gap { label, of, version } => {
                Some(TrustError::Inconsistent(format!("{label} {version} of {of} follows nothing that is there")))
            }
            Self::RootAhead { root_version } => {
                Some(TrustError::Inconsistent(format!("no roster is signed under root version {root_version} yet")))
            }
            // Whoever vouches for the documents as a whole has compared all keys.
            Self::Waiting { .. } => None,
        }
    }
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting { member, version, hash, why } => {
                let why = match why {
                    WhyWaiting::New => "the member is new",
                    WhyWaiting::Anchored => "the root holders anchored it anew",
                    WhyWaiting::NoContinuity => "its signing key did not sign the change",
                };
                write!(f, "keys {version} of {member} ({hash}) wait for acceptance: {why}")
            }
            Self::Equivocation { label, of, version, hashes: [one, other] } => {
                write!(f, "two {label} documents of {of} with version {version}, {one} and {other}: neither counts")
            }
            Self::Missing { label, of } => write!(f, "{label} of {of} is missing"),
            Self::Gap { label, of, version } => write!(f, "{label} {version} of {of} follows nothing that is held"),
            Self::SharedKey { members: [one, other] } => write!(f, "one key under {one} and {other}: neither counts"),
            Self::RootAhead { root_version } => {
                write!(
                    f,
                    "root version {root_version} is in force, and no roster is signed under it yet: no data is exchanged"
                )
            }
            Self::NotBelieved { label, of, hash, source } => {
                write!(f, "{label} of {of} ({hash}) is not believed: {source}")
            }
        }
    }
}
