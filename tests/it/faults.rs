//! Calls on files fail, each in its turn: whatever was acknowledged is there afterwards, and what was not is whole or absent.
//!
//! The real node runs under `tests/faults/shim.c`. First each kind of work is done undisturbed and its calls are counted; then one of
//! them fails with EIO, or all from one on with ENOSPC, and the work is done again; a page of some file that cannot be read is a fault,
//! too. It must end in time, with an error that says so or with an acknowledgement that holds; the node may not panic. After EIO it may
//! refuse more work until it is restarted; after ENOSPC it goes on by itself, and a start waits for room instead of failing. Then it is
//! killed, what was not synced is lost (`tests/harness/disk.rs`), it starts, everything verifies, and the same work goes through.
//! ACCORD_FAULTS faults (default 20) from ACCORD_SEED, of each kind of work and class of call before the next of the same, or of the one
//! kind of work that ACCORD_FAULTS_OF names; all of them, in about two hours: `ACCORD_FAULTS=100000 cargo nextest run --cargo-profile ci -p accord-tests -E 'test(faults::)'`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use accord_tests::{
    Federation, Running,
    disk::{Disk, Loses, Obeys},
    faults::{Class, Fault, Shim},
    officer::Officer,
    program,
    seeded::{Seeded, from_environment},
};
use serde_json::Value;

use crate::{
    load::{Acknowledged, ES, IT, holds, next_file, next_month, without_quota},
    taken_away::{TakenAway, in_force},
};

const NODE: &str = "IT-AGENCY/node";
const WITHOUT: &[&str] = &["operator"];

/// What is done while a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Answer,
    Close,
    Compact,
    Declare,
    Document,
    Erase,
    Import,
    Keys,
    Publish,
    Retain,
    Start,
    Undo,
}

const ALL: [Work; 12] = [
    Work::Answer,
    Work::Close,
    Work::Compact,
    Work::Declare,
    Work::Document,
    Work::Erase,
    Work::Import,
    Work::Keys,
    Work::Publish,
    Work::Retain,
    Work::Start,
    Work::Undo,
];

struct Stage {
    federation: Federation,
    shim: Shim,
    officer: Officer,
    said_yes: Acknowledged,
    taken: TakenAway,
    numbers: [AtomicU64; 2],
    disk: Disk,
    node: Option<Running>,
    _spain: Running,
}

impl Stage {
    fn new() -> Self {
        let federation = Federation::new(&[ES, IT]);
        for member in [ES, IT] {
            without_quota(&federation, &format!("{member}/node/node.toml"));
        }
        let folder = federation.path().join(NODE);
        let mut stage = Self {
            officer: Officer::open(&federation.path().join("officer")),
            shim: Shim::new(&folder, &federation.path().join("shim")).journaling(),
            said_yes: Acknowledged::default(),
            taken: TakenAway::new(),
            numbers: [AtomicU64::new(0), AtomicU64::new(0)],
            disk: Disk::of(&folder, WITHOUT),
            node: None,
            _spain: federation.start(ES),
            federation,
        };
        stage.said_yes.roster.store(1, Ordering::Relaxed);
        stage.start("the first start");
        stage
    }

    fn start(&mut self, when: &str) {
        self.disk = Disk::of(&self.federation.path().join(NODE), WITHOUT);
        let started = self.shim.try_start(&self.federation.path(), NODE);
        self.node = Some(started.unwrap_or_else(|log| panic!("{when}: it does not start: {log}")));
        self.federation.settle(IT);
    }

    // What the node has said; it must not have panicked. sled does where it syncs its file while it is closed; that is caught.
    fn log(&self, when: &str) -> String {
        let log = std::fs::read_to_string(self.federation.path().join("IT-AGENCY-node.log")).unwrap();
        let is_ours =
            |line: &str| line.contains("panicked") && !line.contains("sled-0.34.7/src/pagecache/logger.rs:467");
        assert!(!log.lines().any(is_ours) && !log.contains("not modelled"), "{when}: {log}");
        log
    }

