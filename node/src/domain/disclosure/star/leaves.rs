//! The leaves of a table's dimensions, cut off at its finest levels, and where a line stands among them.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    catalogue::Axis,
    time::{Period, TimeLevel},
};

use crate::domain::contribution::Contribution;

// The leaves of one dimension of one table, cut off at the finest level that the table has.
pub(super) struct Leaves {
    // For each leaf, the number of its ancestor at each level, itself included.
    ancestors: Vec<Vec<Option<u32>>>,
    // Leaf of the kind's contributions to leaf of the table. Empty for time.
    of_contribution: Vec<Option<u32>>,
    // For time: the periods.
    periods: Vec<Period>,
    slot: Option<usize>,
}

impl Leaves {
    pub(super) fn time(finest: u8, year: u16, published: &dyn Fn(Period) -> bool) -> Self {
        let level = TimeLevel::from_number(finest).unwrap_or(TimeLevel::Year);
        let all: Vec<Period> =
            TimeLevel::ALL.iter().filter(|of| **of <= level).flat_map(|of| Period::of_year(year, *of)).collect();
        let inner: BTreeSet<Period> = all.iter().filter_map(|period| period.parent()).collect();
        let periods: Vec<Period> =
            all.into_iter().filter(|period| !inner.contains(period) && published(*period)).collect();
        let ancestors = periods
            .iter()
            .map(|leaf| {
                let mut found = vec![None; TimeLevel::ALL.len()];
                let mut at = Some(*leaf);
                while let Some(period) = at {
                    if let Some(slot) = found.get_mut(usize::from(period.level().number())) {
                        *slot = published(period).then(|| period.number());
                    }
                    at = period.parent();
                }
                found
            })
            .collect();
        Self { ancestors, of_contribution: Vec::new(), periods, slot: None }
    }

    pub(super) fn codes(axis: &Axis, finest: u8, slot: Option<usize>) -> Self {
        let Axis::Codes(tree) = axis else {
            return Self { ancestors: Vec::new(), of_contribution: Vec::new(), periods: Vec::new(), slot };
        };
        let cut = |mut at: usize| loop {
            let code = tree.get(at)?;
            if code.level <= finest {
                return Some(at);
            }
            at = code.parent?;
        };
        let mut positions: BTreeMap<usize, u32> = BTreeMap::new();
        for leaf in (0..tree.codes().len()).filter(|index| !tree.is_inner(*index)).filter_map(cut) {
            let next = u32::try_from(positions.len()).unwrap_or(u32::MAX);
            positions.entry(leaf).or_insert(next);
        }
        let of_contribution =
            (0..tree.codes().len()).map(|leaf| cut(leaf).and_then(|leaf| positions.get(&leaf).copied())).collect();
        let mut leaves: Vec<(usize, u32)> = positions.into_iter().collect();
        leaves.sort_by_key(|(_, position)| *position);
        let ancestors = leaves
            .iter()
            .map(|(leaf, _)| {
                (0..=finest)
                    .map(|level| {
                        tree.ancestor_at(*leaf, level).and_then(|found| tree.get(found)).map(|code| code.number)
                    })
                    .collect()
            })
            .collect();
        Self { ancestors, of_contribution, periods: Vec::new(), slot }
    }

    pub(super) fn len(&self) -> usize {
        self.ancestors.len()
    }

    // All ancestors of a leaf, the leaf included.
    pub(super) fn above(&self, leaf: usize) -> impl Iterator<Item = u32> {
        self.ancestors.get(leaf).into_iter().flatten().filter_map(|number| *number)
    }

    pub(super) fn at(&self, leaf: usize, level: u8) -> Option<u32> {
        self.ancestors.get(leaf)?.get(usize::from(level)).copied().flatten()
    }

    pub(super) fn of(&self, contribution: &Contribution) -> Option<usize> {
        if self.periods.is_empty() {
            let leaf = contribution.leaves.get(self.slot?)?;
            return self.of_contribution.get(usize::from(*leaf)).copied().flatten().map(|leaf| leaf as usize);
        }
        let mut at = contribution.period;
        loop {
            if let Some(found) = self.periods.iter().position(|period| *period == at) {
                return Some(found);
            }
            at = at.parent()?;
        }
    }
}
