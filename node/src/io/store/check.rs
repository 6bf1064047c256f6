//! Reading everything that the store holds: each value with its checksum, each of its kind as what it is.

use super::{
    KeyKind, Store, StoreError,
    layout::{META_KEY, Meta, from_bytes},
    tables::decoded,
};
use crate::domain::{answering::Remembered, record::Line, revision::HeldLine};

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Which part of the store.
    pub part: String,
    /// What does not hold.
    pub rule: String,
}

/// Values of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The kind.
    pub kind: KeyKind,
    /// How many.
    pub values: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Flaws that are listed, at most: whoever has so many needs no more of them.
const FLAWS_MAX: usize = 100;

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Checked {
    /// What there is.
    pub holdings: Vec<Holding>,
    /// What does not hold.
    pub flaws: Vec<Flaw>,
}

impl Checked {
    /// Adds a flaw, unless there are enough.
    pub fn flaw(&mut self, part: impl Into<String>, rule: impl Into<String>) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(Flaw { part: part.into(), rule: rule.into() });
        }
    }

    fn hold<T>(&mut self, part: &str, read: Result<T, StoreError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                self.flaw(part, error.to_string());
                None
            }
        }
    }
}

impl Store {
    /// Reads everything. Commits go on meanwhile, so that counts are compared only where nothing was committed in between.
    pub fn check(&self) -> Checked {
        let mut checked = Checked::default();
        let before = self.meta(&mut checked);
        for kind in KeyKind::ALL.iter().copied().filter(|kind| *kind != KeyKind::Meta) {
            let mut holding = Holding { kind, values: 0, bytes: 0 };
            for entry in self.scan(kind) {
                // A scan that cannot go on has said why.
                let Some((key, value)) = checked.hold(kind.as_str(), entry) else { continue };
                holding.values += 1;
                holding.bytes += (key.len() + value.len()) as u64;
            }
            checked.holdings.push(holding);
        }
        let after = self.meta(&mut checked);
        if let (Some(before), Some(after)) = (before, after)
            && before.sequence == after.sequence
        {
            let found: Vec<(u8, u64)> = {
                let counted = checked.holdings.iter().filter(|holding| holding.values > 0);
                let mut counts: Vec<(u8, u64)> = counted.map(|one| (one.kind.number(), one.values)).collect();
                counts.sort_unstable();
                counts
            };
            if found != before.counts {
                checked.flaw("meta", format!("keys by kind: expected {:?}, found {found:?}", before.counts));
            }
        }
        self.check_values(&mut checked);
        checked
    }

    fn meta(&self, checked: &mut Checked) -> Option<Meta> {
        let bytes = self.value(META_KEY);
        let meta = checked.hold("meta", bytes)?.and_then(|bytes| from_bytes(&bytes));
        if meta.is_none() && self.sequence() > 0 {
            checked.flaw("meta", "the meta record is missing or does not decode");
        }
        meta
    }

    // What the values of each kind are.
    fn check_values(&self, checked: &mut Checked) {
        for entry in self.scan(KeyKind::Block) {
            checked.hold("block", entry.and_then(|(_, value)| decoded::<Vec<Line>>(&value, "a block of records")));
        }
        for entry in self.scan(KeyKind::Vintage) {
            checked
                .hold("vintage", entry.and_then(|(_, value)| decoded::<Vec<HeldLine>>(&value, "lines of a vintage")));
        }
        for entry in self.scan(KeyKind::Replay) {
            checked.hold("replay", entry.and_then(|(_, value)| decoded::<Remembered>(&value, "a reply")));
        }
        for import in self.imports() {
            let Some(import) = checked.hold("import", import) else { continue };
            checked.hold("import", self.frozen(&import.report));
        }
        for edition in self.editions() {
            let Some(edition) = checked.hold("edition", edition) else { continue };
            let Some(detail) = checked.hold("edition", self.detail(&edition)) else { continue };
            for (table, year, hash) in &detail.blocks {
                let part = format!("edition {}, table {table} of {year}", edition.number);
                checked.hold(&part, self.frozen(hash));
            }
        }
        checked.hold("agreement", self.agreements().collect::<Result<Vec<_>, _>>());
        checked.hold("erasure", self.erasures().collect::<Result<Vec<_>, _>>());
        checked.hold("withdrawn", self.all_withdrawn().collect::<Result<Vec<_>, _>>());
        checked.hold("coverage", self.declarations());
        checked.hold("rates", self.rates());
        checked.hold("contradiction", self.contradictions());
        checked.hold("greeted", self.greetings());
        checked.hold("clock-mark", self.clock_mark());
        checked.hold("held", self.all_held());
        checked.hold("sent", self.all_sent());
        checked.hold("standing", self.standing());
        checked.hold("told", self.told());
        checked.hold("untold", self.untold());
        checked.hold("settings", self.settings());
        checked.hold("log-destroyed", self.destroyed());
        checked.hold("restored", self.restored());
        checked.hold("restored", self.not_before());
    }
}
