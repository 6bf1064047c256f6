//! The names behind keys, in a file of the profile: documents hold keys and pseudonyms alone.

use std::path::{Path, PathBuf};

use accord_edge::files;
use accord_protocol::{
    codec::encode,
    id::Hash,
    key::PublicKey,
    member_keys::{KeyClaim, KeyRole},
    officers::Card,
    signed::Verified,
};
use serde::{Deserialize, Serialize};

use crate::output::Failure;

const FILE: &str = "people.toml";
/// Largest book in bytes.
const BOOK_MAX: u64 = 1 << 20;

/// Names that administrators know.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Book {
    #[serde(default)]
    person: Vec<Person>,
}

/// One key of one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// What people call them.
    pub(crate) name: String,
    /// The member, where they have one.
    pub(crate) member: String,
    /// The role of the key.
    pub(crate) role: String,
    /// The key, in hex.
    pub(crate) key: String,
    /// The pseudonym of an officer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) officer: Option<String>,
    /// The SHA-256 of an officer's card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) card: Option<String>,
}

impl Book {
    /// The book of a profile; empty if there is none.
    pub(crate) fn of_profile(dir: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = dir.map(file).filter(|path| path.exists()) else { return Ok(Self::default()) };
        let text = files::read_limited(&path, BOOK_MAX)?;
        toml::from_str(&String::from_utf8_lossy(&text)).map_err(|error| {
            let failure = Failure::refused("PEOPLE", error.to_string(), "correct the file");
            failure.in_file(path.display().to_string()).into()
        })
    }

    /// Adds the names of claims, and the cards that were made for their keys.
    pub(crate) fn learn(&mut self, claims: &[Verified<KeyClaim>], cards: &[Card]) {
        for claim in claims {
            let member = claim.node_id.as_ref().map_or(String::new(), ToString::to_string);
            for entry in claim.keys.iter() {
                if matches!(
                    entry.role,
                    KeyRole::Tls | KeyRole::Sign | KeyRole::Log | KeyRole::Witness | KeyRole::Edition
                ) {
                    continue;
                }
                let key = entry.key.to_string();
                let mut of_key: Vec<Person> = cards
                    .iter()
                    .filter(|card| card.key == entry.key)
                    .map(|card| Person {
                        officer: Some(card.officer_id.to_string()),
                        card: card_hash(card).map(|hash| hash.to_string()),
                        ..person(claim, &member, entry.role, &key)
                    })
                    .collect();
                if of_key.is_empty() {
                    of_key.push(person(claim, &member, entry.role, &key));
                }
                for new in of_key {
                    // What is known of a key without its card is said better by the one with it.
                    self.person
                        .retain(|known| known.key != new.key || (known.card.is_some() && known.card != new.card));
                    self.person.push(new);
                }
            }
        }
        self.learn_cards(cards);
    }

    // A card for a key whose owner is known: a renewed officer's.
    fn learn_cards(&mut self, cards: &[Card]) {
        for card in cards {
            let (key, hash) = (card.key.to_string(), card_hash(card).map(|hash| hash.to_string()));
            let known = self.person.iter().find(|person| person.key == key).cloned();
            let Some(known) = known.filter(|_| !self.person.iter().any(|person| person.card == hash)) else { continue };
            self.person.push(Person { officer: Some(card.officer_id.to_string()), card: hash, ..known });
        }
    }

    /// Writes the book.
    pub(crate) fn keep(&self, dir: Option<&Path>) -> anyhow::Result<()> {
        let Some(dir) = dir else { return Ok(()) };
        let text = toml::to_string(self)?;
        let header = "# Who is behind which key. Stays here: documents hold keys and pseudonyms alone.\n";
        files::write_atomically(&file(dir), format!("{header}{text}").as_bytes())?;
        Ok(())
    }

    /// Everything that a person holds, by name.
    pub(crate) fn named(&self, name: &str) -> Vec<&Person> {
        self.person.iter().filter(|person| person.name.eq_ignore_ascii_case(name)).collect()
    }

    /// The name behind a key.
    pub(crate) fn name_of(&self, key: &PublicKey) -> Option<&str> {
        let key = key.to_string();
        self.person.iter().find(|person| person.key == key).map(|person| person.name.as_str())
    }

    /// The name behind a card.
    pub(crate) fn name_of_card(&self, card: &Hash) -> Option<&str> {
        let card = card.to_string();
        self.person
            .iter()
            .find(|person| person.card.as_deref() == Some(card.as_str()))
            .map(|person| person.name.as_str())
    }

    /// All names, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.person.iter().map(|person| person.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Person {
    /// The card, by its hash.
    pub(crate) fn card_hash(&self) -> Option<Hash> {
        self.card.as_deref()?.parse().ok()
    }
}

/// The SHA-256 of a card, as officers lists name it.
pub(crate) fn card_hash(card: &Card) -> Option<Hash> {
    encode(card).ok().map(|bytes| Hash::of(&bytes))
}

fn person(claim: &KeyClaim, member: &str, role: KeyRole, key: &str) -> Person {
    Person {
        name: claim.name.as_str().to_owned(),
        member: member.to_owned(),
        role: role.to_string(),
        key: key.to_owned(),
        officer: None,
        card: None,
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
