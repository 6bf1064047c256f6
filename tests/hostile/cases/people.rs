//! The people's socket: keys that are nobody's, bytes that are no call, uploads that lie, questions that are another officer's.

use serde_json::{Value, json};

use crate::{
    client::{End, StreamEnd},
    peer::{Counts, Means, anew, file},
    person::{address, connect, dial, is_greeted, operator, said},
    stage::{ATTACKER, HONEST, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        frames::{BODY, END, HEAD, PAD, PROGRESS, body, end, frame, head, head_stream, header},
        hex,
        keys::{Key, ROLE_ADMIN, ROLE_OFFICER, ROLE_SIGN, ROLE_TLS, random},
        messages::{
            ASK, Body, COVERAGE, FETCH, HELLO, IMPORT, MAPPING, NO_HASH, NOTICE, RATES, RECORDS, RELAY, REQUEST,
            STATUS, ask_call, fetch, relay_call,
        },
        replies::{AskReply, Reply},
        sha256,
    },
};

/// Connections of one key at once.
const CONNECTIONS: usize = 4;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, given, sent, expected, log, run| Case {
        id: "D17",
        name,
        given,
        sent,
        expected,
        log,
        place: Place::Own,
        run,
    };
    vec![
        case(
            "keys that are nobody's at the people's socket",
            "keys of other members, other roles and strangers",
            "a handshake in order with each, on the people's socket",
            "closed alike, without a byte; the operator is greeted",
            "none",
            strangers,
        ),
        case(
            "more connections than one person may have",
            "an operator",
            "six connections with one key",
            "four are greeted, the others closed with code 1; one more once another has gone",
            "none",
            seats,
        ),
        case(
            "bytes that are no call at the people's socket",
            "an operator's connection",
            "broken, cut, repeated and foreign frames, kinds of members",
            "the stream reset with code 1, without a byte; the next call is answered; nothing stored",
            "none",
            bad_frames,
        ),
        case(
            "calls that are none at the people's socket",
            "an operator's connection",
            "no JSON, other JSON, a thousand brackets, kinds of officers",
            "exit 2 CALL or exit 3 ROLE; nothing stored",
            "none",
            bad_calls,
        ),
        case(
            "uploads that lie",
            "an operator's connection",
            "heads too long, sizes beyond the limit, more bytes and fewer than told, another digest, no end",
            "refused or reset; nothing stored, no file left in the spool",
            "none",
            uploads,
        ),
        case(
            "questions that are not the officer's own",
            "an officer's connection to its own node",
            "another's signature, key, card, member; bodies that are none",
            "not verified, without an answer; the partner hears nothing",
            "connected peer=ES-AGENCY",
            questions,
        ),
    ]
}

fn strangers(stage: &mut Stage) -> Outcome {
    let ring = |path: &str, role| (path.to_owned(), Key::of_ring(&file(stage, path), role));
    let keys = [
        ("a stranger".to_owned(), Key::fresh()),
        ring("IT-AGENCY/node/node.ring", ROLE_TLS),
        ring("IT-AGENCY/node/node.ring", ROLE_SIGN),
        ring("IT-AGENCY/admin-1/admin.ring", ROLE_ADMIN),
        ring("ES-AGENCY/node/node.ring", ROLE_TLS),
        ring("officer/person.ring", ROLE_OFFICER),
        ("the operator of ES-AGENCY".to_owned(), operator(stage, ATTACKER)),
        ("the operator of PT-AGENCY".to_owned(), operator(stage, HONEST)),
    ];
    let to = address(stage, VICTIM);
    stage.block_on(async {
        let mut ends: Vec<End> = Vec::new();
        for (whose, key) in &keys {
            ends.push(dial(key).refusal(to).await.map_err(|why| format!("{whose}: {why}"))?);
        }
        let first = ends.first().cloned().ok_or("no key was tried")?;
        if let Some(other) = ends.iter().position(|end| *end != first) {
            return Err(format!("{} is {}, a stranger is {first}", keys[other].0, ends[other]));
        }
        // The key of a person is none of a member's either.
        let member = dial(&operator(stage, VICTIM)).refusal(stage.victim()).await?;
        if member != first {
            return Err(format!("the operator at the members' socket is {member}, a stranger is {first}"));
        }
        let link = connect(stage, VICTIM, &operator(stage, VICTIM)).await?;
        is_greeted(&link).await?;
        link.close();
        Ok(format!("{} keys: {first}; the operator is greeted", keys.len() + 1))
    })
}

