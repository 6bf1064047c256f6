//! What a key ring has signed, in a file beside it: so that it never signs what goes back behind that, nor two that contradict each
//! other.

use std::path::{Path, PathBuf};

use accord_edge::files;
use accord_protocol::{
    id::{Hash, NodeId},
    member_keys::MemberKeys,
    officers::{Officers, Staff},
    policy::PolicyDocument,
    root::Root,
    roster::Roster,
    signed::{Document, FederationId, Label},
};

use crate::output::Failure;

const HEADER: &str = "# What this key ring has signed. Kept so that it never signs what goes back behind it.\n";
/// Largest memory in bytes.
const MEMORY_MAX: u64 = 1 << 20;

/// The memory of one ring.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    text: String,
    /// The federation that the ring signs for.
    pub(crate) federation: Option<FederationId>,
    signed: Vec<Signed>,
}

/// A document with a version that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signed {
    label: Label,
    of: Option<NodeId>,
    epoch: u32,
    version: u64,
    hash: Hash,
}

impl Signed {
    // Suspensions and acceptances have no versions: they are not remembered.
    fn of(document: &Document) -> anyhow::Result<Option<Self>> {
        let (of, epoch, version) = match document.label() {
            Label::Root => {
                let root: Root = document.unverified()?;
                (None, root.epoch, root.root_version)
            }
            Label::Roster => {
                let roster: Roster = document.unverified()?;
                (None, roster.epoch, roster.roster_version)
            }
            Label::MemberKeys => {
                let keys: MemberKeys = document.unverified()?;
                (Some(keys.node_id), 0, keys.keys_version)
            }
            Label::Officers => {
                let list: Officers = document.unverified()?;
                (Some(list.node_id), 0, list.list_version)
            }
            Label::Staff => {
                let list: Staff = document.unverified()?;
                (Some(list.node_id), 0, list.list_version)
            }
            Label::Policy => {
                let policy: PolicyDocument = document.unverified()?;
                (Some(policy.node_id), 0, policy.policy_version)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { label: document.label(), of, epoch, version, hash: document.hash() }))
    }

    fn line(&self) -> String {
        let of = self.of.as_ref().map_or("-", NodeId::as_str);
        format!("{} {of} {} {} {}\n", self.label, self.epoch, self.version, self.hash)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let label = Label::from_word(words.next()?)?;
        let of = match words.next()? {
            "-" => None,
            name => Some(name.parse().ok()?),
        };
        let (epoch, version) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let hash = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { label, of, epoch, version, hash })
    }
}

impl Memory {
    /// The memory of a ring; empty if it has signed nothing.
    pub(crate) fn of_ring(ring: &Path) -> anyhow::Result<Self> {
        let path = ring.with_extension("signed");
        let text = if path.exists() {
            let bytes = files::read_limited(&path, MEMORY_MAX)?;
            String::from_utf8_lossy(&bytes).into_owned()
        } else {
            HEADER.to_owned()
        };
        let mut memory = Self { path, text, federation: None, signed: Vec::new() };
        for (index, line) in memory.text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            if let Some(id) = line.strip_prefix("federation ").and_then(|id| id.parse().ok()) {
                memory.federation = Some(id);
            } else if let Some(signed) = Signed::parse(line) {
                memory.signed.push(signed);
            } else {
                // What is not understood is not passed over: it may be the line that matters.
                let message = "the memory of what this ring has signed is damaged";
                let next = "compare it with the documents that you have signed, and correct the line";
                let failure = Failure::refused("MEMORY", message, next);
                let line = u64::try_from(index).unwrap_or(u64::MAX).saturating_add(1);
                return Err(failure.in_file(memory.path.display().to_string()).at_line(line).into());
            }
        }
        Ok(memory)
    }

    /// Refuses to sign what goes back, what contradicts what was signed, and what is of another federation. `replaces` says that the
    /// one of the same version that was signed before was never handed on.
    pub(crate) fn permit(&self, document: &Document, federation: &FederationId, replaces: bool) -> anyhow::Result<()> {
        let refuse = |message: String, next: &str| {
            Err(Failure::refused("GOES-BACK", message, next).in_file(self.path.display().to_string()).into())
        };
        if self.federation.is_some_and(|known| known != *federation) {
            return refuse("this ring signs for another federation".into(), "one ring for each federation");
        }
        let Some(new) = Signed::of(document)? else { return Ok(()) };
        let same = |signed: &&Signed| signed.label == new.label && signed.of == new.of;
        let Some(last) = self.signed.iter().filter(same).max_by_key(|signed| (signed.epoch, signed.version)) else {
            return Ok(());
        };
        let what = |signed: &Signed| {
            let of = signed.of.as_ref().map_or(String::new(), |of| format!(" of {of}"));
            format!("{} {}{of}", signed.label, signed.version)
        };
        if (new.epoch, new.version) < (last.epoch, last.version) {
            let message = format!("{} goes back: this ring has signed {} already", what(&new), what(last));
            return refuse(message, "propose the next version, on top of the one in force");
        }
        let known = self.signed.contains(&new);
        if (new.epoch, new.version) == (last.epoch, last.version) && !known && !replaces {
            let message = format!(
                "this ring has signed another {} ({}): two of one version that are both signed stop the exchange of data",
                what(last),
                last.hash
            );
            return refuse(message, "if the other one was never handed on, destroy it and say --replaces");
        }
        Ok(())
    }

    /// Remembers that a document is signed; durable when it returns, which is before the signature leaves.
    pub(crate) fn note(&mut self, document: &Document, federation: &FederationId) -> anyhow::Result<()> {
        let before = self.text.len();
        // Root documents are signed in the name of none; their federation is known once they are the first.
        if self.federation.is_none() && *federation != Hash::ZERO {
            self.text += &format!("federation {federation}\n");
            self.federation = Some(*federation);
        }
        if let Some(new) = Signed::of(document)?
            && !self.signed.contains(&new)
        {
            self.text += &new.line();
            self.signed.push(new);
        }
        if self.text.len() > before {
            files::write_atomically(&self.path, self.text.as_bytes())?;
        }
        Ok(())
    }
}
