//! Mutations: what the chooser hides and how it witnesses that, each changed in one place, must not pass the auditor unless it is right.

use std::collections::BTreeMap;

use accord_protocol::{catalogue::Kind, time::Period};
use microlp::{ComparisonOp, Error, LinearExpr, OptimizationDirection, Problem, SolveOutcome, Variable};

use super::*;
use crate::domain::{
    contribution::Contribution,
    disclosure::{
        chooser::Move,
        specimen::{Seeded, Shape, Specimen, YEAR, amount, line},
    },
};

const SHAPE: Shape = Shape {
    times: &["year", "quarter"],
    drugs: ("basis-1", &["basis"]),
    places: ("market-1", &["level"]),
    measures: &["seizures", "seizures_weighed", "quantity_mg"],
};
const DRUGS: [&str; 4] = ["hcl", "base", "_U", "other_salt"];
const PLACES: [&str; 4] = ["retail", "mid", "wholesale", "_U"];

// Lines of one kind; every fifth is of the case of the line before.
fn lines(kind: Kind, seed: u64, many: usize) -> Vec<Contribution> {
    let seeded = &mut Seeded::new(seed);
    let place = if kind == Kind::Seizure { "place" } else { "market" };
    let mut case = 0;
    (0..many)
        .map(|_| {
            case += u32::from(seeded.below(5) > 0);
            let month = 1 + u8::try_from(seeded.below(12)).unwrap();
            let codes = [("drug", seeded.crowded(&DRUGS)), (place, seeded.crowded(&PLACES))];
            let of = line(&SHAPE, kind, case, Period::Month(YEAR, month), &codes);
            match kind {
                Kind::Seizure => Contribution { amount: amount(seeded), ..of },
                _ => Contribution { value: Some(seeded.below(10_001) as u64), ..of },
            }
        })
        .collect()
}

// A block that is decided: why each number is kept back, and the choice of each family.
struct Decided<'a> {
    given: Given<'a>,
    reasons: Vec<Vec<Option<Reason>>>,
    families: Vec<Done>,
}

impl<'a> Decided<'a> {
    // What `protect` does, with the witnesses, which it keeps to itself.
    fn new(given: Given<'a>) -> Self {
        let empty = given.tables.iter().map(|of| vec![None; of.layout.cells() * of.layout.width()]).collect();
        let mut protected = Protected { reasons: empty, ..Protected::default() };
        let mut families = Vec::new();
        for family in [Family::Counts, Family::Sums(Quantity::MassMg)] {
            let with = with(given.tables, family);
            if with.is_empty() {
                continue;
            }
            families.push(Work::new(given, &with, family, &protected.reasons).finish(&mut protected));
            if family == Family::Counts {
                means(given, &mut protected.reasons);
            }
        }
        Self { given, reasons: protected.reasons, families }
    }

    fn hidden(&self) -> Vec<Vec<bool>> {
        self.reasons.iter().map(|of| of.iter().map(Option::is_some).collect()).collect()
    }

    fn audit(&self, of: &Done, hidden: &[Vec<bool>], witnesses: &dyn Witnesses) -> Result<Summary, Fault> {
        let nothing: Vec<Vec<bool>> = hidden.iter().map(|of| vec![false; of.len()]).collect();
        let audited =
            |at: &usize| Audited { filled: self.given.tables[*at], hidden: &hidden[*at], was_shown: &nothing[*at] };
        let tables: Vec<Audited<'_>> = of.with.iter().map(audited).collect();
        let Given { block, rules, .. } = self.given;
        audit(Case { tables: &tables, block, rules, family: of.family }, witnesses)
    }

    // Witnesses for exactly this pattern: nothing may be hidden that is shown in it.
    fn witnesses_for(&self, of: &Done, hidden: &[Vec<bool>]) -> Done {
        let before = |table: usize, number: usize| Some(!hidden[table][number]);
        let given = Given { before: &before, ..self.given };
        let mut unused = Protected { reasons: self.reasons.clone(), ..Protected::default() };
        Work::new(given, &of.with, of.family, &self.reasons).finish(&mut unused)
    }

