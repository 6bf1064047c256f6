//! A copy of a whole log, as an auditor keeps it: every line held to the checkpoints, from the first to the last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    checkpoint::{SignedCheckpoint, log_origin},
    entry::{Detail, Entry, EventKind},
    note::Note,
    tree::Frontier,
};
use crate::{
    evidence::Failed,
    id::{Hash, NodeId, from_hex},
    key::PublicKey,
    signed::FederationId,
    time::UnixMs,
};

/// Name of the layout of a log of which every entry is there.
pub const FORMAT: &str = "accord-audit-1";
/// Name of the layout of one whose first entries were destroyed. A name of its own, so that a reader which knows nothing of that says
/// so, and not that something was changed.
pub const FORMAT_DESTROYED: &str = "accord-audit-2";

/// The first line of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// [`FORMAT`], or [`FORMAT_DESTROYED`].
    pub format: String,
    /// The federation; believed only as far as it is the one that the verifier brings along.
    pub federation: String,
    /// Whose log it is.
    pub member: String,
    /// Number of entries.
    pub size: u64,
    /// How many of them, from the first on, were destroyed, so that their lines hold the hashes of leaves alone. Nothing in the first of
    /// the two layouts.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub destroyed: Option<u64>,
    /// Root over all of them, in hexadecimal.
    pub root: String,
    /// The signed checkpoint of just that.
    pub checkpoint: String,
    /// Checkpoints that were kept before, with what witnesses have put under them.
    pub checkpoints: Vec<String>,
}

/// The line of an entry that was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Its hash in the tree, in hexadecimal: all that is known of it.
    pub leaf: String,
}

/// Each further line of a copy: one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The entry's bytes in hexadecimal.
    pub entry: String,
    /// The salt of what it commits to, in hexadecimal, where that can still be read.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub salt: Option<String>,
    /// What it commits to: the text of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub detail: Option<String>,
}

// A field that is there has a value: `null` is another spelling of what is not there.
fn there<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What was found in a copy that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose log it is.
    pub member: NodeId,
    /// Number of entries.
    pub size: u64,
    /// How many of them, from the first on, are there by their hash alone. Nothing says what they were.
    pub destroyed: u64,
    /// Root over all of them.
    pub root: Hash,
    /// Entries whose detail is there.
    pub details: u64,
    /// Entries of each kind, of those that are there.
    pub kinds: BTreeMap<EventKind, u64>,
    /// Time of the first entry that is there and of the last.
    pub times: Option<(UnixMs, UnixMs)>,
    /// How often an entry bears an earlier time than the one before it by more than a minute: the clock was set back.
    pub set_back: u64,
    /// Signed checkpoints that the entries were held to.
    pub checkpoints: Vec<SignedCheckpoint>,
}

/// Reads a copy from its first line to its last.
#[derive(Debug)]
pub struct Following {
    report: Report,
    frontier: Frontier,
    // Roots that the tree must have at some sizes.
    wanted: BTreeMap<u64, Hash>,
    prev_size: u64,
}

/// Times that differ by less than this are those of entries that were made at once.
const TOGETHER_MS: u64 = 60_000;

fn failed(part: String, rule: impl Into<String>) -> Failed {
    Failed { part, rule: rule.into() }
}

impl Following {
    /// Begins with the first line. `keys` are those of the log now, and all that it ever had, as they follow from the trust documents: the
    /// checkpoint of the whole copy must be signed with one of the former, older ones with any, since the same entries lead to both.
    ///
    /// # Errors
    /// What does not hold in it.
    pub fn begin(
        about: &About,
        federation: &FederationId,
        keys: impl FnOnce(&NodeId) -> (Vec<PublicKey>, Vec<PublicKey>),
    ) -> Result<Self, Failed> {
        let fault = |rule: &str| failed("line 1".into(), rule);
        let destroyed = match (about.format.as_str(), about.destroyed) {
            (FORMAT, None) => 0,
            // That they were destroyed is an entry behind them.
            (FORMAT_DESTROYED, Some(count)) if count > 0 && count < about.size => count,
            (FORMAT | FORMAT_DESTROYED, _) => {
                return Err(fault("it does not say rightly how many of its entries were destroyed"));
            }
            _ => return Err(fault("another layout than this version reads")),
        };
        if about.federation != federation.to_string() {
            return Err(fault("it is not of the federation asked about"));
        }
        let member: NodeId = about.member.parse().map_err(|_| fault("no member's name"))?;
        let root: Hash = about.root.parse().map_err(|_| fault("its root is no hash"))?;
        let (origin, (keys_now, keys_ever)) = (log_origin(federation, &member), keys(&member));
        let mut checkpoints: Vec<SignedCheckpoint> = Vec::new();
        let mut wanted: BTreeMap<u64, Hash> = BTreeMap::new();
        for (number, text) in about.checkpoints.iter().chain([&about.checkpoint]).enumerate() {
            let part = || format!("checkpoint {}", number + 1);
            let note = Note::parse(text).map_err(|error| failed(part(), error.to_string()))?;
            let keys = if number == about.checkpoints.len() { &keys_now } else { &keys_ever };
            let signed = SignedCheckpoint::verify(note, &origin, keys);
            let signed = signed.map_err(|error| failed(part(), error.to_string()))?;
            let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
            if size > about.size {
                return Err(failed(part(), format!("it is of {size} entries, and the copy has {}", about.size)));
            }
            if wanted.insert(size, root).is_some_and(|other| other != root) {
                return Err(failed(part(), format!("the log has signed two different roots over {size} entries")));
            }
            checkpoints.push(signed);
        }
        if wanted.get(&about.size) != Some(&root) {
            return Err(fault("its root is not the one of its checkpoint"));
        }
        let report = Report {
            member,
            size: about.size,
            destroyed,
            root,
            details: 0,
            kinds: BTreeMap::new(),
            times: None,
            set_back: 0,
            checkpoints,
        };
        let mut following = Self { report, frontier: Frontier::default(), wanted, prev_size: 0 };
        following.hold()?;
        Ok(following)
    }

