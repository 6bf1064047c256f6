//! What is taken away on purpose from a node that is disturbed meanwhile, and that it stays away: cases, imports, details, old keys.

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex, thread, time::Duration};

use accord_node::io::{
    journal::{Journal, Month},
    keys::{Credential, NodeKeys},
    store::{Batch, Store},
};
use accord_protocol::{
    codec::Bounded,
    id::Hash,
    log::EventKind,
    member_keys::{KeyRole, MemberKeys},
    time::{DAY_MS, UnixMs},
};
use accord_tests::Federation;
use serde_json::{Value, json};

use crate::load::{ES, IT, ROWS};

/// Somebody who asks the node for something, and is told what came of it or why nothing did.
pub(crate) type Ask<'a, E> = &'a dyn Fn(&[&str]) -> Result<Value, E>;

/// A case that was to be erased: one row of a file.
struct Erasure {
    file: u64,
    row: u64,
    is_done: bool,
}

impl Erasure {
    fn case(&self) -> String {
        format!("N{}K{}", self.file, self.row)
    }

    fn authority(&self) -> String {
        format!("order {}/{}", self.row, self.file)
    }
}

/// A month of long ago in which one entry was made.
struct Old {
    month: Month,
    number: u64,
    key: Vec<u8>,
    is_gone: bool,
}

/// The node's keys document: the last that was acknowledged, and the one that is to follow it.
struct Keys {
    version: u64,
    file: String,
    next: Option<String>,
    has_both: bool,
}

/// What was asked for, and what of it was acknowledged.
pub(crate) struct TakenAway {
    erasures: Mutex<Vec<Erasure>>,
    // By import; whether it was acknowledged.
    undone: Mutex<BTreeMap<String, bool>>,
    old: Mutex<Vec<Old>>,
    keys: Mutex<Keys>,
}

