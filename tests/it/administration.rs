//! What administrators do after the ceremony, command by command: officers, staff, keys, administrators, suspensions, leavers, root
//! keys; and what is refused on the way.

use std::{fs, path::Path, time::Duration};

use accord_edge::clock::Stopwatch;
use accord_tests::{Federation, Said, accord};
use serde_json::Value;

const ES: &str = "ES-AGENCY";

/// Two profiles of administrators of one member, made from copies of the demo's rings.
fn administrators(federation: &Federation) {
    let path = federation.path();
    for number in [1, 2] {
        let ring = format!("copy-{number}.ring");
        fs::copy(path.join(format!("{ES}/admin-{number}/admin.ring")), path.join(&ring)).unwrap();
        let dir = format!("admin-{number}");
        let said = accord(
            &path,
            &[
                "profile",
                "new",
                &dir,
                "--member",
                ES,
                "--ring",
                &ring,
                "--federation",
                &federation.id,
                "public/federation.accord",
                "public/officers-ES-AGENCY.accord",
                "ES-AGENCY/staff.accord",
            ],
        );
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
}

fn as_admin(federation: &Federation, number: u8, arguments: &[&str]) -> Said {
    let profile = format!("admin-{number}");
    accord(&federation.path(), &[["--profile", &profile, "--json"].as_slice(), arguments].concat())
}

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn ask(federation: &Federation, partner: &str) -> String {
    let said = federation.officer(&["ask", "seizures-year-drug", "--from", partner, "--period", "2024", "--json"]);
    let json = said.json();
    json["result"]["partners"][0]["status"].as_str().map_or_else(|| json["error"]["code"].to_string(), str::to_owned)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Stopwatch::start();
    while !holds() {
        assert!(since.ms() < 10_000, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

// What one administrator has proposed, another one signs, and the operator hands in.
fn sign_and_publish(federation: &Federation, file: &str) {
    let signed = done(&as_admin(federation, 2, &["federation", "sign", file, "--yes"]));
    assert_eq!(signed["complete"], true, "{signed}");
    let published = federation.publish(ES, &[file]);
    assert_eq!(published.code, 0, "{}{}", published.stdout, federation.logs());
    // What the node has added of its own comes back in a file, too.
    let bundle = federation.operator(ES, &["federation", "bundle", "--out", "now.accord"]);
    assert_eq!(bundle.code, 0, "{}", bundle.stderr);
    for number in [1, 2] {
        as_admin(federation, number, &["trust", "update", file, "now.accord"]);
    }
}

#[test]
fn officers_are_added_renewed_suspended_lifted_and_removed() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    administrators(&federation);
    let _nodes = federation.start_all();
    assert_eq!(ask(&federation, "IT-AGENCY"), "answered");

    // One administrator suspends; it holds everywhere; two lift.
    let stop = ["officer", "suspend", "liaison officer", "--reason", "laptop lost", "--out", "stop.accord", "--yes"];
    assert_eq!(done(&as_admin(&federation, 1, &stop))["complete"], true, "one is enough");
    assert_eq!(federation.publish(ES, &["stop.accord"]).code, 0);
    until("the officer is suspended", || ask(&federation, "IT-AGENCY") == "\"NODE-REFUSED\"");
    as_admin(&federation, 1, &["trust", "update", "stop.accord"]);
    let listed = done(&as_admin(&federation, 1, &["officer", "list"]));
    assert_eq!(listed["officers"][0]["state"], "suspended", "{listed}");
    let lift = ["officer", "lift", "liaison officer", "--reason", "found", "--out", "lift.accord", "--yes"];
    let half = done(&as_admin(&federation, 1, &lift));
    assert_eq!((&half["complete"], &half["needs"][0]["have"]), (&Value::from(false), &Value::from(1)), "{half}");
    assert_eq!(federation.publish(ES, &["lift.accord"]).code, 1, "one is not enough");
    let waits = accord(&federation.path(), &["--profile", "admin-1", "trust", "--json"]).json();
    let needs = waits["result"]["needs"].as_array().unwrap();
    assert!(needs.iter().any(|need| need["document"] == "suspend of ES-AGENCY" && need["need"] == 2), "{waits}");
    sign_and_publish(&federation, "lift.accord");
    until("the officer may ask again", || ask(&federation, "IT-AGENCY") == "answered");

    // Renewed: the same key, a new card, which comes by itself.
    let before = fs::read(federation.path().join("officer/officer.card")).unwrap();
    let renew = ["officer", "renew", "liaison officer", "--valid-days", "200", "--out", "renewed.accord", "--yes"];
    let renewed = as_admin(&federation, 1, &renew);
    assert!(done(&renewed)["words"].to_string().contains("nothing changes except"), "{}", renewed.stdout);
    sign_and_publish(&federation, "renewed.accord");
    until("the officer has the new card", || {
        assert_eq!(ask(&federation, "IT-AGENCY"), "answered");
        fs::read(federation.path().join("officer/officer.card")).unwrap() != before
    });

    // Removed, by one.
    let remove = ["officer", "remove", "liaison officer", "--out", "removed.accord", "--yes"];
    assert_eq!(done(&as_admin(&federation, 2, &remove))["complete"], true, "narrowing takes one");
    assert_eq!(federation.publish(ES, &["removed.accord"]).code, 0);
    until("the officer is out", || ask(&federation, "IT-AGENCY") == "\"NODE-REFUSED\"");
}

#[test]
fn what_goes_back_contradicts_or_cannot_be_explained_is_not_signed() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    administrators(&federation);
    let path = federation.path();
    let renew = |out: &str, days: &str| {
        as_admin(&federation, 1, &["member", "keys", "renew", "--valid-days", days, "--out", out, "--yes"])
    };
    assert_eq!(renew("keys-2.accord", "100").code, 0);
    // The same version with another content, before and after it was handed on.
    let other = renew("other-2.accord", "200");
    assert_eq!((other.code, &other.json()["error"]["code"]), (3, &Value::from("GOES-BACK")), "{}", other.stdout);
    assert!(!path.join("other-2.accord").exists(), "nothing is written");
    let replaces = as_admin(
        &federation,
        1,
        &["member", "keys", "renew", "--valid-days", "200", "--out", "other-2.accord", "--yes", "--replaces"],
    );
    assert_eq!(replaces.code, 0, "{}", replaces.stdout);
    // What changes is said in plain words.
    let shown = accord(&path, &["--profile", "admin-2", "federation", "show", "keys-2.accord", "--json"]).json();
    let words = shown["result"]["words"].to_string();
    assert!(words.contains("nothing changes except: valid until"), "{words}");
    assert_eq!(shown["result"]["complete"], false);
    // Somebody whose key does not count.
    let foreign = accord(
        &path,
        &["federation", "sign", "keys-2.accord", "--ring", "IT-AGENCY/admin-1/admin.ring", "--yes", "--json"],
    );
    assert_eq!((foreign.code, &foreign.json()["error"]["code"]), (3, &Value::from("NOT-A-SIGNER")));
    // Without a terminal nobody is asked, so nothing is signed.
    let unasked = as_admin(&federation, 2, &["federation", "sign", "keys-2.accord"]);
    assert_eq!((unasked.code, &unasked.json()["error"]["code"]), (2, &Value::from("NOT-ASKED")));
    // A damaged memory is not passed over.
    let memory = path.join("admin-1/person.signed");
    let text = fs::read_to_string(&memory).unwrap();
    fs::write(&memory, text.replace("member-keys", "member-kyes")).unwrap();
    let damaged = renew("third.accord", "300");
    assert_eq!((damaged.code, &damaged.json()["error"]["code"]), (3, &Value::from("MEMORY")), "{}", damaged.stdout);
    assert!(damaged.json()["error"]["where"]["line"].is_u64());
    // A fingerprint that was heard wrongly.
    let accept = as_admin(&federation, 2, &["trust", "accept", "IT-AGENCY", "--compared", "IT-AGENCY=00000,11111"]);
    assert_eq!((accept.code, &accept.json()["error"]["code"]), (2, &Value::from("NOTHING-WAITS")));
}

#[test]
fn administrators_are_added_and_removed_and_the_last_ones_stay() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    administrators(&federation);
    let _nodes = federation.start_all();
    let path = federation.path();
    let last = as_admin(&federation, 1, &["admin", "remove", "administrator 2", "--yes", "--out", "x.accord"]);
    assert_eq!((last.code, &last.json()["error"]["code"]), (3, &Value::from("LAST-SIGNERS")), "{}", last.stdout);
    let made = accord(&path, &["admin", "new", "admin-3.ring", "--member", ES, "--name", "Clara", "--unprotected"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let add = ["admin", "add", "admin-3.claim", "--out", "keys-2.accord", "--yes"];
    done(&as_admin(&federation, 1, &add));
    // The new one proves that she holds her key, and pins the federation for her ring.
    let print = done(&accord(
        &path,
        &["member", "invite", "XX-TEST", "--name", "x", "--with", "public/root.accord", "--out", "x", "--json"],
    ));
    let groups: Vec<&str> = print["fingerprint"].as_str().unwrap().split(' ').take(2).collect();
    let heard = format!("federation={}", groups.join(","));
    let signed = accord(
        &path,
        &["federation", "sign", "keys-2.accord", "--ring", "admin-3.ring", "--yes", "--heard", &heard, "--json"],
    );
    done(&signed);
    sign_and_publish(&federation, "keys-2.accord");
    let listed = done(&as_admin(&federation, 1, &["admin", "list"]));
    assert_eq!(listed["administrators"]["keys"], 3, "{listed}");
    let keys = listed["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["name"] == "Clara"), "{listed}");
    // Now one may go, and a leaver is taken out of everything.
    let leaver = done(&as_admin(&federation, 1, &["leaver", "Clara", "--list"]));
    assert_eq!(leaver["holds"].as_array().unwrap().len(), 1, "{leaver}");
    let leaver = done(&as_admin(&federation, 1, &["leaver", "Clara", "--yes"]));
    assert_eq!(leaver["documents"].as_array().unwrap().len(), 1, "{leaver}");
    sign_and_publish(&federation, "leaver-clara-to-sign.accord");
    assert_eq!(done(&as_admin(&federation, 1, &["admin", "list"]))["administrators"]["keys"], 2);
    let unknown = as_admin(&federation, 1, &["leaver", "Nobody"]);
    assert_eq!((unknown.code, &unknown.json()["error"]["code"]), (2, &Value::from("NAME")));
}

#[test]
fn the_drills_say_what_would_stop_and_change_nothing() {
    let federation = Federation::new(&[ES, "IT-AGENCY", "PT-AGENCY"]);
    let before = files(&federation.path());
    let with = ["--with", "public/federation.accord", "--json"];
    let drill = |arguments: &[&str]| accord(&federation.path(), &[["drill"].as_slice(), arguments, &with].concat());
    let revoke = drill(&["revoke", "IT"]).json();
    assert_eq!(revoke["result"]["member"], "IT-AGENCY");
    assert_eq!(revoke["result"]["providers"], serde_json::json!({ "now": 3, "left": 2 }));
    assert_eq!(drill(&["revoke", "FR"]).code, 2);
    let expires = drill(&["expire"]).json();
    let all = expires["result"]["expires"].as_array().unwrap();
    assert!(all.windows(2).all(|pair| pair[0]["at"].as_str() <= pair[1]["at"].as_str()), "in the order of time");
    let lose = drill(&["lose-signer"]);
    assert_eq!(lose.code, 1, "2 of 2 administrators: nobody may be lost");
    let signers = lose.json()["result"]["signers"].clone();
    assert_eq!(
        (&signers[0]["may_be_lost"], &signers[1]["may_be_lost"]),
        (&Value::from(1), &Value::from(0)),
        "{signers}"
    );
    assert_eq!(before, files(&federation.path()), "nothing is changed");
}

fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push((path.display().to_string(), path.metadata().unwrap().len()));
        }
    }
    all.sort();
    all
}

#[test]
fn root_keys_are_exchanged_by_old_and_new_holders_and_nobody_asks_in_between() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    let _nodes = federation.start_all();
    let path = federation.path();
    let run = |arguments: &[&str]| accord(&path, &[arguments, &["--json"]].concat());
    done(&run(&["root", "new", "root-4/root.ring", "--name", "root holder 4", "--unprotected"]));
    let shown = done(&run(&["key", "show", "root-3/root.ring"]));
    let third = shown["keys"][0]["fingerprint"].as_str().unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ");
    let propose =
        ["root", "propose", "--with", "public/roster.accord", "--remove", &third, "--add", "root-4/root.claim"];
    done(&run(&[propose.as_slice(), &["--out", "root-2.accord"]].concat()));
    let sign = |file: &str, ring: &str| {
        let heard = format!("federation={}", groups_of(&federation));
        let ring = format!("{ring}/root.ring");
        done(&run(&["federation", "sign", file, "--ring", &ring, "--yes", "--heard", &heard]))
    };
    assert_eq!(sign("root-2.accord", "root-1")["complete"], false);
    assert_eq!(sign("root-2.accord", "root-2")["complete"], false, "the new holder has not signed");
    assert_eq!(sign("root-2.accord", "root-4")["complete"], true);
    let roster = ["federation", "propose", "--with", "public/roster.accord,root-2.accord", "--out", "roster-2.accord"];
    done(&run(&roster));
    sign("roster-2.accord", "root-1");
    // The key that was taken out counts no more.
    let gone = run(&["federation", "sign", "roster-2.accord", "--ring", "root-3/root.ring", "--yes"]);
    assert_eq!((gone.code, &gone.json()["error"]["code"]), (3, &Value::from("NOT-A-SIGNER")), "{}", gone.stdout);
    assert_eq!(sign("roster-2.accord", "root-4")["complete"], true);
    let published = federation.publish(ES, &["root-2.accord", "roster-2.accord"]);
    assert_eq!(published.code, 0, "{}{}", published.stdout, federation.logs());
    until("IT has the roster", || federation.roster_version("IT-AGENCY") == 2);
    until("the officer asks", || ask(&federation, "IT-AGENCY") == "answered");
}

