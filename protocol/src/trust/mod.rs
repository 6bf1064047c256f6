//! The trust documents that hold together, and who is trusted because of them.
//!
//! What is trusted is a function of the set of documents that are held, not of the order in which they came: everybody who holds the
//! same documents trusts the same. Sets only grow, so that a version never goes back (K1).

mod found;
mod holdings;
mod lineage;
mod lists;
mod remark;
mod rosters;
mod stops;
mod tools;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use found::Found;
use holdings::Kept;
pub use remark::{Remark, WhyWaiting};
pub use rosters::RosterMark;
use rosters::{FEDERATION, Rosters};
pub use tools::{Tool, digest, is_for_tools, owner, travels};

use crate::{
    catalogue::{Catalogue, CatalogueDocument},
    codec::{Cap, decode},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::MemberKeys,
    officers::{Card, Officers, Staff},
    policy::PolicyDocument,
    root::{self, Root},
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Label, NotVerified, Verified},
    suspend::{Suspend, Target},
    time::UnixMs,
};

/// A set of trust documents, and who is trusted because of it.
#[derive(Debug, Clone)]
pub struct Trust {
    federation: FederationId,
    root: Verified<Root>,
    roster: Verified<Roster>,
    // Rosters that led to the one in force, itself included.
    chain: BTreeSet<RosterMark>,
    // A roster that nobody can name, or one under an older root: nothing is exchanged under it.
    in_doubt: bool,
    keys: BTreeMap<NodeId, Verified<MemberKeys>>,
    officers: BTreeMap<NodeId, Verified<Officers>>,
    staff: Option<Verified<Staff>>,
    policy: Option<Verified<PolicyDocument>>,
    suspensions: Vec<Verified<Suspend>>,
    catalogue: Arc<Catalogue>,
    kept: BTreeSet<(u16, Hash)>,
    remarks: Vec<Remark>,
    log_keys: BTreeMap<NodeId, Vec<PublicKey>>,
}

/// Where trust starts, beside the documents.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The federation's id from outside.
    pub federation: &'a FederationId,
    /// The member whose node it is, whose staff and acceptances count.
    pub me: &'a NodeId,
    /// SHA-256 of the roster that was installed by hand: later ones follow it, and the keys that it anchors were compared then.
    pub installed: &'a Hash,
}

/// Why documents do not make a trust set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A document is not believed.
    #[error("{label} of {of} is not believed")]
    NotVerified {
        /// What it is.
        label: Label,
        /// Whose it is: a member, or `the federation`.
        of: String,
        /// Why.
        #[source]
        source: NotVerified,
    },
    /// A document that the others refer to is not there.
    #[error("{label} of {of} is missing")]
    Missing {
        /// What it is.
        label: Label,
        /// Whose it is.
        of: String,
    },
    /// A key stands under two members, or a document refers to another one than is there.
    #[error("{0}")]
    Inconsistent(String),
}

impl Trust {
    /// Puts documents together that somebody vouches for as a whole: those of a profile, of a proof, of a first installation.
    /// `expected` is the federation's id from outside; without it the documents' own is taken, which only a caller may do that
    /// pins it now for later.
    pub fn build(documents: &[Document], expected: Option<&FederationId>) -> Result<Self, TrustError> {
        let trust = Self::gather(documents, expected, None)?;
        trust.remarks.iter().find_map(Remark::as_error).map_or(Ok(()), Err)?;
        Ok(trust)
    }

    /// Puts together what somebody has at hand who compares keys himself: what does not hold is left out and remarked upon. `of` is the
    /// member whose staff counts.
    pub fn gather(
        documents: &[Document],
        expected: Option<&FederationId>,
        of: Option<&NodeId>,
    ) -> Result<Self, TrustError> {
        Self::put_together(documents, expected, None, of)
    }

    /// Puts together what a node holds. Documents that do not hold are left out and remarked upon.
    pub fn hold(documents: &[Document], ground: &Ground<'_>) -> Result<Self, TrustError> {
        Self::put_together(documents, Some(ground.federation), Some(ground), Some(ground.me))
    }

