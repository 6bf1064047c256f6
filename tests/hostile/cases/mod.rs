//! The cases, by what they are about.

mod agreement;
mod connections;
mod datagrams;
mod encoding;
mod frames;
mod handshakes;
mod memory;
mod order;
mod queries;
mod signatures;
mod streams;
mod transport;

use crate::table::Case;

/// All cases, in no order.
pub(crate) fn all() -> Vec<Case> {
    [
        datagrams::cases(),
        handshakes::cases(),
        agreement::cases(),
        connections::cases(),
        streams::cases(),
        transport::cases(),
        frames::cases(),
        encoding::cases(),
        signatures::cases(),
        memory::cases(),
        queries::cases(),
        order::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
