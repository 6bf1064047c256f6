//! A key ring on disk: all private keys of one person or node in one file (`trust.md` 2.5).
//!
//! `magic "ACCDKEY1" | ring u8 | kdf u8 | m KiB u32 | t u32 | p u32 | salt[16] | nonce[12] | sealed keys`, header as associated
//! data. kdf 1 is Argon2id over a passphrase and the keys are sealed with ChaCha20-Poly1305; kdf 2 the same with a random credential,
//! which needs no hardening, for services; kdf 0 is a ring that nothing seals, protected by its file mode alone.

use std::path::Path;

use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    id::to_hex,
    key::{PublicKey, SigningKey},
    member_keys::KeyRole,
};
use argon2::{Algorithm, Argon2, Params, Version};
use bincode::{Decode, Encode};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    files::{FileError, read_secret, write_atomically, write_new},
    random::{self, NoRandomness},
};

const MAGIC: &[u8; 8] = b"ACCDKEY1";
const HEADER_LEN: usize = 8 + 1 + 1 + 12 + 16 + 12;
/// Largest ring file in bytes.
const RING_MAX: u64 = 16_384;
const KDF_NONE: u8 = 0;
const KDF_ARGON2ID: u8 = 1;
const KDF_CREDENTIAL: u8 = 2;
/// Hex digits of a credential: 256 random bits, so that nothing is gained by guessing.
const CREDENTIAL_DIGITS: usize = 64;
/// Keys of one role that a ring holds: the one in use and the next.
const PER_ROLE_MAX: usize = 2;
/// RFC 9106 with more memory: 256 MiB, 3 passes, 4 lanes.
const ARGON_WRITE: Cost = Cost { memory_kib: 256 << 10, passes: 3, lanes: 4 };
/// What a ring must have cost at least, and may cost at most, to be opened: a weak or a hostile file is refused.
const ARGON_FLOOR: Cost = Cost { memory_kib: 64 << 10, passes: 3, lanes: 1 };
const ARGON_CEILING: Cost = Cost { memory_kib: 4 << 20, passes: 16, lanes: 16 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

accord_protocol::codes! {
    /// Whose ring it is; root keys and node keys never share one (K16).
    pub enum RingKind: u8 {
        /// A root holder's.
        Root = 1 "root",
        /// A node's.
        Node = 2 "node",
        /// A person's: administrator, officer, operator, approver or auditor.
        Person = 3 "person",
    }
}

impl RingKind {
    /// Whether a key of this role may be in such a ring (K16).
    pub const fn admits(self, role: KeyRole) -> bool {
        match role {
            KeyRole::Root => matches!(self, Self::Root),
            KeyRole::Tls | KeyRole::Sign | KeyRole::Log | KeyRole::Witness | KeyRole::Edition => {
                matches!(self, Self::Node)
            }
            KeyRole::Administrator | KeyRole::Officer | KeyRole::Operator | KeyRole::Approver | KeyRole::Auditor => {
                matches!(self, Self::Person)
            }
        }
    }
}

/// What seals a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal<'a> {
    /// Nothing but the file's mode.
    Open,
    /// What a person remembers.
    Passphrase(&'a str),
    /// What a machine keeps: 64 hex digits from [`new_credential`].
    Credential(&'a str),
}

/// The keys of one holder.
#[derive(Debug)]
pub struct KeyRing {
    /// Whose.
    pub kind: RingKind,
    keys: Vec<(KeyRole, SigningKey)>,
}

/// A random credential to seal a node's ring with; it belongs into systemd's credentials, not beside the ring.
pub fn new_credential() -> Result<Zeroizing<String>, NoRandomness> {
    Ok(Zeroizing::new(to_hex(&random::bytes::<32>()?)))
}

/// Why a ring cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Wrong passphrase or damaged file: one message, so that it tells nothing.
    #[error("the key ring does not open: wrong passphrase, or a damaged file")]
    DoesNotOpen,
    /// A passphrase is needed.
    #[error("the key ring is sealed with a passphrase or credential, and none was given")]
    PassphraseNeeded,
    /// A credential that is not one.
    #[error("a credential is 64 hex digits, as `accord key reseal --credential` makes it")]
    Credential,
    /// Another key of this role would be one too many.
    #[error("the ring holds two {0} keys already: the one in use and the next")]
    Full(KeyRole),
    /// The file asks for too little or too much work.
    #[error("the key ring asks for an unreasonable amount of work, so it is not opened")]
    Cost,
    /// The ring is of another kind.
    #[error("this is a {got} ring, and a {expected} ring is needed")]
    Kind {
        /// Needed.
        expected: RingKind,
        /// Found.
        got: RingKind,
    },
    /// A key of a role that such a ring never holds.
    #[error("a {kind} ring holds no {role} keys: root, node and person keys never share a ring")]
    Shared {
        /// The ring.
        kind: RingKind,
        /// The role.
        role: KeyRole,
    },
    /// The ring lacks a key.
    #[error("the ring holds no {0} key")]
    NoKey(KeyRole),
}

#[derive(Encode, Decode)]
struct StoredKey {
    role: KeyRole,
    pkcs8: Bounded<u8, 128>,
}

type StoredKeys = Bounded<StoredKey, 16>;

impl KeyRing {
    /// Makes fresh keys for these roles and writes them to a new file.
    pub fn create(path: &Path, kind: RingKind, roles: &[KeyRole], sealed: Seal<'_>) -> Result<Self, RingError> {
        if let Some(role) = roles.iter().find(|role| !kind.admits(**role)) {
            return Err(RingError::Shared { kind, role: *role });
        }
        let fresh = roles.iter().map(|role| fresh_key(*role)).collect::<Result<_, _>>()?;
        let plain = to_plain(fresh)?;
        write_new(path, &seal(kind, &plain, sealed)?)?;
        Self::read(kind, &plain)
    }

    /// Makes another key of each of these roles, beside the one in use, and takes out those that `retired` names. The file is
    /// replaced in one step and stays sealed as `sealed` says.
    pub fn rotate(
        path: &Path,
        roles: &[KeyRole],
        retired: impl Fn(KeyRole, &PublicKey) -> bool,
        sealed: Seal<'_>,
    ) -> Result<Self, RingError> {
        let (kind, plain) = open_with(path, sealed)?;
        let mut stored: Vec<StoredKey> = Vec::new();
        for key in decode::<StoredKeys>(&plain, Cap::Head).map_err(|_| RingError::DoesNotOpen)?.iter() {
            let public = random::signing_key(key.pkcs8.as_slice()).map_err(|_| RingError::DoesNotOpen)?.public();
            if !retired(key.role, &public) {
                stored.push(StoredKey { role: key.role, pkcs8: key.pkcs8.clone() });
            }
        }
        for role in roles {
            if !kind.admits(*role) {
                return Err(RingError::Shared { kind, role: *role });
            }
            if stored.iter().filter(|key| key.role == *role).count() >= PER_ROLE_MAX {
                return Err(RingError::Full(*role));
            }
            stored.push(fresh_key(*role)?);
        }
        let plain = to_plain(stored)?;
        write_atomically(path, &seal(kind, &plain, sealed)?)?;
        Self::read(kind, &plain)
    }

    /// What a ring is sealed with; the secret itself is empty.
    pub fn sealed_with(path: &Path) -> Result<Seal<'static>, RingError> {
        let bytes = Zeroizing::new(read_secret(path, RING_MAX)?);
        match bytes.strip_prefix(MAGIC.as_slice()).and_then(|rest| rest.get(1)) {
            Some(&KDF_NONE) => Ok(Seal::Open),
            Some(&KDF_ARGON2ID) => Ok(Seal::Passphrase("")),
            Some(&KDF_CREDENTIAL) => Ok(Seal::Credential("")),
            _ => Err(RingError::DoesNotOpen),
        }
    }

    /// Seals a ring anew; its keys stay.
    pub fn reseal(path: &Path, before: Seal<'_>, after: Seal<'_>) -> Result<Self, RingError> {
        let (kind, plain) = open_with(path, before)?;
        write_atomically(path, &seal(kind, &plain, after)?)?;
        Self::read(kind, &plain)
    }

    /// Opens a ring. `passphrase` is asked for only if the ring has one.
    pub fn open(path: &Path, passphrase: impl FnOnce() -> Option<Zeroizing<String>>) -> Result<Self, RingError> {
        let bytes = Zeroizing::new(read_secret(path, RING_MAX)?);
        let (kind, plain) = unseal(&bytes, passphrase)?;
        Self::read(kind, &plain)
    }

    fn read(kind: RingKind, plain: &[u8]) -> Result<Self, RingError> {
        let stored: StoredKeys = decode(plain, Cap::Head).map_err(|_| RingError::DoesNotOpen)?;
        let keys = stored
            .iter()
            .map(|key| Ok((key.role, random::signing_key(key.pkcs8.as_slice()).map_err(|_| RingError::DoesNotOpen)?)))
            .collect::<Result<Vec<_>, RingError>>()?;
        if let Some((role, _)) = keys.iter().find(|(role, _)| !kind.admits(*role)) {
            return Err(RingError::Shared { kind, role: *role });
        }
        Ok(Self { kind, keys })
    }

    /// Refuses a ring of another kind.
    pub fn expect_kind(self, expected: RingKind) -> Result<Self, RingError> {
        if self.kind == expected { Ok(self) } else { Err(RingError::Kind { expected, got: self.kind }) }
    }

    /// The key of a role.
    pub fn key(&self, role: KeyRole) -> Result<&SigningKey, RingError> {
        self.keys.iter().find(|(has, _)| *has == role).map(|(_, key)| key).ok_or(RingError::NoKey(role))
    }

    /// All keys of a role, the oldest first.
    pub fn all(&self, role: KeyRole) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().filter(move |(has, _)| *has == role).map(|(_, key)| key)
    }

    /// Takes the key of a role with this public part out of the ring.
    pub fn take_public(&mut self, public: &PublicKey) -> Option<SigningKey> {
        let index = self.keys.iter().position(|(_, key)| key.public() == *public)?;
        Some(self.keys.remove(index).1)
    }

    /// The ring with those keys alone.
    #[must_use]
    pub fn keep_only(mut self, wanted: impl Fn(&PublicKey) -> bool) -> Self {
        self.keys.retain(|(_, key)| wanted(&key.public()));
        self
    }

    /// Takes the key of a role out of the ring.
    pub fn take(&mut self, role: KeyRole) -> Result<SigningKey, RingError> {
        let index = self.keys.iter().position(|(has, _)| *has == role).ok_or(RingError::NoKey(role))?;
        Ok(self.keys.remove(index).1)
    }

    /// Every key with its role.
    pub fn keys(&self) -> &[(KeyRole, SigningKey)] {
        &self.keys
    }
}

