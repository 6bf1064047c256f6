//! `accord federation propose`: the first roster, or the next one with what changes.

use std::path::PathBuf;

use accord_edge::clock;
use accord_protocol::{
    codec::Bounded,
    id::{Hash, NodeId},
    member_keys,
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, Label, Preamble},
    time::DAY_MS,
};
use clap::Args;
use serde_json::json;

use super::{
    Global,
    federation::text,
    member_id,
    propose::{Proposal, document, shown},
};
use crate::{
    output::{Failure, Outcome},
    trusting::{
        desk::{Desk, With, open_bundle},
        signing::Signing,
        words::keys_fingerprint,
    },
};

/// `accord federation propose`
#[derive(Debug, Args)]
pub(crate) struct Propose {
    #[command(flatten)]
    with: With,
    /// Files of members to add, from `accord join`; or newer keys of a member that is anchored anew after a loss.
    #[arg(long, value_delimiter = ',', value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Members that are served nothing from now on; their documents still count.
    #[arg(long, value_delimiter = ',', value_name = "MEMBER")]
    suspend: Vec<String>,
    /// Suspended members that take part again.
    #[arg(long, value_delimiter = ',', value_name = "MEMBER")]
    reinstate: Vec<String>,
    /// Members that leave. Their entry stays, so that old evidence verifies.
    #[arg(long, value_delimiter = ',', value_name = "MEMBER")]
    remove: Vec<String>,
    /// What a member does: MEMBER=provider,requester,witness.
    #[arg(long, value_name = "MEMBER=ROLE,ROLE")]
    roles: Vec<String>,
    /// A catalogue that takes the place of the one in force.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Days until it runs out, and until which members are members.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    #[command(flatten)]
    signing: Signing,
    /// Where the proposal is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Propose {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let added = self.add.iter().map(|path| open_bundle(path)).collect::<anyhow::Result<Vec<_>>>()?;
        let catalogue = self.catalogue.as_ref().map(|path| open_bundle(path)).transpose()?;
        let beside: Vec<_> = added.iter().cloned().chain(catalogue).collect();
        let desk = Desk::open_beside(&self.with, &beside, global)?;
        let now = clock::now();
        let until = now.plus(u64::from(self.valid_days) * DAY_MS);
        let before = desk.trust.as_ref().map(|trust| trust.roster().clone());
        let mut members: Vec<Member> = before.iter().flat_map(|before| before.members.iter().cloned()).collect();
        for member in &mut members {
            // Not for hours: whoever signs reads every change.
            if member.valid_to.plus(DAY_MS) < until {
                member.valid_to = until;
            }
        }
        let mut prints = Vec::new();
        for (path, bundle) in self.add.iter().zip(&added) {
            for keys in bundle.proposed.iter().filter(|document| document.label() == Label::MemberKeys) {
                let entry = Self::entry(&desk, (&shown(path), keys), until)?;
                prints.push(json!({ "member": entry.node_id.as_str(), "fingerprint": keys_fingerprint(&entry.anchor_hash, entry.node_id.as_str()) }));
                match members.iter_mut().find(|member| member.node_id == entry.node_id) {
                    Some(known) => {
                        (known.anchor_version, known.anchor_hash) = (entry.anchor_version, entry.anchor_hash);
                    }
                    None => members.push(entry),
                }
            }
        }
        for (names, state) in [
            (&self.suspend, MemberState::Suspended),
            (&self.reinstate, MemberState::Active),
            (&self.remove, MemberState::Removed),
        ] {
            for name in names {
                listed(&mut members, &member_id(name)?)?.state = state;
            }
        }
        for given in &self.roles {
            let (member, roles) = parse_roles(given)?;
            listed(&mut members, &member)?.roles = roles;
        }
        members.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        let roster = Roster {
            preamble: Preamble,
            federation: *desk.federation(),
            root_version: desk.root().root_version,
            epoch: desk.root().epoch,
            roster_version: before.as_ref().map_or(0, |before| before.roster_version) + 1,
            prev_hash: before.as_ref().map_or(Hash::ZERO, accord_protocol::signed::Verified::hash),
            issued_at: now,
            expires_at: until,
            catalogue_hash: self.catalogue_hash(&desk)?,
            min_protocol: accord_protocol::PROTOCOL,
            max_protocol: accord_protocol::PROTOCOL,
            members: Bounded::new(members)
                .ok_or_else(|| Failure::refused("ROSTER", "more than 64 members", "fewer members"))?,
        };
        let proposed = document(&roster, "correct the list of members")?;
        let travels = |document: &Document| accord_protocol::trust::travels(document);
        let proposal = Proposal {
            desk: &desk,
            documents: vec![proposed],
            wanted: &travels,
            beside: beside.iter().flat_map(accord_protocol::bundle::Bundle::documents).collect(),
            cards: Vec::new(),
            out: self.out.clone(),
        };
        if self.signing.ring.is_empty() {
            return proposal.unsigned(json!({ "version": roster.roster_version, "fingerprints": prints }));
        }
        proposal.sign(&self.signing, global)
    }

    // A member's entry, from keys that its administrators and its node have signed.
    fn entry(
        desk: &Desk,
        (file, document): (&str, &Document),
        until: accord_protocol::time::UnixMs,
    ) -> anyhow::Result<Member> {
        let keys = member_keys::verify(document, desk.federation()).map_err(|error| {
            let next = "its administrators sign it first: accord federation sign";
            Failure::refused("MEMBER-KEYS", format!("{:#}", anyhow::Error::new(error)), next).in_file(file)
        })?;
        let claim = desk.claims.iter().find(|claim| {
            claim.node_id.as_ref() == Some(&keys.node_id)
                && claim.keys.iter().any(|entry| keys.tls_keys.as_slice().contains(&entry.key))
        });
        let name = match claim {
            Some(claim) => claim.name.clone(),
            None => text("member", keys.node_id.as_str())?,
        };
        Ok(Member {
            node_id: keys.node_id.clone(),
            name,
            state: MemberState::Active,
            roles: Bounded::new(MemberRole::ALL.to_vec()).unwrap_or_default(),
            anchor_version: keys.keys_version,
            anchor_hash: keys.hash(),
            valid_from: clock::now(),
            valid_to: until,
        })
    }

    fn catalogue_hash(&self, desk: &Desk) -> anyhow::Result<Hash> {
        let named = self.catalogue.as_ref().map(|path| open_bundle(path)).transpose()?;
        let proposed =
            named.as_ref().and_then(|bundle| bundle.proposed.iter().find(|one| one.label() == Label::Catalogue));
        if let Some(document) = proposed {
            return Ok(document.hash());
        }
        if let Some(trust) = &desk.trust {
            return Ok(trust.roster().catalogue_hash);
        }
        let all: Vec<&Document> =
            desk.documents.iter().filter(|document| document.label() == Label::Catalogue).collect();
        if let [one] = all.as_slice() {
            return Ok(one.hash());
        }
        let next = "name it with --catalogue FILE, from `accord federation catalogue`";
        Err(Failure::usage("CATALOGUE", "which catalogue? The first roster names one", next).into())
    }
}

fn listed<'a>(members: &'a mut [Member], id: &NodeId) -> anyhow::Result<&'a mut Member> {
    let known: Vec<String> = members.iter().map(|member| member.node_id.to_string()).collect();
    members.iter_mut().find(|member| member.node_id == *id).ok_or_else(|| {
        let next = format!("on the roster are {}", known.join(", "));
        Failure::usage("MEMBER", format!("{id} is not on the roster"), next).into()
    })
}

fn parse_roles(given: &str) -> anyhow::Result<(NodeId, Bounded<MemberRole, 3>)> {
    let bad = || {
        let message = format!("--roles {given}: not MEMBER=ROLE,ROLE");
        anyhow::Error::new(Failure::usage("ROLES", message, "roles are provider, requester and witness"))
    };
    let (member, roles) = given.split_once('=').ok_or_else(bad)?;
    let roles: Option<Vec<MemberRole>> = roles.split(',').map(MemberRole::from_word).collect();
    let roles = Bounded::sorted(roles.ok_or_else(bad)?).ok_or_else(bad)?;
    Ok((member_id(member)?, roles))
}
