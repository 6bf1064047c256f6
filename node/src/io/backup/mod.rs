//! The bytes of a backup: files of the node's folder, then the store entry by entry, then the signed manifest (`docs/storage.md`).

mod read;

use std::io::{self, Read, Write};

use accord_protocol::id::Hash;
use ring::digest::{Context, SHA256};

pub use read::{BackupError, Contents, Expected, restore, verify};

/// First bytes, where nothing encrypts them.
pub const MAGIC: &[u8; 8] = b"ACCDBAK1";
/// Largest file of the folder.
const FILE_MAX: usize = 8 << 20;
/// All of them together.
const FILES_MAX: usize = 64 << 20;
/// Longest name or key.
const NAME_MAX: usize = 512;
/// Largest value of the store.
const VALUE_MAX: usize = 64 << 10;
/// Largest manifest with its signature.
const MANIFEST_MAX: usize = 4 << 10;

const END: u8 = 0;
const FILE: u8 = 1;
const ENTRY: u8 = 2;

/// A part of a backup.
#[derive(Debug, PartialEq, Eq)]
enum Item {
    File(String, Vec<u8>),
    Entry(Vec<u8>, Vec<u8>),
}

/// What the parts before the manifest came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Files.
    pub files: u32,
    /// Entries of the store, the meta record not counted.
    pub keys: u64,
    /// Bytes of all of it.
    pub bytes: u64,
    /// SHA-256 of them.
    pub content: Hash,
}

// What was written or read so far.
struct Sum {
    context: Context,
    bytes: u64,
    files: u32,
    entries: u64,
}

impl Sum {
    fn new() -> Self {
        Self { context: Context::new(&SHA256), bytes: 0, files: 0, entries: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn total(&self) -> Total {
        Total {
            files: self.files,
            // One of the entries is the meta record.
            keys: self.entries.saturating_sub(1),
            bytes: self.bytes,
            content: finished(self.context.clone()),
        }
    }
}

fn finished(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Hash(hash)
}

/// Counts and hashes what passes to where it is written.
pub struct Hashing<W> {
    out: W,
    sum: Sum,
}

impl<W> std::fmt::Debug for Hashing<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashing")
    }
}

impl<W: Write> Hashing<W> {
    /// Nothing so far.
    pub fn new(out: W) -> Self {
        Self { out, sum: Sum::new() }
    }

    /// What it was written to, how much, and its SHA-256.
    pub fn finish(self) -> (W, u64, Hash) {
        let total = self.sum.total();
        (self.out, total.bytes, total.content)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sum.add(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes a backup.
pub struct Writing<W> {
    out: W,
    sum: Sum,
    of_files: usize,
}

impl<W> std::fmt::Debug for Writing<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writing")
    }
}

impl<W: Write> Writing<W> {
    /// Begins one.
    pub fn begin(out: W) -> io::Result<Self> {
        let mut writing = Self { out, sum: Sum::new(), of_files: 0 };
        writing.put(MAGIC)?;
        Ok(writing)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.sum.add(bytes);
        Ok(())
    }

    fn item(&mut self, kind: u8, (name, name_max): (&[u8], usize), (value, max): (&[u8], usize)) -> io::Result<()> {
        let (Ok(name_len), Ok(len)) = (u16::try_from(name.len()), u32::try_from(value.len())) else {
            return Err(io::Error::other("a part of the backup is too long"));
        };
        if name.len() > name_max || value.len() > max {
            return Err(io::Error::other("a part of the backup is too long"));
        }
        self.put(&[&[kind], name_len.to_be_bytes().as_slice(), &len.to_be_bytes()].concat())?;
        self.put(name)?;
        self.put(value)
    }

    /// Adds a file; all of them come before the store.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.of_files += bytes.len();
        if self.of_files > FILES_MAX || !is_file_name(name) {
            return Err(io::Error::other(format!("{name} does not fit into a backup")));
        }
        self.sum.files += 1;
        self.item(FILE, (name.as_bytes(), NAME_MAX), (bytes, FILE_MAX))
    }

    /// Adds an entry of the store, in the order of keys.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.sum.entries += 1;
        self.item(ENTRY, (key, NAME_MAX), (value, VALUE_MAX))
    }

    /// Ends the parts: what they came to, of which the manifest is made.
    pub fn end(&mut self) -> io::Result<Total> {
        self.put(&[END])?;
        Ok(self.sum.total())
    }

    /// Adds the manifest, after which nothing comes.
    pub fn manifest(mut self, document: &[u8]) -> io::Result<W> {
        self.out.write_all(document)?;
        Ok(self.out)
    }
}

/// Names of files that a backup has: those of the node itself, and of its two folders of documents and keys. Nothing that leads out of a
/// folder.
fn is_file_name(name: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    match name.split_once('/') {
        None => FILES.contains(&name),
        Some((folder, file)) => FOLDERS.contains(&folder) && is_plain(file),
    }
}

/// Files of the node's folder that are in a backup, where they are there.
pub const FILES: [&str; 4] = ["node.toml", "node.ring", "claim.accord", "grants.toml"];
/// Folders whose files are.
pub const FOLDERS: [&str; 2] = ["trust", "journal"];

/// Reads a backup, decrypted.
struct Reading<R> {
    from: R,
    sum: Sum,
    of_files: usize,
}

impl<R: Read> Reading<R> {
    fn begin(from: R) -> Result<Self, BackupError> {
        let mut reading = Self { from, sum: Sum::new(), of_files: 0 };
        if reading.take(MAGIC.len())? != MAGIC {
            return Err(BackupError::NotABackup);
        }
        Ok(reading)
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        self.from.by_ref().take(count as u64).read_to_end(&mut bytes)?;
        if bytes.len() < count {
            return Err(BackupError::Cut);
        }
        self.sum.add(&bytes);
        Ok(bytes)
    }

