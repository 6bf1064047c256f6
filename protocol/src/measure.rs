//! What a table counts and adds up: measures, and the bins of histograms.

use serde::Deserialize;

crate::codes! {
    /// What a measure counts or adds up over the lines of a cell.
    pub enum Quantity: u8 {
        /// Lines.
        Lines = 1 "lines",
        /// Lines with a mass.
        LinesWeighed = 2 "lines_weighed",
        /// Mass in milligrams.
        MassMg = 3 "mass_mg",
        /// Tablets and capsules.
        Tablets = 4 "tablets",
        /// Doses and blotters.
        Doses = 5 "doses",
        /// Volume in millilitres.
        VolumeMl = 6 "volume_ml",
        /// Distinct cases; only where the table has no margins.
        Cases = 7 "cases",
        /// Lines with a value: a purity, a price.
        LinesMeasured = 8 "lines_measured",
        /// The mean of the values, as the number of lines and their sum.
        Mean = 9 "mean",
        /// The number of lines with a value, then of those in each bin.
        Histogram = 10 "histogram",
    }
}

/// One measure of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Its name: `seizures`, `quantity_mg`.
    pub id: String,
    /// What is counted or added up.
    #[serde(deserialize_with = "quantity")]
    pub of: Quantity,
    /// Unit of the number: `1`, `mg`, `ml`.
    pub unit: String,
    /// Published in steps of this many units, rounded half up; 1 = exact.
    #[serde(default = "one")]
    pub step: u64,
    /// What basis or weighting the number has, where numbers on different ones must not be added up.
    #[serde(default)]
    pub basis: String,
    /// What a reader must know, in a sentence.
    pub note: String,
    /// The bins of a histogram, coarsest level first; every edge of a level is one of the next, finer one.
    #[serde(default)]
    pub bins: Vec<BinLevel>,
}

/// One level of a histogram's bins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinLevel {
    /// Its name, `5 points`.
    pub name: String,
    /// Ascending edges in the measure's unit: bin *i* holds values from edge *i* up to, not including, edge *i + 1*. An upper edge of
    /// [`OPEN_EDGE`] means that the last bin has no upper end.
    pub edges: Vec<u64>,
}

impl BinLevel {
    /// Lower and upper edge of each bin.
    pub fn bins(&self) -> impl Iterator<Item = (u64, u64)> {
        self.edges.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)))
    }
}

/// Upper edge of a bin without an upper end: the largest number that every JSON reader holds exactly.
pub const OPEN_EDGE: u64 = (1 << 53) - 1;
/// Numbers of one cell, all measures together, at most.
pub const CELL_WIDTH_MAX: usize = 256;

fn one() -> u64 {
    1
}

impl Measure {
    /// Whether the measure counts lines or cases: such measures share one hidden set and take no dominance rule.
    pub const fn is_count(&self) -> bool {
        match self.of {
            Quantity::Lines | Quantity::LinesWeighed | Quantity::LinesMeasured | Quantity::Cases => true,
            Quantity::MassMg
            | Quantity::Tablets
            | Quantity::Doses
            | Quantity::VolumeMl
            | Quantity::Mean
            | Quantity::Histogram => false,
        }
    }

    /// How numbers of several providers come together, as a word for people and programs.
    pub const fn pool_word(&self) -> &'static str {
        match self.of {
            Quantity::Mean => "mean",
            Quantity::Histogram => "histogram",
            Quantity::Lines
            | Quantity::LinesWeighed
            | Quantity::LinesMeasured
            | Quantity::Cases
            | Quantity::MassMg
            | Quantity::Tablets
            | Quantity::Doses
            | Quantity::VolumeMl => "sum",
        }
    }

    /// How many numbers the measure has in each cell: one, two for a mean (lines, sum), one and the bins for a histogram.
    pub fn width(&self) -> usize {
        match self.of {
            Quantity::Mean => 2,
            Quantity::Histogram => 1 + self.all_bins().count(),
            Quantity::Lines
            | Quantity::LinesWeighed
            | Quantity::LinesMeasured
            | Quantity::Cases
            | Quantity::MassMg
            | Quantity::Tablets
            | Quantity::Doses
            | Quantity::VolumeMl => 1,
        }
    }

    /// Lower and upper edges of all bins, level after level, in the order of the numbers of a cell.
    pub fn all_bins(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bins.iter().flat_map(BinLevel::bins)
    }

    pub(crate) fn check_bins(&self) -> Result<(), &'static str> {
        if (self.of == Quantity::Histogram) == self.bins.is_empty() {
            return Err("a histogram has bins, and nothing else has");
        }
        for level in &self.bins {
            if level.edges.len() < 2 || !level.edges.is_sorted_by(|a, b| a < b) || level.edges.last() > Some(&OPEN_EDGE)
            {
                return Err("edges of bins ascend, and there are at least two");
            }
        }
        let nested = self.bins.windows(2).all(|pair| match pair {
            [coarse, fine] => {
                coarse.edges.iter().all(|edge| fine.edges.contains(edge))
                    && (coarse.edges.first(), coarse.edges.last()) == (fine.edges.first(), fine.edges.last())
            }
            _ => true,
        });
        if nested { Ok(()) } else { Err("every edge of a level of bins is one of the next, finer level") }
    }
}

fn quantity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
    let text = String::deserialize(deserializer)?;
    Quantity::from_word(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is nothing that can be counted or added up")))
}
