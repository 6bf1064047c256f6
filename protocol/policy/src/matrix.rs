//! The whole decision table of a policy: who may receive which levels of a table, for which purpose, how old, and how.

use accord_protocol::{
    catalogue::Table,
    id::NodeId,
    officers::Purpose,
    time::{Months, UnixMs},
};

use crate::{
    engine::{Ask, Decision, Policy},
    rows::Way,
};

/// Ages, in months since the end of the newest month asked for, at which decisions are taken: every month up to two years, then by years.
pub const AGES: [u32; 14] = [0, 1, 3, 6, 9, 12, 18, 24, 36, 48, 60, 84, 120, 180];

/// What a member may receive of a table at some levels for a purpose: a way for each of [`AGES`], or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Level of each dimension.
    pub levels: Vec<u8>,
    /// Why.
    pub purpose: Purpose,
    /// By age.
    pub ways: [Option<Way>; AGES.len()],
}

/// All decisions of a policy about a member and a table, each for one month at its age; nothing if the table may not be discovered.
///
/// # Errors
/// A policy that cannot be evaluated.
pub fn matrix(policy: &Policy, member: &NodeId, table: &Table, now: UnixMs) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    if !policy.discoverable(member, table, now)? {
        return Ok(lines);
    }
    let today = now.date();
    let this = u32::from(today.year()) * 12 + u32::from(today.month()) - 1;
    for set in table.level_sets() {
        for purpose in Purpose::ALL.iter().copied() {
            let mut ways = [None; AGES.len()];
            for (way, age) in ways.iter_mut().zip(AGES) {
                let Some(months) = month(this.saturating_sub(age + 1)) else { continue };
                let ask = Ask { member, table, levels: &set.levels, purpose, months, now };
                *way = match policy.decide(ask) {
                    Decision::Permit(how, _) => Some(how),
                    Decision::Deny(crate::DenyReason::Fault(fault)) => return Err(fault),
                    Decision::Deny(_) => None,
                };
            }
            if ways.iter().any(Option::is_some) {
                lines.push(Line { levels: set.levels.clone(), purpose, ways });
            }
        }
    }
    Ok(lines)
}

fn month(index: u32) -> Option<Months> {
    let month = (u16::try_from(index / 12).ok()?, u8::try_from(index % 12 + 1).ok()?);
    Months::new(month, month)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use accord_protocol::catalogue::{Catalogue, SHIPPED};
    use expect_test::expect_file;

    use super::*;
    use crate::{READY, Texts, World};

    // Every decision of a policy as text: a line for each member, table, purpose and day, with the level sets that are decided alike.
    // A column for each age: `.` denied, `+` at once, `a` after an approval, `b` after two.
    fn shown(rows: &str) -> String {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let members: BTreeSet<NodeId> =
            ["CO-AGENCY", "EU-EUDA", "IT-AGENCY"].map(|name| name.parse().unwrap()).into_iter().collect();
        let world = World { members: &members, catalogue: &catalogue, strict: true };
        let policy = Policy::new(Texts { rows, cedar: "" }, world).unwrap();
        let mut text = String::from("ages in months:");
        text.extend(AGES.iter().map(|age| format!(" {age}")));
        text += "\n";
        for (member, day) in members.iter().flat_map(|member| ["2026-11-24", "2028-01-01"].map(|day| (member, day))) {
            for table in catalogue.tables() {
                let now = format!("{day}T00:00:00Z").parse().unwrap();
                let lines = matrix(&policy, member, table, now).unwrap();
                let axes = table.axes("").unwrap();
                let mut alike: BTreeMap<(String, Purpose), Vec<String>> = BTreeMap::new();
                for line in &lines {
                    let names = axes.iter().zip(&line.levels);
                    let names = names.map(|(axis, level)| axis.level_names()[usize::from(*level)].clone());
                    let ways = line.ways.iter().map(|way| match way {
                        None => '.',
                        Some(Way::AtOnce) => '+',
                        Some(Way::AfterApproval) => 'a',
                        Some(Way::AfterTwoApprovals) => 'b',
                    });
                    let key = (ways.collect(), line.purpose);
                    alike.entry(key).or_default().push(names.collect::<Vec<_>>().join("/"));
                }
                if alike.is_empty() {
                    text += &format!("{member} {day} {}: nothing\n", table.name);
                }
                for ((ways, purpose), levels) in alike {
                    text += &format!("{member} {day} {} {ways} {purpose}: {}\n", table.name, levels.join(" "));
                }
            }
        }
        text
    }

    #[test]
    fn the_whole_decision_table_of_every_ready_policy() {
        let [closed, eu, partner] = READY.map(|(_, rows)| shown(rows));
        expect_file!["../golden/closed.txt"].assert_eq(&closed);
        expect_file!["../golden/eu-strategic-exchange.txt"].assert_eq(&eu);
        expect_file!["../golden/partner-yearly-totals.txt"].assert_eq(&partner);
    }
}
