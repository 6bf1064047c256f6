//! Records: imports and coverage.

use std::sync::{Arc, atomic::AtomicBool};

use accord_edge::clock::{self, Stopwatch};
use accord_protocol::{
    catalogue::Kind,
    code,
    edition::CoverageState,
    id::from_hex,
    layout,
    log::EventKind,
    message::{CoverageCall, ImportCall, MappingSource, Where},
    time::Months,
};
use serde_json::json;

use super::{Actor, Happening, NOTE_RULE, Node, Reply, done, failed, store_failed};
use crate::{
    domain::{
        coverage::{Coverage as Declared, ROWS_MAX},
        import::{
            Rule,
            mapping::{Mapping, MappingError, REPORTING_COUNTRY},
            report::{CoverageLine, FileInfo, MappingInfo, Report},
            row::{Only, Reading},
        },
        rates::Rates,
    },
    io::{
        import::{Done, ImportError, Job, Progress, Spool},
        store::{Batch, Declaration, StoreError},
    },
};
use accord_protocol::text::is_note;

/// An import whose head is in order, waiting for its file.
#[derive(Debug)]
pub struct Prepared {
    call: ImportCall,
    kind: Kind,
    mapping: Mapping,
    only: Option<Only>,
    months: Option<Months>,
    key: [u8; 16],
    by: Actor,
}

impl Node {
    /// Checks an import's head before any of the file is taken.
    pub fn prepare_import(&self, call: ImportCall, by: &Actor) -> Result<Prepared, Box<Reply>> {
        let usage = |code: &str, message: String, next: &str| Box::new(failed(2, code, message, next));
        let kind = Kind::from_word(&call.kind).filter(|kind| layout::KINDS.contains(kind)).ok_or_else(|| {
            let kinds: Vec<&str> = layout::KINDS.iter().map(|kind| kind.as_str()).collect();
            let message = format!("`{}` is not a kind of record that can be imported", call.kind.escape_default());
            usage("KIND", message, &format!("use --kind with one of {}", kinds.join(", ")))
        })?;
        if call.bytes > self.config.import_bytes_max {
            let message =
                format!("the file has {} bytes, this node takes at most {}", call.bytes, self.config.import_bytes_max);
            return Err(usage("TOO-LARGE", message, "split the file, or raise limits.import_bytes in node.toml"));
        }
        // Before any of the file is taken: what there is no room for must not use up what answers need.
        self.store.room(call.bytes).map_err(|error| Box::new(store_failed(&error)))?;
        let mapping = match &call.mapping {
            None => Mapping::canonical(kind).ok_or_else(|| MappingError::Unknown(call.kind.clone())),
            Some(MappingSource::Name(name)) => Mapping::shipped(name),
            Some(MappingSource::Text(text)) => Mapping::parse(text),
        };
        let mapping = mapping
            .map_err(|error| usage("MAPPING", error.to_string(), "see accord mapping list and docs/operator.md"))?;
        if mapping.kind != kind {
            let message = format!("mapping {} is for {} records, not for {kind}", mapping.name, mapping.kind);
            return Err(usage(
                "MAPPING",
                message,
                "name the kind that the mapping is for with --kind, or another mapping",
            ));
        }
        if let Some(reason) = &call.correct
            && !is_note(reason)
        {
            return Err(usage("REASON", NOTE_RULE.to_owned(), "for example --correct \"weights from the laboratory\""));
        }
        let only = call.only.clone().map(|(field, code)| Only { field, code });
        if let Some(only) = &only {
            let known = only.field != REPORTING_COUNTRY
                || code::rows("countries-1").iter().any(|row| row.get("code") == Some(&only.code));
            if !known {
                let message = format!("`{}` is not an ISO 3166 alpha-2 code", only.code.escape_default());
                return Err(usage("UNKNOWN-CODE", message, "use --only reporting_country=CC with two capital letters"));
            }
        }
        let months =
            call.coverage.as_deref().map(str::parse::<Months>).transpose().map_err(|error| {
                usage("PERIOD", format!("--coverage: {error}"), "for example --coverage 2011..2016")
            })?;
        if let Some(months) = months
            && !within_bounds(months, clock::now().date().year())
        {
            return Err(usage("PERIOD", UNBOUNDED.to_owned(), "for example --coverage 2011..2016"));
        }
        let key = from_hex(&call.import_key).and_then(|bytes| bytes.try_into().ok());
        let key = key.ok_or_else(|| usage("KEY", "the import key is not 32 hex digits".into(), "update accord"))?;
        Ok(Prepared { call, kind, mapping, only, months, key, by: by.clone() })
    }

