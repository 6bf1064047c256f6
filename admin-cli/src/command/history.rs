//! `accord history`: an officer's answers with their evidence, kept in the profile and read without any network.

use std::{
    fs,
    path::{Path, PathBuf},
};

use accord_edge::{clock, files};
use accord_protocol::{
    codec::{Cap, decode, encode},
    edition::Withdrawal,
    id::{from_hex, to_hex},
    message::{MessageKind, Notice},
    signed::Document,
    trust::Trust,
};
use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Global, evidence::verify_file, late, status::ask_node};
use crate::{
    ask::{Answers, Asking, export::write_evidence},
    output::{Failure, Outcome, table},
    profile::Profile,
};
use accord_protocol::pool::PooledTable;

/// Largest answer that is read back.
const ANSWER_MAX: u64 = 1 << 30;
/// Largest file of withdrawals.
const WITHDRAWALS_MAX: u64 = 64 << 20;

/// `accord history`
#[derive(Debug, Subcommand)]
pub(crate) enum History {
    /// What was asked, and what came of it.
    List {
        /// Ask the own node first whether partners have withdrawn an edition.
        #[arg(long)]
        check: bool,
    },
    /// One answer as it was shown.
    Show {
        /// The beginning of its id, as listed.
        id: String,
    },
    /// Fetch what partners have decided since, for answers in which somebody held a request; the answers are made anew with it.
    Collect,
    /// Verify the evidence of one answer.
    Verify {
        /// The beginning of its id, as listed.
        id: String,
    },
    /// Remove one answer with its evidence.
    Remove {
        /// The beginning of its id, as listed.
        id: String,
    },
}

/// One answer that was kept.
pub(super) struct Kept {
    pub(super) dir: PathBuf,
    pub(super) id: String,
    pub(super) answer: Value,
}

/// Keeps an answer: the result, the table as it was shown, the evidence. All of it or nothing.
pub(super) fn keep(
    asking: &Asking<'_>,
    answers: &Answers,
    pooled: &PooledTable,
    outcome: &Outcome,
) -> anyhow::Result<()> {
    let at: String = answers.asked_at.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    let id: String = answers.question_id.to_string().chars().take(12).collect();
    keep_as(&format!("{at}-{id}"), asking, answers, pooled, outcome)
}

/// Keeps an answer under a name, in the place of what has it.
pub(super) fn keep_as(
    name: &str,
    asking: &Asking<'_>,
    answers: &Answers,
    pooled: &PooledTable,
    outcome: &Outcome,
) -> anyhow::Result<()> {
    let folder = folder(asking.profile);
    files::make_dir(&folder)?;
    let unfinished = folder.join(format!(".{name}"));
    files::make_dir(&unfinished)?;
    let result = outcome.result.clone().unwrap_or(Value::Null);
    files::write_atomically(&unfinished.join("answer.json"), &serde_json::to_vec(&result)?)?;
    files::write_atomically(&unfinished.join("answer.txt"), outcome.text.as_bytes())?;
    write_evidence(&unfinished.join("evidence.json"), asking, answers, pooled)?;
    let cannot = || format!("cannot keep the answer in {}", folder.display());
    let (place, before) = (folder.join(name), folder.join(format!(".{name}.before")));
    if place.exists() {
        // Left over by a run that ended before it had cleared up.
        if before.exists() {
            fs::remove_dir_all(&before).with_context(cannot)?;
        }
        fs::rename(&place, &before).with_context(cannot)?;
    }
    fs::rename(&unfinished, &place).with_context(cannot)?;
    files::sync_dir(&folder)?;
    if before.exists() {
        fs::remove_dir_all(&before).with_context(cannot)?;
    }
    Ok(())
}

fn folder(profile: &Profile) -> PathBuf {
    profile.dir.join("history")
}

