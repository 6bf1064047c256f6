//! Requests that wait here as the agency's people see them: who asks, why, exactly what would leave, what that officer received before.

use accord_edge::clock;
use accord_protocol::{
    approval::{Approval, StandingApproval},
    catalogue::Catalogue,
    codec::{Cap, decode},
    id::to_hex,
    question::level_words,
    request::{Query, Request, RequestBody},
    signed::Document,
    time::Period,
};
use serde_json::{Value, json};

use super::{Node, Reply, done};
use crate::domain::{
    deciding::needed,
    inbox::{self, Course, Held},
};

impl Node {
    /// A held request in words, as in a list.
    pub(super) fn held_json(&self, held: &Held) -> Value {
        let standing = self.standing();
        let Some((request, body)) = opened(held) else { return Value::Null };
        let officer = standing.trust().officer(&held.requester, request.officer_card.as_slice(), held.received_at);
        json!({
            "request_id": held.request_id.to_string(),
            "member": held.requester.as_str(),
            "officer": officer.map(|card| card.officer_id.to_string()),
            "state": held.course.as_str(),
            "state_seq": held.state_seq,
            "received_at": held.received_at.to_string(),
            "wanted_until": held.wanted_until.to_string(),
            "changed_at": held.changed_at.to_string(),
            "purpose": body.purpose.as_str(),
            "legal_basis": body.legal_basis.as_str(),
            "has_case_ref": body.case_ref_commit != accord_protocol::id::Hash::ZERO,
            "asks": asks(&body.query, standing.trust().catalogue(), self.config.member.country()),
            "verdicts": held.verdicts.iter().filter_map(verdict_json).collect::<Vec<_>>(),
            "notes": held.notes.iter().map(|note| json!({ "by": note.by.to_string(), "at": note.at.to_string(), "text": note.text.as_str() })).collect::<Vec<_>>(),
            "receipt": !held.receipt.as_slice().is_empty(),
        })
    }

    /// A held request with exactly what would leave. Blocks on the store.
    pub(super) fn show_held(&self, held: &Held) -> Reply {
        let mut shown = self.held_json(held);
        let (Some(fields), Some((request, _))) = (shown.as_object_mut(), opened(held)) else {
            return super::failed(4, "STORE", "the request does not decode", "restore the store from a backup");
        };
        fields.insert("body".into(), json!(to_hex(request.body.as_slice())));
        fields.insert("officer_signature".into(), json!(to_hex(&request.officer_signature.0)));
        fields.insert("officer_card".into(), json!(to_hex(request.officer_card.as_slice())));
        fields.insert("topic".into(), json!(to_hex(request.topic.as_slice())));
        let outlook = (held.course == Course::Held).then(|| self.speaking(|provider| provider.outlook(self, held)));
        let would_leave = match outlook {
            None => Value::Null,
            Some(Err(error)) => json!({ "possible": false, "why": error.to_string() }),
            Some(Ok((_, chosen, outlook))) => {
                let standing = self.standing();
                let now = clock::now();
                let have = inbox::in_favour(standing.trust(), &self.config.member, held, outlook, now).len();
                json!({
                    "possible": true, "table": chosen.table, "slice": to_hex(&chosen.slice),
                    "slice_hash": outlook.slice_hash.to_string(), "edition": outlook.edition,
                    "policy_hash": outlook.policy_hash.to_string(), "policy_version": standing.access.version(),
                    "approvals": have, "needed": needed(chosen.way),
                    "voided": held.verdicts.as_slice().len().saturating_sub(have),
                })
            }
        };
        fields.insert("would_leave".into(), would_leave);
        match self.store.history(&held.requester, &held.officer) {
            Ok(received) => {
                let standing = self.standing();
                let table = |id| {
                    let known = standing.trust().catalogue().table_by_id(id);
                    known.map_or_else(|| format!("table {id}"), |table| table.name.clone())
                };
                let before = received.iter().map(|entry| {
                    json!({ "table": table(entry.table_id), "edition": entry.edition, "first": entry.first.to_string() })
                });
                fields.insert("received_before".into(), before.collect());
                done(shown)
            }
            Err(error) => super::store_failed(&error),
        }
    }

    /// Standing approvals that count now, or will.
    pub(super) fn standing_json(&self) -> Value {
        let (standing, now) = (self.standing(), clock::now());
        let keys = inbox::approvers(standing.trust(), now);
        let known = |id| standing.trust().catalogue().table_by_id(id).map(|table| table.name.clone());
        let all = self.store.standing().unwrap_or_default();
        let counting = all.iter().filter_map(|document| {
            let said = document.verify::<StandingApproval>(standing.trust().federation(), &keys, 1, &[]).ok()?;
            let by = said.signers().first()?.to_string();
            let table_id = said.table_id;
            // Of two by one approver the later counts.
            let is_overtaken = all
                .iter()
                .filter_map(|other| other.unverified::<StandingApproval>().ok().zip(other.signed_by().first().copied()))
                .any(|(other, key)| {
                    key.to_string() == by
                        && (&other.partner, other.table_id, other.purpose) == (&said.partner, table_id, said.purpose)
                        && other.from > said.from
                });
            (now < said.until && !is_overtaken).then(|| {
                json!({
                    "partner": said.partner.as_str(), "table": known(table_id), "purpose": said.purpose.as_str(),
                    "from": said.from.to_string(), "until": said.until.to_string(), "by": by,
                })
            })
        });
        counting.collect()
    }
}

fn opened(held: &Held) -> Option<(Request, RequestBody)> {
    let request: Request = decode(held.envelope.payload.as_slice(), Cap::Head).ok()?;
    let body = decode(request.body.as_slice(), Cap::Head).ok()?;
    Some((request, body))
}

fn verdict_json(document: &Document) -> Option<Value> {
    let said: Approval = document.unverified().ok()?;
    let by = document.signed_by().first()?.to_string();
    Some(json!({
        "by": by, "verdict": said.verdict.as_str(), "reason": said.reason().map(accord_protocol::refusal::Reason::as_str),
        "edition": (said.edition > 0).then_some(said.edition), "at": said.at.to_string(),
    }))
}

/// A query in words.
pub(super) fn asks(query: &Query, catalogue: &Catalogue, country: &str) -> Value {
    let Some(table) = catalogue.table_by_id(query.table_id) else {
        return json!({ "table": format!("table {}", query.table_id) });
    };
    let levels: Vec<u8> = query.dims.iter().map(|dim| dim.level).collect();
    let axes = table.axes(country).unwrap_or_default();
    let measures: Vec<&str> = table
        .measures
        .iter()
        .enumerate()
        .filter(|(bit, _)| query.measures >> bit & 1 == 1)
        .map(|(_, measure)| measure.id.as_str())
        .collect();
    let named = table.dimensions.iter().zip(&axes).zip(query.dims.iter()).skip(1);
    let only: serde_json::Map<String, Value> = named
        .filter(|(_, dim)| !dim.codes.as_slice().is_empty())
        .map(|((dimension, axis), dim)| {
            let codes: Vec<String> = dim.codes.iter().filter_map(|code| axis.name(dim.level, *code)).collect();
            (dimension.name.clone(), json!(codes))
        })
        .collect();
    let periods: Vec<String> = query
        .dims
        .iter()
        .take(1)
        .flat_map(|dim| dim.codes.iter())
        .filter_map(|code| Period::from_number(*code).map(|period| period.to_string()))
        .collect();
    json!({
        "table": table.name, "title": table.title, "by": level_words(table, &levels), "measures": measures,
        "periods": periods, "only": only,
    })
}
