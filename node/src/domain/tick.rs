//! When the audit log is closed for witnesses, and how long it is then: every full hour, whether anything happened or not.

use accord_protocol::time::{MINUTE_MS, UnixMs};

/// What the log is filled up to a multiple of, so that its size says little about how much happened (`wire.md` D7).
pub const PAD_TO: u64 = 64;
/// One hour in milliseconds.
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// The next full hour after an instant.
pub const fn next_tick(now: UnixMs) -> UnixMs {
    UnixMs((now.0 / HOUR_MS + 1).saturating_mul(HOUR_MS))
}

/// Entries of padding to add to a log of this size. A log to which nothing was added since it was last filled up gets none.
pub const fn padding(size: u64) -> u64 {
    (PAD_TO - size % PAD_TO) % PAD_TO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_the_next_full_hour_and_fills_up_to_sixty_four() {
        for (now, tick) in [(0, HOUR_MS), (1, HOUR_MS), (HOUR_MS - 1, HOUR_MS), (HOUR_MS, 2 * HOUR_MS)] {
            assert_eq!(next_tick(UnixMs(now)), UnixMs(tick), "{now}");
        }
        for (size, more) in [(0, 0), (1, 63), (63, 1), (64, 0), (65, 63)] {
            assert_eq!(padding(size), more, "{size}");
        }
    }
}
