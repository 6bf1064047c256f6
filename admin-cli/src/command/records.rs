//! `accord case`, `compact`, `rates`: the way back for a case, the store's files, euro reference rates.

use std::{io::IsTerminal, path::PathBuf};

use accord_edge::files;
use accord_protocol::message::{MessageKind, PersonReply, RATES_BYTES_MAX, RatesCall, RecordsCall};
use clap::Subcommand;
use serde_json::Value;

use super::{
    Global,
    import::number,
    status::{ask_node, send_to_node},
};
use crate::output::{Failure, Outcome};

/// `accord case`
#[derive(Debug, Subcommand)]
pub(crate) enum Case {
    /// How many records a case has, where they came from, and which editions rest on them.
    Show {
        /// The case id of the file, in any spelling.
        case: String,
    },
    /// Erase every record of a case.
    Erase {
        /// The case id of the file, in any spelling.
        case: String,
        /// On whose authority, for example an order's number; it is kept.
        #[arg(long, value_name = "REF")]
        authority: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl Case {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Show { case } => {
                let reply = ask_node(global, MessageKind::Records, &RecordsCall::Case { case })?;
                Ok(Outcome::from_reply(reply, |result| case_text(result, "the case has")))
            }
            Self::Erase { case, authority, yes } => {
                if !yes {
                    confirm(global, &case)?;
                }
                let reply = ask_node(global, MessageKind::Records, &RecordsCall::Erase { case, authority })?;
                Ok(Outcome::from_reply(reply, |result| case_text(result, "erased:")))
            }
        }
    }
}

// Erasing cannot be undone, so a person confirms it, or the command says --yes.
fn confirm(global: &Global, case: &str) -> anyhow::Result<()> {
    let unconfirmed = |message: &str| Failure::usage("CONFIRM", message, "repeat it with --yes");
    if global.json || !std::io::stdin().is_terminal() {
        return Err(unconfirmed("erasing a case cannot be undone and has to be confirmed").into());
    }
    let found = ask_node(global, MessageKind::Records, &RecordsCall::Case { case: case.to_owned() })?;
    let text = found.result.as_ref().map(|result| case_text(result, "the case has")).unwrap_or_default();
    eprint!("{text}\nErase them? This cannot be undone. Type yes: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(unconfirmed("not confirmed; nothing was changed").into()) }
}

fn case_text(result: &Value, verb: &str) -> String {
    let list = |field: &str| -> Vec<String> {
        let items = result.get(field).and_then(Value::as_array).into_iter().flatten();
        items.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
    };
    let kinds: Vec<String> = result
        .get("kinds")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let or_none = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    format!(
        "{verb} {} records in {} lines ({})\n  from imports  {}\n  editions that rest on them  {}",
        number(result, "/records"),
        number(result, "/lines"),
        or_none(kinds),
        or_none(list("imports")),
        or_none(list("editions")),
    )
}

/// `accord compact`
pub(crate) fn compact(global: &Global) -> anyhow::Result<Outcome> {
    let reply = ask_node(global, MessageKind::Records, &RecordsCall::Compact {})?;
    Ok(Outcome::from_reply(reply, |result| {
        format!(
            "compacted: {} bytes before, {} after; what was deleted is gone from the node's files",
            number(result, "/bytes_before"),
            number(result, "/bytes_after")
        )
    }))
}

/// `accord rates`
#[derive(Debug, Subcommand)]
pub(crate) enum Rates {
    /// Which euro reference rates the own node has.
    Show,
    /// Add the rates of a file as the European Central Bank publishes it (eurofxref-hist.csv).
    Import {
        /// The file.
        file: PathBuf,
    },
}

impl Rates {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let reply = match self {
            Self::Show => ask_node(global, MessageKind::Rates, &RatesCall::Show {})?,
            Self::Import { file } => import_rates(global, &file)?,
        };
        Ok(Outcome::from_reply(reply, |result| {
            let text = |field: &str| result.get(field).and_then(Value::as_str).unwrap_or("never").to_owned();
            let currencies = result.get("currencies").and_then(Value::as_array).map_or(0, Vec::len);
            format!(
                "{} rates of {currencies} currencies, {} to {}; {} new\n({})",
                number(result, "/rates"),
                text("from"),
                text("to"),
                number(result, "/new"),
                text("source")
            )
        }))
    }
}

fn import_rates(global: &Global, file: &std::path::Path) -> anyhow::Result<PersonReply<Value>> {
    let bytes = files::read_limited(file, RATES_BYTES_MAX).map_err(|error| {
        Failure::usage("FILE", format!("{:#}", anyhow::Error::new(error)), "give eurofxref-hist.csv of the ECB")
    })?;
    send_to_node(global, MessageKind::Rates, &RatesCall::Import {}, &bytes)
}
