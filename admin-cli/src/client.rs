//! One connection to one's own node.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use accord_edge::{
    clock, quic,
    stream::{self, Downloaded, Heard, NoBody, Reply, Source, StreamError},
    tls::KeyExchange,
};
use accord_protocol::{
    codec::{Cap, decode},
    id::from_hex,
    key::PublicKey,
    member_keys::KeyRole,
    message::{HelloReply, MessageKind, Notice, PersonReply, TrustCall, WatchEvent},
    officers::Card,
    signed::Document,
    signer::Signer,
    time::{DAY_MS, MINUTE_MS, UnixMs},
    trust::{Tool, digest},
};
use anyhow::Context;
use quinn::{Connection, Endpoint};
use serde::{Serialize, de::DeserializeOwned};

use crate::{command::Global, output::Failure, profile::Profile};

/// Longest time for a connection to one's own node.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A node that tells what happens gives a sign of life every ten seconds.
const SILENT: Duration = Duration::from_secs(30);

/// A connection to one's own node.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    endpoint: Endpoint,
    node: SocketAddr,
    /// The node's clock minus this machine's, in milliseconds.
    skew_ms: i64,
    /// Things to know about the connection.
    pub(crate) warnings: Vec<Notice>,
    /// Where the node's progress is shown.
    pub(crate) progress: indicatif::ProgressBar,
}

impl Client {
    /// Connects and greets: only the node's own answer means "connected".
    pub(crate) async fn connect(profile: &Profile, global: &Global) -> anyhow::Result<Self> {
        let key = profile.key(global)?;
        Self::connect_with(profile, key).await
    }

    /// The same with this key: questions and the connection over which they go are of one officer's key.
    pub(crate) async fn connect_with(profile: &Profile, key: Arc<dyn Signer>) -> anyhow::Result<Self> {
        let node = profile.node()?;
        let unreachable = |error: String| {
            Failure::fault(
                "NODE-UNREACHABLE",
                format!("your own node at {node} does not answer: {error}"),
                "start it with `accord-node run DIR`, and check `node` in the profile's profile.toml",
            )
        };
        let any: SocketAddr = if node.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
        let endpoint = quic::outgoing(any)?;
        let connection = quic::connect(
            &endpoint,
            node,
            Arc::clone(&key),
            profile.node_keys(),
            KeyExchange::PreferPostQuantum,
            CONNECT_WITHIN,
        )
        .await
        .map_err(|error| unreachable(format!("{:#}", anyhow::Error::new(error))))?;
        let mut client = Self {
            connection,
            endpoint,
            node,
            skew_ms: 0,
            warnings: Vec::new(),
            progress: indicatif::ProgressBar::hidden(),
        };
        let hello: PersonReply<HelloReply> =
            client.call(MessageKind::Hello, &serde_json::json!({})).await.map_err(|error| {
                Failure::refused(
                    "NODE-REFUSED",
                    format!("your own node at {node} does not accept your key: {error:#}"),
                    "check that you use the right --profile, that your card or staff entry is valid, and that no more than four commands run with this key at once",
                )
            })?;
        if let Some(hello) = hello.result {
            client.check_clock(&hello)?;
            client.catch_up(profile, &hello, &key.public()).await?;
        }
        Ok(client)
    }

