//! Hours, days and months that go by while real nodes run: logs are closed and cosigned, promises are missed and kept, details go.

use std::{thread, time::Duration};

use accord_protocol::{
    suspend::{Target, Way},
    time::{DAY_MS, UnixMs},
};
use accord_tests::{
    Federation, Running, Said,
    folder::{copy, replace},
    set_clock::SetClock,
};
use serde_json::{Value, json};

use crate::load::{ES, IT};

pub(crate) const DK: &str = "DK-AGENCY";
pub(crate) const HOUR_S: u64 = 3_600;
const HOUR_MS: u64 = 1_000 * HOUR_S;

/// A federation whose nodes and tools go by a clock that is set.
pub(crate) struct Stage {
    pub(crate) federation: Federation,
    pub(crate) clock: SetClock,
}

impl Stage {
    fn new(members: &[&str]) -> Self {
        Self::of(Federation::new(members))
    }

    /// A federation at ten past a full hour, so that none comes by itself.
    pub(crate) fn of(federation: Federation) -> Self {
        let stage = Self { clock: SetClock::new(&federation.path().join("clock")), federation };
        stage.clock.go_to(next_hour(stage.clock.now()).plus(600_000));
        stage
    }

    /// Starts a node, and waits until it has heard those who are there.
    pub(crate) fn start(&self, member: &str) -> Running {
        let node = self.clock.start(&self.federation.path(), &format!("{member}/node"));
        self.until("it has heard those who are there", || {
            self.operator(member, &["status"])["result"]["learning"] == false
        });
        node
    }

    /// Somebody runs the tool.
    pub(crate) fn run(&self, profile: &str, arguments: &[&str]) -> Said {
        let arguments = [["--profile", profile, "--json"].as_slice(), arguments].concat();
        self.clock.accord(&self.federation.path(), &arguments)
    }

    /// A member's operator runs the tool, and it goes well.
    pub(crate) fn operator(&self, member: &str, arguments: &[&str]) -> Value {
        let said = self.run(&format!("{member}/node/operator"), arguments);
        assert!(said.code <= 1, "{arguments:?}: {}{}", said.stdout, said.stderr);
        said.json()
    }

    fn log(&self, member: &str) -> Value {
        self.operator(member, &["status"])["result"]["log"].clone()
    }

