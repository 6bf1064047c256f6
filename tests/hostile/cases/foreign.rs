//! The same content in another encoding: compressed, other integers, bits of floats.

use std::collections::BTreeSet;

use super::encoding::{E_ENCODING, case, with_body};
use crate::{
    peer::{Fault, Peer, refused},
    stage::Stage,
    table::{Case, Outcome, Place},
    wire::{
        compressed::{gzip, zstd},
        fields::Fields,
        frames::{HEAD, frame, head, head_stream},
        messages::{Body, REQUEST},
    },
};

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "C45",
            "another encoding of numbers",
            "little-endian lengths, varints minimal and not",
            "does not decode",
            |stage| refused(stage, other_integers),
        ),
        case(
            "C60",
            "compressed bytes",
            "gzip and zstd of stream, head, signed bytes, envelope and body",
            "refusal=E_ENCODING",
            |stage| refused(stage, squeezed),
        ),
        Case {
            id: "C47",
            name: "numbers that a reader of floats would stumble on",
            given: "an authenticated member",
            sent: "the bits of NaN, -0.0 and infinity as times, edition and measures",
            expected: "they are whole numbers, far off: E_TIME, E_EDITION, E_QUERY",
            log: "refusal=E_TIME",
            place: Place::Shared,
            run: |stage| refused(stage, bits_of_floats),
        },
        Case {
            id: "C60",
            name: "nothing to unpack with",
            given: "the lock file of the workspace",
            sent: "nothing",
            expected: "no library that unpacks is among what a node is built of",
            log: "none",
            place: Place::Shared,
            run: no_unpacker,
        },
    ]
}

fn other_integers(peer: &Peer) -> Vec<Fault> {
    let little = |all: &Fields, name: &str| all.number(name).to_le_bytes();
    let mut faults = Vec::new();
    for name in peer.means.body().fields().lengths() {
        let endian = |all: Fields| {
            let bytes = little(&all, &name);
            all.with(&name, bytes)
        };
        faults.push(with_body(peer, format!("{name} little-endian"), endian));
        let one_byte = |all: Fields| {
            let byte = u8::try_from(all.number(&name)).unwrap();
            all.with(&name, [byte])
        };
        faults.push(with_body(peer, format!("{name} in one byte"), one_byte));
        let not_minimal = |all: Fields| {
            let long = [[253].as_slice(), &all.number(&name).to_be_bytes()].concat();
            all.with(&name, long)
        };
        faults.push(with_body(peer, format!("{name} as a long varint"), not_minimal));
    }
    faults
}

fn squeezed(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, squeeze) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let body = peer.means.body();
        let payload = peer.payload(&body.encode());
        let stream = head_stream(REQUEST, &payload);
        let plain_head = head(REQUEST, &payload).encode();
        let envelope = peer.envelope(&body.encode()).fields().encode();
        let row = |what: &str, stream: Vec<u8>| {
            Fault::new(format!("{name} of the {what}"), body.request_id, stream, E_ENCODING)
        };
        faults.push(row("stream", squeeze(&stream)));
        faults.push(row("head", frame(HEAD, &squeeze(&plain_head))));
        faults.push(row("signed bytes", head_stream(REQUEST, &squeeze(&payload))));
        faults.push(row("envelope", head_stream(REQUEST, &peer.seal(&squeeze(&envelope)))));
        faults.push(row("body", peer.request(&squeeze(&body.encode()))));
    }
    faults
}

fn bits_of_floats(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, bits) in [("NaN", f64::NAN), ("-0.0", -0.0), ("infinity", f64::INFINITY), ("1.0", 1.0)] {
        let bits = bits.to_bits();
        let times = Body { issued_at: bits, deliver_by: bits, ..peer.means.body() };
        faults.push(Fault::body(peer, format!("{name} as times"), &times, "E_TIME"));
        let edition = Body { edition: bits, ..peer.means.body() };
        faults.push(Fault::decided(peer, format!("{name} as the edition"), &edition, "E_EDITION"));
    }
    for (name, bits) in [("NaN", f32::NAN), ("-0.0", -0.0), ("infinity", f32::INFINITY)] {
        let mut body = peer.means.body();
        body.query.measures = bits.to_bits();
        faults.push(Fault::decided(peer, format!("{name} as measures"), &body, "E_QUERY"));
    }
    faults
}

// Walks the lock file from the node's crate; what only its tests need is walked too, so that this errs on the strict side.
fn no_unpacker(_stage: &mut Stage) -> Outcome {
    let text = std::fs::read_to_string(accord_tests::root().join("Cargo.lock")).unwrap();
    let packages: Vec<(&str, Vec<&str>)> = text
        .split("[[package]]")
        .skip(1)
        .map(|package| {
            let name = package.split('"').nth(1).unwrap();
            let list = package.split("dependencies = [").nth(1).map_or("", |list| list.split(']').next().unwrap());
            (name, list.split('"').skip(1).step_by(2).map(|entry| entry.split(' ').next().unwrap()).collect())
        })
        .collect();
    let (mut reached, mut waiting) = (BTreeSet::new(), vec!["accord-node"]);
    while let Some(name) = waiting.pop() {
        if reached.insert(name) {
            waiting.extend(packages.iter().filter(|(package, _)| *package == name).flat_map(|(_, needs)| needs));
        }
    }
    let known = [
        "flate2",
        "miniz_oxide",
        "zlib-rs",
        "libz-sys",
        "zip",
        "zstd",
        "zstd-sys",
        "brotli",
        "lz4",
        "lz4_flex",
        "snap",
        "bzip2",
        "xz2",
        "lzma-rs",
        "ruzstd",
    ];
    let found: Vec<_> = known.iter().filter(|name| reached.contains(*name)).collect();
    if reached.len() < 20 || !found.is_empty() {
        return Err(format!("{} packages, among them {found:?}", reached.len()));
    }
    Ok(format!("{} packages, none unpacks", reached.len()))
}
