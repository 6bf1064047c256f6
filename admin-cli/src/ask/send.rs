//! Sending a question: one signed request to each partner through the own node, and what comes back, verified here.

use std::sync::Arc;

use accord_edge::{clock::Stopwatch, random, stream::NoBody};
use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    exchange::RawReply,
    id::{Hash, NodeId, RequestId},
    key::Signature,
    message::{AskCall, AskOutcome, AskReply, MessageKind, Notice},
    question::{Question, question_id},
    refusal::Refusal,
    request::{DELIVER_WITHIN_MS, Query, RequestBody},
    selection::Selection,
    signed::{Document, Label, Preamble},
    signer::{Domain, Signer},
    time::UnixMs,
};

use super::{Answers, Asked, Asking, Replied, believe_reply, other_catalogues};
use crate::{client::Client, command::Global, output::Failure, views};

/// Asks all partners at once.
pub(crate) async fn run(asking: &Asking<'_>, questions: &[Question], global: &Global) -> anyhow::Result<Answers> {
    let watch = Stopwatch::start();
    let key = asking.profile.key_for(Some(asking.card.key), global)?;
    let client = Client::connect_with(asking.profile, Arc::clone(&key)).await?;
    let asked_at = client.node_time();
    let mut requests = Vec::new();
    for member in asking.partners {
        let view = views::kept(asking.profile, asking.trust, member).map_or(Hash::ZERO, |view| view.hash());
        for question in questions {
            for query in question.queries(asking.table, member.country())? {
                requests.push(request(asking, (member, view), query, asked_at, key.as_ref())?);
            }
        }
    }
    let progress = if global.shows_progress() {
        let bar = indicatif::ProgressBar::new(requests.len() as u64);
        bar.set_style(
            indicatif::ProgressStyle::with_template("{pos} of {len} answers")
                .unwrap_or(indicatif::ProgressStyle::default_bar()),
        );
        bar
    } else {
        indicatif::ProgressBar::hidden()
    };
    let mut asked = ask_each(asking, &client, requests, global.deadline, &progress).await?;
    let looked_again = look_again(asking, &client, &mut asked, (key.as_ref(), global.deadline), &progress).await?;
    progress.finish_and_clear();
    let catalogues = other_catalogues(asking, &client, &asked).await;
    let question_id = question_id(asked.iter().map(|asked| asked.body.as_slice()));
    let warnings = client.warnings.iter().cloned().chain(looked_again).collect();
    client.close().await;
    Ok(Answers { question_id, asked_at, asked, catalogues, elapsed_ms: watch.ms(), warnings })
}

// As many at once as the connection has streams; each waits for its own partner alone.
async fn ask_each(
    asking: &Asking<'_>,
    client: &Client,
    requests: Vec<Prepared>,
    deadline: u32,
    progress: &indicatif::ProgressBar,
) -> anyhow::Result<Vec<Asked>> {
    let running = requests.into_iter().map(|request| ask_one(asking, client, request, deadline, progress)).collect();
    join_all(running).await.into_iter().collect()
}

// What a partner shows may have changed since it was looked at, with a new edition for one: then it is looked at again, and asked from
// what it shows now. The officer is told.
async fn look_again(
    asking: &Asking<'_>,
    client: &Client,
    asked: &mut [Asked],
    (key, deadline): (&dyn Signer, u32),
    progress: &indicatif::ProgressBar,
) -> anyhow::Result<Vec<Notice>> {
    let mut told = Vec::new();
    for member in asking.partners {
        let has_changed = |asked: &&mut Asked| {
            let Replied::Verified(exchange, _) = &asked.reply else { return false };
            asked.member == *member && exchange.answer.refusal() == Some(Refusal::View)
        };
        let changed: Vec<&mut Asked> = asked.iter_mut().filter(has_changed).collect();
        if changed.is_empty() {
            continue;
        }
        let Ok(view) = views::fetch(asking.profile, asking.trust, client, member).await else { continue };
        progress.inc_length(changed.len() as u64);
        let mut requests = Vec::new();
        for asked in &changed {
            let from = (member, view.hash());
            requests.push(request(asking, from, asked.query.clone(), client.node_time(), key)?);
        }
        let again = ask_each(asking, client, requests, deadline, progress).await?;
        for (asked, again) in changed.into_iter().zip(again) {
            *asked = again;
        }
        let edition = view.edition.as_slice().first().map_or("none".to_owned(), |edition| edition.number.to_string());
        let message = format!(
            "what {member} shows you has changed since you looked (its edition is {edition} now); it was asked from what it shows now: see accord tables --from {member}"
        );
        told.push(Notice { code: "VIEW-CHANGED".into(), message });
    }
    Ok(told)
}

