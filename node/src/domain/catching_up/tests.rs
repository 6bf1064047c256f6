//! What is fetched from peers that are honest, that have little, and that lie.

use accord_protocol::{
    codec::{Bounded, Text},
    greeting::MARKS_MAX,
    id::NodeId,
    key::PublicKey,
    officers::Officers,
    root::Root,
    roster::{Member, MemberState, Roster},
    signed::Preamble,
    time::UnixMs,
};

use super::*;

const FROM: UnixMs = UnixMs(1);
const TO: UnixMs = UnixMs(2);

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn root(version: u64) -> Document {
    let keys = (1..4).map(|byte| PublicKey::try_from([byte; 32]).unwrap()).collect();
    Document::new(&Root {
        preamble: Preamble,
        root_version: version,
        epoch: 1,
        genesis_nonce: [0; 32],
        name: Text::new("Example").unwrap(),
        keys: Bounded::new(keys).unwrap(),
        threshold: 2,
        issued_at: FROM,
        expires_at: TO,
    })
    .unwrap()
}

fn roster(version: u64, prev_hash: Hash) -> Document {
    let member = Member {
        node_id: node("ES-AGENCY"),
        name: Text::new("Spain").unwrap(),
        state: MemberState::Active,
        roles: Bounded::default(),
        anchor_version: 1,
        anchor_hash: Hash::ZERO,
        valid_from: FROM,
        valid_to: TO,
    };
    Document::new(&Roster {
        preamble: Preamble,
        federation: Hash::ZERO,
        root_version: 1,
        epoch: 1,
        roster_version: version,
        prev_hash,
        issued_at: FROM,
        expires_at: TO,
        catalogue_hash: Hash::ZERO,
        min_protocol: 1,
        max_protocol: 1,
        members: Bounded::new(vec![member]).unwrap(),
    })
    .unwrap()
}

fn officers(of: &str, version: u64, prev_hash: Hash, cards: usize) -> Document {
    let card = |n: usize| Hash::of(&n.to_be_bytes());
    Document::new(&Officers {
        preamble: Preamble,
        federation: Hash::ZERO,
        node_id: node(of),
        list_version: version,
        prev_hash,
        issued_at: FROM,
        expires_at: TO,
        cards: Bounded::sorted((0..cards).map(card).collect()).unwrap(),
    })
    .unwrap()
}

/// Versions 1 to `versions`, each naming the one before.
fn chain(versions: u64, make: impl Fn(u64, Hash) -> Document) -> Vec<Document> {
    let mut all: Vec<Document> = Vec::new();
    for version in 1..=versions {
        let document = make(version, all.last().map_or(Hash::ZERO, Document::hash));
        all.push(document);
    }
    all
}

fn rosters(versions: u64) -> Vec<Document> {
    chain(versions, roster)
}

fn mark_of(document: &Document) -> Mark {
    mark(document).unwrap().0
}

/// A peer that gives of these what is asked for, as the node does.
fn gives(documents: &[Document]) -> impl FnMut(&Fetch) -> Got {
    move |fetch: &Fetch| {
        let is_meant = |document: &&Document| {
            document.label() == fetch.label
                && (document.hash() == fetch.hash
                    || document.unverified::<Root>().is_ok_and(|root| root.root_version == fetch.number))
        };
        documents.iter().find(is_meant).cloned().map_or(Got::Nothing, Got::Document)
    }
}

type Liar<'a> = Box<dyn FnMut(&Fetch) -> Got + 'a>;

/// Name, marks, what is held, what comes, how many questions, how many marks that lead to nothing.
type Case<'a> = (&'static str, Vec<Mark>, &'a [Document], Vec<Hash>, usize, usize);

struct Walked {
    asked: Vec<Fetch>,
    came: Vec<Hash>,
    to_nothing: Vec<Mark>,
}

