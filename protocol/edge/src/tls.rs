//! TLS 1.3 with raw Ed25519 keys (RFC 7250), pinned on both sides: no certificates, no sessions to resume, no early data.

use std::sync::Arc;

use accord_protocol::{
    ALPN,
    key::PublicKey,
    signer::{Domain, Signer as KeyHolder},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms,
        aws_lc_rs::{self, kx_group},
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, Signer},
};

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Which key exchange is offered and accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768 first, X25519 for peers that lack it.
    PreferPostQuantum,
    /// X25519MLKEM768 alone.
    RequirePostQuantum,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up")]
pub struct TlsError(#[from] Error);

fn provider(exchange: KeyExchange) -> Arc<CryptoProvider> {
    let kx_groups = match exchange {
        KeyExchange::PreferPostQuantum => vec![kx_group::X25519MLKEM768, kx_group::X25519],
        KeyExchange::RequirePostQuantum => vec![kx_group::X25519MLKEM768],
    };
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

fn to_spki(key: &PublicKey) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key.as_bytes()].concat()
}

/// The key inside a peer's raw public key; `None` for anything but a sound Ed25519 key.
pub fn from_spki(spki: &[u8]) -> Option<PublicKey> {
    let key: [u8; 32] = spki.strip_prefix(SPKI_PREFIX.as_slice())?.try_into().ok()?;
    PublicKey::try_from(key).ok()
}

/// Signs handshakes with a key that stays with its holder.
#[derive(Debug)]
struct HandshakeKey<K: ?Sized>(Arc<K>);

impl<K: KeyHolder + ?Sized + 'static> rustls::sign::SigningKey for HandshakeKey<K> {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ED25519).then(|| Box::new(Self(Arc::clone(&self.0))) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(to_spki(&self.0.public())))
    }
}

impl<K: KeyHolder + ?Sized + 'static> Signer for HandshakeKey<K> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signed = self.0.sign_as(Domain::Handshake, message);
        signed.map(|signature| signature.0.to_vec()).map_err(|error| Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

fn certified<K: KeyHolder + ?Sized + 'static>(key: Arc<K>) -> Arc<CertifiedKey> {
    let spki = CertificateDer::from(to_spki(&key.public()));
    Arc::new(CertifiedKey::new(vec![spki], Arc::new(HandshakeKey(key))))
}

/// Lets everybody through who proves a sound Ed25519 key, or shows none at all: who that is, the socket's owner looks up before it
/// takes a stream, and closes with one code. A handshake that failed here would tell a stranger by its alert whether the key that it
/// tried belongs to a member.
#[derive(Debug)]
struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let sound = intermediates.is_empty() && from_spki(end_entity).is_some();
        if sound { Ok(ClientCertVerified::assertion()) } else { Err(refused()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(cert.as_ref()),
            dss,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Admits exactly the keys of the member (or own node) that is meant: another member's valid key is refused (C33a).
#[derive(Debug)]
struct ServerPin {
    keys: Vec<PublicKey>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerPin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let expected = intermediates.is_empty() && from_spki(end_entity).is_some_and(|key| self.keys.contains(&key));
        if expected { Ok(ServerCertVerified::assertion()) } else { Err(refused()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(cert.as_ref()),
            dss,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

// One error for every reason, so that a stranger and a removed member see the same.
fn refused() -> Error {
    Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure)
}

/// TLS for a listening socket. The peer's key is proved where it shows one; its owner decides who may stay.
pub fn server<K: KeyHolder + ?Sized + 'static>(
    key: Arc<K>,
    exchange: KeyExchange,
) -> Result<rustls::ServerConfig, TlsError> {
    let provider = provider(exchange);
    let algorithms = provider.signature_verification_algorithms;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyClient { algorithms }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(key))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A removed peer would come back through resumption, because the verifier is not called again.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(config)
}

/// TLS for connecting to the holder of one of these keys.
pub fn client<K: KeyHolder + ?Sized + 'static>(
    key: Arc<K>,
    expected: Vec<PublicKey>,
    exchange: KeyExchange,
) -> Result<rustls::ClientConfig, TlsError> {
    let provider = provider(exchange);
    let algorithms = provider.signature_verification_algorithms;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerPin { keys: expected, algorithms }))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(key))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}
