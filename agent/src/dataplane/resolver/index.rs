//! A [`Zone`] made ready to answer from: parsed once when it is loaded, then only looked into.
//!
//! Pure; [`super::serve`] builds it, [`super::answer`] reads it. A zone that cannot be served is refused here as a whole,
//! so that the last good one stays.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, RecordType};

use super::private_names::PrivateZone;
use crate::project::zone::{Answers, Origin, Routing, Zone};

/// Why a zone cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// A name that cannot be written in a DNS message.
    #[error("{name:?} is not a DNS name")]
    Name {
        /// As written in the zone.
        name: String,
        /// What the parser says.
        #[source]
        source: ProtoError,
    },
    /// A key that no query can ever match.
    #[error("{0:?} is not in lower case without trailing dot")]
    NotCanonical(String),
    /// A socket on it would answer from another address than the one asked.
    #[error("{0} cannot be listened on: one address for each socket")]
    Unspecified(IpAddr),
    /// The resolver would ask itself.
    #[error("forwarding to {0} would ask the resolver itself")]
    ForwardLoop(SocketAddr),
}

/// The records of one type at one name.
#[derive(Debug, Default)]
pub(super) struct RecordSet {
    /// Those among which an answer is chosen: the healthy, or all when none is healthy. No two are equal.
    pub(super) serving: Vec<RData>,
}

/// All records at one name.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ttl: u32,
    pub(super) routing: Routing,
    pub(super) sets: Vec<(RecordType, RecordSet)>,
}

/// An origin's own records.
#[derive(Debug)]
pub(super) struct Apex {
    pub(super) name: Name,
    pub(super) soa: SOA,
    pub(super) ns: NS,
    /// Seconds, for the SOA record.
    pub(super) ttl: u32,
}

/// What [`super::answer`] looks into. Names are keys as [`key`] makes them.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) generation: u64,
    pub(super) listen: Vec<IpAddr>,
    pub(super) forward: Vec<SocketAddr>,
    pub(super) packet_limit: Option<u32>,
    pub(super) origins: HashMap<String, Apex>,
    pub(super) nodes: HashMap<String, Node>,
    /// Names without records of their own that have names below them: they exist, so they are NODATA (RFC 8020).
    pub(super) parents: HashSet<String>,
    pub(super) private: Option<PrivateZone>,
}

impl Index {
    pub(super) fn new(zone: &Zone) -> Result<Self, ZoneError> {
        if let Some(address) = zone.listen.iter().find(|address| address.is_unspecified()) {
            return Err(ZoneError::Unspecified(*address));
        }
        if let Some(server) = zone.forward.iter().find(|server| zone.listen.contains(&server.ip())) {
            return Err(ZoneError::ForwardLoop(*server));
        }
        let mut origins = HashMap::new();
        for origin in &zone.authoritative {
            origins.insert(canonical(&origin.name)?, apex(origin)?);
        }
        let mut nodes = HashMap::new();
        let mut parents = HashSet::new();
        for (name, answers) in &zone.names {
            let key = canonical(name)?;
            let node = node(answers)?;
            if node.sets.is_empty() {
                continue;
            }
            parents.extend(ancestors(&key).map(str::to_owned));
            nodes.insert(key, node);
        }
        // An origin inside another one (10.0.10.in-addr.arpa and its like) makes the names between them exist, too.
        for origin in origins.keys() {
            parents.extend(ancestors(origin).map(str::to_owned));
        }
        if let Some(names) = &zone.private_names {
            canonical(&names.domain)?;
        }
        Ok(Self {
            generation: zone.generation,
            listen: zone.listen.clone(),
            forward: zone.forward.clone(),
            packet_limit: zone.packet_limit,
            origins,
            nodes,
            parents,
            private: zone.private_names.as_ref().map(PrivateZone::new),
        })
    }

    /// The closest origin at or above a key.
    pub(super) fn origin_of(&self, key: &str) -> Option<&Apex> {
        std::iter::once(key).chain(ancestors(key)).find_map(|name| self.origins.get(name))
    }
}

/// The key of a name: lower case, no trailing dot. A dot inside a label is written as its
/// number, so that it is not taken for two labels.
pub(super) fn key(name: &Name) -> String {
    let mut key = String::with_capacity(name.len());
    for label in name.iter() {
        if !key.is_empty() {
            key.push('.');
        }
        for byte in label {
            match byte.to_ascii_lowercase() {
                byte @ (b'.' | b'\\') => key.push_str(&format!("\\{byte:03}")),
                byte @ b'!'..=b'~' => key.push(char::from(byte)),
                byte => key.push_str(&format!("\\{byte:03}")),
            }
        }
    }
    key
}

/// The names above one, nearest first, without the root.
fn ancestors(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').map(|(dot, _)| key.get(dot + 1..).unwrap_or_default())
}

/// Parses a name of the zone; it is absolute with or without the trailing dot.
pub(super) fn parse_name(name: &str) -> Result<Name, ZoneError> {
    let mut parsed = Name::from_ascii(name).map_err(|source| ZoneError::Name { name: name.into(), source })?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn canonical(name: &str) -> Result<String, ZoneError> {
    let key = key(&parse_name(name)?);
    if key == name && !key.is_empty() { Ok(key) } else { Err(ZoneError::NotCanonical(name.into())) }
}

fn apex(origin: &Origin) -> Result<Apex, ZoneError> {
    let soa = &origin.soa;
    let seconds = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let server = parse_name(&soa.mname)?;
    Ok(Apex {
        name: parse_name(&origin.name)?,
        ns: NS(server.clone()),
        soa: SOA::new(
            server,
            parse_name(&soa.rname)?,
            soa.serial,
            seconds(soa.refresh),
            seconds(soa.retry),
            seconds(soa.expire),
            soa.minimum,
        ),
        ttl: soa.ttl,
    })
}

fn node(answers: &Answers) -> Result<Node, ZoneError> {
    let mut healthy: Vec<RData> = Vec::new();
    let mut unhealthy: Vec<RData> = Vec::new();
    for instance in &answers.instances {
        let records = if instance.healthy { &mut healthy } else { &mut unhealthy };
        records.extend(instance.addresses.iter().map(|address| match address {
            IpAddr::V4(address) => RData::A(A(*address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(*address)),
        }));
        if let Some(srv) = &instance.srv {
            let target = parse_name(&srv.target)?;
            records.push(RData::SRV(SRV::new(srv.priority, srv.weight, srv.port, target)));
        }
    }
    for name in &answers.ptr {
        healthy.push(RData::PTR(PTR(parse_name(name)?)));
    }
    let mut sets = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::PTR] {
        let of_kind = |records: &[RData]| -> Vec<RData> {
            let mut seen = HashSet::new();
            let records = records.iter().filter(|record| record.record_type() == kind);
            records.filter(|record| seen.insert(*record)).cloned().collect()
        };
        let mut serving = of_kind(&healthy);
        if serving.is_empty() {
            serving = of_kind(&unhealthy);
        }
        if !serving.is_empty() {
            sets.push((kind, RecordSet { serving }));
        }
    }
    Ok(Node { ttl: answers.ttl, routing: answers.routing, sets })
}
