//! The audit log at work: what happens becomes an entry, in the same commit as its effect wherever there is one.

mod happening;
mod outward;

use accord_edge::clock;
use accord_protocol::{
    approval::Approval,
    id::{Hash, NodeId},
    key::PublicKey,
    log::{Checkpoint, EventKind, SignedCheckpoint, log_origin, subject_of, tick, tree},
    refusal::{Reason, Refusal},
    signed::Document,
    text::with_causes,
};
use serde_json::{Value, json};

pub use happening::{Actor, Happening};

use super::{Node, disk::Start};
use crate::{
    domain::{answering::Decided, inbox::Held, ledger::Ledger, provide::Denied},
    io::{
        journal::{Journal, JournalError},
        store::{Batch, LogTree, NewEntry, StoreError, shortage},
    },
};

/// Entries among which the last stop is looked for.
const LOOK_BACK: u64 = 256;
/// Entries in the place of lost ones that one commit brings.
const FILLED_AT_ONCE: u64 = 4_096;

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        error.lacks_room().map_or_else(|| Self::Read(with_causes(&error)), shortage)
    }
}

impl Node {
    /// Makes an entry of something that happens now.
    pub(super) fn entry_of(&self, happening: &Happening) -> Result<NewEntry, StoreError> {
        let actor = happening.actor.to_string();
        let now = clock::now();
        Ok(self.journal.entry((happening.kind, now), &actor, happening.subject, happening.text())?)
    }

    /// Adds it to what is committed with its effect.
    pub(super) fn enter(&self, batch: &mut Batch, happening: &Happening) -> Result<(), StoreError> {
        batch.append(self.entry_of(happening)?);
        Ok(())
    }

