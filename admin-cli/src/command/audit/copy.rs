//! Copies of the log: taken from the node, verified as they come; verified again from their folder, years later and offline.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::Path,
};

use accord_edge::{clock, files, stream::Downloaded};
use accord_protocol::{
    bundle::Bundle,
    codec::Bounded,
    evidence::Failed,
    log::{EventKind, copy::Report, witness_name},
    message::{AuditCall, MessageKind, PersonReply},
    signed::{Document, FederationId, Label},
    time::UnixMs,
    trust::Trust,
};
use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    audit::{Lines, Verified, Verifier},
    client::{Client, block_on},
    command::{Global, evidence::federation},
    output::{Failure, Outcome},
    profile::Profile,
};

/// The log in a folder, line by line.
const LOG_FILE: &str = "log.jsonl";
/// The trust documents that verify it.
const TRUST_FILE: &str = "trust.accord";
/// The checkpoint of just this copy, for tools that read those.
const CHECKPOINT_FILE: &str = "checkpoint.txt";

/// What a download stopped at.
enum Stopped {
    Failed(Failed),
    Reply(Box<PersonReply<Value>>),
}

// Downloads the log, hands each piece to `keep`, verifies every line.
fn download(
    profile: &Profile,
    global: &Global,
    mut keep: impl FnMut(&[u8]) -> io::Result<()>,
) -> anyhow::Result<Result<Verified, Stopped>> {
    block_on(async {
        let client = Client::connect(profile, global).await?;
        let (trust, _) = profile.trust()?;
        let mut verifier = Some(Verifier::new(&trust, clock::now()));
        let (mut lines, mut failed, mut reply, mut is_copy) = (Lines::default(), None, Vec::new(), false);
        let taken = |part: Downloaded<'_>| {
            let bytes = match part {
                Downloaded::Head(head) => {
                    is_copy = !head.is_empty();
                    return Ok(());
                }
                Downloaded::Body(bytes) => bytes,
            };
            if !is_copy {
                reply.extend_from_slice(bytes);
                return Ok(());
            }
            keep(bytes)?;
            let Some(verifier) = verifier.as_mut() else { return Ok(()) };
            lines.push(bytes, |line| verifier.line(line)).map_err(|fault| {
                failed = Some(fault);
                io::Error::other("what came does not hold")
            })
        };
        let downloaded = client.download(MessageKind::Audit, &AuditCall::Export {}, taken).await;
        if let Some(failed) = failed {
            return Ok(Err(Stopped::Failed(failed)));
        }
        downloaded?;
        client.close().await;
        if !is_copy {
            let reply = serde_json::from_slice(&reply).context("the node's answer is not understood")?;
            return Ok(Err(Stopped::Reply(Box::new(reply))));
        }
        if !lines.is_whole() {
            let rule = "the last line is cut off".to_owned();
            return Ok(Err(Stopped::Failed(Failed { part: "end".into(), rule })));
        }
        let verifier = verifier.context("nothing came")?;
        Ok(verifier.finish().map_err(Stopped::Failed))
    })
}

fn not_verified(failed: &Failed, name: Option<&str>) -> anyhow::Error {
    let message = format!("{}: {}", failed.part, failed.rule);
    let next = "something was taken out, put in or changed: keep everything as it is, and call the federation's administrators";
    let failure = Failure::refused("NOT-VERIFIED", message, next);
    match name {
        Some(name) => failure.in_file(name).into(),
        None => failure.into(),
    }
}

fn stopped(stopped: Stopped) -> anyhow::Result<Outcome> {
    match stopped {
        Stopped::Failed(failed) => Err(not_verified(&failed, None)),
        Stopped::Reply(reply) => Ok(Outcome::from_reply(*reply, |_| String::new())),
    }
}

/// Verifies the own node's log: every entry, read from the node and computed anew here.
pub(super) fn verify_node(global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    match download(&profile, global, |_| Ok(()))? {
        Ok(found) => Ok(verified(&found, &profile.trust()?.0, None)),
        Err(why) => stopped(why),
    }
}

/// Takes a copy into a new folder.
pub(super) fn export(folder: &Path, global: &Global) -> anyhow::Result<Outcome> {
    let name = folder.display().to_string();
    if folder.exists() {
        let next = "name a folder that does not exist";
        return Err(Failure::usage("EXISTS", format!("{name} exists already"), next).into());
    }
    let profile = Profile::open(global)?;
    files::make_dir(folder)?;
    let taken = take(folder, &profile, global);
    if !taken.as_ref().is_ok_and(|outcome| outcome.error.is_none()) {
        // What stays is called `log.part` and is taken for nothing.
        for file in ["log.part", TRUST_FILE, CHECKPOINT_FILE] {
            let _ = std::fs::remove_file(folder.join(file));
        }
        let _ = std::fs::remove_dir(folder);
    }
    taken
}

fn take(folder: &Path, profile: &Profile, global: &Global) -> anyhow::Result<Outcome> {
    // Under another name until it is whole, so that a cut file is never taken for a log.
    let (part, whole) = (folder.join("log.part"), folder.join(LOG_FILE));
    let file = File::options().write(true).create_new(true).open(&part);
    let mut file = BufWriter::new(file.with_context(|| part.display().to_string())?);
    let found = match download(profile, global, |bytes| file.write_all(bytes))? {
        Ok(found) => found,
        Err(why) => return stopped(why),
    };
    let file = file.into_inner().map_err(io::IntoInnerError::into_error).with_context(|| part.display().to_string())?;
    file.sync_all().with_context(|| part.display().to_string())?;
    let (trust, mut documents) = profile.trust()?;
    // What verifies a log, and nothing that is the agency's own: the staff list and the policy never leave it.
    documents.retain(|document| {
        matches!(document.label(), Label::Root | Label::Roster | Label::Catalogue | Label::MemberKeys | Label::Suspend)
    });
    let bundle = Bundle {
        held: Bounded::new(documents).context("more trust documents than a file takes")?,
        ..Bundle::default()
    };
    files::write_bundle(&folder.join(TRUST_FILE), &bundle)?;
    if let Some(last) = found.report.checkpoints.last() {
        files::write_atomically(&folder.join(CHECKPOINT_FILE), last.note().to_string().as_bytes())?;
    }
    std::fs::rename(&part, &whole).with_context(|| whole.display().to_string())?;
    files::sync_dir(folder)?;
    Ok(verified(&found, &trust, Some(&folder.display().to_string())))
}

