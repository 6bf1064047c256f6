//! The evidence file: everything that proves, offline, who said what to whom.
//!
//! A JSON text with the exact bytes in hex. Nothing in it is believed but what follows from the federation's id, which the
//! verifier brings along.

mod log;

pub use log::{ENTRY_WITHIN_MS, Level, Logged, NotLogged, PROOF_WITHIN_MS, Unproven, WITNESSES_NEEDED};
use serde::{Deserialize, Serialize};

use crate::{
    codec::{Bounded, Cap, decode},
    exchange::{Exchange, NotBelieved, RawReply, verify_exchange, verify_request, verify_waiting, why_waiting},
    handling::Handling,
    held::{Status, is_status},
    id::{Hash, NodeId, from_hex},
    key::Signature,
    log::EventKind,
    pool::{PooledTable, Why, pool},
    question::{Asked, gather, question_id},
    request::{RequestBody, SKEW_MS},
    selection::Selection,
    signed::{Document, FederationId, Verified},
    text::with_causes,
    time::UnixMs,
    topic::of_past_request,
    trust::{Trust, TrustError},
};

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Version of this layout: 1.
    pub accord_evidence: u32,
    /// The federation, for finding the file's place; not believed.
    pub federation: String,
    /// The question.
    pub question_id: String,
    /// The table's name.
    pub table: String,
    /// When the asker finished, node time.
    pub collected_at: String,
    /// Trust documents, each as its bytes in hex.
    pub documents: Vec<String>,
    /// What was asked and what came back.
    pub exchanges: Vec<BundleExchange>,
    /// The pooled rows that the asker saw.
    pub pooled: Vec<BundleRow>,
}

/// One request and its reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleExchange {
    /// The request body.
    pub body: String,
    /// The officer's signature.
    pub officer_signature: String,
    /// The officer's card.
    pub officer_card: String,
    /// The topic that the request stands under, a signed document; absent for one that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The reply; absent if there was none that could be believed.
    pub reply: Option<BundleReply>,
    /// Without a reply: what the asker says happened.
    pub without_reply: Option<String>,
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleReply {
    /// The answer head.
    pub head: String,
    /// The partner's signature.
    pub signature: String,
    /// The slice.
    pub slice: String,
    /// The edition's header document; absent for a refusal.
    pub edition: Option<String>,
    /// The proof that it stands in the partner's log, a `tlog-proof`; absent until somebody has fetched one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// One pooled row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRow {
    /// Code names, one for each dimension.
    pub key: Vec<String>,
    /// Per measure: the sum, if any, and who is in it.
    pub values: Vec<BundleValue>,
}

/// One pooled number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleValue {
    /// The measure's name.
    pub measure: String,
    /// The sum; for a mean or histogram the number of lines.
    pub value: Option<i64>,
    /// Every number of a measure that has more than one: lines and sum of a mean, lines and bins of a histogram.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<Option<i64>>,
    /// Members in it.
    pub from: Vec<String>,
    /// Members not in it, with why.
    pub missing: Vec<(String, String)>,
}

/// One thing that the file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Who said it.
    pub who: NodeId,
    /// `answer` or `refusal`; where a person had to decide and nobody had, or it was over, `held`, `expired` or `withdrawn`.
    pub what: &'static str,
    /// To whom.
    pub to: NodeId,
    /// The officer's pseudonym.
    pub officer: String,
    /// When, by the speaker's clock.
    pub at: UnixMs,
    /// From which edition.
    pub edition: Option<u64>,
    /// How an entry of a log names it: [`subject_of`](crate::log::subject_of) the signed bytes.
    pub subject: Hash,
    /// What its speaker's log says that happened.
    pub kind: EventKind,
    /// From when its speaker promised a proof; 0 = it did not.
    pub provable_after: UnixMs,
    /// How it stands in its speaker's log, if the file has a proof.
    pub log: Option<Logged>,
}

/// One part that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which part.
    pub part: String,
    /// Which rule it breaks.
    pub rule: String,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is proved: one for each reply, in the order of the exchanges.
    pub statements: Vec<Statement>,
    /// Answers that promised a proof which should have been there for a day, and is not in the file.
    pub unproven: Vec<Unproven>,
    /// What the asker alone says: members that gave no reply, or none that could be believed.
    pub claims: Vec<(NodeId, Why)>,
    /// What partners were told that it is about, by the topics that the requests stand under.
    pub topics: Vec<(NodeId, String)>,
    /// How the whole must be handled: the strictest of all answers; nothing without any.
    pub handling: Option<Handling>,
    /// Whether the pooled rows follow from the answers.
    pub pool_recomputed: bool,
    /// What does not hold; verified if empty.
    pub failed: Vec<Failed>,
    // The pooled rows as they follow from the answers.
    rows: Vec<BundleRow>,
}

