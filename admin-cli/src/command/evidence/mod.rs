//! `accord evidence`: verify a file, or take one partner's part of it; no network, no node. The federation's id comes from outside.

use std::path::{Path, PathBuf};

use accord_edge::{clock, files};
use accord_protocol::{
    evidence::{Bundle, verify},
    id::NodeId,
    signed::FederationId,
    time::UnixMs,
};
use clap::{Args, Subcommand};
use serde_json::json;

use super::Global;
use crate::{
    ask::{export::check_target, json::handling as handling_json},
    output::{Failure, Outcome},
    profile::Profile,
};

/// Largest evidence file: 64 partners with the largest reply each, in hex.
const EVIDENCE_MAX: u64 = 1 << 30;

/// `accord evidence`
#[derive(Debug, Subcommand)]
pub(crate) enum Evidence {
    /// Verify a file.
    Verify(Verify),
    /// The part of a file that one partner is in, for whoever may see no more.
    Extract(Extract),
}

/// `accord evidence extract`
#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// The evidence file.
    file: PathBuf,
    /// The partner whose part it is to be.
    #[arg(long, value_name = "MEMBER")]
    partner: String,
    /// Who is to get it: refused where the partner's handling does not let it go there.
    #[arg(long, value_name = "MEMBER")]
    to: Option<String>,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The federation's id, known from elsewhere; without it the profile's.
    #[arg(long)]
    federation: Option<String>,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
}

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
    /// What must be proved: signed (this version proves no more).
    #[arg(long, default_value = "signed", value_parser = ["signed", "logged", "witnessed"])]
    require: String,
}

impl Evidence {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Verify(verify) => verify.run(global),
            Self::Extract(extract) => extract.run(global),
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Bundle> {
    let name = file.display().to_string();
    let bytes = files::read_limited(file, EVIDENCE_MAX)
        .map_err(|error| Failure::usage("FILE", format!("{:#}", anyhow::Error::new(error)), "check the path"))?;
    let bundle = serde_json::from_slice(&bytes).map_err(|error| {
        let next = "get the file again from the officer";
        Failure::refused("EVIDENCE", format!("not an evidence file: {error}"), next).in_file(&name)
    })?;
    Ok(bundle)
}

impl Extract {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let federation = federation(self.federation.as_deref(), global)?;
        let member = |flag: &str, name: &str| {
            name.parse::<NodeId>().map_err(|error| {
                Failure::usage("UNKNOWN-MEMBER", format!("{flag}: {error}"), "a member as on the roster: ES-AGENCY")
            })
        };
        let partner = member("--partner", &self.partner)?;
        let to = self.to.as_deref().map(|to| member("--to", to)).transpose()?;
        check_target("--out", &self.out, self.force)?;
        let (bundle, now) = (read(&self.file)?, clock::now());
        let name = self.file.display().to_string();
        let part = bundle.extract(&partner, &federation, now).map_err(|failed| {
            let next = "verify it: accord evidence verify; see which partners are in it";
            Failure::refused("NOT-VERIFIED", format!("{}: {}", failed.part, failed.rule), next).in_file(&name)
        })?;
        let handling = verify(&part, &federation, now).handling;
        // The originator may have back what it gave.
        let forbidden = to.as_ref().filter(|to| **to != partner).zip(handling.as_ref());
        if let Some(why) = forbidden.and_then(|(to, handling)| handling.forbids(to, now)) {
            let next = format!("ask {partner} for its permission, which comes with its next answers");
            let message = format!("{partner} does not let it go to {}: {why}", self.to.unwrap_or_default());
            return Err(Failure::refused("HANDLING", message, next).into());
        }
        files::write_atomically(&self.out, &serde_json::to_vec_pretty(&part)?)?;
        let words = handling.as_ref().map(|handling| handling.words().join("; "));
        let text = format!(
            "{}: the part of {partner}, {} of {} requests\n{}\n",
            self.out.display(),
            part.exchanges.len(),
            bundle.exchanges.len(),
            words.as_ref().map_or("without a table".to_owned(), |words| format!("handling: {words}"))
        );
        Ok(Outcome::done(
            json!({
                "file": self.out.display().to_string(), "partner": partner.as_str(), "question_id": part.question_id,
                "exchanges": part.exchanges.len(), "handling": handling.as_ref().map(handling_json),
            }),
            text,
        ))
    }
}

