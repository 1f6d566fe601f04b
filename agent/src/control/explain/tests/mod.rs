//! Tables of verdicts over a stack in the planner's simulated world: what decides, and what would have to be added.

mod bridge;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use netmodes::reach::Outcome;
use netmodes::reach::listener::Taker;
use netmodes::reach::path::Opening;
use netmodes::security::group::{PortRange, Traffic};
use rstest::rstest;

use super::names::{self, Record};
use super::ports;
use super::question::{self, At, Destination, Question};
use super::reply::{Code, ExplainRequest, Protocol};
use super::verdict::{Case, Verdict, decide};
use crate::control::api::ErrorReply;
use crate::control::view::Lens;
use crate::plan::tests::definitions::{checked, container, service, stack};
use crate::plan::tests::simulation::World;
use crate::runtime::Health;
use crate::spec::ids::{GroupName, StackName};
use crate::spec::security_group::{Peer, Rule, SecurityGroup};
use crate::spec::service::Service;
use crate::spec::task_definition::{ContainerDefinition, PortMapping, TransportProtocol};

fn tcp(port: u16) -> Traffic {
    Traffic::Tcp(PortRange { first: port, last: port })
}

fn from(group: &str) -> Peer {
    Peer::Group(GroupName::new(group))
}

fn anywhere() -> Peer {
    Peer::Cidr("0.0.0.0/0".parse().unwrap())
}

fn group(ingress: Vec<(Traffic, Peer)>, egress: Vec<(Traffic, Peer)>) -> SecurityGroup {
    let rules = |list: Vec<(Traffic, Peer)>| list.into_iter().map(|(traffic, peer)| Rule { traffic, peer }).collect();
    SecurityGroup { ingress: rules(ingress), egress: rules(egress), description: String::new() }
}

fn serving(name: &str, ports: &[(u16, TransportProtocol)]) -> ContainerDefinition {
    let mapping = |(container_port, protocol): &(u16, TransportProtocol)| PortMapping {
        container_port: *container_port,
        last_container_port: None,
        host_port: None,
        protocol: *protocol,
        name: None,
        app_protocol: None,
    };
    ContainerDefinition { port_mappings: ports.iter().map(mapping).collect(), ..container("app", name) }
}

fn in_groups(mut service: Service, groups: &[&str]) -> Service {
    service.security_groups = groups.iter().map(|g| GroupName::new(*g)).collect();
    service
}

/// `web` and `users` have groups of their own, as services that name none get them; `quiet` and `server` those of the file.
fn shop() -> World {
    use TransportProtocol::{Tcp, Udp};
    let services = vec![
        in_groups(service("web", 2, vec![container("app", "web")]), &["web"]),
        in_groups(service("users", 1, vec![serving("users", &[(8080, Tcp), (53, Udp)])]), &["users"]),
        in_groups(service("quiet", 1, vec![container("app", "quiet")]), &["shy"]),
        in_groups(service("server", 1, vec![container("app", "server")]), &["door"]),
        in_groups(service("ill", 1, vec![checked("app", "ill")]), &["door"]),
        in_groups(service("none", 0, vec![container("app", "none")]), &["door"]),
    ];
    let mut spec = stack(services);
    let all_out = || vec![(Traffic::All, anywhere())];
    spec.security_groups = BTreeMap::from([
        (GroupName::new("web"), group(vec![], all_out())),
        (GroupName::new("users"), group(vec![(tcp(8080), from("web"))], all_out())),
        (GroupName::new("shy"), group(vec![], vec![(tcp(6000), from("door"))])),
        (GroupName::new("door"), group(vec![(tcp(6000), from("shy")), (tcp(7000), from("door"))], all_out())),
    ]);
    let mut world = World::new();
    world.health.insert("ill".into(), Health::Starting);
    world.apply_stack(&spec);
    world.settle(Duration::from_secs(120));
    world
}

fn lens(world: &World) -> Lens<'_> {
    Lens { state: &world.state, observed: &world.observed, setting: &world.setting }
}

