//! `accord evidence complete`: proofs of partners' logs that the own node has got since, put into a file once they are verified.

use std::{collections::BTreeSet, fs, path::PathBuf};

use accord_edge::{
    clock::{self, Stopwatch},
    files,
};
use accord_protocol::{
    codec::{Cap, decode, encode},
    evidence::{Bundle, BundleReply, Level, Report, Statement, verify},
    id::{NodeId, from_hex, to_hex},
    message::{MessageKind, Notice, PersonReply, RequestsCall},
    signed::{Document, Label},
    text::with_causes,
    time::UnixMs,
    trust::{Trust, travels},
};
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Global, read,
    verify::{level_words, statement as statement_json},
};
use crate::{
    client::{Client, block_on},
    command::inbox::result_of,
    output::{Failure, Outcome},
    profile::Profile,
};

/// From when on a partner that gave no proof is taken for one that does not answer.
const SILENT_MS: u64 = 4_000;

/// `accord evidence complete`
#[derive(Debug, Args)]
pub(crate) struct Complete {
    /// The evidence file; it is written anew in its place.
    file: PathBuf,
}

/// What the own node said of one reply.
#[derive(Debug, Default)]
pub(super) struct Found {
    proof: Option<String>,
    why: Option<String>,
}

/// The file with what was found, and what it proves then.
pub(super) struct Completed {
    pub(super) bundle: Bundle,
    pub(super) report: Report,
    trust: Trust,
}

/// How one reply stands afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing more can be had.
    Complete,
    /// Others have not cosigned yet, or too few.
    Unwitnessed,
    /// It cannot be proved yet.
    NotYet,
    /// The proof can be had, and was not.
    Due,
    /// It should have been there for a day.
    Overdue,
    /// What the node has got does not hold.
    Refused,
    /// The partner promised none.
    Unpromised,
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unwitnessed => "unwitnessed",
            Self::NotYet => "not_yet",
            Self::Due => "due",
            Self::Overdue => "overdue",
            Self::Refused => "refused",
            Self::Unpromised => "unpromised",
        }
    }

    const fn is_missing(self) -> bool {
        match self {
            Self::Complete | Self::Unpromised => false,
            Self::Unwitnessed | Self::NotYet | Self::Due | Self::Overdue | Self::Refused => true,
        }
    }
}

impl Complete {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let name = self.file.display().to_string();
        let bundle = read(&self.file)?;
        let profile = Profile::open(global)?;
        // The file itself, and not a link to it, is what has to be there afterwards.
        let path = fs::canonicalize(&self.file).with_context(|| format!("cannot find {name}"))?;
        let federation = *profile.trust()?.0.federation();
        let now = clock::now();
        let before = verify(&bundle, &federation, now);
        if let Some(failed) = before.failed.first() {
            let message = format!("{}: {}", failed.part, failed.rule);
            let next = "do not rely on this file; nothing was changed";
            return Err(Failure::refused("NOT-VERIFIED", message, next).in_file(&name).into());
        }
        let found = block_on(async {
            let client = Client::connect(&profile, global).await?;
            let found = fetch(&client, &before, |statement| !is_fully_proved(statement), &mut BTreeSet::new()).await?;
            client.close().await;
            Ok(found)
        })?;
        // What the profile has learned while it was connected counts.
        let (_, documents) = profile.trust()?;
        let documents: Vec<Document> = documents.into_iter().filter(travels).collect();
        let after = most_proved(&bundle, &before, &found, &documents, now)
            .context("the file does not verify by its own documents any more")?;
        let is_new = after.bundle != bundle;
        if is_new {
            files::rewrite_atomically(&path, &serde_json::to_vec_pretty(&after.bundle)?)?;
        }
        Ok(outcome(&name, (&before, &bundle), &after, &found, now))
    }
}

