//! Structures that do not decode: lengths, numbers, options, texts and lists that no writer in order makes.

use crate::{
    peer::{Fault, Peer, TWO_DRUGS, YEARS, refused},
    stage::Stage,
    table::{Case, Outcome, Place},
    wire::{
        fields::Fields,
        frames::{HEAD, frame, head, head_stream},
        messages::{Dim, FETCH, NO_HASH, NOTICE, REQUEST, document_by, fetch, sealed, signed_bytes, withdrawal},
    },
};

pub(super) const E_ENCODING: &str = "E_ENCODING";
/// Of what is no request.
const NO_ID: [u8; 16] = [0; 16];

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    [of_fields(), of_wholes()].into_iter().flatten().collect()
}

pub(super) fn case(
    id: &'static str,
    name: &'static str,
    sent: &'static str,
    log: &'static str,
    run: fn(&mut Stage) -> Outcome,
) -> Case {
    Case {
        id,
        name,
        given: "an authenticated member; every signature is right over the bytes that are sent",
        sent,
        expected: "signed E_ENCODING in 16 KiB; the request's id stays free; memory flat",
        log,
        place: Place::Shared,
        run,
    }
}

fn of_fields() -> Vec<Case> {
    vec![
        case(
            "C40",
            "lengths that lie",
            "every length and count of head, envelope and body as 2^32, 2^40, 2^63, 2^64 - 1, one more, one less",
            "does not decode",
            |stage| refused(stage, lying_lengths),
        ),
        case(
            "C40",
            "lengths that lie in a fetch and a notice",
            "their lengths and counts, the same way",
            "refusal=E_ENCODING",
            |stage| refused(stage, lying_lengths_of_others),
        ),
        case(
            "C41",
            "nesting",
            "heads in heads and signed bytes in signed bytes, hundreds deep",
            "does not decode",
            |stage| refused(stage, nested),
        ),
        case(
            "C42",
            "unknown numbers",
            "purposes and legal bases 0, 6, 255, 256, 65,535; other labels and kinds of structure",
            "does not decode",
            |stage| refused(stage, unknown_numbers),
        ),
        case(
            "C43",
            "options that are neither there nor absent",
            "an option tag of 2 to 255 in a fetch",
            "refusal=E_ENCODING",
            |stage| refused(stage, option_tags),
        ),
        case(
            "C44",
            "texts that are none",
            "members' names with bytes that are no UTF-8, control characters, lower case, of 0 and 25 characters",
            "does not decode",
            |stage| refused(stage, bad_texts),
        ),
    ]
}

fn of_wholes() -> Vec<Case> {
    vec![
        case(
            "C46",
            "lists out of order, twice, too long",
            "codes and dimensions unsorted, repeated, 65 codes, 9 dimensions",
            "refusal=E_ENCODING",
            |stage| refused(stage, bad_lists),
        ),
        case(
            "C48",
            "protocol inside",
            "protocol 0, 2 and 65,535 in envelope and body",
            "refusal=E_ENCODING",
            |stage| refused(stage, other_protocols),
        ),
        case(
            "C49",
            "a reply sent to a server",
            "a signed answer head, a card, a document, an edition's header as a request",
            "refusal=E_ENCODING",
            |stage| refused(stage, replies),
        ),
        case(
            "C38",
            "a byte after the last field",
            "one byte more inside head, signed bytes, envelope and body",
            "bytes left over",
            |stage| refused(stage, left_over),
        ),
        case(
            "C43",
            "a fetch and a notice that are none",
            "cut, longer, of unknown and reserved labels, random bytes",
            "refusal=E_ENCODING",
            |stage| refused(stage, bad_fetches),
        ),
    ]
}

// A request whose body's bytes are changed before they are signed.
pub(super) fn with_body(peer: &Peer, what: impl Into<String>, change: impl FnOnce(Fields) -> Fields) -> Fault {
    let body = peer.means.body();
    let bytes = change(body.fields()).encode();
    Fault::new(what, body.request_id, peer.request(&bytes), E_ENCODING)
}

