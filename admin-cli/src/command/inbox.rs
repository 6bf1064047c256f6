//! `accord inbox`: requests that wait for a person here. Who decides sees exactly what would leave, and signs that.

use std::io::IsTerminal;

use accord_protocol::{
    approval::{Approval, Verdict},
    codec::{Bounded, encode},
    exchange::verify_request,
    id::{Hash, from_hex, to_hex},
    key::Signature,
    member_keys::KeyRole,
    message::{InboxCall, MessageKind, PersonReply},
    officers::Card,
    question::{Question, level_words, nearest},
    refusal::Reason,
    request::RequestBody,
    selection::Selection,
    signed::{Document, Preamble, Signable, Verified},
    signer::NotSigned,
    time::UnixMs,
    topic::{Topic, named},
    trust::Trust,
};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Global,
    edition::field,
    standing::{Standing, standing_text},
    status::{ask_node, ask_node_at, ask_node_with},
};
use crate::{
    output::{Failure, Outcome, table},
    profile::Profile,
};

/// Rows of what would leave that are shown without `--all-rows`.
const ROWS_SHOWN: usize = 40;

/// `accord inbox`
#[derive(Debug, Subcommand)]
pub(crate) enum Inbox {
    /// What waits for a person.
    List {
        /// What was decided, too.
        #[arg(long)]
        all: bool,
    },
    /// One request: who asks, why, exactly what would leave, and what that officer received before.
    Show(Show),
    /// Say yes to exactly what would leave now.
    Approve(Approve),
    /// Say that you have seen it and that it waits; the asker learns that, and nothing else.
    Hold {
        /// The beginning of the request's id.
        id: String,
        /// What colleagues should know; it is kept at the node and told to nobody.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Say no.
    Reject {
        /// The beginning of the request's id.
        id: String,
        /// Why, as the asker learns it.
        #[arg(long, value_name = "REASON")]
        reason: String,
    },
    /// Yes in advance, to a partner, table and purpose for a time.
    #[command(subcommand)]
    Standing(Standing),
}

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The beginning of the request's id.
    id: String,
    /// Show every row of what would leave.
    #[arg(long)]
    all_rows: bool,
}

/// What to say yes to.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The beginning of the request's id.
    id: String,
    /// Sign without being asked.
    #[arg(long)]
    yes: bool,
    /// Only if this is what would leave: SHA-256 of the slice, as `inbox show` printed it.
    #[arg(long, value_name = "HASH")]
    slice: Option<String>,
}

impl Inbox {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::List { all } => {
                let reply = ask_node(global, MessageKind::Inbox, &InboxCall::List { all })?;
                Ok(Outcome::from_reply(reply, list_text))
            }
            Self::Show(show) => {
                let profile = Profile::open(global)?;
                let seen = look(&profile, global, &show.id)?;
                Ok(Outcome::done(seen.shown.clone(), seen.text(show.all_rows)))
            }
            Self::Approve(approve) => approve.run(global),
            Self::Hold { id, note } => {
                let reply = ask_node(global, MessageKind::Inbox, &InboxCall::Hold { id, note })?;
                Ok(Outcome::from_reply(reply, decided_text))
            }
            Self::Reject { id, reason } => reject(&id, &reason, global),
            Self::Standing(standing) => standing.run(global),
        }
    }
}

// The profile of somebody who may sign verdicts: said before anything is shown or asked.
pub(super) fn approver(global: &Global) -> anyhow::Result<Profile> {
    let profile = Profile::open(global)?;
    if profile.role == KeyRole::Approver {
        return Ok(profile);
    }
    let message = format!("this profile is of the role {}, and approvers alone decide", profile.role);
    Err(Failure::refused("ROLE", message, "use an approver's profile (--profile); accord staff add lists one").into())
}

// A request that was looked at: the officer's signature verified here, and the cells read here.
struct Seen {
    shown: Value,
    body: Verified<RequestBody>,
    card: Card,
    topic: Option<Verified<Topic>>,
    leaves: Option<Leaves>,
    trust: Trust,
    // By the node's clock.
    now: UnixMs,
}

struct Leaves {
    selection: Selection,
    cells: Vec<Vec<accord_protocol::cell::Released>>,
    slice_hash: Hash,
    edition: u64,
    policy_hash: Hash,
}

