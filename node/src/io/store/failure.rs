//! What went wrong while the store was written or opened, and whether it was for want of room.

use std::{fmt, io};

use accord_edge::files::FileError;
use accord_protocol::text::with_causes;

use super::{StoreError, room::is_full};

/// A failure of sled's, or of a file beside it.
#[derive(Debug)]
pub(super) struct Failure {
    what: String,
    is_full: bool,
}

impl Failure {
    /// One that has nothing to do with room.
    pub(super) fn other(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), is_full: false }
    }

    /// Whether there was no room.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<sled::Error> for Failure {
    fn from(error: sled::Error) -> Self {
        let is_full = matches!(&error, sled::Error::Io(error) if is_full(error));
        Self { what: error.to_string(), is_full }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { what: error.to_string(), is_full: is_full(&error) }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let is_full = matches!(&error, FileError::Io { source, .. } if is_full(source));
        Self { what: with_causes(&error), is_full }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}

/// A write that failed in the middle.
impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        if failure.is_full { Self::Interrupted(failure.what) } else { Self::Broken(failure.what) }
    }
}
