//! What a table is made of, as plain values: sets, verdict maps, chains and rules.
//!
//! Handles, counters and other things that the kernel makes up are left out, so two tables are equal when they do the
//! same to every packet. `Copy` keys and shared names keep a table of 1,000 ENIs cheap to build and to compare.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::security::group::PortRange;

/// The one table of a namespace of ours, a VPC's or an instance's: `table inet ecsnet`. `inet`, so that IPv6 is closed from
/// the first moment too.
pub const TABLE: &str = "ecsnet";

/// A name of a chain or set, at most 255 bytes (Linux's `NFT_NAME_MAXLEN`).
pub type Name = Arc<str>;

/// A whole table; one without sets and chains stands for none at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Sets and maps, by name.
    pub sets: BTreeMap<Name, Set>,
    /// Chains, by name.
    pub chains: BTreeMap<Name, Chain>,
}

/// A named set, or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What cannot change while it exists.
    pub shape: Shape,
    /// What is in it; in a map with what each leads to.
    pub elements: BTreeMap<Key, Option<Mapped>>,
}

/// A key, and in a map what it leads to.
pub type Element = (Key, Option<Mapped>);

/// What an element of a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// In a verdict map.
    Verdict(Verdict),
    /// In a map of addresses and ports.
    Endpoint(Ipv4Addr, u16),
}

/// The kind of what the elements of a map lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapsTo {
    /// `verdict`.
    Verdict,
    /// `ipv4_addr . inet_service`.
    Endpoint,
    /// One that we never make, by nft's number.
    Unknown(u32),
}

/// The declaration of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What is looked up: one field, or two together.
    pub key: (DataType, Option<DataType>),
    /// What it maps to; `None` for a set.
    pub maps_to: Option<MapsTo>,
    /// Whether each element counts the packets that found it.
    pub counter: bool,
}

/// The type of one field of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `ifname`: known by name, so an element can stand before its link does.
    Interface,
    /// `ipv4_addr`.
    Ipv4,
    /// `inet_proto`.
    Protocol,
    /// `inet_service`.
    Port,
    /// A type that we never make, by nft's number.
    Unknown(u32),
}

/// The key of an element: one datum, or two together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Datum, pub Option<Datum>);

impl Key {
    /// A key of one field.
    pub fn one(datum: Datum) -> Self {
        Self(datum, None)
    }

    /// A concatenation, `first . second`.
    pub fn two(first: Datum, second: Datum) -> Self {
        Self(first, Some(second))
    }
}

/// One field of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datum {
    /// A link's name.
    Interface(LinkName),
    /// An address.
    Ipv4(Ipv4Addr),
    /// An IP protocol number.
    Protocol(u8),
    /// A port.
    Port(u16),
}

/// The name of a link as the kernel compares it: 15 bytes and a zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(pub [u8; 16]);

impl LinkName {
    /// The first 15 bytes of `name`; links cannot have longer ones.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        Self(bytes)
    }
}

/// A chain; without a hook it is reached by jump or goto only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where packets enter it from, in a base chain.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// How a base chain is hooked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// What it is allowed to do.
    pub kind: ChainKind,
    /// Where in the stack.
    pub hook: Hook,
    /// Lower runs first: raw −300, conntrack −200, mangle −150, dstnat −100, filter 0, srcnat 100.
    pub priority: i32,
    /// What happens to a packet that falls off its end.
    pub policy: Policy,
}

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Lets through and drops.
    Filter,
    /// Sees the first packet of each flow and rewrites addresses.
    Nat,
    /// One that we never make.
    Unknown,
}

/// A netfilter hook, by the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To this namespace's own sockets.
    Input,
    /// From one link to another.
    Forward,
    /// From this namespace's own sockets.
    Output,
    /// After routing.
    Postrouting,
    /// One that we never use, by number.
    Unknown(u32),
}

/// The policy of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Let through.
    Accept,
    /// Drop silently.
    Drop,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Matches and actions, from left to right.
    pub statements: Vec<Statement>,
    /// What a reader of `nft list ruleset` should know, at most 127 bytes; the group's id first where there is one.
    pub comment: Name,
}

/// Which end of a packet's way is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `iifname`, `ip saddr`.
    From,
    /// `oifname`, `ip daddr`.
    To,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// 6.
    Tcp,
    /// 17.
    Udp,
}

impl Transport {
    /// The IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// The direction of a packet within its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// As the flow's first packet.
    Original,
    /// Against it.
    Reply,
}

/// States of connection tracking that a rule asks for; any of them matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Belongs to no flow and can begin none.
    Invalid,
    /// An error about a known flow.
    Related,
    /// Of a flow that was answered, or an error about one.
    EstablishedOrRelated,
}

/// One field that a lookup takes from a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The link's name.
    Interface(Side),
    /// The IPv4 address.
    Ipv4(Side),
    /// The protocol above IP.
    Protocol,
}

/// One match or action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Any packet of the family.
    Family(Family),
    /// Came in by, or leaves by, this link.
    Interface(Side, LinkName),
    /// Address inside a block whose prefix is not 0.
    Block(Side, IpNetwork),
    /// To an address of this very namespace (`fib daddr type local`).
    LocalDestination,
    /// An IPv4 packet with this time to live.
    TimeToLive(u8),
    /// A protocol above IP, by number.
    Protocol(u8),
    /// Destination ports; never all of them, which is [`Statement::Protocol`].
    Port(Transport, PortRange),
    /// An ICMP type, and perhaps a code.
    Icmp(u8, Option<u8>),
    /// The state of the packet's flow.
    ConnState(State),
    /// `ct mark & mask == value`.
    ConnMark {
        /// The bits that are looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// Of a flow whose destination was translated (`ct status dnat`).
    TranslatedDestination,
    /// Direction within the flow.
    ConnDirection(Direction),
    /// `ct mark set ct mark & !clear | set`; no bit is in both.
    SetConnMark {
        /// Bits that become 0.
        clear: u32,
        /// Bits that become 1.
        set: u32,
    },
    /// In the set.
    Lookup(Field, Option<Field>, Name),
    /// As the map says; not in the map: go on.
    VerdictMap(Field, Name),
    /// Lowers the segment size that a TCP SYN announces to what the route carries.
    ClampSegmentSize,
    /// Counts.
    Counter,
    /// Copies the packet's first [`LOGGED_BYTES`] to whoever listens to this group of the namespace.
    Log(u16),
    /// Source address becomes that of the outgoing link.
    Masquerade,
    /// Destination becomes what the map says of the packet's protocol and port; not in the map: go on.
    DestinationNat(Name),
    /// Ends the rule.
    Verdict(Verdict),
    /// What the kernel holds and we never make.
    Unknown(String),
}

/// What [`Statement::Log`] copies of a packet: an IP header and the ports behind it.
pub const LOGGED_BYTES: u32 = 64;

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Through, as far as this hook goes.
    Accept,
    /// Silently away.
    Drop,
    /// To a chain, and back here at its end.
    Jump(Name),
    /// To a chain, and not back here.
    Goto(Name),
    /// One that we never use, by the kernel's number.
    Unknown(i32),
}