fn fresh_key(role: KeyRole) -> Result<StoredKey, RingError> {
    let pkcs8 = random::new_private_key()?;
    Ok(StoredKey { role, pkcs8: Bounded::new(pkcs8.to_vec()).ok_or(RingError::DoesNotOpen)? })
}

fn to_plain(stored: Vec<StoredKey>) -> Result<Zeroizing<Vec<u8>>, RingError> {
    let stored: StoredKeys = Bounded::new(stored).ok_or(RingError::DoesNotOpen)?;
    encode(&stored).map(Zeroizing::new).map_err(|_| RingError::DoesNotOpen)
}

fn open_with(path: &Path, sealed: Seal<'_>) -> Result<(RingKind, Zeroizing<Vec<u8>>), RingError> {
    let bytes = Zeroizing::new(read_secret(path, RING_MAX)?);
    unseal(&bytes, || match sealed {
        Seal::Open => None,
        Seal::Passphrase(secret) | Seal::Credential(secret) => Some(Zeroizing::new(secret.to_owned())),
    })
}

// The credential has all the strength that is needed; the salt makes each ring's key another one.
fn from_credential(credential: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, RingError> {
    let sound = credential.len() == CREDENTIAL_DIGITS && credential.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !sound {
        return Err(RingError::Credential);
    }
    let text = [b"accord/1 ring credential\0".as_slice(), salt].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, credential.to_ascii_lowercase().as_bytes()), &text);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(tag.as_ref());
    Ok(key)
}

