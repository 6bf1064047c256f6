//! `accord-node install`: the first trust documents, which whoever installs them vouches for, and later ones while the node is down.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use accord_edge::{
    files, linux,
    trust_folder::{FEDERATION_FILE, TrustFolder},
};
use accord_node::io::{
    config::Config,
    identity,
    keys::{Credential, NodeKeys},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    id::{Hash, NodeId},
    officers::Card,
    signed::{Document, FederationId},
    trust::{Remark, Trust},
};
use anyhow::Context;
use clap::Args;

use super::{Refused, Usage, operator_profile};

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The node's folder.
    dir: PathBuf,
    /// The federation's id, from outside: read out by telephone, not taken from the files.
    #[arg(long)]
    federation: String,
    /// Read the credential that the node's ring is sealed with from this file descriptor.
    #[arg(long, value_name = "N")]
    credential_fd: Option<u32>,
    /// Root, roster, catalogue, keys of every member, officers, staff; and cards of own officers.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Install {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let federation: FederationId =
            self.federation.parse().map_err(|error| Usage(format!("--federation: {error}")))?;
        let config = Config::load(&self.dir)?;
        let (cards, documents) = self.read()?;
        let folder = config.trust_dir();
        let keys = NodeKeys::load(&config.dir, &Credential::find(self.credential_fd)?)?;
        // The folder as it will be is made whole beside the one there is, and everything that the node checks at its start is checked
        // on it; then the two change places in one step. A kill at any moment leaves the old set or the new one, never a mixture.
        let fresh = empty_beside(&folder)?;
        let made = fill(&fresh, &folder, (&federation, &config.member), &documents, &cards);
        let checked = made.and_then(|()| {
            let standing = identity::load_trust(&fresh, &config.member).context("nothing was installed")?;
            standing.check_own_keys(&keys).context("nothing was installed")?;
            Ok(standing)
        });
        let standing = match checked {
            Ok(standing) => standing,
            Err(error) => {
                std::fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
                return Err(error);
            }
        };
        let trust = standing.trust();
        take_the_place(&fresh, &folder)?;
        let own_profile = operator_profile(&self.dir).join("trust");
        let copy = empty_beside(&own_profile)?;
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let bytes = files::read_limited(&path, 1 << 21)?;
            files::write_atomically(&copy.join(path.file_name().unwrap_or_default()), &bytes)?;
        }
        take_the_place(&copy, &own_profile)?;
        println!(
            "installed roster {} of {} with {} members",
            trust.roster().roster_version,
            trust.root().name.as_str(),
            trust.roster().members.as_slice().len()
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Install {
    fn read(&self) -> anyhow::Result<(Vec<Card>, Vec<Document>)> {
        let (mut cards, mut documents): (Vec<Card>, Vec<Document>) = (Vec::new(), Vec::new());
        for path in &self.files {
            if path.extension().is_some_and(|extension| extension == "card") {
                let bytes = files::read_limited(path, 1024)?;
                cards.push(decode(&bytes, Cap::Small).with_context(|| format!("{} is not a card", path.display()))?);
                continue;
            }
            let bundle = files::read_bundle(path)?;
            for document in bundle.documents() {
                if !documents.contains(&document) {
                    documents.push(document);
                }
            }
            cards.extend(bundle.cards.iter().cloned());
        }
        Ok((cards, documents))
    }
}

fn empty_beside(folder: &Path) -> anyhow::Result<PathBuf> {
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    }
    files::make_dir(&fresh)?;
    Ok(fresh)
}

// The first documents are vouched for by whoever installs them; later ones join what is there by their signatures alone.
fn fill(
    fresh: &Path,
    folder: &Path,
    (federation, me): (&FederationId, &NodeId),
    documents: &[Document],
    cards: &[Card],
) -> anyhow::Result<()> {
    let mut all_cards = cards.to_vec();
    if folder.join(FEDERATION_FILE).exists() {
        let before = identity::load_trust(folder, me).context("the documents in force do not hold together")?;
        if before.trust().federation() != federation {
            return Err(Refused("these documents are of another federation than the node's".into()).into());
        }
        if let Some(older) = before.held.goes_back(documents) {
            return Err(Refused(format!("{older}; nothing was changed")).into());
        }
        let next = before.held.with(documents).context("nothing was installed")?;
        // What is held and no longer needed then (the catalogue before, say) is no reason.
        let is_left_out = |document: &&Document| !next.holds(document) && !before.held.holds(document);
        if let Some(document) = documents.iter().find(is_left_out) {
            return Err(Refused(not_taken(document, &next.trust)).into());
        }
        all_cards.extend(before.cards.iter().cloned());
        next.copy_to(fresh)?;
    } else {
        TrustFolder::create(fresh, federation, documents).context("nothing was installed")?;
    }
    // Cards of other members' officers are none of this node's business (`wire.md` D17).
    let standing = identity::load_trust(fresh, me).context("nothing was installed")?;
    let own = standing.trust().officers(me).map(|list| list.cards.as_slice().to_vec()).unwrap_or_default();
    all_cards.retain(|card| encode(card).is_ok_and(|bytes| own.contains(&Hash::of(&bytes))));
    for card in &all_cards {
        files::write_atomically(&fresh.join(identity::card_file(card)), &encode(card)?)?;
    }
    Ok(())
}

// Why a document did not join what is held.
fn not_taken(document: &Document, trust: &Trust) -> String {
    let named = |remark: &&Remark| match remark {
        Remark::NotBelieved { hash, .. } | Remark::Waiting { hash, .. } => *hash == document.hash(),
        Remark::Gap { label, .. } | Remark::Missing { label, .. } => *label == document.label(),
        Remark::Equivocation { .. } | Remark::SharedKey { .. } | Remark::RootAhead { .. } => false,
    };
    match trust.remarks().iter().find(named) {
        Some(remark) => format!("{remark}; nothing was changed"),
        None => format!(
            "the {} document is older than what is in force, or of no use here; nothing was changed",
            document.label()
        ),
    }
}

fn take_the_place(fresh: &Path, folder: &Path) -> anyhow::Result<()> {
    files::make_dir(folder)?;
    linux::exchange(fresh, folder)
        .with_context(|| format!("cannot exchange {} and {}", fresh.display(), folder.display()))?;
    files::sync_dir(folder.parent().unwrap_or(folder))?;
    std::fs::remove_dir_all(fresh).with_context(|| fresh.display().to_string())
}
