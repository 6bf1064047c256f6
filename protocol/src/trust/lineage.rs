//! A member's keys over time: which of its documents follow from the roster's anchor, and which of them count here (`wire.md` D8).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    holdings::Kept,
    remark::{Remark, WhyWaiting},
};
use crate::{
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::{self, MemberKeys},
    roster::Member,
    signed::{Document, FederationId, Label, NotVerified, Verified},
};

/// Versions of one member's keys that are followed, at most: whoever goes beyond is anchored anew by the root holders.
const VERSIONS_MAX: usize = 1_024;

/// Documents of one version that are kept, at most: two are evidence enough, and more would fill disks.
const PER_VERSION_MAX: usize = 2;

/// What a member's documents say.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    /// The keys in force, if there are any.
    pub(super) in_force: Option<Verified<MemberKeys>>,
    /// Documents that are believed, whether or not they count.
    pub(super) kept: BTreeSet<Hash>,
    /// Log keys of the document in force, and of those that it follows, the latest first.
    pub(super) log_keys: Vec<PublicKey>,
    /// What people need to know.
    pub(super) remarks: Vec<Remark>,
}

/// Follows a member's keys from its anchor. `accepted` says which documents were compared by an administrator here.
///
/// A document follows another if it names it and is as [`member_keys::follows`] says.
/// It counts here if it was accepted, or follows one that counts and was signed by that one's signing key (continuity).
pub(super) fn follow(
    documents: &Kept<'_>,
    federation: &FederationId,
    member: &Member,
    accepted: impl Fn(&NodeId, &Hash) -> bool,
) -> Lineage {
    let mut lineage = Lineage::default();
    let of = &member.node_id;
    let mut believed: Vec<(Verified<MemberKeys>, &Document)> = Vec::new();
    for (hash, spellings) in documents.of_label(Label::MemberKeys) {
        let claims = |document: &&Document| document.unverified::<MemberKeys>().is_ok_and(|keys| keys.node_id == *of);
        let mut refused = None;
        for document in spellings.iter().copied().filter(claims) {
            match member_keys::verify(document, federation) {
                Ok(keys) => {
                    believed.push((keys, document));
                    refused = None;
                    break;
                }
                Err(source) => refused = Some(source),
            }
        }
        if let Some(source) = refused {
            lineage.remarks.push(Remark::not_believed(Label::MemberKeys, of.as_str(), *hash, source));
        }
    }
    believed.sort_by_key(|(keys, _)| (keys.keys_version, keys.hash()));
    believed.truncate(VERSIONS_MAX);

    let known: BTreeMap<Hash, &MemberKeys> = believed.iter().map(|(keys, _)| (keys.hash(), keys.get())).collect();
    let Chains { from_anchor, counts, left_out } = chains(&believed, &known, federation, member, &accepted);
    lineage.kept = from_anchor.union(&counts).copied().collect();
    for (keys, _) in believed.iter().filter(|(keys, _)| keys.keys_version > member.anchor_version) {
        if lineage.kept.contains(&keys.hash()) || left_out.contains(&keys.hash()) {
            continue;
        }
        lineage.remarks.push(if known.contains_key(&keys.prev_hash) {
            let rule = NotVerified::Rule(
                "it does not follow the keys before: too few of their administrators, or a new key has not signed",
            );
            Remark::not_believed(Label::MemberKeys, of.as_str(), keys.hash(), rule)
        } else {
            Remark::Gap { label: Label::MemberKeys, of: of.to_string(), version: keys.keys_version }
        });
    }
    if !from_anchor.contains(&member.anchor_hash) {
        lineage.remarks.push(Remark::Missing { label: Label::MemberKeys, of: of.to_string() });
        return lineage;
    }

    let mut last: Option<&Verified<MemberKeys>> = None;
    let mut contested = false;
    for (keys, _) in believed.iter().filter(|(keys, _)| from_anchor.contains(&keys.hash())) {
        if !counts.contains(&keys.hash()) {
            let why = match known.get(&keys.prev_hash) {
                Some(_) if counts.contains(&keys.prev_hash) => WhyWaiting::NoContinuity,
                Some(_) | None if counts.is_empty() => WhyWaiting::New,
                Some(_) | None => WhyWaiting::Anchored,
            };
            lineage.remarks.push(Remark::Waiting {
                member: of.clone(),
                version: keys.keys_version,
                hash: keys.hash(),
                why,
            });
            continue;
        }
        if let Some(other) = last.filter(|other| other.keys_version == keys.keys_version) {
            contested = true;
            lineage.remarks.push(Remark::Equivocation {
                label: Label::MemberKeys,
                of: of.to_string(),
                version: keys.keys_version,
                hashes: [other.hash(), keys.hash()],
            });
        }
        last = Some(keys);
    }
    // Two keys documents of one version: nobody knows which is meant, so neither is, until the root holders anchor one anew.
    if !contested {
        lineage.log_keys = last.map(|last| log_keys_before(last, &believed, federation)).unwrap_or_default();
        lineage.in_force = last.cloned();
    }
    lineage
}

