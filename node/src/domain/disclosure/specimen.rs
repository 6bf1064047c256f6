//! Small blocks for the tests of disclosure control: a catalogue of three tables and lines that a test gives or a seed makes.

use accord_protocol::{
    catalogue::{Axis, Catalogue, Kind, Table},
    code,
    edition::Layout,
    time::Period,
};

use super::star::{Block, Filled, Public};
use crate::domain::{
    amount::Amount,
    contribution::{Contribution, Contributions, LEAVES, slot},
    tabulate::{Cell, tabulate},
};

/// The year of every block.
pub(super) const YEAR: u16 = 2025;

/// What varies between the catalogues: short lists stand for drugs and for what else is known of a line.
pub(super) struct Shape {
    /// Levels of time.
    pub(super) times: &'static [&'static str],
    /// The list of drugs and its levels below the total.
    pub(super) drugs: (&'static str, &'static [&'static str]),
    /// The list of the second table's own dimension and its levels below the total.
    pub(super) places: (&'static str, &'static [&'static str]),
    /// Measures of the table of time and drug.
    pub(super) measures: &'static [&'static str],
}

/// A block before protection.
pub(super) struct Specimen {
    pub(super) tables: Vec<Table>,
    pub(super) layouts: Vec<Layout>,
    pub(super) cells: Vec<Vec<Cell>>,
    pub(super) lines: Vec<Contribution>,
}

impl Specimen {
    /// The tables of one kind, filled with lines.
    pub(super) fn new(shape: &Shape, kind: Kind, lines: Vec<Contribution>) -> Self {
        let catalogue = Catalogue::parse(&text(shape)).unwrap_or_else(|fault| panic!("{fault}"));
        let tables: Vec<Table> = catalogue.tables().iter().filter(|table| table.kind == kind).cloned().collect();
        let layouts: Vec<Layout> = tables.iter().map(|table| Layout::new(table, "MT", YEAR).unwrap()).collect();
        let contributions = Contributions::of_lines(kind, YEAR, lines.clone());
        let cells =
            tables.iter().zip(&layouts).map(|(table, layout)| tabulate(table, layout, &contributions, YEAR)).collect();
        Self { tables, layouts, cells, lines }
    }

    /// The same with the first table alone.
    pub(super) fn first_table(mut self) -> Self {
        self.tables.truncate(1);
        self
    }

    pub(super) fn filled(&self) -> Vec<Filled<'_>> {
        let parts = self.tables.iter().zip(&self.layouts).zip(&self.cells);
        parts.map(|((table, layout), cells)| Filled { table, layout, cells, public: Public::NOTHING }).collect()
    }

    pub(super) fn block(&self) -> Block<'_> {
        Block { lines: &self.lines, year: YEAR, published: &|_: Period| true, earlier: &[] }
    }

    /// Where a measure of the cell with these codes, time first, stands among the numbers of a table.
    pub(super) fn number(&self, table: usize, codes: &[&str], measure: &str) -> usize {
        let (of, layout) = (&self.tables[table], &self.layouts[table]);
        let found = |(axis, code): (&Axis, &&str)| axis.find(code).unwrap_or_else(|| panic!("no code {code}"));
        let (levels, numbers): (Vec<u8>, Vec<u32>) = layout.axes().iter().zip(codes).map(found).unzip();
        let cell = layout.index(&levels, &numbers).unwrap_or_else(|| panic!("no cell {codes:?}"));
        cell * layout.width() + of.numbers_of(of.measure(measure).unwrap()).start
    }
}

/// A line of one kind with its leaves, by dimension and code.
pub(super) fn line(shape: &Shape, kind: Kind, case: u32, period: Period, codes: &[(&str, &str)]) -> Contribution {
    let mut leaves = [0; LEAVES];
    for (dimension, code) in codes {
        let list = if *dimension == "drug" { shape.drugs.0 } else { shape.places.0 };
        let leaf = code::tree(list, "MT").unwrap().find(code).unwrap_or_else(|| panic!("no code {code}"));
        leaves[slot(kind, dimension).unwrap()] = u16::try_from(leaf).unwrap();
    }
    Contribution { case, period, leaves, amount: None, value: None }
}

