//! The VPC on Linux.
//!
//! Knows VPC, subnet, ENI, security group and network mode, and no task, service, Docker or YAML. The pure half
//! ([`vpc`], [`security`], [`nft`] up to its transactions) says what should be; the doing half ([`kernel`], [`network`])
//! brings a network namespace there by netlink, and [`observe`] reads it back into the very same types, so that drift is `!=`.
//!
//! The agent calls [`network::VpcNetwork`] and nothing below it.

pub mod awsvpc;
pub mod bridge;
pub mod flow_log;
mod host_link;
pub mod ids;
pub mod kernel;
pub mod network;
pub mod nft;
pub mod observe;
pub mod probe;
pub mod reach;
pub mod security;
pub mod vpc;
