//! Every flipped bit and every truncation of a valid stream, over QUIC to a running node: none is executed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::JoinSet;

use crate::{
    client::StreamEnd,
    peer::{Counts, Peer, anew, now},
    stage::{ATTACKER, Stage, VICTIM},
    table::{Case, Outcome, Place},
    wire::{
        fields::Reader,
        frames::{HEADER, head_stream, request_stream},
        keys::verifies,
        messages::{FETCH, NO_HASH, NOTICE, REQUEST, document_by, expect_preamble, fetch, withdrawal},
        replies::{ANSWERED, Reply},
    },
};

/// Streams of one connection at once.
const AT_ONCE: usize = 8;
/// One bit of so many in the zeros of the pads, and one cut of so many; `ACCORD_PAD_STEP=1` takes each.
const PAD_STEP: usize = 61;
/// One bit of so many before the pads, which are turned one by one in a stream without pads.
const HEAD_STEP: usize = 7;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    let case = |id, name, sent, expected, run| Case {
        id,
        name,
        given: "a valid stream of an authenticated member, made for the connection that it goes over",
        sent,
        expected,
        log: "refused",
        place: Place::Own,
        run,
    };
    let refused =
        "each a signed E_ENCODING or E_AUTH in 16 KiB; none executed: its id stays free, no answer is counted";
    vec![
        case(
            "C50",
            "every flipped bit of a request",
            "every bit of the frames, the signed bytes and the request, once without pads and once padded to its class; bits of the pads",
            refused,
            flipped_requests,
        ),
        case(
            "C51",
            "a request cut at every byte",
            "every prefix, then FIN, without pads and with; cuts inside the pads",
            refused,
            cut_requests,
        ),
        case(
            "C50",
            "every flipped bit of a fetch, and every cut",
            "every bit and every prefix of a fetch of an edition's header",
            "E_ENCODING, nothing found, or a header that its member has signed",
            fetches,
        ),
        case(
            "C50",
            "every flipped bit of a notice, and every cut",
            "every bit and every prefix of a valid notice of a withdrawal",
            "E_ENCODING or not believed; the whole one is believed",
            notices,
        ),
    ]
}

fn step() -> usize {
    std::env::var("ACCORD_PAD_STEP").ok().and_then(|text| text.parse().ok()).unwrap_or(PAD_STEP)
}

/// A changed stream: which one, and a bit that is turned or a length at which it is cut.
#[derive(Debug, Clone, Copy)]
enum Change {
    Bit(usize),
    Cut(usize),
}

impl Change {
    fn apply(self, stream: &[u8]) -> Vec<u8> {
        match self {
            Self::Bit(bit) => {
                let mut changed = stream.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                changed
            }
            Self::Cut(length) => stream[..length].to_vec(),
        }
    }
}

/// What became of one changed stream, in a word; an error if it is nothing that may come.
type Judge = fn(&Peer, &[u8]) -> Result<String, String>;

// Plays all changes of a stream over one connection, as many at once as it has streams; how often each word came.
async fn play(
    peer: Arc<Peer>,
    stream: Vec<u8>,
    changes: Vec<Change>,
    judge: Judge,
) -> Result<BTreeMap<String, usize>, String> {
    let (stream, changes, next) = (Arc::new(stream), Arc::new(changes), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (peer, stream, changes, next) =
            (Arc::clone(&peer), Arc::clone(&stream), Arc::clone(&changes), Arc::clone(&next));
        workers.spawn(async move {
            let mut words: BTreeMap<String, usize> = BTreeMap::new();
            while let Some(change) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
                let came = peer.link.ask(&change.apply(&stream)).await;
                if came.end != StreamEnd::Fin {
                    return Err(format!("{change:?}: {} bytes, then {}", came.bytes.len(), came.end));
                }
                let word = judge(&peer, &came.bytes).map_err(|why| format!("{change:?}: {why}"))?;
                *words.entry(word).or_default() += 1;
            }
            Ok(words)
        });
    }
    let mut all = BTreeMap::new();
    while let Some(worker) = workers.join_next().await {
        for (word, count) in worker.map_err(|error| error.to_string())?? {
            *all.entry(word).or_default() += count;
        }
    }
    Ok(all)
}

