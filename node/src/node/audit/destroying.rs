//! Entries of the audit log whose time is over: which they are, their destruction, and what people are told of it.

use accord_edge::clock;
use accord_protocol::{
    log::{EventKind, tick::PAD_TO},
    message::Notice,
};
use serde_json::{Value, json};

use crate::{
    domain::retention::{Over, over},
    io::{
        journal::Month,
        store::{Destroyed, Said, StoreError},
    },
    node::{Node, notice},
};

impl Node {
    /// Which entries are over now; nothing where they are kept for ever. Blocks on the store.
    pub(super) fn entries_over(&self) -> Result<Option<Over>, StoreError> {
        let Some(months) = self.config.entries_months else { return Ok(None) };
        let from = self.store.destroyed()?.entries;
        let kept_from = Month::of(clock::now()).minus(months).begins();
        let mut times = self.store.entries(from).map(|entry| entry.map(|entry| entry.time)).peekable();
        // In most hours the first entry that is there says that there is nothing to do, and no signature need be looked at.
        let is_due = times.peek().is_some_and(|time| time.as_ref().map_or(true, |time| *time < kept_from));
        let known = if is_due { self.size_known_to_others()? } else { 0 };
        over(times, from, kept_from, known).map(Some)
    }

    /// The first entry of retention behind a size of the log: the one of the run that has just entered it.
    pub(super) fn said_behind(&self, size: u64) -> Result<Said, StoreError> {
        let mut entries = self.store.entries(size);
        let found = entries.find(|entry| entry.as_ref().map_or(true, |entry| entry.kind == EventKind::Retention));
        let missing = || StoreError::Read("the entry of this run of retention is missing".into());
        let entry = found.transpose()?.ok_or_else(missing)?;
        Ok(Said { by: entry.seq, at: entry.time })
    }

    /// Destroys entries up to a place, in as many commits as it takes; returns how many. Called by the one run of retention.
    pub(super) fn destroy_entries(&self, up_to: u64, said: Said) -> Result<u64, StoreError> {
        let before = self.store.destroyed()?.entries;
        let mut destroyed = before;
        while destroyed < up_to {
            let now = self.store.destroy_next(up_to, said)?.entries;
            if now == destroyed {
                break;
            }
            destroyed = now;
        }
        Ok(destroyed - before)
    }

    /// What is destroyed, what is over, and when the next entries are. Blocks on the store.
    pub(super) fn entries_json(&self) -> Result<(Value, Option<Notice>), StoreError> {
        let destroyed = self.store.destroyed()?;
        let over = self.entries_over()?;
        let up_to = over.map_or(destroyed.entries, |over| over.up_to);
        let waits = over.is_some_and(|over| over.waits);
        let months = self.config.entries_months;
        // They go in steps: with the last of one. A month of entries is over when the months for which they are kept have passed after
        // its end.
        let last_of_step = self.store.entry(up_to + PAD_TO - 1)?;
        let next = months.zip(last_of_step).filter(|_| !waits);
        let next = next.map(|(months, entry)| Month::of(entry.time).plus(months + 1).begins().to_string());
        let shown = json!({
            "kept_months": months, "destroyed": destroyed.entries, "said_by": said_of(&destroyed).map(|said| said.by),
            "destroyed_at": said_of(&destroyed).map(|said| said.at.to_string()), "over": up_to - destroyed.entries,
            "over_up_to": up_to, "waits": waits, "next_over": next,
        });
        let message = "entries of the audit log are over that are not destroyed yet: the log has to be closed behind them, with enough cosignatures of other members, and no fork of it may be open (accord status)";
        Ok((shown, waits.then(|| notice("ENTRIES-WAIT", message))))
    }

    /// How people are told that entries before the first one are no longer there; nothing if all are.
    pub(super) fn destroyed_notice(destroyed: &Destroyed) -> Option<Notice> {
        let said = said_of(destroyed)?;
        let message = format!(
            "the entries before {} were destroyed by retention on {}, as entry {} says: only their hashes are there",
            destroyed.entries, said.at, said.by
        );
        Some(notice("ENTRIES-DESTROYED", &message))
    }
}

// Which entry says so, where anything was destroyed.
fn said_of(destroyed: &Destroyed) -> Option<Said> {
    (destroyed.entries > 0).then_some(destroyed.said)
}
