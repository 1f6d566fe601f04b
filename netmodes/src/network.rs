//! What the agent does to a VPC's namespace: the router, ENIs, tracked flows. All of it idempotent.
//!
//! [`crate::awsvpc`] says what should be; this brings the kernel there by netlink, in an order in which no packet passes
//! before everything is in place: the end of an ENI's link in the VPC's namespace comes up after the owner's end is
//! complete, and its host route comes last. The filter is the `nft` module's work and must be in before
//! [`VpcNetwork::ensure_eni`]. Never touches the host's namespace but for `crate::host_link`, nor the uplink that Docker made.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::{try_join, try_join3};
use ipnetwork::IpNetwork;

use crate::awsvpc::{OWNER_LINK, OwnerEnd, RouterEnd, RouterState, idle_timeouts};
use crate::host_link;
use crate::ids::EniId;
use crate::kernel::error::KernelError;
use crate::kernel::link::{self, LOOPBACK, Link, LinkChange, VethEnd};
use crate::kernel::netns::Netns;
use crate::kernel::route::{self, Hop, Route};
use crate::kernel::socket::{Pending, RouteSocket, in_order};
use crate::kernel::sysctl::{self, Sysctl};
use crate::kernel::{address, conntrack, neighbour};
use crate::observe::{ObservedVpc, observe_vpc};
use crate::owner_end::{Origin, ensure_link, ensure_owner_end, found};
use crate::vpc::eni::{Eni, MTU, MacAddress};
use crate::vpc::router::Router;

/// An open VPC: its namespace and the socket inside. It pins the namespace; drop it before the VPC is to go.
#[derive(Debug)]
pub struct VpcNetwork {
    /// Shared with the threads that walk the table of flows.
    netns: Arc<Netns>,
    socket: RouteSocket,
}

