//! The statements of the reference about placement, one by one.

use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::plan::tests::definitions::container;
use crate::spec::ids::NetworkMode;
use crate::spec::placement::Placement;
use crate::spec::task_definition::{PortMapping, TaskDefinition};

/// A definition with one container that maps the ports, by container port and host port.
fn definition(ports: impl IntoIterator<Item = (u16, Option<u16>)>) -> TaskDefinition {
    let mapping = |(container_port, host_port)| PortMapping {
        last_container_port: None,
        container_port,
        host_port,
        protocol: TransportProtocol::Tcp,
        name: None,
        app_protocol: None,
    };
    let mut app = container("app", "app");
    app.port_mappings = ports.into_iter().map(mapping).collect();
    TaskDefinition {
        task_role_arn: None,
        family: "web".into(),
        cpu: Some(128),
        memory: Some(128),
        container_definitions: vec![app],
        volumes: Vec::new(),
        pid_mode: None,
        ipc_mode: None,
    }
}

fn wish_in(mode: NetworkMode, ports: impl IntoIterator<Item = (u16, Option<u16>)>) -> Wish {
    wish_of(GROUP, &definition(ports), mode, &Placement::default(), None)
}

const PORT_TAKEN: &str = "The closest matching (container-instance a) is already using a port required by your task.";

/// 1.7-03.
#[rstest]
#[case(NetworkMode::Bridge, Some(8080))]
#[case(NetworkMode::Host, None)]
fn a_fixed_port_is_on_an_instance_once(#[case] mode: NetworkMode, #[case] host_port: Option<u16>) {
    let wish = wish_in(mode, [(8080, host_port)]);
    let mut cluster = Cluster::in_zones(&["us-east-1a"]);
    assert_eq!(cluster.place(&wish).unwrap(), "a");
    assert!(cluster.place(&wish).unwrap_err().contains(PORT_TAKEN));

    let udp = Wish { fixed_ports: HostPorts::from([(TransportProtocol::Udp, 8080)]), ..wish.clone() };
    assert_eq!(cluster.place(&udp).unwrap(), "a", "another protocol is another port");
    cluster.nodes.push(Node::new("b", "us-east-1a"));
    assert_eq!(cluster.place(&wish).unwrap(), "b");
}

/// 1.7-03: the modes in which no host port is fixed.
#[rstest]
#[case(NetworkMode::Bridge, None)]
#[case(NetworkMode::Bridge, Some(0))]
#[case(NetworkMode::Awsvpc, Some(8080))]
#[case(NetworkMode::None, Some(8080))]
fn a_port_that_is_not_fixed_is_no_bound(#[case] mode: NetworkMode, #[case] host_port: Option<u16>) {
    let wish = wish_in(mode, [(8080, host_port)]);
    let mut cluster = Cluster::in_zones(&["us-east-1a"]);
    assert_eq!(cluster.place_all(&wish, 3), "a a a");
}

/// 1.7-09: ports that are never free.
#[test]
fn the_agents_own_ports_are_reserved_on_every_instance() {
    let mut cluster = Cluster::in_zones(&["us-east-1a"]);
    for port in [22, 2375, 2376, 51678, 51679] {
        for wish in [wish_in(NetworkMode::Bridge, [(80, Some(port))]), wish_in(NetworkMode::Host, [(port, None)])] {
            assert!(cluster.place(&wish).unwrap_err().contains(PORT_TAKEN), "{port}");
        }
        let udp = Wish { fixed_ports: HostPorts::from([(TransportProtocol::Udp, port)]), ..wish() };
        assert_eq!(cluster.place(&udp).unwrap(), "a");
    }
    let awsvpc = wish_in(NetworkMode::Awsvpc, [(22, Some(22))]);
    assert_eq!(cluster.place(&awsvpc).unwrap(), "a", "a task with its own ENI has its own ports");
}

/// 1.7-09: how many.
#[test]
fn an_instance_reserves_a_hundred_ports_and_dynamic_ones_do_not_count() {
    let fixed = |count: u16| wish_in(NetworkMode::Bridge, (10_000..10_000 + count).map(|port| (port, Some(port))));
    let fresh = || Cluster::in_zones(&["us-east-1a"]);
    assert!(fresh().place(&fixed(101)).unwrap_err().contains(PORT_TAKEN));
    assert!(fresh().place(&fixed(96)).unwrap_err().contains(PORT_TAKEN), "five are the instance's own");
    let mut cluster = fresh();
    assert_eq!(cluster.place(&fixed(95)).unwrap(), "a");
    assert!(cluster.place(&wish_in(NetworkMode::Bridge, [(80, Some(80))])).unwrap_err().contains(PORT_TAKEN));
    let dynamic = wish_in(NetworkMode::Bridge, (10_000..10_200).map(|port| (port, None)));
    assert_eq!(cluster.place(&dynamic).unwrap(), "a");
}

