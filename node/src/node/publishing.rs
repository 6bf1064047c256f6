//! Making editions: filling them from the records as they are, previewing, publishing, keeping.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use accord_edge::clock::{self, Stopwatch};
use accord_protocol::{
    catalogue::{Catalogue, Kind},
    codec::{Bounded, encode},
    consent::PublicCell,
    edition::{EditionHeader, Protection, commitment},
    id::Hash,
    log::EventKind,
    signed::{Document, Preamble},
    time::UnixMs,
};
use ring::hmac;
use serde_json::{Map, Value, json};

use super::{
    Actor, Happening, NOT_PROTECTED, Node, Reply, done,
    edition_view::{View, rules_json},
    editions::{LoadedEdition, unknown_table, vintages_json},
    failed, notice, only_one,
    unpublished::{NotFilled, not_continued, notices, withdrawn_before},
};
use crate::{
    domain::{
        contribution::{Contributions, Leaves},
        coverage::Coverage,
        edition::{Agreed, Basis, Before, Filled, Filling, RulesNow, Unfit, Vintage, gather, jobs, make, next_number},
    },
    io::store::{Batch, EditionDetail, EditionEntry, StoreError},
};

/// The records at one moment.
pub(super) struct Snapshot {
    contributions: Contributions,
    coverage: Coverage,
    sequence: u64,
    // When the newest import in force was committed.
    as_of: Option<UnixMs>,
}

/// What publishing comes to.
pub(super) enum Prepared {
    /// No new edition, and why.
    Nothing(Box<Reply>),
    /// An edition, to be stored.
    Edition {
        /// Its number.
        number: u64,
        /// All of it.
        batch: Batch,
    },
}

impl Node {
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

