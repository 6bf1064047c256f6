//! Frames that are none, too long, empty, cut, in the wrong order, of the wrong kind, or without end.

use std::time::Duration;

use crate::{
    client::{Came, StreamEnd},
    peer::{Fault, Peer, anew, refused},
    stage::{ATTACKER, Stage},
    table::{Case, Outcome, Place},
    wire::{
        frames::{BODY, END, HEAD, PAD, PROGRESS, body, end, frame, head, head_stream, header, pads, request_stream},
        messages::{ASK, EDITION, HELLO, IMPORT, NOTICES, REQUEST, STATUS},
        replies::ANSWERED,
        sha256,
    },
};

const E_ENCODING: &str = "E_ENCODING";
/// Stream bytes of pads that a request may have.
const PADS_MAX: usize = 256 << 10;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    [of_requests(), of_waits()].into_iter().flatten().collect()
}

fn case(
    id: &'static str,
    name: &'static str,
    sent: &'static str,
    log: &'static str,
    run: fn(&mut Stage) -> Outcome,
) -> Case {
    Case {
        id,
        name,
        given: "an authenticated member, with a request that is in order but for its frames",
        sent,
        expected: "signed E_ENCODING in 16 KiB; the request's id stays free; memory flat",
        log,
        place: Place::Shared,
        run,
    }
}

fn of_requests() -> Vec<Case> {
    vec![
        case(
            "C35",
            "frame length above 65,536",
            "lengths from 65,537 to 2^32 - 1, with and without the bytes",
            "not a message of this kind",
            |stage| refused(stage, too_long),
        ),
        case("C36", "frame length 0", "empty heads, bodies and ends", "not a message of this kind", |stage| {
            refused(stage, empty)
        }),
        case(
            "C37",
            "fewer bytes than declared",
            "FIN inside a header, a head, a pad, and at once",
            "not a message of this kind",
            |stage| refused(stage, cut),
        ),
        case(
            "C38",
            "bytes after the last frame",
            "1 to 5 bytes after the pads and after an unpadded head",
            "refusal=E_ENCODING",
            |stage| refused(stage, trailing),
        ),
        case(
            "C39",
            "two messages on one stream",
            "a second head after the head, after pads, of another kind",
            "not a message of this kind",
            |stage| refused(stage, second_head),
        ),
        case(
            "C42",
            "unknown frame kinds",
            "kinds 0, 6, 7, 128 and 255, first and later",
            "not a message of this kind",
            |stage| refused(stage, unknown_kinds),
        ),
        case(
            "C49",
            "frames of a server",
            "progress, bodies and ends in a request, replies as calls",
            "not a message of this kind",
            |stage| refused(stage, of_a_server),
        ),
        case(
            "C39",
            "pads that are none",
            "ones in pads; a body, a head, a progress after pads",
            "not a message of this kind",
            |stage| refused(stage, bad_pads),
        ),
        case(
            "C49",
            "kinds that members do not open",
            "hello, ask, status, edition, import and others on the members' socket",
            "refusal=E_ENCODING",
            |stage| refused(stage, other_kinds),
        ),
        case(
            "C48",
            "protocol of the head",
            "protocol 0, 2 and 65,535 in the head of a request",
            "refusal=E_ENCODING",
            |stage| refused(stage, other_protocols),
        ),
    ]
}

fn of_waits() -> Vec<Case> {
    vec![
        Case {
            id: "C36",
            name: "pads of every size that are in order",
            given: "an authenticated member",
            sent: "requests without pads, with empty pads, with pads of 1 byte, with 256 KiB of pads",
            expected: "each is answered: how pads are split is the sender's affair",
            log: "answered peer=ES-AGENCY",
            place: Place::Shared,
            run: good_pads,
        },
        Case {
            id: "C35",
            name: "pads without end",
            given: "an authenticated member",
            sent: "a whole request, then pads for ever: of 64 KiB, of 1 byte, of none",
            expected: "signed E_ENCODING once 256 KiB of pads have come; not executed",
            log: "refusal=E_ENCODING",
            place: Place::Shared,
            run: endless_pads,
        },
        Case {
            id: "C37",
            name: "a reset instead of an end",
            given: "an authenticated member",
            sent: "a whole request, half of one, or nothing, then RESET_STREAM",
            expected: "no byte in reply; not executed",
            log: "answered peer=ES-AGENCY",
            place: Place::Shared,
            run: resets,
        },
        Case {
            id: "C37",
            name: "a request that does not end",
            given: "an authenticated member",
            sent: "nothing; half a head; a whole request without FIN; one pad every two seconds",
            expected: "the stream is reset with code 1, 30 s after it was opened; not executed",
            log: "answered peer=ES-AGENCY",
            place: Place::Own,
            run: endless_waits,
        },
    ]
}

