//! Tracked flows: lists those of one address and deletes them (`conntrack -D -s`, `-d`, `-r`, `-q`), looks one up (`-G`).
//!
//! A flow outlives the ENI that it was allowed for: whoever is leased the address next would get through on the old
//! answer (pitfall 1). Speaks ctnetlink on a socket of its own; never creates or changes a flow.

use std::net::{IpAddr, SocketAddr as Endpoint};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;

use super::error::KernelError;
use super::netns::Netns;

// linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h and net/netfilter/nf_internals.h
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// `CTA_IP_V4_SRC` and `CTA_IP_V6_SRC`; the destination's number is one higher.
const CTA_IP_SRC: [u16; 2] = [1, 3];
const NESTED: u16 = 1 << 15;
/// Netlink's header and nfgenmsg.
const HEADER: usize = 16;
const GENERIC: usize = 4;

/// Where in a flow the address may stand: which tuple, and source (0) or destination (1).
const PLACES: [(u16, u16); 4] = [(CTA_TUPLE_ORIG, 0), (CTA_TUPLE_ORIG, 1), (CTA_TUPLE_REPLY, 0), (CTA_TUPLE_REPLY, 1)];
/// A dump that is interrupted this often is given up.
const DUMP_TRIES: usize = 16;

/// Deletes every flow of the namespace that has `address` as source or destination, before or after translation.
///
/// Says how many it deleted; a flow that ends meanwhile is not counted and no error. Blocks while the kernel walks the
/// whole machine's table four times, so it is not for a thread of the async runtime.
///
/// # Errors
/// When the kernel refuses or knows no connection tracking.
pub fn remove_flows(netns: &Netns, address: IpAddr) -> Result<usize, KernelError> {
    netns.run(|| {
        let mut connection = Connection::open()?;
        let mut deleted = 0;
        for (tuple, side) in PLACES {
            for flow in connection.flows(address, tuple, side)? {
                deleted += usize::from(connection.delete(address, &flow)?);
            }
        }
        Ok(deleted)
    })?
}