fn seats(stage: &mut Stage) -> Outcome {
    let key = operator(stage, VICTIM);
    stage.block_on(async {
        let mut links = Vec::new();
        for _ in 0..CONNECTIONS {
            let link = connect(stage, VICTIM, &key).await?;
            is_greeted(&link).await?;
            links.push(link);
        }
        for _ in 0..2 {
            let end = dial(&key).refusal(address(stage, VICTIM)).await?;
            if end != End::Closed(1, Vec::new()) {
                return Err(format!("one connection too many is {end}"));
            }
        }
        for link in &links {
            is_greeted(link).await.map_err(|why| format!("an earlier connection: {why}"))?;
        }
        let gone = links.pop().ok_or("no connection")?;
        gone.close();
        gone.endpoint.wait_idle().await;
        let link = connect(stage, VICTIM, &key).await?;
        is_greeted(&link).await.map_err(|why| format!("after one has gone: {why}"))?;
        Ok("four at once, two refused, one more after one had gone".into())
    })
}

// Plays streams over one connection of the victim's operator; nothing may be stored meanwhile, and no file left behind.
fn over_one(stage: &Stage, rows: &[Row]) -> Outcome {
    let before = Counts::of(stage, VICTIM)?;
    let wrong = stage.block_on(async {
        let link = connect(stage, VICTIM, &operator(stage, VICTIM)).await?;
        let mut wrong = Vec::new();
        for (what, stream, expected) in rows {
            let came = link.ask(stream).await;
            let right = match expected {
                Expected::Reset => {
                    if came.bytes.is_empty() && came.end == StreamEnd::Reset(1) {
                        Ok(())
                    } else {
                        Err(format!("{} bytes, then {}", came.bytes.len(), came.end))
                    }
                }
                Expected::Code(exit, code) => said(&came).and_then(|(got, json)| {
                    let right = got == *exit && json["error"]["code"] == *code;
                    if right { Ok(()) } else { Err(format!("{json}")) }
                }),
            };
            // The connection is good for the next call all the same.
            if let Err(why) = match right {
                Ok(()) => is_greeted(&link).await,
                wrong => wrong,
            } {
                wrong.push(format!("{what}: {why}"));
            }
        }
        link.close();
        Ok::<_, String>(wrong)
    })?;
    if !wrong.is_empty() {
        return Err(format!("{} of {}: {}", wrong.len(), rows.len(), wrong.join("; ")));
    }
    let after = Counts::of(stage, VICTIM)?;
    if after.sequence() != before.sequence() {
        return Err("something was stored".into());
    }
    after.grew(&before, &[].into())?;
    let left = std::fs::read_dir(file(stage, "IT-AGENCY/node/spool")).map_err(|error| error.to_string())?.count();
    if left > 0 {
        return Err(format!("{left} files are left in the spool"));
    }
    Ok(format!("{} streams refused, nothing stored", rows.len()))
}

