//! The cases, by what they are about.

mod encoding;
mod flips;
mod flood;
mod frames;
mod handshakes;
mod memory;
mod order;
mod queries;
mod signatures;

use crate::table::Case;

/// All cases, in no order.
pub(crate) fn all() -> Vec<Case> {
    [
        handshakes::cases(),
        frames::cases(),
        encoding::cases(),
        signatures::cases(),
        memory::cases(),
        queries::cases(),
        order::cases(),
        flips::cases(),
        flood::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
