//! Chooses what else to hide, so that no protected count can be narrowed, and finds a witness for each.
//!
//! The sequential attacker of `disclosure.md` A.1: for each protected count the cheapest move that changes it by its width. Nothing
//! rests on this: the auditor checks every witness in whole numbers and does not know how it was found.
#![expect(clippy::indexing_slicing, reason = "indexes are of the star that the lists were made for")]

mod circuit;
mod pattern;
mod programme;
mod reach;
mod recipe;
mod system;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::star::{Cases, NONE, Star};
use circuit::Frames;
use pattern::Pattern;
use programme::{Count, Found, Goal, Insiders, Wanted, loss, solve};
use reach::Useful;
use recipe::Recipes;

/// Ways of one count that leave one more insider out each, at most.
const INSIDERS_MAX: usize = 4;

/// One whole-number change of base cells.
pub type Move = Vec<(u32, i64)>;

/// One move, or two in opposite directions, that change a count by its width together.
pub type Way = Vec<Move>;

/// Numbers of a search, for the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Protected counts.
    pub protected: usize,
    /// Linear programmes solved.
    pub programmes: usize,
    /// Of them, programmes whose solution was no whole number at first.
    pub fractional: usize,
    /// Protected counts witnessed by a move that another count was solved for.
    pub shared: usize,
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.protected += other.protected;
        self.programmes += other.programmes;
        self.fractional += other.fractional;
        self.shared += other.shared;
    }
}

/// What was chosen.
#[derive(Debug, Default)]
pub struct Choice {
    /// For each node, whether it is hidden.
    pub hidden: Vec<bool>,
    /// For each protected node its witness: one way to change it, or several of which none needs the same insider.
    pub witnesses: BTreeMap<u32, Vec<Way>>,
    /// Protected nodes for which none was found.
    pub without: Vec<u32>,
    /// What it took.
    pub effort: Effort,
}

/// How a width is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By the way up and the way down together: counts.
    Together,
    /// By each of them, but for what would fall below zero: magnitudes.
    EachWay,
}

/// What must be protected.
#[derive(Debug)]
pub struct Task<'a> {
    /// The equations.
    pub star: &'a Star,
    /// For each node, whether it must be hidden.
    pub must_hide: &'a [bool],
    /// For each node, whether it must be protected.
    pub protect: &'a [bool],
    /// For each node, whether it was shown before: then it is known, and hiding it protects nothing.
    pub shown_before: &'a [bool],
    /// For each node its width, if it must be protected.
    pub width: &'a [i64],
    /// For each node how far up it must go at most; no limit where there is none.
    pub up: &'a [i64],
    /// How a width is reached.
    pub reach: Reach,
    /// What programmes count in: 1 for counts, a million for milligrams.
    pub unit: u32,
    /// Fewest cases of a national total that is known.
    pub k: u64,
    /// Whether witnesses leave alone what insiders know.
    pub insiders: bool,
    /// Programmes that the clean-up may solve.
    pub clean_up_max: usize,
}

/// Chooses.
pub fn choose(task: &Task<'_>) -> Choice {
    let mut search = Search {
        pattern: Pattern::new(task),
        task,
        witnesses: BTreeMap::new(),
        users: HashMap::new(),
        without: Vec::new(),
        recipes: Recipes::default(),
        useful: Useful::default(),
        frames: Frames::default(),
        crowded: HashSet::new(),
        whole: false,
        count: Count::default(),
        effort: Effort::default(),
    };
    search.run();
    search.effort.programmes = search.count.solved;
    search.effort.fractional = search.count.fractional;
    Choice {
        hidden: search.pattern.hidden,
        witnesses: search.witnesses,
        without: search.without,
        effort: search.effort,
    }
}

// A way, and what must be hidden for it.
#[derive(Debug, Default)]
struct Planned {
    way: Way,
    opened: Vec<u32>,
}

struct Search<'a> {
    task: &'a Task<'a>,
    pattern: Pattern<'a>,
    witnesses: BTreeMap<u32, Vec<Way>>,
    // For each node that may be shown again the nodes whose witnesses change it, or did.
    users: HashMap<u32, Vec<u32>>,
    without: Vec<u32>,
    recipes: Recipes,
    useful: Useful,
    frames: Frames,
    // Where only several ways protected a count of nothing, none of which needs the same insider: by table, time and drug.
    crowded: HashSet<(u16, u32)>,
    whole: bool,
    count: Count,
    effort: Effort,
}

