//! `accord root`: root keys, made and kept offline, and the next version of the root document.

use std::path::PathBuf;

use accord_edge::{clock, keyring::RingKind};
use accord_protocol::{
    key::PublicKey, member_keys::KeyRole, root::Root as RootDocument, signed::Preamble, time::DAY_MS,
};
use clap::{Args, Subcommand};

use super::{
    Global,
    people::{NewRing, read_claim},
    propose::{Proposal, bounded, document, shown},
};
use crate::{
    output::{Failure, Outcome},
    profile::offline,
    trusting::{
        desk::{Desk, With},
        signers::first_groups,
        signing::Signing,
    },
};

/// `accord root`
#[derive(Debug, Subcommand)]
pub(crate) enum Root {
    /// Make a root key, offline.
    New(NewRing),
    /// Propose the next root document: exchange keys, another threshold, a later end, a new epoch.
    Propose(ProposeRoot),
}

/// `accord root propose`
#[derive(Debug, Args)]
pub(crate) struct ProposeRoot {
    #[command(flatten)]
    with: With,
    /// Claims of new root holders.
    #[arg(long, value_delimiter = ',', value_name = "CLAIM")]
    add: Vec<PathBuf>,
    /// Keys to take out: the first two groups of the fingerprint, as in "12345 67890".
    #[arg(long, value_name = "GROUPS")]
    remove: Vec<String>,
    /// How many must sign from now on.
    #[arg(long)]
    threshold: Option<u8>,
    /// Begin a new epoch, after a disaster: the next roster need not continue the one before.
    #[arg(long)]
    new_epoch: bool,
    /// Days until it runs out. Without it the end stays.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=7300))]
    valid_days: Option<u16>,
    #[command(flatten)]
    signing: Signing,
    /// Where the proposal is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Root {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        offline()?;
        match self {
            Self::New(ring) => ring.make(RingKind::Root, KeyRole::Root, None, global),
            Self::Propose(propose) => propose.run(global),
        }
    }
}

impl ProposeRoot {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let desk = Desk::open(&self.with, global)?;
        let before = desk.root().get().clone();
        let mut keys: Vec<PublicKey> = before.keys.as_slice().to_vec();
        for path in &self.add {
            let claim = read_claim(path)?;
            let key = claim.key(KeyRole::Root).ok_or_else(|| {
                Failure::refused("CLAIM", "the claim holds no root key", "take the claim of `accord root new`")
                    .in_file(shown(path))
            })?;
            keys.push(key);
        }
        for groups in &self.remove {
            let is_meant = |key: &PublicKey| first_groups(&key.fingerprint("root", "")) == *groups;
            let found = keys.iter().position(is_meant).ok_or_else(|| {
                let known: Vec<String> = keys.iter().map(|key| first_groups(&key.fingerprint("root", ""))).collect();
                let message = format!("no root key begins with `{groups}`");
                Failure::usage("KEY", message, format!("root keys: {}", known.join("; ")))
            })?;
            keys.remove(found);
        }
        let now = clock::now();
        let root = RootDocument {
            preamble: Preamble,
            root_version: before.root_version + 1,
            epoch: before.epoch + u32::from(self.new_epoch),
            genesis_nonce: before.genesis_nonce,
            name: before.name.clone(),
            keys: bounded(keys, "root keys")?,
            threshold: self.threshold.unwrap_or(before.threshold),
            issued_at: now,
            expires_at: self.valid_days.map_or(before.expires_at, |days| now.plus(u64::from(days) * DAY_MS)),
        };
        let proposed = document(&root, "at least two must sign, and fewer than there are keys")?;
        let wanted = |document: &accord_protocol::signed::Document| accord_protocol::trust::travels(document);
        let proposal = Proposal {
            desk: &desk,
            documents: vec![proposed],
            wanted: &wanted,
            beside: Vec::new(),
            cards: Vec::new(),
            out: self.out.clone(),
        };
        if self.signing.ring.is_empty() {
            return proposal.unsigned(serde_json::json!({}));
        }
        proposal.sign(&self.signing, global)
    }
}
