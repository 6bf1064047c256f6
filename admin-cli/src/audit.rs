//! Reading a copy of an audit log line by line, from a file or as it comes from the node, and what it is held to.

use std::io::{self, BufRead};

use accord_protocol::{
    evidence::Failed,
    log::copy::{About, Following, Line, Report},
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
    lines: u64,
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(trust: &'a Trust, now: UnixMs) -> Self {
        Self { trust, now, following: None, lines: 0 }
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
        let line: Line = serde_json::from_slice(line).map_err(unreadable)?;
        following.take(&line, actor_of).map(|_| ())
    }

    pub(crate) fn finish(self) -> Result<Report, Failed> {
        let empty = || Failed { part: "line 1".into(), rule: "the copy is empty".into() };
        self.following.ok_or_else(empty)?.finish()
    }

    /// Takes a whole file.
    pub(crate) fn file(mut self, mut file: impl BufRead) -> io::Result<Result<Report, Failed>> {
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
