//! Signing: says in words what is about to be signed, asks, remembers, and only then signs.

use std::path::{Path, PathBuf};

use accord_edge::{keyring::KeyRing, linux};
use accord_protocol::{
    bundle::Bundle,
    id::Hash,
    key::{PublicKey, fingerprint},
    root::{self, Root},
    roster::Roster,
    signed::{Document, FederationId, Label},
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    book::Book,
    changes::{changes, sentence},
    desk::Desk,
    heard::Heard,
    memory::Memory,
    signers::{in_name_of, name, needs, needs_json, whose},
    words::{explain, keys_fingerprint},
};
use crate::{command::Global, output::Failure, profile::open_ring};

/// Who signs, and what was compared.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Signing {
    /// Key rings that sign. Default: that of the profile.
    #[arg(long, value_name = "FILE")]
    pub(crate) ring: Vec<PathBuf>,
    /// Sign without being asked on the terminal; read `accord federation show` first.
    #[arg(long)]
    yes: bool,
    /// Two groups of a fingerprint as heard by telephone, instead of being asked for them.
    #[arg(long, value_name = "NAME=GROUP,GROUP")]
    heard: Vec<String>,
    /// The document of the same version that this ring signed before was never handed on, and is destroyed.
    #[arg(long)]
    replaces: bool,
}

/// What became of a signature.
#[derive(Debug)]
pub(crate) struct Signed {
    /// What was signed, in words.
    pub(crate) words: Vec<String>,
    /// How many signatures were added.
    pub(crate) added: usize,
    /// Whether enough people have signed; the member's own node may still add its own.
    pub(crate) complete: bool,
    /// Who has signed and who has not, in words.
    pub(crate) state: Vec<String>,
    /// The same for `--json`.
    pub(crate) needs: Vec<Value>,
    // Topics go to officers, and not to nodes.
    for_officers: bool,
}

impl Signing {
    /// The rings that sign.
    pub(crate) fn rings(&self, desk: Option<&Desk>) -> anyhow::Result<Vec<PathBuf>> {
        if !self.ring.is_empty() {
            return Ok(self.ring.clone());
        }
        let of_profile = desk.and_then(|desk| desk.profile.as_ref()).map(|profile| profile.dir.join("person.ring"));
        match of_profile.filter(|ring| ring.exists()) {
            Some(ring) => Ok(vec![ring]),
            None => Err(Failure::usage("RING", "who signs?", "name a key ring with --ring, or use a profile").into()),
        }
    }

    /// Explains, asks and signs all documents of a file with all rings. Nothing is changed if anything is refused.
    pub(crate) fn sign(
        &self,
        documents: &mut [Document],
        desk: Option<&Desk>,
        book: &Book,
        global: &Global,
    ) -> anyhow::Result<Signed> {
        let rings = self.rings(desk)?;
        let mut words = Vec::new();
        let mut all_needs = Vec::new();
        for document in documents.iter() {
            words.extend(described(document, desk, book)?);
            all_needs.push(needs(document, desk)?);
        }
        let opened = rings
            .iter()
            .map(|path| Ok((path.as_path(), open_ring(path, global)?, Memory::of_ring(path)?)))
            .collect::<anyhow::Result<Vec<(&Path, KeyRing, Memory)>>>()?;
        for (path, ring, memory) in &opened {
            let counts = |key: &PublicKey| all_needs.iter().flatten().any(|need| need.keys.contains(key));
            if !ring.keys().iter().any(|(_, key)| counts(&key.public())) {
                let message = "no key of this ring counts for this document: nothing was signed";
                let next = "take the ring of somebody who must sign: `accord federation show` says who";
                return Err(Failure::refused("NOT-A-SIGNER", message, next).in_file(path.display().to_string()).into());
            }
            for document in documents.iter() {
                let federation = federation_of(document, desk)?;
                memory.permit(document, &federation, self.replaces)?;
            }
        }
        self.compare(documents, desk, opened.iter().map(|(_, _, memory)| memory))?;
        self.ask(&words, global)?;
        let mut added = 0;
        for (_, ring, mut memory) in opened {
            for (document, needs) in documents.iter_mut().zip(&all_needs) {
                let federation = federation_of(document, desk)?;
                let before = document.signed_by().len();
                // Remembered first: a signature that nobody remembers is worse than a memory without one.
                memory.note(document, &federation)?;
                for (_, key) in ring.keys() {
                    let counts = needs.iter().any(|need| need.keys.contains(&key.public()));
                    if counts && !document.add_signature(key, &in_name_of(document, &federation)) {
                        let message = "the document has no room for another signature";
                        return Err(Failure::refused("SIGNATURES", message, "start from a fresh proposal").into());
                    }
                }
                added += document.signed_by().len() - before;
            }
        }
        state_of(documents, desk, words, added)
    }

