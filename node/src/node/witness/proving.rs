//! Proofs that a log holds what was signed: given to whoever has the signed statement, asked of partners once they can be had (`wire.md` D7).

use std::collections::{BTreeMap, BTreeSet};

use accord_edge::clock;
use accord_protocol::{
    answer::AnswerHead,
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, NodeId},
    log::{
        EventKind, Proof, log_origin,
        passing::{Asked, ConsistencyReply, ProofCall, needed},
        subject_of, tree,
    },
    signed::Label,
    time::{DAY_MS, MINUTE_MS, UnixMs},
};
use serde_json::json;

use crate::{
    domain::witnessing::{cosigners, witnesses},
    io::store::{Batch, PromiseEntry, StoreError},
    node::{Actor, Happening, Node},
};

/// How long after a proof could be had it is missing.
const MISSING_AFTER_MS: u64 = DAY_MS;
/// How long a partner that gave none, or one that few have cosigned, is left alone.
const AGAIN_AFTER_MS: u64 = 10 * MINUTE_MS;
/// Proofs asked of one partner in a round, which is half a minute, at most: fewer than the 300 calls about logs that it answers a minute.
const ASKED_PER_ROUND: usize = 100;
/// How long proofs are kept for whoever completes evidence.
const KEPT_MS: u64 = 30 * DAY_MS;
/// How far an entry may lie from what its statement says of its time.
const APART_MS: u64 = 10 * MINUTE_MS;
/// Statements whose proofs are waited for or kept, at most: about 150 MB, at worst 800. Of more a proof can still be asked for.
const PROMISES_MAX: usize = 50_000;

/// What is still waited for.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Due {
    from: UnixMs,
    asked_at: UnixMs,
    is_missed: bool,
}

/// What is waited for, and how many are kept.
#[derive(Debug, Default)]
pub(in crate::node) struct Promises {
    open: BTreeMap<(NodeId, Hash), Due>,
    kept: usize,
}

impl Promises {
    // What to ask for now; what is left out has its turn in later rounds.
    fn due(&mut self, now: UnixMs) -> BTreeMap<NodeId, Vec<Hash>> {
        let mut due: BTreeMap<NodeId, Vec<Hash>> = BTreeMap::new();
        for ((member, subject), one) in &mut self.open {
            if one.from > now || one.asked_at.plus(AGAIN_AFTER_MS) > now {
                continue;
            }
            let of_member = due.entry(member.clone()).or_default();
            if of_member.len() < ASKED_PER_ROUND {
                one.asked_at = now;
                of_member.push(*subject);
            }
        }
        due
    }
}

/// Why a proof is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It does not hold.
    #[error(transparent)]
    NotProven(#[from] accord_protocol::log::NotProven),
    /// It is of something else.
    #[error("the proof is of another statement")]
    Another,
    /// The entry says another thing than the statement.
    #[error("the entry is of another kind or time than the statement")]
    Unfit,
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const fn is_decision(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Answered | EventKind::Refused | EventKind::Held | EventKind::Withdrawn | EventKind::Expired
    )
}

impl Node {
    fn promises(&self) -> std::sync::MutexGuard<'_, Promises> {
        self.promises.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes up what was waited for before this start, and forgets what is old. Blocks on the store.
    pub(in crate::node) fn take_up_promises(&self) -> Result<(), StoreError> {
        self.forget_proofs()?;
        let mut all = Promises::default();
        for promise in self.store.promises() {
            let promise = promise?;
            all.kept += 1;
            if promise.proof.as_slice().is_empty() || usize::from(promise.witnesses) < self.needed_by(&promise.member) {
                let due = Due { from: promise.from, asked_at: promise.asked_at, is_missed: promise.is_missed };
                all.open.insert((promise.member, promise.subject), due);
            }
        }
        *self.promises() = all;
        Ok(())
    }

