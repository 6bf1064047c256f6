//! `accord key`: what a ring holds, another key beside the one in use, another passphrase or credential.

use std::path::PathBuf;

use accord_edge::{
    files,
    keyring::{KeyRing, RingError, Seal, new_credential},
    trust_folder::TrustFolder,
};
use accord_protocol::{
    codec::Text,
    id::NodeId,
    key::{PublicKey, SigningKey},
    member_keys::KeyRole,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Global, member_id, people::write_claim, propose::shown};
use crate::{
    output::{Failure, Outcome, table},
    profile::{Profile, ask_new_passphrase, open_ring, passphrase_of},
};

/// `accord key`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Show the public keys of a ring.
    Show(Show),
    /// Make another key beside the one in use, and the claim with which administrators list it.
    Rotate(Rotate),
    /// Seal a ring anew: another passphrase, or a credential for a node that starts by itself.
    Reseal(Reseal),
}

/// `accord key show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The ring. Default: that of the profile.
    ring: Option<PathBuf>,
    /// The member, as fingerprints are said with it. Default: that of the profile.
    #[arg(long)]
    member: Option<String>,
}

/// `accord key rotate`
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The ring. Default: that of the profile.
    ring: Option<PathBuf>,
    /// Which keys: tls, sign, log, witness of a node; of a person the one that there is.
    #[arg(long, value_delimiter = ',')]
    roles: Vec<String>,
    /// Whose keys they are, for the claim.
    #[arg(long)]
    name: Option<String>,
    /// The member. Default: that of the profile.
    #[arg(long)]
    member: Option<String>,
    /// Where the claim is written. Default: beside the ring.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `accord key reseal`
#[derive(Debug, Args)]
pub(crate) struct Reseal {
    /// The ring. Default: that of the profile.
    ring: Option<PathBuf>,
    /// Seal it with a new random credential, which is written to this new file: for a node that starts by itself.
    #[arg(long, value_name = "FILE", conflicts_with = "unprotected")]
    credential: Option<PathBuf>,
    /// Leave it without a seal. Its file mode is then all that protects it.
    #[arg(long)]
    unprotected: bool,
}

impl Key {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Show(show) => show.run(global),
            Self::Rotate(rotate) => rotate.run(global),
            Self::Reseal(reseal) => reseal.run(global),
        }
    }
}

// The ring that is named, or that of the profile; and the member.
fn ring_and_member(
    ring: Option<PathBuf>,
    member: Option<&str>,
    global: &Global,
) -> anyhow::Result<(PathBuf, Option<NodeId>)> {
    let profile = Profile::open_if_there(global)?;
    let member = match member {
        Some(name) => Some(member_id(name)?),
        None => profile.as_ref().map(|profile| profile.member.clone()),
    };
    let ring = ring
        .or_else(|| profile.as_ref().map(|profile| profile.dir.join("person.ring")))
        .ok_or_else(|| Failure::usage("RING", "which key ring?", "name the file, or use a profile (--profile)"))?;
    Ok((ring, member))
}

impl Show {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (path, member) = ring_and_member(self.ring, self.member.as_deref(), global)?;
        let ring = open_ring(&path, global)?;
        let of = member.as_ref().map_or("", NodeId::as_str);
        let mut rows = Vec::new();
        let mut keys: Vec<Value> = Vec::new();
        for (role, key) in ring.keys().iter().filter(|(role, _)| *role != KeyRole::Edition) {
            // Root keys are said without a member.
            let said_with = if *role == KeyRole::Root { "" } else { of };
            let print = key.public().fingerprint(role.as_str(), said_with);
            rows.push(vec![role.to_string(), print.clone(), key.public().to_string()]);
            keys.push(json!({ "role": role.as_str(), "key": key.public().to_string(), "fingerprint": print }));
        }
        let text = format!(
            "{} ring {}\n{}",
            ring.kind,
            path.display(),
            table(&["key", "fingerprint", "public key"].map(str::to_owned), &rows, &[])
        );
        Ok(Outcome::done(json!({ "ring": path, "kind": ring.kind.as_str(), "keys": keys }), text))
    }
}

