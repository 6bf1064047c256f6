//! Serving the agency's own people: officers ask, operators import and publish.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use accord_edge::{
    clock::{self, Stopwatch},
    quic,
    stream::{self, Incoming, StreamError},
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    frame::Piece,
    id::Hash,
    key::PublicKey,
    member_keys::KeyRole,
    message::{
        AskCall, AskReply, CoverageCall, EditionCall, Fault, Head, HelloReply, ImportCall, MappingCall, MessageKind,
        PersonReply, RatesCall, RecordsCall, RelayCall, Where,
    },
    question::verify_request,
};
use quinn::{Connection, SendStream};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Partners, finish_call, read_head};
use crate::{
    io::import::Progress,
    node::{Node, Reply, mappings},
};

/// Connections of all people at once.
const CONNECTIONS_MAX: usize = 64;
/// Connections of one key at once.
const CONNECTIONS_PER_KEY_MAX: usize = 4;
/// How long an import waits for the one before it.
const IMPORT_WAITS: Duration = Duration::from_secs(15);
/// An upload brings at least this much in each window, so that nobody holds the one place for ever (`wire.md` D1).
const PACE_BYTES_MIN: u64 = 256 << 10;
const PACE_WINDOW_MS: u64 = 30_000;
/// How often an operator hears how far an import is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Longest silence within an upload.
const UPLOAD_SILENCE_MAX: Duration = Duration::from_secs(30);

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
    let Some(key) = quic::peer_key(&connection) else { return };
    let Some(_seat) = seats.take(key) else {
        connection.close(quic::CLOSE_REFUSED, b"");
        return;
    };
    while let Ok((send, recv)) = connection.accept_bi().await {
        let Some(role) = node.standing.person(&key, clock::now()) else {
            connection.close(quic::CLOSE_REFUSED, b"");
            break;
        };
        let (node, partners, connection) = (Arc::clone(&node), Arc::clone(&partners), connection.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_stream(&node, &partners, (&connection, key, role), send, recv).await {
                tracing::debug!(%role, %error, "a person's stream ended early");
            }
        });
    }
}

/// Which roles may open what.
fn may_open(role: KeyRole, kind: MessageKind) -> bool {
    match kind {
        MessageKind::Hello | MessageKind::Status => true,
        MessageKind::Ask | MessageKind::Relay => role == KeyRole::Officer,
        MessageKind::Edition => matches!(role, KeyRole::Operator | KeyRole::Auditor),
        MessageKind::Records => matches!(role, KeyRole::Operator | KeyRole::Auditor),
        MessageKind::Import | MessageKind::Coverage | MessageKind::Rates | MessageKind::Mapping => {
            role == KeyRole::Operator
        }
        MessageKind::Fetch | MessageKind::Request | MessageKind::Notice => false,
    }
}

