//! The part of the table that is the same for all groups: the hooks, and the chains that keep the state of flows.
//!
//! How they work together is in [`super::ruleset`]. Pure.

use super::group::{PortRange, Ruleset};
use super::ruleset::{
    ADMITTED, EGRESS, INGRESS, INITIATOR_UNTRACKED, LOG_EGRESS, LOG_INGRESS, OPEN_EGRESS, OPEN_INGRESS, REFUSED_EGRESS,
    REFUSED_INGRESS, REFUSED_SOURCE, RESOLVER, RESPONDER_UNTRACKED, SOURCES, UNCHECKED, UPLINK, goto, rule,
};
use crate::nft::{
    Base, Chain, ChainKind, Direction, Family, Field, Hook, LinkName, Policy, Rule, Side, State, Statement, Table,
    Transport, Verdict,
};
use crate::vpc::router::{HOST_ADDRESS, HOST_HOPS, HOST_LINK, TASK_METADATA};

const DNS: PortRange = PortRange { first: 53, last: 53 };
const HTTP: PortRange = PortRange { first: 80, last: 80 };
/// Destination unreachable, time exceeded, parameter problem.
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];

/// The chains that the kernel's hooks lead into: the router, closed but for what a VPC's router serves.
pub(super) fn base_chains(table: &mut Table, ruleset: &Ruleset) {
    use Statement as S;
    let uplink = LinkName::new(UPLINK);
    let loopback = LinkName::new("lo");
    let internet = ruleset.router.internet;

    let mut prerouting = vec![rule([S::Interface(Side::From, loopback), accept()], "this namespace itself")];
    if internet {
        for block in &ruleset.router.cidrs {
            let outside = [S::Interface(Side::From, uplink), S::Block(Side::From, *block), S::Counter, drop_it()];
            prerouting.push(rule(outside, "a VPC address cannot come from outside"));
        }
        let answers = [S::Interface(Side::From, uplink), S::Family(Family::Ipv4), accept()];
        prerouting.push(rule(answers, "the uplink: judged by the next chains"));
    }
    let host = LinkName::new(HOST_LINK);
    if ruleset.router.host_link.is_some() {
        // Not what the host forwards for its containers, behind its own address too: that has lost a hop on the way.
        let own = S::Block(Side::From, HOST_ADDRESS.into());
        let own = [S::Interface(Side::From, host), own, S::TimeToLive(HOST_HOPS), accept()];
        prerouting.push(rule(own, "the host itself, with its own address"));
    }
    let own = S::Lookup(Field::Interface(Side::From), Some(Field::Ipv4(Side::From)), SOURCES.into());
    prerouting.push(rule([own, accept()], "an ENI with its own address"));
    let unchecked = S::Lookup(Field::Interface(Side::From), None, UNCHECKED.into());
    prerouting.push(rule([S::Family(Family::Ipv4), unchecked, accept()], "an ENI whose source check is off"));
    let spoofed = S::Lookup(Field::Interface(Side::From), None, REFUSED_SOURCE.into());
    prerouting.push(rule([S::Family(Family::Ipv4), spoofed, drop_it()], "source check"));
    // Before conntrack (-200): what is dropped here makes and matches no flow.
    base(table, "prerouting", ChainKind::Filter, Hook::Prerouting, -300, Policy::Drop, prerouting);

    let sender = || S::VerdictMap(Field::Interface(Side::From), EGRESS.into());
    let mut forward = vec![
        // Conntrack begins no flow with an ICMP message that asks for no answer, such as a redirect.
        rule([S::ConnState(State::Invalid), S::Protocol(1), sender()], "ICMP without a flow: by the rules alone"),
        rule([S::ConnState(State::Invalid), S::Counter, drop_it()], "no flow of ours"),
        rule([S::ConnState(State::Related), accept()], "ICMP errors about flows that were let through"),
        rule([mark(7, ADMITTED), accept()], "tracked at both ends, and let through before"),
        rule([original(), mark(5, ADMITTED), goto("receiver")], "tracked at the sender, let through before"),
        rule([reply(), mark(6, ADMITTED), goto("receiver")], "tracked at the sender, let through before"),
        rule([reply(), mark(4, 0), drop_it()], "an answer to what was never let through"),
        rule([sender()], "the sender's egress rules"),
    ];
    if ruleset.router.host_link.is_some() {
        let from_host = [S::Interface(Side::From, host), goto("receiver")];
        forward.push(rule(from_host, "the host has no egress rules; the receiver's ingress rules judge it"));
    }
    forward.push(rule([S::Counter, drop_it()], "from no ENI: nobody outside opens a flow into the VPC"));
    base(table, "forward", ChainKind::Filter, Hook::Forward, 0, Policy::Drop, forward);

    let resolver = || S::Lookup(Field::Ipv4(Side::To), None, RESOLVER.into());
    let metadata = || S::Block(Side::To, TASK_METADATA.into());
    let served = [
        ([resolver(), S::Port(Transport::Udp, DNS)], "the resolver is always open"),
        ([resolver(), S::Port(Transport::Tcp, DNS)], "the resolver is always open"),
        ([metadata(), S::Port(Transport::Tcp, HTTP)], "task metadata is always open"),
    ];
    let mut input = vec![
        rule([S::ConnState(State::Invalid), S::Counter, drop_it()], "no flow of ours"),
        rule([S::ConnState(State::EstablishedOrRelated), accept()], "flows that were let in or out below"),
        rule([S::Interface(Side::From, uplink), S::Counter, drop_it()], "nobody outside is served"),
    ];
    input.extend(served.iter().cloned().map(|([to, port], why)| rule([to, port, accept()], why)));
    input.push(rule([S::Counter, drop_it()], "the router serves nothing else, and answers no ping"));
    base(table, "input", ChainKind::Filter, Hook::Input, 0, Policy::Drop, input);

    let mut output = vec![rule([S::ConnState(State::EstablishedOrRelated), accept()], "answers")];
    // An error about a packet that the router itself could not forward belongs to no confirmed flow: it is not `related`.
    output.extend(ICMP_ERRORS.map(|kind| rule([S::Icmp(kind, None), accept()], "ICMP errors")));
    let inside = |([to, port], _): ([S; 2], &str)| {
        rule([S::Interface(Side::To, loopback), to, port, accept()], "whether the resolver is up, asked from inside")
    };
    output.extend(served.into_iter().map(inside));
    if internet {
        for transport in [Transport::Udp, Transport::Tcp] {
            let upstream = [S::Interface(Side::To, uplink), S::Port(transport, DNS), accept()];
            output.push(rule(upstream, "the resolver's own questions"));
        }
    }
    output.push(rule([S::Counter, drop_it()], "nothing in here opens flows"));
    base(table, "output", ChainKind::Filter, Hook::Output, 0, Policy::Drop, output);

    if internet {
        let clamp = [Side::To, Side::From]
            .map(|side| rule([S::Interface(side, uplink), S::ClampSegmentSize], "jumbo frames end at the uplink"));
        base(table, "segment_size", ChainKind::Filter, Hook::Forward, -150, Policy::Accept, clamp.to_vec());
        let nat = rule([S::Interface(Side::To, uplink), S::Masquerade], "VPC addresses mean nothing outside");
        base(table, "postrouting", ChainKind::Nat, Hook::Postrouting, 100, Policy::Accept, vec![nat]);
    }
}