impl Bundle {
    /// The part of a verified file that one member is in: its requests and replies, with the rows that follow from them alone, for
    /// whoever may see no more. Nothing of other members but the federation's trust documents is in it.
    ///
    /// # Errors
    /// What does not hold in the file, or that the member is not in it.
    pub fn extract(&self, member: &NodeId, federation: &FederationId, at: UnixMs) -> Result<Self, Failed> {
        let report = verify(self, federation, at);
        if let Some(failed) = report.failed.into_iter().next() {
            return Err(failed);
        }
        let of_member = |exchange: &&BundleExchange| {
            let body = from_hex(&exchange.body).and_then(|body| decode::<RequestBody>(&body, Cap::Head).ok());
            body.is_some_and(|body| body.audience == *member)
        };
        let exchanges: Vec<BundleExchange> = self.exchanges.iter().filter(of_member).cloned().collect();
        if exchanges.is_empty() {
            return Err(Failed { part: "exchanges".into(), rule: format!("{member} was not asked") });
        }
        let bodies: Vec<Vec<u8>> =
            exchanges.iter().map(|exchange| bytes(&exchange.body, "exchanges")).collect::<Result<_, _>>()?;
        let question_id = question_id(bodies.iter().map(Vec::as_slice)).to_string();
        let mut part = Self { question_id, exchanges, pooled: Vec::new(), ..self.clone() };
        part.pooled = verify(&part, federation, at).rows;
        match verify(&part, federation, at).failed.into_iter().next() {
            Some(failed) => Err(failed),
            None => Ok(part),
        }
    }

    /// Rows of a pooled table as they stand in the file.
    pub fn rows(table: &crate::catalogue::Table, pooled: &PooledTable) -> Vec<BundleRow> {
        let name = |index: &usize| table.measures.get(*index).map(|measure| measure.id.clone()).unwrap_or_default();
        pooled
            .rows
            .iter()
            .map(|row| BundleRow {
                key: row.key.clone(),
                values: row
                    .pooled
                    .iter()
                    .zip(&pooled.measures)
                    .map(|(pooled, measure)| BundleValue {
                        measure: name(measure),
                        value: pooled.value(),
                        numbers: Some(pooled.numbers().collect::<Vec<_>>())
                            .filter(|numbers| numbers.len() > 1)
                            .unwrap_or_default(),
                        from: pooled.from().map(ToString::to_string).collect(),
                        missing: pooled.missing().map(|(member, why)| (member.to_string(), why.to_string())).collect(),
                    })
                    .collect(),
            })
            .collect()
    }
}

fn bytes(text: &str, part: &str) -> Result<Vec<u8>, Failed> {
    from_hex(text).ok_or_else(|| Failed { part: part.to_owned(), rule: "not lower-case hex".into() })
}

fn signature(text: &str, part: &str) -> Result<Signature, Failed> {
    bytes(text, part)?
        .try_into()
        .map(Signature)
        .map_err(|_| Failed { part: part.to_owned(), rule: "not a signature of 64 bytes".into() })
}

fn document(text: &str, part: &str) -> Result<Document, Failed> {
    decode(&bytes(text, part)?, Cap::Document)
        .map_err(|error| Failed { part: part.to_owned(), rule: error.to_string() })
}

/// Re-derives everything in the file from the federation's id. `at` bounds the answers' times from above.
pub fn verify(bundle: &Bundle, federation: &FederationId, at: UnixMs) -> Report {
    let mut report = Report::default();
    if let Err(failed) = verify_into(bundle, federation, at, &mut report) {
        report.failed.push(failed);
    }
    report.pool_recomputed &= report.failed.is_empty();
    report
}

