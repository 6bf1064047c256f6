//! How much one may ask: token buckets per member and officer, in memory, before any disk is touched.

use std::collections::BTreeMap;

use accord_protocol::{id::NodeId, key::PublicKey, time::UnixMs};

/// Size and speed of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests that may come at once.
    pub burst: u32,
    /// Requests per minute in the long run.
    pub per_minute: u32,
}

/// Buckets kept at the same time, at most: officers are on signed lists, so this is not reached by strangers.
const BUCKETS_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    // Thousandths of a request, so that slow rates refill evenly.
    milli: u64,
    since: UnixMs,
}

/// The buckets.
#[derive(Debug)]
pub struct Quota {
    rate: Rate,
    buckets: BTreeMap<(NodeId, PublicKey), Bucket>,
}

impl Quota {
    /// Full buckets for everybody.
    pub const fn new(rate: Rate) -> Self {
        Self { rate, buckets: BTreeMap::new() }
    }

    /// Takes one request's worth; `false` if the bucket is empty.
    pub fn take(&mut self, member: &NodeId, officer: &PublicKey, now: UnixMs) -> bool {
        let full = u64::from(self.rate.burst) * 1000;
        if self.buckets.len() >= BUCKETS_MAX {
            // Buckets that have filled up again say nothing.
            let rate = self.rate;
            self.buckets.retain(|_, bucket| refilled(*bucket, rate, now) < full);
            if self.buckets.len() >= BUCKETS_MAX {
                return false;
            }
        }
        let bucket = self.buckets.entry((member.clone(), *officer)).or_insert(Bucket { milli: full, since: now });
        bucket.milli = refilled(*bucket, self.rate, now);
        bucket.since = now;
        if bucket.milli < 1000 {
            return false;
        }
        bucket.milli -= 1000;
        true
    }
}

fn refilled(bucket: Bucket, rate: Rate, now: UnixMs) -> u64 {
    // per_minute requests are per_minute * 1000 thousandths in 60,000 ms.
    let gained = now.0.saturating_sub(bucket.since.0).saturating_mul(u64::from(rate.per_minute)) / 60;
    bucket.milli.saturating_add(gained).min(u64::from(rate.burst) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again_for_each_officer_alone() {
        let member: NodeId = "IT-AGENCY".parse().unwrap();
        let key = |byte| PublicKey::try_from([byte; 32]).unwrap();
        let mut quota = Quota::new(Rate { burst: 2, per_minute: 60 });
        let mut take = |key, ms| quota.take(&member, &key, UnixMs(ms));
        assert_eq!([take(key(9), 0), take(key(9), 0), take(key(9), 0)], [true, true, false]);
        assert!(take(key(8), 0), "another officer");
        assert!(!take(key(9), 999));
        assert!(take(key(9), 1000) || take(key(9), 1999));
        assert!(!take(key(9), 2000) || !take(key(9), 2000));
        // A clock that jumps back gives nothing.
        assert!(!take(key(9), 0));
    }
}
