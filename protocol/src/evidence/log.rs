//! What a partner's log adds to its signed reply: that the reply stands in it as an entry, and who else has seen that log.

use std::{collections::BTreeSet, fmt};

use super::{Failed, Report, Statement};
use crate::{
    exchange::Exchange,
    held::{HeldState, Status},
    id::NodeId,
    log::{EventKind, NotProven, Proof, SignedCheckpoint, log_origin, subject_of, tick, witness_name},
    request::{RequestBody, SKEW_MS},
    roster::{MemberRole, MemberState},
    signed::{FederationId, Label},
    time::{DAY_MS, MINUTE_MS, UnixMs},
    trust::Trust,
};

/// Witnesses that it takes, where the federation has as many.
pub const WITNESSES_NEEDED: usize = 2;
/// How far the time of an entry may lie from that of the reply it is about: one clock makes both, the entry comes before the reply
/// leaves, and nobody waits that long for a reply.
pub const ENTRY_WITHIN_MS: u64 = 10 * MINUTE_MS;
/// How long after it could be had a proof may be missing before it is overdue (`wire.md` D7).
pub const PROOF_WITHIN_MS: u64 = DAY_MS;

/// How well a reply is proved; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Its partner has signed it.
    Signed,
    /// It stands in a log that the partner has signed.
    Logged,
    /// Enough others have seen that log as it was with the reply in it.
    Witnessed,
}

impl Level {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Signed, Self::Logged, Self::Witnessed];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Logged => "logged",
            Self::Witnessed => "witnessed",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a reply stands in its partner's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Place of the entry.
    pub entry: u64,
    /// Number of entries under the checkpoint.
    pub size: u64,
    /// Time of the entry, by the partner's clock.
    pub at: UnixMs,
    /// Other members that have cosigned the checkpoint as witnesses, each once, by name.
    pub witnesses: Vec<NodeId>,
    /// How many it takes; 0 where the federation has no other witness, so that nobody can witness it.
    pub needed: usize,
}

impl Logged {
    /// The level that it gives.
    pub fn level(&self) -> Level {
        if self.needed > 0 && self.witnesses.len() >= self.needed { Level::Witnessed } else { Level::Logged }
    }
}

/// Why a text does not prove that a reply stands in its partner's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLogged {
    /// It proves no entry of that log.
    #[error(transparent)]
    Proof(#[from] NotProven),
    /// More is in it than the entry.
    #[error("the proof discloses what its entry commits to; evidence has the entry alone")]
    Detail,
    /// The entry is about something else.
    #[error("the entry is about something else than this reply")]
    Subject,
    /// The entry says that something else happened.
    #[error("the entry says `{found}` of a reply that is `{said}`")]
    Kind {
        /// What it says.
        found: EventKind,
        /// What the reply is.
        said: EventKind,
    },
    /// The entry is of another time.
    #[error("the entry is more than 10 minutes before or after the reply")]
    Time,
}

/// An answer whose proof is overdue, while the file has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// Who promised it.
    pub who: NodeId,
    /// `answer` or `refusal`.
    pub what: &'static str,
    /// When the reply was made.
    pub at: UnixMs,
    /// From when the proof could be had, by the partner's signed word.
    pub provable_after: UnixMs,
}

impl Statement {
    /// What an answer or refusal states, before anything is known of logs. `head` is its signed bytes.
    pub fn of_answer(exchange: &Exchange, head: &[u8], federation: &FederationId) -> Self {
        let edition = exchange.edition.as_ref().map(|edition| edition.number);
        let (what, kind) = match edition {
            Some(_) => ("answer", EventKind::Answered),
            None => ("refusal", EventKind::Refused),
        };
        Self {
            who: exchange.answer.responder.clone(),
            what,
            to: exchange.answer.requester.clone(),
            officer: exchange.card.officer_id.to_string(),
            at: exchange.answer.issued_at,
            edition,
            subject: subject_of(Label::Answer, federation, head),
            kind,
            provable_after: exchange.answer.provable_after,
            log: None,
        }
    }

    /// What a partner's word states of how a request of this officer stands. A `Status` has no place for the promise of a proof.
    pub fn of_status(
        (body, officer): (&RequestBody, &str),
        status: &Status,
        head: &[u8],
        federation: &FederationId,
    ) -> Self {
        let kind = match status.state {
            HeldState::Received | HeldState::Held => EventKind::Held,
            HeldState::Withdrawn => EventKind::Withdrawn,
            HeldState::Expired => EventKind::Expired,
        };
        Self {
            who: body.audience.clone(),
            what: status.state.as_str(),
            to: body.requester.clone(),
            officer: officer.to_owned(),
            at: status.at,
            edition: None,
            subject: subject_of(Label::Status, federation, head),
            kind,
            provable_after: UnixMs(0),
            log: None,
        }
    }

    /// The level that it is proved at.
    pub fn level(&self) -> Level {
        self.log.as_ref().map_or(Level::Signed, Logged::level)
    }

