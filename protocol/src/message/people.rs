//! What people's tools say to their own node and hear from it, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// JSON head of a command on trust documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrustCall {
    /// Take the documents in the body, an encoded [`Handed`](super::Handed).
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

/// JSON head of a command on requests that wait for a person here. A request is named by the first letters of its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum InboxCall {
    /// All that are known.
    List {
        /// Those that were decided too.
        all: bool,
    },
    /// One, with exactly what would leave.
    Show {
        /// The request.
        id: String,
    },
    /// A verdict with the approver's signature: yes to one slice, or no.
    Decide {
        /// The request.
        id: String,
        /// The signed verdict, in hexadecimal.
        document: String,
    },
    /// A person has seen it and has not decided.
    Hold {
        /// The request.
        id: String,
        /// What colleagues should know; kept at the node alone.
        note: String,
    },
    /// A standing approval with the approver's signature, or its end.
    Standing {
        /// The signed document, in hexadecimal.
        document: String,
    },
}

/// JSON head of a command on own requests that wait for a person elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum RequestsCall {
    /// All of the caller's.
    List {},
    /// One, with what came back, in bytes.
    Show {
        /// The request.
        id: String,
    },
    /// Takes one back.
    Withdraw {
        /// The request.
        id: String,
        /// The signed withdrawal, in hexadecimal.
        recall: String,
    },
    /// Asks all providers now.
    Collect {},
    /// The proof that a partner's log holds what it signed, as far as this node has got it.
    Proof {
        /// The partner.
        member: String,
        /// Subject of the entry, in hexadecimal (`docs/audit.md`, section 6).
        subject: String,
    },
}

/// One thing that happens, as `watch` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// `inbox` for what waits here, `request` for own requests, `alive` for nothing at all.
    pub what: String,
    /// Request id.
    pub request_id: String,
    /// The other member.
    pub member: String,
    /// How it stands now.
    pub state: String,
    /// When.
    pub at: String,
}

/// JSON head of a command on the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuditCall {
    /// Entries, the latest ones, or those from a place on.
    Show(AuditFilter),
    /// Proves that an entry stands in the log.
    Prove {
        /// Its place.
        seq: u64,
        /// With what it commits to.
        detail: bool,
    },
    /// The whole log, line by line: see `docs/audit.md`.
    Export {},
    /// Reads everything that the node holds.
    Everything {},
    /// Closes the log for witnesses now rather than at the next full hour.
    Close {},
    /// What left, by partner, purpose, table and edition.
    Egress {
        /// Not before this time, in milliseconds.
        since_ms: Option<u64>,
        /// Before this time.
        until_ms: Option<u64>,
    },
    /// Makes details unreadable, and destroys entries, that are older than the settings allow.
    Retention {
        /// Else it is only said which.
        run: bool,
    },
}

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// Of these kinds; all but padding if there are none.
    pub kinds: Vec<String>,
    /// Not before this time, in milliseconds.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// With this member in it.
    pub member: Option<String>,
    /// With this word in who did it: an officer's pseudonym, a key.
    pub actor: Option<String>,
    /// Of the request whose id begins so.
    pub request: Option<String>,
    /// From this place on, in order; else the latest ones.
    pub from: Option<u64>,
    /// So many, at most.
    pub limit: u32,
}

/// JSON head of a backup. Where it succeeds, the reply's head is JSON too, a [`PersonReply`] with what is in the copy, and the copy
/// follows as body; where it does not, the head is empty and the body that reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum BackupCall {
    /// Makes a copy of the node.
    Make {
        /// Said in so many words that nothing encrypts it.
        unencrypted: bool,
    },
}
