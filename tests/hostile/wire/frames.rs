//! Frames of a stream (`docs/wire.md` 3): written one by one, so that a case can write any of them wrongly.

use super::{CLASS_BYTES, class_of, fields::Fields, sha256};

/// Largest payload of a frame in bytes.
pub(crate) const PAYLOAD_MAX: usize = 65_536;
/// Bytes before each payload.
pub(crate) const HEADER: usize = 5;

/// Kinds of frame.
pub(crate) const HEAD: u8 = 1;
pub(crate) const BODY: u8 = 2;
pub(crate) const PROGRESS: u8 = 3;
pub(crate) const END: u8 = 4;
pub(crate) const PAD: u8 = 5;

/// A frame's first five bytes, with any length.
pub(crate) fn header(length: u32, kind: u8) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes
}

/// A whole frame.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(u32::try_from(payload.len()).expect("a payload below 4 GiB"), kind);
    bytes.extend_from_slice(payload);
    bytes
}

/// Frames that carry a body, and the `end` that fits it.
pub(crate) fn body(bytes: &[u8]) -> Vec<u8> {
    let mut all: Vec<u8> = bytes.chunks(PAYLOAD_MAX).flat_map(|chunk| frame(BODY, chunk)).collect();
    all.extend(frame(END, &end(bytes.len() as u64, &sha256(bytes))));
    all
}

/// Payload of an `end`.
pub(crate) fn end(total: u64, digest: &[u8]) -> Vec<u8> {
    Fields::default().u64("total", total).raw("digest", digest).encode()
}

/// Pad frames of exactly that many stream bytes, in pieces of at most `piece` payload bytes.
///
/// # Panics
/// If fewer bytes are wanted than a frame's header has.
pub(crate) fn pads(mut missing: usize, piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while missing > 0 {
        let mut payload = (missing.checked_sub(HEADER).expect("room for a header")).min(piece);
        // What is left must hold a header of its own.
        let left = missing - HEADER - payload;
        if left > 0 && left < HEADER {
            payload -= HEADER;
        }
        all.extend(frame(PAD, &vec![0; payload]));
        missing -= HEADER + payload;
    }
    all
}

/// Brings a stream to a size by pads.
pub(crate) fn padded_to(mut stream: Vec<u8>, size: usize) -> Vec<u8> {
    let missing = size.checked_sub(stream.len()).expect("a stream below its size");
    stream.extend(pads(missing, PAYLOAD_MAX));
    stream
}

/// A `Head`, as fields.
pub(crate) fn head(kind: u16, payload: &[u8]) -> Fields {
    Fields::default().u16("protocol", super::PROTOCOL).u16("kind", kind).bytes("payload", payload)
}

/// A stream that is a head alone.
pub(crate) fn head_stream(kind: u16, payload: &[u8]) -> Vec<u8> {
    frame(HEAD, &head(kind, payload).encode())
}

/// A request's stream as an honest node sends it: the head, and pads to the class of its payload.
pub(crate) fn request_stream(payload: &[u8]) -> Vec<u8> {
    padded_to(head_stream(super::messages::REQUEST, payload), CLASS_BYTES[usize::from(class_of(payload.len()))])
}
