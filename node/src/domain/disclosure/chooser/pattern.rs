//! Which counts are hidden, and what an attacker therefore knows: the rows of the equations, and the classes of base cells that
//! stand in the same rows.

use std::collections::HashMap;

use super::{
    super::star::{Cases, NONE, Star},
    Move, Task,
};

/// A pattern of shown and hidden counts over a star.
#[derive(Debug)]
pub(super) struct Pattern<'a> {
    pub(super) star: &'a Star,
    pub(super) hidden: Vec<bool>,
    known_anyway: Vec<bool>,
    followers: HashMap<u32, Vec<u32>>,
    // The first table whose base cells make up each node.
    table_of: Vec<u16>,
    // Base cells of the hub with lines.
    in_hub: Vec<u32>,
    // Base cells of times and drugs with lines.
    seen: usize,
    // Lines that a width takes.
    most: u64,
    // For each base cell its class: those in the same rows. A row is a node that is known, or a link between a table and the hub.
    class_of: Vec<u32>,
    classes: HashMap<Vec<u32>, u32>,
    rows: Vec<Vec<u32>>,
    // The same without links that are hidden: what a change of the cell is seen in.
    seen_in: Vec<u32>,
    seen_sets: HashMap<Vec<u32>, u32>,
}

impl<'a> Pattern<'a> {
    pub(super) fn new(task: &Task<'a>) -> Self {
        let star = task.star;
        let mut followers: HashMap<u32, Vec<u32>> = HashMap::new();
        for (index, node) in star.nodes.iter().enumerate().filter(|(index, node)| node.lead as usize != *index) {
            followers.entry(node.lead).or_default().push(u32::try_from(index).unwrap_or(NONE));
        }
        let hidden = star.nodes.iter().zip(task.must_hide);
        let hidden = hidden.map(|(node, must)| !node.offered || *must || task.must_hide[node.lead as usize]).collect();
        let known_anyway = star.nodes.iter().zip(task.shown_before);
        let known_anyway =
            known_anyway.map(|(node, before)| *before || node.national && node.cases >= task.k).collect();
        let first =
            |node: usize| star.below(node).iter().map(|base| star.bases[*base as usize].table).min().unwrap_or(0);
        let table_of = (0..star.nodes.len()).map(first).collect();
        let in_hub = (0..).zip(&star.bases).filter(|(_, base)| base.table == 0 && base.lines > 0);
        let in_hub = in_hub.map(|(base, _)| base).collect();
        let seen = star.bases.iter().filter(|base| base.seen).count();
        let mut pattern = Self {
            star,
            hidden,
            known_anyway,
            followers,
            table_of,
            in_hub,
            seen,
            most: task.k.max(1),
            class_of: vec![NONE; star.bases.len()],
            classes: HashMap::new(),
            rows: Vec::new(),
            seen_in: vec![NONE; star.bases.len()],
            seen_sets: HashMap::new(),
        };
        for base in 0..star.bases.len() {
            pattern.classify(base);
        }
        pattern
    }

    /// Whether an attacker knows the number.
    pub(super) fn known(&self, node: u32) -> bool {
        !self.hidden[node as usize] || self.known_anyway[node as usize]
    }

    /// Whether a number may be hidden at a price.
    pub(super) fn may_hide(&self, node: u32) -> bool {
        !self.hidden[node as usize] && !self.known_anyway[node as usize]
    }

    /// How a base cell counts in one of its rows: in a link, the hub against the tables.
    pub(super) fn sign(&self, base: u32, row: u32) -> i64 {
        if self.star.bases[base as usize].table == 0 && self.node_of(row).1 { -1 } else { 1 }
    }

    /// Whether a base cell cannot move: it alone makes up a number that is known, and that may not be hidden.
    pub(super) fn is_fixed(&self, base: u32, may_hide: bool) -> bool {
        let fixes = |node: &u32| {
            self.star.below(*node as usize).len() == 1 && self.known(*node) && !(may_hide && self.may_hide(*node))
        };
        self.star.above(base as usize).iter().any(fixes)
    }

    /// By how much a move changes each node.
    pub(super) fn changes(&self, change: &Move) -> HashMap<u32, i64> {
        let mut found: HashMap<u32, i64> = HashMap::new();
        for (base, amount) in change {
            let table = self.star.bases[*base as usize].table;
            for node in self.star.above(*base as usize).iter().filter(|node| self.table_of(**node) == table) {
                *found.entry(*node).or_default() += amount;
            }
        }
        found.retain(|_, by| *by != 0);
        found
    }

