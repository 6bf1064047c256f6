//! Golden vectors: these bytes mean these values, for ever. A second implementation tests against the same file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod made;

use accord_protocol::{
    answer::{AnswerHead, Decision},
    approval::{Approval, StandingApproval, Verdict},
    backup::BackupManifest,
    catalogue::{CatalogueDocument, Kind},
    cell::Released,
    codec::{Bounded, Cap, Text, decode, encode},
    edition::{CoverageRow, CoverageState, EditionHeader, Protection, Withdrawal, commitment},
    frame,
    handling::{Handling, HandlingCodes, Tlp},
    held::{Collect, HeldState, List, Listed, Recall, Receipt, Status},
    id::{Hash, OfficerId, RequestId, to_hex},
    key::{Signature, SigningKey, fingerprint},
    log::{
        Checkpoint, log_origin,
        passing::{Asked, ConsistencyReply, Cosign, CosignOutcome, Cosigned, ProofCall, Told},
        tree::{InMemory, consistency, leaf_hash, root_of},
        witness_name,
    },
    member_keys::{KeyClaim, KeyRole, MemberKeys, RoleKey},
    message::{AskCall, AskOutcome, AskReply, Fetch, Head, MessageKind, RelayCall, SignedBytes},
    officers::{Card, Officers, Purpose, Staff, StaffMember},
    policy::PolicyDocument,
    refusal::{Reason, Refusal},
    request::{DimQuery, LegalBasis, Query, Request, RequestBody},
    root::{Root, federation_id},
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Label, Preamble, Signable, sign_input},
    time::UnixMs,
    topic::{Topic, Under},
    view::{View, ViewEdition, ViewFootnote, ViewRow, ViewRules, ViewTable},
};
use expect_test::expect_file;
use made::{key, public};

const T0: UnixMs = UnixMs(1_795_500_000_000);
const T1: UnixMs = UnixMs(1_820_000_000_000);

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn root() -> Root {
    Root {
        preamble: Preamble,
        root_version: 1,
        epoch: 1,
        genesis_nonce: [0x11; 32],
        name: text("Vectors"),
        keys: Bounded::sorted(vec![public(1), public(2), public(3)]).unwrap(),
        threshold: 2,
        issued_at: T0,
        expires_at: T1,
    }
}

fn federation() -> Hash {
    federation_id(&encode(&root()).unwrap())
}

fn member_keys() -> MemberKeys {
    MemberKeys {
        preamble: Preamble,
        federation: federation(),
        node_id: "ES-AGENCY".parse().unwrap(),
        keys_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: T0,
        expires_at: UnixMs(T0.0 + 365 * 86_400_000),
        admin_keys: Bounded::sorted(vec![public(4), public(5)]).unwrap(),
        admin_threshold: 2,
        tls_keys: Bounded::new(vec![public(6)]).unwrap(),
        sign_keys: Bounded::new(vec![public(7)]).unwrap(),
        log_keys: Bounded::new(vec![public(8)]).unwrap(),
        witness_key: public(9),
        addresses: Bounded::new(vec![text("192.0.2.1:4433")]).unwrap(),
        officers_version_min: 0,
    }
}

fn card() -> Card {
    Card {
        officer_id: OfficerId([0x22; 16]),
        key: public(10),
        purposes: Bounded::sorted(vec![Purpose::StrategicAnalysis, Purpose::EarlyWarning]).unwrap(),
        valid_from: T0,
        valid_to: T1,
    }
}

fn request_body() -> RequestBody {
    RequestBody {
        preamble: Preamble,
        request_id: RequestId([0x33; 16]),
        requester: "ES-AGENCY".parse().unwrap(),
        officer_card_hash: Hash::of(&encode(&card()).unwrap()),
        audience: "IT-AGENCY".parse().unwrap(),
        issued_at: T0,
        deliver_by: UnixMs(T0.0 + 600_000),
        wanted_until: UnixMs(0),
        epoch: 1,
        roster_version: 1,
        view_hash: Hash::ZERO,
        edition: 0,
        purpose: Purpose::StrategicAnalysis,
        legal_basis: LegalBasis::Agreement,
        topic_hash: Hash::ZERO,
        case_ref_commit: Hash::of(b"salt and case"),
        reply_class: 0,
        query: Query {
            table_id: 1,
            table_version: 1,
            measures: 0b101,
            dims: Bounded::new(vec![
                DimQuery { dim: 0, level: 0, codes: Bounded::sorted(vec![201_200, 201_300]).unwrap() },
                DimQuery { dim: 1, level: 1, codes: Bounded::default() },
            ])
            .unwrap(),
        },
    }
}

