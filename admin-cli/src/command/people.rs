//! Keys of people. No private key travels; claims do.

use std::path::{Path, PathBuf};

use accord_edge::{
    files,
    keyring::{KeyRing, RingKind},
};
use accord_protocol::{
    bundle::Bundle,
    codec::{Bounded, Text},
    id::{Hash, NodeId},
    member_keys::{self, KeyClaim, KeyRole, RoleKey},
    signed::{Document, Preamble, Verified},
};
use clap::Args;
use serde_json::json;

use super::{Global, member_id, propose::shown};
use crate::{
    output::{Failure, Outcome},
    profile::create_ring,
    trusting::desk::open_bundle,
};

/// Where a new ring goes and whose it is.
#[derive(Debug, Args)]
pub(crate) struct NewRing {
    /// The key ring's file, which must not exist. The claim is written beside it.
    file: PathBuf,
    /// Whose it is.
    #[arg(long)]
    name: String,
    /// Make the ring without a passphrase. Its file mode is then all that protects it.
    #[arg(long)]
    unprotected: bool,
}

impl NewRing {
    pub(super) fn make(
        &self,
        kind: RingKind,
        role: KeyRole,
        member: Option<NodeId>,
        global: &Global,
    ) -> anyhow::Result<Outcome> {
        let name = Text::<64>::new(&self.name).ok_or_else(|| {
            Failure::usage("NAME", "--name: at most 64 printable ASCII characters", "choose a shorter name")
        })?;
        let ring = create_ring(&self.file, kind, &[role], self.unprotected, global)?;
        let of = member.as_ref().map_or(String::new(), ToString::to_string);
        let claim_file = self.file.with_extension("claim");
        write_claim(&claim_file, name, member, &ring)?;
        let key = ring.key(role)?.public();
        let fingerprint = key.fingerprint(role.as_str(), &of);
        let text = format!(
            "made {} ({role} key of {})\n  {fingerprint}\nnext: hand on {}; the key ring stays here",
            self.file.display(),
            self.name,
            claim_file.display()
        );
        let result = json!({
            "ring": self.file, "claim": claim_file, "role": role.as_str(), "key": key.to_string(), "fingerprint": fingerprint,
        });
        Ok(Outcome::done(result, text))
    }
}

/// Writes the claim to all public keys of a ring, signed by each.
pub(super) fn write_claim(path: &Path, name: Text<64>, member: Option<NodeId>, ring: &KeyRing) -> anyhow::Result<()> {
    let keys = ring.keys().iter().map(|(role, key)| RoleKey { role: *role, key: key.public() }).collect();
    let keys = Bounded::new(keys).unwrap_or_default();
    let claim = KeyClaim { preamble: Preamble, name, node_id: member, keys, addresses: Bounded::default() };
    let mut document = Document::new(&claim)?;
    for (_, key) in ring.keys() {
        document.add_signature(key, &Hash::ZERO);
    }
    files::write_document(path, &document)?;
    Ok(())
}

/// A ring of a member's person.
#[derive(Debug, Args)]
pub(crate) struct NewPerson {
    #[command(flatten)]
    ring: NewRing,
    /// The member.
    #[arg(long)]
    member: String,
}

impl NewPerson {
    pub(super) fn make(&self, role: KeyRole, global: &Global) -> anyhow::Result<Outcome> {
        let member = member_id(&self.member)?;
        self.ring.make(RingKind::Person, role, Some(member), global)
    }
}

/// Reads a claim and checks that every key in it has signed it.
pub(crate) fn read_claim(path: &Path) -> anyhow::Result<Verified<KeyClaim>> {
    let bundle = open_bundle(path)?;
    let document = bundle.proposed.as_slice().first().ok_or_else(|| {
        Failure::refused("CLAIM", "the file holds no claim", "get the file again from its source").in_file(shown(path))
    })?;
    Ok(member_keys::verify_claim(document).map_err(|error| {
        let next = "get the file again from its source";
        Failure::refused("NOT-VERIFIED", format!("{:#}", anyhow::Error::new(error)), next).in_file(shown(path))
    })?)
}

/// Claims of a member's people, with the files that carry their names on.
pub(super) fn read_claims(
    paths: &[PathBuf],
    member: &NodeId,
    roles: &[KeyRole],
) -> anyhow::Result<Vec<Verified<KeyClaim>>> {
    let refuse = |path: &Path, message: String, next: &str| {
        anyhow::Error::new(Failure::refused("CLAIM", message, next).in_file(shown(path)))
    };
    let mut claims = Vec::new();
    for path in paths {
        let claim = read_claim(path)?;
        if claim.node_id.as_ref() != Some(member) {
            let message = format!("the claim is for another member than {member}");
            return Err(refuse(path, message, "take the claim of that member's person"));
        }
        if !claim.keys.iter().all(|entry| roles.contains(&entry.role)) {
            return Err(refuse(path, "the claim's key is for another role".into(), "take a claim of the right role"));
        }
        claims.push(claim);
    }
    Ok(claims)
}

/// Files of claims as they go along with a proposal.
pub(super) fn as_bundles(paths: &[PathBuf]) -> anyhow::Result<Vec<Bundle>> {
    paths.iter().map(|path| open_bundle(path)).collect()
}
