//! The linear programmes: the cheapest or the largest change of one count.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem, Solution, SolveOptions, Variable};

use super::{
    super::star::Cases,
    Move,
    pattern::Pattern,
    reach::{self, Useful},
};

/// Branches of the search for whole numbers, at most.
const BRANCHES_MAX: u64 = 40;

/// How often a choice is priced anew, at most.
const ROUNDS_MAX: usize = 2;

/// A loss for which it is not worth while to look further: that of some sixty cases in a group of one year.
const SMALL_LOSS: u64 = 20_000;

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

// A class of base cells that moves up or down. Apart, and not as one variable with a lower bound, since the solver starts at the
// bounds: where nothing moves, all rows but one hold from the start.
struct Column {
    up: Variable,
    down: Option<Variable>,
    members: Vec<u32>,
}

impl Column {
    fn value(&self, solution: &Solution) -> f64 {
        solution.var_value(self.up) - self.down.map_or(0.0, |down| solution.var_value(down))
    }

    fn terms(&self, sign: f64) -> impl Iterator<Item = (Variable, f64)> {
        std::iter::once((self.up, sign)).chain(self.down.map(|down| (down, -sign)))
    }

    // Puts its terms into the rows of its class.
    fn enter(&self, pattern: &Pattern<'_>, class: u32, rows: &mut BTreeMap<u32, Vec<(Variable, f64)>>) {
        let in_hub = self.members.first().is_some_and(|base| pattern.star.bases[*base as usize].table == 0);
        for row in pattern.rows(class) {
            let sign = if in_hub && pattern.node_of(*row).1 { -1.0 } else { 1.0 };
            rows.entry(*row).or_default().extend(self.terms(sign));
        }
    }
}

struct Columns {
    variables: Vec<Column>,
    target: Vec<usize>,
    opened: Vec<(u32, Variable, Variable)>,
}

/// Solves for a move; `None` if there is none, or none in whole numbers was found.
pub(super) fn solve(pattern: &Pattern<'_>, wanted: &Wanted<'_>, count: &mut Count) -> Option<Found> {
    // What costs nothing is found near by, in a small programme, or not at all.
    if !matches!(wanted.goal, Goal::Exactly { may_hide: true, .. }) {
        let near = reach::near(pattern, wanted.inside, false, wanted.useful);
        return once(pattern, wanted, &near, &HashMap::new(), count).map(|(found, _)| found);
    }
    let near = cheapest(pattern, wanted, &reach::near(pattern, wanted.inside, true, wanted.useful), count);
    let lost = |found: &Found| found.opened.iter().map(|node| loss(pattern, *node)).sum::<u64>();
    match near {
        Some(found) if lost(&found) <= SMALL_LOSS => Some(found),
        near => {
            let far = cheapest(pattern, wanted, &reach::far(pattern, wanted.inside, wanted.useful), count);
            let far = far.map(|found| Found { is_far: true, ..found });
            near.into_iter().chain(far).min_by_key(lost)
        }
    }
}

