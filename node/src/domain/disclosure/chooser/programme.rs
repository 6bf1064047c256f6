//! The linear programmes: the cheapest or the largest change of one count.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem, Solution, SolveOptions, Variable};

use super::{
    super::star::Cases,
    Move,
    pattern::Pattern,
    reach::{self, Useful},
    system::{Row, System},
};

/// Branches of the search for whole numbers, at most.
const BRANCHES_MAX: u64 = 40;

/// Columns of a programme over a whole block, at most: it takes longer than they become more.
const COLUMNS_MAX: usize = 6_000;

/// How often a choice is priced anew, at most.
const ROUNDS_MAX: usize = 2;

/// A loss for which it is not worth while to look further: that of some fifteen cases in a group of one year. Looking further for less
/// takes twice the time and saves some three in a hundred of what is lost.
const SMALL_LOSS: u64 = 60_000;

/// Whose base cells a witness must leave alone.
#[derive(Debug, Clone)]
pub(super) enum Insiders {
    /// Everybody's who is alone in a base cell, but the one who is alone in the count itself.
    All {
        /// The only case of the count itself.
        but: Option<u32>,
    },
    /// Those of these cases.
    Some(BTreeSet<u32>),
}

impl Insiders {
    pub(super) fn freeze(&self, cases: Cases) -> bool {
        match (self, cases) {
            (Self::All { but }, Cases::One(case)) => *but != Some(case),
            (Self::Some(some), Cases::One(case)) => some.contains(&case),
            (_, Cases::None | Cases::Many) => false,
        }
    }
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Its base cells.
    pub(super) inside: &'a [u32],
    /// Who is frozen.
    pub(super) insiders: &'a Insiders,
    /// By how much it moves.
    pub(super) goal: Goal,
    /// What others needed.
    pub(super) useful: &'a Useful,
    /// Whether the whole block is looked at, as far as it can move.
    pub(super) whole: bool,
    /// What programmes count in.
    pub(super) unit: f64,
}

/// By how much a count is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// By exactly this; where more may be hidden, at the lowest price.
    Exactly {
        /// Up, or down if negative.
        by: i64,
        /// Whether what is shown may be hidden.
        may_hide: bool,
    },
    /// Down as far as it goes, at most by this, without hiding anything more.
    DownMost(i64),
}

/// A move, and the nodes that it makes hidden.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) is_far: bool,
    pub(super) change: Move,
    pub(super) opened: Vec<u32>,
}

/// Numbers of programmes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) solved: usize,
    pub(super) fractional: usize,
}

// The variables of a column: up and down apart, and not as one with a lower bound, since the solver starts at the bounds: where nothing
// moves, all rows but one hold from the start.
#[derive(Clone, Copy)]
struct Pair {
    up: Variable,
    down: Option<Variable>,
}

impl Pair {
    fn value(self, solution: &Solution) -> f64 {
        solution.var_value(self.up) - self.down.map_or(0.0, |down| solution.var_value(down))
    }

    fn terms(self, sign: f64) -> impl Iterator<Item = (Variable, f64)> {
        std::iter::once((self.up, sign)).chain(self.down.map(|down| (down, -sign)))
    }
}

struct Stated {
    problem: Problem,
    pairs: Vec<Pair>,
    opened: Vec<(u32, Variable, Variable)>,
}

