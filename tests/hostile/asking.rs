//! What a hostile provider says to an officer who asks it beside an honest one, and what the officer's tool makes of it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use serde_json::Value;

use crate::{
    forge::{Forge, SENTINEL},
    peer::{Counts, file, json},
    server::{Manners, Question, Script, Server, Step, Wanted},
    stage::{ATTACKER, HONEST, Stage, VICTIM},
    table::Outcome,
    watch::{GROWTH_MAX_KIB, kib},
    wire::hex,
};

/// Deadline of a question in seconds, and how much later the tool may end.
const DEADLINE: u64 = 8;
const DEADLINE_OF_SILENCE: u64 = 4;
const GRACE_MS: u64 = 4_000;
/// Numbers of editions from here on tell the row.
const FIRST_EDITION: u64 = 1_000;

/// What a row must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// An answer in order: the hostile member's numbers are shown.
    Answered,
    /// A refusal in order.
    Refused,
    /// Not believed.
    NotVerified,
    /// Nobody answers.
    Unreachable,
    /// One of the two.
    NotBelieved,
    /// Believed, and not to be compared.
    NotComparable,
}

impl Want {
    const fn takes(self, status: &str) -> bool {
        matches!(
            (self, status.as_bytes()),
            (Self::Answered, b"answered")
                | (Self::Refused, b"refused")
                | (Self::NotVerified | Self::NotBelieved, b"not_verified")
                | (Self::Unreachable | Self::NotBelieved, b"unreachable")
                | (Self::NotComparable, b"not_comparable")
        )
    }
}

/// One thing that a hostile provider does.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// In words.
    pub(crate) what: &'static str,
    /// The answer to a question; the number is that of the edition to name.
    pub(crate) answer: fn(&Forge, &Question, u64) -> Vec<Step>,
    /// The header of the edition.
    pub(crate) header: fn(&Forge, u64) -> Vec<Step>,
    /// What it must come to.
    pub(crate) want: Want,
    /// The edition that is asked for.
    pub(crate) edition: Option<u64>,
    /// Whether the question is long enough for a larger class.
    pub(crate) wide: bool,
    /// Whether the row ends by waiting.
    pub(crate) waits: bool,
}

impl Row {
    /// A row that must not be believed.
    pub(crate) const fn new(what: &'static str, answer: fn(&Forge, &Question, u64) -> Vec<Step>) -> Self {
        Self {
            what,
            answer,
            header: |forge, number| forge.header(number),
            want: Want::NotVerified,
            edition: None,
            wide: false,
            waits: false,
        }
    }

    /// A row with an answer in order and another header.
    pub(crate) const fn header(what: &'static str, header: fn(&Forge, u64) -> Vec<Step>) -> Self {
        Self { header, ..Self::new(what, |forge, asked, number| forge.honest(asked, number)) }
    }

    /// Something else than not verified.
    pub(crate) const fn wants(self, want: Want) -> Self {
        Self { want, ..self }
    }

    /// A row after which nothing more comes.
    pub(crate) const fn waits(self) -> Self {
        Self { waits: true, want: Want::Unreachable, ..self }
    }
}

/// What tells a question's row: legal basis, purpose, first and last year.
type Sign = (u16, u16, u32, u32);

// A hundred questions that differ in what the honest partner answers all the same.
fn sign_of(row: usize) -> Sign {
    let row = u32::try_from(row).unwrap();
    let ranges = [(2022, 2022), (2022, 2023), (2022, 2024), (2022, 2025), (2023, 2023), (2023, 2024), (2023, 2025), (2024, 2024), (2024, 2025), (2025, 2025)];
    let (from, to) = ranges[usize::try_from(row / 10 % 10).unwrap()];
    (u16::try_from(1 + row % 5).unwrap(), u16::try_from(1 + row / 5 % 2).unwrap(), from, to)
}

