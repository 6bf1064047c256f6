//! Headers of editions that a hostile provider gives beside answers in order: the officer needs both.

use crate::{
    asking::{Row, Want, play},
    forge::{Forge, found, whole},
    server::{Manners, Step},
    stage::Stage,
    table::{Case, Outcome, Place},
    wire::{
        frames::{BODY, HEAD, body, frame, head},
        messages::{FETCH, NO_HASH, REQUEST, document, document_by},
    },
};

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![Case {
        id: "C62",
        name: "answers in order with another edition's header",
        given: "an officer asks an honest provider and a hostile one, which holds its own true keys",
        sent: "no header, one of another edition, unsigned, under other keys and labels, too long, cut, without end",
        expected: "not verified or unreachable and said so, exit 1; none of its numbers; the honest ones are there",
        log: "answered peer=ES-AGENCY",
        place: Place::Own,
        run: headers,
    }]
}

// A header in order, with these keys and signatures on it.
fn signed(forge: &Forge, number: u64, label: &str, sign: impl Fn(&[u8]) -> Vec<([u8; 32], [u8; 64])>) -> Vec<Step> {
    let payload = forge.edition(number).fields().encode();
    found(&document(label, &payload, &sign(&payload)).encode())
}

fn headers(stage: &mut Stage) -> Outcome {
    let mut rows = of_other_editions();
    rows.extend(under_other_signatures());
    rows.extend(as_other_replies());
    play(stage, rows, Manners::Answers, 4)
}

fn of_other_editions() -> Vec<Row> {
    vec![
        Row::header("a header in order", Forge::header).wants(Want::Answered),
        Row::header("another edition's header", |forge, number| forge.header(number + 1)),
        Row::header("another number", |forge, number| forge.with_header(number, |edition| edition.number += 1)),
        Row::header("another commitment", |forge, number| forge.with_header(number, |edition| edition.commit[0] ^= 1)),
        Row::header("number 0", |forge, number| forge.with_header(number, |edition| edition.number = 0)),
        Row::header("coverage out of order", |forge, number| {
            forge.with_header(number, |edition| edition.coverage = vec![(2, 24_252, 24_263, 1), (1, 24_252, 24_263, 1)])
        }),
        Row::header("coverage that ends before it begins", |forge, number| {
            forge.with_header(number, |edition| edition.coverage = vec![(1, 24_263, 24_252, 1)])
        }),
        Row::header("more coverage than a header holds", |forge, number| {
            forge.with_header(number, |edition| {
                edition.coverage = (0..257).map(|month| (1, 24_252 + month, 24_252 + month, 1)).collect();
            })
        }),
        Row::header("a protection that is none", |forge, number| {
            forge.with_header(number, |edition| edition.protection = 3)
        }),
        Row::header("a catalogue that nobody knows", |forge, number| {
            forge.with_header(number, |edition| edition.catalogue_hash = [1; 32])
        })
        .wants(Want::NotComparable),
    ]
}

fn under_other_signatures() -> Vec<Row> {
    vec![
        Row::header("no signature", |forge, number| signed(forge, number, "edition", |_| Vec::new())),
        Row::header("a signature of zeros", |forge, number| {
            signed(forge, number, "edition", |_| vec![(forge.sign.public(), [0; 64])])
        }),
        Row::header("the TLS key's signature", |forge, number| {
            signed(forge, number, "edition", |payload| {
                vec![(forge.tls.public(), forge.tls.sign("edition", &forge.federation, payload))]
            })
        }),
        Row::header("the honest provider's signature", |forge, number| {
            signed(forge, number, "edition", |payload| {
                vec![(forge.other.public(), forge.other.sign("edition", &forge.federation, payload))]
            })
        }),
        Row::header("the TLS key's signature under the signing key's name", |forge, number| {
            signed(forge, number, "edition", |payload| {
                vec![(forge.sign.public(), forge.tls.sign("edition", &forge.federation, payload))]
            })
        }),
        Row::header("signed as an answer", |forge, number| {
            signed(forge, number, "edition", |payload| {
                vec![(forge.sign.public(), forge.sign.sign("answer", &forge.federation, payload))]
            })
        }),
        Row::header("signed for another federation", |forge, number| {
            signed(forge, number, "edition", |payload| {
                vec![(forge.sign.public(), forge.sign.sign("edition", &NO_HASH, payload))]
            })
        }),
        Row::header("labelled and signed as a catalogue", |forge, number| {
            signed(forge, number, "catalogue", |payload| {
                vec![(forge.sign.public(), forge.sign.sign("catalogue", &forge.federation, payload))]
            })
        }),
        Row::header("a good signature among bad ones", |forge, number| {
            signed(forge, number, "edition", |payload| {
                let good = forge.sign.sign("edition", &forge.federation, payload);
                vec![(forge.tls.public(), [0; 64]), (forge.sign.public(), good)]
            })
        })
        .wants(Want::Answered),
    ]
}

fn as_other_replies() -> Vec<Row> {
    vec![
        Row::header("nothing found", |_, _| whole([frame(HEAD, &head(FETCH, &[0]).encode()), body(b"")].concat())),
        Row::header("a found that is neither", |forge, number| {
            let document =
                document_by(&forge.sign, "edition", &forge.federation, &forge.edition(number).fields().encode());
            whole([frame(HEAD, &head(FETCH, &[2]).encode()), body(&document)].concat())
        }),
        Row::header("an empty document", |_, _| found(b"")),
        Row::header("bytes", |_, _| found(&[0xff; 300])),
        Row::header("a byte behind the document", |forge, number| {
            let payload = forge.edition(number).fields().encode();
            found(&[document_by(&forge.sign, "edition", &forge.federation, &payload), vec![0]].concat())
        }),
        Row::header("a document cut", |forge, number| {
            let payload = forge.edition(number).fields().encode();
            let document = document_by(&forge.sign, "edition", &forge.federation, &payload);
            found(&document[..document.len() - 1])
        }),
        Row::header("a document of 40 KiB", |forge, _| {
            found(&document_by(&forge.sign, "edition", &forge.federation, &vec![7; 40 << 10]))
        }),
        Row::header("a document of 2 MiB", |forge, _| {
            found(&document_by(&forge.sign, "edition", &forge.federation, &vec![7; 2 << 20]))
        })
        .wants(Want::NotBelieved),
        Row::header("a reply of another kind", |_, _| {
            whole([frame(HEAD, &head(REQUEST, &[1]).encode()), body(b"")].concat())
        })
        .wants(Want::NotBelieved),
        Row::header("a reset", |_, _| vec![Step::Reset]).wants(Want::NotBelieved),
        Row::header("half a reply and a reset", |_, _| {
            vec![Step::Send(frame(HEAD, &head(FETCH, &[1]).encode())), Step::Reset]
        })
        .wants(Want::NotBelieved),
        Row::header("a body without end", |_, _| {
            vec![Step::Send(frame(HEAD, &head(FETCH, &[1]).encode())), Step::ForEver(frame(BODY, &[1; 65_536]))]
        })
        .wants(Want::NotBelieved),
        Row::header("silence", |_, _| Vec::new()).waits(),
    ]
}