fn groups_of(federation: &Federation) -> String {
    let shown = accord(&federation.path(), &["federation", "show", "public/root.accord", "--json"]).json();
    let words = shown["result"]["words"].as_array().unwrap();
    let line = words.iter().find_map(|line| line.as_str()?.trim().strip_prefix("read it out as ").map(str::to_owned));
    line.unwrap().split(' ').take(2).collect::<Vec<_>>().join(",")
}

#[test]
fn an_agent_keeps_an_officers_key_for_a_while_and_never_an_administrators() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    administrators(&federation);
    let _nodes = federation.start_all();
    let never = as_admin(&federation, 1, &["unlock"]);
    assert_eq!((never.code, &never.json()["error"]["code"]), (3, &Value::from("NEVER-UNLOCKED")));
    // Sealed with a passphrase, the ring does not open without it; unlocked, the officer asks.
    let path = federation.path();
    let piped = |arguments: &str, lines: &str| {
        let line = format!("exec {} {arguments} --passphrase-fd 0 --json", accord_tests::program("accord").display());
        accord_tests::shell(&path, &line, lines)
    };
    done(&piped("--profile officer key reseal", "\nlong enough\n"));
    assert_eq!(ask(&federation, "IT-AGENCY"), "\"KEY-RING\"");
    let wrong = piped("--profile officer unlock --for 1m", "not this one\n");
    assert_eq!((wrong.code, &wrong.json()["error"]["code"]), (3, &Value::from("AGENT")), "{}", wrong.stdout);
    done(&piped("--profile officer unlock --for 1m", "long enough\n"));
    assert_eq!(ask(&federation, "IT-AGENCY"), "answered");
    done(&federation.officer(&["lock", "--json"]));
    assert_eq!(ask(&federation, "IT-AGENCY"), "\"KEY-RING\"");
    done(&piped("--profile officer unlock --for 2s", "long enough\n"));
    assert_eq!(ask(&federation, "IT-AGENCY"), "answered");
    until("the time is over", || ask(&federation, "IT-AGENCY") == "\"KEY-RING\"");
}