impl VpcNetwork {
    /// Opens the VPC's namespace. Call it on the async runtime.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open(netns: Netns) -> Result<Self, KernelError> {
        let socket = RouteSocket::open(&netns)?;
        Ok(Self { netns: Arc::new(netns), socket })
    }

    /// The VPC's namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Makes the namespace the VPC's router, and takes away what an earlier router left.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_router(&self, router: &Router) -> Result<(), KernelError> {
        let wanted = RouterState::of(router);
        sysctl::ensure(&self.netns, &router_settings(wanted.forwards_ipv6))?;
        link::ensure_up(&self.socket, LOOPBACK).await?;
        // Before the uplink can lead anyone astray: first nowhere, then the way to those who are there.
        let blackhole = |destination| Route { destination, hop: Hop::Blackhole };
        for block in &wanted.blackholes {
            route::ensure(&self.socket, blackhole(*block)).await?;
        }
        for left in route::list(&self.socket).await?.into_iter().filter(|r| r.hop == Hop::Blackhole) {
            if !wanted.blackholes.contains(&left.destination) {
                route::remove(&self.socket, left).await?;
            }
        }
        let addresses: Vec<_> = wanted.local_addresses.into_iter().collect();
        address::ensure_exactly(&self.socket, LOOPBACK, &addresses).await
    }

    /// Gives the host, whose namespace is `host`, its way into the VPC, or takes it away, as `router` says.
    ///
    /// # Errors
    /// When a route of the host leads to a part of the VPC already, or the kernel refuses.
    pub async fn ensure_host_link(&self, router: &Router, host: &Netns) -> Result<(), KernelError> {
        match &router.host_link {
            Some(name) => host_link::ensure(&self.socket, host, name, &router.cidrs).await,
            None => host_link::remove(&self.socket).await,
        }
    }

    /// Makes the ENI in the namespace of its owner, or mends what is there of it.
    ///
    /// Some milliseconds for a new one (3 in a debug build on two busy cores), and 16 to 20 more when a link that leads
    /// elsewhere must go first. Mending reads the whole namespace, so it grows with the number of ENIs; making does not.
    ///
    /// # Errors
    /// When the owner's namespace has another `eth0`, or the kernel refuses.
    pub async fn ensure_eni(&self, eni: &Eni, owner: &Netns) -> Result<(), KernelError> {
        if owner.cookie() == self.netns.cookie() {
            return Err(KernelError::unexpected(format!("attach {}", eni.id), "its owner is the VPC itself"));
        }
        let inside = RouteSocket::open(owner)?;
        let (outer, inner, origin) = self.ensure_pair(eni, owner, &inside).await?;
        if origin == Origin::Found {
            self.remove_extras(eni, &outer, &inside, &inner).await?;
        }
        ensure_owner_end(OwnerEnd::of(eni), owner, &inside, &inner, origin).await?;
        self.ensure_router_end(eni, &outer, &inside).await
    }

    /// Takes the ENI's link away, both ends, with all that hangs on it. Takes 16 to 20 ms.
    ///
    /// # Errors
    /// When the kernel refuses; an ENI that is not there is no error.
    pub async fn remove_eni(&self, id: &EniId) -> Result<(), KernelError> {
        match link::find(&self.socket, &Eni::link_name(id)).await? {
            Some(link) if bears(&link, id) => link::remove(&self.socket, link.index).await,
            _ => Ok(()),
        }
    }

    /// Deletes every tracked flow from or to `address`, and says how many there were.
    ///
    /// After the ENI's link is gone and before the address is leased again (pitfall 1).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn forget_flows(&self, address: IpAddr) -> Result<usize, KernelError> {
        let netns = Arc::clone(&self.netns);
        let walk = tokio::task::spawn_blocking(move || conntrack::remove_flows(&netns, address));
        walk.await.map_err(|failure| {
            KernelError::unexpected(format!("forget the tracked flows of {address}"), failure.to_string())
        })?
    }

    /// Has tracked flows counted, or not: flows that begin from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ensure_accounting(&self, on: bool) -> Result<(), KernelError> {
        let value = if on { "1" } else { "0" };
        sysctl::ensure(&self.netns, &[Sysctl::optional("netfilter/nf_conntrack_acct", value)])
    }

    /// Reads the whole namespace back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn observe(&self) -> Result<ObservedVpc, KernelError> {
        observe_vpc(&self.netns, &self.socket).await
    }

    /// Both ends of the ENI's link, the VPC's and the owner's; made in one message if they are not a pair yet.
    async fn ensure_pair(
        &self,
        eni: &Eni,
        owner: &Netns,
        inside: &RouteSocket,
    ) -> Result<(Link, Link, Origin), KernelError> {
        let name = Eni::link_name(&eni.id);
        let (outer, inner) = try_join(link::find(&self.socket, &name), link::find(inside, OWNER_LINK)).await?;
        if let (Some(outer), Some(inner)) = (&outer, &inner)
            && outer.peer == Some((inner.index, link::netns_id(&self.socket, owner).await?))
            && bears(outer, &eni.id)
        {
            self.ensure_alias(outer, &eni.id).await?;
            return Ok((outer.clone(), inner.clone(), Origin::Found));
        }
        self.remove_halves(eni, outer, inside, inner).await?;

        let end = VethEnd { name: &name, mac: MacAddress::of_gateway(&eni.id), mtu: MTU };
        let peer = VethEnd { name: OWNER_LINK, mac: eni.mac, mtu: MTU };
        // One socket works in order, so the look finds what the request before it made.
        let made =
            try_join(link::create_veth(&self.socket, &end, &peer, owner), link::find(&self.socket, &name)).await?;
        let outer = found(&name, made.1)?;
        let (inner, ()) = try_join(link::find(inside, OWNER_LINK), self.ensure_alias(&outer, &eni.id)).await?;
        Ok((outer, found(OWNER_LINK, inner)?, Origin::Made))
    }

    /// Takes off a link that was found what the ENI does not want on it: routes to it, and neighbours at either end.
    /// The owner's own routes are the owner's.
    async fn remove_extras(
        &self,
        eni: &Eni,
        outer: &Link,
        inside: &RouteSocket,
        inner: &Link,
    ) -> Result<(), KernelError> {
        let wanted = RouterEnd::of(eni);
        for route in route::list(&self.socket).await?.into_iter().filter(|route| route.hop == Hop::Link(outer.index)) {
            if !wanted.host_routes.iter().any(|address| route.destination == IpNetwork::from(*address)) {
                route::remove(&self.socket, route).await?;
            }
        }
        let ends = [(&self.socket, outer, wanted.neighbours), (inside, inner, OwnerEnd::of(eni).neighbours)];
        for (socket, link, wanted) in ends {
            let there = neighbour::list(socket).await?.into_iter().filter(|n| n.link == link.index && n.permanent);
            for extra in there.filter(|neighbour| !wanted.contains_key(&neighbour.address)) {
                neighbour::remove(socket, link.index, extra.address).await?;
            }
        }
        Ok(())
    }

    /// Clears the way for a new pair: an end of this ENI that leads to an earlier owner or an earlier VPC goes.
    async fn remove_halves(
        &self,
        eni: &Eni,
        outer: Option<Link>,
        inside: &RouteSocket,
        inner: Option<Link>,
    ) -> Result<(), KernelError> {
        if let Some(outer) = outer {
            if !bears(&outer, &eni.id) {
                let alias = outer.alias.unwrap_or_default();
                return Err(KernelError::unexpected(
                    format!("look up link {}", outer.name),
                    format!("it is {alias}'s"),
                ));
            }
            link::remove(&self.socket, outer.index).await?;
        }
        match inner {
            // The MAC is the ENI's own, so this is a left-over of it and nobody else's.
            Some(inner) if inner.mac == Some(eni.mac) => link::remove(inside, inner.index).await,
            Some(inner) => Err(KernelError::unexpected(
                format!("attach {}", eni.id),
                format!("its owner has another {OWNER_LINK}, with MAC {:?}", inner.mac),
            )),
            None => Ok(()),
        }
    }

    /// Kernels take no alias in the message that creates a link (6.18), so it follows at once.
    async fn ensure_alias(&self, outer: &Link, id: &EniId) -> Result<(), KernelError> {
        if outer.alias.as_deref() == Some(id.as_str()) {
            return Ok(());
        }
        let change = LinkChange { alias: Some(id.as_str()), ..LinkChange::default() };
        link::set(&self.socket, outer.index, &change).await
    }

    /// Lets packets pass, and routes to the ENI last: who sees the route knows that all the rest is there.
    async fn ensure_router_end(&self, eni: &Eni, outer: &Link, inside: &RouteSocket) -> Result<(), KernelError> {
        let wanted = RouterEnd::of(eni);
        let neighbours = wanted.neighbours.into_iter().map(|(address, mac)| -> Pending<'_> {
            Box::pin(neighbour::ensure(&self.socket, outer.index, address, mac))
        });
        try_join3(
            ensure_link(&self.socket, outer, MacAddress::of_gateway(&eni.id), MTU),
            in_order(neighbours),
            link::await_operational(&self.socket, &outer.name),
        )
        .await?;
        link::await_operational(inside, OWNER_LINK).await?;
        let routes = wanted.host_routes.into_iter().map(|address| -> Pending<'_> {
            let route = Route { destination: address.into(), hop: Hop::Link(outer.index) };
            Box::pin(route::ensure(&self.socket, route))
        });
        in_order(routes).await
    }
}

