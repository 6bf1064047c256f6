//! Two signed replies of a partner to one request: kept, and shown to the node's people.

use accord_edge::clock;
use accord_protocol::{
    id::{Hash, NodeId, to_hex},
    log::EventKind,
};
use serde_json::{Value, json};

use super::{Actor, Happening, Node};
use crate::{
    domain::round::Contradiction,
    io::store::{Batch, ContradictionEntry, StoreError},
};

/// Contradictions kept at once, at most: a partner that makes more has shown enough.
const KEPT_MAX: usize = 1_000;

impl Node {
    /// Keeps a contradiction as evidence. Blocks on the store.
    pub fn keep_contradiction(&self, partner: &NodeId, both: &Contradiction) -> Result<(), StoreError> {
        if self.store.contradictions()?.len() >= KEPT_MAX {
            return Ok(());
        }
        let entry = ContradictionEntry {
            partner: partner.clone(),
            at: clock::now(),
            first: both.first.clone(),
            second: both.second.clone(),
        };
        let mut batch = Batch::default();
        batch.put_contradiction(&entry);
        let [first, second] = [&both.first, &both.second].map(|said| Hash::of(said.payload.as_slice()).to_string());
        let detail = json!({ "first": first, "second": second });
        self.enter(&mut batch, &Happening::new(EventKind::Contradiction, &Actor::Member(partner.clone()), detail))?;
        self.store.commit(batch).map(|_| ())
    }

    /// All contradictions, with the signed bytes, for `accord status --json`.
    pub(super) fn contradictions_json(&self) -> Result<Vec<Value>, StoreError> {
        let signed = |signed: &accord_protocol::message::SignedBytes| json!({ "head": to_hex(signed.payload.as_slice()), "signature": to_hex(&signed.signature.0) });
        let all = self.store.contradictions()?;
        Ok(all
            .iter()
            .map(|entry| {
                json!({
                    "member": entry.partner.as_str(), "at": entry.at.to_string(),
                    "first": signed(&entry.first), "second": signed(&entry.second),
                })
            })
            .collect())
    }
}
