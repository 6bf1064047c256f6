//! Numbers that are public anyway: which one somebody names, which are shown, and where they are public.

use std::collections::BTreeMap;

use accord_protocol::{
    catalogue::{Catalogue, Kind, Quantity},
    cell::{CELL_LEN, Released},
    consent::{Consent, PublicCell, PublicNumber},
    edition::Layout,
};
use serde_json::{Value, json};

use super::{
    super::{Node, edition_view::cell_key, editions::LoadedEdition, failed},
    NotAgreed,
};
use crate::{
    domain::edition::{Frozen, Vintage, waiver},
    io::store::{Course, StoreError},
};

impl Node {
    /// The cell that somebody names, with what was published of it, hidden or not.
    pub(super) fn public_cell(
        &self,
        latest: &LoadedEdition,
        catalogue: &Catalogue,
        table: &str,
        key: &BTreeMap<String, String>,
        measures: &[String],
    ) -> Result<(PublicCell, Kind, u16), NotAgreed> {
        let Some(table) = catalogue.table(table) else { return Err(StoreError::Read("no table".into()).into()) };
        let country = self.config.member.country();
        let not_found = |error: waiver::NotWaived| {
            failed(2, "CELL", error.to_string(), "name it as `accord edition show --cells --json` does")
        };
        let named = waiver::find(table, country, key, measures).map_err(not_found)?;
        let basis = latest.bases().iter().find(|basis| (basis.kind, basis.year) == (table.kind, named.year));
        let Some(vintage) = basis.and_then(|basis| basis.vintages.last()) else {
            let message = format!("no {} of {} is published yet", table.kind, named.year);
            return Err(failed(2, "NO-YEAR", message, "publish it first, then waive what it keeps back").into());
        };
        let several = |vintages: &[Vintage]| vintages.iter().filter(|vintage| !vintage.corrected).count() > 1;
        if basis.is_some_and(|basis| several(&basis.vintages)) {
            let message = format!(
                "{} {} was revised: a number that was hidden in several vintages stays hidden",
                table.kind, named.year
            );
            let next = format!("agree on making it anew first: accord edition correct {} {}", table.kind, named.year);
            return Err(failed(3, "REVISED", message, &next).into());
        }
        let layout = Layout::new(table, country, named.year).map_err(|error| not_found(error.into()))?;
        let block = latest.frozen.block(table.id, named.year);
        let state = |measure: &usize| {
            let number = named.place(table, &layout, *measure)?;
            number_of(block?, number)
        };
        let states: Vec<Option<Released>> = named.measures().iter().map(state).collect();
        // Of the counts, which go together, the first is the one that is meant.
        let asked = if measures.is_empty() { 1 } else { states.len() };
        if states.iter().take(asked).all(|state| state.is_some_and(|state| state.number().is_some())) {
            return Err(failed(2, "SHOWN", "it is shown already", "see accord edition show --cells").into());
        }
        if states.iter().any(|state| state.is_none_or(|state| state == Released::NOT_AVAILABLE)) {
            let message = "it is not available: its period is not published";
            return Err(failed(2, "NOT-AVAILABLE", message, "publish it first, then waive what it keeps back").into());
        }
        // Whoever knows the amount knows whether there is any seizure: it tells of a number that other cells rest on.
        let lines = table.measures.iter().position(|measure| measure.of == Quantity::Lines);
        let is_known = |lines: &usize| {
            named.measures().contains(lines) || state(lines).is_some_and(|state| state.number().is_some())
        };
        if lines.is_some_and(|lines| !is_known(&lines)) {
            let message = "an amount is not shown without the number of its seizures";
            let next = "waive that number as well: --measure seizures --measure quantity_mg";
            return Err(failed(3, "NOT-PROTECTABLE", message, next).into());
        }
        let held = self.store.vintage(table.kind, named.year, vintage.edition)?.ok_or_else(|| {
            StoreError::Read(format!(
                "the lines of {} {} that edition {} was made from",
                table.kind, named.year, vintage.edition
            ))
        })?;
        let cell = named.with_values(table, country, &held).map_err(not_found)?;
        Ok((cell, table.kind, named.year))
    }

    /// Numbers that are shown because two people agreed that they are public anyway. Blocks on the store.
    pub(in crate::node) fn waived(&self) -> Result<Vec<PublicCell>, StoreError> {
        Ok(self.waivers()?.into_iter().map(|(cell, _)| cell).collect())
    }

    fn waivers(&self) -> Result<Vec<(PublicCell, String)>, StoreError> {
        let mut cells = Vec::new();
        for entry in self.store.agreements() {
            let (_, entry) = entry?;
            let consent: Option<Consent> = entry.document.unverified().ok();
            if let Some(consent) = consent.filter(|_| entry.course == Course::Done) {
                cells.extend(consent.cell.iter().map(|cell| (cell.clone(), consent.reason().to_owned())));
            }
        }
        Ok(cells)
    }

    /// The waived numbers that an edition shows, with where they are public. Blocks on the store.
    pub(in crate::node) fn public_sources(&self, frozen: &Frozen) -> Result<Vec<(PublicCell, String)>, StoreError> {
        let country = self.config.member.country();
        let is_shown = |cell: &PublicCell| {
            let (table, year) = (frozen.catalogue.table_by_id(cell.table_id)?, waiver::year_of(cell)?);
            let layout = Layout::new(table, country, year).ok()?;
            let at = layout.index(cell.levels.as_slice(), cell.codes.as_slice())?;
            let block = frozen.block(table.id, year)?;
            let says = |number: &PublicNumber| {
                let released = number_of(block, at * layout.width() + usize::from(number.within));
                released.and_then(Released::number).and_then(|said| u64::try_from(said).ok())
            };
            Some(cell.numbers.iter().all(|number| says(number) == Some(number.value)))
        };
        Ok(self.waivers()?.into_iter().filter(|(cell, _)| is_shown(cell) == Some(true)).collect())
    }

    /// The same as JSON for the agency's own people.
    pub(in crate::node) fn footnotes(&self, frozen: &Frozen) -> Result<Value, StoreError> {
        let country = self.config.member.country();
        let note = |(cell, source): (PublicCell, String)| {
            let mut note = public_json(&frozen.catalogue, country, &cell);
            if let Some(note) = note.as_object_mut() {
                note.insert("public_source".into(), json!(source));
            }
            note
        };
        Ok(self.public_sources(frozen)?.into_iter().map(note).collect())
    }
}

/// What a block says at a place.
pub(super) fn number_of(block: &[u8], number: usize) -> Option<Released> {
    Released::from_bytes(*block.as_chunks::<CELL_LEN>().0.get(number)?).ok()
}

/// A cell by its codes, with what it says.
pub(super) fn public_json(catalogue: &Catalogue, country: &str, cell: &PublicCell) -> Value {
    let Some(table) = catalogue.table_by_id(cell.table_id) else { return Value::Null };
    let layout = waiver::year_of(cell).and_then(|year| Layout::new(table, country, year).ok());
    let at = layout.as_ref().and_then(|layout| layout.index(cell.levels.as_slice(), cell.codes.as_slice()));
    let key = layout.zip(at).map(|(layout, at)| cell_key(table, &layout, at));
    let values: serde_json::Map<String, Value> = cell
        .numbers
        .iter()
        .filter_map(|number| {
            let of = |index: &usize| table.numbers_of(*index).start == usize::from(number.within);
            let measure = (0..table.measures.len()).find(of).and_then(|index| table.measures.get(index))?;
            Some((measure.id.clone(), json!(number.value)))
        })
        .collect();
    json!({ "table": table.name, "key": key, "values": values })
}
