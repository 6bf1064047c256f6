//! The latest time that this node has good reason to believe is past: a clock far behind it is wrong (`wire.md` D12).
//!
//! The mark follows documents of others and what more than half of the other members say, never what this node says itself, and never
//! runs ahead of its clock: nobody can stop a node whose clock is right by claiming a later time.

use accord_protocol::{
    codec::{Bounded, Text},
    id::{Hash, NodeId},
    roster::MemberState,
    suspend::{Target, Way},
    time::{MINUTE_MS, UnixMs},
    trust::Trust,
};
use bincode::{Decode, Encode};

/// How far a clock may be behind the mark.
const BEHIND_MS: u64 = 5 * MINUTE_MS;
/// How far the mark may be ahead of the clock.
const AHEAD_MS: u64 = 2 * MINUTE_MS;
/// By how much the mark has risen when it is kept again.
const KEPT_EVERY_MS: u64 = MINUTE_MS;
/// Documents that set a mark anew and are remembered, at most: as many suspensions as are kept of one member.
const RESETS_MAX: usize = 64;

/// The mark as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Mark {
    /// The time.
    pub at: UnixMs,
    /// Who said so, for people.
    pub from: Text<96>,
    /// Documents that have set it anew, each once; the latest last.
    pub resets: Bounded<Hash, RESETS_MAX>,
}

/// The mark of a running node.
#[derive(Debug, Clone)]
pub struct ClockMark {
    mark: Mark,
    // As it was last given out to be kept.
    kept: Mark,
}

impl ClockMark {
    /// As it was kept.
    pub fn new(kept: Option<Mark>) -> Self {
        let nothing = || Mark { at: UnixMs(0), from: Text::default(), resets: Bounded::default() };
        let mark = kept.unwrap_or_else(nothing);
        Self { kept: mark.clone(), mark }
    }

    /// The mark.
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Whether a clock that shows `now` is wrong.
    pub const fn is_behind(&self, now: UnixMs) -> bool {
        now.plus(BEHIND_MS).0 < self.mark.at.0
    }

    /// Raises the mark by the times of documents.
    pub fn see_documents(&mut self, times: impl IntoIterator<Item = (UnixMs, String)>, now: UnixMs) {
        if let Some((at, from)) = times.into_iter().max_by_key(|(at, _)| *at) {
            self.raise(at, &from, now);
        }
    }

    /// Raises the mark by the times that others said last: to the latest that more than half of all `others` have reached.
    pub fn see_members(&mut self, others: usize, said: impl IntoIterator<Item = UnixMs>, now: UnixMs) {
        let mut said: Vec<UnixMs> = said.into_iter().collect();
        said.sort_by_key(|at| std::cmp::Reverse(*at));
        if let Some(at) = said.get(others / 2).filter(|_| others > 0) {
            self.raise(*at, "greetings of more than half of the members", now);
        }
    }

    fn raise(&mut self, at: UnixMs, from: &str, now: UnixMs) {
        let at = at.min(now.plus(AHEAD_MS));
        if at > self.mark.at {
            self.mark.at = at;
            self.mark.from = Text::new(from).unwrap_or_default();
        }
    }

    /// Sets the mark anew, as two administrators said at `at` in the document of this hash; once for each document. Whether it did.
    pub fn set_anew(&mut self, document: Hash, at: UnixMs, now: UnixMs) -> bool {
        let mut resets = self.mark.resets.as_slice().to_vec();
        if resets.contains(&document) {
            return false;
        }
        resets.push(document);
        resets.drain(..resets.len().saturating_sub(RESETS_MAX));
        self.mark = Mark {
            at: at.min(now.plus(AHEAD_MS)),
            from: Text::new("administrators, who set it anew").unwrap_or_default(),
            resets: Bounded::new(resets).unwrap_or_default(),
        };
        true
    }

    /// The mark, if it is to be kept now.
    pub fn to_keep(&mut self) -> Option<Mark> {
        let changed =
            self.mark.resets != self.kept.resets || self.mark.at.0.saturating_sub(self.kept.at.0) >= KEPT_EVERY_MS;
        changed.then(|| {
            self.kept = self.mark.clone();
            self.mark.clone()
        })
    }
}

/// When the documents in force of others were made: the federation's and those of the other members.
pub fn foreign_times(trust: &Trust, me: &NodeId) -> Vec<(UnixMs, String)> {
    let mut times = vec![
        (trust.root().issued_at, "the root document".to_owned()),
        (trust.roster().issued_at, "the roster".to_owned()),
    ];
    for member in others(trust, me) {
        times.extend(trust.keys(member).map(|keys| (keys.issued_at, format!("keys of {member}"))));
        times.extend(trust.officers(member).map(|list| (list.issued_at, format!("officers of {member}"))));
    }
    let foreign = trust.suspensions().iter().filter(|suspend| suspend.node_id != *me);
    times.extend(foreign.map(|suspend| (suspend.issued_at, format!("a suspension by {}", suspend.node_id))));
    times
}

/// The other members that take part, whatever the time.
pub fn others<'a>(trust: &'a Trust, me: &'a NodeId) -> impl Iterator<Item = &'a NodeId> {
    let all = trust.roster().members.iter();
    all.filter(move |member| member.node_id != *me && member.state == MemberState::Active).map(|member| &member.node_id)
}

/// Documents by which the own administrators have set the mark anew, in the order in which they were signed.
pub fn resets<'a>(trust: &'a Trust, me: &'a NodeId) -> impl Iterator<Item = (Hash, UnixMs)> + 'a {
    let own = trust.suspensions().iter().filter(move |suspend| suspend.node_id == *me);
    own.filter(|suspend| suspend.target == Target::Clock && suspend.way == Way::Lifts)
        .map(|suspend| (suspend.hash(), suspend.issued_at))
}

