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
    answer::class_size,
    codec::{Bounded, Cap, decode, encode},
    frame::FrameError,
    id::NodeId,
    message::{Fetch, Head, MessageKind, SignedBytes},
    signed::{Document, Label},
};
use quinn::{Connection, SendStream};

use super::read_call;
use crate::{
    domain::provide::Peer,
    node::{Node, SignedAnswer},
};

/// How long the old connection of a member may finish its streams when a new one comes.
const OLD_CONNECTION_ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Longest time for sending one reply.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// One connection per member: the newest wins.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<HashMap<NodeId, Vec<Connection>>>);

impl Registry {
    fn enter(&self, member: &NodeId, connection: &Connection) {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of_member = all.entry(member.clone()).or_default();
        // The one before may finish its streams; any before that has had its time.
        while of_member.len() > 1 {
            of_member.remove(0).close(quic::CLOSE_DONE, b"");
        }
        if let Some(old) = of_member.last().cloned() {
            tokio::spawn(async move {
                tokio::time::sleep(OLD_CONNECTION_ENDS_WITHIN).await;
                old.close(quic::CLOSE_DONE, b"");
            });
        }
        of_member.push(connection.clone());
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

pub(super) async fn serve(node: Arc<Node>, registry: Arc<Registry>, connection: Connection) {
    let Some(member) = member_of(&node, &connection) else {
        connection.close(quic::CLOSE_REFUSED, b"");
        return;
    };
    tracing::info!(peer = %member, "connected");
    registry.enter(&member, &connection);
    while let Ok((send, recv)) = connection.accept_bi().await {
        // The key is looked up again at each stream: whoever was removed meanwhile is gone.
        if member_of(&node, &connection).as_ref() != Some(&member) {
            connection.close(quic::CLOSE_REFUSED, b"");
            break;
        }
        let (node, connection, member) = (Arc::clone(&node), connection.clone(), member.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_stream(&node, &connection, &member, send, recv).await {
                tracing::debug!(peer = %member, %error, "a stream ended early");
            }
        });
    }
    registry.leave(&member, &connection);
}

fn member_of(node: &Node, connection: &Connection) -> Option<NodeId> {
    let key = quic::peer_key(connection)?;
    node.standing.trust.member_by_tls_key(&key, clock::now()).filter(|member| **member != node.config.member).cloned()
}

async fn serve_stream(
    node: &Arc<Node>,
    connection: &Connection,
    member: &NodeId,
    mut send: SendStream,
    recv: quinn::RecvStream,
) -> Result<(), StreamError> {
    let head = match read_call(recv).await {
        Ok(head) => head,
        Err(error @ (StreamError::Frame(_) | StreamError::Head(_))) => {
            // The peer is authenticated, so it gets a signed answer; a stream that was merely cut gets none.
            let cut = matches!(error, StreamError::Frame(FrameError::Short));
            if cut {
                return Err(error);
            }
            let answer = node.refuse_bytes(member, &error.to_string());
            return send_answer(node, connection, member, &mut send, answer).await;
        }
        Err(error) => return Err(error),
    };
    match head.kind {
        MessageKind::Request => {
            let (worker, peer) = (Arc::clone(node), member.clone());
            let binding = quic::channel_binding(connection).ok_or(StreamError::Closed)?;
            let answer = tokio::task::spawn_blocking(move || {
                worker.answer(Peer { member: &peer, channel_binding: Some(binding) }, head.payload.as_slice())
            });
            let answer = answer.await.map_err(|_| StreamError::Closed)?;
            send_answer(node, connection, member, &mut send, answer).await
        }
        MessageKind::Fetch => serve_fetch(node, member, &head, &mut send).await,
        MessageKind::Notice => {
            let document: Document = decode(head.payload.as_slice(), Cap::Small)?;
            let (worker, peer) = (Arc::clone(node), member.clone());
            let taken = tokio::task::spawn_blocking(move || worker.take_notice(&peer, &document))
                .await
                .map_err(|_| StreamError::Closed)?;
            let taken = taken.unwrap_or_else(|error| {
                tracing::error!(%error, peer = %member, "a notice cannot be kept");
                false
            });
            let sending = stream::reply(&mut send, MessageKind::Notice, vec![u8::from(taken)], None, None);
            tokio::time::timeout(REPLY_WITHIN, sending).await.map_err(|_| StreamError::Closed)?
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
        | MessageKind::Mapping => {
            let answer = node.refuse_bytes(member, "a message that members do not open");
            send_answer(node, connection, member, &mut send, answer).await
        }
    }
}

async fn send_answer(
    node: &Node,
    connection: &Connection,
    member: &NodeId,
    send: &mut SendStream,
    answer: SignedAnswer,
) -> Result<(), StreamError> {
    // Once more before anything leaves: a member that was removed while its request ran gets nothing.
    if member_of(node, connection).as_ref() != Some(member) {
        connection.close(quic::CLOSE_REFUSED, b"");
        return Ok(());
    }
    let payload = Bounded::new(answer.head).ok_or(StreamError::DoesNotFit)?;
    let head = encode(&SignedBytes { payload, signature: answer.signature })?;
    let sending = stream::reply(send, MessageKind::Request, head, Some(&answer.slice), class_size(answer.reply_class));
    tokio::time::timeout(REPLY_WITHIN, sending).await.map_err(|_| StreamError::Closed)?
}

async fn serve_fetch(node: &Arc<Node>, member: &NodeId, head: &Head, send: &mut SendStream) -> Result<(), StreamError> {
    let fetch: Fetch = decode(head.payload.as_slice(), Cap::Small)?;
    let worker = Arc::clone(node);
    let peer = member.clone();
    let found =
        tokio::task::spawn_blocking(move || if worker.grants_anything(&peer) { find(&worker, &fetch) } else { None })
            .await
            .map_err(|_| StreamError::Closed)?;
    let body = match &found {
        Some(document) => encode(document)?,
        None => Vec::new(),
    };
    let sending = stream::reply(send, MessageKind::Fetch, vec![u8::from(found.is_some())], Some(&body), None);
    tokio::time::timeout(REPLY_WITHIN, sending).await.map_err(|_| StreamError::Closed)?
}

fn find(node: &Node, fetch: &Fetch) -> Option<Document> {
    match fetch.label {
        Label::Edition => node.edition_document(fetch.number).ok().flatten(),
        Label::Catalogue => node.catalogue_document(&fetch.hash).ok().flatten(),
        // Trust documents reach a node through its own administrator: a partner that asks for one finds nothing.
        _ => None,
    }
}
