//! Edits of byte strings: what somebody without the keys can do to something that was signed.

use crate::input::Input;

/// Changes bytes once, as the input says: where, how, and with what.
pub fn edit(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let at = input.below(bytes.len() + 1);
    let to = |count: usize| (at + count).min(bytes.len());
    match input.below(6) {
        0 => {
            let new = input.string();
            let end = to(new.len());
            bytes.splice(at..end, new.iter().copied());
        }
        1 => drop(bytes.splice(at..at, input.string().iter().copied())),
        2 => drop(bytes.drain(at..to(usize::from(input.byte())))),
        3 => bytes.truncate(at),
        4 => {
            let mask = 1 << input.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
        // Lengths, counts and times are eight bytes: a power of two, or one less.
        _ => {
            let number =
                1u64.checked_shl(u32::from(input.byte())).unwrap_or(0).wrapping_sub(u64::from(input.byte() & 1));
            let end = to(8);
            bytes.splice(at..end, number.to_be_bytes());
        }
    }
}
