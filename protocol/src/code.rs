//! Versioned code lists and their hierarchies.
//!
//! A list is a tree: `_T` the total, `_U` the unknown child of the root and `X_U` that of an inner node `X`, so that the
//! children of every node add up to it. The lists ship as data under `protocol/data/lists`; a catalogue names the ones it uses
//! with their SHA-256, so that two programs with different lists never compare codes.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use crate::id::Hash;

/// One code of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Its number on the wire; stable for the life of the list.
    pub number: u32,
    /// Its name, `COC_HCL`.
    pub code: String,
    /// Index of its parent in the tree.
    pub parent: Option<usize>,
    /// Index of its level.
    pub level: u8,
    /// What people read.
    pub label: String,
}

/// A list as one provider's tables use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    levels: Vec<String>,
    codes: Vec<Code>,
    by_code: BTreeMap<String, usize>,
}

/// Why a list is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// No list of that name ships.
    #[error("no code list is named `{0}`")]
    Unknown(String),
    /// A row breaks the form of a list.
    #[error("code list `{list}`, row {row}: {rule}")]
    Row {
        /// Name of the list.
        list: String,
        /// Row number, header not counted.
        row: usize,
        /// What is wrong.
        rule: &'static str,
    },
}

impl Tree {
    /// The levels, coarsest first.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }

    /// Every code, parents before children.
    pub fn codes(&self) -> &[Code] {
        &self.codes
    }

    /// Index of a level by name.
    pub fn level(&self, name: &str) -> Option<u8> {
        self.levels.iter().position(|level| level == name).and_then(|index| u8::try_from(index).ok())
    }

    /// The codes of one level, ascending by number.
    pub fn at_level(&self, level: u8) -> Vec<usize> {
        let mut found: Vec<usize> =
            self.codes.iter().enumerate().filter(|(_, code)| code.level == level).map(|(index, _)| index).collect();
        found.sort_by_key(|index| self.codes.get(*index).map(|code| code.number));
        found
    }

    /// Index of a code by name.
    pub fn find(&self, code: &str) -> Option<usize> {
        self.by_code.get(code).copied()
    }

    /// A code by index.
    pub fn get(&self, index: usize) -> Option<&Code> {
        self.codes.get(index)
    }

    /// Index of a code by its number on the wire.
    pub fn by_number(&self, number: u32) -> Option<usize> {
        self.codes.iter().position(|code| code.number == number)
    }

    /// Whether a code has children.
    pub fn is_inner(&self, index: usize) -> bool {
        self.codes.iter().any(|code| code.parent == Some(index))
    }

    /// The leaf under which something coded `index` is counted: itself, or the unknown child of an inner node.
    ///
    /// `None` only for an inner node without an unknown child, which has a leaf that serves (as `mail` in `M5`).
    pub fn leaf(&self, index: usize) -> Option<usize> {
        if !self.is_inner(index) {
            return Some(index);
        }
        let code = self.codes.get(index)?;
        if code.parent.is_none() { self.find("_U") } else { self.find(&format!("{}_U", code.code)) }
    }

    /// The code on the way from `index` to the root that stands on a level; `None` where the branch does not reach it.
    pub fn ancestor_at(&self, index: usize, level: u8) -> Option<usize> {
        let mut at = index;
        loop {
            let code = self.codes.get(at)?;
            if code.level == level {
                return Some(at);
            }
            at = code.parent?;
        }
    }

    fn new(levels: Vec<String>, codes: Vec<Code>) -> Self {
        let by_code = codes.iter().enumerate().map(|(index, code)| (code.code.clone(), index)).collect();
        Self { levels, codes, by_code }
    }
}

/// The lists whose rows name their parents.
const HIERARCHICAL: [&str; 12] = [
    "drugs-1",
    "countries-1",
    "transport-1",
    "place-1",
    "concealment-1",
    "weight-1",
    "substances-1",
    "market-1",
    "basis-1",
    "frame-1",
    "per-1",
    "site-role-1",
];

/// The text of a list that ships; rows and columns as `protocol/data/lists/README.md` says.
pub fn list_text(name: &str) -> Option<&'static str> {
    match name {
        "drugs-1" => Some(include_str!("../data/lists/drugs-1.csv")),
        "nuts-2021" => Some(include_str!("../data/lists/nuts-2021.csv")),
        "countries-1" => Some(include_str!("../data/lists/countries-1.csv")),
        "transport-1" => Some(include_str!("../data/lists/transport-1.csv")),
        "place-1" => Some(include_str!("../data/lists/place-1.csv")),
        "concealment-1" => Some(include_str!("../data/lists/concealment-1.csv")),
        "weight-1" => Some(include_str!("../data/lists/weight-1.csv")),
        "substances-1" => Some(include_str!("../data/lists/substances-1.csv")),
        "market-1" => Some(include_str!("../data/lists/market-1.csv")),
        "basis-1" => Some(include_str!("../data/lists/basis-1.csv")),
        "frame-1" => Some(include_str!("../data/lists/frame-1.csv")),
        "per-1" => Some(include_str!("../data/lists/per-1.csv")),
        "site-role-1" => Some(include_str!("../data/lists/site-role-1.csv")),
        "subdivisions-1" => Some(include_str!("../data/lists/subdivisions-1.csv")),
        _ => None,
    }
}

