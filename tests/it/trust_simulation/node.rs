//! One simulated node: its disk, its memory, its clock, and the product's own decisions over them, in the order of the real node.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use accord_node::domain::{
    catching_up::CatchingUp,
    freshness::{Freshness, Greeted, Hints},
    greeting,
};
use accord_protocol::{
    greeting::{Hello, Mark, lacking, marks},
    id::{Hash, NodeId},
    key::PublicKey,
    roster::MemberState,
    signed::{Document, Label},
    time::{DAY_MS, UnixMs},
    trust::{Ground, Trust},
};

use super::make::{self, EPOCH};

type Known<K, V> = RefCell<BTreeMap<K, V>>;

/// Results that are the same whenever they are asked for, of one script: what documents say is a function of their set.
#[derive(Default)]
pub(super) struct Memory {
    trust: Known<(usize, Hash), Option<Rc<Trust>>>,
    said: Known<(usize, PublicKey, Hash), Rc<Vec<u8>>>,
    marks: Known<Hash, Rc<Vec<Mark>>>,
    heard: Known<(Hash, usize, Option<Hash>), Option<Rc<Hello>>>,
    made: RefCell<(u64, u64)>,
}

fn name_of(documents: &[Document]) -> Hash {
    let all: BTreeSet<Hash> = documents
        .iter()
        .map(|document| {
            let signers = document.signed_by().len().to_be_bytes();
            Hash::of(&[document.hash().0.as_slice(), &signers].concat())
        })
        .collect();
    Hash::of(&all.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>())
}

impl Memory {
    /// Trust sets that were put together, and that were known already.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        let (made, known) = *self.made.borrow();
        [("trust sets made", made), ("trust sets known", known)]
    }

    fn hold(&self, me: usize, installed: &Hash, documents: &[Document]) -> Option<Rc<Trust>> {
        let key = (me, name_of(documents));
        let known = self.trust.borrow().get(&key).cloned();
        let hold = || {
            let ground = Ground { federation: &make::federation(), me: &make::id(me), installed };
            Trust::hold(documents, &ground).ok().map(Rc::new)
        };
        if let Some(known) = known {
            let mut made = self.made.borrow_mut();
            made.1 += 1;
            // In whatever order they came.
            if made.1.is_multiple_of(256) {
                assert_eq!(format!("{:?}", hold()), format!("{known:?}"), "the same documents, and other trust");
            }
            return known;
        }
        let trust = hold();
        self.made.borrow_mut().0 += 1;
        self.trust.borrow_mut().insert(key, trust.clone());
        trust
    }
}

/// What outlives a death.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) documents: Vec<Document>,
    pub(super) greeted: BTreeMap<NodeId, Greeted>,
}

/// Documents and who is trusted because of them, as in a node's memory.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) documents: Vec<Document>,
    pub(super) trust: Rc<Trust>,
    pub(super) marks: Rc<Vec<Mark>>,
    pub(super) name: Hash,
}

/// What became of documents that were handed in or fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Something is new.
    News,
    /// Nothing is.
    NoNews,
    /// The node died while it wrote.
    Died,
}

/// A node.
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) id: NodeId,
    /// Whether it is there at all.
    pub(super) is_installed: bool,
    pub(super) installed: Hash,
    pub(super) runs: bool,
    pub(super) disk: Disk,
    pub(super) copy: Option<Disk>,
    /// While it runs.
    pub(super) standing: Option<Standing>,
    pub(super) freshness: Freshness,
    pub(super) hints: Hints,
    /// Its clock's error in milliseconds.
    pub(super) skew: i64,
    pub(super) started: u64,
    /// Which of its keys it uses.
    pub(super) generation: usize,
    /// Counts rounds of greetings; what belongs to an older one is dropped.
    pub(super) round: u64,
    /// Counts its deaths.
    pub(super) life: u64,
    memory: Rc<Memory>,
}

