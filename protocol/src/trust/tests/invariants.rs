//! Invariants of every kind of document: one spelling, no weak key, nothing outside its time, no key in another's role (K6 to K9, K13, K17).

use super::{make::*, *};
use crate::{
    accept::{Accept, Compared},
    codec::{Bounded, Text, encode},
    id::{OfficerId, from_hex},
    key::Signature,
    member_keys::{KeyClaim, KeyRole, RoleKey, verify_claim},
    officers::{Purpose, StaffMember},
    signed::{Preamble, Signable, verify_message},
    time::DAY_MS,
};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";

fn card() -> Card {
    Card {
        officer_id: OfficerId([1; 16]),
        key: public(50),
        purposes: Bounded::new(vec![Purpose::StrategicAnalysis, Purpose::Test]).unwrap(),
        valid_from: NOW,
        valid_to: NOW.plus(50 * DAY_MS),
    }
}

fn listed() -> Officers {
    let mut list = officers(IT, 1, Hash::ZERO, &[1, 2]);
    let hash = Hash::of(&encode(&card()).unwrap());
    list.cards = Bounded::sorted([list.cards.as_slice(), &[hash]].concat()).unwrap();
    list
}

fn staff() -> Staff {
    let person = |role, seed| StaffMember { role, key: public(seed), valid_from: NOW, valid_to: NOW.plus(DAY_MS) };
    Staff {
        preamble: Preamble,
        federation: federation(),
        node_id: id(ES),
        list_version: 1,
        prev_hash: Hash::ZERO,
        issued_at: NOW,
        expires_at: NOW.plus(100 * DAY_MS),
        people: Bounded::new(vec![person(KeyRole::Operator, 51), person(KeyRole::Auditor, 52)]).unwrap(),
    }
}

fn suspend(of: &str, target: Target, subject: &str) -> Suspend {
    Suspend {
        preamble: Preamble,
        federation: federation(),
        node_id: id(of),
        way: Way::Stops,
        target,
        subject: Text::new(subject).unwrap(),
        reason: Text::new("lost").unwrap(),
        issued_at: NOW,
        until: NOW.plus(DAY_MS),
    }
}

fn accept() -> Accept {
    let compared = |member, keys| Compared { member: id(member), keys: Hash([keys; 32]) };
    Accept {
        preamble: Preamble,
        federation: federation(),
        node_id: id(ES),
        issued_at: NOW,
        compared: Bounded::new(vec![compared(IT, 1), compared("PT-AGENCY", 2)]).unwrap(),
    }
}

fn claim() -> KeyClaim {
    let key = |role, seed| RoleKey { role, key: public(seed) };
    KeyClaim {
        preamble: Preamble,
        name: Text::new("Agency").unwrap(),
        node_id: Some(id(ES)),
        keys: Bounded::new(vec![key(KeyRole::Tls, 53), key(KeyRole::Sign, 54)]).unwrap(),
        addresses: Bounded::new(vec![Text::new("192.0.2.1:4433").unwrap()]).unwrap(),
    }
}

