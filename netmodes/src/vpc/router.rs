//! The implied router as a value: what the VPC's namespace holds besides its ENIs.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::subnet::Subnet;
use crate::ids::VpcId;

/// The link-local address of Amazon's resolver, beside VPC base + 2 (reference 5.2).
pub const RESOLVER_LINK_LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 169, 253));
/// Task metadata and credentials (reference 9.1).
pub const TASK_METADATA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 170, 2));

/// The end, in the VPC's namespace, of the link by which the host reaches into it.
pub const HOST_LINK: &str = "host";
/// The host, as the VPC sees it: what a rule that names the host is for. Link-local, so that it is nobody's in any VPC.
pub const HOST_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 172, 1));
/// The VPC's router, as the host sees it: the way into every block of the VPC.
pub const HOST_GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 172, 2));

/// The time to live of what the host itself sends into the VPC: the most there is, so that nothing forwarded has it.
pub const HOST_HOPS: u8 = u8::MAX;

/// The name of the host's own end of that link: one for each VPC, at most 15 bytes.
pub fn host_link_name(vpc: &VpcId) -> String {
    let id = vpc.as_str();
    format!("eh-{}", &id[id.len().saturating_sub(12)..])
}

/// What the VPC's namespace must hold before its first ENI: addresses on `lo`, routes, forwarding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// The VPC's blocks; each is a blackhole route, so that nobody's address is never routed elsewhere (pitfall 4).
    pub cidrs: Vec<IpNetwork>,
    /// Its subnets; each one's gateway is an address of the router.
    pub subnets: Vec<Subnet>,
    /// Whether packets leave by the uplink that the namespace came with (`eth0` on Docker's bridge), masqueraded.
    pub internet: bool,
    /// The host reaches into the VPC over a link whose end on the host has this name (`hostAccess`).
    #[serde(default)]
    pub host_link: Option<String>,
}

impl Router {
    /// The addresses that the resolver is bound to: VPC base + 2 of the first block, and 169.254.169.253.
    pub fn resolver_addresses(&self) -> Vec<IpAddr> {
        let base_plus_two = self.cidrs.first().and_then(|block| match block.network() {
            IpAddr::V4(base) => Some(IpAddr::V4(std::net::Ipv4Addr::from_bits(base.to_bits() + 2))),
            IpAddr::V6(_) => None,
        });
        base_plus_two.into_iter().chain([RESOLVER_LINK_LOCAL]).collect()
    }

    /// Every address on the router's `lo`: gateways, resolver, metadata.
    pub fn local_addresses(&self) -> Vec<IpAddr> {
        let gateways = self.subnets.iter().map(Subnet::gateway);
        gateways.chain(self.resolver_addresses()).chain([TASK_METADATA]).collect()
    }
}
