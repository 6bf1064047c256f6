//! What the auditor derives about a base cell: where a line stands, which numbers count it, which sums it shares with the hub.

use std::collections::HashSet;

use accord_protocol::{
    catalogue::{Axis, Measure, Quantity},
    code::Tree,
    time::Period,
};

use super::{Auditor, Known, Margin};
use crate::domain::{
    contribution::{Contribution, WEIGHT_LIST, band_has_mass, part, slot},
    disclosure::star::{Family, Filled, MADE_HUB, NO_VALUE, Place},
};

impl Auditor<'_> {
    pub(super) fn axis(&self, at: usize, dimension: usize) -> Option<&Axis> {
        self.case.tables.get(at)?.filled.layout.axes().get(dimension)
    }

    // The base cell of a line in a table: the finest codes above it that the table has.
    pub(super) fn place_of(&self, at: usize, line: &Contribution) -> Option<Place> {
        let table = self.case.tables.get(at)?.filled;
        let levels = self.finest.get(at)?;
        let time = cut_time(line.period, *levels.first()?);
        if !(self.case.block.published)(time) {
            return None;
        }
        let mut codes = Vec::with_capacity(levels.len());
        for (dimension, level) in levels.iter().enumerate().skip(1) {
            let leaf = line.leaves.get(slot(table.table.kind, &table.table.dimensions.get(dimension)?.name)?)?;
            let Axis::Codes(tree) = self.axis(at, dimension)? else { return None };
            codes.push(cut_code(tree, usize::from(*leaf), *level)?);
        }
        Some(Place { table: u16::try_from(at).ok()?, time: time.number(), codes, value: self.value_of(at, line) })
    }

    // The base cell of a line in the hub, if there is one.
    pub(super) fn hub_place(&self, line: &Contribution) -> Option<Place> {
        let at = self.in_hub.len().checked_sub(1).filter(|last| *last > 0)?;
        let time = cut_time(line.period, self.hub_levels[0]);
        if !(self.case.block.published)(time) {
            return None;
        }
        let leaf = line.leaves.get(slot(self.case.tables.get(at)?.filled.table.kind, "drug")?)?;
        let Axis::Codes(tree) = self.axis(at, 1)? else { return None };
        let codes = vec![cut_code(tree, usize::from(*leaf), self.hub_levels[1])?];
        let without_mass = self.hub_splits_mass && part(line.amount, Quantity::MassMg).is_none();
        Some(Place { table: MADE_HUB, time: time.number(), codes, value: if without_mass { NO_VALUE } else { 0 } })
    }

    // The same place under the one name of the hub, if it is the hub's.
    pub(super) fn named(&self, place: &Place) -> Place {
        let in_hub = self.in_hub.get(usize::from(place.table)) == Some(&true);
        Place { table: if in_hub { MADE_HUB } else { place.table }, ..place.clone() }
    }

    // Which part of a table's lines: with and without a mass; by finest bin, and without a value.
    pub(super) fn value_of(&self, at: usize, line: &Contribution) -> u16 {
        let Some(table) = self.case.tables.get(at).filter(|_| self.case.family == Family::Counts) else { return 0 };
        let measures = &table.filled.table.measures;
        if let Some(bins) = measures.iter().find_map(|measure| measure.bins.last()) {
            let bins: Vec<(u64, u64)> = bins.bins().collect();
            let bin = line.value.and_then(|value| bins.iter().position(|(from, to)| (*from..*to).contains(&value)));
            return bin.and_then(|bin| u16::try_from(bin).ok()).unwrap_or(NO_VALUE);
        }
        let weighed = measures.iter().any(|measure| measure.of == Quantity::LinesWeighed);
        if weighed && part(line.amount, Quantity::MassMg).is_none() { NO_VALUE } else { 0 }
    }

    // Every number that counts a base cell: of its table, or of every table of time and drug alone.
    pub(super) fn counted_in(&self, place: &Place) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (at, table) in self.case.tables.iter().enumerate() {
            let counts_it = if place.table == MADE_HUB {
                self.in_hub.get(at) == Some(&true)
            } else {
                at == usize::from(place.table)
            };
            if !counts_it {
                continue;
            }
            let table = table.filled;
            for (set, _) in table.layout.sets() {
                let numbers = self.coordinates(at, place, &set.levels);
                let Some(cell) = numbers.and_then(|numbers| table.layout.index(&set.levels, &numbers)) else {
                    continue;
                };
                let offered =
                    table.table.measures.iter().enumerate().filter(|(index, _)| set.measures >> index & 1 == 1);
                for (index, measure) in offered {
                    let numbers = table.table.numbers_of(index);
                    let within = (0..numbers.len()).filter(|within| {
                        self.of_family(at, index, *within) && counts(measure, *within, place.value, self.case.family)
                    });
                    found.extend(within.map(|within| (at, cell * table.layout.width() + numbers.start + within)));
                }
            }
        }
        found
    }

    pub(super) fn coordinates(&self, at: usize, place: &Place, levels: &[u8]) -> Option<Vec<u32>> {
        let time = Period::from_number(place.time).map(|time| cut_time(time, levels.first().copied().unwrap_or(0)))?;
        if Some(&time.level().number()) != levels.first() {
            return None;
        }
        let mut numbers = vec![time.number()];
        for ((code, level), dimension) in place.codes.iter().zip(levels.iter().skip(1)).zip(1..) {
            let Axis::Codes(tree) = self.axis(at, dimension)? else { return None };
            numbers.push(tree.get(tree.ancestor_at(tree.by_number(*code)?, *level)?)?.number);
        }
        Some(numbers)
    }

    // The sums that the base cell of a table shares with the hub, or that one of the hub shares with every table.
    pub(super) fn margins(&self, place: &Place) -> Vec<Margin> {
        if self.case.tables.len() < 2 {
            return Vec::new();
        }
        if place.table != MADE_HUB {
            let drug = place.codes.first().copied().unwrap_or(0);
            return vec![(place.table, place.time, drug, self.band(place))];
        }
        let mut found = Vec::new();
        for (at, levels) in self.finest.iter().enumerate().filter(|(at, _)| self.in_hub.get(*at) == Some(&false)) {
            let time = Period::from_number(place.time).map(|time| cut_time(time, levels.first().copied().unwrap_or(0)));
            // A table that has nothing of this time yet follows whatever the hub does.
            if !time.is_some_and(self.case.block.published) {
                continue;
            }
            let Some(Axis::Codes(tree)) = self.axis(at, 1) else { continue };
            let drug = place.codes.first().and_then(|code| tree.by_number(*code));
            let drug = drug.and_then(|drug| cut_code(tree, drug, levels.get(1).copied().unwrap_or(0)));
            let mass = self.has_bands(at).then_some(place.value == 0);
            if let (Some(time), Some(drug), Ok(at)) = (time, drug, u16::try_from(at)) {
                found.push((at, time.number(), drug, mass));
            }
        }
        found
    }

    // A table of bands of weight tells which lines have a mass, as the hub does.
    pub(super) fn has_bands(&self, at: usize) -> bool {
        self.hub_splits_mass && self.band_dimension(at).is_some()
    }

    pub(super) fn band_dimension(&self, at: usize) -> Option<usize> {
        let table = self.case.tables.get(at)?.filled.table;
        let dimension = table.dimensions.iter().position(|dimension| dimension.list == WEIGHT_LIST)?;
        (self.finest.get(at)?.get(dimension)? > &0).then_some(dimension)
    }

    pub(super) fn band(&self, place: &Place) -> Option<bool> {
        let at = usize::from(place.table);
        let dimension = self.band_dimension(at).filter(|_| self.hub_splits_mass)?;
        let Axis::Codes(tree) = self.axis(at, dimension)? else { return None };
        let code = tree.get(tree.by_number(*place.codes.get(dimension - 1)?)?)?;
        Some(band_has_mass(&code.code))
    }

    // What a base cell holds in the vintage in which it holds least, of those in which its period was published.
    pub(super) fn lowest(&self, place: &Place, now: i128) -> i128 {
        let period = Period::from_number(place.time);
        let published = self.earlier.iter().filter(|(earlier, _)| period.is_some_and(|period| earlier.has(period)));
        let then = published.map(|(_, truth)| truth.get(place).map_or(0, |(amount, _)| *amount));
        then.fold(now, i128::min)
    }

    // The codes that a line can have in a base cell: what is cut off below the finest level of a table. First those of the hub.
    pub(super) fn codes_of_bases(&self) -> (HashSet<u32>, Vec<Vec<HashSet<u32>>>) {
        let cut = |at: usize, dimension: usize, level: u8| match self.axis(at, dimension) {
            Some(Axis::Codes(tree)) => leaves(tree).filter_map(|leaf| cut_code(tree, leaf, level)).collect(),
            Some(Axis::Time) | None => HashSet::new(),
        };
        let of_table = |(at, levels): (usize, &Vec<u8>)| {
            levels.iter().enumerate().skip(1).map(|(dimension, level)| cut(at, dimension, *level)).collect()
        };
        let hub =
            if self.finest.len() > 1 { cut(self.finest.len() - 1, 1, self.hub_levels[1]) } else { HashSet::new() };
        (hub, self.finest.iter().enumerate().map(of_table).collect())
    }

    // Whether lines can stand in a place, and in no finer one.
    fn is_base(&self, place: &Place) -> bool {
        let at = usize::from(place.table);
        let (codes, finest, has_part) = if place.table == MADE_HUB {
            let has_part = place.value == 0 || self.hub_splits_mass && place.value == NO_VALUE;
            (std::slice::from_ref(&self.hub_codes), self.hub_levels[0], has_part)
        } else {
            let (Some(codes), Some(levels)) = (self.base_codes.get(at), self.finest.get(at)) else { return false };
            (codes.as_slice(), levels.first().copied().unwrap_or(0), self.has_part(at, place.value))
        };
        let has_codes =
            place.codes.len() == codes.len() && place.codes.iter().zip(codes).all(|(code, all)| all.contains(code));
        let has_time = Period::from_number(place.time).is_some_and(|time| {
            let level = time.level().number();
            let is_leaf = level == finest || level < finest && matches!(time, Period::QuarterUnknown(_));
            is_leaf && time.year() == self.case.block.year && (self.case.block.published)(time)
        });
        has_codes && has_time && has_part
    }

    // Whether lines of a table are told apart so.
    fn has_part(&self, at: usize, value: u16) -> bool {
        if self.case.family != Family::Counts {
            return value == 0;
        }
        let measures = self.case.tables.get(at).map_or(&[] as &[Measure], |table| &table.filled.table.measures);
        let bins = measures.iter().find_map(|measure| measure.bins.last()).map(|bins| bins.bins().count());
        let weighed = measures.iter().any(|measure| measure.of == Quantity::LinesWeighed);
        match bins {
            Some(bins) => usize::from(value) < bins || value == NO_VALUE,
            None => value == 0 || weighed && value == NO_VALUE,
        }
    }

    // `None` for what is no base cell.
    pub(super) fn known(&self, place: &Place) -> Option<Known> {
        let place = self.named(place);
        if !self.is_base(&place) {
            return None;
        }
        let place = &place;
        let (amount, cases) = self.truth.get(place).map_or((0, None), |(amount, cases)| (*amount, Some(cases)));
        let amount = self.lowest(place, amount);
        let alone = cases.filter(|cases| cases.len() == 1).and_then(|cases| cases.first().copied());
        let counted_in = self.counted_in(place);
        let shown_in = counted_in.iter().copied().filter(|(at, number)| self.is_known(*at, *number)).collect();
        let (in_hub, margins) = (place.table == MADE_HUB, self.margins(place));
        Some(Known { place: place.clone(), in_hub, amount, alone, counted_in, shown_in, margins })
    }
}

