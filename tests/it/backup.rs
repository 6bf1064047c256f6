//! Backups through real processes: made while everything goes on, restored to what was, refused whenever one byte of them is another,
//! and what a restored node does not do.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use accord_protocol::suspend::{Target, Way};
use accord_tests::{Federation, Running, Said, accord_node, officer::Officer, program};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const HEADER: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";

fn rows(prefix: &str, count: u32) -> String {
    let row =
        |n| format!("{prefix}{n},{prefix}CASE{n},1,2024-0{}-11,ITH3,synthetic,COC,COC_HCL,1.5,kg,net\n", n % 9 + 1);
    format!("{HEADER}\n{}", (0..count).map(row).collect::<String>())
}

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn fails(said: &Said, exit: i32, code: &str) {
    assert_eq!((said.code, &said.json()["error"]["code"]), (exit, &json!(code)), "{}{}", said.stdout, said.stderr);
}

/// Makes a recovery key, and has a member's node encrypt to it.
pub(crate) fn with_recovery(federation: &Federation, member: &str) {
    let path = federation.path();
    if !path.join("recovery.txt").exists() {
        let made = accord_node(&path, &["recovery-key", "recovery.txt"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
    let text = fs::read_to_string(path.join("recovery.txt")).unwrap();
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let settings = format!("{member}/node/node.toml");
    federation.edit(&settings, "recipient = \"\"", &format!("recipient = \"{recipient}\""));
}

fn restore(federation: &Federation, file: &str, dir: &str, more: &[&str]) -> Said {
    let of_it = ["restore", file, dir, "--identity", "recovery.txt", "--federation", &federation.id];
    accord_node(&federation.path(), &[&of_it, more].concat())
}

fn check(federation: &Federation, file: &str, more: &[&str]) -> Said {
    accord_node(&federation.path(), &[&["check-backup", file], more].concat())
}

// Names in the federation's folder.
fn names(federation: &Federation) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(federation.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

// The log as it is shown, up to a place.
fn log(federation: &Federation, size: u64) -> Vec<Value> {
    let shown = federation.operator(IT, &["audit", "show", "--from", "0", "--limit", "10000", "--json"]);
    let mut entries = done(&shown)["entries"].as_array().unwrap().clone();
    entries.retain(|entry| entry["seq"].as_u64().unwrap() < size);
    entries
}

fn state(federation: &Federation) -> Value {
    let status = federation.operator(IT, &["status", "--json"]).json();
    let preview = federation.operator(IT, &["edition", "preview", "--cells", "--json"]).json();
    let editions = federation.operator(IT, &["edition", "list", "--json"]).json();
    let imports = federation.operator(IT, &["import", "list", "--json"]).json();
    json!([
        status["result"]["store"]["lines"],
        status["result"]["edition"],
        status["result"]["coverage"],
        preview["result"]["cells"],
        editions["result"],
        imports["result"],
    ])
}

fn modes(dir: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_dir = path.is_dir();
        found.push((path.clone(), path.metadata().unwrap().permissions().mode() & 0o777));
        if is_dir {
            modes(&path, found);
        }
    }
}

#[test]
fn what_is_restored_is_what_was_backed_up_and_decides_nothing_that_was_asked_before() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let spain = federation.start(ES);
    let italy = federation.start_settled(IT);
    let path = federation.path();
    fs::write(path.join("more.csv"), rows("M", 300)).unwrap();
    done(&federation.operator(IT, &["import", "more.csv", "--json"]));
    let officer = Officer::open(&path.join("officer"));
    let answered = officer.sign(&officer.request(IT, "2021..2024"));
    let reply = officer.send(&answered);
    assert_eq!(reply.word(), "answered");
    let before = state(&federation);
    let made = done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    let size = made["log_size"].as_u64().unwrap();
    let entries = log(&federation, size);

    // What happens afterwards is lost.
    fs::write(path.join("late.csv"), rows("L", 50)).unwrap();
    done(&federation.operator(IT, &["import", "late.csv", "--json"]));
    let lost = officer.sign(&officer.request(IT, "2021..2023"));
    assert_eq!(officer.send(&lost).word(), "answered");
    let unsent = officer.sign(&officer.request(IT, "2022..2024"));
    italy.kill();
    assert!(spain.stop());

    let restored = restore(&federation, "it.age", "new-it", &["--member", IT]);
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    for said in ["a backup of IT-AGENCY as of", ", encrypted", "accord-node run new-it", &format!("{size} entries")] {
        assert!(restored.stdout.contains(said), "{said}: {}", restored.stdout);
    }
    assert!(!names(&federation).iter().any(|name| name.contains(".tmp") || name.contains(".part")));
    let (new, mut found) = (path.join("new-it"), Vec::new());
    modes(&new, &mut found);
    assert!(found.len() > 10);
    for (path, mode) in found {
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    for file in ["node.ring", "node.toml", "claim.accord", "grants.toml"] {
        let old = fs::read(path.join(format!("{IT}/node/{file}"))).unwrap();
        assert_eq!(fs::read(new.join(file)).unwrap(), old, "{file}");
    }

    let italy = Running::start(&path, "new-it");
    settle(&federation);
    assert_eq!(state(&federation), before);
    done(&federation.operator(IT, &["verify", "--json"]));
    done(&federation.operator(IT, &["audit", "verify", "--json"]));
    assert_eq!(log(&federation, size), entries, "the audit log as it was");
    let shown = federation.operator(IT, &["status", "--json"]);
    let said = shown.json();
    assert_eq!((shown.code, &said["result"]["restored"]["log_size"]), (1, &json!(size)));
    assert!(said["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "RESTORED"), "{said}");
    let restored_entries = || {
        let shown = federation.operator(IT, &["audit", "show", "--kind", "restored", "--json"]);
        done(&shown)["entries"].as_array().unwrap().clone()
    };
    let entry = restored_entries();
    assert_eq!((entry.len(), &entry[0]["detail"]["log_root"]), (1, &made["log_root"]));

    assert!(warned(&federation, IT, "RESTORED"), "nobody has said yet what it holds of the log");

    // What it remembers it says again; what it may have forgotten it does not decide, also after another start.
    let _spain = federation.start(ES);
    until(&federation, "others have said what they hold", || status(&federation, IT)["restored"].is_null());
    assert!(!warned(&federation, IT, "RESTORED"));
    assert_eq!(officer.send(&answered).reply.answer, reply.reply.answer, "the same bytes");
    assert_eq!(officer.send(&lost).word(), "E_TIME");
    assert!(italy.stop());
    let _italy = Running::start(&path, "new-it");
    settle(&federation);
    assert_eq!(officer.send(&unsent).word(), "E_TIME");
    assert_eq!(officer.send(&officer.sign(&officer.request(IT, "2021..2023"))).word(), "answered");
    assert_eq!(restored_entries().len(), 1);
    let refused = federation.operator(IT, &["audit", "show", "--kind", "refused", "--json"]);
    assert!(done(&refused)["entries"].to_string().contains("restored from a backup"));
}

fn status(federation: &Federation, member: &str) -> Value {
    federation.operator(member, &["status", "--json"]).json()["result"].clone()
}

fn warned(federation: &Federation, member: &str, code: &str) -> bool {
    let said = federation.operator(member, &["status", "--json"]).json();
    said["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
}

fn until(federation: &Federation, what: &str, is_so: impl Fn() -> bool) {
    let is_there = (0..900).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        is_so()
    });
    assert!(is_there, "not within 90 s: {what}\n{}", federation.logs());
}

#[test]
fn a_restored_node_whose_log_others_have_seen_grow_further_serves_nobody_before_that_is_accepted() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let _spain = federation.start(ES);
    let italy = federation.start_settled(IT);
    let path = federation.path();
    let officer = Officer::open(&path.join("officer"));
    done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    assert_eq!(officer.ask(&officer.request(IT, "2021..2023")).word(), "answered");
    let closed = done(&federation.operator(IT, &["audit", "close", "--json"]))["size"].clone();
    until(&federation, "the other one has seen it", || {
        let log = status(&federation, IT)["log"].clone();
        log["closed"] == closed && log["witnesses"].as_array().is_some_and(|all| all.len() == 1)
    });
    italy.kill();
    assert_eq!(restore(&federation, "it.age", "new-it", &[]).code, 0);
    let italy = Running::start(&path, "new-it");
    settle(&federation);
    let open = || {
        let forks = status(&federation, IT)["log"]["forks"].as_array().unwrap().clone();
        let open = forks.iter().find(|fork| fork["member"] == IT && fork["accepted_at"].is_null()).cloned();
        open.map(|fork| fork["id"].as_str().unwrap().to_owned())
    };
    until(&federation, "it is told of what it has lost", || open().is_some());
    assert_eq!(officer.ask(&officer.request(IT, "2021..2024")).word(), "E_UNAVAILABLE");
    assert!(warned(&federation, IT, "FORK"));
    assert!(!status(&federation, IT)["restored"].is_null());

    let id = open().unwrap();
    for member in [IT, ES] {
        let file = format!("{member}-fork.accord");
        federation.suspend(member, (Way::Lifts, Target::Fork, &id), &[1, 2], &file);
        assert_eq!(federation.publish(member, &[&file]).code, 0, "{member}");
    }
    until(&federation, "it serves again", || officer.ask(&officer.request(IT, "2021..2024")).word() == "answered");
    assert!(status(&federation, IT)["restored"].is_null());
    done(&federation.operator(IT, &["audit", "verify", "--json"]));

    // A second loss is noticed, too: nothing of a size that was lost is closed again.
    done(&federation.operator(IT, &["backup", "again.age", "--json"]));
    let again = done(&federation.operator(IT, &["audit", "close", "--json"]))["size"].clone();
    assert!(again.as_u64() > closed.as_u64(), "{again} after {closed}");
    // The other one sees that this is not the log that it held, and goes on with it once its own administrators accept that.
    let of_other = || {
        let forks = status(&federation, ES)["log"]["forks"].as_array().unwrap().clone();
        forks.iter().find(|fork| fork["accepted_at"].is_null()).map(|fork| fork["id"].as_str().unwrap().to_owned())
    };
    until(&federation, "the other one finds another log", || of_other().is_some());
    federation.suspend(ES, (Way::Lifts, Target::Fork, &of_other().unwrap()), &[1, 2], "other-fork.accord");
    assert_eq!(federation.publish(ES, &["other-fork.accord"]).code, 0);
    until(&federation, "the other one has seen that", || {
        status(&federation, ES)["log"]["holds"].as_array().unwrap().iter().any(|held| held["size"] == again)
    });
    assert_eq!(open(), None);
    italy.kill();
    assert_eq!(restore(&federation, "again.age", "newer-it", &[]).code, 0);
    let _italy = Running::start(&path, "newer-it");
    until(&federation, "it is told of its second loss", || open().is_some_and(|second| second != id));
}

#[test]
fn no_edition_of_a_restored_node_has_a_number_of_one_that_it_has_forgotten() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let _spain = federation.start(ES);
    let mut italy = federation.start_settled(IT);
    let path = federation.path();
    let publish = |rows_of: &str| {
        let file = format!("{rows_of}.csv");
        fs::write(path.join(&file), rows(rows_of, 40)).unwrap();
        done(&federation.operator(IT, &["import", &file, "--json"]));
        let said = done(&federation.operator(IT, &["edition", "publish", "--json"]));
        said["edition"].as_u64().unwrap()
    };
    let seen = || {
        let ask = ["ask", "seizures-year-drug", "--from", IT, "--period", "2021..2024", "--json"];
        let said = done(&federation.officer(&ask));
        said["partners"][0]["edition"]["number"].as_u64().unwrap()
    };
    let first = seen();
    done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    let mut before = vec![first, publish("A"), publish("B")];
    assert_eq!((before[2], seen()), (first + 2, first + 2));
    for round in 0..2 {
        italy.kill();
        let dir = format!("new-it-{round}");
        assert_eq!(restore(&federation, "it.age", &dir, &[]).code, 0);
        italy = Running::start(&path, &dir);
        until(&federation, "others have said what they hold", || status(&federation, IT)["restored"].is_null());
        assert_eq!(seen(), first, "what is in the backup has the number that it had");
        for rows_of in [format!("C{round}"), format!("D{round}")] {
            let number = publish(&rows_of);
            assert!(before.iter().all(|old| *old < number), "{number} after {before:?}");
            assert_eq!(seen(), number);
            before.push(number);
        }
        let listed = done(&federation.operator(IT, &["edition", "list", "--json"]));
        let listed: Vec<u64> =
            listed["editions"].as_array().unwrap().iter().map(|one| one["edition"].as_u64().unwrap()).collect();
        assert_eq!((listed.len(), listed.iter().max()), (3, before.last()), "{listed:?}");
        assert_eq!(status(&federation, IT)["editions"], json!(3));
    }
    done(&federation.operator(IT, &["verify", "--json"]));
}

fn settle(federation: &Federation) {
    let is_settled = (0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        federation.operator(IT, &["status", "--json"]).json()["result"]["learning"] == false
    });
    assert!(is_settled, "it learns for longer than 15 s");
}

#[test]
fn backups_that_are_made_while_imports_and_requests_go_on_are_each_whole() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let _spain = federation.start(ES);
    let italy = federation.start_settled(IT);
    let path = federation.path();
    let is_over = AtomicBool::new(false);
    let rounds = 5;
    std::thread::scope(|scope| {
        let importing = scope.spawn(|| {
            let mut imported = 0;
            while !is_over.load(Ordering::Relaxed) {
                let name = format!("load-{imported}.csv");
                fs::write(path.join(&name), rows(&format!("X{imported}-"), 5_000)).unwrap();
                done(&federation.operator(IT, &["import", &name, "--json"]));
                imported += 1;
            }
            imported
        });
        let asking = scope.spawn(|| {
            let officer = Officer::open(&path.join("officer"));
            let mut answered = 0;
            while !is_over.load(Ordering::Relaxed) {
                answered += usize::from(officer.ask(&officer.request(IT, "2021..2024")).word() == "answered");
            }
            answered
        });
        let mut sequences = Vec::new();
        for round in 0..rounds {
            let name = format!("round-{round}.age");
            let made = done(&federation.operator(IT, &["backup", &name, "--json"]));
            sequences.push(made["sequence"].as_u64().unwrap());
            let checked = check(&federation, &name, &["--identity", "recovery.txt"]);
            assert_eq!(checked.code, 0, "{}", checked.stderr);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(importing.join().unwrap() > 0 && asking.join().unwrap() > 0);
        assert!(sequences.is_sorted_by(|one, next| one < next), "commits went on: {sequences:?}");
    });
    assert!(italy.stop());
    // Each opens as a node, with whole imports alone.
    for round in 0..rounds {
        let (file, dir) = (format!("round-{round}.age"), format!("node-{round}"));
        let restored = restore(&federation, &file, &dir, &[]);
        assert_eq!(restored.code, 0, "{}", restored.stderr);
        let node = Running::start(&path, &dir);
        done(&federation.operator(IT, &["verify", "--json"]));
        let status = federation.operator(IT, &["status", "--json"]).json();
        let lines = status["result"]["store"]["lines"].as_u64().unwrap();
        let imports = done(&federation.operator(IT, &["import", "list", "--json"]));
        let counted: u64 =
            imports["imports"].as_array().unwrap().iter().map(|one| one["lines"].as_u64().unwrap()).sum();
        assert_eq!(lines, counted, "round {round}");
        assert!(node.stop());
    }
}

#[test]
fn what_is_cut_changed_of_somebody_else_or_not_for_this_identity_is_refused_and_leaves_nothing() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let italy = federation.start(IT);
    let path = federation.path();
    done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    assert!(italy.stop());
    assert_eq!(accord_node(&path, &["recovery-key", "other.txt"]).code, 0);
    assert_eq!(accord_node(&path, &["recovery-key", "other.txt"]).code, 2, "never another key over one");
    fs::create_dir(path.join("there")).unwrap();
    let zeros = "0".repeat(64);
    let good = fs::read(path.join("it.age")).unwrap();
    fs::write(path.join("bad.age"), b"nothing").unwrap();
    fs::write(path.join("none.txt"), b"# nothing but a comment\n").unwrap();
    fs::set_permissions(path.join("none.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    let before = names(&federation);

    let refused = |arguments: &[&str], exit: i32, named: &str| {
        let named_already = arguments.contains(&"--federation") || arguments.contains(&"--any-federation");
        let of_it = if named_already { Vec::new() } else { vec!["--federation", federation.id.as_str()] };
        let said = accord_node(&path, &[arguments, &of_it].concat());
        assert_eq!(said.code, exit, "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(named), "{arguments:?}: {}", said.stderr);
        assert_eq!(names(&federation), before, "{arguments:?}");
    };
    refused(&["restore", "it.age", "new", "--identity", "other.txt"], 3, "not encrypted to this identity");
    refused(&["restore", "it.age", "new"], 3, "no identity was named");
    refused(&["restore", "it.age", "there", "--identity", "recovery.txt"], 2, "exists already");
    refused(&["restore", "missing.age", "new", "--identity", "recovery.txt"], 2, "missing.age is no file");
    refused(&["restore", "it.age", "new", "--identity", "none.txt"], 3, "no identity file");
    refused(&["restore", "bad.age", "new", "--identity", "recovery.txt"], 3, "no backup of an Accord node");
    refused(&["restore", "it.age", "new", "--identity", "recovery.txt", "--member", ES], 3, "a backup of IT-AGENCY");
    let of_another = ["restore", "it.age", "new", "--identity", "recovery.txt", "--federation", &zeros];
    refused(&of_another, 3, "from the federation");
    // Whose word counts is said by whoever restores, and never both.
    let unnamed = accord_node(&path, &["restore", "it.age", "new", "--identity", "recovery.txt"]);
    assert_eq!((unnamed.code, names(&federation)), (2, before.clone()), "{}", unnamed.stderr);
    assert!(
        unnamed.stderr.contains("--federation ID") && !unnamed.stderr.contains(&federation.id),
        "{}",
        unnamed.stderr
    );
    let both = ["restore", "it.age", "new", "--federation", &federation.id, "--any-federation"];
    refused(&both, 2, "cannot be used with");
    refused(&["restore", "bad.age", "new", "--any-federation"], 3, "no backup of an Accord node");

    let steps = std::env::var("ACCORD_DAMAGE_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    let header = [0, 5, 30, 90, 130, 180, 200, 220];
    let spread = (0..steps).map(|step| step * good.len() / steps);
    for at in header.into_iter().chain(spread).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(path.join("bad.age"), &bad).unwrap();
        refused(&["restore", "bad.age", "new", "--identity", "recovery.txt"], 3, "error:");
        fs::write(path.join("bad.age"), &good[..at]).unwrap();
        refused(&["restore", "bad.age", "new", "--identity", "recovery.txt"], 3, "error:");
        refused(&["check-backup", "bad.age", "--identity", "recovery.txt"], 3, "error:");
    }
    fs::write(path.join("bad.age"), [good.as_slice(), b"\n"].concat()).unwrap();
    refused(&["restore", "bad.age", "new", "--identity", "recovery.txt"], 3, "error:");
    // Nobody else may read what opens everything.
    fs::set_permissions(path.join("recovery.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    refused(&["restore", "it.age", "new", "--identity", "recovery.txt"], 3, "chmod 600");
    fs::set_permissions(path.join("recovery.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    let checked = check(&federation, "it.age", &["--identity", "recovery.txt"]);
    assert!(checked.code == 0 && checked.stdout.contains("nothing was written"), "{}", checked.stderr);
    assert_eq!(names(&federation), before);
}

#[test]
fn a_request_that_waited_at_the_backup_is_not_decided_by_the_restored_node() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let rows = r#"[[grant]]
partner = ["ES-AGENCY"]
table   = ["seizures-year-drug"]
finest  = { time = "quarter" }
purpose = ["strategic-analysis"]
answer  = "after-approval"
until   = "2027-11-01"
"#;
    federation.install_policy(IT, rows);
    let _spain = federation.start(ES);
    let italy = federation.start_settled(IT);
    federation.hire(IT, "giulia", "approver");
    let ask = ["ask", "seizures-year-drug", "--from", IT, "--period", "2021..2024", "--json"];
    let id = || {
        let answer = federation.officer(&ask).json()["result"]["partners"][0].clone();
        assert_eq!(answer["status"], "held", "{answer}");
        answer["request_id"].as_str().unwrap().to_owned()
    };
    let waiting = id();
    done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    // Decided since, which the backup does not know.
    let giulia = |arguments: &[&str]| federation.as_colleague("giulia", &[&["inbox"], arguments, &["--json"]].concat());
    done(&giulia(&["approve", &waiting, "--yes"]));
    italy.kill();
    assert_eq!(restore(&federation, "it.age", "new-it", &[]).code, 0);
    let _italy = Running::start(&federation.path(), "new-it");
    settle(&federation);
    until(&federation, "others have said what they hold", || status(&federation, IT)["restored"].is_null());
    assert_eq!(done(&giulia(&["list"]))["requests"][0]["request_id"], json!(waiting));
    fails(&giulia(&["approve", &waiting, "--yes"]), 3, "RESTORED");
    fails(&giulia(&["reject", &waiting, "--reason", "scope"]), 3, "RESTORED");
    fails(&giulia(&["hold", &waiting, "--note", "later"]), 3, "RESTORED");
    // What comes now is decided as ever.
    done(&giulia(&["approve", &id(), "--yes"]));
    let officer = federation.officer(&["history", "collect", "--json"]).json();
    assert!(!officer.to_string().contains("CONTRADICTION"), "{officer}");
    assert_eq!(status(&federation, ES)["contradictions"], json!([]));
}

// Where the manifest begins in a backup that nothing encrypts, by the lengths that `docs/storage.md` gives.
fn manifest_at(bytes: &[u8]) -> usize {
    let mut at = 8;
    while bytes[at] != 0 {
        let name = usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]));
        let value = u32::from_be_bytes(bytes[at + 3..at + 7].try_into().unwrap());
        at += 7 + name + usize::try_from(value).unwrap();
    }
    at + 1
}

#[test]
fn without_encryption_it_must_be_said_and_the_ring_sealed_and_every_byte_is_the_manifest_s() {
    let federation = Federation::new(&[ES, IT]);
    let path = federation.path();
    let mut files = Vec::new();
    for member in [ES, IT] {
        let ring = format!("{member}/node/node.ring");
        let operator = |arguments: &[&str]| federation.operator(member, &[arguments, &["--json"]].concat());
        let node = federation.start(member);
        fails(&operator(&["backup", "no.backup"]), 3, "NO-RECIPIENT");
        fails(&operator(&["backup", "no.backup", "--unencrypted"]), 3, "OPEN-RING");
        assert!(node.stop());
        fs::create_dir(path.join(format!("{member}-credentials"))).unwrap();
        let credential = format!("{member}-credentials/node-pass");
        let sealed = accord_tests::accord(&path, &["key", "reseal", &ring, "--credential", &credential]);
        assert_eq!(sealed.code, 0, "{}", sealed.stderr);
        let folder = path.join(format!("{member}-credentials")).display().to_string();
        let node = Running::start_with(&path, &format!("{member}/node"), &[("CREDENTIALS_DIRECTORY", &folder)]);
        let file = format!("{member}.backup");
        let made = operator(&["backup", &file, "--unencrypted"]);
        assert_eq!(done(&made)["encrypted_to"], Value::Null);
        assert_eq!(made.json()["warnings"][0]["code"], "UNENCRYPTED");
        files.push(fs::read(path.join(file)).unwrap());
        assert!(node.stop());
    }
    assert!(!path.join("no.backup").exists());
    let [spain, italy] = files.try_into().unwrap();
    let (good, cut) = (italy.clone(), manifest_at(&italy));
    assert_eq!(check(&federation, "IT-AGENCY.backup", &[]).code, 0);
    let seeds = [0x04u8, 0x22, 0x04, 0x20];
    assert!(!italy.windows(4).any(|part| part == seeds), "no private key is in it");

    let refused = |bytes: &[u8], named: &str| {
        fs::write(path.join("bad.backup"), bytes).unwrap();
        let said = accord_node(&path, &["restore", "bad.backup", "new", "--federation", &federation.id]);
        assert_eq!(said.code, 3, "{named}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.contains(named), "{named}: {}", said.stderr);
        assert!(!names(&federation).iter().any(|name| name.starts_with("new")));
    };
    // One member's manifest under another one's backup.
    let other = [&good[..cut], &spain[manifest_at(&spain)..]].concat();
    refused(&other, "not signed by a signing key of IT-AGENCY");
    refused(&good[..cut], "manifest cannot be read");
    for step in 0..40 {
        let at = step * good.len() / 40;
        let mut bad = good.clone();
        bad[at] ^= 1;
        refused(&bad, "error:");
    }
    // A value with a good checksum, and everything else as it was: the hash is another.
    let at = good.windows(7).position(|part| part == b"contact").unwrap();
    let mut bad = good.clone();
    bad[at - 1] = b' ';
    refused(&bad, "not what its manifest says");

    let restored = accord_node(&path, &["restore", "IT-AGENCY.backup", "new", "--any-federation", "--member", IT]);
    assert!(restored.code == 0 && restored.stdout.contains("NOT ENCRYPTED"), "{}", restored.stderr);
    assert!(restored.stdout.contains("compare that id"), "{}", restored.stdout);
    let folder = path.join("IT-AGENCY-credentials").display().to_string();
    let _node = Running::start_with(&path, "new", &[("CREDENTIALS_DIRECTORY", &folder)]);
    done(&federation.operator(IT, &["verify", "--json"]));
}

#[test]
fn who_may_back_up_where_to_and_what_the_audit_log_says_of_it() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    with_recovery(&federation, ES);
    let _spain = federation.start(ES);
    let _italy = federation.start(IT);
    let path = federation.path();
    federation.hire(IT, "dora", "auditor");
    federation.hire(IT, "giulia", "approver");
    for name in ["dora", "giulia"] {
        fails(&federation.as_colleague(name, &["backup", "no.age", "--json"]), 3, "ROLE");
    }
    fails(&federation.officer(&["backup", "no.age", "--json"]), 3, "ROLE");
    assert!(!path.join("no.age").exists());
    fs::write(path.join("there.age"), b"there").unwrap();
    fails(&federation.operator(IT, &["backup", "there.age", "--json"]), 2, "EXISTS");
    assert_eq!(fs::read(path.join("there.age")).unwrap(), b"there");

    let made = done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    let file = path.join("it.age");
    let bytes = fs::read(&file).unwrap();
    assert_eq!(made["bytes"].as_u64(), Some(bytes.len() as u64));
    assert_eq!(made["sha256"], accord_protocol::id::Hash::of(&bytes).to_string());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let shown = done(&federation.operator(IT, &["audit", "show", "--kind", "backup", "--json"]));
    let entries = shown["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    let detail = &entries[0]["detail"];
    assert_eq!((&detail["sha256"], &detail["encrypted_to"]), (&made["sha256"], &made["encrypted_to"]));
    assert!(detail["actor"].as_str().unwrap().starts_with("operator:"));
    assert!(entries[0]["subject"].is_string(), "of the signed manifest");
    // The spool holds nothing of it any more.
    assert_eq!(fs::read_dir(path.join("IT-AGENCY/node/spool")).unwrap().count(), 0);
    // Nothing in it can be read.
    for word in [b"ACCDBAK1".as_slice(), b"ACCDKEY1", b"listen_members", b"synthetic"] {
        assert!(!bytes.windows(word.len()).any(|part| part == word));
    }
}

#[test]
fn a_download_that_is_interrupted_leaves_nothing() {
    let federation = Federation::new(&[ES, IT]);
    with_recovery(&federation, IT);
    let italy = federation.start(IT);
    let path = federation.path();
    fs::write(path.join("many.csv"), rows("N", 40_000)).unwrap();
    done(&federation.operator(IT, &["import", "many.csv", "--json"]));
    let part = |path: &Path| {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.into_iter().any(|name| name.contains(".part"))
    };
    let interrupted = (0..20).any(|_| {
        let mut tool = Command::new(program("accord"))
            .args(["--profile", "IT-AGENCY/node/operator", "backup", "it.age", "--json"])
            .current_dir(&path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !part(&path) && tool.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        italy.pause();
        let pid = tool.id().to_string();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let was_under_way = tool.try_wait().unwrap().is_none();
        if was_under_way {
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
        let code = tool.wait().unwrap().code();
        italy.resume();
        if was_under_way {
            assert_eq!(code, Some(130));
            return true;
        }
        fs::remove_file(path.join("it.age")).unwrap();
        false
    });
    assert!(interrupted, "every download was faster");
    assert!(!path.join("it.age").exists() && !part(&path), "{:?}", names(&federation));
    done(&federation.operator(IT, &["backup", "it.age", "--json"]));
    assert_eq!(check(&federation, "it.age", &["--identity", "recovery.txt"]).code, 0);
}
