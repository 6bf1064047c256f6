//! Serving the agency's own people: officers ask, operators import and publish.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use accord_edge::{
    clock, quic,
    stream::{self, StreamError},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    exchange::verify_request,
    held::is_status,
    key::PublicKey,
    member_keys::KeyRole,
    message::{
        AskCall, AskReply, CoverageCall, EditionCall, Fault, Head, HelloReply, ImportCall, InboxCall, MappingCall,
        MessageKind, PersonReply, RatesCall, RecordsCall, RelayCall, RequestsCall, SignedBytes, TrustCall, Where,
    },
    officers::Card,
    request::RequestBody,
    topic::of_request,
    trust::{Tool, digest},
};
use quinn::{Connection, SendStream};
use serde::{Serialize, de::DeserializeOwned};

use super::{Opened, PartnerReply, Partners, auditing, backing_up, upload, watching};
use crate::{
    io::store::StoreError,
    node::{Actor, Node, Reply, mappings},
};

/// Connections of all people at once.
const CONNECTIONS_MAX: usize = 64;
/// Connections of one key at once.
const CONNECTIONS_PER_KEY_MAX: usize = 4;

/// Who is connected, by key.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<HashMap<PublicKey, usize>>);

struct Seat {
    seats: Arc<Seats>,
    key: PublicKey,
}

impl Seats {
    fn take(self: &Arc<Self>, key: PublicKey) -> Option<Seat> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let total: usize = all.values().sum();
        let of_key = all.entry(key).or_default();
        if total >= CONNECTIONS_MAX || *of_key >= CONNECTIONS_PER_KEY_MAX {
            return None;
        }
        *of_key += 1;
        Some(Seat { seats: Arc::clone(self), key })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.seats.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}

pub(super) async fn serve(node: Arc<Node>, partners: Arc<Partners>, seats: Arc<Seats>, connection: Connection) {
    // Strangers take no seat.
    let person = quic::peer_key(&connection).filter(|key| node.standing().person(key, clock::now()).is_some());
    let seat = person.and_then(|key| Some((key, seats.take(key)?)));
    let Some((key, _seat)) = seat else {
        connection.close(quic::CLOSE_REFUSED, b"");
        return;
    };
    let mut changes = node.trust_changes.subscribe();
    loop {
        let opened = tokio::select! {
            opened = connection.accept_bi() => opened,
            _ = changes.changed() => {
                if node.standing().person(&key, clock::now()).is_some() {
                    continue;
                }
                connection.close(quic::CLOSE_REFUSED, b"");
                break;
            }
        };
        let Ok((mut send, recv)) = opened else { break };
        let Some(role) = node.standing().person(&key, clock::now()) else {
            connection.close(quic::CLOSE_REFUSED, b"");
            break;
        };
        let (node, partners, connection) = (Arc::clone(&node), Arc::clone(&partners), connection.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_stream(&node, &partners, (&connection, key, role), &mut send, recv).await {
                stream::give_up(&mut send);
                tracing::debug!(%role, %error, "a person's stream ended early");
            }
        });
    }
}

/// Which roles may open what.
fn may_open(role: KeyRole, kind: MessageKind) -> bool {
    match kind {
        MessageKind::Hello | MessageKind::Status | MessageKind::Notices | MessageKind::Trust | MessageKind::Watch => {
            true
        }
        MessageKind::Ask | MessageKind::Relay | MessageKind::Requests => role == KeyRole::Officer,
        MessageKind::Inbox | MessageKind::Edition => {
            matches!(role, KeyRole::Operator | KeyRole::Approver | KeyRole::Auditor)
        }
        MessageKind::Records | MessageKind::Audit => matches!(role, KeyRole::Operator | KeyRole::Auditor),
        MessageKind::Import
        | MessageKind::Coverage
        | MessageKind::Rates
        | MessageKind::Mapping
        | MessageKind::Backup => role == KeyRole::Operator,
        MessageKind::Fetch
        | MessageKind::Request
        | MessageKind::Notice
        | MessageKind::Greet
        | MessageKind::View
        | MessageKind::Collect
        | MessageKind::Receipt
        | MessageKind::Nudge
        | MessageKind::Recall
        | MessageKind::Proof
        | MessageKind::Cosign
        | MessageKind::Tell => false,
    }
}

