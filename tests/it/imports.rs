//! Imports through real processes: all or nothing, told exactly, the same file twice adds nothing.

use std::{fs, process::Command};

use accord_tests::{Federation, Running, Said, program};
use serde_json::Value;

const HEADER: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";

fn rows(from: u32, to: u32) -> String {
    (from..to)
        .map(|n| format!("R{n},K{n},1,2024-0{}-1{},ES30,synthetic,COC,COC_HCL,1.{n},kg,net\n", n % 9 + 1, n % 9))
        .collect()
}

fn state(federation: &Federation) -> Value {
    federation.operator("ES-AGENCY", &["status", "--json"]).json()["result"]["store"].clone()
}

fn import(federation: &Federation, name: &str, text: &str, extra: &[&str]) -> Said {
    fs::write(federation.path().join(name), text).unwrap();
    federation.operator("ES-AGENCY", &[["import", name, "--json"].as_slice(), extra].concat())
}

fn laws(report: &Value) {
    let rows = &report["rows"];
    let n = |name: &str| rows[name].as_u64().unwrap();
    assert_eq!(n("read"), n("selected") + n("not_selected"), "{rows}");
    assert_eq!(n("selected"), n("new") + n("unchanged") + n("corrected") + n("conflict") + n("skipped"), "{rows}");
}

#[test]
fn bad_files_change_nothing_and_are_told_exactly() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let before = state(&federation);
    let good = rows(0, 3);
    let cases: &[(&str, String, &str, u64)] = &[
        ("empty.csv", String::new(), "R-EMPTY", 1),
        ("header.csv", format!("{HEADER}\n"), "R-EMPTY", 1),
        ("missing.csv", format!("record_id,case_id\n{good}"), "R-COLUMN-MISSING", 1),
        ("twice.csv", format!("{HEADER},drug\n"), "R-COLUMN-DUPLICATE", 1),
        ("unknown.csv", format!("{HEADER},colour\n"), "R-COLUMN-UNKNOWN", 1),
        ("person.csv", format!("{HEADER},surname\n"), "R-PERSONAL", 1),
        ("date.csv", format!("{HEADER}\n{good}X,K,1,2026-02-29,,s,COC,,,,net\n"), "R-DATE", 5),
        ("zero.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,COC,,0,g,net\n"), "R-RANGE", 5),
        ("quote.csv", format!("{HEADER}\n{good}X,\"K,1,2024,,s,COC,,1,g,net\n"), "R-QUOTE", 5),
        ("short.csv", format!("{HEADER}\n{good}X,K,1\n"), "R-ROW-SIZE", 5),
        ("region.csv", format!("{HEADER}\n{good}X,K,1,2024,FR10,s,COC,,1,g,net\n"), "R-PLACE", 5),
        ("escape.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,\u{1b}[2J,,1,g,net\n"), "R-CODE", 5),
        ("nul.csv", format!("{HEADER}\n{good}X\0,K,1,2024,,s,COC,,1,g,net\n"), "R-ENCODING", 5),
        (
            "field.csv",
            format!("{HEADER}\n{good}X,{},1,2024,,s,COC,,1,g,net\n", "x".repeat(100_000_000)),
            "R-ROW-SIZE",
            5,
        ),
        ("path.csv", format!("{HEADER}\n{good}../../etc/passwd,K,1,2024,,s,COC,,1,g,net\n"), "R-ID", 5),
        ("dot.csv", format!("{HEADER}\n{good}.hidden,K,1,2024,,s,COC,,1,g,net\n"), "R-ID", 5),
        ("nocase.csv", format!("{HEADER}\n{good}X,,1,2024,,s,COC,,1,g,net\n"), "R-REQUIRED", 5),
        ("slash.csv", format!("{HEADER}\n{good}X,K,1,29/02/2024,,s,COC,,1,g,net\n"), "R-DATE", 5),
        ("first.csv", format!("{HEADER}\n{good}X,K,1,0001-01-01,,s,COC,,1,g,net\n"), "R-DATE", 5),
        ("zone.csv", format!("{HEADER}\n{good}X,K,1,2024-05-17T00:00:00Z,,s,COC,,1,g,net\n"), "R-DATE", 5),
        ("last.csv", format!("{HEADER}\n{good}X,K,1,9999-01-01,,s,COC,,1,g,net\n"), "R-DATE-FUTURE", 5),
        ("minus.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,COC,,-1,g,net\n"), "R-NUMBER", 5),
        ("huge.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,COC,,{},g,net\n", "9".repeat(400)), "R-RANGE", 5),
        ("nounit.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,COC,,1,,net\n"), "R-UNIT", 5),
        ("viss.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,COC,,1,viss,net\n"), "R-UNIT", 5),
        ("cyrillic.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,\u{421}OC,,1,g,net\n"), "R-CODE", 5),
        ("bidi.csv", format!("{HEADER}\n{good}X,K,1,2024,,s,COC\u{202e},,1,g,net\n"), "R-CODE", 5),
        ("returns.csv", format!("{HEADER}\r{}X,K,1,2024,,s,COC,,1,viss,net\r", good.replace('\n', "\r")), "R-UNIT", 5),
    ];
    for (name, text, rule, line) in cases {
        let said = import(&federation, name, text, &[]);
        assert_eq!(said.code, 3, "{name}: {}", said.stdout);
        let envelope = said.json();
        assert_eq!(envelope["error"]["code"], *rule, "{name}: {envelope}");
        assert_eq!(envelope["error"]["where"]["line"], *line, "{name}: {envelope}");
        assert_eq!(envelope["error"]["where"]["file"], *name);
        assert!(!said.stdout.contains('\u{1b}'), "no escape reaches the terminal");
        if !envelope["result"].is_null() {
            laws(&envelope["result"]);
            assert_eq!(envelope["result"]["committed"], false);
        }
    }
    let latin = [HEADER.as_bytes(), b"\n\xe9,K,1,2024,,s,COC,,1,g,net\n"].concat();
    fs::write(federation.path().join("latin.csv"), latin).unwrap();
    let said = federation.operator("ES-AGENCY", &["import", "latin.csv", "--json"]);
    assert_eq!((said.code, said.json()["error"]["code"].clone()), (3, "R-ENCODING".into()));
    let after = state(&federation);
    assert_eq!((&after["lines"], &after["imports"]), (&before["lines"], &before["imports"]), "the store is as before");
    let refused = federation.operator("ES-AGENCY", &["audit", "show", "--kind", "import-refused", "--json"]);
    let refused = refused.json()["result"]["entries"].as_array().unwrap().len();
    assert_eq!(refused, cases.len() + 1, "each refusal has its entry in the audit log, and nothing else was written");
}