    // What the node has learnt about who is trusted, the profile learns too.
    async fn catch_up(&self, profile: &Profile, hello: &HelloReply, key: &PublicKey) -> anyhow::Result<()> {
        let (_, documents) = profile.trust()?;
        // An officer who has just been listed has no card yet.
        let complete = profile.role != KeyRole::Officer || profile.card().is_ok();
        if complete && digest(&documents, Tool::of(profile.role)).to_string() == hello.trust {
            return Ok(());
        }
        let reply: PersonReply<serde_json::Value> = self.call(MessageKind::Trust, &TrustCall::Show {}).await?;
        let listed = reply.result.as_ref().and_then(|result| result.get("documents")).and_then(|list| list.as_array());
        let document = |hex: &serde_json::Value| decode(&from_hex(hex.as_str()?)?, Cap::Document).ok();
        let documents: Vec<Document> = listed.into_iter().flatten().filter_map(document).collect();
        profile.take(&documents)?;
        let cards = reply.result.as_ref().and_then(|result| result.get("cards")).and_then(|list| list.as_array());
        let card = |hex: &serde_json::Value| decode(&from_hex(hex.as_str()?)?, Cap::Small).ok();
        let cards: Vec<Card> = cards.into_iter().flatten().filter_map(card).collect();
        profile.take_card(&cards, &[*key])
    }

    fn check_clock(&mut self, hello: &HelloReply) -> anyhow::Result<()> {
        let node = i64::try_from(hello.now_ms).unwrap_or(i64::MAX);
        let here = i64::try_from(clock::now().0).unwrap_or(i64::MAX);
        self.skew_ms = node.saturating_sub(here);
        let skew = self.skew_ms.unsigned_abs();
        if skew > DAY_MS {
            let message = format!("this machine's clock is {} hours away from the node's", skew / 3_600_000);
            return Err(Failure::refused("CLOCK", message, "set this machine's clock").into());
        }
        if skew > MINUTE_MS {
            let message = format!("this machine's clock is {} s away from the node's; node time is used", skew / 1000);
            self.warnings.push(Notice { code: "CLOCK".into(), message });
        }
        Ok(())
    }

    /// The node's time now.
    pub(crate) fn node_time(&self) -> UnixMs {
        let here = i64::try_from(clock::now().0).unwrap_or(i64::MAX);
        UnixMs(u64::try_from(here.saturating_add(self.skew_ms)).unwrap_or(0))
    }

    /// A call in JSON, without a body.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        kind: MessageKind,
        payload: &impl Serialize,
    ) -> anyhow::Result<PersonReply<T>> {
        self.call_with(kind, payload, NoBody).await
    }

    /// A call in JSON with a body.
    pub(crate) async fn call_with<T: DeserializeOwned>(
        &self,
        kind: MessageKind,
        payload: &impl Serialize,
        source: impl Source,
    ) -> anyhow::Result<PersonReply<T>> {
        let payload = serde_json::to_vec(payload)?;
        let reply = self.raw(kind, payload, source).await?;
        serde_json::from_slice(&reply.body)
            .context("the node's answer is not understood; use the same version of accord and accord-node")
    }

    /// A call in bytes.
    pub(crate) async fn raw(&self, kind: MessageKind, payload: Vec<u8>, source: impl Source) -> anyhow::Result<Reply> {
        let told = |heard: Heard<'_>| {
            if let Heard::Progress(message) = heard {
                show_progress(&self.progress, message);
            }
        };
        stream::call(&self.connection, stream::Call::new(kind, payload), source, told).await.map_err(
            |error| match error {
                StreamError::DoesNotFit => Failure::usage(
                    "TOO-LONG",
                    "the call is longer than one message may be",
                    "ask less at once; a mapping file may have 60 KB",
                )
                .into(),
                StreamError::Source(source) => {
                    Failure::fault("FILE", format!("the file cannot be read to its end: {source}"), "check the file")
                        .into()
                }
                error => {
                    anyhow::Error::new(error).context(format!("the connection to your own node at {} broke", self.node))
                }
            },
        )
    }

    /// A call in JSON whose answer may be longer than memory: handed on in pieces, and whole only if this returns without an error.
    pub(crate) async fn download(
        &self,
        kind: MessageKind,
        payload: &impl Serialize,
        taken: impl FnMut(Downloaded<'_>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let call = stream::Call::new(kind, serde_json::to_vec(payload)?);
        stream::download(&self.connection, call, taken).await.map_err(|error| match error {
            StreamError::Source(error) => {
                Failure::fault("FILE", format!("what came cannot be written: {error}"), "free some space").into()
            }
            error => {
                anyhow::Error::new(error).context(format!("the connection to your own node at {} broke", self.node))
            }
        })
    }

    /// Hears what happens to requests until the node ends it, or is silent for half a minute.
    pub(crate) async fn watch(&self, mut heard: impl FnMut(WatchEvent)) -> anyhow::Result<()> {
        let (signs, mut alive) = tokio::sync::watch::channel(());
        let told = |said: Heard<'_>| {
            if let Heard::Progress(message) = said
                && let Ok(event) = serde_json::from_slice(message)
            {
                // The one who counts the signs of life is there as long as this is.
                let _ = signs.send(());
                heard(event);
            }
        };
        let watching = stream::call(&self.connection, stream::Call::new(MessageKind::Watch, Vec::new()), NoBody, told);
        let silent =
            async { while tokio::time::timeout(SILENT, alive.changed()).await.is_ok_and(|sign| sign.is_ok()) {} };
        tokio::select! {
            _ = watching => {}
            () = silent => {}
        }
        let next = "see accord status, then watch again";
        Err(Failure::fault("ENDED", format!("your own node at {} tells nothing any more", self.node), next).into())
    }

    /// Says goodbye, so that the node does not wait.
    pub(crate) async fn close(self) {
        self.connection.close(quic::CLOSE_DONE, b"");
        self.endpoint.wait_idle().await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Also when the work is interrupted: the node drops what it was doing for us.
        self.connection.close(quic::CLOSE_DONE, b"");
    }
}