/// How a flow of TCP (6) or UDP (17) that came as one from `source` to `destination` goes on beyond the namespace: the same two
/// endpoints where nothing is translated. None when it does not go on: a flow is entered when its first packet has passed
/// every chain.
///
/// # Errors
/// When the kernel refuses or knows no connection tracking.
pub fn beyond(
    netns: &Netns,
    protocol: u8,
    source: Endpoint,
    destination: Endpoint,
) -> Result<Option<(Endpoint, Endpoint)>, KernelError> {
    netns.run(|| {
        let what = || format!("look up the flow from {source} to {destination}");
        let tuple = tuple(protocol, source, destination);
        let mut answered = None;
        let found = Connection::open()?.exchange(&what, GET, libc::NLM_F_ACK as u16, source.ip(), &tuple, |body| {
            answered = answer_of(body);
        });
        match found {
            // What is answered goes the other way.
            Ok(_) => {
                let garbled = || KernelError::unexpected(what(), "the kernel does not say how it is answered");
                answered.map(|(from, to)| Some((to, from))).ok_or_else(garbled)
            }
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    })?
}

/// From where and to where a described flow is answered.
fn answer_of(body: &[u8]) -> Option<(Endpoint, Endpoint)> {
    let find = |buffer, kind| attributes(buffer).find(|(k, _)| *k == kind).map(|(_, payload)| payload);
    let tuple = find(body.get(GENERIC..)?, CTA_TUPLE_REPLY)?;
    let (ip, ports) = (find(tuple, CTA_TUPLE_IP)?, find(tuple, CTA_TUPLE_PROTO)?);
    let endpoint = |side: u16, port: u16| {
        let address = match find(ip, CTA_IP_SRC[0] + side) {
            Some(v4) => IpAddr::from(*v4.first_chunk::<4>()?),
            None => IpAddr::from(*find(ip, CTA_IP_SRC[1] + side)?.first_chunk::<16>()?),
        };
        Some(Endpoint::new(address, u16::from_be_bytes(*find(ports, port)?.first_chunk()?)))
    };
    Some((endpoint(0, CTA_PROTO_SRC_PORT)?, endpoint(1, CTA_PROTO_DST_PORT)?))
}

/// Hands out the description of every IPv4 flow of the namespace; with a torn dump some come twice.
pub(super) fn each_flow(netns: &Netns, mut each: impl FnMut(&[u8]) + Send) -> Result<(), KernelError> {
    netns.run(|| {
        let any = IpAddr::from([0; 4]);
        let what = || "list the tracked flows".to_owned();
        Connection::open()?.exchange(&what, GET, libc::NLM_F_DUMP as u16, any, &[], &mut each).map(drop)
    })?
}

/// Deletes the IPv4 flows that [`name_of`] named, and says how many were there yet.
pub(super) fn remove_named(netns: &Netns, names: &[Vec<u8>]) -> Result<usize, KernelError> {
    netns.run(|| {
        let mut connection = Connection::open()?;
        let mut deleted = 0;
        for name in names {
            deleted += usize::from(connection.delete([0; 4].into(), name)?);
        }
        Ok(deleted)
    })?
}

struct Connection {
    socket: Socket,
    sequence: u32,
}

impl Connection {
    fn open() -> Result<Self, KernelError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| KernelError::io("open a connection tracking socket".into(), source))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The attributes that name each flow, filtered by the kernel (5.8 and later).
    fn flows(&mut self, address: IpAddr, tuple: u16, side: u16) -> Result<Vec<Vec<u8>>, KernelError> {
        let what = || format!("list the tracked flows of {address}");
        let filter = filter(address, tuple, side);
        for _ in 0..DUMP_TRIES {
            let mut flows = Vec::new();
            let interrupted = self.exchange(&what, GET, libc::NLM_F_DUMP as u16, address, &filter, |body| {
                flows.extend(name_of(body));
            })?;
            if !interrupted {
                return Ok(flows);
            }
        }
        Err(KernelError::unexpected(what(), format!("the table changed under each of {DUMP_TRIES} readings")))
    }

    /// Whether the flow was still there.
    fn delete(&mut self, address: IpAddr, flow: &[u8]) -> Result<bool, KernelError> {
        let what = || format!("delete a tracked flow of {address}");
        match self.exchange(&what, DELETE, libc::NLM_F_ACK as u16, address, flow, |_| {}) {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and reads up to its end; says whether the answer was interrupted by changes.
    fn exchange(
        &mut self,
        what: &impl Fn() -> String,
        kind: u16,
        flags: u16,
        address: IpAddr,
        body: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool, KernelError> {
        self.sequence += 1;
        let request = request(kind, flags, self.sequence, address, body);
        let failed = |source| KernelError::io(what(), source);
        self.socket.send(&request, 0).map_err(failed)?;
        let mut interrupted = false;
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(failed)?;
            for message in messages(&datagram).filter(|message| message.sequence == self.sequence) {
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(interrupted),
                    libc::NLMSG_ERROR => {
                        let code = message.body.first_chunk().map_or(-libc::EBADMSG, |code| i32::from_ne_bytes(*code));
                        return match code {
                            0 => Ok(interrupted),
                            code => Err(KernelError::new(what(), Errno::from_raw(code.saturating_neg()))),
                        };
                    }
                    _ => each(message.body),
                }
            }
        }
    }
}

pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = datagram.first_chunk()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            body,
        })
    })
}

/// The attributes in a buffer, as type and payload, in order.
pub(super) fn attributes(mut buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *buffer.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = buffer.get(4..length)?;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & 0x3fff, payload))
    })
}

