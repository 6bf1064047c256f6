//! Streams: too many, silent, slow, never read, given up in every state, and a peer that falls silent in every state.

use std::{sync::Arc, time::Duration};

use accord_edge::clock::Stopwatch;
use quinn::VarInt;
use tokio::task::JoinSet;

use crate::{
    bystander,
    cases::queries::purities,
    client::{Link, Stream, StreamEnd},
    envelope,
    peer::{Counts, Peer, anew},
    quic::{
        frames::{self, Frame},
        puppet::{HANDSHAKE, INITIAL, ONE_RTT, Puppet, encode_parameters, parameters},
    },
    stage::{ATTACKER, HONEST, Key, Stage, VICTIM},
    table::{Case, Outcome, Place},
    tls::{Hello, Identity},
    wire::{class_of, messages::Body},
};

/// Streams that one connection may have open (`docs/wire.md` 2).
const STREAMS: usize = 8;
/// The deadline of a stream, in milliseconds.
const DEADLINE_MS: u64 = 30_000;
/// How much later than its deadline a stream may be seen to end.
const SLACK_MS: u64 = 3_000;
/// How often the node sends something over a quiet connection, in milliseconds.
const KEEP_ALIVE_MS: u64 = 10_000;
/// How long is waited for an end at the deadline.
const WAIT: Duration = Duration::from_millis(DEADLINE_MS + 2 * SLACK_MS);
/// Streams that are opened and given up at once.
const STORM: usize = 2_000;
/// Answers that a node makes or sends for one member at once.
const ANSWERS: u64 = 4;
/// Code that a peer gives up with; nothing depends on it.
const GIVEN_UP: VarInt = VarInt::from_u32(77);

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |id, name, sent, expected, place, run| Case {
        id,
        name,
        given: "an authenticated member",
        sent,
        expected,
        log: "connected peer=ES-AGENCY",
        place,
        run,
    };
    vec![
        case(
            "C19",
            "a hundred streams at once",
            "a hundred calls for streams, none of which says a word; then all say theirs",
            "eight are open, the others wait at the client; one more is let in for each that ends; all hundred are answered in the end",
            Place::Shared,
            hundred_streams,
        ),
        case(
            "C20",
            "streams that stay silent",
            "eight streams: nothing, one byte, half a frame header, half a head, a head without FIN, pads without FIN",
            "each is reset and stopped with code 1 when it is 30 s old; the connection serves on, and so do other members' meanwhile",
            Place::Own,
            silent_streams,
        ),
        case(
            "C20a",
            "a peer that falls silent in every state",
            "peers that say nothing more: before the token, after their hello, in the middle of the handshake, after it, with half a call, with a call whose answer they never acknowledge",
            "after the idle time of 30 s nothing of them is left: what they send then gets at most a stateless reset; memory flat",
            Place::Own,
            silent_peers,
        ),
        case(
            "C21",
            "a byte every second",
            "a call of which a byte comes each second; pads after a head, a byte each second",
            "reset at 30 s from the opening, however lately the last byte came",
            Place::Own,
            dripping,
        ),
        case(
            "C23",
            "answers that nobody reads",
            "four requests for 4 MiB that are not read beyond the first byte, and a fifth call",
            "no more than four are made at once: the fifth is answered when the others are reset with code 1 after 30 s; memory flat; other members are answered meanwhile",
            Place::Own,
            not_reading,
        ),
        case(
            "C23",
            "a client without a window",
            "four calls by a client that lets the server send nothing",
            "no byte comes, and each is reset with code 1 after 30 s; other members are answered meanwhile",
            Place::Own,
            windowless,
        ),
        case(
            "C24",
            "reset and stop in every state",
            "a reset, a stop, both, in nine states of a call, and the end of the connection in each; then 2,000 streams opened and given up at once",
            "nothing is executed of a call that was not whole; the connection serves on; memory flat, no panic",
            Place::Shared,
            given_up,
        ),
    ]
}

async fn link(stage: &Stage) -> Result<Link, String> {
    stage.attacker().connect(stage.victim()).await.map_err(|end| format!("not connected: {end}"))
}

