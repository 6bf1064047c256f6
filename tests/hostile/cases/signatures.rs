//! Signatures that are bent, borrowed or forged, and keys under which anybody can sign.

use std::{collections::BTreeSet, fs};

use accord_tests::accord_node;

use crate::{
    peer::{Fault, Peer, file, now, refused},
    stage::{ATTACKER, HONEST, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        frames::{head_stream, request_stream},
        hex,
        keys::{
            FORGED, Key, ROLE_ADMIN, ROLE_OPERATOR, ROLE_SIGN, ROLE_TLS, low_order_keys, random, second_spellings,
            sign_input, verifies,
        },
        messages::{Body, Card, NOTICE, Officers, REQUEST, document, signed_bytes, withdrawal},
        scalar::{NEUTRAL_AGAIN, plus_order, with_neutral},
        sha256,
    },
};

const E_AUTH: &str = "E_AUTH";

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |id, name, sent, expected, log, place, run| Case {
        id,
        name,
        given: "an authenticated member; everything but the signature or key is in order",
        sent,
        expected,
        log,
        place,
        run,
    };
    let auth = "signed E_AUTH; the request's id stays free";
    vec![
        case(
            "C52",
            "valid parts of different requests",
            "body, officer's signature, envelope and node's signature, each of another valid request",
            auth,
            "refusal=E_AUTH",
            Place::Shared,
            |stage| refused(stage, swapped),
        ),
        case(
            "C53",
            "an officer's signature by other keys",
            "the officer's card with signatures by node, operator, administrator, another member, a stranger; cards of the sender's own making",
            auth,
            "refusal=E_AUTH",
            Place::Shared,
            officers,
        ),
        case(
            "C54",
            "bent signatures",
            "zeros, ones, S + L, R in its second spelling, another label, another federation, by officer and by node",
            auth,
            "refusal=E_AUTH",
            Place::Shared,
            |stage| refused(stage, bent),
        ),
        case(
            "C54",
            "keys of low order and second spellings as the node's key",
            "all 14 and 17 encodings, each with a forged signature that verifies under it",
            "signed E_ENCODING; the request's id stays free",
            "low-order or non-canonical key",
            Place::Shared,
            |stage| refused(stage, weak_node_keys),
        ),
        case(
            "C54",
            "keys of low order and second spellings as an officer's key",
            "all 31 encodings on cards that the member's own administrators have listed, each with a forged signature",
            auth,
            "vouched for",
            Place::Own,
            weak_cards,
        ),
        case(
            "C54",
            "keys of low order and second spellings in a notice",
            "all 31 encodings as the signer of a withdrawal, with a forged signature; beside a good signature",
            "signed E_ENCODING; the notice is not believed",
            "low-order or non-canonical key",
            Place::Shared,
            |stage| refused(stage, weak_notices),
        ),
    ]
}

fn swapped(peer: &Peer) -> Vec<Fault> {
    let (first, second) = (peer.means.body(), peer.means.body());
    let (first_bytes, second_bytes) = (first.encode(), second.encode());
    let mut other_signature = peer.envelope(&first_bytes);
    other_signature.officer_signature = peer.means.officer_signs(&second_bytes);
    let first_envelope = peer.envelope(&first_bytes).fields().encode();
    let second_envelope = peer.envelope(&second_bytes).fields().encode();
    let by_node = |payload: &[u8]| peer.means.sign.sign("request", &peer.means.federation, payload);
    let borrowed = signed_bytes(&first_envelope, &by_node(&second_envelope)).encode();
    let mut by_officer_label = peer.envelope(&first_bytes);
    by_officer_label.officer_signature = peer.means.officer.sign("request", &peer.means.federation, &first_bytes);
    let label = peer.means.sign.sign("request-body", &peer.means.federation, &first_envelope);
    let crossed = signed_bytes(&first_envelope, &peer.means.officer_signs(&first_bytes)).encode();
    let rows_of_one = 5;
    let rows = [
        ("a body with another body's signature", peer.request_in(&other_signature.fields())),
        ("an envelope with another envelope's signature", request_stream(&borrowed)),
        ("the officer's signature in the node's place", request_stream(&crossed)),
        ("a body signed as an envelope", peer.request_in(&by_officer_label.fields())),
        ("an envelope signed as a body", request_stream(&signed_bytes(&first_envelope, &label).encode())),
    ];
    let mut faults: Vec<Fault> =
        rows.map(|(what, stream)| Fault { fresh: false, ..Fault::new(what, first.request_id, stream, E_AUTH) }).into();
    let crossed = |peer: &Peer, bytes: &[u8]| peer.means.sign.sign("request-body", &peer.means.federation, bytes);
    faults.push(fault_of(peer, "the node's signature in the officer's place", crossed));
    // All of these name the first request: its id is tried once, after them.
    if let Some(last) = faults.get_mut(rows_of_one - 1) {
        last.fresh = true;
    }
    faults
}

