//! One request on one QUIC stream: frames in, frames out.

use std::{collections::VecDeque, io, time::Duration};

use accord_protocol::{
    codec::Malformed,
    frame::{self, FrameError, FrameReader, FrameWriter, Limits, LimitsByHead, Piece},
    message::{Head, MessageKind},
};
use quinn::{ReadError, RecvStream, SendStream, WriteError};

/// Bytes read from a stream at once.
const CHUNK: usize = 64 << 10;
/// Longest time in which a peer takes nothing of what is written to it.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why a stream did not carry a whole message.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The bytes are not frames of this message.
    #[error("the peer's bytes are not a message of this kind")]
    Frame(#[from] FrameError),
    /// The head does not decode.
    #[error("the peer's head does not decode")]
    Head(#[from] Malformed),
    /// The head is of another kind.
    #[error("the peer answered with another kind of message")]
    Kind,
    /// Reading failed.
    #[error("the connection broke while reading")]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error("the connection broke while writing")]
    Write(#[from] WriteError),
    /// The connection is gone.
    #[error("the connection is gone")]
    Connection(#[from] quinn::ConnectionError),
    /// The stream ended early.
    #[error("the peer closed the stream before the message was whole")]
    Closed,
    /// The peer let the deadline pass.
    #[error("the peer was too slow")]
    Silent,
    /// Our own source of body bytes failed.
    #[error("the file could not be read to its end")]
    Source(#[source] io::Error),
    /// Our own message does not fit.
    #[error("the message does not fit its frames")]
    DoesNotFit,
}

/// Reads frames from a stream.
#[derive(Debug)]
pub struct Incoming {
    recv: RecvStream,
    reader: FrameReader,
    ready: VecDeque<Piece>,
    ended: bool,
}

impl Incoming {
    /// Starts reading the reply to a call of our own.
    pub fn new(recv: RecvStream, limits: Limits) -> Self {
        Self { recv, reader: FrameReader::new(limits), ready: VecDeque::new(), ended: false }
    }

    /// Starts reading a stream that a peer opened: its head says what may follow, by the socket that it came in on.
    pub fn opened_by_peer(recv: RecvStream, by_head: LimitsByHead) -> Self {
        let reader = FrameReader::by_head(accord_protocol::codec::Cap::Head.bytes(), by_head);
        Self { recv, reader, ready: VecDeque::new(), ended: false }
    }

    /// Bytes of the stream so far.
    pub const fn total(&self) -> u64 {
        self.reader.total()
    }

    /// The next piece; `None` once the message is whole and the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Piece>, StreamError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(chunk) = self.recv.read_chunk(CHUNK, true).await? {
                self.ready.extend(self.reader.push(&chunk.bytes)?);
            } else {
                self.reader.finish()?;
                self.ended = true;
            }
        }
    }

    /// The head. Progress that comes before it goes to `progress`.
    pub async fn head(&mut self, mut progress: impl FnMut(&[u8])) -> Result<Head, StreamError> {
        loop {
            match self.next().await? {
                Some(Piece::Head(bytes)) => return Ok(Head::from_bytes(&bytes)?),
                Some(Piece::Progress(bytes)) => progress(&bytes),
                Some(Piece::Body(_) | Piece::End) | None => return Err(StreamError::Closed),
            }
        }
    }

    /// Everything to the end of the stream: body bytes, in memory. Progress goes to `progress`.
    pub async fn rest(&mut self, mut progress: impl FnMut(&[u8])) -> Result<Vec<u8>, StreamError> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            match piece {
                Piece::Body(bytes) => body.extend(bytes),
                Piece::Progress(bytes) => progress(&bytes),
                Piece::Head(_) | Piece::End => {}
            }
        }
        Ok(body)
    }

    /// Tells the peer that nothing more is read.
    pub fn stop(&mut self) {
        // The stream may have ended by itself, which is as good.
        let _ = self.recv.stop(crate::quic::CLOSE_REFUSED);
    }
}

/// Writes a whole reply, padded to `size` where it is given, and waits until the peer has received it all. A peer that takes
/// nothing for `SILENCE_MAX` (30 s) gets a reset: what is left of the reply is then forgotten.
pub async fn reply(
    send: &mut SendStream,
    kind: MessageKind,
    head: Vec<u8>,
    body: Option<&[u8]>,
    size: Option<usize>,
) -> Result<(), StreamError> {
    let written = write_reply(send, kind, head, body, size).await;
    if written.is_err() {
        give_up(send);
    }
    written
}

