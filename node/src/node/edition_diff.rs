//! What two editions say differently: what anybody who has both can see.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use accord_protocol::catalogue::{Catalogue, Table};
use serde_json::{Map, Value, json};

use super::{
    Node, Reply, done,
    edition_view::View,
    editions::{LoadedEdition, unknown_table},
    failed, store_failed,
};
use crate::domain::edition::Block;

/// Blocks with the catalogue that they were made under.
pub(super) type Side<'a> = (&'a Catalogue, &'a HashMap<(u16, u16), Block>);

/// Numbers of one table, by what became of them.
#[derive(Debug, Default)]
struct Differences {
    same: u64,
    changed: u64,
    shown: u64,
    hidden: u64,
    added: u64,
    gone: u64,
}

impl Node {
    /// Compares two editions, number by number. Blocks on the store.
    pub fn compare(&self, from: u64, to: u64, table: Option<&str>, cells: bool) -> Reply {
        let (before, after) = match (self.edition_to_compare(from), self.edition_to_compare(to)) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(reply), _) | (_, Err(reply)) => return *reply,
        };
        if before.frozen.header.catalogue_hash != after.frozen.header.catalogue_hash {
            let message =
                format!("editions {from} and {to} were made under different catalogues: their cells are not the same");
            return failed(2, "CATALOGUE", message, "compare editions of one catalogue: see accord edition show N");
        }
        if let Some(unknown) = unknown_table(&after.frozen.catalogue, table) {
            return unknown;
        }
        let country = self.config.member.country();
        let (was, is) = (&before.frozen, &after.frozen);
        let (tables, listed) =
            differences((&was.catalogue, &was.blocks), (&is.catalogue, &is.blocks), country, table, cells);
        let mut result = json!({ "member": self.config.member.as_str(), "from": from, "to": to, "tables": tables });
        if let Some(result) = result.as_object_mut().filter(|_| cells) {
            result.insert("cells".into(), Value::Array(listed));
        }
        done(result)
    }

    fn edition_to_compare(&self, number: u64) -> Result<Arc<LoadedEdition>, Box<Reply>> {
        match self.loaded_edition(number) {
            Ok(Some(edition)) => Ok(edition),
            Ok(None) => {
                let message = format!("there is no edition {number}");
                Err(Box::new(failed(2, "NO-EDITION", message, "see accord edition list")))
            }
            Err(error) => Err(Box::new(store_failed(&error))),
        }
    }
}

/// The difference of blocks, table by table: counts, and the cells that differ if they are asked for.
pub(super) fn differences(
    (old_catalogue, old): Side<'_>,
    (catalogue, new): Side<'_>,
    country: &str,
    only: Option<&str>,
    cells: bool,
) -> (Vec<Value>, Vec<Value>) {
    let (mut tables, mut listed) = (Vec::new(), Vec::new());
    let cells_of = |(catalogue, blocks): Side<'_>, of: Option<&Table>| -> BTreeMap<String, Value> {
        let mut found = Vec::new();
        if let Some(of) = of {
            View { catalogue, country, blocks, shares: &[] }.table(of, true, &mut found);
        }
        found.into_iter().map(|cell| (part(&cell, "key").to_string(), cell)).collect()
    };
    for of in catalogue.tables().iter().filter(|of| only.is_none_or(|name| name == of.name)) {
        let was = cells_of((old_catalogue, old), old_catalogue.table(&of.name));
        let mut now = cells_of((catalogue, new), Some(of));
        let mut differences = Differences::default();
        let mut compare = |then: &Value, now: &Value| {
            let changes = differences.add(part(then, "values"), part(now, "values"));
            if cells && !changes.is_empty() {
                let key = part(if then.is_null() { now } else { then }, "key");
                listed.push(json!({ "table": of.name, "key": key, "values": changes }));
            }
        };
        for (key, cell) in was {
            compare(&cell, &now.remove(&key).unwrap_or(Value::Null));
        }
        for cell in now.values() {
            compare(&Value::Null, cell);
        }
        tables.push(json!({
            "table": of.name, "same": differences.same, "changed": differences.changed, "shown": differences.shown,
            "hidden": differences.hidden, "added": differences.added, "gone": differences.gone,
        }));
    }
    (tables, listed)
}

fn part<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

impl Differences {
    // Counts the measures of a cell; gives those that differ, as they were and as they are.
    fn add(&mut self, then: &Value, now: &Value) -> Map<String, Value> {
        let none = Map::new();
        let (then, now) = (then.as_object().unwrap_or(&none), now.as_object().unwrap_or(&none));
        let mut changes = Map::new();
        for measure in then.keys().chain(now.keys().filter(|measure| !then.contains_key(*measure))) {
            let said = |values: &Map<String, Value>| values.get(measure).map_or(Value::Null, without_reasons);
            let (then, now) = (said(then), said(now));
            let count = match (state(&then), state(&now)) {
                (None, None) => continue,
                (None, Some(_)) => &mut self.added,
                (Some(_), None) => &mut self.gone,
                (Some("value"), Some("value")) if then != now => &mut self.changed,
                (Some("value"), Some("suppressed")) => &mut self.hidden,
                (Some("suppressed"), Some("value")) => &mut self.shown,
                (Some(_), Some(_)) => {
                    self.same += 1;
                    continue;
                }
            };
            *count += 1;
            changes.insert(measure.clone(), json!({ "from": then, "to": now }));
        }
        changes
    }
}

// Shown or hidden; nothing for what is not available.
fn state(value: &Value) -> Option<&str> {
    part(value, "state").as_str().filter(|state| *state != "not_available")
}

// What an edition says of a measure, without the operator's reasons.
fn without_reasons(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| *name != "reason");
            kept.map(|(name, value)| (name.clone(), without_reasons(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(parts) => parts.iter().map(without_reasons).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_or_changed_or_shown_or_hidden_or_there_or_not() {
        let value = |number: u64| json!({ "m": { "state": "value", "value": number, "reason": "carried" } });
        let hidden = json!({ "m": { "state": "suppressed", "reason": "too_few_cases" } });
        let other_reason = json!({ "m": { "state": "suppressed", "reason": "carried" } });
        let absent = json!({ "m": { "state": "not_available" } });
        let mut of = Differences::default();
        let pairs = [
            (value(7), value(7)),
            (value(7), value(12)),
            (hidden.clone(), value(7)),
            (value(7), hidden.clone()),
            (hidden.clone(), other_reason),
            (absent.clone(), value(7)),
            (Value::Null, hidden.clone()),
            (value(7), absent.clone()),
            (absent.clone(), absent),
        ];
        let listed: Vec<bool> = pairs.iter().map(|(then, now)| !of.add(then, now).is_empty()).collect();
        assert_eq!(listed, [false, true, true, true, false, true, true, true, false]);
        assert_eq!((of.same, of.changed, of.shown, of.hidden, of.added, of.gone), (2, 1, 1, 1, 2, 1));
        let changes = of.add(&value(7), &value(12));
        assert_eq!(
            Value::Object(changes)["m"],
            json!({ "from": { "state": "value", "value": 7 }, "to": { "state": "value", "value": 12 } })
        );
    }
}
