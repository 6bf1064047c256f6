//! Revising what was published: which lines came and went since a vintage, and which numbers may therefore be put right.
//!
//! Whoever has both vintages sees the difference of every number that is put right, so the differences are a table like any other:
//! lines added and removed, protected and audited by the same rules (`disclosure.md` A.1, Time). What an attacker may think possible
//! are fewer added lines in one place and more in another, never that more was taken away than was.

use std::collections::HashMap;

use accord_protocol::{
    catalogue::{Kind, Quantity, Table},
    edition::Layout,
    time::Period,
};
use bincode::{Decode, Encode};

use super::{
    amount::Amount,
    contribution::{Contribution, Contributions, LEAVES},
    disclosure::Reason,
    import::index::Digest,
    tabulate::{Cell, tabulate},
};

/// How often numbers of a kind and year are published, at most: first, revised, final.
pub const VINTAGES_MAX: usize = 3;

/// The name of cases that were erased: all of them count as one.
const ERASED: Digest = [0; 16];

/// One line that a vintage was made from. Kept by the node, to tell what changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct HeldLine {
    /// Its case, as a digest of its name.
    pub case: Digest,
    /// Number of its period.
    pub period: u32,
    /// Leaf of each dimension of its kind.
    pub leaves: [u16; LEAVES],
    /// Its amount.
    pub amount: Option<Amount>,
    /// Its value.
    pub value: Option<u64>,
}

impl HeldLine {
    fn counted(&self, cases: &mut HashMap<Digest, u32>) -> Option<Contribution> {
        let next = u32::try_from(cases.len()).unwrap_or(u32::MAX);
        let case = *cases.entry(self.case).or_insert(next);
        let period = Period::from_number(self.period)?;
        Some(Contribution { case, period, leaves: self.leaves, amount: self.amount, value: self.value })
    }

    /// Forgets the case, if it is this one; whether it was.
    pub fn forget(&mut self, case: Digest) -> bool {
        let is_it = self.case == case;
        if is_it {
            self.case = ERASED;
        }
        is_it
    }
}

/// Lines as they count, each with a number for its case.
pub fn contributions(held: &[HeldLine]) -> Vec<Contribution> {
    let mut cases = HashMap::new();
    held.iter().filter_map(|line| line.counted(&mut cases)).collect()
}

/// What came and what went between two sets of lines. A line that was corrected did both.
#[derive(Debug, Default)]
pub struct Changes {
    added: Vec<Contribution>,
    removed: Vec<Contribution>,
}

impl Changes {
    /// Compares. Both sets are sorted.
    pub fn between(before: &[HeldLine], now: &[HeldLine]) -> Self {
        let mut cases: HashMap<Digest, u32> = HashMap::new();
        let mut line = |held: &HeldLine| held.counted(&mut cases);
        let mut changes = Self::default();
        let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => return changes,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(before), Some(now)) => before.cmp(now),
            };
            match order {
                std::cmp::Ordering::Less => changes.removed.extend(before.next().and_then(&mut line)),
                std::cmp::Ordering::Greater => changes.added.extend(now.next().and_then(&mut line)),
                std::cmp::Ordering::Equal => {
                    before.next();
                    now.next();
                }
            }
        }
    }

    /// Lines that came.
    pub fn added(&self) -> &[Contribution] {
        &self.added
    }

    /// How many came and went.
    pub fn counts(&self) -> (usize, usize) {
        (self.added.len(), self.removed.len())
    }

    /// The change table: amounts are those of added lines, cases those of added and removed ones. A sum of which something was taken
    /// away is unsafe, whatever was added.
    pub fn cells(&self, table: &Table, layout: &Layout, kind: Kind, year: u16) -> Vec<Cell> {
        let added = Contributions::of_lines(kind, year, self.added.clone());
        let mut cells = tabulate(table, layout, &added, year);
        let all = Contributions::of_lines(kind, year, [self.added.clone(), self.removed.clone()].concat());
        for (cell, all) in cells.iter_mut().zip(tabulate(table, layout, &all, year)) {
            cell.cases = all.cases;
            cell.values.cases = all.values.cases;
            for (bin, all) in cell.bins.iter_mut().flatten().zip(all.bins.iter().flatten()) {
                bin.cases = all.cases;
            }
            for (magnitude, all) in cell.magnitudes.iter_mut().zip(&all.magnitudes) {
                if magnitude != all {
                    magnitude.contributors = 0;
                }
            }
        }
        cells
    }
}

