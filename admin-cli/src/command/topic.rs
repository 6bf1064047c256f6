//! `accord topic`: lines of inquiry. Administrators have them signed, one document for each partner; officers ask under them.

use std::path::{Path, PathBuf};

use accord_edge::{clock, random};
use accord_protocol::{
    codec::Bounded,
    id::NodeId,
    signed::{Document, Preamble},
    suspend::{Target, Way},
    time::{DAY_MS, UnixMs},
    topic::Topic as TopicDocument,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Global,
    lists::{Change, Ground, propose, purposes},
    member_id,
    propose::{document, shown},
    suspend::suspension,
};
use crate::{
    output::{Failure, Outcome, table},
    profile::Profile,
    topics::{self, Inquiry},
};

/// `accord topic`
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Have administrators sign a line of inquiry: as many as widen anything. One document for each partner, naming only it.
    New(New),
    /// Keep a signed one in this profile, to ask under it: accord ask --topic NAME.
    Add(Add),
    /// What this profile keeps.
    List,
    /// One of them, or one in a file, partner by partner.
    Show {
        /// Its name here, or a file.
        which: String,
    },
    /// Forget one here. It counts until it runs out; see `end`.
    Remove {
        /// Its name here.
        name: String,
    },
    /// End one everywhere before it runs out: one administrator is enough. An operator then hands the file to the node.
    End(End),
}

/// `accord topic new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The name that your own people have for it. No partner learns it.
    name: String,
    /// What is inquired into, as each partner reads it.
    #[arg(long)]
    title: String,
    /// The partners that are to be asked under it.
    #[arg(long, required = true, value_delimiter = ',', value_name = "MEMBER,...")]
    to: Vec<String>,
    /// What for.
    #[arg(long, value_delimiter = ',', default_value = "strategic-analysis")]
    purposes: Vec<String>,
    /// Days until it runs out, at most 400.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(1..=400))]
    valid_days: u16,
    #[command(flatten)]
    change: Change,
}

/// `accord topic add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The signed file.
    file: PathBuf,
    /// Its name here. Default: that of the file.
    #[arg(long)]
    name: Option<String>,
    /// Take the place of one with the same name.
    #[arg(long)]
    force: bool,
}

/// `accord topic end`
#[derive(Debug, Args)]
pub(crate) struct End {
    /// The file with the topics.
    file: PathBuf,
    /// Only the one for this partner. Default: all that are in the file.
    #[arg(long, value_name = "MEMBER")]
    to: Option<String>,
    /// Why, for those who read it later. It goes to all members.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    change: Change,
}

impl Topic {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        match self {
            Self::New(new) => new.run(global),
            Self::Add(add) => add.run(global),
            Self::List => list(global),
            Self::Show { which } => show(&which, global),
            Self::Remove { name } => {
                topics::forget(&Profile::open(global)?, &name)?;
                Ok(Outcome::done(json!({ "removed": name }), format!("{name} is not kept here any more\n")))
            }
            Self::End(end) => end.run(global),
        }
    }
}

impl New {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        topics::check_name(&self.name)?;
        let ground = Ground::open(&self.change.with, self.change.member.as_deref(), &[], global)?;
        let purposes = purposes(&self.purposes)?;
        let title = Bounded::new(self.title.trim().as_bytes().to_vec());
        let title = title.ok_or_else(|| Failure::usage("TITLE", "the title is too long", "at most 200 characters"))?;
        let mut audiences: Vec<NodeId> = Vec::new();
        for name in &self.to {
            let audience = member_id(name)?;
            if ground.desk.trust.as_ref().is_some_and(|trust| trust.member(&audience).is_none()) {
                let message = format!("{audience} is not on the roster");
                return Err(Failure::usage("MEMBER", message, "accord trust shows the members").into());
            }
            if audiences.contains(&audience) {
                return Err(Failure::usage(
                    "MEMBER-TWICE",
                    format!("{audience} stands twice in --to"),
                    "name each once",
                )
                .into());
            }
            audiences.push(audience);
        }
        let mut documents = Vec::new();
        for audience in audiences {
            let topic = TopicDocument {
                preamble: Preamble,
                federation: *ground.desk.federation(),
                node_id: ground.member.clone(),
                audience,
                salt: random::bytes()?,
                title: title.clone(),
                purposes: purposes.clone(),
                valid_from: ground.now,
                valid_to: ground.now.plus(u64::from(self.valid_days) * DAY_MS),
            };
            documents
                .push(document(&topic, "a title of 3 to 200 characters on one line, and other members than your own")?);
        }
        let out = free(self.change.out, format!("{}.accord", self.name))?;
        propose(&ground, documents, Vec::new(), (&self.change.signing, Some(out)), global)
    }
}

impl Add {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let profile = Profile::open(global)?;
        let (trust, _) = profile.trust()?;
        let mut inquiry = topics::read(&self.file)?;
        if let Some(name) = self.name {
            inquiry.name = name;
        }
        topics::check_name(&inquiry.name)?;
        let now = clock::now();
        for document in &inquiry.documents {
            let state = topics::state(document, &trust, &profile.member, now);
            if !matches!(state, "in force" | "not yet") {
                let message = format!("a topic in it is {state}: {}", told(document));
                let next = "it has to be signed by enough administrators of your own agency, and in force: accord federation show FILE";
                return Err(Failure::refused("TOPIC", message, next).in_file(shown(&self.file)).into());
            }
        }
        let is_there = topics::kept(&profile)?.iter().any(|kept| kept.name == inquiry.name);
        if is_there && !self.force {
            let message = format!("there is a topic {} here already", inquiry.name);
            return Err(Failure::usage("EXISTS", message, "choose another --name, or say --force").into());
        }
        topics::keep(&profile, &inquiry)?;
        let partners = partners_of(&inquiry);
        let text = format!(
            "{} is kept, for {}\nnext: accord ask TABLE --topic {}\n",
            inquiry.name,
            partners.join(", "),
            inquiry.name
        );
        Ok(Outcome::done(json!({ "name": inquiry.name, "partners": partners }), text))
    }
}