#[test]
fn an_officers_key_is_exchanged_while_the_officer_asks_and_nothing_fails() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    administrators(&federation);
    let _nodes = federation.start_all();
    let rotations = accord_tests::seeded::from_environment("ACCORD_ROTATIONS", 2);
    let over = std::sync::atomic::AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut words = Vec::new();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                words.push(ask(&federation, "IT-AGENCY"));
            }
            words
        });
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for rotation in 1..=rotations {
                rotate_officer(&federation, rotation);
            }
        }));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        rotated.unwrap();
        asking.join().unwrap()
    });
    let failed: Vec<&String> = asked.iter().filter(|word| *word != "answered").collect();
    println!("{rotations} rotations of an officer's key: {} asked, {} failed", asked.len(), failed.len());
    assert!(failed.is_empty() && asked.len() > 3, "{failed:?} of {}", asked.len());
}

fn rotate_officer(federation: &Federation, rotation: u64) {
    let file = |what: &str| format!("{what}-{rotation}.accord");
    let before = fs::read(federation.path().join("officer/officer.card")).unwrap();
    // Who was replaced in the rotation before leaves the ring now.
    let rotate = ["key", "rotate", "--name", &format!("officer, key {rotation}"), "--out", &file("claim"), "--json"];
    done(&federation.officer(&rotate));
    let add = ["officer", "add", &file("claim"), "--out", &file("officers"), "--yes"];
    done(&as_admin(federation, 1, &add));
    sign_and_publish(federation, &file("officers"));
    // The card of the new key comes by a file: the node knows only that somebody new is listed.
    let taken = federation.officer(&["trust", "update", &file("officers"), "--json"]);
    assert_eq!(taken.code, 0, "{}", taken.stdout);
    assert_ne!(fs::read(federation.path().join("officer/officer.card")).unwrap(), before, "the new key's card");
    let who = if rotation == 1 { "liaison officer".to_owned() } else { format!("officer, key {}", rotation - 1) };
    std::thread::sleep(Duration::from_millis(1_500));
    let remove = ["officer", "remove", &who, "--out", &file("removed"), "--yes"];
    done(&as_admin(federation, 2, &remove));
    assert_eq!(federation.publish(ES, &[&file("removed")]).code, 0);
    for number in [1, 2] {
        as_admin(federation, number, &["trust", "update", &file("removed")]);
    }
}

