//! The canonical layout as a document: generated from the code, so that document and importer cannot differ.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use accord_node::domain::{
    import::{
        index::Index,
        mapping::Mapping,
        row::{Reading, RowReader},
        staging::{Changed, Outcome, Staging},
    },
    rates::Rates,
};
use accord_protocol::{catalogue::Kind, layout, time::Date};
use expect_test::expect_file;

type Rows = [&'static [(&'static str, &'static str)]; 3];

/// Three synthetic rows: one seizure of two drugs, and one counted in tablets at an unknown place.
const SEIZURES: Rows = [
    &[
        ("record_id", "SYN-1"),
        ("case_id", "SYN-CASE-1"),
        ("date", "2024-05-17"),
        ("nuts", "ES61"),
        ("agency", "customs"),
        ("line", "1"),
        ("drug", "COC"),
        ("form", "COC_HCL"),
        ("amount", "1250.5"),
        ("unit", "kg"),
        ("quantity_kind", "net"),
        ("transport", "container"),
        ("place_type", "seaport"),
        ("concealment", "in_load"),
        ("direction", "import"),
        ("departure", "EC"),
        ("destination", "NL"),
        ("transit", "PA;CO"),
        ("market_level", "wholesale"),
        ("level_rule", "weight"),
        ("controlled_delivery", "no"),
        ("joint_operation", "yes"),
        ("joint_with", "NL"),
    ],
    &[
        ("record_id", "SYN-1"),
        ("case_id", "SYN-CASE-1"),
        ("date", "2024-05-17"),
        ("nuts", "ES61"),
        ("agency", "customs"),
        ("line", "2"),
        ("drug", "HER"),
        ("amount", "900"),
        ("unit", "g"),
        ("quantity_kind", "gross"),
        ("transport", "container"),
        ("place_type", "seaport"),
        ("concealment", "in_load"),
        ("direction", "import"),
        ("departure", "EC"),
        ("destination", "NL"),
        ("transit", "PA;CO"),
        ("market_level", "wholesale"),
        ("level_rule", "weight"),
        ("controlled_delivery", "no"),
        ("joint_operation", "yes"),
        ("joint_with", "NL"),
    ],
    &[
        ("record_id", "SYN-2"),
        ("case_id", "SYN-CASE-2"),
        ("date", "2024-Q2"),
        ("agency", "police"),
        ("status", "provisional"),
        ("line", "1"),
        ("drug", "MDMA_MDMA"),
        ("amount", "120"),
        ("unit", "tablet"),
        ("quantity_kind", "unknown"),
        ("transport", "unknown"),
        ("concealment", "none"),
        ("departure", "unknown"),
    ],
];

/// A cocaine sample, one below detection, one of drug checking.
const PURITIES: Rows = [
    &[
        ("record_id", "SYN-P1"),
        ("case_id", "SYN-CASE-1"),
        ("date", "2024-06-03"),
        ("nuts", "ES61"),
        ("seizure_id", "SYN-1"),
        ("drug", "COC"),
        ("form", "COC_HCL"),
        ("purity_percent", "81.40"),
        ("below_detection", "no"),
        ("expressed_as", "base"),
        ("method", "gc_fid"),
        ("sampling", "all"),
        ("origin", "seizure"),
        ("market_level", "wholesale"),
        ("sample_mg", "250"),
        ("adulterants", "levamisole;caffeine"),
    ],
    &[
        ("record_id", "SYN-P2"),
        ("case_id", "SYN-CASE-2"),
        ("date", "2024-06"),
        ("drug", "HER"),
        ("form", "unknown"),
        ("below_detection", "yes"),
        ("expressed_as", "unknown"),
        ("sampling", "threshold"),
        ("threshold_mg", "500000"),
        ("origin", "seizure"),
        ("market_level", "unknown"),
        ("adulterants", "none"),
    ],
    &[
        ("record_id", "SYN-P3"),
        ("case_id", "SYN-CASE-3"),
        ("date", "2024-Q2"),
        ("drug", "MDMA"),
        ("form", "MDMA_TABLET"),
        ("purity_percent", "38"),
        ("below_detection", "no"),
        ("expressed_as", "base"),
        ("sampling", "unknown"),
        ("origin", "drug_checking"),
        ("market_level", "retail"),
    ],
];

/// A price in euro, one in another currency, one of tablets.
const PRICES: Rows = [
    &[
        ("record_id", "SYN-E1"),
        ("case_id", "SYN-CASE-1"),
        ("date", "2024-05-17"),
        ("drug", "COC"),
        ("form", "COC_HCL"),
        ("amount", "60.00"),
        ("currency", "EUR"),
        ("quantity", "1"),
        ("unit", "g"),
        ("market_level", "retail"),
        ("weight_basis", "weighed"),
        ("price_source", "test_purchase"),
        ("purity_percent", "62.5"),
        ("expressed_as", "base"),
    ],
    &[
        ("record_id", "SYN-E2"),
        ("case_id", "SYN-CASE-2"),
        ("date", "2024-05-18"),
        ("drug", "HER"),
        ("amount", "650"),
        ("currency", "SEK"),
        ("quantity", "0.5"),
        ("unit", "g"),
        ("market_level", "retail"),
        ("weight_basis", "assumed"),
        ("price_source", "user_interview"),
    ],
    &[
        ("record_id", "SYN-E3"),
        ("case_id", "SYN-CASE-3"),
        ("date", "2024-05"),
        ("drug", "MDMA_MDMA"),
        ("form", "MDMA_TABLET"),
        ("amount", "80"),
        ("currency", "EUR"),
        ("quantity", "10"),
        ("unit", "tablet"),
        ("market_level", "unknown"),
        ("weight_basis", "unknown"),
        ("price_source", "unknown"),
    ],
];

/// An extraction site, a dump, one of which little is known.
const SITES: Rows = [
    &[
        ("record_id", "SYN-S1"),
        ("case_id", "SYN-CASE-1"),
        ("date", "2024-03-11"),
        ("nuts", "ES61"),
        ("agency", "police"),
        ("site_role", "extraction"),
        ("site_status", "active"),
        ("carrier", "charcoal"),
        ("capacity_g_per_batch", "20000"),
        ("found_drug", "COC"),
        ("found_form", "COC_BASE"),
        ("found_amount", "12.5"),
        ("found_unit", "kg"),
        ("chemicals_ml", "850000"),
        ("linked_seizures", "SYN-1"),
        ("injured", "0"),
        ("dead", "0"),
    ],
    &[
        ("record_id", "SYN-S2"),
        ("case_id", "SYN-CASE-4"),
        ("date", "2024-Q1"),
        ("site_role", "dump"),
        ("carrier", "none"),
    ],
    &[("record_id", "SYN-S3"), ("case_id", "SYN-CASE-5"), ("date", "2024"), ("site_role", "unknown")],
];

#[test]
fn the_layout_documents_are_what_the_importer_reads() {
    let rates = Arc::new(Rates::parse("Date,SEK\n2024-05-17,11.665\n").unwrap());
    for (kind, rows) in
        [(Kind::Seizure, SEIZURES), (Kind::Purity, PURITIES), (Kind::Price, PRICES), (Kind::Site, SITES)]
    {
        let columns: Vec<&str> = layout::fields(kind).iter().map(|field| field.name).collect();
        let mut text = columns.join(",") + "\n";
        let mut lines = Vec::new();
        for row in rows {
            let cell = |column: &str| {
                let given = row.iter().find(|(name, _)| *name == column).map_or("", |(_, value)| value);
                if column == "source" { "synthetic" } else { given }
            };
            assert!(row.iter().all(|(name, _)| columns.contains(name)), "{kind} {row:?}");
            let cells: Vec<&str> = columns.iter().map(|column| cell(column)).collect();
            text += &(cells.join(",") + "\n");
            lines.push(cells);
        }
        expect_file![format!("{}/../docs/layout/{kind}.csv", env!("CARGO_MANIFEST_DIR"))].assert_eq(&text);
        let reading = Reading {
            country: "ES".into(),
            only: None,
            today: Date::new(2026, 11, 24).unwrap(),
            rates: Arc::clone(&rates),
        };
        let reader = RowReader::new(Mapping::canonical(kind).unwrap(), &columns, reading)
            .unwrap_or_else(|fault| panic!("{fault:?}"));
        let index = Index::default();
        let mut staging = Staging::new(&reader, &index, Changed::Conflicts, 1);
        let stored: Vec<bool> = lines
            .iter()
            .enumerate()
            .map(|(number, cells)| matches!(staging.row(cells, number as u64 + 2), Outcome::Store(_)))
            .collect();
        let report = staging.finish().report;
        assert_eq!(stored, [true; 3], "{kind} {:?}", report.errors);
        let records = if kind == Kind::Seizure { 2 } else { 3 };
        assert_eq!((report.rows.new, report.records, report.cases.distinct), (3, records, records));
    }
}

#[test]
fn a_price_is_converted_at_the_last_rate_before_its_day() {
    use accord_node::domain::record::Line;
    let rates = Arc::new(Rates::parse("Date,SEK\n2024-05-17,11.665\n").unwrap());
    let columns: Vec<&str> = layout::fields(Kind::Price).iter().map(|field| field.name).collect();
    let reading = |rates| Reading { country: "SE".into(), only: None, today: Date::new(2026, 11, 24).unwrap(), rates };
    let price = |rates: Arc<Rates>, changes: &[(&str, &str)]| {
        let reader = RowReader::new(Mapping::canonical(Kind::Price).unwrap(), &columns, reading(rates)).unwrap();
        let index = Index::default();
        let mut staging = Staging::new(&reader, &index, Changed::Conflicts, 1);
        let mut given = PRICES[1].to_vec();
        given.push(("source", "synthetic"));
        given.extend(changes);
        let cells: Vec<&str> = columns
            .iter()
            .map(|column| given.iter().rev().find(|(name, _)| name == column).map_or("", |(_, value)| *value))
            .collect();
        match staging.row(&cells, 2) {
            Outcome::Store(line) => match *line {
                Line::Price(price) => {
                    Ok((price.cents_per_unit, price.rate.map(|rate| Date::from_days(rate.day).to_string())))
                }
                _ => unreachable!("a price mapping makes prices"),
            },
            _ => Err(staging.finish().report.errors[0].rule.clone()),
        }
    };
    // 650 SEK for half a gram: 1300 / 11.665 = 111.4445 euro for one gram. The 18th was a Saturday.
    assert_eq!(price(Arc::clone(&rates), &[]), Ok((11_144, Some("2024-05-17".to_owned()))));
    assert_eq!(price(Arc::clone(&rates), &[("date", "2024-05-24")]), Ok((11_144, Some("2024-05-17".to_owned()))));
    assert_eq!(price(Arc::clone(&rates), &[("date", "2024-05-25")]), Err("R-RATE".into()));
    assert_eq!(price(Arc::clone(&rates), &[("currency", "EUR")]), Ok((130_000, None)));
    for (change, rule) in [
        (("currency", ""), "R-REQUIRED"),
        (("currency", "kr"), "R-CURRENCY"),
        (("currency", "ZZZ"), "R-CURRENCY"),
        (("amount", "0"), "R-RANGE"),
        (("amount", "1.005"), "R-NUMBER"),
        (("quantity", ""), "R-REQUIRED"),
        (("unit", "l"), "R-UNIT"),
        (("purity_percent", "100.01"), "R-RANGE"),
        (("purity_percent", "50"), "R-REQUIRED"),
    ] {
        assert_eq!(price(Arc::clone(&rates), &[change]), Err(rule.to_owned()), "{change:?}");
    }
}