#[test]
fn spellings_of_one_case_are_one_case_and_text_that_looks_like_a_formula_is_text() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let cases = ["K1", "k1", " K1 ", "\u{ff2b}\u{ff11}", "K\u{200b}1", "=cmd|' /C calc'!A0"];
    let text: String =
        cases.iter().enumerate().map(|(n, case)| format!("F{n},{case},1,2019-05-17,,s,COC,,1,g,net\n")).collect();
    let said = import(&federation, "cases.csv", &format!("{HEADER}\n{text}"), &["--coverage", "2019"]);
    assert_eq!(said.code, 0, "{}", said.stdout);
    assert_eq!(said.json()["result"]["cases"]["distinct"], 2, "{}", said.stdout);
    // Five lines of one case are no five cases.
    let shown = federation
        .operator("ES-AGENCY", &["edition", "preview", "--table", "seizures-year-drug", "--cells", "--json"])
        .json();
    let cells = shown["result"]["cells"].as_array().unwrap();
    let cell = cells.iter().find(|cell| cell["key"]["time"] == "2019" && cell["key"]["drug"] == "COC").unwrap();
    assert_eq!(cell["values"]["seizures"]["state"], "suppressed");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_refused() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let before = state(&federation);
    let path = federation.path().join("grows.csv");
    fs::write(&path, format!("{HEADER}\n{}", rows(0, 200_000))).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (flag, file) = (std::sync::Arc::clone(&stop), path.clone());
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
        let mut n = 200_000;
        while !flag.load(std::sync::atomic::Ordering::Relaxed) {
            file.write_all(rows(n, n + 50).as_bytes()).unwrap();
            n += 50;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let said = federation.operator("ES-AGENCY", &["import", "grows.csv", "--json"]);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!((said.code, said.json()["error"]["code"].clone()), (3, "R-FILE-CHANGED".into()), "{}", said.stdout);
    assert_eq!(state(&federation), before);
}

#[test]
fn the_same_file_again_adds_nothing_and_a_changed_record_is_a_conflict() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let node = federation.start("ES-AGENCY");
    let text = format!("{HEADER}\n{}", rows(0, 50));
    let dry = import(&federation, "a.csv", &text, &["--dry-run"]).json();
    assert_eq!((dry["result"]["committed"].clone(), dry["result"]["rows"]["new"].clone()), (false.into(), 50.into()));
    let before = state(&federation);
    let first = import(&federation, "a.csv", &text, &["--coverage", "2024"]).json();
    laws(&first["result"]);
    assert_eq!(
        (first["result"]["committed"].clone(), first["result"]["rows"]["new"].clone()),
        (true.into(), 50.into())
    );
    assert!(first["result"]["sequence"].as_u64() > before["sequence"].as_u64());
    assert!(first["result"]["coverage"]["declared"].as_array().unwrap().iter().any(|row| row["from"] == "2021-01"));
    let again = import(&federation, "a.csv", &text, &[]).json();
    assert_eq!(
        (again["result"]["rows"]["new"].clone(), again["result"]["rows"]["unchanged"].clone()),
        (0.into(), 50.into())
    );
    let changed = import(&federation, "b.csv", &text.replace("1.7,kg", "2.7,kg"), &[]);
    assert_eq!((changed.code, changed.json()["error"]["code"].clone()), (3, "R-CONFLICT".into()));
    let skipped = import(
        &federation,
        "c.csv",
        &format!("{text}bad id,K,1,2024,,s,COC,,1,g,net\n{}", rows(50, 52)),
        &["--skip-bad"],
    );
    assert_eq!(skipped.code, 1, "{}", skipped.stdout);
    let report = &skipped.json()["result"];
    laws(report);
    assert_eq!((report["rows"]["new"].clone(), report["rows"]["skipped"].clone()), (2.into(), 1.into()));
    assert_eq!(report["skipped"][0], serde_json::json!({"rule": "R-ID", "column": "record_id", "count": 1}));
    assert_eq!(report["errors"][0]["line"], 52);
    // Another process opens what is there: nothing of it lives in memory alone.
    assert!(node.stop());
    let _node = federation.start("ES-AGENCY");
    let again = import(&federation, "a.csv", &text, &[]).json();
    assert_eq!(again["result"]["rows"]["new"], 0);
}