    /// Opens a spool for an import's file.
    pub fn spool(&self) -> std::io::Result<Spool> {
        Spool::new(&self.spool, "upload")
    }

    /// The report of an import that was committed under this key already.
    pub fn committed_import(&self, prepared: &Prepared) -> Option<Reply> {
        let entry = self.store.imports().filter_map(Result::ok).find(|entry| entry.key == prepared.key)?;
        let text = self.store.frozen(&entry.report).ok()?;
        serde_json::from_slice(&text).ok().map(done)
    }

    /// Imports a file that lies whole and checked in the spool. Blocks: call it from a blocking task.
    pub fn import(&self, prepared: &Prepared, spool: &mut Spool, cancelled: &AtomicBool, progress: &Progress) -> Reply {
        let watch = Stopwatch::start();
        let now = clock::now();
        let file = match spool.reopen() {
            Ok(file) => file,
            Err(error) => {
                return failed(4, "SPOOL", format!("the spool cannot be read: {error}"), "look at the node's disk");
            }
        };
        if let Err(error) = self.store.room(prepared.call.bytes) {
            return store_failed(&error);
        }
        let (number, index, mut coverage) = {
            let records = self.records();
            (records.imports + 1, Arc::clone(&records.index), records.coverage.clone())
        };
        let declaration = prepared.months.map(|months| Declaration {
            kind: prepared.kind,
            months,
            state: CoverageState::Complete,
            import: number,
        });
        if let Some(declaration) = &declaration {
            coverage.declare(declaration.kind, declaration.months, declaration.state);
        }
        if coverage.rows().len() > ROWS_MAX {
            let message = format!("coverage in more than {ROWS_MAX} pieces is not published");
            return failed(2, "COVERAGE", message, "declare longer runs, then import again");
        }
        let (rates, next_declaration) = match (self.rates_for(prepared.kind), self.next_declaration()) {
            (Ok(rates), Ok(number)) => (rates, number),
            (Err(error), _) | (_, Err(error)) => return store_failed(&error),
        };
        let job = Job {
            store: &self.store,
            index: index.as_ref(),
            mapping: prepared.mapping.clone(),
            reading: Reading {
                country: self.config.member.country().to_owned(),
                only: prepared.only.clone(),
                today: now.date(),
                rates: Arc::new(rates),
            },
            numbered: prepared.call.converted.is_some(),
            correction: prepared.call.correct.clone(),
            dry_run: prepared.call.dry_run,
            skip_bad: prepared.call.skip_bad,
            now,
            number,
            key: prepared.key,
            spool_dir: &self.spool,
            cancelled,
            progress,
        };
        let result = job.run(file, |report, batch: &mut Batch| {
            describe(report, prepared, &coverage, watch);
            if let Some(declaration) = &declaration {
                batch.put_declaration(next_declaration, declaration);
            }
            batch.append(self.entry_of(&imported(EventKind::Import, report, prepared))?);
            Ok(())
        });
        // Nobody else holds it now, so that adding to it copies nothing.
        drop(index);
        self.settle(result, number, coverage, prepared, watch)
    }

    // Takes over what an import has changed, and says what came of it.
    fn settle(
        &self,
        result: Result<Done, ImportError>,
        number: u64,
        coverage: Declared,
        prepared: &Prepared,
        watch: Stopwatch,
    ) -> Reply {
        let mut records = self.records();
        match result {
            Ok(outcome) => {
                let mut report = outcome.report;
                if let Some(added) = outcome.added {
                    Arc::make_mut(&mut records.index).extend(added);
                    records.imports = number;
                    records.coverage = coverage;
                }
                let declared = records.coverage.clone();
                drop(records);
                describe(&mut report, prepared, &declared, watch);
                if !report.committed && !report.dry_run {
                    let refused = imported(EventKind::ImportRefused, &report, prepared);
                    if let Err(error) = self.record(&refused) {
                        return store_failed(&error);
                    }
                }
                import_reply(report, prepared)
            }
            Err(error) => {
                // Blocks that could not be taken away again must never count as another import's.
                if !matches!(error, ImportError::File(_)) {
                    records.imports = number;
                }
                drop(records);
                let detail = json!({
                    "kind": prepared.kind.as_str(), "file": { "name": prepared.call.file_name, "sha256": prepared.call.sha256 },
                    "why": error.to_string(),
                });
                let refused = Happening::new(EventKind::ImportRefused, &prepared.by, detail);
                // It is refused either way; what the operator has to know first is why.
                if let Err(unwritten) = self.record(&refused) {
                    tracing::error!(error = %unwritten, "a refused import cannot be entered in the audit log");
                }
                import_failed(&error, prepared)
            }
        }
    }

