//! What takes two people: making published years anew, showing a number that is public anyway. Proposing, looking, agreeing.

use std::{collections::BTreeMap, io::IsTerminal};

use accord_protocol::{
    codec::{Cap, decode, encode},
    consent::Consent,
    id::{Hash, NodeId, from_hex, to_hex},
    message::{EditionCall, MessageKind, PersonReply},
    signed::Document,
    signer::NotSigned,
};
use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::{
    Global,
    edition::{field, show_text, spinner},
    status::{ask_node, ask_node_with},
};
use crate::{
    output::{Failure, Outcome, table},
    profile::Profile,
};

/// What to correct.
#[derive(Debug, Args)]
pub(crate) struct Correct {
    /// The kind of record: seizure, purity, price, site.
    kind: String,
    /// The year, or the years from one to another: 2014..2016.
    years: String,
    /// Why; it is kept at the node and told to nobody.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    how: How,
}

/// What to waive.
#[derive(Debug, Args)]
pub(crate) struct Waive {
    /// The cell: TABLE:time=2024,drug=CARFENTANIL; all of what is not named.
    #[arg(long)]
    cell: String,
    /// Where the number is public: report, page, date.
    #[arg(long)]
    public_source: String,
    /// A measure, if it is not the number of seizures; may be given again.
    #[arg(long)]
    measure: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// How far to go.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Only show what would become of it; sign nothing.
    #[arg(long)]
    dry_run: bool,
    /// Sign without being asked.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Proposals {
    /// Only this proposal, with the difference that it was made for.
    id: Option<String>,
}

/// What to agree to.
#[derive(Debug, Args)]
pub(crate) struct Agree {
    /// The proposal.
    id: String,
    /// Sign without being asked.
    #[arg(long)]
    yes: bool,
}

/// What to take off the table.
#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// The proposal.
    id: String,
    /// Why.
    #[arg(long)]
    reason: String,
}

impl Correct {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let years = |text: &str| {
            let (from, to) = text.split_once("..").unwrap_or((text, text));
            Some((from.parse().ok()?, to.parse().ok()?)).filter(|(from, to): &(u16, u16)| from <= to)
        };
        let (from, to) = years(&self.years).ok_or_else(|| {
            let message = format!("`{}` is neither a year nor years from one to another", self.years);
            Failure::usage("YEARS", message, "for example 2015, or 2014..2016")
        })?;
        propose(global, &EditionCall::Correct { kind: self.kind, from, to, reason: self.reason }, &self.how)
    }
}

impl Waive {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (table, key) = cell_of(&self.cell).ok_or_else(|| {
            let message = format!("`{}` does not name a cell", self.cell);
            Failure::usage("CELL", message, "for example --cell seizures-year-drug:time=2024,drug=COC")
        })?;
        let call = EditionCall::Waive { table, key, measures: self.measure, source: self.public_source };
        propose(global, &call, &self.how)
    }
}

// A cell by its table and codes.
fn cell_of(text: &str) -> Option<(String, BTreeMap<String, String>)> {
    let (table, codes) = text.split_once(':')?;
    let mut key = BTreeMap::new();
    for part in codes.split(',') {
        let (dimension, code) = part.split_once('=')?;
        let (dimension, code) = (dimension.trim(), code.trim());
        if dimension.is_empty() || code.is_empty() || key.insert(dimension.to_owned(), code.to_owned()).is_some() {
            return None;
        }
    }
    Some((table.trim().to_owned(), key))
}

impl Proposals {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let one = self.id.is_some();
        let reply = ask_node(global, MessageKind::Edition, &EditionCall::Proposals { id: self.id })?;
        Ok(Outcome::from_reply(reply, if one { proposal_text } else { proposals_text }))
    }
}

impl Agree {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        let call = EditionCall::Proposals { id: Some(self.id) };
        let reply = ask_node_with(&profile, global, MessageKind::Edition, &call)?;
        if reply.error.is_some() {
            return Ok(Outcome::from_reply(reply, proposal_text));
        }
        sign(&profile, global, reply, self.yes)
    }
}

impl Reject {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let call = EditionCall::Reject { id: self.id, reason: self.reason };
        let text = |result: &Value| format!("proposal {} is off the table\n", field(result, "/proposal"));
        Ok(Outcome::from_reply(ask_node(global, MessageKind::Edition, &call)?, text))
    }
}

