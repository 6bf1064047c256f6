//! How many requests a node answers a second, end to end: `cargo run --profile ci -p accord-tests --example requests`.
//!
//! A federation of five on loopback. One node answers; the four others' keys are used here, each over one connection with eight streams,
//! as many as a member may have. Everything is as in service: signatures of officer, node and answer, policy, memory of requests, the
//! edition's cells, and a reply that is on the disk before it leaves. First as fast as it goes, then at half of that, where the time of
//! each answer is taken. A member may open 1,000 streams at once and 200 a second after that: so many are sent.
//!
//! At last one member asks for a table that does not exist, one that it may not discover, and one that is denied at these levels, in turn:
//! how often an answer to one kind takes longer than one to another, in a hundred pairs, is 50 where time tells nothing.
//!
//! Askers and node share the machine's processors: signing and verifying on both sides is in the numbers. The node's share is printed;
//! it hardly depends on what else the machine does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a measurement may end so")]

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use accord_protocol::{message::AskCall, officers::Purpose};
use accord_tests::{Federation, accord, member::Member, officer::Officer};

const PROVIDER: &str = "IT-AGENCY";
const ASKERS: [&str; 4] = ["ES-AGENCY", "AT-AGENCY", "DK-AGENCY", "PT-AGENCY"];
const STREAMS: usize = 8;
const EACH: usize = 900;
const REFUSED: usize = 300;

fn main() {
    let federation = Federation::new(&["ES-AGENCY", PROVIDER, "AT-AGENCY", "DK-AGENCY", "PT-AGENCY"]);
    let settings = format!("{PROVIDER}/node/node.toml");
    for setting in ["burst = 120", "per_minute = 60", "member_burst = 600", "member_per_minute = 300"] {
        let (name, _) = setting.split_once(" = ").unwrap();
        federation.edit(&settings, &format!("\n{setting}\n"), &format!("\n{name} = 1000000\n"));
    }
    federation.install_policy(
        PROVIDER,
        "[[grant]]\npartner = [\"@eu-members\"]\ntable = [\"seizures-year-drug\"]\npurpose = [\"strategic-analysis\"]\nuntil = \"2030-01-01\"\n",
    );
    let node = federation.start(PROVIDER);
    let officers: Vec<Officer> = ASKERS.iter().map(|member| officer(&federation, member)).collect();
    let started = Stopwatch::start();
    let mut rate: u64 = 0;
    for (round, what) in ["as fast as it goes", "at half of that"].into_iter().enumerate() {
        if round > 0 {
            // Until the members may open as many streams at once again.
            thread::sleep(Duration::from_secs(6));
        }
        let calls: Vec<Vec<AskCall>> = officers
            .iter()
            .map(|officer| (0..EACH).map(|_| officer.sign(&officer.request(PROVIDER, "2021..2024"))).collect())
            .collect();
        let before_us = processor_us(node.pid);
        let (took_us, mut times) = send(&federation, &calls, (round > 0).then_some(rate / 2));
        times.sort_unstable();
        let at = |share: usize| tenths(times[(times.len() - 1) * share / 1000], 1_000);
        let done = times.len() as u64 * 1_000_000 / took_us.max(1);
        println!(
            "{what}: {done} requests a second ({} in {} s); milliseconds for one: median {}, p90 {}, p99 {}, largest {}",
            times.len(),
            tenths(took_us, 1_000_000),
            at(500),
            at(900),
            at(990),
            at(1000)
        );
        let busy_us = processor_us(node.pid) - before_us;
        println!("  the node's processor time for one: {} microseconds", busy_us / times.len() as u64);
        rate = done;
    }
    thread::sleep(Duration::from_secs(6));
    refusals(&federation, &officers[0]);
    println!("raised and measured in {} s", started.ms() / 1000);
}

// What a process has used of the processors until now, in microseconds: in steps of 10 ms.
fn processor_us(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The fields behind the name; of user and of system, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10_000).sum()
}

// With one decimal.
fn tenths(number: u64, of: u64) -> String {
    format!("{}.{}", number / of, number % of * 10 / of)
}

