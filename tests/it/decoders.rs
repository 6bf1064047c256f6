//! Every decoder under every truncation, every flipped bit and many seeded mutations of every valid message: no panic, no second
//! spelling of a value, no memory.
//!
//! What counts as failure: a panic; bytes that decode and do not encode to themselves; memory that grows. What does not: a mutated
//! message that decodes to another value - signatures are what tells those apart, and other tests flip their bits.

use std::fs;

use accord_edge::rows::{RowSplitter, Split};
use accord_node::domain::{import::mapping::Mapping, rates::Rates};
use accord_protocol::{
    answer::AnswerHead,
    approval::{Approval, StandingApproval},
    backup::BackupManifest,
    catalogue::{Catalogue, CatalogueDocument},
    cell::Released,
    codec::{Cap, decode, encode},
    consent::Consent,
    edition::{EditionHeader, Withdrawal},
    evidence::Bundle,
    frame::{FrameReader, Limits},
    held::{Collect, List, Recall, Receipt, Status},
    id::from_hex,
    log::passing::{ConsistencyReply, Cosign, Cosigned, ProofCall, Told},
    member_keys::{KeyClaim, MemberKeys},
    message::{AskCall, AskReply, Fetch, Head, MessageKind, RelayCall, SignedBytes},
    officers::{Card, Officers, Staff},
    pattern,
    policy::PolicyDocument,
    request::{Request, RequestBody},
    root::Root,
    roster::Roster,
    signed::Document,
    topic::Topic,
    view::View,
};
use accord_tests::{
    root,
    seeded::{Seeded, from_environment},
};
use bincode::{Decode, Encode};

// One value in one spelling, or nothing.
fn one_spelling<T: Encode + Decode<()>>(bytes: &[u8], cap: Cap) -> bool {
    match decode::<T>(bytes, cap) {
        Ok(value) => {
            assert_eq!(encode(&value).unwrap(), bytes, "decodes, and encodes to something else");
            true
        }
        Err(_) => false,
    }
}

/// Which decoders of structures take these bytes, by their places in the list.
pub(crate) fn takers(bytes: &[u8]) -> Vec<usize> {
    let structures: [fn(&[u8]) -> bool; 36] = [
        |bytes| one_spelling::<Root>(bytes, Cap::Document),
        |bytes| one_spelling::<Roster>(bytes, Cap::Document),
        |bytes| one_spelling::<MemberKeys>(bytes, Cap::Document),
        |bytes| one_spelling::<Officers>(bytes, Cap::Document),
        |bytes| one_spelling::<Staff>(bytes, Cap::Document),
        |bytes| one_spelling::<PolicyDocument>(bytes, Cap::Document),
        |bytes| one_spelling::<KeyClaim>(bytes, Cap::Document),
        |bytes| one_spelling::<CatalogueDocument>(bytes, Cap::Document),
        |bytes| one_spelling::<Card>(bytes, Cap::Small),
        |bytes| one_spelling::<RequestBody>(bytes, Cap::Head),
        |bytes| one_spelling::<Request>(bytes, Cap::Head),
        |bytes| one_spelling::<AnswerHead>(bytes, Cap::Head),
        |bytes| one_spelling::<EditionHeader>(bytes, Cap::Head),
        |bytes| one_spelling::<Withdrawal>(bytes, Cap::Small),
        |bytes| one_spelling::<Document>(bytes, Cap::Document),
        |bytes| one_spelling::<SignedBytes>(bytes, Cap::Head),
        |bytes| one_spelling::<Fetch>(bytes, Cap::Small),
        |bytes| one_spelling::<AskCall>(bytes, Cap::Head),
        |bytes| one_spelling::<AskReply>(bytes, Cap::Head),
        |bytes| one_spelling::<RelayCall>(bytes, Cap::Small),
        |bytes| one_spelling::<Consent>(bytes, Cap::Small),
        |bytes| one_spelling::<View>(bytes, Cap::Document),
        |bytes| one_spelling::<Topic>(bytes, Cap::Small),
        |bytes| one_spelling::<Status>(bytes, Cap::Small),
        |bytes| one_spelling::<Receipt>(bytes, Cap::Small),
        |bytes| one_spelling::<Recall>(bytes, Cap::Small),
        |bytes| one_spelling::<BackupManifest>(bytes, Cap::Small),
        |bytes| one_spelling::<Approval>(bytes, Cap::Small),
        |bytes| one_spelling::<StandingApproval>(bytes, Cap::Small),
        |bytes| one_spelling::<Collect>(bytes, Cap::Small),
        |bytes| one_spelling::<List>(bytes, Cap::Head),
        |bytes| one_spelling::<Cosign>(bytes, Cap::Head),
        |bytes| one_spelling::<Cosigned>(bytes, Cap::Head),
        |bytes| one_spelling::<Told>(bytes, Cap::Head),
        |bytes| one_spelling::<ProofCall>(bytes, Cap::Small),
        |bytes| one_spelling::<ConsistencyReply>(bytes, Cap::Head),
    ];
    structures.iter().enumerate().filter(|(_, decode)| decode(bytes)).map(|(index, _)| index).collect()
}

