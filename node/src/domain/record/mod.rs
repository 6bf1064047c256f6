//! Records: what an agency holds. They exist in this crate alone and never leave it.

pub mod seizure;

use bincode::{Decode, Encode};

pub use seizure::{Seizure, SeizureLine};

/// What a file says in a cell: unknown, none, blank and a value are four different things.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub enum Stated<T> {
    /// Not stated.
    #[default]
    Blank,
    /// Asked, and not known.
    Unknown,
    /// There was none.
    Nothing,
    /// A value.
    Is(T),
}

impl<T> Stated<T> {
    /// The value, if one is stated.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Blank | Self::Unknown | Self::Nothing => None,
        }
    }
}

/// When something happened, as precisely as the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct When {
    /// Year.
    pub year: u16,
    /// Quarter, if that is all that is said; otherwise 0.
    pub quarter: u8,
    /// Month, or 0.
    pub month: u8,
    /// Day, or 0.
    pub day: u8,
}
