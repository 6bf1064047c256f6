//! The root document: who admits members.

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap, Text},
    id::Hash,
    key::PublicKey,
    signed::{Document, FederationId, Label, NotVerified, Preamble, Signable, Verified},
    time::UnixMs,
};

/// The federation's root keys and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Root {
    /// Protocol and kind.
    pub preamble: Preamble<1>,
    /// Grows by exactly one.
    pub root_version: u64,
    /// Grows when a federation starts again after a disaster.
    pub epoch: u32,
    /// Random, once: makes two federations of the same names different.
    pub genesis_nonce: [u8; 32],
    /// What people call the federation.
    pub name: Text<64>,
    /// The root keys, sorted, each once.
    pub keys: Bounded<PublicKey, 16>,
    /// How many of them must sign: at least 2 and fewer than there are, so that one loss does not end the federation.
    pub threshold: u8,
    /// When it was made.
    pub issued_at: UnixMs,
    /// From when on it is no longer valid.
    pub expires_at: UnixMs,
}

impl Signable for Root {
    const LABEL: Label = Label::Root;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        if !self.keys.is_sorted_unique() {
            return Err("root keys are not sorted, or one stands twice");
        }
        let threshold = usize::from(self.threshold);
        if threshold < 2 {
            return Err("a root threshold below 2: one key could admit anybody");
        }
        if threshold >= self.keys.as_slice().len() {
            return Err("a root threshold of all keys: one loss would end the federation");
        }
        if self.root_version == 0 || self.epoch == 0 {
            return Err("root version and epoch start at 1");
        }
        if self.issued_at >= self.expires_at {
            return Err("expires before it is issued");
        }
        Ok(())
    }
}

/// The federation's identifier: SHA-256 over a label and the first root document's bytes.
pub fn federation_id(first_root_payload: &[u8]) -> FederationId {
    Hash::of(&[b"accord/1 fed\0".as_slice(), first_root_payload].concat())
}

/// Believes a chain of root documents: the first by the federation's id and by all its keys, each next by the thresholds of the
/// one before *and* of its own. Roots are signed in the name of no federation (32 zero bytes), since the id follows from them.
pub fn verify_chain(
    documents: &[Document],
    expected: Option<&FederationId>,
) -> Result<(FederationId, Verified<Root>), NotVerified> {
    let (first, rest) = documents.split_first().ok_or(NotVerified::Rule("no root document"))?;
    let federation = federation_id(first.payload());
    if expected.is_some_and(|expected| *expected != federation) {
        return Err(NotVerified::Rule("the root document is of another federation"));
    }
    let claimed: Root = first.unverified()?;
    if claimed.root_version != 1 {
        return Err(NotVerified::Rule("the chain of root documents does not begin at version 1"));
    }
    let keys = claimed.keys.as_slice();
    let mut current: Verified<Root> = first.verify(&Hash::ZERO, keys, keys.len(), keys)?;
    for document in rest {
        let next: Root = document.unverified()?;
        if next.root_version != current.root_version + 1 || next.epoch < current.epoch {
            return Err(NotVerified::Rule("root versions go up by exactly one, and the epoch never back"));
        }
        document.verify::<Root>(&Hash::ZERO, current.keys.as_slice(), usize::from(current.threshold), &[])?;
        let new: Vec<PublicKey> =
            next.keys.iter().filter(|key| !current.keys.as_slice().contains(key)).copied().collect();
        current = document.verify(&Hash::ZERO, next.keys.as_slice(), usize::from(next.threshold), &new)?;
    }
    Ok((federation, current))
}