impl Node {
    pub(super) fn new(index: usize, memory: Rc<Memory>) -> Self {
        Self {
            index,
            id: make::id(index),
            is_installed: false,
            installed: Hash::ZERO,
            runs: false,
            disk: Disk::default(),
            copy: None,
            standing: None,
            freshness: Freshness::default(),
            hints: Hints::default(),
            skew: 0,
            started: 0,
            generation: 0,
            round: 0,
            life: 0,
            memory,
        }
    }

    /// Installs documents by hand.
    pub(super) fn install(&mut self, documents: Vec<Document>, installed: Hash) {
        self.is_installed = true;
        self.installed = installed;
        let mut documents = documents;
        if let Some(trust) = self.memory.hold(self.index, &installed, &documents) {
            documents.retain(|document| trust.keeps(document));
        }
        self.disk = Disk { documents, greeted: BTreeMap::new() };
    }

    /// Its own idea of the time.
    pub(super) fn clock(&self, now: u64) -> UnixMs {
        UnixMs(EPOCH.0.saturating_add(DAY_MS + now).saturating_add_signed(self.skew))
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.standing.as_ref().unwrap().trust
    }

    pub(super) fn held(&self) -> &[Document] {
        &self.standing.as_ref().unwrap().documents
    }

    /// Starts from what is on the disk.
    pub(super) fn start(&mut self, now: u64) -> Result<(), String> {
        let documents = self.disk.documents.clone();
        let standing = self.standing_of(documents).ok_or("what is on the disk does not hold together")?;
        self.standing = Some(standing);
        self.freshness = Freshness::new(self.disk.greeted.clone());
        self.hints = Hints::default();
        self.runs = true;
        self.started = now;
        self.round += 1;
        Ok(())
    }

    pub(super) fn die(&mut self) {
        self.runs = false;
        self.standing = None;
        self.round += 1;
        self.life += 1;
    }

    // As `Standing::of`: a node that does not find itself in the documents does not use them.
    fn standing_of(&self, documents: Vec<Document>) -> Option<Standing> {
        let trust = self.memory.hold(self.index, &self.installed, &documents)?;
        trust.keys(&self.id)?;
        Some(self.standing_with(documents, trust))
    }

    fn standing_with(&self, documents: Vec<Document>, trust: Rc<Trust>) -> Standing {
        let name = name_of(&documents);
        let marks = Rc::clone(self.memory.marks.borrow_mut().entry(name).or_insert_with(|| Rc::new(marks(&documents))));
        Standing { documents, trust, marks, name }
    }

    fn holds(documents: &[Document], document: &Document) -> bool {
        documents.iter().any(|held| held.label() == document.label() && held.hash() == document.hash())
    }

    /// Takes documents as `Node::take_documents` does; dies after `writes` of them were written, if so many are.
    pub(super) fn take(&mut self, documents: &[Document], writes: Option<usize>) -> Taken {
        let before = self.held().to_vec();
        let mut union = before.clone();
        for document in documents {
            if !Self::holds(&union, document) {
                union.push(document.clone());
            }
        }
        let Some(trust) = self.memory.hold(self.index, &self.installed, &union) else { return Taken::NoNews };
        if trust.keys(&self.id).is_none() {
            return Taken::NoNews;
        }
        union.retain(|document| trust.keeps(document));
        let mut new: Vec<Document> = union.iter().filter(|document| !Self::holds(&before, document)).cloned().collect();
        if new.is_empty() {
            return Taken::NoNews;
        }
        // A roster comes last.
        new.sort_by_key(|document| document.label() == Label::Roster);
        for (written, document) in new.into_iter().enumerate() {
            if writes == Some(written) {
                self.die();
                return Taken::Died;
            }
            if !Self::holds(&self.disk.documents, &document) {
                self.disk.documents.push(document);
            }
        }
        self.disk.documents.retain(|document| Self::holds(&union, document) || !Self::holds(&before, document));
        self.standing = Some(self.standing_with(union, trust));
        Taken::News
    }