    /// What is not shown without a number.
    pub(super) fn followers(&self, node: u32) -> &[u32] {
        self.followers.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Whether a number may be shown again.
    pub(super) fn may_show(&self, node: u32) -> bool {
        let lead = self.star.nodes[node as usize].lead;
        self.hidden[node as usize] && (lead == node || !self.hidden[lead as usize])
    }

    /// The class of a base cell and its rows.
    pub(super) fn class(&self, base: u32) -> u32 {
        self.class_of[base as usize]
    }

    /// The rows of a class.
    pub(super) fn rows(&self, class: u32) -> &[u32] {
        &self.rows[class as usize]
    }

    /// What a change of a base cell is seen in, links that are hidden left out; equal numbers, equal sets.
    pub(super) fn seen_in(&self, base: u32) -> u32 {
        self.seen_in[base as usize]
    }

    /// Hides a count and what is not shown without it, or shows it; returns the base cells that are seen in other numbers now.
    pub(super) fn set(&mut self, node: u32, hide: bool) -> Vec<u32> {
        let mut changed = vec![node];
        if hide {
            changed.extend(self.followers(node));
        }
        let mut bases: Vec<u32> = Vec::new();
        for node in changed {
            self.hidden[node as usize] = hide;
            bases.extend(self.star.below(node as usize));
        }
        bases.sort_unstable();
        bases.dedup();
        for base in &bases {
            self.classify(*base as usize);
        }
        bases
    }

    /// Row of the link between a table and the hub.
    pub(super) fn link_row(&self, table: u16, node: u32) -> u32 {
        u32::try_from(self.star.nodes.len()).unwrap_or(NONE) * u32::from(table) + node
    }

    /// The node of a row, and whether the row is a link.
    pub(super) fn node_of(&self, row: u32) -> (u32, bool) {
        let size = u32::try_from(self.star.nodes.len()).unwrap_or(NONE);
        (row % size, row >= size)
    }

    fn classify(&mut self, base: usize) {
        let of = self.star.bases[base];
        let link = self.star.link(base);
        // The table stands first: cells of two tables are never one class.
        let mut rows: Vec<u32> = vec![NONE - u32::from(of.table)];
        let mut seen: Vec<u32> = rows.clone();
        for node in self.star.above(base) {
            if *node == link {
                let row = self.link_row(of.table, *node);
                rows.push(row);
                if self.known(*node) {
                    seen.push(row);
                }
            } else if self.known(*node) {
                rows.push(*node);
                seen.push(*node);
            } else if of.table == 0 {
                rows.extend(self.star.nodes[*node as usize].links.iter().map(|table| self.link_row(*table, *node)));
            }
        }
        let next = u32::try_from(self.seen_sets.len()).unwrap_or(NONE);
        self.seen_in[base] = *self.seen_sets.entry(seen).or_insert(next);
        let next = u32::try_from(self.rows.len()).unwrap_or(NONE);
        let class = *self.classes.entry(rows.clone()).or_insert(next);
        if class == next {
            self.rows.push(rows.split_off(1));
        }
        self.class_of[base] = class;
    }

    /// Base cells of times and drugs with lines.
    pub(super) const fn seen(&self) -> usize {
        self.seen
    }

    /// Base cells of the hub with many lines, those first that are seen in nearly the same numbers as one.
    pub(super) fn reservoirs(&self, hub: u32, most: usize) -> Vec<u32> {
        let seen = |base: u32| self.rows(self.class(base)).iter().filter(|row| !self.node_of(**row).1);
        let own: Vec<u32> = seen(hub).copied().collect();
        let lines = |base: u32| self.star.bases[base as usize].lines;
        let mut found: Vec<(bool, usize, std::cmp::Reverse<u64>, u32)> = self
            .in_hub
            .iter()
            .filter(|base| **base != hub)
            .map(|base| {
                let shared = seen(*base).filter(|row| own.contains(row)).count();
                let apart = seen(*base).count() + own.len() - 2 * shared;
                (lines(*base) < self.most, apart, std::cmp::Reverse(lines(*base)), *base)
            })
            .collect();
        found.sort_unstable();
        found.into_iter().take(most).map(|(.., base)| base).collect()
    }

    /// Whether a move changes nothing that is known, keeps every table in step with the hub and leaves no base cell below zero.
    pub(super) fn holds(&self, change: &Move) -> bool {
        let mut sums: HashMap<u32, i64> = HashMap::new();
        for (base, amount) in change {
            let of = self.star.bases[*base as usize];
            if i64::try_from(of.lines).unwrap_or(i64::MAX) + amount < 0 {
                return false;
            }
            for row in self.rows(self.class(*base)) {
                *sums.entry(*row).or_default() += self.sign(*base, *row) * amount;
            }
        }
        sums.values().all(|sum| *sum == 0)
    }

    /// By how much a move changes a node.
    pub(super) fn change_of(&self, node: u32, change: &Move) -> i64 {
        let table = self.table_of(node);
        change
            .iter()
            .filter(|(base, _)| {
                self.star.bases[*base as usize].table == table && self.star.above(*base as usize).contains(&node)
            })
            .map(|(_, amount)| amount)
            .sum()
    }

    /// The first table whose base cells make up a node.
    pub(super) fn table_of(&self, node: u32) -> u16 {
        self.table_of[node as usize]
    }

    /// The base cells that make up a node, in one table.
    pub(super) fn inside(&self, node: u32) -> Vec<u32> {
        let table = self.table_of(node);
        let below = self.star.below(node as usize).iter().copied();
        below.filter(|base| self.star.bases[*base as usize].table == table).collect()
    }

    /// The only case behind a node, if there is one.
    pub(super) fn only_case(&self, node: u32, inside: &[u32]) -> Option<u32> {
        if self.star.nodes[node as usize].cases != 1 {
            return None;
        }
        inside.iter().find_map(|base| match self.star.bases[*base as usize].cases {
            Cases::One(case) => Some(case),
            Cases::None | Cases::Many => None,
        })
    }
}
