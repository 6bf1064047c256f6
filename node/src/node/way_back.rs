//! The way back: what was imported, undoing an import, erasing a case, compacting the store.

use std::{collections::BTreeMap, sync::Arc};

use accord_edge::clock;
use accord_protocol::{catalogue::Kind, edition::EditionHeader, log::EventKind, message::RecordsCall, time::UnixMs};
use serde_json::{Value, json};

use super::{Actor, Happening, NOTE_RULE, Node, Reply, done, failed, notice, store_failed};
use crate::{
    domain::{
        erasure::Erasure,
        import::{cells::case_id, report::Report},
    },
    io::{
        import::{import_id, import_number},
        store::{ImportEntry, StoreError, Undone},
    },
};
use accord_protocol::text::is_note;

/// Editions that still hold records, by number.
type Editions = Vec<u64>;

impl Node {
    /// Does one command on what was imported. Blocks on the store.
    pub fn on_records(&self, call: &RecordsCall, by: &Actor) -> Reply {
        let done = match call {
            RecordsCall::Imports {} => self.list_imports(),
            RecordsCall::Import { id } => self.with_import(id, |entry| self.show_import(&entry)),
            RecordsCall::Undo { id, reason } => self.with_import(id, |entry| self.undo(entry.number, reason, by)),
            RecordsCall::Case { case } => self.case(case, None, by),
            RecordsCall::Erase { case, authority } => self.case(case, Some(authority), by),
            RecordsCall::Compact {} => self.compact(by),
        };
        done.unwrap_or_else(|error| store_failed(&error))
    }

    fn with_import(
        &self,
        id: &str,
        work: impl FnOnce(ImportEntry) -> Result<Reply, StoreError>,
    ) -> Result<Reply, StoreError> {
        let entry = match import_number(id) {
            Some(number) => self.store.import(number)?,
            None => None,
        };
        if let Some(entry) = entry {
            return work(entry);
        }
        let shown = id.chars().take(40).flat_map(char::escape_default).collect::<String>();
        Ok(failed(2, "NO-IMPORT", format!("there is no import `{shown}`"), "see accord import list"))
    }

    fn list_imports(&self) -> Result<Reply, StoreError> {
        let mut rows = Vec::new();
        for entry in self.store.imports() {
            let entry = entry?;
            rows.push(self.import_json(&entry)?);
        }
        Ok(done(json!({ "imports": rows })))
    }

    fn import_json(&self, entry: &ImportEntry) -> Result<Value, StoreError> {
        let report = self.report(entry)?;
        Ok(json!({
            "import_id": import_id(entry.number),
            "kind": entry.kind.as_str(),
            "state": if entry.undone.is_some() { "undone" } else { "in_force" },
            "committed_at": entry.committed_at.to_string(),
            "file": report.file,
            "mapping": report.mapping.name,
            "lines": entry.lines,
            "rows": report.rows,
            "coverage": report.coverage.with_it,
            "correction": entry.correction,
            "rests_on": report.rests_on,
            "undone": entry.undone.as_ref().map(|undone| json!({ "at": undone.at.to_string(), "reason": undone.reason })),
        }))
    }

    fn report(&self, entry: &ImportEntry) -> Result<Report, StoreError> {
        serde_json::from_slice(&self.store.frozen(&entry.report)?)
            .map_err(|error| StoreError::Read(format!("the report of import {}: {error}", entry.number)))
    }

    fn show_import(&self, entry: &ImportEntry) -> Result<Reply, StoreError> {
        let mut result = self.import_json(entry)?;
        if let Some(result) = result.as_object_mut() {
            result.insert("report".into(), serde_json::to_value(self.report(entry)?).unwrap_or_default());
        }
        Ok(done(result))
    }

