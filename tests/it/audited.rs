//! Editions that are protected and audited, through real processes: what they show, and what stays when records change.

use std::{collections::BTreeMap, fs};

use accord_tests::{Federation, Running, Said};
use serde_json::Value;

pub(crate) const HEADER: &str = "record_id,case_id,line,date,nuts,source,drug,form,amount,unit,quantity_kind";

pub(crate) struct Stage {
    pub(crate) federation: Federation,
    pub(crate) node: Option<Running>,
}

impl Stage {
    // A member with an empty store, whose editions are audited.
    pub(crate) fn new() -> Self {
        let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY"]);
        let folder = federation.path().join("ES-AGENCY/node");
        fs::remove_dir_all(folder.join("store")).unwrap();
        federation.edit("ES-AGENCY/node/node.toml", "accept_primary_only = true", "accept_primary_only = false");
        let node = federation.start("ES-AGENCY");
        Self { federation, node: Some(node) }
    }

    pub(crate) fn restart_with(&mut self, from: &str, to: &str) {
        assert!(self.node.take().unwrap().stop());
        self.federation.edit("ES-AGENCY/node/node.toml", from, to);
        self.node = Some(self.federation.start("ES-AGENCY"));
    }

    pub(crate) fn operator(&self, arguments: &[&str]) -> Said {
        self.federation.operator("ES-AGENCY", &[arguments, &["--json"]].concat())
    }

    pub(crate) fn import(&self, name: &str, rows: &str, coverage: &str) {
        fs::write(self.federation.path().join(name), format!("{HEADER}\n{rows}")).unwrap();
        let said = self.operator(&["import", name, "--coverage", coverage]);
        assert_eq!(said.code, 0, "{}", said.stdout);
    }

    // The reply, and the numbers of seizures that the edition shows, by period and drug.
    pub(crate) fn publish(&self) -> (Value, BTreeMap<(String, String), Value>) {
        let said = self.operator(&["edition", "publish"]);
        assert_eq!(said.code, 0, "{}", said.stdout);
        let show = self.operator(&["edition", "show", "--cells", "--table", "seizures-year-drug"]).json();
        let cells = show["result"]["cells"].as_array().unwrap();
        let shown = cells.iter().filter_map(|cell| {
            let value = cell["values"]["seizures"]["value"].clone();
            let key = |name: &str| cell["key"][name].as_str().unwrap().to_owned();
            (!value.is_null()).then(|| ((key("time"), key("drug")), value))
        });
        (said.json(), shown.collect())
    }
}

// Seizures of cocaine and heroin in months of 2024, each a case of its own.
pub(crate) fn rows(name: &str, months: std::ops::RangeInclusive<u32>, a_month: u32) -> String {
    months
        .flat_map(|month| (0..a_month).map(move |n| (month, n)))
        .map(|(month, n)| {
            let region = if n % 2 == 0 { "ES30" } else { "ES51" };
            let (drug, form) = if n % 3 == 0 { ("HER", "HER_HEROIN_U") } else { ("COC", "COC_HCL") };
            format!("{name}{month}x{n},{name}K{month}x{n},1,2024-{month:02}-{:02},{region},synthetic,{drug},{form},1.{n},kg,net\n",
                n % 27 + 1
            )
        })
        .collect()
}

