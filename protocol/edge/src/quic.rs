//! QUIC endpoints with every limit set (`robustness.md` 6.0).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use accord_protocol::{
    key::{PublicKey, SigningKey},
    signer::Signer,
};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    crypto::{
        CryptoError, HmacKey,
        rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
    },
};
use ring::hmac;

use crate::tls::{self, KeyExchange, TlsError};

/// The one version of QUIC that is spoken (RFC 9000).
const QUIC_V1: u32 = 1;
/// Streams that one connection may have open at once.
pub const STREAMS_MAX: u32 = 8;
/// Bytes in flight on one stream.
const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes in flight on one connection, each way.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Silence after which a connection is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a quiet connection is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Handshakes waiting to be looked at, at most.
const INCOMING_MAX: usize = 256;
/// Bytes buffered for them in all.
const INCOMING_BYTES_MAX: u64 = 4 << 20;

/// The one close code of every refusal: it does not say why.
pub const CLOSE_REFUSED: VarInt = VarInt::from_u32(1);
/// Close code of an orderly end.
pub const CLOSE_DONE: VarInt = VarInt::from_u32(0);

/// Why there is no endpoint or no connection.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The provider lacks QUIC's initial cipher suite.
    #[error("the TLS provider lacks QUIC's initial cipher suite")]
    Suite(#[from] NoInitialCipherSuite),
    /// The socket.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Connecting was not even tried.
    #[error("cannot connect to {address}")]
    Start {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: quinn::ConnectError,
    },
    /// The handshake failed.
    #[error("no connection to {address}")]
    Handshake {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: quinn::ConnectionError,
    },
    /// The peer did not answer in time.
    #[error("no answer from {address} within {} s", within.as_secs())]
    TimedOut {
        /// Where.
        address: SocketAddr,
        /// How long was waited.
        within: Duration,
    },
}

fn transport(streams_in: u32) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(streams_in))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(u64::from(CONNECTION_WINDOW))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(config)
}

/// A listening endpoint. It opens no connections of its own; whoever connects may have proved any key, or none: see [`peer_key`].
#[derive(Debug, Clone)]
pub struct Listener {
    /// The endpoint.
    pub endpoint: Endpoint,
    config: ServerConfig,
    exchange: KeyExchange,
}

/// Listens on an address, and proves `key` to whoever connects.
pub fn listen(address: SocketAddr, key: Arc<SigningKey>, exchange: KeyExchange) -> Result<Listener, QuicError> {
    let reset_key = ResetKey::of(&key);
    let mut config = ServerConfig::with_crypto(server_crypto(key, exchange)?);
    config
        .transport_config(transport(STREAMS_MAX))
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX);
    let bind = || {
        let socket = std::net::UdpSocket::bind(address)?;
        let runtime = quinn::default_runtime().ok_or_else(|| std::io::Error::other("no runtime"))?;
        let mut endpoint = EndpointConfig::new(Arc::new(reset_key));
        endpoint.supported_versions(vec![QUIC_V1]);
        Endpoint::new(endpoint, Some(config.clone()), socket, runtime)
    };
    let endpoint = bind().map_err(|source| QuicError::Bind { address, source })?;
    Ok(Listener { endpoint, config, exchange })
}

fn server_crypto(key: Arc<SigningKey>, exchange: KeyExchange) -> Result<Arc<QuicServerConfig>, QuicError> {
    Ok(Arc::new(QuicServerConfig::try_from(tls::server(key, exchange)?)?))
}

impl Listener {
    /// Proves another key in handshakes from now on. Connections that are there live on, and so do handshakes that have begun: the
    /// addresses that they have proved stay proved.
    pub fn prove(&self, key: Arc<SigningKey>) -> Result<(), QuicError> {
        let mut config = self.config.clone();
        config.crypto = server_crypto(key, self.exchange)?;
        self.endpoint.set_server_config(Some(config));
        Ok(())
    }
}

/// Key of stateless resets (RFC 9000, 10.3): the same after a restart, so that a peer whose connection died with the old process
/// is told at its next packet instead of waiting for the idle timeout.
struct ResetKey(hmac::Key);

impl ResetKey {
    fn of(key: &SigningKey) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key.sign_raw(b"accord/1 stateless-reset-key").0))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = hmac::sign(&self.0, data);
        let length = signature_out.len().min(tag.as_ref().len());
        if let (Some(out), Some(tag)) = (signature_out.get_mut(..length), tag.as_ref().get(..length)) {
            out.copy_from_slice(tag);
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

/// An endpoint that only connects.
pub fn outgoing(address: SocketAddr) -> Result<Endpoint, QuicError> {
    Endpoint::client(address).map_err(|source| QuicError::Bind { address, source })
}

/// Connects to the holder of one of `expected`. Over QUIC the peer may still refuse our key afterwards: only its first answer
/// means "connected".
pub async fn connect<K: Signer + ?Sized + 'static>(
    endpoint: &Endpoint,
    address: SocketAddr,
    key: Arc<K>,
    expected: Vec<PublicKey>,
    exchange: KeyExchange,
    within: Duration,
) -> Result<Connection, QuicError> {
    let crypto = QuicClientConfig::try_from(tls::client(key, expected, exchange)?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(0));
    // The name is irrelevant: the pinned key decides.
    let connecting =
        endpoint.connect_with(config, address, "accord").map_err(|source| QuicError::Start { address, source })?;
    tokio::time::timeout(within, connecting)
        .await
        .map_err(|_| QuicError::TimedOut { address, within })?
        .map_err(|source| QuicError::Handshake { address, source })
}

/// The key with which the peer of an established connection has proved itself.
pub fn peer_key(connection: &Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?;
    let certificates = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
    certificates.first().and_then(|spki| tls::from_spki(spki))
}

/// 32 bytes that only the two ends of this very connection know (RFC 5705).
pub fn channel_binding(connection: &Connection) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    connection.export_keying_material(&mut out, accord_protocol::request::CHANNEL_BINDING_LABEL, b"").ok()?;
    Some(out)
}
