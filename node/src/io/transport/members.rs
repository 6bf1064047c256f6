//! Serving partner nodes: requests and fetches.

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
    answer::{class_size, reply_class},
    codec::{Bounded, Cap, decode, encode},
    held::Collect,
    id::{Hash, NodeId},
    log::passing::{Cosign, ProofCall},
    message::{Fetch, Head, MessageKind, SignedBytes},
    signed::{Document, Label},
    text::with_causes,
};
use quinn::{Connection, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Opened, logs::told};
use crate::{
    domain::{admission::Pace, answering::SignedAnswer, provide::Peer},
    node::Node,
};

/// How long the old connection of a member may finish its streams when a new one comes.
const OLD_CONNECTION_ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Longest time for sending one reply.
const REPLY_WITHIN: Duration = Duration::from_secs(30);
/// Stream bytes of a list of requests that wait, however long it is.
const LIST_SIZE: usize = 64 << 10;
/// Answers to one member that are made or sent at once: a member that does not read pins at most so many replies of 4 MiB.
const ANSWERS_AT_ONCE: usize = 4;

/// One connection per member: the newest wins.
#[derive(Debug, Default)]
struct Registry(Mutex<HashMap<NodeId, Vec<Connection>>>);

impl Registry {
    /// Enters a connection; whether it takes the place of another.
    fn enter(&self, member: &NodeId, connection: &Connection) -> bool {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of_member = all.entry(member.clone()).or_default();
        // The one before may finish its streams; any before that has had its time.
        while of_member.len() > 1 {
            of_member.remove(0).close(quic::CLOSE_DONE, b"");
        }
        let old = of_member.last().cloned();
        let replaced = old.is_some();
        if let Some(old) = old {
            tokio::spawn(async move {
                tokio::time::sleep(OLD_CONNECTION_ENDS_WITHIN).await;
                old.close(quic::CLOSE_DONE, b"");
            });
        }
        of_member.push(connection.clone());
        replaced
    }

    fn leave(&self, member: &NodeId, connection: &Connection) {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(of_member) = all.get_mut(member) {
            of_member.retain(|current| current.stable_id() != connection.stable_id());
            if of_member.is_empty() {
                all.remove(member);
            }
        }
    }
}

/// What the members' socket keeps of its members.
#[derive(Debug, Default)]
pub(super) struct Members {
    registry: Registry,
    pace: Mutex<Pace>,
    // Answers that are made or sent at once, by member.
    slots: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
}

