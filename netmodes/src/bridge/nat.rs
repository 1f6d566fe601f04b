//! The nftables table of an instance's netns: what Docker's rules do on an EC2 host, with a map for the host ports (1.5, 1.7).
//!
//! ```text
//! in from the ENI     prerouting  not for or from the bridge's block, loopback or the metadata address: those are nobody's out there
//!                     nat         to one of the instance's own addresses and a published port: to the container
//!                     forward     what was led to a container so, and of flows that are known
//! from a container    prerouting  only with an address of the bridge's block
//!                     nat         to its own instance and a published port: to that container, be it itself
//!                     forward     out by the ENI, and to a container as above; from bridge port to bridge port it is not forwarded
//!                     postrouting masqueraded: out as the instance, to another container as the bridge
//! from the instance   nat         to one of its own addresses, 127.0.0.1 too, and a published port: to the container
//!                     postrouting as the bridge where it came from 127.0.0.1, to which no container could answer
//! ```
//!
//! What comes in by the ENI for the instance itself is let in, but for the ECS agent's introspection port: the VPC's security
//! groups have judged it, and host-mode processes listen there. IPv6 is not forwarded at all. Pure; a port that comes or goes is an element and changes no rule.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::instance::{BRIDGE_BLOCK, BRIDGE_LINK};
use super::ports::PublishedPort;
use crate::awsvpc::OWNER_LINK;
use crate::nft::{
    Base, Chain, ChainKind, DataType, Datum, Hook, Key, LinkName, Mapped, MapsTo, Policy, Rule, Set, Shape, Side,
    State, Statement, Table, Transport, Verdict,
};
use crate::security::group::PortRange;
use crate::vpc::router::TASK_METADATA;

/// The map of host ports to containers, by protocol and port.
pub const PORTS: &str = "ports";
/// The map of the ports at 169.254.170.2 to where the front of task metadata really listens.
pub const METADATA: &str = "metadata";

/// The port of task metadata, as tasks ask for it (9.1).
const METADATA_HTTP: u16 = 80;
/// Where the ECS agent of an instance tells about its tasks: for whoever is on the instance (1.5).
const INTROSPECTION: PortRange = PortRange { first: 51678, last: 51678 };
const LOOPBACK_BLOCK: Ipv4Network = Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8).unwrap();

/// The table of an instance with these ports. Of ports that claim the same host port the last one counts.
pub fn table(ports: &BTreeSet<PublishedPort>, metadata_port: Option<u16>) -> Table {
    let mut table = Table::default();
    let to_containers = ports.iter().map(|port| {
        (key(port.protocol, port.host_port), Mapped::Endpoint(port.container_address, port.container_port))
    });
    map(&mut table, PORTS, to_containers);
    let front = match (metadata_port, TASK_METADATA) {
        (Some(port), IpAddr::V4(address)) => {
            Some((key(Transport::Tcp, METADATA_HTTP), Mapped::Endpoint(address, port)))
        }
        _ => None,
    };
    map(&mut table, METADATA, front.into_iter());

    // Before conntrack (-200): what is dropped here makes and matches no flow, and answers to translated flows still have the
    // address here that they were sent to.
    base(&mut table, "prerouting", ChainKind::Filter, Hook::Prerouting, -300, Policy::Accept, strangers());
    base(&mut table, "input", ChainKind::Filter, Hook::Input, 0, Policy::Accept, received());
    base(&mut table, "forward", ChainKind::Filter, Hook::Forward, 0, Policy::Drop, forwarded());
    base(&mut table, "published", ChainKind::Nat, Hook::Prerouting, -100, Policy::Accept, published());
    base(&mut table, "published_here", ChainKind::Nat, Hook::Output, -100, Policy::Accept, published());
    base(&mut table, "postrouting", ChainKind::Nat, Hook::Postrouting, 100, Policy::Accept, masqueraded());
    table
}

/// The ports in a table, whoever made it.
pub fn ports_in(table: &Table) -> BTreeSet<PublishedPort> {
    let elements = table.sets.get(PORTS).into_iter().flat_map(|set| &set.elements);
    let port = |(key, mapped): (&Key, &Option<Mapped>)| match (key, mapped) {
        (Key(Datum::Protocol(number), Some(Datum::Port(host_port))), Some(Mapped::Endpoint(address, port))) => {
            let protocol =
                [Transport::Tcp, Transport::Udp].into_iter().find(|protocol| protocol.number() == *number)?;
            let (host_port, container_address, container_port) = (*host_port, *address, *port);
            Some(PublishedPort { protocol, host_port, container_address, container_port })
        }
        _ => None,
    };
    elements.filter_map(port).collect()
}

/// Where the requests for task metadata are led to in a table, whoever made it.
pub fn metadata_port_in(table: &Table) -> Option<u16> {
    match table.sets.get(METADATA)?.elements.get(&key(Transport::Tcp, METADATA_HTTP))? {
        Some(Mapped::Endpoint(_, port)) => Some(*port),
        _ => None,
    }
}