async fn serve_stream(
    node: &Arc<Node>,
    partners: &Arc<Partners>,
    (connection, key, role): (&Connection, PublicKey, KeyRole),
    mut send: SendStream,
    recv: quinn::RecvStream,
) -> Result<(), StreamError> {
    let (head, mut incoming) = read_head(recv, Head::limits_for_people).await?;
    let kind = head.kind;
    let payload = head.payload.as_slice();
    if !may_open(role, kind) {
        incoming.stop();
        let message = format!("your key is {} here, which may not do this ({kind})", article(role));
        return answer_json(
            &mut send,
            kind,
            &fault(3, "ROLE", message, "use the profile of the right person (--profile)"),
        )
        .await;
    }
    if !matches!(kind, MessageKind::Import | MessageKind::Rates) {
        finish_call(&mut incoming).await?;
    }
    match kind {
        MessageKind::Hello => {
            let reply = HelloReply {
                member: node.config.member.to_string(),
                role: role.to_string(),
                now_ms: clock::now().0,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let reply = PersonReply { exit: 0, result: Some(reply), warnings: Vec::new(), error: None };
            answer_json(&mut send, kind, &reply).await
        }
        MessageKind::Ask => {
            let call: AskCall = decode(payload, Cap::Head)?;
            // The node hands on nothing that is not this very officer's: it puts its own signature beside it.
            let trust = &node.standing.trust;
            let request =
                verify_request(trust, call.body.as_slice(), &call.officer_signature, call.officer_card.as_slice());
            if !request.is_ok_and(|(body, card)| body.requester == node.config.member && card.key == key) {
                tracing::info!("a question that is not the officer's own was not handed on");
                return stream::reply(&mut send, kind, encode(&AskReply::not_handed_on())?, Some(&[]), None).await;
            }
            let reply = partners.ask(&call).await;
            // Once more before anything leaves: an officer who was removed meanwhile gets nothing.
            if node.standing.person(&key, clock::now()) != Some(role) {
                return Ok(());
            }
            stream::reply(&mut send, kind, encode(&reply.reply)?, Some(&reply.slice), None).await
        }
        MessageKind::Relay => {
            let call: RelayCall = decode(payload, Cap::Small)?;
            let within = Duration::from_millis(u64::from(call.wait_ms.min(60_000)));
            let found = partners.fetch(&call.from, &call.fetch, within).await;
            let body = match &found {
                Some(document) => encode(document)?,
                None => Vec::new(),
            };
            stream::reply(&mut send, kind, vec![u8::from(found.is_some())], Some(&body), None).await
        }
        MessageKind::Status => blocking_json(node, &mut send, kind, Node::status).await,
        MessageKind::Edition => match parse::<EditionCall>(payload) {
            Ok(call) => {
                let changes = matches!(call, EditionCall::Publish | EditionCall::Withdraw { .. });
                if role != KeyRole::Operator && changes {
                    let reply = fault(3, "ROLE", "only operators publish and withdraw".into(), "ask an operator");
                    return answer_json(&mut send, kind, &reply).await;
                }
                blocking_json(node, &mut send, kind, move |node| edition(node, &call)).await
            }
            Err(reply) => answer_json(&mut send, kind, &*reply).await,
        },
        MessageKind::Coverage => match parse::<CoverageCall>(payload) {
            Ok(call) => blocking_json(node, &mut send, kind, move |node| node.coverage(&call)).await,
            Err(reply) => answer_json(&mut send, kind, &*reply).await,
        },
        MessageKind::Records => match parse::<RecordsCall>(payload) {
            Ok(call) => {
                if role != KeyRole::Operator && !matches!(call, RecordsCall::Imports | RecordsCall::Import { .. }) {
                    let reply = fault(3, "ROLE", "only operators do this".into(), "ask an operator");
                    return answer_json(&mut send, kind, &reply).await;
                }
                blocking_json(node, &mut send, kind, move |node| node.on_records(&call)).await
            }
            Err(reply) => answer_json(&mut send, kind, &*reply).await,
        },
        MessageKind::Mapping => match parse::<MappingCall>(payload) {
            Ok(call) => blocking_json(node, &mut send, kind, move |_| mappings(&call)).await,
            Err(reply) => answer_json(&mut send, kind, &*reply).await,
        },
        MessageKind::Rates => match parse::<RatesCall>(payload) {
            Ok(RatesCall::Show) => {
                finish_call(&mut incoming).await?;
                blocking_json(node, &mut send, kind, Node::show_rates).await
            }
            Ok(RatesCall::Import) => {
                let file = whole(&mut incoming).await?;
                blocking_json(node, &mut send, kind, move |node| node.import_rates(&file)).await
            }
            Err(reply) => {
                incoming.stop();
                answer_json(&mut send, kind, &*reply).await
            }
        },
        MessageKind::Import => {
            let reply = match parse::<ImportCall>(payload) {
                Ok(call) => import(node, connection, call, &mut incoming, &mut send).await?,
                Err(reply) => *reply,
            };
            answer_json(&mut send, kind, &reply).await
        }
        MessageKind::Fetch | MessageKind::Request | MessageKind::Notice => Err(StreamError::Kind),
    }
}

fn article(role: KeyRole) -> String {
    let word = role.as_str();
    if word.starts_with(['a', 'o']) { format!("an {word}'s") } else { format!("a {word}'s") }
}

fn edition(node: &Node, call: &EditionCall) -> Reply {
    match call {
        EditionCall::Preview { table, cells } => node.preview(table.as_deref(), *cells),
        EditionCall::Publish => node.publish(),
        EditionCall::Withdraw { number, reason } => node.withdraw(*number, reason),
        EditionCall::List => node.list_editions(),
        EditionCall::Show { number, table, cells } => node.show(*number, table.as_deref(), *cells),
    }
}

// A small body, whole; its size is bounded by the kind of message.
async fn whole(incoming: &mut Incoming) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(UPLOAD_SILENCE_MAX, incoming.next()).await.map_err(|_| StreamError::Closed)?? {
            None => return Ok(bytes),
            Some(Piece::Body(more)) => bytes.extend_from_slice(&more),
            Some(Piece::Head(_) | Piece::Progress(_) | Piece::End) => {}
        }
    }
}

