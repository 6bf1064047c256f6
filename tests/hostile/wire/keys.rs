//! Keys and signatures of the tests' own: out of a key ring's file or a seed, over `SIGN_INPUT` built by hand.

use std::path::Path;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::fields::Reader;

/// Bytes before the keys of a ring that has no passphrase: magic, kind, derivation, its cost, salt and nonce.
const RING_HEADER: usize = 8 + 1 + 1 + 12 + 16 + 12;

/// Roles of keys in a ring.
pub(crate) const ROLE_ADMIN: u8 = 2;
pub(crate) const ROLE_TLS: u8 = 3;
pub(crate) const ROLE_SIGN: u8 = 4;
pub(crate) const ROLE_OFFICER: u8 = 7;
pub(crate) const ROLE_OPERATOR: u8 = 8;

/// Every label with its number, as `docs/wire.md` 4 lists those in use.
pub(crate) const LABELS: [(&str, u16); 20] = [
    ("root", 1),
    ("roster", 2),
    ("member-keys", 3),
    ("officers", 4),
    ("staff", 5),
    ("policy", 6),
    ("catalogue", 7),
    ("topic", 10),
    ("approval", 11),
    ("standing", 12),
    ("withdraw", 13),
    ("key-claim", 14),
    ("request-body", 16),
    ("request", 17),
    ("answer", 18),
    ("status", 19),
    ("receipt", 20),
    ("edition", 21),
    ("view", 22),
    ("backup", 23),
];

/// A label's number.
///
/// # Panics
/// If the label is not in use.
pub(crate) fn label_number(label: &str) -> u16 {
    LABELS.iter().find(|(word, _)| *word == label).expect("a label in use").1
}

/// The exact bytes under a signature.
pub(crate) fn sign_input(label: &str, federation: &[u8; 32], payload: &[u8]) -> Vec<u8> {
    let mut input = b"accord/1 ".to_vec();
    input.extend_from_slice(label.as_bytes());
    input.push(0);
    input.extend_from_slice(federation);
    input.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    input.extend_from_slice(payload);
    input
}

/// Whether a key signed a payload under a label.
pub(crate) fn verifies(
    key: &[u8; 32],
    label: &str,
    federation: &[u8; 32],
    payload: &[u8],
    signature: &[u8; 64],
) -> bool {
    let input = sign_input(label, federation, payload);
    UnparsedPublicKey::new(&ED25519, key).verify(&input, signature).is_ok()
}

/// A private key with its seed, so that signatures can also be made by hand.
pub(crate) struct Key {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        Self::from_seed(self.seed)
    }
}

impl Key {
    /// The key of a seed (RFC 8032).
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, pair: Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed of 32 bytes") }
    }

    /// A fresh key.
    pub(crate) fn fresh() -> Self {
        Self::from_seed(random())
    }

    /// The key of a role in a ring without a passphrase.
    ///
    /// # Panics
    /// If the file is no such ring, or holds no such key.
    pub(crate) fn of_ring(path: &Path, role: u8) -> Self {
        let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (header, keys) = file.split_at(RING_HEADER);
        assert!(header.starts_with(b"ACCDKEY1") && header[9] == 0, "{} is no open ring", path.display());
        let keys = Reader::new(keys).list(|reader| Ok((reader.u8()?, reader.bytes()?.to_vec()))).expect("a ring");
        let (_, pkcs8) = keys.iter().find(|(has, _)| *has == role).expect("a key of that role");
        // PKCS#8 of an Ed25519 key (RFC 8410): 16 bytes, then the seed.
        Self::from_seed(pkcs8[16..48].try_into().expect("a seed"))
    }

    /// The seed.
    pub(crate) const fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public part.
    pub(crate) fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("32 bytes")
    }

    /// Signs bytes as they are.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().expect("64 bytes")
    }

    /// Signs a payload under a label.
    pub(crate) fn sign(&self, label: &str, federation: &[u8; 32], payload: &[u8]) -> [u8; 64] {
        self.sign_raw(&sign_input(label, federation, payload))
    }
}

/// Random bytes.
pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).expect("the system's randomness");
    bytes
}

/// Under each of these keys the fixed [`FORGED`] verifies any message in a verifier that does not look: the 14 encodings of the
/// points of low order.
pub(crate) fn low_order_keys() -> Vec<[u8; 32]> {
    let mut keys = Vec::new();
    // y = 0, 1, p - 1, p, p + 1, and the two of order eight.
    let (small, large) = (
        |first: u8| [[first].as_slice(), &[0; 31]].concat(),
        |first: u8| [[first].as_slice(), &[0xff; 30], &[0x7f]].concat(),
    );
    let of_order_eight = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let all = [small(0), small(1), large(0xec), large(0xed), large(0xee)];
    for key in all.into_iter().chain(of_order_eight.map(super::from_hex)) {
        let key: [u8; 32] = key.try_into().expect("32 bytes");
        let mut signed = key;
        signed[31] |= 0x80;
        keys.extend([key, signed]);
    }
    keys
}

/// Keys that are second spellings of others: y from p + 2 to 2^255 - 1.
pub(crate) fn second_spellings() -> Vec<[u8; 32]> {
    (0xef..=0xff)
        .map(|first| {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (first, 0x7f);
            key
        })
        .collect()
}

/// R = the base point, S = 1: what verifies under a key of low order whenever the hash is a multiple of its order.
pub(crate) const FORGED: [u8; 64] = {
    let mut forged = [0; 64];
    forged[0] = 0x58;
    let mut at = 1;
    while at < 32 {
        forged[at] = 0x66;
        at += 1;
    }
    forged[32] = 1;
    forged
};