impl Rotate {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (path, member) = ring_and_member(self.ring, self.member.as_deref(), global)?;
        let sealed = SealedBy::of(&path, global)?;
        let ring = open_ring(&path, global)?;
        let held: Vec<KeyRole> = ring.keys().iter().map(|(role, _)| *role).collect();
        let roles = self.roles.iter().map(|word| role(word, &held)).collect::<anyhow::Result<Vec<_>>>()?;
        let roles = match (roles.is_empty(), held.as_slice()) {
            (false, _) => roles,
            (true, [only, ..]) if held.iter().all(|role| role == only) => vec![*only],
            (true, _) => vec![KeyRole::Tls, KeyRole::Sign],
        };
        if roles.contains(&KeyRole::Edition) {
            let message = "the edition key is no key that others know: editions already published hang on it";
            return Err(Failure::usage("ROLE", message, "rotate tls, sign, log or witness").into());
        }
        let retired = retired((&path, &ring), &roles, member.as_ref(), global)?;
        let made =
            KeyRing::rotate(&path, &roles, |role, key| roles.contains(&role) && retired.contains(key), sealed.seal());
        let ring = made.map_err(|error| ring_failure(&path, error))?;
        let claim_file = self.out.unwrap_or_else(|| path.with_extension("next.claim"));
        let name = self.name.unwrap_or_else(|| {
            member.as_ref().map_or("next keys".to_owned(), |member| format!("next keys of {member}"))
        });
        let name = Text::new(&name).ok_or_else(|| {
            Failure::usage("NAME", "--name: at most 64 printable ASCII characters", "choose a shorter name")
        })?;
        let new = only_newest(ring, &roles);
        write_claim(&claim_file, name, member.clone(), &new)?;
        let of = member.as_ref().map_or("", NodeId::as_str);
        let prints: Vec<Value> = new
            .keys()
            .iter()
            .map(|(role, key)| json!({ "role": role.as_str(), "fingerprint": key.public().fingerprint(role.as_str(), of) }))
            .collect();
        let next = match roles.first() {
            Some(KeyRole::Officer) => "accord officer add CLAIM",
            Some(KeyRole::Administrator) => "accord admin add CLAIM, and later accord admin remove for the old key",
            Some(KeyRole::Operator | KeyRole::Approver | KeyRole::Auditor) => "accord staff add CLAIM",
            Some(KeyRole::Root) => "accord root propose --add CLAIM --remove GROUPS",
            _ => "accord member keys rotate CLAIM",
        };
        let mut text = format!("made {} new key(s) in {}\n", prints.len(), path.display());
        for (role, key) in new.keys() {
            text += &format!("  {role} {}\n", key.public().fingerprint(role.as_str(), of));
        }
        text += &format!("next: hand {} to the administrators: {next}\n", claim_file.display());
        Ok(Outcome::done(json!({ "ring": path, "claim": claim_file, "keys": prints }), text))
    }
}

// The newest key of each role, which the claim is about.
fn only_newest(ring: KeyRing, roles: &[KeyRole]) -> KeyRing {
    let newest: Vec<PublicKey> =
        roles.iter().filter_map(|role| ring.all(*role).last().map(SigningKey::public)).collect();
    ring.keep_only(|key| newest.contains(key))
}

fn role(word: &str, held: &[KeyRole]) -> anyhow::Result<KeyRole> {
    KeyRole::from_word(word).filter(|role| held.contains(role)).ok_or_else(|| {
        let known: Vec<&str> = held.iter().map(|role| role.as_str()).collect();
        Failure::usage("ROLE", format!("the ring holds no {word} key"), format!("it holds: {}", known.join(", ")))
            .into()
    })
}

