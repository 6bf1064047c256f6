//! The audit log through real processes: what happens is in it, also after a crash; it is proved offline; nothing in a copy can be
//! changed; who may look; what flooding leaves; what retention takes.

use accord_tests::{Federation, Said, accord, member::Member, officer::Officer};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn fails(said: &Said, exit: i32, code: &str) -> String {
    assert_eq!((said.code, &said.json()["error"]["code"]), (exit, &json!(code)), "{}{}", said.stdout, said.stderr);
    said.json()["error"].to_string()
}

fn shown(federation: &Federation, member: &str, filter: &[&str]) -> Vec<Value> {
    let said = federation.operator(member, &[&["audit", "show", "--limit", "1000", "--json"], filter].concat());
    done(&said)["entries"].as_array().unwrap().clone()
}

fn kinds(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

#[test]
fn what_happens_is_in_the_log_of_both_sides_and_an_auditor_proves_it_offline() {
    let federation = Federation::new(&[ES, IT]);
    let nodes = federation.start_all();
    let ask = ["ask", "seizures-year-drug", "--period", "2021..2024", "--case-ref", "K 12/2026"];
    done(&federation.officer(&[ask.as_slice(), &["--json"]].concat()));
    done(&federation.operator(IT, &["coverage", "set", "seizure", "2020", "partial", "--json"]));
    federation.hire(IT, "dora", "auditor");

    // Both sides say the same of one request.
    let (asked, heard) = (shown(&federation, ES, &["--kind", "asked"]), shown(&federation, ES, &["--kind", "heard"]));
    let answered = shown(&federation, IT, &["--kind", "answered"]);
    let [asked, heard, answered] = [&asked, &heard, &answered].map(|all| all.last().unwrap().clone());
    assert_eq!(asked["detail"]["request_id"], answered["detail"]["request_id"]);
    assert_eq!(heard["subject"], answered["subject"], "the signed answer");
    assert_eq!(
        (&answered["detail"]["purpose"], &answered["detail"]["edition"]),
        (&json!("strategic-analysis"), &json!(1))
    );
    assert!(answered["detail"]["actor"].as_str().unwrap().starts_with("officer:ES-AGENCY:"));
    assert!(answered["detail"]["case_ref_commit"].is_string() && !answered.to_string().contains("12/2026"));

    // An auditor looks, and changes nothing; an officer does not look.
    let dora = |arguments: &[&str]| federation.as_colleague("dora", &[arguments, &["--json"]].concat());
    let id = answered["detail"]["request_id"].as_str().unwrap();
    let of_request = done(&dora(&["audit", "show", "--request", &id[..8]]));
    assert_eq!(kinds(of_request["entries"].as_array().unwrap()), ["answered"]);
    let coverage = shown(&federation, IT, &["--kind", "coverage", "--actor", "operator"]);
    assert_eq!(coverage.last().unwrap()["detail"]["from"], "2020-01");
    let documents = shown(&federation, IT, &["--kind", "document"]);
    let latest = |label: &str| {
        let found = documents.iter().rev().find(|entry| entry["detail"]["label"] == label);
        found.map(|entry| (entry["detail"]["of"].clone(), entry["detail"]["version"].clone()))
    };
    for (label, of, version) in [
        ("root", Value::Null, json!(1)),
        ("roster", Value::Null, json!(1)),
        ("catalogue", Value::Null, Value::Null),
        ("policy", json!(IT), json!(1)),
        ("staff", json!(IT), json!(2)),
    ] {
        assert_eq!(latest(label), Some((of, version)), "{label}");
    }
    assert_eq!(kinds(&shown(&federation, IT, &["--kind", "read"])).len(), 5, "who looked is in it too");
    let text = federation.as_colleague("dora", &["audit", "show", "--kind", "document"]).stdout;
    assert!(text.contains("staff of IT-AGENCY version 2 "), "{text}");
    fails(&dora(&["audit", "close"]), 3, "ROLE");
    fails(&dora(&["retention", "run"]), 3, "ROLE");
    fails(&federation.officer(&["audit", "show", "--json"]), 3, "ROLE");
    fails(&dora(&["audit", "show", "--kind", "answred"]), 2, "KIND");
    fails(&dora(&["audit", "prove", "100000"]), 2, "NO-ENTRY");

    let left = done(&dora(&["egress"]));
    let row = &left["rows"][0];
    assert_eq!(
        (&row["partner"], &row["table"], row["answers"].as_u64()),
        (&json!(ES), &json!("seizures-year-drug"), Some(2))
    );
    assert!(row["numbers_shown"].as_u64() > Some(0) && row["bytes"].as_u64() > Some(0));
    assert_eq!(done(&dora(&["egress", "--until", "2020-01-01"]))["rows"], json!([]));

    // One entry, with and without what it commits to; the whole log, from the node and from a folder.
    let seq = answered["seq"].to_string();
    done(&dora(&["audit", "prove", &seq, "--detail", "--out", "open.tlog-proof"]));
    done(&dora(&["audit", "prove", &seq, "--out", "closed.tlog-proof"]));
    assert_eq!(done(&dora(&["audit", "verify", "open.tlog-proof"]))["detail"], answered["detail"]);
    assert_eq!(done(&dora(&["audit", "verify", "closed.tlog-proof"]))["detail"], Value::Null);
    let closed = done(&federation.operator(IT, &["audit", "close", "--json"]));
    assert_eq!(closed["size"].as_u64().unwrap() % 64, 0);
    let whole = done(&dora(&["audit", "verify"]));
    assert!(whole["size"].as_u64() > closed["size"].as_u64());
    assert_eq!(whole["checkpoints"][0], closed["size"]);
    done(&dora(&["audit", "export", "copy"]));
    fails(&dora(&["audit", "export", "copy"]), 2, "EXISTS");
    for node in nodes {
        assert!(node.stop());
    }
    let offline = |federation_id: &str| {
        accord(&federation.path(), &["audit", "verify", "copy", "--federation", federation_id, "--json"])
    };
    let verified = done(&offline(&federation.id));
    assert_eq!(
        verified["details"].as_u64(),
        Some(whole["details"].as_u64().unwrap() + 1),
        "that it was copied is in it"
    );
    fails(&offline(&federation.id.replace(|c| c != '0', "0")), 3, "NOT-VERIFIED");
    tampered(&federation, &offline);
}

// Whatever is done to a copy is named.
fn tampered(federation: &Federation, offline: &dyn Fn(&str) -> Said) {
    let path = federation.path().join("copy/log.jsonl");
    let good = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let other_actor = good.replacen("\\\"actor\\\":\\\"node\\\"", "\\\"actor\\\":\\\"none\\\"", 1);
    let other_byte = good.replacen("{\"entry\":\"01", "{\"entry\":\"02", 1);
    for (what, text, named) in [
        ("the last entry is missing", join(&lines[..lines.len() - 1]), "the copy ends after"),
        ("two entries are swapped", join(&swapped), "entry 3"),
        ("an entry stands twice", join(&[&lines[..3], &lines[2..]].concat()), "entry 2"),
        ("somebody else did it", other_actor, "entry 0"),
        ("an entry is another", other_byte, "entry 0"),
        ("the file is cut", good[..good.len() - 10].to_owned(), "cut off"),
        ("the file is empty", String::new(), "empty"),
        ("more is in it", good.replacen("{\"entry\"", "{\"more\":1,\"entry\"", 1), "line 2"),
    ] {
        assert_ne!(text, good, "{what}");
        std::fs::write(&path, text).unwrap();
        let error = fails(&offline(&federation.id), 3, "NOT-VERIFIED");
        assert!(error.contains(named), "{what}: {error}");
    }
    std::fs::write(&path, good).unwrap();
    done(&offline(&federation.id));
}

#[test]
fn an_answer_that_left_is_in_the_log_after_a_crash_and_said_once() {
    let federation = Federation::new(&[ES, IT]);
    let (_spain, italy) = (federation.start(ES), federation.start(IT));
    let officer = Officer::open(&federation.path().join("officer"));
    let call = officer.sign(&officer.request(IT, "2021..2025"));
    assert_eq!(officer.send(&call).word(), "answered");
    italy.kill();
    let _italy = federation.start(IT);
    assert_eq!(officer.send(&call).word(), "answered");
    let id = officer_request_id(&call);
    assert_eq!(
        kinds(&shown(&federation, IT, &["--request", &id])),
        ["answered"],
        "the same bytes again are no second entry"
    );
    let started = shown(&federation, IT, &["--kind", "started"]);
    assert_eq!(started.last().unwrap()["detail"]["after"], "an interruption");
    done(&federation.operator(IT, &["audit", "verify", "--json"]));
}

fn officer_request_id(call: &accord_protocol::message::AskCall) -> String {
    use accord_protocol::{
        codec::{Cap, decode},
        request::RequestBody,
    };
    decode::<RequestBody>(call.body.as_slice(), Cap::Head).unwrap().request_id.to_string()
}

#[test]
fn settings_that_were_changed_and_an_orderly_stop_are_in_the_log() {
    let federation = Federation::new(&[ES, IT]);
    let italy = federation.start(IT);
    assert!(italy.stop());
    federation.edit("IT-AGENCY/node/node.toml", "tlp = \"AMBER\"", "tlp = \"GREEN\"");
    let _italy = federation.start(IT);
    let started = shown(&federation, IT, &["--kind", "started"]);
    assert_eq!(started.last().unwrap()["detail"]["after"], "a stop");
    let settings = shown(&federation, IT, &["--kind", "settings"]);
    let last = &settings.last().unwrap()["detail"];
    assert_eq!((&last["new"], &last["gone"]), (&json!(["tlp = \"GREEN\""]), &json!(["tlp = \"AMBER\""])));
}

#[test]
fn a_flood_of_refusals_fills_sixty_entries_and_one_that_counts() {
    let federation = Federation::new(&[ES, IT]);
    let _italy = federation.start(IT);
    let officer = Officer::open(&federation.path().join("officer"));
    let connection = Member::open(&federation.path(), ES, IT);
    let connection = connection.hold();
    for _ in 0..80 {
        let mut body = officer.request(IT, "2021..2024");
        body.query.table_id = 60_000;
        let (_, word) = connection.hand_on(&officer.sign(&body)).unwrap();
        assert_eq!(word, "E_UNAVAILABLE");
    }
    let mut late = officer.request(IT, "2021..2024");
    (late.issued_at.0, late.deliver_by.0) = (late.issued_at.0 - 3_600_000, late.deliver_by.0 - 3_600_000);
    assert_eq!(connection.hand_on(&officer.sign(&late)).unwrap().1, "E_TIME");
    // The same id for another question: a refusal that is not remembered is counted like any other.
    let mut once = officer.request(IT, "2021..2024");
    once.query.table_id = 60_000;
    assert_eq!(connection.hand_on(&officer.sign(&once)).unwrap().1, "E_UNAVAILABLE");
    once.query.table_id = 60_001;
    assert_eq!(connection.hand_on(&officer.sign(&once)).unwrap().1, "E_CONFLICT");
    assert_eq!(shown(&federation, IT, &["--kind", "refused"]).len(), 60);
    assert_eq!(shown(&federation, IT, &["--kind", "refusals"]).len(), 0);
    done(&federation.operator(IT, &["audit", "close", "--json"]));
    let counted = shown(&federation, IT, &["--kind", "refusals"]);
    assert_eq!(counted.len(), 1);
    let detail = &counted[0]["detail"];
    assert_eq!(
        (&detail["counts"], &detail["actor"]),
        (&json!({ "E_TIME": 1, "E_CONFLICT": 1, "E_UNAVAILABLE": 21 }), &json!("member:ES-AGENCY"))
    );
    done(&federation.operator(IT, &["audit", "verify", "--json"]));
}

#[test]
fn details_whose_month_is_over_are_gone_and_their_entries_are_proved_all_the_same() {
    let federation = Federation::new(&[ES, IT]);
    let italy = federation.start(IT);
    let before = done(&federation.operator(IT, &["audit", "verify", "--json"]));
    assert!(italy.stop());
    // As if everything so far had been written long ago.
    let journal = federation.path().join("IT-AGENCY/node/journal");
    let mut keys = std::fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path());
    let key = keys.next().unwrap();
    std::fs::rename(&key, journal.join("2020-01.key")).unwrap();
    let _italy = federation.start(IT);
    // The node looks after it by itself as soon as it runs.
    let removed = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        !journal.join("2020-01.key").exists()
    });
    assert!(removed, "the key is still there");
    let retention = shown(&federation, IT, &["--kind", "retention"]);
    assert_eq!(retention[0]["detail"]["months"], json!(["2020-01"]));
    let shown_now = shown(&federation, IT, &["--from", "0"]);
    let (gone, kept): (Vec<_>, Vec<_>) = shown_now.iter().partition(|entry| entry["detail"].is_null());
    assert!(gone.len() as u64 >= before["size"].as_u64().unwrap(), "{gone:?}");
    assert!(kept.iter().any(|entry| entry["kind"] == "started"), "what is new can be read");
    let said = federation.operator(IT, &["audit", "prove", "1", "--detail", "--out", "old.tlog-proof", "--json"]);
    assert_eq!(done(&said)["detail"], Value::Null);
    assert_eq!(said.json()["warnings"][0]["code"], "DETAIL-GONE");
    let after = done(&federation.operator(IT, &["audit", "verify", "--json"]));
    assert!(after["size"].as_u64() > before["size"].as_u64());
    let left = federation.operator(IT, &["retention", "show", "--json"]);
    assert_eq!(done(&left)["over"], json!([]));
}

