//! The rules of the house, as tests.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use accord_tests::root;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty());
    found
}

/// The part of a file that is not its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

fn mentions(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(folder) {
        for word in words {
            if product(&text).contains(word) {
                found.push(format!("{} mentions `{word}`", path.display()));
            }
        }
    }
    found
}

#[test]
fn protocol_and_domain_do_no_io() {
    let effects = [
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "std::net::Udp",
        "std::net::Tcp",
        "SystemTime",
        "Instant::",
        "tokio",
        "quinn",
        "sled",
        "rustls",
        "SystemRandom",
        "accord_edge",
        "crate::io",
        "crate::node",
    ];
    for folder in ["protocol/src", "protocol/policy/src", "node/src/domain"] {
        assert_eq!(mentions(folder, &effects), Vec::<String>::new());
    }
}

#[test]
fn record_types_exist_in_the_node_alone() {
    for folder in ["protocol/src", "protocol/edge/src", "protocol/policy/src", "admin-cli/src"] {
        assert_eq!(
            mentions(folder, &["SeizureLine", "struct Seizure", "domain::record", "accord_node"]),
            Vec::<String>::new()
        );
    }
}

#[test]
fn one_place_releases_a_cell() {
    let mut callers = Vec::new();
    for folder in ["protocol/src", "protocol/edge/src", "node/src", "admin-cli/src"] {
        for (path, text) in sources(folder) {
            if product(&text).contains("Released::release") && !path.ends_with("cell.rs") {
                callers.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    assert_eq!(callers, ["node/src/domain/disclosure/mod.rs"]);
}

#[test]
fn clock_and_randomness_have_one_caller_each() {
    let mut callers = Vec::new();
    for folder in ["protocol", "node/src", "admin-cli/src"] {
        for (path, text) in sources(folder) {
            if product(&text).contains("SystemTime::now") || product(&text).contains("SystemRandom::new") {
                callers.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    callers.sort();
    assert_eq!(callers, ["protocol/edge/src/clock.rs", "protocol/edge/src/random.rs"]);
}

#[test]
fn every_file_says_what_it_owns_and_fits_a_sitting() {
    for folder in ["protocol", "node/src", "admin-cli/src", "tests"] {
        for (path, text) in sources(folder) {
            if path.to_string_lossy().contains("/target/") {
                continue;
            }
            let first = text.lines().next().unwrap_or("");
            assert!(
                first.starts_with("//! ")
                    && (first.ends_with('.') || text.lines().nth(1).is_some_and(|line| line.starts_with("//!"))),
                "{}: {first}",
                path.display()
            );
            let lines = product(&text).lines().count();
            assert!(lines <= 640, "{} has {lines} lines before its tests: split it by concept", path.display());
        }
    }
}

#[test]
fn no_test_is_skipped_and_nothing_is_left_to_do() {
    let marks = [
        concat!("#[ign", "ore"),
        concat!("#[should_", "panic"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    for folder in ["protocol", "node", "admin-cli", "tests"] {
        for (path, text) in sources(folder) {
            for mark in marks {
                assert!(!text.contains(mark), "{} holds `{mark}`", path.display());
            }
        }
    }
}

#[test]
fn the_top_level_is_the_customers() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE",
        "SECURITY.md",
        "clippy.toml",
        "deny.toml",
        "node",
        "protocol",
        "admin-cli",
        "tests",
        "docs",
        "target",
    ];
    for entry in std::fs::read_dir(root()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut before = "";
    for line in section.lines().filter(|line| !line.trim().is_empty()) {
        let own = line.starts_with("accord-") || line.starts_with("tracing-subscriber");
        let is_dependency = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_dependency || own || before.starts_with('#'), "no reason beside `{line}`");
        before = line;
    }
}

#[test]
fn every_counter_of_the_door_is_explained_to_operators() {
    let manual = std::fs::read_to_string(root().join("docs/operator.md")).unwrap();
    let mut counters = BTreeSet::new();
    for (_, text) in sources("node/src") {
        for part in product(&text).split("door.add(\"").skip(1) {
            counters.insert(part.split('"').next().unwrap().to_owned());
        }
    }
    assert!(counters.len() >= 8, "{counters:?}");
    for counter in counters {
        assert!(manual.contains(&format!("`{counter}`")), "docs/operator.md does not say what {counter} is");
    }
}
