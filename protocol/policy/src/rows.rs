//! The rows of a policy as people write them (`grants.toml`), checked against the roster and the catalogue.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use accord_protocol::{
    catalogue::{Axis, Catalogue, Table},
    id::NodeId,
    officers::Purpose,
    policy::POLICY_TEXT_MAX,
    time::{DAY_MS, Date, Period, UnixMs},
};
use serde::Deserialize;
use toml::Spanned;

use crate::{compile::level_word, engine::World, groups};

/// Rows and groups, at most.
const ROWS_MAX: usize = 256;
/// Ages of data, in months, at most: a hundred years.
const AGE_MAX: u32 = 1_200;

accord_protocol::codes! {
    /// Which text of a policy.
    pub enum Part: u8 {
        /// The rows.
        Rows = 1 "grants.toml",
        /// The hand-written part.
        Cedar = 2 "policy.cedar",
    }
}

accord_protocol::codes! {
    /// How a permitted request is answered.
    pub enum Way: u8 {
        /// At once.
        AtOnce = 1 "at-once",
        /// After one approver has said yes.
        AfterApproval = 2 "after-approval",
        /// After two approvers have said yes.
        AfterTwoApprovals = 3 "after-two-approvals",
    }
}

/// Why a policy is refused, as a whole: where, and which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}:{line}:{column}: {rule}")]
pub struct Refused {
    /// In which text.
    pub part: Part,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in words.
    pub rule: String,
}

impl Refused {
    /// At a place of a text, in bytes.
    pub(crate) fn at(part: Part, text: &str, place: usize, rule: impl Into<String>) -> Self {
        let before = text.get(..place.min(text.len())).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Self { part, line, column, rule: rule.into() }
    }
}

/// Whom a row names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Partner {
    Member(NodeId),
    Group(String),
}

/// From or up to when: a month that is named, or one that moves with the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Year times 12 plus month minus 1.
    Month(u32),
    /// So many months before the present one.
    Age(u32),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Its place, from 1.
    pub(crate) number: usize,
    pub(crate) partners: BTreeSet<Partner>,
    pub(crate) tables: BTreeSet<String>,
    /// By dimension, the finest level; a dimension that is not named is not limited.
    pub(crate) finest: BTreeMap<String, String>,
    pub(crate) oldest: Option<Bound>,
    pub(crate) newest: Option<Bound>,
    pub(crate) purposes: BTreeSet<Purpose>,
    pub(crate) way: Way,
    /// Whether only requests that stand under a topic are meant.
    pub(crate) needs_topic: bool,
    /// Until when; the moment itself is already too late.
    pub(crate) until: UnixMs,
}

