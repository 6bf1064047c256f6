//! Records to contributions: each line with its case and one leaf in every dimension of its kind.
//!
//! Lines add up over everything, because each has exactly one leaf (or `_U`) of every dimension (`disclosure.md` A.1).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use accord_protocol::{
    catalogue::{Axis, Catalogue, Kind},
    code::{self, ListError, Tree},
    time::Period,
};

use super::{
    amount::{Amount, Unit},
    disclosure::star::is_within,
    import::index::{Digest, digest},
    record::{Line, Price, Purity, SeizureLine, Stated, When},
    revision::HeldLine,
};

/// Dimensions of one kind, besides time and pair, at most.
pub const LEAVES: usize = 7;

/// The dimensions that lines of a kind have, besides time and pair.
pub const fn dimensions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Seizure => &["drug", "region", "transport", "place", "concealment", "departure", "weight"],
        Kind::Purity => &["drug", "market", "basis", "frame"],
        Kind::Price => &["drug", "market", "per"],
        Kind::Site => &["role"],
        Kind::Profile => &[],
    }
}

/// What one line adds to the cells that it falls in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contribution {
    /// Number of its case, among those of its kind.
    pub case: u32,
    /// Leaf of time.
    pub period: Period,
    /// Leaf of each of its kind's [`dimensions`], as index into its tree.
    pub leaves: [u16; LEAVES],
    /// Its amount.
    pub amount: Option<Amount>,
    /// Its value, where lines of the kind have one: a purity in hundredths of a per cent, a price in euro cents.
    pub value: Option<u64>,
}

/// A line as it is added.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// When.
    pub when: When,
    /// Leaf of each of its kind's [`dimensions`], as index into its tree.
    pub leaves: [u16; LEAVES],
    /// Its amount.
    pub amount: Option<Amount>,
    /// Its value.
    pub value: Option<u64>,
    /// Bit of its drug's group, in the order of the pairs list; 0 where pairs are not counted.
    pub groups: u32,
}

/// All contributions of a node, by kind and year.
#[derive(Debug, Default)]
pub struct Contributions {
    kinds: BTreeMap<Kind, OfKind>,
}

#[derive(Debug, Default)]
struct OfKind {
    years: BTreeMap<u16, Vec<Contribution>>,
    cases: HashMap<Digest, u32>,
    first_seen: Vec<When>,
    // Bit i: the i-th group of the drug list, in the order of the pairs list. Seizures alone.
    groups: Vec<u32>,
}

/// The trees of a catalogue's dimensions for one country.
#[derive(Debug)]
pub struct Leaves {
    trees: BTreeMap<Kind, Vec<Option<Arc<Tree>>>>,
    drugs: Arc<Tree>,
    tabulated_as: BTreeMap<String, String>,
    bands: Vec<(u64, u64, usize)>,
}

impl Leaves {
    /// Prepares a catalogue's trees.
    pub fn new(catalogue: &Catalogue, country: &str) -> Result<Self, ListError> {
        let mut trees = BTreeMap::new();
        for kind in Kind::ALL {
            let mut of_kind = Vec::new();
            for name in dimensions(*kind) {
                let dimension = catalogue
                    .tables()
                    .iter()
                    .filter(|table| table.kind == *kind)
                    .flat_map(|table| &table.dimensions)
                    .find(|dimension| dimension.name == *name);
                of_kind.push(dimension.map(|dimension| code::tree(&dimension.list, country)).transpose()?);
            }
            trees.insert(*kind, of_kind);
        }
        let tabulated_as = code::rows("countries-1")
            .into_iter()
            .filter_map(|mut row| {
                Some((row.remove("code")?, row.remove("tabulated_as").filter(|code| !code.is_empty())?))
            })
            .collect();
        let weight = code::tree(WEIGHT_LIST, country)?;
        let bands = code::rows(WEIGHT_LIST)
            .iter()
            .filter_map(|row| {
                let from: u64 = row.get("from_mg")?.parse().ok()?;
                let to = row.get("to_mg").and_then(|to| to.parse().ok()).unwrap_or(u64::MAX);
                Some((from, to, weight.find(row.get("code")?)?))
            })
            .collect();
        Ok(Self { trees, drugs: code::tree("drugs-1", country)?, tabulated_as, bands })
    }