fn cheapest(pattern: &Pattern<'_>, wanted: &Wanted<'_>, base_cells: &[u32], count: &mut Count) -> Option<Found> {
    let mut prices: HashMap<u32, f64> = HashMap::new();
    let mut best: Option<(u64, Found)> = None;
    // A number that is hidden is lost whole, however little it moves: price it by what it moved last time.
    for _ in 0..ROUNDS_MAX {
        let Some((found, moved)) = once(pattern, wanted, base_cells, &prices, count) else { break };
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
    reached: &[u32],
    prices: &HashMap<u32, f64>,
    count: &mut Count,
) -> Option<(Found, Moved)> {
    let (problem, columns) = state(pattern, wanted, reached, prices, false);
    count.solved += 1;
    let mut solution = solved(&problem)?;
    // In another unit than one there is nothing to branch on: whether rounded values hold is seen afterwards.
    let is_count = wanted.unit <= 1.0;
    if is_count && !columns.variables.iter().all(|column| is_whole(column.value(&solution))) {
        count.fractional += 1;
        let (problem, _) = state(pattern, wanted, reached, prices, true);
        count.solved += 1;
        solution = solved(&problem)?;
    }
    let mut change: Move = Vec::new();
    for column in &columns.variables {
        spread(pattern, column.value(&solution) * wanted.unit, &column.members, &mut change);
    }
    let mut moved: BTreeMap<u32, f64> = BTreeMap::new();
    for (node, up, down) in &columns.opened {
        let by = (solution.var_value(*up) - solution.var_value(*down)).abs();
        if by > 1e-6 {
            moved.insert(*node, by);
        }
    }
    let opened = moved.keys().copied().collect();
    Some((Found { is_far: false, change, opened }, moved.into_iter().collect()))
}

/// The move that changes base cells most in the directions of their weights, each class up by the width at most; `None` if it is not whole.
pub(super) fn widest(
    pattern: &Pattern<'_>,
    reached: &[u32],
    insiders: &Insiders,
    weights: &[f64],
    width: i64,
    count: &mut Count,
) -> Option<Move> {
    let star = pattern.star;
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for base in reached.iter().filter(|base| !insiders.freeze(star.bases[**base as usize].cases)) {
        members.entry(pattern.class(*base)).or_default().push(*base);
    }
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let mut rows: BTreeMap<u32, Vec<(Variable, f64)>> = BTreeMap::new();
    let mut variables = Vec::new();
    for (class, mut members) in members {
        // What is raised is given to the first.
        members.sort_by(|a, b| weights[*b as usize].total_cmp(&weights[*a as usize]));
        let lines: u64 = members.iter().map(|base| star.bases[*base as usize].lines).sum();
        #[expect(clippy::cast_precision_loss, reason = "counts of lines and their number are far below 2^52")]
        let (low, high, size) = (lines as f64, width as f64, members.len() as f64);
        let weight: f64 = members.iter().map(|base| weights[*base as usize]).sum::<f64>() / size;
        let up = problem.add_var(weight, (0.0, high));
        let down = (lines > 0).then(|| problem.add_var(-weight, (0.0, low)));
        let column = Column { up, down, members };
        column.enter(pattern, class, &mut rows);
        variables.push(column);
    }
    for terms in rows.into_values() {
        problem.add_constraint(terms, ComparisonOp::Eq, 0.0);
    }
    count.solved += 1;
    let solution = solved(&problem)?;
    if !variables.iter().all(|column: &Column| is_whole(column.value(&solution))) {
        count.fractional += 1;
        return None;
    }
    let mut change = Move::new();
    for column in &variables {
        spread(pattern, column.value(&solution), &column.members, &mut change);
    }
    Some(change)
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

fn solved(problem: &Problem) -> Option<Solution> {
    let mut options = SolveOptions::default();
    options.node_limit = Some(BRANCHES_MAX);
    problem.solve_with(options).ok()?.into_solution().ok()
}

// One column for each class, apart for base cells inside and outside the count.
fn state(
    pattern: &Pattern<'_>,
    wanted: &Wanted<'_>,
    reached: &[u32],
    prices: &HashMap<u32, f64>,
    whole: bool,
) -> (Problem, Columns) {
    let star = pattern.star;
    let mut inside = vec![false; star.bases.len()];
    wanted.inside.iter().for_each(|base| inside[*base as usize] = true);
    let mut members: BTreeMap<(u32, bool), Vec<u32>> = BTreeMap::new();
    for base in reached {
        if !wanted.insiders.freeze(star.bases[*base as usize].cases) {
            members.entry((pattern.class(*base), inside[*base as usize])).or_default().push(*base);
        }
    }
    let direction = match wanted.goal {
        Goal::Exactly { .. } => OptimizationDirection::Minimize,
        Goal::DownMost(_) => OptimizationDirection::Maximize,
    };
    // What moves without need costs a little: moves stay short, and more often whole.
    let cost = match wanted.goal {
        Goal::Exactly { .. } => 1.0,
        Goal::DownMost(_) => -0.001,
    };
    let mut problem = Problem::new(direction);
    let mut rows: BTreeMap<u32, Vec<(Variable, f64)>> = BTreeMap::new();
    let mut columns = Columns { variables: Vec::new(), target: Vec::new(), opened: Vec::new() };
    for ((class, is_inside), members) in members {
        let lines: u64 = members.iter().map(|base| star.bases[*base as usize].lines).sum();
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
        let down = (lines > 0).then(|| variable(Some(lines)));
        let column = Column { up, down, members };
        column.enter(pattern, class, &mut rows);
        if is_inside {
            columns.target.push(columns.variables.len());
        }
        columns.variables.push(column);
    }
    let mut soft: BTreeMap<u32, (Variable, Variable)> = BTreeMap::new();
    if let Goal::Exactly { by, may_hide: true } = wanted.goal {
        for row in rows.keys() {
            let (node, _) = pattern.node_of(*row);
            if pattern.may_hide(node) && !soft.contains_key(&node) {
                #[expect(clippy::cast_precision_loss, reason = "widths and losses are far below 2^52")]
                let price =
                    loss(pattern, node) as f64 * prices.get(&node).copied().unwrap_or(wanted.unit / by.abs() as f64);
                let pair = (problem.add_var(price, (0.0, f64::INFINITY)), problem.add_var(price, (0.0, f64::INFINITY)));
                soft.insert(node, pair);
                columns.opened.push((node, pair.0, pair.1));
            }
        }
    }
    for (row, mut terms) in rows {
        if let Some((up, down)) = soft.get(&pattern.node_of(row).0) {
            terms.extend([(*up, -1.0), (*down, 1.0)]);
        }
        problem.add_constraint(terms, ComparisonOp::Eq, 0.0);
    }
    let target = columns.target.iter().filter_map(|at| columns.variables.get(*at));
    let sum: LinearExpr = target.flat_map(|column| column.terms(1.0)).collect();
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^52")]
    match wanted.goal {
        Goal::Exactly { by, .. } => problem.add_constraint(sum, ComparisonOp::Eq, by as f64 / wanted.unit),
        Goal::DownMost(width) => {
            let down = if whole {
                problem.add_integer_var(1.0, (0, i32::try_from(width).unwrap_or(i32::MAX)))
            } else {
                problem.add_var(1.0, (0.0, width as f64 / wanted.unit))
            };
            let mut sum = sum;
            sum.add(down, 1.0);
            problem.add_constraint(sum, ComparisonOp::Eq, 0.0);
        }
    }
    (problem, columns)
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
