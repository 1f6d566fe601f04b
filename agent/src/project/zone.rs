//! The zone: all that the resolver of one VPC answers from, as one value.
//!
//! Projected from the snapshot of desired and observed state, written by `publish` as `zone.json` into the resolver's
//! directory, read by [`crate::dataplane::resolver`]. It says what is served, never how; it does no I/O and checks
//! nothing: the resolver refuses a zone that cannot be served and keeps the last good one.
//! Semantics reference 5.2 (resolver), 5.3 (private names), 6.2 (routing), 6.3 (health).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// Packets a second that one ENI may send to the resolver (5.2).
pub const PACKETS_PER_SECOND: u32 = 1024;

/// What the resolver of one VPC serves.
///
/// Names are written in lower case, without the trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Counted up by the writer with every change, so that it can ask whether what it wrote is what is served.
    pub generation: u64,
    /// Addresses to listen on, a UDP and a TCP socket for each. Never unspecified: a socket on 0.0.0.0 answers from an
    /// address that the client did not ask, and the client drops the answer.
    pub listen: Vec<IpAddr>,
    /// The domains answered from here alone; a name below none of them is forwarded.
    pub authoritative: Vec<Origin>,
    /// Records by name. A name without any record does not exist, as in Cloud Map a service without instances has none.
    pub names: BTreeMap<String, Answers>,
    /// Names made from addresses, without a row for each.
    #[serde(default)]
    pub private_names: Option<PrivateNames>,
    /// Where other names are asked, in order. Empty when the stack has `internet: false`: then other names get SERVFAIL.
    #[serde(default)]
    pub forward: Vec<SocketAddr>,
    /// Packets a second for each source address; what is above is dropped silently. `null` switches it off.
    #[serde(default = "default_packet_limit")]
    pub packet_limit: Option<u32>,
}

fn default_packet_limit() -> Option<u32> {
    Some(PACKETS_PER_SECOND)
}

/// A domain that the resolver has the last word on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The domain, e.g. `shop.local`, `ec2.internal`, `0.10.in-addr.arpa`.
    pub name: String,
    /// Its SOA record, sent with every negative answer.
    #[serde(default)]
    pub soa: Soa,
}

impl Origin {
    /// An origin with the default SOA record.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), soa: Soa::default() }
    }
}

/// The SOA record of an [`Origin`]. A negative answer is cached for the lesser of `ttl` and `minimum` (RFC 2308).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Soa {
    /// The primary name server.
    pub mname: String,
    /// The mailbox of the person responsible, with a dot for the `@`.
    pub rname: String,
    /// Always 1 in a Route 53 hosted zone.
    pub serial: u32,
    /// Seconds.
    pub refresh: u32,
    /// Seconds.
    pub retry: u32,
    /// Seconds.
    pub expire: u32,
    /// Seconds.
    pub minimum: u32,
    /// Seconds; the namespace's `Properties.DnsProperties.SOA.TTL` (6.1).
    pub ttl: u32,
}

impl Default for Soa {
    /// The record of a Route 53 private hosted zone, with 15 s as its TTL, so that a service which comes up is found soon.
    fn default() -> Self {
        Self {
            mname: "ns-1536.awsdns-00.co.uk".into(),
            rname: "awsdns-hostmaster.amazon.com".into(),
            serial: 1,
            refresh: 7200,
            retry: 900,
            expire: 1_209_600,
            minimum: 86_400,
            ttl: 15,
        }
    }
}

/// The records of one name, for all record types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Seconds, 0–2147483647, no default (6.2).
    pub ttl: u32,
    /// How instances are chosen for an answer.
    pub routing: Routing,
    /// The registered instances. Each record type is chosen among the instances that have it.
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// Names that this one points to, for a reverse name; it takes precedence over [`PrivateNames`].
    #[serde(default)]
    pub ptr: Vec<String>,
}

