//! A suspension: what one administrator stops at once, and two allow again (`trust.md` 2.3, 2.4).

use bincode::{Decode, Encode};

use crate::{
    codec::{Cap, Text},
    id::{Hash, NodeId},
    key::PublicKey,
    member_keys::{MemberKeys, VALIDITY_MAX_MS},
    signed::{Document, FederationId, Label, NotVerified, Preamble, Signable, Verified},
    time::{DAY_MS, UnixMs},
};

/// Longest suspension: what lasts longer belongs into the list or the keys.
pub const SUSPENDED_MAX_MS: u64 = 30 * DAY_MS;

crate::codes! {
    /// What is suspended.
    pub enum Target: u8 {
        /// An officer, by the SHA-256 of the card.
        Officer = 1 "officer",
        /// A partner: it is answered nothing. Local, never sent.
        Partner = 2 "partner",
        /// An own table: nobody is answered from it. Local, never sent.
        Table = 3 "table",
        /// An own key of the node: it counts for nothing.
        Key = 4 "key",
        /// The own node: it answers and asks nobody. Local, never sent.
        Node = 5 "node",
        /// The stop of a node whose clock runs behind what others have said; it is only ever lifted. Local, never sent.
        Clock = 6 "clock",
        /// An own topic, by the SHA-256 of the signed topic: no request stands under it any more.
        Topic = 7 "topic",
        /// The stop of the exchange with a member, or of the own node, whose audit log shows another past than it did: by what names that
        /// fork. It is only ever lifted. Local, never sent.
        Fork = 8 "fork",
    }
}

crate::codes! {
    /// Which way it goes.
    pub enum Way: u8 {
        /// Stops; one administrator is enough.
        Stops = 1 "suspended",
        /// Allows again; needs as many administrators as widen anything.
        Lifts = 2 "lifted",
    }
}

/// A suspension, or its lifting. Of several about one subject the latest counts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Suspend {
    /// Protocol and kind.
    pub preamble: Preamble<8>,
    /// The federation.
    pub federation: FederationId,
    /// The member whose administrators say so, about what is their own.
    pub node_id: NodeId,
    /// Stop or allow.
    pub way: Way,
    /// What kind of thing.
    pub target: Target,
    /// Which: hex of a card's hash, of a key, of a topic's hash or of what names a fork, a member's name, a table's name.
    pub subject: Text<64>,
    /// Why, for people.
    pub reason: Text<120>,
    /// From when.
    pub issued_at: UnixMs,
    /// From when on no longer, at most 30 days later, for a topic 400.
    pub until: UnixMs,
}

impl Suspend {
    /// The card that is suspended, by its hash.
    pub fn card(&self) -> Option<Hash> {
        if self.target == Target::Officer { self.subject.as_str().parse().ok() } else { None }
    }

    /// The key that is suspended.
    pub fn key(&self) -> Option<PublicKey> {
        if self.target == Target::Key { self.subject.as_str().parse().ok() } else { None }
    }

    /// The topic that is ended, by its hash.
    pub fn topic(&self) -> Option<Hash> {
        if self.target == Target::Topic { self.subject.as_str().parse().ok() } else { None }
    }

    /// The fork that is accepted, by what names it.
    pub fn fork(&self) -> Option<Hash> {
        if self.target == Target::Fork { self.subject.as_str().parse().ok() } else { None }
    }

    /// Whether partners need to know it. A partner learns neither that it nor that a table is suspended.
    pub const fn travels(&self) -> bool {
        match self.target {
            Target::Officer | Target::Key | Target::Topic => true,
            Target::Partner | Target::Table | Target::Node | Target::Clock | Target::Fork => false,
        }
    }
}

impl Signable for Suspend {
    const LABEL: Label = Label::Suspend;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        // A topic stands on no list that it could be taken off: it is ended for as long as it may last.
        let longest = if self.target == Target::Topic { VALIDITY_MAX_MS } else { SUSPENDED_MAX_MS };
        if self.issued_at >= self.until || self.until.0 - self.issued_at.0 > longest {
            return Err("a suspension lasts between 0 and 30 days, that of a topic up to 400");
        }
        let sound = match self.target {
            Target::Officer => self.card().is_some(),
            Target::Key => self.key().is_some(),
            // What was ended is not taken up again: another topic is signed.
            Target::Topic => self.topic().is_some() && self.way == Way::Stops,
            Target::Partner => self.subject.as_str().parse::<NodeId>().is_ok(),
            Target::Table => !self.subject.as_str().is_empty(),
            Target::Node => self.subject.as_str() == self.node_id.as_str(),
            Target::Clock => self.subject.as_str() == self.node_id.as_str() && self.way == Way::Lifts,
            Target::Fork => self.fork().is_some() && self.way == Way::Lifts,
        };
        if sound { Ok(()) } else { Err("the subject is not of the kind that it claims") }
    }
}

/// Believes a suspension: one administrator of that member has signed it, or as many as widen anything if it lifts one.
pub fn verify(
    document: &Document,
    federation: &FederationId,
    keys: &MemberKeys,
) -> Result<Verified<Suspend>, NotVerified> {
    let claimed: Suspend = document.unverified()?;
    if claimed.federation != *federation || claimed.node_id != keys.node_id {
        return Err(NotVerified::Rule("the suspension is of another member or federation"));
    }
    let need = match claimed.way {
        Way::Stops => 1,
        Way::Lifts => usize::from(keys.admin_threshold),
    };
    document.verify(federation, keys.admin_keys.as_slice(), need, &[])
}