async fn open(link: &Link) -> Result<Stream, String> {
    link.open().await.map_err(|end| format!("no stream: {end}"))
}

fn hundred_streams(stage: &mut Stage) -> Outcome {
    const ALL: usize = 100;
    bystander::beside(stage, |stage| {
        stage.block_on(async {
            let link = Arc::new(link(stage).await?);
            let mut opening = JoinSet::new();
            for _ in 0..ALL {
                let connection = link.connection.clone();
                opening.spawn(async move { connection.open_bi().await });
            }
            let mut open = Vec::new();
            let more = Duration::from_millis(500);
            while let Ok(Some(stream)) = tokio::time::timeout(more, opening.join_next()).await {
                open.push(stream.unwrap().map_err(|error| error.to_string())?);
            }
            if open.len() != STREAMS {
                return Err(format!("{} of {ALL} silent streams are open", open.len()));
            }
            let (mut opened, mut answered) = (open.len(), 0);
            loop {
                // Leave comes for several at a time, so that it is waited for only when there is nothing else to do.
                let wait = if open.is_empty() { more } else { Duration::from_millis(1) };
                if let Ok(Some(stream)) = tokio::time::timeout(wait, opening.join_next()).await {
                    open.push(stream.unwrap().map_err(|error| error.to_string())?);
                    opened += 1;
                    if opened > STREAMS + answered {
                        return Err(format!("{opened} were let in while {answered} had ended"));
                    }
                    continue;
                }
                let Some((mut send, mut recv)) = open.pop() else { break };
                send.write_all(&envelope::fetch_edition(1)).await.map_err(|error| error.to_string())?;
                let _ = send.finish();
                let bytes = recv.read_to_end(1 << 20).await.map_err(|error| format!("after {answered}: {error}"))?;
                answered += usize::from(!bytes.is_empty());
            }
            link.close();
            if answered == ALL {
                Ok(format!("{STREAMS} open at once, {answered} answered"))
            } else {
                Err(format!("{answered} of {ALL} answered"))
            }
        })
    })
}

/// What a call can have said when it falls silent, and whether it has ended its side.
fn states() -> Vec<(&'static str, Vec<u8>)> {
    let call = envelope::fetch_edition(1);
    let head = call.len();
    vec![
        ("nothing", Vec::new()),
        ("one byte", call[..1].to_vec()),
        ("four bytes of a length", call[..4].to_vec()),
        ("a frame header", call[..5].to_vec()),
        ("half a head", call[..head / 2].to_vec()),
        ("a head without its last byte", call[..head - 1].to_vec()),
        ("a head without FIN", call.clone()),
        ("a pad without FIN", [call.as_slice(), &envelope::frame(5, &[0; 100])].concat()),
    ]
}

/// That a stream was reset with code 1 at its deadline, and stopped too.
async fn ends_at_deadline(what: &str, mut stream: Stream) -> Result<u64, String> {
    let came = stream.read_all(WAIT).await;
    if came.end != StreamEnd::Reset(1) || !came.bytes.is_empty() {
        return Err(format!("{what}: {} bytes, {} after {} ms", came.bytes.len(), came.end, came.ms));
    }
    if !(DEADLINE_MS - SLACK_MS..=DEADLINE_MS + SLACK_MS).contains(&came.ms) {
        return Err(format!("{what}: {} after {} ms", came.end, came.ms));
    }
    match stream.stopped_within(Duration::from_secs(1)).await {
        Some(1) => Ok(came.ms),
        other => Err(format!("{what}: reset, but stopped with {other:?}")),
    }
}

async fn all_end_at_deadline(mut ends: JoinSet<Result<u64, String>>) -> Result<Vec<u64>, String> {
    let mut all = Vec::new();
    while let Some(end) = ends.join_next().await {
        all.push(end.unwrap()?);
    }
    Ok(all)
}

