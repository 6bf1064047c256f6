//! Measures how long it takes to read chains of trust documents: `cargo run --profile ci -p accord-protocol --example chains`.
//!
//! For chains of rosters of 27 members, and of one member's keys, of 1, 50 and 200 versions: milliseconds to find out who is trusted
//! from all that is held, and how many signatures of a small text could have been verified one by one in that time. Machines differ
//! and are shared: the ratio is what stays.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who measure")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

#[path = "../tests/made/mod.rs"]
mod made;

use std::time::{Duration, Instant};

use accord_protocol::{
    codec::Bounded,
    id::Hash,
    member_keys::MemberKeys,
    roster::Roster,
    signed::{Document, Label},
    trust::{Ground, Trust},
};

const MEMBERS: u8 = 27;
const LENGTHS: [u64; 3] = [1, 50, 200];

fn main() {
    let (first, es) = federation();
    let single = single();
    println!("one signature of 64 bytes: {:.1} us", single.as_secs_f64() * 1e6);
    println!("{:<24} {:>8} {:>10} {:>12} {:>8}", "chain", "versions", "ms", "signatures", "ratio");
    for length in LENGTHS {
        let mut documents = first.clone();
        let last = documents.last().unwrap().clone();
        documents.extend(chain(last, length - 1, next_roster));
        report("rosters of 27 members", length, &documents, single);
    }
    for length in LENGTHS {
        let mut documents = first.clone();
        documents.extend(chain(es.clone(), length - 1, next_keys));
        report("keys of one member", length, &documents, single);
    }
}

fn federation() -> (Vec<Document>, Document) {
    let mut documents = vec![made::first_root(), made::catalogue()];
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let name = format!("{}{}-AGENCY", char::from(b'A' + number / 26), char::from(b'A' + number % 26));
        let seeds: Vec<u8> = (0..7).map(|n| 20 + 7 * number + n).collect();
        let one = |seed: u8| Bounded::new(vec![made::public(seed)]).unwrap();
        let keys = MemberKeys {
            admin_keys: Bounded::sorted(seeds.iter().take(3).map(|seed| made::public(*seed)).collect()).unwrap(),
            tls_keys: one(20 + 7 * number + 3),
            sign_keys: one(20 + 7 * number + 4),
            log_keys: one(20 + 7 * number + 5),
            witness_key: made::public(20 + 7 * number + 6),
            ..made::member_keys(&name, 1, Hash::ZERO)
        };
        let document = made::signed(&keys, &made::federation(), &seeds);
        members.push(made::member(&name, &document));
        documents.push(document);
    }
    let first_member = documents.iter().find(|document| document.label() == Label::MemberKeys).unwrap().clone();
    documents.push(made::signed(&made::roster(1, Hash::ZERO, members), &made::federation(), &[1, 2, 3]));
    (documents, first_member)
}

fn chain(first: Document, more: u64, next: impl Fn(&Document) -> Document) -> Vec<Document> {
    let mut last = first;
    (0..more)
        .map(|_| {
            last = next(&last);
            last.clone()
        })
        .collect()
}

fn next_roster(before: &Document) -> Document {
    let roster: Roster = before.unverified().unwrap();
    let next = Roster { roster_version: roster.roster_version + 1, prev_hash: before.hash(), ..roster };
    made::signed(&next, &made::federation(), &[1, 2, 3])
}

// Two administrators, and the signing key for continuity.
fn next_keys(before: &Document) -> Document {
    let keys: MemberKeys = before.unverified().unwrap();
    let next = MemberKeys { keys_version: keys.keys_version + 1, prev_hash: before.hash(), ..keys };
    made::signed(&next, &made::federation(), &[20, 21, 24])
}

fn single() -> Duration {
    let key = made::key(1);
    let (text, mut verified) = ([7; 64], 0_u32);
    let signature = key.sign_raw(&text);
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        verified += u32::from(key.public().verifies(&text, &signature));
    }
    since.elapsed() / verified.max(1)
}

fn report(what: &str, versions: u64, documents: &[Document], single: Duration) {
    let installed = documents.iter().find(|document| document.label() == Label::Roster).unwrap().hash();
    let (federation, me) = (made::federation(), made::id("AA-AGENCY"));
    let ground = Ground { federation: &federation, me: &me, installed: &installed };
    let fastest = (0..3)
        .map(|_| {
            let since = Instant::now();
            let trust = Trust::hold(documents, &ground).unwrap();
            let took = since.elapsed();
            assert!(trust.remarks().is_empty(), "{:?}", trust.remarks());
            let keys = trust.keys(&me).unwrap().keys_version;
            assert_eq!(trust.roster().roster_version.max(keys), versions);
            took
        })
        .min()
        .unwrap();
    let signatures: usize = documents.iter().map(|document| document.signed_by().len()).sum();
    let ratio = fastest.as_secs_f64() / single.as_secs_f64();
    println!("{what:<24} {versions:>8} {:>10.1} {signatures:>12} {ratio:>8.0}", fastest.as_secs_f64() * 1e3);
}
