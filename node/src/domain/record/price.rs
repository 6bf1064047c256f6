//! One observed price.

use bincode::{Decode, Encode};

use super::{Common, Stated};
use crate::domain::amount::Amount;

/// The exchange rate that a price was converted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rate {
    /// Units of the currency for one euro, in hundred-millionths (ECB reference rates are quoted so).
    pub units_e8: u64,
    /// The day of the rate, in days since 1970-01-01.
    pub day: i64,
}

/// One price and what was got for it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Price {
    /// Id, case, date of observation, place and origin of the record.
    pub common: Common,
    /// Code of the drug list, at the finest level that the file states.
    pub drug: String,
    /// What was paid, in hundredths of the currency.
    pub amount_hundredths: u64,
    /// ISO 4217.
    pub currency: String,
    /// What was got: a mass, tablets or doses.
    pub quantity: Amount,
    /// Euro cents for one gram, tablet or dose, rounded half to even.
    pub cents_per_unit: u64,
    /// The rate; absent for euro.
    pub rate: Option<Rate>,
    /// `wholesale`, `mid`, `retail` or `unknown`.
    pub market_level: String,
    /// How the level was found.
    pub level_rule: Stated<String>,
    /// `weighed`, `assumed` or `unknown`.
    pub weight_basis: String,
    /// Where the price was learnt.
    pub price_source: String,
    /// Purity in hundredths of a per cent and the basis that it is expressed on.
    pub purity: Option<(u16, String)>,
}
