//! Documents of a made federation: keys from fixed seeds, and each kind of document in the shape that a history needs.

use std::sync::LazyLock;

use accord_protocol::{
    accept::{Accept, Compared},
    catalogue::CatalogueDocument,
    code::list_hash,
    codec::{Bounded, Text},
    id::{Hash, NodeId, from_hex},
    key::{PublicKey, SigningKey},
    member_keys::MemberKeys,
    officers::Officers,
    root::{Root, federation_id},
    roster::{Member, MemberRole, MemberState, Roster},
    signed::{Document, FederationId, Preamble, Signable},
    suspend::{Suspend, Target, Way},
    time::{DAY_MS, UnixMs},
};

/// When documents were made; histories begin a day later.
pub(super) const EPOCH: UnixMs = UnixMs(1_795_500_000_000);
/// The members that there may be.
pub(super) const NAMES: [&str; 6] = ["AT-AGENCY", "DK-AGENCY", "ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "SE-AGENCY"];
/// Root keys of each version of the root document, by their numbers; two must sign.
pub(super) const ROOT_KEYS: [[usize; 3]; 2] = [[0, 1, 2], [1, 2, 3]];

const KEYS_MAX: usize = 400;

static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| (0..KEYS_MAX).map(make_key).collect());

// The key whose private seed is this number (RFC 8032 seeds, RFC 8410 envelope).
fn make_key(number: usize) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let mut pkcs8 = from_hex("3051020101300506032b657004220420").unwrap();
    pkcs8.extend(seed);
    pkcs8.extend([0x81, 0x21, 0x00]);
    pkcs8.extend(ring::signature::KeyPair::public_key(&pair).as_ref());
    SigningKey::from_pkcs8(&pkcs8).unwrap()
}

/// A key by its number.
pub(super) fn key(number: usize) -> &'static SigningKey {
    &KEYS[number]
}

/// Its public part.
pub(super) fn public(number: usize) -> PublicKey {
    key(number).public()
}

const fn base(member: usize) -> usize {
    10 + 50 * member
}

/// Numbers of a member's administrators' keys: two of two.
pub(super) const fn admins(member: usize) -> [usize; 2] {
    [base(member), base(member) + 1]
}

/// Number of a member's TLS key of a generation.
pub(super) const fn tls(member: usize, generation: usize) -> usize {
    base(member) + 10 + generation
}

/// Number of a member's signing key of a generation.
pub(super) const fn sign(member: usize, generation: usize) -> usize {
    base(member) + 20 + generation
}

/// A member's name.
pub(super) fn id(member: usize) -> NodeId {
    NAMES[member].parse().unwrap()
}

fn year_later() -> UnixMs {
    EPOCH.plus(365 * DAY_MS)
}

/// Signs a value with keys by their numbers.
pub(super) fn signed<T: Signable>(value: &T, federation: &FederationId, signers: &[usize]) -> Document {
    let mut document = Document::new(value).unwrap();
    for number in signers {
        assert!(document.add_signature(key(*number), federation));
    }
    document
}

/// Root document 1 or 2.
pub(super) fn root(version: usize) -> Document {
    let numbers = ROOT_KEYS[version - 1];
    let root = Root {
        preamble: Preamble,
        root_version: version as u64,
        epoch: 1,
        genesis_nonce: [7; 32],
        name: Text::new("Example").unwrap(),
        keys: Bounded::sorted(numbers.iter().map(|number| public(*number)).collect()).unwrap(),
        threshold: 2,
        issued_at: EPOCH,
        expires_at: year_later(),
    };
    signed(&root, &Hash::ZERO, &numbers)
}

/// A root document that nobody signed.
pub(super) fn unsigned_root(version: u64) -> Document {
    let mut root: Root = root(2).unverified().unwrap();
    root.root_version = version;
    Document::new(&root).unwrap()
}

/// The federation's id.
pub(super) fn federation() -> FederationId {
    static ID: LazyLock<FederationId> = LazyLock::new(|| federation_id(root(1).payload()));
    *ID
}

const TABLE: &str = r#"
[[table]]
id = 1
name = "seizures"
version = 1
kind = "seizure"
title = "Seizures by year and drug"
counting_unit = "line"
method = []

[[table.dimension]]
name = "time"
list = "time"
default = "year"

[[table.dimension]]
name = "drug"
list = "drugs-1"
default = "group"

[[table.measure]]
id = "seizures"
of = "lines"
unit = "1"
note = ""

[[table.grid]]
levels = { time = ["year"], drug = ["group"] }
measures = ["seizures"]
"#;

/// A catalogue of one small table, with a line that tells one from another.
pub(super) fn catalogue(line: &str) -> Document {
    let list = list_hash("drugs-1").unwrap();
    let text = format!("# {line}\nid = \"small-1\"\n[[list]]\nname = \"drugs-1\"\nsha256 = \"{list}\"\n{TABLE}");
    let document = CatalogueDocument { preamble: Preamble, text: Bounded::new(text.into_bytes()).unwrap() };
    signed(&document, &federation(), &[1, 2])
}