/// What a stream must come to.
enum Expected {
    /// A reset with code 1 and no byte.
    Reset,
    /// JSON with this exit and this code.
    Code(u64, &'static str),
}

/// What is done, the whole stream, what must come.
type Row = (&'static str, Vec<u8>, Expected);

fn bad_frames(stage: &mut Stage) -> Outcome {
    let hello = head_stream(HELLO, b"{}");
    let with = |more: Vec<u8>| [hello.clone(), more].concat();
    let with_protocol =
        |protocol: u16| frame(HEAD, &head(HELLO, b"{}").with("protocol", protocol.to_be_bytes()).encode());
    let rows: Vec<Row> = [
        ("nothing", Vec::new()),
        ("half a header", hello[..3].to_vec()),
        ("half a head", hello[..12].to_vec()),
        ("a frame of 2^32 - 1 bytes", header(u32::MAX, HEAD)),
        ("a head of 65,537 bytes", [header(65_537, HEAD), vec![0; 65_537]].concat()),
        ("an empty head", frame(HEAD, b"")),
        ("a kind of frame that is none", frame(9, &hello)),
        ("zeros", vec![0; 70_000]),
        ("text of another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("protocol 0", with_protocol(0)),
        ("protocol 2", with_protocol(2)),
        ("a kind of message that is none", head_stream(199, b"{}")),
        ("a fetch", head_stream(FETCH, b"{}")),
        ("a request", head_stream(REQUEST, b"{}")),
        ("a notice", head_stream(NOTICE, b"{}")),
        ("progress first", [frame(PROGRESS, b"x"), hello.clone()].concat()),
        ("two heads", with(hello.clone())),
        ("a body where there is none", with(body(b"x"))),
        ("an end where there is none", with(body(b""))),
        ("half a pad", with(header(10, PAD))),
        ("a pad that is not zeros", with(frame(PAD, b"x"))),
        ("a byte behind it", with(vec![0])),
        ("more pads than 64 KiB", with(frame(PAD, &vec![0; 65_536]).repeat(2))),
    ]
    .into_iter()
    .map(|(what, stream)| (what, stream, Expected::Reset))
    .collect();
    over_one(stage, &rows)
}

fn bad_calls(stage: &mut Stage) -> Outcome {
    let import = |payload: &[u8]| [head_stream(IMPORT, payload), body(b"")].concat();
    let relay = relay_call(HONEST, fetch("edition", Some(HONEST), 1, &NO_HASH), 1_000);
    let odd = Value::from("\u{1b}[2J\u{202e}").to_string();
    let rows: Vec<Row> = vec![
        ("no JSON", head_stream(COVERAGE, b"\xff\xfe"), Expected::Code(2, "CALL")),
        ("an empty payload", head_stream(COVERAGE, b""), Expected::Code(2, "CALL")),
        ("another JSON", head_stream(COVERAGE, b"[1, 2]"), Expected::Code(2, "CALL")),
        ("a command that is none", head_stream(COVERAGE, b"{\"do\":\"forget\"}"), Expected::Code(2, "CALL")),
        ("a field that is none", head_stream(COVERAGE, b"{\"do\":\"show\",\"more\":1}"), Expected::Code(2, "CALL")),
        ("a thousand brackets", head_stream(COVERAGE, "[".repeat(1000).as_bytes()), Expected::Code(2, "CALL")),
        ("sixty thousand brackets", head_stream(COVERAGE, "[".repeat(60_000).as_bytes()), Expected::Code(2, "CALL")),
        ("a text that clears the screen", head_stream(COVERAGE, odd.as_bytes()), Expected::Code(2, "CALL")),
        ("an import of nothing", import(b"{}"), Expected::Code(2, "CALL")),
        ("a number beyond number", import(b"{\"bytes\":1e999}"), Expected::Code(2, "CALL")),
        ("records that are none", head_stream(RECORDS, b"{\"do\":\"show\"}"), Expected::Code(2, "CALL")),
        ("a mapping that is none", head_stream(MAPPING, b"{\"do\":\"check\"}"), Expected::Code(2, "CALL")),
        ("a question of an operator", head_stream(ASK, b"x"), Expected::Code(3, "ROLE")),
        ("a fetch of an operator", head_stream(RELAY, &relay.encode()), Expected::Code(3, "ROLE")),
    ];
    over_one(stage, &rows)
}

// An import of so many bytes with this digest.
fn import(bytes: u64, content: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut call = json!({
        "kind": "seizure", "mapping": null, "only": null, "coverage": null, "dry_run": false, "skip_bad": false,
        "file_name": "hostile.csv", "correct": null, "format": "csv", "sha256": hex(&sha256(content)), "bytes": bytes,
        "converted": null, "import_key": hex(&random::<16>()),
    });
    change(&mut call);
    head_stream(IMPORT, call.to_string().as_bytes())
}

fn uploads(stage: &mut Stage) -> Outcome {
    let content = b"case_id,date\n1,2021-01-01\n".as_slice();
    let length = content.len() as u64;
    let good = || import(length, content, |_| {});
    let long = |size: usize| frame(HEAD, &head(IMPORT, &vec![b' '; size]).encode());
    let rows: Vec<Row> = vec![
        ("a payload of 64,513 bytes", long(64_513), Expected::Reset),
        ("a payload of 65,524 bytes", long(65_524), Expected::Reset),
        ("a head of 4 GiB", [header(u32::MAX, HEAD), vec![b' '; 100]].concat(), Expected::Reset),
        (
            "a size of 2^64 - 1",
            [import(u64::MAX, content, |_| {}), body(content)].concat(),
            Expected::Code(2, "TOO-LARGE"),
        ),
        (
            "a size of 4 GiB and a byte",
            [import((4 << 30) + 1, content, |_| {}), body(content)].concat(),
            Expected::Code(2, "TOO-LARGE"),
        ),
        (
            "a size below zero",
            [import(0, content, |call| call["bytes"] = json!(-1)), body(content)].concat(),
            Expected::Code(2, "CALL"),
        ),
        (
            "more bytes than told",
            [import(length - 1, content, |_| {}), body(content)].concat(),
            Expected::Code(3, "R-FILE-CHANGED"),
        ),
        (
            "fewer bytes than told",
            [import(length + 1, content, |_| {}), body(content)].concat(),
            Expected::Code(3, "R-FILE-CHANGED"),
        ),
        (
            "another digest",
            [import(length, b"other", |_| {}), body(content)].concat(),
            Expected::Code(3, "R-FILE-CHANGED"),
        ),
        ("no end", [good(), frame(BODY, content)].concat(), Expected::Reset),
        ("half a body", [good(), header(26, BODY), content[..9].to_vec()].concat(), Expected::Reset),
        (
            "an end of another length",
            [good(), frame(BODY, content), frame(END, &end(9, &sha256(content)))].concat(),
            Expected::Reset,
        ),
        (
            "an end of another digest",
            [good(), frame(BODY, content), frame(END, &end(length, &[0; 32]))].concat(),
            Expected::Reset,
        ),
        ("a body of 65,537 bytes", [good(), header(65_537, BODY), vec![b'x'; 65_537]].concat(), Expected::Reset),
        ("empty bodies beyond the budget", [good(), frame(BODY, b"").repeat(20_000)].concat(), Expected::Reset),
        (
            "a kind that is none",
            [import(length, content, |call| call["kind"] = json!("\u{1b}[2J")), body(content)].concat(),
            Expected::Code(2, "KIND"),
        ),
        (
            "rates of 17 MiB",
            [head_stream(RATES, b"{\"do\":\"import\"}"), body(&vec![b'x'; 17 << 20])].concat(),
            Expected::Reset,
        ),
        ("a status with a body", [head_stream(STATUS, b"{}"), body(content)].concat(), Expected::Reset),
    ];
    over_one(stage, &rows)
}

fn questions(stage: &mut Stage) -> Outcome {
    anew(stage);
    stage.start(ATTACKER);
    let outcome = questions_to(stage);
    stage.stop(ATTACKER);
    outcome
}

fn questions_to(stage: &mut Stage) -> Outcome {
    let before = Counts::of(stage, VICTIM)?;
    let means = Means::of(stage, ATTACKER);
    let body = means.body();
    let stranger = Key::fresh();
    let signed = |body: &Body, key: &Key, card: &[u8]| {
        let bytes = body.encode();
        ask_call(&bytes, &key.sign("request-body", &means.federation, &bytes), card, 5_000)
    };
    let rows = [
        ("another's signature", signed(&body, &stranger, &means.card)),
        ("the node's signature", signed(&body, &means.sign, &means.card)),
        ("no card", signed(&body, &means.officer, b"")),
        ("another card", signed(&body, &means.officer, &[7; 200])),
        (
            "another member's question",
            signed(&Body { requester: HONEST.into(), ..body.clone() }, &means.officer, &means.card),
        ),
        (
            "a purpose that is not on the card",
            signed(&Body { purpose: 5, ..body.clone() }, &means.officer, &means.card),
        ),
        (
            "a card's hash that is another's",
            signed(&Body { officer_card_hash: [1; 32], ..body.clone() }, &means.officer, &means.card),
        ),
        ("a body that is none", ask_call(&[0xff; 300], &means.officer_signs(&[0xff; 300]), &means.card, 5_000)),
        ("an empty body", ask_call(b"", &means.officer_signs(b""), &means.card, 5_000)),
    ];
    let count = rows.len();
    stage.block_on(async {
        let link = connect(stage, ATTACKER, &means.officer).await?;
        for (what, call) in rows {
            let came = link.ask(&head_stream(ASK, &call.encode())).await;
            let reply = Reply::read(&came.bytes).and_then(|reply| AskReply::read(&reply.payload));
            let reply = reply.map_err(|why| format!("{what}: {why}, {}", came.end))?;
            if reply.outcome != 3 || reply.answer.is_some() || !reply.edition.is_empty() || reply.detail.is_empty() {
                return Err(format!("{what}: {reply:?}"));
            }
        }
        // The same question, signed and carried by its officer, is answered: what was refused above was refused for its fault.
        let came = link.ask(&head_stream(ASK, &means.ask(&body.encode(), 5_000).encode())).await;
        let reply = AskReply::read(&Reply::read(&came.bytes)?.payload)?;
        link.close();
        if reply.outcome == 1 && reply.answer.is_some() {
            Ok(())
        } else {
            Err(format!("the officer's own question: {reply:?}"))
        }
    })?;
    Counts::of(stage, VICTIM)?.grew(&before, &[("answered", 1)].into())?;
    Ok(format!("{count} questions not handed on, the officer's own answered"))
}
