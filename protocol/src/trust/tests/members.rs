//! Rosters, members' keys, lists and suspensions (K1, K2, K4, K6, K9, K12, K19).

use super::{make::*, *};
use crate::{
    accept::{Accept, Compared},
    codec::Bounded,
    signed::{Preamble, tests::test_key},
    time::DAY_MS,
};

/// What is trusted, as far as the order of documents could show.
fn essence(trust: &Trust) -> impl PartialEq + std::fmt::Debug + use<> {
    let keys: Vec<_> = trust.keys.iter().map(|(member, keys)| (member.clone(), keys.hash())).collect();
    let lists: Vec<_> = trust.officers.iter().map(|(member, list)| (member.clone(), list.hash())).collect();
    (trust.root.hash(), trust.roster.hash(), trust.chain.clone(), trust.in_doubt, keys, lists, trust.kept.clone())
}

/// Holds a set in several orders: all come to the same.
fn hold(documents: &[Document], installed: &Ground<'_>) -> Trust {
    let trust = Trust::hold(documents, installed).unwrap();
    let mut other = documents.to_vec();
    for turn in 0..documents.len() {
        other.rotate_left(1);
        if turn % 2 == 0 {
            other.reverse();
        }
        assert_eq!(essence(&Trust::hold(&other, installed).unwrap()), essence(&trust));
    }
    trust
}

fn rotated(previous: &Document, change: impl FnOnce(&mut MemberKeys)) -> MemberKeys {
    let mut keys: MemberKeys = previous.unverified().unwrap();
    keys.keys_version += 1;
    keys.prev_hash = previous.hash();
    change(&mut keys);
    keys
}

fn one(seed: u8) -> Bounded<PublicKey, 2> {
    Bounded::new(vec![test_key(seed).public()]).unwrap()
}

#[test]
fn k1_a_version_never_goes_back() {
    let mut documents = first_set();
    let installed = ground(&documents);
    let first: Roster = documents[4].unverified().unwrap();
    let second = Roster { roster_version: 2, prev_hash: documents[4].hash(), ..first.clone() };
    documents.push(signed(&second, &federation(), &[1, 2, 3]));
    assert_eq!(
        hold(&documents, &installed).roster().roster_version,
        2,
        "the first one is still there, and counts no more"
    );
    // A third without the second in between follows nothing.
    let mut gap = first_set();
    let third = Roster { roster_version: 3, prev_hash: documents[5].hash(), ..first };
    gap.push(signed(&third, &federation(), &[1, 2, 3]));
    let trust = hold(&gap, &installed);
    assert_eq!(trust.roster().roster_version, 1);
    assert!(matches!(trust.remarks(), [Remark::Gap { version: 3, .. }]), "{:?}", trust.remarks());
    gap.push(documents[5].clone());
    assert_eq!(hold(&gap, &installed).roster().roster_version, 3, "step by step");
    assert_eq!(hold(&gap, &installed).chain().len(), 3);
}

#[test]
fn k2_two_rosters_of_one_version_stop_the_exchange_until_a_later_one() {
    let mut documents = first_set();
    let installed = ground(&documents);
    let first: Roster = documents[4].unverified().unwrap();
    let second = Roster { roster_version: 2, prev_hash: documents[4].hash(), ..first };
    let other = Roster { expires_at: UnixMs(second.expires_at.0 - 1), ..second.clone() };
    documents.push(signed(&second, &federation(), &[1, 2, 3]));
    assert!(hold(&documents, &installed).roster_is_current(NOW));
    documents.push(signed(&other, &federation(), &[1, 2]));
    assert!(hold(&documents, &installed).roster_is_current(NOW), "two signatures are no roster");
    documents.push(signed(&other, &federation(), &[3, 4, 5]));
    let trust = hold(&documents, &installed);
    assert!(!trust.roster_is_current(NOW));
    assert_eq!(trust.active(&id("IT-AGENCY"), NOW), None);
    let both = [documents[5].clone(), documents[7].clone()];
    assert!(both.iter().all(|document| trust.keeps(document)), "both are evidence");
    assert!(
        trust
            .remarks()
            .iter()
            .any(|remark| matches!(remark, Remark::Equivocation { label: Label::Roster, version: 2, .. }))
    );
    let third = Roster { roster_version: 3, prev_hash: documents[5].hash(), ..second };
    documents.push(signed(&third, &federation(), &[1, 2, 3]));
    assert!(hold(&documents, &installed).roster_is_current(NOW));
}

