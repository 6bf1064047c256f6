//! Answers of a hostile provider that are wrong in one thing: whose they are, to what, when, from what, under which signature.

use crate::{
    asking::{Row, Size, Want, play},
    forge::{Forge, SENTINEL, whole},
    peer::{MINUTE, now},
    server::{Manners, Question, Step},
    stage::{ATTACKER, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        frames::{HEAD, frame, head, padded_to},
        keys::Key,
        messages::{FETCH, NO_HASH, NOTICE},
        scalar, sha256,
    },
};

/// Questions that are asked at once: the tool's connections of one officer.
const AT_ONCE: usize = 4;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, sent, run| Case {
        id: "C62",
        name,
        given: "an officer asks an honest provider and a hostile one, which holds its own true keys",
        sent,
        expected: "not verified and said so, exit 1; no number of it in table, sums, CSV or evidence; the honest numbers are there",
        log: "answered peer=ES-AGENCY",
        place: Place::Own,
        run,
    };
    vec![
        case(
            "answers with another head",
            "other hash, id, members, times, decisions, codes, protocols; in order too",
            heads,
        ),
        case(
            "answers under another signature",
            "none, S + L, other keys, labels and federations, another head's",
            signatures,
        ),
        case("answers with another table", "swapped, turned by one bit, cut, longer, impossible numbers", tables),
        case("two answers from two editions", "each half of a split question from another edition", mixed),
    ]
}

fn heads(stage: &mut Stage) -> Outcome {
    let mut rows = vec![
        Row::new("an answer in order", Forge::honest).wants(Want::Answered),
        Row::new("a refusal in order", |forge, asked, _| {
            whole(Forge::padded(asked, &forge.sealed(&Forge::refusal(asked, 6).fields().encode()), b""))
        })
        .wants(Want::Refused),
        Row::new("an answer to another question", |forge, asked, number| {
            forge.with_head(asked, number, |head| (head.body_hash, head.request_id) = (sha256(b"other"), [7; 16]))
        }),
        Row::new("another body's hash", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.body_hash[31] ^= 1)
        }),
        Row::new("no body's hash", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.body_hash = NO_HASH)
        }),
        Row::new("another request's id", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.request_id[0] ^= 1)
        }),
        Row::new("in the name of the honest provider", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.responder = VICTIM.into())
        }),
        Row::new("in the name of the asker", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.responder = ATTACKER.into())
        }),
        Row::new("for another member", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.requester = VICTIM.into())
        }),
        Row {
            edition: Some(7),
            ..Row::new("an older edition than asked for", |forge, asked, _| forge.honest(asked, 6))
        },
        Row {
            edition: Some(7),
            ..Row::new("a newer edition than asked for", |forge, asked, _| forge.honest(asked, 8))
        },
    ];
    rows.extend(times());
    rows.extend(decisions());
    rows.extend(encodings());
    play(stage, rows, Manners::Answers, AT_ONCE)
}

fn times() -> Vec<Row> {
    vec![
        Row::new("from long before the question", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.issued_at = asked.body.issued_at - 3 * MINUTE)
        }),
        Row::new("from the future", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.issued_at = now() + 10 * MINUTE)
        }),
        Row::new("from time 0", |forge, asked, number| forge.with_head(asked, number, |head| head.issued_at = 0)),
        Row::new("from the last time there is", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.issued_at = u64::MAX)
        }),
    ]
}

