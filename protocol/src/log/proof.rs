//! Proofs of single entries, as files that are verified offline (C2SP `tlog-proof`).
//!
//! The extra data is what the leaf is made of: the entry's 123 bytes, and behind them, where it is disclosed, salt and detail.

use std::fmt;

use base64ct::{Base64, Encoding as _};

use super::{
    checkpoint::{NotACheckpoint, SignedCheckpoint},
    entry::{Detail, ENTRY_BYTES, Entry},
    note::{NOTE_MAX, Note},
    tree::{PATH_MAX, verify_inclusion},
};
use crate::{id::Hash, key::PublicKey};

/// First line of the format.
const FORMAT: &str = "c2sp.org/tlog-proof@v1";
/// Largest extra data in bytes.
const EXTRA_MAX: usize = 64 << 10;
/// Largest file in bytes.
pub const PROOF_MAX: usize = 2 * NOTE_MAX + 2 * EXTRA_MAX;

/// A proof that nobody has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Place of the entry in the log.
    pub index: u64,
    /// From the leaf's sibling upwards.
    pub path: Vec<Hash>,
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// What it commits to, if that is disclosed.
    pub detail: Option<Detail>,
    /// The checkpoint in whose tree it stands.
    pub checkpoint: Note,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// It is not of the format.
    #[error("not a proof: {0}")]
    Format(&'static str),
    /// Its checkpoint is not believed.
    #[error(transparent)]
    Checkpoint(#[from] NotACheckpoint),
    /// The entry is none.
    #[error("the entry does not decode")]
    Entry,
    /// The entry is of another place.
    #[error("the entry does not belong at that place of the log")]
    Index,
    /// The path does not lead to the root.
    #[error("the entry is not in the tree of that checkpoint")]
    Path,
    /// The detail is not the entry's.
    #[error("the detail is not the one that the entry commits to")]
    Detail,
}

/// An entry that is proven to stand in a log; nothing but verifying makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    entry: Entry,
    detail: Option<Detail>,
    checkpoint: SignedCheckpoint,
}

impl Proven {
    /// The entry.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What it commits to, if that was disclosed.
    pub const fn detail(&self) -> Option<&Detail> {
        self.detail.as_ref()
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

impl Proof {
    /// Reads a proof.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, NotProven> {
        if text.len() > PROOF_MAX {
            return Err(NotProven::Format("longer than any proof"));
        }
        let (head, note) = text.split_once("\n\n").ok_or(NotProven::Format("there is no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(NotProven::Format("it does not begin with the format's name"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.ok_or(NotProven::Format("without the entry"))?;
        let extra = Base64::decode_vec(extra).map_err(|_| NotProven::Format("the entry is not base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let index = index.filter(|text| *text == "0" || !text.starts_with('0')).and_then(|text| text.parse().ok());
        let index = index.ok_or(NotProven::Format("without the entry's place"))?;
        let mut path = Vec::new();
        for line in lines {
            let hash = Base64::decode_vec(line).ok().and_then(|bytes| bytes.try_into().ok()).map(Hash);
            path.push(hash.ok_or(NotProven::Format("a line that is no hash"))?);
        }
        if path.len() > PATH_MAX {
            return Err(NotProven::Format("more hashes than any tree is high"));
        }
        let (entry, rest) = extra.split_at_checked(ENTRY_BYTES).ok_or(NotProven::Format("the entry is too short"))?;
        let detail = if rest.is_empty() {
            None
        } else {
            let (salt, text) = rest.split_first_chunk().ok_or(NotProven::Format("a detail without its salt"))?;
            Some(Detail { salt: *salt, text: text.to_vec() })
        };
        let checkpoint = Note::parse(note).map_err(NotACheckpoint::from)?;
        Ok(Self { index, path, entry: entry.to_vec(), detail, checkpoint })
    }

    /// Believes it: the checkpoint is one of that log, signed by one of these keys, and the entry stands in its tree. `actor_of` reads who
    /// did it out of a detail's text.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(
        self,
        origin: &str,
        keys: &[PublicKey],
        actor_of: impl FnOnce(&str) -> Option<String>,
    ) -> Result<Proven, NotProven> {
        let checkpoint = SignedCheckpoint::verify(self.checkpoint, origin, keys)?;
        let entry = Entry::from_bytes(&self.entry).map_err(|_| NotProven::Entry)?;
        if entry.seq != self.index {
            return Err(NotProven::Index);
        }
        let (size, root) = (checkpoint.checkpoint().size, checkpoint.checkpoint().root);
        if !verify_inclusion(&entry.leaf_hash(), self.index, size, &self.path, &root) {
            return Err(NotProven::Path);
        }
        if let Some(detail) = &self.detail {
            let actor = std::str::from_utf8(&detail.text).ok().and_then(actor_of);
            let is_theirs = actor.is_some_and(|actor| detail.actor_commit(&actor) == entry.actor_commit);
            if !is_theirs || !entry.commits_to(detail) {
                return Err(NotProven::Detail);
            }
        }
        Ok(Proven { entry, detail: self.detail, checkpoint })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail.as_ref().map(|detail| [detail.salt.as_slice(), &detail.text].concat());
        let extra = [self.entry.as_slice(), &detail.unwrap_or_default()].concat();
        writeln!(f, "{FORMAT}\nextra {}\nindex {}", Base64::encode_string(&extra), self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", Base64::encode_string(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
