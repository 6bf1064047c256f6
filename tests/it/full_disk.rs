//! A disk without a byte left: the node is read-only and says why, and goes on by itself once there is room, however it came to be full.
//!
//! Italy's real node lies on a tmpfs of its own, which only root may mount. It is filled up to the last byte while the node has nothing to
//! do, while it imports, publishes an edition, takes a trust document, answers or compacts; every third time the node is killed then, and
//! starts on the full disk. Then there is room again: without any help everything that was acknowledged is there, once, and the same work
//! goes through. ACCORD_FILLS times (default 12) from ACCORD_SEED; the long run:
//! `ACCORD_FILLS=200 cargo nextest run --cargo-profile ci -p accord-tests -E 'test(full_disk::)'`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use accord_tests::{
    Federation, Running,
    officer::Officer,
    program,
    seeded::{Seeded, from_environment},
};
use serde_json::Value;

use crate::load::{Acknowledged, ES, IT, ROWS, holds, next_file, next_month, without_quota};

const NODE: &str = "IT-AGENCY/node";

/// The node's folder on a small file system, without the operator's profile, to which the tool writes.
struct Small {
    folder: PathBuf,
    profile: PathBuf,
}

fn run(program: &str, arguments: &[&str], path: &[&Path]) {
    let done = Command::new(program).args(arguments).args(path).status().unwrap();
    assert!(
        done.success(),
        "{program} {arguments:?} {path:?}: the test needs a tmpfs: run it as root, as tests/run does"
    );
}

impl Small {
    fn under(folder: &Path) -> Self {
        let before = folder.with_extension("before");
        fs::rename(folder, &before).unwrap();
        fs::create_dir(folder).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=120m,mode=700", "tmpfs"], &[folder]);
        let small = Self { folder: folder.to_owned(), profile: folder.join("operator") };
        run("cp", &["-a"], &[&before.join("."), folder]);
        run("mount", &["--bind"], &[&before.join("operator"), &small.profile]);
        small
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("something-else")
    }

