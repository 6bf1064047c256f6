//! One question to several partners: signed requests out, verified replies in, one pooled table.
//!
//! The tool verifies every original answer itself, with its own trust documents; what its node says is never printed.

pub(crate) mod export;
pub(crate) mod json;
mod text;

use std::sync::Arc;

use accord_edge::{clock::Stopwatch, random, stream::NoBody};
use accord_protocol::{
    catalogue::{Catalogue, Table},
    codec::{Bounded, Cap, decode, encode},
    edition::Protection,
    exchange::{Exchange, RawReply, verify_exchange, verify_waiting, why_waiting},
    handling::Handling,
    held::{HeldState, Status, is_status},
    id::{Hash, NodeId, QuestionId, RequestId},
    key::Signature,
    message::{AskCall, AskOutcome, AskReply, Fetch, MessageKind, Notice, RelayCall},
    officers::{Card, Purpose},
    pool::{PooledTable, Why, pool},
    question::{self, Question, gather, given, is_mixed, question_id, verified_catalogue},
    refusal::{Reason, Refusal},
    request::{DELIVER_WITHIN_MS, LegalBasis, Query, RequestBody},
    selection::Selection,
    signed::{Document, Label, Preamble, Verified},
    signer::{Domain, Signer},
    time::UnixMs,
    trust::Trust,
};

use crate::{
    client::Client,
    command::Global,
    output::{Failure, Outcome},
    profile::Profile,
    views,
};

/// What every output of an edition that is not audited says.
pub(crate) const NOT_PROTECTED: &str = "NOT PROTECTED AGAINST SUBTRACTION - FOR TESTS ONLY";

/// A question, ready to be asked.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) trust: &'a Trust,
    pub(crate) documents: &'a [Document],
    pub(crate) table: &'a Table,
    pub(crate) question: &'a Question,
    pub(crate) partners: &'a [NodeId],
    pub(crate) purpose: Purpose,
    pub(crate) legal_basis: LegalBasis,
    pub(crate) case_ref: Option<&'a str>,
    pub(crate) edition: u64,
    pub(crate) card: &'a Card,
    pub(crate) card_bytes: &'a [u8],
    /// How long an answer is wanted that a person must allow first, in milliseconds; 0 = it is not.
    pub(crate) wait_ms: u64,
}

/// How to show the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) all_rows: bool,
    pub(crate) cite: bool,
}

/// One request and what became of it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) member: NodeId,
    pub(crate) request_id: RequestId,
    pub(crate) body: Vec<u8>,
    pub(crate) officer_signature: Signature,
    pub(crate) case_ref_salt: Option<[u8; 32]>,
    pub(crate) case_ref_commit: Hash,
    pub(crate) query: Query,
    pub(crate) elapsed_ms: u64,
    pub(crate) node_us: u64,
    pub(crate) reply: Replied,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Replied {
    /// A reply that verifies: an answer or a refusal.
    Verified(Box<Exchange>, RawReply),
    /// A signed word of how it stands: a person has to decide, or nobody did.
    Waits(Box<Verified<Status>>, RawReply),
    /// A reply that does not verify.
    NotVerified(String),
    /// No reply.
    Unreachable(String),
}

/// How a partner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartnerStatus {
    Answered,
    Refused(Refusal),
    /// A person at the partner has to decide.
    Held,
    /// Nobody decided while the answer was wanted.
    Expired,
    /// Its officer took it back.
    Withdrawn,
    Unreachable,
    NotVerified,
    NotComparable,
}

impl PartnerStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused(_) => "refused",
            Self::Held => "held",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Unreachable => "unreachable",
            Self::NotVerified => "not_verified",
            Self::NotComparable => "not_comparable",
        }
    }
}

