//! Attacks on the seizures of one edition by arithmetic: subtraction, overlap, trackers, dominance, zeros, levels, lines.

use std::sync::LazyLock;

use accord_protocol::{codec::Bounded, id::RequestId};
use accord_tests::officer::Officer;
use serde_json::json;

use super::{
    ES, IT, K, PT, Seizures, Stage,
    asking::{
        row_5_5_asking_again_and_again, row_5_12_a_sum_without_one_part, row_5_13_two_officers_with_different_rights,
        row_5_14_counting_by_errors, row_5_15_hidden_cells_are_the_same_bytes, row_5_17_a_total_of_nothing_and_of_two,
        row_5_21a_no_further_dimension_twice, second_officer,
    },
    attacker::{Attacker, Lists},
    cells, request, run, said_on_the_wire,
};

pub(super) const HUB: &str = "seizures-year-drug";
pub(super) const REGION: &str = "seizures-year-drug-region";
pub(super) const TRANSPORT: &str = "seizures-quarter-drug-transport";
pub(super) const WEIGHT: &str = "seizures-year-drug-weight";

pub(super) static LISTS: LazyLock<Lists> =
    LazyLock::new(|| Lists::new(&[("drug", "drugs-1.csv"), ("transport", "transport-1.csv")], "IT"));

#[test]
fn seizures_of_one_edition() {
    let mut stage = Stage::new(&[ES, IT, PT]);
    second_officer(&mut stage);
    let mut rows = Seizures::new("R");
    for fill in [row_5_1_data, row_5_2_data, row_5_3_data, row_5_4_data, row_5_8_data, row_5_13_data, row_5_17_data] {
        fill(&mut rows);
    }
    stage.import(IT, "seizure", "it.csv", &rows.text, &["--coverage", "2001..2008"]);
    stage.publish(IT);
    look(&mut stage);
    run(
        &mut stage,
        &super::rows![
            row_5_1_total_minus_parts,
            row_5_2_ranges_of_time,
            row_5_3_overlapping_geography,
            row_5_4_tracker,
            row_5_5_asking_again_and_again,
            row_5_7_dominance,
            row_5_8_one_case_in_twelve_records,
            row_5_12_a_sum_without_one_part,
            row_5_13_two_officers_with_different_rights,
            row_5_14_counting_by_errors,
            row_5_15_hidden_cells_are_the_same_bytes,
            row_5_16_zero,
            row_5_17_a_total_of_nothing_and_of_two,
            row_5_20_the_total_is_known,
            row_5_21a_no_further_dimension_twice,
            row_5_22_two_levels_of_one_table,
            row_5_23_drugs_of_one_case,
            row_5_24_a_case_over_two_months,
        ],
    );
}

// Everything that the hub and two more tables say of all years.
fn look(stage: &mut Stage) {
    let (years, quarters, months) = ("2001..2008", "2001-Q1..2008-Q4", "2001-01..2008-12");
    let mut questions =
        vec![(HUB, "drug=all".to_owned(), years), (TRANSPORT, "drug=all,transport=mode".to_owned(), years)];
    for drug in ["group", "substance", "form"] {
        for (time, period) in [("year", years), ("quarter", quarters), ("month", months)] {
            questions.push((HUB, format!("time={time},drug={drug}"), period));
        }
    }
    for drug in ["group", "substance"] {
        for (time, period) in [("year", years), ("quarter", quarters)] {
            questions.push((TRANSPORT, format!("time={time},drug={drug},transport=mode"), period));
        }
    }
    for drug in ["all", "group", "substance"] {
        for region in ["nuts0", "nuts1", "nuts2"] {
            questions.push((REGION, format!("drug={drug},region={region}"), years));
        }
    }
    let questions: Vec<_> = questions.iter().map(|(table, by, period)| (*table, by.as_str(), *period)).collect();
    stage.look(&questions);
}

// What it tells of a year.
pub(super) fn all_of(stage: &Stage, year: &str) -> Attacker {
    let mut attacker = Attacker::default();
    attacker.hear(&stage.heard_of(0, year), "seizures");
    attacker.think(&LISTS)
}

// Nothing hidden is narrowed below its width, and this number can really be so little and so much.
pub(super) fn is_protected(attacker: &Attacker, name: &str, truth: i64) {
    assert_eq!(attacker.leaks(K), []);
    let (low, high) = attacker.range(name);
    assert!(low < truth + 1 && high >= low + K, "{name}: {low} to {high}");
    let wide = |from: i64| attacker.can_be(name, from) && attacker.can_be(name, from + K);
    assert!((low..=truth).any(wide), "{name}: {low} to {high}, but no two whole tables are {K} apart");
}

