//! The node's trust documents on disk, and who may connect because of them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use accord_edge::{
    files::{self, FileError},
    trust_folder::{FEDERATION_FILE, ROSTER_FILE, TrustFolder, TrustFolderError},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::KeyRole,
    officers::Card,
    signed::Document,
    time::UnixMs,
    trust::{Trust, TrustError},
};

use super::{
    keys::{BadRing, NodeKeys},
    store::StoreError,
};
use crate::domain::access::Access;

/// Extension of cards.
const CARD: &str = "card";

/// Trust documents, and who is trusted because of them, at one moment.
#[derive(Debug)]
pub struct Standing {
    /// The federation's documents and the member's own.
    pub held: TrustFolder,
    /// Cards of this member's own officers, with the key of each.
    pub cards: Vec<Card>,
    /// The policy that the documents hold, read for their roster and catalogue.
    pub access: Arc<Access>,
    me: NodeId,
}

/// What is wrong with keys or documents.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key ring.
    #[error(transparent)]
    Ring(#[from] BadRing),
    /// The trust documents.
    #[error(transparent)]
    Folder(#[from] TrustFolderError),
    /// What was fixed at the installation is not there.
    #[error(
        "{} is missing: the trust folder was made by an older version or is damaged; move it away and install the federation's documents again with `accord-node install`",
        path.display()
    )]
    NotInstalled {
        /// The file.
        path: PathBuf,
    },
    /// The trust documents cannot be those of this node.
    #[error("the trust documents do not hold together")]
    Trust(#[from] TrustError),
    /// The audit log cannot be written.
    #[error("the audit log cannot be written, so nothing was changed")]
    Log(#[from] StoreError),
    /// The roster does not list this node with these keys.
    #[error("{0}")]
    NotListed(String),
}

/// Reads and verifies the trust documents of a node.
pub fn load_trust(dir: &Path, me: &NodeId) -> Result<Standing, IdentityError> {
    let path = dir.join(ROSTER_FILE);
    if dir.join(FEDERATION_FILE).exists() && !path.exists() {
        return Err(IdentityError::NotInstalled { path });
    }
    let held = TrustFolder::open(dir, me)?;
    for remark in held.trust.remarks() {
        tracing::warn!(%remark, "trust documents");
    }
    Ok(Standing::of(held, read_cards(dir)?, me.clone(), None)?)
}

// A key in two places is refused (`wire.md` D6): whoever held it would speak in two roles.
fn one_place_each(trust: &Trust, cards: &[Card]) -> Result<(), TrustError> {
    let members = trust.roster().members.iter().filter_map(|member| trust.keys(&member.node_id));
    let mut all: Vec<PublicKey> = trust.root().keys.as_slice().to_vec();
    all.extend(members.flat_map(|keys| keys.all_keys()));
    all.extend(trust.staff().into_iter().flat_map(|staff| staff.people.iter().map(|person| person.key)));
    // A renewed officer has two cards for one key, which is one place.
    all.extend(cards.iter().map(|card| card.key).collect::<BTreeSet<_>>());
    all.sort();
    match all.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some(_) => Err(TrustError::Inconsistent("one key stands in two places of the trust documents".into())),
        None => Ok(()),
    }
}

/// The file in which a card lies in the trust folder.
pub fn card_file(card: &Card) -> String {
    format!("{}.{CARD}", card.officer_id)
}

// Cards of own officers lie beside the documents.
fn read_cards(dir: &Path) -> Result<Vec<Card>, FileError> {
    let mut cards = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(files::at("read", dir))?.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != CARD) {
            continue;
        }
        if let Ok(card) = decode::<Card>(&files::read_limited(&path, 1024)?, Cap::Small) {
            cards.push(card);
        } else {
            tracing::warn!(file = %path.display(), "what is no card is ignored");
        }
    }
    Ok(cards)
}

