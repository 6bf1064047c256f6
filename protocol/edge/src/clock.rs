//! The clock: the one place that reads it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use accord_protocol::time::UnixMs;

/// Now, by this machine's clock; 0 for a clock before 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A running stopwatch, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start.
    pub fn us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