// Has the node work out what would become of it, shows it, and signs it.
fn propose(global: &Global, call: &EditionCall, how: &How) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    let waiting = global.shows_progress().then(|| spinner("working out what it would change"));
    let reply = ask_node_with(&profile, global, MessageKind::Edition, call);
    if let Some(waiting) = waiting {
        waiting.finish_and_clear();
    }
    let mut reply = reply?;
    if reply.error.is_some() || how.dry_run {
        if let Some(result) = reply.result.as_mut().and_then(Value::as_object_mut) {
            result.insert("state".into(), "not_proposed".into());
        }
        return Ok(Outcome::from_reply(reply, proposal_text));
    }
    sign(&profile, global, reply, how.yes)
}

// Signs what the node has shown: the consent names SHA-256 of the very difference that is on the screen.
fn sign(profile: &Profile, global: &Global, shown: PersonReply<Value>, yes: bool) -> anyhow::Result<Outcome> {
    let result = shown.result.unwrap_or_default();
    let mut document = document_of(&result)?;
    let consent: Consent = document.unverified().context("the node's proposal is not understood")?;
    let federation = *profile.trust()?.0.federation();
    if !is_for(&consent, &result, &federation, &profile.member)? {
        let message = "the node's proposal is not for what it shows, or for another agency; nothing was signed";
        return Err(Failure::refused("PROPOSAL", message, "use the same version of accord and accord-node").into());
    }
    if !yes {
        confirm(global, &result)?;
    }
    let signed = match document.add_signature_of(&*profile.key(global)?, &federation) {
        // An agent signs no such thing: its owner has to be there.
        Err(NotSigned::Holder(_)) => document.add_signature_of(&profile.key_of_ring(None, global)?, &federation),
        signed => signed,
    };
    if !signed? {
        return Err(Failure::refused("PROPOSAL", "there is no room for another signature", "propose it anew").into());
    }
    let id = field(&result, "/proposal");
    let call = EditionCall::Agree { id: id.clone(), document: to_hex(&encode(&document)?) };
    let waiting = global.shows_progress().then(|| spinner("signing, and doing it if enough have signed"));
    let reply = ask_node_with(profile, global, MessageKind::Edition, &call);
    if let Some(waiting) = waiting {
        waiting.finish_and_clear();
    }
    let difference = result.get("difference").cloned().unwrap_or_default();
    let mut reply = reply?;
    // What was signed belongs to the answer; what was done says it by itself.
    if let Some(fields) =
        reply.result.as_mut().and_then(Value::as_object_mut).filter(|fields| !fields.contains_key("agreed"))
    {
        fields.insert("difference".into(), difference);
    }
    Ok(Outcome::from_reply(reply, agreed_text))
}

// Whether a consent is for the difference that a result shows, and for this agency.
fn is_for(consent: &Consent, result: &Value, federation: &Hash, member: &NodeId) -> anyhow::Result<bool> {
    let difference = serde_json::to_vec(result.get("difference").unwrap_or(&Value::Null))?;
    Ok(consent.difference == Hash::of(&difference) && consent.federation == *federation && consent.member == *member)
}

fn document_of(result: &Value) -> anyhow::Result<Document> {
    let bytes = from_hex(&field(result, "/document")).context("the node's proposal is not understood")?;
    decode(&bytes, Cap::Document).context("the node's proposal is not understood")
}

fn confirm(global: &Global, result: &Value) -> anyhow::Result<()> {
    let unconfirmed =
        |message: &str| Failure::usage("CONFIRM", message, "look with --dry-run, then repeat it with --yes");
    if global.json || !std::io::stdin().is_terminal() {
        return Err(unconfirmed("what is signed here has to be confirmed").into());
    }
    eprint!("{}\nSign it? What was published cannot be unseen. Type yes: ", proposal_text(result));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(unconfirmed("not confirmed; nothing was signed").into()) }
}

