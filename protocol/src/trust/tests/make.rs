//! A small federation of made keys, and its documents in any shape that a case needs.

use crate::{
    catalogue::{CatalogueDocument, SHIPPED},
    codec::{Bounded, Text},
    id::{Hash, NodeId},
    key::{PublicKey, SigningKey},
    member_keys::MemberKeys,
    officers::Officers,
    root::{Root, federation_id},
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Preamble, Signable, tests::test_key},
    time::{DAY_MS, UnixMs},
};

/// Some day in 2026.
pub(super) const NOW: UnixMs = UnixMs(1_790_000_000_000);
const NEXT_YEAR: UnixMs = UnixMs(NOW.0 + 365 * DAY_MS);

pub(super) fn keys(seeds: &[u8]) -> Vec<SigningKey> {
    seeds.iter().map(|seed| test_key(*seed)).collect()
}

fn sorted<const MAX: usize>(seeds: &[u8]) -> Bounded<PublicKey, MAX> {
    let mut all: Vec<PublicKey> = seeds.iter().map(|seed| test_key(*seed).public()).collect();
    all.sort();
    Bounded::new(all).unwrap()
}

pub(super) fn signed<T: Signable>(value: &T, federation: &FederationId, seeds: &[u8]) -> Document {
    let mut document = Document::new(value).unwrap();
    for key in keys(seeds) {
        assert!(document.add_signature(&key, federation));
    }
    document
}

pub(super) fn root(version: u64, seeds: &[u8], threshold: u8) -> Root {
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
pub(super) fn first_root() -> Document {
    signed(&root(1, &[1, 2, 3, 4, 5], 3), &Hash::ZERO, &[1, 2, 3, 4, 5])
}

pub(super) fn federation() -> FederationId {
    federation_id(first_root().payload())
}

pub(super) fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// The seeds of a member's keys: three administrators, then tls, sign, log, witness.
pub(super) fn seeds_of(name: &str) -> [u8; 7] {
    let first = match name {
        "ES-AGENCY" => 20,
        "IT-AGENCY" => 30,
        _ => 40,
    };
    std::array::from_fn(|n| first + u8::try_from(n).unwrap())
}

/// A member's keys, before anything is changed for a case.
pub(super) fn member_keys(name: &str, version: u64, prev: Hash) -> MemberKeys {
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
        witness_key: test_key(witness).public(),
        addresses: Bounded::new(vec![Text::new("192.0.2.1:4433").unwrap()]).unwrap(),
        officers_version_min: 0,
    }
}

/// Signed by every key in it that has a seed here, and by more.
pub(super) fn with_possession(keys: &MemberKeys, more: &[u8]) -> Document {
    let listed = keys.all_keys();
    let mut seeds: Vec<u8> = (1..=250).filter(|seed| listed.contains(&test_key(*seed).public())).collect();
    seeds.extend(more);
    signed(keys, &federation(), &seeds)
}

pub(super) fn first_keys(name: &str) -> Document {
    with_possession(&member_keys(name, 1, Hash::ZERO), &[])
}

pub(super) fn catalogue() -> Document {
    let document = CatalogueDocument { preamble: Preamble, text: Bounded::new(SHIPPED.as_bytes().to_vec()).unwrap() };
    signed(&document, &federation(), &[1, 2, 3])
}

pub(super) fn member(name: &str, anchor: &Document) -> Member {
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

pub(super) fn roster(version: u64, prev: Hash, members: Vec<Member>) -> Roster {
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

pub(super) fn officers(name: &str, version: u64, prev: Hash, cards: &[u8]) -> Officers {
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
pub(super) fn first_set() -> Vec<Document> {
    let (es, it) = (first_keys("ES-AGENCY"), first_keys("IT-AGENCY"));
    let members = vec![member("ES-AGENCY", &es), member("IT-AGENCY", &it)];
    let roster = signed(&roster(1, Hash::ZERO, members), &federation(), &[1, 2, 3]);
    vec![first_root(), catalogue(), es, it, roster]
}
