//! The whole decision table of a policy: who may receive which levels of a table, for which purpose, how old, and how.

use std::collections::{BTreeMap, BTreeSet};

use accord_protocol::{
    catalogue::Table,
    id::NodeId,
    officers::Purpose,
    time::{Months, UnixMs},
    topic::Under,
};

use crate::{
    engine::{Ask, Decision, DenyReason, Policy, World},
    rows::Way,
};

/// Ages, in months since the end of the newest month asked for, at which decisions are taken: a row may name any age; these show it.
pub const AGES: [u32; 14] = [0, 1, 3, 6, 9, 12, 18, 24, 36, 48, 60, 84, 120, 180];

/// How something is answered at each of [`AGES`], or not at all.
pub type Ways = [Option<Way>; AGES.len()];

/// What a member may receive of a table for a purpose: levels that are decided alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Why.
    pub purpose: Purpose,
    /// Whether it stands under a topic, where that makes a difference.
    pub under: Under,
    /// How, by age.
    pub ways: Ways,
    /// Level of each dimension, as often as there are such combinations.
    pub levels: Vec<Vec<u8>>,
}

/// What two policies decide otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// About whom.
    pub member: NodeId,
    /// The table.
    pub table: String,
    /// Why it is asked for.
    pub purpose: Purpose,
    /// Whether it stands under a topic, where that makes a difference.
    pub under: Under,
    /// How, by age, under the one.
    pub before: Ways,
    /// And under the other.
    pub after: Ways,
    /// Level of each dimension, as often as there are such combinations.
    pub levels: Vec<Vec<u8>>,
}

// By purpose and levels: without a topic, and with one.
type Decided = BTreeMap<(Purpose, Vec<u8>), [Ways; 2]>;

// Every combination of levels and purpose that is answered at some age. A month is asked for at each.
fn decided(policy: &Policy, member: &NodeId, table: &Table, now: UnixMs) -> Result<Decided, String> {
    let mut all = Decided::new();
    if !policy.discoverable(member, table, now)? {
        return Ok(all);
    }
    for set in table.level_sets() {
        for purpose in Purpose::ALL.iter().copied() {
            let ways = |topic| ways(policy, (member, table, &set.levels, purpose, topic), now);
            let without = ways(false)?;
            let with = if policy.minds_topics() { ways(true)? } else { without };
            if without.iter().chain(&with).any(Option::is_some) {
                all.insert((purpose, set.levels.clone()), [without, with]);
            }
        }
    }
    Ok(all)
}

fn ways(
    policy: &Policy,
    (member, table, levels, purpose, topic): (&NodeId, &Table, &[u8], Purpose, bool),
    now: UnixMs,
) -> Result<Ways, String> {
    let today = now.date();
    let this = u32::from(today.year()) * 12 + u32::from(today.month()) - 1;
    let mut ways = [None; AGES.len()];
    for (way, age) in ways.iter_mut().zip(AGES) {
        let Some(months) = month(this.saturating_sub(age + 1)) else { continue };
        *way = match policy.decide(Ask { member, table, levels, purpose, topic, months, now }) {
            Decision::Permit(how, _) => Some(how),
            Decision::Deny(DenyReason::Fault(fault)) => return Err(fault),
            Decision::Deny(_) => None,
        };
    }
    Ok(ways)
}

// What is said without a topic and with one, each by itself only where they differ.
fn apart<T: PartialEq>([without, with]: [T; 2]) -> Vec<(Under, T)> {
    if without == with { vec![(Under::Either, without)] } else { vec![(Under::Without, without), (Under::With, with)] }
}

/// What a member may receive of a table; nothing if it may not be discovered.
///
/// # Errors
/// A policy that cannot be evaluated.
pub fn reach(policy: &Policy, member: &NodeId, table: &Table, now: UnixMs) -> Result<Vec<Reach>, String> {
    let mut alike: BTreeMap<(Purpose, Under, Ways), Vec<Vec<u8>>> = BTreeMap::new();
    for ((purpose, levels), both) in decided(policy, member, table, now)? {
        for (under, ways) in apart(both).into_iter().filter(|(_, ways)| ways.iter().any(Option::is_some)) {
            alike.entry((purpose, under, ways)).or_default().push(levels.clone());
        }
    }
    let reach = |((purpose, under, ways), levels)| Reach { purpose, under, ways, levels };
    Ok(alike.into_iter().map(reach).collect())
}

