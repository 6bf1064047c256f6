//! The pool: answers of several members to one question, merged exactly and in any order.
//!
//! Nothing is added up that is not comparable, and every pooled number says who is in it and who is missing and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalogue::Table,
    cell::{NUMBER_MAX, Released, State},
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

/// One pooled number. Values form a commutative monoid under [`Pooled::merge`] with [`Pooled::default`] as identity, so the order
/// in which members answer never changes the result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pooled {
    sum: i128,
    from: BTreeSet<NodeId>,
    missing: BTreeMap<NodeId, Why>,
}

impl Pooled {
    /// One member's number, or why there is none.
    pub fn of(member: &NodeId, given: Result<i64, Why>) -> Self {
        match given {
            Ok(value) => Self { sum: i128::from(value), from: [member.clone()].into(), missing: BTreeMap::new() },
            Err(why) => Self { sum: 0, from: BTreeSet::new(), missing: [(member.clone(), why)].into() },
        }
    }

    /// Merges two pooled numbers. A sum of cells cannot overflow 128 bits: each is below 2^53.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.sum += other.sum;
        self.from.extend(other.from);
        for (member, why) in other.missing {
            // The same member missing for two reasons (in a total over periods) keeps the first in the list's order.
            self.missing.entry(member).and_modify(|kept| *kept = (*kept).min(why)).or_insert(why);
        }
        self
    }

    /// The sum, if at least one member has a number and it can be shown exactly.
    pub fn value(&self) -> Option<i64> {
        i64::try_from(self.sum).ok().filter(|sum| !self.from.is_empty() && *sum <= NUMBER_MAX)
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
    /// A number, or why there is none, for each measure asked for.
    pub values: Vec<Result<i64, Why>>,
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
                let values: Vec<Result<i64, Why>> = measures
                    .iter()
                    .enumerate()
                    .map(|(slot, measure)| value_of(member, *measure, answered, position, slot))
                    .collect();
                let row = rows
                    .entry(selection.numbers_at(position))
                    .or_insert_with(|| Row { key: key.clone(), pooled: vec![Pooled::default(); measures.len()] });
                for (pooled, value) in row.pooled.iter_mut().zip(&values) {
                    *pooled = std::mem::take(pooled).merge(Pooled::of(&member.member, *value));
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
    slot: usize,
) -> Result<i64, Why> {
    let cells = answered.as_ref().map_err(|why| *why)?;
    if given.incomparable.contains_key(&measure) {
        return Err(Why::NotComparable);
    }
    let cell = cells.get(position).and_then(|cell| cell.get(slot)).copied().unwrap_or(Released::NOT_AVAILABLE);
    cell.number().ok_or(match cell.state() {
        State::Suppressed => Why::Suppressed,
        State::NotAvailable | State::Value => Why::NotAvailable,
    })
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

    fn arbitrary() -> impl Strategy<Value = Vec<Pooled>> {
        prop::collection::vec(
            (0u8..9, prop_oneof![(0i64..1 << 40).prop_map(Ok), Just(Err(Why::Suppressed)), Just(Err(Why::Refused))]),
            0..9,
        )
        .prop_map(|list| list.into_iter().map(|(index, given)| Pooled::of(&member(index), given)).collect())
    }

    proptest! {
        #[test]
        fn any_order_and_any_split_give_the_same(list in arbitrary(), at in any::<prop::sample::Index>(), seed in any::<u64>()) {
            let all = |list: &[Pooled]| list.iter().cloned().fold(Pooled::default(), Pooled::merge);
            let whole = all(&list);
            let cut = if list.is_empty() { 0 } else { at.index(list.len()) };
            prop_assert_eq!(all(&list[..cut]).merge(all(&list[cut..])), whole.clone());
            let mut shuffled = list.clone();
            shuffled.sort_by_key(|item| { let mut hash = seed ^ u64::try_from(item.sum).unwrap(); hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15); hash });
            prop_assert_eq!(all(&shuffled), whole.clone());
            prop_assert_eq!(Pooled::default().merge(whole.clone()), whole);
        }
    }

    #[test]
    fn a_sum_that_cannot_be_shown_exactly_is_not_shown() {
        let a = Pooled::of(&member(1), Ok(NUMBER_MAX));
        assert_eq!(a.clone().value(), Some(NUMBER_MAX));
        assert_eq!(a.merge(Pooled::of(&member(2), Ok(1))).value(), None);
    }

    #[test]
    fn a_number_that_somebody_lacks_is_a_lower_bound_and_none_at_all_is_missing() {
        let some = Pooled::of(&member(1), Ok(0)).merge(Pooled::of(&member(2), Err(Why::Suppressed)));
        assert_eq!((some.value(), some.is_lower_bound()), (Some(0), true));
        let none = Pooled::of(&member(1), Err(Why::Refused));
        assert_eq!((none.value(), none.is_lower_bound()), (None, true));
    }
}
