//! Rulesets to test with: a small VPC by hand, and random ones.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, missing_docs)]

pub mod net;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use netmodes::ids::{EniId, GroupId, SubnetId};
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, SecurityGroup, Traffic};
use netmodes::vpc::eni::{Eni, EniAddress, MacAddress};
use netmodes::vpc::router::Router;
use netmodes::vpc::subnet::Subnet;
use proptest::prelude::*;

pub fn sg(n: u128) -> GroupId {
    GroupId::from_bits(n)
}

pub fn eni_id(n: u8) -> EniId {
    EniId::from_bits(u128::from(n))
}

pub fn address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

pub fn anywhere() -> Peer {
    Peer::Cidr("0.0.0.0/0".parse().unwrap())
}

pub fn tcp(port: u16) -> Traffic {
    Traffic::Tcp(PortRange { first: port, last: port })
}

pub fn allow(traffic: Traffic, peer: Peer) -> Rule {
    Rule { traffic, peer }
}

pub fn router(internet: bool) -> Router {
    Router {
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        subnets: vec![Subnet {
            id: SubnetId::from_bits(1),
            availability_zone: "us-east-1a".into(),
            cidr: "10.0.0.0/24".parse().unwrap(),
        }],
        internet,
        host_link: None,
    }
}

/// A VPC without groups and ENIs.
pub fn empty(internet: bool) -> Ruleset {
    Ruleset { router: router(internet), groups: BTreeMap::new(), enis: BTreeMap::new(), flow_log: false }
}

pub fn group(n: u128, ingress: Vec<Rule>, egress: Vec<Rule>) -> SecurityGroup {
    SecurityGroup { id: sg(n), name: format!("group-{n}"), ingress, egress }
}

/// ENI `n`, 10.0.0.n, in these groups.
pub fn eni(n: u8, groups: &[u128]) -> Eni {
    let id = eni_id(n);
    Eni {
        mac: MacAddress::of_eni(&id),
        id,
        subnet: SubnetId::from_bits(1),
        addresses: vec![EniAddress {
            address: IpAddr::V4(address(n)),
            prefix: 24,
            gateway: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        }],
        groups: groups.iter().map(|n| sg(*n)).collect(),
        source_check: true,
    }
}

pub fn ruleset(groups: Vec<SecurityGroup>, enis: Vec<Eni>) -> Ruleset {
    Ruleset {
        groups: groups.into_iter().map(|g| (g.id.clone(), g)).collect(),
        enis: enis.into_iter().map(|e| (e.id.clone(), e)).collect(),
        ..empty(false)
    }
}

/// Random rulesets of up to 5 groups and 8 ENIs, every kind of rule among them.
pub fn rulesets() -> impl Strategy<Value = Ruleset> {
    let enis = prop::collection::btree_map(4u8..30, (prop::collection::vec(0u128..5, 0..4), any::<bool>()), 0..8);
    let groups = prop::collection::btree_map(
        0u128..5,
        (prop::collection::vec(rules(), 0..5), prop::collection::vec(rules(), 0..5)),
        0..5,
    );
    (groups, enis, any::<bool>(), any::<bool>()).prop_map(|(groups, enis, internet, flow_log)| {
        let groups = groups.into_iter().map(|(n, (ingress, egress))| group(n, ingress, egress)).collect();
        let enis =
            enis.into_iter().map(|(n, (groups, source_check))| Eni { source_check, ..eni(n, &groups) }).collect();
        Ruleset { router: router(internet), flow_log, ..ruleset(groups, enis) }
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    let ports = prop_oneof![
        Just(PortRange::ALL),
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
        any::<u16>().prop_map(|p| PortRange { first: p, last: p }),
    ];
    let traffic = prop_oneof![
        Just(Traffic::All),
        ports.clone().prop_map(Traffic::Tcp),
        ports.prop_map(Traffic::Udp),
        Just(Traffic::Icmp { kind: None, code: None }),
        any::<u8>().prop_map(|kind| Traffic::Icmp { kind: Some(kind), code: None }),
        any::<(u8, u8)>().prop_map(|(kind, code)| Traffic::Icmp { kind: Some(kind), code: Some(code) }),
        any::<u8>().prop_map(Traffic::Protocol),
    ];
    let peer = prop_oneof![
        Just(anywhere()),
        Just(Peer::Cidr("::/0".parse().unwrap())),
        Just(Peer::Cidr("2600:1f00::/40".parse().unwrap())),
        (any::<u32>(), 0u8..=32).prop_map(|(bits, prefix)| {
            let block = ipnetwork::Ipv4Network::new(Ipv4Addr::from_bits(bits), prefix).unwrap();
            Peer::Cidr(ipnetwork::Ipv4Network::new(block.network(), prefix).unwrap().into())
        }),
        (0u128..6).prop_map(|n| Peer::Group(sg(n))),
    ];
    (traffic, peer).prop_map(|(traffic, peer)| Rule { traffic, peer })
}
