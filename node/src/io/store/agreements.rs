//! Typed access to what people have proposed and agreed on about editions.

use accord_protocol::{key::PublicKey, signed::Document, time::UnixMs};
use bincode::{Decode, Encode};

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};

accord_protocol::codes! {
    /// What became of a proposal.
    pub enum Course: u8 {
        /// It waits for another person.
        Open = 1 "open",
        /// Enough people agreed, and it is done.
        Done = 2 "done",
        /// Somebody took it off the table.
        Rejected = 3 "rejected",
    }
}

/// A proposal that at least one person has signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AgreementEntry {
    /// The consent, with signatures.
    pub document: Document,
    /// Where it stands.
    pub course: Course,
    /// The edition that was made of it; 0 if none was.
    pub edition: u64,
    /// Who took it off the table, if somebody did.
    pub rejected_by: Option<PublicKey>,
    /// Why.
    pub rejected_because: String,
    /// When it was agreed on or rejected; when it was proposed, until then.
    pub at: UnixMs,
}

impl AgreementEntry {
    /// One that waits.
    pub const fn open(document: Document, at: UnixMs) -> Self {
        Self { document, course: Course::Open, edition: 0, rejected_by: None, rejected_because: String::new(), at }
    }
}

impl Batch {
    /// Keeps a proposal under its number.
    pub fn put_agreement(&mut self, number: u64, entry: &AgreementEntry) {
        self.put(key(KeyKind::Agreement, &[&number.to_be_bytes()]), &to_bytes(entry));
    }
}

impl Store {
    /// Every proposal with its number, oldest first.
    pub fn agreements(&self) -> impl Iterator<Item = Result<(u64, AgreementEntry), StoreError>> {
        self.scan(KeyKind::Agreement).map(|entry| {
            let (key, value) = entry?;
            let number = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
            Ok((number, decoded(&value, "a proposal")?))
        })
    }
}