/// Cloud Map's `RoutingPolicy` (6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Routing {
    /// Up to 8 healthy instances in random order; up to 8 of the unhealthy when none is healthy.
    Multivalue,
    /// One healthy instance at random, all with equal weight; one of the unhealthy when none is healthy.
    Weighted,
}

/// A Cloud Map instance, as far as DNS shows it.
///
/// A service with SRV records has instances with `srv` and no addresses at the service's own name, and an A record at
/// `<instance id>.<service>.<namespace>`, a name of its own (6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The instance id; a task's id when ECS registers it.
    pub id: String,
    /// False takes it out of the answers while any other is healthy.
    pub healthy: bool,
    /// A records from IPv4 addresses, AAAA from IPv6.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// An SRV record.
    #[serde(default)]
    pub srv: Option<Srv>,
}

/// An SRV record; Cloud Map always writes priority 1 and weight 1 (6.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among the same priority.
    pub weight: u16,
    /// `AWS_INSTANCE_PORT`.
    pub port: u16,
    /// `<instance id>.<service>.<namespace>`.
    pub target: String,
}

/// Private DNS names for all addresses of a VPC: `ip-10-0-1-23.<domain>` and back (5.3). IPv4 only, as in EC2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateNames {
    /// `ec2.internal` or `<region>.compute.internal`. It has to be among [`Zone::authoritative`], as have the reverse
    /// zones of the blocks ([`reverse_zones`]).
    pub domain: String,
    /// The address blocks of the VPC.
    pub blocks: Vec<IpNetwork>,
}

/// Seconds for which a private name may be cached; what the Amazon resolver sends.
pub const PRIVATE_NAME_TTL: u32 = 60;

/// The reverse zones that cover a VPC block, e.g. `0.10.in-addr.arpa` for 10.0.0.0/16.
///
/// A block off an octet's boundary gives several zones (a /20 sixteen of three octets); one longer than /24 shares the
/// zone of its /24. IPv6 gives none, since EC2 has no such names.
pub fn reverse_zones(block: IpNetwork) -> Vec<String> {
    let IpNetwork::V4(block) = block else { return Vec::new() };
    let octets = block.prefix().div_ceil(8).clamp(1, 3);
    let count = 1_u32 << (octets * 8).saturating_sub(block.prefix());
    let step = 1_u32 << (32 - octets * 8);
    let first = u32::from(block.network()) & !(step - 1);
    (0..count)
        .map(|zone| {
            let bytes = (first + zone * step).to_be_bytes();
            let labels: Vec<String> = bytes.iter().take(usize::from(octets)).rev().map(u8::to_string).collect();
            format!("{}.in-addr.arpa", labels.join("."))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::sixteen("10.0.0.0/16", &["0.10.in-addr.arpa"])]
    #[case::twenty_three("10.1.2.0/23", &["2.1.10.in-addr.arpa", "3.1.10.in-addr.arpa"])]
    #[case::twenty_four("192.168.7.0/24", &["7.168.192.in-addr.arpa"])]
    #[case::twenty_eight("192.168.7.16/28", &["7.168.192.in-addr.arpa"])]
    #[case::six("fd00::/64", &[])]
    fn reverse_zones_cover_the_block(#[case] block: &str, #[case] zones: &[&str]) {
        assert_eq!(reverse_zones(block.parse().unwrap()), zones);
    }

    #[test]
    fn a_zone_reads_back_as_written_and_limits_packets_unless_told_otherwise() {
        let text = r#"{"generation":7,"listen":["10.0.0.2"],"authoritative":[{"name":"shop.local"}],
            "names":{"web.shop.local":{"ttl":10,"routing":"MULTIVALUE","instances":[{"id":"a","healthy":true,"addresses":["10.0.0.9"]}]}}}"#;
        let zone: Zone = serde_json::from_str(text).unwrap();
        assert_eq!(zone.packet_limit, Some(1024));
        let again: Zone = serde_json::from_str(&serde_json::to_string(&zone).unwrap()).unwrap();
        assert_eq!(again, zone);
    }
}
