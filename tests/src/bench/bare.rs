//! The floor of a task's network: the netlink requests that no way around leads past, one after the other.
//!
//! A veth pair made in one message, both ends up, an address, a route and a neighbour on either side. No filter, no check
//! of what is there, no waiting for anything; nothing to run a VPC on.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd};

use netmodes::kernel::netns::Netns;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::sys::{Socket, TokioSocket, protocols::NETLINK_ROUTE};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::Outcome;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const GATEWAY_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const TASK_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 2];
const MTU: u32 = 9001;
/// The task's end is the first link of its namespace after `lo`.
const TASK_LINK: u32 = 2;

/// A namespace that bare pairs are made in.
pub struct Bare {
    handle: Handle,
}

impl Bare {
    /// Opens the socket inside; it pins the namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn open(netns: &Netns) -> Outcome<Self> {
        Ok(Self { handle: open(netns)? })
    }

    /// Joins `task` to the namespace. The index of the outer end is the caller's choice: nothing has to be looked up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn add(&self, index: u32, address: Ipv4Addr, task: &Netns) -> Outcome<()> {
        let inside = open(task)?;
        let mut peer = LinkMessageBuilder::<LinkUnspec>::default()
            .name("eth0")
            .mtu(MTU)
            .address(TASK_MAC.to_vec())
            .setns_by_fd(task.as_fd().as_raw_fd())
            .build();
        peer.header.index = TASK_LINK;
        let pair = LinkMessageBuilder::<LinkVeth>::new(&format!("bare{index}"), "eth0")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .index(index)
            .mtu(MTU)
            .address(GATEWAY_MAC.to_vec())
            .up()
            .build();
        self.handle.link().add(pair).execute().await?;
        let mut request = inside.address().add(TASK_LINK, IpAddr::V4(address), 24);
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        request.execute().await?;
        inside.link().set(LinkUnspec::new_with_index(TASK_LINK).up().build()).execute().await?;
        ends(&inside, TASK_LINK, GATEWAY, GATEWAY_MAC).await?;
        ends(&self.handle, index, address, TASK_MAC).await
    }

    /// Takes the pair away again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(&self, index: u32) -> Outcome<()> {
        Ok(self.handle.link().del(index).execute().await?)
    }
}

/// A route to, and the MAC of, what is at the other end.
async fn ends(handle: &Handle, link: u32, other: Ipv4Addr, mac: [u8; 6]) -> Outcome<()> {
    handle.neighbours().add(link, IpAddr::V4(other)).link_layer_address(&mac).execute().await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(other, 32)
        .output_interface(link)
        .scope(RouteScope::Link)
        .build();
    Ok(handle.route().add(route).execute().await?)
}

fn open(netns: &Netns) -> Outcome<Handle> {
    let socket = netns.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        Ok::<_, std::io::Error>(socket)
    })??;
    // SAFETY: the descriptor was just taken out of its only owner.
    let socket = unsafe { TokioSocket::from_raw_fd(socket.into_raw_fd()) };
    let (connection, handle, _) = rtnetlink::from_socket(socket);
    tokio::spawn(connection);
    Ok(handle)
}
