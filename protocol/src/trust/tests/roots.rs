//! Root rotation: good and bad chains of the kind of the conformance suite of The Update Framework (K3, K4, K5).

use super::{make::*, *};
use crate::{root::follow, time::DAY_MS};

/// What a chain comes to.
#[derive(Debug, PartialEq, Eq)]
enum Ends {
    /// This version is in force.
    At(u64),
    /// Two documents contest the next version; this one is in force.
    Contested(u64),
    /// Not a chain at all.
    Refused,
}

fn next(root: &Root, seeds: &[u8]) -> Document {
    signed(root, &Hash::ZERO, seeds)
}

fn changed(version: u64, seeds: &[u8], threshold: u8, change: impl FnOnce(&mut Root)) -> Root {
    let mut root = root(version, seeds, threshold);
    change(&mut root);
    root
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn k3_root_rotation_needs_the_old_and_the_new_threshold() {
    // Keys 1 to 5 with threshold 3 come first; 6 to 10 are new.
    let all = [1, 2, 3, 4, 5];
    let second = next(&root(2, &[1, 2, 3, 4, 6], 3), &[1, 2, 3, 6]);
    let third = next(&root(3, &[6, 7, 8, 9, 10], 3), &[1, 2, 6, 7, 8, 9, 10]);
    let cases: Vec<(&str, Vec<Document>, Ends)> = vec![
        ("the first alone", vec![], Ends::At(1)),
        ("one key exchanged, both thresholds, possession", vec![second.clone()], Ends::At(2)),
        ("in two steps", vec![second.clone(), third.clone()], Ends::At(3)),
        ("in two steps, the later one first", vec![third.clone(), second.clone()], Ends::At(3)),
        ("a version left out", vec![third], Ends::At(1)),
        ("the same keys again", vec![next(&root(2, &all, 3), &[1, 2, 3])], Ends::At(2)),
        ("the same keys, one signature too few", vec![next(&root(2, &all, 3), &[1, 2])], Ends::At(1)),
        (
            "all keys new, old threshold and all new sign",
            vec![next(&root(2, &[6, 7, 8, 9, 10], 3), &[1, 2, 3, 6, 7, 8, 9, 10])],
            Ends::At(2),
        ),
        (
            "all keys new, signed by the new alone",
            vec![next(&root(2, &[6, 7, 8, 9, 10], 3), &[6, 7, 8, 9, 10])],
            Ends::At(1),
        ),
        ("all keys new, signed by the old alone", vec![next(&root(2, &[6, 7, 8, 9, 10], 3), &all)], Ends::At(1)),
        (
            "all keys new, two of the old",
            vec![next(&root(2, &[6, 7, 8, 9, 10], 3), &[1, 2, 6, 7, 8, 9, 10])],
            Ends::At(1),
        ),
        (
            "all keys new, one has not proved possession",
            vec![next(&root(2, &[6, 7, 8, 9, 10], 3), &[1, 2, 3, 6, 7, 8, 9])],
            Ends::At(1),
        ),
        ("threshold raised, signed by the old number", vec![next(&root(2, &all, 4), &[1, 2, 3])], Ends::At(1)),
        ("threshold raised, signed by the new number", vec![next(&root(2, &all, 4), &[1, 2, 3, 4])], Ends::At(2)),
        ("threshold lowered, signed by the new number", vec![next(&root(2, &all, 2), &[1, 2])], Ends::At(1)),
        ("threshold lowered, signed by the old number", vec![next(&root(2, &all, 2), &[1, 2, 3])], Ends::At(2)),
        ("a stranger's signature beside two", vec![next(&root(2, &all, 3), &[1, 2, 9])], Ends::At(1)),
        (
            "one signature under another federation",
            vec![signed(&root(2, &all, 3), &federation(), &[1, 2, 3])],
            Ends::At(1),
        ),
        (
            "the first version again, with another content",
            vec![next(&changed(1, &all, 3, |root| root.expires_at.0 += DAY_MS), &all)],
            Ends::At(1),
        ),
        ("another genesis", vec![next(&changed(2, &all, 3, |root| root.genesis_nonce = [8; 32]), &all)], Ends::At(1)),
        ("the epoch goes up", vec![next(&changed(2, &all, 3, |root| root.epoch = 2), &all)], Ends::At(2)),
        (
            "the epoch goes back",
            vec![next(&changed(2, &all, 3, |root| root.epoch = 2), &all), next(&root(3, &all, 3), &all)],
            Ends::At(2),
        ),
        (
            "two different second versions",
            vec![second.clone(), next(&root(2, &[1, 2, 3, 4, 7], 3), &[1, 2, 3, 7])],
            Ends::Contested(1),
        ),
        (
            "the same second version with more signatures",
            vec![second.clone(), next(&root(2, &[1, 2, 3, 4, 6], 3), &[1, 2, 3, 4, 6])],
            Ends::At(2),
        ),
        (
            "one of two second versions is not signed by enough",
            vec![second, next(&root(2, &[1, 2, 3, 4, 7], 3), &[1, 2, 7])],
            Ends::At(2),
        ),
    ];
    assert!(cases.len() >= 25);
    for (what, later, want) in cases {
        let documents = [vec![first_root()], later].concat();
        for documents in [documents.clone(), documents.into_iter().rev().collect()] {
            let got = match follow(&documents, Some(&federation())) {
                Ok(roots) if roots.contested.is_some() => Ends::Contested(roots.last().root_version),
                Ok(roots) => Ends::At(roots.last().root_version),
                Err(_) => Ends::Refused,
            };
            assert_eq!(got, want, "{what}");
        }
    }
}

#[test]
fn a_federation_begins_with_all_its_keys_and_by_its_own_id() {
    let four = next(&root(1, &[1, 2, 3, 4, 5], 3), &[1, 2, 3, 4]);
    assert!(follow(&[four], None).is_err(), "one key has not proved possession");
    assert!(follow(&[], None).is_err());
    assert!(follow(&[next(&root(2, &[1, 2, 3], 2), &[1, 2, 3])], None).is_err(), "no first version");
    assert!(follow(&[first_root()], Some(&Hash([3; 32]))).is_err(), "another federation");
}

#[test]
fn k5_a_threshold_that_decides_nothing_is_refused() {
    for threshold in [0, 1, 5, 6, 255] {
        assert!(Document::new(&root(1, &[1, 2, 3, 4, 5], threshold)).is_err(), "{threshold}");
    }
}

#[test]
fn after_a_root_rotation_nothing_is_exchanged_before_a_roster_under_the_new_root() {
    let mut documents = first_set();
    let before = Trust::hold(&documents, &ground(&documents)).unwrap();
    let installed = ground(&documents);
    documents.push(signed(&root(2, &[1, 2, 3, 4, 6], 3), &Hash::ZERO, &[1, 2, 3, 6]));
    let trust = Trust::hold(&documents, &installed).unwrap();
    assert!(before.roster_is_current(NOW) && !trust.roster_is_current(NOW));
    assert!(trust.remarks().contains(&Remark::RootAhead { root_version: 2 }));
    let mut roster: Roster = documents[4].unverified().unwrap();
    (roster.roster_version, roster.prev_hash, roster.root_version) = (2, documents[4].hash(), 2);
    // The key that was taken out counts no more.
    documents.push(signed(&roster, &federation(), &[1, 2, 5]));
    assert!(!Trust::hold(&documents, &installed).unwrap().roster_is_current(NOW));
    documents.push(signed(&roster, &federation(), &[1, 2, 6]));
    let trust = Trust::hold(&documents, &installed).unwrap();
    assert!(trust.roster_is_current(NOW));
    assert_eq!(trust.roster().roster_version, 2);
}

#[test]
fn the_catalogue_outlives_the_root_keys_that_signed_it() {
    let mut documents = first_set();
    let installed = ground(&documents);
    documents.push(signed(&root(2, &[6, 7, 8, 9, 10], 3), &Hash::ZERO, &[1, 2, 3, 6, 7, 8, 9, 10]));
    let ahead = Trust::hold(&documents, &installed).unwrap();
    assert_eq!((ahead.root().root_version, ahead.roster_is_current(NOW)), (2, false));
    let mut roster: Roster = documents[4].unverified().unwrap();
    (roster.roster_version, roster.prev_hash, roster.root_version) = (2, documents[4].hash(), 2);
    documents.push(signed(&roster, &federation(), &[6, 7, 8]));
    assert!(Trust::hold(&documents, &installed).unwrap().roster_is_current(NOW));
    // Whoever never was a root holder has no say, nor do too few of them.
    for by in [vec![11, 12, 13], vec![1, 2], vec![1, 2, 6]] {
        let catalogue: CatalogueDocument = catalogue().unverified().unwrap();
        documents[1] = signed(&catalogue, &federation(), &by);
        assert!(Trust::hold(&documents, &installed).is_err(), "{by:?}");
    }
}