#[test]
fn k4_one_key_counts_once_and_k9_every_new_key_proves_possession() {
    let documents = first_set();
    let installed = ground(&documents);
    let [a, b, _, tls, ..] = seeds_of("IT-AGENCY");
    let sound = rotated(&documents[3], |keys| keys.tls_keys = one(100));
    for (what, document, want) in [
        ("both administrators, possession, continuity", with_possession(&sound, &[]), 100),
        ("the new key has not signed", signed(&sound, &federation(), &[30, 31, 32, 34, 35, 36]), tls),
        ("both administrators, the third one away", signed(&sound, &federation(), &[a, b, 100, 34]), 100),
        ("one administrator", signed(&sound, &federation(), &[a, 100, 34, 35, 36]), tls),
        ("one administrator twice", signed(&sound, &federation(), &[a, a, 100, 34, 35, 36]), tls),
    ] {
        let trust = hold(&[documents.clone(), vec![document]].concat(), &installed);
        assert_eq!(trust.keys(&id("IT-AGENCY")).unwrap().tls_keys, one(want), "{what}");
    }
    // Administrators exchanged: the old ones must say so too, the new ones must hold their keys.
    let admins = Bounded::sorted([101, 102].map(|seed| test_key(seed).public()).to_vec()).unwrap();
    let exchanged = rotated(&documents[3], |keys| keys.admin_keys = admins.clone());
    for (signers, want) in [(vec![a, b], true), (vec![a], false), (vec![], false)] {
        let trust = hold(&[documents.clone(), vec![with_possession(&exchanged, &signers)]].concat(), &installed);
        assert_eq!(trust.keys(&id("IT-AGENCY")).unwrap().admin_keys == admins, want, "{signers:?}");
    }
}

#[test]
fn k19_keys_with_continuity_apply_and_others_wait_for_an_administrator_here() {
    let mut documents = first_set();
    let installed = ground(&documents);
    let it = id("IT-AGENCY");
    // The signing key is exchanged; the old one says so: applies by itself.
    let continued = with_possession(&rotated(&documents[3], |keys| keys.sign_keys = one(110)), &[34]);
    documents.push(continued.clone());
    let trust = hold(&documents, &installed);
    assert_eq!(trust.keys(&it).unwrap().sign_keys, one(110));
    assert_eq!(trust.remarks(), []);
    // Exchanged again; only the administrators say so.
    let cut = with_possession(&rotated(&continued, |keys| keys.sign_keys = one(111)), &[]);
    documents.push(cut.clone());
    let trust = hold(&documents, &installed);
    assert_eq!(trust.keys(&it).unwrap().sign_keys, one(110), "not used before it is accepted");
    let waiting = Remark::Waiting { member: it.clone(), version: 3, hash: cut.hash(), why: WhyWaiting::NoContinuity };
    assert_eq!(trust.remarks(), std::slice::from_ref(&waiting));
    // What follows it waits too.
    let after = with_possession(&rotated(&cut, |keys| keys.tls_keys = one(112)), &[]);
    documents.push(after);
    assert_eq!(hold(&documents, &installed).keys(&it).unwrap().sign_keys, one(110));
    let accept = |keys: Hash, by: &[u8], me: &str| {
        let compared = Bounded::new(vec![Compared { member: it.clone(), keys }]).unwrap();
        let accept = Accept { preamble: Preamble, federation: federation(), node_id: id(me), issued_at: NOW, compared };
        signed(&accept, &federation(), by)
    };
    for (what, accept, want) in [
        ("by one of our administrators", accept(cut.hash(), &[20], "ES-AGENCY"), 111),
        ("by one of theirs", accept(cut.hash(), &[30], "IT-AGENCY"), 110),
        ("by one of theirs in our name", accept(cut.hash(), &[30], "ES-AGENCY"), 110),
        ("of other keys", accept(Hash([5; 32]), &[20], "ES-AGENCY"), 110),
    ] {
        let trust = hold(&[documents.clone(), vec![accept]].concat(), &installed);
        assert_eq!(trust.keys(&it).unwrap().sign_keys, one(want), "{what}");
    }
}

