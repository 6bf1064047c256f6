//! Looking at others' logs again: each checkpoint that an owner shows is held to the one before, kept, and cosigned.

use std::sync::PoisonError;

use accord_edge::clock;
use accord_protocol::{
    codec::Bounded,
    id::NodeId,
    key::SigningKey,
    log::{
        SignedCheckpoint,
        passing::{Cosign, CosignOutcome, Cosigned, Seen},
        witness_name,
    },
};

use crate::{
    domain::witnessing::{Held, witnesses},
    io::store::{Batch, StoreError},
    node::Node,
};

impl Node {
    /// Whether one more word of a member about logs is looked at.
    pub(crate) fn may_speak_of_logs(&self, member: &NodeId) -> bool {
        let now = self.since_start.ms();
        self.logs_heard.lock().unwrap_or_else(PoisonError::into_inner).take(member.clone(), now)
    }

    /// Whether a member was heard about the own log since this node started.
    pub(crate) fn is_compared(&self, member: &NodeId) -> bool {
        self.witnessing().is_compared(member)
    }

    /// Looks at a member's log again, as its owner shows it: kept before it is cosigned (C2SP `tlog-witness`). Blocks on the store.
    pub(crate) fn look_at(&self, owner: &NodeId, call: &Cosign) -> Cosigned {
        self.look_alone(owner, call).unwrap_or_else(|error| {
            tracing::error!(%error, peer = %owner, "a checkpoint cannot be kept, and is not cosigned");
            Cosigned { outcome: CosignOutcome::Refused, held: Bounded::default(), line: Bounded::default() }
        })
    }

    fn look_alone(&self, owner: &NodeId, call: &Cosign) -> Result<Cosigned, StoreError> {
        let now = clock::now();
        let _alone = self.alone_with_logs();
        let held = self.witnessing().held(owner).map(|held| held.note.clone()).unwrap_or_default();
        let says = |outcome| Cosigned { outcome, held: held.clone(), line: Bounded::default() };
        let is_active = self.standing().trust().active(owner, now).is_some();
        let Some(shown) = self.believed(owner, &call.checkpoint).filter(|_| is_active) else {
            tracing::debug!(peer = %owner, "a checkpoint is not believed");
            return Ok(says(CosignOutcome::Refused));
        };
        if self.witnessing().open_fork(owner).is_some() {
            return Ok(says(CosignOutcome::Refused));
        }
        let new = (shown.checkpoint(), &call.checkpoint);
        let (seen, fork) = self.witnessing().shown(owner, new, call.old_size, call.consistency.as_slice(), now);
        if let Some(fork) = fork {
            self.keep_fork(fork)?;
        }
        match seen {
            Seen::OtherSize | Seen::Behind => Ok(says(CosignOutcome::OtherSize)),
            Seen::Fork => Ok(says(CosignOutcome::Refused)),
            Seen::Grown => {
                self.hold(
                    owner,
                    Held { checkpoint: shown.checkpoint().clone(), note: call.checkpoint.clone(), at: now },
                )?;
                let line = self.cosignature(owner, &shown).unwrap_or_default();
                Ok(Cosigned { outcome: CosignOutcome::Held, held: call.checkpoint.clone(), line })
            }
        }
    }

    fn hold(&self, owner: &NodeId, held: Held) -> Result<(), StoreError> {
        if self.witnessing().held(owner).is_some_and(|known| known.checkpoint == held.checkpoint) {
            return Ok(());
        }
        let mut batch = Batch::default();
        self.store.drop_old_seen(owner, &mut batch)?;
        batch.put_seen(owner, &held);
        self.store.commit(batch)?;
        self.witnessing().hold(owner, held);
        Ok(())
    }

    // This node's line under a checkpoint; nothing where it is no witness, or its key does not count.
    fn cosignature<const MAX: usize>(&self, owner: &NodeId, shown: &SignedCheckpoint) -> Option<Bounded<u8, MAX>> {
        let (standing, me, now) = (self.standing(), &self.config.member, clock::now());
        let trust = standing.trust();
        if !witnesses(trust, owner, now).any(|witness| witness == me) {
            return None;
        }
        let key = trust.witness_key(me, now)?;
        let keys = self.keys();
        let key: &SigningKey = keys.find(&key)?;
        let line = shown.cosign(witness_name(trust.federation(), me), key, now.0 / 1_000);
        Bounded::new(line.to_string().into_bytes())
    }
}