fn answer(decision: Decision) -> AnswerHead {
    let body = encode(&request_body()).unwrap();
    let answered = decision == Decision::Answered;
    AnswerHead {
        preamble: Preamble,
        body_hash: Hash::of(&body),
        request_id: RequestId([0x33; 16]),
        responder: "IT-AGENCY".parse().unwrap(),
        requester: "ES-AGENCY".parse().unwrap(),
        decision,
        code: if answered { 0 } else { Refusal::Unavailable.number() },
        issued_at: T0,
        epoch: 1,
        roster_version: 1,
        policy_version: 0,
        policy_commit: Hash::ZERO,
        edition: u64::from(answered),
        edition_commit: if answered { Hash([0x44; 32]) } else { Hash::ZERO },
        slice_hash: Hash::of(&[]),
        slice_len: 0,
        handling: Handling {
            code: HandlingCodes::H0,
            tlp: if answered { Tlp::Amber } else { Tlp::AmberStrict },
            embargo_until: UnixMs(0),
            recipients: Bounded::default(),
        },
        provable_after: UnixMs(0),
    }
}

fn edition_header() -> EditionHeader {
    EditionHeader {
        preamble: Preamble,
        number: 1,
        prev_commit: Hash::ZERO,
        commit: commitment(&federation(), &"IT-AGENCY".parse().unwrap(), &Hash([0x55; 32]), b"content"),
        rules_hash: Hash([0x66; 32]),
        catalogue_hash: Hash([0x77; 32]),
        protection: Protection::PrimaryOnly,
        coverage: Bounded::new(vec![CoverageRow {
            kind: Kind::Seizure,
            months: "2011..2016".parse().unwrap(),
            state: CoverageState::Complete,
        }])
        .unwrap(),
        as_of: T0,
        published_at: T0,
    }
}

/// Lines of the file: a name, what it is, and the bytes in hex.
#[derive(Default)]
struct Vectors(String);

impl Vectors {
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.0 += &format!("{name} {}\n", to_hex(bytes));
    }

    fn value<T: bincode::Encode + bincode::Decode<()> + std::fmt::Debug>(&mut self, name: &str, value: &T) {
        let bytes = encode(value).unwrap();
        // Every vector reads back as itself, and no truncation of it reads at all.
        let again: T = decode(&bytes, Cap::Document).unwrap();
        assert_eq!(format!("{again:?}"), format!("{value:?}"), "{name}");
        for cut in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..cut], Cap::Document).is_err(), "{name} cut at {cut}");
        }
        self.bytes(name, &bytes);
    }

    fn signed<T: Signable + std::fmt::Debug>(&mut self, name: &str, value: &T, signer: &SigningKey, federation: &Hash) {
        self.value(name, value);
        let payload = encode(value).unwrap();
        let signature = signer.sign(T::LABEL, federation, &payload);
        assert!(signer.public().verifies_as(T::LABEL, federation, &payload, &signature));
        self.bytes(&format!("{name}.sign-input-sha256"), &Hash::of(&sign_input(T::LABEL, federation, &payload)).0);
        self.bytes(&format!("{name}.signature-by-{}", signer.public()), &signature.0);
    }
}

// What passes about a request that a person has to decide.
fn waiting(vectors: &mut Vectors, fed: &Hash) {
    let body_hash = Hash::of(&encode(&request_body()).unwrap());
    let request_id = RequestId([0x33; 16]);
    let status = Status { preamble: Preamble, body_hash, request_id, state: HeldState::Held, state_seq: 1, at: T0 };
    vectors.signed("status", &status, &key(7), fed);
    let code = u16::from_be_bytes([Reason::Scope.number(), 0]) | Refusal::Rejected.number();
    vectors.signed("rejection", &AnswerHead { code, ..answer(Decision::Refused) }, &key(7), fed);
    let receipt = Receipt { preamble: Preamble, body_hash, head_hash: Hash([0xaa; 32]), at: T0 };
    vectors.signed("receipt", &receipt, &key(7), fed);
    vectors.signed("recall", &Recall { preamble: Preamble, body_hash, request_id, at: T0 }, &key(10), fed);
    let yes = Approval {
        preamble: Preamble,
        node_id: "IT-AGENCY".parse().unwrap(),
        body_hash,
        verdict: Verdict::Approve,
        reason: 0,
        slice_hash: Hash::of(&[]),
        edition: 1,
        policy_hash: Hash([0xbb; 32]),
        at: T0,
    };
    vectors.signed("approval", &yes, &key(2), fed);
    let standing = StandingApproval {
        preamble: Preamble,
        node_id: "IT-AGENCY".parse().unwrap(),
        partner: "ES-AGENCY".parse().unwrap(),
        table_id: 1,
        purpose: Purpose::StrategicAnalysis,
        from: T0,
        until: UnixMs(T0.0 + 86_400_000),
    };
    vectors.signed("standing", &standing, &key(2), fed);
    vectors.value("collect", &Collect { body_hash });
    let list: List = Bounded::new(vec![Listed { body_hash, state_seq: 2 }]).unwrap();
    vectors.value("collect-list", &list);
}

