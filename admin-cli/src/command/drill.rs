//! `accord drill`: what would stop working, and when, if something happened; nothing is changed.

use accord_edge::clock;
use accord_protocol::{
    id::NodeId,
    roster::{MemberRole, MemberState},
    time::{DAY_MS, UnixMs},
    trust::Trust,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Global, member_id};
use crate::{
    output::{Failure, Outcome, table},
    trusting::desk::{Desk, With},
};

/// `accord drill`
#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// What stops if a member is taken out or suspended.
    Revoke(Revoke),
    /// What runs out, in the order of time, and what stops then.
    Expire(Expire),
    /// How many signers can be lost before nobody can go on.
    LoseSigner(LoseSigner),
}

/// `accord drill revoke`
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The member, or its country.
    member: String,
    #[command(flatten)]
    with: With,
}

/// `accord drill expire`
#[derive(Debug, Args)]
pub(crate) struct Expire {
    #[command(flatten)]
    with: With,
}

/// `accord drill lose-signer`
#[derive(Debug, Args)]
pub(crate) struct LoseSigner {
    #[command(flatten)]
    with: With,
}

impl Drill {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Revoke(drill) => drill.run(global),
            Self::Expire(drill) => {
                let desk = Desk::open(&drill.with, global)?;
                Ok(expire(&desk, desk.trust()?, clock::now()))
            }
            Self::LoseSigner(drill) => {
                let desk = Desk::open(&drill.with, global)?;
                Ok(lose_signer(&desk))
            }
        }
    }
}

impl Revoke {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let desk = Desk::open(&self.with, global)?;
        let trust = desk.trust()?;
        let member = meant(trust, &self.member)?;
        let now = clock::now();
        let with_role = |role: MemberRole, without: Option<&NodeId>| {
            let active = trust.roster().members.iter().filter(|entry| {
                entry.state == MemberState::Active
                    && Some(&entry.node_id) != without
                    && trust.active(&entry.node_id, now).is_some()
            });
            active.filter(|entry| entry.roles.as_slice().contains(&role)).count()
        };
        let count = |role| (with_role(role, None), with_role(role, Some(&member)));
        let (providers, requesters, witnesses) =
            (count(MemberRole::Provider), count(MemberRole::Requester), count(MemberRole::Witness));
        let officers = trust.officers(&member).map_or(0, |list| list.cards.as_slice().len());
        let mut lines = vec![
            format!(
                "{member} is answered nothing and asked nothing from the moment at which a node has the roster; its connections are cut, answers on their way too"
            ),
            format!("{officers} officer card(s) of {member} count nowhere"),
            format!("providers left: {} of {}", providers.1, providers.0),
            format!("members that may ask: {} of {}", requesters.1, requesters.0),
            format!("witnesses left: {} of {}", witnesses.1, witnesses.0),
            "evidence that names it still verifies; its entry stays on the roster".to_owned(),
        ];
        let mut warnings = Vec::new();
        if witnesses.1 < 3 {
            warnings.push("fewer than two witnesses would be left for each log".to_owned());
        }
        if providers.1 < 2 {
            warnings.push("nobody could pool anything: fewer than two providers would be left".to_owned());
        }
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        let result = json!({
            "member": member.as_str(), "officers": officers,
            "providers": { "now": providers.0, "left": providers.1 }, "requesters": { "now": requesters.0, "left": requesters.1 },
            "witnesses": { "now": witnesses.0, "left": witnesses.1 }, "warnings": warnings,
            "command": format!("accord federation propose --remove {member}"),
        });
        let mut outcome = Outcome::done(
            result,
            format!("if {member} were taken out (nothing is changed):\n  {}\n", lines.join("\n  ")),
        );
        outcome.exit = u8::from(!warnings.is_empty());
        Ok(outcome)
    }
}