impl Search<'_> {
    fn run(&mut self) {
        let star = self.task.star;
        let mut protected: Vec<u32> = (0..star.nodes.len())
            .filter(|node| self.task.protect[*node])
            .map(|node| u32::try_from(node).unwrap_or(NONE))
            .collect();
        self.effort.protected = protected.len();
        protected.sort_by_key(|node| {
            let of = &star.nodes[*node as usize];
            (std::cmp::Reverse((of.lines.min(1), of.weight, of.lines)), *node)
        });
        for node in protected {
            if !self.protect(node, true) {
                self.without.push(node);
            }
        }
        // What was hidden for the others may have let a move through; if it is far away, it is looked for there.
        self.whole = true;
        self.try_again();
        // The last resort: what counts the same lines is not shown, then nothing of the block. Most of it comes back in the end.
        if !self.without.is_empty() {
            let below = self.without.iter().flat_map(|node| star.below(*node as usize));
            let around: BTreeSet<u32> = below.flat_map(|base| star.above(*base as usize)).copied().collect();
            self.hide_all(around);
            self.try_again();
        }
        if !self.without.is_empty() {
            self.hide_all((0..).zip(&star.nodes).map(|(node, _)| node));
            self.try_again();
        }
        self.whole = false;
        self.clean_up();
    }

    fn try_again(&mut self) {
        for node in std::mem::take(&mut self.without) {
            if !self.protect(node, true) {
                self.without.push(node);
            }
        }
    }

    fn hide_all(&mut self, nodes: impl IntoIterator<Item = u32>) {
        for node in nodes {
            if self.pattern.may_hide(node) {
                self.set(node, true);
            }
        }
    }

    fn insiders(&self, node: u32, inside: &[u32]) -> Insiders {
        if self.task.insiders {
            Insiders::All { but: self.pattern.only_case(node, inside) }
        } else {
            Insiders::Some(BTreeSet::new())
        }
    }

    // Finds a witness; hides more for it if it may.
    fn protect(&mut self, node: u32, may_hide: bool) -> bool {
        let inside = self.pattern.inside(node);
        let insiders = self.insiders(node, &inside);
        let width = self.task.width[node as usize];
        let up_is_all = self.task.reach == Reach::Together || self.task.star.nodes[node as usize].lines == 0;
        if let Some(change) = self.recipes.apply(&self.pattern, node, &inside, &insiders, width).filter(|_| up_is_all) {
            self.effort.shared += 1;
            self.take(node, vec![vec![change]]);
            return true;
        }
        if up_is_all && let Some(change) = self.frames.way(&self.pattern, &inside, &insiders, width) {
            return self.accept(node, Planned { way: vec![change], opened: Vec::new() });
        }
        // Where everybody's base cells were in the way before, they are likely to be so again.
        let here = self.place_of(node, &inside);
        if up_is_all
            && self.crowded.contains(&here)
            && let Some(ways) = self.recipes_around_insiders(node, &inside, width)
        {
            self.effort.shared += 1;
            self.take(node, ways);
            return true;
        }
        // How far it can fall is the same whatever is hidden for the way up.
        let down = if self.task.reach == Reach::Together { self.down(node, &inside, &insiders) } else { None };
        if let Some(found) = self.way(node, &inside, &insiders, false, down.as_ref()) {
            return self.accept(node, found);
        }
        if self.task.insiders
            && let Some(ways) = self.one_insider_at_a_time(node, &inside, false)
        {
            for change in ways.iter().filter_map(|way| way.last()).filter(|_| up_is_all) {
                self.crowded.insert(here);
                if self.pattern.change_of(node, change) >= width {
                    self.recipes.learn(&self.pattern, change, width);
                }
            }
            self.keep(node, ways);
            return true;
        }
        if !may_hide {
            return false;
        }
        let strict = self.way(node, &inside, &insiders, true, down.as_ref());
        if let Some(found) = strict {
            return self.accept(node, found);
        }
        // Nothing that is hidden helps against all who are alone somewhere; against each of them by itself it may.
        if self.task.insiders
            && let Some(ways) = self.one_insider_at_a_time(node, &inside, true)
        {
            self.keep(node, ways);
            return true;
        }
        let anybody = Insiders::Some(BTreeSet::new());
        let down = if self.task.reach == Reach::Together { self.down(node, &inside, &anybody) } else { None };
        let Some(found) = self.way(node, &inside, &anybody, true, down.as_ref()).filter(|_| self.task.insiders) else {
            return false;
        };
        self.accept(node, found)
    }

    // Hides what a way needs hidden, and takes it as the witness.
    fn accept(&mut self, node: u32, found: Planned) -> bool {
        for opened in &found.opened {
            self.set(*opened, true);
        }
        if !found.way.iter().all(|change| self.pattern.holds(change)) {
            return false;
        }
        let width = self.task.width[node as usize];
        if let Some(change) = found.way.last().filter(|change| self.pattern.change_of(node, change) >= width) {
            self.recipes.learn(&self.pattern, change, width);
        }
        self.keep(node, vec![found.way]);
        true
    }

    fn keep(&mut self, node: u32, ways: Vec<Way>) {
        for change in ways.iter().flatten() {
            self.frames.learn(&self.pattern, change);
        }
        self.take(node, ways);
    }

    // The same for a witness by a recipe: what moves in the hub is known from the move that the recipe comes from.
    fn take(&mut self, node: u32, ways: Vec<Way>) {
        self.note_users(node, &ways);
        self.witnesses.insert(node, ways);
    }

    // Notes which of the nodes that may be shown again a witness changes.
    fn note_users(&mut self, node: u32, ways: &[Way]) {
        if self.users.is_empty() {
            return;
        }
        for changed in ways.iter().flatten().flat_map(|change| self.pattern.changes(change).into_keys()) {
            if let Some(users) = self.users.get_mut(&changed).filter(|users| users.last() != Some(&node)) {
                users.push(node);
            }
        }
    }

    fn set(&mut self, node: u32, hide: bool) {
        let changed = self.pattern.set(node, hide);
        self.recipes.renew(&self.pattern, &changed);
    }

    // One way to change a node by its width, at the lowest price or, if nothing may be hidden, at none.
    fn way(
        &mut self,
        node: u32,
        inside: &[u32],
        insiders: &Insiders,
        may_hide: bool,
        down: Option<&Move>,
    ) -> Option<Planned> {
        let lines = i64::try_from(self.task.star.nodes[node as usize].lines).unwrap_or(i64::MAX);
        let mut width = self.task.width[node as usize];
        let mut planned = Planned::default();
        match self.task.reach {
            Reach::Together => {
                if let Some(down) = down {
                    width += self.pattern.change_of(node, down);
                    planned.way.push(down.clone());
                }
            }
            Reach::EachWay if lines > 0 => {
                let found = self.solve(inside, insiders, Goal::Exactly { by: -width.min(lines), may_hide })?;
                planned.opened.extend(found.opened);
                planned.way.push(found.change);
            }
            Reach::EachWay => {}
        }
        if self.task.reach == Reach::EachWay {
            width = width.min(self.task.up.get(node as usize).copied().unwrap_or(i64::MAX));
        }
        if width > 0 {
            let found = self.solve(inside, insiders, Goal::Exactly { by: width, may_hide })?;
            planned.opened.extend(found.opened);
            planned.way.push(found.change);
        }
        let free = planned.opened.is_empty();
        (!free || planned.way.iter().all(|change| self.pattern.holds(change))).then_some(planned)
    }

    // As far down as the width and the lines go.
    fn down(&mut self, node: u32, inside: &[u32], insiders: &Insiders) -> Option<Move> {
        if self.task.star.nodes[node as usize].lines == 0 {
            return None;
        }
        let found = self.solve(inside, insiders, Goal::DownMost(self.task.width[node as usize]))?;
        Some(found.change).filter(|change| !change.is_empty() && self.pattern.holds(change))
    }

    fn solve(&mut self, inside: &[u32], insiders: &Insiders, goal: Goal) -> Option<Found> {
        let by = match goal {
            Goal::Exactly { by, may_hide: false } => Some(by),
            Goal::Exactly { may_hide: true, .. } => None,
            Goal::DownMost(width) => {
                let lines: u64 = inside.iter().map(|base| self.task.star.bases[*base as usize].lines).sum();
                Some(-width.min(i64::try_from(lines).unwrap_or(i64::MAX)))
            }
        };
        if let Some(change) = by.and_then(|by| self.frames.way(&self.pattern, inside, insiders, by)) {
            return Some(Found { is_far: false, change, opened: Vec::new() });
        }
        let unit = f64::from(self.task.unit);
        let wanted = Wanted { inside, insiders, goal, useful: &self.useful, whole: self.whole, unit };
        let found = solve(&self.pattern, &wanted, &mut self.count)?;
        if found.is_far {
            self.useful.learn(&found.change);
        }
        Some(found)
    }

    // The table, and the time and drug of a count.
    fn place_of(&self, node: u32, inside: &[u32]) -> (u16, u32) {
        let link = inside.first().map_or(NONE, |base| self.task.star.link(*base as usize));
        (self.pattern.table_of(node), link)
    }

    // Recipes of which none needs the same insider.
    fn recipes_around_insiders(&self, node: u32, inside: &[u32], width: i64) -> Option<Vec<Way>> {
        let only = self.pattern.only_case(node, inside);
        let without = |frozen: BTreeSet<u32>| -> Option<Way> {
            Some(vec![self.recipes.apply(&self.pattern, node, inside, &Insiders::Some(frozen), width)?])
        };
        let first = without(BTreeSet::new())?;
        let second = without(self.alone_in(&first, only))?;
        Some(vec![first, second])
    }

    // Several ways, so that whoever is alone in a base cell finds one that leaves it as it is.
    fn one_insider_at_a_time(&mut self, node: u32, inside: &[u32], may_hide: bool) -> Option<Vec<Way>> {
        let only = self.pattern.only_case(node, inside);
        let first = self.way_without(node, inside, BTreeSet::new(), may_hide)?;
        let mut left = self.alone_in(&first, only);
        let mut ways = vec![first];
        if left.is_empty() {
            return Some(ways);
        }
        if let Some(second) = self.way_without(node, inside, left.clone(), may_hide) {
            left.clear();
            ways.push(second);
        }
        let most = ways.len() + INSIDERS_MAX;
        while let Some(case) = left.pop_first() {
            if ways.len() == most {
                return None;
            }
            let way = self.way_without(node, inside, BTreeSet::from([case]), may_hide)?;
            let moved = self.alone_in(&way, only);
            left.retain(|case| moved.contains(case));
            ways.push(way);
        }
        Some(ways)
    }

    // A way that leaves some cases alone; what it needs hidden is hidden.
    fn way_without(&mut self, node: u32, inside: &[u32], frozen: BTreeSet<u32>, may_hide: bool) -> Option<Way> {
        let insiders = Insiders::Some(frozen);
        let down = if self.task.reach == Reach::Together { self.down(node, inside, &insiders) } else { None };
        let planned = self.way(node, inside, &insiders, may_hide, down.as_ref())?;
        for opened in &planned.opened {
            self.set(*opened, true);
        }
        planned.way.iter().all(|change| self.pattern.holds(change)).then_some(planned.way)
    }

    // The cases that are alone in a base cell which a way moves.
    fn alone_in(&self, way: &Way, but: Option<u32>) -> BTreeSet<u32> {
        let bases = way.iter().flatten().map(|(base, _)| self.pattern.star.bases[*base as usize].cases);
        bases
            .filter_map(|cases| if let Cases::One(case) = cases { Some(case) } else { None })
            .filter(|case| Some(*case) != but)
            .collect()
    }

    // Shows again what is not needed, dearest first, as long as the witnesses that moved it can be replaced.
    fn clean_up(&mut self) {
        let star = self.task.star;
        let mut hidden: Vec<u32> = (0..star.nodes.len())
            .filter(|node| {
                let of = &star.nodes[*node];
                of.offered
                    && self.pattern.hidden[*node]
                    && !self.task.must_hide[*node]
                    && !self.task.must_hide[of.lead as usize]
            })
            .map(|node| u32::try_from(node).unwrap_or(NONE))
            .collect();
        hidden.sort_by_key(|node| (std::cmp::Reverse(loss(&self.pattern, *node)), *node));
        self.users = hidden.iter().map(|node| (*node, Vec::new())).collect();
        let witnesses = std::mem::take(&mut self.witnesses);
        for (node, ways) in &witnesses {
            self.note_users(*node, ways);
        }
        self.witnesses = witnesses;
        let most = self.count.solved + self.task.clean_up_max;
        for node in hidden {
            if self.count.solved >= most {
                break;
            }
            if !self.pattern.may_show(node) {
                continue;
            }
            self.set(node, false);
            // Only what moves the number in question breaks; what has lines is hardest to protect otherwise.
            let mut users: Vec<u32> = self.users.get(&node).cloned().unwrap_or_default();
            users.sort_unstable();
            users.dedup();
            users.sort_by_key(|user| std::cmp::Reverse(star.nodes[*user as usize].lines));
            let mut before: Vec<(u32, Vec<Way>)> = Vec::new();
            let replaced = users.into_iter().all(|user| {
                let breaks =
                    |ways: &Vec<Way>| ways.iter().flatten().any(|change| self.pattern.change_of(node, change) != 0);
                let Some(ways) = self.witnesses.get(&user).filter(|ways| breaks(ways)).cloned() else { return true };
                let replaced = self.protect(user, false);
                if replaced {
                    before.push((user, ways));
                }
                replaced
            });
            if !replaced {
                // The recipes of the pattern as it was are still there.
                self.pattern.set(node, true);
                self.witnesses.extend(before);
            }
        }
    }
}

