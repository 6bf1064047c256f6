//! `accord policy`: who may receive what. Checking and trying rows, seeing what they change, having them signed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use accord_edge::files;
use accord_policy::{
    Ask, Decision, Difference, Policy as Rules, READY, Reach, Refused, SCHEMA, Texts, World, differences, reach,
    ways_words,
};
use accord_protocol::{
    catalogue::{Catalogue, Table},
    codec::Bounded,
    id::{Hash, NodeId},
    officers::Purpose,
    policy::{POLICY_TEXT_MAX, PolicyDocument},
    signed::{Preamble, Verified},
    time::{Months, Period, UnixMs},
};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Global,
    lists::{Ground, propose},
    member_id,
    propose::{document, shown},
    tables::find,
};
use crate::{
    output::{Failure, Outcome, table},
    trusting::{desk::With, signing::Signing},
};

/// `accord policy`
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Look whether a policy holds: against the roster, the catalogue and the schema.
    Check(Check),
    /// Try a policy on requests that should be permitted or denied.
    Test(Test),
    /// Show the policy in force, or one in files; as Cedar, or a ready one.
    Show(Show),
    /// Show what a policy would decide otherwise than the one in force, member by member.
    Diff(Check),
    /// Have administrators sign a policy. An operator then hands it to the node.
    Apply(Apply),
    /// Show who may receive what of a table.
    WhoCan(WhoCan),
    /// Show what a policy says to one request, and why.
    Explain(Explain),
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

/// `accord policy test`
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Requests and what is expected of each (docs/policy.md).
    cases: PathBuf,
    #[command(flatten)]
    one: One,
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

/// `accord policy explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The table.
    table: String,
    /// Who asks.
    #[arg(long, value_name = "MEMBER")]
    asker: String,
    /// A period, or periods from one to another.
    #[arg(long)]
    period: String,
    /// Levels, as in `accord ask`: DIM=LEVEL, separated by commas. Default: those that an officer gets who does not choose.
    #[arg(long, value_delimiter = ',')]
    by: Vec<String>,
    /// What for.
    #[arg(long, default_value = "strategic-analysis")]
    purpose: String,
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

// The texts of a policy, with where they come from.
struct Written {
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

fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = files::read_limited(path, POLICY_TEXT_MAX as u64).map_err(|error| {
        let next = "name a file with rows, or a ready policy: accord policy show --ready NAME";
        Failure::usage("FILE", format!("{:#}", anyhow::Error::new(error)), next)
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::refused("ENCODING", format!("{} is not UTF-8", path.display()), "save it as UTF-8").into()
    })
}

// Whom and what a policy can be about, and the one in force.
struct Scene {
    ground: Ground,
    members: BTreeSet<NodeId>,
}

impl Scene {
    fn open(place: &Place, global: &Global) -> anyhow::Result<Self> {
        let ground = Ground::open(&place.with, place.member.as_deref(), &[], global)?;
        let members = ground.desk.trust()?.roster().members.iter().map(|member| member.node_id.clone()).collect();
        Ok(Self { ground, members })
    }

