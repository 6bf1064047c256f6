//! The pool: answers of several members to one question, merged exactly and in any order.
//!
//! Nothing is added up that is not comparable, and every pooled number says who is in it and who is missing and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalogue::{Measure, Quantity, Table},
    cell::{NUMBER_MAX, Released, State},
    distribution::Distribution,
    id::NodeId,
    selection::Selection,
};

crate::codes! {
    /// Why a member's number is not in a pooled one.
    pub enum Why: u8 {
        /// Disclosure control keeps it back.
        Suppressed = 1 "suppressed",
        /// The provider declares no complete data for the period.
        NotAvailable = 2 "not_available",
        /// Counted differently.
        NotComparable = 3 "not_comparable",
        /// The provider refused.
        Refused = 4 "refused",
        /// The provider holds the request until a person has looked.
        Held = 5 "held",
        /// Nobody answered.
        Unreachable = 6 "unreachable",
        /// The reply is not believed.
        NotVerified = 7 "not_verified",
    }
}

/// One pooled measure. Values form a commutative monoid under [`Pooled::merge`] with [`Pooled::default`] as identity, so the order
/// in which members answer never changes the result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pooled {
    // One for each number of the measure, over the members that show it.
    sums: Vec<i128>,
    // How many parts hide the number: bins alone, since the first number is there in every part.
    hidden: Vec<u32>,
    // How many parts there are: one for each member, and in a total one for each of its periods.
    parts: u32,
    distribution: Distribution,
    from: BTreeSet<NodeId>,
    missing: BTreeMap<NodeId, Why>,
}

impl Pooled {
    /// One member's numbers of a measure, or why there are none.
    pub fn of(member: &NodeId, measure: &Measure, given: &Result<Vec<Released>, Why>) -> Self {
        let missing = |why| Self { missing: [(member.clone(), why)].into(), ..Self::default() };
        let numbers: Vec<Option<i64>> = match given {
            Ok(numbers) => numbers.iter().map(|number| number.number()).collect(),
            Err(why) => return missing(*why),
        };
        if numbers.first().copied().flatten().is_none() {
            return missing(Why::NotAvailable);
        }
        let distribution = match measure.of {
            // Bins that contradict each other or their total are nobody's numbers.
            Quantity::Histogram => match Distribution::of(measure, &numbers) {
                Some(distribution) => distribution,
                None => return missing(Why::NotVerified),
            },
            // A mean without its sum is none.
            Quantity::Mean if numbers.iter().any(Option::is_none) => return missing(Why::Suppressed),
            _ => Distribution::default(),
        };
        Self {
            sums: numbers.iter().map(|number| i128::from(number.unwrap_or(0))).collect(),
            hidden: numbers.iter().map(|number| u32::from(number.is_none())).collect(),
            parts: 1,
            distribution,
            from: [member.clone()].into(),
            missing: BTreeMap::new(),
        }
    }