fn verify_into(bundle: &Bundle, federation: &FederationId, at: UnixMs, report: &mut Report) -> Result<(), Failed> {
    if bundle.accord_evidence != 1 {
        return Err(Failed { part: "file".into(), rule: format!("layout {} is not known", bundle.accord_evidence) });
    }
    if bundle.federation != federation.to_string() {
        return Err(Failed { part: "federation".into(), rule: "it is not the federation asked about".into() });
    }
    let documents: Vec<Document> = bundle
        .documents
        .iter()
        .enumerate()
        .map(|(index, text)| document(text, &format!("documents[{index}]")))
        .collect::<Result<_, _>>()?;
    let trust = Trust::build(&documents, Some(federation))
        .map_err(|error: TrustError| Failed { part: "documents".into(), rule: with_causes(&error) })?;
    let table = trust
        .catalogue()
        .table(&bundle.table)
        .ok_or_else(|| Failed { part: "table".into(), rule: "the federation's catalogue has no such table".into() })?;

    if bundle.exchanges.is_empty() {
        return Err(Failed { part: "exchanges".into(), rule: "nothing was asked, so nothing is proved".into() });
    }
    let all: Vec<One> = bundle
        .exchanges
        .iter()
        .enumerate()
        .map(|(index, exchange)| verify_one(&trust, exchange, at, &format!("exchanges[{index}]")))
        .collect::<Result<_, _>>()?;
    verify_whole(bundle, &all, at)?;
    let mut asked = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let selection = Selection::new(&one.body.query, table, one.body.audience.country())
            .map_err(|error| Failed { part: format!("exchanges[{index}]"), rule: error.to_string() })?;
        match &one.reply {
            Ok(exchange) => {
                if exchange.edition.is_some() {
                    let one = &exchange.answer.handling;
                    report.handling = Some(report.handling.take().map_or_else(|| one.clone(), |all| all.with(one)));
                }
            }
            Err(why) if one.waits.is_none() => report.claims.push((one.body.audience.clone(), *why)),
            Err(_) => {}
        }
        if let Some(reply) = bundle.exchanges.get(index).and_then(|exchange| exchange.reply.as_ref()) {
            report.state(&trust, one, reply, at, &format!("exchanges[{index}].reply"))?;
        }
        let told = one.topic.as_ref().map(|title| (one.body.audience.clone(), title.clone()));
        report.topics.extend(told.filter(|told| !report.topics.contains(told)));
        asked.push(Asked {
            member: one.body.audience.clone(),
            selection,
            reply: one.reply.as_ref().map_err(|why| *why),
        });
    }
    let given = gather(&trust, table, &documents, asked);
    let pooled = pool(table, &given).map_err(|error| Failed { part: "pooled".into(), rule: error.to_string() })?;
    report.rows = Bundle::rows(table, &pooled);
    report.pool_recomputed = report.rows == bundle.pooled;
    if !report.pool_recomputed {
        return Err(Failed { part: "pooled".into(), rule: "the pooled rows do not follow from the answers".into() });
    }
    Ok(())
}

impl Report {
    // What one reply proves, with what its partner's log adds. A proof that does not hold is a fault of the file, like anything else in it.
    fn state(&mut self, trust: &Trust, one: &One, reply: &BundleReply, at: UnixMs, part: &str) -> Result<(), Failed> {
        let head = bytes(&reply.head, part)?;
        let Some(mut statement) = one.statement(trust.federation(), &head) else { return Ok(()) };
        if let Some(proof) = &reply.log {
            let logged = statement.proved_by(trust, proof, at);
            let failed = |error: NotLogged| Failed { part: format!("{part}.log"), rule: with_causes(&error) };
            statement.log = Some(logged.map_err(failed)?);
        }
        if statement.is_overdue(at) {
            self.unproven.push(Unproven {
                who: statement.who.clone(),
                what: statement.what,
                at: statement.at,
                provable_after: statement.provable_after,
            });
        }
        self.statements.push(statement);
        Ok(())
    }
}

impl One {
    // What its reply states, before anything is known of logs; nothing where there is none.
    fn statement(&self, federation: &FederationId, head: &[u8]) -> Option<Statement> {
        match (&self.reply, &self.waits) {
            (Ok(exchange), _) => Some(Statement::of_answer(exchange, head, federation)),
            (Err(_), Some(status)) => Some(Statement::of_status((&self.body, &self.officer), status, head, federation)),
            (Err(_), None) => None,
        }
    }
}

struct One {
    body: Verified<RequestBody>,
    officer: String,
    topic: Option<String>,
    reply: Result<Exchange, Why>,
    waits: Option<Verified<Status>>,
}

