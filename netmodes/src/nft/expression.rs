//! Statements as the kernel runs them: expressions that load a register, compare it, look it up; there and back.
//!
//! [`lower`] and [`raise`] are each other's inverse over what we make. Whatever [`raise`] reads is lowered again and must
//! come out the same, so a rule that only looks like ours is never taken for ours. The shapes are those that nft's own
//! compiler makes, with the family or protocol checked before each field; so `nft list ruleset` prints them as written.

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::object::{
    Direction, Family, Field, LOGGED_BYTES, LinkName, Name, Side, State, Statement, Transport, Verdict,
};
use crate::security::group::PortRange;

/// One expression of a rule; numbers are those of Linux's `nf_tables.h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Meta { key: u32, register: u32 },
    Payload { base: u32, offset: u32, length: u32, register: u32 },
    Compare { op: u32, data: Vec<u8> },
    Bitwise { mask: Vec<u8>, xor: Vec<u8> },
    ByteOrder { op: u32, length: u32, size: u32 },
    Conntrack { key: u32 },
    SetConntrack { key: u32 },
    Route { key: u32 },
    Fib { result: u32, flags: u32 },
    WriteTcpOption { kind: u8, offset: u32, length: u32 },
    Lookup { set: Name, into: Option<u32> },
    Verdict(Verdict),
    Counter,
    Log { group: u16, snaplen: u32 },
    Masquerade,
    DestinationNat { address: u32, port: u32 },
    Other(String),
}

use Expression as E;

pub(super) mod meta {
    pub(crate) const IIFNAME: u32 = 6;
    pub(crate) const OIFNAME: u32 = 7;
    pub(crate) const NFPROTO: u32 = 15;
    pub(crate) const L4PROTO: u32 = 16;
}
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
const NETWORK_HEADER: u32 = 1;
/// In the header of IPv4.
const TIME_TO_LIVE: u32 = 8;
const TRANSPORT_HEADER: u32 = 2;
const CT_STATE: u32 = 0;
const CT_DIRECTION: u32 = 1;
const CT_STATUS: u32 = 2;
const CT_MARK: u32 = 3;
const ROUTE_TCP_MSS: u32 = 3;
/// `IPS_DST_NAT`.
const DESTINATION_TRANSLATED: u32 = 1 << 5;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
const HOST_TO_NETWORK: u32 = 1;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
/// TCP option 2, maximum segment size; its value stands 2 bytes into it.
const MAXSEG: u8 = 2;

/// The register of a first field, 16 bytes.
const FIRST: u32 = 1;
/// The one after it: a link's name fills the first one to the end.
const SECOND: u32 = 2;
/// The one after a first field of four bytes.
const SECOND_OF_FOUR: u32 = 9;
/// Where a verdict map puts what it finds.
const VERDICT: u32 = 0;

/// The expressions of a rule.
pub(super) fn lower(statements: &[Statement]) -> Vec<Expression> {
    let mut out = Vec::with_capacity(statements.len() * 3);
    for statement in statements {
        lower_one(statement, &mut out);
    }
    out
}

