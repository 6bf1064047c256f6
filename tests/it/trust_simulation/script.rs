//! What people publish in a history, in which order, and what a member gone bad has in its pocket: made once from a seed.

use std::collections::BTreeSet;

use accord_protocol::{
    id::Hash,
    roster::MemberState,
    signed::Document,
    suspend::{Target, Way},
};
use accord_tests::seeded::Seeded;

use super::make::{self, KeysShape, NAMES, ROOT_KEYS, admins};

/// Who hands a publication in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// An operator of this member.
    Member(usize),
    /// Root holders, through any node.
    Anybody,
}

/// What people do because of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing more.
    Nothing,
    /// The member's node uses its next keys once everybody knows them; the next publication waits for that.
    Switches(usize),
    /// Administrators everywhere compare these keys, the member's own last.
    Accepts(usize, Hash),
    /// The member installs its node; administrators everywhere compare its keys.
    Joins(usize, Hash),
    /// The member is out.
    Leaves(usize),
}

/// Documents that are handed in together.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// What it is, for the counts.
    pub(super) what: &'static str,
    pub(super) from: From,
    pub(super) documents: Vec<Document>,
    pub(super) then: Then,
}

/// What the member gone bad has.
#[derive(Debug, Clone)]
pub(super) struct Bad {
    pub(super) member: usize,
    /// Two keys documents of one version, and one that follows the first.
    pub(super) two_keys: [Document; 2],
    /// Signed by too few: rosters, lists, liftings.
    pub(super) too_few: Vec<Document>,
}

/// One script.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Members whose nodes run from the beginning.
    pub(super) members: usize,
    pub(super) bad: Option<Bad>,
    /// Installed by hand everywhere.
    pub(super) start: Vec<Document>,
    /// The roster among them.
    pub(super) installed: Hash,
    pub(super) publications: Vec<Publication>,
    /// All that was signed by as many as must.
    pub(super) genuine: BTreeSet<Hash>,
}

struct Writer {
    dice: Seeded,
    members: usize,
    bad: Option<usize>,
    states: Vec<Option<MemberState>>,
    anchors: Vec<Document>,
    // The latest of each member's keys, with the generations that they list.
    keys: Vec<(Document, u64, usize)>,
    lists: Vec<(Document, u64, Vec<usize>)>,
    suspended: Vec<Option<usize>>,
    words: u64,
    root: usize,
    catalogue: Document,
    roster: (Hash, u64),
    // Members more whose keys may change: whoever has an old copy must find somebody.
    to_change: usize,
    publications: Vec<Publication>,
}

/// Writes a script.
pub(super) fn write(seed: u64) -> Script {
    let mut dice = Seeded::new(seed ^ 0x5c41_9700);
    let members = 4 + dice.below(2);
    let bad = dice.happens(70).then(|| dice.below(members));
    let anchors: Vec<Document> = (0..=members).map(make::first_keys).collect();
    let lists: Vec<_> = (0..members)
        .map(|member| (make::officers(member, 1, Hash::ZERO, &[1, 2, 3], &admins(member)), 1, vec![1, 2, 3]))
        .collect();
    let mut writer = Writer {
        members,
        bad,
        states: (0..=members).map(|member| (member < members).then_some(MemberState::Active)).collect(),
        keys: anchors.iter().map(|keys| (keys.clone(), 1, 0)).collect(),
        anchors,
        lists,
        suspended: vec![None; members],
        words: 0,
        root: 1,
        catalogue: make::catalogue("Seizures"),
        roster: (Hash::ZERO, 0),
        to_change: members - 2 - usize::from(bad.is_some()),
        publications: Vec::new(),
        dice,
    };
    let roster = writer.roster();
    let start: Vec<Document> = [make::root(1), writer.catalogue.clone()]
        .into_iter()
        .chain(writer.anchors[..members].to_vec())
        .chain(writer.lists.iter().map(|(list, ..)| list.clone()))
        .chain([roster.clone()])
        .collect();
    for _ in 0..writer.dice.between(6, 10) {
        writer.publish();
    }
    let published = writer.publications.iter().flat_map(|publication| publication.documents.iter());
    let mut genuine: BTreeSet<Hash> = start.iter().chain(published).map(Document::hash).collect();
    let bad = bad.map(|member| writer.go_bad(member, &roster));
    genuine.extend(bad.iter().flat_map(|bad| bad.two_keys.iter().map(Document::hash)));
    Script { members, bad, start, installed: roster.hash(), publications: writer.publications, genuine }
}

impl Writer {
    fn signers(&self) -> Vec<usize> {
        ROOT_KEYS[self.root - 1][..2].to_vec()
    }