/// Whether the link is that ENI's: by its alias, or by its name alone when the agent died before it set one.
fn bears(link: &Link, id: &EniId) -> bool {
    let other = link.alias.as_deref().and_then(|alias| alias.parse::<EniId>().ok());
    other.is_none_or(|other| other == *id)
}

/// Settings of the VPC's namespace. Links made later inherit `default`, so no ENI needs a setting of its own here.
fn router_settings(ipv6: bool) -> Vec<Sysctl> {
    let mut settings = vec![
        Sysctl::new("ipv4/ip_forward", "1"),
        // A router that sends packets back out where they came from would tell hosts of a shorter way.
        Sysctl::new("ipv4/conf/all/send_redirects", "0"),
        Sysctl::new("ipv4/conf/default/send_redirects", "0"),
        Sysctl::new("ipv4/conf/all/accept_redirects", "0"),
        Sysctl::new("ipv4/conf/default/accept_redirects", "0"),
        // Source addresses are judged by the filter, which knows the ENIs that may forward.
        Sysctl::new("ipv4/conf/all/rp_filter", "0"),
        Sysctl::new("ipv4/conf/default/rp_filter", "0"),
    ];
    // Without IPv6 blocks the links are silent: no discovery, no link-local addresses.
    let (disabled, forwarding) = if ipv6 { ("0", "1") } else { ("1", "0") };
    settings.push(if ipv6 {
        Sysctl::new("ipv6/conf/all/disable_ipv6", disabled)
    } else {
        Sysctl::optional("ipv6/conf/all/disable_ipv6", disabled)
    });
    settings.extend([
        Sysctl::optional("ipv6/conf/default/disable_ipv6", disabled),
        Sysctl::optional("ipv6/conf/all/forwarding", forwarding),
        Sysctl::optional("ipv6/conf/all/accept_redirects", "0"),
        Sysctl::optional("ipv6/conf/default/accept_redirects", "0"),
    ]);
    settings.extend(idle_timeouts());
    settings
}