impl TakenAway {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let file = "public/keys-IT-AGENCY.accord".to_owned();
        Self {
            erasures: Mutex::default(),
            undone: Mutex::default(),
            old: Mutex::default(),
            keys: Mutex::new(Keys { version: 1, file, next: None, has_both: false }),
        }
    }

    /// How much was acknowledged, in words.
    pub(crate) fn count(&self) -> String {
        let [erased, undone, gone, keys] = self.numbers();
        format!("{erased} erasures, {undone} undone imports, {gone} months without details and keys {keys}")
    }

    /// The same in numbers: erasures, undone imports, months, and the version of the keys.
    pub(crate) fn numbers(&self) -> [u64; 4] {
        let count = |all: &mut dyn Iterator<Item = bool>| all.filter(|is_done| *is_done).count() as u64;
        [
            count(&mut self.erasures.lock().unwrap().iter().map(|erasure| erasure.is_done)),
            count(&mut self.undone.lock().unwrap().values().copied()),
            count(&mut self.old.lock().unwrap().iter().map(|old| old.is_gone)),
            self.keys.lock().unwrap().version,
        ]
    }

    /// Erases the next case of the latest file that is in force.
    pub(crate) fn erase<E>(&self, ask: Ask<'_, E>) -> Result<(), E> {
        let imports = ask(&["import", "list"])?;
        let Some((_, file)) = in_force(&imports).pop() else { return Ok(()) };
        let (at, case, authority) = {
            let mut erasures = self.erasures.lock().unwrap();
            let row = erasures.iter().filter(|erasure| erasure.file == file).count() as u64;
            if row >= ROWS {
                return Ok(());
            }
            let erasure = Erasure { file, row, is_done: false };
            let (case, authority) = (erasure.case(), erasure.authority());
            erasures.push(erasure);
            (erasures.len() - 1, case, authority)
        };
        let said = ask(&["case", "erase", &case, "--authority", &authority, "--yes"])?;
        assert_eq!(said["records"], 1, "{said}");
        self.erasures.lock().unwrap()[at].is_done = true;
        Ok(())
    }

    /// Undoes the latest import that is in force.
    pub(crate) fn undo<E>(&self, ask: Ask<'_, E>) -> Result<(), E> {
        let imports = ask(&["import", "list"])?;
        let Some((import, _)) = in_force(&imports).pop() else { return Ok(()) };
        self.undone.lock().unwrap().entry(import.clone()).or_insert(false);
        ask(&["import", "undo", &import, "--reason", "a campaign"])?;
        self.undone.lock().unwrap().insert(import, true);
        Ok(())
    }

    /// Has the details of months that are over made unreadable. What the node does not call readable any more is gone.
    pub(crate) fn retain<E>(&self, ask: Ask<'_, E>) -> Result<(), E> {
        let said = ask(&["retention", "run"])?;
        let readable = said["readable"].as_array().unwrap();
        for old in self.old.lock().unwrap().iter_mut() {
            old.is_gone |= !readable.contains(&json!(old.month.to_string()));
            assert!(old.is_gone, "{}: {said}", old.month);
        }
        Ok(())
    }

    /// Hands in the next keys document of the node, if there is one. The same bytes again where nobody knows whether they were taken.
    pub(crate) fn exchange<E>(&self, federation: &Federation, ask: Ask<'_, E>) -> Result<(), E> {
        self.take_out_old_keys(federation);
        let Some(next) = self.keys.lock().unwrap().next.clone() else { return Ok(()) };
        ask(&["federation", "publish", &next])?;
        let mut keys = self.keys.lock().unwrap();
        keys.version += 1;
        keys.has_both = !keys.has_both;
        keys.file = next;
        keys.next = None;
        Ok(())
    }

    /// What must be prepared while the node is down: an entry of a month of long ago, sealed as the node would have done then, and new
    /// keys in its ring beside those in use.
    pub(crate) fn prepare(&self, federation: &Federation) {
        self.add_old_month(&federation.path().join(IT).join("node"));
        let mut keys = self.keys.lock().unwrap();
        if keys.next.is_some() || keys.has_both {
            return;
        }
        let [tls, sign, log] = federation.new_node_keys_of(IT, &keys.file, [KeyRole::Tls, KeyRole::Sign, KeyRole::Log]);
        let next = format!("keys-{}", keys.version + 1);
        federation.next_keys_of_administrators(IT, &keys.file, &next, |keys| {
            for (listed, new) in [(&mut keys.tls_keys, tls), (&mut keys.sign_keys, sign), (&mut keys.log_keys, log)] {
                *listed = Bounded::new(vec![listed.as_slice()[0], new]).unwrap();
            }
        });
        keys.next = Some(next);
    }

    fn add_old_month(&self, node: &Path) {
        let number = self.old.lock().unwrap().len() as u64;
        // Every 31 days from 1990 on: no two of one month.
        let time = UnixMs((7_305 + 31 * number) * DAY_MS);
        let keys = NodeKeys::load(node, &Credential::find(None).unwrap()).unwrap();
        let journal = Journal::open(node, keys.details_key).unwrap();
        let text = json!({ "actor": "node", "old": number }).to_string();
        let entry = journal.entry((EventKind::Clock, time), "node", Hash::ZERO, text.into_bytes()).unwrap();
        let (store, _) = Store::open(&node.join("store"), 8 << 20).unwrap();
        let mut batch = Batch::default();
        batch.append(entry);
        store.commit(batch).unwrap();
        drop(store);
        give_back(&node.join("store"));
        let month = Month::of(time);
        let key = fs::read(node.join(format!("journal/{month}.key"))).unwrap();
        self.old.lock().unwrap().push(Old { month, number, key, is_gone: false });
    }

    // The keys that are left out are used by nobody any more once the other member knows both.
    fn take_out_old_keys(&self, federation: &Federation) {
        let mut keys = self.keys.lock().unwrap();
        if keys.next.is_some() || !keys.has_both || !is_known(federation, &keys) {
            return;
        }
        let next = format!("keys-{}", keys.version + 1);
        federation.next_keys_of_administrators(IT, &keys.file, &next, |keys: &mut MemberKeys| {
            for listed in [&mut keys.tls_keys, &mut keys.sign_keys, &mut keys.log_keys] {
                *listed = Bounded::new(vec![listed.as_slice()[1]]).unwrap();
            }
        });
        keys.next = Some(next);
    }

    /// Whether the other member knows the keys document that was acknowledged last.
    pub(crate) fn are_keys_known(&self, federation: &Federation) -> bool {
        let keys = self.keys.lock().unwrap();
        keys.version == 1 || is_known(federation, &keys)
    }

    /// What was acknowledged is so, what was not is so wholly or not at all, in store and log. `when` is for whoever reads a failure.
    pub(crate) fn holds<E: std::fmt::Debug>(&self, federation: &Federation, ask: Ask<'_, E>, when: &str) {
        let ask =
            |arguments: &[&str]| ask(arguments).unwrap_or_else(|error| panic!("{when}: {arguments:?}: {error:?}"));
        let entries = |kind: &str| -> Vec<Value> {
            let shown = ask(&["audit", "show", "--kind", kind, "--limit", "10000"]);
            shown["entries"].as_array().unwrap().clone()
        };
        let imports = ask(&["import", "list"]);
        let in_force = in_force(&imports);
        let (undone, erased) = (entries("undone"), entries("erased"));
        let count = |all: &[Value], name: &str, wanted: &str| {
            all.iter().filter(|entry| entry["detail"][name] == wanted).count()
        };
        for (import, is_done) in self.undone.lock().unwrap().iter() {
            let is_undone = in_force.iter().all(|(known, _)| known != import);
            assert_eq!(
                count(&undone, "import", import),
                usize::from(is_undone),
                "{when}: the entry of the undone {import}"
            );
            assert!(is_undone || !is_done, "{when}: {import} is there again");
        }
        let mut erased_in_force = 0;
        let erasures = self.erasures.lock().unwrap();
        for (at, erasure) in erasures.iter().enumerate() {
            let is_entered = count(&erased, "authority", &erasure.authority());
            assert!(
                is_entered <= 1 && usize::from(erasure.is_done) <= is_entered,
                "{when}: the entry of {}",
                erasure.case()
            );
            if in_force.iter().all(|(_, file)| *file != erasure.file) {
                continue;
            }
            erased_in_force += is_entered as u64;
            // Those of before were looked at, and are in the sum of lines.
            if at + 4 >= erasures.len() {
                let records = ask(&["case", "show", &erasure.case()])["records"].as_u64().unwrap();
                assert_eq!(records, u64::from(is_entered == 0), "{when}: {}", erasure.case());
            }
        }
        let of_demo = imports["imports"].as_array().unwrap()[0]["lines"].as_u64().unwrap();
        let lines = ask(&["status"])["store"]["lines"].as_u64().unwrap();
        let expected = of_demo + ROWS * in_force.len() as u64 - erased_in_force;
        assert_eq!(lines, expected, "{when}: {} imports in force, {erased_in_force} cases erased", in_force.len());
        self.old_months_hold(federation, &entries("clock"), &entries("retention"), when);
        let keys = self.keys.lock().unwrap();
        let trust = ask(&["trust"]);
        let me = trust["members"].as_array().unwrap().iter().find(|member| member["member"] == IT).unwrap();
        let version = me["keys_version"].as_u64().unwrap();
        assert!((keys.version..=keys.version + 1).contains(&version), "{when}: keys {version}, not {}", keys.version);
    }

    fn old_months_hold(&self, federation: &Federation, made: &[Value], retained: &[Value], when: &str) {
        for old in self.old.lock().unwrap().iter() {
            let file = federation.path().join(IT).join(format!("node/journal/{}.key", old.month));
            let (is_there, month) = (fs::read(file).is_ok_and(|key| key == old.key), old.month.to_string());
            let at = usize::try_from(old.number).unwrap();
            let detail = &made[at]["detail"];
            let is_said = retained
                .iter()
                .any(|entry| entry["detail"]["months"].as_array().is_some_and(|months| months.contains(&json!(month))));
            if old.is_gone {
                assert!(detail.is_null() && !is_there && is_said, "{when}: {month} is there again: {detail}");
            } else if detail.is_null() {
                assert!(!is_there && is_said, "{when}: nobody said that {month} goes");
            } else {
                assert_eq!((&detail["old"], is_there), (&json!(old.number), true), "{when}: {month}");
            }
        }
    }
}

