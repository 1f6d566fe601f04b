//! Where a packet is sent and which rule judges it: a table of cases, without a kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab_nft;

use std::net::IpAddr;

use lab_nft::{address, allow, anywhere, eni, eni_id, group, ruleset, sg, tcp};
use netmodes::reach::path::{ECHO, Judgement, Opening, Path, Route, follow};
use netmodes::security::group::{Peer, Ruleset, Traffic};
use rstest::rstest;

/// 4 (group 1, may send tcp/80 to group 2) and 5 (group 2, lets tcp/80 in from group 1, udp/53 from anywhere, ping from 10.0.0.6).
fn small() -> Ruleset {
    let echo = Traffic::Icmp { kind: Some(8), code: None };
    let dns = Traffic::Udp(netmodes::security::group::PortRange { first: 53, last: 53 });
    ruleset(
        vec![
            group(1, vec![], vec![allow(tcp(80), Peer::Group(sg(2))), allow(echo, anywhere())]),
            group(
                2,
                vec![
                    allow(tcp(80), Peer::Group(sg(1))),
                    allow(dns, anywhere()),
                    allow(echo, Peer::Cidr("10.0.0.6/32".parse().unwrap())),
                ],
                vec![],
            ),
        ],
        vec![eni(4, &[1]), eni(5, &[2]), eni(6, &[1, 9])],
    )
}

fn way(from: u8, to: &str, opening: Opening) -> Path {
    let ruleset = small();
    follow(&ruleset, &ruleset.enis[&eni_id(from)], to.parse().unwrap(), opening)
}

#[rstest]
#[case("10.0.0.4", Route::Own)]
#[case("127.0.0.1", Route::Own)]
#[case("10.0.0.5", Route::Eni(eni_id(5)))]
#[case("10.0.0.9", Route::Nobody)]
#[case("10.0.0.1", Route::Router { serves: false })]
#[case("10.1.0.1", Route::None)]
fn an_address_is_somebodys_or_nobodys(#[case] to: &str, #[case] route: Route) {
    assert_eq!(way(4, to, Opening::Tcp(80)).route, route);
}

#[rstest]
#[case("10.0.0.2", Opening::Udp(53), true)]
#[case("169.254.169.253", Opening::Tcp(53), true)]
#[case("169.254.170.2", Opening::Tcp(80), true)]
#[case("169.254.170.2", Opening::Udp(80), false)]
#[case("10.0.0.2", Opening::Tcp(80), false)]
#[case("10.0.0.2", ECHO, false)]
#[case("10.0.0.1", Opening::Udp(53), false)]
fn the_router_serves_dns_and_metadata_whatever_the_groups(
    #[case] to: &str,
    #[case] opening: Opening,
    #[case] serves: bool,
) {
    let path = way(5, to, opening);
    assert_eq!((path.route.clone(), path.is_open()), (Route::Router { serves }, serves));
    assert_eq!((path.egress, path.ingress), (None, None));
}

/// From, opening, whether egress and ingress allow it.
#[rstest]
#[case(4, Opening::Tcp(80), true, true)]
#[case(4, Opening::Tcp(81), false, false)]
#[case(4, Opening::Udp(53), false, true)]
#[case(4, ECHO, true, false)]
#[case(6, ECHO, true, true)]
fn both_ends_count(#[case] from: u8, #[case] opening: Opening, #[case] egress: bool, #[case] ingress: bool) {
    let path = way(from, "10.0.0.5", opening);
    let allowed = |judgement: &Option<Judgement>| judgement.as_ref().unwrap().is_allowed();
    assert_eq!((allowed(&path.egress), allowed(&path.ingress)), (egress, ingress));
    assert_eq!(path.is_open(), egress && ingress);
}

#[test]
fn the_rule_that_decides_is_named_and_where_none_does_those_that_miss_by_one_thing() {
    let open = way(4, "10.0.0.5", Opening::Tcp(80));
    assert_eq!(open.ingress, Some(Judgement::Allowed { group: sg(2), rule: allow(tcp(80), Peer::Group(sg(1))) }));
    let other_port = way(4, "10.0.0.5", Opening::Tcp(81));
    assert_eq!(
        other_port.ingress,
        Some(Judgement::Refused {
            near: vec![
                (sg(2), allow(tcp(80), Peer::Group(sg(1)))),
                (sg(2), allow(Traffic::Udp(netmodes::security::group::PortRange { first: 53, last: 53 }), anywhere())),
            ]
        })
    );
}

#[test]
fn over_loopback_nothing_is_judged() {
    let path = way(5, "10.0.0.5", Opening::Tcp(9));
    assert!(path.is_open() && path.egress.is_none() && path.ingress.is_none());
}

#[test]
fn an_eni_without_groups_sends_and_receives_nothing() {
    let ruleset = ruleset(
        vec![group(1, vec![allow(Traffic::All, anywhere())], vec![allow(Traffic::All, anywhere())])],
        vec![eni(4, &[]), eni(5, &[1])],
    );
    let follow = |from, to| follow(&ruleset, &ruleset.enis[&eni_id(from)], IpAddr::from(address(to)), Opening::Tcp(80));
    assert_eq!(follow(4, 5).egress, Some(Judgement::Refused { near: vec![] }));
    assert_eq!(follow(5, 4).ingress, Some(Judgement::Refused { near: vec![] }));
}