fn lower_one(statement: &Statement, out: &mut Vec<Expression>) {
    match statement {
        Statement::Family(family) => family_is(*family, out),
        Statement::Interface(side, name) => {
            out.extend([load(Field::Interface(*side), FIRST), equals(&name.0)]);
        }
        Statement::Block(side, block) => {
            let (family, length, network, mask) = match block {
                IpNetwork::V4(b) => (Family::Ipv4, 4, b.network().octets().to_vec(), b.mask().octets().to_vec()),
                IpNetwork::V6(b) => (Family::Ipv6, 16, b.network().octets().to_vec(), b.mask().octets().to_vec()),
            };
            family_is(family, out);
            out.push(address(family, *side, FIRST));
            if mask.contains(&0) || mask.last() != Some(&255) {
                out.push(E::Bitwise { mask, xor: vec![0; length] });
            }
            out.push(equals(&network));
        }
        Statement::LocalDestination => {
            out.push(E::Fib { result: FIB_ADDRESS_TYPE, flags: FIB_DESTINATION });
            out.push(equals(&LOCAL.to_ne_bytes()));
        }
        Statement::TimeToLive(hops) => {
            family_is(Family::Ipv4, out);
            out.push(E::Payload { base: NETWORK_HEADER, offset: TIME_TO_LIVE, length: 1, register: FIRST });
            out.push(equals(&[*hops]));
        }
        Statement::Protocol(number) => protocol_is(*number, out),
        Statement::Port(transport, PortRange { first, last }) => {
            protocol_is(transport.number(), out);
            out.push(E::Payload { base: TRANSPORT_HEADER, offset: 2, length: 2, register: FIRST });
            if first == last {
                out.push(equals(&first.to_be_bytes()));
            } else {
                out.push(E::Compare { op: AT_LEAST, data: first.to_be_bytes().to_vec() });
                out.push(E::Compare { op: AT_MOST, data: last.to_be_bytes().to_vec() });
            }
        }
        Statement::Icmp(kind, code) => {
            protocol_is(ICMP, out);
            for (offset, value) in [(0, Some(*kind)), (1, *code)] {
                if let Some(value) = value {
                    out.push(E::Payload { base: TRANSPORT_HEADER, offset, length: 1, register: FIRST });
                    out.push(equals(&[value]));
                }
            }
        }
        Statement::ConnState(state) => {
            let bits: u32 = match state {
                State::Invalid => 1,
                State::Related => 4,
                State::EstablishedOrRelated => 2 | 4,
            };
            out.push(E::Conntrack { key: CT_STATE });
            out.push(E::Bitwise { mask: bits.to_ne_bytes().to_vec(), xor: vec![0; 4] });
            out.push(E::Compare { op: NOT_EQUAL, data: vec![0; 4] });
        }
        Statement::ConnMark { mask, value } => {
            out.push(E::Conntrack { key: CT_MARK });
            out.push(E::Bitwise { mask: mask.to_ne_bytes().to_vec(), xor: vec![0; 4] });
            out.push(equals(&value.to_ne_bytes()));
        }
        Statement::TranslatedDestination => {
            out.push(E::Conntrack { key: CT_STATUS });
            out.push(E::Bitwise { mask: DESTINATION_TRANSLATED.to_ne_bytes().to_vec(), xor: vec![0; 4] });
            out.push(E::Compare { op: NOT_EQUAL, data: vec![0; 4] });
        }
        Statement::ConnDirection(direction) => {
            out.push(E::Conntrack { key: CT_DIRECTION });
            out.push(equals(&[u8::from(*direction == Direction::Reply)]));
        }
        Statement::SetConnMark { clear, set } => {
            out.push(E::Conntrack { key: CT_MARK });
            out.push(E::Bitwise { mask: (!(clear | set)).to_ne_bytes().to_vec(), xor: set.to_ne_bytes().to_vec() });
            out.push(E::SetConntrack { key: CT_MARK });
        }
        Statement::Lookup(first, second, set) => {
            if [Some(*first), *second].into_iter().flatten().any(|f| matches!(f, Field::Ipv4(_))) {
                family_is(Family::Ipv4, out);
            }
            out.push(load(*first, FIRST));
            out.extend(second.map(|field| load(field, SECOND)));
            out.push(E::Lookup { set: set.clone(), into: None });
        }
        Statement::VerdictMap(field, map) => {
            if matches!(field, Field::Ipv4(_)) {
                family_is(Family::Ipv4, out);
            }
            out.push(load(*field, FIRST));
            out.push(E::Lookup { set: map.clone(), into: Some(VERDICT) });
        }
        Statement::ClampSegmentSize => {
            protocol_is(TCP, out);
            out.push(E::Payload { base: TRANSPORT_HEADER, offset: 13, length: 1, register: FIRST });
            out.push(E::Bitwise { mask: vec![SYN | RST], xor: vec![0] });
            out.push(equals(&[SYN]));
            out.push(E::Route { key: ROUTE_TCP_MSS });
            out.push(E::ByteOrder { op: HOST_TO_NETWORK, length: 2, size: 2 });
            out.push(E::WriteTcpOption { kind: MAXSEG, offset: 2, length: 2 });
        }
        Statement::Counter => out.push(E::Counter),
        Statement::Log(group) => out.push(E::Log { group: *group, snaplen: LOGGED_BYTES }),
        Statement::Masquerade => out.push(E::Masquerade),
        Statement::DestinationNat(map) => {
            out.push(load(Field::Protocol, FIRST));
            out.push(E::Payload { base: TRANSPORT_HEADER, offset: 2, length: 2, register: SECOND_OF_FOUR });
            out.push(E::Lookup { set: map.clone(), into: Some(FIRST) });
            out.push(E::DestinationNat { address: FIRST, port: SECOND_OF_FOUR });
        }
        Statement::Verdict(verdict) => out.push(E::Verdict(verdict.clone())),
        Statement::Unknown(what) => out.push(E::Other(what.clone())),
    }
}

