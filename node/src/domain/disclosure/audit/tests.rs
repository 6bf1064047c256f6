//! What the auditor refuses: for each fault and each thing that a witness can do wrong a block in which only that is wrong.

use std::collections::{BTreeSet, HashMap};

use accord_protocol::{
    catalogue::{Kind, Quantity},
    code,
    time::Period,
};

use super::*;
use crate::domain::{
    amount::Amount,
    disclosure::{
        chooser::Move,
        specimen::{Shape, Specimen, YEAR, line},
        star::{MADE_HUB, NO_VALUE, Public},
    },
};

// Four codes stand for drugs and four for places: short enough to write a witness by hand.
const SHAPE: Shape = Shape {
    times: &["year"],
    drugs: ("basis-1", &["basis"]),
    places: ("market-1", &["level"]),
    measures: &["seizures", "quantity_mg"],
};
const WEIGHED: Shape = Shape { measures: &["seizures", "seizures_weighed"], ..SHAPE };

// Base cells of the hub in the order of its drugs, then those of the second table, drug after drug.
const BASE: u32 = 0;
const HCL: u32 = 1;
const OTHER: u32 = 2;
const UNKNOWN: u32 = 3;
const DRUGS: [&str; 4] = ["base", "hcl", "other_salt", "_U"];
const PLACES: [&str; 4] = ["wholesale", "mid", "retail", "_U"];
// The same drugs without a mass, where the hub tells that apart.
const WITHOUT_MASS: u32 = 100;

const fn at_place(drug: u32, place: u32) -> u32 {
    4 + 4 * drug + place
}

// A move as it is written here: base cells, and by how much each changes.
type By<'a> = &'a [(u32, i64)];

const KG: u64 = 1_000_000;

// A block that is to be audited, with witnesses that were written by hand.
struct Bench {
    specimen: Specimen,
    family: Family,
    hidden: Vec<Vec<bool>>,
    was_shown: Vec<Vec<bool>>,
    // What is public of the first table.
    public: Vec<bool>,
    at_most: Vec<Option<u64>>,
    published: bool,
    earlier: Vec<Earlier>,
    ways: HashMap<(usize, usize), Vec<Way>>,
    places: HashMap<u32, Place>,
}

impl Witnesses for Bench {
    fn of(&self, table: usize, number: usize) -> Option<&[Way]> {
        self.ways.get(&(table, number)).map(Vec::as_slice)
    }

    fn place(&self, base: u32) -> Option<&Place> {
        self.places.get(&base)
    }
}

// Lines as (drug, place, how many), each a case of its own and of one mass.
fn lines(shape: &Shape, of: &[(&str, &str, u32)], mass: Option<u64>) -> Vec<Contribution> {
    let codes = of.iter().flat_map(|(drug, place, many)| (0..*many).map(move |_| [("drug", *drug), ("place", *place)]));
    (0..)
        .zip(codes)
        .map(|(case, codes)| Contribution {
            amount: mass.map(Amount::MassMg),
            ..line(shape, Kind::Seizure, case, Period::Month(YEAR, 3), &codes)
        })
        .collect()
}

impl Bench {
    // Everything shown that is safe by itself; the year's total is known. No witness.
    fn new(specimen: Specimen, family: Family) -> Self {
        let number = |list: &str, code: &str| {
            let tree = code::tree(list, "MT").unwrap();
            tree.get(tree.find(code).unwrap()).unwrap().number
        };
        let linked = specimen.tables.len() > 1;
        let mut places = HashMap::new();
        let time = Period::Year(YEAR).number();
        for (at, drug) in (0..).zip(DRUGS) {
            let drug = number(SHAPE.drugs.0, drug);
            let table = if linked { MADE_HUB } else { 0 };
            let hub = Place { table, time, codes: vec![drug], value: 0 };
            places.insert(WITHOUT_MASS + at, Place { value: NO_VALUE, ..hub.clone() });
            places.insert(at, hub);
            for (to, place) in (0..).zip(PLACES) {
                let codes = vec![drug, number(SHAPE.places.0, place)];
                places.insert(at_place(at, to), Place { table: 1, time, codes, value: 0 });
            }
        }
        let size = |table: usize| specimen.layouts[table].cells() * specimen.layouts[table].width();
        let nothing: Vec<Vec<bool>> = (0..specimen.tables.len()).map(|table| vec![false; size(table)]).collect();
        let mut bench = Self {
            specimen,
            family,
            hidden: nothing.clone(),
            was_shown: nothing,
            public: Vec::new(),
            at_most: Vec::new(),
            published: true,
            earlier: Vec::new(),
            ways: HashMap::new(),
            places,
        };
        bench.hide_unsafe();
        bench
    }