fn look(profile: &Profile, global: &Global, id: &str) -> anyhow::Result<Seen> {
    let call = InboxCall::Show { id: id.to_owned() };
    let (reply, now) = ask_node_at(profile, global, MessageKind::Inbox, &call)?;
    let shown = result_of(reply)?;
    let (trust, _) = profile.trust()?;
    let not_believed = |why: String| {
        let message = format!("what the node shows does not verify: {why}");
        Failure::refused("NOT-VERIFIED", message, "check the trust documents (`accord trust`); nothing was signed")
    };
    let bytes = |name: &str| from_hex(&field(&shown, name)).context("the node's answer is not understood");
    let signature =
        Signature(bytes("/officer_signature")?.try_into().ok().context("the node's answer is not understood")?);
    let (body, card) = verify_request(&trust, &bytes("/body")?, &signature, &bytes("/officer_card")?)
        .map_err(|error| not_believed(format!("{:#}", anyhow::Error::new(error))))?;
    if body.audience != profile.member || !to_hex(&body.request_id.0).starts_with(id) {
        return Err(not_believed("it is another request than the one asked for".into()).into());
    }
    // Whether it is still in force, the node looks at again before anything leaves.
    let topic = Bounded::new(bytes("/topic")?).context("the node's answer is not understood")?;
    let topic =
        named(&trust, &body, &topic).map_err(|error| not_believed(format!("{:#}", anyhow::Error::new(error))))?;
    let leaves = if field(&shown, "/would_leave/possible") == "true" {
        let table = trust.catalogue().table_by_id(body.query.table_id);
        let table = table.ok_or_else(|| not_believed("its table is not in the catalogue in force".into()))?;
        let selection = Selection::new(&body.query, table, profile.member.country())
            .map_err(|error| not_believed(error.to_string()))?;
        let slice = bytes("/would_leave/slice")?;
        let cells = selection.read(&slice).map_err(|error| not_believed(error.to_string()))?;
        let hash = |name: &str| {
            field(&shown, name).parse::<Hash>().map_err(|_| not_believed("the node's answer is not understood".into()))
        };
        let edition = shown.pointer("/would_leave/edition").and_then(Value::as_u64).unwrap_or(0);
        Some(Leaves {
            selection,
            cells,
            slice_hash: Hash::of(&slice),
            edition,
            policy_hash: hash("/would_leave/policy_hash")?,
        })
    } else {
        None
    };
    let policy = trust.policy().map(Verified::hash);
    if leaves.as_ref().is_some_and(|leaves: &Leaves| policy.is_some_and(|policy| policy != leaves.policy_hash)) {
        return Err(not_believed("it names another policy than the one in force".into()).into());
    }
    Ok(Seen { shown, body, card, topic, leaves, trust, now })
}

/// What the own node replied, or what it says is wrong.
pub(in crate::command) fn result_of(reply: PersonReply<Value>) -> anyhow::Result<Value> {
    match (reply.result, reply.error) {
        (_, Some(fault)) => Err(Failure { exit: reply.exit, fault: Box::new(fault) }.into()),
        (Some(result), None) => Ok(result),
        (None, None) => anyhow::bail!("the node's answer is not understood"),
    }
}

impl Seen {
    fn text(&self, all_rows: bool) -> String {
        let shown = &self.shown;
        let of = |path: &str| field(shown, path);
        let mut text = format!(
            "request {} of {}, officer {}\n  came {}, wanted until {}; {}\n  for {}, on the ground of {}{}\n  {}\n",
            self.body.request_id,
            self.body.requester,
            self.card.officer_id,
            of("/received_at"),
            self.body.wanted_until,
            of("/state"),
            self.body.purpose,
            self.body.legal_basis,
            if self.body.case_ref_commit == Hash::ZERO { "" } else { ", with a case reference" },
            self.asks(),
        );
        match &self.topic {
            None => text += "  under no topic\n",
            Some(topic) => text += &format!("  under the topic “{}”, until {}\n", topic.title(), topic.valid_to.date()),
        }
        let received = list(shown, "received_before");
        if received.is_empty() {
            text += "  that officer has received nothing from here before\n";
        } else {
            text += "  that officer has received:\n";
            for before in received {
                text += &format!(
                    "    {} of edition {}, for the first time {}\n",
                    field(before, "/table"),
                    field(before, "/edition"),
                    field(before, "/first")
                );
            }
        }
        for note in list(shown, "notes") {
            let words = field(note, "/text");
            let words = if words.is_empty() { "seen".to_owned() } else { words };
            text += &format!("  {} {}: {words}\n", field(note, "/at"), short(&field(note, "/by")));
        }
        for verdict in list(shown, "verdicts") {
            let reason =
                verdict.get("reason").and_then(Value::as_str).map_or(String::new(), |reason| format!(" ({reason})"));
            text += &format!(
                "  {} {}: {}{reason}\n",
                field(verdict, "/at"),
                short(&field(verdict, "/by")),
                field(verdict, "/verdict")
            );
        }
        let Some(leaves) = &self.leaves else {
            if shown.get("would_leave").is_some_and(|would| !would.is_null()) {
                text += &format!("\nnothing can leave now: {}\n", of("/would_leave/why"));
            }
            return text;
        };
        text += &format!(
            "\nwould leave, of edition {}: {} cells, slice {}\n  permitted by policy {}; {} of {} approvals\n",
            leaves.edition,
            leaves.cells.len(),
            leaves.slice_hash,
            of("/would_leave/policy_version"),
            of("/would_leave/approvals"),
            of("/would_leave/needed"),
        );
        if of("/would_leave/voided") != "0" {
            text += "  an earlier yes does not count any more: the edition, the policy or the staff list has changed since\n";
        }
        text.push('\n');
        text += &self.cells_text(leaves, all_rows);
        text
    }

