//! Attacks on purities and prices: means of nested cells, extremes, few values, outliers.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    ES, IT, K, Stage,
    attacker::{Attacker, Lists, name},
    cells, run,
};

const PURITY: &str = "purity-quarter-form-market";
const PRICE: &str = "prices-quarter-drug-market";

static LISTS: LazyLock<Lists> =
    LazyLock::new(|| Lists::new(&[("drug", "substances-1.csv"), ("market", "market-1.csv")], "IT"));

// Drugs share no equation in these tables, so that each row has a drug of its own in one year.
#[test]
fn purities_and_prices() {
    let mut stage = Stage::new(&[ES, IT]);
    let purities = [
        samples("COC_COCAINE", "COC_HCL", "wholesale", &[61; 13]),
        samples("COC_COCAINE", "COC_BASE", "wholesale", &[82]),
        // The same with enough cases for a mean, and spread so that no bin of 10 points holds five.
        samples("AMP_METHAMPHETAMINE", "AMP_METH_CRYSTAL", "wholesale", &[35, 45, 55, 65, 75, 85, 95].repeat(4)),
        samples("AMP_METHAMPHETAMINE", "AMP_METH_POWDER", "wholesale", &[82]),
        samples("HER_HEROIN", "HER_BROWN", "wholesale", &[31, 44, 52, 55, 58, 61, 63, 64, 66, 97]),
        samples("MDMA_MDMA", "MDMA_TABLET", "wholesale", &[40, 80]),
    ];
    stage.import(IT, "purity", "purity.csv", &purities.concat(), &["--coverage", "2001"]);
    let outlier = [42, 44, 46, 48, 50, 52, 54, 56, 58, 400];
    let prices = [
        prices("COC_HCL", "retail", &outlier),
        prices("COC_BASE", "retail", &[30; 6]),
        prices("COC_HCL", "mid", &[30; 6]),
    ];
    stage.import(IT, "price", "price.csv", &prices.concat(), &["--coverage", "2001"]);
    stage.publish(IT);
    run(
        &mut stage,
        &super::rows![
            row_5_6_mean_times_count,
            row_5_9_extremes_and_quantiles,
            row_5_10_mean_and_deviation_of_two,
            row_5_19_an_outlier_among_prices,
        ],
    );
}

// Samples of these percentages, each a case of its own.
fn samples(drug: &str, form: &str, market: &str, percentages: &[u32]) -> String {
    let row = |(n, percent): (usize, &u32)| {
        let id = format!("{form}-{market}-{n}");
        format!("{id},{id},2001-05-05,synthetic,{drug},{form},{percent}.00,no,base,all,seizure,{market}\n")
    };
    percentages.iter().enumerate().map(row).collect()
}

// Prices of a gram in euro, each a case of its own.
fn prices(form: &str, market: &str, euros: &[u32]) -> String {
    let row = |(n, euro): (usize, &u32)| {
        let id = format!("{form}-{market}-{n}");
        format!("{id},{id},2001-05-05,synthetic,COC_COCAINE,{form},{euro},EUR,1,g,{market},weighed,test_purchase\n")
    };
    euros.iter().enumerate().map(row).collect()
}

fn purities(stage: &Stage, drug: &str) -> Value {
    let cell = [("basis", "base@basis"), ("frame", "seizure_all@frame"), ("market", "wholesale@level")];
    stage.one_cell(IT, PURITY, &[&[("time", "2001@year"), ("drug", drug)], cell.as_slice()].concat())
}

// What all numbers of samples tell.
fn all_of(stage: &Stage, table: &str, measure: &str) -> Attacker {
    let mut attacker = Attacker::default();
    let mut hear = |by: &str, period: &str| {
        attacker.hear(&cells(&stage.ask(IT, table, &["--period", period, "--by", by])), measure);
    };
    for drug in ["substance", "form"] {
        hear(&format!("time=year,drug={drug},market=level"), "2001");
    }
    hear("time=quarter,drug=form,market=level", "2001-Q1..2001-Q4");
    if table == PURITY {
        for drug in ["substance", "form"] {
            hear(&format!("time=year,drug={drug},market=all"), "2001");
        }
    }
    let attacker = attacker.think(&LISTS);
    assert_eq!(attacker.leaks(K), []);
    attacker
}

