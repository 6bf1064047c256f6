//! What can be asked: the federation's signed list of tables, and the rules that make it a star.
//!
//! A catalogue is a data file (TOML). Loading it checks what `disclosure.md` A.1 asks of it: for each kind of record the hub is time
//! by drug and every other dimension occurs in one table only; all-drug rows exist by year only, every further dimension has an unknown child,
//! and tables stay within their cell limits. A catalogue that breaks a rule does not exist as a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bincode::{Decode, Encode};
use serde::Deserialize;

pub use crate::measure::{BinLevel, CELL_WIDTH_MAX, Measure, OPEN_EDGE, Quantity};
use crate::{
    code::{self, ListError, Tree},
    codec::{Bounded, Cap},
    id::Hash,
    signed::{Label, Preamble, Signable},
    time::{Period, TimeLevel},
};

/// Cells of one table in one block, at most.
pub const TABLE_CELLS_MAX: usize = 20_000;
/// Cells of all tables in one block, at most.
pub const BLOCK_CELLS_MAX: usize = 60_000;

crate::codes! {
    /// Kinds of record that tables are made of.
    pub enum Kind: u16 {
        /// Seizures of drugs.
        Seizure = 1 "seizure",
        /// Purity analyses.
        Purity = 2 "purity",
        /// Price observations.
        Price = 3 "price",
        /// Extraction and other production sites.
        Site = 4 "site",
        /// Chemical profiles.
        Profile = 5 "profile",
    }
}

/// A catalogue as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CatalogueDocument {
    /// Protocol and kind.
    pub preamble: Preamble<7>,
    /// The TOML text.
    pub text: Bounded<u8, { 512 << 10 }>,
}

impl Signable for CatalogueDocument {
    const LABEL: Label = Label::Catalogue;
    const CAP: Cap = Cap::Document;
    fn check(&self) -> Result<(), &'static str> {
        let text = std::str::from_utf8(self.text.as_slice()).map_err(|_| "the catalogue is not UTF-8")?;
        Catalogue::parse(text).map(|_| ()).map_err(|_| "the catalogue breaks a rule of `disclosure.md` A.1")
    }
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Its name, `strategic-1`.
    pub id: String,
    /// SHA-256 of the signed payload.
    pub hash: Hash,
    tables: Vec<Table>,
}

/// One table of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Number on the wire.
    pub id: u16,
    /// Name that people use.
    pub name: String,
    /// Grows when the layout changes.
    pub version: u16,
    /// Kind of record.
    #[serde(deserialize_with = "word")]
    pub kind: Kind,
    /// One line for people.
    pub title: String,
    /// What one unit of the counts is, in words.
    pub counting_unit: String,
    /// How the numbers come about, in sentences.
    pub method: Vec<String>,
    /// Whether the table adds up to margins; a table without is linked to nothing.
    #[serde(default = "yes")]
    pub margins: bool,
    /// The dimensions, time first.
    #[serde(rename = "dimension")]
    pub dimensions: Vec<Dimension>,
    /// The measures; bit *i* of a query's mask is the *i*-th.
    #[serde(rename = "measure")]
    pub measures: Vec<Measure>,
    /// Which combinations of levels exist, and with which measures.
    #[serde(rename = "grid")]
    grids: Vec<Grid>,
}

fn yes() -> bool {
    true
}

fn word<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    let text = String::deserialize(deserializer)?;
    Kind::from_word(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a kind of record")))
}

/// One dimension of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Its name: `time`, `drug`, `region`, ...
    pub name: String,
    /// The code list; `time` for the calendar.
    pub list: String,
    /// The level an officer gets who does not choose.
    pub default: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    levels: BTreeMap<String, Vec<String>>,
    measures: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalogue {
    id: String,
    list: Vec<RawList>,
    table: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    name: String,
    sha256: String,
}

