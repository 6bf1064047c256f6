//! One question to three partners, of which one answers, one refuses and one holds the request, and what their logs have to prove.

use accord_protocol::{
    answer::{AnswerHead, Decision},
    codec::{Bounded, Text, encode},
    edition::{EditionHeader, Protection},
    evidence::{Bundle, BundleExchange, BundleReply, BundleRow, BundleValue},
    handling::Handling,
    held::{HeldState, Status},
    id::{Hash, OfficerId, RequestId, to_hex},
    log::{
        Checkpoint, Detail, Entry, EventKind, Note, NoteSignature, Proof,
        entry::EntryVersion,
        log_origin, subject_of,
        tree::{InMemory, inclusion, root_of},
        witness_name,
    },
    officers::{Card, Purpose},
    question::question_id,
    refusal::Refusal,
    request::{DimQuery, LegalBasis, Query, RequestBody},
    roster::Member,
    signed::{Document, Label, Preamble, Signable},
    suspend::{Suspend, Target, Way},
    time::{DAY_MS, UnixMs},
};

use super::made::{
    NOW, catalogue, federation, first_keys, first_root, id, key, member, officers, public, roster, seeds_of, signed,
};

pub(crate) const ES: &str = "ES-AGENCY";
pub(crate) const IT: &str = "IT-AGENCY";
pub(crate) const PT: &str = "PT-AGENCY";
pub(crate) const DK: &str = "DK-AGENCY";
pub(crate) const AT: &str = "AT-AGENCY";
/// When the question was asked and answered.
pub(crate) const ASKED: UnixMs = UnixMs(NOW.0 + DAY_MS);
/// From when the partner's log can prove it.
pub(crate) const PROVABLE: UnixMs = UnixMs(ASKED.0 + 3_600_000);
/// When the file is looked at.
pub(crate) const LATER: UnixMs = UnixMs(ASKED.0 + 12 * 3_600_000);
const OFFICER: u8 = 90;
const ENTRIES: u64 = 7;

fn card() -> Card {
    Card {
        officer_id: OfficerId([0x22; 16]),
        key: public(OFFICER),
        purposes: Bounded::new(vec![Purpose::StrategicAnalysis]).unwrap(),
        valid_from: NOW,
        valid_to: UnixMs(NOW.0 + 300 * DAY_MS),
    }
}

/// The trust documents; `change` makes the list of members another one. All five have their keys documents among them.
pub(crate) fn documents(change: impl FnOnce(&mut Vec<Member>)) -> Vec<Document> {
    let keys = [AT, DK, ES, IT, PT].map(|name| (name, first_keys(name)));
    let mut members: Vec<Member> = keys.iter().map(|(name, keys)| member(name, keys)).collect();
    change(&mut members);
    let mut list = officers(ES, 1, Hash::ZERO, &[]);
    list.cards = Bounded::new(vec![Hash::of(&encode(&card()).unwrap())]).unwrap();
    let [a, b, ..] = seeds_of(ES);
    let mut all = vec![first_root(), catalogue(), signed(&roster(1, Hash::ZERO, members), &federation(), &[1, 2, 3])];
    all.extend(keys.map(|(_, keys)| keys));
    all.push(signed(&list, &federation(), &[a, b]));
    all
}

/// One administrator stops the key with which a member cosigns.
pub(crate) fn stopped_witness(name: &str) -> Document {
    let [a, .., witness] = seeds_of(name);
    let stop = Suspend {
        preamble: Preamble,
        federation: federation(),
        node_id: id(name),
        way: Way::Stops,
        target: Target::Key,
        subject: Text::new(&public(witness).to_string()).unwrap(),
        reason: Text::new("lost").unwrap(),
        issued_at: NOW,
        until: UnixMs(NOW.0 + 30 * DAY_MS),
    };
    signed(&stop, &federation(), &[a])
}