fn sign_of_question(question: &Question) -> Sign {
    let years: Vec<u32> = question.body.query.dims[0].codes.iter().map(|code| code / 100).collect();
    (
        question.body.legal_basis,
        question.body.purpose,
        years.iter().copied().min().unwrap_or(0),
        years.iter().copied().max().unwrap_or(0),
    )
}

// Plays each row to the question that has its sign, and its header to the fetch that has its number.
fn script(forge: Forge, rows: Arc<Vec<Row>>) -> Script {
    Arc::new(move |wanted| match wanted {
        Wanted::Answer(question) => {
            let sign = sign_of_question(question);
            let Some((index, row)) = rows.iter().enumerate().find(|(index, _)| sign_of(*index) == sign) else {
                return Vec::new();
            };
            (row.answer)(&forge, question, FIRST_EDITION + index as u64)
        }
        Wanted::Header(number) => {
            let index = number.checked_sub(FIRST_EDITION).and_then(|index| usize::try_from(index).ok());
            index.and_then(|index| rows.get(index)).map_or_else(|| forge.header(*number), |row| (row.header)(&forge, *number))
        }
    })
}

/// Plays rows to an officer who asks the hostile member and the honest one, so many questions at once.
pub(crate) fn play(stage: &mut Stage, rows: Vec<Row>, manners: Manners, at_once: usize) -> Outcome {
    stage.stop(HONEST);
    let rows = Arc::new(rows);
    let server = Server::raise(stage, manners, script(Forge::of(stage), Arc::clone(&rows)));
    let outcome = ask_all(stage, &rows, at_once);
    let calls = server.calls.load(Ordering::Relaxed);
    server.leave(stage);
    stage.start(HONEST);
    let seen = outcome?;
    if manners == Manners::Answers && calls < rows.len() {
        return Err(format!("only {calls} calls reached the hostile member"));
    }
    Ok(seen)
}

