//! Frames of a stream (`wire.md` D1): `length u32be | kind u8 | payload[length]`, read piece by piece with limits.
//!
//! Order: `progress* head (body|progress)* end? pad* FIN`, progress from the server only; `end` exactly where the message kind
//! has a body.

use ring::digest::{Context, SHA256};

use crate::id::Hash;

/// Largest payload of one frame in bytes.
pub const PAYLOAD_MAX: usize = 65_536;
/// Bytes before each payload.
pub const HEADER_LEN: usize = 5;

crate::codes! {
    /// Kinds of frame.
    pub enum FrameKind: u8 {
        /// One encoded message; first, and once.
        Head = 1 "head",
        /// Raw bytes.
        Body = 2 "body",
        /// One encoded message, from the server only.
        Progress = 3 "progress",
        /// Total length and SHA-256 of all body bytes.
        End = 4 "end",
        /// Zeros.
        Pad = 5 "pad",
    }
}

/// Why a stream's bytes are refused (`E_ENCODING`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame longer than the limit, an unknown kind, or an empty head.
    #[error("bad frame header")]
    Header,
    /// A frame where the order does not allow it.
    #[error("a {0} frame out of order")]
    Order(FrameKind),
    /// More bytes than the message kind allows.
    #[error("more than {max} bytes of {what}")]
    TooLarge {
        /// Head or body.
        what: FrameKind,
        /// The limit.
        max: u64,
    },
    /// A pad that is not zeros.
    #[error("a pad that is not zeros")]
    Pad,
    /// `end` does not fit the body.
    #[error("the end frame does not fit the body")]
    End,
    /// The stream ended before the message did.
    #[error("the stream ended before the message did")]
    Short,
}

/// What a message kind allows in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest head in bytes.
    pub head: usize,
    /// Largest body in bytes; `None` where the kind has none (then no `end` either).
    pub body: Option<u64>,
    /// Whether progress frames may come (server to client only).
    pub progress: bool,
    /// Stream bytes of pads, progress and empty body frames in all: what carries no data is bounded too.
    pub spare: u64,
}

/// What the next bytes were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The head, whole.
    Head(Vec<u8>),
    /// Some bytes of the body.
    Body(Vec<u8>),
    /// A progress message, whole.
    Progress(Vec<u8>),
    /// The body is complete and verified.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Open,
    Ended,
    Padding,
}

/// What may follow a head, decided by the head's own bytes; nothing for bytes that are no head.
pub type LimitsByHead = fn(&[u8]) -> Option<Limits>;