/// What one policy decides otherwise than another, or than none, about all members but its own and all tables: own officers may
/// always ask.
///
/// # Errors
/// A policy that cannot be evaluated.
pub fn differences(
    before: Option<&Policy>,
    after: Option<&Policy>,
    (world, own): (World<'_>, &NodeId),
    now: UnixMs,
) -> Result<Vec<Difference>, String> {
    let mut all = Vec::new();
    let others = world.members.iter().filter(|member| *member != own);
    for (member, table) in others.flat_map(|member| world.catalogue.tables().iter().map(move |table| (member, table))) {
        let of = |policy: Option<&Policy>| {
            policy.map_or_else(|| Ok(Decided::new()), |policy| decided(policy, member, table, now))
        };
        let (one, other) = (of(before)?, of(after)?);
        let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        let mut alike: BTreeMap<(Purpose, Under, Ways, Ways), Vec<Vec<u8>>> = BTreeMap::new();
        for key in keys {
            let says = |all: &Decided| all.get(key).copied().unwrap_or_default();
            let ([before, before_with], [after, after_with]) = (says(&one), says(&other));
            let changes = apart([(before, after), (before_with, after_with)]);
            for (under, (before, after)) in changes.into_iter().filter(|(_, (before, after))| before != after) {
                alike.entry((key.0, under, before, after)).or_default().push(key.1.clone());
            }
        }
        all.extend(alike.into_iter().map(|((purpose, under, before, after), levels)| Difference {
            member: member.clone(),
            table: table.name.clone(),
            purpose,
            under,
            before,
            after,
            levels,
        }));
    }
    Ok(all)
}

/// Ways in words: `at-once from 12 months on; after-approval below`.
pub fn ways_words(ways: &Ways) -> String {
    answer_words(&AGES, ways)
}

/// The same at other ages.
pub fn answer_words(ages: &[u32], ways: &[Option<Way>]) -> String {
    let mut runs: Vec<(Option<Way>, u32, Option<u32>)> = Vec::new();
    for (way, age) in ways.iter().zip(ages.iter().copied()) {
        match runs.last_mut() {
            Some((last, _, _)) if last == way => {}
            other => {
                if let Some((_, _, end)) = other {
                    *end = Some(age);
                }
                runs.push((*way, age, None));
            }
        }
    }
    let words = |(way, from, to): &(Option<Way>, u32, Option<u32>)| {
        let way = way.map_or("denied", Way::as_str);
        match (from, to) {
            (0, None) => way.to_owned(),
            (0, Some(to)) => format!("{way} below {to} months"),
            (from, None) => format!("{way} from {from} months on"),
            (from, Some(to)) => format!("{way} from {from} to {to} months"),
        }
    };
    runs.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn month(index: u32) -> Option<Months> {
    let month = (u16::try_from(index / 12).ok()?, u8::try_from(index % 12 + 1).ok()?);
    Months::new(month, month)
}

#[cfg(test)]
mod tests {
    use accord_protocol::catalogue::{Catalogue, SHIPPED};
    use expect_test::expect_file;

    use super::*;
    use crate::{READY, Texts};

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
                let axes = table.axes("").unwrap();
                let reached = reach(&policy, member, table, now).unwrap();
                if reached.is_empty() {
                    text += &format!("{member} {day} {}: nothing\n", table.name);
                }
                for of in reached {
                    let name = |levels: &Vec<u8>| {
                        let names = axes.iter().zip(levels);
                        let names = names.map(|(axis, level)| axis.level_names()[usize::from(*level)].clone());
                        names.collect::<Vec<_>>().join("/")
                    };
                    let levels: Vec<String> = of.levels.iter().map(name).collect();
                    let ways: String = of
                        .ways
                        .iter()
                        .map(|way| way.map_or('.', |way| "?+ab".as_bytes()[usize::from(way.number())].into()))
                        .collect();
                    text += &format!("{member} {day} {} {ways} {}: {}\n", table.name, of.purpose, levels.join(" "));
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

    #[test]
    fn ways_are_told_in_words() {
        let (now, later) = (Some(Way::AtOnce), Some(Way::AfterApproval));
        let ways = |first: Option<Way>, from: usize, rest: Option<Way>| {
            let mut ways = [first; AGES.len()];
            ways[from..].fill(rest);
            ways
        };
        for (ways, words) in [
            (ways(now, 0, now), "at-once"),
            (ways(None, 0, None), "denied"),
            (ways(later, 5, now), "after-approval below 12 months, at-once from 12 months on"),
            (ways(None, 5, now), "denied below 12 months, at-once from 12 months on"),
            (
                {
                    let mut ways = ways(None, 5, now);
                    ways[11..].fill(None);
                    ways
                },
                "denied below 12 months, at-once from 12 to 84 months, denied from 84 months on",
            ),
        ] {
            assert_eq!(ways_words(&ways), words);
        }
    }

    #[test]
    fn a_topic_is_told_where_it_makes_a_difference() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let members: BTreeSet<NodeId> = ["ES-AGENCY", "IT-AGENCY"].map(|name| name.parse().unwrap()).into();
        let world = World { members: &members, catalogue: &catalogue, strict: true };
        let read = |rows: &str, cedar: &str| Policy::new(Texts { rows, cedar }, world).unwrap();
        let row = |purpose: &str, more: &str| {
            format!(
                "[[grant]]\npartner = [\"IT-AGENCY\"]\ntable = [\"seizures-year-drug\"]\nfinest = {{ drug = \"all\", time = \"year\" }}\npurpose = [\"{purpose}\"]\nuntil = \"2030-01-01\"\n{more}\n"
            )
        };
        let forbid = "forbid (principal, action in Accord::Action::\"receive\", resource) when { !context.hasTopic };";
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let (italy, table) = ("IT-AGENCY".parse().unwrap(), catalogue.table("seizures-year-drug").unwrap());
        let told = |policy: &Policy| {
            let reached = reach(policy, &italy, table, now).unwrap();
            let line = |of: &Reach| format!("{}, {}: {}", of.purpose, of.under, ways_words(&of.ways));
            reached.iter().map(line).collect::<Vec<_>>().join("; ")
        };
        let strategic = |more: &str| row("strategic-analysis", more);
        let required = "topic = \"required\"";
        let (open, narrow) = (read(&strategic(""), ""), read(&strategic(required), ""));
        for (policy, words) in [
            (&open, "strategic-analysis, with or without a topic: at-once"),
            (&read(&strategic("topic = \"not-required\""), ""), "strategic-analysis, with or without a topic: at-once"),
            (&narrow, "strategic-analysis, with a topic: at-once"),
            (&read(&strategic(""), forbid), "strategic-analysis, with a topic: at-once"),
            (
                &read(&(strategic("answer = \"after-approval\"") + &strategic(required)), ""),
                "strategic-analysis, without a topic: after-approval; strategic-analysis, with a topic: at-once",
            ),
            (
                &read(&(strategic(required) + &row("test", "")), ""),
                "strategic-analysis, with a topic: at-once; test, with or without a topic: at-once",
            ),
        ] {
            assert_eq!(told(policy), words);
        }
        // To require one is a change for those who ask without; for others nothing changes.
        let differ = differences(Some(&open), Some(&narrow), (world, &"ES-AGENCY".parse().unwrap()), now).unwrap();
        let [one] = differ.as_slice() else { panic!("{differ:?}") };
        let words = (one.under, ways_words(&one.before), ways_words(&one.after));
        assert_eq!(words, (Under::Without, "at-once".to_owned(), "denied".to_owned()));
        let same = differences(None, Some(&open), (world, &"ES-AGENCY".parse().unwrap()), now).unwrap();
        assert_eq!(same.iter().map(|of| of.under).collect::<Vec<_>>(), [Under::Either]);
    }

    #[test]
    fn what_two_policies_decide_otherwise() {
        let catalogue = Catalogue::parse(SHIPPED).unwrap();
        let members: BTreeSet<NodeId> =
            ["CO-AGENCY", "ES-AGENCY", "IT-AGENCY"].map(|name| name.parse().unwrap()).into_iter().collect();
        let world = World { members: &members, catalogue: &catalogue, strict: true };
        let read = |rows: &str| Policy::new(Texts { rows, cedar: "" }, world).unwrap();
        let [closed, eu, partner] = READY.map(|(_, rows)| read(rows));
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let own = "ES-AGENCY".parse().unwrap();
        let differ =
            |before: Option<&Policy>, after: Option<&Policy>| differences(before, after, (world, &own), now).unwrap();
        assert_eq!(differ(Some(&eu), Some(&eu)), []);
        assert_eq!(differ(None, Some(&closed)), []);
        let all = differ(None, Some(&partner));
        let levels = vec![vec![0, 0], vec![0, 1]];
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(
            (one.member.as_str(), one.table.as_str(), &one.levels),
            ("CO-AGENCY", "seizures-year-drug", &levels)
        );
        assert_eq!(ways_words(&one.after), "denied below 12 months, at-once from 12 months on");
        // The other way round it is the same, taken away.
        let back = differ(Some(&partner), None);
        assert_eq!((back[0].before, back[0].after), (one.after, one.before));
        let others = differ(Some(&partner), Some(&eu));
        assert!(others.iter().any(|of| of.member.as_str() == "IT-AGENCY"));
        assert!(others.iter().all(|of| of.member != own));
    }
}
