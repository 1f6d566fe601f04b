//! Links: `ip link add … type veth peer …`, `set`, `del`, `show`.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, State,
};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use nix::errno::Errno;

use super::error::KernelError;
use super::netns::Netns;
use super::socket::RouteSocket;
use crate::vpc::eni::MacAddress;

/// The loopback link's index, the same in every namespace.
pub const LOOPBACK: u32 = 1;

/// The link watch waits for a second at most; what takes longer is another matter.
const OPERATIONAL_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index in this namespace.
    pub index: u32,
    /// At most 15 bytes.
    pub name: String,
    /// `IFLA_IFALIAS`.
    pub alias: Option<String>,
    /// `None` for what is no Ethernet.
    pub mac: Option<MacAddress>,
    /// Bytes.
    pub mtu: u32,
    /// Set up by the administrator.
    pub up: bool,
    /// Up, and its other end too.
    pub carrier: bool,
    /// Whether it sends: from carrier to here the kernel's link watch still has to attach the queue, and drops till then.
    pub operational: bool,
    /// The other end of a veth pair: its index in the namespace it is in, and that namespace's id as seen from here
    /// (`None`: this very namespace).
    pub peer: Option<(u32, Option<i32>)>,
    /// The index of the bridge that it is a port of.
    pub master: Option<u32>,
}

/// A bridge, or one end of a veth pair, that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethEnd<'a> {
    /// At most 15 bytes.
    pub name: &'a str,
    /// Its MAC.
    pub mac: MacAddress,
    /// Bytes.
    pub mtu: u32,
}

/// Makes both ends of a veth pair in one message, `peer` in the namespace `peer_netns`; both are down.
///
/// # Errors
/// When the kernel refuses; [`KernelError::is_present`] if either name is taken.
pub async fn create_veth(
    socket: &RouteSocket,
    end: &VethEnd<'_>,
    peer: &VethEnd<'_>,
    peer_netns: &Netns,
) -> Result<(), KernelError> {
    // Down on purpose: a peer that is created up is opened before the pair is joined, and refused with ENOTCONN.
    let mut inner = LinkMessage::default();
    inner.attributes = attributes(peer);
    inner.attributes.push(LinkAttribute::NetNsFd(peer_netns.as_fd().as_raw_fd()));
    let mut outer = LinkMessage::default();
    outer.attributes = attributes(end);
    outer.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inner))),
    ]));
    let what = || format!("create the veth pair {} and {}", end.name, peer.name);
    socket.change(what, RouteNetlinkMessage::NewLink(outer), NLM_F_CREATE | NLM_F_EXCL).await
}

/// Makes a bridge (`ip link add … type bridge`), down; without spanning tree, so a port forwards as soon as it is up.
///
/// # Errors
/// When the kernel refuses; [`KernelError::is_present`] if the name is taken.
pub async fn create_bridge(socket: &RouteSocket, bridge: &VethEnd<'_>) -> Result<(), KernelError> {
    let mut message = LinkMessage::default();
    message.attributes = attributes(bridge);
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    let what = || format!("create the bridge {}", bridge.name);
    socket.change(what, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await
}

fn attributes(end: &VethEnd<'_>) -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::Address(end.mac.0.to_vec()),
        LinkAttribute::Mtu(end.mtu),
    ]
}

/// What of a link is to be otherwise; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkChange<'a> {
    /// `ip link set … alias …`
    pub alias: Option<&'a str>,
    /// `ip link set … address …`; neighbours of the link are lost.
    pub mac: Option<MacAddress>,
    /// `ip link set … mtu …`
    pub mtu: Option<u32>,
    /// `ip link set … master …`: the index of a bridge in the same namespace.
    pub master: Option<u32>,
    /// `ip link set … up`, `down`
    pub up: Option<bool>,
}

/// Changes a link, in one message.
///
/// # Errors
/// When the link is gone or the kernel refuses.
pub async fn set(socket: &RouteSocket, index: u32, change: &LinkChange<'_>) -> Result<(), KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if let Some(up) = change.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    message.attributes.extend(change.alias.map(|alias| LinkAttribute::IfAlias(alias.to_owned())));
    message.attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    message.attributes.extend(change.mtu.map(LinkAttribute::Mtu));
    // In one message with `up` it comes first, so a port is none before it is open.
    message.attributes.extend(change.master.map(LinkAttribute::Controller));
    socket.change(|| format!("set link {index} to {change:?}"), RouteNetlinkMessage::SetLink(message), 0).await
}