fn decisions() -> Vec<Row> {
    vec![
        Row::new("no edition", |forge, asked, _| forge.with_head(asked, 0, |_| {})),
        Row::new("decision 0", |forge, asked, number| forge.with_head(asked, number, |head| head.decision = 0)),
        Row::new("decision 3", |forge, asked, number| forge.with_head(asked, number, |head| head.decision = 3)),
        Row::new("an answer with a refusal's code", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.code = 6)
        }),
        Row::new("a refusal with a table", |forge, asked, number| {
            forge.with_head(asked, number, |head| (head.decision, head.code, head.edition) = (2, 6, 0))
        }),
        Row::new("a refusal from an edition", |forge, asked, number| {
            let mut refusal = Forge::refusal(asked, 6);
            refusal.edition = number;
            whole(Forge::padded(asked, &forge.sealed(&refusal.fields().encode()), b""))
        }),
        Row::new("a refusal without a code", |forge, asked, _| {
            whole(Forge::padded(asked, &forge.sealed(&Forge::refusal(asked, 0).fields().encode()), b""))
        }),
        Row::new("a refusal with a code that is none", |forge, asked, _| {
            whole(Forge::padded(asked, &forge.sealed(&Forge::refusal(asked, 12).fields().encode()), b""))
        }),
        Row::new("a refusal in order, and a table behind it", |forge, asked, _| {
            let refusal = forge.sealed(&Forge::refusal(asked, 6).fields().encode());
            whole(Forge::padded(asked, &refusal, &Forge::slice(asked)))
        }),
    ]
}

fn encodings() -> Vec<Row> {
    vec![
        Row::new("protocol 2", |forge, asked, number| {
            forge.with_fields(asked, number, |head| head.with("protocol", 2u16.to_be_bytes()))
        }),
        Row::new("another kind of structure", |forge, asked, number| {
            forge.with_fields(asked, number, |head| head.with("kind", 17u16.to_be_bytes()))
        }),
        Row::new("a byte behind the head", |forge, asked, number| {
            forge.with_fields(asked, number, |head| head.u8("more", 0))
        }),
        Row::new("a handling code that is none", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.handling_code = 8)
        }),
        Row::new("a traffic light that is none", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.tlp = 5)
        }),
        Row::new("recipients out of order", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.recipients = vec!["IT-AGENCY".into(), "ES-AGENCY".into()])
        }),
        Row::new("one recipient twice", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.recipients = vec!["IT-AGENCY".into(); 2])
        }),
        Row::new("a recipient that would clear the screen", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.recipients = vec!["IT-\u{1b}[2J".into()])
        }),
        Row::new("recipients beyond number", |forge, asked, number| {
            forge.with_fields(asked, number, |head| head.with("recipients.len", (1u64 << 40).to_be_bytes()))
        }),
        Row::new("more recipients than a list holds", |forge, asked, number| {
            forge.with_head(asked, number, |head| {
                head.recipients = (0..65).map(|number| format!("IT-AGENCY-{number:02}")).collect();
            })
        }),
    ]
}

fn signatures(stage: &mut Stage) -> Outcome {
    let rows = vec![
        Row::new("signed with nothing", |_, asked, number| Forge::signed_by(asked, number, |_| [0; 64])),
        Row::new("S + L", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| {
                scalar::plus_order(&forge.sign.sign("answer", &forge.federation, head))
            })
        }),
        Row::new("one bit of the signature", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| {
                let mut signature = forge.sign.sign("answer", &forge.federation, head);
                signature[63] ^= 1;
                signature
            })
        }),
        Row::new("signed with its TLS key", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| forge.tls.sign("answer", &forge.federation, head))
        }),
        Row::new("signed with the honest provider's key", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| forge.other.sign("answer", &forge.federation, head))
        }),
        Row::new("signed with a key that nobody knows", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| Key::fresh().sign("answer", &forge.federation, head))
        }),
        Row::new("signed as a request", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| forge.sign.sign("request", &forge.federation, head))
        }),
        Row::new("signed as an edition", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| forge.sign.sign("edition", &forge.federation, head))
        }),
        Row::new("signed for another federation", |forge, asked, number| {
            Forge::signed_by(asked, number, |head| forge.sign.sign("answer", &NO_HASH, head))
        }),
        Row::new("the signature of a refusal", |forge, asked, number| {
            let refusal = Forge::refusal(asked, 6).fields().encode();
            Forge::signed_by(asked, number, |_| forge.sign.sign("answer", &forge.federation, &refusal))
        }),
        Row::new("the signature of another edition's head", |forge, asked, number| {
            let older = Forge::head(asked, number - 1, &Forge::slice(asked)).fields().encode();
            Forge::signed_by(asked, number, |_| forge.sign.sign("answer", &forge.federation, &older))
        }),
        Row::new("a fetch's reply", |forge, asked, number| {
            let head_of = head(FETCH, &forge.sealed(&Forge::head(asked, number, b"").fields().encode()));
            whole(padded_to(frame(HEAD, &head_of.encode()), 16 << 10))
        }),
        Row::new("a notice's reply", |_, _, _| whole(frame(HEAD, &head(NOTICE, &[1]).encode()))),
    ];
    play(stage, rows, Manners::Answers, AT_ONCE)
}