fn silent_streams(stage: &mut Stage) -> Outcome {
    bystander::beside(stage, |stage| {
        stage.block_on(async {
            let link = link(stage).await?;
            let mut ends = JoinSet::new();
            for (what, said) in states() {
                let mut stream = open(&link).await?;
                // Of the first stream nothing is sent: the later ones open it (RFC 9000, 3.2).
                stream.write(&said).await.map_err(|end| format!("{what}: {end}"))?;
                ends.spawn(ends_at_deadline(what, stream));
            }
            let all = all_end_at_deadline(ends).await?;
            let served = envelope::found(&link.ask(&envelope::fetch_edition(1)).await);
            link.close();
            let (first, last) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            if served {
                Ok(format!("{} streams, ended after {first} to {last} ms", all.len()))
            } else {
                Err("afterwards the connection does not serve".into())
            }
        })
    })
}

fn dripping(stage: &mut Stage) -> Outcome {
    stage.block_on(async {
        let link = link(stage).await?;
        let call = envelope::fetch_edition(1);
        // Long enough not to be whole at the deadline.
        let pads = envelope::frame(5, &[0; 60_000]);
        let mut ends = JoinSet::new();
        for (what, at_once, slowly) in [
            ("a head", Vec::new(), call.clone()),
            ("a head from its fifth byte", call[..5].to_vec(), call[5..].to_vec()),
            ("a pad", call.clone(), pads),
        ] {
            let mut stream = open(&link).await?;
            ends.spawn(async move {
                let clock = Stopwatch::start();
                stream.write(&at_once).await.map_err(|end| format!("{what}: {end}"))?;
                let mut sent = 0;
                let mut tick = tokio::time::interval(Duration::from_secs(1));
                for byte in &slowly {
                    tick.tick().await;
                    if stream.write(&[*byte]).await.is_err() || clock.ms() > DEADLINE_MS + 2 * SLACK_MS {
                        break;
                    }
                    sent += 1;
                }
                if sent < 25 {
                    return Err(format!("{what}: only {sent} bytes were taken"));
                }
                ends_at_deadline(what, stream).await
            });
        }
        let all = all_end_at_deadline(ends).await?;
        let served = envelope::found(&link.ask(&envelope::fetch_edition(1)).await);
        link.close();
        if served {
            Ok(format!("{} streams, ended after {all:?} ms", all.len()))
        } else {
            Err("afterwards the connection does not serve".into())
        }
    })
}

fn hello(stage: &Stage) -> Hello {
    Hello::with(Some(Identity::of(&stage.keys(ATTACKER).tls)))
}

fn silent_peers(stage: &mut Stage) -> Outcome {
    let member = hello(stage);
    let to = stage.victim();
    let call = envelope::fetch_edition(1);
    let mut silent = Vec::new();
    let mut before_token = Puppet::new(to);
    before_token.ask_for_token()?;
    silent.push(("before the token", before_token, INITIAL));
    for (what, hello) in
        [("after a member's hello", &member), ("after a stranger's", &Hello::with(Some(Identity::of(&Key::fresh()))))]
    {
        let mut puppet = Puppet::new(to);
        puppet.mute_after_hello(hello);
        if !puppet.has_keys(HANDSHAKE) {
            return Err(format!("{what}: the node does not answer"));
        }
        silent.push((what, puppet, HANDSHAKE));
    }
    // Of each member one connection, since a newer one would end an older one.
    let other = Hello::with(Some(Identity::of(&stage.keys(HONEST).tls)));
    silent.push(("after the handshake", Puppet::connect(to, &other)?, ONE_RTT));
    let mut calling = Puppet::connect(to, &member)?;
    calling.send(ONE_RTT, &frames::stream(0, 0, &call[..call.len() / 2], false));
    calling.send(ONE_RTT, &frames::stream(4, 0, &call, true));
    silent.push(("with half a call, and an answer that is not acknowledged", calling, ONE_RTT));
    // The idle time runs anew from the node's first own packet after the last one that came (RFC 9000, 10.1).
    std::thread::sleep(Duration::from_millis(DEADLINE_MS + KEEP_ALIVE_MS + SLACK_MS));
    let mut seen = Vec::new();
    for (what, puppet, space) in &mut silent {
        puppet.forget();
        if *space == INITIAL {
            puppet.say_in_order(&member);
        } else {
            puppet.send(*space, &[[0x01].as_slice(), &[0; 60]].concat());
        }
        let came = puppet.datagrams(Duration::from_millis(700));
        if let Some(frames) = came.iter().find_map(|datagram| puppet.opens(datagram)) {
            let refused = frames.iter().any(|came| matches!(came, Frame::Close { .. }));
            // An old token proves nothing any more.
            if *space != INITIAL || !refused {
                return Err(format!("{what}: the node still knows it: {frames:?}"));
            }
        } else if *space == ONE_RTT && came.len() != 1 {
            return Err(format!("{what}: {} datagrams where one stateless reset is due", came.len()));
        }
        seen.push(format!("{what}: {} datagrams", came.len()));
    }
    Ok(seen.join("; "))
}

