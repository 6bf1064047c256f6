//! Which base cells a programme looks at.

use std::collections::{BTreeSet, VecDeque};

use super::{
    super::star::{NONE, Star},
    Move,
    pattern::Pattern,
};

/// Places with many lines that a small programme takes them from.
const RESERVOIRS_MAX: usize = 6;

/// Places with many lines that a programme takes them from in a block that is too large to be looked at whole.
const RESERVOIRS_OF_LARGE: usize = 24;

/// Base cells of one table that such a place takes part with there.
const OF_TABLE_MAX: usize = 24;

/// A block with more base cells where there are lines is never looked at whole: a programme grows faster than its cells.
const LARGE: usize = 12_000;

/// A block with fewer base cells where there are lines is looked at whole.
const SMALL: usize = 300;

/// Base cells of one time and drug without lines: a few say as much as all.
const EMPTY_MAX: usize = 4;

/// Base cells of one table that a programme has, at most, if it has no other table.
const LINKED_MAX: usize = 600;

/// The same, at most, if hub and other tables are there as well.
const LINKED_BESIDE_MAX: usize = 200;

/// Base cells of a row that are all looked at; of longer rows only those with most lines.
const LONG_ROW: usize = 24;

/// Moves found far away whose base cells are kept in mind, at most.
const USEFUL_MAX: usize = 4;

/// Base cells of the moves that were last found far away: others are likely to need the same.
#[derive(Debug, Default)]
pub(super) struct Useful {
    moves: VecDeque<Vec<u32>>,
}

impl Useful {
    /// Keeps a move in mind.
    pub(super) fn learn(&mut self, change: &Move) {
        let cells: Vec<u32> = change.iter().map(|(base, _)| *base).collect();
        if cells.is_empty() || self.moves.contains(&cells) {
            return;
        }
        if self.moves.len() == USEFUL_MAX {
            self.moves.pop_back();
        }
        self.moves.push_front(cells);
    }

    fn cells(&self) -> impl Iterator<Item = u32> {
        self.moves.iter().flatten().copied()
    }
}

/// Whether all base cells with lines are too many for one programme.
pub(super) fn is_large(pattern: &Pattern<'_>) -> bool {
    pattern.seen() > LARGE
}

/// Base cells of every time and drug that has lines, and of the count itself with what it links to; in a large block of many places
/// with many lines.
pub(super) fn far(pattern: &Pattern<'_>, inside: &[u32], useful: &Useful) -> Vec<u32> {
    if is_large(pattern) {
        return around(pattern, inside, true, useful, RESERVOIRS_OF_LARGE);
    }
    all(pattern, inside)
}

/// The same with what is linked to the count in its own table, for what was not found otherwise.
pub(super) fn farther(pattern: &Pattern<'_>, inside: &[u32], useful: &Useful) -> Vec<u32> {
    let mut reached: BTreeSet<u32> = far(pattern, inside, useful).into_iter().collect();
    if let Some(base) = inside.first() {
        let own = pattern.star.bases[*base as usize].table;
        reached.extend(linked(pattern, inside.iter().copied().collect(), own, true, LINKED_MAX));
    }
    reached.into_iter().collect()
}

/// Base cells of every time and drug that has lines, and of the count itself with what it links to.
pub(super) fn all(pattern: &Pattern<'_>, inside: &[u32]) -> Vec<u32> {
    let star = pattern.star;
    let mut reached: BTreeSet<u32> =
        (0..).zip(&star.bases).filter(|(_, base)| base.seen).map(|(base, _)| base).collect();
    let mut from: Vec<u32> = inside.to_vec();
    if inside.iter().all(|base| !star.bases[*base as usize].seen) {
        from.truncate(EMPTY_MAX);
    }
    for base in from {
        reached.insert(base);
        for hub in hub_of(star, base) {
            reached.insert(hub);
            reached.extend(spokes(pattern, hub, true));
        }
    }
    reached.into_iter().collect()
}

/// Base cells of the count itself, what it links to, and a few places with many lines that are seen in nearly the same numbers.
///
/// Where more may be hidden, it has the base cells of the other tables as well that would move then.
pub(super) fn near(pattern: &Pattern<'_>, inside: &[u32], may_hide: bool, useful: &Useful) -> Vec<u32> {
    if pattern.seen() < SMALL {
        return all(pattern, inside);
    }
    around(pattern, inside, may_hide, useful, RESERVOIRS_MAX)
}

