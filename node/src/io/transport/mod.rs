//! The network: serving members and people, asking partners.

mod auditing;
mod backing_up;
mod collector;
mod greeter;
mod logs;
mod members;
mod partners;
mod people;
mod teller;
mod upload;
mod watching;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use accord_edge::{
    clock::Stopwatch,
    quic::{self, Listener, QuicError},
    stream::{self, StreamError},
};
use accord_protocol::{frame::LimitsByHead, message::Head};
use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use partners::{PartnerReply, Partners};

use crate::{
    domain::admission::{Admission, Verdict},
    node::{DoorLog, Node},
};

/// Handshakes going on at once on one socket; on the members', of strangers.
const HANDSHAKES_MAX: usize = 48;
/// Handshakes going on at once from networks where members live.
const MEMBERS_HANDSHAKES_MAX: usize = 16;
/// Longest handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// From the opening of a stream to the end of a call, however slowly the bytes come; where a body follows, to its whole head.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Both sockets, listening.
#[derive(Debug)]
pub struct Sockets {
    members: Listener,
    people: Listener,
    node: Arc<Node>,
}

impl Sockets {
    /// Listens for members and for people.
    pub fn listen(node: Arc<Node>) -> Result<Self, QuicError> {
        let (config, voice) = (&node.config, node.voice());
        Ok(Self {
            members: quic::listen(config.listen_members, Arc::clone(&voice.tls), config.key_exchange)?,
            people: quic::listen(config.listen_people, Arc::clone(&voice.people), config.key_exchange)?,
            node,
        })
    }

    /// Where the two sockets are: members, people.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.members.endpoint.local_addr()?, self.people.endpoint.local_addr()?))
    }

    /// Serves until [`Self::close`].
    pub async fn serve(&self) {
        let partners = Arc::new(Partners::new(Arc::clone(&self.node)));
        let of_members = Arc::new(members::Members::default());
        let seats = Arc::new(people::Seats::default());
        let (for_members, for_people) = (Arc::clone(&self.node), Arc::clone(&self.node));
        let telling = {
            let partners = Arc::clone(&partners);
            tokio::spawn(async move { partners.keep_telling().await })
        };
        let greeting = {
            let partners = Arc::clone(&partners);
            tokio::spawn(async move { partners.keep_greeting().await })
        };
        let waiting = [
            tokio::spawn(Arc::clone(&partners).keep_collecting()),
            tokio::spawn(Arc::clone(&partners).keep_expiring()),
            tokio::spawn(Arc::clone(&partners).keep_nudging()),
            tokio::spawn(Arc::clone(&partners).keep_showing()),
            tokio::spawn(Arc::clone(&partners).keep_proving()),
            tokio::spawn(watching::keep_notifying(Arc::clone(&self.node))),
        ];
        let speaking = tokio::spawn(follow_voice(Arc::clone(&self.node), self.members.clone(), self.people.clone()));
        tokio::join!(
            accept(
                &self.node,
                &self.members.endpoint,
                Gate::for_members(&self.node),
                move |connection| members::serve(Arc::clone(&for_members), Arc::clone(&of_members), connection)
            ),
            accept(&self.node, &self.people.endpoint, Gate::new(None), move |connection| {
                people::serve(Arc::clone(&for_people), Arc::clone(&partners), Arc::clone(&seats), connection)
            }),
        );
        telling.abort();
        greeting.abort();
        for task in waiting {
            task.abort();
        }
        speaking.abort();
    }

    /// Stops listening and lets open streams end.
    pub async fn close(&self) {
        for listener in [&self.members, &self.people] {
            listener.endpoint.close(quic::CLOSE_DONE, b"");
        }
        // Whoever does not let go within two seconds is cut off.
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            self.members.endpoint.wait_idle().await;
            self.people.endpoint.wait_idle().await;
        })
        .await;
    }
}

