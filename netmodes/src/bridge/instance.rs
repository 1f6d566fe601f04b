//! The bridge of a container instance, and what an instance's netns looked like (reference 1.5, 1.7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network};
use serde::{Deserialize, Serialize};

use super::attachment::{Attachment, AttachmentId, BridgePort, docker_mac};
use super::ports::PublishedPort;
use crate::kernel::sysctl::Sysctl;
use crate::vpc::eni::MacAddress;
use crate::vpc::router::TASK_METADATA;

/// The link of Docker's default bridge.
pub const BRIDGE_LINK: &str = "docker0";
/// The block of Docker's default bridge, the same in every instance, as on EC2.
pub const BRIDGE_BLOCK: Ipv4Network = Ipv4Network::new_checked(Ipv4Addr::new(172, 17, 0, 0), 16).unwrap();
/// The bridge's own address: its containers' default gateway.
pub const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// MTU of the bridge and its links, bytes: Docker's default, which an EC2 instance has beside the 9001 of its ENI. What is
/// bigger is cut, or told by ICMP, at the instance; TCP's ends announce what their own links carry.
pub const BRIDGE_MTU: u32 = 1500;

/// The bridge's MAC. Fixed: one without takes the lowest of its ports', and changes it as they come and go.
pub fn bridge_mac() -> MacAddress {
    docker_mac(BRIDGE_ADDRESS)
}

/// The bridge of an instance, with what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeState {
    /// The MAC of [`BRIDGE_LINK`].
    pub mac: Option<MacAddress>,
    /// Bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Its addresses.
    pub addresses: BTreeSet<IpNetwork>,
    /// Whether its block is routed to it.
    pub routed: bool,
}

impl BridgeState {
    /// What it should be.
    pub fn wanted() -> Self {
        Self {
            mac: Some(bridge_mac()),
            mtu: BRIDGE_MTU,
            up: true,
            addresses: Ipv4Network::new(BRIDGE_ADDRESS, BRIDGE_BLOCK.prefix()).into_iter().map(IpNetwork::V4).collect(),
            routed: true,
        }
    }
}

/// The addresses of an instance's `lo` besides 127.0.0.1: where the front of task metadata listens (pitfall 7).
pub(crate) fn loopback_addresses() -> BTreeSet<IpNetwork> {
    BTreeSet::from([IpNetwork::from(TASK_METADATA)])
}

/// An instance's netns as it is, but for its ENI, which [`crate::observe::observe_owner`] reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedInstance {
    /// Whether bridge, addresses, settings and the rules around the ports are as they should be.
    pub bridge_ready: bool,
    /// The attachments by the id in their link's name.
    pub attachments: BTreeMap<AttachmentId, BridgePort>,
    /// The host ports that lead to containers.
    pub ports: BTreeSet<PublishedPort>,
    /// The port that requests for task metadata are led to, if they are.
    #[serde(default)]
    pub metadata_port: Option<u16>,
}

impl ObservedInstance {
    /// Whether the attachment is complete, as far as the instance's netns shows.
    ///
    /// Its alias is the last thing made of it, so this holds for the container's end too, as it was then.
    pub fn attachment_matches(&self, attachment: &Attachment) -> bool {
        self.attachments.get(&attachment.id) == Some(&BridgePort::of(attachment))
    }
}

/// Settings of an instance's netns as a whole.
pub(crate) fn instance_settings() -> Vec<Sysctl> {
    let mut settings = vec![
        Sysctl::new("ipv4/ip_forward", "1"),
        // A container's packet to its own instance and a host port goes back out where it came from.
        Sysctl::new("ipv4/conf/all/send_redirects", "0"),
    ];
    // What the bridge carries from port to port is not for the instance's filter, which would translate it half (pitfall 6).
    let on_bridge = ["iptables", "ip6tables", "arptables"];
    settings.extend(on_bridge.map(|kind| Sysctl::optional(format!("bridge/bridge-nf-call-{kind}"), "0")));
    settings
}

/// Settings of the bridge's link.
pub(crate) fn bridge_settings() -> Vec<Sysctl> {
    vec![
        // A container answers to a process that asked 127.0.0.1 and a host port. The hole that this opens is closed by
        // the filter: nothing from another link is for or from 127.0.0.0/8.
        Sysctl::new(format!("ipv4/conf/{BRIDGE_LINK}/route_localnet"), "1"),
        Sysctl::new(format!("ipv4/conf/{BRIDGE_LINK}/send_redirects"), "0"),
        no_ipv6(BRIDGE_LINK),
    ]
}

/// Settings of the instance's end of an attachment.
pub(crate) fn port_settings(link: &str) -> Vec<Sysctl> {
    vec![no_ipv6(link)]
}

/// The bridge has no IPv6, even on an instance that has: containers would find each other and the host by link-local addresses.
fn no_ipv6(link: &str) -> Sysctl {
    Sysctl::optional(format!("ipv6/conf/{link}/disable_ipv6"), "1")
}
