//! `accord trust`: one screen of who is trusted, what waits for whom, and what needs attention.

use accord_edge::clock;
use accord_protocol::{
    key::{PublicKey, fingerprint},
    member_keys::{KeyRole, MemberKeys},
    message::{MessageKind, TrustCall},
    roster::Member,
    suspend::Way,
    time::{DAY_MS, UnixMs},
    trust::{Remark, Trust as Trusted},
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Global,
    accept::TrustCommand,
    status::{ask_node, catch_up},
};
use crate::{
    output::{Outcome, table},
    profile::Profile,
    trusting::{
        desk::{With, open_bundle},
        signers::{needs, needs_json},
        signing::desk_of,
        words::suspend_words,
    },
};

/// Days before something runs out from which on a warning is shown.
const WARN_DAYS: u64 = 60;

/// `accord trust`
#[derive(Debug, Args)]
pub(crate) struct Trust {
    #[command(subcommand)]
    command: Option<TrustCommand>,
}

impl Trust {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self.command {
            Some(command) => command.run(global),
            None => show(global),
        }
    }
}

/// What one's own node says of itself and of the others; nothing where it does not answer, or where there is none.
fn of_node(profile: &Profile, global: &Global) -> Value {
    if profile.node().is_err() {
        return Value::Null;
    }
    let reply = ask_node(global, MessageKind::Trust, &TrustCall::Show {}).ok();
    reply.and_then(|reply| reply.result).unwrap_or(Value::Null)
}

/// Shows the profile's trust documents, and what the node knows beside them.
fn show(global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    catch_up(&profile, global);
    let (trust, _) = profile.trust()?;
    let now = clock::now();
    let node = of_node(&profile, global);
    let needs = open_proposals(&profile, &trust, global);
    let found = Findings::of(&profile, &trust, &node, now);
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
            "expires_at": roster.expires_at.to_string(), "state": state(&trust, now),
        },
        "me": { "member": profile.member.as_str(), "role": profile.role.as_str() },
        "node": { "answers": !node.is_null(), "fresh": node.get("fresh"), "isolated": node.get("isolated"), "clock": node.get("clock") },
        "members": roster.members.iter().map(|member| member_json(&trust, member, &node)).collect::<Vec<_>>(),
        "officers": own_card(&profile, &trust, now),
        "suspensions": suspensions(&trust, now),
        "expires": found.expires,
        "needs": needs,
        "problems": found.problems,
    });
    let text = words(&profile, &trust, now, &result);
    Ok(Outcome { exit: found.worst, ..Outcome::done(result, text) })
}

/// What runs out when, and what is wrong.
struct Findings {
    now: UnixMs,
    expires: Vec<Value>,
    problems: Vec<Value>,
    worst: u8,
}

impl Findings {
    fn of(profile: &Profile, trust: &Trusted, node: &Value, now: UnixMs) -> Self {
        let mut found = Self { now, expires: Vec::new(), problems: Vec::new(), worst: 0 };
        found.check("root", "federation", trust.root().expires_at);
        found.check("roster", "federation", trust.roster().expires_at);
        for member in trust.roster().members.iter() {
            let of = member.node_id.as_str();
            if let Some(keys) = trust.keys(&member.node_id) {
                found.check("keys", of, keys.expires_at);
            }
            if let Some(list) = trust.officers(&member.node_id) {
                found.check("officers list", of, list.expires_at);
            }
        }
        if let Ok((_, card)) = profile.card() {
            found.check("card", "your own", card.valid_to);
        }
        for remark in trust.remarks() {
            found.remark(remark);
        }
        found.of_node(node);
        found
    }

    fn check(&mut self, what: &str, who: &str, at: UnixMs) {
        let days = at.0.saturating_sub(self.now.0) / DAY_MS;
        let next = "issue a new one and hand it in: accord federation publish";
        if at <= self.now {
            self.problem("T-EXPIRED", "error", &format!("{what} of {who} has expired"), next);
        } else if days < WARN_DAYS {
            self.problem("T-EXPIRES-SOON", "warning", &format!("{what} of {who} expires in {days} days"), next);
        }
        self.expires.push(json!({ "what": what, "who": who, "at": at.to_string(), "days": days }));
    }

    fn problem(&mut self, code: &str, severity: &str, message: &str, next: &str) {
        self.worst = self.worst.max(if severity == "error" { 3 } else { 1 });
        self.problems.push(json!({ "code": code, "severity": severity, "message": message, "next": next }));
    }

