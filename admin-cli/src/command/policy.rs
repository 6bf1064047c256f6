//! `accord policy`: who may receive what. Checking and trying rows, seeing what they change, having them signed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use accord_edge::files;
use accord_policy::{Policy as Rules, READY, Reach, Refused, SCHEMA, Texts, World, differences, reach, ways_words};
use accord_protocol::{
    catalogue::Catalogue,
    codec::Bounded,
    id::{Hash, NodeId},
    policy::{POLICY_TEXT_MAX, PolicyDocument},
    signed::{Preamble, Verified},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    lists::{Ground, propose},
    policy_trial,
    policy_words::{
        LEVELS_TOLD, difference_json, difference_words, level_words, levels_json, purpose_words, under_json, ways_json,
    },
    propose::{document, shown},
    tables::find,
};
use crate::{
    output::{Failure, Outcome, table},
    profile::Profile,
    trusting::{desk::With, signing::Signing},
};

/// `accord policy`
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Look whether a policy holds: against the roster, the catalogue and the schema.
    Check(Check),
    /// Try a policy on requests that should be permitted or denied.
    Test(policy_trial::Test),
    /// Show the policy in force, or one in files; as Cedar, or a ready one.
    Show(Show),
    /// Show what a policy would decide otherwise than the one in force, member by member.
    Diff(Check),
    /// Have administrators sign a policy. An operator then hands it to the node.
    Apply(Apply),
    /// Show who may receive what of a table.
    WhoCan(WhoCan),
    /// Show what a policy says to one request, and why.
    Explain(policy_trial::Explain),
}

/// Where members, tables and the policy in force come from.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    with: With,
    /// The member whose policy it is. Default: that of the profile.
    #[arg(long)]
    member: Option<String>,
}

/// A policy in files.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The rows (grants.toml), or the name of a ready policy.
    rows: PathBuf,
    /// Hand-written Cedar beside them.
    #[arg(long)]
    cedar: Option<PathBuf>,
}

/// `accord policy check` and `diff`
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    place: Place,
}

/// The policy in force, or one in files.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Rows in a file, or the name of a ready policy, instead of the policy in force.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// Hand-written Cedar beside them.
    #[arg(long, requires = "rows")]
    cedar: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// `accord policy show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// As the Cedar that decides.
    #[arg(long)]
    cedar_text: bool,
    /// The schema that every policy is held to.
    #[arg(long, conflicts_with_all = ["cedar_text", "ready", "rows"])]
    schema: bool,
    /// A policy that is ready to use: closed, eu-strategic-exchange, partner-yearly-totals.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cedar_text", "rows"])]
    ready: Option<String>,
    #[command(flatten)]
    one: One,
}

/// `accord policy apply`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signing: Signing,
    /// Where the signed policy is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `accord policy who-can`
#[derive(Debug, Args)]
pub(crate) struct WhoCan {
    /// The table.
    table: String,
    #[command(flatten)]
    one: One,
}

impl Policy {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Check(check) => check.run(global),
            Self::Test(test) => test.run(global),
            Self::Show(show) => show.run(global),
            Self::Diff(check) => check.diff(global),
            Self::Apply(apply) => apply.run(global),
            Self::WhoCan(who) => who.run(global),
            Self::Explain(explain) => explain.run(global),
        }
    }
}

/// The texts of a policy, with where they come from.
pub(super) struct Written {
    rows: String,
    cedar: String,
    rows_file: String,
    cedar_file: String,
}

impl Written {
    fn read(rows: &Path, cedar: Option<&Path>) -> anyhow::Result<Self> {
        let cedar_file = cedar.map_or_else(String::new, shown);
        let cedar = cedar.map(text_of).transpose()?.unwrap_or_default();
        let ready = READY.iter().find(|(name, _)| rows.as_os_str() == *name && !rows.exists());
        let text = ready.map_or_else(|| text_of(rows), |(_, text)| Ok((*text).to_owned()))?;
        Ok(Self { rows: text, cedar, rows_file: shown(rows), cedar_file })
    }

    fn texts(&self) -> Texts<'_> {
        Texts { rows: &self.rows, cedar: &self.cedar }
    }

    fn refused(&self, refused: &Refused) -> anyhow::Error {
        let file = match refused.part {
            accord_policy::Part::Rows => &self.rows_file,
            accord_policy::Part::Cedar => &self.cedar_file,
        };
        let next = "nothing was changed; see docs/policy.md";
        let mut failure = Failure::refused("POLICY", refused.rule.as_str(), next).in_file(file);
        failure.fault.place.line = u64::try_from(refused.line).ok();
        failure.fault.place.column = Some(refused.column.to_string());
        failure.into()
    }
}

