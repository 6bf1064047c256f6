//! Why there is no new edition, and what its maker is told of blocks that are not made from the records as they are.

use accord_protocol::{edition::Protection, message::Notice};

use super::{Reply, failed, notice, store_failed};
use crate::{
    domain::{
        edition::{Filled, Unfit},
        revision::VINTAGES_MAX,
    },
    io::store::StoreError,
};

// Why there is nothing to publish.
pub(super) enum NotFilled {
    Busy(Box<Reply>),
    Store(StoreError),
    Audit(Unfit),
}

impl From<StoreError> for NotFilled {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Unfit> for NotFilled {
    fn from(error: Unfit) -> Self {
        match error {
            Unfit::List(list) => Self::Store(StoreError::Read(list.to_string())),
            gone @ Unfit::Vintage { .. } => Self::Store(StoreError::Read(gone.to_string())),
            audit @ Unfit::Audit { .. } => Self::Audit(audit),
        }
    }
}

impl NotFilled {
    pub(super) fn reply(self) -> Reply {
        match self {
            Self::Busy(busy) => *busy,
            Self::Store(error) => store_failed(&error),
            Self::Audit(fault) => failed(
                3,
                "AUDIT",
                format!("the audit objects, so nothing is published: {fault}"),
                "the editions before stay as they are; tell the makers of Accord, with this message",
            ),
        }
    }
}

// What was shown without protection is known, and nothing that is audited takes it back; nor may protection be taken off.
pub(super) fn not_continued(number: u64, protection: Protection) -> Reply {
    let message =
        format!("edition {number} is {protection}: an edition of another protection does not continue from it");
    failed(
        3,
        "PROTECTION",
        message,
        "set accept_primary_only in node.toml back; or, if what was published is no secret, stop the node, move its folder `store` away, start it and import again",
    )
}

// What the operator should know of blocks that are not made from the records as they are.
pub(super) fn notices(filled: &Filled) -> Vec<Notice> {
    let kept = filled.kept.iter().map(|(kind, year, why)| {
        notice("KEPT", &format!("{kind} {year} goes on from what was published: {}", why.words()))
    });
    let corrected = filled.corrected.iter().map(|of| {
        let message = format!(
            "{} {} was made anew, as two people agreed: whoever has an edition before sees the differences",
            of.kind, of.year
        );
        notice("CORRECTED", &message)
    });
    let revised = filled.revised.iter().map(|of| {
        let last = if usize::from(of.vintage) == VINTAGES_MAX { ", the final one" } else { "" };
        let message = format!(
            "{} {} is in its vintage {} of {VINTAGES_MAX}{last}: {} lines came and {} went; {} numbers changed, {} stay as they were since their change is hidden",
            of.kind, of.year, of.vintage, of.added, of.removed, of.anew, of.stay
        );
        notice("REVISED", &message)
    });
    kept.chain(corrected).chain(revised).collect()
}

// What was withdrawn is not published again, under another number either.
pub(super) fn withdrawn_before(number: u64) -> Reply {
    let message = format!("the content equals that of edition {number}, which was withdrawn; nothing was published");
    failed(
        3,
        "WITHDRAWN",
        message,
        "correct the records or the coverage, then publish again; where nothing of the change may be seen, two people can agree on it: accord edition correct",
    )
}
