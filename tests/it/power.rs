//! The power goes under mixed load, again and again: whatever was acknowledged is there afterwards, once, and everything verifies.
//!
//! The real node runs under `tests/faults/shim.c`, which writes down what it changes and what it syncs. At a random moment it is killed,
//! and its folder becomes what a disk may hold then (`tests/harness/disk.rs`): in half of the rounds without anything that was not
//! synced, in the others with some of its pages and names. Every third time the next start is cut off, too, and at
//! moments in between the store is opened on what the disk may hold (ACCORD_POWER_MOMENTS of each run, default 6). In each round requests,
//! imports, coverage, closings of the log, editions, rosters, compactions, erasures, undone imports, retention and new keys go on at once;
//! what was acknowledged is remembered here.
//! ACCORD_POWER_CUTS rounds (default 4) from ACCORD_SEED; the long run:
//! `ACCORD_POWER_CUTS=200 cargo nextest run --cargo-profile ci -p accord-tests -E 'test(power::)'`.
//!
//! That it notices: a disk on which `fdatasync` has no effect, or the sync of a folder, must lose what was acknowledged.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use accord_edge::keyring::KeyRing;
use accord_node::io::{
    journal::Journal,
    keys::{Credential, NodeKeys},
    store::Store,
};
use accord_protocol::member_keys::KeyRole;
use accord_tests::{
    Federation, Running,
    disk::{Disk, Loses, Obeys, records},
    faults::Shim,
    officer::Officer,
    program,
    seeded::{Seeded, from_environment},
};

use crate::{
    load::{Acknowledged, ES, IT, declare_and_close, holds, impatient, import, without_quota},
    taken_away::TakenAway,
};

const NODE: &str = "IT-AGENCY/node";
/// The operator's profile, which lies there too; the tool writes to it.
const WITHOUT: &[&str] = &["operator"];

/// Italy's node on a disk whose power may go.
struct Stage {
    federation: Federation,
    shim: Shim,
    officer: Officer,
    disk: Disk,
    said_yes: Acknowledged,
    taken: TakenAway,
    // What of it is asked for next, and the secret that details of its log are sealed with.
    next: AtomicU64,
    details_key: [u8; 32],
    numbers: [AtomicU64; 2],
    _spain: Running,
}

// Whether sled has opened and its folder is not synced yet: for some milliseconds then it needs the name of its new snapshot to last if
// what it has overwritten does, and nobody can sync the folder in between. What was overwritten waits in the kernel's memory for seconds.
fn opens(disk: &Disk) -> bool {
    disk.waits(&["store", "sled"]) || disk.waits(&["store", "sled.fresh"])
}

impl Stage {
    fn new() -> Self {
        let federation = Federation::new(&[ES, IT]);
        for member in [ES, IT] {
            without_quota(&federation, &format!("{member}/node/node.toml"));
        }
        let shim = Shim::new(&federation.path().join(NODE), &federation.path().join("shim")).journaling();
        let (said_yes, numbers) = (Acknowledged::default(), [AtomicU64::new(0), AtomicU64::new(0)]);
        let details_key =
            NodeKeys::load(&federation.path().join(NODE), &Credential::find(None).unwrap()).unwrap().details_key;
        said_yes.editions.lock().unwrap().push(1);
        said_yes.roster.store(1, Ordering::Relaxed);
        Self {
            officer: Officer::open(&federation.path().join("officer")),
            disk: Disk::of(&federation.path().join(NODE), WITHOUT),
            _spain: federation.start(ES),
            federation,
            shim,
            said_yes,
            taken: TakenAway::new(),
            next: AtomicU64::new(0),
            details_key,
            numbers,
        }
    }

    fn folder(&self) -> PathBuf {
        self.federation.path().join(NODE)
    }

    fn try_start(&mut self) -> Result<Running, String> {
        self.disk = Disk::of(&self.folder(), WITHOUT);
        self.shim.try_start(&self.federation.path(), NODE)
    }

    fn start(&mut self, when: &str) -> Running {
        let node = self.try_start().unwrap_or_else(|log| panic!("{when}: {log}"));
        self.federation.settle(IT);
        node
    }

    // The folder becomes what the disk holds.
    fn cut(&mut self, is_strict: bool, dice: &mut Seeded) -> (usize, usize) {
        self.disk.take(&self.shim.journal(), Obeys::EverySync);
        let loses = if is_strict || opens(&self.disk) { Loses::Everything } else { Loses::SomePages(dice) };
        self.disk.after(loses).write(&self.folder(), WITHOUT);
        self.disk.unsynced()
    }

