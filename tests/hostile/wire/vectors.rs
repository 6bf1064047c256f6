//! The builders against the vectors of the protocol: two encoders, written apart, that must agree on every byte.

use std::collections::BTreeMap;

use super::{
    fields::Fields,
    frames::{HEAD, PAD, body, frame, head},
    from_hex, hex,
    keys::{Key, LABELS, sign_input, verifies},
    messages::{
        Answer, Body, Card, Dim, Edition, Envelope, NO_HASH, Officers, Query, REQUEST, ask_call, document, fetch,
        relay_call, signed_bytes, topic, withdrawal,
    },
    replies::AskReply,
    sha256,
};

const T0: u64 = 1_795_500_000_000;
const T1: u64 = 1_820_000_000_000;
const YEAR_MS: u64 = 365 * 86_400_000;

fn vectors() -> BTreeMap<String, Vec<u8>> {
    let text =
        std::fs::read_to_string(accord_tests::root().join("protocol/tests/vectors/messages.txt")).expect("the vectors");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| !name.starts_with("fingerprint"))
        .map(|(name, digits)| (name.to_owned(), from_hex(digits)))
        .collect()
}

fn key(seed: u8) -> Key {
    Key::from_seed([seed; 32])
}

fn federation() -> [u8; 32] {
    vectors()["federation-id"].clone().try_into().expect("32 bytes")
}

fn card() -> Fields {
    Card { officer_id: [0x22; 16], key: key(10).public(), purposes: vec![1, 2], valid_from: T0, valid_to: T1 }.fields()
}

fn request_body() -> Body {
    Body {
        request_id: [0x33; 16],
        requester: "ES-AGENCY".into(),
        officer_card_hash: sha256(&card().encode()),
        audience: "IT-AGENCY".into(),
        issued_at: T0,
        deliver_by: T0 + 600_000,
        wanted_until: 0,
        epoch: 1,
        roster_version: 1,
        view_hash: NO_HASH,
        edition: 0,
        purpose: 1,
        legal_basis: 1,
        topic_hash: NO_HASH,
        case_ref_commit: sha256(b"salt and case"),
        reply_class: 0,
        query: Query {
            table_id: 1,
            table_version: 1,
            measures: 0b101,
            dims: vec![Dim::new(0, 0, &[201_200, 201_300]), Dim::new(1, 1, &[])],
        },
    }
}

fn answer(answered: bool) -> Answer {
    Answer {
        body_hash: sha256(&request_body().encode()),
        request_id: [0x33; 16],
        responder: "IT-AGENCY".into(),
        requester: "ES-AGENCY".into(),
        decision: if answered { 1 } else { 2 },
        code: if answered { 0 } else { 6 },
        issued_at: T0,
        epoch: 1,
        roster_version: 1,
        policy_version: 0,
        policy_commit: NO_HASH,
        edition: u64::from(answered),
        edition_commit: if answered { [0x44; 32] } else { NO_HASH },
        slice_hash: sha256(b""),
        slice_len: 0,
        handling_code: 0,
        tlp: if answered { 2 } else { 3 },
        embargo_until: 0,
        recipients: Vec::new(),
        provable_after: 0,
    }
}

fn envelope() -> Envelope {
    let body = request_body().encode();
    Envelope {
        officer_signature: key(10).sign("request-body", &federation(), &body),
        body,
        officer_card: card().encode(),
        topic: Vec::new(),
        node_id: "ES-AGENCY".into(),
        node_key: key(7).public(),
        sent_at: T0,
        channel_binding: [0x88; 32],
    }
}

