//! Logs in others' eyes, through real processes: cosignatures, forks and lost entries, and what becomes of whoever shows them.

use std::{thread, time::Duration};

use accord_edge::keyring::KeyRing;
use accord_node::{
    domain::{
        unmatched::{Asking, Unmatched, Without},
        witnessing::Witnessing,
    },
    io::store::{Batch, Store},
};
use accord_protocol::{
    codec::{Bounded, Cap, decode, encode},
    id::{Hash, NodeId},
    log::{
        Checkpoint, SignedCheckpoint, log_origin,
        passing::{Asked, Cosign, CosignOutcome, Cosigned, ProofCall, Told, fork_id, read},
    },
    member_keys::KeyRole,
    message::MessageKind,
    suspend::{Target, Way},
    time::UnixMs,
};
use accord_tests::{
    Federation, Said,
    folder::{copy, replace},
    member::Member,
};
use serde_json::{Value, json};

const ES: &str = "ES-AGENCY";
const IT: &str = "IT-AGENCY";
const DK: &str = "DK-AGENCY";

fn done(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    said.json()["result"].clone()
}

fn status(federation: &Federation, member: &str) -> Value {
    federation.operator(member, &["status", "--json"]).json()
}

fn log(federation: &Federation, member: &str) -> Value {
    status(federation, member)["result"]["log"].clone()
}