/// Why a text is not a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML of the expected form; the message names line and column.
    #[error("{0}")]
    Syntax(String),
    /// A list is unknown or broken.
    #[error(transparent)]
    List(#[from] ListError),
    /// A list has another content than the catalogue was written for.
    #[error("code list `{0}` has another content here than the catalogue was written for")]
    ListDiffers(String),
    /// A rule is broken.
    #[error("table `{table}`: {rule}")]
    Rule {
        /// Name of the table.
        table: String,
        /// The rule, in words.
        rule: String,
    },
}

/// One combination of levels that exists, with its measures as a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelSet {
    /// Level index of each dimension, in table order.
    pub levels: Vec<u8>,
    /// Bit *i* = the *i*-th measure of the table exists here.
    pub measures: u32,
}

/// One dimension of a table as one provider fills it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// The calendar.
    Time,
    /// A code list.
    Codes(Arc<Tree>),
}

impl Axis {
    /// The names of its levels, coarsest first.
    pub fn level_names(&self) -> Vec<String> {
        match self {
            Self::Time => TimeLevel::ALL.iter().map(|level| level.as_str().to_owned()).collect(),
            Self::Codes(tree) => tree.levels().to_vec(),
        }
    }

    /// Index of a level by name.
    pub fn level(&self, name: &str) -> Option<u8> {
        match self {
            Self::Time => TimeLevel::from_word(name).map(TimeLevel::number),
            Self::Codes(tree) => tree.level(name),
        }
    }

    /// Numbers of the codes of a level, ascending; for time those of one year.
    pub fn numbers(&self, level: u8, year: u16) -> Vec<u32> {
        match self {
            Self::Time => TimeLevel::from_number(level)
                .map(|level| Period::of_year(year, level).into_iter().map(Period::number).collect())
                .unwrap_or_default(),
            Self::Codes(tree) => {
                tree.at_level(level).into_iter().filter_map(|index| tree.get(index)).map(|code| code.number).collect()
            }
        }
    }

    /// A code's name by its number on a level.
    pub fn name(&self, level: u8, number: u32) -> Option<String> {
        match self {
            Self::Time => Period::from_number(number)
                .filter(|period| period.level().number() == level)
                .map(|period| period.to_string()),
            Self::Codes(tree) => tree
                .by_number(number)
                .and_then(|index| tree.get(index))
                .filter(|code| code.level == level)
                .map(|code| code.code.clone()),
        }
    }

    /// A code's number and level by name.
    pub fn find(&self, code: &str) -> Option<(u8, u32)> {
        match self {
            Self::Time => code.parse::<Period>().ok().map(|period| (period.level().number(), period.number())),
            Self::Codes(tree) => {
                tree.find(code).and_then(|index| tree.get(index)).map(|code| (code.level, code.number))
            }
        }
    }

    /// What people read for a code.
    pub fn label(&self, code: &str) -> String {
        match self {
            Self::Time => code.to_owned(),
            Self::Codes(tree) => tree
                .find(code)
                .and_then(|index| tree.get(index))
                .map_or_else(|| code.to_owned(), |code| code.label.clone()),
        }
    }
}

impl Table {
    /// The axes as a provider in `country` fills them.
    pub fn axes(&self, country: &str) -> Result<Vec<Axis>, ListError> {
        self.dimensions
            .iter()
            .map(|dimension| {
                if dimension.list == "time" {
                    Ok(Axis::Time)
                } else {
                    code::tree(&dimension.list, country).map(Axis::Codes)
                }
            })
            .collect()
    }