/// Solves for a move; `None` if there is none, or none in whole numbers was found.
pub(super) fn solve(pattern: &Pattern<'_>, wanted: &Wanted<'_>, count: &mut Count) -> Option<Found> {
    let may_hide = matches!(wanted.goal, Goal::Exactly { may_hide: true, .. });
    let system = |reached: &[u32]| {
        let gives_way = |row: u32| may_hide && pattern.may_hide(pattern.node_of(row).0);
        System::new(pattern, reached, wanted.inside, wanted.insiders, &gives_way)
    };
    let whole = || Some(system(&reach::all(pattern, wanted.inside))).filter(|all| all.columns.len() <= COLUMNS_MAX);
    // What costs nothing is found near by, in a small programme, or not at all.
    if !may_hide {
        let near = || system(&reach::near(pattern, wanted.inside, false, wanted.useful));
        let system = if wanted.whole { whole().unwrap_or_else(near) } else { near() };
        return once(pattern, wanted, &system, &HashMap::new(), count).map(|(found, _)| found);
    }
    let near = system(&reach::near(pattern, wanted.inside, true, wanted.useful));
    let near = cheapest(pattern, wanted, &near, count);
    let lost = |found: &Found| found.opened.iter().map(|node| loss(pattern, *node)).sum::<u64>();
    match near {
        Some(found) if lost(&found) <= SMALL_LOSS => Some(found),
        near => {
            let far = if wanted.whole {
                whole().unwrap_or_else(|| system(&reach::farther(pattern, wanted.inside, wanted.useful)))
            } else {
                system(&reach::far(pattern, wanted.inside, wanted.useful))
            };
            let far = cheapest(pattern, wanted, &far, count).map(|found| Found { is_far: true, ..found });
            near.into_iter().chain(far).min_by_key(lost)
        }
    }
}

fn cheapest(pattern: &Pattern<'_>, wanted: &Wanted<'_>, system: &System, count: &mut Count) -> Option<Found> {
    let mut prices: HashMap<u32, f64> = HashMap::new();
    let mut best: Option<(u64, Found)> = None;
    // A number that is hidden is lost whole, however little it moves: price it by what it moved last time.
    for _ in 0..ROUNDS_MAX {
        let Some((found, moved)) = once(pattern, wanted, system, &prices, count) else { break };
        let loss = found.opened.iter().map(|node| loss(pattern, *node)).sum::<u64>();
        if loss == 0 {
            return Some(found);
        }
        let better = best.as_ref().is_none_or(|(before, _)| loss < *before);
        if !better {
            break;
        }
        prices = moved.into_iter().map(|(node, by)| (node, 1.0 / by.max(1.0))).collect();
        best = Some((loss, found));
    }
    best.map(|(_, found)| found)
}

/// What hiding a node costs: its cases, weighed by level, and those of what is not shown without it.
pub(super) fn loss(pattern: &Pattern<'_>, node: u32) -> u64 {
    let own = |node: u32| {
        let node = &pattern.star.nodes[node as usize];
        node.cases.max(1) * node.weight
    };
    let followers = pattern.followers(node).iter().filter(|follower| !pattern.hidden[**follower as usize]);
    own(node) + followers.map(|follower| own(*follower)).sum::<u64>()
}

type Moved = Vec<(u32, f64)>;

fn once(
    pattern: &Pattern<'_>,
    wanted: &Wanted<'_>,
    system: &System,
    prices: &HashMap<u32, f64>,
    count: &mut Count,
) -> Option<(Found, Moved)> {
    if !system.columns.iter().any(|column| column.inside) {
        return None;
    }
    let mut stated = state(pattern, wanted, system, prices, false);
    count.solved += 1;
    let mut solution = solved(&stated.problem)?;
    // In another unit than one there is nothing to branch on: whether rounded values hold is seen afterwards.
    let is_count = wanted.unit <= 1.0;
    if is_count && !stated.pairs.iter().all(|pair| is_whole(pair.value(&solution))) {
        count.fractional += 1;
        stated = state(pattern, wanted, system, prices, true);
        count.solved += 1;
        solution = solved(&stated.problem)?;
    }
    let mut change: Move = Vec::new();
    for (column, pair) in system.columns.iter().zip(&stated.pairs) {
        spread(pattern, pair.value(&solution) * wanted.unit, &column.members, &mut change);
    }
    let mut moved: BTreeMap<u32, f64> = BTreeMap::new();
    for (node, up, down) in &stated.opened {
        let by = (solution.var_value(*up) - solution.var_value(*down)).abs();
        if by > 1e-6 {
            moved.insert(*node, by);
        }
    }
    let opened = moved.keys().copied().collect();
    Some((Found { is_far: false, change, opened }, moved.into_iter().collect()))
}

