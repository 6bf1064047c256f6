//! Whether a node knows what the others know: without that, a frozen network could keep it on an old roster (`wire.md` D9).

use std::collections::BTreeMap;

use accord_protocol::{
    id::{Hash, NodeId},
    time::{DAY_MS, UnixMs},
    trust::{RosterMark, Trust},
};
use bincode::{Decode, Encode};

/// How long a greeting counts.
const COUNTS_MS: u64 = 7 * DAY_MS;
/// After how long another greeting of the same is kept; one that lies further ahead came while the clock was wrong, and counts for nothing.
const KEPT_EVERY_MS: u64 = 3_600_000;

/// The last greeting of a member, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Greeted {
    /// When it was received.
    pub at: UnixMs,
    /// Epoch of the greeter's roster.
    pub epoch: u32,
    /// Its version.
    pub version: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Greeted {
    const fn mark(&self) -> RosterMark {
        (self.epoch, self.version, self.hash)
    }

    const fn counts(&self, now: UnixMs) -> bool {
        self.at.0 <= now.plus(KEPT_EVERY_MS).0 && now.0.saturating_sub(self.at.0) <= COUNTS_MS
    }
}

/// The members from whom a verified greeting ever came. Who was admitted and is not there yet does not count.
#[derive(Debug, Clone, Default)]
pub struct Freshness {
    met: BTreeMap<NodeId, Greeted>,
}

impl Freshness {
    /// What was kept.
    pub fn new(met: impl IntoIterator<Item = (NodeId, Greeted)>) -> Self {
        Self { met: met.into_iter().collect() }
    }

    /// Notes a verified greeting; `true` if it says another thing than the one before, or came an hour after that was kept, or before it,
    /// by a clock that was set back.
    pub fn note(&mut self, member: &NodeId, greeted: Greeted) -> bool {
        let before = self.met.get(member);
        let worth_keeping = before
            .is_none_or(|before| before.mark() != greeted.mark() || greeted.at.0.abs_diff(before.at.0) > KEPT_EVERY_MS);
        if worth_keeping {
            self.met.insert(member.clone(), greeted);
        }
        worth_keeping
    }

    /// The last greeting of a member.
    pub fn last(&self, member: &NodeId) -> Option<&Greeted> {
        self.met.get(member)
    }

    /// Whether more than half of the other active members that were ever met have greeted within seven days, naming the roster in
    /// force here or one that led to it: publishing a roster makes nobody stale.
    pub fn is_fresh(&self, trust: &Trust, me: &NodeId, now: UnixMs) -> bool {
        let met = self.met.iter().filter(|(member, _)| *member != me && trust.active(member, now).is_some());
        let (mut all, mut counting) = (0, 0);
        for (_, greeted) in met {
            all += 1;
            counting += usize::from(greeted.counts(now) && trust.chain().contains(&greeted.mark()));
        }
        all == 0 || 2 * counting > all
    }
}

/// Hints that could not be redeemed: whoever gives them is not asked again for a while (`wire.md` D19).
#[derive(Debug, Default)]
pub struct Hints {
    failed: BTreeMap<(NodeId, Hash), (u32, u64)>,
}

/// Tries before a hint is left alone.
const TRIES_MAX: u32 = 3;
/// How long it is left alone, in milliseconds.
const ALONE_MS: u64 = 3_600_000;
/// Hints remembered at once.
const HINTS_MAX: usize = 4_096;

impl Hints {
    /// Whether a member's hint is worth following, at `now_ms` of a monotonic clock.
    pub fn follows(&self, member: &NodeId, hash: &Hash, now_ms: u64) -> bool {
        self.failed
            .get(&(member.clone(), *hash))
            .is_none_or(|(tries, since)| *tries < TRIES_MAX || now_ms.saturating_sub(*since) >= ALONE_MS)
    }

    /// Forgets what led to nothing: what has been taken since may be what it lacked.
    pub fn forget(&mut self) {
        self.failed.clear();
    }

    /// Notes that a hint led to nothing; `true` the first time that it is given up.
    pub fn failed(&mut self, member: &NodeId, hash: &Hash, now_ms: u64) -> bool {
        if self.failed.len() >= HINTS_MAX {
            self.failed.clear();
        }
        let (tries, since) = self.failed.entry((member.clone(), *hash)).or_default();
        if *tries >= TRIES_MAX {
            *tries = TRIES_MAX - 1;
        }
        *tries += 1;
        *since = now_ms;
        *tries == TRIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_that_leads_to_nothing_is_left_alone_for_an_hour() {
        let (mut hints, liar, hash) = (Hints::default(), "ES-AGENCY".parse().unwrap(), Hash([1; 32]));
        for now in 0..3 {
            assert!(hints.follows(&liar, &hash, now));
            assert_eq!(hints.failed(&liar, &hash, now), now == 2);
        }
        assert!(!hints.follows(&liar, &hash, 3));
        assert!(hints.follows(&liar, &Hash([2; 32]), 3), "another hint");
        assert!(hints.follows(&"IT-AGENCY".parse().unwrap(), &hash, 3), "another member");
        assert!(hints.follows(&liar, &hash, 2 + ALONE_MS));
        hints.forget();
        assert!(hints.follows(&liar, &hash, 3), "a document was taken");
        for n in 0..20_000u32 {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            hints.failed(&liar, &Hash(hash), 9);
        }
        assert!(hints.failed.len() <= HINTS_MAX);
    }
}
