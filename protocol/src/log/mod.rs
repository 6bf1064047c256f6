//! The audit log: a Merkle tree of commitments to what happened, checkpoints of it that others cosign, proofs of single entries.
//!
//! The tree is that of RFC 9162 section 2.1; checkpoints, cosignatures and proofs are the C2SP text formats `tlog-checkpoint`,
//! `tlog-cosignature` and `tlog-proof` over `signed-note`, so that tools which know those read them. What an entry commits to
//! (`trust.md` 4.1) lies beside the tree and can be deleted; the tree then still proves that something was there. The first
//! entries themselves can be destroyed: it then proves that it is the tree it was.

pub mod checkpoint;
pub mod copy;
pub mod entry;
pub mod note;
pub mod passing;
pub mod proof;
pub mod tick;
pub mod tree;

pub use checkpoint::{Checkpoint, NotACheckpoint, SignedCheckpoint, log_origin, witness_name};
pub use entry::{Detail, ENTRY_BYTES, Entry, EventKind, subject_of};
pub use note::{NotANote, Note, NoteSignature};
pub use proof::{NotProven, Proof, Proven};
