//! `accord-node possess` and `accord-node install`: the node's part in the ceremony.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use accord_edge::{
    files,
    keyring::{KeyRing, RingKind},
    linux,
};
use accord_node::io::{config::Config, identity};
use accord_protocol::{
    codec::{Cap, decode},
    id::Hash,
    member_keys::MemberKeys,
    officers::{Card, Staff},
    signed::{Document, FederationId, Label},
    trust::Trust,
};
use anyhow::Context;
use clap::Args;

use super::{Refused, Usage, operator_profile};

#[derive(Debug, Args)]
pub(crate) struct Possess {
    /// The node's folder.
    dir: PathBuf,
    /// The member-keys document, which is changed in place.
    file: PathBuf,
}

impl Possess {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.dir)?;
        let mut document = files::read_document(&self.file)?;
        let keys: MemberKeys = document.unverified().with_context(|| self.file.display().to_string())?;
        if keys.node_id != config.member {
            return Err(Refused(format!(
                "{} is for {}, this node is {}",
                self.file.display(),
                keys.node_id,
                config.member
            ))
            .into());
        }
        let ring = KeyRing::open(&self.dir.join("node.ring"), || None)?.expect_kind(RingKind::Node)?;
        let listed = keys.all_keys();
        let mut signed = 0;
        for (_, key) in ring.keys() {
            if listed.contains(&key.public()) {
                document.add_signature(key, &keys.federation);
                signed += 1;
            }
        }
        if signed == 0 {
            return Err(Refused(format!("{} lists none of this node's keys", self.file.display())).into());
        }
        files::write_document(&self.file, &document)?;
        println!("signed {} with {signed} keys of {}", self.file.display(), config.member);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The node's folder.
    dir: PathBuf,
    /// The federation's id, from outside: read out by telephone, not taken from the files.
    #[arg(long)]
    federation: String,
    /// Root, roster, catalogue, keys of every member, officers, staff; and cards of own officers.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Install {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let federation: FederationId =
            self.federation.parse().map_err(|error| Usage(format!("--federation: {error}")))?;
        let config = Config::load(&self.dir)?;
        let (cards, documents): (Vec<_>, Vec<_>) =
            self.files.iter().partition(|path| path.extension().is_some_and(|extension| extension == "card"));
        let documents: Vec<Document> =
            documents.into_iter().map(|path| files::read_document(path)).collect::<Result<_, _>>()?;
        let trust = Trust::build(&documents, Some(&federation)).context("nothing was installed")?;
        let folder = config.trust_dir();
        refuse_going_back(&folder, &trust, &documents)?;
        let cards: Vec<(Vec<u8>, Card)> = cards
            .into_iter()
            .map(|path| {
                let bytes = files::read_limited(path, 1024)?;
                let card = decode(&bytes, Cap::Small).with_context(|| format!("{} is not a card", path.display()))?;
                Ok((bytes, card))
            })
            .collect::<anyhow::Result<_>>()?;
        let keys = identity::load_keys(&config.dir)?;
        let own_profile = operator_profile(&self.dir).join("trust");
        // Everything that the node checks at its start is checked on the new set before it takes the old one's place.
        let fresh = write_beside(&folder, &federation, &documents, &cards)?;
        let checked = identity::load_trust(&fresh, &config.member).and_then(|standing| standing.check_own_keys(&keys));
        if let Err(error) = checked {
            std::fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
            return Err(anyhow::Error::new(error).context("nothing was installed"));
        }
        take_the_place(&fresh, &folder)?;
        take_the_place(&write_beside(&own_profile, &federation, &documents, &cards)?, &own_profile)?;
        println!(
            "installed roster {} of {} with {} members",
            trust.roster().roster_version,
            trust.root().name.as_str(),
            trust.roster().members.as_slice().len()
        );
        Ok(ExitCode::SUCCESS)
    }
}

// A version never goes back, whatever somebody hands in (K1).
fn refuse_going_back(folder: &Path, new: &Trust, documents: &[Document]) -> anyhow::Result<()> {
    if !folder.join(identity::FEDERATION_FILE).exists() {
        return Ok(());
    }
    let old =
        Trust::build(&files::read_documents(folder)?, None).context("the documents in force do not hold together")?;
    if old.federation() != new.federation() {
        return Err(Refused("these documents are of another federation than the node's".into()).into());
    }
    let (before, after) =
        ((old.roster().epoch, old.roster().roster_version), (new.roster().epoch, new.roster().roster_version));
    if after < before {
        return Err(Refused(format!(
            "roster {} is older than roster {} in force; nothing was changed",
            after.1, before.1
        ))
        .into());
    }
    for member in old.roster().members.iter() {
        let (Some(had), Some(gets)) = (old.officers(&member.node_id), new.officers(&member.node_id)) else { continue };
        if gets.list_version < had.list_version || (gets.list_version == had.list_version && gets.hash() != had.hash())
        {
            return Err(Refused(format!(
                "officers list {} of {} does not follow list {} in force; nothing was changed",
                gets.list_version, member.node_id, had.list_version
            ))
            .into());
        }
    }
    let staff_of = |documents: &[Document]| -> anyhow::Result<Option<Staff>> {
        let document = documents.iter().find(|document| document.label() == Label::Staff);
        Ok(document.map(Document::unverified).transpose()?)
    };
    if let (Some(had), Some(gets)) = (staff_of(&files::read_documents(folder)?)?, staff_of(documents)?)
        && gets.list_version < had.list_version
    {
        let (gets, had) = (gets.list_version, had.list_version);
        return Err(Refused(format!("staff list {gets} is older than list {had} in force; nothing was changed")).into());
    }
    if after == before && old.roster().hash() != new.roster().hash() {
        return Err(Refused(format!(
            "a second roster {} with another content: keep both files and tell the root holders",
            after.1
        ))
        .into());
    }
    Ok(())
}

// The new set is written whole beside the old one, then the two folders change places in one step: a kill at any moment leaves
// the old set or the new one, never a mixture.
fn write_beside(
    folder: &Path,
    federation: &FederationId,
    documents: &[Document],
    cards: &[(Vec<u8>, Card)],
) -> anyhow::Result<PathBuf> {
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    }
    files::make_dir(&fresh)?;
    for document in documents {
        let name = match document.label() {
            Label::Roster => "roster".to_owned(),
            label => format!("{label}-{}", short(&document.hash())),
        };
        files::write_document(&fresh.join(format!("{name}.accord")), document)?;
    }
    for (bytes, card) in cards {
        files::write_atomically(&fresh.join(format!("{}.card", card.officer_id)), bytes)?;
    }
    files::write_atomically(&fresh.join(identity::FEDERATION_FILE), format!("{federation}\n").as_bytes())?;
    Ok(fresh)
}

fn take_the_place(fresh: &Path, folder: &Path) -> anyhow::Result<()> {
    files::make_dir(folder)?;
    linux::exchange(fresh, folder)
        .with_context(|| format!("cannot exchange {} and {}", fresh.display(), folder.display()))?;
    files::sync_dir(folder.parent().unwrap_or(folder))?;
    std::fs::remove_dir_all(fresh).with_context(|| fresh.display().to_string())
}

fn short(hash: &Hash) -> String {
    hash.to_string().chars().take(12).collect()
}
