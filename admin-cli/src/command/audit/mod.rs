//! `accord audit`, `accord egress`, `accord retention`: the audit log for the agency's own auditors and operators.

mod copy;
mod show;

use std::path::{Path, PathBuf};

use accord_edge::{clock, files};
use accord_protocol::{
    log::{EventKind, NotProven, Proof, Proven, log_origin, witness_name},
    message::{AuditCall, MessageKind},
    time::UnixMs,
    trust::Trust,
};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    edition::field,
    inbox::result_of,
    status::{ask_node, ask_node_with},
};
use crate::{
    ask::export::check_target,
    output::{Failure, Outcome, table},
    profile::Profile,
};

/// Largest file with a proof.
const PROOF_MAX: u64 = accord_protocol::log::proof::PROOF_MAX as u64;

/// `accord audit`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Entries of the own node's log: the latest, or those that are asked for.
    Show(show::Show),
    /// Verify everything: the own node's log, a copy of it, or a proof; the latter two offline.
    Verify(Verify),
    /// Prove that one entry stands in the log.
    Prove(Prove),
    /// Take a copy of the whole log, with everything that verifies it offline.
    Export(Export),
    /// Close the log for witnesses now, rather than at the next full hour.
    Close,
}

/// `accord audit verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A folder that `audit export` made, or a proof that `audit prove` made. Without it the own node's log.
    path: Option<PathBuf>,
    /// The federation's id, known from elsewhere; without it the profile's.
    #[arg(long)]
    federation: Option<String>,
    /// For a proof: the trust documents that it is verified with, `trust.accord` of an export; without it the profile's.
    #[arg(long, value_name = "FILE", requires = "federation")]
    trust: Option<PathBuf>,
}

/// `accord audit prove`
#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// The entry's number, as `audit show` says it.
    entry: u64,
    /// Where to write the proof. Default: `NUMBER.tlog-proof` here.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Disclose what the entry commits to: who, what, why.
    #[arg(long)]
    detail: bool,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
}

/// `accord audit export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder to make.
    folder: PathBuf,
}

/// `accord egress`
#[derive(Debug, Args)]
pub(crate) struct Egress {
    /// Not before this time.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// `accord retention`
#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Which months of details and which entries are kept, and which are over.
    Show,
    /// Make details unreadable for ever, and destroy entries, that are over. The node does so by itself every hour.
    Run,
}

/// A time as people write it: `2026-11-24`, or `2026-11-24T00:38:00Z`.
fn time(flag: &str, text: Option<&String>) -> anyhow::Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let whole = if text.contains('T') { text.clone() } else { format!("{text}T00:00:00Z") };
    let parsed: UnixMs = whole.parse().map_err(|error| {
        Failure::usage("TIME", format!("{flag}: {error}"), "for example 2026-11-24, or 2026-11-24T00:38:00Z")
    })?;
    Ok(Some(parsed.0))
}

impl Audit {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::Show(show) => show.run(global),
            Self::Verify(verify) => verify.run(global),
            Self::Prove(prove) => prove.run(global),
            Self::Export(export) => copy::export(&export.folder, global),
            Self::Close => {
                let reply = ask_node(global, MessageKind::Audit, &AuditCall::Close {})?;
                Ok(Outcome::from_reply(reply, |result| {
                    format!("closed at {} entries, root {}\n", field(result, "/size"), field(result, "/root"))
                }))
            }
        }
    }
}

impl Verify {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match &self.path {
            None if self.federation.is_some() => {
                let next = "without a path the own node's log is verified, with the profile's trust";
                Err(Failure::usage("FEDERATION", "--federation is for a copy or a proof", next).into())
            }
            None => copy::verify_node(global),
            Some(path) if path.is_dir() => copy::verify_folder(path, self.federation.as_deref(), global),
            Some(path) => verify_proof(path, (self.federation.as_deref(), self.trust.as_deref()), global),
        }
    }
}

