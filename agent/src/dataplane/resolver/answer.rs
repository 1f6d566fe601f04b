//! Decides what a question is answered with: records, NODATA, NXDOMAIN, or that it is not ours.
//!
//! Pure: [`Index`], question and randomness in, [`Outcome`] out; [`super::handler`] puts it on the wire.
//! Reference 6.2: MULTIVALUE gives up to 8 at random, WEIGHTED one; health is already settled in the index.

use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::index::{Apex, Index, Node, key, parse_name};
use super::private_names::Reverse;
use crate::project::zone::{PRIVATE_NAME_TTL, Routing};

/// The most records of one type that an answer holds (6.2).
pub(super) const MULTIVALUE_RECORDS: usize = 8;

/// The answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Records, never none, owned by the name as the client spelt it.
    Records(Vec<Record>),
    /// The name exists, the type does not; the SOA record that goes with it.
    NoData(Record),
    /// Neither the name nor any name below it exists; the SOA record that goes with it.
    NoName(Record),
    /// Below none of the zone's origins.
    NotOurs,
}

/// Answers the question for `name` (as the client spelt it) and `kind`, which may be ANY.
pub(super) fn answer(index: &Index, name: &Name, kind: RecordType, rng: &mut impl Rng) -> Outcome {
    let key = key(name);
    let Some(apex) = index.origin_of(&key) else { return Outcome::NotOurs };
    let wanted = |of: RecordType| kind == of || kind == RecordType::ANY;
    let mut exists = index.parents.contains(&key);
    let mut records = Vec::new();

    if index.origins.contains_key(&key) {
        exists = true;
        if wanted(RecordType::SOA) {
            records.push(Record::from_rdata(name.clone(), apex.ttl, RData::SOA(apex.soa.clone())));
        }
        if wanted(RecordType::NS) {
            records.push(Record::from_rdata(name.clone(), apex.ttl, RData::NS(apex.ns.clone())));
        }
    }
    if let Some(node) = index.nodes.get(&key) {
        exists = true;
        for (_, set) in node.sets.iter().filter(|(of, _)| wanted(*of)) {
            let chosen = choose(node, &set.serving, rng);
            records.extend(chosen.into_iter().map(|data| Record::from_rdata(name.clone(), node.ttl, data)));
        }
    } else if let Some((of, data)) = private_record(index, &key) {
        exists = true;
        if let Some(data) = data.filter(|_| wanted(of)) {
            records.push(Record::from_rdata(name.clone(), PRIVATE_NAME_TTL, data));
        }
    }

    match (records.is_empty(), exists) {
        (false, _) => Outcome::Records(records),
        (true, true) => Outcome::NoData(soa_record(apex)),
        (true, false) => Outcome::NoName(soa_record(apex)),
    }
}

/// The record of a private name or its reverse; without data for a reverse name above some.
fn private_record(index: &Index, key: &str) -> Option<(RecordType, Option<RData>)> {
    let private = index.private.as_ref()?;
    if let Some(address) = private.forward(key) {
        return Some((RecordType::A, Some(RData::A(A(address)))));
    }
    match private.reverse(key)? {
        Reverse::Address(name) => {
            // Made from a checked domain and four octets: it parses unless the domain fills a name's 255 bytes.
            let target = parse_name(&name).ok()?;
            Some((RecordType::PTR, Some(RData::PTR(PTR(target)))))
        }
        Reverse::Parent => Some((RecordType::PTR, None)),
    }
}

/// Some of the serving records, each at most once, in random order.
fn choose(node: &Node, serving: &[RData], rng: &mut impl Rng) -> Vec<RData> {
    let amount = match node.routing {
        Routing::Multivalue => MULTIVALUE_RECORDS,
        Routing::Weighted => 1,
    };
    // `sample` draws a random set whose order is not random when it takes nearly all: draw it, then shuffle.
    let mut chosen: Vec<RData> = serving.sample(rng, amount).cloned().collect();
    rand::seq::SliceRandom::shuffle(chosen.as_mut_slice(), rng);
    chosen
}

/// The SOA record of a negative answer. Its TTL is how long the answer may be cached, so it is at most `minimum` (RFC 2308).
fn soa_record(apex: &Apex) -> Record {
    Record::from_rdata(apex.name.clone(), apex.ttl.min(apex.soa.minimum), RData::SOA(apex.soa.clone()))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