#[test]
fn a_new_member_joins_a_federation_that_runs_and_waits_until_it_is_accepted() {
    let federation = Federation::new(&[ES, "IT-AGENCY"]);
    administrators(&federation);
    let mut nodes = federation.start_all();
    let path = federation.path();
    let run = |arguments: &[&str]| accord(&path, &[arguments, &["--json"]].concat());
    let with = ["--with", "public/federation.accord"];
    let invite = ["member", "invite", "PT-AGENCY", "--name", "Agency of PT", "--out", "PT.invitation"];
    done(&run(&[invite.as_slice(), &with].concat()));
    let init = ["init", "PT/node", "--member", "PT-AGENCY", "--name", "Agency of PT", "--listen", "127.0.0.1:0"];
    assert_eq!(accord_tests::accord_node(&path, &init).code, 0);
    for number in [1, 2] {
        let ring = format!("PT/admin-{number}.ring");
        done(&run(&["admin", "new", &ring, "--member", "PT-AGENCY", "--name", "x", "--unprotected"]));
    }
    // An invitation for somebody else, and a federation that was not heard so.
    let join = ["join", "PT.invitation", "--node", "PT/node", "--admins", "PT/admin-1.claim,PT/admin-2.claim"];
    let wrong = run(&[join.as_slice(), &["--out", "keys.accord", "--heard", "federation=00000,11111"]].concat());
    assert_eq!((wrong.code, &wrong.json()["error"]["code"]), (3, &Value::from("FINGERPRINT")), "{}", wrong.stdout);
    let joined = done(&run(&[join.as_slice(), &["--out", "keys.accord", "--federation", &federation.id]].concat()));
    let by_two = ["--ring", "PT/admin-1.ring", "--ring", "PT/admin-2.ring", "--yes", "--federation", &federation.id];
    done(&run(&[["federation", "sign", "keys.accord"].as_slice(), &by_two].concat()));
    let staff = ["staff", "add", "PT/node/operator/operator.claim", "--with", "keys.accord", "--out", "staff.accord"];
    done(&run(&[staff.as_slice(), &by_two].concat()));
    let propose = ["federation", "propose", "--add", "keys.accord", "--out", "roster-2.accord"];
    let proposed = done(&run(&[propose.as_slice(), &with].concat()));
    assert!(proposed["words"].to_string().contains("new member PT-AGENCY (Agency of PT)"), "{proposed}");
    let print = joined["fingerprint"].as_str().unwrap();
    let heard = format!("PT-AGENCY={}", print.split(' ').take(2).collect::<Vec<_>>().join(","));
    let sign = ["federation", "sign", "roster-2.accord", "--ring", "root-1/root.ring", "--ring", "root-2/root.ring"];
    let unheard = run(&[sign.as_slice(), &["--yes"]].concat());
    assert_eq!((unheard.code, &unheard.json()["error"]["code"]), (2, &Value::from("HEARD")), "{}", unheard.stdout);
    done(&run(&[sign.as_slice(), &["--yes", "--heard", &heard]].concat()));
    assert_eq!(federation.publish(ES, &["roster-2.accord"]).code, 0);
    let install = ["install", "PT/node", "--federation", &federation.id, "roster-2.accord", "staff.accord"];
    assert_eq!(accord_tests::accord_node(&path, &install).code, 0);
    nodes.push(accord_tests::Running::start(&path, "PT/node"));

    // It waits at ES: shown, and not used, until an administrator has compared the fingerprint.
    let shown = federation.operator(ES, &["trust", "--json"]).json();
    let problems = shown["result"]["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem["code"] == "T-WAITING"), "{shown}");
    assert_ne!(ask(&federation, "PT-AGENCY"), "refused");
    for number in [1, 2] {
        assert_eq!(as_admin(&federation, number, &["trust", "update", "roster-2.accord"]).code, 0);
    }
    let accept = |groups: &str| {
        let compared = format!("PT-AGENCY={groups}");
        as_admin(
            &federation,
            1,
            &["trust", "accept", "PT-AGENCY", "--compared", &compared, "--yes", "--out", "yes.accord"],
        )
    };
    assert_eq!(accept("00000,11111").json()["error"]["code"], "FINGERPRINT");
    assert!(!path.join("yes.accord").exists());
    let (_, groups) = heard.split_once('=').unwrap();
    assert_eq!(done(&accept(groups))["complete"], true, "one is enough");
    assert_eq!(federation.publish(ES, &["yes.accord"]).code, 0);
    // It has granted nothing, and says so: it is there.
    until("PT answers", || ask(&federation, "PT-AGENCY") == "refused");
}