async fn serve_stream(
    node: &Arc<Node>,
    partners: &Arc<Partners>,
    (connection, key, role): (&Connection, PublicKey, KeyRole),
    send: &mut SendStream,
    recv: quinn::RecvStream,
) -> Result<(), StreamError> {
    let mut opened = Opened::new(recv, Head::limits_for_people);
    let head = opened.head().await?;
    let kind = head.kind;
    let payload = head.payload.as_slice();
    if !may_open(role, kind) {
        opened.incoming.stop();
        let message = format!("your key is {} here, which may not do this ({kind})", article(role));
        return answer_json(send, kind, &fault(3, "ROLE", message, "use the profile of the right person (--profile)"))
            .await;
    }
    if !matches!(kind, MessageKind::Import | MessageKind::Rates | MessageKind::Trust) {
        opened.finish().await?;
    }
    match kind {
        MessageKind::Hello => {
            let reply = HelloReply {
                member: node.config.member.to_string(),
                role: role.to_string(),
                now_ms: clock::now().0,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                trust: digest(&node.standing().held.documents, Tool::of(role)).to_string(),
            };
            let reply = PersonReply { exit: 0, result: Some(reply), warnings: Vec::new(), error: None };
            answer_json(send, kind, &reply).await
        }
        MessageKind::Ask => ask(node, partners, (key, role), payload, send).await,
        MessageKind::Relay => {
            let call: RelayCall = decode(payload, Cap::Small)?;
            let within = Duration::from_millis(u64::from(call.wait_ms.min(60_000)));
            let found = partners.fetch(&call.from, &call.fetch, within).await;
            let body = match &found {
                Some(document) => encode(document)?,
                None => Vec::new(),
            };
            stream::reply(send, kind, vec![u8::from(found.is_some())], Some(&body), None).await
        }
        MessageKind::Status => {
            let reply = blocking(node, Node::status).await?;
            answer_json(send, kind, &reply).await
        }
        MessageKind::Notices => {
            let reply = blocking(node, Node::notices).await?;
            answer_json(send, kind, &reply).await
        }
        MessageKind::Inbox => {
            let reply = inbox(node, (key, role), payload).await?;
            answer_json(send, kind, &reply).await
        }
        MessageKind::Requests => {
            let reply = requests(node, partners, key, payload).await?;
            answer_json(send, kind, &reply).await
        }
        MessageKind::Watch => watching::watch(node, key, send).await,
        MessageKind::Audit => auditing::audit(node, (key, role), payload, send).await,
        MessageKind::Backup => backing_up::backup(node, (key, role), payload, send).await,
        MessageKind::Edition
        | MessageKind::Coverage
        | MessageKind::Records
        | MessageKind::Mapping
        | MessageKind::Rates
        | MessageKind::Trust
        | MessageKind::Import => {
            let reply = for_operators(node, (connection, key, role), (kind, payload), &mut opened, send).await?;
            answer_json(send, kind, &reply).await
        }
        MessageKind::Fetch
        | MessageKind::Request
        | MessageKind::Notice
        | MessageKind::Greet
        | MessageKind::View
        | MessageKind::Collect
        | MessageKind::Receipt
        | MessageKind::Nudge
        | MessageKind::Recall
        | MessageKind::Proof
        | MessageKind::Cosign
        | MessageKind::Tell => Err(StreamError::Kind),
    }
}

async fn inbox(node: &Arc<Node>, (key, role): (PublicKey, KeyRole), payload: &[u8]) -> Result<Reply, StreamError> {
    match parse::<InboxCall>(payload) {
        // Only an approver decides; what is signed says so, but a hold is not signed.
        Ok(call) if !may_decide(role, &call) => {
            let message = format!("your key is {} here, which may not decide", article(role));
            Ok(fault(3, "ROLE", message, "ask an approver"))
        }
        Ok(call) => blocking(node, move |node| node.inbox_call(&call, &key)).await,
        Err(reply) => Ok(*reply),
    }
}

