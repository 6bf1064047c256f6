//! Key ring files: a header that asks for too little or too much work is refused before anybody is asked for a passphrase.
#![no_main]

use std::{
    cell::Cell,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
};

use accord_edge::keyring::{KeyRing, RingError};

accord_fuzz::target!(keyring);

/// Bytes before the sealed keys: magic, ring, function, three numbers, salt and nonce.
const HEADER_LEN: usize = 50;
/// Largest ring file in bytes.
const RING_MAX: usize = 16_384;

/// Opens the input as a ring without giving a passphrase, so that no key is ever derived here; a derivation would need 64 MiB and
/// so would not pass the guard either.
fn keyring(data: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ring");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(data).unwrap();
    let asked = Cell::new(false);
    let opened = KeyRing::open(&path, || {
        asked.set(true);
        None
    });
    let header = Header::of(data);
    assert_eq!(asked.get(), matches!(opened, Err(RingError::PassphraseNeeded)));
    match opened {
        Ok(ring) => {
            let header = header.expect("a ring without a header is opened");
            assert_eq!((ring.kind.number(), header.function), (header.ring, 0));
            for (role, key) in ring.keys() {
                assert!(key.public().verifies(b"message", &key.sign_raw(b"message")), "{role} does not sign");
            }
        }
        Err(RingError::PassphraseNeeded) => {
            let header = header.expect("a header");
            assert!(header.function == 2 || (header.function == 1 && header.is_reasonable()));
        }
        Err(RingError::Cost) => {
            let header = header.expect("a header");
            assert!(header.function == 1 && !header.is_reasonable());
        }
        // Keys that never share a ring, in one that nothing seals.
        Err(RingError::Shared { .. }) => assert_eq!(header.expect("a header").function, 0),
        Err(RingError::File(_)) => assert!(data.len() > RING_MAX, "a file of the right size is not read"),
        // Without a passphrase a ring fails as damaged only where its header or its open keys are.
        Err(RingError::DoesNotOpen) => {
            let sealed = |header: &Header| matches!(header.function, 1 | 2) && (1..=3).contains(&header.ring);
            assert!(!header.is_some_and(|header| sealed(&header)));
        }
        Err(other) => panic!("{other}"),
    }
    fs::remove_file(&path).unwrap();
}

/// A header as the documents of the layout describe it.
struct Header {
    ring: u8,
    function: u8,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Header {
    fn of(data: &[u8]) -> Option<Self> {
        let rest = data.get(..HEADER_LEN)?.strip_prefix(b"ACCDKEY1")?;
        let number = |at: usize| u32::from_be_bytes(*rest[at..].first_chunk().unwrap());
        Some(Self { ring: rest[0], function: rest[1], memory_kib: number(2), passes: number(6), lanes: number(10) })
    }

    /// 64 MiB to 4 GiB, 3 to 16 passes, 1 to 16 lanes.
    fn is_reasonable(&self) -> bool {
        (64 << 10..=4 << 20).contains(&self.memory_kib)
            && (3..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
    }
}
