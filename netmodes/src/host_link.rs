//! The link by which the host reaches into a VPC (`hostAccess`), as over a VPN: the one thing that ecsnet makes in the
//! host's own namespace, and only where a stack asks for it.
//!
//! A veth pair. The host's end has an address of its own, [`HOST_ADDRESS`], and a route to the VPC's blocks; the VPC's end
//! is [`HOST_LINK`], with a route back to that one address. What comes in is judged by the receiver's ingress rules, where
//! the host is a peer like any other; the filter lets nothing out to the host but answers, and nothing in that the host
//! only forwards, as for Docker's containers, whose packets it masquerades (`security::base_chains`). Both
//! ends, the address and the route go with the VPC's namespace, so nothing is left behind.

use ipnetwork::IpNetwork;

use crate::kernel::error::KernelError;
use crate::kernel::link::{self, Link, LinkChange, VethEnd};
use crate::kernel::netns::Netns;
use crate::kernel::route::{self, Hop, Route};
use crate::kernel::socket::RouteSocket;
use crate::kernel::sysctl::{self, Sysctl};
use crate::kernel::{address, neighbour};
use crate::vpc::eni::{MTU, MacAddress};
use crate::vpc::router::{HOST_ADDRESS, HOST_GATEWAY, HOST_HOPS, HOST_LINK};

/// Nobody else is on the link, so its two ends are the same for every VPC.
const HOST_MAC: MacAddress = MacAddress([0x06, 0x00, 0xa9, 0xfe, 0xac, 0x01]);
const VPC_MAC: MacAddress = MacAddress([0x06, 0x00, 0xa9, 0xfe, 0xac, 0x02]);

/// Makes the link with its addresses and routes, or mends it.
///
/// # Errors
/// When a route of the host leads to a part of `blocks` already, or the kernel refuses.
pub(crate) async fn ensure(
    vpc: &RouteSocket,
    host: &Netns,
    name: &str,
    blocks: &[IpNetwork],
) -> Result<(), KernelError> {
    let outside = RouteSocket::open(host)?;
    let found = link::find(&outside, name).await?;
    for block in blocks {
        refuse_overlap(&outside, *block, found.as_ref().map_or(0, |link| link.index)).await?;
    }
    let (inner, outer) = pair(vpc, host, &outside, name, found).await?;

    // A host that configures IPv6 by itself would send into the VPC, where nobody listens.
    sysctl::ensure(host, &[Sysctl::optional(format!("ipv6/conf/{name}/disable_ipv6"), "1")])?;
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    address::ensure_exactly(&outside, outer.index, &[IpNetwork::from(HOST_ADDRESS)]).await?;
    link::set(&outside, outer.index, &up).await?;
    link::set(vpc, inner.index, &up).await?;
    neighbour::ensure(&outside, outer.index, HOST_GATEWAY, VPC_MAC).await?;
    neighbour::ensure(vpc, inner.index, HOST_ADDRESS, HOST_MAC).await?;
    for block in blocks.iter().filter(|block| block.is_ipv4()) {
        route::ensure_on_link(&outside, *block, (HOST_GATEWAY, outer.index), HOST_ADDRESS, HOST_HOPS).await?;
    }
    link::await_operational(&outside, name).await?;
    // Last: who sees it knows that all the rest is there.
    route::ensure(vpc, Route { destination: HOST_ADDRESS.into(), hop: Hop::Link(inner.index) }).await
}

/// Takes the link away, both ends. One that is not there is no error.
///
/// # Errors
/// When the kernel refuses.
pub(crate) async fn remove(vpc: &RouteSocket) -> Result<(), KernelError> {
    match link::find(vpc, HOST_LINK).await? {
        Some(link) => link::remove(vpc, link.index).await,
        None => Ok(()),
    }
}

async fn refuse_overlap(outside: &RouteSocket, block: IpNetwork, own: u32) -> Result<(), KernelError> {
    let Some((other, over)) = route::overlapping(outside, block, own).await?.into_iter().next() else {
        return Ok(());
    };
    let links = link::list(outside).await?;
    let over = links.iter().find(|link| Some(link.index) == over).map(|link| format!(" over {}", link.name));
    Err(KernelError::unexpected(
        format!("give the host a route to {block} (hostAccess)"),
        format!("it has one to {other}{} already; choose another `vpc.cidr`", over.unwrap_or_default()),
    ))
}

/// Both ends; made in one message unless they are a pair already.
async fn pair(
    vpc: &RouteSocket,
    host: &Netns,
    outside: &RouteSocket,
    name: &str,
    outer: Option<Link>,
) -> Result<(Link, Link), KernelError> {
    let inner = link::find(vpc, HOST_LINK).await?;
    if let (Some(inner), Some(outer)) = (&inner, &outer)
        && inner.peer == Some((outer.index, link::netns_id(vpc, host).await?))
    {
        return Ok((inner.clone(), outer.clone()));
    }
    // An end that leads elsewhere is left of an earlier namespace of this VPC.
    if let Some(inner) = inner {
        link::remove(vpc, inner.index).await?;
    }
    if let Some(outer) = outer {
        link::remove(outside, outer.index).await?;
    }
    let end = VethEnd { name: HOST_LINK, mac: VPC_MAC, mtu: MTU };
    link::create_veth(vpc, &end, &VethEnd { name, mac: HOST_MAC, mtu: MTU }, host).await?;
    let gone = || KernelError::unexpected(format!("look up link {name}"), "it was made a moment ago and is gone");
    let inner = link::find(vpc, HOST_LINK).await?.ok_or_else(gone)?;
    let outer = link::find(outside, name).await?.ok_or_else(gone)?;
    Ok((inner, outer))
}
