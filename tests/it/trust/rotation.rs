//! A node goes over to new keys while it is asked, and nobody notices.
//!
//! `ACCORD_ROTATIONS` is how often it does so (2): the measurement is
//! `ACCORD_ROTATIONS=20 cargo test --profile ci -p accord-tests --test it rotation -- --nocapture`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use accord_edge::{
    clock::Stopwatch,
    files,
    keyring::{KeyRing, Seal},
};
use accord_protocol::{
    codec::Bounded,
    key::PublicKey,
    member_keys::{KeyRole, MemberKeys},
    time::UnixMs,
};
use accord_tests::{Federation, officer::Officer, seeded::from_environment};
use serde_json::Value;

use super::{Over, ask, until};

const IT: &str = "IT-AGENCY";
/// Officers' tools that ask all the time.
const ASKING: usize = 3;

// What an operator's node says of itself; which keys document another node knows of it.
fn shown(federation: &Federation, member: &str) -> Value {
    federation.operator(member, &["status", "--json"]).json()["result"].clone()
}

fn log_says(federation: &Federation, member: &str, what: &str) -> usize {
    std::fs::read_to_string(federation.path().join(format!("{member}-node.log"))).unwrap().matches(what).count()
}

fn asks(federation: &Federation, over: &AtomicBool) -> (usize, Vec<String>) {
    let officer = Officer::open(&federation.path().join("officer"));
    let (mut answered, mut failed) = (0, Vec::new());
    while !over.load(Ordering::Relaxed) {
        let back = officer.ask(&officer.request(IT, "2023..2024"));
        match back.reply.answer {
            Some(_) if back.word() == "answered" => answered += 1,
            Some(_) => failed.push(back.word().to_owned()),
            None => failed.push(back.reply.detail.as_str().to_owned()),
        }
    }
    (answered, failed)
}

#[test]
fn keys_are_rotated_while_a_node_is_asked_and_not_one_request_fails() {
    let rotations = from_environment("ACCORD_ROTATIONS", 2);
    let federation = Federation::new(&["ES-AGENCY", IT, "PT-AGENCY"]);
    // They ask much more than an officer may.
    for limit in ["burst = 120", "per_minute = 60", "member_burst = 600", "member_per_minute = 300"] {
        federation.edit("IT-AGENCY/node/node.toml", limit, &format!("{}= 60000", limit.split('=').next().unwrap()));
    }
    let _nodes = federation.start_all();
    assert_eq!(ask(&federation, IT).0, "answered");
    let over = AtomicBool::new(false);
    let mut latest = "public/keys-IT-AGENCY.accord".to_owned();
    let (answered, failed) = thread::scope(|scope| {
        let asking: Vec<_> = (0..ASKING).map(|_| scope.spawn(|| asks(&federation, &over))).collect();
        let asked_until = Over(&over);
        for rotation in 0..rotations {
            latest = rotate(&federation, &latest, usize::try_from(rotation).unwrap());
        }
        drop(asked_until);
        let all = asking.into_iter().map(|thread| thread.join().unwrap());
        all.fold((0, Vec::new()), |(sum, mut all), (answered, failed)| {
            all.extend(failed);
            (sum + answered, all)
        })
    });
    println!("rotations {rotations}, answered {answered}, failed {}", failed.len());
    assert!(failed.is_empty(), "{failed:?}\n{}", federation.logs());
    assert!(answered > 0);
    assert_eq!(shown(&federation, IT)["fresh"], true);
}

#[test]
fn a_node_signs_its_own_keys_document_alone_and_only_what_its_administrators_have_signed() {
    let federation = Federation::new(&["ES-AGENCY", IT]);
    let _nodes = federation.start_all();
    let first = "public/keys-IT-AGENCY.accord";
    let [tls, sign] = federation.new_node_keys(IT, first);
    let both = |keys: &mut MemberKeys| {
        keys.tls_keys = Bounded::new(vec![keys.tls_keys.as_slice()[0], tls]).unwrap();
        keys.sign_keys = Bounded::new(vec![keys.sign_keys.as_slice()[0], sign]).unwrap();
    };
    // One administrator is not enough, and another member's node has no keys to add.
    let mut keys: MemberKeys = federation.document(first).unverified().unwrap();
    (keys.keys_version, keys.prev_hash) = (2, federation.document(first).hash());
    both(&mut keys);
    federation.sign("one.accord", &keys, &[("IT-AGENCY/admin-1/admin.ring", KeyRole::Administrator)]);
    assert_eq!(federation.publish(IT, &["one.accord"]).code, 1);
    federation.next_keys_of_administrators(IT, first, "both.accord", both);
    assert_eq!(federation.publish("ES-AGENCY", &["both.accord"]).code, 1);
    // Nor is a version signed that does not follow the one in force.
    federation.next_keys_of_administrators(IT, first, "later.accord", |keys| {
        both(keys);
        keys.keys_version = 3;
    });
    assert_eq!(federation.publish(IT, &["later.accord"]).code, 1);
    assert_eq!(federation.publish(IT, &["both.accord"]).code, 0);
    assert_eq!(ask(&federation, IT).0, "answered");
}