#[test]
fn a_kill_during_an_import_leaves_all_or_nothing() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let text = format!("{HEADER}\n{}", rows(0, 60_000));
    fs::write(federation.path().join("big.csv"), &text).unwrap();
    let rounds: u32 = std::env::var("ACCORD_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let mut outcomes = Vec::new();
    let mut held = 745;
    for round in 0..rounds {
        let node = federation.start("ES-AGENCY");
        let mut tool = Command::new(program("accord"))
            .args(["--profile", "ES-AGENCY/node/operator", "import", "big.csv", "--json"])
            .current_dir(federation.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // From the handshake to after the commit, whatever this machine's speed is today.
        std::thread::sleep(std::time::Duration::from_millis(40 + u64::from(round) * 170));
        node.kill();
        // What was acknowledged was printed before the kill; a tool that still waits would do so until its idle timeout.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let acknowledged = tool.try_wait().unwrap().is_some_and(|status| status.success());
        tool.kill().unwrap();
        tool.wait().unwrap();
        let node = Running::start(&federation.path(), "ES-AGENCY/node");
        let lines = state(&federation)["lines"].as_u64().unwrap();
        assert!(lines == held || lines == 60_745, "{lines} lines are neither before nor after");
        assert!(!acknowledged || lines == 60_745, "acknowledged and lost");
        held = lines;
        outcomes.push(lines);
        assert!(node.stop());
    }
    assert_eq!(outcomes.len(), usize::try_from(rounds).unwrap());
    let _node = federation.start("ES-AGENCY");
    let done = federation.operator("ES-AGENCY", &["import", "big.csv", "--json"]).json();
    assert_eq!(done["result"]["rows"]["new"].as_u64().unwrap() + held, 60_745);
}

#[test]
fn a_full_disk_is_told_and_harms_nothing() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    // The node's folder on a small file system of its own, which only root may mount.
    let store = federation.path().join("ES-AGENCY/node");
    let small = federation.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=120m", "tmpfs"]).arg(&small).status().unwrap();
    assert!(mounted.success(), "the test needs a tmpfs: run it as root, as tests/run does in CI");
    let copied = Command::new("cp").arg("-a").arg(&store).arg(small.join("node")).status().unwrap();
    assert!(copied.success());
    let result = std::panic::catch_unwind(|| {
        let _node = Running::start(&federation.path(), "small/node");
        let operator = |arguments: &[&str]| {
            accord_tests::accord(
                &federation.path(),
                &[["--profile", "small/node/operator"].as_slice(), arguments].concat(),
            )
        };
        let lines = || operator(&["status", "--json"]).json()["result"]["store"]["lines"].clone();
        let before = lines();
        fs::write(federation.path().join("big.csv"), format!("{HEADER}\n{}", rows(0, 300_000))).unwrap();
        let said = operator(&["import", "big.csv", "--json"]);
        assert_eq!(said.code, 4, "{}", said.stdout);
        assert_eq!(said.json()["error"]["code"], "DISK-FULL", "{}", said.stdout);
        assert_eq!(lines(), before);
        // What the failed import left behind must not count with the next one, in the tables either.
        let cases = || {
            let shown = operator(&["edition", "preview", "--table", "seizures-year-drug", "--cells", "--json"]).json();
            let cells = shown["result"]["cells"].as_array().unwrap().clone();
            let cell = cells.iter().find(|cell| cell["key"]["time"] == "2024" && cell["key"]["drug"] == "COC").unwrap();
            cell["values"]["seizures"]["value"].as_u64().unwrap()
        };
        let counted = cases();
        fs::write(federation.path().join("little.csv"), format!("{HEADER}\n{}", rows(0, 20))).unwrap();
        let little = operator(&["import", "little.csv", "--json"]);
        assert_eq!(little.code, 0, "it works again without a restart: {}", little.stdout);
        assert_eq!(cases(), counted + 20);
    });
    assert!(Command::new("umount").arg("-l").arg(&small).status().unwrap().success());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