    // Numbers of a family that protect others, by table among those of the family.
    fn complementary(&self, of: &Done) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for ((table, at), nodes) in of.with.iter().enumerate().zip(&of.star.numbers) {
            let reasons = &self.reasons[*at];
            let numbers = (0..nodes.len()).filter(|number| nodes[*number] != NONE);
            let numbers = numbers.filter(|number| reasons[*number] == Some(Reason::ProtectsAnother));
            found.extend(numbers.map(|number| (table, number)));
        }
        found
    }

    // Whether a number is not shown because the number of lines is not: a bin, a sum.
    fn follows(&self, of: &Done, table: usize, number: usize) -> bool {
        let node = of.star.numbers[table][number];
        let lead = of.star.nodes[node as usize].lead;
        let at = of.with[table];
        let width = self.given.tables[at].layout.width();
        // Lines are the first measure of every table here.
        let of_lines = self.reasons[at][number / width * width];
        lead != node && of.choice.hidden[lead as usize] || of.family != Family::Counts && of_lines.is_some()
    }
}

// Somebody who has a linear programme, and the equations of the star: what can a number be at least, and at most?
struct Attacker<'a> {
    star: &'a Star,
    known: Vec<bool>,
    unit: f64,
}

impl<'a> Attacker<'a> {
    fn new(decided: &Decided<'_>, of: &'a Done, hidden: &[Vec<bool>]) -> Self {
        let k = u64::from(decided.given.rules.k());
        let mut known: Vec<bool> = of.star.nodes.iter().map(|node| node.national && node.cases >= k).collect();
        for (at, nodes) in of.with.iter().zip(&of.star.numbers) {
            for (node, hidden) in nodes.iter().zip(&hidden[*at]).filter(|(node, _)| **node != NONE) {
                known[*node as usize] |= !hidden;
            }
        }
        Self { star: &of.star, known, unit: if of.family == Family::Counts { 1.0 } else { 1e6 } }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and sums are far below 2^52")]
    fn amount(&self, lines: u64) -> f64 {
        lines as f64 / self.unit
    }

    fn end(&self, node: u32, direction: OptimizationDirection) -> f64 {
        let mut problem = Problem::new(direction);
        let target = self.sums_of(node as usize).into_values().next().unwrap_or_default();
        let cost = |base: usize| if target.contains(&base) { 1.0 } else { 0.0 };
        let bases: Vec<Variable> =
            (0..self.star.bases.len()).map(|base| problem.add_var(cost(base), (0.0, f64::INFINITY))).collect();
        let sum = |problem: &mut Problem, of: &[usize], less: &[usize], is: f64| {
            let mut terms = LinearExpr::empty();
            for (side, sign) in [(of, 1.0), (less, -1.0)] {
                for base in side {
                    terms.add(bases[*base], sign);
                }
            }
            problem.add_constraint(terms, ComparisonOp::Eq, is);
        };
        for (at, of) in self.star.nodes.iter().enumerate() {
            let mut sums = self.sums_of(at).into_values();
            let Some(first) = sums.next() else { continue };
            sums.for_each(|other| sum(&mut problem, &first, &other, 0.0));
            if self.known[at] {
                sum(&mut problem, &first, &[], self.amount(of.lines));
            }
        }
        match problem.solve().map(SolveOutcome::into_solution) {
            Ok(Ok(solution)) => solution.objective(),
            Err(Error::Unbounded) => f64::INFINITY,
            fault => panic!("the true table solves it: {fault:?}"),
        }
    }

    // The base cells of a node, table by table: each table's come to the same.
    fn sums_of(&self, node: usize) -> BTreeMap<u16, Vec<usize>> {
        let mut found: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for base in self.star.below(node).iter().map(|base| *base as usize) {
            found.entry(self.star.bases[base].table).or_default().push(base);
        }
        found
    }

    // Whether less than the width is left of a number.
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^52")]
    fn narrows(&self, node: u32, family: Family, width: i64) -> bool {
        // The solver's last digits prove nothing.
        let nearly = 1e-6;
        let (width, lines) = (width as f64 / self.unit, self.amount(self.star.nodes[node as usize].lines));
        let (least, most) =
            (self.end(node, OptimizationDirection::Minimize), self.end(node, OptimizationDirection::Maximize));
        match family {
            Family::Counts => most - least < width - nearly,
            Family::Sums(_) => most < lines + width - nearly || least > (lines - width).max(0.0) + nearly,
        }
    }
}

// What became of the mutations of a family's pattern.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    // The auditor objects, and a new choice finds nothing that it would not object to.
    caught: usize,
    // Of them, those where the attacker narrows the number that the auditor names.
    leaks: usize,
    // The chooser's own witnesses do without it.
    still_witnessed: usize,
    // A new set of witnesses does.
    witnessed_anew: usize,
    // Of both, those that somebody who is alone in a base cell would narrow more numbers by.
    against_insiders: usize,
    // Of the rest, those that are hidden because the number of lines is.
    follow: usize,
    // Of the rest, those that could be shown.
    idle: usize,
}

