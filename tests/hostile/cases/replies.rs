//! Replies of a hostile provider that are cut, slow, without end, of another size, or no reply at all.

use std::{fs, time::Duration};

use crate::{
    asking::{Row, Size, Want, play},
    forge::{Forge, whole},
    peer::{file, json},
    server::{Manners, Question, Step},
    stage::{ATTACKER, Stage},
    table::{Case, Outcome, Place},
    wire::{
        CLASS_BYTES,
        frames::{BODY, END, HEAD, HEADER, PAD, PROGRESS, body, end, frame, head, header, padded_to},
        messages::REQUEST,
        sha256,
    },
};

/// Questions that are asked at once: the tool's connections of one officer.
const AT_ONCE: usize = 4;
/// Time between the bytes of a slow reply.
const SLOWLY: Duration = Duration::from_secs(2);

/// Within this time what was sent has been read.
const READ_WITHIN: Duration = Duration::from_millis(500);

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |id, name, sent, expected, run| Case {
        id,
        name,
        given: "an officer asks an honest provider and a hostile one, which holds its own true keys",
        sent,
        expected,
        log: "answered peer=ES-AGENCY",
        place: Place::Own,
        run,
    };
    let not_verified = "not verified and said so, exit 1; none of its numbers; the honest ones are there";
    let unreachable =
        "unreachable at the deadline at the latest, exit 1; none of its numbers; the honest ones are there";
    vec![
        case(
            "C61",
            "replies of another size",
            "every class but the one asked for, a byte off, inflated",
            not_verified,
            sizes,
        ),
        case(
            "C61",
            "replies without end",
            "bodies, pads, progress, heads, empty frames for ever; a byte every two seconds",
            "given up at the budget or at the deadline; the asking node's memory flat",
            endless,
        ),
        case(
            "C62",
            "replies whose frames are wrong",
            "frames out of order, twice, too long, of unknown kinds, other digests",
            not_verified,
            frames,
        ),
        case(
            "C62",
            "replies that stop in every state",
            "FIN or a reset after each part of the reply, and within it",
            "FIN: not verified; reset: unreachable, after three tries; exit 1; none of its numbers",
            stops,
        ),
        case(
            "C62",
            "connections that end in every state",
            "the end of the connection after each part of the reply",
            unreachable,
            closes,
        ),
        case(
            "C62",
            "silence in every state",
            "no more bytes after each part of the reply; no stream taken; nothing read; connections closed at once",
            unreachable,
            silences,
        ),
        case(
            "C62",
            "two answers to one question",
            "a head, a reset, and another head at the second try; the same head is no contradiction",
            "not verified; both heads are kept by the asking node, which raises an alarm",
            contradictions,
        ),
    ]
}

fn sizes(stage: &mut Stage) -> Outcome {
    let small = vec![
        Row::new("without pads", |forge, asked, number| of_size(forge, asked, number, 0)),
        Row::new("a byte too few", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[0] - 1)),
        Row::new("a byte too many", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[0] + 1)),
        Row::new("64 KiB for 16 KiB", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[1])),
        Row::new("256 KiB for 16 KiB", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[2])),
        Row::new("1 MiB for 16 KiB", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[3])),
        Row::new("4 MiB for 16 KiB", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[4])),
        Row::new("a table of 5 MiB", |forge, asked, number| {
            let slice = vec![0; 5 << 20];
            whole(Forge::bare(&forge.sealed(&Forge::head(asked, number, &slice).fields().encode()), &slice))
        }),
        Row::new("an answer of no table in 64 KiB", |forge, asked, number| {
            let head = forge.sealed(&Forge::head(asked, number, b"").fields().encode());
            whole(padded_to(Forge::bare(&head, b""), CLASS_BYTES[1]))
        }),
    ];
    let seen = play(stage, small, Manners::Answers, AT_ONCE)?;
    let larger = |row| Row { size: Size::Larger, ..row };
    let large = vec![
        larger(Row::new("64 KiB for 64 KiB", Forge::honest).wants(Want::Answered)),
        larger(Row::new("a table in 16 KiB for 64 KiB", |forge, asked, number| {
            let slice = Forge::slice(asked)[..4500].to_vec();
            let head = forge.sealed(&Forge::head(asked, number, &slice).fields().encode());
            whole(padded_to(Forge::bare(&head, &slice), CLASS_BYTES[0]))
        })),
        larger(Row::new("the whole table without pads", |forge, asked, number| of_size(forge, asked, number, 0))),
        larger(Row::new("256 KiB for 64 KiB", |forge, asked, number| of_size(forge, asked, number, CLASS_BYTES[2]))),
    ];
    Ok(format!("{seen}; then {}", play(stage, large, Manners::Answers, AT_ONCE)?))
}