    fn undo(&self, number: u64, reason: &str, by: &Actor) -> Result<Reply, StoreError> {
        if !is_note(reason) {
            return Ok(failed(2, "REASON", NOTE_RULE, "for example --reason \"wrong file\""));
        }
        let _alone = match self.alone() {
            Ok(alone) => alone,
            Err(busy) => return Ok(*busy),
        };
        // Once more, now that nobody else changes anything.
        let Some(entry) = self.store.import(number)?.filter(|entry| entry.undone.is_none()) else {
            let message = format!("import {} was undone before", import_id(number));
            return Ok(failed(2, "UNDONE", message, "see accord import list"));
        };
        let later = self.resting_on(&entry)?;
        if let Some(last) = later.first() {
            let names: Vec<&str> = later.iter().map(String::as_str).collect();
            let message =
                format!("later imports hold the same records: {}; undo them first, in this order", names.join(", "));
            return Ok(failed(3, "LATER-IMPORTS", message, &format!("accord import undo {last} --reason ...")));
        }
        let (kind, lines) = (entry.kind, entry.lines);
        let mut years: BTreeMap<(Kind, u16), UnixMs> = BTreeMap::new();
        for block in self.store.versions()? {
            let (import, lines) = block?;
            for line in lines.iter().filter(|_| import == number) {
                years.insert((kind, line.common().date.year), entry.committed_at);
            }
        }
        let undone = Undone { at: clock::now(), reason: reason.trim().to_owned() };
        let detail = json!({ "import": import_id(number), "lines": lines, "reason": undone.reason });
        let entered = self.entry_of(&Happening::new(EventKind::Undone, by, detail))?;
        let sequence = self.store.undo_import(entry, undone, entered)?;
        self.reload()?;
        tracing::info!(import = number, "undone");
        let editions = self.resting_editions(&years)?;
        let mut reply = done(json!({
            "import_id": import_id(number), "kind": kind.as_str(), "lines_removed": lines, "sequence": sequence, "editions": editions,
        }));
        reply.warnings.extend(editions_notice(&editions, "was published with this import"));
        Ok(reply)
    }

    // Later imports that must be undone first, the last one first: those that rest on this one, and on those in turn.
    fn resting_on(&self, entry: &ImportEntry) -> Result<Vec<String>, StoreError> {
        let mut names = vec![import_id(entry.number)];
        for later in self.store.imports() {
            let later = later?;
            if later.number > entry.number
                && later.undone.is_none()
                && self.report(&later)?.rests_on.iter().any(|before| names.contains(before))
            {
                names.push(import_id(later.number));
            }
        }
        names.remove(0);
        names.reverse();
        Ok(names)
    }

    fn case(&self, case: &str, authority: Option<&String>, by: &Actor) -> Result<Reply, StoreError> {
        let Some(folded) = case_id(case) else {
            return Ok(failed(2, "CASE", "a case id has 1 to 64 visible characters", "use the case id of the file"));
        };
        if authority.is_some_and(|authority| !is_note(authority)) {
            return Ok(failed(2, "AUTHORITY", NOTE_RULE, "name the order, for example --authority \"order 12/2026\""));
        }
        let _alone = match self.alone() {
            Ok(alone) => alone,
            Err(busy) => return Ok(*busy),
        };
        let mut erasure = Erasure::default();
        for block in self.store.versions()? {
            let (_, lines) = block?;
            for line in &lines {
                erasure.consider(line, &folded);
            }
        }
        // Only now is known which records go, so a second pass sees their other versions too.
        let mut lines = 0u64;
        let mut imports: BTreeMap<u64, u64> = BTreeMap::new();
        let mut years: BTreeMap<(Kind, u16), UnixMs> = BTreeMap::new();
        for block in self.store.versions()? {
            let (import, all) = block?;
            for line in all.iter().filter(|line| erasure.covers(line)) {
                lines += 1;
                *imports.entry(import).or_default() += 1;
                let committed_at = self.store.import(import)?.map_or(UnixMs(0), |entry| entry.committed_at);
                let since = years.entry((line.kind(), line.common().date.year)).or_insert(committed_at);
                *since = (*since).min(committed_at);
            }
        }
        let editions = self.resting_editions(&years)?;
        let kinds: BTreeMap<&str, u64> = Kind::ALL
            .iter()
            .map(|kind| (kind.as_str(), erasure.records_of(*kind)))
            .filter(|(_, records)| *records > 0)
            .collect();
        let mut result = json!({
            "records": erasure.records(), "lines": lines, "kinds": kinds,
            "imports": imports.keys().map(|number| import_id(*number)).collect::<Vec<_>>(),
            "editions": editions,
        });
        let Some(authority) = authority else {
            // Whoever looks a case up leaves a trace, without its name (Directive (EU) 2016/680, Article 25).
            let looked = json!({ "what": "case", "records": erasure.records() });
            self.record(&Happening::new(EventKind::Read, by, looked))?;
            return Ok(done(result));
        };
        if erasure.is_empty() {
            return Ok(failed(
                2,
                "NO-CASE",
                "no record belongs to this case; nothing was changed",
                "check the case id",
            ));
        }
        // Not which case: what was erased must not stay in the log.
        let detail =
            json!({ "records": erasure.records(), "lines": lines, "kinds": kinds, "authority": authority.trim() });
        let entered = self.entry_of(&Happening::new(EventKind::Erased, by, detail))?;
        let entry = self.store.erase(&erasure, &folded, (clock::now(), authority.trim()), entered)?;
        self.reload()?;
        tracing::info!(records = entry.records, "a case was erased");
        if let Some(result) = result.as_object_mut() {
            result.insert("erased".into(), json!(true));
            result.insert("authority".into(), json!(entry.authority));
            result.insert("at".into(), json!(entry.at.to_string()));
        }
        let mut reply = done(result);
        reply.warnings.extend(editions_notice(&editions, "still rests on the erased records"));
        reply.warnings.push(notice(
            "COMPACT",
            "the records are gone from everything that answers; their bytes leave the disk with accord compact, and backups keep them until they are renewed",
        ));
        Ok(reply)
    }