    /// The combinations of levels that exist, in the order in which an edition holds them.
    pub fn level_sets(&self) -> Vec<LevelSet> {
        let Ok(axes) = self.axes("") else { return Vec::new() };
        let mut sets: Vec<LevelSet> = Vec::new();
        for grid in &self.grids {
            let mask = self
                .measures
                .iter()
                .enumerate()
                .filter(|(_, measure)| grid.measures.contains(&measure.id))
                .fold(0u32, |mask, (bit, _)| mask | 1 << bit);
            let mut combinations: Vec<Vec<u8>> = vec![Vec::new()];
            for (dimension, axis) in self.dimensions.iter().zip(&axes) {
                let levels: Vec<u8> = grid
                    .levels
                    .get(&dimension.name)
                    .into_iter()
                    .flatten()
                    .filter_map(|name| axis.level(name))
                    .collect();
                combinations = combinations
                    .into_iter()
                    .flat_map(|head| levels.iter().map(move |level| [head.as_slice(), &[*level]].concat()))
                    .collect();
            }
            for levels in combinations {
                match sets.iter_mut().find(|set| set.levels == levels) {
                    Some(set) => set.measures |= mask,
                    None => sets.push(LevelSet { levels, measures: mask }),
                }
            }
        }
        sets
    }

    /// The measures that exist for a combination of levels; `None` off the grid.
    pub fn measures_at(&self, levels: &[u8]) -> Option<u32> {
        self.level_sets().into_iter().find(|set| set.levels == levels).map(|set| set.measures)
    }

    /// A measure's index by name.
    pub fn measure(&self, id: &str) -> Option<usize> {
        self.measures.iter().position(|measure| measure.id == id)
    }

    /// How many numbers each cell has, all measures together.
    pub fn width(&self) -> usize {
        self.measures.iter().map(Measure::width).sum()
    }

    /// Where a measure's numbers stand among those of a cell.
    pub fn numbers_of(&self, measure: usize) -> std::ops::Range<usize> {
        let first = self.measures.iter().take(measure).map(Measure::width).sum();
        first..first + self.measures.get(measure).map_or(0, Measure::width)
    }

    /// How many numbers each cell of a query for these measures has.
    pub fn width_of(&self, measures: &[usize]) -> usize {
        measures.iter().map(|measure| self.numbers_of(*measure).len()).sum()
    }

    /// A dimension's index by name.
    pub fn dimension(&self, name: &str) -> Option<usize> {
        self.dimensions.iter().position(|dimension| dimension.name == name)
    }

    /// Cells of one block of a provider in `country`.
    pub fn cells(&self, country: &str) -> Result<usize, ListError> {
        let axes = self.axes(country)?;
        Ok(self
            .level_sets()
            .iter()
            .map(|set| {
                axes.iter().zip(&set.levels).map(|(axis, level)| axis.numbers(*level, 2000).len()).product::<usize>()
            })
            .sum())
    }

    /// Why numbers of a measure of this table and of `other` must not be added up; nothing if they may. Requests and answers name a
    /// measure by its place in the table, so that the one at the same place is meant there, whatever it is called.
    ///
    /// Compared are unit, quantity, basis, bins and step of the measure, and counting unit and kind of record of the table.
    pub fn incomparable(&self, other: &Self, place: usize) -> Option<String> {
        let measure = self.measures.get(place)?;
        if self.kind != other.kind {
            return Some(format!("kind of record: {} here, {} there", self.kind, other.kind));
        }
        if self.counting_unit != other.counting_unit {
            return Some(format!("counting unit: {} here, {} there", self.counting_unit, other.counting_unit));
        }
        let Some(theirs) = other.measures.get(place) else {
            return Some(format!("measure {} does not exist there", measure.id));
        };
        let pairs = [("unit", &measure.unit, &theirs.unit), ("basis", &measure.basis, &theirs.basis)];
        for (what, here, there) in pairs {
            if here != there {
                return Some(format!("{what} of {}: {here} here, {there} there", measure.id));
            }
        }
        if measure.bins != theirs.bins {
            return Some(format!("{} has other bins there", measure.id));
        }
        if measure.of != theirs.of {
            return Some(format!("{} adds up {} here, {} there", measure.id, measure.of, theirs.of));
        }
        (measure.step != theirs.step)
            .then(|| format!("{} is rounded to {} here, to {} there", measure.id, measure.step, theirs.step))
    }
}

