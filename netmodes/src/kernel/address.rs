//! Addresses: `ip address add … noprefixroute nodad`, `del`, `show`.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::KernelError;
use super::socket::RouteSocket;

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// The address with its prefix length, host bits kept.
    pub network: IpNetwork,
    /// Whether the kernel made no route of its own to the prefix.
    pub without_prefix_route: bool,
}

impl Address {
    /// Whether the kernel put it there by itself: loopback, or link-local of IPv6.
    pub fn is_the_kernels_own(&self) -> bool {
        match self.network.ip() {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        }
    }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Gives a link an address that brings no route to its prefix and, for IPv6, is usable at once.
///
/// # Errors
/// When the kernel refuses; an address that is there is no error.
pub async fn ensure(socket: &RouteSocket, link: u32, network: IpNetwork) -> Result<(), KernelError> {
    let mut message = message(link, network);
    // Duplicate address detection would hold an IPv6 address back for a second; the lease rules duplicates out.
    let nodad = if network.is_ipv6() { AddressFlags::Nodad } else { AddressFlags::empty() };
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute | nodad));
    let what = || format!("add address {network} to link {link}");
    match socket.change(what, RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL).await {
        Err(error) if error.is_present() => Ok(()),
        result => result,
    }
}

/// Takes an address from a link.
///
/// # Errors
/// When the kernel refuses; an address that is not there is no error.
pub async fn remove(socket: &RouteSocket, link: u32, network: IpNetwork) -> Result<(), KernelError> {
    let what = || format!("remove address {network} from link {link}");
    match socket.change(what, RouteNetlinkMessage::DelAddress(message(link, network)), 0).await {
        Err(error) if error.is_absent() => Ok(()),
        result => result,
    }
}

/// Brings the addresses of a link to exactly `wanted`, but for those that are the kernel's own.
///
/// # Errors
/// When the kernel refuses.
pub async fn ensure_exactly(socket: &RouteSocket, link: u32, wanted: &[IpNetwork]) -> Result<(), KernelError> {
    let there: Vec<_> = list(socket).await?.into_iter().filter(|address| address.link == link).collect();
    let right = |address: &Address| address.without_prefix_route && wanted.contains(&address.network);
    for address in there.iter().filter(|address| !right(address) && !address.is_the_kernels_own()) {
        remove(socket, link, address.network).await?;
    }
    for network in wanted {
        if !there.iter().any(|address| address.network == *network && right(address)) {
            ensure(socket, link, *network).await?;
        }
    }
    Ok(())
}

/// All addresses of the namespace.
///
/// # Errors
/// When the kernel refuses.
pub async fn list(socket: &RouteSocket) -> Result<Vec<Address>, KernelError> {
    let messages = socket.dump("list addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default())).await?;
    Ok(messages.into_iter().filter_map(read).collect())
}

fn message(link: u32, network: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link;
    message.header.family = family(network.ip());
    message.header.prefix_len = network.prefix();
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![AddressAttribute::Local(network.ip()), AddressAttribute::Address(network.ip())];
    message
}

fn read(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let (mut local, mut address, mut flags) = (None, None, AddressFlags::empty());
    for attribute in message.attributes {
        match attribute {
            // IPv4 gives both, and `Address` is then the other side of a point-to-point link; IPv6 gives `Address`.
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            AddressAttribute::Flags(given) => flags = given,
            _ => {}
        }
    }
    let network = IpNetwork::new(local.or(address)?, message.header.prefix_len).ok()?;
    let without_prefix_route = flags.contains(AddressFlags::Noprefixroute);
    Some(Address { link: message.header.index, network, without_prefix_route })
}