fn equals(data: &[u8]) -> Expression {
    E::Compare { op: EQUAL, data: data.to_vec() }
}

fn family_is(family: Family, out: &mut Vec<Expression>) {
    let number = if family == Family::Ipv4 { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 };
    out.extend([E::Meta { key: meta::NFPROTO, register: FIRST }, equals(&[number as u8])]);
}

fn protocol_is(number: u8, out: &mut Vec<Expression>) {
    out.extend([E::Meta { key: meta::L4PROTO, register: FIRST }, equals(&[number])]);
}

fn address(family: Family, side: Side, register: u32) -> Expression {
    let (offset, length) = match (family, side) {
        (Family::Ipv4, Side::From) => (12, 4),
        (Family::Ipv4, Side::To) => (16, 4),
        (Family::Ipv6, Side::From) => (8, 16),
        (Family::Ipv6, Side::To) => (24, 16),
    };
    E::Payload { base: NETWORK_HEADER, offset, length, register }
}

fn load(field: Field, register: u32) -> Expression {
    match field {
        Field::Interface(Side::From) => E::Meta { key: meta::IIFNAME, register },
        Field::Interface(Side::To) => E::Meta { key: meta::OIFNAME, register },
        Field::Ipv4(side) => address(Family::Ipv4, side, register),
        Field::Protocol => E::Meta { key: meta::L4PROTO, register },
    }
}

fn field_of(expression: &Expression) -> Option<Field> {
    let fields = [
        Field::Interface(Side::From),
        Field::Interface(Side::To),
        Field::Ipv4(Side::From),
        Field::Ipv4(Side::To),
        Field::Protocol,
    ];
    fields.into_iter().find(|field| load(*field, FIRST) == *expression || load(*field, SECOND) == *expression)
}

/// The statements that these expressions are; one single [`Statement::Unknown`] when they are not ours.
pub(super) fn raise(expressions: &[Expression]) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut rest = expressions;
    while let Some((statement, length)) = raise_one(rest) {
        statements.push(statement);
        rest = &rest[length..];
    }
    if rest.is_empty() && lower(&statements) == expressions {
        statements
    } else {
        vec![Statement::Unknown(format!("{expressions:?}"))]
    }
}

/// The first statement, and how many expressions it takes. [`raise`] checks what is not looked at here.
fn raise_one(rest: &[Expression]) -> Option<(Statement, usize)> {
    Some(match rest {
        [E::Meta { key: meta::NFPROTO, .. }, E::Compare { data, .. }, rest @ ..] => {
            let family = if data.as_slice() == [libc::NFPROTO_IPV4 as u8] { Family::Ipv4 } else { Family::Ipv6 };
            match raise_address(rest) {
                Some((statement, length)) => (statement, length + 2),
                None => (Statement::Family(family), 2),
            }
        }
        [E::Meta { key: meta::L4PROTO, .. }, E::Compare { data, .. }, rest @ ..] => {
            let number = *data.first()?;
            match raise_transport(number, rest) {
                Some((statement, length)) => (statement, length + 2),
                None => (Statement::Protocol(number), 2),
            }
        }
        [load, E::Compare { data, .. }, ..] if data.len() == 16 => match field_of(load)? {
            Field::Interface(side) => (Statement::Interface(side, LinkName(data.as_slice().try_into().ok()?)), 2),
            _ => return None,
        },
        [E::Conntrack { key: CT_STATE }, E::Bitwise { mask, .. }, E::Compare { .. }, ..] => {
            let state = match host_number(mask)? {
                1 => State::Invalid,
                4 => State::Related,
                6 => State::EstablishedOrRelated,
                _ => return None,
            };
            (Statement::ConnState(state), 3)
        }
        [E::Conntrack { key: CT_MARK }, E::Bitwise { mask, .. }, E::Compare { data, .. }, ..] => {
            (Statement::ConnMark { mask: host_number(mask)?, value: host_number(data)? }, 3)
        }
        [E::Conntrack { key: CT_MARK }, E::Bitwise { mask, xor }, E::SetConntrack { .. }, ..] => {
            let set = host_number(xor)?;
            (Statement::SetConnMark { clear: !host_number(mask)? & !set, set }, 3)
        }
        [E::Conntrack { key: CT_STATUS }, E::Bitwise { .. }, E::Compare { .. }, ..] => {
            (Statement::TranslatedDestination, 3)
        }
        [E::Fib { .. }, E::Compare { .. }, ..] => (Statement::LocalDestination, 2),
        [_, _, E::Lookup { set, .. }, E::DestinationNat { .. }, ..] => (Statement::DestinationNat(set.clone()), 4),
        [E::Conntrack { key: CT_DIRECTION }, E::Compare { data, .. }, ..] => {
            let direction = if data.as_slice() == [0] { Direction::Original } else { Direction::Reply };
            (Statement::ConnDirection(direction), 2)
        }
        [E::Counter, ..] => (Statement::Counter, 1),
        [E::Log { group, .. }, ..] => (Statement::Log(*group), 1),
        [E::Masquerade, ..] => (Statement::Masquerade, 1),
        [E::Verdict(verdict), ..] => (Statement::Verdict(verdict.clone()), 1),
        _ => raise_lookup(rest)?,
    })
}

