//! The implementation in Python that was written from `docs/wire.md` and `docs/trust-files.md` alone: vectors, sets of trust documents,
//! evidence, answers, and verdicts beside ours.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use accord_tests::{accord, program, root};
use serde_json::Value;

fn python(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let said = Command::new("python3")
        .arg("-B")
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (said.status.code().unwrap_or(-1), text(said.stdout), text(said.stderr))
}

/// A demo kept in a folder: the federation's id, the evidence file, and what the demo printed.
fn demo(folder: &Path, name: &str, options: &[&str]) -> (String, String, String) {
    let demo = accord_tests::demo();
    let demo: Vec<&str> = demo.iter().map(String::as_str).collect();
    let arguments = [demo.as_slice(), &["--keep", name, "--json"], options].concat();
    let said = accord(folder, &arguments);
    let printed = folder.join(format!("{name}.json"));
    std::fs::write(&printed, &said.stdout).unwrap();
    let json: Value = said.json();
    let text = |path: std::path::PathBuf| path.display().to_string();
    let federation = json["result"]["federation"].as_str().unwrap().to_owned();
    (federation, text(folder.join(name).join("evidence.json")), text(printed))
}

#[test]
fn every_vector_reads_the_same() {
    let (code, stdout, stderr) =
        python(&["tests/independent/second.py", "vectors", "protocol/tests/vectors/messages.txt"], &[]);
    let text = std::fs::read_to_string(root().join("protocol/tests/vectors/messages.txt")).unwrap();
    let vectors = text.lines().filter(|line| line.contains(' ') && !line.starts_with('#')).count();
    assert_eq!(
        (code, stdout.trim()),
        (0, format!("{vectors} vectors checked, 0 differ, 0 notes").as_str()),
        "{stderr}"
    );
}

#[test]
fn every_set_of_trust_documents_comes_to_the_same() {
    let file = "protocol/tests/vectors/trust.txt";
    let (code, stdout, stderr) = python(&["tests/independent/second.py", "trust", file], &[]);
    let cases = std::fs::read_to_string(root().join(file)).unwrap().matches("\ncase ").count();
    let said = format!("{cases} sets of documents checked in two orders, 0 differ");
    assert_eq!((code, stdout.trim()), (0, said.as_str()), "{stderr}");
}

#[test]
fn evidence_is_verified_and_the_pool_recomputed_from_the_document_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options, numbers) in [
        ("all", &[][..], "the answer has the same 1200 values of members and 300 pooled"),
        (
            "some",
            &["--refuse", "AT", "--stop", "DK"][..],
            "the answer has the same 600 values of members and 300 pooled",
        ),
    ] {
        let (federation, evidence, printed) = demo(folder.path(), name, options);
        let verify = |federation: &str, file: &str| {
            let lists = ["--federation", federation, "--lists", "protocol/data/lists", "--answer", &printed];
            python(&[&["tests/independent/second.py", "verify", file], &lists[..]].concat(), &[])
        };
        let (code, stdout, stderr) = verify(&federation, &evidence);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert!(stdout.starts_with("VERIFIED\n") && stdout.contains(numbers), "{stdout}");
        let (code, stdout, _) = verify(&"0".repeat(64), &evidence);
        assert!(code == 1 && stdout.starts_with("NOT VERIFIED at "), "{stdout}");

        let tool = program("accord").display().to_string();
        let (code, stdout, stderr) = python(
            &[
                &["tests/independent/second.py", "compare", &evidence, "--tool", &tool, "--federation", &federation],
                &["--lists", "protocol/data/lists", "--flips", "60", "--seed", "1"][..],
            ]
            .concat(),
            &[],
        );
        assert!(code == 0 && stdout.contains("61 files") && stdout.contains(" 0 verdicts differ"), "{stdout}{stderr}");

        // Its own tests, on this file: every verdict beside that of `accord evidence verify`.
        if name == "some" {
            let environment =
                [("ACCORD_EVIDENCE", &evidence), ("ACCORD_FEDERATION", &federation), ("ACCORD_TOOL", &tool)];
            let environment: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (code, stdout, stderr) = python(&["tests/independent/test_second.py"], &environment);
            assert!(code == 0 && stderr.trim_end().ends_with("OK"), "{stdout}{stderr}");
        }
    }
}