    // Takes every byte that is left; how many.
    fn fill(&self) -> u64 {
        let mut file = File::options().append(true).create(true).open(self.filler()).unwrap();
        let mut taken = 0;
        for size in [1 << 20, 4096, 1] {
            loop {
                match file.write_all(&vec![7; size]) {
                    Ok(()) => taken += size as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        taken
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn ballast(&self) -> Option<u64> {
        fs::metadata(self.folder.join("store/ballast")).ok().map(|metadata| metadata.len())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for path in [&self.profile, &self.folder] {
            // What stays mounted is said by the folder's removal.
            let _ = Command::new("umount").arg("-l").arg(path).status();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Answer,
    Compact,
    Document,
    Idle,
    Import,
    Publish,
}

const ALL: [Work; 6] = [Work::Idle, Work::Import, Work::Publish, Work::Document, Work::Answer, Work::Compact];

struct Stage {
    node: Option<Running>,
    _spain: Running,
    small: Small,
    officer: Officer,
    said_yes: Acknowledged,
    numbers: [AtomicU64; 2],
    // Lines and imports that the demo has brought.
    before: (u64, u64),
    federation: Federation,
}

impl Stage {
    fn new() -> Self {
        let federation = Federation::new(&[ES, IT]);
        for member in [ES, IT] {
            without_quota(&federation, &format!("{member}/node/node.toml"));
        }
        let mut stage = Self {
            small: Small::under(&federation.path().join(NODE)),
            officer: Officer::open(&federation.path().join("officer")),
            said_yes: Acknowledged::default(),
            numbers: [AtomicU64::new(0), AtomicU64::new(0)],
            before: (0, 0),
            node: None,
            _spain: federation.start(ES),
            federation,
        };
        stage.said_yes.roster.store(1, Ordering::Relaxed);
        stage.node = Some(stage.federation.start_settled(IT));
        stage.before = stage.lines_and_imports();
        stage
    }

    fn log(&self) -> String {
        fs::read_to_string(self.federation.path().join("IT-AGENCY-node.log")).unwrap()
    }

    // How often the node that runs has opened its store again.
    fn interrupted(&self) -> usize {
        self.log().matches("the node opens its store again").count()
    }

    // Italy's operator: something, or the error. A node that opens its store again is not there for a moment.
    fn operator(&self, arguments: &[&str]) -> Result<Value, Value> {
        let said = self.federation.operator(IT, &[&["--deadline", "10", "--json"], arguments].concat()).json();
        match said["exit"].as_u64() {
            Some(0 | 1) => Ok(said["result"].clone()),
            _ => Err(said["error"].clone()),
        }
    }

    fn lines_and_imports(&self) -> (u64, u64) {
        let (status, imports) = (self.operator(&["status"]).unwrap(), self.operator(&["import", "list"]).unwrap());
        (status["store"]["lines"].as_u64().unwrap(), imports["imports"].as_array().unwrap().len() as u64)
    }

    fn work(&self, work: Work) -> Result<(), String> {
        let asked = |arguments: &[&str]| self.operator(arguments).map_err(|error| error.to_string());
        match work {
            Work::Answer => {
                let mut call = self.officer.sign(&self.officer.request(IT, "2021..2024"));
                call.wait_ms = 5_000;
                let back = self.officer.send(&call);
                if back.reply.answer.is_none() || back.word() != "answered" {
                    return Err(back.reply.detail.as_str().to_owned());
                }
                self.said_yes.answers.lock().unwrap().push(call);
            }
            Work::Compact => {
                asked(&["compact"])?;
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
                asked(&["federation", "publish", &next])?;
                self.said_yes.roster.store(version + 1, Ordering::Relaxed);
            }
            Work::Idle => {
                let month = next_month(&self.numbers[1]);
                asked(&["coverage", "set", "site", &month, "partial"])?;
                self.said_yes.months.lock().unwrap().push(month);
            }
            Work::Import => {
                let name = next_file(&self.federation, &self.numbers[0]);
                let import = asked(&["import", &name])?["import_id"].as_str().unwrap().to_owned();
                self.said_yes.imports.lock().unwrap().push(import);
            }
            Work::Publish => {
                let edition = asked(&["edition", "publish"])?["edition"].as_u64().unwrap();
                self.said_yes.editions.lock().unwrap().push(edition);
            }
        }
        Ok(())
    }

    // The same until it goes through, without any help; how many milliseconds that took.
    fn work_by_itself(&self, work: Work, when: &str) -> u64 {
        let watch = Stopwatch::start();
        let mut last = String::new();
        while watch.ms() < 60_000 {
            match self.work(work) {
                Ok(()) => return watch.ms(),
                Err(error) => last = error,
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{when}: {work:?} does not go through by itself: {last}\n{}", self.log());
    }

    // What its people are told while the disk is full.
    fn is_read_only(&self, when: &str) {
        let mut last = Value::Null;
        for _ in 0..100 {
            let said = self.federation.operator(IT, &["--deadline", "10", "status", "--json"]);
            last = said.json();
            let why = &last["result"]["read_only"];
            if why["free_bytes"].is_u64() {
                assert_eq!((said.code, &why["cause"]), (1, &"disk-full".into()), "{when}: {last}");
                assert!(why["folder"].as_str().unwrap().ends_with(&format!("{NODE}/store")), "{when}: {last}");
                assert!(why["free_bytes"].as_u64() < why["needed_bytes"].as_u64(), "{when}: {last}");
                assert!(last["warnings"].to_string().contains("READ-ONLY"), "{when}: {last}");
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{when}: it does not say that it is read-only: {last}\n{}", self.log());
    }

    // Nothing is accepted, and nothing of it is left.
    fn refuses(&self, when: &str) {
        let before = self.lines_and_imports();
        let name = next_file(&self.federation, &self.numbers[0]);
        let refused = self.operator(&["import", &name]).unwrap_err();
        assert_eq!(refused["code"], "DISK-FULL", "{when}: {refused}");
        let refused = self.work(Work::Idle).unwrap_err();
        assert!(refused.contains("DISK-FULL"), "{when}: {refused}");
        assert!(self.work(Work::Answer).is_err(), "{when}: it answers what it cannot enter");
        assert_eq!(self.lines_and_imports(), before, "{when}");
    }

    fn holds(&self, when: &str) {
        holds(&self.federation, &self.said_yes, when);
        let (lines, imports) = self.lines_and_imports();
        assert_eq!(lines, self.before.0 + ROWS * (imports - self.before.1), "{when}: {imports} imports");
    }
}

#[test]
fn a_disk_that_fills_up_at_any_moment_makes_the_node_read_only_until_there_is_room() {
    let (rounds, seed) = (from_environment("ACCORD_FILLS", 12), from_environment("ACCORD_SEED", 5));
    let mut dice = Seeded::new(seed);
    let mut stage = Stage::new();
    assert!(stage.small.ballast().unwrap() >= 16 << 20);
    let (mut slowest, mut acknowledged, mut refused, mut interrupted) = (0, 0, 0, 0);
    for (round, work) in (0..rounds).zip(ALL.into_iter().cycle()) {
        let when = format!("round {round} of seed {seed}, {work:?}");
        // What must stand before the work, undisturbed; Spain asks nobody before it has heard Italy again.
        stage.work_by_itself(Work::Answer, &when);
        if work == Work::Publish {
            stage.work_by_itself(Work::Import, &when);
        }
        let wait = Duration::from_millis(dice.between(0, 60));
        let done = thread::scope(|scope| {
            let done = scope.spawn(|| if work == Work::Idle { Ok(()) } else { stage.work(work) });
            thread::sleep(wait);
            stage.small.fill();
            done.join().unwrap()
        });
        acknowledged += u64::from(done.is_ok());
        refused += u64::from(done.is_err());
        stage.is_read_only(&when);
        stage.refuses(&when);
        if round % 3 == 2 {
            interrupted += stage.interrupted();
            stage.node.take().unwrap().kill();
            let again = Running::try_start(&stage.federation.path(), NODE);
            stage.node = Some(again.unwrap_or_else(|log| panic!("{when}: it does not start on a full disk: {log}")));
            stage.is_read_only(&format!("{when}, started while full"));
            stage.refuses(&format!("{when}, started while full"));
        }
        stage.small.make_room();
        slowest = slowest.max(stage.work_by_itself(Work::Idle, &when));
        stage.holds(&when);
        assert!(stage.small.ballast().unwrap() >= 16 << 20, "{when}: the ballast is there again");
        let status = stage.operator(&["status"]).unwrap();
        assert_eq!(status["read_only"], Value::Null, "{when}");
        stage.work_by_itself(if work == Work::Publish { Work::Import } else { work }, &when);
    }
    interrupted += stage.interrupted();
    println!(
        "{rounds} times full: {acknowledged} acknowledged, {refused} refused, {interrupted} interrupted, slowest to go on {slowest} ms; {}",
        stage.said_yes.count()
    );
    assert!(refused > 0 && slowest < 20_000);
    // A stop on a full disk is entered all the same: that is what the ballast is for.
    stage.small.fill();
    assert!(stage.node.take().unwrap().stop());
    assert!(!stage.log().contains("the stop cannot be entered"), "{}", stage.log());
    stage.small.make_room();
    stage.node = Some(stage.federation.start_settled(IT));
    let started = stage.operator(&["audit", "show", "--kind", "started", "--limit", "1000"]).unwrap();
    assert_eq!(started["entries"].as_array().unwrap().last().unwrap()["detail"]["after"], "a stop", "{started}");
    stage.holds("the end");
}

#[test]
fn a_node_that_starts_without_a_byte_and_without_ballast_waits_for_room_and_then_starts_by_itself() {
    let federation = Federation::new(&[ES, IT]);
    let small = Small::under(&federation.path().join(NODE));
    assert!(federation.start(IT).stop());
    fs::remove_file(small.folder.join("store/ballast")).unwrap();
    small.fill();
    // Nobody who waits for it keeps it from being stopped.
    for is_stopped in [true, false] {
        let log = federation.path().join("waiting.log");
        let mut child = Command::new(program("accord-node"))
            .args(["run", NODE, "--allow-root"])
            .current_dir(federation.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(&log).unwrap();
        let watch = Stopwatch::start();
        while !said().contains("not ready: the disk is full") {
            assert!(watch.ms() < 20_000, "{}", said());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(said().contains("bytes free") && !said().contains("damaged"), "{}", said());
        if is_stopped {
            run("kill", &["-TERM", &child.id().to_string()], &[]);
            child.wait().unwrap();
            continue;
        }
        small.make_room();
        let (watch, mut line) = (Stopwatch::start(), String::new());
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"ready\":true"), "{line}: {}", said());
        let took = watch.ms();
        println!("ready {took} ms after there was room");
        assert!(took < 10_000);
        assert_eq!(said().matches("not ready").count(), 1, "said once: {}", said());
        let status = federation.operator(IT, &["status", "--json"]).json();
        assert_eq!(status["result"]["read_only"], Value::Null, "{status}");
        assert!(small.ballast().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
