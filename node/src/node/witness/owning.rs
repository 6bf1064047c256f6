//! The own log at others: what they hold of it is compared with what is here, and what they cosign is put under what was closed.

use std::collections::BTreeMap;

use accord_edge::clock;
use accord_protocol::{
    codec::Bounded,
    id::{Hash, NodeId},
    key::PublicKey,
    log::{
        Checkpoint, Note, NoteSignature, SignedCheckpoint, log_origin,
        passing::{BareNote, Cosign, CosignOutcome, Cosigned, TOLD_MAX, Told, fork_id, needed, read},
        tree, witness_name,
    },
    time::UnixMs,
};

use crate::{
    domain::{
        unmatched::{Asking, Unmatched, Without},
        witnessing::{Fork, Reconciled, ToProve, Verdict, Witnessing, claimed, cosigners, witnesses},
    },
    io::store::{Batch, StoreError},
    node::Node,
};

/// What is to be done after a member has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Done,
    /// It is asked once more: what it holds is known now.
    Again,
}

impl Node {
    /// What this node tells others: which checkpoints it holds, of its own log the last that was closed.
    pub(crate) fn logs_told(&self) -> Told {
        let own = self.last_closed().and_then(|closed| closed.bare());
        let witnessing = self.witnessing();
        let all = own.into_iter().chain(witnessing.all_held().map(|(_, held)| held.note.clone()));
        Told { notes: Bounded::new(all.take(TOLD_MAX).collect()).unwrap_or_default() }
    }

    /// Compares what a member holds with what is held here. Returns whether it lacks what was closed of the own log. Blocks on the store.
    pub(crate) fn compare_logs(&self, by: &NodeId, told: &Told) -> Result<bool, StoreError> {
        let _alone = self.alone_with_logs();
        let standing = self.standing();
        let trust = standing.trust();
        let me = &self.config.member;
        let mut of_own = None;
        for note in told.notes.iter() {
            let Some(claimed) = claimed(note) else { continue };
            let whose = trust.roster().members.iter().map(|member| &member.node_id);
            let Some(of) = whose.into_iter().find(|member| log_origin(trust.federation(), member) == claimed.origin)
            else {
                continue;
            };
            if of == me {
                of_own = Some((claimed, note));
                continue;
            }
            let Some(signed) = self.believed(of, note) else { continue };
            self.compare_other((by, of), signed.checkpoint(), note)?;
        }
        match &of_own {
            Some((claimed, note)) => self.check_own(by, claimed, note)?,
            None => self.witnessing().held_of_own(by, 0, None),
        }
        self.look_whether_reconciled()?;
        let held = of_own.map_or(0, |(claimed, _)| claimed.size);
        Ok(self.last_closed().is_some_and(|closed| held < closed.checkpoint().size))
    }

    // What somebody holds of another's log, or of its own. The caller is alone with logs.
    fn compare_other(
        &self,
        (by, of): (&NodeId, &NodeId),
        checkpoint: &Checkpoint,
        note: &BareNote,
    ) -> Result<(), StoreError> {
        let now = clock::now();
        // What was accepted as lost, or as told by somebody, is no news: others may hold it for long.
        if by != of && self.is_accepted(of, checkpoint) {
            return Ok(());
        }
        let verdict = self.witnessing().told(by, of, (checkpoint, note), now);
        if let Verdict::Fork(fork) = verdict {
            return self.keep_fork(*fork);
        }
        let held = self.witnessing().held(of).map(|held| held.checkpoint.size);
        if held.is_none_or(|size| size == checkpoint.size) {
            return Ok(());
        }
        if let Some(seen) = self.store.seen(of, checkpoint.size)? {
            let fork = Witnessing::against(of, by, &seen, (checkpoint, note), now);
            return fork.map_or(Ok(()), |fork| self.keep_fork(fork));
        }
        // Its owner shows its own log by itself.
        if by != of {
            let unmatched = Unmatched {
                told_by: by.clone(),
                checkpoint: checkpoint.clone(),
                note: note.clone(),
                since: now,
                asking: Asking::default(),
            };
            self.witnessing().note_unmatched(of, unmatched);
        }
        Ok(())
    }

