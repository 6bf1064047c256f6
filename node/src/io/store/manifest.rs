//! The manifest beside the database: what was acknowledged, so that an empty success is impossible.
//!
//! Two lines of 512 bytes, each filled up with spaces and with a checksum of its own. Commits write them in turn, in place: whatever
//! becomes of one of them in a power cut, the other one says what was acknowledged before.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use accord_edge::files::{self, FileError};
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// Bytes of a line: what a disk writes whole or not at all, usually.
const LINE: usize = 512;

/// What the store must hold at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Layout of the store.
    pub(super) schema: u32,
    /// Last acknowledged commit.
    pub(super) sequence: u64,
    /// Keys in all at that commit.
    pub(super) keys: u64,
}

// A manifest with its checksum, as it stands in a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    schema: u32,
    sequence: u64,
    keys: u64,
    crc: u32,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("manifest.json")
}

impl Manifest {
    /// Reads it; `None` if there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, String> {
        match files::read_limited(&path(dir), 4096) {
            Ok(bytes) => Self::from_bytes(&bytes).map(Some).map_err(|error| format!("manifest.json: {error}")),
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    // The later of two lines, or the only one that is whole; or what stores up to layout 7 have, one object without a checksum.
    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (lines, rest) = bytes.as_chunks::<LINE>();
        if lines.len() != 2 || !rest.is_empty() {
            return serde_json::from_slice(bytes).map_err(|error| error.to_string());
        }
        let whole = lines.iter().filter_map(|line| Self::from_line(line));
        whole.max_by_key(|manifest| manifest.sequence).ok_or_else(|| "neither of its lines is whole".to_owned())
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let Line { schema, sequence, keys, crc } = serde_json::from_slice(line).ok()?;
        let manifest = Self { schema, sequence, keys };
        (manifest.crc() == crc).then_some(manifest)
    }

    fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.schema.to_be_bytes());
        hasher.update(&self.sequence.to_be_bytes());
        hasher.update(&self.keys.to_be_bytes());
        hasher.finalize()
    }

    fn line(&self) -> Vec<u8> {
        let Self { schema, sequence, keys } = *self;
        let mut line = serde_json::to_vec(&Line { schema, sequence, keys, crc: self.crc() }).unwrap_or_default();
        line.resize(LINE - 1, b' ');
        line.push(b'\n');
        line
    }

    /// Replaces it whole, durably.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Failure> {
        Ok(files::write_atomically(&path(dir), &self.line().repeat(2))?)
    }
}

/// The manifest of an open store.
#[derive(Debug)]
pub(super) struct ManifestFile {
    dir: PathBuf,
    // Both lines of it are whole; nothing before the first commit.
    file: Option<File>,
}

impl ManifestFile {
    /// Of the store in this folder.
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir, file: None }
    }

    /// Writes what is acknowledged now; durable when it returns. After a fault it must not be written again.
    pub(super) fn write(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        if let Some(file) = &self.file {
            let at = if manifest.sequence.is_multiple_of(2) { 0 } else { LINE as u64 };
            file.write_all_at(&manifest.line(), at)?;
            return Ok(file.sync_data()?);
        }
        // Whatever state the lines are in: from here on each one is whole while the other is written.
        manifest.write(&self.dir)?;
        self.file = Some(OpenOptions::new().write(true).open(path(&self.dir))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of(sequence: u64) -> Manifest {
        Manifest { schema: 8, sequence, keys: sequence * 3 }
    }

    #[test]
    fn whatever_becomes_of_the_line_that_is_written_what_was_acknowledged_before_stands() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let file = path(dir);
        let mut open = ManifestFile::new(dir.to_owned());
        open.write(&of(1)).unwrap();
        for sequence in 2..=300 {
            let before = fs::read(&file).unwrap();
            open.write(&of(sequence)).unwrap();
            let after = fs::read(&file).unwrap();
            assert_eq!(after.len(), 2 * LINE);
            assert_eq!(Manifest::read(dir).unwrap(), Some(of(sequence)));
            let differ: Vec<usize> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();
            for (cut, at) in differ.iter().enumerate() {
                let mut torn = before.clone();
                torn[differ[0]..*at].copy_from_slice(&after[differ[0]..*at]);
                if cut % 2 == 0 {
                    torn[*at] ^= 0x10;
                }
                let read = Manifest::from_bytes(&torn).unwrap();
                assert!(read == of(sequence - 1) || read == of(sequence), "{sequence}, cut at {at}: {read:?}");
            }
        }
        // As after the next start.
        ManifestFile::new(dir.to_owned()).write(&of(301)).unwrap();
        let bytes = fs::read(&file).unwrap();
        assert_eq!(bytes[..LINE], bytes[LINE..]);
    }

    #[test]
    fn what_is_no_manifest_is_not_read_as_one() {
        let two = of(7).line().repeat(2);
        assert_eq!(Manifest::from_bytes(&two), Ok(of(7)));
        assert_eq!(
            Manifest::from_bytes(br#"{"schema":7,"sequence":4,"keys":371}"#),
            Ok(Manifest { schema: 7, sequence: 4, keys: 371 })
        );
        let mut flipped = two.clone();
        for at in [12, LINE + 12] {
            flipped[at] ^= 1;
        }
        for bytes in [&[][..], &two[..LINE - 1], &two[..LINE + 3], &flipped, &[0; 2 * LINE]] {
            assert!(Manifest::from_bytes(bytes).is_err(), "{}", bytes.len());
        }
    }
}