fn claimed(document: &Document) -> Option<TopicDocument> {
    document.unverified().ok()
}

fn told(document: &Document) -> String {
    claimed(document).map_or_else(String::new, |topic| format!("for {}, “{}”", topic.audience, topic.title()))
}

fn partners_of(inquiry: &Inquiry) -> Vec<String> {
    inquiry.documents.iter().filter_map(claimed).map(|topic| topic.audience.to_string()).collect()
}

fn list(global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    let all = topics::kept(&profile)?;
    described(&profile, &all)
}

fn show(which: &str, global: &Global) -> anyhow::Result<Outcome> {
    let profile = Profile::open(global)?;
    let path = Path::new(which);
    let inquiry = if path.is_file() { topics::read(path)? } else { topics::named(&profile, which)? };
    described(&profile, &[inquiry])
}

fn described(profile: &Profile, all: &[Inquiry]) -> anyhow::Result<Outcome> {
    let (trust, _) = profile.trust()?;
    let now = clock::now();
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for inquiry in all {
        let of_inquiry = inquiry.documents.iter().filter_map(|document| Some((document, claimed(document)?)));
        let mut documents: Vec<Value> = Vec::new();
        for (document, topic) in of_inquiry {
            let state = topics::state(document, &trust, &profile.member, now);
            let purposes: Vec<&str> = topic.purposes.iter().map(|purpose| purpose.as_str()).collect();
            rows.push(vec![
                inquiry.name.clone(),
                topic.audience.to_string(),
                state.to_owned(),
                topic.valid_to.date().to_string(),
                purposes.join(", "),
                topic.title().to_owned(),
            ]);
            documents.push(json!({
                "partner": topic.audience.as_str(), "state": state, "hash": document.hash().to_string(), "title": topic.title(),
                "purposes": purposes, "valid_from": topic.valid_from.to_string(), "valid_to": topic.valid_to.to_string(),
            }));
        }
        values.push(json!({ "name": inquiry.name, "topics": documents }));
    }
    let header = ["name", "partner", "state", "until", "purposes", "title"].map(str::to_owned);
    let text = if rows.is_empty() { "this profile keeps no topic\n".to_owned() } else { table(&header, &rows, &[]) };
    Ok(Outcome::done(json!({ "topics": values }), text))
}

impl End {
    fn run(self, global: &Global) -> anyhow::Result<Outcome> {
        let ground = Ground::open(&self.change.with, self.change.member.as_deref(), &[], global)?;
        let inquiry = topics::read(&self.file)?;
        let only = self.to.as_deref().map(member_id).transpose()?;
        let now = clock::now();
        let mut documents = Vec::new();
        for (topic, hash) in inquiry.documents.iter().filter_map(|document| Some((claimed(document)?, document.hash())))
        {
            if only.as_ref().is_some_and(|only| *only != topic.audience) {
                continue;
            }
            if topic.node_id != ground.member {
                let message =
                    format!("the topic for {} is of {}, and not of {}", topic.audience, topic.node_id, ground.member);
                return Err(Failure::refused("TOPIC", message, "its own administrators end it")
                    .in_file(shown(&self.file))
                    .into());
            }
            // One that is over needs no end.
            if let Some(days) = days_left(topic.valid_to, now) {
                let subject = (Target::Topic, hash.to_string());
                documents.push(suspension(&ground, (subject.0, &subject.1), Way::Stops, (&self.reason, days))?);
            }
        }
        if documents.is_empty() {
            let message = "nothing in this file could be ended: it is over, or not for that partner";
            return Err(Failure::refused("OVER", message, "see accord topic show FILE")
                .in_file(shown(&self.file))
                .into());
        }
        let of = only.map_or(String::new(), |only| format!("-{only}"));
        let out = free(self.change.out, format!("{}{of}-end.accord", inquiry.name))?;
        propose(&ground, documents, Vec::new(), (&self.change.signing, Some(out)), global)
    }
}

// Where a file is written that is not there yet: one that others have signed, or that is still to be handed in, is not replaced.
fn free(out: Option<PathBuf>, otherwise: String) -> anyhow::Result<PathBuf> {
    let out = out.unwrap_or_else(|| PathBuf::from(otherwise));
    if !out.exists() {
        return Ok(out);
    }
    let message = "the file is there already, and is not replaced";
    Err(Failure::usage("EXISTS", message, "move it away, or choose another one: --out FILE")
        .in_file(shown(&out))
        .into())
}

// Whole days until a topic is over, counted up; nothing if it is.
fn days_left(valid_to: UnixMs, now: UnixMs) -> Option<u16> {
    let left = valid_to.0.checked_sub(now.0).filter(|left| *left > 0)?;
    u16::try_from(left.div_ceil(DAY_MS)).ok().map(|days| days.min(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_ended_for_as_long_as_it_would_last() {
        let day = DAY_MS;
        for (valid_to, now, days) in [
            (10 * day, 0, Some(10)),
            (10 * day, 1, Some(10)),
            (10 * day, day, Some(9)),
            (10 * day, 10 * day - 1, Some(1)),
            (10 * day, 10 * day, None),
            (10 * day, 11 * day, None),
            (400 * day, 0, Some(400)),
        ] {
            assert_eq!(days_left(UnixMs(valid_to), UnixMs(now)), days, "{valid_to} {now}");
        }
    }
}
