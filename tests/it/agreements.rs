//! What takes two people: making published years anew, showing a number that is public anyway; and what one person cannot do.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use accord_tests::Said;
use serde_json::{Value, json};

use crate::audited::{HEADER, Stage, codes, rows};

const ES: &str = "ES-AGENCY";

impl Stage {
    // A year of records, published; with a second person.
    fn with_approver(records: &str) -> Self {
        let stage = Self::new();
        stage.import("a.csv", records, "2024");
        assert_eq!(stage.publish().0["result"]["edition"], 1);
        stage.federation.hire(ES, "approver", "approver");
        stage
    }

    fn approver(&self, arguments: &[&str]) -> Said {
        self.federation.as_colleague("approver", &[arguments, &["--json"]].concat())
    }

    // Corrects some lines of the first month: their drug was another.
    fn correct_lines(&self, name: &str, many: usize) {
        let records = rows("A", 1..=1, 30);
        let lines: Vec<String> = records
            .lines()
            .filter(|line| line.contains("COC_HCL"))
            .take(many)
            .map(|line| line.replace("COC,COC_HCL", "HER,HER_HEROIN_U"))
            .collect();
        fs::write(self.federation.path().join(name), format!("{HEADER}\n{}\n", lines.join("\n"))).unwrap();
        done(&self.operator(&["import", name, "--correct", "the laboratory says heroin"]));
    }

    // Corrects the amount of a line of the sixth month.
    fn reweigh(&self, name: &str, round: u32) {
        let records = rows("A", 6..=6, 2);
        let line = records.lines().last().unwrap().replace(",1.1,kg", &format!(",1.{round}5,kg"));
        fs::write(self.federation.path().join(name), format!("{HEADER}\n{line}\n")).unwrap();
        done(&self.operator(&["import", name, "--correct", "weighed again"]));
    }

    fn propose(&self) -> String {
        let said = self.operator(&["edition", "correct", "seizure", "2024", "--reason", "wrong drug", "--yes"]);
        done(&said)["proposal"].as_str().unwrap().to_owned()
    }

    fn states(&self) -> Vec<(u64, String)> {
        let list = done(&self.operator(&["edition", "list"]));
        let row = |row: &Value| (row["edition"].as_u64().unwrap(), row["state"].as_str().unwrap().to_owned());
        list["editions"].as_array().unwrap().iter().map(row).collect()
    }

    fn state_of(&self, id: &str) -> String {
        done(&self.operator(&["edition", "proposals", id]))["state"].as_str().unwrap().to_owned()
    }
}

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn refused(said: &Said) -> (i32, String) {
    (said.code, said.json()["error"]["code"].as_str().unwrap_or("").to_owned())
}

fn is(code: i32, word: &str) -> (i32, String) {
    (code, word.to_owned())
}