    // What the power could have left at moments in between must open, whole; read by the store itself, without a node. Of each moment
    // an image without anything that was not synced, and one with some of it.
    fn moments(&self, count: usize, dice: &mut Seeded, when: &str) {
        let journal = self.shim.journal();
        let all = records(&journal);
        let mut at: Vec<usize> = (0..count).map(|_| dice.below(all + 1)).collect();
        at.sort_unstable();
        let (mut disk, mut rest, mut taken) = (self.disk.clone(), journal.as_slice(), 0);
        for at in at {
            rest = disk.take_some(rest, at - taken, Obeys::EverySync);
            taken = at;
            for name in ["strict", "some pages"] {
                let loses = if name == "strict" || opens(&disk) { Loses::Everything } else { Loses::SomePages(dice) };
                let folder = tempfile::tempdir().unwrap();
                disk.after(loses).write(folder.path(), &[]);
                let flaws = match Store::open(&folder.path().join("store"), 8 << 20) {
                    Ok((store, _)) => store.check().flaws,
                    Err(error) => panic!("{when}, record {at} of {all}, {name}: {error}"),
                };
                assert_eq!(flaws, [], "{when}, record {at} of {all}, {name}");
                let journal = Journal::open(folder.path(), self.details_key);
                assert!(journal.is_ok(), "{when}, record {at} of {all}, {name}: {journal:?}");
            }
        }
    }

    // Everything at once, until the node is gone.
    fn load(&self, over: &AtomicBool) {
        let [files, months] = &self.numbers;
        let (federation, said_yes) = (&self.federation, &self.said_yes);
        let goes_on = || !over.load(Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| {
                while goes_on() {
                    self.ask();
                }
            });
            scope.spawn(|| {
                while goes_on() {
                    import(federation, files, said_yes);
                }
            });
            scope.spawn(|| {
                while goes_on() {
                    declare_and_close(federation, months, said_yes);
                }
            });
            scope.spawn(|| {
                while goes_on() {
                    self.take_away();
                }
            });
            scope.spawn(|| {
                while goes_on() {
                    let published = impatient(federation, &["edition", "publish"]);
                    let edition = published.and_then(|published| published["edition"].as_u64());
                    said_yes.editions.lock().unwrap().extend(edition);
                    self.publish_roster();
                    impatient(federation, &["compact"]);
                }
            });
        });
    }

    // One of what takes something away.
    fn take_away(&self) {
        let ask = |arguments: &[&str]| impatient(&self.federation, arguments).ok_or(());
        // Nobody knows whether it was done where nothing came back.
        let _ = match self.next.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => self.taken.retain(&ask),
            1 => self.taken.erase(&ask),
            2 => self.taken.exchange(&self.federation, &ask),
            _ => self.taken.undo(&ask),
        };
    }

    fn holds(&self, when: &str) {
        holds(&self.federation, &self.said_yes, when);
        let ask = |arguments: &[&str]| {
            let said = self.federation.operator(IT, &[arguments, &["--json"]].concat());
            if said.code == 0 { Ok(said.json()["result"].clone()) } else { Err(said) }
        };
        self.taken.holds(&self.federation, &ask, when);
    }

    fn ask(&self) {
        let mut call = self.officer.sign(&self.officer.request(IT, "2021..2024"));
        call.wait_ms = 1_000;
        let back = self.officer.send(&call);
        if back.reply.answer.is_some() && back.word() == "answered" {
            self.said_yes.answers.lock().unwrap().push(call);
        }
    }

    // The roster after the one that was acknowledged; the same bytes again where nobody knows whether it was taken.
    fn publish_roster(&self) {
        let version = self.said_yes.roster.load(Ordering::Relaxed);
        let file = |version| if version == 1 { "public/roster.accord".to_owned() } else { format!("roster-{version}") };
        let next = file(version + 1);
        if !self.federation.path().join(&next).exists() {
            self.federation.next_roster(&file(version), &next, |_| {});
        }
        if impatient(&self.federation, &["federation", "publish", &next]).is_some() {
            self.said_yes.roster.store(version + 1, Ordering::Relaxed);
        }
    }

    fn run_until(&self, node: Running, wait: Duration) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.load(&over));
            thread::sleep(wait);
            node.kill();
            over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn what_was_acknowledged_survives_every_power_cut() {
    let (rounds, seed) = (from_environment("ACCORD_POWER_CUTS", 4), from_environment("ACCORD_SEED", 9));
    let moments = usize::try_from(from_environment("ACCORD_POWER_MOMENTS", 6)).unwrap();
    let mut dice = Seeded::new(seed);
    let mut stage = Stage::new();
    let mut lost = (0, 0);
    for round in 0..rounds {
        let when = format!("round {round} of seed {seed}");
        stage.taken.prepare(&stage.federation);
        let node = stage.start(&when);
        stage.holds(&when);
        stage.run_until(node, Duration::from_millis(dice.between(300, 3_000)));
        stage.moments(moments, &mut dice, &when);
        let (bytes, names) = stage.cut(round % 2 == 0, &mut dice);
        lost = (lost.0 + bytes, lost.1 + names);
        if round % 3 == 2 {
            // Cut off right after its start, and at moments during it.
            stage.try_start().unwrap_or_else(|log| panic!("{when}, once more: {log}")).kill();
            stage.moments(moments, &mut dice, &format!("{when}, starting"));
            stage.cut(round % 2 == 1, &mut dice);
        }
    }
    let node = stage.start("the end");
    stage.holds("the end");
    assert!(node.stop());
    let said = format!(
        "{rounds} power cuts of seed {seed}: {}; {}; {} bytes and {} names not synced",
        stage.said_yes.count(),
        stage.taken.count(),
        lost.0,
        lost.1
    );
    println!("{said}");
    assert!(lost.0 > 0 && !stage.said_yes.answers.lock().unwrap().is_empty(), "{said}");
    assert!(
        !stage.said_yes.imports.lock().unwrap().is_empty() && !stage.said_yes.closed.lock().unwrap().is_empty(),
        "{said}"
    );
    let [erased, undone, gone, keys] = stage.taken.numbers();
    assert!(erased + undone > 0 && gone > 0 && keys > 1, "{said}");
}

