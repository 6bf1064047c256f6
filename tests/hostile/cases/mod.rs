//! The cases, by what they are about.

mod agreement;
mod answers;
mod borrowed;
mod connections;
mod datagrams;
mod encoding;
mod flips;
mod flood;
mod foreign;
mod frames;
mod handshakes;
mod headers;
mod memory;
mod order;
mod people;
mod queries;
mod replies;
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
        foreign::cases(),
        signatures::cases(),
        memory::cases(),
        queries::cases(),
        order::cases(),
        flips::cases(),
        flood::cases(),
        answers::cases(),
        headers::cases(),
        replies::cases(),
        people::cases(),
        borrowed::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
