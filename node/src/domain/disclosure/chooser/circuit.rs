//! Circuits: moves inside one table without a solver. A change breaks the rows that a base cell stands in; each broken row is made
//! good by another base cell of the table, until none is left.
//!
//! Where hub and other tables have to move as well, what an earlier move changed in them is the frame: the table is made to follow it.
//! What is found is a move like any other. What is not found may still be there: then a programme looks for it.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
};

use super::{
    super::star::{NONE, Star},
    Move, free,
    pattern::Pattern,
    programme::Insiders,
};

/// Base cells that are tried, at most, before a search ends.
const TRIES_MAX: usize = 16;

/// Base cells that make good one row, the best first, of which each is tried.
const BRANCHES_MAX: usize = 2;

/// Base cells of a table that a circuit moves, at most.
const LENGTH_MAX: usize = 12;

/// Frames that are kept for a time and drug of a table, at most.
const FRAMES_MAX: usize = 4;

/// Times and drugs of which frames are tried for one count, at most.
const LINKS_MAX: usize = 4;

/// The row of the count itself: it is broken until the count has moved as far as it must.
const TARGET: u32 = NONE;

/// Moves in which the hub moved, by the tables' links that moved with it.
#[derive(Debug, Default)]
pub(super) struct Frames {
    moves: Vec<Move>,
    // By link row, and whether it went up.
    by_link: HashMap<(u32, bool), VecDeque<usize>>,
}

impl Frames {
    /// Keeps a move for the links that it moves.
    pub(super) fn learn(&mut self, pattern: &Pattern<'_>, change: &Move) {
        let mut links: Vec<(u32, i64)> = Vec::new();
        for (base, by) in change.iter().filter(|(base, _)| pattern.star.bases[*base as usize].table == 0) {
            for row in pattern.rows(pattern.class(*base)).iter().filter(|row| pattern.node_of(**row).1) {
                add(&mut links, *row, *by);
            }
        }
        let at = self.moves.len();
        let mut kept = false;
        for (row, by) in links.into_iter().filter(|(_, by)| *by != 0) {
            let frames = self.by_link.entry((row, by > 0)).or_default();
            frames.truncate(FRAMES_MAX - 1);
            frames.push_front(at);
            kept = true;
        }
        if kept {
            self.moves.push(change.clone());
        }
    }

    /// A move that changes a count of a table outside the hub by so much, up or down if negative.
    pub(super) fn way(&self, pattern: &Pattern<'_>, inside: &[u32], insiders: &Insiders, by: i64) -> Option<Move> {
        let table = pattern.star.bases[*inside.first()? as usize].table;
        let find = |frame: &[(u32, i64)]| Search::new(pattern, (table, inside), insiders, frame, by)?.run();
        if let Some(found) = find(&[]) {
            return Some(found);
        }
        if table == 0 {
            return None;
        }
        let links: BTreeSet<u32> =
            inside.iter().map(|base| pattern.link_row(table, pattern.star.link(*base as usize))).collect();
        let frames = links.iter().take(LINKS_MAX).filter_map(|row| self.by_link.get(&(*row, by > 0))).flatten();
        let of_others = |at: &usize| -> Option<Move> {
            let all = self.moves.get(*at)?.iter();
            Some(all.filter(|(base, _)| pattern.star.bases[*base as usize].table != table).copied().collect())
        };
        frames.filter_map(of_others).find_map(|frame| find(&frame))
    }
}

fn add(sums: &mut Vec<(u32, i64)>, row: u32, by: i64) {
    match sums.iter_mut().find(|(of, _)| *of == row) {
        Some((_, sum)) => *sum += by,
        None => sums.push((row, by)),
    }
}

struct Search<'a> {
    pattern: &'a Pattern<'a>,
    star: &'a Star,
    table: u16,
    inside: &'a [u32],
    insiders: &'a Insiders,
    // By how much each broken row is off.
    off: Vec<(u32, i64)>,
    frame: usize,
    change: Move,
    left: usize,
}