#[test]
fn a_member_that_the_root_holders_anchored_anew_is_not_used_before_it_is_accepted() {
    let mut documents = first_set();
    let installed = ground(&documents);
    let mut anew = member_keys("IT-AGENCY", 9, Hash::ZERO);
    anew.admin_keys = Bounded::sorted([120, 121].map(|seed| test_key(seed).public()).to_vec()).unwrap();
    anew.tls_keys = one(122);
    let anew = with_possession(&anew, &[]);
    let first: Roster = documents[4].unverified().unwrap();
    let members = vec![member("ES-AGENCY", &documents[2]), member("IT-AGENCY", &anew)];
    let second = roster(2, documents[4].hash(), members);
    documents.extend([anew.clone(), signed(&second, &federation(), &[1, 2, 3])]);
    let trust = hold(&documents, &installed);
    assert_eq!(trust.roster().roster_version, first.roster_version + 1);
    assert_eq!(trust.active(&id("IT-AGENCY"), NOW), None, "root keys alone never swap a member's keys");
    assert!(trust.active(&id("ES-AGENCY"), NOW).is_some());
    let compared = Bounded::new(vec![Compared { member: id("IT-AGENCY"), keys: anew.hash() }]).unwrap();
    let accept =
        Accept { preamble: Preamble, federation: federation(), node_id: id("ES-AGENCY"), issued_at: NOW, compared };
    documents.push(signed(&accept, &federation(), &[21]));
    assert!(hold(&documents, &installed).active(&id("IT-AGENCY"), NOW).is_some());
}

#[test]
fn two_keys_documents_of_one_version_stop_that_member_alone() {
    let mut documents = first_set();
    let installed = ground(&documents);
    for seed in [130, 131] {
        documents.push(with_possession(&rotated(&documents[3], |keys| keys.tls_keys = one(seed)), &[]));
    }
    let trust = hold(&documents, &installed);
    assert_eq!(trust.active(&id("IT-AGENCY"), NOW), None);
    assert!(trust.active(&id("ES-AGENCY"), NOW).is_some());
    assert!(trust.keeps(&documents[5]) && trust.keeps(&documents[6]));
    assert!(matches!(trust.remarks(), [Remark::Equivocation { label: Label::MemberKeys, version: 2, .. }]));
}

#[test]
fn k12_two_widen_a_list_and_one_shortens_it() {
    let base = first_set();
    let installed = ground(&base);
    let it = id("IT-AGENCY");
    let first = signed(&officers("IT-AGENCY", 1, Hash::ZERO, &[1, 2, 3]), &federation(), &[30, 31]);
    let cards = |document: &Document| document.unverified::<Officers>().unwrap().cards;
    let list = |version, prev: &Document, of: &[u8], by: &[u8]| {
        signed(&officers("IT-AGENCY", version, prev.hash(), of), &federation(), by)
    };
    let shorter = list(2, &first, &[1, 3], &[31]);
    let cases = [
        ("one more, by one", list(2, &first, &[1, 2, 3, 4], &[31]), cards(&first)),
        ("one more, by two", list(2, &first, &[1, 2, 3, 4], &[31, 32]), cards(&list(2, &first, &[1, 2, 3, 4], &[]))),
        ("one less, by one", shorter.clone(), cards(&shorter)),
        ("one less and another one, by one", list(2, &first, &[1, 3, 4], &[31]), cards(&first)),
        ("one less, by nobody of them", list(2, &first, &[1, 3], &[20]), cards(&first)),
        ("one less, of a list that is not there", list(2, &shorter, &[1], &[31]), cards(&first)),
        ("one less, two versions on", list(3, &first, &[1, 3], &[31]), cards(&first)),
    ];
    for (what, next, want) in cases {
        let trust = hold(&[base.clone(), vec![first.clone(), next]].concat(), &installed);
        assert_eq!(trust.officers(&it).unwrap().cards, want, "{what}");
    }
    // A list that two have signed needs none of those before it, and they may go.
    let whole = list(3, &shorter, &[3], &[30, 32]);
    let trust = hold(&[base.clone(), vec![first.clone(), shorter.clone(), whole.clone()]].concat(), &installed);
    assert!(trust.keeps(&whole) && !trust.keeps(&shorter) && !trust.keeps(&first));
    let trust = hold(&[base, vec![first.clone(), shorter.clone()]].concat(), &installed);
    assert!(trust.keeps(&shorter) && trust.keeps(&first), "a shortened list stands on the one before it");
}