    /// Merges two pooled measures. A sum of cells cannot overflow 128 bits: each is below 2^53.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.sums.resize(self.sums.len().max(other.sums.len()), 0);
        self.hidden.resize(self.hidden.len().max(other.hidden.len()), 0);
        for (mine, theirs) in self.sums.iter_mut().zip(other.sums) {
            *mine += theirs;
        }
        for (mine, theirs) in self.hidden.iter_mut().zip(other.hidden) {
            *mine += theirs;
        }
        self.parts += other.parts;
        self.distribution = self.distribution.merge(other.distribution);
        self.from.extend(other.from);
        for (member, why) in other.missing {
            // The same member missing for two reasons (in a total over periods) keeps the first in the list's order.
            self.missing.entry(member).and_modify(|kept| *kept = (*kept).min(why)).or_insert(why);
        }
        self
    }

    /// The sum, for a mean or histogram the number of lines, if at least one member has a number and it can be shown exactly.
    pub fn value(&self) -> Option<i64> {
        self.number(0)
    }

    /// A number of the measure by its place, over the members that show it; nothing if none does, which is not zero.
    pub fn number(&self, place: usize) -> Option<i64> {
        let sum = *self.sums.get(place)?;
        let shown = !self.from.is_empty() && !self.is_hidden_by_all(place);
        i64::try_from(sum).ok().filter(|sum| shown && *sum <= NUMBER_MAX)
    }

    /// Whether some part of it hides the number at a place, so that the sum there is a lower bound.
    pub fn is_hidden_by_some(&self, place: usize) -> bool {
        self.hidden.get(place).is_some_and(|hidden| *hidden > 0)
    }

    /// Whether every part of it hides the number at a place.
    pub fn is_hidden_by_all(&self, place: usize) -> bool {
        self.hidden.get(place).is_some_and(|hidden| *hidden >= self.parts)
    }

    /// Every number of the measure, for comparing.
    pub fn numbers(&self) -> impl Iterator<Item = Option<i64>> {
        (0..self.sums.len()).map(|place| self.number(place))
    }

    /// The mean in hundredths of the measure's unit, rounded half up: of a measure that is a mean.
    pub fn mean_hundredths(&self) -> Option<i64> {
        let (lines, sum) = (i128::from(self.number(0)?), i128::from(self.number(1)?));
        if lines == 0 {
            return None;
        }
        i64::try_from((sum * 200 + lines) / (lines * 2)).ok()
    }

    /// How the values are distributed: of a measure that is a histogram.
    pub const fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// Whether the true sum may be larger: some member asked has no number here.
    pub fn is_lower_bound(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Who is in it.
    pub fn from(&self) -> impl Iterator<Item = &NodeId> {
        self.from.iter()
    }

    /// Who is not, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&NodeId, Why)> {
        self.missing.iter().map(|(member, why)| (member, *why))
    }
}

/// One request's selection with its cells in row-major order, or why there are none.
pub type Part = (Selection, Result<Vec<Vec<Released>>, Why>);

/// What one member gives to one question: its selections, each with its cells or the reason why there are none.
#[derive(Debug, Clone)]
pub struct Given {
    /// The member.
    pub member: NodeId,
    /// Each request's selection with its cells.
    pub parts: Vec<Part>,
    /// For each measure of the table, why its numbers are not comparable with ours.
    pub incomparable: BTreeMap<usize, String>,
}

/// One row of the pooled table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Code names, one for each dimension.
    pub key: Vec<String>,
    /// One for each measure asked for, in ascending order of the measures.
    pub pooled: Vec<Pooled>,
}

/// One member's cell as it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCell {
    /// The member.
    pub member: NodeId,
    /// Code names.
    pub key: Vec<String>,
    /// The numbers, or why there are none, for each measure asked for.
    pub values: Vec<Result<Vec<Released>, Why>>,
}

/// The pooled table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PooledTable {
    /// Level index of each dimension.
    pub levels: Vec<u8>,
    /// Code names along each dimension, in order, over all members.
    pub codes: Vec<Vec<String>>,
    /// Indexes of the measures.
    pub measures: Vec<usize>,
    /// The rows, in axis order.
    pub rows: Vec<Row>,
    /// Sums over the periods asked for, keyed by the other dimensions.
    pub totals: Vec<Row>,
    /// What each member answered.
    pub cells: Vec<MemberCell>,
}

/// Why answers are not pooled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The selections are not of one question.
    #[error("the answers are not to one question")]
    NotOneQuestion,
    /// A member gives a cell twice, which would count twice.
    #[error("{0} answers one cell twice")]
    Twice(NodeId),
}

