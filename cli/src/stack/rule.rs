//! Security groups of a stack file: the short form of rules to typed [`Rule`]s (reference 4.1, 4.2, 4.6).

use std::collections::BTreeMap;

use agent::spec::ids::{GroupName, ServiceName};
use agent::spec::security_group::{HOST_ADDRESS, Peer, PortRange, Rule, SecurityGroup, Traffic};
use agent::spec::validate::wording;
use ipnetwork::IpNetwork;

use super::read::Node;
use super::vpc;

/// What the names in `from` and `to` can mean.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// The groups that the stack has.
    pub(super) groups: &'a [GroupName],
    /// The groups of each service.
    pub(super) services: &'a BTreeMap<ServiceName, Vec<GroupName>>,
    /// Whether the host has a way into the VPC, so that rules can name it.
    pub(super) host_access: bool,
}

/// Which way a rule's packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// Reads a group; where it leaves `egress` out everything may leave, and `default` lets its own members in (4.1).
pub(super) fn group(node: &Node<'_>, name: &GroupName, names: &Names<'_>) -> Option<SecurityGroup> {
    if !node.has_only(&["ingress", "egress", "description"]) {
        return None;
    }
    let rules = |key: &str, direction: Direction| {
        node.get(key).map(|n| n.items().iter().flat_map(|n| rule(n, name, direction, names)).collect::<Vec<_>>())
    };
    let inbound_at_creation = if name.as_str() == "default" { default_ingress() } else { Vec::new() };
    Some(SecurityGroup {
        ingress: rules("ingress", Direction::Ingress).unwrap_or(inbound_at_creation),
        egress: rules("egress", Direction::Egress).unwrap_or_else(allow_all_egress),
        description: node.get("description").and_then(|n| n.text()).unwrap_or_default().to_owned(),
    })
}

/// The VPC's own group as EC2 makes it.
pub(super) fn default_group() -> SecurityGroup {
    SecurityGroup {
        ingress: default_ingress(),
        egress: allow_all_egress(),
        description: "default VPC security group".to_owned(),
    }
}

fn default_ingress() -> Vec<Rule> {
    vec![Rule { traffic: Traffic::All, peer: Peer::Group(GroupName::new("default")) }]
}

/// Every protocol to 0.0.0.0/0.
pub(super) fn allow_all_egress() -> Vec<Rule> {
    let everywhere = ipnetwork::Ipv4Network::new(std::net::Ipv4Addr::UNSPECIFIED, 0).ok();
    everywhere.map(|block| Rule { traffic: Traffic::All, peer: Peer::Cidr(block.into()) }).into_iter().collect()
}

/// A rule of the file is as many of EC2's as it names peers.
fn rule(node: &Node<'_>, group: &GroupName, direction: Direction, names: &Names<'_>) -> Vec<Rule> {
    let (peer_key, wrong_key, kind) = match direction {
        Direction::Ingress => ("from", "to", "an ingress"),
        Direction::Egress => ("to", "from", "an egress"),
    };
    if let Some(n) = node.get(wrong_key) {
        n.error("UnknownField", format!("{kind} rule says `{peer_key}`, not `{wrong_key}`"));
        return Vec::new();
    }
    let known = ["port", "ports", "protocol", "type", "code", "description", peer_key];
    if !node.has_only(&known) {
        return Vec::new();
    }
    let traffic = traffic(node);
    let Some(peers) = node.get(peer_key) else {
        if node.lacks(peer_key, &known) {
            node.error_with_hint(
                "MissingField",
                format!("a rule must say `{peer_key}` whom"),
                "a group's name, a service's name, a CIDR, or `self`",
            );
        }
        return Vec::new();
    };
    let peers: Vec<Peer> = peers.one_or_more().iter().flat_map(|n| peer(n, group, direction, names)).collect();
    traffic.map(|traffic| peers.into_iter().map(|peer| Rule { traffic, peer }).collect()).unwrap_or_default()
}

