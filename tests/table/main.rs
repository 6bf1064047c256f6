//! The hostile peer program against the nodes of this build: every case must pass. A test program of its own, so that nothing else
//! runs beside it: some cases are about time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

use accord_tests::program;
use serde_json::Value;

/// What a failed case says.
fn failures(report: &Value) -> Vec<String> {
    let cases = report["cases"].as_array().unwrap();
    let failed = cases.iter().filter(|case| case["passed"] != true);
    failed.map(|case| format!("{} {}: {}", case["id"], case["name"], case["wrong"])).collect()
}

#[test]
fn every_hostile_case_passes() {
    let output = Command::new(program("hostile-peer"))
        .arg("--json")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(failures(&report), Vec::<String>::new());
    assert!(output.status.success(), "{}", output.status);
    // A program that plays nothing passes nothing.
    let listed = Command::new(program("hostile-peer")).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap().lines().count() - 2;
    assert_eq!(report["cases"].as_array().unwrap().len(), listed);
    assert!(listed >= 60, "only {listed} cases");
}
