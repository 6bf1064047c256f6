//! Mappings: which ship, and whether one that an operator has made can be imported with.

use accord_protocol::message::MappingCall;
use serde_json::{Value, json};

use super::{Reply, done, failed};
use crate::domain::import::mapping::{Mapping, MappingError, SHIPPED, open_points};
use accord_protocol::text::shown;

/// Open points listed one by one, at most.
const POINTS_MAX: usize = 1000;

/// The mappings that ship.
pub(super) fn shipped() -> Value {
    SHIPPED
        .iter()
        .filter_map(|(name, _)| Mapping::shipped(name).ok())
        .map(|mapping| {
            json!({
                "name": mapping.name, "version": mapping.version, "kind": mapping.kind.as_str(),
                "sha256": mapping.sha256.to_string(), "acknowledgement": mapping.acknowledgement,
            })
        })
        .collect()
}

/// Does one command on mappings.
pub fn mappings(call: &MappingCall) -> Reply {
    match call {
        MappingCall::List {} => done(json!({ "mappings": shipped() })),
        MappingCall::Check { text } => check(text),
    }
}

fn check(text: &str) -> Reply {
    let broken = |error: MappingError| {
        failed(3, "MAPPING", format!("the mapping cannot be used: {error}"), "correct the file, then check it again")
    };
    let points = match open_points(text) {
        Ok(points) => points,
        Err(error) => return broken(error),
    };
    if points.is_empty() {
        return match Mapping::parse(text) {
            Ok(mapping) => done(json!({
                "name": mapping.name, "kind": mapping.kind.as_str(), "version": mapping.version,
                "sha256": mapping.sha256.to_string(), "complete": true, "open": [], "open_total": 0,
            })),
            Err(error) => broken(error),
        };
    }
    let open: Vec<Value> = points
        .iter()
        .take(POINTS_MAX)
        .map(|point| json!({ "section": point.section, "entry": shown(&point.entry) }))
        .collect();
    let message = format!("{} places are still open: replace each `?`", points.len());
    let mut reply =
        failed(3, "OPEN", message, "put a code in the place of each `?`, or the empty text for \"not stated\"");
    reply.result = Some(json!({ "complete": false, "open": open, "open_total": points.len() }));
    reply
}