// Every number that protects others shown in turn.
fn show_each(decided: &Decided<'_>, of: &Done, tally: &mut Tally) {
    let width = widths(decided, of);
    let excepted = decided.audit(of, &decided.hidden(), of).unwrap().insider_excepted;
    for (table, number) in decided.complementary(of) {
        let mut less = decided.hidden();
        less[of.with[table]][number] = false;
        let anew = decided.witnesses_for(of, &less);
        let attacker = Attacker::new(decided, of, &less);
        let objects = decided.audit(of, &less, of).is_err();
        tally.tried += 1;
        match decided.audit(of, &less, &anew) {
            Err(Fault::NoWitness { table, number }) => {
                // Were the chooser's own witnesses good without the number, a new choice would have to find some as well.
                assert!(objects, "{number} of {table} has no witness, and nobody objects");
                tally.caught += 1;
                let at = of.with.iter().position(|at| decided.given.tables[*at].table.name == table).unwrap();
                let node = of.star.numbers[at][number];
                tally.leaks += usize::from(attacker.narrows(node, of.family, width[node as usize]));
                continue;
            }
            Err(fault) => panic!("the chooser gives a witness that does not hold: {fault}"),
            Ok(summary) => {
                *(if objects { &mut tally.witnessed_anew } else { &mut tally.still_witnessed }) += 1;
                let use_of = if summary.insider_excepted > excepted {
                    &mut tally.against_insiders
                } else if decided.follows(of, table, number) {
                    &mut tally.follow
                } else {
                    &mut tally.idle
                };
                *use_of += 1;
            }
        }
        // Redundant, says the auditor. Then nobody may find out more by it, whoever it was that erred.
        for node in anew.choice.witnesses.keys() {
            let narrows = attacker.narrows(*node, of.family, width[*node as usize]);
            assert!(!narrows, "{node} is narrowed with {number} of {table} shown");
        }
    }
}

// The width of each node of a family.
fn widths(decided: &Decided<'_>, of: &Done) -> Vec<i64> {
    Work::new(decided.given, &of.with, of.family, &decided.reasons).width
}

// Each family of some blocks, by name.
fn each_family(blocks: &[(Kind, u64, usize)], mut visit: impl FnMut(&'static str, &Decided<'_>, &Done)) {
    for (kind, seed, many) in blocks {
        let specimen = Specimen::new(&SHAPE, *kind, lines(*kind, *seed, *many));
        let filled = specimen.filled();
        let given = Given { tables: &filled, block: specimen.block(), rules: &Rules::DEFAULT, before: &|_, _| None };
        let decided = Decided::new(given);
        let protected = protect(given.tables, given.block, given.rules, given.before).unwrap();
        assert_eq!(protected.reasons, decided.reasons, "seed {seed}: what is mutated here is what is published");
        for of in &decided.families {
            let name = match (kind, of.family) {
                (Kind::Seizure, Family::Counts) => "seizures",
                (_, Family::Counts) => "bins",
                (_, Family::Sums(_)) => "masses",
            };
            visit(name, &decided, of);
        }
    }
}

