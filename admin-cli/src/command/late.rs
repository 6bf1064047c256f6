//! Answers that came late: what partners have decided since is put into the answers that are kept.

use accord_edge::{clock, files};
use accord_protocol::{
    codec::{Cap, decode},
    evidence::{Bundle, BundleExchange},
    id::{NodeId, from_hex},
    key::Signature,
    message::{MessageKind, Notice, PersonReply, RequestsCall},
    officers::Card,
    question::{Question, RawReply, question_id},
    request::RequestBody,
    signed::{Document, Label},
    trust::Trust,
};
use anyhow::Context;
use serde_json::{Value, json};

use super::{
    Global,
    edition::field,
    history::{Kept, keep_as, kept, partners},
    status::{ask_node_with, catch_up},
};
use crate::{
    ask::{self, Answers, Asked, Asking, Replied},
    output::Outcome,
    profile::Profile,
};

/// Largest evidence that is read back.
const EVIDENCE_MAX: u64 = 1 << 30;

/// Asks the own node for what was decided, and makes the answers anew that it belongs to.
pub(super) fn collect(profile: &Profile, global: &Global) -> anyhow::Result<Outcome> {
    catch_up(profile, global);
    let mut lines = Vec::new();
    let mut updated = Vec::new();
    let mut warnings = Vec::new();
    for answer in kept(profile)?.into_iter().filter(waits) {
        match renew(profile, global, &answer) {
            Ok(Some(news)) => {
                lines.push(format!("{}: {}", answer.id, news.join(", ")));
                updated.push(json!({ "id": answer.id, "news": news }));
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("{} stays as it is: {error:#}", answer.id);
                warnings.push(Notice { code: "NOT-RENEWED".into(), message });
            }
        }
    }
    let text = if lines.is_empty() {
        "nothing new was decided\n".to_owned()
    } else {
        format!("{}\naccord history show ID shows the answer with it\n", lines.join("\n"))
    };
    let mut outcome = Outcome::done(json!({ "answers": updated }), text);
    outcome.exit = u8::from(!warnings.is_empty());
    outcome.warnings = warnings;
    Ok(outcome)
}

fn waits(answer: &Kept) -> bool {
    partners(&answer.answer).any(|partner| field(partner, "/status") == "held")
}

// What has changed, in words, once the answer is kept with it; nothing if nothing has.
fn renew(profile: &Profile, global: &Global, answer: &Kept) -> anyhow::Result<Option<Vec<String>>> {
    let bytes = files::read_limited(&answer.dir.join("evidence.json"), EVIDENCE_MAX)?;
    let bundle: Bundle = serde_json::from_slice(&bytes).context("its evidence is damaged")?;
    let (trust, documents) = profile.trust()?;
    let table = trust.catalogue().table(&bundle.table).context("the catalogue in force has no such table")?.clone();
    let mut asked = Vec::new();
    let mut news = Vec::new();
    let mut first = None;
    for exchange in &bundle.exchanges {
        let (one, body, card) = read(&trust, exchange)?;
        let one = match late(profile, global, &trust, &one, &card)? {
            Some(reply) => {
                news.push(format!("{} {}", one.member, word(&reply)));
                Asked { reply, ..one }
            }
            None => one,
        };
        first.get_or_insert((body, card));
        asked.push(one);
    }
    if news.is_empty() {
        return Ok(None);
    }
    let (body, card_bytes) = first.context("its evidence is empty")?;
    let mut members: Vec<NodeId> = Vec::new();
    for one in &asked {
        if !members.contains(&one.member) {
            members.push(one.member.clone());
        }
    }
    let of_first: Vec<_> =
        asked.iter().filter(|one| one.member == body.audience).map(|one| one.query.clone()).collect();
    let question = Question::of_queries(&of_first, &table, body.audience.country())
        .context("its requests are not parts of one question")?;
    let card: Card = decode(&card_bytes, Cap::Small).context("its evidence is damaged")?;
    let asking = Asking {
        profile,
        trust: &trust,
        documents: &documents,
        table: &table,
        question: &question,
        partners: &members,
        purpose: body.purpose,
        legal_basis: body.legal_basis,
        case_ref: None,
        edition: body.edition,
        card: &card,
        card_bytes: &card_bytes,
        wait_ms: 0,
    };
    let catalogues =
        bundle.documents.iter().filter_map(|text| decode::<Document>(&from_hex(text)?, Cap::Document).ok());
    let answers = Answers {
        question_id: question_id(asked.iter().map(|one| one.body.as_slice())),
        asked_at: field(&answer.answer, "/asked_at").parse().ok().context("the answer is damaged")?,
        asked,
        catalogues: catalogues
            .filter(|document| document.label() == Label::Catalogue && document.hash() != trust.catalogue().hash)
            .collect(),
        elapsed_ms: 0,
        warnings: Vec::new(),
    };
    let pooled = answers.pool(&asking)?;
    let options = ask::Options { all_rows: false, cite: false };
    let outcome = ask::outcome(&asking, &answers, &pooled, None, options);
    keep_as(&answer.id, &asking, &answers, &pooled, &outcome)?;
    Ok(Some(news))
}

