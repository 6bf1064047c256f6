//! Checkpoints: a log's size and root, signed by the log and cosigned by witnesses (C2SP `tlog-checkpoint`, `tlog-cosignature`).

use base64ct::{Base64, Encoding as _};

use super::note::{Algorithm, NotANote, Note, NoteSignature, key_id};
use crate::{
    id::{Hash, NodeId},
    key::{PublicKey, Signature, SigningKey},
    signed::FederationId,
};

/// Which log it is and of whom: `<federation>/<member>/log1`. The number is that of the log's epoch.
pub fn log_origin(federation: &FederationId, member: &NodeId) -> String {
    format!("{federation}/{member}/log1")
}

/// The name of a member's key as a witness.
pub fn witness_name(federation: &FederationId, member: &NodeId) -> String {
    format!("{federation}/{member}/witness")
}

/// What a log says of itself: all its entries, in two numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// Why something is no checkpoint of that log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACheckpoint {
    /// It is no note.
    #[error(transparent)]
    Note(#[from] NotANote),
    /// Its text is not that of a checkpoint.
    #[error("not a checkpoint: {0}")]
    Text(&'static str),
    /// It is another log's.
    #[error("the checkpoint is of another log")]
    Origin,
    /// No key of that log has signed it.
    #[error("the checkpoint is not signed by a key of that log")]
    Signature,
}

/// A checkpoint that its log has signed; nothing but signing and verifying makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
    signer: PublicKey,
}

impl Checkpoint {
    /// The signed text.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, Base64::encode_string(&self.root.0))
    }

    /// Reads a checkpoint's text. Lines beyond the three are refused: nobody here writes any, and no auditor could check them.
    ///
    /// # Errors
    /// Why it is none.
    pub fn from_text(text: &str) -> Result<Self, NotACheckpoint> {
        let mut lines = text.strip_suffix('\n').ok_or(NotACheckpoint::Text("no newline at its end"))?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NotACheckpoint::Text("it does not have three lines"));
        };
        if origin.is_empty() {
            return Err(NotACheckpoint::Text("without an origin"));
        }
        let digits = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| digits).ok_or(NotACheckpoint::Text("its size is no number"))?;
        let root = Base64::decode_vec(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = Hash(root.ok_or(NotACheckpoint::Text("its root is no hash in base64"))?);
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Signs it with the log's key.
    ///
    /// # Errors
    /// That its origin is no text of a note.
    pub fn sign(self, key: &SigningKey) -> Result<SignedCheckpoint, NotANote> {
        let mut note = Note::new(self.text())?;
        let signature = key.sign_raw(note.text().as_bytes());
        let (name, public) = (self.origin.clone(), key.public());
        note.add(NoteSignature {
            key_id: key_id(&name, Algorithm::Ed25519, &public),
            name,
            bytes: signature.0.to_vec(),
        });
        Ok(SignedCheckpoint { checkpoint: self, note, signer: public })
    }
}

// What a cosignature is over.
fn cosigned_text(text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

impl SignedCheckpoint {
    /// Believes a note: it is a checkpoint of the log of that name, and one of these keys has signed it.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(note: Note, origin: &str, keys: &[PublicKey]) -> Result<Self, NotACheckpoint> {
        let checkpoint = Checkpoint::from_text(note.text())?;
        if checkpoint.origin != origin {
            return Err(NotACheckpoint::Origin);
        }
        let is_valid = |key: &PublicKey, line: &NoteSignature| {
            let signature = line.bytes.as_slice().try_into().map(Signature);
            signature.is_ok_and(|signature| key.verifies(note.text().as_bytes(), &signature))
        };
        let mut signer = None;
        for key in keys {
            for line in note.by(origin, Algorithm::Ed25519, key) {
                // A known key's signature that fails makes the whole note worthless (C2SP `signed-note`).
                if !is_valid(key, line) {
                    return Err(NotACheckpoint::Signature);
                }
                signer = signer.or(Some(*key));
            }
        }
        let signer = signer.ok_or(NotACheckpoint::Signature)?;
        Ok(Self { checkpoint, note, signer })
    }

    /// Size and root.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all lines that it came with.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The key that has signed it.
    pub const fn signer(&self) -> PublicKey {
        self.signer
    }

    /// A witness's signature that it has seen this as the log's largest consistent tree at that second.
    pub fn cosign(&self, name: String, key: &SigningKey, seconds: u64) -> NoteSignature {
        let signature = key.sign_raw(&cosigned_text(self.note.text(), seconds));
        let bytes = [seconds.to_be_bytes().as_slice(), &signature.0].concat();
        NoteSignature { key_id: key_id(&name, Algorithm::Cosignature, &key.public()), name, bytes }
    }

    /// The second at which a witness has cosigned it; nothing if it has not.
    pub fn cosigned_at(&self, name: &str, key: &PublicKey) -> Option<u64> {
        self.cosignatures(name, key).next()
    }

    /// The second of each line that is a witness's cosignature, in their order.
    pub fn cosignatures(&self, name: &str, key: &PublicKey) -> impl Iterator<Item = u64> {
        self.note.by(name, Algorithm::Cosignature, key).filter_map(|line| {
            let (seconds, signature) = line.bytes.split_first_chunk::<8>()?;
            let seconds = u64::from_be_bytes(*seconds);
            // Larger ones are no times (C2SP `tlog-cosignature`).
            i64::try_from(seconds).ok()?;
            let signature = Signature(signature.try_into().ok()?);
            key.verifies(&cosigned_text(self.note.text(), seconds), &signature).then_some(seconds)
        })
    }

    /// The same with one more signature under it; what it is worth is found when it is asked for.
    #[must_use]
    pub fn with(mut self, signature: NoteSignature) -> Self {
        self.note.add(signature);
        self
    }
}
