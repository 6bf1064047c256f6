//! What partners show: fetched through the own node, verified here, kept in the profile.

use std::{collections::BTreeSet, path::PathBuf};

use accord_edge::{files, stream::NoBody};
use accord_policy::{Way, answer_words};
use accord_protocol::{
    catalogue::Table,
    codec::{Cap, decode, encode},
    id::{Hash, NodeId},
    message::{Fetch, MessageKind, RelayCall},
    officers::Purpose,
    signed::{Document, Label, Verified},
    topic::Under,
    trust::Trust,
    view::{View, ViewRow},
};

use crate::{client::Client, output::Failure, profile::Profile};

/// How long the own node may wait for the partner.
const WAIT_MS: u32 = 15_000;

fn file(profile: &Profile, member: &NodeId) -> PathBuf {
    profile.dir.join("views").join(format!("{member}.accord"))
}

// Signed by a key of the partner that counts now, and meant for this member.
fn believed(profile: &Profile, trust: &Trust, member: &NodeId, document: &Document) -> Option<Verified<View>> {
    let keys = trust.sign_keys(member, accord_edge::clock::now());
    let view = document.verify::<View>(trust.federation(), &keys, 1, &[]).ok()?;
    (view.provider == *member && view.audience == profile.member).then_some(view)
}

/// What a partner showed when it was looked at last.
pub(crate) fn kept(profile: &Profile, trust: &Trust, member: &NodeId) -> Option<Verified<View>> {
    let document = files::read_document(&file(profile, member)).ok()?;
    believed(profile, trust, member, &document)
}

/// Looks at what a partner shows now, and keeps it.
pub(crate) async fn fetch(
    profile: &Profile,
    trust: &Trust,
    client: &Client,
    member: &NodeId,
) -> anyhow::Result<Verified<View>> {
    let fetch = Fetch { label: Label::View, node_id: Some(member.clone()), number: 0, hash: Hash::ZERO };
    let call = RelayCall { from: member.clone(), fetch, wait_ms: WAIT_MS };
    let reply = client.raw(MessageKind::Relay, encode(&call)?, NoBody).await?;
    let unreachable = || {
        let next = format!("try again later, or call {member}'s operator; `accord trust` shows who is reachable");
        Failure::fault(
            "NO-VIEW",
            format!("{member} did not show anything: it is not reachable, or does not serve now"),
            next,
        )
    };
    let found = (reply.head.first() == Some(&1)).then(|| decode::<Document>(&reply.body, Cap::Document).ok()).flatten();
    let document = found.ok_or_else(unreachable)?;
    let view = believed(profile, trust, member, &document).ok_or_else(|| {
        let message = format!("what came from {member} is not its signed view for {}", profile.member);
        Failure::refused("NOT-VERIFIED", message, "check the trust documents on both sides (`accord trust`)")
    })?;
    files::make_dir(&profile.dir.join("views"))?;
    files::write_document(&file(profile, member), &document)?;
    Ok(view)
}

/// How a row is answered, in words.
pub(crate) fn words(view: &View, row: &ViewRow) -> String {
    let ways: Vec<Option<Way>> = row.ways.iter().map(|way| Way::from_number(*way)).collect();
    answer_words(view.ages.as_slice(), &ways)
}

/// What a partner's view says of a question that it refused: what of it has to be otherwise. `levels` are those asked for, `topic` is
/// whether it was asked under one, `waits` whether an answer would still be wanted later.
pub(crate) fn hint(
    view: &View,
    (table, levels): (&Table, &[u8]),
    purpose: Purpose,
    (topic, waits): (bool, bool),
) -> Option<String> {
    let member = &view.provider;
    let shown = view.tables.iter().find(|shown| (shown.table_id, shown.table_version) == (table.id, table.version))?;
    let of_purpose: Vec<&ViewRow> = shown.rows.iter().filter(|row| row.purpose == purpose).collect();
    if of_purpose.is_empty() {
        let purposes: BTreeSet<&str> = shown.rows.iter().map(|row| row.purpose.as_str()).collect();
        let purposes = purposes.into_iter().collect::<Vec<_>>().join(", ");
        return Some(format!("{member} shows you {} for {purposes} alone", table.name));
    }
    let set = table.level_sets().iter().position(|set| set.levels == levels);
    let set = set.and_then(|set| u16::try_from(set).ok())?;
    let covers = |row: &&&ViewRow| row.levels.as_slice().binary_search(&set).is_ok();
    let rows: Vec<&ViewRow> = of_purpose.iter().filter(covers).copied().collect();
    let holds = |row: &&ViewRow| row.under == Under::Either || (row.under == Under::With) == topic;
    if !topic && !rows.iter().any(holds) && rows.iter().any(|row| row.under == Under::With) {
        return Some(format!(
            "{member} answers that under a topic of your agency: accord topic list, then --topic NAME"
        ));
    }
    let needs_people =
        |row: &&ViewRow| row.ways.iter().any(|way| Way::from_number(*way).is_some_and(|way| way != Way::AtOnce));
    if !waits && rows.iter().filter(|row| holds(row)).any(needs_people) {
        return Some(format!("a person at {member} may have to look first: ask with --wait DAYS"));
    }
    Some(format!("see which levels and ages {member} answers: accord tables {} --from {member}", table.name))
}
