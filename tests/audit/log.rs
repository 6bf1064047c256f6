//! What the audit log costs: `cargo run --profile ci -p accord-tests --example audit-log [ENTRIES]`.
//!
//! Entries a second into a store in a folder of its own, each commit flushed and synced: one entry a commit by one writer, then by 64 at
//! once, which share flushes; then a log of ENTRIES (default 1,000,000) in large commits, its bytes on disk, the time to open it, to
//! prove one entry of it, and to verify all of it as an auditor's tool does, from its lines. Entries bear a detail of the size of an
//! answer's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a measurement may end so")]

use std::thread;

use accord_edge::clock::Stopwatch;
use accord_node::io::{
    journal::Journal,
    store::{Batch, NewEntry, Store},
};
use accord_protocol::{
    id::{Hash, to_hex},
    log::{
        Checkpoint, EventKind,
        copy::{About, FORMAT, Following, Line},
        log_origin, tree,
    },
    time::UnixMs,
};
use serde_json::json;

const ONE_BY_ONE: u64 = 500;
const TOGETHER: u64 = 20_000;
const WRITERS: u64 = 64;
const A_COMMIT: u64 = 2_000;

fn entry(journal: &Journal, number: u64) -> NewEntry {
    let hash = Hash::of(&number.to_be_bytes());
    let text = json!({
        "actor": "officer:ES-AGENCY:bffeb044aa22ba0924a7b70188c2e708", "request_id": to_hex(&hash.0[..16]), "body_hash": hash.to_string(),
        "requester": "ES-AGENCY", "audience": "IT-AGENCY", "purpose": "strategic-analysis", "legal_basis": "agreement",
        "table_id": 1, "query": { "measures": 63, "dims": [{ "dim": 0, "level": 0, "codes": [202_400, 202_500] }] },
        "reply_hash": hash.to_string(), "policy_hash": hash.to_string(), "edition": 1, "slice_hash": hash.to_string(),
        "slice_bytes": 1080, "numbers_shown": 20, "numbers_hidden": 100,
    });
    let when = (EventKind::Answered, UnixMs(1_795_500_000_000 + number));
    let actor = text["actor"].as_str().unwrap().to_owned();
    journal.entry(when, &actor, hash, text.to_string().into_bytes()).unwrap()
}

fn main() {
    let entries: u64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), [7; 32]).unwrap();
    let path = folder.path().join("store");
    let (store, _) = Store::open(&path, 256 << 20).unwrap();

    let watch = Stopwatch::start();
    for number in 0..ONE_BY_ONE {
        let mut batch = Batch::default();
        batch.append(entry(&journal, number));
        store.commit(batch).unwrap();
    }
    println!("one writer, one entry a commit: {} entries a second", ONE_BY_ONE * 1_000_000 / watch.us());
    let watch = Stopwatch::start();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, journal) = (&store, &journal);
            scope.spawn(move || {
                for number in 0..TOGETHER / WRITERS {
                    let mut batch = Batch::default();
                    batch.append(entry(journal, writer << 32 | number));
                    store.commit(batch).unwrap();
                }
            });
        }
    });
    let grouped = TOGETHER / WRITERS * WRITERS;
    println!("{WRITERS} writers, one entry a commit: {} entries a second", grouped * 1_000_000 / watch.us());

    let before = (store.size(), store.log_tree().size());
    let watch = Stopwatch::start();
    let mut number = before.1;
    while number < entries {
        let mut batch = Batch::default();
        let end = (number + A_COMMIT).min(entries);
        (number..end).for_each(|number| batch.append(entry(&journal, number)));
        store.commit(batch).unwrap();
        number = end;
    }
    let added = entries.saturating_sub(before.1).max(1);
    println!("up to {entries} in commits of {A_COMMIT}: {} entries a second", added * 1_000_000 / watch.us().max(1));
    println!(
        "on disk: {} bytes an entry with its detail, of which 123 are the entry",
        (store.size() - before.0) / added
    );

    let (log, watch) = (store.log_tree(), Stopwatch::start());
    let nodes = log.nodes(&store);
    let step = (entries / 1_000).max(1);
    let proofs = (0..entries).step_by(usize::try_from(step).unwrap());
    let mut made = 0;
    for index in proofs {
        let path = tree::inclusion(&nodes, index, log.size()).unwrap().unwrap();
        let leaf = store.entry(index).unwrap().unwrap().leaf_hash();
        assert!(tree::verify_inclusion(&leaf, index, log.size(), &path, &log.root()));
        made += 1;
    }
    println!("to prove one and verify that: {} microseconds, of {made}", watch.us() / made);

    verify(&store, &journal);
    drop(store);
    // The lock lasts as long as the process: another one would find none.
    let again = folder.path().join("again");
    std::fs::rename(&path, &again).unwrap();
    std::fs::remove_file(again.join("lock")).unwrap();
    // sled lets go of its files a moment later.
    thread::sleep(std::time::Duration::from_secs(2));
    let watch = Stopwatch::start();
    let (store, _) = Store::open(&again, 256 << 20).unwrap();
    println!("to open the store with every checksum: {} ms", watch.ms());
    assert_eq!(store.log_tree().root(), log.root());
}

// The lines as a copy has them, made beforehand; then read and held to the checkpoint.
fn verify(store: &Store, journal: &Journal) {
    let pair = accord_edge::random::new_private_key().unwrap();
    let key = accord_edge::random::signing_key(&pair).unwrap();
    let (log, federation, member) = (store.log_tree(), Hash([0x11; 32]), "ES-AGENCY".parse().unwrap());
    let checkpoint = Checkpoint { origin: log_origin(&federation, &member), size: log.size(), root: log.root() };
    let signed = checkpoint.sign(&key).unwrap();
    let about = About {
        format: FORMAT.into(),
        federation: federation.to_string(),
        member: member.to_string(),
        size: log.size(),
        destroyed: None,
        root: log.root().to_string(),
        checkpoint: signed.note().to_string(),
        checkpoints: Vec::new(),
    };
    let watch = Stopwatch::start();
    let mut lines = Vec::new();
    for (entry, sealed) in store.entries(0).zip(store.all_sealed(0)) {
        let (entry, (seq, sealed)) = (entry.unwrap(), sealed.unwrap());
        assert_eq!(entry.seq, seq);
        let detail = journal.read(&sealed).unwrap().unwrap();
        let line = Line {
            entry: to_hex(&entry.to_bytes()),
            salt: Some(to_hex(&detail.salt)),
            detail: Some(String::from_utf8(detail.text).unwrap()),
        };
        lines.push(serde_json::to_string(&line).unwrap());
    }
    println!("to read all of it from the node's store: {} ms", watch.ms());
    let watch = Stopwatch::start();
    let mut following = Following::begin(&about, &federation, |_| (vec![key.public()], Vec::new())).unwrap();
    for line in &lines {
        let line: Line = serde_json::from_str(line).unwrap();
        let actor = |text: &str| {
            let detail: serde_json::Value = serde_json::from_str(text).ok()?;
            Some(detail.get("actor")?.as_str()?.to_owned())
        };
        following.take(&line, actor).unwrap();
    }
    let report = following.finish().unwrap();
    println!("to verify {} entries with their details: {} ms", report.size, watch.ms());
}
