//! Signatures that a holder of the key bends: S + L, and S for an R of our own choice (RFC 8032, 5.1.6 by hand).

use ring::digest::{SHA512, digest};

use super::keys::Key;

/// Order of the base point, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The second spelling of the neutral point, with y = p + 1.
pub(crate) const NEUTRAL_AGAIN: [u8; 32] = {
    let mut point = [0xff; 32];
    point[0] = 0xee;
    point[31] = 0x7f;
    point
};

/// The same signature with S + L, which solves the same equation.
pub(crate) fn plus_order(signature: &[u8; 64]) -> [u8; 64] {
    let mut bent = *signature;
    let mut carry = 0u16;
    for (byte, more) in bent[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "S is below L, so S + L fits");
    bent
}

/// A signature with R = `point`, which must spell the neutral point: then S = H(R, A, M) a solves the equation.
pub(crate) fn with_neutral(key: &Key, message: &[u8], point: &[u8; 32]) -> [u8; 64] {
    let challenge = digest(&SHA512, &[point.as_slice(), &key.public(), message].concat());
    let s = product(&reduced(challenge.as_ref()), &reduced(&secret_scalar(key)));
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(point);
    signature[32..].copy_from_slice(&s);
    signature
}

// The clamped scalar of a seed.
fn secret_scalar(key: &Key) -> [u8; 32] {
    let mut scalar: [u8; 32] = digest(&SHA512, key.seed()).as_ref()[..32].try_into().expect("32 of 64 bytes");
    scalar[0] &= 0xf8;
    scalar[31] = scalar[31] & 0x7f | 0x40;
    scalar
}

// 2a + bit, below L.
fn doubled(a: &[u8; 32], bit: u8) -> [u8; 32] {
    let mut sum = *a;
    let mut carry = bit;
    for byte in &mut sum {
        let next = *byte >> 7;
        *byte = *byte << 1 | carry;
        carry = next;
    }
    minus_order(sum)
}

fn minus_order(mut a: [u8; 32]) -> [u8; 32] {
    if a.iter().rev().lt(ORDER.iter().rev()) {
        return a;
    }
    let mut borrow = 0i16;
    for (byte, less) in a.iter_mut().zip(ORDER) {
        let difference = i16::from(*byte) - i16::from(less) - borrow;
        borrow = i16::from(difference < 0);
        *byte = difference.rem_euclid(256).to_le_bytes()[0];
    }
    a
}

// Bits of a little-endian number, highest first.
fn bits(number: &[u8]) -> impl Iterator<Item = u8> + '_ {
    number.iter().rev().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
}

fn reduced(number: &[u8]) -> [u8; 32] {
    bits(number).fold([0; 32], |sum, bit| doubled(&sum, bit))
}

fn product(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    bits(a).fold([0; 32], |sum, bit| {
        let sum = doubled(&sum, 0);
        if bit == 0 { sum } else { plus(&sum, b) }
    })
}

fn plus(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut sum = *a;
    let mut carry = 0u16;
    for (byte, more) in sum.iter_mut().zip(b) {
        let next = u16::from(*byte) + u16::from(*more) + carry;
        *byte = next.to_le_bytes()[0];
        carry = next >> 8;
    }
    minus_order(sum)
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    /// The neutral point.
    const NEUTRAL: [u8; 32] = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };

    #[test]
    fn a_signature_with_the_neutral_point_solves_the_equation_and_its_second_spelling_is_the_only_fault() {
        for seed in 1..5 {
            let key = Key::from_seed([seed; 32]);
            let public = UnparsedPublicKey::new(&ED25519, key.public());
            assert!(public.verify(b"message", &with_neutral(&key, b"message", &NEUTRAL)).is_ok());
            assert!(public.verify(b"message", &with_neutral(&key, b"message", &NEUTRAL_AGAIN)).is_err());
            assert!(public.verify(b"message", &plus_order(&key.sign_raw(b"message"))).is_err());
        }
    }

    #[test]
    fn l_is_zero_and_l_plus_one_is_one() {
        assert_eq!(reduced(&ORDER), [0; 32]);
        let mut next = ORDER;
        next[0] += 1;
        assert_eq!(reduced(&next), NEUTRAL);
        assert_eq!(product(&reduced(&[7]), &reduced(&[9])), reduced(&[63]));
    }
}