// An answer in order but for its size; 0: without pads.
fn of_size(forge: &Forge, asked: &Question, number: u64, size: usize) -> Vec<Step> {
    let slice = Forge::slice(asked);
    let bare = Forge::bare(&forge.sealed(&Forge::head(asked, number, &slice).fields().encode()), &slice);
    whole(if size == 0 { bare } else { padded_to(bare, size) })
}

fn endless(stage: &mut Stage) -> Outcome {
    // After the head of an answer in order, the same bytes for ever.
    fn after_head(forge: &Forge, asked: &Question, number: u64, more: Vec<u8>) -> Vec<Step> {
        vec![Step::Send(part(forge, asked, number, AFTER_HEAD)), Step::ForEver(more)]
    }
    let rows = vec![
        Row::new("a body without end", |forge, asked, number| {
            after_head(forge, asked, number, frame(BODY, &[1; 65_536]))
        }),
        Row::new("a body of single bytes", |forge, asked, number| {
            after_head(forge, asked, number, frame(BODY, &[1]).repeat(1000))
        }),
        Row::new("empty bodies", |forge, asked, number| {
            after_head(forge, asked, number, frame(BODY, b"").repeat(1000))
        }),
        Row::new("progress after the head", |forge, asked, number| {
            after_head(forge, asked, number, frame(PROGRESS, &[b'x'; 60_000]))
        }),
        Row::new("pads after the head", |forge, asked, number| {
            after_head(forge, asked, number, frame(PAD, &[0; 65_536]))
        }),
        Row::new("empty pads", |forge, asked, number| after_head(forge, asked, number, frame(PAD, b"").repeat(1000))),
        Row::new("progress and no head", |_, _, _| vec![Step::ForEver(frame(PROGRESS, &[b'x'; 60_000]))]),
        Row::new("empty progress and no head", |_, _, _| vec![Step::ForEver(frame(PROGRESS, b"").repeat(1000))]),
        Row::new("heads", |forge, asked, number| vec![Step::ForEver(part(forge, asked, number, AFTER_HEAD))]),
        Row::new("whole answers", |forge, asked, number| vec![Step::ForEver(forge.answer(asked, number))]),
        Row::new("zeros", |_, _, _| vec![Step::ForEver(vec![0; 65_536])]),
        Row::new("a byte every two seconds", |forge, asked, number| {
            vec![Step::Drip(forge.answer(asked, number), SLOWLY)]
        })
        .waits(),
    ];
    play(stage, rows, Manners::Answers, AT_ONCE)
}

