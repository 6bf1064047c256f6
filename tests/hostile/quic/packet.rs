//! QUIC packets of its own (RFC 9000, 9001): sealed and opened with the keys of rustls, with whatever in them.

use rustls::{
    Side,
    crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    quic::{DirectionalKeys, HeaderProtectionKey, Keys, PacketKey, Version},
};

/// QUIC version 1.
pub(crate) const V1: u32 = 1;
/// Bytes of every packet number that is sent.
const NUMBER_LEN: usize = 4;
/// Bytes of an AEAD tag and of a header protection sample.
const TAG_LEN: usize = 16;

/// Appends a variable-length integer in its shortest form.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x40 => out.push(value as u8),
        0x40..0x4000 => out.extend((value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => out.extend((value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// A variable-length integer.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

/// Takes a variable-length integer off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1usize << (bytes.first()? >> 6);
    let taken = take(bytes, length)?;
    Some(taken[1..].iter().fold(u64::from(taken[0] & 0x3f), |value, byte| value << 8 | u64::from(*byte)))
}

/// Takes bytes off the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// The keys that anybody can derive from the first connection id of a client.
pub(crate) fn initial_keys(first_id: &[u8]) -> Keys {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    Keys::initial(Version::V1, suite, suite.quic.unwrap(), first_id, Side::Client)
}

/// Kinds of packet with a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Initial, with its token.
    Initial = 0,
    /// Handshake.
    Handshake = 2,
}

/// The long header of a packet to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Long<'a> {
    /// Its kind.
    pub(crate) kind: Kind,
    /// The version it names.
    pub(crate) version: u32,
    /// The receiver's connection id.
    pub(crate) to: &'a [u8],
    /// The sender's.
    pub(crate) from: &'a [u8],
    /// The token; Initial only.
    pub(crate) token: &'a [u8],
}

impl Long<'_> {
    /// Header and payload as they are, `length` counting packet number and payload.
    fn bytes(&self, number: u32, payload_len: usize) -> Vec<u8> {
        let mut out = vec![0xc0 | (self.kind as u8) << 4 | (NUMBER_LEN as u8 - 1)];
        out.extend(self.version.to_be_bytes());
        for id in [self.to, self.from] {
            out.push(u8::try_from(id.len()).unwrap());
            out.extend(id);
        }
        if self.kind == Kind::Initial {
            put_varint(&mut out, self.token.len() as u64);
            out.extend(self.token);
        }
        put_varint(&mut out, (NUMBER_LEN + payload_len) as u64);
        out.extend(number.to_be_bytes());
        out
    }

    /// A packet without protection: what follows the packet number is taken as it is.
    pub(crate) fn unprotected(&self, number: u32, payload: &[u8]) -> Vec<u8> {
        [self.bytes(number, payload.len()), payload.to_vec()].concat()
    }

    /// A packet with these frames, protected.
    pub(crate) fn seal(&self, keys: &DirectionalKeys, number: u32, frames: &[u8]) -> Vec<u8> {
        let frames = sampled(frames);
        protect(keys, &self.bytes(number, frames.len() + TAG_LEN), number, frames)
    }

    /// The same, padded so that the datagram has 1,200 bytes, as a client's Initial must.
    pub(crate) fn seal_padded(&self, keys: &DirectionalKeys, number: u32, frames: &[u8]) -> Vec<u8> {
        let bare = self.seal(keys, number, frames).len();
        // The length field may be a byte longer once it is padded; a datagram may be longer than needed.
        let padded = [sampled(frames).as_slice(), &vec![0; 1200usize.saturating_sub(bare)]].concat();
        self.seal(keys, number, &padded)
    }
}

/// A packet with a short header; `phase` tells keys from the ones before.
pub(crate) fn seal_short(keys: &DirectionalKeys, to: &[u8], number: u32, phase: bool, frames: &[u8]) -> Vec<u8> {
    let first = 0x40 | u8::from(phase) << 2 | (NUMBER_LEN as u8 - 1);
    protect(keys, &[&[first], to, &number.to_be_bytes()].concat(), number, sampled(frames))
}

/// Frames padded so that there are bytes for a sample.
fn sampled(frames: &[u8]) -> Vec<u8> {
    let mut frames = frames.to_vec();
    frames.resize(frames.len().max(NUMBER_LEN), 0);
    frames
}

