//! The way of a new flow's first packet through a VPC: where the router sends it, and which rules judge it.
//!
//! Pure, over the very values that [`crate::security::ruleset`] makes the table from and [`crate::network`] the routes, but
//! not over that table: it is a second reading of what the rules mean, which the kernel's packets are held against.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{EniId, GroupId};
use crate::security::group::{Peer, PortRange, Rule, Ruleset, SecurityGroup, Traffic};
use crate::vpc::eni::Eni;
use crate::vpc::router::TASK_METADATA;

/// The first packet of a flow, above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Opening {
    /// A SYN to a port.
    Tcp(u16),
    /// A datagram to a port.
    Udp(u16),
    /// An ICMP message; 8, 0 is an echo request.
    Icmp(u8, u8),
}

/// An echo request, which is what `icmp` means where no type is named.
pub const ECHO: Opening = Opening::Icmp(8, 0);

impl Opening {
    /// The port, where there are ports.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) | Self::Udp(port) => Some(port),
            Self::Icmp(..) => None,
        }
    }

    /// The IP protocol number.
    pub fn protocol(self) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
            Self::Icmp(..) => 1,
        }
    }
}

/// Where the sender's kernel and the router send a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// It is the sender's own address, or loopback: over `lo`, which nothing filters.
    Own,
    /// To the ENI that has the address.
    Eni(EniId),
    /// To the router itself, and whether it serves that.
    Router {
        /// DNS at the resolver's addresses, HTTP at the metadata address.
        serves: bool,
    },
    /// In the VPC's block, and no ENI has it.
    Nobody,
    /// Out by the uplink.
    Uplink,
    /// Outside of the VPC, which has no way there.
    None,
}

/// What one ENI's groups say of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The first rule found that lets it through, and whose it is.
    Allowed {
        /// The group that has the rule.
        group: GroupId,
        /// The rule.
        rule: Rule,
    },
    /// No rule does.
    Refused {
        /// Rules of the ENI's groups that miss by one thing: by the peer, or by the traffic.
        near: Vec<(GroupId, Rule)>,
    },
}

impl Judgement {
    /// Whether a rule lets the packet through.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// The whole way. What is judged only if the packet got that far is judged all the same, so that all that is missing shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it is sent.
    pub route: Route,
    /// The sender's egress rules; none where nothing filters.
    pub egress: Option<Judgement>,
    /// The receiver's ingress rules; none where no ENI receives.
    pub ingress: Option<Judgement>,
}

impl Path {
    /// Whether the packet gets to where it is routed to; beyond the uplink is anybody's guess.
    pub fn is_open(&self) -> bool {
        let routed = match self.route {
            Route::Own | Route::Eni(_) | Route::Uplink => true,
            Route::Router { serves } => serves,
            Route::Nobody | Route::None => false,
        };
        let allowed = |judgement: &Option<Judgement>| judgement.as_ref().is_none_or(Judgement::is_allowed);
        routed && allowed(&self.egress) && allowed(&self.ingress)
    }
}

/// Follows a new flow from an ENI, under its primary address, to an address.
pub fn follow(ruleset: &Ruleset, from: &Eni, to: IpAddr, opening: Opening) -> Path {
    let route = route(ruleset, from, to, opening);
    let receiver = match &route {
        Route::Eni(id) => ruleset.enis.get(id),
        _ => None,
    };
    // What the router serves is open whatever the groups say, and what it does not serve is shut by itself (4.5).
    let filtered = !matches!(route, Route::Own | Route::Router { .. });
    let source = from.primary_address();
    Path {
        egress: filtered.then(|| judge(ruleset, from, |group| &group.egress, Some(to), opening)),
        ingress: receiver.map(|eni| judge(ruleset, eni, |group| &group.ingress, source, opening)),
        route,
    }
}

fn route(ruleset: &Ruleset, from: &Eni, to: IpAddr, opening: Opening) -> Route {
    let router = &ruleset.router;
    let has = |eni: &Eni| eni.addresses.iter().any(|a| a.address == to);
    if to.is_loopback() || has(from) {
        return Route::Own;
    }
    if let Some(eni) = ruleset.enis.values().find(|eni| has(eni)) {
        return Route::Eni(eni.id.clone());
    }
    if router.local_addresses().contains(&to) {
        let dns = router.resolver_addresses().contains(&to) && matches!(opening, Opening::Udp(53) | Opening::Tcp(53));
        let metadata = to == TASK_METADATA && opening == Opening::Tcp(80);
        return Route::Router { serves: dns || metadata };
    }
    if router.cidrs.iter().any(|block| block.contains(to)) {
        return Route::Nobody;
    }
    if router.internet { Route::Uplink } else { Route::None }
}

fn judge<'a>(
    ruleset: &'a Ruleset,
    eni: &Eni,
    rules: impl Fn(&'a SecurityGroup) -> &'a [Rule],
    peer: Option<IpAddr>,
    opening: Opening,
) -> Judgement {
    let groups = || eni.groups.iter().filter_map(|id| ruleset.groups.get(id));
    let all = || groups().flat_map(|group| rules(group).iter().map(move |rule| (group, rule)));
    let admits = |rule: &Rule| (is_about(rule, opening), peer.is_some_and(|peer| is_peer(ruleset, &rule.peer, peer)));
    match all().find(|(_, rule)| admits(rule) == (true, true)) {
        Some((group, rule)) => Judgement::Allowed { group: group.id.clone(), rule: rule.clone() },
        None => {
            let near = all().filter(|(_, rule)| admits(rule) != (false, false));
            Judgement::Refused { near: near.map(|(group, rule)| (group.id.clone(), rule.clone())).collect() }
        }
    }
}

/// Whether the rule is about such packets, whoever the peer.
fn is_about(rule: &Rule, opening: Opening) -> bool {
    let holds = |ports: PortRange, port: u16| (ports.first..=ports.last).contains(&port);
    match (rule.traffic, opening) {
        (Traffic::All, _) => true,
        (Traffic::Tcp(ports), Opening::Tcp(port)) | (Traffic::Udp(ports), Opening::Udp(port)) => holds(ports, port),
        (Traffic::Icmp { kind, code }, Opening::Icmp(k, c)) => {
            kind.is_none_or(|kind| kind == k) && code.is_none_or(|code| code == c)
        }
        (Traffic::Protocol(number), opening) => number == opening.protocol(),
        _ => false,
    }
}

/// Whether the peer's address is one that the rule names: for a group, that of an ENI that carries it (4.2).
fn is_peer(ruleset: &Ruleset, peer: &Peer, address: IpAddr) -> bool {
    match peer {
        Peer::Cidr(block) => block.contains(address),
        Peer::Group(group) => {
            ruleset.groups.contains_key(group)
                && ruleset
                    .enis
                    .values()
                    .any(|eni| eni.groups.contains(group) && eni.addresses.iter().any(|a| a.address == address))
        }
    }
}
