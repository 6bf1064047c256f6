//! All kinds of record, from file to pooled table, over real processes; a partner outside the Union beside members of it.

use std::fs;

use accord_tests::{Federation, Running};
use serde_json::Value;

const PURITY: &str =
    "record_id,case_id,date,source,drug,form,purity_percent,below_detection,expressed_as,sampling,origin,market_level";
const PRICE: &str =
    "record_id,case_id,date,source,drug,form,amount,currency,quantity,unit,market_level,weight_basis,price_source";
const RATES: &str = "Date,USD,SEK\n2024-03-15,1.0892,11.2650\n2024-03-14,1.0925,11.2140\n";

struct Stage {
    federation: Federation,
    _nodes: Vec<Running>,
}

impl Stage {
    fn new() -> Self {
        let federation = Federation::new(&["ES-AGENCY", "IT-AGENCY", "PT-AGENCY"]);
        let nodes = federation.start_all();
        Self { federation, _nodes: nodes }
    }

    fn import(&self, member: &str, kind: &str, header: &str, rows: &str, extra: &[&str]) -> Value {
        let name = format!("{member}-{kind}.csv");
        fs::write(self.federation.path().join(&name), format!("{header}\n{rows}")).unwrap();
        let arguments = [["import", &name, "--kind", kind, "--json"].as_slice(), extra].concat();
        self.federation.operator(member, &arguments).json()
    }

    fn publish(&self, member: &str) {
        let said = self.federation.operator(member, &["edition", "publish", "--json"]);
        assert_eq!(said.code, 0, "{}", said.stdout);
    }

    fn ask(&self, arguments: &[&str]) -> Value {
        let said = self.federation.officer(&[["ask"].as_slice(), arguments, &["--json"]].concat());
        assert!(said.code <= 1, "{}", said.stdout);
        said.json()["result"].clone()
    }
}

// `n` samples of one percentage, each a case of its own.
fn samples(prefix: &str, n: u32, percent: &str, basis: &str, origin: &str) -> String {
    (0..n)
        .map(|i| {
            format!("{prefix}{i},{prefix}K{i},2024-03-15,synthetic,COC,COC_HCL,{percent},no,{basis},all,{origin},wholesale\n")
        })
        .collect()
}

fn row<'a>(result: &'a Value, list: &str, key: &[(&str, &str)]) -> &'a Value {
    result[list]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| key.iter().all(|(dimension, code)| row["key"][dimension] == *code))
        .unwrap_or_else(|| panic!("no row {key:?} in {list}"))
}

#[test]
fn purities_pool_within_one_basis_and_frame_and_medians_have_their_error() {
    let stage = Stage::new();
    let of = |prefix, n, percent, basis, origin| samples(prefix, n, percent, basis, origin);
    // Italy: 6 at 81 and 6 at 62, as base; 5 as hydrochloride; 5 of drug checking. Portugal: 8 at 62 as base, 4 at 90 (hidden).
    let italy = of("A", 6, "81.00", "base", "seizure")
        + &of("B", 6, "62.00", "base", "seizure")
        + &of("C", 5, "70.00", "hcl", "seizure")
        + &of("D", 5, "40.00", "base", "drug_checking");
    let portugal = of("E", 8, "62.50", "base", "seizure") + &of("F", 4, "90.00", "base", "seizure");
    for (member, rows, count) in [("IT-AGENCY", italy, 22), ("PT-AGENCY", portugal, 12)] {
        let said = stage.import(member, "purity", PURITY, &rows, &["--coverage", "2024"]);
        assert_eq!((said["exit"].as_u64(), said["result"]["rows"]["new"].as_u64()), (Some(0), Some(count)), "{said}");
        stage.publish(member);
    }
    let result = stage.ask(&[
        "purity-quarter-form-market",
        "--from",
        "IT-AGENCY,PT-AGENCY",
        "--period",
        "2024",
        "--by",
        "drug=form,market=level",
    ]);
    let key = [("drug", "COC_HCL"), ("market", "wholesale"), ("basis", "base"), ("frame", "seizure_all")];
    let pooled = &row(&result, "pooled", &key)["values"];
    assert_eq!(pooled["samples"]["value"], 24);
    let purity = &pooled["purity"];
    assert_eq!((purity["state"].as_str(), purity["n"].as_u64()), (Some("value"), Some(24)), "{purity}");
    // 12 or more of 24 lie in 60-65: whatever the four hidden ones are, the median does.
    assert_eq!(purity["median"], serde_json::json!({ "low": 6000, "high": 6500 }));
    // Bases and frames stand apart, and what one of them lacks is not lent by the other.
    let hcl = [("drug", "COC_HCL"), ("market", "wholesale"), ("basis", "hcl"), ("frame", "seizure_all")];
    assert_eq!(row(&result, "pooled", &hcl)["values"]["samples"]["value"], 5);
    let checking = [("drug", "COC_HCL"), ("market", "wholesale"), ("basis", "base"), ("frame", "drug_checking")];
    assert_eq!(row(&result, "pooled", &checking)["values"]["samples"]["value"], 5);
    // A mean needs twenty cases at one provider.
    assert_eq!(pooled["purity_mean"]["state"], "missing");
    // The member's own histogram: the bin of four is hidden, and so is every empty one.
    let cells = result["cells"].as_array().unwrap();
    let cell = cells
        .iter()
        .find(|cell| {
            cell["member"] == "PT-AGENCY" && key.iter().all(|(dimension, code)| cell["key"][dimension] == *code)
        })
        .unwrap();
    let bins = cell["values"]["purity"]["bins"].as_array().unwrap();
    let shown: Vec<(u64, u64, u64)> = bins
        .iter()
        .filter(|bin| bin["state"] == "value")
        .map(|bin| (bin["from"].as_u64().unwrap(), bin["to"].as_u64().unwrap(), bin["value"].as_u64().unwrap()))
        .collect();
    assert_eq!(shown, [(6000, 8000, 8), (6000, 7000, 8), (6000, 6500, 8)]);
    let text = stage.federation.officer(&[
        "ask",
        "purity-quarter-form-market",
        "--from",
        "IT-AGENCY",
        "--period",
        "2024",
        "--by",
        "drug=form,market=level",
    ]);
    assert!(text.stdout.contains("60-65 (60-65, 80-85) of 12"), "{}", text.stdout);
}

