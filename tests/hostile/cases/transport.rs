//! QUIC against its own rules: transport parameters, frames, keys, addresses and streams that nobody asked for.

use std::{net::UdpSocket, time::Duration};

use crate::{
    bystander,
    client::StreamEnd,
    envelope,
    quic::{
        frames::{self, Frame, frame},
        packet::varint,
        puppet::{ONE_RTT, Puppet, encode_parameters, parameters},
    },
    stage::{ATTACKER, Stage, fresh_network},
    table::{Case, Outcome, Place},
    tls::{Hello, Identity},
};

/// Error codes of RFC 9000, 20.1.
const FLOW_CONTROL: u64 = 0x3;
const STREAM_LIMIT: u64 = 0x4;
const STREAM_STATE: u64 = 0x5;
const FINAL_SIZE: u64 = 0x6;
const FRAME_ENCODING: u64 = 0x7;
const PARAMETER: u64 = 0x8;
const PROTOCOL: u64 = 0xa;
const CRYPTO_BUFFER: u64 = 0xd;
const KEY_UPDATE: u64 = 0xe;

/// How long something must stay away.
const QUIET: Duration = Duration::from_millis(500);
/// Key updates, in order and in a storm.
const UPDATES: u64 = 300;
/// Packets after which the node has updated its keys by itself: quinn does so first within 1,000.
const OWN_UPDATE_WITHIN: u32 = 1100;
/// Bytes of each of eight streams that are the connection's window in all.
const STREAM_BYTES: usize = 128 << 10;
/// Most bytes of frames in a packet.
const PACKET: usize = 1_100;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |id, name, sent, expected, log, run| Case {
        id,
        name,
        given: "a member's own QUIC client",
        sent,
        expected,
        log,
        place: Place::Shared,
        run,
    };
    vec![
        case(
            "C18",
            "another address in the middle of a request",
            "a stream half sent; the rest, a path challenge and another call from another address; then a client that moves its socket",
            "nothing is sent to the other address, nothing executed; the connection goes on where it was; whoever moved connects anew",
            "connected peer=ES-AGENCY",
            other_address,
        ),
        case(
            "C22",
            "fragments with gaps",
            "8 streams of one-byte fragments that never touch, as far as flow control goes; the same from behind; with 16 bytes each",
            "the connection is closed by the transport, memory stays bounded, an honest member is answered all the time",
            "connected peer=ES-AGENCY",
            fragments,
        ),
        case(
            "C25",
            "transport parameters that are not allowed",
            "out of range, twice, a server's, of the wrong length, cut short, without the connection id, none at all",
            "the handshake is closed with TRANSPORT_PARAMETER_ERROR, or a TLS alert where there are none; no panic",
            "none",
            bad_parameters,
        ),
        case(
            "C26",
            "frames that are not allowed",
            "unknown types, a server's frames, acknowledgements of nothing, limits that are passed, streams that cannot be",
            "the connection is closed with the error code of RFC 9000 for it; no panic",
            "connected peer=ES-AGENCY",
            bad_frames,
        ),
        case(
            "C28",
            "streams and datagrams nobody asked for",
            "a unidirectional stream, a stream of the server's own number, a datagram; a client that waits for leave to open one",
            "the connection is closed; leave is never given",
            "connected peer=ES-AGENCY",
            unsolicited,
        ),
        case(
            "C32",
            "key updates",
            "300 key updates with a call under each; then 300 without waiting; then pings until the node updates its keys",
            "each is followed in order; the storm is followed or ends this one connection; nobody else notices; the node updates its keys and serves on",
            "connected peer=ES-AGENCY",
            key_updates,
        ),
    ]
}

fn hello(stage: &Stage) -> Hello {
    Hello::with(Some(Identity::of(&stage.keys(ATTACKER).tls)))
}

fn connect(stage: &Stage) -> Result<Puppet, String> {
    keep_pace();
    Puppet::connect(stage.victim(), &hello(stage))
}

/// Stays below the handshakes that all strange networks share, so that none of a case's own is ignored.
fn keep_pace() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Bytes that came on a stream, and whether it has ended.
fn on_stream(puppet: &Puppet, wanted: u64) -> (usize, bool) {
    let mut count = (0, false);
    for came in &puppet.came {
        if let Frame::Stream { id, data, fin, .. } = came
            && *id == wanted
        {
            count = (count.0 + data.len(), count.1 || *fin);
        }
    }
    count
}