/// All decoders of what a peer can send; how many took it.
fn decode_all(bytes: &[u8]) -> u32 {
    let mut taken = u32::try_from(takers(bytes).len()).unwrap();
    taken += u32::from(Head::from_bytes(bytes).is_ok());
    if let Some(cell) = bytes.first_chunk() {
        taken += u32::from(Released::from_bytes(*cell).is_ok_and(|released| released.to_bytes() == *cell));
    }
    for limits in [MessageKind::Request.limits_up(), MessageKind::Ask.limits_down(), MessageKind::Import.limits_up()] {
        taken += u32::from(frames(bytes, limits));
    }
    taken
}

// A stream in pieces of every small length gives what it gives in one.
fn frames(bytes: &[u8], limits: Limits) -> bool {
    let read = |step: usize| {
        let mut reader = FrameReader::new(limits);
        let mut pieces = Vec::new();
        for chunk in bytes.chunks(step.max(1)) {
            pieces.extend(reader.push(chunk).map_err(|error| error.to_string())?);
        }
        reader.finish().map_err(|error| error.to_string())?;
        Ok::<_, String>(pieces.len())
    };
    let whole = read(bytes.len());
    assert_eq!(read(7).is_ok(), whole.is_ok());
    whole.is_ok()
}

/// All decoders of texts that people write or files bring.
fn read_all(text: &str) {
    let _ = (Catalogue::parse(text).is_ok(), Mapping::parse(text).is_ok(), Rates::parse(text).is_ok());
    let _ = serde_json::from_str::<Bundle>(text).is_ok();
    for pattern in ["YYYY-MM-DD", "D.M.YY", "excel", text] {
        let _ = pattern::read(text.get(..40).unwrap_or(text), pattern);
    }
    let mut rows = RowSplitter::new(text.as_bytes(), b',');
    while let Ok(Split::Row { .. }) = rows.next_row() {}
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(root().join("protocol/tests/vectors/messages.txt")).unwrap();
    let all: Vec<(String, Vec<u8>)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| {
            !name.contains('.')
                && !name.starts_with("public-key")
                && !name.starts_with("fingerprint")
                && *name != "federation-id"
        })
        .filter_map(|(name, hex)| Some((name.to_owned(), from_hex(hex.trim())?)))
        .collect();
    assert!(all.len() >= 20, "{} messages", all.len());
    all
}

fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn every_truncation_and_every_flipped_bit_of_every_message_is_harmless() {
    let before = memory_mib();
    let (mut inputs, mut taken) = (0u64, 0u64);
    for (name, message) in messages() {
        assert!(decode_all(&message) > 0, "{name} is no decoder's");
        for length in 0..message.len() {
            taken += u64::from(decode_all(&message[..length]));
            inputs += 1;
        }
        for bit in 0..message.len() * 8 {
            let mut changed = message.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            taken += u64::from(decode_all(&changed));
            inputs += 1;
        }
    }
    let after = memory_mib();
    println!("{inputs} inputs, {taken} decoded to another value; memory {before} MiB before, {after} MiB after");
    assert!(inputs > 30_000 && after < before + 64);
}

#[test]
fn seeded_mutations_are_harmless() {
    let size = from_environment("ACCORD_MUTATIONS", 200_000);
    let seed = from_environment("ACCORD_SEED", 1);
    println!("ACCORD_SEED={seed} ACCORD_MUTATIONS={size}");
    let (all, before) = (messages(), memory_mib());
    let mut random = Seeded::new(seed);
    for _ in 0..size {
        let mut bytes = all[random.below(all.len())].1.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(6) {
                0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                1 => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
                2 => drop(bytes.remove(at)),
                // Lengths are the numbers that matter: all ones, or a power of two.
                3 => {
                    let value = if random.below(2) == 0 { u64::MAX } else { 1 << random.below(64) };
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].copy_from_slice(&value.to_be_bytes()[..end - at]);
                }
                4 => {
                    let other = &all[random.below(all.len())].1;
                    let from = random.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => {
                    let end = (at + random.below(64)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        decode_all(&bytes);
    }
    let after = memory_mib();
    println!("memory {before} MiB before, {after} MiB after");
    assert!(after < before + 64);
}

#[test]
fn seeded_mutations_of_texts_are_harmless() {
    let size = from_environment("ACCORD_MUTATIONS", 200_000) / 100;
    let seed = from_environment("ACCORD_SEED", 1);
    println!("ACCORD_SEED={seed} ACCORD_MUTATIONS={size}");
    let texts: Vec<String> =
        ["protocol/data/strategic-1.toml", "node/mappings/dea-stride-price.toml", "docs/layout/seizure.csv"]
            .iter()
            .map(|path| fs::read_to_string(root().join(path)).unwrap())
            .chain(["Date,USD,SEK\n2024-05-17,1.08,11.6\n".to_owned(), "{\"accord_evidence\":1}".to_owned()])
            .collect();
    let mut random = Seeded::new(seed);
    for _ in 0..size {
        let mut characters: Vec<char> = texts[random.below(texts.len())].chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(characters.len());
            let odd = ['"', '\n', '\r', '\0', '[', ']', '=', ',', '9', '-', '\u{202e}', '🜔', '{', '\u{feff}', '\\'];
            match random.below(3) {
                0 => characters[at] = odd[random.below(odd.len())],
                1 => characters.insert(at, odd[random.below(odd.len())]),
                _ => drop(characters.drain(at..(at + random.below(30)).min(characters.len()))),
            }
            if characters.is_empty() {
                characters.push('x');
            }
        }
        read_all(&characters.into_iter().collect::<String>());
    }
}
