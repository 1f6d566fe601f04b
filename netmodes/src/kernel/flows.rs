//! The tracked flows of a namespace: with what they carried (`conntrack -L -o extended` with accounting on), or those that
//! were not translated.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::conntrack::{self, attributes};
use super::error::KernelError;
use super::netns::Netns;
use crate::flow_log::{Tuple, Volume};

// linux/netfilter/nfnetlink_conntrack.h
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_COUNTERS_PACKETS: u16 = 1;
const CTA_COUNTERS_BYTES: u16 = 2;
const GENERIC: usize = 4;

/// One tracked flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// The bytes that name it: the same as long as it lives.
    pub name: Vec<u8>,
    /// As its first packet showed it.
    pub tuple: Tuple,
    /// Its mark.
    pub mark: u32,
    /// What went as the first packet did, and what went against it.
    pub carried: (Volume, Volume),
}

/// Lists the IPv4 flows that are accounted for.
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses.
pub fn list(netns: &Netns) -> Result<Vec<Flow>, KernelError> {
    let mut flows = Vec::new();
    conntrack::each_flow(netns, |body| flows.extend(flow(body)))?;
    Ok(flows)
}

/// Deletes the IPv4 flows to these protocols and ports that are not translated, and says how many there were.
///
/// Translation is decided with a flow's first packet. A UDP client that asked for a port before it led anywhere would, as
/// long as it keeps asking, never be led on. Blocks while the kernel walks the whole machine's table.
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses.
pub fn remove_untranslated(netns: &Netns, ports: &BTreeSet<(u8, u16)>) -> Result<usize, KernelError> {
    let mut names = Vec::new();
    conntrack::each_flow(netns, |body| names.extend(untranslated(body, ports)))?;
    conntrack::remove_named(netns, &names)
}

/// The name of the flow if it is to one of these ports and what answers is what was asked.
fn untranslated(body: &[u8], ports: &BTreeSet<(u8, u16)>) -> Option<Vec<u8>> {
    let (mut original, mut reply) = (None, None);
    for (kind, value) in attributes(body.get(GENERIC..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = tuple(value),
            CTA_TUPLE_REPLY => reply = tuple(value),
            _ => {}
        }
    }
    let (original, reply) = (original?, reply?);
    let meant = ports.contains(&(original.protocol, original.destination_port));
    if meant && reply == original.reversed() { conntrack::name_of(body) } else { None }
}

fn flow(body: &[u8]) -> Option<Flow> {
    let rest = body.get(GENERIC..)?;
    let (mut original, mut mark) = (None, 0);
    let mut carried = (None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            CTA_TUPLE_ORIG => original = tuple(value),
            CTA_MARK => mark = u32::from_be_bytes(*value.first_chunk()?),
            CTA_COUNTERS_ORIG => carried.0 = volume(value),
            CTA_COUNTERS_REPLY => carried.1 = volume(value),
            _ => {}
        }
    }
    Some(Flow { name: conntrack::name_of(body)?, tuple: original?, mark, carried: (carried.0?, carried.1?) })
}

fn tuple(body: &[u8]) -> Option<Tuple> {
    let within = |kind| attributes(body).find(|(k, _)| *k == kind).map(|(_, value)| value);
    let (ip, above) = (within(CTA_TUPLE_IP)?, within(CTA_TUPLE_PROTO)?);
    let address = |kind| -> Option<IpAddr> {
        let (_, value) = attributes(ip).find(|(k, _)| *k == kind)?;
        Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into())
    };
    let number = |kind| attributes(above).find(|(k, _)| *k == kind).map(|(_, value)| value);
    let port = |kind| number(kind).and_then(|v| v.first_chunk()).map_or(0, |port| u16::from_be_bytes(*port));
    Some(Tuple {
        source: address(1)?,
        destination: address(2)?,
        source_port: port(2),
        destination_port: port(3),
        protocol: *number(1)?.first()?,
    })
}

fn volume(body: &[u8]) -> Option<Volume> {
    let number = |kind| {
        let (_, value) = attributes(body).find(|(k, _)| *k == kind)?;
        Some(u64::from_be_bytes(*value.first_chunk()?))
    };
    Some(Volume { packets: number(CTA_COUNTERS_PACKETS)?, bytes: number(CTA_COUNTERS_BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_description_however_garbled_panics(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            flow(&bytes);
            untranslated(&bytes, &BTreeSet::from([(17, 53)]));
        }
    }
}
