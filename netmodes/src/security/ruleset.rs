//! The nftables table that a ruleset is: a pure function, the whole of what ecsnet lets through (reference 4).
//!
//! A new flow from one ENI to another goes
//!
//! ```text
//! prerouting   the source address is the ENI's own (or source check is off)
//! forward      by the link it came in from (map `egress`) to
//!  egress/…      the sender's groups, one chain for each list of groups; each jumps to
//!   sg-…/egress    that group's rules; the first match goes on to
//! receiver     by the link it leaves by (map `ingress`) to
//!  ingress/…     the receiver's groups
//!   sg-…/ingress   the first match goes to
//! admit        the flow is let through, and marked so
//! ```
//!
//! What matches nothing is counted at its ENI and dropped. ENIs, addresses and members are elements of sets and maps, so
//! an ENI that comes or goes with groups that others have too changes no rule.
//!
//! **State** (4.4) is three bits of the flow's conntrack mark. [`ADMITTED`]: let through before, so each further packet is
//! let through without a look at the rules: changing them does not cut it. [`INITIATOR_UNTRACKED`] and
//! [`RESPONDER_UNTRACKED`]: on that side AWS would keep no state, because the rule that let the flow in is for any address
//! and the other direction is open to any address and port. Its packets are judged at that ENI one by one, those of the
//! initiator as sent and those against it by the opposite direction's rules, so removing the rule cuts it at once. A group's
//! rules for any address stand in a chain of their own, behind the narrower rules of all groups: what these match is tracked.
//! Flows over the uplink are always tracked, as those through a NAT gateway are.
//!
//! **The namespace itself** is closed both ways (4.5, pitfall 2): in come DNS and task metadata, out go answers, ICMP errors,
//! and the resolver's own questions over the uplink.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::base_chains::{base_chains, judging_chains};
use super::group::{Peer, PortRange, Rule as GroupRule, Ruleset, SecurityGroup, Traffic};
use crate::ids::GroupId;
use crate::nft::{
    Chain, DataType, Datum, Family, Field, Key, LinkName, Mapped, MapsTo, Name, Rule, Set, Shape, Side, Statement,
    Table, Transport, Verdict,
};
use crate::vpc::eni::Eni;

/// The link over which a VPC's namespace reaches the internet; Docker names it so.
pub const UPLINK: &str = "eth0";
/// Bit of the conntrack mark: the flow was let through before.
pub const ADMITTED: u32 = 0x4;
/// Bit of the conntrack mark: no state at the ENI that opened the flow.
pub const INITIATOR_UNTRACKED: u32 = 0x1;
/// Bit of the conntrack mark: no state at the ENI that the flow was opened to.
pub const RESPONDER_UNTRACKED: u32 = 0x2;

/// The set that counts packets with a source address that is not the ENI's, by link.
pub const REFUSED_SOURCE: &str = "refused_source";
/// The set that counts packets that no egress rule allows, by link.
pub const REFUSED_EGRESS: &str = "refused_egress";
/// The set that counts packets that no ingress rule allows, by link.
pub const REFUSED_INGRESS: &str = "refused_ingress";

/// The log group of packets that no egress rule allows.
pub const LOG_EGRESS: u16 = 1;
/// The log group of packets that no ingress rule allows.
pub const LOG_INGRESS: u16 = 2;

pub(super) const SOURCES: &str = "sources";
pub(super) const UNCHECKED: &str = "unchecked";
pub(super) const EGRESS: &str = "egress";
pub(super) const INGRESS: &str = "ingress";
pub(super) const OPEN_EGRESS: &str = "open_egress";
pub(super) const OPEN_INGRESS: &str = "open_ingress";
pub(super) const RESOLVER: &str = "resolver";

/// More names than these do not fit into a chain's 255 bytes.
const GROUPS_IN_A_NAME: usize = 10;

/// Which way a rule looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Egress,
    Ingress,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Egress => EGRESS,
            Self::Ingress => INGRESS,
        }
    }

    fn rules(self, group: &SecurityGroup) -> &[GroupRule] {
        match self {
            Self::Egress => &group.egress,
            Self::Ingress => &group.ingress,
        }
    }

    /// On which side of the packet the peer stands.
    fn peer(self) -> Side {
        match self {
            Self::Egress => Side::To,
            Self::Ingress => Side::From,
        }
    }
}

