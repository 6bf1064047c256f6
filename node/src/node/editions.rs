//! Editions: filling, publishing, showing; the frozen cells that answers are selected from.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use accord_edge::clock::{self, Stopwatch};
use accord_protocol::{
    catalogue::Catalogue,
    cell::CELL_LEN,
    codec::{Bounded, encode},
    edition::{EditionHeader, Protection, commitment},
    id::Hash,
    signed::{Document, Label, Preamble},
    time::UnixMs,
    trust::read_catalogue,
};
use ring::hmac;
use serde_json::{Map, Value, json};

use super::{
    NOT_PROTECTED, Node, Reply, done,
    edition_view::{View, coverage_rows_json, rules_json},
    failed, notice, only_one, store_failed,
    unpublished::{NotFilled, not_continued, notices, withdrawn_before},
};
use crate::{
    domain::{
        contribution::{Contributions, Leaves},
        coverage::Coverage,
        disclosure::Rules,
        edition::{Basis, Before, Block, Filled, Filling, Frozen, RulesNow, Share, Unfit, Vintage, gather, jobs, make},
    },
    io::store::{Batch, EditionDetail, EditionEntry, StoreError},
};

/// Editions kept in memory, at most: the current one and a few that partners still ask for.
const LOADED_MAX: usize = 4;

// The records at one moment.
struct Snapshot {
    contributions: Contributions,
    coverage: Coverage,
    sequence: u64,
    // When the newest import in force was committed.
    as_of: Option<UnixMs>,
}

/// A published edition in memory.
#[derive(Debug)]
pub(super) struct LoadedEdition {
    pub(super) frozen: Arc<Frozen>,
    rules: Rules,
    shares: Vec<Share>,
    bases: Vec<Basis>,
    record_sequence: u64,
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
            frozen: Arc::new(Frozen { header, catalogue, blocks }),
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
        self.grants().anything(member, self.standing().trust().catalogue(), clock::now())
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

    // The records as they are. Imports may go on when it is there.
    fn snapshot(&self, catalogue: &Catalogue) -> Result<Snapshot, NotFilled> {
        let fault = |error: accord_protocol::code::ListError| StoreError::Read(error.to_string());
        let leaves = Leaves::new(catalogue, self.config.member.country()).map_err(fault)?;
        // Records that are changed while they are read would be half there.
        let _importing = only_one(&self.importing, &Stopwatch::start()).map_err(NotFilled::Busy)?;
        let (coverage, sequence, index) = {
            let records = self.records();
            (records.coverage.clone(), self.store.sequence(), Arc::clone(&records.index))
        };
        let mut contributions = Contributions::default();
        for lines in self.store.lines(&index) {
            for line in lines? {
                contributions.add(&line, &leaves);
            }
        }
        let in_force = self.store.imports().filter_map(Result::ok).filter(|import| import.undone.is_none());
        let as_of = in_force.map(|import| import.committed_at).max();
        Ok(Snapshot { contributions, coverage, sequence, as_of })
    }

