//! What administrators see: every command of theirs in text, with what differs from run to run left out.

use std::path::Path;

use accord_tests::{Federation, accord, accord_node, shell};
use expect_test::expect_file;

/// A line with keys, hashes, dates and addresses replaced by what they are.
fn masked(line: &str) -> String {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let (core, tail) = match word.find(|c: char| matches!(c, ',' | ';' | ':' | ')' | '.') && word.ends_with(c)) {
            Some(at) if at + 1 == word.len() => word.split_at(at),
            _ => (word, ""),
        };
        let digits = core.len() == 5 && core.bytes().all(|byte| byte.is_ascii_digit());
        let hex = |len: usize| core.len() == len && core.bytes().all(|byte| byte.is_ascii_hexdigit());
        let date =
            core.len() >= 10 && core.starts_with("20") && core.as_bytes()[4] == b'-' && core.as_bytes()[7] == b'-';
        let what = if digits {
            "#"
        } else if hex(64) {
            "HASH"
        } else if hex(32) {
            "ID"
        } else if date {
            "DATE"
        } else if core.starts_with("127.0.0.1:") {
            "ADDRESS"
        } else {
            core
        };
        // Groups of one fingerprint become one word.
        if what == "#" && words.last().is_some_and(|last| last.starts_with('#')) {
            let last = words.last_mut().unwrap();
            last.push('#');
            last.push_str(tail);
        } else {
            words.push(format!("{what}{tail}"));
        }
    }
    format!("{indent}{}", words.join(" "))
}

struct Transcript<'a> {
    folder: &'a Path,
    text: String,
}

impl Transcript<'_> {
    fn run(&mut self, line: &str) {
        let arguments: Vec<&str> = line.split(' ').map(|word| word.trim_matches('\'')).collect();
        // A space inside an argument is written as an underscore here.
        let arguments: Vec<String> = arguments.iter().map(|word| word.replace('_', " ")).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = accord(self.folder, &arguments);
        let shown: Vec<String> = masked(line).split(' ').map(str::to_owned).collect();
        self.text += &format!("$ accord {}\n", shown.join(" ").replace('_', " "));
        let here = self.folder.display().to_string();
        for text in [&said.stdout, &said.stderr] {
            for one in text.replace(&here, ".").lines() {
                self.text += &format!("{}\n", masked(one));
            }
        }
        self.text += &format!("exit {}\n\n", said.code);
    }
}

#[test]
fn what_administrators_see() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let path = federation.path();
    for number in [1, 2] {
        std::fs::copy(path.join(format!("ES-AGENCY/admin-{number}/admin.ring")), path.join(format!("{number}.ring")))
            .unwrap();
    }
    let _nodes = federation.start_all();
    let mut transcript = Transcript { folder: &path, text: String::new() };
    let id = &federation.id;
    for line in [
        "root new r4/root.ring --name Root_four --unprotected",
        "root new r4/root.ring --name Root_four --unprotected",
        "admin new a3.ring --member ES-AGENCY --name Clara --unprotected",
        "key show a3.ring --member ES-AGENCY",
        &format!(
            "profile new one --member ES-AGENCY --ring 1.ring --federation {id} public/federation.accord public/officers-ES-AGENCY.accord ES-AGENCY/staff.accord"
        ),
        &format!(
            "profile new two --member ES-AGENCY --ring 2.ring --federation {id} public/federation.accord public/officers-ES-AGENCY.accord ES-AGENCY/staff.accord"
        ),
        "--profile one officer list",
        "--profile one staff list",
        "--profile one admin list",
        "--profile one member keys show IT-AGENCY",
        "--profile one admin add a3.claim --out keys-2.accord --yes",
        "--profile one federation show keys-2.accord",
        "--profile two federation sign keys-2.accord --yes",
        "--profile one trust",
        "--profile one staff remove nobody --yes",
        "--profile one staff remove operator_of_the_service_host --yes",
        "--profile one admin remove administrator_2 --yes",
        "--profile one officer suspend liaison_officer --reason laptop_lost --out stop.accord",
        "--profile one officer suspend liaison_officer --reason laptop_lost --out stop.accord --yes",
        "--profile ES-AGENCY/node/operator federation publish stop.accord",
        "--profile one suspend partner FR-AGENCY --reason test --yes",
        "--profile one suspend table no-such-table --reason test --yes",
        "--profile one isolate --reason a_doubt --out isolate.accord --yes",
        "--profile one trust accept IT-AGENCY",
        "--profile one leaver liaison_officer --list",
        "--profile one leaver Somebody --list",
        "--profile one unlock",
        "--profile one federation publish stop.accord",
        "--profile one drill lose-signer",
        "--profile one drill revoke FR",
        "federation sign public/root.accord --ring IT-AGENCY/admin-1/admin.ring --yes",
        "federation show no-such-file.accord",
        "federation propose --with public/federation.accord --suspend IT-AGENCY --out roster-2.accord",
        "federation propose --with public/federation.accord --suspend FR-AGENCY --out roster-2.accord",
        "root propose --with public/federation.accord --threshold 3 --out root-2.accord",
        "join public/roster.accord --node ES-AGENCY/node --admins a3.claim --out x",
        "--profile three enrol public/roster.accord",
    ] {
        transcript.run(line);
    }
    let installed =
        accord_node(&path, &["install", "IT-AGENCY/node", "--federation", &"0".repeat(64), "public/federation.accord"]);
    transcript.text += &format!(
        "$ accord-node install IT-AGENCY/node --federation HASH public/federation.accord\n{}\nexit {}\n",
        masked(&installed.stderr),
        installed.code
    );
    // Nothing asks where there is nobody to answer, and nothing hangs.
    let silent = shell(
        &path,
        &format!("{} admin new b.ring --member ES-AGENCY --name x", accord_tests::program("accord").display()),
        "",
    );
    assert_eq!(silent.code, 2, "{}", silent.stderr);
    expect_file!["golden/administration.txt"].assert_eq(&transcript.text);
}