/// Reads frames from bytes as they arrive. Nothing in it waits, and it holds at most one frame.
pub struct FrameReader {
    limits: Limits,
    by_head: Option<LimitsByHead>,
    stage: Stage,
    buffer: Vec<u8>,
    body: u64,
    spare: u64,
    digest: Context,
    total: u64,
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader").field("stage", &self.stage).field("total", &self.total).finish_non_exhaustive()
    }
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_head: None,
            stage: Stage::Start,
            buffer: Vec::new(),
            body: 0,
            spare: 0,
            digest: Context::new(&SHA256),
            total: 0,
        }
    }

    /// A reader for the side that learns from the head what kind of message it is: `by_head` gives the kind's limits, or
    /// nothing for a head that is none.
    pub fn by_head(head_max: usize, by_head: LimitsByHead) -> Self {
        Self { by_head: Some(by_head), ..Self::new(Limits { head: head_max, body: None, progress: false, spare: 0 }) }
    }

    /// Stream bytes taken so far, pads and headers included.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Takes bytes; returns the pieces that became whole, in order.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Piece>, FrameError> {
        self.total += bytes.len() as u64;
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let want = match self.buffer.first_chunk::<HEADER_LEN>() {
                None => HEADER_LEN,
                Some(header) => HEADER_LEN + self.header(*header)?.1,
            };
            let (taken, rest) = bytes.split_at(bytes.len().min(want - self.buffer.len()));
            self.buffer.extend_from_slice(taken);
            bytes = rest;
            // The header may just have become whole; a frame with an empty payload is then whole too.
            if let Some(header) = self.buffer.first_chunk::<HEADER_LEN>() {
                let (kind, length) = self.header(*header)?;
                if self.buffer.len() == HEADER_LEN + length {
                    let payload = self.buffer.split_off(HEADER_LEN);
                    self.buffer.clear();
                    pieces.extend(self.frame(kind, payload)?);
                }
            }
        }
        Ok(pieces)
    }

    // Checks a header as soon as its five bytes are there, before anything is allocated for its payload.
    fn header(&self, [a, b, c, d, kind]: [u8; HEADER_LEN]) -> Result<(FrameKind, usize), FrameError> {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let kind = FrameKind::from_number(kind).ok_or(FrameError::Header)?;
        if length > PAYLOAD_MAX {
            return Err(FrameError::Header);
        }
        let in_order = match kind {
            FrameKind::Head => self.stage == Stage::Start,
            FrameKind::Body => self.stage == Stage::Open && self.limits.body.is_some(),
            // Before the head too: the reply head comes after the commit, progress before it.
            FrameKind::Progress => matches!(self.stage, Stage::Start | Stage::Open) && self.limits.progress,
            FrameKind::End => self.stage == Stage::Open && self.limits.body.is_some(),
            FrameKind::Pad => match self.stage {
                Stage::Start => false,
                Stage::Open => self.limits.body.is_none(),
                Stage::Ended | Stage::Padding => true,
            },
        };
        if !in_order {
            return Err(FrameError::Order(kind));
        }
        match kind {
            FrameKind::Head if length == 0 => Err(FrameError::Header),
            FrameKind::Head if length > self.limits.head => {
                Err(FrameError::TooLarge { what: kind, max: self.limits.head as u64 })
            }
            FrameKind::Body if self.body + length as u64 > self.limits.body.unwrap_or(0) => {
                Err(FrameError::TooLarge { what: kind, max: self.limits.body.unwrap_or(0) })
            }
            FrameKind::End if length != 40 => Err(FrameError::End),
            _ if self.spare + spare_bytes(kind, length) > self.limits.spare => {
                Err(FrameError::TooLarge { what: kind, max: self.limits.spare })
            }
            _ => Ok((kind, length)),
        }
    }

    fn frame(&mut self, kind: FrameKind, payload: Vec<u8>) -> Result<Option<Piece>, FrameError> {
        self.spare += spare_bytes(kind, payload.len());
        match kind {
            FrameKind::Head => {
                if let Some(by_head) = self.by_head {
                    self.limits = by_head(&payload).ok_or(FrameError::Header)?;
                }
                self.stage = Stage::Open;
                Ok(Some(Piece::Head(payload)))
            }
            FrameKind::Body => {
                self.body += payload.len() as u64;
                self.digest.update(&payload);
                Ok(Some(Piece::Body(payload)))
            }
            FrameKind::Progress => Ok(Some(Piece::Progress(payload))),
            FrameKind::End => {
                if payload != end_payload(self.body, &self.digest) {
                    return Err(FrameError::End);
                }
                self.stage = Stage::Ended;
                Ok(Some(Piece::End))
            }
            FrameKind::Pad => {
                if payload.iter().any(|byte| *byte != 0) {
                    return Err(FrameError::Pad);
                }
                self.stage = Stage::Padding;
                Ok(None)
            }
        }
    }

    /// The stream has ended: whether the message is whole.
    pub fn finish(&self) -> Result<(), FrameError> {
        let whole = match self.stage {
            Stage::Start => false,
            Stage::Open => self.limits.body.is_none(),
            Stage::Ended | Stage::Padding => true,
        };
        if whole && self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Short) }
    }
}

// Bytes of a frame that bring the message no further.
const fn spare_bytes(kind: FrameKind, length: usize) -> u64 {
    match kind {
        FrameKind::Pad | FrameKind::Progress => (HEADER_LEN + length) as u64,
        FrameKind::Body if length == 0 => HEADER_LEN as u64,
        FrameKind::Body | FrameKind::Head | FrameKind::End => 0,
    }
}

fn end_payload(total: u64, digest: &Context) -> Vec<u8> {
    let mut payload = total.to_be_bytes().to_vec();
    payload.extend(digest.clone().finish().as_ref());
    payload
}

/// One frame; the payload must not exceed [`PAYLOAD_MAX`].
fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= PAYLOAD_MAX, "callers split");
    let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.push(kind.number());
    bytes.extend_from_slice(payload);
    bytes
}

/// Writes a message as frames: head, then body pieces, then `end`.
pub struct FrameWriter {
    body: u64,
    digest: Context,
}

impl std::fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameWriter").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Default for FrameWriter {
    fn default() -> Self {
        Self { body: 0, digest: Context::new(&SHA256) }
    }
}

impl FrameWriter {
    /// The head frame.
    pub fn head(payload: &[u8]) -> Vec<u8> {
        frame(FrameKind::Head, payload)
    }

