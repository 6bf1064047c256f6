//! What somebody can work out who has every answer: the range of each hidden number, from sums of parts alone.
//!
//! It knows the code lists and the calendar, takes no code of the product, and works in whole numbers. Ranges that
//! follow from one sum after another are never too narrow, so a range below the promised width is a leak. `can_be` goes
//! further and looks for a whole table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// More than any number in these tests.
const MANY: i64 = 1_000_000_000_000;
/// Steps after which the search for a whole table gives up.
const STEPS: u32 = 20_000;

/// A cell by its codes, totals left out: `drug=COC region=ITC4 time=2001`.
pub(super) type Name = String;

/// Ranges and the sums that tie them.
#[derive(Debug, Clone, Default)]
pub(super) struct Attacker {
    index: BTreeMap<Name, usize>,
    ranges: Vec<(i64, i64)>,
    sums: BTreeSet<(usize, Vec<usize>)>,
}

impl Attacker {
    /// Hears cells that have the measure; a cell that stands in several tables must say the same in each.
    pub(super) fn hear(&mut self, cells: &[Value], measure: &str) {
        self.hear_rounded(cells, measure, 0);
    }

    /// Hears numbers that were rounded, half up, to this step.
    pub(super) fn hear_rounded(&mut self, cells: &[Value], measure: &str, step: i64) {
        for cell in cells.iter().filter(|cell| cell["values"][measure].is_object()) {
            self.hear_cell(&cell["key"], &cell["values"][measure], step / 2);
        }
    }

    fn hear_cell(&mut self, key: &Value, said: &Value, half: i64) {
        let name = name(key);
        let range = match said["state"].as_str().unwrap() {
            "value" => {
                let value = said["value"].as_i64().unwrap();
                (value - half, value + (half - 1).max(0))
            }
            "suppressed" => (0, MANY),
            other => panic!("{name} is {other}"),
        };
        let at = self.at(&name, range);
        assert_eq!(self.ranges[at], range, "{name} says two things");
    }

    /// Hears the bins of a histogram: the bins of a level lie in those of the level before, and all of them in `whole`.
    pub(super) fn hear_bins(&mut self, whole: &str, histogram: &Value) {
        let n = histogram["n"].as_i64();
        let mut above: Vec<(i64, i64, usize)> = vec![(0, MANY, self.at(whole, n.map_or((0, MANY), |n| (n, n))))];
        let mut level: Vec<(i64, i64, usize)> = Vec::new();
        for bin in histogram["bins"].as_array().into_iter().flatten() {
            let (from, to) = (bin["from"].as_i64().unwrap(), bin["to"].as_i64().unwrap_or(MANY));
            if from == 0 && !level.is_empty() {
                self.nest(&above, &level);
                above = std::mem::take(&mut level);
            }
            let range = bin["value"].as_i64().map_or((0, MANY), |value| (value, value));
            level.push((from, to, self.at(&format!("{whole} {from}-{to}"), range)));
        }
        self.nest(&above, &level);
    }

    fn nest(&mut self, above: &[(i64, i64, usize)], level: &[(i64, i64, usize)]) {
        for (from, to, whole) in above {
            let parts = level.iter().filter(|part| *from <= part.0 && part.1 <= *to).map(|part| part.2).collect();
            self.sums.insert((*whole, parts));
        }
    }

    /// Hears what two editions say differently, with the assumption that lines were only added. A number that is the
    /// same may have been carried, so it tells nothing.
    pub(super) fn hear_differences(&mut self, before: &[Value], after: &[Value], measure: &str) {
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(after) {
            assert_eq!(before["key"], after["key"]);
            let said = |cell: &Value| cell["values"][measure]["value"].as_i64();
            let change =
                said(before).zip(said(after)).map(|(before, after)| after - before).filter(|change| *change != 0);
            let name = name(&before["key"]);
            let range = change.map_or((0, MANY), |change| (change, change));
            let at = self.at(&name, range);
            assert_eq!(self.ranges[at], range, "{name} changes in two ways");
        }
    }

    /// Adds a number of one's own, and what it is the sum of.
    pub(super) fn sum(&mut self, whole: &str, value: Option<i64>, parts: &[&str]) {
        let whole = self.at(whole, value.map_or((0, MANY), |value| (value, value)));
        let parts = parts.iter().map(|part| self.at(part, (0, MANY))).collect();
        self.sums.insert((whole, parts));
    }

    /// Knows a number from elsewhere.
    pub(super) fn know(&mut self, name: &str, value: i64) {
        let at = self.at(name, (value, value));
        self.ranges[at] = (value, value);
    }

    fn at(&mut self, name: &str, range: (i64, i64)) -> usize {
        let next = self.ranges.len();
        let at = *self.index.entry(name.to_owned()).or_insert(next);
        if at == next {
            self.ranges.push(range);
        }
        at
    }

