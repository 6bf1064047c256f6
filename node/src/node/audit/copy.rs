//! A copy of the whole log, line by line, as it goes to an auditor's folder.
//!
//! The first line says what it is and ends with the checkpoint that all that follows is held to; each of the others is one entry, with
//! salt and detail where they can still be read, or the hash of one that was destroyed (`docs/audit.md`).

use accord_protocol::{
    id::to_hex,
    log::{
        Entry, EventKind, SignedCheckpoint,
        copy::{About, FORMAT, FORMAT_DESTROYED},
    },
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Found;
use crate::{
    io::store::{LogTree, Place, StoreError},
    node::{Actor, Happening, Node},
};

/// Bytes that go out in one piece.
const PIECE: usize = 60 << 10;

/// What a copy is of.
#[derive(Debug)]
pub(crate) struct Copying {
    log: LogTree,
    signed: SignedCheckpoint,
    destroyed: u64,
}

impl Node {
    /// Begins a copy: enters that it is taken, which is in the copy too, and signs how far it goes. Blocks on the store.
    pub(crate) fn begin_copy(&self, by: &Actor) -> Result<Copying, StoreError> {
        self.record(&Happening::new(EventKind::Read, by, json!({ "what": "copy" })))?;
        // Before the tree, so that the entry which says so is in the copy.
        let destroyed = self.store.destroyed()?.entries;
        let (log, signed) = self.checkpoint_with_tree()?;
        Ok(Copying { log, signed, destroyed })
    }

    /// Sends a copy of the log in pieces, the last of which is empty. What cannot be read breaks it off. Blocks on the store and on
    /// whoever takes the pieces.
    pub(crate) fn send_copy(&self, copying: &Copying, pieces: &mpsc::Sender<Vec<u8>>) -> Result<(), StoreError> {
        let (size, destroyed) = (copying.log.size(), copying.destroyed);
        let mut piece = Vec::with_capacity(PIECE + 4_096);
        let mut line = |value: Value| {
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
        line(json!(self.about_copy(copying)?))?;
        let mut details = self.store.all_sealed(destroyed).peekable();
        for (seq, place) in (0..).zip(self.store.places(size)) {
            match place? {
                Place::Destroyed(leaf) if seq < destroyed => line(json!({ "leaf": leaf.to_string() }))?,
                Place::There(entry) if seq >= destroyed && entry.seq == seq => {
                    let sealed =
                        details.next_if(|found| found.as_ref().map_or(true, |(of, _)| *of == seq)).transpose()?;
                    line(self.copied(&entry, sealed.map(|(_, sealed)| sealed).as_deref()))?;
                }
                Place::Destroyed(_) | Place::There(_) => {
                    let why = format!("retention destroyed entry {seq} while the log was copied: take the copy again");
                    return Err(StoreError::Read(why));
                }
            }
        }
        let gone = || StoreError::Read("the copy was not taken to its end".into());
        if !piece.is_empty() {
            pieces.blocking_send(piece).map_err(|_| gone())?;
        }
        pieces.blocking_send(Vec::new()).map_err(|_| gone())
    }

    // The first line.
    fn about_copy(&self, Copying { log, signed, destroyed }: &Copying) -> Result<About, StoreError> {
        let destroyed = Some(*destroyed).filter(|count| *count > 0);
        Ok(About {
            format: if destroyed.is_some() { FORMAT_DESTROYED } else { FORMAT }.to_owned(),
            federation: self.standing().trust().federation().to_string(),
            member: self.config.member.to_string(),
            size: log.size(),
            destroyed,
            root: log.root().to_string(),
            checkpoint: signed.note().to_string(),
            checkpoints: self.store.checkpoints()?.into_iter().map(|(_, note)| note).collect(),
        })
    }

    // The line of an entry.
    fn copied(&self, entry: &Entry, sealed: Option<&[u8]>) -> Value {
        match sealed.map_or(Found::Gone, |sealed| self.opened(entry, sealed)) {
            Found::There(detail) => json!({
                "entry": to_hex(&entry.to_bytes()), "salt": to_hex(&detail.salt),
                "detail": String::from_utf8_lossy(&detail.text),
            }),
            Found::Gone | Found::Changed => json!({ "entry": to_hex(&entry.to_bytes()) }),
        }
    }
}