/// Whether a number of a cell is a sum of amounts.
pub fn is_sum(table: &Table, within: usize) -> bool {
    let sums = [Quantity::MassMg, Quantity::Tablets, Quantity::Doses, Quantity::VolumeMl];
    let measures = table.measures.iter().enumerate().filter(|(_, measure)| sums.contains(&measure.of));
    measures.into_iter().any(|(index, _)| table.numbers_of(index).contains(&within))
}

/// Makes the change of a number unsafe, whatever it is: its protection rests on it.
pub fn make_unsafe(cell: &mut Cell, table: &Table, within: usize) {
    let Some(index) = (0..table.measures.len()).find(|index| table.numbers_of(*index).contains(&within)) else {
        return;
    };
    match table.measures.get(index).map(|measure| measure.of) {
        Some(Quantity::LinesMeasured | Quantity::Mean | Quantity::Histogram) => {
            cell.values.cases = 0;
            cell.bins.iter_mut().flatten().for_each(|bin| bin.cases = 0);
        }
        Some(Quantity::MassMg | Quantity::Tablets | Quantity::Doses | Quantity::VolumeMl) => {
            if let Some(magnitude) = cell.magnitudes.get_mut(index) {
                magnitude.contributors = 0;
            }
        }
        Some(Quantity::Lines | Quantity::LinesWeighed | Quantity::Cases) | None => cell.cases = 0,
    }
}

/// What becomes of a number of a block that is revised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revised {
    /// It shows what the records say now.
    Anew,
    /// It shows what it showed: its change is hidden.
    Stays,
    /// It is hidden.
    Hidden(Reason),
}

/// Decides: what was said before (`None` if the number was not available), why the records as they are keep it back, and whether its
/// change may be seen.
pub const fn revised(before: Option<bool>, now: Option<Reason>, change_is_seen: bool) -> Revised {
    match (before, now) {
        (Some(false), Some(reason)) => Revised::Hidden(reason),
        // What was hidden stays hidden.
        (Some(false), None) => Revised::Hidden(Reason::Carried),
        (Some(true), Some(reason @ (Reason::TooFewCases | Reason::Dominated | Reason::PPercent))) => {
            Revised::Hidden(reason)
        }
        (Some(true), Some(Reason::ProtectsAnother | Reason::Carried)) => Revised::Stays,
        (Some(true), None) if !change_is_seen => Revised::Stays,
        (None, Some(reason)) => Revised::Hidden(reason),
        (None, None) if !change_is_seen => Revised::Hidden(Reason::ProtectsAnother),
        (Some(true) | None, None) => Revised::Anew,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(case: u8, month: u8) -> HeldLine {
        HeldLine {
            case: [case; 16],
            period: Period::Month(2024, month).number(),
            leaves: [0; LEAVES],
            amount: None,
            value: None,
        }
    }

    #[test]
    fn a_corrected_line_goes_and_comes_and_erased_cases_are_one() {
        let before = [held(0, 3), held(0, 4), held(1, 1), held(2, 2), held(2, 2)];
        let now = [held(1, 1), held(2, 2), held(2, 3), held(3, 3)];
        let changes = Changes::between(&before, &now);
        let show = |lines: &[Contribution]| lines.iter().map(|line| (line.case, line.period)).collect::<Vec<_>>();
        let month = |month| Period::Month(2024, month);
        assert_eq!(show(&changes.removed), [(0, month(3)), (0, month(4)), (1, month(2))]);
        assert_eq!(show(changes.added()), [(1, month(3)), (2, month(3))]);
        assert_eq!(Changes::between(&now, &now).counts(), (0, 0));
    }

    #[test]
    fn what_becomes_of_a_number() {
        use Reason::{Carried, ProtectsAnother, TooFewCases};
        let table = [
            (Some(true), None, true, Revised::Anew),
            (Some(true), None, false, Revised::Stays),
            (Some(true), Some(ProtectsAnother), true, Revised::Stays),
            (Some(true), Some(TooFewCases), true, Revised::Hidden(TooFewCases)),
            (Some(true), Some(TooFewCases), false, Revised::Hidden(TooFewCases)),
            (Some(false), None, true, Revised::Hidden(Carried)),
            (Some(false), Some(TooFewCases), true, Revised::Hidden(TooFewCases)),
            (None, None, true, Revised::Anew),
            (None, None, false, Revised::Hidden(ProtectsAnother)),
            (None, Some(TooFewCases), true, Revised::Hidden(TooFewCases)),
        ];
        for (before, now, seen, what) in table {
            assert_eq!(revised(before, now, seen), what, "{before:?} {now:?} {seen}");
        }
    }
}