    /// Puts two and two together: every cell whose parts along a dimension have all been heard is their sum, and no
    /// range is wider than the sums allow.
    #[must_use]
    pub(super) fn think(mut self, lists: &Lists) -> Self {
        for name in self.index.keys().cloned().collect::<Vec<_>>() {
            for dimension in ["time", "drug", "region", "transport", "market"] {
                let parts = lists.parts(&name, dimension);
                let parts: Option<Vec<usize>> = parts.iter().map(|part| self.index.get(part).copied()).collect();
                if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
                    self.sums.insert((self.index[&name], parts));
                }
            }
        }
        assert!(self.narrow(), "the answers contradict each other");
        self
    }

    // Whether the ranges can hold at all.
    fn narrow(&mut self) -> bool {
        loop {
            let before = self.ranges.clone();
            for (whole, parts) in &self.sums {
                let (low, high) = parts
                    .iter()
                    .fold((0, 0), |(low, high), part| (low + self.ranges[*part].0, high + self.ranges[*part].1));
                let all = &mut self.ranges[*whole];
                *all = (all.0.max(low), all.1.min(high));
                let all = *all;
                for part in parts {
                    let one = &mut self.ranges[*part];
                    *one = (one.0.max(all.0 - (high - one.1)), one.1.min(all.1 - (low - one.0)));
                }
            }
            if self.ranges.iter().any(|(low, high)| low > high) {
                return false;
            }
            if self.ranges == before {
                return true;
            }
        }
    }

    /// The range of a number.
    pub(super) fn range(&self, name: &str) -> (i64, i64) {
        self.ranges[*self.index.get(name).unwrap_or_else(|| panic!("nothing was heard of {name}"))]
    }

    /// Whether there is a whole table in which the number has this value.
    pub(super) fn can_be(&self, name: &str, value: i64) -> bool {
        let mut with = self.clone();
        with.know(name, value);
        with.solve(&mut 0)
    }

    fn solve(mut self, steps: &mut u32) -> bool {
        *steps += 1;
        assert!(*steps < STEPS, "no answer within {STEPS} steps");
        if !self.narrow() {
            return false;
        }
        let open = self.ranges.iter().enumerate().filter(|(_, (low, high))| low < high);
        let Some((at, (low, high))) = open.min_by_key(|(_, (low, high))| high - low).map(|(at, range)| (at, *range))
        else {
            return true;
        };
        (low..=high).any(|value| {
            let mut with = self.clone();
            with.ranges[at] = (value, value);
            with.solve(steps)
        })
    }

    /// Numbers that are narrowed below the width `k` and may lie below it: none, if the edition is protected. (What is
    /// hidden for another's sake has no width of its own; it is `k` or more.)
    pub(super) fn leaks(&self, k: i64) -> Vec<(&str, (i64, i64))> {
        let known = |(low, high): (i64, i64)| low == high && low >= k;
        let ranges = self.index.iter().map(|(name, at)| (name.as_str(), self.ranges[*at]));
        ranges.filter(|(_, range)| !known(*range) && range.1 - range.0 < k && range.0 < k).collect()
    }

    /// How many numbers are exact.
    pub(super) fn shown(&self) -> usize {
        self.ranges.iter().filter(|(low, high)| low == high).count()
    }
}

/// A cell's name from its key.
pub(super) fn name(key: &Value) -> Name {
    let codes = key.as_object().unwrap().iter().map(|(dimension, code)| (dimension, code.as_str().unwrap()));
    let codes: BTreeMap<_, _> = codes.filter(|(_, code)| *code != "_T").collect();
    codes.iter().map(|(dimension, code)| format!("{dimension}={code}")).collect::<Vec<_>>().join(" ")
}

/// Which codes lie below which, as the lists say.
pub(super) struct Lists(BTreeMap<(&'static str, String), Vec<String>>);

impl Lists {
    /// Lists with a column `parent`, and the regions of a country.
    pub(super) fn new(lists: &[(&'static str, &str)], country: &str) -> Self {
        let mut below: BTreeMap<(&'static str, String), Vec<String>> = BTreeMap::new();
        let mut add = |dimension, parent: &str, code: &str| {
            below.entry((dimension, parent.to_owned())).or_default().push(code.to_owned());
        };
        let read = |file: &str| std::fs::read_to_string(accord_tests::root().join("protocol/data/lists").join(file));
        for (dimension, file) in lists {
            for line in read(file).unwrap().lines().skip(1) {
                let mut fields = line.split(',');
                let (code, parent) = (fields.next().unwrap(), fields.next().unwrap());
                add(dimension, if parent.is_empty() { "-" } else { parent }, code);
            }
        }
        add("region", "_T", "_U");
        let nuts = read("nuts-2021.csv").unwrap();
        for code in nuts.lines().filter_map(|line| line.split(',').next()).filter(|code| code.starts_with(country)) {
            match code.len() {
                3 => {
                    add("region", "_T", code);
                    add("region", code, &format!("{code}_U"));
                }
                4 => add("region", &code[..3], code),
                _ => {}
            }
        }
        Self(below)
    }

    // The names of the cells that a cell is the sum of, along one dimension.
    fn parts(&self, name: &str, dimension: &str) -> Vec<Name> {
        let codes: BTreeMap<&str, &str> = name.split(' ').filter_map(|code| code.split_once('=')).collect();
        let code = codes.get(dimension).copied().unwrap_or("_T");
        let below = if dimension == "time" {
            periods_in(code)
        } else {
            let found = self.0.iter().find(|((of, parent), _)| *of == dimension && parent == code);
            found.map(|(_, below)| below.clone()).unwrap_or_default()
        };
        let with = |part: &String| {
            let mut codes = codes.clone();
            codes.insert(dimension, part);
            codes.iter().map(|(dimension, code)| format!("{dimension}={code}")).collect::<Vec<_>>().join(" ")
        };
        below.iter().map(with).collect()
    }
}

fn periods_in(period: &str) -> Vec<String> {
    let unknown = format!("{period}_U");
    match period.split_once("-Q") {
        _ if period.ends_with("_U") => Vec::new(),
        Some((year, quarter)) => {
            let first = quarter.parse::<u32>().unwrap() * 3 - 2;
            (first..first + 3).map(|month| format!("{year}-{month:02}")).chain([unknown]).collect()
        }
        None if period.len() == 4 => (1..=4).map(|quarter| format!("{period}-Q{quarter}")).chain([unknown]).collect(),
        None => Vec::new(),
    }
}
