//! What would become of the latest edition if a proposal were carried out, and what of it anybody can see who has both.

use std::collections::HashMap;

use accord_protocol::{
    catalogue::{Catalogue, Kind, Table},
    consent::PublicCell,
    edition::Layout,
    id::Hash,
};
use serde_json::{Value, json};

use super::{
    super::{
        Node,
        edition_diff::differences,
        edition_view::{cell_key, rules_json},
        editions::LoadedEdition,
        failed,
        publishing::Snapshot,
    },
    NotAgreed,
    waivers::{number_of, public_json},
};
use crate::{
    domain::edition::{Block, Correction, Filled, VINTAGES_KEPT_MAX, waiver},
    io::store::StoreError,
};

/// Numbers that a proposal lists, at most: it counts the others.
const LISTED_MAX: usize = 200;

type Blocks = HashMap<(u16, u16), Block>;

/// What would become of the latest edition.
pub(super) struct Outlook {
    pub(super) filled: Filled,
    pub(super) snapshot: Snapshot,
    /// What anybody sees, as compact JSON.
    pub(super) difference: Vec<u8>,
}

impl Node {
    /// What was published must be protected together with what comes, so its tables must be the same, and there is an end to it.
    pub(super) fn may_be_corrected(&self, latest: &LoadedEdition, years: &[(Kind, u16)]) -> Result<(), NotAgreed> {
        let standing = self.standing();
        let tables = standing.trust().catalogue().tables();
        let of_kinds = |table: &&Table| years.iter().any(|(kind, _)| *kind == table.kind);
        let changed = latest.frozen.catalogue.tables().iter().filter(of_kinds).find(|table| !tables.contains(table));
        if let Some(table) = changed {
            let message = format!(
                "the catalogue in force has another table {}: what was published of it cannot be protected beside it",
                table.name
            );
            return Err(failed(3, "CATALOGUE", message, "withdraw the edition; its years stay as they are").into());
        }
        let bases = latest.bases().iter().filter(|basis| years.contains(&(basis.kind, basis.year)));
        if let Some(basis) = bases.into_iter().find(|basis| basis.vintages.len() >= VINTAGES_KEPT_MAX) {
            let message = format!(
                "{} {} was made anew too often: {VINTAGES_KEPT_MAX} states of it are known",
                basis.kind, basis.year
            );
            return Err(failed(3, "VINTAGES", message, "it stays as it is").into());
        }
        Ok(())
    }

    /// What would be published, and what of it differs from the latest edition.
    pub(super) fn outlook(
        &self,
        latest: &LoadedEdition,
        years: &[(Kind, u16)],
        waived: Option<&PublicCell>,
    ) -> Result<Outlook, NotAgreed> {
        let standing = self.standing();
        let catalogue = standing.trust().catalogue();
        let correct = if waived.is_some() { &[] } else { years };
        let (filled, snapshot) = self.filled(catalogue, correct, waived)?;
        if let Some(cell) = waived {
            self.shows(catalogue, &filled, cell)?;
        }
        let difference = self.difference_to(latest, catalogue, &filled, years, waived)?;
        Ok(Outlook { filled, snapshot, difference })
    }

    // Whether numbers that are public anyway come to be shown.
    fn shows(&self, catalogue: &Catalogue, filled: &Filled, cell: &PublicCell) -> Result<(), NotAgreed> {
        let shown = || {
            let table = catalogue.table_by_id(cell.table_id)?;
            let year = waiver::year_of(cell)?;
            let layout = Layout::new(table, self.config.member.country(), year).ok()?;
            let at = layout.index(cell.levels.as_slice(), cell.codes.as_slice())?;
            let block = filled.blocks.iter().find(|block| (block.table_id, block.year) == (table.id, year))?;
            let all = cell.numbers.iter().all(|number| {
                let place = at * layout.width() + usize::from(number.within);
                number_of(&block.cells, place).is_some_and(|released| released.number().is_some())
            });
            all.then_some(())
        };
        shown().ok_or_else(|| {
            let message = "with this number known, others that must be protected could be worked out";
            failed(3, "NOT-PROTECTABLE", message, "nothing was changed; leave it hidden").into()
        })
    }

