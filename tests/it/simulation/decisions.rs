//! Random sequences of everything that may happen to requests that a person decides: verdicts on what was seen earlier, two approvers,
//! policies and editions that change in between, officers who take back, time that runs out, a node that dies at any write.
//!
//! What may leave is worked out here from the parts that the policies are made of and from what each approver saw.

use std::collections::BTreeMap;

use accord_node::domain::{
    access::Access,
    answering::{Course as Did, Provider},
    deciding::{Decision, NotDecided},
    inbox::{Course, Held, NoVerdict, Note, Outlook},
    provide::Checked,
};
use accord_policy::Way;
use accord_protocol::{
    approval::{Approval, Verdict},
    codec::{Bounded, Cap, Text, decode, encode},
    held::{HeldState, Recall, Status, is_status},
    id::Hash,
    key::Signature,
    message::SignedBytes,
    refusal::Reason,
    request::Request,
    signed::{Document, Label, Preamble},
    time::UnixMs,
    trust::Trust,
};
use accord_tests::seeded::{Seeded, from_environment};

use super::{
    fixture::{EPOCH, FIXTURE, approvers, key, trust_by},
    node::{Disk, Node},
    policies::{Asked, Row, asked},
};

const DAY_MS: u64 = 86_400_000;
const PROVIDER: usize = 2;
const ASKER: usize = 1;
// Two who may decide, and one who may not.
const PEOPLE: [u8; 2] = [201, 202];
const STRANGER: u8 = 203;

struct InForce {
    rows: Vec<Row>,
    trust: Trust,
    access: Access,
}

// What is known here of one request.
struct Known {
    asked: Asked,
    checked: Checked,
    envelope: Vec<u8>,
    // What a person looked at, in the order looked; verdicts may be on any of them.
    seen: Vec<Outlook>,
    // Who said yes to what.
    yes: BTreeMap<u8, Outlook>,
    last: Option<Vec<u8>>,
    is_final: bool,
    seq: u32,
}

#[derive(Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

fn random_policy(random: &mut Seeded) -> InForce {
    let ways = [Way::AtOnce, Way::AfterApproval, Way::AfterApproval, Way::AfterTwoApprovals, Way::AfterTwoApprovals];
    let rows: Vec<Row> = (0..=random.below(3)).map(|_| Row::random(random).answered(ways[random.below(5)])).collect();
    let text: String = rows.iter().map(Row::text).collect();
    let trust = trust_by(PROVIDER, &text, &[approvers(PROVIDER, &PEOPLE)]);
    let access = Access::of(&trust);
    assert_eq!(access.fault(), None, "{text}");
    InForce { rows, trust, access }
}

fn new_request(random: &mut Seeded, now: UnixMs) -> Known {
    let mut asked = asked(random);
    asked.body.purpose = accord_protocol::officers::Purpose::StrategicAnalysis;
    asked.purpose = asked.body.purpose;
    asked.body.issued_at = now;
    asked.body.deliver_by = now.plus(600_000);
    let days = random.between(0, 20);
    asked.body.wanted_until = if days == 0 { UnixMs(0) } else { now.plus(days * DAY_MS) };
    let agency = &FIXTURE.agencies[ASKER];
    let body = encode(&asked.body).unwrap();
    let request = Request {
        preamble: Preamble,
        body: Bounded::new(body.clone()).unwrap(),
        officer_signature: agency.officer.sign(Label::RequestBody, &FIXTURE.federation, &body),
        officer_card: Bounded::new(agency.card.clone()).unwrap(),
        topic: asked
            .topic
            .as_ref()
            .map_or_else(Bounded::default, |topic| Bounded::new(encode(topic).unwrap()).unwrap()),
        node_id: agency.id.clone(),
        node_key: agency.sign.public(),
        sent_at: now,
        channel_binding: [0; 32],
    };
    let signed =
        SignedBytes { payload: Bounded::new(encode(&request).unwrap()).unwrap(), signature: Signature([7; 64]) };
    let checked = Checked {
        body: asked.body.clone(),
        body_hash: Hash::of(&body),
        card: decode(&agency.card, Cap::Small).unwrap(),
        topic: asked.under(),
    };
    Known {
        asked,
        checked,
        envelope: encode(&signed).unwrap(),
        seen: Vec::new(),
        yes: BTreeMap::new(),
        last: None,
        is_final: false,
        seq: 0,
    }
}

struct World {
    node: Node,
    policies: Vec<InForce>,
    in_force: usize,
    at: u64,
    known: Vec<Known>,
    counts: Counts,
    random: Seeded,
}