async fn requests(node: &Arc<Node>, partners: &Partners, key: PublicKey, payload: &[u8]) -> Result<Reply, StreamError> {
    let said = |shown: Result<Reply, Box<Reply>>| shown.unwrap_or_else(|reply| *reply);
    match parse::<RequestsCall>(payload) {
        Ok(RequestsCall::List {}) => blocking(node, move |node| said(node.list_requests(&key))).await,
        Ok(RequestsCall::Collect {}) => blocking(node, move |node| said(node.collect_requests(&key))).await,
        // The network is asked for it.
        Ok(RequestsCall::Proof { member, subject }) => Ok(partners.best_proof(&member, &subject).await),
        Ok(RequestsCall::Show { id }) => blocking(node, move |node| said(node.show_request(&key, &id))).await,
        Ok(RequestsCall::Withdraw { id, recall }) => {
            blocking(node, move |node| said(node.withdraw_request(&key, &id, &recall))).await
        }
        Err(reply) => Ok(*reply),
    }
}

// An officer's question, handed on to one partner.
async fn ask(
    node: &Arc<Node>,
    partners: &Partners,
    (key, role): (PublicKey, KeyRole),
    payload: &[u8],
    send: &mut SendStream,
) -> Result<(), StreamError> {
    let call: AskCall = decode(payload, Cap::Head)?;
    // The node hands on nothing that is not this very officer's: it puts its own signature beside it.
    let standing = node.standing();
    let trust = standing.trust();
    let request = verify_request(trust, call.body.as_slice(), &call.officer_signature, call.officer_card.as_slice());
    let is_own = |body: &RequestBody, card: &Card| {
        let topic = of_request(trust, body, &call.topic, clock::now());
        body.requester == node.config.member && card.key == key && topic.is_ok()
    };
    let Some((body, card)) = request.ok().filter(|(body, card)| is_own(body, card)) else {
        tracing::info!("a question that is not the officer's own was not handed on");
        return stream::reply(send, MessageKind::Ask, encode(&AskReply::not_handed_on())?, Some(&[]), None).await;
    };
    let officer = card.officer_id;
    let entered = enter(node, {
        let (call, body) = (call.clone(), body.get().clone());
        move |node| node.enter_asked(&call, &body, officer)
    });
    let mut reply = match entered.await {
        Ok(()) => partners.ask(&call).await,
        Err(why) => PartnerReply::unreachable(why),
    };
    // That it waits was entered when it was heard.
    let waits = |answer: &SignedBytes| body.wanted_until.0 > 0 && is_status(answer.payload.as_slice());
    if let Some(answer) = reply.reply.answer.clone().filter(|answer| !waits(answer)) {
        let (body, slice_bytes) = (body.get().clone(), reply.slice.len());
        let entered = enter(node, move |node| node.enter_heard(&call, &body, &answer, slice_bytes));
        if let Err(why) = entered.await {
            reply = PartnerReply::unreachable(why);
        }
    }
    // Once more before anything leaves: an officer who was removed meanwhile gets nothing.
    if node.standing().person(&key, clock::now()) != Some(role) {
        return Ok(());
    }
    stream::reply(send, MessageKind::Ask, encode(&reply.reply)?, Some(&reply.slice), None).await
}

// What is asked is in the audit log before it is, and what came back before anybody sees it.
async fn enter(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), &'static str> {
    let worker = Arc::clone(node);
    match tokio::task::spawn_blocking(move || work(&worker)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(%error, "a request cannot be entered in the audit log");
            Err("your own node cannot write its audit log: tell its operator")
        }
        Err(_) => Err("your own node could not finish it: tell its operator"),
    }
}