    // The next roster as things stand.
    fn roster(&mut self) -> Document {
        let entries = (0..=self.members)
            .filter_map(|member| self.states[member].map(|state| make::entry(member, &self.anchors[member], state)))
            .collect();
        let (before, version) = self.roster;
        let roster =
            make::roster(self.root as u64, version + 1, before, self.catalogue.hash(), entries, &self.signers());
        self.roster = (roster.hash(), version + 1);
        roster
    }

    // One that is honest, was there from the beginning and is not out.
    fn somebody(&mut self) -> usize {
        loop {
            let member = self.dice.below(self.members);
            if Some(member) != self.bad && self.states[member] != Some(MemberState::Removed) {
                return member;
            }
        }
    }

    fn add(&mut self, what: &'static str, from: From, documents: Vec<Document>, then: Then) {
        self.publications.push(Publication { what, from, documents, then });
    }

    fn publish(&mut self) {
        match self.dice.below(13) {
            0 | 1 => self.suspend_or_reinstate(),
            2 => self.add_member(),
            3 => self.move_anchor(),
            4 | 5 => self.rotate(),
            6 => self.change_without_continuity(),
            7 => self.widen(),
            8 => self.narrow(),
            9 | 10 => self.suspend_or_lift(),
            11 => self.rotate_root(),
            _ => self.remove(),
        }
    }

    fn suspend_or_reinstate(&mut self) {
        let member = self.dice.below(self.members);
        let (what, state) = match self.states[member] {
            Some(MemberState::Active) => ("roster suspends", MemberState::Suspended),
            Some(MemberState::Suspended) => ("roster reinstates", MemberState::Active),
            Some(MemberState::Removed) | None => return,
        };
        self.states[member] = Some(state);
        let roster = self.roster();
        self.add(what, From::Anybody, vec![roster], Then::Nothing);
    }

    // With a new catalogue, since the roster names both.
    fn add_member(&mut self) {
        let newcomer = self.members;
        if self.states[newcomer].is_some() || newcomer >= NAMES.len() {
            return;
        }
        self.states[newcomer] = Some(MemberState::Active);
        self.catalogue = make::catalogue("Seizures, and those of the newcomer");
        let keys = self.anchors[newcomer].clone();
        let roster = self.roster();
        let then = Then::Joins(newcomer, keys.hash());
        self.add("roster adds", From::Anybody, vec![self.catalogue.clone(), keys, roster], then);
    }

    fn move_anchor(&mut self) {
        let member = self.somebody();
        if self.anchors[member].hash() != self.keys[member].0.hash() {
            self.anchors[member] = self.keys[member].0.clone();
            let roster = self.roster();
            self.add("roster moves an anchor", From::Anybody, vec![roster], Then::Nothing);
        }
    }

    fn rotate(&mut self) {
        let member = self.somebody();
        let (before, version, generation) = self.keys[member].clone();
        if version != 1 || self.to_change == 0 {
            return;
        }
        self.to_change -= 1;
        let next = generation + 1;
        let make = |version, before: &Document, keys: &[usize], from| {
            make::member_keys(&KeysShape {
                member,
                version,
                before: before.hash(),
                tls: keys,
                sign: keys,
                continuity: Some(from),
                port: 4433,
            })
        };
        let both = make(version + 1, &before, &[generation, next], generation);
        self.add("keys rotate", From::Member(member), vec![both.clone()], Then::Switches(member));
        if self.dice.happens(50) {
            // The old key, which may be in wrong hands, is stopped before it is dropped.
            let old = make::public(make::sign(member, generation)).to_string();
            self.words += 1;
            let stopped = make::suspend(member, Target::Key, &old, Way::Stops, self.words, &admins(member)[..1]);
            self.add("key suspended", From::Member(member), vec![stopped], Then::Nothing);
            let old = make::public(make::tls(member, generation)).to_string();
            self.words += 1;
            let stopped = make::suspend(member, Target::Key, &old, Way::Stops, self.words, &admins(member)[1..]);
            self.add("key suspended", From::Member(member), vec![stopped], Then::Nothing);
        }
        let one = make(version + 2, &both, &[next], next);
        self.add("old keys dropped", From::Member(member), vec![one.clone()], Then::Nothing);
        self.keys[member] = (one, version + 2, next);
    }

