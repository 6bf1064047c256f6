//! `accord import`, `mapping`, `coverage`: an operator's files into the own node.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use accord_edge::{files, random};
use accord_protocol::{
    id::{Hash, to_hex},
    message::{CoverageCall, ImportCall, MappingSource, MessageKind, PersonReply},
};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Global;
use crate::{
    ask::export::check_target,
    client::{Client, FileSource, block_on},
    output::{Failure, Outcome, grouped, table},
    profile::Profile,
};

/// Largest mapping file that fits an import's head.
const MAPPING_MAX: u64 = 60_000;

/// `accord import`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file: CSV, or a zip with one CSV in it.
    file: PathBuf,
    /// Kind of record.
    #[arg(long, default_value = "seizure")]
    kind: String,
    /// A mapping's name (`accord mapping list`) or file; without it the canonical layout.
    #[arg(long)]
    mapping: Option<String>,
    /// Only rows whose field has this code, for example reporting_country=ES.
    #[arg(long, value_name = "FIELD=CODE")]
    only: Option<String>,
    /// Declare these periods complete together with the import.
    #[arg(long, value_name = "FROM..TO")]
    coverage: Option<String>,
    /// Check and report, store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave bad rows out instead of refusing the file.
    #[arg(long)]
    skip_bad: bool,
    /// Write the report as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        if self.file.as_os_str() == "-" {
            return Err(Failure::usage(
                "FILE",
                "standard input is not imported",
                "give a file, so that it can be read again",
            )
            .into());
        }
        if let Some(report) = &self.report {
            check_target("--report", report, false)?;
        }
        let profile = Profile::open(global)?;
        let only = self
            .only
            .as_deref()
            .map(|text| {
                text.split_once('=').map(|(field, code)| (field.to_owned(), code.to_owned())).ok_or_else(|| {
                    Failure::usage(
                        "ONLY",
                        format!("--only `{text}` is not FIELD=CODE"),
                        "for example --only reporting_country=ES",
                    )
                })
            })
            .transpose()?;
        let mapping = self.mapping.as_deref().map(mapping_source).transpose()?;
        let source = CsvFile::open(&self.file)?;
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().chars().take(200).collect();
        let call = ImportCall {
            kind: self.kind.clone(),
            mapping,
            only,
            coverage: self.coverage.clone(),
            dry_run: self.dry_run,
            skip_bad: self.skip_bad,
            file_name: name,
            format: source.format.to_owned(),
            sha256: source.sha256.to_string(),
            bytes: source.bytes,
            import_key: to_hex(&random::bytes::<16>()?),
        };
        let progress = if global.shows_progress() {
            let bar = indicatif::ProgressBar::new(source.bytes);
            bar.set_style(
                indicatif::ProgressStyle::with_template("{bytes:>10} of {total_bytes} sent")
                    .unwrap_or(indicatif::ProgressStyle::default_bar()),
            );
            bar
        } else {
            indicatif::ProgressBar::hidden()
        };
        let send = || {
            block_on(async {
                let client = Client::connect(&profile, global).await?;
                let body = FileSource::new(source.reader()?, progress.clone());
                let reply: PersonReply<Value> = client.call_with(MessageKind::Import, &call, body).await?;
                let warnings = client.warnings.clone();
                client.close().await;
                Ok((reply, warnings))
            })
        };
        // A connection that breaks leaves open whether the import was committed. The same call again settles it: the node knows
        // the import key and returns the stored report, or imports now.
        let (reply, warnings) = match send() {
            Err(error) if error.downcast_ref::<Failure>().is_none() => {
                progress.reset();
                send()?
            }
            first => first?,
        };
        progress.finish_and_clear();
        if let (Some(path), Some(result)) = (&self.report, &reply.result) {
            files::write_atomically(path, serde_json::to_string_pretty(result)?.as_bytes()).with_context(|| {
                format!("{} rows are stored, but the report could not be written", number(result, "/rows/new"))
            })?;
        }
        let mut outcome = Outcome::from_reply(reply, report_text);
        outcome.warnings.extend(warnings);
        Ok(outcome)
    }
}