#[test]
fn one_administrator_suspends_and_two_lift() {
    let base = first_set();
    let installed = ground(&base);
    let it = id("IT-AGENCY");
    let sign_key = test_key(seeds_of("IT-AGENCY")[4]).public();
    let say = |way, at: u64, by: &[u8]| {
        let suspend = Suspend {
            preamble: Preamble,
            federation: federation(),
            node_id: it.clone(),
            way,
            target: Target::Key,
            subject: crate::codec::Text::new(&sign_key.to_string()).unwrap(),
            reason: crate::codec::Text::new("lost").unwrap(),
            issued_at: NOW.plus(at),
            until: NOW.plus(at + DAY_MS),
        };
        signed(&suspend, &federation(), by)
    };
    let later = NOW.plus(60_000);
    let active = |documents: Vec<Document>, at| {
        let trust = hold(&[base.clone(), documents].concat(), &installed);
        (trust.active(&it, at).is_some(), trust.sign_keys(&it, at).len())
    };
    assert_eq!(active(vec![], later), (true, 1));
    assert_eq!(active(vec![say(Way::Stops, 0, &[30])], later), (false, 0));
    assert_eq!(active(vec![say(Way::Stops, 0, &[20])], later), (true, 1), "another member's administrator");
    assert_eq!(active(vec![say(Way::Stops, 0, &[30])], later.plus(2 * DAY_MS)), (true, 1), "it ran out");
    assert_eq!(active(vec![say(Way::Stops, 0, &[30]), say(Way::Lifts, 5, &[31])], later), (false, 0));
    assert_eq!(active(vec![say(Way::Stops, 0, &[30]), say(Way::Lifts, 5, &[31, 30])], later), (true, 1));
    assert_eq!(active(vec![say(Way::Stops, 9, &[30]), say(Way::Lifts, 5, &[31, 30])], later), (false, 0));
    // A clock may be some hours ahead, and what is stopped is stopped at once. What is dated later does not count yet, and is no
    // reason why what two say now should not.
    assert_eq!(active(vec![say(Way::Stops, DAY_MS, &[32])], later), (false, 0));
    let later_still = say(Way::Stops, 2 * DAY_MS, &[32]);
    assert_eq!(active(vec![later_still.clone()], later), (true, 1));
    assert_eq!(active(vec![later_still.clone()], later.plus(DAY_MS)), (false, 0));
    assert_eq!(active(vec![later_still, say(Way::Stops, 0, &[30]), say(Way::Lifts, 5, &[31, 30])], later), (true, 1));
}

#[test]
fn a_set_that_somebody_vouches_for_must_hold_whole() {
    let documents = first_set();
    assert!(Trust::build(&documents, Some(&federation())).is_ok());
    for left_out in 0..documents.len() {
        let mut less = documents.clone();
        less.remove(left_out);
        assert!(Trust::build(&less, Some(&federation())).is_err(), "without document {left_out}");
    }
    let mut strange = documents.clone();
    strange.push(signed(&officers("IT-AGENCY", 1, Hash::ZERO, &[1]), &federation(), &[30]));
    assert!(Trust::build(&strange, Some(&federation())).is_err(), "an officers list with one signature");
}