pub(crate) fn codes(reply: &Value) -> Vec<&str> {
    reply["warnings"].as_array().unwrap().iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

#[test]
fn an_audited_edition_goes_on_from_what_was_published() {
    let mut stage = Stage::new();
    stage.import("a.csv", &rows("A", 1..=6, 30), "2024-01..2024-06");
    let (first, shown) = stage.publish();
    assert_eq!(first["result"]["protection"], "audited");
    let audit = &first["result"]["audit"];
    assert!(audit["protected"].as_u64().unwrap() > 1000, "{audit}");
    assert!(first["warnings"].as_array().unwrap().is_empty(), "{}", first["warnings"]);
    assert!(!shown.is_empty(), "something is shown");
    // The same records: no new edition, and nothing is worked out again.
    let (again, same) = stage.publish();
    assert_eq!((&again["result"]["edition"], &same), (&first["result"]["edition"], &shown));
    // New months are added to what stands.
    stage.import("b.csv", &rows("B", 7..=12, 30), "2024-07..2024-12");
    let (second, more) = stage.publish();
    assert_eq!(second["result"]["edition"], 2);
    for (key, value) in &shown {
        assert_eq!(more.get(key), Some(value), "{key:?}");
    }
    assert!(more.len() > shown.len(), "the new months show something");
    assert!(more.contains_key(&("2024".into(), "_T".into())), "the year's total is complete now");
    // One late record changes nothing that is published, and the operator is told.
    let total = |shown: &BTreeMap<(String, String), Value>| shown[&("2024".into(), "_T".into())].as_u64().unwrap();
    stage.import("c.csv", &rows("C", 3..=3, 1), "2024");
    let (third, late) = stage.publish();
    assert_eq!(late, more);
    assert_eq!(codes(&third), ["UNCHANGED", "KEPT"]);
    // With twenty more the block is revised: what is put right says what the records say, what is not says what it said.
    stage.import("d.csv", &rows("D", 3..=3, 20), "2024");
    let (fourth, revised) = stage.publish();
    assert_eq!((&fourth["result"]["edition"], codes(&fourth)), (&3.into(), vec!["REVISED"]));
    assert_eq!(fourth["result"]["vintages"], serde_json::json!([{ "kind": "seizure", "year": 2024, "vintage": 2 }]));
    assert_eq!(total(&revised), total(&more) + 21);
    assert!(revised.keys().all(|key| more.contains_key(key)), "what was hidden stays hidden");
    let stays = more.iter().filter(|(key, value)| revised.get(*key) == Some(*value)).count();
    assert!(stays > 10, "other months stay: {stays}");
    for ((time, drug), value) in revised.iter().filter(|(key, _)| more.get(*key) != revised.get(*key)) {
        let added = value.as_u64().unwrap() - more[&(time.clone(), drug.clone())].as_u64().unwrap();
        assert!(added >= 5, "{time} {drug}: {added}");
    }
    // The operator can see what anybody who has both editions sees.
    let diff = stage.operator(&["edition", "diff", "2", "3", "--table", "seizures-year-drug", "--cells"]).json();
    let of_table = &diff["result"]["tables"][0];
    assert!(of_table["changed"].as_u64().unwrap() > 0 && of_table["same"].as_u64().unwrap() > 0, "{of_table}");
    assert_eq!(["shown", "hidden", "added", "gone"].map(|what| of_table[what].as_u64()), [Some(0); 4]);
    let year = diff["result"]["cells"].as_array().unwrap().iter();
    let year = year.clone().find(|cell| cell["key"] == serde_json::json!({ "time": "2024", "drug": "_T" })).unwrap();
    let seizures = &year["values"]["seizures"];
    assert_eq!(seizures["to"]["value"].as_u64().unwrap() - seizures["from"]["value"].as_u64().unwrap(), 21);
    // What was hidden in two vintages is not shown because one of them is public: whoever has both would know it for the other.
    let hidden =
        ["edition", "waive", "--cell", "seizures-year-drug:time=2024,drug=LSD", "--public-source", "a report", "--yes"];
    let said = stage.operator(&hidden);
    assert_eq!((said.code, said.json()["error"]["code"].clone()), (3, "REVISED".into()));
    let text = stage.federation.operator("ES-AGENCY", &["edition", "diff", "2", "3"]);
    assert!(text.stdout.starts_with("edition 2 to edition 3 of ES-AGENCY, numbers"), "{}", text.stdout);
    let said = stage.operator(&["edition", "diff", "2", "9"]);
    assert_eq!((said.code, said.json()["error"]["code"].clone()), (2, "NO-EDITION".into()));
    // A case that is erased is one change: its numbers stay, until so much else has changed that it cannot be told.
    assert_eq!(stage.operator(&["case", "erase", "CK3x0", "--authority", "order 12/2026", "--yes"]).code, 0);
    let (erased, same) = stage.publish();
    assert_eq!((codes(&erased), &same), (vec!["UNCHANGED", "KEPT"], &revised));
    // Nor is anything seen if what came is taken away again: that is no change to the first vintage.
    assert_eq!(stage.operator(&["import", "undo", "imp-000004", "--reason", "wrong file"]).code, 0);
    let (undone, same) = stage.publish();
    assert_eq!((codes(&undone), &same), (vec!["UNCHANGED", "KEPT"], &revised));
    // What is put right next is the third vintage, and the last.
    stage.import("e.csv", &rows("E", 3..=3, 30), "2024");
    let (fifth, third) = stage.publish();
    assert_eq!((codes(&fifth), total(&third)), (vec!["REVISED"], total(&more) + 30));
    stage.import("f.csv", &rows("F", 3..=3, 20), "2024");
    let (sixth, last) = stage.publish();
    assert_eq!((codes(&sixth), &last), (vec!["UNCHANGED", "KEPT"], &third));
    assert!(sixth["warnings"][1]["message"].as_str().unwrap().contains("final"), "{sixth}");
    // Nor does a withdrawal open the way: that takes two people.
    assert_eq!(stage.operator(&["edition", "withdraw", "4", "--reason", "late records"]).code, 0);
    let said = stage.operator(&["edition", "publish"]);
    assert_eq!((said.code, said.json()["error"]["code"].clone()), (3, "WITHDRAWN".into()), "{}", said.stdout);
    stage.federation.hire("ES-AGENCY", "approver", "approver");
    let proposed = stage.operator(&["edition", "correct", "seizure", "2024", "--reason", "late records", "--yes"]);
    assert_eq!(proposed.code, 0, "{}", proposed.stdout);
    let id = proposed.json()["result"]["proposal"].as_str().unwrap().to_owned();
    let agreed = stage.federation.as_colleague("approver", &["edition", "agree", &id, "--yes", "--json"]);
    assert_eq!(agreed.code, 0, "{}", agreed.stdout);
    let seventh = agreed.json();
    let (_, anew) = stage.publish();
    assert_eq!((&seventh["result"]["edition"], total(&anew)), (&5.into(), total(&third) + 20));
    assert_eq!(codes(&seventh), ["CORRECTED", "WITHDRAWN"]);
    assert_eq!(seventh["result"]["vintages"][0]["vintage"], 1);
    assert!(anew.keys().all(|key| third.contains_key(key)), "what was hidden stays hidden");
    // Protection is not taken off again.
    assert!(stage.node.take().unwrap().stop());
    stage.federation.edit("ES-AGENCY/node/node.toml", "accept_primary_only = false", "accept_primary_only = true");
    stage.node = Some(stage.federation.start("ES-AGENCY"));
    let said = stage.operator(&["edition", "publish"]);
    assert_eq!((said.code, said.json()["error"]["code"].clone()), (3, "PROTECTION".into()));
}

// A late record comes together with the months that close the year: it is left out until it can be taken in with others.
#[test]
fn what_is_added_does_not_tell_what_came_late() {
    let stage = Stage::new();
    stage.import("a.csv", &rows("A", 1..=6, 30), "2024-01..2024-06");
    let (_, first) = stage.publish();
    let late = [rows("L", 2..=2, 1), rows("B", 7..=12, 30)].concat();
    stage.import("b.csv", &late, "2024-07..2024-12");
    let (second, shown) = stage.publish();
    assert_eq!((&second["result"]["edition"], codes(&second)), (&2.into(), vec!["KEPT"]));
    assert_eq!(second["result"]["vintages"][0]["vintage"], 1, "nothing that was published has changed");
    for (key, value) in &first {
        assert_eq!(shown.get(key), Some(value), "{key:?}");
    }
    let number = |period: &str, drug: &str| shown.get(&(period.to_owned(), drug.to_owned())).and_then(Value::as_i64);
    let sum = |periods: &[String], drug: &str| periods.iter().map(|period| number(period, drug)).sum::<Option<i64>>();
    let quarters: Vec<String> = (1..=4).map(|quarter| format!("2024-Q{quarter}")).collect();
    let months: Vec<String> = (1..=12).map(|month| format!("2024-{month:02}")).collect();
    let drugs: std::collections::BTreeSet<&str> = shown.keys().map(|(_, drug)| drug.as_str()).collect();
    let mut added = 0;
    for drug in drugs {
        let year = number("2024", drug);
        added += usize::from(year.is_some());
        for parts in [&quarters, &months] {
            if let (Some(year), Some(parts)) = (year, sum(parts, drug)) {
                let late = year - parts;
                assert_eq!(late, 0, "{drug}: {late} came late");
            }
        }
    }
    assert!(added > 0, "the year shows something");
    assert_eq!(number("2024", "_T"), Some(360));
}

// Late records of a year that goes on wait, and use up no vintage; with the months that complete it they are taken in.
#[test]
fn late_records_wait_until_the_year_is_complete() {
    let mut stage = Stage::new();
    stage.import("a.csv", &rows("A", 1..=6, 30), "2024-01..2024-06");
    let (_, first) = stage.publish();
    let july = [rows("L", 2..=2, 24), rows("B", 7..=7, 30)].concat();
    stage.import("b.csv", &july, "2024-07");
    let (second, with_july) = stage.publish();
    assert_eq!(codes(&second), ["KEPT"]);
    assert!(second["warnings"][0]["message"].as_str().unwrap().contains("when the year is complete"), "{second}");
    assert!(first.iter().all(|(key, value)| with_july.get(key) == Some(value)), "what was published stays");
    assert!(with_july.keys().any(|(time, _)| time == "2024-07"), "July is added");
    // Nothing closed since: there is nothing to publish.
    let (again, same) = stage.publish();
    assert_eq!((codes(&again), &same), (vec!["UNCHANGED", "KEPT"], &with_july));
    // Stricter rules hold for what closes; weaker ones for nothing of a year that is published in part.
    stage.restart_with("k = 5", "k = 8");
    stage.import("c.csv", &rows("C", 8..=8, 30), "2024-08");
    let (stricter, with_august) = stage.publish();
    assert_eq!(codes(&stricter), ["KEPT"]);
    let august: Vec<_> = with_august.iter().filter(|((time, _), _)| time == "2024-08").collect();
    assert!(!august.is_empty() && august.iter().all(|(_, value)| value.as_u64() >= Some(8)), "{august:?}");
    assert!(with_july.iter().all(|(key, value)| with_august.get(key).is_none_or(|now| now == value)));
    stage.restart_with("k = 8", "k = 4");
    stage.import("d.csv", &rows("D", 9..=9, 30), "2024-09");
    let (weaker, same) = stage.publish();
    assert_eq!((codes(&weaker), &same), (vec!["UNCHANGED", "KEPT"], &with_august));
    assert!(weaker["warnings"][1]["message"].as_str().unwrap().contains("rules"), "{weaker}");
    stage.restart_with("k = 4", "k = 8");
    stage.import("e.csv", &rows("E", 10..=12, 30), "2024-10..2024-12");
    let (third, whole) = stage.publish();
    assert_eq!(codes(&third), ["REVISED"]);
    assert_eq!(third["result"]["vintages"][0]["vintage"], 2);
    assert_eq!(whole[&("2024".to_owned(), "_T".to_owned())], 384);
    // Records are imported while an edition is in the making; what it does not hold comes with the next.
    let published = std::thread::scope(|scope| {
        stage.import("f.csv", &rows("F", 1..=12, 30).replace(",2024-", ",2023-"), "2023");
        let publishing = scope.spawn(|| stage.operator(&["edition", "publish"]));
        stage.import("g.csv", &rows("G", 1..=12, 10).replace(",2024-", ",2022-"), "2022");
        publishing.join().unwrap()
    });
    assert_eq!(published.code, 0, "{}", published.stdout);
    let (_, all) = stage.publish();
    assert_eq!(all[&("2022".to_owned(), "_T".to_owned())], 120);
}