// What members tell each other of their logs.
fn of_logs(vectors: &mut Vectors, fed: &FederationId) {
    let leaves: Vec<Hash> = (0..12u8).map(|number| leaf_hash(&[number])).collect();
    let origin = log_origin(fed, &"IT-AGENCY".parse().unwrap());
    let checkpoint = Checkpoint { origin, size: 12, root: root_of(leaves.iter().copied()) };
    let signed = checkpoint.sign(&key(8)).unwrap();
    let path = consistency(&InMemory(&leaves), 5, 12).unwrap().unwrap();
    let path = Bounded::new(path).unwrap();
    let bare = signed.bare().unwrap();
    vectors.value("cosign", &Cosign { old_size: 5, consistency: path.clone(), checkpoint: bare.clone() });
    let witness = witness_name(fed, &"ES-AGENCY".parse().unwrap());
    let line = signed.cosign(witness, &key(9), T0.0 / 1_000).to_string().into_bytes();
    let line = Bounded::new(line).unwrap();
    vectors.value("cosigned", &Cosigned { outcome: CosignOutcome::Held, held: bare.clone(), line });
    vectors.value("tell", &Told { notes: Bounded::new(vec![bare]).unwrap() });
    let call = ProofCall { what: Asked::Entry, subject: Hash([0x55; 32]), old: 0, new: 0 };
    vectors.value("proof", &call);
    vectors.value("consistency", &ConsistencyReply { path });
}

// A topic, and a request that stands under it.
fn under_a_topic(vectors: &mut Vectors, request: &Request, fed: &FederationId) {
    let topic = Topic {
        preamble: Preamble,
        federation: *fed,
        node_id: "ES-AGENCY".parse().unwrap(),
        audience: "IT-AGENCY".parse().unwrap(),
        salt: [0x44; 16],
        title: Bounded::new("Cocaína en contenedores frigoríficos".as_bytes().to_vec()).unwrap(),
        purposes: Bounded::sorted(vec![Purpose::StrategicAnalysis, Purpose::EarlyWarning]).unwrap(),
        valid_from: T0,
        valid_to: T1,
    };
    vectors.signed("topic", &topic, &key(4), fed);
    let mut document = Document::new(&topic).unwrap();
    document.add_signature(&key(4), fed);
    document.add_signature(&key(5), fed);
    let body = RequestBody { topic_hash: document.hash(), ..request_body() };
    let body = encode(&body).unwrap();
    let under = Request {
        officer_signature: key(10).sign(Label::RequestBody, fed, &body),
        body: Bounded::new(body).unwrap(),
        topic: Bounded::new(encode(&document).unwrap()).unwrap(),
        ..request.clone()
    };
    vectors.signed("request-under-topic", &under, &key(7), fed);
}

