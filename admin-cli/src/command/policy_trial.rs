//! `accord policy explain` and `test`: what a policy says to requests in words.

use std::{collections::BTreeMap, path::PathBuf};

use accord_policy::{Ask, Decision};
use accord_protocol::{
    catalogue::{Catalogue, Table},
    id::NodeId,
    message::{InboxCall, MessageKind},
    officers::Purpose,
    time::{Months, Period, UnixMs},
};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Global,
    edition::field,
    inbox::result_of,
    member_id,
    policy::{One, Scene, text_of, unevaluated},
    propose::shown,
    status::ask_node,
    tables::find,
};
use crate::output::{Failure, Outcome};

/// `accord policy test`
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Requests and what is expected of each (docs/policy.md).
    cases: PathBuf,
    #[command(flatten)]
    one: One,
}

/// `accord policy explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The table; or the beginning of the id of a request that waits, or has waited, for a person here (`accord inbox list`).
    #[arg(value_name = "TABLE|REQUEST")]
    table: String,
    /// Who asks; a request says so itself.
    #[arg(long, value_name = "MEMBER", requires = "period")]
    asker: Option<String>,
    /// A period, or periods from one to another.
    #[arg(long, requires = "asker")]
    period: Option<String>,
    /// Levels, as in `accord ask`: DIM=LEVEL, separated by commas. Default: those that an officer gets who does not choose.
    #[arg(long, value_delimiter = ',')]
    by: Vec<String>,
    /// What for.
    #[arg(long, default_value = "strategic-analysis")]
    purpose: String,
    /// As if it stood under a topic.
    #[arg(long)]
    topic: bool,
    #[command(flatten)]
    one: One,
}

// A request in words, resolved.
struct Asked {
    member: NodeId,
    levels: Vec<u8>,
    purpose: Purpose,
    topic: bool,
    months: Months,
}

impl Asked {
    fn new(
        of: &Table,
        (asker, purpose, period): (&str, &str, &str),
        topic: bool,
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
        Ok(Self { member: member_id(asker)?, levels, purpose, topic, months })
    }

    fn ask<'a>(&'a self, of: &'a Table, now: UnixMs) -> Ask<'a> {
        let Self { member, levels, purpose, topic, months } = self;
        Ask { member, table: of, levels, purpose: *purpose, topic: *topic, months: *months, now }
    }
}

fn said(decision: &Decision) -> (&'static str, String) {
    match decision {
        Decision::Permit(way, by) => (way.as_str(), format!("by {}", by.join(", "))),
        Decision::Deny(reason) => ("denied", reason.to_string()),
    }
}

impl Explain {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let (scene, _, rules) = Scene::one(&self.one, global)?;
        let (of, asked) = match (&self.asker, &self.period) {
            (Some(asker), Some(period)) => {
                let of = find(scene.catalogue()?, &self.table)?;
                (of, Asked::new(of, (asker, &self.purpose, period), self.topic, &pairs(&self.by)?)?)
            }
            _ => held(&self.table, scene.catalogue()?, global)?,
        };
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

// Levels by dimension, as they are written.
fn pairs(by: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let read = |pair: &String| {
        let (name, level) = pair
            .split_once('=')
            .ok_or_else(|| Failure::usage("BY", format!("`{pair}` is not DIM=LEVEL"), "for example --by drug=group"))?;
        Ok((name.to_owned(), level.to_owned()))
    };
    by.iter().map(read).collect()
}

// A request that the own node keeps for a person.
fn held<'a>(id: &str, catalogue: &'a Catalogue, global: &Global) -> anyhow::Result<(&'a Table, Asked)> {
    if catalogue.table(id).is_some() {
        let next = "add --asker MEMBER --period A..B";
        return Err(Failure::usage("WHO", format!("who asks for {id}, and for which periods?"), next).into());
    }
    let request = result_of(ask_node(global, MessageKind::Inbox, &InboxCall::Show { id: id.to_owned() })?)?;
    let of = find(catalogue, &field(&request, "/asks/table"))?;
    let by: Vec<String> = field(&request, "/asks/by").split(',').map(str::to_owned).collect();
    let periods = request.pointer("/asks/periods").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let end = |period: Option<&Value>| period.and_then(Value::as_str).unwrap_or("").to_owned();
    let range = format!("{}..{}", end(periods.first()), end(periods.last()));
    let who = (&*field(&request, "/member"), &*field(&request, "/purpose"), &*range);
    let asked = Asked::new(of, who, !field(&request, "/topic").is_empty(), &pairs(&by)?)?;
    Ok((of, asked))
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
    topic: bool,
    #[serde(default)]
    by: BTreeMap<String, String>,
    at: Option<String>,
    expect: String,
}

impl Test {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Outcome> {
        let (scene, _, rules) = Scene::one(&self.one, global)?;
        let text = text_of(&self.cases)?;
        let wrong =
            |message: String| Failure::refused("CASES", message, "see docs/policy.md").in_file(shown(&self.cases));
        let cases: Cases = toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let (mut lines, mut failed) = (Vec::new(), Vec::new());
        for (index, case) in cases.case.iter().enumerate() {
            let of = find(scene.catalogue()?, &case.table)?;
            let asked = Asked::new(of, (&case.asker, &case.purpose, &case.period), case.topic, &case.by)?;
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