// Kind, seed and number of lines. With few lines the tables meet in numbers that are hidden.
const BLOCKS: [(Kind, u64, usize); 10] = [
    (Kind::Seizure, 1, 400),
    (Kind::Seizure, 2, 90),
    (Kind::Seizure, 3, 400),
    (Kind::Seizure, 4, 400),
    (Kind::Seizure, 5, 400),
    (Kind::Seizure, 6, 400),
    (Kind::Seizure, 7, 90),
    (Kind::Seizure, 8, 90),
    (Kind::Purity, 1, 150),
    (Kind::Purity, 2, 150),
];

#[test]
fn one_number_less_hidden_is_caught_or_proven_redundant() {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    each_family(&BLOCKS, |name, decided, of| show_each(decided, of, tallies.entry(name).or_default()));
    assert_eq!(tallies.keys().copied().collect::<Vec<_>>(), ["bins", "masses", "seizures"]);
    for (name, tally) in &tallies {
        assert!(tally.tried >= 30, "{name} {tally:?}");
        // Most of what is hidden is needed: shown, it is what an attacker reckons with, not a scruple of the auditor.
        assert!(tally.caught * 2 > tally.tried, "{name} {tally:?}");
        assert!(tally.leaks * 10 >= tally.caught * 9, "{name} {tally:?}");
        assert!(tally.idle * 10 < tally.tried, "{name} {tally:?}");
    }
    // Everything that may become of a mutation does: without a redundant number nothing was tried on the attacker.
    let outcomes = [
        |of: &Tally| of.still_witnessed,
        |of: &Tally| of.witnessed_anew,
        |of: &Tally| of.against_insiders,
        |of: &Tally| of.follow,
    ];
    for outcome in outcomes {
        assert!(tallies.values().any(|of| outcome(of) > 0), "{tallies:?}");
    }
}

// One witness put in the place of a number's own.
struct Changed<'a> {
    of: &'a Done,
    at: (usize, usize),
    ways: Vec<Way>,
}

impl Witnesses for Changed<'_> {
    fn of(&self, table: usize, number: usize) -> Option<&[Way]> {
        if self.at == (table, number) { Some(&self.ways) } else { self.of.of(table, number) }
    }

    fn place(&self, base: u32) -> Option<&Place> {
        self.of.place(base)
    }
}

const NARROW: &str = "is not as wide as the rules ask";
const BELOW_ZERO: &str = "falls below zero";
const KNOWN: &str = "changes a number that is known";
const OUT_OF_STEP: &str = "changes a table without the others";

// Ways of a node that are wrong: what was done to them, and what the auditor may say.
struct Wrong {
    done: &'static str,
    ways: Vec<Way>,
    says: &'static [&'static str],
}