/// SHA-256 of a list that ships.
pub fn list_hash(name: &str) -> Option<Hash> {
    // Pairs are made from the groups of the drug list, so its hash stands for both.
    list_text(if name == "drug-pairs-1" { "drugs-1" } else { name }).map(|text| Hash::of(text.as_bytes()))
}

/// A list as the tables of a provider in `country` (ISO 3166 alpha-2) use it. Only regions depend on the country.
pub fn tree(name: &str, country: &str) -> Result<Arc<Tree>, ListError> {
    match name {
        "nuts-2021" => regions(country).map(Arc::new),
        "drug-pairs-1" => {
            static PAIRS: OnceLock<Result<Arc<Tree>, ListError>> = OnceLock::new();
            PAIRS.get_or_init(|| hierarchical("drugs-1").map(|drugs| Arc::new(pairs(&drugs)))).clone()
        }
        _ => {
            static TREES: OnceLock<BTreeMap<&'static str, Result<Arc<Tree>, ListError>>> = OnceLock::new();
            TREES
                .get_or_init(|| HIERARCHICAL.into_iter().map(|name| (name, hierarchical(name).map(Arc::new))).collect())
                .get(name)
                .cloned()
                .unwrap_or_else(|| Err(ListError::Unknown(name.to_owned())))
        }
    }
}

/// One row of a list, by column name.
pub type Row = BTreeMap<String, String>;

/// The rows of a list that ships, by column name; empty for an unknown list.
pub fn rows(name: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(list_text(name).unwrap_or_default().as_bytes());
    reader.deserialize::<Row>().filter_map(Result::ok).collect()
}

fn hierarchical(name: &str) -> Result<Tree, ListError> {
    let rows = rows(name);
    let mut levels: Vec<String> = Vec::new();
    let mut codes: Vec<Code> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (row, fields) in rows.iter().enumerate() {
        let fault = |rule| ListError::Row { list: name.to_owned(), row: row + 1, rule };
        let field = |column: &str| fields.get(column).map_or("", String::as_str);
        if field("level") == "alias" {
            continue;
        }
        let level = levels.iter().position(|level| level == field("level")).unwrap_or_else(|| {
            levels.push(field("level").to_owned());
            levels.len() - 1
        });
        let parent = match field("parent") {
            "" => None,
            parent => Some(*seen.get(parent).ok_or_else(|| fault("the parent does not stand before it"))?),
        };
        if parent.is_none() && row != 0 {
            return Err(fault("a second root"));
        }
        let code = field("code").to_owned();
        if code.is_empty() || seen.insert(code.clone(), codes.len()).is_some() {
            return Err(fault("no code, or one that stands twice"));
        }
        codes.push(Code {
            number: u32::try_from(row).map_err(|_| fault("too many rows"))?,
            code,
            parent,
            level: u8::try_from(level).map_err(|_| fault("too many levels"))?,
            label: field("label").to_owned(),
        });
    }
    // Depth-first files may name a fine level before a coarse one ends; levels are found in order of first use from the root down.
    Ok(Tree::new(levels, codes))
}

fn pairs(drugs: &Tree) -> Tree {
    let groups: Vec<&Code> =
        drugs.at_level(1).into_iter().filter_map(|index| drugs.get(index)).filter(|code| code.code != "_U").collect();
    let mut codes = Vec::new();
    for (i, a) in groups.iter().enumerate() {
        for (j, b) in groups.iter().enumerate().skip(i + 1) {
            codes.push(Code {
                number: u32::try_from(i * 100 + j).unwrap_or(u32::MAX),
                code: format!("{}+{}", a.code, b.code),
                parent: None,
                level: 0,
                label: format!("{} and {}", a.label, b.label),
            });
        }
    }
    Tree::new(vec!["pair".to_owned()], codes)
}

/// One region of NUTS 2021, at any level from 0 to 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// NUTS code, 2 to 5 characters.
    pub code: String,
    /// ISO 3166 alpha-2 of its country.
    pub country: String,
    /// Name in the country's own spelling.
    pub name: String,
    /// Name in Latin letters.
    pub name_latin: String,
}

/// Every region of NUTS 2021, sorted by code.
pub fn nuts() -> &'static [Region] {
    static REGIONS: OnceLock<Vec<Region>> = OnceLock::new();
    REGIONS.get_or_init(|| {
        rows("nuts-2021")
            .into_iter()
            .map(|mut row| {
                let mut take = |column: &str| row.remove(column).unwrap_or_default();
                Region {
                    code: take("code"),
                    country: take("country"),
                    name: take("name"),
                    name_latin: take("name_latin"),
                }
            })
            .collect()
    })
}