async fn editions(node: &Arc<Node>, (key, role): (PublicKey, KeyRole), payload: &[u8]) -> Result<Reply, StreamError> {
    match parse::<EditionCall>(payload) {
        Ok(call) if !may_call(role, &call) => {
            let message = format!("your key is {} here, which may not do this with editions", article(role));
            Ok(fault(3, "ROLE", message, "ask an operator"))
        }
        Ok(call) => blocking(node, move |node| edition(node, &call, (role, key))).await,
        Err(reply) => Ok(*reply),
    }
}

async fn rates(node: &Arc<Node>, by: Actor, payload: &[u8], opened: &mut Opened) -> Result<Reply, StreamError> {
    match parse::<RatesCall>(payload) {
        Ok(RatesCall::Show {}) => {
            opened.finish().await?;
            blocking(node, Node::show_rates).await
        }
        Ok(RatesCall::Import {}) => {
            let file = upload::whole(&mut opened.incoming).await?;
            blocking(node, move |node| node.import_rates(&file, &by)).await
        }
        Err(reply) => {
            opened.incoming.stop();
            Ok(*reply)
        }
    }
}

// What operators, and partly auditors, do with records and editions.
async fn for_operators(
    node: &Arc<Node>,
    (connection, key, role): (&Connection, PublicKey, KeyRole),
    (kind, payload): (MessageKind, &[u8]),
    opened: &mut Opened,
    send: &mut SendStream,
) -> Result<Reply, StreamError> {
    let by = Actor::Person(role, key);
    let only_operators = || fault(3, "ROLE", "only operators change anything here".into(), "ask an operator");
    let reply = match kind {
        MessageKind::Edition => editions(node, (key, role), payload).await?,
        MessageKind::Coverage => match parse::<CoverageCall>(payload) {
            Ok(call) => blocking(node, move |node| node.coverage(&call, &by)).await?,
            Err(reply) => *reply,
        },
        MessageKind::Records => match parse::<RecordsCall>(payload) {
            Ok(call @ (RecordsCall::Imports {} | RecordsCall::Import { .. })) => {
                blocking(node, move |node| node.on_records(&call, &by)).await?
            }
            Ok(_) if role != KeyRole::Operator => only_operators(),
            Ok(call) => blocking(node, move |node| node.on_records(&call, &by)).await?,
            Err(reply) => *reply,
        },
        MessageKind::Mapping => match parse::<MappingCall>(payload) {
            Ok(call) => blocking(node, move |_| mappings(&call)).await?,
            Err(reply) => *reply,
        },
        MessageKind::Rates => rates(node, by, payload, opened).await?,
        MessageKind::Trust => match parse::<TrustCall>(payload) {
            Ok(TrustCall::Show {}) => {
                opened.finish().await?;
                blocking(node, move |node| node.show_trust(Tool::of(role), &key)).await?
            }
            // Whoever signed a document decides, not who hands it in; but an operator answers for what the node does.
            Ok(TrustCall::Publish {}) if role != KeyRole::Operator => {
                opened.incoming.stop();
                only_operators()
            }
            Ok(TrustCall::Publish {}) => match decode(&upload::whole(&mut opened.incoming).await?, Cap::Set) {
                Ok(handed) => blocking(node, move |node| node.publish_documents(&handed, &by)).await?,
                Err(error) => {
                    fault(2, "CALL", format!("these are no documents: {error}"), "use the same version of accord")
                }
            },
            Err(reply) => {
                opened.incoming.stop();
                *reply
            }
        },
        MessageKind::Import => match parse::<ImportCall>(payload) {
            Ok(call) => upload::import(node, (connection, &by), call, &mut opened.incoming, send).await?,
            Err(reply) => *reply,
        },
        MessageKind::Hello
        | MessageKind::Ask
        | MessageKind::Relay
        | MessageKind::Status
        | MessageKind::Notices
        | MessageKind::Fetch
        | MessageKind::Request
        | MessageKind::Greet
        | MessageKind::Notice
        | MessageKind::View
        | MessageKind::Collect
        | MessageKind::Receipt
        | MessageKind::Nudge
        | MessageKind::Recall
        | MessageKind::Proof
        | MessageKind::Cosign
        | MessageKind::Tell
        | MessageKind::Inbox
        | MessageKind::Requests
        | MessageKind::Watch
        | MessageKind::Audit
        | MessageKind::Backup => return Err(StreamError::Kind),
    };
    Ok(reply)
}