#[test]
fn what_is_written_down_is_all_that_the_node_does_and_every_sync_is_needed() {
    let mut stage = Stage::new();
    stage.taken.prepare(&stage.federation);
    let node = stage.start("the first start");
    for _ in 0..3 {
        stage.ask();
        import(&stage.federation, &stage.numbers[0], &stage.said_yes);
        declare_and_close(&stage.federation, &stage.numbers[1], &stage.said_yes);
        stage.publish_roster();
        assert!(impatient(&stage.federation, &["compact"]).is_some());
        assert!(impatient(&stage.federation, &["edition", "publish"]).is_some());
    }
    let ask = |arguments: &[&str]| impatient(&stage.federation, arguments).ok_or(());
    stage.taken.retain(&ask).unwrap();
    stage.taken.erase(&ask).unwrap();
    stage.taken.undo(&ask).unwrap();
    stage.taken.exchange(&stage.federation, &ask).unwrap();
    println!("{}; {}", stage.said_yes.count(), stage.taken.count());
    // Not stopped: a store that is closed in order syncs once more.
    node.kill();
    // A change that the shim does not see would be here and not there.
    let (now, journal) = (Disk::of(&stage.folder(), WITHOUT).after(Loses::Nothing), stage.shim.journal());
    let after = |disk: &Disk, obeys| {
        let mut disk = disk.clone();
        disk.take(&journal, obeys);
        disk
    };
    let before = stage.disk.clone();
    assert_eq!(after(&before, Obeys::EverySync).after(Loses::Nothing).differences(&now), Vec::<String>::new());
    // What each of the lies loses is missed.
    for obeys in [Obeys::EverySync, Obeys::NoDataSync, Obeys::NoFolderSync] {
        after(&before, obeys).after(Loses::Everything).write(&stage.folder(), WITHOUT);
        let held = stage.try_start().is_ok_and(|_node| {
            let checked = || stage.holds(&format!("{obeys:?}"));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(checked)).is_ok()
        });
        assert_eq!(held, obeys == Obeys::EverySync, "{obeys:?}");
    }
}

#[test]
fn a_ring_is_the_old_or_the_new_one_whenever_the_power_goes_while_keys_are_made() {
    let federation = Federation::new(&[ES, IT]);
    let folder = federation.path().join(NODE);
    let shim = Shim::new(&folder, &federation.path().join("shim")).journaling();
    let before = Disk::of(&folder, &[]);
    let made = Command::new(program("accord"))
        .args(["key", "rotate", "IT-AGENCY/node/node.ring", "--roles", "log", "--json"])
        .envs(shim.environment())
        .current_dir(federation.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (journal, mut dice) = (shim.journal(), Seeded::new(from_environment("ACCORD_SEED", 9)));
    let all = records(&journal);
    let mut keys_at = |at: usize, is_strict: bool| {
        let (mut disk, folder) = (before.clone(), tempfile::tempdir().unwrap());
        disk.take_some(&journal, at, Obeys::EverySync);
        let loses = if is_strict { Loses::Everything } else { Loses::SomePages(&mut dice) };
        disk.after(loses).write(folder.path(), &[]);
        let ring = KeyRing::open(&folder.path().join("node.ring"), || None);
        ring.unwrap_or_else(|error| panic!("record {at} of {all}: {error}")).all(KeyRole::Log).count()
    };
    for at in 0..=all {
        for is_strict in [true, false, false] {
            assert!((1..=2).contains(&keys_at(at, is_strict)), "record {at} of {all}");
        }
    }
    assert_eq!((keys_at(0, true), keys_at(all, true)), (1, 2), "what was said to be made is there");
}
