//! The sets of documents, by what they are about.

use accord_protocol::{
    accept::{Accept, Compared},
    codec::{Bounded, Text, encode},
    id::{Hash, OfficerId},
    member_keys::MemberKeys,
    officers::{Card, Officers, Purpose},
    root::Root,
    roster::{Member, MemberState, Roster},
    signed::{Document, Label, Preamble},
    suspend::{Suspend, Target, Way},
    time::{DAY_MS, UnixMs},
};

use crate::{
    book::{Book, Read},
    made::{
        NOW, federation, first_keys, first_root, id, member, member_keys, officers, public, root, roster, seeds_of,
        signed, signed_payload, with_possession,
    },
};

const SOON: UnixMs = UnixMs(NOW.0 + 60_000);
const LATE: UnixMs = UnixMs(NOW.0 + 366 * DAY_MS);
const HELD: Read = Read::Held("roster");
const FIRST: &str = "root catalogue keys-es keys-it roster";

fn one<const MAX: usize>(seed: u8) -> Bounded<accord_protocol::key::PublicKey, MAX> {
    Bounded::new(vec![public(seed)]).unwrap()
}

fn admins(seeds: &[u8]) -> Bounded<accord_protocol::key::PublicKey, 8> {
    Bounded::sorted(seeds.iter().map(|seed| public(*seed)).collect()).unwrap()
}

/// The documents that almost every case begins with.
struct First {
    catalogue: Document,
    es: Document,
    it: Document,
    roster: Document,
}

fn first(book: &mut Book) -> First {
    let catalogue = accord_protocol::catalogue::CatalogueDocument {
        preamble: Preamble,
        text: Bounded::new(b"id = \"vectors\"\nlist = []\ntable = []\n".to_vec()).unwrap(),
    };
    let catalogue = book.add("catalogue", signed(&catalogue, &federation(), &[1, 2, 3]));
    book.add("root", first_root());
    let es = book.add("keys-es", first_keys("ES-AGENCY"));
    let it = book.add("keys-it", first_keys("IT-AGENCY"));
    let members = vec![member("ES-AGENCY", &es), member("IT-AGENCY", &it)];
    let mut value = roster(1, Hash::ZERO, members);
    value.catalogue_hash = catalogue.hash();
    let roster = book.add("roster", signed(&value, &federation(), &[1, 2, 3]));
    First { catalogue, es, it, roster }
}

fn next_roster(
    book: &mut Book,
    name: &str,
    before: &Document,
    by: &[u8],
    change: impl FnOnce(&mut Roster),
) -> Document {
    let mut value: Roster = before.unverified().unwrap();
    value.roster_version += 1;
    value.prev_hash = before.hash();
    change(&mut value);
    book.add(name, signed(&value, &federation(), by))
}

fn next_keys(before: &Document, change: impl FnOnce(&mut MemberKeys)) -> MemberKeys {
    let mut value: MemberKeys = before.unverified().unwrap();
    value.keys_version += 1;
    value.prev_hash = before.hash();
    change(&mut value);
    value
}

fn with_member(roster: &mut Roster, name: &str, change: impl FnOnce(&mut Member)) {
    let mut members = roster.members.as_slice().to_vec();
    change(members.iter_mut().find(|member| member.node_id == id(name)).unwrap());
    roster.members = Bounded::new(members).unwrap();
}

fn accept(member: &str, keys: Hash, by: &[u8]) -> Document {
    let compared = Bounded::new(vec![Compared { member: id(member), keys }]).unwrap();
    let accept =
        Accept { preamble: Preamble, federation: federation(), node_id: id("ES-AGENCY"), issued_at: NOW, compared };
    signed(&accept, &federation(), by)
}

// The set that root holders sign anew for IT-AGENCY, whose new keys follow nothing.
fn anchored_anew(book: &mut Book, first: &First) -> Document {
    let mut anew = member_keys("IT-AGENCY", 9, Hash::ZERO);
    (anew.admin_keys, anew.tls_keys) = (admins(&[120, 121]), one(122));
    let anew = book.add("keys-it-anew", with_possession(&anew, &[]));
    next_roster(book, "roster-anew", &first.roster, &[1, 2, 3], |roster| {
        with_member(roster, "IT-AGENCY", |entry| (entry.anchor_version, entry.anchor_hash) = (9, anew.hash()));
    });
    anew
}