// Takes the upload whole before anything is read from it; a connection lost at any point changes nothing.
async fn import(
    node: &Arc<Node>,
    connection: &Connection,
    call: ImportCall,
    incoming: &mut Incoming,
    send: &mut SendStream,
) -> Result<Reply, StreamError> {
    let (expected, size) = (call.sha256.clone(), call.bytes);
    let prepared = match node.prepare_import(call) {
        Ok(prepared) => prepared,
        Err(reply) => {
            incoming.stop();
            return Ok(*reply);
        }
    };
    let Ok(_alone) = tokio::time::timeout(IMPORT_WAITS, node.importing.lock()).await else {
        incoming.stop();
        return Ok(fault(4, "BUSY", "another import is running".into(), "wait until it is done, then import again"));
    };
    if let Some(report) = node.committed_import(&prepared) {
        incoming.stop();
        return Ok(report);
    }
    let mut spool = match node.spool() {
        Ok(spool) => spool,
        Err(error) => {
            incoming.stop();
            return Ok(fault(4, "SPOOL", format!("the spool cannot be used: {error}"), "look at the node's disk"));
        }
    };
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut taken = 0u64;
    let (mut pace, mut taken_before) = (Stopwatch::start(), 0u64);
    loop {
        let piece =
            tokio::time::timeout(UPLOAD_SILENCE_MAX, incoming.next()).await.map_err(|_| StreamError::Closed)??;
        match piece {
            None => break,
            Some(Piece::Body(bytes)) => {
                taken += bytes.len() as u64;
                if pace.ms() >= PACE_WINDOW_MS {
                    if taken - taken_before < PACE_BYTES_MIN {
                        incoming.stop();
                        let message = "the upload is too slow; nothing was stored".to_owned();
                        return Ok(fault(4, "TOO-SLOW", message, "import from a faster connection"));
                    }
                    (pace, taken_before) = (Stopwatch::start(), taken);
                }
                if taken > size {
                    incoming.stop();
                    return Ok(changed());
                }
                digest.update(&bytes);
                if let Err(error) = spool.write(&bytes) {
                    incoming.stop();
                    let reply = fault(
                        4,
                        "DISK-FULL",
                        format!("the upload cannot be kept: {error}; nothing was stored"),
                        "free space on the node's disk, then import again",
                    );
                    return Ok(reply);
                }
            }
            Some(Piece::Head(_) | Piece::Progress(_) | Piece::End) => {}
        }
    }
    let mut found = [0; 32];
    found.copy_from_slice(digest.finish().as_ref());
    if taken != size || Hash(found).to_string() != expected {
        return Ok(changed());
    }
    let worker = Arc::clone(node);
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    let progress = Arc::new(Progress::default());
    let count = Arc::clone(&progress);
    let mut working =
        tokio::task::spawn_blocking(move || worker.import(&prepared, &mut spool, &flag, &count));
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    let done = loop {
        tokio::select! {
            done = &mut working => break done,
            // Whoever went away before the commit is told "interrupted", and finds nothing stored.
            _ = connection.closed() => {
                cancelled.store(true, Ordering::Relaxed);
                break working.await;
            }
            // A stream that takes no progress ends with its connection, which the arm above waits for.
            _ = tick.tick() => drop(stream::progress(send, &progress.message(size)).await),
        }
    };
    done.map_err(|_| StreamError::Closed)
}

fn changed() -> Reply {
    fault(
        3,
        "R-FILE-CHANGED",
        "the file changed while it was read; nothing was stored".into(),
        "import it again when nobody writes to it",
    )
}

fn fault(exit: u8, code: &str, message: String, next: &str) -> Reply {
    let error = Fault { code: code.to_owned(), message, place: Where::default(), next: Some(next.to_owned()) };
    Reply { exit, result: None, warnings: Vec::new(), error: Some(error) }
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Box<Reply>> {
    serde_json::from_slice(payload).map_err(|error| {
        Box::new(fault(
            2,
            "CALL",
            format!("the node does not understand this call: {error}"),
            "use the same version of accord and accord-node",
        ))
    })
}

async fn blocking_json(
    node: &Arc<Node>,
    send: &mut SendStream,
    kind: MessageKind,
    work: impl FnOnce(&Node) -> PersonReply<Value> + Send + 'static,
) -> Result<(), StreamError> {
    let worker = Arc::clone(node);
    let reply = tokio::task::spawn_blocking(move || work(&worker)).await.map_err(|_| StreamError::Closed)?;
    answer_json(send, kind, &reply).await
}

async fn answer_json<T: Serialize>(send: &mut SendStream, kind: MessageKind, reply: &T) -> Result<(), StreamError> {
    let body = serde_json::to_vec(reply).map_err(|_| StreamError::DoesNotFit)?;
    stream::reply(send, kind, Vec::new(), Some(&body), None).await
}
