//! What the chooser shows of one table of months and drugs with their quarters and years; rows (year, month, drug) come in on stdin.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use accord_node::domain::disclosure::{
    Rules,
    chooser::{Reach, Task, choose},
    star::{Base, Cases, NONE, Node, Star},
};

/// Programmes that the clean-up of a year may solve.
const CLEAN_UP_MAX: usize = 2000;

// Month, quarter and year: as the product weighs them, and with quarters that count for nearly as much as years.
const LEVELS: usize = 3;
const WEIGHTS: [[u64; LEVELS]; 2] = [[40, 42, 80], [40, 70, 80]];

// The numbers of one year, and for each its level; the all-drug total has none.
#[derive(Default)]
struct Year {
    weights: [u64; LEVELS],
    nodes: Vec<Node>,
    levels: Vec<Option<usize>>,
    bases: Vec<(Base, Vec<u32>, u32)>,
}

impl Year {
    fn of(months: &BTreeMap<(&str, u32), u64>, weights: [u64; LEVELS]) -> Self {
        let mut year = Self { weights, ..Self::default() };
        let drugs: BTreeSet<&str> = months.keys().map(|(drug, _)| *drug).collect();
        let total = year.add(months.values().sum(), None);
        for drug in drugs {
            let lines = |from: u32, to: u32| (from..=to).filter_map(|month| months.get(&(drug, month))).sum::<u64>();
            let of_year = year.add(lines(1, 12), Some(2));
            for first in [1, 4, 7, 10] {
                let of_quarter = year.add(lines(first, first + 2), Some(1));
                for month in first..first + 3 {
                    let count = lines(month, month);
                    let of_month = year.add(count, Some(0));
                    let cases = match count {
                        0 => Cases::None,
                        1 => Cases::One(of_month),
                        _ => Cases::Many,
                    };
                    let base = Base { lines: count, cases, table: 0, seen: count > 0 };
                    year.bases.push((base, vec![total, of_year, of_quarter, of_month], NONE));
                }
            }
        }
        year
    }

    fn add(&mut self, lines: u64, level: Option<usize>) -> u32 {
        let lead = u32::try_from(self.nodes.len()).unwrap();
        let weight = level.and_then(|level| self.weights.get(level)).copied().unwrap_or(2);
        let national = level.is_none();
        // Every row is a case of its own.
        self.nodes.push(Node { lines, cases: lines, lead, offered: true, weight, national, links: Vec::new() });
        self.levels.push(level);
        lead
    }
}

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let mut years: BTreeMap<u32, BTreeMap<(&str, u32), u64>> = BTreeMap::new();
    for line in text.lines() {
        let [year, month, drug] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let months = years.entry(year.parse().unwrap()).or_default();
        *months.entry((drug, month.parse().unwrap())).or_default() += 1;
    }
    for weights in WEIGHTS {
        measure(&years, weights);
    }
}

// What is shown of all years under these weights.
fn measure(years: &BTreeMap<u32, BTreeMap<(&str, u32), u64>>, weights: [u64; LEVELS]) {
    let k = u64::from(Rules::DEFAULT.k());
    let (mut shown, mut primary, mut all, mut programmes, mut without) = ([0; LEVELS], [0; LEVELS], 0, 0, 0);
    for months in years.values() {
        let Year { nodes, levels, bases, .. } = Year::of(months, weights);
        let star = Star::from_parts(nodes, bases);
        let is_unsafe: Vec<bool> = star.nodes.iter().map(|node| node.cases < k).collect();
        let size = star.nodes.len();
        let choice = choose(&Task {
            star: &star,
            must_hide: &is_unsafe,
            protect: &is_unsafe,
            shown_before: &vec![false; size],
            width: &vec![i64::from(Rules::DEFAULT.width()); size],
            up: &[],
            reach: Reach::Together,
            unit: 1,
            k,
            insiders: true,
            clean_up_max: CLEAN_UP_MAX,
        });
        programmes += choice.effort.programmes;
        without += choice.without.len();
        all += months.values().sum::<u64>();
        for ((node, level), hidden) in star.nodes.iter().zip(levels).zip(&choice.hidden) {
            if let Some((shown, primary)) = level.and_then(|level| shown.get_mut(level).zip(primary.get_mut(level))) {
                *shown += if *hidden { 0 } else { node.lines };
                *primary += if node.cases >= k { node.lines } else { 0 };
            }
        }
    }
    let share = |lines: u64| format!(".{:03}", (lines * 1000 + all / 2) / all.max(1));
    println!(
        "weights {weights:?}: month {}, quarter {}, year {} of {all} cases shown; by the primary rule alone {}, {}, {}; {programmes} programmes, {without} numbers without a witness",
        share(shown[0]),
        share(shown[1]),
        share(shown[2]),
        share(primary[0]),
        share(primary[1]),
        share(primary[2])
    );
}
