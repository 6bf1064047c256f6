//! Which of its keys a node speaks with while it goes over from one to the next (`trust.md` 2.4).

use accord_protocol::{
    key::PublicKey,
    time::{DAY_MS, UnixMs},
};

/// Members that have not greeted for so long are not waited for.
const GREETED_WITHIN_MS: u64 = 7 * DAY_MS;

/// Who knows the keys document in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Every other active member that has greeted lately, and there is at least one, or no other member at all.
    ByAll,
    /// Somebody may still know the one before alone.
    NotByAll,
}

/// Whether the others know version `version`: for each other active member, when it greeted last and which version it named.
/// A node that has heard nobody lately does not go over: whoever comes back would not know its new keys.
pub fn known(others: impl IntoIterator<Item = (Option<UnixMs>, Option<u64>)>, version: u64, now: UnixMs) -> Known {
    let (mut members, mut lately, mut knowing) = (0, 0, 0);
    for (greeted, named) in others {
        members += 1;
        if greeted.is_some_and(|at| now.0.saturating_sub(at.0) <= GREETED_WITHIN_MS) {
            lately += 1;
            knowing += usize::from(named.is_some_and(|named| named >= version));
        }
    }
    if members == 0 || (lately > 0 && knowing == lately) { Known::ByAll } else { Known::NotByAll }
}

/// The key to speak with, of those that the document lists, current first: the last one when all know it, else the first; of those
/// that may be used, which are held here and not suspended.
pub fn speaks_with(listed: &[PublicKey], may_use: impl Fn(&PublicKey) -> bool, known: Known) -> Option<PublicKey> {
    let mut usable = listed.iter().filter(|key| may_use(key)).copied();
    match known {
        Known::ByAll => usable.last(),
        Known::NotByAll => usable.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_goes_over_when_all_who_greeted_lately_know_and_waits_for_nobody_else() {
        let now = UnixMs(100 * DAY_MS);
        let (lately, long_ago) = (Some(UnixMs(99 * DAY_MS)), Some(UnixMs(92 * DAY_MS)));
        for (what, others, want) in [
            ("nobody else is there", vec![], Known::ByAll),
            ("nobody was ever heard", vec![(None, None), (None, None)], Known::NotByAll),
            ("nobody was heard lately", vec![(long_ago, Some(2))], Known::NotByAll),
            ("the only one knows", vec![(lately, Some(2))], Known::ByAll),
            ("it knows a later one", vec![(lately, Some(3))], Known::ByAll),
            ("it knows the one before", vec![(lately, Some(1))], Known::NotByAll),
            ("it has not said what it knows", vec![(lately, None)], Known::NotByAll),
            ("one of two", vec![(lately, Some(2)), (lately, Some(1))], Known::NotByAll),
            ("the other one is gone for long", vec![(lately, Some(2)), (long_ago, Some(1))], Known::ByAll),
            ("the other one was never there", vec![(lately, Some(2)), (None, None)], Known::ByAll),
        ] {
            assert_eq!(known(others, 2, now), want, "{what}");
        }
    }

    #[test]
    fn the_current_key_speaks_until_all_know_the_next_and_one_that_may_not_be_used_never() {
        let keys: Vec<PublicKey> = [3u8, 5].map(|byte| PublicKey::try_from([byte; 32]).unwrap()).to_vec();
        let (current, next) = (keys[0], keys[1]);
        for (what, listed, usable, known, want) in [
            ("not all know", &keys[..], vec![current, next], Known::NotByAll, Some(current)),
            ("all know", &keys[..], vec![current, next], Known::ByAll, Some(next)),
            ("the next is not held", &keys[..], vec![current], Known::ByAll, Some(current)),
            ("the current is not held", &keys[..], vec![next], Known::NotByAll, Some(next)),
            ("a single key at once", &keys[1..], vec![current, next], Known::NotByAll, Some(next)),
            ("what is not listed is not used", &keys[..1], vec![next], Known::ByAll, None),
            ("none is held", &keys[..], vec![], Known::ByAll, None),
        ] {
            assert_eq!(speaks_with(listed, |key| usable.contains(key), known), want, "{what}");
        }
    }
}
