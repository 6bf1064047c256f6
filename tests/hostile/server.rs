//! A hostile member's server: the member's address and its true TLS key, and behind them whatever a case plays.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quinn::{
    Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use crate::{
    stage::{HONEST, Stage},
    tls::Identity,
    wire::{
        fields::Reader,
        messages::{Body, Envelope, FETCH, REQUEST},
        sha256,
    },
};

/// How long the address may take to be free.
const FREE_WITHIN: Duration = Duration::from_secs(5);

/// What the asking node wants.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// An answer.
    Answer(Box<Question>),
    /// The header of an edition, by its number.
    Header(u64),
}

/// A question as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The officer's body.
    pub(crate) body: Body,
    /// Its hash.
    pub(crate) hash: [u8; 32],
    /// How often the same body has come before.
    pub(crate) before: usize,
}

/// One step of what is played on a stream.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Bytes.
    Send(Vec<u8>),
    /// Bytes one by one, with a time between them.
    Drip(Vec<u8>, Duration),
    /// The same bytes until the peer stops us.
    ForEver(Vec<u8>),
    /// The end of the stream.
    Fin,
    /// A reset of the stream.
    Reset,
    /// The end of the connection.
    Close,
}

/// Decides what is played.
pub(crate) type Script = Arc<dyn Fn(&Wanted) -> Vec<Step> + Send + Sync>;

/// How the server treats what comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It reads and answers.
    Answers,
    /// It takes connections and no streams.
    TakesNoStream,
    /// It takes streams and reads nothing of them, with a window of a few bytes.
    ReadsNothing,
    /// It closes each connection as soon as it is made.
    Closes,
}

/// The server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: Endpoint,
    address: SocketAddr,
    /// Requests and fetches that came.
    pub(crate) calls: Arc<AtomicUsize>,
}

struct Playing {
    script: Script,
    manners: Manners,
    calls: Arc<AtomicUsize>,
    seen: Mutex<BTreeMap<[u8; 32], usize>>,
}

impl Server {
    /// Takes the place of the honest member's node, which must be stopped.
    pub(crate) fn raise(stage: &Stage, manners: Manners, script: Script) -> Self {
        let address = stage.address(HONEST);
        let _inside = stage.runtime().enter();
        let socket = UdpSocket::bind(address).expect("the stopped node's address is free");
        let runtime = quinn::default_runtime().expect("a runtime");
        let config = config(stage, manners);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime).expect("an endpoint");
        let calls = Arc::new(AtomicUsize::new(0));
        let playing = Arc::new(Playing { script, manners, calls: Arc::clone(&calls), seen: Mutex::default() });
        let accepting = endpoint.clone();
        stage.runtime().spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let playing = Arc::clone(&playing);
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        playing.serve(connection).await;
                    }
                });
            }
        });
        Self { endpoint, address, calls }
    }

    /// Gives the address back: the member's own node can be started again.
    pub(crate) fn leave(self, stage: &Stage) {
        self.endpoint.close(VarInt::from_u32(0), b"");
        let Self { endpoint, address, .. } = self;
        stage.block_on(endpoint.wait_idle());
        drop(endpoint);
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while UdpSocket::bind(address).is_err() && waited < FREE_WITHIN {
            std::thread::sleep(step);
            waited += step;
        }
    }
}

fn config(stage: &Stage, manners: Manners) -> ServerConfig {
    let identity = Identity::of(&stage.keys(HONEST).tls);
    let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = Arc::new(CertifiedKey::new(chain, Arc::new(identity)));
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    tls.alpn_protocols = vec![b"accord/1".to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    if manners == Manners::ReadsNothing {
        transport.stream_receive_window(VarInt::from_u32(64));
    }
    config.transport_config(Arc::new(transport));
    config
}

/// Takes any client: who asks is not what is played here.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl Playing {
    async fn serve(self: Arc<Self>, connection: Connection) {
        match self.manners {
            Manners::Closes => {
                connection.close(VarInt::from_u32(1), b"");
                return;
            }
            Manners::TakesNoStream => {
                connection.closed().await;
                return;
            }
            Manners::Answers | Manners::ReadsNothing => {}
        }
        while let Ok((send, recv)) = connection.accept_bi().await {
            let (playing, connection) = (Arc::clone(&self), connection.clone());
            tokio::spawn(async move { playing.play(&connection, send, recv).await });
        }
    }

    async fn play(&self, connection: &Connection, mut send: SendStream, mut recv: RecvStream) {
        if self.manners == Manners::ReadsNothing {
            // The stream is held, so that nothing of it is stopped.
            connection.closed().await;
            return;
        }
        let Ok(bytes) = recv.read_to_end(1 << 20).await else { return };
        let Some(wanted) = self.wanted(&bytes) else { return };
        self.calls.fetch_add(1, Ordering::Relaxed);
        for step in (self.script)(&wanted) {
            // A peer that stops us has heard enough.
            if take_step(connection, &mut send, step).await.is_none() {
                return;
            }
        }
        // Without an end the stream stays open for as long as the connection does.
        connection.closed().await;
    }

    fn wanted(&self, stream: &[u8]) -> Option<Wanted> {
        let mut reader = Reader::new(stream);
        let length = usize::try_from(reader.u32().ok()?).ok()?;
        let _kind = reader.u8().ok()?;
        let mut head = Reader::new(reader.take(length).ok()?);
        let (_protocol, kind, payload) = (head.u16().ok()?, head.u16().ok()?, head.bytes().ok()?);
        if kind == FETCH {
            let mut fetch = Reader::new(payload);
            let _label = fetch.u16().ok()?;
            if fetch.u8().ok()? == 1 {
                fetch.text().ok()?;
            }
            return fetch.u64().ok().map(Wanted::Header);
        }
        if kind != REQUEST {
            return None;
        }
        let envelope = Envelope::read(payload).ok()?;
        let hash = sha256(&envelope.body);
        let mut seen = self.seen.lock().unwrap();
        let count = seen.entry(hash).or_default();
        let before = *count;
        *count += 1;
        Some(Wanted::Answer(Box::new(Question { body: Body::read(&envelope.body).ok()?, hash, before })))
    }
}

async fn take_step(connection: &Connection, send: &mut SendStream, step: Step) -> Option<()> {
    match step {
        Step::Send(bytes) => send.write_all(&bytes).await.ok(),
        Step::Drip(bytes, pause) => {
            for byte in bytes {
                send.write_all(&[byte]).await.ok()?;
                tokio::time::sleep(pause).await;
            }
            Some(())
        }
        Step::ForEver(bytes) => loop {
            send.write_all(&bytes).await.ok()?;
        },
        Step::Fin => send.finish().ok(),
        Step::Reset => send.reset(VarInt::from_u32(9)).ok(),
        Step::Close => {
            connection.close(VarInt::from_u32(9), b"");
            None
        }
    }
}