/// Sets that somebody vouches for as a whole.
pub(crate) fn whole(book: &mut Book) {
    let first = first(book);
    let whole = Read::Whole;
    book.case("whole", whole, FIRST, &[UnixMs(NOW.0 - 1), NOW, LATE]);
    book.case_under("whole-of-another-federation", &Hash([3; 32]), whole, FIRST, &[]);
    for (left_out, rest) in [
        ("root", "catalogue keys-es keys-it roster"),
        ("catalogue", "root keys-es keys-it roster"),
        ("keys", "root catalogue keys-es roster"),
        ("roster", "root catalogue keys-es keys-it"),
    ] {
        book.case(&format!("whole-without-{left_out}"), whole, rest, &[]);
    }
    let second = next_roster(book, "roster-2", &first.roster, &[1, 2, 3], |_| {});
    next_roster(book, "roster-2-other", &first.roster, &[1, 2, 3], |roster| roster.expires_at.0 -= 1);
    next_roster(book, "roster-3", &second, &[1, 2, 3], |_| {});
    book.case("whole-highest-roster", whole, &format!("{FIRST} roster-2"), &[NOW]);
    book.case("whole-highest-roster-with-a-gap", whole, &format!("{FIRST} roster-3"), &[NOW]);
    book.case("whole-two-rosters-of-one-version", whole, &format!("{FIRST} roster-2 roster-2-other"), &[]);
    let list = officers("IT-AGENCY", 1, Hash::ZERO, &[1, 2]);
    book.add("officers-by-one", signed(&list, &federation(), &[30]));
    book.case("whole-list-by-one", whole, &format!("{FIRST} officers-by-one"), &[]);
    let cut = next_keys(&first.it, |keys| keys.sign_keys = one(111));
    book.add("keys-it-2-cut", with_possession(&cut, &[]));
    book.case("whole-keys-without-continuity", whole, &format!("{FIRST} keys-it-2-cut"), &[NOW]);
    let anew = anchored_anew(book, &first);
    assert_ne!(anew, first.it);
    book.case("whole-anchored-anew", whole, &format!("{FIRST} roster-anew keys-it-anew"), &[NOW]);
    let catalogue: accord_protocol::catalogue::CatalogueDocument = first.catalogue.unverified().unwrap();
    book.add("catalogue-by-two", signed(&catalogue, &federation(), &[1, 2]));
    book.case("whole-catalogue-by-two", whole, "root catalogue-by-two keys-es keys-it roster", &[]);
    book.add("root-2", signed(&root(2, &[1, 2, 3, 4, 6], 3), &Hash::ZERO, &[1, 2, 3, 6]));
    book.case("whole-root-ahead", whole, &format!("{FIRST} root-2"), &[]);
    next_roster(book, "roster-2-of-root-2", &first.roster, &[1, 2, 6], |roster| roster.root_version = 2);
    book.case("whole-root-rotated", whole, &format!("{FIRST} root-2 roster-2-of-root-2"), &[NOW]);
}

/// Documents that do not read, or that nobody knows.
pub(crate) fn unreadable(book: &mut Book) {
    let labels = [
        ("root", Label::Root),
        ("roster", Label::Roster),
        ("keys", Label::MemberKeys),
        ("officers", Label::Officers),
        ("catalogue", Label::Catalogue),
        ("suspend", Label::Suspend),
        ("accept", Label::Accept),
        ("policy", Label::Policy),
        ("key-claim", Label::KeyClaim),
    ];
    for (name, label) in labels {
        let document = format!("unreadable-{name}");
        book.add(&document, signed_payload(label, b"anything", &federation(), &[1, 2, 3, 20, 21]));
        book.case(&format!("whole-with-{document}"), Read::Whole, &format!("{FIRST} {document}"), &[]);
        book.case(&format!("held-with-{document}"), HELD, &format!("{FIRST} {document}"), &[NOW]);
    }
}

