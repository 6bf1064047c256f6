//! A checkpoint of a log that somebody holds in a size that was never seen here, until the log's owner proves it, or has refused to.

use accord_protocol::{
    id::NodeId,
    log::{Checkpoint, passing::BareNote},
    time::{DAY_MS, MINUTE_MS, UnixMs},
};

/// For how long an owner may say that it has no such proof. Every owner closes its log each full hour: whatever has become of its keys
/// and its node, within two it can prove what it ever signed.
const REFUSED_FOR_MS: u64 = 120 * MINUTE_MS;
/// For how long it may be greeted, and give no proof. A node that is busy or slow gives one in so many tries.
const PUT_OFF_FOR_MS: u64 = DAY_MS;
/// How often it must have been asked in that time, at least.
const ASKED_AT_LEAST: u32 = 60;
/// Between two tries that lie further apart it was not asked: it, or this node, was not there, or a clock was set.
const APART_MS: u64 = 5 * MINUTE_MS;

/// A checkpoint of a size that was never seen here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// Who holds it.
    pub told_by: NodeId,
    /// Size and root.
    pub checkpoint: Checkpoint,
    /// The note.
    pub note: BareNote,
    /// Since when one by that teller is not held against anything.
    pub since: UnixMs,
    /// What the log's owner has made of being asked since.
    pub asking: Asking,
}

/// How an owner that can be reached goes without proving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// It puts it off: it is greeted, and this it does not answer, or with something that is no proof.
    PutOff,
    /// It says that it has no such proof.
    Refused,
}

/// What an owner has made of being asked so far. One that is not reached is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asking {
    refused: Tally,
    without: Tally,
}

/// How often, and for how long in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    times: u32,
    ms: u64,
    last: Option<UnixMs>,
}

impl Tally {
    fn count(&mut self, now: UnixMs) {
        let since_last = self.last.map_or(0, |last| now.0.saturating_sub(last.0));
        self.ms = self.ms.saturating_add(if since_last <= APART_MS { since_last } else { 0 });
        self.times = self.times.saturating_add(1);
        self.last = Some(now);
    }

    const fn is_enough(&self, ms: u64) -> bool {
        self.times >= ASKED_AT_LEAST && self.ms >= ms
    }
}

impl Asking {
    /// Counts a try that brought no proof.
    pub fn count(&mut self, without: Without, now: UnixMs) {
        self.without.count(now);
        match without {
            Without::Refused => self.refused.count(now),
            Without::PutOff => {}
        }
    }

    /// Whether the owner has been asked often and long enough to say that it does not prove it.
    pub const fn is_refusal(&self) -> bool {
        self.refused.is_enough(REFUSED_FOR_MS) || self.without.is_enough(PUT_OFF_FOR_MS)
    }

    /// How often it gave no proof, and how often of that it said that it has none.
    pub const fn times(&self) -> (u32, u32) {
        (self.without.times, self.refused.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_MINUTE_MS: u64 = MINUTE_MS / 2;

    /// Asks every so many milliseconds; after how long it is a refusal, if within three days.
    fn refused_after(every_ms: u64, said: impl Fn(u64) -> Option<Without>) -> Option<u64> {
        let mut asking = Asking::default();
        (0..3 * DAY_MS / every_ms).map(|turn| turn * every_ms).find(|at| {
            if let Some(without) = said(*at) {
                asking.count(without, UnixMs(1_000 + at));
            }
            asking.is_refusal()
        })
    }

    #[test]
    fn an_owner_that_is_there_and_does_not_prove_has_refused_after_a_while() {
        use Without::{PutOff, Refused};
        let hour = 60 * MINUTE_MS;
        let is_up = |at: u64| at % hour < hour / 2;
        for (what, every, said, want) in [
            ("says no", HALF_MINUTE_MS, (&|_| Some(Refused)) as &dyn Fn(u64) -> _, Some(2 * hour)),
            ("is silent or busy", HALF_MINUTE_MS, &|_| Some(PutOff), Some(DAY_MS)),
            ("is not reached", HALF_MINUTE_MS, &|_| None, None),
            (
                "is there for half of each hour",
                HALF_MINUTE_MS,
                &|at| is_up(at).then_some(Refused),
                Some(4 * hour + 2 * MINUTE_MS),
            ),
            ("is reached now and then", hour, &|_| Some(Refused), None),
            (
                "is asked seldom",
                4 * MINUTE_MS,
                &|_| Some(Refused),
                Some((u64::from(ASKED_AT_LEAST) - 1) * 4 * MINUTE_MS),
            ),
            (
                "says no once and is silent then",
                HALF_MINUTE_MS,
                &|at| Some(if at == 0 { Refused } else { PutOff }),
                Some(DAY_MS),
            ),
        ] {
            assert_eq!(refused_after(every, said), want, "{what}");
        }
    }

    #[test]
    fn a_clock_that_is_set_makes_no_time() {
        let mut asking = Asking::default();
        for turn in 0..200 {
            // A day forth, a day back.
            asking.count(Without::Refused, UnixMs(DAY_MS + (turn % 2) * DAY_MS));
        }
        assert_eq!((asking.times(), asking.is_refusal()), ((200, 200), false));
    }
}
