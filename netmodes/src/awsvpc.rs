//! What one ENI and the implied router are made of on Linux, as values (reference 1.3, 5.4).
//!
//! Pure: an [`Eni`] or a [`Router`] goes in, what should be in the kernel comes out. [`crate::network`] makes it so and
//! [`crate::observe`] reads it back into the same types, so that drift is `!=`. Routed and not bridged: every ENI is a
//! host route, both ends know each other's MAC for good, and no ARP is ever spoken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::kernel::sysctl::Sysctl;
use crate::vpc::eni::{Eni, MTU, MacAddress};
use crate::vpc::router::Router;

/// The name of the ENI's end in its owner's namespace, as the EC2 agent has it (1.3).
pub const OWNER_LINK: &str = "eth0";

/// The end of an ENI's link that stands in the VPC's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterEnd {
    /// [`Eni::link_name`].
    pub name: String,
    /// What the owner sees as its gateway's MAC.
    pub mac: Option<MacAddress>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it and the owner's end are both up.
    pub up: bool,
    /// The addresses whose packets are routed to it.
    pub host_routes: BTreeSet<IpAddr>,
    /// The addresses whose MAC it knows for good.
    pub neighbours: BTreeMap<IpAddr, MacAddress>,
}

impl RouterEnd {
    /// What the VPC's namespace should hold of `eni`.
    pub fn of(eni: &Eni) -> Self {
        let addresses = || eni.addresses.iter().map(|a| a.address);
        Self {
            name: Eni::link_name(&eni.id),
            mac: Some(MacAddress::of_gateway(&eni.id)),
            mtu: MTU,
            up: true,
            host_routes: addresses().collect(),
            neighbours: addresses().map(|address| (address, eni.mac)).collect(),
        }
    }
}

/// The end of an ENI's link that stands in its owner's namespace, as [`OWNER_LINK`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerEnd {
    /// The ENI's MAC.
    pub mac: Option<MacAddress>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// The ENI's addresses with their subnets' prefix lengths.
    pub addresses: BTreeSet<IpNetwork>,
    /// The routes over it, in the order in which each finds its gateway.
    pub routes: BTreeSet<OwnerRoute>,
    /// The gateways' MAC, known for good.
    pub neighbours: BTreeMap<IpAddr, MacAddress>,
}

/// A route over [`OWNER_LINK`].
///
/// Sorted so that the gateway's own route comes before those that lead through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnerRoute {
    /// The gateway; `None` is on the link itself.
    pub via: Option<IpAddr>,
    /// Where to; `/0` is the default route.
    pub destination: IpNetwork,
}

impl OwnerEnd {
    /// What the namespace of its owner should hold of `eni`.
    pub fn of(eni: &Eni) -> Self {
        let gateway_mac = MacAddress::of_gateway(&eni.id);
        let mut end = Self {
            mac: Some(eni.mac),
            mtu: MTU,
            up: true,
            addresses: BTreeSet::new(),
            routes: BTreeSet::new(),
            neighbours: BTreeMap::new(),
        };
        for address in &eni.addresses {
            let via = Some(address.gateway);
            end.neighbours.insert(address.gateway, gateway_mac);
            end.routes.insert(OwnerRoute { via: None, destination: IpNetwork::from(address.gateway) });
            // A prefix that fits no address of the family is nobody's subnet; the address then stands alone.
            let network = IpNetwork::new(address.address, address.prefix);
            let network = network.unwrap_or_else(|_| IpNetwork::from(address.address));
            end.addresses.insert(network);
            end.routes.extend(
                [block(network.network(), network.prefix()), any(address.gateway)]
                    .into_iter()
                    .flatten()
                    .map(|destination| OwnerRoute { via, destination }),
            );
        }
        end
    }
}

/// What the VPC's namespace holds besides its ENIs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterState {
    /// Whether `lo` is up.
    pub loopback_up: bool,
    /// The addresses on `lo`, each alone in its prefix.
    pub local_addresses: BTreeSet<IpNetwork>,
    /// The blocks whose unused addresses lead nowhere.
    pub blackholes: BTreeSet<IpNetwork>,
    /// Whether IPv4 is forwarded.
    pub forwards_ipv4: bool,
    /// Whether IPv6 is forwarded.
    pub forwards_ipv6: bool,
    /// Whether the host's link is there, with the way back to the host.
    #[serde(default)]
    pub reaches_host: bool,
    /// Whether idle flows are forgotten as `idle_timeouts` says.
    #[serde(default)]
    pub forgets_flows: bool,
}

