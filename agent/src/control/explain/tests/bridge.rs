//! Tables of verdicts over tasks in bridge, host and none mode on container instances, in the planner's simulated world.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use netmodes::ids::NetworkMode;
use netmodes::reach::Outcome;
use netmodes::reach::listener::Taker;
use netmodes::reach::path::Opening;
use rstest::rstest;

use super::super::names::{self, Record};
use super::super::ports;
use super::super::question::{self, Destination};
use super::super::reply::{About, Code, ExplainRequest, Protocol};
use super::super::verdict::{Case, Verdict, decide};
use super::{anywhere, ask, faults, from, group, in_groups, lens, listening, request, tcp};
use crate::plan::tests::definitions::{container, in_mode, service, serving, stack};
use crate::plan::tests::simulation::World;
use crate::spec::ids::{GroupName, StackName, SubnetName};
use crate::spec::service::Service;
use crate::spec::task_definition::{ContainerDefinition, PortMapping};
use netmodes::security::group::Traffic;

fn udp(mut container: ContainerDefinition, port: u16, host_port: u16) -> ContainerDefinition {
    let mapping = PortMapping {
        container_port: port,
        last_container_port: None,
        host_port: Some(host_port),
        protocol: crate::spec::task_definition::TransportProtocol::Udp,
        name: None,
        app_protocol: None,
    };
    container.port_mappings.push(mapping);
    container
}

/// In the one zone that has an instance.
fn in_zone_a(service: Service) -> Service {
    Service { subnets: vec![SubnetName::new("a")], ..service }
}

/// On one instance, which is in group `hosts`: `orders` (8080 at 32768 or after, 53/udp at 5353, 9999 at 8080), `asks` and
/// `front` (host mode, 9000); beside it `own` in awsvpc and `alone` in mode none.
fn yard() -> World {
    let bridge = |name: &str, containers| in_mode(NetworkMode::Bridge, service(name, 1, containers));
    let orders = vec![udp(serving("app", 8080, None), 53, 5353), serving("side", 9999, Some(8080))];
    let services = vec![
        bridge("orders", orders),
        bridge("asks", vec![container("app", "asks")]),
        in_mode(NetworkMode::Host, service("front", 1, vec![serving("app", 9000, None)])),
        in_mode(NetworkMode::None, service("alone", 1, vec![container("app", "alone")])),
    ];
    let mut services: Vec<_> = services.into_iter().map(|service| in_zone_a(in_groups(service, &["hosts"]))).collect();
    services.push(in_zone_a(in_groups(service("own", 1, vec![container("app", "own")]), &["callers"])));
    let mut spec = stack(services);
    spec.vpc.subnets.retain(|subnet| subnet.name == SubnetName::new("a"));
    let all_out = || vec![(Traffic::All, anywhere())];
    spec.security_groups = BTreeMap::from([
        (GroupName::new("hosts"), group(vec![(tcp(32768), from("callers"))], all_out())),
        (GroupName::new("callers"), group(vec![], all_out())),
    ]);
    let world = World::up(&spec);
    let on: std::collections::BTreeSet<_> =
        ["orders", "asks", "front"].map(|name| world.live(name)[0].instance.clone()).into();
    assert_eq!(on.len(), 1, "all on one instance: {on:?}");
    world
}