#[test]
fn prices_are_converted_by_the_rates_that_the_operator_brought_and_levels_never_pool() {
    let stage = Stage::new();
    let rows: String = (0..25)
        .map(|i| {
            let (level, amount) = if i < 20 { ("retail", "708.1") } else { ("wholesale", "30000") };
            let (quantity, unit) = if i < 20 { ("1", "g") } else { ("1", "kg") };
            format!("P{i},PK{i},2024-03-16,synthetic,COC,COC_HCL,{amount},SEK,{quantity},{unit},{level},weighed,test_purchase\n")
        })
        .collect();
    let refused = stage.import("IT-AGENCY", "price", PRICE, &rows, &["--coverage", "2024"]);
    assert_eq!((refused["exit"].as_u64(), &refused["error"]["code"]), (Some(3), &"R-CURRENCY".into()), "{refused}");
    assert_eq!(
        refused["result"]["unknown_words"][0],
        serde_json::json!({"column": "currency", "word": "SEK", "count": 25})
    );
    fs::write(stage.federation.path().join("rates.csv"), RATES).unwrap();
    let rates = stage.federation.operator("IT-AGENCY", &["rates", "import", "rates.csv", "--json"]).json();
    assert_eq!((rates["result"]["new"].clone(), rates["result"]["to"].clone()), (4.into(), "2024-03-15".into()));
    let again = stage.federation.operator("IT-AGENCY", &["rates", "import", "rates.csv", "--json"]).json();
    assert_eq!((again["result"]["new"].clone(), again["result"]["rates"].clone()), (0.into(), 4.into()));
    fs::write(stage.federation.path().join("other.csv"), RATES.replace("11.2650", "11.2651")).unwrap();
    let other = stage.federation.operator("IT-AGENCY", &["rates", "import", "other.csv", "--json"]);
    assert_eq!((other.code, other.json()["error"]["code"].clone()), (3, "R-RATE".into()));
    let said = stage.import("IT-AGENCY", "price", PRICE, &rows, &["--coverage", "2024"]);
    assert_eq!(said["exit"], 0, "{said}");
    let old = rows.replace("2024-03-16", "2024-04-16").replace('P', "Q");
    let old = stage.import("IT-AGENCY", "price", PRICE, &old, &[]);
    assert_eq!(old["error"]["code"], "R-RATE", "{old}");
    stage.publish("IT-AGENCY");
    let result = stage.ask(&[
        "prices-quarter-drug-market",
        "--from",
        "IT-AGENCY",
        "--period",
        "2024-Q1",
        "--by",
        "time=quarter",
    ]);
    let of = |level| row(&result, "pooled", &[("drug", "COC_COCAINE"), ("market", level), ("per", "gram_weighed")]);
    // 708.1 / 11.265 = 62.858 euro for one gram; 30 000 / 11.265 / 1000 = 2.663.
    assert_eq!(of("retail")["values"]["prices"]["value"], 20);
    assert_eq!(of("retail")["values"]["price"]["median"], serde_json::json!({ "low": 6000, "high": 8000 }));
    assert_eq!(of("wholesale")["values"]["price"]["median"], serde_json::json!({ "low": 250, "high": 300 }));
}

