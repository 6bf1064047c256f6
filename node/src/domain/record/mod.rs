//! Records: what an agency holds. They exist in this crate alone and never leave it.

pub mod price;
pub mod purity;
pub mod seizure;
pub mod site;

use accord_protocol::catalogue::Kind;
use bincode::{Decode, Encode};

pub use price::{Price, Rate};
pub use purity::Purity;
pub use seizure::{Seizure, SeizureLine};
pub use site::Site;

/// What a file says in a cell: unknown, none, blank and a value are four different things.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub enum Stated<T> {
    /// Not stated.
    #[default]
    Blank,
    /// Asked, and not known.
    Unknown,
    /// There was none.
    Nothing,
    /// A value.
    Is(T),
}

impl<T> Stated<T> {
    /// The value, if one is stated.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Blank | Self::Unknown | Self::Nothing => None,
        }
    }
}

/// When something happened, as precisely as the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct When {
    /// Year.
    pub year: u16,
    /// Quarter, if that is all that is said; otherwise 0.
    pub quarter: u8,
    /// Month, or 0.
    pub month: u8,
    /// Day, or 0.
    pub day: u8,
}

/// What records of every kind have.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Common {
    /// The agency's own id, unique among its records of the kind.
    pub record_id: String,
    /// The operation, folded for comparing: what disclosure control protects.
    pub case_id: String,
    /// When it was seized, analysed, observed or dismantled.
    pub date: When,
    /// NUTS code of 2 to 5 characters, or ISO 3166-2 where the country has no NUTS.
    pub region: Stated<String>,
    /// UN/LOCODE.
    pub unlocode: Stated<String>,
    /// Which body.
    pub agency: Stated<String>,
    /// Which system the record comes from.
    pub source: String,
    /// `provisional` or `confirmed`.
    pub status: String,
}

/// One line of any kind: what is counted and added up.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Line {
    /// One drug of one seizure.
    Seizure(Box<SeizureLine>),
    /// One analysed sample.
    Purity(Box<Purity>),
    /// One observed price.
    Price(Box<Price>),
    /// One dismantled site.
    Site(Box<Site>),
}

impl Line {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Seizure(_) => Kind::Seizure,
            Self::Purity(_) => Kind::Purity,
            Self::Price(_) => Kind::Price,
            Self::Site(_) => Kind::Site,
        }
    }

    /// What it has in common with lines of every kind.
    pub const fn common(&self) -> &Common {
        match self {
            Self::Seizure(line) => &line.seizure.common,
            Self::Purity(purity) => &purity.common,
            Self::Price(price) => &price.common,
            Self::Site(site) => &site.common,
        }
    }

    /// The same, to be completed by whoever makes ids from rows.
    pub const fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Seizure(line) => &mut line.seizure.common,
            Self::Purity(purity) => &mut purity.common,
            Self::Price(price) => &mut price.common,
            Self::Site(site) => &mut site.common,
        }
    }

    /// Number of the line within its record: 1 where a record has one line.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Seizure(line) => line.line,
            Self::Purity(_) | Self::Price(_) | Self::Site(_) => 1,
        }
    }
}