/// 3.5-01: each strategy by itself; `a` and `b` are in one zone and `c` in the other, `a` is the largest.
#[rstest]
#[case(&[("spread", "instanceId")], "a b c a b c")]
#[case(&[("spread", "host")], "a b c a b c")]
#[case(&[("spread", "attribute:ecs.availability-zone")], "a c b c a c")]
#[case(&[("spread", "attribute:rack")], "a c b c a c")]
#[case(&[("binpack", "cpu")], "c c c c c c")]
#[case(&[("binpack", "memory")], "b b b b b b")]
fn a_strategy_chooses(#[case] entries: &[(&str, &str)], #[case] order: &str) {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a").with("rack", "1").size(4096, 16_384),
        Node::new("b", "us-east-1a").with("rack", "1").size(3072, 4096),
        Node::new("c", "us-east-1b").size(1024, 8192),
    ]);
    let wish = Wish { strategy: strategies(entries), ..wish() };
    assert_eq!(cluster.place_all(&wish, 6), order);
}

/// 3.5-01: in their order, each among what the ones before have left.
#[rstest]
#[case(&[("spread", "attribute:ecs.availability-zone"), ("binpack", "memory")], "b c b c b c")]
#[case(&[("binpack", "memory"), ("spread", "attribute:ecs.availability-zone")], "b b b b b b")]
#[case(&[("spread", "attribute:ecs.availability-zone"), ("spread", "instanceId")], "a c b d a c")]
fn strategies_apply_in_order(#[case] entries: &[(&str, &str)], #[case] order: &str) {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a").with("rack", "1"),
        Node::new("b", "us-east-1a").with("rack", "2").size(2048, 4096),
        Node::new("c", "us-east-1b").with("rack", "1").size(2048, 4096),
        Node::new("d", "us-east-1b").with("rack", "2"),
    ]);
    assert_eq!(cluster.place_all(&Wish { strategy: strategies(entries), ..wish() }, 6), order);
}

/// 3.5-01: racks are counted in each zone by themselves.
#[test]
fn a_spread_divides_what_the_one_before_has_made() {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a").with("rack", "1"),
        Node::new("b", "us-east-1a").with("rack", "2"),
        Node::new("c", "us-east-1b").with("rack", "1"),
        Node::new("d", "us-east-1b").with("rack", "2"),
    ]);
    let entries = [("spread", "attribute:ecs.availability-zone"), ("spread", "attribute:rack")];
    cluster.nodes[1].tasks.insert(GROUP.into(), 1);
    cluster.nodes[2].tasks.insert(GROUP.into(), 1);
    assert_eq!(cluster.place_all(&Wish { strategy: strategies(&entries), ..wish() }, 2), "a d");
}

/// 3.5-01: every instance comes up, and one that is full never does.
#[test]
fn random_takes_any_instance_that_will_do() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a", "us-east-1b"]);
    cluster.nodes[1].used_cpu = 2048;
    let wish = Wish { strategy: strategies(&[("random", "")]), ..wish() };
    let seen: BTreeSet<String> = (0..12).map(|_| cluster.place(&wish).unwrap()).collect();
    assert_eq!(Vec::from_iter(seen), ["a", "c"]);
}

/// 3.5-02.
#[test]
fn a_service_without_a_strategy_is_spread_over_zones() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a", "us-east-1a", "us-east-1b"]);
    assert_eq!(cluster.place_all(&wish(), 4), "a d b d");
}

/// 3.5-02: tasks of other services are no part of it.
#[test]
fn a_spread_counts_the_services_own_tasks() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1b"]);
    let other = Wish { group: "service:other".into(), constraints: vec![member_of("ec2InstanceId == i-a")], ..wish() };
    assert_eq!(cluster.place_all(&other, 3), "a a a");
    assert_eq!(cluster.place_all(&wish(), 4), "b a b a", "between equal zones the instance with less to do");
}

/// 3.5-02: in a zone, the service's own tasks count before all tasks.
#[test]
fn in_a_zone_the_instance_with_the_fewest_of_its_tasks_is_taken() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a"]);
    cluster.nodes[0].tasks.insert(GROUP.into(), 1);
    cluster.nodes[1].tasks.insert("service:other".into(), 2);
    assert_eq!(cluster.place_all(&wish(), 1), "b");
}

/// 3.5-02: what stands on a DRAINING instance is on its way out.
#[test]
fn a_spread_does_not_count_tasks_that_are_leaving() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1a", "us-east-1b"]);
    cluster.nodes[0].tasks.insert(GROUP.into(), 2);
    cluster.nodes[2].tasks.insert(GROUP.into(), 1);
    cluster.nodes[0].active = false;
    assert_eq!(cluster.place_all(&wish(), 2), "b b");
}

/// 3.5-03.
#[test]
fn distinct_instance_leaves_the_surplus_unplaced() {
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1b"]);
    let wish = Wish { constraints: vec![Constraint::DistinctInstance], ..wish() };
    assert_eq!(cluster.place_all(&wish, 2), "a b");
    assert_eq!(
        cluster.place(&wish).unwrap_err(),
        "was unable to place a task because no container instance met all of its requirements. The closest matching \
         (container-instance a) encountered error \"DistinctInstance placement constraint unsatisfied.\". For more \
         information, see the Troubleshooting section of the Amazon ECS Developer Guide."
    );
    let other = Wish { group: "service:other".into(), ..wish };
    assert_eq!(cluster.place_all(&other, 2), "a b", "another service's tasks do not hinder it");
}