/// Sets a link up (`ip link set … up`).
///
/// # Errors
/// When the link is gone or the kernel refuses.
pub async fn ensure_up(socket: &RouteSocket, index: u32) -> Result<(), KernelError> {
    set(socket, index, &LinkChange { up: Some(true), ..LinkChange::default() }).await
}

/// Deletes a link (`ip link del`); of a veth pair both ends go, with their addresses, routes and neighbours.
///
/// Takes 16 to 20 ms for a veth, in the kernel.
///
/// # Errors
/// When the kernel refuses; a link that is not there is no error.
pub async fn remove(socket: &RouteSocket, index: u32) -> Result<(), KernelError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match socket.change(|| format!("delete link {index}"), RouteNetlinkMessage::DelLink(message), 0).await {
        Err(error) if error.is_absent() => Ok(()),
        result => result,
    }
}

/// The link of that name, if there is one (`ip link show dev`).
///
/// # Errors
/// When the kernel refuses.
pub async fn find(socket: &RouteSocket, name: &str) -> Result<Option<Link>, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), skip_statistics()];
    match socket.one(|| format!("look up link {name}"), RouteNetlinkMessage::GetLink(message)).await {
        Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(Link::from(message))),
        Ok(_) => Err(KernelError::unexpected(format!("look up link {name}"), "it is no link")),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until a link that was set up, and its other end too, sends what it is given.
///
/// Without it a first packet may be lost: the end that was up first gets its queue by the kernel's link watch, which runs
/// later, at times a second. Since Linux 6.8 asking for a single link makes the link watch run, so the first look does;
/// older ones are asked again.
///
/// # Errors
/// When the link is gone, or stays without carrier.
pub async fn await_operational(socket: &RouteSocket, name: &str) -> Result<(), KernelError> {
    let what = || format!("wait for link {name}");
    let look = async {
        loop {
            match find(socket, name).await? {
                Some(link) if link.operational => return Ok(()),
                Some(_) => tokio::time::sleep(BETWEEN_LOOKS).await,
                None => return Err(KernelError::new(what(), Errno::ENODEV)),
            }
        }
    };
    let given_up = |_| KernelError::unexpected(what(), "its other end stays down");
    tokio::time::timeout(OPERATIONAL_WITHIN, look).await.map_err(given_up)?
}

/// All links of the namespace (`ip link show`).
///
/// # Errors
/// When the kernel refuses.
pub async fn list(socket: &RouteSocket) -> Result<Vec<Link>, KernelError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![skip_statistics()];
    let messages = socket.dump("list links", RouteNetlinkMessage::GetLink(message)).await?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::from(link)),
            _ => None,
        })
        .collect())
}

/// Counters are most of a link's answer and nobody here reads them.
fn skip_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// The id under which this socket's namespace knows `other`, as [`Link::peer`] gives it.
///
/// # Errors
/// When the kernel refuses.
pub async fn netns_id(socket: &RouteSocket, other: &Netns) -> Result<Option<i32>, KernelError> {
    let mut message = NsidMessage::default();
    message.attributes = vec![NsidAttribute::Fd(other.as_fd().as_raw_fd() as u32)];
    let what = || "look up the id of a network namespace".to_owned();
    match socket.one(what, RouteNetlinkMessage::GetNsId(message)).await? {
        // -1 stands for a namespace that was never seen from here.
        RouteNetlinkMessage::NewNsId(answer) => Ok(answer.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) if *id >= 0 => Some(*id),
            _ => None,
        })),
        _ => Err(KernelError::unexpected(what(), "it is no id")),
    }
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let header = &message.header;
        let mut link = Self {
            index: header.index,
            name: String::new(),
            alias: None,
            mac: None,
            mtu: 0,
            up: header.flags.contains(LinkFlags::Up),
            carrier: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            operational: false,
            peer: None,
            master: None,
        };
        let (mut peer_index, mut peer_netns) = (None, None);
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(MacAddress),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::OperState(state) => link.operational = state == State::Up,
                LinkAttribute::Link(index) => peer_index = Some(index),
                LinkAttribute::Controller(index) => link.master = Some(index),
                LinkAttribute::LinkNetNsId(id) => peer_netns = Some(id),
                _ => {}
            }
        }
        link.peer = peer_index.map(|index| (index, peer_netns));
        link
    }
}
