//! One request on one QUIC stream: frames in, frames out.

use std::{collections::VecDeque, io};

use accord_protocol::{
    codec::Malformed,
    frame::{self, FrameError, FrameReader, FrameWriter, Limits, LimitsByHead, Piece},
    message::{Head, MessageKind},
};
use quinn::{ReadError, RecvStream, SendStream, WriteError};

/// Bytes read from a stream at once.
const CHUNK: usize = 64 << 10;

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

/// Writes a whole reply.
pub async fn reply(
    send: &mut SendStream,
    kind: MessageKind,
    head: Vec<u8>,
    body: Option<&[u8]>,
    size: Option<usize>,
) -> Result<(), StreamError> {
    let head = Head::new(kind, head).ok_or(StreamError::DoesNotFit)?.to_bytes()?;
    let bytes = frame::message(&head, body, size).ok_or(StreamError::DoesNotFit)?;
    send.write_chunk(bytes.into()).await?;
    // `finish` fails only on a stream that the peer has already given up.
    send.finish().map_err(|_| StreamError::Closed)
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

/// Opens a stream, sends a call, waits for the whole reply.
pub async fn call(
    connection: &quinn::Connection,
    kind: MessageKind,
    payload: Vec<u8>,
    mut source: impl Source,
    size: Option<usize>,
    mut progress: impl FnMut(&[u8]),
) -> Result<Reply, StreamError> {
    let (mut send, recv) = connection.open_bi().await?;
    let mut incoming = Incoming::new(recv, kind.limits_down());
    let head = Head::new(kind, payload).ok_or(StreamError::DoesNotFit)?.to_bytes()?;
    if kind.body_up().is_some() {
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
            Err(StreamError::Write(WriteError::Stopped(_))) | Ok(()) => {}
            Err(error) => {
                // Not a short success: the receiver sees a reset, never an end.
                let _ = send.reset(crate::quic::CLOSE_REFUSED);
                return Err(error);
            }
        }
    } else {
        let bytes = frame::message(&head, None, size).ok_or(StreamError::DoesNotFit)?;
        send.write_chunk(bytes.into()).await?;
        send.finish().map_err(|_| StreamError::Closed)?;
    }
    let head = incoming.head(&mut progress).await?;
    if head.kind != kind {
        return Err(StreamError::Kind);
    }
    let body = incoming.rest(progress).await?;
    Ok(Reply { head: head.payload.as_slice().to_vec(), body, stream_bytes: incoming.total() })
}
