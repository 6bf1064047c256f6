//! What may leave. This is the only place that makes a released cell (a tidy test counts the callers).
//!
//! Here: the primary rules, on cases. Complementary suppression and the rule over time come later; until then an edition says
//! `primary-only`, because a hidden cell can be recomputed by subtraction.

mod primary;

use accord_protocol::{
    catalogue::{Measure, Quantity},
    cell::Released,
    codec::encode,
    id::Hash,
};
use bincode::{Decode, Encode};

use super::tabulate::Cell;

/// The lowest threshold that this program accepts, whatever the configuration says.
pub const K_FLOOR: u32 = 3;

accord_protocol::codes! {
    /// Whether empty cells are shown.
    pub enum Zeros: u8 {
        /// A zero is unsafe like one to four.
        Hidden = 1 "hidden",
        /// Zeros are shown.
        Shown = 2 "shown",
    }
}

accord_protocol::codes! {
    /// Why a number is kept back; for the operator alone, never on the wire.
    pub enum Reason: u8 {
        /// Fewer cases than the threshold.
        TooFewCases = 1 "too_few_cases",
        /// One case makes up more than the dominance share.
        Dominated = 2 "dominated",
        /// The second largest case could work out the largest.
        PPercent = 3 "p_percent",
        /// Protects another cell.
        ProtectsAnother = 4 "protects_another",
        /// Carried over from an earlier edition.
        Carried = 5 "carried",
    }
}

/// The protection rules of an edition. Values that weaken protection below the floor do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rules {
    k: u32,
    p_percent: u32,
    dominance_percent: u32,
    zeros: Zeros,
}

/// Why numbers are not protection rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// The threshold is below the floor.
    #[error("k = {0} is below {K_FLOOR}, the lowest threshold that this program accepts")]
    Threshold(u32),
    /// Not a share.
    #[error("{0} is not a percentage from 1 to 100")]
    Percent(u32),
}

impl Rules {
    /// Makes rules: threshold in cases, p% rule, dominance share of the largest case.
    pub fn new(k: u32, p_percent: u32, dominance_percent: u32, zeros: Zeros) -> Result<Self, BadRules> {
        if k < K_FLOOR {
            return Err(BadRules::Threshold(k));
        }
        if let Some(bad) = [p_percent, dominance_percent].into_iter().find(|percent| !(1..=100).contains(percent)) {
            return Err(BadRules::Percent(bad));
        }
        Ok(Self { k, p_percent, dominance_percent, zeros })
    }

    /// The shipped defaults: 5 cases, 15 %, 75 %, zeros hidden.
    pub const DEFAULT: Self = Self { k: 5, p_percent: 15, dominance_percent: 75, zeros: Zeros::Hidden };

    /// The threshold in cases.
    pub const fn k(&self) -> u32 {
        self.k
    }

    /// The p of the p% rule.
    pub const fn p_percent(&self) -> u32 {
        self.p_percent
    }

    /// The largest share that one case may have.
    pub const fn dominance_percent(&self) -> u32 {
        self.dominance_percent
    }

    /// Whether zeros are shown.
    pub const fn zeros(&self) -> Zeros {
        self.zeros
    }

    /// SHA-256 of the rules, as editions name them.
    pub fn hash(&self) -> Hash {
        Hash::of(&encode(self).unwrap_or_default())
    }
}

/// What becomes of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may leave.
    Release(Released),
    /// It is kept back.
    Suppress(Reason),
}

/// Decides one number of one cell and rounds it to its measure's step, half up.
pub fn review(cell: &Cell, index: usize, measure: &Measure, rules: &Rules) -> Outcome {
    if let Err(reason) = primary::count_is_safe(cell, rules) {
        return Outcome::Suppress(reason);
    }
    let number = match measure.of {
        Quantity::Lines => u128::from(cell.lines),
        Quantity::LinesWeighed => u128::from(cell.lines_weighed),
        Quantity::Cases => u128::from(cell.cases),
        Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl => {
            let Some(magnitude) = cell.magnitudes.get(index) else { return Outcome::Suppress(Reason::TooFewCases) };
            if let Err(reason) = primary::magnitude_is_safe(cell, magnitude, rules) {
                return Outcome::Suppress(reason);
            }
            magnitude.sum
        }
    };
    let step = u128::from(measure.step);
    let rounded = (number + step / 2) / step * step;
    match u64::try_from(rounded).ok().and_then(Released::release) {
        Some(released) => Outcome::Release(released),
        // A sum beyond what a cell can hold is a fault in the data; nothing that is not understood leaves.
        None => Outcome::Suppress(Reason::Dominated),
    }
}
