//! Trust documents that are handed in and must not count, one by one, by their numbers in the list of hostile files (C107 to C128).
//!
//! Each row hands files to `accord-node install` at a node that has roster 2, and looks at the folder again as the node would at its
//! next start. Left out: C126, since there is no text form; C129, since policies are not there.

use std::{collections::BTreeSet, fs, path::Path, sync::atomic::AtomicBool};

use accord_edge::{
    keyring::{KeyRing, RingKind, Seal},
    trust_folder::TrustFolder,
};
use accord_protocol::{
    codec::{Bounded, Text, encode},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::{KeyRole, MemberKeys},
    officers::Officers,
    root::Root,
    roster::{Member, Roster},
    signed::{Document, Label, Preamble, Signable},
    time::UnixMs,
    trust::Remark,
};
use accord_tests::{Federation, accord_node};

const ROOT_1: (&str, KeyRole) = ("root-1/root.ring", KeyRole::Root);
const ROOT_2: (&str, KeyRole) = ("root-2/root.ring", KeyRole::Root);
const ROOT_3: (&str, KeyRole) = ("root-3/root.ring", KeyRole::Root);
const TRUST: &str = "ES-AGENCY/node/trust";

/// What an installation comes to.
enum Ends {
    /// Nothing is changed, and it says why.
    Refused(i32, &'static str),
    /// This roster is in force then, and data is exchanged.
    Taken(u64),
    /// It is believed, and nothing is exchanged until it is cleared up.
    InDoubt(u64),
}
use Ends::{InDoubt, Refused, Taken};

type Row = (&'static str, &'static str, &'static [&'static str], Ends);

const ROWS: &[Row] = &[
    ("C107", "an older version", &["public/roster.accord"], Refused(3, "roster 1 is older than roster 2 in force")),
    ("C107", "the version in force once more", &["roster-2"], Taken(2)),
    ("C108", "the same version with another content", &["roster-2-other"], InDoubt(2)),
    ("C109", "a gap with the whole chain", &["roster-4", "roster-3"], Taken(4)),
    ("C110", "a gap without a chain", &["roster-4"], Refused(3, "roster 4 of the federation follows nothing")),
    ("C111", "signed by one too few", &["roster-3-by-one"], Refused(3, "1 of 2 needed signatures")),
    ("C112", "one key has signed twice", &["roster-3-by-one-twice"], Refused(3, "1 of 2 needed signatures")),
    (
        "C112",
        "one key is listed twice",
        &["root-2-key-twice"],
        Refused(3, "root keys are not sorted, or one stands twice"),
    ),
    ("C113", "one key under two members", &["keys-it-shared"], Refused(3, "does not list ES-AGENCY with keys")),
    ("C113", "one key in two roles of a member", &["keys-it-two-roles"], Refused(3, "of no use here")),
    ("C113", "a root key among a member's", &["keys-it-root"], Refused(3, "one key stands in two places")),
    ("C114", "a threshold of 0", &["root-2-threshold-0"], Refused(3, "a root threshold below 2")),
    ("C114", "a threshold of all", &["root-2-threshold-3"], Refused(3, "one loss would end the federation")),
    ("C114", "a threshold of 255", &["root-2-threshold-255"], Refused(3, "one loss would end the federation")),
    ("C115", "no members", &["roster-3-empty"], Refused(3, "a roster without members")),
    ("C116", "without the own node", &["roster-3-without-es"], Refused(3, "does not list ES-AGENCY with keys")),
    ("C117", "the own node with other keys", &["keys-es-other"], Refused(3, "with other keys than this node has")),
    ("C118", "one name twice", &["roster-3-twice"], Refused(3, "members are not sorted, or one stands twice")),
    ("C118", "a name in small letters", &["roster-3-small"], Refused(3, "the signed bytes are not a message")),
    (
        "C118",
        "a name in letters that look alike",
        &["roster-3-alike"],
        Refused(3, "the signed bytes are not a message"),
    ),
    ("C119", "65 members", &["roster-3-65"], Refused(3, "the signed bytes are not a message")),
    ("C119", "a claim of 10,000 members", &["roster-3-10000"], Refused(3, "the signed bytes are not a message")),
    ("C119", "a file of 100 MB", &["large"], Refused(4, "is larger than")),
    ("C119", "a file a byte too long", &["trailing"], Refused(4, "bytes left over")),
    ("C120", "the address 0.0.0.0:0", &["keys-it-0.0.0.0:0"], Refused(3, "of no use here")),
    ("C120", "a link-local address", &["keys-it-169.254.169.254:443"], Refused(3, "of no use here")),
    ("C120", "a name", &["keys-it-example.org:4433"], Refused(3, "of no use here")),
    ("C120", "a name of 300 bytes", &["keys-it-300"], Refused(3, "of no use here")),
    // Whoever answers there proves another key.
    ("C120", "the own address as a partner's", &["keys-it-own-address"], Taken(2)),
    ("C121", "valid to before valid from", &["roster-3-inside-out"], Refused(3, "validity or roles are not in order")),
    ("C122", "keys that expire in the year 10,000", &["keys-it-10000"], Refused(3, "of no use here")),
    ("C122", "a roster that expires in the year 10,000", &["roster-3-10000-years"], Taken(3)),
    ("C122", "a roster that never expires", &["roster-3-for-ever"], Taken(3)),
    ("C123", "root 3 without root 2", &["root-3"], Refused(3, "root versions go up by exactly one")),
    ("C123", "root 3 with root 2, no roster yet", &["root-3", "root-2"], InDoubt(2)),
    ("C123", "root 3 with root 2 and a roster", &["roster-3-of-root-3", "root-3", "root-2"], Taken(3)),
    ("C124", "a key of low order", &["keys-it-weak"], Refused(3, "of no use here")),
    ("C124", "a root key of low order", &["root-2-weak"], Refused(3, "the signed bytes are not a message")),
    ("C125", "another federation's roster", &["roster-3-elsewhere"], Refused(3, "the roster is of another federation")),
    (
        "C128",
        "officers signed by another member's administrators",
        &["officers-by-es"],
        Refused(3, "0 of 1 needed signatures"),
    ),
    (
        "C128",
        "officers signed in another member's name",
        &["officers-in-the-name-of-es"],
        Refused(3, "0 of 1 needed signatures"),
    ),
];

