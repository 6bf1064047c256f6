//! One request with its reply: believed by its signatures, times and references, or not at all (`wire.md` D16).

use crate::{
    answer::AnswerHead,
    cell::Released,
    codec::{Cap, decode},
    edition::EditionHeader,
    held::{HeldState, Status},
    id::Hash,
    key::{PublicKey, Signature},
    officers::Card,
    pool::Why,
    request::{RequestBody, SKEW_MS},
    selection::Selection,
    signed::{Document, NotVerified, Signable, Verified, verify_message},
    time::UnixMs,
    trust::Trust,
};

/// A partner's reply as it came: bytes that nobody believes yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReply {
    /// The signed answer head.
    pub head: Vec<u8>,
    /// Its signature.
    pub signature: Signature,
    /// The slice.
    pub slice: Vec<u8>,
    /// The edition's signed header; absent for a refusal.
    pub edition: Option<Document>,
}

/// A request with its reply, every signature and reference verified (`wire.md` D16).
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What was asked.
    pub body: Verified<RequestBody>,
    /// By whom.
    pub card: Card,
    /// What came back.
    pub answer: Verified<AnswerHead>,
    /// The edition it was selected from; absent for a refusal.
    pub edition: Option<Verified<EditionHeader>>,
    /// What was selected.
    pub selection: Selection,
    /// The cells, in row-major order; absent for a refusal.
    pub cells: Option<Vec<Vec<Released>>>,
}

/// Why an exchange is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// The request is not a valid one of that officer.
    #[error("the request: {0}")]
    Request(&'static str),
    /// A signature or encoding does not hold.
    #[error("{part}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: NotVerified,
    },
    /// The reply does not belong to the request.
    #[error("the answer: {0}")]
    Answer(&'static str),
}

/// Verifies an officer's request: card vouched for, purpose allowed, signature.
pub fn verify_request(
    trust: &Trust,
    body: &[u8],
    signature: &Signature,
    card: &[u8],
) -> Result<(Verified<RequestBody>, Card), NotBelieved> {
    let claimed: RequestBody =
        decode(body, Cap::Head).map_err(|error| NotBelieved::Part { part: "the request", source: error.into() })?;
    if claimed.officer_card_hash != Hash::of(card) {
        return Err(NotBelieved::Request("it names another officer's card"));
    }
    let card = trust
        .officer(&claimed.requester, card, claimed.issued_at)
        .ok_or(NotBelieved::Request("no officer of that member's list is vouched for by this card at that time"))?;
    if !card.purposes.as_slice().contains(&claimed.purpose) {
        return Err(NotBelieved::Request("the officer may not ask for this purpose"));
    }
    let body = verify_message(trust.federation(), &[card.key], body, signature)
        .map_err(|source| NotBelieved::Part { part: "the officer's signature", source })?;
    Ok((body, card))
}

// A partner's word, by a key that it signed with when it was asked; with those keys, without any that the partner has suspended.
fn verify_head<T: Signable>(
    trust: &Trust,
    body: &RequestBody,
    reply: &RawReply,
) -> Result<(Verified<T>, Vec<PublicKey>), NotBelieved> {
    if trust.provider(&body.audience, body.issued_at).is_none() {
        return Err(NotBelieved::Answer("the partner was not an active provider then"));
    }
    let keys = trust.sign_keys(&body.audience, body.issued_at);
    let head = verify_message(trust.federation(), &keys, &reply.head, &reply.signature)
        .map_err(|source| NotBelieved::Part { part: "the partner's signature on the answer", source })?;
    Ok((head, keys))
}