fn other_address(stage: &mut Stage) -> Outcome {
    let mut puppet = connect(stage)?;
    let call = envelope::fetch_edition(1);
    let (half, rest) = call.split_at(call.len() / 2);
    puppet.send(ONE_RTT, &frames::stream(0, 0, half, false));
    let elsewhere = UdpSocket::bind((fresh_network(), 0)).unwrap();
    elsewhere.set_read_timeout(Some(QUIET)).unwrap();
    let moved =
        [frames::stream(0, half.len() as u64, rest, true), frames::stream(4, 0, &call, true), frame(&[0x1a], &[7; 8])];
    for frames in &moved {
        let datagram = puppet.seal(ONE_RTT, frames);
        elsewhere.send_to(&datagram, stage.victim()).unwrap();
    }
    let mut buffer = [0; 2048];
    if let Ok((length, _)) = elsewhere.recv_from(&mut buffer) {
        return Err(format!("{length} bytes were sent to an address that is not the connection's"));
    }
    puppet.wait_for(QUIET, |puppet| on_stream(puppet, 0).0 > 0);
    if on_stream(&puppet, 0).0 + on_stream(&puppet, 4).0 > 0 {
        return Err("what came from another address was executed".into());
    }
    puppet.send(ONE_RTT, &frames::stream(0, half.len() as u64, rest, true));
    puppet.wait(|puppet| on_stream(puppet, 0).1);
    let (bytes, ended) = on_stream(&puppet, 0);
    if !ended || bytes == 0 {
        return Err(format!("afterwards the connection does not go on at its own address: {:?}", puppet.closed));
    }
    stage.block_on(async {
        let link = stage.attacker().connect(stage.victim()).await.map_err(|end| end.to_string())?;
        let mut stream = link.open().await.map_err(|end| end.to_string())?;
        stream.write(half).await.map_err(|end| end.to_string())?;
        // The first half reaches the node before the client moves.
        tokio::time::sleep(Duration::from_millis(50)).await;
        link.endpoint.rebind(UdpSocket::bind((fresh_network(), 0)).unwrap()).unwrap();
        stream.write(rest).await.map_err(|end| end.to_string())?;
        stream.finish();
        let came = stream.read_all(4 * QUIET).await;
        if !came.bytes.is_empty() {
            return Err(format!("a client that moved got {} bytes: {}", came.bytes.len(), came.end));
        }
        let anew = stage.attacker().connect(stage.victim()).await.map_err(|end| format!("anew: {end}"))?;
        let answered = envelope::found(&anew.ask(&call).await);
        anew.close();
        let end = came.end;
        if answered {
            Ok(format!("{bytes} bytes at its own address, none at the other; who moved: {end}"))
        } else {
            Err("anew it is not answered".into())
        }
    })
}

/// Fragments of `size` bytes with gaps of as many on eight streams, in whole packets, until the connection is closed; how many.
fn send_fragments(puppet: &mut Puppet, size: usize, backwards: bool) -> u64 {
    // Eight streams to half of their windows are the connection's window.
    let each = STREAM_BYTES / (2 * size);
    let mut packet = Vec::new();
    let (mut sent, mut packets) = (0, 0);
    for at in 0..each {
        let at = if backwards { each - 1 - at } else { at };
        for stream in 0..8 {
            let fragment = frames::stream(4 * stream, ((2 * at + 1) * size) as u64, &vec![1; size], false);
            if packet.len() + fragment.len() > PACKET {
                puppet.send(ONE_RTT, &std::mem::take(&mut packet));
                packets += 1;
                // Now and then the node gets time to say something.
                if packets % 16 == 0 {
                    puppet.wait_for(Duration::from_millis(1), |_| false);
                }
            }
            packet.extend(fragment);
            sent += 1;
        }
        if puppet.closed.is_some() {
            return sent;
        }
    }
    puppet.send(ONE_RTT, &packet);
    sent
}

fn fragments(stage: &mut Stage) -> Outcome {
    let mut seen = Vec::new();
    let (mut bytes_in, mut bytes_out, mut count) = (0, 0, 0);
    let runs = [("one byte", 1, false), ("one byte from behind", 1, true), ("16 bytes", 16, false)];
    let result = bystander::beside(stage, |stage| {
        for (what, size, backwards) in runs {
            let mut puppet = connect(stage)?;
            let sent = send_fragments(&mut puppet, size, backwards);
            puppet.wait_for(2 * QUIET, |_| false);
            (bytes_in, bytes_out, count) = (bytes_in + puppet.sent, bytes_out + puppet.received, count + sent);
            match &puppet.closed {
                Some(closed) if !closed.by_application => seen.push(format!("{what}: {closed} after {sent}")),
                closed => return Err(format!("{what}: {sent} fragments are kept, and the connection is {closed:?}")),
            }
        }
        Ok(())
    });
    stage.figures.insert("fragments".into(), f64::from(u32::try_from(count).unwrap()));
    stage.figures.insert("bytes_in".into(), bytes_in as f64);
    stage.figures.insert("bytes_out".into(), bytes_out as f64);
    result?;
    Ok(seen.join("; "))
}