impl Catalogue {
    /// Reads and checks a catalogue. Its hash is that of the signed payload which holds the text.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let raw: RawCatalogue = toml::from_str(text).map_err(|error| CatalogueError::Syntax(error.to_string()))?;
        for list in &raw.list {
            let hash = code::list_hash(&list.name).ok_or_else(|| ListError::Unknown(list.name.clone()))?;
            if hash.to_string() != list.sha256 {
                return Err(CatalogueError::ListDiffers(list.name.clone()));
            }
        }
        let lists: BTreeSet<&str> = raw.list.iter().map(|list| list.name.as_str()).chain(["time"]).collect();
        for table in &raw.table {
            check_table(table, &lists)?;
        }
        check_star(&raw.table)?;
        let document =
            CatalogueDocument { preamble: Preamble, text: Bounded::new(text.as_bytes().to_vec()).unwrap_or_default() };
        let payload = crate::codec::encode(&document).map_err(|error| CatalogueError::Syntax(error.to_string()))?;
        Ok(Self { id: raw.id, hash: Hash::of(&payload), tables: raw.table })
    }

    /// The tables, by ascending number.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// A table by its name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// A table by its number on the wire.
    pub fn table_by_id(&self, id: u16) -> Option<&Table> {
        self.tables.iter().find(|table| table.id == id)
    }
}

/// The catalogue that ships with this version, as text.
pub const SHIPPED: &str = include_str!("../data/strategic-1.toml");

fn check_table(table: &Table, lists: &BTreeSet<&str>) -> Result<(), CatalogueError> {
    let broken = |rule: String| CatalogueError::Rule { table: table.name.clone(), rule };
    let axes = table.axes("DE")?;
    if table.dimensions.first().is_none_or(|first| first.name != "time" || first.list != "time") {
        return Err(broken("the first dimension is `time`".into()));
    }
    if table.measures.is_empty() || table.measures.len() > 32 {
        return Err(broken("a table has 1 to 32 measures".into()));
    }
    if table.measures.iter().any(|measure| measure.step == 0) {
        return Err(broken("a step of 0".into()));
    }
    if table.margins && table.measures.iter().any(|measure| measure.of == Quantity::Cases) {
        return Err(broken("distinct cases do not add up, so a table with margins cannot publish them".into()));
    }
    if table.width() > CELL_WIDTH_MAX {
        return Err(broken(format!("a cell has at most {CELL_WIDTH_MAX} numbers")));
    }
    for measure in &table.measures {
        measure.check_bins().map_err(|rule| broken(format!("measure `{}`: {rule}", measure.id)))?;
    }
    for (dimension, axis) in table.dimensions.iter().zip(&axes) {
        if !lists.contains(dimension.list.as_str()) {
            return Err(broken(format!("list `{}` is not among the catalogue's lists", dimension.list)));
        }
        if axis.level(&dimension.default).is_none() {
            return Err(broken(format!("`{}` has no level `{}`", dimension.name, dimension.default)));
        }
        if let Axis::Codes(tree) = axis
            && table.margins
            && tree.find("_U").is_none()
        {
            return Err(broken(format!("list `{}` has no `_U`", dimension.list)));
        }
    }
    for grid in &table.grids {
        for (dimension, axis) in table.dimensions.iter().zip(&axes) {
            let levels = grid.levels.get(&dimension.name).map_or(&[] as &[String], Vec::as_slice);
            if levels.is_empty() {
                return Err(broken(format!("a grid names no level of `{}`", dimension.name)));
            }
            if let Some(level) = levels.iter().find(|level| axis.level(level).is_none()) {
                return Err(broken(format!("`{}` has no level `{level}`", dimension.name)));
            }
        }
        if grid.levels.len() != table.dimensions.len() {
            return Err(broken("a grid names a dimension that the table does not have".into()));
        }
        if let Some(measure) = grid.measures.iter().find(|id| table.measure(id).is_none()) {
            return Err(broken(format!("a grid names `{measure}`, which is no measure of the table")));
        }
        let by_year_only = grid.levels.get("time").is_some_and(|levels| levels.iter().all(|level| level == "year"));
        let all_drugs = grid.levels.get("drug").is_some_and(|levels| levels.iter().any(|level| level == "all"));
        if all_drugs && !by_year_only {
            return Err(broken("all-drug rows exist by year only".into()));
        }
    }
    let defaults: Vec<u8> =
        table.dimensions.iter().zip(&axes).filter_map(|(dimension, axis)| axis.level(&dimension.default)).collect();
    if table.measures_at(&defaults).is_none_or(|mask| mask == 0) {
        return Err(broken("the default levels are off the grid".into()));
    }
    Ok(())
}

