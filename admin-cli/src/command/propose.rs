//! What every command that makes a document does at its end: explain, sign, write the file, say who signs next.

use std::path::{Path, PathBuf};

use accord_protocol::{
    codec::Bounded,
    officers::Card,
    signed::{Document, Signable},
};
use serde_json::{Value, json};

use super::Global;
use crate::{
    output::{Failure, Outcome},
    trusting::{
        book::Book,
        desk::Desk,
        signers::name,
        signing::{Signed, Signing, described, state_of},
    },
};

/// Makes a document; what breaks a rule of its kind is misuse.
pub(super) fn document<T: Signable>(value: &T, next: &str) -> anyhow::Result<Document> {
    Document::new(value).map_err(|error| Failure::usage("DOCUMENT", error.to_string(), next).into())
}

/// Documents that are proposed, and what goes with them.
pub(super) struct Proposal<'a> {
    pub(super) desk: &'a Desk,
    pub(super) documents: Vec<Document>,
    /// What is needed beside the root documents, so that whoever signs sees what changes.
    pub(super) wanted: &'a dyn Fn(&Document) -> bool,
    /// What goes along whatever is in force here: it is in force with the proposal.
    pub(super) beside: Vec<Document>,
    pub(super) cards: Vec<Card>,
    /// Where the file goes; without it a name is made of what it is.
    pub(super) out: Option<PathBuf>,
}

impl Proposal<'_> {
    /// Signs with the rings that are there, and writes the file.
    pub(super) fn sign(self, signing: &Signing, global: &Global) -> anyhow::Result<Outcome> {
        let book = self.book()?;
        let mut documents = self.documents.clone();
        let signed = signing.sign(&mut documents, Some(self.desk), &book, global)?;
        self.write(documents, &signed, &book, json!({}))
    }

    /// Writes the file without a signature: whoever proposes it holds no key that counts.
    pub(super) fn unsigned(self, more: Value) -> anyhow::Result<Outcome> {
        let book = self.book()?;
        let mut words = Vec::new();
        for document in &self.documents {
            words.extend(described(document, Some(self.desk), &book)?);
        }
        let signed = state_of(&self.documents, Some(self.desk), words, 0)?;
        self.write(self.documents.clone(), &signed, &book, more)
    }

    fn book(&self) -> anyhow::Result<Book> {
        let mut book = Book::of_profile(self.desk.profile.as_ref().map(|profile| profile.dir.as_path()))?;
        book.learn(&self.desk.claims, &self.desk.cards);
        book.learn(&self.desk.claims, &self.cards);
        Ok(book)
    }

    fn write(&self, documents: Vec<Document>, signed: &Signed, book: &Book, more: Value) -> anyhow::Result<Outcome> {
        let out = self.out.clone().unwrap_or_else(|| file_name(&documents));
        if let Some(profile) = &self.desk.profile {
            for card in &self.cards {
                profile.keep_card(card)?;
            }
            if !signed.complete {
                profile.remember_proposal(&out)?;
            }
        }
        book.keep(self.desk.profile.as_ref().map(|profile| profile.dir.as_path()))?;
        let bundle = self.desk.proposal(documents, self.wanted, &self.beside, self.cards.clone())?;
        accord_edge::files::write_bundle(&out, &bundle)?;
        let mut result = signed.json(&out);
        if let (Some(result), Value::Object(more)) = (result.as_object_mut(), more) {
            result.extend(more);
        }
        // What is signed was said before it was asked for; what is not, is said now.
        let words = if signed.added == 0 { format!("{}\n", signed.words.join("\n")) } else { String::new() };
        Ok(Outcome::done(result, format!("{words}wrote {}\n{}", out.display(), signed.text(&out))))
    }
}

fn file_name(documents: &[Document]) -> PathBuf {
    let name = documents
        .first()
        .map_or("proposal".to_owned(), |document| name(document).replace(" of ", "-").replace(' ', "-"));
    PathBuf::from(format!("{name}.accord"))
}

/// A list that keeps its order and holds each once.
pub(super) fn bounded<T: Ord, const MAX: usize>(list: Vec<T>, what: &str) -> anyhow::Result<Bounded<T, MAX>> {
    Bounded::sorted(list).ok_or_else(|| {
        let message = format!("{what}: one stands twice, or there are more than {MAX}");
        Failure::usage("LIST", message, "name each once").into()
    })
}

/// Reads a file's path for messages.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