pub(super) fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = files::read_limited(path, POLICY_TEXT_MAX as u64).map_err(|error| {
        let next = "name a file with rows, or a ready policy: accord policy show --ready NAME";
        Failure::usage("FILE", format!("{:#}", anyhow::Error::new(error)), next)
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::refused("ENCODING", format!("{} is not UTF-8", path.display()), "save it as UTF-8").into()
    })
}

/// Whom and what a policy can be about, and the one in force.
pub(super) struct Scene {
    pub(super) ground: Ground,
    pub(super) members: BTreeSet<NodeId>,
}

impl Scene {
    fn open(place: &Place, global: &Global) -> anyhow::Result<Self> {
        let has_trust = Profile::open_if_there(global)?.is_some_and(|profile| profile.has_trust());
        if !has_trust && place.with.files.is_empty() {
            let message =
                "a policy is checked against the federation's roster and catalogue, and no trust documents are at hand";
            let next = "use a profile that has them: accord --profile DIR policy check FILE (after `accord join`, `accord-node install` puts them into the operator's, and `accord profile new` makes others), or name the files: --with FILE,FILE";
            return Err(Failure::usage("PROFILE", message, next).into());
        }
        let ground = Ground::open(&place.with, place.member.as_deref(), &[], global)?;
        let members = ground.desk.trust()?.roster().member_ids();
        Ok(Self { ground, members })
    }

    pub(super) fn catalogue(&self) -> anyhow::Result<&Catalogue> {
        Ok(self.ground.desk.trust()?.catalogue())
    }

    fn world(&self, strict: bool) -> anyhow::Result<World<'_>> {
        Ok(World { members: &self.members, catalogue: self.catalogue()?, strict })
    }

    fn others(&self) -> anyhow::Result<(World<'_>, &NodeId)> {
        Ok((self.world(true)?, &self.ground.member))
    }

    fn in_force(&self) -> Option<Verified<PolicyDocument>> {
        self.ground.desk.policy(&self.ground.keys)
    }

    // As it is written, read for this roster and catalogue.
    fn rules(&self, written: &Written) -> anyhow::Result<Rules> {
        Rules::new(written.texts(), self.world(true)?).map_err(|refused| written.refused(&refused))
    }

    // The policy in force, if there is one.
    fn rules_in_force(&self) -> anyhow::Result<Option<Rules>> {
        let Some(document) = self.in_force() else { return Ok(None) };
        let texts = Texts { rows: document.rows(), cedar: document.cedar() };
        let read = Rules::new(texts, self.world(false)?);
        let refused = |error: Refused| {
            let message = format!("the policy in force cannot be read: {error}");
            Failure::refused("POLICY", message, "have another one signed: accord policy apply")
        };
        Ok(Some(read.map_err(refused)?))
    }

    /// A policy in files, or else the one in force.
    pub(super) fn one(one: &One, global: &Global) -> anyhow::Result<(Self, Written, Rules)> {
        let scene = Self::open(&one.place, global)?;
        let written = if let Some(rows) = &one.rows {
            Written::read(rows, one.cedar.as_deref())?
        } else {
            let document = scene.in_force().ok_or_else(|| {
                let message = format!("no policy of {} is at hand: nobody receives anything", scene.ground.member);
                Failure::refused(
                    "NO-POLICY",
                    message,
                    "name a file with --rows, or have one signed: accord policy apply",
                )
            })?;
            let name = |part: &str| format!("{part} of policy {}", document.policy_version);
            Written {
                rows: document.rows().to_owned(),
                cedar: document.cedar().to_owned(),
                rows_file: name("rows"),
                cedar_file: name("Cedar"),
            }
        };
        let strict = one.rows.is_some();
        let rules = Rules::new(written.texts(), scene.world(strict)?).map_err(|refused| written.refused(&refused))?;
        Ok((scene, written, rules))
    }
}

pub(super) fn unevaluated(fault: &str) -> anyhow::Error {
    Failure::refused(
        "POLICY",
        format!("it cannot be evaluated, so that it permits nothing: {fault}"),
        "mend the Cedar text",
    )
    .into()
}

