//! A copy of the whole log, line by line, as it goes to an auditor's folder.
//!
//! The first line says what it is and ends with the checkpoint that all that follows is held to; each of the others is one entry, with
//! salt and detail where they can still be read (`docs/audit.md`).

use accord_protocol::{
    id::to_hex,
    log::{EventKind, SignedCheckpoint},
};
use serde_json::json;
use tokio::sync::mpsc;

use super::Found;
use crate::{
    io::store::{LogTree, StoreError},
    node::{Actor, Happening, Node},
};

/// Bytes that go out in one piece.
const PIECE: usize = 60 << 10;

impl Node {
    /// Begins a copy: enters that it is taken, which is in the copy too, and signs how far it goes. Blocks on the store.
    pub(crate) fn begin_copy(&self, by: &Actor) -> Result<(LogTree, SignedCheckpoint), StoreError> {
        self.record(&Happening::new(EventKind::Read, by, json!({ "what": "copy" })))?;
        self.checkpoint_with_tree()
    }

    /// Sends a copy of the log in pieces, the last of which is empty. What cannot be read breaks it off. Blocks on the store and on
    /// whoever takes the pieces.
    pub(crate) fn send_copy(
        &self,
        (log, signed): &(LogTree, SignedCheckpoint),
        pieces: &mpsc::Sender<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let size = log.size();
        let standing = self.standing();
        let checkpoints: Vec<String> = self.store.checkpoints()?.into_iter().map(|(_, note)| note).collect();
        let about = json!({
            "format": "accord-audit-1", "federation": standing.trust().federation().to_string(),
            "member": self.config.member.as_str(), "size": size, "root": log.root().to_string(),
            "checkpoint": signed.note().to_string(), "checkpoints": checkpoints,
        });
        let mut piece = Vec::with_capacity(PIECE + 4_096);
        let mut line = |value: serde_json::Value| {
            piece.extend(value.to_string().into_bytes());
            piece.push(b'\n');
            // Whoever took the pieces has gone.
            let gone = || StoreError::Read("the copy was not taken to its end".into());
            if piece.len() >= PIECE {
                pieces.blocking_send(std::mem::take(&mut piece)).map_err(|_| gone())
            } else {
                Ok(())
            }
        };
        line(about)?;
        let mut details = self.store.all_sealed(0).peekable();
        let mut next = 0;
        for entry in self.store.entries(0) {
            let entry = entry?;
            if entry.seq >= size {
                break;
            }
            let sealed =
                details.next_if(|found| found.as_ref().map_or(true, |(seq, _)| *seq == entry.seq)).transpose()?;
            let found = sealed.map_or(Found::Gone, |(_, sealed)| self.opened(&entry, &sealed));
            line(match found {
                Found::There(detail) => json!({
                    "entry": to_hex(&entry.to_bytes()), "salt": to_hex(&detail.salt),
                    "detail": String::from_utf8_lossy(&detail.text),
                }),
                Found::Gone | Found::Changed => json!({ "entry": to_hex(&entry.to_bytes()) }),
            })?;
            next = entry.seq + 1;
        }
        if next != size {
            return Err(StoreError::Read(format!("the log ends after {next} entries instead of {size}")));
        }
        let gone = || StoreError::Read("the copy was not taken to its end".into());
        if !piece.is_empty() {
            pieces.blocking_send(piece).map_err(|_| gone())?;
        }
        pieces.blocking_send(Vec::new()).map_err(|_| gone())
    }
}