    fn put_together(
        documents: &[Document],
        expected: Option<&FederationId>,
        ground: Option<&Ground<'_>>,
        me: Option<&NodeId>,
    ) -> Result<Self, TrustError> {
        let kept = Kept::new(documents);
        let mut found = Found::default();
        let roots = root::follow(documents, expected).map_err(|source| TrustError::NotVerified {
            label: Label::Root,
            of: FEDERATION.into(),
            source,
        })?;
        found.keep(Label::Root, roots.hashes());
        if let Some(hashes) = roots.contested {
            let version = roots.last().root_version + 1;
            found.remarks.push(Remark::Equivocation { label: Label::Root, of: FEDERATION.into(), version, hashes });
        }
        for (hash, source) in &roots.refused {
            found.remarks.push(Remark::not_believed(Label::Root, FEDERATION, *hash, source.clone()));
        }
        let (federation, root) = (roots.federation, roots.last().clone());

        let rosters = Rosters::find(&kept, &roots, ground.map(|ground| ground.installed));
        found.keep(Label::Roster, rosters.kept.iter().copied());
        found.remarks.extend(rosters.remarks.clone());
        let roster = rosters.in_force.clone().ok_or_else(|| rosters.why_none())?;
        let catalogue = found.catalogue(&kept, &roots, &roster)?;

        let accepted = found.accepted(&kept, &federation, &rosters, ground);
        let keys = found.keys(&kept, &federation, &roster, |member, hash| {
            ground.is_none() || accepted.contains(&(member.clone(), *hash))
        });
        let mut officers = BTreeMap::new();
        for (member, keys) in &keys {
            let list = lists::latest::<Officers>(&kept, &federation, keys);
            found.keep(Label::Officers, list.kept);
            found.remarks.extend(list.remarks);
            officers.extend(list.in_force.map(|list| (member.clone(), list)));
        }
        let (mut staff, mut policy) = (None, None);
        if let Some(keys) = me.and_then(|me| keys.get(me)) {
            let list = lists::latest::<Staff>(&kept, &federation, keys);
            found.keep(Label::Staff, list.kept);
            found.remarks.extend(list.remarks);
            staff = list.in_force;
            let list = lists::latest::<PolicyDocument>(&kept, &federation, keys);
            found.keep(Label::Policy, list.kept);
            found.remarks.extend(list.remarks);
            policy = list.in_force;
        }
        let suspensions = found.suspensions(&kept, &federation, &keys);
        let behind = roster.root_version < root.root_version;
        if behind {
            found.remarks.push(Remark::RootAhead { root_version: root.root_version });
        }
        let in_doubt = rosters.contested || roots.contested.is_some() || behind;
        Ok(Self {
            federation,
            root,
            chain: rosters.chain,
            roster,
            in_doubt,
            keys,
            officers,
            staff,
            policy,
            suspensions,
            catalogue: Arc::new(catalogue),
            kept: found.kept,
            remarks: found.remarks,
            log_keys: found.log_keys,
        })
    }

    /// The federation.
    pub const fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// The root document in force.
    pub const fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The roster in force.
    pub const fn roster(&self) -> &Verified<Roster> {
        &self.roster
    }

    /// The catalogue in force.
    pub const fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Rosters that led to the one in force, itself included.
    pub const fn chain(&self) -> &BTreeSet<RosterMark> {
        &self.chain
    }

    /// What people need to know about the documents.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Whether a document is believed and still of use: all others may be thrown away.
    pub fn keeps(&self, document: &Document) -> bool {
        self.kept.contains(&(document.label().number(), document.hash()))
    }

    /// The people who work at this node.
    pub const fn staff(&self) -> Option<&Verified<Staff>> {
        self.staff.as_ref()
    }

    /// Who may receive what from this node, as its administrators signed it; without it nobody receives anything.
    pub const fn policy(&self) -> Option<&Verified<PolicyDocument>> {
        self.policy.as_ref()
    }

    /// Suspensions and liftings, the latest of each member.
    pub fn suspensions(&self) -> &[Verified<Suspend>] {
        &self.suspensions
    }

    /// A member's keys.
    pub fn keys(&self, member: &NodeId) -> Option<&Verified<MemberKeys>> {
        self.keys.get(member)
    }

    /// A member's officers.
    pub fn officers(&self, member: &NodeId) -> Option<&Verified<Officers>> {
        self.officers.get(member)
    }

    /// A member's entry, whatever its state.
    pub fn member(&self, member: &NodeId) -> Option<&Member> {
        self.roster.members.iter().find(|entry| entry.node_id == *member)
    }

    /// Whether the federation speaks this version of the protocol.
    pub fn speaks(&self, protocol: u16) -> bool {
        (self.roster.min_protocol..=self.roster.max_protocol).contains(&protocol)
    }

    /// A member that takes part now and may provide.
    pub fn provider(&self, member: &NodeId, now: UnixMs) -> Option<(&Member, &MemberKeys)> {
        self.active(member, now).filter(|(entry, _)| entry.roles.as_slice().contains(&MemberRole::Provider))
    }

    /// Whether the roster may still be used.
    pub fn roster_is_current(&self, now: UnixMs) -> bool {
        !self.in_doubt && now < self.roster.expires_at && now < self.root.expires_at
    }

    /// A member's entry and keys if it takes part now: active, within its validity, its keys and the roster not expired, and a key
    /// for handshakes and one for signatures left that are not suspended.
    pub fn active(&self, member: &NodeId, now: UnixMs) -> Option<(&Member, &MemberKeys)> {
        let entry = self.member(member)?;
        let keys = self.keys.get(member)?;
        let left = |keys: &[PublicKey]| keys.iter().any(|key| !self.key_is_suspended(member, key, now));
        let valid = self.roster_is_current(now)
            && entry.state == MemberState::Active
            && entry.valid_from <= now
            && now < entry.valid_to
            && now < keys.expires_at
            && left(keys.tls_keys.as_slice())
            && left(keys.sign_keys.as_slice());
        valid.then_some((entry, keys.get()))
    }

