//! What a socket takes on: handshakes of each network, streams of each member, before anything is computed for them.

use std::net::IpAddr;

use accord_protocol::id::NodeId;

use super::bucket::{Buckets, Rate};

/// Handshakes of one network: 10 at once, and 10 a second (`robustness.md` 6.0).
const HANDSHAKES: Rate = Rate { burst: 10, per_minute: 600 };
/// Networks remembered at once, at most.
const NETWORKS_MAX: usize = 4_096;
/// Streams of one member. A question is one stream for each slice, so that no honest node comes near; a member gone bad is kept to
/// some per cent of one processor.
const STREAMS: Rate = Rate { burst: 1_000, per_minute: 12_000 };
/// Members remembered at once; a roster lists fewer.
const MEMBERS_MAX: usize = 256;

/// Handshakes by network: /24 for IPv4 (also where it is mapped into IPv6), /48 for IPv6 (`robustness.md` 6.0).
#[derive(Debug)]
pub struct Admission(Buckets<[u8; 7]>);

impl Default for Admission {
    fn default() -> Self {
        Self(Buckets::new(HANDSHAKES, NETWORKS_MAX))
    }
}

impl Admission {
    /// Takes one handshake's worth for an address; `now_ms` is a monotonic clock. `false` if the network has had its share.
    pub fn take(&mut self, address: IpAddr, now_ms: u64) -> bool {
        self.0.take(network(address), now_ms)
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

fn network(address: IpAddr) -> [u8; 7] {
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

    #[test]
    fn a_network_has_its_share_and_no_more_and_others_have_theirs() {
        let mut admission = Admission::default();
        let mut take = |address: &str, now| admission.take(address.parse().unwrap(), now);
        assert_eq!((0..12).filter(|host| take(&format!("192.0.2.{host}"), 0)).count(), 10);
        assert!(take("192.0.3.1", 0), "another network");
        assert!(!take("::ffff:192.0.2.9", 0), "the same network, written as IPv6");
        assert!(take("192.0.2.1", 100), "one comes back each tenth of a second");
        assert!(!take("192.0.2.1", 100));
        assert_eq!((0..12).filter(|host| take(&format!("2001:db8:0:{host}::1"), 0)).count(), 10, "a /48");
        assert!(take("2001:db8:1::1", 0));
    }

    #[test]
    fn memory_is_bounded_whatever_addresses_come() {
        let mut admission = Admission::default();
        for n in 0..20_000u32 {
            let [a, b, c, _] = n.wrapping_mul(65_537).to_be_bytes();
            admission.take(IpAddr::from([a, b, c, 1]), 0);
        }
        assert!(admission.0.len() <= NETWORKS_MAX);
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