/// Pools what members gave to one question on one table.
pub fn pool(table: &Table, given: &[Given]) -> Result<PooledTable, PoolError> {
    let Some((first, _)) = given.iter().find_map(|given| given.parts.first()) else {
        return Ok(PooledTable::default());
    };
    let (levels, measures) = (first.levels.clone(), first.measures.clone());
    // Where each measure's numbers stand among those of an answered cell.
    let mut slots = Vec::new();
    let mut next = 0;
    for measure in &measures {
        let width = table.numbers_of(*measure).len();
        slots.push((*measure, next..next + width));
        next += width;
    }
    let mut rows: BTreeMap<Vec<u32>, Row> = BTreeMap::new();
    let mut axes: Vec<BTreeMap<u32, String>> = vec![BTreeMap::new(); levels.len()];
    let mut cells = Vec::new();
    let mut given_by: BTreeSet<(&NodeId, Vec<u32>)> = BTreeSet::new();
    for member in given {
        for (selection, answered) in &member.parts {
            if selection.levels != levels || selection.measures != measures {
                return Err(PoolError::NotOneQuestion);
            }
            for (axis, (numbers, names)) in axes.iter_mut().zip(selection.codes.iter().zip(&selection.names)) {
                axis.extend(numbers.iter().copied().zip(names.iter().cloned()));
            }
            for position in 0..selection.cells() {
                if !given_by.insert((&member.member, selection.numbers_at(position))) {
                    return Err(PoolError::Twice(member.member.clone()));
                }
                let key = selection.names_at(position);
                let values: Vec<Result<Vec<Released>, Why>> = slots
                    .iter()
                    .map(|(measure, numbers)| value_of(member, *measure, answered, position, numbers.clone()))
                    .collect();
                let row = rows
                    .entry(selection.numbers_at(position))
                    .or_insert_with(|| Row { key: key.clone(), pooled: vec![Pooled::default(); measures.len()] });
                for ((pooled, value), (index, _)) in row.pooled.iter_mut().zip(&values).zip(&slots) {
                    let Some(measure) = table.measures.get(*index) else { continue };
                    *pooled = std::mem::take(pooled).merge(Pooled::of(&member.member, measure, value));
                }
                if answered.is_ok() {
                    cells.push(MemberCell { member: member.member.clone(), key, values });
                }
            }
        }
    }
    let totals = if table.margins { totals(rows.values(), measures.len()) } else { Vec::new() };
    Ok(PooledTable {
        levels,
        codes: axes.into_iter().map(|axis| axis.into_values().collect()).collect(),
        measures,
        rows: rows.into_values().collect(),
        totals,
        cells,
    })
}

fn value_of(
    given: &Given,
    measure: usize,
    answered: &Result<Vec<Vec<Released>>, Why>,
    position: usize,
    numbers: std::ops::Range<usize>,
) -> Result<Vec<Released>, Why> {
    let cells = answered.as_ref().map_err(|why| *why)?;
    if given.incomparable.contains_key(&measure) {
        return Err(Why::NotComparable);
    }
    let numbers = cells.get(position).and_then(|cell| cell.get(numbers)).unwrap_or(&[]);
    match numbers.first().map(|number| number.state()) {
        Some(State::Value) => Ok(numbers.to_vec()),
        Some(State::Suppressed) => Err(Why::Suppressed),
        Some(State::NotAvailable) | None => Err(Why::NotAvailable),
    }
}

