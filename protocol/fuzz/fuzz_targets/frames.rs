//! Frames: any split of a stream gives the same pieces, each as soon as it is whole, and never more than one frame is held.
#![no_main]

use accord_fuzz::{guard, input::Input};
use accord_protocol::{
    codec::Cap,
    frame::{self, FrameReader, HEADER_LEN, Limits, LimitsByHead, PAYLOAD_MAX, Piece},
    id::Hash,
    message::{Head, MessageKind},
};

accord_fuzz::target!(frames);

/// Largest stream that an input builds: above the 1 MiB that most kinds may carry.
const STREAM_MAX: usize = 1_200_000;

/// The first byte chooses: read a stream that the input describes, or write a message and read it back.
fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 { read(&mut input) } else { write(&mut input) }
}

/// Who reads: with limits from the start, or from the head on.
enum Side {
    Known(Limits),
    ByHead(LimitsByHead),
}

impl Side {
    fn new(input: &mut Input<'_>) -> Self {
        let kind = |input: &mut Input<'_>| input.one_of(MessageKind::ALL).unwrap();
        match input.below(5) {
            0 => Self::ByHead(Head::limits_for_members),
            1 => Self::ByHead(Head::limits_for_people),
            2 => Self::Known(kind(input).limits_up()),
            3 => Self::Known(kind(input).limits_down()),
            // Limits of no kind, small enough to be met by small inputs.
            _ => {
                let switches = input.byte();
                let body = (switches & 1 == 1).then(|| u64::from(input.word()));
                let (head, spare) = (input.word().into(), input.word().into());
                Self::Known(Limits { head, body, progress: switches & 2 == 2, spare })
            }
        }
    }

    fn reader(&self) -> FrameReader {
        match self {
            Self::Known(limits) => FrameReader::new(*limits),
            Self::ByHead(by_head) => FrameReader::by_head(Cap::Head.bytes(), *by_head),
        }
    }
}

fn read(input: &mut Input<'_>) {
    let side = Side::new(input);
    let sizes: Vec<usize> = (0..input.below(8)).map(|_| input.word().into()).collect();
    let stream = stream(input);
    let expected = Expected::of(&stream, &side);
    check(&side, &stream, &expected, &[stream.len()]);
    check(&side, &stream, &expected, &sizes);
    // Byte by byte too, where that is not too long.
    if stream.len() <= 4096 {
        check(&side, &stream, &expected, &[1]);
    }
}

/// Feeds the stream in chunks of these sizes, over and over, and compares with what is expected at every step.
fn check(side: &Side, stream: &[u8], expected: &Expected, sizes: &[usize]) {
    let before = guard::live();
    let mut reader = side.reader();
    let mut pieces = expected.pieces.iter().peekable();
    let mut sizes = sizes.iter().cycle();
    let mut fed = 0;
    while fed < stream.len() {
        // Not too many chunks, however long the stream.
        let chunk = sizes.next().map_or(1, |size| *size).max(stream.len() / 10_000).clamp(1, stream.len() - fed);
        let pushed = reader.push(&stream[fed..fed + chunk]);
        fed += chunk;
        assert_eq!(reader.total(), fed as u64);
        if expected.fails_at.is_some_and(|at| at <= fed) {
            assert!(pushed.is_err(), "a stream that breaks a rule at {:?} is read on at {fed}", expected.fails_at);
            return;
        }
        for piece in pushed.expect("a stream in order") {
            let (end, expected) = pieces.next().expect("a piece that is not in the stream");
            assert!(*end <= fed && piece == *expected, "another piece, or before it was whole");
        }
        assert!(pieces.peek().is_none_or(|(end, _)| *end > fed), "a whole piece is kept back at {fed}");
        // A vector that grows by doubling holds at most twice what is in it.
        let held = guard::live() - before;
        assert!(held <= 2 * (HEADER_LEN + PAYLOAD_MAX), "{held} bytes are held between pieces");
    }
    assert_eq!(reader.finish().is_ok(), expected.whole);
}

/// What a reader must make of a stream, by a second reading of the rules over the stream as a whole.
struct Expected {
    /// The pieces, each with the place where it is whole.
    pieces: Vec<(usize, Piece)>,
    /// From where on the stream must have been refused.
    fails_at: Option<usize>,
    /// Whether the message is complete where the stream ends.
    whole: bool,
}

/// How far a message has come: `progress* head (body|progress)* end? pad*`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Behind,
}