// A request whose officer's signature is made by somebody.
fn fault_of(peer: &Peer, what: impl Into<String>, sign: impl FnOnce(&Peer, &[u8]) -> [u8; 64]) -> Fault {
    let body = peer.means.body();
    let bytes = body.encode();
    let mut envelope = peer.envelope(&bytes);
    envelope.officer_signature = sign(peer, &bytes);
    Fault::new(what, body.request_id, peer.request_in(&envelope.fields()), E_AUTH)
}

fn officers(stage: &mut Stage) -> Outcome {
    let ring = |member: &str, name: &str, role| {
        (format!("{name} of {member}"), Key::of_ring(&file(stage, &format!("{member}/{name}")), role))
    };
    let keys = vec![
        ring(ATTACKER, "node/node.ring", ROLE_SIGN),
        ring(ATTACKER, "node/node.ring", ROLE_TLS),
        ring(ATTACKER, "node/operator/person.ring", ROLE_OPERATOR),
        ring(ATTACKER, "admin-1/admin.ring", ROLE_ADMIN),
        ring(HONEST, "node/node.ring", ROLE_SIGN),
        ring(HONEST, "node/operator/person.ring", ROLE_OPERATOR),
        ring(VICTIM, "node/node.ring", ROLE_SIGN),
        ("a stranger".to_owned(), Key::fresh()),
    ];
    refused(stage, |peer| {
        let mut faults = Vec::new();
        for (whose, key) in &keys {
            let sign = |peer: &Peer, bytes: &[u8]| key.sign("request-body", &peer.means.federation, bytes);
            faults.push(fault_of(peer, format!("the officer's card, signed by {whose}"), sign));
            // The same key on a card of its own, which no administrator has listed.
            let card = card_for(key.public()).fields().encode();
            faults.push(with_card(peer, format!("a card of their own by {whose}"), &card, |bytes| {
                key.sign("request-body", &peer.means.federation, bytes)
            }));
        }
        let listed = peer.means.card.clone();
        for at in [0, 16, 48, listed.len() - 1] {
            let mut altered = listed.clone();
            altered[at] ^= 1;
            faults.push(with_card(peer, format!("the card with bit {at} turned"), &altered, |bytes| {
                peer.means.officer_signs(bytes)
            }));
        }
        faults.push(with_card(peer, "no card", b"", |bytes| peer.means.officer_signs(bytes)));
        faults.push(with_card(peer, "a card of 1,024 bytes", &[7; 1024], |bytes| peer.means.officer_signs(bytes)));
        faults
    })
}

fn card_for(key: [u8; 32]) -> Card {
    Card { officer_id: random(), key, purposes: vec![1, 2], valid_from: now() - 60_000, valid_to: now() + 86_400_000 }
}