fn body(name: &str, number: u8) -> RequestBody {
    RequestBody {
        preamble: Preamble,
        request_id: RequestId([number; 16]),
        requester: id(ES),
        officer_card_hash: Hash::of(&encode(&card()).unwrap()),
        audience: id(name),
        issued_at: ASKED,
        deliver_by: UnixMs(ASKED.0 + 600_000),
        wanted_until: UnixMs(if name == DK { ASKED.0 + DAY_MS } else { 0 }),
        epoch: 1,
        roster_version: 1,
        view_hash: Hash::ZERO,
        edition: 0,
        purpose: Purpose::StrategicAnalysis,
        legal_basis: LegalBasis::Agreement,
        topic_hash: Hash::ZERO,
        case_ref_commit: Hash::ZERO,
        reply_class: 0,
        query: Query {
            table_id: 1,
            table_version: 1,
            measures: 1,
            dims: Bounded::new(vec![
                DimQuery { dim: 0, level: 0, codes: Bounded::new(vec![202_100]).unwrap() },
                DimQuery { dim: 1, level: 0, codes: Bounded::default() },
            ])
            .unwrap(),
        },
    }
}

fn exchange(name: &str, body: &RequestBody, reply: BundleReply) -> BundleExchange {
    let bytes = encode(body).unwrap();
    assert_eq!(body.audience, id(name));
    BundleExchange {
        officer_signature: to_hex(&key(OFFICER).sign(Label::RequestBody, &federation(), &bytes).0),
        body: to_hex(&bytes),
        officer_card: to_hex(&encode(&card()).unwrap()),
        topic: None,
        reply: Some(reply),
        without_reply: None,
    }
}

fn reply<T: Signable>(name: &str, head: &T, slice: &[u8], edition: Option<&Document>) -> BundleReply {
    let bytes = encode(head).unwrap();
    BundleReply {
        signature: to_hex(&key(seeds_of(name)[4]).sign(T::LABEL, &federation(), &bytes).0),
        head: to_hex(&bytes),
        slice: to_hex(slice),
        edition: edition.map(|document| to_hex(&encode(document).unwrap())),
        log: None,
    }
}

fn head(name: &str, body: &RequestBody, slice: &[u8], edition: Option<&EditionHeader>) -> AnswerHead {
    AnswerHead {
        preamble: Preamble,
        body_hash: Hash::of(&encode(body).unwrap()),
        request_id: body.request_id,
        responder: id(name),
        requester: id(ES),
        decision: if edition.is_some() { Decision::Answered } else { Decision::Refused },
        code: if edition.is_some() { 0 } else { Refusal::Unavailable.number() },
        issued_at: ASKED,
        epoch: 1,
        roster_version: 1,
        policy_version: 0,
        policy_commit: Hash::ZERO,
        edition: edition.map_or(0, |edition| edition.number),
        edition_commit: edition.map_or(Hash::ZERO, |edition| edition.commit),
        slice_hash: Hash::of(slice),
        slice_len: u32::try_from(slice.len()).unwrap(),
        handling: Handling::strictest(),
        provable_after: if edition.is_some() { PROVABLE } else { UnixMs(0) },
    }
}

/// IT answers 7 and promises a proof, PT refuses and promises none, DK holds the request.
pub(crate) fn file(documents: &[Document]) -> Bundle {
    let (it, pt, dk) = (body(IT, 1), body(PT, 2), body(DK, 3));
    let header = EditionHeader {
        preamble: Preamble,
        number: 1,
        prev_commit: Hash::ZERO,
        commit: Hash([0x44; 32]),
        rules_hash: Hash::ZERO,
        catalogue_hash: catalogue().hash(),
        protection: Protection::PrimaryOnly,
        coverage: Bounded::default(),
        as_of: NOW,
        published_at: NOW,
    };
    let slice = [[1].as_slice(), &7i64.to_be_bytes()].concat();
    let edition = signed(&header, &federation(), &[seeds_of(IT)[4]]);
    let status = Status {
        preamble: Preamble,
        body_hash: Hash::of(&encode(&dk).unwrap()),
        request_id: dk.request_id,
        state: HeldState::Held,
        state_seq: 1,
        at: ASKED,
    };
    let exchanges = vec![
        exchange(IT, &it, reply(IT, &head(IT, &it, &slice, Some(&header)), &slice, Some(&edition))),
        exchange(PT, &pt, reply(PT, &head(PT, &pt, &[], None), &[], None)),
        exchange(DK, &dk, reply(DK, &status, &[], None)),
    ];
    let bodies = [it, pt, dk].map(|body| encode(&body).unwrap());
    let missing = [(DK, "held"), (PT, "refused")].map(|(member, why)| (member.to_owned(), why.to_owned()));
    Bundle {
        accord_evidence: 1,
        federation: federation().to_string(),
        question_id: question_id(bodies.iter().map(Vec::as_slice)).to_string(),
        table: "seizures-year-drug".into(),
        collected_at: ASKED.to_string(),
        documents: documents.iter().map(|document| to_hex(&encode(document).unwrap())).collect(),
        exchanges,
        pooled: vec![BundleRow {
            key: vec!["2021".into(), "_T".into()],
            values: vec![BundleValue {
                measure: "seizures".into(),
                value: Some(7),
                numbers: Vec::new(),
                from: vec![IT.into()],
                missing: missing.to_vec(),
            }],
        }],
    }
}