    fn of(&self, line: &Line) -> [u16; LEAVES] {
        let mut leaves = [0; LEAVES];
        let trees = self.trees.get(&line.kind()).map_or(&[] as &[_], Vec::as_slice);
        for ((slot, name), tree) in leaves.iter_mut().zip(dimensions(line.kind())).zip(trees) {
            let Some(tree) = tree else { continue };
            let leaf = match line {
                Line::Seizure(line) => self.of_seizure(name, tree, line),
                Line::Purity(purity) => self.of_purity(name, tree, purity),
                Line::Price(price) => self.of_price(name, tree, price),
                Line::Site(site) => tree.find(&site.site_role),
            };
            *slot = u16::try_from(leaf.or_else(|| tree.find("_U")).unwrap_or(0)).unwrap_or(0);
        }
        leaves
    }

    fn of_seizure(&self, dimension: &str, tree: &Tree, line: &SeizureLine) -> Option<usize> {
        let seizure = &line.seizure;
        match dimension {
            "drug" => self.drug(tree, &line.drug),
            "region" => region(tree, &seizure.common.region),
            "transport" => stated(tree, &seizure.transport),
            "place" => stated(tree, &seizure.place_type),
            "concealment" => stated(tree, &seizure.concealment),
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

    fn of_purity(&self, dimension: &str, tree: &Tree, purity: &Purity) -> Option<usize> {
        match dimension {
            "drug" => self.drug(tree, &purity.drug),
            "market" => stated(tree, &purity.market_level),
            "basis" => tree.find(&purity.expressed_as),
            // Samples of drug checking are no sample of seizures, however they were drawn.
            "frame" if purity.origin == "drug_checking" => tree.find("drug_checking"),
            "frame" => tree.find(&format!("seizure_{}", purity.sampling)),
            _ => None,
        }
    }

    fn of_price(&self, dimension: &str, tree: &Tree, price: &Price) -> Option<usize> {
        match dimension {
            "drug" => self.drug(tree, &price.drug),
            "market" => tree.find(&price.market_level),
            "per" => match price.quantity {
                Amount::MassMg(_) => match price.weight_basis.as_str() {
                    "weighed" => tree.find("gram_weighed"),
                    "assumed" => tree.find("gram_assumed"),
                    _ => tree.find("gram_U"),
                },
                Amount::Count(Unit::Tablet, _) => tree.find("tablet"),
                Amount::Count(Unit::Dose, _) => tree.find("dose"),
                Amount::Count(..) | Amount::VolumeMl(_) => None,
            },
            _ => None,
        }
    }

    // The leaf of a code of the drug list in a list that may be shorter: the code, or what it belongs to; a substance that the
    // list does not have is another one, and what is no substance is unknown.
    fn drug(&self, tree: &Tree, code: &str) -> Option<usize> {
        let mut at = self.drugs.find(code)?;
        let stated = self.drugs.get(at)?;
        let fallback = if stated.level < 2 || code.ends_with("_U") { "_U" } else { "_O" };
        loop {
            let code = self.drugs.get(at)?;
            if let Some(found) = tree.find(&code.code).filter(|_| code.parent.is_some()) {
                return tree.leaf(found);
            }
            match code.parent {
                Some(parent) => at = parent,
                None => return tree.find(fallback),
            }
        }
    }
}

fn stated(tree: &Tree, code: &Stated<String>) -> Option<usize> {
    match code {
        Stated::Is(code) => tree.find(code).and_then(|index| tree.leaf(index)),
        // "None" is a code where the list has one, and otherwise as good as not known.
        Stated::Nothing => tree.find("none"),
        Stated::Blank | Stated::Unknown => None,
    }
}

fn region(tree: &Tree, region: &Stated<String>) -> Option<usize> {
    let code = region.value()?;
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
    pub fn add(&mut self, line: &Line, leaves: &Leaves) {
        let common = line.common();
        let (amount, value, groups) = match line {
            Line::Seizure(line) => (line.amount, None, group_bit(&leaves.drugs, &line.drug)),
            Line::Purity(purity) => (None, purity.percent_hundredths.map(u64::from), 0),
            Line::Price(price) => (None, Some(price.cents_per_unit), 0),
            Line::Site(_) => (None, None, 0),
        };
        let part = Part { when: common.date, leaves: leaves.of(line), amount, value, groups };
        self.add_part(line.kind(), common.case_id.as_bytes(), part);
    }

    /// Adds a line that stands in its leaves already.
    pub fn add_part(&mut self, kind: Kind, case_id: &[u8], part: Part) {
        let of_kind = self.kinds.entry(kind).or_default();
        let next = u32::try_from(of_kind.cases.len()).unwrap_or(u32::MAX);
        let case = *of_kind.cases.entry(digest(case_id)).or_insert(next);
        let slot = case as usize;
        if slot == of_kind.first_seen.len() {
            of_kind.first_seen.push(part.when);
            of_kind.groups.push(0);
        }
        if let Some(first) = of_kind.first_seen.get_mut(slot) {
            *first = (*first).min(part.when);
        }
        if let Some(groups) = of_kind.groups.get_mut(slot) {
            *groups |= part.groups;
        }
        let Part { when, leaves, amount, value, .. } = part;
        let contribution = Contribution { case, period: period(when), leaves, amount, value };
        of_kind.years.entry(when.year).or_default().push(contribution);
    }

    /// The contributions of a kind and year.
    pub fn year(&self, kind: Kind, year: u16) -> &[Contribution] {
        self.kinds.get(&kind).and_then(|of_kind| of_kind.years.get(&year)).map_or(&[], Vec::as_slice)
    }

    /// Lines of one kind and year, whose cases are numbered already.
    pub fn of_lines(kind: Kind, year: u16, lines: Vec<Contribution>) -> Self {
        let of_kind = OfKind { years: BTreeMap::from([(year, lines)]), ..OfKind::default() };
        Self { kinds: BTreeMap::from([(kind, of_kind)]) }
    }

    /// The same with the pairs of drug groups of others: pairs are counted by case, and stand in no sum with lines.
    #[must_use]
    pub fn with_pairs_of(mut self, others: &Self) -> Self {
        if let Some(seizures) = others.kinds.get(&Kind::Seizure) {
            let of_kind = self.kinds.entry(Kind::Seizure).or_default();
            of_kind.first_seen.clone_from(&seizures.first_seen);
            of_kind.groups.clone_from(&seizures.groups);
        }
        self
    }

    /// The lines of published months (bit 0 is January), in an order that does not depend on that of the records: two blocks are made
    /// from the same lines exactly if these are equal.
    pub fn held(&self, kind: Kind, year: u16, months: u16) -> Vec<HeldLine> {
        let mut names: Vec<Digest> = Vec::new();
        if let Some(of_kind) = self.kinds.get(&kind) {
            names.resize(of_kind.cases.len(), Digest::default());
            for (name, case) in &of_kind.cases {
                if let Some(slot) = names.get_mut(*case as usize) {
                    *slot = *name;
                }
            }
        }
        let lines = self.year(kind, year).iter().filter(|line| is_within(line.period, months));
        let mut held: Vec<HeldLine> = lines
            .map(|line| HeldLine {
                case: names.get(line.case as usize).copied().unwrap_or_default(),
                period: line.period.number(),
                leaves: line.leaves,
                amount: line.amount,
                value: line.value,
            })
            .collect();
        held.sort_unstable();
        held
    }

    /// For each case whose first seizure was in a year: the pairs of drug groups that it holds, as numbers of `drug-pairs-1`.
    pub fn pairs(&self, year: u16) -> Vec<(u32, u32)> {
        let Some(seizures) = self.kinds.get(&Kind::Seizure) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (case, (first, groups)) in seizures.first_seen.iter().zip(&seizures.groups).enumerate() {
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
        self.kinds.values().flat_map(|of_kind| of_kind.years.values()).map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

fn group_bit(drugs: &Tree, code: &str) -> u32 {
    let group = drugs.find(code).and_then(|index| drugs.leaf(index)).and_then(|leaf| drugs.ancestor_at(leaf, 1));
    let position = drugs.at_level(1).into_iter().position(|index| Some(index) == group);
    position.and_then(|position| u32::try_from(position).ok()).map_or(0, |position| 1 << position)
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

/// The list of bands of weight.
pub const WEIGHT_LIST: &str = "weight-1";

/// Whether the lines of a band of weight are those with a mass: not so what is counted in units or litres, and what is not known.
pub fn band_has_mass(code: &str) -> bool {
    !["_T", "_Z", "_U"].contains(&code)
}

/// Where a dimension stands among those of a kind.
pub fn slot(kind: Kind, dimension: &str) -> Option<usize> {
    dimensions(kind).iter().position(|name| *name == dimension)
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
