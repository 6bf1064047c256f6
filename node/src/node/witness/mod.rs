//! Others' audit logs at this node, and its own at others: checkpoints are held, cosigned and compared, and forks kept as evidence.

mod holding;
mod owning;
mod proving;
mod shown;

pub(crate) use owning::Next;
pub(in crate::node) use proving::Promises;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use accord_edge::clock::{self, Stopwatch};
use accord_protocol::{
    id::NodeId,
    log::{
        EventKind, Note, SignedCheckpoint, log_origin,
        passing::{BareNote, read},
    },
    roster::MemberState,
    suspend::Target,
    time::UnixMs,
};
use serde_json::json;

use super::{Actor, Happening, Node};
use crate::{
    domain::{
        standstill::Standstill,
        witnessing::{Fork, Held, Witnessing},
    },
    io::store::{Batch, Store, StoreError},
};

/// What a running node knows of logs.
#[derive(Debug)]
pub(super) struct Logs {
    witnessing: Mutex<Witnessing>,
    // The own log as it was last closed, with the cosignatures that it has.
    closed: Mutex<Option<SignedCheckpoint>>,
    // Since when it is so, as far as this start knows.
    closed_since: Mutex<Stopwatch>,
    // What is kept of logs is read, judged and written by one at a time.
    alone: Mutex<()>,
    // The own log is closed by one at a time.
    closing: Mutex<()>,
    // The store was restored from a backup, and it is not known what others have seen of this node since.
    is_restored: AtomicBool,
}

impl Logs {
    /// What was kept. Blocks on the store.
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            witnessing: Mutex::new(Witnessing::new(store.held_checkpoints()?, store.forks()?)),
            closed: Mutex::default(),
            closed_since: Mutex::new(Stopwatch::start()),
            alone: Mutex::default(),
            closing: Mutex::default(),
            is_restored: AtomicBool::new(store.restored()?.is_some()),
        })
    }
}

impl Node {
    fn witnessing(&self) -> MutexGuard<'_, Witnessing> {
        self.logs.witnessing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone_with_logs(&self) -> MutexGuard<'_, ()> {
        self.logs.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else closes the own log until it is dropped.
    pub(super) fn alone_closing(&self) -> MutexGuard<'_, ()> {
        self.logs.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> MutexGuard<'_, Option<SignedCheckpoint>> {
        self.logs.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what was closed before this start, where it is signed with a key that still counts. Blocks on the store.
    pub(super) fn take_up_closed(&self) -> Result<(), StoreError> {
        let Some((_, text)) = self.store.last_checkpoint()? else { return Ok(()) };
        let standing = self.standing();
        let trust = standing.trust();
        let origin = log_origin(trust.federation(), &self.config.member);
        let keys = trust.log_keys(&self.config.member, clock::now());
        let signed = Note::parse(&text).ok().and_then(|note| SignedCheckpoint::verify(note, &origin, &keys).ok());
        *self.closed() = signed;
        Ok(())
    }

    /// Notes that the own log was closed, for whoever has it cosigned.
    pub(super) fn was_closed(&self, signed: &SignedCheckpoint) {
        let mut closed = self.closed();
        // The same once more has lost nothing: what others have put under it stays.
        let is_old = closed.as_ref().is_some_and(|known| {
            let is_same = known.checkpoint() == signed.checkpoint() && known.signer() == signed.signer();
            is_same || known.checkpoint().size > signed.checkpoint().size
        });
        if !is_old {
            *self.logs.closed_since.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
            *closed = Some(signed.clone());
        }
        drop(closed);
        self.log_closed.notify_one();
    }

    // For how many milliseconds others have had the chance to cosign it.
    fn closed_for_ms(&self) -> u64 {
        self.logs.closed_since.lock().unwrap_or_else(PoisonError::into_inner).ms()
    }

    /// The own log as it was last closed, with the cosignatures that it has.
    pub(super) fn last_closed(&self) -> Option<SignedCheckpoint> {
        self.closed().clone()
    }

    // A note as it travels, believed as a checkpoint of that member's log by keys that count now.
    fn believed(&self, of: &NodeId, note: &BareNote) -> Option<SignedCheckpoint> {
        let standing = self.standing();
        let trust = standing.trust();
        let origin = log_origin(trust.federation(), of);
        SignedCheckpoint::verify(read(note).ok()?, &origin, &trust.log_keys(of, clock::now())).ok()
    }

    /// Why no data is exchanged with a member because of a log; nothing if that is no reason.
    pub(super) fn log_standstill(&self, with: &NodeId) -> Option<Standstill> {
        let witnessing = self.witnessing();
        let me = &self.config.member;
        if let Some(fork) = witnessing.open_fork(me) {
            return Some(Standstill::OwnLog { told_by: fork.told_by.clone(), id: fork.id });
        }
        if self.logs.is_restored.load(Ordering::Relaxed) {
            return Some(Standstill::Restored);
        }
        if with == me {
            return None;
        }
        if let Some(fork) = witnessing.open_fork(with) {
            let (partner, id, told_by) = (with.clone(), fork.id, fork.told_by.clone());
            return Some(if fork.is_unproven() {
                Standstill::Unproven { partner, id, told_by }
            } else {
                Standstill::Fork { partner, id }
            });
        }
        let size = witnessing.behind(with)?;
        Some(Standstill::Behind { partner: with.clone(), size })
    }

