//! Typed access to the last greeting of each member, which says whether this node knows what the others know.

use accord_protocol::id::NodeId;

use super::{
    Batch, KeyKind, Store, StoreError,
    layout::{key, to_bytes},
    tables::decoded,
};
use crate::domain::freshness::Greeted;

impl Batch {
    /// Keeps a member's last greeting.
    pub fn put_greeted(&mut self, member: &NodeId, greeted: &Greeted) {
        self.put(key(KeyKind::Greeted, &[member.as_str().as_bytes()]), &to_bytes(greeted));
    }
}

impl Store {
    /// The last greeting of each member.
    pub fn greetings(&self) -> Result<Vec<(NodeId, Greeted)>, StoreError> {
        let read = |entry: Result<(Vec<u8>, Vec<u8>), StoreError>| {
            let (key, value) = entry?;
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            let member = name.parse().map_err(|_| StoreError::Read(format!("{name} is no member")))?;
            Ok((member, decoded(&value, "a greeting")?))
        };
        self.scan(KeyKind::Greeted).map(read).collect()
    }
}
