//! Which refusals have entries of their own in the audit log, and which are counted into one: a peer can provoke as many as it likes.

use std::collections::BTreeMap;

use accord_protocol::{id::NodeId, refusal::Refusal};

/// Refusals of one member that have entries of their own in one hour.
pub const OWN_ENTRIES_MAX: u32 = 60;
/// One hour in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Members counted; a roster lists fewer.
const MEMBERS_MAX: usize = 256;

/// What was counted of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The member at whose door they were; what they claimed besides is not known to be true.
    pub member: NodeId,
    /// How many of each code.
    pub counts: BTreeMap<Refusal, u64>,
}

#[derive(Debug, Default)]
struct Hour {
    number: u64,
    entries: u32,
    over: BTreeMap<Refusal, u64>,
}

/// Refusals of the hour, by member.
#[derive(Debug, Default)]
pub struct Ledger {
    hours: BTreeMap<NodeId, Hour>,
}

impl Ledger {
    /// Whether a refusal of this member gets an entry of its own, at `now_ms` of a monotonic clock; else it is counted.
    pub fn enters(&mut self, member: &NodeId, refusal: Refusal, now_ms: u64) -> bool {
        if self.hours.len() >= MEMBERS_MAX && !self.hours.contains_key(member) {
            return false;
        }
        let hour = self.hours.entry(member.clone()).or_default();
        if hour.number != now_ms / HOUR_MS {
            hour.number = now_ms / HOUR_MS;
            hour.entries = 0;
        }
        if hour.entries < OWN_ENTRIES_MAX {
            hour.entries += 1;
            return true;
        }
        *hour.over.entry(refusal).or_default() += 1;
        false
    }

    /// Counts one that got no entry.
    pub fn count(&mut self, member: &NodeId, refusal: Refusal) {
        if self.hours.len() < MEMBERS_MAX || self.hours.contains_key(member) {
            *self.hours.entry(member.clone()).or_default().over.entry(refusal).or_default() += 1;
        }
    }

    /// What was counted since the last time.
    pub fn take_summaries(&mut self) -> Vec<Summary> {
        let counted = self.hours.iter_mut().filter(|(_, hour)| !hour.over.is_empty());
        counted
            .map(|(member, hour)| Summary { member: member.clone(), counts: std::mem::take(&mut hour.over) })
            .collect()
    }

    /// Gives back what could not be entered.
    pub fn give_back(&mut self, summaries: Vec<Summary>) {
        for summary in summaries {
            let hour = self.hours.entry(summary.member).or_default();
            for (refusal, count) in summary.counts {
                *hour.over.entry(refusal).or_default() += count;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_an_hour_have_entries_and_the_rest_is_counted() {
        let (it, es): (NodeId, NodeId) = ("IT-AGENCY".parse().unwrap(), "ES-AGENCY".parse().unwrap());
        let mut ledger = Ledger::default();
        let own = |ledger: &mut Ledger, member, at| {
            (0..100)
                .filter(|number| {
                    let refusal = if number % 2 == 0 { Refusal::Auth } else { Refusal::Time };
                    ledger.enters(member, refusal, at)
                })
                .count()
        };
        assert_eq!(own(&mut ledger, &it, 0), 60);
        assert_eq!(own(&mut ledger, &it, HOUR_MS - 1), 0);
        assert_eq!(own(&mut ledger, &es, 0), 60, "each member has its own");
        assert_eq!(own(&mut ledger, &it, HOUR_MS), 60, "the next hour begins anew");
        let counts = |each: u64| BTreeMap::from([(Refusal::Auth, each), (Refusal::Time, each)]);
        let all = vec![Summary { member: es, counts: counts(20) }, Summary { member: it, counts: counts(90) }];
        let taken = ledger.take_summaries();
        assert_eq!(taken, all, "nothing is lost between the hours");
        assert_eq!(ledger.take_summaries(), []);
        ledger.give_back(taken);
        assert_eq!(ledger.take_summaries(), all);
    }
}
