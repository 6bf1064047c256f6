//! Evidence that is logged and witnessed: what counts, what does not, and that nothing which does not hold goes unnoticed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod made;
#[path = "evidence/stage.rs"]
mod stage;

use accord_protocol::{
    codec::Bounded,
    evidence::{Bundle, Level, Report, Statement, verify},
    id::{Hash, NodeId},
    log::{Detail, EventKind, log_origin},
    roster::{Member, MemberRole, MemberState},
    signed::Document,
    time::{DAY_MS, MINUTE_MS, UnixMs},
};
use expect_test::expect_file;
use made::{federation, first_keys, id, member_keys, public, seeds_of, with_possession};
use proptest::prelude::*;
use stage::{ASKED, AT, DK, ES, IT, LATER, PROVABLE, PT, Proving, documents, file, stopped_witness};

fn whole() -> Bundle {
    file(&documents(|_| ()))
}

fn with(mut file: Bundle, index: usize, proof: String) -> Bundle {
    file.exchanges[index].reply.as_mut().unwrap().log = Some(proof);
    file
}

fn verified(file: &Bundle) -> Report {
    let report = verify(file, &federation(), LATER);
    assert_eq!(report.failed, [], "{report:?}");
    report
}

/// Level, witnesses and how many it takes, of the first reply.
fn first(report: &Report) -> (Level, Vec<&str>, usize) {
    let statement = &report.statements[0];
    let logged = statement.log.as_ref().unwrap();
    (statement.level(), logged.witnesses.iter().map(NodeId::as_str).collect(), logged.needed)
}

#[test]
fn a_file_without_proofs_is_signed_and_reads_as_it_always_did() {
    let file = whole();
    let report = verified(&file);
    assert_eq!(report.level(), Level::Signed);
    assert_eq!(report.statements.iter().map(|one| one.what).collect::<Vec<_>>(), ["answer", "refusal", "held"]);
    assert!(report.pool_recomputed && report.unproven.is_empty());
    assert!(report.short_of(Level::Signed).is_empty());
    let short = report.short_of(Level::Logged);
    assert_eq!(short.len(), 3);
    assert!(short[0].part.starts_with("IT-AGENCY, answer of ") && short[0].rule.contains("promised one from"));
    assert!(short[1].rule.contains("promised none"), "{short:?}");
}

#[test]
fn cosignatures_count_once_for_each_other_member_that_is_a_witness() {
    let file = whole();
    let proving = || Proving::of(&file, 0);
    let seconds = PROVABLE.0 / 1000;
    let also = |name, seed, seconds| {
        let mut proving = proving().by(&[DK]);
        proving.cosigned.push((name, seed, seconds));
        proving
    };
    let entry = (ASKED.0 + 40) / 1000;
    let table: Vec<(&str, Proving, Level, &[&str])> = vec![
        ("nobody", proving(), Level::Logged, &[]),
        ("one", proving().by(&[DK]), Level::Logged, &[DK]),
        ("two", proving().by(&[PT, DK]), Level::Witnessed, &[DK, PT]),
        ("all", proving().by(&[PT, DK, AT, ES]), Level::Witnessed, &[AT, DK, ES, PT]),
        ("the asker among them", proving().by(&[ES, DK]), Level::Witnessed, &[DK, ES]),
        ("one twice", proving().by(&[DK, DK]), Level::Logged, &[DK]),
        ("one at two times", also(DK, seeds_of(DK)[6], seconds + 60), Level::Logged, &[DK]),
        ("one too early and then", also(DK, seeds_of(DK)[6], 1), Level::Logged, &[DK]),
        ("the log's own member", proving().by(&[DK, IT]), Level::Logged, &[DK]),
        ("by another's key", also(PT, seeds_of(DK)[6], seconds), Level::Logged, &[DK]),
        ("by a log key", also(PT, seeds_of(PT)[5], seconds), Level::Logged, &[DK]),
        ("by nobody known", also("FR-AGENCY", 99, seconds), Level::Logged, &[DK]),
        ("just before the entry", also(PT, seeds_of(PT)[6], entry - 119), Level::Witnessed, &[DK, PT]),
        ("long before the entry", also(PT, seeds_of(PT)[6], entry - 121), Level::Logged, &[DK]),
        ("at no time", also(PT, seeds_of(PT)[6], 0), Level::Logged, &[DK]),
        ("just now", also(PT, seeds_of(PT)[6], LATER.0 / 1000 + 120), Level::Witnessed, &[DK, PT]),
        ("in the future", also(PT, seeds_of(PT)[6], LATER.0 / 1000 + 121), Level::Logged, &[DK]),
        ("at the end of time", also(PT, seeds_of(PT)[6], i64::MAX.unsigned_abs()), Level::Logged, &[DK]),
    ];
    for (name, proving, level, witnesses) in table {
        let report = verified(&with(file.clone(), 0, proving.text()));
        assert_eq!(first(&report), (level, witnesses.to_vec(), 2), "{name}");
    }
    let mut twice = proving();
    twice.cosigned.extend([(PT, seeds_of(PT)[6], 1), (PT, seeds_of(PT)[6], seconds)]);
    let report = verified(&with(file.clone(), 0, twice.text()));
    assert_eq!(first(&report), (Level::Logged, vec![PT], 2), "a line that does not count hides none that does");
    // A line of another checkpoint is none of this one.
    let mut other = proving();
    other.entry.time = UnixMs(ASKED.0 + 41);
    let foreign = other.by(&[PT]).text().lines().last().unwrap().to_owned();
    let text = format!("{}{foreign}\n", proving().by(&[DK]).text());
    assert_eq!(first(&verified(&with(file, 0, text))), (Level::Logged, vec![DK], 2));
}