// The three kinds of what is not available, one after the other, again and again.
fn refusals(federation: &Federation, officer: &Officer) {
    let connection = Member::open(&federation.path(), ASKERS[0], PROVIDER);
    let connection = connection.hold();
    let mut times: [Vec<u64>; 3] = Default::default();
    let watch = Stopwatch::start();
    let kinds = ["unknown", "undiscoverable", "denied"];
    for _ in 0..REFUSED {
        for (kind, times) in times.iter_mut().enumerate() {
            let mut body = officer.request(PROVIDER, "2021..2024");
            match kind {
                0 => body.query.table_id = 60_000,
                1 => body.query.table_id = 2,
                // Beyond the purposes of the only row.
                _ => body.purpose = Purpose::Test,
            }
            let call = officer.sign(&body);
            let begun = watch.us();
            let (bytes, word) = connection.hand_on(&call).unwrap();
            times.push(watch.us() - begun);
            assert_eq!((bytes, word), (16 << 10, "E_UNAVAILABLE"), "{}", kinds[kind]);
        }
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let longer: usize = times[one].iter().map(|a| times[other].iter().filter(|b| *b > a).count()).sum();
        let share = tenths(longer as u64 * 100, (REFUSED * REFUSED) as u64);
        println!("{} takes longer than {} in {share} of 100 pairs", kinds[other], kinds[one]);
    }
}

// Has a member's administrators list an officer, and the provider learn it.
fn officer(federation: &Federation, member: &str) -> Officer {
    let run = |arguments: &[&str]| {
        let said = accord(&federation.path(), arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
    };
    let (ring, claim) = (format!("{member}/asker.ring"), format!("{member}/asker.claim"));
    let (before, list) = (format!("public/officers-{member}.accord"), format!("{member}/asker-list.accord"));
    run(&["officer", "new", &ring, "--member", member, "--name", "asker", "--unprotected"]);
    let rings = [1, 2].map(|number| format!("{member}/admin-{number}/admin.ring"));
    let mut with = "public/federation.accord".to_owned();
    if federation.path().join(&before).exists() {
        with += &format!(",{before}");
    }
    let add = ["officer", "add", &claim, "--out", &list, "--purposes", "strategic-analysis,test", "--with", &with];
    let by_two =
        ["--member", member, "--federation", &federation.id, "--ring", &rings[0], "--ring", &rings[1], "--yes"];
    run(&[add.as_slice(), &by_two].concat());
    assert_eq!(federation.publish(PROVIDER, &[&list]).code, 0);
    let path = |file: &str| federation.path().join(file);
    Officer::of_ring(&path(&ring), &path(&list), member, &federation.id)
}

// Sends all calls, at this many a second in all if that is said; microseconds of the whole, and of each.
fn send(federation: &Federation, calls: &[Vec<AskCall>], rate: Option<u64>) -> (u64, Vec<u64>) {
    let members: Vec<Member> = ASKERS.iter().map(|member| Member::open(&federation.path(), member, PROVIDER)).collect();
    let connections: Vec<_> = members.iter().map(Member::hold).collect();
    let (watch, times) = (Stopwatch::start(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for (connection, calls) in connections.iter().zip(calls) {
            let next = std::sync::Arc::new(AtomicUsize::new(0));
            for _ in 0..STREAMS {
                let (next, watch, times) = (std::sync::Arc::clone(&next), &watch, &times);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(call) = calls.get(index) else { return };
                        if let Some(rate) = rate {
                            // Each member's requests are due one after the other.
                            let due_us = index as u64 * 1_000_000 * ASKERS.len() as u64 / rate.max(1);
                            thread::sleep(Duration::from_micros(due_us.saturating_sub(watch.us())));
                        }
                        let begun = watch.us();
                        let (_, word) = connection.hand_on(call).unwrap();
                        assert_eq!(word, "answered");
                        times.lock().unwrap().push(watch.us() - begun);
                    }
                });
            }
        }
    });
    (watch.us(), times.into_inner().unwrap())
}