    /// Forgets proofs that are kept for longer than anybody completes evidence. Blocks on the store.
    pub fn forget_proofs(&self) -> Result<(), StoreError> {
        let now = self.sure_now();
        let (mut batch, mut old) = (Batch::default(), BTreeSet::new());
        for promise in self.store.promises() {
            let promise = promise?;
            if promise.from.plus(KEPT_MS) < now {
                batch.delete_promise(&promise.member, &promise.subject);
                old.insert((promise.member, promise.subject));
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        self.store.commit(batch)?;
        let mut promises = self.promises();
        promises.kept = promises.kept.saturating_sub(old.len());
        promises.open.retain(|key, _| !old.contains(key));
        Ok(())
    }

    fn needed_by(&self, member: &NodeId) -> usize {
        needed(witnesses(self.standing().trust(), member, clock::now()).count())
    }

    /// Adds what a partner has to prove of a believed statement to what is committed with it; what comes back is to be waited for once it
    /// is durable.
    pub(in crate::node) fn put_promise(&self, batch: &mut Batch, from: &NodeId, head: &[u8]) -> Option<PromiseEntry> {
        let answer = decode::<AnswerHead>(head, Cap::Head).ok()?;
        // Whoever promises for next year promises nothing.
        let latest = clock::now().plus(DAY_MS);
        if answer.provable_after == UnixMs(0) || answer.provable_after > latest {
            return None;
        }
        let subject = subject_of(Label::Answer, self.standing().trust().federation(), head);
        let (is_known, kept) = {
            let promises = self.promises();
            (promises.open.contains_key(&(from.clone(), subject)), promises.kept)
        };
        if is_known {
            return None;
        }
        if kept >= PROMISES_MAX {
            tracing::warn!(partner = %from, "too many statements wait for their proofs: the one of this must be asked for (accord evidence complete)");
            return None;
        }
        let kind = if answer.refusal().is_some() { EventKind::Refused } else { EventKind::Answered };
        let promise = PromiseEntry {
            member: from.clone(),
            subject,
            kind: kind.number(),
            issued_at: answer.issued_at,
            from: answer.provable_after,
            asked_at: UnixMs(0),
            proof: Bounded::default(),
            witnesses: 0,
            is_missed: false,
        };
        batch.put_promise(&promise);
        Some(promise)
    }

    /// Waits for what has become durable.
    pub(in crate::node) fn wait_for(&self, promise: Option<PromiseEntry>) {
        let Some(promise) = promise else { return };
        let due = Due { from: promise.from, asked_at: UnixMs(0), is_missed: false };
        let mut promises = self.promises();
        promises.kept += 1;
        promises.open.insert((promise.member, promise.subject), due);
    }

    /// Statements whose proofs are to be asked for now, by partner: not more than it answers. The others have their turn in later rounds.
    pub(crate) fn due_proofs(&self) -> BTreeMap<NodeId, Vec<Hash>> {
        self.promises().due(clock::now())
    }

    /// Says of statements that are not proven a day after they could be that they are missing, once. Blocks on the store.
    pub(crate) fn miss_proofs(&self) {
        let now = self.sure_now();
        let missing: Vec<(NodeId, Hash)> = {
            let promises = self.promises();
            let is_late = |due: &Due| !due.is_missed && due.from.plus(MISSING_AFTER_MS) < now;
            promises.open.iter().filter(|(_, due)| is_late(due)).map(|(key, _)| key.clone()).collect()
        };
        for (member, subject) in missing {
            if let Err(error) = self.miss(&member, &subject) {
                tracing::error!(%error, "that a proof is missing cannot be kept");
            }
        }
    }

    fn miss(&self, member: &NodeId, subject: &Hash) -> Result<(), StoreError> {
        let _alone = self.alone_with_logs();
        let Some(promise) = self.store.promise(member, subject)? else { return Ok(()) };
        // One with few cosignatures is there all the same.
        if promise.proof.as_slice().is_empty() {
            tracing::error!(partner = %member, %subject, "ALARM: it has not proven within a day that its audit log holds what it signed");
            let mut batch = Batch::default();
            batch.put_promise(&PromiseEntry { is_missed: true, ..promise.clone() });
            let what = json!({ "from": member.as_str(), "subject": subject.to_string(), "provable_after": promise.from.to_string() });
            self.enter(&mut batch, &Happening::new(EventKind::Unproven, &Actor::Member(member.clone()), what))?;
            self.store.commit(batch)?;
            if let Some(due) = self.promises().open.get_mut(&(member.clone(), *subject)) {
                due.is_missed = true;
            }
        } else {
            self.promises().open.remove(&(member.clone(), *subject));
        }
        Ok(())
    }

    /// How many statements wait for their proofs, and how many of those are missing.
    pub(super) fn unproven(&self) -> (usize, usize) {
        let promises = self.promises();
        (promises.open.len(), promises.open.values().filter(|due| due.is_missed).count())
    }

    /// The proof that is kept of a partner's statement, with how many have cosigned it. Blocks on the store.
    pub(crate) fn kept_proof(&self, member: &NodeId, subject: &Hash) -> Result<Option<(String, usize)>, StoreError> {
        let kept = self.store.promise(member, subject)?.filter(|promise| !promise.proof.as_slice().is_empty());
        Ok(kept.map(|promise| {
            (String::from_utf8_lossy(promise.proof.as_slice()).into_owned(), usize::from(promise.witnesses))
        }))
    }

    /// Whether as many have cosigned as could be asked for.
    pub(crate) fn is_witnessed(&self, member: &NodeId, count: usize) -> bool {
        count >= self.needed_by(member)
    }

    /// Takes a proof that a partner gives, if it holds and is better than what there is. Blocks on the store.
    pub(crate) fn take_proof(&self, member: &NodeId, subject: &Hash, text: &str) -> Result<(), NotTaken> {
        let (standing, now) = (self.standing(), clock::now());
        let trust = standing.trust();
        let origin = log_origin(trust.federation(), member);
        // By any key that the log ever had, as whoever verifies evidence holds it to: it may have been closed just before an exchange of
        // keys, and not since. Who did it is not disclosed.
        let proven = Proof::parse(text)?.verify(&origin, trust.all_log_keys(member), |_| None)?;
        if proven.entry().subject != *subject || !is_decision(proven.entry().kind) {
            return Err(NotTaken::Another);
        }
        // Whoever has got hold of a key that was taken out makes no fork with it.
        if trust.log_keys(member, now).contains(&proven.checkpoint().signer()) {
            self.compare_proven(member, proven.checkpoint())?;
        }
        let count = cosigners(trust, member, proven.checkpoint(), now).len();
        let _alone = self.alone_with_logs();
        let before = self.store.promise(member, subject)?;
        // As whoever verifies evidence holds it to (`docs/audit.md`, section 10).
        let fits = |promise: &PromiseEntry| {
            let entry = proven.entry();
            promise.kind == entry.kind.number() && promise.issued_at.0.abs_diff(entry.time.0) <= APART_MS
        };
        if before.as_ref().is_some_and(|promise| promise.kind != 0 && !fits(promise)) {
            return Err(NotTaken::Unfit);
        }
        let had = before.as_ref().filter(|promise| !promise.proof.as_slice().is_empty());
        if had.is_some_and(|promise| usize::from(promise.witnesses) >= count) {
            return Ok(());
        }
        let Some(proof) = Bounded::new(text.as_bytes().to_vec()) else { return Err(NotTaken::Another) };
        let is_missed = before.as_ref().is_some_and(|promise| promise.is_missed);
        let promise = PromiseEntry {
            member: member.clone(),
            subject: *subject,
            kind: before.as_ref().map_or(0, |promise| promise.kind),
            issued_at: before.as_ref().map_or(UnixMs(0), |promise| promise.issued_at),
            from: before.as_ref().map_or(proven.entry().time, |promise| promise.from),
            asked_at: now,
            proof,
            witnesses: u8::try_from(count).unwrap_or(u8::MAX),
            is_missed,
        };
        let mut batch = Batch::default();
        batch.put_promise(&promise);
        self.store.commit(batch)?;
        let mut promises = self.promises();
        if before.is_none() {
            promises.kept += 1;
        }
        if count >= self.needed_by(member) {
            promises.open.remove(&(member.clone(), *subject));
        }
        Ok(())
    }

    /// Proves what a member asks about; nothing if this log does not hold it, or was not closed over it yet. Blocks on the store.
    pub(crate) fn prove(&self, call: &ProofCall) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(closed) = self.last_closed() else { return Ok(None) };
        let size = closed.checkpoint().size;
        let log = self.store.log_tree();
        let nodes = log.nodes(&self.store);
        if call.what == Asked::Consistency {
            // What was not closed yet is nobody's to count.
            if call.new > size {
                return Ok(None);
            }
            let path = tree::consistency(&nodes, call.old, call.new)?;
            return Ok(path.and_then(|path| encode(&ConsistencyReply { path: Bounded::new(path)? }).ok()));
        }
        for seq in self.store.about(&call.subject)?.into_iter().filter(|seq| *seq < size) {
            let Some(entry) = self.store.entry(seq)?.filter(|entry| is_decision(entry.kind)) else { continue };
            let Some(path) = tree::inclusion(&nodes, seq, size)? else { continue };
            let checkpoint = closed.note().clone();
            let proof = Proof { index: seq, path, entry: entry.to_bytes(), detail: None, checkpoint };
            return Ok(Some(proof.to_string().into_bytes()));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_partner_is_asked_for_more_than_it_answers_and_every_proof_has_its_turn() {
        let (spain, italy): (NodeId, NodeId) = ("ES-AGENCY".parse().unwrap(), "IT-AGENCY".parse().unwrap());
        let start = UnixMs(1_000_000_000);
        let due = |from| Due { from, asked_at: UnixMs(0), is_missed: false };
        let mut promises = Promises::default();
        for number in 0..1_000u64 {
            promises.open.insert((italy.clone(), Hash::of(&number.to_be_bytes())), due(start));
        }
        promises.open.insert((spain.clone(), Hash::of(b"one")), due(start));
        promises.open.insert((spain.clone(), Hash::of(b"another")), due(start.plus(5 * MINUTE_MS)));
        let mut asked: BTreeMap<(NodeId, Hash), Vec<u64>> = BTreeMap::new();
        for round in 0..40u64 {
            for (member, subjects) in promises.due(start.plus(round * MINUTE_MS / 2)) {
                assert!(subjects.len() <= 100, "{member} in round {round}: {}", subjects.len());
                for subject in subjects {
                    asked.entry((member.clone(), subject)).or_default().push(round);
                }
            }
        }
        assert_eq!(asked.len(), 1_002);
        for ((member, _), rounds) in &asked {
            assert!(*member == spain || rounds[0] < 10, "{member}: {rounds:?}");
            assert!(rounds.windows(2).all(|pair| pair[1] - pair[0] >= 20), "{member}: {rounds:?}");
        }
        assert_eq!(asked[&(spain.clone(), Hash::of(b"one"))], [0, 20]);
        assert_eq!(asked[&(spain, Hash::of(b"another"))], [10, 30]);
    }
}