/// All answers to one question.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) question_id: QuestionId,
    pub(crate) asked_at: UnixMs,
    pub(crate) asked: Vec<Asked>,
    /// Catalogues of partners whose editions were made under another one than ours, as signed documents.
    pub(crate) catalogues: Vec<Document>,
    pub(crate) elapsed_ms: u64,
    pub(crate) warnings: Vec<Notice>,
}

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
            now.plus(asking.wait_ms)
        },
        epoch: asking.trust.root().epoch,
        roster_version: asking.trust.roster().roster_version,
        view_hash,
        edition: asking.edition,
        purpose: asking.purpose,
        legal_basis: asking.legal_basis,
        topic_hash: Hash::ZERO,
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
    let call = AskCall {
        body: Bounded::new(prepared.bytes.clone())
            .ok_or_else(|| Failure::usage("TOO-LONG", "the question is too long", "name fewer codes"))?,
        officer_signature: prepared.signature,
        officer_card: Bounded::new(asking.card_bytes.to_vec()).unwrap_or_default(),
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
        query: prepared.body.query,
        elapsed_ms: watch.ms(),
        node_us,
        reply: replied,
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

/// Verifies a reply to a request, of whichever kind. `said` is the request's body, its officer's signature and card.
pub(crate) fn believe_reply(
    trust: &Trust,
    (body, signature, card): (&[u8], &Signature, &[u8]),
    raw: RawReply,
    now: UnixMs,
) -> Replied {
    let believed = if is_status(&raw.head) {
        verify_waiting(trust, body, signature, card, &raw, now).map(|(_, status)| Replied::Waits(Box::new(status), raw))
    } else {
        verify_exchange(trust, body, signature, card, &raw, now)
            .map(|exchange| Replied::Verified(Box::new(exchange), raw))
    };
    believed.unwrap_or_else(|error| Replied::NotVerified(format!("{:#}", anyhow::Error::new(error))))
}

// An edition may have been made under an older catalogue: then its terms are fetched, to see what may be compared.
pub(crate) async fn other_catalogues(asking: &Asking<'_>, client: &Client, asked: &[Asked]) -> Vec<Document> {
    let ours = asking.trust.catalogue().hash;
    let mut found: Vec<Document> = Vec::new();
    for asked in asked {
        let Replied::Verified(exchange, _) = &asked.reply else { continue };
        let Some(hash) = exchange.edition.as_ref().map(|edition| edition.catalogue_hash).filter(|hash| *hash != ours)
        else {
            continue;
        };
        if found.iter().any(|document| document.hash() == hash) {
            continue;
        }
        let fetch = Fetch { label: Label::Catalogue, node_id: None, number: 0, hash };
        let call = RelayCall { from: asked.member.clone(), fetch, wait_ms: 10_000 };
        let Ok(payload) = encode(&call) else { continue };
        if let Ok(reply) = client.raw(MessageKind::Relay, payload, NoBody).await
            && reply.head.first() == Some(&1)
            && let Ok(document) = decode::<Document>(&reply.body, Cap::Document)
        {
            found.push(document);
        }
    }
    found
}

impl Answers {
    /// The requests to one partner, in the order asked.
    pub(crate) fn of<'a>(&'a self, member: &'a NodeId) -> impl Iterator<Item = &'a Asked> {
        self.asked.iter().filter(move |asked| asked.member == *member)
    }

    /// The catalogue of a partner's edition, if it is another one than ours: `None` inside if it is not known.
    fn theirs(&self, asking: &Asking<'_>, member: &NodeId) -> Option<Option<Catalogue>> {
        let ours = asking.trust.catalogue().hash;
        let hash = self.of(member).find_map(|asked| match &asked.reply {
            Replied::Verified(exchange, _) => exchange.edition.as_ref().map(|edition| edition.catalogue_hash),
            Replied::Waits(..) | Replied::NotVerified(_) | Replied::Unreachable(_) => None,
        });
        hash.filter(|hash| *hash != ours).map(|hash| verified_catalogue(asking.trust, &self.catalogues, &hash))
    }

    /// Whether a partner answered from more than one edition. It may have published a new one while it was asked: asking again gives
    /// one whole answer.
    pub(crate) fn is_mixed(&self, member: &NodeId) -> bool {
        is_mixed(self.of(member).filter_map(|asked| match &asked.reply {
            Replied::Verified(exchange, _) => Some(&**exchange),
            Replied::Waits(..) | Replied::NotVerified(_) | Replied::Unreachable(_) => None,
        }))
    }

    /// How a partner stands: the worst of its requests.
    pub(crate) fn status(&self, asking: &Asking<'_>, member: &NodeId) -> PartnerStatus {
        let mut status = PartnerStatus::Answered;
        if self.is_mixed(member) {
            return PartnerStatus::NotVerified;
        }
        for asked in self.of(member) {
            match &asked.reply {
                Replied::Verified(exchange, _) => match exchange.answer.refusal() {
                    None => {}
                    // Of several requests one that waits says more than one that is refused.
                    Some(refusal) if status != PartnerStatus::Held => status = PartnerStatus::Refused(refusal),
                    Some(_) => {}
                },
                Replied::Waits(said, _) => {
                    status = match said.state {
                        HeldState::Received | HeldState::Held => PartnerStatus::Held,
                        HeldState::Withdrawn => PartnerStatus::Withdrawn,
                        HeldState::Expired => PartnerStatus::Expired,
                    }
                }
                Replied::NotVerified(_) => return PartnerStatus::NotVerified,
                Replied::Unreachable(_) => return PartnerStatus::Unreachable,
            }
        }
        if status == PartnerStatus::Answered
            && let Some(theirs) = self.theirs(asking, member)
        {
            let all = given(member, asking.table, Vec::new(), Some(theirs.as_ref())).incomparable;
            if asking.question.measures.iter().all(|measure| all.contains_key(measure)) {
                return PartnerStatus::NotComparable;
            }
        }
        status
    }

    /// Why numbers of a partner are not comparable, by measure.
    pub(crate) fn incomparable(&self, asking: &Asking<'_>, member: &NodeId) -> Vec<String> {
        match self.theirs(asking, member) {
            None => Vec::new(),
            Some(theirs) => {
                given(member, asking.table, Vec::new(), Some(theirs.as_ref())).incomparable.into_values().collect()
            }
        }
    }

    /// Why a person at a partner said no, if one did.
    pub(crate) fn reason(&self, member: &NodeId) -> Option<Reason> {
        self.of(member).find_map(|asked| match &asked.reply {
            Replied::Verified(exchange, _) => exchange.answer.reason(),
            Replied::Waits(..) | Replied::NotVerified(_) | Replied::Unreachable(_) => None,
        })
    }

    /// How one member's answer must be handled.
    pub(crate) fn handling_of(&self, member: &NodeId) -> Option<Handling> {
        strictest(self.of(member))
    }

    /// How the whole must be handled: the strictest of all answers; nothing if nobody answered.
    pub(crate) fn handling(&self) -> Option<Handling> {
        strictest(self.asked.iter())
    }

    /// The pooled table.
    pub(crate) fn pool(&self, asking: &Asking<'_>) -> anyhow::Result<PooledTable> {
        let mut all = Vec::new();
        for asked in &self.asked {
            let selection = Selection::new(&asked.query, asking.table, asked.member.country())?;
            let reply = match &asked.reply {
                Replied::Verified(exchange, _) => Ok(&**exchange),
                Replied::Waits(said, _) => Err(why_waiting(said.state)),
                Replied::NotVerified(_) => Err(Why::NotVerified),
                Replied::Unreachable(_) => Err(Why::Unreachable),
            };
            all.push(question::Asked { member: asked.member.clone(), selection, reply });
        }
        Ok(pool(asking.table, &gather(asking.trust, asking.table, &self.catalogues, all))?)
    }

    /// Whether any answer comes from an edition that is not audited.
    pub(crate) fn primary_only(&self) -> bool {
        self.asked.iter().any(|asked| match &asked.reply {
            Replied::Verified(exchange, _) => {
                exchange.edition.as_ref().is_some_and(|edition| edition.protection == Protection::PrimaryOnly)
            }
            Replied::Waits(..) | Replied::NotVerified(_) | Replied::Unreachable(_) => false,
        })
    }

    /// How to cite the answer.
    pub(crate) fn cite(&self, asking: &Asking<'_>) -> String {
        let mut sources = Vec::new();
        for member in asking.partners {
            let edition = self.of(member).find_map(|asked| match &asked.reply {
                Replied::Verified(exchange, _) => exchange.edition.as_ref(),
                Replied::Waits(..) | Replied::NotVerified(_) | Replied::Unreachable(_) => None,
            });
            if let Some(edition) = edition {
                let hash: String = edition.commit.to_string().chars().take(16).collect();
                sources.push(format!(
                    "{member} edition {} of {} ({hash})",
                    edition.number,
                    edition.published_at.date()
                ));
            }
        }
        let sources = if sources.is_empty() { "no partner answered".to_owned() } else { sources.join("; ") };
        format!(
            "Accord federation {}, table {} (catalogue {}): {sources}. Asked {} by {}.",
            asking.trust.root().name.as_str(),
            asking.table.name,
            asking.trust.catalogue().id,
            self.asked_at.date(),
            asking.profile.member,
        )
    }
}

// What several answers come to together.
fn strictest<'a>(asked: impl Iterator<Item = &'a Asked>) -> Option<Handling> {
    let answered = asked.filter_map(|asked| match &asked.reply {
        Replied::Verified(exchange, _) if exchange.edition.is_some() => Some(&exchange.answer.handling),
        Replied::Verified(..) | Replied::Waits(..) | Replied::NotVerified(_) | Replied::Unreachable(_) => None,
    });
    answered.fold(None, |all: Option<Handling>, one| Some(all.map_or_else(|| one.clone(), |all| all.with(one))))
}

