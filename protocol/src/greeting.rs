//! Greetings between nodes: who is there, and which trust documents each holds, so that whoever lacks one fetches it (`wire.md` D9, D19).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use bincode::{Decode, Encode};

use crate::{
    codec::{Bounded, Cap},
    id::{Hash, NodeId},
    member_keys::MemberKeys,
    officers::Officers,
    root::Root,
    roster::Roster,
    signed::{Document, FederationId, Label, Preamble, Signable},
    suspend::{Suspend, Target},
    time::UnixMs,
    trust::travels,
};

/// Documents that one greeting names, at most.
pub const MARKS_MAX: usize = 512;

/// A document that the greeter holds. A hint to fetch it, never a fact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Mark {
    /// What it is.
    pub label: Label,
    /// Whose; absent for the federation's.
    pub of: Option<NodeId>,
    /// Its version; for a suspension the time at which it was issued, for a catalogue 0.
    pub version: u64,
    /// SHA-256 of its payload.
    pub hash: Hash,
}

/// A greeting, signed by a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Protocol and kind.
    pub preamble: Preamble<15>,
    /// The federation.
    pub federation: FederationId,
    /// Who greets.
    pub node_id: NodeId,
    /// Epoch of its roster.
    pub epoch: u32,
    /// Version of its roster.
    pub roster_version: u64,
    /// SHA-256 of its roster.
    pub roster_hash: Hash,
    /// The latest documents of each kind that it holds, sorted.
    pub held: Bounded<Mark, MARKS_MAX>,
    /// Lowest protocol version that it speaks.
    pub min_protocol: u16,
    /// Highest.
    pub max_protocol: u16,
    /// Its time.
    pub now: UnixMs,
}

impl Signable for Hello {
    const LABEL: Label = Label::Hello;
    const CAP: Cap = Cap::Head;
    fn check(&self) -> Result<(), &'static str> {
        if !self.held.is_sorted_unique() {
            return Err("what is held is not sorted, or stands twice");
        }
        if self.min_protocol > self.max_protocol {
            return Err("the lowest protocol version is above the highest");
        }
        Ok(())
    }
}

/// The mark of a document that travels, and the document before it where it names one.
pub fn mark(document: &Document) -> Option<(Mark, Hash)> {
    if !travels(document) {
        return None;
    }
    let (of, version, before) = match document.label() {
        Label::Root => (None, document.unverified::<Root>().ok()?.root_version, Hash::ZERO),
        Label::Roster => {
            let roster: Roster = document.unverified().ok()?;
            (None, roster.roster_version, roster.prev_hash)
        }
        Label::Catalogue => (None, 0, Hash::ZERO),
        Label::MemberKeys => {
            let keys: MemberKeys = document.unverified().ok()?;
            (Some(keys.node_id), keys.keys_version, keys.prev_hash)
        }
        Label::Officers => {
            let list: Officers = document.unverified().ok()?;
            (Some(list.node_id), list.list_version, list.prev_hash)
        }
        Label::Suspend => {
            let suspend: Suspend = document.unverified().ok()?;
            (Some(suspend.node_id), suspend.issued_at.0, Hash::ZERO)
        }
        _ => return None,
    };
    Some((Mark { label: document.label(), of, version, hash: document.hash() }, before))
}

/// The marks of what is held: of documents with versions the highest of each, of suspensions all; where there are too many, words about
/// topics give way first, and of those the oldest.
pub fn marks(documents: &[Document]) -> Vec<Mark> {
    let mut latest: BTreeMap<(Label, Option<NodeId>), u64> = BTreeMap::new();
    let all: Vec<Mark> = documents.iter().filter_map(|document| mark(document).map(|(mark, _)| mark)).collect();
    for mark in &all {
        let version = latest.entry((mark.label, mark.of.clone())).or_default();
        *version = (*version).max(mark.version);
    }
    let is_latest =
        |mark: &Mark| mark.label == Label::Suspend || latest.get(&(mark.label, mark.of.clone())) == Some(&mark.version);
    let mut marks: Vec<Mark> = all.into_iter().filter(is_latest).collect();
    marks.sort();
    marks.dedup();
    if marks.len() > MARKS_MAX {
        let is_about_topic = |document: &&Document| {
            document.unverified::<Suspend>().is_ok_and(|suspend| suspend.target == Target::Topic)
        };
        let topics: BTreeSet<Hash> = documents.iter().filter(is_about_topic).map(Document::hash).collect();
        marks.sort_by_key(|mark| {
            (topics.contains(&mark.hash), topics.contains(&mark.hash).then_some(Reverse(mark.version)))
        });
        marks.truncate(MARKS_MAX);
        marks.sort();
    }
    marks
}

/// Marks of a greeting that name what is not held here and is not older than what is.
pub fn lacking(mine: &[Mark], theirs: &[Mark]) -> Vec<Mark> {
    let older = |mark: &Mark| {
        mark.label != Label::Suspend
            && mine.iter().any(|held| held.label == mark.label && held.of == mark.of && held.version > mark.version)
    };
    theirs.iter().filter(|mark| !mine.contains(mark) && !older(mark)).cloned().collect()
}
