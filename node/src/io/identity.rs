//! The node's keys and trust documents on disk, and who may connect because of them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use accord_edge::{
    files::{self, FileError},
    keyring::{KeyRing, RingError, RingKind},
    trust_folder::{TrustFolder, TrustFolderError},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    id::{Hash, NodeId},
    key::{PublicKey, SigningKey},
    member_keys::KeyRole,
    officers::Card,
    signed::Document,
    time::UnixMs,
    trust::{Trust, TrustError},
};

/// Extension of cards.
const CARD: &str = "card";

/// The private keys that a running node uses.
#[derive(Debug)]
pub struct NodeKeys {
    /// For TLS handshakes.
    pub tls: Arc<SigningKey>,
    /// For answers, requests and editions.
    pub sign: SigningKey,
    /// Secret of edition commitments: `edition_key` of `wire.md` D11.
    pub edition_key: [u8; 32],
}

/// Trust documents, and who is trusted because of them, at one moment.
#[derive(Debug)]
pub struct Standing {
    /// The federation's documents and the member's own.
    pub held: TrustFolder,
    /// Cards of this member's own officers, with the key of each.
    pub cards: Vec<Card>,
    me: NodeId,
}

/// What is wrong with keys or documents.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key ring.
    #[error("{}", path.display())]
    Ring {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RingError,
    },
    /// The trust documents.
    #[error(transparent)]
    Folder(#[from] TrustFolderError),
    /// The trust documents cannot be those of this node.
    #[error("the trust documents do not hold together")]
    Trust(#[from] TrustError),
    /// The roster does not list this node with these keys.
    #[error("{0}")]
    NotListed(String),
}

/// Opens the node's key ring.
pub fn load_keys(dir: &Path) -> Result<NodeKeys, IdentityError> {
    let path = dir.join("node.ring");
    let fault = |source| IdentityError::Ring { path: path.clone(), source };
    let mut ring = KeyRing::open(&path, || None).and_then(|ring| ring.expect_kind(RingKind::Node)).map_err(fault)?;
    let sign = ring.take(KeyRole::Sign).map_err(fault)?;
    let tls = ring.take(KeyRole::Tls).map_err(fault)?;
    // A key of the ring, so that it is backed up and rotated with it; as a MAC key it is the digest of a signature of its own.
    let edition = ring.take(KeyRole::Edition).map_err(fault)?;
    let Hash(edition_key) = Hash::of(&edition.sign_raw(b"accord/1 edition-key").0);
    Ok(NodeKeys { tls: Arc::new(tls), sign, edition_key })
}

/// Reads and verifies the trust documents of a node.
pub fn load_trust(dir: &Path, me: &NodeId) -> Result<Standing, IdentityError> {
    let held = TrustFolder::open(dir, me)?;
    for remark in held.trust.remarks() {
        tracing::warn!(%remark, "trust documents");
    }
    Ok(Standing::of(held, read_cards(dir)?, me.clone())?)
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
    fn of(held: TrustFolder, cards: Vec<Card>, me: NodeId) -> Result<Self, TrustError> {
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
        Ok(Self { held, cards: listed, me })
    }

    /// Who is trusted.
    pub const fn trust(&self) -> &Trust {
        &self.held.trust
    }

    /// What would be trusted with more documents and cards; nothing is written.
    pub fn with(&self, documents: &[Document], cards: &[Card]) -> Result<Self, TrustError> {
        Self::of(self.held.with(documents)?, [self.cards.as_slice(), cards].concat(), self.me.clone())
    }

    /// Refuses to run under keys that the roster does not list (C117).
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
        let listed = self.held.trust.keys(&self.me).is_some_and(|listed| {
            listed.tls_keys.as_slice().contains(&keys.tls.public())
                && listed.sign_keys.as_slice().contains(&keys.sign.public())
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
