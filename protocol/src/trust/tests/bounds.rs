//! What a member gone bad can make others keep.

use super::{make::*, *};
use crate::{codec::Bounded, signed::tests::test_key};

const CURRENT: usize = 3;

fn next(previous: &Document, seed: u8) -> Document {
    let mut keys: MemberKeys = previous.unverified().unwrap();
    keys.keys_version += 1;
    keys.prev_hash = previous.hash();
    keys.tls_keys = Bounded::new(vec![test_key(seed).public()]).unwrap();
    with_possession(&keys, &[])
}

#[test]
fn of_one_version_two_documents_are_kept_whatever_order_they_come_in() {
    let base = first_set();
    let installed = ground(&base);
    let many: Vec<Document> = (120..140).map(|seed| next(&base[CURRENT], seed)).collect();
    let kept = |documents: &[Document]| {
        let trust = Trust::hold(documents, &installed).unwrap();
        assert_eq!(trust.active(&id("IT-AGENCY"), NOW), None, "nobody knows which is meant");
        assert!(trust.active(&id("ES-AGENCY"), NOW).is_some());
        let contradictions = trust.remarks().iter().filter(|remark| matches!(remark, Remark::Equivocation { .. }));
        assert_eq!((contradictions.count(), trust.remarks().len()), (1, 1), "{:?}", trust.remarks());
        let kept: BTreeSet<Hash> =
            documents.iter().filter(|document| trust.keeps(document)).map(Document::hash).collect();
        assert!(base.iter().all(|document| kept.contains(&document.hash())), "all that was there stays");
        &kept - &base.iter().map(Document::hash).collect()
    };
    let all = kept(&[base.as_slice(), &many].concat());
    assert_eq!(all.len(), 2);
    // One by one, as they would come, each time with what was kept of those before.
    let mut held = base.clone();
    for document in many.iter().rev() {
        held.push(document.clone());
        let trust = Trust::hold(&held, &installed).unwrap();
        held.retain(|document| trust.keeps(document));
    }
    assert_eq!(kept(&held), all);
    assert_eq!(held.len(), base.len() + 2);
}

#[test]
fn a_document_that_the_roster_anchors_is_not_crowded_out() {
    let mut documents = first_set();
    let installed = ground(&documents);
    let many: Vec<Document> = (120..140).map(|seed| next(&documents[CURRENT], seed)).collect();
    for meant in [&many[0], &many[19]] {
        documents.truncate(5);
        let mut roster: Roster = documents[4].unverified().unwrap();
        roster.roster_version += 1;
        roster.prev_hash = documents[4].hash();
        let mut members = roster.members.as_slice().to_vec();
        members[1] = member("IT-AGENCY", meant);
        roster.members = Bounded::new(members).unwrap();
        documents.push(signed(&roster, &federation(), &[1, 2, 3]));
        documents.extend(many.clone());
        let trust = Trust::hold(&documents, &installed).unwrap();
        assert!(trust.keeps(meant));
        assert_eq!(many.iter().filter(|document| trust.keeps(document)).count(), 2);
    }
}