/// The cases of a question, with the notes about ports in them.
fn cases(world: &World, from: &str, request: &ExplainRequest) -> Vec<Case> {
    let question = question::read(&lens(world), &ExplainRequest { from: from.to_owned(), ..request.clone() }).unwrap();
    let sender = question.sender;
    let case = |to, address, sent: ports::Sent| Case {
        sender: sender.clone(),
        to,
        address,
        opening: sent.opening,
        name: sent.steps,
    };
    match question.destination {
        Destination::Tasks(ends) => {
            let each = ends.into_iter().flat_map(|end| {
                let address = end.address().unwrap();
                let sent = ports::to_task(request, &end).unwrap();
                sent.into_iter().map(move |sent| (Some(end.clone()), address, sent)).collect::<Vec<_>>()
            });
            each.map(|(to, address, sent)| case(to, address, sent)).collect()
        }
        Destination::Addresses(found) => {
            let each = found.into_iter().flat_map(|(address, at)| {
                ports::to_address(request, at).unwrap().into_iter().map(move |(sent, to)| (to, address, sent))
            });
            each.map(|(to, address, sent)| case(to, address, sent)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn one(world: &World, from: &str, to: &str, port: u16) -> Case {
    let mut found = cases(world, from, &ExplainRequest { port: Some(port), ..request(from, to) });
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn text(verdict: &Verdict, about: About) -> &str {
    verdict.steps.iter().find(|step| step.about == about).map(|step| step.text.as_str()).unwrap_or_default()
}

fn address_of(world: &World, service: &str) -> IpAddr {
    let state = world.state.stack(&StackName::new("shop")).unwrap();
    state.eni_of(world.live(service)[0]).unwrap().primary_address().unwrap()
}

fn host_port(world: &World, service: &str, container_port: u16) -> u16 {
    let bindings = world.live(service)[0].bindings();
    bindings.iter().find(|b| b.container_port == container_port).unwrap().host_port
}

#[test]
fn a_bridge_task_is_explained_at_its_host_port_with_the_container_behind_it() {
    let world = yard();
    let port = host_port(&world, "orders", 9999);
    assert_eq!((port, host_port(&world, "orders", 53)), (8080, 5353));
    let dynamic = host_port(&world, "orders", 8080);
    let case = one(&world, "own", "orders", 8080);
    assert_eq!((case.opening, case.address), (Opening::Tcp(dynamic), address_of(&world, "orders")));
    let (holder, at) = case.sockets().unwrap();
    let (shop, orders) = (StackName::new("shop"), world.live("orders")[0]);
    assert_eq!(
        holder,
        world.setting.container_pause_name(&shop, &orders.id, &crate::spec::ids::ContainerName::new("app"))
    );
    assert_eq!((at.port, at.link), (8080, "eth0"));
    let verdict = decide(&case, Some(&listening("0.0.0.0:8080")));
    assert_eq!((faults(&verdict), verdict.foreseen), (vec![], Some(Outcome::Connected)));
    let said = text(&verdict, About::Port);
    assert!(said.starts_with(&format!("tcp/8080 of container `app` is host port {dynamic} of its")), "{said}");
    assert!(said.contains("8080 is also the host port of container port 9999 of `side`"), "{said}");
    let said = text(&verdict, About::Nat);
    assert!(said.starts_with(&format!("host port {dynamic} of container instance i-")), "{said}");
    assert!(said.contains(":8080, container `app` of orders ("), "{said}");
    assert_eq!(case.passes().0.len(), 2, "the VPC and the instance");
}

#[rstest]
#[case::by_container_port(53, Opening::Udp(5353))]
#[case::by_host_port(5353, Opening::Udp(5353))]
#[case::of_another_container(9999, Opening::Tcp(8080))]
#[case::mapped_by_none(81, Opening::Tcp(81))]
fn a_port_is_the_containers_or_the_instances(#[case] port: u16, #[case] sent: Opening) {
    assert_eq!(one(&yard(), "own", "orders", port).opening, sent);
}

#[test]
fn without_a_port_all_that_are_mapped_are_tried_where_they_are_reached() {
    let world = yard();
    let dynamic = host_port(&world, "orders", 8080);
    let all = cases(&world, "own", &request("own", "orders"));
    let expected = [Opening::Tcp(dynamic), Opening::Tcp(8080), Opening::Udp(5353)];
    assert_eq!(all.iter().map(|case| case.opening).collect::<Vec<_>>(), expected);
    // And by address, those of every task on the instance.
    let by_address = cases(&world, "own", &request("own", &address_of(&world, "orders").to_string()));
    assert_eq!(by_address.len(), 4, "{by_address:#?}");
    let udp = ExplainRequest { protocol: Some(Protocol::Udp), ..request("own", "orders") };
    assert_eq!(cases(&world, "own", &udp).iter().map(|c| c.opening).collect::<Vec<_>>(), [Opening::Udp(5353)]);
}

#[test]
fn a_port_that_no_container_has_is_told_with_those_that_are_mapped() {
    let world = yard();
    let dynamic = host_port(&world, "orders", 8080);
    let case = one(&world, "asks", "orders", 81);
    let verdict = decide(&case, Some(&Taker::Nobody(vec![])));
    let remedy = format!(
        "task definition `orders` maps 8080 at {dynamic}, udp/53 at 5353, 9999 at 8080: name one of these, or map this one"
    );
    assert_eq!(faults(&verdict), [(Code::NoPortMapping, Some(remedy.as_str()))]);
    assert_eq!(verdict.foreseen, Some(Outcome::Refused));
    // A process of the instance that answers there is not who was meant.
    let verdict = decide(&one(&world, "asks", "orders", 9000), Some(&listening("0.0.0.0:9000")));
    assert_eq!(faults(&verdict).len(), 1);
    assert!(text(&verdict, About::Listener).contains("is not the one that was asked for"));
}

#[test]
fn a_rule_that_is_missing_is_one_of_the_instances_for_the_host_port() {
    let world = yard();
    let verdict = decide(&one(&world, "own", "orders", 9999), Some(&listening("0.0.0.0:9999")));
    let remedy = "add to `securityGroups.hosts.ingress`: `{ port: 8080, from: callers }`";
    assert_eq!(faults(&verdict), [(Code::EniSgRulesMismatch, Some(remedy))]);
    assert_eq!(verdict.foreseen, Some(Outcome::TimedOut));
}

#[rstest]
#[case::from_a_neighbour("asks", "orders", 8080)]
#[case::from_itself("orders", "orders", 8080)]
#[case::from_a_host_mode_process("front", "orders", 9999)]
#[case::to_a_host_mode_process("asks", "front", 9000)]
#[case::by_the_bridges_address("asks", "172.17.0.1", 5353)]
#[case::by_loopback_from_host_mode("front", "127.0.0.1", 8080)]
fn within_an_instance_no_group_judges(#[case] from: &str, #[case] to: &str, #[case] port: u16) {
    let case = one(&yard(), from, to, port);
    let verdict = decide(&case, Some(&listening(&format!("0.0.0.0:{port}"))));
    assert_eq!(faults(&verdict), []);
    assert!(text(&verdict, About::Route).contains("no security group judges it"), "{verdict:#?}");
    assert!(verdict.steps.iter().all(|s| !matches!(s.about, About::Egress | About::Ingress)));
    assert_eq!(case.passes().0.len(), 1, "the instance alone");
}

#[test]
fn over_the_bridge_a_container_is_reached_by_its_own_address_and_nobody_else() {
    let world = yard();
    let orders = world.live("orders")[0];
    let (_, attachment) = orders.attachments().next().unwrap();
    let case = one(&world, "asks", &attachment.address.to_string(), 8080);
    let (_, at) = case.sockets().unwrap();
    assert_eq!((at.address, at.port), (attachment.address.into(), 8080));
    assert_eq!(decide(&case, Some(&listening("0.0.0.0:8080"))).foreseen, Some(Outcome::Connected));
    assert_eq!(case.passes().0, Vec::<String>::new());
    let nobody = one(&world, "asks", "172.17.9.9", 8080);
    assert_eq!(nobody.sockets(), None);
    let verdict = decide(&nobody, None);
    assert_eq!(faults(&verdict), [(Code::NoPossibleDestination, None)]);
    // Out there it is nobody's block.
    assert_eq!(faults(&decide(&one(&world, "own", "172.17.0.2", 8080), None))[0].0, Code::NoRouteToDestination);
}

#[test]
fn what_leaves_a_bridge_is_judged_by_the_groups_of_the_instance() {
    let world = yard();
    let case = one(&world, "asks", "own", 80);
    let verdict = decide(&case, Some(&listening("0.0.0.0:80")));
    let address = address_of(&world, "asks");
    assert!(text(&verdict, About::Nat).contains(&format!("as {address}: the groups of the instance judge it")));
    assert!(text(&verdict, About::Egress).starts_with("`hosts` ("), "{verdict:#?}");
    let remedy = "add to `securityGroups.callers.ingress`: `{ port: 80, from: hosts }`";
    assert_eq!(faults(&verdict), [(Code::SgHasNoRules, Some(remedy))]);
    assert_eq!(case.passes().0.len(), 2);
    // A host-mode process is the instance: nothing is translated.
    let front = one(&world, "front", "own", 80);
    assert_eq!((text(&decide(&front, None), About::Nat), front.passes().0.len()), ("", 1));
}

#[test]
fn ports_that_are_not_led_to_the_task_yet_are_told() {
    let mut world = yard();
    let instance = world.live("orders")[0].instance.clone().unwrap();
    world.observed.instances.get_mut(&instance).unwrap().ports.as_mut().unwrap().clear();
    let verdict = decide(&one(&world, "asks", "orders", 8080), Some(&Taker::Nobody(vec![])));
    assert_eq!(faults(&verdict), [(Code::BadStateAttachment, None)]);
    let seen = world.observed.instances.get_mut(&instance).unwrap();
    seen.attachments.values_mut().for_each(|link| *link = None);
    let verdict = decide(&one(&world, "asks", "own", 80), None);
    assert!(text(&verdict, About::From).contains("not all its containers are on their bridge yet"), "{verdict:#?}");
    assert!(verdict.no_probe.is_some());
}

#[test]
fn the_name_of_a_bridge_service_has_an_srv_record_and_no_address() {
    let world = yard();
    let (shop, orders) = (StackName::new("shop"), world.live("orders")[0]);
    let Record::Services(services) = names::record(&lens(&world), &shop, "orders.shop.local") else { panic!("no SRV") };
    let dynamic = host_port(&world, "orders", 8080);
    assert_eq!(names::in_words(&services[0]), format!("SRV 1 1 {dynamic} {}.orders.shop.local", orders.id));
    let said = names::of_task(&lens(&world), &shop, orders).unwrap().text;
    let expected = format!("`orders.shop.local` has no A record; its SRV 1 1 {dynamic} {}", orders.id);
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.ends_with(&format!("its target being {}", address_of(&world, "orders"))), "{said}");
    let target = format!("{}.orders.shop.local", orders.id);
    let Record::Addresses(found) = names::record(&lens(&world), &shop, &target) else { panic!("no address") };
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [address_of(&world, "orders")]);
}

#[test]
fn in_mode_none_there_is_nobody_to_reach_and_no_sender() {
    let world = yard();
    let Destination::NoTask(_, _, code, why) = ask(&world, "own", "alone").unwrap().destination else {
        panic!("a task")
    };
    assert_eq!(code, Code::NoRouteToDestination);
    assert!(why.ends_with("is in network mode none, which has loopback alone"), "{why}");
    let refused = ask(&world, "alone", "own").unwrap_err();
    assert_eq!(refused.exit_code, 1);
    assert!(refused.message.ends_with("which has loopback alone: it opens no connection"), "{}", refused.message);
}

#[test]
fn a_lost_instance_is_told() {
    let mut world = yard();
    let instance = world.live("orders")[0].instance.clone().unwrap();
    let name = world.setting.instance_name(&StackName::new("shop"), &instance);
    world.end(&name, 137);
    world.observed.drop_stale(&world.state, &world.setting);
    let verdict = decide(&one(&world, "own", "orders", 8080), None);
    assert_eq!(verdict.foreseen, Some(Outcome::TimedOut));
    assert_eq!(faults(&verdict)[0].0, Code::BadStateAttachment);
    world.settle(Duration::from_secs(1));
}
