//! What the agent does to a container instance's namespace: the bridge, its containers, host ports. All of it idempotent.
//!
//! [`crate::bridge`] says what should be; this brings the kernel there by netlink. The instance's ENI is another matter: it
//! comes by [`crate::network::VpcNetwork::ensure_eni`], before or after. As there, no packet passes before everything is in
//! place: the filter is in before anything is forwarded, and a container's link joins the bridge when the container's end is
//! complete.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{try_join, try_join3};

use crate::awsvpc::OWNER_LINK;
use crate::bridge::{
    Attachment, AttachmentId, BRIDGE_BLOCK, BRIDGE_LINK, BRIDGE_MTU, BridgePort, BridgeState, ObservedInstance,
    PublishedPort, bridge_mac, bridge_settings, instance_settings, loopback_addresses, nat, port_settings,
};
use crate::kernel::address::{self, Address};
use crate::kernel::error::KernelError;
use crate::kernel::link::{self, LOOPBACK, Link, LinkChange, VethEnd};
use crate::kernel::netns::Netns;
use crate::kernel::route::{self, Hop, Route};
use crate::kernel::socket::RouteSocket;
use crate::kernel::{conntrack, flows, sysctl};
use crate::nft::{InForce, NftError, Transport};
use crate::owner_end::{Origin, ensure_link, ensure_owner_end, found};
use crate::vpc::router::TASK_METADATA;

/// What went wrong in an instance's namespace.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// With a link, an address, a setting or a flow.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// With the table of host ports.
    #[error(transparent)]
    Nft(#[from] NftError),
}

/// An open container instance: its namespace and the sockets inside. It pins the namespace; drop it before the instance is
/// to go.
#[derive(Debug)]
pub struct InstanceNetwork {
    /// Shared with the threads that walk the table of flows.
    netns: Arc<Netns>,
    socket: RouteSocket,
    nat: Mutex<InForce>,
}

impl InstanceNetwork {
    /// Opens the instance's namespace and reads the table that is there, if one is.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or nftables cannot be read.
    pub async fn open(netns: Netns) -> Result<Self, InstanceError> {
        let socket = RouteSocket::open(&netns)?;
        let nat = Mutex::new(InForce::open(&netns)?);
        Ok(Self { netns: Arc::new(netns), socket, nat })
    }