fn frames(stage: &mut Stage) -> Outcome {
    // Frames of an answer in order: head, body, end.
    fn parts(forge: &Forge, asked: &Question, number: u64) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let slice = Forge::slice(asked);
        let tail = body(&slice);
        let (of_body, of_end) = tail.split_at(HEADER + slice.len());
        (part(forge, asked, number, AFTER_HEAD), of_body.to_vec(), of_end.to_vec())
    }
    // Those frames in another order, or others among them, padded to the size that is due.
    fn made(parts: &[&[u8]]) -> Vec<Step> {
        whole(padded_to(parts.concat(), CLASS_BYTES[0]))
    }
    let rows = vec![
        Row::new("the body before the head", |forge, asked, number| {
            let (head, body, end) = parts(forge, asked, number);
            made(&[&body, &head, &end])
        }),
        Row::new("no head", |forge, asked, number| {
            let (_, body, end) = parts(forge, asked, number);
            made(&[&body, &end])
        }),
        Row::new("two heads", |forge, asked, number| {
            let (head, body, end) = parts(forge, asked, number);
            made(&[&head, &head, &body, &end])
        }),
        Row::new("no end", |forge, asked, number| {
            let (head, body, _) = parts(forge, asked, number);
            made(&[&head, &body])
        }),
        Row::new("two ends", |forge, asked, number| {
            let (head, body, end) = parts(forge, asked, number);
            made(&[&head, &body, &end, &end])
        }),
        Row::new("the end before the body", |forge, asked, number| {
            let (head, body, end) = parts(forge, asked, number);
            made(&[&head, &end, &body])
        }),
        Row::new("an end with another length", |forge, asked, number| {
            let (head, body, _) = parts(forge, asked, number);
            let slice = Forge::slice(asked);
            made(&[&head, &body, &frame(END, &end(slice.len() as u64 + 1, &sha256(&slice)))])
        }),
        Row::new("an end with another digest", |forge, asked, number| {
            let (head, body, _) = parts(forge, asked, number);
            made(&[&head, &body, &frame(END, &end(Forge::slice(asked).len() as u64, &sha256(b"")))])
        }),
        Row::new("a kind of frame that is none", |forge, asked, number| {
            let (head, body, end) = parts(forge, asked, number);
            made(&[&head, &frame(6, b"x"), &body, &end])
        }),
        Row::new("a frame of 2^32 - 1 bytes", |forge, asked, number| {
            let (head, ..) = parts(forge, asked, number);
            made(&[&head, &header(u32::MAX, BODY)])
        }),
        Row::new("an empty head", |forge, asked, number| {
            let (_, body, end) = parts(forge, asked, number);
            made(&[&frame(HEAD, b""), &body, &end])
        }),
        Row::new("bytes behind the pads", |forge, asked, number| {
            let (head, body, end) = parts(forge, asked, number);
            let all = [head, body, end, frame(PAD, &[0; 9])].concat();
            let mut all = padded_to(all, CLASS_BYTES[0] - HEADER - 1);
            all.extend(frame(BODY, b"x"));
            whole(all)
        }),
        Row::new("pads that are not zeros", |forge, asked, number| {
            let mut all = forge.answer(asked, number);
            *all.last_mut().expect("a last byte") = 1;
            whole(all)
        }),
        Row::new("progress that clears the screen, and an end that does not fit", |forge, asked, number| {
            let (head, body, _) = parts(forge, asked, number);
            made(&[&frame(PROGRESS, b"\x1b[2J\x07\xff"), &head, &body, &frame(END, b"")])
        }),
        Row::new("not one frame", |_, _, _| whole(vec![0xff; CLASS_BYTES[0]])),
        Row::new("text of another protocol", |_, _, _| whole(b"HTTP/1.1 200 OK\r\n\r\n987654321".to_vec())),
    ];
    play(stage, rows, Manners::Answers, AT_ONCE)
}

/// Bytes of an answer in order up to a state of it.
fn part(forge: &Forge, asked: &Question, number: u64, state: usize) -> Vec<u8> {
    let all = forge.answer(asked, number);
    let slice = Forge::slice(asked).len();
    let head = HEADER + usize::try_from(u32::from_be_bytes([all[0], all[1], all[2], all[3]])).expect("a length");
    let table = head + HEADER + slice;
    let end = table + HEADER + 40;
    let states = [
        0,
        3,
        HEADER,
        head / 2,
        head,
        head + 2,
        head + HEADER + 4,
        table,
        table + 2,
        table + 20,
        end,
        end + 2,
        end + 90,
        all.len() - 1,
        all.len(),
    ];
    all[..states[state]].to_vec()
}

/// States of [`part`].
const AFTER_HEAD: usize = 4;
/// What has been sent in each state.
const STATES: [&str; 15] = [
    "nothing",
    "half a header",
    "a header",
    "half a head",
    "the head",
    "half a body's header",
    "half a body",
    "the body",
    "half an end's header",
    "half an end",
    "the end",
    "half a pad's header",
    "half a pad",
    "all but one byte",
    "everything",
];

// A row for each state that the answer can stop in, and what is done there.
macro_rules! in_each_state {
    ($then:expr, $($state:literal)*) => {
        vec![$(Row::new(STATES[$state], |forge, asked, number| {
            let mut steps = vec![Step::Send(part(forge, asked, number, $state))];
            steps.extend($then);
            steps
        })),*]
    };
}

