//! The `result` of `accord ask --json` (`contract.md` 1.7).

use accord_protocol::{
    catalogue::{Measure, OPEN_EDGE, Quantity},
    cell::Released,
    codec::{Cap, decode},
    handling::Handling,
    id::{Hash, NodeId},
    pool::{Pooled, PooledTable, Row, Why},
    refusal::Refusal,
    request::RequestBody,
    time::UnixMs,
};
use serde_json::{Map, Value, json};

use super::{Answers, Asked, Asking, PartnerStatus, Replied};
use crate::{topics::titled, views};

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
    let asked_for = || {
        let measures = pooled.measures.iter().enumerate();
        measures.filter_map(|(note, index)| table.measures.get(*index).map(|measure| (note + 1, measure)))
    };
    let measures: Vec<Value> = asked_for()
        .map(|(note, measure)| json!({ "id": measure.id, "unit": measure.unit, "pool": measure.pool_word(), "note": note }))
        .collect();
    let notes: Vec<Value> = asked_for().map(|(note, measure)| json!({ "id": note, "text": measure.note })).collect();
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
    // What the partners were told. Each has a topic of its own, but all are about the same.
    let title = answers.asked.iter().find_map(|asked| titled(&asked.topic));
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
        "topic": title,
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
                    Ok(numbers) => member_json(asking, &id, numbers),
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
        "handling": answers.handling().as_ref().map(handling),
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
    let measures = pooled.measures.iter().filter_map(|index| asking.table.measures.get(*index));
    measures
        .zip(&row.pooled)
        .map(|(measure, value)| (measure.id.clone(), pooled_json(asking, measure, value, with_members)))
        .collect()
}

// One member's numbers of a measure (`contract.md` 1.7).
fn member_json(asking: &Asking<'_>, id: &str, numbers: &[Released]) -> Value {
    let measure = asking.table.measure(id).and_then(|index| asking.table.measures.get(index));
    let number = |place: usize| numbers.get(place).and_then(|number| number.number());
    match measure.map(|measure| (measure, measure.of)) {
        Some((_, Quantity::Mean)) => {
            let (lines, sum) = (number(0).unwrap_or(0), number(1).unwrap_or(0));
            let mean = (lines > 0).then(|| (sum * 200 + lines) / (lines * 2));
            json!({ "state": "value", "sum": sum, "n": lines, "mean_hundredths": mean })
        }
        Some((measure, Quantity::Histogram)) => {
            let bins: Vec<Value> = measure
                .all_bins()
                .zip(numbers.iter().skip(1))
                .map(|(edges, released)| bin_json(edges, released.state().as_str(), released.number()))
                .collect();
            json!({ "state": "value", "n": number(0), "bins": bins })
        }
        _ => json!({ "state": "value", "value": number(0) }),
    }
}

fn bin_json((from, to): (u64, u64), state: &str, number: Option<i64>) -> Value {
    let mut bin = Map::new();
    bin.insert("from".into(), json!(from));
    bin.insert("to".into(), json!(upper(to)));
    bin.insert("state".into(), json!(state));
    if let Some(number) = number {
        bin.insert("value".into(), json!(number));
    }
    Value::Object(bin)
}

fn upper(edge: u64) -> Option<u64> {
    (edge != OPEN_EDGE).then_some(edge)
}

