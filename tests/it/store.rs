//! The store under damage: a cut, a flipped bit, a missing file end in "damaged", never in an empty success.

use std::{fs, path::Path};

use accord_node::{
    domain::{contribution::LEAVES, erasure::Erasure, import::index::digest, revision::HeldLine},
    io::store::{Batch, NewEntry, Store},
};
use accord_protocol::{
    catalogue::Kind,
    id::Hash,
    log::{EventKind, tree},
    time::UnixMs,
};
use accord_tests::{Federation, Running, folder::copy};

fn entry(number: u64) -> NewEntry {
    NewEntry {
        kind: EventKind::Erased,
        time: UnixMs(number),
        actor_commit: Hash::ZERO,
        subject: Hash::of(&number.to_be_bytes()),
        detail_commit: Hash::ZERO,
        sealed: vec![1; usize::try_from(number % 3).unwrap() * 4_000],
    }
}

#[test]
fn damage_is_named_or_harmless_and_never_served_as_complete() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let store = federation.path().join("ES-AGENCY/node/store");
    let good = federation.path().join("good-store");
    copy(&store, &good);
    let whole = fs::metadata(good.join("sled/db")).unwrap().len();
    let used = fs::read(good.join("sled/db")).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let step = std::env::var("ACCORD_DAMAGE_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(12u64);
    let mut named = 0;
    for round in 0..=step {
        fs::remove_dir_all(&store).unwrap();
        copy(&good, &store);
        let db = store.join("sled/db");
        let what = if round == 0 {
            fs::remove_file(&db).unwrap();
            "the database is gone".to_owned()
        } else if round % 2 == 0 {
            let size = used * round / (step + 1);
            fs::File::options().write(true).open(&db).unwrap().set_len(size).unwrap();
            format!("cut to {size} of {whole}")
        } else {
            let mut bytes = fs::read(&db).unwrap();
            let at = usize::try_from(used * round / (step + 1)).unwrap();
            bytes[at] ^= 0x10;
            fs::write(&db, bytes).unwrap();
            format!("a bit flipped at {at} of {whole}")
        };
        match Running::try_start(&federation.path(), "ES-AGENCY/node") {
            Err(log) => {
                assert!(log.contains("damaged") || log.contains("cannot be read"), "{what}: {log}");
                named += 1;
            }
            Ok(_node) => {
                // Harmless is only what leaves every record and every cell as it was.
                let status = federation.operator("ES-AGENCY", &["status", "--json"]).json();
                assert_eq!(status["result"]["store"]["lines"], 745, "{what}");
                let said = federation.operator("ES-AGENCY", &["edition", "show", "--cells", "--json"]);
                assert_eq!(said.code, 0, "{what}: {}", said.stderr);
            }
        }
    }
    assert!(named > step / 4, "only {named} of {step} were noticed");
}

#[test]
fn a_lost_manifest_an_old_database_and_a_second_process_are_refused() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let store = federation.path().join("ES-AGENCY/node/store");
    let old = federation.path().join("old-store");
    copy(&store, &old);
    let node = federation.start("ES-AGENCY");
    let log = Running::try_start(&federation.path(), "ES-AGENCY/node").unwrap_err();
    assert!(log.contains("already running") && log.contains(&node.pid.to_string()), "{log}");
    assert_eq!(federation.operator("ES-AGENCY", &["coverage", "set", "seizure", "2020", "partial"]).code, 0);
    assert!(node.stop());
    // Yesterday's database under today's manifest.
    fs::remove_dir_all(store.join("sled")).unwrap();
    copy(&old.join("sled"), &store.join("sled"));
    let log = Running::try_start(&federation.path(), "ES-AGENCY/node").unwrap_err();
    assert!(log.contains("acknowledged commits are missing"), "{log}");
    // A database whose manifest is gone: nobody knows any more what was acknowledged.
    fs::remove_dir_all(&store).unwrap();
    copy(&old, &store);
    fs::remove_file(store.join("manifest.json")).unwrap();
    let log = Running::try_start(&federation.path(), "ES-AGENCY/node").unwrap_err();
    assert!(log.contains("the manifest is missing"), "{log}");
    // A half-written snapshot, as a kill during open leaves it, is no damage.
    fs::remove_dir_all(&store).unwrap();
    copy(&old, &store);
    fs::write(store.join("sled/snap.0000000000001234.generating"), b"half").unwrap();
    let _node = federation.start("ES-AGENCY");
    assert_eq!(federation.operator("ES-AGENCY", &["status"]).code, 0);
}

