//! Reading a copy of an audit log line by line, from a file or as it comes from the node, and what it is held to.

use std::io::{self, BufRead};

use accord_protocol::{
    evidence::Failed,
    log::{
        EventKind,
        copy::{About, Following, Leaf, Line, Report},
    },
    signed::FederationId,
    time::UnixMs,
    trust::Trust,
};
use serde::Deserialize;

/// Longest line of a copy in bytes: an entry with the longest detail, or the first line with all checkpoints.
const LINE_MAX: usize = 64 << 20;

#[derive(Deserialize)]
struct Who {
    actor: String,
}

#[derive(Deserialize)]
struct Retained {
    entries: Option<RetainedEntries>,
}

#[derive(Deserialize)]
struct RetainedEntries {
    up_to: u64,
}

/// Up to where the detail of an entry of retention says that entries are destroyed.
fn destroyed_by(text: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Retained>(text).ok()?.entries.map(|entries| entries.up_to)
}

/// Who did something, by the text of a detail.
pub(crate) fn actor_of(text: &str) -> Option<String> {
    let is_object = text.trim_ascii_start().starts_with('{');
    serde_json::from_str::<Who>(text).ok().filter(|_| is_object).map(|who| who.actor)
}

/// Holds lines to what the first of them and the trust documents say.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    trust: &'a Trust,
    now: UnixMs,
    following: Option<Following>,
    // Up to where the log itself says that entries were destroyed, as far as that can be read.
    said: u64,
    lines: u64,
}

/// What came of reading a copy.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What was found.
    pub(crate) report: Report,
    /// Whether an entry of retention says that what is destroyed was destroyed by it.
    pub(crate) says_destroyed: bool,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(trust: &'a Trust, now: UnixMs) -> Self {
        Self { trust, now, following: None, said: 0, lines: 0 }
    }

    /// Takes a line without its newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), Failed> {
        self.lines += 1;
        let number = self.lines;
        let unreadable = |error: serde_json::Error| Failed {
            part: format!("line {number}"),
            rule: format!("it does not read: {error}"),
        };
        let federation: &FederationId = self.trust.federation();
        // What reads lists as objects must not.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(Failed { part: format!("line {number}"), rule: "it is no object".into() });
        }
        let Some(following) = &mut self.following else {
            let about: About = serde_json::from_slice(line).map_err(unreadable)?;
            let keys = |member: &_| (self.trust.log_keys(member, self.now), self.trust.all_log_keys(member).to_vec());
            self.following = Some(Following::begin(&about, federation, keys)?);
            return Ok(());
        };
        if following.awaits_leaf() {
            let line: Leaf = serde_json::from_slice(line).map_err(unreadable)?;
            return following.take_leaf(&line);
        }
        let line: Line = serde_json::from_slice(line).map_err(unreadable)?;
        let (entry, detail) = following.take(&line, actor_of)?;
        if entry.kind == EventKind::Retention {
            let up_to = detail.and_then(|detail| destroyed_by(&detail.text));
            self.said = self.said.max(up_to.unwrap_or_default());
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Verified, Failed> {
        let empty = || Failed { part: "line 1".into(), rule: "the copy is empty".into() };
        let report = self.following.ok_or_else(empty)?.finish()?;
        let says_destroyed = self.said >= report.destroyed;
        Ok(Verified { report, says_destroyed })
    }

    /// Takes a whole file.
    pub(crate) fn file(mut self, mut file: impl BufRead) -> io::Result<Result<Verified, Failed>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = io::Read::take(&mut file, LINE_MAX as u64).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(self.finish());
            }
            if line.pop() != Some(b'\n') {
                let part = format!("line {}", self.lines + 1);
                return Ok(Err(Failed { part, rule: "it does not end in a newline: the copy was cut off".into() }));
            }
            if let Err(failed) = self.line(&line) {
                return Ok(Err(failed));
            }
        }
    }
}

/// Cuts what comes in pieces into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Hands every line on that is whole now.
    pub(crate) fn push<E>(&mut self, piece: &[u8], mut line: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.rest.extend_from_slice(piece);
        let mut start = 0;
        while let Some(end) = self.rest.get(start..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n')) {
            line(self.rest.get(start..start + end).unwrap_or_default())?;
            start += end + 1;
        }
        self.rest.drain(..start);
        Ok(())
    }

    /// Whether nothing is left of a line that is not whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}
