//! What the store holds already, by digests: enough to recognise records without reading them.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{codec::encode, id::Hash};

use crate::domain::record::{Line, Price, Purity, Rate, Site, Stated};

/// A short digest of a record's kind and id: 96 bits tell an agency's own records apart, ten million of them with a chance of one in
/// 10^15 that any two collide.
pub type RecordDigest = [u8; 12];
/// A digest of 128 bits.
pub type Digest = [u8; 16];

/// Lines that wait to be merged into the sorted list, at least.
const WAITING_MIN: usize = 1 << 16;

/// The first 16 bytes of SHA-256.
pub fn digest(bytes: &[u8]) -> Digest {
    let Hash(full) = Hash::of(bytes);
    full.first_chunk().copied().unwrap_or_default()
}

/// One line's latest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Digest of the line's content.
    pub content: u64,
    /// The import that it came with.
    pub import: u32,
    shared: u32,
}

type Key = (RecordDigest, u8);

/// The latest version of every line. A later import's version takes the place of an earlier one, which stays in the store until the
/// import that brought it is undone or the case erased: that is what lets an undo restore exactly what was there before.
///
/// A sorted list of 32 bytes for each line, and a small tree of lines that are not merged into it yet: a hash table of this size would
/// need several times as much, and twice that whenever it grows.
#[derive(Debug, Clone, Default)]
pub struct Index {
    sorted: Vec<(Key, Held)>,
    waiting: BTreeMap<Key, Held>,
}

/// Digests of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Of the kind and the record id.
    pub record: RecordDigest,
    /// Number of the line.
    pub number: u8,
    /// Of what all lines of the record share.
    pub shared: u32,
    /// Of everything.
    pub content: u64,
}

/// The digest of a record.
pub fn record_digest(line: &Line) -> RecordDigest {
    let Hash(full) = Hash::of(&[&line.kind().number().to_be_bytes(), line.common().record_id.as_bytes()].concat());
    full.first_chunk().copied().unwrap_or_default()
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
            // References to other records are not told apart: erasing a case blanks those to it, and the file that still has them must
            // neither conflict then nor bring them back.
            Line::Purity(purity) => {
                bytes(encode(&Line::Purity(Box::new(Purity { seizure_id: None, ..(**purity).clone() }))))
            }
            Line::Site(site) => {
                let linked_seizures = Stated::Blank;
                bytes(encode(&Line::Site(Box::new(Site { linked_seizures, ..(**site).clone() }))))
            }
            Line::Seizure(_) => bytes(encode(line)),
        };
        let shared = match line {
            Line::Seizure(line) => {
                let Hash(full) = Hash::of(&bytes(encode(&line.seizure)));
                full.first_chunk().copied().map_or(0, u32::from_be_bytes)
            }
            // Records of one line share nothing with another line.
            Line::Purity(_) | Line::Price(_) | Line::Site(_) => 0,
        };
        Self { record: record_digest(line), number: line.number(), shared, content: short(&content) }
    }
}

impl Index {
    /// Remembers a stored line as the latest version; imports beyond four thousand million do not happen.
    pub fn insert(&mut self, keys: Keys, import: u64) {
        let import = u32::try_from(import).unwrap_or(u32::MAX);
        let held = Held { content: keys.content, import, shared: keys.shared };
        self.insert_held((keys.record, keys.number), held);
    }

    fn insert_held(&mut self, key: Key, held: Held) {
        if let Ok(at) = self.sorted.binary_search_by_key(&key, |(key, _)| *key)
            && let Some((_, kept)) = self.sorted.get_mut(at)
        {
            *kept = held;
            return;
        }
        self.waiting.insert(key, held);
        // A share of the list, so that all merges together move each line a few times only.
        if self.waiting.len() >= WAITING_MIN.max(self.sorted.len() / 4) {
            self.merge();
        }
    }

    // Moves the waiting lines, none of which the list has, to their places: from the back, so that no second list is needed.
    fn merge(&mut self) {
        let Some((key, held)) = self.waiting.first_key_value().map(|(key, held)| (*key, *held)) else { return };
        let (old, more) = (self.sorted.len(), self.waiting.len());
        self.sorted.reserve_exact(more);
        self.sorted.resize(old + more, (key, held));
        let mut from = old;
        let mut to = old + more;
        while let Some(last) = self.waiting.last_entry() {
            to -= 1;
            let before = from.checked_sub(1).and_then(|at| self.sorted.get(at)).copied();
            let item = match before {
                Some(before) if before.0 > *last.key() => {
                    from -= 1;
                    before
                }
                Some(_) | None => last.remove_entry(),
            };
            if let Some(slot) = self.sorted.get_mut(to) {
                *slot = item;
            }
        }
    }

    // The latest versions of a record's lines, by number.
    fn of_record(&self, record: &RecordDigest) -> impl Iterator<Item = (u8, Held)> {
        let first = self.sorted.partition_point(|((other, _), _)| other < record);
        let listed =
            self.sorted.get(first..).unwrap_or_default().iter().take_while(move |((other, _), _)| other == record);
        let waiting = self.waiting.range((*record, 0)..=(*record, u8::MAX));
        listed
            .map(|((_, number), held)| (*number, *held))
            .chain(waiting.map(|((_, number), held)| (*number, *held)))
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// A stored line's latest version.
    pub fn line(&self, record: &RecordDigest, number: u8) -> Option<Held> {
        let key = (*record, number);
        match self.sorted.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => self.sorted.get(at).map(|(_, held)| *held),
            Err(_) => self.waiting.get(&key).copied(),
        }
    }