// Log keys of the document in force and of those that it follows, step by step back: nobody else's, whatever they say of themselves.
fn log_keys_before(
    last: &Verified<MemberKeys>,
    believed: &[(Verified<MemberKeys>, &Document)],
    federation: &FederationId,
) -> Vec<PublicKey> {
    let find = |hash: &Hash| believed.iter().find(|(keys, _)| keys.hash() == *hash);
    let (mut found, mut at) = (Vec::<PublicKey>::new(), find(&last.hash()));
    while let Some((keys, document)) = at {
        for key in keys.log_keys.iter().filter(|key| !found.contains(key)).copied().collect::<Vec<PublicKey>>() {
            found.push(key);
        }
        let before = find(&keys.prev_hash).filter(|(before, _)| before.keys_version < keys.keys_version);
        at = before.filter(|(before, _)| member_keys::follows(before, keys, document, federation));
    }
    found
}

/// Which documents hang together with what.
#[derive(Debug, Default)]
struct Chains {
    /// They follow from the roster's anchor, step by step.
    from_anchor: BTreeSet<Hash>,
    /// They count here.
    counts: BTreeSet<Hash>,
    /// They were one too many of their version.
    left_out: BTreeSet<Hash>,
}

// Versions go up by exactly one, so that one pass in their order finds all.
fn chains(
    believed: &[(Verified<MemberKeys>, &Document)],
    known: &BTreeMap<Hash, &MemberKeys>,
    federation: &FederationId,
    member: &Member,
    accepted: &impl Fn(&NodeId, &Hash) -> bool,
) -> Chains {
    let mut chains = Chains::default();
    for of_version in believed.chunk_by(|(one, _), (other, _)| one.keys_version == other.keys_version) {
        let mut standing: Vec<(Standing, Hash)> = Vec::new();
        for (keys, document) in of_version {
            let hash = keys.hash();
            let before =
                known.get(&keys.prev_hash).filter(|before| member_keys::follows(before, keys, document, federation));
            let anchored = hash == member.anchor_hash && keys.keys_version == member.anchor_version;
            let continuous = before.is_some_and(|before| {
                chains.counts.contains(&keys.prev_hash)
                    && !document.valid_signers(federation, before.sign_keys.as_slice()).is_empty()
            });
            let from_anchor = anchored || (before.is_some() && chains.from_anchor.contains(&keys.prev_hash));
            let accepted = accepted(&member.node_id, &hash);
            standing
                .push((Standing { named: anchored || accepted, counts: continuous || accepted, from_anchor }, hash));
        }
        // Those that people named come first, then those that count by themselves; what is left out leads nowhere.
        standing.sort_by_key(|(standing, hash)| (std::cmp::Reverse(*standing), *hash));
        chains.left_out.extend(standing.iter().skip(PER_VERSION_MAX).map(|(_, hash)| *hash));
        let kept = || standing.iter().take(PER_VERSION_MAX);
        chains.from_anchor.extend(kept().filter(|(standing, _)| standing.from_anchor).map(|(_, hash)| *hash));
        chains.counts.extend(kept().filter(|(standing, _)| standing.counts).map(|(_, hash)| *hash));
    }
    chains
}

/// How one document of a version stands beside others of it; the greater is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// The roster anchors it, or an administrator here has accepted it.
    named: bool,
    /// It counts here.
    counts: bool,
    /// It follows from the roster's anchor.
    from_anchor: bool,
}