// A small join: all futures advance whenever any is woken; there are at most a few dozen.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        let mut all = true;
        for (future, output) in &mut pinned {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => all = false,
                }
            }
        }
        if all {
            std::task::Poll::Ready(pinned.iter_mut().filter_map(|(_, output)| output.take()).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

struct Prepared {
    member: NodeId,
    body: RequestBody,
    bytes: Vec<u8>,
    signature: Signature,
    salt: Option<[u8; 32]>,
}

fn request(
    asking: &Asking<'_>,
    (member, view_hash): (&NodeId, Hash),
    query: Query,
    now: UnixMs,
    key: &dyn Signer,
) -> anyhow::Result<Prepared> {
    let selection = Selection::new(&query, asking.table, member.country())?;
    // Fresh salt for each audience, so that two partners cannot see that one case stands behind both requests.
    let salt: Option<[u8; 32]> = asking.case_ref.map(|_| random::bytes()).transpose()?;
    let commit =
        salt.map_or(Hash::ZERO, |salt| Hash::of(&[salt.as_slice(), asking.case_ref.unwrap_or("").as_bytes()].concat()));
    // Not the same millisecond for every audience, which would mark the requests of one question.
    let [high, low]: [u8; 2] = random::bytes()?;
    let now = now.plus(u64::from(u16::from_be_bytes([high, low]) % 2000));
    let body = RequestBody {
        preamble: Preamble,
        request_id: RequestId(random::bytes()?),
        requester: asking.profile.member.clone(),
        officer_card_hash: Hash::of(asking.card_bytes),
        audience: member.clone(),
        issued_at: now,
        deliver_by: now.plus(DELIVER_WITHIN_MS),
        wanted_until: if asking.wait_ms == 0 || *member == asking.profile.member {
            UnixMs(0)
        } else {
            // Nobody can let leave what the topic does not cover any more.
            let end = asking.topics.get(member).map(|topic| topic.valid_to);
            end.map_or(now.plus(asking.wait_ms), |end| end.min(now.plus(asking.wait_ms)))
        },
        epoch: asking.trust.root().epoch,
        roster_version: asking.trust.roster().roster_version,
        view_hash,
        edition: asking.edition,
        purpose: asking.purpose,
        legal_basis: asking.legal_basis,
        topic_hash: asking.topics.get(member).map_or(Hash::ZERO, |topic| topic.hash),
        case_ref_commit: commit,
        reply_class: selection.reply_class,
        query,
    };
    let bytes = encode(&body)?;
    let domain = Domain::Statement { label: Label::RequestBody, federation: asking.trust.federation() };
    let signature = key.sign_as(domain, &bytes)?;
    Ok(Prepared { member: member.clone(), body, bytes, signature, salt })
}

async fn ask_one(
    asking: &Asking<'_>,
    client: &Client,
    prepared: Prepared,
    deadline: u32,
    progress: &indicatif::ProgressBar,
) -> anyhow::Result<Asked> {
    let watch = Stopwatch::start();
    let topic = asking.topics.get(&prepared.member).map(|topic| topic.bytes.clone()).unwrap_or_default();
    let call = AskCall {
        body: Bounded::new(prepared.bytes.clone())
            .ok_or_else(|| Failure::usage("TOO-LONG", "the question is too long", "name fewer codes"))?,
        officer_signature: prepared.signature,
        officer_card: Bounded::new(asking.card_bytes.to_vec()).unwrap_or_default(),
        topic: topic.clone(),
        wait_ms: deadline.saturating_mul(1000),
    };
    let reply = client.raw(MessageKind::Ask, encode(&call)?, NoBody).await?;
    let head: AskReply = decode(&reply.head, Cap::Head)?;
    progress.inc(1);
    let node_us = head.elapsed_us;
    let replied = believe(asking, client, &prepared, head, reply.body);
    Ok(Asked {
        member: prepared.member,
        request_id: prepared.body.request_id,
        body: prepared.bytes,
        officer_signature: prepared.signature,
        case_ref_salt: prepared.salt,
        case_ref_commit: prepared.body.case_ref_commit,
        topic,
        query: prepared.body.query,
        elapsed_ms: watch.ms(),
        node_us,
        reply: replied,
        // There is none before the partner's log is next closed.
        log: None,
    })
}

fn believe(asking: &Asking<'_>, client: &Client, prepared: &Prepared, head: AskReply, slice: Vec<u8>) -> Replied {
    let detail = head.detail.as_str().to_owned();
    match (head.outcome, head.answer) {
        (AskOutcome::Unreachable, _) => Replied::Unreachable(detail),
        (AskOutcome::NotVerified, _) | (AskOutcome::Replied, None) => Replied::NotVerified(detail),
        (AskOutcome::Replied, Some(answer)) => {
            let edition = if head.edition.as_slice().is_empty() {
                None
            } else {
                decode::<Document>(head.edition.as_slice(), Cap::Document).ok()
            };
            let raw =
                RawReply { head: answer.payload.as_slice().to_vec(), signature: answer.signature, slice, edition };
            let said = (prepared.bytes.as_slice(), &prepared.signature, asking.card_bytes);
            believe_reply(asking.trust, said, raw, client.node_time())
        }
    }
}