fn agreed_text(result: &Value) -> String {
    let Some(agreed) = result.get("agreed") else { return proposal_text(result) };
    let withdrawn: Vec<String> = result
        .get("withdrawn_editions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    let of = if withdrawn.is_empty() { String::new() } else { format!("; withdrawn: {}", withdrawn.join(", ")) };
    format!("agreed and done: {}{of}\n\n{}", in_words(agreed), show_text(result))
}

// What a proposal is about, in a line.
fn in_words(result: &Value) -> String {
    let [kind, from, to] = ["/kind", "/from", "/to"].map(|path| field(result, path));
    let years = if from == to { from } else { format!("{from}..{to}") };
    match field(result, "/matter").as_str() {
        "waive" => format!("show {} although it is small, because it is public anyway", cell_words(result.get("cell"))),
        _ => format!("make {kind} {years} anew from the records, and withdraw the editions before"),
    }
}

pub(super) fn cell_words(cell: Option<&Value>) -> String {
    let pairs = |name: &str| -> Vec<String> {
        let fields = cell.and_then(|cell| cell.get(name)).and_then(Value::as_object);
        fields
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect()
    };
    let table = cell.map(|cell| field(cell, "/table")).unwrap_or_default();
    format!("{} of {table}, {}", pairs("values").join(", "), pairs("key").join(", "))
}

fn proposal_text(result: &Value) -> String {
    let keys: Vec<String> = result
        .get("signed_by")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|of| match field(of, "/fingerprint").as_str() {
            "null" | "" => field(of, "/key").chars().take(16).collect(),
            print => format!("{} {}", field(of, "/role"), print.chars().take(11).collect::<String>()),
        })
        .collect();
    let state = field(result, "/state").replace('_', " ");
    let signed = if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") };
    let mut text = format!(
        "proposal {} ({state}): {}\n  {}: {}\n  signed by {signed}; {} people have to, until {}\n",
        field(result, "/proposal"),
        in_words(result),
        if field(result, "/matter") == "waive" { "public in" } else { "reason" },
        field(result, "/reason"),
        field(result, "/needed"),
        field(result, "/expires_at"),
    );
    if state == "open" && keys.len() == 1 {
        text += &format!("  a colleague agrees with: accord edition agree {}\n", field(result, "/proposal"));
    }
    let Some(difference) = result.get("difference") else { return text };
    text += &format!("\nwhat anybody sees who has edition {} and the new one:\n", field(difference, "/edition"));
    for of in difference.get("years").and_then(Value::as_array).into_iter().flatten() {
        let [kind, year, added, removed, discloses, narrows] =
            ["/kind", "/year", "/lines_added", "/lines_removed", "/discloses", "/narrows"].map(|path| field(of, path));
        text += &format!(
            "  {kind} {year}: {added} lines came and {removed} went since; {discloses} numbers tell of too few cases, or mainly of one\n"
        );
        if narrows != "0" {
            text += &format!(
                "  {kind} {year}: {narrows} numbers stay hidden and can perhaps be narrowed, beyond what changed\n"
            );
        }
    }
    if let Some(rules) = difference.get("rules") {
        text += &format!(
            "  made by other rules: at least {} cases before, {} now\n",
            field(rules, "/from/k"),
            field(rules, "/to/k")
        );
    }
    let counts = ["/changed", "/shown", "/hidden", "/added", "/gone"];
    let rows: Vec<Vec<String>> = difference
        .get("tables")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|of| counts.iter().any(|path| field(of, path) != "0"))
        .map(|of| std::iter::once("/table").chain(counts).map(|path| field(of, path)).collect())
        .collect();
    let header = ["table", "changed", "shown now", "hidden now", "added", "gone"].map(str::to_owned);
    text += &format!("\n{}", table(&header, &rows, &[false, true, true, true, true, true]));
    let header = ["table", "cell", "measure", "said", "says", "cases of the difference"].map(str::to_owned);
    text += &list_of(difference, "discloses", &header, &["/measure", "/from", "/to", "/cases"]);
    let header = ["table", "hidden cell that can perhaps be narrowed", "measure"].map(str::to_owned);
    text += &list_of(difference, "narrows", &header, &["/measure"]);
    text
}

// Some numbers that a difference names.
fn list_of(difference: &Value, name: &str, header: &[String], fields: &[&str]) -> String {
    let listed = difference.get(name).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let row = |of: &Value| {
        let codes = of.get("key").and_then(Value::as_object).into_iter().flatten();
        let codes: Vec<&str> = codes.filter_map(|(_, code)| code.as_str()).collect();
        let rest = fields.iter().map(|path| field(of, path)).collect();
        [vec![field(of, "/table"), codes.join(" ")], rest].concat()
    };
    let rows: Vec<Vec<String>> = listed.iter().take(TOLD_MAX).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}", table(header, &rows, &[false, false, false, true, true, true]));
    if listed.len() > TOLD_MAX {
        text += &format!("and {} more: --json lists them\n", listed.len() - TOLD_MAX);
    }
    text
}

// Numbers that are listed for people, at most.
const TOLD_MAX: usize = 30;