#[cfg(test)]
mod tests {
    use accord_protocol::time::DAY_MS;

    use super::*;

    const NOW: UnixMs = UnixMs(1_790_000_000_000);
    const YEAR_MS: u64 = 365 * DAY_MS;

    fn ago(ms: u64) -> UnixMs {
        UnixMs(NOW.0 - ms)
    }

    #[test]
    fn a_clock_far_behind_the_mark_is_wrong_and_one_ahead_is_not() {
        let mut mark = ClockMark::new(None);
        assert!(!mark.is_behind(UnixMs(0)), "nothing is known yet");
        mark.see_documents([(NOW, "the roster".to_owned())], NOW);
        for (what, clock, behind) in [
            ("the same", NOW, false),
            ("5 minutes behind", ago(5 * MINUTE_MS), false),
            ("a little more", ago(5 * MINUTE_MS + 1), true),
            ("days behind", ago(3 * DAY_MS), true),
            ("years behind", ago(20 * YEAR_MS), true),
            ("at the beginning of time", UnixMs(0), true),
            ("years ahead", NOW.plus(20 * YEAR_MS), false),
        ] {
            assert_eq!(mark.is_behind(clock), behind, "{what}");
        }
    }

    #[test]
    fn a_later_time_moves_the_mark_only_as_far_as_the_clock_is() {
        for (what, at, want) in [
            ("minutes ago", ago(MINUTE_MS), ago(MINUTE_MS)),
            ("a minute ahead", NOW.plus(MINUTE_MS), NOW.plus(MINUTE_MS)),
            ("an hour ahead", NOW.plus(60 * MINUTE_MS), NOW.plus(AHEAD_MS)),
            ("years ahead", NOW.plus(20 * YEAR_MS), NOW.plus(AHEAD_MS)),
            ("at the end of time", UnixMs(u64::MAX), NOW.plus(AHEAD_MS)),
        ] {
            let mut mark = ClockMark::new(None);
            mark.see_documents([(ago(DAY_MS), String::new()), (at, String::new())], NOW);
            assert_eq!(mark.mark().at, want, "{what}");
            assert!(!mark.is_behind(NOW), "{what}: whose clock is right goes on");
        }
    }

    #[test]
    fn more_than_half_of_the_others_move_the_mark_and_a_lying_minority_does_not() {
        let (right, late) = (ago(1_000), NOW.plus(YEAR_MS));
        for (what, others, said, want) in [
            ("nobody else is there", 0, vec![late], None),
            ("nobody has said anything", 3, vec![], None),
            ("the only other one", 1, vec![right], Some(right)),
            ("one of two is not more than half", 2, vec![right], None),
            ("two of two", 2, vec![right, ago(5_000)], Some(ago(5_000))),
            ("one liar of three", 3, vec![late, right, ago(9_000)], Some(right)),
            ("two liars of five", 5, vec![late, late, right, right, ago(9_000)], Some(right)),
            ("two liars of four of whom two are silent", 4, vec![late, late], None),
            ("one who is years behind holds nobody back", 3, vec![right, right, ago(9 * YEAR_MS)], Some(right)),
            ("three liars of five, up to the clock", 5, vec![late, late, late], Some(NOW.plus(AHEAD_MS))),
        ] {
            let mut mark = ClockMark::new(None);
            mark.see_members(others, said, NOW);
            assert_eq!(mark.mark().at, want.unwrap_or(UnixMs(0)), "{what}");
        }
    }

    #[test]
    fn the_mark_never_goes_back_but_by_administrators_and_by_each_document_once() {
        let mut mark = ClockMark::new(None);
        mark.see_documents([(NOW, String::new())], NOW);
        mark.see_documents([(ago(DAY_MS), String::new())], NOW);
        mark.see_members(1, [ago(DAY_MS)], NOW);
        assert_eq!(mark.mark().at, NOW);
        let clock = ago(DAY_MS);
        assert!(mark.is_behind(clock));
        mark.set_anew(Hash([1; 32]), clock, clock);
        assert!(!mark.is_behind(clock));
        mark.see_documents([(NOW, String::new())], NOW);
        mark.set_anew(Hash([1; 32]), clock, clock);
        assert!(mark.is_behind(clock), "one that was used does nothing");
        mark.set_anew(Hash([2; 32]), NOW.plus(YEAR_MS), clock);
        assert_eq!(mark.mark().at, clock.plus(AHEAD_MS), "nor does it run ahead");
    }

    #[test]
    fn the_mark_is_kept_when_it_has_risen_by_a_minute_and_whenever_it_is_set() {
        let mut mark = ClockMark::new(None);
        mark.see_documents([(ago(MINUTE_MS), "the roster".to_owned())], NOW);
        let first = mark.to_keep().unwrap();
        assert_eq!((first.at, first.from.as_str()), (ago(MINUTE_MS), "the roster"));
        mark.see_documents([(ago(1), String::new())], NOW);
        assert_eq!(mark.to_keep(), None);
        mark.see_documents([(NOW, String::new())], NOW);
        assert_eq!(mark.to_keep().unwrap().at, NOW);
        mark.set_anew(Hash([1; 32]), NOW, NOW);
        let kept = mark.to_keep().unwrap();
        assert_eq!(mark.to_keep(), None);
        let mut again = ClockMark::new(Some(kept));
        again.set_anew(Hash([1; 32]), ago(DAY_MS), NOW);
        assert_eq!(again.mark().at, NOW, "it is remembered over a restart");
    }
}
