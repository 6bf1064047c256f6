//! One row to one analysed sample.

use super::{
    RowFault, Rule,
    cells::{Cells, Unknown},
    seizure::MARKET_LEVELS,
};
use crate::domain::{
    amount::AMOUNT_MAX,
    record::{Common, Line, Purity},
};

/// 100 per cent, in hundredths.
pub(super) const PERCENT_MAX: u64 = 10_000;
/// What a purity may be expressed as, besides `unknown`.
pub(super) const BASES: [&str; 3] = ["base", "hcl", "other_salt"];
const ADULTERANTS: [&str; 11] = [
    "levamisole",
    "phenacetin",
    "caffeine",
    "lidocaine",
    "procaine",
    "benzocaine",
    "paracetamol",
    "diltiazem",
    "hydroxyzine",
    "mannitol",
    "lactose",
];

impl Cells<'_> {
    pub(super) fn purity(&self, common: Common) -> Result<Line, RowFault> {
        let below = self.one_of("below_detection", &["yes", "no"], Unknown::Refused)? == "yes";
        let percent = self.percent("purity_percent")?;
        match (below, percent) {
            (true, Some(_)) => {
                return Err(self.fault("purity_percent", Rule::Range, "must be empty where below_detection is yes"));
            }
            (false, None) => {
                return Err(self.fault("purity_percent", Rule::Required, "must not be empty, unless below detection"));
            }
            (true, None) | (false, Some(_)) => {}
        }
        // The drug may be coarse, but whether its form is known is part of what a purity means.
        self.required("form")?;
        let sampling = self.one_of("sampling", &["random", "all", "threshold"], Unknown::Permitted)?;
        let threshold_mg = self.whole("threshold_mg", AMOUNT_MAX)?;
        if threshold_mg.is_some() && sampling != "threshold" {
            return Err(self.fault("threshold_mg", Rule::Range, "must be empty unless sampling is threshold"));
        }
        let seizure_id = if self.raw("seizure_id").is_empty() { None } else { Some(self.id("seizure_id")?) };
        Ok(Line::Purity(Box::new(Purity {
            common,
            seizure_id,
            drug: self.required_drug()?,
            percent_hundredths: percent,
            expressed_as: self.one_of("expressed_as", &BASES, Unknown::Permitted)?,
            method: self.among("method", &["gc_fid", "gc_ms", "hplc", "nmr", "other"])?,
            sampling,
            threshold_mg,
            origin: self.one_of("origin", &["seizure", "drug_checking"], Unknown::Refused)?,
            market_level: self.among("market_level", &MARKET_LEVELS)?,
            level_rule: self.level_rule()?,
            sample_mg: self.whole("sample_mg", AMOUNT_MAX)?,
            adulterants: self.list("adulterants", 20, |code| code == "other" || ADULTERANTS.contains(&code))?,
        })))
    }

    /// A percentage in hundredths, 0.00 to 100.00.
    pub(super) fn percent(&self, field: &str) -> Result<Option<u16>, RowFault> {
        Ok(self.hundredths(field, PERCENT_MAX)?.and_then(|value| u16::try_from(value).ok()))
    }
}
