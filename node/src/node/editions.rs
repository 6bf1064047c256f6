//! Editions: showing them; the frozen cells that answers are selected from.

use std::{collections::HashMap, sync::Arc};

use accord_edge::clock;
use accord_protocol::{
    catalogue::Catalogue,
    cell::CELL_LEN,
    edition::{EditionHeader, Protection},
    id::Hash,
    signed::{Document, Label},
    trust::read_catalogue,
};
use serde_json::{Map, Value, json};

use super::{
    NOT_PROTECTED, Node, Reply, done,
    edition_view::{View, coverage_rows_json, rules_json},
    failed, notice, store_failed,
};
use crate::{
    domain::{
        disclosure::Rules,
        edition::{Basis, Block, Frozen, Share},
    },
    io::store::{EditionEntry, StoreError},
};

/// Editions kept in memory, at most: the current one and a few that partners still ask for.
const LOADED_MAX: usize = 4;

/// A published edition in memory.
#[derive(Debug)]
pub(super) struct LoadedEdition {
    pub(super) frozen: Arc<Frozen>,
    rules: Rules,
    shares: Vec<Share>,
    bases: Vec<Basis>,
    record_sequence: u64,
}

impl LoadedEdition {
    /// What its kinds and years were made from.
    pub(super) fn bases(&self) -> &[Basis] {
        &self.bases
    }

    /// The rules that its new blocks were protected by.
    pub(super) const fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Node {
    pub(super) fn current_number(&self) -> Option<u64> {
        let editions = self.records().editions;
        (editions > 0).then_some(editions)
    }

    /// An edition, from memory or from the store.
    pub(super) fn loaded_edition(&self, number: u64) -> Result<Option<Arc<LoadedEdition>>, StoreError> {
        let lock = || self.loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(loaded) = lock().get(&number) {
            return Ok(Some(Arc::clone(loaded)));
        }
        let Some(entry) = self.store.edition(number)? else { return Ok(None) };
        let loaded = Arc::new(self.load_edition(&entry)?);
        let mut all = lock();
        all.insert(number, Arc::clone(&loaded));
        if all.len() > LOADED_MAX
            // The current edition, which has the highest number, stays; so does the one that was just asked for.
            && let Some(oldest) = all.keys().find(|kept| **kept != number).copied()
        {
            all.remove(&oldest);
        }
        Ok(Some(loaded))
    }

    fn load_edition(&self, entry: &EditionEntry) -> Result<LoadedEdition, StoreError> {
        let fault = |what: &str| StoreError::Read(format!("edition {}: {what}", entry.number));
        let header: EditionHeader = entry.header.unverified().map_err(|_| fault("its header does not decode"))?;
        let standing = self.standing();
        let in_force = standing.trust().catalogue();
        let catalogue = if in_force.hash == header.catalogue_hash {
            Arc::clone(in_force)
        } else {
            let document =
                self.store.catalogue(&header.catalogue_hash)?.ok_or_else(|| fault("its catalogue is gone"))?;
            let document = document.unverified().map_err(|_| fault("its catalogue does not decode"))?;
            Arc::new(read_catalogue(&document).map_err(|_| fault("its catalogue does not hold"))?)
        };
        let detail = self.store.detail(entry)?;
        let mut blocks = HashMap::new();
        for (table_id, year, hash) in detail.blocks {
            let bytes = self.store.frozen(&hash)?;
            // One reason byte for each cell of nine bytes.
            let numbers = bytes.len() / (CELL_LEN + 1);
            let (cells, reasons) = bytes.split_at(numbers * CELL_LEN);
            blocks.insert((table_id, year), Block { table_id, year, cells: cells.to_vec(), reasons: reasons.to_vec() });
        }
        let shares = serde_json::from_slice(&detail.shares).map_err(|_| fault("its shares do not decode"))?;
        Ok(LoadedEdition {
            frozen: Arc::new(Frozen::new(self.config.member.country(), header, catalogue, blocks)),
            rules: entry.rules,
            shares,
            bases: detail.bases,
            record_sequence: entry.record_sequence,
        })
    }

    /// The signed header of an edition, for partners.
    pub fn edition_document(&self, number: u64) -> Result<Option<Document>, StoreError> {
        let Some(mut header) = self.store.edition(number)?.map(|edition| edition.header) else { return Ok(None) };
        // One that an earlier key has signed is vouched for by the one in use: partners know no other after a rotation.
        header.add_signature(&self.voice().sign, self.standing().trust().federation());
        Ok(Some(header))
    }

    /// Whether a member may receive anything at all: then it may see headers of editions.
    pub fn grants_anything(&self, member: &accord_protocol::id::NodeId) -> bool {
        self.standing().anything_for(member, clock::now())
    }

    /// The signed document of a catalogue in force or of an edition, for partners.
    pub fn catalogue_document(&self, hash: &Hash) -> Result<Option<Document>, StoreError> {
        let standing = self.standing();
        let in_force = standing
            .held
            .documents
            .iter()
            .find(|document| document.label() == Label::Catalogue && document.hash() == *hash);
        match in_force {
            Some(document) => Ok(Some(document.clone())),
            None => self.store.catalogue(hash),
        }
    }

    /// All editions, oldest first.
    pub fn list_editions(&self) -> Reply {
        let current = self.current_number();
        let mut rows = Vec::new();
        for entry in self.store.editions() {
            let header: Result<EditionHeader, _> = match &entry {
                Ok(entry) => entry.header.unverified(),
                Err(error) => return store_failed(error),
            };
            let Ok(header) = header else { return store_failed(&StoreError::Read("a header does not decode".into())) };
            rows.push(json!({
                "edition": header.number,
                "hash": header.commit.to_string(),
                "state": match self.state_word(header.number, current) {
                    Ok(word) => word,
                    Err(error) => return store_failed(&error),
                },
                "protection": header.protection.as_str(),
                "as_of": header.as_of.date().to_string(),
                "published_at": header.published_at.to_string(),
            }));
        }
        done(json!({ "member": self.config.member.as_str(), "editions": rows }))
    }

    fn state_word(&self, number: u64, current: Option<u64>) -> Result<&'static str, StoreError> {
        Ok(if self.store.withdrawn(number)?.is_some() {
            "withdrawn"
        } else if Some(number) == current {
            "current"
        } else {
            "superseded"
        })
    }

