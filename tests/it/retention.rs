//! Entries of the audit log whose time is over, through real processes: what goes, what waits, and what is proved all the same.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use accord_edge::keyring::KeyRing;
use accord_node::io::{
    journal::{Journal, Month},
    keys::{Credential, NodeKeys},
    store::{Batch, Store},
};
use accord_protocol::{
    codec::{Bounded, encode},
    id::{Hash, to_hex},
    log::{
        Checkpoint, Entry, EventKind, log_origin,
        passing::{Asked, ProofCall, Told},
        tree,
    },
    member_keys::KeyRole,
    message::MessageKind,
    roster::MemberRole,
    suspend::{Target, Way},
    time::{DAY_MS, UnixMs},
};
use accord_tests::{Federation, Said, accord, accord_node, member::Member, root};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
/// Entries from long ago that a log begins with: three tiles, and some that are too few for one.
const OLD: u64 = 200;
const DESTROYED: u64 = 192;
/// 2020-01-01, and five days from one of them to the next.
const BEGINS: u64 = 18_262 * DAY_MS;

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn fails(said: &Said, exit: i32, code: &str) -> String {
    assert_eq!((said.code, &said.json()["error"]["code"]), (exit, &json!(code)), "{}{}", said.stdout, said.stderr);
    said.json()["error"]["message"].as_str().unwrap().to_owned()
}

