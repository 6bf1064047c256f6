//! The heads of streams: what is opened, by whom, and what comes back (`wire.md` D1).

mod people;

use bincode::{Decode, Encode};

pub use people::{
    AuditCall, AuditFilter, BackupCall, Converted, CoverageCall, EditionCall, Fault, HelloReply, ImportCall, InboxCall,
    MappingCall, MappingSource, Notice, PersonReply, RatesCall, RecordsCall, RequestsCall, TrustCall, WatchEvent,
    Where,
};

use crate::{
    codec::{Bounded, Cap, Malformed, Text, decode, encode},
    frame::Limits,
    id::{Hash, NodeId},
    key::Signature,
    officers::Card,
    request::TopicBytes,
    signed::{Document, Label},
};

crate::codes! {
    /// What a stream is for.
    pub enum MessageKind: u16 {
        /// Nodes greet each other: a signed `Hello` each way.
        Greet = 105 "greet",
        /// A member asks what it may see.
        View = 106 "view",
        /// A member asks how its held requests stand, and picks up what was decided.
        Collect = 107 "collect",
        /// A member says that a decision has arrived.
        Receipt = 108 "receipt",
        /// A provider says that there is something to collect.
        Nudge = 109 "nudge",
        /// An officer takes a request back.
        Recall = 116 "recall",
        /// A member tells those who received an edition that it was withdrawn.
        Notice = 104 "notice",
        /// A person's tool greets its own node and learns the node's time.
        Hello = 101 "hello",
        /// A member fetches a signed document by label and hash or number.
        Fetch = 102 "fetch",
        /// A member hands on an officer's request.
        Request = 103 "request",
        /// An officer asks one partner through their own node.
        Ask = 110 "ask",
        /// A person fetches a document from a partner through their own node.
        Relay = 111 "relay",
        /// The node's state.
        Status = 112 "status",
        /// Withdrawals of editions that the node knows of, signed.
        Notices = 113 "notices",
        /// Editions: preview, publish, list, show, withdraw.
        Edition = 114 "edition",
        /// An operator imports a file.
        Import = 120 "import",
        /// Coverage: show and set.
        Coverage = 121 "coverage",
        /// What was imported, and the way back: list, show, undo; show and erase a case; compact.
        Records = 122 "records",
        /// Euro reference rates: show, and import from a file.
        Rates = 123 "rates",
        /// Mappings: list, check.
        Mapping = 124 "mapping",
        /// Trust documents: hand in; see what is held.
        Trust = 125 "trust",
        /// Requests that wait for a person here: list, show, approve, hold, reject.
        Inbox = 117 "inbox",
        /// Own requests that wait for a person elsewhere: list, show, withdraw.
        Requests = 118 "requests",
        /// What happens to requests, as it happens.
        Watch = 119 "watch",
        /// The audit log: look, prove, take a copy, close it for witnesses, retention.
        Audit = 126 "audit",
        /// A member asks the owner of a log for a proof.
        Proof = 115 "proof",
        /// A member has another look at its own log again, and cosign it.
        Cosign = 127 "cosign",
        /// Members tell each other which checkpoints they hold, of their own logs and of all others'.
        Tell = 128 "tell",
        /// A copy of the whole node, encrypted to the agency's recovery key.
        Backup = 129 "backup",
    }
}

/// Largest set of trust documents that is handed in at once.
pub const HANDED_BYTES_MAX: u64 = 8 << 20;
/// Largest file of euro reference rates.
pub const RATES_BYTES_MAX: u64 = 16 << 20;

/// The first frame in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Protocol version.
    pub protocol: u16,
    /// What the stream is for.
    pub kind: MessageKind,
    /// The kind's own message: bincode between nodes, JSON between a node and its people.
    pub payload: Bounded<u8, { 63 << 10 }>,
}

impl Head {
    /// Wraps a payload; `None` if it is too long.
    pub fn new(kind: MessageKind, payload: Vec<u8>) -> Option<Self> {
        Some(Self { protocol: crate::PROTOCOL, kind, payload: Bounded::new(payload)? })
    }

