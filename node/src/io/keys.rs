//! The node's private keys: those in its ring, and the ones of them that it speaks with at the moment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use accord_edge::{
    keyring::{KeyRing, RingError, RingKind},
    linux,
};
use accord_protocol::{
    id::{Hash, NodeId},
    key::{PublicKey, SigningKey},
    member_keys::{KeyRole, MemberKeys},
    signed::{Document, FederationId},
    suspend::{Suspend, Target},
    time::UnixMs,
    trust::Trust,
};
use zeroize::Zeroizing;

use crate::domain::own_keys::{Known, speaks_with};

/// Where systemd puts what it has decrypted for a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The name of the node's credential there.
const CREDENTIAL: &str = "node-pass";

/// What the node's ring is sealed with; nothing for a ring that its file mode alone protects.
#[derive(Clone, Default)]
pub struct Credential(Option<Zeroizing<String>>);

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

impl Credential {
    /// Reads it from a descriptor, else from systemd's credentials, where there is one.
    pub fn find(descriptor: Option<u32>) -> std::io::Result<Self> {
        if let Some(descriptor) = descriptor {
            let [line, _] = linux::read_secret_lines(descriptor)?;
            return Ok(Self(Some(line)));
        }
        let Some(path) = std::env::var_os(CREDENTIALS).map(|folder| PathBuf::from(folder).join(CREDENTIAL)) else {
            return Ok(Self(None));
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self(Some(Zeroizing::new(text.trim_end().to_owned())))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// Opens a node's ring with it.
    pub fn open(&self, ring: &Path) -> Result<KeyRing, RingError> {
        KeyRing::open(ring, || self.0.clone())?.expect_kind(RingKind::Node)
    }
}

/// The private keys that a node holds; of one role there may be several.
pub struct NodeKeys {
    held: Vec<Arc<SigningKey>>,
    /// Secret of edition commitments: `edition_key` of `wire.md` D11.
    pub edition_key: [u8; 32],
    /// Secret that details of the audit log are sealed with, together with the key of their month.
    pub details_key: [u8; 32],
}

impl std::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKeys")
    }
}

/// The keys that a node speaks with.
#[derive(Debug, Clone)]
pub struct Voice {
    /// For handshakes with members.
    pub tls: Arc<SigningKey>,
    /// For handshakes with its own people, whose tools may learn of the next key later than members do: the current one for as long
    /// as it is listed.
    pub people: Arc<SigningKey>,
    /// For answers, requests, greetings and editions.
    pub sign: Arc<SigningKey>,
    /// Whether the keys document in force lists them; if not, they are the last ones that it did, and no data is exchanged.
    pub is_listed: bool,
}

impl Voice {
    /// Whether it is the same keys, and they count as much.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let keys = |voice: &Self| [&voice.tls, &voice.people, &voice.sign].map(|key| key.public());
        keys(self) == keys(other) && self.is_listed == other.is_listed
    }
}

/// A key ring that is not usable.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct BadRing {
    path: PathBuf,
    #[source]
    source: RingError,
}

impl NodeKeys {
    /// Opens the node's key ring.
    pub fn load(dir: &Path, credential: &Credential) -> Result<Self, BadRing> {
        let path = dir.join("node.ring");
        let opened = || {
            let mut ring = credential.open(&path)?;
            // A key of the ring, so that it is backed up with it; as a MAC key it is the digest of a signature of its own.
            let edition = ring.take(KeyRole::Edition)?;
            let Hash(edition_key) = Hash::of(&edition.sign_raw(b"accord/1 edition-key").0);
            let Hash(details_key) = Hash::of(&edition.sign_raw(b"accord/1 details-key").0);
            let mut held = Vec::new();
            for role in [KeyRole::Tls, KeyRole::Sign, KeyRole::Log, KeyRole::Witness] {
                while let Ok(key) = ring.take(role) {
                    held.push(Arc::new(key));
                }
            }
            Ok(Self { held, edition_key, details_key })
        };
        opened().map_err(|source| BadRing { path: path.clone(), source })
    }

    /// The private part of a key, if it is here.
    pub fn find(&self, key: &PublicKey) -> Option<&Arc<SigningKey>> {
        self.held.iter().find(|held| held.public() == *key)
    }

    /// The keys of a document that the node should hold and does not.
    pub fn lacks(&self, listed: &MemberKeys) -> Vec<PublicKey> {
        all_of_node(listed).filter(|key| self.find(key).is_none()).collect()
    }

    /// Signs a document with each of some keys that is here.
    pub fn sign(&self, document: &mut Document, keys: impl Iterator<Item = PublicKey>, federation: &FederationId) {
        for key in keys.filter_map(|key| self.find(&key)) {
            document.add_signature(key, federation);
        }
    }

    /// The keys to speak with; nothing if the member lists none that the node holds and that is not suspended.
    pub fn voice(&self, trust: &Trust, me: &NodeId, known: Known, now: UnixMs) -> Option<Voice> {
        let listed = trust.keys(me)?;
        let may_use = |key: &PublicKey| {
            let is_meant = |suspend: &Suspend| suspend.key().as_ref() == Some(key);
            self.find(key).is_some() && !trust.is_suspended(me, Target::Key, now, is_meant)
        };
        let chosen = |listed: &[PublicKey], known| self.find(&speaks_with(listed, may_use, known)?).cloned();
        Some(Voice {
            tls: chosen(listed.tls_keys.as_slice(), known)?,
            people: chosen(listed.tls_keys.as_slice(), Known::NotByAll)?,
            sign: chosen(listed.sign_keys.as_slice(), known)?,
            is_listed: true,
        })
    }
}

/// The keys of a member that its node holds.
pub fn all_of_node(listed: &MemberKeys) -> impl Iterator<Item = PublicKey> {
    let roles = [listed.tls_keys.as_slice(), listed.sign_keys.as_slice(), listed.log_keys.as_slice()];
    roles.into_iter().flatten().copied().chain([listed.witness_key])
}
