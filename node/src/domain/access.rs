//! Who may receive what: rows that people write, denied unless permitted.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    catalogue::{Catalogue, Table},
    id::NodeId,
    officers::Purpose,
    time::{DAY_MS, Date, UnixMs},
};
use serde::Deserialize;

/// All grants of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    grants: Vec<Grant>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    partners: BTreeSet<NodeId>,
    tables: BTreeSet<String>,
    finest: BTreeMap<String, String>,
    purposes: BTreeSet<Purpose>,
    /// Until when; the moment itself is already too late.
    until: UnixMs,
}

/// Why a text is not a list of grants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantsError {
    /// Not TOML of the expected form; the message names line and column.
    #[error("{0}")]
    Syntax(String),
    /// A row names something that does not exist.
    #[error("grant {row}: {rule}")]
    Rule {
        /// Number of the row, from 1.
        row: usize,
        /// What is wrong.
        rule: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrants {
    #[serde(default)]
    grant: Vec<RawGrant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrant {
    partner: Vec<String>,
    table: Vec<String>,
    #[serde(default)]
    finest: BTreeMap<String, String>,
    purpose: Vec<String>,
    until: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// The asking member.
    pub principal: &'a NodeId,
    /// The table.
    pub table: &'a Table,
    /// Level of each dimension.
    pub levels: &'a [u8],
    /// Why.
    pub purpose: Purpose,
}

/// A decision; deny is what remains. The reason is for the log, not for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing permits it.
    Deny(DenyReason),
    /// A grant permits it.
    Permit,
}

accord_protocol::codes! {
    /// Why access is denied.
    pub enum DenyReason: u8 {
        /// No grant names this partner and table.
        NoGrant = 1 "no grant",
        /// Grants exist, but for coarser levels.
        TooFine = 2 "finer than granted",
        /// Grants exist, but for other purposes.
        Purpose = 3 "not for this purpose",
        /// The grant has run out.
        Expired = 4 "grant expired",
    }
}

impl Grants {
    /// Reads grants; a row that names an unknown member, table, level or purpose refuses the whole file.
    pub fn parse(text: &str, catalogue: &Catalogue, is_member: impl Fn(&NodeId) -> bool) -> Result<Self, GrantsError> {
        let raw: RawGrants = toml::from_str(text).map_err(|error| GrantsError::Syntax(error.to_string()))?;
        let mut grants = Vec::new();
        for (index, row) in raw.grant.into_iter().enumerate() {
            grants.push(row.check(catalogue, &is_member).map_err(|rule| GrantsError::Rule { row: index + 1, rule })?);
        }
        Ok(Self { grants })
    }

    /// Whether a member may receive anything at all.
    pub fn anything(&self, member: &NodeId, catalogue: &Catalogue, now: UnixMs) -> bool {
        catalogue.tables().iter().any(|table| self.discoverable(member, &table.name, now))
    }

    /// Decides one request.
    pub fn decide(&self, request: AccessRequest<'_>, now: UnixMs) -> Decision {
        let mut closest = DenyReason::NoGrant;
        for grant in &self.grants {
            if !grant.partners.contains(request.principal) || !grant.tables.contains(&request.table.name) {
                continue;
            }
            let deny = if now >= grant.until {
                DenyReason::Expired
            } else if !grant.purposes.contains(&request.purpose) {
                DenyReason::Purpose
            } else if grant.is_coarser(request.table, request.levels) {
                DenyReason::TooFine
            } else {
                return Decision::Permit;
            };
            closest = deny;
        }
        Decision::Deny(closest)
    }

    /// Whether a member may receive anything of a table at all, at any level and for any purpose: then its grid is no secret.
    pub fn discoverable(&self, principal: &NodeId, table: &str, now: UnixMs) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.partners.contains(principal) && grant.tables.contains(table) && now < grant.until)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }
}

impl Grant {
    fn is_coarser(&self, table: &Table, levels: &[u8]) -> bool {
        let Ok(axes) = table.axes("") else { return true };
        table.dimensions.iter().zip(&axes).zip(levels).any(|((dimension, axis), level)| {
            match self.finest.get(&dimension.name) {
                None => false,
                // A level that this table does not know limits it to nothing: deny what is not understood.
                Some(name) => axis.level(name).is_none_or(|finest| *level > finest),
            }
        })
    }
}

