//! What may leave. This is the only place that makes a released cell (a tidy test counts the callers).
//!
//! The primary rules say which numbers are unsafe; the chooser hides more, so that nobody can work them out; the auditor checks that
//! without trusting the chooser (`docs/disclosure.md`).

pub mod audit;
pub mod chooser;
mod primary;
pub mod protect;
pub mod star;

use accord_protocol::{
    catalogue::{Measure, Quantity},
    cell::Released,
    codec::encode,
    id::Hash,
};
use bincode::{Decode, Encode};

use super::tabulate::Cell;

const MILLIGRAMS_PER_KG: u128 = 1_000_000;

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

    /// The same rules with zeros hidden: that nothing changed is no less a secret than that little did.
    #[must_use]
    pub const fn hiding_zeros(self) -> Self {
        Self { zeros: Zeros::Hidden, ..self }
    }

    /// Whether nothing may leave under these rules that must not under others.
    pub fn is_no_weaker_than(&self, other: &Self) -> bool {
        self.k >= other.k
            && self.p_percent >= other.p_percent
            && self.dominance_percent <= other.dominance_percent
            && (self.zeros == Zeros::Hidden || other.zeros == Zeros::Shown)
    }

    /// Whether zeros are shown.
    pub const fn zeros(&self) -> Zeros {
        self.zeros
    }

    /// How far apart the smallest and the largest value of a protected count must stay, in lines (`disclosure.md` A.1, Protected).
    pub const fn width(&self) -> u32 {
        match self.zeros {
            Zeros::Hidden => self.k,
            Zeros::Shown if self.k > 4 => self.k - 2,
            Zeros::Shown => 2,
        }
    }

    /// How far a protected sum must be free to move up, and down unless it reaches zero: p % of its largest part, at least a
    /// kilogram, or one step of what is not weighed.
    pub fn reach(&self, largest: u128, quantity: Quantity, step: u64) -> u128 {
        let quantum = if quantity == Quantity::MassMg { MILLIGRAMS_PER_KG } else { u128::from(step) };
        (largest * u128::from(self.p_percent)).div_ceil(100).max(quantum)
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

/// Cases behind an exact mean, at least (`disclosure.md` A.1, Purity and price).
pub const MEAN_CASES_MIN: u64 = 20;

/// The numbers of one measure of one cell that was decided: one for counts and sums, rounded to the measure's step, half up; lines and
/// sum of a mean; lines and bins of a histogram. `kept` says for each why it is kept back.
pub fn outcomes(cell: &Cell, index: usize, measure: &Measure, kept: &[Option<Reason>]) -> Vec<Outcome> {
    let outcome = |(number, kept): (u128, &Option<Reason>)| match kept {
        Some(reason) => Outcome::Suppress(*reason),
        None => release(number),
    };
    let numbers = numbers(cell, index, measure);
    numbers.into_iter().zip(kept).map(outcome).collect()
}

/// The same for a table without margins, which is linked to nothing: the primary rules alone decide. A measure that has parts would
/// be linked to itself; it is kept back.
pub fn alone(cell: &Cell, index: usize, measure: &Measure, rules: &Rules) -> Vec<Outcome> {
    let kept = match measure.of {
        Quantity::Lines | Quantity::LinesWeighed | Quantity::LinesMeasured | Quantity::Cases => {
            primary::count_is_safe(cell, rules).err()
        }
        Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl => {
            let magnitude = cell.magnitudes.get(index).copied().unwrap_or_default();
            primary::count_is_safe(cell, rules).and_then(|()| primary::magnitude_is_safe(cell, &magnitude, rules)).err()
        }
        Quantity::Mean | Quantity::Histogram => Some(Reason::ProtectsAnother),
    };
    outcomes(cell, index, measure, &vec![kept; measure.width()])
}

fn numbers(cell: &Cell, index: usize, measure: &Measure) -> Vec<u128> {
    let values = &cell.values;
    match measure.of {
        Quantity::Lines => vec![u128::from(cell.lines)],
        Quantity::LinesWeighed => vec![u128::from(cell.lines_weighed)],
        Quantity::LinesMeasured => vec![u128::from(values.lines)],
        Quantity::Cases => vec![u128::from(cell.cases)],
        Quantity::Mean => {
            let (lines, step) = (u128::from(values.lines), u128::from(measure.step));
            // Half up, in one division: the exact sum over lines times step. The sum goes with it: what is published is not finer
            // than the mean.
            let mean = (values.sum * 2 + lines * step).checked_div(lines * step * 2).unwrap_or(0) * step;
            vec![lines, mean * lines]
        }
        Quantity::Histogram => {
            let bins = cell.bins.get(index).map_or(&[] as &[_], Vec::as_slice);
            std::iter::once(values.lines).chain(bins.iter().map(|bin| bin.lines)).map(u128::from).collect()
        }
        Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl => {
            vec![rounded(cell.magnitudes.get(index).map_or(0, |magnitude| magnitude.sum), measure.step)]
        }
    }
}

fn rounded(number: u128, step: u64) -> u128 {
    let step = u128::from(step);
    (number + step / 2) / step * step
}

fn release(number: u128) -> Outcome {
    match u64::try_from(number).ok().and_then(Released::release) {
        Some(released) => Outcome::Release(released),
        // A number beyond what a cell can hold is a fault in the data; nothing that is not understood leaves.
        None => Outcome::Suppress(Reason::Dominated),
    }
}

#[cfg(test)]
mod specimen;