/// Roots, and rosters that follow the installed one.
pub(crate) fn roots_and_rosters(book: &mut Book) {
    let first = first(book);
    let new_root = |book: &mut Book, name: &str, root: &Root, by: &[u8]| book.add(name, signed(root, &Hash::ZERO, by));
    new_root(book, "root-2-other", &root(2, &[1, 2, 3, 4, 7], 3), &[1, 2, 3, 7]);
    new_root(book, "root-2-by-two", &root(2, &[1, 2, 3, 4, 7], 3), &[1, 2, 7]);
    new_root(book, "root-2-not-possessed", &root(2, &[1, 2, 3, 4, 8], 3), &[1, 2, 3]);
    new_root(book, "root-3", &root(3, &[6, 7, 8, 9, 10], 3), &[1, 2, 6, 7, 8, 9, 10]);
    let mut later_epoch = root(2, &[1, 2, 3, 4, 5], 3);
    later_epoch.epoch = 2;
    new_root(book, "root-2-epoch-2", &later_epoch, &[1, 2, 3]);
    let mut other_genesis = root(2, &[1, 2, 3, 4, 5], 3);
    other_genesis.genesis_nonce = [8; 32];
    new_root(book, "root-2-other-genesis", &other_genesis, &[1, 2, 3]);
    next_roster(book, "roster-2-of-root-3", &first.roster, &[6, 7, 8], |roster| roster.root_version = 3);
    for (name, with) in [
        ("root-rotated-no-roster-yet", "root-2"),
        ("root-in-two-steps", "root-2 root-3"),
        ("root-in-two-steps-and-a-roster", "root-2 root-3 roster-2-of-root-3"),
        ("root-step-missing", "root-3"),
        ("root-contested", "root-2 root-2-other"),
        ("root-one-of-two-by-two", "root-2 root-2-by-two"),
        ("root-new-key-not-possessed", "root-2-not-possessed"),
        ("root-of-another-genesis", "root-2-other-genesis"),
        ("root-rotated", "root-2 roster-2-of-root-2"),
    ] {
        book.case(name, HELD, &format!("{FIRST} {with}"), &[NOW]);
    }
    let second: Document = next_roster(book, "roster-2", &first.roster, &[1, 2, 3], |_| {});
    next_roster(book, "roster-2-by-two", &first.roster, &[1, 2], |roster| roster.expires_at.0 -= 1);
    next_roster(book, "roster-3-of-root-2", &second, &[1, 2, 6], |roster| roster.root_version = 2);
    next_roster(book, "roster-2-of-old-key", &first.roster, &[1, 2, 5], |roster| roster.root_version = 2);
    let of_root_2 =
        next_roster(book, "roster-2-of-root-2", &first.roster, &[1, 2, 6], |roster| roster.root_version = 2);
    next_roster(book, "roster-3-back-to-root-1", &of_root_2, &[1, 2, 3], |roster| roster.root_version = 1);
    next_roster(book, "roster-1-of-epoch-2", &first.roster, &[1, 2, 3], |roster| {
        (roster.epoch, roster.root_version, roster.roster_version, roster.prev_hash) = (2, 2, 1, Hash::ZERO);
    });
    next_roster(book, "roster-it-suspended", &first.roster, &[1, 2, 3], |roster| {
        with_member(roster, "IT-AGENCY", |entry| entry.state = MemberState::Suspended);
    });
    next_roster(book, "roster-it-removed", &first.roster, &[1, 2, 3], |roster| {
        with_member(roster, "IT-AGENCY", |entry| entry.state = MemberState::Removed);
    });
    next_roster(
        book,
        "roster-3-after-other",
        &book_document(&first, |roster| roster.expires_at.0 -= 1),
        &[1, 2, 3],
        |_| {},
    );
    for (name, with) in [
        ("roster-next", "roster-2"),
        ("roster-gap", "roster-3"),
        ("roster-step-by-step", "roster-2 roster-3"),
        ("roster-by-two", "roster-2-by-two"),
        ("roster-two-of-one-version", "roster-2 roster-2-other"),
        ("roster-two-of-one-version-and-one-after", "roster-2 roster-2-other roster-3"),
        ("roster-two-of-one-version-and-one-after-the-other", "roster-2 roster-2-other roster-3-after-other"),
        ("roster-two-of-one-version-twice", "roster-2 roster-2-other roster-3 roster-3-after-other"),
        ("roster-under-the-root-before", "roster-2 root-2"),
        ("roster-under-the-new-root", "roster-2 root-2 roster-3-of-root-2"),
        ("roster-by-a-key-that-left", "root-2 roster-2-of-old-key"),
        ("roster-back-to-the-root-before", "root-2 roster-2-of-root-2 roster-3-back-to-root-1"),
        ("roster-of-a-root-that-is-not-there", "roster-2-of-root-2"),
        ("roster-of-a-later-epoch", "roster-2 roster-3 root-2-epoch-2 roster-1-of-epoch-2"),
        ("roster-suspends", "roster-it-suspended"),
        ("roster-removes", "roster-it-removed"),
    ] {
        book.case(name, HELD, &format!("{FIRST} {with}"), &[NOW]);
    }
    book.case("roster-installed-is-not-there", Read::Held("roster-2"), FIRST, &[]);
    book.case("roster-older-than-the-installed", Read::Held("roster-2"), &format!("{FIRST} roster-2"), &[NOW]);
}