/// A kind of document: one that is sound, by whom it is signed, and what of its bytes may be exchanged to spoil it.
struct Kind {
    sound: Document,
    signers: Vec<u8>,
    /// What stands there, and what stands there instead.
    spoilt: Vec<(&'static str, Vec<u8>, Vec<u8>)>,
}

fn swapped(what: &'static str, one: &[u8], other: &[u8]) -> (&'static str, Vec<u8>, Vec<u8>) {
    (what, [one, other].concat(), [other, one].concat())
}

fn twice(what: &'static str, one: &[u8], other: &[u8]) -> (&'static str, Vec<u8>, Vec<u8>) {
    (what, [one, other].concat(), [one, one].concat())
}

fn kind<T: Signable>(value: &T, signers: &[u8], spoilt: Vec<(&'static str, Vec<u8>, Vec<u8>)>) -> Kind {
    let federation = if matches!(T::LABEL, Label::Root | Label::KeyClaim) { Hash::ZERO } else { federation() };
    Kind { sound: signed(value, &federation, signers), signers: signers.to_vec(), spoilt }
}

// Every kind, in the order in which a set of them is put together.
#[expect(clippy::too_many_lines, reason = "a table")]
fn kinds() -> Vec<Kind> {
    let set = first_set();
    let root: Root = set[0].unverified().unwrap();
    let text = encode(&set[1].unverified::<CatalogueDocument>().unwrap().text).unwrap();
    let es: MemberKeys = set[2].unverified().unwrap();
    let it: MemberKeys = set[3].unverified().unwrap();
    let roster: Roster = set[4].unverified().unwrap();
    let (list, staff, accept, claim) = (listed(), staff(), accept(), claim());
    let keys = |keys: &[PublicKey], n: usize| *keys[n].as_bytes();
    let members: Vec<Vec<u8>> = roster.members.iter().map(|member| encode(member).unwrap()).collect();
    let people: Vec<Vec<u8>> = staff.people.iter().map(|person| encode(person).unwrap()).collect();
    let compared: Vec<Vec<u8>> = accept.compared.iter().map(|one| encode(one).unwrap()).collect();
    let claimed: Vec<Vec<u8>> = claim.keys.iter().map(|one| encode(one).unwrap()).collect();
    let (root_keys, admins) = (root.keys.as_slice(), it.admin_keys.as_slice());
    let cards = list.cards.as_slice();
    let stop = suspend(IT, Target::Key, &public(34).to_string());
    vec![
        kind(
            &root,
            &[1, 2, 3, 4, 5],
            vec![
                swapped("unsorted keys", &keys(root_keys, 0), &keys(root_keys, 1)),
                twice("one key twice", &keys(root_keys, 0), &keys(root_keys, 1)),
            ],
        ),
        kind(
            &set[1].unverified::<CatalogueDocument>().unwrap(),
            &[1, 2, 3],
            vec![("no UTF-8", text.clone(), [&text[..8], &[0xff], &text[9..]].concat())],
        ),
        kind(&es, &seeds_of(ES), vec![]),
        kind(
            &it,
            &seeds_of(IT),
            vec![
                swapped("unsorted administrators", &keys(admins, 0), &keys(admins, 1)),
                twice("one administrator twice", &keys(admins, 0), &keys(admins, 1)),
                (
                    "one key in two roles",
                    it.witness_key.as_bytes().to_vec(),
                    it.tls_keys.as_slice()[0].as_bytes().to_vec(),
                ),
            ],
        ),
        kind(
            &roster,
            &[1, 2, 3],
            vec![
                swapped("unsorted members", &members[0], &members[1]),
                twice("one member twice", &members[0], &members[1]),
                swapped("unsorted roles", &[1], &[2]),
                twice("one role twice", &[1], &[2]),
                ("an unknown role", vec![1, 2, 3], vec![1, 2, 4]),
            ],
        ),
        kind(
            &list,
            &[30, 31],
            vec![
                swapped("unsorted cards", &cards[0].0, &cards[1].0),
                twice("one card twice", &cards[0].0, &cards[1].0),
            ],
        ),
        kind(
            &staff,
            &[20, 21],
            vec![
                twice("one person twice", &people[0], &people[1]),
                ("a role that is none", people[0].clone(), [&[7], &people[0][1..]].concat()),
            ],
        ),
        kind(
            &stop,
            &[30],
            vec![(
                "a key in capitals",
                stop.subject.as_str().into(),
                stop.subject.as_str().to_ascii_uppercase().into(),
            )],
        ),
        kind(
            &accept,
            &[20],
            vec![
                swapped("unsorted members", &compared[0], &compared[1]),
                twice("one member twice", &compared[0], &compared[1]),
            ],
        ),
        kind(
            &claim,
            &[53, 54],
            vec![
                twice("one key twice", &claimed[0], &claimed[1]),
                (
                    "a member that is half there",
                    [&[1], 9_u64.to_be_bytes().as_slice()].concat(),
                    [&[2], 9_u64.to_be_bytes().as_slice()].concat(),
                ),
            ],
        ),
    ]
}

fn federation_of(label: Label) -> Hash {
    if matches!(label, Label::Root | Label::KeyClaim) { Hash::ZERO } else { federation() }
}

// Whether a set that has this document in the place of the sound one believes it.
fn counts(kinds: &[Kind], place: usize, document: &Document) -> bool {
    if document.label() == Label::KeyClaim {
        return verify_claim(document).is_ok();
    }
    let mut set: Vec<Document> = kinds.iter().map(|kind| kind.sound.clone()).collect();
    let ground = ground(&set);
    set[place] = document.clone();
    Trust::hold(&set, &ground).is_ok_and(|trust| trust.keeps(document))
}

fn replaced(payload: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = payload.windows(from.len()).rposition(|part| part == from).unwrap();
    [&payload[..at], to, &payload[at + from.len()..]].concat()
}

#[test]
fn k6_a_document_has_one_spelling_even_if_another_is_signed_as_well() {
    let kinds = kinds();
    for (place, kind) in kinds.iter().enumerate() {
        let label = kind.sound.label();
        let payload = kind.sound.payload();
        let again = |payload: &[u8]| signed_payload(label, payload, &federation_of(label), &kind.signers);
        assert!(counts(&kinds, place, &again(payload)), "{label}: the sound one counts");
        let header = |at: usize, byte: u8| [&payload[..at], &[byte], &payload[at + 1..]].concat();
        let mut cases: Vec<(&str, Vec<u8>)> = vec![
            ("a byte more", [payload, &[0]].concat()),
            ("a field more", [payload, &[0, 0, 0, 0, 0, 0, 0, 1, b'x']].concat()),
            ("a byte less", payload[..payload.len() - 1].to_vec()),
            ("nothing", vec![]),
            ("another protocol", header(1, 2)),
            ("another kind", header(3, payload[3] ^ 1)),
        ];
        for (what, from, to) in &kind.spoilt {
            cases.push((what, replaced(payload, from, to)));
        }
        for (what, payload) in cases {
            assert!(!counts(&kinds, place, &again(&payload)), "{label}: {what}");
        }
    }
}

#[test]
fn k6_a_document_of_one_kind_is_none_of_another() {
    let kinds = kinds();
    for (place, kind) in kinds.iter().enumerate() {
        for label in Label::ALL.iter().copied().filter(|label| *label != kind.sound.label()) {
            let other = signed_payload(label, kind.sound.payload(), &federation_of(label), &kind.signers);
            assert!(!counts(&kinds, place, &other), "{} under the label {label}", kind.sound.label());
            // Nor does a signature made for another kind count.
            let mut bytes = encode(&other).unwrap();
            bytes[..2].copy_from_slice(&kind.sound.label().number().to_be_bytes());
            let relabelled: Document = decode(&bytes, Cap::Document).unwrap();
            assert_eq!(relabelled.label(), kind.sound.label());
            assert!(!counts(&kinds, place, &relabelled), "{} signed as {label}", kind.sound.label());
        }
    }
}

/// The 14 encodings of points of low order and the 34 other second spellings, as `tests/it/weak_keys.rs` derives them.
fn weak_keys() -> Vec<[u8; 32]> {
    let near_p = |first: u8| {
        std::array::from_fn(|n| {
            if n == 0 {
                first
            } else if n == 31 {
                0x7f
            } else {
                0xff
            }
        })
    };
    let small = |first: u8| std::array::from_fn(|n| if n == 0 { first } else { 0 });
    let order_eight = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut keys: Vec<[u8; 32]> = vec![small(0), small(1), near_p(0xec)];
    keys.extend(order_eight.map(|hex| <[u8; 32]>::try_from(from_hex(hex).unwrap()).unwrap()));
    keys.extend((0xed..=0xff).map(near_p));
    let signed = keys.clone().into_iter().map(|mut key| {
        key[31] |= 0x80;
        key
    });
    keys.extend(signed);
    keys
}

#[test]
fn k8_no_place_for_a_key_takes_a_weak_one() {
    let (kinds, weak) = (kinds(), weak_keys());
    assert_eq!(weak.len(), 48);
    let known: Vec<PublicKey> = (0..=60).map(public).collect();
    let mut places = 0;
    for kind in &kinds {
        let (label, payload) = (kind.sound.label(), kind.sound.payload());
        let reads = |payload: &[u8]| {
            let document = signed_payload(label, payload, &federation_of(label), &kind.signers);
            match label {
                Label::Root => document.unverified::<Root>().is_ok(),
                Label::MemberKeys => document.unverified::<MemberKeys>().is_ok(),
                Label::Staff => document.unverified::<Staff>().is_ok(),
                Label::KeyClaim => document.unverified::<KeyClaim>().is_ok(),
                _ => false,
            }
        };
        for at in 0..payload.len().saturating_sub(31) {
            if !known.iter().any(|key| key.as_bytes() == &payload[at..at + 32]) {
                continue;
            }
            places += 1;
            assert!(reads(payload), "{label} holds a key");
            for weak in &weak {
                assert!(!reads(&[&payload[..at], weak.as_slice(), &payload[at + 32..]].concat()), "{label} at {at}");
            }
        }
    }
    // Five of the root, seven of each member, two of the staff, two that are claimed.
    assert_eq!(places, 5 + 7 + 7 + 2 + 2);
    let card_bytes = encode(&card()).unwrap();
    for weak in &weak {
        assert!(decode::<Card>(&replaced(&card_bytes, card().key.as_bytes(), weak), Cap::Small).is_err());
        let subject = crate::id::to_hex(weak);
        assert!(suspend(IT, Target::Key, &subject).check().is_err(), "{subject}");
    }
}

type Change = fn(&mut Root, &mut Roster, &mut MemberKeys, &mut Officers, UnixMs);

#[test]
fn k7_nothing_counts_after_it_expires_or_before_it_is_valid() {
    let bytes = encode(&card()).unwrap();
    let early = UnixMs(NOW.0 - 1);
    let soon = NOW.plus(10 * DAY_MS);
    // What ends at that moment, and what still counts from then on.
    let cases: [(&str, Change, bool, bool); 5] = [
        ("the root", |root, _, _, _, at| root.expires_at = at, false, true),
        ("the roster", |_, roster, _, _, at| roster.expires_at = at, false, true),
        ("the keys", |_, _, keys, _, at| keys.expires_at = at, false, true),
        (
            "the entry",
            |_, roster, _, _, at| {
                let mut members = roster.members.as_slice().to_vec();
                members[1].valid_to = at;
                roster.members = Bounded::new(members).unwrap();
            },
            false,
            true,
        ),
        ("the list", |_, _, _, list, at| list.expires_at = at, true, false),
    ];
    for (what, change, active_after, vouched_after) in cases {
        let mut root = root(1, &[1, 2, 3, 4, 5], 3);
        let mut keys = member_keys(IT, 1, Hash::ZERO);
        let (mut list, mut entries) = (listed(), roster(1, Hash::ZERO, vec![]));
        entries.members = first_set()[4].unverified::<Roster>().unwrap().members;
        change(&mut root, &mut entries, &mut keys, &mut list, soon);
        let root = signed(&root, &Hash::ZERO, &[1, 2, 3, 4, 5]);
        let federation = root::federation_id(root.payload());
        keys.federation = federation;
        list.federation = federation;
        entries.federation = federation;
        let es = MemberKeys { federation, ..member_keys(ES, 1, Hash::ZERO) };
        let (es, it) = (signed(&es, &federation, &seeds_of(ES)), signed(&keys, &federation, &seeds_of(IT)));
        let mut members = entries.members.as_slice().to_vec();
        (members[0].anchor_hash, members[1].anchor_hash) = (es.hash(), it.hash());
        entries.members = Bounded::new(members).unwrap();
        let catalogue = signed(&catalogue().unverified::<CatalogueDocument>().unwrap(), &federation, &[1, 2, 3]);
        let roster = signed(&entries, &federation, &[1, 2, 3]);
        let set = [root, catalogue, es, it, roster, signed(&list, &federation, &[30, 31])];
        let trust = Trust::build(&set, Some(&federation)).unwrap();
        let at = |now| (trust.active(&id(IT), now).is_some(), trust.officer(&id(IT), &bytes, now).is_some());
        assert_eq!(at(UnixMs(soon.0 - 1)), (true, true), "{what}, just before");
        assert_eq!(at(soon), (active_after, vouched_after), "{what}, from then on");
        assert_eq!(at(early), (false, false), "{what}: entry and card are not valid yet");
        assert!(!at(NOW.plus(50 * DAY_MS)).1, "the card");
    }
}

#[test]
fn k9_a_key_counts_only_if_its_owner_has_signed() {
    let claim = claim();
    for (signers, want) in [(&[53, 54][..], true), (&[53], false), (&[54], false), (&[53, 55], false), (&[], false)] {
        assert_eq!(verify_claim(&signed(&claim, &Hash::ZERO, signers)).is_ok(), want, "{signers:?}");
    }
    assert!(verify_claim(&signed(&claim, &federation(), &[53, 54])).is_err(), "in the name of a federation");
    // A member's first keys: every one of them. Later ones: every one that is new.
    let kinds = kinds();
    let it: MemberKeys = kinds[3].sound.unverified().unwrap();
    for missing in seeds_of(IT) {
        let rest: Vec<u8> = seeds_of(IT).into_iter().filter(|seed| *seed != missing).collect();
        assert!(!counts(&kinds, 3, &signed(&it, &federation(), &rest)), "without {missing}");
    }
    let root: Root = kinds[0].sound.unverified().unwrap();
    for missing in 1..=5 {
        let rest: Vec<u8> = (1..=5).filter(|seed| *seed != missing).collect();
        assert!(!counts(&kinds, 0, &signed(&root, &Hash::ZERO, &rest)), "without {missing}");
    }
}

#[test]
fn k13_the_key_of_handshakes_signs_nothing_and_the_signing_key_opens_no_connection() {
    let set = first_set();
    let trust = Trust::hold(&set, &ground(&set)).unwrap();
    let [_, _, _, tls, sign, log, witness] = seeds_of(IT);
    let message = claim();
    let payload = encode(&message).unwrap();
    let believed = |seed: u8| {
        let signature: Signature = key(seed).sign(Label::KeyClaim, &federation(), &payload);
        verify_message::<KeyClaim>(&federation(), &trust.sign_keys(&id(IT), NOW), &payload, &signature).is_ok()
    };
    for (role, seed, signs, connects) in [
        ("tls", tls, false, true),
        ("sign", sign, true, false),
        ("log", log, false, false),
        ("witness", witness, false, false),
    ] {
        assert_eq!(believed(seed), signs, "{role}");
        assert_eq!(trust.member_by_tls_key(&public(seed), NOW).is_some(), connects, "{role}");
        assert_eq!(trust.greets(&public(seed), NOW).is_some(), connects, "{role}");
        // What a handshake signs begins with 64 spaces, and so is no text of ours.
        let handshake =
            key(seed).sign_raw(&[[0x20; 64].as_slice(), b"TLS 1.3, server CertificateVerify\0", &payload].concat());
        let keys = [public(seed)];
        assert!(verify_message::<KeyClaim>(&federation(), &keys, &payload, &handshake).is_err(), "{role}");
    }
}

#[test]
fn k17_a_suspension_stops_what_is_the_signers_own_and_nothing_else() {
    let kinds = kinds();
    let set: Vec<Document> =
        kinds.iter().map(|kind| kind.sound.clone()).filter(|one| one.label() != Label::Suspend).collect();
    let installed = ground(&set);
    let (bytes, later) = (encode(&card()).unwrap(), NOW.plus(60_000));
    let (key, officer) = (public(seeds_of(IT)[4]).to_string(), Hash::of(&bytes).to_string());
    let cases = [
        ("their key, by them", suspend(IT, Target::Key, &key), 30, (false, true)),
        ("their key, by us", suspend(ES, Target::Key, &key), 20, (true, true)),
        ("their key, by us in their name", suspend(IT, Target::Key, &key), 20, (true, true)),
        ("their officer, by them", suspend(IT, Target::Officer, &officer), 31, (true, false)),
        ("their officer, by us", suspend(ES, Target::Officer, &officer), 21, (true, true)),
        ("their officer, by us in their name", suspend(IT, Target::Officer, &officer), 21, (true, true)),
        ("their officer, by their node", suspend(IT, Target::Officer, &officer), 34, (true, true)),
        ("their officer, by a root holder", suspend(IT, Target::Officer, &officer), 1, (true, true)),
    ];
    for (what, suspend, by, want) in cases {
        let set = [set.clone(), vec![signed(&suspend, &federation(), &[by])]].concat();
        let trust = Trust::hold(&set, &installed).unwrap();
        let got = (trust.active(&id(IT), later).is_some(), trust.officer(&id(IT), &bytes, later).is_some());
        assert_eq!(got, want, "{what}");
        assert!(trust.active(&id(ES), later).is_some(), "{what}");
    }
}