    fn remark(&mut self, remark: &Remark) {
        let message = remark.to_string();
        match remark {
            Remark::Waiting { member, .. } => {
                let next = format!("an administrator compares the fingerprint: accord trust accept {member}");
                self.problem("T-WAITING", "warning", &message, &next);
            }
            Remark::Equivocation { .. } => {
                let next =
                    "call the root holders (roster, root) or the member's administrators: only a later version ends it";
                self.problem("T-CONFLICT", "error", &message, next);
            }
            Remark::SharedKey { .. } => {
                self.problem(
                    "T-SHARED-KEY",
                    "error",
                    &message,
                    "call both members: one of them lists a key that is not its own",
                );
            }
            Remark::RootAhead { .. } => {
                self.problem(
                    "T-ROOT-AHEAD",
                    "error",
                    &message,
                    "the root holders sign a roster under the new root document",
                );
            }
            Remark::Missing { .. } | Remark::Gap { .. } => {
                self.problem(
                    "T-MISSING",
                    "warning",
                    &message,
                    "get the file from whoever has it: accord trust update FILE",
                );
            }
            Remark::NotBelieved { .. } => {
                self.problem("T-NOT-BELIEVED", "warning", &message, "nothing to do here: it counts for nothing");
            }
        }
    }

    fn of_node(&mut self, node: &Value) {
        let is = |field: &str| node.get(field).and_then(Value::as_bool);
        if is("fresh") == Some(false) {
            let message = "the node has not heard for seven days from more than half of the members that it has met: no data is exchanged";
            self.problem("T-NOT-FRESH", "error", message, "check its network; it goes on by itself");
        }
        if is("isolated") == Some(true) {
            let message = "the node is isolated: it answers and asks nobody";
            self.problem("T-ISOLATED", "warning", message, "two administrators end it: accord isolate --end");
        }
        if node.pointer("/clock/behind").and_then(Value::as_bool) == Some(true) {
            let message = "the node's clock is behind what others have signed: no data is exchanged";
            let next = "set the clock; if it is right, two administrators say so: accord trust clock-reset";
            self.problem("T-CLOCK", "error", message, next);
        }
        let members = node.get("members").and_then(Value::as_array);
        for member in members.into_iter().flatten() {
            // Who was there yesterday may be away for an hour.
            let seen = member.get("last_seen").and_then(Value::as_str).and_then(|seen| seen.parse::<UnixMs>().ok());
            let long_ago = seen.is_none_or(|seen| self.now.0.saturating_sub(seen.0) > DAY_MS);
            if long_ago && member.get("reachable").and_then(Value::as_bool) == Some(false) {
                let of = member.get("member").and_then(Value::as_str).unwrap_or("");
                let seen = member.get("last_seen").and_then(Value::as_str).unwrap_or("never");
                self.problem(
                    "T-UNREACHABLE",
                    "warning",
                    &format!("{of} does not answer (last seen {seen})"),
                    "its liaison knows more",
                );
            }
        }
    }
}

fn state(trust: &Trusted, now: UnixMs) -> &'static str {
    let expires_at = trust.roster().expires_at.min(trust.root().expires_at);
    match expires_at.0.saturating_sub(now.0) / DAY_MS {
        _ if expires_at <= now => "expired",
        _ if !trust.roster_is_current(now) => "conflict",
        days if days < WARN_DAYS => "expiring",
        _ => "current",
    }
}

// What others still have to sign: files that this profile has proposed or signed, and keys that wait.
fn open_proposals(profile: &Profile, trust: &Trusted, global: &Global) -> Vec<Value> {
    let mut all = Vec::new();
    for file in profile.proposals() {
        let path = std::path::Path::new(&file);
        let Ok(bundle) = open_bundle(path) else { continue };
        let Ok(desk) = desk_of(&bundle, &With::default(), global) else { continue };
        for document in bundle.proposed.iter() {
            // One that is in force by now needs nobody any more.
            if trust.keeps(document) {
                continue;
            }
            if let Ok(needs) = needs(document, desk.as_ref()) {
                let open: Vec<_> = needs.into_iter().filter(|need| !need.by_node).collect();
                all.extend(needs_json(document, &open, &format!("accord federation sign {file}")));
            }
        }
    }
    for remark in trust.remarks() {
        if let Remark::Waiting { member, version, .. } = remark {
            let administrators =
                trust.keys(&profile.member).map(|keys| keys.admin_keys.as_slice().to_vec()).unwrap_or_default();
            let by: Vec<String> =
                administrators.iter().map(|key| key.fingerprint("administrator", profile.member.as_str())).collect();
            all.push(json!({
                "document": format!("acceptance of keys {version} of {member}"), "by": by, "who": "one own administrator",
                "have": 0, "need": 1, "command": format!("accord trust accept {member}"),
            }));
        }
    }
    all
}

