//! A person's profile: key ring, card, trust documents, and where their own node is.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use accord_edge::{
    files,
    keyring::{KeyRing, RingError, RingKind, Seal},
    linux,
    trust_folder::TrustFolder,
};
use accord_protocol::{
    codec::{Cap, decode},
    id::NodeId,
    key::{PublicKey, SigningKey},
    member_keys::KeyRole,
    officers::Card,
    signed::Document,
    trust::Trust,
};
use anyhow::Context;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{command::Global, output::Failure};

/// A person's profile.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Its folder.
    pub(crate) dir: PathBuf,
    /// The person's member.
    pub(crate) member: NodeId,
    /// The person's role.
    pub(crate) role: KeyRole,
    /// Their node.
    pub(crate) node: SocketAddr,
    /// The node's TLS key.
    pub(crate) node_key: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    member: String,
    role: String,
    node: SocketAddr,
    node_key: String,
}

impl Profile {
    /// Opens the profile that the command line names.
    pub(crate) fn open(global: &Global) -> anyhow::Result<Self> {
        let dir = global.profile_dir()?;
        let path = dir.join("profile.toml");
        let bad = |message: String| {
            let next = "name a profile with --profile DIR: `accord-node init` makes one for the operator (DIR/operator), `accord profile new` for officers";
            anyhow::Error::new(Failure::usage("PROFILE", message, next))
        };
        let text =
            files::read_limited(&path, 16_384).map_err(|error| bad(format!("{:#}", anyhow::Error::new(error))))?;
        let raw: Raw = toml::from_str(&String::from_utf8_lossy(&text))
            .map_err(|error| bad(format!("{}: {error}", path.display())))?;
        Ok(Self {
            member: raw.member.parse().map_err(|error| bad(format!("{}: {error}", path.display())))?,
            role: KeyRole::from_word(&raw.role)
                .ok_or_else(|| bad(format!("{}: `{}` is no role", path.display(), raw.role)))?,
            node: raw.node,
            node_key: raw.node_key.parse().map_err(|error| bad(format!("{}: node_key: {error}", path.display())))?,
            dir,
        })
    }

    /// The trust documents, verified under the pinned federation.
    pub(crate) fn trust(&self) -> anyhow::Result<(Trust, Vec<Document>)> {
        let held = self.trust_folder()?;
        Ok((held.trust, held.documents))
    }

    fn trust_folder(&self) -> anyhow::Result<TrustFolder> {
        TrustFolder::open(&self.dir.join("trust"), &self.member).map_err(|error| {
            let next = "ask your administrator for the federation's documents, then `accord-node install` and `accord profile new`";
            Failure::refused("TRUST", format!("{:#}", anyhow::Error::new(error)), next).into()
        })
    }

    /// Takes documents that one's own node holds and the profile does not: each counts by its signatures, never because of who hands
    /// it in.
    pub(crate) fn take(&self, documents: &[Document]) -> anyhow::Result<()> {
        let before = self.trust_folder()?;
        if let Ok(next) = before.with(documents) {
            next.keep(&before)?;
        }
        Ok(())
    }

    /// Keys with which one's own node may prove itself: that of the profile, and those that its member lists.
    pub(crate) fn node_keys(&self) -> Vec<PublicKey> {
        let mut keys = vec![self.node_key];
        if let Ok((trust, _)) = self.trust() {
            let listed = trust.keys(&self.member).map(|keys| keys.tls_keys.as_slice().to_vec()).unwrap_or_default();
            keys.extend(listed.into_iter().filter(|key| *key != self.node_key));
        }
        keys
    }

    /// The person's key.
    pub(crate) fn key(&self, global: &Global) -> anyhow::Result<Arc<SigningKey>> {
        let mut ring = open_ring(&self.dir.join("person.ring"), global)?.expect_kind(RingKind::Person)?;
        Ok(Arc::new(ring.take(self.role)?))
    }

    /// An officer's card, as bytes and read.
    pub(crate) fn card(&self) -> anyhow::Result<(Vec<u8>, Card)> {
        let path = self.dir.join("officer.card");
        let bytes = files::read_limited(&path, 1024).map_err(|error| {
            Failure::usage(
                "CARD",
                format!("{:#}", anyhow::Error::new(error)),
                "only officers ask: use an officer's profile (--profile)",
            )
        })?;
        let card = decode(&bytes, Cap::Small).with_context(|| path.display().to_string())?;
        Ok((bytes, card))
    }
}

/// Opens a key ring; its passphrase comes from `--passphrase-fd` or the terminal.
pub(crate) fn open_ring(path: &Path, global: &Global) -> anyhow::Result<KeyRing> {
    let opened = KeyRing::open(path, || passphrase(global, &format!("Passphrase of {}: ", path.display())));
    opened.map_err(|error| {
        let next = match &error {
            RingError::PassphraseNeeded => "give the passphrase on a terminal, or with --passphrase-fd N",
            RingError::File(_)
            | RingError::Random(_)
            | RingError::DoesNotOpen
            | RingError::Cost
            | RingError::Credential
            | RingError::Full(_)
            | RingError::Kind { .. }
            | RingError::NoKey(_) => "check the file and its passphrase",
        };
        Failure::refused("KEY-RING", format!("{}: {:#}", path.display(), anyhow::Error::new(error)), next).into()
    })
}

/// Makes a new key ring with a passphrase, or without one where that is asked for by name.
pub(crate) fn create_ring(
    path: &Path,
    kind: RingKind,
    roles: &[KeyRole],
    unprotected: bool,
    global: &Global,
) -> anyhow::Result<KeyRing> {
    let secret = if unprotected {
        None
    } else {
        let secret = new_passphrase(global)?;
        if secret.chars().count() < 8 {
            return Err(Failure::usage(
                "PASSPHRASE",
                "the passphrase has fewer than 8 characters",
                "choose a longer one",
            )
            .into());
        }
        Some(secret)
    };
    let sealed = secret.as_ref().map_or(Seal::Open, |secret| Seal::Passphrase(secret));
    let made = KeyRing::create(path, kind, roles, sealed);
    made.map_err(|error| {
        Failure::refused(
            "KEY-RING",
            format!("{:#}", anyhow::Error::new(error)),
            "choose a new file; a key ring is never overwritten",
        )
        .into()
    })
}

fn passphrase(global: &Global, prompt: &str) -> Option<Zeroizing<String>> {
    // A pipe can be read once; a command that opens two rings takes the same line for both.
    static FROM_DESCRIPTOR: OnceLock<Option<Zeroizing<String>>> = OnceLock::new();
    match global.passphrase_fd {
        Some(descriptor) => FROM_DESCRIPTOR.get_or_init(|| linux::read_secret_line(descriptor).ok()).clone(),
        None => linux::ask_secret(prompt).ok(),
    }
}

fn new_passphrase(global: &Global) -> Result<Zeroizing<String>, Failure> {
    let nobody = || {
        Failure::usage(
            "PASSPHRASE",
            "a new key ring needs a passphrase, and there is no terminal to ask for one",
            "give it with --passphrase-fd N, or make a ring without one with --unprotected",
        )
    };
    let first = passphrase(global, "New passphrase (8 characters or more): ").ok_or_else(nobody)?;
    if global.passphrase_fd.is_some() {
        return Ok(first);
    }
    let again = passphrase(global, "Again: ").ok_or_else(nobody)?;
    if *first == *again {
        Ok(first)
    } else {
        Err(Failure::usage("PASSPHRASE", "the two passphrases differ; nothing was made", "run the command again"))
    }
}