    /// The next part; nothing where the manifest begins.
    fn next(&mut self) -> Result<Option<Item>, BackupError> {
        let kind = self.take(1)?;
        if kind == [END] {
            return Ok(None);
        }
        let lengths = self.take(6)?;
        let name_len = lengths.first_chunk().copied().map_or(0, u16::from_be_bytes).into();
        let len = lengths.last_chunk().copied().map_or(0, u32::from_be_bytes);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let max = if kind == [FILE] { FILE_MAX } else { VALUE_MAX };
        if name_len > NAME_MAX || len > max {
            return Err(BackupError::Wrong("a part is longer than any"));
        }
        let (name, value) = (self.take(name_len)?, self.take(len)?);
        match kind.as_slice() {
            [FILE] => {
                let name = String::from_utf8(name).ok().filter(|name| is_file_name(name));
                let name = name.ok_or(BackupError::Wrong("a file of a name that no backup has"))?;
                self.of_files += len;
                if self.of_files > FILES_MAX || self.sum.entries > 0 {
                    return Err(BackupError::Wrong("more files than a backup has, or behind the store"));
                }
                self.sum.files += 1;
                Ok(Some(Item::File(name, value)))
            }
            [ENTRY] => {
                self.sum.entries += 1;
                Ok(Some(Item::Entry(name, value)))
            }
            _ => Err(BackupError::Wrong("a part of an unknown kind")),
        }
    }

    /// What came, and the bytes of the manifest; nothing comes behind them.
    fn finish(mut self) -> Result<(Total, Vec<u8>), BackupError> {
        let mut manifest = Vec::new();
        self.from.by_ref().take(MANIFEST_MAX as u64 + 1).read_to_end(&mut manifest)?;
        if manifest.len() > MANIFEST_MAX {
            return Err(BackupError::Wrong("something stands behind the manifest"));
        }
        Ok((self.sum.total(), manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Vec<u8>, Total) {
        let mut writing = Writing::begin(Vec::new()).unwrap();
        writing.file("node.toml", b"member").unwrap();
        writing.file("journal/2026-11.key", &[7; 32]).unwrap();
        writing.entry(b"a", b"one").unwrap();
        writing.entry(b"m", b"meta").unwrap();
        let total = writing.end().unwrap();
        (writing.manifest(b"signed").unwrap(), total)
    }

    fn read(bytes: &[u8]) -> Result<(Vec<Item>, Total, Vec<u8>), BackupError> {
        let mut reading = Reading::begin(bytes)?;
        let mut items = Vec::new();
        while let Some(item) = reading.next()? {
            items.push(item);
        }
        let (total, manifest) = reading.finish()?;
        Ok((items, total, manifest))
    }

    #[test]
    fn what_is_written_reads_back_byte_by_byte_as_the_document_says() {
        let (bytes, total) = written();
        let parts = [
            b"ACCDBAK1".as_slice(),
            b"\x01\x00\x09\x00\x00\x00\x06node.tomlmember",
            b"\x01\x00\x13\x00\x00\x00\x20journal/2026-11.key",
            &[7; 32],
            b"\x02\x00\x01\x00\x00\x00\x03aone",
            b"\x02\x00\x01\x00\x00\x00\x04mmeta",
            b"\x00",
        ];
        let content = parts.concat();
        assert_eq!(bytes, [content.as_slice(), b"signed"].concat());
        let want = Total { files: 2, keys: 1, bytes: content.len() as u64, content: Hash::of(&content) };
        assert_eq!(total, want);
        let (items, read_total, manifest) = read(&bytes).unwrap();
        assert_eq!((items.len(), read_total, manifest.as_slice()), (4, want, b"signed".as_slice()));
    }

    #[test]
    fn what_is_cut_too_long_or_in_another_place_is_refused() {
        let (bytes, total) = written();
        for end in 0..usize::try_from(total.bytes).unwrap() {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
        let of = |kind: u8, name: &[u8], value: &[u8]| {
            let lengths =
                [&[0, u8::try_from(name.len()).unwrap()], u32::try_from(value.len()).unwrap().to_be_bytes().as_slice()]
                    .concat();
            [&[kind], lengths.as_slice(), name, value].concat()
        };
        for (what, parts) in [
            ("another beginning", b"ACCDBAK2\0".to_vec()),
            ("an unknown kind", [MAGIC.as_slice(), &of(3, b"a", b"b"), &[0]].concat()),
            (
                "a file behind the store",
                [MAGIC.as_slice(), &of(2, b"a", b"b"), &of(1, b"node.toml", b""), &[0]].concat(),
            ),
            ("a value too long", [MAGIC.as_slice(), &of(2, b"a", &vec![0; VALUE_MAX + 1]), &[0]].concat()),
            ("more behind it", [MAGIC.as_slice(), &[0], &[0; MANIFEST_MAX + 1]].concat()),
        ] {
            assert!(read(&parts).is_err(), "{what}");
        }
        for name in [
            "",
            "..",
            "node.toml/",
            "../node.toml",
            "/etc/passwd",
            "trust/",
            "trust/..",
            "trust/.x",
            "trust/a/b",
            "store/lock",
            "operator/person.ring",
            "journal/a b",
            "trust/\u{e9}",
            "node.toml\0",
        ] {
            let part = [MAGIC.as_slice(), &of(1, name.as_bytes(), b"x"), &[0]].concat();
            assert!(read(&part).is_err(), "{name}");
            assert!(Writing::begin(Vec::new()).unwrap().file(name, b"x").is_err(), "{name}");
        }
    }
}
