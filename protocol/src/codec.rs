//! The one encoding: bincode, big-endian, fixed width, with a cap, nothing left over, one spelling per value.
//!
//! Sums travel as numbers (see [`codes!`](crate::codes)), never as enums derived by bincode, which would write the variant
//! *index*. There are no floats, maps or recursive types in anything that passes through here.

use bincode::{
    Decode, Encode,
    config::{BigEndian, Configuration, Fixint, Limit},
    de::Decoder,
    enc::Encoder,
    error::{DecodeError, EncodeError},
};

/// Largest encoded size of one value in bytes, by kind of message (`wire.md` D1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// Heads of 1 KiB: fetch, view, watch.
    Small,
    /// Heads of 64 KiB: requests, answers, everything people send.
    Head,
    /// Documents of 1 MiB: rosters, catalogues.
    Document,
    /// Sets of documents that somebody hands in, 8 MiB.
    Set,
}

impl Cap {
    /// The cap in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 1 << 10,
            Self::Head => 64 << 10,
            Self::Document => 1 << 20,
            Self::Set => 8 << 20,
        }
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes do not decode, or hold a value outside its declared bounds.
    #[error("does not decode: {0}")]
    Decode(String),
    /// Bytes are left over behind the value.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// The value has another, canonical spelling.
    #[error("not in canonical form")]
    NotCanonical,
    /// Larger than the cap of its kind.
    #[error("{got} bytes, at most {max} allowed")]
    TooLarge {
        /// Bytes received.
        got: usize,
        /// The cap.
        max: usize,
    },
}

// bincode's limit counts in-memory size, so it is four times the cap in bytes.
const fn config<const LIMIT: usize>() -> Configuration<BigEndian, Fixint, Limit<LIMIT>> {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// Encodes a value.
///
/// # Errors
/// Fails only if the value is larger than [`Cap::Document`].
#[expect(clippy::disallowed_methods, reason = "the one place where the encoding is chosen")]
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, Malformed> {
    let bytes =
        bincode::encode_to_vec(value, config::<{ 4 << 20 }>()).map_err(|error| Malformed::Decode(error.to_string()))?;
    if bytes.len() > Cap::Document.bytes() {
        return Err(Malformed::TooLarge { got: bytes.len(), max: Cap::Document.bytes() });
    }
    Ok(bytes)
}

/// Decodes a value: within the cap, every byte used, and its re-encoding equal to the input.
#[expect(clippy::disallowed_methods, reason = "the one place where the encoding is chosen")]
pub fn decode<T: Encode + Decode<()>>(bytes: &[u8], cap: Cap) -> Result<T, Malformed> {
    if bytes.len() > cap.bytes() {
        return Err(Malformed::TooLarge { got: bytes.len(), max: cap.bytes() });
    }
    let decoded: Result<(T, usize), DecodeError> = match cap {
        Cap::Small => bincode::decode_from_slice(bytes, config::<{ 4 << 10 }>()),
        Cap::Head => bincode::decode_from_slice(bytes, config::<{ 256 << 10 }>()),
        Cap::Document => bincode::decode_from_slice(bytes, config::<{ 4 << 20 }>()),
        Cap::Set => bincode::decode_from_slice(bytes, config::<{ 32 << 20 }>()),
    };
    let (value, used) = decoded.map_err(|error| Malformed::Decode(error.to_string()))?;
    if used != bytes.len() {
        return Err(Malformed::Trailing(bytes.len() - used));
    }
    if encode(&value)? != bytes {
        return Err(Malformed::NotCanonical);
    }
    Ok(value)
}

/// What a list that only claims to be long can have reserved.
const RESERVED_BYTES: usize = 4 << 10;

/// A list with a declared maximum, refused before anything is allocated for a longer one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounded<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// Makes a bounded list; `None` if it is too long.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }

    /// The items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Iterates over the items.
    #[expect(clippy::iter_without_into_iter, reason = "`for x in &list` is not used; one way is enough")]
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<T: Ord, const MAX: usize> Bounded<T, MAX> {
    /// Makes a sorted list without repetitions; `None` if it is too long or holds an item twice.
    pub fn sorted(mut items: Vec<T>) -> Option<Self> {
        items.sort();
        let list = Self::new(items)?;
        list.is_sorted_unique().then_some(list)
    }

    /// Whether the items are strictly ascending.
    pub fn is_sorted_unique(&self) -> bool {
        self.0.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
    }
}

impl<T: Encode, const MAX: usize> Encode for Bounded<T, MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        // The length as eight bytes, then each item; bytes in one piece.
        self.0.encode(encoder)
    }
}