// A request whose envelope's bytes are changed before they are signed.
pub(super) fn with_envelope(peer: &Peer, what: impl Into<String>, change: impl FnOnce(Fields) -> Fields) -> Fault {
    let body = peer.means.body();
    let envelope = change(peer.envelope(&body.encode()).fields());
    Fault::new(what, body.request_id, peer.request_in(&envelope), E_ENCODING)
}

// A request whose signed bytes are changed.
pub(super) fn with_payload(peer: &Peer, what: impl Into<String>, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Fault {
    let body = peer.means.body();
    let stream = head_stream(REQUEST, &change(peer.payload(&body.encode())));
    Fault::new(what, body.request_id, stream, E_ENCODING)
}

// Bytes as the payload of a stream of a kind, which is no request.
fn of_kind(kind: u16, what: impl Into<String>, payload: &[u8]) -> Fault {
    Fault { fresh: false, ..Fault::new(what, NO_ID, head_stream(kind, payload), E_ENCODING) }
}

fn wrong_lengths(fields: &Fields, name: &str) -> Vec<u64> {
    let right = fields.number(name);
    let all = [1 << 32, 1 << 40, 1 << 63, u64::MAX, right + 1, right.wrapping_sub(1)];
    all.into_iter().filter(|wrong| *wrong != u64::MAX || right != 0).collect()
}

fn lying_lengths(peer: &Peer) -> Vec<Fault> {
    let body = peer.means.body();
    let (inner, outer) = (body.fields(), peer.envelope(&body.encode()).fields());
    let mut faults = Vec::new();
    for name in inner.lengths() {
        for wrong in wrong_lengths(&inner, &name) {
            faults.push(with_body(peer, format!("body {name} = {wrong}"), |all| all.with(&name, wrong.to_be_bytes())));
        }
    }
    for name in outer.lengths() {
        for wrong in wrong_lengths(&outer, &name) {
            let change = |all: Fields| all.with(&name, wrong.to_be_bytes());
            faults.push(with_envelope(peer, format!("envelope {name} = {wrong}"), change));
        }
    }
    for wrong in [1u64 << 32, 1 << 40, 1 << 63, u64::MAX, 0] {
        faults.push(with_payload(peer, format!("signed bytes of {wrong}"), |payload| {
            [wrong.to_be_bytes().as_slice(), &payload[8..]].concat()
        }));
        let payload = peer.payload(&body.encode());
        let head = head(REQUEST, &payload).with("payload.len", wrong.to_be_bytes()).encode();
        faults.push(Fault::new(format!("a head of {wrong}"), body.request_id, frame(HEAD, &head), E_ENCODING));
    }
    faults
}

fn lying_lengths_of_others(peer: &Peer) -> Vec<Fault> {
    let wanted = fetch("edition", Some("IT-AGENCY"), 1, &NO_HASH);
    let told = notice(peer);
    let mut faults = Vec::new();
    for (kind, fields) in [(FETCH, wanted), (NOTICE, told)] {
        for name in fields.lengths() {
            for wrong in wrong_lengths(&fields, &name) {
                let bytes = fields.clone().with(&name, wrong.to_be_bytes()).encode();
                faults.push(of_kind(kind, format!("kind {kind} {name} = {wrong}"), &bytes));
            }
        }
    }
    faults
}

// A notice in order, as fields: an edition that the attacker has never published.
fn notice(peer: &Peer) -> Fields {
    let means = &peer.means;
    let payload = withdrawal(&means.member, 900, &[9; 32], crate::peer::now()).encode();
    let signature = means.sign.sign("withdraw", &means.federation, &payload);
    crate::wire::messages::document("withdraw", &payload, &[(means.sign.public(), signature)])
}

fn nested(peer: &Peer) -> Vec<Fault> {
    let mut heads = head(REQUEST, b"").encode();
    let mut signed = Vec::new();
    for _ in 0..400 {
        heads = head(REQUEST, &heads).encode();
        signed = signed_bytes(&signed, &[0; 64]).encode();
    }
    vec![
        Fault::new("400 heads in each other", [1; 16], frame(HEAD, &heads), E_ENCODING),
        Fault::new("400 signed bytes in each other", [2; 16], head_stream(REQUEST, &signed), E_ENCODING),
        Fault::new("signed bytes in signed bytes", [3; 16], head_stream(REQUEST, &peer.seal(&signed)), E_ENCODING),
        with_envelope(peer, "a body that is an envelope", |all| {
            let inner = all.clone().encode();
            all.with("body.len", (inner.len() as u64).to_be_bytes()).with("body", inner)
        }),
        Fault::new("brackets", [4; 16], head_stream(REQUEST, &vec![b'['; 60_000]), E_ENCODING),
    ]
}

fn unknown_numbers(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for number in [0u16, 6, 7, 255, 256, u16::MAX] {
        for name in ["purpose", "legal_basis"] {
            faults.push(with_body(peer, format!("{name} {number}"), |all| all.with(name, number.to_be_bytes())));
        }
    }
    for class in [5u8, 6, 127, 128, 255] {
        faults.push(with_body(peer, format!("reply class {class}"), |all| all.with("reply_class", [class])));
    }
    for label in [0u16, 1, 17, 18, 21, u16::MAX] {
        faults.push(with_body(peer, format!("a body called {label}"), |all| all.with("kind", label.to_be_bytes())));
    }
    for label in [0u16, 1, 16, 18, u16::MAX] {
        let change = |all: Fields| all.with("kind", label.to_be_bytes());
        faults.push(with_envelope(peer, format!("an envelope called {label}"), change));
    }
    for label in [0u16, 26, 255, 256, u16::MAX] {
        let bytes = notice(peer).with("label", label.to_be_bytes()).encode();
        faults.push(of_kind(NOTICE, format!("a document called {label}"), &bytes));
    }
    faults
}

fn option_tags(_peer: &Peer) -> Vec<Fault> {
    [2u8, 3, 127, 128, 254, 255]
        .map(|tag| {
            let bytes = fetch("edition", Some("IT-AGENCY"), 1, &NO_HASH).with("node_id.is", [tag]).encode();
            of_kind(FETCH, format!("tag {tag}"), &bytes)
        })
        .into()
}

fn bad_texts(peer: &Peer) -> Vec<Fault> {
    let texts: [&[u8]; 20] = [
        b"",
        b"ES",
        b"ES-",
        b"E-AGENCY",
        b"es-agency",
        b"ES-agency",
        b"ES_AGENCY",
        b"ES-AGENCY ",
        b" ES-AGENCY",
        b"ES-AGENC\xff",
        b"ES-\xc3\x28",
        b"ES-\xed\xa0\x80",
        b"ES-\xf8\x88\x80\x80\x80",
        b"ES-\xc0\xae",
        b"ES-AGENCY\0",
        b"ES-\x1b[2J",
        b"ES-\x7f",
        b"ES-AGENCY\n",
        b"ES-AAAAAAAAAAAAAAAAAAAAAA",
        "ES-\u{202e}AGENCY".as_bytes(),
    ];
    let mut faults = Vec::new();
    for text in texts {
        let length = (text.len() as u64).to_be_bytes();
        let shown = text.escape_ascii();
        for name in ["requester", "audience"] {
            let change = |all: Fields| all.with(&format!("{name}.len"), length).with(name, text);
            faults.push(with_body(peer, format!("{name} {shown}"), change));
        }
        let change = |all: Fields| all.with("node_id.len", length).with("node_id", text);
        faults.push(with_envelope(peer, format!("node_id {shown}"), change));
    }
    faults
}

fn with_dims(peer: &Peer, what: &str, dims: Vec<Dim>) -> Fault {
    let mut body = peer.means.body();
    body.query.dims = dims;
    // Order is a rule over what was decoded, but before anything else is looked at: the class is not known yet.
    Fault::new(what, body.request_id, peer.request(&body.encode()), E_ENCODING)
}

fn bad_lists(peer: &Peer) -> Vec<Fault> {
    let (time, drugs) = (Dim::new(0, 0, &YEARS), Dim::new(1, 1, &TWO_DRUGS));
    let many: Vec<u32> = (1950..2015).map(|year| year * 100).collect();
    vec![
        with_dims(peer, "codes descending", vec![time.clone(), Dim::new(1, 1, &[12, 1])]),
        with_dims(peer, "a code twice", vec![time.clone(), Dim::new(1, 1, &[1, 1])]),
        with_dims(peer, "years descending", vec![Dim::new(0, 0, &[202_200, 202_100]), drugs.clone()]),
        with_dims(peer, "a year twice", vec![Dim::new(0, 0, &[202_100, 202_100]), drugs.clone()]),
        with_dims(peer, "dimensions the other way round", vec![drugs.clone(), time.clone()]),
        with_dims(peer, "a dimension twice", vec![time.clone(), time.clone()]),
        with_dims(peer, "a dimension left out", vec![drugs.clone()]),
        with_dims(peer, "65 codes", vec![Dim::new(0, 0, &many), drugs.clone()]),
        with_dims(peer, "nine dimensions", (0..9).map(|dim| Dim::new(dim, 0, &[])).collect()),
    ]
}

fn other_protocols(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for protocol in [0u16, 2, 256, u16::MAX] {
        let change = |all: Fields| all.with("protocol", protocol.to_be_bytes());
        faults.push(with_body(peer, format!("a body of protocol {protocol}"), change));
        faults.push(with_envelope(peer, format!("an envelope of protocol {protocol}"), change));
    }
    faults
}

fn replies(peer: &Peer) -> Vec<Fault> {
    let means = &peer.means;
    let signed = |label: &str, payload: &[u8]| sealed(&means.sign, label, &means.federation, payload);
    let vector = |name: &str| {
        let path = accord_tests::root().join("protocol/tests/vectors/messages.txt");
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
        crate::wire::from_hex(line)
    };
    let mut faults: Vec<Fault> = ["answer", "refusal", "edition", "withdraw", "request-body", "root", "officers"]
        .map(|name| {
            let label = if name == "refusal" { "answer" } else { name };
            of_kind(REQUEST, format!("a signed {name}"), &signed(label, &vector(name)))
        })
        .into();
    for name in ["document", "card", "ask", "ask-reply", "relay", "fetch"] {
        faults.push(of_kind(REQUEST, format!("a {name}"), &vector(name)));
        faults.push(of_kind(REQUEST, format!("a {name}, sealed"), &signed("request", &vector(name))));
    }
    faults
}

fn left_over(peer: &Peer) -> Vec<Fault> {
    let body = peer.means.body();
    let mut longer_head = head(REQUEST, &peer.payload(&body.encode())).encode();
    longer_head.push(0);
    vec![
        with_body(peer, "in the body", |all| all.raw("more", &[0])),
        with_envelope(peer, "in the envelope", |all| all.raw("more", &[0])),
        with_payload(peer, "in the signed bytes", |payload| [payload, vec![0]].concat()),
        Fault::new("in the head", body.request_id, frame(HEAD, &longer_head), E_ENCODING),
    ]
}

fn bad_fetches(peer: &Peer) -> Vec<Fault> {
    let wanted = fetch("edition", None, 1, &NO_HASH).encode();
    let told = notice(peer).encode();
    let means = &peer.means;
    let mut faults = Vec::new();
    for (kind, whole) in [(FETCH, &wanted), (NOTICE, &told)] {
        faults.push(of_kind(kind, format!("kind {kind}: nothing"), b""));
        faults.push(of_kind(kind, format!("kind {kind}: cut"), &whole[..whole.len() - 1]));
        faults.push(of_kind(kind, format!("kind {kind}: one byte more"), &[whole.as_slice(), &[0]].concat()));
        faults.push(of_kind(kind, format!("kind {kind}: text"), b"GET / HTTP/1.1\r\n\r\n"));
        faults.push(of_kind(kind, format!("kind {kind}: ones"), &[0xff; 900]));
        faults.push(of_kind(kind, format!("kind {kind}: above its 1 KiB"), &vec![0; 2_000]));
        faults.push(of_kind(kind, format!("kind {kind}: above 64 KiB"), &vec![0; 64_500]));
    }
    for label in [0u16, 26, 27, u16::MAX] {
        let bytes = fetch("edition", None, 1, &NO_HASH).with("label", label.to_be_bytes()).encode();
        faults.push(of_kind(FETCH, format!("label {label}"), &bytes));
    }
    let long = document_by(&means.sign, "withdraw", &means.federation, &[0; 1_000]);
    faults.push(of_kind(NOTICE, "a document above 1 KiB", &long));
    faults
}
