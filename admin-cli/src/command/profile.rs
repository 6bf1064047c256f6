//! `accord profile new`: key ring, card and trust documents in one folder.

use std::path::PathBuf;

use accord_edge::{files, trust_folder::TrustFolder};
use accord_protocol::{
    codec::{Cap, decode, encode},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::KeyRole,
    officers::Card,
    signed::{Document, FederationId, Label},
    trust::{Trust, travels},
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Global, member_id};
use crate::{
    output::{Failure, Outcome},
    profile::{Profile, open_ring},
    trusting::{
        book::{Book, card_hash},
        desk::{federation_id, open_bundle},
    },
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
    /// An officer's card, where none of the files holds it.
    #[arg(long)]
    card: Option<PathBuf>,
    /// Where the own node listens for its people. Administrators have none: their keys never connect.
    #[arg(long, value_name = "IP:PORT")]
    node: Option<std::net::SocketAddr>,
    /// The federation's id, from outside.
    #[arg(long)]
    federation: String,
    /// Files that hold the federation's documents.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl ProfileCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let Self::New(new) = self;
        new.run(global)
    }
}

/// What the profile is made of.
struct Parts {
    documents: Vec<Document>,
    cards: Vec<Card>,
    federation: FederationId,
    role: KeyRole,
    node: Option<(std::net::SocketAddr, PublicKey)>,
    card: Option<Card>,
}

impl NewProfile {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let member = member_id(&self.member)?;
        let federation = federation_id(&self.federation)?;
        if self.dir.exists() {
            let message = format!("{} exists already", self.dir.display());
            return Err(Failure::usage("EXISTS", message, "choose a new folder").into());
        }
        let bundles = self.files.iter().map(|path| open_bundle(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut documents: Vec<Document> = Vec::new();
        for document in bundles.iter().flat_map(accord_protocol::bundle::Bundle::documents) {
            if !documents.contains(&document) {
                documents.push(document);
            }
        }
        let mut cards: Vec<Card> = bundles.iter().flat_map(|bundle| bundle.cards.iter().cloned()).collect();
        if let Some(path) = &self.card {
            let card = decode(&files::read_limited(path, 1024)?, Cap::Small);
            cards.push(card.map_err(|error| Failure::refused("CARD", error.to_string(), "get the card again"))?);
        }
        let trust = Trust::build(&documents, Some(&federation)).map_err(|error| {
            let next = "hand in every document of the federation";
            Failure::refused("TRUST", format!("{:#}", anyhow::Error::new(error)), next)
        })?;
        let keys = trust.keys(&member).ok_or_else(|| {
            Failure::refused("MEMBER", format!("the roster does not list {member}"), "check --member")
        })?;
        let ring = open_ring(&self.ring, global)?;
        let (role, key) = ring
            .keys()
            .first()
            .map(|(role, key)| (*role, key.public()))
            .ok_or_else(|| Failure::refused("KEY-RING", "the ring is empty", "take the ring of the person"))?;
        let node = self.node_of(role, keys.tls_keys.as_slice().first().copied())?;
        let card = if role == KeyRole::Officer { Some(own_card(&cards, &key, &trust, &member)?) } else { None };
        let parts = Parts { documents, cards, federation, role, node, card };
        let made = self.write(&parts, &bundles);
        if made.is_err() {
            // Nothing half done; the ring is moved last, so that it is never lost with the folder.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        made?;
        let text = format!("made the profile {} of {member}'s {role}", self.dir.display());
        Ok(Outcome::done(json!({ "profile": self.dir, "member": member.as_str(), "role": role.as_str() }), text))
    }

    fn node_of(
        &self,
        role: KeyRole,
        key: Option<PublicKey>,
    ) -> anyhow::Result<Option<(std::net::SocketAddr, PublicKey)>> {
        match (self.node, role) {
            (None, KeyRole::Administrator) => Ok(None),
            (Some(_), KeyRole::Administrator) => {
                let message = "an administrator's key never connects";
                Err(Failure::usage("NODE", message, "leave --node out; an operator hands documents in").into())
            }
            (None, _) => Err(Failure::usage("NODE", "where is the own node?", "add --node IP:PORT").into()),
            (Some(address), _) => {
                let none = || Failure::refused("MEMBER", "the member has no TLS key", "check the keys document");
                Ok(Some((address, key.ok_or_else(none)?)))
            }
        }
    }

    fn write(&self, parts: &Parts, bundles: &[accord_protocol::bundle::Bundle]) -> anyhow::Result<()> {
        files::make_dir(&self.dir)?;
        // Administrators keep staff list and policy too, which they go on from.
        let is_kept = |document: &&Document| {
            travels(document)
                || (parts.role == KeyRole::Administrator && matches!(document.label(), Label::Staff | Label::Policy))
        };
        let documents: Vec<Document> = parts.documents.iter().filter(is_kept).cloned().collect();
        TrustFolder::create(&self.dir.join("trust"), &parts.federation, &documents)?;
        if let Some(card) = &parts.card {
            files::write_new(&self.dir.join("officer.card"), &encode(card)?)?;
        }
        let (member, role) = (&self.member, parts.role);
        let mut settings = format!("member = \"{member}\"\nrole = \"{role}\"\n");
        if let Some((address, key)) = parts.node {
            settings += &format!("node = \"{address}\"\nnode_key = \"{key}\"\n");
        }
        files::write_new(&self.dir.join("profile.toml"), settings.as_bytes())?;
        if role == KeyRole::Administrator {
            let profile = Profile::open_at(self.dir.clone())?;
            for card in &parts.cards {
                profile.keep_card(card)?;
            }
            let mut book = Book::default();
            let claims: Vec<_> = bundles.iter().flat_map(accord_protocol::bundle::Bundle::claims).collect();
            book.learn(&claims, &parts.cards);
            book.keep(Some(&self.dir))?;
            // What the ring has signed goes with it.
            let memory = self.ring.with_extension("signed");
            if memory.exists() {
                let bytes = files::read_limited(&memory, 1 << 20)?;
                files::write_new(&self.dir.join("person.signed"), &bytes)?;
            }
        }
        std::fs::rename(&self.ring, self.dir.join("person.ring")).map_err(files::at("move", &self.ring))?;
        Ok(())
    }
}

fn own_card(cards: &[Card], key: &PublicKey, trust: &Trust, member: &NodeId) -> anyhow::Result<Card> {
    let of_key: Vec<&Card> = cards.iter().filter(|card| card.key == *key).collect();
    if cards.is_empty() {
        let message = "an officer's profile needs the officer's card";
        return Err(
            Failure::usage("CARD", message, "name the file of the officers list, or add --card FILE.card").into()
        );
    }
    let listed = |card: &&&Card| {
        let hash: Option<Hash> = card_hash(card);
        trust.officers(member).is_some_and(|list| hash.is_some_and(|hash| list.cards.as_slice().contains(&hash)))
    };
    of_key
        .iter()
        .filter(listed)
        .max_by_key(|card| (card.valid_from, card.valid_to))
        .map(|card| (**card).clone())
        .ok_or_else(|| {
            let message = "the card is not for this key, or not on the officers list";
            Failure::refused("CARD", message, "ask your administrators").into()
        })
}