    // Keeps a fork as evidence, with an entry, before anything else is done about it. The caller is alone with logs.
    fn keep_fork(&self, fork: Fork) -> Result<(), StoreError> {
        if !self.witnessing().is_new(&fork) {
            return Ok(());
        }
        let member = fork.member.clone();
        let is_unproven = fork.is_unproven();
        if is_unproven {
            tracing::error!(%member, told_by = %fork.told_by, id = %fork.id, "ALARM: a member does not prove that its audit log is one, and was asked for long");
        } else {
            tracing::error!(%member, told_by = %fork.told_by, id = %fork.id, "ALARM: the audit log of a member shows another past than it did");
        }
        let mut batch = Batch::default();
        batch.put_fork(&fork);
        let what = json!({
            "of": member.as_str(), "told_by": fork.told_by.as_str(), "id": fork.id.to_string(), "accepted": false, "unproven": is_unproven,
            "held": shown::size_and_root(&fork.held), "shown": shown::size_and_root(&fork.shown),
        });
        self.enter(&mut batch, &Happening::new(EventKind::Fork, &Actor::Member(fork.told_by.clone()), what))?;
        batch.is_essential();
        self.store.commit(batch)?;
        self.witnessing().keep(fork);
        Ok(())
    }

    /// Accepts the forks that own administrators have accepted, in documents that are in force now. Blocks on the store.
    pub(super) fn settle_forks(&self) -> Result<(), StoreError> {
        let standing = self.standing();
        let me = &self.config.member;
        let accepted: Vec<_> = standing
            .trust()
            .suspensions()
            .iter()
            .filter(|suspend| suspend.node_id == *me && suspend.target == Target::Fork)
            .filter_map(|suspend| suspend.fork())
            .collect();
        let _alone = self.alone_with_logs();
        let open: Vec<Fork> = {
            let witnessing = self.witnessing();
            let is_meant = |fork: &&Fork| fork.accepted_at == UnixMs(0) && accepted.contains(&fork.id);
            witnessing.forks().iter().filter(is_meant).cloned().collect()
        };
        for fork in open {
            self.accept(fork)?;
        }
        self.look_whether_reconciled()
    }

    /// The same from outside. Blocks on the store.
    pub(crate) fn reconcile_if_all_is_there(&self) -> Result<(), StoreError> {
        let _alone = self.alone_with_logs();
        self.look_whether_reconciled()
    }

    /// Lets a restored node go on once more than half of the members that it ever met have said what they hold of its log, and none holds
    /// anything else, or that was accepted. What it lacked of trust documents came before. The caller is alone with logs.
    fn look_whether_reconciled(&self) -> Result<(), StoreError> {
        // Not by what a backup alone says of who takes part.
        if !self.logs.is_restored.load(Ordering::Relaxed) || self.is_learning() {
            return Ok(());
        }
        let (standing, me) = (self.standing(), &self.config.member);
        let trust = standing.trust();
        let met: Vec<NodeId> = {
            let freshness = self.freshness();
            let others = trust.roster().members.iter().filter(|member| member.state != MemberState::Removed);
            let is_met = |member: &&NodeId| *member != me && freshness.last(member).is_some();
            others.map(|member| &member.node_id).filter(is_met).cloned().collect()
        };
        {
            let witnessing = self.witnessing();
            let heard = met.iter().filter(|member| witnessing.is_compared(member)).count();
            if witnessing.open_fork(me).is_some() || !met.is_empty() && 2 * heard <= met.len() {
                return Ok(());
            }
        }
        let mut batch = Batch::default();
        batch.clear_restored();
        self.store.commit(batch)?;
        self.logs.is_restored.store(false, Ordering::Relaxed);
        tracing::info!(
            "this node was restored, and others have seen nothing of it that it lacks or that is not accepted: it serves again"
        );
        Ok(())
    }

    fn accept(&self, fork: Fork) -> Result<(), StoreError> {
        let now = clock::now();
        let fork = Fork { accepted_at: now, ..fork };
        let mut batch = Batch::default();
        batch.put_fork(&fork);
        // What its owner shows is followed from now on; what a third member tells of is only known then.
        let follows = (fork.member != self.config.member && fork.told_by == fork.member)
            .then(|| self.believed(&fork.member, &fork.shown))
            .flatten()
            .map(|signed| Held { checkpoint: signed.checkpoint().clone(), note: fork.shown.clone(), at: now });
        if let Some(held) = &follows {
            self.store.drop_seen(&fork.member, held.checkpoint.size, &mut batch)?;
            batch.put_seen(&fork.member, held);
        }
        let what = json!({ "of": fork.member.as_str(), "id": fork.id.to_string(), "accepted": true });
        self.enter(&mut batch, &Happening::new(EventKind::Fork, &Actor::Node, what))?;
        self.store.commit(batch)?;
        tracing::warn!(member = %fork.member, id = %fork.id, "a fork of an audit log is accepted by the administrators");
        let mut witnessing = self.witnessing();
        if let Some(held) = follows {
            witnessing.hold(&fork.member, held);
        }
        witnessing.begin_anew(&fork.member);
        witnessing.keep(fork);
        Ok(())
    }
}