// Handshakes from now on are with the keys that the node speaks with; connections that are there live on.
async fn follow_voice(node: Arc<Node>, members: Listener, people: Listener) {
    let mut voices = node.voice.subscribe();
    voices.mark_changed();
    while voices.changed().await.is_ok() {
        let voice = Arc::clone(&voices.borrow_and_update());
        for (listener, key) in [(&members, &voice.tls), (&people, &voice.people)] {
            if let Err(error) = listener.prove(Arc::clone(key)) {
                let error = accord_protocol::text::with_causes(&error);
                tracing::error!(error, "handshakes stay with the key before");
            }
        }
    }
}

/// Who may start handshakes on a socket, and how many at once.
struct Gate {
    // People come over loopback or an internal network, and share it.
    admission: Option<Mutex<Admission>>,
    watch: Stopwatch,
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Gate {
    fn new(admission: Option<Admission>) -> Self {
        Self {
            admission: admission.map(Mutex::new),
            watch: Stopwatch::start(),
            known: Arc::new(Semaphore::new(MEMBERS_HANDSHAKES_MAX)),
            strangers: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        }
    }

    fn for_members(node: &Node) -> Self {
        let standing = node.standing();
        let trust = standing.trust();
        let members = trust.roster().members.iter().filter_map(|member| trust.keys(&member.node_id));
        Self::new(Some(Admission::new(members.flat_map(|keys| keys.socket_addresses()).map(|address| address.ip()))))
    }

    /// A place for one more handshake; nothing if its network, or everybody together, has had its share.
    fn enter(&self, incoming: &Incoming, door: &DoorLog) -> Option<OwnedSemaphorePermit> {
        let verdict = self.admission.as_ref().map_or(Verdict::Stranger, |admission| {
            let mut admission = admission.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            admission.take(incoming.remote_address().ip(), self.watch.ms())
        });
        let places = match verdict {
            Verdict::Known => &self.known,
            Verdict::Stranger => &self.strangers,
            Verdict::Over => {
                door.add("handshakes_over_rate");
                return None;
            }
        };
        let place = Arc::clone(places).try_acquire_owned().ok();
        if place.is_none() {
            door.add("handshakes_over_number");
        }
        place
    }
}

async fn accept<S, F>(node: &Arc<Node>, endpoint: &Endpoint, gate: Gate, serve: S)
where
    S: Fn(Connection) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    while let Some(incoming) = endpoint.accept().await {
        if !incoming.remote_address_validated() {
            node.door.add("addresses_checked");
            // A spoofed source address costs us one small packet and no state.
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        let Some(place) = gate.enter(&incoming, &node.door) else {
            incoming.ignore();
            continue;
        };
        let Ok(connecting) = incoming.accept() else { continue };
        let (serve, node) = (serve.clone(), Arc::clone(node));
        tokio::spawn(async move {
            let connection = tokio::time::timeout(HANDSHAKE_WITHIN, connecting).await;
            drop(place);
            match connection {
                Ok(Ok(connection)) => serve(connection).await,
                Ok(Err(error)) => {
                    node.door.add("handshakes_failed");
                    tracing::debug!(%error, "a handshake failed");
                }
                Err(_) => {
                    node.door.add("handshakes_too_slow");
                    tracing::debug!("a handshake took too long");
                }
            }
        });
    }
}

/// A stream that a peer opened, with the one deadline for all that it calls.
struct Opened {
    incoming: stream::Incoming,
    deadline: tokio::time::Instant,
}

impl Opened {
    fn new(recv: quinn::RecvStream, by_head: LimitsByHead) -> Self {
        let deadline = tokio::time::Instant::now() + CALL_WITHIN;
        Self { incoming: stream::Incoming::opened_by_peer(recv, by_head), deadline }
    }

    /// Reads the head.
    async fn head(&mut self) -> Result<Head, StreamError> {
        let reading = self.incoming.head(|_| {});
        tokio::time::timeout_at(self.deadline, reading).await.map_err(|_| StreamError::Silent)?
    }

    /// Reads what follows a head that has no body: pads, and the end of the stream.
    async fn finish(&mut self) -> Result<(), StreamError> {
        let reading = self.incoming.rest(|_| {});
        tokio::time::timeout_at(self.deadline, reading).await.map_err(|_| StreamError::Silent)?.map(|_| ())
    }
}