fn stops(stage: &mut Stage) -> Outcome {
    // Without the whole stream, FIN is no end of a message; after the end it is one of another size.
    let mut fins = in_each_state!([Step::Fin], 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
    fins.extend(in_each_state!([Step::Fin], 14).into_iter().map(|row| row.wants(Want::Answered)));
    let seen = play(stage, fins, Manners::Answers, AT_ONCE)?;
    // The node cannot tell a reset from an accident: it tries three times, the last bytes not being whole either.
    let resets = in_each_state!([Step::Reset], 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    let resets = resets.into_iter().map(|row| row.wants(Want::Unreachable)).collect();
    Ok(format!("{seen}; then {}", play(stage, resets, Manners::Answers, AT_ONCE)?))
}

fn closes(stage: &mut Stage) -> Outcome {
    let rows = in_each_state!([Step::Close], 0 2 4 6 10 12 13);
    // One after the other, since all questions share one connection.
    play(stage, rows.into_iter().map(|row| row.wants(Want::Unreachable)).collect(), Manners::Answers, 1)
}

fn silences(stage: &mut Stage) -> Outcome {
    let rows = in_each_state!([], 0 1 3 4 6 7 9 10 12 13 14);
    let mut seen = play(stage, rows.into_iter().map(Row::waits).collect(), Manners::Answers, AT_ONCE)?;
    for (what, manners) in [
        ("no stream taken", Manners::TakesNoStream),
        ("nothing read", Manners::ReadsNothing),
        ("connections closed", Manners::Closes),
    ] {
        let row = Row::new(what, Forge::honest).waits();
        seen = format!("{seen}; {what}: {}", play(stage, vec![row], manners, 1)?);
    }
    Ok(seen)
}

// A reset takes back what has not been read yet, so it comes a while after the last byte.
fn cut_behind(mut bytes: Vec<u8>) -> Vec<Step> {
    let last = bytes.split_off(bytes.len() - 1);
    vec![Step::Send(bytes), Step::Drip(last, READ_WITHIN), Step::Reset]
}

fn contradictions(stage: &mut Stage) -> Outcome {
    // The head is heard and then cut, so that the node asks again with the same body.
    fn cut(forge: &Forge, asked: &Question, number: u64) -> Vec<Step> {
        cut_behind(part(forge, asked, number, AFTER_HEAD))
    }
    fn refused(forge: &Forge, asked: &Question, code: u16) -> Vec<Step> {
        whole(Forge::padded(asked, &forge.sealed(&Forge::refusal(asked, code).fields().encode()), b""))
    }
    let rows = vec![
        Row::new("another table", |forge, asked, number| match asked.before {
            0 => cut(forge, asked, number),
            _ => forge.with_slice(asked, number, |slice| Forge::cell(1, 5).repeat(slice.len() / 9)),
        }),
        Row::new("another edition", |forge, asked, number| match asked.before {
            0 => cut(forge, asked, number),
            _ => forge.honest(asked, number + 500),
        }),
        Row::new("a refusal by decision", |forge, asked, number| match asked.before {
            0 => cut(forge, asked, number),
            _ => refused(forge, asked, 7),
        }),
        Row::new("the same at another time", |forge, asked, number| match asked.before {
            0 => cut(forge, asked, number),
            _ => forge.with_head(asked, number, |head| head.issued_at += 1),
        }),
        Row::new("a refusal for the moment first", |forge, asked, number| match asked.before {
            0 => {
                let signed = forge.sealed(&Forge::refusal(asked, 10).fields().encode());
                cut_behind(frame(HEAD, &head(REQUEST, &signed).encode()))
            }
            _ => forge.honest(asked, number),
        })
        .wants(Want::Answered),
    ];
    let log_from = fs::read(stage.log(ATTACKER)).map_or(0, |log| log.len());
    let seen = play(stage, rows, Manners::Answers, 1)?;
    let log = fs::read(stage.log(ATTACKER)).map_err(|error| error.to_string())?;
    let alarms = String::from_utf8_lossy(&log[log_from..]).matches("ALARM").count();
    let status = json(&stage.federation.operator(ATTACKER, &["status", "--json"]))?;
    let kept = status["result"]["contradictions"].as_array().map_or(0, Vec::len);
    if (alarms, kept) != (4, 4) {
        return Err(format!("4 contradictions, {alarms} alarms in the log, {kept} kept: {}", status["result"]));
    }
    let evidence = fs::read_to_string(file(stage, "row-0.json")).map_err(|error| error.to_string())?;
    if !evidence.contains("not_verified") {
        return Err(format!("the evidence does not say not_verified: {evidence}"));
    }
    Ok(format!("{seen}; {alarms} alarms, {kept} contradictions kept"))
}