fn view() -> View {
    View {
        preamble: Preamble,
        provider: "IT-AGENCY".parse().unwrap(),
        audience: "ES-AGENCY".parse().unwrap(),
        catalogue_hash: Hash([0x77; 32]),
        edition: Bounded::new(vec![ViewEdition { number: 1, commit: Hash([0x44; 32]), as_of: T0, published_at: T0 }])
            .unwrap(),
        coverage: edition_header().coverage,
        rules: ViewRules { k: 5, p_percent: 15, dominance_percent: 75, zeros_shown: false },
        handling: answer(Decision::Answered).handling,
        burst: 120,
        per_minute: 60,
        contact: text("liaison desk, +39 06 000"),
        ages: Bounded::new(vec![0, 12, 24]).unwrap(),
        tables: Bounded::new(vec![ViewTable {
            table_id: 1,
            table_version: 1,
            note: text("by the day of the report"),
            rows: Bounded::new(vec![ViewRow {
                purpose: Purpose::StrategicAnalysis,
                under: Under::With,
                ways: Bounded::new(vec![0, 2, 1]).unwrap(),
                levels: Bounded::new(vec![0, 1, 4]).unwrap(),
            }])
            .unwrap(),
        }])
        .unwrap(),
        footnotes: Bounded::new(vec![ViewFootnote {
            table_id: 1,
            levels: Bounded::new(vec![0, 1]).unwrap(),
            codes: Bounded::new(vec![201_200, 1]).unwrap(),
            source: text("yearly report 2013, page 12"),
        }])
        .unwrap(),
    }
}