    // One of the pages of all files of the node cannot be read any more.
    fn spoil(&self, number: u64) {
        let mut pages = Vec::new();
        add_pages(&self.federation.path().join(NODE), &mut pages);
        pages.sort();
        let (file, page) = &pages[usize::try_from(number % pages.len() as u64).unwrap()];
        self.shim.spoil(file, *page);
    }

    // The process dies, and what was not synced is lost.
    fn cut(&mut self, when: &str) {
        if let Some(node) = self.node.take() {
            node.kill();
        }
        self.log(when);
        self.disk.take(&self.shim.journal(), Obeys::EverySync);
        self.disk.after(Loses::Everything).write(&self.federation.path().join(NODE), WITHOUT);
    }

    // Italy's operator: something, or why not. Nobody waits for ever, and an error says what it is.
    fn operator(&self, arguments: &[&str], when: &str) -> Result<Value, String> {
        let mut said = Command::new("timeout");
        said.arg("40").arg(program("accord")).args(["--profile", "IT-AGENCY/node/operator", "--json"]).args(arguments);
        let output = said.current_dir(self.federation.path()).stdin(Stdio::null()).output().unwrap();
        let (code, text) = (output.status.code(), String::from_utf8(output.stdout).unwrap());
        assert_ne!(code, Some(124), "{when}: {arguments:?} hangs: {}", self.log(when));
        let said: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{when}: {arguments:?}: {error}: {text}"));
        if code == Some(0) {
            return Ok(said["result"].clone());
        }
        assert_eq!(code, Some(4), "{when}: {arguments:?}: {text}");
        assert!(said["error"]["code"].is_string() && said["error"]["message"].is_string(), "{when}: {text}");
        Err(said["error"].to_string())
    }

    // Everything acknowledged is there or gone, and every import is whole.
    fn holds(&self, when: &str) {
        holds(&self.federation, &self.said_yes, when);
        self.taken.holds(&self.federation, &|arguments: &[&str]| self.operator(arguments, when), when);
    }

    // What must stand before the work, undisturbed.
    fn prepare(&mut self, work: Work, when: &str) {
        if work == Work::Answer {
            self.settle_spain(when);
        }
        if work == Work::Publish {
            self.work(Work::Import, when).unwrap_or_else(|error| panic!("{when}, before: {error}"));
        }
        if matches!(work, Work::Erase | Work::Undo) {
            // One is undone with the fault, one before a restart, one after it.
            while in_force(&self.operator(&["import", "list"], when).unwrap()).len() < 3 {
                self.work(Work::Import, when).unwrap_or_else(|error| panic!("{when}, before: {error}"));
            }
        }
        if matches!(work, Work::Keys | Work::Retain | Work::Start) {
            if work == Work::Keys {
                self.settle_keys(when);
            }
            self.cut(when);
        }
        if matches!(work, Work::Keys | Work::Retain) {
            self.taken.prepare(&self.federation);
            self.start(when);
        }
    }

