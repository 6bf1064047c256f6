//! Certificates and public keys that an Accord node must not take, written as DER by hand.

use crate::{dice::Dice, stage::Key, tls::spki};

/// Object identifiers, as their contents.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x2b, 0x65, 0x71];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    if contents.len() < 0x80 {
        out.push(contents.len().to_le_bytes()[0]);
    } else {
        out.push(0x80 | significant.len().to_le_bytes()[0]);
        out.extend(significant);
    }
    out.extend(contents);
    out
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

fn bits(contents: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], contents].concat())
}

fn name(text: &str) -> Vec<u8> {
    let attribute = sequence(&[value(OBJECT, COMMON_NAME), value(UTF8, text.as_bytes())]);
    sequence(&[value(SET, &attribute)])
}

/// A self-signed X.509 certificate of an Ed25519 key; times as `YYMMDDHHMMSSZ`.
pub(crate) fn certificate(key: &Key, not_before: &str, not_after: &str) -> Vec<u8> {
    let algorithm = sequence(&[value(OBJECT, ED25519)]);
    let validity = sequence(&[value(UTC_TIME, not_before.as_bytes()), value(UTC_TIME, not_after.as_bytes())]);
    let version = value(0xa0, &value(INTEGER, &[2]));
    let signed = sequence(&[
        version,
        value(INTEGER, &[1]),
        algorithm.clone(),
        name("accord"),
        validity,
        name("accord"),
        spki(key.public()),
    ]);
    let signature = bits(&key.sign(&signed));
    sequence(&[signed, algorithm, signature])
}

/// The public key of a P-256 point in its uncompressed form.
pub(crate) fn p256(point: &[u8]) -> Vec<u8> {
    sequence(&[sequence(&[value(OBJECT, EC), value(OBJECT, P256)]), bits(point)])
}

/// A public key with the algorithm identifier and the size of Ed448.
pub(crate) fn ed448(dice: &mut Dice) -> Vec<u8> {
    sequence(&[sequence(&[value(OBJECT, ED448)]), bits(&dice.bytes(57))])
}

/// A public key with the algorithm identifier and the size of RSA with 2,048 bits.
pub(crate) fn rsa(dice: &mut Dice) -> Vec<u8> {
    let mut modulus = dice.bytes(256);
    modulus[0] |= 0x80;
    modulus[255] |= 1;
    let numbers = sequence(&[value(INTEGER, &[&[0], modulus.as_slice()].concat()), value(INTEGER, &[1, 0, 1])]);
    sequence(&[sequence(&[value(OBJECT, RSA), value(0x05, &[])]), bits(&numbers)])
}
