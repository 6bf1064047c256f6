//! The heads of streams: what is opened, by whom, and what comes back (`wire.md` D1).

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{
    codec::{Bounded, Cap, Malformed, Text, decode, encode},
    frame::Limits,
    id::{Hash, NodeId},
    key::Signature,
    officers::Card,
    signed::{Document, Label},
};

crate::codes! {
    /// What a stream is for.
    pub enum MessageKind: u16 {
        /// Nodes greet each other: a signed `Hello` each way.
        Greet = 105 "greet",
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
            Self::Fetch | Self::Request | Self::Notice | Self::Greet => true,
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
            | Self::Trust => false,
        }
    }

    /// Largest head in bytes.
    pub const fn head_max(self) -> usize {
        match self {
            Self::Fetch | Self::Relay | Self::Notice => 1 << 10,
            Self::Hello
            | Self::Greet
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
            | Self::Trust => 64 << 10,
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
            | Self::Mapping => None,
        }
    }

    /// What the answer may hold as body.
    pub const fn body_down(self) -> Option<u64> {
        match self {
            Self::Fetch | Self::Relay => Some(1 << 20),
            Self::Request | Self::Ask => Some(4 << 20),
            Self::Hello | Self::Status => Some(1 << 20),
            // The head says it all.
            Self::Notice | Self::Greet => None,
            Self::Import
            | Self::Coverage
            | Self::Records
            | Self::Rates
            | Self::Mapping
            | Self::Notices
            | Self::Trust => Some(16 << 20),
            // `edition show --cells` lists every cell of every block.
            Self::Edition => Some(1 << 30),
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
        // An import tells how far it is twice a second, for hours; all other replies have no more than the pads of a class.
        let spare = if matches!(self, Self::Import) { 64 << 20 } else { 4 << 20 };
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
            detail: Text::new("your own node did not hand the question on: card, signature or member are not yours")
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

/// JSON head of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportCall {
    /// Kind of record.
    pub kind: String,
    /// The mapping: a name that ships with the node, or its TOML text; absent for the canonical layout.
    pub mapping: Option<MappingSource>,
    /// Only rows whose field has this code, `reporting_country=ES`.
    pub only: Option<(String, String)>,
    /// Coverage to declare with it, `2011..2016`.
    pub coverage: Option<String>,
    /// Check and report, store nothing.
    pub dry_run: bool,
    /// Leave bad rows out instead of refusing the file.
    pub skip_bad: bool,
    /// Name of the file, for the report.
    pub file_name: String,
    /// Take the place of records that are there with another content, and why.
    pub correct: Option<String>,
    /// `csv`, or `xlsx` where the tool has turned a workbook into rows.
    pub format: String,
    /// SHA-256 of the bytes that follow.
    pub sha256: String,
    /// How many bytes follow.
    pub bytes: u64,
    /// The operator's file, where the tool has turned it into rows: each row then begins with the line where it stands in that file.
    pub converted: Option<Converted>,
    /// Random, so that the same import after a lost connection returns the stored report.
    pub import_key: String,
}

/// A file that the tool has turned into rows of comma-separated UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Converted {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
}

/// Trust documents that somebody hands in, or that are held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Handed {
    /// The documents.
    pub documents: Bounded<Document, 4096>,
    /// Cards of own officers.
    pub cards: Bounded<Card, 1024>,
}

/// JSON head of a command on trust documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrustCall {
    /// Take the documents in the body, an encoded [`Handed`].
    Publish {},
    /// How trust stands.
    Show {},
}

/// JSON head of a command on what was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum RecordsCall {
    /// All imports.
    Imports {},
    /// One import's report.
    Import {
        /// `imp-000003`.
        id: String,
    },
    /// Undo an import.
    Undo {
        /// `imp-000003`.
        id: String,
        /// Why.
        reason: String,
    },
    /// How many records a case has.
    Case {
        /// The case, in any spelling.
        case: String,
    },
    /// Erase a case.
    Erase {
        /// The case, in any spelling.
        case: String,
        /// On whose authority.
        authority: String,
    },
    /// Copy the store, so that what was deleted is gone from the disk.
    Compact {},
}

