//! What a member gone bad says and gives: greetings in its own name that lie, and other documents than those asked for.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use accord_protocol::{
    PROTOCOL,
    codec::{Bounded, encode},
    greeting::{Hello, MARKS_MAX, Mark, mark, marks},
    id::Hash,
    member_keys::MemberKeys,
    message::{Fetch, SignedBytes},
    officers::Officers,
    roster::Roster,
    signed::{Document, Label, Preamble},
};
use accord_tests::seeded::Seeded;

use super::{
    make::{self, EPOCH},
    node::Node,
    script::{Bad, Script},
};

/// A chain longer than anybody follows.
const ENDLESS: u64 = 1_100;

/// The bad member's pocket.
pub(super) struct Pocket {
    bad: Bad,
    start: Vec<Document>,
    endless: HashMap<Hash, Document>,
    last: Option<Document>,
    said: Said,
    variant: u64,
}

// By kind, variant, to whom, and what is held.
type Said = RefCell<BTreeMap<(usize, u64, usize, Hash), (Option<Vec<u8>>, &'static str)>>;

impl Pocket {
    pub(super) fn new(script: &Script, dice: &mut Seeded) -> Option<Self> {
        let bad = script.bad.clone()?;
        let (mut endless, mut last) = (HashMap::new(), None::<Document>);
        if dice.happens(4) {
            for version in 1..=ENDLESS {
                let before = last.as_ref().map_or(Hash::ZERO, Document::hash);
                let shorter = make::officers(bad.member, version + 10, before, &[], &[]);
                endless.insert(shorter.hash(), shorter.clone());
                last = Some(shorter);
            }
        }
        Some(Self { bad, start: script.start.clone(), endless, last, said: Said::default(), variant: dice.next() % 4 })
    }

    /// What it says to `to`, if anything, and what kind of lie that is.
    pub(super) fn hello(&self, node: &Node, to: usize, dice: &mut Seeded) -> (Option<Vec<u8>>, &'static str) {
        let (kind, variant, known_to) = (dice.below(10), dice.next() % 16, to % 2);
        let key = (kind, variant, known_to, node.standing.as_ref().unwrap().name);
        let make = || self.make_hello(node, kind, known_to, &mut Seeded::new(variant));
        self.said.borrow_mut().entry(key).or_insert_with(make).clone()
    }

    fn make_hello(&self, node: &Node, kind: usize, to: usize, dice: &mut Seeded) -> (Option<Vec<u8>>, &'static str) {
        let held = node.standing.as_ref().unwrap().marks.to_vec();
        let random_hash = |dice: &mut Seeded| Hash(dice.bytes());
        match kind {
            0 => (None, "silence"),
            1 => (Some(dice.bytes::<40>().to_vec()), "noise"),
            2 => {
                let mut all = held;
                for mark in &mut all {
                    mark.version = u64::MAX;
                }
                (Some(self.signed(node, all)), "huge versions")
            }
            3 => {
                let mut all = held;
                for mark in &mut all {
                    (mark.version, mark.hash) = (mark.version + 1, random_hash(dice));
                }
                (Some(self.signed(node, all)), "false hashes")
            }
            4 => {
                let root = Mark { label: Label::Root, of: None, version: u64::MAX, hash: random_hash(dice) };
                (Some(self.signed(node, [held, vec![root]].concat())), "huge root version")
            }
            5 => {
                let one = |dice: &mut Seeded| Mark {
                    label: Label::Suspend,
                    of: None,
                    version: dice.next(),
                    hash: random_hash(dice),
                };
                let how_many = if dice.happens(20) { MARKS_MAX } else { 8 };
                let all = (0..how_many).map(|_| one(dice)).collect();
                (Some(self.signed(node, all)), "as many marks as fit")
            }
            6 => (Some(self.signed(node, marks(&self.start))), "old documents"),
            7 => {
                let mut all = held;
                all.extend(self.last.iter().filter_map(mark).map(|(mark, _)| mark));
                (Some(self.signed(node, all)), "a chain without end")
            }
            8 => {
                let mut all = held;
                all.extend(self.bad.too_few.iter().filter_map(mark).map(|(mark, _)| mark));
                (Some(self.signed(node, all)), "signed by too few")
            }
            _ => {
                // Each sees one of the two.
                let mut all = held;
                all.retain(|mark| mark.label != Label::MemberKeys || mark.of.as_ref() != Some(&node.id));
                all.extend(mark(&self.bad.two_keys[to]).map(|(mark, _)| mark));
                (Some(self.signed(node, all)), "two keys of one version")
            }
        }
    }

    fn signed(&self, node: &Node, mut all: Vec<Mark>) -> Vec<u8> {
        all.sort();
        all.dedup();
        all.truncate(MARKS_MAX);
        let roster = node.trust().roster();
        let hello = Hello {
            preamble: Preamble,
            federation: make::federation(),
            node_id: node.id.clone(),
            epoch: roster.epoch,
            roster_version: roster.roster_version,
            roster_hash: roster.hash(),
            held: Bounded::new(all).unwrap(),
            min_protocol: PROTOCOL,
            max_protocol: PROTOCOL,
            now: EPOCH,
        };
        let payload = encode(&hello).unwrap();
        let key = make::key(make::sign(self.bad.member, 0));
        let signature = key.sign(Label::Hello, &make::federation(), &payload);
        encode(&SignedBytes { payload: Bounded::new(payload).unwrap(), signature }).unwrap()
    }

    /// What it gives for a question; `None` if it does not answer at all.
    pub(super) fn give(&self, node: &Node, fetch: &Fetch, dice: &mut Seeded) -> (Option<Document>, &'static str) {
        if let Some(document) = self.endless.get(&fetch.hash) {
            return (Some(document.clone()), "a chain without end");
        }
        let asked_for = [node.held(), &self.bad.two_keys, &self.bad.too_few]
            .into_iter()
            .find_map(|documents| accord_node::domain::greeting::meant(documents, fetch).cloned());
        let any = |documents: &[Document], dice: &mut Seeded| documents[dice.below(documents.len())].clone();
        // One lie about each document, in a few variants.
        let lie = (usize::from(fetch.hash.0[0]) + usize::try_from(self.variant).unwrap() * 3) % 8;
        match lie {
            0 => (None, "nothing given"),
            1 => (Some(any(node.held(), dice)), "another document"),
            2 => (Some(any(&self.start, dice)), "an old document"),
            3 => (asked_for.as_ref().and_then(without_signatures), "no signatures"),
            4 if fetch.label == Label::Root => (Some(make::unsigned_root(fetch.number.max(1))), "unsigned roots"),
            _ => (asked_for, "as asked"),
        }
    }
}

fn without_signatures(document: &Document) -> Option<Document> {
    match document.label() {
        Label::Roster => Document::new(&document.unverified::<Roster>().ok()?).ok(),
        Label::MemberKeys => Document::new(&document.unverified::<MemberKeys>().ok()?).ok(),
        Label::Officers => Document::new(&document.unverified::<Officers>().ok()?).ok(),
        _ => None,
    }
}