    /// As frame payload.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Malformed> {
        encode(self)
    }

    /// What a member may send after this head; nothing for bytes that are no head, or of a kind that members do not open.
    pub fn limits_for_members(bytes: &[u8]) -> Option<Limits> {
        Self::from_bytes(bytes).ok().filter(|head| head.kind.is_for_members()).map(|head| head.kind.limits_up())
    }

    /// What a person may send after this head; nothing for bytes that are no head, or of a kind that people do not open.
    pub fn limits_for_people(bytes: &[u8]) -> Option<Limits> {
        Self::from_bytes(bytes).ok().filter(|head| !head.kind.is_for_members()).map(|head| head.kind.limits_up())
    }

    /// Reads a head and holds it to the cap of its kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let head: Self = decode(bytes, Cap::Head)?;
        if head.protocol != crate::PROTOCOL {
            return Err(Malformed::NotCanonical);
        }
        let max = head.kind.head_max();
        if bytes.len() > max {
            return Err(Malformed::TooLarge { got: bytes.len(), max });
        }
        Ok(head)
    }
}

impl MessageKind {
    /// Whether members open it; all other kinds are opened by a node's own people.
    pub const fn is_for_members(self) -> bool {
        match self {
            Self::Fetch
            | Self::Request
            | Self::Notice
            | Self::Greet
            | Self::View
            | Self::Collect
            | Self::Receipt
            | Self::Nudge
            | Self::Recall
            | Self::Proof
            | Self::Cosign
            | Self::Tell => true,
            Self::Hello
            | Self::Ask
            | Self::Relay
            | Self::Status
            | Self::Edition
            | Self::Import
            | Self::Coverage
            | Self::Records
            | Self::Rates
            | Self::Notices
            | Self::Mapping
            | Self::Trust
            | Self::Inbox
            | Self::Requests
            | Self::Watch
            | Self::Audit
            | Self::Backup => false,
        }
    }

    /// Largest head in bytes.
    pub const fn head_max(self) -> usize {
        match self {
            Self::Fetch
            | Self::Relay
            | Self::Notice
            | Self::View
            | Self::Collect
            | Self::Receipt
            | Self::Nudge
            | Self::Recall
            | Self::Proof
            | Self::Watch => 1 << 10,
            Self::Hello
            | Self::Greet
            | Self::Cosign
            | Self::Tell
            | Self::Request
            | Self::Ask
            | Self::Status
            | Self::Edition
            | Self::Import
            | Self::Coverage
            | Self::Records
            | Self::Rates
            | Self::Notices
            | Self::Mapping
            | Self::Trust
            | Self::Inbox
            | Self::Requests
            | Self::Audit
            | Self::Backup => 64 << 10,
        }
    }

    /// What the opener may send as body.
    pub const fn body_up(self) -> Option<u64> {
        match self {
            Self::Import => Some(4 << 30),
            Self::Rates => Some(RATES_BYTES_MAX),
            Self::Trust => Some(HANDED_BYTES_MAX),
            Self::Hello
            | Self::Greet
            | Self::Fetch
            | Self::Request
            | Self::Ask
            | Self::Relay
            | Self::Status
            | Self::Edition
            | Self::Coverage
            | Self::Records
            | Self::Notice
            | Self::Notices
            | Self::Mapping
            | Self::View
            | Self::Collect
            | Self::Receipt
            | Self::Nudge
            | Self::Recall
            | Self::Inbox
            | Self::Requests
            | Self::Watch
            | Self::Audit
            | Self::Proof
            | Self::Cosign
            | Self::Tell
            | Self::Backup => None,
        }
    }

    /// What the answer may hold as body.
    pub const fn body_down(self) -> Option<u64> {
        match self {
            Self::Fetch | Self::Relay | Self::View | Self::Proof => Some(1 << 20),
            // What is collected is what the request would have been answered with.
            Self::Request | Self::Ask | Self::Collect => Some(4 << 20),
            Self::Hello | Self::Status => Some(1 << 20),
            // The head says it all.
            Self::Notice
            | Self::Greet
            | Self::Receipt
            | Self::Nudge
            | Self::Recall
            | Self::Watch
            | Self::Cosign
            | Self::Tell => None,
            Self::Import
            | Self::Coverage
            | Self::Records
            | Self::Rates
            | Self::Mapping
            | Self::Notices
            | Self::Trust
            | Self::Inbox
            | Self::Requests => Some(16 << 20),
            // `edition show --cells` lists every cell of every block.
            Self::Edition => Some(1 << 30),
            // A copy of a whole log, or of a whole node, in pieces that are written away as they come.
            Self::Audit | Self::Backup => Some(1 << 40),
        }
    }

