//! One row to one observed price, converted to euro cents for one gram, tablet or dose.

use accord_protocol::time::Date;

use super::{
    RowFault, Rule,
    cells::{Cells, Unknown},
    purity::BASES,
    seizure::MARKET_LEVELS,
};
use crate::domain::{
    amount::{Amount, Unit},
    rates::RateError,
    record::{Common, Line, Price, Rate, When},
};

/// Largest price of one observation, in hundredths of the currency.
const AMOUNT_HUNDREDTHS_MAX: u64 = 10_000_000_000_000;
/// Largest price of one gram, tablet or dose, in euro cents: a hundred million euro.
const CENTS_MAX: u128 = 10_000_000_000;

impl Cells<'_> {
    pub(super) fn price(&self, common: Common) -> Result<Line, RowFault> {
        let amount = self
            .hundredths("amount", AMOUNT_HUNDREDTHS_MAX)?
            .ok_or_else(|| self.fault("amount", Rule::Required, "must not be empty"))?;
        if amount == 0 {
            return Err(self.fault("amount", Rule::Range, "a price of zero is refused"));
        }
        let quantity = self
            .amount("quantity", "unit")?
            .ok_or_else(|| self.fault("quantity", Rule::Required, "must not be empty"))?;
        let currency = self.currency()?;
        let rate = self.rate(&currency, common.date)?;
        let purity = match (self.percent("purity_percent")?, self.raw("expressed_as").is_empty()) {
            (None, true) => None,
            (Some(percent), false) => Some((percent, self.one_of("expressed_as", &BASES, Unknown::Permitted)?)),
            (Some(_), true) => {
                return Err(self.fault("expressed_as", Rule::Required, "must stand beside purity_percent"));
            }
            // A basis that the mapping states for all rows says nothing about a row without a purity.
            (None, false) if self.is_constant("expressed_as") => None,
            (None, false) => {
                return Err(self.fault("purity_percent", Rule::Required, "must stand beside expressed_as"));
            }
        };
        Ok(Line::Price(Box::new(Price {
            common,
            drug: self.required_drug()?,
            amount_hundredths: amount,
            currency,
            quantity,
            cents_per_unit: self.cents_per_unit(amount, rate, quantity)?,
            rate,
            market_level: self.one_of("market_level", &MARKET_LEVELS, Unknown::Permitted)?,
            level_rule: self.level_rule()?,
            weight_basis: self.one_of("weight_basis", &["weighed", "assumed"], Unknown::Permitted)?,
            price_source: self.one_of(
                "price_source",
                &["test_purchase", "police_intelligence", "user_interview", "court_file", "online", "other"],
                Unknown::Permitted,
            )?,
            purity,
        })))
    }

    fn currency(&self) -> Result<String, RowFault> {
        let code =
            self.translated("currency")?.ok_or_else(|| self.fault("currency", Rule::Required, "must not be empty"))?;
        if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(code)
        } else {
            Err(self.unknown_word("currency", Rule::Currency, &code, "not a code of ISO 4217, three capital letters"))
        }
    }

    // The last rate on or before the day, or before the middle of what is stated where no day is.
    fn rate(&self, currency: &str, when: When) -> Result<Option<Rate>, RowFault> {
        if currency == "EUR" {
            return Ok(None);
        }
        let fault = |message: String| self.fault("date", Rule::Rate, message);
        let rates = self.reader.rates.get(currency).ok_or_else(|| {
            let message = "no rates for this currency; bring them in with accord rates import, or correct the code";
            self.unknown_word("currency", Rule::Currency, currency, message)
        })?;
        let day = if when.day > 0 { Date::new(when.year, when.month, when.day) } else { None };
        let Some(day) = day else {
            // Without a day the middle of what is stated stands for it.
            let middle = middle(when).ok_or_else(|| self.fault("date", Rule::Date, "not a day of the calendar"))?;
            return rates.last_before(middle).map(Some).map_err(|error| fault(error.to_string()));
        };
        rates.last_before(day).map(Some).map_err(|error: RateError| fault(error.to_string()))
    }

    // euro cents = hundredths / (units of the currency for one euro); for one gram = times 1000 / mg.
    fn cents_per_unit(&self, hundredths: u64, rate: Option<Rate>, quantity: Amount) -> Result<u64, RowFault> {
        let (times, units) = match quantity {
            Amount::MassMg(mg) => (1000u128, u128::from(mg)),
            Amount::Count(Unit::Tablet | Unit::Dose, count) => (1, u128::from(count)),
            Amount::Count(..) | Amount::VolumeMl(_) => {
                return Err(self.fault("unit", Rule::Unit, "a price is for a mass, tablets or doses"));
            }
        };
        let (scale, rate) = rate.map_or((1, 1), |rate| (100_000_000, u128::from(rate.units_e8)));
        let (top, bottom) = (u128::from(hundredths) * scale * times, rate * units);
        let half_even = |top: u128, bottom: u128| {
            let (quotient, rest) = (top.checked_div(bottom)?, top.checked_rem(bottom)?);
            let up = rest > bottom - rest || (rest == bottom - rest && quotient % 2 == 1);
            Some(quotient + u128::from(up))
        };
        half_even(top, bottom)
            .filter(|cents| *cents <= CENTS_MAX)
            .and_then(|cents| u64::try_from(cents).ok())
            .ok_or_else(|| self.fault("amount", Rule::Range, "a price beyond a hundred million euro for one unit"))
    }
}

// The middle of a month, quarter or year.
fn middle(when: When) -> Option<Date> {
    match (when.month, when.quarter) {
        (0, 0) => Date::new(when.year, 7, 1),
        (0, quarter) => Date::new(when.year, quarter * 3 - 1, 15),
        (month, _) => Date::new(when.year, month, 15),
    }
}