    // Whether the tree has the root that a checkpoint of this size says.
    fn hold(&mut self) -> Result<(), Failed> {
        let size = self.frontier.size();
        let Some(root) = self.wanted.get(&size) else { return Ok(()) };
        if self.frontier.root() == *root {
            return Ok(());
        }
        let rule = format!("the first {size} entries are not those that the log has signed");
        Err(failed(format!("checkpoint of {size}"), rule))
    }

    /// Whether the next line is that of an entry that was destroyed. Only the first ones can be.
    pub const fn awaits_leaf(&self) -> bool {
        self.frontier.size() < self.report.destroyed
    }

    /// The next entry, which was destroyed.
    ///
    /// # Errors
    /// What does not hold in it.
    pub fn take_leaf(&mut self, line: &Leaf) -> Result<(), Failed> {
        let seq = self.frontier.size();
        let fault = |rule: &str| failed(format!("entry {seq}"), rule);
        if !self.awaits_leaf() {
            return Err(fault("only a hash of it is there, and it is not among those that were destroyed"));
        }
        let leaf = line.leaf.parse().map_err(|_| fault("no hash in lower-case hex"))?;
        self.frontier.push(leaf);
        self.hold()
    }

    /// The next entry with its detail, if that is there. `actor_of` reads who did it out of the detail's text.
    ///
    /// # Errors
    /// What does not hold in it.
    pub fn take(
        &mut self,
        line: &Line,
        actor_of: impl FnOnce(&str) -> Option<String>,
    ) -> Result<(Entry, Option<Detail>), Failed> {
        let seq = self.frontier.size();
        let fault = |rule: &str| failed(format!("entry {seq}"), rule);
        if self.awaits_leaf() {
            return Err(fault("it is there, and is said to be destroyed"));
        }
        let bytes = from_hex(&line.entry).ok_or_else(|| fault("not lower-case hex"))?;
        let entry = Entry::from_bytes(&bytes).map_err(|error| fault(&error.to_string()))?;
        if seq >= self.report.size {
            return Err(fault("more entries than the first line says"));
        }
        if entry.seq != seq {
            return Err(fault(&format!("it says that it is entry {}: one is missing, or too many", entry.seq)));
        }
        if entry.prev_size > seq || entry.prev_size < self.prev_size {
            return Err(fault("it does not say rightly what was there before it"));
        }
        let detail = match (&line.salt, &line.detail) {
            (None, None) => None,
            (Some(salt), Some(text)) => {
                let salt = from_hex(salt).and_then(|salt| salt.try_into().ok());
                let salt = salt.ok_or_else(|| fault("its salt does not have 32 bytes in lower-case hex"))?;
                let detail = Detail { salt, text: text.clone().into_bytes() };
                if !entry.commits_to(&detail) {
                    return Err(fault("its detail is not the one that it commits to"));
                }
                let actor = actor_of(text).ok_or_else(|| fault("its detail does not say who did it"))?;
                if detail.actor_commit(&actor) != entry.actor_commit {
                    return Err(fault("its detail names somebody else than it commits to"));
                }
                Some(detail)
            }
            (Some(_), None) | (None, Some(_)) => return Err(fault("a salt without a detail, or the other way round")),
        };
        self.prev_size = entry.prev_size;
        let report = &mut self.report;
        report.details += u64::from(detail.is_some());
        *report.kinds.entry(entry.kind).or_default() += 1;
        let (first, last) = report.times.unwrap_or((entry.time, entry.time));
        report.set_back += u64::from(entry.time.plus(TOGETHER_MS) < last);
        report.times = Some((first, entry.time));
        self.frontier.push(crate::log::tree::leaf_hash(&bytes));
        self.hold()?;
        Ok((entry, detail))
    }

    /// The end.
    ///
    /// # Errors
    /// That entries are missing.
    pub fn finish(self) -> Result<Report, Failed> {
        let found = self.frontier.size();
        if found != self.report.size {
            let rule = format!("the copy ends after {found} entries instead of {}", self.report.size);
            return Err(failed("end".into(), rule));
        }
        Ok(self.report)
    }
}
