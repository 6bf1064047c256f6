//! Reading and judging what comes back: frames in order, the size to the byte, the head, the signature, the code, the slice.

use super::{
    CLASS_BYTES, PROTOCOL,
    fields::Reader,
    frames::{BODY, END, HEAD, PAD, PAYLOAD_MAX, PROGRESS, end},
    keys::verifies,
    messages::{Answer, REQUEST},
    sha256,
};

/// Refusals by number.
pub(crate) const REFUSALS: [&str; 11] = [
    "E_AUTH",
    "E_TIME",
    "E_CONFLICT",
    "E_ENCODING",
    "E_QUERY",
    "E_UNAVAILABLE",
    "E_EDITION",
    "E_VIEW",
    "E_REJECTED",
    "E_QUOTA",
    "E_BUSY",
];

/// Name for an answer that is no refusal.
pub(crate) const ANSWERED: &str = "answered";

/// A reply whose frames are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Every byte of the stream.
    pub(crate) stream_bytes: usize,
    /// Kind of the head.
    pub(crate) kind: u16,
    /// Its payload.
    pub(crate) payload: Vec<u8>,
    /// The body; nothing where the kind has none.
    pub(crate) body: Option<Vec<u8>>,
}

impl Reply {
    /// Reads a whole stream and holds it to the order of frames.
    pub(crate) fn read(stream: &[u8]) -> Result<Self, String> {
        let (mut head, mut body, mut ended, mut padding) = (None, Vec::new(), false, false);
        let mut reader = Reader::new(stream);
        let mut left = stream.len();
        while left > 0 {
            let length = usize::try_from(reader.u32()?).map_err(|error| error.to_string())?;
            let kind = reader.u8()?;
            if length > PAYLOAD_MAX {
                return Err(format!("a frame of {length} bytes"));
            }
            let payload = reader.take(length)?;
            left -= 5 + length;
            match kind {
                HEAD if head.is_none() => head = Some(payload.to_vec()),
                PROGRESS if !ended && !padding => {}
                BODY if head.is_some() && !ended && !padding => body.extend_from_slice(payload),
                END if head.is_some() && !ended && !padding => {
                    if payload != end(body.len() as u64, &sha256(&body)) {
                        return Err("the end does not fit the body".into());
                    }
                    ended = true;
                }
                PAD if head.is_some() && payload.iter().all(|byte| *byte == 0) => padding = true,
                _ => return Err(format!("a frame of kind {kind} out of order, or a pad that is not zeros")),
            }
        }
        let head = head.ok_or("no head")?;
        let mut reader = Reader::new(&head);
        let (protocol, kind, payload) = (reader.u16()?, reader.u16()?, reader.bytes()?.to_vec());
        reader.end()?;
        if protocol != PROTOCOL {
            return Err(format!("protocol {protocol}"));
        }
        if !ended && !body.is_empty() {
            return Err("a body without an end".into());
        }
        Ok(Self { stream_bytes: stream.len(), kind, payload, body: ended.then_some(body) })
    }
}

/// Whose answer is expected, and to what.
#[derive(Debug, Clone)]
pub(crate) struct Awaited {
    pub(crate) responder: String,
    pub(crate) sign_key: [u8; 32],
    pub(crate) federation: [u8; 32],
    pub(crate) requester: String,
    /// Node time when it was asked, in milliseconds.
    pub(crate) now: u64,
}

/// An answer that is the awaited member's own, in the size of its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The head.
    pub(crate) head: Answer,
    /// The signed bytes of the head, and the signature.
    pub(crate) signed: (Vec<u8>, [u8; 64]),
    /// The slice.
    pub(crate) slice: Vec<u8>,
    /// The class whose size the stream has.
    pub(crate) class: u8,
}

