//! Completing a file with whatever a node may say, without a node.

#[path = "../../../../../protocol/tests/made/mod.rs"]
mod made;
#[path = "../../../../../protocol/tests/evidence/stage.rs"]
mod stage;

use accord_protocol::{codec::Bounded, log::tick::provable_after, time::DAY_MS};
use made::{federation, first_keys, member_keys, public, seeds_of, with_possession};
use stage::{ASKED, AT, DK, ES, IT, LATER, PROVABLE, PT, Proving, documents, file, stopped_witness};

use super::*;

fn whole() -> Bundle {
    file(&documents(|_| ()))
}

fn with(mut file: Bundle, index: usize, proof: &str) -> Bundle {
    file.exchanges[index].reply.as_mut().unwrap().log = Some(proof.to_owned());
    file
}

fn got(proofs: [Option<String>; 3]) -> Vec<Found> {
    proofs.into_iter().map(|proof| Found { why: proof.is_none().then(|| "not asked yet".to_owned()), proof }).collect()
}

fn completed(file: &Bundle, found: &[Found], learned: &[Document]) -> Completed {
    let before = verify(file, &federation(), LATER);
    assert_eq!(before.failed, []);
    let after = most_proved(file, &before, found, learned, LATER).unwrap();
    assert_eq!(verify(&after.bundle, &federation(), LATER).failed, [], "what is written verifies");
    after
}

fn said(file: &Bundle, found: &[Found], now: UnixMs) -> Outcome {
    let before = verify(file, &federation(), now);
    let after = most_proved(file, &before, found, &[], now).unwrap();
    outcome("evidence.json", (&before, file), &after, found, now)
}

fn standings(outcome: &Outcome) -> Vec<&str> {
    let statements = outcome.result.as_ref().unwrap()["statements"].as_array().unwrap();
    statements.iter().map(|statement| statement["standing"].as_str().unwrap()).collect()
}

#[test]
fn what_the_node_has_got_is_in_the_file_afterwards_and_nothing_else_has_changed() {
    let file = whole();
    let proofs = [0, 1, 2].map(|index| Proving::of(&file, index).by(&[ES, AT]).text());
    let all = proofs.iter().enumerate().fold(file.clone(), |file, (index, proof)| with(file, index, proof));
    let found = got(proofs.map(Some));
    assert_eq!(completed(&file, &found, &[]).bundle, all);
    let outcome = said(&file, &found, LATER);
    assert_eq!((outcome.exit, standings(&outcome)), (0, vec!["complete"; 3]));
    let result = outcome.result.unwrap();
    assert_eq!(
        (&result["level"], &result["added"], &result["written"]),
        (&json!("witnessed"), &json!(3), &json!(true))
    );
    // Once more there is nothing to ask for, and nothing to write.
    assert!(verify(&all, &federation(), LATER).statements.iter().all(is_fully_proved));
    let outcome = said(&all, &got([None, None, None]), LATER);
    assert_eq!((outcome.exit, &outcome.result.unwrap()["written"]), (0, &json!(false)));
}

