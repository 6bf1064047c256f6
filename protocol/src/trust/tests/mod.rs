//! Trust as a function of the documents held: chains, thresholds, versions, waiting, contradictions.

mod bounds;
mod invariants;
#[path = "../../../tests/made/mod.rs"]
mod make;
mod members;
mod roots;
mod topics;

use super::*;
use crate::suspend::Way;

// The first roster of a set was installed by hand at ES-AGENCY.
fn ground(documents: &[Document]) -> Ground<'static> {
    let roster = documents.iter().find(|document| document.label() == Label::Roster).unwrap();
    let leaked = |value| Box::leak(Box::new(value));
    Ground {
        federation: leaked(make::federation()),
        me: Box::leak(Box::new(make::id("ES-AGENCY"))),
        installed: leaked(roster.hash()),
    }
}
