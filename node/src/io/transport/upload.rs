//! What operators send: a file into the spool, whole and checked, before anything is read from it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use accord_edge::{
    clock::Stopwatch,
    stream::{self, Incoming, StreamError},
};
use accord_protocol::{frame::Piece, id::Hash, message::ImportCall};
use quinn::{Connection, SendStream};

use super::people::fault;
use crate::{
    io::import::{Progress, Spool},
    node::{Actor, Node, Reply},
};

/// How long an import waits for the one before it.
const IMPORT_WAITS: Duration = Duration::from_secs(15);
/// An upload brings at least this much in each window, so that nobody holds the one place for ever (`wire.md` D1).
const PACE_BYTES_MIN: u64 = 256 << 10;
const PACE_WINDOW_MS: u64 = 30_000;
/// How often an operator hears how far an import is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Longest silence within an upload.
const UPLOAD_SILENCE_MAX: Duration = Duration::from_secs(30);

/// A small body, whole; its size is bounded by the kind of message.
pub(super) async fn whole(incoming: &mut Incoming) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(UPLOAD_SILENCE_MAX, incoming.next()).await.map_err(|_| StreamError::Closed)?? {
            None => return Ok(bytes),
            Some(Piece::Body(more)) => bytes.extend_from_slice(&more),
            Some(Piece::Head(_) | Piece::Progress(_) | Piece::End) => {}
        }
    }
}

/// Takes the upload whole before anything is read from it; a connection lost at any point changes nothing.
pub(super) async fn import(
    node: &Arc<Node>,
    (connection, by): (&Connection, &Actor),
    call: ImportCall,
    incoming: &mut Incoming,
    send: &mut SendStream,
) -> Result<Reply, StreamError> {
    let (expected, size) = (call.sha256.clone(), call.bytes);
    let prepared = match node.prepare_import(call, by) {
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
    if let Some(reply) = take(&mut spool, &expected, size, incoming).await? {
        return Ok(reply);
    }
    let worker = Arc::clone(node);
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancelled);
    let progress = Arc::new(Progress::default());
    let count = Arc::clone(&progress);
    let mut working = tokio::task::spawn_blocking(move || worker.import(&prepared, &mut spool, &flag, &count));
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
    if let Ok(reply) = done {
        return Ok(reply);
    }
    let worker = Arc::clone(node);
    tokio::task::spawn_blocking(move || worker.import_died()).await.map_err(|_| StreamError::Closed)?;
    Err(StreamError::Closed)
}

// Brings the upload into the spool; what is wrong with it, if something is.
async fn take(
    spool: &mut Spool,
    expected: &str,
    size: u64,
    incoming: &mut Incoming,
) -> Result<Option<Reply>, StreamError> {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    let mut taken = 0u64;
    let (mut pace, mut taken_before) = (Stopwatch::start(), 0u64);
    loop {
        let piece =
            tokio::time::timeout(UPLOAD_SILENCE_MAX, incoming.next()).await.map_err(|_| StreamError::Closed)??;
        let bytes = match piece {
            None => break,
            Some(Piece::Body(bytes)) => bytes,
            Some(Piece::Head(_) | Piece::Progress(_) | Piece::End) => continue,
        };
        taken += bytes.len() as u64;
        if pace.ms() >= PACE_WINDOW_MS {
            if taken - taken_before < PACE_BYTES_MIN {
                incoming.stop();
                let message = "the upload is too slow; nothing was stored".to_owned();
                return Ok(Some(fault(4, "TOO-SLOW", message, "import from a faster connection")));
            }
            (pace, taken_before) = (Stopwatch::start(), taken);
        }
        if taken > size {
            incoming.stop();
            return Ok(Some(changed()));
        }
        digest.update(&bytes);
        if let Err(error) = spool.write(&bytes) {
            incoming.stop();
            let message = format!("the upload cannot be kept: {error}; nothing was stored");
            let next = "free space on the node's disk, then import again";
            return Ok(Some(fault(4, "DISK-FULL", message, next)));
        }
    }
    let mut found = [0; 32];
    found.copy_from_slice(digest.finish().as_ref());
    Ok((taken != size || Hash(found).to_string() != expected).then(changed))
}

fn changed() -> Reply {
    fault(
        3,
        "R-FILE-CHANGED",
        "the file changed while it was read; nothing was stored".into(),
        "import it again when nobody writes to it",
    )
}