/// The keys that may leave the ring: of each role those before one that is in use now, if they are so no more. A key that waits to be
/// listed stays, and so does everything where nobody knows what is listed.
fn retired(
    (path, ring): (&std::path::Path, &KeyRing),
    roles: &[KeyRole],
    member: Option<&NodeId>,
    global: &Global,
) -> anyhow::Result<Vec<PublicKey>> {
    let profile = Profile::open_if_there(global)?;
    // The trust documents of the profile, or those of the node beside the ring.
    let of_profile = profile.as_ref().map(Profile::trust_folder_if_there).transpose()?.flatten();
    let beside = path.parent().map(|folder| folder.join("trust")).filter(|folder| folder.is_dir());
    let of_node = beside.zip(member).and_then(|(folder, member)| TrustFolder::open(&folder, member).ok());
    let trust = of_profile.or(of_node).map(|folder| folder.trust);
    let mut in_use: Vec<PublicKey> = Vec::new();
    if let Some((trust, member)) = trust.as_ref().zip(member) {
        in_use.extend(trust.keys(member).into_iter().flat_map(|keys| keys.all_keys()));
        in_use.extend(trust.staff().into_iter().flat_map(|list| list.people.iter().map(|person| person.key)));
        in_use.extend(trust.root().keys.iter());
    }
    in_use.extend(profile.and_then(|profile| profile.card().ok()).map(|(_, card)| card.key));
    let mut retired = Vec::new();
    for role in roles {
        let of_role: Vec<PublicKey> = ring.all(*role).map(SigningKey::public).collect();
        let last_in_use = of_role.iter().rposition(|key| in_use.contains(key)).unwrap_or(0);
        retired.extend(of_role.into_iter().take(last_in_use).filter(|key| !in_use.contains(key)));
    }
    Ok(retired)
}

impl Reseal {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (path, _) = ring_and_member(self.ring, None, global)?;
        let before = SealedBy::of(&path, global)?;
        let fault = |error| ring_failure(&path, error);
        let (how, text) = if let Some(file) = &self.credential {
            let credential = new_credential()?;
            // Written first: a ring whose credential is nowhere would be lost.
            files::write_new(file, format!("{}\n", credential.as_str()).as_bytes())?;
            KeyRing::reseal(&path, before.seal(), Seal::Credential(&credential)).map_err(fault)?;
            let text = format!(
                "sealed {} with the credential in {}\nnext: move it out of reach of backups of the ring: systemd-creds encrypt --name=node-pass {} node-pass.cred, then delete the file\n",
                path.display(),
                file.display(),
                file.display()
            );
            ("credential", text)
        } else if self.unprotected {
            KeyRing::reseal(&path, before.seal(), Seal::Open).map_err(fault)?;
            ("open", format!("{} is no longer sealed: its file mode is all that protects it\n", path.display()))
        } else {
            let secret = ask_new_passphrase(global)?;
            KeyRing::reseal(&path, before.seal(), Seal::Passphrase(&secret)).map_err(fault)?;
            ("passphrase", format!("sealed {} with the new passphrase\n", path.display()))
        };
        Ok(Outcome::done(json!({ "ring": path, "seal": how }), text))
    }
}

/// What a ring is sealed with, as its owner gives it.
enum SealedBy {
    Open,
    Passphrase(zeroize::Zeroizing<String>),
    Credential(zeroize::Zeroizing<String>),
}

impl SealedBy {
    fn of(path: &std::path::Path, global: &Global) -> anyhow::Result<Self> {
        let kind = KeyRing::sealed_with(path).map_err(|error| ring_failure(path, error))?;
        let secret = || {
            passphrase_of(path, global)
                .ok_or_else(|| anyhow::Error::new(ring_failure(path, RingError::PassphraseNeeded)))
        };
        Ok(match kind {
            Seal::Open => Self::Open,
            Seal::Passphrase(_) => Self::Passphrase(secret()?),
            Seal::Credential(_) => Self::Credential(secret()?),
        })
    }

    fn seal(&self) -> Seal<'_> {
        match self {
            Self::Open => Seal::Open,
            Self::Passphrase(secret) => Seal::Passphrase(secret),
            Self::Credential(secret) => Seal::Credential(secret),
        }
    }
}

fn ring_failure(path: &std::path::Path, error: RingError) -> Failure {
    let next = match &error {
        RingError::Full(_) => {
            "the last rotation is not ended: list the next key, then take the old one out of the keys (accord member keys finish)"
        }
        RingError::PassphraseNeeded => "give it on a terminal, or with --passphrase-fd N",
        _ => "check the file and its passphrase",
    };
    Failure::refused("KEY-RING", format!("{:#}", anyhow::Error::new(error)), next).in_file(shown(path))
}