/// Walks to the end; whatever comes holds.
fn walk(lacking: &[Mark], held: &[Document], mut peer: impl FnMut(&Fetch) -> Got) -> Walked {
    let mut catching_up = CatchingUp::new(lacking.to_vec(), held, 1);
    let mut asked = Vec::new();
    while let Some(fetch) = catching_up.ask() {
        catching_up.take(peer(&fetch));
        asked.push(fetch);
        assert!(asked.len() <= DOCUMENTS_MAX + MARKS_MAX, "more questions than answers and marks");
    }
    assert_eq!(catching_up.ask(), None, "it has ended");
    let documents = catching_up.documents();
    assert!(documents.len() <= DOCUMENTS_MAX);
    let now_held = [held, documents].concat();
    let to_nothing = catching_up.led_to_nothing(&now_held).into_iter().cloned().collect();
    Walked { asked, came: documents.iter().map(Document::hash).collect(), to_nothing }
}

fn hashes<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Vec<Hash> {
    documents.into_iter().map(Document::hash).collect()
}

#[test]
fn every_walk_ends_where_it_must() {
    let rosters = rosters(5);
    let roots: Vec<Document> = (1..=4).map(root).collect();
    let own = officers("ES-AGENCY", 7, Hash::ZERO, 1);
    let other = officers("IT-AGENCY", 7, Hash::ZERO, 2);
    let names_foreign = officers("ES-AGENCY", 8, other.hash(), 1);
    let names_itself_elsewhere = officers("ES-AGENCY", 8, rosters[2].hash(), 1);
    let all = [rosters.clone(), roots.clone(), vec![own.clone(), other, names_foreign.clone()]].concat();
    let all = [all, vec![names_itself_elsewhere.clone()]].concat();
    let with = |document: &Document, change: fn(&mut Mark)| {
        let mut mark = mark_of(document);
        change(&mut mark);
        mark
    };
    // What the greeting named; what is held here; what comes, in its order; how many questions; how many marks lead to nothing.
    let cases: Vec<Case<'_>> = vec![
        ("nothing is lacking", vec![], &[], vec![], 0, 0),
        ("what is held is not asked for", vec![mark_of(&rosters[4])], &rosters, vec![], 0, 0),
        ("back to what is held", vec![mark_of(&rosters[4])], &rosters[..2], hashes(rosters[2..].iter().rev()), 3, 0),
        ("back to the beginning", vec![mark_of(&rosters[2])], &[], hashes(rosters[..3].iter().rev()), 3, 0),
        ("root documents by number", vec![mark_of(&roots[3])], &roots[..1], hashes(&roots[1..]), 3, 0),
        ("the next root document by its hash", vec![mark_of(&roots[1])], &roots[..1], hashes([&roots[1]]), 1, 0),
        ("one document alone", vec![mark_of(&own)], &[], hashes([&own]), 1, 0),
        ("a hash that is not there", vec![with(&own, |mark| mark.hash = Hash([9; 32]))], &[], vec![], 1, 1),
        ("a huge version", vec![with(&own, |mark| mark.version = u64::MAX)], &[], vec![], 1, 1),
        ("a huge root version", vec![with(&roots[3], |mark| mark.version = u64::MAX)], &roots, vec![], 3, 1),
        (
            "a huge version of what is held",
            vec![with(&own, |mark| mark.version = u64::MAX)],
            std::slice::from_ref(&own),
            vec![],
            1,
            1,
        ),
        ("another member's hash", vec![with(&own, |mark| mark.of = Some(node("IT-AGENCY")))], &[], vec![], 1, 1),
        ("another label's hash", vec![with(&own, |mark| mark.label = Label::Roster)], &[], vec![], 1, 1),
        ("a chain into another member's", vec![mark_of(&names_foreign)], &[], hashes([&names_foreign]), 2, 0),
        (
            "a chain into another label",
            vec![mark_of(&names_itself_elsewhere)],
            &[],
            hashes([&names_itself_elsewhere]),
            2,
            0,
        ),
        ("the same mark twice", vec![mark_of(&own), mark_of(&own)], &[], hashes([&own]), 2, 0),
        (
            "one chain from two marks",
            vec![mark_of(&rosters[4]), mark_of(&rosters[3])],
            &[],
            hashes([&rosters[4], &rosters[3], &rosters[2], &rosters[1], &rosters[0]]),
            6,
            0,
        ),
    ];
    for (name, lacking, held, came, asked, to_nothing) in cases {
        let walked = walk(&lacking, held, gives(&all));
        assert_eq!(walked.came, came, "{name}");
        assert_eq!((walked.asked.len(), walked.to_nothing.len()), (asked, to_nothing), "{name}: {:?}", walked.asked);
    }
}