fn derive(passphrase: &str, salt: &[u8], cost: Cost) -> Result<Zeroizing<[u8; 32]>, RingError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| RingError::Cost)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| RingError::DoesNotOpen)?;
    Ok(key)
}

fn sealing_key(key: &[u8; 32]) -> Result<LessSafeKey, RingError> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| RingError::DoesNotOpen)
}

fn seal(kind: RingKind, plain: &[u8], sealed: Seal<'_>) -> Result<Vec<u8>, RingError> {
    let salt: [u8; 16] = random::bytes()?;
    let nonce: [u8; 12] = random::bytes()?;
    let nothing = Cost { memory_kib: 0, passes: 0, lanes: 0 };
    let (kdf, cost) = match sealed {
        Seal::Passphrase(_) => (KDF_ARGON2ID, ARGON_WRITE),
        Seal::Credential(_) => (KDF_CREDENTIAL, nothing),
        Seal::Open => (KDF_NONE, nothing),
    };
    let mut file = MAGIC.to_vec();
    file.extend([kind.number(), kdf]);
    for value in [cost.memory_kib, cost.passes, cost.lanes] {
        file.extend(value.to_be_bytes());
    }
    file.extend(salt);
    file.extend(nonce);
    let key = match sealed {
        Seal::Passphrase(passphrase) => derive(passphrase, &salt, cost)?,
        Seal::Credential(credential) => from_credential(credential, &salt)?,
        Seal::Open => {
            file.extend_from_slice(plain);
            return Ok(file);
        }
    };
    let mut sealed = plain.to_vec();
    sealing_key(&key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&file), &mut sealed)
        .map_err(|_| RingError::DoesNotOpen)?;
    file.extend(sealed);
    Ok(file)
}