impl Expected {
    fn of(stream: &[u8], side: &Side) -> Self {
        let mut limits = match side {
            Side::Known(limits) => *limits,
            Side::ByHead(_) => Limits { head: Cap::Head.bytes(), body: None, progress: false, spare: 0 },
        };
        let mut found = Self { pieces: Vec::new(), fails_at: None, whole: false };
        let (mut place, mut body, mut spare, mut at) = (Place::Before, Vec::new(), 0, 0);
        while let Some((header, rest)) = stream[at..].split_first_chunk::<HEADER_LEN>() {
            let [length @ .., kind] = *header;
            let length = u32::from_be_bytes(length) as usize;
            let needs_end = limits.body.is_some();
            let allowed = length <= PAYLOAD_MAX
                && match kind {
                    1 => place == Place::Before && (1..=limits.head).contains(&length),
                    2 => place == Place::Inside && limits.body.is_some_and(|most| (body.len() + length) as u64 <= most),
                    3 => place != Place::Behind && limits.progress,
                    4 => place == Place::Inside && needs_end && length == 40,
                    5 => place == Place::Behind || place == Place::Inside && !needs_end,
                    _ => false,
                };
            // What brings the message no further counts whole, from its header on.
            let idle = kind == 3 || kind == 5 || kind == 2 && length == 0;
            spare += if idle { (HEADER_LEN + length) as u64 } else { 0 };
            if !allowed || idle && spare > limits.spare {
                found.fails_at = Some(at + HEADER_LEN);
                return found;
            }
            let Some(payload) = rest.get(..length) else { break };
            at += HEADER_LEN + length;
            let mut piece = None;
            let holds = match kind {
                1 => {
                    place = Place::Inside;
                    piece = Some(Piece::Head(payload.to_vec()));
                    match side {
                        Side::Known(_) => true,
                        Side::ByHead(by_head) => by_head(payload).inspect(|by_head| limits = *by_head).is_some(),
                    }
                }
                2 => {
                    body.extend_from_slice(payload);
                    piece = Some(Piece::Body(payload.to_vec()));
                    true
                }
                3 => {
                    piece = Some(Piece::Progress(payload.to_vec()));
                    true
                }
                4 => {
                    place = Place::Behind;
                    piece = Some(Piece::End);
                    payload == end_of(&body)
                }
                _ => {
                    place = Place::Behind;
                    payload.iter().all(|byte| *byte == 0)
                }
            };
            if !holds {
                found.fails_at = Some(at);
                return found;
            }
            found.pieces.extend(piece.map(|piece| (at, piece)));
        }
        found.whole = at == stream.len() && (place == Place::Behind || place == Place::Inside && limits.body.is_none());
        found
    }
}

fn end_of(body: &[u8]) -> Vec<u8> {
    [(body.len() as u64).to_be_bytes().as_slice(), &Hash::of(body).0].concat()
}

/// A stream by the input's description: frames that are right, frames that are not, and raw bytes.
fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let (mut stream, mut body) = (Vec::new(), Vec::new());
    while !input.is_empty() && stream.len() < STREAM_MAX {
        match input.below(8) {
            0 => stream.extend_from_slice(input.string()),
            1 => {
                let length = u32::from(input.word()) + u32::from(input.byte());
                let kind = input.byte();
                let fill = input.byte();
                push(&mut stream, kind, length, &vec![fill; length as usize]);
            }
            2 => {
                let kind = input.one_of(MessageKind::ALL).unwrap();
                let head = Head::new(kind, input.string().to_vec()).unwrap().to_bytes().unwrap();
                push(&mut stream, 1, 0, &head);
            }
            3 => {
                let piece = input.string();
                body.extend_from_slice(piece);
                push(&mut stream, 2, 0, piece);
            }
            4 => push(&mut stream, 4, 0, &end_of(&body)),
            5 => push(&mut stream, 5, 0, &vec![0; input.word().into()]),
            6 => {
                let length = input.word();
                for _ in 0..input.below(20) {
                    body.resize(body.len() + usize::from(length), 0);
                    push(&mut stream, 2, 0, &vec![0; length.into()]);
                }
            }
            _ => push(&mut stream, 3, 0, input.string()),
        }
    }
    stream
}

// A frame; with a length other than 0 the header claims that one.
fn push(stream: &mut Vec<u8>, kind: u8, claimed: u32, payload: &[u8]) {
    let length = if claimed == 0 { u32::try_from(payload.len()).unwrap() } else { claimed };
    stream.extend_from_slice(&length.to_be_bytes());
    stream.push(kind);
    stream.extend_from_slice(payload);
}

/// What is written is read back, in exactly the size that was asked for.
fn write(input: &mut Input<'_>) {
    let switches = input.byte();
    let repeated = |input: &mut Input<'_>, times: usize| input.string().repeat(times);
    let times = input.below(300);
    let head = [b"h".as_slice(), &repeated(input, times)].concat();
    let times = input.below(1024);
    let body = (switches & 1 == 1).then(|| repeated(input, times));
    let frames_of_body = |body: &Vec<u8>| body.len() + body.len().div_ceil(PAYLOAD_MAX) * HEADER_LEN + HEADER_LEN + 40;
    let needed = HEADER_LEN + head.len() + body.as_ref().map_or(0, frames_of_body);
    let more = input.word();
    let size = match switches & 6 {
        0 => None,
        2 => Some(needed + usize::from(more)),
        4 => Some(usize::from(more)),
        _ => Some(needed + usize::from(more) * 16),
    };
    let written = frame::message(&head, body.as_deref(), size);
    let gap = size.map(|size| size.checked_sub(needed));
    let fits = head.len() <= PAYLOAD_MAX && gap.is_none_or(|gap| gap.is_some_and(|gap| gap == 0 || gap >= HEADER_LEN));
    assert_eq!(written.is_some(), fits, "{} bytes of head, {needed} in all, for {size:?}", head.len());
    let Some(bytes) = written else { return };
    assert_eq!(bytes.len(), size.unwrap_or(needed));
    // The smallest limits that it fits: of pads exactly what was missing.
    let limits = Limits {
        head: head.len(),
        body: body.as_ref().map(|body| body.len() as u64),
        progress: false,
        spare: (bytes.len() - needed) as u64,
    };
    let mut reader = FrameReader::new(limits);
    let (mut read_head, mut read_body, mut ended) = (Vec::new(), Vec::new(), false);
    let chunk = usize::from(input.word()).max(1);
    for piece in bytes.chunks(chunk).flat_map(|chunk| reader.push(chunk).unwrap()) {
        match piece {
            Piece::Head(bytes) => read_head = bytes,
            Piece::Body(bytes) => read_body.extend(bytes),
            Piece::End => ended = true,
            Piece::Progress(_) => panic!("nobody wrote progress"),
        }
    }
    reader.finish().unwrap();
    assert_eq!((read_head, read_body, ended), (head, body.clone().unwrap_or_default(), body.is_some()));
}
