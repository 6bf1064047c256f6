//! Imports: a spool for the file as it arrives, rows split off it, records packed into blocks, one commit.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use accord_edge::{
    files,
    rows::{NotARow, RowSplitter, Split},
};
use accord_protocol::{id::Hash, time::UnixMs};

use crate::{
    domain::import::{
        RowFault, Rule,
        index::Index,
        mapping::Mapping,
        report::Report,
        row::{FileFault, Reading, RowReader},
        staging::{Changed, Outcome, Staged, Staging},
    },
    io::store::{Batch, ImportEntry, Packer, Store, StoreError},
};

/// Blocks written in one commit.
const BLOCKS_PER_COMMIT: usize = 2_000;

/// Why an import stops.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file as a whole is not usable.
    #[error("{}", .0.message)]
    File(FileFault),
    /// The spool.
    #[error("the spool cannot be used")]
    Spool(#[source] io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever asked for it has gone.
    #[error("the import was interrupted before it was committed; nothing was stored")]
    Cancelled,
}

impl ImportError {
    fn rule(rule: Rule, message: impl Into<String>) -> Self {
        Self::File(FileFault { rule, column: None, message: message.into() })
    }
}

/// A file in the spool: for its owner alone, removed with this value.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Spool {
    /// Opens a new spool file in a folder.
    pub fn new(dir: &Path, name: &str) -> io::Result<Self> {
        files::make_dir(dir).map_err(|error| io::Error::other(error.to_string()))?;
        let path = dir.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Self { path, file: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// The file for somebody who writes it by themselves.
    pub fn writer(&mut self) -> io::Result<File> {
        self.file.flush()?;
        self.file.get_ref().try_clone()
    }

    /// Ends writing and opens the file for reading.
    pub fn reopen(&mut self) -> io::Result<File> {
        self.file.flush()?;
        File::open(&self.path)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What stays behind after a crash is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Empties the spool folder: whatever lies there at a start was never acknowledged.
pub fn empty_spool(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        if let Err(error) = fs::remove_file(entry.path()) {
            tracing::warn!(%error, "a left-over spool file cannot be removed");
        }
    }
}

/// How a file is imported.
#[derive(Debug)]
pub struct Job<'a> {
    /// The store.
    pub store: &'a Store,
    /// Digests of what it holds.
    pub index: &'a Index,
    /// The mapping.
    pub mapping: Mapping,
    /// Whose file it is, and when.
    pub reading: Reading,
    /// Whether each row begins with the line where it stands in the operator's file.
    pub numbered: bool,
    /// Why it may take the place of what is there, if it may.
    pub correction: Option<String>,
    /// Check and report, store nothing.
    pub dry_run: bool,
    /// Leave bad rows out instead of refusing the file.
    pub skip_bad: bool,
    /// Node time.
    pub now: UnixMs,
    /// Number of this import.
    pub number: u64,
    /// Random, from the tool.
    pub key: [u8; 16],
    /// Where packed blocks wait until every row is known to be good.
    pub spool_dir: &'a Path,
    /// Set when whoever asked for the import has gone: then it is not committed.
    pub cancelled: &'a AtomicBool,
    /// How far it is, for whoever waits.
    pub progress: &'a Progress,
}

/// How far an import is.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// As it travels to the operator's tool: rows read so far, and bytes of how many.
    pub fn message(&self, of: u64) -> String {
        let (rows, bytes) = (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        serde_json::json!({ "rows": rows, "bytes": bytes.min(of), "of": of }).to_string()
    }
}

/// Counts what is read off a file.
struct Counted<'a, R> {
    input: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(output)?;
        self.progress.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// The report, without file, mapping and coverage, which the caller knows.
    pub report: Report,
    /// Digests of what was stored; absent if nothing was.
    pub added: Option<Index>,
}

