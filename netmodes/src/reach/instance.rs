//! The way of a new flow's first packet inside a container instance's netns: bridge, host ports, the instance itself.
//!
//! Pure, over the very values that [`crate::bridge::nat`] makes the instance's table from, but not over that table: as
//! [`super::path`] is for a VPC, a second reading of what it does, which the kernel's packets are held against.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::path::Opening;
use crate::bridge::{BRIDGE_ADDRESS, BRIDGE_BLOCK, PublishedPort};
use crate::ids::EniId;
use crate::nft::Transport;
use crate::vpc::router::TASK_METADATA;

/// What an EC2 host shuts to the outside: the introspection API of the ECS agent (1.5).
const INTROSPECTION: Opening = Opening::Tcp(51678);

/// The netns of a container instance, as far as packets ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// The addresses of its ENI.
    pub addresses: BTreeSet<IpAddr>,
    /// The containers on its bridge.
    pub containers: BTreeSet<Ipv4Addr>,
    /// The host ports that lead to them.
    pub ports: BTreeSet<PublishedPort>,
    /// Where requests for task metadata are led to.
    pub metadata_port: Option<u16>,
}

/// Instances by the ENI that each has.
pub type Instances = BTreeMap<EniId, Inside>;

/// By where a packet enters an instance's netns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// A process of the instance itself sends it, as those of tasks in host mode do.
    Own,
    /// The container at this address of the bridge does.
    Container(Ipv4Addr),
    /// It comes from the VPC, by the ENI.
    Eni,
}

/// Where a packet goes from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// Over the loopback of the netns that it was sent in.
    Loopback,
    /// To the instance's own sockets.
    Instance {
        /// The link that it comes by.
        link: &'static str,
    },
    /// To the sockets of task metadata, at the instance.
    Metadata {
        /// The link that it comes by.
        link: &'static str,
        /// The port that they are on.
        port: u16,
    },
    /// To a container, by one of the instance's addresses and a host port: translated.
    Published(PublishedPort),
    /// To a container by its own address: over the bridge, as it is.
    Bridge(Ipv4Addr),
    /// Into the bridge's block, where no container has the address.
    Nobody,
    /// The instance's own rules drop it.
    Dropped,
    /// Out by the ENI, under the instance's address.
    Out,
}

/// Follows a packet that enters the instance's netns.
pub fn hop(inside: &Inside, entry: Entry, to: IpAddr, opening: Opening) -> Hop {
    let link = match entry {
        Entry::Own => "lo",
        Entry::Container(_) => crate::bridge::BRIDGE_LINK,
        Entry::Eni => crate::awsvpc::OWNER_LINK,
    };
    if entry == Entry::Eni {
        // Nobody out there sends to the bridge, to loopback or to task metadata: it would be dropped at once.
        if !inside.addresses.contains(&to) {
            return Hop::Dropped;
        }
        return match published(inside, opening) {
            Some(port) => Hop::Published(port),
            None if opening == INTROSPECTION => Hop::Dropped,
            None => Hop::Instance { link },
        };
    }
    if let Entry::Container(own) = entry
        && (to.is_loopback() || to == own)
    {
        return Hop::Loopback;
    }
    if to == TASK_METADATA {
        return match (opening, inside.metadata_port) {
            (Opening::Tcp(80), Some(port)) => Hop::Metadata { link, port },
            (opening, _) => Hop::Metadata { link, port: opening.port().unwrap_or_default() },
        };
    }
    if to.is_loopback() || to == BRIDGE_ADDRESS || inside.addresses.contains(&to) {
        return published(inside, opening).map_or(Hop::Instance { link }, Hop::Published);
    }
    match to {
        IpAddr::V4(address) if BRIDGE_BLOCK.contains(address) => match inside.containers.contains(&address) {
            true => Hop::Bridge(address),
            false => Hop::Nobody,
        },
        _ => Hop::Out,
    }
}

fn published(inside: &Inside, opening: Opening) -> Option<PublishedPort> {
    let (protocol, port) = match opening {
        Opening::Tcp(port) => (Transport::Tcp, port),
        Opening::Udp(port) => (Transport::Udp, port),
        Opening::Icmp(..) => return None,
    };
    inside.ports.iter().find(|p| (p.protocol, p.host_port) == (protocol, port)).copied()
}
