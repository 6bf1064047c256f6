//! Connections of members: how many, from where, how often, over what kind of network, and at whose address.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use accord_edge::clock::Stopwatch;
use quinn::Endpoint;
use tokio::task::JoinSet;

use crate::{
    bystander,
    cases::queries::purities,
    client::{Dial, End, Link, StreamEnd},
    envelope,
    peer::{Counts, Means, Peer, anew, json},
    proxy::{Proxy, Rules},
    quic::puppet::{HANDSHAKE, Puppet},
    stage::{ATTACKER, HONEST, Key, Stage, VICTIM, fresh_network},
    table::{Case, Outcome, Place},
    tls::{Hello, Identity},
    wire::{class_of, messages::Body, replies::ANSWERED},
};

/// How long the connection before may still finish its streams (`docs/wire.md` 2).
const OLD_ENDS_MS: u64 = 5_000;
/// Attempts of a connect storm each second.
const STORM_PER_SECOND: u64 = 2_000;
/// How long a storm goes on.
const STORM: Duration = Duration::from_secs(3);
/// Networks that a storm comes from.
const STORM_NETWORKS: usize = 40;
/// Half of all datagrams lost, one in ten twice, each late by itself.
const BAD: Rules = Rules {
    lost: 50,
    twice: 10,
    delay: Duration::from_millis(150),
    jitter: Duration::from_millis(150),
    ..Rules::CLEAN
};
/// How long a request over a bad network is waited for: the deadline of its stream.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// Handshakes of one network at once, and each second (`docs/wire.md` 11).
const OF_A_NETWORK: u64 = 10;
/// Handshakes of all strange networks at once, and each second.
const OF_STRANGERS: u64 = 50;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            id: "C17",
            name: "several connections with one key",
            given: "a member's key, and three addresses",
            sent: "a second connection while the first is open, then a third",
            expected: "the newest wins: the one before may go on for 5 s, any earlier one ends at once, both with code 0; the log says that one was replaced",
            log: "connected peer=ES-AGENCY replaced=true",
            place: Place::Own,
            run: several,
        },
        Case {
            id: "C27",
            name: "a storm of connections by a member",
            given: "an honest member asks all the time",
            sent: "2,000 handshakes a second for 3 s with a member's right key, closed when they are through: from one network, then from 40",
            expected: "10 at once and 10 a second of one network, 50 and 50 of all strange ones get through; memory bounded; the honest member is answered, and a new connection of it is let in",
            log: "connected peer=ES-AGENCY",
            place: Place::Own,
            run: connect_storm,
        },
        Case {
            id: "C29",
            name: "a bad network",
            given: "half of the datagrams lost, 150 ms and up to 150 ms more each way, one in ten twice, in any order",
            sent: "six requests at once over a connection from before, a handshake meanwhile; then the same six over a new connection",
            expected: "each is answered, or ends by time; the second time all are answered; each is executed once",
            log: "connected peer=ES-AGENCY",
            place: Place::Own,
            run: bad_network,
        },
        Case {
            id: "C30",
            name: "datagrams of 1,200 bytes at most",
            given: "a network that loses all longer ones",
            sent: "a handshake with the post-quantum key exchange, a fetch, and a request for 4 MiB",
            expected: "all answered in full",
            log: "answered peer=ES-AGENCY",
            place: Place::Shared,
            run: small_datagrams,
        },
        Case {
            id: "C31",
            name: "IPv6, and IPv4 mapped into it",
            given: "a node that listens on [::]",
            sent: "members over ::1 and over IPv4; 16 strangers at once from one IPv4 network, from another, from ::1",
            expected: "members are served over both; each network has its own ten handshakes, mapped or not; nobody else's are used up",
            log: "connected peer=ES-AGENCY",
            place: Place::Own,
            run: families,
        },
        Case {
            id: "C33a",
            name: "another member at a member's address",
            given: "the asked member is down, and another one's node listens at its address with its own valid key",
            sent: "an officer's question to the member that is down, three times",
            expected: "not connected: the question is not sent, the member is shown as unreachable, no number is shown",
            log: "none",
            place: Place::Own,
            run: wrong_member,
        },
    ]
}

async fn dialled(dial: &Dial, to: SocketAddr) -> Result<Link, String> {
    let link = dial.connect(to).await.map_err(|end| format!("not connected: {end}"))?;
    let came = link.ask(&envelope::fetch_edition(1)).await;
    envelope::found(&came).then_some(link).ok_or_else(|| format!("not served: {}", came.end))
}

