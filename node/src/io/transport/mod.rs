//! The network: serving members and people, asking partners.

mod members;
mod partners;
mod people;
mod upload;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use accord_edge::{
    clock::Stopwatch,
    quic::{self, QuicError},
    stream::{Incoming, StreamError},
};
use accord_protocol::{frame::LimitsByHead, message::Head};
use quinn::{Connection, Endpoint};
use tokio::sync::Semaphore;

pub use partners::{PartnerReply, Partners};

use crate::{
    domain::admission::Admission,
    io::identity::{AdmitMembers, AdmitPeople},
    node::Node,
};

/// Handshakes going on at once on one socket.
const HANDSHAKES_MAX: usize = 64;
/// Longest handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// From the opening of a stream to the end of a call, however slowly the bytes come; where a body follows, to its whole head.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Both sockets, listening.
#[derive(Debug)]
pub struct Sockets {
    members: Endpoint,
    people: Endpoint,
    node: Arc<Node>,
}

impl Sockets {
    /// Listens for members and for people.
    pub fn listen(node: Arc<Node>) -> Result<Self, QuicError> {
        let config = &node.config;
        let members = Arc::new(AdmitMembers(Arc::clone(&node.standing)));
        let people = Arc::new(AdmitPeople(Arc::clone(&node.standing)));
        Ok(Self {
            members: quic::listen(config.listen_members, Arc::clone(&node.keys.tls), members, config.key_exchange)?,
            people: quic::listen(config.listen_people, Arc::clone(&node.keys.tls), people, config.key_exchange)?,
            node,
        })
    }

    /// Where the two sockets are: members, people.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.members.local_addr()?, self.people.local_addr()?))
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
        tokio::join!(
            accept(&self.node, &self.members, Some(Mutex::default()), move |connection| members::serve(
                Arc::clone(&for_members),
                Arc::clone(&of_members),
                connection
            )),
            // People come over loopback or an internal network, and share it.
            accept(&self.node, &self.people, None, move |connection| {
                people::serve(Arc::clone(&for_people), Arc::clone(&partners), Arc::clone(&seats), connection)
            }),
        );
        telling.abort();
    }

    /// Stops listening and lets open streams end.
    pub async fn close(&self) {
        for endpoint in [&self.members, &self.people] {
            endpoint.close(quic::CLOSE_DONE, b"");
        }
        // Whoever does not let go within two seconds is cut off.
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            self.members.wait_idle().await;
            self.people.wait_idle().await;
        })
        .await;
    }
}

async fn accept<S, F>(node: &Arc<Node>, endpoint: &Endpoint, admission: Option<Mutex<Admission>>, serve: S)
where
    S: Fn(Connection) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let watch = Stopwatch::start();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.accept().await {
        if !incoming.remote_address_validated() {
            // A spoofed source address costs us one small packet and no state.
            node.door.add("addresses_checked");
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        let admitted = admission.as_ref().is_none_or(|admission| {
            let mut admission = admission.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            admission.take(incoming.remote_address().ip(), watch.ms())
        });
        if !admitted {
            node.door.add("handshakes_over_rate");
            incoming.ignore();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            node.door.add("handshakes_over_number");
            incoming.refuse();
            continue;
        };
        let Ok(connecting) = incoming.accept() else { continue };
        let (serve, node) = (serve.clone(), Arc::clone(node));
        tokio::spawn(async move {
            let connection = tokio::time::timeout(HANDSHAKE_WITHIN, connecting).await;
            drop(permit);
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
    incoming: Incoming,
    deadline: tokio::time::Instant,
}

impl Opened {
    fn new(recv: quinn::RecvStream, by_head: LimitsByHead) -> Self {
        let deadline = tokio::time::Instant::now() + CALL_WITHIN;
        Self { incoming: Incoming::opened_by_peer(recv, by_head), deadline }
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