fn refusal(peer: &Peer, bytes: &[u8]) -> Result<String, String> {
    let judged = peer.judge_bytes(bytes)?;
    match (judged.word(), judged.class) {
        (word @ ("E_ENCODING" | "E_AUTH"), 0) => Ok(word.to_owned()),
        (word, class) => Err(format!("{word} in class {class}")),
    }
}

// A request without pads and the same with them.
fn request(peer: &Peer) -> ([u8; 16], Vec<u8>, Vec<u8>) {
    let body = peer.means.body();
    let payload = peer.payload(&body.encode());
    (body.request_id, head_stream(REQUEST, &payload), request_stream(&payload))
}

fn flipped_requests(stage: &mut Stage) -> Outcome {
    requests(stage, |bare, padded| {
        let all = |stream: &[u8]| (0..stream.len() * 8).map(Change::Bit).collect::<Vec<_>>();
        // In the padded stream some bits up to the pad's header's end, which the stream without pads has too, and some of its zeros.
        let before_zeros = (bare.len() + HEADER) * 8;
        let mut of_padded: Vec<Change> = (0..before_zeros).step_by(step().min(HEAD_STEP)).map(Change::Bit).collect();
        of_padded.extend((bare.len() * 8..before_zeros).map(Change::Bit));
        of_padded.extend((before_zeros..padded.len() * 8).step_by(step()).map(Change::Bit));
        (all(bare), of_padded)
    })
}

fn cut_requests(stage: &mut Stage) -> Outcome {
    requests(stage, |bare, padded| {
        let of_bare = (0..bare.len()).map(Change::Cut).collect();
        // Cut behind the head's frame it is a request without pads, which is in order.
        let mut of_padded: Vec<Change> = (bare.len() + 1..bare.len() + HEADER).map(Change::Cut).collect();
        of_padded.extend((bare.len() + HEADER..padded.len()).step_by(step()).map(Change::Cut));
        (of_bare, of_padded)
    })
}

/// From a stream without pads and the same with them, the changes of each.
type Changes = fn(&[u8], &[u8]) -> (Vec<Change>, Vec<Change>);

fn requests(stage: &mut Stage, changes: Changes) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let words = stage.block_on(async {
        let peer = Arc::new(Peer::connect(stage, ATTACKER).await?);
        let (id, bare, padded) = request(&peer);
        let (of_bare, of_padded) = changes(&bare, &padded);
        let mut words = play(Arc::clone(&peer), bare.clone(), of_bare, refusal).await?;
        for (word, count) in play(Arc::clone(&peer), padded, of_padded, refusal).await? {
            *words.entry(word).or_default() += count;
        }
        peer.is_fresh(id).await?;
        peer.link.close();
        Ok::<_, String>(words)
    })?;
    let mut expected: BTreeMap<&str, u64> = words.iter().map(|(word, count)| (word.as_str(), *count as u64)).collect();
    expected.insert(ANSWERED, 1);
    Counts::of(stage, VICTIM)?.grew(&before, &expected)?;
    Ok(report(stage, &words))
}

fn report(stage: &mut Stage, words: &BTreeMap<String, usize>) -> String {
    let count: usize = words.values().sum();
    stage.figures.insert("streams".into(), f64::from(u32::try_from(count).unwrap()));
    let words: Vec<String> = words.iter().map(|(word, count)| format!("{count} {word}")).collect();
    format!("{count} streams: {}; none executed", words.join(", "))
}

fn every_change(stream: &[u8]) -> Vec<Change> {
    (0..stream.len() * 8).map(Change::Bit).chain((0..stream.len()).map(Change::Cut)).collect()
}

// A reply to a fetch or a notice: one byte, and a body for a fetch.
fn one_byte(peer: &Peer, kind: u16, bytes: &[u8]) -> Result<Option<(u8, Vec<u8>)>, String> {
    let reply = Reply::read(bytes)?;
    if reply.kind == REQUEST {
        return match peer.judge_bytes(bytes)?.word() {
            "E_ENCODING" => Ok(None),
            word => Err(word.to_owned()),
        };
    }
    match (reply.kind == kind, reply.payload.as_slice()) {
        (true, [byte]) => Ok(Some((*byte, reply.body.unwrap_or_default()))),
        _ => Err(format!("a reply of kind {} with {} bytes", reply.kind, reply.payload.len())),
    }
}

