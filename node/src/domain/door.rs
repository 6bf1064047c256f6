//! What happens at a node's door, in numbers for its operator, and how much of it is logged.

use std::collections::BTreeMap;

use accord_protocol::id::NodeId;

use super::{
    answering::Course,
    bucket::{Buckets, Rate},
    provide::Denied,
};

/// Lines about refusals of one kind to one member.
const LINES: Rate = Rate { burst: 20, per_minute: 20 };
/// Members times kinds; a roster lists fewer members than 64.
const KINDS_MAX: usize = 1_024;

/// Whom, the code, and whether it is an alarm: a flood of plain refusals does not hide one.
type Kind = (NodeId, u16, bool);

/// Counts since the start, and the budget of log lines.
#[derive(Debug)]
pub struct Door {
    counts: BTreeMap<&'static str, u64>,
    lines: Buckets<Kind>,
    left_out: BTreeMap<Kind, u64>,
}

impl Default for Door {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), lines: Buckets::new(LINES, KINDS_MAX), left_out: BTreeMap::new() }
    }
}

impl Door {
    /// Counts something that happened.
    pub fn add(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Counts how a request ended.
    pub fn count(&mut self, course: &Course) {
        self.add(match course {
            Course::Answered { .. } => "answered",
            Course::Held { .. } => "held",
            Course::Again => "answered_again",
            Course::Refused(denied) | Course::NotNow(denied) | Course::Fault(denied) => denied.refusal.as_str(),
        });
    }

    /// What happened how often, by name.
    pub const fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Whether one more refusal of this kind to this member is logged, at `now_ms` of a monotonic clock; with the number of lines
    /// that were left out since the last one.
    pub fn may_log(&mut self, member: &NodeId, denied: &Denied, now_ms: u64) -> Option<u64> {
        let key = (member.clone(), denied.refusal.number(), denied.alarm);
        if self.lines.take(key.clone(), now_ms) {
            return Some(self.left_out.remove(&key).unwrap_or(0));
        }
        if self.left_out.len() < KINDS_MAX || self.left_out.contains_key(&key) {
            *self.left_out.entry(key).or_default() += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use accord_protocol::{
        id::{Hash, RequestId},
        refusal::Refusal,
    };

    use super::{super::provide::About, *};

    #[test]
    fn a_flood_of_refusals_leaves_some_lines_and_their_number() {
        let mut door = Door::default();
        let member: NodeId = "IT-AGENCY".parse().unwrap();
        let about = About { body_hash: Hash::ZERO, request_id: RequestId::ZERO, reply_class: 0 };
        let denied = |refusal, alarm| Denied { refusal, why: String::new(), about, alarm };
        let (auth, alarm) = (denied(Refusal::Auth, false), denied(Refusal::Auth, true));
        let logged = (0..1_000).filter(|_| door.may_log(&member, &auth, 0).is_some()).count();
        assert_eq!(logged, 20);
        let time = denied(Refusal::Time, false);
        assert_eq!(door.may_log(&member, &time, 0), Some(0), "another code has its own budget");
        assert_eq!(door.may_log(&member, &auth, 3_000), Some(980), "the next line says what was left out");
        let alarms = (0..1_000).filter(|_| door.may_log(&member, &alarm, 0).is_some()).count();
        assert_eq!(alarms, 20, "a flood hides no alarm, and alarms are no flood");
    }
}