fn row_5_1_data(rows: &mut Seizures) {
    for (region, numbers) in [("ITC4", [12, 3, 15]), ("ITF3", [11, 14, 18])] {
        for (n, drug) in numbers.into_iter().zip(["COC_COCAINE", "HER_HEROIN", "MDMA_MDMA"]) {
            rows.cases(n, "2001-03-15", region, drug);
        }
    }
}

// N is ITC4 and S is ITF3. The catalogue has totals by region for all drugs, by drug for the country, and all.
fn row_5_1_total_minus_parts(stage: &mut Stage) {
    let number = |region: &str, drug: &str| {
        let drug = format!("{drug}@{}", if drug == "_T" { "all" } else { "group" });
        let region = format!("{region}@{}", if region == "_T" { "nuts0" } else { "nuts2" });
        stage.number(IT, REGION, &[("time", "2001@year"), ("drug", &drug), ("region", &region)], "seizures")
    };
    let truth = [[12, 3, 15, 30], [11, 14, 18, 43], [23, 17, 33, 73]];
    let (regions, drugs) = (["ITC4", "ITF3", "_T"], ["COC", "HER", "MDMA", "_T"]);
    // Each of the twelve numbers is asked for by itself, the last one first.
    let mut first: Vec<_> = (0..12).rev().map(|n| number(regions[n / 4], drugs[n % 4])).collect();
    first.reverse();
    assert_eq!(first[1], None, "three cases are hidden");
    let all_but_one: Vec<_> = (0..12).map(|n| (n != 1).then_some(truth[n / 4][n % 4])).collect();
    for (said, whole) in first.iter().zip(truth.concat()) {
        assert!(said.is_none_or(|said| said == whole), "{first:?}");
    }
    assert!(first.iter().flatten().count() >= 3, "something is shown: {first:?}");
    // What is left of a row, a column and all: other drugs and other regions.
    let careless = small_table(&all_but_one);
    assert_eq!(careless.range("ITC4 HER"), (3, 3));
    let attacker = small_table(&first);
    let possible: Vec<i64> = (0..=15).filter(|value| attacker.can_be("ITC4 HER", *value)).collect();
    assert!(possible.last().unwrap() - possible[0] >= K, "{possible:?}");
    is_protected(&all_of(stage, "2001"), "drug=HER region=ITC4 time=2001", 3);
}

// The twelve numbers of row 5.1, and all that is known of them. That there is nothing else is known as well: the worst
// case.
fn small_table(numbers: &[Option<i64>]) -> Attacker {
    let mut attacker = Attacker::default();
    let name = |region: usize, drug: usize| {
        format!("{} {}", ["ITC4", "ITF3", "all"][region], ["COC", "HER", "MDMA", "all"][drug])
    };
    let said = |region: usize, drug: usize| numbers[region * 4 + drug];
    for region in 0..3 {
        let parts: Vec<String> = (0..3).map(|drug| name(region, drug)).collect();
        attacker.sum(&name(region, 3), said(region, 3), &parts.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for drug in 0..4 {
        let parts = [name(0, drug), name(1, drug)];
        attacker.sum(&name(2, drug), said(2, drug), &parts.each_ref().map(String::as_str));
    }
    for (at, value) in numbers.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))) {
        attacker.know(&name(at / 4, at % 4), value);
    }
    attacker.think(&LISTS)
}

// Rows 5.2, 5.23 and 5.24 share a year, each with a group of its own.
fn row_5_2_data(rows: &mut Seizures) {
    for (n, date) in [(6, "2002-01-10"), (7, "2002-02-10"), (1, "2002-03-31"), (5, "2002-05-10")] {
        rows.cases(n, date, "ITC4", "COC_COCAINE");
    }
    for case in 0..3 {
        for (line, drug) in [(1, "HER_HEROIN"), (2, "HER_FENTANYL")] {
            rows.line(&format!("BOTH{case}"), &format!("BOTH{case}"), line, "2002-02-02", "ITC4", drug, "");
        }
    }
    rows.cases(9, "2002-02-02", "ITC4", "HER_HEROIN");
    rows.cases(6, "2002-02-02", "ITC4", "HER_FENTANYL");
    for (record, date) in [("LONG1", "2002-01-31"), ("LONG2", "2002-02-01")] {
        rows.line(record, "LONG", 1, date, "ITC4", "AMP_AMPHETAMINE", "");
    }
    for (n, date) in [(5, "2002-01-05"), (5, "2002-02-05"), (5, "2002-03-05"), (5, "2002-05-05")] {
        rows.cases(n, date, "ITC4", "AMP_AMPHETAMINE");
    }
    rows.cases(6, "2002-02-02", "ITF3", "CAN_HERB");
}

