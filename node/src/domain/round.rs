//! One request to one partner, as a state machine: when to connect, when to send again, what counts as a reply (`wire.md` D16).
//!
//! The edge reports what happened and does what comes back. The partner remembers requests, so that the same one sent twice is
//! executed once; that is what makes sending again safe.

use std::collections::BTreeMap;

use accord_protocol::{
    answer::{AnswerHead, HEAD_MAX, class_size},
    codec::{Cap, decode},
    id::Hash,
    message::SignedBytes,
    refusal::Refusal,
    request::RequestBody,
    signed::verify_message,
    trust::Trust,
};

/// How often a request is handed on, at most.
const TRIES_MAX: u32 = 3;
/// How long a new connection may take for an answer, in milliseconds (`wire.md` D1).
const ANSWERS_WITHIN_MS: u64 = 30_000;
/// How long a kept connection may be silent before the same request goes over a new one.
const KEPT_ANSWERS_WITHIN_MS: u64 = 3_000;
/// First heads remembered at once, at most.
const HEADS_MAX: usize = 4_096;

/// What the edge does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Get a connection to the partner: a kept one, or a new one; not the one that has just failed.
    Connect,
    /// Send the request over the connection and wait this long for the whole reply.
    Send {
        /// Milliseconds.
        within_ms: u64,
    },
    /// It is over.
    Done(End),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A reply of the right form. Whether it is to be believed is for the officer's tool to find out.
    Replied(SignedBytes),
    /// Nobody answers.
    Unreachable(String),
    /// What came is no reply to this request.
    NotAReply(String),
    /// The partner signed two different replies to one request.
    Contradiction(Box<Contradiction>),
}

/// Two signed heads for one request: evidence against their signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The one that came first.
    pub first: SignedBytes,
    /// The one that came later.
    pub second: SignedBytes,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// There is a connection; `kept` if it was there before.
    Connected {
        /// Whether it may have died unnoticed.
        kept: bool,
    },
    /// There is none to be had.
    NoConnection(String),
    /// The reply is whole.
    Replied {
        /// Payload of the reply's head.
        head: &'a [u8],
        /// Length of its body.
        body_len: usize,
        /// Stream bytes, pads included.
        stream_bytes: u64,
    },
    /// Bytes came that are no reply.
    NotAReply(String),
    /// The connection broke.
    Broken(String),
    /// The time is over.
    Silent,
}

/// The first verified head of each request, so that a second, different one is noticed.
#[derive(Debug, Default)]
pub struct Heads {
    first: BTreeMap<Hash, (SignedBytes, AnswerHead)>,
}

impl Heads {
    /// Notes a head that was heard for a request; what it contradicts, if it does. A head that the partner did not sign says nothing.
    pub fn note(&mut self, trust: &Trust, body: &RequestBody, body_hash: Hash, head: &[u8]) -> Option<Contradiction> {
        let signed: SignedBytes = decode(head, Cap::Head).ok()?;
        let (_, keys) = trust.provider(&body.audience, body.issued_at)?;
        let answer = verify_message::<AnswerHead>(
            trust.federation(),
            keys.sign_keys.as_slice(),
            signed.payload.as_slice(),
            &signed.signature,
        )
        .ok()?;
        // A refusal from before the body was read names no request, and decides nothing.
        if answer.body_hash != body_hash || answer.request_id != body.request_id || !is_final(&answer) {
            return None;
        }
        if let Some((first, decided)) = self.first.get(&body_hash) {
            let differs = match (decided.refusal(), answer.refusal()) {
                // The stored reply goes out again byte for byte.
                (None, None) => *first != signed,
                // What was answered may be denied later: the policy has changed, a table was stopped. Never the other way round.
                (None, Some(Refusal::Unavailable)) => answer.issued_at < decided.issued_at,
                // Some refusals are not stored but found anew, with the time of the day in them.
                (before, now) => before != now,
            };
            return differs.then(|| Contradiction { first: first.clone(), second: signed });
        }
        if self.first.len() >= HEADS_MAX {
            self.first.clear();
        }
        self.first.insert(body_hash, (signed, answer.get().clone()));
        None
    }
}

// Answers, and refusals by decision. A refusal for the moment may be followed by an answer.
fn is_final(answer: &AnswerHead) -> bool {
    match answer.refusal() {
        None => true,
        Some(
            Refusal::Query
            | Refusal::Unavailable
            | Refusal::Edition
            | Refusal::View
            | Refusal::Rejected
            | Refusal::Conflict,
        ) => true,
        Some(Refusal::Auth | Refusal::Time | Refusal::Encoding | Refusal::Quota | Refusal::Busy) => false,
    }
}

/// One request on its way to one partner.
#[derive(Debug)]
pub struct Round {
    size: u64,
    tries: u32,
}