/// A log of which one entry is about a reply, and who has signed and cosigned it. What is public is what a case changes.
#[derive(Debug, Clone)]
pub(crate) struct Proving {
    pub(crate) entry: Entry,
    pub(crate) origin: String,
    /// Seed of the key that signs the checkpoint.
    pub(crate) signer: u8,
    pub(crate) detail: Option<Detail>,
    /// Name, seed of the key, and second of each cosignature.
    pub(crate) cosigned: Vec<(&'static str, u8, u64)>,
}

impl Proving {
    /// The log of who sent the reply of an exchange, with the entry that belongs there.
    pub(crate) fn of(file: &Bundle, index: usize) -> Self {
        let (name, label, kind) = [
            (IT, Label::Answer, EventKind::Answered),
            (PT, Label::Answer, EventKind::Refused),
            (DK, Label::Status, EventKind::Held),
        ][index];
        let head = accord_protocol::id::from_hex(&file.exchanges[index].reply.as_ref().unwrap().head).unwrap();
        let entry = Entry {
            version: EntryVersion::One,
            kind,
            time: UnixMs(ASKED.0 + 40),
            seq: 4,
            actor_commit: Hash([1; 32]),
            subject: subject_of(label, &federation(), &head),
            detail_commit: Hash([2; 32]),
            prev_size: 4,
        };
        let origin = log_origin(&federation(), &id(name));
        Self { entry, origin, signer: seeds_of(name)[5], detail: None, cosigned: Vec::new() }
    }

    /// Cosigned by these as it should be, an hour later.
    pub(crate) fn by(mut self, names: &[&'static str]) -> Self {
        self.cosigned.extend(names.iter().map(|name| (*name, seeds_of(name)[6], PROVABLE.0 / 1000)));
        self
    }

    fn entries(&self) -> Vec<Entry> {
        let padding = Entry { kind: EventKind::Padding, subject: Hash::ZERO, ..self.entry };
        let place = |seq| if seq == 4 { self.entry } else { Entry { seq, prev_size: seq, ..padding } };
        (0..ENTRIES).map(place).collect()
    }

    /// The proof as a text.
    pub(crate) fn text(&self) -> String {
        let leaves: Vec<Hash> = self.entries().iter().map(Entry::leaf_hash).collect();
        let root = root_of(leaves.iter().copied());
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: ENTRIES, root };
        let checkpoint = checkpoint.sign(&key(self.signer)).unwrap();
        let proof = Proof {
            index: 4,
            path: inclusion(&InMemory(&leaves), 4, ENTRIES).unwrap().unwrap(),
            entry: self.entry.to_bytes(),
            detail: self.detail.clone(),
            checkpoint: checkpoint.note().clone(),
        };
        let mut text = proof.to_string();
        for (name, seed, seconds) in &self.cosigned {
            text += &line(checkpoint.cosign(witness_name(&federation(), &id(name)), &key(*seed), *seconds));
        }
        text
    }
}

// A line of its own, also where a note would put it in place of another.
fn line(signature: NoteSignature) -> String {
    let mut note = Note::new("text\n".into()).unwrap();
    note.add(signature);
    format!("{}\n", note.to_string().lines().last().unwrap())
}