// All requests are of one question: one officer, one purpose, each asked once, and the identifier follows from them.
fn verify_whole(bundle: &Bundle, all: &[One], at: UnixMs) -> Result<(), Failed> {
    let fault = |part: &str, rule: &str| Failed { part: part.to_owned(), rule: rule.to_owned() };
    let mut ids: Vec<_> = all.iter().map(|one| one.body.request_id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(fault("exchanges", "one request stands twice"));
    }
    let same =
        |one: &One| (one.body.requester.clone(), one.body.officer_card_hash, one.body.purpose, one.body.legal_basis);
    if all.iter().any(|one| all.first().is_some_and(|first| same(first) != same(one))) {
        return Err(fault("exchanges", "the requests are not one officer's for one purpose"));
    }
    let bodies: Vec<Vec<u8>> =
        bundle.exchanges.iter().map(|exchange| bytes(&exchange.body, "exchanges")).collect::<Result<_, _>>()?;
    if question_id(bodies.iter().map(Vec::as_slice)).to_string() != bundle.question_id {
        return Err(fault("question_id", "it does not follow from the requests"));
    }
    let collected: UnixMs =
        bundle.collected_at.parse().map_err(|_| fault("collected_at", "not a time such as 2026-11-24T00:38:00Z"))?;
    // The time is shown in seconds.
    if all.iter().any(|one| collected.plus(SKEW_MS + 1000) < one.body.issued_at) {
        return Err(fault("collected_at", "earlier than a request"));
    }
    if collected > at.plus(SKEW_MS) {
        return Err(fault("collected_at", "later than now"));
    }
    Ok(())
}

fn verify_one(trust: &Trust, exchange: &BundleExchange, at: UnixMs, part: &str) -> Result<One, Failed> {
    let body = bytes(&exchange.body, part)?;
    let officer_signature = signature(&exchange.officer_signature, part)?;
    let card = bytes(&exchange.officer_card, part)?;
    let failed = |error: NotBelieved| Failed { part: part.to_owned(), rule: with_causes(&error) };
    let topic = exchange.topic.as_deref().map_or_else(|| Ok(Vec::new()), |topic| bytes(topic, part))?;
    let under = |body: &RequestBody| {
        let fault = |rule: String| Failed { part: part.to_owned(), rule };
        let topic = Bounded::new(topic).ok_or_else(|| fault("a topic of more than 2 KiB".into()))?;
        let topic = of_past_request(trust, body, &topic).map_err(|error| fault(with_causes(&error)))?;
        Ok(topic.map(|topic| topic.title().to_owned()))
    };
    let Some(reply) = &exchange.reply else {
        let (body, card) = verify_request(trust, &body, &officer_signature, &card).map_err(failed)?;
        // Without a signed reply the asker can claim no more than that none came, or none that could be believed.
        let why = match exchange.without_reply.as_deref() {
            Some("unreachable") => Why::Unreachable,
            Some("not_verified") => Why::NotVerified,
            _ => return Err(Failed { part: part.to_owned(), rule: "a claim that needs a signed reply".into() }),
        };
        let topic = under(&body)?;
        return Ok(One { body, officer: card.officer_id.to_string(), topic, reply: Err(why), waits: None });
    };
    if exchange.without_reply.is_some() {
        return Err(Failed { part: part.to_owned(), rule: "a reply, and a word that there was none".into() });
    }
    let raw = RawReply {
        head: bytes(&reply.head, part)?,
        signature: signature(&reply.signature, part)?,
        slice: bytes(&reply.slice, part)?,
        edition: reply.edition.as_deref().map(|text| document(text, part)).transpose()?,
    };
    if is_status(&raw.head) {
        let said = verify_waiting(trust, &body, &officer_signature, &card, &raw, at).map_err(failed)?;
        let (_, card) = verify_request(trust, &body, &officer_signature, &card).map_err(failed)?;
        let why = why_waiting(said.1.state);
        let (officer, topic) = (card.officer_id.to_string(), under(&said.0)?);
        return Ok(One { body: said.0, officer, topic, reply: Err(why), waits: Some(said.1) });
    }
    let verified = verify_exchange(trust, &body, &officer_signature, &card, &raw, at).map_err(failed)?;
    let officer = verified.card.officer_id.to_string();
    let topic = under(&verified.body)?;
    Ok(One { body: verified.body.clone(), officer, topic, reply: Ok(verified), waits: None })
}
