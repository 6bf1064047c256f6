//! `accord trust`: one screen of who is trusted and what needs attention.

use accord_edge::clock;
use accord_protocol::{
    key::{PublicKey, fingerprint},
    member_keys::KeyRole,
    time::{DAY_MS, UnixMs},
};
use clap::Args;
use serde_json::{Value, json};

use super::Global;
use crate::{
    output::{Outcome, table},
    profile::Profile,
};

/// Days before something runs out from which on a warning is shown.
const WARN_DAYS: u64 = 60;

/// `accord trust`
#[derive(Debug, Args)]
pub(crate) struct Trust {}

impl Trust {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        let (trust, _) = profile.trust()?;
        let now = clock::now();
        let federation = trust.federation();
        let (root, roster) = (trust.root(), trust.roster());
        let mut problems: Vec<Value> = Vec::new();
        let mut expires: Vec<Value> = Vec::new();
        let mut check = |what: &str, who: &str, at: UnixMs| {
            let days = at.0.saturating_sub(now.0) / DAY_MS;
            let problem = |code: &str, severity: &str, message: String, next: &str| json!({ "code": code, "severity": severity, "message": message, "next": next });
            if at <= now {
                problems.push(problem(
                    "T-EXPIRED",
                    "error",
                    format!("{what} of {who} has expired"),
                    "issue and install a new one",
                ));
            } else if days < WARN_DAYS {
                problems.push(problem(
                    "T-EXPIRES-SOON",
                    "warning",
                    format!("{what} of {who} expires in {days} days"),
                    "issue and install a new one",
                ));
            }
            expires.push(json!({ "what": what, "who": who, "at": at.to_string(), "days": days }));
        };
        check("root", "the federation", root.expires_at);
        check("roster", "the federation", roster.expires_at);
        for member in roster.members.iter() {
            if let Some(keys) = trust.keys(&member.node_id) {
                check("keys", member.node_id.as_str(), keys.expires_at);
            }
            match trust.officers(&member.node_id) {
                Some(list) => check("officers list", member.node_id.as_str(), list.expires_at),
                None => {}
            }
        }
        if let Ok((_, card)) = profile.card() {
            check("card", "your own", card.valid_to);
        }
        let state = match roster.expires_at.0.saturating_sub(now.0) / DAY_MS {
            _ if roster.expires_at <= now => "expired",
            days if days < WARN_DAYS => "expiring",
            _ => "current",
        };
        let members: Vec<Value> = roster
            .members
            .iter()
            .map(|member| {
                let of = member.node_id.as_str();
                let keys = trust.keys(&member.node_id);
                let listed = |role: KeyRole, list: Option<&[PublicKey]>| -> Vec<Value> {
                    let uses = ["current", "next"];
                    list.unwrap_or_default().iter().zip(uses).map(|(key, usage)| json!({ "fingerprint": key.fingerprint(role.as_str(), of), "use": usage })).collect()
                };
                json!({
                    "member": of,
                    "name": member.name.as_str(),
                    "state": member.state.as_str(),
                    "roles": member.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
                    "addresses": keys.map(|keys| keys.addresses.iter().map(|address| address.as_str()).collect::<Vec<_>>()).unwrap_or_default(),
                    "tls_keys": listed(KeyRole::Tls, keys.map(|keys| keys.tls_keys.as_slice())),
                    "sign_keys": listed(KeyRole::Sign, keys.map(|keys| keys.sign_keys.as_slice())),
                    "administrators": keys.map(|keys| json!({ "keys": keys.admin_keys.as_slice().len(), "threshold": keys.admin_threshold })),
                    "valid_to": member.valid_to.to_string(),
                    "reachable": null,
                    "last_seen": null,
                    "knows_roster": null,
                    "accept": "accepted",
                })
            })
            .collect();
        let officers: Vec<Value> = profile
            .card()
            .ok()
            .map(|(bytes, card)| {
                let active = trust.officer(&profile.member, &bytes, now).is_some();
                json!({
                    "officer": card.officer_id.to_string(),
                    "state": if active { "active" } else { "not valid now" },
                    "purposes": card.purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>(),
                    "valid_to": card.valid_to.to_string(),
                })
            })
            .into_iter()
            .collect();
        let worst =
            problems.iter().map(|problem| if problem["severity"] == "error" { 3u8 } else { 1 }).max().unwrap_or(0);
        let print = fingerprint("federation", "", &federation.0);
        let mut text = format!(
            "federation {} ({print})\n  root {} of epoch {}: {} of {} keys, valid until {}\n  roster {} ({state}), valid until {}\n  you: {} of {}\n\n",
            root.name.as_str(),
            root.root_version,
            root.epoch,
            root.threshold,
            root.keys.as_slice().len(),
            root.expires_at.date(),
            roster.roster_version,
            roster.expires_at.date(),
            profile.role,
            profile.member,
        );
        let rows: Vec<Vec<String>> = roster
            .members
            .iter()
            .map(|member| {
                let keys = trust.keys(&member.node_id);
                let address = keys
                    .and_then(|keys| keys.addresses.as_slice().first())
                    .map_or("", |address| address.as_str())
                    .to_owned();
                let print = keys
                    .and_then(|keys| keys.sign_keys.as_slice().first())
                    .map_or(String::new(), |key| key.fingerprint("sign", member.node_id.as_str()));
                vec![
                    member.node_id.to_string(),
                    member.state.to_string(),
                    address,
                    print,
                    member.valid_to.date().to_string(),
                ]
            })
            .collect();
        text += &table(&["member", "state", "address", "signing key", "valid to"].map(str::to_owned), &rows, &[]);
        for problem in &problems {
            text += &format!(
                "\n{}: {}\n  next: {}\n",
                problem["severity"].as_str().unwrap_or(""),
                problem["message"].as_str().unwrap_or(""),
                problem["next"].as_str().unwrap_or("")
            );
        }
        let result = json!({
            "federation": { "id": federation.to_string(), "name": root.name.as_str(), "fingerprint": print },
            "root": { "epoch": root.epoch, "version": root.root_version, "keys": root.keys.as_slice().len(), "threshold": root.threshold, "expires_at": root.expires_at.to_string() },
            "roster": { "version": roster.roster_version, "hash": roster.hash().to_string(), "issued_at": roster.issued_at.to_string(), "expires_at": roster.expires_at.to_string(), "state": state },
            "me": { "member": profile.member.as_str(), "role": profile.role.as_str() },
            "members": members, "officers": officers, "expires": expires, "needs": [], "problems": problems,
        });
        Ok(Outcome { exit: worst, ..Outcome::done(result, text) })
    }
}
