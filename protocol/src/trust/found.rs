//! Documents of members as they are found believable, with what is kept of them and what there is to say about them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Ground, TrustError,
    holdings::Kept,
    lineage,
    remark::Remark,
    rosters::{FEDERATION, Rosters},
};
use crate::{
    accept,
    catalogue::{Catalogue, CatalogueDocument},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::MemberKeys,
    root::Roots,
    roster::{Member, MemberState, Roster},
    signed::{Document, FederationId, Label, Verified},
    suspend::{self, Suspend, Target},
};

/// Suspensions of one member that are kept, at most; the latest.
const SUSPENSIONS_MAX: usize = 64;
/// Ends of topics of one member that are kept, those that last longest: one more than count one by one.
const TOPICS_ENDED_MAX: usize = super::stops::ENDS_MAX + 1;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) kept: BTreeSet<(u16, Hash)>,
    pub(super) remarks: Vec<Remark>,
    pub(super) log_keys: BTreeMap<NodeId, Vec<PublicKey>>,
}

impl Found {
    pub(super) fn keep(&mut self, label: Label, hashes: impl IntoIterator<Item = Hash>) {
        self.kept.extend(hashes.into_iter().map(|hash| (label.number(), hash)));
    }

    /// The catalogue that the roster names. Which one is meant is the roster's word, signed under the root in force; the catalogue
    /// itself may be signed under any root of the chain, so that a rotation of the root does not have to bring a new one.
    pub(super) fn catalogue(
        &mut self,
        documents: &Kept<'_>,
        roots: &Roots,
        roster: &Roster,
    ) -> Result<Catalogue, TrustError> {
        let named = documents.of_label(Label::Catalogue).find(|(hash, _)| **hash == roster.catalogue_hash);
        let (hash, spellings) =
            named.ok_or_else(|| TrustError::Missing { label: Label::Catalogue, of: FEDERATION.into() })?;
        let mut refused = TrustError::Missing { label: Label::Catalogue, of: FEDERATION.into() };
        let signed = roots.chain().rev().flat_map(|root| spellings.iter().map(move |document| (root, document)));
        for (root, document) in signed {
            let catalogue = document
                .verify::<CatalogueDocument>(&roots.federation, root.keys.as_slice(), usize::from(root.threshold), &[])
                .and_then(|document| super::read_catalogue(&document));
            match catalogue {
                Ok(catalogue) => {
                    self.keep(Label::Catalogue, [*hash]);
                    return Ok(catalogue);
                }
                Err(source) => {
                    refused = TrustError::NotVerified { label: Label::Catalogue, of: FEDERATION.into(), source };
                }
            }
        }
        Err(refused)
    }

    /// Keys that were compared here: those that the installed roster anchors, and those that an own administrator has accepted.
    pub(super) fn accepted(
        &mut self,
        documents: &Kept<'_>,
        federation: &FederationId,
        rosters: &Rosters,
        ground: Option<&Ground<'_>>,
    ) -> BTreeSet<(NodeId, Hash)> {
        let Some(ground) = ground else { return BTreeSet::new() };
        let installed = rosters.installed.iter().flat_map(|roster| roster.members.iter());
        let mut accepted: BTreeSet<(NodeId, Hash)> =
            installed.map(|member| (member.node_id.clone(), member.anchor_hash)).collect();
        let entry = |roster: &Roster| roster.members.iter().find(|member| member.node_id == *ground.me).cloned();
        let Some(me) = rosters.in_force.as_deref().and_then(entry) else { return accepted };
        // The own keys: what the own administrators and the root holders say is enough, since the node holds the private part.
        accepted.insert((me.node_id.clone(), me.anchor_hash));
        let own =
            lineage::follow(documents, federation, &me, |member, hash| accepted.contains(&(member.clone(), *hash)));
        let Some(keys) = own.in_force else { return accepted };
        for (hash, spellings) in documents.of_label(Label::Accept) {
            for document in spellings {
                match accept::verify(document, federation, &keys) {
                    Ok(accept) => {
                        self.keep(Label::Accept, [*hash]);
                        accepted.extend(accept.compared.iter().map(|one| (one.member.clone(), one.keys)));
                    }
                    Err(source) => {
                        self.remarks.push(Remark::not_believed(Label::Accept, ground.me.as_str(), *hash, source));
                    }
                }
            }
        }
        accepted
    }

