//! What a policy decides, and what is no policy.

use std::collections::BTreeSet;

use accord_protocol::{
    catalogue::{Catalogue, SHIPPED},
    id::NodeId,
    officers::Purpose,
    time::{Months, Period, UnixMs},
};
use expect_test::expect;

use crate::{Ask, Decision, DenyReason, Policy, Refused, Texts, Way, World};

const ROWS: &str = r#"
[[group]]
name = "friends"
members = ["AT-AGENCY"]

[[grant]]
partner = ["IT-AGENCY", "@friends"]
table   = ["seizures-year-drug"]
finest  = { time = "quarter", drug = "substance" }
oldest  = "2015"
newest  = "6 months"
purpose = ["strategic-analysis"]
until   = "2027-01-01"
"#;

fn members() -> BTreeSet<NodeId> {
    ["AT-AGENCY", "CO-AGENCY", "ES-AGENCY", "IT-AGENCY"].map(|name| name.parse().unwrap()).into_iter().collect()
}

fn policy(rows: &str, cedar: &str) -> Result<Policy, Refused> {
    let (members, catalogue) = (members(), Catalogue::parse(SHIPPED).unwrap());
    Policy::new(Texts { rows, cedar }, World { members: &members, catalogue: &catalogue, strict: true })
}

// What is asked, in words: member, table, levels, purpose, period, moment.
type Words<'a> = (&'a str, &'a str, [u8; 2], &'a str, &'a str, &'a str);

const ASKED: Words<'static> =
    ("IT-AGENCY", "seizures-year-drug", [0, 1], "strategic-analysis", "2025", "2026-11-24T00:00:00Z");

fn decide(policy: &Policy, (member, table, levels, purpose, period, at): Words<'_>) -> Decision {
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let (from, to) = period.parse::<Period>().unwrap().months();
    policy.decide(Ask {
        member: &member.parse().unwrap(),
        table: catalogue.table(table).unwrap(),
        levels: &levels,
        purpose: Purpose::from_word(purpose).unwrap(),
        topic: false,
        months: Months::new(from, to).unwrap(),
        now: at.parse().unwrap(),
    })
}

fn words(decision: &Decision) -> String {
    match decision {
        Decision::Permit(way, by) => format!("{way} by {}", by.join(", ")),
        Decision::Deny(reason) => format!("deny: {reason}"),
    }
}