    /// The instance's namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Makes the namespace an EC2 host: the bridge with its address, forwarding, and the rules around the host ports, of which
    /// those that are there stay. Needs no ENI yet.
    ///
    /// `nft -f` of [`nat::table`]; `sysctl -w net.ipv4.ip_forward=1`, `net.bridge.bridge-nf-call-iptables=0`,
    /// `net.ipv4.conf.docker0.route_localnet=1`; `ip address add 169.254.170.2/32 dev lo`; `ip link add docker0 type bridge`,
    /// `set … up`, `ip address add 172.17.0.1/16`, `ip route replace 172.17.0.0/16 dev docker0`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_instance(&self) -> Result<(), InstanceError> {
        {
            let mut nat = self.lock_nat();
            let have = nat.observe()?;
            let wanted = nat::table(&nat::ports_in(have), nat::metadata_port_in(have));
            nat.ensure(wanted)?;
        }
        sysctl::ensure(&self.netns, &instance_settings())?;
        link::ensure_up(&self.socket, LOOPBACK).await?;
        for address in loopback_addresses() {
            address::ensure(&self.socket, LOOPBACK, address).await?;
        }
        let bridge = self.ensure_bridge().await?;
        sysctl::ensure(&self.netns, &bridge_settings())?;
        let addresses: Vec<_> = BridgeState::wanted().addresses.into_iter().collect();
        address::ensure_exactly(&self.socket, bridge.index, &addresses).await?;
        ensure_link(&self.socket, &bridge, bridge_mac(), BRIDGE_MTU).await?;
        route::ensure(&self.socket, to_bridge(bridge.index)).await?;
        Ok(())
    }

    /// Brings the host ports to exactly `ports`, in one step and by what differs; flows that are known go on.
    ///
    /// `nft add element inet ecsnet ports { tcp . 32768 : 172.17.0.2 . 80 }`, `delete element`. Blocks for microseconds, for
    /// a UDP port that is new for as long as a walk over the machine's tracked flows takes.
    ///
    /// # Errors
    /// When two ports claim the same host port, [`InstanceNetwork::ensure_instance`] has not been called, or the kernel refuses;
    /// then the ports are as they were.
    pub fn ensure_ports(&self, ports: &BTreeSet<PublishedPort>) -> Result<(), InstanceError> {
        refuse_shared(ports)?;
        let mut nat = self.lock_nat();
        if !nat.have().sets.contains_key(nat::PORTS) {
            let detail = "the instance has no table of host ports; make the instance first";
            return Err(KernelError::unexpected("publish host ports", detail).into());
        }
        let had = nat::ports_in(nat.have());
        let wanted = nat::table(ports, nat::metadata_port_in(nat.have()));
        nat.ensure(wanted)?;
        let new = ports.difference(&had).filter(|port| port.protocol == Transport::Udp);
        let new: BTreeSet<_> = new.map(|port| (port.protocol.number(), port.host_port)).collect();
        if !new.is_empty() {
            flows::remove_untranslated(&self.netns, &new)?;
        }
        Ok(())
    }

    /// Leads requests to 169.254.170.2:80 to `port` of the same address, or leaves them alone.
    ///
    /// So that port 80 stays free for a host-mode process that binds every address, as the ECS agent leads them to 51679
    /// (1.5). `nft add element inet ecsnet metadata { tcp . 80 : 169.254.170.2 . 51679 }`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ensure_metadata_port(&self, port: Option<u16>) -> Result<(), InstanceError> {
        let mut nat = self.lock_nat();
        let wanted = nat::table(&nat::ports_in(nat.have()), port);
        nat.ensure(wanted)?;
        Ok(())
    }

    /// Links the container whose namespace is `owner` to the bridge, or mends what is there of its link.
    ///
    /// `ip link add veth… type veth peer eth0 netns …`; inside, `ip address add 172.17.0.2/16 dev eth0`, `ip link set eth0 up`,
    /// `ip route replace default via 172.17.0.1`; then `ip link set veth… master docker0 up`, and as its alias the address.
    /// Some two milliseconds (2.4 in a debug build), and 16 to 20 more when a link that leads elsewhere must go first.
    ///
    /// # Errors
    /// When there is no bridge, the owner is the instance itself or has another `eth0`, or the kernel refuses.
    pub async fn ensure_attachment(&self, attachment: &Attachment, owner: &Netns) -> Result<(), InstanceError> {
        let what = || format!("attach {} ({})", attachment.id.link_name(), attachment.address);
        if owner.cookie() == self.netns.cookie() {
            return Err(KernelError::unexpected(what(), "its owner is the instance itself").into());
        }
        if !BRIDGE_BLOCK.contains(attachment.address) {
            return Err(KernelError::unexpected(what(), format!("the address is not within {BRIDGE_BLOCK}")).into());
        }
        let inside = RouteSocket::open(owner)?;
        let bridge = link::find(&self.socket, BRIDGE_LINK).await?;
        let no_bridge = || KernelError::unexpected(what(), "the instance has no bridge; make the instance first");
        let bridge = bridge.ok_or_else(no_bridge)?;
        let (outer, inner, origin) = self.ensure_pair(attachment, owner, &inside).await?;
        ensure_owner_end(attachment.container_end(), owner, &inside, &inner, origin).await?;
        self.ensure_port(attachment, &outer, &bridge, &inside).await?;
        Ok(())
    }

    /// Takes the container's link away, both ends (`ip link del veth…`). Takes 16 to 20 ms.
    ///
    /// # Errors
    /// When the kernel refuses; an attachment that is not there is no error.
    pub async fn remove_attachment(&self, id: &AttachmentId) -> Result<(), InstanceError> {
        if let Some(link) = link::find(&self.socket, &id.link_name()).await? {
            link::remove(&self.socket, link.index).await?;
        }
        Ok(())
    }

    /// Deletes every flow that the instance tracks from or to a container's address, before or after translation, and says how
    /// many there were (`conntrack -D -s`, `-d`, `-r`, `-q`).
    ///
    /// After the container's link and ports are gone and before address or ports are anybody else's (pitfall 1).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn forget_flows(&self, address: IpAddr) -> Result<usize, InstanceError> {
        let netns = Arc::clone(&self.netns);
        let walk = tokio::task::spawn_blocking(move || conntrack::remove_flows(&netns, address));
        let walked = walk.await.map_err(|failure| {
            KernelError::unexpected(format!("forget the tracked flows of {address}"), failure.to_string())
        })?;
        Ok(walked?)
    }

    /// Those of `ports` that a process of the instance has bound at one of its addresses, 0.0.0.0 being all.
    ///
    /// Found out by binding them, as the ECS agent does, and letting go at once. Not at 169.254.170.2, where only the front of
    /// task metadata listens, which is in no container's way.
    ///
    /// # Errors
    /// When a port cannot be bound for another reason than that it is in use.
    pub fn unavailable_ports(&self, ports: &[(Transport, u16)]) -> Result<Vec<(Transport, u16)>, InstanceError> {
        Ok(self.netns.run(|| {
            let addresses = own_addresses()?;
            let mut unavailable = Vec::new();
            for (protocol, port) in ports {
                for address in &addresses {
                    let bound = match protocol {
                        Transport::Tcp => TcpListener::bind((*address, *port)).map(drop),
                        Transport::Udp => UdpSocket::bind((*address, *port)).map(drop),
                    };
                    match bound {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::AddrInUse => {
                            unavailable.push((*protocol, *port));
                            break;
                        }
                        Err(source) => {
                            return Err(KernelError::io(format!("bind {address}:{port} to see if it is free"), source));
                        }
                    }
                }
            }
            Ok(unavailable)
        })??)
    }

    /// Reads the namespace back (`ip link`, `ip address`, `ip route`, `sysctl`, `nft list table inet ecsnet`).
    ///
    /// What others changed of the table is repaired by the next call that changes it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn observe(&self) -> Result<ObservedInstance, InstanceError> {
        let links = link::list(&self.socket).await?;
        let addresses = address::list(&self.socket).await?;
        let routes = route::list(&self.socket).await?;
        let (ports, metadata_port, rules_ready) = {
            let mut nat = self.lock_nat();
            let have = nat.observe()?;
            let (ports, metadata_port) = (nat::ports_in(have), nat::metadata_port_in(have));
            let ready = *have == nat::table(&ports, metadata_port);
            (ports, metadata_port, ready)
        };
        let bridge = links.iter().find(|link| link.name == BRIDGE_LINK);
        let is_loopback = |wanted| addresses.iter().any(|a: &Address| a.link == LOOPBACK && a.network == wanted);
        let bridge_ready = rules_ready
            && links.iter().any(|link| link.index == LOOPBACK && link.up)
            && loopback_addresses().into_iter().all(is_loopback)
            && bridge.is_some_and(|link| bridge_state(link, &addresses, &routes) == BridgeState::wanted())
            && sysctl::hold(&self.netns, &[instance_settings(), bridge_settings()].concat())?;
        let bridge = bridge.map(|link| link.index);
        let attachments = links.iter().filter_map(|link| {
            let port = BridgePort {
                address: link.alias.as_deref().and_then(|alias| alias.parse().ok()),
                mac: link.mac,
                mtu: link.mtu,
                up: link.carrier,
                on_bridge: link.master.is_some() && link.master == bridge,
            };
            Some((AttachmentId::of_link(&link.name)?, port))
        });
        let attachments: BTreeMap<_, _> = attachments.collect();
        Ok(ObservedInstance { bridge_ready, attachments, ports, metadata_port })
    }

    async fn ensure_bridge(&self) -> Result<Link, KernelError> {
        if let Some(there) = link::find(&self.socket, BRIDGE_LINK).await? {
            return Ok(there);
        }
        let bridge = VethEnd { name: BRIDGE_LINK, mac: bridge_mac(), mtu: BRIDGE_MTU };
        link::create_bridge(&self.socket, &bridge).await?;
        found(BRIDGE_LINK, link::find(&self.socket, BRIDGE_LINK).await?)
    }

    /// Both ends of the attachment's link, the instance's and the container's; made in one message if they are not a pair yet.
    async fn ensure_pair(
        &self,
        attachment: &Attachment,
        owner: &Netns,
        inside: &RouteSocket,
    ) -> Result<(Link, Link, Origin), KernelError> {
        let name = attachment.id.link_name();
        let (outer, inner) = try_join(link::find(&self.socket, &name), link::find(inside, OWNER_LINK)).await?;
        if let (Some(outer), Some(inner)) = (&outer, &inner)
            && outer.peer == Some((inner.index, link::netns_id(&self.socket, owner).await?))
        {
            return Ok((outer.clone(), inner.clone(), Origin::Found));
        }
        // An end that leads elsewhere is left of an earlier container or an earlier instance.
        if let Some(outer) = outer {
            link::remove(&self.socket, outer.index).await?;
        }
        match inner {
            Some(inner) if inner.mac == Some(attachment.mac) => link::remove(inside, inner.index).await?,
            Some(inner) => {
                let detail = format!("its owner has another {OWNER_LINK}, with MAC {:?}", inner.mac);
                return Err(KernelError::unexpected(format!("attach {name}"), detail));
            }
            None => {}
        }
        let end = VethEnd { name: &name, mac: attachment.id.port_mac(), mtu: BRIDGE_MTU };
        let peer = VethEnd { name: OWNER_LINK, mac: attachment.mac, mtu: BRIDGE_MTU };
        link::create_veth(&self.socket, &end, &peer, owner).await?;
        let (outer, inner) = try_join(link::find(&self.socket, &name), link::find(inside, OWNER_LINK)).await?;
        Ok((found(&name, outer)?, found(OWNER_LINK, inner)?, Origin::Made))
    }

    /// Lets packets pass, and writes the alias last: who sees it knows that all the rest is there.
    async fn ensure_port(
        &self,
        attachment: &Attachment,
        outer: &Link,
        bridge: &Link,
        inside: &RouteSocket,
    ) -> Result<(), KernelError> {
        let wanted = BridgePort::of(attachment);
        sysctl::ensure(&self.netns, &port_settings(&outer.name))?;
        let change = LinkChange {
            mac: wanted.mac.filter(|mac| outer.mac != Some(*mac)),
            mtu: (outer.mtu != wanted.mtu).then_some(wanted.mtu),
            master: (outer.master != Some(bridge.index)).then_some(bridge.index),
            up: (!outer.up).then_some(true),
            ..LinkChange::default()
        };
        if change != LinkChange::default() {
            link::set(&self.socket, outer.index, &change).await?;
        }
        // The bridge sends once a port does; with the first one it is the bridge that is late.
        try_join3(
            link::await_operational(inside, OWNER_LINK),
            link::await_operational(&self.socket, &outer.name),
            link::await_operational(&self.socket, BRIDGE_LINK),
        )
        .await?;
        let alias = attachment.address.to_string();
        if outer.alias.as_deref() != Some(alias.as_str()) {
            let change = LinkChange { alias: Some(&alias), ..LinkChange::default() };
            link::set(&self.socket, outer.index, &change).await?;
        }
        Ok(())
    }

    /// What a panic left half done in the value is no worse than a table that somebody changed.
    fn lock_nat(&self) -> MutexGuard<'_, InForce> {
        self.nat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_bridge(index: u32) -> Route {
    Route { destination: BRIDGE_BLOCK.into(), hop: Hop::Link(index) }
}