/// The trust documents of an export, which are those of this federation or none.
pub(super) fn trust_of(path: &Path, federation: &FederationId) -> anyhow::Result<Trust> {
    let bundle = files::read_bundle(path).map_err(|error| {
        let message = format!("{:#}", anyhow::Error::new(error));
        Failure::usage("FILE", message, "name what accord audit export made")
    })?;
    let documents: Vec<Document> = bundle.documents();
    Trust::gather(&documents, Some(federation), None).map_err(|error| {
        let next = "the trust documents are not those of that federation";
        let name = path.display().to_string();
        Failure::refused("NOT-VERIFIED", accord_protocol::text::with_causes(&error), next).in_file(name).into()
    })
}

/// Verifies a copy, offline.
pub(super) fn verify_folder(folder: &Path, said: Option<&str>, global: &Global) -> anyhow::Result<Outcome> {
    let federation = federation(said, global)?;
    let trust = trust_of(&folder.join(TRUST_FILE), &federation)?;
    let path = folder.join(LOG_FILE);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    let read = Verifier::new(&trust, clock::now()).file(BufReader::with_capacity(1 << 20, file));
    match read.with_context(|| path.display().to_string())? {
        Ok(found) => Ok(verified(&found, &trust, Some(&folder.display().to_string()))),
        Err(failed) => Err(not_verified(&failed, Some(&path.display().to_string()))),
    }
}

// The members that have cosigned some checkpoint, with the largest size that each has seen.
fn witnesses(report: &Report, trust: &Trust) -> Vec<(String, u64, u64)> {
    let mut found: Vec<(String, u64, u64)> = Vec::new();
    for member in trust.roster().members.iter().filter(|member| member.node_id != report.member) {
        let Some(key) = trust.witness_key(&member.node_id, clock::now()) else { continue };
        let name = witness_name(trust.federation(), &member.node_id);
        let seen = report
            .checkpoints
            .iter()
            .filter_map(|signed| Some((signed.checkpoint().size, signed.cosigned_at(&name, &key)?)));
        found.extend(seen.max().map(|(size, at)| (member.node_id.to_string(), size, at)));
    }
    found
}

fn verified(Verified { report, says_destroyed }: &Verified, trust: &Trust, folder: Option<&str>) -> Outcome {
    let witnesses = witnesses(report, trust);
    let kinds: serde_json::Map<String, Value> =
        report.kinds.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count))).collect();
    let times = report.times.map(|(first, last)| (first.to_string(), last.to_string()));
    let seen: Vec<Value> = witnesses
        .iter()
        .map(|(member, size, at)| json!({ "member": member, "size": size, "at": UnixMs(at.saturating_mul(1000)).to_string() }))
        .collect();
    let (first, last) = times.clone().unwrap_or_default();
    let padding = report.kinds.get(&EventKind::Padding).copied().unwrap_or_default();
    let gone = (report.size - report.destroyed).saturating_sub(padding).saturating_sub(report.details);
    let mut text = format!(
        "verified: all {} entries of {}, {first} to {last}; {} with what they commit to, {} padding, {} whose details are no longer there\nroot {}, held to {} checkpoint{}\n",
        report.size,
        report.member,
        report.details,
        padding,
        gone,
        report.root,
        report.checkpoints.len(),
        if report.checkpoints.len() == 1 { "" } else { "s" },
    );
    if report.destroyed > 0 {
        text += &format!(
            "the first {} of them are destroyed: their hashes are there, and say nothing of what they were\n",
            report.destroyed
        );
    }
    text += &if witnesses.is_empty() {
        "unwitnessed: its own node alone says that this is the whole log\n".to_owned()
    } else {
        witnesses.iter().map(|(member, size, _)| format!("{member} has seen it grow up to entry {size}\n")).collect()
    };
    if report.set_back > 0 {
        text += &format!("the clock was set back {} time(s)\n", report.set_back);
    }
    if let Some(folder) = folder {
        text += &format!("{folder}\n");
    }
    let mut outcome = Outcome::done(
        json!({
            "verified": true, "member": report.member.as_str(), "size": report.size, "destroyed": report.destroyed,
            "says_destroyed": says_destroyed, "root": report.root.to_string(),
            "details": report.details, "details_gone": gone, "kinds": kinds, "first": times.as_ref().map(|times| &times.0), "last": times.as_ref().map(|times| &times.1),
            "checkpoints": report.checkpoints.iter().map(|signed| signed.checkpoint().size).collect::<Vec<_>>(),
            "clock_set_back": report.set_back, "witnesses": seen, "folder": folder,
        }),
        text,
    );
    if !says_destroyed {
        let message = format!(
            "no entry of retention that can be read says that the first {} entries were destroyed: ask the agency for those that are missing, or why that entry cannot be read",
            report.destroyed
        );
        outcome.warnings.push(accord_protocol::message::Notice { code: "DESTROYED-UNSAID".into(), message });
    }
    outcome
}