    // Spain asks nobody until it has heard Italy again, which was down, and may have another roster now.
    fn settle_spain(&mut self, when: &str) {
        let mut last = String::new();
        for _ in 0..60 {
            match self.work(Work::Answer, when) {
                Ok(()) => return,
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("{when}: no answer for half a minute, undisturbed: {last}");
    }

    // Nobody takes old keys out before others know the new ones.
    fn settle_keys(&self, when: &str) {
        for _ in 0..900 {
            if self.taken.are_keys_known(&self.federation) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{when}: the other member does not know the keys after 90 s");
    }

    fn work(&mut self, work: Work, when: &str) -> Result<(), String> {
        match work {
            Work::Answer => {
                let mut call = self.officer.sign(&self.officer.request(IT, "2021..2024"));
                call.wait_ms = 10_000;
                let back = self.officer.send(&call);
                if back.reply.answer.is_none() {
                    return Err(back.reply.detail.as_str().to_owned());
                }
                if back.word() != "answered" {
                    return Err(back.word().to_owned());
                }
                self.said_yes.answers.lock().unwrap().push(call);
            }
            Work::Close => {
                let size = self.operator(&["audit", "close"], when)?["size"].as_u64().unwrap();
                self.said_yes.closed.lock().unwrap().push(size);
            }
            Work::Compact => {
                self.operator(&["compact"], when)?;
            }
            Work::Declare => {
                let month = next_month(&self.numbers[1]);
                self.operator(&["coverage", "set", "site", &month, "partial"], when)?;
                self.said_yes.months.lock().unwrap().push(month);
            }
            Work::Document => {
                let version = self.said_yes.roster.load(Ordering::Relaxed);
                let file = |version| {
                    if version == 1 { "public/roster.accord".to_owned() } else { format!("roster-{version}") }
                };
                let next = file(version + 1);
                // The same bytes again where nobody knows whether they were taken.
                if !self.federation.path().join(&next).exists() {
                    self.federation.next_roster(&file(version), &next, |_| {});
                }
                self.operator(&["federation", "publish", &next], when)?;
                self.said_yes.roster.store(version + 1, Ordering::Relaxed);
            }
            Work::Erase => self.taken.erase(&|arguments: &[&str]| self.operator(arguments, when))?,
            Work::Import => {
                let name = next_file(&self.federation, &self.numbers[0]);
                let import = self.operator(&["import", &name], when)?["import_id"].as_str().unwrap().to_owned();
                self.said_yes.imports.lock().unwrap().push(import);
            }
            Work::Keys => {
                let ask = |arguments: &[&str]| self.operator(arguments, when);
                self.taken.exchange(&self.federation, &ask)?;
            }
            Work::Publish => {
                let edition = self.operator(&["edition", "publish"], when)?["edition"].as_u64().unwrap();
                self.said_yes.editions.lock().unwrap().push(edition);
            }
            Work::Retain => self.taken.retain(&|arguments: &[&str]| self.operator(arguments, when))?,
            Work::Start => {
                self.disk = Disk::of(&self.federation.path().join(NODE), WITHOUT);
                let node = self.shim.try_start(&self.federation.path(), NODE);
                self.node = Some(node.inspect_err(|log| {
                    // Settings, keys and documents that cannot be read are said to be unusable.
                    let is_said = ["exit status: 4:", "exit status: 3:"].iter().any(|code| log.starts_with(code));
                    assert!(is_said && log.contains("error: "), "{when}: {log}");
                })?);
            }
            Work::Undo => self.taken.undo(&|arguments: &[&str]| self.operator(arguments, when))?,
        }
        Ok(())
    }

    // The same until it goes through: the node opens its store again meanwhile.
    fn work_by_itself(&mut self, work: Work, when: &str) -> Result<(), String> {
        let mut done = self.work(work, when);
        for _ in 0..100 {
            if done.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(300));
            done = self.work(work, when);
        }
        done
    }

    // Calls of each class that some undisturbed work makes.
    fn count(&mut self, work: Work) -> [u64; 9] {
        let mut calls = [0; 9];
        // The first time something may have to be made that is there afterwards.
        for _ in 0..2 {
            self.prepare(work, "undisturbed");
            let before = self.shim.counted();
            self.work(work, "undisturbed").unwrap_or_else(|error| panic!("{work:?}, undisturbed: {error}"));
            let after = self.shim.counted();
            calls = std::array::from_fn(|class| after[class] - before[class]);
        }
        if work == Work::Start {
            self.federation.settle(IT);
        }
        calls
    }
}

fn add_pages(folder: &Path, pages: &mut Vec<(PathBuf, u64)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            if !WITHOUT.contains(&entry.file_name().to_str().unwrap()) {
                add_pages(&entry.path(), pages);
            }
        } else {
            let count = entry.metadata().unwrap().len().div_ceil(4096);
            pages.extend((0..count).map(|page| (entry.path(), page)));
        }
    }
}

type Injection = (Work, Class, u64, Fault);