    // Only prices need rates: hundreds of thousands of numbers stay on the disk otherwise.
    fn rates_for(&self, kind: Kind) -> Result<Rates, StoreError> {
        match kind {
            Kind::Price => self.store.rates(),
            Kind::Seizure | Kind::Purity | Kind::Site | Kind::Profile => Ok(Rates::default()),
        }
    }

    fn next_declaration(&self) -> Result<u64, StoreError> {
        Ok(self.store.declarations()?.last().map_or(1, |(number, _)| number + 1))
    }

    /// Forgets an import whose task has died: its number is not used again, and its blocks go. Blocks on the store.
    pub fn import_died(&self) {
        let number = {
            let mut records = self.records();
            records.imports += 1;
            records.imports
        };
        if let Err(error) = self.store.abandon_import(number) {
            tracing::warn!(%error, "blocks of an import that died stay until the next start");
        }
    }

    /// Shows or declares coverage.
    pub fn coverage(&self, call: &CoverageCall, by: &Actor) -> Reply {
        match call {
            CoverageCall::Show {} => done(json!({ "coverage": self.coverage_json() })),
            CoverageCall::Set { kind, months, state } => {
                let usage = |message: String| {
                    failed(2, "COVERAGE", message, "for example accord coverage set seizure 2011..2016 complete")
                };
                let Some(kind) = Kind::from_word(kind) else {
                    return usage(format!("`{}` is not a kind of record", kind.escape_default()));
                };
                let Ok(months) = months.parse::<Months>() else {
                    return usage(format!("`{}` is not a range of periods", months.escape_default()));
                };
                if !within_bounds(months, clock::now().date().year()) {
                    return usage(UNBOUNDED.to_owned());
                }
                let Some(state) = CoverageState::from_word(state) else {
                    return usage(format!("`{}` is none of complete, partial, none", state.escape_default()));
                };
                let _alone = match self.alone() {
                    Ok(alone) => alone,
                    Err(busy) => return *busy,
                };
                let mut coverage = self.records().coverage.clone();
                coverage.declare(kind, months, state);
                if coverage.rows().len() > ROWS_MAX {
                    return usage(format!(
                        "coverage in more than {ROWS_MAX} pieces is not published; declare longer runs"
                    ));
                }
                let next = match self.next_declaration() {
                    Ok(number) => number,
                    Err(error) => return store_failed(&error),
                };
                let mut batch = Batch::default();
                batch.put_declaration(next, &Declaration { kind, months, state, import: 0 });
                let (from, to) = months.ends();
                let detail = json!({ "kind": kind.as_str(), "from": from, "to": to, "state": state.as_str() });
                let entered = self.enter(&mut batch, &Happening::new(EventKind::Coverage, by, detail));
                if let Err(error) = entered.and_then(|()| self.store.commit(batch)) {
                    return store_failed(&error);
                }
                self.records().coverage = coverage;
                done(json!({ "coverage": self.coverage_json() }))
            }
        }
    }
}

// A file that was imported, or was not.
fn imported(kind: EventKind, report: &Report, prepared: &Prepared) -> Happening {
    let detail = json!({
        "import": report.import_id, "kind": prepared.kind.as_str(), "file": report.file, "mapping": report.mapping,
        "rows": report.rows, "errors": report.errors_total, "coverage": prepared.call.coverage,
        "correction": prepared.call.correct, "skip_bad": prepared.call.skip_bad,
    });
    Happening::new(kind, &prepared.by, detail)
}

/// What is said of coverage that nobody can mean.
const UNBOUNDED: &str = "coverage is declared for years from 1970 to this one";

/// Whether coverage is for years that data can be of: each one costs the blocks of all tables.
fn within_bounds(months: Months, this_year: u16) -> bool {
    let (from, to) = months.indexes();
    from >= 1970 * 12 && to < (u32::from(this_year) + 1) * 12
}

