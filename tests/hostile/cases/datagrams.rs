//! Datagrams from anybody: noise, wrong versions, tokens, floods of first packets.

use std::{net::IpAddr, time::Duration};

use accord_edge::clock::Stopwatch;

use crate::{
    bystander,
    dice::Dice,
    quic::{
        frames,
        packet::{self, Came, Kind, Long, V1},
        puppet::{self, Puppet},
    },
    raw::{Datagram, Raw, nth_address},
    stage::{Key, Stage},
    table::{Case, Outcome, Place},
    tls::{Hello, Identity},
};

/// How long after the last datagram the node may still answer.
const QUIET: Duration = Duration::from_millis(300);
/// Addresses of a flood of first packets.
const FLOOD_ADDRESSES: u32 = 5_000;

/// Networks of handshakes that stop, ten in each.
const NETWORKS: usize = 6;
/// Places for handshakes of strangers (`docs/wire.md` 11).
const PLACES: usize = 48;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            id: "C1",
            name: "random bytes",
            given: "no connection",
            sent: "4,000 datagrams of 0 to 1,500 random bytes, from 4,000 addresses",
            expected: "dropped; what looks like a packet of a lost connection gets at most one shorter stateless reset (RFC 9000, 10.3), what looks like another version at most a version negotiation",
            log: "none",
            place: Place::Shared,
            run: random_bytes,
        },
        Case {
            id: "C2",
            name: "a first packet of garbage",
            given: "no connection; addresses proved by a token, and not",
            sent: "Initial packets of 1,200 bytes with a random payload: 500 without a token, 96 with one",
            expected: "dropped or asked for a token, never more bytes than came; afterwards no place is taken",
            log: "none",
            place: Place::Shared,
            run: garbage_initials,
        },
        Case {
            id: "C3",
            name: "an unknown QUIC version",
            given: "no connection",
            sent: "1,000 long-header packets with versions 2, a draft's, a reserved one and random ones; short ones too",
            expected: "version negotiation that names version 1, shorter than what was sent; nothing for short ones; no state",
            log: "none",
            place: Place::Shared,
            run: unknown_versions,
        },
        Case {
            id: "C4",
            name: "a flood of first packets",
            given: "an honest member asks all the time",
            sent: "ACCORD_FLOOD_ADDRESSES (5,000) valid Initial packets, each from another address",
            expected: "each is answered by one Retry at most, all in all at most three times the bytes received; memory flat; a new honest connection gets through meanwhile",
            log: "none",
            place: Place::Shared,
            run: flood,
        },
        Case {
            id: "C4a",
            name: "handshakes that stop",
            given: "six networks, each at the pace it is allowed",
            sent: "60 handshakes at once that say their first flight and then nothing",
            expected: "all places for strangers are taken, a member from its own network is let in meanwhile; after 10 s the places are free",
            log: "none",
            place: Place::Own,
            run: stopping_handshakes,
        },
        Case {
            id: "C5",
            name: "another address's token",
            given: "the token of a Retry for one address",
            sent: "the same token from another address; a token with one bit changed; an old one twice",
            expected: "refused; the right address is let on",
            log: "none",
            place: Place::Shared,
            run: foreign_token,
        },
    ]
}

