//! The node's keys and trust documents on disk, and who may connect because of them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use accord_edge::{
    files::{self, FileError},
    keyring::{KeyRing, RingError, RingKind},
};
use accord_protocol::{
    codec::{Cap, decode},
    id::{Hash, NodeId, NotHex},
    key::{PublicKey, SigningKey},
    member_keys::KeyRole,
    officers::{self, Card, Staff},
    signed::{Document, FederationId, Label, NotVerified},
    time::UnixMs,
    trust::{Trust, TrustError},
};

/// File in the trust folder that pins the federation's id.
pub const FEDERATION_FILE: &str = "federation";

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

/// Trust documents with the staff, which is local.
#[derive(Debug)]
pub struct Standing {
    /// The federation's documents.
    pub trust: Trust,
    /// The documents as they lie on disk, for partners and tools that fetch them.
    pub documents: Vec<Document>,
    /// Who may work at this node.
    pub staff: Option<Staff>,
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
    /// The trust documents do not hold together.
    #[error("the trust documents in {} do not hold together", path.display())]
    Trust {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
    /// The federation's id is not pinned.
    #[error("{} does not hold the federation's id", path.display())]
    NotPinned {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NotHex,
    },
    /// The staff list is not believed.
    #[error("the staff list is not believed")]
    Staff(#[source] NotVerified),
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

/// Reads and verifies the trust documents; the federation's id is the pinned one.
pub fn load_trust(dir: &Path, me: &NodeId) -> Result<Standing, IdentityError> {
    let pin = dir.join(FEDERATION_FILE);
    let text = files::read_limited(&pin, 200)?;
    let federation: FederationId = String::from_utf8_lossy(&text)
        .trim()
        .parse()
        .map_err(|source| IdentityError::NotPinned { path: pin, source })?;
    let documents = files::read_documents(dir)?;
    let trust = Trust::build(&documents, Some(&federation))
        .map_err(|source| IdentityError::Trust { path: dir.to_owned(), source })?;
    let keys = trust.keys(me).ok_or_else(|| IdentityError::NotListed(format!("the roster does not list {me}")))?;
    let staff = documents
        .iter()
        .find(|document| document.label() == Label::Staff)
        .map(|document| officers::verify_staff(document, &federation, keys.get()))
        .transpose()
        .map_err(IdentityError::Staff)?
        .map(|staff| staff.get().clone());
    let cards = load_cards(dir, &trust, me)?;
    one_place_each(&trust, staff.as_ref(), &cards)?;
    Ok(Standing { trust, documents, staff, cards, me: me.clone() })
}

// A key in two places is refused (`wire.md` D6): whoever held it would speak in two roles.
fn one_place_each(trust: &Trust, staff: Option<&Staff>, cards: &[Card]) -> Result<(), IdentityError> {
    let members = trust.roster().members.iter().filter_map(|member| trust.keys(&member.node_id));
    let mut all: Vec<PublicKey> = trust.root().keys.as_slice().to_vec();
    all.extend(members.flat_map(|keys| keys.all_keys()));
    all.extend(staff.into_iter().flat_map(|staff| staff.people.iter().map(|person| person.key)));
    // A renewed officer has two cards for one key, which is one place.
    all.extend(cards.iter().map(|card| card.key).collect::<BTreeSet<_>>());
    all.sort();
    match all.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some(_) => Err(IdentityError::NotListed("one key stands in two places of the trust documents".into())),
        None => Ok(()),
    }
}

// Cards of own officers lie beside the documents; only those whose hash is on the signed list count.
fn load_cards(dir: &Path, trust: &Trust, me: &NodeId) -> Result<Vec<Card>, FileError> {
    let mut cards = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(files::at("read", dir))?.filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "card") {
            continue;
        }
        let bytes = files::read_limited(&path, 1024)?;
        let listed = trust.officers(me).is_some_and(|list| list.cards.as_slice().contains(&Hash::of(&bytes)));
        match decode::<Card>(&bytes, Cap::Small) {
            Ok(card) if listed => cards.push(card),
            Ok(_) | Err(_) => {
                tracing::warn!(file = %path.display(), "a card that the officers list does not vouch for is ignored");
            }
        }
    }
    Ok(cards)
}

impl Standing {
    /// Refuses to run under keys that the roster does not list (C117).
    pub fn check_own_keys(&self, keys: &NodeKeys) -> Result<(), IdentityError> {
        if !self.trust.speaks(accord_protocol::PROTOCOL) {
            let roster = self.trust.roster();
            return Err(IdentityError::NotListed(format!(
                "the roster asks for protocol {} to {}, and this program speaks {}: use another version of Accord",
                roster.min_protocol,
                roster.max_protocol,
                accord_protocol::PROTOCOL
            )));
        }
        let listed = self.trust.keys(&self.me).is_some_and(|listed| {
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
        let staff = self.staff.iter().filter(|staff| now < staff.expires_at).flat_map(|staff| staff.people.iter());
        let found =
            staff.into_iter().find(|person| person.key == *key && person.valid_from <= now && now < person.valid_to);
        if let Some(person) = found {
            return Some(person.role);
        }
        let list_holds = self.trust.officers(&self.me).is_some_and(|list| now < list.expires_at);
        let officer = self.cards.iter().any(|card| card.key == *key && card.valid_from <= now && now < card.valid_to);
        (list_holds && officer).then_some(KeyRole::Officer)
    }
}
