//! Topics: signed by the asking member's administrators, for one provider, and ended by one of them.

use super::{make::*, *};
use crate::{
    codec::{Bounded, Text, encode},
    greeting::{MARKS_MAX, marks},
    id::RequestId,
    member_keys::VALIDITY_MAX_MS,
    officers::Purpose,
    request::{LegalBasis, Query, RequestBody, TopicBytes},
    signed::{Preamble, Signable},
    time::DAY_MS,
    topic::{Topic, of_decided_request, of_past_request, of_request},
};

fn topic() -> Topic {
    Topic {
        preamble: Preamble,
        federation: federation(),
        node_id: id("IT-AGENCY"),
        audience: id("ES-AGENCY"),
        salt: [1; 16],
        title: Bounded::new(b"cocaine in reefers".to_vec()).unwrap(),
        purposes: Bounded::new(vec![Purpose::StrategicAnalysis]).unwrap(),
        valid_from: NOW,
        valid_to: NOW.plus(60 * DAY_MS),
    }
}

fn body(topic_hash: Hash) -> RequestBody {
    RequestBody {
        preamble: Preamble,
        request_id: RequestId([1; 16]),
        requester: id("IT-AGENCY"),
        officer_card_hash: Hash::ZERO,
        audience: id("ES-AGENCY"),
        issued_at: NOW,
        deliver_by: NOW,
        wanted_until: UnixMs(0),
        epoch: 1,
        roster_version: 1,
        view_hash: Hash::ZERO,
        edition: 0,
        purpose: Purpose::StrategicAnalysis,
        legal_basis: LegalBasis::Agreement,
        topic_hash,
        case_ref_commit: Hash::ZERO,
        reply_class: 0,
        query: Query { table_id: 1, table_version: 1, measures: 1, dims: Bounded::default() },
    }
}

fn bytes(document: &Document) -> TopicBytes {
    Bounded::new(encode(document).unwrap()).unwrap()
}

fn ending(hash: Hash, way: Way, at: u64, days: u64) -> Suspend {
    Suspend {
        preamble: Preamble,
        federation: federation(),
        node_id: id("IT-AGENCY"),
        way,
        target: Target::Topic,
        subject: Text::new(&hash.to_string()).unwrap(),
        reason: Text::new("closed").unwrap(),
        issued_at: NOW.plus(at),
        until: NOW.plus(at + days * DAY_MS),
    }
}

#[test]
fn a_request_stands_under_a_topic_of_its_own_member_for_that_provider() {
    let base = first_set();
    let trust = Trust::hold(&base, &ground(&base)).unwrap();
    let stands = |topic: &Topic, by: &[u8], change: &dyn Fn(&mut RequestBody), at: UnixMs| {
        let document = signed(topic, &federation(), by);
        let mut body = body(document.hash());
        change(&mut body);
        of_request(&trust, &body, &bytes(&document), at).is_ok_and(|topic| topic.is_some())
    };
    let two: &[u8] = &[30, 31];
    let same: &dyn Fn(&mut RequestBody) = &|_| {};
    let last = UnixMs(topic().valid_to.0 - 1);
    let elsewhere = Topic { federation: Hash([9; 32]), ..topic() };
    let other_purpose = Topic { purposes: Bounded::new(vec![Purpose::EarlyWarning]).unwrap(), ..topic() };
    for (name, topic, by, change, at, holds) in [
        ("by two administrators", topic(), two, same, NOW, true),
        ("by all three", topic(), &[30, 31, 32], same, NOW, true),
        ("by one", topic(), &[30], same, NOW, false),
        ("by one twice", topic(), &[30, 30], same, NOW, false),
        ("by the provider's administrators", topic(), &[20, 21], same, NOW, false),
        ("by the root holders", topic(), &[1, 2, 3], same, NOW, false),
        ("before it begins", topic(), two, same, UnixMs(NOW.0 - 1), false),
        ("at its last moment", topic(), two, same, last, true),
        ("when it is over", topic(), two, same, topic().valid_to, false),
        ("of another federation", elsewhere, two, same, NOW, false),
        ("for another purpose", other_purpose, two, same, NOW, false),
        ("for another provider", Topic { audience: id("PT-AGENCY"), ..topic() }, two, same, NOW, false),
        ("of another member", topic(), two, &|body| body.requester = id("PT-AGENCY"), NOW, false),
        ("at another provider", topic(), two, &|body| body.audience = id("PT-AGENCY"), NOW, false),
        ("another one is named", topic(), two, &|body| body.topic_hash = Hash([7; 32]), NOW, false),
        ("none is named", topic(), two, &|body| body.topic_hash = Hash::ZERO, NOW, false),
    ] {
        assert_eq!(stands(&topic, by, change, at), holds, "{name}");
    }
    // Neither named nor brought: under none. Named and not brought: refused.
    assert_eq!(of_request(&trust, &body(Hash::ZERO), &Bounded::default(), NOW), Ok(None));
    assert!(of_request(&trust, &body(Hash([7; 32])), &Bounded::default(), NOW).is_err());
    assert!(of_request(&trust, &body(Hash([7; 32])), &Bounded::new(vec![7; 40]).unwrap(), NOW).is_err());
}