#[test]
fn closings_at_once_and_among_entries_of_others_never_go_back_and_give_one_root_of_each_size() {
    use std::{collections::BTreeMap, thread};
    let federation = Federation::new(&[ES, IT]);
    let _nodes = federation.start_all();
    let close = || {
        let closed = done(&federation.operator(IT, &["audit", "close", "--json"]));
        (closed["size"].as_u64().unwrap(), closed["root"].as_str().unwrap().to_owned())
    };
    let seen = |_: usize| {
        let log = done(&federation.operator(IT, &["status", "--json"]))["log"].clone();
        (log["closed"].as_u64().unwrap(), String::new())
    };
    // A person has four connections at once.
    federation.hire(IT, "bruno", "operator");
    let first = close();
    // Two who close at once, one who looks, and two who fill the log meanwhile.
    let all: Vec<Vec<(u64, String)>> = thread::scope(|scope| {
        let fill = |by: usize| {
            for month in 1..=12 {
                let month = format!("{}-{month:02}", 1990 + by);
                done(&federation.as_colleague("bruno", &["coverage", "set", "site", &month, "partial", "--json"]));
            }
        };
        let filling: Vec<_> = (0..2).map(|by| scope.spawn(move || fill(by))).collect();
        let closing: Vec<_> = (0..2).map(|_| scope.spawn(|| (0..12).map(|_| close()).collect::<Vec<_>>())).collect();
        let looking = scope.spawn(|| (0..20).map(seen).collect::<Vec<_>>());
        for one in filling {
            one.join().unwrap();
        }
        closing.into_iter().chain([looking]).map(|one| one.join().unwrap()).collect()
    });
    let last = close();
    let mut roots = BTreeMap::from([first.clone(), last.clone()]);
    for (size, root) in all.iter().take(2).flatten() {
        assert_eq!(roots.entry(*size).or_insert_with(|| root.clone()), root, "two roots of {size}");
    }
    for sizes in &all {
        assert!(sizes.iter().all(|(size, _)| (first.0..=last.0).contains(size) && size % 64 == 0), "{sizes:?}");
        assert!(sizes.is_sorted_by_key(|(size, _)| *size), "it went back: {sizes:?}");
    }
    assert!(roots.len() > 2, "it never grew meanwhile: {roots:?}");
    // Every one of them is kept, of what the log is now.
    let log = done(&federation.operator(IT, &["audit", "verify", "--json"]));
    let kept: Vec<u64> = log["checkpoints"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert!(roots.keys().all(|size| kept.contains(size)), "{kept:?} without one of {roots:?}");
    let log = done(&federation.operator(IT, &["status", "--json"]))["log"].clone();
    assert_eq!((&log["closed"], &log["forks"]), (&json!(last.0), &json!([])));
}