type Parameters = Vec<(u64, Vec<u8>)>;

/// Transport parameters in order with one changed or added.
fn with(id: &[u8], name: u64, value: Vec<u8>) -> Parameters {
    let mut list = parameters(id);
    list.retain(|(known, _)| *known != name);
    list.push((name, value));
    list
}

/// What is wrong with each, and the bytes.
fn wrong_parameters(id: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<(&str, Vec<u8>)> = [
        ("max_udp_payload_size of 1,199", with(id, 0x03, varint(1_199))),
        ("ack_delay_exponent of 21", with(id, 0x0a, varint(21))),
        ("max_ack_delay of 2^14", with(id, 0x0b, varint(1 << 14))),
        ("active_connection_id_limit of 1", with(id, 0x0e, varint(1))),
        ("streams above 2^60", with(id, 0x08, varint((1 << 60) + 1))),
        ("unidirectional streams above 2^60", with(id, 0x09, varint((1 << 60) + 1))),
        ("a server's original_destination_connection_id", with(id, 0x00, vec![1; 8])),
        ("a server's stateless_reset_token", with(id, 0x02, vec![1; 16])),
        ("a server's preferred_address", with(id, 0x0d, vec![1; 50])),
        ("a server's retry_source_connection_id", with(id, 0x10, vec![1; 8])),
        ("another initial_source_connection_id", with(id, 0x0f, vec![9; 8])),
        ("an initial_source_connection_id of 21 bytes", with(id, 0x0f, vec![9; 21])),
        ("an empty idle time-out", with(id, 0x01, Vec::new())),
        ("an idle time-out with a byte too many", with(id, 0x01, [varint(60_000), vec![0]].concat())),
        ("an idle time-out cut short", with(id, 0x01, vec![0xc0, 0, 0])),
        ("disable_active_migration with a value", with(id, 0x0c, vec![1])),
        ("max_datagram_frame_size cut short", with(id, 0x20, vec![0x80])),
        ("a parameter twice", [parameters(id), vec![(0x04, varint(5))]].concat()),
    ]
    .map(|(what, list)| (what, encode_parameters(&list)))
    .into();
    let mut no_id = parameters(id);
    no_id.retain(|(name, _)| *name != 0x0f);
    all.push(("no initial_source_connection_id", encode_parameters(&no_id)));
    let whole = encode_parameters(&parameters(id));
    all.push(("the last one cut short", whole[..whole.len() - 1].to_vec()));
    all.push(("a length without end", [whole, vec![0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()));
    all.push(("nothing in them", Vec::new()));
    all
}

fn bad_parameters(stage: &mut Stage) -> Outcome {
    let hello = hello(stage);
    let mut wrong = Vec::new();
    let count = wrong_parameters(&[0; 8]).len();
    for at in 0..count {
        keep_pace();
        let mut puppet = Puppet::new(stage.victim());
        let (what, bytes) = wrong_parameters(&puppet.id.clone()).swap_remove(at);
        puppet.say(&hello, bytes);
        match puppet.end() {
            Ok(closed) if closed.code == PARAMETER && !closed.by_application => {}
            Ok(closed) => wrong.push(format!("{what}: {closed}")),
            Err(why) => wrong.push(format!("{what}: {why}")),
        }
    }
    // Without the extension there is no QUIC (RFC 9001, 8.2): missing_extension.
    let mut puppet = Puppet::new(stage.victim());
    let mut bytes = puppet.client_hello(&hello);
    let id = puppet.id;
    let list = encode_parameters(&parameters(&id));
    let at = bytes.windows(list.len()).position(|window| window == list).ok_or("the hello holds no parameters")?;
    bytes[at - 4..at - 2].copy_from_slice(&[0xaa, 0xaa]);
    puppet.say_bytes(bytes);
    let alert = puppet.end().map_err(|why| format!("no parameters at all: {why}"))?;
    if !(0x100..0x200).contains(&alert.code) {
        wrong.push(format!("no parameters at all: {alert}"));
    }
    if wrong.is_empty() {
        Ok(format!("{count} closed with {PARAMETER:#x}; without any: {alert}"))
    } else {
        Err(wrong.join("; "))
    }
}

/// Frames that may not come: what they are, their bytes, the code that is due.
fn wrong_frames() -> Vec<(&'static str, Vec<u8>, u64)> {
    let top = (1 << 62) - 1;
    vec![
        ("an unknown type", frame(&[0x22], &[]), FRAME_ENCODING),
        ("an unknown type of two bytes", frame(&[0x1abc], &[1, 2, 3]), FRAME_ENCODING),
        ("an unknown type of eight bytes", frame(&[top], &[]), FRAME_ENCODING),
        ("a type cut short", vec![0x01, 0xc0, 0x00], FRAME_ENCODING),
        ("a server's HANDSHAKE_DONE", frame(&[0x1e], &[]), PROTOCOL),
        ("a server's NEW_TOKEN", frame(&[0x07, 3], &[1, 2, 3]), PROTOCOL),
        ("an acknowledgement of a packet never sent", frame(&[0x02, 1 << 30, 0, 0, 0], &[]), PROTOCOL),
        ("an acknowledgement below zero", frame(&[0x02, 5, 0, 0, 9], &[]), FRAME_ENCODING),
        ("an acknowledgement with 2^62 ranges", frame(&[0x02, 5, 0, top, 0], &[]), FRAME_ENCODING),
        ("a stream frame longer than its packet", frame(&[0x0e, 0, 0, 9_000], &[1; 10]), FRAME_ENCODING),
        ("a stream beyond 2^62", frame(&[0x0e, 0, top, 1], &[1]), FLOW_CONTROL),
        ("the ninth stream", frames::stream(32, 0, &[1], false), STREAM_LIMIT),
        ("the last stream that can be", frames::stream(top - 3, 0, &[1], false), STREAM_LIMIT),
        ("a byte beyond the stream's window", frames::stream(0, 256 << 10, &[1], false), FLOW_CONTROL),
        ("a reset beyond the stream's window", frame(&[0x04, 0, 0, 1 << 30], &[]), FLOW_CONTROL),
        (
            "a byte after the end",
            [frames::stream(0, 0, &[1; 10], true), frames::stream(0, 20, &[1], false)].concat(),
            FINAL_SIZE,
        ),
        ("two ends", [frames::stream(0, 0, &[1; 10], true), frames::stream(0, 0, &[1; 5], true)].concat(), FINAL_SIZE),
        (
            "a reset before the last byte",
            [frames::stream(0, 0, &[1; 10], false), frame(&[0x04, 0, 0, 5], &[])].concat(),
            FINAL_SIZE,
        ),
        ("stopping a stream of the server's", frame(&[0x05, 1, 0], &[]), STREAM_STATE),
        ("a window for a stream of the server's", frame(&[0x11, 1, 9], &[]), STREAM_STATE),
        ("more streams than there can be", frame(&[0x12, (1 << 60) + 1], &[]), FRAME_ENCODING),
        ("a connection id of no bytes", frame(&[0x18, 1, 0], &[0; 17]), FRAME_ENCODING),
        ("a connection id of 21 bytes", frame(&[0x18, 1, 0], &[[21].as_slice(), &[7; 37]].concat()), FRAME_ENCODING),
        ("retiring an id never given", frame(&[0x19, 1_000], &[]), PROTOCOL),
        ("handshake bytes far ahead", frames::crypto(1 << 20, &[1; 10]), CRYPTO_BUFFER),
    ]
}

fn bad_frames(stage: &mut Stage) -> Outcome {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (what, bytes, due) in wrong_frames() {
        let mut puppet = connect(stage).map_err(|why| format!("{what}: {why}"))?;
        puppet.send(ONE_RTT, &bytes);
        count += 1;
        match puppet.end() {
            Ok(closed) if closed.code == due && !closed.by_application => {}
            Ok(closed) => wrong.push(format!("{what}: {closed}, not {due:#x}")),
            Err(why) => wrong.push(format!("{what}: {why}")),
        }
    }
    if wrong.is_empty() { Ok(format!("{count} frames, each closed with its code")) } else { Err(wrong.join("; ")) }
}

fn unsolicited(stage: &mut Stage) -> Outcome {
    let call = envelope::fetch_edition(1);
    let kinds = [
        ("a unidirectional stream", frames::stream(2, 0, &call, true), STREAM_LIMIT),
        ("a reset of one", frame(&[0x04, 2, 0, 0], &[]), STREAM_LIMIT),
        ("a stream of the server's number", frames::stream(1, 0, &call, true), STREAM_STATE),
        ("a unidirectional one of the server's", frames::stream(3, 0, &call, true), STREAM_STATE),
        ("a datagram", frame(&[0x30], &call), PROTOCOL),
        ("a datagram with a length", frame(&[0x31, call.len() as u64], &call), PROTOCOL),
    ];
    let mut ends = Vec::new();
    for (what, bytes, due) in kinds {
        let mut puppet = connect(stage).map_err(|why| format!("{what}: {why}"))?;
        puppet.send(ONE_RTT, &bytes);
        let closed = puppet.end().map_err(|why| format!("{what}: {why}"))?;
        if closed.code != due || closed.by_application {
            return Err(format!("{what}: {closed}, not {due:#x}"));
        }
        ends.push(format!("{what} {closed}"));
    }
    stage.block_on(async {
        let link = stage.attacker().connect(stage.victim()).await.map_err(|end| end.to_string())?;
        if tokio::time::timeout(QUIET, link.connection.open_uni()).await.is_ok() {
            return Err("leave was given to open a unidirectional stream".into());
        }
        if link.connection.max_datagram_size().is_some() {
            return Err("the node says that it takes datagrams".into());
        }
        let came = link.ask(&call).await;
        link.close();
        if came.end == StreamEnd::Fin { Ok(ends.join("; ")) } else { Err(format!("afterwards: {}", came.end)) }
    })
}

fn key_updates(stage: &mut Stage) -> Outcome {
    let call = envelope::fetch_edition(1);
    let ask = |puppet: &mut Puppet, stream: u64| {
        puppet.send(ONE_RTT, &frames::stream(stream, 0, &call, true));
        puppet.wait(|puppet| on_stream(puppet, stream).1);
        on_stream(puppet, stream).1
    };
    let mut puppet = connect(stage)?;
    for n in 0..UPDATES {
        puppet.update_keys();
        // An answer under the new keys that is acknowledged confirms them, so that the next update may come.
        if !ask(&mut puppet, 4 * n) {
            return Err(format!("after key update {n} a call is not answered: {:?}", puppet.closed));
        }
    }
    let mut storm = connect(stage)?;
    let end = bystander::beside(stage, |_| {
        for _ in 0..UPDATES {
            storm.update_keys();
            storm.send(ONE_RTT, &[0x01]);
        }
        storm.wait_for(QUIET, |_| false);
        Ok(storm.closed.clone())
    })?;
    let seen = match end {
        None if ask(&mut storm, 0) => Ok(format!("{UPDATES} updates followed, and a storm of {UPDATES} too")),
        // What cannot be opened any more is dropped, and the connection ends by time (RFC 9001, 6.4).
        None => {
            Ok(format!("{UPDATES} updates followed; in a storm of {UPDATES} the connection loses its keys, no other"))
        }
        Some(closed) if closed.code == KEY_UPDATE && !closed.by_application => {
            Ok(format!("{UPDATES} updates followed; a storm of {UPDATES} is {closed}"))
        }
        Some(closed) => Err(format!("a storm of key updates is {closed}")),
    }?;
    Ok(format!("{seen}; {}", own_update(connect(stage)?, ask)?))
}

// The node's own key update: after how many pings it comes, if a call is answered after it.
fn own_update(mut puppet: Puppet, ask: impl Fn(&mut Puppet, u64) -> bool) -> Outcome {
    let mut pings = 0;
    while puppet.followed_updates() == 0 && pings < OWN_UPDATE_WITHIN {
        let before = puppet.came.len();
        // Two at a time are acknowledged at once (RFC 9000, 13.2.2).
        for _ in 0..2 {
            puppet.send(ONE_RTT, &[0x01]);
        }
        pings += 1;
        puppet.wait(|puppet| puppet.came.len() > before);
        if puppet.came.len() == before {
            return Err(format!("after {pings} packets the node falls silent: {:?}", puppet.closed));
        }
    }
    if puppet.followed_updates() == 0 {
        return Err(format!("after {pings} packets the node has not updated its keys: {:?}", puppet.closed));
    }
    if !ask(&mut puppet, 0) {
        return Err(format!("after the node's own key update a call is not answered: {:?}", puppet.closed));
    }
    Ok(format!("the node's own update came after {pings} packets"))
}