    // Fills an edition from the records as they are; what the latest edition says stays as it is.
    fn filled(&self, catalogue: &Catalogue) -> Result<(Filled, Snapshot), NotFilled> {
        let snapshot = self.snapshot(catalogue)?;
        let latest = match self.current_number() {
            Some(number) => self.loaded_edition(number)?,
            None => None,
        };
        // A block is as strict as the edition that it was made in, whatever came after.
        let rules_of = |number: u64| self.rules_since(number, catalogue);
        let before = match latest.as_ref().filter(|_| self.protection() == Protection::Audited) {
            Some(latest) => Some(Before {
                frozen: &latest.frozen,
                bases: &latest.bases,
                rules: &rules_of,
                withdrawn: self.store.withdrawn(latest.frozen.header.number)?.is_some(),
            }),
            None => None,
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.keys().edition_key);
        let fingerprint = |bytes: &[u8]| {
            let mut hash = [0; 32];
            hash.copy_from_slice(hmac::sign(&key, bytes).as_ref());
            Hash(hash)
        };
        let unreadable = std::sync::Mutex::new(None);
        let held = |kind, year, edition| {
            let lines = self.store.vintage(kind, year, edition);
            lines.unwrap_or_else(|error| {
                *unreadable.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                None
            })
        };
        let filling = Filling {
            catalogue,
            country: self.config.member.country(),
            contributions: &snapshot.contributions,
            coverage: &snapshot.coverage,
            rules: &self.config.rules,
            now: clock::now(),
            delay_days: self.config.publish_delay_days,
            protection: self.protection(),
            before,
            number: latest.as_ref().map_or(0, |latest| latest.frozen.header.number) + 1,
            held: &held,
            fingerprint: &fingerprint,
        };
        let filled = fill(&filling);
        if let Some(error) = unreadable.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(error.into());
        }
        let filled = filled?;
        tracing::info!(
            programmes = filled.effort.programmes,
            protected = filled.audit.protected,
            unchanged = filled.unchanged,
            "an edition is filled and audited"
        );
        Ok((filled, snapshot))
    }

    // How the rules in force compare with those of an edition.
    fn rules_since(&self, number: u64, catalogue: &Catalogue) -> RulesNow {
        let Some(entry) = self.store.edition(number).ok().flatten() else { return RulesNow::Other };
        let header: Option<EditionHeader> = entry.header.unverified().ok();
        if header.is_none_or(|header| header.catalogue_hash != catalogue.hash) {
            RulesNow::Other
        } else if entry.rules == self.config.rules {
            RulesNow::Same
        } else if self.config.rules.is_no_weaker_than(&entry.rules) {
            RulesNow::Stricter
        } else {
            RulesNow::Other
        }
    }

    /// What publishing would give, without publishing.
    pub fn preview(&self, table: Option<&str>, cells: bool) -> Reply {
        let _publishing = match only_one(&self.publishing, &Stopwatch::start()) {
            Ok(publishing) => publishing,
            Err(busy) => return *busy,
        };
        let standing = self.standing();
        let catalogue = standing.trust().catalogue();
        let mut filled = match self.filled(catalogue) {
            Ok((filled, _)) => filled,
            Err(error) => return error.reply(),
        };
        if let Some(unknown) = unknown_table(catalogue, table) {
            return unknown;
        }
        let blocks: HashMap<_, _> =
            std::mem::take(&mut filled.blocks).into_iter().map(|block| ((block.table_id, block.year), block)).collect();
        let view = View { catalogue, country: self.config.member.country(), blocks: &blocks, shares: &filled.shares };
        let mut result = Map::new();
        result.insert("member".into(), json!(self.config.member.as_str()));
        result.insert("edition".into(), Value::Null);
        result.insert("state".into(), json!("preview"));
        result.insert("rules".into(), rules_json(&self.config.rules));
        result.insert("protection".into(), json!(self.protection().as_str()));
        result.insert("audit".into(), self.audit_json(&filled));
        result.insert("coverage".into(), self.coverage_json());
        result.insert("vintages".into(), vintages_json(&filled.bases));
        view.tables(table, cells, &mut result);
        let mut reply = done(Value::Object(result));
        reply.warnings.extend(notices(&filled));
        if self.protection() == Protection::PrimaryOnly {
            reply.warnings.push(notice("NOT-PROTECTED", NOT_PROTECTED));
        }
        reply
    }

    // Editions are audited, unless the operator has said that the data is no secret.
    fn protection(&self) -> Protection {
        if self.config.accept_primary_only { Protection::PrimaryOnly } else { Protection::Audited }
    }

    // Protected numbers, each with a witness that the auditor has checked; those for whom an insider's rule had to be bent.
    fn audit_json(&self, filled: &Filled) -> Value {
        if self.protection() == Protection::PrimaryOnly {
            return Value::Null;
        }
        json!({
            "protected": filled.audit.protected,
            "one_insider_at_a_time": filled.audit.one_insider_at_a_time,
            "insider_excepted": filled.audit.insider_excepted,
            "programmes": filled.effort.programmes,
            "unchanged": filled.unchanged,
        })
    }

    /// Publishes an edition. Equal content makes no new number.
    pub fn publish(&self) -> Reply {
        // One at a time: two editions must never get one number. What is taken away waits; what is imported meanwhile is not in it.
        let _publishing = match only_one(&self.publishing, &Stopwatch::start()) {
            Ok(publishing) => publishing,
            Err(busy) => return *busy,
        };
        self.publish_inner().unwrap_or_else(NotFilled::reply)
    }

    fn publish_inner(&self) -> Result<Reply, NotFilled> {
        let latest = self.current_number().map(|number| self.loaded_edition(number)).transpose()?.flatten();
        if let Some(latest) = latest.filter(|latest| latest.frozen.header.protection != self.protection()) {
            return Ok(not_continued(latest.frozen.header.number, latest.frozen.header.protection));
        }
        let standing = self.standing();
        let trust = standing.trust();
        let (filled, snapshot) = self.filled(trust.catalogue())?;
        if filled.blocks.is_empty() {
            return Ok(failed(
                3,
                "NO-COVERAGE",
                "no period is declared complete, so there is nothing to publish",
                "declare what is complete: accord coverage set seizure 2011..2016 complete",
            ));
        }
        let content = filled.content();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.keys().edition_key);
        let mut salt = [0; 32];
        salt.copy_from_slice(hmac::sign(&key, &content).as_ref());
        let commit = commitment(trust.federation(), &self.config.member, &Hash(salt), &content);
        if let Some(number) = self.withdrawn_as(&commit, &filled)? {
            return Ok(withdrawn_before(number));
        }
        let before = match self.current_number() {
            Some(number) => self.loaded_edition(number)?,
            None => None,
        };
        let catalogue_hash = trust.catalogue().hash;
        if let Some(before) = &before
            && before.frozen.header.commit == commit
            && before.frozen.header.catalogue_hash == catalogue_hash
            && before.frozen.holds_blocks_of(&filled)
        {
            let mut reply = self.unchanged(before.frozen.header.number);
            reply.warnings.extend(notices(&filled));
            return Ok(reply);
        }
        let now = clock::now();
        let header = EditionHeader {
            preamble: Preamble,
            number: before.as_ref().map_or(0, |before| before.frozen.header.number) + 1,
            prev_commit: before.as_ref().map_or(Hash::ZERO, |before| before.frozen.header.commit),
            commit,
            rules_hash: self.config.rules.hash(),
            catalogue_hash,
            protection: self.protection(),
            coverage: Bounded::new(snapshot.coverage.rows()).unwrap_or_default(),
            as_of: snapshot.as_of.unwrap_or(now),
            published_at: now,
        };
        let mut document = Document::new(&header).map_err(|error| StoreError::Read(error.to_string()))?;
        document.add_signature(&self.voice().sign, trust.federation());
        let number = header.number;
        let bases = before.as_ref().map_or(&[] as &[_], |before| &before.bases);
        self.keep_edition(document, &header, &filled, bases, snapshot.sequence)?;
        self.records().editions = number;
        tracing::info!(edition = number, "published");
        let mut reply = self.show(Some(number), None, false);
        reply.warnings.extend(notices(&filled));
        if let Some(Value::Object(result)) = &mut reply.result {
            result.insert("audit".into(), self.audit_json(&filled));
        }
        Ok(reply)
    }

    // Stores an edition: its frozen blocks, what they were made from, its catalogue.
    fn keep_edition(
        &self,
        document: Document,
        header: &EditionHeader,
        filled: &Filled,
        before: &[Basis],
        sequence: u64,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (kind, year, lines) in &filled.held {
            batch.put_vintage(*kind, *year, header.number, lines);
        }
        // What a longer or newer vintage has taken the place of.
        for old in before {
            let now = filled.bases.iter().find(|now| (now.kind, now.year) == (old.kind, old.year));
            let is_kept = |vintage: &Vintage| now.is_some_and(|now| now.vintages.contains(vintage));
            for vintage in old.vintages.iter().filter(|vintage| !is_kept(vintage)) {
                self.store.drop_vintage(old.kind, old.year, vintage.edition, &mut batch)?;
            }
        }
        let mut blocks = Vec::new();
        for block in &filled.blocks {
            let bytes = [block.cells.as_slice(), &block.reasons].concat();
            let hash = Hash::of(&bytes);
            if !self.store.has_frozen(&hash)? {
                batch.put_frozen(&bytes);
            }
            blocks.push((block.table_id, block.year, hash));
        }
        let shares = serde_json::to_vec(&filled.shares).map_err(|error| StoreError::Read(error.to_string()))?;
        let detail = batch.put_detail(&EditionDetail { blocks, bases: filled.bases.clone(), shares });
        if let Some(catalogue) = self.catalogue_document(&header.catalogue_hash)?
            && self.store.catalogue(&header.catalogue_hash)?.is_none()
        {
            batch.put_catalogue(
                &header.catalogue_hash,
                &encode(&catalogue).map_err(|error| StoreError::Read(error.to_string()))?,
            );
        }
        batch.put_edition(&EditionEntry {
            header: document,
            number: header.number,
            record_sequence: sequence,
            rules: self.config.rules,
            detail,
        });
        self.store.commit(batch).map(|_| ())
    }

    // Equal content makes no new number (`wire.md` D11).
    fn unchanged(&self, number: u64) -> Reply {
        let mut reply = self.show(Some(number), None, false);
        let message = "the content equals the current edition's, so no new edition was made";
        reply.warnings.push(notice("UNCHANGED", message));
        reply
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
fn vintages_json(bases: &[Basis]) -> Value {
    let of = |basis: &Basis| json!({ "kind": basis.kind.as_str(), "year": basis.year, "vintage": basis.revisions + 1 });
    bases.iter().map(of).collect()
}

// Fills all tables, with as many hands as there are processors.
fn fill(filling: &Filling<'_>) -> Result<Filled, Unfit> {
    let jobs = jobs(filling);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(make(job, filling));
        }
        done
    };
    let hands = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..hands.min(jobs.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            // Whoever panics has lost its jobs; the panic goes on to where it is told.
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    Ok(gather(done.into_iter().collect::<Result<Vec<_>, _>>()?))
}

pub(super) fn unknown_table(catalogue: &Catalogue, table: Option<&str>) -> Option<Reply> {
    let name = table?;
    if catalogue.table(name).is_some() {
        return None;
    }
    let names: Vec<&str> = catalogue.tables().iter().map(|table| table.name.as_str()).collect();
    Some(failed(2, "UNKNOWN-TABLE", format!("there is no table `{name}`"), &format!("tables: {}", names.join(", "))))
}
