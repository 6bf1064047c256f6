//! `accord edition`: preview, publish, list, show, compare, withdraw; what takes two people is in `agreement`.

use accord_protocol::message::{EditionCall, MessageKind};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Global,
    agreement::{Agree, Correct, Proposals, Reject, Waive, cell_words},
    status::ask_node,
};
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
    /// Propose to make published years anew from the records, and to withdraw the editions before: two people have to sign.
    Correct(Correct),
    /// Propose to show a number that is public anyway: two people have to sign.
    Waive(Waive),
    /// What was proposed, and what became of it.
    Proposals(Proposals),
    /// Sign a colleague's proposal; it is done with the second signature.
    Agree(Agree),
    /// Take a proposal off the table.
    Reject(Reject),
    /// All editions.
    List,
    /// What two editions say differently: what anybody who has both can see.
    Diff {
        /// Number of the one.
        from: u64,
        /// Number of the other.
        to: u64,
        #[command(flatten)]
        look: Look,
    },
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
            Self::Correct(correct) => return correct.run(global),
            Self::Waive(waive) => return waive.run(global),
            Self::Proposals(proposals) => return proposals.run(global),
            Self::Agree(agree) => return agree.run(global),
            Self::Reject(reject) => return reject.run(global),
            Self::Preview(look) => EditionCall::Preview { table: look.table, cells: look.cells },
            Self::Publish => EditionCall::Publish {},
            Self::Withdraw { number, reason } => EditionCall::Withdraw { number, reason },
            Self::List => EditionCall::List {},
            Self::Diff { from, to, look } => EditionCall::Diff { from, to, table: look.table, cells: look.cells },
            Self::Show { number, look } => EditionCall::Show { number, table: look.table, cells: look.cells },
        };
        let text: fn(&Value) -> String = match call {
            EditionCall::List {} => list_text,
            EditionCall::Withdraw { .. } => withdraw_text,
            EditionCall::Diff { .. } => diff_text,
            _ => show_text,
        };
        // Protecting tables takes seconds to minutes: whoever waits sees that something is going on.
        let waits = match call {
            EditionCall::Preview { .. } => Some("protecting the tables, without publishing"),
            EditionCall::Publish {} => Some("protecting and publishing the tables"),
            _ => None,
        };
        let spinner = waits.filter(|_| global.shows_progress()).map(spinner);
        let reply = ask_node(global, MessageKind::Edition, &call);
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        Ok(Outcome::from_reply(reply?, text))
    }
}

pub(super) fn spinner(what: &'static str) -> indicatif::ProgressBar {
    let spinner = indicatif::ProgressBar::new_spinner().with_message(what);
    let style = indicatif::ProgressStyle::with_template("{spinner} {msg}: {elapsed}");
    spinner.set_style(style.unwrap_or(indicatif::ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(std::time::Duration::from_millis(250));
    spinner
}

pub(super) fn field(value: &Value, path: &str) -> String {
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

const LISTED_MAX: usize = 50;

fn diff_text(result: &Value) -> String {
    let counts = ["/same", "/changed", "/shown", "/hidden", "/added", "/gone"];
    let list = |name: &str| result.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = list("tables")
        .iter()
        .map(|of| std::iter::once("/table").chain(counts).map(|path| field(of, path)).collect())
        .collect();
    let header = ["table", "same", "changed", "shown now", "hidden now", "added", "gone"].map(str::to_owned);
    let numeric = [false, true, true, true, true, true, true];
    let mut text = format!(
        "edition {} to edition {} of {}, numbers\n\n{}",
        field(result, "/from"),
        field(result, "/to"),
        field(result, "/member"),
        table(&header, &rows, &numeric)
    );
    let mut changes = Vec::new();
    for cell in list("cells") {
        let words = |value: Option<&Value>| -> Vec<String> {
            let fields = value.and_then(Value::as_object).into_iter().flatten();
            fields.map(|(_, code)| code.as_str().unwrap_or("").to_owned()).collect()
        };
        for (measure, change) in cell.get("values").and_then(Value::as_object).into_iter().flatten() {
            changes.push(vec![
                field(&cell, "/table"),
                words(cell.get("key")).join(" "),
                measure.clone(),
                said(change, "/from"),
                said(change, "/to"),
            ]);
        }
    }
    let more = changes.len().saturating_sub(LISTED_MAX);
    changes.truncate(LISTED_MAX);
    if !changes.is_empty() {
        let header = ["table", "cell", "measure", "said", "says"].map(str::to_owned);
        text += &format!("\n{}", table(&header, &changes, &[false, false, false, true, true]));
    }
    if more > 0 {
        text += &format!("\nand {more} more: --table narrows it down, --json has all\n");
    }
    text
}

// A count or sum, lines of a mean or histogram, or why there is none.
fn said(change: &Value, which: &str) -> String {
    let value = change.pointer(which).unwrap_or(&Value::Null);
    match value.get("state").and_then(Value::as_str) {
        Some("value") => value.get("value").or_else(|| value.get("n")).map_or(String::new(), Value::to_string),
        Some(state) => state.replace('_', " "),
        None => "-".to_owned(),
    }
}

// Why numbers are kept back, as an operator would say it.
fn in_words(reason: &str) -> String {
    match reason {
        "too_few_cases" => "too few cases:".to_owned(),
        "dominated" => "one case is nearly all of it:".to_owned(),
        "p_percent" => "the second largest case could work out the largest:".to_owned(),
        "protects_another" => "protects another cell:".to_owned(),
        "carried" => "as in an earlier edition:".to_owned(),
        other => format!("{}:", other.replace('_', " ")),
    }
}

pub(super) fn show_text(result: &Value) -> String {
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
    for row in result.get("vintages").and_then(Value::as_array).into_iter().flatten() {
        if row.get("vintage").and_then(Value::as_u64) > Some(1) {
            let [kind, year, vintage] = ["/kind", "/year", "/vintage"].map(|path| field(row, path));
            text += &format!("  {kind} {year} is in its vintage {vintage}\n");
        }
    }
    for note in result.get("footnotes").and_then(Value::as_array).into_iter().flatten() {
        text += &format!(
            "  shown because it is public anyway ({}): {}\n",
            field(note, "/public_source"),
            cell_words(Some(note))
        );
    }
    let mut rows = Vec::new();
    for of in result.get("tables").and_then(Value::as_array).into_iter().flatten() {
        let shows = |level: &&Value| level.get("value").and_then(Value::as_u64) != Some(0);
        let levels = of.get("levels").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        for level in levels.iter().filter(shows) {
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
        // What is wholly hidden takes one line.
        let folded: Vec<&Value> = levels.iter().filter(|level| !shows(level)).collect();
        if !folded.is_empty() {
            let cells: u64 = folded.iter().filter_map(|level| level.get("cells")?.as_u64()).sum();
            let all = if folded.len() == levels.len() { "all" } else { "the other" };
            let what = format!("{all} {} combination(s) of levels: nothing is shown", folded.len());
            let zero = || "0.0".to_owned();
            rows.push(vec![field(of, "/table"), what, cells.to_string(), "0".to_owned(), zero(), zero()]);
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
            .map(|(reason, count)| format!("{} {count}", in_words(reason)))
            .collect();
        hidden.push(vec![field(of, "/table"), reasons.join(", ")]);
    }
    text += &format!("\n{}", table(&["table", "numbers kept back, and why"].map(str::to_owned), &hidden, &[]));
    text
}
