//! Host ports, NAT and what it keeps out, with real packets (reference 1.5, 1.7; pitfalls 1, 6, 7). Needs root and `nft`, no
//! Docker; skips, and says so, without root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use lab::bridge::{
    SILENCE, Stage, ask, ask_by, ask_tcp, ask_udp, asker, both, container, instance_network, open_group, serve, tool,
};
use netmodes::ids::GroupId;
use netmodes::kernel::netns::Netns;
use netmodes::nft::Transport;
use netmodes::security::group::{Peer, PortRange, Rule, SecurityGroup, Traffic};

fn answer(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_eni_reaches_a_container_by_the_instances_address_and_host_port() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let (web, api) = (instance.container(2).await, instance.container(3).await);
    serve(&web.netns, "0.0.0.0:80", "web");
    serve(&api.netns, "0.0.0.0:80", "api");
    instance.publish(&[both(32768, 2, 80), both(32769, 3, 80)].concat());
    // As it is: a host port hides the container, not the client.
    assert_eq!(ask(&client.netns, "10.0.0.20:32768"), answer("web 10.0.1.10"));
    assert_eq!(ask(&client.netns, "10.0.0.20:32769"), answer("api 10.0.1.10"));
    assert_eq!(ask_tcp(&client.netns, "10.0.0.20:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask_udp(&client.netns, "10.0.0.20:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);

    instance.publish(&both(80, 3, 80));
    assert_eq!(ask(&client.netns, "10.0.0.20:80"), answer("api 10.0.1.10"));
    assert_eq!(ask(&client.netns, "10.0.0.20:32768"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_and_the_instance_itself_reach_host_ports_by_every_address_of_the_instance() {
    let Some(mut stage) = Stage::open().await else { return };
    let instance = stage.instance(2, "10.0.0.20").await;
    let host = instance.network.netns();
    // What a host may have been set to, and namespaces inherit.
    for link in ["all", "docker0", "eth0"] {
        tool(host, &format!("sysctl -w net.ipv4.conf.{link}.rp_filter=1"));
    }
    let (web, other) = (instance.container(2).await, instance.container(3).await);
    serve(&web.netns, "0.0.0.0:80", "web");
    instance.publish(&both(32768, 2, 80));
    for to in ["10.0.0.20:32768", "172.17.0.1:32768"] {
        assert_eq!(ask(&other.netns, to), answer("web 172.17.0.1"), "from another container");
        assert_eq!(ask(&web.netns, to), answer("web 172.17.0.1"), "from itself");
    }
    assert_eq!(ask(host, "127.0.0.1:32768"), answer("web 172.17.0.1"));
    assert_eq!(ask(host, "10.0.0.20:32768"), answer("web 10.0.0.20"));
    assert_eq!(ask(host, "172.17.0.1:32768"), answer("web 172.17.0.1"));
    // Without a port there is no translation: over the bridge, and on the instance.
    assert_eq!(ask(&other.netns, "172.17.0.2:80"), answer("web 172.17.0.3"));
    assert_eq!(ask(host, "172.17.0.2:80"), answer("web 172.17.0.1"));
    for address in ["10.0.0.20:9000", "127.0.0.1:9000"] {
        serve(host, address, "host");
    }
    assert_eq!(ask(&web.netns, "10.0.0.20:9000"), answer("host 172.17.0.2"));
    assert_eq!(ask(host, "127.0.0.1:9000"), answer("host 127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vpc_sees_the_instance_and_its_groups_judge_that() {
    let Some(mut stage) = Stage::open().await else { return };
    let server = stage.task(1, "10.0.1.10").await;
    let (one, two) = (stage.instance(2, "10.0.0.20").await, stage.instance(3, "10.0.0.21").await);
    let (on_one, on_two) = (one.container(2).await, two.container(2).await);
    serve(&server.netns, "0.0.0.0:80", "server");
    assert_eq!(ask(&on_one.netns, "10.0.1.10:80"), answer("server 10.0.0.20"));
    assert_eq!(ask(&on_two.netns, "10.0.1.10:80"), answer("server 10.0.0.21"));
    // The same address on the other instance is somebody else.
    serve(&on_two.netns, "0.0.0.0:80", "two");
    two.publish(&both(32768, 2, 80));
    assert_eq!(ask(&on_one.netns, "10.0.0.21:32768"), answer("two 10.0.0.20"));
    assert_eq!(ask(&on_one.netns, "172.17.0.2:80"), None);

    let from_one = Rule { traffic: Traffic::All, peer: Peer::Cidr("10.0.0.20/32".parse().unwrap()) };
    let group = GroupId::from_bits(2);
    let only_one = SecurityGroup { id: group.clone(), name: "one".into(), ingress: vec![from_one], egress: vec![] };
    stage.ruleset.groups.insert(group.clone(), only_one);
    stage.ruleset.enis.get_mut(&server.eni.id).unwrap().groups = vec![group];
    stage.filter.ensure(&stage.ruleset).unwrap();
    assert_eq!(ask(&on_one.netns, "10.0.1.10:80"), answer("server 10.0.0.20"));
    assert_eq!(ask(&on_two.netns, "10.0.1.10:80"), None);

    // The instance's group must allow the host port; the container's says nothing.
    for (port, reached) in [(80, None), (32768, answer("two 10.0.1.10"))] {
        let ports = PortRange { first: port, last: port };
        let peer = Peer::Cidr("0.0.0.0/0".parse().unwrap());
        let rules = [Traffic::Tcp(ports), Traffic::Udp(ports)].map(|traffic| Rule { traffic, peer: peer.clone() });
        stage.ruleset.groups.get_mut(&open_group()).unwrap().ingress = rules.to_vec();
        stage.ruleset.groups.get_mut(&GroupId::from_bits(2)).unwrap().egress =
            vec![Rule { traffic: Traffic::All, peer: peer.clone() }];
        stage.filter.ensure(&stage.ruleset).unwrap();
        assert_eq!(ask(&server.netns, "10.0.0.21:32768"), reached, "allowed: {port}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_mode_processes_are_reached_at_the_eni_but_for_the_introspection_port() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let (inside, host) = (instance.container(2).await, instance.network.netns());
    for address in ["10.0.0.20:8080", "10.0.0.20:51678"] {
        serve(host, address, "host");
    }
    assert_eq!(ask(&client.netns, "10.0.0.20:8080"), answer("host 10.0.1.10"));
    assert_eq!(ask_tcp(&client.netns, "10.0.0.20:51678").unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ask(&inside.netns, "10.0.0.20:51678"), answer("host 172.17.0.2"));
    assert_eq!(ask(host, "10.0.0.20:51678"), answer("host 10.0.0.20"));
}

/// Whether the server behind `to` answers now that the chain `prerouting` is gone, and then again that it is back.
async fn only_the_rules_are_in_the_way(network: &netmodes::instance_network::InstanceNetwork, from: &Netns, to: &str) {
    assert_eq!(ask(from, to), None, "{to}");
    tool(network.netns(), "nft flush chain inet ecsnet prerouting");
    assert!(ask(from, to).is_some(), "the packets to {to} arrive, so the rules are what stops them");
    assert!(!network.observe().await.unwrap().bridge_ready);
    network.ensure_instance().await.unwrap();
    assert_eq!(ask(from, to), None, "{to}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_is_out_of_reach_from_the_bridge_and_from_the_eni() {
    let Some(lab) = lab::Lab::open().await else { return };
    let network = instance_network().await;
    network.ensure_instance().await.unwrap();
    let eni = lab::eni(2, &["10.0.0.20"]);
    lab.vpc.ensure_eni(&eni, network.netns()).await.unwrap();
    let inside = container(&network, 2).await;
    serve(network.netns(), "127.0.0.1:9000", "host");
    // An attacker sends to 127.0.0.1 by way of the instance, and takes answers from there.
    tool(&inside.netns, "sysctl -w net.ipv4.conf.all.route_localnet=1");
    tool(&inside.netns, "ip address del 127.0.0.1/8 dev lo");
    tool(&inside.netns, "ip route add 127.0.0.1/32 via 172.17.0.1");
    only_the_rules_are_in_the_way(&network, &inside.netns, "127.0.0.1:9000").await;
    // The kernel closes it too as long as nobody opens route_localnet everywhere, which the ECS agent does.
    tool(network.netns(), "sysctl -w net.ipv4.conf.all.route_localnet=1");
    let link = netmodes::vpc::eni::Eni::link_name(&eni.id);
    let router = lab.vpc.netns();
    tool(router, "sysctl -w net.ipv4.conf.all.route_localnet=1");
    tool(router, "ip address del 127.0.0.1/8 dev lo");
    tool(router, &format!("ip route add 127.0.0.1/32 via 10.0.0.20 dev {link} onlink src 10.0.0.1"));
    only_the_rules_are_in_the_way(&network, router, "127.0.0.1:9000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_not_reached_by_its_own_address_from_outside() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let web = instance.container(2).await;
    serve(&web.netns, "0.0.0.0:80", "web");
    instance.publish(&both(32768, 2, 80));
    // Even if the VPC's router led it there, and let the answers pass.
    stage.ruleset.enis.get_mut(&instance.eni.id).unwrap().source_check = false;
    stage.filter.ensure(&stage.ruleset).unwrap();
    let link = netmodes::vpc::eni::Eni::link_name(&instance.eni.id);
    tool(stage.lab.vpc.netns(), &format!("ip route add 172.17.0.0/16 via 10.0.0.20 dev {link} onlink"));
    assert_eq!(ask(&client.netns, "172.17.0.2:80"), None);
    assert_eq!(ask(&client.netns, "172.17.0.1:32768"), None, "nor a host port by the bridge's address");
    tool(instance.network.netns(), "nft flush chain inet ecsnet prerouting");
    assert_eq!(ask(&client.netns, "172.17.0.1:32768"), answer("web 10.0.1.10"), "packets arrive");
    assert_eq!(ask(&client.netns, "172.17.0.2:80"), None, "and forwarding alone would have stopped this one");
    assert_eq!(ask(&client.netns, "10.0.0.20:32768"), answer("web 10.0.1.10"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_sends_under_its_own_address_alone() {
    let Some(mut stage) = Stage::open().await else { return };
    let instance = stage.instance(2, "10.0.0.20").await;
    let web = instance.container(2).await;
    serve(instance.network.netns(), "10.0.0.20:9000", "host");
    tool(&web.netns, "ip address add 192.168.7.7/32 dev lo");
    tool(instance.network.netns(), "ip route add 192.168.7.7/32 via 172.17.0.2");
    tool(&web.netns, "ip route add 10.0.0.20/32 via 172.17.0.1 src 192.168.7.7");
    only_the_rules_are_in_the_way(&instance.network, &web.netns, "10.0.0.20:9000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_flow_goes_on_while_ports_are_replaced() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let (web, api) = (instance.container(2).await, instance.container(3).await);
    serve(&api.netns, "0.0.0.0:80", "api");
    instance.publish(&[both(32768, 2, 80), both(32769, 3, 80)].concat());
    let listener = web.netns.run(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
    let address = "10.0.0.20:32768".parse().unwrap();
    let mut near = client.netns.run(|| TcpStream::connect_timeout(&address, SILENCE)).unwrap().unwrap();
    let (mut far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(SILENCE)).unwrap();
    }
    let mut carries = |what: &str| {
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{what}: {error}"));
        far.write_all(b"y").unwrap();
        near.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{what}, back: {error}"));
    };
    carries("before");
    instance.publish(&[both(32768, 3, 80), both(32770, 3, 80)].concat());
    carries("the port leads elsewhere");
    assert_eq!(ask(&client.netns, "10.0.0.20:32768"), answer("api 10.0.1.10"));
    assert_eq!(ask(&client.netns, "10.0.0.20:32769"), None);
    assert_eq!(ask(&client.netns, "10.0.0.20:32770"), answer("api 10.0.1.10"));
    instance.publish(&[]);
    carries("no port at all");
    assert_eq!(ask(&client.netns, "10.0.0.20:32768"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_port_next_gets_new_flows_only() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let network = &instance.network;
    let old = instance.container(2).await;
    serve(&old.netns, "0.0.0.0:80", "old");
    instance.publish(&both(32768, 2, 80));
    let neighbour = instance.container(4).await;
    // One socket each, so the same ports throughout: what is tracked of the old one would be taken for the new one.
    let sockets = [asker(&client.netns, 4000), asker(&neighbour.netns, 4001), asker(network.netns(), 4002)];
    let seen = |what: &str| sockets.each_ref().map(|socket| ask_by(socket, what, 1).ok());
    let to = "10.0.0.20:32768";
    assert_eq!(seen(to), [answer("old 10.0.1.10"), answer("old 172.17.0.1"), answer("old 10.0.0.20")]);

    instance.publish(&[]);
    network.remove_attachment(&old.attachment.id).await.unwrap();
    let forgotten = network.forget_flows(old.attachment.address.into()).await.unwrap();
    assert!(forgotten >= 3, "{forgotten}");
    assert_eq!(network.forget_flows(old.attachment.address.into()).await.unwrap(), 0);
    // They go on asking while nobody has the port, which makes flows that lead nowhere.
    assert_eq!(seen(to), [None, None, None]);

    let new = instance.container(3).await;
    serve(&new.netns, "0.0.0.0:80", "new");
    instance.publish(&both(32768, 3, 80));
    assert_eq!(seen(to), [answer("new 10.0.1.10"), answer("new 172.17.0.1"), answer("new 10.0.0.20")]);
    assert_eq!(ask_tcp(&client.netns, to).unwrap(), "new 10.0.1.10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_metadata_is_asked_at_port_80_wherever_it_listens_and_by_nobody_outside() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let (network, web) = (&instance.network, instance.container(2).await);
    serve(&web.netns, "0.0.0.0:80", "web");
    serve(network.netns(), "169.254.170.2:51679", "metadata");
    network.ensure_metadata_port(Some(51679)).unwrap();
    instance.publish(&both(80, 2, 80));
    for from in [&web.netns, network.netns()] {
        assert!(ask_tcp(from, "169.254.170.2:80").unwrap().starts_with("metadata"));
    }
    // By this the front knows whose metadata is asked for.
    assert_eq!(ask_tcp(&web.netns, "169.254.170.2:80").unwrap(), "metadata 172.17.0.2");
    assert_eq!(ask(network.netns(), "127.0.0.1:80"), answer("web 172.17.0.1"));
    let link = netmodes::vpc::eni::Eni::link_name(&instance.eni.id);
    tool(stage.lab.vpc.netns(), "ip address del 169.254.170.2/32 dev lo");
    tool(stage.lab.vpc.netns(), &format!("ip route add 169.254.170.2/32 via 10.0.0.20 dev {link} onlink"));
    assert!(ask_tcp(&client.netns, "169.254.170.2:51679").is_err());
    assert!(ask_tcp(&client.netns, "169.254.170.2:80").is_err());

    network.ensure_metadata_port(None).unwrap();
    assert_eq!(ask_tcp(&web.netns, "169.254.170.2:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask(&client.netns, "10.0.0.20:80"), answer("web 10.0.1.10"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_unavailable_while_a_process_of_the_instance_has_it_at_any_address() {
    use Transport::{Tcp, Udp};
    let Some(mut stage) = Stage::open().await else { return };
    let instance = stage.instance(2, "10.0.0.20").await;
    let (network, host) = (&instance.network, instance.network.netns());
    for (port, address) in
        [(8001, "0.0.0.0"), (8002, "127.0.0.1"), (8003, "10.0.0.20"), (8004, "[::]"), (80, "169.254.170.2")]
    {
        serve(host, &format!("{address}:{port}"), "host");
    }
    let udp_only = asker(host, 8005);
    let asked: Vec<_> =
        [80, 8001, 8002, 8003, 8004, 8005, 8006].into_iter().flat_map(|p| [(Tcp, p), (Udp, p)]).collect();
    let taken: BTreeSet<_> = network.unavailable_ports(&asked).unwrap().into_iter().collect();
    let mut wanted: BTreeSet<_> = (8001..=8004).flat_map(|port| [(Tcp, port), (Udp, port)]).collect();
    wanted.insert((Udp, 8005));
    assert_eq!(taken, wanted);
    drop(udp_only);
    assert_eq!(network.unavailable_ports(&[(Udp, 8005), (Tcp, 8006)]).unwrap(), []);
    // What a container has bound is not in the instance.
    let web = instance.container(2).await;
    serve(&web.netns, "0.0.0.0:8006", "web");
    assert_eq!(network.unavailable_ports(&[(Tcp, 8006)]).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_find_back_through_the_translation() {
    let Some(mut stage) = Stage::open().await else { return };
    let client = stage.task(1, "10.0.1.10").await;
    let instance = stage.instance(2, "10.0.0.20").await;
    let web = instance.container(2).await;
    serve(&web.netns, "0.0.0.0:80", "web");
    instance.publish(&[both(32768, 2, 80), both(32769, 2, 81)].concat());
    let socket = asker(&client.netns, 0);
    // The first one is lost, and told to be too big for the link behind the translation; the next is cut by its sender.
    assert!(ask_by(&socket, "10.0.0.20:32768", 8000).is_err());
    assert_eq!(ask_by(&socket, "10.0.0.20:32768", 8000).ok(), answer("web 10.0.1.10"));
    assert_eq!(ask_by(&asker(&web.netns, 0), "172.17.0.1:32768", 8000).ok(), answer("web 172.17.0.1"));
    assert_eq!(ask_tcp(&client.netns, "10.0.0.20:32769").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ask_udp(&client.netns, "10.0.0.20:32769").unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
