//! One analysed sample.

use bincode::{Decode, Encode};

use super::{Common, Stated};

/// One sample and how pure it was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Purity {
    /// Id, case, date of analysis, place and origin of the record.
    pub common: Common,
    /// The seizure that it was taken from.
    pub seizure_id: Option<String>,
    /// Code of the drug list, at the finest level that the file states.
    pub drug: String,
    /// Purity in hundredths of a per cent, 0 to 10,000; absent if below detection.
    pub percent_hundredths: Option<u16>,
    /// `base`, `hcl`, `other_salt` or `unknown`: numbers on different bases never pool.
    pub expressed_as: String,
    /// Method of analysis.
    pub method: Stated<String>,
    /// `random`, `all`, `threshold` or `unknown`.
    pub sampling: String,
    /// The threshold in milligrams, where samples were selected by one.
    pub threshold_mg: Option<u64>,
    /// `seizure` or `drug_checking`: never pooled together.
    pub origin: String,
    /// Level of the market.
    pub market_level: Stated<String>,
    /// How the level was found.
    pub level_rule: Stated<String>,
    /// Mass of the sample in milligrams.
    pub sample_mg: Option<u64>,
    /// What it was cut with.
    pub adulterants: Stated<Vec<String>>,
}