    fn hide_unsafe(&mut self) {
        let found: Vec<Vec<usize>> = self.with(|case| {
            let auditor = Auditor::new(case).unwrap();
            (0..case.tables.len()).map(|table| auditor.unsafe_numbers(table)).collect()
        });
        for (hidden, found) in self.hidden.iter_mut().zip(found) {
            for number in found {
                hidden[number] = true;
            }
        }
    }

    fn with<T>(&self, audited: impl FnOnce(Case<'_>) -> T) -> T {
        let mut filled = self.specimen.filled();
        filled[0].public = Public { shown: &self.public, at_most: &self.at_most };
        let tables: Vec<Audited<'_>> = filled
            .iter()
            .zip(self.hidden.iter().zip(&self.was_shown))
            .map(|(filled, (hidden, was_shown))| Audited { filled: *filled, hidden, was_shown })
            .collect();
        let published = |_: Period| self.published;
        let block = Block { published: &published, earlier: &self.earlier, ..self.specimen.block() };
        audited(Case { tables: &tables, block, rules: &Rules::DEFAULT, family: self.family })
    }

    fn number(&self, drug: &str) -> usize {
        self.specimen.number(0, &["2025", drug], if self.family == Family::Counts { "seizures" } else { "quantity_mg" })
    }

    fn hide(&mut self, drug: &str) {
        let number = self.number(drug);
        self.hidden[0][number] = true;
    }

    // Says in public what a drug's number is, or at most is.
    fn tell(&mut self, drug: &str, itself: bool, at_most: u64) {
        let (number, size) = (self.number(drug), self.hidden[0].len());
        self.public.resize(size, false);
        self.at_most.resize(size, None);
        self.public[number] = itself;
        self.at_most[number] = Some(at_most);
    }

    // One way of some moves as the only witness of a drug's number.
    fn way(&mut self, drug: &str, moves: &[By<'_>]) {
        self.ways(drug, &[moves]);
    }

    fn ways(&mut self, drug: &str, ways: &[&[By<'_>]]) {
        let number = self.number(drug);
        let ways = ways.iter().map(|way| way.iter().map(|change| Move::from(*change)).collect()).collect();
        self.ways.insert((0, number), ways);
    }

    fn audit(&self) -> Result<Summary, Fault> {
        self.with(|case| audit(case, self))
    }

    // What the auditor says, with the drug in place of the number.
    fn says(&self) -> String {
        let name = |number: usize| DRUGS.iter().find(|drug| self.number(drug) == number).map_or("?", |drug| drug);
        match self.audit() {
            Ok(Summary { protected, one_insider_at_a_time, insider_excepted }) => {
                format!("{protected} protected, {one_insider_at_a_time} one at a time, {insider_excepted} excepted")
            }
            Err(Fault::Shown { number, .. }) => format!("{} is shown", name(number)),
            Err(Fault::NoWitness { number, .. }) => format!("{} has no witness", name(number)),
            Err(Fault::Witness { number, what, .. }) => format!("{} {what}", name(number)),
            Err(Fault::Tables { table, what }) => format!("{table}: {what}"),
        }
    }
}

// Base 12 lines, hcl 3, other 6, nothing unknown; in all 21, which is known. Other protects hcl and the unknown.
fn counts() -> Bench {
    let of = [("base", "mid", 12), ("hcl", "mid", 3), ("other_salt", "mid", 6)];
    let specimen = Specimen::new(&SHAPE, Kind::Seizure, lines(&SHAPE, &of, None)).first_table();
    let mut bench = Bench::new(specimen, Family::Counts);
    bench.hide("other_salt");
    bench.way("hcl", &[&[(HCL, 5), (OTHER, -5)]]);
    bench.way("_U", &[&[(UNKNOWN, 5), (OTHER, -5)]]);
    bench
}

const HOLDS: &str = "2 protected, 0 one at a time, 0 excepted";

#[test]
fn a_witness_of_a_count_is_refused_for_each_thing_that_it_does_wrong() {
    let table: &[(&str, &[By<'_>], &str)] = &[
        ("five up", &[&[(HCL, 5), (OTHER, -5)]], HOLDS),
        ("two up and three down", &[&[(HCL, 2), (OTHER, -2)], &[(HCL, -3), (OTHER, 3)]], HOLDS),
        ("the same cell twice", &[&[(HCL, 2), (HCL, 3), (OTHER, -5)]], HOLDS),
        ("down to nothing", &[&[(HCL, 6), (OTHER, -6)]], HOLDS),
        ("four up", &[&[(HCL, 4), (OTHER, -4)]], "hcl is not as wide as the rules ask"),
        (
            "two up and two down",
            &[&[(HCL, 2), (OTHER, -2)], &[(HCL, -2), (OTHER, 2)]],
            "hcl is not as wide as the rules ask",
        ),
        ("another number", &[&[(UNKNOWN, 5), (OTHER, -5)]], "hcl is not as wide as the rules ask"),
        ("a way without a move", &[], "hcl is not as wide as the rules ask"),
        ("one below zero", &[&[(HCL, 7), (OTHER, -7)]], "hcl falls below zero"),
        ("below zero in two steps", &[&[(HCL, 7), (OTHER, -4), (OTHER, -3)]], "hcl falls below zero"),
        (
            "the second move is below zero",
            &[&[(HCL, 5), (OTHER, -5)], &[(HCL, -4), (OTHER, 4)]],
            "hcl falls below zero",
        ),
        ("a number that is shown", &[&[(HCL, 5), (BASE, -5)]], "hcl changes a number that is known"),
        ("the total of the year", &[&[(HCL, 5)]], "hcl changes a number that is known"),
        ("the total by one", &[&[(HCL, 5), (OTHER, -6)]], "hcl changes a number that is known"),
        ("a cell that is nowhere", &[&[(HCL, 5), (999, -5)]], "hcl has no witness"),
        ("one cell under two names", &[&[(HCL, 6), (OTHER, -3), (600, -3)]], HOLDS),
        ("below zero under two names", &[&[(HCL, 7), (OTHER, -4), (600, -3)]], "hcl falls below zero"),
        ("all drugs", &[&[(HCL, 5), (601, -5)]], "hcl moves what is no base cell"),
        ("another year", &[&[(HCL, 5), (602, -5)]], "hcl moves what is no base cell"),
        (
            "lines without a mass, which nothing tells apart",
            &[&[(HCL, 5), (603, -5)]],
            "hcl moves what is no base cell",
        ),
        ("a table that is not there", &[&[(HCL, 5), (604, -5)]], "hcl moves what is no base cell"),
    ];
    for (what, way, says) in table {
        let mut bench = counts();
        let other = bench.places[&OTHER].clone();
        let all = code::tree(SHAPE.drugs.0, "MT").unwrap().get(0).unwrap().number;
        bench.places.insert(600, other.clone());
        bench.places.insert(601, Place { codes: vec![all], ..other.clone() });
        bench.places.insert(602, Place { time: Period::Year(YEAR - 1).number(), ..other.clone() });
        bench.places.insert(603, Place { value: NO_VALUE, ..other.clone() });
        bench.places.insert(604, Place { table: 7, ..other });
        bench.way("hcl", way);
        assert_eq!(bench.says(), *says, "{what}");
    }
}

#[test]
fn a_number_of_lines_must_be_hidden_witnessed_and_what_its_lines_come_to() {
    type Break = fn(&mut Bench);
    let table: &[(&str, Break, &str)] = &[
        ("nothing is wrong", |_| {}, HOLDS),
        (
            "an unsafe number is shown",
            |bench| {
                let number = bench.number("hcl");
                bench.hidden[0][number] = false;
            },
            "hcl is shown",
        ),
        (
            "what protects it is shown",
            |bench| {
                let number = bench.number("other_salt");
                bench.hidden[0][number] = false;
            },
            "hcl changes a number that is known",
        ),
        (
            "what protects it was shown",
            |bench| {
                let number = bench.number("other_salt");
                bench.was_shown[0][number] = true;
            },
            "hcl changes a number that is known",
        ),
        (
            "it was shown itself: its change is audited elsewhere",
            |bench| {
                let number = bench.number("hcl");
                bench.was_shown[0][number] = true;
            },
            "1 protected, 0 one at a time, 0 excepted",
        ),
        (
            "no witness",
            |bench| {
                let number = bench.number("_U");
                bench.ways.remove(&(0, number));
            },
            "_U has no witness",
        ),
        ("no way", |bench| bench.ways("hcl", &[]), "hcl is empty"),
        (
            "the total is hidden, and known all the same",
            |bench| {
                bench.hide("_T");
                bench.way("hcl", &[&[(HCL, 5)]]);
            },
            "hcl changes a number that is known",
        ),
        (
            "a shown number is one too many",
            |bench| {
                let number = bench.number("base");
                bench.specimen.cells[0][number / 2].lines += 1;
            },
            "hub: its numbers are not the sums of its lines",
        ),
        (
            "a line is missing",
            |bench| bench.specimen.lines.truncate(20),
            "hub: its numbers are not the sums of its lines",
        ),
        (
            "a year that is not published needs nothing",
            |bench| {
                bench.published = false;
                bench.ways.clear();
            },
            "0 protected, 0 one at a time, 0 excepted",
        ),
    ];
    for (what, wrong, says) in table {
        let mut bench = counts();
        wrong(&mut bench);
        assert_eq!(bench.says(), *says, "{what}");
    }
}

// Whoever is alone in a base cell knows it: a witness that moves it is none for that case.
#[test]
fn a_way_around_everybody_who_is_alone_is_told_from_one_that_somebody_can_see_through() {
    // Other has one case with six lines, hcl one with two, base seven: only the largest is shown.
    let of = [("base", "mid", 14), ("hcl", "mid", 2), ("other_salt", "mid", 6), ("_U", "mid", 6)];
    let mut lines = lines(&SHAPE, &of, None);
    lines[14..16].iter_mut().for_each(|line| line.case = 14);
    lines[16..22].iter_mut().for_each(|line| line.case = 16);
    lines[22..28].iter_mut().for_each(|line| line.case = 22);
    let alone = Specimen::new(&SHAPE, Kind::Seizure, lines).first_table();
    let mut bench = Bench::new(alone, Family::Counts);
    let through = |bench: &mut Bench, hcl: &[&[By<'_>]]| {
        bench.ways("hcl", hcl);
        bench.way("other_salt", &[&[(OTHER, 5), (BASE, -5)]]);
        bench.way("_U", &[&[(UNKNOWN, 5), (BASE, -5)]]);
        bench.says()
    };
    bench.hide("base");
    let by_other: &[By<'_>] = &[&[(HCL, 5), (OTHER, -5)]];
    let by_unknown: &[By<'_>] = &[&[(HCL, 5), (UNKNOWN, -5)]];
    let by_base: &[By<'_>] = &[&[(HCL, 5), (BASE, -5)]];
    let table: &[(&[&[By<'_>]], &str)] = &[
        // The case of hcl itself is no insider of its own number.
        (&[by_base], "3 protected, 0 one at a time, 0 excepted"),
        (&[by_other], "3 protected, 0 one at a time, 1 excepted"),
        (&[by_other, by_other], "3 protected, 0 one at a time, 1 excepted"),
        (&[by_other, by_unknown], "3 protected, 1 one at a time, 0 excepted"),
        // Every way must hold, not one of them.
        (&[by_other, &[&[(HCL, 4), (BASE, -4)]]], "hcl is not as wide as the rules ask"),
    ];
    for (ways, says) in table {
        assert_eq!(through(&mut bench, ways), *says, "{ways:?}");
    }
}

// A witness holds for every vintage in which its periods were published.
#[test]
fn a_witness_may_not_fall_below_zero_in_any_earlier_vintage() {
    let march = 1 << 2;
    let table = [
        ("five then", 5, 0xFFF, HOLDS),
        ("four then", 4, 0xFFF, "hcl falls below zero"),
        ("four then, when the year was not yet published", 4, march, HOLDS),
    ];
    for (what, others, months, says) in table {
        let mut bench = counts();
        let then = lines(&SHAPE, &[("base", "mid", 12), ("hcl", "mid", 3), ("other_salt", "mid", others)], None);
        bench.earlier = vec![Earlier { lines: then, months }];
        assert_eq!(bench.says(), says, "{what}");
    }
}

#[test]
fn what_is_public_anyway_is_known_and_bounds_what_is_within_it() {
    let one = "1 protected, 0 one at a time, 0 excepted";
    // Shown without being public, then public: it needs no witness, and those of others leave it alone, hidden or not.
    let mut bench = counts();
    let hcl = bench.number("hcl");
    bench.hidden[0][hcl] = false;
    assert_eq!(bench.says(), "hcl is shown");
    bench.tell("hcl", true, 3);
    bench.ways.remove(&(0, hcl));
    assert_eq!(bench.says(), one);
    bench.hidden[0][hcl] = true;
    assert_eq!(bench.says(), one);
    bench.way("_U", &[&[(UNKNOWN, 3), (HCL, -3)], &[(UNKNOWN, 2), (OTHER, -2)]]);
    assert_eq!(bench.says(), "_U changes a number that is known");
    // Three within three that are public can be kept three apart and no more; nothing of nothing is no secret.
    for (at_most, down, says) in [
        (3, 3, HOLDS),
        (3, 2, "hcl is not as wide as the rules ask"),
        (4, 3, "hcl is not as wide as the rules ask"),
        (0, 0, one),
    ] {
        let mut bench = counts();
        bench.tell("hcl", false, at_most);
        bench.way("hcl", &[&[(HCL, -down), (OTHER, down)]]);
        assert_eq!(bench.says(), says, "{down} within {at_most}");
    }
    // A sum of 3 kg within 3.4 kg.
    let kg = KG.cast_signed();
    for (up, down, says) in [
        (2 * kg / 5, -kg, HOLDS),
        (2 * kg / 5 - 1, -kg, "hcl is not as wide as the rules ask"),
        (2 * kg / 5, 1 - kg, "hcl is not as wide as the rules ask"),
    ] {
        let mut bench = masses(KG);
        bench.tell("hcl", false, 17 * KG / 5);
        bench.way("hcl", &[&[(HCL, up)], &[(HCL, down)]]);
        assert_eq!(bench.says(), says, "{up} {down}");
    }
}

// Masses: base 12 kg, hcl 3 kg, other 6 kg, one each case; the total over drugs is none of the table's sums.
fn masses(hcl_mg: u64) -> Bench {
    let of = [("base", "mid", 12), ("hcl", "mid", 3), ("other_salt", "mid", 6)];
    let mut lines = lines(&SHAPE, &of, Some(KG));
    lines[12..15].iter_mut().for_each(|line| line.amount = Some(Amount::MassMg(hcl_mg)));
    let specimen = Specimen::new(&SHAPE, Kind::Seizure, lines).first_table();
    let mut bench = Bench::new(specimen, Family::Sums(Quantity::MassMg));
    bench.way("_U", &[&[(UNKNOWN, 1_000_000)]]);
    bench
}

#[test]
fn a_sum_must_move_its_reach_up_and_down_unless_it_is_nothing_before() {
    let kg = KG.cast_signed();
    // Mass of each of three cases, way up, way down.
    let table = [
        ("a kilogram each way", KG, kg, -kg, HOLDS),
        ("a milligram less up", KG, kg - 1, -kg, "hcl is not as wide as the rules ask"),
        ("a milligram less down", KG, kg, 1 - kg, "hcl is not as wide as the rules ask"),
        ("a small one down to nothing", KG / 10, kg, -3 * kg / 10, HOLDS),
        ("a small one nearly to nothing", KG / 10, kg, 1 - 3 * kg / 10, "hcl is not as wide as the rules ask"),
        ("below nothing", KG / 10, kg, -kg, "hcl falls below zero"),
        // 15 % of 20 kg.
        ("three kilograms each way", 20 * KG, 3 * kg, -3 * kg, HOLDS),
        ("a milligram less than three", 20 * KG, 3 * kg - 1, -3 * kg, "hcl is not as wide as the rules ask"),
    ];
    for (what, mass, up, down, says) in table {
        let mut bench = masses(mass);
        bench.way("hcl", &[&[(HCL, up)], &[(HCL, down)]]);
        assert_eq!(bench.says(), says, "{what}");
        bench.way("hcl", &[&[(HCL, up), (BASE, -up)], &[(HCL, down)]]);
        let says = "hcl changes a number that is known";
        assert_eq!(bench.says(), says, "{what}, against what is shown");
    }
    // In an earlier vintage there was less: that is as far as it must fall, and as far as it can.
    let then = [("base", "mid", 12), ("hcl", "mid", 1), ("other_salt", "mid", 6)];
    for (down, says) in
        [(-kg / 2, HOLDS), (1 - kg / 2, "hcl is not as wide as the rules ask"), (-kg, "hcl falls below zero")]
    {
        let mut bench = masses(KG);
        let mut lines = lines(&SHAPE, &then, Some(KG));
        lines[12].amount = Some(Amount::MassMg(KG / 2));
        bench.earlier = vec![Earlier { lines, months: 0xFFF }];
        bench.way("hcl", &[&[(HCL, kg)], &[(HCL, down)]]);
        assert_eq!(bench.says(), says, "{down}");
    }
}

// Hub and places: the first unsafe number in order is hcl, then the unknown, which has no witness here.
fn linked(shape: &Shape) -> Bench {
    let of = [("base", "mid", 12), ("hcl", "mid", 3), ("other_salt", "mid", 6)];
    let mass = if shape.measures.contains(&"seizures_weighed") { Some(KG) } else { None };
    let mut bench = Bench::new(Specimen::new(shape, Kind::Seizure, lines(shape, &of, mass)), Family::Counts);
    for cell in 0..bench.hidden[1].len() {
        // Of places the total of all drugs alone is shown, to see that the tables are in step.
        bench.hidden[1][cell] = cell != bench.specimen.number(1, &["2025", "_T", "mid"], "seizures");
    }
    let number = bench.specimen.number(0, &["2025", "other_salt"], shape.measures[1]);
    bench.hidden[0][number] = true;
    bench.hide("other_salt");
    bench
}

const TAKEN: &str = "_U has no witness";
const OUT_OF_STEP: &str = "hcl changes a table without the others";

#[test]
fn tables_move_together() {
    let (hcl, other) = (at_place(HCL, 1), at_place(OTHER, 1));
    let at_another_place = at_place(HCL, 2);
    let table: &[(&str, By<'_>, &str)] = &[
        ("both", &[(HCL, 5), (OTHER, -5), (hcl, 5), (other, -5)], TAKEN),
        ("the hub alone", &[(HCL, 5), (OTHER, -5)], OUT_OF_STEP),
        ("one line less in the other", &[(HCL, 5), (OTHER, -5), (hcl, 4), (other, -4)], OUT_OF_STEP),
        ("one drug alone", &[(HCL, 5), (OTHER, -5), (hcl, 5), (at_place(BASE, 1), -5)], OUT_OF_STEP),
        (
            "another place",
            &[(HCL, 5), (OTHER, -5), (at_another_place, 5), (other, -5)],
            "hcl changes a number that is known",
        ),
    ];
    for (what, change, says) in table {
        let mut bench = linked(&SHAPE);
        bench.way("hcl", &[change]);
        assert_eq!(bench.says(), *says, "{what}");
    }
}

#[test]
fn lines_with_and_without_a_mass_are_told_apart_where_the_hub_counts_them() {
    let (hcl, other) = (at_place(HCL, 1), at_place(OTHER, 1));
    let without = HCL + WITHOUT_MASS;
    let table: &[(&str, By<'_>, &str)] = &[
        ("a mass for a mass", &[(HCL, 5), (OTHER, -5), (hcl, 5), (other, -5)], TAKEN),
        ("none for a mass", &[(without, 5), (OTHER, -5), (hcl, 5), (other, -5)], "hcl changes a number that is known"),
    ];
    for (what, change, says) in table {
        let mut bench = linked(&WEIGHED);
        bench.way("hcl", &[change]);
        // The number of hcl with a mass comes between hcl and the unknown.
        let weighed = bench.specimen.number(0, &["2025", "hcl"], "seizures_weighed");
        bench.ways.insert((0, weighed), vec![vec![vec![(HCL, 5), (OTHER, -5), (hcl, 5), (other, -5)]]]);
        assert_eq!(bench.says(), *says, "{what}");
    }
}

#[test]
fn tables_that_do_not_share_time_and_drug_have_no_equations() {
    type Break = fn(&mut Specimen);
    let table: &[(&str, Break)] = &[
        ("no time", |specimen| specimen.tables[1].dimensions[0].name = "year".to_owned()),
        ("no drug", |specimen| specimen.tables[1].dimensions[1].name = "substance".to_owned()),
        ("no drug in any", |specimen| {
            specimen.tables.iter_mut().for_each(|table| table.dimensions[1].name = "substance".to_owned());
        }),
        ("another list of drugs", |specimen| specimen.tables[1].dimensions[1].list = "drugs-1".to_owned()),
        ("another order", |specimen| specimen.tables[1].dimensions.swap(1, 2)),
    ];
    for (what, wrong) in table {
        let mut bench = linked(&SHAPE);
        wrong(&mut bench.specimen);
        let table = if *what == "no drug in any" { "hub" } else { "places" };
        let says = format!("{table}: it does not begin with time and the drugs of the others");
        assert_eq!(bench.says(), says, "{what}");
    }
    // A table by itself is linked to nothing.
    let mut bench = counts();
    bench.specimen.tables[0].dimensions[1].name = "substance".to_owned();
    assert!(!bench.says().contains("does not begin"), "{}", bench.says());
}

// `audit` asks for the place of every base cell first, so that this cannot come from there.
#[test]
fn every_number_is_said_to_be_hidden_or_shown() {
    let mut bench = counts();
    bench.hidden[0].pop();
    assert_eq!(bench.says(), "hub: its lists are not as long as its block");
    let mut bench = counts();
    bench.was_shown[0].pop();
    assert_eq!(bench.says(), "hub: its lists are not as long as its block");
}

#[test]
fn a_move_of_what_nobody_looked_up_is_refused() {
    let nothing = HashMap::new();
    assert_eq!(change_of((0, 0), &[(HCL, 5)], &nothing), Err("moves what is no base cell"));
    let place = Place { table: MADE_HUB, time: 0, codes: vec![], value: 0 };
    let (counted_in, shown_in, margins) = (vec![(0, 0)], vec![], vec![]);
    let alone = Known { place, in_hub: true, amount: 0, alone: None, counted_in, shown_in, margins };
    assert_eq!(change_of((0, 0), &[(HCL, 5)], &HashMap::from([(HCL, alone)])), Ok(5));
}

#[test]
fn every_fault_reads_as_a_sentence_of_the_table_and_number() {
    let table = "hub".to_owned();
    let said: BTreeSet<String> = [
        Fault::Shown { table: table.clone(), number: 7 },
        Fault::NoWitness { table: table.clone(), number: 7 },
        Fault::Witness { table: table.clone(), number: 7, what: "is empty" },
        Fault::Tables { table, what: "its numbers are not the sums of its lines" },
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    let expected = [
        "table hub, number 7: it breaks a primary rule and is not hidden",
        "table hub, number 7: its witness is empty",
        "table hub, number 7: no witness",
        "table hub: its numbers are not the sums of its lines",
    ];
    assert_eq!(said.into_iter().collect::<Vec<_>>(), expected);
}
