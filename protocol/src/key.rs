//! Ed25519 keys, signatures, and fingerprints to read out by telephone.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode, de::Decoder, error::DecodeError};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::id::{Hash, NotHex, from_hex, to_hex};

/// An Ed25519 public key that is safe to verify with: canonical and not of low order.
///
/// ring accepts the 14 low-order encodings, under which one fixed forged signature verifies any message; so no such value of
/// this type exists (`trust.md` 2.7, K8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
pub struct PublicKey([u8; 32]);

/// Why 32 bytes are not a key to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// One of the 14 encodings of a point of low order.
    #[error("the key is a point of low order, under which anybody can sign")]
    LowOrder,
    /// A second spelling of some other key.
    #[error("the key is not in canonical form")]
    NotCanonical,
}

/// The two low-order points of order 8, without the sign bit.
const ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

impl TryFrom<[u8; 32]> for PublicKey {
    type Error = WeakKey;
    fn try_from(bytes: [u8; 32]) -> Result<Self, WeakKey> {
        let [first, middle @ .., last] = bytes;
        let y_top = last & 0x7f;
        // y is 0, 1, p - 1, p, p + 1 (little-endian, sign bit cleared), or one of the two points of order 8.
        let small = middle == [0; 30] && y_top == 0 && first <= 1;
        let near_p = middle == [0xff; 30] && y_top == 0x7f;
        let mut unsigned = bytes;
        if let Some(byte) = unsigned.last_mut() {
            *byte = y_top;
        }
        if small || (near_p && (0xec..=0xee).contains(&first)) || ORDER_EIGHT.contains(&unsigned) {
            return Err(WeakKey::LowOrder);
        }
        if near_p && first >= 0xed {
            return Err(WeakKey::NotCanonical);
        }
        Ok(Self(bytes))
    }
}

impl PublicKey {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the signature is this key's over these exact bytes.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, &signature.0).is_ok()
    }

    /// The key as a short string, `role` and `member` said with it: 8 groups of 5 digits.
    pub fn fingerprint(&self, role: &str, member: &str) -> String {
        fingerprint(role, member, &self.0)
    }
}

/// 8 groups of 5 decimal digits: the first 132 bits of SHA-256 over role, member and key, each with its length before it.
pub fn fingerprint(role: &str, member: &str, key: &[u8; 32]) -> String {
    let mut text = Vec::new();
    for part in [role.as_bytes(), member.as_bytes(), key] {
        text.extend((part.len() as u64).to_be_bytes());
        text.extend(part);
    }
    let Hash(digest) = Hash::of(&text);
    // 132 bits are 16 bytes and a half: base-16 digits into base-100000 digits by long multiplication.
    let mut groups = [0u32; 8];
    for nibble in digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(33) {
        let mut carry = u32::from(nibble);
        for group in groups.iter_mut().rev() {
            let value = *group * 16 + carry;
            *group = value % 100_000;
            carry = value / 100_000;
        }
    }
    groups.map(|group| format!("{group:05}")).join(" ")
}

impl<C> Decode<C> for PublicKey {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let bytes = <[u8; 32]>::decode(decoder)?;
        Self::try_from(bytes).map_err(|_| DecodeError::Other("low-order or non-canonical key"))
    }
}

bincode::impl_borrow_decode!(PublicKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// Why a text is not a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Not 64 hex digits.
    #[error(transparent)]
    Hex(#[from] NotHex),
    /// A key that must not be trusted.
    #[error(transparent)]
    Weak(#[from] WeakKey),
}

impl FromStr for PublicKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bytes = from_hex(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or(NotHex { digits: 64 })?;
        Ok(Self::try_from(bytes)?)
    }
}

/// An Ed25519 signature; says nothing until a key verifies it.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// A private key. It is never encoded, shown or compared; ring wipes nothing, so its owner keeps it in one place.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// Why bytes are not a usable private key; says no more, so that it tells nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a usable Ed25519 private key (PKCS#8 version 2)")]
pub struct BadPrivateKey;

impl SigningKey {
    /// Reads a PKCS#8 v2 document, in which the public part is checked against the private one.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, BadPrivateKey> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| BadPrivateKey)?;
        let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| BadPrivateKey)?;
        let public = PublicKey::try_from(public).map_err(|_| BadPrivateKey)?;
        Ok(Self { pair, public })
    }

    /// The public part.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs exact bytes. Callers outside [`crate::signed`] are the TLS handshake alone, whose texts begin with 64 spaces and so
    /// never collide with ours.
    pub fn sign_raw(&self, message: &[u8]) -> Signature {
        let mut out = [0; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        Signature(out)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low_order() -> Vec<[u8; 32]> {
        let pad = |first: u8, fill: u8, last: u8| {
            let mut bytes = [fill; 32];
            bytes[0] = first;
            bytes[31] = last;
            bytes
        };
        let mut list = vec![
            pad(1, 0, 0),
            pad(1, 0, 0x80),
            pad(0xee, 0xff, 0x7f),
            pad(0xee, 0xff, 0xff),
            pad(0xec, 0xff, 0x7f),
            pad(0xec, 0xff, 0xff),
            pad(0, 0, 0),
            pad(0, 0, 0x80),
            pad(0xed, 0xff, 0x7f),
            pad(0xed, 0xff, 0xff),
        ];
        for point in ORDER_EIGHT {
            let mut signed = point;
            signed[31] |= 0x80;
            list.extend([point, signed]);
        }
        list
    }

    #[test]
    fn the_forged_signature_verifies_under_a_low_order_key_and_so_no_such_key_exists() {
        let mut forged = [0; 64];
        forged[0] = 0x58;
        forged[1..32].fill(0x66);
        forged[32] = 1;
        let list = low_order();
        assert_eq!(list.len(), 14);
        // ring itself is fooled: the reason for the check.
        assert!(UnparsedPublicKey::new(&ED25519, list[0]).verify(b"anything", &forged).is_ok());
        for key in list {
            assert_eq!(PublicKey::try_from(key), Err(WeakKey::LowOrder));
            assert!(crate::codec::decode::<PublicKey>(&key, crate::codec::Cap::Small).is_err());
        }
    }

    #[test]
    fn a_second_spelling_of_a_key_is_refused() {
        let mut bytes = [0xff; 32];
        bytes[31] = 0x7f;
        for first in 0xef..=0xff {
            bytes[0] = first;
            assert_eq!(PublicKey::try_from(bytes), Err(WeakKey::NotCanonical));
        }
    }

    #[test]
    fn a_fingerprint_is_eight_groups_and_depends_on_all_three() {
        let key = [7; 32];
        let print = fingerprint("tls", "ES-AGENCY", &key);
        assert_eq!(print.split(' ').map(str::len).collect::<Vec<_>>(), [5; 8]);
        assert_ne!(print, fingerprint("sign", "ES-AGENCY", &key));
        assert_ne!(print, fingerprint("tls", "IT-AGENCY", &key));
        assert_ne!(print, fingerprint("tls", "ES-AGENCY", &[8; 32]));
        // Moving a byte from one part to the next changes it: lengths are hashed too.
        assert_ne!(fingerprint("ab", "c", &key), fingerprint("a", "bc", &key));
    }
}