// A process keeps the store's lock until it ends, and its threads close the files some time after the store is dropped: here the node is to
// have it next.
fn give_back(store: &Path) {
    let is_open = || {
        let mut files = fs::read_dir("/proc/self/fd").unwrap();
        files.any(|file| fs::read_link(file.unwrap().path()).is_ok_and(|file| file.starts_with(store.join("sled"))))
    };
    for _ in 0..1_000 {
        if !is_open() {
            fs::remove_file(store.join("lock")).unwrap();
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the store is still open");
}

fn is_known(federation: &Federation, keys: &Keys) -> bool {
    let hash = federation.document(&keys.file).hash().to_string();
    federation.path().join(ES).join(format!("node/trust/member-keys-{}.accord", &hash[..16])).is_file()
}

/// The imports of a campaign that are in force, by their files' numbers, the latest last.
pub(crate) fn in_force(imports: &Value) -> Vec<(String, u64)> {
    let all = imports["imports"].as_array().unwrap().iter();
    all.filter(|import| import["state"] == "in_force")
        .filter_map(|import| {
            let name = import["file"]["name"].as_str()?;
            let number = name.strip_prefix("kill-")?.strip_suffix(".csv")?.parse().ok()?;
            Some((import["import_id"].as_str()?.to_owned(), number))
        })
        .collect()
}