// Piece by piece, so that of a reply there is never more in memory than its body and one frame.
async fn write_reply(
    send: &mut SendStream,
    kind: MessageKind,
    head: Vec<u8>,
    body: Option<&[u8]>,
    size: Option<usize>,
) -> Result<(), StreamError> {
    let head = Head::new(kind, head).ok_or(StreamError::DoesNotFit)?.to_bytes()?;
    let bare = frame::message_len(head.len(), body.map(<[u8]>::len));
    let missing = size.map_or(Some(0), |size| size.checked_sub(bare)).ok_or(StreamError::DoesNotFit)?;
    let pads = frame::pads(missing).ok_or(StreamError::DoesNotFit)?;
    write(send, FrameWriter::head(&head)).await?;
    if let Some(body) = body {
        let mut writer = FrameWriter::default();
        for piece in body.chunks(frame::PAYLOAD_MAX) {
            write(send, writer.body(piece)).await?;
        }
        write(send, writer.end()).await?;
    }
    for pad in pads {
        write(send, pad).await?;
    }
    // `finish` fails only on a stream that the peer has already given up.
    send.finish().map_err(|_| StreamError::Closed)?;
    // A peer that stops the stream or leaves has had what it wanted.
    tokio::time::timeout(SILENCE_MAX, send.stopped()).await.map_err(|_| StreamError::Silent)?.map_or(Ok(()), |_| Ok(()))
}

/// Pieces of a body that is made while it is sent; an empty one ends it. A channel that ends without one breaks the stream off.
pub type Pieces = tokio::sync::mpsc::Receiver<Vec<u8>>;

/// Writes a reply whose body comes in pieces.
pub async fn reply_in_pieces(
    send: &mut SendStream,
    kind: MessageKind,
    head: Vec<u8>,
    mut pieces: Pieces,
) -> Result<(), StreamError> {
    let writing = async {
        let head = Head::new(kind, head).ok_or(StreamError::DoesNotFit)?.to_bytes()?;
        write(send, FrameWriter::head(&head)).await?;
        let mut writer = FrameWriter::default();
        loop {
            let piece = pieces.recv().await.ok_or(StreamError::Closed)?;
            if piece.is_empty() {
                break;
            }
            write(send, writer.body(&piece)).await?;
        }
        write(send, writer.end()).await?;
        send.finish().map_err(|_| StreamError::Closed)?;
        tokio::time::timeout(SILENCE_MAX, send.stopped())
            .await
            .map_err(|_| StreamError::Silent)?
            .map_or(Ok(()), |_| Ok(()))
    };
    let written = writing.await;
    if written.is_err() {
        give_up(send);
    }
    written
}

async fn write(send: &mut SendStream, bytes: Vec<u8>) -> Result<(), StreamError> {
    tokio::time::timeout(SILENCE_MAX, send.write_chunk(bytes.into())).await.map_err(|_| StreamError::Silent)??;
    Ok(())
}

/// Ends a stream of ours so that the peer sees a fault: never a short success.
pub fn give_up(send: &mut SendStream) {
    // The stream may have ended by itself, which is as good.
    let _ = send.reset(crate::quic::CLOSE_REFUSED);
}

/// Writes a progress message.
pub async fn progress(send: &mut SendStream, text: &str) -> Result<(), StreamError> {
    send.write_all(&FrameWriter::progress(text.as_bytes())).await.map_err(Into::into)
}

/// What came back on a stream.
#[derive(Debug)]
pub struct Reply {
    /// The head's payload.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// Stream bytes, pads included.
    pub stream_bytes: u64,
}

/// Where the body of a call comes from: pieces of at most 64 KiB until an empty one.
pub trait Source {
    /// The next piece.
    fn next_piece(&mut self) -> io::Result<Vec<u8>>;
}

/// No body.
#[derive(Debug, Clone, Copy)]
pub struct NoBody;

impl Source for NoBody {
    fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// A call: what is sent, and what may come back.
#[derive(Debug)]
pub struct Call {
    kind: MessageKind,
    payload: Vec<u8>,
    size: Option<usize>,
    reply: Limits,
}

impl Call {
    /// A call of a kind, not padded, with the limits of the kind for its reply.
    pub const fn new(kind: MessageKind, payload: Vec<u8>) -> Self {
        Self { kind, payload, size: None, reply: kind.limits_down() }
    }

