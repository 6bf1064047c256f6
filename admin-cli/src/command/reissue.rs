//! What has to be signed anew when an administrator goes: lists, acceptances and suspensions count by the administrators of today.

use std::collections::BTreeMap;

use accord_edge::clock;
use accord_protocol::{
    accept::{self, Accept, Compared},
    codec::Bounded,
    id::{Hash, NodeId},
    key::PublicKey,
    signed::{Document, Label, Preamble, Verified},
    suspend::Suspend,
};

use super::{lists::Ground, propose::document};

/// The documents that would lapse with the signatures of those who go, once more: `left` stay, `threshold` of them sign.
pub(super) fn reissued(ground: &Ground, left: &[PublicKey], threshold: u8) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let stays =
        |signers: &[PublicKey], enough: usize| signers.iter().filter(|key| left.contains(key)).count() >= enough;
    let enough = usize::from(threshold);
    if ground.desk.officers(&ground.keys).is_some_and(|list| !stays(list.signers(), enough)) {
        let cards = ground.listed_cards().into_iter().map(|(hash, _)| hash).collect();
        documents.push(ground.officers_after(cards, None)?);
    }
    if let Some(list) = ground.desk.staff(&ground.keys).filter(|list| !stays(list.signers(), enough)) {
        documents.push(ground.staff_after(list.people.as_slice().to_vec(), None)?);
    }
    documents.extend(accepted(ground, |signers| stays(signers, 1))?);
    let now = clock::now();
    let stops = ground.desk.trust.iter().flat_map(|trust| trust.stops(now));
    let own: Vec<&Verified<Suspend>> =
        stops.filter(|stop| stop.node_id == ground.member && !stays(stop.signers(), 1)).collect();
    for stop in own {
        documents.push(document(&Suspend { issued_at: now, ..stop.get().clone() }, "from 1 to 30 days")?);
    }
    Ok(documents)
}

// One acceptance of all that only those who go have accepted.
fn accepted(ground: &Ground, stays: impl Fn(&[PublicKey]) -> bool) -> anyhow::Result<Option<Document>> {
    let all = ground.desk.documents.iter().filter(|document| document.label() == Label::Accept);
    let believed = all.filter_map(|document| accept::verify(document, ground.desk.federation(), &ground.keys).ok());
    let lapsing = believed.filter(|accept| !stays(accept.signers()));
    // Of several about one member the last one is what leads furthest.
    let mut compared: BTreeMap<NodeId, Hash> = BTreeMap::new();
    let mut in_order: Vec<Verified<Accept>> = lapsing.collect();
    in_order.sort_by_key(|accept| accept.issued_at);
    compared
        .extend(in_order.iter().flat_map(|accept| accept.compared.iter()).map(|one| (one.member.clone(), one.keys)));
    if compared.is_empty() {
        return Ok(None);
    }
    let compared: Vec<Compared> = compared.into_iter().map(|(member, keys)| Compared { member, keys }).collect();
    let accept = Accept {
        preamble: Preamble,
        federation: *ground.desk.federation(),
        node_id: ground.member.clone(),
        issued_at: clock::now(),
        compared: Bounded::new(compared).unwrap_or_default(),
    };
    document(&accept, "accept fewer members at once").map(Some)
}
