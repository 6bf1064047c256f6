//! Asking partners: one connection each, kept; the officer's question handed on; the reply handed back untouched.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use accord_edge::{
    clock::{self, Stopwatch},
    quic,
    stream::{self, Heard, NoBody, StreamError},
};
use accord_protocol::{
    answer::{AnswerHead, class_size, reply_class},
    codec::{Bounded, Cap, Text, decode, encode},
    held::{ReplyHead, is_status, verify_reply},
    id::{Hash, NodeId},
    key::PublicKey,
    message::{AskCall, AskOutcome, AskReply, Fetch, MessageKind, SignedBytes},
    officers::Card,
    request::{Request, RequestBody},
    signed::{Document, Label, Preamble},
};
use quinn::{Connection, Endpoint};

use super::greeter::{Compared, Walks};
use crate::{
    domain::{
        provide::Peer,
        round::{Contradiction, End, Event, Heads, Round, Step},
    },
    node::Node,
};

/// Longest handshake with a partner.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Edition headers kept in memory, at most.
const HEADERS_MAX: usize = 1_000;

/// The one connection to a member, with the key by which this node has proved itself.
type Slot = Arc<tokio::sync::Mutex<Option<(PublicKey, Connection)>>>;

/// What came back from a partner, with the slice.
#[derive(Debug)]
pub struct PartnerReply {
    /// The head for the tool.
    pub reply: AskReply,
    /// The slice.
    pub slice: Vec<u8>,
}

impl PartnerReply {
    // Without a table, and why.
    fn nothing(outcome: AskOutcome, detail: &str, elapsed_us: u64) -> Self {
        let detail: String =
            detail.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(240).collect();
        let detail = Text::new(&detail).unwrap_or_default();
        let reply = AskReply { outcome, detail, answer: None, edition: Bounded::default(), elapsed_us };
        Self { reply, slice: Vec::new() }
    }

    /// That nobody was asked, or nothing of what was heard can be handed on.
    pub(super) fn unreachable(why: &str) -> Self {
        Self::nothing(AskOutcome::Unreachable, why, 0)
    }
}

/// Why nothing came of asking a partner.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    NotAReply(String),
}

/// What became of one attempt.
enum Happened {
    Replied { head: Vec<u8>, stream_bytes: u64 },
    NotAReply(String),
    Broken(String),
    Silent,
    Contradiction(Box<Contradiction>),
}

/// Connections to partners.
#[derive(Debug)]
pub struct Partners {
    pub(super) node: Arc<Node>,
    endpoints: Mutex<BTreeMap<bool, Endpoint>>,
    connections: tokio::sync::Mutex<HashMap<NodeId, Slot>>,
    headers: Mutex<HashMap<(NodeId, u64, Hash), Document>>,
    heads: Mutex<Heads>,
    pub(super) walks: Walks,
    pub(super) compared: Compared,
}

