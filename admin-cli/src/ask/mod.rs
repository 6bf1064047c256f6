//! One question to several partners: signed requests out, verified replies in, one pooled table.
//!
//! The tool verifies every original answer itself, with its own trust documents; what its node says is never printed.

pub(crate) mod export;
pub(crate) mod json;
mod send;
mod text;

use std::collections::BTreeMap;

use accord_edge::stream::NoBody;
use accord_protocol::{
    catalogue::{Catalogue, Table},
    codec::{Cap, decode, encode},
    edition::Protection,
    exchange::{Exchange, RawReply, verify_exchange, verify_waiting, why_waiting},
    handling::Handling,
    held::{HeldState, Status, is_status},
    id::{Hash, NodeId, QuestionId, RequestId},
    key::Signature,
    message::{Fetch, MessageKind, Notice, RelayCall},
    officers::{Card, Purpose},
    pool::{PooledTable, Why, pool},
    question::{self, Question, gather, given, is_mixed, verified_catalogue},
    refusal::{Reason, Refusal},
    request::{LegalBasis, Query, TopicBytes},
    selection::Selection,
    signed::{Document, Label, Verified},
    time::UnixMs,
    trust::Trust,
};

pub(crate) use send::run;

use crate::{
    client::Client,
    output::{Failure, Outcome},
    profile::Profile,
    topics::Attached,
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
    /// The topics that it stands under, by partner.
    pub(crate) topics: &'a BTreeMap<NodeId, Attached>,
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
    /// The topic that travels with it; empty = none.
    pub(crate) topic: TopicBytes,
    pub(crate) query: Query,
    pub(crate) elapsed_ms: u64,
    pub(crate) node_us: u64,
    pub(crate) reply: Replied,
    /// The proof that the reply stands in its partner's log, where one was fetched for it.
    pub(crate) log: Option<String>,
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
        let refused = asking.partners.iter().zip(&statuses).find_map(|(member, status)| match status {
            PartnerStatus::Refused(refusal) => Some((*refusal, json::next_step(asking, answers, *status, member))),
            PartnerStatus::Answered
            | PartnerStatus::Held
            | PartnerStatus::Expired
            | PartnerStatus::Withdrawn
            | PartnerStatus::Unreachable
            | PartnerStatus::NotVerified
            | PartnerStatus::NotComparable => None,
        });
        let (code, next) = match refused {
            None => ("NOT-VERIFIED", "check the trust documents on both sides (`accord trust`)".to_owned()),
            Some((refusal, Some(next))) if names.len() == 1 => (refusal.as_str(), next),
            Some((refusal, _)) => (refusal.as_str(), refusal.next().replace("{member}", &names.join(", "))),
        };
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