// A request in order: its id, its head's frame, its payload.
fn whole(peer: &Peer) -> ([u8; 16], Vec<u8>, Vec<u8>) {
    let body = peer.means.body();
    let payload = peer.payload(&body.encode());
    (body.request_id, head_stream(REQUEST, &payload), payload)
}

/// Makes a stream of a head's frame and its payload.
type Change<'a> = &'a dyn Fn(&[u8], &[u8]) -> Vec<u8>;

// Streams made of a request in order.
fn changed(peer: &Peer, rows: &[(&str, Change<'_>)]) -> Vec<Fault> {
    rows.iter()
        .map(|(what, change)| {
            let (id, head, payload) = whole(peer);
            Fault::new(*what, id, change(&head, &payload), E_ENCODING)
        })
        .collect()
}

fn too_long(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for length in [65_537, 65_541, 1 << 17, 1 << 24, 1 << 30, (1 << 31) - 1, 1 << 31, u32::MAX - 5, u32::MAX] {
        for kind in [HEAD, BODY, PAD] {
            let (id, head, _) = whole(peer);
            let first = [header(length, kind), head.clone()].concat();
            faults.push(Fault::new(format!("{length} of kind {kind} first"), id, first, E_ENCODING));
            let later = [head, header(length, kind), vec![0; 100]].concat();
            faults.push(Fault::new(format!("{length} of kind {kind} after a head"), id, later, E_ENCODING));
        }
    }
    faults.extend(changed(
        peer,
        &[
            ("65,537 bytes that really come", &|_, _| [header(65_537, HEAD), vec![0; 65_537]].concat()),
            ("a head of 65,536 bytes, which no head has", &|_, _| [header(65_536, HEAD), vec![0; 65_536]].concat()),
            ("a pad of 65,537 zeros", &|head, _| [head.to_vec(), header(65_537, PAD), vec![0; 65_537]].concat()),
        ],
    ));
    faults
}

fn empty(peer: &Peer) -> Vec<Fault> {
    changed(
        peer,
        &[
            ("an empty head", &|_, _| header(0, HEAD)),
            ("an empty head before the head", &|head, _| [header(0, HEAD), head.to_vec()].concat()),
            ("an empty pad before the head", &|head, _| [header(0, PAD), head.to_vec()].concat()),
            ("an empty body", &|head, _| [head.to_vec(), header(0, BODY)].concat()),
            ("an empty end", &|head, _| [head.to_vec(), header(0, END)].concat()),
            ("an empty progress", &|head, _| [head.to_vec(), header(0, PROGRESS)].concat()),
        ],
    )
}

fn cut(peer: &Peer) -> Vec<Fault> {
    let mut faults = changed(
        peer,
        &[
            ("100 declared, 99 sent", &|_, _| [header(100, HEAD), vec![7; 99]].concat()),
            ("a head without its last byte", &|head, _| head[..head.len() - 1].to_vec()),
            ("half a head", &|head, _| head[..head.len() / 2].to_vec()),
            ("a pad without its last byte", &|head, _| [head.to_vec(), header(100, PAD), vec![0; 99]].concat()),
            ("a pad without its payload", &|head, _| [head.to_vec(), header(100, PAD)].concat()),
        ],
    );
    for length in 0..5 {
        let (id, head, _) = whole(peer);
        faults.push(Fault::new(format!("FIN after {length} bytes"), id, head[..length].to_vec(), E_ENCODING));
    }
    faults
}

fn trailing(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for length in 1..=4 {
        for byte in [0, 1, 0xff] {
            let (id, head, payload) = whole(peer);
            let after_head = [head, vec![byte; length]].concat();
            faults.push(Fault::new(format!("{length} bytes {byte} after a head"), id, after_head, E_ENCODING));
            let after_pads = [request_stream(&payload), vec![byte; length]].concat();
            faults.push(Fault::new(format!("{length} bytes {byte} after pads"), id, after_pads, E_ENCODING));
        }
    }
    faults.extend(changed(
        peer,
        &[
            ("a header of nothing after a head", &|head, _| [head.to_vec(), vec![0; 5]].concat()),
            ("text after a head", &|head, _| [head.to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()].concat()),
        ],
    ));
    faults
}

fn second_head(peer: &Peer) -> Vec<Fault> {
    let mut faults = changed(
        peer,
        &[
            ("the same head twice", &|head, _| [head, head].concat()),
            ("the same request twice", &|_, payload| [request_stream(payload), request_stream(payload)].concat()),
            ("the head again after its pads", &|head, payload| [request_stream(payload).as_slice(), head].concat()),
            ("a fetch after the head", &|head, _| [head.to_vec(), crate::envelope::fetch_edition(1)].concat()),
        ],
    );
    // Two different requests on one stream: neither is executed.
    let ((first, first_head, _), (second, second_head, _)) = (whole(peer), whole(peer));
    let both = [first_head, second_head].concat();
    faults.push(Fault::new("two requests: the first", first, both.clone(), E_ENCODING));
    faults.push(Fault::new("two requests: the second", second, both, E_ENCODING));
    faults
}

fn unknown_kinds(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in [0, 6, 7, 0x81, 128, 255] {
        let (id, head, _) = whole(peer);
        let mut renamed = head.clone();
        renamed[4] = kind;
        faults.push(Fault::new(format!("a head called {kind}"), id, renamed, E_ENCODING));
        let later = [head, frame(kind, b"x")].concat();
        faults.push(Fault::new(format!("kind {kind} after a head"), id, later, E_ENCODING));
    }
    faults
}

fn of_a_server(peer: &Peer) -> Vec<Fault> {
    changed(
        peer,
        &[
            ("progress before the head", &|head, _| [frame(PROGRESS, b"working"), head.to_vec()].concat()),
            ("progress after the head", &|head, _| [head.to_vec(), frame(PROGRESS, b"working")].concat()),
            ("a body and its end", &|head, _| [head.to_vec(), body(b"body")].concat()),
            ("a body alone", &|head, _| [head.to_vec(), frame(BODY, b"body")].concat()),
            ("an end of nothing", &|head, _| [head.to_vec(), frame(END, &end(0, &sha256(b"")))].concat()),
            ("a body before the head", &|head, _| [frame(BODY, b"body"), head.to_vec()].concat()),
        ],
    )
}

fn bad_pads(peer: &Peer) -> Vec<Fault> {
    let mut last = vec![0; 1000];
    last[999] = 1;
    changed(
        peer,
        &[
            ("a one at the end of a pad", &|head, _| [head.to_vec(), frame(PAD, &last)].concat()),
            ("ones alone", &|head, _| [head.to_vec(), frame(PAD, &[1])].concat()),
            ("a one in the second pad", &|head, _| [head.to_vec(), frame(PAD, &[0; 9]), frame(PAD, &last)].concat()),
            ("a body after a pad", &|head, _| [head.to_vec(), frame(PAD, &[0; 9]), body(b"b")].concat()),
            ("progress after a pad", &|head, _| [head.to_vec(), frame(PAD, &[0; 9]), frame(PROGRESS, b"p")].concat()),
            ("a pad before the head", &|head, _| [frame(PAD, &[0; 9]), head.to_vec()].concat()),
        ],
    )
}

fn other_kinds(peer: &Peer) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kind in [
        0,
        1,
        99,
        100,
        HELLO,
        105,
        // Kinds that members open, for something else.
        106,
        107,
        109,
        ASK,
        111,
        STATUS,
        NOTICES,
        EDITION,
        117,
        118,
        119,
        IMPORT,
        121,
        122,
        123,
        124,
        125,
        126,
        129,
        u16::MAX,
        // Checkpoints and proofs.
        115,
        127,
        128,
    ] {
        let (id, _, payload) = whole(peer);
        faults.push(Fault::new(format!("a request as kind {kind}"), id, head_stream(kind, &payload), E_ENCODING));
        faults.push(Fault::new(format!("JSON as kind {kind}"), id, head_stream(kind, b"{}"), E_ENCODING));
    }
    faults
}

fn other_protocols(peer: &Peer) -> Vec<Fault> {
    [0u16, 2, 256, u16::MAX]
        .map(|protocol| {
            let (id, _, payload) = whole(peer);
            let head = head(REQUEST, &payload).with("protocol", protocol.to_be_bytes()).encode();
            Fault::new(format!("protocol {protocol}"), id, frame(HEAD, &head), E_ENCODING)
        })
        .into()
}

fn good_pads(stage: &mut Stage) -> Outcome {
    refused(stage, |peer| {
        let rows: [(&str, Vec<u8>); 5] = [
            ("no pad", Vec::new()),
            ("empty pads", header(0, PAD).repeat(1000)),
            ("pads of one byte", frame(PAD, &[0]).repeat(1000)),
            ("one pad of 65,536 bytes", frame(PAD, &vec![0; 65_536])),
            ("256 KiB of pads", pads(PADS_MAX, 65_536)),
        ];
        rows.map(|(what, pads)| {
            let (id, head, _) = whole(peer);
            Fault::new(what, id, [head, pads].concat(), ANSWERED)
        })
        .into()
    })
    .map(|_| "5 ways of padding, each answered".into())
}

fn endless_pads(stage: &mut Stage) -> Outcome {
    anew(stage);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let mut most = 0;
        for pad in [frame(PAD, &vec![0; 65_536]), frame(PAD, &[0]), header(0, PAD)] {
            let (id, head, _) = whole(&peer);
            let (came, sent) = pour(&peer, &head, &pad.repeat((65_536 / pad.len()).max(1))).await;
            let judged = peer.judge(&came).map_err(|why| format!("pads of {} bytes: {why}", pad.len()))?;
            if judged.word() != E_ENCODING {
                return Err(format!("pads of {} bytes: {}", pad.len(), judged.word()));
            }
            peer.is_fresh(id).await?;
            most = most.max(sent);
        }
        peer.link.close();
        // What is in flight when the refusal comes: a stream's window beside the pads themselves.
        if most > 4 * PADS_MAX {
            Err(format!("{most} bytes of pads were taken"))
        } else {
            Ok(format!("refused after at most {} KiB", most >> 10))
        }
    })
}

