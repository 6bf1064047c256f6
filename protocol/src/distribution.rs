//! What a histogram of fixed bins says about how values are distributed: medians that pool, with their error.
//!
//! Bins have the same edges everywhere, so histograms of several members merge exactly and the error of a quantile is at most the
//! width of the bins it may lie in. A hidden bin holds between nothing and what its shown neighbours leave over; bounds are kept
//! for each edge, never a guess.

use crate::catalogue::Measure;

/// How many values lie below each edge, from below and from above. Distributions over the same edges form a commutative monoid under
/// [`Distribution::merge`] with [`Distribution::default`] as identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    total: i128,
    edges: Vec<u64>,
    // Values certainly below the edge.
    at_least: Vec<i128>,
    // Values possibly below the edge.
    at_most: Vec<i128>,
}

/// From `low` up to, not including, `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Lower end, in the measure's unit.
    pub low: u64,
    /// Upper end, excluded.
    pub high: u64,
}

impl Distribution {
    /// What one member's numbers say: how many values there are, then each bin, level after level; `None` for a hidden number.
    /// Nothing is known where the first number is hidden.
    pub fn of(measure: &Measure, numbers: &[Option<i64>]) -> Option<Self> {
        let total = i128::from((*numbers.first()?)?);
        let edges = measure.bins.last()?.edges.clone();
        let shown: Vec<(usize, usize, i128)> = measure
            .all_bins()
            .zip(numbers.get(1..)?)
            .filter_map(|((from, to), count)| {
                Some((edges.binary_search(&from).ok()?, edges.binary_search(&to).ok()?, i128::from((*count)?)))
            })
            .collect();
        let (at_least, at_most) = bounds(edges.len(), total, &shown)?;
        Some(Self { total, edges, at_least, at_most })
    }

    /// Puts two together. Distributions over other edges are never merged: such measures are not comparable.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        if self.edges.is_empty() {
            return other;
        }
        if other.edges != self.edges {
            return self;
        }
        self.total += other.total;
        for (mine, theirs) in self.at_least.iter_mut().zip(other.at_least) {
            *mine += theirs;
        }
        for (mine, theirs) in self.at_most.iter_mut().zip(other.at_most) {
            *mine += theirs;
        }
        self
    }

    /// How many values there are.
    pub const fn total(&self) -> i128 {
        self.total
    }

    /// Where the quantile `part / whole` lies: that of rank `ceil(total * part / whole)` from the smallest value, rank 1.
    pub fn quantile(&self, part: u8, whole: u8) -> Option<Interval> {
        if self.total == 0 {
            return None;
        }
        let rank = (self.total * i128::from(part)).div_euclid(i128::from(whole.max(1)))
            + i128::from((self.total * i128::from(part)).rem_euclid(i128::from(whole.max(1))) != 0);
        let rank = rank.max(1);
        // Fewer than `rank` values are below the edge for certain, so the value of that rank is not.
        let low = self.edges.iter().zip(&self.at_most).rev().find(|(_, most)| **most < rank).map(|(edge, _)| *edge)?;
        let high = self.edges.iter().zip(&self.at_least).find(|(_, least)| **least >= rank).map(|(edge, _)| *edge)?;
        Some(Interval { low, high })
    }

    /// Between which whole numbers the sum of all values lies; `None` if a value may lie in a bin without an upper end.
    pub fn sum(&self) -> Option<(i128, i128)> {
        let steps = |counts: &[i128]| counts.windows(2).filter_map(|pair| Some(pair.get(1)? - pair.first()?)).collect();
        let (early, late): (Vec<i128>, Vec<i128>) = (steps(&self.at_most), steps(&self.at_least));
        let low = early.iter().zip(&self.edges).map(|(count, edge)| count * i128::from(*edge)).sum();
        let mut high = 0;
        for (count, edge) in late.iter().zip(self.edges.iter().skip(1)) {
            if *count > 0 && *edge == crate::catalogue::OPEN_EDGE {
                return None;
            }
            high += count * (i128::from(*edge) - 1);
        }
        Some((low, high))
    }
}

