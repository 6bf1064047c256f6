//! The `result` of `accord ask --json` (`contract.md` 1.7).

use accord_protocol::{
    answer::Handling,
    id::NodeId,
    pool::{Pooled, PooledTable, Row, Why},
    time::UnixMs,
};
use serde_json::{Map, Value, json};

use super::{Answers, Asking, PartnerStatus, Replied};

pub(super) fn result(
    asking: &Asking<'_>,
    answers: &Answers,
    pooled: &PooledTable,
    complete: bool,
    evidence: Option<&str>,
) -> Value {
    let table = asking.table;
    let axes_of = table.axes(asking.profile.member.country()).unwrap_or_default();
    let axes: Vec<Value> = table
        .dimensions
        .iter()
        .zip(&axes_of)
        .zip(pooled.levels.iter().zip(&pooled.codes))
        .map(|((dimension, axis), (level, codes))| {
            let name = axis.level_names().get(usize::from(*level)).cloned().unwrap_or_default();
            json!({ "dimension": dimension.name, "level": name, "codes": codes })
        })
        .collect();
    let measures: Vec<Value> = pooled
        .measures
        .iter()
        .enumerate()
        .filter_map(|(note, index)| table.measures.get(*index).map(|measure| (note, measure)))
        .map(|(note, measure)| json!({ "id": measure.id, "unit": measure.unit, "pool": "sum", "note": note + 1 }))
        .collect();
    let notes: Vec<Value> = pooled
        .measures
        .iter()
        .enumerate()
        .filter_map(|(note, index)| {
            table.measures.get(*index).map(|measure| json!({ "id": note + 1, "text": measure.note }))
        })
        .collect();
    let (asked, with_value) = counts(pooled);
    let footnotes: Vec<Value> = asking
        .partners
        .iter()
        .flat_map(|member| {
            answers
                .incomparable(asking, member)
                .into_iter()
                .map(move |reason| json!({ "member": member.as_str(), "text": reason }))
        })
        .collect();
    let case_ref = answers
        .asked
        .first()
        .filter(|asked| asked.case_ref_salt.is_some())
        .map(|asked| asked.case_ref_commit.to_string());
    json!({
        "question_id": answers.question_id.to_string(),
        "table": table.name,
        "catalogue": { "id": asking.trust.catalogue().id, "hash": asking.trust.catalogue().hash.to_string() },
        "federation": asking.trust.federation().to_string(),
        "asked_at": answers.asked_at.to_string(),
        "asker": asking.profile.member.as_str(),
        "officer": asking.card.officer_id.to_string(),
        "purpose": asking.purpose.as_str(),
        "legal_basis": asking.legal_basis.as_str(),
        "case_ref_commit": case_ref,
        "elapsed_ms": answers.elapsed_ms,
        "axes": axes,
        "measures": measures,
        "complete": complete,
        "cells_asked": asked,
        "cells_with_value": with_value,
        "partners": asking.partners.iter().map(|member| partner(asking, answers, member)).collect::<Vec<_>>(),
        "cells": pooled.cells.iter().map(|cell| {
            let values: Map<String, Value> = names(asking, pooled).zip(&cell.values).map(|(id, value)| {
                let value = match value {
                    Ok(number) => json!({ "state": "value", "value": number }),
                    Err(why) => json!({ "state": why.as_str() }),
                };
                (id, value)
            }).collect();
            json!({ "member": cell.member.as_str(), "key": key(asking, &cell.key, 0), "values": values })
        }).collect::<Vec<_>>(),
        "pooled": pooled.rows.iter().map(|row| json!({ "key": key(asking, &row.key, 0), "values": row_values(asking, pooled, row, true) })).collect::<Vec<_>>(),
        "totals": pooled.totals.iter().map(|row| json!({ "over": "time", "key": key(asking, &row.key, 1), "values": row_values(asking, pooled, row, false) })).collect::<Vec<_>>(),
        "notes": notes,
        "footnotes": footnotes,
        "protection_warning": answers.primary_only().then_some(super::NOT_PROTECTED),
        "cite": answers.cite(asking),
        "evidence": evidence,
    })
}

/// Cells asked, and how many of them carry a number: one for each partner, row and measure.
pub(super) fn counts(pooled: &PooledTable) -> (u64, u64) {
    let mut asked = 0;
    let mut with_value = 0;
    for value in pooled.rows.iter().flat_map(|row| &row.pooled) {
        let given = value.from().count() as u64;
        with_value += given;
        asked += given + value.missing().count() as u64;
    }
    (asked, with_value)
}

fn names<'a>(asking: &'a Asking<'_>, pooled: &'a PooledTable) -> impl Iterator<Item = String> + use<'a> {
    pooled
        .measures
        .iter()
        .map(|index| asking.table.measures.get(*index).map(|measure| measure.id.clone()).unwrap_or_default())
}

fn key(asking: &Asking<'_>, codes: &[String], skip: usize) -> Map<String, Value> {
    asking
        .table
        .dimensions
        .iter()
        .skip(skip)
        .zip(codes)
        .map(|(dimension, code)| (dimension.name.clone(), json!(code)))
        .collect()
}

