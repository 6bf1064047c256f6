//! Rosters over time: which ones follow from the roster that was installed by hand, and which of them is in force.

use std::collections::BTreeSet;

use super::{TrustError, holdings::Kept, remark::Remark};
use crate::{
    id::Hash,
    root::Roots,
    roster::Roster,
    signed::{Document, Label, NotVerified, Verified},
};

pub(super) const FEDERATION: &str = "the federation";

/// A roster as others name it: epoch, version, hash.
pub type RosterMark = (u32, u64, Hash);

/// What the rosters say.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    pub(super) in_force: Option<Verified<Roster>>,
    /// The one that was installed by hand.
    pub(super) installed: Option<Verified<Roster>>,
    /// All that led to the one in force, itself included.
    pub(super) chain: BTreeSet<RosterMark>,
    /// Whether there are two that might be in force.
    pub(super) contested: bool,
    pub(super) kept: BTreeSet<Hash>,
    pub(super) remarks: Vec<Remark>,
}

impl Rosters {
    /// Finds the roster in force. With a roster installed by hand the others follow it one by one, or begin a later epoch; without
    /// one the highest counts.
    pub(super) fn find(documents: &Kept<'_>, roots: &Roots, installed: Option<&Hash>) -> Self {
        let mut found = Self::default();
        let mut believed: Vec<Verified<Roster>> = Vec::new();
        for (hash, spellings) in documents.of_label(Label::Roster) {
            let mut refused = None;
            for document in spellings {
                match believe(document, roots) {
                    Ok(roster) => {
                        believed.push(roster);
                        refused = None;
                        break;
                    }
                    Err(source) => refused = Some(source),
                }
            }
            if let Some(source) = refused {
                found.remarks.push(Remark::not_believed(Label::Roster, FEDERATION, *hash, source));
            }
        }
        believed.sort_by_key(mark);

        let mut following: Vec<&Verified<Roster>> = Vec::new();
        for roster in &believed {
            let first = installed.is_none_or(|installed| *installed == roster.hash());
            let follows = following.iter().any(|before| {
                let next = before.epoch == roster.epoch
                    && before.roster_version + 1 == roster.roster_version
                    && before.hash() == roster.prev_hash;
                before.root_version <= roster.root_version && (next || before.epoch < roster.epoch)
            });
            if first || follows {
                following.push(roster);
            } else {
                let version = roster.roster_version;
                found.remarks.push(Remark::Gap { label: Label::Roster, of: FEDERATION.into(), version });
            }
        }
        for pair in following.windows(2) {
            if let [one, other] = pair
                && (one.epoch, one.roster_version) == (other.epoch, other.roster_version)
            {
                found.remarks.push(Remark::Equivocation {
                    label: Label::Roster,
                    of: FEDERATION.into(),
                    version: one.roster_version,
                    hashes: [one.hash(), other.hash()],
                });
            }
        }
        found.kept = following.iter().map(|roster| roster.hash()).collect();
        found.installed =
            installed.and_then(|hash| following.iter().find(|roster| roster.hash() == *hash)).copied().cloned();
        if let Some(last) = following.last() {
            let same = |roster: &&&Verified<Roster>| {
                (roster.epoch, roster.roster_version) == (last.epoch, last.roster_version)
            };
            found.contested = following.iter().filter(same).count() > 1;
            found.chain = ancestors(&following, last);
            found.in_force = Some((*last).clone());
        }
        found
    }

    /// Why no roster is in force.
    pub(super) fn why_none(&self) -> TrustError {
        let refused = self.remarks.iter().find_map(Remark::as_error);
        refused.unwrap_or(TrustError::Missing { label: Label::Roster, of: FEDERATION.into() })
    }
}

fn mark(roster: &Verified<Roster>) -> RosterMark {
    (roster.epoch, roster.roster_version, roster.hash())
}

fn ancestors(all: &[&Verified<Roster>], last: &Verified<Roster>) -> BTreeSet<RosterMark> {
    let mut chain = BTreeSet::from([mark(last)]);
    let mut next = last.prev_hash;
    for roster in all.iter().rev() {
        // A later epoch begins anew, on top of all that was.
        if roster.hash() == next || roster.epoch < last.epoch {
            chain.insert(mark(roster));
            next = roster.prev_hash;
        }
    }
    chain
}

fn believe(document: &Document, roots: &Roots) -> Result<Verified<Roster>, NotVerified> {
    let claimed: Roster = document.unverified()?;
    if claimed.federation != roots.federation {
        return Err(NotVerified::Rule("the roster is of another federation"));
    }
    let root = roots
        .version(claimed.root_version)
        .ok_or(NotVerified::Rule("the roster names a version of the root document that is not there"))?;
    if claimed.epoch != root.epoch {
        return Err(NotVerified::Rule("the roster is of another epoch than its root document"));
    }
    document.verify(&roots.federation, root.keys.as_slice(), usize::from(root.threshold), &[])
}
