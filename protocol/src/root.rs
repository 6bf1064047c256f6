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

/// The root documents from the first to the one in force.
#[derive(Debug, Clone)]
pub struct Roots {
    /// The federation whose they are.
    pub federation: FederationId,
    // Never empty.
    first: Verified<Root>,
    later: Vec<Verified<Root>>,
    /// Two that might both be the next: neither is.
    pub contested: Option<[Hash; 2]>,
    /// Documents that do not continue the chain, and why.
    pub refused: Vec<(Hash, NotVerified)>,
}

impl Roots {
    /// The one in force.
    pub fn last(&self) -> &Verified<Root> {
        self.later.last().unwrap_or(&self.first)
    }

    /// The chain, from the first to the one in force.
    pub fn chain(&self) -> impl DoubleEndedIterator<Item = &Verified<Root>> {
        std::iter::once(&self.first).chain(&self.later)
    }

    /// One of the chain.
    pub fn version(&self, version: u64) -> Option<&Verified<Root>> {
        self.chain().find(|root| root.root_version == version)
    }

    /// SHA-256 of each, those contested included.
    pub fn hashes(&self) -> Vec<Hash> {
        self.chain().map(Verified::hash).chain(self.contested.into_iter().flatten()).collect()
    }
}

/// Follows the chain of root documents as far as it holds: the first by the federation's id and by all its keys, each next by the
/// thresholds of the one before *and* of its own, and by every key that it lists for the first time. Versions go up by exactly one.
/// Roots are signed in the name of no federation (32 zero bytes), since the id follows from them.
pub fn follow(documents: &[Document], expected: Option<&FederationId>) -> Result<Roots, NotVerified> {
    let mut claimed: Vec<(u64, Hash, &Document)> = Vec::new();
    let mut refused = Vec::new();
    for document in documents.iter().filter(|document| document.label() == Label::Root) {
        match document.unverified::<Root>() {
            Ok(root) => claimed.push((root.root_version, document.hash(), document)),
            Err(source) => refused.push((document.hash(), source)),
        }
    }
    claimed.sort_by_key(|(version, hash, _)| (*version, *hash));
    let firsts = claimed.iter().filter(|(version, ..)| *version == 1);
    let of_federation =
        |document: &Document| expected.is_none_or(|expected| *expected == federation_id(document.payload()));
    let (_, _, first) = match firsts.clone().find(|(_, _, document)| of_federation(document)) {
        Some(first) => first,
        None if firsts.count() > 0 => return Err(NotVerified::Rule("the root document is of another federation")),
        None if claimed.is_empty() => {
            return Err(refused.into_iter().next().map_or(NotVerified::Rule("no root document"), |(_, source)| source));
        }
        None => return Err(NotVerified::Rule("the chain of root documents does not begin at version 1")),
    };
    let keys: Root = first.unverified()?;
    let keys = keys.keys.as_slice();
    let mut roots = Roots {
        federation: federation_id(first.payload()),
        first: first.verify(&Hash::ZERO, keys, keys.len(), keys)?,
        later: Vec::new(),
        contested: None,
        refused,
    };
    for group in
        claimed.chunk_by(|(one, ..), (other, ..)| one == other).filter(|group| group.iter().any(|(v, ..)| *v > 1))
    {
        let mut next: Vec<Verified<Root>> = Vec::new();
        for (_, hash, document) in group {
            match continues(roots.last(), document) {
                // The same document with other signatures is the same document.
                Ok(root) if next.iter().all(|other| other.hash() != root.hash()) => next.push(root),
                Ok(_) => {}
                Err(source) => roots.refused.push((*hash, source)),
            }
        }
        match next.as_slice() {
            [] => {}
            [one] => roots.later.push(one.clone()),
            [one, other, ..] => {
                roots.contested = Some([one.hash(), other.hash()]);
                break;
            }
        }
    }
    Ok(roots)
}

fn continues(current: &Verified<Root>, document: &Document) -> Result<Verified<Root>, NotVerified> {
    let next: Root = document.unverified()?;
    if next.root_version != current.root_version + 1 || next.epoch < current.epoch {
        return Err(NotVerified::Rule("root versions go up by exactly one, and the epoch never back"));
    }
    if next.genesis_nonce != current.genesis_nonce {
        return Err(NotVerified::Rule("the root document is of another federation"));
    }
    document.verify::<Root>(&Hash::ZERO, current.keys.as_slice(), usize::from(current.threshold), &[])?;
    let new: Vec<PublicKey> = next.keys.iter().filter(|key| !current.keys.as_slice().contains(key)).copied().collect();
    document.verify(&Hash::ZERO, next.keys.as_slice(), usize::from(next.threshold), &new)
}
