//! The host's way into a VPC, with a throw-away namespace in the host's place. Needs root; skips, and says so, without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ipnetwork::IpNetwork;
use lab::Lab;
use netmodes::ids::{GroupId, VpcId};
use netmodes::kernel::link::{self, LOOPBACK, VethEnd};
use netmodes::kernel::netns::Netns;
use netmodes::kernel::route::{self, Hop, Route};
use netmodes::kernel::socket::RouteSocket;
use netmodes::nft::Filter;
use netmodes::security::group::{Peer, PortRange, Rule, Ruleset, SecurityGroup, Traffic};
use netmodes::vpc::eni::{Eni, MacAddress};
use netmodes::vpc::router::{HOST_ADDRESS, Router, host_link_name};

const PATIENCE: Duration = Duration::from_millis(500);

fn connect(from: &Netns, to: &str) -> Result<(), ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    from.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().map(drop).map_err(|error| error.kind())
}

fn listen(netns: &Netns, address: &str) -> TcpListener {
    netns.run(|| TcpListener::bind(address)).unwrap().unwrap()
}

async fn host() -> Netns {
    let host = Netns::anonymous().unwrap();
    link::ensure_up(&RouteSocket::open(&host).unwrap(), LOOPBACK).await.unwrap();
    host
}

fn with_access(lab: &Lab, number: u128) -> Router {
    Router { host_link: Some(host_link_name(&VpcId::from_bits(number))), ..lab.router.clone() }
}

#[tokio::test]
async fn the_host_gets_where_an_ingress_rule_names_it_and_nothing_gets_out_to_it() {
    let Some(lab) = Lab::open().await else { return };
    let (host, router) = (host().await, with_access(&lab, 1));
    let task = lab.task(1, "10.0.0.4").await;
    let group = GroupId::from_bits(1);
    let port = |port| Traffic::Tcp(PortRange { first: port, last: port });
    let rules = SecurityGroup {
        id: group.clone(),
        name: "open".into(),
        ingress: vec![Rule { traffic: port(80), peer: Peer::Cidr(IpNetwork::from(HOST_ADDRESS)) }],
        egress: vec![Rule { traffic: Traffic::All, peer: Peer::Cidr("0.0.0.0/0".parse().unwrap()) }],
    };
    let eni = Eni { groups: vec![group.clone()], ..task.eni.clone() };
    let ruleset = Ruleset {
        flow_log: false,
        router: router.clone(),
        groups: BTreeMap::from([(group, rules)]),
        enis: BTreeMap::from([(eni.id.clone(), eni)]),
    };
    Filter::open(lab.vpc.netns()).unwrap().ensure(&ruleset).unwrap();
    assert!(!lab.vpc.observe().await.unwrap().router_matches(&router));
    // Twice: the second time there is nothing to do.
    for _ in 0..2 {
        lab.vpc.ensure_host_link(&router, &host).await.unwrap();
        assert!(lab.vpc.observe().await.unwrap().router_matches(&router));
    }

    let (open, closed) = (listen(&task.netns, "10.0.0.4:80"), listen(&task.netns, "10.0.0.4:81"));
    connect(&host, "10.0.0.4:80").unwrap();
    assert_eq!(open.accept().unwrap().1.ip(), HOST_ADDRESS, "the task sees the host's own address");
    assert_eq!(connect(&host, "10.0.0.4:81"), Err(ErrorKind::TimedOut), "no rule names this port");
    drop(closed);
    let service = listen(&host, &format!("{HOST_ADDRESS}:8080"));
    assert_eq!(connect(&task.netns, &format!("{HOST_ADDRESS}:8080")), Err(ErrorKind::TimedOut));
    assert_eq!(connect(&host, &format!("{HOST_ADDRESS}:8080")), Ok(()), "it does listen");
    drop(service);

    lab.vpc.ensure_host_link(&lab.router, &host).await.unwrap();
    assert!(lab.vpc.observe().await.unwrap().router_matches(&lab.router));
    let outside = RouteSocket::open(&host).unwrap();
    assert_eq!(link::list(&outside).await.unwrap().len(), 1, "only lo is left");
    assert_eq!(route::list(&outside).await.unwrap(), []);
}

#[tokio::test]
async fn an_end_that_leads_to_an_earlier_namespace_is_replaced() {
    let Some(first) = Lab::open().await else { return };
    let Some(second) = Lab::open().await else { return };
    let (host, router) = (host().await, with_access(&first, 1));
    first.vpc.ensure_host_link(&router, &host).await.unwrap();
    second.vpc.ensure_host_link(&router, &host).await.unwrap();
    assert!(second.vpc.observe().await.unwrap().router_matches(&router));
    assert!(!first.vpc.observe().await.unwrap().router_matches(&router));
}

#[tokio::test]
async fn a_route_that_the_host_has_already_is_named_and_left() {
    let Some(lab) = Lab::open().await else { return };
    let (host, elsewhere) = (host().await, Netns::anonymous().unwrap());
    let outside = RouteSocket::open(&host).unwrap();
    let end = |name| VethEnd { name, mac: MacAddress([2, 0, 0, 0, 0, 9]), mtu: 1500 };
    link::create_veth(&outside, &end("office0"), &end("other"), &elsewhere).await.unwrap();
    let office = link::find(&outside, "office0").await.unwrap().unwrap().index;
    link::ensure_up(&outside, office).await.unwrap();
    let taken = Route { destination: "10.0.128.0/17".parse().unwrap(), hop: Hop::Link(office) };
    route::ensure(&outside, taken).await.unwrap();

    let refused = lab.vpc.ensure_host_link(&with_access(&lab, 1), &host).await.unwrap_err().to_string();
    assert!(refused.contains("10.0.128.0/17 over office0") && refused.contains("10.0.0.0/16"), "{refused}");
    assert_eq!(route::list(&outside).await.unwrap(), [taken]);

    // A second VPC with the same block is one that overlaps; one with another block is not.
    route::remove(&outside, taken).await.unwrap();
    lab.vpc.ensure_host_link(&with_access(&lab, 1), &host).await.unwrap();
    let Some(second) = Lab::open().await else { return };
    let router = with_access(&second, 2);
    assert!(second.vpc.ensure_host_link(&router, &host).await.is_err());
    let router = Router { cidrs: vec!["10.1.0.0/16".parse().unwrap()], ..router };
    second.vpc.ensure_host_link(&router, &host).await.unwrap();
}
