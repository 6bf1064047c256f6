//! Serving operators who make a backup: it is made whole first, then it is sent.

use std::{io::Read, sync::Arc};

use accord_edge::stream::{self, StreamError};
use accord_protocol::{
    key::PublicKey,
    member_keys::KeyRole,
    message::{BackupCall, MessageKind},
};
use quinn::SendStream;
use tokio::sync::mpsc;

use super::people::{answer_json, parse};
use crate::node::{Actor, Made, Node};

/// Pieces that wait for the network.
const PIECES: usize = 16;
/// Bytes of a piece.
const PIECE: usize = 60 << 10;

pub(super) async fn backup(
    node: &Arc<Node>,
    (key, role): (PublicKey, KeyRole),
    payload: &[u8],
    send: &mut SendStream,
) -> Result<(), StreamError> {
    let BackupCall::Make { unencrypted } = match parse(payload) {
        Ok(call) => call,
        Err(reply) => return answer_json(send, MessageKind::Backup, &reply).await,
    };
    let worker = Arc::clone(node);
    let making = tokio::task::spawn_blocking(move || worker.make_backup(unencrypted, &Actor::Person(role, key)));
    let made = match making.await.map_err(|_| StreamError::Closed)? {
        Ok(made) => made,
        Err(reply) => return answer_json(send, MessageKind::Backup, &reply).await,
    };
    let head = serde_json::to_vec(&made.reply).map_err(|_| StreamError::DoesNotFit)?;
    let (pieces, taken) = mpsc::channel(PIECES);
    let reading = tokio::task::spawn_blocking(move || send_file(made, &pieces));
    let replied = stream::reply_in_pieces(send, MessageKind::Backup, head, taken).await;
    if !reading.await.is_ok_and(|sent| sent.is_ok()) {
        tracing::error!("a backup was not taken to its end");
    }
    replied
}

// An empty piece ends it; without one the stream breaks off.
fn send_file(mut made: Made, pieces: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let gone = |_| std::io::Error::other("whoever took it has gone");
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut made.file).take(PIECE as u64).read_to_end(&mut piece)?;
        let is_over = piece.is_empty();
        pieces.blocking_send(piece).map_err(gone)?;
        if is_over {
            return Ok(());
        }
    }
}