fn warns(said: &Said, code: &str) -> bool {
    said.json()["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "lock") {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Two members whose logs begin anew, that of the second one long ago: its first entries, some about `documents`.
struct Stage {
    federation: Federation,
    old: Vec<Entry>,
}

impl Stage {
    fn new() -> Self {
        let federation = Federation::new(&[ES, IT]);
        let store = |member: &str| federation.path().join(member).join("node/store");
        for member in [ES, IT] {
            fs::remove_dir_all(store(member)).unwrap();
        }
        // What is in force has an entry of its own, which is old then.
        assert!(federation.start(IT).stop());
        let said = |store: &Store| {
            let documents = store.entries(0).map(Result::unwrap).filter(|entry| entry.kind == EventKind::Document);
            documents.map(|entry| entry.subject).collect::<Vec<_>>()
        };
        copy_folder(&store(IT), &federation.path().join("first"));
        let documents = said(&Store::open(&federation.path().join("first"), 1 << 20).unwrap().0);
        assert!(documents.len() > 3, "{documents:?}");
        let node = federation.path().join(IT).join("node");
        let old = old_log(&node, &federation.path().join("old"), &documents);
        fs::remove_dir_all(store(IT)).unwrap();
        copy_folder(&federation.path().join("old"), &store(IT));
        Self { federation, old }
    }

    fn operator(&self, arguments: &[&str]) -> Said {
        self.federation.operator(IT, &[arguments, &["--json"]].concat())
    }

    fn log(&self) -> Value {
        // Whatever it warns of.
        self.operator(&["status"]).json()["result"]["log"].clone()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        for _ in 0..600 {
            if is_so(&self.log()) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("not within 60 s: {what}: {}\n{}", self.log(), self.federation.logs());
    }

    fn shown(&self, filter: &[&str]) -> Vec<Value> {
        let said = self.operator(&[&["audit", "show", "--limit", "10000"], filter].concat());
        done(&said)["entries"].as_array().unwrap().clone()
    }

    fn second(&self, folder: &str) -> (i32, Value) {
        let said = Command::new("python3")
            .args(["-B", "tests/independent/second.py", "audit"])
            .arg(self.federation.path().join(folder))
            .args(["--json", "--federation", &self.federation.id])
            .current_dir(root())
            .output()
            .unwrap();
        (said.status.code().unwrap(), serde_json::from_slice(&said.stdout).unwrap())
    }
}

fn old_log(node: &Path, folder: &Path, documents: &[Hash]) -> Vec<Entry> {
    let keys = NodeKeys::load(node, &Credential::default()).unwrap();
    let journal = Journal::open(node, keys.details_key).unwrap();
    let (store, _) = Store::open(folder, 1 << 20).unwrap();
    for number in 0..OLD {
        let place = usize::try_from(number).unwrap();
        let (kind, subject) = match documents.get(place) {
            Some(subject) => (EventKind::Document, *subject),
            None => (EventKind::Answered, Hash::of(&number.to_be_bytes())),
        };
        let detail =
            json!({ "actor": "officer:ES-AGENCY:old", "requester": ES, "purpose": "old", "table_id": 1, "edition": 1 });
        let at = (kind, UnixMs(BEGINS + number * 5 * DAY_MS));
        let mut batch = Batch::default();
        batch.append(journal.entry(at, "officer:ES-AGENCY:old", subject, detail.to_string().into_bytes()).unwrap());
        store.commit(batch).unwrap();
    }
    store.entries(0).map(Result::unwrap).collect()
}

#[test]
fn entries_are_destroyed_once_others_have_seen_them_and_everything_else_is_proved_as_before() {
    let stage = Stage::new();
    let federation = &stage.federation;
    with_recovery(federation);
    let italy = federation.start(IT);
    let kept = done(&stage.operator(&["retention", "show"]))["entries"].clone();
    assert_eq!((&kept["kept_months"], &kept["destroyed"], &kept["over"]), (&Value::Null, &json!(0), &json!(0)));
    done(&stage.operator(&["retention", "run"]));
    assert_eq!(stage.log()["destroyed"], 0, "without the setting nothing goes");
    let before = done(&stage.operator(&["audit", "verify"]));
    assert_eq!((&before["destroyed"], &before["says_destroyed"]), (&json!(0), &json!(true)));
    assert!(stage.shown(&["--kind", "document"]).iter().all(|entry| entry["seq"].as_u64().unwrap() < OLD));
    assert!(italy.stop());

    // Nobody has seen this log: what is over waits, whatever the operator says, and closed or not.
    federation.edit("IT-AGENCY/node/node.toml", "# entries_months = 120", "entries_months = 24");
    let italy = federation.start(IT);
    let settings = stage.shown(&["--kind", "settings"]);
    assert_eq!(settings.last().unwrap()["detail"]["new"], json!(["entries_months = 24"]));
    for closed in [false, true] {
        if closed {
            done(&stage.operator(&["audit", "close"]));
        }
        let said = stage.operator(&["retention", "run"]);
        let entries = &done(&said)["entries"];
        assert_eq!((&entries["over"], &entries["waits"], &entries["destroyed"]), (&json!(0), &json!(true), &json!(0)));
        assert!(warns(&said, "ENTRIES-WAIT"), "{}", said.stdout);
    }
    let log = stage.log();
    assert_eq!((&log["state"], &log["needed"], &log["destroyed"]), (&json!("waiting"), &json!(1), &json!(0)));
    let spain = federation.start(ES);
    stage.until("the other member cosigns", |log| log["state"] == "witnessed");
    let over = done(&stage.operator(&["retention", "show"]))["entries"].clone();
    assert_eq!(
        (&over["over"], &over["over_up_to"], &over["waits"]),
        (&json!(DESTROYED), &json!(DESTROYED), &json!(false))
    );
    assert_eq!(stage.log()["destroyed"], 0, "to show is not to run");

    // The node does it by itself, as every hour, so at its start.
    assert!(italy.stop());
    let italy = federation.start(IT);
    stage.until("the node destroys by itself", |log| log["destroyed"] == DESTROYED);
    let last = stage.shown(&["--kind", "retention"]).pop().unwrap();
    assert_eq!(last["detail"]["entries"], json!({ "from": 0, "up_to": DESTROYED, "kept_months": 24 }));
    assert_eq!(last["detail"]["actor"], "node");
    let seq = last["seq"].as_u64().unwrap();
    // The eight that are left of the old ones go with those that follow, not before.
    let next = done(&stage.operator(&["retention", "show"]))["entries"]["next_over"].clone();
    let with = stage.shown(&["--from", "255", "--kind", "padding"]);
    assert_eq!(with[0]["seq"], 255);
    let at: UnixMs = with[0]["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(next, Month::of(at).plus(25).begins().to_string());
    let text = federation.operator(IT, &["retention", "show"]).stdout;
    assert!(text.contains(&format!("destroyed {DESTROYED}, from the first on, as entry {seq} of ")), "{text}");
    assert!(federation.operator(IT, &["status"]).stdout.contains("(the first 192 are destroyed), last closed at"));
    what_is_shown(&stage, seq);
    what_is_proved(&stage);

    // What others have seen goes on: this log is the same.
    let closed = done(&stage.operator(&["audit", "close"]))["size"].as_u64().unwrap();
    stage.until("what comes later is cosigned", |log| log["closed"] == closed && log["state"] == "witnessed");
    assert_eq!(stage.log()["forks"], json!([]));
    let partner = Member::open(&federation.path(), ES, IT);
    let prove = |what, subject, old| {
        let call = ProofCall { what, subject, old, new: if old == 0 { 0 } else { closed } };
        partner.hear(MessageKind::Proof, encode(&call).unwrap()).unwrap().0
    };
    for old in [1, 5, 64, 100, DESTROYED, DESTROYED + 1, closed] {
        assert_eq!(prove(Asked::Consistency, Hash::ZERO, old), [1], "{old}");
    }
    assert_eq!(prove(Asked::Entry, stage.old[100].subject, 0), [0], "as of one that never was");
    assert_eq!(prove(Asked::Entry, stage.old[196].subject, 0), [1], "one that is there");

    // After a crash and a restart it is so all the same, and what is in force has entries again.
    italy.kill();
    let italy = federation.start(IT);
    let documents = stage.shown(&["--kind", "document"]);
    assert!(documents.len() > 3, "{documents:?}");
    assert!(documents.iter().all(|entry| entry["detail"]["log_begins_at"] == DESTROYED), "{documents:?}");
    done(&stage.operator(&["compact"]));
    let verified = done(&stage.operator(&["verify"]));
    assert_eq!((&verified["verified"], &verified["log_destroyed"]), (&json!(true), &json!(DESTROYED)));
    no_byte_is_left(&stage);
    restored(&stage, italy);
    drop(spain);
}

#[test]
fn where_nobody_could_cosign_it_is_enough_that_the_log_was_closed_and_nothing_goes_while_it_is_disputed() {
    let stage = Stage::new();
    let federation = &stage.federation;
    federation.edit("IT-AGENCY/node/node.toml", "# entries_months = 120", "entries_months = 24");
    let _italy = federation.start_settled(IT);
    federation.next_roster("public/roster.accord", "roster-2.accord", |roster| {
        let mut members = roster.members.as_slice().to_vec();
        for member in members.iter_mut().filter(|member| member.node_id.as_str() == ES) {
            member.roles = Bounded::new(vec![MemberRole::Provider, MemberRole::Requester]).unwrap();
        }
        roster.members = Bounded::new(members).unwrap();
    });
    assert_eq!(federation.publish(IT, &["roster-2.accord"]).code, 0);
    assert_eq!(stage.log()["state"], "unwitnessed");
    let run = || {
        let said = stage.operator(&["retention", "run"]);
        (done(&said)["entries_destroyed"].as_u64().unwrap(), warns(&said, "ENTRIES-WAIT"))
    };
    assert_eq!(run(), (0, true), "it was never closed");
    done(&stage.operator(&["audit", "close"]));

    // Somebody holds another past of it, which its key has signed.
    let ring = federation.path().join("IT-AGENCY/node/node.ring");
    let key = KeyRing::open(&ring, || None).unwrap().take(KeyRole::Log).unwrap();
    let origin = log_origin(&federation.federation_id(), &IT.parse().unwrap());
    let other = Checkpoint { origin, size: 64, root: Hash([7; 32]) }.sign(&key).unwrap();
    let told = Told { notes: Bounded::new(vec![other.bare().unwrap()]).unwrap() };
    let spain = Member::open(&federation.path(), ES, IT);
    assert!(spain.hear(MessageKind::Tell, encode(&told).unwrap()).is_some());
    let fork = stage.log()["forks"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(run(), (0, true), "what is disputed stays");
    federation.suspend(IT, (Way::Lifts, Target::Fork, &fork), &[1, 2], "fork.accord");
    assert_eq!(federation.publish(IT, &["fork.accord"]).code, 0);
    assert_eq!(run(), (DESTROYED, false));
    assert_eq!(run(), (0, false), "once");
    let last = stage.shown(&["--kind", "retention"]).pop().unwrap();
    assert!(last["detail"]["actor"].as_str().unwrap().starts_with("operator:"), "{last}");
    done(&stage.operator(&["audit", "verify"]));
}

fn what_is_shown(stage: &Stage, said_by: u64) {
    let says = format!("as entry {said_by} says");
    for (filter, lacks) in [
        (&["--from", "0"][..], true),
        (&["--from", "191"], true),
        (&["--from", "192"], false),
        (&[], true),
        (&["--since", "2020-01-01"], true),
        (&["--since", "2023-01-01"], false),
    ] {
        let said = stage.operator(&[&["audit", "show", "--limit", "10000"], filter].concat());
        let result = done(&said);
        assert_eq!(result["first"], DESTROYED);
        assert!(result["entries"].as_array().unwrap().iter().all(|entry| entry["seq"].as_u64() >= Some(DESTROYED)));
        assert_eq!(warns(&said, "ENTRIES-DESTROYED"), lacks, "{filter:?}");
        assert!(!lacks || said.stdout.contains(&says), "{}", said.stdout);
    }
    let all = stage.shown(&["--from", "0", "--kind", "answered"]);
    assert_eq!(all.len() as u64, OLD - DESTROYED);
    assert_eq!((&all[0]["seq"], &all[0]["detail"]), (&json!(DESTROYED), &Value::Null));
    let said = stage.operator(&["egress"]);
    let left = done(&said);
    assert_eq!((&left["details_gone"], &left["entries_destroyed"]), (&json!(OLD - DESTROYED), &json!(DESTROYED)));
    assert_eq!(left["counted_from"], UnixMs(BEGINS + DESTROYED * 5 * DAY_MS).to_string());
    assert!(warns(&said, "ENTRIES-DESTROYED"));
    assert!(!warns(&stage.operator(&["egress", "--since", "2023-01-01"]), "ENTRIES-DESTROYED"));
}

fn what_is_proved(stage: &Stage) {
    let federation = &stage.federation;
    for gone in ["0", "191"] {
        let message = fails(&stage.operator(&["audit", "prove", gone]), 2, "ENTRIES-DESTROYED");
        assert!(message.contains("the entries before 192 were destroyed"), "{message}");
    }
    fails(&stage.operator(&["audit", "prove", "100000"]), 2, "NO-ENTRY");
    done(&stage.operator(&["audit", "prove", "192", "--out", "192.tlog-proof"]));
    let of_node = done(&stage.operator(&["audit", "verify"]));
    assert_eq!((&of_node["destroyed"], &of_node["says_destroyed"]), (&json!(DESTROYED), &json!(true)));
    done(&stage.operator(&["audit", "export", "copy"]));
    let path = federation.path().join("copy/log.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let about: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&about["format"], &about["destroyed"]), (&json!("accord-audit-2"), &json!(DESTROYED)));
    for (line, entry) in lines[1..].iter().zip(&stage.old) {
        if entry.seq < DESTROYED {
            assert_eq!(*line, json!({ "leaf": entry.leaf_hash().to_string() }).to_string());
            let bytes = [&entry.actor_commit, &entry.detail_commit, &entry.subject].map(ToString::to_string);
            assert!(bytes.iter().all(|hex| !good.contains(hex)), "{}", entry.seq);
        } else {
            assert_eq!(*line, json!({ "entry": to_hex(&entry.to_bytes()) }).to_string());
        }
    }
    let offline = || accord(&federation.path(), &["audit", "verify", "copy", "--federation", &federation.id, "--json"]);
    let verified = done(&offline());
    let (code, second) = stage.second("copy");
    assert_eq!(code, 0, "{second}");
    for name in ["size", "destroyed", "says_destroyed", "root", "details"] {
        assert_eq!(verified[name], second[name], "{name}");
    }
    assert_eq!((&verified["destroyed"], &verified["says_destroyed"]), (&json!(DESTROYED), &json!(true)));
    assert_eq!(verified["witnesses"][0]["member"], ES);
    let text = accord(&federation.path(), &["audit", "verify", "copy", "--federation", &federation.id]).stdout;
    assert!(text.contains("the first 192 of them are destroyed"), "{text}");

    // One in the middle, one that is put back without being said, other hashes.
    let join = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let owned: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let with = |at: usize, line: String| {
        let mut changed = owned.clone();
        changed[at] = line;
        join(&changed)
    };
    let leaf = |entry: &Entry| json!({ "leaf": entry.leaf_hash().to_string() }).to_string();
    let middle = with(198, leaf(&stage.old[197]));
    let back = with(192, json!({ "entry": to_hex(&stage.old[191].to_bytes()) }).to_string());
    let other = with(5, json!({ "leaf": tree::leaf_hash(b"another").to_string() }).to_string());
    let unsaid = good.replacen("\"destroyed\":192,", "", 1).replacen("accord-audit-2", "accord-audit-1", 1);
    for (text, named) in [(middle, "line 199"), (back, "line 193"), (other, "checkpoint of"), (unsaid, "line 2")] {
        assert_ne!(text, good);
        fs::write(&path, text).unwrap();
        let said = offline();
        fails(&said, 3, "NOT-VERIFIED");
        assert!(said.stdout.contains(named), "{named}: {}", said.stdout);
        assert_eq!(stage.second("copy").0, 1, "{named}");
    }
    // Whoever hands it on can leave out more of its beginning, and is told of.
    let more = with(193, leaf(&stage.old[192])).replacen("\"destroyed\":192,", "\"destroyed\":193,", 1);
    fs::write(&path, more).unwrap();
    let said = offline();
    assert_eq!((done(&said)["destroyed"].as_u64(), warns(&said, "DESTROYED-UNSAID")), (Some(193), true));
    assert_eq!(stage.second("copy").1["says_destroyed"], false);
    fs::write(&path, good).unwrap();
}

// Of destroyed entries nothing is in the files of the store after it was compacted, and their hashes are.
fn no_byte_is_left(stage: &Stage) {
    let folder = stage.federation.path().join("IT-AGENCY/node/store/sled");
    let files = fs::read_dir(&folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    let all: Vec<Vec<u8>> = files.map(|entry| fs::read(entry.path()).unwrap()).collect();
    let holds = |hash: &Hash| all.iter().any(|bytes| bytes.windows(32).any(|part| part == hash.0));
    for entry in stage.old.iter().filter(|entry| entry.seq < DESTROYED && entry.kind == EventKind::Answered).step_by(20)
    {
        assert!(!holds(&entry.actor_commit) && !holds(&entry.detail_commit) && !holds(&entry.subject), "{}", entry.seq);
        assert!(holds(&entry.leaf_hash()), "{}", entry.seq);
    }
    assert!(holds(&stage.old[195].actor_commit), "one that is there");
}

fn with_recovery(federation: &Federation) {
    let made = accord_node(&federation.path(), &["recovery-key", "recovery.txt"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let recipient = made.stdout.lines().find(|line| line.starts_with("recipient = ")).unwrap().to_owned();
    federation.edit("IT-AGENCY/node/node.toml", "recipient = \"\"", &recipient);
}

// A backup has what there is, and what is restored from it is that.
fn restored(stage: &Stage, italy: accord_tests::Running) {
    let path = stage.federation.path();
    done(&stage.operator(&["backup", "it.age"]));
    let size = stage.log()["size"].as_u64().unwrap();
    assert!(italy.stop());
    let checked = accord_node(&path, &["check-backup", "it.age", "--identity", "recovery.txt"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let of_it = ["--identity", "recovery.txt", "--federation", &stage.federation.id];
    let made = accord_node(&path, &[["restore", "it.age", "new"].as_slice(), &of_it].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    let _italy = accord_tests::Running::start(&path, "new");
    let verified = done(&stage.operator(&["audit", "verify"]));
    assert_eq!(verified["destroyed"], DESTROYED);
    assert!(verified["size"].as_u64() >= Some(size));
    assert_eq!(done(&stage.operator(&["verify"]))["log_destroyed"], DESTROYED);
}