fn pooled_json(asking: &Asking<'_>, measure: &Measure, pooled: &Pooled, with_members: bool) -> Value {
    let mut value = Map::new();
    if let Some(number) = pooled.value() {
        value.insert("state".into(), json!("value"));
        match measure.of {
            // A mean or median of some members is neither above nor below that of all.
            Quantity::Mean => {
                value.insert("n".into(), json!(number));
                value.insert("sum".into(), json!(pooled.number(1)));
                value.insert("mean_hundredths".into(), json!(pooled.mean_hundredths()));
                value.insert("partial".into(), json!(pooled.is_lower_bound()));
            }
            Quantity::Histogram => {
                value.insert("n".into(), json!(number));
                value.insert("partial".into(), json!(pooled.is_lower_bound()));
                value.extend(distribution_json(measure, pooled));
            }
            _ => {
                value.insert("value".into(), json!(number));
                value.insert("lower_bound".into(), json!(pooled.is_lower_bound()));
            }
        }
    } else {
        value.insert("state".into(), json!("missing"));
        let bound = if measure.pool_word() == "sum" { "lower_bound" } else { "partial" };
        value.insert(bound.into(), json!(pooled.is_lower_bound()));
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

// Pooled bins, and what follows from them: each as an interval, from its lower end up to, not including, its upper end.
fn distribution_json(measure: &Measure, pooled: &Pooled) -> Map<String, Value> {
    let bins: Vec<Value> = measure
        .all_bins()
        .enumerate()
        .map(|(index, edges)| {
            let place = index + 1;
            let number = pooled.number(place).filter(|_| !pooled.is_hidden_by_all(place));
            let mut bin = bin_json(edges, if number.is_some() { "value" } else { "suppressed" }, number);
            if let Some(bin) = bin.as_object_mut().filter(|_| number.is_some()) {
                bin.insert("lower_bound".into(), json!(pooled.is_hidden_by_some(place)));
            }
            bin
        })
        .collect();
    let distribution = pooled.distribution();
    let quantile = |part| {
        distribution.quantile(part, 4).map(|interval| json!({ "low": interval.low, "high": upper(interval.high) }))
    };
    let mean = distribution.sum().map(|(low, high)| {
        let total = distribution.total().max(1);
        json!({ "low": whole(low.div_euclid(total)), "high": whole(-(-high).div_euclid(total)) })
    });
    let mut value = Map::new();
    value.insert("bins".into(), Value::Array(bins));
    value.insert("quartile_1".into(), json!(quantile(1)));
    value.insert("median".into(), json!(quantile(2)));
    value.insert("quartile_3".into(), json!(quantile(3)));
    value.insert("mean_between".into(), json!(mean));
    value
}

fn whole(number: i128) -> Option<i64> {
    i64::try_from(number).ok()
}

/// Where a partner stands in the question.
pub(super) fn position(asking: &Asking<'_>, member: &NodeId) -> Option<usize> {
    asking.partners.iter().position(|partner| partner == member)
}

/// Why nothing is used of a partner that answered from two editions.
pub(crate) const MIXED: &str = "its answers to this question come from different editions";

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
                }
            }
            Replied::Waits(said, _) => {
                value.insert("signed_by".into(), json!(said.signers().first().map(ToString::to_string)));
                let state =
                    json!({ "state": said.state.as_str(), "state_seq": said.state_seq, "at": said.at.to_string() });
                value.insert("waits".into(), state);
            }
            Replied::NotVerified(error) | Replied::Unreachable(error) => {
                value.insert("error".into(), json!(error));
            }
        }
    }
    if let Some(strictest) = answers.handling_of(member) {
        value.insert("handling".into(), handling(&strictest));
    }
    if answers.is_mixed(member) {
        value.insert("error".into(), json!(MIXED));
    }
    if let PartnerStatus::Refused(refusal) = status {
        let reason = answers.reason(member).map(accord_protocol::refusal::Reason::as_str);
        value.insert(
            "refusal".into(),
            json!({ "code": refusal.as_str(), "after_seconds": refusal.after_seconds(), "reason": reason }),
        );
    }
    if let Some(next) = next_step(asking, answers, status, member) {
        value.insert("next".into(), json!(next));
    }
    Value::Object(value)
}

/// What to do about a partner that gave no number.
pub(super) fn next_step(
    asking: &Asking<'_>,
    answers: &Answers,
    status: PartnerStatus,
    member: &NodeId,
) -> Option<String> {
    match status {
        PartnerStatus::Answered => None,
        // What it showed when it was looked at last says what to do otherwise, where it showed the table at all.
        PartnerStatus::Refused(refusal @ Refusal::Unavailable) => {
            // As it was asked, also where an answer that was kept is made anew.
            let body = |asked: &Asked| decode::<RequestBody>(&asked.body, Cap::Head).ok();
            let first = answers.of(member).next().and_then(body);
            let asked = first.map(|body| (body.topic_hash != Hash::ZERO, body.wanted_until != UnixMs(0)));
            let view = views::kept(asking.profile, asking.trust, member);
            let question = (asking.table, asking.question.levels.as_slice());
            let hint = view.zip(asked).and_then(|(view, asked)| views::hint(&view, question, asking.purpose, asked));
            Some(hint.unwrap_or_else(|| refusal.next().replace("{member}", member.as_str())))
        }
        PartnerStatus::Refused(refusal) => Some(refusal.next().replace("{member}", member.as_str())),
        PartnerStatus::Held => Some(format!(
            "a person at {member} has to decide; `accord watch` tells when, `accord history collect` fetches the answer then"
        )),
        PartnerStatus::Expired => Some(format!("nobody at {member} decided in time: ask again, or call its liaison")),
        PartnerStatus::Withdrawn => Some("you took it back".to_owned()),
        PartnerStatus::Unreachable => Some(format!("try again later, or call {member}'s operator")),
        PartnerStatus::NotVerified => {
            Some(format!("do not use anything from {member}; check the trust documents with its administrators"))
        }
        PartnerStatus::NotComparable => {
            Some(format!("ask {member} to publish an edition under the catalogue in force"))
        }
    }
}

/// How something must be handled, in the contract's terms and in words.
pub(crate) fn handling(handling: &Handling) -> Value {
    let embargo = (handling.embargo_until != UnixMs(0)).then(|| handling.embargo_until.to_string());
    json!({
        "code": handling.code.to_string(), "tlp": handling.tlp.as_str(), "words": handling.words(),
        "recipients": handling.recipients.iter().map(NodeId::as_str).collect::<Vec<_>>(),
        "embargo_until": embargo,
    })
}
