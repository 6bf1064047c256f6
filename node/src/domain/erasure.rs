//! Erasing a case: which records go, and which references to them.

use std::collections::BTreeSet;

use accord_protocol::catalogue::Kind;

use super::record::{Line, Stated};

/// The records of one case: in whatever version they belong to it, all their versions go, since an earlier one would otherwise come
/// back in the place of the erased one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasure {
    records: BTreeSet<(Kind, String)>,
}

impl Erasure {
    /// Looks at one version of a line: if it is of the case, its record is to be erased. `case` is folded.
    pub fn consider(&mut self, line: &Line, case: &str) {
        if line.common().case_id == case {
            self.records.insert((line.kind(), line.common().record_id.clone()));
        }
    }

    /// How many records go.
    pub fn records(&self) -> u64 {
        self.records.len() as u64
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records of a kind go.
    pub fn records_of(&self, kind: Kind) -> u64 {
        self.records.iter().filter(|(of, _)| *of == kind).count() as u64
    }

    /// Whether a line's record goes.
    pub fn covers(&self, line: &Line) -> bool {
        // The set is small and borrowed keys of two parts need a clone, so only lines of a kind that has some are looked up.
        self.records.contains(&(line.kind(), line.common().record_id.clone()))
    }

    /// What is left of a line: nothing, or the line without references to erased seizures.
    pub fn apply(&self, mut line: Line) -> Option<Line> {
        if self.covers(&line) {
            return None;
        }
        let is_erased = |id: &String| self.records.contains(&(Kind::Seizure, id.clone()));
        match &mut line {
            Line::Purity(purity) => purity.seizure_id = purity.seizure_id.take().filter(|id| !is_erased(id)),
            Line::Site(site) => {
                if let Stated::Is(linked) = &mut site.linked_seizures {
                    linked.retain(|id| !is_erased(id));
                }
            }
            Line::Seizure(_) | Line::Price(_) => {}
        }
        Some(line)
    }
}
