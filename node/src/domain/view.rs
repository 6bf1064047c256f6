//! What one partner may see, computed from the policy and the edition that answers; nothing of any record.

use std::collections::BTreeSet;

use accord_policy::{AGES, Reach, Way};
use accord_protocol::{
    catalogue::{Catalogue, Kind, Table},
    codec::{Bounded, Text},
    consent::PublicCell,
    edition::EditionHeader,
    id::{Hash, NodeId},
    signed::Preamble,
    time::UnixMs,
    view::{View, ViewEdition, ViewFootnote, ViewRow, ViewRules, ViewTable},
};

use super::{
    access::Access,
    bucket::Rate,
    disclosure::{Rules, Zeros},
    marking::Marking,
};

/// What a provider shows from.
#[derive(Debug, Clone, Copy)]
pub struct Showing<'a> {
    /// The provider.
    pub me: &'a NodeId,
    /// The policy in force.
    pub access: &'a Access,
    /// The catalogue of the edition that answers; without one that in force.
    pub catalogue: &'a Catalogue,
    /// Numbers of tables that are stopped.
    pub stopped: &'a [u16],
    /// What is said to whom nothing is shown: the catalogue in force, and the rules that new editions are protected by.
    pub otherwise: (Hash, &'a Rules),
    /// The edition that answers.
    pub edition: Option<&'a EditionHeader>,
    /// The rules that it was protected by.
    pub rules: &'a Rules,
    /// How answers are marked.
    pub marking: &'a Marking,
    /// How much one officer may ask.
    pub rate: Rate,
    /// Whom to call.
    pub contact: &'a Text<200>,
    /// Numbers that the edition shows because they are public anyway, with where.
    pub waived: &'a [(PublicCell, String)],
}

/// Why nothing can be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// The policy cannot be evaluated.
    #[error("the policy cannot be evaluated: {0}")]
    Policy(String),
    /// More tables or levels than a view has room for.
    #[error("more is permitted than one view has room for")]
    TooMuch,
}

impl Showing<'_> {
    /// What a partner may see. `note` is what the provider says of a table by its name. A partner that may not discover anything gets
    /// a view without tables, and without anything that says whether there are any.
    ///
    /// # Errors
    /// A policy that cannot be evaluated, or one that permits more than there is room for.
    pub fn to(&self, audience: &NodeId, note: impl Fn(&str) -> Text<400>, now: UnixMs) -> Result<View, NotShown> {
        let mut tables = Vec::new();
        let mut kinds = BTreeSet::new();
        for table in self.catalogue.tables().iter().filter(|table| !self.stopped.contains(&table.id)) {
            let reach = self.access.reach(audience, table, now).map_err(NotShown::Policy)?;
            if !reach.is_empty() {
                kinds.insert(table.kind);
                tables.push(shown(table, &reach, note(&table.name)).ok_or(NotShown::TooMuch)?);
            }
        }
        tables.sort_by_key(|table| table.table_id);
        let handling = match self.edition.filter(|_| !tables.is_empty()) {
            Some(header) => self.marking.of(header),
            None => self.marking.without_edition(),
        };
        let edition = self.edition.filter(|_| !tables.is_empty()).map(|header| ViewEdition {
            number: header.number,
            commit: header.commit,
            as_of: header.as_of,
            published_at: header.published_at,
        });
        let covered = |kind: &Kind| kinds.contains(kind);
        let coverage = self
            .edition
            .map_or_else(Vec::new, |header| header.coverage.iter().filter(|row| covered(&row.kind)).copied().collect());
        let footnotes = self.footnotes(&tables);
        let (catalogue_hash, rules) =
            if tables.is_empty() { self.otherwise } else { (self.catalogue.hash, self.rules) };
        Ok(View {
            preamble: Preamble,
            provider: self.me.clone(),
            audience: audience.clone(),
            catalogue_hash,
            edition: Bounded::new(edition.into_iter().collect()).ok_or(NotShown::TooMuch)?,
            coverage: Bounded::new(coverage).ok_or(NotShown::TooMuch)?,
            rules: ViewRules {
                k: rules.k(),
                p_percent: rules.p_percent(),
                dominance_percent: rules.dominance_percent(),
                zeros_shown: rules.zeros() == Zeros::Shown,
            },
            handling,
            burst: self.rate.burst,
            per_minute: self.rate.per_minute,
            contact: self.contact.clone(),
            ages: Bounded::new(AGES.to_vec()).ok_or(NotShown::TooMuch)?,
            tables: Bounded::new(tables).ok_or(NotShown::TooMuch)?,
            footnotes,
        })
    }

    // Only of tables and levels that are shown: where another number is public is nobody's business here. The last ones, if there are
    // too many.
    fn footnotes(&self, tables: &[ViewTable]) -> Bounded<ViewFootnote, 512> {
        let is_shown = |cell: &PublicCell| {
            let table = tables.iter().find(|table| table.table_id == cell.table_id);
            let sets = self.catalogue.table_by_id(cell.table_id).map(Table::level_sets).unwrap_or_default();
            let set = sets.iter().position(|set| set.levels == cell.levels.as_slice());
            let index = set.and_then(|set| u16::try_from(set).ok());
            table.zip(index).is_some_and(|(table, index)| {
                table.rows.iter().any(|row| row.levels.as_slice().binary_search(&index).is_ok())
            })
        };
        let of = |(cell, source): &(PublicCell, String)| {
            let source: String =
                source.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
            Some(ViewFootnote {
                table_id: cell.table_id,
                levels: cell.levels.clone(),
                codes: cell.codes.clone(),
                source: Text::new(source.get(..200).unwrap_or(&source))?,
            })
        };
        let mut all: Vec<_> = self.waived.iter().filter(|(cell, _)| is_shown(cell)).filter_map(of).collect();
        let over = all.len().saturating_sub(512);
        Bounded::new(all.split_off(over)).unwrap_or_default()
    }
}

fn shown(table: &Table, reach: &[Reach], note: Text<400>) -> Option<ViewTable> {
    let sets = table.level_sets();
    let index = |levels: &Vec<u8>| {
        sets.iter().position(|set| set.levels == *levels).and_then(|index| u16::try_from(index).ok())
    };
    let row = |reach: &Reach| {
        Some(ViewRow {
            purpose: reach.purpose,
            under: reach.under,
            ways: Bounded::new(reach.ways.iter().map(|way| way.map_or(0, Way::number)).collect())?,
            levels: Bounded::sorted(reach.levels.iter().map(index).collect::<Option<_>>()?)?,
        })
    };
    let rows = reach.iter().map(row).collect::<Option<_>>()?;
    Some(ViewTable { table_id: table.id, table_version: table.version, note, rows: Bounded::new(rows)? })
}