    /// Limits of the direction from opener to server.
    pub const fn limits_up(self) -> Limits {
        // A request is brought to a class, of which the largest that it can need has 256 KiB.
        let spare = if matches!(self, Self::Request) { 256 << 10 } else { 64 << 10 };
        Limits { head: 64 << 10, body: self.body_up(), progress: false, spare }
    }

    /// Limits of the direction from server to opener.
    pub const fn limits_down(self) -> Limits {
        // An import tells how far it is twice a second, for hours, and whoever watches is told for days; all other replies have no
        // more than the pads of a class.
        let spare = if matches!(self, Self::Import | Self::Watch) { 64 << 20 } else { 4 << 20 };
        Limits { head: 64 << 10, body: self.body_down(), progress: true, spare }
    }
}

/// Signed bytes with one signature, as head payload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedBytes {
    /// The signed bytes.
    pub payload: Bounded<u8, { 48 << 10 }>,
    /// The signature.
    pub signature: Signature,
}

/// A member asks for a signed document.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fetch {
    /// What.
    pub label: Label,
    /// Whose; absent for federation-wide documents.
    pub node_id: Option<NodeId>,
    /// Its number, for editions; otherwise 0.
    pub number: u64,
    /// Its hash, for catalogues; otherwise zero.
    pub hash: Hash,
}

/// An officer's signed question for one partner, and how long to wait.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AskCall {
    /// The request body's bytes.
    pub body: Bounded<u8, { 32 << 10 }>,
    /// The officer's signature.
    pub officer_signature: Signature,
    /// The officer's card.
    pub officer_card: Bounded<u8, 1024>,
    /// The topic that it stands under, as a signed document; empty = none.
    pub topic: TopicBytes,
    /// How long the node may wait for the partner.
    pub wait_ms: u32,
}

crate::codes! {
    /// How an ask ended at the officer's own node.
    pub enum AskOutcome: u8 {
        /// The partner replied; the tool verifies the reply itself.
        Replied = 1 "replied",
        /// Nobody answered at the partner's addresses.
        Unreachable = 2 "unreachable",
        /// What came back is not a reply.
        NotVerified = 3 "not_verified",
    }
}

/// What the officer's own node hands back: the partner's signed head and edition header, untouched. Body: the slice.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AskReply {
    /// How it ended.
    pub outcome: AskOutcome,
    /// What went wrong, for people.
    pub detail: Text<240>,
    /// The partner's signed answer head.
    pub answer: Option<SignedBytes>,
    /// The signed header of the edition it was selected from, as a document's bytes; empty for refusals.
    pub edition: Bounded<u8, { 32 << 10 }>,
    /// How long it took inside the node, in microseconds.
    pub elapsed_us: u64,
}

impl AskReply {
    /// The node did not hand the question on, because it is not the connected officer's own.
    pub fn not_handed_on() -> Self {
        Self {
            outcome: AskOutcome::NotVerified,
            detail: Text::new(
                "your own node did not hand the question on: card, signature, member or topic are not yours",
            )
            .unwrap_or_default(),
            answer: None,
            edition: Bounded::default(),
            elapsed_us: 0,
        }
    }
}

/// A person wants a document from a partner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RelayCall {
    /// The partner.
    pub from: NodeId,
    /// The document.
    pub fetch: Fetch,
    /// How long the node may wait for the partner.
    pub wait_ms: u32,
}

/// Trust documents that somebody hands in, or that are held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Handed {
    /// The documents.
    pub documents: Bounded<Document, 4096>,
    /// Cards of own officers.
    pub cards: Bounded<Card, 1024>,
}
