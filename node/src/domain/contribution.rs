//! Records to contributions: each line with its case and one leaf in every dimension.
//!
//! Lines add up over everything, because each has exactly one leaf (or `_U`) of every dimension (`disclosure.md` A.1).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use accord_protocol::{
    catalogue::{Axis, Catalogue},
    code::{self, ListError, Tree},
    time::Period,
};

use super::{
    amount::{Amount, Unit},
    record::{Seizure, SeizureLine, Stated, When},
};

/// The dimensions that a seizure line has, besides time and pair.
pub const DIMENSIONS: [&str; 7] = ["drug", "region", "transport", "place", "concealment", "departure", "weight"];

/// What one line adds to the cells that it falls in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    /// Number of its case.
    pub case: u32,
    /// Leaf of time.
    pub period: Period,
    /// Leaf of each of [`DIMENSIONS`], as index into its tree.
    pub leaves: [u16; DIMENSIONS.len()],
    /// Its amount.
    pub amount: Option<Amount>,
}

/// All contributions of a node, by year.
#[derive(Debug, Default)]
pub struct Contributions {
    years: BTreeMap<u16, Vec<Contribution>>,
    cases: HashMap<String, u32>,
    first_seen: Vec<When>,
    groups: Vec<u32>,
}

/// The trees of a catalogue's dimensions for one country.
#[derive(Debug)]
pub struct Leaves {
    trees: Vec<Option<Arc<Tree>>>,
    tabulated_as: BTreeMap<String, String>,
    bands: Vec<(u64, u64, usize)>,
}

impl Leaves {
    /// Prepares a catalogue's trees.
    pub fn new(catalogue: &Catalogue, country: &str) -> Result<Self, ListError> {
        let mut trees = Vec::new();
        for name in DIMENSIONS {
            let dimension =
                catalogue.tables().iter().flat_map(|table| &table.dimensions).find(|dimension| dimension.name == name);
            trees.push(dimension.map(|dimension| code::tree(&dimension.list, country)).transpose()?);
        }
        let tabulated_as = code::rows("countries-1")
            .into_iter()
            .filter_map(|mut row| {
                Some((row.remove("code")?, row.remove("tabulated_as").filter(|code| !code.is_empty())?))
            })
            .collect();
        let weight = code::tree("weight-1", country)?;
        let bands = code::rows("weight-1")
            .iter()
            .filter_map(|row| {
                let from: u64 = row.get("from_mg")?.parse().ok()?;
                let to = row.get("to_mg").and_then(|to| to.parse().ok()).unwrap_or(u64::MAX);
                Some((from, to, weight.find(row.get("code")?)?))
            })
            .collect();
        Ok(Self { trees, tabulated_as, bands })
    }

    fn of(&self, line: &SeizureLine) -> [u16; DIMENSIONS.len()] {
        let mut leaves = [0; DIMENSIONS.len()];
        for ((slot, name), tree) in leaves.iter_mut().zip(DIMENSIONS).zip(&self.trees) {
            let Some(tree) = tree else { continue };
            let leaf = self.leaf(name, tree, line).or_else(|| tree.find("_U")).unwrap_or(0);
            *slot = u16::try_from(leaf).unwrap_or(0);
        }
        leaves
    }

    fn leaf(&self, dimension: &str, tree: &Tree, line: &SeizureLine) -> Option<usize> {
        let seizure = &line.seizure;
        let stated = |code: &Stated<String>| match code {
            Stated::Is(code) => tree.find(code).and_then(|index| tree.leaf(index)),
            // "None" is a code where the list has one, and otherwise as good as not known.
            Stated::Nothing => tree.find("none"),
            Stated::Blank | Stated::Unknown => None,
        };
        match dimension {
            "drug" => tree.find(&line.drug).and_then(|index| tree.leaf(index)),
            "region" => region(tree, seizure),
            "transport" => stated(&seizure.transport),
            "place" => stated(&seizure.place_type),
            "concealment" => stated(&seizure.concealment),
            "departure" => {
                let code = seizure.departure.value()?;
                let listed = tree.find(code).filter(|index| !tree.is_inner(*index));
                listed.or_else(|| tree.find(self.tabulated_as.get(code)?))
            }
            "weight" => match line.amount {
                Some(Amount::MassMg(mg)) => {
                    // A mass that rounds to nothing stands in the lowest band.
                    let mg = mg.max(1);
                    self.bands.iter().find(|(from, to, _)| (*from..*to).contains(&mg)).map(|(_, _, index)| *index)
                }
                Some(Amount::VolumeMl(_) | Amount::Count(..)) => tree.find("_Z"),
                None => None,
            },
            _ => None,
        }
    }
}

