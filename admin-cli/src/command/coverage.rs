//! `accord coverage`: which periods the own node holds completely.

use accord_protocol::message::{CoverageCall, MessageKind};
use clap::Subcommand;
use serde_json::Value;

use super::Global;
use crate::output::{Outcome, table};

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
            Self::Show => CoverageCall::Show {},
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
