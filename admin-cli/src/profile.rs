//! A person's profile: key ring, card, trust documents, and where their own node is.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use accord_edge::{
    clock, files,
    keyring::{KeyRing, RingError, RingKind, Seal},
    linux,
    trust_folder::{FEDERATION_FILE, TrustFolder},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    id::NodeId,
    key::{PublicKey, SigningKey},
    member_keys::KeyRole,
    officers::Card,
    signed::Document,
    signer::Signer,
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
    /// Their node, with its TLS key; administrators have none, since their keys never connect.
    node: Option<(SocketAddr, PublicKey)>,
    opened: Mutex<Option<Arc<dyn Signer>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    member: String,
    role: String,
    node: Option<SocketAddr>,
    node_key: Option<String>,
}

impl Profile {
    /// Opens the profile that the command line names.
    pub(crate) fn open(global: &Global) -> anyhow::Result<Self> {
        Self::open_at(global.profile_dir()?)
    }

    /// Opens the profile in a folder.
    pub(crate) fn open_at(dir: PathBuf) -> anyhow::Result<Self> {
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
            node: match (raw.node, raw.node_key) {
                (Some(node), Some(key)) => {
                    Some((node, key.parse().map_err(|error| bad(format!("{}: node_key: {error}", path.display())))?))
                }
                (None, None) => None,
                _ => return Err(bad(format!("{}: `node` and `node_key` go together", path.display()))),
            },
            opened: Mutex::default(),
            dir,
        })
    }

    /// Opens the profile if there is one. One that the command line names must be there.
    pub(crate) fn open_if_there(global: &Global) -> anyhow::Result<Option<Self>> {
        let is_there = global.profile_dir().is_ok_and(|dir| dir.join("profile.toml").exists());
        if global.profile.is_none() && !is_there {
            return Ok(None);
        }
        Self::open(global).map(Some)
    }

    /// Where one's own node is.
    pub(crate) fn node(&self) -> anyhow::Result<SocketAddr> {
        self.node.map(|(address, _)| address).ok_or_else(|| {
            let message = format!("the profile of this {} names no node: such keys never connect", self.role);
            Failure::usage("NO-NODE", message, "an operator hands documents in: use the operator's profile (--profile)")
                .into()
        })
    }

    /// Cards of officers that an administrator keeps.
    pub(crate) fn kept_cards(&self) -> anyhow::Result<Vec<Card>> {
        let mut cards = Vec::new();
        let Ok(entries) = std::fs::read_dir(self.dir.join("cards")) else { return Ok(cards) };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let bytes = files::read_limited(&path, 1024)?;
            cards.push(decode(&bytes, Cap::Small).with_context(|| path.display().to_string())?);
        }
        Ok(cards)
    }

    /// Keeps a card that was made here.
    pub(crate) fn keep_card(&self, card: &Card) -> anyhow::Result<()> {
        let folder = self.dir.join("cards");
        files::make_dir(&folder)?;
        files::write_atomically(&folder.join(format!("{}.card", card.officer_id)), &encode(card)?)?;
        Ok(())
    }

    /// Remembers a file that others still have to sign.
    pub(crate) fn remember_proposal(&self, file: &Path) -> anyhow::Result<()> {
        let list = self.dir.join("proposals");
        let line = std::path::absolute(file)?.display().to_string();
        let mut lines = self.proposals();
        if !lines.contains(&line) {
            lines.push(line);
        }
        files::write_atomically(&list, format!("{}\n", lines.join("\n")).as_bytes())?;
        Ok(())
    }

    /// The files that are remembered and still there.
    pub(crate) fn proposals(&self) -> Vec<String> {
        let text = files::read_limited(&self.dir.join("proposals"), 64 << 10).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| Path::new(line).is_file()).map(str::to_owned).collect()
    }

    /// The trust documents, verified under the pinned federation.
    pub(crate) fn trust(&self) -> anyhow::Result<(Trust, Vec<Document>)> {
        let held = self.trust_folder()?;
        Ok((held.trust, held.documents))
    }

    /// Whether the profile has trust documents yet.
    pub(crate) fn has_trust(&self) -> bool {
        self.dir.join("trust").join(FEDERATION_FILE).exists()
    }

    /// The folder of trust documents, if the profile has one yet.
    pub(crate) fn trust_folder_if_there(&self) -> anyhow::Result<Option<TrustFolder>> {
        if self.has_trust() { self.trust_folder().map(Some) } else { Ok(None) }
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

    /// Takes the latest card of an officer that is listed and valid now, for one of these keys.
    pub(crate) fn take_card(&self, cards: &[Card], keys: &[PublicKey]) -> anyhow::Result<()> {
        if self.role != KeyRole::Officer {
            return Ok(());
        }
        let (trust, _) = self.trust()?;
        let now = clock::now();
        let mut best: Option<(Vec<u8>, Card)> = None;
        for card in cards.iter().filter(|card| keys.contains(&card.key)) {
            let bytes = encode(card)?;
            // The latest word of the administrators, also where it is shorter or says less than the one before.
            let order = |card: &Card| (card.valid_from, card.valid_to);
            let better = best.as_ref().is_none_or(|(_, best)| order(card) > order(best));
            if better && trust.officer(&self.member, &bytes, now).is_some() {
                best = Some((bytes, card.clone()));
            }
        }
        let Some((bytes, _)) = best else { return Ok(()) };
        if self.card().ok().is_none_or(|(held, _)| held != bytes) {
            files::write_atomically(&self.dir.join("officer.card"), &bytes)?;
        }
        Ok(())
    }

    /// Keys with which one's own node may prove itself: that of the profile, and those that its member lists.
    pub(crate) fn node_keys(&self) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = self.node.map(|(_, key)| key).into_iter().collect();
        if let Ok((trust, _)) = self.trust() {
            let listed = trust.keys(&self.member).map(|keys| keys.tls_keys.as_slice().to_vec()).unwrap_or_default();
            keys.extend(listed.into_iter().filter(|key| self.node.is_none_or(|(_, known)| known != *key)));
        }
        keys
    }

    /// The person's key: of an officer the one that the card is for, since a ring may hold the next one too.
    pub(crate) fn key(&self, global: &Global) -> anyhow::Result<Arc<dyn Signer>> {
        self.key_for(self.card().ok().map(|(_, card)| card.key), global)
    }

    /// The person's key, this one if it is said: as it was opened before, else from the agent where it is unlocked, else from the
    /// ring. A passphrase is asked for once.
    pub(crate) fn key_for(&self, wanted: Option<PublicKey>, global: &Global) -> anyhow::Result<Arc<dyn Signer>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |key: &PublicKey| wanted.is_none_or(|wanted| wanted == *key);
        if let Some(key) = opened.as_ref().filter(|key| is_meant(&key.public())) {
            return Ok(Arc::clone(key));
        }
        let key: Arc<dyn Signer> = match crate::agent::unlocked(self).filter(|key| is_meant(&key.public())) {
            Some(key) => Arc::from(key),
            None => Arc::new(self.key_of_ring(wanted, global)?),
        };
        *opened = Some(Arc::clone(&key));
        Ok(key)
    }

    /// The person's key out of the ring.
    pub(crate) fn key_of_ring(&self, wanted: Option<PublicKey>, global: &Global) -> anyhow::Result<SigningKey> {
        let mut ring = open_ring(&self.dir.join("person.ring"), global)?.expect_kind(RingKind::Person)?;
        Ok(match wanted.and_then(|key| ring.take_public(&key)) {
            Some(key) => key,
            None => ring.take(self.role)?,
        })
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
    let opened = KeyRing::open(path, || passphrase_of(path, global));
    let ring: anyhow::Result<KeyRing> = opened.map_err(|error| {
        let next = match &error {
            RingError::PassphraseNeeded => "give the passphrase on a terminal, or with --passphrase-fd N",
            RingError::File(_)
            | RingError::Random(_)
            | RingError::DoesNotOpen
            | RingError::Cost
            | RingError::Credential
            | RingError::Shared { .. }
            | RingError::Full(_)
            | RingError::Kind { .. }
            | RingError::NoKey(_) => "check the file and its passphrase",
        };
        Failure::refused("KEY-RING", format!("{}: {:#}", path.display(), anyhow::Error::new(error)), next).into()
    });
    let ring = ring?;
    if ring.kind == RingKind::Root {
        offline()?;
    }
    Ok(ring)
}

