//! What is agreed on in a handshake: the version, the protocol, the key exchange, and that nothing is taken up from an earlier one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quinn::{Endpoint, crypto::rustls::QuicServerConfig};
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
        danger::HandshakeSignatureValid,
    },
    crypto::aws_lc_rs::{self, kx_group},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use crate::{
    client::{Dial, End, StreamEnd, WITHIN},
    envelope,
    proxy::{Proxy, Rules},
    quic::puppet::{HANDSHAKE, Puppet},
    stage::{Key, Stage, VICTIM, fresh_network},
    table::{Case, Outcome, Place},
    tls::{Hello, Identity},
};

/// TLS alerts as QUIC carries them (RFC 9001, 4.8).
const ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// The cases of this file.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            id: "C12",
            name: "TLS 1.2 alone",
            given: "a member's key",
            sent: "a ClientHello without supported_versions, one that lists TLS 1.2 there, one with no version at all",
            expected: "the handshake ends with a TLS alert before the server has shown its key",
            log: "none",
            place: Place::Shared,
            run: old_tls,
        },
        Case {
            id: "C13",
            name: "application protocols",
            given: "a member's key",
            sent: "no ALPN, another one, a later version, one with other letters; then a list with accord/1 in the middle",
            expected: "refused, all in the same way; the list is served as accord/1",
            log: "connected peer=ES-AGENCY",
            place: Place::Shared,
            run: protocols,
        },
        Case {
            id: "C14",
            name: "early data",
            given: "a member's key, and a ticket that another server gave for early data",
            sent: "a fetch as 0-RTT data under that ticket; the same again after the handshake",
            expected: "the early data is rejected and unanswered; what is sent again is answered; the node gives no ticket of its own",
            log: "connected peer=ES-AGENCY",
            place: Place::Shared,
            run: early_data,
        },
        Case {
            id: "C15",
            name: "a ticket instead of a key",
            given: "a stranger with a ticket that another server gave",
            sent: "a resumption with early data in it",
            expected: "a full handshake, in which the stranger is refused with the code of every stranger; no application byte",
            log: "none",
            place: Place::Shared,
            run: ticket_of_a_stranger,
        },
        Case {
            id: "D9",
            name: "a peer without post-quantum key exchange",
            given: "a member's key; a node set to `prefer`, then to `require`",
            sent: "handshakes that offer X25519 alone, both, and both with the classical one first",
            expected: "prefer: all are served; require: X25519 alone ends with a TLS alert, the others are served",
            log: "connected peer=ES-AGENCY",
            place: Place::Own,
            run: key_exchanges,
        },
    ]
}

/// The extension of a ClientHello that lists versions, alone with TLS 1.3 in it (RFC 8446, 4.2.1).
const VERSIONS: [u8; 7] = [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04];

fn old_tls(stage: &mut Stage) -> Outcome {
    let identity = Hello::with(Some(Identity::of(&stage.keys(crate::stage::ATTACKER).tls)));
    let changes: [(&str, [u8; 7]); 3] = [
        // The extension becomes one that nobody knows.
        ("no supported_versions", [0xaa, 0xaa, 0x00, 0x03, 0x02, 0x03, 0x04]),
        ("TLS 1.2 listed", [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x03]),
        ("an empty list", [0x00, 0x2b, 0x00, 0x03, 0x00, 0x03, 0x04]),
    ];
    let mut ends = Vec::new();
    for (what, change) in changes {
        let mut puppet = Puppet::new(stage.victim());
        let mut hello = puppet.client_hello(&identity);
        let at = hello.windows(7).position(|window| window == VERSIONS).ok_or("the hello lists no versions")?;
        hello[at..at + 7].copy_from_slice(&change);
        puppet.say_bytes(hello);
        let closed = puppet.end().map_err(|wrong| format!("{what}: {wrong}"))?;
        if puppet.has_keys(HANDSHAKE) || closed.by_application || !ALERTS.contains(&closed.code) {
            return Err(format!("{what}: {closed}"));
        }
        ends.push(format!("{what}: {closed}"));
    }
    Ok(ends.join("; "))
}

async fn served(dial: &Dial, stage: &Stage) -> Result<(), String> {
    let link = dial.connect(stage.victim()).await.map_err(|end| format!("not connected: {end}"))?;
    let came = link.ask(&envelope::fetch_edition(1)).await;
    link.close();
    envelope::found(&came).then_some(()).ok_or_else(|| format!("not served: {came:?}"))
}