    /// A progress frame.
    pub fn progress(payload: &[u8]) -> Vec<u8> {
        frame(FrameKind::Progress, payload)
    }

    /// Body bytes as frames.
    pub fn body(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.digest.update(bytes);
        self.body += bytes.len() as u64;
        bytes.chunks(PAYLOAD_MAX).flat_map(|chunk| frame(FrameKind::Body, chunk)).collect()
    }

    /// The `end` frame.
    pub fn end(self) -> Vec<u8> {
        frame(FrameKind::End, &end_payload(self.body, &self.digest))
    }
}

/// Stream bytes of a message without pads.
pub const fn message_len(head: usize, body: Option<usize>) -> usize {
    match body {
        None => HEADER_LEN + head,
        Some(body) => HEADER_LEN + head + body.div_ceil(PAYLOAD_MAX) * HEADER_LEN + body + HEADER_LEN + 40,
    }
}

/// Pad frames of exactly `missing` bytes in all, one after the other; `None` for 1 to 4 bytes, which no frame has.
pub fn pads(missing: usize) -> Option<impl Iterator<Item = Vec<u8>>> {
    let mut missing = missing;
    (missing == 0 || missing >= HEADER_LEN).then(|| {
        std::iter::from_fn(move || {
            let mut payload = missing.checked_sub(HEADER_LEN)?.min(PAYLOAD_MAX);
            // Leave nothing behind that is too short for a header of its own.
            let left = missing - HEADER_LEN - payload;
            if left > 0 && left < HEADER_LEN {
                payload -= HEADER_LEN;
            }
            missing -= HEADER_LEN + payload;
            Some(frame(FrameKind::Pad, &vec![0; payload]))
        })
    })
}

/// A whole message as stream bytes: with a body where the kind has one, padded to exactly `size` bytes where it is given.
///
/// `None` if the message does not fit `size`, or misses it by fewer bytes than a frame header.
pub fn message(head: &[u8], body: Option<&[u8]>, size: Option<usize>) -> Option<Vec<u8>> {
    if head.len() > PAYLOAD_MAX {
        return None;
    }
    let mut bytes = FrameWriter::head(head);
    if let Some(body) = body {
        let mut writer = FrameWriter::default();
        bytes.extend(writer.body(body));
        bytes.extend(writer.end());
    }
    let missing = size.map_or(Some(0), |size| size.checked_sub(bytes.len()))?;
    bytes.extend(pads(missing)?.flatten());
    Some(bytes)
}

