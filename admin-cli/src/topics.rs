//! Topics that a profile keeps: lines of inquiry that the own administrators have signed, one document for each partner.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use accord_edge::files;
use accord_protocol::{
    bundle::Bundle,
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, NodeId},
    officers::Purpose,
    request::TopicBytes,
    signed::{Document, Label, Verified},
    time::UnixMs,
    topic::{self, Topic},
    trust::Trust,
};

use crate::{output::Failure, profile::Profile, trusting::desk::open_bundle};

/// A topic as it goes with a request.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    /// By which the request names it.
    pub(crate) hash: Hash,
    /// The signed document.
    pub(crate) bytes: TopicBytes,
    /// Until when anything is answered under it.
    pub(crate) valid_to: UnixMs,
}

/// A line of inquiry under the name that the own people have for it; no partner learns that name.
#[derive(Debug)]
pub(crate) struct Inquiry {
    /// The name.
    pub(crate) name: String,
    /// One document for each partner.
    pub(crate) documents: Vec<Document>,
}

/// Topics among the documents of a file.
pub(crate) fn of_bundle(bundle: &Bundle) -> Vec<Document> {
    let all = bundle.proposed.iter().chain(bundle.held.iter());
    all.filter(|document| document.label() == Label::Topic).cloned().collect()
}

/// Whether a word can name a line of inquiry: it becomes the name of a file.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= 40 && name.bytes().all(is_plain) {
        return Ok(());
    }
    let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
    let message = format!("`{shown}` cannot name a topic");
    Err(Failure::usage("NAME", message, "1 to 40 lower-case letters, digits and `-`, for example reefers-2026").into())
}

fn folder(profile: &Profile) -> PathBuf {
    profile.dir.join("topics")
}

fn file(profile: &Profile, name: &str) -> PathBuf {
    folder(profile).join(format!("{name}.accord"))
}

/// All that the profile keeps, by name.
pub(crate) fn kept(profile: &Profile) -> anyhow::Result<Vec<Inquiry>> {
    let folder = folder(profile);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "accord") {
            all.push(read(&path)?);
        }
    }
    all.sort_by(|one: &Inquiry, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Reads a file of topics; its name is that of the line of inquiry.
pub(crate) fn read(path: &Path) -> anyhow::Result<Inquiry> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let documents = of_bundle(&open_bundle(path)?);
    if documents.is_empty() {
        let failure = Failure::refused("TOPIC", "there is no topic in this file", "have one signed: accord topic new");
        return Err(failure.in_file(path.display().to_string()).into());
    }
    Ok(Inquiry { name, documents })
}

/// One that the profile keeps.
pub(crate) fn named(profile: &Profile, name: &str) -> anyhow::Result<Inquiry> {
    check_name(name)?;
    let path = file(profile, name);
    if path.is_file() {
        return read(&path);
    }
    let known: Vec<String> = kept(profile)?.into_iter().map(|inquiry| inquiry.name).collect();
    let next = if known.is_empty() {
        "an administrator has one signed (accord topic new), you keep it: accord topic add FILE".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    Err(Failure::usage("TOPIC", format!("this profile has no topic `{name}`"), next).into())
}

/// Keeps one; whether there was one of that name.
pub(crate) fn keep(profile: &Profile, inquiry: &Inquiry) -> anyhow::Result<bool> {
    let path = file(profile, &inquiry.name);
    let was_there = path.exists();
    files::make_dir(&folder(profile))?;
    let too_many = || Failure::refused("TOPIC", "too many topics in one file", "keep them in several");
    let bundle =
        Bundle { proposed: Bounded::new(inquiry.documents.clone()).ok_or_else(too_many)?, ..Bundle::default() };
    files::write_bundle(&path, &bundle)?;
    Ok(was_there)
}

/// Forgets one.
pub(crate) fn forget(profile: &Profile, name: &str) -> anyhow::Result<()> {
    check_name(name)?;
    // Also one that cannot be read.
    let path = file(profile, name);
    if !path.is_file() {
        named(profile, name)?;
    }
    Ok(std::fs::remove_file(path)?)
}

/// How a topic stands for whoever asks under it.
pub(crate) fn state(document: &Document, trust: &Trust, me: &NodeId, now: UnixMs) -> &'static str {
    let Ok(topic) = topic::verify(document, trust) else { return "not believed" };
    if topic.node_id != *me {
        "of another member"
    } else if trust.topic_is_ended(&topic, (now, now)) {
        "ended"
    } else if now < topic.valid_from {
        "not yet"
    } else if now >= topic.valid_to {
        "over"
    } else {
        "in force"
    }
}

impl Inquiry {
    /// What goes with the requests to these partners. The own node is asked without a topic.
    ///
    /// # Errors
    /// A partner for whom there is none that may be used now, for this purpose.
    pub(crate) fn attach(
        &self,
        partners: &[NodeId],
        purpose: Purpose,
        (trust, me, now): (&Trust, &NodeId, UnixMs),
    ) -> anyhow::Result<BTreeMap<NodeId, Attached>> {
        let refused = |message: String, next: String| Failure::usage("TOPIC", message, next);
        let mut all = BTreeMap::new();
        for partner in partners.iter().filter(|partner| *partner != me) {
            let is_for =
                |document: &&Document| document.unverified::<Topic>().is_ok_and(|topic| topic.audience == *partner);
            let in_force = |document: &&Document| state(document, trust, me, now) == "in force";
            let of_partner = || self.documents.iter().filter(is_for);
            let Some(document) = of_partner().find(in_force).or_else(|| of_partner().next()) else {
                let message = format!("topic {} has none for {partner}", self.name);
                let next = "ask that partner without it, or have topics signed for all of them: accord topic new --to MEMBER,MEMBER".to_owned();
                return Err(refused(message, next).into());
            };
            // A request is issued up to two seconds ahead of the node's time.
            let state = state(document, trust, me, now.plus(3_000));
            if state != "in force" {
                let next = "see accord topic list; an administrator has another one signed: accord topic new";
                return Err(refused(format!("topic {} for {partner} is {state}", self.name), next.into()).into());
            }
            let topic: Verified<Topic> = topic::verify(document, trust)?;
            if !topic.purposes.as_slice().contains(&purpose) {
                let known: Vec<&str> = topic.purposes.iter().map(|purpose| purpose.as_str()).collect();
                let message = format!("topic {} is not for {purpose}", self.name);
                return Err(refused(message, format!("its purposes: {}", known.join(", "))).into());
            }
            let too_long = || refused(format!("topic {} has too many signatures", self.name), "sign it anew".into());
            let bytes = Bounded::new(encode(document)?).ok_or_else(too_long)?;
            all.insert(partner.clone(), Attached { hash: document.hash(), bytes, valid_to: topic.valid_to });
        }
        Ok(all)
    }
}

/// The title of a topic that went with a request.
pub(crate) fn titled(bytes: &TopicBytes) -> Option<String> {
    let document: Document = decode(bytes.as_slice(), Cap::Head).ok()?;
    document.unverified::<Topic>().ok().map(|topic| topic.title().to_owned())
}