type Case<'a> = (&'a str, Vec<Document>, Level, &'a [&'a str], usize);

#[test]
fn who_may_witness_follows_from_the_roster_of_the_file() {
    let only = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        move |members: &mut Vec<Member>| {
            for member in members.iter_mut().filter(|member| !wanted.iter().any(|name| name == member.node_id.as_str()))
            {
                member.roles = Bounded::new(vec![MemberRole::Provider, MemberRole::Requester]).unwrap();
            }
        }
    };
    let state = |name: &'static str, state: MemberState| {
        move |members: &mut Vec<Member>| {
            members.iter_mut().find(|member| member.node_id.as_str() == name).unwrap().state = state;
        }
    };
    let joins_later = |members: &mut Vec<Member>| {
        members[0].valid_from = UnixMs(ASKED.0 + MINUTE_MS);
    };
    let table: Vec<Case<'_>> = vec![
        ("removed", documents(state(AT, MemberState::Removed)), Level::Logged, &[DK], 2),
        ("suspended", documents(state(AT, MemberState::Suspended)), Level::Logged, &[DK], 2),
        ("not yet a member", documents(joins_later), Level::Logged, &[DK], 2),
        ("not a witness", documents(only(&[DK, ES, IT])), Level::Logged, &[DK], 2),
        ("one alone is a witness", documents(only(&[DK, IT])), Level::Witnessed, &[DK], 1),
        ("its own alone", documents(only(&[IT])), Level::Logged, &[], 0),
        ("nobody is", documents(only(&[])), Level::Logged, &[], 0),
        ("its key is stopped", [documents(|_| ()), vec![stopped_witness(AT)]].concat(), Level::Logged, &[DK], 2),
    ];
    for (name, documents, level, witnesses, needed) in table {
        let file = file(&documents);
        let proof = Proving::of(&file, 0).by(&[AT, DK, IT]).text();
        let report = verified(&with(file, 0, proof));
        assert_eq!(first(&report), (level, witnesses.to_vec(), needed), "{name}");
        let short = report.short_of(Level::Witnessed);
        let says = |words: &str| short.first().is_some_and(|failed| failed.rule.contains(words));
        assert_eq!(says("nobody can have witnessed"), needed == 0, "{name}: {short:?}");
        assert_eq!(says("1 of 2 witnesses"), level == Level::Logged && needed == 2, "{name}: {short:?}");
    }
}

