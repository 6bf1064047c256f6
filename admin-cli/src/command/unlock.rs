//! `accord unlock` and `accord lock`: an officer's key stays open for some hours.

use accord_edge::clock;
use clap::Args;
use serde_json::json;

use super::Global;
use crate::{agent, output::Outcome, profile::Profile};

/// `accord unlock`
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    /// For how long: 8h, 30m; at most 24h.
    #[arg(long = "for", value_name = "TIME", default_value = "8h", value_parser = agent::seconds)]
    seconds: u64,
}

/// `accord agent`, which `unlock` starts.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// How long it runs.
    #[arg(long)]
    seconds: u64,
}

impl Unlock {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        agent::start(global, &profile, self.seconds)?;
        let until = clock::now().plus(self.seconds * 1_000);
        let text = format!("the {}'s key is unlocked until {until}; accord lock ends it\n", profile.role);
        Ok(Outcome::done(json!({ "role": profile.role.as_str(), "until": until.to_string() }), text))
    }
}

/// `accord lock`
pub(crate) fn lock(global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    let ended = agent::lock(&profile)?;
    let text = if ended { "locked\n" } else { "nothing was unlocked\n" };
    Ok(Outcome::done(json!({ "locked": ended }), text))
}

impl Agent {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        agent::serve(global, self.seconds)?;
        Ok(Outcome::default())
    }
}
