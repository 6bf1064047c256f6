//! The way back: undo restores exactly what was there, corrections are versions, an erased case is gone from every file.

use std::{fs, path::Path};

use accord_tests::{Federation, Running, Said};
use serde_json::Value;

const HEADER: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";

fn rows(prefix: &str, from: u32, to: u32, kilograms: &str) -> String {
    (from..to)
        .map(|n| {
            let month = n % 9 + 1;
            format!("{prefix}{n},{prefix}CASE{n},1,2024-0{month}-11,ES30,synthetic,COC,COC_HCL,{kilograms},kg,net\n")
        })
        .collect()
}

struct Stage {
    federation: Federation,
    node: Option<Running>,
}

impl Stage {
    fn new() -> Self {
        let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
        let node = federation.start("ES-AGENCY");
        Self { federation, node: Some(node) }
    }

    fn operator(&self, arguments: &[&str]) -> Said {
        self.federation.operator("ES-AGENCY", &[arguments, &["--json"]].concat())
    }

    fn import(&self, name: &str, text: &str, extra: &[&str]) -> Said {
        fs::write(self.federation.path().join(name), format!("{HEADER}\n{text}")).unwrap();
        self.operator(&[["import", name].as_slice(), extra].concat())
    }

    // Everything that can be answered from: every cell of a preview, coverage, number of lines.
    fn answerable(&self) -> Value {
        let preview = self.operator(&["edition", "preview", "--cells"]).json();
        let status = self.operator(&["status"]).json();
        serde_json::json!([
            preview["result"]["cells"],
            status["result"]["coverage"],
            status["result"]["store"]["lines"]
        ])
    }

    fn restart(&mut self) {
        assert!(self.node.take().unwrap().stop());
        self.node = Some(self.federation.start("ES-AGENCY"));
    }
}