fn peer(node: &Node<'_>, group: &GroupName, direction: Direction, names: &Names<'_>) -> Vec<Peer> {
    let Some(text) = node.text() else { return Vec::new() };
    if text == "self" {
        return vec![Peer::Group(group.clone())];
    }
    if text == "host" {
        return host(node, direction, names).map(Peer::Cidr).into_iter().collect();
    }
    if let Some(known) = names.groups.iter().find(|name| name.as_str() == text) {
        return vec![Peer::Group(known.clone())];
    }
    if let Some(groups) = names.services.get(text) {
        return groups.iter().cloned().map(Peer::Group).collect();
    }
    if text.contains('/') || text.parse::<std::net::IpAddr>().is_ok() {
        let Some(block) = vpc::block(node) else { return Vec::new() };
        if block.is_ipv6() {
            node.not_emulated("IPv6", None);
            return Vec::new();
        }
        return vec![Peer::Cidr(block)];
    }
    if text.starts_with("pl-") {
        node.not_emulated("a prefix list as a rule's peer", Some("write its CIDR blocks"));
        return Vec::new();
    }
    let known = names.groups.iter().map(GroupName::as_str).chain(names.services.keys().map(ServiceName::as_str));
    node.unknown("InvalidGroup.NotFound", format!("The security group '{text}' does not exist"), text, known);
    Vec::new()
}

/// The address by which the VPC knows the host.
fn host(node: &Node<'_>, direction: Direction, names: &Names<'_>) -> Option<IpNetwork> {
    if direction == Direction::Egress {
        node.error_with_hint(
            "InvalidParameterValue",
            "nothing in the VPC opens a connection to the host",
            "the host opens them: `from: host` in an ingress rule",
        );
        return None;
    }
    if !names.host_access {
        node.error_with_hint(
            "InvalidParameterValue",
            "the host has no way into this VPC",
            "set `hostAccess: true` in `vpc`, or reach tasks with `ecsnet forward TARGET:PORT`",
        );
        return None;
    }
    Some(IpNetwork::from(HOST_ADDRESS))
}

