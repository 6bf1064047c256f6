//! What an approver signs: a verdict on one request, or a yes to a partner, table and purpose for a time.
//!
//! Both stay at the provider's node.

use bincode::{Decode, Encode};

use crate::{
    codec::Cap,
    id::{Hash, NodeId},
    officers::Purpose,
    refusal::Reason,
    signed::{Label, Preamble, Signable},
    time::{DAY_MS, UnixMs},
};

/// Longest standing approval.
pub const STANDING_WITHIN_MS: u64 = 400 * DAY_MS;

crate::codes! {
    /// What an approver says.
    pub enum Verdict: u8 {
        /// Yes, to the slice that was seen.
        Approve = 1 "approve",
        /// No.
        Reject = 2 "reject",
    }
}

/// An approver's verdict on one request (`wire.md` D6).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// Protocol and kind.
    pub preamble: Preamble<11>,
    /// The provider.
    pub node_id: NodeId,
    /// SHA-256 of the request body.
    pub body_hash: Hash,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why not: the number of a [`Reason`]; 0 for a yes.
    pub reason: u8,
    /// SHA-256 of the slice that was seen; zero for a no.
    pub slice_hash: Hash,
    /// The edition that it was selected from; 0 for a no.
    pub edition: u64,
    /// SHA-256 of the policy that it was permitted by; zero for a no.
    pub policy_hash: Hash,
    /// When, by the node's clock.
    pub at: UnixMs,
}

impl Approval {
    /// Why not.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.reason)
    }
}

impl Signable for Approval {
    const LABEL: Label = Label::Approval;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        let names_nothing = (self.slice_hash, self.edition, self.policy_hash) == (Hash::ZERO, 0, Hash::ZERO);
        match self.verdict {
            Verdict::Approve if self.reason != 0 => Err("a yes with a reason against it"),
            Verdict::Approve if self.edition == 0 || self.policy_hash == Hash::ZERO => {
                Err("a yes that does not name what was seen")
            }
            Verdict::Reject if self.reason().is_none() => Err("a no without a reason of the list"),
            Verdict::Reject if !names_nothing => Err("a no that names a slice"),
            Verdict::Approve | Verdict::Reject => Ok(()),
        }
    }
}

/// An approver's yes in advance: what the policy answers after an approval is answered at once for this partner, table and purpose.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StandingApproval {
    /// Protocol and kind.
    pub preamble: Preamble<12>,
    /// The provider.
    pub node_id: NodeId,
    /// The partner.
    pub partner: NodeId,
    /// Number of the table.
    pub table_id: u16,
    /// For which purpose.
    pub purpose: Purpose,
    /// From when; a later one for the same three takes the place of an earlier.
    pub from: UnixMs,
    /// Until when; the same as `from` ends it.
    pub until: UnixMs,
}

impl Signable for StandingApproval {
    const LABEL: Label = Label::Standing;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        if self.until < self.from {
            return Err("it ends before it begins");
        }
        if self.until.0 - self.from.0 > STANDING_WITHIN_MS {
            return Err("it is longer than 400 days");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_names_what_was_seen_or_why_not() {
        let yes = Approval {
            preamble: Preamble,
            node_id: "IT-AGENCY".parse().unwrap(),
            body_hash: Hash([1; 32]),
            verdict: Verdict::Approve,
            reason: 0,
            slice_hash: Hash([2; 32]),
            edition: 3,
            policy_hash: Hash([4; 32]),
            at: UnixMs(5),
        };
        let no = Approval {
            verdict: Verdict::Reject,
            reason: Reason::Scope.number(),
            slice_hash: Hash::ZERO,
            edition: 0,
            policy_hash: Hash::ZERO,
            ..yes.clone()
        };
        assert_eq!((yes.check(), no.check()), (Ok(()), Ok(())));
        assert_eq!(no.reason(), Some(Reason::Scope));
        for bad in [
            Approval { reason: 1, ..yes.clone() },
            Approval { edition: 0, ..yes.clone() },
            Approval { policy_hash: Hash::ZERO, ..yes },
            Approval { reason: 0, ..no.clone() },
            Approval { reason: 9, ..no.clone() },
            Approval { edition: 3, ..no },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_standing_approval_ends() {
        let standing = |from, until| StandingApproval {
            preamble: Preamble,
            node_id: "IT-AGENCY".parse().unwrap(),
            partner: "ES-AGENCY".parse().unwrap(),
            table_id: 1,
            purpose: Purpose::StrategicAnalysis,
            from: UnixMs(from),
            until: UnixMs(until),
        };
        for (from, until, good) in
            [(5, 5, true), (5, 4, false), (5, 5 + STANDING_WITHIN_MS, true), (5, 6 + STANDING_WITHIN_MS, false)]
        {
            assert_eq!(standing(from, until).check().is_ok(), good, "{from} {until}");
        }
    }
}