#[test]
fn a_node_whose_keys_are_all_dropped_exchanges_no_data_and_says_so() {
    let federation = Federation::new(&["ES-AGENCY", IT]);
    let _nodes = federation.start_all();
    let first = "public/keys-IT-AGENCY.accord";
    // Keys that the operator has made elsewhere: with them the document is complete, and the node holds none of them.
    let [tls, sign] = federation.new_node_keys(IT, first);
    let ring = federation.path().join("IT-AGENCY/node/node.ring");
    let with_new = std::fs::read(&ring).unwrap();
    let document = federation.next_keys(IT, first, "other.accord", |keys| {
        keys.tls_keys = Bounded::new(vec![tls]).unwrap();
        keys.sign_keys = Bounded::new(vec![sign]).unwrap();
    });
    let mut document = document;
    let opened = KeyRing::open(&ring, || None).unwrap();
    for key in [KeyRole::Tls, KeyRole::Sign].map(|role| opened.all(role).last().unwrap()) {
        assert!(document.add_signature(key, &federation.federation_id()));
    }
    files::write_document(&federation.path().join("other.accord"), &document).unwrap();
    let gone = |_: KeyRole, key: &PublicKey| [tls, sign].contains(key);
    KeyRing::rotate(&ring, &[], gone, Seal::Open).unwrap();
    assert_eq!(federation.publish(IT, &["other.accord"]).code, 0);
    let warned = |federation: &Federation| {
        let said = federation.operator(IT, &["status", "--json"]).json();
        said["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "NO-KEYS")
    };
    assert!(warned(&federation), "{}", federation.logs());
    assert_ne!(ask(&federation, IT).0, "answered");
    // The ring comes back, and the next document with it.
    std::fs::write(&ring, with_new).unwrap();
    federation.next_keys_of_administrators(IT, "other.accord", "more.accord", |keys| {
        keys.expires_at = UnixMs(keys.expires_at.0 - 1_000);
    });
    let said = federation.publish(IT, &["more.accord"]);
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, federation.logs());
    assert!(!warned(&federation), "{}", federation.logs());
    until(&federation, "IT-AGENCY answers again", || ask(&federation, IT).0 == "answered");
}

// New keys beside the old ones, and when all know them the old ones are dropped; the file of the last document.
fn rotate(federation: &Federation, latest: &str, rotation: usize) -> String {
    let since = Stopwatch::start();
    let [tls, sign] = federation.new_node_keys(IT, latest);
    let (both, new) = (format!("both-{rotation}.accord"), format!("new-{rotation}.accord"));
    federation.next_keys_of_administrators(IT, latest, &both, |keys| {
        keys.tls_keys = Bounded::new(vec![keys.tls_keys.as_slice()[0], tls]).unwrap();
        keys.sign_keys = Bounded::new(vec![keys.sign_keys.as_slice()[0], sign]).unwrap();
    });
    let said = federation.publish(IT, &[&both]);
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, federation.logs());
    // The node says which keys it speaks with when it goes over.
    until(federation, "it speaks with the next keys", || log_says(federation, IT, &format!("sign={sign}")) > 0);
    federation.next_keys_of_administrators(IT, &both, &new, |keys| {
        keys.tls_keys = Bounded::new(vec![tls]).unwrap();
        keys.sign_keys = Bounded::new(vec![sign]).unwrap();
    });
    let said = federation.publish(IT, &[&new]);
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, federation.logs());
    let hash = federation.document(&new).hash().to_string();
    for member in ["ES-AGENCY", "PT-AGENCY"] {
        let file = format!("{member}/node/trust/member-keys-{}.accord", &hash[..16]);
        until(federation, &format!("{member} knows"), || federation.path().join(&file).is_file());
    }
    let (word, json) = ask(federation, IT);
    assert_eq!(word, "answered", "the tool verifies every signature: {json}");
    println!("rotation {rotation}: {} ms", since.ms());
    new
}
