//! The samples that ship: what the README says runs, what the documents list exists.

use accord_tests::{Federation, accord, accord_node, program, root};

#[test]
fn every_command_that_a_document_shows_exists() {
    let folder = tempfile::tempdir().unwrap();
    let mut shown = 0;
    let documents = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .chain([root().join("README.md")]);
    for path in documents.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut in_code = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
                continue;
            }
            let line = line.trim().trim_start_matches("$ ").trim_start_matches("target/ci/");
            let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with('[')).collect();
            if !in_code || words.len() < 2 {
                continue;
            }
            // The subcommand is what clap must know; `--help` runs nothing.
            let mut command: Vec<&str> = Vec::new();
            let mut skip = false;
            for word in &words[1..] {
                if skip || word.starts_with('-') {
                    skip = !skip && matches!(*word, "--profile" | "--passphrase-fd" | "--deadline" | "--color");
                    continue;
                }
                command.push(word);
                if command.len() == 2
                    || !matches!(
                        command[0],
                        "case"
                            | "rates"
                            | "history"
                            | "evidence"
                            | "mapping"
                            | "coverage"
                            | "edition"
                            | "root"
                            | "admin"
                            | "officer"
                            | "staff"
                            | "member"
                            | "federation"
                            | "profile"
                    )
                {
                    break;
                }
            }
            let said = match words[0] {
                "accord" if !command.is_empty() => accord(folder.path(), &[command.as_slice(), &["--help"]].concat()),
                "accord-node" if !command.is_empty() => accord_node(folder.path(), &[command[0], "--help"]),
                _ => continue,
            };
            assert_eq!(said.code, 0, "{}: `{line}`: {}", path.display(), said.stderr);
            shown += 1;
        }
    }
    assert!(shown > 10, "only {shown} commands were found in the documents");
}

#[test]
fn the_readme_names_the_two_commands() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    for line in ["cargo build --profile ci --locked && target/ci/accord demo", "tests/run"] {
        assert!(text.contains(line), "README.md does not name `{line}`");
    }
}

// The content of the one code block with this info string.
fn block(text: &str, info: &str) -> String {
    let fence = format!("```{info}\n");
    assert_eq!(text.matches(&fence).count(), 1, "one block `{info}`");
    let (_, rest) = text.split_once(&fence).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_operators_first_day_goes_as_the_document_says() {
    let text = std::fs::read_to_string(root().join("docs/operator.md")).unwrap();
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let _node = federation.start("ES-AGENCY");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cases.csv"), block(&text, "csv cases.csv")).unwrap();
    let script = format!("set -eu\n{}", block(&text, "sh first-day"));
    assert!(script.lines().filter(|line| line.starts_with("accord ")).count() >= 12, "{script}");
    let path = format!("{}:{}", program("accord").parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("OPERATOR", federation.path().join("ES-AGENCY/node/operator"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("is undone") && said.contains("erased:") && said.contains("compacted:"), "{said}");
}
