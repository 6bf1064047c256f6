//! Handing signed documents to one's own node, which takes them by their signatures and spreads them.

use std::path::PathBuf;

use accord_edge::files;
use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    message::{Handed, MessageKind, TrustCall},
    signed::{Document, Label},
};
use clap::Args;

use super::{Global, status::send_to_node};
use crate::{
    output::{Failure, Outcome},
    trusting::desk::open_bundle,
};

/// `accord federation publish`
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Files that are signed (`.accord`), and cards of own officers (`.card`).
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Publish {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (mut documents, mut cards): (Vec<Document>, Vec<_>) = (Vec::new(), Vec::new());
        for path in &self.files {
            if path.extension().is_some_and(|extension| extension == "card") {
                let card = decode(&files::read_limited(path, 1024)?, Cap::Small).map_err(|error| {
                    Failure::refused("CARD", format!("{}: {error}", path.display()), "get the card again")
                })?;
                cards.push(card);
                continue;
            }
            let bundle = open_bundle(path)?;
            if bundle.proposed.iter().any(|document| document.label() == Label::Topic) {
                let name = path.display();
                let next = format!("officers keep it, to ask under it: accord topic add {name}");
                let message = "a topic is not handed to a node";
                return Err(Failure::usage("TOPIC", message, next).in_file(name.to_string()).into());
            }
            documents.extend(
                bundle.documents().into_iter().filter(|document| !documents.contains(document)).collect::<Vec<_>>(),
            );
            cards.extend(bundle.cards.iter().cloned());
        }
        let too_many = || Failure::usage("TOO-MANY", "too many files at once", "hand in some, then the others");
        let handed = Handed {
            documents: Bounded::new(documents).ok_or_else(too_many)?,
            cards: Bounded::new(cards).ok_or_else(too_many)?,
        };
        let reply = send_to_node(global, MessageKind::Trust, &TrustCall::Publish {}, &encode(&handed)?)?;
        Ok(Outcome::from_reply(reply, |result| {
            let count = |name: &str| result.get(name).and_then(serde_json::Value::as_array).map_or(0, Vec::len);
            format!(
                "{} new, {} known already, {} not taken; roster {} is in force\n",
                count("new"),
                result.get("known").unwrap_or(&serde_json::Value::Null),
                count("refused"),
                result.pointer("/roster/version").unwrap_or(&serde_json::Value::Null),
            )
        }))
    }
}
