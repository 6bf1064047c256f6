//! `accord evidence`: verify a file, take one partner's part of it, fetch the proofs that came later. The federation's id comes from
//! outside; only fetching needs the own node.

mod complete;
mod kept;
mod verify;

use std::path::{Path, PathBuf};

use accord_edge::{clock, files};
use accord_protocol::{
    evidence::{Bundle, verify},
    id::NodeId,
    signed::FederationId,
};
use clap::{Args, Subcommand};
use serde_json::json;

pub(super) use kept::complete_kept;
pub(super) use verify::verify_file;

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
    /// Verify a file, offline: accord evidence verify evidence.json --federation ID --require witnessed.
    Verify(verify::Verify),
    /// Fetch what partners' logs have to prove since the file was written: accord evidence complete evidence.json.
    Complete(complete::Complete),
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

impl Evidence {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Verify(verify) => verify.run(global),
            Self::Complete(complete) => complete.run(global),
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