// The roster after the first one, as `roster-2-other` is.
fn book_document(first: &First, change: impl FnOnce(&mut Roster)) -> Document {
    let mut book = Book::default();
    next_roster(&mut book, "roster-2-other", &first.roster, &[1, 2, 3], change)
}

/// Members' keys over time.
pub(crate) fn keys(book: &mut Book) {
    let first = first(book);
    let continued =
        book.add("keys-it-2", with_possession(&next_keys(&first.it, |keys| keys.sign_keys = one(110)), &[34]));
    let cut = next_keys(&first.it, |keys| keys.sign_keys = one(111));
    let cut = book.add("keys-it-2-cut", with_possession(&cut, &[]));
    book.add("keys-it-3-after-cut", with_possession(&next_keys(&cut, |keys| keys.tls_keys = one(112)), &[]));
    book.add("keys-it-3", with_possession(&next_keys(&continued, |keys| keys.tls_keys = one(113)), &[]));
    let sound = next_keys(&first.it, |keys| keys.tls_keys = one(100));
    book.add("keys-it-2-by-one", signed(&sound, &federation(), &[30, 100, 34, 35, 36]));
    book.add("keys-it-2-third-away", signed(&sound, &federation(), &[30, 31, 100, 34]));
    book.add("keys-it-2-not-possessed", signed(&sound, &federation(), &[30, 31, 32, 34, 35, 36]));
    let exchanged = next_keys(&first.it, |keys| keys.admin_keys = admins(&[101, 102]));
    book.add("keys-it-2-new-admins", with_possession(&exchanged, &[30, 31]));
    let alone = next_keys(&first.it, |keys| keys.admin_keys = admins(&[103, 104]));
    book.add("keys-it-2-new-admins-alone", with_possession(&alone, &[30]));
    let jump = next_keys(&first.it, |keys| (keys.keys_version, keys.tls_keys) = (3, one(114)));
    book.add("keys-it-jump", with_possession(&jump, &[]));
    let shared = next_keys(&first.it, |keys| keys.witness_key = public(seeds_of("ES-AGENCY")[6]));
    book.add("keys-it-2-shared", with_possession(&shared, &[]));
    book.add("accept-cut", accept("IT-AGENCY", cut.hash(), &[20]));
    book.add("accept-cut-by-theirs", accept("IT-AGENCY", cut.hash(), &[30]));
    for (name, with) in [
        ("keys-with-continuity", "keys-it-2"),
        ("keys-in-two-steps", "keys-it-2 keys-it-3"),
        ("keys-step-missing", "keys-it-3"),
        ("keys-jump", "keys-it-jump"),
        ("keys-by-one-administrator", "keys-it-2-by-one"),
        ("keys-third-administrator-away", "keys-it-2-third-away"),
        ("keys-not-possessed", "keys-it-2-not-possessed"),
        ("keys-of-new-administrators", "keys-it-2-new-admins"),
        ("keys-of-new-administrators-alone", "keys-it-2-new-admins-alone"),
        ("keys-without-continuity", "keys-it-2-cut"),
        ("keys-without-continuity-and-the-next", "keys-it-2-cut keys-it-3-after-cut"),
        ("keys-accepted", "keys-it-2-cut accept-cut"),
        ("keys-accepted-and-the-next", "keys-it-2-cut keys-it-3-after-cut accept-cut"),
        ("keys-accepted-by-another-member", "keys-it-2-cut accept-cut-by-theirs"),
        ("keys-two-of-one-version", "keys-it-2 keys-it-2-new-admins"),
        ("keys-two-of-one-version-one-waits", "keys-it-2 keys-it-2-cut"),
        ("keys-two-of-one-version-and-a-later-one", "keys-it-2 keys-it-2-new-admins keys-it-3"),
        ("keys-shared-by-two-members", "keys-it-2-shared"),
    ] {
        book.case(name, HELD, &format!("{FIRST} {with}"), &[NOW]);
    }
    book.case("keys-anchor-missing", HELD, "root catalogue keys-es roster", &[NOW]);
    next_roster(book, "roster-wrong-anchor", &first.roster, &[1, 2, 3], |roster| {
        with_member(roster, "IT-AGENCY", |entry| entry.anchor_version = 2);
    });
    book.case("keys-anchor-of-another-version", HELD, &format!("{FIRST} roster-wrong-anchor"), &[NOW]);
    anchored(book, &first);
    // The own keys: whoever holds them needs nobody to compare them. Its administrators leave, and with them what they alone signed.
    let own = next_keys(&first.es, |keys| (keys.admin_keys, keys.sign_keys) = (admins(&[21, 22, 105]), one(106)));
    book.add("keys-es-2", with_possession(&own, &[20, 24]));
    book.case("keys-own-with-continuity", HELD, &format!("{FIRST} keys-es-2"), &[NOW]);
    book.case(
        "keys-accepted-by-an-administrator-who-left",
        HELD,
        &format!("{FIRST} keys-es-2 keys-it-2-cut accept-cut"),
        &[NOW],
    );
    let mut ours = member_keys("ES-AGENCY", 9, Hash::ZERO);
    ours.admin_keys = admins(&[107, 108]);
    let ours = book.add("keys-es-anew", with_possession(&ours, &[]));
    next_roster(book, "roster-es-anew", &first.roster, &[1, 2, 3], |roster| {
        with_member(roster, "ES-AGENCY", |entry| (entry.anchor_version, entry.anchor_hash) = (9, ours.hash()));
    });
    book.case("keys-own-anchored-anew", HELD, &format!("{FIRST} keys-es-anew roster-es-anew"), &[NOW]);
}