    fn is_accepted(&self, of: &NodeId, told: &Checkpoint) -> bool {
        let witnessing = self.witnessing();
        let mut accepted = witnessing.forks().iter().filter(|fork| fork.member == *of && fork.accepted_at != UnixMs(0));
        accepted.any(|fork| {
            let [held, shown] = [&fork.held, &fork.shown].map(claimed);
            // A log that was restored has lost all sizes up to the one that was held of it.
            let is_lost = fork.told_by == *of && held.as_ref().is_some_and(|held| told.size <= held.size);
            let is_held_here = witnessing.held(of).is_some_and(|held| held.checkpoint.size == told.size);
            is_lost && !is_held_here || held.as_ref() == Some(told) || shown.as_ref() == Some(told)
        })
    }

    /// The checkpoint under a proof is held against what was seen of that log, too. Blocks on the store.
    pub(super) fn compare_proven(&self, of: &NodeId, signed: &SignedCheckpoint) -> Result<(), StoreError> {
        let _alone = self.alone_with_logs();
        let Some(note) = signed.bare() else { return Ok(()) };
        // As if somebody else told of it: it may be older than what its owner has closed since.
        let me = self.config.member.clone();
        self.compare_other((&me, of), signed.checkpoint(), &note)
    }

    /// The logs whose owners are to prove how what others hold lies to what is held here.
    pub(crate) fn unmatched(&self) -> BTreeMap<NodeId, Vec<ToProve>> {
        let mut witnessing = self.witnessing();
        witnessing.forget_unmatched(|of, note| self.believed(of, note).is_some());
        witnessing.unmatched()
    }

    /// Takes what a log's owner says to that. Blocks on the store.
    pub(crate) fn reconcile(
        &self,
        pair: (&NodeId, &NodeId),
        sizes: (u64, u64),
        said: Result<&[Hash], Without>,
    ) -> Result<(), StoreError> {
        let _alone = self.alone_with_logs();
        let now = clock::now();
        let fork = {
            let mut witnessing = self.witnessing();
            let reconciled = said.map(|path| witnessing.reconcile(pair, sizes, path, now));
            match reconciled {
                Ok(Reconciled::One) => None,
                Ok(Reconciled::Fork(fork)) => Some(*fork),
                // A log that always grows just then is not proven either.
                Ok(Reconciled::Overtaken) => witnessing.unproven(pair, Without::PutOff, now),
                Err(without) => witnessing.unproven(pair, without, now),
            }
        };
        fork.map_or(Ok(()), |fork| self.keep_fork(fork))
    }

    // A checkpoint of the own log that somebody else holds: only what an own key has signed can stop this node, and none that was
    // suspended.
    fn believed_own(&self, note: &BareNote) -> Option<SignedCheckpoint> {
        let (standing, me, now) = (self.standing(), &self.config.member, clock::now());
        let trust = standing.trust();
        let present = trust.log_keys(me, now);
        // Whoever has got hold of an earlier one stops nobody with it once it was ever suspended, for however long.
        let was_suspended = |key: &PublicKey| {
            let mut own = trust.suspensions().iter().filter(|suspend| suspend.node_id == *me);
            own.any(|suspend| suspend.key().as_ref() == Some(key))
        };
        let counts = |key: &&PublicKey| present.contains(key) || !was_suspended(key);
        let keys: Vec<PublicKey> = trust.all_log_keys(me).iter().filter(counts).copied().collect();
        SignedCheckpoint::verify(read(note).ok()?, &log_origin(trust.federation(), me), &keys).ok()
    }