fn check_star(tables: &[Table]) -> Result<(), CatalogueError> {
    let countries: BTreeSet<&str> = code::nuts().iter().map(|region| region.country.as_str()).collect();
    // Lines of different kinds of record share no equation, so each kind is a star of its own.
    let mut used: BTreeMap<(Kind, &str), &str> = BTreeMap::new();
    let mut hubs: BTreeMap<Kind, &str> = BTreeMap::new();
    let mut before = 0;
    for table in tables {
        let broken = |rule: String| CatalogueError::Rule { table: table.name.clone(), rule };
        if table.id <= before {
            return Err(broken("table numbers start at 1 and ascend".into()));
        }
        before = table.id;
        if tables.iter().filter(|other| other.name == table.name).count() != 1 {
            return Err(broken("a second table of that name".into()));
        }
        if table.margins && table.dimension("drug").is_none() {
            return Err(broken("the hub of a star is time by drug".into()));
        }
        if let Some(hub) = table.dimensions.iter().find(|dimension| dimension.name == "drug")
            && hubs.insert(table.kind, &hub.list).is_some_and(|before| before != hub.list)
        {
            return Err(broken("the tables of one kind of record have one list of drugs".into()));
        }
        for dimension in
            table.dimensions.iter().filter(|dimension| !["time", "drug"].contains(&dimension.name.as_str()))
        {
            if let Some(other) = used.insert((table.kind, &dimension.name), &table.name) {
                return Err(broken(format!(
                    "dimension `{}` stands in `{other}` already, which breaks the star",
                    dimension.name
                )));
            }
        }
    }
    for country in countries {
        let mut block = 0;
        for table in tables {
            let cells = table.cells(country)?;
            block += cells;
            if cells > TABLE_CELLS_MAX || block > BLOCK_CELLS_MAX {
                let rule = format!(
                    "{cells} cells a block in {country} ({block} with the tables before it); at most {TABLE_CELLS_MAX} and {BLOCK_CELLS_MAX}"
                );
                return Err(CatalogueError::Rule { table: table.name.clone(), rule });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks(from: &str, to: &str) -> String {
        assert!(SHIPPED.contains(from), "{from}");
        Catalogue::parse(&SHIPPED.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_catalogue_is_a_star_within_its_limits() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(catalogue.id, "strategic-1");
        assert!(catalogue.table("seizures-year-drug").is_some());
        let cells: usize = catalogue.tables().iter().map(|table| table.cells("DE").unwrap()).sum();
        assert!(cells <= BLOCK_CELLS_MAX, "{cells}");
    }

    #[test]
    fn a_catalogue_that_breaks_a_rule_is_refused_with_the_rule() {
        let twice = SHIPPED.replace("name = \"transport\"", "name = \"region\"").replace("transport = [", "region = [");
        assert!(Catalogue::parse(&twice).unwrap_err().to_string().contains("breaks the star"));
        assert!(
            breaks("time = [\"quarter\"], drug = [\"group\"", "time = [\"quarter\"], drug = [\"all\"")
                .contains("by year only")
        );
        assert!(breaks("of = \"lines\"", "of = \"cases\"").contains("do not add up"));
        assert!(breaks("time = [\"year\"]", "time = [\"decade\"]").contains("no level `decade`"));
        assert!(breaks("id = 2", "id = 1").contains("ascend"));
        assert!(breaks("sha256 = \"", "sha256 = \"0").contains("another content"));
        assert!(breaks("version = 1", "verzion = 1").contains("verzion"));
    }
}