/// The outcome of a question: text, JSON, exit code.
pub(crate) fn outcome(
    asking: &Asking<'_>,
    answers: &Answers,
    pooled: &PooledTable,
    evidence: Option<&str>,
    options: Options,
) -> Outcome {
    let statuses: Vec<PartnerStatus> = asking.partners.iter().map(|member| answers.status(asking, member)).collect();
    let complete = statuses.iter().all(|status| *status == PartnerStatus::Answered);
    let all_refused =
        statuses.iter().all(|status| matches!(status, PartnerStatus::Refused(_) | PartnerStatus::NotVerified));
    let mut outcome = Outcome::done(
        json::result(asking, answers, pooled, complete, evidence),
        text::show(asking, answers, pooled, options),
    );
    outcome.exit = if complete {
        0
    } else if all_refused {
        3
    } else {
        1
    };
    outcome.warnings.clone_from(&answers.warnings);
    if answers.primary_only() {
        outcome.warnings.push(Notice { code: "NOT-PROTECTED".into(), message: NOT_PROTECTED.into() });
    }
    if all_refused {
        let names: Vec<String> = asking.partners.iter().map(ToString::to_string).collect();
        let refusal = statuses.iter().find_map(|status| match status {
            PartnerStatus::Refused(refusal) => Some(*refusal),
            PartnerStatus::Answered
            | PartnerStatus::Held
            | PartnerStatus::Expired
            | PartnerStatus::Withdrawn
            | PartnerStatus::Unreachable
            | PartnerStatus::NotVerified
            | PartnerStatus::NotComparable => None,
        });
        let (code, next) = refusal.map_or(
            ("NOT-VERIFIED", "check the trust documents on both sides (`accord trust`)".to_owned()),
            |refusal| (refusal.as_str(), refusal.next().replace("{member}", &names.join(", "))),
        );
        outcome.error = Some(
            *Failure::refused(
                code,
                format!("no partner answered: {} refused or could not be verified", names.join(", ")),
                next,
            )
            .fault,
        );
    }
    outcome
}
