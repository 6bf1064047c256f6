//! Every file of a node's folder gone, cut, with a bit flipped, or as it was at an earlier stop: named, or everything is as it should be.
//!
//! Half of the cases, those that ACCORD_SEED says; all of them where ACCORD_DAMAGE_STEPS is above its default of 12.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use accord_tests::{
    Federation, Running,
    folder::{copy, replace},
    seeded::from_environment,
};

use crate::load::{ES, IT, next_file};

const NODE: &str = "IT-AGENCY/node";

// Its files, without the operator's profile and what administrators have signed from, which are not read by it.
fn files(folder: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder.join(below)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match entry.file_type().unwrap().is_dir() {
            _ if ["operator", "claim.accord", "grants.toml"].contains(&path.as_str()) => {}
            true => files(folder, &path, found),
            false => found.push(path),
        }
    }
}

// What its operator sees of it, by what was asked.
fn seen(federation: &Federation) -> BTreeMap<&'static str, String> {
    let ask = |arguments: &[&str]| {
        let said = federation.operator(IT, &[arguments, &["--json"]].concat());
        let said = said.json();
        if said["exit"] == 0 { said["result"].clone() } else { said["error"]["code"].clone() }
    };
    let (status, log) = (ask(&["status"]), ask(&["audit", "show", "--from", "0", "--limit", "1000"]));
    let unreadable = |entry: &&serde_json::Value| entry["detail"].is_null() && entry["kind"] != "padding";
    let unreadable = log["entries"].as_array().map(|entries| entries.iter().filter(unreadable).count());
    BTreeMap::from([
        ("records", status["store"]["lines"].to_string()),
        ("roster", status["roster"].to_string()),
        ("edition", ask(&["edition", "show", "--cells"]).to_string()),
        ("imports", ask(&["import", "list"]).to_string()),
        ("everything verified", ask(&["verify"])["verified"].to_string()),
        // The last one is of this moment.
        ("checkpoints", ask(&["audit", "verify"])["checkpoints"][0].to_string()),
        ("unreadable details", format!("{unreadable:?}")),
    ])
}

// What differs although the node has started: nothing but this.
fn may_differ(file: &str, how: &str) -> &'static [&'static str] {
    match (file.split('/').next().unwrap(), how) {
        // The key that details of a month are sealed under: without it they cannot be read, and `verify` says so.
        ("journal", "gone" | "flipped") => &["everything verified", "unreadable details"],
        // The list of people: without it the node knows nobody, and shows nobody anything.
        ("trust", "gone" | "flipped") if file.contains("/staff-") => {
            &["records", "roster", "edition", "imports", "everything verified", "checkpoints", "unreadable details"]
        }
        // The newest roster: the one before it is in force again until the others are heard, before which the node answers nobody.
        ("trust", "gone" | "flipped") if file.contains("/roster-") => &["roster"],
        _ => &[],
    }
}

#[test]
fn a_file_that_is_gone_cut_flipped_or_of_yesterday_is_named_or_harmless() {
    let federation = Federation::new(&[ES, IT]);
    let at = |name: &str| -> PathBuf { federation.path().join(name) };
    let node = at(NODE);
    assert!(federation.start(IT).stop());
    copy(&node, &at("yesterday"));
    let running = federation.start(IT);
    let file = next_file(&federation, &std::sync::atomic::AtomicU64::new(0));
    federation.next_roster("public/roster.accord", "roster-2", |_| {});
    for work in [
        ["import", file.as_str()].as_slice(),
        &["edition", "publish"],
        &["federation", "publish", "roster-2"],
        &["audit", "close"],
    ] {
        let said = federation.operator(IT, work);
        assert_eq!(said.code, 0, "{work:?}: {}{}", said.stdout, said.stderr);
    }
    assert!(running.stop());
    let running = federation.start(IT);
    let today = seen(&federation);
    assert!(running.stop());
    copy(&node, &at("today"));
    let mut all = Vec::new();
    files(&at("today"), "", &mut all);
    let (steps, seed) = (from_environment("ACCORD_DAMAGE_STEPS", 12), from_environment("ACCORD_SEED", 1));
    let (mut refused, mut unnoticed, mut number) = (0, Vec::new(), seed);
    let mut try_one = |file: &str, how: &str| {
        let what = format!("{file} {how}");
        match Running::try_start(&federation.path(), NODE) {
            Err(log) => {
                let name = file.rsplit('/').next().unwrap();
                let names_it = log.contains(name) || log.contains("store") && file.starts_with("store/");
                let kind = name.split('-').next().unwrap();
                assert!(log.contains("error: ") && (names_it || log.contains(kind)), "{what}: {log}");
                refused += 1;
            }
            Ok(_running) => {
                let now = seen(&federation);
                let differs: Vec<&str> = today.keys().filter(|key| now[*key] != today[*key]).copied().collect();
                let may = may_differ(file, how);
                assert!(differs.iter().all(|key| may.contains(key)), "{what}: {differs:?}: {now:?}");
                unnoticed.push(what);
            }
        }
    };
    for file in &all {
        let (whole, old) = (fs::read(at("today").join(file)).unwrap(), fs::read(at("yesterday").join(file)).ok());
        let mut ways = vec![("gone", None)];
        if !whole.is_empty() {
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 0x10;
            ways.push(("flipped", Some(flipped)));
            // Half a document is no document, whichever it is.
            if !file.starts_with("trust/") || file.contains("/roster") {
                ways.push(("cut", Some(whole[..whole.len() / 2].to_vec())));
            }
        }
        ways.extend(old.filter(|old| *old != whole).map(|old| ("of yesterday", Some(old))));
        for (how, bytes) in ways {
            number += 1;
            if steps <= 12 && number % 2 == 0 && how != "of yesterday" {
                continue;
            }
            replace(&at("today"), &node);
            match bytes {
                None => fs::remove_file(node.join(file)).unwrap(),
                // In place, so that its mode stays.
                Some(bytes) => fs::write(node.join(file), bytes).unwrap(),
            }
            try_one(file, how);
        }
    }
    println!("{refused} refused; started with everything as it was: {unnoticed:#?}");
    assert!(refused > 8 && unnoticed.len() > 5);
    // A whole folder of yesterday is whole: nothing in it says that there is a later one.
    replace(&at("today"), &node);
    replace(&at("yesterday").join("store"), &node.join("store"));
    let _running = federation.start(IT);
    let now = seen(&federation);
    assert_ne!(now["records"], today["records"]);
    assert_eq!(now["everything verified"], "true");
}