fn region(tree: &Tree, seizure: &Seizure) -> Option<usize> {
    let code = seizure.nuts.value()?;
    // NUTS 3 counts in its NUTS 2; a bare country code is no region.
    let found = tree.find(code.get(..4).unwrap_or(code)).filter(|_| code.len() >= 3)?;
    tree.leaf(found)
}

/// The leaf of time: the month, or the unknown child of what is stated.
pub const fn period(when: When) -> Period {
    match (when.month, when.quarter) {
        (0, 0) => Period::QuarterUnknown(when.year),
        (0, quarter) => Period::MonthUnknown(when.year, quarter),
        (month, _) => Period::Month(when.year, month),
    }
}

impl Contributions {
    /// Adds a record's line.
    pub fn add(&mut self, line: &SeizureLine, leaves: &Leaves) {
        let when = line.seizure.date;
        let next = u32::try_from(self.cases.len()).unwrap_or(u32::MAX);
        let case = *self.cases.entry(line.seizure.case_id.clone()).or_insert(next);
        let slot = case as usize;
        if slot == self.first_seen.len() {
            self.first_seen.push(when);
            self.groups.push(0);
        }
        if let Some(first) = self.first_seen.get_mut(slot) {
            *first = (*first).min(when);
        }
        let at = leaves.of(line);
        if let (Some(groups), Some(Some(tree)), Some(drug)) =
            (self.groups.get_mut(slot), leaves.trees.first(), at.first())
        {
            // Bit i: the i-th group of the list, in the order of the pairs list.
            let group = tree.ancestor_at(usize::from(*drug), 1);
            let position = tree.at_level(1).into_iter().position(|index| Some(index) == group);
            *groups |= position.and_then(|position| u32::try_from(position).ok()).map_or(0, |position| 1 << position);
        }
        let contribution = Contribution { case, period: period(when), leaves: at, amount: line.amount };
        self.years.entry(when.year).or_default().push(contribution);
    }

    /// The contributions of one year.
    pub fn year(&self, year: u16) -> &[Contribution] {
        self.years.get(&year).map_or(&[], Vec::as_slice)
    }

    /// For each case whose first seizure was in a year: the pairs of drug groups that it holds, as numbers of `drug-pairs-1`.
    pub fn pairs(&self, year: u16) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        for (case, (first, groups)) in self.first_seen.iter().zip(&self.groups).enumerate() {
            if first.year != year {
                continue;
            }
            let held: Vec<u32> = (0..32).filter(|bit| groups >> bit & 1 == 1).collect();
            for (index, a) in held.iter().enumerate() {
                for b in held.iter().skip(index + 1) {
                    pairs.push((u32::try_from(case).unwrap_or(u32::MAX), a * 100 + b));
                }
            }
        }
        pairs
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.years.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.years.is_empty()
    }
}

/// What a line adds to a magnitude.
pub const fn part(amount: Option<Amount>, quantity: accord_protocol::catalogue::Quantity) -> Option<u64> {
    use accord_protocol::catalogue::Quantity;
    match (quantity, amount) {
        (Quantity::MassMg, Some(Amount::MassMg(mg))) => Some(mg),
        (Quantity::VolumeMl, Some(Amount::VolumeMl(ml))) => Some(ml),
        (Quantity::Tablets, Some(Amount::Count(Unit::Tablet | Unit::Capsule, count)))
        | (Quantity::Doses, Some(Amount::Count(Unit::Dose | Unit::Blotter, count))) => Some(count),
        _ => None,
    }
}

/// Whether an axis is one that seizure lines have.
pub fn slot(dimension: &str) -> Option<usize> {
    DIMENSIONS.iter().position(|name| *name == dimension)
}

/// A leaf's position among the codes of a level, for every leaf of a tree; `None` where the branch does not reach the level.
pub fn positions(axis: &Axis, level: u8) -> Vec<Option<u32>> {
    let Axis::Codes(tree) = axis else { return Vec::new() };
    let codes = tree.at_level(level);
    (0..tree.codes().len())
        .map(|leaf| {
            let ancestor = tree.ancestor_at(leaf, level)?;
            codes.iter().position(|code| *code == ancestor).and_then(|position| u32::try_from(position).ok())
        })
        .collect()
}