fn article(role: KeyRole) -> String {
    let word = role.as_str();
    if word.starts_with(['a', 'o']) { format!("an {word}'s") } else { format!("a {word}'s") }
}

fn may_decide(role: KeyRole, call: &InboxCall) -> bool {
    match call {
        InboxCall::List { .. } | InboxCall::Show { .. } => true,
        InboxCall::Decide { .. } | InboxCall::Hold { .. } | InboxCall::Standing { .. } => role == KeyRole::Approver,
    }
}

// Operators make editions and propose; another operator or an approver agrees; auditors look.
fn may_call(role: KeyRole, call: &EditionCall) -> bool {
    match call {
        EditionCall::Publish {}
        | EditionCall::Withdraw { .. }
        | EditionCall::Correct { .. }
        | EditionCall::Waive { .. } => role == KeyRole::Operator,
        EditionCall::Agree { .. } | EditionCall::Reject { .. } => {
            matches!(role, KeyRole::Operator | KeyRole::Approver)
        }
        EditionCall::Preview { .. }
        | EditionCall::List {}
        | EditionCall::Diff { .. }
        | EditionCall::Proposals { .. }
        | EditionCall::Show { .. } => true,
    }
}

fn edition(node: &Node, call: &EditionCall, (role, key): (KeyRole, PublicKey)) -> Reply {
    let by = Actor::Person(role, key);
    match call {
        EditionCall::Correct { kind, from, to, reason } => node.propose_correction(kind, (*from, *to), reason),
        EditionCall::Waive { table, key, measures, source } => node.propose_waiver(table, key, measures, source),
        EditionCall::Proposals { id } => node.proposals(id.as_deref()),
        EditionCall::Agree { id, document } => node.agree(id, document, &key),
        EditionCall::Reject { id, reason } => node.reject(id, reason, &key),
        EditionCall::Preview { table, cells } => node.preview(table.as_deref(), *cells),
        EditionCall::Publish {} => node.publish(&by),
        EditionCall::Withdraw { number, reason } => node.withdraw(*number, reason, &by),
        EditionCall::List {} => node.list_editions(),
        EditionCall::Diff { from, to, table, cells } => node.compare(*from, *to, table.as_deref(), *cells),
        EditionCall::Show { number, table, cells } => node.show(*number, table.as_deref(), *cells),
    }
}

pub(super) fn fault(exit: u8, code: &str, message: String, next: &str) -> Reply {
    let error = Fault { code: code.to_owned(), message, place: Where::default(), next: Some(next.to_owned()) };
    Reply { exit, result: None, warnings: Vec::new(), error: Some(error) }
}

pub(super) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Box<Reply>> {
    serde_json::from_slice(payload).map_err(|error| {
        Box::new(fault(
            2,
            "CALL",
            format!("the node does not understand this call: {error}"),
            "use the same version of accord and accord-node",
        ))
    })
}

pub(super) async fn blocking(
    node: &Arc<Node>,
    work: impl FnOnce(&Node) -> Reply + Send + 'static,
) -> Result<Reply, StreamError> {
    let worker = Arc::clone(node);
    tokio::task::spawn_blocking(move || work(&worker)).await.map_err(|_| StreamError::Closed)
}

pub(super) async fn answer_json<T: Serialize>(
    send: &mut SendStream,
    kind: MessageKind,
    reply: &T,
) -> Result<(), StreamError> {
    let body = serde_json::to_vec(reply).map_err(|_| StreamError::DoesNotFit)?;
    stream::reply(send, kind, Vec::new(), Some(&body), None).await
}