/// 3.5-04.
#[rstest]
#[case("attribute:stack == blue", "b b b")]
#[case("attribute:stack exists and not (attribute:stack == blue)", "c c c")]
#[case("task:group == service:cache", "a a a")]
#[case("not(task:group == service:cache)", "b c b")]
#[case("runningTasksCount > 0", "a a a")]
#[case("ec2InstanceId in [i-a, i-c] and agentConnected == true", "c a c")]
#[case("agentVersion > 1.14.5 and registeredAt < 1970-01-02 and attribute:ecs.instance-type =~ m5.* ", "b c a")]
fn member_of_keeps_tasks_to_instances_for_which_it_holds(#[case] expression: &str, #[case] order: &str) {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a"),
        Node::new("b", "us-east-1a").with("stack", "blue"),
        Node::new("c", "us-east-1a").with("stack", "green"),
    ]);
    cluster.nodes[0].tasks.insert("service:cache".into(), 1);
    let wish = Wish { constraints: vec![member_of(expression)], ..wish() };
    assert_eq!(cluster.place_all(&wish, 3), order);
}

/// 3.5-06.
#[test]
fn a_daemon_has_one_task_on_each_instance_that_matches() {
    let mut cluster = Cluster::of(vec![
        Node::new("a", "us-east-1a").with("stack", "blue"),
        Node::new("b", "us-east-1a"),
        Node::new("c", "us-east-1b").with("stack", "blue"),
    ]);
    let wish = Wish { constraints: vec![member_of("attribute:stack == blue")], ..wish() };
    let start = |cluster: &mut Cluster| {
        let targets = daemon_targets(&wish, &cluster.candidates());
        targets.free.iter().for_each(|&at| cluster.nodes[at].take(&wish));
        targets.free.iter().map(|&at| cluster.nodes[at].id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(start(&mut cluster), ["a", "c"]);
    assert!(start(&mut cluster).is_empty());
    cluster.nodes.push(Node::new("d", "us-east-1b").with("stack", "blue"));
    assert_eq!(start(&mut cluster), ["d"]);

    cluster.nodes[0].active = false;
    cluster.nodes[2].attributes.remove("stack");
    let eligible: Vec<bool> = cluster.candidates().iter().map(|candidate| is_eligible(&wish, candidate)).collect();
    assert_eq!(eligible, [false, false, false, true], "what runs on the others is stopped");

    cluster.nodes.push(Node::new("e", "us-east-1b").with("stack", "blue").size(64, 8192));
    let targets = daemon_targets(&wish, &cluster.candidates());
    assert!(targets.free.is_empty());
    let closest = Refusal::Closest { instance: "e".into(), shortage: Shortage::Cpu };
    assert_eq!(targets.refused, [closest], "it matches and has no room");
}

/// 5.5-01.
#[test]
fn enis_are_no_bound_unless_a_setting_says_so() {
    let mut cluster = Cluster::in_zones(&["us-east-1a"]);
    cluster.nodes[0].attributes = attributes_of_ecs("us-east-1a", instance_type("c5.large"));
    let wish = wish_in(NetworkMode::Awsvpc, [(80, None)]);
    assert_eq!(cluster.clone().place_all(&wish, 5), "a a a a a");

    cluster.nodes[0].enis = Some(2);
    assert_eq!(cluster.place_all(&wish, 2), "a a");
    assert!(cluster.place(&wish).unwrap_err().contains("(container-instance a) encountered error \"RESOURCE:ENI\"."));
    assert_eq!(cluster.place(&wish_in(NetworkMode::Bridge, [(80, None)])).unwrap(), "a", "only awsvpc needs one");
}

#[test]
fn a_task_asks_for_its_own_size_or_for_the_sum_of_its_containers() {
    let mut two = definition([]);
    let mut sidecar = container("sidecar", "sidecar");
    (sidecar.cpu, sidecar.memory, sidecar.memory_reservation) = (100, Some(512), Some(64));
    let app = &mut two.container_definitions[0];
    (app.cpu, app.memory, app.memory_reservation) = (0, Some(300), None);
    two.container_definitions.push(sidecar);
    let asked = |definition: &TaskDefinition| {
        let wish = wish_of(GROUP, definition, NetworkMode::Bridge, &Placement::default(), None);
        (wish.cpu, wish.memory)
    };
    assert_eq!(asked(&two), (128, 128));
    (two.cpu, two.memory) = (None, None);
    assert_eq!(asked(&two), (100, 364));
}

#[test]
fn zones_of_subnets_bind_a_task_that_has_an_eni() {
    let zones = Some(BTreeSet::from(["us-east-1b".to_owned()]));
    let wish = |mode| wish_of(GROUP, &definition([]), mode, &Placement::default(), zones.clone());
    let mut cluster = Cluster::in_zones(&["us-east-1a", "us-east-1b"]);
    assert_eq!(cluster.place_all(&wish(NetworkMode::Awsvpc), 2), "b b");
    assert_eq!(cluster.place_all(&wish(NetworkMode::Host), 1), "a");
}
