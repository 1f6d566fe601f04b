//! Attempts at what not every kernel has; used by [`crate::probe`] alone.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::errno::Errno;

use super::error::KernelError;
use super::link::{self, LOOPBACK, VethEnd};
use super::socket::RouteSocket;
use crate::vpc::eni::MacAddress;

/// Makes a bridge.
pub(crate) async fn bridge(socket: &RouteSocket) -> Result<(), KernelError> {
    let bridge = VethEnd { name: "probe", mac: MacAddress([0x02, 0, 0, 0, 0, 1]), mtu: 1500 };
    link::create_bridge(socket, &bridge).await
}

/// Asks for netem without saying what it should do: a kernel that has it misses that.
pub(crate) async fn netem(socket: &RouteSocket) -> Result<(), KernelError> {
    let mut message = TcMessage::default();
    message.header.index = LOOPBACK.cast_signed();
    message.header.parent = TcHandle::ROOT;
    message.attributes.push(TcAttribute::Kind("netem".to_owned()));
    let what = || "attach netem".to_owned();
    match socket.change(what, RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL).await {
        Err(KernelError::Refused { errno: Errno::EINVAL, .. }) => Ok(()),
        outcome => outcome,
    }
}
