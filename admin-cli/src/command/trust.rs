//! `accord trust`: one screen of who is trusted and what needs attention.

use accord_edge::clock;
use accord_protocol::{
    key::{PublicKey, fingerprint},
    member_keys::{KeyRole, MemberKeys},
    roster::Member,
    time::{DAY_MS, UnixMs},
    trust::Trust,
};
use serde_json::{Value, json};

use super::{Global, status::catch_up};
use crate::{
    output::{Outcome, table},
    profile::Profile,
};

/// Days before something runs out from which on a warning is shown.
const WARN_DAYS: u64 = 60;

/// Shows the profile's trust documents.
pub(crate) fn show(global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    catch_up(&profile, global);
    let (trust, _) = profile.trust()?;
    let now = clock::now();
    let dates = Dates::of(&profile, &trust, now);
    let (root, roster) = (trust.root(), trust.roster());
    let print = fingerprint("federation", "", &trust.federation().0);
    let result = json!({
        "federation": { "id": trust.federation().to_string(), "name": root.name.as_str(), "fingerprint": print },
        "root": {
            "epoch": root.epoch, "version": root.root_version, "keys": root.keys.as_slice().len(),
            "threshold": root.threshold, "expires_at": root.expires_at.to_string(),
        },
        "roster": {
            "version": roster.roster_version, "hash": roster.hash().to_string(), "issued_at": roster.issued_at.to_string(),
            "expires_at": roster.expires_at.to_string(), "state": state(roster.expires_at, now),
        },
        "me": { "member": profile.member.as_str(), "role": profile.role.as_str() },
        "members": roster.members.iter().map(|member| member_json(&trust, member)).collect::<Vec<_>>(),
        "officers": own_card(&profile, &trust, now),
        "expires": dates.expires,
        "needs": [],
        "problems": dates.problems,
    });
    let text = words(&profile, &trust, now, &dates.problems);
    Ok(Outcome { exit: dates.worst, ..Outcome::done(result, text) })
}

/// What runs out when, and what is wrong because of it.
struct Dates {
    now: UnixMs,
    expires: Vec<Value>,
    problems: Vec<Value>,
    worst: u8,
}

impl Dates {
    fn of(profile: &Profile, trust: &Trust, now: UnixMs) -> Self {
        let mut dates = Self { now, expires: Vec::new(), problems: Vec::new(), worst: 0 };
        dates.check("root", "federation", trust.root().expires_at);
        dates.check("roster", "federation", trust.roster().expires_at);
        for member in trust.roster().members.iter() {
            let of = member.node_id.as_str();
            if let Some(keys) = trust.keys(&member.node_id) {
                dates.check("keys", of, keys.expires_at);
            }
            if let Some(list) = trust.officers(&member.node_id) {
                dates.check("officers list", of, list.expires_at);
            }
        }
        if let Ok((_, card)) = profile.card() {
            dates.check("card", "your own", card.valid_to);
        }
        dates
    }

    fn check(&mut self, what: &str, who: &str, at: UnixMs) {
        let days = at.0.saturating_sub(self.now.0) / DAY_MS;
        let found = if at <= self.now {
            Some((3, "T-EXPIRED", "error", format!("{what} of {who} has expired")))
        } else if days < WARN_DAYS {
            Some((1, "T-EXPIRES-SOON", "warning", format!("{what} of {who} expires in {days} days")))
        } else {
            None
        };
        if let Some((exit, code, severity, message)) = found {
            self.worst = self.worst.max(exit);
            let next = "issue and install a new one";
            self.problems.push(json!({ "code": code, "severity": severity, "message": message, "next": next }));
        }
        self.expires.push(json!({ "what": what, "who": who, "at": at.to_string(), "days": days }));
    }
}

fn state(expires_at: UnixMs, now: UnixMs) -> &'static str {
    match expires_at.0.saturating_sub(now.0) / DAY_MS {
        _ if expires_at <= now => "expired",
        days if days < WARN_DAYS => "expiring",
        _ => "current",
    }
}

fn member_json(trust: &Trust, member: &Member) -> Value {
    let of = member.node_id.as_str();
    let keys: Option<&MemberKeys> = trust.keys(&member.node_id).map(accord_protocol::signed::Verified::get);
    let listed = |role: KeyRole, list: &[PublicKey]| -> Vec<Value> {
        list.iter()
            .zip(["current", "next"])
            .map(|(key, usage)| json!({ "fingerprint": key.fingerprint(role.as_str(), of), "use": usage }))
            .collect()
    };
    json!({
        "member": of,
        "name": member.name.as_str(),
        "state": member.state.as_str(),
        "roles": member.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        "addresses": keys.map(|keys| keys.addresses.iter().map(accord_protocol::codec::Text::as_str).collect::<Vec<_>>()).unwrap_or_default(),
        "tls_keys": keys.map(|keys| listed(KeyRole::Tls, keys.tls_keys.as_slice())).unwrap_or_default(),
        "sign_keys": keys.map(|keys| listed(KeyRole::Sign, keys.sign_keys.as_slice())).unwrap_or_default(),
        "administrators": keys.map(|keys| json!({ "keys": keys.admin_keys.as_slice().len(), "threshold": keys.admin_threshold })),
        "valid_to": member.valid_to.to_string(),
        "reachable": null,
        "last_seen": null,
        "knows_roster": null,
        "accept": "accepted",
    })
}

fn own_card(profile: &Profile, trust: &Trust, now: UnixMs) -> Vec<Value> {
    let Ok((bytes, card)) = profile.card() else { return Vec::new() };
    let active = trust.officer(&profile.member, &bytes, now).is_some();
    vec![json!({
        "officer": card.officer_id.to_string(),
        "state": if active { "active" } else { "not valid now" },
        "purposes": card.purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>(),
        "valid_to": card.valid_to.to_string(),
    })]
}

fn words(profile: &Profile, trust: &Trust, now: UnixMs, problems: &[Value]) -> String {
    let (root, roster) = (trust.root(), trust.roster());
    let mut text = format!(
        "federation {}\n  id {}\n  {}\n  root {} of epoch {}: {} of {} keys sign, valid until {}\n  roster {} ({}), valid until {}\n  you: {} of {}\n\n",
        root.name.as_str(),
        trust.federation(),
        fingerprint("federation", "", &trust.federation().0),
        root.root_version,
        root.epoch,
        root.threshold,
        root.keys.as_slice().len(),
        root.expires_at.date(),
        roster.roster_version,
        state(roster.expires_at, now),
        roster.expires_at.date(),
        profile.role,
        profile.member,
    );
    let rows: Vec<Vec<String>> = roster
        .members
        .iter()
        .map(|member| {
            let keys = trust.keys(&member.node_id);
            let address =
                keys.and_then(|keys| keys.addresses.as_slice().first()).map_or("", |address| address.as_str());
            let sign = keys.and_then(|keys| keys.sign_keys.as_slice().first());
            let print = sign.map_or(String::new(), |key| key.fingerprint("sign", member.node_id.as_str()));
            vec![
                member.node_id.to_string(),
                member.state.to_string(),
                address.to_owned(),
                print,
                member.valid_to.date().to_string(),
            ]
        })
        .collect();
    text += &table(&["member", "state", "address", "signing key", "valid to"].map(str::to_owned), &rows, &[]);
    for problem in problems {
        let field = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        text += &format!("\n{}: {}\n  next: {}\n", field("severity"), field("message"), field("next"));
    }
    text
}
