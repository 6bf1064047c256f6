//! `accord evidence verify`: what a file proves, and how well; no network, no node.

use std::path::{Path, PathBuf};

use accord_edge::clock;
use accord_protocol::{
    evidence::{Bundle, Failed, Level, Logged, Report, Statement, Unproven, verify},
    id::NodeId,
    message::Notice,
    signed::FederationId,
    time::UnixMs,
};
use clap::Args;
use serde_json::{Value, json};

use super::{Global, federation, read};
use crate::{
    ask::json::handling as handling_json,
    output::{Failure, Outcome},
};

/// `accord evidence verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The evidence file.
    file: PathBuf,
    /// The federation's id, known from elsewhere; without it the profile's.
    #[arg(long)]
    federation: Option<String>,
    /// Nothing in the file may be later than this. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// What must be proved of every reply: that it is signed, that it stands in its partner's log, that others have witnessed that log.
    #[arg(long, value_name = "LEVEL", default_value = "signed", value_parser = ["signed", "logged", "witnessed"])]
    require: String,
}

/// Verifies an evidence file against the profile's own federation.
pub(in crate::command) fn verify_file(file: &Path, global: &Global) -> anyhow::Result<Outcome> {
    Verify { file: file.to_owned(), federation: None, at: None, require: Level::Signed.as_str().to_owned() }.run(global)
}

impl Verify {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let federation = federation(self.federation.as_deref(), global)?;
        let at: UnixMs = match &self.at {
            Some(text) => text.parse().map_err(|error| {
                Failure::usage("TIME", format!("--at: {error}"), "for example 2026-11-24T00:38:00Z")
            })?,
            None => clock::now(),
        };
        let required = Level::ALL.into_iter().find(|level| level.as_str() == self.require).unwrap_or(Level::Signed);
        let name = self.file.display().to_string();
        let bundle = read(&self.file)?;
        let report = verify(&bundle, &federation, at);
        let short = if report.failed.is_empty() { report.short_of(required) } else { Vec::new() };
        let mut outcome = Outcome::done(
            result(&bundle, &federation, &report, &short),
            text(&report, at) + &conclusion(&report, &short, required),
        );
        outcome.warnings = report.unproven.iter().map(overdue).collect();
        let failed = match (report.failed.first(), short.first()) {
            (Some(failed), _) => {
                let next = match &self.at {
                    Some(_) => "something in the file may be later than --at; else ask the officer for the original",
                    None => "do not rely on this file; ask the officer for the original",
                };
                Some(("NOT-VERIFIED", failed, next.to_owned()))
            }
            (None, Some(failed)) => {
                let next = format!(
                    "the officer fetches what is missing, a day after the answer: accord evidence complete; it verifies with --require {}",
                    report.level()
                );
                Some(("LEVEL", failed, next))
            }
            (None, None) => None,
        };
        if let Some((code, failed, next)) = failed {
            outcome.exit = 3;
            let message = format!("{}: {}", failed.part, failed.rule);
            outcome.error = Some(*Failure::refused(code, message, next).in_file(&name).fault);
        }
        Ok(outcome)
    }
}

fn result(bundle: &Bundle, federation: &FederationId, report: &Report, short: &[Failed]) -> Value {
    let failed: Vec<_> =
        report.failed.iter().chain(short).map(|failed| json!({ "part": failed.part, "rule": failed.rule })).collect();
    let claims: Vec<_> =
        report.claims.iter().map(|(member, why)| json!({ "member": member.as_str(), "claim": why.as_str() })).collect();
    let topics: Vec<_> =
        report.topics.iter().map(|(member, title)| json!({ "member": member.as_str(), "title": title })).collect();
    let unproven: Vec<_> = report
        .unproven
        .iter()
        .map(|one| {
            json!({
                "who": one.who.as_str(), "what": one.what, "at": one.at.to_string(), "provable_after": one.provable_after.to_string(),
            })
        })
        .collect();
    json!({
        "verified": failed.is_empty(), "federation": federation.to_string(), "question_id": bundle.question_id,
        "level": report.failed.is_empty().then(|| report.level().as_str()), "statements": report.statements.iter().map(statement).collect::<Vec<_>>(),
        "unproven": unproven, "claims_of_the_asker": claims, "pool_recomputed": report.pool_recomputed, "failed": failed,
        "topics": topics, "handling": report.handling.as_ref().map(handling_json),
    })
}