fn totals<'a>(rows: impl Iterator<Item = &'a Row>, measures: usize) -> Vec<Row> {
    // In order of first appearance, which is axis order, since time is the first dimension.
    let mut order: Vec<Vec<String>> = Vec::new();
    let mut sums: BTreeMap<Vec<String>, Vec<Pooled>> = BTreeMap::new();
    for row in rows {
        let key: Vec<String> = row.key.iter().skip(1).cloned().collect();
        let slots = sums.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            vec![Pooled::default(); measures]
        });
        for (slot, pooled) in slots.iter_mut().zip(&row.pooled) {
            *slot = std::mem::take(slot).merge(pooled.clone());
        }
    }
    order.into_iter().filter_map(|key| sums.remove(&key).map(|pooled| Row { key, pooled })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(index: u8) -> NodeId {
        format!("ES-M{index}").parse().unwrap()
    }

    fn count() -> Measure {
        crate::catalogue::Catalogue::parse(crate::catalogue::SHIPPED).unwrap().tables()[0].measures[0].clone()
    }

    fn one(index: u8, given: Result<i64, Why>) -> Pooled {
        let given = given.map(|number| vec![Released::release(u64::try_from(number).unwrap()).unwrap()]);
        Pooled::of(&member(index), &count(), &given)
    }

    fn arbitrary() -> impl Strategy<Value = Vec<Pooled>> {
        prop::collection::vec(
            (0u8..9, prop_oneof![(0i64..1 << 40).prop_map(Ok), Just(Err(Why::Suppressed)), Just(Err(Why::Refused))]),
            0..9,
        )
        .prop_map(|list| list.into_iter().map(|(index, given)| one(index, given)).collect())
    }

    proptest! {
        #[test]
        fn any_order_and_any_split_give_the_same(list in arbitrary(), at in any::<prop::sample::Index>(), seed in any::<u64>()) {
            let all = |list: &[Pooled]| list.iter().cloned().fold(Pooled::default(), Pooled::merge);
            let whole = all(&list);
            let cut = if list.is_empty() { 0 } else { at.index(list.len()) };
            prop_assert_eq!(all(&list[..cut]).merge(all(&list[cut..])), whole.clone());
            let mut shuffled = list.clone();
            shuffled.sort_by_key(|item| { let mut hash = seed ^ u64::try_from(item.sums.first().copied().unwrap_or(0)).unwrap(); hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15); hash });
            prop_assert_eq!(all(&shuffled), whole.clone());
            prop_assert_eq!(Pooled::default().merge(whole.clone()), whole);
        }
    }

    #[test]
    fn a_sum_that_cannot_be_shown_exactly_is_not_shown() {
        let a = one(1, Ok(NUMBER_MAX));
        assert_eq!(a.clone().value(), Some(NUMBER_MAX));
        assert_eq!(a.merge(one(2, Ok(1))).value(), None);
    }

    #[test]
    fn means_pool_by_their_lines_and_not_as_means() {
        let catalogue = crate::catalogue::Catalogue::parse(crate::catalogue::SHIPPED).unwrap();
        let measure = catalogue.table("purity-quarter-form-market").unwrap().measures[2].clone();
        let mean = |index, lines: u64, percent: u64| {
            let numbers = [lines, lines * percent * 100].map(|number| Released::release(number).unwrap());
            Pooled::of(&member(index), &measure, &Ok(numbers.to_vec()))
        };
        let both = mean(1, 30, 80).merge(mean(2, 10, 40));
        assert_eq!((both.value(), both.mean_hundredths()), (Some(40), Some(700_000)));
    }

    #[test]
    fn numbers_that_cannot_be_a_mean_or_a_histogram_are_nobodys() {
        let catalogue = crate::catalogue::Catalogue::parse(crate::catalogue::SHIPPED).unwrap();
        let measures = &catalogue.table("purity-quarter-form-market").unwrap().measures;
        let shown = |number: u64| Released::release(number).unwrap();
        let half = Pooled::of(&member(1), &measures[2], &Ok(vec![shown(30), Released::SUPPRESSED]));
        assert_eq!((half.value(), half.missing().next().unwrap().1), (None, Why::Suppressed));
        // Five in all, six in one bin.
        let mut numbers = vec![Released::SUPPRESSED; measures[3].width()];
        (numbers[0], numbers[1]) = (shown(5), shown(6));
        let wrong = Pooled::of(&member(1), &measures[3], &Ok(numbers.clone()));
        assert_eq!((wrong.value(), wrong.missing().next().unwrap().1), (None, Why::NotVerified));
        // A bin that one of two periods hides has a number in their total.
        numbers[1] = shown(5);
        let one = Pooled::of(&member(1), &measures[3], &Ok(numbers.clone()));
        numbers[1] = Released::SUPPRESSED;
        let total = one.merge(Pooled::of(&member(1), &measures[3], &Ok(numbers)));
        assert_eq!((total.value(), total.number(1)), (Some(10), Some(5)));
        assert!(total.is_hidden_by_some(1) && !total.is_hidden_by_all(1) && total.is_hidden_by_all(2));
    }

    #[test]
    fn a_number_that_somebody_lacks_is_a_lower_bound_and_none_at_all_is_missing() {
        let some = one(1, Ok(0)).merge(one(2, Err(Why::Suppressed)));
        assert_eq!((some.value(), some.is_lower_bound()), (Some(0), true));
        let none = one(1, Err(Why::Refused));
        assert_eq!((none.value(), none.is_lower_bound()), (None, true));
    }
}