// A request under another card, which the body names.
fn with_card(peer: &Peer, what: impl Into<String>, card: &[u8], sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Fault {
    let body = Body { officer_card_hash: sha256(card), ..peer.means.body() };
    let bytes = body.encode();
    let mut envelope = peer.envelope(&bytes);
    envelope.officer_card = card.to_vec();
    envelope.officer_signature = sign(&bytes);
    Fault::new(what, body.request_id, peer.request_in(&envelope.fields()), E_AUTH)
}

/// A way of bending a signature over exact bytes, in words and as it is done.
type Bending<'a> = (&'static str, Box<dyn Fn(&[u8]) -> [u8; 64] + 'a>);

fn bendings<'a>(key: &'a Key, label: &'static str, federation: [u8; 32]) -> Vec<Bending<'a>> {
    let plain = move |bytes: &[u8]| key.sign(label, &federation, bytes);
    vec![
        ("zeros", Box::new(|_: &[u8]| [0; 64])),
        ("ones", Box::new(|_: &[u8]| [0xff; 64])),
        ("forged for weak keys", Box::new(|_: &[u8]| FORGED)),
        ("S + L", Box::new(move |bytes: &[u8]| plus_order(&plain(bytes)))),
        (
            "R in its second spelling",
            Box::new(move |bytes: &[u8]| with_neutral(key, &sign_input(label, &federation, bytes), &NEUTRAL_AGAIN)),
        ),
        (
            "R alone",
            Box::new(move |bytes: &[u8]| {
                let mut half = plain(bytes);
                half[32..].fill(0);
                half
            }),
        ),
        (
            "S alone",
            Box::new(move |bytes: &[u8]| {
                let mut half = plain(bytes);
                half[..32].fill(0);
                half
            }),
        ),
        (
            "S with its top bits",
            Box::new(move |bytes: &[u8]| {
                let mut high = plain(bytes);
                high[63] |= 0xe0;
                high
            }),
        ),
        (
            "R and S changed round",
            Box::new(move |bytes: &[u8]| {
                let mut turned = plain(bytes);
                turned.rotate_left(32);
                turned
            }),
        ),
        ("as another label", Box::new(move |bytes: &[u8]| key.sign("answer", &federation, bytes))),
        ("for another federation", Box::new(move |bytes: &[u8]| key.sign(label, &[7; 32], bytes))),
        ("for no federation", Box::new(move |bytes: &[u8]| key.sign(label, &[0; 32], bytes))),
        ("over the bytes alone", Box::new(move |bytes: &[u8]| key.sign_raw(bytes))),
        ("over their hash", Box::new(move |bytes: &[u8]| key.sign_raw(&sha256(bytes)))),
    ]
}

fn bent(peer: &Peer) -> Vec<Fault> {
    let means = &peer.means;
    let mut faults = Vec::new();
    for (what, bend) in bendings(&means.officer, "request-body", means.federation) {
        faults.push(fault_of(peer, format!("officer: {what}"), |_, bytes| bend(bytes)));
    }
    for (what, bend) in bendings(&means.sign, "request", means.federation) {
        let body = means.body();
        let envelope = peer.envelope(&body.encode()).fields().encode();
        let payload = signed_bytes(&envelope, &bend(&envelope)).encode();
        faults.push(Fault::new(format!("node: {what}"), body.request_id, request_stream(&payload), E_AUTH));
    }
    faults
}

fn weak_keys() -> Vec<[u8; 32]> {
    low_order_keys().into_iter().chain(second_spellings()).collect()
}

// Tries messages until the forged signature verifies under the key for a verifier that does not look at keys; under a key of order
// eight that is one in eight. Second spellings of sound keys have no such signature, and are sent all the same.
fn grind(
    key: &[u8; 32],
    label: &str,
    federation: &[u8; 32],
    mut message: impl FnMut(u64) -> Vec<u8>,
) -> (Vec<u8>, bool) {
    for turn in 0..200 {
        let bytes = message(turn);
        if verifies(key, label, federation, &bytes, &FORGED) {
            return (bytes, true);
        }
    }
    (message(0), false)
}

fn weak_node_keys(peer: &Peer) -> Vec<Fault> {
    let mut sound = 0;
    let faults: Vec<Fault> = weak_keys()
        .iter()
        .map(|key| {
            let body = peer.means.body();
            let mut envelope = peer.envelope(&body.encode());
            envelope.node_key = *key;
            let sent_at = envelope.sent_at;
            let (bytes, verifies) = grind(key, "request", &peer.means.federation, |turn| {
                envelope.sent_at = sent_at + turn;
                envelope.fields().encode()
            });
            sound += usize::from(verifies);
            let stream = head_stream(REQUEST, &signed_bytes(&bytes, &FORGED).encode());
            Fault::new(format!("node key {}", hex(key)), body.request_id, stream, "E_ENCODING")
        })
        .collect();
    assert!(sound >= 8, "the forged signature verifies under {sound} of them: the attack is none");
    faults
}

fn weak_notices(peer: &Peer) -> Vec<Fault> {
    let means = &peer.means;
    let mut faults = Vec::new();
    for (number, key) in (1_000..).zip(weak_keys()) {
        let at = now();
        let told = |turn| withdrawal(&means.member, number, &[9; 32], at + turn).encode();
        let (payload, _) = grind(&key, "withdraw", &means.federation, told);
        let alone = document("withdraw", &payload, &[(key, FORGED)]).encode();
        faults.push(Fault::new(
            format!("signed by {}", hex(&key)),
            random(),
            head_stream(NOTICE, &alone),
            "E_ENCODING",
        ));
        let good = (means.sign.public(), means.sign.sign("withdraw", &means.federation, &payload));
        let beside = document("withdraw", &payload, &[good, (key, FORGED)]).encode();
        faults.push(Fault::new(format!("and by {}", hex(&key)), random(), head_stream(NOTICE, &beside), "E_ENCODING"));
    }
    faults
}

// The attacker's administrators put cards with weak keys on their signed list, as a member gone bad can; every node installs it.
fn weak_cards(stage: &mut Stage) -> Outcome {
    let cards: Vec<([u8; 32], Vec<u8>)> =
        weak_keys().into_iter().map(|key| (key, card_for(key).fields().encode())).collect();
    list_cards(stage, VICTIM, cards.iter().map(|(_, card)| card.as_slice()))?;
    let mut sound = 0;
    let outcome = refused(stage, |peer| {
        cards
            .iter()
            .map(|(key, card)| {
                let mut body = Body { officer_card_hash: sha256(card), ..peer.means.body() };
                let (bytes, verifies) = grind(key, "request-body", &peer.means.federation, |turn| {
                    body.roster_version = 1 + turn;
                    body.encode()
                });
                sound += usize::from(verifies);
                let mut envelope = peer.envelope(&bytes);
                envelope.officer_card.clone_from(card);
                envelope.officer_signature = FORGED;
                Fault::new(
                    format!("card of {}", hex(key)),
                    body.request_id,
                    peer.request_in(&envelope.fields()),
                    E_AUTH,
                )
            })
            .collect()
    });
    assert!(sound >= 8, "the forged signature verifies under {sound} of them: the attack is none");
    outcome
}

/// Makes the attacker's second officers list, with more cards, signed by both its administrators, and installs it at a member.
pub(crate) fn list_cards<'a>(
    stage: &mut Stage,
    member: &str,
    more: impl Iterator<Item = &'a [u8]>,
) -> Result<(), String> {
    let list = fs::read(file(stage, "public/officers-ES-AGENCY.accord")).map_err(|error| error.to_string())?;
    // Behind the magic, the number of proposed documents and the label: the payload with its length.
    let length = usize::from_be_bytes(list[18..26].try_into().unwrap());
    let prev_hash = sha256(&list[26..26 + length]);
    let mut cards: BTreeSet<[u8; 32]> = more.map(sha256).collect();
    cards.insert(sha256(&stage.card));
    let payload = Officers {
        federation: stage.fed_id,
        node_id: ATTACKER.to_owned(),
        list_version: 2,
        prev_hash,
        issued_at: now(),
        expires_at: now() + 86_400_000,
        cards: cards.into_iter().collect(),
    }
    .fields()
    .encode();
    let signatures = ["admin-1", "admin-2"].map(|admin| {
        let key = Key::of_ring(&file(stage, &format!("{ATTACKER}/{admin}/admin.ring")), ROLE_ADMIN);
        (key.public(), key.sign("officers", &stage.fed_id, &payload))
    });
    let document = [b"ACCORD1\n".as_slice(), &document("officers", &payload, &signatures).encode()].concat();
    fs::write(file(stage, "public/officers-2.accord"), document).map_err(|error| error.to_string())?;
    stage.stop(member);
    let (node, staff) = (format!("{member}/node"), format!("{member}/staff.accord"));
    let said = accord_node(
        &stage.federation.path(),
        &[
            "install",
            &node,
            "--federation",
            &stage.federation.id,
            "public/federation.accord",
            "public/officers-2.accord",
            &staff,
        ],
    );
    if member == VICTIM {
        stage.start(member);
    }
    if said.code == 0 { Ok(()) } else { Err(format!("the list is not installed: {}", said.stderr)) }
}