/// The chains that every judged packet goes through, whatever its groups.
pub(super) fn judging_chains(table: &mut Table, flow_log: bool) {
    use Statement as S;
    let admitted = || mark(ADMITTED, ADMITTED);
    let set_mark = |bits| S::SetConnMark { clear: 0, set: bits };
    let open = |side, set: &str| S::Lookup(Field::Interface(side), Some(Field::Protocol), set.into());
    let refused = |side, set: &str| S::Lookup(Field::Interface(side), None, set.into());
    let uplink = S::Interface(Side::To, LinkName::new(UPLINK));

    let sent_by_any = [
        rule(
            [mark(4, 0), open(Side::From, OPEN_INGRESS), set_mark(INITIATOR_UNTRACKED)],
            "new, and answers need no state",
        ),
        rule([goto("receiver")], ""),
    ];
    let receiver = [
        rule([original(), mark(6, ADMITTED), accept()], "tracked at the receiver, let through before"),
        rule([reply(), mark(5, ADMITTED), accept()], "tracked at the receiver, let through before"),
        rule([S::VerdictMap(Field::Interface(Side::To), INGRESS.into())], "the receiver's ingress rules"),
        rule(
            [uplink, S::SetConnMark { clear: INITIATOR_UNTRACKED, set: ADMITTED }, accept()],
            "out by the uplink: always tracked, as through a NAT gateway",
        ),
        rule([S::Counter, drop_it()], "to no ENI"),
    ];
    let admit = [
        rule([admitted(), accept()], "a further packet of an untracked flow"),
        rule([set_mark(ADMITTED), accept()], "a new flow"),
        rule([accept()], "ICMP without a flow"),
    ];
    let admit_by_any = [
        rule([admitted(), accept()], "a further packet of an untracked flow"),
        rule(
            [open(Side::To, OPEN_EGRESS), set_mark(ADMITTED | RESPONDER_UNTRACKED), accept()],
            "new, and answers need no state",
        ),
        rule([set_mark(ADMITTED), accept()], "a new flow"),
        rule([accept()], "ICMP without a flow"),
    ];
    let log = |group| flow_log.then(|| rule([S::Log(group)], "somebody follows the flow log"));
    let drop_counted = |side, set: &str| [rule([refused(side, set), drop_it()], ""), rule([drop_it()], "")];
    let refused_egress: Vec<_> = log(LOG_EGRESS).into_iter().chain(drop_counted(Side::From, REFUSED_EGRESS)).collect();
    let refused_ingress: Vec<_> = log(LOG_INGRESS).into_iter().chain(drop_counted(Side::To, REFUSED_INGRESS)).collect();
    for (name, rules) in [
        ("sent_by_any", sent_by_any.to_vec()),
        ("receiver", receiver.to_vec()),
        ("admit", admit.to_vec()),
        ("admit_by_any", admit_by_any.to_vec()),
        (REFUSED_EGRESS, refused_egress),
        (REFUSED_INGRESS, refused_ingress),
    ] {
        table.chains.insert(name.into(), Chain { base: None, rules });
    }
}

fn base(table: &mut Table, name: &str, kind: ChainKind, hook: Hook, priority: i32, policy: Policy, rules: Vec<Rule>) {
    table.chains.insert(name.into(), Chain { base: Some(Base { kind, hook, priority, policy }), rules });
}

fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

fn drop_it() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

fn mark(mask: u32, value: u32) -> Statement {
    Statement::ConnMark { mask, value }
}

fn original() -> Statement {
    Statement::ConnDirection(Direction::Original)
}

fn reply() -> Statement {
    Statement::ConnDirection(Direction::Reply)
}