fn protocols(stage: &mut Stage) -> Outcome {
    let offering = |names: &[&str]| {
        let mut dial = stage.attacker();
        dial.hello.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        dial
    };
    let mut ends = Vec::new();
    let long = "x".repeat(255);
    for names in [&[][..], &["h3"], &["accord/2"], &["accord/10", "accord/"], &["ACCORD/1"], &[&long]] {
        let end =
            stage.block_on(offering(names).refusal(stage.victim())).map_err(|wrong| format!("{names:?}: {wrong}"))?;
        if !matches!(end, End::Transport(code, _) if ALERTS.contains(&code)) {
            return Err(format!("{names:?}: {end}"));
        }
        ends.push(end);
    }
    if ends.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("they are refused in different ways: {ends:?}"));
    }
    stage.block_on(served(&offering(&["h3", "accord/1", "accord/2"]), stage))?;
    Ok(format!("{} offers without it: {}; a list with it is served", ends.len(), ends[0]))
}

/// Keeps tickets, and counts those that came.
#[derive(Debug)]
struct Tickets {
    kept: ClientSessionMemoryCache,
    came: AtomicUsize,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: rustls::NamedGroup) {
        self.kept.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.kept.kx_hint(name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept.insert_tls13_ticket(name, value);
        self.came.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept.take_tls13_ticket(name)
    }
}

/// Lets every key in.
#[derive(Debug)]
struct Anybody;

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A server that gives tickets for early data to anybody.
fn generous() -> Endpoint {
    let key = Identity::of(&Key::fresh());
    let chain = key.chain.iter().cloned().map(CertificateDer::from).collect();
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(CertifiedKey::new(
            chain,
            Arc::new(key),
        )))));
    tls.alpn_protocols = vec![b"accord/1".to_vec()];
    tls.max_early_data_size = u32::MAX;
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    Endpoint::server(config, (fresh_network(), 0).into()).unwrap()
}

/// What became of an attempt with a ticket of another server.
struct Attempt {
    /// The early stream's end, once the handshake was over.
    early: StreamEnd,
    /// What came on it.
    bytes: usize,
    /// The connection, if the server kept it.
    connection: quinn::Connection,
    /// What it goes through.
    proxy: Proxy,
    /// Tickets, and how many of them the other server gave.
    tickets: (Arc<Tickets>, usize),
}

/// Gets a ticket elsewhere and brings it to the node, with a fetch as early data.
async fn bring_ticket(stage: &Stage, key: &Key) -> Result<Attempt, String> {
    let tickets = Arc::new(Tickets { kept: ClientSessionMemoryCache::new(8), came: AtomicUsize::new(0) });
    let store: Arc<dyn ClientSessionStore> = Arc::<Tickets>::clone(&tickets);
    let hello = Hello { tickets: Some(store), ..Hello::with(Some(Identity::of(key))) };
    let dial = Dial::saying(hello);
    // Made once: rustls offers a ticket only under the configuration that got it.
    let (config, _) = dial.configure();
    let endpoint = Endpoint::client(dial.from).unwrap();
    let server = generous();
    let giving = server.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let connection = server.accept().await.unwrap().await.unwrap();
        connection.closed().await;
    });
    let first = endpoint.connect_with(config.clone(), giving, "accord").unwrap().await.map_err(|e| e.to_string())?;
    let given = async {
        while tickets.came.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WITHIN, given).await.map_err(|_| "the generous server gives no ticket")?;
    first.close(0u8.into(), b"");
    accepting.await.unwrap();
    let before = tickets.came.load(Ordering::Relaxed);
    // Late enough that the handshake cannot be over before the early data is on its way.
    let late = Rules { delay: Duration::from_millis(20), ..Rules::CLEAN };
    let proxy = Proxy::anywhere(stage.runtime(), stage.victim(), late, 14);
    let connecting = endpoint.connect_with(config, proxy.address(), "accord").unwrap();
    let Ok((connection, accepted)) = connecting.into_0rtt() else {
        return Err("the ticket does not allow early data: this case sends none".into());
    };
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(&envelope::fetch_edition(1)).await.map_err(|error| error.to_string())?;
    let _ = send.finish();
    if !recv.is_0rtt() {
        return Err("the handshake was over too soon: this case sends no early data".into());
    }
    if tokio::time::timeout(WITHIN, accepted).await.map_err(|_| "the handshake does not end")? {
        return Err("the node accepted early data".into());
    }
    let mut came = Vec::new();
    let early = tokio::time::timeout(WITHIN, async {
        loop {
            match recv.read_chunk(1 << 16, true).await {
                Ok(Some(chunk)) => came.extend_from_slice(&chunk.bytes),
                Ok(None) => return StreamEnd::Fin,
                Err(quinn::ReadError::ConnectionLost(error)) => return StreamEnd::Connection(error.into()),
                Err(_) => return StreamEnd::Silent,
            }
        }
    });
    let early = early.await.map_err(|_| "the early stream has no end")?;
    Ok(Attempt { early, bytes: came.len(), connection, proxy, tickets: (tickets, before) })
}