/// The narrowest bounds on how many values lie below each edge. Each shown bin fixes the difference between the counts at its two
/// edges, counts do not fall, the first is 0 and the last the total: a system of difference constraints, whose narrowest bounds are
/// shortest paths (Bellman, "On a routing problem", 1958). `None` for numbers that contradict each other.
fn bounds(edges: usize, total: i128, shown: &[(usize, usize, i128)]) -> Option<(Vec<i128>, Vec<i128>)> {
    let mut least = vec![0; edges];
    let mut most = vec![total; edges];
    *most.first_mut()? = 0;
    *least.last_mut()? = total;
    let mut settled = false;
    // A shortest path visits each edge once at most.
    for _ in 0..=edges {
        let before = (least.clone(), most.clone());
        for (from, to, count) in shown.iter().copied() {
            let (low, high) = (*most.get(from)?, *most.get(to)?);
            *most.get_mut(to)? = high.min(low + count);
            *most.get_mut(from)? = low.min(high - count);
            let (low, high) = (*least.get(from)?, *least.get(to)?);
            *least.get_mut(to)? = high.max(low + count);
            *least.get_mut(from)? = low.max(high - count);
        }
        for index in 1..edges {
            let below = *least.get(index - 1)?;
            let here = least.get_mut(index)?;
            *here = below.max(*here);
            let above = *most.get(edges - index)?;
            let here = most.get_mut(edges - index - 1)?;
            *here = above.min(*here);
        }
        if before == (least.clone(), most.clone()) {
            settled = true;
            break;
        }
    }
    // Bounds that still move contradict each other in a circle.
    if !settled {
        return None;
    }
    least.iter().zip(&most).all(|(least, most)| least <= most).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{BinLevel, Quantity};
    use proptest::prelude::*;

    fn measure() -> Measure {
        let level = |step: usize| BinLevel {
            name: step.to_string(),
            edges: (0..=40).step_by(step).map(|edge| edge * 10).collect(),
        };
        Measure {
            id: "purity".into(),
            of: Quantity::Histogram,
            unit: "1".into(),
            step: 1,
            basis: String::new(),
            note: String::new(),
            bins: vec![level(20), level(10), level(5)],
        }
    }

    // Counts of values in every bin, and the given bins hidden.
    fn numbers(values: &[u64], hidden: &[usize]) -> Vec<Option<i64>> {
        let bins = measure();
        let counts =
            bins.all_bins().map(|(from, to)| values.iter().filter(|value| (from..to).contains(*value)).count());
        std::iter::once(values.len())
            .chain(counts)
            .enumerate()
            .map(|(index, count)| (!hidden.contains(&index)).then(|| i64::try_from(count).unwrap()))
            .collect()
    }

    #[test]
    fn a_whole_histogram_gives_quantiles_to_one_bin() {
        let values = [10, 60, 60, 110, 120, 130, 210, 390];
        let all = Distribution::of(&measure(), &numbers(&values, &[])).unwrap();
        assert_eq!(all.quantile(1, 2), Some(Interval { low: 100, high: 150 }));
        assert_eq!(all.quantile(1, 4), Some(Interval { low: 50, high: 100 }));
        assert_eq!(all.quantile(3, 4), Some(Interval { low: 100, high: 150 }));
        let (low, high) = all.sum().unwrap();
        assert!((low..=high).contains(&i128::from(values.iter().sum::<u64>())));
        assert!(Distribution::of(&measure(), &numbers(&values, &[0])).is_none());
        assert_eq!(Distribution::of(&measure(), &numbers(&[], &[])).unwrap().quantile(1, 2), None);
    }

    #[test]
    fn a_hidden_bin_widens_the_interval_and_its_parent_narrows_it_again() {
        let values = [10, 60, 60, 110, 120, 130, 210, 390];
        // Numbers 3.. are the bins of 10 (4 of them), 7.. those of 5 (8 of them): hide 100-150 and 150-200.
        let by_parent = Distribution::of(&measure(), &numbers(&values, &[9, 10])).unwrap();
        assert_eq!(by_parent.quantile(1, 2), Some(Interval { low: 100, high: 200 }));
        let by_grandparent = Distribution::of(&measure(), &numbers(&values, &[4, 9, 10])).unwrap();
        assert_eq!(by_grandparent.quantile(1, 2), Some(Interval { low: 100, high: 200 }));
        let nothing: Vec<usize> = (1..15).collect();
        let only_total = Distribution::of(&measure(), &numbers(&values, &nothing)).unwrap();
        assert_eq!(only_total.quantile(1, 2), Some(Interval { low: 0, high: 400 }));
    }

    proptest! {
        #[test]
        fn the_true_quantile_is_inside_whatever_is_hidden(
            values in prop::collection::vec(0u64..400, 1..40),
            more in prop::collection::vec(0u64..400, 0..40),
            hidden in prop::collection::vec(1usize..15, 0..14),
            also in prop::collection::vec(1usize..15, 0..14),
        ) {
            let one = Distribution::of(&measure(), &numbers(&values, &hidden)).unwrap();
            let other = Distribution::of(&measure(), &numbers(&more, &also)).unwrap();
            let both = one.clone().merge(other.clone());
            prop_assert_eq!(&both, &other.merge(one.clone()));
            prop_assert_eq!(&Distribution::default().merge(one.clone()), &one);
            let mut sorted = [values, more].concat();
            sorted.sort_unstable();
            for (part, whole) in [(1u8, 4u8), (1, 2), (3, 4)] {
                let rank = (sorted.len() * usize::from(part)).div_ceil(usize::from(whole)).max(1);
                let interval = both.quantile(part, whole).unwrap();
                prop_assert!((interval.low..interval.high).contains(&sorted[rank - 1]), "{interval:?} {sorted:?}");
            }
            let (low, high) = both.sum().unwrap();
            prop_assert!((low..=high).contains(&i128::from(sorted.iter().sum::<u64>())));
        }
    }
}
