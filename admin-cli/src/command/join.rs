//! `accord join`: a new member's keys document, made at its node from an invitation, with the node's proof that it holds its keys.

use std::path::{Path, PathBuf};

use accord_edge::{
    clock, files,
    keyring::{KeyRing, RingKind},
};
use accord_protocol::{
    bundle::Bundle,
    codec::Bounded,
    id::Hash,
    key::fingerprint,
    member_keys::{KeyRole, MemberKeys},
    root,
    signed::{Document, FederationId, Label, Preamble},
    time::DAY_MS,
};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::{
    Global,
    people::{read_claim, read_claims},
    propose::{bounded, document, shown},
};
use crate::{
    output::{Failure, Outcome},
    profile::open_ring,
    trusting::{
        desk::{federation_id, open_bundle},
        heard::Heard,
        words::{explain, keys_fingerprint},
    },
};

/// `accord join`
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The invitation, from `accord member invite`.
    invitation: PathBuf,
    /// The node's folder, from `accord-node init`.
    #[arg(long)]
    node: PathBuf,
    /// Claims of the member's administrators, from `accord admin new`.
    #[arg(long, value_delimiter = ',', required = true, value_name = "CLAIM")]
    admins: Vec<PathBuf>,
    /// How many of them must sign what widens anything.
    #[arg(long, default_value_t = 2)]
    threshold: u8,
    /// The federation's id, from outside; or two groups of its fingerprint are asked for.
    #[arg(long, value_name = "ID")]
    federation: Option<String>,
    /// Two groups of the federation's fingerprint as heard: federation=12345,67890.
    #[arg(long, value_name = "NAME=GROUP,GROUP")]
    heard: Vec<String>,
    /// Days until the keys run out, at most 400.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    /// Where the file is written, which the administrators sign.
    #[arg(long)]
    out: PathBuf,
}

/// For whom an invitation is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    r#for: String,
    member: String,
    name: String,
}

impl Join {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let invitation = open_bundle(&self.invitation)?;
        let note = self.note(&invitation)?;
        let roots = root::follow(invitation.held.as_slice(), None).map_err(|error| {
            let next = "get the invitation again from a root holder";
            Failure::refused("ROOT", format!("{:#}", anyhow::Error::new(error)), next).in_file(shown(&self.invitation))
        })?;
        self.compare(&roots.federation)?;

        let claim_file = self.node.join("claim.accord");
        let claim = read_claim(&claim_file)?;
        let member = claim.node_id.clone().filter(|member| member.as_str() == note.member).ok_or_else(|| {
            let message = format!(
                "the invitation is for {}, and the node in {} is another member's",
                note.member,
                self.node.display()
            );
            Failure::refused("MEMBER", message, "use the invitation for this member")
        })?;
        let admins = read_claims(&self.admins, &member, &[KeyRole::Administrator])?;
        let now = clock::now();
        let key = |role: KeyRole| {
            claim.key(role).ok_or_else(|| {
                let message = format!("the node's claim holds no {role} key");
                Failure::refused("CLAIM", message, "make the node with `accord-node init`").in_file(shown(&claim_file))
            })
        };
        let one = |role: KeyRole| anyhow::Ok(Bounded::new(vec![key(role)?]).unwrap_or_default());
        let keys = MemberKeys {
            preamble: Preamble,
            federation: roots.federation,
            node_id: member.clone(),
            keys_version: 1,
            prev_hash: Hash::ZERO,
            issued_at: now,
            expires_at: now.plus(u64::from(self.valid_days) * DAY_MS),
            admin_keys: bounded(
                admins.iter().flat_map(|claim| claim.keys.iter()).map(|one| one.key).collect(),
                "administrators",
            )?,
            admin_threshold: self.threshold,
            tls_keys: one(KeyRole::Tls)?,
            sign_keys: one(KeyRole::Sign)?,
            log_keys: one(KeyRole::Log)?,
            witness_key: key(KeyRole::Witness)?,
            addresses: claim.addresses.clone(),
            officers_version_min: 0,
        };
        let mut proposed =
            document(&keys, "two administrators at least; --threshold is 2 of 2, or less than their number")?;
        let ring = open_ring(&self.node.join("node.ring"), global)?.expect_kind(RingKind::Node)?;
        prove(&mut proposed, &ring, &keys, &roots.federation);
        let bundle = Bundle {
            proposed: Bounded::new(vec![proposed.clone()]).unwrap_or_default(),
            held: Bounded::new(self.beside(&invitation, &claim_file)?).unwrap_or_default(),
            ..Bundle::default()
        };
        files::write_bundle(&self.out, &bundle)?;
        let print = keys_fingerprint(&proposed.hash(), member.as_str());
        let words = explain(&proposed)?;
        let out = self.out.display();
        let text = format!(
            "{}\nwrote {out}\nnext: each administrator signs it (accord federation sign {out} --ring THEIR.ring); then it goes to the root holders.\nwhen they ask, read out {print}\n",
            words.join("\n")
        );
        let result = json!({ "document": self.out, "member": member.as_str(), "name": note.name, "fingerprint": print, "words": words });
        Ok(Outcome::done(result, text))
    }

    fn note(&self, invitation: &Bundle) -> anyhow::Result<Note> {
        let text = String::from_utf8_lossy(invitation.note.as_slice());
        let note: Option<Note> = toml::from_str(&text).ok().filter(|note: &Note| note.r#for == "member");
        note.ok_or_else(|| {
            let message = "this is no invitation for a member";
            Failure::refused("INVITATION", message, "take the file of `accord member invite`")
                .in_file(shown(&self.invitation))
                .into()
        })
    }

    fn compare(&self, federation: &FederationId) -> anyhow::Result<()> {
        if let Some(given) = &self.federation {
            if federation_id(given)? == *federation {
                return Ok(());
            }
            let message = "the invitation is for another federation than --federation names";
            return Err(Failure::refused("FEDERATION", message, "ask the root holders").into());
        }
        let print = fingerprint("federation", "", &federation.0);
        Heard::parse(&self.heard)?.compare("federation", &print, "a root holder")
    }

    // Root documents, and the claims that carry names.
    fn beside(&self, invitation: &Bundle, claim_file: &Path) -> anyhow::Result<Vec<Document>> {
        let mut held: Vec<Document> =
            invitation.held.iter().filter(|document| document.label() == Label::Root).cloned().collect();
        for path in self.admins.iter().map(PathBuf::as_path).chain([claim_file]) {
            held.extend(open_bundle(path)?.proposed.iter().cloned());
        }
        Ok(held)
    }
}

/// Adds the signature of every key of a node's ring that a keys document lists.
fn prove(document: &mut Document, ring: &KeyRing, keys: &MemberKeys, federation: &FederationId) {
    let listed = keys.all_keys();
    for (_, key) in ring.keys().iter().filter(|(_, key)| listed.contains(&key.public())) {
        document.add_signature(key, federation);
    }
}
