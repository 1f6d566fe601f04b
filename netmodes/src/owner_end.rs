//! The end of a link that its owner sees as `eth0`: the same work for an ENI and for a container on an instance's bridge.
//!
//! Called by [`crate::network`] and [`crate::instance_network`], which make the pair and see to its other end.

use ipnetwork::IpNetwork;

use crate::awsvpc::{OWNER_LINK, OwnerEnd};
use crate::kernel::error::KernelError;
use crate::kernel::link::{self, LOOPBACK, Link, LinkChange};
use crate::kernel::netns::Netns;
use crate::kernel::route::{self, Hop, Route};
use crate::kernel::socket::{Pending, RouteSocket, in_order};
use crate::kernel::sysctl::{self, Sysctl};
use crate::kernel::{address, neighbour};
use crate::vpc::eni::MacAddress;

/// Where a pair of links comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Just made, so nothing hangs on it.
    Made,
    /// It was there.
    Found,
}

/// Brings the owner's end to what it should be, all but the way there from the other end.
///
/// # Errors
/// When the kernel refuses.
pub(crate) async fn ensure_owner_end(
    wanted: OwnerEnd,
    owner: &Netns,
    inside: &RouteSocket,
    inner: &Link,
    origin: Origin,
) -> Result<(), KernelError> {
    sysctl::ensure(owner, &owner_settings(&wanted))?;
    let (mac, mtu) = (wanted.mac, wanted.mtu);
    let mut changes: Vec<Pending<'_>> = vec![Box::pin(link::ensure_up(inside, LOOPBACK))];
    match origin {
        // Nothing hangs on it, so there is nothing to read.
        Origin::Made => {
            for address in wanted.addresses {
                changes.push(Box::pin(address::ensure(inside, inner.index, address)));
            }
        }
        Origin::Found => {
            let addresses: Vec<_> = wanted.addresses.into_iter().collect();
            address::ensure_exactly(inside, inner.index, &addresses).await?;
        }
    }
    // A route wants its link up; the link carries nothing while its other end is down.
    if let Some(mac) = mac {
        changes.push(Box::pin(ensure_link(inside, inner, mac, mtu)));
    }
    for (gateway, mac) in wanted.neighbours {
        changes.push(Box::pin(neighbour::ensure(inside, inner.index, gateway, mac)));
    }
    for wanted in wanted.routes {
        let hop = match wanted.via {
            Some(gateway) => Hop::Gateway(gateway, inner.index),
            None => Hop::Link(inner.index),
        };
        changes.push(Box::pin(route::ensure(inside, Route { destination: wanted.destination, hop })));
    }
    in_order(changes).await
}

/// Sets a link up with its MAC and MTU: what is not so already, in one message.
///
/// # Errors
/// When the link is gone or the kernel refuses.
pub(crate) async fn ensure_link(
    socket: &RouteSocket,
    link: &Link,
    mac: MacAddress,
    mtu: u32,
) -> Result<(), KernelError> {
    let change = LinkChange {
        mac: (link.mac != Some(mac)).then_some(mac),
        mtu: (link.mtu != mtu).then_some(mtu),
        up: (!link.up).then_some(true),
        ..LinkChange::default()
    };
    if change == LinkChange::default() { Ok(()) } else { link::set(socket, link.index, &change).await }
}

/// A link that must be there.
///
/// # Errors
/// When it is not.
pub(crate) fn found(name: &str, link: Option<Link>) -> Result<Link, KernelError> {
    link.ok_or_else(|| KernelError::unexpected(format!("look up link {name}"), "it was made a moment ago and is gone"))
}

/// Settings of the owner's namespace: IPv6 is on if the link has it (reference 1.3), else off on its link alone. Docker
/// switches it off on `lo` too, where every task has ::1, which is `localhost` in Docker's own `/etc/hosts`.
fn owner_settings(wanted: &OwnerEnd) -> Vec<Sysctl> {
    let on_link = format!("ipv6/conf/{OWNER_LINK}/disable_ipv6");
    if wanted.addresses.iter().any(IpNetwork::is_ipv6) {
        vec![
            Sysctl::new("ipv6/conf/all/disable_ipv6", "0"),
            Sysctl::new("ipv6/conf/default/disable_ipv6", "0"),
            Sysctl::new(on_link, "0"),
        ]
    } else {
        vec![Sysctl::optional(on_link, "1"), Sysctl::optional("ipv6/conf/lo/disable_ipv6", "0")]
    }
}
