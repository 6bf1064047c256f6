//! What a policy decides, in words and as JSON: levels, ways by age, differences.

use std::collections::BTreeMap;

use accord_policy::{AGES, Difference, Way, Ways, ways_words};
use accord_protocol::{
    catalogue::{Catalogue, Table},
    officers::Purpose,
    topic::Under,
};
use serde_json::{Value, json};

/// What two policies decide otherwise, for people: a line for each member and change, with the tables that change alike.
pub(crate) fn difference_words(all: &[Difference], catalogue: &Catalogue) -> Vec<String> {
    // By member, change, purpose and levels.
    let mut alike: BTreeMap<[String; 4], Vec<&str>> = BTreeMap::new();
    for of in all {
        let table = catalogue.table(&of.table);
        let every = table.is_some_and(|table| table.level_sets().len() == of.levels.len());
        let levels = if every { "every level".to_owned() } else { level_words(&of.levels, table, LEVELS_TOLD) };
        let change = format!("{} (was {})", ways_words(&of.after), ways_words(&of.before));
        let purpose = purpose_words(of.purpose, of.under);
        alike.entry([of.member.to_string(), change, purpose, levels]).or_default().push(&of.table);
    }
    let line = |([member, change, purpose, levels], tables): (&[String; 4], &Vec<&str>)| {
        format!("{member} for {purpose}: {change}: {}, {levels}", tables.join(", "))
    };
    alike.iter().map(line).collect()
}

/// What for, and whether under a topic where that makes a difference.
pub(crate) fn purpose_words(purpose: Purpose, under: Under) -> String {
    match under {
        Under::Either => purpose.to_string(),
        Under::Without | Under::With => format!("{purpose}, {under}"),
    }
}

/// The same as JSON: true with a topic, false without, nothing where it makes no difference.
pub(crate) const fn under_json(under: Under) -> Option<bool> {
    match under {
        Under::Either => None,
        Under::Without => Some(false),
        Under::With => Some(true),
    }
}

/// Combinations of levels that are listed for people, at most.
pub(super) const LEVELS_TOLD: usize = 8;

fn level_names(levels: &[u8], of: Option<&Table>) -> Vec<(String, String)> {
    let axes = of.and_then(|table| table.axes("").ok()).unwrap_or_default();
    let dimensions = of.map(|table| table.dimensions.as_slice()).unwrap_or_default();
    let named = dimensions.iter().zip(&axes).zip(levels);
    named
        .filter_map(|((dimension, axis), level)| {
            Some((dimension.name.clone(), axis.level_names().get(usize::from(*level))?.clone()))
        })
        .collect()
}

pub(super) fn level_words(levels: &[Vec<u8>], of: Option<&Table>, most: usize) -> String {
    let word =
        |levels: &Vec<u8>| level_names(levels, of).into_iter().map(|(_, level)| level).collect::<Vec<_>>().join("/");
    let mut words: Vec<String> = levels.iter().take(most).map(word).collect();
    if levels.len() > most {
        words.push(format!("and {} more", levels.len() - most));
    }
    words.join(" ")
}

pub(super) fn levels_json(levels: &[Vec<u8>], of: Option<&Table>) -> Vec<BTreeMap<String, String>> {
    levels.iter().map(|levels| level_names(levels, of).into_iter().collect()).collect()
}

pub(super) fn ways_json(ways: &Ways) -> Vec<Value> {
    let ages = AGES.iter().zip(ways);
    ages.map(|(age, way)| json!({ "months": age, "answer": way.map_or("denied", Way::as_str) })).collect()
}

pub(super) fn difference_json(of: &Difference, catalogue: Option<&Catalogue>) -> Value {
    let table = catalogue.and_then(|catalogue| catalogue.table(&of.table));
    json!({
        "member": of.member.as_str(), "table": of.table, "purpose": of.purpose.as_str(), "topic": under_json(of.under),
        "levels": levels_json(&of.levels, table),
        "before": ways_json(&of.before), "after": ways_json(&of.after),
    })
}
