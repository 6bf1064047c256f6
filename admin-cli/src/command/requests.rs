//! `accord requests`: an officer's own requests that wait for a person at a partner: where they stand, taking one back.

use accord_protocol::{
    codec::{Bounded, encode},
    exchange::verify_request,
    held::Recall,
    id::{from_hex, to_hex},
    key::Signature,
    message::{MessageKind, RequestsCall, SignedBytes},
    signed::{Label, Preamble},
    signer::{Domain, NotSigned},
};
use anyhow::Context;
use clap::Subcommand;
use serde_json::Value;

use super::{
    Global,
    edition::field,
    inbox::{asks_text, confirm, result_of},
    status::{ask_node, ask_node_at, ask_node_with},
};
use crate::{
    output::{Failure, Outcome, table},
    profile::Profile,
};

/// `accord requests`
#[derive(Debug, Subcommand)]
pub(crate) enum Requests {
    /// Where they stand.
    List {
        /// Have the own node ask all partners now.
        #[arg(long)]
        collect: bool,
    },
    /// One of them.
    Show {
        /// The beginning of the request's id.
        id: String,
    },
    /// Take one back: it is not answered any more.
    Withdraw {
        /// The beginning of the request's id.
        id: String,
        /// Sign without being asked.
        #[arg(long)]
        yes: bool,
    },
}

impl Requests {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::List { collect } => {
                let call = if collect { RequestsCall::Collect {} } else { RequestsCall::List {} };
                Ok(Outcome::from_reply(ask_node(global, MessageKind::Requests, &call)?, list_text))
            }
            Self::Show { id } => {
                let reply = ask_node(global, MessageKind::Requests, &RequestsCall::Show { id })?;
                Ok(Outcome::from_reply(reply, one_text))
            }
            Self::Withdraw { id, yes } => withdraw(&id, yes, global),
        }
    }
}

fn withdraw(id: &str, yes: bool, global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    let call = RequestsCall::Show { id: id.to_owned() };
    let (reply, now) = ask_node_at(&profile, global, MessageKind::Requests, &call)?;
    let shown = result_of(reply)?;
    let state = field(&shown, "/state");
    if !matches!(state.as_str(), "sent" | "held") {
        return Err(Failure::refused("OVER", format!("it is {state} already"), "see accord requests show").into());
    }
    if !yes {
        confirm(global, &format!("{}Take it back?", one_text(&shown)))?;
    }
    let not_understood = "the node's answer is not understood";
    // What is taken back is what this officer signed, and not what the node says it was.
    let (trust, _) = profile.trust()?;
    let bytes = |path: &str| from_hex(&field(&shown, path)).context(not_understood);
    let officer = Signature(bytes("/officer_signature")?.try_into().ok().context(not_understood)?);
    let (body, card) = verify_request(&trust, &bytes("/body")?, &officer, &bytes("/officer_card")?)?;
    if !to_hex(&body.request_id.0).starts_with(id) || profile.card()?.1.key != card.key {
        let message = "what the node shows is not the request of yours that you named";
        return Err(Failure::refused("NOT-VERIFIED", message, "see accord requests list; nothing was signed").into());
    }
    let recall = Recall { preamble: Preamble, body_hash: body.hash(), request_id: body.request_id, at: now };
    let payload = encode(&recall)?;
    let domain = Domain::Statement { label: Label::Withdraw, federation: trust.federation() };
    let wanted = profile.card().ok().map(|(_, card)| card.key);
    let signature = match profile.key_for(wanted, global)?.sign_as(domain, &payload) {
        // An agent signs questions alone: its owner has to be there.
        Err(NotSigned::Holder(_)) => {
            profile.key_of_ring(wanted, global)?.sign(Label::Withdraw, trust.federation(), &payload)
        }
        signed => signed?,
    };
    let signed = SignedBytes { payload: Bounded::new(payload).context("too long")?, signature };
    let call = RequestsCall::Withdraw { id: field(&shown, "/request_id"), recall: to_hex(&encode(&signed)?) };
    let reply = ask_node_with(&profile, global, MessageKind::Requests, &call)?;
    Ok(Outcome::from_reply(reply, |result| {
        format!("request {} is being taken back; {} is told\n", field(result, "/request_id"), field(result, "/member"))
    }))
}

fn list_text(result: &Value) -> String {
    let requests = result.get("requests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if requests.is_empty() {
        return "none of your requests waits for a person, or has waited\n".to_owned();
    }
    let rows: Vec<Vec<String>> = requests
        .iter()
        .map(|request| {
            let of = |path: &str| field(request, path);
            let id: String = of("/request_id").chars().take(12).collect();
            vec![id, state_words(request), of("/member"), of("/asks/table"), of("/asked_at"), of("/wanted_until")]
        })
        .collect();
    let header = ["id", "state", "partner", "table", "asked", "wanted until"].map(str::to_owned);
    let mut text = table(&header, &rows, &[]);
    if requests.iter().any(|request| matches!(field(request, "/state").as_str(), "answered" | "refused" | "expired")) {
        text += "\naccord history collect puts what was decided into the answers that are kept\n";
    }
    text
}

fn state_words(request: &Value) -> String {
    let state = field(request, "/state");
    if field(request, "/withdrawing") == "true" { format!("{state}, being taken back") } else { state }
}

fn one_text(request: &Value) -> String {
    let of = |path: &str| field(request, path);
    format!(
        "request {} to {}: {} since {}\n  asked {}, wanted until {}, for {}\n  {}\n",
        of("/request_id"),
        of("/member"),
        state_words(request),
        of("/changed_at"),
        of("/asked_at"),
        of("/wanted_until"),
        of("/purpose"),
        asks_text(request.get("asks")),
    )
}