/// The table that enforces `ruleset`. With no ENIs and groups it is the closed base.
pub fn table(ruleset: &Ruleset) -> Table {
    let mut table = Table::default();
    declare_sets(&mut table, ruleset.groups.keys());
    for address in ruleset.router.resolver_addresses() {
        if let IpAddr::V4(address) = address {
            insert(&mut table, RESOLVER, Key::one(Datum::Ipv4(address)), None);
        }
    }
    base_chains(&mut table, ruleset);
    judging_chains(&mut table, ruleset.flow_log);
    for group in ruleset.groups.values() {
        for way in [Way::Egress, Way::Ingress] {
            group_chains(&mut table, ruleset, group, way);
        }
    }
    for eni in ruleset.enis.values() {
        add_eni(&mut table, ruleset, eni);
    }
    table
}

pub(super) fn declare_sets<'a>(table: &mut Table, groups: impl Iterator<Item = &'a GroupId>) {
    use DataType::{Interface, Ipv4, Protocol};
    let mut declare = |name: &str, key, verdicts: bool, counter| {
        let shape = Shape { key, maps_to: verdicts.then_some(MapsTo::Verdict), counter };
        table.sets.insert(name.into(), Set { shape, elements: Default::default() });
    };
    declare(SOURCES, (Interface, Some(Ipv4)), false, false);
    declare(UNCHECKED, (Interface, None), false, false);
    declare(EGRESS, (Interface, None), true, false);
    declare(INGRESS, (Interface, None), true, false);
    declare(OPEN_EGRESS, (Interface, Some(Protocol)), false, false);
    declare(OPEN_INGRESS, (Interface, Some(Protocol)), false, false);
    declare(REFUSED_SOURCE, (Interface, None), false, true);
    declare(REFUSED_EGRESS, (Interface, None), false, true);
    declare(REFUSED_INGRESS, (Interface, None), false, true);
    declare(RESOLVER, (Ipv4, None), false, false);
    for group in groups {
        declare(group.as_str(), (Ipv4, None), false, false);
    }
}

/// The rules of one group in one direction: narrow ones in `sg-…/egress`, those for any address in `sg-…/egress_any`.
fn group_chains(table: &mut Table, ruleset: &Ruleset, group: &SecurityGroup, way: Way) {
    let (any, narrow): (BTreeSet<_>, BTreeSet<_>) = way.rules(group).iter().partition(|rule| is_for_any(rule));
    let comment = comment(group);
    for (rules, for_any) in [(narrow, false), (any, true)] {
        let pass = match (way, for_any) {
            (Way::Egress, false) => "receiver",
            (Way::Egress, true) => "sent_by_any",
            (Way::Ingress, false) => "admit",
            (Way::Ingress, true) => "admit_by_any",
        };
        let rules: Vec<_> = rules
            .into_iter()
            .filter_map(|permission| matches(permission, way, ruleset))
            .map(|mut statements| {
                statements.push(goto(pass));
                Rule { statements, comment: comment.clone() }
            })
            .collect();
        table.chains.insert(group_chain(&group.id, way, for_any), Chain { base: None, rules });
    }
}

fn group_chain(group: &GroupId, way: Way, for_any: bool) -> Name {
    format!("{group}/{}{}", way.word(), if for_any { "_any" } else { "" }).into()
}

/// Whether flows that the rule lets in may be untracked: TCP or UDP, any address (4.4).
fn is_for_any(rule: &GroupRule) -> bool {
    let any_address = matches!(rule.peer, Peer::Cidr(block) if block.prefix() == 0);
    any_address && matches!(rule.traffic, Traffic::All | Traffic::Tcp(_) | Traffic::Udp(_))
}

/// The packets that a rule is about; `None` when there are none.
fn matches(permission: &GroupRule, way: Way, ruleset: &Ruleset) -> Option<Vec<Statement>> {
    let family = match &permission.peer {
        Peer::Cidr(block) => Family::of(block.ip()),
        Peer::Group(_) => Family::Ipv4,
    };
    let peer = match &permission.peer {
        Peer::Cidr(block) if block.prefix() == 0 => Statement::Family(family),
        Peer::Cidr(block) => Statement::Block(way.peer(), *block),
        Peer::Group(group) if ruleset.groups.contains_key(group) => {
            Statement::Lookup(Field::Ipv4(way.peer()), None, group.as_str().into())
        }
        Peer::Group(_) => return None,
    };
    let traffic = match permission.traffic {
        Traffic::All => None,
        Traffic::Tcp(PortRange::ALL) => Some(Statement::Protocol(Transport::Tcp.number())),
        Traffic::Udp(PortRange::ALL) => Some(Statement::Protocol(Transport::Udp.number())),
        Traffic::Tcp(ports) => Some(Statement::Port(Transport::Tcp, ports)),
        Traffic::Udp(ports) => Some(Statement::Port(Transport::Udp, ports)),
        // `icmp` is IPv4's; IPv6's is protocol 58.
        Traffic::Icmp { .. } if family == Family::Ipv6 => return None,
        Traffic::Icmp { kind: None, .. } => Some(Statement::Protocol(1)),
        Traffic::Icmp { kind: Some(kind), code } => Some(Statement::Icmp(kind, code)),
        Traffic::Protocol(number) => Some(Statement::Protocol(number)),
    };
    Some([Some(peer), traffic].into_iter().flatten().collect())
}