fn row_5_2_ranges_of_time(stage: &mut Stage) {
    // A day is on no grid; what is said is the same for a year with seizures on that day, one without any, and one that
    // is not covered.
    for [from, to] in [["01-01", "03-31"], ["01-01", "03-30"], ["Q1", "02"], ["01", "Q2"]] {
        for level in ["month", "quarter"] {
            let errors = ["2002", "2006", "2009"].map(|year| {
                let period = format!("{year}-{from}..{year}-{to}");
                let error = stage.misused(HUB, &["--period", &period, "--by", &format!("time={level}")]);
                assert_eq!(error["code"], "PERIOD");
                error.to_string().replace(&period, "PERIOD").replace(year, "YEAR")
            });
            assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
        }
    }
    // A request of one's own making is refused by the provider, in the same bytes.
    let officer = Officer::open(&stage.federation.path().join("officer"));
    let refusals = ["2002", "2006", "2025"].map(|year| {
        let mut body = request(&officer, HUB, year, &[], "COC");
        let mut dims = body.query.dims.as_slice().to_vec();
        dims[0].codes = Bounded::new(vec![dims[0].codes.as_slice()[0] + 1]).unwrap();
        body.query.dims = Bounded::new(dims).unwrap();
        assert_eq!(officer.ask(&body).word(), "E_QUERY");
        body.request_id = RequestId([9; 16]);
        body.request_id.0[0] = year.as_bytes()[3];
        said_on_the_wire(&officer, &body)
    });
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]));
    let attacker = all_of(stage, "2002");
    is_protected(&attacker, "drug=COC time=2002-03", 1);
    // The quarter and the two months beside it would tell.
    let mut careless = Attacker::default();
    careless.hear(&stage.heard_of(0, "2002"), "seizures");
    for (period, n) in [("Q1", 14), ("01", 6), ("02", 7)] {
        careless.know(&format!("drug=COC time=2002-{period}"), n);
    }
    assert_eq!(careless.think(&LISTS).range("drug=COC time=2002-03").1, 1);
}

fn row_5_3_data(rows: &mut Seizures) {
    // R is ITH1, the municipality lies in ITH2.
    rows.cases(20, "2003-05-05", "ITH1", "COC_COCAINE");
    rows.cases(1, "2003-05-05", "ITH2", "COC_COCAINE");
    // W of row 5.16 is ITG1.
    for (region, numbers) in [("ITG1", [12, 9, 0]), ("ITF3", [11, 14, 18])] {
        for (n, drug) in numbers.into_iter().zip(["COC_COCAINE", "HER_HEROIN", "MDMA_MDMA"]) {
            rows.cases(n, "2003-03-15", region, drug);
        }
    }
}

fn row_5_3_overlapping_geography(stage: &mut Stage) {
    for by in ["region=district", "district=name", "region=nuts3"] {
        let code = stage.misused(REGION, &["--period", "2003", "--by", by])["code"].clone();
        assert!(["UNKNOWN-LEVEL", "UNKNOWN-DIMENSION"].contains(&code.as_str().unwrap()), "{code}");
    }
    // The one hierarchy has a pair of the same kind: a region, and its parent with a region of one case more.
    let attacker = all_of(stage, "2003");
    for drug in ["", "drug=COC "] {
        let shown = |region: &str| {
            let (low, high) = attacker.range(&format!("{drug}region={region} time=2003"));
            low == high
        };
        assert!(!(shown("ITH1") && shown("ITH")), "20 and 21 are not both shown");
        is_protected(&attacker, &format!("{drug}region=ITH2 time=2003"), 1);
    }
}

// The attribute that splits 20 to 20 is the quarter, since masses exist by time and drug alone: Q1 (T) with 20,400 g,
// of which carfentanil (a fentanyl analogue of the list) 1,017 g, Q2 (not T) with 20,380 g. Q3 is there so that both
// may be shown.
fn row_5_4_data(rows: &mut Seizures) {
    rows.weighed(&["1.017"], "2004-02-02", "ITC4", "HER_FENTANYL_ANALOGUE");
    rows.weighed(&[["1.020"; 18].as_slice(), &["1.023"]].concat(), "2004-02-02", "ITC4", "HER_HEROIN");
    rows.weighed(&["1.019"; 20], "2004-05-02", "ITC4", "HER_HEROIN");
    rows.weighed(&["1.000"; 6], "2004-08-02", "ITC4", "HER_HEROIN");
    // Row 5.7.
    rows.weighed(
        &["9", "0.3", "0.2", "0.15", "0.12", "0.1", "0.06", "0.04", "0.02", "0.01"],
        "2004-02-02",
        "ITC4",
        "COC_COCAINE",
    );
}

