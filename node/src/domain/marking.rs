//! How this agency marks what it answers: the settings that every answer's handling follows from.

use accord_protocol::{
    codec::Bounded,
    edition::EditionHeader,
    handling::{Handling, HandlingCodes, Tlp},
    id::NodeId,
    time::{DAY_MS, UnixMs},
};

/// What the operator has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking {
    /// Handling codes.
    pub code: HandlingCodes,
    /// Traffic light.
    pub tlp: Tlp,
    /// Who may receive answers besides the asker.
    pub recipients: Bounded<NodeId, 64>,
    /// Days after its publication during which nothing of an edition may be published.
    pub embargo_days: u16,
}

impl Marking {
    /// How answers from an edition must be handled; the same for all of them, since the embargo begins with the edition.
    pub fn of(&self, edition: &EditionHeader) -> Handling {
        let embargo_until = match self.embargo_days {
            0 => UnixMs(0),
            days => edition.published_at.plus(u64::from(days) * DAY_MS),
        };
        Handling { embargo_until, ..self.without_edition() }
    }

    /// The same without anything to begin with.
    pub fn without_edition(&self) -> Handling {
        Handling { code: self.code, tlp: self.tlp, embargo_until: UnixMs(0), recipients: self.recipients.clone() }
    }
}