impl Standing {
    fn of(held: TrustFolder, cards: Vec<Card>, me: NodeId, before: Option<&Arc<Access>>) -> Result<Self, TrustError> {
        let trust = &held.trust;
        if trust.keys(&me).is_none() {
            return Err(TrustError::Inconsistent(format!("the roster does not list {me} with keys that are believed")));
        }
        // Only cards that the signed list vouches for count.
        let is_listed = |card: &Card| {
            let hash = encode(card).map(|bytes| Hash::of(&bytes));
            trust.officers(&me).is_some_and(|list| hash.is_ok_and(|hash| list.cards.as_slice().contains(&hash)))
        };
        let mut listed: Vec<Card> = Vec::new();
        for card in cards.into_iter().filter(is_listed) {
            if !listed.contains(&card) {
                listed.push(card);
            }
        }
        one_place_each(trust, &listed)?;
        let access = before.map_or_else(|| Arc::new(Access::of(trust)), |before| before.under(trust));
        Ok(Self { held, cards: listed, access, me })
    }

    /// Whether a member may receive anything at all.
    pub fn anything_for(&self, member: &NodeId, now: UnixMs) -> bool {
        self.access.anything(member, self.held.trust.catalogue(), now)
    }

    /// Says in the log which policy is in force.
    pub fn log_policy(&self) {
        if let Some(fault) = self.access.fault() {
            tracing::error!(fault, "ALARM: the policy cannot be read: nobody receives anything");
        } else if self.access.version() == 0 {
            tracing::warn!("no policy is signed: nobody receives anything (accord policy apply)");
        } else {
            tracing::info!(version = self.access.version(), rows = self.access.rows(), "a policy is in force");
        }
        let unknown = self.access.unknown().join(", ");
        if !unknown.is_empty() {
            tracing::warn!(
                unknown,
                "the policy names what the roster and catalogue do not have: it permits nothing of that"
            );
        }
    }

    /// Who is trusted.
    pub const fn trust(&self) -> &Trust {
        &self.held.trust
    }

    /// What would be trusted with more documents and cards; nothing is written.
    pub fn with(&self, documents: &[Document], cards: &[Card]) -> Result<Self, TrustError> {
        let cards = [self.cards.as_slice(), cards].concat();
        Self::of(self.held.with(documents)?, cards, self.me.clone(), Some(&self.access))
    }

    /// Refuses to run without a key for handshakes and one for signatures that the roster lists (C117).
    pub fn check_own_keys(&self, keys: &NodeKeys) -> Result<(), IdentityError> {
        if !self.held.trust.speaks(accord_protocol::PROTOCOL) {
            let roster = self.held.trust.roster();
            return Err(IdentityError::NotListed(format!(
                "the roster asks for protocol {} to {}, and this program speaks {}: use another version of Accord",
                roster.min_protocol,
                roster.max_protocol,
                accord_protocol::PROTOCOL
            )));
        }
        let held = |keys: &[PublicKey], own: &NodeKeys| keys.iter().any(|key| own.find(key).is_some());
        let listed =
            self.held.trust.keys(&self.me).is_some_and(|listed| {
                held(listed.tls_keys.as_slice(), keys) && held(listed.sign_keys.as_slice(), keys)
            });
        if listed {
            Ok(())
        } else {
            Err(IdentityError::NotListed(format!("the roster lists {} with other keys than this node has", self.me)))
        }
    }

    /// The role in which a key may work at this node now.
    pub fn person(&self, key: &PublicKey, now: UnixMs) -> Option<KeyRole> {
        let staff = self.held.trust.staff().into_iter().filter(|staff| now < staff.expires_at);
        let staff = staff.flat_map(|staff| staff.people.iter());
        let found =
            staff.into_iter().find(|person| person.key == *key && person.valid_from <= now && now < person.valid_to);
        if let Some(person) = found {
            return Some(person.role);
        }
        let list_holds = self.held.trust.officers(&self.me).is_some_and(|list| now < list.expires_at);
        let vouched_for = |card: &Card| {
            encode(card)
                .is_ok_and(|bytes| self.held.trust.officer(&self.me, &bytes, now).is_some_and(|card| card.key == *key))
        };
        (list_holds && self.cards.iter().any(vouched_for)).then_some(KeyRole::Officer)
    }
}
