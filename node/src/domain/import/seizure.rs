//! One row to one line of a seizure.

use super::{
    RowFault, Rule,
    cells::{Cells, Unknown},
};
use crate::domain::record::{Common, Line, Seizure, SeizureLine};

/// Levels of the market that a record may state.
pub(super) const MARKET_LEVELS: [&str; 3] = ["wholesale", "mid", "retail"];

impl Cells<'_> {
    pub(super) fn seizure(&self, common: Common) -> Result<Line, RowFault> {
        let lists = &self.reader.lists;
        let seizure = Seizure {
            common,
            transport: self.stated("transport", |code| lists.transport.contains(code))?,
            place_type: self.stated("place_type", |code| lists.place.contains(code))?,
            concealment: self.stated("concealment", |code| lists.concealment.contains(code))?,
            direction: self.among("direction", &["import", "export", "transit", "internal"])?,
            departure: self.country("departure")?,
            destination: self.country("destination")?,
            transit: self.countries("transit")?,
            market_level: self.among("market_level", &MARKET_LEVELS)?,
            level_rule: self.level_rule()?,
            controlled_delivery: self.yes_no("controlled_delivery")?,
            joint_operation: self.yes_no("joint_operation")?,
            joint_with: self.countries("joint_with")?,
        };
        Ok(Line::Seizure(Box::new(SeizureLine {
            seizure,
            line: self.line_number()?,
            drug: self.required_drug()?,
            amount: self.amount("amount", "unit")?,
            quantity_kind: self.one_of("quantity_kind", &["gross", "net", "carrier"], Unknown::Permitted)?,
        })))
    }

    fn line_number(&self) -> Result<u8, RowFault> {
        let cell = self.raw("line");
        if cell.is_empty() && !self.has("line") {
            return Ok(1);
        }
        let digits = !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
        cell.parse::<u8>().ok().filter(|line| digits && (1..=50).contains(line)).ok_or_else(|| {
            self.fault("line", if digits { Rule::Range } else { Rule::Number }, "a whole number from 1 to 50")
        })
    }
}
