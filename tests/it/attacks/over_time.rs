//! Attacks by comparing editions: one case more, one corrected, one erased, other rules, one change beside others.

use std::sync::LazyLock;

use accord_tests::officer::Officer;
use serde_json::{Value, json};

use super::{
    ES, IT, K, Seizures, Stage,
    attacker::{Attacker, Lists},
    request, run, said_on_the_wire,
};

const HUB: &str = "seizures-year-drug";
const REGION: &str = "seizures-year-drug-region";
const PURITY: &str = "purity-quarter-form-market";

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists::new(&[("drug", "drugs-1.csv")], "IT"));

// The rows go on from each other, with one list of what was seen of each edition.
#[test]
fn editions_one_after_another() {
    let mut stage = Stage::new(&[ES, IT]);
    first_edition(&mut stage);
    run(
        &mut stage,
        &super::rows![row_5_11_edition_differencing, row_5_25_one_change_beside_others, row_5_18_other_rules],
    );
}

fn first_edition(stage: &mut Stage) {
    let mut rows = Seizures::new("A");
    // 12 cases, 206.4 kg: in 2001 for additions, in 2002 twice, for a correction and for an erasure.
    for (year, drug) in [("2001", "COC_COCAINE"), ("2002", "COC_COCAINE"), ("2002", "MDMA_MDMA")] {
        rows.weighed(&["17.2"; 12], &format!("{year}-02-05"), "ITC4", drug);
    }
    for year in ["2001", "2002"] {
        rows.weighed(&["1.5"; 8], &format!("{year}-05-05"), "ITF3", "HER_HEROIN");
    }
    // Row 5.25: three months of a quarter, and another quarter.
    for (n, month) in [(10, "01"), (10, "02"), (10, "03"), (6, "05")] {
        rows.cases(n, &format!("2001-{month}-05"), "ITC4", "AMP_AMPHETAMINE");
    }
    // Row 5.18.
    rows.cases(4, "2001-02-05", "ITC4", "NPS_CMC");
    stage.import(IT, "seizure", "first.csv", &rows.text, &["--coverage", "2001..2002"]);
    let samples: String = (0..25).map(|n| sample(n, "60.00")).collect();
    stage.import(IT, "purity", "samples.csv", &samples, &["--coverage", "2001"]);
    assert_eq!(stage.publish(IT)["result"]["edition"], 1);
    look(stage);
}

fn sample(n: u32, percent: &str) -> String {
    format!("S{n},SK{n},2001-02-05,synthetic,HER_HEROIN,HER_BROWN,{percent},no,base,all,seizure,wholesale\n")
}

fn look(stage: &mut Stage) {
    let (years, quarters, months) = ("2001..2004", "2001-Q1..2004-Q4", "2001-01..2004-12");
    stage.look(&[
        (HUB, "drug=all", years),
        (HUB, "drug=group", years),
        (HUB, "drug=substance", years),
        (HUB, "time=quarter,drug=group", quarters),
        (HUB, "time=quarter,drug=substance", quarters),
        (HUB, "time=month,drug=group", months),
        (REGION, "drug=group,region=nuts2", years),
        (PURITY, "drug=substance,market=all", "2001"),
        (PURITY, "drug=form,market=level", "2001"),
    ]);
}

// What is said of cocaine in 2001, in bytes; the edition's number is left out.
fn slice(stage: &Stage) -> Vec<u8> {
    let officer = Officer::open(&stage.federation.path().join("officer"));
    said_on_the_wire(&officer, &request(&officer, HUB, "2001", &[], "COC")).1
}

// Number and mass of a group in a year, at a look.
fn said_of(stage: &Stage, look: usize, drug: &str, year: &str) -> [Option<i64>; 2] {
    let heard = stage.heard_of(look, year);
    let key = json!({ "time": year, "drug": drug });
    let values = &heard.iter().find(|cell| cell["key"] == key).unwrap()["values"];
    ["seizures", "quantity_mg"].map(|measure| values[measure]["value"].as_i64())
}

