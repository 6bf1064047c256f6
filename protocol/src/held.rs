//! A request that a person must look at first: where it stands, and what passes between the two nodes meanwhile (`wire.md` D5).

use bincode::{Decode, Encode};

use crate::{
    answer::AnswerHead,
    codec::{Bounded, Cap},
    id::{Hash, RequestId},
    message::SignedBytes,
    request::RequestBody,
    signed::{Label, NotVerified, Preamble, Signable, Verified, verify_message},
    time::UnixMs,
    trust::Trust,
};

/// Requests of one member that are listed for it at once, at most.
pub const LISTED_MAX: usize = 1_024;

crate::codes! {
    /// How a request stands that is neither answered nor refused.
    pub enum HeldState: u8 {
        /// It has arrived.
        Received = 1 "received",
        /// A person has to decide.
        Held = 2 "held",
        /// Its officer has taken it back.
        Withdrawn = 3 "withdrawn",
        /// Nobody decided while the answer was wanted.
        Expired = 4 "expired",
    }
}

impl HeldState {
    /// Whether nothing comes after it.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Received | Self::Held => false,
            Self::Withdrawn | Self::Expired => true,
        }
    }
}

/// What a provider says of a request that it has neither answered nor refused.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// Protocol and kind.
    pub preamble: Preamble<19>,
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// Its id.
    pub request_id: RequestId,
    /// How it stands.
    pub state: HeldState,
    /// From 1, one more with each statement about the same request.
    pub state_seq: u32,
    /// Node time of the provider.
    pub at: UnixMs,
}

impl Signable for Status {
    const LABEL: Label = Label::Status;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        if self.state_seq == 0 { Err("statements are numbered from 1") } else { Ok(()) }
    }
}

/// The asker's node says that a final statement has arrived and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// Protocol and kind.
    pub preamble: Preamble<20>,
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// SHA-256 of the head that arrived.
    pub head_hash: Hash,
    /// Node time of the asker.
    pub at: UnixMs,
}

impl Signable for Receipt {
    const LABEL: Label = Label::Receipt;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// The officer takes a request back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Recall {
    /// Protocol and kind: another one than that of an edition's withdrawal, which has the same label.
    pub preamble: Preamble<26>,
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// Its id.
    pub request_id: RequestId,
    /// Node time of the asker.
    pub at: UnixMs,
}

impl Signable for Recall {
    const LABEL: Label = Label::Withdraw;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// What a member collects: one request by its body's hash, or with zero a list of all that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Collect {
    /// SHA-256 of the request body; zero for the list.
    pub body_hash: Hash,
}

/// One line of the list: a hint, signed statements are collected one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Listed {
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// Number of the latest statement about it; a final one that is an answer or a refusal counts as one more.
    pub state_seq: u32,
}

/// All of one member's requests that have no receipt yet.
pub type List = Bounded<Listed, LISTED_MAX>;

/// A reply to a request, by its first bytes: an answer or refusal, or how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyHead {
    /// Final: an answer or a refusal.
    Answer(Box<Verified<AnswerHead>>),
    /// Neither yet, or final without either.
    Status(Verified<Status>),
}

/// Why a reply says nothing about a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAbout {
    /// It is not signed by a key of the provider, or breaks a rule.
    #[error("the reply is not signed by the provider as it must be")]
    NotVerified(#[from] NotVerified),
    /// It is about something else.
    #[error("the reply is about another request")]
    Another,
}

/// Believes a reply to a request, of whichever kind, by one of the provider's keys that count at `now`.
///
/// # Errors
/// What is wrong with it.
pub fn verify_reply(
    trust: &Trust,
    body: &RequestBody,
    body_hash: Hash,
    reply: &SignedBytes,
    now: UnixMs,
) -> Result<ReplyHead, NotAbout> {
    let keys = trust.sign_keys(&body.audience, now);
    let payload = reply.payload.as_slice();
    if is_status(payload) {
        let status = verify_message::<Status>(trust.federation(), &keys, payload, &reply.signature)?;
        let is_about = status.body_hash == body_hash && status.request_id == body.request_id;
        return if is_about { Ok(ReplyHead::Status(status)) } else { Err(NotAbout::Another) };
    }
    let answer = verify_message::<AnswerHead>(trust.federation(), &keys, payload, &reply.signature)?;
    let is_about = (answer.body_hash, answer.request_id) == (body_hash, body.request_id)
        && (&answer.responder, &answer.requester) == (&body.audience, &body.requester);
    if is_about { Ok(ReplyHead::Answer(Box::new(answer))) } else { Err(NotAbout::Another) }
}

/// Whether the bytes of a reply's head claim to be a [`Status`].
pub fn is_status(payload: &[u8]) -> bool {
    payload.get(2..4) == Some(&19u16.to_be_bytes())
}
