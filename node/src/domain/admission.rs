//! How often strangers may start handshakes: a bucket for each network, before anything is computed for them.

use std::{collections::BTreeMap, net::IpAddr};

/// Handshakes of one network that may start at once, and that come back each second.
const PER_SECOND: u64 = 10;
/// Networks remembered at once, at most; beyond it the ones whose buckets are full again are forgotten.
const NETWORKS_MAX: usize = 4_096;

/// Buckets by network: /24 for IPv4 (also where it is mapped into IPv6), /48 for IPv6 (`robustness.md` 6.0).
#[derive(Debug, Default)]
pub struct Admission {
    // Thousandths of a handshake, and when they were counted.
    buckets: BTreeMap<[u8; 7], (u64, u64)>,
}

impl Admission {
    /// Takes one handshake's worth for an address; `now_ms` is a monotonic clock. `false` if the network has had its share.
    pub fn take(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let full = PER_SECOND * 1000;
        let refilled = |(milli, since): (u64, u64)| {
            milli.saturating_add(now_ms.saturating_sub(since).saturating_mul(PER_SECOND)).min(full)
        };
        if self.buckets.len() >= NETWORKS_MAX {
            self.buckets.retain(|_, bucket| refilled(*bucket) < full);
            if self.buckets.len() >= NETWORKS_MAX {
                return false;
            }
        }
        let bucket = self.buckets.entry(network(address)).or_insert((full, now_ms));
        let milli = refilled(*bucket);
        if milli < 1000 {
            *bucket = (milli, now_ms);
            return false;
        }
        *bucket = (milli - 1000, now_ms);
        true
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
        assert!(admission.buckets.len() <= NETWORKS_MAX);
    }
}