    fn catalogue(&self) -> anyhow::Result<&Catalogue> {
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

    // In files, or else in force.
    fn one(one: &One, global: &Global) -> anyhow::Result<(Self, Written, Rules)> {
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

fn unevaluated(fault: &str) -> anyhow::Error {
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

/// What two policies decide otherwise, for people: a line for each member and change, with the tables that change alike.
pub(crate) fn difference_words(all: &[Difference], catalogue: &Catalogue) -> Vec<String> {
    // By member, change, purpose and levels.
    let mut alike: BTreeMap<[String; 4], Vec<&str>> = BTreeMap::new();
    for of in all {
        let table = catalogue.table(&of.table);
        let every = table.is_some_and(|table| table.level_sets().len() == of.levels.len());
        let levels = if every { "every level".to_owned() } else { level_words(&of.levels, table, LEVELS_TOLD) };
        let change = format!("{} (was {})", ways_words(&of.after), ways_words(&of.before));
        alike.entry([of.member.to_string(), change, of.purpose.to_string(), levels]).or_default().push(&of.table);
    }
    let line = |([member, change, purpose, levels], tables): (&[String; 4], &Vec<&str>)| {
        format!("{member} for {purpose}: {change}: {}, {levels}", tables.join(", "))
    };
    alike.iter().map(line).collect()
}

// Combinations of levels that are listed for people, at most.
const LEVELS_TOLD: usize = 8;

fn level_names(levels: &[u8], of: Option<&Table>) -> Vec<(String, String)> {
    let axes = of.and_then(|table| table.axes("").ok()).unwrap_or_default();
    let dimensions = of.map(|table| table.dimensions.as_slice()).unwrap_or_default();
    let named = dimensions.iter().zip(&axes).zip(levels);
    named
        .filter_map(|((dimension, axis), level)| {
            Some((dimension.name.clone(), axis.level_names().get(usize::from(*level))?.clone()))
        })
        .collect()
}

fn level_words(levels: &[Vec<u8>], of: Option<&Table>, most: usize) -> String {
    let word =
        |levels: &Vec<u8>| level_names(levels, of).into_iter().map(|(_, level)| level).collect::<Vec<_>>().join("/");
    let mut words: Vec<String> = levels.iter().take(most).map(word).collect();
    if levels.len() > most {
        words.push(format!("and {} more", levels.len() - most));
    }
    words.join(" ")
}

fn levels_json(levels: &[Vec<u8>], of: Option<&Table>) -> Vec<BTreeMap<String, String>> {
    levels.iter().map(|levels| level_names(levels, of).into_iter().collect()).collect()
}

fn ways_json(ways: &accord_policy::Ways) -> Vec<Value> {
    let ages = accord_policy::AGES.iter().zip(ways);
    ages.map(|(age, way)| json!({ "months": age, "answer": way.map_or("denied", accord_policy::Way::as_str) }))
        .collect()
}

fn difference_json(of: &Difference, catalogue: Option<&Catalogue>) -> Value {
    let table = catalogue.and_then(|catalogue| catalogue.table(&of.table));
    json!({
        "member": of.member.as_str(), "table": of.table, "purpose": of.purpose.as_str(),
        "levels": levels_json(&of.levels, table),
        "before": ways_json(&of.before), "after": ways_json(&of.after),
    })
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
                    one.purpose.to_string(),
                    ways_words(&one.ways),
                    level_words(&one.levels, Some(of), LEVELS_TOLD),
                ]);
                all.push(json!({
                    "member": member.as_str(), "purpose": one.purpose.as_str(), "ages": ways_json(&one.ways),
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

// A request in words, resolved.
struct Asked {
    member: NodeId,
    levels: Vec<u8>,
    purpose: Purpose,
    months: Months,
}

impl Asked {
    fn new(
        of: &Table,
        (asker, purpose, period): (&str, &str, &str),
        by: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let purpose = Purpose::from_word(purpose).ok_or_else(|| {
            let known: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
            Failure::usage(
                "PURPOSE",
                format!("`{purpose}` is not a purpose"),
                format!("purposes: {}", known.join(", ")),
            )
        })?;
        let (from, to) = period.split_once("..").unwrap_or((period, period));
        let read = |text: &str| {
            text.parse::<Period>()
                .map_err(|error| Failure::usage("PERIOD", error.to_string(), "for example 2020..2024"))
        };
        let (from, to) = (read(from)?, read(to)?);
        let months = Months::new(from.months().0, to.months().1)
            .ok_or_else(|| Failure::usage("PERIOD", "the last period is before the first", "for example 2020..2024"))?;
        if let Some(name) = by.keys().find(|name| of.dimension(name).is_none()) {
            let known: Vec<&str> = of.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
            let message = format!("{} has no dimension `{name}`", of.name);
            return Err(Failure::usage("DIMENSION", message, format!("dimensions: {}", known.join(", "))).into());
        }
        let axes = of.axes("")?;
        let mut levels = Vec::new();
        for (dimension, axis) in of.dimensions.iter().zip(&axes) {
            let own = (dimension.list == "time").then(|| from.level().as_str());
            let name = by.get(&dimension.name).map(String::as_str).or(own).unwrap_or(&dimension.default);
            levels.push(axis.level(name).ok_or_else(|| {
                let message = format!("{} has no level `{name}`", dimension.name);
                Failure::usage("LEVEL", message, format!("levels: {}", axis.level_names().join(", ")))
            })?);
        }
        Ok(Self { member: member_id(asker)?, levels, purpose, months })
    }

    fn ask<'a>(&'a self, of: &'a Table, now: UnixMs) -> Ask<'a> {
        Ask { member: &self.member, table: of, levels: &self.levels, purpose: self.purpose, months: self.months, now }
    }
}

fn said(decision: &Decision) -> (&'static str, String) {
    match decision {
        Decision::Permit(way, by) => (way.as_str(), format!("by {}", by.join(", "))),
        Decision::Deny(reason) => ("denied", reason.to_string()),
    }
}

impl Explain {
    fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let (scene, _, rules) = Scene::one(&self.one, global)?;
        let of = find(scene.catalogue()?, &self.table)?;
        let mut by = BTreeMap::new();
        for pair in &self.by {
            let (name, level) = pair.split_once('=').ok_or_else(|| {
                Failure::usage("BY", format!("`{pair}` is not DIM=LEVEL"), "for example --by drug=group")
            })?;
            by.insert(name.to_owned(), level.to_owned());
        }
        let asked = Asked::new(of, (&self.asker, &self.purpose, &self.period), &by)?;
        if !scene.members.contains(&asked.member) {
            let message = format!("{} is not on the roster", asked.member);
            return Err(Failure::usage("MEMBER", message, "accord trust shows the members").into());
        }
        let ask = asked.ask(of, scene.ground.now);
        let (word, why) = said(&rules.decide(ask));
        let shown = rules.discoverable(&asked.member, of, scene.ground.now).map_err(|fault| unevaluated(&fault))?;
        let verdicts = rules.explain(ask);
        let mut text = format!("{word}: {why}\n");
        if !shown {
            text += &format!("{} may not know that {} exists\n", asked.member, of.name);
        }
        for verdict in verdicts.iter().take(ROWS_TOLD) {
            let what = if verdict.lacks.is_empty() { "covers it".to_owned() } else { verdict.lacks.join("; ") };
            text += &format!("  row {}: {what}\n", verdict.row);
        }
        let rows: Vec<Value> =
            verdicts.iter().map(|verdict| json!({ "row": verdict.row, "lacks": verdict.lacks })).collect();
        let result = json!({ "decision": word, "why": why, "discoverable": shown, "rows": rows });
        Ok(Outcome::done(result, text))
    }
}

// Rows that are explained to people, the closest first.
const ROWS_TOLD: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    asker: String,
    table: String,
    period: String,
    purpose: String,
    #[serde(default)]
    by: BTreeMap<String, String>,
    at: Option<String>,
    expect: String,
}

impl Test {
    fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let (scene, _, rules) = Scene::one(&self.one, global)?;
        let text = text_of(&self.cases)?;
        let wrong =
            |message: String| Failure::refused("CASES", message, "see docs/policy.md").in_file(shown(&self.cases));
        let cases: Cases = toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let (mut lines, mut failed) = (Vec::new(), Vec::new());
        for (index, case) in cases.case.iter().enumerate() {
            let of = find(scene.catalogue()?, &case.table)?;
            let asked = Asked::new(of, (&case.asker, &case.purpose, &case.period), &case.by)?;
            let at = case.at.as_deref().map(|day| format!("{day}T00:00:00Z").parse::<UnixMs>()).transpose();
            let now =
                at.map_err(|error| wrong(format!("case {}: at: {error}", index + 1)))?.unwrap_or(scene.ground.now);
            let known = ["denied", "at-once", "after-approval", "after-two-approvals"];
            if !known.contains(&case.expect.as_str()) {
                let message = format!("case {}: `{}` is no decision: {}", index + 1, case.expect, known.join(", "));
                return Err(wrong(message).into());
            }
            let (word, why) = said(&rules.decide(asked.ask(of, now)));
            if word != case.expect {
                let number = index + 1;
                lines.push(format!(
                    "case {number}: {} {} {}: {word} ({why}), expected {}",
                    case.asker, case.table, case.period, case.expect
                ));
                failed.push(json!({ "case": number, "decision": word, "why": why, "expected": case.expect }));
            }
        }
        let total = cases.case.len();
        lines.push(format!("{} of {total} cases are decided as expected", total - failed.len()));
        let mut outcome = Outcome::done(json!({ "cases": total, "failed": failed }), format!("{}\n", lines.join("\n")));
        outcome.exit = if lines.len() > 1 { 3 } else { 0 };
        Ok(outcome)
    }
}
