//! Retention: details of entries older than the settings allow are made unreadable for ever, and entries destroyed; the tree stays.

use std::sync::{PoisonError, atomic::Ordering};

use accord_edge::clock;
use accord_protocol::{log::EventKind, time::DAY_MS};
use serde_json::json;

use crate::{
    domain::retention::Over,
    io::{
        journal::Month,
        store::{Batch, StoreError},
    },
    node::{Actor, Happening, Node, Reply, done, store_failed},
};

/// How far the clock may be ahead of what is surely past to be believed where it destroys something.
const GAP_MS: u64 = 40 * DAY_MS;
/// Details deleted in one commit.
const A_COMMIT: usize = 2_000;

impl Node {
    /// Says what is over, and with `run` throws the keys of months away, deletes their details, and destroys entries. Blocks on the store.
    pub(crate) fn retention(&self, run: bool, by: &Actor) -> Reply {
        self.retention_inner(run, by).unwrap_or_else(|error| store_failed(&error))
    }

    // A month is over when its last day is as long ago as details are kept.
    fn months_over(&self) -> Vec<Month> {
        let first_kept = self.first_kept();
        self.journal.readable().into_iter().filter(|month| *month < first_kept).collect()
    }

    /// The first month whose details are kept.
    pub(super) fn first_kept(&self) -> Month {
        Month::of(clock::now()).minus(self.config.details_months)
    }

    // Whether the clock may be right: one that is years ahead must not destroy anything.
    fn clock_goes_on(&self) -> bool {
        clock::now() <= self.sure_now().plus(GAP_MS)
    }

    fn retention_inner(&self, run: bool, by: &Actor) -> Result<Reply, StoreError> {
        // One at a time destroys, and finds its own entry.
        let _alone = run.then(|| self.retaining.lock().unwrap_or_else(PoisonError::into_inner));
        let over = self.months_over();
        let names: Vec<String> = over.iter().map(Month::to_string).collect();
        let kept: Vec<String> =
            self.journal.readable().iter().filter(|month| !over.contains(month)).map(Month::to_string).collect();
        let (mut deleted, mut destroyed) = (0, 0);
        if run {
            let from = self.store.destroyed()?.entries;
            let up_to = self.entries_over()?.map_or(from, |over| over.up_to);
            let size = self.store.log_tree().size();
            if !over.is_empty() || up_to > from {
                let detail = json!({ "months": names, "kept_months": self.config.details_months });
                let mut happening = Happening::new(EventKind::Retention, by, detail);
                if up_to > from {
                    let entries = json!({ "from": from, "up_to": up_to, "kept_months": self.config.entries_months });
                    happening = happening.with("entries", entries);
                }
                self.record(&happening)?;
            }
            for month in &over {
                self.journal.forget(*month)?;
            }
            // Also what an interrupted run has left.
            deleted = self.delete_unreadable()?;
            tracing::info!(months = ?names, deleted, "details of the audit log are gone");
            if up_to > from {
                destroyed = self.destroy_entries(up_to, self.said_behind(size)?)?;
                tracing::info!(destroyed, up_to, "entries of the audit log are destroyed");
            }
        }
        let (entries, waits) = self.entries_json()?;
        let mut reply = done(json!({
            "member": self.config.member.as_str(), "kept_months": self.config.details_months, "run": run,
            "over": names, "readable": kept, "details_deleted": deleted, "entries": entries, "entries_destroyed": destroyed,
        }));
        reply.warnings.extend(waits);
        Ok(reply)
    }

    // Whether there is anything to do; what cannot be read is said by whoever does it.
    fn is_due(&self) -> bool {
        let has_more = |over: Over| self.store.destroyed().map_or(true, |before| over.up_to > before.entries);
        !self.months_over().is_empty() || self.entries_over().map_or(true, |over| over.is_some_and(has_more))
    }

    fn delete_unreadable(&self) -> Result<u64, StoreError> {
        let first_kept = self.first_kept();
        let (mut batch, mut deleted, mut in_batch) = (Batch::default(), 0, 0);
        for entry in self.store.all_sealed(0) {
            let (seq, sealed) = entry?;
            // One whose key is lost may be read again when that comes back from a backup.
            if self.journal.month_of(&sealed).is_none_or(|(month, is_readable)| is_readable || month >= first_kept) {
                continue;
            }
            self.store.drop_detail(seq, &mut batch)?;
            deleted += 1;
            in_batch += 1;
            if in_batch == A_COMMIT {
                self.store.commit(std::mem::take(&mut batch))?;
                in_batch = 0;
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch)?;
        }
        Ok(deleted)
    }

    /// The same without a person: once an hour.
    pub fn keep_retention(&self) {
        let is_due = self.is_due();
        if !is_due && self.has_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        if !self.clock_goes_on() {
            tracing::warn!(
                "the clock is more than 40 days ahead of what other members have said and of what has gone by since: if it is right, let an operator run `accord retention run`"
            );
            return;
        }
        if !is_due {
            // What an interrupted run has left.
            if let Err(error) = self.delete_unreadable() {
                tracing::error!(%error, "details of the audit log that are over cannot be removed");
            }
            return;
        }
        if let Err(error) = self.retention_inner(true, &Actor::Node) {
            tracing::error!(%error, "what is over of the audit log cannot be removed");
        }
    }
}
