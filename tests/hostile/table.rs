//! The table of cases: what each does, how they are run, and what is printed about them.

use std::{collections::BTreeMap, sync::Mutex, thread};

use accord_edge::clock::Stopwatch;
use serde_json::json;

use crate::{
    cases,
    stage::Stage,
    watch::{GROWTH_MAX_KIB, Watch},
};

/// What was seen, or what went wrong.
pub(crate) type Outcome = Result<String, String>;

/// Where a case plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the one stage of all short cases, one after the other.
    Shared,
    /// On a stage of its own, at the same time as others: for cases that wait long, or change settings.
    Own,
}

/// One case.
pub(crate) struct Case {
    /// Its number among the requirements.
    pub(crate) id: &'static str,
    /// A few words.
    pub(crate) name: &'static str,
    /// What is there before.
    pub(crate) given: &'static str,
    /// What the hostile peer does.
    pub(crate) sent: &'static str,
    /// What must be seen.
    pub(crate) expected: &'static str,
    /// The line, or part of it, that the operator finds in the victim's log; `none` if the attack leaves no line at all.
    pub(crate) log: &'static str,
    /// Where it plays.
    pub(crate) place: Place,
    /// Does it.
    pub(crate) run: fn(&mut Stage) -> Outcome,
}

/// How a case went.
#[derive(Debug)]
struct Report {
    case: usize,
    outcome: Outcome,
    ms: u64,
    rss_before_kib: u64,
    rss_peak_kib: u64,
    figures: BTreeMap<String, f64>,
}

/// Cases on stages of their own that play at once.
const OWN_AT_ONCE: usize = 6;

/// What is to be run, and how it is shown.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// Ids; all if empty.
    pub(crate) only: Vec<String>,
    /// One JSON object instead of a table.
    pub(crate) json: bool,
}

/// All cases, in order of their numbers.
pub(crate) fn all() -> Vec<Case> {
    let mut all = cases::all();
    all.sort_by_key(|case| order(case.id));
    all
}

fn order(id: &str) -> (u32, String) {
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    let rest = id.trim_start_matches('C').trim_start_matches(|c: char| c.is_ascii_digit());
    (digits.parse().unwrap(), rest.to_owned())
}

/// The cases as a Markdown table.
pub(crate) fn list() -> String {
    let mut text = String::from("| case | name | given | sent | expected | in the log |\n|---|---|---|---|---|---|\n");
    for case in all() {
        let log = if case.log == "none" { "none".to_owned() } else { format!("`{}`", case.log) };
        text +=
            &format!("| {} | {} | {} | {} | {} | {log} |\n", case.id, case.name, case.given, case.sent, case.expected);
    }
    text
}

/// Runs the chosen cases, prints them, and says whether all passed.
pub(crate) fn run(choice: &Choice) -> bool {
    let cases = all();
    for wanted in &choice.only {
        assert!(cases.iter().any(|case| case.id == wanted), "there is no case {wanted}; --list shows them");
    }
    let chosen = |place: Place| {
        let wanted = |case: &Case| choice.only.is_empty() || choice.only.iter().any(|id| id == case.id);
        let found = cases.iter().enumerate().filter(|(_, case)| case.place == place && wanted(case));
        found.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let clock = Stopwatch::start();
    let reports = Mutex::new(Vec::new());
    let keep = |report: Report| {
        let case = &cases[report.case];
        eprintln!("{} {} {} ms", case.id, if report.outcome.is_ok() { "passed" } else { "FAILED" }, report.ms);
        reports.lock().unwrap().push(report);
    };
    let waiting = Mutex::new(chosen(Place::Own).into_iter());
    thread::scope(|scope| {
        for _ in 0..OWN_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(index) = waiting.lock().unwrap().next() else { break };
                    keep(play(index, &cases[index], &mut Stage::raise()));
                }
            });
        }
        let shared = chosen(Place::Shared);
        if !shared.is_empty() {
            let mut stage = Stage::raise();
            for index in shared {
                keep(play(index, &cases[index], &mut stage));
            }
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|report| report.case);
    let ms = clock.ms();
    print!("{}", if choice.json { to_json(&cases, &reports, ms) } else { to_table(&cases, &reports, ms) });
    !reports.is_empty() && reports.iter().all(|report| report.outcome.is_ok())
}

fn play(index: usize, case: &Case, stage: &mut Stage) -> Report {
    let mut watch = Watch::start(stage);
    let clock = Stopwatch::start();
    let mut outcome = (case.run)(stage);
    let ms = clock.ms();
    let figures = std::mem::take(&mut stage.figures);
    if let Ok(seen) = outcome {
        outcome = watch.check(stage, case.log).map(|()| seen);
    }
    let (rss_before_kib, rss_peak_kib) = watch.memory();
    if outcome.is_ok() && rss_peak_kib > rss_before_kib + GROWTH_MAX_KIB {
        outcome = Err(format!("the node grew from {rss_before_kib} KiB to {rss_peak_kib} KiB"));
    }
    Report { case: index, outcome, ms, rss_before_kib, rss_peak_kib, figures }
}

fn to_table(cases: &[Case], reports: &[Report], ms: u64) -> String {
    let mut text = String::new();
    for report in reports {
        let case = &cases[report.case];
        let (word, detail) = match &report.outcome {
            Ok(seen) => ("passed", seen),
            Err(wrong) => ("FAILED", wrong),
        };
        text += &format!(
            "{:<5} {word}  {:>6} ms  {:>+6} KiB  {}: {detail}\n",
            case.id,
            report.ms,
            report.rss_peak_kib.cast_signed() - report.rss_before_kib.cast_signed(),
            case.name
        );
        for (name, value) in &report.figures {
            text += &format!("{:>30} {name} = {value:.2}\n", "");
        }
        if !report.figures.is_empty() {
            text +=
                &format!("{:>30} rss_kib = {} before, {} at most\n", "", report.rss_before_kib, report.rss_peak_kib);
        }
    }
    let failed = reports.iter().filter(|report| report.outcome.is_err()).count();
    text + &format!("{} passed, {failed} failed, {ms} ms\n", reports.len() - failed)
}

fn to_json(cases: &[Case], reports: &[Report], ms: u64) -> String {
    let rows: Vec<_> = reports
        .iter()
        .map(|report| {
            let case = &cases[report.case];
            json!({
                "id": case.id,
                "name": case.name,
                "passed": report.outcome.is_ok(),
                "seen": report.outcome.as_ref().ok(),
                "wrong": report.outcome.as_ref().err(),
                "ms": report.ms,
                "rss_before_kib": report.rss_before_kib,
                "rss_peak_kib": report.rss_peak_kib,
                "figures": report.figures,
            })
        })
        .collect();
    let failed = reports.iter().filter(|report| report.outcome.is_err()).count();
    format!("{}\n", json!({ "cases": rows, "passed": reports.len() - failed, "failed": failed, "ms": ms }))
}
