//! The cases, by what they are about.

mod handshakes;

use crate::table::Case;

/// All cases, in no order.
pub(crate) fn all() -> Vec<Case> {
    [handshakes::cases()].into_iter().flatten().collect()
}
