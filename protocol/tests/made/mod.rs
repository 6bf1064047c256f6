//! A small federation of made keys, and its documents in any shape that a case needs.
#![allow(dead_code, clippy::unwrap_used, reason = "tests and an example, of which each takes what it needs")]

use std::sync::LazyLock;

use accord_protocol::{
    catalogue::{CatalogueDocument, SHIPPED},
    codec::{Bounded, Cap, Text, decode, encode},
    id::{Hash, NodeId, from_hex},
    key::{PublicKey, SigningKey},
    member_keys::MemberKeys,
    officers::Officers,
    root::{Root, federation_id},
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Label, Preamble, Signable, Signed},
    time::{DAY_MS, UnixMs},
};

/// Some day in 2026.
pub(crate) const NOW: UnixMs = UnixMs(1_790_000_000_000);
const NEXT_YEAR: UnixMs = UnixMs(NOW.0 + 365 * DAY_MS);

/// The key whose private seed is 32 times this byte (RFC 8032 seeds).
pub(crate) fn key(seed: u8) -> SigningKey {
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let mut pkcs8 = from_hex("3051020101300506032b657004220420").unwrap();
    pkcs8.extend([seed; 32]);
    pkcs8.extend([0x81, 0x21, 0x00]);
    pkcs8.extend(ring::signature::KeyPair::public_key(&pair).as_ref());
    SigningKey::from_pkcs8(&pkcs8).unwrap()
}

/// Its public part.
pub(crate) fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

pub(crate) fn keys(seeds: &[u8]) -> Vec<SigningKey> {
    seeds.iter().map(|seed| key(*seed)).collect()
}

fn sorted<const MAX: usize>(seeds: &[u8]) -> Bounded<PublicKey, MAX> {
    let mut all: Vec<PublicKey> = seeds.iter().map(|seed| public(*seed)).collect();
    all.sort();
    Bounded::new(all).unwrap()
}

pub(crate) fn signed<T: Signable>(value: &T, federation: &FederationId, seeds: &[u8]) -> Document {
    let mut document = Document::new(value).unwrap();
    for key in keys(seeds) {
        assert!(document.add_signature(&key, federation));
    }
    document
}

/// A document whose payload need not be what its label says.
pub(crate) fn signed_payload(label: Label, payload: &[u8], federation: &FederationId, seeds: &[u8]) -> Document {
    let sign = |key: SigningKey| Signed { key: key.public(), signature: key.sign(label, federation, payload) };
    let signatures: Vec<Signed> = keys(seeds).into_iter().map(sign).collect();
    let parts =
        (label, Bounded::<u8, { 1 << 20 }>::new(payload.to_vec()).unwrap(), Bounded::<_, 64>::new(signatures).unwrap());
    decode(&encode(&parts).unwrap(), Cap::Document).unwrap()
}

pub(crate) fn root(version: u64, seeds: &[u8], threshold: u8) -> Root {
    Root {
        preamble: Preamble,
        root_version: version,
        epoch: 1,
        genesis_nonce: [7; 32],
        name: Text::new("Example").unwrap(),
        keys: sorted(seeds),
        threshold,
        issued_at: NOW,
        expires_at: NEXT_YEAR,
    }
}

/// The first root: keys 1 to 5, three of which sign.
pub(crate) fn first_root() -> Document {
    signed(&root(1, &[1, 2, 3, 4, 5], 3), &Hash::ZERO, &[1, 2, 3, 4, 5])
}

pub(crate) fn federation() -> FederationId {
    federation_id(first_root().payload())
}

pub(crate) fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// The seeds of a member's keys: three administrators, then tls, sign, log, witness.
pub(crate) fn seeds_of(name: &str) -> [u8; 7] {
    let first = match name {
        "ES-AGENCY" => 20,
        "IT-AGENCY" => 30,
        "DK-AGENCY" => 60,
        "AT-AGENCY" => 70,
        _ => 40,
    };
    std::array::from_fn(|n| first + u8::try_from(n).unwrap())
}