    /// The keys of all members that are not out.
    pub(super) fn keys(
        &mut self,
        documents: &Kept<'_>,
        federation: &FederationId,
        roster: &Roster,
        accepted: impl Fn(&NodeId, &Hash) -> bool,
    ) -> BTreeMap<NodeId, Verified<MemberKeys>> {
        let mut all: BTreeMap<NodeId, Verified<MemberKeys>> = BTreeMap::new();
        let present = |member: &&Member| member.state != MemberState::Removed;
        for member in roster.members.iter().filter(present) {
            let lineage = lineage::follow(documents, federation, member, &accepted);
            self.keep(Label::MemberKeys, lineage.kept);
            self.remarks.extend(lineage.remarks);
            self.log_keys.insert(member.node_id.clone(), lineage.log_keys);
            all.extend(lineage.in_force.map(|keys| (member.node_id.clone(), keys)));
        }
        // Possession is proved, so that whoever shares a key wanted it: neither counts.
        let mut owners: BTreeMap<PublicKey, &NodeId> = BTreeMap::new();
        let mut shared: BTreeSet<NodeId> = BTreeSet::new();
        for (member, keys) in &all {
            for key in keys.all_keys() {
                if let Some(other) = owners.insert(key, member) {
                    shared.extend([other.clone(), member.clone()]);
                    self.remarks.push(Remark::SharedKey { members: [other.clone(), member.clone()] });
                }
            }
        }
        all.retain(|member, _| !shared.contains(member));
        all
    }

    /// Suspensions that members have said of what is their own.
    pub(super) fn suspensions(
        &mut self,
        documents: &Kept<'_>,
        federation: &FederationId,
        keys: &BTreeMap<NodeId, Verified<MemberKeys>>,
    ) -> Vec<Verified<Suspend>> {
        let mut of_member: BTreeMap<NodeId, Vec<Verified<Suspend>>> = BTreeMap::new();
        for (hash, spellings) in documents.of_label(Label::Suspend) {
            for document in spellings {
                match believe(document, federation, keys) {
                    Ok(suspend) => {
                        of_member.entry(suspend.node_id.clone()).or_default().push(suspend);
                        break;
                    }
                    Err(remark) => self.remarks.push(remark(*hash)),
                }
            }
        }
        let mut all = Vec::new();
        for mut suspensions in of_member.into_values() {
            suspensions.sort_by_key(|suspend| (suspend.issued_at, suspend.hash()));
            // Apart, so that neither pushes the other out.
            let (mut topics, others): (Vec<_>, Vec<_>) =
                suspensions.into_iter().partition(|suspend| suspend.target == Target::Topic);
            let from = others.len().saturating_sub(SUSPENSIONS_MAX);
            all.extend(others.into_iter().skip(from));
            topics.sort_by_key(|suspend| (suspend.until, suspend.hash()));
            let from = topics.len().saturating_sub(TOPICS_ENDED_MAX);
            all.extend(topics.into_iter().skip(from));
        }
        self.keep(Label::Suspend, all.iter().map(Verified::hash));
        all
    }
}

fn believe(
    document: &Document,
    federation: &FederationId,
    keys: &BTreeMap<NodeId, Verified<MemberKeys>>,
) -> Result<Verified<Suspend>, impl FnOnce(Hash) -> Remark> {
    let claimed: Result<Suspend, _> = document.unverified();
    let of = claimed.as_ref().map_or_else(|_| String::new(), |claimed| claimed.node_id.to_string());
    let believed = claimed.and_then(|claimed| {
        let keys = keys
            .get(&claimed.node_id)
            .ok_or(crate::signed::NotVerified::Rule("a suspension by nobody who is known"))?;
        suspend::verify(document, federation, keys)
    });
    believed.map_err(|source| move |hash| Remark::not_believed(Label::Suspend, &of, hash, source))
}
