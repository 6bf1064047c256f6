//! Names of members, questions, requests and documents.

use std::{fmt, str::FromStr};

use bincode::{
    Decode, Encode,
    de::Decoder,
    enc::Encoder,
    error::{DecodeError, EncodeError},
};

use crate::codec::Text;

/// A member's name: ISO 3166 alpha-2, `-`, a short name; `[A-Z0-9-]{3,24}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(String);

/// Why a text is not a member's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a member's name: two letters of the country, `-`, then capitals, digits or `-`, at most 24 in all"
)]
pub struct NotAMember(String);

impl NodeId {
    /// The member's country, ISO 3166 alpha-2.
    pub fn country(&self) -> &str {
        self.0.split_once('-').map_or("", |(country, _)| country)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = NotAMember;
    fn from_str(text: &str) -> Result<Self, NotAMember> {
        let shown = || NotAMember(text.chars().take(40).flat_map(char::escape_default).collect());
        let (country, name) = text.split_once('-').ok_or_else(shown)?;
        let fits = text.len() <= 24
            && country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(shown()) }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Encode for NodeId {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C> Decode<C> for NodeId {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let text = Text::<24>::decode(decoder)?;
        text.as_str().parse().map_err(|_| DecodeError::Other("not a member's name"))
    }
}

bincode::impl_borrow_decode!(NodeId);

/// Declares an identifier of fixed size, shown as lower-case hex.
macro_rules! hex_id {
    ($(#[$meta:meta])* $name:ident, $size:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// All bytes zero: "none" where the wire says that zero means none.
            pub const ZERO: Self = Self([0; $size]);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = NotHex;
            fn from_str(text: &str) -> Result<Self, NotHex> {
                let bytes = from_hex(text).ok_or(NotHex { digits: $size * 2 })?;
                bytes.try_into().map(Self).map_err(|_| NotHex { digits: $size * 2 })
            }
        }
    };
}

/// Why a text is not an identifier in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hex digits")]
pub struct NotHex {
    /// How many digits the identifier has.
    pub digits: usize,
}

hex_id!(
    /// A SHA-256 digest.
    Hash, 32
);
hex_id!(
    /// A request's identifier: random, fresh for each audience.
    RequestId, 16
);
hex_id!(
    /// An officer's pseudonym.
    OfficerId, 16
);
hex_id!(
    /// The identifier by which the asker alone groups the requests of one question.
    QuestionId, 16
);

impl Hash {
    /// SHA-256 of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        Self(out)
    }
}

/// Lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// Bytes of lower-case hex; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_by_country_and_short_name() {
        for good in ["ES-AGENCY", "US-DEA", "IT-A1-B"] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        for bad in
            ["", "ES", "ES-", "es-agency", "ESP-A", "ES-A_B", "ES-ABCDEFGHIJKLMNOPQRSTUVW", "ЕS-A", "../x", "E1-A"]
        {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hex_goes_both_ways_and_takes_no_other_spelling() {
        assert_eq!(from_hex(&to_hex(&[0, 255, 16])).unwrap(), [0, 255, 16]);
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("FF"), None);
        assert!("00".parse::<Hash>().is_err());
    }
}
