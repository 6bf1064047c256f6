//! A federation in memory: four members with keys from fixed seeds, trust documents, two editions each.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use accord_node::domain::{
    access::Access,
    edition::{Block, Frozen},
    marking::Marking,
};
use accord_protocol::{
    catalogue::{Catalogue, CatalogueDocument, Kind, SHIPPED},
    codec::{Bounded, Text, encode},
    edition::{CoverageRow, CoverageState, EditionHeader, Layout, Protection},
    handling::{HandlingCodes, Tlp},
    id::{Hash, NodeId, OfficerId, from_hex},
    key::{PublicKey, SigningKey},
    member_keys::{KeyRole, MemberKeys},
    officers::{Card, Officers, Purpose, Staff, StaffMember},
    policy::PolicyDocument,
    root::Root,
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Preamble, Signable},
    time::UnixMs,
    topic::Topic,
    trust::Trust,
};

/// When the simulated histories begin.
pub(super) const EPOCH: UnixMs = UnixMs(1_795_500_000_000);
/// The table that is asked for.
pub(super) const TABLE: &str = "seizures-year-drug";
/// Years that every edition holds.
pub(super) const YEARS: [u16; 2] = [2021, 2022];
/// Members; each has an officer.
pub(super) const NAMES: [&str; 4] = ["AT-AGENCY", "ES-AGENCY", "IT-AGENCY", "PT-AGENCY"];

/// One member with its secrets.
pub(super) struct Agency {
    pub(super) id: NodeId,
    pub(super) sign: SigningKey,
    pub(super) officer: SigningKey,
    pub(super) card: Vec<u8>,
    pub(super) access: Access,
    /// Editions 1 and 2, with their signed headers.
    pub(super) editions: Vec<(Arc<Frozen>, Document)>,
}

/// The federation.
pub(super) struct Fixture {
    /// The trust documents that everybody has.
    pub(super) documents: Vec<Document>,
    pub(super) federation: FederationId,
    pub(super) trust: Trust,
    pub(super) agencies: Vec<Agency>,
    pub(super) marking: Marking,
}

/// Made once: nothing in it changes in a history.
pub(super) static FIXTURE: LazyLock<Fixture> = LazyLock::new(build);

