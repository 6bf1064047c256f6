//! What the node and the tool share at the edge: the only callers of the clock and of the random number generator, QUIC with
//! pinned raw keys, streams of frames, key rings and documents on disk, files as rows.
//!
//! Nothing here decides anything; what is decided is decided in `accord-protocol` and `node::domain`.

pub mod clock;
pub mod files;
pub mod keyring;
pub mod linux;
pub mod quic;
pub mod random;
pub mod rows;
pub mod stream;
pub mod tls;
pub mod trust_folder;