// All of them, shuffled; of each kind of work and class one before the second of the same.
fn plan(calls: &BTreeMap<Work, [u64; 9]>, dice: &mut Seeded) -> Vec<Injection> {
    let mut all = Vec::new();
    for (work, counts) in calls {
        for (class, count) in Class::ALL.into_iter().zip(counts) {
            if class == Class::Read {
                // As many pages as it reads, some of them; which, is looked up among those that are there then.
                all.extend((0..*count.min(&60)).map(|_| (*work, class, dice.between(0, 1 << 40), Fault::Broken)));
                continue;
            }
            for after in 0..*count {
                all.push((*work, class, after, Fault::Broken));
                // Taking something away needs no room.
                if class != Class::Unlink {
                    all.push((*work, class, after, Fault::Full));
                }
            }
        }
    }
    for at in (1..all.len()).rev() {
        all.swap(at, dice.below(at + 1));
    }
    let mut seen: BTreeMap<(Work, Class), u64> = BTreeMap::new();
    let mut ranked: Vec<(u64, Injection)> = all
        .into_iter()
        .map(|one| {
            let rank = seen.entry((one.0, one.1)).or_default();
            *rank += 1;
            (*rank, one)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, one)| one).collect()
}

#[test]
fn whichever_call_on_a_file_fails_nothing_acknowledged_is_lost_and_nothing_is_half() {
    let (faults, seed) = (from_environment("ACCORD_FAULTS", 20), from_environment("ACCORD_SEED", 10));
    let mut stage = Stage::new();
    let one = std::env::var("ACCORD_FAULTS_OF").ok();
    let kinds = ALL.into_iter().filter(|work| one.as_ref().is_none_or(|one| *one == format!("{work:?}")));
    let calls: BTreeMap<Work, [u64; 9]> = kinds.map(|work| (work, stage.count(work))).collect();
    println!("calls of {:?}: {calls:?}", Class::ALL);
    let plan = plan(&calls, &mut Seeded::new(seed));
    let (all, mut failed, mut refused, mut went_on, mut slowest) = (plan.len(), 0, 0, 0, 0);
    let mut words: BTreeMap<String, u64> = BTreeMap::new();
    for (number, (work, class, after, fault)) in (0..faults).zip(plan) {
        let when = format!("fault {number} of seed {seed}: {work:?}, {class:?} after {after}, {fault:?}");
        stage.prepare(work, &when);
        if class == Class::Read {
            stage.spoil(after);
        } else {
            stage.shim.fail(class, after, fault);
        }
        // A start on a disk that is full waits until there is room.
        let waits = (work, fault) == (Work::Start, Fault::Full);
        let healing = waits.then(|| stage.shim.heal_after(Duration::from_secs(2)));
        let done = stage.work(work, &when);
        if let Some(healing) = healing {
            healing.join().unwrap();
            assert!(done.is_ok(), "{when}: {done:?}");
        }
        let calls_failed = stage.shim.heal();
        failed += u64::from(calls_failed > 0 || class == Class::Read);
        if let Err(error) = &done {
            assert!(calls_failed > 0, "{when}: nothing failed, and it is refused: {error}");
            refused += 1;
            *words.entry(format!("{work:?}: {}", error.chars().take(110).collect::<String>())).or_default() += 1;
            if stage.node.is_some() {
                let watch = Stopwatch::start();
                let again = match fault {
                    // It may take no more of this until it is restarted, if it says so.
                    Fault::Broken => stage.work(work, &when),
                    Fault::Full => stage.work_by_itself(work, &when),
                };
                assert!(again.is_ok() || fault == Fault::Broken, "{when}: {again:?}: {}", stage.log(&when));
                went_on += u64::from(again.is_ok());
                if fault == Fault::Full {
                    slowest = watch.ms().max(slowest);
                }
            }
        }
        stage.cut(&when);
        stage.start(&when);
        stage.holds(&when);
        match work {
            Work::Answer => stage.settle_spain(&when),
            Work::Start => {}
            _ => stage.work(work, &when).unwrap_or_else(|error| panic!("{when}, after a restart: {error}")),
        }
    }
    stage.log("the end");
    let mut said = format!(
        "{failed} faults of {all}: {refused} times refused, {went_on} times without a restart after, {slowest} ms after there was room at the latest; {}; {}",
        stage.said_yes.count(),
        stage.taken.count()
    );
    for (word, times) in words {
        write!(said, "\n{times} x {word}").unwrap();
    }
    println!("{said}");
    assert!(failed * 2 > faults.min(all as u64) && refused > 0, "{said}");
}