/// JSON head of a command on euro reference rates. With `import` the file follows as body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum RatesCall {
    /// What is there.
    Show {},
    /// Add the rates of a file.
    Import {},
}

/// JSON head of a command on mappings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum MappingCall {
    /// The mappings that ship with the node.
    List {},
    /// Whether a mapping can be imported with, and what is still open.
    Check {
        /// Its text.
        text: String,
    },
}

/// Where a mapping comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingSource {
    /// Ships with the node.
    Name(String),
    /// A file of the operator's, whole.
    Text(String),
}

/// JSON head of an edition command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum EditionCall {
    /// What publishing would give.
    Preview {
        /// Only this table.
        table: Option<String>,
        /// List the cells.
        cells: bool,
    },
    /// Publish.
    Publish {},
    /// Refuse an edition from now on, and tell those who received it.
    Withdraw {
        /// Its number.
        number: u64,
        /// Why; kept at the node alone.
        reason: String,
    },
    /// All editions.
    List {},
    /// What two editions say differently.
    Diff {
        /// Number of the one.
        from: u64,
        /// Number of the other.
        to: u64,
        /// Only this table.
        table: Option<String>,
        /// List the cells.
        cells: bool,
    },
    /// Proposes to make years anew from the records, and to withdraw the editions that have them.
    Correct {
        /// The kind of record.
        kind: String,
        /// The first year.
        from: u16,
        /// The last year.
        to: u16,
        /// Why.
        reason: String,
    },
    /// Proposes to show numbers of a cell that are public anyway.
    Waive {
        /// The table.
        table: String,
        /// Code of each dimension; all of a dimension that is not named.
        key: BTreeMap<String, String>,
        /// The measures; the counts if none is named.
        measures: Vec<String>,
        /// Where the numbers are public.
        source: String,
    },
    /// What was proposed, and what became of it; one proposal by its id.
    Proposals {
        /// Its id.
        id: Option<String>,
    },
    /// Agrees to a proposal; with the second signature it is done.
    Agree {
        /// The proposal.
        id: String,
        /// The consent with the person's signature, in hexadecimal.
        document: String,
    },
    /// Takes a proposal off the table.
    Reject {
        /// The proposal.
        id: String,
        /// Why.
        reason: String,
    },
    /// One edition; the current one without a number.
    Show {
        /// Its number.
        number: Option<u64>,
        /// Only this table.
        table: Option<String>,
        /// List the cells.
        cells: bool,
    },
}

/// JSON head of a coverage command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum CoverageCall {
    /// What is declared.
    Show {},
    /// Declare.
    Set {
        /// Kind of record.
        kind: String,
        /// `2011..2016`.
        months: String,
        /// `complete`, `partial` or `none`.
        state: String,
    },
}

/// JSON body of every reply to a person, except ask and relay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PersonReply<T> {
    /// Exit code as in the contract.
    pub exit: u8,
    /// The result, if there is one.
    pub result: Option<T>,
    /// Things to know.
    pub warnings: Vec<Notice>,
    /// What went wrong.
    pub error: Option<Fault>,
}

/// A warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable code.
    pub code: String,
    /// In words.
    pub message: String,
}

/// An error, with where and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fault {
    /// Stable code.
    pub code: String,
    /// In words.
    pub message: String,
    /// Where it is.
    #[serde(rename = "where")]
    pub place: Where,
    /// What to do next.
    pub next: Option<String>,
}

/// Where an error is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Where {
    /// File.
    pub file: Option<String>,
    /// Physical line, from 1.
    pub line: Option<u64>,
    /// Column name.
    pub column: Option<String>,
    /// Member.
    pub member: Option<String>,
    /// Request.
    pub request_id: Option<String>,
}

/// JSON body of the reply to a greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// The node's member.
    pub member: String,
    /// The caller's role at this node: `officer`, `operator`, ...
    pub role: String,
    /// Node time in milliseconds.
    pub now_ms: u64,
    /// Program version.
    pub version: String,
    /// Which trust documents the node holds: see [`crate::trust::digest`].
    pub trust: String,
}