impl<C, T: Decode<C>, const MAX: usize> Decode<C> for Bounded<T, MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let length = u64::decode(decoder)?;
        let length = usize::try_from(length).ok().filter(|&length| length <= MAX);
        let Some(length) = length else {
            return Err(DecodeError::Other("list longer than its declared maximum"));
        };
        // No more is reserved by the claimed length than this: memory grows with bytes that were really received.
        let mut items = Vec::with_capacity(length.min(RESERVED_BYTES / size_of::<T>().max(1)));
        for _ in 0..length {
            items.push(T::decode(decoder)?);
        }
        Ok(Self(items))
    }
}

impl<'de, C, T: Decode<C>, const MAX: usize> bincode::BorrowDecode<'de, C> for Bounded<T, MAX> {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// Printable ASCII with a declared maximum length in bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Makes a text; `None` if it is too long or holds anything but printable ASCII.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= MAX && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Encode for Text<MAX> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C, const MAX: usize> Decode<C> for Text<MAX> {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let bytes = Bounded::<u8, MAX>::decode(decoder)?;
        std::str::from_utf8(bytes.as_slice())
            .ok()
            .and_then(Self::new)
            .ok_or(DecodeError::Other("text is not printable ASCII"))
    }
}

impl<'de, C, const MAX: usize> bincode::BorrowDecode<'de, C> for Text<MAX> {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// Declares codes that travel as a number and are shown as a word.
///
/// The enum does not implement bincode's derives: it is written as its number, and an unknown number does not decode.
#[macro_export]
macro_rules! codes {
    ($(#[$meta:meta])* pub enum $name:ident: $repr:ty { $($(#[$vmeta:meta])* $variant:ident = $number:literal $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every code, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            pub const fn number(self) -> $repr {
                match self { $(Self::$variant => $number,)+ }
            }

            /// The word shown to people and written in files.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The code of a number on the wire, if there is one.
            pub const fn from_number(number: $repr) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }

            /// The code of a word, if there is one.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                self.number().encode(encoder)
            }
        }

        impl<C> bincode::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
                let number = <$repr as bincode::Decode<C>>::decode(decoder)?;
                Self::from_number(number).ok_or(bincode::error::DecodeError::Other(concat!("unknown code of ", stringify!($name))))
            }
        }

        bincode::impl_borrow_decode!($name);
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::refusal::Refusal;

    #[test]
    fn a_code_is_its_number_and_an_unknown_number_does_not_decode() {
        assert_eq!(encode(&Refusal::Edition).unwrap(), [0, 7]);
        assert_eq!(decode::<Refusal>(&[0, 1], Cap::Head).unwrap(), Refusal::Auth);
        for unknown in [[0, 0], [0, 12], [1, 1], [0xff, 0xff]] {
            assert!(matches!(decode::<Refusal>(&unknown, Cap::Head), Err(Malformed::Decode(_))));
        }
        for code in Refusal::ALL {
            assert_eq!(Refusal::from_number(code.number()), Some(*code));
            assert_eq!(Refusal::from_word(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn leftover_bytes_truncation_and_oversize_are_refused() {
        let bytes = encode(&(7u32, Text::<8>::new("abc").unwrap())).unwrap();
        assert!(decode::<(u32, Text<8>)>(&bytes, Cap::Small).is_ok());
        for cut in 0..bytes.len() {
            assert!(decode::<(u32, Text<8>)>(&bytes[..cut], Cap::Small).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<(u32, Text<8>)>(&longer, Cap::Small), Err(Malformed::Trailing(1)));
        assert!(matches!(decode::<Bounded<u8, 4000>>(&[0; 2000], Cap::Small), Err(Malformed::TooLarge { .. })));
    }

    #[test]
    fn a_claimed_length_beyond_the_maximum_is_refused_before_allocation() {
        let mut bytes = (1u64 << 40).to_be_bytes().to_vec();
        bytes.extend([0; 64]);
        assert!(matches!(decode::<Bounded<u8, 16>>(&bytes, Cap::Head), Err(Malformed::Decode(_))));
        assert!(matches!(decode::<Text<16>>(&bytes, Cap::Head), Err(Malformed::Decode(_))));
    }

    #[test]
    fn text_is_printable_ascii() {
        assert!(Text::<3>::new("abcd").is_none());
        assert!(Text::<9>::new("é").is_none());
        assert!(Text::<9>::new("a\tb").is_none());
        assert_eq!(decode::<Text<4>>(&[0, 0, 0, 0, 0, 0, 0, 1, 0x1b], Cap::Head).ok(), None);
    }
}
