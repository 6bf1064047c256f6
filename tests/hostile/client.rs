//! A QUIC client of its own, with every knob, and what comes back on its streams.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use accord_edge::clock::Stopwatch;
use quinn::{
    Connection, ConnectionError, Endpoint, IdleTimeout, ReadError, RecvStream, SendStream, TransportConfig, VarInt,
    WriteError, crypto::rustls::QuicClientConfig,
};

use crate::{
    stage::{Key, fresh_network},
    tls::{Hello, Identity, Shown},
};

/// How long a client waits for a handshake, and for an answer where no other time is given.
pub(crate) const WITHIN: Duration = Duration::from_secs(8);

/// A connection to be made.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    /// What is said in the handshake.
    pub(crate) hello: Hello,
    /// The address it comes from.
    pub(crate) from: SocketAddr,
    /// The server's name; the node must not care.
    pub(crate) name: String,
    /// Transport parameters and windows.
    pub(crate) transport: Arc<TransportConfig>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer's application closed it, with this code and reason.
    Closed(u64, Vec<u8>),
    /// The peer's QUIC or TLS closed it: `0x1xx` is a TLS alert.
    Transport(u64, Vec<u8>),
    /// The peer knows nothing of it any more.
    Reset,
    /// The peer was silent.
    Silent,
    /// It ended at our own side.
    Ours(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code, reason) => write!(f, "closed with code {code}, {} bytes of reason", reason.len()),
            Self::Transport(code, _) => write!(f, "closed by the transport, {code:#x}"),
            Self::Reset => f.write_str("reset without state"),
            Self::Silent => f.write_str("silence"),
            Self::Ours(why) => write!(f, "ended here: {why}"),
        }
    }
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::Closed(close.error_code.into_inner(), close.reason.to_vec())
            }
            ConnectionError::ConnectionClosed(close) => Self::Transport(close.error_code.into(), close.reason.to_vec()),
            ConnectionError::Reset => Self::Reset,
            ConnectionError::TimedOut => Self::Silent,
            other => Self::Ours(other.to_string()),
        }
    }
}

/// Transport settings of a well-behaved client: no streams from the server, alive for as long as it is held.
pub(crate) fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(IdleTimeout::try_from(Duration::from_mins(2)).ok())
        .keep_alive_interval(Some(Duration::from_secs(3)));
    config
}

impl Dial {
    /// Says a handshake from a network of its own.
    pub(crate) fn saying(hello: Hello) -> Self {
        Self {
            hello,
            from: SocketAddr::new(fresh_network(), 0),
            name: "accord".to_owned(),
            transport: Arc::new(transport()),
        }
    }

    /// In order, with this key.
    pub(crate) fn of(key: &Key) -> Self {
        Self::saying(Hello::with(Some(Identity::of(key))))
    }

    /// Comes from another address, which must be this machine's.
    pub(crate) fn from(self, address: impl Into<std::net::IpAddr>) -> Self {
        Self { from: SocketAddr::new(address.into(), 0), ..self }
    }

    /// Connects. In TLS 1.3 this may succeed before the server has looked at our key: only its first answer means
    /// "connected"; [`Self::refusal`] waits for it.
    pub(crate) async fn connect(&self, to: SocketAddr) -> Result<Link, End> {
        let endpoint = Endpoint::client(self.from).unwrap();
        self.connect_over(&endpoint, to).await
    }

    /// Connects over a socket that exists already.
    pub(crate) async fn connect_over(&self, endpoint: &Endpoint, to: SocketAddr) -> Result<Link, End> {
        let (config, shown) = self.configure();
        let connecting = endpoint.connect_with(config, to, &self.name).map_err(|error| End::Ours(error.to_string()))?;
        let connection = tokio::time::timeout(WITHIN, connecting).await.map_err(|_| End::Silent)??;
        Ok(Link { endpoint: endpoint.clone(), connection, shown })
    }