    fn difference_to(
        &self,
        latest: &LoadedEdition,
        catalogue: &Catalogue,
        filled: &Filled,
        years: &[(Kind, u16)],
        waived: Option<&PublicCell>,
    ) -> Result<Vec<u8>, NotAgreed> {
        let of_years = |catalogue: &Catalogue, block: &Block| {
            let kind = catalogue.table_by_id(block.table_id).map(|table| table.kind);
            kind.is_some_and(|kind| years.contains(&(kind, block.year)))
        };
        let key = |block: &Block| (block.table_id, block.year);
        let was: HashMap<_, _> = latest
            .frozen
            .blocks
            .values()
            .filter(|block| of_years(&latest.frozen.catalogue, block))
            .map(|block| (key(block), block.clone()))
            .collect();
        let becomes: HashMap<_, _> = filled
            .blocks
            .iter()
            .filter(|block| of_years(catalogue, block))
            .map(|block| (key(block), block.clone()))
            .collect();
        let country = self.config.member.country();
        let (tables, _) = differences((&latest.frozen.catalogue, &was), (catalogue, &becomes), country, None, false);
        let unlike = |of: &Value| {
            let count = |what: &str| of.get(what).and_then(Value::as_u64).unwrap_or(0);
            // That more could be shown by another choice is no correction.
            let shown = if waived.is_some() || latest.rules() != &self.config.rules { count("shown") } else { 0 };
            count("changed") + count("hidden") + count("added") + count("gone") + shown > 0
        };
        if !tables.iter().any(unlike) {
            let message = "nothing would change: what is published of these years is what the records say";
            return Err(failed(2, "NOTHING", message, "see accord edition show").into());
        }
        let mut content: Vec<_> = becomes.iter().collect();
        content.sort_unstable_by_key(|(key, _)| **key);
        let content: Vec<u8> = content.into_iter().flat_map(|(_, block)| block.cells.iter().copied()).collect();
        let mut difference = json!({
            "edition": latest.frozen.header.number,
            "tables": tables,
            "becomes": Hash::of(&content).to_string(),
        });
        let Some(fields) = difference.as_object_mut() else { return Ok(Vec::new()) };
        if let Some(cell) = waived {
            fields.insert("cell".into(), public_json(catalogue, country, cell));
        } else {
            let [years, discloses, narrows] = self.corrections_json(&filled.corrected, catalogue, (&was, &becomes));
            fields.insert("years".into(), years);
            fields.insert("discloses".into(), discloses);
            fields.insert("narrows".into(), narrows);
            if latest.rules() != &self.config.rules {
                fields.insert(
                    "rules".into(),
                    json!({ "from": rules_json(latest.rules()), "to": rules_json(&self.config.rules) }),
                );
            }
        }
        serde_json::to_vec(&difference).map_err(|error| StoreError::Read(error.to_string()).into())
    }

    // Lines that came and went, the numbers that tell of too few cases, and those that can be narrowed beyond what changed.
    fn corrections_json(
        &self,
        corrections: &[Correction],
        catalogue: &Catalogue,
        (was, becomes): (&Blocks, &Blocks),
    ) -> [Value; 3] {
        let name = |year: u16, table_id: u16, number: usize| {
            let table = catalogue.table_by_id(table_id)?;
            let layout = Layout::new(table, self.config.member.country(), year).ok()?;
            let width = layout.width().max(1);
            let is_it = |measure: &usize| table.numbers_of(*measure).contains(&(number % width));
            let measure = (0..table.measures.len()).find(is_it).and_then(|measure| table.measures.get(measure))?;
            Some(json!({ "table": table.name, "key": cell_key(table, &layout, number / width), "measure": measure.id }))
        };
        let (mut discloses, mut narrows) = (Vec::new(), Vec::new());
        for correction in corrections {
            for of in &correction.disclosed {
                let says = |blocks: &Blocks| {
                    number_of(&blocks.get(&(of.table_id, correction.year))?.cells, of.number)?.number()
                };
                let mut row = name(correction.year, of.table_id, of.number).unwrap_or_default();
                if let Some(row) = row.as_object_mut() {
                    row.insert("from".into(), json!(says(was)));
                    row.insert("to".into(), json!(says(becomes)));
                    row.insert("cases".into(), json!(of.cases));
                }
                discloses.push(row);
            }
            let narrowed = correction.narrowed.iter();
            narrows.extend(narrowed.filter_map(|(table, number)| name(correction.year, *table, *number)));
        }
        let years = corrections.iter().map(|of| {
            json!({
                "kind": of.kind.as_str(), "year": of.year, "lines_added": of.added, "lines_removed": of.removed,
                "discloses": of.disclosed.len(), "narrows": of.narrowed.len(),
            })
        });
        let years = years.collect();
        discloses.truncate(LISTED_MAX);
        narrows.truncate(LISTED_MAX);
        [years, Value::Array(discloses), Value::Array(narrows)]
    }
}
