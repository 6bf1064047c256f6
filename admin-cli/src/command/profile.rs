//! `accord profile new`: key ring, card and trust documents in one folder.

use std::path::PathBuf;

use accord_edge::{files, trust_folder::TrustFolder};
use accord_protocol::{
    codec::{Cap, decode},
    id::Hash,
    member_keys::KeyRole,
    officers::Card,
    signed::{Document, FederationId},
    trust::{Trust, travels},
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Global, federation::open_document, people::member_id};
use crate::{
    output::{Failure, Outcome},
    profile::open_ring,
};

/// `accord profile`
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Make a person's profile.
    New(NewProfile),
}

/// `accord profile new`
#[derive(Debug, Args)]
pub(crate) struct NewProfile {
    /// The profile's folder, which must not exist.
    dir: PathBuf,
    /// The person's member.
    #[arg(long)]
    member: String,
    /// The person's key ring; it is moved into the profile.
    #[arg(long)]
    ring: PathBuf,
    /// An officer's card.
    #[arg(long)]
    card: Option<PathBuf>,
    /// Where the own node listens for its people.
    #[arg(long, value_name = "IP:PORT")]
    node: std::net::SocketAddr,
    /// The federation's id, from outside.
    #[arg(long)]
    federation: String,
    /// Root, roster, catalogue, keys of every member, officers.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl ProfileCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let Self::New(new) = self;
        new.run(global)
    }
}

impl NewProfile {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let member = member_id(&self.member)?;
        let federation: FederationId = self.federation.parse().map_err(|error| {
            Failure::usage(
                "FEDERATION",
                format!("--federation: {error}"),
                "64 hex digits, read out by an administrator",
            )
        })?;
        if self.dir.exists() {
            return Err(Failure::usage(
                "EXISTS",
                format!("{} exists already", self.dir.display()),
                "choose a new folder",
            )
            .into());
        }
        let documents: Vec<Document> = self.files.iter().map(|path| open_document(path)).collect::<Result<_, _>>()?;
        let trust = Trust::build(&documents, Some(&federation)).map_err(|error| {
            Failure::refused(
                "TRUST",
                format!("{:#}", anyhow::Error::new(error)),
                "hand in every document of the federation",
            )
        })?;
        let keys = trust.keys(&member).ok_or_else(|| {
            Failure::refused("MEMBER", format!("the roster does not list {member}"), "check --member")
        })?;
        let node_key = keys.tls_keys.as_slice().first().copied();
        let node_key = node_key
            .ok_or_else(|| Failure::refused("MEMBER", "the member has no TLS key", "check the keys document"))?;
        let ring = open_ring(&self.ring, global)?;
        let role = ring.keys().first().map(|(role, _)| *role);
        let role =
            role.ok_or_else(|| Failure::refused("KEY-RING", "the ring is empty", "take the ring of the person"))?;
        let card = match (&self.card, role) {
            (Some(path), _) => Some(files::read_limited(path, 1024)?),
            (None, KeyRole::Officer) => {
                return Err(Failure::usage(
                    "CARD",
                    "an officer's profile needs the officer's card",
                    "add --card FILE.card",
                )
                .into());
            }
            (None, _) => None,
        };
        if let Some(bytes) = &card {
            let card: Card = decode(bytes, Cap::Small)
                .map_err(|error| Failure::refused("CARD", error.to_string(), "get the card again"))?;
            let listed = trust.officers(&member).is_some_and(|list| list.cards.as_slice().contains(&Hash::of(bytes)));
            if card.key != ring.key(role)?.public() || !listed {
                return Err(Failure::refused(
                    "CARD",
                    "the card is not for this key, or not on the officers list",
                    "ask your administrators",
                )
                .into());
            }
        }
        let made = self.write(&documents, &federation, role.as_str(), &node_key.to_string(), card.as_deref());
        if made.is_err() {
            // Nothing half done; the ring is moved last, so that it is never lost with the folder.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        made?;
        let text = format!("made the profile {} of {member}'s {role}", self.dir.display());
        Ok(Outcome::done(json!({ "profile": self.dir, "member": member.as_str(), "role": role.as_str() }), text))
    }

    fn write(
        &self,
        documents: &[Document],
        federation: &FederationId,
        role: &str,
        node_key: &str,
        card: Option<&[u8]>,
    ) -> anyhow::Result<()> {
        files::make_dir(&self.dir)?;
        let documents: Vec<Document> = documents.iter().filter(|document| travels(document)).cloned().collect();
        TrustFolder::create(&self.dir.join("trust"), federation, &documents)?;
        if let Some(card) = card {
            files::write_new(&self.dir.join("officer.card"), card)?;
        }
        let settings = format!(
            "member = \"{}\"\nrole = \"{role}\"\nnode = \"{}\"\nnode_key = \"{node_key}\"\n",
            self.member, self.node
        );
        files::write_new(&self.dir.join("profile.toml"), settings.as_bytes())?;
        std::fs::rename(&self.ring, self.dir.join("person.ring")).map_err(files::at("move", &self.ring))?;
        Ok(())
    }
}
