//! `accord mapping`: the mappings that ship, a proposal for a new file, what is left to decide.

use std::path::{Path, PathBuf};

use accord_edge::files;
use accord_protocol::{
    catalogue::Kind,
    layout,
    message::{MappingCall, MessageKind},
    text::fold_word,
};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Global, import::mapping_text, status::ask_node};
use crate::{
    ask::export::check_target,
    mapping::{Survey, survey, write},
    output::{Failure, Outcome, table},
    sheet::{Layout, Table},
};

/// `accord mapping`
#[derive(Debug, Subcommand)]
pub(crate) enum MappingCommand {
    /// The mappings that the own node has.
    List,
    /// Look at a CSV or XLSX file and write a mapping for it, with every column and every word of its codes.
    New {
        /// The file.
        file: PathBuf,
        /// Kind of record: seizure, purity, price or site.
        #[arg(long, default_value = "seizure")]
        kind: String,
        /// Where to write it. Default: the file's name with .toml.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Sheet of a workbook. Default: the first one.
        #[arg(long, value_name = "NAME")]
        sheet: Option<String>,
        /// Physical row of the header, from 1. Default: found.
        #[arg(long, value_name = "N")]
        header_row: Option<u64>,
        /// Replace the file if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Say what is left to decide in a mapping, and whether a file can be imported with it.
    Check {
        /// The mapping.
        file: PathBuf,
    },
}

impl MappingCommand {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::List => Self::list(global),
            Self::New { file, kind, out, sheet, header_row, force } => {
                new(&file, &kind, out, sheet.as_deref(), header_row, force)
            }
            Self::Check { file } => check(global, &file),
        }
    }

    fn list(global: &Global) -> anyhow::Result<Outcome> {
        let reply = ask_node(global, MessageKind::Mapping, &MappingCall::List {})?;
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

fn new(
    file: &Path,
    kind: &str,
    out: Option<PathBuf>,
    sheet: Option<&str>,
    header_row: Option<u64>,
    force: bool,
) -> anyhow::Result<Outcome> {
    let kind = Kind::from_word(kind).filter(|kind| layout::KINDS.contains(kind)).ok_or_else(|| {
        let kinds: Vec<&str> = layout::KINDS.iter().map(|kind| kind.as_str()).collect();
        let message = format!("`{}` is not a kind of record that can be imported", kind.escape_default());
        Failure::usage("KIND", message, format!("use --kind with one of {}", kinds.join(", ")))
    })?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = fold_word(&stem).replace(' ', "-").chars().filter(char::is_ascii).take(40).collect();
    let name = if name.is_empty() { "mapping".to_owned() } else { name };
    let out = out.unwrap_or_else(|| file.with_extension("toml"));
    check_target("--out", &out, force)?;
    let survey: Survey = survey(&Table::open(file)?, sheet, header_row)?;
    let shown = file.file_name().unwrap_or_default().to_string_lossy();
    let proposal = write(&survey, kind, &name, &shown);
    files::write_atomically(&out, proposal.text.as_bytes())?;
    let result = json!({
        "mapping": out.display().to_string(), "name": name, "kind": kind.as_str(),
        "file": { "format": survey.format.as_str(), "encoding": survey.layout.encoding, "sheet": survey.layout.sheet, "header_row": survey.layout.header_row },
        "rows": survey.rows, "columns": survey.columns.len(), "fields": proposal.fields,
        "not_understood": proposal.unused, "words_known": proposal.words_known, "open": proposal.open,
    });
    let mut text = format!(
        "{}: {} rows, {} columns\n  understood      {}\n  words known     {}\n  left to decide  {}\n",
        out.display(),
        survey.rows,
        survey.columns.len(),
        proposal.fields.join(", "),
        proposal.words_known,
        proposal.open
    );
    if !proposal.unused.is_empty() {
        text += &format!(
            "  not understood  {}\n",
            proposal.unused.iter().map(|name| shown_name(name)).collect::<Vec<_>>().join(", ")
        );
    }
    text += &format!("next: edit {0}, then accord mapping check {0}\n", out.display());
    Ok(Outcome::done(result, text))
}

fn shown_name(name: &str) -> String {
    accord_protocol::text::shown(name)
}

fn check(global: &Global, file: &Path) -> anyhow::Result<Outcome> {
    let text = mapping_text(file)?;
    // What the tool itself reads of it.
    Layout::of_mapping(&text)?;
    let reply = ask_node(global, MessageKind::Mapping, &MappingCall::Check { text })?;
    let mut outcome = Outcome::from_reply(reply, |result| {
        let name = result.get("name").and_then(Value::as_str).unwrap_or("");
        let kind = result.get("kind").and_then(Value::as_str).unwrap_or("");
        format!("{} is complete: mapping {name} for {kind} records", file.display())
    });
    let open = outcome.result.as_ref().and_then(|result| result.get("open")).and_then(Value::as_array);
    let rows: Vec<Vec<String>> = open
        .into_iter()
        .flatten()
        .map(|point| {
            ["section", "entry"].map(|field| point.get(field).and_then(Value::as_str).unwrap_or("").to_owned()).to_vec()
        })
        .collect();
    if !rows.is_empty() {
        outcome.text = table(&["section", "still open"].map(str::to_owned), &rows, &[]);
    }
    Ok(outcome)
}