fn several(stage: &mut Stage) -> Outcome {
    let to = stage.victim();
    // The node of the member itself is quiet: it asks nobody.
    stage.block_on(async {
        let first = dialled(&stage.attacker(), to).await?;
        let second = dialled(&stage.attacker(), to).await?;
        let clock = Stopwatch::start();
        if !envelope::found(&first.ask(&envelope::fetch_edition(1)).await) {
            return Err("the connection before cannot go on".into());
        }
        let third = dialled(&stage.attacker(), to).await?;
        let at_once = first.end_within(Duration::from_millis(500)).await;
        if at_once != Some(End::Closed(0, Vec::new())) {
            return Err(format!("three are open; the first: {at_once:?}"));
        }
        let end = second.end_within(Duration::from_millis(OLD_ENDS_MS + 2_000)).await;
        let after = clock.ms();
        if end != Some(End::Closed(0, Vec::new())) || after < OLD_ENDS_MS - 1_000 {
            return Err(format!("after {after} ms the second: {end:?}"));
        }
        let served = envelope::found(&third.ask(&envelope::fetch_edition(1)).await);
        third.close();
        if served {
            Ok(format!("the first ends at once, the second after {after} ms, the third serves"))
        } else {
            Err("the newest does not serve".into())
        }
    })
}

/// How a storm went.
#[derive(Debug, Default)]
struct Stormed {
    tried: u64,
    through: u64,
    bytes_out: u64,
    bytes_in: u64,
}