fn bridge_state(link: &Link, addresses: &[Address], routes: &[Route]) -> BridgeState {
    let own = addresses.iter().filter(|address| address.link == link.index && !address.is_the_kernels_own());
    BridgeState {
        mac: link.mac,
        mtu: link.mtu,
        up: link.up,
        addresses: own.map(|address| address.network).collect(),
        routed: routes.contains(&to_bridge(link.index)),
    }
}

/// One host port leads to one place.
fn refuse_shared(ports: &BTreeSet<PublishedPort>) -> Result<(), KernelError> {
    // Sorted by protocol and port first, so those that share one are neighbours.
    for (one, other) in ports.iter().zip(ports.iter().skip(1)) {
        if (one.protocol, one.host_port) == (other.protocol, other.host_port) {
            let detail = |port: &PublishedPort| format!("{}:{}", port.container_address, port.container_port);
            return Err(KernelError::unexpected(
                format!("publish host port {} ({:?})", one.host_port, one.protocol),
                format!("it leads to {} and to {}", detail(one), detail(other)),
            ));
        }
    }
    Ok(())
}

/// The IPv4 addresses of the namespace that the thread is in, but for that of task metadata.
fn own_addresses() -> Result<BTreeSet<Ipv4Addr>, KernelError> {
    let addresses = nix::ifaddrs::getifaddrs().map_err(|errno| KernelError::new("list the own addresses", errno))?;
    let addresses = addresses.filter_map(|link| Some(link.address?.as_sockaddr_in()?.ip()));
    Ok(addresses.filter(|address| IpAddr::V4(*address) != TASK_METADATA).collect())
}