// Sends a beginning, then the same bytes for ever, until the server stops us; what came, and how many bytes we could send.
async fn pour(peer: &Peer, start: &[u8], more: &[u8]) -> (Came, usize) {
    let Ok(mut stream) = peer.link.open().await else {
        return (Came { bytes: Vec::new(), end: StreamEnd::Silent, ms: 0 }, 0);
    };
    let mut sent = 0;
    let mut next = start;
    while sent < 64 << 20 {
        match tokio::time::timeout(Duration::from_secs(8), stream.write(next)).await {
            Ok(Ok(())) => sent += next.len(),
            Ok(Err(_)) | Err(_) => break,
        }
        next = more;
    }
    stream.finish();
    (stream.read_all(Duration::from_secs(8)).await, sent)
}

fn resets(stage: &mut Stage) -> Outcome {
    anew(stage);
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        for (what, part) in [("nothing", 0), ("half a head", 1), ("a head", 2), ("all of it", 3)] {
            let (id, head, payload) = whole(&peer);
            let padded = request_stream(&payload);
            let bytes = [&[][..], &head[..head.len() / 2], &head, &padded][part];
            let mut stream = peer.link.open().await.map_err(|end| end.to_string())?;
            stream.write(bytes).await.map_err(|end| end.to_string())?;
            stream.send.reset(7u32.into()).map_err(|error| error.to_string())?;
            let came = stream.read_all(Duration::from_secs(8)).await;
            if !came.bytes.is_empty() || !matches!(came.end, StreamEnd::Reset(_)) {
                return Err(format!("{what}: {} bytes, {}", came.bytes.len(), came.end));
            }
            peer.is_fresh(id).await.map_err(|why| format!("{what}: {why}"))?;
        }
        peer.link.close();
        Ok("four stages, each cut without a byte".into())
    })
}

