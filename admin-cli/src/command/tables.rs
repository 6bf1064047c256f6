//! `accord tables`: what can be asked for, from the catalogue in force.

use std::collections::BTreeMap;

use accord_protocol::{
    catalogue::{Axis, Catalogue, SHIPPED, Table},
    question::nearest,
};
use clap::Args;
use serde_json::{Value, json};

use super::{Global, forecast::Forecast, shown};
use crate::{
    output::{Failure, Outcome, table},
    profile::Profile,
};

/// `accord tables`
#[derive(Debug, Args)]
pub(crate) struct Tables {
    /// One table, with its levels, measures and codes.
    table: Option<String>,
    #[command(flatten)]
    forecast: Forecast,
}

/// The table of a name, or the nearest ones.
pub(crate) fn find<'a>(catalogue: &'a Catalogue, name: &str) -> anyhow::Result<&'a Table> {
    catalogue.table(name).ok_or_else(|| {
        let names = || catalogue.tables().iter().map(|table| table.name.as_str());
        let near = nearest(name, names());
        let list = if near.is_empty() { names().collect::<Vec<_>>() } else { near };
        let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
        Failure::usage("UNKNOWN-TABLE", format!("there is no table `{shown}`"), format!("tables: {}", list.join(", ")))
            .into()
    })
}

impl Tables {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self.forecast.looks_at() {
            [] => {}
            [from] => return shown::show(from, self.table.as_deref(), global),
            [_, ..] => {
                let message = "one partner is looked at at a time";
                return Err(Failure::usage("ONE-MEMBER", message, "name one with --from").into());
            }
        }
        if let Some(name) = self.table.as_ref().filter(|_| self.forecast.is_wanted()) {
            let profile = Profile::open(global)?;
            let (trust, _) = profile.trust()?;
            return self.forecast.run(find(trust.catalogue(), name)?, &profile, global);
        }
        // Without a profile the catalogue that ships is shown, so that one can look before one joins.
        let (catalogue, country, source) = match Profile::open(global) {
            Ok(profile) => {
                let (trust, _) = profile.trust()?;
                let country = profile.member.country().to_owned();
                ((**trust.catalogue()).clone(), country, "in force")
            }
            Err(error) if global.profile.is_some() => return Err(error),
            Err(_) => (Catalogue::parse(SHIPPED)?, String::new(), "shipped with this version"),
        };
        let about = json!({ "id": catalogue.id, "hash": catalogue.hash.to_string(), "source": source });
        match &self.table {
            None => {
                let tables: Vec<Value> =
                    catalogue.tables().iter().map(|table| describe(table, &country, false)).collect();
                let rows: Vec<Vec<String>> = catalogue
                    .tables()
                    .iter()
                    .map(|table| vec![table.name.clone(), table.kind.to_string(), table.title.clone()])
                    .collect();
                let header = ["table", "kind", "what"].map(str::to_owned);
                let text = format!("catalogue {} ({source})\n\n{}", catalogue.id, table_text(&header, &rows));
                Ok(Outcome::done(json!({ "catalogue": about, "tables": tables }), text))
            }
            Some(name) => {
                let table = find(&catalogue, name)?;
                Ok(Outcome::done(
                    json!({ "catalogue": about, "tables": [describe(table, &country, true)] }),
                    words(table, &country),
                ))
            }
        }
    }
}

fn table_text(header: &[String], rows: &[Vec<String>]) -> String {
    table(header, rows, &[])
}

fn codes_at(axis: &Axis, level: u8) -> Vec<(String, String)> {
    axis.numbers(level, 2000)
        .into_iter()
        .filter_map(|number| axis.name(level, number))
        .map(|code| {
            let label = axis.label(&code);
            (code, label)
        })
        .collect()
}

pub(super) fn describe(table: &Table, country: &str, with_codes: bool) -> Value {
    let axes = table.axes(country).unwrap_or_default();
    let dimensions: Vec<Value> = table
        .dimensions
        .iter()
        .zip(&axes)
        .map(|(dimension, axis)| {
            let levels: Vec<Value> = axis
                .level_names()
                .iter()
                .enumerate()
                .map(|(level, name)| {
                    let level = u8::try_from(level).unwrap_or(u8::MAX);
                    let codes = if matches!(axis, Axis::Time) { Vec::new() } else { codes_at(axis, level) };
                    let listed: Vec<Value> = codes.iter().map(|(code, label)| json!({ "code": code, "label": label })).collect();
                    if with_codes { json!({ "level": name, "codes": listed }) } else { json!({ "level": name, "codes_count": codes.len() }) }
                })
                .collect();
            json!({ "dimension": dimension.name, "list": dimension.list, "default": dimension.default, "levels": levels })
        })
        .collect();
    let grids: Vec<Value> = table
        .level_sets()
        .iter()
        .map(|set| {
            let levels: BTreeMap<&str, String> = table
                .dimensions
                .iter()
                .zip(&axes)
                .zip(&set.levels)
                .map(|((dimension, axis), level)| {
                    (dimension.name.as_str(), axis.level_names().get(usize::from(*level)).cloned().unwrap_or_default())
                })
                .collect();
            let measures: Vec<&str> = table
                .measures
                .iter()
                .enumerate()
                .filter(|(bit, _)| set.measures >> bit & 1 == 1)
                .map(|(_, measure)| measure.id.as_str())
                .collect();
            json!({ "levels": levels, "measures": measures })
        })
        .collect();
    let measures: Vec<Value> = table
        .measures
        .iter()
        .map(|measure| json!({ "id": measure.id, "unit": measure.unit, "step": measure.step, "basis": measure.basis, "pool": measure.pool_word(), "note": measure.note, "bins": measure.bins.iter().map(|level| json!({ "level": level.name, "edges": level.edges })).collect::<Vec<_>>() }))
        .collect();
    json!({
        "table": table.name, "id": table.id, "version": table.version, "kind": table.kind.as_str(), "title": table.title,
        "counting_unit": table.counting_unit, "method": table.method, "margins": table.margins,
        "dimensions": dimensions, "measures": measures, "grids": grids,
    })
}

fn words(table: &Table, country: &str) -> String {
    let axes = table.axes(country).unwrap_or_default();
    let mut text = format!("{}: {}\n  counts {}\n", table.name, table.title, table.counting_unit);
    for sentence in &table.method {
        text += &format!("  {sentence}\n");
    }
    text += "\ndimensions (--by DIM=LEVEL, --where DIM=CODE)\n";
    for (dimension, axis) in table.dimensions.iter().zip(&axes) {
        text += &format!("  {}: {} (default {})\n", dimension.name, axis.level_names().join(", "), dimension.default);
        if matches!(axis, Axis::Codes(_)) {
            for (level, name) in axis.level_names().iter().enumerate() {
                let codes = codes_at(axis, u8::try_from(level).unwrap_or(u8::MAX));
                if codes.len() > 1 {
                    let codes: Vec<String> = codes.into_iter().map(|(code, _)| code).collect();
                    text += &format!("    {name}: {}\n", codes.join(" "));
                }
            }
        }
    }
    text += "\nmeasures (--measure ID)\n";
    for measure in &table.measures {
        text += &format!("  {} [{}]: {}\n", measure.id, measure.unit, measure.note);
    }
    text += "\ncombinations of levels\n";
    for set in table.level_sets() {
        text += &format!("  {}\n", accord_protocol::question::level_words(table, &set.levels));
    }
    text
}