/// All rows of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rows {
    pub(crate) groups: BTreeMap<String, BTreeSet<NodeId>>,
    pub(crate) grants: Vec<Grant>,
    /// Members and tables that they name and that do not exist.
    gone: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRows {
    #[serde(default)]
    group: Vec<RawGroup>,
    #[serde(default)]
    grant: Vec<RawGrant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Spanned<String>,
    members: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrant {
    partner: Vec<Spanned<String>>,
    table: Vec<Spanned<String>>,
    #[serde(default)]
    finest: BTreeMap<String, Spanned<String>>,
    oldest: Option<Spanned<String>>,
    newest: Option<Spanned<String>>,
    purpose: Vec<Spanned<String>>,
    answer: Option<Spanned<String>>,
    topic: Option<Spanned<String>>,
    until: Spanned<String>,
}

// Where in the text, and which rule.
type Broken = (Range<usize>, String);

impl Rows {
    /// Reads rows; one that names an unknown member, group, table, level or purpose refuses the whole text.
    pub(crate) fn parse(text: &str, world: World<'_>) -> Result<Self, Refused> {
        let refused = |(span, rule): Broken| Refused::at(Part::Rows, text, span.start, rule);
        if text.len() > POLICY_TEXT_MAX {
            return Err(refused((0..0, format!("longer than {POLICY_TEXT_MAX} bytes"))));
        }
        let raw: RawRows = toml::from_str(text)
            .map_err(|error| refused((error.span().unwrap_or_default(), error.message().to_owned())))?;
        if raw.group.len() > ROWS_MAX || raw.grant.len() > ROWS_MAX {
            return Err(refused((0..0, format!("more than {ROWS_MAX} rows"))));
        }
        let mut rows = Self { gone: raw.gone(world), ..Self::default() };
        for group in &raw.group {
            let (name, named) = group.check(world).map_err(refused)?;
            if rows.groups.insert(name, named).is_some() {
                return Err(refused((group.name.span(), format!("the group `{}` stands twice", group.name.get_ref()))));
            }
        }
        for (index, grant) in raw.grant.into_iter().enumerate() {
            let known = Known { world, groups: &rows.groups };
            rows.grants.push(grant.check(index + 1, &known).map_err(refused)?);
        }
        Ok(rows)
    }
}

impl Rows {
    /// What they name and does not exist. Nothing in rows that were read strictly.
    pub(crate) fn unknown(&self, catalogue: &Catalogue) -> BTreeSet<String> {
        let mut names = self.gone.clone();
        // Of tables that are all gone nobody knows the levels.
        for grant in self.grants.iter().filter(|grant| !grant.tables.is_empty()) {
            let levels = grant.finest.iter();
            let levels = levels.filter(|(dimension, level)| !is_level(&grant.tables, catalogue, dimension, level));
            names.extend(levels.map(|(dimension, level)| level_word(dimension, level)));
        }
        names
    }

    /// Whether a row names a member, by itself or in a group.
    pub(crate) fn names(&self, grant: &Grant, member: &NodeId) -> bool {
        grant.partners.iter().any(|partner| match partner {
            Partner::Member(named) => named == member,
            Partner::Group(group) if groups::STANDING.contains(&group.as_str()) => groups::of(member) == group,
            Partner::Group(group) => self.groups.get(group).is_some_and(|members| members.contains(member)),
        })
    }
}

impl RawRows {
    fn gone(&self, world: World<'_>) -> BTreeSet<String> {
        let members = self.group.iter().flat_map(|group| &group.members);
        let members = members.chain(self.grant.iter().flat_map(|grant| &grant.partner)).map(Spanned::get_ref);
        let is_gone = |name: &NodeId| !world.members.contains(name);
        let members = members.filter(|name| name.parse().is_ok_and(|member| is_gone(&member)));
        let tables = self.grant.iter().flat_map(|grant| &grant.table).map(Spanned::get_ref);
        let tables = tables.filter(|name| *name != "*" && world.catalogue.table(name).is_none());
        members.chain(tables).cloned().collect()
    }
}

impl RawGroup {
    fn check(&self, world: World<'_>) -> Result<(String, BTreeSet<NodeId>), Broken> {
        let name = self.name.get_ref();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(is_plain) {
            let rule = "the name of a group has 1 to 40 lower-case letters, digits and `-`";
            return Err((self.name.span(), rule.to_owned()));
        }
        if groups::STANDING.contains(&name.as_str()) {
            return Err((self.name.span(), format!("the group `{name}` exists anyway")));
        }
        let named = self.members.iter().map(|member| member_of(member, world)).collect::<Result<_, _>>()?;
        Ok((name.clone(), named))
    }
}

fn member_of(name: &Spanned<String>, world: World<'_>) -> Result<NodeId, Broken> {
    let member: NodeId = name.get_ref().parse().map_err(|error| (name.span(), format!("{error}")))?;
    if world.members.contains(&member) || !world.strict {
        Ok(member)
    } else {
        Err((name.span(), format!("`{member}` is not on the roster")))
    }
}

// What a row may name.
struct Known<'a> {
    world: World<'a>,
    groups: &'a BTreeMap<String, BTreeSet<NodeId>>,
}

