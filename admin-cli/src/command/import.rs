//! `accord import`: an operator's files into the own node, and what was imported.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use accord_edge::{files, random};
use accord_protocol::{
    id::{Hash, to_hex},
    message::{Converted, ImportCall, MappingSource, MessageKind, PersonReply, RecordsCall},
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
    sheet::{Digest, Format, Layout, Rows, Table, guess_encoding, sheet_names},
};

/// Largest mapping file.
const MAPPING_MAX: u64 = 1 << 20;
/// Largest mapping that fits an import's head, with its quotes escaped.
const MAPPING_SENT_MAX: usize = 50_000;

/// `accord import`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Import {
    #[command(subcommand)]
    imported: Option<Imported>,
    #[command(flatten)]
    file: ImportFile,
}

/// What was imported.
#[derive(Debug, Subcommand)]
enum Imported {
    /// All imports, oldest first.
    List,
    /// One import with its report.
    Show {
        /// For example imp-000003.
        id: String,
    },
    /// Take an import back: exactly what was there before is there again.
    Undo {
        /// For example imp-000003.
        id: String,
        /// Why; it is kept with the import.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct ImportFile {
    /// The file: CSV, a zip with one CSV in it, or XLSX.
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Kind of record: seizure, purity, price or site.
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
    /// Let rows take the place of records that are there with another content; why, in a few words.
    #[arg(long, value_name = "REASON")]
    correct: Option<String>,
    /// Sheet of a workbook, if not the first (or the one that the mapping names).
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Write the report as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self.imported {
            None => self.file.run(global),
            Some(Imported::List) => {
                let reply = super::status::ask_node(global, MessageKind::Records, &RecordsCall::Imports {})?;
                Ok(Outcome::from_reply(reply, list_text))
            }
            Some(Imported::Show { id }) => {
                let reply = super::status::ask_node(global, MessageKind::Records, &RecordsCall::Import { id })?;
                Ok(Outcome::from_reply(reply, |result| {
                    let report = result.get("report").map(report_text).unwrap_or_default();
                    format!("{}\n{report}", list_text(&json!({ "imports": [result] })))
                }))
            }
            Some(Imported::Undo { id, reason }) => {
                let reply = super::status::ask_node(global, MessageKind::Records, &RecordsCall::Undo { id, reason })?;
                Ok(Outcome::from_reply(reply, |result| {
                    format!(
                        "{} is undone: {} lines removed; what was there before counts again",
                        result.get("import_id").and_then(Value::as_str).unwrap_or(""),
                        number(result, "/lines_removed")
                    )
                }))
            }
        }
    }
}