    // What is asked, from what the officer signed.
    fn asks(&self) -> String {
        let query = &self.body.query;
        let Some(table) = self.trust.catalogue().table_by_id(query.table_id) else {
            return format!("table {}, which the catalogue in force does not have", query.table_id);
        };
        let asked = Question::of_queries(std::slice::from_ref(query), table, self.body.audience.country());
        let Some(asked) = asked else { return format!("{}, off its grid", table.name) };
        let measures: Vec<&str> =
            asked.measures.iter().filter_map(|index| table.measures.get(*index)).map(|one| one.id.as_str()).collect();
        let ends = asked.periods.first().zip(asked.periods.last());
        let range =
            ends.map_or(
                String::new(),
                |(first, last)| {
                    if first == last { first.to_string() } else { format!("{first} to {last}") }
                },
            );
        let mut text =
            format!("{} by {}, {range}: {}", table.name, level_words(table, &asked.levels), measures.join(", "));
        for (index, codes) in &asked.only {
            let name = table.dimensions.get(*index).map_or("", |dimension| dimension.name.as_str());
            text += &format!("; only {name} {}", codes.join(", "));
        }
        text
    }

    fn cells_text(&self, leaves: &Leaves, all_rows: bool) -> String {
        let Some(of) = self.trust.catalogue().table_by_id(self.body.query.table_id) else { return String::new() };
        let measures: Vec<_> = leaves.selection.measures.iter().filter_map(|index| of.measures.get(*index)).collect();
        let mut header: Vec<String> = of.dimensions.iter().map(|dimension| dimension.name.clone()).collect();
        let mut right = vec![false; header.len()];
        header.extend(measures.iter().map(|measure| measure.id.clone()));
        right.resize(header.len(), true);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (position, cells) in leaves.cells.iter().enumerate() {
            let mut at = 0;
            let mut row = leaves.selection.names_at(position);
            for measure in &measures {
                let numbers = cells.get(at..at + measure.width()).unwrap_or_default();
                at += measure.width();
                row.push(numbers.iter().map(|number| number_text(*number)).collect::<Vec<_>>().join("/"));
            }
            rows.push(row);
        }
        let left_out = if all_rows { 0 } else { rows.len().saturating_sub(ROWS_SHOWN) };
        rows.truncate(rows.len() - left_out);
        let mut text = table(&header, &rows, &right);
        if left_out > 0 {
            text += &format!("  and {left_out} rows more (--all-rows)\n");
        }
        text
    }
}

fn number_text(cell: accord_protocol::cell::Released) -> String {
    use accord_protocol::cell::State;
    match (cell.state(), cell.number()) {
        (State::Value, Some(number)) => number.to_string(),
        (State::Suppressed, _) => "hidden".to_owned(),
        (State::NotAvailable, _) | (State::Value, None) => "-".to_owned(),
    }
}

impl Approve {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = approver(global)?;
        let seen = look(&profile, global, &self.id)?;
        let Some(leaves) = &seen.leaves else {
            let why = field(&seen.shown, "/would_leave/why");
            let state = field(&seen.shown, "/state");
            let message = if state == "held" {
                format!("nothing can leave now: {why}")
            } else {
                format!("it is {state} already")
            };
            return Err(Failure::refused("NOTHING", message, "see accord inbox list --all").into());
        };
        if let Some(slice) = &self.slice
            && *slice != leaves.slice_hash.to_string()
        {
            let message = "what would leave now is not what you looked at";
            return Err(Failure::refused("CHANGED", message, "look at it again: accord inbox show").into());
        }
        if !self.yes {
            confirm(global, &format!("{}\nLet exactly this leave?", seen.text(false)))?;
        }
        let approval = Approval {
            preamble: Preamble,
            node_id: profile.member.clone(),
            body_hash: seen.body.hash(),
            verdict: Verdict::Approve,
            reason: 0,
            slice_hash: leaves.slice_hash,
            edition: leaves.edition,
            policy_hash: leaves.policy_hash,
            at: seen.now,
        };
        decide(&profile, global, &field(&seen.shown, "/request_id"), &approval)
    }
}