#[test]
fn files_of_a_node_are_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    fn walk(path: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode();
            if mode & 0o077 != 0 {
                found.push(format!("{} {mode:o}", entry.path().display()));
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    // Values that sled puts into files of their own are not reached by our fdatasync: there must be none.
    let blobs: Vec<_> = fs::read_dir(federation.path().join("ES-AGENCY/node/store/sled/blobs")).unwrap().collect();
    assert!(blobs.is_empty(), "{blobs:?}");
    let mut found = Vec::new();
    walk(&federation.path().join("ES-AGENCY/node"), &mut found);
    assert!(found.is_empty(), "{found:?}");
    // A key file that others can read is not used.
    let ring = federation.path().join("ES-AGENCY/node/node.ring");
    fs::set_permissions(&ring, fs::Permissions::from_mode(0o644)).unwrap();
    let log = Running::try_start(&federation.path(), "ES-AGENCY/node").unwrap_err();
    assert!(log.contains("chmod 600"), "{log}");
}

#[test]
fn a_vintage_keeps_its_lines_and_forgets_the_name_of_an_erased_case() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store"), 1 << 20).unwrap();
    let lines: Vec<HeldLine> = (0..250u16)
        .map(|n| HeldLine {
            case: digest(format!("case-{}", n % 5).as_bytes()),
            period: 202_401,
            leaves: [n; LEAVES],
            amount: None,
            value: Some(u64::from(n)),
        })
        .collect();
    let mut batch = Batch::default();
    batch.put_vintage(Kind::Seizure, 2024, 7, &lines);
    batch.put_vintage(Kind::Seizure, 2025, 7, &[]);
    store.commit(batch).unwrap();
    let vintage = |year, edition| store.vintage(Kind::Seizure, year, edition).unwrap();
    assert_eq!(vintage(2024, 7), Some(lines.clone()));
    assert_eq!((vintage(2025, 7), vintage(2024, 8)), (Some(Vec::new()), None));
    store.erase(&Erasure::default(), "case-3", (UnixMs(0), "order 12/2026"), entry(0)).unwrap();
    assert_eq!(store.log_tree().size(), 1, "with its entry in the audit log");
    let kept = vintage(2024, 7).unwrap();
    let nameless: Vec<usize> = (0..250).filter(|at| kept[*at].case != lines[*at].case).collect();
    assert_eq!(nameless, (0..250).filter(|at| at % 5 == 3).collect::<Vec<_>>());
    assert!(nameless.iter().all(|at| kept[*at].case == [0; 16] && kept[*at].leaves == lines[*at].leaves));
    let mut batch = Batch::default();
    store.drop_vintage(Kind::Seizure, 2024, 7, &mut batch).unwrap();
    store.commit(batch).unwrap();
    assert_eq!((vintage(2024, 7), vintage(2025, 7)), (None, Some(Vec::new())));
}

#[test]
fn the_audit_log_grows_by_commits_and_is_the_same_tree_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut leaves: Vec<Hash> = Vec::new();
    let mut sizes = vec![0u64];
    {
        let (store, _) = Store::open(&path, 1 << 20).unwrap();
        // Up to where a tile of the third level begins: 64 * 64 and some.
        for count in [1, 62, 1, 1, 63, 300, 3_700, 5] {
            let before = leaves.len() as u64;
            let mut batch = Batch::default();
            (before..before + count).for_each(|number| batch.append(entry(number)));
            store.commit(batch).unwrap();
            for seq in before..before + count {
                let entry = store.entry(seq).unwrap().unwrap();
                assert_eq!((entry.seq, entry.prev_size, entry.time), (seq, before, UnixMs(seq)));
                leaves.push(entry.leaf_hash());
            }
            sizes.push(before + count);
        }
    }
    // The lock lasts as long as the process: a copy has none.
    copy(&path, &folder.path().join("again"));
    let (store, _) = Store::open(&folder.path().join("again"), 1 << 20).unwrap();
    let (log, size) = (store.log_tree(), leaves.len() as u64);
    assert_eq!((log.size(), log.root()), (size, tree::root_of(leaves.iter().copied())));
    let nodes = log.nodes(&store);
    for of in [1, 63, 64, 65, 4_095, 4_096, 4_097, size] {
        let root = tree::root_of(leaves[..usize::try_from(of).unwrap()].iter().copied());
        assert_eq!(tree::root_at(&nodes, of).unwrap(), root, "the first {of}");
        for index in [0, of / 2, of - 1] {
            let path = tree::inclusion(&nodes, index, of).unwrap().unwrap();
            assert!(
                tree::verify_inclusion(&leaves[usize::try_from(index).unwrap()], index, of, &path, &root),
                "{index} of {of}"
            );
        }
        let path = tree::consistency(&nodes, of, size).unwrap().unwrap();
        assert!(tree::verify_consistency((of, &root), (size, &log.root()), &path), "{of} in {size}");
    }
    for seq in [0, 64, size - 1] {
        let subject = Hash::of(&seq.to_be_bytes());
        assert_eq!(store.about(&subject).unwrap(), [seq]);
        let sealed = vec![1; usize::try_from(seq % 3).unwrap() * 4_000];
        assert_eq!(store.sealed(seq).unwrap(), Some(sealed.clone()).filter(|sealed| !sealed.is_empty()));
    }
    assert_eq!(store.all_sealed(0).count(), leaves.iter().enumerate().filter(|(seq, _)| seq % 3 > 0).count());
    let mut batch = Batch::default();
    store.drop_detail(64, &mut batch).unwrap();
    store.commit(batch).unwrap();
    assert_eq!(store.sealed(64).unwrap(), None);
    assert_eq!(store.log_tree().root(), log.root(), "the tree does not know of details");
}
