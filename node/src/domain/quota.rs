//! How much one may ask: token buckets of each officer and of each member, in memory, before any disk is touched.

use accord_protocol::{id::NodeId, key::PublicKey};

use super::bucket::{Buckets, Rate};

/// Officers' buckets kept at the same time, at most: officers are on signed lists, so strangers do not reach this.
const OFFICERS_MAX: usize = 10_000;
/// Members' buckets; a roster lists fewer members.
const MEMBERS_MAX: usize = 256;

/// How much one officer, and all officers of one member together, may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// One officer.
    pub officer: Rate,
    /// All officers of a member.
    pub member: Rate,
}

/// The buckets.
#[derive(Debug)]
pub struct Quota {
    officers: Buckets<(NodeId, PublicKey)>,
    members: Buckets<NodeId>,
}

impl Quota {
    /// Full buckets for everybody.
    pub const fn new(rates: Rates) -> Self {
        Self { officers: Buckets::new(rates.officer, OFFICERS_MAX), members: Buckets::new(rates.member, MEMBERS_MAX) }
    }

    /// Takes one request's worth at `now_ms` of a monotonic clock; `false` if a bucket is empty. A member whose list names ever
    /// new officers gets no more by it.
    pub fn take(&mut self, member: &NodeId, officer: &PublicKey, now_ms: u64) -> bool {
        // The officer's first, so that one who asks too much takes nothing from the colleagues.
        self.officers.take((member.clone(), *officer), now_ms) && self.members.take(member.clone(), now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn officers_have_their_own_and_members_a_common_bucket() {
        let key = |byte| PublicKey::try_from([byte; 32]).unwrap();
        let member = |name: &str| name.parse::<NodeId>().unwrap();
        let mut quota =
            Quota::new(Rates { officer: Rate { burst: 2, per_minute: 60 }, member: Rate { burst: 3, per_minute: 60 } });
        let mut take = |name, officer| quota.take(&member(name), &key(officer), 0);
        assert_eq!([take("IT-AGENCY", 9), take("IT-AGENCY", 9), take("IT-AGENCY", 9)], [true, true, false]);
        assert!(take("IT-AGENCY", 8), "a colleague");
        assert!(!take("IT-AGENCY", 7), "the member as a whole has had its share");
        assert!(take("PT-AGENCY", 9), "another member");
    }
}