impl Check {
    fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let scene = Scene::open(&self.place, global)?;
        let written = Written::read(&self.files.rows, self.files.cedar.as_deref())?;
        let rules = scene.rules(&written)?;
        let all =
            differences(None, Some(&rules), scene.others()?, scene.ground.now).map_err(|fault| unevaluated(&fault))?;
        let reached: BTreeSet<&NodeId> = all.iter().map(|of| &of.member).collect();
        let members: Vec<&str> = reached.iter().map(|member| member.as_str()).collect();
        let whom = if members.is_empty() { "nobody".to_owned() } else { members.join(", ") };
        let text = format!("it holds: {} row(s); reaches {whom}\n", rules.rows());
        Ok(Outcome::done(json!({ "rows": rules.rows(), "reaches": members }), text))
    }

    fn diff(&self, global: &Global) -> anyhow::Result<Outcome> {
        let scene = Scene::open(&self.place, global)?;
        let written = Written::read(&self.files.rows, self.files.cedar.as_deref())?;
        let (before, after) = (scene.rules_in_force()?, scene.rules(&written)?);
        let all = differences(before.as_ref(), Some(&after), scene.others()?, scene.ground.now);
        let all = all.map_err(|fault| unevaluated(&fault))?;
        let version = scene.in_force().map(|document| document.policy_version);
        let lines: Vec<String> = difference_words(&all, scene.catalogue()?);
        let text = if lines.is_empty() {
            "it decides nothing otherwise\n".to_owned()
        } else {
            format!("{}\n", lines.join("\n"))
        };
        let changes: Vec<Value> = all.iter().map(|of| difference_json(of, scene.catalogue().ok())).collect();
        Ok(Outcome::done(json!({ "in_force": version, "changes": changes }), text))
    }
}

impl Show {
    fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        if self.schema {
            return Ok(Outcome::done(json!({ "schema": SCHEMA }), SCHEMA));
        }
        if let Some(name) = &self.ready {
            let known: Vec<&str> = READY.iter().map(|(name, _)| *name).collect();
            let (_, text) = READY.iter().find(|(ready, _)| ready == name).ok_or_else(|| {
                let message = format!("there is no ready policy `{name}`");
                Failure::usage("READY", message, format!("ready: {}", known.join(", ")))
            })?;
            return Ok(Outcome::done(json!({ "name": name, "rows": text }), *text));
        }
        let (scene, written, rules) = Scene::one(&self.one, global)?;
        let document = scene.in_force().filter(|_| self.one.rows.is_none());
        let cedar = rules.cedar(written.texts(), scene.catalogue()?);
        let mut text = String::new();
        if let Some(document) = &document {
            let signers = document.signers().len();
            text += &format!(
                "# policy {} of {}, made {}, signed by {signers} administrator(s)\n",
                document.policy_version, document.node_id, document.issued_at
            );
        }
        text += if self.cedar_text { &cedar } else { &written.rows };
        if !self.cedar_text && !written.cedar.is_empty() {
            text += &format!("\n# --- hand-written Cedar ---\n{}", written.cedar);
        }
        let result = json!({
            "version": document.as_ref().map(|document| document.policy_version),
            "hash": document.as_ref().map(|document| document.hash().to_string()),
            "rows": written.rows, "written": written.cedar, "cedar": cedar,
        });
        Ok(Outcome::done(result, text))
    }
}

impl Apply {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let scene = Scene::open(&self.place, global)?;
        let written = Written::read(&self.files.rows, self.files.cedar.as_deref())?;
        scene.rules(&written)?;
        let before = scene.in_force();
        let too_long = || Failure::usage("POLICY", "the policy is too long", "at most 64 KiB of either text");
        let bytes = |text: &str| Bounded::new(text.as_bytes().to_vec()).ok_or_else(too_long);
        let policy = PolicyDocument {
            preamble: Preamble,
            federation: *scene.ground.desk.federation(),
            node_id: scene.ground.member.clone(),
            policy_version: before.as_ref().map_or(0, |document| document.policy_version) + 1,
            prev_hash: before.as_ref().map_or(Hash::ZERO, Verified::hash),
            issued_at: scene.ground.now,
            rows: bytes(&written.rows)?,
            cedar: bytes(&written.cedar)?,
        };
        let proposed = document(&policy, "at most 64 KiB of either text")?;
        propose(&scene.ground, vec![proposed], Vec::new(), (&self.signing, self.out), global)
    }
}

impl WhoCan {
    fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let (scene, _, rules) = Scene::one(&self.one, global)?;
        let of = find(scene.catalogue()?, &self.table)?;
        let (mut rows, mut all) = (Vec::new(), Vec::new());
        for member in scene.members.iter().filter(|member| **member != scene.ground.member) {
            let reached: Vec<Reach> =
                reach(&rules, member, of, scene.ground.now).map_err(|fault| unevaluated(&fault))?;
            for one in reached {
                rows.push(vec![
                    member.to_string(),
                    purpose_words(one.purpose, one.under),
                    ways_words(&one.ways),
                    level_words(&one.levels, Some(of), LEVELS_TOLD),
                ]);
                all.push(json!({
                    "member": member.as_str(), "purpose": one.purpose.as_str(), "topic": under_json(one.under), "ages": ways_json(&one.ways),
                    "levels": levels_json(&one.levels, Some(of)),
                }));
            }
        }
        let text = if rows.is_empty() {
            format!("nobody may receive anything of {}\n", of.name)
        } else {
            table(&["member", "purpose", "how, by age of the data", "levels"].map(str::to_owned), &rows, &[])
        };
        Ok(Outcome::done(json!({ "table": of.name, "who": all }), text))
    }
}