    /// From when its speaker's log can prove it: as was promised. A status has no place for that, and stands in the log like all that is
    /// decided. Nothing where no entry was promised.
    pub fn provable_from(&self) -> Option<UnixMs> {
        if matches!(self.kind, EventKind::Held | EventKind::Withdrawn | EventKind::Expired) {
            return Some(tick::provable_after(self.at));
        }
        Some(self.provable_after).filter(|from| *from != UnixMs(0))
    }

    /// Whether its proof should have been there for a day: the partner has promised one, and none is known.
    pub fn is_overdue(&self, at: UnixMs) -> bool {
        self.log.is_none() && self.provable_after != UnixMs(0) && self.provable_after.plus(PROOF_WITHIN_MS) < at
    }

    /// Believes a proof that this stands in its speaker's log, by keys that follow from the trust documents. `at` bounds the times of
    /// cosignatures from above.
    ///
    /// The log may have signed with any key that it ever had, since years may lie between: whoever has got hold of an old one can make a
    /// reply look logged that is signed anyway, and not witnessed.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn proved_by(&self, trust: &Trust, proof: &str, at: UnixMs) -> Result<Logged, NotLogged> {
        let origin = log_origin(trust.federation(), &self.who);
        let proof = Proof::parse(proof)?;
        if proof.detail.is_some() {
            return Err(NotLogged::Detail);
        }
        let proven = proof.verify(&origin, trust.all_log_keys(&self.who), |_| None)?;
        let entry = proven.entry();
        if entry.subject != self.subject {
            return Err(NotLogged::Subject);
        }
        if entry.kind != self.kind {
            return Err(NotLogged::Kind { found: entry.kind, said: self.kind });
        }
        if entry.time.0.abs_diff(self.at.0) > ENTRY_WITHIN_MS {
            return Err(NotLogged::Time);
        }
        let witnesses = possible_witnesses(trust, &self.who, entry.time);
        let needed = witnesses.len().min(WITNESSES_NEEDED);
        let has_cosigned = |member: &NodeId| has_cosigned(trust, proven.checkpoint(), member, (entry.time, at));
        Ok(Logged {
            entry: entry.seq,
            size: proven.checkpoint().checkpoint().size,
            at: entry.time,
            witnesses: witnesses.into_iter().filter(has_cosigned).collect(),
            needed,
        })
    }
}

// Members other than the log's own whose part it is: active, within their validity when the entry was made. A set, so that nobody
// counts twice.
fn possible_witnesses(trust: &Trust, of: &NodeId, then: UnixMs) -> BTreeSet<NodeId> {
    let members = trust.roster().members.iter().filter(|member| {
        member.node_id != *of
            && member.state == MemberState::Active
            && member.roles.iter().any(|role| *role == MemberRole::Witness)
            && (member.valid_from..member.valid_to).contains(&then)
    });
    members.map(|member| member.node_id.clone()).collect()
}

// Whether a member has cosigned with its key, at a time that can be: what is cosigned was there already, and nothing is of later than now.
fn has_cosigned(trust: &Trust, checkpoint: &SignedCheckpoint, member: &NodeId, (then, now): (UnixMs, UnixMs)) -> bool {
    let Some(key) = trust.witness_key(member, now) else { return false };
    let name = witness_name(trust.federation(), member);
    let mut times = checkpoint.cosignatures(&name, &key).map(|seconds| UnixMs(seconds.saturating_mul(1000)));
    times.any(|time| then <= time.plus(SKEW_MS) && time <= now.plus(SKEW_MS))
}

impl Report {
    /// The level at which all replies are proved: that of the least of them.
    pub fn level(&self) -> Level {
        self.statements.iter().map(Statement::level).min().unwrap_or(Level::Signed)
    }

    /// Replies that are not proved at this level, with what is missing; nothing if all are.
    pub fn short_of(&self, wanted: Level) -> Vec<Failed> {
        let below = self.statements.iter().filter(|statement| statement.level() < wanted);
        let mut short: Vec<Failed> = below
            .map(|statement| {
                let part = format!("{}, {} of {}", statement.who, statement.what, statement.at);
                Failed { part, rule: why_short(statement, wanted) }
            })
            .collect();
        if self.statements.is_empty() && wanted > Level::Signed {
            short
                .push(Failed { part: "exchanges".into(), rule: "there is no reply, so that nothing is logged".into() });
        }
        short
    }
}

fn why_short(statement: &Statement, wanted: Level) -> String {
    let level = statement.level();
    match &statement.log {
        Some(logged) if logged.needed == 0 => {
            "logged, not witnessed: no other member of the federation is a witness, so that nobody can have witnessed it"
                .to_owned()
        }
        Some(logged) => format!(
            "logged, not witnessed: {} of {} witnesses that it takes have cosigned",
            logged.witnesses.len(),
            logged.needed
        ),
        None if statement.provable_after == UnixMs(0) => format!(
            "{level}, not {wanted}: the file has no proof that it stands in the log of {}, and {} promised none",
            statement.who, statement.who
        ),
        None => format!(
            "{level}, not {wanted}: the file has no proof that it stands in the log of {}, who promised one from {}",
            statement.who, statement.provable_after
        ),
    }
}
