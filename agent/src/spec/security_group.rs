//! Security groups as a stack names them: peers are names, which the agent turns into ids (reference 4).

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// Where an instance's dynamic host ports are from: what a rule must let in for a task in bridge mode (1.7).
pub use netmodes::bridge::DYNAMIC_PORTS;
pub use netmodes::security::group::{PortRange, Traffic};
/// The host as rules see it, where it has access (`from: host`).
pub use netmodes::vpc::router::HOST_ADDRESS;

use super::ids::GroupName;

/// A security group of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroup {
    /// Who may open a flow to a member.
    pub ingress: Vec<Rule>,
    /// To whom a member may open a flow; all protocols to 0.0.0.0/0 unless the user says otherwise (4.1).
    pub egress: Vec<Rule>,
    /// Why the group is there, for people: `made for service orders`, or the user's own words.
    pub description: String,
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// What kind of packets.
    pub traffic: Traffic,
    /// The other end.
    pub peer: Peer,
}

/// The other end of a permitted flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    /// Any address in the block, stored canonical (4.2).
    Cidr(IpNetwork),
    /// The members of a group of the same stack; `self` is the group's own name by now.
    Group(GroupName),
}
