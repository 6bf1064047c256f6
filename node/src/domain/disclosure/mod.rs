//! What may leave. This is the only place that makes a released cell (a tidy test counts the callers).
//!
//! Here: the primary rules, on cases. Complementary suppression and the rule over time come later; until then an edition says
//! `primary-only`, because a hidden cell can be recomputed by subtraction.

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

/// Decides the numbers of one measure of one cell: one for counts and sums, rounded to the measure's step, half up; lines and sum of a
/// mean; lines and bins of a histogram.
///
/// `finer` says whether a bin below the coarsest level is shown for the same lines: then there is no exact mean beside it.
pub fn review(cell: &Cell, index: usize, measure: &Measure, rules: &Rules, finer: FinerBins) -> Vec<Outcome> {
    let all = |reason| vec![Outcome::Suppress(reason); measure.width()];
    if let Err(reason) = primary::count_is_safe(cell, rules) {
        return all(reason);
    }
    let number = match measure.of {
        Quantity::Lines => u128::from(cell.lines),
        Quantity::LinesWeighed => u128::from(cell.lines_weighed),
        Quantity::LinesMeasured => u128::from(cell.values.lines),
        Quantity::Cases => u128::from(cell.cases),
        Quantity::Mean => return mean(cell, measure, rules, finer).unwrap_or_else(all),
        Quantity::Histogram => return histogram(cell, index, rules).unwrap_or_else(all),
        Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl => {
            let Some(magnitude) = cell.magnitudes.get(index) else { return all(Reason::TooFewCases) };
            if let Err(reason) = primary::magnitude_is_safe(cell, magnitude, rules) {
                return all(reason);
            }
            magnitude.sum
        }
    };
    vec![release(rounded(number, measure.step))]
}

/// Whether bins below the coarsest level of a histogram are shown for the lines of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinerBins {
    /// None is.
    Hidden,
    /// At least one is.
    Shown,
}

/// Whether a cell shows a bin below the coarsest level of a histogram, the `index`-th measure of its table.
pub fn finer_bins(cell: &Cell, index: usize, measure: &Measure, rules: &Rules) -> FinerBins {
    let coarsest = 1 + measure.bins.first().map_or(0, |level| level.bins().count());
    let shown = |outcome: &Outcome| matches!(outcome, Outcome::Release(_));
    let outcomes = review(cell, index, measure, rules, FinerBins::Hidden);
    if outcomes.iter().skip(coarsest).any(shown) { FinerBins::Shown } else { FinerBins::Hidden }
}

// The mean in steps of the measure, and the sum that goes with it: what is published is not finer than the mean.
fn mean(cell: &Cell, measure: &Measure, rules: &Rules, finer: FinerBins) -> Result<Vec<Outcome>, Reason> {
    let values = &cell.values;
    if values.cases < MEAN_CASES_MIN.max(u64::from(rules.k())) || values.lines == 0 {
        return Err(Reason::TooFewCases);
    }
    match finer {
        FinerBins::Shown => return Err(Reason::ProtectsAnother),
        FinerBins::Hidden => {}
    }
    let (lines, step) = (u128::from(values.lines), u128::from(measure.step));
    // Half up, in one division: the exact sum over lines times step.
    let mean = (values.sum * 2 + lines * step) / (lines * step * 2) * step;
    Ok(vec![release(lines), release(mean * lines)])
}

// The lines with a value, then each bin: a count cell of its own under the threshold rule.
fn histogram(cell: &Cell, index: usize, rules: &Rules) -> Result<Vec<Outcome>, Reason> {
    primary::threshold(cell.values.cases, rules)?;
    let bins = cell.bins.get(index).map_or(&[] as &[_], Vec::as_slice);
    Ok(std::iter::once(release(u128::from(cell.values.lines)))
        .chain(bins.iter().map(|bin| match primary::threshold(bin.cases, rules) {
            Ok(()) => release(u128::from(bin.lines)),
            Err(reason) => Outcome::Suppress(reason),
        }))
        .collect())
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