fn verify_proof(
    path: &Path,
    (federation, with): (Option<&str>, Option<&Path>),
    global: &Global,
) -> anyhow::Result<Outcome> {
    let name = path.display().to_string();
    let bytes = files::read_limited(path, PROOF_MAX)
        .map_err(|error| Failure::usage("FILE", format!("{:#}", anyhow::Error::new(error)), "check the path"))?;
    let trust = match with {
        Some(bundle) => copy::trust_of(bundle, &super::evidence::federation(federation, global)?)?,
        None => Profile::open(global)?.trust()?.0,
    };
    if federation.is_some_and(|id| id != trust.federation().to_string()) {
        let next = "name the trust documents of that federation: --trust trust.accord of an export";
        return Err(Failure::usage("FEDERATION", "the profile is of another federation", next).into());
    }
    let proven = String::from_utf8(bytes)
        .map_err(|_| NotProven::Format("it is no text"))
        .and_then(|text| Proof::parse(&text))
        .and_then(|proof| believed(proof, &trust));
    match proven {
        Ok((member, proven)) => Ok(said(&member, &proven, &trust)),
        Err(error) => {
            let next = "do not rely on it; ask whoever made it for the original";
            Err(Failure::refused("NOT-VERIFIED", error.to_string(), next).in_file(name).into())
        }
    }
}

// Whose log it is, the proof itself says; whether it is theirs, their keys say.
fn believed(proof: Proof, trust: &Trust) -> Result<(String, Proven), NotProven> {
    let origin = proof.checkpoint.text().lines().next().unwrap_or_default().to_owned();
    let members = trust.roster().members.iter().map(|member| &member.node_id);
    let member = members.into_iter().find(|member| log_origin(trust.federation(), member) == origin);
    let member = member.ok_or(NotProven::Format("it is of no log of a member of this federation"))?;
    let keys = trust.log_keys(member, clock::now());
    Ok((member.to_string(), proof.verify(&origin, &keys, crate::audit::actor_of)?))
}

fn said(member: &str, proven: &Proven, trust: &Trust) -> Outcome {
    let entry = proven.entry();
    let checkpoint = proven.checkpoint().checkpoint();
    let detail: Option<Value> = proven.detail().and_then(|detail| serde_json::from_slice(&detail.text).ok());
    let cosigned: Vec<(String, u64)> = trust
        .roster()
        .members
        .iter()
        .filter(|witness| witness.node_id.as_str() != member)
        .filter_map(|witness| {
            let key = trust.witness_key(&witness.node_id, clock::now())?;
            let at = proven.checkpoint().cosigned_at(&witness_name(trust.federation(), &witness.node_id), &key)?;
            Some((witness.node_id.to_string(), at))
        })
        .collect();
    let witnesses: Vec<Value> = cosigned
        .iter()
        .map(|(member, at)| json!({ "member": member, "at": UnixMs(at.saturating_mul(1000)).to_string() }))
        .collect();
    let mut text = format!("verified: entry {} of {member}, {} at {}\n", entry.seq, entry.kind, entry.time);
    if let Some(detail) = &detail {
        text += &show::detail_lines(detail);
    }
    text += &match cosigned.as_slice() {
        [] => format!("in the log of {} entries, which its own node signed; unwitnessed\n", checkpoint.size),
        witnesses => {
            let names: Vec<&str> = witnesses.iter().map(|(member, _)| member.as_str()).collect();
            format!("in the log of {} entries, witnessed by {}\n", checkpoint.size, names.join(", "))
        }
    };
    Outcome::done(
        json!({
            "verified": true, "member": member, "seq": entry.seq, "kind": entry.kind.as_str(), "time": entry.time.to_string(),
            "subject": entry.subject.to_string(), "detail": detail, "size": checkpoint.size, "root": checkpoint.root.to_string(),
            "witnesses": witnesses,
        }),
        text,
    )
}

impl Prove {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let out = self.out.unwrap_or_else(|| PathBuf::from(format!("{}.tlog-proof", self.entry)));
        check_target("--out", &out, self.force)?;
        let profile = Profile::open(global)?;
        let call = AuditCall::Prove { seq: self.entry, detail: self.detail };
        let shown = result_of(ask_node_with(&profile, global, MessageKind::Audit, &call)?)?;
        let text = field(&shown, "/proof");
        // What is handed to others is what holds here.
        let (trust, _) = profile.trust()?;
        let proof = Proof::parse(&text).context("the node's proof does not read")?;
        let (member, proven) = believed(proof, &trust).map_err(|error| {
            let message = format!("the node's proof does not hold: {error}");
            Failure::refused("NOT-VERIFIED", message, "verify the whole log: accord audit verify")
        })?;
        if proven.entry().seq != self.entry || member != profile.member.as_str() {
            let message = "the node's proof is of another entry";
            return Err(Failure::refused("NOT-VERIFIED", message, "verify the whole log: accord audit verify").into());
        }
        files::write_atomically(&out, text.as_bytes())?;
        let mut outcome = said(&member, &proven, &trust);
        if let Some(result) = outcome.result.as_mut().and_then(Value::as_object_mut) {
            result.insert("file".into(), json!(out.display().to_string()));
        }
        outcome.text = format!("{}{}\n", outcome.text, out.display());
        if self.detail && proven.detail().is_none() && proven.entry().kind != EventKind::Padding {
            outcome.warnings.push(accord_protocol::message::Notice {
                code: "DETAIL-GONE".into(),
                message: "what the entry commits to is no longer kept: that it stands there is proved, not what it was"
                    .into(),
            });
        }
        Ok(outcome)
    }
}