/// From here on this process cannot open a socket: root keys are used offline, and this is more than a promise (K16).
pub(crate) fn offline() -> anyhow::Result<()> {
    linux::forbid_network().map_err(|error| {
        let next = "root keys are used on Linux with seccomp; use another machine";
        Failure::fault("OFFLINE", format!("the filter against network use cannot be set: {error}"), next).into()
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
    let secret = if unprotected { None } else { Some(ask_new_passphrase(global)?) };
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

/// The passphrase, or the credential, of a ring that has one.
pub(crate) fn passphrase_of(path: &Path, global: &Global) -> Option<Zeroizing<String>> {
    passphrase(global, &format!("Passphrase of {}: ", path.display()))
}

/// A new passphrase, long enough.
pub(crate) fn ask_new_passphrase(global: &Global) -> anyhow::Result<Zeroizing<String>> {
    let secret = new_passphrase(global)?;
    if secret.chars().count() < 8 {
        let message = "the passphrase has fewer than 8 characters";
        return Err(Failure::usage("PASSPHRASE", message, "choose a longer one").into());
    }
    Ok(secret)
}

fn passphrase(global: &Global, prompt: &str) -> Option<Zeroizing<String>> {
    match global.passphrase_fd {
        Some(descriptor) => from_descriptor(descriptor).map(|[first, _]| first.clone()),
        None => linux::ask_secret(prompt).ok(),
    }
}

// A pipe can be read once; a command that opens two rings takes the same line for both. A second line is a new passphrase.
fn from_descriptor(descriptor: u32) -> Option<&'static [Zeroizing<String>; 2]> {
    static LINES: OnceLock<Option<[Zeroizing<String>; 2]>> = OnceLock::new();
    LINES.get_or_init(|| linux::read_secret_lines(descriptor).ok()).as_ref()
}

fn new_passphrase(global: &Global) -> Result<Zeroizing<String>, Failure> {
    let nobody = || {
        Failure::usage(
            "PASSPHRASE",
            "a new key ring needs a passphrase, and there is no terminal to ask for one",
            "give it with --passphrase-fd N, or make a ring without one with --unprotected",
        )
    };
    if let Some(descriptor) = global.passphrase_fd {
        let [first, second] = from_descriptor(descriptor).ok_or_else(nobody)?;
        return Ok(if second.is_empty() { first.clone() } else { second.clone() });
    }
    let first = passphrase(global, "New passphrase (8 characters or more): ").ok_or_else(nobody)?;
    let again = passphrase(global, "Again: ").ok_or_else(nobody)?;
    if *first == *again {
        Ok(first)
    } else {
        Err(Failure::usage("PASSPHRASE", "the two passphrases differ; nothing was made", "run the command again"))
    }
}