/// Verifies an evidence file against the profile's own federation.
pub(super) fn verify_file(file: &Path, global: &Global) -> anyhow::Result<Outcome> {
    Verify { file: file.to_owned(), federation: None, at: None, require: "signed".to_owned() }.run(global)
}

impl Verify {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let federation = federation(self.federation.as_deref(), global)?;
        let at: UnixMs = match &self.at {
            Some(text) => text.parse().map_err(|error| {
                Failure::usage("TIME", format!("--at: {error}"), "for example 2026-11-24T00:38:00Z")
            })?,
            None => clock::now(),
        };
        let name = self.file.display().to_string();
        let bundle = read(&self.file)?;
        let mut report = verify(&bundle, &federation, at);
        if self.require != "signed" {
            report.failed.push(accord_protocol::evidence::Failed {
                part: "log".into(),
                rule: format!("the file holds no log proof, so it is not {}", self.require),
            });
        }
        let verified = report.failed.is_empty();
        let statements: Vec<_> = report
            .statements
            .iter()
            .map(|statement| {
                json!({
                    "who": statement.who.as_str(), "what": statement.what, "to": statement.to.as_str(), "officer": statement.officer,
                    "at": statement.at.to_string(), "edition": statement.edition, "log": null,
                })
            })
            .collect();
        let claims: Vec<_> = report
            .claims
            .iter()
            .map(|(member, why)| json!({ "member": member.as_str(), "claim": why.as_str() }))
            .collect();
        let failed: Vec<_> =
            report.failed.iter().map(|failed| json!({ "part": failed.part, "rule": failed.rule })).collect();
        let mut text = String::new();
        for statement in &report.statements {
            let edition = statement.edition.map_or(String::new(), |edition| format!(" from edition {edition}"));
            let what = match statement.what {
                said @ ("answer" | "refusal") => format!("its {said}"),
                said => format!("that a request is {said}"),
            };
            text += &format!("{} signed {what} to {}{edition} at {}\n", statement.who, statement.to, statement.at);
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
        text += if verified {
            "verified: every signature holds and the pooled table follows from the answers\n"
        } else {
            "NOT VERIFIED\n"
        };
        let result = json!({
            "verified": verified, "federation": federation.to_string(), "question_id": bundle.question_id, "statements": statements,
            "claims_of_the_asker": claims, "pool_recomputed": report.pool_recomputed, "failed": failed,
            "topics": report.topics.iter().map(|(member, title)| json!({ "member": member.as_str(), "title": title })).collect::<Vec<_>>(),
            "handling": report.handling.as_ref().map(handling_json),
        });
        let mut outcome = Outcome::done(result, text);
        if let Some(first) = report.failed.first() {
            outcome.exit = 3;
            let next = match (&self.at, self.require.as_str()) {
                (_, "logged" | "witnessed") => "this version proves signatures alone: --require signed",
                (Some(_), _) => "something in the file may be later than --at; else ask the officer for the original",
                (None, _) => "do not rely on this file; ask the officer for the original",
            };
            outcome.error = Some(
                *Failure::refused("NOT-VERIFIED", format!("{}: {}", first.part, first.rule), next).in_file(&name).fault,
            );
        }
        Ok(outcome)
    }
}

/// The federation's id from the command line, else the profile's: never out of what is to be verified.
pub(super) fn federation(said: Option<&str>, global: &Global) -> anyhow::Result<FederationId> {
    let missing = || {
        Failure::usage(
            "FEDERATION",
            "the federation's id must come from outside the file",
            "add --federation ID, or --profile DIR of a member of the federation",
        )
    };
    if let Some(text) = said {
        Ok(text
            .parse()
            .map_err(|error| Failure::usage("FEDERATION", format!("--federation: {error}"), "64 hex digits"))?)
    } else {
        let profile = Profile::open(global).map_err(|_| missing())?;
        Ok(*profile.trust().map_err(|_| missing())?.0.federation())
    }
}