#[test]
fn a_correction_takes_two_people() {
    let mut stage = Stage::with_approver(&rows("A", 1..=12, 30));
    let correct = |stage: &Stage, arguments: &[&str]| {
        stage.operator(&[["edition", "correct"].as_slice(), arguments, &["--reason", "wrong drug"]].concat())
    };
    // Without a change there is nothing to agree on.
    assert_eq!(refused(&correct(&stage, &["seizure", "2024", "--yes"])), is(2, "NOTHING"));
    stage.correct_lines("fix.csv", 2);
    let (kept, _) = stage.publish();
    assert_eq!(codes(&kept), ["UNCHANGED", "KEPT"]);
    for (arguments, code) in [
        (["seizures", "2024", "--yes"], "KIND"),
        (["seizure", "2019", "--yes"], "NO-YEAR"),
        (["price", "2024", "--yes"], "NO-YEAR"),
        (["seizure", "2024..2020", "--yes"], "YEARS"),
        (["seizure", "last year", "--yes"], "YEARS"),
    ] {
        assert_eq!(refused(&correct(&stage, &arguments)), is(2, code), "{arguments:?}");
    }
    assert_eq!(refused(&correct(&stage, &["seizure", "2024"])), is(2, "CONFIRM"));
    let proposal = ["edition", "correct", "seizure", "2024", "--reason", "wrong drug", "--yes"];
    assert_eq!(refused(&stage.approver(&proposal)), is(3, "ROLE"));
    // Looking leaves nothing behind.
    let look = done(&correct(&stage, &["seizure", "2024", "--dry-run"]));
    assert_eq!(look["state"], "not_proposed");
    assert_eq!(look["difference"]["years"][0]["lines_added"], 2);
    let told = look["difference"]["discloses"].as_array().unwrap();
    assert!(told.iter().all(|of| of["cases"].as_u64() < Some(5) || of["measure"] == "quantity_mg"), "{told:?}");
    assert!(told.iter().any(|of| of["key"] == json!({ "time": "2024", "drug": "COC" })), "{told:?}");
    assert_eq!(done(&stage.operator(&["edition", "proposals"]))["proposals"], json!([]));
    // The first person proposes, and cannot agree with themselves, nor does it change anything.
    let id = stage.propose();
    assert_eq!(refused(&stage.operator(&["edition", "agree", &id, "--yes"])), is(3, "SAME-PERSON"));
    for what in [&["agree", "0123456789abcdef", "--yes"], &["reject", "0123456789abcdef", "--reason=no such thing"]] {
        let said = stage.approver(&[["edition"].as_slice(), what].concat());
        assert_eq!(refused(&said), is(2, "NO-PROPOSAL"), "{what:?}");
    }
    assert_eq!(stage.states(), [(1, "current".to_owned())]);
    // It outlives the node.
    assert!(stage.node.take().unwrap().stop());
    stage.node = Some(stage.federation.start(ES));
    assert_eq!(stage.state_of(&id), "open");
    // What was agreed on is this difference and no other.
    stage.correct_lines("more.csv", 3);
    assert_eq!(refused(&stage.approver(&["edition", "agree", &id, "--yes"])), is(3, "CHANGED"));
    assert_eq!((stage.states(), stage.state_of(&id)), (vec![(1, "current".to_owned())], "open".to_owned()));
    let imports = done(&stage.operator(&["import", "list"]));
    let last = imports["imports"].as_array().unwrap().last().unwrap()["import_id"].as_str().unwrap().to_owned();
    done(&stage.operator(&["import", "undo", &last, "--reason", "not yet"]));
    let agreed = stage.approver(&["edition", "agree", &id, "--yes"]);
    let result = done(&agreed);
    assert_eq!((&result["edition"], &result["withdrawn_editions"]), (&json!(2), &json!([1])));
    assert_eq!(result["agreed"]["signed_by"].as_array().unwrap().len(), 2);
    assert_eq!(codes(&agreed.json()), ["CORRECTED", "WITHDRAWN"]);
    assert_eq!(stage.states(), [(1, "withdrawn".to_owned()), (2, "current".to_owned())]);
    assert_eq!(refused(&stage.approver(&["edition", "agree", &id, "--yes"])), is(3, "NOT-OPEN"));
    // It is what was shown: two seizures of cocaine less, and nothing that was hidden.
    let diff = done(&stage.operator(&["edition", "diff", "1", "2", "--cells"]));
    let tables = diff["tables"].as_array().unwrap();
    assert!(tables.iter().all(|of| of["shown"] == 0 && of["gone"] == 0), "{tables:?}");
    let cocaine = diff["cells"].as_array().unwrap().iter();
    let cocaine = cocaine.clone().find(|cell| cell["key"] == json!({ "time": "2024", "drug": "COC" })).unwrap();
    let says = |end: &str| cocaine["values"]["seizures"][end]["value"].as_u64().unwrap();
    assert_eq!(says("to") + 2, says("from"));
    // The next edition goes on from it.
    assert_eq!(codes(&stage.publish().0), ["UNCHANGED"]);
    stage.correct_lines("again.csv", 4);
    let id = stage.propose();
    assert_eq!(refused(&stage.approver(&["edition", "reject", &id, "--reason", "x"])), is(2, "REASON"));
    assert_eq!(done(&stage.approver(&["edition", "reject", &id, "--reason", "not sure"]))["state"], "rejected");
    assert_eq!(refused(&stage.approver(&["edition", "agree", &id, "--yes"])), is(3, "NOT-OPEN"));
    let id = stage.propose();
    assert_eq!(done(&stage.approver(&["edition", "agree", &id, "--yes"]))["edition"], 3);
    let listed = done(&stage.operator(&["edition", "proposals"]));
    let listed: Vec<&str> =
        listed["proposals"].as_array().unwrap().iter().map(|of| of["state"].as_str().unwrap()).collect();
    assert_eq!(listed, ["done", "rejected", "done"]);
}

// Lowering the threshold shows more of a published year only if two people agree.
#[test]
fn weaker_rules_for_a_published_year_take_two_people() {
    let mut stage = Stage::with_approver(&rows("A", 1..=12, 12));
    let (_, shown) = stage.publish();
    stage.restart_with("k = 5", "k = 3");
    let (kept, same) = stage.publish();
    assert_eq!((codes(&kept), &same), (vec!["UNCHANGED", "KEPT"], &shown));
    let said = stage.operator(&["edition", "correct", "seizure", "2024", "--reason", "the new rules", "--yes"]);
    let proposed = done(&said);
    assert_eq!(
        (&proposed["difference"]["rules"]["from"]["k"], &proposed["difference"]["rules"]["to"]["k"]),
        (&json!(5), &json!(3))
    );
    let id = proposed["proposal"].as_str().unwrap();
    done(&stage.approver(&["edition", "agree", id, "--yes"]));
    let (_, more) = stage.publish();
    assert!(more.len() > shown.len(), "{} of {}", more.len(), shown.len());
    assert!(shown.iter().all(|(key, value)| more.get(key) == Some(value)), "no number says anything else");
}