// Whether one number of a measure counts the lines of a part.
pub(super) fn counts(measure: &Measure, within: usize, value: u16, family: Family) -> bool {
    if family != Family::Counts {
        return true;
    }
    match measure.of {
        Quantity::LinesWeighed => value == 0,
        Quantity::Histogram if within > 0 => {
            let whole = measure.all_bins().nth(within - 1);
            let part = measure.bins.last().and_then(|bins| bins.bins().nth(usize::from(value)));
            whole.zip(part).is_some_and(|(whole, part)| whole.0 <= part.0 && part.1 <= whole.1)
        }
        Quantity::Histogram | Quantity::LinesMeasured | Quantity::Mean => value != NO_VALUE,
        _ => true,
    }
}

pub(super) fn finest(of: &Filled<'_>, family: Family) -> Vec<u8> {
    let has = |measures: u32| {
        of.table
            .measures
            .iter()
            .enumerate()
            .any(|(index, measure)| measures >> index & 1 == 1 && family.has(measure.of))
    };
    let mut levels = vec![0; of.table.dimensions.len()];
    for (set, _) in of.layout.sets().iter().filter(|(set, _)| has(set.measures)) {
        levels.iter_mut().zip(&set.levels).for_each(|(finest, level)| *finest = (*finest).max(*level));
    }
    levels
}

pub(super) fn cut_time(mut time: Period, finest: u8) -> Period {
    while time.level().number() > finest {
        let Some(parent) = time.parent() else { break };
        time = parent;
    }
    time
}

// Codes without children.
fn leaves(tree: &Tree) -> impl Iterator<Item = usize> {
    let inner: HashSet<usize> = (0..).map_while(|index| tree.get(index)).filter_map(|code| code.parent).collect();
    (0..).take_while(|index| tree.get(*index).is_some()).filter(move |index| !inner.contains(index))
}

// The number of the finest code at or above one that a table has.
pub(super) fn cut_code(tree: &Tree, mut at: usize, finest: u8) -> Option<u32> {
    loop {
        let code = tree.get(at)?;
        if code.level <= finest {
            return Some(code.number);
        }
        at = code.parent?;
    }
}
