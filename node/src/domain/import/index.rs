//! What the store holds already, by digests: enough to recognise records without reading them.

use std::collections::{BTreeSet, HashMap};

use accord_protocol::{codec::encode, id::Hash};

use crate::domain::record::{Line, Price, Rate};

/// A short digest: 128 bits are enough to tell an agency's own records apart.
pub type Digest = [u8; 16];

/// The first 16 bytes of SHA-256.
pub fn digest(bytes: &[u8]) -> Digest {
    let Hash(full) = Hash::of(bytes);
    full.first_chunk().copied().unwrap_or_default()
}

/// One stored version of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Digest of the line's content.
    pub content: u64,
    /// The import that it came with: its latest version.
    pub import: u64,
    number: u8,
}

/// One stored record: what its lines share, and each line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    shared: u64,
    lines: Lines,
}

// Nearly every record has one line; a list for each would double the memory of a large store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lines {
    One(Held),
    More(Box<[Held]>),
}

/// The latest version of every line. A later import's version takes the place of an earlier one, which stays in the store until the
/// import that brought it is undone or the case erased: that is what lets an undo restore exactly what was there before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    records: HashMap<Digest, Record>,
    lines: usize,
}

/// Digests of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Of the kind and the record id.
    pub record: Digest,
    /// Number of the line.
    pub number: u8,
    /// Of what all lines of the record share.
    pub shared: u64,
    /// Of everything.
    pub content: u64,
}

/// The digest of a record.
pub fn record_digest(line: &Line) -> Digest {
    digest(&[&line.kind().number().to_be_bytes(), line.common().record_id.as_bytes()].concat())
}

