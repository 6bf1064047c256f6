//! The primary rules: threshold on distinct cases, dominance, p%.

use super::{Reason, Rules, Zeros};
use crate::domain::tabulate::{Cell, Magnitude};

/// Threshold rule on distinct cases; all counts of a cell share its outcome.
pub(super) fn count_is_safe(cell: &Cell, rules: &Rules) -> Result<(), Reason> {
    threshold(cell.cases, rules)
}

/// Threshold rule on the cases that have a part, then (1, d) dominance `100 x1 > d X`, then the p% rule
/// `100 (X - x1 - x2) < p x1` (`disclosure.md` A.1; Handbook on Statistical Disclosure Control, 4.2).
///
/// A sum of nothing is shown, where zeros are shown, only if the cell has no case at all: cases of which none was weighed are not
/// a known zero.
pub(super) fn magnitude_is_safe(cell: &Cell, magnitude: &Magnitude, rules: &Rules) -> Result<(), Reason> {
    if magnitude.contributors == 0 && cell.cases > 0 {
        return Err(Reason::TooFewCases);
    }
    threshold(magnitude.contributors, rules)?;
    // Sums stay far below 2^64 lines of 10^15: none of these products can overflow 128 bits.
    if magnitude.largest * 100 > magnitude.sum * u128::from(rules.dominance_percent()) {
        return Err(Reason::Dominated);
    }
    let rest = magnitude.sum - magnitude.largest - magnitude.second;
    if rest * 100 < magnitude.largest * u128::from(rules.p_percent()) {
        return Err(Reason::PPercent);
    }
    Ok(())
}

/// Threshold rule on a number of distinct cases.
pub(super) fn threshold(cases: u64, rules: &Rules) -> Result<(), Reason> {
    match (cases, rules.zeros()) {
        (0, Zeros::Shown) => Ok(()),
        (cases, Zeros::Shown | Zeros::Hidden) if cases < u64::from(rules.k()) => Err(Reason::TooFewCases),
        (_, Zeros::Shown | Zeros::Hidden) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::disclosure::{BadRules, Outcome, alone};
    use accord_protocol::catalogue::{Catalogue, Measure, SHIPPED};
    use expect_test::expect;

    fn cell(parts: &[u64]) -> Cell {
        let mut sorted: Vec<u128> = parts.iter().map(|part| u128::from(*part)).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let magnitude = Magnitude {
            sum: sorted.iter().sum(),
            contributors: sorted.iter().filter(|part| **part > 0).count() as u64,
            largest: sorted.first().copied().unwrap_or(0),
            second: sorted.get(1).copied().unwrap_or(0),
        };
        Cell {
            cases: parts.len() as u64,
            lines: parts.len() as u64,
            lines_weighed: parts.len() as u64,
            magnitudes: vec![magnitude; 3],
            ..Cell::default()
        }
    }

    fn measures() -> Vec<Measure> {
        Catalogue::parse(SHIPPED).unwrap().table("seizures-year-drug").unwrap().measures.clone()
    }

    fn show(cell: &Cell, rules: &Rules) -> String {
        let measures = measures();
        [(0, &measures[0]), (2, &measures[2])]
            .map(|(index, measure)| match alone(cell, index, measure, rules)[0] {
                Outcome::Release(released) => format!("{} {released:?}", measure.id),
                Outcome::Suppress(reason) => format!("{} hidden ({reason})", measure.id),
            })
            .join(", ")
    }

    #[test]
    fn the_whole_decision_table() {
        let kg = |grams: &[u64]| cell(&grams.iter().map(|grams| grams * 1000).collect::<Vec<_>>());
        let table: Vec<(&str, Cell)> = vec![
            ("no case", cell(&[])),
            ("four cases", kg(&[1000; 4])),
            ("five cases", kg(&[1000; 5])),
            ("attack 5.7, dominance", kg(&[9000, 300, 200, 150, 120, 100, 60, 40, 20, 10])),
            ("exactly 75 %", kg(&[7500, 625, 625, 625, 625])),
            ("one gram above 75 %", kg(&[7503, 625, 625, 625, 625])),
            ("two share it, the rest is 14.9 % of the largest", kg(&[10_000, 10_000, 500, 500, 490])),
            ("two share it, the rest is 15 % of the largest", kg(&[10_000, 10_000, 500, 500, 500])),
            ("six cases, one weighed", cell(&[5_000_000, 0, 0, 0, 0, 0])),
            ("rounded half up to 0.1 kg", kg(&[50, 50, 50, 50, 50])),
            ("rounded down", kg(&[49, 50, 50, 50, 50])),
        ];
        let shown: String =
            table.iter().map(|(name, cell)| format!("{name}: {}\n", show(cell, &Rules::DEFAULT))).collect();
        expect![[r#"
            no case: seizures hidden (too_few_cases), quantity_mg hidden (too_few_cases)
            four cases: seizures hidden (too_few_cases), quantity_mg hidden (too_few_cases)
            five cases: seizures 5, quantity_mg 5000000
            attack 5.7, dominance: seizures 10, quantity_mg hidden (dominated)
            exactly 75 %: seizures 5, quantity_mg 10000000
            one gram above 75 %: seizures 5, quantity_mg hidden (dominated)
            two share it, the rest is 14.9 % of the largest: seizures 5, quantity_mg hidden (p_percent)
            two share it, the rest is 15 % of the largest: seizures 5, quantity_mg 21500000
            six cases, one weighed: seizures 6, quantity_mg hidden (too_few_cases)
            rounded half up to 0.1 kg: seizures 5, quantity_mg 300000
            rounded down: seizures 5, quantity_mg 200000
        "#]]
        .assert_eq(&shown);
        let shows_zeros = Rules::new(5, 15, 75, Zeros::Shown).unwrap();
        assert_eq!(show(&cell(&[]), &shows_zeros), "seizures 0, quantity_mg 0");
        let none_weighed = "seizures 6, quantity_mg hidden (too_few_cases)";
        assert_eq!(show(&cell(&[0; 6]), &shows_zeros), none_weighed);
        assert_eq!(
            show(&kg(&[1000; 4]), &shows_zeros),
            "seizures hidden (too_few_cases), quantity_mg hidden (too_few_cases)"
        );
    }

    #[test]
    fn a_threshold_below_the_floor_does_not_exist() {
        assert_eq!(Rules::new(2, 15, 75, Zeros::Hidden), Err(BadRules::Threshold(2)));
        assert_eq!(Rules::new(5, 0, 75, Zeros::Hidden), Err(BadRules::Percent(0)));
        assert_eq!(Rules::new(5, 15, 101, Zeros::Hidden), Err(BadRules::Percent(101)));
        assert_eq!(Rules::new(5, 15, 75, Zeros::Hidden), Ok(Rules::DEFAULT));
    }
}