fn row_5_4_tracker(stage: &mut Stage) {
    for where_ in ["drug=!HER", "drug=HER|COC", "drug=HER+COC", "drug=-HER"] {
        let code = stage.misused(HUB, &["--period", "2004", "--where", where_])["code"].clone();
        assert_eq!(code, "UNKNOWN-CODE", "{where_}");
    }
    let twice = stage.misused(HUB, &["--period", "2004", "--where", "drug=HER", "--where", "drug=COC"]);
    assert!(twice["message"].as_str().unwrap().contains("twice"), "{twice}");
    stage.misused(HUB, &["--period", "2004", "--where", "quantity_mg>1000"]);
    let quarters = ["--period", "2004-Q1..2004-Q4"];
    let list = "drug=HER_FENTANYL_ANALOGUE,HER_HEROIN";
    let listed =
        stage.ask(IT, HUB, &[quarters.as_slice(), &["--by", "time=quarter,drug=substance", "--where", list]].concat());
    for rows in ["cells", "pooled"] {
        let rows = listed[rows].as_array().unwrap();
        // Four quarters and the unknown one.
        assert_eq!(rows.len(), 10, "one for each code and period, and none for both codes");
        assert!(
            rows.iter()
                .all(|row| ["HER_FENTANYL_ANALOGUE", "HER_HEROIN"].contains(&row["key"]["drug"].as_str().unwrap()))
        );
    }
    // The tool's own totals are over periods, of one code each, and say that something is missing.
    for total in listed["totals"].as_array().unwrap() {
        assert_eq!((&total["over"], &total["values"]["seizures"]["lower_bound"]), (&json!("time"), &json!(true)));
    }
    is_protected(&all_of(stage, "2004"), "drug=HER_FENTANYL_ANALOGUE time=2004-Q1", 1);
    // The mass of the one case: as much as the width of a sum, 1 kg, to either side, or down to nothing.
    let mut attacker = Attacker::default();
    attacker.hear_rounded(&stage.heard_of(0, "2004"), "quantity_mg", 100_000);
    let attacker = attacker.think(&LISTS);
    let of = |code: &str| attacker.range(&format!("drug={code} time=2004-Q1"));
    let group = of("HER");
    assert!(group.0 <= 20_400_000 && 20_400_000 <= group.1 && group.1 - group.0 < 100_000, "T is shown: {group:?}");
    let (low, high) = of("HER_FENTANYL_ANALOGUE");
    assert!(low <= 17_000 && high >= 2_017_000, "{low} to {high} mg");
}

fn row_5_7_dominance(stage: &mut Stage) {
    let cell = |drug: &str| stage.one_cell(IT, HUB, &[("time", "2004@year"), ("drug", drug)])["values"].clone();
    let cocaine = cell("COC@group");
    assert_eq!(cocaine["seizures"], json!({ "state": "value", "value": 10 }));
    assert_eq!(cocaine["quantity_mg"], json!({ "state": "suppressed" }));
    assert_eq!(cell("HER@group")["quantity_mg"]["state"], "value", "a sum that nobody dominates is shown");
    // There is no mean, maximum or weighted measure of a mass.
    for measure in ["quantity_mean", "quantity_max", "purity_weighted"] {
        assert_eq!(stage.misused(HUB, &["--period", "2004", "--measure", measure])["code"], "UNKNOWN-MEASURE");
    }
    // Nor do its parts show it.
    for drug in ["COC_COCAINE@substance", "COC_COCAINE_U@form"] {
        assert_eq!(cell(drug)["quantity_mg"], json!({ "state": "suppressed" }));
    }
}

// Rows 5.8 and 5.14, in the year of row 5.4.
fn row_5_8_data(rows: &mut Seizures) {
    for record in 1..=12 {
        rows.line(&format!("ONE{record}"), "ONE", 1, "2004-02-02", "ITG2", "AMP_AMPHETAMINE", "");
    }
    for (n, drug) in [(0, "LSD_LSD"), (1, "KHAT_KHAT"), (4, "NPS_CMC"), (5, "MDMA_MDMA"), (6, "CAN_HERB")] {
        rows.cases(n, "2004-02-02", "ITC4", drug);
    }
}

