//! Bytes inside containers of gzip (RFC 1952) and Zstandard (RFC 8878), stored as they are: what a reader that unpacks would accept.

/// A gzip member with one stored block.
///
/// # Panics
/// Above 65,535 bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("one stored block");
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    all.extend(length.to_le_bytes());
    all.extend((!length).to_le_bytes());
    all.extend(bytes);
    all.extend(crc32(bytes).to_le_bytes());
    all.extend(u32::from(length).to_le_bytes());
    all
}

/// A Zstandard frame with one raw block.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("one raw block");
    // One segment, its size in four bytes, no checksum.
    let mut all = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    all.extend(length.to_le_bytes());
    all.extend(&(length << 3 | 1).to_le_bytes()[..3]);
    all.extend(bytes);
    all
}

fn crc32(bytes: &[u8]) -> u32 {
    let shifted = |value: u32| (0..8).fold(value, |value, _| (value >> 1) ^ (0xedb8_8320 * (value & 1)));
    !bytes.iter().fold(!0, |value, byte| (value >> 8) ^ shifted((value ^ u32::from(*byte)) & 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_are_those_of_the_standards() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of the polynomial");
        assert_eq!(crate::wire::hex(&zstd(b"abc")), "28b52ffda003000000190000616263");
        assert_eq!(crate::wire::hex(&gzip(b"abc")), "1f8b08000000000000ff010300fcff616263c241243503000000");
    }
}
