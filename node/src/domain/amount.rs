//! Amounts: exact decimal arithmetic from what a file says to whole milligrams, millilitres or pieces.

use bincode::{Decode, Encode};

/// A non-negative decimal number, exactly: `digits * 10^-scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    digits: u128,
    scale: i32,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Not digits with at most one decimal sign.
    #[error("not a decimal number")]
    NotDecimal,
    /// Zero.
    #[error("zero amounts are refused: leave the cell empty if the amount is not known")]
    Zero,
    /// Beyond what a record can hold.
    #[error("the amount is out of range")]
    Range,
    /// A fraction of something that is counted.
    #[error("a fraction of something that is counted in whole pieces")]
    Fraction,
}

impl Decimal {
    /// Reads digits with at most one decimal sign; no sign, no blanks, no thousands separator; an exponent only if allowed.
    pub fn parse(text: &str, decimal_sign: char, exponent_allowed: bool) -> Result<Self, BadAmount> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) if exponent_allowed => {
                let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
                if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(BadAmount::NotDecimal);
                }
                (number, exponent.parse::<i32>().map_err(|_| BadAmount::NotDecimal)?)
            }
            Some(_) => return Err(BadAmount::NotDecimal),
            None => (text, 0),
        };
        let (whole, fraction) =
            number.split_once(decimal_sign).map_or((number, None), |(whole, rest)| (whole, Some(rest)));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || fraction.is_some_and(|part| part.is_empty() || !all_digits(part)) {
            return Err(BadAmount::NotDecimal);
        }
        let fraction = fraction.unwrap_or("").trim_end_matches('0');
        let mut digits = 0u128;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = digits
                .checked_mul(10)
                .and_then(|digits| digits.checked_add(u128::from(byte - b'0')))
                .ok_or(BadAmount::Range)?;
        }
        let scale = i32::try_from(fraction.len()).map_err(|_| BadAmount::Range)? - exponent;
        Ok(Self { digits, scale })
    }

    /// Whether it is zero.
    pub const fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// The exact product.
    pub fn times(self, other: Self) -> Result<Self, BadAmount> {
        let digits = self.digits.checked_mul(other.digits).ok_or(BadAmount::Range)?;
        Ok(Self { digits, scale: self.scale + other.scale })
    }

    /// The whole number, if it is one.
    pub fn whole(self) -> Result<u64, BadAmount> {
        let (value, exact) = self.divide();
        if exact {
            value.and_then(|value| u64::try_from(value).ok()).ok_or(BadAmount::Range)
        } else {
            Err(BadAmount::Fraction)
        }
    }

    /// The nearest whole number, half to even.
    pub fn rounded(self) -> Result<u64, BadAmount> {
        if self.scale <= 0 {
            return self.whole().and_then(|value| if value <= AMOUNT_MAX { Ok(value) } else { Err(BadAmount::Range) });
        }
        let value = match u32::try_from(self.scale).ok().and_then(|scale| 10u128.checked_pow(scale)) {
            // 10^39 and more is above every number that the digits can hold twice: rounds to zero.
            None => 0,
            Some(divisor) => {
                let (quotient, rest) = (self.digits / divisor, self.digits % divisor);
                let up = rest > divisor - rest || (rest == divisor - rest && quotient % 2 == 1);
                quotient + u128::from(up)
            }
        };
        u64::try_from(value).ok().filter(|value| *value <= AMOUNT_MAX).ok_or(BadAmount::Range)
    }

    /// The number times a power of ten, if that is whole: `scaled(2)` of 12.5 is 1250.
    pub fn scaled(self, power: u8) -> Result<u64, BadAmount> {
        Self { digits: self.digits, scale: self.scale - i32::from(power) }.whole()
    }

    /// The nearest whole number of hundredths, half to even.
    pub fn hundredths_rounded(self) -> Result<u64, BadAmount> {
        Self { digits: self.digits, scale: self.scale - 2 }.rounded()
    }

    fn divide(self) -> (Option<u128>, bool) {
        let power = 10u128.checked_pow(self.scale.unsigned_abs());
        match (self.scale <= 0, power) {
            (_, _) if self.digits == 0 => (Some(0), true),
            (true, Some(power)) => (self.digits.checked_mul(power), true),
            (true, None) => (None, true),
            (false, Some(power)) => (Some(self.digits / power), self.digits.is_multiple_of(power)),
            (false, None) => (Some(0), false),
        }
    }
}