fn row_5_8_one_case_in_twelve_records(stage: &mut Stage) {
    let attacker = all_of(stage, "2004");
    for name in ["drug=AMP time=2004", "region=ITG2 time=2004", "drug=AMP_AMPHETAMINE time=2004-02"] {
        assert_ne!(attacker.range(name), (12, 12));
        is_protected(&attacker, name, 12);
    }
}

fn row_5_13_data(rows: &mut Seizures) {
    for (n, drug) in [(17, "HER_HEROIN"), (4, "HER_FENTANYL"), (9, "HER_METHADONE")] {
        rows.cases(n, "2005-02-02", "ITC4", drug);
    }
    rows.cases(21, "2005-02-02", "ITC4", "COC_COCAINE");
    rows.cases(6, "2005-02-02", "ITC4", "CAN_HERB");
}

fn row_5_16_zero(stage: &mut Stage) {
    let attacker = all_of(stage, "2003");
    let name = "drug=MDMA region=ITG1 time=2003";
    is_protected(&attacker, name, 0);
    // All of W but MDMA would give it away.
    assert_eq!(
        stage.number(
            IT,
            REGION,
            &[("time", "2003@year"), ("drug", "MDMA@group"), ("region", "ITG1@nuts2")],
            "seizures"
        ),
        None
    );
}

fn row_5_17_data(rows: &mut Seizures) {
    // 2006 is covered, and nothing was seized.
    rows.cases(1, "2007-02-02", "ITC4", "COC_COCAINE");
    rows.cases(1, "2007-02-02", "ITC4", "HER_HEROIN");
    // Row 5.20.
    for (n, region) in [(9, "ITC4"), (11, "ITF3"), (3, "ITG1")] {
        rows.cases(n, "2008-04-04", region, "COC_COCAINE");
    }
}

fn row_5_20_the_total_is_known(stage: &mut Stage) {
    // Only regions are asked for; the total comes from a public report.
    let mut attacker = Attacker::default();
    for region in ["nuts1", "nuts2"] {
        let by = format!("drug=all,region={region}");
        attacker.hear(&cells(&stage.ask(IT, REGION, &["--period", "2008", "--by", &by])), "seizures");
    }
    attacker.know("time=2008", 23);
    let attacker = attacker.think(&LISTS);
    assert_eq!(attacker.range("time=2008"), (23, 23));
    is_protected(&attacker, "region=ITG1 time=2008", 3);
    is_protected(&all_of(stage, "2008"), "region=ITG1 time=2008", 3);
}

fn row_5_22_two_levels_of_one_table(stage: &mut Stage) {
    // One request has one level of each dimension. Two requests agree: a cell says the same in each table (`hear` sees
    // to that), shown parts are no more than their whole, and with all of it nothing is narrowed.
    for year in ["2002", "2004", "2005"] {
        let attacker = all_of(stage, year);
        assert_eq!(attacker.leaks(K), []);
        assert!(attacker.shown() >= 3, "{year}: {}", attacker.shown());
    }
}

fn row_5_23_drugs_of_one_case(stage: &mut Stage) {
    // 18 cases, three of them with both drugs: lines add up, 12 and 9 are 21.
    let attacker = all_of(stage, "2002");
    assert_eq!(attacker.range("drug=HER time=2002"), (21, 21));
    assert_eq!(attacker.range("drug=HER_HEROIN time=2002"), (12, 12));
    // Fentanyl is hidden with the other opioids, of which there is none: else they would be known to be none.
    is_protected(&attacker, "drug=HER_OPIUM time=2002", 0);
    let (low, high) = attacker.range("drug=HER_FENTANYL time=2002");
    assert!(low <= 9 && high == 9, "21 less 12: {low} to {high}");
    // Distinct cases are offered by pairs of groups alone, which have no sums.
    let measures = stage.misused(HUB, &["--period", "2002", "--measure", "cases"]);
    assert_eq!(measures["code"], "UNKNOWN-MEASURE");
}

fn row_5_24_a_case_over_two_months(stage: &mut Stage) {
    // A case with a line in January and one in February counts in both, and twice in the quarter.
    let attacker = all_of(stage, "2002");
    let of = |period: &str| attacker.range(&format!("drug=AMP time=2002-{period}"));
    assert_eq!([of("02"), of("03"), of("Q1")], [(6, 6), (5, 5), (17, 17)]);
    // January is hidden with what has no month, of which there is none; 16 cases less 11 would be five.
    let (low, high) = of("01");
    assert!(low + K <= high && high == 6, "{low} to {high}");
    assert_eq!(attacker.leaks(K), []);
}
