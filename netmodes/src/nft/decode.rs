//! What the kernel dumps, back into the values that [`super::encode`] made messages of.
//!
//! Strict: an attribute or number that we never send makes a rule unknown, never half understood.

use std::net::Ipv4Addr;

use super::attribute::{attribute, attributes, number as number_at, text};
use super::encode::number::*;
use super::expression::{Expression, raise};
use super::object::{
    Base, Chain, ChainKind, DataType, Datum, Hook, Key, LinkName, Mapped, MapsTo, Name, Policy, Rule, Shape, Verdict,
};

/// A chain without its rules, and its name.
pub(super) fn chain(body: &[u8]) -> Option<(Name, Chain)> {
    let name = text(body, 3)?;
    let base = attribute(body, 4).map(|hook| Base {
        kind: match text(body, 7) {
            Some("filter") => ChainKind::Filter,
            Some("nat") => ChainKind::Nat,
            _ => ChainKind::Unknown,
        },
        hook: match number_at(hook, 1).unwrap_or(u32::MAX) {
            0 => Hook::Prerouting,
            1 => Hook::Input,
            2 => Hook::Forward,
            3 => Hook::Output,
            4 => Hook::Postrouting,
            other => Hook::Unknown(other),
        },
        priority: number_at(hook, 2).unwrap_or_default().cast_signed(),
        policy: if number_at(body, 5) == Some(0) { Policy::Drop } else { Policy::Accept },
    });
    Some((name.into(), Chain { base, rules: Vec::new() }))
}

/// A rule, and the chain that it is in.
pub(super) fn rule(body: &[u8]) -> Option<(Name, Rule)> {
    let chain = text(body, 2)?;
    let expressions: Vec<_> =
        attribute(body, 4).into_iter().flat_map(attributes).map(|(_, element)| expression(element)).collect();
    let comment = attribute(body, 7).and_then(comment).unwrap_or_default();
    Some((chain.into(), Rule { statements: raise(&expressions), comment: comment.into() }))
}

fn comment(user_data: &[u8]) -> Option<&str> {
    let [0, length, rest @ ..] = user_data else { return None };
    std::str::from_utf8(rest.get(..usize::from(*length).checked_sub(1)?)?).ok()
}

/// The declaration of a set, and its name.
pub(super) fn set(body: &[u8]) -> Option<(Name, Shape)> {
    let name = text(body, 2)?;
    let flags = number_at(body, 3).unwrap_or_default();
    let kind = number_at(body, 4).unwrap_or_default();
    let counters = attribute(body, 17).map(expression);
    let known = flags & !SET_IS_MAP == 0 && counters.as_ref().is_none_or(|e| *e == Expression::Counter);
    let mask = (1 << TYPE_BITS) - 1;
    let key = match (known, kind >> TYPE_BITS) {
        (false, _) => (DataType::Unknown(kind), None),
        (true, 0) => (data_type(kind), None),
        (true, first) => (data_type(first), Some(data_type(kind & mask))),
    };
    let maps_to = (flags & SET_IS_MAP != 0).then(|| match number_at(body, 6).unwrap_or_default() {
        VERDICTS => MapsTo::Verdict,
        ENDPOINTS => MapsTo::Endpoint,
        other => MapsTo::Unknown(other),
    });
    Some((name.into(), Shape { key, maps_to, counter: counters.is_some() }))
}

fn data_type(number: u32) -> DataType {
    match number {
        TYPE_INTERFACE => DataType::Interface,
        TYPE_IPV4 => DataType::Ipv4,
        TYPE_PROTOCOL => DataType::Protocol,
        TYPE_PORT => DataType::Port,
        other => DataType::Unknown(other),
    }
}

/// One element of a dump.
pub(super) struct Element {
    pub(super) key: Key,
    pub(super) mapped: Option<Mapped>,
    /// Packets and bytes, in a set that counts.
    pub(super) count: Option<(u64, u64)>,
}

/// The elements in one message of a dump; those of unknown types are left out.
pub(super) fn elements(body: &[u8], shape: Shape) -> impl Iterator<Item = Element> {
    attribute(body, 3).into_iter().flat_map(attributes).filter_map(move |(_, element)| {
        let bytes = attribute(attribute(element, 1)?, 1)?;
        let (first, rest) = datum(bytes, shape.key.0)?;
        // Before a second field, the first one is padded to four bytes.
        let length = (bytes.len() - rest.len()).next_multiple_of(4);
        let second = match shape.key.1 {
            Some(kind) => Some(datum(bytes.get(length..)?, kind)?.0),
            None => None,
        };
        // A set with one expression for each element dumps it as EXPR, with several as a list.
        let counter = attribute(element, 7).and_then(|e| attribute(e, 2));
        let wide = |kind| attribute(counter?, kind).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
        Some(Element {
            key: Key(first, second),
            mapped: attribute(element, 2).and_then(mapped),
            count: wide(2).zip(wide(1)),
        })
    })
}