fn protect(keys: &DirectionalKeys, header: &[u8], number: u32, mut payload: Vec<u8>) -> Vec<u8> {
    let tag = keys.packet.encrypt_in_place(u64::from(number), header, &mut payload).unwrap();
    payload.extend(tag.as_ref());
    let (first, rest) = header.split_first().unwrap();
    let (mut first, mut rest) = (*first, rest.to_vec());
    let at = rest.len() - NUMBER_LEN;
    keys.header.encrypt_in_place(&payload[..TAG_LEN], &mut first, &mut rest[at..]).unwrap();
    [&[first], rest.as_slice(), &payload].concat()
}

/// A packet as it came, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// The server does not speak the version that was named; these it does.
    VersionNegotiation(Vec<u32>),
    /// The server wants the address proved: its new connection id and its token.
    Retry {
        /// The id to use from now on.
        id: Vec<u8>,
        /// The token to bring.
        token: Vec<u8>,
    },
    /// A protected packet.
    Protected {
        /// 0 Initial, 1 Handshake, 2 with a short header.
        space: usize,
        /// The sender's connection id; empty for a short header.
        from: Vec<u8>,
        /// Where the packet number is.
        number_at: usize,
        /// The packet.
        bytes: Vec<u8>,
    },
}

/// Splits a datagram into its packets, as far as they can be told apart. `id_len` is the length of our own ids.
pub(crate) fn split(datagram: &[u8], id_len: usize) -> Vec<Came> {
    let mut packets = Vec::new();
    let mut rest = datagram;
    while let Some(packet) = first_packet(&mut rest, id_len) {
        packets.push(packet);
    }
    packets
}

fn first_packet(rest: &mut &[u8], id_len: usize) -> Option<Came> {
    let whole = *rest;
    let first = *take(rest, 1)?.first()?;
    if first & 0x80 == 0 {
        *rest = &[];
        let number_at = 1 + id_len;
        return Some(Came::Protected { space: 2, from: Vec::new(), number_at, bytes: whole.to_vec() });
    }
    let version = u32::from_be_bytes(take(rest, 4)?.try_into().ok()?);
    let length = usize::from(*take(rest, 1)?.first()?);
    take(rest, length)?;
    let length = usize::from(*take(rest, 1)?.first()?);
    let from = take(rest, length)?.to_vec();
    if version == 0 {
        let (versions, _) = std::mem::take(rest).as_chunks::<4>();
        return Some(Came::VersionNegotiation(versions.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect()));
    }
    let kind = first >> 4 & 3;
    if kind == 3 {
        let body = std::mem::take(rest);
        return Some(Came::Retry { id: from, token: body.get(..body.len().checked_sub(TAG_LEN)?)?.to_vec() });
    }
    if kind == Kind::Initial as u8 {
        let length = usize::try_from(take_varint(rest)?).ok()?;
        take(rest, length)?;
    }
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let number_at = whole.len() - rest.len();
    take(rest, length)?;
    let space = usize::from(kind != Kind::Initial as u8);
    Some(Came::Protected { space, from, number_at, bytes: whole[..number_at + length].to_vec() })
}

/// A packet whose header is bare, and whose frames are not.
pub(crate) struct Bare {
    /// The packet number.
    pub(crate) number: u64,
    /// The bit that tells the keys of a packet with a short header from the ones before.
    pub(crate) phase: bool,
    header: Vec<u8>,
    sealed: Vec<u8>,
}

impl Bare {
    /// Takes the protection off a header; nothing if the packet is too short. `expected` is the next packet number.
    pub(crate) fn of(
        key: &dyn HeaderProtectionKey,
        number_at: usize,
        mut bytes: Vec<u8>,
        expected: u64,
    ) -> Option<Self> {
        let sample = bytes.get(number_at + NUMBER_LEN..number_at + NUMBER_LEN + TAG_LEN)?.to_vec();
        let (head, tail) = bytes.split_at_mut(number_at);
        key.decrypt_in_place(&sample, &mut head[0], &mut tail[..NUMBER_LEN]).ok()?;
        let length = usize::from(bytes[0] & 3) + 1;
        let short = bytes[number_at..number_at + length].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let window = 1u64 << (8 * length);
        // The number with these low bits that is nearest to the expected one.
        let mut number = (expected & !(window - 1)) | short;
        if number + window / 2 <= expected {
            number += window;
        } else if number > expected + window / 2 && number >= window {
            number -= window;
        }
        let sealed = bytes.split_off(number_at + length);
        Some(Self { number, phase: bytes[0] & 4 != 0, header: bytes, sealed })
    }

    /// The frames; nothing if they are not under this key.
    pub(crate) fn opened(&self, key: &dyn PacketKey) -> Option<Vec<u8>> {
        let mut payload = self.sealed.clone();
        Some(key.decrypt_in_place(self.number, &self.header, &mut payload).ok()?.to_vec())
    }
}
