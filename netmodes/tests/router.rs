//! The implied router in a real namespace. Needs root, no Docker; skips, and says so, without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use lab::{Lab, packets};
use netmodes::kernel::link::{self, LOOPBACK, LinkChange, VethEnd};
use netmodes::kernel::netns::Netns;
use netmodes::kernel::route::{self, Hop, Route};
use netmodes::kernel::socket::RouteSocket;
use netmodes::kernel::sysctl::{self, Sysctl};
use netmodes::kernel::{address, neighbour};
use netmodes::vpc::eni::MacAddress;

const VPC_UPLINK: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const INTERNET: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// An uplink `eth0` with a default route, as Docker makes one, to a namespace that takes every address for its own.
async fn uplink(vpc: &Netns) -> Netns {
    let internet = Netns::anonymous().unwrap();
    let (inside, outside) = (RouteSocket::open(vpc).unwrap(), RouteSocket::open(&internet).unwrap());
    let end = |name, mac| VethEnd { name, mac, mtu: 1500 };
    link::create_veth(&inside, &end("eth0", VPC_UPLINK), &end("up0", INTERNET), &internet).await.unwrap();
    let here = link::find(&inside, "eth0").await.unwrap().unwrap().index;
    let there = link::find(&outside, "up0").await.unwrap().unwrap().index;
    let gateway = "172.17.0.1".parse().unwrap();
    address::ensure(&inside, here, "172.17.0.2/16".parse().unwrap()).await.unwrap();
    link::ensure_up(&inside, here).await.unwrap();
    link::ensure_up(&outside, LOOPBACK).await.unwrap();
    link::ensure_up(&outside, there).await.unwrap();
    neighbour::ensure(&inside, here, gateway, INTERNET).await.unwrap();
    route::ensure(&inside, Route { destination: "172.17.0.1/32".parse().unwrap(), hop: Hop::Link(here) })
        .await
        .unwrap();
    let default = Route { destination: "0.0.0.0/0".parse().unwrap(), hop: Hop::Gateway(gateway, here) };
    route::ensure(&inside, default).await.unwrap();
    for own in ["203.0.113.9/32", "10.0.0.77/32"] {
        address::ensure(&outside, LOOPBACK, own.parse().unwrap()).await.unwrap();
    }
    let no_check = Sysctl::new("ipv4/conf/all/rp_filter", "0");
    sysctl::ensure(&internet, &[no_check, Sysctl::new("ipv4/conf/up0/rp_filter", "0")]).unwrap();
    internet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_to_an_address_that_nobody_has_does_not_leave_by_the_uplink() {
    let Some(lab) = Lab::open().await else { return };
    let internet = uplink(lab.vpc.netns()).await;
    lab.vpc.ensure_router(&lab.router).await.unwrap();
    let task = lab.task(1, "10.0.0.10").await;
    let nobody = packets::udp(&internet, "10.0.0.77:4000");
    let outside = packets::udp(&internet, "203.0.113.9:4000");
    let sender = packets::udp(&task.netns, "0.0.0.0:0");
    sender.send_to(b"lost", nobody.local_addr().unwrap()).unwrap();
    // Comes by the same way later, so when it is there the other would be too.
    let (_, from) = packets::send_udp(&sender, &outside, "found");
    assert_eq!(from.ip().to_string(), "10.0.0.10");
    assert!(packets::is_empty(&nobody));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_router_leaves_nothing_of_the_earlier_one() {
    let Some(lab) = Lab::open_dual_stack().await else { return };
    assert!(lab.vpc.observe().await.unwrap().router_matches(&lab.router));
    let mut changed = lab::router(false);
    changed.subnets.truncate(1);
    changed.cidrs = vec!["10.0.0.0/17".parse().unwrap()];
    let seen = lab.vpc.observe().await.unwrap();
    assert!(!seen.router_matches(&changed));
    lab.vpc.ensure_router(&changed).await.unwrap();
    let seen = lab.vpc.observe().await.unwrap();
    assert!(seen.router_matches(&changed), "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_of_the_router_is_seen_and_mended_and_the_uplink_stays() {
    let Some(lab) = Lab::open().await else { return };
    let _internet = uplink(lab.vpc.netns()).await;
    let socket = RouteSocket::open(lab.vpc.netns()).unwrap();
    let before = (link::find(&socket, "eth0").await.unwrap(), route::list(&socket).await.unwrap());
    let blackhole = Route { destination: "10.0.0.0/16".parse().unwrap(), hop: Hop::Blackhole };
    for drift in 0..6 {
        match drift {
            0 => route::remove(&socket, blackhole).await.unwrap(),
            1 => address::remove(&socket, LOOPBACK, "10.0.1.1/32".parse().unwrap()).await.unwrap(),
            2 => address::ensure(&socket, LOOPBACK, "10.0.9.1/32".parse().unwrap()).await.unwrap(),
            3 => sysctl::ensure(lab.vpc.netns(), &[Sysctl::new("ipv4/ip_forward", "0")]).unwrap(),
            4 => {
                let linux_own = Sysctl::new("netfilter/nf_conntrack_udp_timeout_stream", "120");
                sysctl::ensure(lab.vpc.netns(), &[linux_own]).unwrap();
            }
            _ => {
                let down = LinkChange { up: Some(false), ..LinkChange::default() };
                link::set(&socket, LOOPBACK, &down).await.unwrap();
            }
        }
        let seen = lab.vpc.observe().await.unwrap();
        assert!(!seen.router_matches(&lab.router), "drift {drift}: {seen:#?}");
        lab.vpc.ensure_router(&lab.router).await.unwrap();
        let seen = lab.vpc.observe().await.unwrap();
        assert!(seen.router_matches(&lab.router), "drift {drift}: {seen:#?}");
    }
    let after = (link::find(&socket, "eth0").await.unwrap(), route::list(&socket).await.unwrap());
    assert_eq!(after, before);
}

/// Reference 4.4; how long real flows are kept is in `conntrack.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_flows_are_kept_as_long_as_in_ec2() {
    let Some(lab) = Lab::open().await else { return };
    let kept = |name: &str| sysctl::read(lab.vpc.netns(), &format!("netfilter/nf_conntrack_{name}")).unwrap();
    for (name, seconds) in [
        ("tcp_timeout_established", "432000"),
        ("udp_timeout", "30"),
        ("udp_timeout_stream", "180"),
        ("generic_timeout", "600"),
    ] {
        assert_eq!(kept(name).as_deref(), Some(seconds), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_reaches_the_resolver_and_metadata_addresses() {
    let Some(lab) = Lab::open().await else { return };
    let task = lab.task(1, "10.0.1.10").await;
    for address in ["10.0.0.2", "169.254.169.253", "169.254.170.2"] {
        let server = packets::udp(lab.vpc.netns(), &format!("{address}:53"));
        let client = packets::udp(&task.netns, "0.0.0.0:0");
        let (_, sender) = packets::send_udp(&client, &server, "query");
        server.send_to(b"answer", sender).unwrap();
        assert_eq!(packets::received(&client), ("answer".to_owned(), server.local_addr().unwrap()));
    }
}