/// Asks the own node for the proof of each reply of which one is wanted. Partners that keep it waiting come to be `silent`, and are not
/// asked about the rest.
pub(super) async fn fetch(
    client: &Client,
    report: &Report,
    is_wanted: impl Fn(&Statement) -> bool,
    silent: &mut BTreeSet<NodeId>,
) -> anyhow::Result<Vec<Found>> {
    let mut all = Vec::new();
    for statement in &report.statements {
        if !is_wanted(statement) || silent.contains(&statement.who) {
            let why = is_wanted(statement).then(|| format!("{} has just not answered in time", statement.who));
            all.push(Found { proof: None, why });
            continue;
        }
        let watch = Stopwatch::start();
        let call = RequestsCall::Proof { member: statement.who.to_string(), subject: statement.subject.to_string() };
        let reply: PersonReply<Value> = client.call(MessageKind::Requests, &call).await?;
        let said = result_of(reply)?;
        let text = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
        let plain = |why: String| why.chars().filter(|letter| !letter.is_control()).take(200).collect();
        let found = Found { proof: text("proof"), why: text("why").map(plain) };
        if found.proof.is_none() && watch.ms() > SILENT_MS {
            silent.insert(statement.who.clone());
        }
        all.push(found);
    }
    Ok(all)
}

/// Enough witnesses, or none whom one could wait for.
pub(super) fn is_fully_proved(statement: &Statement) -> bool {
    statement.log.as_ref().is_some_and(|logged| logged.needed == 0 || logged.level() == Level::Witnessed)
}

/// The file by the documents by which most is proved: those of the file, which it verifies by; with what the profile has learned since; or
/// what the profile has, with the catalogues that answers rest on. A log or a witness may have another key now than when the file was
/// written.
pub(super) fn most_proved(
    bundle: &Bundle,
    before: &Report,
    found: &[Found],
    learned: &[Document],
    now: UnixMs,
) -> Option<Completed> {
    let own: Vec<Document> =
        bundle.documents.iter().filter_map(|text| decode(&from_hex(text)?, Cap::Document).ok()).collect();
    let catalogues: Vec<Document> =
        own.iter().filter(|document| document.label() == Label::Catalogue).cloned().collect();
    let mut best: Option<Completed> = None;
    for documents in [own.clone(), joined(&own, learned), joined(learned, &catalogues)] {
        let Some(completed) = by_documents(bundle, before, found, &documents, now) else { continue };
        if best.as_ref().is_none_or(|best| worth(&completed.report) > worth(&best.report)) {
            best = Some(completed);
        }
    }
    best
}

fn joined(one: &[Document], more: &[Document]) -> Vec<Document> {
    let mut all = one.to_vec();
    for document in more {
        let is_same = |other: &Document| (other.label(), other.hash()) == (document.label(), document.hash());
        if !all.iter().any(is_same) {
            all.push(document.clone());
        }
    }
    all
}

// Replies that are logged, replies that are witnessed, cosignatures.
fn worth(report: &Report) -> (usize, usize, usize) {
    let logged = || report.statements.iter().filter_map(|statement| statement.log.as_ref());
    let witnessed = logged().filter(|logged| logged.level() == Level::Witnessed).count();
    (logged().count(), witnessed, logged().map(|logged| logged.witnesses.len()).sum())
}

// The file with these documents, and with the better of two proofs for each reply; nothing if it does not verify then.
fn by_documents(
    bundle: &Bundle,
    before: &Report,
    found: &[Found],
    documents: &[Document],
    now: UnixMs,
) -> Option<Completed> {
    let federation = bundle.federation.parse().ok()?;
    let trust = Trust::build(documents, Some(&federation)).ok()?;
    let mut bundle = bundle.clone();
    bundle.documents =
        documents.iter().map(|document| encode(document).map(|bytes| to_hex(&bytes)).ok()).collect::<Option<_>>()?;
    for ((reply, statement), found) in replies(&mut bundle).zip(&before.statements).zip(found) {
        let proofs = [reply.log.take(), found.proof.clone()].into_iter().flatten();
        let proved = proofs.filter_map(|proof| {
            let logged = statement.proved_by(&trust, &proof, now).ok()?;
            Some(((logged.level(), logged.witnesses.len()), proof))
        });
        // The one that is there stays unless the other proves more.
        let best = proved.reduce(|best, other| if other.0 > best.0 { other } else { best });
        reply.log = best.map(|(_, proof)| proof);
    }
    let report = verify(&bundle, &federation, now);
    report.failed.is_empty().then_some(Completed { bundle, report, trust })
}