// How far the node is with an import; the bar was that of the upload before.
fn show_progress(bar: &indicatif::ProgressBar, message: &[u8]) {
    let Ok(message) = serde_json::from_slice::<serde_json::Value>(message) else { return };
    let number = |field: &str| message.get(field).and_then(serde_json::Value::as_u64);
    let (Some(rows), Some(bytes), Some(of)) = (number("rows"), number("bytes"), number("of")) else { return };
    if bar.message().is_empty() {
        bar.reset();
        bar.set_style(
            indicatif::ProgressStyle::with_template("{msg}  {bar:24} {percent:>3} %  {eta} left")
                .unwrap_or(indicatif::ProgressStyle::default_bar()),
        );
    }
    bar.set_length(of);
    bar.set_position(bytes);
    let ms = u64::try_from(bar.elapsed().as_millis()).unwrap_or(u64::MAX).max(100);
    bar.set_message(format!("{rows} rows checked, {} rows/s", rows.saturating_mul(1000) / ms));
}

/// Runs async work on a small runtime of its own, within `--deadline` if the work has none.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let result = tokio::select! {
            result = work => return result,
            _ = tokio::signal::ctrl_c() => Err(interrupted()),
        };
        // The work is dropped, and its connection with it: a moment for the goodbye, so that the node drops it too.
        tokio::time::sleep(Duration::from_millis(200)).await;
        result
    })
}

fn interrupted() -> anyhow::Error {
    let mut failure = Failure::fault(
        "INTERRUPTED",
        "interrupted; nothing is half done",
        "see `accord status`, then run the command again",
    );
    failure.exit = 130;
    failure.into()
}

/// A file as the body of a call, with its progress shown.
#[derive(Debug)]
pub(crate) struct FileSource<R> {
    reader: R,
    progress: indicatif::ProgressBar,
}

impl<R: io::Read> FileSource<R> {
    pub(crate) fn new(reader: R, progress: indicatif::ProgressBar) -> Self {
        Self { reader, progress }
    }
}

impl<R: io::Read> Source for FileSource<R> {
    fn next_piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; 64 << 10];
        let mut filled = 0;
        while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest)? {
                0 => break,
                read => filled += read,
            }
        }
        piece.truncate(filled);
        self.progress.inc(filled as u64);
        Ok(piece)
    }
}
