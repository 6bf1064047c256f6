//! The trust documents that hold together: root chain, roster, members' keys, officers, catalogue.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    catalogue::{Catalogue, CatalogueDocument},
    codec::{Cap, decode},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::{self, MemberKeys},
    officers::{self, Card, Officers},
    root::{self, Root},
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Label, NotVerified, Verified},
    time::UnixMs,
};

/// A set of trust documents in which every signature was verified and every reference fits.
#[derive(Debug, Clone)]
pub struct Trust {
    federation: FederationId,
    root: Verified<Root>,
    roster: Verified<Roster>,
    keys: BTreeMap<NodeId, Verified<MemberKeys>>,
    officers: BTreeMap<NodeId, Verified<Officers>>,
    catalogue: Arc<Catalogue>,
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
    /// Puts documents together. `expected` is the federation's id from outside; without it the documents' own is taken, which
    /// only a caller may do that pins it now for later (a node at its first start).
    pub fn build(documents: &[Document], expected: Option<&FederationId>) -> Result<Self, TrustError> {
        let of_label = |label: Label| documents.iter().filter(move |document| document.label() == label);
        let federation_wide = |label, source| TrustError::NotVerified { label, of: "the federation".into(), source };
        let missing = |label, of: &str| TrustError::Missing { label, of: of.into() };

        let mut roots: Vec<(u64, Document)> = Vec::new();
        for document in of_label(Label::Root) {
            let root: Root = document.unverified().map_err(|source| federation_wide(Label::Root, source))?;
            roots.push((root.root_version, document.clone()));
        }
        if roots.is_empty() {
            return Err(missing(Label::Root, "the federation"));
        }
        roots.sort_by_key(|(version, _)| *version);
        let roots: Vec<Document> = roots.into_iter().map(|(_, document)| document).collect();
        let (federation, root) =
            root::verify_chain(&roots, expected).map_err(|source| federation_wide(Label::Root, source))?;

        for label in [Label::Roster, Label::Staff] {
            if of_label(label).count() > 1 {
                return Err(TrustError::Inconsistent(format!("more than one {label} document: which one is meant?")));
            }
        }
        let document = of_label(Label::Roster).next().ok_or_else(|| missing(Label::Roster, "the federation"))?;
        let roster: Verified<Roster> = document
            .verify(&federation, root.keys.as_slice(), usize::from(root.threshold), &[])
            .map_err(|source| federation_wide(Label::Roster, source))?;
        if roster.federation != federation || roster.epoch != root.epoch || roster.root_version != root.root_version {
            return Err(TrustError::Inconsistent("the roster is of another federation, epoch or root version".into()));
        }

        let document = of_label(Label::Catalogue)
            .find(|document| document.hash() == roster.catalogue_hash)
            .ok_or_else(|| missing(Label::Catalogue, "the federation"))?;
        let catalogue = document
            .verify::<CatalogueDocument>(&federation, root.keys.as_slice(), usize::from(root.threshold), &[])
            .and_then(|document| read_catalogue(&document))
            .map_err(|source| federation_wide(Label::Catalogue, source))?;

        let keys = Self::member_keys(documents, &federation, &roster)?;
        let mut lists = BTreeMap::new();
        for (node_id, keys) in &keys {
            for document in of_label(Label::Officers) {
                let of_this = document.unverified::<Officers>().is_ok_and(|list| list.node_id == *node_id);
                if of_this {
                    let list = officers::verify(document, &federation, keys).map_err(|source| {
                        TrustError::NotVerified { label: Label::Officers, of: node_id.to_string(), source }
                    })?;
                    if lists.insert(node_id.clone(), list).is_some() {
                        let message = format!("more than one officers list of {node_id}: which one is meant?");
                        return Err(TrustError::Inconsistent(message));
                    }
                }
            }
        }
        Ok(Self { federation, root, roster, keys, officers: lists, catalogue: Arc::new(catalogue) })
    }

    fn member_keys(
        documents: &[Document],
        federation: &FederationId,
        roster: &Roster,
    ) -> Result<BTreeMap<NodeId, Verified<MemberKeys>>, TrustError> {
        let mut all = BTreeMap::new();
        let mut owners: BTreeMap<PublicKey, &NodeId> = BTreeMap::new();
        for member in roster.members.iter().filter(|member| member.state != MemberState::Removed) {
            let of = member.node_id.to_string();
            let document = documents
                .iter()
                .find(|document| document.label() == Label::MemberKeys && document.hash() == member.anchor_hash)
                .ok_or(TrustError::Missing { label: Label::MemberKeys, of: of.clone() })?;
            let keys = member_keys::verify(document, federation).map_err(|source| TrustError::NotVerified {
                label: Label::MemberKeys,
                of,
                source,
            })?;
            if keys.node_id != member.node_id || keys.keys_version != member.anchor_version {
                return Err(TrustError::Inconsistent(format!(
                    "the roster's anchor of {} is not of that member",
                    member.node_id
                )));
            }
            for key in keys.all_keys() {
                if let Some(other) = owners.insert(key, &member.node_id) {
                    return Err(TrustError::Inconsistent(format!("one key under {other} and {}", member.node_id)));
                }
            }
            all.insert(member.node_id.clone(), keys);
        }
        Ok(all)
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
        now < self.roster.expires_at && now < self.root.expires_at
    }

    /// A member's entry and keys if it takes part now: active, within its validity, its keys and the roster not expired.
    pub fn active(&self, member: &NodeId, now: UnixMs) -> Option<(&Member, &MemberKeys)> {
        let entry = self.member(member)?;
        let keys = self.keys.get(member)?;
        let valid = self.roster_is_current(now)
            && entry.state == MemberState::Active
            && entry.valid_from <= now
            && now < entry.valid_to
            && now < keys.expires_at;
        valid.then_some((entry, keys.get()))
    }

    /// The active member whose TLS key this is.
    pub fn member_by_tls_key(&self, key: &PublicKey, now: UnixMs) -> Option<&NodeId> {
        self.keys
            .iter()
            .find(|(node_id, keys)| keys.tls_keys.as_slice().contains(key) && self.active(node_id, now).is_some())
            .map(|(node_id, _)| node_id)
    }

    /// The officer whom a card vouches for, if that member's list in force holds it now.
    pub fn officer(&self, member: &NodeId, card: &[u8], now: UnixMs) -> Option<Card> {
        let list = self.officers.get(member)?;
        if now >= list.expires_at || !list.cards.as_slice().contains(&Hash::of(card)) {
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