impl Egress {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (since_ms, until_ms) = (time("--since", self.since.as_ref())?, time("--until", self.until.as_ref())?);
        let reply = ask_node(global, MessageKind::Audit, &AuditCall::Egress { since_ms, until_ms })?;
        Ok(Outcome::from_reply(reply, egress_text))
    }
}

fn egress_text(result: &Value) -> String {
    let rows = result.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let gone = result.get("details_gone").and_then(Value::as_u64).unwrap_or_default();
    if rows.is_empty() {
        let text = if gone > 0 {
            format!("{gone} answers were given whose details are no longer kept\n")
        } else {
            "nothing has left, as far as entries are there\n".into()
        };
        return text;
    }
    let names = [
        "partner",
        "purpose",
        "table",
        "edition",
        "answers",
        "officers",
        "numbers_shown",
        "numbers_hidden",
        "bytes",
        "first",
        "last",
    ];
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| names.iter().map(|name| field(row, &format!("/{name}"))).collect()).collect();
    let header = names.map(|name| name.replace('_', " "));
    table(&header, &cells, &[false, false, false, true, true, true, true, true, true, false, false])
}

/// `accord verify`
pub(super) fn verify_everything(global: &Global) -> anyhow::Result<Outcome> {
    let reply = ask_node(global, MessageKind::Audit, &AuditCall::Everything {})?;
    Ok(Outcome::from_reply(reply, |result| {
        let holds = result.get("holds").and_then(Value::as_object).into_iter().flatten();
        let rows: Vec<Vec<String>> =
            holds.map(|(kind, of)| vec![kind.replace('-', " "), field(of, "/values"), field(of, "/bytes")]).collect();
        let header = ["kind", "values", "bytes"].map(str::to_owned);
        let mut text = table(&header, &rows, &[false, true, true]);
        let failed = result.get("failed").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for flaw in failed {
            text += &format!("NOT AS IT WAS: {}: {}\n", field(flaw, "/part"), field(flaw, "/rule"));
        }
        if failed.is_empty() {
            let entries = field(result, "/log_entries");
            let destroyed = match field(result, "/log_destroyed") {
                none if none == "0" => String::new(),
                count => format!(", of the first {count} their hashes"),
            };
            text += &format!("verified: every value, and all {entries} entries of the audit log{destroyed}\n");
        }
        text
    }))
}

// What is destroyed and over of entries.
fn entries_text(result: &Value) -> String {
    let of = |name: &str| field(result, &format!("/entries/{name}"));
    let is_there = |name: &str| result.pointer(&format!("/entries/{name}")).is_some_and(|value| !value.is_null());
    let mut text = if is_there("kept_months") {
        format!("its entries are kept for {} months (audit.entries_months)\n", of("kept_months"))
    } else {
        "its entries are kept for ever (audit.entries_months is not set)\n".to_owned()
    };
    if is_there("said_by") {
        text += &format!(
            "  destroyed {}, from the first on, as entry {} of {} says\n",
            of("destroyed"),
            of("said_by"),
            of("destroyed_at")
        );
    }
    if is_there("kept_months") {
        text += &format!("  over      {}\n", of("over"));
    }
    if is_there("next_over") {
        text += &format!("  next      on {}\n", of("next_over"));
    }
    text
}

impl Retention {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let run = matches!(self, Self::Run);
        let reply = ask_node(global, MessageKind::Audit, &AuditCall::Retention { run })?;
        Ok(Outcome::from_reply(reply, |result| {
            let months = |name: &str| {
                let all = result.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                let all: Vec<&str> = all.collect();
                if all.is_empty() { "none".to_owned() } else { all.join(", ") }
            };
            let over = months("over");
            format!(
                "details of the audit log are kept for {} months (audit.details_months in node.toml)\n  readable  {}\n  over      {over}\n{}{}",
                field(result, "/kept_months"),
                months("readable"),
                entries_text(result),
                if run {
                    format!(
                        "{} details deleted, and the keys of those months; {} entries destroyed\n",
                        field(result, "/details_deleted"),
                        field(result, "/entries_destroyed")
                    )
                } else {
                    String::new()
                }
            )
        }))
    }
}
