//! ENIs in real namespaces, with real packets. Needs root, no Docker; skips, and says so, without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::net::IpAddr;

use lab::{Lab, eni, eventually, packets};
use netmodes::awsvpc::OwnerEnd;
use netmodes::kernel::link::{self, LinkChange};
use netmodes::kernel::netns::Netns;
use netmodes::kernel::route::{self, Hop, Route};
use netmodes::kernel::socket::RouteSocket;
use netmodes::kernel::sysctl::{self, Sysctl};
use netmodes::kernel::{address, neighbour};
use netmodes::observe::observe_owner;
use netmodes::vpc::eni::{Eni, MacAddress};

fn v4(address: IpAddr) -> std::net::Ipv4Addr {
    match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("{v6} is no IPv4 address"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_reach_each_other_within_a_subnet_and_across_subnets() {
    let Some(lab) = Lab::open().await else { return };
    let client = lab.task(1, "10.0.0.10").await;
    for server in [lab.task(2, "10.0.0.11").await, lab.task(3, "10.0.1.10").await] {
        let address = server.eni.primary_address().unwrap();
        packets::ping(&client.netns, v4(address), 56);
        assert_eq!(packets::exchange_tcp(&client.netns, &server.netns, address).ip().to_string(), "10.0.0.10");
        let from = packets::udp(&client.netns, "0.0.0.0:0");
        let to = packets::udp(&server.netns, &format!("{address}:0"));
        let (text, sender) = packets::send_udp(&from, &to, "hello");
        assert_eq!((text.as_str(), sender.ip().to_string().as_str()), ("hello", "10.0.0.10"));
    }
}

/// A VPC has no broadcast: what is sent to a subnet's last address, or to everybody on the link, reaches nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_nobody() {
    let Some(lab) = Lab::open().await else { return };
    let (sender, neighbour) = (lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.0.11").await);
    let listener = packets::udp(&neighbour.netns, "0.0.0.0:4000");
    let socket = packets::udp(&sender.netns, "0.0.0.0:0");
    socket.set_broadcast(true).unwrap();
    for everybody in ["10.0.0.255:4000", "255.255.255.255:4000"] {
        // Refused by the kernel at once, or lost on the way.
        let _ = socket.send_to(b"all", everybody.parse::<std::net::SocketAddr>().unwrap());
    }
    // Comes by the same way later, so when it is there the others would be too.
    socket.send_to(b"one", "10.0.0.11:4000").unwrap();
    assert_eq!(packets::received(&listener).0, "one");
    assert!(packets::is_empty(&listener));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_is_ever_resolved_so_no_first_packet_waits() {
    let Some(lab) = Lab::open().await else { return };
    let (a, b) = (lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.1.10").await);
    packets::ping(&a.netns, v4(b.eni.primary_address().unwrap()), 56);
    for netns in [lab.vpc.netns(), &a.netns, &b.netns] {
        let neighbours = neighbour::list(&RouteSocket::open(netns).unwrap()).await.unwrap();
        assert!(!neighbours.is_empty());
        assert!(neighbours.iter().all(|neighbour| neighbour.permanent), "{neighbours:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_frame_of_mtu_9001_passes_in_one_piece() {
    let Some(lab) = Lab::open().await else { return };
    let (a, b) = (lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.1.10").await);
    let eth0 = observe_owner(&a.netns).await.unwrap().eth0.unwrap();
    assert_eq!((eth0.mtu, eth0.mac), (9001, Some(MacAddress::of_eni(&a.eni.id))));
    packets::ping(&a.netns, v4(b.eni.primary_address().unwrap()), 9001 - 20 - 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_observed_is_what_was_asked_for_and_asking_again_changes_nothing() {
    let Some(lab) = Lab::open_dual_stack().await else { return };
    // Both live to the end: the link of one that ends would vanish from between two observations.
    let tasks = [eni(1, &["10.0.0.10"]), eni(2, &["10.0.0.11", "2600:1f00::11"])]
        .map(|eni| lab::Task { eni, netns: Netns::anonymous().unwrap() });
    for task in &tasks {
        lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
    }
    for task in &tasks {
        let (vpc, inside) = (lab.vpc.observe().await.unwrap(), observe_owner(&task.netns).await.unwrap());
        assert!(vpc.router_matches(&lab.router) && vpc.eni_matches(&task.eni), "{vpc:#?}");
        assert!(inside.matches(&task.eni), "{inside:#?}");
        assert_eq!(inside.eth0, Some(OwnerEnd::of(&task.eni)));
        let socket = RouteSocket::open(&task.netns).unwrap();
        let before = link::list(&socket).await.unwrap();

        lab.vpc.ensure_router(&lab.router).await.unwrap();
        lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
        assert_eq!(lab.vpc.observe().await.unwrap(), vpc);
        assert_eq!(observe_owner(&task.netns).await.unwrap(), inside);
        assert_eq!(link::list(&socket).await.unwrap(), before, "the link is the same one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_runs_beside_ipv4() {
    let Some(lab) = Lab::open_dual_stack().await else { return };
    let make = async |number, addresses: &[&str]| {
        let task = lab::Task { eni: eni(number, addresses), netns: Netns::anonymous().unwrap() };
        lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
        task
    };
    let a = make(1, &["10.0.0.10", "2600:1f00::10"]).await;
    let b = make(2, &["10.0.0.11", "2600:1f00::11"]).await;
    for (server, client) in [("10.0.0.11", "10.0.0.10"), ("2600:1f00::11", "2600:1f00::10")] {
        let seen = packets::exchange_tcp(&a.netns, &b.netns, server.parse().unwrap());
        assert_eq!(seen.ip().to_string(), client);
    }
}

/// Docker gives a namespace without IPv6 to a container without a network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ipv6_a_task_has_both_loopback_addresses_and_no_other_of_ipv6() {
    let Some(lab) = Lab::open().await else { return };
    let task = lab::Task { eni: eni(1, &["10.0.0.10"]), netns: Netns::anonymous().unwrap() };
    let as_docker = ["all", "default", "lo"].map(|of| Sysctl::new(format!("ipv6/conf/{of}/disable_ipv6"), "1"));
    sysctl::ensure(&task.netns, &as_docker).unwrap();
    lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
    let addresses = address::list(&RouteSocket::open(&task.netns).unwrap()).await.unwrap();
    let mut addresses: Vec<String> = addresses.iter().map(|a| a.network.to_string()).collect();
    addresses.sort();
    assert_eq!(addresses, ["10.0.0.10/24", "127.0.0.1/8", "::1/128"]);
    for own in ["127.0.0.1", "::1"] {
        packets::exchange_tcp(&task.netns, &task.netns, own.parse().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eni_in_an_earlier_owner_is_made_anew_in_the_present_one() {
    let Some(lab) = Lab::open().await else { return };
    let task = lab.task(1, "10.0.0.10").await;
    let successor = Netns::anonymous().unwrap();
    lab.vpc.ensure_eni(&task.eni, &successor).await.unwrap();
    assert!(lab.vpc.observe().await.unwrap().eni_matches(&task.eni));
    assert!(observe_owner(&successor).await.unwrap().matches(&task.eni));
    assert_eq!(observe_owner(&task.netns).await.unwrap().eth0, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eni_of_a_vpc_namespace_that_is_lost_is_made_anew_in_the_next() {
    let (Some(lost), Some(next)) = (Lab::open().await, Lab::open().await) else { return };
    let task = lost.task(1, "10.0.0.10").await;
    next.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
    assert!(next.vpc.observe().await.unwrap().eni_matches(&task.eni));
    assert!(observe_owner(&task.netns).await.unwrap().matches(&task.eni));
    assert!(lost.vpc.observe().await.unwrap().enis.is_empty());
}

/// The end that was up first sends only once the kernel's link watch has run, which may be a second later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_packet_after_a_link_is_made_or_mended_arrives() {
    let Some(lab) = Lab::open().await else { return };
    let peer = lab.task(1, "10.0.1.10").await;
    let server = packets::udp(&peer.netns, "10.0.1.10:0");
    let vpc = RouteSocket::open(lab.vpc.netns()).unwrap();
    for n in 0..20 {
        let task = lab.task(n + 2, &format!("10.0.0.{}", n + 10)).await;
        let client = packets::udp(&task.netns, "0.0.0.0:0");
        packets::send_udp(&client, &server, "made");
        let outer = link::find(&vpc, &Eni::link_name(&task.eni.id)).await.unwrap().unwrap().index;
        link::set(&vpc, outer, &LinkChange { up: Some(false), ..LinkChange::default() }).await.unwrap();
        lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
        packets::send_udp(&client, &server, "mended");
    }
}

/// What an agent that was killed at that point, or a meddler, leaves of an ENI.
#[derive(Debug, Clone, Copy)]
enum Damage {
    NoAlias,
    NoHostRoute,
    OtherMac,
    OtherMtu,
    OuterDown,
    InnerDown,
    NoNeighbours,
    NoDefaultRoute,
    ForeignAddress,
    ForeignHostRoute,
    ForeignNeighbours,
    ForeignAlias,
}

#[rstest::rstest]
#[case(Damage::NoAlias)]
#[case(Damage::NoHostRoute)]
#[case(Damage::OtherMac)]
#[case(Damage::OtherMtu)]
#[case(Damage::OuterDown)]
#[case(Damage::InnerDown)]
#[case(Damage::NoNeighbours)]
#[case(Damage::NoDefaultRoute)]
#[case(Damage::ForeignAddress)]
#[case(Damage::ForeignHostRoute)]
#[case(Damage::ForeignNeighbours)]
#[case(Damage::ForeignAlias)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_eni_is_seen_as_such_and_mended(#[case] damage: Damage) {
    let Some(lab) = Lab::open().await else { return };
    let (task, peer) = (lab.task(1, "10.0.0.10").await, lab.task(2, "10.0.1.10").await);
    let vpc = RouteSocket::open(lab.vpc.netns()).unwrap();
    let inside = RouteSocket::open(&task.netns).unwrap();
    let outer = link::find(&vpc, &Eni::link_name(&task.eni.id)).await.unwrap().unwrap().index;
    let inner = link::find(&inside, "eth0").await.unwrap().unwrap().index;
    let address = task.eni.primary_address().unwrap();
    let gateway = task.eni.addresses[0].gateway;
    let change = LinkChange::default();
    match damage {
        Damage::NoAlias => link::set(&vpc, outer, &LinkChange { alias: Some(""), ..change }).await.unwrap(),
        Damage::OtherMac => {
            link::set(&vpc, outer, &LinkChange { mac: Some(MacAddress([2, 0, 0, 0, 0, 1])), ..change }).await.unwrap();
        }
        Damage::ForeignAlias => link::set(&vpc, outer, &LinkChange { alias: Some("mine"), ..change }).await.unwrap(),
        Damage::ForeignHostRoute => {
            let destination = "10.0.0.99/32".parse().unwrap();
            route::ensure(&vpc, Route { destination, hop: Hop::Link(outer) }).await.unwrap();
        }
        Damage::ForeignNeighbours => {
            let other = "10.0.0.99".parse().unwrap();
            neighbour::ensure(&vpc, outer, other, task.eni.mac).await.unwrap();
            neighbour::ensure(&inside, inner, other, task.eni.mac).await.unwrap();
        }
        Damage::OtherMtu => link::set(&vpc, outer, &LinkChange { mtu: Some(1400), ..change }).await.unwrap(),
        Damage::OuterDown => link::set(&vpc, outer, &LinkChange { up: Some(false), ..change }).await.unwrap(),
        Damage::InnerDown => link::set(&inside, inner, &LinkChange { up: Some(false), ..change }).await.unwrap(),
        Damage::NoHostRoute => {
            route::remove(&vpc, Route { destination: address.into(), hop: Hop::Link(outer) }).await.unwrap();
        }
        Damage::NoNeighbours => {
            neighbour::remove(&vpc, outer, address).await.unwrap();
            neighbour::remove(&inside, inner, gateway).await.unwrap();
        }
        Damage::NoDefaultRoute => {
            let hop = Hop::Gateway(gateway, inner);
            route::remove(&inside, Route { destination: "0.0.0.0/0".parse().unwrap(), hop }).await.unwrap();
        }
        Damage::ForeignAddress => {
            netmodes::kernel::address::ensure(&inside, inner, "10.0.0.99/24".parse().unwrap()).await.unwrap();
        }
    }
    let (seen, seen_inside) = (lab.vpc.observe().await.unwrap(), observe_owner(&task.netns).await.unwrap());
    assert!(!seen.eni_matches(&task.eni) || !seen_inside.matches(&task.eni), "{seen:#?} {seen_inside:#?}");

    lab.vpc.ensure_eni(&task.eni, &task.netns).await.unwrap();
    let (seen, seen_inside) = (lab.vpc.observe().await.unwrap(), observe_owner(&task.netns).await.unwrap());
    assert!(seen.eni_matches(&task.eni) && seen_inside.matches(&task.eni), "{seen:#?} {seen_inside:#?}");
    packets::ping(&task.netns, v4(peer.eni.primary_address().unwrap()), 56);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_made_and_not_yet_named_is_told_and_taken_over() {
    let Some(lab) = Lab::open().await else { return };
    let (eni, owner) = (eni(1, &["10.0.0.10"]), Netns::anonymous().unwrap());
    let vpc = RouteSocket::open(lab.vpc.netns()).unwrap();
    let name = Eni::link_name(&eni.id);
    let end = link::VethEnd { name: &name, mac: MacAddress::of_gateway(&eni.id), mtu: 9001 };
    let peer = link::VethEnd { name: "eth0", mac: eni.mac, mtu: 9001 };
    link::create_veth(&vpc, &end, &peer, &owner).await.unwrap();
    let made = link::find(&vpc, &name).await.unwrap().unwrap();
    assert_eq!(lab.vpc.observe().await.unwrap().strays, [name.clone()].into());

    lab.vpc.ensure_eni(&eni, &owner).await.unwrap();
    let seen = lab.vpc.observe().await.unwrap();
    assert!(seen.eni_matches(&eni) && seen.strays.is_empty(), "{seen:#?}");
    assert_eq!(link::find(&vpc, &name).await.unwrap().unwrap().index, made.index, "completed, not made anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_eni_leaves_no_link_route_or_neighbour() {
    let Some(lab) = Lab::open().await else { return };
    let before = lab.vpc.observe().await.unwrap();
    let task = lab.task(1, "10.0.0.10").await;
    lab.vpc.remove_eni(&task.eni.id).await.unwrap();
    assert_eq!(lab.vpc.observe().await.unwrap(), before);
    let vpc = RouteSocket::open(lab.vpc.netns()).unwrap();
    assert_eq!(neighbour::list(&vpc).await.unwrap(), []);
    assert!(route::list(&vpc).await.unwrap().iter().all(|route| route.hop == Hop::Blackhole));
    assert_eq!(observe_owner(&task.netns).await.unwrap().eth0, None);
    lab.vpc.remove_eni(&task.eni.id).await.expect("absent is fine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_owner_takes_its_eni_along() {
    let Some(lab) = Lab::open().await else { return };
    let task = lab.task(1, "10.0.0.10").await;
    drop(task.netns);
    let seen = eventually(async || lab.vpc.observe().await.unwrap(), |seen| seen.enis.is_empty()).await;
    assert!(seen.router_matches(&lab.router), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_with_another_eni_is_refused_and_left_as_it_is() {
    let Some(lab) = Lab::open().await else { return };
    let task = lab.task(1, "10.0.0.10").await;
    let refusal = lab.vpc.ensure_eni(&eni(2, &["10.0.0.11"]), &task.netns).await.unwrap_err();
    assert!(refusal.to_string().contains("another eth0"), "{refusal}");
    let seen = lab.vpc.observe().await.unwrap();
    assert!(seen.eni_matches(&task.eni) && seen.enis.len() == 1, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_enis_are_made_and_observed_at_once() {
    let Some(lab) = Lab::open().await else { return };
    let owners: Vec<_> = (0..40).map(|_| Netns::anonymous().unwrap()).collect();
    let enis: Vec<_> = (0..40).map(|n| eni(n + 1, &[format!("10.0.0.{}", n + 10).as_str()])).collect();
    let making = enis.iter().zip(&owners).map(|(eni, owner)| async {
        lab.vpc.ensure_eni(eni, owner).await.unwrap();
        lab.vpc.observe().await.unwrap();
    });
    futures_util::future::join_all(making).await;
    let seen = lab.vpc.observe().await.unwrap();
    assert!(enis.iter().all(|eni| seen.eni_matches(eni)), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_tells_what_was_tried_and_the_kernels_own_words() {
    let Some(netns) = lab::namespace() else { return };
    let socket = RouteSocket::open(&netns).unwrap();
    let route =
        Route { destination: "10.9.0.0/16".parse().unwrap(), hop: Hop::Gateway("10.8.0.1".parse().unwrap(), 1) };
    let refusal = route::ensure(&socket, route).await.unwrap_err().to_string();
    assert!(refusal.contains("10.9.0.0") && refusal.contains("("), "{refusal}");
    eprintln!("{refusal}");
}
