//! When the audit log is closed for witnesses, and how long it is then: every full hour, whether anything happened or not.

use crate::time::{MINUTE_MS, UnixMs};

/// What the log is filled up to a multiple of, so that its size says little about how much happened (`wire.md` D7).
pub const PAD_TO: u64 = 64;
/// One hour in milliseconds.
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The next full hour after an instant.
pub const fn next_tick(now: UnixMs) -> UnixMs {
    UnixMs((now.0 / HOUR_MS + 1).saturating_mul(HOUR_MS))
}

/// How long after a tick everybody has been asked for cosignatures.
const COSIGNED_WITHIN_MS: u64 = 10 * MINUTE_MS;

/// From when an entry that is made now can be proven.
pub const fn provable_after(now: UnixMs) -> UnixMs {
    UnixMs(next_tick(now).0.saturating_add(COSIGNED_WITHIN_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_the_next_full_hour() {
        for (now, tick) in [(0, HOUR_MS), (1, HOUR_MS), (HOUR_MS - 1, HOUR_MS), (HOUR_MS, 2 * HOUR_MS)] {
            assert_eq!(next_tick(UnixMs(now)), UnixMs(tick), "{now}");
        }
    }
}
