//! What must hold in every history, and what was seen in all of them.

use std::collections::{BTreeMap, BTreeSet};

use accord_node::domain::answering::SignedAnswer;
use accord_protocol::{
    exchange::{Exchange, RawReply},
    id::Hash,
};

/// Longest that a request may be on its way: three tries of a connection and an answer, and a second for what is on its way.
const ENDS_WITHIN_MS: u64 = 3 * (5_000 + 30_000) + 1_000;

/// How a question ended for its officer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Numbers that were verified.
    Answered,
    /// A signed refusal.
    Refused,
    /// Nobody answered.
    Unreachable,
    /// Something came that is not believed.
    NotVerified,
    /// The partner contradicted itself.
    Contradiction,
    /// The officer's own node died.
    OwnNodeDied,
}

/// Head and slice.
type Spoken = (Vec<u8>, Vec<u8>);

/// The judge of one history.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Hashes of the bodies that officers signed.
    pub(super) bodies: BTreeSet<Hash>,
    // What each provider truly signed for a body: head, slice.
    signed: BTreeMap<(usize, Hash), Vec<Spoken>>,
    // The decided reply of each honest provider to a body.
    decided: BTreeMap<(usize, Hash), SignedAnswer>,
    /// What went wrong.
    pub(super) violations: Vec<String>,
    /// How questions ended, and what else happened.
    pub(super) seen: BTreeMap<String, u64>,
}

impl Judge {
    /// Something that is counted.
    pub(super) fn count(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }

    /// A provider signs something.
    pub(super) fn signs(&mut self, provider: usize, body: Hash, head: &[u8], slice: &[u8]) {
        self.signed.entry((provider, body)).or_default().push((head.to_vec(), slice.to_vec()));
    }

    /// An honest provider sends its decision on a body: the same bytes each time.
    pub(super) fn decides(&mut self, provider: usize, body: Hash, answer: &SignedAnswer) {
        let first = self.decided.entry((provider, body)).or_insert_with(|| answer.clone());
        if first != answer {
            self.violations.push(format!("provider {provider} sent two different replies to body {body}"));
        }
    }

    /// An honest provider answers a body over a connection: it must be that asker's question to this provider.
    pub(super) fn answers(&mut self, asked: Option<(usize, usize)>, over: (usize, usize)) {
        if asked != Some(over) {
            self.violations.push(format!("what {asked:?} asked is answered to {over:?}"));
        }
    }

    /// An officer believes numbers: the provider must have signed exactly these, for exactly this request.
    pub(super) fn believes(&mut self, provider: usize, body: Hash, reply: &RawReply, exchange: &Exchange) {
        let signed = self.signed.get(&(provider, body));
        if !signed.is_some_and(|all| all.iter().any(|(head, slice)| *head == reply.head && *slice == reply.slice)) {
            self.violations.push(format!("numbers of provider {provider} are believed that it never signed"));
        }
        if exchange.cells.as_ref().is_none_or(Vec::is_empty) {
            self.violations.push("an answer without numbers counts as answered".into());
        }
    }

    /// A question has ended.
    pub(super) fn ends(&mut self, ending: Ending, after_ms: u64) {
        self.count(&format!("{ending:?}"));
        if after_ms > ENDS_WITHIN_MS {
            self.violations.push(format!("a question took {after_ms} ms"));
        }
    }

    /// What a provider has executed.
    pub(super) fn executed(&mut self, provider: usize, all: &[(u32, Hash)]) {
        for (count, body) in all {
            self.count("executed");
            if *count != 1 {
                self.violations.push(format!("provider {provider} executed body {body} {count} times"));
            }
            if !self.bodies.contains(body) {
                self.violations.push(format!("provider {provider} executed body {body}, which no officer signed"));
            }
        }
    }
}