fn mapping_source(name: &str) -> anyhow::Result<MappingSource> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") || name.contains('/') {
        let bytes = files::read_limited(path, MAPPING_MAX).map_err(|error| {
            Failure::usage("MAPPING", format!("{:#}", anyhow::Error::new(error)), "check the path of --mapping")
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::usage("MAPPING", format!("{name} is not UTF-8"), "save it as UTF-8"))?;
        return Ok(MappingSource::Text(text));
    }
    Ok(MappingSource::Name(name.to_owned()))
}

/// A CSV file, or the one inside a zip: unpacked here, never in the node, which holds the keys.
struct CsvFile {
    path: PathBuf,
    in_zip: bool,
    format: &'static str,
    sha256: Hash,
    bytes: u64,
}

impl CsvFile {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let usage = |message: String| {
            Failure::usage("FILE", message, "give a regular file: CSV, or a zip with one CSV in it")
                .in_file(path.display().to_string())
        };
        let metadata =
            std::fs::metadata(path).map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?;
        if !metadata.is_file() {
            return Err(usage(format!("{} is not a regular file", path.display())).into());
        }
        let mut magic = [0; 4];
        let in_zip = File::open(path).and_then(|mut file| file.read(&mut magic)).is_ok_and(|read| read == 4)
            && magic == *b"PK\x03\x04";
        let mut file = Self { path: path.to_owned(), in_zip, format: "csv", sha256: Hash::ZERO, bytes: 0 };
        let mut reader = file.reader()?;
        let mut digest = Digest::default();
        file.bytes = io::copy(&mut reader, &mut digest)
            .map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?;
        file.sha256 = digest.finish();
        Ok(file)
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Read>> {
        let file = File::open(&self.path).map_err(|error| {
            Failure::usage("FILE", format!("cannot read {}: {error}", self.path.display()), "check the path")
        })?;
        if !self.in_zip {
            return Ok(Box::new(io::BufReader::with_capacity(1 << 18, file)));
        }
        let bad = |message: String| {
            Failure::refused("ZIP", message, "unpack it and import the CSV").in_file(self.path.display().to_string())
        };
        let mut archive = zip::ZipArchive::new(file).map_err(|error| bad(format!("not a readable zip: {error}")))?;
        let names: Vec<usize> = (0..archive.len())
            .filter(|index| {
                archive
                    .by_index(*index)
                    .is_ok_and(|member| member.name().is_ok_and(|name| name.to_ascii_lowercase().ends_with(".csv")))
            })
            .collect();
        let [index] = names.as_slice() else {
            return Err(bad(format!("the zip holds {} CSV files instead of one", names.len())).into());
        };
        // A zip member cannot be read without its archive: unpacked into memory, bounded by what a node takes at most.
        let mut member = archive.by_index(*index).map_err(|error| bad(error.to_string()))?;
        let mut bytes = Vec::new();
        (&mut member).take((4 << 30) + 1).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

/// SHA-256 as a writer.
struct Digest(ring::digest::Context);

impl Default for Digest {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl io::Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Digest {
    fn finish(self) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        Hash(hash)
    }
}

fn number(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_i64).map_or_else(|| "?".to_owned(), grouped)
}

fn report_text(report: &Value) -> String {
    let text = |path: &str| report.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    let committed = report.pointer("/committed").and_then(Value::as_bool).unwrap_or(false);
    let dry = report.pointer("/dry_run").and_then(Value::as_bool).unwrap_or(false);
    let verdict = match (committed, dry) {
        (true, _) if report.pointer("/rows/new").and_then(Value::as_u64) == Some(0) => "nothing new".to_owned(),
        (true, _) => format!("stored as {}", text("/import_id")),
        (false, true) => "dry run: nothing stored".to_owned(),
        (false, false) => "nothing stored".to_owned(),
    };
    let mut out = format!("{} with mapping {}: {verdict}\n", text("/file/name"), text("/mapping/name"));
    out += &format!(
        "  rows      {} read, {} selected: {} new, {} unchanged, {} conflicting, {} bad\n",
        number(report, "/rows/read"),
        number(report, "/rows/selected"),
        number(report, "/rows/new"),
        number(report, "/rows/unchanged"),
        number(report, "/rows/conflict"),
        number(report, "/rows/skipped")
    );
    out += &format!(
        "  cases     {} distinct, {} exact duplicates, {} rows without a mass\n",
        number(report, "/cases/distinct"),
        number(report, "/exact_duplicates"),
        number(report, "/without_mass")
    );
    out += &format!(
        "  places    {} by code, {} by name, {} by alias, {} region unknown\n",
        number(report, "/place/code"),
        number(report, "/place/name"),
        number(report, "/place/alias"),
        number(report, "/place/region_unknown")
    );
    out += &format!("  seen      {} to {}\n", text("/coverage/seen_from"), text("/coverage/seen_to"));
    let lines = |path: &str, show: &dyn Fn(&Value) -> Vec<String>, header: [&str; 3], out: &mut String| {
        let rows: Vec<Vec<String>> =
            report.pointer(path).and_then(Value::as_array).into_iter().flatten().take(20).map(show).collect();
        if !rows.is_empty() {
            *out += &format!("\n{}", table(&header.map(str::to_owned), &rows, &[false, false, true]));
        }
    };
    let field = |row: &Value, name: &str| {
        row.get(name).map_or(String::new(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    lines(
        "/skipped",
        &|row| vec![field(row, "rule"), field(row, "column"), field(row, "count")],
        ["rule", "column", "rows"],
        &mut out,
    );
    lines(
        "/unknown_words",
        &|row| vec![field(row, "column"), field(row, "word"), field(row, "count")],
        ["column", "unknown word", "rows"],
        &mut out,
    );
    lines(
        "/errors",
        &|row| {
            vec![
                format!("line {}", field(row, "line")),
                format!("{} {}", field(row, "rule"), field(row, "column")),
                field(row, "message"),
            ]
        },
        ["where", "what", "why"],
        &mut out,
    );
    out
}

/// `accord mapping`
#[derive(Debug, Subcommand)]
pub(crate) enum MappingCommand {
    /// The mappings that the own node has.
    List,
}

impl MappingCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let Self::List = self;
        let reply = super::status::ask_node(global, MessageKind::Status, &json!({}))?;
        let mut outcome = Outcome::from_reply(reply, |_| String::new());
        let mappings = outcome.result.as_ref().and_then(|result| result.get("mappings")).cloned().unwrap_or_default();
        let rows: Vec<Vec<String>> = mappings
            .as_array()
            .into_iter()
            .flatten()
            .map(|mapping| {
                ["name", "kind", "acknowledgement"]
                    .map(|field| mapping.get(field).and_then(Value::as_str).unwrap_or("").to_owned())
                    .to_vec()
            })
            .collect();
        outcome.text = table(&["mapping", "kind", "whose data"].map(str::to_owned), &rows, &[]);
        outcome.result = Some(json!({ "mappings": mappings }));
        Ok(outcome)
    }
}

/// `accord coverage`
#[derive(Debug, Subcommand)]
pub(crate) enum Coverage {
    /// What is declared.
    Show,
    /// Declare a run of periods of a kind of record.
    Set {
        /// Kind of record.
        kind: String,
        /// For example 2011..2016 or 2011-01..2016-06.
        #[arg(value_name = "FROM..TO")]
        periods: String,
        /// complete, partial or none.
        state: String,
    },
}

impl Coverage {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let call = match self {
            Self::Show => CoverageCall::Show,
            Self::Set { kind, periods, state } => CoverageCall::Set { kind, months: periods, state },
        };
        let reply = super::status::ask_node(global, MessageKind::Coverage, &call)?;
        Ok(Outcome::from_reply(reply, |result| {
            let rows: Vec<Vec<String>> = result
                .get("coverage")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|row| {
                    ["kind", "from", "to", "state"]
                        .map(|field| row.get(field).and_then(Value::as_str).unwrap_or("").to_owned())
                        .to_vec()
                })
                .collect();
            if rows.is_empty() {
                "nothing is declared: every cell is not available".to_owned()
            } else {
                table(&["kind", "from", "to", "state"].map(str::to_owned), &rows, &[])
            }
        }))
    }
}