fn request(from: &str, to: &str) -> ExplainRequest {
    ExplainRequest { from: from.to_owned(), to: to.to_owned(), port: None, protocol: None }
}

fn ask(world: &World, from: &str, to: &str) -> Result<Question, ErrorReply> {
    question::read(&lens(world), &request(from, to))
}

fn case(world: &World, from: &str, to: &str, opening: Opening) -> Case {
    let question = ask(world, from, to).unwrap();
    let (address, to) = match question.destination {
        Destination::Tasks(mut ends) => (ends[0].address().unwrap(), Some(ends.remove(0))),
        Destination::Addresses(mut found) => match found.remove(0) {
            (address, At::Task(end)) => (address, Some(*end)),
            (address, At::Instance(ends)) => (address, ends.into_iter().next()),
            (address, At::Nobody) => (address, None),
        },
        other => panic!("{other:?}"),
    };
    Case { sender: question.sender, to, address, opening, name: Vec::new() }
}

fn listening(at: &str) -> Taker {
    Taker::Socket(at.parse().unwrap())
}

/// What does not pass, and what to do about it.
fn faults(verdict: &Verdict) -> Vec<(Code, Option<&str>)> {
    let failing = verdict.steps.iter().filter(|s| s.passes == Some(false));
    failing.map(|s| (s.code.unwrap(), s.remedy.as_deref())).collect()
}

#[test]
fn what_is_allowed_and_listened_to_is_reachable_and_each_step_says_why() {
    let world = shop();
    let verdict = decide(&case(&world, "web", "users", Opening::Tcp(8080)), Some(&listening("0.0.0.0:8080")));
    assert_eq!((verdict.foreseen, verdict.no_probe), (Some(Outcome::Connected), None));
    let said: Vec<String> = verdict
        .steps
        .iter()
        .map(|s| {
            // Ids are as random as the seed.
            let words = s.text.split(' ').map(|word| match word.trim_matches(['(', ')', ',']) {
                id if id.starts_with("sg-") || id.starts_with("eni-") || (id.len() == 8 && word.starts_with('(')) => {
                    "ID"
                }
                _ => word,
            });
            format!("{}: {}", s.about.as_str(), words.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let address = case(&world, "web", "users", Opening::Tcp(8080)).address;
    assert_eq!(
        said,
        [
            "to: users ID is RUNNING".to_owned(),
            format!("route: {address} is ID local to the VPC 10.0.0.0/16"),
            "egress: `web` ID lets out `{ protocol: all, to: 0.0.0.0/0 }`".to_owned(),
            "ingress: `users` ID lets in `{ port: 8080, from: web }`".to_owned(),
            "listener: a program listens on tcp 0.0.0.0:8080".to_owned(),
        ]
    );
}

#[rstest]
#[case::egress_of_a_group_of_the_file("quiet", "server", Opening::Tcp(7000), vec![
    (Code::EniSgRulesMismatch, "add to `securityGroups.shy.egress`: `{ port: 7000, to: door }`"),
    (Code::EniSgRulesMismatch, "add to `securityGroups.door.ingress`: `{ port: 7000, from: shy }`"),
])]
#[case::ingress_of_a_group_of_the_file("web", "server", Opening::Udp(7000), vec![
    (Code::EniSgRulesMismatch, "add to `securityGroups.door.ingress`: `{ port: 7000, protocol: udp, from: web }`"),
])]
#[case::own_group_and_a_port_that_is_mapped("server", "users", Opening::Tcp(8080), vec![
    (Code::EniSgRulesMismatch, "`users` has no `securityGroups`, so only services that connect to it get in: \
        add `connectsTo: [users]` to service `server`"),
])]
#[case::own_group_and_a_port_that_is_not("web", "users", Opening::Tcp(9000), vec![
    (Code::EniSgRulesMismatch, "`users` has no `securityGroups`, so only services that connect to it get in, on the ports that \
        its task definition maps: map this one (`{ \"containerPort\": 9000 }` in `portMappings`) and add \
        `connectsTo: [users]` to service `web`"),
])]
#[case::own_group_and_icmp("web", "users", Opening::Icmp(8, 0), vec![
    (Code::EniSgRulesMismatch, "`users` has no `securityGroups`, so only services that connect to it get in: \
        give it `securityGroups` with an ingress rule `{ protocol: icmp, from: web }`"),
])]
#[case::a_group_without_rules("users", "web", Opening::Tcp(80), vec![
    (Code::SgHasNoRules, "`web` has no `securityGroups`, so only services that connect to it get in, on the ports that \
        its task definition maps: map this one (`{ \"containerPort\": 80 }` in `portMappings`) and add \
        `connectsTo: [web]` to service `users`"),
])]
fn what_is_missing_is_said_in_the_stack_files_words(
    #[case] from: &str,
    #[case] to: &str,
    #[case] opening: Opening,
    #[case] expected: Vec<(Code, &str)>,
) {
    let world = shop();
    let listening = listening("0.0.0.0:1");
    let verdict = decide(&case(&world, from, to, opening), opening.port().map(|_| &listening));
    let expected: Vec<_> = expected.into_iter().map(|(code, remedy)| (code, Some(remedy))).collect();
    assert_eq!(faults(&verdict), expected);
    assert_eq!(verdict.foreseen, Some(Outcome::TimedOut));
}