fn early_data(stage: &mut Stage) -> Outcome {
    let key = stage.keys(crate::stage::ATTACKER).tls.clone();
    stage.block_on(async {
        let attempt = bring_ticket(stage, &key).await?;
        if attempt.bytes > 0 || attempt.early != StreamEnd::Silent {
            return Err(format!("the early stream got {} bytes, {}", attempt.bytes, attempt.early));
        }
        let (mut send, mut recv) = attempt.connection.open_bi().await.map_err(|error| error.to_string())?;
        send.write_all(&envelope::fetch_edition(1)).await.map_err(|error| error.to_string())?;
        let _ = send.finish();
        let bytes = recv.read_to_end(1 << 20).await.map_err(|error| format!("sent again: {error}"))?;
        let came = crate::client::Came { bytes, end: StreamEnd::Fin, ms: 0 };
        attempt.connection.close(0u8.into(), b"");
        let datagrams = attempt.proxy.counts().came.load(Ordering::Relaxed);
        if !envelope::found(&came) {
            return Err("what was sent again is not answered".into());
        }
        // Tickets come with the end of the handshake, so before any answer.
        let (tickets, others) = attempt.tickets;
        let given = tickets.came.load(Ordering::Relaxed) - others;
        if given > 0 {
            return Err(format!("the node gave {given} tickets"));
        }
        Ok(format!("the early stream was rejected; sent again it was answered; no tickets in {datagrams} datagrams"))
    })
}

fn ticket_of_a_stranger(stage: &mut Stage) -> Outcome {
    let usual = stage.block_on(Dial::of(&Key::fresh()).refusal(stage.victim()))?;
    let key = Key::fresh();
    let attempt = stage.block_on(bring_ticket(stage, &key))?;
    let end = stage
        .block_on(async { tokio::time::timeout(WITHIN, attempt.connection.closed()).await })
        .map_err(|_| "the stranger stays connected")?;
    let end = End::from(end);
    if attempt.bytes > 0 || end != usual {
        return Err(format!("{} bytes, {end}; a stranger without a ticket is {usual}", attempt.bytes));
    }
    Ok(format!("refused like any stranger: {end}"))
}

type Groups = Vec<&'static dyn rustls::crypto::SupportedKxGroup>;

fn exchanging(stage: &Stage, groups: &Groups) -> Dial {
    let mut dial = stage.attacker();
    dial.hello.groups.clone_from(groups);
    dial
}

fn key_exchanges(stage: &mut Stage) -> Outcome {
    let offers: [(&str, Groups); 4] = [
        ("X25519 alone", vec![kx_group::X25519]),
        ("X25519MLKEM768 alone", vec![kx_group::X25519MLKEM768]),
        ("both", vec![kx_group::X25519MLKEM768, kx_group::X25519]),
        ("both, the classical one first", vec![kx_group::X25519, kx_group::X25519MLKEM768]),
    ];
    for (what, groups) in &offers {
        stage
            .block_on(served(&exchanging(stage, groups), stage))
            .map_err(|wrong| format!("prefer, {what}: {wrong}"))?;
    }
    stage.stop(VICTIM);
    stage.federation.edit("IT-AGENCY/node/node.toml", "post_quantum = \"prefer\"", "post_quantum = \"require\"");
    stage.start(VICTIM);
    let mut refused = None;
    for (what, groups) in &offers {
        if groups.iter().any(|group| group.name() == rustls::NamedGroup::X25519MLKEM768) {
            stage
                .block_on(served(&exchanging(stage, groups), stage))
                .map_err(|wrong| format!("require, {what}: {wrong}"))?;
            continue;
        }
        match stage.block_on(exchanging(stage, groups).refusal(stage.victim())) {
            Ok(End::Transport(code, _)) if ALERTS.contains(&code) => refused = Some(code),
            Ok(end) => return Err(format!("require, {what}: {end}")),
            Err(wrong) => return Err(format!("require, {what}: {wrong}")),
        }
    }
    let code = refused.ok_or("nothing was refused")?;
    Ok(format!("prefer serves all four; require refuses X25519 alone ({code:#x}) and serves the other three"))
}