#[test]
fn files_that_must_not_count_do_not() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    make(&federation);
    let path = federation.path();
    let installed = install(&federation, &["roster-2"]);
    assert_eq!(installed.code, 0, "{}", installed.stderr);
    let before = held(&path);
    assert_eq!(before.trust.roster().roster_version, 2);
    copy(&path.join(TRUST), &path.join("before"));
    for (id, what, files, ends) in ROWS {
        let said = install(&federation, files);
        let after = held(&path);
        let roster = after.trust.roster();
        let current = after.trust.roster_is_current(roster.issued_at);
        match ends {
            Refused(code, words) => {
                assert_eq!(said.code, *code, "{id} {what}: {}{}", said.stdout, said.stderr);
                assert!(said.stderr.contains(words), "{id} {what}: {}", said.stderr);
                assert_eq!(names(&path.join(TRUST)), names(&path.join("before")), "{id} {what}");
                assert_eq!(roster.hash(), before.trust.roster().hash(), "{id} {what}");
            }
            Taken(version) | InDoubt(version) => {
                assert_eq!(said.code, 0, "{id} {what}: {}", said.stderr);
                assert_eq!(roster.roster_version, *version, "{id} {what}");
                assert_eq!(current, matches!(ends, Taken(_)), "{id} {what}: {:?}", after.trust.remarks());
            }
        }
        // The same in memory, as a running node takes it.
        if let Ok(documents) = files.iter().map(|file| read(&path, file)).collect::<Result<Vec<_>, _>>() {
            let older = before.goes_back(&documents).is_some();
            let next = before.with(&documents);
            let taken = !older && next.is_ok_and(|next| documents.iter().all(|document| next.holds(document)));
            let by_node_alone = ["keys-es-other", "keys-it-root", "keys-it-shared", "roster-3-without-es"];
            if !by_node_alone.contains(&files[0]) {
                assert_eq!(taken, !matches!(ends, Refused(..)), "{id} {what}");
            }
        }
        copy(&path.join("before"), &path.join(TRUST));
    }
    let ids: BTreeSet<&str> = ROWS.iter().map(|(id, ..)| *id).collect();
    let all: BTreeSet<String> = (107..=128).filter(|n| ![126, 127].contains(n)).map(|n| format!("C{n}")).collect();
    assert_eq!(ids.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), all);

    c125_another_federations_id_is_refused(&federation);
    c127_a_file_that_changes_while_it_is_read(&federation);
}

fn c125_another_federations_id_is_refused(federation: &Federation) {
    let other = Hash([7; 32]).to_string();
    let said =
        accord_node(&federation.path(), &["install", "ES-AGENCY/node", "--federation", &other, "roster-3.accord"]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("of another federation than the node's"), "{}", said.stderr);
    assert_eq!(held(&federation.path()).trust.roster().roster_version, 2);
}