#[test]
fn a_number_that_is_public_anyway_is_shown_with_its_source() {
    let stage = Stage::with_approver(&rows("A", 1..=12, 30));
    let waive = |cell: &str, more: &[&str]| {
        let named = ["edition", "waive", "--cell", cell, "--public-source", "annual report 2024, page 12"];
        stage.operator(&[named.as_slice(), more].concat())
    };
    for (cell, code) in [
        ("seizures-year-drug", (2, "CELL")),
        ("seizures:time=2024", (2, "UNKNOWN-TABLE")),
        ("seizures-year-drug:drug=AMP", (2, "CELL")),
        ("seizures-year-drug:time=2024,drug=AMPHETAMINES", (2, "CELL")),
        ("seizures-year-drug:time=2024,region=ES30", (2, "CELL")),
        ("seizures-year-drug:time=2019,drug=AMP", (2, "NO-YEAR")),
        ("seizures-year-drug:time=2024", (2, "SHOWN")),
        ("cases-year-drug-pair:time=2024,pair=AMP+COC", (2, "CELL")),
    ] {
        assert_eq!(refused(&waive(cell, &["--yes"])), is(code.0, code.1), "{cell}");
    }
    // An amount is not shown without the number of its seizures.
    let lsd = "seizures-year-drug:time=2024,drug=LSD";
    assert_eq!(refused(&waive(lsd, &["--measure", "quantity_mg", "--yes"])), is(3, "NOT-PROTECTABLE"));
    let both = waive(lsd, &["--measure", "seizures", "--measure", "quantity_mg", "--dry-run"]);
    let values = done(&both)["cell"]["values"].clone();
    assert_eq!((&values["seizures"], &values["quantity_mg"]), (&json!(0), &json!(0)), "{values}");
    // That no LSD was seized in the year stands in a report.
    let cell = "seizures-year-drug:time=2024,drug=LSD";
    let proposed = done(&waive(cell, &["--yes"]));
    assert_eq!(proposed["cell"]["values"]["seizures"], 0, "{proposed}");
    let id = proposed["proposal"].as_str().unwrap().to_owned();
    assert_eq!(refused(&stage.operator(&["edition", "agree", &id, "--yes"])), is(3, "SAME-PERSON"));
    let agreed = done(&stage.approver(&["edition", "agree", &id, "--yes"]));
    assert_eq!((&agreed["edition"], &agreed["withdrawn_editions"]), (&json!(2), &json!([])));
    let note = &agreed["footnotes"][0];
    assert_eq!(note["public_source"], "annual report 2024, page 12");
    assert_eq!(note["key"], json!({ "time": "2024", "drug": "LSD" }));
    // It is shown wherever it stands, and nothing else is: its months, regions and quantity stay hidden.
    let diff = done(&stage.operator(&["edition", "diff", "1", "2", "--cells"]));
    let shown: Vec<(String, String)> = diff["cells"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|cell| {
            let key: Vec<&str> = cell["key"].as_object().unwrap().values().map(|code| code.as_str().unwrap()).collect();
            let values = cell["values"].as_object().unwrap().iter();
            values
                .map(move |(measure, change)| (key.join(" "), format!("{measure} {}", change["to"]["value"])))
                .collect::<Vec<_>>()
        })
        .collect();
    let is_it = |(key, says): &(String, String)| {
        (key == "2024 LSD" || key == "2024 LSD _T") && (says == "seizures 0" || says == "seizures_weighed 0")
    };
    assert!(shown.len() > 2 && shown.iter().all(is_it), "{shown:?}");
    // When the records say something else, that is no public number.
    let more = "G1,GK1,1,2024-10-07,ES30,synthetic,LSD_LSD,,2.5,kg,net\n";
    stage.import("late.csv", more, "2024");
    assert_eq!(codes(&stage.publish().0), ["UNCHANGED", "KEPT"]);
    let id = stage.propose();
    let anew = done(&stage.approver(&["edition", "agree", &id, "--yes"]));
    assert_eq!(anew["footnotes"], json!([]));
    let cells = done(&stage.operator(&["edition", "show", "--cells", "--table", "seizures-year-drug"]));
    let cell = cells["cells"].as_array().unwrap().iter();
    let cell = cell.clone().find(|cell| cell["key"] == json!({ "time": "2024", "drug": "LSD" })).unwrap();
    assert_eq!(cell["values"]["seizures"], json!({ "state": "suppressed", "reason": "too_few_cases" }));
}