fn ask_all(stage: &Stage, rows: &[Row], at_once: usize) -> Outcome {
    let pid = stage.pid(ATTACKER);
    let before = Counts::of(stage, ATTACKER)?;
    fs::write(format!("/proc/{pid}/clear_refs"), "5").map_err(|error| error.to_string())?;
    let rss = kib(pid, "VmRSS").ok_or("the asking node is gone")?;
    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut wrong = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(row) = rows.get(index) else { return wrong };
                        if let Err(why) = ask(stage, index, row) {
                            wrong.push(format!("{}: {why}", row.what));
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let peak = kib(pid, "VmHWM").ok_or("the asking node is gone")?;
    if !wrong.is_empty() {
        return Err(format!("{} of {}: {}", wrong.len(), rows.len(), wrong.join("; ")));
    }
    if peak > rss + GROWTH_MAX_KIB {
        return Err(format!("the asking node grew from {rss} KiB to {peak} KiB"));
    }
    Counts::of(stage, ATTACKER)?.grew(&before, &[].into())?;
    Ok(format!("{} ways, no number of theirs shown, the honest ones shown; the asking node grew by {} KiB", rows.len(), peak.saturating_sub(rss)))
}

// One question; what the tool, its table and its evidence say.
fn ask(stage: &Stage, index: usize, row: &Row) -> Result<(), String> {
    let (legal_basis, purpose, from, to) = sign_of(index);
    let bases = ["agreement", "directive-2023-977", "regulation-2023-1322", "national-law", "test"];
    let purposes = ["strategic-analysis", "early-warning"];
    let (csv, evidence) = (format!("row-{index}.csv"), format!("row-{index}.json"));
    let deadline = if row.waits { DEADLINE_OF_SILENCE } else { DEADLINE };
    let partners = format!("{VICTIM},{HONEST}");
    let period = format!("{from}..{to}");
    let deadline_text = deadline.to_string();
    let edition = row.edition.map(|edition| edition.to_string());
    let mut arguments = vec![
        "ask", "seizures-year-drug", "--from", &partners, "--period", &period, "--measure", "seizures",
        "--legal-basis", bases[usize::from(legal_basis) - 1], "--purpose", purposes[usize::from(purpose) - 1],
        "--deadline", &deadline_text, "--csv", &csv, "--evidence", &evidence, "--force", "--json",
    ];
    let narrow = ["--where", "drug=COC,HER"];
    let wide = ["--by", "time=month,drug=substance"];
    arguments.extend(if row.wide { wide } else { narrow });
    if let Some(edition) = &edition {
        arguments.extend(["--edition", edition]);
    }
    let watch = Stopwatch::start();
    let said = stage.federation.officer(&arguments);
    let took = watch.ms();
    if took > deadline * 1000 + GRACE_MS {
        return Err(format!("it took {took} ms with a deadline of {deadline} s"));
    }
    let result = json(&said)?["result"].clone();
    let status = status_of(&result, HONEST);
    if !row.want.takes(&status) {
        return Err(format!("{status}, {}", result["partners"][1]));
    }
    let answered = row.want == Want::Answered;
    if said.code != i32::from(!answered) {
        return Err(format!("exit {}", said.code));
    }
    if status_of(&result, VICTIM) != "answered" {
        return Err(format!("the honest partner: {}", status_of(&result, VICTIM)));
    }
    let read = |name: &str| fs::read_to_string(file(stage, name)).map_err(|error| format!("{name}: {error}"));
    let texts = [said.stdout, said.stderr, read(&csv)?, read(&evidence)?];
    if !answered {
        no_number_of_theirs(&texts)?;
        only_honest_sums(&result)?;
    } else if !texts.iter().all(|text| text.is_empty() || names_sentinel(text)) {
        return Err("an answer in order is not shown".into());
    }
    let federation = stage.federation.id.as_str();
    let verified = stage.federation.officer(&["evidence", "verify", &evidence, "--federation", federation, "--json"]);
    if verified.code == 0 { Ok(()) } else { Err(format!("its evidence does not verify: {}", verified.stdout)) }
}

fn status_of(result: &Value, member: &str) -> String {
    let partners = result["partners"].as_array().map_or(&[][..], Vec::as_slice);
    let found = partners.iter().find(|partner| partner["member"] == member);
    found.and_then(|partner| partner["status"].as_str()).unwrap_or("missing").to_owned()
}

fn names_sentinel(text: &str) -> bool {
    text.contains(&SENTINEL.to_string()) || text.contains(&hex(&SENTINEL.to_be_bytes()))
}

// Neither the number, nor its bytes, nor a row of the member in the table.
fn no_number_of_theirs(texts: &[String]) -> Result<(), String> {
    match texts.iter().find(|text| names_sentinel(text) || text.lines().any(|line| line.starts_with(&format!("member,{HONEST},")) && line.contains(",value,"))) {
        None => Ok(()),
        Some(text) => Err(format!("a number of theirs is shown: {}", text.chars().take(300).collect::<String>())),
    }
}

// Every pooled number is the honest partner's alone, and there is one.
fn only_honest_sums(result: &Value) -> Result<(), String> {
    let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
    let mut shown = 0;
    for pooled in list("pooled") {
        let value = &pooled["values"]["seizures"];
        let cell = list("cells").into_iter().find(|cell| cell["member"] == VICTIM && cell["key"] == pooled["key"]);
        let honest = cell.map_or(Value::Null, |cell| cell["values"]["seizures"]["value"].clone());
        if value["state"] == "value" {
            shown += 1;
            if value["value"] != honest || value["from"] != serde_json::json!([VICTIM]) {
                return Err(format!("a sum that is not the honest partner's: {pooled}"));
            }
        }
    }
    if let Some(cell) = list("cells").iter().find(|cell| cell["member"] == HONEST && cell["values"]["seizures"]["state"] == "value") {
        return Err(format!("a cell of theirs: {cell}"));
    }
    if shown == 0 { Err("the honest partner's numbers are not shown".into()) } else { Ok(()) }
}

/// Waits between the bytes of a slow reply.
pub(crate) const SLOWLY: Duration = Duration::from_secs(2);