// A file is read once: what is checked is what is kept, whatever lies there afterwards.
fn c127_a_file_that_changes_while_it_is_read(federation: &Federation) {
    let path = federation.path();
    let (good, bad) =
        (fs::read(path.join("roster-3.accord")).unwrap(), fs::read(path.join("roster-3-by-one.accord")).unwrap());
    let done = AtomicBool::new(false);
    let replace = |bytes: &[u8]| {
        fs::write(path.join("next"), bytes).unwrap();
        fs::rename(path.join("next"), path.join("changing.accord")).unwrap();
    };
    replace(&good);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                replace(&bad);
                replace(&good);
            }
        });
        let mut seen = BTreeSet::new();
        for _ in 0..12 {
            let code = install(federation, &["changing"]).code;
            let version = held(&path).trust.roster().roster_version;
            assert_eq!(version, if code == 0 { 3 } else { 2 });
            seen.insert(code);
            copy(&path.join("before"), &path.join(TRUST));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(seen.iter().all(|code| [0, 3].contains(code)), "{seen:?}");
    });
}

fn file_of(name: &str) -> String {
    if Path::new(name).extension().is_some_and(|extension| extension == "accord") {
        name.into()
    } else {
        format!("{name}.accord")
    }
}

fn read(path: &Path, name: &str) -> Result<Document, accord_edge::files::FileError> {
    accord_edge::files::read_document(&path.join(file_of(name)))
}

fn install(federation: &Federation, files: &[&str]) -> accord_tests::Said {
    let files: Vec<String> = files.iter().map(|name| file_of(name)).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let arguments = ["install", "ES-AGENCY/node", "--federation", &federation.id];
    accord_node(&federation.path(), &[arguments.as_slice(), &files].concat())
}

