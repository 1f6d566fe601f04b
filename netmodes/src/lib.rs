//! The VPC on Linux.
//!
//! Knows VPC, subnet, ENI, security group and network mode, and no task, service, Docker or YAML. The pure half
//! ([`vpc`], [`security`], [`bridge`], [`nft`] up to its transactions) says what should be; the doing half ([`kernel`],
//! [`network`], [`instance_network`]) brings a network namespace there by netlink, and [`observe`] reads it back into the very
//! same types, so that drift is `!=`.
//!
//! The agent calls [`network::VpcNetwork`], [`instance_network::InstanceNetwork`] for a container instance, and nothing below
//! them.

pub mod awsvpc;
pub mod bridge;
pub mod flow_log;
mod host_link;
pub mod ids;
pub mod instance_network;
pub mod kernel;
pub mod network;
pub mod nft;
pub mod observe;
mod owner_end;
pub mod probe;
pub mod reach;
pub mod security;
pub mod vpc;