/// One statement, as the contract has it.
pub(super) fn statement(statement: &Statement) -> Value {
    let log = statement.log.as_ref().map(|logged| {
        json!({
            "level": logged.level().as_str(), "entry": logged.entry, "size": logged.size, "at": logged.at.to_string(),
            "witnesses": logged.witnesses.iter().map(NodeId::as_str).collect::<Vec<_>>(), "needed": logged.needed,
        })
    });
    let promised = (statement.provable_after != UnixMs(0)).then(|| statement.provable_after.to_string());
    json!({
        "who": statement.who.as_str(), "what": statement.what, "to": statement.to.as_str(), "officer": statement.officer,
        "at": statement.at.to_string(), "edition": statement.edition, "provable_after": promised, "log": log,
    })
}

fn text(report: &Report, at: UnixMs) -> String {
    let mut text = String::new();
    for statement in &report.statements {
        let edition = statement.edition.map_or(String::new(), |edition| format!(" from edition {edition}"));
        let what = match statement.what {
            said @ ("answer" | "refusal") => format!("its {said}"),
            said => format!("that a request is {said}"),
        };
        text += &format!("{} signed {what} to {}{edition} at {}\n", statement.who, statement.to, statement.at);
        text += &format!("  {}\n", level_words(statement, at));
    }
    for (member, why) in &report.claims {
        text += &format!("{member}: {}, by the asker's word alone\n", why.as_str().replace('_', " "));
    }
    for (member, title) in &report.topics {
        text += &format!("{member} was asked under the topic “{title}”\n");
    }
    if let Some(handling) = &report.handling {
        text += &format!("handling of the whole: {}\n", handling.words().join("; "));
    }
    text
}

fn conclusion(report: &Report, short: &[Failed], required: Level) -> String {
    if !report.failed.is_empty() {
        return "NOT VERIFIED\n".to_owned();
    }
    let holds = "every signature holds and the pooled table follows from the answers";
    if short.is_empty() {
        let level = match report.level() {
            Level::Signed => "",
            Level::Logged => "; every reply stands in its partner's log",
            Level::Witnessed => "; every reply stands in its partner's log, which others have witnessed",
        };
        return format!("verified: {holds}{level}\n");
    }
    let lines: String = short.iter().map(|failed| format!("  {}: {}\n", failed.part, failed.rule)).collect();
    format!("NOT VERIFIED as {required}, though {holds}:\n{lines}")
}

/// How well a statement is proved, in words.
pub(super) fn level_words(statement: &Statement, at: UnixMs) -> String {
    let Some(logged) = &statement.log else {
        let who = &statement.who;
        let is_promised = statement.provable_after != UnixMs(0);
        let more = match statement.provable_from() {
            None => format!("nothing shows that it stands in the log of {who}"),
            Some(from) if statement.is_overdue(at) => {
                format!("{who} promised a proof of its log from {from}, and the file has none")
            }
            Some(from) if is_promised && from <= at => {
                format!("{who} promised a proof of its log from {from}: accord evidence complete fetches it")
            }
            Some(from) if is_promised => format!("{who} promised a proof of its log, which can be had from {from}"),
            Some(from) => {
                format!(
                    "that it stands in the log of {who} can be proved from {from}: accord evidence complete fetches it"
                )
            }
        };
        return format!("signed alone: {more}");
    };
    format!("{}: {}", logged.level(), log_words(logged))
}

fn log_words(logged: &Logged) -> String {
    let entry = format!("entry {} of {} in its log, made at {}", logged.entry, logged.size, logged.at);
    let names: Vec<&str> = logged.witnesses.iter().map(NodeId::as_str).collect();
    match (logged.level(), logged.needed) {
        (Level::Witnessed, _) => format!("{entry}, witnessed by {}", names.join(", ")),
        (Level::Signed | Level::Logged, 0) => {
            format!("{entry}; nobody else is a witness in the federation, so that nobody can have witnessed it")
        }
        (Level::Signed | Level::Logged, needed) if names.is_empty() => {
            format!("{entry}, witnessed by nobody; it takes {needed}")
        }
        (Level::Signed | Level::Logged, needed) => {
            format!("{entry}, witnessed by {} alone; it takes {needed}", names.join(", "))
        }
    }
}

// What to do about a proof that should have been there.
fn overdue(unproven: &Unproven) -> Notice {
    let message = format!(
        "the {} of {} promised a proof from {}; none is in the file: ask for it with accord evidence complete; if the partner gives none, this file with its signed promise is the evidence of that",
        unproven.what, unproven.who, unproven.provable_after
    );
    Notice { code: "UNPROVEN".into(), message }
}
