//! Neighbours: `ip neighbour replace … nud permanent`, `del`, `show`.
//!
//! Permanent on both ends of a link, so that no ARP is needed: nothing delays a first packet and nothing can be poisoned.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteType;

use super::address::family;
use super::error::KernelError;
use super::socket::RouteSocket;
use crate::vpc::eni::MacAddress;

/// An entry of the neighbour table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub link: u32,
    /// Whose MAC it is.
    pub address: IpAddr,
    /// `None` while it is not resolved.
    pub mac: Option<MacAddress>,
    /// Made here, as opposed to learned.
    pub permanent: bool,
}

/// Says for good which MAC an address on a link has.
///
/// # Errors
/// When the kernel refuses.
pub async fn ensure(socket: &RouteSocket, link: u32, address: IpAddr, mac: MacAddress) -> Result<(), KernelError> {
    let mut message = message(link, address);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    let what = || format!("make {mac} the neighbour {address} on link {link}");
    socket.change(what, RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE).await
}

/// Deletes the entry of an address on a link.
///
/// # Errors
/// When the kernel refuses; an entry that is not there is no error.
pub async fn remove(socket: &RouteSocket, link: u32, address: IpAddr) -> Result<(), KernelError> {
    let what = || format!("delete the neighbour {address} on link {link}");
    match socket.change(what, RouteNetlinkMessage::DelNeighbour(message(link, address)), 0).await {
        Err(error) if error.is_absent() => Ok(()),
        result => result,
    }
}

/// All entries of the namespace, those of multicast and broadcast left out.
///
/// # Errors
/// When the kernel refuses.
pub async fn list(socket: &RouteSocket) -> Result<Vec<Neighbour>, KernelError> {
    let messages =
        socket.dump("list neighbours", RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default())).await?;
    Ok(messages.into_iter().filter_map(read).collect())
}

fn message(link: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = link;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![NeighbourAttribute::Destination(match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    })];
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    // Multicast is mapped to a MAC by rule and shows as `noarp`.
    if message.header.state == NeighbourState::Noarp {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok().map(MacAddress),
            _ => {}
        }
    }
    let permanent = message.header.state == NeighbourState::Permanent;
    Some(Neighbour { link: message.header.ifindex, address: address?, mac, permanent })
}