#[test]
fn one_administrator_ends_a_topic_and_nobody_takes_that_back() {
    let base = first_set();
    let document = signed(&topic(), &federation(), &[30, 31]);
    let stands = |words: &[Document], at: UnixMs| {
        let trust = Trust::hold(&[base.clone(), words.to_vec()].concat(), &ground(&base)).unwrap();
        of_request(&trust, &body(document.hash()), &bytes(&document), at).is_ok()
    };
    let later = NOW.plus(40 * DAY_MS);
    let end = |by: &[u8]| signed(&ending(document.hash(), Way::Stops, 0, 60), &federation(), by);
    assert!(stands(&[], later));
    assert!(!stands(&[end(&[30])], later));
    assert!(stands(&[end(&[20])], later), "another member's administrator ends nothing");
    assert!(ending(document.hash(), Way::Lifts, 5, 60).check().is_err());
    // A later word that is soon over takes nothing back either.
    let short = Suspend { until: NOW.plus(6), ..ending(document.hash(), Way::Stops, 5, 60) };
    assert!(!stands(&[end(&[30]), signed(&short, &federation(), &[31])], later));
    let other = signed(&ending(Hash([7; 32]), Way::Stops, 0, 60), &federation(), &[30]);
    assert!(stands(&[other], later), "another topic");
    // What was asked before it was ended stood under it, also where the end is known by now; what was asked afterwards did not.
    let trust = Trust::hold(&[base.clone(), vec![end(&[30])]].concat(), &ground(&base)).unwrap();
    let stood = |at: UnixMs| {
        let asked = RequestBody { issued_at: at, ..body(document.hash()) };
        of_past_request(&trust, &asked, &bytes(&document)).is_ok()
    };
    let early = signed(&Topic { valid_from: UnixMs(NOW.0 - 9), ..topic() }, &federation(), &[30, 31]);
    assert!(!stood(NOW) && !stood(later));
    let end_early = signed(&ending(early.hash(), Way::Stops, 0, 60), &federation(), &[30]);
    let trust = Trust::hold(&[base.clone(), vec![end_early]].concat(), &ground(&base)).unwrap();
    let asked = |at: u64| RequestBody { issued_at: UnixMs(at), ..body(early.hash()) };
    assert!(of_past_request(&trust, &asked(NOW.0 - 1), &bytes(&early)).is_ok());
    assert!(of_past_request(&trust, &asked(NOW.0 - 10), &bytes(&early)).is_err(), "before it began");
    assert!(of_past_request(&trust, &asked(NOW.0), &bytes(&early)).is_err());
    assert!(of_request(&trust, &asked(NOW.0 - 1), &bytes(&early), UnixMs(NOW.0 - 1)).is_err());
    // What was decided in time may be picked up when the topic has run out, but not when it was ended.
    let decided = |words: &[Document], decided_at: UnixMs, now: UnixMs| {
        let trust = Trust::hold(&[base.clone(), words.to_vec()].concat(), &ground(&base)).unwrap();
        of_decided_request(&trust, &body(document.hash()), &bytes(&document), (decided_at, now)).is_ok()
    };
    let (last, over) = (UnixMs(topic().valid_to.0 - 1), topic().valid_to.plus(DAY_MS));
    assert!(decided(&[], last, over) && !decided(&[], topic().valid_to, over));
    assert!(!decided(&[end(&[30])], last, over));
    // A topic is ended for as long as it may last; everything else for 30 days at most.
    let lasts = |target, days| Suspend { target, ..ending(document.hash(), Way::Stops, 0, days) }.check().is_ok();
    assert!(lasts(Target::Topic, VALIDITY_MAX_MS / DAY_MS) && !lasts(Target::Topic, VALIDITY_MAX_MS / DAY_MS + 1));
    assert!(lasts(Target::Officer, 30) && !lasts(Target::Officer, 31));
}