fn endless_waits(stage: &mut Stage) -> Outcome {
    stage.block_on(async {
        let peer = Peer::connect(stage, ATTACKER).await?;
        let requests: Vec<_> = (0..4).map(|_| whole(&peer)).collect();
        let [(_, first, _), (_, second, _), (_, _, third), (_, fourth, _)] = requests.as_slice() else {
            return Err("four requests".into());
        };
        let padded = request_stream(third);
        let waited = tokio::join!(
            wait_for_reset(&peer, "one byte", &first[..1], false),
            wait_for_reset(&peer, "half a head", &second[..second.len() / 2], false),
            wait_for_reset(&peer, "no end", &padded, false),
            wait_for_reset(&peer, "a pad every two seconds", fourth, true),
        );
        let slowest = waited.0?.max(waited.1?).max(waited.2?).max(waited.3?);
        for (id, ..) in &requests {
            peer.is_fresh(*id).await?;
        }
        peer.link.close();
        Ok(format!("four streams, reset with code 1 after at most {slowest} ms"))
    })
}

async fn wait_for_reset(peer: &Peer, what: &str, bytes: &[u8], drips: bool) -> Result<u64, String> {
    let mut stream = peer.link.open().await.map_err(|end| end.to_string())?;
    stream.write(bytes).await.map_err(|end| end.to_string())?;
    let came = if drips {
        // Each pad takes two seconds in which the server may end the stream.
        loop {
            let came = stream.read_all(Duration::from_secs(2)).await;
            if came.end != StreamEnd::Silent || came.ms > 40_000 {
                break came;
            }
            let _ = stream.write(&frame(PAD, &[0; 7])).await;
        }
    } else {
        stream.read_all(Duration::from_secs(40)).await
    };
    if came.bytes.is_empty() && came.end == StreamEnd::Reset(1) && (29_000..35_000).contains(&came.ms) {
        Ok(came.ms)
    } else {
        Err(format!("{what}: {} bytes, {} after {} ms", came.bytes.len(), came.end, came.ms))
    }
}
