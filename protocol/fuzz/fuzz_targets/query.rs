//! Queries against the shipped catalogue: refused, or resolved to cells whose bytes fit the reply class that was computed.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use accord_fuzz::input::Input;
use accord_protocol::{
    answer::{CLASS_OVERHEAD, class_size},
    catalogue::{Catalogue, SHIPPED, Table},
    cell::{CELL_LEN, Released},
    codec::{Bounded, Cap, decode},
    question::Question,
    request::{CODES_MAX, DimQuery, Query, RequestBody},
    selection::Selection,
    signed::Signable,
    time::{Period, TimeLevel},
};

accord_fuzz::target!(query);

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::parse(SHIPPED).unwrap());
const COUNTRIES: [&str; 6] = ["ES", "DE", "GR", "CO", "XX", ""];

/// The first byte chooses where the query comes from: a request body, bytes of a query alone, the grid, or an officer's words.
fn query(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => {
            let Ok(body) = decode::<RequestBody>(input.rest(), Cap::Head) else { return };
            let selection = resolve(&body.query, body.audience.country());
            if body.check().is_ok()
                && let Some(selection) = selection
            {
                let ascending = |codes: &Vec<u32>| codes.is_sorted_by(|a, b| a < b);
                assert!(selection.codes.iter().all(ascending), "a cell is asked for twice");
            }
        }
        1 => {
            let country = input.one_of(&COUNTRIES).unwrap();
            let Ok(query) = decode::<Query>(input.rest(), Cap::Head) else { return };
            resolve(&query, country);
        }
        2 => {
            let country = input.one_of(&COUNTRIES).unwrap();
            resolve(&on_the_grid(&mut input, country), country);
        }
        _ => question(&mut input),
    }
}

/// Resolves a query and holds the result to what it says about itself.
fn resolve(query: &Query, country: &str) -> Option<Selection> {
    let table = CATALOGUE.table_by_id(query.table_id)?;
    let selection = Selection::new(query, table, country).ok()?;
    let wide = |lengths: &mut dyn Iterator<Item = usize>| lengths.map(|length| length as u128).product::<u128>();
    let cells = wide(&mut selection.codes.iter().map(Vec::len));
    let bytes = cells * (table.width_of(&selection.measures) * CELL_LEN) as u128;
    assert_eq!((selection.cells() as u128, selection.slice_len() as u128), (cells, bytes));
    let needed = selection.slice_len() + CLASS_OVERHEAD;
    let smaller = selection.reply_class.checked_sub(1).and_then(class_size);
    assert!(class_size(selection.reply_class).is_some_and(|size| needed <= size), "the reply does not fit its class");
    assert!(smaller.is_none_or(|size| needed > size), "a smaller class would do");
    assert_eq!(selection.measures.iter().fold(0u32, |mask, index| mask | 1 << index), query.measures);
    assert!(table.measures_at(&selection.levels).is_some_and(|offered| query.measures & !offered == 0));
    assert_names(&selection, table, country);
    let slice = Released::SUPPRESSED.to_bytes().repeat(selection.cells() * selection.width);
    assert!(selection.read(&slice).is_ok_and(|read| read.len() == selection.cells()));
    assert!(selection.read(&[slice.as_slice(), &[0]].concat()).is_err(), "a slice that is too long is read");
    assert!(slice.get(1..).is_none_or(|short| selection.read(short).is_err()), "a slice that is too short is read");
    Some(selection)
}

/// Every code stands on its level under the name that is shown, and the first and the last cell have one code of each dimension.
fn assert_names(selection: &Selection, table: &Table, country: &str) {
    let axes = table.axes(country).unwrap();
    assert!([selection.codes.len(), selection.names.len(), selection.levels.len()] == [axes.len(); 3]);
    for (index, axis) in axes.iter().enumerate() {
        let (codes, names) = (&selection.codes[index], &selection.names[index]);
        assert_eq!(codes.len(), names.len());
        for (code, name) in codes.iter().zip(names).take(8) {
            assert_eq!(axis.find(name), Some((selection.levels[index], *code)));
        }
    }
    for position in [0, selection.cells().saturating_sub(1)] {
        if selection.cells() > 0 {
            let (numbers, names) = (selection.numbers_at(position), selection.names_at(position));
            assert_eq!((numbers.len(), names.len()), (axes.len(), axes.len()));
        }
    }
}

