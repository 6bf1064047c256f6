//! Answers that came late: what partners have decided since is put into the answers that are kept.

use std::collections::BTreeMap;

use accord_edge::{clock, files};
use accord_protocol::{
    codec::{Bounded, Cap, decode},
    evidence::{Bundle, BundleExchange, Statement},
    exchange::RawReply,
    held::is_status,
    id::{NodeId, RequestId, from_hex},
    key::Signature,
    message::{MessageKind, Notice, PersonReply, RequestsCall},
    officers::Card,
    question::{Question, question_id},
    request::RequestBody,
    signed::{Document, Label},
    trust::Trust,
};
use anyhow::Context;
use serde_json::{Value, json};

use super::{
    Global,
    edition::field,
    evidence::complete_kept,
    history::{Kept, keep_as, kept, partners},
    status::{ask_node_with, catch_up},
};
use crate::{
    ask::{self, Answers, Asked, Asking, Replied},
    client::{Client, block_on},
    output::Outcome,
    profile::Profile,
};

/// Largest evidence that is read back.
const EVIDENCE_MAX: u64 = 1 << 30;

/// Asks the own node for what was decided, and makes the answers anew that it belongs to; and for what partners' logs prove meanwhile.
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
    let mut text = if lines.is_empty() {
        "nothing new was decided\n".to_owned()
    } else {
        format!("{}\naccord history show ID shows the answer with it\n", lines.join("\n"))
    };
    // After that: what was made anew has other replies to prove.
    let proofs = match complete_kept(profile, global) {
        Ok(proofs) => proofs,
        Err(error) => {
            let message = format!("the evidence of kept answers was not completed: {error:#}");
            warnings.push(Notice { code: "NOT-COMPLETED".into(), message });
            Vec::new()
        }
    };
    let better = proofs.iter().filter(|one| one.added > 0).count();
    if better > 0 {
        text += &format!("the evidence of {better} answer(s) has proofs of partners' logs now\n");
    }
    let proofs: Vec<Value> =
        proofs.iter().map(|one| json!({ "id": one.id, "added": one.added, "missing": one.missing })).collect();
    let mut outcome = Outcome::done(json!({ "answers": updated, "proofs": proofs }), text);
    outcome.exit = u8::from(!warnings.is_empty());
    outcome.warnings = warnings;
    Ok(outcome)
}

// What its evidence holds says which requests are open: of several to one partner some may be.
fn waits(answer: &Kept) -> bool {
    answer.answer.get("complete") != Some(&Value::Bool(true))
}

// What has changed, in words, once the answer is kept with it; nothing if nothing has.
fn renew(profile: &Profile, global: &Global, answer: &Kept) -> anyhow::Result<Option<Vec<String>>> {
    let bytes = files::read_limited(&answer.dir.join("evidence.json"), EVIDENCE_MAX)?;
    let bundle: Bundle = serde_json::from_slice(&bytes).context("its evidence is damaged")?;
    let late = late(profile, global, &bundle)?;
    if late.is_empty() {
        return Ok(None);
    }
    let (trust, documents) = profile.trust()?;
    // What was answered then was signed by keys that may be gone since; what came late, by keys that were not there yet.
    let then: Vec<Document> =
        bundle.documents.iter().filter_map(|text| decode(&from_hex(text)?, Cap::Document).ok()).collect();
    let old = Trust::build(&then, Some(trust.federation())).ok();
    for (trust, documents) in old.iter().map(|old| (old, &then)).chain([(&trust, &documents)]) {
        if let Some(news) = renew_by((trust, documents), (profile, global), answer, &bundle, &late)? {
            return Ok(Some(news).filter(|news| !news.is_empty()));
        }
    }
    anyhow::bail!("keys of a partner have changed meanwhile: old and new replies do not verify together; ask again")
}

type Late = BTreeMap<RequestId, RawReply>;

// By these documents; nothing if some reply does not verify by them.
fn renew_by(
    (trust, documents): (&Trust, &[Document]),
    (profile, global): (&Profile, &Global),
    answer: &Kept,
    bundle: &Bundle,
    late: &Late,
) -> anyhow::Result<Option<Vec<String>>> {
    let table = trust.catalogue().table(&bundle.table).context("the catalogue in force has no such table")?.clone();
    let mut asked = Vec::new();
    let mut news = Vec::new();
    let mut first = None;
    for exchange in &bundle.exchanges {
        let (mut one, body, card) = read(trust, exchange)?;
        if let Some(raw) = late.get(&one.request_id) {
            let reply =
                ask::believe_reply(trust, (&one.body, &one.officer_signature, &card), raw.clone(), clock::now());
            if matches!(reply, Replied::NotVerified(_)) {
                return Ok(None);
            }
            if is_news(&one.reply, &reply) {
                news.push(format!("{} {}", one.member, word(&reply)));
                // A proof is of one reply.
                (one.reply, one.log) = (reply, None);
            }
        }
        if matches!(one.reply, Replied::NotVerified(_)) && exchange.reply.is_some() {
            return Ok(None);
        }
        let of_member = |partner: &&Value| field(partner, "/member") == one.member.as_str();
        let salt = partners(&answer.answer).find(of_member).map(|partner| field(partner, "/case_ref_salt"));
        one.case_ref_salt = salt.and_then(|salt| from_hex(&salt)).and_then(|salt| salt.try_into().ok());
        first.get_or_insert((body, card));
        asked.push(one);
    }
    if news.is_empty() {
        return Ok(Some(news));
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
        trust,
        documents,
        table: &table,
        question: &question,
        partners: &members,
        purpose: body.purpose,
        legal_basis: body.legal_basis,
        case_ref: None,
        edition: body.edition,
        card: &card,
        card_bytes: &card_bytes,
        topics: &BTreeMap::new(),
        wait_ms: 0,
    };
    let catalogues = catalogues(&asking, global, bundle, &asked)?;
    let answers = Answers {
        question_id: question_id(asked.iter().map(|one| one.body.as_slice())),
        asked_at: field(&answer.answer, "/asked_at").parse().ok().context("the answer is damaged")?,
        asked,
        catalogues,
        elapsed_ms: 0,
        warnings: Vec::new(),
    };
    let pooled = answers.pool(&asking)?;
    let options = ask::Options { all_rows: false, cite: false };
    let outcome = ask::outcome(&asking, &answers, &pooled, None, options);
    keep_as(&answer.id, &asking, &answers, &pooled, &outcome)?;
    Ok(Some(news))
}