// The base cells of `near`, with so many places to take lines from.
fn around(pattern: &Pattern<'_>, inside: &[u32], may_hide: bool, useful: &Useful, reservoirs: usize) -> Vec<u32> {
    let star = pattern.star;
    let has_lines = |base: &u32| star.bases[*base as usize].lines > 0;
    let mut from: Vec<u32> = inside.iter().copied().filter(has_lines).collect();
    from.extend(inside.iter().copied().filter(|base| !has_lines(base)).take(EMPTY_MAX));
    let mut reached: BTreeSet<u32> = from.iter().copied().chain(useful.cells()).collect();
    let mut hubs: BTreeSet<u32> = BTreeSet::new();
    let mut own = 0;
    for base in &from {
        own = star.bases[*base as usize].table;
        let link = star.link(*base as usize);
        if link == NONE || !pattern.known(link) || may_hide && pattern.may_hide(link) {
            hubs.extend(hub_of(star, *base));
        }
        if link != NONE {
            // Its own time and drug in its own table.
            reached.extend(
                star.below(link as usize).iter().copied().filter(|base| star.bases[*base as usize].table == own),
            );
        }
    }
    if hubs.is_empty() {
        // No other table is touched: what the table has is what there is to take from.
        return linked(pattern, reached, own, may_hide, LINKED_MAX).into_iter().collect();
    }
    if !may_hide {
        // It may do without the hub as well.
        reached = linked(pattern, reached, own, false, LINKED_BESIDE_MAX);
    }
    for hub in &hubs {
        reached.insert(*hub);
        reached.extend(spokes(pattern, *hub, may_hide));
    }
    let first = hubs.first().copied().unwrap_or(0);
    for (place, hub) in pattern.reservoirs(first, reservoirs).into_iter().enumerate() {
        reached.insert(hub);
        let in_own = place < reservoirs / 2;
        let spokes = spokes(pattern, hub, may_hide).into_iter().filter(|base| !pattern.is_fixed(*base, may_hide));
        let spokes = spokes.filter(|base| has_lines(base) || in_own && star.bases[*base as usize].table == own);
        reached.extend(fullest(pattern, spokes.collect()));
    }
    reached.into_iter().collect()
}

// Base cells of one table that stand in a row with one of these, or with one that does, and so on; of long rows those with most lines.
fn linked(pattern: &Pattern<'_>, mut reached: BTreeSet<u32>, table: u16, may_hide: bool, most: usize) -> BTreeSet<u32> {
    let star = pattern.star;
    let lines = |base: u32| star.bases[base as usize].lines;
    let mut open: VecDeque<u32> = reached.iter().copied().collect();
    let mut seen: BTreeSet<u32> = BTreeSet::new();
    while let Some(base) = open.pop_front() {
        for row in pattern.rows(pattern.class(base)).iter().filter(|row| seen.insert(**row)) {
            let all = star.below(pattern.node_of(*row).0 as usize).iter().copied();
            let mut row: Vec<u32> = all
                .filter(|base| star.bases[*base as usize].table == table && !pattern.is_fixed(*base, may_hide))
                .collect();
            if row.len() > LONG_ROW {
                row.sort_by_key(|base| (std::cmp::Reverse(lines(*base)), *base));
                row.truncate(LONG_ROW);
            }
            for base in row {
                if reached.len() >= most {
                    return reached;
                }
                if reached.insert(base) {
                    open.push_back(base);
                }
            }
        }
    }
    reached
}

// In a large block the base cells with most lines, some of every table; otherwise all.
fn fullest(pattern: &Pattern<'_>, mut bases: Vec<u32>) -> Vec<u32> {
    if !is_large(pattern) {
        return bases;
    }
    let of = |base: &u32| pattern.star.bases[*base as usize];
    bases.sort_by_key(|base| (of(base).table, std::cmp::Reverse(of(base).lines)));
    let groups = bases.chunk_by(|a, b| of(a).table == of(b).table);
    groups.flat_map(|group| group.iter().take(OF_TABLE_MAX)).copied().collect()
}

// The base cells of the hub that one of another table has its lines in, those with lines first.
fn hub_of(star: &Star, base: u32) -> Vec<u32> {
    let link = star.link(base as usize);
    if link == NONE {
        return vec![base];
    }
    let mut found: Vec<u32> =
        star.below(link as usize).iter().copied().filter(|base| star.bases[*base as usize].table == 0).collect();
    found.sort_by_key(|base| std::cmp::Reverse(star.bases[*base as usize].lines));
    found.truncate(EMPTY_MAX);
    found
}

// The base cells of the other tables that move with one of the hub.
fn spokes(pattern: &Pattern<'_>, hub: u32, may_hide: bool) -> Vec<u32> {
    let star = pattern.star;
    let open = |node: &&u32| {
        let links = !star.nodes[**node as usize].links.is_empty();
        links && (!pattern.known(**node) || may_hide && pattern.may_hide(**node))
    };
    let below = star.above(hub as usize).iter().filter(open).flat_map(|node| star.below(*node as usize));
    below.copied().filter(|base| star.bases[*base as usize].table > 0).collect()
}