// A base cell that makes a row good, by how much it moves, and how much less is off then.
#[derive(Clone, Copy)]
struct Candidate {
    base: u32,
    by: i64,
    gain: i64,
    lines: u64,
}

impl<'a> Search<'a> {
    // `None` if the frame cannot be used: it moves what an insider knows, or does not hold outside the table.
    fn new(
        pattern: &'a Pattern<'a>,
        (table, inside): (u16, &'a [u32]),
        insiders: &'a Insiders,
        frame: &[(u32, i64)],
        by: i64,
    ) -> Option<Self> {
        if frame.iter().any(|(base, _)| !free(pattern.star, *base, insiders)) {
            return None;
        }
        let mut search = Self {
            pattern,
            star: pattern.star,
            table,
            inside,
            insiders,
            off: vec![(TARGET, -by)],
            frame: frame.len(),
            change: frame.to_vec(),
            left: TRIES_MAX,
        };
        for (base, by) in frame {
            search.apply(*base, *by);
        }
        let link_of_table = |row: u32| {
            let (node, is_link) = pattern.node_of(row);
            is_link && row == pattern.link_row(table, node)
        };
        search.off.iter().all(|(row, _)| *row == TARGET || link_of_table(*row)).then_some(search)
    }

    fn run(mut self) -> Option<Move> {
        if !self.make_good() {
            return None;
        }
        self.change.sort_unstable();
        self.pattern.holds(&self.change).then_some(self.change)
    }

    fn make_good(&mut self) -> bool {
        let Some(row) = self.off.iter().min_by_key(|(row, off)| self.turn(*row, *off)).copied() else { return true };
        for candidate in self.candidates(row) {
            if self.left == 0 || self.change.len() == self.frame + LENGTH_MAX {
                return false;
            }
            self.left -= 1;
            self.apply(candidate.base, candidate.by);
            self.change.push((candidate.base, candidate.by));
            if self.make_good() {
                return true;
            }
            self.change.pop();
            self.apply(candidate.base, -candidate.by);
        }
        false
    }

    // Which row is made good next: where lines are taken comes first, since few base cells have any; what is raised can go where it
    // makes that good as well.
    fn turn(&self, row: u32, off: i64) -> (u8, usize, u32) {
        let turn = match row {
            TARGET => 0,
            _ if off > 0 => 1,
            _ => 2,
        };
        (turn, self.among(row).len(), row)
    }

    // The base cells that may stand in a row.
    fn among(&self, row: u32) -> &'a [u32] {
        if row == TARGET { self.inside } else { self.star.below(self.pattern.node_of(row).0 as usize) }
    }

