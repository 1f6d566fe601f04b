//! Tables and their parts as nft text, the form in which people, logs and tests read them.
//!
//! `nft -f` takes it, and makes of it what [`super::encode`] sends: a test holds the two against each other.

use std::fmt::{self, Display, Formatter};

use super::object::{
    Base, Chain, ChainKind, DataType, Datum, Direction, Family, Field, Hook, Key, LOGGED_BYTES, LinkName, Mapped,
    MapsTo, Policy, Rule, Set, Shape, Side, State, Statement, TABLE, Table, Transport, Verdict,
};

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        for (name, Set { shape, elements }) in &self.sets {
            writeln!(f, "\t{} {name} {{", shape.keyword())?;
            writeln!(f, "\t\t{shape}")?;
            if !elements.is_empty() {
                writeln!(f, "\t\telements = {{ {} }}", Elements(elements.iter()))?;
            }
            writeln!(f, "\t}}")?;
        }
        for (name, Chain { base, rules }) in &self.chains {
            writeln!(f, "\tchain {name} {{")?;
            if let Some(base) = base {
                writeln!(f, "\t\t{base}")?;
            }
            for rule in rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        f.write_str("}\n")
    }
}

impl Shape {
    /// `set` or `map`.
    pub(super) fn keyword(&self) -> &'static str {
        if self.maps_to.is_some() { "map" } else { "set" }
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "type {}", self.key.0)?;
        if let Some(second) = self.key.1 {
            write!(f, " . {second}")?;
        }
        match self.maps_to {
            None => {}
            Some(MapsTo::Verdict) => f.write_str(" : verdict")?,
            Some(MapsTo::Endpoint) => write!(f, " : {} . {}", DataType::Ipv4, DataType::Port)?,
            Some(MapsTo::Unknown(number)) => write!(f, " : {}", DataType::Unknown(number))?,
        }
        f.write_str(";")?;
        f.write_str(if self.counter { " counter;" } else { "" })
    }
}

impl Display for DataType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface => f.write_str("ifname"),
            Self::Ipv4 => f.write_str("ipv4_addr"),
            Self::Protocol => f.write_str("inet_proto"),
            Self::Port => f.write_str("inet_service"),
            Self::Unknown(number) => write!(f, "type{number}"),
        }
    }
}

/// Elements in the braces of a set or of `add element`.
pub(super) struct Elements<I>(pub(super) I);

impl<K, V, I> Display for Elements<I>
where
    I: Iterator<Item = (K, V)> + Clone,
    K: std::borrow::Borrow<Key>,
    V: std::borrow::Borrow<Option<Mapped>>,
{
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, (key, mapped)) in self.0.clone().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            Display::fmt(key.borrow(), f)?;
            match mapped.borrow() {
                None => {}
                Some(Mapped::Verdict(verdict)) => write!(f, " : {verdict}")?,
                Some(Mapped::Endpoint(address, port)) => write!(f, " : {address} . {port}")?,
            }
        }
        Ok(())
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)?;
        match &self.1 {
            Some(second) => write!(f, " . {second}"),
            None => Ok(()),
        }
    }
}

impl Display for Datum {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Ipv4(address) => Display::fmt(address, f),
            Self::Protocol(number) => protocol(*number, f),
            Self::Port(port) => Display::fmt(port, f),
        }
    }
}

impl Display for LinkName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        f.write_str(&String::from_utf8_lossy(&self.0[..end]))
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Unknown => "unknown",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
            Hook::Unknown(_) => "unknown",
        };
        let policy = match self.policy {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        };
        write!(f, "type {kind} hook {hook} priority {}; policy {policy};", self.priority)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, statement) in self.statements.iter().enumerate() {
            write!(f, "{}{statement}", if n > 0 { " " } else { "" })?;
        }
        if self.comment.is_empty() { Ok(()) } else { write!(f, " comment \"{}\"", self.comment) }
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(Family::Ipv4) => f.write_str("meta nfproto ipv4"),
            Self::Family(Family::Ipv6) => f.write_str("meta nfproto ipv6"),
            Self::Interface(side, name) => write!(f, "{} \"{name}\"", Field::Interface(*side)),
            Self::Block(side, block) => {
                let family = if block.is_ipv4() { "ip" } else { "ip6" };
                let whole = block.prefix() == if block.is_ipv4() { 32 } else { 128 };
                write!(f, "{family} {} ", if *side == Side::From { "saddr" } else { "daddr" })?;
                if whole { write!(f, "{}", block.ip()) } else { write!(f, "{block}") }
            }
            Self::LocalDestination => f.write_str("fib daddr type local"),
            Self::TimeToLive(hops) => write!(f, "ip ttl {hops}"),
            Self::Protocol(number) => {
                f.write_str("meta l4proto ")?;
                protocol(*number, f)
            }
            Self::Port(transport, ports) => {
                write!(f, "{} dport {}", if *transport == Transport::Tcp { "tcp" } else { "udp" }, ports.first)?;
                if ports.first == ports.last { Ok(()) } else { write!(f, "-{}", ports.last) }
            }
            Self::Icmp(kind, None) => write!(f, "icmp type {kind}"),
            Self::Icmp(kind, Some(code)) => write!(f, "icmp type {kind} icmp code {code}"),
            Self::ConnState(State::Invalid) => f.write_str("ct state invalid"),
            Self::ConnState(State::Related) => f.write_str("ct state related"),
            Self::ConnState(State::EstablishedOrRelated) => f.write_str("ct state established,related"),
            Self::ConnMark { mask, value } => write!(f, "ct mark & {mask:#x} == {value:#x}"),
            Self::TranslatedDestination => f.write_str("ct status dnat"),
            Self::ConnDirection(Direction::Original) => f.write_str("ct direction original"),
            Self::ConnDirection(Direction::Reply) => f.write_str("ct direction reply"),
            Self::SetConnMark { clear: 0, set } => write!(f, "ct mark set ct mark | {set:#x}"),
            Self::SetConnMark { clear, set: 0 } => write!(f, "ct mark set ct mark & {:#010x}", !clear),
            Self::SetConnMark { clear, set } => write!(f, "ct mark set ct mark & {:#010x} | {set:#x}", !clear),
            Self::Lookup(field, None, set) => write!(f, "{field} @{set}"),
            Self::Lookup(first, Some(second), set) => write!(f, "{first} . {second} @{set}"),
            Self::VerdictMap(field, map) => write!(f, "{field} vmap @{map}"),
            Self::ClampSegmentSize => f.write_str("tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"),
            Self::Counter => f.write_str("counter"),
            Self::Log(group) => write!(f, "log group {group} snaplen {LOGGED_BYTES}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::DestinationNat(map) => write!(f, "dnat ip to meta l4proto . th dport map @{map}"),
            Self::Verdict(verdict) => Display::fmt(verdict, f),
            Self::Unknown(what) => write!(f, "# not ours: {what}"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interface(Side::From) => "iifname",
            Self::Interface(Side::To) => "oifname",
            Self::Ipv4(Side::From) => "ip saddr",
            Self::Ipv4(Side::To) => "ip daddr",
            Self::Protocol => "meta l4proto",
        })
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Unknown(code) => write!(f, "verdict{code}"),
        }
    }
}

fn protocol(number: u8, f: &mut Formatter<'_>) -> fmt::Result {
    match number {
        1 => f.write_str("icmp"),
        6 => f.write_str("tcp"),
        17 => f.write_str("udp"),
        other => write!(f, "{other}"),
    }
}
