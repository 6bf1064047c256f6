//! `accord federation`: a federation's root, catalogue and rosters; files that go from hand to hand until enough have signed.

use std::path::PathBuf;

use accord_edge::{clock, files, random};
use accord_protocol::{
    bundle::Bundle,
    catalogue::{Catalogue, CatalogueDocument, SHIPPED},
    codec::{Bounded, Text},
    key::fingerprint,
    member_keys::KeyRole,
    root::{self, Root},
    signed::{Document, Label, Preamble},
    time::DAY_MS,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Global,
    people::read_claim,
    propose::{Proposal, document, shown},
    publish::Publish,
    roster::Propose,
    sheet::Sheet,
    status::catch_up,
};
use crate::{
    output::{Failure, Outcome},
    profile::Profile,
    trusting::{
        book::Book,
        desk::{Desk, With, open_bundle},
        signing::{Signing, described, desk_of, state_of},
        words::threshold_words,
    },
};

/// `accord federation`
#[derive(Debug, Subcommand)]
pub(crate) enum Federation {
    /// Found a federation: propose its root document.
    New(NewRoot),
    /// Propose a catalogue: the one that ships, or a file.
    Catalogue(NewCatalogue),
    /// Propose a roster: the first, or the next one with what changes.
    Propose(Propose),
    /// Say in plain words what a file contains, what it would change, and who has signed it.
    Show(ShowFile),
    /// Sign what a file proposes, after saying in plain words what that is.
    Sign(SignFile),
    /// Hand documents to one's own node, which spreads them: rosters, keys, lists, acceptances, suspensions.
    Publish(Publish),
    /// Put all documents at hand into one file, for a new node or a new profile.
    Bundle(MakeBundle),
    /// Print the ceremony as one page for each participant: do, read out, hear.
    Sheet(Sheet),
}

/// `accord federation new`
#[derive(Debug, Args)]
pub(crate) struct NewRoot {
    /// What people call the federation.
    #[arg(long)]
    name: String,
    /// Claims of the root holders.
    #[arg(long, value_delimiter = ',', required = true, value_name = "CLAIM")]
    root_keys: Vec<PathBuf>,
    /// How many of them must sign.
    #[arg(long, default_value_t = 3)]
    threshold: u8,
    /// Days until it runs out.
    #[arg(long, default_value_t = 3650)]
    valid_days: u16,
    /// Where the proposal is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord federation catalogue`
#[derive(Debug, Args)]
pub(crate) struct NewCatalogue {
    /// A catalogue in TOML; without it the one that ships.
    #[arg(long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    with: With,
    /// Where the proposal is written.
    #[arg(long)]
    out: PathBuf,
}

/// `accord federation show`
#[derive(Debug, Args)]
pub(crate) struct ShowFile {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    with: With,
}

/// `accord federation sign`
#[derive(Debug, Args)]
pub(crate) struct SignFile {
    /// The file, which is changed in place.
    file: PathBuf,
    #[command(flatten)]
    with: With,
    #[command(flatten)]
    signing: Signing,
}

/// `accord federation bundle`
#[derive(Debug, Args)]
pub(crate) struct MakeBundle {
    #[command(flatten)]
    with: With,
    /// Where the file is written.
    #[arg(long)]
    out: PathBuf,
}

impl Federation {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(new) => new.run(),
            Self::Catalogue(new) => new.run(global),
            Self::Propose(propose) => propose.run(global),
            Self::Show(show) => show.run(global),
            Self::Sign(sign) => sign.run(global),
            Self::Publish(publish) => publish.run(global),
            Self::Bundle(bundle) => bundle.run(global),
            Self::Sheet(sheet) => sheet.run(global),
        }
    }
}

/// A text of a document, or misuse of the flag that gave it.
pub(super) fn text<const MAX: usize>(flag: &str, value: &str) -> anyhow::Result<Text<MAX>> {
    Text::new(value).ok_or_else(|| {
        Failure::usage("NAME", format!("{flag}: at most {MAX} printable ASCII characters"), "choose a shorter name")
            .into()
    })
}