    // What makes a row good at least in part, the best first.
    fn candidates(&self, (row, off): (u32, i64)) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for base in self.among(row) {
            let of = self.star.bases[*base as usize];
            let by = if off > 0 { -off.min(i64::try_from(of.lines).unwrap_or(i64::MAX)) } else { -off };
            let moved = || self.change.iter().any(|(known, _)| known == base);
            if of.table != self.table || by == 0 || !free(self.star, *base, self.insiders) || moved() {
                continue;
            }
            let mut stands = false;
            let mut gain = 0;
            for of in self.rows(*base) {
                let before = self.off_by(of);
                gain += before.abs() - (before + by).abs();
                stands |= of == row;
            }
            if stands {
                found.push(Candidate { base: *base, by, gain, lines: of.lines });
            }
        }
        // Most gained by each line that moves; of them what moves most.
        found.sort_by_key(|of| {
            (Reverse(of.gain * 1_000 / of.by.abs()), Reverse(of.by.abs()), Reverse(of.lines), of.base)
        });
        found.truncate(BRANCHES_MAX);
        found
    }

    // The rows of a base cell of the table.
    fn rows(&self, base: u32) -> impl Iterator<Item = u32> {
        let own = self.inside.binary_search(&base).is_ok().then_some(TARGET);
        self.pattern.rows(self.pattern.class(base)).iter().copied().chain(own)
    }

    fn off_by(&self, row: u32) -> i64 {
        self.off.iter().find(|(of, _)| *of == row).map_or(0, |(_, off)| *off)
    }

    fn apply(&mut self, base: u32, by: i64) {
        for row in self.pattern.rows(self.pattern.class(base)) {
            add(&mut self.off, *row, self.pattern.sign(base, *row) * by);
        }
        if self.inside.binary_search(&base).is_ok() {
            add(&mut self.off, TARGET, by);
        }
        self.off.retain(|(_, off)| *off != 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::disclosure::chooser::{
        Task,
        tests::{regions, task},
    };

    fn hidden(star: &Star, cells: &[usize]) -> Vec<bool> {
        (0..star.nodes.len()).map(|node| cells.contains(&node)).collect()
    }

    #[test]
    fn a_circuit_raises_a_cell_and_leaves_every_row_and_column_as_it_is() {
        let star = regions();
        let nothing = vec![false; star.nodes.len()];
        let find = |cells: &[usize], by: i64, insiders: &Insiders| {
            let must_hide = hidden(&star, cells);
            let pattern = Pattern::new(&Task { shown_before: &nothing, ..task(&star, &must_hide) });
            Frames::default().way(&pattern, &[1], insiders, by)
        };
        let nobody = Insiders::Some(BTreeSet::new());
        assert_eq!(find(&[0, 1, 3, 4], 5, &nobody), Some(vec![(0, -5), (1, 5), (3, 5), (4, -5)]));
        assert_eq!(find(&[0, 1, 3, 4], -3, &nobody), Some(vec![(0, 3), (1, -3), (3, -3), (4, 3)]));
        assert_eq!(find(&[0, 1, 3, 4], 13, &nobody), None, "the cell beside it holds twelve");
        assert_eq!(find(&[0, 1, 4], 5, &nobody), None, "one corner is shown");
        // With the row of region N hidden, the column is enough.
        assert_eq!(find(&[1, 4, 6, 7], 5, &nobody), Some(vec![(1, 5), (4, -5)]));
    }

    #[test]
    fn a_table_follows_the_frame_that_the_hub_gives() {
        // Two drugs of the hub whose numbers are hidden but for their sum, and a table of two regions for each.
        let node = |lines: u64, links: &[u16]| crate::domain::disclosure::star::Node {
            lines,
            cases: lines,
            lead: 0,
            offered: true,
            weight: 40,
            national: false,
            links: links.to_vec(),
        };
        let mut nodes = vec![node(10, &[1]), node(10, &[1]), node(20, &[])];
        (0..).zip(&mut nodes).for_each(|(at, node)| node.lead = at);
        let base = |lines, table| crate::domain::disclosure::star::Base {
            lines,
            cases: crate::domain::disclosure::star::Cases::Many,
            table,
            seen: true,
        };
        let hub = [(base(10, 0), vec![0, 2], NONE), (base(10, 0), vec![1, 2], NONE)];
        let spokes = [(0, 0), (10, 0), (4, 1), (6, 1)];
        let spokes = spokes.map(|(lines, drug): (u64, u32)| (base(lines, 1), vec![drug], drug));
        let star = Star::from_parts(nodes, hub.into_iter().chain(spokes).collect());
        let (must_hide, nothing) = (hidden(&star, &[0, 1]), vec![false; 3]);
        let pattern = Pattern::new(&Task { shown_before: &nothing, ..task(&star, &must_hide) });
        let nobody = Insiders::Some(BTreeSet::new());
        let mut frames = Frames::default();
        let learnt = vec![(0, 5), (1, -5), (3, 5), (5, -5)];
        assert!(pattern.holds(&learnt));
        frames.learn(&pattern, &learnt);
        // Within its own drug first.
        assert_eq!(frames.way(&pattern, &[2], &nobody, 5), Some(vec![(2, 5), (3, -5)]));
        // The drug as a whole: the frame brings what the hub takes from the other drug.
        assert_eq!(frames.way(&pattern, &[4, 5], &nobody, -5), Some(learnt.clone()));
        assert_eq!(frames.way(&pattern, &[2, 3], &nobody, 5), Some(learnt));
        assert_eq!(frames.way(&pattern, &[4, 5], &nobody, 5), None, "no frame raises the second drug");
    }
}
