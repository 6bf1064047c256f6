//! Recipes: what a move gives back elsewhere for the lines that it adds to one place serves every place that is seen in the same
//! numbers. Codes that were never seen are interchangeable in this way.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{Move, free, pattern::Pattern, programme::Insiders};
use crate::domain::disclosure::star::{NONE, Star};

/// Recipes tried for one base cell, at most.
const TRIES_MAX: usize = 12;

/// What is raised: one base cell; if the hub is raised with it, one base cell of the hub and one of every table that is raised with
/// the hub's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Raised {
    // What the base cells are seen in, by table; the hub is table 0.
    seen_in: BTreeMap<u16, u32>,
    // Links in which the rest of the move makes good what is raised: they must be the same.
    held: BTreeSet<u32>,
}

/// A recipe: what is raised, and the rest of the move.
type Recipe = (Raised, Move);

#[derive(Debug, Default)]
pub(super) struct Recipes {
    // By what the first base cell is seen in: those that serve any time and drug.
    anywhere: HashMap<u32, VecDeque<Recipe>>,
    // Those that make good what is raised in a link, by that link as well.
    here: HashMap<(u32, u32), VecDeque<Recipe>>,
    // The moves that recipes come from, and which moves raise a base cell.
    learnt: Vec<(i64, Move)>,
    by_base: HashMap<u32, Vec<usize>>,
}

impl Recipes {
    /// Learns from a move every recipe for a base cell that it raises by at least the width.
    pub(super) fn learn(&mut self, pattern: &Pattern<'_>, change: &Move, width: i64) {
        // Keys of recipes are made of what raised base cells are seen in.
        for (base, _) in change.iter().filter(|(_, amount)| *amount >= width) {
            self.by_base.entry(*base).or_default().push(self.learnt.len());
        }
        self.learnt.push((width, change.clone()));
        self.add_all(pattern, change, width);
    }

    /// After another pattern, in which these base cells are seen in other numbers: their moves give other recipes.
    ///
    /// What was known before stays: each recipe is tried on the pattern before it is used.
    pub(super) fn renew(&mut self, pattern: &Pattern<'_>, changed: &[u32]) {
        let mut moves: Vec<usize> =
            changed.iter().filter_map(|base| self.by_base.get(base)).flatten().copied().collect();
        moves.sort_unstable();
        moves.dedup();
        for at in moves {
            let Some((width, change)) = self.learnt.get(at).cloned() else { continue };
            if pattern.holds(&change) {
                let again = change.iter().filter(|(base, by)| *by >= width && changed.binary_search(base).is_ok());
                again.for_each(|(base, _)| self.add(pattern, *base, &change, width));
            }
        }
    }

    fn add_all(&mut self, pattern: &Pattern<'_>, change: &Move, width: i64) {
        for (base, amount) in change {
            if *amount >= width {
                self.add(pattern, *base, change, width);
            }
        }
    }

    fn add(&mut self, pattern: &Pattern<'_>, base: u32, change: &Move, width: i64) {
        let raised_by = |base: u32| change.iter().any(|entry| entry.0 == base && entry.1 >= width);
        let (parts, held) = parts(pattern, base, &mut |_, group| group.iter().copied().find(|base| raised_by(*base)));
        let mut rest: BTreeMap<u32, i64> = change.iter().copied().collect();
        for base in parts.values() {
            *rest.entry(*base).or_default() -= width;
        }
        let rest: Move = rest.into_iter().filter(|(_, amount)| *amount != 0).collect();
        let seen_in = parts.iter().map(|(table, base)| (*table, pattern.seen_in(*base))).collect();
        let seen = pattern.seen_in(base);
        let of = pattern.star.bases[base as usize];
        let own = if of.table == 0 { held.first().copied() } else { Some(own_link(pattern, base)) };
        let list = match own.filter(|_| !held.is_empty()) {
            Some(link) => self.here.entry((seen, link)).or_default(),
            None => self.anywhere.entry(seen).or_default(),
        };
        let raised = Raised { seen_in, held };
        if list.iter().any(|(known, _)| *known == raised) {
            return;
        }
        if list.len() == TRIES_MAX {
            list.pop_back();
        }
        list.push_front((raised, rest));
    }