#[test]
fn sites_of_several_providers_add_up_where_one_alone_is_hidden() {
    let stage = Stage::new();
    let header = "record_id,case_id,date,source,site_role,carrier";
    let sites = |n: u32| -> String {
        (0..n).map(|i| format!("S{i},SK{i},2024-0{},synthetic,extraction,charcoal\n", i % 9 + 1)).collect()
    };
    for (member, n) in [("IT-AGENCY", 6), ("PT-AGENCY", 4)] {
        assert_eq!(stage.import(member, "site", header, &sites(n), &["--coverage", "2024"])["exit"], 0);
        stage.publish(member);
    }
    let result = stage.ask(&["sites-year-role", "--from", "IT-AGENCY,PT-AGENCY", "--period", "2024"]);
    let pooled = &row(&result, "pooled", &[("role", "extraction")])["values"]["sites"];
    assert_eq!((pooled["value"].as_u64(), pooled["lower_bound"].as_bool()), (Some(6), Some(true)));
    assert_eq!(pooled["missing"], serde_json::json!([{"member": "PT-AGENCY", "why": "suppressed"}]));
    assert_eq!(result["totals"], serde_json::json!([]), "a table without margins has no totals");
}

#[test]
fn each_kind_refuses_its_own_kinds_of_bad_row() {
    let stage = Stage::new();
    let purity = "X,K,2024,synthetic,COC,COC_HCL,50.00,no,base,all,seizure,wholesale";
    let price = "X,K,2024-03-15,synthetic,COC,COC_HCL,60,EUR,1,g,retail,weighed,online";
    let cases: &[(&str, &str, &str, &str, &str, &str)] = &[
        ("purity", PURITY, purity, "50.00", "100.01", "R-RANGE purity_percent"),
        ("purity", PURITY, purity, "50.00", "-0.1", "R-NUMBER purity_percent"),
        ("purity", PURITY, purity, "50.00", "\"1,5\"", "R-NUMBER purity_percent"),
        ("purity", PURITY, purity, "50.00", "1e3", "R-NUMBER purity_percent"),
        ("purity", PURITY, purity, "50.00", "∞", "R-NUMBER purity_percent"),
        ("purity", PURITY, purity, "50.00", "50%", "R-NUMBER purity_percent"),
        ("purity", PURITY, purity, "50.00", "50.123", "R-NUMBER purity_percent"),
        ("purity", PURITY, purity, "50.00", "", "R-REQUIRED purity_percent"),
        ("purity", PURITY, purity, "no,base", "yes,base", "R-RANGE purity_percent"),
        ("purity", PURITY, purity, "base", "", "R-REQUIRED expressed_as"),
        ("purity", PURITY, purity, "COC_HCL", "", "R-REQUIRED form"),
        ("purity", PURITY, purity, ",seizure,", ",street,", "R-CODE origin"),
        ("price", PRICE, price, "EUR", "eur", "R-CURRENCY currency"),
        ("price", PRICE, price, "EUR", "", "R-REQUIRED currency"),
        ("price", PRICE, price, ",60,", ",0,", "R-RANGE amount"),
        ("price", PRICE, price, ",g,", ",l,", "R-UNIT unit"),
        ("price", PRICE, price, "retail", "street", "R-CODE market_level"),
        ("price", PRICE, price, "online", "", "R-REQUIRED price_source"),
    ];
    for (kind, header, good, from, to, want) in cases {
        let said = stage.import("IT-AGENCY", kind, header, &format!("{}\n", good.replacen(from, to, 1)), &[]);
        let found = format!(
            "{} {}",
            said["error"]["code"].as_str().unwrap_or("none"),
            said["error"]["where"]["column"].as_str().unwrap_or("")
        );
        assert_eq!(found, *want, "{kind} {from} -> {to}: {said}");
    }
    for kind in ["profile", "purities"] {
        let said = stage.federation.operator("IT-AGENCY", &["import", "IT-AGENCY-price.csv", "--kind", kind, "--json"]);
        assert_eq!((said.code, said.json()["error"]["code"].clone()), (2, "KIND".into()));
    }
}
