//! Routes of the main table: `ip route replace`, `del`, `show`.
//!
//! What is made here is marked `proto static`; routes that the kernel or others made are not shown and not touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

use super::address::family;
use super::error::KernelError;
use super::socket::RouteSocket;

/// A route: where to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Host bits cleared; `/0` is the default route.
    pub destination: IpNetwork,
    /// How packets get there.
    pub hop: Hop,
}

/// How a route's packets get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// The destination is on the link (`dev … scope link`).
    Link(u32),
    /// By way of a router that is on the link (`via … dev …`).
    Gateway(IpAddr, u32),
    /// Dropped without a word.
    Blackhole,
}

/// Makes the route, in place of one to the same destination.
///
/// # Errors
/// When the kernel refuses, for example since the link is down (ENETDOWN).
pub async fn ensure(socket: &RouteSocket, route: Route) -> Result<(), KernelError> {
    let what = || format!("make the route {route:?}");
    socket.change(what, RouteNetlinkMessage::NewRoute(message(route)), NLM_F_CREATE | NLM_F_REPLACE).await
}

/// Makes the route by way of a gateway that is taken to be on the link, for packets that leave with `source` and with
/// `hops` to live.
///
/// # Errors
/// When the kernel refuses.
pub async fn ensure_on_link(
    socket: &RouteSocket,
    destination: IpNetwork,
    (gateway, link): (IpAddr, u32),
    source: IpAddr,
    hops: u8,
) -> Result<(), KernelError> {
    let mut message = message(Route { destination, hop: Hop::Gateway(gateway, link) });
    message.header.flags = RouteFlags::Onlink;
    message.attributes.push(RouteAttribute::PrefSource(source.into()));
    message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Hoplimit(hops.into())]));
    let what = || format!("make the route to {destination} over link {link}");
    socket.change(what, RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE).await
}

/// Whoever's routes lead to a part of `block`, or to it as a part, by another link than `link`; default routes do not
/// count.
///
/// # Errors
/// When the kernel refuses.
pub async fn overlapping(
    socket: &RouteSocket,
    block: IpNetwork,
    link: u32,
) -> Result<Vec<(IpNetwork, Option<u32>)>, KernelError> {
    let messages = socket.dump("list routes", RouteNetlinkMessage::GetRoute(RouteMessage::default())).await?;
    let routes = messages.into_iter().filter_map(|message| {
        let RouteNetlinkMessage::NewRoute(message) = message else { return None };
        if message.header.table != RouteHeader::RT_TABLE_MAIN || message.header.destination_prefix_length == 0 {
            return None;
        }
        let (mut destination, mut over) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = plain(address),
                RouteAttribute::Oif(index) => over = Some(*index),
                _ => {}
            }
        }
        Some((IpNetwork::new(destination?, message.header.destination_prefix_length).ok()?, over))
    });
    let meets = |other: &IpNetwork| {
        other.is_ipv4() == block.is_ipv4() && (block.contains(other.network()) || other.contains(block.network()))
    };
    Ok(routes.filter(|(other, over)| meets(other) && *over != Some(link)).collect())
}

/// Deletes exactly that route.
///
/// # Errors
/// When the kernel refuses; a route that is not there is no error.
pub async fn remove(socket: &RouteSocket, route: Route) -> Result<(), KernelError> {
    let what = || format!("delete the route {route:?}");
    match socket.change(what, RouteNetlinkMessage::DelRoute(message(route)), 0).await {
        Err(error) if error.is_absent() => Ok(()),
        result => result,
    }
}

/// All routes that were made here.
///
/// # Errors
/// When the kernel refuses.
pub async fn list(socket: &RouteSocket) -> Result<Vec<Route>, KernelError> {
    let messages = socket.dump("list routes", RouteNetlinkMessage::GetRoute(RouteMessage::default())).await?;
    Ok(messages.into_iter().filter_map(read).collect())
}

fn message(route: Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.destination.ip());
    message.header.destination_prefix_length = route.destination.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Universe;
    if route.destination.prefix() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.destination.network().into()));
    }
    match route.hop {
        Hop::Link(link) => {
            // IPv6 has no scopes and would take any for universe.
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(link));
        }
        Hop::Gateway(gateway, link) => {
            message.attributes.extend([RouteAttribute::Gateway(gateway.into()), RouteAttribute::Oif(link)]);
        }
        Hop::Blackhole => message.header.kind = RouteType::BlackHole,
    }
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.protocol != RouteProtocol::Static {
        return None;
    }
    let (mut destination, mut gateway, mut link) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = plain(address),
            RouteAttribute::Gateway(address) => gateway = plain(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    let any = match header.address_family {
        netlink_packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        netlink_packet_route::AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let destination = IpNetwork::new(destination.unwrap_or(any), header.destination_prefix_length).ok()?;
    let hop = match (header.kind, gateway, link) {
        (RouteType::BlackHole, _, _) => Hop::Blackhole,
        (RouteType::Unicast, Some(gateway), Some(link)) => Hop::Gateway(gateway, link),
        (RouteType::Unicast, None, Some(link)) => Hop::Link(link),
        _ => return None,
    };
    Some(Route { destination, hop })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