    fn compact(&self, by: &Actor) -> Result<Reply, StoreError> {
        let _alone = match self.alone() {
            Ok(alone) => alone,
            Err(busy) => return Ok(*busy),
        };
        self.store.room(self.store.size())?;
        let (before, after) = self.store.compact()?;
        let detail = json!({ "bytes_before": before, "bytes_after": after });
        self.record(&Happening::new(EventKind::Compacted, by, detail))?;
        tracing::info!(before, after, "compacted");
        Ok(done(json!({ "bytes_before": before, "bytes_after": after })))
    }

    // What the node keeps in memory of the records, read again after records were taken away.
    fn reload(&self) -> Result<(), StoreError> {
        let (index, coverage) = (self.store.index()?, self.store.coverage()?);
        let mut records = self.records();
        records.index = Arc::new(index);
        records.coverage = coverage;
        Ok(())
    }

    // Editions that can be answered from, were published after records of these kinds and years had come, and hold a block of them.
    // What an import that was undone has held nobody knows any more, so whatever was published after it may rest on it.
    fn resting_editions(&self, years: &BTreeMap<(Kind, u16), UnixMs>) -> Result<Editions, StoreError> {
        let mut undone: BTreeMap<Kind, UnixMs> = BTreeMap::new();
        for import in self.store.imports() {
            let import = import?;
            if import.undone.is_some() {
                let first = undone.entry(import.kind).or_insert(import.committed_at);
                *first = (*first).min(import.committed_at);
            }
        }
        let mut numbers = Vec::new();
        for entry in self.store.editions() {
            let entry = entry?;
            let header: EditionHeader = entry
                .header
                .unverified()
                .map_err(|_| StoreError::Read(format!("edition {}: its header does not decode", entry.number)))?;
            let Some(edition) = self.loaded_edition(entry.number)? else { continue };
            if self.store.withdrawn(entry.number)?.is_some() {
                continue;
            }
            let rests = years.iter().any(|((kind, year), since)| {
                let since = undone.get(kind).map_or(*since, |undone| (*since).min(*undone));
                since <= header.published_at
                    && edition
                        .frozen
                        .catalogue
                        .tables()
                        .iter()
                        .any(|table| table.kind == *kind && edition.frozen.block(table.id, *year).is_some())
            });
            if rests {
                numbers.push(entry.number);
            }
        }
        Ok(numbers)
    }
}

fn editions_notice(editions: &[u64], what: &str) -> Option<accord_protocol::message::Notice> {
    let newest = editions.last()?;
    let numbers: Vec<String> = editions.iter().map(ToString::to_string).collect();
    let message = format!(
        "edition {} {what}: publish a new edition, and withdraw what may no longer be answered (accord edition withdraw {newest} --reason ...)",
        numbers.join(", ")
    );
    Some(notice("EDITIONS", &message))
}