/// A number without its thousands separators, which must part the whole into groups of three.
pub fn without_thousands(text: &str, separator: char, decimal_sign: char) -> Result<String, BadAmount> {
    let (whole, fraction) = text.split_once(decimal_sign).map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let mut groups = whole.split(separator);
    let first = groups.next().unwrap_or("");
    let parted = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    if !parted || fraction.is_some_and(|fraction| fraction.contains(separator)) {
        return Err(BadAmount::NotDecimal);
    }
    Ok(text.replace(separator, ""))
}

/// Largest amount of one line, in milligrams, millilitres or pieces: a million tonnes.
pub const AMOUNT_MAX: u64 = 1_000_000_000_000_000;

accord_protocol::codes! {
    /// Units that a file may use.
    pub enum Unit: u8 {
        /// Milligram.
        Milligram = 1 "mg",
        /// Gram.
        Gram = 2 "g",
        /// Kilogram.
        Kilogram = 3 "kg",
        /// Tonne.
        Tonne = 4 "t",
        /// Avoirdupois ounce.
        Ounce = 5 "oz",
        /// Avoirdupois pound.
        Pound = 6 "lb",
        /// Tablet.
        Tablet = 7 "tablet",
        /// Dose.
        Dose = 8 "dose",
        /// Capsule.
        Capsule = 9 "capsule",
        /// Blotter.
        Blotter = 10 "blotter",
        /// Plant.
        Plant = 11 "plant",
        /// Piece.
        Piece = 12 "piece",
        /// Millilitre.
        Millilitre = 13 "ml",
        /// Litre.
        Litre = 14 "l",
    }
}

/// What an amount is after conversion. Masses, volumes and the kinds of pieces are never added to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Amount {
    /// Whole milligrams.
    MassMg(u64),
    /// Whole millilitres.
    VolumeMl(u64),
    /// Whole pieces of a kind.
    Count(Unit, u64),
}

impl Unit {
    /// Milligrams or millilitres in one unit; `None` for what is counted. The ounce is 28.349523125 g and the pound
    /// 453.59237 g by definition (international yard and pound agreement, 1959).
    const fn factor(self) -> Option<(Decimal, bool)> {
        let (digits, scale, is_mass) = match self {
            Self::Milligram => (1, 0, true),
            Self::Gram => (1_000, 0, true),
            Self::Kilogram => (1_000_000, 0, true),
            Self::Tonne => (1_000_000_000, 0, true),
            Self::Ounce => (28_349_523_125, 6, true),
            Self::Pound => (45_359_237, 2, true),
            Self::Millilitre => (1, 0, false),
            Self::Litre => (1_000, 0, false),
            Self::Tablet | Self::Dose | Self::Capsule | Self::Blotter | Self::Plant | Self::Piece => return None,
        };
        Some((Decimal { digits, scale }, is_mass))
    }
}

