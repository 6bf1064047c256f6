//! The few messages that a peer in order sends, written out byte by byte, and what its replies say.

use crate::client::{Came, StreamEnd};

/// Kinds of frame that are used here.
const HEAD: u8 = 1;
/// The message kind `fetch`.
const FETCH: u16 = 102;
/// The label of an edition's header.
const LABEL_EDITION: u16 = 21;

/// `length u32be | kind u8 | payload`.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [length.as_slice(), &[kind], payload].concat()
}

/// `length u64be | bytes`.
pub(crate) fn counted(bytes: &[u8]) -> Vec<u8> {
    [(bytes.len() as u64).to_be_bytes().as_slice(), bytes].concat()
}

/// The head frame of a message: `protocol u16 | kind u16 | payload`.
pub(crate) fn head(kind: u16, payload: &[u8]) -> Vec<u8> {
    frame(HEAD, &[1u16.to_be_bytes().as_slice(), &kind.to_be_bytes(), &counted(payload)].concat())
}

/// A whole call for the header of an edition: `label u16 | node_id option | number u64 | hash[32]`.
pub(crate) fn fetch_edition(number: u64) -> Vec<u8> {
    head(FETCH, &[LABEL_EDITION.to_be_bytes().as_slice(), &[0], &number.to_be_bytes(), &[0; 32]].concat())
}

/// Whether a reply to a fetch brought a document: one byte 1 in the head, a body, and its end.
pub(crate) fn found(came: &Came) -> bool {
    let frames = frames(&came.bytes).unwrap_or_default();
    let kinds: Vec<u8> = frames.iter().map(|(kind, _)| *kind).collect();
    came.end == StreamEnd::Fin
        && kinds == [1, 2, 4]
        && frames[0].1
            == [1u16.to_be_bytes(), FETCH.to_be_bytes()].concat().into_iter().chain(counted(&[1])).collect::<Vec<u8>>()
}

/// Bytes of a stream as frames; nothing if they are not whole frames.
pub(crate) fn frames(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at_checked(5)?;
        let length = u32::from_be_bytes(header[..4].try_into().unwrap()) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        frames.push((header[4], payload.to_vec()));
        bytes = rest;
    }
    Some(frames)
}