impl NewRoot {
    fn run(self) -> anyhow::Result<Outcome> {
        let mut keys = Vec::new();
        for path in &self.root_keys {
            let claim = read_claim(path)?;
            let key = claim.key(KeyRole::Root).ok_or_else(|| {
                Failure::refused("CLAIM", "the claim holds no root key", "take the claim of `accord root new`")
                    .in_file(shown(path))
            })?;
            keys.push(key);
        }
        let now = clock::now();
        let root = Root {
            preamble: Preamble,
            root_version: 1,
            epoch: 1,
            genesis_nonce: random::bytes()?,
            name: text("--name", &self.name)?,
            keys: Bounded::sorted(keys).ok_or_else(|| {
                Failure::usage("ROOT", "one key stands twice, or there are more than 16", "one claim for each holder")
            })?,
            threshold: self.threshold,
            issued_at: now,
            expires_at: now.plus(u64::from(self.valid_days) * DAY_MS),
        };
        let proposed = document(
            &root,
            "for example three keys and --threshold 2: a threshold of all keys would end the federation with one loss",
        )?;
        files::write_document(&self.out, &proposed)?;
        let federation = root::federation_id(proposed.payload());
        let words = fingerprint("federation", "", &federation.0);
        let out = self.out.display();
        let text = format!(
            "proposed {out} for federation {} ({})\n  id {federation}\n  {words}\nnext: every root holder signs: accord federation sign {out} --ring THEIR.ring",
            self.name,
            threshold_words(root.threshold, root.keys.as_slice().len()),
        );
        let result = json!({ "document": self.out, "federation": federation.to_string(), "fingerprint": words });
        Ok(Outcome::done(result, text))
    }
}

impl NewCatalogue {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let source = match &self.file {
            None => SHIPPED.to_owned(),
            Some(path) => String::from_utf8_lossy(&files::read_limited(path, 512 << 10)?).into_owned(),
        };
        let catalogue = Catalogue::parse(&source).map_err(|error| {
            let failure =
                Failure::refused("CATALOGUE", format!("{:#}", anyhow::Error::new(error)), "correct the catalogue");
            match &self.file {
                Some(path) => failure.in_file(shown(path)),
                None => failure,
            }
        })?;
        let text = Bounded::new(source.into_bytes())
            .ok_or_else(|| Failure::refused("CATALOGUE", "the catalogue is too long", "at most 512 KiB"))?;
        let proposed = document(&CatalogueDocument { preamble: Preamble, text }, "correct the catalogue")?;
        let desk = Desk::open(&self.with, global)?;
        let nothing_more = |_: &Document| false;
        let proposal = Proposal {
            desk: &desk,
            documents: vec![proposed],
            wanted: &nothing_more,
            beside: Vec::new(),
            cards: Vec::new(),
            out: Some(self.out),
        };
        proposal.unsigned(json!({ "id": catalogue.id, "hash": catalogue.hash.to_string() }))
    }
}

fn book_of(desk: Option<&Desk>) -> anyhow::Result<Book> {
    let profile = desk.and_then(|desk| desk.profile.as_ref());
    let mut book = Book::of_profile(profile.map(|profile| profile.dir.as_path()))?;
    if let Some(desk) = desk {
        book.learn(&desk.claims, &desk.cards);
    }
    Ok(book)
}

