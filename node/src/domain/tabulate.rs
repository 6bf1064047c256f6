//! Lines to cells: for each cell of a table and block, what the protection rules need to know.

use accord_protocol::{
    catalogue::{Axis, LevelSet, Quantity, Table},
    edition::Layout,
    time::{Period, TimeLevel},
};

use super::contribution::{Contribution, Contributions, part, positions, slot};

/// A magnitude of a cell before protection: the sum, and the parts of its largest contributors (cases).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Magnitude {
    /// Sum over all cases.
    pub sum: u128,
    /// Cases with a part above zero.
    pub contributors: u64,
    /// The largest part.
    pub largest: u128,
    /// The second largest part.
    pub second: u128,
}

impl Magnitude {
    fn add_case(&mut self, part: u128) {
        if part == 0 {
            return;
        }
        self.sum += part;
        self.contributors += 1;
        if part > self.largest {
            self.second = self.largest;
            self.largest = part;
        } else if part > self.second {
            self.second = part;
        }
    }
}

/// How many lie in one bin of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Distinct cases.
    pub cases: u64,
    /// Lines.
    pub lines: u64,
}

/// The values of a cell before protection: purities or prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values {
    /// Distinct cases with a value.
    pub cases: u64,
    /// Lines with a value.
    pub lines: u64,
    /// Their exact sum.
    pub sum: u128,
}

/// A cell before protection. It does not implement `Encode`: only disclosure control makes something of it that can leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// Distinct cases.
    pub cases: u64,
    /// Lines.
    pub lines: u64,
    /// Lines with a mass.
    pub lines_weighed: u64,
    /// One for each measure of the table; empty for counts.
    pub magnitudes: Vec<Magnitude>,
    /// What its lines' values come to.
    pub values: Values,
    /// The bins of each measure of the table; empty for what is no histogram.
    pub bins: Vec<Vec<Tally>>,
}

/// Every cell of a table and block, in the order of its layout.
pub fn tabulate(table: &Table, layout: &Layout, contributions: &Contributions, year: u16) -> Vec<Cell> {
    let bins = table.measures.iter().map(|measure| vec![Tally::default(); measure.all_bins().count()]).collect();
    let empty = Cell { magnitudes: vec![Magnitude::default(); table.measures.len()], bins, ..Cell::default() };
    let mut cells = vec![empty; layout.cells()];
    let lines = contributions.year(table.kind, year);
    for (set, first) in layout.sets() {
        let mut entries: Vec<(u32, u32, u32)> = if table.dimension("pair").is_some() {
            pair_entries(layout, set, contributions, year)
        } else {
            line_entries(table, layout, set, lines)
        };
        entries.sort_unstable();
        fill(table, &entries, lines, cells.get_mut(*first..).unwrap_or_default());
    }
    cells
}

// (cell within the set, case, line) of each line that the set counts.
fn line_entries(table: &Table, layout: &Layout, set: &LevelSet, lines: &[Contribution]) -> Vec<(u32, u32, u32)> {
    let numbers = layout.numbers(set);
    let mut axes: Vec<(Option<usize>, Vec<Option<u32>>, u32)> = Vec::new();
    for ((axis, level), (codes, dimension)) in
        layout.axes().iter().zip(&set.levels).zip(numbers.iter().zip(&table.dimensions))
    {
        let size = u32::try_from(codes.len()).unwrap_or(u32::MAX);
        match axis {
            Axis::Time => axes.push((None, Vec::new(), size)),
            Axis::Codes(_) => axes.push((slot(table.kind, &dimension.name), positions(axis, *level), size)),
        }
    }
    let time_level = set.levels.first().and_then(|level| TimeLevel::from_number(*level)).unwrap_or(TimeLevel::Year);
    let times = numbers.first().cloned().unwrap_or_default();
    lines
        .iter()
        .enumerate()
        .filter_map(|(line, contribution)| {
            let time = time_position(contribution.period, time_level, &times)?;
            let cell = axes.iter().skip(1).try_fold(time, |cell, (slot, positions, size)| {
                let leaf = contribution.leaves.get((*slot)?)?;
                let position = positions.get(usize::from(*leaf)).copied().flatten()?;
                Some(cell * size + position)
            })?;
            Some((cell, contribution.case, u32::try_from(line).unwrap_or(u32::MAX)))
        })
        .collect()
}

fn time_position(mut period: Period, level: TimeLevel, numbers: &[u32]) -> Option<u32> {
    while period.level() != level {
        period = period.parent()?;
    }
    numbers.binary_search(&period.number()).ok().and_then(|position| u32::try_from(position).ok())
}

// Pairs are of cases, not of lines: each case stands once under each of its pairs.
fn pair_entries(layout: &Layout, set: &LevelSet, contributions: &Contributions, year: u16) -> Vec<(u32, u32, u32)> {
    let numbers = layout.numbers(set);
    let codes = numbers.get(1).cloned().unwrap_or_default();
    contributions
        .pairs(year)
        .into_iter()
        .filter_map(|(case, pair)| {
            let position = codes.binary_search(&pair).ok().and_then(|position| u32::try_from(position).ok())?;
            Some((position, case, u32::MAX))
        })
        .collect()
}

// Entries are sorted by cell, then case: one pass sees each case of a cell once.
fn fill(table: &Table, entries: &[(u32, u32, u32)], lines: &[Contribution], cells: &mut [Cell]) {
    for of_case in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let Some(cell) = of_case.first().and_then(|(cell, ..)| cells.get_mut(*cell as usize)) else { continue };
        cell.cases += 1;
        for (_, _, line) in of_case {
            if let Some(line) = lines.get(*line as usize) {
                cell.lines += 1;
                cell.lines_weighed += u64::from(part(line.amount, Quantity::MassMg).is_some());
            }
        }
        let values: Vec<u64> =
            of_case.iter().filter_map(|(_, _, line)| lines.get(*line as usize)).filter_map(|line| line.value).collect();
        cell.values.cases += u64::from(!values.is_empty());
        cell.values.lines += values.len() as u64;
        cell.values.sum += values.iter().map(|value| u128::from(*value)).sum::<u128>();
        for (measure, bins) in table.measures.iter().zip(&mut cell.bins) {
            for ((from, to), tally) in measure.all_bins().zip(bins) {
                let lines = values.iter().filter(|value| (from..to).contains(*value)).count() as u64;
                tally.lines += lines;
                tally.cases += u64::from(lines > 0);
            }
        }
        for (measure, magnitude) in table.measures.iter().zip(&mut cell.magnitudes) {
            let sum: u128 = of_case
                .iter()
                .filter_map(|(_, _, line)| lines.get(*line as usize))
                .filter_map(|line| part(line.amount, measure.of))
                .map(u128::from)
                .sum();
            magnitude.add_case(sum);
        }
    }
}
