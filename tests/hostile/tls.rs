//! What a client says in its TLS handshake, right or wrong, and what the server proved in return.

use std::sync::{Arc, Mutex};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureAlgorithm, SignatureScheme,
    client::{
        ClientSessionStore, ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::{CertifiedKey, Signer},
};

use crate::stage::Key;

/// `SubjectPublicKeyInfo` of an Ed25519 key up to the key itself (RFC 8410).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The raw public key of an Ed25519 key as TLS carries it.
pub(crate) fn spki(public: [u8; 32]) -> Vec<u8> {
    [SPKI_ED25519.as_slice(), &public].concat()
}

/// How a handshake is signed.
pub(crate) type Sign = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Who a client says that it is, and what it has to show for it.
#[derive(Clone)]
pub(crate) struct Identity {
    /// What goes into the Certificate message, one entry each.
    pub(crate) chain: Vec<Vec<u8>>,
    /// Whether the entries are offered as raw public keys (RFC 7250) or as X.509 certificates.
    pub(crate) raw: bool,
    /// The scheme that CertificateVerify names.
    pub(crate) scheme: SignatureScheme,
    /// Makes the signature of CertificateVerify.
    pub(crate) sign: Sign,
}

impl Identity {
    /// The raw public key of a key, signed with the same key.
    pub(crate) fn of(key: &Key) -> Self {
        Self::claiming(key.public(), key)
    }

    /// A raw public key, signed with some other key.
    pub(crate) fn claiming(public: [u8; 32], signer: &Key) -> Self {
        Self::showing(vec![spki(public)], signer)
    }

    /// Any bytes as raw public keys, signed with a key.
    pub(crate) fn showing(chain: Vec<Vec<u8>>, signer: &Key) -> Self {
        let signer = signer.clone();
        Self {
            chain,
            raw: true,
            scheme: SignatureScheme::ED25519,
            sign: Arc::new(move |message| signer.sign(message).to_vec()),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("raw", &self.raw).field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl rustls::sign::SigningKey for Identity {
    // Whatever the server offers: a hostile client need not choose from it.
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Identity {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok((self.sign)(message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        Some(Arc::new(CertifiedKey::new(chain, Arc::new(self.clone()))))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Everything that a client's handshake can be set to.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    /// Who it is; nothing for a client that shows no key.
    pub(crate) identity: Option<Identity>,
    /// Application protocols that it offers.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Key exchange groups that it offers.
    pub(crate) groups: Vec<&'static dyn SupportedKxGroup>,
    /// Where it keeps tickets, and whether it then sends early data; it keeps none otherwise.
    pub(crate) tickets: Option<Arc<dyn ClientSessionStore>>,
}

impl Hello {
    /// A handshake in order, with this identity.
    pub(crate) fn with(identity: Option<Identity>) -> Self {
        Self {
            identity,
            alpn: vec![b"accord/1".to_vec()],
            groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
            tickets: None,
        }
    }

    /// The configuration of rustls, and where the server's key is kept once it has shown it.
    pub(crate) fn config(&self) -> (ClientConfig, Arc<Shown>) {
        let provider = CryptoProvider { kx_groups: self.groups.clone(), ..aws_lc_rs::default_provider() };
        let shown = Arc::new(Shown::default());
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Shown>::clone(&shown);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(identity.clone())),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = self.tickets.clone().map_or_else(Resumption::disabled, Resumption::store);
        config.enable_early_data = self.tickets.is_some();
        (config, shown)
    }
}

/// Takes any server and remembers what key it showed.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<Option<Vec<u8>>>);

impl Shown {
    /// The server's raw public key.
    pub(crate) fn key(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = Some(end_entity.as_ref().to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
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
