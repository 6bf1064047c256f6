//! What left: answers to other members, counted by partner, purpose, table and edition.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{log::EventKind, time::UnixMs};
use serde_json::{Value, json};

use crate::{
    io::store::StoreError,
    node::{Actor, Happening, Node, Reply, done, store_failed},
};

/// Partner, purpose, table and edition.
type Row = (String, String, u64, u64);

#[derive(Default)]
struct Sum {
    answers: u64,
    officers: BTreeSet<String>,
    shown: u64,
    hidden: u64,
    bytes: u64,
    first: Option<UnixMs>,
    last: Option<UnixMs>,
}

impl Node {
    /// What left between two instants, as far as details can still be read. Blocks on the store.
    pub(crate) fn egress(&self, (since, until): (Option<u64>, Option<u64>), by: &Actor) -> Reply {
        self.egress_inner(since.unwrap_or(0), until.unwrap_or(u64::MAX), by)
            .unwrap_or_else(|error| store_failed(&error))
    }

    fn egress_inner(&self, since: u64, until: u64, by: &Actor) -> Result<Reply, StoreError> {
        self.record(&Happening::new(
            EventKind::Read,
            by,
            json!({ "what": "egress", "since_ms": since, "until_ms": until }),
        ))?;
        let mut sums: BTreeMap<Row, Sum> = BTreeMap::new();
        let mut unreadable = 0u64;
        let destroyed = self.store.destroyed()?;
        let mut from = None;
        for entry in self.store.entries(destroyed.entries) {
            let entry = entry?;
            from.get_or_insert(entry.time);
            if entry.kind != EventKind::Answered || entry.time.0 < since || entry.time.0 >= until {
                continue;
            }
            let Some(detail) = self.detail_of(&entry)?.json() else {
                unreadable += 1;
                continue;
            };
            let text = |name: &str| detail.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = |name: &str| detail.get(name).and_then(Value::as_u64).unwrap_or_default();
            // What own officers saw of their own agency has not left.
            if text("requester") == self.config.member.as_str() {
                continue;
            }
            let row = (text("requester"), text("purpose"), number("table_id"), number("edition"));
            let sum = sums.entry(row).or_default();
            sum.answers += 1;
            sum.officers.insert(text("actor"));
            sum.shown += number("numbers_shown");
            sum.hidden += number("numbers_hidden");
            sum.bytes += number("slice_bytes");
            sum.first.get_or_insert(entry.time);
            sum.last = Some(entry.time);
        }
        let standing = self.standing();
        let catalogue = standing.trust().catalogue();
        let name = |id: u64| {
            let table = u16::try_from(id).ok().and_then(|id| catalogue.table_by_id(id));
            table.map_or_else(|| format!("table {id}"), |table| table.name.clone())
        };
        let rows: Vec<Value> = sums
            .iter()
            .map(|((partner, purpose, table, edition), sum)| {
                json!({
                    "partner": partner, "purpose": purpose, "table": name(*table), "edition": edition, "answers": sum.answers,
                    "officers": sum.officers.len(), "numbers_shown": sum.shown, "numbers_hidden": sum.hidden, "bytes": sum.bytes,
                    "first": sum.first.map(|at| at.to_string()), "last": sum.last.map(|at| at.to_string()),
                })
            })
            .collect();
        // What was destroyed is in no sum, also where it would have been asked about.
        let lacks = destroyed.entries > 0 && from.is_some_and(|from| since < from.0);
        let mut reply = done(json!({
            "member": self.config.member.as_str(), "rows": rows, "details_gone": unreadable,
            "counted_from": from.filter(|_| destroyed.entries > 0).map(|from| from.to_string()),
            "entries_destroyed": destroyed.entries,
        }));
        reply.warnings.extend(Self::destroyed_notice(&destroyed).filter(|_| lacks));
        if unreadable > 0 {
            reply.warnings.push(crate::node::notice(
                "DETAILS-GONE",
                "some answers are older than details are kept: that they were given can be proved, not what they were",
            ));
        }
        Ok(reply)
    }
}
