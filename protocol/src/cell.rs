//! The released cell and its states.

use std::fmt;

crate::codes! {
    /// State of a number in an edition, as it travels.
    pub enum State: u8 {
        /// The number is there.
        Value = 1 "value",
        /// Disclosure control keeps it back.
        Suppressed = 2 "suppressed",
        /// The provider declares no complete data for the period.
        NotAvailable = 3 "not_available",
    }
}

/// Largest number of a cell: what every JSON reader holds exactly.
pub const NUMBER_MAX: i64 = (1 << 53) - 1;

/// Bytes of one number in a slice: state and `i64`.
pub const CELL_LEN: usize = 9;

/// One number that disclosure control let out, or the statement that there is none.
///
/// [`Released::release`] has exactly one caller outside tests, `node::domain::disclosure` (a tidy test counts); numbers read
/// from a slice come in through [`Released::from_bytes`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Released {
    state: State,
    number: i64,
}

/// A slice holds a cell that no edition can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cell: unknown state, a number without the state `value`, or a negative number")]
pub struct NotACell;

impl Released {
    /// Kept back.
    pub const SUPPRESSED: Self = Self { state: State::Suppressed, number: 0 };
    /// Outside what the provider covers.
    pub const NOT_AVAILABLE: Self = Self { state: State::NotAvailable, number: 0 };

    /// Lets a number out. Only `node::domain::disclosure` may call this; counts and sums are never negative.
    pub fn release(number: u64) -> Option<Self> {
        i64::try_from(number)
            .ok()
            .filter(|number| *number <= NUMBER_MAX)
            .map(|number| Self { state: State::Value, number })
    }

    /// Its state.
    pub const fn state(self) -> State {
        self.state
    }

    /// The number, if the state is [`State::Value`].
    pub const fn number(self) -> Option<i64> {
        match self.state {
            State::Value => Some(self.number),
            State::Suppressed | State::NotAvailable => None,
        }
    }

    /// As it stands in a slice.
    pub fn to_bytes(self) -> [u8; CELL_LEN] {
        let mut bytes = [0; CELL_LEN];
        bytes[0] = self.state.number();
        if let Some(number) = bytes.last_chunk_mut::<8>() {
            *number = self.number.to_be_bytes();
        }
        bytes
    }

    /// Reads one cell of a slice.
    pub fn from_bytes([state, number @ ..]: [u8; CELL_LEN]) -> Result<Self, NotACell> {
        let state = State::from_number(state).ok_or(NotACell)?;
        let number = i64::from_be_bytes(number);
        let fits = match state {
            State::Value => (0..=NUMBER_MAX).contains(&number),
            State::Suppressed | State::NotAvailable => number == 0,
        };
        if fits { Ok(Self { state, number }) } else { Err(NotACell) }
    }
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "{}", self.state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_one_spelling() {
        for cell in [
            Released::SUPPRESSED,
            Released::NOT_AVAILABLE,
            Released::release(0).unwrap(),
            Released::release(1098).unwrap(),
        ] {
            assert_eq!(Released::from_bytes(cell.to_bytes()), Ok(cell));
        }
        assert_eq!(Released::release(5).unwrap().to_bytes(), [1, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(Released::SUPPRESSED.to_bytes(), [2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(Released::release(u64::MAX).is_none() && Released::release(1 << 53).is_none());
    }

    #[test]
    fn what_no_edition_can_hold_is_not_read() {
        for bytes in [
            [0, 0, 0, 0, 0, 0, 0, 0, 0],
            [4, 0, 0, 0, 0, 0, 0, 0, 0],
            [2, 0, 0, 0, 0, 0, 0, 0, 3],
            [1, 0xff, 0, 0, 0, 0, 0, 0, 3],
            [1, 0, 0x20, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Released::from_bytes(bytes), Err(NotACell));
        }
    }
}