    // Holds what somebody else has of the own log against the log that is here. The caller is alone with logs.
    fn check_own(&self, by: &NodeId, theirs: &Checkpoint, note: &BareNote) -> Result<(), StoreError> {
        let log = self.store.log_tree();
        // Of what is here it does not matter who has signed it: a key may have been taken out since.
        let is_here = theirs.size <= log.size() && tree::root_at(&log.nodes(&self.store), theirs.size)? == theirs.root;
        if is_here {
            self.witnessing().held_of_own(by, theirs.size, None);
            return Ok(());
        }
        if self.believed_own(note).is_none() {
            self.witnessing().held_of_own(by, 0, None);
            return Ok(());
        }
        // What was accepted as lost stays lost: others may hold it for long. What is larger was closed later, and is another loss.
        let is_accepted = {
            let (witnessing, me) = (self.witnessing(), &self.config.member);
            let is_it = |fork: &Fork| claimed(&fork.held).as_ref() == Some(theirs);
            let mut accepted =
                witnessing.forks().iter().filter(|fork| fork.member == *me && fork.accepted_at != UnixMs(0));
            accepted.any(is_it) || witnessing.lost_up_to(me).is_some_and(|lost| theirs.size <= lost)
        };
        if !is_accepted {
            // Also where no key signs any more.
            let shown = self.checkpoint_with_tree().ok().and_then(|(_, now)| now.bare()).unwrap_or_default();
            let here = Checkpoint { origin: theirs.origin.clone(), size: log.size(), root: log.root() };
            self.keep_fork(Fork {
                id: fork_id(theirs, &here),
                member: self.config.member.clone(),
                at: clock::now(),
                told_by: by.clone(),
                held: note.clone(),
                shown,
                accepted_at: UnixMs(0),
            })?;
        }
        self.witnessing().was_compared(by);
        Ok(())
    }

    /// The largest size of the own log that was accepted as lost.
    pub(in crate::node) fn lost_up_to(&self) -> u64 {
        self.witnessing().lost_up_to(&self.config.member).unwrap_or_default()
    }

    /// Who is to be shown the own log: after it was closed everybody, else those who do not hold it as it was last closed.
    pub(crate) fn to_be_shown(&self, everybody: bool) -> Vec<NodeId> {
        let Some(size) = self.last_closed().map(|closed| closed.checkpoint().size) else { return Vec::new() };
        let (standing, me, now) = (self.standing(), &self.config.member, clock::now());
        let trust = standing.trust();
        let witnessing = self.witnessing();
        let others = trust.roster().members.iter().map(|member| &member.node_id);
        others
            .filter(|member| *member != me && trust.active(member, now).is_some())
            .filter(|member| everybody || witnessing.size_held_by(member) < size)
            .cloned()
            .collect()
    }

    /// Whether a member's log, or what it holds of the own one, is amiss, so that it is compared again and again.
    pub(crate) fn is_to_be_compared(&self, member: &NodeId) -> bool {
        let witnessing = self.witnessing();
        witnessing.behind(member).is_some()
            || witnessing.open_fork(&self.config.member).is_some()
            || !witnessing.is_compared(member)
    }

    /// What a member is shown of the own log: as it was last closed, and that it grew since what that member holds. Nothing before it
    /// was ever closed, or while it is not known whether this is the log that others have seen. Blocks on the store.
    pub(crate) fn log_shown_to(&self, to: &NodeId) -> Result<Option<(SignedCheckpoint, Cosign)>, StoreError> {
        let Some(closed) = self.last_closed() else { return Ok(None) };
        let old_size = {
            let witnessing = self.witnessing();
            if witnessing.open_fork(&self.config.member).is_some() {
                return Ok(None);
            }
            witnessing.size_held_by(to)
        };
        let size = closed.checkpoint().size;
        let path = if old_size == 0 {
            Some(Vec::new())
        } else {
            tree::consistency(&self.store.log_tree().nodes(&self.store), old_size, size)?
        };
        // It holds more already.
        let (Some(path), Some(checkpoint)) = (path, closed.bare()) else { return Ok(None) };
        let consistency = Bounded::new(path).unwrap_or_default();
        Ok(Some((closed, Cosign { old_size, consistency, checkpoint })))
    }

