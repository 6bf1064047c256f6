//! The edge: settings, keys and documents on disk, the store, imports, the audit log's details, the network. It reads and writes; the domain decides.

pub mod age;
pub mod backup;
mod bech32;
pub mod config;
pub mod identity;
pub mod import;
pub mod journal;
pub mod keys;
pub mod store;
pub mod telemetry;
pub mod transport;