impl Members {
    // Back-pressure: whoever opens too many streams waits, and finds no more than eight open.
    async fn wait_for_turn(&self, node: &Node, member: &NodeId) {
        let mut waited = false;
        loop {
            let now = node.since_start.ms();
            let turn = self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(member, now);
            let Err(wait_ms) = turn else { return };
            if !std::mem::replace(&mut waited, true) {
                node.door.add("streams_slowed");
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    async fn slot(&self, member: &NodeId) -> Result<OwnedSemaphorePermit, StreamError> {
        let slots = {
            let mut all = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(all.entry(member.clone()).or_insert_with(|| Arc::new(Semaphore::new(ANSWERS_AT_ONCE))))
        };
        slots.acquire_owned().await.map_err(|_| StreamError::Closed)
    }
}

pub(super) async fn serve(node: Arc<Node>, members: Arc<Members>, connection: Connection) {
    let Some(member) = member_of(&node, &connection) else {
        node.door.add("strangers");
        connection.close(quic::CLOSE_REFUSED, b"");
        return;
    };
    let replaced = members.registry.enter(&member, &connection);
    node.door.add("connections");
    tracing::info!(peer = %member, replaced, "connected");
    let mut changes = node.trust_changes.subscribe();
    loop {
        let opened = tokio::select! {
            opened = connection.accept_bi() => opened,
            // Who is trusted has changed: whoever is so no more is cut off at once, in the middle of an answer too. One that is
            // suspended may come again, to greet.
            _ = changes.changed() => {
                if is_active(&node, &connection, &member) && !node.has_stopped(&member) {
                    continue;
                }
                tracing::info!(peer = %member, "no longer trusted, or stopped: cut off");
                connection.close(quic::CLOSE_REFUSED, b"");
                break;
            }
        };
        let Ok((mut send, recv)) = opened else { break };
        // The key is looked up again at each stream: whoever was removed meanwhile is gone.
        if member_of(&node, &connection).as_ref() != Some(&member) {
            connection.close(quic::CLOSE_REFUSED, b"");
            break;
        }
        let call = Call {
            node: Arc::clone(&node),
            members: Arc::clone(&members),
            connection: connection.clone(),
            member: member.clone(),
        };
        tokio::spawn(async move {
            if let Err(error) = call.serve(&mut send, recv).await {
                // A fault on either side looks like one: the stream is cut, never ended.
                stream::give_up(&mut send);
                call.node.door.add("streams_cut");
                tracing::debug!(peer = %call.member, %error, "a stream ended early");
            }
        });
    }
    members.registry.leave(&member, &connection);
}

// The member behind a connection, with whom greetings and documents are exchanged. Whether it is answered is decided for each request.
fn member_of(node: &Node, connection: &Connection) -> Option<NodeId> {
    let key = quic::peer_key(connection)?;
    node.standing().trust().greets(&key, clock::now()).filter(|member| **member != node.config.member).cloned()
}

fn is_active(node: &Node, connection: &Connection, member: &NodeId) -> bool {
    quic::peer_key(connection)
        .is_some_and(|key| node.standing().trust().member_by_tls_key(&key, clock::now()) == Some(member))
}

// Whether the member behind a connection is active, and data is exchanged with it.
fn exchanges_data(node: &Node, connection: &Connection, member: &NodeId) -> bool {
    is_active(node, connection, member) && node.stands_still(member).is_none()
}

/// One stream that a member opened.
struct Call {
    node: Arc<Node>,
    members: Arc<Members>,
    connection: Connection,
    member: NodeId,
}

impl Call {
    async fn serve(&self, send: &mut SendStream, recv: quinn::RecvStream) -> Result<(), StreamError> {
        let mut opened = Opened::new(recv, Head::limits_for_members);
        let head = match self.read(&mut opened).await {
            Ok(head) => head,
            // The peer is authenticated, so it gets a signed answer. A stream that was cut, or that is too slow, gets none.
            Err(error @ (StreamError::Frame(_) | StreamError::Head(_))) => {
                opened.incoming.stop();
                return self.refuse(send, &with_causes(&error)).await;
            }
            Err(error) => {
                opened.incoming.stop();
                return Err(error);
            }
        };
        // Greetings and documents go on while this node still learns; what they bring decides about the rest.
        if !matches!(head.kind, MessageKind::Greet | MessageKind::Fetch | MessageKind::Tell) {
            self.node.has_learned().await;
        }
        let _slot = self.members.slot(&self.member).await?;
        match head.kind {
            MessageKind::Request => {
                let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
                let binding = quic::channel_binding(&self.connection).ok_or(StreamError::Closed)?;
                let answer = tokio::task::spawn_blocking(move || {
                    worker.answer(Peer { member: &peer, channel_binding: Some(binding) }, head.payload.as_slice())
                });
                let answer = answer.await.map_err(|_| StreamError::Closed)?;
                self.send_answer(send, answer).await
            }
            MessageKind::Fetch => match decode(head.payload.as_slice(), Cap::Small) {
                Ok(fetch) => self.serve_fetch(send, fetch).await,
                Err(error) => self.refuse(send, &format!("a fetch: {error}")).await,
            },
            MessageKind::Notice => match decode(head.payload.as_slice(), Cap::Small) {
                Ok(document) => self.serve_notice(send, document).await,
                Err(error) => self.refuse(send, &format!("a notice: {error}")).await,
            },
            MessageKind::Greet => self.serve_greeting(send, head.payload.as_slice().to_vec()).await,
            MessageKind::View | MessageKind::Nudge if !head.payload.as_slice().is_empty() => {
                self.refuse(send, &format!("{}: there is something where nothing is to be", head.kind)).await
            }
            MessageKind::View => self.serve_view(send).await,
            MessageKind::Collect | MessageKind::Receipt | MessageKind::Recall | MessageKind::Nudge => {
                // Whoever is served nothing now hears what it would hear if nothing waited.
                let serves = exchanges_data(&self.node, &self.connection, &self.member);
                self.serve_waiting(send, (head.kind, head.payload.as_slice()), serves).await
            }
            MessageKind::Tell | MessageKind::Cosign | MessageKind::Proof => {
                self.serve_logs(send, head.kind, head.payload.as_slice().to_vec()).await
            }
            MessageKind::Hello
            | MessageKind::Ask
            | MessageKind::Relay
            | MessageKind::Status
            | MessageKind::Edition
            | MessageKind::Import
            | MessageKind::Coverage
            | MessageKind::Records
            | MessageKind::Notices
            | MessageKind::Rates
            | MessageKind::Mapping
            | MessageKind::Inbox
            | MessageKind::Requests
            | MessageKind::Watch
            | MessageKind::Audit
            | MessageKind::Backup
            | MessageKind::Trust => self.refuse(send, "a message that members do not open").await,
        }
    }

    async fn read(&self, opened: &mut Opened) -> Result<Head, StreamError> {
        let turn = self.members.wait_for_turn(&self.node, &self.member);
        tokio::time::timeout_at(opened.deadline, turn).await.map_err(|_| StreamError::Silent)?;
        let head = opened.head().await?;
        opened.finish().await?;
        Ok(head)
    }

    async fn refuse(&self, send: &mut SendStream, why: &str) -> Result<(), StreamError> {
        let (node, member, why) = (Arc::clone(&self.node), self.member.clone(), why.to_owned());
        let refusing = tokio::task::spawn_blocking(move || node.refuse_bytes(&member, &why));
        self.send_answer(send, refusing.await.map_err(|_| StreamError::Closed)?).await
    }

    async fn send_answer(&self, send: &mut SendStream, answer: SignedAnswer) -> Result<(), StreamError> {
        self.send_as(send, MessageKind::Request, answer).await
    }

    async fn send_as(&self, send: &mut SendStream, kind: MessageKind, answer: SignedAnswer) -> Result<(), StreamError> {
        // Once more before anything leaves: a member that was removed or suspended while its request ran gets nothing.
        let still = answer.slice.is_empty() || exchanges_data(&self.node, &self.connection, &self.member);
        if !still || member_of(&self.node, &self.connection).as_ref() != Some(&self.member) {
            self.connection.close(quic::CLOSE_REFUSED, b"");
            return Ok(());
        }
        let payload = Bounded::new(answer.head).ok_or(StreamError::DoesNotFit)?;
        let head = encode(&SignedBytes { payload, signature: answer.signature })?;
        let size = class_size(answer.reply_class);
        within(stream::reply(send, kind, head, Some(&answer.slice), size)).await
    }

    async fn serve_fetch(&self, send: &mut SendStream, fetch: Fetch) -> Result<(), StreamError> {
        let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
        let found = tokio::task::spawn_blocking(move || worker.trust_document(&fetch).ok_or(fetch));
        let found = match found.await.map_err(|_| StreamError::Closed)? {
            Ok(document) => Some(document),
            Err(fetch) => {
                self.node.has_learned().await;
                let (worker, serves) =
                    (Arc::clone(&self.node), exchanges_data(&self.node, &self.connection, &self.member));
                let found = tokio::task::spawn_blocking(move || {
                    if serves && worker.grants_anything(&peer) { find(&worker, &fetch) } else { None }
                });
                found.await.map_err(|_| StreamError::Closed)?
            }
        };
        let body = match &found {
            Some(document) => encode(document)?,
            None => Vec::new(),
        };
        within(stream::reply(send, MessageKind::Fetch, vec![u8::from(found.is_some())], Some(&body), None)).await
    }

    // In a size class like an answer, so that its length says nothing of how much is shown.
    async fn serve_view(&self, send: &mut SendStream) -> Result<(), StreamError> {
        let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
        let serves = exchanges_data(&self.node, &self.connection, &self.member);
        let found = tokio::task::spawn_blocking(move || if serves { worker.view_document(&peer) } else { None });
        let found = found.await.map_err(|_| StreamError::Closed)?;
        let body = match &found {
            Some(document) => encode(document)?,
            None => Vec::new(),
        };
        let size = reply_class(body.len()).and_then(class_size);
        within(stream::reply(send, MessageKind::View, vec![u8::from(found.is_some())], Some(&body), size)).await
    }

    async fn serve_greeting(&self, send: &mut SendStream, payload: Vec<u8>) -> Result<(), StreamError> {
        let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
        let heard = tokio::task::spawn_blocking(move || (worker.hear(&peer, &payload), worker.hello()));
        match heard.await.map_err(|_| StreamError::Closed)? {
            (Ok(lacking), hello) => {
                if lacking.is_empty() {
                    // What it holds of logs belongs to what is learnt of it.
                    if self.node.is_compared(&self.member) {
                        self.node.tried(&self.member);
                    }
                } else {
                    // It is fetched over this node's own connection, like everything.
                    self.node.lacking.notify_one();
                }
                within(stream::reply(send, MessageKind::Greet, hello, None, None)).await
            }
            (Err(error), _) => self.refuse(send, &error.to_string()).await,
        }
    }

    // What passes about requests that wait for a person.
    async fn serve_waiting(
        &self,
        send: &mut SendStream,
        (kind, payload): (MessageKind, &[u8]),
        serves: bool,
    ) -> Result<(), StreamError> {
        let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
        if kind == MessageKind::Nudge {
            if serves {
                self.node.nudged_by(&self.member);
            }
            return within(stream::reply(send, kind, Vec::new(), None, None)).await;
        }
        if kind == MessageKind::Collect {
            let collect: Collect = match decode(payload, Cap::Small) {
                Ok(collect) => collect,
                Err(error) => return self.refuse(send, &format!("a collect: {error}")).await,
            };
            if collect.body_hash == Hash::ZERO {
                // No list is not an empty one, from which the asker would learn that nothing waits.
                if !serves {
                    return self.refuse(send, "nothing is exchanged with this member now").await;
                }
                let list = encode(&self.node.listed_for(&self.member))?;
                return within(stream::reply(send, kind, list, Some(&[]), Some(LIST_SIZE))).await;
            }
            let wanted = if serves { collect.body_hash } else { Hash::ZERO };
            let collecting = tokio::task::spawn_blocking(move || worker.collected_by(&peer, &wanted));
            let answer = collecting.await.map_err(|_| StreamError::Closed)?;
            return self.send_as(send, kind, answer).await;
        }
        let signed: SignedBytes = match decode(payload, Cap::Small) {
            Ok(signed) => signed,
            Err(error) => return self.refuse(send, &format!("{kind}: {error}")).await,
        };
        let head = if kind == MessageKind::Receipt {
            let taking = tokio::task::spawn_blocking(move || serves && worker.take_receipt(&peer, &signed));
            vec![u8::from(taking.await.map_err(|_| StreamError::Closed)?)]
        } else {
            let taking =
                tokio::task::spawn_blocking(move || if serves { worker.take_recall(&peer, &signed) } else { None });
            taking.await.map_err(|_| StreamError::Closed)?.map_or(Ok(Vec::new()), |said| encode(&said))?
        };
        within(stream::reply(send, kind, head, None, None)).await
    }

    // What members tell, show and ask of logs.
    async fn serve_logs(&self, send: &mut SendStream, kind: MessageKind, payload: Vec<u8>) -> Result<(), StreamError> {
        let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
        // Each costs signatures to be verified, and some a commit.
        if !self.node.may_speak_of_logs(&self.member) {
            self.node.door.add("logs_over_rate");
            return self.refuse(send, "more about logs than any honest node says").await;
        }
        if kind == MessageKind::Proof {
            let call: ProofCall = match decode(&payload, Cap::Small) {
                Ok(call) => call,
                Err(error) => return self.refuse(send, &format!("a proof: {error}")).await,
            };
            let active = is_active(&self.node, &self.connection, &self.member);
            let proving = tokio::task::spawn_blocking(move || if active { worker.prove(&call) } else { Ok(None) });
            let proof = proving.await.map_err(|_| StreamError::Closed)?.unwrap_or_else(|error| {
                tracing::error!(%error, peer = %self.member, "a proof cannot be made");
                None
            });
            let head = vec![u8::from(proof.is_some())];
            return within(stream::reply(send, kind, head, Some(&proof.unwrap_or_default()), None)).await;
        }
        let head = if kind == MessageKind::Cosign {
            let call: Cosign = match decode(&payload, Cap::Head) {
                Ok(call) => call,
                Err(error) => return self.refuse(send, &format!("a checkpoint: {error}")).await,
            };
            let looking = tokio::task::spawn_blocking(move || worker.look_at(&peer, &call));
            encode(&looking.await.map_err(|_| StreamError::Closed)?)?
        } else {
            let telling = tokio::task::spawn_blocking(move || told(&worker, &peer, &payload));
            match telling.await.map_err(|_| StreamError::Closed)? {
                Some(head) => head,
                None => return self.refuse(send, "what is held of logs does not decode").await,
            }
        };
        within(stream::reply(send, kind, head, None, None)).await
    }

    async fn serve_notice(&self, send: &mut SendStream, document: Document) -> Result<(), StreamError> {
        let (worker, peer) = (Arc::clone(&self.node), self.member.clone());
        let taken = tokio::task::spawn_blocking(move || {
            // It is told again later.
            if worker.stands_still(&peer).is_some() { Ok(false) } else { worker.take_notice(&peer, &document) }
        });
        let taken = taken.await.map_err(|_| StreamError::Closed)?.unwrap_or_else(|error| {
            tracing::error!(%error, peer = %self.member, "a notice cannot be kept");
            false
        });
        within(stream::reply(send, MessageKind::Notice, vec![u8::from(taken)], None, None)).await
    }
}

async fn within(sending: impl Future<Output = Result<(), StreamError>>) -> Result<(), StreamError> {
    tokio::time::timeout(REPLY_WITHIN, sending).await.map_err(|_| StreamError::Silent)?
}

fn find(node: &Node, fetch: &Fetch) -> Option<Document> {
    match fetch.label {
        Label::Edition => node.edition_document(fetch.number).ok().flatten(),
        Label::Catalogue => node.catalogue_document(&fetch.hash).ok().flatten(),
        _ => None,
    }
}