/// The first 8 bytes of SHA-256, as a number.
pub(super) fn short(bytes: &[u8]) -> u64 {
    let Hash(full) = Hash::of(bytes);
    full.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

impl Keys {
    /// The digests of a line.
    pub fn of(line: &Line) -> Self {
        // Records are far below the codec's limit: a row has at most 64 KiB.
        let bytes = |result: Result<Vec<u8>, _>| result.unwrap_or_default();
        let content = match line {
            // What follows from the rates that the node happened to have is not the agency's own content.
            Line::Price(price) => {
                let rate: Option<Rate> = None;
                bytes(encode(&Line::Price(Box::new(Price { rate, cents_per_unit: 0, ..(**price).clone() }))))
            }
            Line::Seizure(_) | Line::Purity(_) | Line::Site(_) => bytes(encode(line)),
        };
        let shared = match line {
            Line::Seizure(line) => short(&bytes(encode(&line.seizure))),
            // Records of one line share nothing with another line.
            Line::Purity(_) | Line::Price(_) | Line::Site(_) => 0,
        };
        Self { record: record_digest(line), number: line.number(), shared, content: short(&content) }
    }
}

impl Index {
    /// Remembers a stored line as the latest version.
    pub fn insert(&mut self, keys: Keys, import: u64) {
        let held = Held { content: keys.content, import, number: keys.number };
        self.insert_held(keys.record, keys.shared, held);
    }

    fn insert_held(&mut self, record: Digest, shared: u64, held: Held) {
        match self.records.get_mut(&record) {
            None => {
                self.records.insert(record, Record { shared, lines: Lines::One(held) });
                self.lines += 1;
            }
            Some(record) => {
                record.shared = shared;
                self.lines += usize::from(record.lines.insert(held));
            }
        }
    }

    /// A stored line's latest version.
    pub fn line(&self, record: &Digest, number: u8) -> Option<Held> {
        self.records.get(record)?.lines.iter().find(|held| held.number == number).copied()
    }

    /// Digest of what the lines of a stored record share.
    pub fn shared(&self, record: &Digest) -> Option<u64> {
        self.records.get(record).map(|record| record.shared)
    }

    /// Numbers of the stored lines of a record.
    pub fn numbers(&self, record: &Digest) -> Vec<u8> {
        self.records.get(record).map(|record| record.lines.iter().map(|held| held.number).collect()).unwrap_or_default()
    }

    /// The imports that a record's latest lines came with.
    pub fn imports_of(&self, record: &Digest) -> BTreeSet<u64> {
        self.records.get(record).into_iter().flat_map(|record| record.lines.iter()).map(|held| held.import).collect()
    }

    /// Whether an import's version of a line is the latest one: earlier ones are kept, but do not count.
    pub fn is_latest(&self, line: &Line, import: u64) -> bool {
        self.line(&record_digest(line), line.number()).is_some_and(|held| held.import == import)
    }

    /// Takes over what a committed import has added: the smaller of the two goes into the larger, so that a first large import does
    /// not stand in memory twice.
    pub fn extend(&mut self, mut other: Self) {
        if other.records.len() <= self.records.len() {
            for (record, added) in other.records {
                for held in added.lines.iter() {
                    self.insert_held(record, added.shared, *held);
                }
            }
            return;
        }
        for (record, stored) in std::mem::take(&mut self.records) {
            let later = other.records.get(&record).map(|record| record.shared);
            for held in stored.lines.iter() {
                // What the import has added is the latest version.
                if other.line(&record, held.number).is_none() {
                    other.insert_held(record, later.unwrap_or(stored.shared), *held);
                }
            }
        }
        *self = other;
    }

    /// How many records are known.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// How many lines are known.
    pub const fn len(&self) -> usize {
        self.lines
    }

    /// Whether nothing is known.
    pub const fn is_empty(&self) -> bool {
        self.lines == 0
    }
}

impl Lines {
    fn iter(&self) -> std::slice::Iter<'_, Held> {
        match self {
            Self::One(held) => std::slice::from_ref(held).iter(),
            Self::More(all) => all.iter(),
        }
    }

    // Adds or replaces a line; whether it is new.
    fn insert(&mut self, held: Held) -> bool {
        match self {
            Self::One(only) if only.number == held.number => {
                *only = held;
                false
            }
            Self::One(only) => {
                *self = Self::More(Box::new([*only, held]));
                true
            }
            Self::More(all) => {
                if let Some(kept) = all.iter_mut().find(|kept| kept.number == held.number) {
                    *kept = held;
                    return false;
                }
                *all = all.iter().copied().chain([held]).collect();
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(record: u8, number: u8, content: u64) -> Keys {
        Keys { record: [record; 16], number, shared: 7, content }
    }

    #[test]
    fn the_latest_version_of_a_line_counts() {
        let mut index = Index::default();
        index.insert(keys(1, 1, 10), 1);
        index.insert(keys(1, 2, 11), 1);
        index.insert(keys(2, 1, 12), 1);
        index.insert(keys(1, 2, 13), 3);
        assert_eq!(index.len(), 3);
        assert_eq!(index.line(&[1; 16], 2).map(|held| (held.content, held.import)), Some((13, 3)));
        assert_eq!(index.imports_of(&[1; 16]), BTreeSet::from([1, 3]));
        assert_eq!(index.numbers(&[1; 16]), [1, 2]);
        let mut more = Index::default();
        more.insert(keys(2, 1, 20), 4);
        more.insert(keys(3, 1, 21), 4);
        more.insert(keys(4, 1, 22), 4);
        // Whichever of the two is larger: the later version stays.
        let mut small = Index::default();
        small.insert(keys(2, 1, 12), 1);
        small.insert(keys(2, 2, 13), 1);
        let mut both = small.clone();
        both.extend(more.clone());
        assert_eq!((both.len(), both.line(&[2; 16], 1).map(|held| held.import)), (4, Some(4)));
        assert_eq!(both.line(&[2; 16], 2).map(|held| held.import), Some(1));
        index.extend(more);
        assert_eq!((index.len(), index.line(&[2; 16], 1).map(|held| held.import)), (5, Some(4)));
    }
}