    fn warned(&self, member: &str, code: &str) -> bool {
        let said = self.operator(member, &["status"]);
        said["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
    }

    /// Entries of one kind in a member's log.
    pub(crate) fn entries(&self, member: &str, kind: &str) -> Vec<Value> {
        let shown = self.operator(member, &["audit", "show", "--kind", kind, "--limit", "1000"]);
        shown["result"]["entries"].as_array().unwrap().clone()
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..900 {
            if is_so() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("not within 90 s: {what}\n{}", self.federation.logs());
    }

    // The same of cosignatures: what was shown over a connection that was lost is shown again half a minute later.
    fn until_cosigned(&self, member: &str, by: usize, since: UnixMs) {
        for _ in 0..30 {
            for _ in 0..20 {
                if self.is_cosigned_since(member, by, since) {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
            self.clock.go_on(31);
        }
        panic!("{member} is not cosigned by {by} since {since}\n{}", self.federation.logs());
    }

    // The same of something that a node tries again and again: who was asleep has lost its connections, and is asked in vain once.
    fn until_tried_again(&self, what: &str, is_so: impl Fn() -> bool) {
        self.until(what, || {
            self.clock.go_on(11 * 60);
            is_so()
        });
    }

    /// Whether so many others have cosigned what was last closed, all of them from an instant on.
    pub(crate) fn is_cosigned_since(&self, member: &str, by: usize, since: UnixMs) -> bool {
        let log = self.log(member);
        let at = |witness: &Value| witness["at"].as_str().unwrap().parse::<UnixMs>().unwrap();
        log["closed"].is_u64()
            && log["witnesses"].as_array().is_some_and(|all| all.len() == by && all.iter().all(|one| at(one) >= since))
    }
}

const fn next_hour(now: UnixMs) -> UnixMs {
    UnixMs((now.0 / HOUR_MS + 1) * HOUR_MS)
}

#[test]
fn a_promise_that_a_partner_does_not_keep_for_a_day_is_said_by_everybody_until_it_is_kept() {
    let stage = Stage::new(&[ES, IT, DK]);
    let _es = stage.start(ES);
    let it = stage.start(IT);
    let _dk = stage.start(DK);
    // What was promised while the federation was raised is kept first.
    stage.operator(IT, &["audit", "close"]);
    stage.until_cosigned(IT, 2, UnixMs(0));
    stage.until_tried_again("earlier promises are kept", || stage.log(ES)["unproven"] == 0);

    stage.until("connections stand again", || stage.run("officer", &["tables", "--from", IT]).code == 0);
    let ask = ["ask", "seizures-year-drug", "--from", IT, "--period", "2024", "--evidence", "asked.json"];
    let asked_at = stage.clock.now();
    let said = stage.run("officer", &ask);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let evidence = |arguments: &[&str]| {
        let said = stage.run("officer", &[&["evidence"], arguments].concat());
        (said.code, said.json())
    };
    let verify = || evidence(&["verify", "asked.json"]);
    let complete = || evidence(&["complete", "asked.json"]);
    let bytes = || std::fs::read(stage.federation.path().join("asked.json")).unwrap();
    let (_, verified) = verify();
    let promised: UnixMs = verified["result"]["statements"][0]["provable_after"].as_str().unwrap().parse().unwrap();
    assert_eq!(promised, next_hour(asked_at).plus(600_000), "ten minutes after the next full hour");
    assert_eq!(verified["result"]["unproven"], json!([]));
    let (code, early) = complete();
    assert_eq!((code, &early["result"]["statements"][0]["standing"]), (1, &json!("not_yet")), "{early}");
    assert!(it.stop());

    // A day is not over while it could have been proven for less than that.
    stage.clock.go_to(promised.plus(DAY_MS - 120_000));
    stage.until("the hour is closed", || stage.is_cosigned_since(ES, 1, promised.plus(DAY_MS - HOUR_MS)));
    assert_eq!((&stage.log(ES)["unproven"], &stage.log(ES)["missing"]), (&json!(1), &json!(0)));
    assert_eq!(verify().1["result"]["unproven"], json!([]));
    let (code, late) = complete();
    assert_eq!((code, &late["result"]["statements"][0]["standing"]), (1, &json!("due")), "{late}");
    stage.clock.go_to(promised.plus(DAY_MS + 60_000));
    stage.until("the node says so", || stage.warned(ES, "UNPROVEN"));
    assert_eq!((&stage.log(ES)["unproven"], &stage.log(ES)["missing"]), (&json!(1), &json!(1)));
    let entry = &stage.entries(ES, "unproven")[0]["detail"];
    assert_eq!(
        (&entry["from"], entry["provable_after"].as_str().unwrap().parse::<UnixMs>().unwrap()),
        (&json!(IT), promised)
    );
    let before = bytes();
    let (code, verified) = verify();
    assert_eq!((code, &verified["warnings"][0]["code"]), (0, &json!("UNPROVEN")), "the signature holds: {verified}");
    assert_eq!(verified["result"]["unproven"][0]["who"], IT);
    let (code, missing) = complete();
    let standing = &missing["result"]["statements"][0]["standing"];
    assert_eq!((code, standing, &missing["warnings"][0]["code"]), (1, &json!("overdue"), &json!("UNPROVEN")));
    assert_eq!(bytes(), before);
    // It is said once, however long it goes on.
    stage.clock.go_on(3 * HOUR_S);
    stage.until("three more hours", || stage.is_cosigned_since(ES, 1, promised.plus(DAY_MS + 2 * HOUR_MS)));
    assert_eq!(stage.entries(ES, "unproven").len(), 1);

    // The partner is back, and closes its log at its next hour.
    let _it = stage.start(IT);
    let hour = next_hour(stage.clock.now());
    stage.clock.go_to(hour.plus(1_000));
    stage.until_cosigned(IT, 2, hour);
    stage.until_tried_again("the promise is kept", || stage.log(ES)["unproven"] == 0);
    assert!(!stage.warned(ES, "UNPROVEN"));
    assert_eq!(stage.log(ES)["missing"], 0);
    assert_eq!(stage.entries(ES, "unproven").len(), 1, "what was said stays");
    let subject = &stage.entries(ES, "unproven")[0]["detail"]["subject"];
    assert!(stage.entries(IT, "answered").iter().any(|entry| entry["subject"] == *subject));
    let (code, completed) = complete();
    let statement = &completed["result"]["statements"][0];
    assert_eq!(
        (code, &statement["standing"], &completed["result"]["level"]),
        (0, &json!("complete"), &json!("witnessed"))
    );
    let (code, verified) = evidence(&["verify", "asked.json", "--require", "witnessed"]);
    assert_eq!((code, &verified["result"]["unproven"], &verified["warnings"]), (0, &json!([]), &json!([])));
}

#[test]
fn a_log_is_closed_and_cosigned_every_hour_whether_anything_happened_or_not() {
    let stage = Stage::new(&[ES, IT, DK]);
    let members = [ES, IT, DK];
    let _nodes: Vec<Running> = members.iter().map(|member| stage.start(member)).collect();
    let hour = || {
        let hour = next_hour(stage.clock.now());
        stage.clock.go_to(hour.plus(1_000));
        for member in members {
            stage.until_cosigned(member, 2, hour);
        }
        members.map(|member| {
            let log = stage.log(member);
            assert_eq!(log["state"], "witnessed", "{log}");
            assert_eq!(log["closed"].as_u64().unwrap() % 64, 0, "{log}");
            (log["closed"].as_u64().unwrap(), log["root"].as_str().unwrap().to_owned())
        })
    };
    let first = hour();
    // Nothing happens: the same once more, and others say that they see it now.
    assert_eq!(hour(), first);
    // One thing happens at one of them, or sixty: nobody sees how much.
    for _ in 0..2 {
        stage.operator(IT, &["coverage", "set", "site", "2020", "partial"]);
    }
    let third = hour();
    let grown = |at: usize| third[at].0 - first[at].0;
    assert_eq!([grown(0), grown(1), grown(2)], [0, 64, 0]);
    let holds = stage.log(ES)["holds"].clone();
    let of_it = holds.as_array().unwrap().iter().find(|held| held["member"] == IT).unwrap();
    assert_eq!(of_it["size"].as_u64().unwrap(), third[1].0);
}

#[test]
fn a_log_that_nobody_cosigns_is_warned_of_after_ten_minutes_and_one_that_was_cosigned_after_a_day() {
    let stage = Stage::new(&[ES, IT]);
    let _es = stage.start(ES);
    stage.operator(ES, &["audit", "close"]);
    let standing = || (stage.log(ES)["state"].clone(), stage.warned(ES, "UNWITNESSED"));
    assert_eq!(standing(), (json!("waiting"), false));
    stage.clock.go_on(9 * 60);
    assert_eq!(standing(), (json!("waiting"), false), "others have ten minutes for it");
    stage.clock.go_on(2 * 60);
    assert_eq!(standing(), (json!("waiting"), true));
    let it = stage.start(IT);
    stage.until("it is cosigned", || standing() == (json!("witnessed"), false));
    assert!(it.stop());
    // Every hour goes by without it, and what it has said grows old.
    stage.clock.go_on(20 * HOUR_S);
    assert_eq!(standing(), (json!("witnessed"), false));
    stage.clock.go_on(5 * HOUR_S);
    stage.until("older than a day", || stage.warned(ES, "UNWITNESSED"));
    let _it = stage.start(IT);
    stage.until("it is cosigned anew", || !stage.warned(ES, "UNWITNESSED"));
}

#[test]
fn details_of_months_that_are_over_cannot_be_read_any_more_not_even_in_a_store_of_before() {
    let stage = Stage::new(&[ES, IT]);
    stage.federation.edit("IT-AGENCY/node/node.toml", "details_months = 24", "details_months = 1");
    let node = stage.start(IT);
    stage.operator(IT, &["coverage", "set", "site", "2020", "partial"]);
    let declared = || stage.entries(IT, "coverage").into_iter().find(|entry| entry["seq"] != 0).unwrap();
    let (seq, before) = (declared()["seq"].clone(), declared());
    assert_eq!(before["detail"]["kind"], "site", "{before}");
    assert!(node.stop());
    let at = |name: &str| stage.federation.path().join(name);
    let (folder, yesterday) = (at("IT-AGENCY/node"), at("yesterday"));
    copy(&folder.join("store"), &yesterday);

    // So long after what others have said the node does not believe its clock, where it destroys something; its operator may.
    stage.clock.go_on(70 * 24 * HOUR_S);
    let node = stage.start(IT);
    let shown = stage.operator(IT, &["retention", "show"])["result"].clone();
    let over = shown["over"].as_array().unwrap().clone();
    assert!(!over.is_empty(), "{shown}");
    assert_eq!(declared()["detail"], before["detail"]);
    let run = stage.operator(IT, &["retention", "run"])["result"].clone();
    assert_eq!(run["over"], json!(over));
    assert!(run["details_deleted"].as_u64().unwrap() > 0, "{run}");
    for month in &over {
        assert!(!folder.join(format!("journal/{}.key", month.as_str().unwrap())).exists());
    }
    let gone = declared();
    assert_eq!((&gone["seq"], &gone["detail"], &gone["detail_changed"]), (&seq, &Value::Null, &json!(false)));
    assert!(stage.entries(IT, "retention")[0]["detail"]["months"] == json!(over), "what is new can be read");
    assert_eq!(stage.operator(IT, &["audit", "verify"])["exit"], 0);
    assert!(node.stop());

    // The store of before has what was sealed, and nobody has what opens it.
    replace(&yesterday, &folder.join("store"));
    let _node = stage.start(IT);
    let of_before = declared();
    assert_eq!((&of_before["seq"], &of_before["detail"]), (&seq, &Value::Null));
}

#[test]
fn a_clock_that_is_behind_is_in_the_log_and_so_is_who_set_its_mark_anew() {
    let stage = Stage::new(&[ES, IT]);
    let federation = &stage.federation;
    let _es = stage.start(ES);
    let it = stage.start(IT);
    let mark = |status: &Value| status["result"]["clock"]["mark"].as_str().unwrap().parse::<UnixMs>().unwrap();
    stage.until("what the partner says of the time is kept", || {
        mark(&stage.operator(IT, &["status"])) > accord_edge::clock::now().plus(300_000)
    });
    assert_eq!(stage.entries(IT, "clock"), [] as [Value; 0]);
    assert!(it.stop());

    // The machine's own time: ten minutes behind, or more.
    let behind = SetClock::new(&federation.path().join("clock-behind"));
    let _it = behind.start(&federation.path(), "IT-AGENCY/node");
    let said = || {
        let show = ["--profile", "IT-AGENCY/node/operator", "--json", "audit", "show", "--kind", "clock"];
        let said = behind.accord(&federation.path(), &show).json();
        said["result"]["entries"].as_array().unwrap().clone()
    };
    let states =
        || said().iter().map(|entry| entry["detail"]["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    stage.until("the clock is behind", || states() == ["behind"]);
    let [first] = said().try_into().unwrap();
    let [shows, due] = ["shows", "mark"].map(|name| first["detail"][name].as_str().unwrap().parse::<UnixMs>().unwrap());
    assert!(shows.plus(300_000) < due, "{first}");
    assert_eq!(first["detail"]["actor"], "node");

    federation.suspend(IT, (Way::Lifts, Target::Clock, IT), &[1, 2], "reset.accord");
    let published = federation.publish(IT, &["reset.accord"]);
    assert_eq!(published.code, 0, "{}{}", published.stdout, published.stderr);
    stage.until("it is right by its new mark", || states() == ["behind", "set-anew", "right"]);
    let reset = federation.document("reset.accord").hash().to_string();
    assert_eq!(said()[1]["detail"]["document"], reset);
}