impl History {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        let (trust, _) = profile.trust()?;
        match self {
            Self::List { check } => {
                if check {
                    collect(&profile, &trust, global)?;
                }
                list(&profile, &trust)
            }
            Self::Show { id } => {
                let kept = find(&profile, &id)?;
                let withdrawn = withdrawn(&kept.answer, &withdrawals(&profile, &trust)?);
                let bytes = files::read_limited(&kept.dir.join("answer.txt"), ANSWER_MAX)?;
                let mut outcome = Outcome::done(
                    json!({ "id": kept.id, "answer": kept.answer, "withdrawn": withdrawn, "evidence": kept.dir.join("evidence.json").display().to_string() }),
                    String::from_utf8_lossy(&bytes),
                );
                warn(&mut outcome, &withdrawn);
                Ok(outcome)
            }
            Self::Collect => late::collect(&profile, global),
            Self::Verify { id } => verify_file(&find(&profile, &id)?.dir.join("evidence.json"), global),
            Self::Remove { id } => {
                let kept = find(&profile, &id)?;
                fs::remove_dir_all(&kept.dir).with_context(|| format!("cannot remove {}", kept.dir.display()))?;
                Ok(Outcome::done(json!({ "id": kept.id, "removed": true }), format!("{} is removed", kept.id)))
            }
        }
    }
}

fn list(profile: &Profile, trust: &Trust) -> anyhow::Result<Outcome> {
    let told = withdrawals(profile, trust)?;
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    let mut all = Vec::new();
    for kept in kept(profile)? {
        let text = |field: &str| kept.answer.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
        let withdrawn = withdrawn(&kept.answer, &told);
        let statuses: Vec<String> = partners(&kept.answer)
            .map(|partner| {
                let word = |field: &str| partner.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
                format!("{} {}", word("member"), word("status").replace('_', " "))
            })
            .collect();
        let note = if withdrawn.is_empty() { String::new() } else { format!("WITHDRAWN by {}", withdrawn.join(", ")) };
        lines.push(vec![kept.id.clone(), text("asked_at"), text("table"), statuses.join(", "), note]);
        rows.push(json!({
            "id": kept.id, "asked_at": text("asked_at"), "question_id": text("question_id"), "table": text("table"),
            "complete": kept.answer.get("complete"), "partners": partners(&kept.answer).map(|partner| json!({ "member": partner.get("member"), "status": partner.get("status") })).collect::<Vec<_>>(),
            "withdrawn": withdrawn, "evidence": kept.dir.join("evidence.json").display().to_string(),
        }));
        all.extend(withdrawn);
    }
    let text = if lines.is_empty() {
        "no answer is kept yet".to_owned()
    } else {
        table(&["id", "asked", "table", "partners", ""].map(str::to_owned), &lines, &[])
    };
    let mut outcome = Outcome::done(json!({ "answers": rows }), text);
    all.sort();
    all.dedup();
    warn(&mut outcome, &all);
    Ok(outcome)
}

fn warn(outcome: &mut Outcome, withdrawn: &[String]) {
    if !withdrawn.is_empty() {
        let message = format!(
            "{} has withdrawn an edition that an answer rests on: do not use its numbers any more, ask again",
            withdrawn.join(", ")
        );
        outcome.exit = 1;
        outcome.warnings.push(Notice { code: "WITHDRAWN".into(), message });
    }
}

pub(super) fn partners(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("partners").and_then(Value::as_array).into_iter().flatten()
}

// Members whose edition in this answer was withdrawn.
fn withdrawn(answer: &Value, told: &[Withdrawal]) -> Vec<String> {
    partners(answer)
        .filter(|partner| {
            told.iter().any(|withdrawal| {
                partner.get("member").and_then(Value::as_str) == Some(withdrawal.member.as_str())
                    && partner.pointer("/edition/number").and_then(Value::as_u64) == Some(withdrawal.number)
                    && partner.pointer("/edition/hash").and_then(Value::as_str)
                        == Some(withdrawal.commit.to_string().as_str())
            })
        })
        .filter_map(|partner| partner.get("member").and_then(Value::as_str).map(str::to_owned))
        .collect()
}