#[test]
fn every_kind_of_reply_can_be_logged() {
    let mut file = whole();
    for index in 0..3 {
        let proof = Proving::of(&file, index).by(&[AT, ES]).text();
        file = with(file, index, proof);
    }
    let report = verified(&file);
    assert_eq!(report.level(), Level::Witnessed);
    assert!(report.short_of(Level::Witnessed).is_empty());
    // What one partner is in keeps its proof, and what is written reads back the same.
    let part = file.extract(&id(IT), &federation(), LATER).unwrap();
    assert_eq!(part.exchanges, file.exchanges[..1]);
    assert_eq!(verified(&part).level(), Level::Witnessed);
    assert_eq!(first(&verified(&part)), first(&report));
}

#[test]
fn a_proof_that_does_not_hold_is_a_fault_of_the_file() {
    let file = whole();
    let good = Proving::of(&file, 0).by(&[DK, PT]);
    let change = |change: &dyn Fn(&mut Proving)| {
        let mut proving = good.clone();
        change(&mut proving);
        proving.text()
    };
    let of = |name| log_origin(&federation(), &id(name));
    let another = |kind| move |proving: &mut Proving| proving.entry.kind = kind;
    let at = |ms: u64| move |proving: &mut Proving| proving.entry.time = UnixMs(ms);
    let detail = Detail { salt: [1; 32], text: br#"{"actor":"node"}"#.to_vec() };
    let table: Vec<(&str, String, &str)> = vec![
        ("nothing", String::new(), "there is no checkpoint"),
        ("words", "yes\n\nindeed\n".into(), "does not begin with"),
        ("of another reply", change(&|proving| proving.entry.subject = Hash([5; 32])), "something else"),
        ("of no reply", change(&|proving| proving.entry.subject = Hash::ZERO), "something else"),
        ("of another member's log", change(&|proving| proving.origin = of(PT)), "another log"),
        ("of another log in truth", Proving::of(&file, 1).text(), "another log"),
        (
            "of another federation's",
            change(&|proving| proving.origin = log_origin(&Hash([9; 32]), &id(IT))),
            "another log",
        ),
        ("signed by a witness", change(&|proving| proving.signer = seeds_of(IT)[6]), "not signed by a key of that log"),
        (
            "signed by another log",
            change(&|proving| proving.signer = seeds_of(PT)[5]),
            "not signed by a key of that log",
        ),
        ("refused", change(&another(EventKind::Refused)), "`refused` of a reply that is `answered`"),
        ("held", change(&another(EventKind::Held)), "`held` of a reply that is `answered`"),
        ("heard by the asker", change(&another(EventKind::Heard)), "`heard`"),
        ("too early", change(&at(ASKED.0 - 10 * MINUTE_MS - 1)), "10 minutes"),
        ("too late", change(&at(ASKED.0 + 10 * MINUTE_MS + 1)), "10 minutes"),
        ("in another place", change(&|proving| proving.entry.seq = 3), "does not belong at that place"),
        ("with what it commits to", change(&|proving| proving.detail = Some(detail.clone())), "discloses"),
        ("cut", good.text().lines().take(6).collect::<Vec<_>>().join("\n"), "not a"),
    ];
    for (name, text, why) in table {
        let report = verify(&with(file.clone(), 0, text), &federation(), LATER);
        let [failed] = report.failed.as_slice() else { panic!("{name}: {report:?}") };
        assert_eq!(failed.part, "exchanges[0].reply.log", "{name}");
        assert!(failed.rule.contains(why), "{name}: {}", failed.rule);
        assert!(!report.pool_recomputed, "{name}");
    }
    for ms in [ASKED.0 - 10 * MINUTE_MS, ASKED.0 + 10 * MINUTE_MS] {
        verified(&with(file.clone(), 0, change(&at(ms))));
    }
    // A proof of one reply proves no other.
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
        let swapped = with(file.clone(), to, Proving::of(&file, from).text());
        assert_eq!(verify(&swapped, &federation(), LATER).failed.len(), 1, "{from} for {to}");
    }
}