#[test]
fn a_lying_peer_ends_within_the_bounds_and_keeps_no_other_hint_from_being_followed() {
    let honest = rosters(40);
    let (own, big) = (officers("PT-AGENCY", 3, Hash::ZERO, 1), officers("ES-AGENCY", 9, Hash::ZERO, 1_024));
    let known: Vec<Document> = [honest.clone(), vec![own.clone()]].concat();
    // A chain without end, told backwards: what is asked for by its hash is made then, and names the next one.
    let endless = chain(1_500, |version, before| officers("ES-AGENCY", version, before, 1));
    let wide = chain(300, |version, before| officers("ES-AGENCY", version, before, 1_024));
    let false_mark = |version: u64, byte: u8| Mark { label: Label::Root, of: None, version, hash: Hash([byte; 32]) };
    let roots = |fetch: &Fetch| Got::Document(root(fetch.number.max(1)));
    let nothing = |_: &Fetch| Got::Nothing;
    let same = |_: &Fetch| Got::Document(big.clone());
    let older = |_: &Fetch| Got::Document(root(1));
    let lies: Vec<(&str, Vec<Mark>, Liar<'_>)> = vec![
        ("a chain that never ends", vec![mark_of(&endless[1_499])], Box::new(gives(&endless))),
        ("a chain that never ends, of large documents", vec![mark_of(&wide[299])], Box::new(gives(&wide))),
        ("huge versions, nothing given", (0..200).map(|n| false_mark(u64::MAX, n)).collect(), Box::new(nothing)),
        ("root documents that nobody signed", (0..16).map(|n| false_mark(u64::MAX, n)).collect(), Box::new(roots)),
        ("old root documents", vec![false_mark(90, 1), false_mark(91, 1)], Box::new(older)),
        ("the same document for ever", (0..200).map(|n| false_mark(5, n)).collect(), Box::new(same)),
    ];
    for (name, marks, mut liar) in lies {
        // The lies come first.
        let honest_marks = [mark_of(&honest[39]), mark_of(&own)];
        let lacking = [marks.as_slice(), &honest_marks].concat();
        let mut truth = gives(&known);
        let walked = walk(&lacking, &[], |fetch| match truth(fetch) {
            Got::Document(document) => Got::Document(document),
            Got::LineBroke | Got::Nothing => liar(fetch),
        });
        assert!(hashes(&known).iter().all(|hash| walked.came.contains(hash)), "{name}");
        assert!(!walked.to_nothing.iter().any(|mark| honest_marks.contains(mark)), "{name}");
    }
}

#[test]
fn a_line_that_breaks_says_nothing_about_the_hints_and_what_has_come_is_taken() {
    let rosters = rosters(3);
    let lie = Mark { hash: Hash([9; 32]), ..mark_of(&rosters[2]) };
    let lacking = [lie, mark_of(&rosters[2])];
    let mut left = 3;
    let mut honest = gives(&rosters);
    let walked = walk(&lacking, &[], |fetch| {
        left -= 1;
        if left == 0 { Got::LineBroke } else { honest(fetch) }
    });
    assert_eq!(walked.came, hashes([&rosters[2]]));
    assert_eq!(walked.to_nothing, []);
    let walked = walk(&lacking, &[], |_| Got::LineBroke);
    assert_eq!((walked.asked.len(), walked.to_nothing.len()), (1, 0));
}

#[test]
fn a_hint_leads_to_nothing_if_its_document_does_not_hold() {
    let rosters = rosters(2);
    let lacking = vec![mark_of(&rosters[0]), mark_of(&rosters[1])];
    let mut catching_up = CatchingUp::new(lacking, &[], 1);
    let mut peer = gives(&rosters);
    while let Some(fetch) = catching_up.ask() {
        catching_up.take(peer(&fetch));
    }
    assert_eq!(catching_up.led_to_nothing(&rosters[..1]), [&mark_of(&rosters[1])]);
}