fn list_text(result: &Value) -> String {
    let text = |row: &Value, path: &str| row.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    let rows: Vec<Vec<String>> = result
        .get("imports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|row| {
            vec![
                text(row, "/import_id"),
                text(row, "/kind"),
                text(row, "/state").replace('_', " "),
                number(row, "/lines"),
                text(row, "/committed_at"),
                text(row, "/file/name"),
                [text(row, "/correction"), text(row, "/undone/reason")]
                    .into_iter()
                    .filter(|reason| !reason.is_empty())
                    .collect::<Vec<_>>()
                    .join("; undone: "),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "nothing was imported yet".to_owned();
    }
    let header = ["import", "kind", "state", "lines", "committed", "file", "reason"].map(str::to_owned);
    table(&header, &rows, &[false, false, false, true])
}

impl ImportFile {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let Some(path) = self.file.clone() else {
            return Err(Failure::usage("FILE", "no file is named", "accord import FILE").into());
        };
        if path.as_os_str() == "-" {
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
        let source = Upload::open(&path, mapping.as_ref(), self.sheet.as_deref(), global)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().chars().take(200).collect();
        let call = ImportCall {
            kind: self.kind.clone(),
            mapping,
            only,
            coverage: self.coverage.clone(),
            dry_run: self.dry_run,
            skip_bad: self.skip_bad,
            file_name: name,
            correct: self.correct.clone(),
            format: source.table.format.as_str().to_owned(),
            sha256: source.sha256.to_string(),
            bytes: source.bytes,
            converted: source.converted(),
            import_key: to_hex(&random::bytes::<16>()?),
        };
        let progress = upload_bar(global, source.bytes);
        let send = || {
            block_on(async {
                let mut client = Client::connect(&profile, global).await?;
                client.progress = progress.clone();
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

fn upload_bar(global: &Global, bytes: u64) -> indicatif::ProgressBar {
    if !global.shows_progress() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(bytes);
    bar.set_style(
        indicatif::ProgressStyle::with_template("{bytes:>10} of {total_bytes} sent")
            .unwrap_or(indicatif::ProgressStyle::default_bar()),
    );
    bar
}

fn mapping_source(name: &str) -> anyhow::Result<MappingSource> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") || name.contains('/') {
        return mapping_text(path).map(MappingSource::Text);
    }
    Ok(MappingSource::Name(name.to_owned()))
}

/// The text of a mapping file.
pub(super) fn mapping_text(path: &Path) -> anyhow::Result<String> {
    let bytes = files::read_limited(path, MAPPING_MAX).map_err(|error| {
        Failure::usage("MAPPING", format!("{:#}", anyhow::Error::new(error)), "check the path of the mapping")
    })?;
    let not_utf8 = |_| Failure::usage("MAPPING", format!("{} is not UTF-8", path.display()), "save it as UTF-8");
    let text = String::from_utf8(bytes).map_err(not_utf8)?;
    if text.len() <= MAPPING_SENT_MAX {
        return Ok(text);
    }
    // Comments are for people; without them a mapping with thousands of words still fits a call.
    let bare = toml::from_str::<toml::Table>(&text).ok().and_then(|table| toml::to_string(&table).ok());
    Ok(bare.filter(|bare| bare.len() <= MAPPING_SENT_MAX).ok_or_else(|| {
        let message = format!("{} is larger than the {MAPPING_SENT_MAX} bytes that a call takes", path.display());
        Failure::usage("MAPPING", message, "move columns with very many words from [fields] to ignore")
    })?)
}

/// What is sent to the node: a CSV file as it stands, or the rows that a workbook or a text in another encoding was turned into.
struct Upload {
    table: Table,
    rows: Option<Rows>,
    sheet: Option<String>,
    sha256: Hash,
    bytes: u64,
}

impl Upload {
    fn open(
        path: &Path,
        mapping: Option<&MappingSource>,
        sheet: Option<&str>,
        global: &Global,
    ) -> anyhow::Result<Self> {
        let table = Table::open(path)?;
        let (mut layout, stated) = match mapping {
            Some(MappingSource::Text(text)) => Layout::of_mapping(text)?,
            Some(MappingSource::Name(_)) | None => (Layout::default(), false),
        };
        if let Some(sheet) = sheet {
            layout.sheet = Some(sheet.to_owned());
        }
        let utf16 = table.is_utf16()?;
        if utf16 && layout.encoding.is_none() {
            layout.encoding = Some(guess_encoding(&table)?.to_owned());
        }
        if stated || utf16 || table.format == Format::Xlsx {
            let spinner = if global.shows_progress() {
                indicatif::ProgressBar::new_spinner().with_message("reading the file")
            } else {
                indicatif::ProgressBar::hidden()
            };
            spinner.enable_steady_tick(std::time::Duration::from_millis(200));
            let rows = table.converted(&layout);
            spinner.finish_and_clear();
            let rows = rows?;
            let sheet = if table.format == Format::Xlsx {
                layout.sheet.clone().or_else(|| sheet_names(&table).ok().and_then(|names| names.into_iter().next()))
            } else {
                None
            };
            return Ok(Self { sha256: rows.sha256, bytes: rows.bytes, rows: Some(rows), sheet, table });
        }
        let mut digest = Digest::default();
        let bytes = io::copy(&mut table.reader()?, &mut digest).map_err(|error| {
            Failure::usage("FILE", format!("cannot read {}: {error}", path.display()), "check the file")
        })?;
        Ok(Self { sha256: digest.finish(), bytes, rows: None, sheet: None, table })
    }

    fn reader(&self) -> anyhow::Result<Box<dyn Read>> {
        match &self.rows {
            Some(rows) => rows.reader(),
            None => self.table.reader(),
        }
    }

    fn converted(&self) -> Option<Converted> {
        let rows = self.rows.as_ref()?;
        Some(Converted { sha256: rows.file_sha256.to_string(), bytes: self.table.bytes, sheet: self.sheet.clone() })
    }
}

pub(super) fn number(value: &Value, path: &str) -> String {
    value.pointer(path).and_then(Value::as_i64).map_or_else(|| "?".to_owned(), grouped)
}

// Rows that are stored now and were not before.
fn changed(report: &Value) -> u64 {
    ["/rows/new", "/rows/corrected"].map(|path| report.pointer(path).and_then(Value::as_u64).unwrap_or(0)).iter().sum()
}

fn report_text(report: &Value) -> String {
    let text = |path: &str| report.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    let committed = report.pointer("/committed").and_then(Value::as_bool).unwrap_or(false);
    let dry = report.pointer("/dry_run").and_then(Value::as_bool).unwrap_or(false);
    let verdict = match (committed, dry) {
        (true, _) if changed(report) == 0 => "nothing new".to_owned(),
        (true, _) => format!("stored as {}", text("/import_id")),
        (false, true) => "dry run: nothing stored".to_owned(),
        (false, false) => "nothing stored".to_owned(),
    };
    let mut out = format!("{} with mapping {}: {verdict}\n", text("/file/name"), text("/mapping/name"));
    out += &format!(
        "  rows      {} read, {} selected: {} new, {} unchanged, {} corrected, {} conflicting, {} bad\n",
        number(report, "/rows/read"),
        number(report, "/rows/selected"),
        number(report, "/rows/new"),
        number(report, "/rows/unchanged"),
        number(report, "/rows/corrected"),
        number(report, "/rows/conflict"),
        number(report, "/rows/skipped")
    );
    out += &format!(
        "  cases     {} distinct, {} exact duplicates{}\n",
        number(report, "/cases/distinct"),
        number(report, "/exact_duplicates"),
        // Only seizures are weighed.
        if text("/kind") == "seizure" {
            format!(", {} rows without a mass", number(report, "/without_mass"))
        } else {
            String::new()
        }
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