/// What one keys document lists and who signs it beside the administrators and the keys in it.
pub(super) struct KeysShape<'a> {
    pub(super) member: usize,
    pub(super) version: u64,
    pub(super) before: Hash,
    /// Generations of TLS and signing keys, the current first.
    pub(super) tls: &'a [usize],
    pub(super) sign: &'a [usize],
    /// Generation of the signing key before that says so too.
    pub(super) continuity: Option<usize>,
    /// Tells two documents of one shape apart.
    pub(super) port: u16,
}

/// A member's keys.
pub(super) fn member_keys(shape: &KeysShape<'_>) -> Document {
    let member = shape.member;
    let (log, witness) = (base(member) + 30, base(member) + 31);
    let tls: Vec<usize> = shape.tls.iter().map(|generation| tls(member, *generation)).collect();
    let signing: Vec<usize> = shape.sign.iter().map(|generation| sign(member, *generation)).collect();
    let public_of = |numbers: &[usize]| numbers.iter().map(|number| public(*number)).collect::<Vec<_>>();
    let keys = MemberKeys {
        preamble: Preamble,
        federation: federation(),
        node_id: id(member),
        keys_version: shape.version,
        prev_hash: shape.before,
        issued_at: EPOCH,
        expires_at: year_later(),
        admin_keys: Bounded::sorted(public_of(&admins(member))).unwrap(),
        admin_threshold: 2,
        tls_keys: Bounded::new(public_of(&tls)).unwrap(),
        sign_keys: Bounded::new(public_of(&signing)).unwrap(),
        log_keys: Bounded::new(vec![public(log)]).unwrap(),
        witness_key: public(witness),
        addresses: Bounded::new(vec![Text::new(&format!("192.0.2.1:{}", shape.port)).unwrap()]).unwrap(),
        officers_version_min: 0,
    };
    let mut signers = [admins(member).as_slice(), &tls, &signing, &[log, witness]].concat();
    signers.extend(shape.continuity.map(|generation| sign(member, generation)));
    signed(&keys, &federation(), &signers)
}

/// A member's first keys.
pub(super) fn first_keys(member: usize) -> Document {
    member_keys(&KeysShape {
        member,
        version: 1,
        before: Hash::ZERO,
        tls: &[0],
        sign: &[0],
        continuity: None,
        port: 4433,
    })
}

/// A roster's entry of a member.
pub(super) fn entry(member: usize, anchor: &Document, state: MemberState) -> Member {
    let keys: MemberKeys = anchor.unverified().unwrap();
    Member {
        node_id: id(member),
        name: Text::new(NAMES[member]).unwrap(),
        state,
        roles: Bounded::new(vec![MemberRole::Provider, MemberRole::Requester, MemberRole::Witness]).unwrap(),
        anchor_version: keys.keys_version,
        anchor_hash: anchor.hash(),
        valid_from: EPOCH,
        valid_to: year_later(),
    }
}

/// A roster, signed by these root keys.
pub(super) fn roster(
    root_version: u64,
    version: u64,
    prev_hash: Hash,
    catalogue: Hash,
    members: Vec<Member>,
    signers: &[usize],
) -> Document {
    let roster = Roster {
        preamble: Preamble,
        federation: federation(),
        root_version,
        epoch: 1,
        roster_version: version,
        prev_hash,
        issued_at: EPOCH,
        expires_at: year_later(),
        catalogue_hash: catalogue,
        min_protocol: 1,
        max_protocol: 1,
        members: Bounded::new(members).unwrap(),
    };
    signed(&roster, &federation(), signers)
}

/// A card, as lists name it.
pub(super) fn card(number: usize) -> Hash {
    Hash::of(&number.to_be_bytes())
}

/// A list of officers, signed by some of the member's administrators.
pub(super) fn officers(member: usize, version: u64, prev_hash: Hash, cards: &[usize], signers: &[usize]) -> Document {
    let list = Officers {
        preamble: Preamble,
        federation: federation(),
        node_id: id(member),
        list_version: version,
        prev_hash,
        issued_at: EPOCH,
        expires_at: year_later(),
        cards: Bounded::sorted(cards.iter().map(|number| card(*number)).collect()).unwrap(),
    };
    signed(&list, &federation(), signers)
}

/// A suspension or its lifting, the `nth` word of the member.
pub(super) fn suspend(member: usize, target: Target, subject: &str, way: Way, nth: u64, signers: &[usize]) -> Document {
    let issued_at = EPOCH.plus(DAY_MS + nth * 60_000);
    let suspend = Suspend {
        preamble: Preamble,
        federation: federation(),
        node_id: id(member),
        way,
        target,
        subject: Text::new(subject).unwrap(),
        reason: Text::new("a drill").unwrap(),
        issued_at,
        until: issued_at.plus(30 * DAY_MS),
    };
    signed(&suspend, &federation(), signers)
}

/// That an administrator of `member` has compared keys of another.
pub(super) fn accept(member: usize, of: usize, keys: Hash) -> Document {
    let compared = Bounded::new(vec![Compared { member: id(of), keys }]).unwrap();
    let accept =
        Accept { preamble: Preamble, federation: federation(), node_id: id(member), issued_at: EPOCH, compared };
    signed(&accept, &federation(), &admins(member)[..1])
}