fn fetched(peer: &Peer, bytes: &[u8]) -> Result<String, String> {
    match one_byte(peer, FETCH, bytes)? {
        None => Ok("E_ENCODING".into()),
        Some((0, body)) if body.is_empty() => Ok("nothing found".into()),
        Some((1, body)) => {
            header_is_signed(peer, &body)?;
            Ok("a signed header".into())
        }
        Some((byte, body)) => Err(format!("{byte} with {} bytes", body.len())),
    }
}

fn header_is_signed(peer: &Peer, document: &[u8]) -> Result<(), String> {
    let mut reader = Reader::new(document);
    let (label, payload) = (reader.u16()?, reader.bytes()?);
    let signatures = reader.list(|reader| Ok((reader.array::<32>()?, reader.array::<64>()?)))?;
    reader.end()?;
    expect_preamble(&mut Reader::new(payload), "edition")?;
    let means = &peer.means;
    match signatures.as_slice() {
        [(key, signature)]
            if label == 21
                && *key == means.partner_key
                && verifies(key, "edition", &means.federation, payload, signature) =>
        {
            Ok(())
        }
        _ => Err("a document that the member has not signed".into()),
    }
}

fn fetches(stage: &mut Stage) -> Outcome {
    anew(stage);
    let words = stage.block_on(async {
        let peer = Arc::new(Peer::connect(stage, ATTACKER).await?);
        let stream = head_stream(FETCH, &fetch("edition", Some(VICTIM), 1, &NO_HASH).encode());
        let whole = peer.link.ask(&stream).await;
        if fetched(&peer, &whole.bytes)? != "a signed header" {
            return Err("the whole fetch finds nothing".into());
        }
        let words = play(Arc::clone(&peer), stream.clone(), every_change(&stream), fetched).await?;
        peer.link.close();
        Ok::<_, String>(words)
    })?;
    Ok(report(stage, &words))
}

fn told(peer: &Peer, bytes: &[u8]) -> Result<String, String> {
    match one_byte(peer, NOTICE, bytes)? {
        None => Ok("E_ENCODING".into()),
        Some((0, _)) => Ok("not believed".into()),
        Some((byte, _)) => Err(format!("it was answered {byte}: believed")),
    }
}

fn notices(stage: &mut Stage) -> Outcome {
    anew(stage);
    let before = Counts::of(stage, VICTIM)?;
    let words = stage.block_on(async {
        let peer = Arc::new(Peer::connect(stage, ATTACKER).await?);
        let means = &peer.means;
        let payload = withdrawal(&means.member, 900, &[9; 32], now()).encode();
        let stream = head_stream(NOTICE, &document_by(&means.sign, "withdraw", &means.federation, &payload));
        let words = play(Arc::clone(&peer), stream.clone(), every_change(&stream), told).await?;
        Ok::<_, String>((words, stream, peer))
    });
    let (words, stream, peer) = words?;
    // Refusals have entries in the audit log, and nothing else is stored.
    let stored = before.stored_since(stage, VICTIM)?;
    if stored.iter().any(|kind| !matches!(kind.as_str(), "refused" | "read")) {
        return Err(format!("something was stored: {stored:?}"));
    }
    stage.block_on(async {
        let whole = peer.link.ask(&stream).await;
        let believed = one_byte(&peer, NOTICE, &whole.bytes)?;
        peer.link.close();
        if believed.is_some_and(|(byte, _)| byte == 1) {
            Ok(())
        } else {
            Err("the whole notice is not believed".to_owned())
        }
    })?;
    let stored = before.stored_since(stage, VICTIM)?;
    if stored.iter().filter(|kind| *kind == "partner-withdrew").count() != 1 {
        return Err(format!("the whole notice was not stored once: {stored:?}"));
    }
    Ok(report(stage, &words))
}
