//! The stage: a federation of three members as real processes, with every key that a hostile member has.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use accord_edge::{keyring::KeyRing, random};
use accord_protocol::{key::SigningKey, member_keys::KeyRole};
use accord_tests::{Federation, Running};

use crate::{client::Dial, envelope};

/// The hostile member; its officer is the federation's only one.
pub(crate) const ATTACKER: &str = "ES-AGENCY";
/// The provider that is attacked.
pub(crate) const VICTIM: &str = "IT-AGENCY";
/// An honest member, who keeps asking.
pub(crate) const HONEST: &str = "PT-AGENCY";

/// Longest time that a part of a case takes.
const CASE_WITHIN: Duration = Duration::from_mins(2);

/// A private key that signs whatever it is given.
#[derive(Debug, Clone)]
pub(crate) struct Key(Arc<SigningKey>);

impl Key {
    /// A key that nobody knows.
    pub(crate) fn fresh() -> Self {
        Self(Arc::new(random::signing_key(&random::new_private_key().unwrap()).unwrap()))
    }

    /// The public part.
    pub(crate) fn public(&self) -> [u8; 32] {
        *self.0.public().as_bytes()
    }

    /// Signs exactly these bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign_raw(message).0
    }
}

/// A member's node keys.
#[derive(Debug, Clone)]
pub(crate) struct MemberKeys {
    /// For handshakes.
    pub(crate) tls: Key,
}

/// Three members, running.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The folder and the tools.
    pub(crate) federation: Federation,
    /// The federation's id, as it is signed.
    pub(crate) fed_id: [u8; 32],
    /// The officer's card, encoded.
    pub(crate) card: Vec<u8>,
    /// Figures that the running case reports beside its words.
    pub(crate) figures: BTreeMap<String, f64>,
    keys: BTreeMap<String, MemberKeys>,
    nodes: BTreeMap<String, Running>,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl Stage {
    /// Raises the federation and starts the victim, which answers both other members. Their own nodes stay down unless a case starts
    /// them: the program speaks in their names, and their greetings would take the place of its connections.
    pub(crate) fn raise() -> Self {
        let members = [ATTACKER, VICTIM, HONEST];
        let federation = Federation::new(&members);
        let rows = federation.rows(VICTIM).replace("[\"ES-AGENCY\"]", "[\"ES-AGENCY\", \"PT-AGENCY\"]");
        federation.install_policy(VICTIM, &rows);
        let path = federation.path();
        let take = |ring: &mut KeyRing, role| Key(Arc::new(ring.take(role).unwrap()));
        let keys = members.map(|member| {
            let mut ring = KeyRing::open(&path.join(member).join("node/node.ring"), || None).unwrap();
            (member.to_owned(), MemberKeys { tls: take(&mut ring, KeyRole::Tls) })
        });
        let fed_id = accord_protocol::id::from_hex(&federation.id).unwrap().try_into().unwrap();
        let nodes = [(VICTIM.to_owned(), federation.start_settled(VICTIM))];
        Self {
            fed_id,
            card: fs::read(path.join("officer/officer.card")).unwrap(),
            figures: BTreeMap::new(),
            keys: keys.into(),
            nodes: nodes.into(),
            runtime: Arc::new(
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            ),
            federation,
        }
    }

    /// A member's keys.
    pub(crate) fn keys(&self, member: &str) -> &MemberKeys {
        &self.keys[member]
    }

    /// Where a member's node listens for members, by its settings.
    pub(crate) fn address(&self, member: &str) -> SocketAddr {
        let settings = fs::read_to_string(self.federation.path().join(member).join("node/node.toml")).unwrap();
        let line = settings.lines().find(|line| line.starts_with("listen_members = ")).unwrap();
        let address: SocketAddr = line.split('"').nth(1).unwrap().parse().unwrap();
        if address.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address }
    }

    /// The victim's address.
    pub(crate) fn victim(&self) -> SocketAddr {
        self.address(VICTIM)
    }

    /// A member's log file.
    pub(crate) fn log(&self, member: &str) -> PathBuf {
        self.federation.path().join(format!("{member}-node.log"))
    }

    /// The process of a member's node.
    ///
    /// # Panics
    /// If the case has stopped it.
    pub(crate) fn pid(&self, member: &str) -> u32 {
        self.nodes[member].pid
    }

    /// Stops a member's node in order; its files can then be edited.
    pub(crate) fn stop(&mut self, member: &str) {
        if let Some(node) = self.nodes.remove(member) {
            assert!(node.stop(), "{member} does not stop in order");
        }
    }

    /// Ends a member's node at once, as a crash would.
    pub(crate) fn kill(&mut self, member: &str) {
        self.nodes.remove(member).unwrap().kill();
    }

    /// Starts a node that does not run.
    pub(crate) fn start(&mut self, member: &str) {
        self.stop(member);
        self.nodes.insert(member.to_owned(), self.federation.start_settled(member));
    }

    /// Runs a future to its end.
    ///
    /// # Panics
    /// If that takes so long that the case can only hang.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let within = async { tokio::time::timeout(CASE_WITHIN, future).await };
        self.runtime.block_on(within).expect("a case hangs")
    }

    /// Where work beside the case runs.
    pub(crate) fn runtime(&self) -> &Arc<tokio::runtime::Runtime> {
        &self.runtime
    }

    /// A client of the hostile member, with its right key, from a network of its own.
    pub(crate) fn attacker(&self) -> Dial {
        Dial::of(&self.keys(ATTACKER).tls)
    }

    /// A client of the honest member, from the network where its node lives.
    pub(crate) fn honest(&self) -> Dial {
        Dial::of(&self.keys(HONEST).tls).from(Ipv4Addr::LOCALHOST)
    }

    /// The honest member connects anew and fetches the header of the victim's first edition.
    pub(crate) fn honest_request(&self) -> Result<(), String> {
        self.block_on(async {
            let link = self.honest().connect(self.victim()).await.map_err(|end| format!("no connection: {end}"))?;
            let came = link.ask(&envelope::fetch_edition(1)).await;
            link.close();
            envelope::found(&came).then_some(()).ok_or_else(|| format!("no document came: {came:?}"))
        })
    }
}

/// An address of this machine in a /24 that no other client of this program uses, so that limits by network do not mix.
pub(crate) fn fresh_network() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 100 + high % 100, low, 1).into()
}
