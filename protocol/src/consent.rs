//! What two people of an agency agree on about its editions: to put an error right, or to show a number that is public anyway.
//!
//! Such a document never leaves the node. It says exactly what was seen: the edition that it changes, and SHA-256 of what becomes of it.

use bincode::{Decode, Encode};

use crate::{
    catalogue::Kind,
    codec::{Bounded, Cap},
    id::{Hash, NodeId},
    signed::{FederationId, Label, Preamble, Signable},
    text::is_note,
    time::UnixMs,
};

/// How many people must agree.
pub const AGREE_MIN: usize = 2;

crate::codes! {
    /// What is agreed on.
    pub enum Matter: u8 {
        /// Years are made anew from the records, and the editions that had them are withdrawn.
        Correct = 1 "correct",
        /// A number of a published year is shown, because it is public anyway.
        Waive = 2 "waive",
    }
}

/// A number of a cell, by its place among those of all measures of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PublicNumber {
    /// Its place in the cell.
    pub within: u16,
    /// What it says: if the records come to say something else, that is no public number.
    pub value: u64,
}

/// Numbers of one cell that are public anyway.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PublicCell {
    /// The table.
    pub table_id: u16,
    /// Level of each dimension.
    pub levels: Bounded<u8, 8>,
    /// Code of each dimension; the first is the period.
    pub codes: Bounded<u32, 8>,
    /// The numbers.
    pub numbers: Bounded<PublicNumber, 8>,
}

/// What two people agree on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Consent {
    /// Protocol and kind.
    pub preamble: Preamble<25>,
    /// The federation.
    pub federation: FederationId,
    /// Whose editions.
    pub member: NodeId,
    /// The latest edition when it was proposed.
    pub edition: u64,
    /// What is to be done.
    pub matter: Matter,
    /// The kind of record.
    pub kind: Kind,
    /// The first year.
    pub from_year: u16,
    /// The last year.
    pub to_year: u16,
    /// The cell that is waived; none if years are corrected.
    pub cell: Bounded<PublicCell, 1>,
    /// SHA-256 of the difference as it was shown, in compact JSON.
    pub difference: Hash,
    /// The reason, or the public source; UTF-8.
    pub reason: Bounded<u8, 800>,
    /// When it was proposed, in node time.
    pub at: UnixMs,
}

impl Consent {
    /// The reason, or the public source.
    pub fn reason(&self) -> &str {
        std::str::from_utf8(self.reason.as_slice()).unwrap_or("")
    }

    /// The number of years.
    pub fn years(&self) -> std::ops::RangeInclusive<u16> {
        self.from_year..=self.to_year
    }
}

impl Signable for Consent {
    const LABEL: Label = Label::Proposal;
    const CAP: Cap = Cap::Small;
    fn check(&self) -> Result<(), &'static str> {
        if self.edition == 0 {
            return Err("editions are numbered from 1");
        }
        if self.from_year > self.to_year {
            return Err("the years end before they begin");
        }
        if !is_note(self.reason()) {
            return Err("a reason has 3 to 200 visible characters on one line");
        }
        match (self.matter, self.cell.as_slice()) {
            (Matter::Correct, []) => Ok(()),
            (Matter::Waive, [cell]) => {
                let same_lengths = cell.levels.as_slice().len() == cell.codes.as_slice().len();
                if !same_lengths || cell.numbers.as_slice().is_empty() || self.from_year != self.to_year {
                    return Err("a waiver names one cell of one year, and numbers of it");
                }
                Ok(())
            }
            (Matter::Correct | Matter::Waive, _) => Err("a waiver names one cell, a correction none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed::Document;

    fn consent(matter: Matter, cells: Vec<PublicCell>, years: (u16, u16), reason: &str) -> Consent {
        Consent {
            preamble: Preamble,
            federation: Hash([1; 32]),
            member: "ES-AGENCY".parse().unwrap(),
            edition: 3,
            matter,
            kind: Kind::Seizure,
            from_year: years.0,
            to_year: years.1,
            cell: Bounded::new(cells).unwrap(),
            difference: Hash([2; 32]),
            reason: Bounded::new(reason.as_bytes().to_vec()).unwrap(),
            at: UnixMs(1),
        }
    }

    fn cell(codes: usize, numbers: usize) -> PublicCell {
        PublicCell {
            table_id: 1,
            levels: Bounded::new(vec![0; 2]).unwrap(),
            codes: Bounded::new(vec![7; codes]).unwrap(),
            numbers: Bounded::new(vec![PublicNumber { within: 0, value: 3 }; numbers]).unwrap(),
        }
    }

    #[test]
    fn a_consent_says_one_thing() {
        use Matter::{Correct, Waive};
        let year = (2024, 2024);
        let table = [
            (consent(Correct, vec![], (2020, 2024), "grams were read as kilograms"), true),
            (consent(Correct, vec![], (2024, 2020), "grams were read as kilograms"), false),
            (consent(Correct, vec![cell(2, 1)], year, "grams were read as kilograms"), false),
            (consent(Waive, vec![cell(2, 2)], year, "výroční zpráva 2024"), true),
            (consent(Waive, vec![], year, "annual report 2024"), false),
            (consent(Waive, vec![cell(3, 1)], year, "annual report 2024"), false),
            (consent(Waive, vec![cell(2, 0)], year, "annual report 2024"), false),
            (consent(Waive, vec![cell(2, 1)], (2023, 2024), "annual report 2024"), false),
            (consent(Correct, vec![], year, "no"), false),
            (consent(Correct, vec![], year, "two\nlines"), false),
        ];
        for (consent, holds) in table {
            assert_eq!(consent.check().is_ok(), holds, "{consent:?}");
            if holds {
                let document = Document::new(&consent).unwrap();
                assert_eq!(document.unverified::<Consent>().unwrap(), consent);
            }
        }
    }
}