#[test]
fn undo_restores_exactly_what_was_there_also_after_a_correction() {
    let mut stage = Stage::new();
    let before = stage.answerable();
    let id = |said: &Said| said.json()["result"]["import_id"].as_str().unwrap().to_owned();
    let first = stage.import("a.csv", &rows("R", 0, 60, "1.5"), &["--coverage", "2019..2020"]);
    assert_eq!(first.code, 0, "{}", first.stdout);
    let after_first = stage.answerable();
    assert_ne!(before, after_first);
    // Without a reason a changed record is a conflict; with one it takes the place of what was there.
    let changed = rows("R", 0, 30, "2.5");
    assert_eq!(stage.import("b.csv", &changed, &[]).json()["error"]["code"], "R-CONFLICT");
    assert_eq!(stage.answerable(), after_first);
    assert_eq!(stage.import("b.csv", &changed, &["--correct", "x"]).code, 2);
    let correction = stage.import("b.csv", &changed, &["--correct", "weights of the laboratory"]);
    let report = correction.json()["result"].clone();
    assert_eq!((report["rows"]["corrected"].clone(), report["rows"]["new"].clone()), (30.into(), 0.into()), "{report}");
    assert_eq!(report["rests_on"], serde_json::json!([id(&first)]));
    let after_correction = stage.answerable();
    assert_ne!(after_correction, after_first);
    // A file that repeats records rests on them too.
    let repeated =
        stage.import("c.csv", &rows("R", 20, 70, "1.5").replace("1.5,kg", "2.5,kg"), &["--correct", "again"]);
    assert_eq!(repeated.code, 0, "{}", repeated.stdout);
    let refused = stage.operator(&["import", "undo", &id(&first), "--reason", "wrong file"]);
    assert_eq!((refused.code, refused.json()["error"]["code"].clone()), (3, "LATER-IMPORTS".into()));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("{}, {}", id(&repeated), id(&correction))), "{message}");
    stage.restart();
    for (said, want) in [(&repeated, &after_correction), (&correction, &after_first), (&first, &before)] {
        let undone = stage.operator(&["import", "undo", &id(said), "--reason", "wrong file"]);
        assert_eq!(undone.code, 0, "{}", undone.stdout);
        assert_eq!(stage.answerable(), *want, "after the undo of {}", id(said));
    }
    // It is remembered, also over a restart, and a number is not used twice.
    stage.restart();
    assert_eq!(stage.answerable(), before);
    let list = stage.operator(&["import", "list"]).json()["result"]["imports"].clone();
    let states: Vec<&str> = list.as_array().unwrap().iter().map(|import| import["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["in_force", "undone", "undone", "undone"]);
    assert_eq!(list[2]["correction"], "weights of the laboratory");
    assert_eq!(list[1]["undone"]["reason"], "wrong file");
    assert_eq!(stage.operator(&["import", "undo", &id(&first), "--reason", "twice"]).code, 2);
    let again = stage.import("a.csv", &rows("R", 0, 60, "1.5"), &["--coverage", "2019..2020"]);
    assert_eq!(again.json()["result"]["import_id"], "imp-000005");
    assert_eq!(stage.answerable(), after_first);
}

#[test]
fn a_correction_of_what_lines_share_brings_all_lines() {
    let stage = Stage::new();
    let two =
        "R1,K1,1,2024-01-11,ES30,synthetic,COC,COC_HCL,1,kg,net\nR1,K1,2,2024-01-11,ES30,synthetic,HER,,1,kg,net\n";
    assert_eq!(stage.import("a.csv", two, &[]).code, 0);
    let before = stage.answerable();
    let half = "R1,K1,1,2024-02-11,ES30,synthetic,COC,COC_HCL,1,kg,net\n";
    let said = stage.import("b.csv", half, &["--correct", "other day"]);
    assert_eq!(said.json()["error"]["code"], "R-CONFLICT", "{}", said.stdout);
    let rows = &said.json()["result"]["rows"];
    assert_eq!((rows["corrected"].clone(), rows["conflict"].clone()), (0.into(), 1.into()), "{rows}");
    assert_eq!(stage.answerable(), before);
    let whole = two.replace("2024-01-11", "2024-02-11");
    assert_eq!(stage.import("c.csv", &whole, &["--correct", "other day"]).json()["result"]["rows"]["corrected"], 2);
}

// Every file below a folder that holds a text.
fn holds(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holds(&path, needle));
        } else {
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn an_erased_case_is_gone_from_every_answerable_place_and_after_compacting_from_every_file() {
    let mut stage = Stage::new();
    let good = rows("R", 0, 40, "1.5");
    let before = {
        assert_eq!(stage.import("a.csv", &good, &["--coverage", "2024"]).code, 0);
        stage.answerable()
    };
    // The case in two kinds of record, in an earlier version too, and named by another case's sample.
    let victim = "VICTIM-7,Op  Condor,1,2024-04-11,ES30,synthetic,COC,COC_HCL,900,kg,net\n";
    assert_eq!(stage.import("b.csv", victim, &[]).code, 0);
    assert_eq!(stage.import("c.csv", &victim.replace("900", "901"), &["--correct", "weighed again"]).code, 0);
    let purity = "record_id,case_id,date,source,seizure_id,drug,form,purity_percent,below_detection,expressed_as,sampling,origin\n\
                  PV-1,op condor,2024-05-01,synthetic,VICTIM-7,COC,COC_HCL,80,no,base,all,seizure\n\
                  PV-2,other,2024-05-01,synthetic,VICTIM-7,COC,COC_HCL,80,no,base,all,seizure\n";
    fs::write(stage.federation.path().join("p.csv"), purity).unwrap();
    assert_eq!(stage.operator(&["import", "p.csv", "--kind", "purity"]).code, 0);
    let published = stage.operator(&["edition", "publish"]).json()["result"]["edition"].as_u64().unwrap();
    assert_eq!(holds(&stage.federation.path().join("ES-AGENCY/node/store"), "VICTIM-7").len(), 1);
    let shown = stage.operator(&["case", "show", "OP CONDOR"]).json()["result"].clone();
    assert_eq!((shown["records"].clone(), shown["lines"].clone()), (2.into(), 3.into()), "{shown}");
    assert_eq!(shown["kinds"], serde_json::json!({"seizure": 1, "purity": 1}));
    assert_eq!(shown["editions"], serde_json::json!([published]));
    assert_eq!(stage.operator(&["case", "erase", "op condor", "--authority", "order 12/2026"]).code, 2, "unconfirmed");
    assert_eq!(stage.operator(&["case", "erase", "nobody", "--authority", "order 12/2026", "--yes"]).code, 2);
    let erased = stage.operator(&["case", "erase", "op condor", "--authority", "order 12/2026", "--yes"]);
    assert_eq!(erased.code, 0, "{}", erased.stdout);
    assert!(erased.json()["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "EDITIONS"));
    assert_eq!(stage.operator(&["case", "show", "op condor"]).json()["result"]["records"], 0);
    let cells = |value: &Value| value[0].clone();
    assert_eq!(cells(&stage.answerable()), cells(&before), "no cell counts it any more");
    // Undoing the correction does not bring an earlier version back.
    assert_eq!(stage.operator(&["import", "undo", "imp-000004", "--reason", "try"]).code, 0);
    assert_eq!(stage.operator(&["case", "show", "op condor"]).json()["result"]["records"], 0);
    assert_eq!(stage.operator(&["compact"]).code, 0);
    for needle in ["VICTIM-7", "op condor", "Op  Condor", "PV-1"] {
        assert_eq!(holds(&stage.federation.path().join("ES-AGENCY/node"), needle), Vec::<String>::new(), "{needle}");
    }
    assert_eq!(cells(&stage.answerable()), cells(&before));
    stage.restart();
    assert_eq!(cells(&stage.answerable()), cells(&before), "the copy is the store now");
    // The file that still names the erased seizure neither conflicts nor brings its id back.
    let rest: Vec<&str> = purity.lines().filter(|line| !line.trim_start().starts_with("PV-1")).collect();
    fs::write(stage.federation.path().join("rest.csv"), rest.join("\n")).unwrap();
    let said = stage.operator(&["import", "rest.csv", "--kind", "purity"]);
    assert_eq!((said.code, said.json()["result"]["rows"]["unchanged"].clone()), (0, 1.into()), "{}", said.stdout);
    assert_eq!(holds(&stage.federation.path().join("ES-AGENCY/node"), "VICTIM-7"), Vec::<String>::new());
    assert_eq!(stage.operator(&["import", "b.csv"]).json()["result"]["rows"]["new"], 1);
}

#[test]
fn a_kill_during_a_compaction_leaves_a_whole_store() {
    let stage = Stage::new();
    assert_eq!(stage.import("a.csv", &rows("R", 0, 20_000, "1.5"), &["--coverage", "2024"]).code, 0);
    let want = stage.answerable();
    let Stage { federation, node } = stage;
    drop(node);
    let rounds: u64 = std::env::var("ACCORD_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for round in 0..rounds {
        let node = federation.start("ES-AGENCY");
        let mut tool = std::process::Command::new(accord_tests::program("accord"))
            .args(["--profile", "ES-AGENCY/node/operator", "compact", "--json"])
            .current_dir(federation.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + round * 60));
        node.kill();
        tool.kill().unwrap();
        tool.wait().unwrap();
        let again = Stage { node: Some(federation.start("ES-AGENCY")), federation: Federation::reopen(&federation) };
        assert_eq!(again.answerable(), want, "round {round}");
        let left: Vec<_> = fs::read_dir(federation.path().join("ES-AGENCY/node/store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("fresh"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_kill_during_an_undo_or_an_erasure_leaves_all_or_nothing() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let lines = |federation: &Federation| {
        let status = federation.operator("ES-AGENCY", &["status", "--json"]).json();
        status["result"]["store"]["lines"].as_u64().unwrap()
    };
    let many = rows("R", 0, 15_000, "1.5");
    // One case in every other row, so that erasing it rewrites every block.
    let one_case: String = (0..15_000)
        .map(|n| {
            let case = if n % 2 == 0 { "BIG".to_owned() } else { format!("C{n}") };
            format!("S{n},{case},1,2024-01-11,ES30,synthetic,COC,COC_HCL,1,kg,net\n")
        })
        .collect();
    let rounds: u64 = std::env::var("ACCORD_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for round in 0..rounds {
        let node = federation.start("ES-AGENCY");
        let before = lines(&federation);
        let (text, gone, command): (_, _, &[&str]) = if round % 2 == 0 {
            (&many, 15_000, &["import", "undo", "ID", "--reason", "crash test"])
        } else {
            (&one_case, 7_500, &["case", "erase", "BIG", "--authority", "crash test", "--yes"])
        };
        fs::write(federation.path().join("k.csv"), format!("{HEADER}\n{text}")).unwrap();
        let import = federation.operator("ES-AGENCY", &["import", "k.csv", "--json"]).json();
        let id = import["result"]["import_id"].as_str().unwrap().to_owned();
        let full = lines(&federation);
        let command: Vec<&str> = command.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
        let mut tool = std::process::Command::new(accord_tests::program("accord"))
            .args([["--profile", "ES-AGENCY/node/operator", "--json"].as_slice(), &command].concat())
            .current_dir(federation.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30 + round / 2 * 90));
        node.kill();
        tool.kill().unwrap();
        tool.wait().unwrap();
        let node = federation.start("ES-AGENCY");
        let after = lines(&federation);
        assert!(after == full || after == full - gone, "round {round}: {after} of {full}, {gone} to go");
        // Whatever it was, the way is open: the rest is taken away and the start is there again.
        if after == full {
            let said = federation.operator("ES-AGENCY", &[command.as_slice(), &["--json"]].concat());
            assert_eq!(said.code, 0, "{}", said.stdout);
        }
        if round % 2 == 1 {
            let said = federation.operator("ES-AGENCY", &["import", "undo", &id, "--reason", "crash test", "--json"]);
            assert_eq!(said.code, 0, "{}", said.stdout);
        }
        assert_eq!(lines(&federation), before, "round {round}");
        assert!(node.stop());
    }
}

#[test]
fn a_withdrawn_edition_is_refused_and_those_who_received_it_are_told() {
    let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
    let nodes = federation.start_all();
    let ask = |extra: &[&str]| {
        federation.officer(
            &[["ask", "seizures-year-drug", "--from", "IT-AGENCY", "--period", "2023", "--json"].as_slice(), extra]
                .concat(),
        )
    };
    assert_eq!(ask(&[]).code, 0);
    let provider = |arguments: &[&str]| federation.operator("IT-AGENCY", &[arguments, &["--json"]].concat());
    assert_eq!(provider(&["edition", "withdraw", "9", "--reason", "wrong"]).code, 2);
    let said = provider(&["edition", "withdraw", "1", "--reason", "grams were read as kilograms"]).json();
    assert_eq!(said["result"]["told"], serde_json::json!(["ES-AGENCY"]), "{said}");
    let refused = ask(&[]);
    assert_eq!((refused.code, refused.json()["error"]["code"].clone()), (3, "E_EDITION".into()));
    assert_eq!(ask(&["--edition", "1"]).code, 3);
    // The same content is not published again; another one is.
    assert_eq!(provider(&["edition", "publish"]).json()["error"]["code"], "WITHDRAWN");
    let list = provider(&["edition", "list"]).json();
    assert_eq!(list["result"]["editions"][0]["state"], "withdrawn");
    // Within seconds the other node knows; its officer's tool believes the signature alone.
    let mut told = false;
    for _ in 0..60 {
        let history = federation.officer(&["history", "list", "--check", "--json"]).json();
        let answers = history["result"]["answers"].as_array().unwrap().clone();
        told = answers.iter().any(|answer| answer["withdrawn"] == serde_json::json!(["IT-AGENCY"]));
        if told {
            assert_eq!(history["exit"], 1);
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    assert!(told, "the withdrawal did not arrive");
    drop(nodes);
    // What was answered stays with its evidence, without any node.
    let offline = federation.officer(&["history", "list", "--json"]).json();
    let answers = offline["result"]["answers"].as_array().unwrap();
    // The demo has asked too, for more years.
    let shows = |id: &str| federation.officer(&["history", "show", id]).stdout.contains("seizures-year-drug 2023,");
    let withdrawn = answers.iter().filter(|answer| answer["withdrawn"] == serde_json::json!(["IT-AGENCY"]));
    let id = withdrawn.map(|answer| answer["id"].as_str().unwrap()).find(|id| shows(id)).unwrap();
    assert_eq!(federation.officer(&["history", "verify", id, "--json"]).json()["result"]["verified"], true);
    assert_eq!(federation.officer(&["history", "remove", id]).code, 0);
    assert_eq!(federation.officer(&["history", "show", id]).code, 2);
}