fn meant(trust: &Trust, text: &str) -> anyhow::Result<NodeId> {
    let members = trust.roster().members.iter().map(|entry| &entry.node_id);
    let of_country: Vec<&NodeId> = members.clone().filter(|member| member.country() == text).collect();
    if let [one] = of_country.as_slice() {
        return Ok((*one).clone());
    }
    let known: Vec<String> = members.map(ToString::to_string).collect();
    let member = if text.contains('-') {
        member_id(text)?
    } else {
        let message = if of_country.is_empty() {
            format!("no member of country `{text}`")
        } else {
            format!("`{text}` has more than one member")
        };
        return Err(Failure::usage("MEMBER", message, format!("on the roster: {}", known.join(", "))).into());
    };
    if trust.member(&member).is_none() {
        let message = format!("{member} is not on the roster");
        return Err(Failure::usage("MEMBER", message, format!("on the roster: {}", known.join(", "))).into());
    }
    Ok(member)
}

fn expire(desk: &Desk, trust: &Trust, now: UnixMs) -> Outcome {
    let everything = "no data is exchanged by anybody";
    let mut all: Vec<(UnixMs, String, String)> = vec![
        (trust.root().expires_at, "root document".into(), everything.into()),
        (trust.roster().expires_at, "roster".into(), everything.into()),
    ];
    for member in trust.roster().members.iter().filter(|member| member.state == MemberState::Active) {
        let of = &member.node_id;
        all.push((member.valid_to, format!("membership of {of}"), format!("{of} answers and asks nobody")));
        if let Some(keys) = trust.keys(of) {
            all.push((keys.expires_at, format!("keys of {of}"), format!("{of} answers and asks nobody")));
        }
        if let Some(list) = trust.officers(of) {
            all.push((list.expires_at, format!("officers list of {of}"), format!("no officer of {of} may ask")));
        }
    }
    if let Some(staff) = trust.staff() {
        all.push((staff.expires_at, format!("staff list of {}", staff.node_id), "nobody may operate the node".into()));
    }
    for card in &desk.cards {
        all.push((card.valid_to, format!("card {}", card.officer_id), "that officer may not ask".into()));
    }
    all.sort();
    let days = |at: UnixMs| at.0.saturating_sub(now.0) / DAY_MS;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(at, what, stops)| {
            let left = if *at <= now { "expired".to_owned() } else { format!("{} days", days(*at)) };
            vec![at.date().to_string(), left, what.clone(), stops.clone()]
        })
        .collect();
    let listed: Vec<Value> = all
        .iter()
        .map(|(at, what, stops)| json!({ "at": at.to_string(), "days": days(*at), "what": what, "stops": stops }))
        .collect();
    let text = table(&["on", "in", "runs out", "what stops"].map(str::to_owned), &rows, &[false, true]);
    Outcome {
        exit: u8::from(all.iter().any(|(at, ..)| *at <= now)),
        ..Outcome::done(json!({ "expires": listed }), text)
    }
}

fn lose_signer(desk: &Desk) -> Outcome {
    let mut rows = Vec::new();
    let mut groups: Vec<Value> = Vec::new();
    let mut worst = 0;
    let mut add = |who: String, keys: usize, threshold: usize, then: &str| {
        let spare = keys.saturating_sub(threshold);
        worst = worst.max(u8::from(spare == 0));
        rows.push(vec![who.clone(), format!("{threshold} of {keys}"), spare.to_string(), then.to_owned()]);
        groups.push(json!({ "who": who, "keys": keys, "threshold": threshold, "may_be_lost": spare, "then": then }));
    };
    let root = desk.root();
    add(
        "root holders".to_owned(),
        root.keys.as_slice().len(),
        usize::from(root.threshold),
        "the federation ends when the roster runs out; a new one has to be founded",
    );
    if let Some(trust) = &desk.trust {
        for member in trust.roster().members.iter().filter(|member| member.state != MemberState::Removed) {
            if let Some(keys) = trust.keys(&member.node_id) {
                let then = "the root holders anchor it anew, and every other member accepts it by hand";
                let of = format!("administrators of {}", member.node_id);
                add(of, keys.admin_keys.as_slice().len(), usize::from(keys.admin_threshold), then);
            }
        }
    }
    let text = table(&["signers", "sign", "may be lost", "when one more is lost"].map(str::to_owned), &rows, &[]);
    Outcome { exit: worst, ..Outcome::done(json!({ "signers": groups }), text) }
}