/// A query that is on the grid or near it: levels that exist, codes of the level or any number.
fn on_the_grid(input: &mut Input<'_>, country: &str) -> Query {
    let table = &CATALOGUE.tables()[input.below(CATALOGUE.tables().len())];
    let sets = table.level_sets();
    let set = &sets[input.below(sets.len())];
    let axes = table.axes(country).unwrap();
    let dims = axes.iter().zip(&set.levels).zip(0u8..).map(|((axis, level), dim)| {
        let all = axis.numbers(*level, 1990 + u16::from(input.byte() & 31));
        let count = input.below(CODES_MAX + 1);
        let codes = (0..count).map(|_| match input.byte() {
            255 => u32::from(input.word()) << 8,
            at => all.get(usize::from(at) % all.len().max(1)).copied().unwrap_or(0),
        });
        let mut codes: Vec<u32> = codes.collect();
        codes.sort_unstable();
        codes.dedup();
        let level = if input.byte() == 255 { input.byte() } else { *level };
        DimQuery { dim, level, codes: Bounded::new(codes).unwrap() }
    });
    let dims = Bounded::new(dims.collect()).unwrap();
    let measures = if input.byte() == 255 { u32::from(input.word()) } else { set.measures & !u32::from(input.byte()) };
    Query { table_id: table.id, table_version: table.version, measures, dims }
}

/// An officer's question by words: it cannot be asked, or its queries resolve and together ask for every period once.
fn question(input: &mut Input<'_>) {
    let table = &CATALOGUE.tables()[input.below(CATALOGUE.tables().len())];
    let country = input.one_of(&COUNTRIES).unwrap();
    let axes = table.axes(country).unwrap();
    let mut by = Vec::new();
    for (dimension, axis) in table.dimensions.iter().zip(&axes) {
        if let Some(level) = axis.level_names().get(input.below(8)) {
            by.push((dimension.name.clone(), level.clone()));
        }
    }
    let Ok(levels) = Question::levels(table, &by) else { return };
    let measures = Question::measures(table, &levels, &[]).expect("levels that exist have measures");
    let level = TimeLevel::from_number(levels[0]).unwrap();
    let year = 1900 + input.word() % 8100;
    let of_year = Period::of_year(year, level);
    let range = match input.below(3) {
        0 => format!("{year}..{}", year + u16::from(input.byte())),
        1 => format!("{}..{}", of_year[0], Period::of_year(year + 3, level)[input.below(4) % of_year.len().min(4)]),
        _ => String::from_utf8_lossy(input.string()).into_owned(),
    };
    let Ok(periods) = Question::periods(&range, level) else { return };
    let only: BTreeMap<usize, Vec<String>> = (1..axes.len())
        .filter_map(|index| {
            let numbers = axes[index].numbers(levels[index], 0);
            let names = (0..input.below(70))
                .filter_map(|_| axes[index].name(levels[index], *numbers.get(input.below(numbers.len()))?));
            Some((index, names.collect::<Vec<_>>())).filter(|(_, names)| !names.is_empty())
        })
        .collect();
    let question = Question { levels, periods, only, measures };
    let Ok(queries) = question.queries(table, country) else { return };
    let mut asked = Vec::new();
    for query in &queries {
        let selection = resolve(query, country).expect("an own query is on the grid");
        asked.extend_from_slice(&selection.codes[0]);
    }
    let mut wanted: Vec<u32> = question.periods.iter().map(|period| period.number()).collect();
    asked.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(asked, wanted);
}