// Members that the root holders anchor: anew, or for the first time.
fn anchored(book: &mut Book, first: &First) {
    let anew = anchored_anew(book, first);
    book.add("accept-anew", accept("IT-AGENCY", anew.hash(), &[21]));
    book.add("accept-other", accept("IT-AGENCY", Hash([5; 32]), &[20]));
    let new = book.add("keys-pt", first_keys("PT-AGENCY"));
    next_roster(book, "roster-with-pt", &first.roster, &[1, 2, 3], |roster| {
        let members = [roster.members.as_slice(), &[member("PT-AGENCY", &new)]].concat();
        roster.members = Bounded::new(members).unwrap();
    });
    book.add("accept-pt", accept("PT-AGENCY", new.hash(), &[22]));
    let both = "keys-it-2 keys-it-2-new-admins keys-it-anew roster-anew";
    for (name, with) in [
        ("keys-anchored-anew", "keys-it-anew roster-anew"),
        ("keys-anchored-anew-and-accepted", "keys-it-anew roster-anew accept-anew"),
        ("keys-anchored-anew-and-others-accepted", "keys-it-anew roster-anew accept-other"),
        ("keys-anchored-anew-after-two-of-one-version", &format!("{both} accept-anew")),
        ("keys-of-a-new-member", "keys-pt roster-with-pt"),
        ("keys-of-a-new-member-accepted", "keys-pt roster-with-pt accept-pt"),
    ] {
        book.case(name, HELD, &format!("{FIRST} {with}"), &[NOW]);
    }
}

fn card(seed: u8) -> Card {
    Card {
        officer_id: OfficerId([seed; 16]),
        key: public(seed),
        purposes: Bounded::new(vec![Purpose::Test]).unwrap(),
        valid_from: NOW,
        valid_to: UnixMs(NOW.0 + 100 * DAY_MS),
    }
}

