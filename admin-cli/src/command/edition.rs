//! `accord edition`: preview, publish, list, show.

use accord_protocol::message::{EditionCall, MessageKind};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Global, status::ask_node};
use crate::output::{Outcome, table};

/// `accord edition`
#[derive(Debug, Subcommand)]
pub(crate) enum Edition {
    /// What publishing would give.
    Preview(Look),
    /// Publish what is complete as a new edition.
    Publish,
    /// Refuse an edition from now on, and tell the members that received it.
    Withdraw {
        /// The edition's number.
        number: u64,
        /// Why; it is kept at the node and told to nobody.
        #[arg(long)]
        reason: String,
    },
    /// All editions.
    List,
    /// One edition; the current one without a number.
    Show {
        /// The edition's number.
        number: Option<u64>,
        #[command(flatten)]
        look: Look,
    },
}

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Look {
    /// Only this table.
    #[arg(long)]
    table: Option<String>,
    /// List every cell (in --json).
    #[arg(long)]
    cells: bool,
}

impl Edition {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let call = match self {
            Self::Preview(look) => EditionCall::Preview { table: look.table, cells: look.cells },
            Self::Publish => EditionCall::Publish {},
            Self::Withdraw { number, reason } => EditionCall::Withdraw { number, reason },
            Self::List => EditionCall::List {},
            Self::Show { number, look } => EditionCall::Show { number, table: look.table, cells: look.cells },
        };
        let (list, withdraw) = (matches!(call, EditionCall::List {}), matches!(call, EditionCall::Withdraw { .. }));
        let reply = ask_node(global, MessageKind::Edition, &call)?;
        Ok(Outcome::from_reply(reply, |result| {
            if list {
                list_text(result)
            } else if withdraw {
                withdraw_text(result)
            } else {
                show_text(result)
            }
        }))
    }
}

fn field(value: &Value, path: &str) -> String {
    value.pointer(path).map_or(String::new(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn withdraw_text(result: &Value) -> String {
    let told = result.get("told").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = told.filter_map(Value::as_str).collect();
    let whom =
        if names.is_empty() { "nobody received it".to_owned() } else { format!("being told: {}", names.join(", ")) };
    format!("edition {} is withdrawn and refused from now on; {whom}", field(result, "/edition"))
}

fn list_text(result: &Value) -> String {
    let rows: Vec<Vec<String>> = result
        .get("editions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|edition| {
            ["/edition", "/state", "/protection", "/as_of", "/published_at"].map(|path| field(edition, path)).to_vec()
        })
        .collect();
    if rows.is_empty() {
        return "no edition has been published yet".to_owned();
    }
    table(&["edition", "state", "protection", "as of", "published"].map(str::to_owned), &rows, &[true])
}

fn show_text(result: &Value) -> String {
    let number = field(result, "/edition");
    let name =
        if number == "null" { "preview".to_owned() } else { format!("edition {number} ({})", field(result, "/state")) };
    let mut text = format!(
        "{name} of {}, {}\n  rules: at least {} cases, p {} %, dominance {} %, zeros {}\n",
        field(result, "/member"),
        field(result, "/protection"),
        field(result, "/rules/k"),
        field(result, "/rules/p_percent"),
        field(result, "/rules/dominance_percent"),
        field(result, "/rules/zeros"),
    );
    for row in result.get("coverage").and_then(Value::as_array).into_iter().flatten() {
        text += &format!(
            "  {} {}..{} {}\n",
            field(row, "/kind"),
            field(row, "/from"),
            field(row, "/to"),
            field(row, "/state")
        );
    }
    let mut rows = Vec::new();
    for of in result.get("tables").and_then(Value::as_array).into_iter().flatten() {
        for level in of.get("levels").and_then(Value::as_array).into_iter().flatten() {
            let levels: Vec<String> = level
                .get("levels")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(dimension, level)| format!("{dimension}={}", level.as_str().unwrap_or("")))
                .collect();
            rows.push(vec![
                field(of, "/table"),
                levels.join(","),
                field(level, "/cells"),
                field(level, "/value"),
                field(level, "/cells_shown_percent"),
                field(level, "/cases_shown_percent"),
            ]);
        }
    }
    let header = ["table", "levels", "cells", "shown", "% of non-empty cells", "% of cases"].map(str::to_owned);
    text += &format!("\n{}", table(&header, &rows, &[false, false, true, true, true, true]));
    let mut hidden = Vec::new();
    for of in result.get("tables").and_then(Value::as_array).into_iter().flatten() {
        let reasons: Vec<String> = of
            .get("reasons")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(_, count)| count.as_u64() != Some(0))
            .map(|(reason, count)| format!("{} {count}", reason.replace('_', " ")))
            .collect();
        hidden.push(vec![field(of, "/table"), reasons.join(", ")]);
    }
    text += &format!("\n{}", table(&["table", "numbers hidden, and why"].map(str::to_owned), &hidden, &[]));
    text
}