    fn change_without_continuity(&mut self) {
        let member = self.somebody();
        let (before, version, generation) = self.keys[member].clone();
        if version != 1 || self.to_change == 0 {
            return;
        }
        self.to_change -= 1;
        let keys = make::member_keys(&KeysShape {
            member,
            version: version + 1,
            before: before.hash(),
            tls: &[generation],
            sign: &[generation + 1],
            continuity: None,
            port: 4433,
        });
        let then = Then::Accepts(member, keys.hash());
        self.add("keys change without continuity", From::Member(member), vec![keys.clone()], then);
        self.keys[member] = (keys, version + 1, generation);
    }

    fn widen(&mut self) {
        let member = self.somebody();
        let (before, version, mut cards) = self.lists[member].clone();
        cards.push(10 + self.publications.len());
        let list = make::officers(member, version + 1, before.hash(), &cards, &admins(member));
        self.lists[member] = (list.clone(), version + 1, cards);
        self.add("officers widened", From::Member(member), vec![list], Then::Nothing);
    }

    fn narrow(&mut self) {
        let member = self.somebody();
        let (before, version, mut cards) = self.lists[member].clone();
        cards.pop();
        let list = make::officers(member, version + 1, before.hash(), &cards, &admins(member)[..1]);
        self.lists[member] = (list.clone(), version + 1, cards);
        self.add("officers narrowed by one", From::Member(member), vec![list], Then::Nothing);
    }

    fn suspend_or_lift(&mut self) {
        let member = self.somebody();
        self.words += 1;
        let admins = admins(member);
        let (what, card, way, signers) = match self.suspended[member].take() {
            Some(card) => ("officer lifted", card, Way::Lifts, &admins[..]),
            None => ("officer suspended", 1, Way::Stops, &admins[..1]),
        };
        if way == Way::Stops {
            self.suspended[member] = Some(card);
        }
        let subject = make::card(card).to_string();
        let suspend = make::suspend(member, Target::Officer, &subject, way, self.words, signers);
        self.add(what, From::Member(member), vec![suspend], Then::Nothing);
    }

    fn rotate_root(&mut self) {
        if self.root == 2 {
            return;
        }
        // Signed by both thresholds, and by the new key.
        let mut root = make::root(2);
        assert!(root.add_signature(make::key(ROOT_KEYS[0][0]), &Hash::ZERO));
        self.root = 2;
        self.catalogue = make::catalogue("Seizures, under the second root");
        let roster = self.roster();
        self.add("root rotates", From::Anybody, vec![root, self.catalogue.clone(), roster], Then::Nothing);
    }

    fn remove(&mut self) {
        let member = self.dice.below(self.members);
        if self.to_change == 0 || self.states[member] == Some(MemberState::Removed) {
            return;
        }
        self.to_change -= usize::from(Some(member) != self.bad);
        self.states[member] = Some(MemberState::Removed);
        let roster = self.roster();
        self.add("roster removes", From::Anybody, vec![roster], Then::Leaves(member));
    }

    fn go_bad(&self, member: usize, first: &Document) -> Bad {
        let keys = |port| {
            make::member_keys(&KeysShape {
                member,
                version: 2,
                before: self.anchors[member].hash(),
                tls: &[0],
                sign: &[0, 1],
                continuity: Some(0),
                port,
            })
        };
        let active = |member| make::entry(member, &self.anchors[member], MemberState::Active);
        let only_me = vec![active(member)];
        let everybody: Vec<_> = (0..self.members).map(active).collect();
        let [one, ..] = ROOT_KEYS[0];
        // It holds one root key of the two that must sign, and signs with all that it has beside.
        let own = [admins(member)[0], admins(member)[1], make::sign(member, 0)];
        let signers = [&[one], own.as_slice()].concat();
        let catalogue = make::catalogue("Seizures").hash();
        let mut too_few = vec![
            make::roster(1, 2, first.hash(), catalogue, only_me.clone(), &signers),
            make::roster(1, 2, first.hash(), catalogue, everybody, &own),
            make::roster(1, 900, Hash::ZERO, catalogue, only_me, &signers),
        ];
        let wider = make::officers(member, 2, self.lists[member].0.hash(), &[1, 2, 3, 4], &admins(member)[..1]);
        too_few.push(wider);
        let victim = (member + 1) % self.members;
        let foreign = make::officers(victim, 99, Hash::ZERO, &[7], &admins(member));
        let cut_off = make::public(make::tls(victim, 0)).to_string();
        let stops = make::suspend(victim, Target::Key, &cut_off, Way::Stops, 9_000, &admins(member));
        let lifts =
            make::suspend(victim, Target::Officer, &make::card(1).to_string(), Way::Lifts, 9_001, &admins(victim)[..1]);
        too_few.extend([foreign, stops, lifts]);
        Bad { member, two_keys: [keys(5001), keys(5002)], too_few }
    }
}
