//! Typed access to the mark that the clock must not fall behind.

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};
use crate::domain::clock_mark::Mark;

impl Batch {
    /// Keeps the mark.
    pub fn put_clock_mark(&mut self, mark: &Mark) {
        self.put(key(KeyKind::ClockMark, &[]), &to_bytes(mark));
    }
}

impl Store {
    /// The mark, if there ever was one.
    pub fn clock_mark(&self) -> Result<Option<Mark>, StoreError> {
        self.scan(KeyKind::ClockMark).next().map(|entry| decoded(&entry?.1, "the clock's mark")).transpose()
    }
}
