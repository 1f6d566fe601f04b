//! Where a packet goes inside an instance's netns, and past it: tables of cases, without a kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab_nft;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use lab_nft::{allow, anywhere, eni, eni_id, group, ruleset};
use netmodes::bridge::{BRIDGE_LINK, PublishedPort};
use netmodes::nft::Transport;
use netmodes::reach::Outcome;
use netmodes::reach::instance::{Entry, Hop, Inside, Instances, hop};
use netmodes::reach::listener::Taker;
use netmodes::reach::path::{ECHO, Opening, Route};
use netmodes::reach::way::{Owner, Passed, Sender, Way, follow_all};
use netmodes::security::group::Traffic;
use rstest::rstest;

const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);

fn port(protocol: Transport, host_port: u16, container_port: u16) -> PublishedPort {
    PublishedPort { protocol, host_port, container_address: CONTAINER, container_port }
}

/// The instance that has ENI `n`, with two containers, of which the first has tcp/32768 and udp/5353.
fn inside(n: u8) -> Inside {
    let ports = [port(Transport::Tcp, 32768, 80), port(Transport::Udp, 5353, 53)];
    Inside {
        addresses: BTreeSet::from([lab_nft::address(n).into()]),
        containers: BTreeSet::from([CONTAINER, NEIGHBOUR]),
        ports: ports.into(),
        metadata_port: Some(51679),
    }
}

fn bridge() -> Hop {
    Hop::Instance { link: BRIDGE_LINK }
}

#[rstest]
#[case("10.0.0.5", Opening::Tcp(32768), Hop::Published(port(Transport::Tcp, 32768, 80)))]
#[case("172.17.0.1", Opening::Udp(5353), Hop::Published(port(Transport::Udp, 5353, 53)))]
#[case("10.0.0.5", Opening::Udp(32768), bridge())]
#[case("10.0.0.5", Opening::Tcp(51678), bridge())]
#[case("10.0.0.5", ECHO, bridge())]
#[case("172.17.0.3", Opening::Tcp(32768), Hop::Loopback)]
#[case("127.0.0.1", Opening::Tcp(32768), Hop::Loopback)]
#[case("172.17.0.2", Opening::Tcp(80), Hop::Bridge(CONTAINER))]
#[case("172.17.0.4", Opening::Tcp(80), Hop::Nobody)]
#[case("169.254.170.2", Opening::Tcp(80), Hop::Metadata { link: BRIDGE_LINK, port: 51679 })]
#[case("10.0.0.6", Opening::Tcp(32768), Hop::Out)]
#[case("10.0.0.2", Opening::Udp(53), Hop::Out)]
fn from_a_container(#[case] to: IpAddr, #[case] opening: Opening, #[case] expected: Hop) {
    assert_eq!(hop(&inside(5), Entry::Container(NEIGHBOUR), to, opening), expected);
}

#[rstest]
#[case("127.0.0.1", Opening::Tcp(32768), Hop::Published(port(Transport::Tcp, 32768, 80)))]
#[case("10.0.0.5", Opening::Tcp(32768), Hop::Published(port(Transport::Tcp, 32768, 80)))]
#[case("127.0.0.1", Opening::Tcp(80), Hop::Instance { link: "lo" })]
#[case("172.17.0.2", Opening::Tcp(80), Hop::Bridge(CONTAINER))]
#[case("10.0.0.6", Opening::Tcp(80), Hop::Out)]
fn from_the_instance_itself(#[case] to: IpAddr, #[case] opening: Opening, #[case] expected: Hop) {
    assert_eq!(hop(&inside(5), Entry::Own, to, opening), expected);
}

#[rstest]
#[case("10.0.0.5", Opening::Tcp(32768), Hop::Published(port(Transport::Tcp, 32768, 80)))]
#[case("10.0.0.5", Opening::Tcp(80), Hop::Instance { link: "eth0" })]
#[case("10.0.0.5", Opening::Tcp(51678), Hop::Dropped)]
#[case("172.17.0.2", Opening::Tcp(80), Hop::Dropped)]
#[case("10.0.0.5", ECHO, Hop::Instance { link: "eth0" })]
fn from_the_vpc(#[case] to: IpAddr, #[case] opening: Opening, #[case] expected: Hop) {
    assert_eq!(hop(&inside(5), Entry::Eni, to, opening), expected);
}

/// ENI 4 is a task's, 5 and 6 are instances'; 5 may send anything, and nothing may come in but to 6.
fn way(from: u8, container: Option<Ipv4Addr>, to: &str, opening: Opening) -> (Way, Vec<Passed>, Option<Owner>) {
    let all = || vec![allow(Traffic::All, anywhere())];
    let ruleset =
        ruleset(vec![group(1, vec![], all()), group(2, all(), all())], vec![eni(4, &[1]), eni(5, &[1]), eni(6, &[2])]);
    let instances = Instances::from([(eni_id(5), inside(5)), (eni_id(6), inside(6))]);
    let sender = Sender { eni: &ruleset.enis[&eni_id(from)], container };
    let to = to.parse().unwrap();
    let way = follow_all(&ruleset, &instances, sender, to, opening);
    let owner = way.place(sender, to, opening).map(|place| place.owner);
    let passes = way.passes(sender);
    (way, passes, owner)
}

fn listening() -> Taker {
    Taker::Socket("0.0.0.0:80".parse().unwrap())
}

#[test]
fn between_instances_both_are_passed_and_the_groups_of_both_judge() {
    let (there, passes, owner) = way(5, Some(NEIGHBOUR), "10.0.0.6", Opening::Tcp(32768));
    assert_eq!(there.departure, Some(Hop::Out));
    assert_eq!(passes, [Passed::Instance(eni_id(5)), Passed::Vpc, Passed::Instance(eni_id(6))]);
    assert_eq!(owner, Some(Owner::Container(eni_id(6), CONTAINER)));
    assert_eq!(there.foresee(Opening::Tcp(32768), Some(&listening())), Some(Outcome::Connected));
    let (back, ..) = way(6, Some(NEIGHBOUR), "10.0.0.5", Opening::Tcp(32768));
    assert_eq!(back.route(), Some(&Route::Eni(eni_id(5))));
    assert_eq!(back.foresee(Opening::Tcp(32768), Some(&listening())), Some(Outcome::TimedOut));
}

#[test]
fn within_an_instance_nothing_is_judged() {
    let (way, passes, owner) = way(5, Some(NEIGHBOUR), "10.0.0.5", Opening::Tcp(32768));
    assert_eq!((&way.path, passes.as_slice()), (&None, &[Passed::Instance(eni_id(5))][..]));
    assert_eq!(owner, Some(Owner::Container(eni_id(5), CONTAINER)));
    assert_eq!(way.foresee(Opening::Tcp(32768), Some(&listening())), Some(Outcome::Connected));
}

#[test]
fn a_task_with_an_eni_of_its_own_passes_no_instance_of_its_own() {
    let (to_instance, passes, owner) = way(4, None, "10.0.0.6", Opening::Tcp(9000));
    assert_eq!(to_instance.departure, None);
    assert_eq!(passes, [Passed::Vpc, Passed::Instance(eni_id(6))]);
    assert_eq!(owner, Some(Owner::Eni(eni_id(6))));
    let (own, passes, owner) = way(4, None, "127.0.0.1", Opening::Tcp(80));
    assert!(own.is_loopback() && passes.is_empty() && owner == Some(Owner::Sender));
    let (dropped, ..) = way(4, None, "10.0.0.6", Opening::Tcp(51678));
    assert_eq!(dropped.foresee(Opening::Tcp(51678), None), Some(Outcome::TimedOut));
}
