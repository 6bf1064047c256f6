//! Why a row does not permit something: for the provider's people, who wrote it. The decision itself is Cedar's.

use accord_protocol::catalogue::Table;

use crate::{
    engine::{Ask, Policy},
    rows::{Bound, Grant, axis},
};

/// What a row says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The row's place, from 1.
    pub row: usize,
    /// What of the request the row does not cover, in words; nothing if it permits it.
    pub lacks: Vec<String>,
}

impl Policy {
    /// What each row says to a request, the closest first.
    pub fn explain(&self, ask: Ask<'_>) -> Vec<Verdict> {
        let all = self.grants().iter().map(|grant| Verdict { row: grant.number, lacks: self.lacks(grant, ask) });
        let mut all: Vec<Verdict> = all.collect();
        all.sort_by_key(|verdict| (verdict.lacks.len(), verdict.row));
        all
    }

    fn lacks(&self, grant: &Grant, ask: Ask<'_>) -> Vec<String> {
        let mut lacks = Vec::new();
        if !self.written_rows().names(grant, ask.member) {
            lacks.push(format!("it does not name {}", ask.member));
        }
        if !grant.tables.contains(&ask.table.name) {
            lacks.push(format!("it does not name {}", ask.table.name));
        }
        if !grant.purposes.contains(&ask.purpose) {
            lacks.push(format!("it is not for {}", ask.purpose));
        }
        if grant.needs_topic && !ask.topic {
            lacks.push("it needs a topic".to_owned());
        }
        lacks.extend(too_fine(grant, ask.table, ask.levels));
        let today = ask.now.date();
        let this = u32::from(today.year()) * 12 + u32::from(today.month()) - 1;
        let (first, last) = ask.months.indexes();
        match grant.oldest {
            Some(Bound::Month(month)) if first < month => lacks.push(format!("it begins with {}", month_words(month))),
            Some(Bound::Age(age)) if first + age < this => lacks.push(format!("it reaches back {age} months")),
            _ => {}
        }
        match grant.newest {
            Some(Bound::Month(month)) if last > month => lacks.push(format!("it ends with {}", month_words(month))),
            Some(Bound::Age(age)) if last + age + 1 > this => {
                lacks.push(format!("it needs periods that ended {age} months ago or earlier"));
            }
            _ => {}
        }
        if ask.now >= grant.until {
            lacks.push(format!("it ran out on {}", grant.until.date()));
        }
        lacks
    }
}

fn too_fine(grant: &Grant, table: &Table, levels: &[u8]) -> Vec<String> {
    let mut lacks = Vec::new();
    for (dimension, level) in table.dimensions.iter().zip(levels) {
        let (Some(finest), Some(axis)) = (grant.finest.get(&dimension.name), axis(table, &dimension.name)) else {
            continue;
        };
        if axis.level(finest).is_none_or(|finest| *level > finest) {
            lacks.push(format!("its finest {} is {finest}", dimension.name));
        }
    }
    lacks
}

fn month_words(month: u32) -> String {
    format!("{:04}-{:02}", month / 12, month % 12 + 1)
}