impl World {
    fn now(&self) -> UnixMs {
        UnixMs(EPOCH.0 + self.at)
    }

    fn provider(&self) -> Provider<'_> {
        let (agency, in_force) = (self.node.agency(), &self.policies[self.in_force]);
        Provider {
            me: &agency.id,
            trust: &in_force.trust,
            access: &in_force.access,
            policy_commit: Hash::ZERO,
            marking: &FIXTURE.marking,
            key: &agency.sign,
            now: self.now(),
        }
    }

    // The easiest way that a row has it answered.
    fn way(&self, known: &Known) -> Option<Way> {
        self.policies[self.in_force].rows.iter().filter_map(|row| row.permits(&known.asked, self.now())).min()
    }

    fn needed(&self, known: &Known) -> Option<usize> {
        self.way(known).map(|way| match way {
            Way::AtOnce => 0,
            Way::AfterApproval => 1,
            Way::AfterTwoApprovals => 2,
        })
    }

    // How many yeses count for what would leave now.
    fn yeses(known: &Known, outlook: &Outlook) -> usize {
        known.yes.values().filter(|seen| *seen == outlook).count()
    }

    // What leaves, and what is said: final things never change, statements are numbered upwards.
    fn hear(&mut self, index: usize, head: &[u8], slice: &[u8], decided_now: bool) {
        let needed = self.needed(&self.known[index]);
        let known = &mut self.known[index];
        if is_status(head) {
            let status = decode::<Status>(head, Cap::Small).unwrap();
            assert!(slice.is_empty());
            if known.is_final {
                assert_eq!(known.last.as_deref(), Some(head), "another word after the last");
            }
            assert!(status.state_seq >= known.seq, "numbers go back");
            assert!(status.state_seq > known.seq || known.last.as_deref() == Some(head), "one number, two statements");
            known.seq = status.state_seq;
            known.is_final = status.state.is_final();
            known.last = Some(head.to_vec());
            return;
        }
        let answer: accord_protocol::answer::AnswerHead = decode(head, Cap::Head).unwrap();
        if answer.refusal().is_none() {
            assert!(needed.is_some(), "the policy in force denies what leaves");
            if needed > Some(0) {
                assert!(
                    known.yes.len() >= needed.unwrap_or(0),
                    "fewer people than the policy in force asks for have said yes"
                );
            }
            assert!(!slice.is_empty());
        } else {
            assert!(slice.is_empty());
        }
        if known.is_final {
            // A denial may come where the answer would have: it changes nothing that was decided.
            let is_denied =
                answer.refusal().is_some() && answer.refusal() != Some(accord_protocol::refusal::Refusal::Rejected);
            assert!(known.last.as_deref() == Some(head) || is_denied, "a second decision");
        } else if decided_now {
            known.is_final = true;
            known.last = Some(head.to_vec());
        }
    }

    fn ask(&mut self) {
        let now = self.now();
        let known = new_request(&mut self.random, now);
        self.known.push(known);
        self.send(self.known.len() - 1);
    }

    fn send(&mut self, index: usize) {
        let known = &self.known[index];
        let (answer, course) = self.provider().answer(&self.node, &known.checked, &known.envelope);
        let wants = known.checked.body.wanted_until > self.now();
        let needed = self.needed(known);
        match &course {
            Did::Answered { .. } => assert_eq!(needed, Some(0)),
            Did::Held { .. } => {
                assert!(needed > Some(0) && wants);
                self.counts.add("held");
            }
            Did::Refused(_) | Did::NotNow(_) if known.last.is_none() => {
                assert!(needed.is_none() || needed > Some(0) && !wants, "{course:?}");
            }
            Did::Refused(_) | Did::NotNow(_) | Did::Again => {}
            Did::Fault(denied) => panic!("{denied}"),
        }
        let decided = matches!(course, Did::Answered { .. } | Did::Refused(_) | Did::NotNow(_))
            && self.known[index].last.is_none();
        self.hear(index, &answer.head, &answer.slice, decided);
    }

    fn held(&self, index: usize) -> Option<Held> {
        self.node.held(&self.known[index].checked.body_hash)
    }

    fn look(&mut self, index: usize) {
        let Some(held) = self.held(index).filter(Held::is_open) else { return };
        let outlook = self.provider().outlook(&self.node, &held);
        match outlook {
            Ok((_, chosen, outlook)) => {
                assert_eq!(Some(chosen.way), self.way(&self.known[index]));
                assert_eq!(outlook.edition, self.node.latest);
                self.known[index].seen.push(outlook);
            }
            Err(NotDecided::Denied(_)) => assert_eq!(self.way(&self.known[index]), None),
            Err(error) => panic!("{error}"),
        }
    }

    fn verdict(&mut self, index: usize) {
        let (Some(held), seen) = (self.held(index), &self.known[index].seen) else { return };
        if seen.is_empty() {
            return;
        }
        // Mostly on what was looked at last, sometimes on what somebody saw long ago.
        let place = if self.random.happens(70) { seen.len() - 1 } else { self.random.below(seen.len()) };
        let outlook = seen[place];
        let by = [PEOPLE[0], PEOPLE[1], STRANGER][if self.random.happens(10) { 2 } else { self.random.below(2) }];
        let rejects = self.random.happens(15);
        let approval = Approval {
            preamble: Preamble,
            node_id: self.node.agency().id.clone(),
            body_hash: held.body_hash,
            verdict: if rejects { Verdict::Reject } else { Verdict::Approve },
            reason: if rejects { Reason::Scope.number() } else { 0 },
            slice_hash: if rejects { Hash::ZERO } else { outlook.slice_hash },
            edition: if rejects { 0 } else { outlook.edition },
            policy_hash: if rejects { Hash::ZERO } else { outlook.policy_hash },
            at: self.now(),
        };
        let mut document = Document::new(&approval).unwrap();
        assert!(document.add_signature(&key(by), &FIXTURE.federation));
        // One person who would look like two.
        let is_doubled = self.random.happens(10);
        if is_doubled {
            assert!(document.add_signature(&key(STRANGER + 1), &FIXTURE.federation));
        }
        let current = self.provider().outlook(&self.node, &held).map(|(_, _, outlook)| outlook);
        let (needed, over) = (self.needed(&self.known[index]), !held.is_open() || held.wanted_until < self.now());
        // Sixty days after the beginning nobody may decide any more.
        let may = by != STRANGER && !is_doubled && self.at < 60 * DAY_MS;
        let disk = [Disk::Works, Disk::Works, Disk::Works, Disk::DiesBefore, Disk::Full][self.random.below(5)];
        self.node.next_write(disk);
        let taken = self.provider().take_verdict(&self.node, &held, &document);
        self.node.next_write(Disk::Works);
        let after = self.held(index).unwrap();
        match taken {
            Ok((next, decision)) => {
                assert!(!over && may && disk == Disk::Works, "{decision:?} by {by}");
                assert_eq!(next, after, "what comes back is not what is kept");
                if !rejects {
                    assert_eq!(current.ok(), Some(outlook), "a yes to something else counted");
                    // A yes to something else is void from then on, also if that comes back.
                    self.known[index].yes.retain(|_, seen| *seen == outlook);
                    self.known[index].yes.insert(by, outlook);
                }
                let yeses = Self::yeses(&self.known[index], &outlook);
                match decision {
                    Decision::Answered => {
                        // Where people are not asked any more, one yes does no harm.
                        assert!(Some(yeses) >= needed && needed.is_some(), "{yeses} for {needed:?}");
                        self.counts.add("approved");
                    }
                    Decision::OneMore => {
                        assert!(Some(yeses) < needed);
                        self.counts.add("approved by one");
                    }
                    Decision::Rejected(reason) => {
                        assert!(rejects && reason == Reason::Scope);
                        self.counts.add("rejected");
                    }
                }
                if decision != Decision::OneMore {
                    let said = self.node.reply_on_disk(&after).unwrap();
                    let slice: &[u8] = if rejects { &[] } else { &[1] };
                    self.hear(index, &said, slice, true);
                }
            }
            Err(error) => {
                assert_eq!(after, held, "a verdict that came to nothing changed something: {error}");
                match error {
                    NotDecided::Over(_) => assert!(over),
                    NotDecided::NoVerdict(NoVerdict::Signature) => assert!(!may),
                    NotDecided::NoVerdict(NoVerdict::Changed) => {
                        assert_ne!(current.ok(), Some(outlook));
                        self.counts.add("seen too early");
                    }
                    NotDecided::NoVerdict(NoVerdict::Twice) => {
                        assert_eq!(self.known[index].yes.get(&by), Some(&outlook));
                    }
                    NotDecided::NoVerdict(NoVerdict::Another) => panic!("it is about this one"),
                    NotDecided::Denied(_) => assert_eq!(needed, None),
                    NotDecided::Fault(_) => assert!(disk != Disk::Works),
                }
            }
        }
    }

    fn note(&mut self, index: usize) {
        let Some(held) = self.held(index) else { return };
        let note = Note { by: key(PEOPLE[0]).public(), at: self.now(), text: Text::new("seen").unwrap() };
        match self.provider().note(&self.node, &held, note) {
            Ok(next) => {
                let said = self.node.reply_on_disk(&next).unwrap();
                self.hear(index, &said, &[], false);
            }
            Err(error) => assert!(matches!(error, NotDecided::Over(_)) && !held.is_open()),
        }
    }

    fn recall(&mut self, index: usize) {
        let Some(held) = self.held(index) else { return };
        let known = &self.known[index];
        let recall =
            Recall { preamble: Preamble, body_hash: held.body_hash, request_id: held.request_id, at: self.now() };
        let payload = encode(&recall).unwrap();
        let is_officer = self.random.happens(70);
        let officer_key = if is_officer { &FIXTURE.agencies[ASKER].officer } else { &FIXTURE.agencies[0].officer };
        let signature = officer_key.sign(Label::Withdraw, &FIXTURE.federation, &payload);
        let signed = SignedBytes { payload: Bounded::new(payload).unwrap(), signature };
        assert_eq!(self.provider().is_recalled(&held, &signed), is_officer);
        if is_officer && !known.is_final {
            let ended = self.provider().end(&self.node, &held, Course::Withdrawn, HeldState::Withdrawn);
            let said = self.node.reply_on_disk(&ended.unwrap()).unwrap();
            self.hear(index, &said, &[], true);
            self.counts.add("taken back");
        }
    }

    fn expire(&mut self) {
        for index in 0..self.known.len() {
            let Some(held) = self.held(index).filter(|held| held.is_open() && held.wanted_until < self.now()) else {
                continue;
            };
            let ended = self.provider().end(&self.node, &held, Course::Expired, HeldState::Expired).unwrap();
            let said = self.node.reply_on_disk(&ended).unwrap();
            self.hear(index, &said, &[], true);
            self.counts.add("expired");
        }
    }

    fn collect(&mut self, index: usize) {
        let Some(held) = self.held(index) else { return };
        match self.provider().collected(&self.node, &held) {
            Ok(answer) => {
                self.hear(index, &answer.head, &answer.slice, false);
                self.counts.add(if answer.slice.is_empty() { "a word collected" } else { "an answer collected" });
            }
            Err(NotDecided::Denied(_)) => self.counts.add("denied when collected"),
            Err(error) => panic!("{error}"),
        }
    }

    fn step(&mut self) {
        let what = self.random.below(100);
        if what < 6 {
            self.in_force = self.random.below(self.policies.len());
        } else if what < 8 {
            self.node.latest = 2;
        } else if what < 14 {
            self.at += self.random.between(60_000, 2 * DAY_MS);
            if self.random.happens(80) {
                self.expire();
            }
        } else if what < 24 || self.known.is_empty() {
            self.ask();
        } else {
            let index = self.random.below(self.known.len());
            match self.random.below(10) {
                0 => self.send(index),
                1 | 2 => self.look(index),
                3 => self.note(index),
                4 if self.random.happens(40) => self.recall(index),
                4 | 5 => self.collect(index),
                _ => {
                    if self.random.happens(80) {
                        self.look(index);
                    }
                    self.verdict(index);
                }
            }
        }
    }
}

#[test]
fn whatever_happens_only_what_people_saw_leaves_and_every_request_is_decided_once() {
    let sequences = from_environment("ACCORD_DECISIONS", 400);
    let first = from_environment("ACCORD_SEED", 1);
    let mut all: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + sequences {
        println!("ACCORD_SEED={seed}");
        let mut random = Seeded::new(seed);
        let policies = (0..4).map(|_| random_policy(&mut random)).collect();
        let mut world = World {
            node: Node::new(PROVIDER, 0),
            policies,
            in_force: 0,
            at: 0,
            known: Vec::new(),
            counts: Counts::default(),
            random,
        };
        for _ in 0..120 {
            world.step();
        }
        for (what, count) in world.counts.0 {
            *all.entry(what).or_default() += count;
        }
    }
    println!("{sequences} sequences: {all:?}");
    for what in [
        "held",
        "approved",
        "approved by one",
        "rejected",
        "taken back",
        "expired",
        "seen too early",
        "a word collected",
        "an answer collected",
        "denied when collected",
    ] {
        assert!(all.get(what).is_some_and(|count| *count > 0), "{what} never happened: {all:?}");
    }
}
