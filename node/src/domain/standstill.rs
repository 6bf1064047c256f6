//! Why a node exchanges no data for the moment, with anybody or with one member; greetings and documents go on in all cases.

use accord_protocol::{id::NodeId, time::UnixMs};

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
        "the clock of your node's machine is behind: it shows {now}, and it was {mark} already ({from}); set the clock, or have two administrators set the mark anew"
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
    /// The own administrators have stopped this partner.
    #[error("your administrators have suspended the exchange with {partner} until {until}")]
    Partner {
        /// Which.
        partner: NodeId,
        /// Until when.
        until: UnixMs,
    },
}