// Whoever only looks after the records of what was done proposes nothing; of what waits there is no more than people can read; and a year
// is not made anew for ever.
#[test]
fn proposals_have_bounds() {
    let stage = Stage::with_approver(&rows("A", 1..=12, 12));
    stage.federation.hire(ES, "auditor", "auditor");
    let auditor = |arguments: &[&str]| stage.federation.as_colleague("auditor", &[arguments, &["--json"]].concat());
    stage.correct_lines("fix-0.csv", 1);
    let correct = ["edition", "correct", "seizure", "2024", "--reason", "wrong drug", "--yes"];
    assert_eq!(refused(&auditor(&correct)), is(3, "ROLE"));
    let mut ids: Vec<String> = (0..16).map(|_| stage.propose()).collect();
    assert_eq!(refused(&auditor(&["edition", "agree", &ids[0], "--yes"])), is(3, "ROLE"));
    assert_eq!(refused(&stage.operator(&correct)), is(3, "PROPOSALS"));
    let last = ids.pop().unwrap();
    done(&stage.approver(&["edition", "reject", &last, "--reason", "once is enough"]));
    ids.push(stage.propose());
    // One is done: the others were for an edition that is the latest no more.
    done(&stage.approver(&["edition", "agree", &ids[0], "--yes"]));
    let listed = done(&stage.operator(&["edition", "proposals"]));
    let states = listed["proposals"].as_array().unwrap().iter().map(|of| of["state"].as_str().unwrap());
    let count = |state: &str| states.clone().filter(|of| *of == state).count();
    assert_eq!((count("done"), count("rejected"), count("outdated")), (1, 1, 15));
    assert_eq!(refused(&stage.approver(&["edition", "agree", &ids[1], "--yes"])), is(3, "NOT-OPEN"));
    let agree = |what: &str| {
        let id = stage.propose();
        let difference = done(&stage.operator(&["edition", "proposals", &id]))["difference"].clone();
        done(&stage.approver(&["edition", "agree", &id, "--yes"]));
        let narrows = difference["years"][0]["narrows"].as_u64().unwrap();
        assert_eq!(
            difference["narrows"].as_array().unwrap().len(),
            usize::try_from(narrows).unwrap().min(200),
            "{what}"
        );
        (narrows, difference["narrows"][0].clone())
    };
    // Where the editions before tell more than what changed, people are told which numbers before they sign.
    for many in 2..=4 {
        stage.correct_lines(&format!("fix-{many}.csv"), many);
        let (narrows, first) = agree(&format!("{many} lines"));
        assert_eq!(narrows > 0, many == 4, "{many}: {narrows}");
        let named = ["table", "key", "measure"].map(|field| !first[field].is_null());
        assert_eq!(named, [many == 4; 3], "{first}");
    }
    // From there on its state and seven others are known, and that is the end of it.
    for round in 1..=8 {
        stage.reweigh(&format!("weight-{round}.csv"), round);
        if round < 8 {
            assert_eq!(agree(&format!("weight {round}")).0, 0);
        }
    }
    assert_eq!(refused(&stage.operator(&correct)), is(3, "VINTAGES"));
    assert_eq!(codes(&stage.publish().0), ["UNCHANGED", "KEPT"]);
}

// Killed at any moment, it is done or not: never published without the withdrawal, nor withdrawn without an edition.
#[test]
fn what_is_agreed_on_is_done_whole_or_not_at_all() {
    let mut stage = Stage::with_approver(&rows("A", 1..=12, 12));
    for (round, wait_ms) in [150, 900, 1_700, 2_500, 4_000].into_iter().enumerate() {
        stage.correct_lines(&format!("fix-{round}.csv"), round + 1);
        let before = stage.states();
        let id = stage.propose();
        let mut tool = Command::new(accord_tests::program("accord"))
            .args(["--profile", "approver", "edition", "agree", &id, "--yes"])
            .current_dir(stage.federation.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        stage.node.take().unwrap().kill();
        tool.kill().unwrap();
        tool.wait().unwrap();
        stage.node = Some(stage.federation.start(ES));
        let (after, course) = (stage.states(), stage.state_of(&id));
        match course.as_str() {
            "open" => {
                assert_eq!(after, before, "round {round}");
                done(&stage.approver(&["edition", "agree", &id, "--yes"]));
            }
            "done" => {}
            other => panic!("round {round}: {other}"),
        }
        let current = u64::try_from(round).unwrap() + 2;
        let now = stage.states();
        assert_eq!(now.last(), Some(&(current, "current".to_owned())), "round {round}");
        assert!(now.iter().rev().skip(1).all(|(_, state)| state == "withdrawn"), "round {round}: {now:?}");
    }
}