    /// Fills an edition from the records as they are; what the latest edition says stays as it is, unless something else is agreed on.
    pub(super) fn filled(
        &self,
        catalogue: &Catalogue,
        correct: &[(Kind, u16)],
        waived: Option<&PublicCell>,
    ) -> Result<(Filled, Snapshot), NotFilled> {
        let snapshot = self.snapshot(catalogue)?;
        let mut all_waived = self.waived()?;
        all_waived.extend(waived.cloned());
        let latest = match self.current_number() {
            Some(number) => self.loaded_edition(number)?,
            None => None,
        };
        // A block is as strict as the edition that it was made in, whatever came after.
        let rules_of = |number: u64| self.rules_since(number, catalogue);
        let audited = latest.as_ref().filter(|_| self.protection() == Protection::Audited);
        let before = audited.map(|latest| Before { frozen: &latest.frozen, bases: latest.bases(), rules: &rules_of });
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
            number: self.next_number(latest.as_deref()),
            held: &held,
            agreed: Agreed { correct, waived: &all_waived },
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

    fn next_number(&self, latest: Option<&LoadedEdition>) -> u64 {
        next_number(latest.map(|latest| latest.frozen.header.number), self.not_before)
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
        let mut filled = match self.filled(catalogue, &[], None) {
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

    /// Editions are audited, unless the operator has said that the data is no secret.
    pub(super) fn protection(&self) -> Protection {
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
    pub fn publish(&self, by: &Actor) -> Reply {
        // An edition that was published by what was lost must not get another one of its number.
        if let Some(why) = self.log_standstill(&self.config.member) {
            return failed(
                3,
                "STANDSTILL",
                format!("nothing is published: {why}"),
                "accord status says what is missing",
            );
        }
        // One at a time: two editions must never get one number. What is taken away waits; what is imported meanwhile is not in it.
        let _publishing = match only_one(&self.publishing, &Stopwatch::start()) {
            Ok(publishing) => publishing,
            Err(busy) => return *busy,
        };
        self.publish_inner(by).unwrap_or_else(NotFilled::reply)
    }

    fn publish_inner(&self, by: &Actor) -> Result<Reply, NotFilled> {
        let latest = self.current_number().map(|number| self.loaded_edition(number)).transpose()?.flatten();
        if let Some(latest) = latest.filter(|latest| latest.frozen.header.protection != self.protection()) {
            return Ok(not_continued(latest.frozen.header.number, latest.frozen.header.protection));
        }
        let standing = self.standing();
        let (filled, snapshot) = self.filled(standing.trust().catalogue(), &[], None)?;
        if filled.blocks.is_empty() {
            return Ok(failed(
                3,
                "NO-COVERAGE",
                "no period is declared complete, so there is nothing to publish",
                "declare what is complete: accord coverage set seizure 2011..2016 complete",
            ));
        }
        match self.prepared(&filled, &snapshot, by)? {
            Prepared::Nothing(reply) => Ok(*reply),
            Prepared::Edition { number, batch } => {
                self.store.commit(batch)?;
                Ok(self.published(number, &filled))
            }
        }
    }

    /// Makes an edition of what is filled; nothing is stored yet.
    pub(super) fn prepared(&self, filled: &Filled, snapshot: &Snapshot, by: &Actor) -> Result<Prepared, NotFilled> {
        let standing = self.standing();
        let trust = standing.trust();
        let content = filled.content();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.keys().edition_key);
        let mut salt = [0; 32];
        salt.copy_from_slice(hmac::sign(&key, &content).as_ref());
        let commit = commitment(trust.federation(), &self.config.member, &Hash(salt), &content);
        if let Some(number) = self.withdrawn_as(&commit, filled)? {
            return Ok(Prepared::Nothing(Box::new(withdrawn_before(number))));
        }
        let before = match self.current_number() {
            Some(number) => self.loaded_edition(number)?,
            None => None,
        };
        let catalogue_hash = trust.catalogue().hash;
        if let Some(before) = &before
            && before.frozen.header.commit == commit
            && before.frozen.header.catalogue_hash == catalogue_hash
            && before.frozen.holds_blocks_of(filled)
        {
            let mut reply = self.unchanged(before.frozen.header.number);
            reply.warnings.extend(notices(filled));
            return Ok(Prepared::Nothing(Box::new(reply)));
        }
        let now = clock::now();
        let header = EditionHeader {
            preamble: Preamble,
            number: self.next_number(before.as_deref()),
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
        let bases = before.as_ref().map_or(&[] as &[_], |before| before.bases());
        let published = Happening::new(
            EventKind::Edition,
            by,
            json!({
                "edition": header.number, "commit": header.commit.to_string(), "protection": header.protection.as_str(),
                "rules": rules_json(&self.config.rules), "policy": standing.access.hash().to_string(),
                "record_sequence": snapshot.sequence, "shares": filled.shares,
            }),
        );
        let published = published.about_document(trust.federation(), &document);
        let mut batch = self.keep_edition(document, &header, filled, bases, snapshot.sequence)?;
        self.enter(&mut batch, &published)?;
        Ok(Prepared::Edition { number: header.number, batch })
    }

    /// Answers from an edition that is stored from now on.
    pub(super) fn published(&self, number: u64, filled: &Filled) -> Reply {
        self.records().editions = number;
        tracing::info!(edition = number, "published");
        let mut reply = self.show(Some(number), None, false);
        reply.warnings.extend(notices(filled));
        if let Some(Value::Object(result)) = &mut reply.result {
            result.insert("audit".into(), self.audit_json(filled));
        }
        reply
    }

    // What an edition stores: its frozen blocks, what they were made from, its catalogue.
    fn keep_edition(
        &self,
        document: Document,
        header: &EditionHeader,
        filled: &Filled,
        before: &[Basis],
        sequence: u64,
    ) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        for (kind, year, lines) in &filled.held {
            batch.put_vintage(*kind, *year, header.number, lines);
        }
        // What a longer or newer vintage has taken the place of.
        for old in before {
            let now = filled.bases.iter().find(|now| (now.kind, now.year) == (old.kind, old.year));
            let is_kept =
                |old: &Vintage| now.is_some_and(|now| now.vintages.iter().any(|of| of.edition == old.edition));
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
        Ok(batch)
    }

    // Equal content makes no new number (`wire.md` D11).
    fn unchanged(&self, number: u64) -> Reply {
        let mut reply = self.show(Some(number), None, false);
        let message = "the content equals the current edition's, so no new edition was made";
        reply.warnings.push(notice("UNCHANGED", message));
        reply
    }
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
