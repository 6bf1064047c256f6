//! Killed under mixed load, again and again: whatever was acknowledged is there afterwards, once, and the audit log holds.
//!
//! In each round requests, imports, coverage and closings of the log go on at once until `kill -9` at a random moment; every third round
//! the start after that is killed, too. What was acknowledged is remembered here, outside of the node. ACCORD_KILLS rounds (default 4)
//! from ACCORD_SEED; the long run: `ACCORD_KILLS=200 cargo nextest run --cargo-profile ci -p accord-tests -E 'test(kills::)'`.

use std::{
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use accord_protocol::{
    codec::{Cap, decode},
    message::AskCall,
    request::RequestBody,
};
use accord_tests::{
    Federation,
    member::Member,
    officer::Officer,
    program,
    seeded::{Seeded, from_environment},
};
use serde_json::Value;

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const HEADER: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";

/// What the node has said yes to.
#[derive(Default)]
struct Acknowledged {
    answers: Mutex<Vec<AskCall>>,
    imports: Mutex<Vec<String>>,
    months: Mutex<Vec<String>>,
    closed: Mutex<Vec<u64>>,
}

fn result(is_done: bool, stdout: &[u8]) -> Option<Value> {
    // A node that is killed meanwhile says nothing, or nothing whole.
    let value: Value = serde_json::from_slice(stdout).ok()?;
    is_done.then(|| value["result"].clone())
}

// Everything at once, until the node is gone.
fn load(
    federation: &Federation,
    officer: &Officer,
    numbers: &[AtomicU64; 2],
    said_yes: &Acknowledged,
    over: &AtomicBool,
) {
    let [files, months] = numbers;
    // The tool waits half a minute for a node that has died: nobody here does.
    let operator = |arguments: &[&str]| {
        let tool = program("accord");
        let mut said = Command::new("timeout");
        said.arg("3").arg(tool).args(["--profile", "IT-AGENCY/node/operator", "--json"]).args(arguments);
        let output = said.current_dir(federation.path()).stdin(Stdio::null()).output().unwrap();
        result(output.status.code() == Some(0), &output.stdout)
    };
    let goes_on = || !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            // One: a member has one connection at a time.
            let member = Member::open(&federation.path(), ES, IT);
            let connection = member.hold();
            while goes_on() && connection.is_open() {
                let call = officer.sign(&officer.request(IT, "2021..2024"));
                if connection.hand_on_within(&call, Duration::from_secs(1)).is_some_and(|(_, word)| word == "answered")
                {
                    said_yes.answers.lock().unwrap().push(call);
                }
            }
        });
        scope.spawn(|| {
            while goes_on() {
                let n = files.fetch_add(1, Ordering::Relaxed);
                let name = format!("kill-{n}.csv");
                let rows: String = (0..40)
                    .map(|row| format!("N{n}R{row},N{n}K{row},1,2024-03-11,ITC4,s,COC,COC_HCL,1,kg,net\n"))
                    .collect();
                std::fs::write(federation.path().join(&name), format!("{HEADER}\n{rows}")).unwrap();
                let import = operator(&["import", &name]);
                said_yes
                    .imports
                    .lock()
                    .unwrap()
                    .extend(import.map(|report| report["import_id"].as_str().unwrap().to_owned()));
            }
        });
        scope.spawn(|| {
            while goes_on() {
                let n = months.fetch_add(1, Ordering::Relaxed);
                let month = format!("{}-{:02}", 1980 + n / 12 % 40, n % 12 + 1);
                if operator(&["coverage", "set", "site", &month, "partial"]).is_some() {
                    said_yes.months.lock().unwrap().push(month);
                }
                let closed = operator(&["audit", "close"]);
                said_yes.closed.lock().unwrap().extend(closed.and_then(|closed| closed["size"].as_u64()));
            }
        });
    });
}