    /// The keys with which an active member may sign answers and requests now.
    pub fn sign_keys(&self, member: &NodeId, now: UnixMs) -> Vec<PublicKey> {
        let keys = self.active(member, now).map(|(_, keys)| keys.sign_keys.as_slice()).unwrap_or_default();
        keys.iter().filter(|key| !self.key_is_suspended(member, key, now)).copied().collect()
    }

    /// The keys that a member's log is signed with now, without those that are suspended.
    pub fn log_keys(&self, member: &NodeId, now: UnixMs) -> Vec<PublicKey> {
        let keys = self.keys.get(member).map(|keys| keys.log_keys.as_slice()).unwrap_or_default();
        keys.iter().filter(|key| !self.key_is_suspended(member, key, now)).copied().collect()
    }

    /// The key with which a member cosigns others' checkpoints, unless it is suspended now.
    pub fn witness_key(&self, member: &NodeId, now: UnixMs) -> Option<PublicKey> {
        let key = self.keys.get(member)?.witness_key;
        (!self.key_is_suspended(member, &key, now)).then_some(key)
    }

    /// Those and the ones before them, suspended or not. Whoever has got hold of an old one can sign another past: what is signed with it
    /// counts only where the same tree leads to something that is signed with a present one.
    pub fn all_log_keys(&self, member: &NodeId) -> &[PublicKey] {
        self.log_keys.get(member).map(Vec::as_slice).unwrap_or_default()
    }

    /// The active member whose TLS key this is.
    pub fn member_by_tls_key(&self, key: &PublicKey, now: UnixMs) -> Option<&NodeId> {
        let (member, _) = self.keys.iter().find(|(_, keys)| keys.tls_keys.as_slice().contains(key))?;
        (self.active(member, now).is_some() && !self.key_is_suspended(member, key, now)).then_some(member)
    }

    /// The member whose TLS key this is and with whom greetings and documents are exchanged: also where the roster has run out, since
    /// the new one has to come from somewhere, and with a member that is suspended, whose own documents still count.
    pub fn greets(&self, key: &PublicKey, now: UnixMs) -> Option<&NodeId> {
        let (member, _) = self.keys.iter().find(|(_, keys)| keys.tls_keys.as_slice().contains(key))?;
        let entry = self.member(member).filter(|entry| entry.state != MemberState::Removed)?;
        (entry.valid_from <= now && now < entry.valid_to && !self.key_is_suspended(member, key, now)).then_some(member)
    }

    /// The TLS keys with which a member's node may prove itself now; none if it is out.
    pub fn reachable_by(&self, member: &NodeId, now: UnixMs) -> Vec<PublicKey> {
        let keys = self.keys.get(member).map(|keys| keys.tls_keys.as_slice()).unwrap_or_default();
        keys.iter().filter(|key| self.greets(key, now) == Some(member)).copied().collect()
    }

    /// The keys with which a member's greetings may be signed now: also where no data is exchanged with it.
    pub fn greeting_keys(&self, member: &NodeId, now: UnixMs) -> Vec<PublicKey> {
        let keys = self.keys.get(member).map(|keys| keys.sign_keys.as_slice()).unwrap_or_default();
        keys.iter().filter(|key| !self.key_is_suspended(member, key, now)).copied().collect()
    }

    fn key_is_suspended(&self, member: &NodeId, key: &PublicKey, now: UnixMs) -> bool {
        self.is_suspended(member, Target::Key, now, |suspend| suspend.key().as_ref() == Some(key))
    }

    /// The officer whom a card vouches for, if that member's list in force holds it now.
    pub fn officer(&self, member: &NodeId, card: &[u8], now: UnixMs) -> Option<Card> {
        let list = self.officers.get(member)?;
        let hash = Hash::of(card);
        let stopped = self.is_suspended(member, Target::Officer, now, |suspend| suspend.card() == Some(hash));
        if now >= list.expires_at || !list.cards.as_slice().contains(&hash) || stopped {
            return None;
        }
        let card: Card = decode(card, Cap::Small).ok()?;
        (card.valid_from <= now && now < card.valid_to).then_some(card)
    }
}

/// Reads the catalogue inside its signed document.
pub fn read_catalogue(document: &CatalogueDocument) -> Result<Catalogue, NotVerified> {
    std::str::from_utf8(document.text.as_slice())
        .ok()
        .and_then(|text| Catalogue::parse(text).ok())
        .ok_or(NotVerified::Rule("the catalogue breaks a rule of `disclosure.md` A.1"))
}

#[cfg(test)]
mod tests;