#[test]
fn of_two_proofs_the_one_that_proves_more_stays() {
    let file = whole();
    let proof = |names: &[&'static str]| Proving::of(&file, 0).by(names).text();
    let two_lines = format!("{}{}\n", proof(&[DK]), proof(&[DK]).lines().last().unwrap());
    for (there, found, stays) in [
        (proof(&[]), proof(&[DK]), false),
        (proof(&[DK]), proof(&[DK, PT]), false),
        (proof(&[DK]), proof(&[]), true),
        (proof(&[DK]), proof(&[PT]), true),
        (proof(&[DK]), two_lines, true),
        (proof(&[DK]), "no proof".to_owned(), true),
    ] {
        let file = with(file.clone(), 0, &there);
        let after = completed(&file, &got([Some(found.clone()), None, None]), &[]);
        let expected = if stays { &there } else { &found };
        assert_eq!(after.bundle.exchanges[0].reply.as_ref().unwrap().log.as_ref(), Some(expected));
    }
}

#[test]
fn what_does_not_hold_is_not_put_in_and_is_said() {
    let file = whole();
    let other = Proving::of(&file, 1).text();
    let mut late = Proving::of(&file, 0).by(&[DK, PT]);
    late.entry.time = UnixMs(late.entry.time.0 + 3_600_000);
    for (proof, why) in [(other, "another log"), (late.text(), "10 minutes"), ("x".to_owned(), "no checkpoint")] {
        let found = got([Some(proof), None, None]);
        assert_eq!(completed(&file, &found, &[]).bundle, file);
        let outcome = said(&file, &found, LATER);
        assert_eq!((outcome.exit, standings(&outcome)), (1, vec!["refused", "unpromised", "due"]));
        let [warning] = outcome.warnings.as_slice() else { panic!("{:?}", outcome.warnings) };
        assert!(warning.code == "NOT-PROVEN" && warning.message.contains(why), "{}", warning.message);
    }
}

#[test]
fn what_is_missing_is_said_by_when_it_was_promised() {
    let file = whole();
    let day_after = UnixMs(PROVABLE.0 + DAY_MS);
    // A status has no promise: ten minutes after the next full hour.
    let of_status = provable_after(ASKED);
    assert!(of_status > PROVABLE);
    for (now, standing, held, warns) in [
        (UnixMs(PROVABLE.0 - 1), "not_yet", "not_yet", false),
        (PROVABLE, "due", "not_yet", false),
        (UnixMs(of_status.0 - 1), "due", "not_yet", false),
        (of_status, "due", "due", false),
        (day_after, "due", "due", false),
        (UnixMs(day_after.0 + 1), "overdue", "due", true),
    ] {
        let outcome = said(&file, &got([None, None, None]), now);
        assert_eq!((outcome.exit, standings(&outcome)), (1, vec![standing, "unpromised", held]), "{now}");
        assert_eq!(outcome.warnings.iter().any(|warning| warning.code == "UNPROVEN"), warns, "{now}");
        assert!(outcome.text.contains("  not asked yet\n") && outcome.text.contains("stays as it is"));
    }
    let few = Proving::of(&file, 0).by(&[DK]).text();
    let outcome = said(&file, &got([Some(few), None, None]), LATER);
    assert_eq!((outcome.exit, standings(&outcome)[0]), (1, "unwitnessed"));
    assert!(outcome.text.contains("added; logged: entry 4 of 7 in its log"), "{}", outcome.text);
}

#[test]
fn keys_that_were_exchanged_since_come_into_the_file_where_a_proof_needs_them() {
    let set = documents(|_| ());
    let mut keys = member_keys(IT, 2, first_keys(IT).hash());
    keys.log_keys = Bounded::new(vec![public(91)]).unwrap();
    let next = with_possession(&keys, &[seeds_of(IT)[4]]);
    let learned = [set.clone(), vec![next.clone()]].concat();
    let file = file(&set);
    let mut proving = Proving::of(&file, 0).by(&[DK, PT]);
    proving.signer = 91;
    let found = got([Some(proving.text()), None, None]);
    assert_eq!(completed(&file, &found, &set).bundle, file, "nobody knows the key");
    let after = completed(&file, &found, &learned);
    assert_eq!(after.report.statements[0].level(), Level::Witnessed);
    assert_eq!(after.bundle.documents.len(), file.documents.len() + 1);
    // By a key that the file knows already the documents stay as they are, also if the profile would prove less by now.
    proving.signer = seeds_of(IT)[5];
    let found = got([Some(proving.text()), None, None]);
    let learned = [learned, vec![stopped_witness(PT)]].concat();
    assert_eq!(completed(&file, &found, &learned).bundle.documents, file.documents);
}