fn warned(federation: &Federation, member: &str, code: &str) -> bool {
    let said = status(federation, member);
    said["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == code)
}

fn until(federation: &Federation, what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..900 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("not within 90 s: {what}\n{}", federation.logs());
}

fn close(federation: &Federation, member: &str) -> u64 {
    done(&federation.operator(member, &["audit", "close", "--json"]))["size"].as_u64().unwrap()
}

fn is_witnessed(federation: &Federation, member: &str, size: u64, by: usize) -> bool {
    let log = log(federation, member);
    log["closed"] == size && log["witnesses"].as_array().is_some_and(|all| all.len() == by)
}

fn ask(federation: &Federation, member: &str) -> String {
    let ask = ["ask", "seizures-year-drug", "--period", "2021..2024", "--from", member, "--json"];
    let said = federation.officer(&ask).json();
    // Refused by every partner is an error, with nothing but its words.
    said["result"]["partners"][0]["status"].as_str().unwrap_or("refused").to_owned()
}

/// A checkpoint that an insider signs with the key of a member's log.
fn forged(federation: &Federation, member: &str, size: u64, root: u8) -> SignedCheckpoint {
    let ring = federation.path().join(member).join("node/node.ring");
    let key = KeyRing::open(&ring, || None).unwrap().take(KeyRole::Log).unwrap();
    let origin = log_origin(&federation.federation_id(), &member.parse().unwrap());
    Checkpoint { origin, size, root: Hash([root; 32]) }.sign(&key).unwrap()
}

fn shown(by: &Member, old_size: u64, checkpoint: &SignedCheckpoint) -> Cosigned {
    let call = Cosign { old_size, consistency: Bounded::default(), checkpoint: checkpoint.bare().unwrap() };
    let (head, _) = by.hear(MessageKind::Cosign, encode(&call).unwrap()).unwrap();
    decode(&head, Cap::Head).unwrap()
}

fn accept(federation: &Federation, member: &str, id: &str, admins: &[u8]) -> i32 {
    let file = format!("{member}-fork.accord");
    federation.suspend(member, (Way::Lifts, Target::Fork, id), admins, &file);
    federation.publish(member, &[&file]).code
}

fn open_fork(federation: &Federation, member: &str, of: &str) -> Option<String> {
    let log = log(federation, member);
    let forks = log["forks"].as_array().unwrap();
    let open = forks.iter().find(|fork| fork["member"] == of && fork["accepted_at"].is_null())?;
    Some(open["id"].as_str().unwrap().to_owned())
}

#[test]
fn whoever_closes_its_log_has_it_cosigned_and_others_prove_that_later() {
    let federation = Federation::new(&[ES, IT, DK]);
    let mut nodes = federation.start_all();
    assert_eq!(log(&federation, IT)["state"], "waiting");
    assert_eq!(log(&federation, IT)["needed"], 2);
    let size = close(&federation, IT);
    until(&federation, "both others cosign", || is_witnessed(&federation, IT, size, 2));
    assert_eq!(log(&federation, IT)["state"], "witnessed");
    let holds = log(&federation, ES)["holds"].clone();
    assert_eq!((&holds[0]["member"], &holds[0]["size"]), (&json!(IT), &json!(size)));

    // Who was not there when it was closed is shown it later, and then it is under the log and under proofs.
    let dk = nodes.pop().unwrap();
    assert!(dk.stop());
    assert_eq!(ask(&federation, IT), "answered");
    let next = close(&federation, IT);
    assert!(next > size);
    until(&federation, "the one that is there cosigns", || is_witnessed(&federation, IT, next, 1));
    assert_eq!(log(&federation, IT)["state"], "waiting");
    assert!(!warned(&federation, IT, "UNWITNESSED"), "others have some minutes for it");
    nodes.push(federation.start_settled(DK));
    until(&federation, "the other one, once it is back", || is_witnessed(&federation, IT, next, 2));
    let entry = federation.operator(IT, &["audit", "show", "--kind", "answered", "--json"]);
    let entry = done(&entry)["entries"][0].clone();
    let seq = entry["seq"].to_string();
    done(&federation.operator(IT, &["audit", "prove", &seq, "--out", "answer.tlog-proof", "--json"]));
    let verified = done(&federation.operator(ES, &["audit", "verify", "answer.tlog-proof", "--json"]));
    assert_eq!(verified["witnesses"].as_array().unwrap().len(), 2, "{verified}");

    // Whoever has what was signed has it proven, and nobody learns anything by other questions.
    let asks = Member::open(&federation.path(), ES, IT);
    let subject: Hash = entry["subject"].as_str().unwrap().parse().unwrap();
    let prove = |what, subject, old, new| {
        let call = ProofCall { what, subject, old, new };
        asks.hear(MessageKind::Proof, encode(&call).unwrap()).unwrap().0
    };
    assert_eq!(prove(Asked::Entry, subject, 0, 0), [1]);
    assert_eq!(prove(Asked::Entry, Hash([7; 32]), 0, 0), [0]);
    assert_eq!(prove(Asked::Consistency, Hash::ZERO, size, next), [1]);
    assert_eq!(prove(Asked::Consistency, Hash::ZERO, size, u64::MAX), [0]);
    let started = done(&federation.operator(IT, &["audit", "show", "--kind", "document", "--json"]));
    let document: Hash = started["entries"][0]["subject"].as_str().unwrap().parse().unwrap();
    assert_eq!(prove(Asked::Entry, document, 0, 0), [0], "only what was decided of requests");
}

#[test]
fn a_checkpoint_that_does_not_follow_is_not_cosigned_and_ends_the_exchange() {
    let federation = Federation::new(&[ES, IT]);
    let _nodes = federation.start_all();
    let size = close(&federation, IT);
    until(&federation, "it is held", || is_witnessed(&federation, IT, size, 1));
    assert_eq!(ask(&federation, IT), "answered");
    let insider = Member::open(&federation.path(), IT, ES);
    let held = |said: &Cosigned| {
        let note = read(&said.held).unwrap();
        (said.outcome, Checkpoint::from_text(note.text()).unwrap().size)
    };
    // What is not believed changes nothing.
    let other = forged(&federation, ES, size + 64, 1);
    let said = shown(&insider, size, &other);
    assert_eq!(held(&said), (CosignOutcome::Refused, size), "another's log");
    assert!(said.line.as_slice().is_empty());
    assert_eq!(
        held(&shown(&insider, size + 1, &forged(&federation, IT, size + 64, 1))),
        (CosignOutcome::OtherSize, size)
    );
    assert_eq!((ask(&federation, IT).as_str(), open_fork(&federation, ES, IT)), ("answered", None));

    // A larger one without a proof is another past.
    let said = shown(&insider, size, &forged(&federation, IT, size + 64, 1));
    assert_eq!(held(&said), (CosignOutcome::Refused, size));
    assert!(said.line.as_slice().is_empty());
    let id = open_fork(&federation, ES, IT).unwrap();
    assert!(warned(&federation, ES, "FORK"));
    let entries = done(&federation.operator(ES, &["audit", "show", "--kind", "fork", "--json"]))["entries"].clone();
    assert_eq!(entries[0]["detail"]["id"], json!(id));
    assert_eq!(ask(&federation, IT), "unreachable", "nothing is asked of it");
    let from_it = Member::open(&federation.path(), IT, ES);
    assert_eq!(from_it.hear(MessageKind::View, Vec::new()).unwrap().0, [0], "nothing is shown to it");
    // More of it is no more evidence.
    shown(&insider, size, &forged(&federation, IT, size + 128, 2));
    assert_eq!(log(&federation, ES)["forks"].as_array().unwrap().len(), 1);

    // One administrator is not enough, and another fork is not meant.
    assert_ne!(accept(&federation, ES, &id, &[1]), 0);
    assert_eq!(accept(&federation, ES, &"ab".repeat(32), &[1, 2]), 0);
    assert_eq!(open_fork(&federation, ES, IT), Some(id.clone()));
    assert_eq!(accept(&federation, ES, &id, &[1, 2]), 0);
    assert_eq!(open_fork(&federation, ES, IT), None);
    let forks = log(&federation, ES)["forks"].clone();
    assert!(forks[0]["accepted_at"].is_string(), "it stays on the record: {forks}");
    // The true log does not follow what was accepted: the node itself shows it, and the same begins anew.
    close(&federation, IT);
    until(&federation, "the true one is found to be another", || open_fork(&federation, ES, IT).is_some());
    let again = open_fork(&federation, ES, IT).unwrap();
    assert_ne!(again, id);
    assert_eq!(accept(&federation, ES, &again, &[1, 2]), 0);
    // Its owner has learnt meanwhile that somebody holds a checkpoint by its own key which is not of its log.
    let own = open_fork(&federation, IT, IT).unwrap();
    assert_eq!(accept(&federation, IT, &own, &[1, 2]), 0);
    let size = close(&federation, IT);
    until(&federation, "the true one is cosigned again", || is_witnessed(&federation, IT, size, 1));
    assert_eq!(ask(&federation, IT), "answered");
}

#[test]
fn what_was_accepted_is_what_is_held_also_after_a_restart() {
    let federation = Federation::new(&[ES, IT]);
    let [es, _it]: [_; 2] = federation.start_all().try_into().unwrap();
    let size = close(&federation, IT);
    until(&federation, "it is held", || is_witnessed(&federation, IT, size, 1));
    let insider = Member::open(&federation.path(), IT, ES);
    // Of a size that is held: what takes its place must not go with what it takes the place of.
    let other = forged(&federation, IT, size, 9);
    assert_eq!(shown(&insider, size, &other).outcome, CosignOutcome::Refused);
    let id = open_fork(&federation, ES, IT).unwrap();
    assert_eq!(accept(&federation, ES, &id, &[1, 2]), 0);
    let held = || log(&federation, ES)["holds"][0]["root"].clone();
    assert_eq!(held(), json!(other.checkpoint().root.to_string()));
    assert!(es.stop());
    let _es = federation.start_settled(ES);
    assert_eq!(held(), json!(other.checkpoint().root.to_string()));
    // Nobody shows it a third past, as if it had seen none.
    let said = shown(&insider, 0, &forged(&federation, IT, size, 7));
    assert_eq!(said.outcome, CosignOutcome::Refused);
}

#[test]
fn two_logs_shown_to_two_members_are_found_when_they_compare() {
    let federation = Federation::new(&[ES, IT, DK]);
    let mut nodes = federation.start_all();
    let dk = nodes.pop().unwrap();
    assert!(dk.stop());
    let size = close(&federation, IT);
    until(&federation, "ES holds the one", || is_witnessed(&federation, IT, size, 1));
    // While DK is away from the others it is shown another, by whoever has the key of the log.
    for node in nodes.drain(..) {
        assert!(node.stop());
    }
    let dk = federation.start(DK);
    let insider = Member::open(&federation.path(), IT, DK);
    assert_eq!(shown(&insider, 0, &forged(&federation, IT, size, 9)).outcome, CosignOutcome::Held);
    let _es = federation.start(ES);
    for member in [ES, DK] {
        until(&federation, "both have found it", || open_fork(&federation, member, IT).is_some());
    }
    let fork = log(&federation, ES)["forks"][0].clone();
    assert_eq!((&fork["told_by"], &fork["shown"]["size"]), (&json!(DK), &json!(size)));
    // Both notes are there for whoever takes it to the federation.
    let text = fork["notes"][1].as_str().unwrap();
    assert!(text.contains("IT-AGENCY/log1"), "{text}");
    drop(dk);
}

#[test]
fn sizes_that_never_meet_are_held_against_each_other_by_a_proof_of_the_owner() {
    let federation = Federation::new(&[ES, IT, DK]);
    let mut nodes = federation.start_all();
    let size = close(&federation, IT);
    until(&federation, "both hold it", || is_witnessed(&federation, IT, size, 2));
    // DK is shown a larger one that the owner will never close.
    let insider = Member::open(&federation.path(), ES, DK);
    let larger = forged(&federation, IT, size + 64, 9);
    let told = Told { notes: Bounded::new(vec![larger.bare().unwrap()]).unwrap() };
    assert!(insider.hear(MessageKind::Tell, encode(&told).unwrap()).is_some());
    assert_eq!(open_fork(&federation, DK, IT), None, "nothing follows from a size that was not seen");
    // The log grows beyond it, and its owner cannot prove that the other one is of it.
    while close(&federation, IT) < size + 128 {
        done(&federation.operator(IT, &["coverage", "set", "seizure", "2020", "partial", "--json"]));
    }
    until(&federation, "the owner's proof does not fit", || open_fork(&federation, DK, IT).is_some());
    assert_eq!(log(&federation, DK)["forks"][0]["told_by"], json!(ES));
    nodes.clear();
}

#[test]
fn an_owner_that_says_no_is_counted_and_one_that_is_down_is_not() {
    let federation = Federation::new(&[ES, IT, DK]);
    let mut nodes = federation.start_all();
    let size = close(&federation, IT);
    until(&federation, "both hold it", || is_witnessed(&federation, IT, size, 2));
    // Of one that the owner has never closed it can prove nothing, and says so.
    let insider = Member::open(&federation.path(), ES, DK);
    let larger = forged(&federation, IT, size + 640, 9);
    let told = Told { notes: Bounded::new(vec![larger.bare().unwrap()]).unwrap() };
    assert!(insider.hear(MessageKind::Tell, encode(&told).unwrap()).is_some());
    // Whoever has closed its own log looks round at once. A round has ended when the next one shows the log.
    let rounds = || {
        for _ in 0..2 {
            done(&federation.operator(DK, &["coverage", "set", "seizure", "2020", "partial", "--json"]));
            let own = close(&federation, DK);
            until(&federation, "it is shown", || {
                log(&federation, ES)["holds"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|held| held["member"] == DK && held["size"] == own)
            });
        }
        log(&federation, DK)["unmatched"][0].clone()
    };
    let said = rounds();
    assert_eq!(
        (&said["member"], &said["told_by"], &said["told"]),
        (&json!(IT), &json!(ES), &json!(size + 640)),
        "{said}"
    );
    assert!(said["refused"].as_u64().unwrap() > 0 && said["asked"] == said["refused"], "{said}");
    assert_eq!(open_fork(&federation, DK, IT), None, "it takes hours");
    assert!(!warned(&federation, DK, "UNMATCHED") && !warned(&federation, DK, "FORK"));
    // Who is not there is not to blame.
    assert!(nodes.remove(1).stop());
    let before = rounds();
    assert_eq!(rounds()["asked"], before["asked"]);
    nodes.clear();
}

#[test]
fn an_owner_that_has_refused_for_hours_is_stopped_until_two_administrators_accept_that() {
    let federation = Federation::new(&[ES, IT]);
    let [es, _it]: [_; 2] = federation.start_all().try_into().unwrap();
    let size = close(&federation, IT);
    until(&federation, "it is held", || is_witnessed(&federation, IT, size, 1));
    let larger = forged(&federation, IT, size + 64, 9);
    assert!(es.stop());
    // What hours of asking come to, by the rules that the node has, is kept here at once.
    let (it, dk): (NodeId, NodeId) = (IT.parse().unwrap(), DK.parse().unwrap());
    // In a copy: who opens a store has it until its process ends.
    let (place, aside) = (federation.path().join("ES-AGENCY/node/store"), federation.path().join("aside"));
    copy(&place, &aside);
    let (store, _) = Store::open(&aside, 16 << 20).unwrap();
    let mut known = Witnessing::new(store.held_checkpoints().unwrap(), Vec::new());
    let (checkpoint, note) = (larger.checkpoint().clone(), larger.bare().unwrap());
    let asking = Asking::default();
    known.note_unmatched(&it, Unmatched { told_by: dk.clone(), checkpoint, note, since: UnixMs(0), asking });
    let mut refused = (0..10_000).map(|turn| known.unproven((&it, &dk), Without::Refused, UnixMs(30_000 * turn)));
    let fork = refused.find_map(|fork| fork).unwrap();
    let mut batch = Batch::default();
    batch.put_fork(&fork);
    store.commit(batch).unwrap();
    drop(store);
    replace(&aside, &place);

    let _es = federation.start_settled(ES);
    let id = open_fork(&federation, ES, IT).unwrap();
    let said = status(&federation, ES);
    assert_eq!(said["result"]["log"]["forks"][0]["unproven"], true, "{said}");
    let warning = said["warnings"].as_array().unwrap().iter().find(|warning| warning["code"] == "FORK").unwrap();
    let words = warning["message"].as_str().unwrap();
    assert!(words.contains("was asked for hours to prove") && words.contains(&id), "{words}");
    assert_eq!(ask(&federation, IT), "unreachable");
    assert_ne!(accept(&federation, ES, &id, &[1]), 0);
    // To accept that the two are of two pasts is to accept something else.
    let [held, shown] =
        [&fork.held, &fork.shown].map(|note| Checkpoint::from_text(read(note).unwrap().text()).unwrap());
    assert_eq!(accept(&federation, ES, &fork_id(&held, &shown).to_string(), &[1, 2]), 0);
    assert_eq!(open_fork(&federation, ES, IT), Some(id.clone()));
    assert_eq!(accept(&federation, ES, &id, &[1, 2]), 0);
    assert_eq!((ask(&federation, IT).as_str(), open_fork(&federation, ES, IT)), ("answered", None));
    // The log goes on as it was held.
    done(&federation.operator(IT, &["coverage", "set", "seizure", "2020", "partial", "--json"]));
    let size = close(&federation, IT);
    until(&federation, "it is cosigned as ever", || is_witnessed(&federation, IT, size, 1));
}

#[test]
fn an_older_copy_of_a_node_serves_nobody_until_administrators_of_both_sides_accept_it() {
    let federation = Federation::new(&[ES, IT, DK]);
    let mut nodes = federation.start_all();
    let it = nodes.remove(1);
    close(&federation, IT);
    assert!(it.stop());
    let (folder, yesterday) = (federation.path().join("IT-AGENCY/node"), federation.path().join("yesterday"));
    copy(&folder, &yesterday);
    let it = federation.start_settled(IT);
    assert_eq!(ask(&federation, IT), "answered");
    let size = close(&federation, IT);
    until(&federation, "both hold the later one", || is_witnessed(&federation, IT, size, 2));
    assert!(it.stop());

    replace(&yesterday, &folder);
    let _it = federation.start_settled(IT);
    until(&federation, "the node knows by itself", || open_fork(&federation, IT, IT).is_some());
    assert!(warned(&federation, IT, "FORK"));
    for member in [ES, DK] {
        until(&federation, "the others see that it lacks something", || warned(&federation, member, "FORK"));
        until(&federation, "and keep it as evidence", || open_fork(&federation, member, IT).is_some());
    }
    assert_eq!(ask(&federation, IT), "unreachable");
    let own = open_fork(&federation, IT, IT).unwrap();
    assert_eq!(accept(&federation, IT, &own, &[1, 2]), 0);
    until(&federation, "its own administrators accept", || open_fork(&federation, IT, IT).is_none());
    assert_eq!(ask(&federation, IT), "unreachable", "the others have not");
    for member in [ES, DK] {
        let id = open_fork(&federation, member, IT).unwrap();
        assert_eq!(accept(&federation, member, &id, &[1, 2]), 0);
    }
    let size = close(&federation, IT);
    until(&federation, "the new one is cosigned", || is_witnessed(&federation, IT, size, 2));
    assert_eq!(ask(&federation, IT), "answered");
    assert_eq!(open_fork(&federation, IT, IT), None);
    let verified = federation.operator(IT, &["verify", "--json"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
}

#[test]
fn what_a_suspended_log_key_alone_has_signed_is_not_cosigned_and_the_next_key_goes_on() {
    let federation = Federation::new(&[ES, IT]);
    let _nodes = federation.start_all();
    let size = close(&federation, IT);
    until(&federation, "it is held", || is_witnessed(&federation, IT, size, 1));
    let first = "public/keys-IT-AGENCY.accord";
    let ring = federation.path().join("IT-AGENCY/node/node.ring");
    let stolen = KeyRing::open(&ring, || None).unwrap().take(KeyRole::Log).unwrap();
    // One administrator stops the key at once; everybody is told.
    let stop = "stop-log.accord";
    federation.suspend(IT, (Way::Stops, Target::Key, &stolen.public().to_string()), &[1], stop);
    assert_eq!(federation.publish(IT, &[stop]).code, 0);
    let hash = federation.document(stop).hash().to_string();
    let file = federation.path().join(ES).join(format!("node/trust/suspend-{}.accord", &hash[..16]));
    until(&federation, "the witness knows", || file.is_file());

    // Whoever has it can show the log of before, or any other: nothing of it counts, and nobody is stopped by it.
    let held = log(&federation, ES)["holds"][0].clone();
    let insider = Member::open(&federation.path(), IT, ES);
    let origin = log_origin(&federation.federation_id(), &IT.parse().unwrap());
    for (size, root) in
        [(size, Hash([9; 32])), (size + 64, Hash([9; 32])), (size, held["root"].as_str().unwrap().parse().unwrap())]
    {
        let forged = Checkpoint { origin: origin.clone(), size, root }.sign(&stolen).unwrap();
        let said = shown(&insider, size, &forged);
        assert_eq!((said.outcome, said.line.as_slice().len()), (CosignOutcome::Refused, 0), "{size}");
    }
    assert_eq!((&log(&federation, ES)["holds"][0], open_fork(&federation, ES, IT)), (&held, None));
    // The node itself signs nothing with it any more, and says why.
    let said = federation.operator(IT, &["audit", "close", "--json"]);
    assert_eq!(said.code, 4, "{}", said.stdout);
    assert!(said.stdout.contains("no log key"), "{}", said.stdout);
    assert_eq!(ask(&federation, IT), "answered");

    // A new key beside it; what was held goes on from where it was.
    let [new] = federation.new_node_keys_of(IT, first, [KeyRole::Log]);
    federation.next_keys_of_administrators(IT, first, "new-log.accord", |keys| {
        keys.log_keys = Bounded::new(vec![stolen.public(), new]).unwrap();
    });
    let said = federation.publish(IT, &["new-log.accord"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, federation.logs());
    done(&federation.operator(IT, &["coverage", "set", "site", "2020", "partial", "--json"]));
    let next = close(&federation, IT);
    assert!(next > size, "{next}");
    until(&federation, "the next key's checkpoint is cosigned", || is_witnessed(&federation, IT, next, 1));
    assert_eq!(log(&federation, ES)["holds"][0]["size"], next);
    done(&federation.operator(IT, &["audit", "verify", "--json"]));
    assert_eq!(open_fork(&federation, ES, IT), None);
}

#[test]
fn a_member_that_says_nothing_keeps_nobody_from_being_witnessed() {
    let federation = Federation::new(&[ES, IT, DK]);
    let nodes = federation.start_all();
    let size = close(&federation, IT);
    until(&federation, "all are there", || is_witnessed(&federation, IT, size, 2));
    // Connections to it stand, and nothing comes over them.
    let dk = &nodes[2];
    dk.pause();
    assert_eq!(ask(&federation, IT), "answered");
    done(&federation.operator(IT, &["coverage", "set", "site", "2020", "partial", "--json"]));
    let watch = accord_edge::clock::Stopwatch::start();
    let next = close(&federation, IT);
    until(&federation, "the other one cosigns", || is_witnessed(&federation, IT, next, 1));
    let entry = done(&federation.operator(IT, &["audit", "show", "--kind", "answered", "--limit", "1", "--json"]));
    let subject: Hash = entry["entries"][0]["subject"].as_str().unwrap().parse().unwrap();
    let call = ProofCall { what: Asked::Entry, subject, old: 0, new: 0 };
    let asks = Member::open(&federation.path(), ES, IT);
    assert_eq!(asks.hear(MessageKind::Proof, encode(&call).unwrap()).unwrap().0, [1]);
    assert_eq!(ask(&federation, IT), "answered");
    assert!(watch.ms() < 15_000, "{} ms", watch.ms());
    dk.resume();
    until(&federation, "it is back", || is_witnessed(&federation, IT, next, 2));
}

#[test]
fn whoever_says_more_of_logs_than_it_may_is_refused_and_others_are_served() {
    let federation = Federation::new(&[ES, IT, DK]);
    // DK's node does not run: its keys are used here.
    let _nodes: Vec<_> = [ES, IT].iter().map(|member| federation.start_settled(member)).collect();
    let size = close(&federation, IT);
    until(&federation, "it is held", || is_witnessed(&federation, IT, size, 1));
    let chatty = Member::open(&federation.path(), DK, IT);
    let connection = chatty.hold();
    let note = forged(&federation, DK, 0, 0);
    let proof = encode(&ProofCall { what: Asked::Entry, subject: Hash([7; 32]), old: 0, new: 0 }).unwrap();
    let cosign =
        encode(&Cosign { old_size: 0, consistency: Bounded::default(), checkpoint: note.bare().unwrap() }).unwrap();
    let tell = encode(&Told::default()).unwrap();
    let all = [(MessageKind::Proof, &proof), (MessageKind::Cosign, &cosign), (MessageKind::Tell, &tell)];
    let (mut heard, mut refused) = (0, [0; 3]);
    for turn in 0..1_200 {
        let (kind, payload) = all[turn % 3];
        match connection.hear(kind, payload.clone()) {
            Some(_) => heard += 1,
            None => refused[turn % 3] += 1,
        }
        // In the middle of it.
        if turn == 1_000 {
            assert_eq!(ask(&federation, IT), "answered");
        }
    }
    assert!((600..900).contains(&heard) && refused.iter().all(|count| *count > 0), "{heard}, {refused:?}");
    assert!(connection.is_open(), "it is refused, not cut off");
    let counted = status(&federation, IT)["result"]["door"]["logs_over_rate"].as_u64().unwrap();
    assert_eq!(counted, refused.iter().sum::<u64>());
    done(&federation.operator(IT, &["coverage", "set", "site", "2020", "partial", "--json"]));
    let next = close(&federation, IT);
    until(&federation, "the other one cosigns", || is_witnessed(&federation, IT, next, 1));
}