    // What was never compared before is compared now.
    fn compare<'a>(
        &self,
        documents: &[Document],
        desk: Option<&Desk>,
        mut memories: impl Iterator<Item = &'a Memory>,
    ) -> anyhow::Result<()> {
        let heard = Heard::parse(&self.heard)?;
        if let Some(desk) = desk.filter(|desk| !desk.pinned)
            && memories.any(|memory| memory.federation.is_none())
        {
            let print = fingerprint("federation", "", &desk.federation().0);
            heard.compare("federation", &print, "a root holder")?;
        }
        for document in documents.iter().filter(|document| document.label() == Label::Roster) {
            let roster: Roster = document.unverified()?;
            for member in roster.members.iter() {
                let known = desk.and_then(|desk| desk.trust.as_ref()).and_then(|trust| trust.member(&member.node_id));
                if known.is_some_and(|known| known.anchor_hash == member.anchor_hash) {
                    continue;
                }
                let of = member.node_id.as_str();
                let who = format!("an administrator of {of}");
                heard.compare(of, &keys_fingerprint(&member.anchor_hash, of), &who)?;
            }
        }
        Ok(())
    }

    fn ask(&self, words: &[String], global: &Global) -> anyhow::Result<()> {
        if !global.json {
            eprintln!("{}", words.join("\n"));
        }
        if self.yes {
            return Ok(());
        }
        let typed = linux::ask_line("Sign this? Type yes: ").map_err(|_| {
            let next = "read `accord federation show FILE`, then say --yes";
            Failure::usage("NOT-ASKED", "there is no terminal to ask on: nothing was signed", next)
        })?;
        if typed.trim() == "yes" {
            return Ok(());
        }
        Err(Failure::refused("NOT-SIGNED", "you did not say yes: nothing was signed", "run the command again").into())
    }
}

/// What a document says and what it changes.
pub(crate) fn described(document: &Document, desk: Option<&Desk>, book: &Book) -> anyhow::Result<Vec<String>> {
    let mut words = explain(document)?;
    let changed = match desk {
        Some(desk) => changes(document, desk, book)?,
        None => None,
    };
    if let Some(changed) = changed {
        words.push(format!("  {}", sentence(&changed)));
    }
    Ok(words)
}

/// Who has signed documents, and who has not.
pub(crate) fn state_of(
    documents: &[Document],
    desk: Option<&Desk>,
    words: Vec<String>,
    added: usize,
) -> anyhow::Result<Signed> {
    let for_officers = documents.iter().all(|document| document.label() == Label::Topic);
    let mut signed = Signed { words, added, complete: true, state: Vec::new(), needs: Vec::new(), for_officers };
    for document in documents {
        let needs = needs(document, desk)?;
        let of = whose(document);
        signed.complete &= needs.iter().all(|need| need.is_met() || need.by_node);
        signed.state.extend(needs.iter().map(|need| format!("{}: {}", name(document), need.words(&of))));
        signed.needs.extend(needs_json(document, &needs, "accord federation sign"));
    }
    Ok(signed)
}

impl Signed {
    /// As the result of a command about a file.
    pub(crate) fn json(&self, file: &Path) -> Value {
        json!({
            "document": file, "added": self.added, "complete": self.complete, "words": self.words, "state": self.state,
            "needs": self.needs,
        })
    }

    /// For people: the state, and what comes next.
    pub(crate) fn text(&self, file: &Path) -> String {
        let file = file.display();
        let next = if self.complete && self.for_officers {
            format!("next: officers keep it, to ask under it: accord topic add {file}")
        } else if self.complete {
            format!("next: an operator hands it to a node: accord federation publish {file}")
        } else {
            format!("next: hand {file} to the next one who signs: accord federation sign {file}")
        };
        format!("{}\n{next}\n", self.state.join("\n"))
    }
}

fn federation_of(document: &Document, desk: Option<&Desk>) -> anyhow::Result<FederationId> {
    if let Some(desk) = desk {
        return Ok(*desk.federation());
    }
    // Only a first root document has no desk: its federation follows from it.
    let root: Root = document.unverified()?;
    Ok(if root.root_version == 1 { root::federation_id(document.payload()) } else { Hash::ZERO })
}

/// The desk for a file: what it holds beside the proposal, the profile and more files. None for a first root document alone.
pub(crate) fn desk_of(bundle: &Bundle, with: &super::desk::With, global: &Global) -> anyhow::Result<Option<Desk>> {
    let first_root = |document: &Document| document.unverified::<Root>().is_ok_and(|root| root.root_version == 1);
    if bundle.proposed.iter().any(first_root) {
        return Ok(None);
    }
    let beside = Bundle { proposed: accord_protocol::codec::Bounded::default(), ..bundle.clone() };
    Desk::open_beside(with, &[beside], global).map(Some)
}
