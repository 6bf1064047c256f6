//! The disk that the node writes to: whether the store takes changes, what was put off for want of room, and what its people see of it.

use accord_protocol::message::Notice;
use serde_json::{Value, json};

use super::{Node, notice};
use crate::io::store::{Shortage, StoreError};

/// How much of a start is in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    #[default]
    Begun,
    /// Its entry in the audit log.
    Entered,
    /// All that goes with it.
    Complete,
}

// Why the store takes no changes.
enum ReadOnly {
    Short(Shortage),
    Broken(StoreError),
}

impl Node {
    /// Looks whether there is room on the disk: goes on where there is again, with what was put off. Blocks on the store.
    pub fn look_at_disk(&self) {
        if self.read_only().is_some() || *self.start() == Start::Complete {
            return;
        }
        match self.enter_rest_of_start() {
            Ok(()) => tracing::info!("the start is in the audit log now"),
            Err(error) => tracing::error!(%error, "the start cannot be entered in the audit log yet"),
        }
    }

    /// Waits until there was no room in the middle of a write, after which the store must be opened again.
    pub async fn interrupted(&self) {
        self.store.interrupted().await;
    }

    /// Closes the store under whatever still uses it.
    pub fn close_store(&self) {
        self.store.close();
    }

    fn read_only(&self) -> Option<ReadOnly> {
        if let Some(error) = self.store.broken() {
            return Some(ReadOnly::Broken(error));
        }
        self.store.look_at_room().map_or_else(|error| Some(ReadOnly::Broken(error)), |short| short.map(ReadOnly::Short))
    }

    /// Why the node is read-only, for its people; null if it is not.
    pub(super) fn read_only_json(&self) -> (Value, Option<Notice>) {
        let Some(why) = self.read_only() else { return (Value::Null, None) };
        let folder = self.config.dir.join("store");
        let (cause, room, message) = match why {
            ReadOnly::Short(Shortage { folder, free, needed }) => {
                let message = format!(
                    "the disk of {} is full: {free} bytes are free, {needed} are needed; nothing is accepted and no request answered until then - free some space, and the node goes on by itself",
                    folder.display()
                );
                ("disk-full", Some((free, needed)), message)
            }
            ReadOnly::Broken(error @ StoreError::Interrupted(_)) => ("disk-full", None, error.to_string()),
            ReadOnly::Broken(error) => ("fault", None, error.to_string()),
        };
        let said = json!({
            "cause": cause, "folder": folder.display().to_string(),
            "free_bytes": room.map(|(free, _)| free), "needed_bytes": room.map(|(_, needed)| needed),
        });
        (said, Some(notice("READ-ONLY", &message)))
    }
}