fn unseal(
    file: &[u8],
    passphrase: impl FnOnce() -> Option<Zeroizing<String>>,
) -> Result<(RingKind, Zeroizing<Vec<u8>>), RingError> {
    let (header, body) = file.split_at_checked(HEADER_LEN).ok_or(RingError::DoesNotOpen)?;
    let rest = header.strip_prefix(MAGIC.as_slice()).ok_or(RingError::DoesNotOpen)?;
    let [kind, kdf, rest @ ..] = rest else { return Err(RingError::DoesNotOpen) };
    let kind = RingKind::from_number(*kind).ok_or(RingError::DoesNotOpen)?;
    if *kdf == KDF_NONE {
        return Ok((kind, Zeroizing::new(body.to_vec())));
    }
    let (Some((costs, rest)), KDF_ARGON2ID | KDF_CREDENTIAL) = (rest.split_first_chunk::<12>(), *kdf) else {
        return Err(RingError::DoesNotOpen);
    };
    let (Some((salt, rest)), [m, t, p]) = (rest.split_first_chunk::<16>(), numbers(*costs)) else {
        return Err(RingError::DoesNotOpen);
    };
    let nonce: [u8; 12] = rest.try_into().map_err(|_| RingError::DoesNotOpen)?;
    let cost = Cost { memory_kib: m, passes: t, lanes: p };
    let within = |value: u32, floor: u32, ceiling: u32| (floor..=ceiling).contains(&value);
    let hardened = *kdf == KDF_ARGON2ID;
    if hardened
        && (!within(cost.memory_kib, ARGON_FLOOR.memory_kib, ARGON_CEILING.memory_kib)
            || !within(cost.passes, ARGON_FLOOR.passes, ARGON_CEILING.passes)
            || !within(cost.lanes, ARGON_FLOOR.lanes, ARGON_CEILING.lanes))
    {
        return Err(RingError::Cost);
    }
    let passphrase = passphrase().ok_or(RingError::PassphraseNeeded)?;
    let key = if hardened { derive(&passphrase, salt, cost)? } else { from_credential(&passphrase, salt)? };
    let mut plain = Zeroizing::new(body.to_vec());
    let length = sealing_key(&key)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(header), plain.as_mut_slice())
        .map_err(|_| RingError::DoesNotOpen)?
        .len();
    if let Some(tail) = plain.get_mut(length..) {
        tail.zeroize();
    }
    plain.truncate(length);
    Ok((kind, plain))
}