impl Partners {
    /// No connections yet.
    pub fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            endpoints: Mutex::default(),
            connections: tokio::sync::Mutex::default(),
            headers: Mutex::default(),
            heads: Mutex::default(),
            walks: Walks::default(),
            compared: Compared::default(),
        }
    }

    /// Asks one partner on behalf of an officer. What goes wrong is part of the reply.
    pub async fn ask(&self, call: &AskCall) -> PartnerReply {
        let watch = Stopwatch::start();
        let within = Duration::from_millis(u64::from(call.wait_ms.min(600_000)));
        let asked = tokio::time::timeout(within, self.ask_inner(call)).await;
        let nothing = |outcome, detail: &str| PartnerReply::nothing(outcome, detail, watch.us());
        match asked {
            Ok(Ok((answer, edition, slice))) => {
                let without = nothing(AskOutcome::Replied, "").reply;
                PartnerReply { reply: AskReply { answer: Some(answer), edition, ..without }, slice }
            }
            Ok(Err(AskError::NotAReply(detail))) => nothing(AskOutcome::NotVerified, &detail),
            Ok(Err(AskError::Unreachable(detail))) => nothing(AskOutcome::Unreachable, &detail),
            Err(_) => nothing(AskOutcome::Unreachable, &format!("no answer within {} s", within.as_secs())),
        }
    }

    async fn ask_inner(&self, call: &AskCall) -> Result<(SignedBytes, Bounded<u8, { 32 << 10 }>, Vec<u8>), AskError> {
        let body: RequestBody =
            decode(call.body.as_slice(), Cap::Head).map_err(|error| AskError::NotAReply(error.to_string()))?;
        self.node.has_learned().await;
        if let Some(why) = self.node.stands_still(&body.audience) {
            return Err(AskError::Unreachable(why.to_string()));
        }
        if body.audience == self.node.config.member {
            return self.ask_myself(call).await;
        }
        if self.node.standing().trust().provider(&body.audience, clock::now()).is_none() {
            return Err(AskError::Unreachable(format!(
                "{} is not an active provider on this node's roster",
                body.audience
            )));
        }
        let (mut round, mut step) =
            Round::new(&body).ok_or_else(|| AskError::NotAReply("no such reply class".into()))?;
        let waits = body.wanted_until.0 > 0;
        if waits {
            self.keep_sent(call, &body).await?;
        }
        let mut connection = None;
        let (mut failed, mut slice) = (None, Vec::new());
        let mut sent = 0;
        loop {
            step = match step {
                Step::Connect => match self.connection(&body.audience, failed).await {
                    Ok((new, kept)) => {
                        connection = Some(new);
                        round.on(Event::Connected { kept })
                    }
                    Err(AskError::Unreachable(why) | AskError::NotAReply(why)) => {
                        // What never left is not waited for.
                        if waits && failed.is_none() {
                            self.forget_sent(call);
                        }
                        round.on(Event::NoConnection(why))
                    }
                },
                Step::Send { within_ms } => {
                    let Some(current) = &connection else { return Err(AskError::Unreachable("no connection".into())) };
                    failed = Some(current.stable_id());
                    sent += 1;
                    let (event, body_bytes) = self.hand_on(call, &body, current, round.reply_max(), within_ms).await?;
                    slice = body_bytes;
                    match event {
                        Happened::Replied { head, stream_bytes } => {
                            round.on(Event::Replied { head: &head, body_len: slice.len(), stream_bytes })
                        }
                        Happened::NotAReply(why) => round.on(Event::NotAReply(why)),
                        Happened::Broken(why) => round.on(Event::Broken(why)),
                        Happened::Silent => round.on(Event::Silent),
                        Happened::Contradiction(both) => Step::Done(End::Contradiction(both)),
                    }
                }
                Step::Done(End::Replied(answer)) => {
                    let Some(current) = &connection else { return Err(AskError::Unreachable("no connection".into())) };
                    let edition = self.edition_header(current, &body.audience, &answer).await?;
                    if waits {
                        self.note_reply(call, &body, &answer, sent == 1).await;
                    }
                    // Once more before anything is handed on: what was stopped meanwhile gives nothing.
                    if let Some(why) = self.node.stands_still(&body.audience) {
                        return Err(AskError::Unreachable(why.to_string()));
                    }
                    return Ok((answer, edition, slice));
                }
                Step::Done(End::Unreachable(why)) => return Err(AskError::Unreachable(why)),
                Step::Done(End::NotAReply(why)) => return Err(AskError::NotAReply(why)),
                Step::Done(End::Contradiction(both)) => return Err(self.keep(&body.audience, *both).await),
            };
        }
    }

    // Before it is sent: whatever happens afterwards, its answer finds whoever asked.
    async fn keep_sent(&self, call: &AskCall, body: &RequestBody) -> Result<(), AskError> {
        let card: Card =
            decode(call.officer_card.as_slice(), Cap::Small).map_err(|error| AskError::NotAReply(error.to_string()))?;
        let (node, call, body) = (Arc::clone(&self.node), call.clone(), body.clone());
        let keeping = tokio::task::spawn_blocking(move || node.keep_sent(&call, &body, &card.key));
        let kept = keeping.await.map_err(|error| AskError::Unreachable(error.to_string()))?;
        kept.map_err(|error| AskError::Unreachable(error.to_string()))
    }

    // Nobody waits for it: one that stays by an accident is settled later.
    fn forget_sent(&self, call: &AskCall) {
        let (node, body_hash) = (Arc::clone(&self.node), Hash::of(call.body.as_slice()));
        drop(tokio::task::spawn_blocking(move || node.forget_sent(&body_hash)));
    }

    // A request that is held is waited for. It has come to its end with an answer, or with a refusal if it was sent once: the same once
    // more may be refused for the moment although it is held since the first time. What is unsure is settled later.
    async fn note_reply(&self, call: &AskCall, body: &RequestBody, answer: &SignedBytes, is_first: bool) {
        if !is_status(answer.payload.as_slice()) {
            let hash = Hash::of(call.body.as_slice());
            let said = verify_reply(self.node.standing().trust(), body, hash, answer, clock::now());
            let is_over = said.is_ok_and(|said| match said {
                ReplyHead::Answer(answer) => answer.refusal().is_none() || is_first,
                ReplyHead::Status(_) => false,
            });
            if is_over {
                self.forget_sent(call);
            }
            return;
        }
        let (node, body_hash, answer) = (Arc::clone(&self.node), Hash::of(call.body.as_slice()), answer.clone());
        // What is not kept of it is collected again.
        let _ = tokio::task::spawn_blocking(move || node.hear_of_request(&body_hash, &answer, &[], &[])).await;
    }

    // Sends the request once over a connection; what happened, and the body of the reply.
    async fn hand_on(
        &self,
        call: &AskCall,
        body: &RequestBody,
        connection: &Connection,
        reply_max: u64,
        within_ms: u64,
    ) -> Result<(Happened, Vec<u8>), AskError> {
        let payload = self.envelope(call, connection)?;
        // Requests are brought to a class too, so that their length says nothing about what is asked (`wire.md` D10).
        let padded = reply_class(payload.len()).and_then(class_size);
        let request = stream::Call::new(MessageKind::Request, payload).padded(padded, reply_max);
        let body_hash = Hash::of(call.body.as_slice());
        let mut contradiction = None;
        // The head is noted as soon as it is heard: a partner that breaks off after it has still signed it.
        let heard = |heard: Heard<'_>| {
            if let Heard::Head(head) = heard {
                let mut heads = self.heads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                contradiction = heads.note(self.node.standing().trust(), body, body_hash, head);
            }
        };
        let calling = stream::call(connection, request, NoBody, heard);
        let called = tokio::time::timeout(Duration::from_millis(within_ms), calling).await;
        if let Some(both) = contradiction {
            return Ok((Happened::Contradiction(Box::new(both)), Vec::new()));
        }
        Ok(match called {
            Ok(Ok(reply)) => (Happened::Replied { head: reply.head, stream_bytes: reply.stream_bytes }, reply.body),
            Ok(Err(error @ (StreamError::Frame(_) | StreamError::Head(_) | StreamError::Kind))) => {
                (Happened::NotAReply(words(&error)), Vec::new())
            }
            Ok(Err(error)) => (Happened::Broken(words(&error)), Vec::new()),
            Err(_) => (Happened::Silent, Vec::new()),
        })
    }

    // Two signed replies to one request are kept as evidence against their signer, and neither is believed.
    async fn keep(&self, partner: &NodeId, both: Contradiction) -> AskError {
        tracing::error!(%partner, "ALARM: two different signed replies to one request; both are kept");
        let (node, partner) = (Arc::clone(&self.node), partner.clone());
        let kept = tokio::task::spawn_blocking(move || node.keep_contradiction(&partner, &both)).await;
        if let Ok(Err(error)) = kept {
            tracing::error!(%error, "they cannot be kept");
        }
        AskError::NotAReply(
            "it signed two different replies to this one request; your node keeps both as evidence".into(),
        )
    }

    // The node's own officers ask it like anybody else; only the network is left out.
    async fn ask_myself(&self, call: &AskCall) -> Result<(SignedBytes, Bounded<u8, { 32 << 10 }>, Vec<u8>), AskError> {
        let payload = self.sign_envelope(call, [0; 32])?;
        let node = Arc::clone(&self.node);
        let answer = tokio::task::spawn_blocking(move || {
            node.answer(Peer { member: &node.config.member, channel_binding: None }, &payload)
        })
        .await
        .map_err(|error| AskError::Unreachable(error.to_string()))?;
        let payload = Bounded::new(answer.head).ok_or_else(|| AskError::NotAReply("too long".into()))?;
        let signed = SignedBytes { payload, signature: answer.signature };
        let number = edition_of(&signed).map_or(0, |(number, _)| number);
        let node = Arc::clone(&self.node);
        let document =
            tokio::task::spawn_blocking(
                move || if number == 0 { None } else { node.edition_document(number).ok().flatten() },
            )
            .await
            .map_err(|error| AskError::Unreachable(error.to_string()))?;
        Ok((signed, to_bytes(document.as_ref())?, answer.slice))
    }

    fn envelope(&self, call: &AskCall, connection: &Connection) -> Result<Vec<u8>, AskError> {
        let binding =
            quic::channel_binding(connection).ok_or_else(|| AskError::Unreachable("no channel binding".into()))?;
        self.sign_envelope(call, binding)
    }

    fn sign_envelope(&self, call: &AskCall, channel_binding: [u8; 32]) -> Result<Vec<u8>, AskError> {
        let too_long = |error: accord_protocol::codec::Malformed| AskError::NotAReply(error.to_string());
        let voice = self.node.voice();
        let request = Request {
            preamble: Preamble,
            body: call.body.clone(),
            officer_signature: call.officer_signature,
            officer_card: call.officer_card.clone(),
            topic: call.topic.clone(),
            node_id: self.node.config.member.clone(),
            node_key: voice.sign.public(),
            sent_at: clock::now(),
            channel_binding,
        };
        let payload = encode(&request).map_err(too_long)?;
        let signature = voice.sign.sign(Label::Request, self.node.standing().trust().federation(), &payload);
        let payload = Bounded::new(payload).ok_or_else(|| AskError::NotAReply("the request is too long".into()))?;
        encode(&SignedBytes { payload, signature }).map_err(too_long)
    }

    /// A connection to a member, and whether it was kept from before. Never the one that has just failed. Whoever else wants one
    /// to the same member meanwhile waits and takes the same.
    pub(super) async fn connection(
        &self,
        member: &NodeId,
        failed: Option<usize>,
    ) -> Result<(Connection, bool), AskError> {
        let slot = Arc::clone(self.connections.lock().await.entry(member.clone()).or_default());
        let mut slot = slot.lock().await;
        // After a rotation there is a new one; calls that go over the old one end there.
        let tls = Arc::clone(&self.node.voice().tls);
        let usable = |(key, connection): &&(PublicKey, Connection)| {
            *key == tls.public() && connection.close_reason().is_none() && failed != Some(connection.stable_id())
        };
        if let Some((_, connection)) = slot.as_ref().filter(usable) {
            return Ok((connection.clone(), true));
        }
        let standing = self.node.standing();
        let tls_keys = standing.trust().reachable_by(member, clock::now());
        let keys = standing
            .trust()
            .keys(member)
            .filter(|_| !tls_keys.is_empty())
            .ok_or_else(|| AskError::Unreachable(format!("{member} is not a member on this node's roster")))?;
        let mut last = AskError::Unreachable("no address".into());
        for address in keys.socket_addresses() {
            let endpoint = self.endpoint(address)?;
            let connected = quic::connect(
                &endpoint,
                address,
                Arc::clone(&tls),
                tls_keys.clone(),
                self.node.config.key_exchange,
                CONNECT_WITHIN,
            )
            .await;
            match connected {
                Ok(connection) if !self.is_trusted(member, &connection) => {
                    connection.close(quic::CLOSE_REFUSED, b"");
                    last = AskError::Unreachable(format!("{member} lost this node's trust meanwhile"));
                }
                Ok(connection) => {
                    *slot = Some((tls.public(), connection.clone()));
                    return Ok((connection, false));
                }
                Err(error) => last = AskError::Unreachable(words(&error)),
            }
        }
        Err(last)
    }

    fn endpoint(&self, address: SocketAddr) -> Result<Endpoint, AskError> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(endpoint) = endpoints.get(&address.is_ipv6()) {
            return Ok(endpoint.clone());
        }
        let any: SocketAddr = if address.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
        let endpoint = quic::outgoing(any).map_err(|error| AskError::Unreachable(words(&error)))?;
        endpoints.insert(address.is_ipv6(), endpoint.clone());
        Ok(endpoint)
    }

    /// Fetches a document from a partner for a person of this node.
    pub async fn fetch(&self, member: &NodeId, fetch: &Fetch, within: Duration) -> Option<Document> {
        let fetched = async {
            self.node.has_learned().await;
            if self.node.stands_still(member).is_some() {
                return None;
            }
            if *member == self.node.config.member {
                return match fetch.label {
                    Label::Edition => self.node.edition_document(fetch.number).ok().flatten(),
                    Label::Catalogue => self.node.catalogue_document(&fetch.hash).ok().flatten(),
                    _ => None,
                };
            }
            let (connection, _) = self.connection(member, None).await.ok()?;
            let found = match fetch.label {
                Label::View => Self::document_over(&connection, MessageKind::View, Vec::new()).await,
                _ => Self::fetch_over(&connection, fetch).await,
            };
            found.ok().flatten()
        };
        tokio::time::timeout(within, fetched).await.ok().flatten()
    }

    /// Ends connections to whoever is no longer trusted with the key that it showed.
    pub(super) async fn drop_untrusted(&self) {
        let slots: Vec<(NodeId, Slot)> =
            self.connections.lock().await.iter().map(|(member, slot)| (member.clone(), Arc::clone(slot))).collect();
        for (member, slot) in slots {
            // One that is being made is looked at when it is there.
            let Ok(slot) = slot.try_lock() else { continue };
            if let Some((_, connection)) = slot.as_ref().filter(|(_, connection)| !self.is_trusted(&member, connection))
            {
                connection.close(quic::CLOSE_REFUSED, b"");
            }
        }
    }

    fn is_trusted(&self, member: &NodeId, connection: &Connection) -> bool {
        let expected = self.node.standing().trust().reachable_by(member, clock::now());
        quic::peer_key(connection).is_some_and(|key| expected.contains(&key))
    }

    pub(super) async fn fetch_over(connection: &Connection, fetch: &Fetch) -> Result<Option<Document>, AskError> {
        let payload = encode(fetch).map_err(|error| AskError::NotAReply(error.to_string()))?;
        Self::document_over(connection, MessageKind::Fetch, payload).await
    }

    async fn document_over(
        connection: &Connection,
        kind: MessageKind,
        payload: Vec<u8>,
    ) -> Result<Option<Document>, AskError> {
        let reply = stream::call(connection, stream::Call::new(kind, payload), NoBody, |_| {})
            .await
            .map_err(|error| AskError::Unreachable(words(&error)))?;
        if reply.head.first() != Some(&1) {
            return Ok(None);
        }
        decode(&reply.body, Cap::Document).map(Some).map_err(|error| AskError::NotAReply(error.to_string()))
    }

    // The header of the edition that an answer names: from memory, or fetched once. The tool verifies it.
    pub(super) async fn edition_header(
        &self,
        connection: &Connection,
        member: &NodeId,
        answer: &SignedBytes,
    ) -> Result<Bounded<u8, { 32 << 10 }>, AskError> {
        let Some((number, commit)) = edition_of(answer) else { return Ok(Bounded::default()) };
        let key = (member.clone(), number, commit);
        let lock = || self.headers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let keys = self.node.standing().trust().sign_keys(member, clock::now());
        let federation = *self.node.standing().trust().federation();
        // One that was kept from before a rotation may be signed by a key that counts no more.
        let counts = |document: &Document| !document.valid_signers(&federation, &keys).is_empty();
        let known = lock().get(&key).filter(|document| counts(document)).cloned();
        let document = if let Some(document) = known {
            Some(document)
        } else {
            let fetch = Fetch { label: Label::Edition, node_id: Some(member.clone()), number, hash: Hash::ZERO };
            let document = match Self::fetch_over(connection, &fetch).await {
                // A connection may be cut between an answer and its header: by a rotation, for one.
                Err(AskError::Unreachable(_)) => {
                    let (again, _) = self.connection(member, Some(connection.stable_id())).await?;
                    Self::fetch_over(&again, &fetch).await?
                }
                other => other?,
            };
            if let Some(document) = &document {
                let mut headers = lock();
                if headers.len() >= HEADERS_MAX {
                    headers.clear();
                }
                headers.insert(key, document.clone());
            }
            document
        };
        to_bytes(document.as_ref())
    }
}

fn edition_of(answer: &SignedBytes) -> Option<(u64, Hash)> {
    let head: AnswerHead = decode(answer.payload.as_slice(), Cap::Head).ok()?;
    (head.edition != 0).then_some((head.edition, head.edition_commit))
}

fn to_bytes(document: Option<&Document>) -> Result<Bounded<u8, { 32 << 10 }>, AskError> {
    let Some(document) = document else { return Ok(Bounded::default()) };
    let bytes = encode(document).map_err(|error| AskError::NotAReply(error.to_string()))?;
    Bounded::new(bytes).ok_or_else(|| AskError::NotAReply("the edition's header is too long".into()))
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
