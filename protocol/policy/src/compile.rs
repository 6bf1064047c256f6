//! Rows to Cedar: each row becomes policies that anybody can read, with the number of the row as its name.

use std::{collections::BTreeMap, fmt::Write};

use accord_protocol::{
    catalogue::{Catalogue, Table},
    officers::Purpose,
};

use crate::rows::{Bound, Grant, Partner, Rows, Way, axis};

/// A policy with the name under which a decision refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiled {
    pub(crate) id: String,
    pub(crate) text: String,
    /// The row, by its index.
    pub(crate) row: usize,
    /// The only tables that it can be about.
    pub(crate) tables: Vec<String>,
}

impl Way {
    /// The action that is permitted.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::AtOnce => "answer",
            Self::AfterApproval => "answerAfterApproval",
            Self::AfterTwoApprovals => "answerAfterTwoApprovals",
        }
    }
}

/// A dimension's level, as the context of a request lists it.
pub(crate) fn level_word(dimension: &str, level: &str) -> String {
    format!("{dimension}={level}")
}

/// The policies of all rows. A row that names nobody, no table or no purpose permits nothing and becomes nothing.
pub(crate) fn compile(rows: &Rows, catalogue: &Catalogue) -> Vec<Compiled> {
    let mut compiled = Vec::new();
    for (index, grant) in rows.grants.iter().enumerate() {
        if grant.partners.is_empty() || grant.tables.is_empty() || grant.purposes.is_empty() {
            continue;
        }
        let row = format!("grant-{}", grant.number);
        let tables = grant.tables.iter().filter_map(|name| catalogue.table(name));
        // Tables with the same levels within reach share a policy.
        let mut reach: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
        for table in tables {
            reach.entry(levels(grant, table)).or_default().push(&table.name);
        }
        for (part, (levels, tables)) in reach.iter().enumerate() {
            let id = if reach.len() == 1 { row.clone() } else { format!("{row}-{}", part + 1) };
            let text = permit(grant, &id, levels, tables);
            compiled.push(Compiled { id, text, row: index, tables: tables.iter().map(ToString::to_string).collect() });
        }
        let tables: Vec<&str> = grant.tables.iter().map(String::as_str).collect();
        let id = format!("{row}-discover");
        let text = format!(
            "@id({id:?})\npermit (\n  principal,\n  action == Accord::Action::\"discover\",\n  resource\n)\nwhen {{\n  {} &&\n  {} &&\n  context.now < {}\n}};\n",
            principals(grant),
            resources(&tables),
            grant.until.0,
        );
        compiled.push(Compiled { id, text, row: index, tables: grant.tables.iter().cloned().collect() });
    }
    compiled
}

// Every level that a row reaches in a table, dimension by dimension. A level that a table does not know reaches nothing there.
fn levels(grant: &Grant, table: &Table) -> Vec<String> {
    let mut words = Vec::new();
    for dimension in &table.dimensions {
        let Some(axis) = axis(table, &dimension.name) else { continue };
        let finest = match grant.finest.get(&dimension.name) {
            None => u8::MAX,
            Some(name) => match axis.level(name) {
                Some(level) => level,
                None => continue,
            },
        };
        let names = axis.level_names();
        let reached = names.iter().zip(0u8..).filter(|(_, level)| *level <= finest);
        words.extend(reached.map(|(name, _)| level_word(&dimension.name, name)));
    }
    words
}

fn permit(grant: &Grant, id: &str, levels: &[String], tables: &[&str]) -> String {
    let purposes: Vec<&str> = grant.purposes.iter().map(|purpose: &Purpose| purpose.as_str()).collect();
    let mut text = format!(
        "@id({id:?})\npermit (\n  principal,\n  action == Accord::Action::{:?},\n  resource\n)\nwhen {{\n  {} &&\n  {} &&\n  {}.contains(context.purpose) &&\n  {}.containsAll(context.levels) &&\n",
        grant.way.action(),
        principals(grant),
        resources(tables),
        strings(purposes),
        strings(levels.iter().map(String::as_str)),
    );
    if grant.needs_topic {
        lines(&mut text, "context.hasTopic");
    }
    match grant.oldest {
        Some(Bound::Month(month)) => lines(&mut text, &format!("context.firstMonth >= {month}")),
        Some(Bound::Age(age)) => lines(&mut text, &format!("context.firstMonth + {age} >= context.thisMonth")),
        None => {}
    }
    match grant.newest {
        Some(Bound::Month(month)) => lines(&mut text, &format!("context.lastMonth <= {month}")),
        // A month is so old when as many months have passed since its end.
        Some(Bound::Age(age)) => lines(&mut text, &format!("context.lastMonth + {} <= context.thisMonth", age + 1)),
        None => {}
    }
    let _ = writeln!(text, "  context.now < {}\n}};", grant.until.0);
    text
}

fn lines(text: &mut String, condition: &str) {
    let _ = writeln!(text, "  {condition} &&");
}

// Cedar holds a set to one type: members and groups stand apart.
fn principals(grant: &Grant) -> String {
    let (mut members, mut groups) = (Vec::new(), Vec::new());
    for partner in &grant.partners {
        match partner {
            Partner::Member(member) => members.push(format!("Accord::Member::{:?}", member.as_str())),
            Partner::Group(group) => groups.push(format!("Accord::Group::{group:?}")),
        }
    }
    let sets = [members, groups].into_iter().filter(|set| !set.is_empty());
    let sets: Vec<String> = sets.map(|set| format!("principal in [{}]", set.join(", "))).collect();
    if sets.len() == 1 { sets.concat() } else { format!("({})", sets.join(" || ")) }
}

fn resources(tables: &[&str]) -> String {
    let names: Vec<String> = tables.iter().map(|table| format!("Accord::Table::{table:?}")).collect();
    format!("resource in [{}]", names.join(", "))
}

fn strings<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", words.into_iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
}
