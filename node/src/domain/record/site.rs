//! One extraction or other production site.

use bincode::{Decode, Encode};

use super::{Common, Stated};
use crate::domain::amount::Amount;

/// One dismantled site; rooms of one complex are one site.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Site {
    /// Id, case, date of dismantling, place and origin of the record.
    pub common: Common,
    /// `extraction`, `conversion`, `crystallisation`, `cutting_pressing`, `storage`, `dump` or `unknown`.
    pub site_role: String,
    /// `active`, `inactive`, `under_construction` or `unknown`.
    pub site_status: Stated<String>,
    /// The material that the drug was hidden in.
    pub carrier: Stated<String>,
    /// Estimated capacity in grams per batch.
    pub capacity_g_per_batch: Option<u64>,
    /// The drug that was found.
    pub found_drug: Option<String>,
    /// How much of it.
    pub found_amount: Option<Amount>,
    /// Chemicals in millilitres.
    pub chemicals_ml: Option<u64>,
    /// Record ids of seizures that belong to it.
    pub linked_seizures: Stated<Vec<String>>,
    /// People injured.
    pub injured: Option<u16>,
    /// People dead.
    pub dead: Option<u16>,
}
