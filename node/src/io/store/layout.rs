//! Keys and values: one tree, a first byte for each kind of key, a version and a checksum for each value.

use bincode::{Decode, Encode};

use accord_protocol::{
    codec::Cap,
    id::Hash,
    log::{ENTRY_BYTES, tree::empty_root},
};

use super::log::NewEntry;

accord_protocol::codes! {
    /// Kinds of key, by their first byte.
    pub enum KeyKind: u8 {
        /// The meta record.
        Meta = 0x6d "meta",
        /// Blocks of records: `b`, import, block.
        Block = 0x62 "block",
        /// Imports: `i`, import.
        Import = 0x69 "import",
        /// Declarations of coverage: `c`, number.
        Coverage = 0x63 "coverage",
        /// Euro reference rates: `r`, currency, year.
        Rates = 0x72 "rates",
        /// Erased cases: `z`, number.
        Erasure = 0x7a "erasure",
        /// Editions: `e`, number.
        Edition = 0x65 "edition",
        /// Who received an edition: `v`, number, member.
        Received = 0x76 "received",
        /// Withdrawn editions: `w`, number.
        Withdrawn = 0x77 "withdrawn",
        /// What people have proposed and agreed on about editions: `a`, number.
        Agreement = 0x61 "agreement",
        /// Members still to be told of a withdrawal: `p`, number, member.
        Untold = 0x70 "untold",
        /// Withdrawals that partners have told: `n`, member, `/`, number.
        Told = 0x6e "told",
        /// Parts of frozen blocks of editions: `x`, hash, part.
        Frozen = 0x78 "frozen",
        /// Lines that a vintage of a kind and year was made from: `y`, kind, year, edition, part.
        Vintage = 0x79 "vintage",
        /// Parts of catalogues that editions were made under: `k`, hash, part.
        Catalogue = 0x6b "catalogue",
        /// Parts of contradictions of partners: `f`, hash, part.
        Contradiction = 0x66 "contradiction",
        /// Last greetings of members: `h`, member.
        Greeted = 0x68 "greeted",
        /// The mark that the clock must not fall behind.
        ClockMark = 0x74 "clock-mark",
        /// Parts of requests that a person here decides: `g`, body hash, part.
        Held = 0x67 "held",
        /// Parts of own requests that may have to wait elsewhere: `o`, body hash, part.
        Sent = 0x6f "sent",
        /// Parts of the cells that an own request was answered with: `l`, body hash, part.
        Slice = 0x6c "slice",
        /// Standing approvals: `s`, approver key, hash.
        Standing = 0x73 "standing",
        /// What officers have received: `u`, member, `/`, officer key, table, edition.
        History = 0x75 "history",
        /// Memory of requests: `q`, officer key, request id.
        Replay = 0x71 "replay",
        /// That the store was restored from a backup: `R`, 1 the mark, 2 the first start after it.
        Restored = 0x52 "restored",
        /// Parts of the settings of the last start.
        Settings = 0x4e "settings",
        /// Entries of the audit log: `j`, number.
        LogEntry = 0x6a "log-entry",
        /// Sealed details of entries of the log: `d`, number, part.
        LogDetail = 0x64 "log-detail",
        /// Hashes of the log's tree: `T`, level, number.
        LogTile = 0x54 "log-tile",
        /// Which entries are about a signed thing: `S`, subject, number.
        LogSubject = 0x53 "log-subject",
        /// How many entries of the log were destroyed.
        LogDestroyed = 0x44 "log-destroyed",
        /// Parts of checkpoints of the log: `C`, size, part.
        LogCheckpoint = 0x43 "log-checkpoint",
        /// Checkpoints of others' logs: `H`, member, `/`, size.
        Seen = 0x48 "seen",
        /// Two checkpoints of a log that are not of one past: `F`, what names them.
        Fork = 0x46 "fork",
        /// Parts of what partners have to prove, with the proof: `P`, member, `/`, subject, part.
        Promise = 0x50 "promise",
    }
}

