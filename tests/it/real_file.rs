//! The public seizure file, state by state: every Member State in it imports with the mapping that ships, and what is left out is counted.

use std::{collections::BTreeMap, io::BufReader, path::Path, sync::Arc};

use accord_edge::rows::{RowSplitter, Split};
use accord_node::domain::import::{
    index::Index,
    mapping::{Mapping, REPORTING_COUNTRY},
    row::{Only, Reading, RowReader},
    staging::{Changed, Staging},
};
use accord_protocol::time::Date;
use expect_test::expect_file;

const STATES: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
    "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

#[test]
fn every_member_state_in_the_real_file_imports_without_editing() {
    let Ok(data) = std::env::var("ACCORD_DATA") else {
        // Without the public file this cannot run; `tests/run` says so, and CI fails if it is missing there.
        assert!(std::env::var("CI").is_err(), "CI must set ACCORD_DATA");
        println!("not run: set ACCORD_DATA to the folder with the public seizure file");
        return;
    };
    let path = Path::new(&data).join("unodc-ids-2011-2016/drug-trafficking-unodc.zip");
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let index =
        (0..archive.len()).find(|index| archive.by_index(*index).unwrap().name().unwrap().ends_with(".csv")).unwrap();
    let mapping = Mapping::shipped("unodc-ids").unwrap();
    let mut splitter = RowSplitter::new(BufReader::new(archive.by_index(index).unwrap()), mapping.delimiter);
    let Split::Row { fields, .. } = splitter.next_row().unwrap() else { panic!("no header") };
    let header: Vec<String> = fields.iter().map(ToString::to_string).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let stored = Index::default();
    let readers: Vec<RowReader> = STATES
        .iter()
        .map(|state| {
            let reading = Reading {
                country: (*state).into(),
                only: Some(Only { field: REPORTING_COUNTRY.into(), code: (*state).into() }),
                today: Date::new(2026, 11, 24).unwrap(),
                rates: Arc::default(),
            };
            RowReader::new(mapping.clone(), &header, reading).unwrap()
        })
        .collect();
    let mut staging: BTreeMap<&str, Staging<'_>> = STATES
        .iter()
        .zip(&readers)
        .map(|(state, reader)| (*state, Staging::new(reader, &stored, Changed::Conflicts, 1)))
        .collect();
    // A row is some state's or nobody's: the one that takes it is found by its country's word, tried at each.
    loop {
        match splitter.next_row().unwrap() {
            Split::End => break,
            Split::Fault { line, message, .. } => panic!("line {line}: {message}"),
            Split::Row { fields, line } => {
                if fields[0] == "Europe" {
                    for staging in staging.values_mut() {
                        staging.row(&fields, line);
                    }
                }
            }
        }
    }
    let mut shown = String::new();
    let (mut states, mut selected, mut new, mut bad) = (0, 0, 0, 0);
    for (state, staging) in staging {
        let report = staging.finish().report;
        let skipped: Vec<String> =
            report.skipped.iter().map(|skip| format!("{} {} {}", skip.count, skip.rule, skip.column)).collect();
        let words: Vec<String> =
            report.unknown_words.iter().map(|word| format!("{} {} {:?}", word.count, word.column, word.word)).collect();
        shown += &format!(
            "{state}: {} rows, {} new, {} skipped [{}] unknown words [{}], places {} code {} name {} alias {} unknown\n",
            report.rows.selected,
            report.rows.new,
            report.rows.skipped,
            skipped.join(", "),
            words.join(", "),
            report.place.code,
            report.place.name,
            report.place.alias,
            report.place.region_unknown
        );
        states += u32::from(report.rows.new > 0);
        selected += report.rows.selected;
        new += report.rows.new;
        bad += report.rows.skipped + report.rows.conflict;
    }
    shown += &format!("{states} states, {selected} rows, {new} new, {bad} left out\n");
    expect_file!["golden/member_states.txt"].assert_eq(&shown);
    assert_eq!((states, selected), (26, 20_112));
}
