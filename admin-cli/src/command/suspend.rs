//! What one administrator stops at once, and two allow again: officers, partners, tables, own keys, the whole node.

use std::path::PathBuf;

use accord_edge::clock;
use accord_protocol::{
    codec::Text,
    id::Hash,
    signed::{Document, Preamble},
    suspend::{Suspend as SuspendDocument, Target, Way},
    text::shown,
    time::DAY_MS,
};
use clap::{Args, Subcommand};

use super::{
    Global,
    lists::{Ground, propose},
    member_id,
    propose::document,
};
use crate::{
    output::{Failure, Outcome},
    trusting::{desk::With, signers::first_groups, signing::Signing, words::listed_keys},
};

/// How long and why.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(super) with: With,
    /// The member whose administrators say so. Default: that of the profile.
    #[arg(long)]
    pub(super) member: Option<String>,
    /// Why, for those who read it later.
    #[arg(long)]
    reason: String,
    /// For how many days. What lasts longer belongs into the list or the keys.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=30))]
    days: u16,
    #[command(flatten)]
    signing: Signing,
    /// Where the document is written.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `accord suspend` and `accord lift`
#[derive(Debug, Subcommand)]
pub(crate) enum Suspend {
    /// A partner: it is answered nothing and asked nothing, and is not told.
    Partner(Subject),
    /// An own table: nobody is answered from it.
    Table(Subject),
    /// An own key of the node: it counts for nothing, everywhere.
    Key(Subject),
}

/// Which.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    /// A member, a table, or the first two groups of a key's fingerprint.
    which: String,
    #[command(flatten)]
    stop: Stop,
}

/// `accord isolate`
#[derive(Debug, Args)]
pub(crate) struct Isolate {
    /// End the isolation: as many administrators as widen anything.
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    stop: Stop,
}

impl Suspend {
    pub(crate) fn run(self, way: Way, global: &Global) -> anyhow::Result<Outcome> {
        let (target, subject) = match self {
            Self::Partner(subject) => (Target::Partner, subject),
            Self::Table(subject) => (Target::Table, subject),
            Self::Key(subject) => (Target::Key, subject),
        };
        let ground = Ground::open(&subject.stop.with, subject.stop.member.as_deref(), &[], global)?;
        let named = named(&ground, target, &subject.which)?;
        say(&ground, &[(target, named)], way, &subject.stop, global)
    }
}

impl Isolate {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.stop.with, self.stop.member.as_deref(), &[], global)?;
        let way = if self.end { Way::Lifts } else { Way::Stops };
        let subject = ground.member.to_string();
        say(&ground, &[(Target::Node, subject)], way, &self.stop, global)
    }
}

/// `accord trust clock-reset`: allows a node that stopped because its clock runs behind what others say.
#[derive(Debug, Args)]
pub(crate) struct ClockReset {
    #[command(flatten)]
    stop: Stop,
}

impl ClockReset {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.stop.with, self.stop.member.as_deref(), &[], global)?;
        let subject = ground.member.to_string();
        say(&ground, &[(Target::Clock, subject)], Way::Lifts, &self.stop, global)
    }
}

/// `accord trust accept-fork`: allows the exchange with a member, or of the own node, whose audit log shows another past than it did.
#[derive(Debug, Args)]
pub(crate) struct AcceptFork {
    /// What names the fork: 64 hexadecimal digits, as the node's status and warnings say it.
    id: String,
    #[command(flatten)]
    stop: Stop,
}

impl AcceptFork {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        if self.id.parse::<Hash>().is_err() {
            let message = format!("`{}` names no fork: that takes 64 hexadecimal digits", shown(&self.id));
            let next = "accord status says which forks there are; copy the name from there";
            return Err(Failure::usage("FORK", message, next).into());
        }
        let ground = Ground::open(&self.stop.with, self.stop.member.as_deref(), &[], global)?;
        say(&ground, &[(Target::Fork, self.id)], Way::Lifts, &self.stop, global)
    }
}

// What is named must be there: a stop that stops nothing would calm people for no reason.
fn named(ground: &Ground, target: Target, which: &str) -> anyhow::Result<String> {
    match target {
        Target::Partner => {
            let partner = member_id(which)?;
            let listed = ground.desk.trust.as_ref().is_none_or(|trust| trust.member(&partner).is_some());
            if !listed {
                let message = format!("{partner} is not on the roster");
                return Err(Failure::usage("MEMBER", message, "accord trust shows the members").into());
            }
            Ok(partner.to_string())
        }
        Target::Table => {
            let catalogue = ground.desk.trust.as_ref().map(accord_protocol::trust::Trust::catalogue);
            if catalogue.is_some_and(|catalogue| catalogue.table(which).is_none()) {
                let message = format!("the catalogue has no table `{which}`");
                return Err(Failure::usage("TABLE", message, "accord tables shows them").into());
            }
            Ok(which.to_owned())
        }
        Target::Key => {
            let of = ground.member.as_str();
            let listed = listed_keys(&ground.keys);
            let is_meant = |role: &accord_protocol::member_keys::KeyRole, key: &accord_protocol::key::PublicKey| {
                first_groups(&key.fingerprint(role.as_str(), of)) == which || key.to_string() == which
            };
            let found = listed.iter().find(|(role, key)| is_meant(role, key)).map(|(_, key)| key.to_string());
            found.ok_or_else(|| {
                let known = listed
                    .iter()
                    .map(|(role, key)| format!("{role} {}", first_groups(&key.fingerprint(role.as_str(), of))));
                let next = format!("own keys: {}", known.collect::<Vec<_>>().join("; "));
                Failure::usage("KEY", format!("{of} has no key that begins with `{which}`"), next).into()
            })
        }
        Target::Officer | Target::Node | Target::Clock | Target::Topic | Target::Fork => Ok(which.to_owned()),
    }
}

/// Stops.
pub(super) fn stop(
    ground: &Ground,
    subjects: &[(Target, String)],
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<Outcome> {
    say(ground, subjects, Way::Stops, stop, global)
}

/// Allows again.
pub(super) fn lift(
    ground: &Ground,
    subjects: &[(Target, String)],
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<Outcome> {
    say(ground, subjects, Way::Lifts, stop, global)
}

fn say(
    ground: &Ground,
    subjects: &[(Target, String)],
    way: Way,
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<Outcome> {
    let documents = subjects
        .iter()
        .map(|(target, subject)| suspension(ground, (*target, subject), way, (&stop.reason, stop.days)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    propose(ground, documents, Vec::new(), (&stop.signing, stop.out.clone()), global)
}

/// A suspension of something of a member's own, or its lifting.
pub(super) fn suspension(
    ground: &Ground,
    (target, subject): (Target, &str),
    way: Way,
    (reason, days): (&str, u16),
) -> anyhow::Result<Document> {
    let now = clock::now();
    let text = |flag: &str, value: &str, max: usize| {
        Failure::usage("TEXT", format!("{flag} `{value}`: at most {max} printable ASCII characters"), "say it shorter")
    };
    let suspend = SuspendDocument {
        preamble: Preamble,
        federation: *ground.desk.federation(),
        node_id: ground.member.clone(),
        way,
        target,
        subject: Text::new(subject).ok_or_else(|| text("the subject", subject, 64))?,
        reason: Text::new(reason).ok_or_else(|| text("--reason", reason, 120))?,
        issued_at: now,
        until: now.plus(u64::from(days) * DAY_MS),
    };
    document(&suspend, "from 1 to 30 days")
}