// An edition may have been made under a catalogue that came into force while the request waited.
fn catalogues(asking: &Asking<'_>, global: &Global, bundle: &Bundle, asked: &[Asked]) -> anyhow::Result<Vec<Document>> {
    let found = block_on(async {
        let client = Client::connect(asking.profile, global).await?;
        let found = ask::other_catalogues(asking, &client, asked).await;
        client.close().await;
        Ok(found)
    })?;
    let known = bundle.documents.iter().filter_map(|text| decode::<Document>(&from_hex(text)?, Cap::Document).ok());
    let mut catalogues: Vec<Document> = Vec::new();
    for document in found.into_iter().chain(known.filter(|document| document.label() == Label::Catalogue)) {
        let is_ours = document.hash() == asking.trust.catalogue().hash || asking.documents.contains(&document);
        if !is_ours && !catalogues.contains(&document) {
            catalogues.push(document);
        }
    }
    Ok(catalogues)
}

// One request of the evidence with its reply, verified again.
fn read(trust: &Trust, exchange: &BundleExchange) -> anyhow::Result<(Asked, RequestBody, Vec<u8>)> {
    let damaged = "its evidence is damaged";
    let bytes = |text: &str| from_hex(text).context(damaged);
    let signature = |text: &str| Ok::<_, anyhow::Error>(Signature(bytes(text)?.try_into().ok().context(damaged)?));
    let (body_bytes, card) = (bytes(&exchange.body)?, bytes(&exchange.officer_card)?);
    let topic = exchange.topic.as_deref().map_or_else(|| Ok(Vec::new()), bytes)?;
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
    let log = exchange.reply.as_ref().and_then(|reply| reply.log.clone());
    let reply = if log.as_ref().is_none_or(|proof| is_proved(trust, &body, &reply, proof)) {
        reply
    } else {
        Replied::NotVerified("its proof does not hold by these documents".into())
    };
    let asked = Asked {
        member: body.audience.clone(),
        request_id: body.request_id,
        body: body_bytes,
        officer_signature,
        case_ref_salt: None,
        case_ref_commit: body.case_ref_commit,
        topic: Bounded::new(topic).context(damaged)?,
        query: body.query.clone(),
        elapsed_ms: 0,
        node_us: 0,
        reply,
        log,
    };
    Ok((asked, body, card))
}

// Whether the proof that stands beside a reply holds by these documents.
fn is_proved(trust: &Trust, body: &RequestBody, reply: &Replied, proof: &str) -> bool {
    let statement = match reply {
        Replied::Verified(exchange, raw) => Statement::of_answer(exchange, &raw.head, trust.federation()),
        Replied::Waits(status, raw) => Statement::of_status((body, ""), status, &raw.head, trust.federation()),
        Replied::NotVerified(_) | Replied::Unreachable(_) => return false,
    };
    statement.proved_by(trust, proof, clock::now()).is_ok()
}

// What the own node has heard since of requests without a decision.
fn late(profile: &Profile, global: &Global, bundle: &Bundle) -> anyhow::Result<Late> {
    let mut all = Late::new();
    for exchange in &bundle.exchanges {
        let body: Option<RequestBody> = from_hex(&exchange.body).and_then(|bytes| decode(&bytes, Cap::Head).ok());
        let is_open = match &exchange.reply {
            Some(reply) => from_hex(&reply.head).is_some_and(|head| is_status(&head)),
            None => exchange.without_reply.as_deref() == Some("unreachable"),
        };
        let Some(body) = body.filter(|_| is_open) else { continue };
        let call = RequestsCall::Show { id: body.request_id.to_string() };
        let shown: PersonReply<Value> = ask_node_with(profile, global, MessageKind::Requests, &call)?;
        let Some(result) = shown.result.filter(|result| result.pointer("/reply/head").is_some()) else { continue };
        let bytes = |path: &str| from_hex(&field(&result, path)).context("the node's answer is not understood");
        let edition = bytes("/reply/edition")?;
        let signature = bytes("/reply/signature")?.try_into().ok().context("the node's answer is not understood")?;
        let raw = RawReply {
            head: bytes("/reply/head")?,
            signature: Signature(signature),
            slice: bytes("/reply/slice")?,
            edition: if edition.is_empty() { None } else { Some(decode(&edition, Cap::Document)?) },
        };
        all.insert(body.request_id, raw);
    }
    Ok(all)
}

fn is_news(known: &Replied, reply: &Replied) -> bool {
    match (known, reply) {
        (Replied::Waits(known, _), Replied::Waits(said, _)) => said.state_seq > known.state_seq,
        (Replied::Waits(..) | Replied::Unreachable(_), Replied::Verified(..))
        | (Replied::Unreachable(_), Replied::Waits(..)) => true,
        (Replied::Verified(..) | Replied::NotVerified(_), _)
        | (_, Replied::Unreachable(_) | Replied::NotVerified(_)) => false,
    }
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