    /// Padded to exactly `size` bytes; its reply has at most `reply_max`.
    #[must_use]
    pub fn padded(self, size: Option<usize>, reply_max: u64) -> Self {
        let body = self.reply.body.map(|body| body.min(reply_max));
        Self { size, reply: Limits { body, spare: self.reply.spare.min(reply_max), ..self.reply }, ..self }
    }
}

/// What is heard before a reply is whole.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// A progress message.
    Progress(&'a [u8]),
    /// The payload of the reply's head.
    Head(&'a [u8]),
}

/// Opens a stream, sends a call, waits for the whole reply. `heard` gets what comes before that.
pub async fn call(
    connection: &quinn::Connection,
    call: Call,
    source: impl Source,
    mut heard: impl FnMut(Heard<'_>),
) -> Result<Reply, StreamError> {
    let (mut send, recv) = connection.open_bi().await?;
    let mut incoming = Incoming::new(recv, call.reply);
    let kind = call.kind;
    if let Err(error) = send_call(&mut send, call, source).await {
        give_up(&mut send);
        return Err(error);
    }
    let replied = take_reply(&mut incoming, kind, &mut heard).await;
    if replied.is_err() {
        incoming.stop();
    }
    replied
}

/// Opens a stream, sends a call without a body, and hands what comes back on as it comes: first the payload of the head, then the body in
/// pieces. What was handed on is whole only if this returns without an error.
pub async fn download(
    connection: &quinn::Connection,
    call: Call,
    mut taken: impl FnMut(Downloaded<'_>) -> io::Result<()>,
) -> Result<(), StreamError> {
    let (mut send, recv) = connection.open_bi().await?;
    let mut incoming = Incoming::new(recv, call.reply);
    let kind = call.kind;
    send_call(&mut send, call, NoBody).await?;
    let took = async {
        let head = incoming.head(|_| {}).await?;
        if head.kind != kind {
            return Err(StreamError::Kind);
        }
        taken(Downloaded::Head(head.payload.as_slice())).map_err(StreamError::Source)?;
        while let Some(piece) =
            tokio::time::timeout(SILENCE_MAX, incoming.next()).await.map_err(|_| StreamError::Silent)??
        {
            if let Piece::Body(bytes) = piece {
                taken(Downloaded::Body(&bytes)).map_err(StreamError::Source)?;
            }
        }
        Ok(())
    };
    let took = took.await;
    if took.is_err() {
        incoming.stop();
    }
    took
}

/// A part of a download.
#[derive(Debug, Clone, Copy)]
pub enum Downloaded<'a> {
    /// The payload of its head.
    Head(&'a [u8]),
    /// Some bytes of its body.
    Body(&'a [u8]),
}

async fn send_call(send: &mut SendStream, call: Call, mut source: impl Source) -> Result<(), StreamError> {
    let head = Head::new(call.kind, call.payload).ok_or(StreamError::DoesNotFit)?.to_bytes()?;
    if call.kind.body_up().is_none() {
        let bytes = frame::message(&head, None, call.size).ok_or(StreamError::DoesNotFit)?;
        send.write_chunk(bytes.into()).await?;
        return send.finish().map_err(|_| StreamError::Closed);
    }
    let sending = async {
        send.write_chunk(FrameWriter::head(&head).into()).await?;
        let mut writer = FrameWriter::default();
        loop {
            let piece = source.next_piece().map_err(StreamError::Source)?;
            if piece.is_empty() {
                break;
            }
            send.write_chunk(writer.body(&piece).into()).await?;
        }
        send.write_chunk(writer.end().into()).await?;
        send.finish().map_err(|_| StreamError::Closed)
    };
    match sending.await {
        // The node may refuse an upload before it is whole; its reply says why.
        Err(StreamError::Write(WriteError::Stopped(_))) => Ok(()),
        done => done,
    }
}

async fn take_reply(
    incoming: &mut Incoming,
    kind: MessageKind,
    told: &mut impl FnMut(Heard<'_>),
) -> Result<Reply, StreamError> {
    let head = incoming.head(|bytes| told(Heard::Progress(bytes))).await?;
    if head.kind != kind {
        return Err(StreamError::Kind);
    }
    told(Heard::Head(head.payload.as_slice()));
    let body = incoming.rest(|bytes| told(Heard::Progress(bytes))).await?;
    Ok(Reply { head: head.payload.as_slice().to_vec(), body, stream_bytes: incoming.total() })
}