    /// Digest of what the lines of a stored record share.
    pub fn shared(&self, record: &RecordDigest) -> Option<u32> {
        self.of_record(record).next().map(|(_, held)| held.shared)
    }

    /// Numbers of the stored lines of a record.
    pub fn numbers(&self, record: &RecordDigest) -> Vec<u8> {
        self.of_record(record).map(|(number, _)| number).collect()
    }

    /// The imports that a record's latest lines came with.
    pub fn imports_of(&self, record: &RecordDigest) -> BTreeSet<u64> {
        self.of_record(record).map(|(_, held)| u64::from(held.import)).collect()
    }

    /// Whether an import's version of a line is the latest one: earlier ones are kept, but do not count.
    pub fn is_latest(&self, line: &Line, import: u64) -> bool {
        self.line(&record_digest(line), line.number()).is_some_and(|held| u64::from(held.import) == import)
    }

    fn all(&self) -> impl Iterator<Item = (Key, Held)> + '_ {
        self.sorted.iter().copied().chain(self.waiting.iter().map(|(key, held)| (*key, *held)))
    }

    /// Takes over what a committed import has added: the smaller of the two goes into the larger, so that a first large import does
    /// not stand in memory twice.
    pub fn extend(&mut self, mut other: Self) {
        if other.len() <= self.len() {
            for (key, held) in other.all() {
                self.insert_held(key, held);
            }
            return;
        }
        for (key, held) in self.all() {
            // What the import has added is the latest version.
            if other.line(&key.0, key.1).is_none() {
                other.insert_held(key, held);
            }
        }
        *self = other;
    }

    /// How many records are known.
    pub fn records(&mut self) -> usize {
        self.merge();
        self.sorted.chunk_by(|((a, _), _), ((b, _), _)| a == b).count()
    }

    /// How many lines are known.
    pub fn len(&self) -> usize {
        self.sorted.len() + self.waiting.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(record: u8, number: u8, content: u64) -> Keys {
        Keys { record: [record; 12], number, shared: 7, content }
    }

    #[test]
    fn the_latest_version_of_a_line_counts() {
        let mut index = Index::default();
        index.insert(keys(1, 1, 10), 1);
        index.insert(keys(1, 2, 11), 1);
        index.insert(keys(2, 1, 12), 1);
        index.insert(keys(1, 2, 13), 3);
        assert_eq!((index.len(), index.records()), (3, 2));
        assert_eq!(index.line(&[1; 12], 2).map(|held| (held.content, held.import)), Some((13, 3)));
        assert_eq!(index.imports_of(&[1; 12]), BTreeSet::from([1, 3]));
        assert_eq!((index.numbers(&[1; 12]), index.shared(&[1; 12])), (vec![1, 2], Some(7)));
        assert_eq!((index.numbers(&[9; 12]), index.shared(&[9; 12])), (vec![], None));
    }

    // What a table of everything would say.
    type Model = BTreeMap<(u8, u8), (u64, u64)>;

    fn says(index: &Index) -> Model {
        let pairs = (0..20).flat_map(|record| (1..4).map(move |number| (record, number)));
        pairs
            .filter_map(|(record, number)| {
                let held = index.line(&[record; 12], number)?;
                Some(((record, number), (held.content, u64::from(held.import))))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_merged_list_says_what_a_table_would(
            first in prop::collection::vec((0u8..20, 1u8..4, 0u64..9), 0..60),
            later in prop::collection::vec((0u8..20, 1u8..4, 0u64..9), 0..60),
            merge_after in 0usize..60,
        ) {
            let mut model = Model::new();
            let fill = |rows: &[(u8, u8, u64)], import: u64, model: &mut Model| {
                let mut index = Index::default();
                for (at, (record, number, content)) in rows.iter().enumerate() {
                    index.insert(keys(*record, *number, *content), import);
                    model.insert((*record, *number), (*content, import));
                    if at == merge_after {
                        index.merge();
                    }
                }
                index
            };
            let mut stored = fill(&first, 1, &mut model);
            prop_assert_eq!(says(&stored), model.clone());
            let added = fill(&later, 2, &mut model);
            stored.extend(added);
            prop_assert_eq!(says(&stored), model.clone());
            prop_assert_eq!(stored.len(), model.len());
            let records: BTreeSet<u8> = model.keys().map(|(record, _)| *record).collect();
            prop_assert_eq!(stored.records(), records.len());
            prop_assert!(stored.sorted.is_sorted_by(|a, b| a.0 < b.0));
            for record in 0..20u8 {
                let numbers: Vec<u8> = (1..4).filter(|number| model.contains_key(&(record, *number))).collect();
                prop_assert_eq!(stored.numbers(&[record; 12]), numbers);
            }
        }
    }
}