fn list(version: u64, prev: Hash, cards: &[u8]) -> Officers {
    let mut list = officers("IT-AGENCY", version, prev, &[]);
    let hashes = cards.iter().map(|seed| Hash::of(&encode(&card(*seed)).unwrap())).collect();
    list.cards = Bounded::sorted(hashes).unwrap();
    list
}

/// Lists of officers.
pub(crate) fn lists(book: &mut Book) {
    let first = first(book);
    for seed in 201..=204 {
        book.card(&format!("card-{seed}"), card(seed));
    }
    let by = |book: &mut Book, name: &str, list: &Officers, by: &[u8]| book.add(name, signed(list, &federation(), by));
    let one = by(book, "list-1", &list(1, Hash::ZERO, &[201, 202, 203]), &[30, 31]);
    let shorter = by(book, "list-2-shorter", &list(2, one.hash(), &[201, 203]), &[31]);
    by(book, "list-3-shorter", &list(3, shorter.hash(), &[203]), &[32]);
    by(book, "list-3-shorter-by-two", &list(3, shorter.hash(), &[201]), &[30, 32]);
    by(book, "list-2-longer-by-one", &list(2, one.hash(), &[201, 202, 203, 204]), &[31]);
    by(book, "list-2-longer", &list(2, one.hash(), &[201, 202, 203, 204]), &[31, 32]);
    by(book, "list-2-exchanged-by-one", &list(2, one.hash(), &[201, 204]), &[31]);
    by(book, "list-2-shorter-by-theirs", &list(2, one.hash(), &[201]), &[20]);
    by(book, "list-4-shorter", &list(4, one.hash(), &[201]), &[31]);
    by(book, "list-7", &list(7, Hash([9; 32]), &[202]), &[31, 32]);
    let mut lasting = list(2, one.hash(), &[202]);
    lasting.expires_at.0 += 1;
    by(book, "list-2-shorter-and-lasting", &lasting, &[31]);
    for (name, with) in [
        ("list", ""),
        ("list-shortened-by-one", "list-2-shorter"),
        ("list-shortened-twice", "list-2-shorter list-3-shorter"),
        ("list-shortened-twice-first-missing", "list-3-shorter"),
        ("list-lengthened-by-one", "list-2-longer-by-one"),
        ("list-lengthened-by-two", "list-2-longer"),
        ("list-exchanged-by-one", "list-2-exchanged-by-one"),
        ("list-shortened-by-another-member", "list-2-shorter-by-theirs"),
        ("list-shortened-over-versions", "list-4-shorter"),
        ("list-shortened-and-lasting-longer", "list-2-shorter-and-lasting"),
        ("list-by-two-over-versions", "list-7"),
        ("list-two-of-one-version", "list-2-shorter list-2-longer"),
        ("list-two-of-one-version-and-a-later-one", "list-2-shorter list-2-longer list-3-shorter-by-two"),
    ] {
        book.case(name, HELD, &format!("{FIRST} list-1 {with}"), &[NOW, UnixMs(NOW.0 + 100 * DAY_MS)]);
    }
    let least = next_keys(&first.it, |keys| keys.officers_version_min = 2);
    book.add("keys-it-2-list-2", with_possession(&least, &[]));
    book.case("list-older-than-the-keys-allow", HELD, &format!("{FIRST} list-1 keys-it-2-list-2"), &[NOW]);
    book.case("list-that-the-keys-allow", HELD, &format!("{FIRST} list-1 list-2-longer keys-it-2-list-2"), &[NOW]);
    book.add("keys-it-2-new-admins", {
        let exchanged = next_keys(&first.it, |keys| keys.admin_keys = admins(&[101, 102]));
        with_possession(&exchanged, &[30, 31])
    });
    book.case("list-by-administrators-who-left", HELD, &format!("{FIRST} list-1 keys-it-2-new-admins"), &[NOW]);
}