fn held(path: &Path) -> TrustFolder {
    let folder = TrustFolder::open(&path.join(TRUST), &id("ES-AGENCY")).unwrap();
    let unread = |remark: &&Remark| matches!(remark, Remark::NotBelieved { .. });
    assert_eq!(folder.trust.remarks().iter().find(unread), None, "what is not believed is not kept");
    folder
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn names(folder: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

// Makes one folder of files what another one is.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (name, _) in names(to) {
        fs::remove_file(to.join(name)).unwrap();
    }
    for (name, bytes) in names(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// Encoded, though it breaks the rules of its kind; `from` once in it becomes `to`.
fn spoilt<T: bincode::Encode>(value: &T, from: &[u8], to: &[u8]) -> Vec<u8> {
    let bytes = encode(value).unwrap();
    let at = bytes.windows(from.len()).position(|part| part == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

fn next<T: Signable + Clone>(before: &Document, change: impl FnOnce(&mut T)) -> T {
    let mut value: T = before.unverified().unwrap();
    change(&mut value);
    value
}

// All files that the rows name.
fn make(federation: &Federation) {
    rosters(federation);
    roots(federation);
    keys(federation);
    let path = federation.path();
    let large = fs::File::create(path.join("large.accord")).unwrap();
    large.set_len(100_000_000).unwrap();
    let mut trailing = fs::read(path.join("roster-3.accord")).unwrap();
    trailing.push(0);
    fs::write(path.join("trailing.accord"), trailing).unwrap();
    let officers = federation.document("public/officers-ES-AGENCY.accord");
    let list = next::<Officers>(&officers, |list| {
        (list.node_id, list.list_version, list.prev_hash) = (id("IT-AGENCY"), 1, Hash::ZERO);
    });
    let admins = |member: &str| [1, 2].map(|n| format!("{member}/admin-{n}/admin.ring"));
    let by = |name: &str, list: &Officers, rings: [String; 2]| {
        let rings: Vec<(&str, KeyRole)> = rings.iter().map(|ring| (ring.as_str(), KeyRole::Administrator)).collect();
        federation.sign(name, list, &rings);
    };
    by("officers-by-es.accord", &list, admins("ES-AGENCY"));
    let ours = next::<Officers>(&officers, |list| {
        (list.list_version, list.prev_hash) = (list.list_version + 1, officers.hash());
        list.cards = Bounded::sorted([list.cards.as_slice(), &[Hash([7; 32])]].concat()).unwrap();
    });
    by("officers-in-the-name-of-es.accord", &ours, admins("IT-AGENCY"));
}

fn rosters(federation: &Federation) {
    let root_holders = [ROOT_1, ROOT_2];
    let second = federation.next_roster("public/roster.accord", "roster-2.accord", |_| {});
    federation.next_roster("public/roster.accord", "roster-2-other.accord", |roster| roster.expires_at.0 -= 1_000);
    federation.next_roster("roster-2.accord", "roster-3.accord", |_| {});
    federation.next_roster("roster-3.accord", "roster-4.accord", |_| {});
    let third = |change: &dyn Fn(&mut Roster)| {
        next::<Roster>(&second, |roster| {
            (roster.roster_version, roster.prev_hash) = (3, second.hash());
            change(roster);
        })
    };
    let plain = third(&|_| {});
    federation.sign("roster-3-by-one.accord", &plain, &[ROOT_1]);
    let payload = encode(&plain).unwrap();
    federation.sign_payload("roster-3-by-one-twice.accord", Label::Roster, &payload, &[ROOT_1, ROOT_1]);
    let whole = |name: &str, roster: &Roster| federation.sign(name, roster, &root_holders);
    whole(
        "roster-3-without-es.accord",
        &third(&|roster| {
            let rest =
                roster.members.as_slice().iter().filter(|member| member.node_id != id("ES-AGENCY")).cloned().collect();
            roster.members = Bounded::new(rest).unwrap();
        }),
    );
    // 10000-01-01.
    whole("roster-3-10000-years.accord", &third(&|roster| roster.expires_at = UnixMs(253_402_300_800_000)));
    whole("roster-3-for-ever.accord", &third(&|roster| roster.expires_at = UnixMs(u64::MAX)));
    let raw = |name: &str, payload: &[u8]| {
        federation.sign_payload(name, Label::Roster, payload, &root_holders);
    };
    let members = |members: Vec<Member>| {
        encode(&third(&|roster| roster.members = Bounded::new(members.clone()).unwrap())).unwrap()
    };
    let listed: Vec<Member> = plain.members.as_slice().to_vec();
    raw("roster-3-empty.accord", &members(vec![]));
    raw("roster-3-twice.accord", &members([listed.as_slice(), &listed[1..]].concat()));
    let mut inside_out = listed.clone();
    inside_out[1].valid_to = inside_out[1].valid_from;
    raw("roster-3-inside-out.accord", &members(inside_out));
    raw("roster-3-small.accord", &spoilt(&plain, b"IT-AGENCY", b"it-AGENCY"));
    // A Greek capital alpha, of two bytes.
    raw("roster-3-alike.accord", &spoilt(&plain, b"\x09IT-AGENCY", "\x0aIT-\u{391}GENCY".as_bytes()));
    let count = |members: u64| {
        let (two, many) = (2_u64.to_be_bytes(), members.to_be_bytes());
        let bytes = encode(&plain).unwrap();
        // The count stands before the first member, whose name is written with its length.
        let first = [9_u64.to_be_bytes().as_slice(), b"ES-AGENCY"].concat();
        let at = bytes.windows(first.len()).position(|part| part == first).unwrap();
        assert_eq!(bytes[at - 8..at], two);
        [&bytes[..at - 8], many.as_slice(), &bytes[at..]].concat()
    };
    raw("roster-3-65.accord", &count(65));
    raw("roster-3-10000.accord", &count(10_000));
    whole("roster-3-elsewhere.accord", &third(&|roster| roster.federation = Hash([7; 32])));
}

fn roots(federation: &Federation) {
    let first = federation.document("public/root.accord");
    let second = next::<Root>(&first, |root| root.root_version = 2);
    let raw = |name: &str, payload: &[u8]| {
        federation.sign_payload(name, Label::Root, payload, &[ROOT_1, ROOT_2, ROOT_3]);
    };
    raw("root-2.accord", &encode(&second).unwrap());
    raw("root-3.accord", &encode(&Root { root_version: 3, ..second.clone() }).unwrap());
    for threshold in [0, 3, 255] {
        let root = Root { threshold, ..second.clone() };
        raw(&format!("root-2-threshold-{threshold}.accord"), &encode(&root).unwrap());
    }
    let mut keys: Vec<PublicKey> = second.keys.as_slice().to_vec();
    let weak = [&[1][..], &[0; 31]].concat();
    raw("root-2-weak.accord", &spoilt(&second, keys[0].as_bytes(), &weak));
    keys[1] = keys[0];
    raw("root-2-key-twice.accord", &encode(&Root { keys: Bounded::new(keys).unwrap(), ..second }).unwrap());
    federation.next_roster("roster-2.accord", "roster-3-of-root-3.accord", |roster| roster.root_version = 3);
}

fn keys(federation: &Federation) {
    let first = federation.document("public/keys-IT-AGENCY.accord");
    let es: MemberKeys = federation.document("public/keys-ES-AGENCY.accord").unverified().unwrap();
    let of = |member: &str, more: &[(&str, KeyRole)]| -> Vec<(String, KeyRole)> {
        let admins = [1, 2].map(|n| (format!("{member}/admin-{n}/admin.ring"), KeyRole::Administrator));
        let roles = [KeyRole::Tls, KeyRole::Sign, KeyRole::Log, KeyRole::Witness];
        let node = roles.map(|role| (format!("{member}/node/node.ring"), role));
        let more = more.iter().map(|(ring, role)| ((*ring).to_owned(), *role));
        admins.into_iter().chain(node).chain(more).collect()
    };
    let raw = |name: &str, member: &str, payload: &[u8], more: &[(&str, KeyRole)]| {
        let rings = of(member, more);
        let rings: Vec<(&str, KeyRole)> = rings.iter().map(|(ring, role)| (ring.as_str(), *role)).collect();
        federation.sign_payload(&format!("{name}.accord"), Label::MemberKeys, payload, &rings);
    };
    let second = |change: &dyn Fn(&mut MemberKeys)| {
        next::<MemberKeys>(&first, |keys| {
            (keys.keys_version, keys.prev_hash) = (2, first.hash());
            change(keys);
        })
    };
    let it = |name: &str, change: &dyn Fn(&mut MemberKeys), more: &[(&str, KeyRole)]| {
        raw(name, "IT-AGENCY", &encode(&second(change)).unwrap(), more);
    };
    it("keys-it-shared", &|keys| keys.witness_key = es.witness_key, &[("ES-AGENCY/node/node.ring", KeyRole::Witness)]);
    it("keys-it-two-roles", &|keys| keys.witness_key = keys.tls_keys.as_slice()[0], &[]);
    let root: Root = federation.document("public/root.accord").unverified().unwrap();
    let roots = [ROOT_1, ROOT_2, ROOT_3];
    it("keys-it-root", &|keys| keys.witness_key = root.keys.as_slice()[0], &roots);
    let address = |text: &str| Bounded::new(vec![Text::new(text).unwrap()]).unwrap();
    for text in ["0.0.0.0:0", "169.254.169.254:443", "example.org:4433"] {
        it(&format!("keys-it-{text}"), &|keys| keys.addresses = address(text), &[]);
    }
    it("keys-it-own-address", &|keys| keys.addresses = es.addresses.clone(), &[]);
    it("keys-it-10000", &|keys| keys.expires_at = UnixMs(253_402_300_800_000), &[]);
    let plain = second(&|_| {});
    let written = encode(&plain.addresses.as_slice()[0]).unwrap();
    let long = format!("{}.example.org:4433", "a".repeat(283));
    let long = [(long.len() as u64).to_be_bytes().as_slice(), long.as_bytes()].concat();
    raw("keys-it-300", "IT-AGENCY", &spoilt(&plain, &written, &long), &[]);
    let weak = [&[1][..], &[0; 31]].concat();
    raw("keys-it-weak", "IT-AGENCY", &spoilt(&plain, plain.tls_keys.as_slice()[0].as_bytes(), &weak), &[]);
    other_keys_of_es(federation, &es, &raw);
}

type Raw<'a> = dyn Fn(&str, &str, &[u8], &[(&str, KeyRole)]) + 'a;

// Well signed, but by keys that the node does not have.
fn other_keys_of_es(federation: &Federation, es: &MemberKeys, raw: &Raw<'_>) {
    let roles = [KeyRole::Tls, KeyRole::Sign, KeyRole::Log, KeyRole::Witness, KeyRole::Edition];
    let ring = KeyRing::create(&federation.path().join("other.ring"), RingKind::Node, &roles, Seal::Open).unwrap();
    let one = |role| Bounded::new(vec![ring.key(role).unwrap().public()]).unwrap();
    let keys = MemberKeys {
        preamble: Preamble,
        keys_version: 2,
        prev_hash: federation.document("public/keys-ES-AGENCY.accord").hash(),
        tls_keys: one(KeyRole::Tls),
        sign_keys: one(KeyRole::Sign),
        ..es.clone()
    };
    let more = [("other.ring", KeyRole::Tls), ("other.ring", KeyRole::Sign)];
    raw("keys-es-other", "ES-AGENCY", &encode(&keys).unwrap(), &more);
}
