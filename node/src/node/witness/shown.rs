//! What people see of logs: who holds and cosigns the own one, what is held of others', forks, and what has to be proven.

use accord_edge::clock;
use accord_protocol::{
    id::NodeId,
    log::{
        Checkpoint,
        passing::{BareNote, needed, read},
    },
    message::Notice,
    time::{DAY_MS, MINUTE_MS, UnixMs},
};
use serde_json::{Value, json};

use crate::{
    domain::{
        standstill::Standstill,
        unmatched::Unmatched,
        witnessing::{Fork, Held, cosigners, witnesses},
    },
    node::{Node, notice},
};

/// How long an owner may take to prove that two sizes are of one log.
const UNMATCHED_MS: u64 = 60 * MINUTE_MS;
/// How long others may take to cosign what was closed, until people are told.
const COSIGNED_WITHIN_MS: u64 = 10 * MINUTE_MS;
/// How old the last cosignatures may be.
const FRESH_MS: u64 = DAY_MS;

/// Size and root of a note, for people.
pub(super) fn size_and_root(note: &BareNote) -> Value {
    let checkpoint = read(note).ok().and_then(|note| Checkpoint::from_text(note.text()).ok());
    checkpoint.map_or(Value::Null, |one| json!({ "size": one.size, "root": one.root.to_string() }))
}

fn fork_json(fork: &Fork) -> Value {
    let accepted = (fork.accepted_at != UnixMs(0)).then(|| fork.accepted_at.to_string());
    json!({
        "id": fork.id.to_string(), "member": fork.member.as_str(), "at": fork.at.to_string(), "told_by": fork.told_by.as_str(),
        "held": size_and_root(&fork.held), "shown": size_and_root(&fork.shown), "unproven": fork.is_unproven(), "accepted_at": accepted,
        "notes": [String::from_utf8_lossy(fork.held.as_slice()), String::from_utf8_lossy(fork.shown.as_slice())],
    })
}

fn unmatched_json((of, held, one): (&NodeId, &Held, &Unmatched)) -> Value {
    let (unproven, refused) = one.asking.times();
    json!({
        "member": of.as_str(), "told_by": one.told_by.as_str(), "held": held.checkpoint.size, "told": one.checkpoint.size,
        "since": one.since.to_string(), "asked": unproven, "refused": refused,
    })
}

impl Node {
    /// The log in numbers and in others' eyes, for `accord status`.
    pub(in crate::node) fn log_json(&self) -> Value {
        let (standing, me, now) = (self.standing(), &self.config.member, clock::now());
        let trust = standing.trust();
        let tree = self.store.log_tree();
        let closed = self.last_closed();
        let could: Vec<_> = witnesses(trust, me, now).collect();
        let cosigned = closed.as_ref().map(|closed| cosigners(trust, me, closed, now)).unwrap_or_default();
        let state = match (could.len(), cosigned.len() >= needed(could.len())) {
            (0, _) => "unwitnessed",
            (_, true) => "witnessed",
            (_, false) => "waiting",
        };
        let witnessing = self.witnessing();
        let holders: Vec<Value> = witnessing
            .witnesses()
            .filter(|(_, size, _)| *size > 0)
            .map(|(member, size, at)| {
                let at = at.map(|seconds| UnixMs(seconds.saturating_mul(1_000)).to_string());
                json!({ "member": member.as_str(), "size": size, "cosigned_at": at })
            })
            .collect();
        let holds: Vec<Value> = witnessing
            .all_held()
            .map(|(member, held)| json!({ "member": member.as_str(), "size": held.checkpoint.size, "root": held.checkpoint.root.to_string(), "since": held.at.to_string() }))
            .collect();
        let forks: Vec<Value> = witnessing.forks().iter().map(fork_json).collect();
        let unmatched: Vec<Value> = witnessing.all_unmatched().map(unmatched_json).collect();
        drop(witnessing);
        let (waiting, missing) = self.unproven();
        json!({
            "size": tree.size(), "root": tree.root().to_string(),
            "destroyed": self.store.destroyed().ok().map(|destroyed| destroyed.entries),
            "closed": closed.as_ref().map(|closed| closed.checkpoint().size),
            "state": state, "needed": needed(could.len()),
            "witnesses": cosigned.iter().map(|(member, seconds)| json!({ "member": member.as_str(), "at": UnixMs(seconds.saturating_mul(1_000)).to_string() })).collect::<Vec<_>>(),
            "held_by": holders, "holds": holds, "forks": forks, "unmatched": unmatched, "unproven": waiting, "missing": missing,
        })
    }

    /// What people must know of logs.
    pub(in crate::node) fn log_warnings(&self) -> Vec<Notice> {
        let (standing, me, now) = (self.standing(), &self.config.member, clock::now());
        let trust = standing.trust();
        let mut warnings: Vec<Notice> = Vec::new();
        let members = trust.roster().members.iter().map(|member| &member.node_id);
        for member in members.filter(|member| *member != me) {
            // What stops the exchange with everybody is said once, by whoever says why the node stands still.
            let why = self.log_standstill(member);
            let is_theirs = |why: &Standstill| {
                matches!(why, Standstill::Fork { .. } | Standstill::Unproven { .. } | Standstill::Behind { .. })
            };
            warnings.extend(why.filter(is_theirs).map(|why| notice("FORK", &why.to_string())));
        }
        for member in self.witnessing().long_unmatched(UNMATCHED_MS, now) {
            let message = format!(
                "{member} has not proven for an hour that its audit log of one size, which another member holds, begins with that of the size that your node holds, or the other way round: call its operator. If it goes on like that although it answers, no data is exchanged with it"
            );
            warnings.push(notice("UNMATCHED", &message));
        }
        let could = needed(witnesses(trust, me, now).count());
        if could > 0
            && self.closed_for_ms() > COSIGNED_WITHIN_MS
            && let Some(closed) = self.last_closed()
        {
            let fresh = |(_, seconds): &(_, u64)| UnixMs(seconds.saturating_mul(1_000)).plus(FRESH_MS) >= now;
            let count = cosigners(trust, me, &closed, now).iter().filter(|one| fresh(one)).count();
            if count < could {
                let message = format!(
                    "the audit log as it was last closed has {count} of {could} cosignatures of other members that are not older than a day"
                );
                warnings.push(notice("UNWITNESSED", &message));
            }
        }
        let (_, missing) = self.unproven();
        if missing > 0 {
            let message = format!(
                "{missing} signed statement(s) of partners are not proven to stand in their audit logs a day after they could be: see accord audit show --kind unproven, and call the partner's liaison"
            );
            warnings.push(notice("UNPROVEN", &message));
        }
        warnings
    }
}
