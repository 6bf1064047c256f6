//! The canonical layout as a document: generated from the code, so that document and importer cannot differ.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use accord_node::domain::import::{
    mapping::Mapping,
    row::{RowReader, canonical_columns},
    staging::{Index, Outcome, Staging},
};
use accord_protocol::time::Date;
use expect_test::expect_file;

/// Three synthetic rows: one seizure of two drugs, and one counted in tablets at an unknown place.
const ROWS: [&[(&str, &str)]; 3] = [
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

#[test]
fn the_layout_document_is_what_the_importer_reads() {
    let columns: Vec<&str> = canonical_columns().map(|(name, _)| name).collect();
    let mut text = columns.join(",") + "\n";
    let mut lines = Vec::new();
    for row in ROWS {
        let cell = |column: &str| {
            let given = row.iter().find(|(name, _)| *name == column).map_or("", |(_, value)| value);
            if column == "source" { "synthetic" } else { given }
        };
        let cells: Vec<&str> = columns.iter().map(|column| cell(column)).collect();
        text += &(cells.join(",") + "\n");
        lines.push(cells);
    }
    expect_file!["../../docs/layout/seizure.csv"].assert_eq(&text);
    let reader = RowReader::new(Mapping::canonical(), &columns, "ES", None, Date::new(2026, 11, 24).unwrap())
        .unwrap_or_else(|fault| panic!("{fault:?}"));
    let index = Index::default();
    let mut staging = Staging::new(&reader, &index);
    for (number, cells) in lines.iter().enumerate() {
        assert!(matches!(staging.row(cells, number as u64 + 2), Outcome::New(_)));
    }
    let (report, _) = staging.finish();
    assert_eq!((report.rows.new, report.records, report.cases.distinct, report.without_mass), (3, 2, 2, 1));
}