fn suspensions(trust: &Trusted, now: UnixMs) -> Vec<Value> {
    let active = trust.suspensions().iter().filter(|suspend| suspend.way == Way::Stops && now < suspend.until);
    let meant = active.filter(|suspend| {
        trust.is_suspended(&suspend.node_id, suspend.target, now, |other| other.subject == suspend.subject)
    });
    meant
        .map(|suspend| {
            json!({
                "member": suspend.node_id.as_str(), "target": suspend.target.as_str(), "subject": suspend.subject.as_str(),
                "reason": suspend.reason.as_str(), "until": suspend.until.to_string(), "words": suspend_words(suspend),
            })
        })
        .collect()
}

fn member_json(trust: &Trusted, member: &Member, node: &Value) -> Value {
    let of = member.node_id.as_str();
    let keys: Option<&MemberKeys> = trust.keys(&member.node_id).map(accord_protocol::signed::Verified::get);
    let listed = |role: KeyRole, list: &[PublicKey]| -> Vec<Value> {
        list.iter()
            .zip(["current", "next"])
            .map(|(key, usage)| json!({ "fingerprint": key.fingerprint(role.as_str(), of), "use": usage }))
            .collect()
    };
    let waits = trust
        .remarks()
        .iter()
        .any(|remark| matches!(remark, Remark::Waiting { member: id, .. } if *id == member.node_id));
    let seen = node.get("members").and_then(Value::as_array).into_iter().flatten();
    let seen = seen.into_iter().find(|seen| seen.get("member").and_then(Value::as_str) == Some(of));
    let of_node = |field: &str| seen.and_then(|seen| seen.get(field)).cloned().unwrap_or(Value::Null);
    json!({
        "member": of,
        "name": member.name.as_str(),
        "state": member.state.as_str(),
        "roles": member.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        "addresses": keys.map(|keys| keys.addresses.iter().map(accord_protocol::codec::Text::as_str).collect::<Vec<_>>()).unwrap_or_default(),
        "tls_keys": keys.map(|keys| listed(KeyRole::Tls, keys.tls_keys.as_slice())).unwrap_or_default(),
        "sign_keys": keys.map(|keys| listed(KeyRole::Sign, keys.sign_keys.as_slice())).unwrap_or_default(),
        "keys_version": keys.map(|keys| keys.keys_version),
        "keys_expire": keys.map(|keys| keys.expires_at.to_string()),
        "administrators": keys.map(|keys| json!({ "keys": keys.admin_keys.as_slice().len(), "threshold": keys.admin_threshold })),
        "valid_to": member.valid_to.to_string(),
        "reachable": of_node("reachable"),
        "last_seen": of_node("last_seen"),
        "knows_roster": of_node("knows_roster"),
        "accept": if waits { "waiting" } else { "accepted" },
    })
}

fn own_card(profile: &Profile, trust: &Trusted, now: UnixMs) -> Vec<Value> {
    let Ok((bytes, card)) = profile.card() else { return Vec::new() };
    let active = trust.officer(&profile.member, &bytes, now).is_some();
    vec![json!({
        "officer": card.officer_id.to_string(),
        "state": if active { "active" } else { "not valid now" },
        "purposes": card.purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>(),
        "valid_to": card.valid_to.to_string(),
    })]
}

fn words(profile: &Profile, trust: &Trusted, now: UnixMs, result: &Value) -> String {
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
        state(trust, now),
        roster.expires_at.date(),
        profile.role,
        profile.member,
    );
    let list = |field: &str| result.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let field = |value: &Value, path: &str| match value.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let rows: Vec<Vec<String>> = list("members")
        .iter()
        .map(|member| {
            let there = match member.get("reachable").and_then(Value::as_bool) {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => String::new(),
            };
            let day = |path: &str| field(member, path).chars().take(10).collect::<String>();
            vec![
                field(member, "/member"),
                if field(member, "/accept") == "waiting" { "waits".into() } else { field(member, "/state") },
                field(member, "/addresses/0"),
                field(member, "/keys_version"),
                day("/keys_expire"),
                day("/valid_to"),
                there,
                day("/last_seen"),
                field(member, "/knows_roster"),
            ]
        })
        .collect();
    let header = ["member", "state", "address", "keys", "until", "member until", "answers", "last seen", "roster"];
    text += &table(&header.map(str::to_owned), &rows, &[]);
    for suspended in list("suspensions") {
        text += &format!("\nsuspended: {}\n", field(&suspended, "/words"));
    }
    for need in list("needs") {
        text += &format!(
            "\nneeded: {}: {}, {} of {}\n  next: {}\n",
            field(&need, "/document"),
            field(&need, "/who"),
            field(&need, "/have"),
            field(&need, "/need"),
            field(&need, "/command")
        );
    }
    for problem in list("problems") {
        text += &format!(
            "\n{}: {}\n  next: {}\n",
            field(&problem, "/severity"),
            field(&problem, "/message"),
            field(&problem, "/next")
        );
    }
    text
}