    // The recipes that may fit a base cell.
    fn of<'a>(&'a self, pattern: &'a Pattern<'_>, base: u32) -> impl Iterator<Item = &'a Recipe> {
        let seen = pattern.seen_in(base);
        let links: Vec<u32> = if pattern.star.bases[base as usize].table == 0 {
            let rows = pattern.rows(pattern.class(base)).iter().copied();
            rows.filter(|row| pattern.node_of(*row).1).collect()
        } else {
            vec![own_link(pattern, base)]
        };
        let here = links.into_iter().filter_map(move |link| self.here.get(&(seen, link)));
        self.anywhere.get(&seen).into_iter().chain(here).flatten()
    }

    /// A witness for a node from a recipe, if one fits.
    pub(super) fn apply(
        &self,
        pattern: &Pattern<'_>,
        node: u32,
        inside: &[u32],
        insiders: &Insiders,
        width: i64,
    ) -> Option<Move> {
        let mut tried: Vec<u32> = Vec::new();
        for base in inside.iter().copied().filter(|base| free(pattern.star, *base, insiders)) {
            let class = pattern.class(base);
            if tried.contains(&class) {
                continue;
            }
            tried.push(class);
            for (raised, rest) in self.of(pattern, base) {
                let fits = |table: u16, candidate: u32| {
                    raised.seen_in.get(&table) == Some(&pattern.seen_in(candidate))
                        && free(pattern.star, candidate, insiders)
                        && (table > 0
                            || raised.held.iter().all(|row| pattern.rows(pattern.class(candidate)).contains(row)))
                };
                let (found, held) = parts(pattern, base, &mut |table, group| {
                    group.iter().copied().find(|candidate| fits(table, *candidate))
                });
                if !found.keys().eq(raised.seen_in.keys()) || held != raised.held {
                    continue;
                }
                if rest.iter().any(|(base, _)| !free(pattern.star, *base, insiders)) {
                    continue;
                }
                let mut change: BTreeMap<u32, i64> = rest.iter().copied().collect();
                for base in found.values() {
                    *change.entry(*base).or_default() += width;
                }
                let change: Move = change.into_iter().filter(|(_, amount)| *amount != 0).collect();
                if pattern.change_of(node, &change) >= width && pattern.holds(&change) {
                    return Some(change);
                }
            }
            if tried.len() >= TRIES_MAX {
                break;
            }
        }
        None
    }
}

// The link between a base cell outside the hub and the hub.
fn own_link(pattern: &Pattern<'_>, base: u32) -> u32 {
    pattern.link_row(pattern.star.bases[base as usize].table, pattern.star.link(base as usize))
}

// The base cells that are raised with one, and the links in which nothing is. `choose` picks among the base cells of a table below a
// link; where it picks none, the link is held.
fn parts(
    pattern: &Pattern<'_>,
    base: u32,
    choose: &mut dyn FnMut(u16, &[u32]) -> Option<u32>,
) -> (BTreeMap<u16, u32>, BTreeSet<u32>) {
    let star: &Star = pattern.star;
    let of = star.bases[base as usize];
    let mut parts = BTreeMap::from([(of.table, base)]);
    let mut held = BTreeSet::new();
    let link = star.link(base as usize);
    if link != NONE && pattern.known(link) {
        return (parts, held);
    }
    let below = |node: u32, table: u16| -> Vec<u32> {
        let all = star.below(node as usize).iter().copied();
        all.filter(|base| star.bases[*base as usize].table == table).collect()
    };
    let hub = if link == NONE { Some(base) } else { choose(0, &below(link, 0)) };
    let Some(hub) = hub else {
        held.insert(pattern.link_row(of.table, link));
        return (parts, held);
    };
    parts.insert(0, hub);
    for node in star.above(hub as usize).iter().filter(|node| !pattern.known(**node)) {
        for table in &star.nodes[*node as usize].links {
            if *table == of.table {
                continue;
            }
            match choose(*table, &below(*node, *table)) {
                Some(base) => {
                    parts.insert(*table, base);
                }
                None => {
                    held.insert(pattern.link_row(*table, *node));
                }
            }
        }
    }
    (parts, held)
}