/// Copies what names a flow for deletion out of its description.
pub(super) fn name_of(body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body.get(GENERIC..)?;
    let mut name = Vec::new();
    while let Some([l0, l1, k0, k1]) = rest.first_chunk() {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let kind = u16::from_ne_bytes([*k0, *k1]) & !NESTED;
        let value = rest.get(4..length)?;
        if matches!(kind, CTA_TUPLE_ORIG | CTA_ID | CTA_ZONE) {
            attribute(&mut name, u16::from_ne_bytes([*k0, *k1]), value);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (!name.is_empty()).then_some(name)
}

/// Asks for the flows whose `tuple` has the address as its source or destination.
fn filter(address: IpAddr, tuple: u16, side: u16) -> Vec<u8> {
    let mut ip = Vec::new();
    match address {
        IpAddr::V4(v4) => attribute(&mut ip, CTA_IP_SRC[0] + side, &v4.octets()),
        IpAddr::V6(v6) => attribute(&mut ip, CTA_IP_SRC[1] + side, &v6.octets()),
    }
    let mut tuple_body = Vec::new();
    attribute(&mut tuple_body, CTA_TUPLE_IP | NESTED, &ip);
    let flag = |of: u16| if of == tuple { (1u32 << side).to_ne_bytes() } else { [0; 4] };
    let mut flags = Vec::new();
    attribute(&mut flags, CTA_FILTER_ORIG_FLAGS, &flag(CTA_TUPLE_ORIG));
    attribute(&mut flags, CTA_FILTER_REPLY_FLAGS, &flag(CTA_TUPLE_REPLY));
    let mut body = Vec::new();
    attribute(&mut body, tuple | NESTED, &tuple_body);
    attribute(&mut body, CTA_FILTER | NESTED, &flags);
    body
}

/// The attribute that names a flow by what its first packet had.
fn tuple(protocol: u8, source: Endpoint, destination: Endpoint) -> Vec<u8> {
    let (mut ip, mut ports) = (Vec::new(), Vec::new());
    for (side, endpoint) in (0..).zip([source, destination]) {
        match endpoint.ip() {
            IpAddr::V4(v4) => attribute(&mut ip, CTA_IP_SRC[0] + side, &v4.octets()),
            IpAddr::V6(v6) => attribute(&mut ip, CTA_IP_SRC[1] + side, &v6.octets()),
        }
    }
    attribute(&mut ports, CTA_PROTO_NUM, &[protocol]);
    attribute(&mut ports, CTA_PROTO_SRC_PORT, &source.port().to_be_bytes());
    attribute(&mut ports, CTA_PROTO_DST_PORT, &destination.port().to_be_bytes());
    let (mut tuple, mut body) = (Vec::new(), Vec::new());
    attribute(&mut tuple, CTA_TUPLE_IP | NESTED, &ip);
    attribute(&mut tuple, CTA_TUPLE_PROTO | NESTED, &ports);
    attribute(&mut body, CTA_TUPLE_ORIG | NESTED, &tuple);
    body
}

pub(super) fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Nothing here comes near 64 kB.
    into.extend(((value.len() + 4) as u16).to_ne_bytes());
    into.extend(kind.to_ne_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

fn request(kind: u16, flags: u16, sequence: u32, address: IpAddr, body: &[u8]) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut message = Vec::with_capacity(HEADER + GENERIC + body.len());
    message.extend(((HEADER + GENERIC + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([family as u8, 0, 0, 0]);
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flow_is_named_by_its_first_tuple_its_id_and_its_zone() {
        let mut body = vec![2, 0, 0, 0];
        attribute(&mut body, CTA_TUPLE_ORIG | NESTED, &[1, 2, 3]);
        attribute(&mut body, CTA_TUPLE_REPLY | NESTED, &[4, 5, 6, 7]);
        attribute(&mut body, CTA_ID, &[8, 9, 10, 11]);
        let mut name = Vec::new();
        attribute(&mut name, CTA_TUPLE_ORIG | NESTED, &[1, 2, 3]);
        attribute(&mut name, CTA_ID, &[8, 9, 10, 11]);
        assert_eq!(name_of(&body), Some(name));
    }

    proptest! {
        #[test]
        fn no_answer_however_garbled_panics(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            name_of(&bytes);
            messages(&bytes).for_each(|message| { name_of(message.body); });
        }
    }
}
