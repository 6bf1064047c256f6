//! One row to one extraction or other production site.

use super::{
    RowFault,
    cells::{Cells, Unknown, is_record_id},
};
use crate::domain::{
    amount::AMOUNT_MAX,
    record::{Common, Line, Site},
};

impl Cells<'_> {
    pub(super) fn site(&self, common: Common) -> Result<Line, RowFault> {
        let people = |field| Ok::<_, RowFault>(self.whole(field, 999)?.and_then(|count| u16::try_from(count).ok()));
        Ok(Line::Site(Box::new(Site {
            common,
            site_role: self.one_of(
                "site_role",
                &["extraction", "conversion", "crystallisation", "cutting_pressing", "storage", "dump"],
                Unknown::Permitted,
            )?,
            site_status: self.among("site_status", &["active", "inactive", "under_construction"])?,
            carrier: self.among(
                "carrier",
                &[
                    "charcoal",
                    "plastic",
                    "textile",
                    "fertiliser",
                    "beeswax",
                    "liquid",
                    "food",
                    "paper",
                    "guano",
                    "wood",
                    "other",
                    "none",
                ],
            )?,
            capacity_g_per_batch: self.whole("capacity_g_per_batch", AMOUNT_MAX)?,
            found_drug: self.drug("found_drug", "found_form")?,
            found_amount: self.amount("found_amount", "found_unit")?,
            chemicals_ml: self.whole("chemicals_ml", AMOUNT_MAX)?,
            linked_seizures: self.list("linked_seizures", 50, is_record_id)?,
            injured: people("injured")?,
            dead: people("dead")?,
        })))
    }
}