fn datum(bytes: &[u8], kind: DataType) -> Option<(Datum, &[u8])> {
    Some(match kind {
        DataType::Interface => {
            let (name, rest) = bytes.split_first_chunk::<16>()?;
            (Datum::Interface(LinkName(*name)), rest)
        }
        DataType::Ipv4 => {
            let (octets, rest) = bytes.split_first_chunk::<4>()?;
            (Datum::Ipv4(Ipv4Addr::from(*octets)), rest)
        }
        DataType::Protocol => {
            let (number, rest) = bytes.split_first()?;
            (Datum::Protocol(*number), rest)
        }
        DataType::Port => {
            let (port, rest) = bytes.split_first_chunk::<2>()?;
            (Datum::Port(u16::from_be_bytes(*port)), rest)
        }
        DataType::Unknown(_) => return None,
    })
}

/// A verdict, or a value, which only a map of endpoints has.
fn mapped(data: &[u8]) -> Option<Mapped> {
    if let Some(body) = attribute(data, 2) {
        return verdict(body).map(Mapped::Verdict);
    }
    let [a, b, c, d, high, low, ..] = *attribute(data, 1)?.first_chunk::<8>()?;
    Some(Mapped::Endpoint(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

fn verdict(body: &[u8]) -> Option<Verdict> {
    let chain = || text(body, 2).map(Name::from);
    Some(match number_at(body, 1)?.cast_signed() {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        other => Verdict::Unknown(other),
    })
}

fn expression(element: &[u8]) -> Expression {
    let name = text(element, 1).unwrap_or("?");
    let data = attribute(element, 2).unwrap_or_default();
    known_expression(name, data).unwrap_or_else(|| Expression::Other(name.to_owned()))
}

fn known_expression(name: &str, data: &[u8]) -> Option<Expression> {
    use Expression as E;
    let n = |kind| number_at(data, kind);
    let value = |kind| attribute(data, kind).and_then(|nest| attribute(nest, 1)).map(<[u8]>::to_vec);
    let only = |kinds: &[u16]| attributes(data).all(|(kind, _)| kinds.contains(&kind));
    let first = |kind| n(kind) == Some(1);
    let expression = match name {
        "meta" if only(&[1, 2]) => E::Meta { key: n(2)?, register: n(1)? },
        "payload" if only(&[1, 2, 3, 4]) => E::Payload { register: n(1)?, base: n(2)?, offset: n(3)?, length: n(4)? },
        "cmp" if first(1) => E::Compare { op: n(2)?, data: value(3)? },
        "bitwise" if first(1) && first(2) && n(6).is_none_or(|op| op == 0) => {
            E::Bitwise { mask: value(4)?, xor: value(5)? }
        }
        "byteorder" if first(1) && first(2) => E::ByteOrder { op: n(3)?, length: n(4)?, size: n(5)? },
        // A load of ours has no direction attribute.
        "ct" if first(1) && only(&[1, 2]) => E::Conntrack { key: n(2)? },
        "ct" if first(4) && only(&[2, 4]) => E::SetConntrack { key: n(2)? },
        "rt" if first(1) => E::Route { key: n(2)? },
        "exthdr" if first(7) && first(6) && n(5).is_none_or(|flags| flags == 0) => {
            E::WriteTcpOption { kind: *attribute(data, 2)?.first()?, offset: n(3)?, length: n(4)? }
        }
        "fib" if first(1) => E::Fib { result: n(2)?, flags: n(3)? },
        "lookup" if first(2) && n(5).is_none_or(|flags| flags == 0) => {
            E::Lookup { set: text(data, 1)?.into(), into: n(3) }
        }
        "immediate" if n(1) == Some(0) => E::Verdict(verdict(attribute(attribute(data, 2)?, 2)?)?),
        "counter" => E::Counter,
        "log" if only(&[1, 3]) => {
            E::Log { group: attribute(data, 1)?.try_into().ok().map(u16::from_be_bytes)?, snaplen: n(3)? }
        }
        "masq" if only(&[]) => E::Masquerade,
        // The kernel names the end of either range, which is its beginning.
        "nat"
            if n(1) == Some(NAT_DESTINATION)
                && n(2) == Some(libc::NFPROTO_IPV4 as u32)
                && n(4).is_none_or(|end| Some(end) == n(3))
                && n(6).is_none_or(|end| Some(end) == n(5))
                && n(7).is_none_or(|flags| flags & !NAT_PLAIN == 0) =>
        {
            E::DestinationNat { address: n(3)?, port: n(5)? }
        }
        _ => return None,
    };
    Some(expression)
}
