//! The cases, by what they are about.

mod datagrams;
mod handshakes;

use crate::table::Case;

/// All cases, in no order.
pub(crate) fn all() -> Vec<Case> {
    [datagrams::cases(), handshakes::cases()].into_iter().flatten().collect()
}