fn reject(id: &str, reason: &str, global: &Global) -> anyhow::Result<Outcome> {
    let reason = Reason::from_word(reason).ok_or_else(|| {
        let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let near = nearest(reason, known.iter().copied());
        let hint = if near.is_empty() {
            known.join(", ")
        } else {
            format!("near: {}; all: {}", near.join(", "), known.join(", "))
        };
        let shown: String = reason.chars().take(40).flat_map(char::escape_default).collect();
        Failure::usage("REASON", format!("`{shown}` is no reason that an asker is told"), hint)
    })?;
    let profile = approver(global)?;
    let seen = look(&profile, global, id)?;
    let approval = Approval {
        preamble: Preamble,
        node_id: profile.member.clone(),
        body_hash: seen.body.hash(),
        verdict: Verdict::Reject,
        reason: reason.number(),
        slice_hash: Hash::ZERO,
        edition: 0,
        policy_hash: Hash::ZERO,
        at: seen.now,
    };
    decide(&profile, global, &field(&seen.shown, "/request_id"), &approval)
}

fn decide(profile: &Profile, global: &Global, id: &str, approval: &Approval) -> anyhow::Result<Outcome> {
    let document = signed(profile, global, approval)?;
    let call = InboxCall::Decide { id: id.to_owned(), document };
    let reply = ask_node_with(profile, global, MessageKind::Inbox, &call)?;
    Ok(Outcome::from_reply(reply, decided_text))
}

pub(super) fn signed<T: Signable>(profile: &Profile, global: &Global, value: &T) -> anyhow::Result<String> {
    let mut document = Document::new(value)?;
    let federation = *profile.trust()?.0.federation();
    let signed = match document.add_signature_of(&*profile.key(global)?, &federation) {
        // An agent signs no such thing: its owner has to be there.
        Err(NotSigned::Holder(_)) => document.add_signature_of(&profile.key_of_ring(None, global)?, &federation),
        signed => signed,
    };
    signed?;
    Ok(to_hex(&encode(&document)?))
}

/// Asks whoever sits at the terminal.
pub(super) fn confirm(global: &Global, question: &str) -> anyhow::Result<()> {
    let unconfirmed = |message: &str| Failure::usage("CONFIRM", message, "look first, then repeat it with --yes");
    if global.json || !std::io::stdin().is_terminal() {
        return Err(unconfirmed("what is signed here has to be confirmed").into());
    }
    eprint!("{question} Type yes: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(unconfirmed("not confirmed; nothing was signed").into()) }
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().collect()
}

pub(super) fn short(key: &str) -> String {
    key.chars().take(16).collect()
}

fn list_text(result: &Value) -> String {
    let requests = list(result, "requests");
    if requests.is_empty() {
        return format!("nothing waits for a person\n{}", standing_text(result));
    }
    let rows: Vec<Vec<String>> = requests
        .iter()
        .map(|request| {
            let of = |path: &str| field(request, path);
            let id: String = of("/request_id").chars().take(12).collect();
            vec![
                id,
                of("/state"),
                of("/member"),
                of("/asks/table"),
                of("/purpose"),
                of("/received_at"),
                of("/wanted_until"),
            ]
        })
        .collect();
    let header = ["id", "state", "from", "table", "purpose", "came", "wanted until"].map(str::to_owned);
    format!("{}\n{}", table(&header, &rows, &[]), standing_text(result))
}

fn decided_text(result: &Value) -> String {
    let of = |path: &str| field(result, path);
    match (of("/state").as_str(), of("/approvals").as_str()) {
        ("held", approvals) if approvals != "0" => {
            format!("request {} waits for one more approver\n", of("/request_id"))
        }
        ("held", _) => {
            format!("request {} stays held; {} was told that somebody has seen it\n", of("/request_id"), of("/member"))
        }
        (state, _) => format!("request {} is {state}; {} is told\n", of("/request_id"), of("/member")),
    }
}

/// A query in words.
pub(super) fn asks_text(asks: Option<&Value>) -> String {
    let Some(asks) = asks else { return String::new() };
    let words = |name: &str| list(asks, name).iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(", ");
    let periods = list(asks, "periods");
    let of = |period: Option<&&Value>| period.and_then(|period| period.as_str()).unwrap_or("").to_owned();
    let range = match (of(periods.first()), of(periods.last())) {
        (first, last) if first == last => first,
        (first, last) => format!("{first} to {last}"),
    };
    let mut text = format!("{} by {}, {range}: {}", field(asks, "/table"), field(asks, "/by"), words("measures"));
    for (dimension, codes) in asks.get("only").and_then(Value::as_object).into_iter().flatten() {
        let codes: Vec<&str> = codes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        text += &format!("; only {dimension} {}", codes.join(", "));
    }
    text
}
