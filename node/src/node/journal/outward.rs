//! Own officers' requests in the audit log: what was handed on, before it was; what came back, before anybody sees it.

use accord_protocol::{
    answer::AnswerHead,
    codec::{Cap, decode},
    held::{Status, is_status, verify_reply},
    id::{Hash, OfficerId},
    log::EventKind,
    message::{AskCall, SignedBytes},
    request::RequestBody,
    signed::Label,
};
use serde_json::{Value, json};

use super::{Actor, Happening, happening::request_json};
use crate::{
    io::store::{Batch, StoreError},
    node::Node,
};

impl Node {
    /// Enters that an officer's request is handed on. Blocks on the store.
    pub(crate) fn enter_asked(&self, call: &AskCall, body: &RequestBody, officer: OfficerId) -> Result<(), StoreError> {
        let actor = Actor::Officer(body.requester.clone(), officer);
        let detail = Value::Object(request_json(body, &Hash::of(call.body.as_slice())));
        let standing = self.standing();
        let happening = Happening::new(EventKind::Asked, &actor, detail);
        self.record(&happening.about(Label::RequestBody, standing.trust().federation(), call.body.as_slice()))
    }

    /// Enters what came back at once. Blocks on the store.
    pub(crate) fn enter_heard(
        &self,
        call: &AskCall,
        body: &RequestBody,
        signed: &SignedBytes,
        slice_bytes: usize,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.enter(&mut batch, &self.heard(body, &Hash::of(call.body.as_slice()), signed, slice_bytes))?;
        let is_believed = self.is_believed(body, &Hash::of(call.body.as_slice()), signed);
        let promise =
            is_believed.then(|| self.put_promise(&mut batch, &body.audience, signed.payload.as_slice())).flatten();
        self.store.commit(batch)?;
        self.wait_for(promise);
        Ok(())
    }

    // Whatever it is: the tool believes it or not, and this says what it was given.
    fn is_believed(&self, body: &RequestBody, body_hash: &Hash, signed: &SignedBytes) -> bool {
        verify_reply(self.standing().trust(), body, *body_hash, signed, accord_edge::clock::now()).is_ok()
    }

    /// What came back of a request.
    pub(in crate::node) fn heard(
        &self,
        body: &RequestBody,
        body_hash: &Hash,
        signed: &SignedBytes,
        slice_bytes: usize,
    ) -> Happening {
        let standing = self.standing();
        let trust = standing.trust();
        let head = signed.payload.as_slice();
        let is_believed = self.is_believed(body, body_hash, signed);
        let label = if is_status(head) { Label::Status } else { Label::Answer };
        let said = said(head);
        let detail = json!({
            "request_id": body.request_id.to_string(), "body_hash": body_hash.to_string(), "from": body.audience.as_str(),
            "believed": is_believed, "said": said, "reply_hash": Hash::of(head).to_string(), "slice_bytes": slice_bytes,
        });
        let happening = Happening::new(EventKind::Heard, &Actor::Member(body.audience.clone()), detail);
        happening.about(label, trust.federation(), head)
    }
}

// One word for what a signed head says, whoever may believe it.
fn said(head: &[u8]) -> Option<&'static str> {
    if is_status(head) {
        return decode::<Status>(head, Cap::Head).ok().map(|status| status.state.as_str());
    }
    let answer: AnswerHead = decode(head, Cap::Head).ok()?;
    Some(answer.refusal().map_or("answered", |refusal| refusal.as_str()))
}
