//! What backups cost: `cargo run --profile ci -p accord-tests --example backup [RECORDS]`.
//!
//! A demo federation on loopback; RECORDS synthetic seizures (default 300,000) are imported at one member. Then, with the node's own
//! programs: the longest of the officer's requests to that member while nothing else goes on, and while a backup is made; the time and
//! size of the backup, and what the node's memory grew by; the time to check it, to restore it, and until the restored node is ready.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a measurement may end so")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use accord_edge::clock::Stopwatch;
use accord_tests::{Federation, Running, accord_node, officer::Officer};

const IT: &str = "IT-AGENCY";
const ROWS_A_FILE: u32 = 100_000;

// One line each, at days and places that differ.
fn write_rows(path: &Path, from: u32, to: u32) {
    let mut file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    writeln!(file, "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind").unwrap();
    for n in from..to {
        let (year, month, day) = (2021 + n % 5, n % 12 + 1, n % 28 + 1);
        let grams = n % 9_000 + 1;
        writeln!(file, "B{n},C{n},1,{year}-{month:02}-{day:02},ITH3,synthetic,COC,COC_HCL,{grams},g,net").unwrap();
    }
}

// Kilobytes that a process has, and has had at most.
fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

// Requests until `work` is over: how many, the mean and the longest, in milliseconds.
fn asked_meanwhile<T>(officer: &Officer, work: impl FnOnce() -> T) -> (T, usize, u64, u64) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let watch = Stopwatch::start();
                let said = officer.ask(&officer.request(IT, "2021..2024")).word();
                // Beyond the quota a request is refused, which is entered and committed too.
                assert!(matches!(said, "answered" | "E_QUOTA"), "{said}");
                times.push(watch.ms());
            }
            times
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let times = asking.join().unwrap();
        let (sum, longest) = (times.iter().sum::<u64>(), times.iter().max().copied().unwrap_or_default());
        (done, times.len(), sum / (times.len() as u64).max(1), longest)
    })
}

fn main() {
    let records: u32 = std::env::args().nth(1).map_or(300_000, |text| text.parse().unwrap());
    let federation = Federation::new(&["ES-AGENCY", IT]);
    let path = federation.path();
    let made = accord_node(&path, &["recovery-key", "recovery.txt"]);
    let recipient = made.stdout.lines().find(|line| line.starts_with("recipient = ")).unwrap().to_owned();
    federation.edit("IT-AGENCY/node/node.toml", "recipient = \"\"", &recipient);
    let spain = federation.start("ES-AGENCY");
    let italy = federation.start_settled(IT);
    let watch = Stopwatch::start();
    for from in (0..records).step_by(ROWS_A_FILE as usize) {
        let file = path.join("rows.csv");
        write_rows(&file, from, (from + ROWS_A_FILE).min(records));
        let said = federation.operator(IT, &["import", "rows.csv", "--json"]);
        assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    }
    println!("{records} records imported: {} ms", watch.ms());

    let officer = Officer::open(&path.join("officer"));
    let quiet = asked_meanwhile(&officer, || std::thread::sleep(std::time::Duration::from_secs(3)));
    println!("requests while nothing else goes on: {}, mean {} ms, longest {} ms", quiet.1, quiet.2, quiet.3);
    let (before, _) = memory(italy.pid);
    let watch = Stopwatch::start();
    let (said, asked, mean, longest) =
        asked_meanwhile(&officer, || federation.operator(IT, &["backup", "it.age", "--json"]));
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let size = fs::metadata(path.join("it.age")).unwrap().len();
    println!("backup: {} ms, {} MiB", watch.ms(), size >> 20);
    println!("requests meanwhile: {asked}, mean {mean} ms, longest {longest} ms");
    let (after, most) = memory(italy.pid);
    println!(
        "the node's memory: {} MiB before, {} MiB after, {} MiB at most ever",
        before >> 10,
        after >> 10,
        most >> 10
    );
    let watch = Stopwatch::start();
    let alone = federation.operator(IT, &["backup", "again.age", "--json"]);
    assert_eq!(alone.code, 0);
    println!("backup with nothing else going on: {} ms", watch.ms());
    assert!(italy.stop());
    drop(spain);

    let watch = Stopwatch::start();
    let checked = accord_node(&path, &["check-backup", "it.age", "--identity", "recovery.txt"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    println!("to check it: {} ms", watch.ms());
    let watch = Stopwatch::start();
    let restored =
        accord_node(&path, &["restore", "it.age", "new", "--identity", "recovery.txt", "--federation", &federation.id]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    println!("to restore it: {} ms", watch.ms());
    let watch = Stopwatch::start();
    let _italy = Running::start(&path, "new");
    println!("until the restored node is ready: {} ms", watch.ms());
    let verified = federation.operator(IT, &["verify", "--json"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
}