/// After the check of the family: an address, compared or looked up.
fn raise_address(rest: &[Expression]) -> Option<(Statement, usize)> {
    let E::Payload { base: NETWORK_HEADER, offset, length, .. } = rest.first()? else {
        return raise_lookup(rest)
            .filter(|(statement, _)| matches!(statement, Statement::Lookup(_, Some(Field::Ipv4(_)), _)));
    };
    if let [E::Payload { offset: TIME_TO_LIVE, length: 1, .. }, E::Compare { data, .. }, ..] = rest {
        return Some((Statement::TimeToLive(*data.first()?), 2));
    }
    let side = if matches!(offset, 12 | 8) { Side::From } else { Side::To };
    let (mask, data, taken) = match rest {
        [_, E::Bitwise { mask, .. }, E::Compare { data, .. }, ..] => (mask.clone(), data, 3),
        [_, E::Compare { data, .. }, ..] => (vec![255; data.len()], data, 2),
        _ => return raise_lookup(rest),
    };
    let prefix = mask.iter().map(|byte| byte.leading_ones() as u8).sum();
    let block = if *length == 4 {
        let octets: [u8; 4] = data.as_slice().try_into().ok()?;
        IpNetwork::V4(Ipv4Network::new(octets.into(), prefix).ok()?)
    } else {
        let octets: [u8; 16] = data.as_slice().try_into().ok()?;
        IpNetwork::V6(Ipv6Network::new(octets.into(), prefix).ok()?)
    };
    Some((Statement::Block(side, block), taken))
}

/// After the check of the protocol: what only that protocol has.
fn raise_transport(number: u8, rest: &[Expression]) -> Option<(Statement, usize)> {
    let transport = if number == TCP { Transport::Tcp } else { Transport::Udp };
    Some(match rest {
        [E::Payload { offset: 13, .. }, _, _, _, _, E::WriteTcpOption { .. }, ..] => (Statement::ClampSegmentSize, 6),
        [E::Payload { offset: 2, length: 2, .. }, E::Compare { op: EQUAL, data }, ..] => {
            let port = port(data)?;
            (Statement::Port(transport, PortRange { first: port, last: port }), 2)
        }
        [
            E::Payload { offset: 2, length: 2, .. },
            E::Compare { data: first, .. },
            E::Compare { data: last, .. },
            ..,
        ] => (Statement::Port(transport, PortRange { first: port(first)?, last: port(last)? }), 3),
        [
            E::Payload { offset: 0, length: 1, .. },
            E::Compare { data: kind, .. },
            E::Payload { offset: 1, length: 1, .. },
            E::Compare { data: code, .. },
            ..,
        ] => (Statement::Icmp(*kind.first()?, Some(*code.first()?)), 4),
        [E::Payload { offset: 0, length: 1, .. }, E::Compare { data: kind, .. }, ..] => {
            (Statement::Icmp(*kind.first()?, None), 2)
        }
        _ => return None,
    })
}

fn raise_lookup(rest: &[Expression]) -> Option<(Statement, usize)> {
    Some(match rest {
        [load, E::Lookup { set, into: Some(VERDICT) }, ..] => (Statement::VerdictMap(field_of(load)?, set.clone()), 2),
        [load, E::Lookup { set, into: None }, ..] => (Statement::Lookup(field_of(load)?, None, set.clone()), 2),
        [first, second, E::Lookup { set, into: None }, ..] => {
            (Statement::Lookup(field_of(first)?, Some(field_of(second)?), set.clone()), 3)
        }
        _ => return None,
    })
}

fn port(data: &[u8]) -> Option<u16> {
    data.try_into().ok().map(u16::from_be_bytes)
}

fn host_number(data: &[u8]) -> Option<u32> {
    data.try_into().ok().map(u32::from_ne_bytes)
}
