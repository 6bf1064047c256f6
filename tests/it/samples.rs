//! The samples that ship: what the README says runs, what the documents list exists.

use accord_tests::{accord, accord_node, root};

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
                        "evidence"
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
