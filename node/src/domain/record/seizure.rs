//! One drug of one seizure.

use bincode::{Decode, Encode};

use super::{Common, Stated};
use crate::domain::amount::Amount;

/// What all lines of one seizure share.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Seizure {
    /// Id, case, date, place and origin of the record.
    pub common: Common,
    /// Means of transport.
    pub transport: Stated<String>,
    /// Type of place.
    pub place_type: Stated<String>,
    /// How it was hidden.
    pub concealment: Stated<String>,
    /// `import`, `export`, `transit`, `internal`.
    pub direction: Stated<String>,
    /// Country of departure, ISO 3166 alpha-2 or `other`.
    pub departure: Stated<String>,
    /// Country of destination.
    pub destination: Stated<String>,
    /// Countries on the way.
    pub transit: Stated<Vec<String>>,
    /// Level of the market.
    pub market_level: Stated<String>,
    /// How the level was found.
    pub level_rule: Stated<String>,
    /// Whether it was a controlled delivery.
    pub controlled_delivery: Stated<bool>,
    /// Whether it was a joint operation.
    pub joint_operation: Stated<bool>,
    /// With whom.
    pub joint_with: Stated<Vec<String>>,
}

/// One line: what is counted and added up.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SeizureLine {
    /// The seizure.
    pub seizure: Seizure,
    /// Number of the line, 1 to 50.
    pub line: u8,
    /// Code of the drug list, at any level: the finest that the file states.
    pub drug: String,
    /// How much; absent if not stated.
    pub amount: Option<Amount>,
    /// `gross`, `net`, `carrier` or `unknown`.
    pub quantity_kind: String,
}
