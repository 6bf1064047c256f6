//! What is fetched after a greeting: from the marks of documents that are lacking here, back to documents that are held (`wire.md` D19).
//!
//! A mark is a hint. Each is followed by a walk of its own, and the walks take turns, one document each: a chain without end takes
//! nothing from those that have one. A walk ends when it meets what is here, at a document that was not asked for, or when the peer
//! has nothing to give; all of them end at the bounds.

use std::collections::{BTreeSet, VecDeque};

use accord_protocol::{
    greeting::{Mark, mark},
    id::Hash,
    message::Fetch,
    signed::{Document, Label},
};

/// Documents that a peer gives after one greeting, at most, the same ones again counted too.
pub const DOCUMENTS_MAX: usize = 1_024;
/// Bytes of them after which no more is asked for.
pub const BYTES_MAX: usize = 8 << 20;

/// What came of one question to the peer.
#[derive(Debug)]
pub enum Got {
    /// This came.
    Document(Document),
    /// The line broke: that says nothing about any hint.
    LineBroke,
    /// The peer answered, and gave no document.
    Nothing,
}

/// The walks after one greeting.
#[derive(Debug)]
pub struct CatchingUp {
    waiting: VecDeque<Walk>,
    asking: Option<Walk>,
    // Hashes of what is held here or has come.
    here: BTreeSet<Hash>,
    documents: Vec<Document>,
    // Answers that held what was asked for, known or not.
    answers: usize,
    bytes: usize,
    // Marks whose walks have ended.
    ended: Vec<Mark>,
}

#[derive(Debug)]
struct Walk {
    mark: Mark,
    next: Fetch,
    is_begun: bool,
}

impl CatchingUp {
    /// Begins with the marks that are `lacking`, beside what is `held`, under a root document of this version.
    pub fn new(lacking: Vec<Mark>, held: &[Document], root_version: u64) -> Self {
        let here: BTreeSet<Hash> = held.iter().map(Document::hash).collect();
        let known = marks_of(held);
        let is_lacking = |mark: &Mark| !known.contains(mark);
        let waiting = lacking.into_iter().filter(is_lacking).map(|mark| Walk::new(mark, root_version)).collect();
        Self { waiting, asking: None, here, documents: Vec::new(), answers: 0, bytes: 0, ended: Vec::new() }
    }

    /// What to ask the peer now; nothing when all walks have ended. What comes of it goes to [`Self::take`].
    pub fn ask(&mut self) -> Option<Fetch> {
        if self.answers >= DOCUMENTS_MAX || self.bytes >= BYTES_MAX {
            let cut = self.waiting.drain(..).filter(|walk| walk.is_begun);
            self.ended.extend(cut.map(|walk| walk.mark));
        }
        self.asking = self.waiting.pop_front();
        self.asking.as_ref().map(|walk| walk.next.clone())
    }

    /// Takes what came of the last question.
    pub fn take(&mut self, got: Got) {
        let Some(mut walk) = self.asking.take() else { return };
        let document = match got {
            Got::Document(document) if walk.is_meant(&document) => document,
            Got::Document(_) | Got::Nothing => return self.ended.push(walk.mark),
            Got::LineBroke => {
                // What has come may not hold without what has not.
                self.waiting.clear();
                return self.ended.clear();
            }
        };
        self.answers += 1;
        self.bytes += document.payload().len();
        let next = walk.after(&document, &self.here);
        if self.here.insert(document.hash()) {
            self.documents.push(document);
        }
        match next {
            Some(next) => {
                walk.next = next;
                walk.is_begun = true;
                self.waiting.push_back(walk);
            }
            None => self.ended.push(walk.mark),
        }
    }

    /// What has come; believed by nobody yet.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The marks that led to nothing, now that of the documents those are held which hold: not those of a line that broke.
    pub fn led_to_nothing(&self, held: &[Document]) -> Vec<&Mark> {
        let known = marks_of(held);
        self.ended.iter().filter(|mark| !known.contains(mark)).collect()
    }
}

impl Walk {
    // Root documents name no predecessor: those in between are fetched by their numbers, the lowest first.
    fn new(mark: Mark, root_version: u64) -> Self {
        let first = root_version.saturating_add(1);
        let next = if mark.label == Label::Root && first < mark.version {
            numbered_root(first)
        } else {
            by_hash(&mark, mark.hash)
        };
        Self { mark, next, is_begun: false }
    }

    fn is_meant(&self, document: &Document) -> bool {
        let Some((claimed, _)) = mark(document) else { return false };
        let is_of = claimed.label == self.next.label && claimed.of == self.next.node_id;
        let is_asked_for =
            if self.next.number == 0 { claimed.hash == self.next.hash } else { claimed.version == self.next.number };
        // Whoever names a document by another version than its own has not named it.
        is_of && is_asked_for && (claimed.hash != self.mark.hash || claimed == self.mark)
    }

    fn after(&self, document: &Document, here: &BTreeSet<Hash>) -> Option<Fetch> {
        if self.next.number != 0 {
            let number = self.next.number + 1;
            return Some(if number < self.mark.version {
                numbered_root(number)
            } else {
                by_hash(&self.mark, self.mark.hash)
            });
        }
        // What has come in another walk has been followed, or is being.
        let is_new = !here.contains(&document.hash());
        let (claimed, before) = mark(document)?;
        (is_new && before != Hash::ZERO && !here.contains(&before)).then(|| by_hash(&claimed, before))
    }
}

fn marks_of(documents: &[Document]) -> BTreeSet<Mark> {
    documents.iter().filter_map(|document| mark(document).map(|(mark, _)| mark)).collect()
}

fn by_hash(mark: &Mark, hash: Hash) -> Fetch {
    Fetch { label: mark.label, node_id: mark.of.clone(), number: 0, hash }
}

const fn numbered_root(number: u64) -> Fetch {
    Fetch { label: Label::Root, node_id: None, number, hash: Hash::ZERO }
}

#[cfg(test)]
mod tests;
