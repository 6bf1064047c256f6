//! What administrators have stopped, and not allowed again.

use super::Trust;
use crate::{
    id::NodeId,
    signed::Verified,
    suspend::{Suspend, Target, Way},
    time::{DAY_MS, UnixMs},
    topic::Topic,
};

/// Ends of topics of one member that count one by one.
pub(super) const ENDS_MAX: usize = 256;

impl Trust {
    /// Whether this member's administrators have stopped something of their own: the latest word about it counts. A word that is
    /// more than a day ahead does not count yet, since it would outlast every lifting, and the longest suspension too; clocks that
    /// differ by less are no reason to go on.
    pub fn is_suspended(
        &self,
        member: &NodeId,
        target: Target,
        now: UnixMs,
        is_meant: impl Fn(&Suspend) -> bool,
    ) -> bool {
        self.stop(member, target, now, is_meant).is_some()
    }

    /// The suspension of a partner, a table or a node, by its name, that the administrators of a member have in force for their own
    /// node.
    pub fn local_stop(
        &self,
        member: &NodeId,
        target: Target,
        subject: &str,
        now: UnixMs,
    ) -> Option<&Verified<Suspend>> {
        self.stop(member, target, now, |suspend| suspend.subject.as_str() == subject)
    }

    /// All suspensions in force now, of all members.
    pub fn stops(&self, now: UnixMs) -> impl Iterator<Item = &Verified<Suspend>> {
        self.suspensions.iter().filter(move |stop| {
            let same = |suspend: &Suspend| suspend.subject == stop.subject;
            self.stop(&stop.node_id, stop.target, now, same).is_some_and(|latest| latest.hash() == stop.hash())
        })
    }

    /// Whether an administrator of the asking member has ended a topic, by all that is said now, for what was decided at a moment.
    pub fn topic_is_ended(&self, topic: &Verified<Topic>, (decided_at, now): (UnixMs, UnixMs)) -> bool {
        self.is_ended(topic, (now.plus(DAY_MS), decided_at))
    }

    /// Whether one had, at a moment that is past: by what was said until then.
    pub fn topic_was_ended(&self, topic: &Verified<Topic>, at: UnixMs) -> bool {
        self.is_ended(topic, (at, at))
    }

    // By any word that was issued until one moment and lasts at another: nothing takes it back. Where more of them last than are kept
    // one by one, nobody knows which were dropped, and all topics of that member are ended.
    fn is_ended(&self, topic: &Verified<Topic>, (until, at): (UnixMs, UnixMs)) -> bool {
        let mut ends = self.suspensions.iter().filter(|suspend| {
            suspend.node_id == topic.node_id && suspend.target == Target::Topic && at < suspend.until
        });
        ends.clone().count() > ENDS_MAX
            || ends.any(|suspend| suspend.issued_at <= until && suspend.topic() == Some(topic.hash()))
    }

    fn stop(
        &self,
        member: &NodeId,
        target: Target,
        now: UnixMs,
        is_meant: impl Fn(&Suspend) -> bool,
    ) -> Option<&Verified<Suspend>> {
        let mut about =
            self.suspensions.iter().filter(|suspend| suspend.node_id == *member && suspend.target == target);
        // They are in the order in which they were issued.
        about
            .rfind(|suspend| suspend.issued_at <= now.plus(DAY_MS) && is_meant(suspend))
            .filter(|suspend| suspend.way == Way::Stops && now < suspend.until)
    }
}