fn backup() -> BackupManifest {
    BackupManifest {
        preamble: Preamble,
        federation: federation(),
        node_id: "ES-AGENCY".parse().unwrap(),
        made_at: T0,
        schema: 6,
        sequence: 12,
        log_size: 64,
        log_root: Hash([0x22; 32]),
        epoch: 1,
        roster_version: 1,
        roster_hash: Hash([0x33; 32]),
        keys_version: 1,
        keys_hash: Hash::of(&encode(&member_keys()).unwrap()),
        files: 9,
        keys: 371,
        bytes: 654_321,
        content: Hash([0x44; 32]),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line or two for each message, in the order of the documents")]
fn every_message_has_its_bytes() {
    let mut vectors = Vectors::default();
    let fed = federation();
    for seed in 1..=10 {
        vectors.bytes(&format!("public-key-of-seed-{seed}"), public(seed).as_bytes());
    }
    vectors.signed("root", &root(), &key(1), &Hash::ZERO);
    vectors.bytes("federation-id", &fed.0);
    vectors.0 +=
        &format!("fingerprint-sign-ES-AGENCY-seed-7 {}\n", fingerprint("sign", "ES-AGENCY", public(7).as_bytes()));
    vectors.signed("member-keys", &member_keys(), &key(4), &fed);
    let keys_hash = Hash::of(&encode(&member_keys()).unwrap());
    let roster = Roster {
        preamble: Preamble,
        federation: fed,
        root_version: 1,
        epoch: 1,
        roster_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: T0,
        expires_at: T1,
        catalogue_hash: Hash([0x77; 32]),
        min_protocol: 1,
        max_protocol: 1,
        members: Bounded::new(vec![Member {
            node_id: "ES-AGENCY".parse().unwrap(),
            name: text("Agency"),
            state: MemberState::Active,
            roles: Bounded::sorted(vec![MemberRole::Provider, MemberRole::Requester]).unwrap(),
            anchor_version: 1,
            anchor_hash: keys_hash,
            valid_from: T0,
            valid_to: T1,
        }])
        .unwrap(),
    };
    vectors.signed("roster", &roster, &key(1), &fed);
    vectors.value("card", &card());
    let until = UnixMs(T0.0 + 365 * 86_400_000);
    let officers = Officers {
        preamble: Preamble,
        federation: fed,
        node_id: "ES-AGENCY".parse().unwrap(),
        list_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: T0,
        expires_at: until,
        cards: Bounded::sorted(vec![Hash::of(&encode(&card()).unwrap())]).unwrap(),
    };
    vectors.signed("officers", &officers, &key(4), &fed);
    let staff = Staff {
        preamble: Preamble,
        federation: fed,
        node_id: "ES-AGENCY".parse().unwrap(),
        list_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: T0,
        expires_at: until,
        people: Bounded::new(vec![StaffMember {
            role: KeyRole::Operator,
            key: public(2),
            valid_from: T0,
            valid_to: until,
        }])
        .unwrap(),
    };
    vectors.signed("staff", &staff, &key(4), &fed);
    let policy = PolicyDocument {
        preamble: Preamble,
        federation: fed,
        node_id: "ES-AGENCY".parse().unwrap(),
        policy_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: T0,
        rows: Bounded::new(b"# nobody\n".to_vec()).unwrap(),
        cedar: Bounded::default(),
    };
    vectors.signed("policy", &policy, &key(4), &fed);
    let claim = KeyClaim {
        preamble: Preamble,
        name: text("Agency"),
        node_id: Some("ES-AGENCY".parse().unwrap()),
        keys: Bounded::new(vec![RoleKey { role: KeyRole::Tls, key: public(6) }]).unwrap(),
        addresses: Bounded::new(vec![text("192.0.2.1:4433")]).unwrap(),
    };
    vectors.signed("key-claim", &claim, &key(6), &Hash::ZERO);
    let catalogue = CatalogueDocument { preamble: Preamble, text: Bounded::new(b"id = \"x\"".to_vec()).unwrap() };
    vectors.signed("catalogue", &catalogue, &key(1), &fed);
    let mut document = Document::new(&root()).unwrap();
    document.add_signature(&key(1), &Hash::ZERO);
    vectors.value("document", &document);
    vectors.signed("request-body", &request_body(), &key(10), &fed);
    let body = encode(&request_body()).unwrap();
    let request = Request {
        preamble: Preamble,
        officer_signature: key(10).sign(Label::RequestBody, &fed, &body),
        body: Bounded::new(body.clone()).unwrap(),
        officer_card: Bounded::new(encode(&card()).unwrap()).unwrap(),
        topic: Bounded::default(),
        node_id: "ES-AGENCY".parse().unwrap(),
        node_key: public(7),
        sent_at: T0,
        channel_binding: [0x88; 32],
    };
    vectors.signed("request", &request, &key(7), &fed);
    under_a_topic(&mut vectors, &request, &fed);
    vectors.signed("answer", &answer(Decision::Answered), &key(7), &fed);
    vectors.signed("refusal", &answer(Decision::Refused), &key(7), &fed);
    vectors.signed("edition", &edition_header(), &key(7), &fed);
    let withdrawal = Withdrawal {
        preamble: Preamble,
        member: "IT-AGENCY".parse().unwrap(),
        number: 1,
        commit: Hash([0x66; 32]),
        at: T0,
    };
    vectors.signed("withdraw", &withdrawal, &key(7), &fed);
    waiting(&mut vectors, &fed);
    of_logs(&mut vectors, &fed);
    vectors.signed("view", &view(), &key(7), &fed);
    vectors.signed("backup", &backup(), &key(7), &fed);
    let signed = SignedBytes { payload: Bounded::new(b"payload".to_vec()).unwrap(), signature: Signature([0x99; 64]) };
    vectors.value("signed-bytes", &signed);
    vectors.value("head", &Head::new(MessageKind::Request, b"payload".to_vec()).unwrap());
    vectors.value(
        "fetch",
        &Fetch { label: Label::Edition, node_id: Some("IT-AGENCY".parse().unwrap()), number: 1, hash: Hash::ZERO },
    );
    let call = AskCall {
        body: Bounded::new(body).unwrap(),
        officer_signature: Signature([0x99; 64]),
        officer_card: Bounded::new(encode(&card()).unwrap()).unwrap(),
        topic: Bounded::default(),
        wait_ms: 30_000,
    };
    vectors.value("ask", &call);
    let reply = AskReply {
        outcome: AskOutcome::Unreachable,
        detail: text("no answer"),
        answer: None,
        edition: Bounded::default(),
        elapsed_us: 7,
    };
    vectors.value("ask-reply", &reply);
    let fetch = Fetch { label: Label::Catalogue, node_id: None, number: 0, hash: Hash([0x77; 32]) };
    vectors.value("relay", &RelayCall { from: "IT-AGENCY".parse().unwrap(), fetch, wait_ms: 10_000 });
    for (name, cell) in [
        ("value", Released::release(1098).unwrap()),
        ("suppressed", Released::SUPPRESSED),
        ("not-available", Released::NOT_AVAILABLE),
    ] {
        vectors.bytes(&format!("cell-{name}"), &cell.to_bytes());
    }
    vectors.bytes("stream-padded-to-79", &frame::message(b"head", Some(b"body"), Some(79)).unwrap());
    expect_file!["vectors/messages.txt"].assert_eq(&vectors.0);
}

#[test]
fn every_flipped_bit_of_a_signed_message_is_noticed() {
    let fed = federation();
    let body = encode(&request_body()).unwrap();
    let signature = key(10).sign(Label::RequestBody, &fed, &body);
    for index in 0..body.len() * 8 {
        let mut changed = body.clone();
        changed[index / 8] ^= 1 << (index % 8);
        assert!(!public(10).verifies_as(Label::RequestBody, &fed, &changed, &signature), "bit {index}");
    }
}