fn numbers(bytes: [u8; 12]) -> [u32; 3] {
    let (chunks, _) = bytes.as_chunks::<4>();
    let mut numbers = [0; 3];
    for (number, chunk) in numbers.iter_mut().zip(chunks) {
        *number = u32::from_be_bytes(*chunk);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> impl FnOnce() -> Option<Zeroizing<String>> {
        let text = text.to_owned();
        move || Some(Zeroizing::new(text))
    }

    #[test]
    fn a_ring_opens_with_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("officer.ring");
        let made =
            KeyRing::create(&path, RingKind::Person, &[KeyRole::Officer], Seal::Passphrase("correct horse")).unwrap();
        let opened = KeyRing::open(&path, secret("correct horse")).unwrap();
        assert_eq!(opened.key(KeyRole::Officer).unwrap().public(), made.key(KeyRole::Officer).unwrap().public());
        assert!(matches!(KeyRing::open(&path, secret("wrong")), Err(RingError::DoesNotOpen)));
        assert!(matches!(KeyRing::open(&path, || None), Err(RingError::PassphraseNeeded)));
        assert!(matches!(opened.key(KeyRole::Root), Err(RingError::NoKey(KeyRole::Root))));
        // Any byte of the header or of the sealed part that is changed closes the ring.
        let bytes = std::fs::read(&path).unwrap();
        for index in [9, 30, 60, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[index] ^= 2;
            assert!(unseal(&changed, secret("correct horse")).is_err(), "byte {index}");
        }
    }

    #[test]
    fn a_ring_that_asks_for_the_whole_machine_is_refused_before_any_work() {
        let mut file = seal(RingKind::Person, b"x", Seal::Open).unwrap();
        file[9] = KDF_ARGON2ID;
        for (m, t, p) in
            [(u32::MAX, 3, 4), (1 << 16, 3, u32::MAX), (1 << 16, u32::MAX, 4), (1024, 3, 4), (1 << 16, 1, 4)]
        {
            for (slot, value) in [m, t, p].into_iter().enumerate() {
                file[10 + slot * 4..14 + slot * 4].copy_from_slice(&value.to_be_bytes());
            }
            assert!(matches!(unseal(&file, secret("x")), Err(RingError::Cost)), "{m} {t} {p}");
        }
    }

    #[test]
    fn a_ring_without_passphrase_opens_by_itself_and_keeps_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ring");
        KeyRing::create(&path, RingKind::Node, &[KeyRole::Tls, KeyRole::Sign], Seal::Open).unwrap();
        assert!(KeyRing::open(&path, || None).unwrap().expect_kind(RingKind::Node).is_ok());
        assert!(matches!(
            KeyRing::open(&path, || None).unwrap().expect_kind(RingKind::Root),
            Err(RingError::Kind { .. })
        ));
    }

    #[test]
    fn k16_root_node_and_person_keys_never_share_a_ring() {
        let folder = tempfile::tempdir().unwrap();
        for kind in RingKind::ALL {
            for role in KeyRole::ALL {
                let path = folder.path().join(format!("{kind}-{role}.ring"));
                let made = KeyRing::create(&path, *kind, &[*role], Seal::Open);
                assert_eq!(made.is_ok(), kind.admits(*role), "{kind} {role}");
                assert_eq!(path.exists(), kind.admits(*role), "{kind} {role}");
            }
        }
        let root = folder.path().join("root-root.ring");
        let nobody = |_: KeyRole, _: &PublicKey| false;
        assert!(KeyRing::rotate(&root, &[KeyRole::Tls], nobody, Seal::Open).is_err());
        // Nor when somebody has written such a file by hand.
        let mut bytes = std::fs::read(folder.path().join("node-tls.ring")).unwrap();
        bytes[8] = RingKind::Root.number();
        std::fs::write(&root, bytes).unwrap();
        assert!(matches!(KeyRing::open(&root, || None), Err(RingError::Shared { .. })));
    }

    #[test]
    fn a_ring_is_rotated_and_sealed_anew_without_losing_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ring");
        let roles = [KeyRole::Tls, KeyRole::Sign];
        let first = KeyRing::create(&path, RingKind::Node, &roles, Seal::Open).unwrap();
        let old = first.key(KeyRole::Tls).unwrap().public();
        let nobody = |_: KeyRole, _: &PublicKey| false;
        let second = KeyRing::rotate(&path, &[KeyRole::Tls], nobody, Seal::Open).unwrap();
        assert_eq!(second.all(KeyRole::Tls).count(), 2);
        assert_eq!(second.key(KeyRole::Tls).unwrap().public(), old, "the one in use comes first");
        let third = KeyRing::rotate(&path, &[KeyRole::Tls], nobody, Seal::Open);
        assert!(matches!(third, Err(RingError::Full(KeyRole::Tls))), "the key in use is never pushed out");
        let third = KeyRing::rotate(&path, &[KeyRole::Tls], |_, key| *key == old, Seal::Open).unwrap();
        assert_eq!(third.all(KeyRole::Tls).count(), 2);
        assert!(third.all(KeyRole::Tls).all(|key| key.public() != old));

        let credential = new_credential().unwrap();
        KeyRing::reseal(&path, Seal::Open, Seal::Credential(&credential)).unwrap();
        assert!(matches!(KeyRing::open(&path, || None), Err(RingError::PassphraseNeeded)));
        assert!(matches!(KeyRing::open(&path, secret("short")), Err(RingError::Credential)));
        assert!(matches!(KeyRing::open(&path, secret(&"0".repeat(64))), Err(RingError::DoesNotOpen)));
        let opened = KeyRing::open(&path, secret(&credential)).unwrap();
        assert_eq!(opened.keys().len(), third.keys().len());
    }
}