#[test]
fn a_proof_from_before_an_exchange_of_log_keys_holds() {
    let set = documents(|_| ());
    let old = seeds_of(IT)[5];
    let mut keys = member_keys(IT, 2, first_keys(IT).hash());
    keys.log_keys = Bounded::new(vec![public(91)]).unwrap();
    let next = with_possession(&keys, &[seeds_of(IT)[4]]);
    let exchanged = file(&[set.clone(), vec![next]].concat());
    let signed_by = |file: &Bundle, signer: u8| {
        let mut proving = Proving::of(file, 0).by(&[DK, PT]);
        proving.signer = signer;
        with(file.clone(), 0, proving.text())
    };
    for (name, file, holds) in [
        ("the old key, then", signed_by(&file(&set), old), true),
        ("the new key, before anybody knows of it", signed_by(&file(&set), 91), false),
        ("the old key, now", signed_by(&exchanged, old), true),
        ("the new key, now", signed_by(&exchanged, 91), true),
        ("a key that never was", signed_by(&exchanged, 92), false),
    ] {
        let report = verify(&file, &federation(), LATER);
        assert_eq!(report.failed.is_empty(), holds, "{name}: {:?}", report.failed);
        if holds {
            assert_eq!(first(&report), (Level::Witnessed, vec![DK, PT], 2), "{name}");
        }
    }
    // A document that claims the name and follows nothing gives no keys.
    keys.prev_hash = Hash([3; 32]);
    let stray = with_possession(&keys, &[]);
    let report = verify(&signed_by(&file(&[set, vec![stray]].concat()), 91), &federation(), LATER);
    assert_eq!(report.failed.len(), 1, "{report:?}");
}

#[test]
fn a_promise_that_was_not_kept_for_a_day_is_named() {
    let file = whole();
    let day_after = UnixMs(PROVABLE.0 + DAY_MS);
    let unproven = |file: &Bundle, at: UnixMs| {
        let report = verify(file, &federation(), at);
        assert_eq!(report.failed, []);
        report.unproven
    };
    assert_eq!(unproven(&file, day_after), []);
    let after = unproven(&file, UnixMs(day_after.0 + 1));
    let [one] = after.as_slice() else { panic!("{after:?}") };
    assert_eq!((one.who.as_str(), one.what, one.at, one.provable_after), (IT, "answer", ASKED, PROVABLE));
    let proved = with(file.clone(), 0, Proving::of(&file, 0).text());
    assert_eq!(unproven(&proved, UnixMs(day_after.0 + 1)), []);
}

#[test]
fn a_file_from_before_there_were_proofs_reads_and_null_is_as_good_as_nothing() {
    let file = whole();
    let text = serde_json::to_string(&file).unwrap();
    assert!(!text.contains("\"log\""));
    let read = |text: &str| serde_json::from_str::<Bundle>(text).unwrap();
    assert_eq!(read(&text), file);
    let end = "\"edition\":null}";
    assert_eq!(read(&text.replace(end, "\"edition\":null,\"log\":null}")), file);
    let proved = with(file.clone(), 2, Proving::of(&file, 2).by(&[ES]).text());
    assert_eq!(read(&serde_json::to_string(&proved).unwrap()), proved);
}

#[test]
fn the_file_of_the_vectors_verifies_as_it_always_will() {
    let mut file = whole();
    for (index, names) in [(0, [PT, DK].as_slice()), (1, &[AT]), (2, &[])] {
        let proof = Proving::of(&file, index).by(names).text();
        file = with(file, index, proof);
    }
    let report = verified(&file);
    let levels: Vec<Level> = report.statements.iter().map(Statement::level).collect();
    assert_eq!(levels, [Level::Witnessed, Level::Logged, Level::Logged]);
    let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
    expect_file!["vectors/evidence.json"].assert_eq(&text);
}

proptest! {
    // No other text than the proof makes more of a reply: what is changed does not verify, or loses a cosignature.
    #[test]
    fn a_changed_proof_proves_less(at in any::<prop::sample::Index>(), to in any::<char>(), cuts in any::<bool>()) {
        let file = whole();
        let good = Proving::of(&file, 0).by(&[DK, PT]).text();
        let mut letters: Vec<char> = good.chars().collect();
        let at = at.index(letters.len());
        if cuts { letters.truncate(at) } else { letters[at] = to }
        let changed: String = letters.into_iter().collect();
        prop_assume!(changed != good);
        let report = verify(&with(file, 0, changed), &federation(), LATER);
        let level = report.statements.first().map(Statement::level);
        prop_assert!(!report.failed.is_empty() || level == Some(Level::Logged), "{report:?}");
    }
}
