//! Changes as netlink messages of subsystem `nftables`, and the batch that makes them one.
//!
//! Types and attribute numbers are those of Linux's `nf_tables.h`. Nothing here talks to the kernel.

use super::attribute::Writer;
use super::expression::{Expression, lower};
use super::object::{
    Base, ChainKind, DataType, Datum, Hook, Key, Mapped, MapsTo, Name, Policy, Rule, Shape, TABLE, Verdict,
};
use super::transaction::{Change, Transaction};

/// Numbers that reading needs as well.
pub(super) mod number {
    pub(crate) const SUBSYSTEM: u16 = 10;
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DELETE_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const DELETE_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const DELETE_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const DELETE_SET: u16 = 11;
    pub(crate) const NEW_ELEMENTS: u16 = 12;
    pub(crate) const GET_ELEMENTS: u16 = 13;
    pub(crate) const DELETE_ELEMENTS: u16 = 14;
    pub(crate) const TYPE_IPV4: u32 = 7;
    pub(crate) const TYPE_PROTOCOL: u32 = 12;
    pub(crate) const TYPE_PORT: u32 = 13;
    pub(crate) const TYPE_INTERFACE: u32 = 41;
    /// nft packs the types of a concatenation into one number, 6 bits each.
    pub(crate) const TYPE_BITS: u32 = 6;
    pub(crate) const VERDICTS: u32 = 0xffff_ff00;
    /// An IPv4 address and a port.
    pub(crate) const ENDPOINTS: u32 = TYPE_IPV4 << TYPE_BITS | TYPE_PORT;
    pub(crate) const SET_IS_MAP: u32 = 8;
    pub(crate) const NAT_DESTINATION: u32 = 1;
    /// `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED`: the kernel adds them by itself.
    pub(crate) const NAT_PLAIN: u32 = 3;
}
use number::*;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const INET: u8 = 1;

/// What goes into one `send`: the messages between begin and end; message *n* of the transaction has sequence `first + n`.
pub(super) fn batch(transaction: &Transaction, first: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let begin = first.wrapping_sub(1);
    message(&mut out, BATCH_BEGIN, 0, begin, 0, SUBSYSTEM, |_| {});
    for (n, change) in transaction.changes.iter().enumerate() {
        // The acknowledgement is asked of the last one: that of `begin` would come before any error.
        let acknowledge = if n + 1 == transaction.changes.len() { libc::NLM_F_ACK } else { 0 };
        let (kind, flags) = match change {
            Change::AddTable => (NEW_TABLE, libc::NLM_F_CREATE),
            Change::DeleteTable => (DELETE_TABLE, 0),
            Change::AddSet(..) => (NEW_SET, libc::NLM_F_CREATE),
            Change::AddChain(..) => (NEW_CHAIN, libc::NLM_F_CREATE),
            // Without a handle it takes all rules of the chain.
            Change::FlushChain(_) => (DELETE_RULE, 0),
            Change::AddRule(..) => (NEW_RULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND),
            Change::DeleteElements(..) => (DELETE_ELEMENTS, 0),
            Change::AddElements(..) => (NEW_ELEMENTS, libc::NLM_F_CREATE),
            Change::DeleteChain(_) => (DELETE_CHAIN, 0),
            Change::DeleteSet(_) => (DELETE_SET, 0),
        };
        let sequence = first.wrapping_add(n as u32);
        let kind = SUBSYSTEM << 8 | kind;
        message(&mut out, kind, (flags | acknowledge) as u16, sequence, INET, 0, |w| body(w, change, n as u32 + 1));
    }
    let end = first.wrapping_add(transaction.changes.len() as u32);
    message(&mut out, BATCH_END, 0, end, 0, SUBSYSTEM, |_| {});
    out
}

/// A request for everything of a kind; `set` narrows elements down to one set, as the kernel demands.
pub(super) fn dump(kind: u16, sequence: u32, set: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    // Tables cannot be filtered in a dump: the one that is meant is picked from the answers.
    let attributes = |w: &mut Writer<'_>| {
        if kind != GET_TABLE {
            w.text(1, TABLE);
        }
        if let Some(set) = set {
            w.text(2, set);
        }
    };
    message(&mut out, SUBSYSTEM << 8 | kind, libc::NLM_F_DUMP as u16, sequence, INET, 0, attributes);
    out
}

