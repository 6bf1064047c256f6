//! Serving auditors and operators who look at the audit log.

use std::sync::Arc;

use accord_edge::stream::{self, StreamError};
use accord_protocol::{
    key::PublicKey,
    member_keys::KeyRole,
    message::{AuditCall, MessageKind},
};
use quinn::SendStream;

use super::people::{answer_json, blocking, fault, parse};
use crate::node::{Actor, Node, Reply, store_failed};

/// Pieces of a copy that wait for the network.
const PIECES: usize = 16;

/// What the head of a copy says; the heads of all other replies are empty, and their bodies JSON.
const COPY: &[u8] = b"copy";

pub(super) async fn audit(
    node: &Arc<Node>,
    (key, role): (PublicKey, KeyRole),
    payload: &[u8],
    send: &mut SendStream,
) -> Result<(), StreamError> {
    let by = Actor::Person(role, key);
    let reply: Reply = match parse::<AuditCall>(payload) {
        Ok(AuditCall::Export {}) => return copy(node, by, send).await,
        Ok(AuditCall::Close {} | AuditCall::Retention { run: true }) if role != KeyRole::Operator => {
            fault(3, "ROLE", "only operators change anything here".into(), "ask an operator")
        }
        Ok(AuditCall::Show(filter)) => blocking(node, move |node| node.audit_show(&filter, &by)).await?,
        Ok(AuditCall::Prove { seq, detail }) => blocking(node, move |node| node.audit_prove(seq, detail, &by)).await?,
        Ok(AuditCall::Everything {}) => blocking(node, move |node| node.verify_everything(&by)).await?,
        Ok(AuditCall::Close {}) => blocking(node, move |node| node.audit_close(&by)).await?,
        Ok(AuditCall::Egress { since_ms, until_ms }) => {
            blocking(node, move |node| node.egress((since_ms, until_ms), &by)).await?
        }
        Ok(AuditCall::Retention { run }) => blocking(node, move |node| node.retention(run, &by)).await?,
        Err(reply) => *reply,
    };
    answer_json(send, MessageKind::Audit, &reply).await
}

async fn copy(node: &Arc<Node>, by: Actor, send: &mut SendStream) -> Result<(), StreamError> {
    let worker = Arc::clone(node);
    let beginning = tokio::task::spawn_blocking(move || worker.begin_copy(&by));
    let begun = match beginning.await.map_err(|_| StreamError::Closed)? {
        Ok(begun) => begun,
        Err(error) => return answer_json(send, MessageKind::Audit, &store_failed(&error)).await,
    };
    let (pieces, taken) = tokio::sync::mpsc::channel(PIECES);
    let worker = Arc::clone(node);
    let copying = tokio::task::spawn_blocking(move || worker.send_copy(&begun, &pieces));
    let replied = stream::reply_in_pieces(send, MessageKind::Audit, COPY.to_vec(), taken).await;
    match copying.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a copy of the audit log broke off"),
        Err(error) => tracing::error!(%error, "a copy of the audit log broke off"),
    }
    replied
}
