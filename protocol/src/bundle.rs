//! What goes from hand to hand in one file: documents that are to be signed, and those that they build on.

use bincode::{Decode, Encode};

use crate::{
    codec::Bounded,
    member_keys::KeyClaim,
    officers::Card,
    signed::{Document, Label, Verified},
};

/// Documents proposed at once, at most.
pub const PROPOSED_MAX: usize = 512;

/// A file that goes from hand to hand. Nothing in it is believed because it is in it: every document counts by its own signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Bundle {
    /// What is to be signed, or has been.
    pub proposed: Bounded<Document, PROPOSED_MAX>,
    /// What it builds on: whoever signs sees what would change, and whoever installs has all. Claims of people among it carry names.
    pub held: Bounded<Document, 1_024>,
    /// Cards of the officers whom a proposed list names.
    pub cards: Bounded<Card, 1_024>,
    /// For whom the file is, where it invites somebody: TOML, for the tool.
    pub note: Bounded<u8, 4_096>,
}

impl Bundle {
    /// One document alone.
    pub fn of(document: Document) -> Self {
        Self { proposed: Bounded::new(vec![document]).unwrap_or_default(), ..Self::default() }
    }

    /// All documents that may count, each once: claims do not.
    pub fn documents(&self) -> Vec<Document> {
        let mut all: Vec<Document> = Vec::new();
        for document in self.proposed.iter().chain(self.held.iter()) {
            if document.label() != Label::KeyClaim && !all.contains(document) {
                all.push(document.clone());
            }
        }
        all
    }

    /// The claims whose every key has signed them.
    pub fn claims(&self) -> Vec<Verified<KeyClaim>> {
        let claims =
            self.proposed.iter().chain(self.held.iter()).filter(|document| document.label() == Label::KeyClaim);
        claims.filter_map(|document| crate::member_keys::verify_claim(document).ok()).collect()
    }
}
