//! An instance's bridge and its containers' links as they are read back: repeated, many, changed by others. Needs root; skips,
//! and says so, without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use lab::bridge::{Container, Stage, ask, attachment, both, container, instance_network, serve, tool};
use netmodes::bridge::{Attachment, AttachmentId, BridgePort, ObservedInstance, next_bridge_address};
use netmodes::instance_network::InstanceNetwork;
use netmodes::kernel::netns::Netns;
use netmodes::observe::observe_owner;

/// A made instance without an ENI, or `None`, said aloud.
async fn instance() -> Option<InstanceNetwork> {
    drop(lab::namespace()?);
    let network = instance_network().await;
    network.ensure_instance().await.unwrap();
    Some(network)
}

async fn is_whole(network: &InstanceNetwork, container: &Container) -> bool {
    let inside = observe_owner(&container.netns).await.unwrap();
    inside.loopback_up
        && inside.eth0 == Some(container.attachment.container_end())
        && network.observe().await.unwrap().attachment_matches(&container.attachment)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_is_read_back_and_each_verb_may_be_repeated() {
    let Some(network) = instance().await else { return };
    let nothing = ObservedInstance { bridge_ready: true, ..ObservedInstance::default() };
    assert_eq!(network.observe().await.unwrap(), nothing, "before any ENI");

    let one = container(&network, 2).await;
    let ports = BTreeSet::from(both(32768, 2, 80));
    network.ensure_ports(&ports).unwrap();
    network.ensure_metadata_port(Some(51679)).unwrap();
    let attachments = BTreeMap::from([(one.attachment.id.clone(), BridgePort::of(&one.attachment))]);
    let wanted = ObservedInstance { bridge_ready: true, attachments, ports: ports.clone(), metadata_port: Some(51679) };
    assert_eq!(network.observe().await.unwrap(), wanted);
    assert!(is_whole(&network, &one).await);

    let links = || tool(network.netns(), "ip -o link") + &tool(&one.netns, "ip -o address");
    let before = links();
    for _ in 0..2 {
        network.ensure_instance().await.unwrap();
        network.ensure_attachment(&one.attachment, &one.netns).await.unwrap();
        network.ensure_ports(&ports).unwrap();
        network.ensure_metadata_port(Some(51679)).unwrap();
    }
    assert_eq!(links(), before, "nothing was made anew");
    assert_eq!(network.observe().await.unwrap(), wanted);

    // An agent that starts finds it all, and what it makes again keeps the ports.
    let again = InstanceNetwork::open(network.netns().try_clone().unwrap()).await.unwrap();
    again.ensure_instance().await.unwrap();
    assert_eq!(again.observe().await.unwrap(), wanted);
    let json = serde_json::to_string(&wanted).unwrap();
    assert_eq!(serde_json::from_str::<ObservedInstance>(&json).unwrap(), wanted);

    again.ensure_ports(&BTreeSet::new()).unwrap();
    again.ensure_metadata_port(None).unwrap();
    for _ in 0..2 {
        again.remove_attachment(&one.attachment.id).await.unwrap();
        assert_eq!(again.forget_flows(one.attachment.address.into()).await.unwrap(), 0);
    }
    assert_eq!(again.observe().await.unwrap(), nothing);
    assert!(!tool(&one.netns, "ip -o link").contains("eth0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_has_dockers_bridge_beside_its_eni() {
    let Some(mut stage) = Stage::open().await else { return };
    let instance = stage.instance(2, "10.0.0.20").await;
    let one = instance.container(2).await;
    let links = tool(instance.network.netns(), "ip -o link show docker0");
    assert!(links.contains("mtu 1500") && links.contains("02:42:ac:11:00:01"), "{links}");
    assert!(tool(instance.network.netns(), "ip -o link show eth0").contains("mtu 9001"));
    assert!(tool(&one.netns, "ip -o link show eth0").contains("mtu 1500"));
    let routes = tool(&one.netns, "ip route");
    assert!(
        routes.contains("default via 172.17.0.1 dev eth0") && routes.contains("172.17.0.0/16 dev eth0"),
        "{routes}"
    );
    // The ENI is as it should be with the bridge beside it, and the bridge with the ENI made again.
    stage.lab.vpc.ensure_eni(&instance.eni, instance.network.netns()).await.unwrap();
    assert!(observe_owner(instance.network.netns()).await.unwrap().matches(&instance.eni));
    assert!(stage.lab.vpc.observe().await.unwrap().eni_matches(&instance.eni));
    assert!(instance.network.observe().await.unwrap().bridge_ready);
    // An ENI with IPv6 gives the bridge none.
    let dual = lab::Lab::open_dual_stack().await.unwrap();
    let second = instance_network().await;
    second.ensure_instance().await.unwrap();
    dual.vpc.ensure_eni(&lab::eni(3, &["10.0.0.21", "2600:1f00::21"]), second.netns()).await.unwrap();
    second.ensure_instance().await.unwrap();
    assert!(!tool(second.netns(), "ip -o -6 address").contains("docker0"));
    assert!(second.observe().await.unwrap().bridge_ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_containers_fit_on_one_bridge() {
    let Some(network) = instance().await else { return };
    let (mut taken, mut last, mut containers) = (BTreeSet::new(), None, Vec::new());
    for number in 0..200 {
        let address = next_bridge_address(&taken, last).unwrap();
        taken.insert(address);
        last = Some(address);
        let attachment = Attachment::new(AttachmentId::from_bits(number), address);
        containers.push(Container { attachment, netns: Netns::anonymous().unwrap() });
    }
    // Side by side, as an agent's steps are.
    for some in containers.chunks(10) {
        try_join_all(some.iter().map(|one| network.ensure_attachment(&one.attachment, &one.netns))).await.unwrap();
    }
    let ports: BTreeSet<_> = (2..=201).flat_map(|last| both(32768 + u16::from(last), last, 80)).collect();
    network.ensure_ports(&ports).unwrap();
    let observed = network.observe().await.unwrap();
    assert!(observed.bridge_ready && observed.ports == ports);
    let wanted = containers.iter().map(|one| (one.attachment.id.clone(), BridgePort::of(&one.attachment)));
    assert_eq!(observed.attachments, wanted.collect());
    let (first, end) = (&containers[0], &containers[199]);
    serve(&end.netns, "0.0.0.0:80", "end");
    assert_eq!(ask(&first.netns, "172.17.0.201:80").unwrap(), "end 172.17.0.2");
    assert_eq!(ask(network.netns(), "127.0.0.1:32969").unwrap(), "end 172.17.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_change_is_seen_and_repaired() {
    let Some(network) = instance().await else { return };
    let one = container(&network, 2).await;
    serve(&one.netns, "0.0.0.0:80", "one");
    let ports = BTreeSet::from(both(32768, 2, 80));
    network.ensure_ports(&ports).unwrap();
    for tampering in [
        "ip link set docker0 down",
        "ip link set docker0 mtu 9000",
        "ip link set docker0 address 02:42:00:00:00:09",
        "ip address del 172.17.0.1/16 dev docker0",
        "ip address add 172.18.0.1/16 dev docker0",
        "ip route del 172.17.0.0/16 dev docker0",
        "ip address del 169.254.170.2/32 dev lo",
        "ip link del docker0",
        "sysctl -w net.ipv4.ip_forward=0",
        "sysctl -w net.ipv4.conf.docker0.route_localnet=0",
        "nft delete table inet ecsnet",
        "nft add rule inet ecsnet forward accept",
        "nft delete chain inet ecsnet postrouting",
    ] {
        tool(network.netns(), tampering);
        assert!(!network.observe().await.unwrap().bridge_ready, "{tampering}");
        network.ensure_instance().await.unwrap();
        network.ensure_attachment(&one.attachment, &one.netns).await.unwrap();
        network.ensure_ports(&ports).unwrap();
        let observed = network.observe().await.unwrap();
        assert!(observed.bridge_ready && observed.ports == ports, "{tampering}");
        assert!(is_whole(&network, &one).await, "{tampering}");
        assert_eq!(ask(network.netns(), "127.0.0.1:32768").unwrap(), "one 172.17.0.1", "{tampering}");
    }
    let port = one.attachment.id.link_name();
    for (netns, tampering) in [
        (network.netns(), format!("ip link set {port} nomaster")),
        (network.netns(), format!("ip link set {port} down")),
        (network.netns(), format!("ip link set {port} mtu 9000")),
        (network.netns(), format!("ip link del {port}")),
        (&one.netns, "ip link set eth0 down".to_owned()),
        (&one.netns, "ip link set lo down".to_owned()),
        (&one.netns, "ip address add 172.17.0.9/16 dev eth0".to_owned()),
        (&one.netns, "ip route del default".to_owned()),
        (&one.netns, "ip link set eth0 address 02:42:00:00:00:09".to_owned()),
    ] {
        tool(netns, &tampering);
        assert!(!is_whole(&network, &one).await, "{tampering}");
        network.ensure_attachment(&one.attachment, &one.netns).await.unwrap();
        assert!(is_whole(&network, &one).await, "{tampering}");
        assert_eq!(ask(network.netns(), "127.0.0.1:32768").unwrap(), "one 172.17.0.1", "{tampering}");
    }
    let added = "nft add element inet ecsnet ports { tcp . 99 : 172.17.0.2 . 80 }";
    tool(network.netns(), added);
    let observed = network.observe().await.unwrap();
    assert!(observed.bridge_ready && observed.ports.len() == 3, "a port too many is the ports' drift");
    network.ensure_ports(&ports).unwrap();
    assert_eq!(network.observe().await.unwrap().ports, ports);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_left_of_an_earlier_container_or_instance_is_replaced() {
    let Some(network) = instance().await else { return };
    let first = container(&network, 2).await;
    // The container's holder came back with another namespace.
    let again = Container { attachment: attachment(2), netns: Netns::anonymous().unwrap() };
    network.ensure_attachment(&again.attachment, &again.netns).await.unwrap();
    assert!(is_whole(&network, &again).await && !is_whole(&network, &first).await);
    // The instance's holder did.
    let second = instance_network().await;
    second.ensure_instance().await.unwrap();
    second.ensure_attachment(&again.attachment, &again.netns).await.unwrap();
    assert!(is_whole(&second, &again).await);
    assert_eq!(network.observe().await.unwrap().attachments, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let Some(network) = instance().await else { return };
    let bare = instance_network().await;
    let (wanted, elsewhere) = (attachment(2), Netns::anonymous().unwrap());
    let message = bare.ensure_attachment(&wanted, &elsewhere).await.unwrap_err().to_string();
    assert!(message.contains("no bridge"), "{message}");
    let message = bare.ensure_ports(&both(80, 2, 80).into()).unwrap_err().to_string();
    assert!(message.contains("make the instance first"), "{message}");
    let message = network.ensure_attachment(&wanted, network.netns()).await.unwrap_err().to_string();
    assert!(message.contains("the instance itself"), "{message}");
    let outside = Attachment::new(AttachmentId::from_bits(9), "10.0.0.9".parse().unwrap());
    let message = network.ensure_attachment(&outside, &elsewhere).await.unwrap_err().to_string();
    assert!(message.contains("172.17.0.0/16"), "{message}");
    let other = container(&network, 3).await;
    let message = network.ensure_attachment(&wanted, &other.netns).await.unwrap_err().to_string();
    assert!(message.contains("another eth0"), "{message}");
    let twice = [both(80, 2, 80), both(80, 3, 80)].concat().into_iter().collect();
    let message = network.ensure_ports(&twice).unwrap_err().to_string();
    assert!(message.contains("172.17.0.2:80") && message.contains("172.17.0.3:80"), "{message}");
    let observed = network.observe().await.unwrap();
    assert!(observed.bridge_ready && observed.ports.is_empty() && observed.attachments.len() == 1);
}
