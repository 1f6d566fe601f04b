//! Reads a VPC's namespace, or an ENI's owner, back into the very types that were asked for: drift is `!=`.
//!
//! The agent calls it through [`crate::network::VpcNetwork::observe`] when it starts, in its slow resync and for
//! `inspect eni`. It never changes anything; the nf_tables side is read by the `nft` module.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::awsvpc::{OWNER_LINK, OwnerEnd, OwnerRoute, RouterEnd, RouterState, idle_timeouts};
use crate::ids::EniId;
use crate::kernel::address::{self, Address};
use crate::kernel::error::KernelError;
use crate::kernel::link::{self, LOOPBACK, Link};
use crate::kernel::neighbour::{self, Neighbour};
use crate::kernel::netns::Netns;
use crate::kernel::route::{self, Hop, Route};
use crate::kernel::socket::RouteSocket;
use crate::kernel::sysctl;
use crate::vpc::eni::Eni;
use crate::vpc::router::{HOST_ADDRESS, HOST_LINK, Router};

/// A VPC's namespace as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVpc {
    /// The router.
    pub router: RouterState,
    /// The ENIs by the id in their link's alias.
    pub enis: BTreeMap<EniId, RouterEnd>,
    /// Links that are named like an ENI's and bear no id: the agent died while it made one. The next
    /// `ensure_eni` or `remove_eni` of that ENI finds it by its name.
    pub strays: BTreeSet<String>,
}

impl ObservedVpc {
    /// Whether the router is as `router` wants it, exactly.
    pub fn router_matches(&self, router: &Router) -> bool {
        self.router == RouterState::of(router)
    }

    /// Whether the ENI is complete, as far as the VPC's namespace shows.
    ///
    /// Its host route is the last thing made of it, so this holds for the owner's end too, as it was then.
    pub fn eni_matches(&self, eni: &Eni) -> bool {
        self.enis.get(&eni.id) == Some(&RouterEnd::of(eni))
    }
}

/// The namespace of an ENI's owner as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedOwner {
    /// Whether `lo` is up.
    pub loopback_up: bool,
    /// Its end of the ENI's link, if it has one.
    pub eth0: Option<OwnerEnd>,
}

impl ObservedOwner {
    /// Whether the owner's end of the ENI is complete. Routes that the owner added itself do not count.
    pub fn matches(&self, eni: &Eni) -> bool {
        let wanted = OwnerEnd::of(eni);
        self.loopback_up
            && self.eth0.as_ref().is_some_and(|eth0| {
                wanted.routes.is_subset(&eth0.routes)
                    && *eth0 == OwnerEnd { routes: eth0.routes.clone(), ..wanted.clone() }
            })
    }
}

/// Reads the namespace of a VPC.
pub(crate) async fn observe_vpc(netns: &Netns, socket: &RouteSocket) -> Result<ObservedVpc, KernelError> {
    let links = link::list(socket).await?;
    let addresses = address::list(socket).await?;
    let routes = route::list(socket).await?;
    let neighbours = neighbour::list(socket).await?;
    let is_on = |path| sysctl::read(netns, path).map(|value| value.is_some_and(|value| value == "1"));

    let router = RouterState {
        loopback_up: links.iter().any(|link| link.index == LOOPBACK && link.up),
        local_addresses: networks_on(&addresses, LOOPBACK),
        blackholes: routes.iter().filter(|r| r.hop == Hop::Blackhole).map(|r| r.destination).collect(),
        forwards_ipv4: is_on("ipv4/ip_forward")?,
        forwards_ipv6: is_on("ipv6/conf/all/forwarding")?,
        reaches_host: links.iter().filter(|link| link.name == HOST_LINK && link.carrier).any(|link| {
            let back = Route { destination: HOST_ADDRESS.into(), hop: Hop::Link(link.index) };
            routes.contains(&back)
        }),
        forgets_flows: sysctl::hold(netns, &idle_timeouts())?,
    };
    let mut ends = by_index(&routes, &neighbours);
    let mut observed = ObservedVpc { router, ..ObservedVpc::default() };
    for link in links {
        let end = ends.remove(&link.index);
        match link.alias.as_deref().and_then(|alias| alias.parse::<EniId>().ok()) {
            Some(id) => {
                observed.enis.insert(id, router_end(link, end.unwrap_or_default()));
            }
            None if is_eni_name(&link.name) => {
                observed.strays.insert(link.name);
            }
            None => {}
        }
    }
    Ok(observed)
}

/// Reads the namespace of an ENI's owner (a task, an instance, a load balancer node).
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses.
pub async fn observe_owner(owner: &Netns) -> Result<ObservedOwner, KernelError> {
    let socket = RouteSocket::open(owner)?;
    let links = link::list(&socket).await?;
    let loopback_up = links.iter().any(|link| link.index == LOOPBACK && link.up);
    let Some(eth0) = links.into_iter().find(|link| link.name == OWNER_LINK) else {
        return Ok(ObservedOwner { loopback_up, eth0: None });
    };
    let addresses = address::list(&socket).await?;
    let routes = route::list(&socket).await?;
    let neighbours = neighbour::list(&socket).await?;
    let owner_route = |route: &Route| match route.hop {
        Hop::Link(index) if index == eth0.index => Some(OwnerRoute { via: None, destination: route.destination }),
        Hop::Gateway(gateway, index) if index == eth0.index => {
            Some(OwnerRoute { via: Some(gateway), destination: route.destination })
        }
        _ => None,
    };
    let permanent = by_index(&[], &neighbours).remove(&eth0.index).unwrap_or_default();
    Ok(ObservedOwner {
        loopback_up,
        eth0: Some(OwnerEnd {
            mac: eth0.mac,
            mtu: eth0.mtu,
            up: eth0.up,
            addresses: networks_on(&addresses, eth0.index),
            routes: routes.iter().filter_map(owner_route).collect(),
            neighbours: permanent.neighbours,
        }),
    })
}

fn networks_on(addresses: &[Address], link: u32) -> BTreeSet<IpNetwork> {
    let ours = addresses.iter().filter(|address| address.link == link && !address.is_the_kernels_own());
    ours.map(|address| address.network).collect()
}

/// What hangs on one link.
#[derive(Default)]
struct Hanging {
    host_routes: BTreeSet<std::net::IpAddr>,
    neighbours: BTreeMap<std::net::IpAddr, crate::vpc::eni::MacAddress>,
}

fn by_index(routes: &[Route], neighbours: &[Neighbour]) -> BTreeMap<u32, Hanging> {
    let mut links = BTreeMap::<u32, Hanging>::new();
    for route in routes {
        if let Hop::Link(link) = route.hop
            && route.destination == IpNetwork::from(route.destination.ip())
        {
            links.entry(link).or_default().host_routes.insert(route.destination.ip());
        }
    }
    for neighbour in neighbours.iter().filter(|neighbour| neighbour.permanent) {
        if let Some(mac) = neighbour.mac {
            links.entry(neighbour.link).or_default().neighbours.insert(neighbour.address, mac);
        }
    }
    links
}

fn router_end(link: Link, hanging: Hanging) -> RouterEnd {
    RouterEnd {
        name: link.name,
        mac: link.mac,
        mtu: link.mtu,
        up: link.carrier,
        host_routes: hanging.host_routes,
        neighbours: hanging.neighbours,
    }
}

/// The inverse of [`Eni::link_name`], as far as it goes: the name holds 12 of the id's 17 digits.
fn is_eni_name(name: &str) -> bool {
    name.strip_prefix("eni").is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}