impl RawGrant {
    fn check(self, catalogue: &Catalogue, is_member: &impl Fn(&NodeId) -> bool) -> Result<Grant, String> {
        let mut partners = BTreeSet::new();
        for name in &self.partner {
            let partner: NodeId = name.parse().map_err(|error| format!("{error}"))?;
            if !is_member(&partner) {
                return Err(format!("`{partner}` is not on the roster"));
            }
            partners.insert(partner);
        }
        let mut tables = BTreeSet::new();
        for name in &self.table {
            let table = catalogue.table(name).ok_or_else(|| format!("the catalogue has no table `{name}`"))?;
            tables.insert(table.name.clone());
        }
        for (dimension, level) in &self.finest {
            let known = tables.iter().filter_map(|name| catalogue.table(name)).any(|table| {
                let axis = table.dimension(dimension).and_then(|index| table.axes("").ok()?.into_iter().nth(index));
                axis.is_some_and(|axis| axis.level(level).is_some())
            });
            if !known {
                return Err(format!("none of the tables has a dimension `{dimension}` with a level `{level}`"));
            }
        }
        let purposes = self
            .purpose
            .iter()
            .map(|word| Purpose::from_word(word).ok_or_else(|| format!("`{word}` is not a purpose")))
            .collect::<Result<BTreeSet<_>, _>>()?;
        let until: Date = self.until.parse().map_err(|error| format!("until: {error}"))?;
        let until = u64::try_from(until.to_days()).map_or(0, |days| days * DAY_MS);
        Ok(Grant { partners, tables, finest: self.finest, purposes, until: UnixMs(until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use accord_protocol::catalogue::SHIPPED;
    use expect_test::expect;

    const ROWS: &str = r#"
        [[grant]]
        partner = ["IT-AGENCY"]
        table = ["seizures-year-drug"]
        finest = { time = "quarter", drug = "substance" }
        purpose = ["strategic-analysis"]
        until = "2027-01-01"
    "#;

    fn parse(text: &str) -> Result<Grants, GrantsError> {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        Grants::parse(text, &catalogue, |member| ["IT-AGENCY", "AT-AGENCY"].contains(&member.as_str()))
    }

    #[test]
    fn the_whole_access_table() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let grants = parse(ROWS).unwrap();
        let mut shown = String::new();
        for (who, table, levels, purpose, at) in [
            ("IT-AGENCY", "seizures-year-drug", [0, 1], "strategic-analysis", "2026-11-24T00:00:00Z"),
            ("IT-AGENCY", "seizures-year-drug", [1, 2], "strategic-analysis", "2026-11-24T00:00:00Z"),
            ("IT-AGENCY", "seizures-year-drug", [2, 1], "strategic-analysis", "2026-11-24T00:00:00Z"),
            ("IT-AGENCY", "seizures-year-drug", [0, 3], "strategic-analysis", "2026-11-24T00:00:00Z"),
            ("IT-AGENCY", "seizures-year-drug", [0, 1], "early-warning", "2026-11-24T00:00:00Z"),
            ("IT-AGENCY", "seizures-year-drug", [0, 1], "strategic-analysis", "2026-12-31T23:59:59Z"),
            ("IT-AGENCY", "seizures-year-drug", [0, 1], "strategic-analysis", "2027-01-01T00:00:00Z"),
            ("AT-AGENCY", "seizures-year-drug", [0, 1], "strategic-analysis", "2026-11-24T00:00:00Z"),
            ("IT-AGENCY", "cases-year-drug-pair", [0, 0], "strategic-analysis", "2026-11-24T00:00:00Z"),
        ] {
            let request = AccessRequest {
                principal: &who.parse().unwrap(),
                table: catalogue.table(table).unwrap(),
                levels: &levels,
                purpose: Purpose::from_word(purpose).unwrap(),
            };
            let decision = match grants.decide(request, at.parse().unwrap()) {
                Decision::Permit => "permit".to_owned(),
                Decision::Deny(reason) => format!("deny: {reason}"),
            };
            shown += &format!("{who} {table} {levels:?} {purpose} @{at}: {decision}\n");
        }
        expect![[r#"
            IT-AGENCY seizures-year-drug [0, 1] strategic-analysis @2026-11-24T00:00:00Z: permit
            IT-AGENCY seizures-year-drug [1, 2] strategic-analysis @2026-11-24T00:00:00Z: permit
            IT-AGENCY seizures-year-drug [2, 1] strategic-analysis @2026-11-24T00:00:00Z: deny: finer than granted
            IT-AGENCY seizures-year-drug [0, 3] strategic-analysis @2026-11-24T00:00:00Z: deny: finer than granted
            IT-AGENCY seizures-year-drug [0, 1] early-warning @2026-11-24T00:00:00Z: deny: not for this purpose
            IT-AGENCY seizures-year-drug [0, 1] strategic-analysis @2026-12-31T23:59:59Z: permit
            IT-AGENCY seizures-year-drug [0, 1] strategic-analysis @2027-01-01T00:00:00Z: deny: grant expired
            AT-AGENCY seizures-year-drug [0, 1] strategic-analysis @2026-11-24T00:00:00Z: deny: no grant
            IT-AGENCY cases-year-drug-pair [0, 0] strategic-analysis @2026-11-24T00:00:00Z: deny: no grant
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_row_that_names_something_unknown_refuses_the_file() {
        for (from, to, want) in [
            ("IT-AGENCY", "FR-AGENCY", "grant 1: `FR-AGENCY` is not on the roster"),
            ("seizures-year-drug", "seizures", "no table `seizures`"),
            ("quarter", "week", "no"),
            ("strategic-analysis", "curiosity", "is not a purpose"),
            ("2027-01-01", "2027", "until"),
            ("purpose", "porpoise", "porpoise"),
        ] {
            let error = parse(&ROWS.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        assert!(parse("").unwrap().is_empty());
    }
}