fn message(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
    body: impl FnOnce(&mut Writer<'_>),
) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(kind.to_ne_bytes());
    out.extend((flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    body(&mut Writer(out));
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

fn body(w: &mut Writer<'_>, change: &Change, id: u32) {
    w.text(1, TABLE);
    match change {
        Change::AddTable | Change::DeleteTable => {}
        Change::AddSet(name, shape) => set(w, name, *shape, id),
        Change::AddChain(name, base) => {
            w.text(3, name);
            if let Some(base) = base {
                hook(w, *base);
            }
        }
        Change::FlushChain(name) => w.text(2, name),
        Change::AddRule(chain, added) => rule(w, chain, added),
        Change::DeleteElements(set, elements) => {
            w.text(2, set);
            // The key alone names what goes.
            w.nest(3, |w| elements.iter().for_each(|(key, _)| element(w, key, None)));
        }
        Change::AddElements(set, elements) => {
            w.text(2, set);
            w.nest(3, |w| elements.iter().for_each(|(key, mapped)| element(w, key, mapped.as_ref())));
        }
        Change::DeleteChain(name) => w.text(3, name),
        Change::DeleteSet(name) => w.text(2, name),
    }
}

fn set(w: &mut Writer<'_>, name: &str, shape: Shape, id: u32) {
    w.text(2, name);
    w.number(3, if shape.maps_to.is_some() { SET_IS_MAP } else { 0 });
    let (first, length) = data_type(shape.key.0);
    let (kind, length) = match shape.key.1.map(data_type) {
        Some((second, more)) => (first << TYPE_BITS | second, length.next_multiple_of(4) + more.next_multiple_of(4)),
        None => (first, length),
    };
    w.number(4, kind);
    w.number(5, length);
    if let Some(maps_to) = shape.maps_to {
        let (kind, length) = match maps_to {
            MapsTo::Verdict => (VERDICTS, 0),
            MapsTo::Endpoint => (ENDPOINTS, 8),
            MapsTo::Unknown(number) => (number, 0),
        };
        w.number(6, kind);
        w.number(7, length);
    }
    w.number(10, id);
    // nft's user data for its listing only, type 0 for keys: names of links are in host order (1), all else in network order
    // (2); type 1 for what they lead to.
    let order: u32 = if shape.key == (DataType::Interface, None) { 1 } else { 2 };
    let [a, b, c, d] = order.to_ne_bytes();
    let mut listing = vec![0, 4, a, b, c, d];
    if shape.maps_to == Some(MapsTo::Endpoint) {
        let [a, b, c, d] = 2u32.to_ne_bytes();
        listing.extend([1, 4, a, b, c, d]);
    }
    w.bytes(13, &listing);
    if shape.counter {
        w.nest(17, |w| expression(w, &Expression::Counter));
    }
}

/// nft's number of the type, and its bytes.
fn data_type(kind: DataType) -> (u32, u32) {
    match kind {
        DataType::Interface => (TYPE_INTERFACE, 16),
        DataType::Ipv4 => (TYPE_IPV4, 4),
        DataType::Protocol => (TYPE_PROTOCOL, 1),
        DataType::Port => (TYPE_PORT, 2),
        DataType::Unknown(number) => (number, 0),
    }
}

fn hook(w: &mut Writer<'_>, base: Base) {
    let hook = match base.hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
        Hook::Unknown(number) => number,
    };
    w.nest(4, |w| {
        w.number(1, hook);
        w.number(2, base.priority.cast_unsigned());
    });
    w.number(5, u32::from(base.policy == Policy::Accept));
    w.text(7, if base.kind == ChainKind::Nat { "nat" } else { "filter" });
}

fn element(w: &mut Writer<'_>, key: &Key, mapped: Option<&Mapped>) {
    w.nest(1, |w| {
        w.nest(1, |w| {
            let mut bytes = Vec::with_capacity(20);
            datum(&mut bytes, key.0);
            if let Some(second) = key.1 {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                datum(&mut bytes, second);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            w.bytes(1, &bytes);
        });
        match mapped {
            Some(Mapped::Verdict(verdict)) => w.nest(2, |w| verdict_data(w, verdict)),
            Some(Mapped::Endpoint(address, port)) => w.nest(2, |w| {
                let ([a, b, c, d], [high, low]) = (address.octets(), port.to_be_bytes());
                w.bytes(1, &[a, b, c, d, high, low, 0, 0]);
            }),
            None => {}
        }
    });
}

fn datum(bytes: &mut Vec<u8>, datum: Datum) {
    match datum {
        Datum::Interface(name) => bytes.extend(name.0),
        Datum::Ipv4(address) => bytes.extend(address.octets()),
        Datum::Protocol(number) => bytes.push(number),
        Datum::Port(port) => bytes.extend(port.to_be_bytes()),
    }
}

fn rule(w: &mut Writer<'_>, chain: &Name, rule: &Rule) {
    w.text(2, chain);
    w.nest(4, |w| {
        for lowered in lower(&rule.statements) {
            w.nest(1, |w| expression(w, &lowered));
        }
    });
    if !rule.comment.is_empty() {
        // nft's user data: type 0 is the comment, length with the final zero, text.
        let text = &rule.comment.as_bytes()[..rule.comment.len().min(127)];
        let mut data = vec![0, text.len() as u8 + 1];
        data.extend(text);
        data.push(0);
        w.bytes(7, &data);
    }
}

fn verdict_data(w: &mut Writer<'_>, verdict: &Verdict) {
    let (code, chain): (i32, _) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Unknown(code) => (*code, None),
    };
    w.nest(2, |w| {
        w.number(1, code.cast_unsigned());
        if let Some(chain) = chain {
            w.text(2, chain);
        }
    });
}

fn expression(w: &mut Writer<'_>, expression: &Expression) {
    use Expression as E;
    let mut named = |name: &str, data: &dyn Fn(&mut Writer<'_>)| {
        w.text(1, name);
        w.nest(2, |w| data(w));
    };
    match expression {
        E::Meta { key, register } => named("meta", &|w| {
            w.number(2, *key);
            w.number(1, *register);
        }),
        E::Payload { base, offset, length, register } => named("payload", &|w| {
            w.number(1, *register);
            w.number(2, *base);
            w.number(3, *offset);
            w.number(4, *length);
        }),
        E::Compare { op, data } => named("cmp", &|w| {
            w.number(1, 1);
            w.number(2, *op);
            w.nest(3, |w| w.bytes(1, data));
        }),
        E::Bitwise { mask, xor } => named("bitwise", &|w| {
            w.number(1, 1);
            w.number(2, 1);
            w.number(3, mask.len() as u32);
            w.nest(4, |w| w.bytes(1, mask));
            w.nest(5, |w| w.bytes(1, xor));
        }),
        E::ByteOrder { op, length, size } => named("byteorder", &|w| {
            w.number(1, 1);
            w.number(2, 1);
            w.number(3, *op);
            w.number(4, *length);
            w.number(5, *size);
        }),
        E::Conntrack { key } => named("ct", &|w| {
            w.number(2, *key);
            w.number(1, 1);
        }),
        E::SetConntrack { key } => named("ct", &|w| {
            w.number(2, *key);
            w.number(4, 1);
        }),
        E::Route { key } => named("rt", &|w| {
            w.number(2, *key);
            w.number(1, 1);
        }),
        E::WriteTcpOption { kind, offset, length } => named("exthdr", &|w| {
            w.number(7, 1);
            w.bytes(2, &[*kind]);
            w.number(3, *offset);
            w.number(4, *length);
            w.number(6, 1);
        }),
        E::Fib { result, flags } => named("fib", &|w| {
            w.number(1, 1);
            w.number(2, *result);
            w.number(3, *flags);
        }),
        E::Lookup { set, into } => named("lookup", &|w| {
            w.number(2, 1);
            if let Some(register) = into {
                w.number(3, *register);
            }
            w.text(1, set);
        }),
        E::Verdict(verdict) => named("immediate", &|w| {
            w.number(1, 0);
            w.nest(2, |w| verdict_data(w, verdict));
        }),
        E::Counter => named("counter", &|_| {}),
        E::Log { group, snaplen } => named("log", &|w| {
            w.bytes(1, &group.to_be_bytes());
            w.number(3, *snaplen);
        }),
        E::Masquerade => named("masq", &|_| {}),
        E::DestinationNat { address, port } => named("nat", &|w| {
            w.number(1, NAT_DESTINATION);
            w.number(2, libc::NFPROTO_IPV4 as u32);
            w.number(3, *address);
            w.number(5, *port);
        }),
        E::Other(name) => named(name, &|_| {}),
    }
}