// The key whose private seed is 32 times this byte (RFC 8032 seeds, RFC 8410 envelope).
pub(super) fn key(seed: u8) -> SigningKey {
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let mut pkcs8 = from_hex("3051020101300506032b657004220420").unwrap();
    pkcs8.extend([seed; 32]);
    pkcs8.extend([0x81, 0x21, 0x00]);
    pkcs8.extend(ring::signature::KeyPair::public_key(&pair).as_ref());
    SigningKey::from_pkcs8(&pkcs8).unwrap()
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn signed<T: Signable>(value: &T, signers: &[u8], federation: &Hash) -> Document {
    let mut document = Document::new(value).unwrap();
    for seed in signers {
        assert!(document.add_signature(&key(*seed), federation));
    }
    document
}

fn year_later() -> UnixMs {
    EPOCH.plus(365 * 86_400_000)
}

// Ten seeds for each member: administrators, TLS, signing, log, witness, officer.
fn seeds(index: usize) -> [u8; 7] {
    std::array::from_fn(|offset| u8::try_from(10 * (index + 1) + offset).unwrap())
}

fn member_keys(id: &NodeId, index: usize, federation: Hash) -> Document {
    let [first, second, tls, sign, log, witness, _] = seeds(index);
    let keys = MemberKeys {
        preamble: Preamble,
        federation,
        node_id: id.clone(),
        keys_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: EPOCH,
        expires_at: year_later(),
        admin_keys: Bounded::sorted(vec![public(first), public(second)]).unwrap(),
        admin_threshold: 2,
        tls_keys: Bounded::new(vec![public(tls)]).unwrap(),
        sign_keys: Bounded::new(vec![public(sign)]).unwrap(),
        log_keys: Bounded::new(vec![public(log)]).unwrap(),
        witness_key: public(witness),
        addresses: Bounded::new(vec![text(&format!("192.0.2.{index}:4433"))]).unwrap(),
        officers_version_min: 0,
    };
    signed(&keys, &[first, second, tls, sign, log, witness], &federation)
}

fn card(index: usize) -> Vec<u8> {
    let card = Card {
        officer_id: OfficerId([u8::try_from(index).unwrap(); 16]),
        key: public(seeds(index)[6]),
        purposes: Bounded::sorted(vec![Purpose::StrategicAnalysis]).unwrap(),
        valid_from: EPOCH,
        valid_to: year_later(),
    };
    encode(&card).unwrap()
}

fn officers(id: &NodeId, index: usize, federation: Hash) -> Document {
    let [first, second, ..] = seeds(index);
    let list = Officers {
        preamble: Preamble,
        federation,
        node_id: id.clone(),
        list_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: EPOCH,
        expires_at: year_later(),
        cards: Bounded::sorted(vec![Hash::of(&card(index))]).unwrap(),
    };
    signed(&list, &[first, second], &federation)
}

// The policy of a member. The last one of all is granted nothing by anybody: it is refused.
fn access(id: &NodeId, index: usize, documents: &[Document], federation: Hash) -> Access {
    let rows = format!(
        "[[grant]]\npartner = [\"AT-AGENCY\", \"ES-AGENCY\", \"IT-AGENCY\"]\ntable = [\"{TABLE}\"]\npurpose = [\"strategic-analysis\"]\nuntil = \"2030-01-01\"\n"
    );
    let access = Access::of(&signed_rows(id, index, documents, federation, &rows));
    assert_eq!((access.version(), access.fault()), (1, None));
    access
}

/// What other rows of a member come to, signed by its administrators.
pub(super) fn access_by(index: usize, rows: &str) -> Access {
    Access::of(&trust_by(index, rows, &[]))
}

/// The trust documents of a member with such rows, and more of them.
pub(super) fn trust_by(index: usize, rows: &str, more: &[Document]) -> Trust {
    let documents = [FIXTURE.documents.as_slice(), more].concat();
    signed_rows(&FIXTURE.agencies[index].id, index, &documents, FIXTURE.federation, rows)
}

/// A topic of a member, for another, as it travels, for a year.
pub(super) fn topic(index: usize, audience: usize, salt: [u8; 16]) -> Document {
    let [first, second, ..] = seeds(index);
    let topic = Topic {
        preamble: Preamble,
        federation: FIXTURE.federation,
        node_id: FIXTURE.agencies[index].id.clone(),
        audience: FIXTURE.agencies[audience].id.clone(),
        salt,
        title: Bounded::new(b"cocaine in reefers".to_vec()).unwrap(),
        purposes: Bounded::sorted(vec![Purpose::StrategicAnalysis, Purpose::Test]).unwrap(),
        valid_from: EPOCH,
        valid_to: year_later(),
    };
    signed(&topic, &[first, second], &FIXTURE.federation)
}

/// A member's staff: people with the keys of these seeds, who may decide for two months.
pub(super) fn approvers(index: usize, people: &[u8]) -> Document {
    let [first, second, ..] = seeds(index);
    let person = |seed: &u8| StaffMember {
        role: KeyRole::Approver,
        key: public(*seed),
        valid_from: EPOCH,
        valid_to: EPOCH.plus(60 * 86_400_000),
    };
    let staff = Staff {
        preamble: Preamble,
        federation: FIXTURE.federation,
        node_id: FIXTURE.agencies[index].id.clone(),
        list_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: EPOCH,
        expires_at: year_later(),
        people: Bounded::new(people.iter().map(person).collect()).unwrap(),
    };
    signed(&staff, &[&[first, second], people].concat(), &FIXTURE.federation)
}

/// The next roster, signed, after somebody changed it.
pub(super) fn next_roster(change: impl FnOnce(&mut Roster)) -> Document {
    let before = FIXTURE.trust.roster();
    let mut roster =
        Roster { roster_version: before.roster_version + 1, prev_hash: before.hash(), ..before.get().clone() };
    change(&mut roster);
    signed(&roster, &[1, 2], &FIXTURE.federation)
}

fn signed_rows(id: &NodeId, index: usize, documents: &[Document], federation: Hash, rows: &str) -> Trust {
    let policy = PolicyDocument {
        preamble: Preamble,
        federation,
        node_id: id.clone(),
        policy_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: EPOCH,
        rows: Bounded::new(rows.as_bytes().to_vec()).unwrap(),
        cedar: Bounded::default(),
    };
    let [first, second, ..] = seeds(index);
    let with_policy = [documents, &[signed(&policy, &[first, second], &federation)]].concat();
    Trust::gather(&with_policy, Some(&federation), Some(id)).unwrap()
}

// Every number of the table has a value of its own, by member and edition.
fn edition(index: usize, number: u64, catalogue: &Arc<Catalogue>, federation: &Hash) -> (Arc<Frozen>, Document) {
    let table = catalogue.table(TABLE).unwrap();
    let mut blocks = HashMap::new();
    let country = NAMES[index].get(..2).unwrap();
    for year in YEARS {
        let layout = Layout::new(table, country, year).unwrap();
        let numbers = layout.cells() * layout.width();
        let cells: Vec<u8> = (0..numbers)
            .flat_map(|cell| {
                let value = (index as u64 + 1) * 1_000_000 + number * 100_000 + cell as u64;
                std::iter::once(1).chain(value.to_be_bytes())
            })
            .collect();
        blocks.insert((table.id, year), Block { table_id: table.id, year, cells, reasons: vec![0; numbers] });
    }
    let header = EditionHeader {
        preamble: Preamble,
        number,
        prev_commit: Hash::ZERO,
        commit: Hash::of(&[u8::try_from(index).unwrap(), u8::try_from(number).unwrap()]),
        rules_hash: Hash::ZERO,
        catalogue_hash: catalogue.hash,
        protection: Protection::PrimaryOnly,
        coverage: Bounded::new(vec![CoverageRow {
            kind: Kind::Seizure,
            months: "2021..2022".parse().unwrap(),
            state: CoverageState::Complete,
        }])
        .unwrap(),
        as_of: EPOCH,
        published_at: EPOCH,
    };
    let document = signed(&header, &[seeds(index)[3]], federation);
    (Arc::new(Frozen::new(country, header, Arc::clone(catalogue), blocks)), document)
}

fn build() -> Fixture {
    let root = Root {
        preamble: Preamble,
        root_version: 1,
        epoch: 1,
        genesis_nonce: [0x11; 32],
        name: text("Simulated"),
        keys: Bounded::sorted(vec![public(1), public(2), public(3)]).unwrap(),
        threshold: 2,
        issued_at: EPOCH,
        expires_at: year_later(),
    };
    let root = signed(&root, &[1, 2, 3], &Hash::ZERO);
    let federation = accord_protocol::root::federation_id(root.payload());
    let catalogue = CatalogueDocument { preamble: Preamble, text: Bounded::new(SHIPPED.into()).unwrap() };
    let catalogue = signed(&catalogue, &[1, 2], &federation);
    let ids: Vec<NodeId> = NAMES.iter().map(|name| name.parse().unwrap()).collect();
    let mut documents = Vec::new();
    let mut members = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let keys = member_keys(id, index, federation);
        members.push(Member {
            node_id: id.clone(),
            name: text("Agency"),
            state: MemberState::Active,
            roles: Bounded::sorted(vec![MemberRole::Provider, MemberRole::Requester]).unwrap(),
            anchor_version: 1,
            anchor_hash: keys.hash(),
            valid_from: EPOCH,
            valid_to: year_later(),
        });
        documents.extend([keys, officers(id, index, federation)]);
    }
    let roster = Roster {
        preamble: Preamble,
        federation,
        root_version: 1,
        epoch: 1,
        roster_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: EPOCH,
        expires_at: year_later(),
        catalogue_hash: catalogue.hash(),
        min_protocol: 1,
        max_protocol: 1,
        members: Bounded::new(members).unwrap(),
    };
    documents.extend([root, signed(&roster, &[1, 2], &federation), catalogue]);
    let trust = Trust::build(&documents, Some(&federation)).unwrap();
    let agencies = ids.into_iter().enumerate().map(|(index, id)| Agency {
        sign: key(seeds(index)[3]),
        officer: key(seeds(index)[6]),
        card: card(index),
        access: access(&id, index, &documents, federation),
        editions: (1..=2).map(|number| edition(index, number, trust.catalogue(), &federation)).collect(),
        id,
    });
    let agencies = agencies.collect();
    let marking = Marking { code: HandlingCodes::H0, tlp: Tlp::Amber, recipients: Bounded::default(), embargo_days: 0 };
    Fixture { documents, federation, trust, agencies, marking }
}