#[test]
fn the_whole_access_table() {
    let policy = policy(ROWS, "").unwrap();
    let mut shown = String::new();
    let (who, table, levels, why, when, at) = ASKED;
    for asked in [
        ASKED,
        (who, table, [1, 2], why, "2025-Q1", at),
        (who, table, [2, 1], why, "2025-01", at),
        (who, table, [0, 3], why, when, at),
        (who, table, levels, "early-warning", when, at),
        (who, table, levels, why, "2014", at),
        (who, table, levels, why, "2015", at),
        // The first quarter of 2026 is over for seven whole months, the second for four.
        (who, table, [1, 1], why, "2026-Q1", at),
        (who, table, [1, 1], why, "2026-Q2", at),
        (who, table, levels, why, when, "2026-12-31T23:59:59Z"),
        (who, table, levels, why, when, "2027-01-01T00:00:00Z"),
        ("AT-AGENCY", table, levels, why, when, at),
        ("CO-AGENCY", table, levels, why, when, at),
        (who, "cases-year-drug-pair", [0, 0], why, when, at),
    ] {
        let (who, table, levels, why, when, at) = asked;
        shown += &format!("{who} {table} {levels:?} {why} {when} @{at}: {}\n", words(&decide(&policy, asked)));
    }
    expect![[r#"
        IT-AGENCY seizures-year-drug [0, 1] strategic-analysis 2025 @2026-11-24T00:00:00Z: at-once by grant-1
        IT-AGENCY seizures-year-drug [1, 2] strategic-analysis 2025-Q1 @2026-11-24T00:00:00Z: at-once by grant-1
        IT-AGENCY seizures-year-drug [2, 1] strategic-analysis 2025-01 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
        IT-AGENCY seizures-year-drug [0, 3] strategic-analysis 2025 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
        IT-AGENCY seizures-year-drug [0, 1] early-warning 2025 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
        IT-AGENCY seizures-year-drug [0, 1] strategic-analysis 2014 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
        IT-AGENCY seizures-year-drug [0, 1] strategic-analysis 2015 @2026-11-24T00:00:00Z: at-once by grant-1
        IT-AGENCY seizures-year-drug [1, 1] strategic-analysis 2026-Q1 @2026-11-24T00:00:00Z: at-once by grant-1
        IT-AGENCY seizures-year-drug [1, 1] strategic-analysis 2026-Q2 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
        IT-AGENCY seizures-year-drug [0, 1] strategic-analysis 2025 @2026-12-31T23:59:59Z: at-once by grant-1
        IT-AGENCY seizures-year-drug [0, 1] strategic-analysis 2025 @2027-01-01T00:00:00Z: deny: nothing in the policy permits it
        AT-AGENCY seizures-year-drug [0, 1] strategic-analysis 2025 @2026-11-24T00:00:00Z: at-once by grant-1
        CO-AGENCY seizures-year-drug [0, 1] strategic-analysis 2025 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
        IT-AGENCY cases-year-drug-pair [0, 0] strategic-analysis 2025 @2026-11-24T00:00:00Z: deny: nothing in the policy permits it
    "#]].assert_eq(&shown);
}

#[test]
fn the_most_direct_way_counts() {
    let row = |answer: &str, until: &str| {
        ROWS.replace("until   = \"2027-01-01\"", &format!("answer = \"{answer}\"\nuntil = \"{until}\""))
    };
    let group = ROWS.split("[[grant]]").next().unwrap();
    let rows =
        |rows: &[String]| format!("{group}{}", rows.iter().map(|row| row.replace(group, "")).collect::<String>());
    let (two, one, none) =
        (row("after-two-approvals", "2029-01-01"), row("after-approval", "2028-01-01"), row("at-once", "2027-01-01"));
    let policy = policy(&rows(&[two, one, none]), "").unwrap();
    for (at, way) in [
        ("2026-12-31T00:00:00Z", Some(Way::AtOnce)),
        ("2027-12-31T00:00:00Z", Some(Way::AfterApproval)),
        ("2028-12-31T00:00:00Z", Some(Way::AfterTwoApprovals)),
        ("2029-01-01T00:00:00Z", None),
    ] {
        let (who, table, levels, why, when, _) = ASKED;
        let said = match decide(&policy, (who, table, levels, why, when, at)) {
            Decision::Permit(way, _) => Some(way),
            Decision::Deny(_) => None,
        };
        assert_eq!(said, way, "{at}");
    }
}

#[test]
fn an_empty_set_is_nobody() {
    for (from, to) in [
        ("partner = [\"IT-AGENCY\", \"@friends\"]", "partner = []"),
        ("table   = [\"seizures-year-drug\"]\nfinest  = { time = \"quarter\", drug = \"substance\" }", "table = []"),
        ("purpose = [\"strategic-analysis\"]", "purpose = []"),
        ("[\"IT-AGENCY\", \"@friends\"]", "[\"@friends\"]"),
    ] {
        let rows = ROWS.replace(from, to);
        assert_ne!(rows, ROWS);
        assert_eq!(decide(&policy(&rows, "").unwrap(), ASKED), Decision::Deny(DenyReason::NotPermitted), "{to}");
    }
    let nobody = ROWS.replace("members = [\"AT-AGENCY\"]", "members = []");
    let (_, table, levels, why, when, at) = ASKED;
    let friend = ("AT-AGENCY", table, levels, why, when, at);
    assert!(matches!(decide(&policy(ROWS, "").unwrap(), friend), Decision::Permit(Way::AtOnce, _)));
    assert_eq!(decide(&policy(&nobody, "").unwrap(), friend), Decision::Deny(DenyReason::NotPermitted));
}

// Cedar leaves out a policy whose evaluation fails, be it a `forbid`. Here nothing is permitted then.
#[test]
fn what_cannot_be_evaluated_denies() {
    let overflow = "context.now * 9007199254740991 * 9007199254740991 > 0";
    for cedar in [
        format!(
            "@id(\"late\") forbid (principal, action in Accord::Action::\"receive\", resource) when {{ {overflow} }};"
        ),
        format!(
            "@id(\"more\") permit (principal, action == Accord::Action::\"answer\", resource) when {{ {overflow} }};"
        ),
    ] {
        let decision = decide(&policy(ROWS, &cedar).unwrap(), ASKED);
        assert!(
            matches!(&decision, Decision::Deny(DenyReason::Fault(what)) if what.contains("overflow")),
            "{decision:?}"
        );
    }
    // The same for a table that is to be discovered.
    let cedar = format!("forbid (principal, action == Accord::Action::\"discover\", resource) when {{ {overflow} }};");
    let (policy, catalogue) = (policy(ROWS, &cedar).unwrap(), Catalogue::parse(SHIPPED).unwrap());
    let table = catalogue.table("seizures-year-drug").unwrap();
    assert!(policy.discoverable(&"IT-AGENCY".parse().unwrap(), table, UnixMs(1_800_000_000_000)).is_err());
}

#[test]
fn numbers_of_a_context_are_bounded() {
    let policy = policy(ROWS, "").unwrap();
    let (who, table, ..) = ASKED;
    let (member, catalogue) = (who.parse().unwrap(), Catalogue::parse(SHIPPED).unwrap());
    let table = catalogue.table(table).unwrap();
    let ask = |now: u64, levels: &[u8], year: u16| {
        let months = Months::new((year, 1), (year, 12)).unwrap();
        policy.decide(Ask {
            member: &member,
            table,
            levels,
            purpose: Purpose::StrategicAnalysis,
            topic: false,
            months,
            now: UnixMs(now),
        })
    };
    let now = 1_795_000_000_000;
    assert!(matches!(ask(now, &[0, 1], 2025), Decision::Permit(Way::AtOnce, _)));
    for decision in [
        ask(1 << 53, &[0, 1], 2025),
        ask(u64::MAX, &[0, 1], 2025),
        ask(now, &[0, 1], 1899),
        ask(now, &[0, 1], 10_000),
        ask(now, &[0], 2025),
        ask(now, &[0, 200], 2025),
    ] {
        assert!(matches!(decision, Decision::Deny(DenyReason::Fault(_))), "{decision:?}");
    }
    assert_eq!(policy.discoverable(&member, table, UnixMs(now)), Ok(true));
    assert!(policy.discoverable(&member, table, UnixMs(u64::MAX)).is_err());
    assert!(policy.discoverable(&"FR-AGENCY".parse().unwrap(), table, UnixMs(now)).is_err());
}

#[test]
fn hand_written_cedar_stands_beside_the_rows() {
    let forbid = r#"
        // Nobody of Italy for early warning, whatever the rows say.
        @id("not-italy")
        forbid (principal == Accord::Member::"IT-AGENCY", action in Accord::Action::"receive", resource)
        when { context.purpose == "early-warning" || context.thisMonth - context.lastMonth > 24 };
        permit (principal in Accord::Group::"partner-countries", action == Accord::Action::"answerAfterTwoApprovals", resource)
        when { resource.kind == "seizure" && context.levels.contains("time=year") && principal.country == "CO" };
        permit (principal in Accord::Group::"partner-countries", action == Accord::Action::"discover", resource);
    "#;
    let policy = policy(ROWS, forbid).unwrap();
    let (who, table, levels, why, when, at) = ASKED;
    let mut shown = String::new();
    for asked in [
        ASKED,
        (who, table, levels, why, "2020", at),
        (who, table, levels, "early-warning", when, at),
        ("AT-AGENCY", table, levels, why, "2020", at),
        ("CO-AGENCY", table, levels, "test", when, at),
        ("CO-AGENCY", table, [1, 1], "test", "2025-Q1", at),
    ] {
        let (who, _, levels, why, when, _) = asked;
        shown += &format!("{who} {levels:?} {why} {when}: {}\n", words(&decide(&policy, asked)));
    }
    expect![[r#"
        IT-AGENCY [0, 1] strategic-analysis 2025: at-once by grant-1
        IT-AGENCY [0, 1] strategic-analysis 2020: deny: forbidden by not-italy
        IT-AGENCY [0, 1] early-warning 2025: deny: forbidden by not-italy
        AT-AGENCY [0, 1] strategic-analysis 2020: at-once by grant-1
        CO-AGENCY [0, 1] test 2025: after-two-approvals by policy-2
        CO-AGENCY [1, 1] test 2025-Q1: deny: nothing in the policy permits it
    "#]]
    .assert_eq(&shown);
}

fn broken(rows: &str, cedar: &str) -> String {
    policy(rows, cedar).map_or_else(|refused| refused.to_string(), |_| "taken".to_owned())
}

#[test]
fn rows_with_a_mistake_are_refused_whole_with_its_place() {
    let mut shown = String::new();
    for (from, to) in [
        ("IT-AGENCY", "FR-AGENCY"),
        ("IT-AGENCY", "it"),
        ("[\"AT-AGENCY\"]", "[\"FR-AGENCY\"]"),
        ("@friends", "@frends"),
        ("\"friends\"", "\"Friends\""),
        ("\"friends\"", "\"eu-members\""),
        ("seizures-year-drug", "seizures"),
        ("quarter", "week"),
        ("drug =", "drugs ="),
        ("strategic-analysis", "curiosity"),
        ("2027-01-01", "2027"),
        ("2015", "last year"),
        ("6 months", "6 weeks"),
        ("6 months", "99999 months"),
        ("purpose", "porpoise"),
        ("until   = \"2027-01-01\"", ""),
        ("newest  =", "answer = \"soon\"\nnewest ="),
        ("newest  =", "answer = 7\nnewest ="),
        ("newest  =", "topic = \"please\"\nnewest ="),
        ("[[grant]]", "[[group]]\nname = \"friends\"\nmembers = []\n[[grant]]"),
        ("\n[[group]]", "[[group]"),
    ] {
        assert_ne!(ROWS.replace(from, to), ROWS, "{from}");
        shown += &format!("{from} -> {to}\n    {}\n", broken(&ROWS.replace(from, to), ""));
    }
    expect![[r#"
        IT-AGENCY -> FR-AGENCY
            grants.toml:7:12: `FR-AGENCY` is not on the roster
        IT-AGENCY -> it
            grants.toml:7:12: `it` is not a member's name: two letters of the country, `-`, then capitals, digits or `-`, at most 24 in all
        ["AT-AGENCY"] -> ["FR-AGENCY"]
            grants.toml:4:12: `FR-AGENCY` is not on the roster
        @friends -> @frends
            grants.toml:7:25: there is no group `@frends`: @eu-members, @eu-bodies, @partner-countries, @friends
        "friends" -> "Friends"
            grants.toml:3:8: the name of a group has 1 to 40 lower-case letters, digits and `-`
        "friends" -> "eu-members"
            grants.toml:3:8: the group `eu-members` exists anyway
        seizures-year-drug -> seizures
            grants.toml:8:12: the catalogue has no table `seizures`
        quarter -> week
            grants.toml:9:20: none of the tables has a dimension `time` with a level `week`
        drug = -> drugs =
            grants.toml:9:39: none of the tables has a dimension `drugs` with a level `substance`
        strategic-analysis -> curiosity
            grants.toml:12:12: `curiosity` is not a purpose: strategic-analysis, early-warning, operational-support, method-exchange, test
        2027-01-01 -> 2027
            grants.toml:13:11: until: expected a date such as 2026-11-24
        2015 -> last year
            grants.toml:10:11: neither a period such as 2015 or 2015-Q2, nor an age such as 12 months
        6 months -> 6 weeks
            grants.toml:11:11: neither a period such as 2015 or 2015-Q2, nor an age such as 12 months
        6 months -> 99999 months
            grants.toml:11:11: neither a period such as 2015 or 2015-Q2, nor an age such as 12 months
        purpose -> porpoise
            grants.toml:12:1: unknown field `porpoise`, expected one of `partner`, `table`, `finest`, `oldest`, `newest`, `purpose`, `answer`, `topic`, `until`
        until   = "2027-01-01" -> 
            grants.toml:6:1: missing field `until`
        newest  = -> answer = "soon"
        newest =
            grants.toml:11:10: `soon` is no way to answer: at-once, after-approval, after-two-approvals
        newest  = -> answer = 7
        newest =
            grants.toml:11:10: invalid type: integer `7`, expected a string
        newest  = -> topic = "please"
        newest =
            grants.toml:11:9: `please` is not said of topics: required, not-required
        [[grant]] -> [[group]]
        name = "friends"
        members = []
        [[grant]]
            grants.toml:7:8: the group `friends` stands twice

        [[group]] -> [[group]
            grants.toml:1:9: unclosed array table, expected `]`
    "#]].assert_eq(&shown);
}

#[test]
fn cedar_with_a_mistake_is_refused_whole_with_its_place() {
    let mut shown = String::new();
    for cedar in [
        "permit (principal, action, resource)",
        "\n\n   permit (principal, action, resource) when { context.purpose == \"x\" };",
        "permit (principal, action == Accord::Action::\"answer\", resource) when { context.purpos == \"x\" };",
        "permit (principal, action == Accord::Action::\"answer\", resource) when { context.now > \"x\" };",
        "permit (principal == Accord::Officer::\"x\", action, resource);",
        "permit (principal == Accord::Member::\"FR-AGENCY\", action == Accord::Action::\"discover\", resource);",
        "permit (principal, action == Accord::Action::\"discover\", resource)\nwhen { resource in [Accord::Table::\"seizures\"] };",
        "permit (principal in Accord::Group::\"eu\", action == Accord::Action::\"discover\", resource);",
        "permit (principal, action == Accord::Action::\"share\", resource);",
        "permit (principal == ?principal, action == Accord::Action::\"discover\", resource);",
        "@id(\"grant-1\") permit (principal, action == Accord::Action::\"discover\", resource);",
        "@id(\"a\") permit (principal, action == Accord::Action::\"discover\", resource);\n@id(\"a\") forbid (principal, action == Accord::Action::\"discover\", resource);",
    ] {
        shown += &format!("{cedar}\n    {}\n", broken(ROWS, cedar));
    }
    expect![[r#"
        permit (principal, action, resource)
            policy.cedar:1:37: unexpected end of input


           permit (principal, action, resource) when { context.purpose == "x" };
            policy.cedar:3:48: for policy `policy-1`, attribute `purpose` in context for Accord::Action::"discover" not found
        permit (principal, action == Accord::Action::"answer", resource) when { context.purpos == "x" };
            policy.cedar:1:73: for policy `policy-1`, attribute `purpos` in context for Accord::Action::"answer" not found
        permit (principal, action == Accord::Action::"answer", resource) when { context.now > "x" };
            policy.cedar:1:87: for policy `policy-1`, unexpected type: expected Long but saw String
        permit (principal == Accord::Officer::"x", action, resource);
            policy.cedar:1:22: for policy `policy-1`, unrecognized entity type `Accord::Officer`
        permit (principal == Accord::Member::"FR-AGENCY", action == Accord::Action::"discover", resource);
            policy.cedar:1:38: there is no Accord::Member::"FR-AGENCY"
        permit (principal, action == Accord::Action::"discover", resource)
        when { resource in [Accord::Table::"seizures"] };
            policy.cedar:2:36: there is no Accord::Table::"seizures"
        permit (principal in Accord::Group::"eu", action == Accord::Action::"discover", resource);
            policy.cedar:1:37: there is no Accord::Group::"eu"
        permit (principal, action == Accord::Action::"share", resource);
            policy.cedar:1:30: for policy `policy-1`, unrecognized action `Accord::Action::"share"`
        permit (principal == ?principal, action == Accord::Action::"discover", resource);
            policy.cedar:1:1: a template (`?principal`, `?resource`) has no place here: name whom it is for
        @id("grant-1") permit (principal, action == Accord::Action::"discover", resource);
            policy.cedar:1:1: `grant-1`: names that begin with `grant-` are those of rows
        @id("a") permit (principal, action == Accord::Action::"discover", resource);
        @id("a") forbid (principal, action == Accord::Action::"discover", resource);
            policy.cedar:1:1: two policies have the name a
    "#]].assert_eq(&shown);
}

#[test]
fn a_policy_is_bounded() {
    assert_eq!(broken("", ""), "taken");
    let long = format!("#{}", "x".repeat(64 * 1024));
    assert_eq!(broken(&long, ""), "grants.toml:1:1: longer than 65536 bytes");
    assert_eq!(broken("", &long.replace('#', "//")), "policy.cedar:1:1: longer than 65536 bytes");
    let row = ROWS.split("[[grant]]").nth(1).unwrap();
    let many = format!("[[grant]]{row}").replace(", \"@friends\"", "").repeat(257);
    assert_eq!(broken(&many, ""), "grants.toml:1:1: more than 256 rows");
}

#[test]
fn a_row_reads_as_cedar() {
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let texts = Texts { rows: ROWS, cedar: "// nothing more\n" };
    expect![[r#"
        @id("grant-1")
        permit (
          principal,
          action == Accord::Action::"answer",
          resource
        )
        when {
          (principal in [Accord::Member::"IT-AGENCY"] || principal in [Accord::Group::"friends"]) &&
          resource in [Accord::Table::"seizures-year-drug"] &&
          ["strategic-analysis"].contains(context.purpose) &&
          ["time=year", "time=quarter", "drug=all", "drug=group", "drug=substance"].containsAll(context.levels) &&
          context.firstMonth >= 24180 &&
          context.lastMonth + 7 <= context.thisMonth &&
          context.now < 1798761600000
        };

        @id("grant-1-discover")
        permit (
          principal,
          action == Accord::Action::"discover",
          resource
        )
        when {
          (principal in [Accord::Member::"IT-AGENCY"] || principal in [Accord::Group::"friends"]) &&
          resource in [Accord::Table::"seizures-year-drug"] &&
          context.now < 1798761600000
        };

        // nothing more
    "#]]
    .assert_eq(&policy(ROWS, texts.cedar).unwrap().cedar(texts, &catalogue));
}

// A policy that was taken stays in force without what is gone since; nobody gets more by it.
#[test]
fn what_is_gone_is_left_out_of_a_policy_that_was_taken() {
    let (mut members, catalogue) = (members(), Catalogue::parse(SHIPPED).unwrap());
    members.remove(&"AT-AGENCY".parse::<NodeId>().unwrap());
    let rows = ROWS.replace("table   = [", "table   = [\"gone\", ");
    let cedar = "forbid (principal == Accord::Member::\"AT-AGENCY\", action in Accord::Action::\"receive\", resource);";
    let world = |strict| World { members: &members, catalogue: &catalogue, strict };
    let texts = Texts { rows: &rows, cedar };
    assert!(Policy::new(texts, world(true)).is_err());
    let policy = Policy::new(texts, world(false)).unwrap();
    let names = |policy: &Policy| policy.unknown().iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&policy), "AT-AGENCY gone");
    let rows = rows.replace("AT-AGENCY", "IT-AGENCY").replace("quarter", "week");
    let other = Policy::new(Texts { rows: &rows, cedar: "" }, world(false)).unwrap();
    assert_eq!(names(&other), "gone time=week");
    assert!(matches!(decide(&policy, ASKED), Decision::Permit(Way::AtOnce, _)));
    let (_, table, levels, why, when, at) = ASKED;
    let gone = decide(&policy, ("AT-AGENCY", table, levels, why, when, at));
    assert!(matches!(gone, Decision::Deny(DenyReason::Fault(_))), "{gone:?}");
}

// Of an old edition, whose catalogue had it: whoever asks for it provokes no alarm.
#[test]
fn a_table_that_is_gone_is_not_permitted_and_no_fault() {
    let permit_all = r#"
        permit (principal, action in Accord::Action::"receive", resource);
        permit (principal, action == Accord::Action::"discover", resource);
    "#;
    let (member, now) = ("IT-AGENCY".parse().unwrap(), ASKED.5.parse().unwrap());
    let mut gone = Catalogue::parse(SHIPPED).unwrap().table(ASKED.1).unwrap().clone();
    "gone".clone_into(&mut gone.name);
    for cedar in ["", permit_all] {
        let policy = policy(ROWS, cedar).unwrap();
        assert_eq!(policy.discoverable(&member, &gone, now), Ok(false));
        let months = Months::new((2025, 1), (2025, 12)).unwrap();
        let purpose = Purpose::StrategicAnalysis;
        let ask = Ask { member: &member, table: &gone, levels: &ASKED.2, purpose, topic: false, months, now };
        assert_eq!(policy.decide(ask), Decision::Deny(DenyReason::NotPermitted));
    }
}

#[test]
fn rows_say_what_they_do_not_cover() {
    let (policy, catalogue) = (policy(ROWS, "").unwrap(), Catalogue::parse(SHIPPED).unwrap());
    let mut shown = String::new();
    let (who, table, levels, why, when, at) = ASKED;
    for (who, table, levels, why, when, at) in [
        ASKED,
        ("AT-AGENCY", table, levels, why, when, at),
        ("CO-AGENCY", "cases-year-drug-pair", [0, 0], "test", "2010", "2027-01-01T00:00:00Z"),
        (who, table, [2, 3], why, "2026-09", at),
        (who, table, [1, 1], why, "2026-Q2", at),
    ] {
        let (from, to) = when.parse::<Period>().unwrap().months();
        let verdicts = policy.explain(Ask {
            member: &who.parse().unwrap(),
            table: catalogue.table(table).unwrap(),
            levels: &levels,
            purpose: Purpose::from_word(why).unwrap(),
            topic: false,
            months: Months::new(from, to).unwrap(),
            now: at.parse().unwrap(),
        });
        let verdict = &verdicts[0];
        shown += &format!("{who} {levels:?} {when}: row {}: {}\n", verdict.row, verdict.lacks.join("; "));
    }
    expect![[r#"
        IT-AGENCY [0, 1] 2025: row 1: 
        AT-AGENCY [0, 1] 2025: row 1: 
        CO-AGENCY [0, 0] 2010: row 1: it does not name CO-AGENCY; it does not name cases-year-drug-pair; it is not for test; it begins with 2015-01; it ran out on 2027-01-01
        IT-AGENCY [2, 3] 2026-09: row 1: its finest time is quarter; its finest drug is substance; it needs periods that ended 6 months ago or earlier
        IT-AGENCY [1, 1] 2026-Q2: row 1: it needs periods that ended 6 months ago or earlier
    "#]].assert_eq(&shown);
}

// What rows compile to, taken as if people had written it, is looked at whole: the policies of each member and table decide the same.
#[test]
fn policies_are_left_out_only_where_they_say_nothing() {
    let catalogue = Catalogue::parse(SHIPPED).unwrap();
    let groups = "[[group]]\nname = \"friends\"\nmembers = [\"AT-AGENCY\", \"CO-AGENCY\"]\n";
    let row = |partner: &str, table: &str, more: &str| {
        format!(
            "[[grant]]\npartner = [{partner}]\ntable = [{table}]\npurpose = [\"test\"]\nuntil = \"2027-01-01\"\n{more}\n"
        )
    };
    let rows = [
        groups.to_owned(),
        row("\"@friends\"", "\"*\"", "finest = { time = \"quarter\", drug = \"group\" }"),
        row("\"@eu-members\", \"CO-AGENCY\"", "\"seizures-year-drug\", \"sites-year-role\"", "newest = \"12 months\""),
        row("\"@partner-countries\"", "\"cases-year-drug-pair\"", "answer = \"after-two-approvals\""),
        row("\"IT-AGENCY\"", "\"purity-quarter-form-market\"", "oldest = \"2020\"\nanswer = \"after-approval\""),
    ]
    .concat();
    let of_rows = policy(&rows, "").unwrap();
    let whole = of_rows.cedar(Texts { rows: &rows, cedar: "" }, &catalogue).replace("grant-", "row-");
    let written = policy(groups, &whole).unwrap();
    let (mut asked, mut permitted) = (0, 0);
    for member in members() {
        for table in catalogue.tables() {
            for now in [UnixMs(1_795_500_000_000), UnixMs(1_798_761_600_000)] {
                assert_eq!(of_rows.discoverable(&member, table, now), written.discoverable(&member, table, now));
                for (set, year) in table.level_sets().iter().flat_map(|set| [2019, 2024, 2026].map(|year| (set, year)))
                {
                    let months = Months::new((year, 1), (year, 12)).unwrap();
                    let ask = Ask {
                        member: &member,
                        table,
                        levels: &set.levels,
                        purpose: Purpose::Test,
                        topic: false,
                        months,
                        now,
                    };
                    let [one, other] = [&of_rows, &written].map(|policy| words(&policy.decide(ask)));
                    assert_eq!(one.replace("grant-", "row-"), other, "{member} {} {:?} {year}", table.name, set.levels);
                    asked += 1;
                    permitted += u32::from(!one.starts_with("deny"));
                }
            }
        }
    }
    assert!(permitted > 50 && asked > 2 * permitted, "{permitted} of {asked}");
}

// What nests as deep as the bounds let it is parsed, validated and decided on the small stack of a thread. An overflow would end the
// process, so that there is nothing to assert but that this returns.
#[test]
fn the_deepest_texts_do_not_exhaust_the_stack() {
    let when = |condition: &str| {
        format!("permit (principal, action == Accord::Action::\"answer\", resource) when {{ {condition} }};")
    };
    let around =
        |open: &str, times: usize, close: &str| when(&format!("{}true{}", open.repeat(times), close.repeat(times)));
    for (text, valid) in [
        (around("(", 30, ")"), true),
        (around("!(", 30, ")"), true),
        (around("if true then ", 170, " else true"), true),
        (around("if true then true else ", 170, ""), true),
        (when(&format!("true{}", " && true".repeat(490))), true),
        (when(&format!("{}true", "true || ".repeat(490))), true),
        (when(&format!("0{} == 0", " + 0".repeat(950))), true),
        (when(&format!("context{} == 0", ".now".repeat(980))), false),
        (when(&format!("[{}] == [1]", "1,".repeat(1_900))), false),
        (format!("permit (principal, action, resource) {};", "when { true } ".repeat(280)), false),
        (format!("{}permit (principal, action, resource);", "@a ".repeat(1_300)), false),
    ] {
        let read = policy(ROWS, &text);
        assert!(read.is_ok() || !valid, "{:?}: {}", read.err(), text.chars().take(200).collect::<String>());
        if let Ok(policy) = read {
            let decision = decide(&policy, ("CO-AGENCY", "seizures-year-drug", [0, 1], "test", "2025", ASKED.5));
            assert!(!matches!(decision, Decision::Deny(DenyReason::NotPermitted)), "{decision:?}");
        }
    }
}