// In the order of the statements of a report.
fn replies(bundle: &mut Bundle) -> impl Iterator<Item = &mut BundleReply> {
    bundle.exchanges.iter_mut().filter_map(|exchange| exchange.reply.as_mut())
}

fn standing(statement: &Statement, found: &Found, now: UnixMs) -> Standing {
    if is_fully_proved(statement) {
        Standing::Complete
    } else if statement.log.is_some() {
        Standing::Unwitnessed
    } else if found.proof.is_some() {
        Standing::Refused
    } else if statement.is_overdue(now) {
        Standing::Overdue
    } else {
        match statement.provable_from() {
            None => Standing::Unpromised,
            Some(from) if from > now => Standing::NotYet,
            Some(_) => Standing::Due,
        }
    }
}

fn outcome(
    file: &str,
    (before, written): (&Report, &Bundle),
    after: &Completed,
    found: &[Found],
    now: UnixMs,
) -> Outcome {
    let (mut text, mut statements, mut warnings) = (String::new(), Vec::new(), Vec::new());
    let (mut added, mut missing) = (0usize, 0usize);
    for ((old, new), found) in before.statements.iter().zip(&after.report.statements).zip(found) {
        let standing = standing(new, found, now);
        let is_added = old.log != new.log;
        added += usize::from(is_added);
        missing += usize::from(standing.is_missing());
        text += &format!("{}, {} of {}: ", new.who, new.what, new.at);
        text += &format!("{}{}\n", if is_added { "added; " } else { "" }, level_words(new, now));
        let refused = found.proof.as_ref().filter(|_| standing == Standing::Refused);
        if let Some(error) = refused.and_then(|proof| new.proved_by(&after.trust, proof, now).err()) {
            let message = format!("a proof that came from {} does not hold: {}", new.who, with_causes(&error));
            warnings.push(Notice { code: "NOT-PROVEN".into(), message });
        }
        if standing == Standing::Overdue {
            let message = format!(
                "{} has not kept its promise of a proof from {}: this file with its signed promise is the evidence of that",
                new.who, new.provable_after
            );
            warnings.push(Notice { code: "UNPROVEN".into(), message });
        }
        let why = found.why.as_ref().filter(|_| standing.is_missing());
        text += &why.map_or(String::new(), |why| format!("  {why}\n"));
        let mut shown = statement_json(new);
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("added".into(), json!(is_added));
            shown.insert("standing".into(), json!(standing.as_str()));
            shown.insert("why".into(), json!(why));
        }
        statements.push(shown);
    }
    let is_rewritten = after.bundle != *written;
    text += &match (is_rewritten, missing) {
        (true, 0) => format!("{file} is written anew; nothing is missing\n"),
        (true, _) => {
            format!("{file} is written anew; {missing} of {} are missing or not witnessed\n", statements.len())
        }
        (false, 0) => format!("{file} stays as it is; nothing is missing\n"),
        (false, _) => {
            format!("{file} stays as it is; {missing} of {} are missing or not witnessed\n", statements.len())
        }
    };
    let mut outcome = Outcome::done(
        json!({
            "file": file, "question_id": after.bundle.question_id, "level": after.report.level().as_str(), "written": is_rewritten,
            "added": added, "missing": missing, "statements": statements,
        }),
        text,
    );
    outcome.exit = u8::from(missing > 0);
    outcome.warnings = warnings;
    outcome
}

#[cfg(test)]
mod tests;