fn row_values(asking: &Asking<'_>, pooled: &PooledTable, row: &Row, with_members: bool) -> Map<String, Value> {
    names(asking, pooled).zip(&row.pooled).map(|(id, value)| (id, pooled_json(asking, value, with_members))).collect()
}

fn pooled_json(asking: &Asking<'_>, pooled: &Pooled, with_members: bool) -> Value {
    let mut value = Map::new();
    if let Some(number) = pooled.value() {
        value.insert("state".into(), json!("value"));
        value.insert("value".into(), json!(number));
        value.insert("lower_bound".into(), json!(pooled.is_lower_bound()));
    } else {
        value.insert("state".into(), json!("missing"));
        value.insert("lower_bound".into(), json!(pooled.is_lower_bound()));
    }
    if with_members {
        // Partners as asked.
        let mut from: Vec<&NodeId> = pooled.from().collect();
        from.sort_by_key(|member| position(asking, member));
        let mut missing: Vec<(&NodeId, Why)> = pooled.missing().collect();
        missing.sort_by_key(|(member, _)| position(asking, member));
        value.insert("from".into(), from.iter().map(|member| json!(member.as_str())).collect());
        let missing =
            missing.iter().map(|(member, why)| json!({ "member": member.as_str(), "why": why.as_str() })).collect();
        value.insert("missing".into(), Value::Array(missing));
    }
    Value::Object(value)
}

/// Where a partner stands in the question.
pub(super) fn position(asking: &Asking<'_>, member: &NodeId) -> Option<usize> {
    asking.partners.iter().position(|partner| partner == member)
}

fn partner(asking: &Asking<'_>, answers: &Answers, member: &NodeId) -> Value {
    let status = answers.status(asking, member);
    let mut value = Map::new();
    value.insert("member".into(), json!(member.as_str()));
    value.insert("status".into(), json!(status.as_str()));
    let asked: Vec<_> = answers.of(member).collect();
    value.insert("request_id".into(), json!(asked.first().map(|asked| asked.request_id.to_string())));
    if asked.len() > 1 {
        value.insert("request_ids".into(), asked.iter().map(|asked| json!(asked.request_id.to_string())).collect());
    }
    // For the officer alone, to show later which case stood behind the request; it is not part of the evidence.
    if let Some(salt) = asked.first().and_then(|asked| asked.case_ref_salt) {
        value.insert("case_ref_salt".into(), json!(accord_protocol::id::to_hex(&salt)));
    }
    value.insert("elapsed_ms".into(), json!(asked.iter().map(|asked| asked.elapsed_ms).max().unwrap_or(0)));
    value.insert("node_us".into(), json!(asked.iter().map(|asked| asked.node_us).max().unwrap_or(0)));
    for asked in &asked {
        match &asked.reply {
            Replied::Verified(exchange, _) => {
                value.insert("signed_by".into(), json!(exchange.answer.signers().first().map(ToString::to_string)));
                value.insert("answered_at".into(), json!(exchange.answer.issued_at.to_string()));
                if let Some(edition) = &exchange.edition {
                    value.insert(
                        "edition".into(),
                        json!({
                            "number": edition.number, "hash": edition.commit.to_string(), "as_of": edition.as_of.date().to_string(),
                            "published_at": edition.published_at.to_string(), "protection": edition.protection.as_str(),
                        }),
                    );
                    value.insert("handling".into(), handling(&exchange.answer.handling));
                }
            }
            Replied::NotVerified(error) | Replied::Unreachable(error) => {
                value.insert("error".into(), json!(error));
            }
        }
    }
    if let PartnerStatus::Refused(refusal) = status {
        value.insert("refusal".into(), json!({ "code": refusal.as_str(), "after_seconds": refusal.after_seconds() }));
    }
    if let Some(next) = next_step(status, member) {
        value.insert("next".into(), json!(next));
    }
    Value::Object(value)
}

/// What to do about a partner that gave no number.
pub(super) fn next_step(status: PartnerStatus, member: &NodeId) -> Option<String> {
    match status {
        PartnerStatus::Answered => None,
        PartnerStatus::Refused(refusal) => Some(refusal.next().replace("{member}", member.as_str())),
        PartnerStatus::Unreachable => Some(format!("try again later, or call {member}'s operator")),
        PartnerStatus::NotVerified => {
            Some(format!("do not use anything from {member}; check the trust documents with its administrators"))
        }
        PartnerStatus::NotComparable => {
            Some(format!("ask {member} to publish an edition under the catalogue in force"))
        }
    }
}

fn handling(handling: &Handling) -> Value {
    let embargo = (handling.embargo_until != UnixMs(0)).then(|| handling.embargo_until.to_string());
    json!({
        "code": handling.code.as_str(), "tlp": handling.tlp.as_str(),
        "recipients": handling.recipients.iter().map(NodeId::as_str).collect::<Vec<_>>(),
        "embargo_until": embargo,
    })
}
