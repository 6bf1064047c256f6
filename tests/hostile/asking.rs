//! What a hostile provider says to an officer who asks it beside an honest one, and what the officer's tool makes of it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use accord_edge::clock::Stopwatch;
use serde_json::Value;

use crate::{
    forge::{Forge, SENTINEL},
    peer::{Counts, anew, file, json},
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
/// Cells of these by month over three years are more than the smallest reply holds.
const MANY_DRUGS: &str = "drug=COC_COCAINE,COC_LEAF,COC_O,COC_U,HER_HEROIN,HER_OPIUM,HER_POPPY,HER_MORPHINE,HER_METHADONE,\
     HER_BUPRENORPHINE,HER_FENTANYL,HER_FENTANYL_ANALOGUE,HER_NITAZENE,HER_TRAMADOL,HER_O,HER_U,AMP_AMPHETAMINE,\
     AMP_METHAMPHETAMINE,AMP_CAPTAGON";

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

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// One question that fits the smallest reply.
    Small,
    /// One question for the next class. At most ten such rows are told apart, and none of another size beside them.
    Larger,
    /// Two questions, split along time. Such a row plays alone.
    Split,
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
    /// How much is asked.
    pub(crate) size: Size,
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
            size: Size::Small,
            waits: false,
        }
    }

    /// A row with an answer in order and another header.
    pub(crate) const fn header(what: &'static str, header: fn(&Forge, u64) -> Vec<Step>) -> Self {
        Self { header, ..Self::new(what, Forge::honest) }
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
fn sign_of(row: usize, size: Size) -> Sign {
    let ranges = [
        (2022, 2022),
        (2022, 2023),
        (2022, 2024),
        (2022, 2025),
        (2023, 2023),
        (2023, 2024),
        (2023, 2025),
        (2024, 2024),
        (2024, 2025),
        (2025, 2025),
    ];
    let (from, to) = match size {
        Size::Small => ranges[row / 10 % 10],
        Size::Larger => (2022, 2024),
        Size::Split => (2021, 2025),
    };
    (u16::try_from(1 + row % 5).unwrap(), u16::try_from(1 + row / 5 % 2).unwrap(), from, to)
}

fn sign_of_question(question: &Question) -> Sign {
    let years = || question.body.query.dims[0].codes.iter().map(|code| code / 100);
    (
        question.body.legal_basis,
        question.body.purpose,
        years().min().unwrap_or_default(),
        years().max().unwrap_or_default(),
    )
}

// Plays each row to the question that has its sign, and its header to the fetch that has its number.
fn script(forge: Forge, rows: Arc<Vec<Row>>) -> Script {
    let row_of = |rows: &[Row], question: &Question| match rows {
        [_] => Some(0),
        rows => rows.iter().enumerate().position(|(index, row)| sign_of(index, row.size) == sign_of_question(question)),
    };
    Arc::new(move |wanted| match wanted {
        Wanted::Answer(question) => {
            let found = row_of(&rows, question);
            found.map_or_else(Vec::new, |row| (rows[row].answer)(&forge, question, FIRST_EDITION + row as u64))
        }
        Wanted::Header(number) => {
            let index = number.checked_sub(FIRST_EDITION).and_then(|index| usize::try_from(index).ok());
            let row = index.and_then(|index| rows.get(index));
            row.map_or_else(|| forge.header(*number), |row| (row.header)(&forge, *number))
        }
    })
}

/// Plays rows to an officer who asks the hostile member and the honest one, so many questions at once; the officer's tool has at
/// most four connections to its node.
pub(crate) fn play(stage: &mut Stage, rows: Vec<Row>, manners: Manners, at_once: usize) -> Outcome {
    anew(stage);
    stage.start(ATTACKER);
    stage.stop(HONEST);
    let log_from = fs::read(stage.log(ATTACKER)).map_or(0, |log| log.len());
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
    log_is_clean(stage, log_from)?;
    nothing_is_stuck(stage)?;
    Ok(format!("{seen}, {calls} calls to the hostile member"))
}

// What a partner sends is none of the node's own faults, and no byte of it reaches the log as it came.
fn log_is_clean(stage: &Stage, from: usize) -> Result<(), String> {
    let log = fs::read(stage.log(ATTACKER)).map_err(|error| error.to_string())?;
    let gained = String::from_utf8_lossy(log.get(from..).unwrap_or_default()).into_owned();
    let odd =
        |line: &&str| line.contains("panicked") || line.bytes().any(|byte| !byte.is_ascii_graphic() && byte != b' ');
    gained.lines().find(odd).map_or(Ok(()), |line| Err(format!("the asking node's log: {}", line.escape_debug())))
}

// The honest node is back: the officer's next question to both partners is answered at once.
fn nothing_is_stuck(stage: &Stage) -> Result<(), String> {
    let partners = format!("{VICTIM},{HONEST}");
    let said = stage.federation.officer(&[
        "ask",
        "seizures-year-drug",
        "--from",
        &partners,
        "--period",
        "2021..2025",
        "--legal-basis",
        "agreement",
        "--purpose",
        "strategic-analysis",
        "--json",
    ]);
    if said.code == 0 { Ok(()) } else { Err(format!("afterwards a question in order fails: {}", said.stdout)) }
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
    Ok(format!(
        "{} ways, no number of theirs shown, the honest ones shown; the asking node grew by {} KiB",
        rows.len(),
        peak.saturating_sub(rss)
    ))
}

// The words of a question in the tool's terms.
fn arguments(index: usize, row: &Row) -> Vec<String> {
    let (legal_basis, purpose, from, to) = sign_of(index, row.size);
    let bases = ["agreement", "directive-2023-977", "regulation-2023-1322", "national-law", "test"];
    let purposes = ["strategic-analysis", "early-warning"];
    let (years, months) = (format!("{from}..{to}"), format!("{from}-01..{to}-12"));
    let (period, by, codes) = match row.size {
        Size::Small => (years, "time=year,drug=group", "drug=COC,HER"),
        Size::Larger => (months, "time=month,drug=substance", MANY_DRUGS),
        Size::Split => (months, "time=month,drug=group", "drug=COC,HER"),
    };
    let mut all: Vec<String> = [
        ("--from", format!("{VICTIM},{HONEST}").as_str()),
        ("--period", &period),
        ("--measure", "seizures"),
        ("--by", by),
        ("--where", codes),
        ("--legal-basis", bases[usize::from(legal_basis) - 1]),
        ("--purpose", purposes[usize::from(purpose) - 1]),
        ("--deadline", &deadline_of(row).to_string()),
        ("--csv", &format!("row-{index}.csv")),
        ("--evidence", &format!("row-{index}.json")),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
    .collect();
    if let Some(edition) = row.edition {
        all.extend(["--edition".to_owned(), edition.to_string()]);
    }
    all
}

const fn deadline_of(row: &Row) -> u64 {
    if row.waits { DEADLINE_OF_SILENCE } else { DEADLINE }
}

// One question; what the tool, its table and its evidence say.
fn ask(stage: &Stage, index: usize, row: &Row) -> Result<(), String> {
    let arguments = arguments(index, row);
    let fixed = ["ask", "seizures-year-drug", "--force", "--json"];
    let arguments: Vec<&str> = fixed.into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let watch = Stopwatch::start();
    let said = stage.federation.officer(&arguments);
    let took = watch.ms();
    if took > deadline_of(row) * 1000 + GRACE_MS {
        return Err(format!("it took {took} ms with a deadline of {} s", deadline_of(row)));
    }
    let result = json(&said)?["result"].clone();
    let (status, error) = standing_of(&result, HONEST);
    if !row.want.takes(&status) {
        return Err(format!("{status}: {error}; {}", said.stderr));
    }
    let silent = matches!(status.as_str(), "not_verified" | "unreachable") && error.is_empty();
    if silent || !error.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(format!("{status}, and the officer is told: {}", error.escape_debug()));
    }
    let answered = row.want == Want::Answered;
    // An edition that only the hostile member has is refused by the honest one: then nobody has answered.
    let exit = if row.edition.is_some() { 3 } else { i32::from(!answered) };
    if said.code != exit {
        return Err(format!("exit {} where {exit} is due", said.code));
    }
    let honest = standing_of(&result, VICTIM).0;
    if honest != if row.edition.is_some() { "refused" } else { "answered" } {
        return Err(format!("the honest partner: {honest}"));
    }
    let (csv, evidence) = (format!("row-{index}.csv"), format!("row-{index}.json"));
    let read = |name: &str| fs::read_to_string(file(stage, name)).map_err(|error| format!("{name}: {error}"));
    let texts = [said.stdout, read(&csv)?, read(&evidence)?];
    if answered {
        if !texts.iter().all(|text| names_sentinel(text)) {
            return Err("an answer in order is not shown".into());
        }
    } else {
        // What is not to be compared, and halves from two editions, are in the evidence all the same: each is signed.
        let signed = row.want == Want::NotComparable || row.size == Size::Split;
        let shown = if signed { &texts[..2] } else { &texts[..] };
        no_number_of_theirs(shown)?;
        only_honest_sums(&result, row.edition.is_none() && row.size != Size::Larger)?;
    }
    let federation = stage.federation.id.as_str();
    let verified = stage.federation.officer(&["evidence", "verify", &evidence, "--federation", federation, "--json"]);
    if verified.code == 0 { Ok(()) } else { Err(format!("its evidence does not verify: {}", verified.stdout)) }
}

// A partner's status, and what the officer is told about it.
fn standing_of(result: &Value, member: &str) -> (String, String) {
    let partners = result["partners"].as_array().map_or(&[][..], Vec::as_slice);
    let found = partners.iter().find(|partner| partner["member"] == member);
    let word = |name: &str| found.and_then(|partner| partner[name].as_str()).unwrap_or_default().to_owned();
    (word("status"), word("error"))
}

fn names_sentinel(text: &str) -> bool {
    text.contains(&SENTINEL.to_string()) || text.contains(&hex(&SENTINEL.to_be_bytes()))
}

// Neither the number, nor its bytes, nor a row of the member in the table.
fn no_number_of_theirs(texts: &[String]) -> Result<(), String> {
    match texts.iter().find(|text| {
        names_sentinel(text)
            || text.lines().any(|line| line.starts_with(&format!("member,{HONEST},")) && line.contains(",value,"))
    }) {
        None => Ok(()),
        Some(text) => Err(format!("a number of theirs is shown: {}", text.chars().take(300).collect::<String>())),
    }
}

// Every pooled number is the honest partner's alone; where `some`, there is one.
fn only_honest_sums(result: &Value, some: bool) -> Result<(), String> {
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
    if let Some(cell) =
        list("cells").iter().find(|cell| cell["member"] == HONEST && cell["values"]["seizures"]["state"] == "value")
    {
        return Err(format!("a cell of theirs: {cell}"));
    }
    if some && shown == 0 { Err("the honest partner's numbers are not shown".into()) } else { Ok(()) }
}