/// A request for an answer of 4 MiB.
fn large(peer: &Peer) -> Vec<u8> {
    let (query, bytes) = purities(25, 6);
    peer.request(&Body { query, reply_class: class_of(bytes), ..peer.means.body() }.encode())
}

fn not_reading(stage: &mut Stage) -> Outcome {
    anew(stage);
    bystander::beside(stage, |stage| {
        stage.block_on(async {
            let peer = Peer::connect(stage, ATTACKER).await?;
            let mut streams = Vec::new();
            for _ in 0..ANSWERS {
                let mut stream = open(&peer.link).await?;
                stream.write(&large(&peer)).await.map_err(|end| end.to_string())?;
                stream.finish();
                // An answer that has begun has its place.
                stream.recv.read_chunk(1, true).await.map_err(|error| error.to_string())?;
                streams.push(stream);
            }
            let mut fifth = open(&peer.link).await?;
            fifth.write(&envelope::fetch_edition(1)).await.map_err(|end| end.to_string())?;
            fifth.finish();
            let fifth = tokio::spawn(async move { fifth.read_all(WAIT).await });
            let mut ends = Vec::new();
            for stream in &mut streams {
                match tokio::time::timeout(WAIT, stream.recv.received_reset()).await {
                    Ok(Ok(Some(code))) if code.into_inner() == 1 => ends.push(stream.age_ms()),
                    other => return Err(format!("after {} ms a stream that is not read: {other:?}", stream.age_ms())),
                }
            }
            let fifth = fifth.await.unwrap();
            peer.link.close();
            let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
            if *first < DEADLINE_MS - SLACK_MS {
                return Err(format!("a stream was given up after {first} ms"));
            }
            if !envelope::found(&fifth) || fifth.ms < DEADLINE_MS - SLACK_MS {
                return Err(format!("a fifth call: {} bytes, {}, after {} ms", fifth.bytes.len(), fifth.end, fifth.ms));
            }
            Ok(format!(
                "4 answers of 4 MiB end after {first} to {last} ms, a fifth call is answered after {} ms",
                fifth.ms
            ))
        })
    })
}

fn windowless(stage: &mut Stage) -> Outcome {
    let puppet = Puppet::new(stage.victim());
    let mut list = parameters(&puppet.id);
    list.retain(|(name, _)| ![0x04, 0x05].contains(name));
    let mut puppet = puppet.connect_with(&hello(stage), encode_parameters(&list))?;
    let clock = Stopwatch::start();
    for stream in 0..ANSWERS {
        puppet.send(ONE_RTT, &frames::stream(4 * stream, 0, &envelope::fetch_edition(1), true));
    }
    let resets = |puppet: &Puppet| {
        let reset = |came: &&Frame| matches!(came, Frame::ResetStream { code: 1, .. });
        puppet.came.iter().filter(reset).count() as u64
    };
    bystander::beside(stage, |_| {
        puppet.wait_for(WAIT, |puppet| resets(puppet) == ANSWERS);
        let (count, ms) = (resets(&puppet), clock.ms());
        if puppet.came.iter().any(|came| matches!(came, Frame::Stream { data, .. } if !data.is_empty())) {
            return Err("bytes came without a window for them".into());
        }
        if count != ANSWERS || ms < DEADLINE_MS - SLACK_MS {
            return Err(format!("after {ms} ms {count} of {ANSWERS} streams are reset: {:?}", puppet.closed));
        }
        Ok(format!("{count} streams reset with code 1 after {ms} ms"))
    })
}

