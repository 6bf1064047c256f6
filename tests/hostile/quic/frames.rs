//! QUIC frames of its own (RFC 9000, 19).

use super::packet::{put_varint, take, take_varint};

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Handshake bytes.
    Crypto {
        /// Where they belong.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Stream bytes.
    Stream {
        /// Which stream.
        id: u64,
        /// Where they belong.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
        /// Whether they are the last.
        fin: bool,
    },
    /// The peer gives up sending.
    ResetStream {
        /// Which stream.
        id: u64,
        /// Why.
        code: u64,
    },
    /// The peer gives up reading.
    StopSending {
        /// Which stream.
        id: u64,
        /// Why.
        code: u64,
    },
    /// The end of the connection.
    Close {
        /// Why.
        code: u64,
        /// Whether the application says so.
        by_application: bool,
    },
    /// The server has verified our handshake.
    HandshakeDone,
    /// A session ticket of QUIC's own.
    NewToken,
    /// Acknowledgement or padding.
    Silent,
    /// Anything else, by its type.
    Other(u64),
}

impl Frame {
    /// Whether the peer waits for an acknowledgement.
    pub(crate) const fn needs_ack(&self) -> bool {
        !matches!(self, Self::Silent | Self::Close { .. })
    }
}

/// Reads all frames of a packet; nothing if one of them is not in RFC 9000.
pub(crate) fn parse(mut bytes: &[u8]) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        frames.push(one(&mut bytes)?);
    }
    Some(frames)
}

fn one(bytes: &mut &[u8]) -> Option<Frame> {
    let kind = take_varint(bytes)?;
    // Frames that are nothing but this many integers.
    let integers = |bytes: &mut &[u8], count: usize| (0..count).map(|_| take_varint(bytes)).collect::<Option<Vec<_>>>();
    Some(match kind {
        0x00 => Frame::Silent,
        0x02 | 0x03 => {
            let ranges = integers(bytes, 4)?[2];
            for _ in 0..ranges {
                integers(bytes, 2)?;
            }
            integers(bytes, if kind == 0x03 { 3 } else { 0 })?;
            Frame::Silent
        }
        0x04 => {
            let fields = integers(bytes, 3)?;
            Frame::ResetStream { id: fields[0], code: fields[1] }
        }
        0x05 => {
            let fields = integers(bytes, 2)?;
            Frame::StopSending { id: fields[0], code: fields[1] }
        }
        0x06 => {
            let offset = take_varint(bytes)?;
            Frame::Crypto { offset, data: counted(bytes)? }
        }
        0x07 => {
            counted(bytes)?;
            Frame::NewToken
        }
        0x08..=0x0f => {
            let id = take_varint(bytes)?;
            let offset = if kind & 4 == 0 { 0 } else { take_varint(bytes)? };
            let data = if kind & 2 == 0 { std::mem::take(bytes).to_vec() } else { counted(bytes)? };
            Frame::Stream { id, offset, data, fin: kind & 1 == 1 }
        }
        0x10 | 0x12 | 0x13 | 0x14 | 0x16 | 0x17 | 0x19 => {
            integers(bytes, 1)?;
            Frame::Other(kind)
        }
        0x11 | 0x15 => {
            integers(bytes, 2)?;
            Frame::Other(kind)
        }
        0x18 => {
            integers(bytes, 2)?;
            let length = usize::from(*take(bytes, 1)?.first()?);
            take(bytes, length + 16)?;
            Frame::Other(kind)
        }
        0x1a | 0x1b => {
            take(bytes, 8)?;
            Frame::Other(kind)
        }
        0x1c | 0x1d => {
            let code = take_varint(bytes)?;
            integers(bytes, usize::from(kind == 0x1c))?;
            counted(bytes)?;
            Frame::Close { code, by_application: kind == 0x1d }
        }
        0x1e => Frame::HandshakeDone,
        0x01 => Frame::Other(kind),
        _ => return None,
    })
}

fn counted(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    Some(take(bytes, length)?.to_vec())
}

/// A frame of integers, then bytes.
pub(crate) fn frame(integers: &[u64], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for integer in integers {
        put_varint(&mut out, *integer);
    }
    out.extend(data);
    out
}

/// Handshake bytes.
pub(crate) fn crypto(offset: u64, data: &[u8]) -> Vec<u8> {
    frame(&[0x06, offset, data.len() as u64], data)
}

/// Stream bytes.
pub(crate) fn stream(id: u64, offset: u64, data: &[u8], fin: bool) -> Vec<u8> {
    frame(&[0x0e | u64::from(fin), id, offset, data.len() as u64], data)
}

/// Acknowledges packets; `numbers` are ascending and not empty.
pub(crate) fn ack(numbers: &[u64]) -> Vec<u8> {
    // Runs of successive numbers, the highest first.
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers.iter().rev() {
        match runs.last_mut() {
            Some((low, _)) if *low == number + 1 => *low = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let (mut low, high) = runs[0];
    let mut out = frame(&[0x02, high, 0, runs.len() as u64 - 1, high - low], &[]);
    for (next_low, next_high) in &runs[1..] {
        put_varint(&mut out, low - next_high - 2);
        put_varint(&mut out, next_high - next_low);
        low = *next_low;
    }
    out
}