/// Converts what a file says, in a unit and optionally times a factor of the mapping.
pub fn amount(value: Decimal, unit: Unit, times: Option<Decimal>) -> Result<Amount, BadAmount> {
    if value.is_zero() {
        return Err(BadAmount::Zero);
    }
    let value = times.map_or(Ok(value), |times| value.times(times))?;
    match unit.factor() {
        Some((factor, true)) => value.times(factor)?.rounded().map(Amount::MassMg),
        Some((factor, false)) => value.times(factor)?.rounded().map(Amount::VolumeMl),
        None => value
            .whole()
            .and_then(|count| if count <= AMOUNT_MAX { Ok(Amount::Count(unit, count)) } else { Err(BadAmount::Range) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mg(text: &str, unit: Unit) -> Result<Amount, BadAmount> {
        Decimal::parse(text, '.', true).and_then(|value| amount(value, unit, None))
    }

    #[test]
    fn amounts_are_exact_and_rounded_half_to_even() {
        for (text, unit, want) in [
            ("0.11599999999999999", Unit::Kilogram, 116_000),
            ("0.006999999999999999", Unit::Kilogram, 7_000),
            ("9e-05", Unit::Kilogram, 90),
            ("1e-07", Unit::Kilogram, 0),
            ("0.0005", Unit::Gram, 0),
            ("0.0015", Unit::Gram, 2),
            ("0.0025", Unit::Gram, 2),
            ("0.00250000000000000000001", Unit::Gram, 3),
            ("1", Unit::Ounce, 28_350),
            ("1", Unit::Pound, 453_592),
            ("2000000", Unit::Pound, 907_184_740_000),
            ("5", Unit::Tonne, 5_000_000_000),
            ("1e3", Unit::Gram, 1_000_000),
        ] {
            assert_eq!(mg(text, unit), Ok(Amount::MassMg(want)), "{text} {unit}");
        }
        assert_eq!(mg("0.0135", Unit::Litre), Ok(Amount::VolumeMl(14)));
        assert_eq!(mg("12", Unit::Tablet), Ok(Amount::Count(Unit::Tablet, 12)));
        assert_eq!(mg("12.000", Unit::Tablet), Ok(Amount::Count(Unit::Tablet, 12)));
        let tenth = Decimal::parse("0.1", '.', false).unwrap();
        assert_eq!(amount(Decimal::parse("3", '.', false).unwrap(), Unit::Gram, Some(tenth)), Ok(Amount::MassMg(300)));
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in
            ["", "-1", "+1", "1,5", "1.5.2", " 50 ", "50%", "∞", "1e", "1e1000", "0x10", ".5", "5.", "1 000", "NaN"]
        {
            assert_eq!(mg(text, Unit::Gram), Err(BadAmount::NotDecimal), "{text}");
        }
        assert_eq!(Decimal::parse("1e3", '.', false), Err(BadAmount::NotDecimal));
        assert_eq!(mg("0", Unit::Gram), Err(BadAmount::Zero));
        assert_eq!(mg("0.000", Unit::Gram), Err(BadAmount::Zero));
        assert_eq!(mg("1.5", Unit::Tablet), Err(BadAmount::Fraction));
        assert_eq!(mg(&"9".repeat(400), Unit::Gram), Err(BadAmount::Range));
        assert_eq!(mg("1e400", Unit::Gram), Err(BadAmount::Range));
        assert_eq!(mg("99999999999999999", Unit::Kilogram), Err(BadAmount::Range));
        assert_eq!(mg("1000000001", Unit::Kilogram), Err(BadAmount::Range));
        assert_eq!(mg("1000000000", Unit::Kilogram), Ok(Amount::MassMg(AMOUNT_MAX)));
        assert_eq!(
            Decimal::parse("1,5", ',', false).and_then(|value| amount(value, Unit::Gram, None)),
            Ok(Amount::MassMg(1_500))
        );
    }

    #[test]
    fn thousands_are_read_in_groups_of_three_or_not_at_all() {
        for (text, want) in [
            ("1.234,56", Some("1234,56")),
            ("1.234.567", Some("1234567")),
            ("12,5", Some("12,5")),
            ("1.23", None),
            ("1234.567", None),
            ("1,234.5", None),
            (".123", None),
        ] {
            assert_eq!(without_thousands(text, '.', ',').ok().as_deref(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_unit_of_mass_agrees_with_its_smaller_one(thousandths in 1u64..1_000_000_000) {
            let (whole, rest) = (thousandths / 1000, thousandths % 1000);
            let text = format!("{whole}.{rest:03}");
            prop_assert_eq!(mg(&text, Unit::Tonne), mg(&thousandths.to_string(), Unit::Kilogram));
            prop_assert_eq!(mg(&text, Unit::Kilogram), mg(&thousandths.to_string(), Unit::Gram));
            prop_assert_eq!(mg(&text, Unit::Gram), mg(&thousandths.to_string(), Unit::Milligram));
        }

        #[test]
        fn a_sum_of_rounded_parts_is_near_the_whole(grams in 0u64..1_000_000, thousandths in 1u32..1000) {
            let text = format!("{grams}.{thousandths:03}");
            prop_assert_eq!(mg(&text, Unit::Gram), Ok(Amount::MassMg(grams * 1000 + u64::from(thousandths))));
        }
    }
}