impl Job<'_> {
    /// Reads all rows, then stores all or none. `finish` completes the report and adds to the last batch.
    pub fn run(
        &self,
        file: File,
        finish: impl FnOnce(&mut Report, &mut Batch) -> Result<(), StoreError>,
    ) -> Result<Done, ImportError> {
        let mut blocks = Spool::new(self.spool_dir, "blocks").map_err(ImportError::Spool)?;
        let Staged { mut report, added, rests_on } = self.read_rows(file, &mut blocks)?;
        report.rests_on = rests_on.into_iter().map(import_id).collect();
        let good = report.errors_total == 0 || self.skip_bad;
        let conflict_free = report.rows.conflict == 0;
        report.committed = !self.dry_run && good && conflict_free;
        report.dry_run = self.dry_run;
        if !report.committed {
            report.sequence = self.store.sequence();
            return Ok(Done { report, added: None });
        }
        let stored = self.store_blocks(blocks.reopen().map_err(ImportError::Spool)?, &mut report, finish);
        if let Err(error) = stored {
            if let Err(cleanup) = self.store.abandon_import(self.number) {
                tracing::warn!(%cleanup, "blocks of a failed import stay until the next start");
            }
            return Err(error);
        }
        Ok(Done { report, added: Some(added) })
    }

    fn read_rows(&self, file: File, blocks: &mut Spool) -> Result<Staged, ImportError> {
        let mut splitter = RowSplitter::new(
            BufReader::with_capacity(1 << 18, Counted { input: file, progress: self.progress }),
            self.delimiter(),
        );
        let header = match splitter.next_row().map_err(ImportError::Spool)? {
            Split::End => return Err(ImportError::rule(Rule::Empty, "the file is empty")),
            Split::Fault { why, message, .. } => return Err(ImportError::rule(rule_of(why), message)),
            Split::Row { fields, .. } => fields.iter().map(ToString::to_string).collect::<Vec<_>>(),
        };
        let header: Vec<&str> = header.iter().skip(usize::from(self.numbered)).map(String::as_str).collect();
        let reader = RowReader::new(self.mapping.clone(), &header, self.reading.clone()).map_err(ImportError::File)?;
        let changed = if self.correction.is_some() { Changed::Corrects } else { Changed::Conflicts };
        let mut staging = Staging::new(&reader, self.index, changed, self.number);
        let mut packer = Packer::default();
        let mut any = false;
        loop {
            // Reading a large file takes minutes; whoever has gone should not keep the one place for imports.
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(ImportError::Cancelled);
            }
            self.progress.rows.fetch_add(1, Ordering::Relaxed);
            match splitter.next_row().map_err(ImportError::Spool)? {
                Split::End => break,
                // Nothing after an open quote or an endless record can be trusted to be a row.
                Split::Fault { why: why @ (NotARow::Quote | NotARow::Size), message, line } if self.skip_bad => {
                    return Err(ImportError::rule(rule_of(why), format!("line {line}: {message}")));
                }
                Split::Fault { why, message, line } => {
                    any = true;
                    let fault = RowFault { rule: rule_of(why), column: String::new(), message, word: None };
                    staging.broken(&fault, line);
                    if why != NotARow::Encoding {
                        break;
                    }
                }
                Split::Row { fields, line } => {
                    any = true;
                    let (line, fields) = self.numbered(&fields, line);
                    if let Outcome::Store(record) = staging.row(fields, line)
                        && let Some(block) = packer.push(*record)
                    {
                        write_block(blocks, &block)?;
                    }
                }
            }
        }
        if !any {
            return Err(ImportError::rule(Rule::Empty, "the file has a header and no rows"));
        }
        if let Some(block) = packer.finish() {
            write_block(blocks, &block)?;
        }
        Ok(staging.finish())
    }

    // The tool writes commas, whatever the operator's file has.
    const fn delimiter(&self) -> u8 {
        if self.numbered { b',' } else { self.mapping.delimiter }
    }

    // The line where a row stands in the operator's file, and its own fields.
    fn numbered<'r, 'f>(&self, fields: &'r [&'f str], line: u64) -> (u64, &'r [&'f str]) {
        match fields.split_first() {
            Some((first, rest)) if self.numbered => (first.parse().unwrap_or(line), rest),
            _ => (line, fields),
        }
    }

    fn store_blocks(
        &self,
        file: File,
        report: &mut Report,
        finish: impl FnOnce(&mut Report, &mut Batch) -> Result<(), StoreError>,
    ) -> Result<(), ImportError> {
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut batch = Batch::default();
        let mut number = 0u32;
        let mut in_batch = 0;
        while let Some(block) = read_block(&mut reader).map_err(ImportError::Spool)? {
            batch.put_block(self.number, number, &block);
            number += 1;
            in_batch += 1;
            if in_batch == BLOCKS_PER_COMMIT {
                // Blocks do not count before their import does: the last batch makes all of them visible at once.
                self.store.commit(std::mem::take(&mut batch))?;
                in_batch = 0;
            }
        }
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(ImportError::Cancelled);
        }
        report.import_id = import_id(self.number);
        finish(report, &mut batch)?;
        report.sequence = self.store.sequence() + 1;
        let text = serde_json::to_vec(report).unwrap_or_default();
        let report_hash: Hash = batch.put_frozen(&text);
        batch.put_import(&ImportEntry {
            number: self.number,
            key: self.key,
            committed_at: self.now,
            kind: self.mapping.kind,
            lines: report.rows.new + report.rows.corrected,
            report: report_hash,
            correction: self.correction.clone(),
            undone: None,
        });
        report.sequence = self.store.commit(batch)?;
        Ok(())
    }
}

const fn rule_of(why: NotARow) -> Rule {
    match why {
        NotARow::Encoding => Rule::Encoding,
        NotARow::Quote => Rule::Quote,
        NotARow::Size => Rule::RowSize,
    }
}

/// The name of an import for people.
pub fn import_id(number: u64) -> String {
    format!("imp-{number:06}")
}

/// The number of an import by its name.
pub fn import_number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("imp-")?;
    let fits = (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

fn write_block(spool: &mut Spool, block: &[u8]) -> Result<(), ImportError> {
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes();
    spool.write(&length).and_then(|()| spool.write(block)).map_err(ImportError::Spool)
}

fn read_block(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut block = vec![0; u32::from_be_bytes(length) as usize];
    reader.read_exact(&mut block)?;
    Ok(Some(block))
}