impl RouterState {
    /// What `router` should look like.
    pub fn of(router: &Router) -> Self {
        Self {
            loopback_up: true,
            local_addresses: router.local_addresses().into_iter().map(IpNetwork::from).collect(),
            blackholes: router.cidrs.iter().filter_map(|c| block(c.network(), c.prefix())).collect(),
            forwards_ipv4: true,
            forwards_ipv6: router.cidrs.iter().any(IpNetwork::is_ipv6),
            reaches_host: router.host_link.is_some(),
            forgets_flows: true,
        }
    }
}

/// How many seconds a tracked flow that carries nothing is kept, as in EC2 (4.4). A UDP flow is a stream to Linux once
/// both sides have sent for two seconds.
///
/// A kernel that tracks nothing yet has none of these settings: the filter, which is there before the router, makes it track.
pub(crate) fn idle_timeouts() -> [Sysctl; 6] {
    [
        ("tcp_timeout_established", "432000"),
        ("udp_timeout", "30"),
        ("udp_timeout_stream", "180"),
        ("generic_timeout", "600"),
        // Another protocol like any, to EC2.
        ("gre_timeout", "600"),
        ("gre_timeout_stream", "600"),
    ]
    .map(|(name, seconds)| Sysctl::optional(format!("netfilter/nf_conntrack_{name}"), seconds))
}

fn block(network: IpAddr, prefix: u8) -> Option<IpNetwork> {
    IpNetwork::new(network, prefix).ok()
}

fn any(like: IpAddr) -> Option<IpNetwork> {
    block(if like.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() }, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EniId, SubnetId};
    use crate::vpc::eni::EniAddress;
    use crate::vpc::subnet::Subnet;

    fn eni(addresses: &[(&str, u8, &str)]) -> Eni {
        let id = EniId::from_bits(7);
        Eni {
            mac: MacAddress::of_eni(&id),
            id,
            subnet: SubnetId::from_bits(1),
            addresses: addresses
                .iter()
                .map(|(address, prefix, gateway)| EniAddress {
                    address: address.parse().unwrap(),
                    prefix: *prefix,
                    gateway: gateway.parse().unwrap(),
                })
                .collect(),
            groups: vec![],
            source_check: true,
        }
    }

    fn routes(end: &OwnerEnd) -> Vec<String> {
        let text = |r: &OwnerRoute| match r.via {
            Some(via) => format!("{} via {via}", r.destination),
            None => r.destination.to_string(),
        };
        end.routes.iter().map(text).collect()
    }

    #[test]
    fn an_owner_reaches_its_subnet_and_the_rest_through_the_gateway() {
        let end = OwnerEnd::of(&eni(&[("10.0.1.23", 24, "10.0.1.1")]));
        assert_eq!(routes(&end), ["10.0.1.1/32", "0.0.0.0/0 via 10.0.1.1", "10.0.1.0/24 via 10.0.1.1"]);
        assert_eq!(end.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.1.23/24"]);
        assert_eq!(end.neighbours.values().collect::<Vec<_>>(), [&MacAddress::of_gateway(&EniId::from_bits(7))]);
    }

    #[test]
    fn an_ipv6_address_brings_the_same_routes_beside_those_of_ipv4() {
        let eni = eni(&[("10.0.1.23", 24, "10.0.1.1"), ("2600:1f00::17", 64, "2600:1f00::1")]);
        let routes = routes(&OwnerEnd::of(&eni));
        assert_eq!(routes.len(), 6);
        assert!(routes.contains(&"::/0 via 2600:1f00::1".to_owned()), "{routes:?}");
        assert_eq!(RouterEnd::of(&eni).host_routes.len(), 2);
    }

    #[test]
    fn a_router_is_its_gateways_resolver_and_metadata_over_a_blackhole() {
        let cidr = |text: &str| -> IpNetwork { text.parse().unwrap() };
        let subnet =
            |n, block| Subnet { id: SubnetId::from_bits(n), availability_zone: "us-east-1a".into(), cidr: cidr(block) };
        let router = Router {
            cidrs: vec![cidr("10.0.0.0/16")],
            subnets: vec![subnet(1, "10.0.0.0/24"), subnet(2, "10.0.1.0/24")],
            internet: false,
            host_link: None,
        };
        let state = RouterState::of(&router);
        let addresses: Vec<_> = state.local_addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.1/32", "10.0.0.2/32", "10.0.1.1/32", "169.254.169.253/32", "169.254.170.2/32"]);
        assert_eq!(state.blackholes, BTreeSet::from([cidr("10.0.0.0/16")]));
        assert!(state.forwards_ipv4 && !state.forwards_ipv6);
    }
}