// One request of the evidence with its reply, verified again.
fn read(trust: &Trust, exchange: &BundleExchange) -> anyhow::Result<(Asked, RequestBody, Vec<u8>)> {
    let damaged = "its evidence is damaged";
    let bytes = |text: &str| from_hex(text).context(damaged);
    let signature = |text: &str| Ok::<_, anyhow::Error>(Signature(bytes(text)?.try_into().ok().context(damaged)?));
    let (body_bytes, card) = (bytes(&exchange.body)?, bytes(&exchange.officer_card)?);
    let body: RequestBody = decode(&body_bytes, Cap::Head).context(damaged)?;
    let officer_signature = signature(&exchange.officer_signature)?;
    let reply = match &exchange.reply {
        None if exchange.without_reply.as_deref() == Some("unreachable") => {
            Replied::Unreachable("no answer then".into())
        }
        None => Replied::NotVerified("what came then was not believed".into()),
        Some(reply) => {
            let edition = reply.edition.as_deref().map(bytes).transpose()?;
            let edition = edition.map(|edition| decode(&edition, Cap::Document)).transpose().context(damaged)?;
            let raw = RawReply {
                head: bytes(&reply.head)?,
                signature: signature(&reply.signature)?,
                slice: bytes(&reply.slice)?,
                edition,
            };
            ask::believe_reply(trust, (&body_bytes, &officer_signature, &card), raw, clock::now())
        }
    };
    let asked = Asked {
        member: body.audience.clone(),
        request_id: body.request_id,
        body: body_bytes,
        officer_signature,
        case_ref_salt: None,
        case_ref_commit: body.case_ref_commit,
        query: body.query.clone(),
        elapsed_ms: 0,
        node_us: 0,
        reply,
    };
    Ok((asked, body, card))
}

// What the own node has heard of a request since: verified here, and newer than what is known.
fn late(
    profile: &Profile,
    global: &Global,
    trust: &Trust,
    asked: &Asked,
    card: &[u8],
) -> anyhow::Result<Option<Replied>> {
    let Replied::Waits(known, _) = &asked.reply else { return Ok(None) };
    if known.state.is_final() {
        return Ok(None);
    }
    let call = RequestsCall::Show { id: asked.request_id.to_string() };
    let shown: PersonReply<Value> = ask_node_with(profile, global, MessageKind::Requests, &call)?;
    let Some(result) = shown.result.filter(|result| result.pointer("/reply/head").is_some()) else { return Ok(None) };
    let bytes = |path: &str| from_hex(&field(&result, path)).context("the node's answer is not understood");
    let edition = bytes("/reply/edition")?;
    let raw = RawReply {
        head: bytes("/reply/head")?,
        signature: Signature(
            bytes("/reply/signature")?.try_into().ok().context("the node's answer is not understood")?,
        ),
        slice: bytes("/reply/slice")?,
        edition: if edition.is_empty() { None } else { Some(decode(&edition, Cap::Document)?) },
    };
    let said = (asked.body.as_slice(), &asked.officer_signature, card);
    let reply = ask::believe_reply(trust, said, raw, clock::now());
    let is_news = match &reply {
        Replied::Waits(status, _) => status.state_seq > known.state_seq,
        Replied::Verified(..) | Replied::NotVerified(_) => true,
        Replied::Unreachable(_) => false,
    };
    Ok(is_news.then_some(reply))
}

fn word(reply: &Replied) -> &'static str {
    match reply {
        Replied::Verified(exchange, _) if exchange.answer.refusal().is_none() => "has answered",
        Replied::Verified(..) => "has refused",
        Replied::Waits(status, _) => match status.state.as_str() {
            "expired" => "did not decide in time",
            "withdrawn" => "was told that you took it back",
            _ => "still has to decide; somebody has seen it",
        },
        Replied::NotVerified(_) => "sent what cannot be believed",
        Replied::Unreachable(_) => "was not reachable",
    }
}