fn row_5_6_mean_times_count(stage: &mut Stage) {
    // 13 and 14 cases are too few for a mean at all.
    for drug in ["COC_HCL@form", "COC_BASE@form"] {
        assert_eq!(purities(stage, drug)["values"]["purity_mean"], json!({ "state": "suppressed" }), "{drug}");
    }
    // Nor has the one exhibit beside 28 cases a mean, whatever those have.
    let powder = purities(stage, "AMP_METH_POWDER@form");
    assert_eq!(powder["values"]["purity_mean"], json!({ "state": "suppressed" }));
    // And means exist at one level alone, so that no cell with a mean lies in another.
    let nested = ["drug=substance,market=level", "drug=form,market=all", "time=quarter,drug=form,market=level"];
    for (by, period) in nested.into_iter().zip(["2001", "2001", "2001-Q1..2001-Q4"]) {
        let error = stage.misused(PURITY, &["--period", period, "--by", by, "--measure", "purity_mean"]);
        assert_eq!(error["code"], "UNKNOWN-MEASURE", "{by}");
    }
    // Nor do the numbers of samples tell of the one exhibit.
    let attacker = all_of(stage, PURITY, "samples");
    for form in ["COC_BASE", "AMP_METH_POWDER"] {
        let (low, high) =
            attacker.range(&format!("basis=base drug={form} frame=seizure_all market=wholesale time=2001"));
        assert!(low <= 1 && high - low >= K, "{form}: {low} to {high}");
    }
    all_of(stage, PURITY, "samples_measured");
}

fn row_5_9_extremes_and_quantiles(stage: &mut Stage) {
    no_such_measures(stage, PURITY, &["purity_min", "purity_max", "purity_p95", "purity_median"]);
    // No bin holds five: all are hidden, and median and quartiles are anywhere.
    let cell = purities(stage, "HER_BROWN@form");
    let bins = cell["values"]["purity"]["bins"].as_array().into_iter().flatten();
    assert_eq!(bins.filter(|bin| bin["state"] != "suppressed").count(), 0, "{cell}");
    let by =
        ["--period", "2001", "--by", "drug=form,market=level", "--where", "drug=HER_BROWN", "--where", "basis=base"];
    let pooled = stage.ask(IT, PURITY, &by);
    let pooled = pooled["pooled"].as_array().unwrap().iter().find(|row| row["key"] == cell["key"]).unwrap();
    for quantile in ["quartile_1", "median", "quartile_3"] {
        let quantile = &pooled["values"]["purity"][quantile];
        assert!(quantile.is_null() || *quantile == json!({ "low": 0, "high": 10_001 }), "{pooled}");
    }
    assert_eq!(cell["values"]["purity_mean"], json!({ "state": "suppressed" }));
}

fn row_5_10_mean_and_deviation_of_two(stage: &mut Stage) {
    no_such_measures(stage, PURITY, &["purity_sd", "purity_variance", "purity_sum_of_squares"]);
    let values = purities(stage, "MDMA_TABLET@form")["values"].clone();
    for measure in ["samples", "samples_measured", "purity_mean"] {
        assert_eq!(values[measure], json!({ "state": "suppressed" }), "{measure}");
    }
    let numbers =
        values["purity"]["bins"].as_array().into_iter().flatten().filter(|bin| !bin["value"].is_null()).count();
    assert_eq!((&values["purity"]["state"], numbers), (&json!("suppressed"), 0), "{values}");
}

fn row_5_19_an_outlier_among_prices(stage: &mut Stage) {
    no_such_measures(stage, PRICE, &["price_max", "price_sd", "price_weighted"]);
    let key =
        [("time", "2001@year"), ("drug", "COC_HCL@form"), ("market", "retail@level"), ("per", "gram_weighed@unit")];
    let cell = stage.one_cell(IT, PRICE, &key);
    assert_eq!(cell["values"]["price_mean"], json!({ "state": "suppressed" }));
    let histogram = &cell["values"]["price"];
    assert_eq!((&histogram["state"], &histogram["n"]), (&json!("value"), &json!(10)));
    let mut attacker = Attacker::default();
    attacker.hear_bins("bins", histogram);
    let attacker = attacker.think(&LISTS);
    // The nine are in 25 to 60 euro, the one in 250 to 600; one of them shown beside the number of all would tell of
    // the other.
    let (low, high) = attacker.range("bins 25000-60000");
    assert!(low <= 1 && high - low >= K, "{low} to {high}");
    assert!(attacker.range("bins 25000-40000").1 >= K, "{histogram}");
    let prices = all_of(stage, PRICE, "prices");
    let (low, high) = prices.range(&name(&cell["key"]));
    assert!(low <= 10 && high >= 10);
}

fn no_such_measures(stage: &Stage, table: &str, measures: &[&str]) {
    for measure in measures {
        let error = stage.misused(table, &["--period", "2001", "--measure", measure]);
        assert_eq!(error["code"], "UNKNOWN-MEASURE", "{measure}");
    }
}