/// Connects and closes as fast as the clock says, from several networks in turn; those that are not let in are given up soon.
async fn storm(dial: &Dial, to: SocketAddr, networks: usize) -> Stormed {
    let (config, _) = dial.configure();
    let endpoints: Vec<Endpoint> =
        (0..networks).map(|_| Endpoint::client((fresh_network(), 0).into()).unwrap()).collect();
    let mut stormed = Stormed::default();
    let mut running = JoinSet::new();
    let clock = Stopwatch::start();
    while u128::from(clock.ms()) < STORM.as_millis() {
        // As many as are due by now.
        while stormed.tried < clock.ms() * STORM_PER_SECOND / 1000 {
            let endpoint = &endpoints[usize::try_from(stormed.tried).unwrap() % networks];
            let connecting = endpoint.connect_with(config.clone(), to, "accord").unwrap();
            stormed.tried += 1;
            running.spawn(async move {
                let connection = tokio::time::timeout(Duration::from_millis(500), connecting).await.ok()?.ok()?;
                // In TLS 1.3 only an answer says that the server has let us in.
                let (mut send, mut recv) = connection.open_bi().await.ok()?;
                send.write_all(&envelope::fetch_edition(1)).await.ok()?;
                send.finish().ok()?;
                recv.read_to_end(1 << 20).await.ok()?;
                let stats = connection.stats();
                connection.close(0u8.into(), b"");
                Some((stats.udp_tx.bytes, stats.udp_rx.bytes))
            });
            if stormed.tried.is_multiple_of(16) {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while let Some(one) = running.join_next().await {
        if let Some((out, came)) = one.unwrap() {
            stormed.through += 1;
            stormed.bytes_out += out;
            stormed.bytes_in += came;
        }
    }
    stormed
}

fn connect_storm(stage: &mut Stage) -> Outcome {
    let mut seen = Vec::new();
    let seconds = STORM.as_secs() + 1;
    for (what, networks, share) in [("one network", 1, OF_A_NETWORK), ("40 networks", STORM_NETWORKS, OF_STRANGERS)] {
        let (stormed, let_in) = bystander::beside(stage, |stage| {
            let (dial, honest, to) = (stage.attacker(), stage.honest(), stage.victim());
            let newcomer = stage.runtime().spawn(async move {
                tokio::time::sleep(STORM / 2).await;
                dialled(&honest, to).await
            });
            let stormed = stage.block_on(storm(&dial, to, networks));
            Ok((stormed, stage.block_on(newcomer).unwrap()))
        })?;
        let figures = std::mem::take(&mut stage.figures);
        let more = [
            ("tried", stormed.tried as f64),
            ("through", stormed.through as f64),
            ("bytes_to_node", stormed.bytes_out as f64),
            ("bytes_from_node", stormed.bytes_in as f64),
        ];
        let more = more.map(|(name, value)| (name.to_owned(), value));
        let named = figures.into_iter().chain(more).map(|(name, value)| (format!("{what}: {name}"), value));
        seen.push((what, named.collect::<BTreeMap<_, _>>()));
        let_in.map_err(|why| format!("{what}: an honest member's new connection: {why}"))?.close();
        if stormed.through < share || stormed.through > share * (1 + seconds) {
            return Err(format!("{what}: {} of {} handshakes got through", stormed.through, stormed.tried));
        }
    }
    let words = seen.iter().map(|(what, figures)| {
        format!("{what}: {} of {} through", figures[&format!("{what}: through")], figures[&format!("{what}: tried")])
    });
    let words = words.collect::<Vec<_>>().join("; ");
    stage.figures.extend(seen.into_iter().flat_map(|(_, figures)| figures));
    Ok(words)
}

/// Sends a request on a stream of its own and waits for the whole of its deadline; whether it was answered.
async fn answered_over(peer: Arc<Peer>, body: Vec<u8>) -> Result<bool, String> {
    let Ok(mut stream) = peer.link.open().await else { return Ok(false) };
    if stream.write(&peer.request(&body)).await.is_err() {
        return Ok(false);
    }
    stream.finish();
    let came = stream.read_all(REQUEST_WITHIN).await;
    if came.end != StreamEnd::Fin {
        return Ok(false);
    }
    // A reply that is whole must be right.
    let judged = peer.judge(&came)?;
    if judged.word() == ANSWERED { Ok(true) } else { Err(judged.word().into()) }
}

async fn all_over(peer: &Arc<Peer>, bodies: &[Vec<u8>]) -> Result<Vec<bool>, String> {
    let asking = bodies.iter().map(|body| tokio::spawn(answered_over(Arc::clone(peer), body.clone())));
    let mut all = Vec::new();
    for one in asking.collect::<Vec<_>>() {
        all.push(one.await.unwrap()?);
    }
    Ok(all)
}

async fn peer_over(stage: &Stage, proxy: SocketAddr) -> Result<Arc<Peer>, String> {
    let link = dialled(&stage.attacker(), proxy).await?;
    let binding = link.channel_binding();
    Ok(Arc::new(Peer { means: Means::of(stage, ATTACKER), link, binding }))
}

fn bad_network(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let proxy = Proxy::anywhere(stage.runtime(), stage.victim(), Rules::CLEAN, 29);
    let counts = proxy.counts();
    let count = || (counts.came.load(Ordering::Relaxed), counts.lost.load(Ordering::Relaxed));
    let (first, handshake, (came, lost), again) = stage.block_on(async {
        let peer = peer_over(stage, proxy.address()).await?;
        let bodies: Vec<_> = (0..6).map(|_| peer.means.body().encode()).collect();
        let clean = count();
        proxy.treat_as(BAD);
        let first = all_over(&peer, &bodies).await?;
        let clock = Stopwatch::start();
        let handshake = stage.honest().connect(proxy.address()).await.is_ok();
        let handshake = (handshake, clock.ms());
        let bad = count();
        proxy.treat_as(Rules::CLEAN);
        // As a node does: the same bodies over another connection.
        let peer = peer_over(stage, proxy.address()).await?;
        let again = all_over(&peer, &bodies).await?;
        peer.link.close();
        Ok::<_, String>((first, handshake, (bad.0 - clean.0, bad.1 - clean.1), again))
    })?;
    let after = Counts::of(stage, VICTIM)?;
    let executed = after.get("answered") - before.get("answered");
    let stored = after.get("answered_again") - before.get("answered_again");
    let in_time = first.iter().filter(|answered| **answered).count();
    for (name, value) in [("datagrams", came), ("datagrams_lost", lost), ("handshake_ms", handshake.1)] {
        stage.figures.insert(name.into(), value as f64);
    }
    if again.contains(&false) || executed != 6 {
        return Err(format!("6 requests: {first:?}, then {again:?}; {executed} executed, {stored} stored bytes again"));
    }
    if lost * 10 < came * 4 {
        return Err(format!("{lost} of {came} datagrams lost: this says nothing"));
    }
    let through = if handshake.0 { "through" } else { "ended by time" };
    Ok(format!(
        "{in_time} of 6 answered, all 6 over the next connection; {executed} executed, {stored} times the stored bytes; a handshake meanwhile {through}"
    ))
}

fn small_datagrams(stage: &mut Stage) -> Outcome {
    anew(stage);
    let rules = Rules { size_max: 1_200, ..Rules::CLEAN };
    let proxy = Proxy::anywhere(stage.runtime(), stage.victim(), rules, 30);
    let (slice, due) = stage.block_on(async {
        let link = dialled(&stage.attacker(), proxy.address()).await?;
        let binding = link.channel_binding();
        let (query, due) = purities(25, 6);
        let peer = Peer { means: Means::of(stage, ATTACKER), link, binding };
        let body = Body { query, reply_class: class_of(due), ..peer.means.body() };
        let judged = peer.exchange(&peer.request(&body.encode())).await?;
        peer.link.close();
        Ok::<_, String>((judged.slice.len(), due))
    })?;
    let counts = proxy.counts();
    let (longest, lost) = (counts.longest.load(Ordering::Relaxed), counts.lost.load(Ordering::Relaxed));
    if longest > 1_200 || lost == 0 {
        return Err(format!("the longest datagram had {longest} bytes, {lost} were lost: the network was not small"));
    }
    if slice == due {
        Ok(format!("{slice} bytes of slice; {lost} longer datagrams were lost"))
    } else {
        Err(format!("{slice} bytes of slice, not {due}"))
    }
}

/// Strangers who say their hello at once, from addresses that `at` gives; how many get an answer to it.
fn at_once(to: SocketAddr, at: impl Fn(u8) -> IpAddr) -> Result<usize, String> {
    const ALL: u8 = 16;
    let stranger = Hello::with(Some(Identity::of(&Key::fresh())));
    let mut puppets: Vec<Puppet> = (0..ALL).map(|n| Puppet::at(at(n), to)).collect();
    for puppet in &mut puppets {
        puppet.ask_for_token()?;
    }
    for puppet in &mut puppets {
        puppet.mute(&stranger);
    }
    let begun = |puppet: &mut Puppet| {
        puppet.wait_for(Duration::from_millis(100), |puppet| puppet.has_keys(HANDSHAKE));
        puppet.has_keys(HANDSHAKE)
    };
    Ok(puppets.iter_mut().map(begun).filter(|begun| *begun).count())
}

fn families(stage: &mut Stage) -> Outcome {
    let port = stage.victim().port();
    stage.stop(VICTIM);
    let (v4, both) = (format!("127.0.0.1:{port}"), format!("[::]:{port}"));
    stage.federation.edit("IT-AGENCY/node/node.toml", &v4, &both);
    stage.start(VICTIM);
    let over_v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let over_v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
    stage.block_on(async {
        dialled(&stage.attacker(), over_v4).await.map_err(|why| format!("IPv4: {why}"))?.close();
        dialled(&stage.attacker().from(Ipv6Addr::LOCALHOST), over_v6)
            .await
            .map_err(|why| format!("IPv6: {why}"))?
            .close();
        Ok::<_, String>(())
    })?;
    let before = Counts::of(stage, VICTIM)?;
    let mut begun = Vec::new();
    for _ in 0..2 {
        let IpAddr::V4(network) = fresh_network() else { unreachable!("loopback is IPv4") };
        let [a, b, c, _] = network.octets();
        begun.push(at_once(over_v4, |n| [a, b, c, 10 + n].into())?);
    }
    // All of IPv6's loopback is one address.
    begun.push(at_once(over_v6, |_| Ipv6Addr::LOCALHOST.into())?);
    let over = Counts::of(stage, VICTIM)?.get("handshakes_over_rate") - before.get("handshakes_over_rate");
    // One comes back each tenth of a second while they speak.
    if begun.iter().any(|begun| !(9..=13).contains(begun)) || over == 0 {
        return Err(format!("of 16 strangers at once {begun:?} were let speak; {over} were over their network's rate"));
    }
    stage.block_on(async { dialled(&stage.honest(), over_v4).await.map(|link| link.close()) })?;
    Ok(format!("both families served; of 16 at once {begun:?} in each of three networks; {over} ignored"))
}

fn wrong_member(stage: &mut Stage) -> Outcome {
    let (victim, other) = (stage.victim(), stage.address(HONEST));
    stage.start(ATTACKER);
    let ask = |stage: &Stage| {
        let said =
            stage.federation.officer(&["ask", "seizures-year-drug", "--from", VICTIM, "--period", "2024", "--json"]);
        json(&said).map(|value| (said.code, value))
    };
    let (code, good) = ask(stage)?;
    if code != 0 {
        return Err(format!("before, the question is not answered: {good}"));
    }
    stage.stop(VICTIM);
    stage.stop(HONEST);
    let settings = "PT-AGENCY/node/node.toml";
    stage.federation.edit(settings, &other.to_string(), &victim.to_string());
    stage.start(HONEST);
    let mut wrong = None;
    for _ in 0..3 {
        let (code, value) = ask(stage)?;
        let text = value.to_string();
        if code == 0 || !text.contains("unreachable") {
            wrong = Some(format!("exit {code}: {text}"));
        }
    }
    let log = std::fs::read_to_string(stage.log(HONEST)).unwrap();
    let connected = log.contains("connected peer=ES-AGENCY");
    stage.stop(HONEST);
    stage.federation.edit(settings, &victim.to_string(), &other.to_string());
    stage.stop(ATTACKER);
    stage.start(VICTIM);
    match wrong {
        Some(wrong) => Err(wrong),
        None if connected => Err("the other member's node was connected to as if it were the one asked".into()),
        None => Ok("three times unreachable; the other member's node saw no connection".into()),
    }
}