pub(super) fn kept(profile: &Profile) -> anyhow::Result<Vec<Kept>> {
    let folder = folder(profile);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut all = Vec::new();
    for entry in entries {
        let mut dir = entry?.path();
        let mut id = dir.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
        // An answer that was being made anew when the tool was ended: the one before is whole.
        if let Some(name) = id.strip_prefix('.').and_then(|name| name.strip_suffix(".before"))
            && !folder.join(name).exists()
        {
            let place = folder.join(name);
            fs::rename(&dir, &place).with_context(|| format!("cannot put {} back", place.display()))?;
            (id, dir) = (name.to_owned(), place);
        }
        // What begins with a dot was never finished.
        if !dir.is_dir() || id.starts_with('.') {
            continue;
        }
        let bytes = files::read_limited(&dir.join("answer.json"), ANSWER_MAX)?;
        let answer = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", dir.display()))?;
        all.push(Kept { dir, id, answer });
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

fn find(profile: &Profile, id: &str) -> anyhow::Result<Kept> {
    let matches = |kept: &Kept| {
        let question = kept.answer.get("question_id").and_then(Value::as_str).unwrap_or("");
        !id.is_empty() && (kept.id.starts_with(id) || question.starts_with(id))
    };
    let mut found: Vec<Kept> = kept(profile)?.into_iter().filter(matches).collect();
    let shown: String = id.chars().take(40).flat_map(char::escape_default).collect();
    match (found.pop(), found.len()) {
        (Some(kept), 0) => Ok(kept),
        (Some(_), others) => {
            let message = format!("`{shown}` is the beginning of {} answers", others + 1);
            Err(Failure::usage("AMBIGUOUS", message, "write more of the id: accord history list").into())
        }
        (None, _) => {
            let message = format!("no answer begins with `{shown}`");
            Err(Failure::usage("NO-ANSWER", message, "see accord history list").into())
        }
    }
}

// Withdrawals that were heard of, each verified again with the keys that the trust documents give now.
fn withdrawals(profile: &Profile, trust: &Trust) -> anyhow::Result<Vec<Withdrawal>> {
    Ok(documents(profile)?.iter().filter_map(|document| believed(document, trust)).collect())
}

fn documents(profile: &Profile) -> anyhow::Result<Vec<Document>> {
    let path = withdrawals_file(profile);
    let bytes = match files::read_limited(&path, WITHDRAWALS_MAX) {
        Ok(bytes) => bytes,
        Err(files::FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let list: Vec<String> = serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(list.iter().filter_map(|hex| decode(&from_hex(hex)?, Cap::Document).ok()).collect())
}

fn withdrawals_file(profile: &Profile) -> PathBuf {
    Path::join(&folder(profile), "withdrawals.json")
}

fn believed(document: &Document, trust: &Trust) -> Option<Withdrawal> {
    let claimed: Withdrawal = document.unverified().ok()?;
    let (_, keys) = trust.active(&claimed.member, clock::now())?;
    let verified = document.verify::<Withdrawal>(trust.federation(), keys.sign_keys.as_slice(), 1, &[]).ok()?;
    Some(verified.get().clone())
}

// Asks the own node what partners have told it, and keeps what is signed as it should be.
fn collect(profile: &Profile, trust: &Trust, global: &Global) -> anyhow::Result<()> {
    let reply = ask_node(global, MessageKind::Notices, &json!({}))?;
    let told = reply.result.as_ref().and_then(|status| status.get("withdrawals")).and_then(Value::as_array);
    let mut known = documents(profile)?;
    for hex in told.into_iter().flatten().filter_map(Value::as_str) {
        let document = from_hex(hex).and_then(|bytes| decode::<Document>(&bytes, Cap::Document).ok());
        if let Some(document) = document
            && believed(&document, trust).is_some()
            && known.iter().all(|known| known.hash() != document.hash())
        {
            known.push(document);
        }
    }
    let mut list = Vec::new();
    for document in &known {
        list.push(to_hex(&encode(document)?));
    }
    files::make_dir(&folder(profile))?;
    Ok(files::write_atomically(&withdrawals_file(profile), &serde_json::to_vec(&list)?)?)
}
