//! Why a node exchanges no data for the moment, with anybody or with one member; greetings and documents go on in all cases.

use accord_protocol::{
    id::{Hash, NodeId},
    time::UnixMs,
};

/// Why, in words for the node's own people. A member hears `E_UNAVAILABLE` and nothing of this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Standstill {
    /// An own administrator has isolated the node.
    #[error("your node is isolated by one of its administrators until {until}: it answers and asks nobody")]
    Isolated {
        /// Until when.
        until: UnixMs,
    },
    /// The clock is wrong.
    #[error(
        "the clock of your node's machine is behind: it shows {now}, and it was {mark} already ({from}); set the clock, or have two administrators set the mark anew (accord trust clock-reset)"
    )]
    Clock {
        /// What it shows.
        now: UnixMs,
        /// What it was already.
        mark: UnixMs,
        /// Who said so.
        from: String,
    },
    /// The keys document in force lists no key that the node holds.
    #[error("your node holds none of the keys that its member lists for it: no data is exchanged")]
    NoKeys,
    /// It may not know what the others know.
    #[error("your own node has not heard from more than half of the members for seven days: no data is exchanged")]
    NotFresh,
    /// It is not known yet what others have seen of this node since the backup that it was restored from.
    #[error(
        "your node was restored from a backup, and more than half of the members that it ever met have not said yet what they hold of its audit log: no data is exchanged until they have"
    )]
    Restored,
    /// Somebody holds a checkpoint of this node's log that is not of the log that is here.
    #[error(
        "the audit log of your node is not the one that {told_by} has seen: it was restored from an older copy, or tampered with. No data is exchanged until two administrators accept that (accord trust accept-fork {id})"
    )]
    OwnLog {
        /// Who holds it.
        told_by: NodeId,
        /// What names the fork.
        id: Hash,
    },
    /// The partner's log shows another past than it did.
    #[error(
        "the audit log of {partner} shows another past than it did: it was restored from an older copy, or tampered with. No data is exchanged with it until two of your administrators accept that (accord trust accept-fork {id})"
    )]
    Fork {
        /// Whose.
        partner: NodeId,
        /// What names the fork.
        id: Hash,
    },
    /// The partner does not prove that its log is one.
    #[error(
        "{partner} was asked for hours to prove that its audit log as your node holds it and as {told_by} holds it is one, answered, and has not: it may show one log to some and another one to others. No data is exchanged with it until two of your administrators accept that (accord trust accept-fork {id})"
    )]
    Unproven {
        /// Whose.
        partner: NodeId,
        /// What names it.
        id: Hash,
        /// Who holds the other one.
        told_by: NodeId,
    },
    /// The partner's log is shorter than it was.
    #[error(
        "the audit log of {partner} has fewer entries than the {size} that your node has seen of it: no data is exchanged with it until they are there"
    )]
    Behind {
        /// Whose.
        partner: NodeId,
        /// How many were seen.
        size: u64,
    },
    /// The own administrators have stopped this partner.
    #[error("your administrators have suspended the exchange with {partner} until {until}")]
    Partner {
        /// Which.
        partner: NodeId,
        /// Until when.
        until: UnixMs,
    },
}
