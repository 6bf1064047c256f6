//! The columns and rows of a programme: classes of base cells, without those that cannot move whatever the others do.

use std::collections::HashMap;

use super::{pattern::Pattern, programme::Insiders};

/// Base cells that stand in the same rows.
#[derive(Debug)]
pub(super) struct Column {
    /// The class.
    pub(super) class: u32,
    /// Whether they make up the count that is to move.
    pub(super) inside: bool,
    /// Their lines.
    pub(super) lines: u64,
    /// The base cells.
    pub(super) members: Vec<u32>,
    is_fixed: bool,
}

/// A row: its number in the pattern, and columns with the sign by which they count in it.
#[derive(Debug)]
pub(super) struct Row {
    /// Number of the row.
    pub(super) row: u32,
    /// Places of columns, with signs.
    pub(super) terms: Vec<(usize, i64)>,
}

/// What can move, and what holds it.
#[derive(Debug, Default)]
pub(super) struct System {
    /// Columns that can move.
    pub(super) columns: Vec<Column>,
    /// Rows with at least one of them.
    pub(super) rows: Vec<Row>,
}

impl System {
    /// Of the base cells reached, those that can move if `gives_way` says which rows need not hold.
    pub(super) fn new(
        pattern: &Pattern<'_>,
        reached: &[u32],
        inside: &[u32],
        insiders: &Insiders,
        gives_way: &dyn Fn(u32) -> bool,
    ) -> Self {
        let mut system = Self { columns: columns(pattern, reached, inside, insiders), rows: Vec::new() };
        let mut places: HashMap<u32, usize> = HashMap::with_capacity(system.columns.len() * 2);
        for (at, column) in system.columns.iter().enumerate() {
            let Some(first) = column.members.first() else { continue };
            for row in pattern.rows(column.class) {
                let place = *places.entry(*row).or_insert_with(|| {
                    system.rows.push(Row { row: *row, terms: Vec::new() });
                    system.rows.len() - 1
                });
                system.rows[place].terms.push((at, pattern.sign(*first, *row)));
            }
        }
        system.fix(pattern, &places, gives_way);
        system.drop_fixed();
        system
    }

    // Fixes columns until no row fixes another: alone in a row, or with others that could only move the same way.
    fn fix(&mut self, pattern: &Pattern<'_>, places: &HashMap<u32, usize>, gives_way: &dyn Fn(u32) -> bool) {
        let held: Vec<bool> = self.rows.iter().map(|row| !gives_way(row.row)).collect();
        let mut waits = held.clone();
        let mut open: Vec<usize> = (0..self.rows.len()).filter(|row| held[*row]).collect();
        while let Some(row) = open.pop() {
            waits[row] = false;
            if self.can_move(row) {
                continue;
            }
            for term in 0..self.rows[row].terms.len() {
                let (at, _) = self.rows[row].terms[term];
                if std::mem::replace(&mut self.columns[at].is_fixed, true) {
                    continue;
                }
                for other in pattern.rows(self.columns[at].class).iter().filter_map(|row| places.get(row)) {
                    if held[*other] && !std::mem::replace(&mut waits[*other], true) {
                        open.push(*other);
                    }
                }
            }
        }
    }

    // Whether what one column of a row changes another could make good.
    fn can_move(&self, row: usize) -> bool {
        let (mut moving, mut rises, mut falls) = (0, false, false);
        for (at, sign) in &self.rows[row].terms {
            let column = &self.columns[*at];
            if !column.is_fixed {
                moving += 1;
                rises |= *sign > 0 || column.lines > 0;
                falls |= *sign < 0 || column.lines > 0;
            }
        }
        moving > 1 && rises && falls
    }

    fn drop_fixed(&mut self) {
        let mut places = vec![None; self.columns.len()];
        let moving = (0..self.columns.len()).filter(|at| !self.columns[*at].is_fixed);
        moving.enumerate().for_each(|(place, at)| places[at] = Some(place));
        self.columns.retain(|column| !column.is_fixed);
        for row in &mut self.rows {
            row.terms = row.terms.iter().filter_map(|(at, sign)| Some((places[*at]?, *sign))).collect();
        }
        self.rows.retain(|row| !row.terms.is_empty());
        self.rows.sort_unstable_by_key(|row| row.row);
    }
}

// Base cells by class, apart for those inside the count; what insiders know stays as it is.
fn columns(pattern: &Pattern<'_>, reached: &[u32], inside: &[u32], insiders: &Insiders) -> Vec<Column> {
    let of = |base: &u32| pattern.star.bases[*base as usize];
    let mut sorted: Vec<(u32, bool, u32)> = reached
        .iter()
        .filter(|base| !insiders.freeze(of(base).cases))
        .map(|base| (pattern.class(*base), inside.binary_search(base).is_ok(), *base))
        .collect();
    sorted.sort_unstable();
    sorted
        .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .filter_map(|group| {
            let (class, inside, _) = *group.first()?;
            let members: Vec<u32> = group.iter().map(|(.., base)| *base).collect();
            let lines = members.iter().map(|base| of(base).lines).sum();
            Some(Column { class, inside, lines, members, is_fixed: false })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::disclosure::chooser::{
        Task,
        tests::{regions, task},
    };

    #[test]
    fn what_no_other_could_make_good_is_left_out() {
        let star = regions();
        let nothing = vec![false; star.nodes.len()];
        let columns = |cells: &[usize], gives_way: bool| {
            let must_hide: Vec<bool> = (0..star.nodes.len()).map(|node| cells.contains(&node)).collect();
            let pattern = Pattern::new(&Task { shown_before: &nothing, ..task(&star, &must_hide) });
            let all: Vec<u32> = (0..6).collect();
            let nobody = Insiders::Some(BTreeSet::new());
            System::new(&pattern, &all, &[1], &nobody, &|_| gives_way).columns.len()
        };
        assert_eq!(columns(&[0, 1, 3, 4], false), 4, "the rectangle turns");
        assert_eq!(columns(&[0, 1, 4], false), 0, "each is alone in a row or column in the end");
        assert_eq!(columns(&[0, 1, 2, 3, 4, 5], false), 6);
        assert_eq!(columns(&[0, 1, 4], true), 6, "rows that give way hold nothing");
    }
}
