//! How late it surely is, whatever the clock shows: nothing is forgotten, ended or found missing because a clock was set ahead.

use accord_protocol::time::UnixMs;

/// A time that was surely reached, and when that was by a clock that only goes on.
#[derive(Debug, Clone, Copy)]
pub struct SureTime {
    reached: UnixMs,
    at_ms: u64,
}

impl SureTime {
    /// At a start, by what others had said before it. The own log proves nothing: the clock may have been wrong when it was written.
    pub const fn new(reached: UnixMs) -> Self {
        Self { reached, at_ms: 0 }
    }

    /// Others have reached this time, `since_start_ms` after the start.
    pub fn see(&mut self, reached: UnixMs, since_start_ms: u64) {
        if reached > self.by(since_start_ms) {
            *self = Self { reached, at_ms: since_start_ms };
        }
    }

    /// The latest time that is surely past; never beyond what the clock shows.
    pub fn now(&self, clock: UnixMs, since_start_ms: u64) -> UnixMs {
        clock.min(self.by(since_start_ms))
    }

    const fn by(&self, since_start_ms: u64) -> UnixMs {
        self.reached.plus(since_start_ms.saturating_sub(self.at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_goes_by_what_was_reached_and_what_has_gone_by_and_never_beyond_the_clock() {
        let start = UnixMs(1_000 * HOUR);
        let at = |hours: u64| start.plus(hours * HOUR);
        let mut time = SureTime::new(start);
        for (clock, gone_by, sure) in [
            (at(0), 0, at(0)),
            (at(2), 2 * HOUR, at(2)),
            // Set ahead: what has gone by counts.
            (at(90_000), 3 * HOUR, at(3)),
            // Set back: what the clock shows.
            (at(1), 3 * HOUR, at(1)),
        ] {
            assert_eq!(time.now(clock, gone_by), sure);
        }
        // Stopped for three days: others know.
        time.see(at(72), 4 * HOUR);
        assert_eq!(time.now(at(73), 5 * HOUR), at(73));
        // An earlier one says nothing.
        time.see(at(10), 6 * HOUR);
        assert_eq!(time.now(at(100), 6 * HOUR), at(74));
    }
}