/// SHA-256 and length of a body as `end` states them.
pub fn body_digest(body: &[u8]) -> (u64, Hash) {
    (body.len() as u64, Hash::of(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: Limits = Limits { head: 1024, body: Some(1 << 20), progress: false, spare: 1 << 20 };
    const PLAIN: Limits = Limits { head: 1024, body: None, progress: false, spare: 1 << 20 };

    fn read(bytes: &[u8], chunk: usize, limits: Limits) -> Result<(Vec<u8>, Vec<u8>), FrameError> {
        let mut reader = FrameReader::new(limits);
        let (mut head, mut body) = (Vec::new(), Vec::new());
        for part in bytes.chunks(chunk.max(1)) {
            for piece in reader.push(part)? {
                match piece {
                    Piece::Head(bytes) => head = bytes,
                    Piece::Body(bytes) => body.extend(bytes),
                    Piece::Progress(_) | Piece::End => {}
                }
            }
        }
        reader.finish()?;
        Ok((head, body))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_any_split(head in prop::collection::vec(any::<u8>(), 1..64), body in prop::collection::vec(any::<u8>(), 0..200_000), chunk in 1usize..70_000) {
            let bytes = message(&head, Some(&body), None).unwrap();
            prop_assert_eq!(read(&bytes, chunk, BODY), Ok((head, body)));
        }

        #[test]
        fn padding_reaches_every_size_that_leaves_room_for_a_header(extra in 5usize..200_000) {
            let plain = message(b"head", Some(b"body"), None).unwrap().len();
            let bytes = message(b"head", Some(b"body"), Some(plain + extra)).unwrap();
            prop_assert_eq!(bytes.len(), plain + extra);
            prop_assert_eq!(read(&bytes, 4096, BODY), Ok((b"head".to_vec(), b"body".to_vec())));
        }
    }

    #[test]
    fn every_truncation_is_short() {
        let bytes = message(b"head", Some(b"body"), Some(300)).unwrap();
        let unpadded = message(b"head", Some(b"body"), None).unwrap().len();
        for cut in 0..bytes.len() {
            let whole = cut == unpadded || cut == bytes.len();
            assert_eq!(read(&bytes[..cut], 7, BODY).is_ok(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_order_of_frames_is_enforced() {
        let head = FrameWriter::head(b"h");
        let body = FrameWriter::default().body(b"b");
        let end = {
            let mut writer = FrameWriter::default();
            writer.body(b"b");
            writer.end()
        };
        let pad = frame(FrameKind::Pad, &[0; 3]);
        let cases: [(&str, Vec<u8>, Limits, FrameError); 10] = [
            ("two heads", [head.clone(), head.clone()].concat(), BODY, FrameError::Order(FrameKind::Head)),
            ("body first", body.clone(), BODY, FrameError::Order(FrameKind::Body)),
            (
                "body where there is none",
                [head.clone(), body.clone()].concat(),
                PLAIN,
                FrameError::Order(FrameKind::Body),
            ),
            (
                "pad before end",
                [head.clone(), body.clone(), pad.clone()].concat(),
                BODY,
                FrameError::Order(FrameKind::Pad),
            ),
            ("end where there is none", [head.clone(), end.clone()].concat(), PLAIN, FrameError::Order(FrameKind::End)),
            ("wrong end", [head.clone(), end.clone()].concat(), BODY, FrameError::End),
            (
                "after pad",
                [head.clone(), pad.clone(), head.clone()].concat(),
                PLAIN,
                FrameError::Order(FrameKind::Head),
            ),
            ("pad not zero", [head.clone(), frame(FrameKind::Pad, &[0, 1])].concat(), PLAIN, FrameError::Pad),
            (
                "progress from a client",
                [head.clone(), FrameWriter::progress(b"p")].concat(),
                PLAIN,
                FrameError::Order(FrameKind::Progress),
            ),
            ("unknown kind", vec![0, 0, 0, 1, 9, 0], PLAIN, FrameError::Header),
        ];
        for (name, bytes, limits, want) in cases {
            assert_eq!(read(&bytes, 3, limits), Err(want), "{name}");
        }
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused_at_the_header() {
        assert_eq!(FrameReader::new(PLAIN).push(&[0, 1, 0, 1, 1]), Err(FrameError::Header));
        assert_eq!(FrameReader::new(PLAIN).push(&[0xff; 5]), Err(FrameError::Header));
        assert_eq!(
            FrameReader::new(PLAIN).push(&[0, 0, 4, 1, 1]),
            Err(FrameError::TooLarge { what: FrameKind::Head, max: 1024 })
        );
        assert_eq!(FrameReader::new(PLAIN).push(&[0, 0, 0, 0, 1]), Err(FrameError::Header));
    }

    #[test]
    fn what_carries_no_data_is_bounded() {
        let limits = Limits { spare: 20, progress: true, ..BODY };
        let fits = |frames: &[Vec<u8>]| {
            let mut reader = FrameReader::new(limits);
            reader.push(&FrameWriter::head(b"h")).unwrap();
            frames.iter().try_for_each(|frame| reader.push(frame).map(|_| ()))
        };
        let (empty, progress) = (frame(FrameKind::Body, b""), FrameWriter::progress(b"01234"));
        assert_eq!(fits(&vec![empty.clone(); 4]), Ok(()));
        assert_eq!(fits(&vec![empty.clone(); 5]), Err(FrameError::TooLarge { what: FrameKind::Body, max: 20 }));
        assert_eq!(fits(&[progress.clone(), progress.clone()]), Ok(()));
        assert_eq!(
            fits(&[progress.clone(), progress.clone(), empty]),
            Err(FrameError::TooLarge { what: FrameKind::Body, max: 20 })
        );
        let end = FrameWriter::default().end();
        let pads: Vec<u8> = pads(21).unwrap().flatten().collect();
        assert_eq!(fits(&[end, pads]), Err(FrameError::TooLarge { what: FrameKind::Pad, max: 20 }));
        assert_eq!(fits(&vec![frame(FrameKind::Body, b"b"); 1000]), Ok(()), "data is bounded by its own limit");
    }

    #[test]
    fn the_length_of_a_message_is_known_beforehand() {
        for body in [None, Some(0), Some(1), Some(PAYLOAD_MAX), Some(PAYLOAD_MAX + 1)] {
            let bytes = message(b"head", body.map(|length| vec![7; length]).as_deref(), None).unwrap();
            assert_eq!(bytes.len(), message_len(4, body));
        }
    }
}
