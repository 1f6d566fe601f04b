//! Security groups and their rules, as EC2 has them: allow only, no order (reference 4.1, 4.2).

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::ids::{EniId, GroupId};
use crate::vpc::eni::Eni;
use crate::vpc::router::Router;

/// A security group: what its members may receive and send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: GroupId,
    /// Its name, unique in the VPC.
    pub name: String,
    /// Who may open a flow to a member.
    pub ingress: Vec<Rule>,
    /// To whom a member may open a flow.
    pub egress: Vec<Rule>,
}

/// One permission: this traffic, with that peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// What kind of packets.
    pub traffic: Traffic,
    /// The other end.
    pub peer: Peer,
}

/// The `IpProtocol`, `FromPort` and `ToPort` of an EC2 rule, typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Traffic {
    /// `-1`: every protocol and port.
    All,
    /// TCP to these ports.
    Tcp(PortRange),
    /// UDP to these ports.
    Udp(PortRange),
    /// ICMP; `None` is -1: every type, every code. A code without a type does not occur.
    Icmp {
        /// ICMP type, for example 8 for echo request.
        kind: Option<u8>,
        /// ICMP code.
        code: Option<u8>,
    },
    /// Another protocol by its IP number, all ports (4.2).
    Protocol(u8),
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port; never below `first`.
    pub last: u16,
}

impl PortRange {
    /// 0–65535.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };
}

/// The other end of a permitted flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// Any address in the block; host bits are clear.
    Cidr(IpNetwork),
    /// The private addresses of ENIs that carry the group, resolved live (4.2).
    Group(GroupId),
}

/// All that the filter of one VPC is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The router whose namespace it is for: what is always open is read from it (4.5).
    pub router: Router,
    /// The groups, by id. A rule that names a group not in here matches nobody.
    pub groups: BTreeMap<GroupId, SecurityGroup>,
    /// The ENIs, by id; each one's groups are in `groups`.
    pub enis: BTreeMap<EniId, Eni>,
    /// Whether what is refused is logged, because somebody follows the flow log; packets that pass meet no rule of it.
    pub flow_log: bool,
}