impl Round {
    /// Starts; `None` if the request names a reply class that does not exist.
    pub fn new(body: &RequestBody) -> Option<(Self, Step)> {
        let size = class_size(body.reply_class)? as u64;
        Some((Self { size, tries: 0 }, Step::Connect))
    }

    /// Largest reply in stream bytes: the class that was asked for.
    pub const fn reply_max(&self) -> u64 {
        self.size
    }

    /// What to do after this.
    pub fn on(&mut self, event: Event<'_>) -> Step {
        match event {
            Event::Connected { kept } => {
                self.tries += 1;
                Step::Send { within_ms: if kept { KEPT_ANSWERS_WITHIN_MS } else { ANSWERS_WITHIN_MS } }
            }
            Event::NoConnection(why) => Step::Done(End::Unreachable(why)),
            Event::Replied { head, body_len, stream_bytes } => Step::Done(self.judge(head, body_len, stream_bytes)),
            Event::NotAReply(why) => Step::Done(End::NotAReply(why)),
            Event::Broken(why) => self.again(why),
            Event::Silent => self.again("no answer".to_owned()),
        }
    }

    fn again(&self, why: String) -> Step {
        if self.tries >= TRIES_MAX { Step::Done(End::Unreachable(why)) } else { Step::Connect }
    }

    fn judge(&self, head: &[u8], body_len: usize, stream_bytes: u64) -> End {
        // A refusal from before the body was read cannot know the class; it comes in the smallest.
        let smallest = class_size(0).map(|size| size as u64);
        if stream_bytes != self.size && !(body_len == 0 && Some(stream_bytes) == smallest) {
            return End::NotAReply("the reply does not have the size that was asked for".into());
        }
        match decode::<SignedBytes>(head, Cap::Head) {
            Ok(signed) if signed.payload.as_slice().len() > HEAD_MAX => {
                End::NotAReply("the reply's head is longer than any answer's".into())
            }
            Ok(signed) => End::Replied(signed),
            Err(error) => End::NotAReply(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> Round {
        Round { size: 64 << 10, tries: 0 }
    }

    #[test]
    fn a_silent_kept_connection_is_left_soon_and_a_new_one_gets_its_time() {
        let mut round = round();
        assert_eq!(round.on(Event::Connected { kept: true }), Step::Send { within_ms: 3_000 });
        assert_eq!(round.on(Event::Silent), Step::Connect);
        assert_eq!(round.on(Event::Connected { kept: false }), Step::Send { within_ms: 30_000 });
        assert_eq!(round.on(Event::Broken("reset".into())), Step::Connect);
        assert_eq!(round.on(Event::Connected { kept: false }), Step::Send { within_ms: 30_000 });
        assert_eq!(round.on(Event::Broken("reset".into())), Step::Done(End::Unreachable("reset".into())));
    }

    #[test]
    fn whoever_cannot_be_connected_to_is_unreachable_at_once() {
        assert_eq!(round().on(Event::NoConnection("refused".into())), Step::Done(End::Unreachable("refused".into())));
    }

    #[test]
    fn a_reply_has_the_size_that_was_asked_for_or_is_a_refusal_of_the_smallest() {
        let signed = SignedBytes {
            payload: accord_protocol::codec::Bounded::new(vec![7; 600]).unwrap(),
            signature: accord_protocol::key::Signature([9; 64]),
        };
        let head = accord_protocol::codec::encode(&signed).unwrap();
        let judged = |body_len, stream_bytes| match round().on(Event::Replied { head: &head, body_len, stream_bytes }) {
            Step::Done(End::Replied(_)) => "replied",
            Step::Done(End::NotAReply(_)) => "not a reply",
            other => panic!("{other:?}"),
        };
        for (body_len, stream_bytes, want) in [
            (900, 64 << 10, "replied"),
            (0, 64 << 10, "replied"),
            (0, 16 << 10, "replied"),
            (900, 16 << 10, "not a reply"),
            (900, (64 << 10) - 1, "not a reply"),
            (0, 256 << 10, "not a reply"),
        ] {
            assert_eq!(judged(body_len, stream_bytes), want, "{body_len} {stream_bytes}");
        }
        let too_long = SignedBytes {
            payload: accord_protocol::codec::Bounded::new(vec![7; HEAD_MAX + 1]).unwrap(),
            signature: accord_protocol::key::Signature([9; 64]),
        };
        let head = accord_protocol::codec::encode(&too_long).unwrap();
        let step = round().on(Event::Replied { head: &head, body_len: 0, stream_bytes: 64 << 10 });
        assert!(matches!(step, Step::Done(End::NotAReply(_))));
        let step = round().on(Event::Replied { head: &head[..9], body_len: 0, stream_bytes: 64 << 10 });
        assert!(matches!(step, Step::Done(End::NotAReply(_))));
    }
}