impl Judged {
    /// `answered`, or the refusal's code.
    pub(crate) fn word(&self) -> &'static str {
        match self.head.decision {
            1 => ANSWERED,
            _ => REFUSALS[usize::from(self.head.code) - 1],
        }
    }

    /// The head without what differs by nature between two refusals: what they answer, and when.
    pub(crate) fn comparable(&self) -> Answer {
        Answer { body_hash: [0; 32], request_id: [0; 16], issued_at: 0, ..self.head.clone() }
    }
}

impl Awaited {
    /// Judges a stream as the reply to a request.
    pub(crate) fn judge(&self, stream: &[u8]) -> Result<Judged, String> {
        let reply = Reply::read(stream)?;
        if reply.kind != REQUEST {
            return Err(format!("a reply of kind {}", reply.kind));
        }
        let class = CLASS_BYTES.iter().position(|size| *size == reply.stream_bytes);
        let class = class.ok_or_else(|| format!("{} bytes are no class", reply.stream_bytes))?;
        let slice = reply.body.ok_or("no end")?;
        let mut reader = Reader::new(&reply.payload);
        let (signed, signature) = (reader.bytes()?.to_vec(), reader.array()?);
        reader.end()?;
        if !verifies(&self.sign_key, "answer", &self.federation, &signed, &signature) {
            return Err("the head is not signed by the provider".into());
        }
        let head = Answer::read(&signed)?;
        self.judge_head(&head, &slice)?;
        Ok(Judged { head, signed: (signed, signature), slice, class: u8::try_from(class).expect("five classes") })
    }

    fn judge_head(&self, head: &Answer, slice: &[u8]) -> Result<(), String> {
        let rules = [
            (head.responder == self.responder && head.requester == self.requester, "from or for somebody else"),
            (head.issued_at.abs_diff(self.now) <= 120_000, "not of now"),
            (head.policy_version > 0 && head.policy_commit != [0; 32], "no policy, though there is one"),
            // Ten minutes after the next full hour, if it has an entry of its own; of a table always.
            (
                head.provable_after == (head.issued_at / 3_600_000 + 1) * 3_600_000 + 600_000
                    || head.provable_after == 0 && head.decision == 2,
                "provable at a time of its own",
            ),
            (head.slice_len as usize == slice.len() && head.slice_hash == sha256(slice), "another slice"),
            (head.slice_len.is_multiple_of(9), "no whole numbers"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(good, _)| !good) {
            return Err(format!("the head is {rule}: {head:?}"));
        }
        let sound = match (head.decision, head.code) {
            (1, 0) => head.edition > 0 && head.edition_commit != [0; 32],
            (2, 1..=11) => {
                slice.is_empty()
                    && head.edition == 0
                    && head.edition_commit == [0; 32]
                    && (head.handling_code, head.tlp, head.embargo_until) == (0, 3, 0)
                    && head.recipients.is_empty()
            }
            _ => false,
        };
        if sound { Ok(()) } else { Err(format!("decision, code and the rest do not go together: {head:?}")) }
    }
}

/// What an officer's own node handed back.
#[derive(Debug, Clone)]
pub(crate) struct AskReply {
    /// 1 replied, 2 unreachable, 3 not verified.
    pub(crate) outcome: u8,
    pub(crate) detail: String,
    /// The partner's `SignedBytes`.
    pub(crate) answer: Option<(Vec<u8>, [u8; 64])>,
    /// The edition's header, as a document.
    pub(crate) edition: Vec<u8>,
}

impl AskReply {
    /// Reads the payload of the reply to an ask.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(payload);
        let (outcome, detail) = (reader.u8()?, reader.text()?);
        let answer = match reader.u8()? {
            0 => None,
            1 => Some((reader.bytes()?.to_vec(), reader.array()?)),
            tag => return Err(format!("an option with the tag {tag}")),
        };
        let edition = reader.bytes()?.to_vec();
        let _elapsed = reader.u64()?;
        reader.end()?;
        Ok(Self { outcome, detail, answer, edition })
    }
}
