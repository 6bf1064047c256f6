//! `accord inbox standing`: an approver's yes in advance, to a partner, table and purpose for a time.

use accord_protocol::{
    approval::StandingApproval,
    id::NodeId,
    message::{InboxCall, MessageKind},
    officers::Purpose,
    signed::{Preamble, Signable},
    time::{DAY_MS, Date, UnixMs},
};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Global, ask,
    edition::field,
    inbox::{approver, list, short, signed},
    status::{ask_node, ask_node_at, ask_node_with},
    tables,
};
use crate::output::{Failure, Outcome, table};

/// `accord inbox standing`
#[derive(Debug, Subcommand)]
pub(crate) enum Standing {
    /// The standing approvals that count.
    List,
    /// Say yes in advance.
    Grant {
        #[command(flatten)]
        to: To,
        /// The last day.
        #[arg(long, value_name = "DATE")]
        until: String,
    },
    /// End your yes.
    End {
        #[command(flatten)]
        to: To,
    },
}

/// What a standing approval is for.
#[derive(Debug, Args)]
pub(crate) struct To {
    /// The partner.
    #[arg(long, value_name = "MEMBER")]
    partner: String,
    /// The table.
    #[arg(long)]
    table: String,
    /// The purpose.
    #[arg(long)]
    purpose: String,
}

impl Standing {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let (to, until) = match self {
            Self::List => {
                let reply = ask_node(global, MessageKind::Inbox, &InboxCall::List { all: false })?;
                return Ok(Outcome::from_reply(reply, standing_text));
            }
            Self::Grant { to, until } => {
                let until: Date = until.parse().map_err(|_| {
                    let shown: String = until.chars().take(40).flat_map(char::escape_default).collect();
                    Failure::usage("DATE", format!("`{shown}` is no date"), "for example --until 2027-06-30")
                })?;
                (to, Some(until))
            }
            Self::End { to } => (to, None),
        };
        let profile = approver(global)?;
        let (_, now) = ask_node_at(&profile, global, MessageKind::Inbox, &InboxCall::List { all: false })?;
        let (trust, _) = profile.trust()?;
        let partner: Option<NodeId> = trust
            .roster()
            .members
            .iter()
            .map(|member| &member.node_id)
            .find(|member| member.as_str() == to.partner)
            .cloned();
        let partner = partner.filter(|partner| *partner != profile.member).ok_or_else(|| {
            let names: Vec<&str> = trust.roster().members.iter().map(|member| member.node_id.as_str()).collect();
            let shown: String = to.partner.chars().take(40).flat_map(char::escape_default).collect();
            Failure::usage(
                "UNKNOWN-MEMBER",
                format!("`{shown}` is no partner"),
                format!("members: {}", names.join(", ")),
            )
        })?;
        let table_id = tables::find(trust.catalogue(), &to.table)?.id;
        let purpose = ask::word("--purpose", &to.purpose, Purpose::from_word, Purpose::ALL, Purpose::as_str)?;
        // To the end of the last day.
        let end = |date: Date| UnixMs(u64::try_from(date.to_days() + 1).map_or(0, |days| days * DAY_MS));
        let standing = StandingApproval {
            preamble: Preamble,
            node_id: profile.member.clone(),
            partner,
            table_id,
            purpose,
            from: now,
            until: until.map_or(now, end),
        };
        standing.check().map_err(|rule| {
            Failure::usage(
                "UNTIL",
                format!("such a standing approval cannot be signed: {rule}"),
                "choose another --until",
            )
        })?;
        let call = InboxCall::Standing { document: signed(&profile, global, &standing)? };
        let reply = ask_node_with(&profile, global, MessageKind::Inbox, &call)?;
        Ok(Outcome::from_reply(reply, standing_text))
    }
}

/// Standing approvals in words.
pub(super) fn standing_text(result: &Value) -> String {
    let standing = list(result, "standing");
    if standing.is_empty() {
        return "no standing approval\n".to_owned();
    }
    let rows: Vec<Vec<String>> = standing
        .iter()
        .map(|said| {
            let of = |path: &str| field(said, path);
            vec![of("/partner"), of("/table"), of("/purpose"), of("/until"), short(&of("/by"))]
        })
        .collect();
    table(&["yes in advance to", "table", "purpose", "until", "by"].map(str::to_owned), &rows, &[])
}