    /// One edition as the operator sees it, with the reasons that never leave.
    pub fn show(&self, number: Option<u64>, table: Option<&str>, cells: bool) -> Reply {
        let current = self.current_number();
        let Some(number) = number.or(current) else {
            return failed(2, "NO-EDITION", "no edition has been published yet", "publish one: accord edition publish");
        };
        let edition = match self.loaded_edition(number) {
            Ok(Some(edition)) => edition,
            Ok(None) => {
                return failed(2, "NO-EDITION", format!("there is no edition {number}"), "see accord edition list");
            }
            Err(error) => return store_failed(&error),
        };
        if let Some(unknown) = unknown_table(&edition.frozen.catalogue, table) {
            return unknown;
        }
        let header = &edition.frozen.header;
        let mut result = Map::new();
        result.insert("member".into(), json!(self.config.member.as_str()));
        result.insert("edition".into(), json!(number));
        result.insert("hash".into(), json!(header.commit.to_string()));
        match self.store.withdrawn(number) {
            Ok(Some(entry)) => {
                result.insert("withdrawn".into(), json!({ "at": entry.at.to_string(), "reason": entry.reason }));
            }
            Ok(None) => {}
            Err(error) => return store_failed(&error),
        }
        match self.state_word(number, current) {
            Ok(word) => result.insert("state".into(), json!(word)),
            Err(error) => return store_failed(&error),
        };
        result.insert("published_at".into(), json!(header.published_at.to_string()));
        result.insert("as_of".into(), json!(header.as_of.date().to_string()));
        result.insert("record_sequence".into(), json!(edition.record_sequence));
        result.insert(
            "catalogue".into(),
            json!({ "id": edition.frozen.catalogue.id, "hash": header.catalogue_hash.to_string() }),
        );
        result.insert("rules".into(), rules_json(&edition.rules));
        result.insert("protection".into(), json!(header.protection.as_str()));
        result.insert("coverage".into(), coverage_rows_json(header.coverage.as_slice()));
        result.insert("vintages".into(), vintages_json(&edition.bases));
        match self.footnotes(&edition.frozen) {
            Ok(footnotes) => result.insert("footnotes".into(), footnotes),
            Err(error) => return store_failed(&error),
        };
        let view = View {
            catalogue: &edition.frozen.catalogue,
            country: self.config.member.country(),
            blocks: &edition.frozen.blocks,
            shares: &edition.shares,
        };
        view.tables(table, cells, &mut result);
        let mut reply = done(Value::Object(result));
        match header.protection {
            Protection::PrimaryOnly => reply.warnings.push(notice("NOT-PROTECTED", NOT_PROTECTED)),
            Protection::Audited => {}
        }
        reply
    }

    pub(super) fn coverage_json(&self) -> Value {
        coverage_rows_json(&self.records().coverage.rows())
    }
}

// How often each kind and year was made.
pub(super) fn vintages_json(bases: &[Basis]) -> Value {
    let of = |basis: &Basis| json!({ "kind": basis.kind.as_str(), "year": basis.year, "vintage": basis.revisions + 1 });
    bases.iter().map(of).collect()
}

pub(super) fn unknown_table(catalogue: &Catalogue, table: Option<&str>) -> Option<Reply> {
    let name = table?;
    if catalogue.table(name).is_some() {
        return None;
    }
    let names: Vec<&str> = catalogue.tables().iter().map(|table| table.name.as_str()).collect();
    Some(failed(2, "UNKNOWN-TABLE", format!("there is no table `{name}`"), &format!("tables: {}", names.join(", "))))
}
