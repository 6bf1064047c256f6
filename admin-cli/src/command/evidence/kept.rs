//! The evidence of answers that are kept: proofs that can be had by now are put into it without being asked for one by one.

use std::{collections::BTreeSet, path::PathBuf};

use accord_edge::{clock, files};
use accord_protocol::{
    evidence::{Bundle, Report, Statement, verify},
    signed::{Document, FederationId},
    time::{DAY_MS, UnixMs},
    trust::travels,
};
use serde_json::Value;

use super::{
    complete::{fetch, is_fully_proved, most_proved},
    read,
};
use crate::{
    client::{Client, block_on},
    command::{
        Global,
        history::{Kept, kept},
    },
    profile::Profile,
};

/// How long the own node keeps proofs. Of older answers a partner can still be asked: `accord evidence complete`.
const PROOFS_KEPT_MS: u64 = 30 * DAY_MS;

/// What was put into the evidence of one answer.
#[derive(Debug)]
pub(in crate::command) struct Completed {
    /// The answer.
    pub(in crate::command) id: String,
    /// How many of its replies are proved better than before.
    pub(in crate::command) added: usize,
    /// How many could be proved, and are not, or not by enough.
    pub(in crate::command) missing: usize,
}

/// An answer with replies that could be proved better.
struct Open {
    answer: Kept,
    bundle: Bundle,
    report: Report,
}

/// Asks the own node for the proofs that kept evidence lacks, and puts in what holds. Where all is proved as well as
/// can be, no node is asked.
pub(in crate::command) fn complete_kept(profile: &Profile, global: &Global) -> anyhow::Result<Vec<Completed>> {
    let now = clock::now();
    let federation = *profile.trust()?.0.federation();
    let open: Vec<Open> = kept(profile)?.into_iter().filter_map(|answer| look_into(answer, &federation, now)).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let found = block_on(async {
        let client = Client::connect(profile, global).await?;
        let (mut found, mut silent) = (Vec::new(), BTreeSet::new());
        for one in &open {
            found.push(fetch(&client, &one.report, is_provable, &mut silent).await?);
        }
        client.close().await;
        Ok(found)
    })?;
    // What the profile has learned while it was connected counts.
    let learned: Vec<Document> = profile.trust()?.1.into_iter().filter(travels).collect();
    let mut all = Vec::new();
    for (Open { answer, bundle, report }, found) in open.iter().zip(&found) {
        let Some(after) = most_proved(bundle, report, found, &learned, now) else { continue };
        if after.bundle != *bundle {
            files::rewrite_atomically(&evidence_of(answer), &serde_json::to_vec_pretty(&after.bundle)?)?;
        }
        let better = report.statements.iter().zip(&after.report.statements).filter(|(old, new)| old.log != new.log);
        let missing = after.report.statements.iter().filter(|statement| is_due(statement, now));
        all.push(Completed { id: answer.id.clone(), added: better.count(), missing: missing.count() });
    }
    Ok(all)
}

fn evidence_of(answer: &Kept) -> PathBuf {
    answer.dir.join("evidence.json")
}

// What cannot be read or does not verify stays as it is: `accord history verify` says why.
fn look_into(answer: Kept, federation: &FederationId, now: UnixMs) -> Option<Open> {
    let asked_at: UnixMs = answer.answer.get("asked_at").and_then(Value::as_str)?.parse().ok()?;
    if asked_at.plus(PROOFS_KEPT_MS) < now {
        return None;
    }
    let bundle = read(&evidence_of(&answer)).ok()?;
    let report = verify(&bundle, federation, now);
    let is_open = report.failed.is_empty() && report.statements.iter().any(is_provable);
    is_open.then_some(Open { answer, bundle, report })
}

// A log may be closed before it has to be: what is not due yet is asked for, too.
fn is_provable(statement: &Statement) -> bool {
    !is_fully_proved(statement) && statement.provable_from().is_some()
}

fn is_due(statement: &Statement, now: UnixMs) -> bool {
    is_provable(statement) && statement.provable_from().is_some_and(|from| from <= now)
}