impl RawGrant {
    fn check(self, number: usize, known: &Known<'_>) -> Result<Grant, Broken> {
        let partners = self.partner.iter().map(|name| partner(name, known)).collect::<Result<_, _>>()?;
        let (strict, catalogue) = (known.world.strict, known.world.catalogue);
        let tables = tables(&self.table, known.world)?;
        let finest = self.finest.into_iter().map(|(dimension, level)| {
            if !strict || is_level(&tables, catalogue, &dimension, level.get_ref()) {
                Ok((dimension, level.into_inner()))
            } else {
                let rule =
                    format!("none of the tables has a dimension `{dimension}` with a level `{}`", level.get_ref());
                Err((level.span(), rule))
            }
        });
        let finest = finest.collect::<Result<_, _>>()?;
        let purposes = self.purpose.iter().map(|word| {
            Purpose::from_word(word.get_ref()).ok_or_else(|| {
                let known: Vec<&str> = Purpose::ALL.iter().map(|purpose| purpose.as_str()).collect();
                (word.span(), format!("`{}` is not a purpose: {}", word.get_ref(), known.join(", ")))
            })
        });
        let purposes = purposes.collect::<Result<_, _>>()?;
        let way = self.answer.map_or(Ok(Way::AtOnce), |word| {
            Way::from_word(word.get_ref()).ok_or_else(|| {
                let known: Vec<&str> = Way::ALL.iter().map(|way| way.as_str()).collect();
                (word.span(), format!("`{}` is no way to answer: {}", word.get_ref(), known.join(", ")))
            })
        })?;
        let needs_topic = self.topic.map_or(Ok(false), |word| match word.get_ref().as_str() {
            "required" => Ok(true),
            "not-required" => Ok(false),
            other => Err((word.span(), format!("`{other}` is not said of topics: required, not-required"))),
        })?;
        let (oldest, newest) = (bound(self.oldest.as_ref(), false)?, bound(self.newest.as_ref(), true)?);
        let until: Date =
            self.until.get_ref().parse().map_err(|error| (self.until.span(), format!("until: {error}")))?;
        let until = UnixMs(u64::try_from(until.to_days()).map_or(0, |days| days * DAY_MS));
        Ok(Grant { number, partners, tables, finest, oldest, newest, purposes, way, needs_topic, until })
    }
}

fn partner(name: &Spanned<String>, known: &Known<'_>) -> Result<Partner, Broken> {
    let Some(group) = name.get_ref().strip_prefix('@') else {
        return Ok(Partner::Member(member_of(name, known.world)?));
    };
    if known.groups.contains_key(group) || groups::STANDING.contains(&group) {
        return Ok(Partner::Group(group.to_owned()));
    }
    let all: Vec<String> = groups::STANDING
        .iter()
        .copied()
        .chain(known.groups.keys().map(String::as_str))
        .map(|name| format!("@{name}"))
        .collect();
    Err((name.span(), format!("there is no group `@{group}`: {}", all.join(", "))))
}

fn tables(names: &[Spanned<String>], world: World<'_>) -> Result<BTreeSet<String>, Broken> {
    let catalogue = world.catalogue;
    let mut tables = BTreeSet::new();
    for name in names {
        if name.get_ref() == "*" {
            tables.extend(catalogue.tables().iter().map(|table| table.name.clone()));
        } else if catalogue.table(name.get_ref()).is_some() {
            tables.insert(name.get_ref().clone());
        } else if world.strict {
            return Err((name.span(), format!("the catalogue has no table `{}`", name.get_ref())));
        }
    }
    Ok(tables)
}

// Whether one of these tables at least has a dimension with such a level.
fn is_level(tables: &BTreeSet<String>, catalogue: &Catalogue, dimension: &str, level: &str) -> bool {
    let mut of = tables.iter().filter_map(|name| catalogue.table(name));
    of.any(|table| axis(table, dimension).is_some_and(|axis| axis.level(level).is_some()))
}

/// The axis of a dimension, whatever the country.
pub(crate) fn axis(table: &Table, dimension: &str) -> Option<Axis> {
    table.dimension(dimension).and_then(|index| table.axes("").ok()?.into_iter().nth(index))
}

// `2015`, `2015-Q2`, `2015-04`, or `12 months` before the present one.
fn bound(text: Option<&Spanned<String>>, last: bool) -> Result<Option<Bound>, Broken> {
    let Some(text) = text else { return Ok(None) };
    let broken = || (text.span(), "neither a period such as 2015 or 2015-Q2, nor an age such as 12 months".to_owned());
    if let Some(age) = text.get_ref().strip_suffix(" months").or_else(|| text.get_ref().strip_suffix(" month")) {
        let age: u32 = age.parse().ok().filter(|age| *age <= AGE_MAX).ok_or_else(broken)?;
        return Ok(Some(Bound::Age(age)));
    }
    let period: Period = text.get_ref().parse().map_err(|_| broken())?;
    let (first, end) = period.months();
    let (year, month) = if last { end } else { first };
    Ok(Some(Bound::Month(u32::from(year) * 12 + u32::from(month) - 1)))
}