/// Completes a report by what the caller knows.
fn describe(report: &mut Report, prepared: &Prepared, coverage: &Declared, watch: Stopwatch) {
    let call = &prepared.call;
    report.kind.clone_from(&call.kind);
    report.file = FileInfo {
        name: call.file_name.clone(),
        sha256: call.converted.as_ref().map_or_else(|| call.sha256.clone(), |file| file.sha256.clone()),
        bytes: call.converted.as_ref().map_or(call.bytes, |file| file.bytes),
        format: call.format.clone(),
        sheet: call.converted.as_ref().and_then(|file| file.sheet.clone()),
    };
    let mapping = &prepared.mapping;
    report.mapping =
        MappingInfo { name: mapping.name.clone(), version: mapping.version, sha256: mapping.sha256.to_string() };
    report.coverage.with_it.clone_from(&call.coverage);
    report.coverage.declared = coverage
        .rows()
        .iter()
        .map(|row| {
            let (from, to) = row.months.ends();
            CoverageLine { kind: row.kind.to_string(), from, to, state: row.state.to_string() }
        })
        .collect();
    report.elapsed_ms = watch.ms();
    if report.import_id.is_empty() {
        report.import_id = "none".into();
    }
}

fn import_reply(report: Report, prepared: &Prepared) -> Reply {
    let bad = report.errors_total;
    let committed = report.committed;
    let dry_run = report.dry_run;
    let conflicts = report.rows.conflict;
    let first = report.errors.first().cloned();
    let one_case = report.cases.one_per_row;
    let acceptable = conflicts == 0 && (bad == 0 || prepared.call.skip_bad);
    let mut reply = done(serde_json::to_value(report).unwrap_or_default());
    if one_case {
        reply.warnings.push(super::notice(
            "ONE-CASE-PER-RECORD",
            "the file has no case number: each record counts as a case of its own, and rows equal in every field as one",
        ));
    }
    if acceptable {
        reply.exit = u8::from(bad > 0);
        return reply;
    }
    reply.exit = 3;
    if let Some(first) = first {
        let kept = if committed || dry_run { "" } else { "; nothing was stored" };
        let next = if [Rule::Currency.as_str(), Rule::Rate.as_str()].contains(&first.rule.as_str()) {
            "bring in the rates that are missing (accord rates import), or correct the file"
        } else if conflicts > 0 && prepared.call.correct.is_none() {
            "a record that is there already changes only with --correct REASON; otherwise correct the file"
        } else if conflicts > 0 {
            "correct the file"
        } else {
            "correct the file, or leave the bad rows out with --skip-bad"
        };
        reply.error = Some(accord_protocol::message::Fault {
            code: first.rule,
            message: format!("{bad} of the rows are bad{kept}; the first: row {}: {}", first.row, first.message),
            place: Where {
                file: Some(prepared.call.file_name.clone()),
                line: Some(first.line),
                column: Some(first.column),
                ..Where::default()
            },
            next: Some(next.to_owned()),
        });
    }
    reply
}

fn import_failed(error: &ImportError, prepared: &Prepared) -> Reply {
    match error {
        ImportError::Store(error) => store_failed(error),
        ImportError::Cancelled => failed(4, "INTERRUPTED", error.to_string(), "import the file again"),
        ImportError::Spool(source) if source.kind() == std::io::ErrorKind::StorageFull => failed(
            4,
            "DISK-FULL",
            "the node's disk is full; nothing was stored",
            "free space on the node's disk, then import again",
        ),
        ImportError::Spool(source) => {
            failed(4, "SPOOL", format!("the spool cannot be used: {source}"), "look at the node's disk")
        }
        ImportError::File(fault) => {
            let mut reply =
                failed(3, fault.rule.as_str(), format!("{}; nothing was stored", fault.message), file_hint(fault.rule));
            if let Some(error) = &mut reply.error {
                error.place = Where {
                    file: Some(prepared.call.file_name.clone()),
                    line: Some(1),
                    column: fault.column.clone(),
                    ..Where::default()
                };
            }
            reply
        }
    }
}

fn file_hint(rule: Rule) -> &'static str {
    match rule {
        Rule::ColumnMissing | Rule::ColumnUnknown => {
            "see docs/layout for the canonical columns of each kind, name a mapping with --mapping, or make one: accord mapping new FILE"
        }
        Rule::Encoding => "save the file as UTF-8",
        Rule::Quote => "close the quote, or double it inside a quoted field",
        Rule::Personal => "remove the column: Accord takes no personal data",
        Rule::Empty
        | Rule::ColumnDuplicate
        | Rule::RowSize
        | Rule::Required
        | Rule::Id
        | Rule::Case
        | Rule::Date
        | Rule::DateFuture
        | Rule::Number
        | Rule::Range
        | Rule::Unit
        | Rule::Code
        | Rule::Place
        | Rule::Country
        | Rule::Currency
        | Rule::Rate
        | Rule::Conflict
        | Rule::FileChanged => "correct the file, then import again",
    }
}
