//! Bridge mode and the container instances that it happens in (reference 1.5, 1.7), as values.
//!
//! An instance is a network namespace with an ENI, like any ENI's owner, and with what an EC2 host has besides: the bridge
//! `docker0`, and NAT. Each container of a task in bridge mode has a netns of its own, and in it the one end of an
//! [`Attachment`]; the other is a port of the bridge. Nobody outside sees the bridge: 172.17.0.0/16 is the same in every
//! instance. What a container sends out bears the instance's address, which is whom security groups judge, and in comes
//! only what was sent to one of the instance's own addresses and a [`PublishedPort`]; the ENI's groups have judged that too.
//!
//! ```text
//!   VPC's netns │ eth0 (ENI)      the instance's netns       docker0 172.17.0.1 │ eth0 172.17.0.2, a container's netns
//!   ────────────┤ 10.0.1.5 ◄──── masquerade ◄──────────────────────── veth… ────┤
//!               │      └───────► dnat: 10.0.1.5:32768 ────────────────► veth… ──┤
//!               │ lo 127.0.0.1, 169.254.170.2; host-mode processes              │
//! ```
//!
//! Pure: addresses and ports are chosen here, and said is what should be in the kernel ([`nat`] is the table).
//! [`crate::instance_network::InstanceNetwork`] brings the namespaces there and reads them back.

mod attachment;
mod instance;
pub mod nat;
mod ports;

pub use attachment::{Attachment, AttachmentId, BridgePort, ParseAttachmentIdError, next_bridge_address};
pub use instance::{BRIDGE_ADDRESS, BRIDGE_BLOCK, BRIDGE_LINK, BRIDGE_MTU, BridgeState, ObservedInstance, bridge_mac};
pub(crate) use instance::{bridge_settings, instance_settings, loopback_addresses, port_settings};
pub use ports::{DYNAMIC_PORTS, Ports, PortsUnavailable, PublishedPort, RESERVED_PORTS};
