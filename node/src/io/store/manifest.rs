//! The manifest beside the database: what was acknowledged, so that an empty success is impossible.

use std::path::{Path, PathBuf};

use accord_edge::files::{self, FileError};
use serde::{Deserialize, Serialize};

use super::failure::Failure;

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

fn path(dir: &Path) -> PathBuf {
    dir.join("manifest.json")
}

impl Manifest {
    /// Reads it; `None` if there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, String> {
        match files::read_limited(&path(dir), 4096) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("manifest.json: {error}")),
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Replaces it, durably.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).map_err(Failure::other)?;
        Ok(files::write_atomically(&path(dir), &text)?)
    }
}
