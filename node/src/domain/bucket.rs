//! Token buckets: how often something may happen, by key, in bounded memory.

use std::collections::BTreeMap;

/// Size and speed of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How many per minute in the long run.
    pub per_minute: u32,
}

impl Rate {
    /// Milliseconds in which one comes back.
    pub fn interval_ms(self) -> u64 {
        u64::from(60_000 / self.per_minute.max(1)).max(1)
    }
}

// Thousandths of a token, so that slow rates refill evenly; and when they were counted.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    milli: u64,
    since_ms: u64,
}

/// A bucket for each key. Times are milliseconds of a clock that never goes back.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    keys_max: usize,
    by_key: BTreeMap<K, Bucket>,
}

impl<K: Ord> Buckets<K> {
    /// Full buckets for everybody; at most `keys_max` are remembered at once.
    pub const fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max, by_key: BTreeMap::new() }
    }

    /// Takes one token; `false` if the bucket is empty, or if no more keys can be remembered.
    pub fn take(&mut self, key: K, now_ms: u64) -> bool {
        let rate = self.rate;
        let full = u64::from(rate.burst) * 1000;
        if self.by_key.len() >= self.keys_max && !self.by_key.contains_key(&key) {
            // Buckets that have filled up again say nothing.
            self.by_key.retain(|_, bucket| bucket.refilled(rate, now_ms) < full);
            if self.by_key.len() >= self.keys_max {
                return false;
            }
        }
        let bucket = self.by_key.entry(key).or_insert(Bucket { milli: full, since_ms: now_ms });
        bucket.milli = bucket.refilled(rate, now_ms);
        bucket.since_ms = now_ms;
        let taken = bucket.milli >= 1000;
        if taken {
            bucket.milli -= 1000;
        }
        taken
    }

    /// Keys remembered now.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl Bucket {
    fn refilled(self, rate: Rate, now_ms: u64) -> u64 {
        // per_minute tokens are per_minute * 1000 thousandths in 60,000 ms.
        let gained = now_ms.saturating_sub(self.since_ms).saturating_mul(u64::from(rate.per_minute)) / 60;
        self.milli.saturating_add(gained).min(u64::from(rate.burst) * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_again_for_each_key_alone() {
        let mut buckets = Buckets::new(Rate { burst: 2, per_minute: 60 }, 10);
        let mut take = |key, ms| buckets.take(key, ms);
        assert_eq!([take('a', 0), take('a', 0), take('a', 0)], [true, true, false]);
        assert!(take('b', 0), "another key");
        assert!(!take('a', 999));
        assert!(take('a', 1999));
        assert!(!take('a', 1999));
        assert!(!take('a', 0), "a clock that jumps back gives nothing");
    }

    #[test]
    fn memory_is_bounded_and_full_buckets_make_room() {
        let mut buckets = Buckets::new(Rate { burst: 1, per_minute: 60 }, 3);
        assert!((0..3).all(|key| buckets.take(key, 0)));
        assert!(!buckets.take(3, 0), "no room");
        assert!(!buckets.take(2, 0), "a known key is still counted");
        assert!(buckets.take(3, 1000), "the others have filled up");
        assert_eq!(buckets.len(), 1);
    }
}