fn proposals_text(result: &Value) -> String {
    let rows: Vec<Vec<String>> = result
        .get("proposals")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|of| {
            let signed = of.get("signed_by").and_then(Value::as_array).map_or(0, Vec::len);
            vec![
                field(of, "/proposal"),
                field(of, "/state"),
                in_words(of),
                format!("{signed} of {}", field(of, "/needed")),
                field(of, "/proposed_at"),
                field(of, "/reason"),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "nothing has been proposed\n".to_owned();
    }
    let header = ["proposal", "state", "what", "signed", "proposed", "reason or source"].map(str::to_owned);
    table(&header, &rows, &[])
}

#[cfg(test)]
mod tests {
    use accord_protocol::{catalogue::Kind, codec::Bounded, consent::Matter, signed::Preamble, time::UnixMs};
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_signed_but_what_is_shown() {
        let (federation, member): (_, NodeId) = (Hash::of(b"federation"), "ES-AGENCY".parse().unwrap());
        let difference = json!({ "edition": 3, "tables": [] });
        let consent = Consent {
            preamble: Preamble,
            federation,
            member: member.clone(),
            edition: 3,
            matter: Matter::Correct,
            kind: Kind::Seizure,
            from_year: 2024,
            to_year: 2024,
            cell: Bounded::default(),
            difference: Hash::of(&serde_json::to_vec(&difference).unwrap()),
            reason: Bounded::new(b"wrong drug".to_vec()).unwrap(),
            at: UnixMs(1_000),
        };
        let shown = |difference: &Value| json!({ "difference": difference });
        let is_for = |result: &Value, federation: &Hash, member: &str| {
            is_for(&consent, result, federation, &member.parse().unwrap()).unwrap()
        };
        assert!(is_for(&shown(&difference), &federation, "ES-AGENCY"));
        assert!(!is_for(&shown(&json!({ "edition": 3, "tables": [1] })), &federation, "ES-AGENCY"));
        assert!(!is_for(&json!({}), &federation, "ES-AGENCY"));
        assert!(!is_for(&shown(&difference), &Hash::ZERO, "ES-AGENCY"));
        assert!(!is_for(&shown(&difference), &federation, "IT-AGENCY"));
    }

    #[test]
    fn people_read_what_can_be_narrowed() {
        let key = json!({ "time": "2024", "drug": "LSD" });
        let result = json!({
            "proposal": "0123456789abcdef", "state": "open", "matter": "correct", "kind": "seizure", "from": 2024, "to": 2025,
            "reason": "the new rules", "signed_by": [], "needed": 2, "expires_at": "2026-12-13",
            "difference": {
                "edition": 3,
                "years": [
                    { "kind": "seizure", "year": 2024, "lines_added": 2, "lines_removed": 1, "discloses": 1, "narrows": 41 },
                    { "kind": "seizure", "year": 2025, "lines_added": 0, "lines_removed": 0, "discloses": 0, "narrows": 0 },
                ],
                "rules": { "from": { "k": 5 }, "to": { "k": 3 } },
                "tables": [{ "table": "seizures-year-drug", "changed": 1, "shown": 0, "hidden": 2, "added": 0, "gone": 0 }],
                "discloses": [{ "table": "seizures-year-drug", "key": key, "measure": "seizures", "from": 7, "to": 9, "cases": 2 }],
                "narrows": vec![json!({ "table": "seizures-year-drug", "key": key, "measure": "quantity_mg" }); 41],
            },
        });
        let text = proposal_text(&result);
        for line in [
            "make seizure 2024..2025 anew from the records, and withdraw the editions before",
            "signed by nobody; 2 people have to, until 2026-12-13",
            "seizure 2024: 2 lines came and 1 went since; 1 numbers tell of too few cases, or mainly of one",
            "seizure 2024: 41 numbers stay hidden and can perhaps be narrowed, beyond what changed",
            "made by other rules: at least 5 cases before, 3 now",
            "and 11 more: --json lists them",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("2025: 0 numbers stay hidden"), "{text}");
        assert_eq!(text.matches("2024 LSD").count() + text.matches("LSD 2024").count(), 31, "{text}");
    }

    #[test]
    fn a_cell_is_named_by_table_and_codes() {
        let found = |text: &str| {
            let (table, key) = cell_of(text)?;
            let codes: Vec<String> = key.iter().map(|(dimension, code)| format!("{dimension}={code}")).collect();
            Some(format!("{table} {}", codes.join(" ")))
        };
        let table = [
            ("t:time=2024", Some("t time=2024")),
            ("t: time = 2024-Q1 , drug=COC", Some("t drug=COC time=2024-Q1")),
            ("t", None),
            ("t:", None),
            ("t:time", None),
            ("t:time=", None),
            ("t:time=2024,time=2025", None),
        ];
        for (text, cell) in table {
            assert_eq!(found(text).as_deref(), cell, "{text}");
        }
    }
}