/// Nothing gets in or out under an address that is not seen beyond the link.
fn strangers() -> Vec<Rule> {
    use Statement as S;
    let block = |side, block: Ipv4Network| S::Block(side, IpNetwork::V4(block));
    let metadata = S::Block(Side::To, IpNetwork::from(TASK_METADATA));
    vec![
        rule([from("lo"), accept()], "this namespace itself"),
        rule([block(Side::To, LOOPBACK_BLOCK), S::Counter, drop_it()], "the hole of route_localnet"),
        rule([block(Side::From, LOOPBACK_BLOCK), S::Counter, drop_it()], "nobody's loopback but our own"),
        rule([from(BRIDGE_LINK), block(Side::From, BRIDGE_BLOCK), accept()], "a container"),
        rule([from(BRIDGE_LINK), S::Counter, drop_it()], "a container with another's address"),
        rule([block(Side::To, BRIDGE_BLOCK), S::Counter, drop_it()], "containers are reached by host ports alone"),
        rule([block(Side::From, BRIDGE_BLOCK), S::Counter, drop_it()], "another instance's bridge is not ours"),
        rule([metadata, S::Counter, drop_it()], "task metadata is for this instance's containers"),
    ]
}

/// The ECS agent's one rule about what the instance itself receives.
fn received() -> Vec<Rule> {
    use Statement as S;
    vec![
        rule([S::ConnState(State::EstablishedOrRelated), accept()], "51678 is a dynamic port too"),
        rule([from("lo"), accept()], "this namespace itself"),
        rule([from(BRIDGE_LINK), accept()], "a container"),
        rule([S::Port(Transport::Tcp, INTROSPECTION), S::Counter, drop_it()], "the ECS agent's introspection port"),
    ]
}

fn forwarded() -> Vec<Rule> {
    use Statement as S;
    vec![
        rule([S::ConnState(State::Invalid), S::Counter, drop_it()], "would leave untranslated"),
        rule([S::ConnState(State::EstablishedOrRelated), accept()], "flows that were let through below"),
        rule([to(BRIDGE_LINK), S::TranslatedDestination, accept()], "to a host port"),
        rule([from(BRIDGE_LINK), to(OWNER_LINK), accept()], "out, as the instance"),
        rule([S::Counter, drop_it()], "nothing else is forwarded"),
    ]
}

fn published() -> Vec<Rule> {
    use Statement as S;
    let metadata = || S::Block(Side::To, IpNetwork::from(TASK_METADATA));
    vec![
        rule([metadata(), S::DestinationNat(METADATA.into())], "task metadata, where it listens"),
        rule([metadata(), accept()], "never a host port"),
        rule([S::LocalDestination, S::DestinationNat(PORTS.into())], "host ports"),
    ]
}

fn masqueraded() -> Vec<Rule> {
    use Statement as S;
    let source = |block| S::Block(Side::From, IpNetwork::V4(block));
    vec![
        rule([to(BRIDGE_LINK), source(LOOPBACK_BLOCK), S::Masquerade], "127.0.0.1 and a host port"),
        rule(
            [to(BRIDGE_LINK), source(BRIDGE_BLOCK), S::TranslatedDestination, S::Masquerade],
            "a container to its own instance: the answer must come back here",
        ),
        rule([to(OWNER_LINK), source(BRIDGE_BLOCK), S::Masquerade], "out, as the instance"),
    ]
}

fn map(table: &mut Table, name: &str, elements: impl Iterator<Item = (Key, Mapped)>) {
    let key = (DataType::Protocol, Some(DataType::Port));
    let shape = Shape { key, maps_to: Some(MapsTo::Endpoint), counter: false };
    let elements = elements.map(|(key, mapped)| (key, Some(mapped))).collect();
    table.sets.insert(name.into(), Set { shape, elements });
}

fn key(protocol: Transport, port: u16) -> Key {
    Key::two(Datum::Protocol(protocol.number()), Datum::Port(port))
}

fn base(table: &mut Table, name: &str, kind: ChainKind, hook: Hook, priority: i32, policy: Policy, rules: Vec<Rule>) {
    table.chains.insert(name.into(), Chain { base: Some(Base { kind, hook, priority, policy }), rules });
}

fn rule(statements: impl Into<Vec<Statement>>, comment: &str) -> Rule {
    Rule { statements: statements.into(), comment: comment.into() }
}

fn from(link: &str) -> Statement {
    Statement::Interface(Side::From, LinkName::new(link))
}

fn to(link: &str) -> Statement {
    Statement::Interface(Side::To, LinkName::new(link))
}

fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

fn drop_it() -> Statement {
    Statement::Verdict(Verdict::Drop)
}