/// One ENI: elements, and the chain of its list of groups if it is the first with that list.
pub(super) fn add_eni(table: &mut Table, ruleset: &Ruleset, eni: &Eni) {
    let link = Datum::Interface(LinkName::new(&Eni::link_name(&eni.id)));
    let groups: BTreeSet<_> = eni.groups.iter().filter(|group| ruleset.groups.contains_key(*group)).collect();
    let addresses: Vec<Ipv4Addr> = eni.addresses.iter().filter_map(|a| as_ipv4(a.address)).collect();
    if eni.source_check {
        for address in &addresses {
            insert(table, SOURCES, Key::two(link, Datum::Ipv4(*address)), None);
        }
    } else {
        insert(table, UNCHECKED, Key::one(link), None);
    }
    for group in &groups {
        for address in &addresses {
            insert(table, group.as_str(), Key::one(Datum::Ipv4(*address)), None);
        }
    }
    for set in [REFUSED_SOURCE, REFUSED_EGRESS, REFUSED_INGRESS] {
        insert(table, set, Key::one(link), None);
    }
    for (way, open, refused) in
        [(Way::Egress, OPEN_EGRESS, REFUSED_EGRESS), (Way::Ingress, OPEN_INGRESS, REFUSED_INGRESS)]
    {
        let rules = || groups.iter().filter_map(|id| ruleset.groups.get(*id)).flat_map(|group| way.rules(group));
        for transport in [Transport::Tcp, Transport::Udp] {
            if rules().any(|rule| opens_all(rule, transport)) {
                insert(table, open, Key::two(link, Datum::Protocol(transport.number())), None);
            }
        }
        let chain = list_chain(eni, &groups, way);
        if !table.chains.contains_key(&chain) {
            let jump = |for_any| {
                groups
                    .iter()
                    .map(move |group| rule([Statement::Verdict(Verdict::Jump(group_chain(group, way, for_any)))], ""))
            };
            let rules = jump(false).chain(jump(true)).chain([rule([goto(refused)], "")]).collect();
            table.chains.insert(chain.clone(), Chain { base: None, rules });
        }
        insert(table, way.word(), Key::one(link), Some(Verdict::Goto(chain)));
    }
}

/// The chain for a list of groups; with more groups than a name holds, one for the ENI alone.
fn list_chain(eni: &Eni, groups: &BTreeSet<&GroupId>, way: Way) -> Name {
    let mut name = way.word().to_owned();
    if groups.len() > GROUPS_IN_A_NAME {
        name = format!("{name}/{}", eni.id);
    } else {
        groups.iter().for_each(|group| name.extend(["/", group.as_str()]));
    }
    if groups.is_empty() {
        name.push_str("/none");
    }
    name.into()
}

/// Whether the rule allows every port of the protocol with every address: what answers of an untracked flow need (4.4).
fn opens_all(rule: &GroupRule, transport: Transport) -> bool {
    let every_port = match rule.traffic {
        Traffic::All => true,
        Traffic::Tcp(ports) => transport == Transport::Tcp && ports == PortRange::ALL,
        Traffic::Udp(ports) => transport == Transport::Udp && ports == PortRange::ALL,
        Traffic::Icmp { .. } | Traffic::Protocol(_) => false,
    };
    every_port && matches!(rule.peer, Peer::Cidr(block) if block.prefix() == 0 && block.is_ipv4())
}

fn as_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn insert(table: &mut Table, set: &str, key: Key, verdict: Option<Verdict>) {
    if let Some(set) = table.sets.get_mut(set) {
        set.elements.insert(key, verdict.map(Mapped::Verdict));
    }
}

pub(super) fn rule(statements: impl Into<Vec<Statement>>, comment: &str) -> Rule {
    Rule { statements: statements.into(), comment: comment.into() }
}

/// Id and name; of the name what nft's grammar can quote, at most 127 bytes in all.
fn comment(group: &SecurityGroup) -> Name {
    let name = group.name.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\'));
    format!("{} ", group.id).chars().chain(name).take(127).collect::<String>().trim_end().into()
}

pub(super) fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.into()))
}