/// A number from the environment, for measuring at other sizes.
pub(crate) fn size(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn random_bytes(stage: &mut Stage) -> Outcome {
    let mut dice = Dice::new(1);
    let mut raw = Raw::new(stage.victim());
    let mut longest = std::collections::BTreeMap::<IpAddr, usize>::new();
    let mut came = Vec::new();
    for n in 0..4_000 {
        let length = usize::try_from(dice.below(1_501)).unwrap();
        let from = nth_address(n);
        raw.send_paced(from, &dice.bytes(length));
        longest.insert(from, length);
        came.extend(raw.poll());
    }
    came.extend(raw.drain(QUIET));
    let mut resets = 0;
    let mut negotiations = 0;
    for Datagram { to, bytes } in &came {
        let sent = longest.remove(to).ok_or_else(|| format!("{to} got two answers"))?;
        if bytes.len() >= sent {
            return Err(format!("{sent} random bytes got {} back", bytes.len()));
        }
        match packet::split(bytes, 0).first() {
            Some(Came::VersionNegotiation(_)) => negotiations += 1,
            Some(Came::Protected { space: puppet::ONE_RTT, .. }) => resets += 1,
            other => return Err(format!("random bytes got {other:?}")),
        }
    }
    Ok(format!(
        "{resets} stateless resets and {negotiations} version negotiations, all shorter than their cause, {} bytes for {}",
        raw.received, raw.sent
    ))
}

/// Long headers with ids of their own each time.
struct Ids {
    to: Vec<u8>,
    from: Vec<u8>,
}

impl Ids {
    fn random(dice: &mut Dice) -> Self {
        Self { to: dice.bytes(8), from: dice.bytes(8) }
    }

    fn initial<'a>(&'a self, token: &'a [u8]) -> Long<'a> {
        Long { kind: Kind::Initial, version: V1, to: &self.to, from: &self.from, token }
    }
}

fn garbage_initials(stage: &mut Stage) -> Outcome {
    let mut dice = Dice::new(2);
    let mut raw = Raw::new(stage.victim());
    for n in 0..500 {
        let ids = Ids::random(&mut dice);
        raw.send_paced(nth_address(n), &ids.initial(&[]).unprotected(dice.next() as u32, &dice.bytes(1_170)));
    }
    let answers = raw.drain(QUIET);
    if raw.received > raw.sent {
        return Err(format!("{} bytes came for {}", raw.received, raw.sent));
    }
    // Eight from each network, so that its pace stops none of them; more in all than there are places for handshakes.
    let mut closed = 0;
    for _ in 0..12 {
        let IpAddr::V4(network) = crate::stage::fresh_network() else { unreachable!("loopback is IPv4") };
        for host in 0..8 {
            let [a, b, c, _] = network.octets();
            let mut puppet = Puppet::at([a, b, c, 10 + host].into(), stage.victim());
            puppet.ask_for_token()?;
            let ids = Ids { to: puppet.server_id.clone(), from: puppet.id.to_vec() };
            puppet.send_raw(&ids.initial(&puppet.token).unprotected(dice.next() as u32, &dice.bytes(1_100)));
            puppet.wait_for(Duration::from_millis(5), |_| false);
            closed += u32::from(puppet.closed.is_some());
        }
    }
    Ok(format!("500 without token: {} answers; 96 with token: {closed} closed, the others dropped", answers.len()))
}

fn unknown_versions(stage: &mut Stage) -> Outcome {
    let mut dice = Dice::new(3);
    let mut raw = Raw::new(stage.victim());
    let mut versions = vec![2, 0xff00_001d, 0x1a2a_3a4a, 0x6b33_43cf, u32::MAX];
    let mut came = Vec::new();
    versions.resize_with(1_000, || dice.next() as u32 | 0x1000);
    for (n, version) in (0u32..).zip(&versions) {
        let ids = Ids::random(&mut dice);
        let long = Long { version: *version, ..ids.initial(&[]) };
        raw.send_paced(nth_address(n), &long.unprotected(0, &dice.bytes(1_170)));
        // Too short to be answered: an answer would be longer than its cause may be.
        raw.send_paced(nth_address(500_000 + n), &long.unprotected(0, &dice.bytes(40)));
        came.extend(raw.poll());
    }
    came.extend(raw.drain(QUIET));
    for Datagram { bytes, .. } in &came {
        match packet::split(bytes, 0).first() {
            Some(Came::VersionNegotiation(list)) if bytes.len() < 100 => {
                // Versions of this pattern are reserved, to keep peers used to unknown ones (RFC 9000, 15).
                let real: Vec<_> = list.iter().filter(|version| **version & 0x0f0f_0f0f != 0x0a0a_0a0a).collect();
                if real != [&V1] {
                    return Err(format!("the node says that it speaks other versions than 1: {real:x?}"));
                }
            }
            other => return Err(format!("an unknown version got {} bytes: {other:?}", bytes.len())),
        }
    }
    let short = came.iter().filter(|datagram| (0..1_000).any(|n| datagram.to == nth_address(500_000 + n))).count();
    if came.len() != versions.len() || short > 0 {
        return Err(format!(
            "{} answers for {} versions, {short} of them for short datagrams",
            came.len(),
            versions.len()
        ));
    }
    Ok(format!("{} version negotiations, {} bytes for {}", came.len(), raw.received, raw.sent))
}

fn flood(stage: &mut Stage) -> Outcome {
    let count = size("ACCORD_FLOOD_ADDRESSES", FLOOD_ADDRESSES);
    let mut dice = Dice::new(4);
    // One ClientHello, in packets with ids and keys of their own.
    let mut puppet = Puppet::new(stage.victim());
    let hello = puppet.client_hello(&Hello::with(Some(Identity::of(&Key::fresh()))));
    let mut raw = Raw::new(stage.victim());
    let mut answers = Vec::new();
    let newcomers = bystander::beside(stage, |stage| {
        let (dial, to) = (stage.honest(), stage.victim());
        let newcomer = stage.runtime().spawn(async move { dial.connect(to).await });
        for n in 0..count {
            let ids = Ids::random(&mut dice);
            let keys = packet::initial_keys(&ids.to);
            raw.send(nth_address(n), &ids.initial(&[]).seal_padded(&keys.local, 0, &frames::crypto(0, &hello)));
            answers.extend(raw.poll());
        }
        answers.extend(raw.drain(QUIET));
        stage.block_on(newcomer).unwrap().map_err(|end| format!("a new honest connection: {end}"))
    });
    let ratio = raw.received as f64 / raw.sent as f64;
    for (name, value) in
        [("flood_datagrams", f64::from(count)), ("flood_answers", answers.len() as f64), ("flood_bytes_ratio", ratio)]
    {
        stage.figures.insert(name.to_owned(), value);
    }
    newcomers?.close();
    if ratio > 3.0 {
        return Err(format!("{} bytes were sent for {} received", raw.received, raw.sent));
    }
    let mut seen = std::collections::BTreeSet::new();
    for Datagram { to, bytes } in &answers {
        if !matches!(packet::split(bytes, 8).as_slice(), [Came::Retry { .. }]) {
            return Err(format!("a first packet without token got {} bytes that are no Retry", bytes.len()));
        }
        if !seen.insert(*to) {
            return Err(format!("{to} got two answers for one packet"));
        }
    }
    Ok(format!(
        "{count} addresses, {} Retry, {} bytes for {} received ({ratio:.2})",
        answers.len(),
        raw.received,
        raw.sent
    ))
}

fn stopping_handshakes(stage: &mut Stage) -> Outcome {
    let hello = Hello::with(Some(Identity::of(&Key::fresh())));
    let mut held = Vec::new();
    for _ in 0..NETWORKS {
        let IpAddr::V4(network) = crate::stage::fresh_network() else { unreachable!("loopback is IPv4") };
        let [a, b, c, _] = network.octets();
        for host in 0..10 {
            let mut puppet = Puppet::at([a, b, c, host].into(), stage.victim());
            puppet.ask_for_token()?;
            held.push(puppet);
        }
    }
    for puppet in &mut held {
        puppet.mute(&hello);
    }
    let clock = Stopwatch::start();
    let mut begun = 0;
    while begun < PLACES && clock.ms() < 3_000 {
        for puppet in &mut held {
            puppet.wait_for(Duration::from_millis(1), |puppet| puppet.has_keys(puppet::HANDSHAKE));
        }
        begun = held.iter().filter(|puppet| puppet.has_keys(puppet::HANDSHAKE)).count();
    }
    let mut stranger = Puppet::new(stage.victim());
    stranger.ask_for_token()?;
    stranger.mute(&hello);
    stranger.wait_for(Duration::from_millis(500), |puppet| puppet.has_keys(puppet::HANDSHAKE));
    if stranger.has_keys(puppet::HANDSHAKE) || begun < PLACES {
        return Err(format!("{begun} handshakes hang, and one more stranger is let in"));
    }
    let newcomer = stage.block_on(stage.honest().connect(stage.victim()));
    newcomer.map_err(|end| format!("{begun} handshakes hang, and a member from its own network meets {end}"))?.close();
    // A handshake has 10 s.
    stranger.wait_for(Duration::from_secs(11), |_| false);
    let mut late = Puppet::new(stage.victim());
    late.ask_for_token()?;
    late.mute(&hello);
    late.wait(|puppet| puppet.has_keys(puppet::HANDSHAKE));
    if !late.has_keys(puppet::HANDSHAKE) {
        return Err("after 11 s their places are still taken".into());
    }
    Ok(format!("{begun} handshakes hang and a stranger waits, a member is let in; after 10 s strangers are too"))
}

fn foreign_token(stage: &mut Stage) -> Outcome {
    let hello = Hello::with(Some(Identity::of(&Key::fresh())));
    let mut right = Puppet::new(stage.victim());
    right.ask_for_token()?;
    let mut ends = Vec::new();
    let mut changed = right.token.clone();
    changed[4] ^= 1;
    for (what, token) in [("another address", right.token.clone()), ("another address, one bit changed", changed)] {
        let mut wrong = Puppet::new(stage.victim());
        wrong.take_over(&right.server_id, token);
        wrong.say_in_order(&hello);
        wrong.wait_for(Duration::from_secs(1), |puppet| puppet.has_keys(puppet::HANDSHAKE));
        if wrong.has_keys(puppet::HANDSHAKE) {
            return Err(format!("{what}: the handshake goes on"));
        }
        ends.push(match (wrong.closed, wrong.retries) {
            (Some(closed), _) => format!("{what}: {closed}"),
            (None, 0) => format!("{what}: not answered"),
            (None, _) => format!("{what}: asked for a token again"),
        });
    }
    right.say_in_order(&hello);
    right.wait(|puppet| puppet.has_keys(puppet::HANDSHAKE));
    if !right.has_keys(puppet::HANDSHAKE) {
        return Err("the right address is not let on either".into());
    }
    Ok(ends.join("; "))
}