fn terms(row: &Row, pairs: &[Pair]) -> Vec<(Variable, f64)> {
    row.terms.iter().flat_map(|(at, sign)| pairs[*at].terms(if *sign < 0 { -1.0 } else { 1.0 })).collect()
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

fn solved(problem: &Problem) -> Option<Solution> {
    let mut options = SolveOptions::default();
    options.node_limit = Some(BRANCHES_MAX);
    problem.solve_with(options).ok()?.into_solution().ok()
}

fn state(
    pattern: &Pattern<'_>,
    wanted: &Wanted<'_>,
    system: &System,
    prices: &HashMap<u32, f64>,
    whole: bool,
) -> Stated {
    // What moves without need costs a little: moves stay short, and more often whole.
    let (direction, cost) = match wanted.goal {
        Goal::Exactly { .. } => (OptimizationDirection::Minimize, 1.0),
        Goal::DownMost(_) => (OptimizationDirection::Maximize, -0.001),
    };
    let mut problem = Problem::new(direction);
    let mut pairs = Vec::with_capacity(system.columns.len());
    for column in &system.columns {
        let mut variable = |most: Option<u64>| {
            if whole {
                problem
                    .add_integer_var(cost, (0, most.map_or(i32::MAX, |most| i32::try_from(most).unwrap_or(i32::MAX))))
            } else {
                #[expect(clippy::cast_precision_loss, reason = "counts and sums are far below 2^52")]
                problem.add_var(cost, (0.0, most.map_or(f64::INFINITY, |most| most as f64 / wanted.unit)))
            }
        };
        let up = variable(None);
        let down = (column.lines > 0).then(|| variable(Some(column.lines)));
        pairs.push(Pair { up, down });
    }
    let mut soft: BTreeMap<u32, (Variable, Variable)> = BTreeMap::new();
    if let Goal::Exactly { by, may_hide: true } = wanted.goal {
        for row in &system.rows {
            let (node, _) = pattern.node_of(row.row);
            if pattern.may_hide(node) {
                soft.entry(node).or_insert_with(|| {
                    #[expect(clippy::cast_precision_loss, reason = "widths and losses are far below 2^52")]
                    let price = loss(pattern, node) as f64
                        * prices.get(&node).copied().unwrap_or(wanted.unit / by.abs() as f64);
                    let mut variable = || problem.add_var(price, (0.0, f64::INFINITY));
                    (variable(), variable())
                });
            }
        }
    }
    for row in &system.rows {
        let mut terms = terms(row, &pairs);
        if let Some((up, down)) = soft.get(&pattern.node_of(row.row).0) {
            terms.extend([(*up, -1.0), (*down, 1.0)]);
        }
        problem.add_constraint(terms, ComparisonOp::Eq, 0.0);
    }
    let inside = system.columns.iter().zip(&pairs).filter(|(column, _)| column.inside);
    let mut sum: LinearExpr = inside.flat_map(|(_, pair)| pair.terms(1.0)).collect();
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^52")]
    match wanted.goal {
        Goal::Exactly { by, .. } => problem.add_constraint(sum, ComparisonOp::Eq, by as f64 / wanted.unit),
        Goal::DownMost(width) => {
            let down = if whole {
                problem.add_integer_var(1.0, (0, i32::try_from(width).unwrap_or(i32::MAX)))
            } else {
                problem.add_var(1.0, (0.0, width as f64 / wanted.unit))
            };
            sum.add(down, 1.0);
            problem.add_constraint(sum, ComparisonOp::Eq, 0.0);
        }
    }
    let opened = soft.into_iter().map(|(node, (up, down))| (node, up, down)).collect();
    Stated { problem, pairs, opened }
}

// A change of a class, given to its members: taken where there are lines, added to the first.
fn spread(pattern: &Pattern<'_>, value: f64, members: &[u32], change: &mut Move) {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole, and no larger than counts of lines")]
    let mut amount = value.round() as i64;
    if amount > 0 {
        change.extend(members.first().map(|base| (*base, amount)));
    }
    for base in members {
        if amount >= 0 {
            break;
        }
        let lines = i64::try_from(pattern.star.bases[*base as usize].lines).unwrap_or(i64::MAX);
        let take = amount.max(-lines);
        if take < 0 {
            change.push((*base, take));
            amount -= take;
        }
    }
}