/// How a peer gives a stream up.
#[derive(Debug, Clone, Copy)]
enum Way {
    Reset,
    Stop,
    Both,
    Leave,
}

/// A call in some state: its bytes, whether they end, and how many bytes of the reply are awaited first.
fn states_of_calls(peer: &Peer) -> Vec<(&'static str, Vec<u8>, bool, usize)> {
    let mut all: Vec<_> = states().into_iter().map(|(what, said)| (what, said, false, 0)).collect();
    all.push(("a whole call", envelope::fetch_edition(1), true, 0));
    all.push(("an answer that has begun", large(peer), true, 1));
    all.push(("an answer half read", large(peer), true, 2 << 20));
    all
}

fn give_up(stream: &mut Stream, way: Way) {
    // A stream that has ended already cannot be given up, which is one of the states.
    if matches!(way, Way::Reset | Way::Both) {
        let _ = stream.send.reset(GIVEN_UP);
    }
    if matches!(way, Way::Stop | Way::Both) {
        let _ = stream.recv.stop(GIVEN_UP);
    }
}

async fn every_state(stage: &Stage) -> Result<usize, String> {
    let mut peer = Peer::connect(stage, ATTACKER).await?;
    let mut count = 0;
    for way in [Way::Reset, Way::Stop, Way::Both, Way::Leave] {
        for state in 0..states_of_calls(&peer).len() {
            // A request holds for one connection alone.
            let (what, said, ended, awaited) = states_of_calls(&peer).swap_remove(state);
            let mut stream = open(&peer.link).await?;
            stream.write(&said).await.map_err(|end| format!("{what}: {end}"))?;
            if ended {
                stream.finish();
            }
            let mut came = 0;
            while came < awaited {
                let chunk = stream.recv.read_chunk(1 << 16, true).await.map_err(|error| format!("{what}: {error}"))?;
                came += chunk.ok_or_else(|| format!("{what}: the answer ends after {came}"))?.bytes.len();
            }
            give_up(&mut stream, way);
            count += 1;
            if matches!(way, Way::Leave) {
                peer.link.close();
                peer = Peer::connect(stage, ATTACKER).await.map_err(|why| format!("{what}, {way:?}: {why}"))?;
            }
            let next = peer.link.ask(&envelope::fetch_edition(1)).await;
            if !envelope::found(&next) {
                return Err(format!("{what}, {way:?}: the next call: {} bytes, {}", next.bytes.len(), next.end));
            }
        }
    }
    peer.link.close();
    Ok(count)
}

fn given_up(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let count = stage.block_on(every_state(stage))?;
    // Whole requests are executed, whether their answers are wanted or not; no other is.
    let after = Counts::of(stage, VICTIM)?;
    let executed = after.get("answered") - before.get("answered");
    if executed != 8 {
        return Err(format!("{executed} requests were executed where 8 were whole"));
    }
    let clock = Stopwatch::start();
    let storm = bystander::beside(stage, |stage| {
        stage.block_on(async {
            let link = link(stage).await?;
            let call = envelope::fetch_edition(1);
            for n in 0..STORM {
                let mut stream = open(&link).await.map_err(|why| format!("stream {n}: {why}"))?;
                stream.write(&call[..n % call.len()]).await.map_err(|end| end.to_string())?;
                give_up(&mut stream, [Way::Reset, Way::Both][n % 2]);
                drop(stream);
            }
            let next = link.ask(&call).await;
            let stats = link.connection.stats();
            link.close();
            envelope::found(&next)
                .then_some((stats.udp_tx.bytes, stats.udp_rx.bytes))
                .ok_or_else(|| format!("after the storm: {}", next.end))
        })
    })?;
    stage.figures.insert("storm_bytes_in".into(), storm.0 as f64);
    stage.figures.insert("storm_bytes_out".into(), storm.1 as f64);
    let panics = Counts::of(stage, VICTIM)?;
    panics.grew(&after, &std::collections::BTreeMap::new())?;
    Ok(format!("{count} states; {STORM} streams given up in {} ms", clock.ms()))
}