#[test]
fn many_words_about_other_things_do_not_revive_a_topic() {
    let base = first_set();
    let document = signed(&topic(), &federation(), &[30, 31]);
    let mut set = base.clone();
    set.push(signed(&ending(document.hash(), Way::Stops, 0, 60), &federation(), &[30]));
    for number in 0..80_u8 {
        let suspend = Suspend { target: Target::Officer, ..ending(Hash([number; 32]), Way::Stops, 9, 20) };
        set.push(signed(&suspend, &federation(), &[31]));
    }
    let trust = Trust::hold(&set, &ground(&base)).unwrap();
    assert!(of_request(&trust, &body(document.hash()), &bytes(&document), NOW).is_err());
}

#[test]
fn more_ends_than_are_kept_end_all_topics() {
    let base = first_set();
    let document = signed(&topic(), &federation(), &[30, 31]);
    // About topics that nobody has, each for as long as the one before and a little more.
    let ends = |count: u64, days: u64| {
        (0..count).map(move |number| {
            let mut hash = [9; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            signed(&ending(Hash(hash), Way::Stops, number, days), &federation(), &[31])
        })
    };
    let stands = |words: Vec<Document>| {
        let trust = Trust::hold(&[base.clone(), words].concat(), &ground(&base)).unwrap();
        let stands = of_request(&trust, &body(document.hash()), &bytes(&document), NOW.plus(2 * DAY_MS)).is_ok();
        let kept = trust.suspensions().len();
        (stands, kept)
    };
    let own = signed(&ending(document.hash(), Way::Stops, 0, 3), &federation(), &[30]);
    assert_eq!(stands(ends(256, 50).collect()), (true, 256));
    // It lasts less long than all others, and is dropped: then none counts.
    assert_eq!(stands(ends(256, 50).chain([own.clone()]).collect()), (false, 257));
    assert_eq!(stands(ends(300, 50).chain([own.clone()]).collect()), (false, 257));
    // Those that are over do not count, and give way first.
    assert_eq!(stands(ends(300, 1).collect()), (true, 257));
    assert_eq!(stands(ends(300, 1).chain([own]).collect()), (false, 257));
}

#[test]
fn in_a_greeting_ends_of_topics_give_way_to_what_stops_people_and_keys() {
    let base = first_set();
    let mut set = base.clone();
    for number in 0..=u8::MAX {
        for (member, admin) in [("ES-AGENCY", 20), ("IT-AGENCY", 30), ("ES-AGENCY", 21)] {
            let hash = Hash([number, admin].repeat(16).try_into().unwrap());
            let end = Suspend { node_id: id(member), ..ending(hash, Way::Stops, u64::from(number), 60) };
            set.push(signed(&end, &federation(), &[admin]));
        }
    }
    let stop = Suspend { target: Target::Officer, ..ending(Hash([1; 32]), Way::Stops, 900, 20) };
    let stop = signed(&stop, &federation(), &[31]);
    set.push(stop.clone());
    let marks = marks(&set);
    assert_eq!(marks.len(), MARKS_MAX);
    let named = |document: &Document| marks.iter().any(|mark| mark.hash == document.hash());
    let travel = base.iter().filter(|document| travels(document));
    assert!(named(&stop) && travel.into_iter().all(named));
    let newest =
        set.iter().filter(|document| document.unverified::<Suspend>().is_ok_and(|one| one.issued_at == NOW.plus(255)));
    assert!(newest.into_iter().all(named), "of topics the oldest give way");
}