impl ShowFile {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let bundle = open_bundle(&self.file)?;
        let proposed = bundle.proposed.as_slice();
        let claims_alone = proposed.iter().all(|document| document.label() == Label::KeyClaim);
        // A claim, or a document without those that it builds on, is shown as far as that goes.
        let desk = if claims_alone { None } else { desk_of(&bundle, &self.with, global).unwrap_or_default() };
        let book = book_of(desk.as_ref())?;
        let mut words = Vec::new();
        for document in proposed {
            words.extend(described(document, desk.as_ref(), &book)?);
        }
        let kinds: Vec<&str> = proposed.iter().map(|document| document.label().as_str()).collect();
        let kind = kinds.first().copied().unwrap_or("nothing");
        let hash = proposed.first().map(|document| document.hash().to_string());
        let signed_by: Vec<String> = proposed.iter().flat_map(Document::signed_by).map(|key| key.to_string()).collect();
        let state = state_of(proposed, desk.as_ref(), Vec::new(), 0);
        let mut result = json!({ "kind": kind, "kinds": kinds, "hash": hash, "words": words, "signed_by": signed_by });
        let text = match state {
            Ok(state) if !claims_alone => {
                if let Some(result) = result.as_object_mut() {
                    result.insert("complete".into(), json!(state.complete));
                    result.insert("needs".into(), json!(state.needs));
                    result.insert("state".into(), json!(state.state));
                }
                format!("{}\n{}\n", words.join("\n"), state.state.join("\n"))
            }
            _ => format!("{}\n  {} signature(s), not checked here\n", words.join("\n"), signed_by.len()),
        };
        Ok(Outcome::done(result, text))
    }
}

impl SignFile {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let mut bundle = open_bundle(&self.file)?;
        if bundle.proposed.iter().any(|document| document.label() == Label::KeyClaim) {
            let next = "a claim is signed by its own keys when it is made; put it into a keys document or a list";
            return Err(Failure::refused("CLAIM", "a claim is not signed by others", next).into());
        }
        if bundle.proposed.as_slice().is_empty() {
            let message = "the file proposes nothing";
            return Err(Failure::refused("NOTHING", message, "take the file of the proposal")
                .in_file(shown(&self.file))
                .into());
        }
        let desk = desk_of(&bundle, &self.with, global)?;
        let book = book_of(desk.as_ref())?;
        let mut documents = bundle.proposed.as_slice().to_vec();
        let alone =
            bundle == Bundle::of(documents.first().cloned().ok_or_else(|| anyhow::anyhow!("nothing is proposed"))?);
        let signed = self.signing.sign(&mut documents, desk.as_ref(), &book, global)?;
        let first = documents.first().cloned();
        bundle.proposed = Bounded::new(documents).unwrap_or_default();
        match first.filter(|_| alone) {
            // What came as a single document stays one.
            Some(document) => files::write_document(&self.file, &document)?,
            None => files::write_bundle(&self.file, &bundle)?,
        }
        if let Some(profile) = desk.as_ref().and_then(|desk| desk.profile.as_ref()) {
            book.keep(Some(&profile.dir))?;
            for card in bundle.cards.iter() {
                profile.keep_card(card)?;
            }
            if !signed.complete {
                profile.remember_proposal(&self.file)?;
            }
        }
        Ok(Outcome::done(signed.json(&self.file), signed.text(&self.file)))
    }
}

impl MakeBundle {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        // Where there is a node, what it knows is what is put together.
        if let Some(profile) = Profile::open_if_there(global)?.filter(|profile| profile.node().is_ok()) {
            catch_up(&profile, global);
        }
        let desk = Desk::open(&self.with, global)?;
        let trust = desk.trust()?;
        let travels = |document: &&Document| accord_protocol::trust::travels(document) && trust.keeps(document);
        let held: Vec<Document> = desk.documents.iter().filter(travels).cloned().collect();
        let count = held.len();
        let bundle = Bundle {
            held: Bounded::new(held)
                .ok_or_else(|| Failure::refused("TOO-LARGE", "too many documents", "see the folder"))?,
            ..Bundle::default()
        };
        files::write_bundle(&self.out, &bundle)?;
        let print = fingerprint("federation", "", &desk.federation().0);
        let text = format!(
            "wrote {} with {count} documents\nfederation {}\n  read out {print}\n",
            self.out.display(),
            desk.federation()
        );
        Ok(Outcome::done(
            json!({ "file": self.out, "documents": count, "federation": desk.federation().to_string() }),
            text,
        ))
    }
}
