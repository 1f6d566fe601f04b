//! Rules, and what would have to be added, in the stack file's own words. Pure.

use netmodes::ids::{GroupId, NetworkMode};
use netmodes::reach::path::Opening;
use netmodes::security::group::{Peer, PortRange, Rule, Traffic};
use netmodes::vpc::eni::Eni;

use super::question::End;
use crate::spec::ids::ServiceName;
use crate::spec::task_definition::TransportProtocol;
use crate::store::state::StackRecord;

/// Which way a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the sender.
    Egress,
    /// To the receiver.
    Ingress,
}

impl Way {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }

    fn peer_key(self) -> &'static str {
        match self {
            Self::Egress => "to",
            Self::Ingress => "from",
        }
    }
}

/// `tcp/8080`, `icmp echo`.
pub(super) fn opening(opening: Opening) -> String {
    match opening {
        Opening::Tcp(port) => format!("tcp/{port}"),
        Opening::Udp(port) => format!("udp/{port}"),
        Opening::Icmp(8, 0) => "icmp echo".to_owned(),
        Opening::Icmp(kind, code) => format!("icmp type {kind} code {code}"),
    }
}

/// The name of a group of the stack.
pub(super) fn group_name<'a>(record: &'a StackRecord, id: &'a GroupId) -> &'a str {
    record.groups.iter().find(|(_, known)| *known == id).map_or(id.as_str(), |(name, _)| name.as_str())
}

/// A rule of the group as one would write it: `{ port: 8080, from: web }`.
pub(super) fn rule(record: &StackRecord, group: &GroupId, rule: &Rule, way: Way) -> String {
    let traffic = match rule.traffic {
        Traffic::All => "protocol: all".to_owned(),
        Traffic::Tcp(PortRange::ALL) => "protocol: tcp".to_owned(),
        Traffic::Udp(PortRange::ALL) => "protocol: udp".to_owned(),
        Traffic::Tcp(range) => ports(range),
        Traffic::Udp(range) => format!("{}, protocol: udp", ports(range)),
        Traffic::Icmp { kind: None, .. } => "protocol: icmp".to_owned(),
        Traffic::Icmp { kind: Some(kind), code: None } => format!("type: {kind}"),
        Traffic::Icmp { kind: Some(kind), code: Some(code) } => format!("type: {kind}, code: {code}"),
        Traffic::Protocol(number) => format!("protocol: {number}"),
    };
    let peer = match &rule.peer {
        Peer::Cidr(block) => block.to_string(),
        Peer::Group(peer) if peer == group => "self".to_owned(),
        Peer::Group(peer) => group_name(record, peer).to_owned(),
    };
    format!("{{ {traffic}, {}: {peer} }}", way.peer_key())
}

fn ports(range: PortRange) -> String {
    match range {
        PortRange { first, last } if first == last => format!("port: {first}"),
        PortRange { first, last } => format!("ports: {first}-{last}"),
    }
}

/// What a rule that lets the packet through says of it.
fn narrowest(opening: Opening) -> String {
    match opening {
        Opening::Tcp(port) => format!("port: {port}"),
        Opening::Udp(port) => format!("port: {port}, protocol: udp"),
        Opening::Icmp(..) => "protocol: icmp".to_owned(),
    }
}

/// The group of an ENI that a rule for a service is best added to: on an instance the service's own before others'.
pub(super) fn group_for<'a>(record: &'a StackRecord, eni: &'a Eni, service: Option<&ServiceName>) -> Option<&'a str> {
    let names = || eni.groups.iter().map(|id| group_name(record, id));
    let of_service = service.and_then(|service| record.spec.services.get(service));
    let is_its =
        |name: &&str| of_service.is_some_and(|s| s.security_groups.iter().any(|group| group.as_str() == *name));
    names().find(is_its).or_else(|| names().next())
}

/// What to add for `own` ENI, which is that of task `end` or of its instance, to let the packet pass, the other end being
/// `peer`: a group's or service's name, or a block.
pub(super) fn remedy(
    record: &StackRecord,
    way: Way,
    (own, end): (&Eni, Option<&End>),
    peer: &str,
    opening: Opening,
    caller: &End,
) -> String {
    let group = group_for(record, own, end.map(|end| &end.service));
    let (Some(group), Some(end)) = (group, end) else {
        return match group {
            Some(group) => {
                let peer = if peer == group { "self" } else { peer };
                let rule = format!("{{ {}, {}: {peer} }}", narrowest(opening), way.peer_key());
                format!("add to `securityGroups.{group}.{}`: `{rule}`", way.word())
            }
            None => match end {
                Some(end) if end.mode == NetworkMode::Awsvpc => {
                    format!("give service `{}` `securityGroups`", end.service)
                }
                _ => "give the container instance `securityGroups`".to_owned(),
            },
        };
    };
    let own = end;
    let peer = if peer == group { "self" } else { peer };
    let rule = format!("{{ {}, {}: {peer} }}", narrowest(opening), way.peer_key());
    // A group that bears a service's name is the one that the service got by itself: no file can add a rule to it.
    if way == Way::Egress || !record.spec.services.contains_key(group) {
        return format!("add to `securityGroups.{group}.{}`: `{rule}`", way.word());
    }
    let own_group = format!("`{}` has no `securityGroups`, so only services that connect to it get in", own.service);
    let transport = match opening {
        Opening::Tcp(port) => Some((port, TransportProtocol::Tcp)),
        Opening::Udp(port) => Some((port, TransportProtocol::Udp)),
        Opening::Icmp(..) => None,
    };
    let connect = format!("add `connectsTo: [{}]` to service `{}`", own.service, caller.service);
    match transport {
        _ if caller.service == own.service => {
            format!(
                "{own_group}: give it `securityGroups` with an ingress rule `{{ {}, from: self }}`",
                narrowest(opening)
            )
        }
        Some((port, protocol)) if maps(own, port, protocol) => {
            format!("{own_group}: {connect}")
        }
        Some((port, protocol)) => {
            let udp = if protocol == TransportProtocol::Udp { ", \"protocol\": \"udp\"" } else { "" };
            format!(
                "{own_group}, on the ports that its task definition maps: map this one (`{{ \"containerPort\": {port}{udp} }}` \
                 in `portMappings`) and {connect}"
            )
        }
        None => format!("{own_group}: give it `securityGroups` with an ingress rule `{rule}`"),
    }
}

/// Whether a port at which the task is reached is one that it maps.
fn maps(end: &End, port: u16, protocol: TransportProtocol) -> bool {
    match end.mode {
        NetworkMode::Bridge => end.bindings.iter().any(|b| b.ports().any(|bound| bound == (protocol, port))),
        _ => end.definition.port_mappings().any(|m| (m.container_port, m.protocol) == (port, protocol)),
    }
}

/// Items as a sentence lists them, no more than some.
pub(super) fn list<T: std::fmt::Display>(items: &[T]) -> String {
    const MOST: usize = 8;
    let mut text = items.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if items.len() > MOST {
        text.push_str(&format!(", and {} more", items.len() - MOST));
    }
    text
}
