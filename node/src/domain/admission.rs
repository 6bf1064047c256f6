//! What a socket takes on: handshakes of each network, streams of each member, before anything is computed for them.

use std::{collections::BTreeSet, net::IpAddr};

use accord_protocol::id::NodeId;

use super::bucket::{Buckets, Rate};

/// Handshakes of one network: 10 at once, and 10 a second (`robustness.md` 6.0).
const HANDSHAKES: Rate = Rate { burst: 10, per_minute: 600 };
/// Handshakes of all networks where no member is known to live: whoever has many networks costs no more than some per cent of one
/// processor, and members are admitted as before.
const STRANGERS: Rate = Rate { burst: 50, per_minute: 3_000 };
/// Networks remembered at once, at most.
const NETWORKS_MAX: usize = 4_096;
/// Streams of one member. A question is one stream for each slice, so that no honest node comes near; a member gone bad is kept to
/// some per cent of one processor.
const STREAMS: Rate = Rate { burst: 1_000, per_minute: 12_000 };
/// Members remembered at once; a roster lists fewer.
const MEMBERS_MAX: usize = 256;

/// A network: /24 for IPv4 (also where it is mapped into IPv6), /48 for IPv6 (`robustness.md` 6.0).
type Network = [u8; 7];

/// Whether a handshake may start, and from whose share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// From a network where a member lives.
    Known,
    /// From any other.
    Stranger,
    /// Not now.
    Over,
}

/// Handshakes by network. Nothing that strangers send takes anything from the networks where members live.
#[derive(Debug)]
pub struct Admission {
    known: BTreeSet<Network>,
    of_known: Buckets<Network>,
    of_strangers: Buckets<Network>,
    strangers: Buckets<()>,
}

impl Admission {
    /// Everybody's share is full; members live at these addresses.
    pub fn new(members: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            known: members.into_iter().map(network).collect(),
            of_known: Buckets::new(HANDSHAKES, NETWORKS_MAX),
            of_strangers: Buckets::new(HANDSHAKES, NETWORKS_MAX),
            strangers: Buckets::new(STRANGERS, 1),
        }
    }

    /// Takes one handshake's worth for an address; `now_ms` is a monotonic clock.
    pub fn take(&mut self, address: IpAddr, now_ms: u64) -> Verdict {
        let network = network(address);
        if self.known.contains(&network) {
            return if self.of_known.take(network, now_ms) { Verdict::Known } else { Verdict::Over };
        }
        let admitted = self.of_strangers.take(network, now_ms) && self.strangers.take((), now_ms);
        if admitted { Verdict::Stranger } else { Verdict::Over }
    }
}

/// How fast members may open streams.
#[derive(Debug)]
pub struct Pace(Buckets<NodeId>);

impl Default for Pace {
    fn default() -> Self {
        Self(Buckets::new(STREAMS, MEMBERS_MAX))
    }
}

impl Pace {
    /// Takes one stream's worth; otherwise the milliseconds after which it is worth trying again.
    pub fn take(&mut self, member: &NodeId, now_ms: u64) -> Result<(), u64> {
        if self.0.take(member.clone(), now_ms) { Ok(()) } else { Err(STREAMS.interval_ms()) }
    }
}

fn network(address: IpAddr) -> Network {
    let mut network = [0; 7];
    let (family, octets, length) = match address.to_canonical() {
        IpAddr::V4(address) => (4, address.octets().to_vec(), 3),
        IpAddr::V6(address) => (6, address.octets().to_vec(), 6),
    };
    for (slot, byte) in network.iter_mut().zip(std::iter::once(family).chain(octets.into_iter().take(length))) {
        *slot = byte;
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(["203.0.113.7".parse().unwrap()])
    }

    #[test]
    fn a_network_has_its_share_and_no_more_and_others_have_theirs() {
        let mut admission = admission();
        let mut take = |address: &str, now| admission.take(address.parse().unwrap(), now) == Verdict::Stranger;
        assert_eq!((0..12).filter(|host| take(&format!("192.0.2.{host}"), 0)).count(), 10);
        assert!(take("192.0.3.1", 0), "another network");
        assert!(!take("::ffff:192.0.2.9", 0), "the same network, written as IPv6");
        assert!(take("192.0.2.1", 100), "one comes back each tenth of a second");
        assert!(!take("192.0.2.1", 100));
        assert_eq!((0..12).filter(|host| take(&format!("2001:db8:0:{host}::1"), 0)).count(), 10, "a /48");
        assert!(take("2001:db8:1::1", 0));
    }

    #[test]
    fn strangers_with_many_networks_take_nothing_from_members() {
        let mut admission = admission();
        let mut taken = 0;
        for n in 0..20_000u32 {
            let [a, b, c, _] = n.wrapping_mul(65_537).to_be_bytes();
            taken += u32::from(admission.take(IpAddr::from([a, b, c, 1]), 0) == Verdict::Stranger);
        }
        assert_eq!(taken, 50);
        assert!(admission.of_strangers.len() <= NETWORKS_MAX, "memory is bounded whatever addresses come");
        let mut member = |address: &str| admission.take(address.parse().unwrap(), 0);
        assert_eq!((0..12).filter(|_| member("203.0.113.9") == Verdict::Known).count(), 10);
        assert_eq!(member("203.0.113.7"), Verdict::Over);
        assert_eq!(member("192.0.2.1"), Verdict::Over);
    }

    #[test]
    fn a_member_that_opens_too_many_streams_waits() {
        let mut pace = Pace::default();
        let member: NodeId = "IT-AGENCY".parse().unwrap();
        assert_eq!((0..1_100).filter(|_| pace.take(&member, 0).is_ok()).count(), 1_000);
        assert_eq!(pace.take(&member, 0), Err(5));
        assert_eq!(pace.take(&member, 5), Ok(()));
        assert_eq!(pace.take(&"PT-AGENCY".parse().unwrap(), 5), Ok(()));
    }
}