fn row_5_11_edition_differencing(stage: &mut Stage) {
    let before = slice(stage);
    for (drug, year) in [("COC", "2001"), ("COC", "2002"), ("MDMA", "2002")] {
        assert_eq!(said_of(stage, 0, drug, year), [Some(12), Some(206_400_000)], "{drug} {year}");
    }
    assert!(stage.heard[0].iter().any(|cell| cell["values"]["samples"]["value"] == 25));
    // One case more; a mass and a purity put right; a case erased. A year more, so that there is a new edition.
    let mut late = Seizures::new("B");
    late.weighed(&["25.0"], "2001-02-06", "ITC4", "COC_COCAINE");
    late.cases(1, "2003-02-05", "ITC4", "COC_COCAINE");
    stage.import(IT, "seizure", "late.csv", &late.text, &["--coverage", "2003"]);
    let mut right = Seizures::new("");
    right.line("A13", "AK13", 1, "2002-02-05", "ITC4", "COC_COCAINE", "42.2");
    stage.import(IT, "seizure", "right.csv", &right.text, &["--correct", "weighed again"]);
    stage.import(IT, "purity", "purity.csv", &sample(3, "95.00"), &["--correct", "analysed again"]);
    stage.operator(IT, &["case", "erase", "AK25", "--authority", "order 1/2026", "--yes"]);
    assert_eq!(stage.publish(IT)["result"]["edition"], 2);
    look(stage);
    for year in ["2001", "2002"] {
        assert_eq!(stage.heard_of(1, year), stage.heard_of(0, year), "{year}");
    }
    assert_eq!(slice(stage), before);
    // With five more, six have changed: number and mass say what the records say. As much changes in another group, so
    // that it does not follow from the total of all drugs, which is known, that nothing else has. (Row 5.25: January
    // +5, February +1.)
    let mut more = Seizures::new("C");
    more.weighed(&["16.0"; 5], "2001-02-07", "ITC4", "COC_COCAINE");
    more.weighed(&["1.5"; 5], "2001-05-07", "ITF3", "HER_HEROIN");
    more.cases(5, "2001-01-07", "ITC4", "AMP_AMPHETAMINE");
    more.cases(1, "2001-02-07", "ITC4", "AMP_AMPHETAMINE");
    stage.import(IT, "seizure", "more.csv", &more.text, &[]);
    assert_eq!(stage.publish(IT)["result"]["edition"], 3);
    look(stage);
    assert_eq!(said_of(stage, 2, "COC", "2001"), [Some(18), Some(311_400_000)]);
    assert_ne!(slice(stage), before);
    // What has changed in the other year and in the samples is one line still.
    assert_eq!(stage.heard_of(2, "2002"), stage.heard_of(0, "2002"));
    let samples =
        |look: usize| stage.heard[look].iter().filter(|cell| cell["values"]["samples"].is_object()).collect::<Vec<_>>();
    assert_eq!(samples(2), samples(0));
}

// What the first and the third edition say differently of 2001.
fn differences(stage: &Stage) -> Attacker {
    let seizures = |look: usize| -> Vec<Value> {
        stage.heard_of(look, "2001").into_iter().filter(|cell| cell["values"]["seizures"].is_object()).collect()
    };
    let mut attacker = Attacker::default();
    attacker.hear_differences(&seizures(0), &seizures(2), "seizures");
    attacker
}

// January +5, February +1, so that the quarter is +6.
fn row_5_25_one_change_beside_others(stage: &mut Stage) {
    let february = "drug=AMP time=2001-02";
    let mut careless = differences(stage);
    careless.know("drug=AMP time=2001-Q1", 6);
    careless.know("drug=AMP time=2001-01", 5);
    assert_eq!(careless.think(&LISTS).range(february).1, 1, "both beside it would tell");
    let attacker = differences(stage).think(&LISTS);
    assert!(attacker.shown() >= 2, "{} numbers are put right", attacker.shown());
    assert_eq!(attacker.leaks(K), []);
    let (low, high) = attacker.range(february);
    assert!(low <= 1 && high - low >= K, "{low} to {high} came in February");
}

// Other rules hold for years that are not published yet; what was hidden stays hidden. So there is nothing to compare,
// and no edition has to be withdrawn.
fn row_5_18_other_rules(stage: &mut Stage) {
    stage.federation.edit(&format!("{IT}/node/node.toml"), "k = 5", "k = 3");
    stage.restart(IT);
    let mut rows = Seizures::new("E");
    for (n, drug) in [(20, "COC_COCAINE"), (4, "NPS_CMC"), (6, "CAN_HERB"), (3, "MDMA_MDMA")] {
        rows.cases(n, "2004-02-05", "ITC4", drug);
    }
    stage.import(IT, "seizure", "e.csv", &rows.text, &["--coverage", "2004"]);
    assert_eq!(stage.publish(IT)["result"]["edition"], 4);
    look(stage);
    for year in ["2001", "2002", "2003"] {
        assert_eq!(stage.heard_of(3, year), stage.heard_of(2, year), "{year}");
    }
    assert_eq!([said_of(stage, 3, "NPS", "2001")[0], said_of(stage, 3, "NPS", "2004")[0]], [None, Some(4)]);
    // What was seen before the revision of row 5.11 stands on its own, and so does the new year.
    for (look, year, k) in [(0, "2001", K), (3, "2004", 3)] {
        let mut attacker = Attacker::default();
        attacker.hear(&stage.heard_of(look, year), "seizures");
        assert_eq!(attacker.think(&LISTS).leaks(k), [], "{year}");
    }
}