/// What packets a rule is about; None where that was told as a fault.
fn traffic(node: &Node<'_>) -> Option<Traffic> {
    let protocol = match node.get("protocol") {
        Some(n) => Some(protocol(&n)?),
        None => None,
    };
    let ports = ports(node);
    let number = match protocol {
        Some(number) => number,
        None if ports.is_given() || node.get("type").is_none() => Protocol::Number(6),
        None => Protocol::Number(1),
    };
    let takes_ports = matches!(number, Protocol::Number(6 | 17));
    if !takes_ports {
        for key in ["port", "ports"] {
            if let Some(n) = node.get(key) {
                n.error("InvalidParameterValue", "only tcp and udp have ports");
            }
        }
    }
    if number != Protocol::Number(1) {
        for key in ["type", "code"] {
            if let Some(n) = node.get(key) {
                n.error("InvalidParameterValue", format!("only icmp has a `{key}`"));
            }
        }
    }
    let range = match ports {
        Ports::Faulty => return None,
        Ports::Range(range) => range,
        Ports::Absent if takes_ports && protocol.is_none() => {
            node.error_with_hint(
                "MissingField",
                "a rule must say which ports",
                "`port: 8080`, `ports: 8000-8100`, or `protocol: all`",
            );
            return None;
        }
        Ports::Absent => PortRange::ALL,
    };
    Some(match number {
        Protocol::All => Traffic::All,
        Protocol::Number(6) => Traffic::Tcp(range),
        Protocol::Number(17) => Traffic::Udp(range),
        Protocol::Number(1) => icmp(node)?,
        Protocol::Number(other) => Traffic::Protocol(other),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    All,
    Number(u8),
}

fn protocol(node: &Node<'_>) -> Option<Protocol> {
    if node.value().is_number() {
        return numbered(node, node.number()?);
    }
    let text = node.text()?;
    match text.to_ascii_lowercase().as_str() {
        "all" => Some(Protocol::All),
        "tcp" => Some(Protocol::Number(6)),
        "udp" => Some(Protocol::Number(17)),
        "icmp" => Some(Protocol::Number(1)),
        "icmpv6" => {
            node.not_emulated("IPv6", None);
            None
        }
        other => match other.parse() {
            Ok(number) => numbered(node, number),
            Err(_) => {
                let message = format!("Invalid value '{text}' for IP protocol. Unknown protocol.");
                node.unknown("InvalidParameterValue", message, text, ["tcp", "udp", "icmp", "all"]);
                None
            }
        },
    }
}

fn numbered(node: &Node<'_>, number: i64) -> Option<Protocol> {
    if number == -1 {
        return Some(Protocol::All);
    }
    if number == 58 {
        node.not_emulated("IPv6", None);
        return None;
    }
    let protocol = u8::try_from(number).ok().map(Protocol::Number);
    if protocol.is_none() {
        let message = format!("Invalid value '{number}' for IP protocol.");
        node.error_with_hint("InvalidParameterValue", message, "-1 for all, or a number from 0 to 255");
    }
    protocol
}

enum Ports {
    Absent,
    Faulty,
    Range(PortRange),
}

impl Ports {
    fn is_given(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// `port: 80`, `port: 8000-8100` and their plural.
fn ports(node: &Node<'_>) -> Ports {
    let (one, many) = (node.get("port"), node.get("ports"));
    if let (Some(_), Some(many)) = (&one, &many) {
        many.error("InvalidParameterValue", "`port` and `ports` are two ways to say one thing");
        return Ports::Faulty;
    }
    let Some(node) = one.or(many) else { return Ports::Absent };
    let bounds =
        match node.value().as_str().and_then(|text| text.split_once('-')).filter(|(first, _)| !first.is_empty()) {
            Some((first, last)) => first.trim().parse::<i64>().ok().zip(last.trim().parse::<i64>().ok()),
            None => match node.value() {
                serde_json::Value::Number(n) => n.as_i64().map(|n| (n, n)),
                serde_json::Value::String(text) => text.trim().parse::<i64>().ok().map(|n| (n, n)),
                _ => None,
            },
        };
    let Some((first, last)) = bounds else {
        node.mismatch("a port (`8080`) or a range of ports (`8000-8100`)");
        return Ports::Faulty;
    };
    for (end, port) in [("from", first), ("to", last)] {
        if !(0..=65535).contains(&port) {
            node.error_with_hint(
                "InvalidParameterValue",
                wording::rule_port_out_of_range(end, port),
                "ports end at 65535",
            );
            return Ports::Faulty;
        }
    }
    match (u16::try_from(first), u16::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last => Ports::Range(PortRange { first, last }),
        _ => {
            let hint = format!("the lower port comes first: {last}-{first}");
            node.error_with_hint("InvalidParameterValue", wording::rule_ports_reversed(first, last), hint);
            Ports::Faulty
        }
    }
}

/// `type` and `code`, each -1 or left out for all (4.2).
fn icmp(node: &Node<'_>) -> Option<Traffic> {
    let part = |key: &str| -> Option<Option<u8>> {
        let Some(n) = node.get(key) else { return Some(None) };
        let number = n.number()?;
        if number == -1 {
            return Some(None);
        }
        let part = u8::try_from(number).ok();
        if part.is_none() {
            n.error_with_hint(
                "InvalidParameterValue",
                wording::icmp_out_of_range(key, number),
                "-1 for all, or 0 to 255",
            );
        }
        part.map(Some)
    };
    let (kind, code) = (part("type"), part("code"));
    let (kind, code) = (kind?, code?);
    if kind.is_none() && code.is_some() {
        if let Some(n) = node.get("code") {
            n.error("InvalidParameterValue", "a `code` without a `type` means nothing");
        }
        return None;
    }
    Some(Traffic::Icmp { kind, code })
}