/// A member's keys, before anything is changed for a case.
pub(crate) fn member_keys(name: &str, version: u64, prev: Hash) -> MemberKeys {
    let [a, b, c, tls, sign, log, witness] = seeds_of(name);
    MemberKeys {
        preamble: Preamble,
        federation: federation(),
        node_id: id(name),
        keys_version: version,
        prev_hash: prev,
        issued_at: NOW,
        expires_at: NEXT_YEAR,
        admin_keys: sorted(&[a, b, c]),
        admin_threshold: 2,
        tls_keys: sorted(&[tls]),
        sign_keys: sorted(&[sign]),
        log_keys: sorted(&[log]),
        witness_key: public(witness),
        addresses: Bounded::new(vec![Text::new("192.0.2.1:4433").unwrap()]).unwrap(),
        officers_version_min: 0,
    }
}

/// The public keys of all seeds, each made once.
static ALL: LazyLock<Vec<PublicKey>> = LazyLock::new(|| (0..=255).map(public).collect());

/// Signed by every key in it that has a seed here, and by more.
pub(crate) fn with_possession(keys: &MemberKeys, more: &[u8]) -> Document {
    let listed = keys.all_keys();
    let seeds = (0..=255).zip(ALL.iter()).filter(|(_, key)| listed.contains(key));
    let mut seeds: Vec<u8> = seeds.map(|(seed, _)| seed).collect();
    seeds.extend(more);
    signed(keys, &federation(), &seeds)
}

pub(crate) fn first_keys(name: &str) -> Document {
    with_possession(&member_keys(name, 1, Hash::ZERO), &[])
}

pub(crate) fn catalogue() -> Document {
    let document = CatalogueDocument { preamble: Preamble, text: Bounded::new(SHIPPED.as_bytes().to_vec()).unwrap() };
    signed(&document, &federation(), &[1, 2, 3])
}

pub(crate) fn member(name: &str, anchor: &Document) -> Member {
    let keys: MemberKeys = anchor.unverified().unwrap();
    Member {
        node_id: id(name),
        name: Text::new(name).unwrap(),
        state: MemberState::Active,
        roles: Bounded::new(vec![MemberRole::Provider, MemberRole::Requester, MemberRole::Witness]).unwrap(),
        anchor_version: keys.keys_version,
        anchor_hash: anchor.hash(),
        valid_from: NOW,
        valid_to: NEXT_YEAR,
    }
}

pub(crate) fn roster(version: u64, prev: Hash, members: Vec<Member>) -> Roster {
    Roster {
        preamble: Preamble,
        federation: federation(),
        root_version: 1,
        epoch: 1,
        roster_version: version,
        prev_hash: prev,
        issued_at: NOW,
        expires_at: NEXT_YEAR,
        catalogue_hash: catalogue().hash(),
        min_protocol: 1,
        max_protocol: 1,
        members: Bounded::new(members).unwrap(),
    }
}

pub(crate) fn officers(name: &str, version: u64, prev: Hash, cards: &[u8]) -> Officers {
    Officers {
        preamble: Preamble,
        federation: federation(),
        node_id: id(name),
        list_version: version,
        prev_hash: prev,
        issued_at: NOW,
        expires_at: NEXT_YEAR,
        cards: Bounded::new(cards.iter().map(|card| Hash([*card; 32])).collect()).unwrap(),
    }
}

/// Root, catalogue, two members and the roster that lists them.
pub(crate) fn first_set() -> Vec<Document> {
    let (es, it) = (first_keys("ES-AGENCY"), first_keys("IT-AGENCY"));
    let members = vec![member("ES-AGENCY", &es), member("IT-AGENCY", &it)];
    let roster = signed(&roster(1, Hash::ZERO, members), &federation(), &[1, 2, 3]);
    vec![first_root(), catalogue(), es, it, roster]
}