/// Verifies one reply against its request. `now` bounds the answer's time from above.
pub fn verify_exchange(
    trust: &Trust,
    body: &[u8],
    officer_signature: &Signature,
    card: &[u8],
    reply: &RawReply,
    now: UnixMs,
) -> Result<Exchange, NotBelieved> {
    let (body, card) = verify_request(trust, body, officer_signature, card)?;
    let (answer, sign_keys) = verify_head::<AnswerHead>(trust, &body, reply)?;
    if answer.body_hash != body.hash() || answer.request_id != body.request_id {
        return Err(NotBelieved::Answer("it belongs to another request"));
    }
    if answer.responder != body.audience || answer.requester != body.requester {
        return Err(NotBelieved::Answer("it is from or for somebody else"));
    }
    let latest = now.plus(SKEW_MS);
    if answer.issued_at.plus(SKEW_MS) < body.issued_at || answer.issued_at > latest {
        return Err(NotBelieved::Answer("its time does not fit the request"));
    }
    if usize::try_from(answer.slice_len).ok() != Some(reply.slice.len()) || answer.slice_hash != Hash::of(&reply.slice)
    {
        return Err(NotBelieved::Answer("the table is not the one that was signed"));
    }
    if body.edition != 0 && answer.edition != body.edition && answer.refusal().is_none() {
        return Err(NotBelieved::Answer("it is from another edition than asked for"));
    }
    let edition = match (&reply.edition, answer.refusal()) {
        (Some(_), Some(_)) => return Err(NotBelieved::Answer("an edition's header beside a refusal")),
        (None, Some(_)) => None,
        (None, None) => return Err(NotBelieved::Answer("the edition's header is missing")),
        (Some(document), None) => {
            let header: Verified<EditionHeader> = document
                .verify(trust.federation(), &sign_keys, 1, &[])
                .map_err(|source| NotBelieved::Part { part: "the partner's signature on the edition", source })?;
            if header.number != answer.edition || header.commit != answer.edition_commit {
                return Err(NotBelieved::Answer("the edition's header is of another edition"));
            }
            Some(header)
        }
    };
    let table = trust
        .catalogue()
        .table_by_id(body.query.table_id)
        .ok_or(NotBelieved::Request("the catalogue in force has no such table"))?;
    let selection = Selection::new(&body.query, table, body.audience.country())
        .map_err(|_| NotBelieved::Request("it is off the grid of its table"))?;
    let cells = match &edition {
        None => None,
        Some(_) => Some(
            selection
                .read(&reply.slice)
                .map_err(|_| NotBelieved::Answer("the table holds what no edition can hold"))?,
        ),
    };
    Ok(Exchange { body, card, answer, edition, selection, cells })
}

/// Verifies a partner's word of how a request stands that a person has to decide. `now` bounds its time from above.
///
/// # Errors
/// Why it is not believed.
pub fn verify_waiting(
    trust: &Trust,
    body: &[u8],
    officer_signature: &Signature,
    card: &[u8],
    reply: &RawReply,
    now: UnixMs,
) -> Result<(Verified<RequestBody>, Verified<Status>), NotBelieved> {
    let (body, _) = verify_request(trust, body, officer_signature, card)?;
    let (status, _) = verify_head::<Status>(trust, &body, reply)?;
    if status.body_hash != body.hash() || status.request_id != body.request_id {
        return Err(NotBelieved::Answer("it belongs to another request"));
    }
    if status.at.plus(SKEW_MS) < body.issued_at || status.at > now.plus(SKEW_MS) {
        return Err(NotBelieved::Answer("its time does not fit the request"));
    }
    if status.state == HeldState::Received {
        return Err(NotBelieved::Answer("it stands as no node says that anything stands"));
    }
    if body.wanted_until.0 == 0 || !reply.slice.is_empty() || reply.edition.is_some() {
        return Err(NotBelieved::Answer("a word of waiting where none was wanted, or with a table"));
    }
    Ok((body, status))
}

/// Why there is no number of a partner whose word of a request is that it is not answered.
pub const fn why_waiting(state: HeldState) -> Why {
    match state {
        HeldState::Received | HeldState::Held => Why::Held,
        HeldState::Withdrawn | HeldState::Expired => Why::Refused,
    }
}