#[test]
fn rules_that_miss_by_one_thing_are_named() {
    let world = shop();
    let verdict = decide(&case(&world, "web", "server", Opening::Tcp(6000)), Some(&listening("0.0.0.0:6000")));
    let ingress = verdict.steps.iter().find(|s| s.passes == Some(false)).unwrap();
    assert!(ingress.text.ends_with("(`web`); it lets in `{ port: 6000, from: shy }`"), "{}", ingress.text);
    assert_eq!(ingress.security_groups[0].name, "door");
}

#[rstest]
#[case::nobody(Taker::Nobody(vec![81]), Code::NoListener, Outcome::Refused)]
#[case::loopback(Taker::LoopbackOnly(vec![loopback()]), Code::ListenerOnLoopbackOnly, Outcome::Refused)]
#[case::elsewhere(Taker::Elsewhere(vec![loopback()]), Code::ListenerOnOtherAddress, Outcome::Refused)]
#[case::full(Taker::Full(loopback()), Code::ListenerQueueFull, Outcome::TimedOut)]
fn a_socket_that_does_not_take_it_is_told(#[case] taker: Taker, #[case] code: Code, #[case] seen: Outcome) {
    let verdict = decide(&case(&shop(), "web", "users", Opening::Tcp(8080)), Some(&taker));
    assert_eq!(verdict.steps.last().unwrap().code, Some(code));
    assert_eq!(verdict.foreseen, Some(seen));
}

