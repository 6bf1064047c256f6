//! The ceremony of `docs/administrator.md`, run from the page itself: from nothing to five members and an officer.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use accord_edge::clock::Stopwatch;
use accord_tests::{Running, Said, accord, accord_node, root};
use serde_json::Value;

const MEMBERS: [&str; 5] = ["ES-AGENCY", "IT-AGENCY", "PT-AGENCY", "AT-AGENCY", "DK-AGENCY"];
const ROOT_HOLDERS: usize = 5;

/// Blocks of commands of the page, each with the word that says who runs it.
fn blocks() -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(root().join("docs/administrator.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(who) = line.strip_prefix("```sh ") {
            let commands = lines.by_ref().take_while(|line| !line.starts_with("```")).map(str::to_owned).collect();
            blocks.push((who.to_owned(), commands));
        }
    }
    blocks
}

/// Words of a command line; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The participants' folders, and what they have read out to each other.
struct Ceremony {
    folder: PathBuf,
    federation: String,
    heard: BTreeMap<String, String>,
    nodes: Vec<Running>,
    people: BTreeMap<String, String>,
    commands: usize,
}

impl Ceremony {
    fn run(&mut self, place: &str, line: &str) {
        let folder = self.folder.join(place);
        fs::create_dir_all(&folder).unwrap();
        let mut words = words(&line.replace("FEDERATION", &self.federation));
        let program = words.remove(0);
        for word in &mut words {
            if word == "PEOPLE" {
                word.clone_from(&self.people[place]);
            }
        }
        self.commands += 1;
        let given: Vec<&str> = words.iter().map(String::as_str).collect();
        match program.as_str() {
            "cp" => {
                fs::copy(folder.join(given[0]), folder.join(given[1])).unwrap();
            }
            "accord-node" if given[0] == "run" => {
                let node = Running::start(&folder, given[1]);
                self.people.insert(place.to_owned(), node.people.clone());
                self.nodes.push(node);
            }
            "accord-node" => assert_done(line, &accord_node(&folder, &given)),
            "accord" => self.accord(&folder, line, &given),
            other => panic!("{other}: {line}"),
        }
    }

    // What people type on a terminal is given on the command line here: passphrases are left out, yes is said, and the groups are
    // those that the other side has read out.
    fn accord(&mut self, folder: &Path, line: &str, given: &[&str]) {
        let mut arguments: Vec<String> = given.iter().map(|word| (*word).to_owned()).collect();
        let has = |all: &[&str]| all.iter().all(|word| given.contains(word));
        if has(&["root", "new"]) || has(&["admin", "new"]) || has(&["enrol"]) {
            arguments.push("--unprotected".into());
        }
        let signs = has(&["federation", "sign"]) || has(&["staff", "add"]) || has(&["officer", "add"]);
        if signs {
            arguments.push("--yes".into());
        }
        if signs || has(&["join"]) || has(&["enrol"]) {
            for (what, groups) in &self.heard {
                arguments.extend(["--heard".into(), format!("{what}={groups}")]);
            }
        }
        arguments.push("--json".into());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = accord(folder, &arguments);
        assert_done(line, &said);
        let result: Value = said.json()["result"].clone();
        let groups = |print: &Value| print.as_str().unwrap().split(' ').skip(2).take(2).collect::<Vec<_>>().join(",");
        if has(&["federation", "new"]) {
            result["federation"].as_str().unwrap().clone_into(&mut self.federation);
            self.heard.insert("federation".into(), groups(&result["fingerprint"]));
        }
        if has(&["join"]) {
            self.heard.insert(result["member"].as_str().unwrap().to_owned(), groups(&result["fingerprint"]));
        }
    }
}

fn assert_done(line: &str, said: &Said) {
    assert_eq!(said.code, 0, "{line}\n{}{}", said.stdout, said.stderr);
}

#[test]
fn the_page_leads_from_nothing_to_five_members_and_an_officer() {
    let temporary = tempfile::tempdir().unwrap();
    let mut ceremony = Ceremony {
        folder: temporary.path().to_owned(),
        federation: String::new(),
        heard: BTreeMap::new(),
        nodes: Vec::new(),
        people: BTreeMap::new(),
        commands: 0,
    };
    fs::create_dir_all(temporary.path().join("shared")).unwrap();
    let watch = Stopwatch::start();
    let blocks = blocks();
    assert!(blocks.len() >= 9, "{blocks:?}");
    for (who, lines) in blocks {
        match who.as_str() {
            "root-holder" | "three-root-holders" => {
                let holders = if who == "root-holder" { ROOT_HOLDERS } else { 3 };
                for number in 1..=holders {
                    for line in &lines {
                        let line = line
                            .replace("root holder 1", &format!("root holder {number}"))
                            .replace("root-1.claim", &format!("root-{number}.claim"));
                        ceremony.run(&format!("root-{number}"), &line);
                    }
                }
            }
            "first-root-holder" => {
                for line in &lines {
                    let members = if line.contains("member invite") { MEMBERS.as_slice() } else { &MEMBERS[..1] };
                    for member in members {
                        let line = if line.contains("member invite") {
                            line.replace("ES-AGENCY", member).replace("of ES", &format!("of {}", &member[..2]))
                        } else {
                            line.clone()
                        };
                        ceremony.run("root-1", &line);
                    }
                }
            }
            "member" => {
                for member in MEMBERS {
                    for line in &lines {
                        let line = line.replace("ES-AGENCY", member).replace("of ES", &format!("of {}", &member[..2]));
                        ceremony.run(member, &line);
                    }
                }
            }
            "officer" => {
                for line in &lines {
                    ceremony.run("ES-AGENCY", line);
                }
            }
            other => panic!("nobody knows who `{other}` is"),
        }
    }
    println!("the ceremony took {} commands and {} s, without people", ceremony.commands, watch.ms() / 1000);

    // Everybody knows everybody, and the officer's card came by itself.
    let es = ceremony.folder.join("ES-AGENCY");
    let trust = accord(&es, &["--profile", "ana", "trust", "--json"]);
    let shown = trust.json();
    assert_eq!(shown["result"]["members"].as_array().unwrap().len(), 5, "{}", trust.stdout);
    assert_eq!(shown["result"]["officers"][0]["state"], "active", "{}", trust.stdout);
    assert_eq!(shown["result"]["needs"], serde_json::json!([]), "{}", trust.stdout);
    let list = accord(&es, &["--profile", "admin-2", "officer", "list", "--json"]).json();
    assert_eq!(list["result"]["officers"], serde_json::json!([]), "an administrator learns from files alone");
    assert_done("update", &accord(&es, &["--profile", "admin-2", "trust", "update", "officers.accord"]));
    let list = accord(&es, &["--profile", "admin-2", "officer", "list", "--json"]).json();
    assert_eq!(list["result"]["officers"][0]["name"], "Ana Ruiz", "{list}");
    // The sheet has a page for each root holder and each member.
    let sheet = accord(&es, &["federation", "sheet", "--with", "../shared/roster.accord", "--json"]).json();
    assert_eq!(sheet["result"]["pages"].as_array().unwrap().len(), ROOT_HOLDERS + MEMBERS.len());
}
