//! Moves that change many counts at once: one programme finds witnesses for all of them.

use std::collections::HashMap;

use super::{
    Move, Reach, Search, Way,
    programme::{Insiders, widest},
    reach,
};

/// Programmes in one go, at most.
const ROUNDS_MAX: u32 = 16;

/// Programmes in a row that give no witness, before the go ends.
const IDLE_MAX: u32 = 3;

/// Moves that leave alone everybody who is alone in a base cell, with what they change.
#[derive(Debug, Default)]
pub(super) struct Pool {
    moves: Vec<(Move, HashMap<u32, i64>)>,
}

impl Pool {
    /// The widest way in which the moves change a node, if it is as wide as it must be.
    pub(super) fn way(&self, node: u32, width: i64) -> Option<Way> {
        let change = |at: &usize| self.moves.get(*at).and_then(|(_, changes)| changes.get(&node)).copied().unwrap_or(0);
        let up = (0..self.moves.len()).max_by_key(change).filter(|at| change(at) > 0);
        let down = (0..self.moves.len()).min_by_key(change).filter(|at| change(at) < 0);
        let by = |at: Option<usize>| at.as_ref().map_or(0, change);
        let wide = by(up) - by(down) >= width;
        wide.then(|| [down, up].into_iter().flatten().filter_map(|at| Some(self.moves.get(at)?.0.clone())).collect())
    }

    /// After a count is shown again: moves that change it do not hold any more.
    pub(super) fn drop_what_moves(&mut self, node: u32) {
        self.moves.retain(|(_, changes)| !changes.contains_key(&node));
    }
}

impl Search<'_> {
    /// Looks for moves that change many of these counts, which have lines and no witness yet.
    pub(super) fn harvest(&mut self, nodes: &[u32]) {
        if self.task.reach == Reach::EachWay || !self.task.insiders || reach::is_large(&self.pattern) {
            return;
        }
        let star = self.task.star;
        let mut left: Vec<u32> = nodes
            .iter()
            .copied()
            .filter(|node| star.nodes[*node as usize].lines > 0 && !self.witnesses.contains_key(node))
            .collect();
        let cells = reach::all(&self.pattern, &[]);
        let mut idle = 0;
        for round in 0..ROUNDS_MAX {
            left.retain(|node| self.pool.way(*node, self.task.width[*node as usize]).is_none());
            if left.is_empty() || idle == IDLE_MAX {
                break;
            }
            let mut weights = vec![0.0; star.bases.len()];
            for node in &left {
                // Up in one half of the rounds, down in the other, in another order for each count.
                let up = (node.wrapping_mul(0x9e37_79b9) >> 16 ^ round) & 1 == 0;
                for base in self.pattern.inside(*node) {
                    weights[base as usize] += if up { 1.0 } else { -1.0 };
                }
            }
            let width = i64::from(
                self.task.width.iter().copied().max().map_or(1, |width| i32::try_from(width).unwrap_or(i32::MAX)),
            );
            let found = widest(&self.pattern, &cells, &Insiders::All { but: None }, &weights, width, &mut self.count);
            let before = left.len();
            if let Some(change) = found.filter(|change| !change.is_empty() && self.pattern.holds(change)) {
                let changes = self.pattern.changes(&change);
                self.pool.moves.push((change, changes));
            }
            let gained = left.iter().any(|node| self.pool.way(*node, self.task.width[*node as usize]).is_some());
            idle = if gained && before > 0 { 0 } else { idle + 1 };
        }
    }
}
