//! The bytes of `docs/wire.md`, written and read by hand: nothing here knows the product's own encoder, frames or messages.

pub(crate) mod compressed;
pub(crate) mod fields;
pub(crate) mod frames;
pub(crate) mod keys;
pub(crate) mod messages;
pub(crate) mod replies;
pub(crate) mod scalar;
#[cfg(test)]
mod vectors;

/// Protocol version of everything that is in order.
pub(crate) const PROTOCOL: u16 = 1;
/// Stream bytes of the reply classes 0 to 4.
pub(crate) const CLASS_BYTES: [usize; 5] = [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// What a class leaves for head, frame headers and `end`.
pub(crate) const CLASS_OVERHEAD: usize = 8192;

/// The class that a slice, or a head's payload, is brought to.
///
/// # Panics
/// If it fits no class.
pub(crate) fn class_of(length: usize) -> u8 {
    let found = CLASS_BYTES.iter().position(|size| length + CLASS_OVERHEAD <= *size).expect("fits a class");
    u8::try_from(found).expect("five classes")
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits.
///
/// # Panics
/// If the text is no hex.
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "an odd number of digits");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex digits")).collect()
}
