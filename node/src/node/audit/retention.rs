//! Retention: details of entries older than the settings allow are made unreadable for ever; the tree stays.

use accord_edge::clock;
use accord_protocol::log::EventKind;
use serde_json::json;

use crate::{
    io::{
        journal::Month,
        store::{Batch, StoreError},
    },
    node::{Actor, Happening, Node, Reply, done, store_failed},
};

/// Details deleted in one commit.
const A_COMMIT: usize = 2_000;

impl Node {
    /// Says which months are over, and with `run` throws their keys away and deletes their details. Blocks on the store.
    pub(crate) fn retention(&self, run: bool, by: &Actor) -> Reply {
        self.retention_inner(run, by).unwrap_or_else(|error| store_failed(&error))
    }

    // A month is over when its last day is as long ago as details are kept.
    fn months_over(&self) -> Vec<Month> {
        let first_kept = Month::of(clock::now()).minus(self.config.details_months);
        self.journal.readable().into_iter().filter(|month| *month < first_kept).collect()
    }

    fn retention_inner(&self, run: bool, by: &Actor) -> Result<Reply, StoreError> {
        let over = self.months_over();
        let names: Vec<String> = over.iter().map(Month::to_string).collect();
        let kept: Vec<String> =
            self.journal.readable().iter().filter(|month| !over.contains(month)).map(Month::to_string).collect();
        let mut deleted = 0;
        if run {
            if !over.is_empty() {
                let detail = json!({ "months": names, "kept_months": self.config.details_months });
                self.record(&Happening::new(EventKind::Retention, by, detail))?;
            }
            for month in &over {
                self.journal.forget(*month)?;
            }
            // Also what an interrupted run has left.
            deleted = self.delete_unreadable()?;
            tracing::info!(months = ?names, deleted, "details of the audit log are gone");
        }
        Ok(done(json!({
            "member": self.config.member.as_str(), "kept_months": self.config.details_months, "run": run,
            "over": names, "readable": kept, "details_deleted": deleted,
        })))
    }

    fn delete_unreadable(&self) -> Result<u64, StoreError> {
        let (mut batch, mut deleted, mut in_batch) = (Batch::default(), 0, 0);
        for entry in self.store.all_sealed(0) {
            let (seq, sealed) = entry?;
            if self.journal.is_readable(&sealed) {
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
        if self.months_over().is_empty() {
            return;
        }
        if let Err(error) = self.retention_inner(true, &Actor::Node) {
            tracing::error!(%error, "details of the audit log that are over cannot be removed");
        }
    }
}