#[test]
fn a_wrong_port_is_told_with_the_one_that_is_mapped_and_listened_to() {
    let wrong = case(&shop(), "web", "users", Opening::Tcp(8081));
    let verdict = decide(&wrong, Some(&Taker::Nobody(vec![22, 8080])));
    let [(Code::EniSgRulesMismatch, Some(rule)), (Code::NoListener, meant)] = faults(&verdict)[..] else {
        panic!("{verdict:?}")
    };
    assert!(rule.starts_with("if the port is right: "), "{rule}");
    assert_eq!(meant, Some("did you mean port 8080?"));
    // One that is mapped is meant, and one that nobody listens on is no better.
    for (port, listening) in [(8080, vec![81]), (8081, vec![81])] {
        let verdict = decide(&case(&shop(), "web", "users", Opening::Tcp(port)), Some(&Taker::Nobody(listening)));
        assert_eq!(verdict.steps.last().unwrap().remedy, None);
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:8080".parse().unwrap()
}

#[rstest]
#[case("10.0.200.9", Code::NoPossibleDestination, Outcome::TimedOut, None)]
#[case("10.0.0.1", Code::ProtocolRestriction, Outcome::TimedOut, None)]
#[case("192.0.2.1", Code::NoRouteToDestination, Outcome::Unreachable, Some("set `vpc: { internet: true }`"))]
fn an_address_that_leads_nowhere_is_told(
    #[case] to: &str,
    #[case] code: Code,
    #[case] seen: Outcome,
    #[case] remedy: Option<&str>,
) {
    let case = case(&shop(), "web", to, Opening::Tcp(80));
    assert_eq!(case.sockets(), None);
    let verdict = decide(&case, None);
    assert_eq!((faults(&verdict), verdict.foreseen), (vec![(code, remedy)], Some(seen)));
}

#[test]
fn the_task_itself_is_reached_over_loopback_whatever_its_groups() {
    let world = shop();
    for to in ["localhost", "127.0.0.1"] {
        let case = case(&world, "quiet", to, Opening::Tcp(80));
        let (holder, at) = case.sockets().unwrap();
        assert_eq!((holder, at.link), (case.sender.end.holder.0.clone(), "lo"));
        assert_eq!(case.passes().0, Vec::<String>::new());
        let verdict = decide(&case, Some(&listening("127.0.0.1:80")));
        assert_eq!((faults(&verdict), verdict.foreseen), (vec![], Some(Outcome::Connected)));
    }
}

#[test]
fn a_task_that_stopped_is_not_tried() {
    let mut world = shop();
    let id = world.live_ids("server")[0].clone();
    let name = StackName::new("shop");
    crate::plan::up::stop_task(&mut world.state, &name, &id, None, world.now);
    world.settle(Duration::from_secs(300));
    let verdict = decide(&case(&world, "web", id.as_str(), Opening::Tcp(6000)), None);
    assert_eq!(faults(&verdict), [(Code::BadState, None)]);
    assert!(verdict.steps[0].text.contains("is STOPPED: Task stopped by user"), "{}", verdict.steps[0].text);
    assert!(verdict.foreseen.is_none() && verdict.no_probe.is_some());
}

#[test]
fn a_task_whose_interface_is_not_linked_is_told() {
    let mut world = shop();
    let task = world.live("server")[0].eni().unwrap().id.clone();
    world.observed.networks.get_mut(&StackName::new("shop")).unwrap().links.remove(&task);
    let verdict = decide(&case(&world, "quiet", "server", Opening::Tcp(6000)), None);
    assert_eq!((faults(&verdict), verdict.foreseen), (vec![(Code::BadStateAttachment, None)], Some(Outcome::TimedOut)));
}

#[rstest]
#[case::all_that_are_mapped("users", None, None, Ok(vec![Opening::Tcp(8080), Opening::Udp(53)]))]
#[case::of_one_protocol("users", None, Some(Protocol::Udp), Ok(vec![Opening::Udp(53)]))]
#[case::as_it_is_mapped("users", Some(53), None, Ok(vec![Opening::Udp(53)]))]
#[case::tcp_otherwise("users", Some(54), None, Ok(vec![Opening::Tcp(54)]))]
#[case::as_asked("users", Some(53), Some(Protocol::Tcp), Ok(vec![Opening::Tcp(53)]))]
#[case::echo("server", None, Some(Protocol::Icmp), Ok(vec![Opening::Icmp(8, 0)]))]
#[case::none_mapped("server", None, None, Err("which port? task definition `server` maps none"))]
#[case::none_of_it("server", None, Some(Protocol::Udp), Err("which port? task definition `server` maps none of udp"))]
#[case::icmp_has_none("server", Some(1), Some(Protocol::Icmp), Err("ICMP has no ports"))]
fn the_ports_are_those_asked_for_or_those_mapped(
    #[case] to: &str,
    #[case] port: Option<u16>,
    #[case] protocol: Option<Protocol>,
    #[case] expected: Result<Vec<Opening>, &str>,
) {
    let world = shop();
    let definition = world.live(to)[0].definition.clone();
    let request = ExplainRequest { port, protocol, ..request("web", to) };
    let found = ports::openings(&request, Some(&definition));
    assert_eq!(found.map_err(|e| (e.message, e.exit_code)), expected.map_err(|e| (e.to_owned(), 2)));
}

#[test]
fn a_word_that_is_nothing_is_refused_with_what_may_have_been_meant() {
    let world = shop();
    let error = ask(&world, "web", "userz").unwrap_err();
    assert_eq!((error.exit_code, error.hint.as_deref()), (2, Some("did you mean `users`?")));
    assert_eq!(ask(&world, "wbe", "users").unwrap_err().exit_code, 2);
    assert!(ask(&world, "web", "::1").unwrap_err().message.contains("IPv6"));
    assert!(matches!(ask(&world, "web", "none").unwrap().destination, Destination::NoTask(..)));
    assert!(
        matches!(ask(&world, "web", "users.shop.local.").unwrap().destination, Destination::Name(n) if n == "users.shop.local")
    );
}

#[test]
fn one_sender_is_chosen_and_said_and_every_receiver_is_asked() {
    let world = shop();
    let question = ask(&world, "web", "web").unwrap();
    assert!(question.notes[0].contains("the first of its 2"), "{:?}", question.notes);
    assert!(matches!(question.destination, Destination::Tasks(ends) if ends.len() == 2));
    assert_eq!(ask(&world, "users", "shop/web").unwrap().notes, Vec::<String>::new());
}

#[rstest]
#[case("userz.shop.local", "no service of stack `shop` is found by it", Some("users.shop.local"))]
#[case("none.shop.local", "service `none` has no task (desiredCount 0)", None)]
fn a_name_without_record_says_why(#[case] name: &str, #[case] why: &str, #[case] near: Option<&str>) {
    let world = shop();
    let record = names::record(&lens(&world), &StackName::new("shop"), name);
    assert_eq!(record, Record::Missing { why: why.to_owned(), near: near.map(str::to_owned) });
}

#[test]
fn a_task_that_is_not_healthy_yet_has_no_record_and_one_that_is_has() {
    let world = shop();
    let shop = StackName::new("shop");
    let ill = world.live("ill")[0];
    let Record::Missing { why, .. } = names::record(&lens(&world), &shop, "ill.shop.local") else { panic!("a record") };
    assert!(why.ends_with("is UNKNOWN: its health check has not passed yet"), "{why}");
    let said = names::of_task(&lens(&world), &shop, ill).unwrap().text;
    assert!(said.starts_with("`ill.shop.local` does not lead here"), "{said}");
    let users = world.live("users")[0];
    let Record::Addresses(found) = names::record(&lens(&world), &shop, "users.shop.local") else { panic!("no record") };
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [users.eni().unwrap().primary_address().unwrap()]);
    assert_eq!(names::record(&lens(&world), &shop, "example.com"), Record::Elsewhere);
}