    /// Commits it alone, where the effect is outside of the store. Blocks on the store.
    pub(super) fn record(&self, happening: &Happening) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.enter(&mut batch, happening)?;
        if is_about_the_node(happening.kind) {
            batch.is_essential();
        }
        self.store.commit(batch).map(|_| ())
    }

    /// The entry of a decision on a request; nothing for a refusal beyond those of the hour that have one, which was counted.
    pub(super) fn enter_decision(&self, batch: &mut Batch, decided: &Decided<'_>) -> Result<(), StoreError> {
        if !decided.has_entry {
            return Ok(());
        }
        let standing = self.standing();
        let happening = happening::of_decision(decided, standing.trust().federation(), &standing.access.hash());
        self.enter(batch, &happening)
    }

    /// Whether a refusal has an entry of its own; else it is counted with this.
    pub(super) fn enters_refusal(&self, member: &NodeId, refusal: Refusal) -> bool {
        self.ledger().enters(member, refusal, self.since_start.ms())
    }

    /// The entry of what an approver has just said of a request that waits; nothing if nobody has.
    pub(super) fn enter_verdict(&self, batch: &mut Batch, held: &Held) -> Result<(), StoreError> {
        let Some(document) = held.verdicts.as_slice().last() else { return Ok(()) };
        let standing = self.standing();
        let subject = subject_of(document.label(), standing.trust().federation(), document.payload());
        // It stays with the request when that is over.
        if !self.store.about(&subject)?.is_empty() {
            return Ok(());
        }
        let Ok(said) = document.unverified::<Approval>() else { return Ok(()) };
        let detail = json!({
            "request_id": held.request_id.to_string(), "body_hash": held.body_hash.to_string(), "requester": held.requester.as_str(),
            "verdict": said.verdict.as_str(), "reason": said.reason().map(Reason::as_str),
            "edition": said.edition, "slice_hash": said.slice_hash.to_string(), "policy_hash": said.policy_hash.to_string(),
        });
        let by = document.signed_by().first().map_or(Actor::Node, |key| self.person(key));
        let happening = Happening::new(EventKind::Verdict, &by, detail);
        self.enter(batch, &happening.about_document(standing.trust().federation(), document))
    }

    /// The entry of a refusal that is not remembered, durable before the refusal leaves; beyond those of the hour it is counted. What
    /// it says of itself is only claimed. Blocks on the store.
    pub(super) fn record_refusal(&self, peer: &NodeId, denied: &Denied) {
        if !self.enters_refusal(peer, denied.refusal) {
            return;
        }
        let happening = Happening::new(
            EventKind::Refused,
            &Actor::Member(peer.clone()),
            json!({
                "refusal": denied.refusal.as_str(), "why": denied.why,
                "claimed": { "request_id": denied.about.request_id.to_string(), "body_hash": denied.about.body_hash.to_string() },
            }),
        );
        // A refusal says no more to the peer if the disk is full.
        if let Err(error) = self.record(&happening) {
            tracing::error!(%error, %peer, "a refusal cannot be entered in the audit log; it is counted");
            self.ledger().count(peer, denied.refusal);
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Enters refusals that were only counted. Blocks on the store.
    fn enter_summaries(&self) -> Result<(), StoreError> {
        self.enter_summaries_with(Batch::default())
    }

    /// The same in one commit with what else there is.
    fn enter_summaries_with(&self, rest: Batch) -> Result<(), StoreError> {
        let summaries = self.ledger().take_summaries();
        if summaries.is_empty() && rest.is_empty() {
            return Ok(());
        }
        let entered = || {
            let mut batch = rest;
            for summary in &summaries {
                let counts: serde_json::Map<String, Value> =
                    summary.counts.iter().map(|(refusal, count)| (refusal.as_str().to_owned(), json!(count))).collect();
                let actor = Actor::Member(summary.member.clone());
                self.enter(&mut batch, &Happening::new(EventKind::Refusals, &actor, json!({ "counts": counts })))?;
            }
            self.store.commit(batch).map(|_| ())
        };
        let done = entered();
        if done.is_err() {
            self.ledger().give_back(summaries);
        }
        done
    }

    /// Closes the log for witnesses: what was counted is entered, it is filled up, and a checkpoint is signed and kept. Blocks on the
    /// store.
    pub fn close_log(&self) -> Result<SignedCheckpoint, StoreError> {
        let _alone = self.alone_closing();
        self.enter_summaries()?;
        self.fill_up_what_was_lost()?;
        // As many as may be needed: others commit meanwhile, and the writer takes what fills up behind them.
        let padding = (1..tick::PAD_TO).map(|_| Journal::padding(clock::now())).collect::<Result<Vec<_>, _>>()?;
        let mut batch = Batch::default();
        batch.pad(padding);
        self.store.commit(batch)?;
        let tree = self.store.log_tree();
        let size = tree.size() / tick::PAD_TO * tick::PAD_TO;
        let signed = self.signed(size, tree::root_at(&tree.nodes(&self.store), size)?)?;
        if self.store.last_checkpoint()?.is_none_or(|(last, _)| last < size) {
            let mut batch = Batch::default();
            batch.put_checkpoint(size, &signed.note().to_string());
            self.store.commit(batch)?;
        }
        self.was_closed(&signed);
        Ok(signed)
    }

    // Others hold checkpoints of entries that were accepted as lost. Nothing of their sizes is closed again: of whatever is larger it is
    // known then that it came later, also if that is lost as well.
    fn fill_up_what_was_lost(&self) -> Result<(), StoreError> {
        let lost = self.lost_up_to();
        loop {
            let missing = (lost + 1).saturating_sub(self.store.log_tree().size()).min(FILLED_AT_ONCE);
            if missing == 0 || lost == 0 {
                return Ok(());
            }
            let mut batch = Batch::default();
            for _ in 0..missing {
                batch.append(Journal::padding(clock::now())?);
            }
            self.store.commit(batch)?;
        }
    }

    /// The log as it is now, with a checkpoint of it.
    pub(super) fn checkpoint_with_tree(&self) -> Result<(LogTree, SignedCheckpoint), StoreError> {
        let tree = self.store.log_tree();
        let signed = self.signed(tree.size(), tree.root())?;
        Ok((tree, signed))
    }

    fn signed(&self, size: u64, root: Hash) -> Result<SignedCheckpoint, StoreError> {
        let standing = self.standing();
        let trust = standing.trust();
        let keys = self.keys();
        let mut listed = trust.log_keys(&self.config.member, clock::now()).into_iter();
        let key = listed.find_map(|key| keys.find(&key).cloned()).ok_or_else(|| {
            StoreError::Read("no log key that is listed and not suspended is in the node's ring".to_owned())
        })?;
        let origin = log_origin(trust.federation(), &self.config.member);
        let checkpoint = Checkpoint { origin, size, root };
        checkpoint.sign(&key).map_err(|error| StoreError::Read(error.to_string()))
    }

    /// Enters the start, and keeps what documents change with it. Where there is no room for it the node starts all the same and does it
    /// later: it can still be looked at, and nothing else is accepted before there is room. Blocks on the store.
    pub(super) fn enter_start_or_later(&self) -> Result<(), StoreError> {
        match self.enter_rest_of_start() {
            Err(error @ StoreError::DiskFull { .. }) => {
                tracing::error!(%error, "the start cannot be entered in the audit log yet");
                Ok(())
            }
            entered => entered,
        }
    }

    /// Does what is not done yet of a start. Blocks on the store.
    pub(super) fn enter_rest_of_start(&self) -> Result<(), StoreError> {
        let mut start = self.start();
        if *start == Start::Begun {
            self.enter_start()?;
            *start = Start::Entered;
        }
        if *start == Start::Entered {
            self.mark_documents()?;
            self.settle_forks()?;
            *start = Start::Complete;
        }
        Ok(())
    }

    /// What a start has to say: what it follows, what was changed meanwhile. Blocks on the store.
    fn enter_start(&self) -> Result<(), StoreError> {
        let size = self.store.log_tree().size();
        // Work that was under way may have been entered behind the stop.
        let recent = self.store.entries(size.saturating_sub(LOOK_BACK)).collect::<Result<Vec<_>, _>>()?;
        let starts = |kind: EventKind| matches!(kind, EventKind::Started | EventKind::Stopped);
        let after = match recent.iter().rev().map(|entry| entry.kind).find(|kind| starts(*kind)) {
            None if size == 0 => "nothing",
            Some(EventKind::Stopped) => "a stop",
            Some(_) | None => "an interruption",
        };
        let standing = self.standing();
        let mut batch = Batch::default();
        let roster = standing.trust().roster();
        let started = json!({
            "after": after, "version": env!("CARGO_PKG_VERSION"), "store_sequence": self.store.sequence(),
            "roster": { "epoch": roster.epoch, "version": roster.roster_version, "hash": roster.hash().to_string() },
            "policy": standing.access.hash().to_string(),
        });
        self.enter(&mut batch, &Happening::new(EventKind::Started, &Actor::Node, started))?;
        self.enter_restored(&mut batch)?;
        if let Some(changed) = self.settings_changed(&mut batch)? {
            self.enter(&mut batch, &Happening::new(EventKind::Settings, &Actor::Node, changed))?;
        }
        // What somebody put into the folder while no node ran is in force from now on.
        let destroyed = self.store.destroyed()?.entries;
        for document in &standing.held.documents {
            let happening = self.document_happening(document, &Actor::Node);
            if self.store.about(&happening.subject)?.is_empty() {
                // It may have had an entry that was destroyed: what is in force always has one.
                let happening =
                    if destroyed > 0 { happening.with("log_begins_at", json!(destroyed)) } else { happening };
                self.enter(&mut batch, &happening)?;
            }
        }
        batch.is_essential();
        self.store.commit(batch).map(|_| ())
    }

    // The first start after a restoration says so, and from when on requests are decided.
    fn enter_restored(&self, batch: &mut Batch) -> Result<(), StoreError> {
        if self.store.not_before()?.is_some() {
            return Ok(());
        }
        let (Some(restored), Some(from)) = (self.store.restored()?, self.not_before) else { return Ok(()) };
        let detail = json!({
            "backup_at": restored.made_at.to_string(), "restored_at": restored.restored_at.to_string(),
            "log_size": restored.log_size, "log_root": restored.log_root.to_string(), "refuses_before": from.to_string(),
        });
        batch.put_not_before(from);
        self.enter(batch, &Happening::new(EventKind::Restored, &Actor::Node, detail))
    }

    /// What the last start did not have in its settings, and what it had besides.
    fn settings_changed(&self, batch: &mut Batch) -> Result<Option<Value>, StoreError> {
        let now = &self.config.text;
        let before = self.store.settings()?;
        if before.as_ref() == Some(now) {
            return Ok(None);
        }
        self.store.replace_settings(now, batch)?;
        let lines = |text: &str| {
            text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>()
        };
        let (old, new) = (lines(before.as_deref().unwrap_or_default()), lines(now));
        let missing = |from: &[String], of: &[String]| {
            of.iter().filter(|line| !from.contains(line) && !line.starts_with('#')).cloned().collect::<Vec<_>>()
        };
        Ok(Some(
            json!({ "sha256": Hash::of(now.as_bytes()).to_string(), "new": missing(&old, &new), "gone": missing(&new, &old) }),
        ))
    }

    /// One of the agency's own people, as of now.
    pub(super) fn person(&self, key: &PublicKey) -> Actor {
        let role = self.standing().person(key, clock::now());
        role.map_or(Actor::Key(*key), |role| Actor::Person(role, *key))
    }

    pub(super) fn document_happening(&self, document: &Document, by: &Actor) -> Happening {
        let standing = self.standing();
        let signed_by: Vec<String> = document.signed_by().iter().map(ToString::to_string).collect();
        let (of, version) = happening::named(document);
        let detail = json!({
            "label": document.label().as_str(), "of": of.as_ref().map(NodeId::as_str), "version": version,
            "hash": document.hash().to_string(), "signed_by": signed_by,
        });
        Happening::new(EventKind::Document, by, detail).about_document(standing.trust().federation(), document)
    }

    /// What an orderly stop has to say; with what was counted until then, also where there is little room. Blocks on the store.
    pub fn enter_stop(&self) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.enter(&mut batch, &Happening::new(EventKind::Stopped, &Actor::Node, json!({})))?;
        batch.is_essential();
        self.enter_summaries_with(batch)
    }
}

// What the node's own people do to look after it; partners cannot bring it about.
const fn is_about_the_node(kind: EventKind) -> bool {
    matches!(kind, EventKind::Read | EventKind::Retention | EventKind::Verified)
}