fn tables(stage: &mut Stage) -> Outcome {
    let mut rows = vec![
        Row::new("another table than the signed one", |forge, asked, number| {
            let slice = Forge::slice(asked);
            let head = forge.sealed(&Forge::head(asked, number, &slice).fields().encode());
            let other = Forge::cell(1, SENTINEL - 1).repeat(slice.len() / 9);
            whole(Forge::padded(asked, &head, &other))
        }),
        Row::new("one bit of a number", |forge, asked, number| {
            let mut slice = Forge::slice(asked);
            let head = forge.sealed(&Forge::head(asked, number, &slice).fields().encode());
            slice[8] ^= 1;
            whole(Forge::padded(asked, &head, &slice))
        }),
        Row::new("no table", |forge, asked, number| {
            let head = forge.sealed(&Forge::head(asked, number, &Forge::slice(asked)).fields().encode());
            whole(Forge::padded(asked, &head, b""))
        }),
        Row::new("another length in the head", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.slice_len += 9)
        }),
        Row::new("another hash in the head", |forge, asked, number| {
            forge.with_head(asked, number, |head| head.slice_hash = sha256(b""))
        }),
    ];
    rows.extend([
        Row::new("an empty table, signed", |forge, asked, number| forge.with_slice(asked, number, |_| Vec::new())),
        Row::new("a cell less, signed", |forge, asked, number| {
            forge.with_slice(asked, number, |slice| slice[9..].to_vec())
        }),
        Row::new("a cell more, signed", |forge, asked, number| {
            forge.with_slice(asked, number, |slice| [slice, Forge::cell(1, SENTINEL)].concat())
        }),
        Row::new("a byte less, signed", |forge, asked, number| {
            forge.with_slice(asked, number, |slice| slice[1..].to_vec())
        }),
        Row::new("state 0", |forge, asked, number| first_cell(forge, asked, number, 0, SENTINEL)),
        Row::new("state 4", |forge, asked, number| first_cell(forge, asked, number, 4, SENTINEL)),
        Row::new("state 255", |forge, asked, number| first_cell(forge, asked, number, 255, SENTINEL)),
        Row::new("a number under a suppressed cell", |forge, asked, number| {
            first_cell(forge, asked, number, 2, SENTINEL)
        }),
        Row::new("a number that is not available", |forge, asked, number| {
            first_cell(forge, asked, number, 3, SENTINEL)
        }),
        Row::new("a number below zero", |forge, asked, number| first_cell(forge, asked, number, 1, -1)),
        Row::new("a number above 2^53 - 1", |forge, asked, number| first_cell(forge, asked, number, 1, 1 << 53)),
        Row::new("the largest number of all", |forge, asked, number| first_cell(forge, asked, number, 1, i64::MAX)),
    ]);
    play(stage, rows, Manners::Answers, AT_ONCE)
}

fn first_cell(forge: &Forge, asked: &Question, number: u64, state: u8, value: i64) -> Vec<Step> {
    forge.with_slice(asked, number, |slice| [Forge::cell(state, value).as_slice(), &slice[9..]].concat())
}

fn mixed(stage: &mut Stage) -> Outcome {
    // One edition for both halves is believed: what is refused below is that they are two.
    let same = Row::new("both halves from one edition", Forge::honest);
    let seen = play(stage, vec![Row { size: Size::Split, ..same }.wants(Want::Answered)], Manners::Answers, 1)?;
    let two = Row::new("each half from another edition", |forge, asked, number| {
        let last = asked.body.query.dims[0].codes.last().is_some_and(|code| code / 100 == 2025);
        forge.honest(asked, number + u64::from(last))
    });
    let then = play(stage, vec![Row { size: Size::Split, ..two }], Manners::Answers, 1)?;
    Ok(format!("{seen}; then {then}"))
}
