//! `accord trust accept | update | clock-reset`: what an administrator decides about others, and how a profile learns news.

use std::path::PathBuf;

use accord_edge::clock;
use accord_protocol::{
    accept::{Accept as AcceptDocument, Compared},
    codec::Bounded,
    id::NodeId,
    member_keys::KeyRole,
    signed::{Document, Label, Preamble},
    trust::Remark,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Global,
    lists::{Ground, propose},
    member_id,
    propose::document,
    suspend::{AcceptFork, ClockReset},
};
use crate::{
    output::{Failure, Outcome},
    profile::{Profile, open_ring},
    trusting::{
        book::Book,
        desk::{With, open_bundle},
        heard::Heard,
        signing::Signing,
        words::keys_fingerprint,
    },
};

/// `accord trust ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Accept the keys of a member that is new, or whose keys changed without continuity, after comparing the fingerprint.
    Accept(Accept),
    /// Let the profile take documents from files: how an administrator, whose keys never connect, learns news.
    Update(Update),
    /// Let a node go on that stopped because its clock runs behind what others say.
    ClockReset(ClockReset),
    /// Go on with a member, or with the own node, whose audit log shows another past than it did: restored from an older copy, or tampered
    /// with. Compare first what its status and its administrators say; both pasts stay on the record.
    AcceptFork(AcceptFork),
}

/// `accord trust accept`
#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// The member whose keys wait.
    member: String,
    #[command(flatten)]
    with: With,
    /// Two groups of the fingerprint as heard: MEMBER=12345,67890.
    #[arg(long = "compared", value_name = "MEMBER=GROUP,GROUP")]
    compared: Vec<String>,
    #[command(flatten)]
    signing: Signing,
    /// Where the document is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `accord trust update`
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Files to take documents from.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl TrustCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Accept(accept) => accept.run(global),
            Self::Update(update) => update.run(global),
            Self::ClockReset(reset) => reset.run(global),
            Self::AcceptFork(accept) => accept.run(global),
        }
    }
}

impl Accept {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let member: NodeId = member_id(&self.member)?;
        let ground = Ground::open(&self.with, None, &[], global)?;
        let trust = ground.desk.trust()?;
        let waiting = trust.remarks().iter().filter_map(|remark| match remark {
            Remark::Waiting { member: of, version, hash, .. } if *of == member => Some((*version, *hash)),
            _ => None,
        });
        // Of several that follow each other the last one counts, and what leads to it.
        let all: Vec<_> = waiting.collect();
        let Some((version, hash)) = all.iter().max_by_key(|(version, _)| *version).copied() else {
            let message = format!("no keys of {member} wait for an acceptance here");
            let next = "accord trust shows what waits; a profile learns news with `accord trust update FILE`";
            return Err(Failure::usage("NOTHING-WAITS", message, next).into());
        };
        let print = keys_fingerprint(&hash, member.as_str());
        let who = format!("an administrator of {member}");
        Heard::parse(&self.compared)?.compare(member.as_str(), &print, &who)?;
        let accept = AcceptDocument {
            preamble: Preamble,
            federation: *ground.desk.federation(),
            node_id: ground.member.clone(),
            issued_at: clock::now(),
            compared: Bounded::new(vec![Compared { member: member.clone(), keys: hash }]).unwrap_or_default(),
        };
        let proposed = document(&accept, "accept one member at a time")?;
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("accept-{member}-{version}.accord")));
        propose(&ground, vec![proposed], Vec::new(), (&self.signing, Some(out)), global)
    }
}

impl Update {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        let mut documents: Vec<Document> = Vec::new();
        let (mut cards, mut claims, mut news) = (Vec::new(), Vec::new(), Vec::<Document>::new());
        for path in &self.files {
            let bundle = open_bundle(path)?;
            cards.extend(bundle.cards.iter().cloned());
            claims.extend(bundle.claims());
            // What a proposal builds on may be replaced by it, and by more.
            let meant = if bundle.proposed.as_slice().is_empty() {
                bundle.documents()
            } else {
                bundle.proposed.as_slice().to_vec()
            };
            news.extend(meant);
            documents.extend(bundle.documents());
        }
        let before = profile.trust()?.1;
        profile.take(&documents)?;
        match profile.role {
            KeyRole::Administrator => {
                for card in &cards {
                    profile.keep_card(card)?;
                }
                let mut book = Book::of_profile(Some(&profile.dir))?;
                book.learn(&claims, &cards);
                book.keep(Some(&profile.dir))?;
            }
            // A card for a new key of the officer's own: the ring says which keys those are.
            KeyRole::Officer if !cards.is_empty() => {
                let ring = open_ring(&profile.dir.join("person.ring"), global)?;
                let keys: Vec<_> = ring.keys().iter().map(|(_, key)| key.public()).collect();
                profile.take_card(&cards, &keys)?;
            }
            _ => {}
        }
        let (trust, after) = profile.trust()?;
        let new = after.iter().filter(|document| !before.contains(document)).count();
        let waiting = trust.remarks().iter().filter(|remark| matches!(remark, Remark::Waiting { .. })).count();
        let not_held: Vec<&str> = news
            .iter()
            .filter(|document| document.label() != Label::KeyClaim && !trust.keeps(document))
            .map(|document| document.label().as_str())
            .collect();
        let text = format!(
            "{new} new document(s); roster {} is in force; {} not taken; {waiting} keys wait for an acceptance\n",
            trust.roster().roster_version,
            not_held.len()
        );
        let mut outcome = Outcome::done(
            json!({ "new": new, "not_taken": not_held, "waiting": waiting, "roster": trust.roster().roster_version }),
            text,
        );
        outcome.exit = u8::from(!not_held.is_empty());
        Ok(outcome)
    }
}