    /// Takes what a member says of what it was shown. Blocks on the store.
    pub(crate) fn take_cosigned(
        &self,
        by: &NodeId,
        shown: &SignedCheckpoint,
        said: &Cosigned,
    ) -> Result<Next, StoreError> {
        let _alone = self.alone_with_logs();
        if said.outcome == CosignOutcome::Held {
            return self.put_under(by, shown, said).map(|()| Next::Done);
        }
        let before = self.witnessing().size_held_by(by);
        match claimed(&said.held).filter(|claimed| claimed.origin == shown.checkpoint().origin) {
            Some(claimed) => self.check_own(by, &claimed, &said.held)?,
            None => self.witnessing().held_of_own(by, 0, None),
        }
        if said.outcome == CosignOutcome::Refused {
            tracing::warn!(peer = %by, size = shown.checkpoint().size, "does not take what it was shown of the audit log of this node");
            return Ok(Next::Done);
        }
        Ok(if self.witnessing().size_held_by(by) == before { Next::Done } else { Next::Again })
    }

    fn put_under(&self, by: &NodeId, shown: &SignedCheckpoint, said: &Cosigned) -> Result<(), StoreError> {
        let (standing, now) = (self.standing(), clock::now());
        let trust = standing.trust();
        let line = std::str::from_utf8(said.line.as_slice()).ok().filter(|line| !line.is_empty());
        let line = line.and_then(|line| NoteSignature::parse(line).ok());
        let name = witness_name(trust.federation(), by);
        let cosigned = line.zip(trust.witness_key(by, now)).and_then(|(line, key)| {
            let is_theirs = line.name == name;
            let at = is_theirs.then(|| shown.clone().with(line.clone()).cosigned_at(&name, &key)).flatten()?;
            Some((line, at))
        });
        self.witnessing().held_of_own(by, shown.checkpoint().size, cosigned.as_ref().map(|(_, at)| *at));
        let Some((line, _)) = cosigned else { return Ok(()) };
        // It may have been closed again meanwhile: then this is one of before, and its line is under that.
        let latest = self.last_closed().filter(|closed| closed.checkpoint() == shown.checkpoint());
        let is_latest = latest.is_some();
        let signed = match latest {
            Some(latest) => latest,
            None => self.kept(shown)?,
        }
        .with(line);
        let mut batch = Batch::default();
        batch.put_checkpoint(signed.checkpoint().size, &signed.note().to_string());
        self.store.commit(batch)?;
        // It may have been closed again while this became durable.
        let mut closed = self.closed();
        if is_latest && closed.as_ref().is_some_and(|closed| closed.checkpoint() == signed.checkpoint()) {
            *closed = Some(signed);
        }
        Ok(())
    }

    /// The size that others can hold the own log to: the largest that it was closed at with enough cosignatures, or, where nobody could
    /// cosign it, the largest that it was closed at. 0 while it is not known whether this is the log that others have seen. Blocks on the
    /// store.
    pub(in crate::node) fn size_known_to_others(&self) -> Result<u64, StoreError> {
        let (standing, me, now) = (self.standing(), &self.config.member, clock::now());
        if self.log_standstill(me).is_some() {
            return Ok(0);
        }
        let trust = standing.trust();
        let needed = needed(witnesses(trust, me, now).count());
        let (origin, keys) = (log_origin(trust.federation(), me), trust.all_log_keys(me));
        let log = self.store.log_tree();
        let nodes = log.nodes(&self.store);
        for (size, text) in self.store.checkpoints()?.into_iter().rev().filter(|(size, _)| *size <= log.size()) {
            let signed = Note::parse(&text).ok().and_then(|note| SignedCheckpoint::verify(note, &origin, keys).ok());
            let Some(signed) = signed.filter(|signed| signed.checkpoint().size == size) else { continue };
            if cosigners(trust, me, &signed, now).len() >= needed
                && tree::root_at(&nodes, size)? == signed.checkpoint().root
            {
                return Ok(size);
            }
        }
        Ok(0)
    }

    // An earlier checkpoint with what is under it already.
    fn kept(&self, shown: &SignedCheckpoint) -> Result<SignedCheckpoint, StoreError> {
        let note = self.store.checkpoint(shown.checkpoint().size)?;
        let note = note.and_then(|text| Note::parse(&text).ok());
        let origin = &shown.checkpoint().origin;
        let kept = note.and_then(|note| SignedCheckpoint::verify(note, origin, &[shown.signer()]).ok());
        Ok(kept.filter(|kept| kept.checkpoint() == shown.checkpoint()).unwrap_or_else(|| shown.clone()))
    }
}