/// Whether a base cell may take more lines: nobody is alone in it, or the one who is is no insider here.
fn free(star: &Star, base: u32, insiders: &Insiders) -> bool {
    let cases: Cases = star.bases[base as usize].cases;
    !insiders.freeze(cases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::disclosure::star::{Base, Node};

    // A table of base cells with several cases each, and the sums of them that are published: base cells and level weight.
    pub(super) fn star(cells: &[u64], sums: &[&[usize]]) -> Star {
        let node = |lead: usize, lines: u64, weight: u64| Node {
            lines,
            cases: lines,
            lead: u32::try_from(lead).unwrap(),
            offered: true,
            weight,
            national: false,
            links: Vec::new(),
        };
        let mut nodes: Vec<Node> = cells.iter().enumerate().map(|(at, lines)| node(at, *lines, 40)).collect();
        nodes.extend(sums.iter().enumerate().map(|(at, of)| {
            let lines = of.iter().map(|cell| cells[*cell]).sum();
            node(cells.len() + at, lines, 80)
        }));
        let bases = cells.iter().enumerate().map(|(at, lines)| {
            let sums = sums.iter().enumerate().filter(|(_, of)| of.contains(&at)).map(|(sum, _)| cells.len() + sum);
            let above = std::iter::once(at).chain(sums).map(|node| u32::try_from(node).unwrap()).collect();
            (Base { lines: *lines, cases: Cases::Many, table: 0, seen: true }, above, NONE)
        });
        let bases = bases.collect();
        Star::from_parts(nodes, bases)
    }

    fn solved(star: &Star, must_hide: &[bool], shown_before: &[bool]) -> Choice {
        let protect: Vec<bool> = star.nodes.iter().map(|node| node.cases < 5).collect();
        let width = vec![5; star.nodes.len()];
        choose(&Task { protect: &protect, width: &width, shown_before, ..task(star, must_hide) })
    }

    pub(super) fn task<'a>(star: &'a Star, must_hide: &'a [bool]) -> Task<'a> {
        Task {
            star,
            must_hide,
            protect: &[],
            shown_before: &[],
            width: &[],
            up: &[],
            reach: Reach::Together,
            unit: 1,
            k: 5,
            insiders: true,
            clean_up_max: 100,
        }
    }

    // Regions N and S by cocaine, heroin, MDMA, with all sums.
    pub(super) fn regions() -> Star {
        let rows: [&[usize]; 2] = [&[0, 1, 2], &[3, 4, 5]];
        let columns: [&[usize]; 3] = [&[0, 3], &[1, 4], &[2, 5]];
        let sums = [&rows[..], &columns[..], &[&[0, 1, 2, 3, 4, 5]]].concat();
        star(&[12, 3, 15, 11, 14, 18], &sums)
    }

    // Every protected count has moves that leave all shown sums as they are, nothing below zero, and that differ by five in it.
    fn is_protected(star: &Star, choice: &Choice) {
        for (node, of) in (0..).zip(&star.nodes).filter(|(_, node)| node.cases < 5) {
            let way = &choice.witnesses[&node][0];
            let mut by = vec![0];
            for change in way {
                let moved = |node: u32| {
                    let inside = |base: u32| star.above(base as usize).contains(&node);
                    change.iter().filter(|(base, _)| inside(*base)).map(|(_, by)| by).sum::<i64>()
                };
                let shown = (0..).zip(&choice.hidden).filter(|(_, hidden)| !**hidden);
                shown.for_each(|(node, _)| assert_eq!(moved(node), 0, "{node} is shown"));
                assert!(change.iter().all(|(base, by)| star.bases[*base as usize].lines.cast_signed() + by >= 0));
                by.push(moved(node));
            }
            assert!(by.iter().max().unwrap() - by.iter().min().unwrap() >= 5, "{of:?}");
        }
    }

    fn unsafe_nodes(star: &Star) -> Vec<bool> {
        star.nodes.iter().map(|node| node.cases < 5).collect()
    }

    // Attack 5.1: total minus parts.
    #[test]
    fn a_hidden_cell_of_a_table_is_not_what_the_others_leave_over() {
        let star = regions();
        let nobody = vec![false; star.nodes.len()];
        let choice = solved(&star, &unsafe_nodes(&star), &nobody);
        assert!(choice.without.is_empty(), "{:?}", choice.without);
        is_protected(&star, &choice);
        let hidden: Vec<usize> = (0..star.nodes.len()).filter(|node| choice.hidden[*node]).collect();
        assert_eq!(hidden, [0, 1, 3, 4], "heroin and cocaine in both regions: the cheapest rectangle");
        // One cell less, anywhere, and no witness is left.
        for shown in [0, 3, 4] {
            let less: Vec<bool> = (0..star.nodes.len()).map(|node| choice.hidden[node] && node != shown).collect();
            let known: Vec<bool> = less.iter().map(|hidden| !hidden).collect();
            assert_eq!(solved(&star, &less, &known).without, [1], "with cell {shown} shown");
        }
    }

    // What was shown before cannot be hidden; what is new is, down to nothing of the block, and comes back where it is not needed.
    #[test]
    fn where_no_single_number_helps_all_that_is_new_is_hidden() {
        let star = regions();
        let before: Vec<bool> = (0..star.nodes.len()).map(|node| [0, 2, 6, 7].contains(&node)).collect();
        let choice = solved(&star, &unsafe_nodes(&star), &before);
        assert_eq!(choice.without, [1], "the row of region N was shown: 30 - 12 - 15");
        let before: Vec<bool> = (0..star.nodes.len()).map(|node| [2, 6, 7].contains(&node)).collect();
        let choice = solved(&star, &unsafe_nodes(&star), &before);
        assert!(choice.without.is_empty(), "{:?}", choice.without);
        is_protected(&star, &choice);
        let hidden: Vec<usize> = (0..star.nodes.len()).filter(|node| choice.hidden[*node]).collect();
        assert_eq!(hidden, [0, 1, 3, 4]);
    }

    // Attack 5.21a: cells of three dimensions from margins of two. None of the cells is published.
    #[test]
    fn hidden_cells_are_not_narrowed_by_margins_that_are_all_large() {
        let cells = [3, 8, 14, 12, 6, 9, 11, 0];
        let margin = |keep: usize, value: usize| (0..8).filter(|cell| cell & keep == value).collect::<Vec<usize>>();
        let margins: Vec<Vec<usize>> = [3, 5, 6]
            .iter()
            .flat_map(|keep| (0..8).filter(move |value| value & !keep == 0).map(move |value| margin(*keep, value)))
            .collect();
        let sums: Vec<&[usize]> = margins.iter().map(Vec::as_slice).collect();
        assert_eq!(sums.len(), 12);
        let star = star(&cells, &sums);
        let nobody = vec![false; star.nodes.len()];
        let must_hide: Vec<bool> = (0..star.nodes.len()).map(|node| node < 8).collect();
        let choice = solved(&star, &must_hide, &nobody);
        assert!(choice.without.is_empty(), "{:?}", choice.without);
        is_protected(&star, &choice);
        // With every margin shown, or one of them hidden, the cell that holds three can be anything from 0 to 3: that is too little.
        for margin in 7..star.nodes.len() {
            let hidden: Vec<bool> = (0..star.nodes.len()).map(|node| node < 8 || node == margin).collect();
            let known: Vec<bool> = hidden.iter().map(|hidden| !hidden).collect();
            assert!(solved(&star, &hidden, &known).without.contains(&0), "without margin {margin}");
        }
    }
}