/// Suspensions.
pub(crate) fn suspensions(book: &mut Book) {
    let first = first(book);
    let two = next_keys(&first.it, |keys| {
        keys.sign_keys = Bounded::new(vec![public(34), public(115)]).unwrap();
    });
    book.add("keys-it-2-two-sign", with_possession(&two, &[]));
    let say = |book: &mut Book, name: &str, way, of: &str, (target, subject): (Target, String), at: u64, by: &[u8]| {
        let suspend = Suspend {
            preamble: Preamble,
            federation: federation(),
            node_id: id(of),
            way,
            target,
            subject: Text::new(&subject).unwrap(),
            reason: Text::new("lost").unwrap(),
            issued_at: NOW.plus(at),
            until: NOW.plus(at + DAY_MS),
        };
        book.add(name, signed(&suspend, &federation(), by));
    };
    let key = |seed: u8| (Target::Key, public(seed).to_string());
    let officer = (Target::Officer, Hash::of(&encode(&card(201)).unwrap()).to_string());
    say(book, "stop-sign", Way::Stops, "IT-AGENCY", key(34), 0, &[30]);
    say(book, "stop-tls", Way::Stops, "IT-AGENCY", key(33), 0, &[31]);
    say(book, "stop-sign-by-theirs", Way::Stops, "IT-AGENCY", key(34), 0, &[20]);
    say(book, "stop-sign-of-another", Way::Stops, "ES-AGENCY", key(34), 0, &[20]);
    say(book, "stop-sign-later", Way::Stops, "IT-AGENCY", key(34), 9, &[32]);
    say(book, "stop-sign-tomorrow", Way::Stops, "IT-AGENCY", key(34), DAY_MS, &[32]);
    say(book, "stop-sign-in-two-days", Way::Stops, "IT-AGENCY", key(34), 2 * DAY_MS, &[32]);
    say(book, "lift-sign-by-one", Way::Lifts, "IT-AGENCY", key(34), 5, &[31]);
    say(book, "lift-sign", Way::Lifts, "IT-AGENCY", key(34), 5, &[30, 31]);
    say(book, "stop-officer", Way::Stops, "IT-AGENCY", officer.clone(), 0, &[30]);
    say(book, "stop-officer-of-another", Way::Stops, "ES-AGENCY", officer, 0, &[20]);
    say(book, "stop-partner", Way::Stops, "ES-AGENCY", (Target::Partner, "IT-AGENCY".into()), 0, &[20]);
    say(book, "stop-node", Way::Stops, "ES-AGENCY", (Target::Node, "ES-AGENCY".into()), 0, &[20]);
    let topic = (Target::Topic, Hash([0x55; 32]).to_string());
    say(book, "stop-topic", Way::Stops, "IT-AGENCY", topic, 0, &[30]);
    say(book, "lift-clock", Way::Lifts, "ES-AGENCY", (Target::Clock, "ES-AGENCY".into()), 0, &[20, 21]);
    let at = [SOON, UnixMs(SOON.0 + DAY_MS)];
    for (name, with) in [
        ("suspended-sign-key", "stop-sign"),
        ("suspended-one-of-two-sign-keys", "keys-it-2-two-sign stop-sign"),
        ("suspended-tls-key", "stop-tls"),
        ("suspended-by-another-member", "stop-sign-by-theirs"),
        ("suspended-key-of-another-member", "stop-sign-of-another"),
        ("suspended-from-tomorrow", "stop-sign-tomorrow"),
        ("suspended-from-far-ahead", "stop-sign-in-two-days"),
        ("lifted-before-far-ahead", "stop-sign lift-sign stop-sign-in-two-days"),
        ("lifted-by-one", "stop-sign lift-sign-by-one"),
        ("lifted-by-two", "stop-sign lift-sign"),
        ("lifted-and-suspended-again", "stop-sign lift-sign stop-sign-later"),
        ("suspended-officer", "list-1 stop-officer"),
        ("suspended-officer-of-another-member", "list-1 stop-officer-of-another"),
        ("suspended-partner", "stop-partner"),
        ("ended-topic", "stop-topic"),
        ("suspended-own-node", "stop-node"),
        ("lifted-own-clock", "lift-clock"),
        ("suspended-by-an-administrator-who-left", "stop-sign keys-it-2-new-admins"),
    ] {
        book.case(name, HELD, &format!("{FIRST} {with}"), &at);
    }
    book.case("suspended-in-a-whole-set", Read::Whole, &format!("{FIRST} stop-sign"), &at);
}