    /// What quinn needs to connect, and where the server's key will be.
    pub(crate) fn configure(&self) -> (quinn::ClientConfig, Arc<Shown>) {
        let (tls, shown) = self.hello.config();
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::clone(&self.transport));
        (config, shown)
    }

    /// How the server refuses; an error if it does not, or answers even one byte.
    pub(crate) async fn refusal(&self, to: SocketAddr) -> Result<End, String> {
        let link = match self.connect(to).await {
            Err(end) => return Ok(end),
            Ok(link) => link,
        };
        let came = link.ask(&crate::envelope::fetch_edition(1)).await;
        match (came.bytes.len(), came.end) {
            (0, StreamEnd::Connection(end)) => Ok(end),
            (count, end) => Err(format!("the server took the connection and sent {count} bytes ({end})")),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// The socket.
    pub(crate) endpoint: Endpoint,
    /// The connection.
    pub(crate) connection: Connection,
    shown: Arc<Shown>,
}

impl Link {
    /// The raw public key that the server has shown.
    pub(crate) fn server_key(&self) -> Vec<u8> {
        self.shown.key().unwrap_or_default()
    }

    /// Opens a stream; an error if the connection ends first.
    pub(crate) async fn open(&self) -> Result<Stream, End> {
        let opened = tokio::time::timeout(WITHIN, self.connection.open_bi()).await.map_err(|_| End::Silent)?;
        let (send, recv) = opened?;
        Ok(Stream { send, recv, opened: Stopwatch::start() })
    }

    /// Sends bytes and FIN on a stream of their own and reads all that comes.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Came {
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(end) => return Came { bytes: Vec::new(), end: StreamEnd::Connection(end), ms: 0 },
        };
        // A server that stops reading still may answer; what it answers is what counts.
        let _ = stream.send.write_all(bytes).await;
        let _ = stream.send.finish();
        stream.read_all(WITHIN).await
    }

    /// How the connection ends within a time; nothing if it does not.
    pub(crate) async fn end_within(&self, within: Duration) -> Option<End> {
        tokio::time::timeout(within, self.connection.closed()).await.ok().map(End::from)
    }

    /// 32 bytes that only the two ends of this connection know.
    pub(crate) fn channel_binding(&self) -> [u8; 32] {
        let mut out = [0; 32];
        self.connection.export_keying_material(&mut out, b"EXPORTER-accord/1-request", b"").unwrap();
        out
    }

    /// Ends it in order.
    pub(crate) fn close(&self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// How the server's side of a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// In order.
    Fin,
    /// Reset with this code.
    Reset(u64),
    /// With its connection.
    Connection(End),
    /// Not at all, while it was waited for.
    Silent,
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fin => f.write_str("FIN"),
            Self::Reset(code) => write!(f, "reset with code {code}"),
            Self::Connection(end) => write!(f, "connection {end}"),
            Self::Silent => f.write_str("no end"),
        }
    }
}

/// Everything that came on a stream.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The end.
    pub(crate) end: StreamEnd,
    /// Milliseconds from the opening of the stream to its end.
    pub(crate) ms: u64,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// To the server.
    pub(crate) send: SendStream,
    /// From the server.
    pub(crate) recv: RecvStream,
    opened: Stopwatch,
}

impl Stream {
    /// Milliseconds since it was opened.
    pub(crate) fn age_ms(&self) -> u64 {
        self.opened.ms()
    }

    /// Writes bytes; the server's code if it has told us to stop.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StreamEnd> {
        self.send.write_all(bytes).await.map_err(|error| match error {
            WriteError::Stopped(code) => StreamEnd::Reset(code.into_inner()),
            WriteError::ConnectionLost(error) => StreamEnd::Connection(error.into()),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => StreamEnd::Silent,
        })
    }

    /// Ends our side in order.
    pub(crate) fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// Reads until the server's side ends, for at most a time.
    pub(crate) async fn read_all(&mut self, within: Duration) -> Came {
        let mut bytes = Vec::new();
        let reading = async {
            loop {
                match self.recv.read_chunk(1 << 16, true).await {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.bytes),
                    Ok(None) => return StreamEnd::Fin,
                    Err(ReadError::Reset(code)) => return StreamEnd::Reset(code.into_inner()),
                    Err(ReadError::ConnectionLost(error)) => return StreamEnd::Connection(error.into()),
                    Err(_) => return StreamEnd::Silent,
                }
            }
        };
        let end = tokio::time::timeout(within, reading).await.unwrap_or(StreamEnd::Silent);
        Came { bytes, end, ms: self.opened.ms() }
    }

    /// The code with which the server stops our side within a time; nothing if it does not.
    pub(crate) async fn stopped_within(&mut self, within: Duration) -> Option<u64> {
        match tokio::time::timeout(within, self.send.stopped()).await {
            Ok(Ok(Some(code))) => Some(code.into_inner()),
            _ => None,
        }
    }
}
