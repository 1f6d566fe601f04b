//! Subnets: which addresses may be leased, and which one is next (reference 5.1).
//!
//! Pure. The lease itself is a row in the agent's store, written before anything uses the address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::ids::SubnetId;

/// One subnet of a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: SubnetId,
    /// The whole zone name, for example `us-east-1a`.
    pub availability_zone: String,
    /// The block, host bits cleared; `/16` to `/28` for IPv4.
    pub cidr: IpNetwork,
}

impl Subnet {
    /// The router's address, base + 1: every ENI's gateway.
    pub fn gateway(&self) -> IpAddr {
        offset(self.cidr.network(), 1)
    }

    /// Whether AWS keeps `address` for itself: base + 0 to + 3, and the last one.
    pub fn is_reserved(&self, address: IpAddr) -> bool {
        let base = self.cidr.network();
        (0..4).any(|n| offset(base, n) == address) || address == self.cidr.broadcast()
    }

    /// How many addresses can be leased when none is: 251 for a `/24`.
    pub fn capacity(&self) -> u128 {
        let size: u128 = match self.cidr {
            IpNetwork::V4(block) => u128::from(block.size()),
            IpNetwork::V6(block) => block.size(),
        };
        size.saturating_sub(5)
    }

    /// The next free address after `last`, wrapping round at the end of the block; `None` when the subnet is full.
    ///
    /// Going on from the last one, and not from the lowest free one, lets an address rest before it is used again.
    pub fn next_address(&self, taken: &BTreeSet<IpAddr>, last: Option<IpAddr>) -> Option<IpAddr> {
        let base = self.cidr.network();
        let first = 4;
        let span = self.capacity();
        let start = match last {
            Some(last) if self.cidr.contains(last) => distance(base, last).saturating_sub(first) + 1,
            _ => 0,
        };
        // At most `taken` + 1 candidates are looked at, so a huge IPv6 block costs no more than a small one.
        let tries = span.min(taken.len() as u128 + 1);
        (0..tries).map(|n| offset(base, first + (start + n) % span)).find(|candidate| !taken.contains(candidate))
    }
}

fn offset(base: IpAddr, by: u128) -> IpAddr {
    match base {
        // Offsets stay inside the block, which fits its family.
        IpAddr::V4(base) => IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().wrapping_add(by as u32))),
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().wrapping_add(by))),
    }
}

fn distance(base: IpAddr, address: IpAddr) -> u128 {
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => u128::from(address.to_bits().wrapping_sub(base.to_bits())),
        (IpAddr::V6(base), IpAddr::V6(address)) => address.to_bits().wrapping_sub(base.to_bits()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(cidr: &str) -> Subnet {
        Subnet { id: SubnetId::from_bits(1), availability_zone: "us-east-1a".into(), cidr: cidr.parse().unwrap() }
    }

    #[test]
    fn a_slash_24_leases_251_addresses_and_is_then_full() {
        let subnet = subnet("10.0.0.0/24");
        let mut taken = BTreeSet::new();
        let mut last = None;
        while let Some(address) = subnet.next_address(&taken, last) {
            assert!(!subnet.is_reserved(address), "{address}");
            assert!(taken.insert(address));
            last = Some(address);
        }
        assert_eq!(taken.len(), 251);
        assert_eq!(subnet.capacity(), 251);
        assert!(taken.contains(&"10.0.0.4".parse().unwrap()) && taken.contains(&"10.0.0.254".parse().unwrap()));
    }

    #[test]
    fn a_freed_address_rests_until_the_block_has_been_gone_round() {
        let subnet = subnet("10.0.0.0/28");
        let next = subnet.next_address(&BTreeSet::new(), Some("10.0.0.5".parse().unwrap()));
        assert_eq!(next, Some("10.0.0.6".parse().unwrap()));
        let wrapped = subnet.next_address(&BTreeSet::new(), Some("10.0.0.14".parse().unwrap()));
        assert_eq!(wrapped, Some("10.0.0.4".parse().unwrap()));
    }

    #[test]
    fn the_router_is_base_plus_one_in_either_family() {
        assert_eq!(subnet("10.0.3.0/24").gateway().to_string(), "10.0.3.1");
        assert_eq!(subnet("2600:1f00::/64").gateway().to_string(), "2600:1f00::1");
    }

    proptest! {
        #[test]
        fn a_leased_address_is_free_inside_and_not_reserved(
            prefix in 16u8..=28, taken in proptest::collection::btree_set(0u32..65536, 0..40), last in proptest::option::of(0u32..65536),
        ) {
            let subnet = subnet(&format!("10.1.0.0/{prefix}"));
            let at = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + n));
            let taken: BTreeSet<_> = taken.into_iter().map(at).collect();
            if let Some(address) = subnet.next_address(&taken, last.map(at)) {
                prop_assert!(subnet.cidr.contains(address) && !subnet.is_reserved(address) && !taken.contains(&address));
            } else {
                let leased = taken.iter().filter(|a| subnet.cidr.contains(**a) && !subnet.is_reserved(**a)).count();
                prop_assert_eq!(leased as u128, subnet.capacity());
            }
        }
    }
}
