//! Bech32 (BIP 173) without its limit of length, as age writes recipients and identities with it.

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
/// Characters of the checksum.
const CHECKSUM: usize = 6;
/// Longest text that is looked at; the longest that is wanted has 74 characters.
const TEXT_MAX: usize = 128;

fn polymod(values: impl IntoIterator<Item = u8>) -> u32 {
    values.into_iter().fold(1, |sum, value| {
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let bits = GENERATOR.iter().enumerate().filter(|(bit, _)| sum >> 25 >> bit & 1 == 1);
        bits.fold(next, |next, (_, generator)| next ^ generator)
    })
}

fn expanded(prefix: &str) -> impl Iterator<Item = u8> {
    prefix.bytes().map(|byte| byte >> 5).chain([0]).chain(prefix.bytes().map(|byte| byte & 31))
}

// Groups of bits of one size as groups of another, most significant first; nothing if what is left over is no padding.
fn regroup(from: u32, to: u32, values: impl IntoIterator<Item = u8>, pad: bool) -> Option<Vec<u8>> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
    let group = |held: u32, shift: u32| u8::try_from(held >> shift & ((1 << to) - 1)).unwrap_or_default();
    for value in values {
        held = (held << from | u32::from(value)) & 0xfff;
        bits += from;
        while bits >= to {
            bits -= to;
            out.push(group(held, bits));
        }
    }
    if pad {
        if bits > 0 {
            out.push(group(held << (to - bits), 0));
        }
        return Some(out);
    }
    (bits < from && held & ((1 << bits) - 1) == 0).then_some(out)
}

/// Writes bytes under a prefix, in lower case.
pub(super) fn write(prefix: &str, bytes: &[u8]) -> String {
    let values = regroup(8, 5, bytes.iter().copied(), true).unwrap_or_default();
    let sum = polymod(expanded(prefix).chain(values.iter().copied()).chain([0; CHECKSUM])) ^ 1;
    let checksum =
        (0..CHECKSUM).map(|place| u8::try_from(sum >> (5 * (CHECKSUM - 1 - place)) & 31).unwrap_or_default());
    let letters = values.iter().copied().chain(checksum);
    let letters = letters.filter_map(|value| LETTERS.get(usize::from(value))).map(|letter| char::from(*letter));
    format!("{prefix}1{}", letters.collect::<String>())
}

/// Reads what was written under a prefix, in one case or the other; nothing for anything else.
pub(super) fn read(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let is_one_case =
        text.bytes().all(|byte| !byte.is_ascii_uppercase()) || text.bytes().all(|byte| !byte.is_ascii_lowercase());
    if text.len() > TEXT_MAX || !is_one_case {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let letters = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let place = |letter: u8| LETTERS.iter().position(|one| *one == letter).and_then(|place| u8::try_from(place).ok());
    let values: Vec<u8> = letters.bytes().map(place).collect::<Option<_>>()?;
    if polymod(expanded(prefix).chain(values.iter().copied())) != 1 {
        return None;
    }
    let values = values.get(..values.len().checked_sub(CHECKSUM)?)?;
    regroup(5, 8, values.iter().copied(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_every_other_letter_is_noticed() {
        for length in [0usize, 1, 2, 19, 32, 33] {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at * 37 % 256).unwrap()).collect();
            let text = write("age", &bytes);
            assert_eq!(read("age", &text), Some(bytes.clone()), "{text}");
            assert_eq!(read("age", &text.to_ascii_uppercase()), Some(bytes), "{text}");
            assert_eq!(read("agf", &text), None);
            for at in 0..text.len() {
                let mut bad = text.clone().into_bytes();
                bad[at] = if bad[at] == b'q' { b'p' } else { b'q' };
                assert_eq!(read("age", std::str::from_utf8(&bad).unwrap()), None, "{at} of {text}");
            }
            assert_eq!(read("age", &text[..text.len() - 1]), None);
        }
        // Valid and invalid words of BIP 173.
        assert_eq!(read("a", "A12UEL5L"), Some(Vec::new()));
        for bad in ["A12uEL5L", "a12uel5m", "1nwldj5", "a1", "age1", ""] {
            assert_eq!(read("a", bad), None, "{bad}");
        }
    }
}