/// Version of the layout of values.
const VALUE_VERSION: u8 = 1;
/// Largest value: above about 8 KB sled writes files of their own, which our fdatasync does not reach.
pub(super) const VALUE_MAX: usize = 6_000;

/// The meta record: what must be there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Meta {
    /// Layout of the whole store.
    pub(super) schema: u32,
    /// Commits so far.
    pub(super) sequence: u64,
    /// Keys by kind: `(kind byte, count)`, sorted.
    pub(super) counts: Vec<(u8, u64)>,
    /// Entries of the log.
    pub(super) log_size: u64,
    /// Root of the tree over them.
    pub(super) log_root: Hash,
}

impl Meta {
    /// Of a store in which nothing was ever committed.
    pub(super) fn of_nothing() -> Self {
        Self { schema: SCHEMA, sequence: 0, counts: Vec::new(), log_size: 0, log_root: empty_root() }
    }
}

/// The layout that this program writes.
pub(super) const SCHEMA: u32 = 8;
/// The oldest that it reads: what came since are kinds of keys that an older store has none of.
pub(super) const OLDEST_SCHEMA: u32 = 6;
/// Key of the meta record.
pub(super) const META_KEY: &[u8] = b"m";

/// Changes that become durable together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) deletes: Vec<Vec<u8>>,
    pub(super) entries: Vec<NewEntry>,
    pub(super) padding: Vec<NewEntry>,
    pub(super) is_essential: bool,
}

impl Batch {
    /// Adds or replaces a value.
    pub fn put(&mut self, key: Vec<u8>, value: &[u8]) {
        self.puts.push((key, wrap(value)));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.deletes.push(key);
    }

    /// Adds a long value as parts under `prefix`.
    pub fn put_parts(&mut self, prefix: &[u8], value: &[u8]) {
        for (part, chunk) in value.chunks(VALUE_MAX).enumerate() {
            let number = u32::try_from(part).unwrap_or(u32::MAX).to_be_bytes();
            self.put([prefix, &number].concat(), chunk);
        }
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        let puts = self.puts.iter().map(|(key, value)| (key.len() + value.len()) as u64);
        let entries = self.entries.iter().chain(&self.padding);
        puts.chain(entries.map(|entry| (ENTRY_BYTES + entry.sealed.len()) as u64)).sum()
    }

    /// Bytes of the keys that are removed.
    pub(super) fn bytes_of_removals(&self) -> u64 {
        self.deletes.iter().map(|key| key.len() as u64).sum()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.entries.is_empty() && self.padding.is_empty()
    }
}

/// A key of a kind.
pub(super) fn key(kind: KeyKind, rest: &[&[u8]]) -> Vec<u8> {
    std::iter::once([kind.number()].as_slice()).chain(rest.iter().copied()).flatten().copied().collect()
}

/// A value with its version and checksum.
pub(super) fn wrap(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 5);
    bytes.push(VALUE_VERSION);
    bytes.extend(crc32fast::hash(value).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// The value inside, if version and checksum fit.
pub(super) fn unwrap(bytes: &[u8]) -> Option<&[u8]> {
    let (version, rest) = bytes.split_first()?;
    let (crc, value) = rest.split_first_chunk::<4>()?;
    (*version == VALUE_VERSION && crc32fast::hash(value) == u32::from_be_bytes(*crc)).then_some(value)
}

/// Encodes a stored value.
pub(super) fn to_bytes<T: Encode>(value: &T) -> Vec<u8> {
    // Stored values are far below the codec's limit of a mebibyte: blocks are cut at 6 KB, lists are bounded.
    accord_protocol::codec::encode(value).unwrap_or_default()
}

/// Decodes a stored value.
pub(super) fn from_bytes<T: Encode + Decode<()>>(bytes: &[u8]) -> Option<T> {
    accord_protocol::codec::decode(bytes, Cap::Document).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_is_noticed() {
        let good = wrap(b"twenty records");
        assert_eq!(unwrap(&good), Some(b"twenty records".as_slice()));
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_eq!(unwrap(&bad), None, "byte {index}");
        }
        assert_eq!(unwrap(&good[..3]), None);
    }
}