#[test]
fn a_check_that_fails_says_what_it_said() {
    let mut world = shop();
    let shop = StackName::new("shop");
    let ill = world.live("ill")[0].clone();
    let name = world.setting.app_name(&shop, &ill.id, &ill.definition.container_definitions[0].name);
    let container = world.observed.containers.get_mut(&name).unwrap();
    container.health = Some(Health::Unhealthy);
    container.last_health_output = Some("no\n answer\n".to_owned());
    let Record::Missing { why, .. } = names::record(&lens(&world), &shop, "ill.shop.local") else { panic!("a record") };
    assert!(why.ends_with("is UNHEALTHY: its health check fails: no; answer"), "{why}");
}

#[test]
fn a_service_whose_tasks_do_not_start_says_why() {
    let mut world = World::new();
    world.unpullable.insert("mail".into());
    world.apply_stack(&stack(vec![
        service("web", 1, vec![container("app", "web")]),
        service("mail", 1, vec![container("app", "mail")]),
    ]));
    world.settle(Duration::from_secs(30));
    for task in world.live_ids("mail") {
        crate::plan::up::stop_task(&mut world.state, &StackName::new("shop"), &task, None, world.now);
    }
    let shop = StackName::new("shop");
    let state = world.state.stack(&shop).unwrap();
    let (name, of_service) = state.services.get_key_value("mail").unwrap();
    let why = names::no_task(state, name, of_service);
    assert!(why.starts_with("service `mail` has no task (desiredCount 1): the last one stopped: CannotPull"), "{why}");
}