// The witness of a node, spoilt in every way that is certain to spoil it.
fn spoilt(attacker: &Attacker<'_>, of: &Done, node: u32, width: i64) -> Vec<Wrong> {
    let star = attacker.star;
    let inside = attacker.sums_of(node as usize).into_values().next().unwrap_or_default();
    let by = |change: &Move| -> i64 {
        change.iter().filter(|(base, _)| inside.contains(&(*base as usize))).map(|(_, by)| by).sum()
    };
    let is_narrow = |way: &Way| {
        let (up, down) = (way.iter().map(by).max().unwrap_or(0).max(0), way.iter().map(by).min().unwrap_or(0).min(0));
        if of.family == Family::Counts { up - down < width } else { up < width }
    };
    let is_known = |base: u32| star.above(base as usize).iter().any(|node| attacker.known[*node as usize]);
    let lines = |base: u32| i64::try_from(star.bases[base as usize].lines).unwrap();
    let ways = &of.choice.witnesses[&node];
    let mut found = Vec::new();
    let mut put = |done, says, ways| found.push(Wrong { done, ways, says });
    let instead = |way: usize, change: usize, wrong: Move| {
        let mut ways = ways.clone();
        ways[way][change] = wrong;
        ways
    };
    let seen: Vec<u32> = (0..).zip(&star.bases).map(|(base, _)| base).filter(|base| is_known(*base)).collect();
    for (at, way) in ways.iter().enumerate() {
        for (number, change) in way.iter().enumerate() {
            if change.iter().any(|(_, by)| *by < 0) {
                let larger = change.iter().map(|(base, by)| (*base, by * 1_000_000)).collect();
                put("scaled up", &[BELOW_ZERO] as &[_], instead(at, number, larger));
            }
            for dropped in (0..change.len()).filter(|at| change[*at].1 != 0 && is_known(change[*at].0)) {
                let mut less = change.clone();
                less.remove(dropped);
                put("an entry dropped", &[KNOWN], instead(at, number, less));
            }
            for table in 1..=star.bases.iter().map(|base| base.table).max().unwrap_or(0) {
                let (gone, rest): (Move, Move) =
                    change.iter().copied().partition(|(base, _)| star.bases[*base as usize].table == table);
                let mut margins: BTreeMap<u32, i64> = BTreeMap::new();
                for (base, by) in gone {
                    *margins.entry(star.link(base as usize)).or_default() += by;
                }
                if margins.values().any(|by| *by != 0) {
                    put("a table left behind", &[OUT_OF_STEP], instead(at, number, rest));
                }
            }
            let shown = seen[node as usize % seen.len()];
            put("a shown number moved", &[KNOWN], instead(at, number, [change.as_slice(), &[(shown, 1)]].concat()));
            if let Some((base, by)) = change.first() {
                let below = [change.as_slice(), &[(*base, -by - lines(*base) - 1)]].concat();
                put("one cell below zero", &[BELOW_ZERO], instead(at, number, below));
            }
        }
        let smaller: Way = way.iter().map(|change| change.iter().map(|(base, by)| (*base, by / 2)).collect()).collect();
        if is_narrow(&smaller) {
            let mut ways = ways.clone();
            ways[at] = smaller;
            // Half of an odd number is no half: then the rest of the move may not fit either.
            put("scaled down", &[NARROW, KNOWN, OUT_OF_STEP], ways);
        }
    }
    let others = of.choice.witnesses.iter().filter(|(other, _)| **other != node);
    if let Some((_, ways)) = others.into_iter().find(|(_, ways)| ways.iter().any(is_narrow)) {
        put("of another number", &[NARROW], ways.clone());
    }
    found
}

#[test]
fn a_witness_that_is_changed_is_refused() {
    let mut tried: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    each_family(&[BLOCKS[0], BLOCKS[1], BLOCKS[8]], |name, decided, of| {
        let (width, hidden) = (widths(decided, of), decided.hidden());
        let attacker = Attacker::new(decided, of, &hidden);
        for (table, nodes) in of.star.numbers.iter().enumerate() {
            for (number, node) in nodes.iter().enumerate().filter(|(_, node)| of.choice.witnesses.contains_key(node)) {
                for Wrong { done, ways, says } in spoilt(&attacker, of, *node, width[*node as usize]) {
                    let changed = Changed { of, at: (table, number), ways };
                    let fault = decided.audit(of, &hidden, &changed).err();
                    let of_number = |fault: &Fault| match fault {
                        Fault::Witness { number: at, what, .. } => *at == number && says.contains(what),
                        _ => false,
                    };
                    assert!(fault.as_ref().is_some_and(of_number), "{name} {number}, {done}: {fault:?}");
                    *tried.entry((name, done)).or_default() += 1;
                }
            }
        }
    });
    let of_both = ["a shown number moved", "an entry dropped", "of another number", "one cell below zero"];
    for name in ["bins", "masses", "seizures"] {
        for done in of_both.into_iter().chain(["scaled down", "scaled up"]) {
            assert!(tried.get(&(name, done)) >= Some(&20), "{name}, {done}: {tried:?}");
        }
    }
    // Purities are one table, which no other has to keep up with.
    let left: Vec<&str> =
        tried.keys().filter(|(_, done)| *done == "a table left behind").map(|(name, _)| *name).collect();
    assert_eq!(left, ["masses", "seizures"]);
}