    fn listed(
        &self,
        keys: impl Fn(&accord_protocol::member_keys::MemberKeys) -> &[PublicKey],
        of: fn(usize, usize) -> usize,
    ) -> usize {
        let current = make::public(of(self.index, self.generation));
        let is_listed = self.trust().keys(&self.id).is_some_and(|listed| keys(listed).contains(&current));
        // A key that the own documents do not list any more has given way to the next.
        of(self.index, if is_listed { self.generation } else { self.generation + 1 })
    }

    pub(super) fn tls_key(&self) -> PublicKey {
        make::public(self.listed(|keys| keys.tls_keys.as_slice(), make::tls))
    }

    /// What it says to others.
    pub(super) fn hello(&self) -> Rc<Vec<u8>> {
        let standing = self.standing.as_ref().unwrap();
        let key = make::key(self.listed(|keys| keys.sign_keys.as_slice(), make::sign));
        let known = (self.index, key.public(), standing.name);
        let say = || Rc::new(greeting::say(&standing.trust, &self.id, &standing.documents, key, EPOCH));
        Rc::clone(self.memory.said.borrow_mut().entry(known).or_insert_with(say))
    }

    /// Hears what a member says, as `Node::hear` does: what is lacking here, if it is believed.
    pub(super) fn hear(&mut self, from: usize, payload: &[u8], now: u64) -> Option<Vec<Mark>> {
        let id = make::id(from);
        let at = self.clock(now);
        let keys: Vec<u8> = self.trust().greeting_keys(&id, at).iter().flat_map(|key| *key.as_bytes()).collect();
        let known = (Hash::of(payload), from, Some(Hash::of(&keys)));
        let believe =
            || greeting::believe(self.trust(), &id, payload, at).ok().map(|hello| Rc::new(hello.get().clone()));
        let hello = self.memory.heard.borrow_mut().entry(known).or_insert_with(believe).clone()?;
        let greeted =
            Greeted { at: self.clock(now), epoch: hello.epoch, version: hello.roster_version, hash: hello.roster_hash };
        if self.freshness.note(&id, greeted) {
            self.disk.greeted.insert(id.clone(), greeted);
        }
        let mut lacking = lacking(&self.standing.as_ref().unwrap().marks, hello.held.as_slice());
        lacking.retain(|mark| self.hints.follows(&id, &mark.hash, now - self.started));
        Some(lacking)
    }

    /// Begins to fetch what is lacking.
    pub(super) fn catch_up(&self, lacking: Vec<Mark>) -> CatchingUp {
        CatchingUp::new(lacking, self.held(), self.trust().root().root_version)
    }

    /// Notes the hints that led to nothing; how many were given up.
    pub(super) fn note_hints(&mut self, from: usize, catching_up: &CatchingUp, now: u64) -> usize {
        let held = &self.standing.as_ref().unwrap().documents;
        let id = make::id(from);
        let failed = catching_up.led_to_nothing(held);
        failed.into_iter().filter(|mark| self.hints.failed(&id, &mark.hash, now - self.started)).count()
    }

    /// The members whom it greets, as `Partners::keep_greeting` finds them.
    pub(super) fn greets(&self, now: u64) -> Vec<NodeId> {
        let (trust, clock) = (self.trust(), self.clock(now));
        let is_greeted = |id: &NodeId| *id != self.id && trust.keys(id).is_some_and(|keys| clock < keys.expires_at);
        trust
            .roster()
            .members
            .iter()
            .filter(|member| member.state != MemberState::Removed && is_greeted(&member.node_id))
            .map(|member| member.node_id.clone())
            .collect()
    }

    /// Whether it knows what the others know.
    pub(super) fn is_fresh(&self, now: u64) -> bool {
        self.freshness.is_fresh(self.trust(), &self.id, self.clock(now))
    }
}