// A start that is killed before it is over.
fn killed_while_starting(federation: &Federation, after: Duration) {
    let mut child = Command::new(program("accord-node"))
        .args(["run", "IT-AGENCY/node", "--allow-root"])
        .current_dir(federation.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn holds(federation: &Federation, said_yes: &Acknowledged, round: u64) {
    let operator = |arguments: &[&str]| {
        let said = federation.operator(IT, &[arguments, &["--json"]].concat());
        result(said.code == 0, said.stdout.as_bytes())
            .unwrap_or_else(|| panic!("round {round}: {arguments:?}: {}{}", said.stdout, said.stderr))
    };
    let everything = operator(&["verify"]);
    assert_eq!(everything["verified"], true, "round {round}: {everything}");
    let log = operator(&["audit", "verify"]);
    let checkpoints: Vec<u64> = log["checkpoints"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    for size in said_yes.closed.lock().unwrap().iter() {
        assert!(checkpoints.contains(size), "round {round}: the checkpoint of {size} is gone: {checkpoints:?}");
    }
    let imports = operator(&["import", "list"]).to_string();
    for import in said_yes.imports.lock().unwrap().iter() {
        assert!(imports.contains(&format!("\"{import}\"")), "round {round}: {import} is gone");
    }
    let entries = |kind: &str| {
        let shown = operator(&["audit", "show", "--kind", kind, "--limit", "10000"]);
        shown["entries"].as_array().unwrap().clone()
    };
    let (answered, imported, covered) = (entries("answered"), entries("import"), entries("coverage"));
    let count =
        |all: &[Value], path: &str, wanted: &str| all.iter().filter(|entry| entry["detail"][path] == wanted).count();
    for call in said_yes.answers.lock().unwrap().iter() {
        let body: RequestBody = decode(call.body.as_slice(), Cap::Head).unwrap();
        let times = count(&answered, "request_id", &body.request_id.to_string());
        assert_eq!(times, 1, "round {round}: the entry of an answer that left");
    }
    for import in said_yes.imports.lock().unwrap().iter() {
        assert_eq!(count(&imported, "import", import), 1, "round {round}: the entry of {import}");
    }
    for month in said_yes.months.lock().unwrap().iter() {
        assert!(count(&covered, "from", month) > 0, "round {round}: the entry of coverage of {month}");
    }
}

#[test]
fn what_was_acknowledged_survives_every_kill_and_is_in_the_log() {
    let (rounds, seed) = (from_environment("ACCORD_KILLS", 4), from_environment("ACCORD_SEED", 8));
    let mut dice = Seeded::new(seed);
    let federation = Federation::new(&[ES, IT]);
    let settings = "IT-AGENCY/node/node.toml";
    for (name, before) in [("burst", 120), ("per_minute", 60), ("member_burst", 600), ("member_per_minute", 300)] {
        federation.edit(settings, &format!("\n{name} = {before}\n"), &format!("\n{name} = 1000000\n"));
    }
    let officer = Officer::open(&federation.path().join("officer"));
    let (said_yes, numbers) = (Acknowledged::default(), [AtomicU64::new(0), AtomicU64::new(0)]);
    for round in 0..rounds {
        // Before it has heard others, or waited for them, it answers nobody.
        let node = federation.start_settled(IT);
        // What was answered is answered the same.
        let last = said_yes.answers.lock().unwrap().last().cloned();
        if let Some(call) = last {
            let member = Member::open(&federation.path(), ES, IT);
            assert_eq!(member.hold().hand_on(&call).map(|(_, word)| word), Some("answered"), "round {round}");
        }
        let (over, wait) = (AtomicBool::new(false), Duration::from_millis(dice.between(400, 2_500)));
        thread::scope(|scope| {
            scope.spawn(|| load(&federation, &officer, &numbers, &said_yes, &over));
            thread::sleep(wait);
            node.kill();
            over.store(true, Ordering::Relaxed);
        });
        if round % 3 == 2 {
            killed_while_starting(&federation, Duration::from_millis(dice.between(5, 300)));
        }
        let node = federation.start(IT);
        holds(&federation, &said_yes, round);
        node.kill();
    }
    let count = |all: &Mutex<Vec<String>>| all.lock().unwrap().len();
    let (answers, closed) = (said_yes.answers.lock().unwrap().len(), said_yes.closed.lock().unwrap().len());
    let said = format!(
        "{rounds} kills: {answers} answers, {} imports, {} declarations and {closed} checkpoints were acknowledged",
        count(&said_yes.imports),
        count(&said_yes.months)
    );
    println!("{said}");
    assert!(answers > 0 && count(&said_yes.imports) > 0 && closed > 0, "{said}");
}
