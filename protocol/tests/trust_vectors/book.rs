//! The file of vectors as it is written: documents by name, then cases, each with what this implementation makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use accord_protocol::{
    codec::{Cap, decode, encode},
    id::{Hash, NodeId, to_hex},
    officers::Card,
    signed::{Document, FederationId, Label, Verified},
    time::UnixMs,
    trust::{Ground, Remark, Trust, WhyWaiting},
};

use crate::made::{federation, id};

/// How a set is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Read {
    /// Somebody vouches for all of it.
    Whole,
    /// A node or tool of ES-AGENCY holds it, on top of this roster.
    Held(&'static str),
}

/// What was written so far.
#[derive(Debug, Default)]
pub(crate) struct Book {
    documents: BTreeMap<String, Document>,
    cards: BTreeMap<String, Card>,
    cases: BTreeSet<String>,
    text: String,
}

impl Book {
    /// Names a document.
    pub(crate) fn add(&mut self, name: &str, document: Document) -> Document {
        let bytes = encode(&document).unwrap();
        assert_eq!(decode::<Document>(&bytes, Cap::Document).unwrap(), document);
        let before = self.documents.insert(name.to_owned(), document.clone());
        assert!(before.is_none_or(|before| before == document), "two documents are named {name}");
        document
    }

    /// Names a card.
    pub(crate) fn card(&mut self, name: &str, card: Card) -> Hash {
        let hash = Hash::of(&encode(&card).unwrap());
        self.cards.insert(name.to_owned(), card);
        hash
    }

    pub(crate) fn cases(&self) -> usize {
        self.cases.len()
    }

    /// A set under the federation's own id.
    pub(crate) fn case(&mut self, name: &str, read: Read, with: &str, at: &[UnixMs]) {
        self.case_under(name, &federation(), read, with, at);
    }

    /// Writes a case: the documents by their names, and what they come to, in whatever order they are handed in.
    pub(crate) fn case_under(&mut self, name: &str, under: &FederationId, read: Read, with: &str, at: &[UnixMs]) {
        assert!(self.cases.insert(name.to_owned()), "two cases are named {name}");
        let named = |name: &str| self.documents.get(name).unwrap_or_else(|| panic!("no document {name}")).clone();
        let mut documents: Vec<Document> = with.split_whitespace().map(named).collect();
        let me = id("ES-AGENCY");
        let installed = match read {
            Read::Whole => Hash::ZERO,
            Read::Held(roster) => named(roster).hash(),
        };
        let hold = |documents: &[Document]| match read {
            Read::Whole => Trust::build(documents, Some(under)),
            Read::Held(_) => Trust::hold(documents, &Ground { federation: under, me: &me, installed: &installed }),
        };
        let verdict = hold(&documents).map(|trust| self.verdict(&trust, at));
        documents.reverse();
        let turned = hold(&documents).map(|trust| self.verdict(&trust, at));
        assert_eq!(verdict.is_ok(), turned.is_ok(), "{name}: the order of documents matters");
        let verdict = verdict.unwrap_or_else(|_| "refused\n".to_owned());
        assert_eq!(
            verdict,
            turned.unwrap_or_else(|_| "refused\n".to_owned()),
            "{name}: the order of documents matters"
        );
        writeln!(self.text, "\ncase {name}").unwrap();
        match read {
            Read::Whole => writeln!(self.text, "read whole {under}").unwrap(),
            Read::Held(_) => writeln!(self.text, "read held {under} {me} {installed}").unwrap(),
        }
        writeln!(self.text, "with {}", with.trim_end()).unwrap();
        self.text += &verdict;
    }

    fn verdict(&self, trust: &Trust, at: &[UnixMs]) -> String {
        let members: Vec<&NodeId> = trust.roster().members.iter().map(|member| &member.node_id).collect();
        let mut text = String::new();
        let mut line = |word: &str, value: String| writeln!(text, "{word} {value}").unwrap();
        line("root", format!("{} {}", trust.root().root_version, trust.root().hash()));
        line("roster", format!("{} {}", trust.roster().roster_version, trust.roster().hash()));
        for member in &members {
            let keys = trust.keys(member).map(|keys| mark(keys.keys_version, keys));
            line("keys", format!("{member} {}", keys.unwrap_or_else(|| "none".into())));
        }
        for member in &members {
            let list = trust.officers(member).map(|list| mark(list.list_version, list));
            line("officers", format!("{member} {}", list.unwrap_or_else(|| "none".into())));
        }
        let remarks: BTreeSet<String> = trust.remarks().iter().map(remark).collect();
        for remark in remarks {
            line("remark", remark);
        }
        for now in at {
            line("at", now.0.to_string());
            line("exchange", if trust.roster_is_current(*now) { "yes" } else { "no" }.into());
            let active = members.iter().filter(|member| trust.active(member, *now).is_some());
            line("active", all(active.map(|member| format!("{member}:{}", trust.sign_keys(member, *now).len()))));
            let greeted = members.iter().filter(|member| !trust.reachable_by(member, *now).is_empty());
            line("greeted", all(greeted.map(ToString::to_string)));
            let vouched = members.iter().flat_map(|member| {
                let holds = |card: &Card| trust.officer(member, &encode(card).unwrap(), *now).is_some();
                let cards = self.cards.iter().filter(move |(_, card)| holds(card));
                cards.map(move |(name, _)| format!("{member}:{name}"))
            });
            line("vouched", all(vouched));
        }
        text
    }

    /// The whole file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, document) in &self.documents {
            writeln!(text, "document {name} {}", to_hex(&encode(document).unwrap())).unwrap();
        }
        for (name, card) in &self.cards {
            writeln!(text, "card {name} {}", to_hex(&encode(card).unwrap())).unwrap();
        }
        text + &self.text
    }
}

fn mark<T>(version: u64, document: &Verified<T>) -> String {
    format!("{version} {}", document.hash())
}

fn all(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "-".into() } else { words.join(" ") }
}

fn remark(remark: &Remark) -> String {
    let named = |word: &str, label: &Label, of: &str| match of {
        "the federation" => format!("{word} {label} federation"),
        "" => format!("{word} {label} -"),
        member => format!("{word} {label} {member}"),
    };
    match remark {
        Remark::Waiting { member, why, version, .. } => {
            let why = match why {
                WhyWaiting::New => "new",
                WhyWaiting::Anchored => "anchored",
                WhyWaiting::NoContinuity => "no-continuity",
            };
            format!("{} {version} {why}", named("waiting", &Label::MemberKeys, member.as_str()))
        }
        Remark::Equivocation { label, of, version, .. } => format!("{} {version}", named("equivocation", label, of)),
        Remark::Missing { label, of } => named("missing", label, of),
        Remark::Gap { label, of, version } => format!("{} {version}", named("gap", label, of)),
        Remark::SharedKey { members: [one, other] } => {
            format!("shared-key member-keys {} {}", one.min(other), one.max(other))
        }
        Remark::RootAhead { root_version } => format!("root-ahead root federation {root_version}"),
        Remark::NotBelieved { label, of, .. } => named("not-believed", label, of),
    }
}