#[test]
fn every_builder_writes_the_bytes_of_its_vector() {
    let vectors = vectors();
    let fed = federation();
    let officers = Officers {
        federation: fed,
        node_id: "ES-AGENCY".into(),
        list_version: 1,
        prev_hash: NO_HASH,
        issued_at: T0,
        expires_at: T0 + YEAR_MS,
        cards: vec![sha256(&card().encode())],
    };
    let commit: [u8; 32] = vectors["edition"][44..76].try_into().expect("32 bytes");
    let edition = Edition {
        number: 1,
        prev_commit: NO_HASH,
        commit,
        rules_hash: [0x66; 32],
        catalogue_hash: [0x77; 32],
        protection: 1,
        coverage: vec![(1, 2011 * 12, 2016 * 12 + 11, 1)],
        as_of: T0,
        published_at: T0,
    };
    let root = &vectors["root"];
    let by_first = key(1).sign("root", &NO_HASH, root);
    let body = request_body().encode();
    let catalogue = fetch("catalogue", None, 0, &[0x77; 32]);
    let all = [
        ("card", card()),
        ("officers", officers.fields()),
        ("request-body", request_body().fields()),
        ("request", envelope().fields()),
        ("answer", answer(true).fields()),
        ("refusal", answer(false).fields()),
        ("edition", edition.fields()),
        ("withdraw", withdrawal("IT-AGENCY", 1, &[0x66; 32], T0)),
        ("signed-bytes", signed_bytes(b"payload", &[0x99; 64])),
        ("document", document("root", root, &[(key(1).public(), by_first)])),
        ("head", head(REQUEST, b"payload")),
        ("fetch", fetch("edition", Some("IT-AGENCY"), 1, &NO_HASH)),
        ("relay", relay_call("IT-AGENCY", catalogue, 10_000)),
        ("topic", topic(&fed, ("ES-AGENCY", "IT-AGENCY"), "Cocaína en contenedores frigoríficos", &[1, 2], (T0, T1))),
        ("ask", ask_call(&body, &[0x99; 64], &card().encode(), 30_000)),
    ];
    for (name, fields) in all {
        assert_eq!(hex(&fields.encode()), hex(&vectors[name]), "{name}");
    }
}

#[test]
fn every_signature_of_the_vectors_is_made_and_verified_by_hand() {
    let vectors = vectors();
    for seed in 1..=10 {
        assert_eq!(key(seed).public().to_vec(), vectors[&format!("public-key-of-seed-{seed}")]);
    }
    let mut seen = 0;
    for (name, signature) in vectors.iter().filter(|(name, _)| name.contains(".signature-by-")) {
        let (name, signer) = name.split_once(".signature-by-").expect("two parts");
        let label = match name {
            "refusal" | "rejection" => "answer",
            "recall" => "withdraw",
            "request-under-topic" => "request",
            name => name,
        };
        let fed = if matches!(label, "root" | "key-claim") { NO_HASH } else { federation() };
        let payload = &vectors[name];
        let signer = (1..=10).map(key).find(|key| hex(&key.public()) == signer).expect("a key of the vectors");
        let signature: [u8; 64] = signature.clone().try_into().expect("64 bytes");
        assert_eq!(sha256(&sign_input(label, &fed, payload)).to_vec(), vectors[&format!("{name}.sign-input-sha256")]);
        assert_eq!(signer.sign(label, &fed, payload), signature, "{name}");
        assert!(verifies(&signer.public(), label, &fed, payload, &signature), "{name}");
        seen += 1;
    }
    assert_eq!(
        seen,
        LABELS.len() + 4,
        "each label in use, a refusal and a rejection beside an answer, a request under a topic, and one taken back"
    );
}

#[test]
fn what_was_written_reads_back() {
    let vectors = vectors();
    assert_eq!(Body::read(&vectors["request-body"]), Ok(request_body()));
    assert_eq!(Answer::read(&vectors["answer"]), Ok(answer(true)));
    assert_eq!(Answer::read(&vectors["refusal"]), Ok(answer(false)));
    let sealed = signed_bytes(&vectors["request"], &[0; 64]).encode();
    assert_eq!(Envelope::read(&sealed).expect("an envelope").fields().encode(), vectors["request"]);
    let reply = AskReply::read(&vectors["ask-reply"]).expect("a reply to an ask");
    assert_eq!((reply.outcome, reply.detail.as_str(), reply.answer, reply.edition.len()), (2, "no answer", None, 0));
}

#[test]
fn the_padded_stream_of_the_vectors_is_written_frame_by_frame() {
    let mut stream = frame(HEAD, b"head");
    stream.extend(body(b"body"));
    let missing = 79 - stream.len();
    stream.extend(frame(PAD, &vec![0; missing - 5]));
    assert_eq!(hex(&stream), hex(&vectors()["stream-padded-to-79"]));
}
