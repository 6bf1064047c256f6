//! A network that misbehaves by seed: loses, delays, reorders, duplicates, and caps datagrams.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::UdpSocket, runtime::Runtime, task::JoinHandle};

use crate::{dice::Dice, stage::fresh_network};

/// How the network treats each datagram, in both directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Datagrams lost, in a hundred.
    pub(crate) lost: u64,
    /// Datagrams sent twice, in a hundred.
    pub(crate) twice: u64,
    /// Shortest delay.
    pub(crate) delay: Duration,
    /// Up to so much more, each datagram by itself, so that they overtake each other.
    pub(crate) jitter: Duration,
    /// Longer datagrams are lost.
    pub(crate) size_max: usize,
}

impl Rules {
    /// A network that does nothing wrong.
    pub(crate) const CLEAN: Self =
        Self { lost: 0, twice: 0, delay: Duration::ZERO, jitter: Duration::ZERO, size_max: usize::MAX };
}

/// What the network did.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Datagrams that came in.
    pub(crate) came: AtomicU64,
    /// Datagrams that were lost, for whatever reason.
    pub(crate) lost: AtomicU64,
    /// The longest datagram that was let through.
    pub(crate) longest: AtomicU64,
}

/// A socket, and the task that brings back what comes to it.
type Way = (Arc<UdpSocket>, JoinHandle<()>);

#[derive(Debug)]
struct Inner {
    rules: Mutex<Rules>,
    listening: UdpSocket,
    to: SocketAddr,
    dice: Mutex<Dice>,
    // The socket on the server's side for each client, and its task.
    ways: Mutex<HashMap<SocketAddr, Way>>,
    counts: Counts,
}

/// A proxy between clients and one server.
#[derive(Debug)]
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Stands at `at` (port 0 for any) in front of a server.
    pub(crate) fn start(runtime: &Arc<Runtime>, at: SocketAddr, to: SocketAddr, rules: Rules, seed: u64) -> Self {
        let _inside = runtime.enter();
        let socket = std::net::UdpSocket::bind(at).unwrap();
        socket.set_nonblocking(true).unwrap();
        let inner = Arc::new(Inner {
            rules: Mutex::new(rules),
            listening: UdpSocket::from_std(socket).unwrap(),
            to,
            dice: Mutex::new(Dice::new(seed)),
            ways: Mutex::default(),
            counts: Counts::default(),
        });
        let task = runtime.spawn(Arc::clone(&inner).serve());
        Self { inner, task }
    }

    /// In front of a server, anywhere.
    pub(crate) fn anywhere(runtime: &Arc<Runtime>, to: SocketAddr, rules: Rules, seed: u64) -> Self {
        Self::start(runtime, (Ipv4Addr::LOCALHOST, 0).into(), to, rules, seed)
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.inner.listening.local_addr().unwrap()
    }

    /// What it did.
    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// From now on the network treats datagrams otherwise.
    pub(crate) fn treat_as(&self, rules: Rules) {
        *self.inner.rules.lock().unwrap() = rules;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        for (_, task) in self.inner.ways.lock().unwrap().values() {
            task.abort();
        }
    }
}

fn new_way() -> Arc<UdpSocket> {
    let socket = std::net::UdpSocket::bind((fresh_network(), 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    Arc::new(UdpSocket::from_std(socket).unwrap())
}

impl Inner {
    async fn serve(self: Arc<Self>) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok((length, client)) = self.listening.recv_from(&mut buffer).await else { continue };
            let way = {
                let mut ways = self.ways.lock().unwrap();
                let (way, _) = ways.entry(client).or_insert_with(|| {
                    let way = new_way();
                    let task = tokio::spawn(Arc::clone(&self).back(client, Arc::clone(&way)));
                    (way, task)
                });
                Arc::clone(way)
            };
            let to = self.to;
            self.treat(&buffer[..length], move |bytes| {
                let way = Arc::clone(&way);
                async move { drop(way.send_to(&bytes, to).await) }
            });
        }
    }

    async fn back(self: Arc<Self>, client: SocketAddr, way: Arc<UdpSocket>) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok((length, _)) = way.recv_from(&mut buffer).await else { continue };
            let this = Arc::clone(&self);
            self.treat(&buffer[..length], move |bytes| {
                let this = Arc::clone(&this);
                async move { drop(this.listening.send_to(&bytes, client).await) }
            });
        }
    }

    fn treat<F: Future<Output = ()> + Send + 'static>(&self, bytes: &[u8], send: impl Fn(Vec<u8>) -> F) {
        let rules = *self.rules.lock().unwrap();
        self.counts.came.fetch_add(1, Ordering::Relaxed);
        let mut dice = self.dice.lock().unwrap();
        if bytes.len() > rules.size_max || dice.percent(rules.lost) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.counts.longest.fetch_max(bytes.len() as u64, Ordering::Relaxed);
        for _ in 0..=u32::from(dice.percent(rules.twice)) {
            let jitter = u64::try_from(rules.jitter.as_micros()).unwrap();
            let delay = rules.delay + Duration::from_micros(dice.below(jitter + 1));
            let sending = send(bytes.to_vec());
            tokio::spawn(async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                sending.await;
            });
        }
    }
}
