//! The cases, by what they are about.

mod answers;
mod borrowed;
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

use crate::table::Case;

/// All cases, in no order.
pub(crate) fn all() -> Vec<Case> {
    [
        handshakes::cases(),
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