/// Numbers that only a seed decides (xorshift, Marsaglia 2003).
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        // The generator stands still at zero.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// One of some, the earlier ones far more often: lines of a country crowd in few codes.
    pub(super) fn crowded<T: Copy>(&mut self, of: &[T]) -> T {
        let end = 1 + self.below(of.len());
        of[self.below(end)]
    }
}

/// Masses from a gram to some kilograms, and now and then none.
pub(super) fn amount(seeded: &mut Seeded) -> Option<Amount> {
    let grams = [1, 20, 400, 2_500];
    let mass = |seeded: &mut Seeded| (1 + seeded.below(1_000)) as u64 * seeded.crowded(&grams);
    (seeded.below(6) > 0).then(|| Amount::MassMg(mass(seeded) * 1_000))
}

fn text(shape: &Shape) -> String {
    let quoted = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let (drugs, drug_levels) = shape.drugs;
    let (places, place_levels) = shape.places;
    let lists = [drugs, places].map(|name| {
        let hash = code::list_hash(name).unwrap();
        format!("[[list]]\nname = {name:?}\nsha256 = \"{hash}\"\n")
    });
    let head = |id: u16, name: &str, kind: &str| {
        format!(
            "[[table]]\nid = {id}\nname = {name:?}\nversion = 1\nkind = {kind:?}\ntitle = \"\"\ncounting_unit = \"\"\nmethod = []\n"
        )
    };
    let dimension = |name: &str, list: &str, default: &str| {
        format!("[[table.dimension]]\nname = {name:?}\nlist = {list:?}\ndefault = {default:?}\n")
    };
    let of = |id: &str| match id {
        "seizures" | "samples" => "lines",
        "seizures_weighed" => "lines_weighed",
        "quantity_mg" => "mass_mg",
        "purity_mean" => "mean",
        _ => "histogram",
    };
    let bins = "bins = [{ name = \"50\", edges = [0, 5000, 10001] }, { name = \"25\", edges = [0, 2500, 5000, 7500, 10001] }]\n";
    let measure = |id: &str| {
        let bins = if of(id) == "histogram" { bins } else { "" };
        format!("[[table.measure]]\nid = {id:?}\nof = {:?}\nunit = \"1\"\nnote = \"\"\n{bins}", of(id))
    };
    let measures = |ids: &[&str]| ids.iter().map(|id| measure(id)).collect::<String>();
    let grid = |times: &[&str], drugs: &[&str], places: Option<&[&str]>, ids: &[&str]| {
        let place = places.map_or(String::new(), |levels| format!(", place = [{}]", quoted(levels)));
        let (times, drugs, ids) = (quoted(times), quoted(drugs), quoted(ids));
        format!("[[table.grid]]\nlevels = {{ time = [{times}], drug = [{drugs}]{place} }}\nmeasures = [{ids}]\n")
    };
    let counts: Vec<&str> = shape.measures.iter().copied().filter(|id| *id != "quantity_mg").collect();
    let further: Vec<&str> = shape.measures.iter().copied().filter(|id| *id != "seizures_weighed").collect();
    let all_places = [&["all"], place_levels].concat();
    let purity = ["samples", "purity_mean", "purity"];
    let in_time_and_drug = dimension("time", "time", "year") + &dimension("drug", drugs, drug_levels[0]);
    [
        "id = \"small\"\n".to_owned(),
        lists.concat(),
        head(1, "hub", "seizure"),
        in_time_and_drug.clone(),
        measures(shape.measures),
        grid(&["year"], &["all"], None, &counts),
        grid(shape.times, drug_levels, None, shape.measures),
        head(2, "places", "seizure"),
        in_time_and_drug.clone(),
        dimension("place", places, place_levels[0]),
        measures(&further),
        grid(&["year"], &["all"], Some(&all_places), &["seizures"]),
        grid(&["year"], drug_levels, Some(&all_places), &further),
        head(3, "purities", "purity"),
        in_time_and_drug,
        dimension("market", places, place_levels[0]),
        measures(&purity),
        grid(&["year"], drug_levels, Some(&all_places), &purity).replace("place =", "market ="),
    ]
    .concat()
}