/// One part of a country that has no NUTS regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subdivision {
    /// Code of ISO 3166-2, `US-WA`.
    pub code: String,
    /// Its name.
    pub name: String,
}

impl Subdivision {
    /// ISO 3166 alpha-2 of its country.
    pub fn country(&self) -> &str {
        self.code.split_once('-').map_or("", |(country, _)| country)
    }
}

/// Every subdivision of the countries without NUTS, sorted by code.
pub fn subdivisions() -> &'static [Subdivision] {
    static SUBDIVISIONS: OnceLock<Vec<Subdivision>> = OnceLock::new();
    SUBDIVISIONS.get_or_init(|| {
        rows("subdivisions-1")
            .into_iter()
            .filter_map(|mut row| Some(Subdivision { code: row.remove("code")?, name: row.remove("name")? }))
            .collect()
    })
}

fn regions(country: &str) -> Result<Tree, ListError> {
    let mut codes = vec![
        Code { number: 0, code: "_T".into(), parent: None, level: 0, label: "Whole country".into() },
        Code { number: 1, code: "_U".into(), parent: Some(0), level: 1, label: "Region not known".into() },
    ];
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, region) in nuts().iter().enumerate() {
        let length = region.code.len();
        if region.country != country || !(3..=4).contains(&length) {
            continue;
        }
        let fault = |rule| ListError::Row { list: "nuts-2021".into(), row: row + 1, rule };
        let parent = if length == 3 {
            0
        } else {
            *region.code.get(..3).and_then(|code| index_of.get(code)).ok_or_else(|| fault("no region above it"))?
        };
        let number = u32::try_from(row * 2 + 2).map_err(|_| fault("too many rows"))?;
        index_of.insert(&region.code, codes.len());
        codes.push(Code {
            number,
            code: region.code.clone(),
            parent: Some(parent),
            level: if length == 3 { 1 } else { 2 },
            label: region.name_latin.clone(),
        });
        if length == 3 {
            codes.push(Code {
                number: number + 1,
                code: format!("{}_U", region.code),
                parent: Some(codes.len() - 1),
                level: 2,
                label: format!("{}, region not known", region.name_latin),
            });
        }
    }
    Ok(Tree::new(vec!["nuts0".into(), "nuts1".into(), "nuts2".into()], codes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_that_ships_is_a_tree_whose_children_add_up() {
        for name in HIERARCHICAL {
            let tree = tree(name, "ES").unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(tree.codes()[0].code, "_T", "{name}");
            for (index, code) in tree.codes().iter().enumerate() {
                if let Some(parent) = code.parent {
                    assert!(tree.codes()[parent].level < code.level, "{name} {}", code.code);
                }
                let leaf = tree.leaf(index);
                let serves_itself =
                    name == "transport-1" && ["M1", "M2", "M5", "M7", "M8", "_O"].contains(&code.code.as_str());
                let sub_region = name == "countries-1" && code.code.starts_with('S') && tree.is_inner(index);
                assert!(leaf.is_some() || serves_itself || sub_region, "{name} {} has no unknown child", code.code);
                assert_eq!(tree.by_number(code.number), Some(index));
            }
            assert!(tree.find("_U").is_some(), "{name}");
        }
    }

    #[test]
    fn a_code_is_counted_under_its_leaf() {
        let drugs = tree("drugs-1", "ES").unwrap();
        let leaf =
            |code: &str| drugs.leaf(drugs.find(code).unwrap()).map(|index| drugs.codes()[index].code.clone()).unwrap();
        assert_eq!(leaf("COC_HCL"), "COC_HCL");
        assert_eq!(leaf("COC"), "COC_U");
        assert_eq!(leaf("_T"), "_U");
        let group = drugs.ancestor_at(drugs.find("COC_HCL").unwrap(), 1).unwrap();
        assert_eq!(drugs.codes()[group].code, "COC");
        assert_eq!(drugs.ancestor_at(drugs.find("COC_U").unwrap(), 3), None);
    }

    #[test]
    fn regions_are_those_of_the_provider() {
        let spain = tree("nuts-2021", "ES").unwrap();
        assert!(spain.find("ES30").is_some() && spain.find("ITC4").is_none());
        assert_eq!(spain.at_level(0).len(), 1);
        let abroad = tree("nuts-2021", "CO").unwrap();
        assert_eq!(abroad.codes().iter().map(|code| code.code.as_str()).collect::<Vec<_>>(), ["_T", "_U"]);
        let greece = tree("nuts-2021", "GR").unwrap();
        assert!(greece.find("EL3").is_some());
    }

    #[test]
    fn pairs_are_of_two_groups_without_order() {
        let pairs = tree("drug-pairs-1", "ES").unwrap();
        assert_eq!(pairs.codes().len(), 36);
        assert!(pairs.find("COC+HER").is_some() && pairs.find("HER+COC").is_none());
    }
}
