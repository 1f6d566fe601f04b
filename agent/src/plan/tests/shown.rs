//! What commands show of a state, in AWS's shapes (reference 1.6, 2.8, 2.11, 3.8, 4.2, 5.4): the views over a simulated world.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::definitions::*;
use super::simulation::*;
use crate::control::inspect;
use crate::control::view::Lens;
use crate::plan::up;
use crate::runtime::{ContainerState, Health};
use crate::spec::ids::{GroupName, ServiceName, TaskId};
use crate::spec::security_group::{Peer, PortRange, Rule, SecurityGroup, Traffic};
use crate::spec::service::Service;
use crate::spec::task_definition::ContainerDefinition;
use crate::store::state::EVENTS_KEPT;

fn lens(world: &World) -> Lens<'_> {
    Lens { state: &world.state, observed: &world.observed, setting: &world.setting }
}

/// A task as `ps --output json` shows it.
fn shown(world: &World, task: &TaskId) -> Value {
    let in_stack = world.state.stack(&stack_name()).unwrap();
    serde_json::to_value(lens(world).task(&stack_name(), in_stack, world.task(task))).unwrap()
}

fn service_shown(world: &World) -> Value {
    let in_stack = world.state.stack(&stack_name()).unwrap();
    let name = ServiceName::new("web");
    serde_json::to_value(lens(world).service(&stack_name(), in_stack, &name, world.service("web"))).unwrap()
}

fn web() -> World {
    World::up(&stack(vec![service("web", 1, vec![container("app", "web:1"), container("side", "side:1")])]))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_task_has_one_attachment_with_its_details_in_ecs_s_order() {
    let world = web();
    let id = world.live_ids("web")[0].clone();
    let task = shown(&world, &id);
    let attachments = task["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 1);
    let attachment = &attachments[0];
    assert_eq!(attachment["type"], "ElasticNetworkInterface");
    let uuid: Vec<usize> = attachment["id"].as_str().unwrap().split('-').map(str::len).collect();
    assert_eq!(uuid, [8, 4, 4, 4, 12]);
    let details = attachment["details"].as_array().unwrap();
    assert!(details.iter().all(|detail| keys(detail) == ["name", "value"]));
    let names: Vec<&str> = details.iter().map(|detail| detail["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["subnetId", "networkInterfaceId", "macAddress", "privateDnsName", "privateIPv4Address"]);
}

#[test]
fn every_container_shows_the_tasks_interface_and_no_port_binding_and_the_pause_is_no_container() {
    let world = web();
    let id = world.live_ids("web")[0].clone();
    let task = shown(&world, &id);
    let containers = task["containers"].as_array().unwrap();
    let names: Vec<&str> = containers.iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "side"]);
    for container in containers {
        assert_eq!(container["networkBindings"], json!([]));
        assert_eq!(
            container["networkInterfaces"],
            json!([{
                "attachmentId": task["attachments"][0]["id"],
                "privateIpv4Address": world.task(&id).eni().unwrap().primary_address(),
            }])
        );
    }
}

#[test]
fn an_attachment_and_a_container_have_ecs_s_states_alone_over_a_life() {
    let mut world = World::new();
    world.apply_stack(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    let mut attached: Vec<String> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    let mut contained = BTreeSet::new();
    let mut task: Option<TaskId> = None;
    for turn in 0..200 {
        let steps = world.plan().steps;
        let id = task.get_or_insert_with(|| world.live_ids("web")[0].clone()).clone();
        let view = shown(&world, &id);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        attached.push(text(&view["attachments"][0]["status"]));
        seen.push(text(&view["lastStatus"]));
        contained.insert(text(&view["containers"][0]["lastStatus"]));
        assert!(["RUNNING", "STOPPED"].contains(&view["desiredStatus"].as_str().unwrap()));
        if view["lastStatus"] == "RUNNING" && turn > 0 && steps.is_empty() {
            up::scale(&mut world.state, &stack_name(), &ServiceName::new("web"), 0);
        }
        if view["lastStatus"] == "STOPPED" {
            break;
        }
        if steps.is_empty() {
            world.now += Duration::from_secs(1);
        }
        for step in steps {
            world.perform(step);
        }
    }
    attached.dedup();
    seen.dedup();
    assert_eq!(attached, ["ATTACHING", "ATTACHED", "DETACHING", "DELETED"]);
    let order =
        ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"];
    let places: Vec<usize> = seen.iter().map(|status| order.iter().position(|s| s == status).unwrap()).collect();
    assert!(places.is_sorted(), "{seen:?}");
    for passed in ["PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"] {
        assert!(seen.contains(&passed.to_owned()), "{passed} is not in {seen:?}");
    }
    assert_eq!(contained.iter().map(String::as_str).collect::<Vec<_>>(), ["PENDING", "RUNNING", "STOPPED"]);
}

#[test]
fn a_services_task_is_of_its_group_and_started_by_its_deployment() {
    let world = web();
    let task = shown(&world, &world.live_ids("web")[0]);
    assert_eq!(task["group"], "service:web");
    let by = task["startedBy"].as_str().unwrap().strip_prefix("ecs-svc/").unwrap().to_owned();
    assert!(by.len() == 19 && by.bytes().all(|b| b.is_ascii_digit()), "{by}");
}

#[test]
fn numbers_of_a_container_are_texts() {
    let sized =
        ContainerDefinition { cpu: 256, memory: Some(512), memory_reservation: Some(128), ..container("app", "web:1") };
    let world = World::up(&stack(vec![service("web", 1, vec![sized])]));
    let id = world.live_ids("web")[0].clone();
    let container = shown(&world, &id)["containers"][0].clone();
    assert_eq!(
        (&container["cpu"], &container["memory"], &container["memoryReservation"]),
        (&json!("256"), &json!("512"), &json!("128"))
    );
    let docker = &world.containers[&world.app(&id, "app")];
    assert_eq!(container["runtimeId"], docker.id.0.as_str());
}

#[test]
fn a_tasks_version_grows_with_each_change() {
    let mut world = World::new();
    world.apply_stack(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    world.plan();
    let id = world.live_ids("web")[0].clone();
    let mut last = (0, String::new());
    for _ in 0..50 {
        let is_done = world.steps(1);
        let view = shown(&world, &id);
        let now = (view["version"].as_u64().unwrap(), view["lastStatus"].as_str().unwrap().to_owned());
        assert!(now.0 > last.0 || now == last, "{last:?} {now:?}");
        last = now;
        if is_done {
            return assert_eq!(last.1, "RUNNING");
        }
    }
    panic!("{last:?}");
}

/// Over essential containers with a check; `None`: no check.
#[rstest::rstest]
#[case::no_check(&[(true, None)], "UNKNOWN")]
#[case::all_healthy(&[(true, Some(Health::Healthy)), (true, None)], "HEALTHY")]
#[case::one_unknown(&[(true, Some(Health::Healthy)), (true, Some(Health::Starting))], "UNKNOWN")]
#[case::one_unhealthy(&[(true, Some(Health::Starting)), (true, Some(Health::Unhealthy))], "UNHEALTHY")]
#[case::others_do_not_count(&[(true, Some(Health::Healthy)), (false, Some(Health::Unhealthy))], "HEALTHY")]
#[case::only_others_checked(&[(true, None), (false, Some(Health::Healthy))], "UNKNOWN")]
fn a_tasks_health_is_that_of_its_essential_checks(#[case] containers: &[(bool, Option<Health>)], #[case] health: &str) {
    let image = |n: usize| format!("i{n}:1");
    let definitions = containers.iter().enumerate().map(|(n, (essential, health))| ContainerDefinition {
        essential: *essential,
        ..match health {
            Some(_) => checked(&format!("c{n}"), &image(n)),
            None => container(&format!("c{n}"), &image(n)),
        }
    });
    let mut world = World::new();
    // Nothing is replaced meanwhile.
    let patient = Service { health_check_grace_period_seconds: 300, ..service("web", 1, definitions.collect()) };
    world.apply_stack(&stack(vec![patient]));
    for (n, (_, health)) in containers.iter().enumerate() {
        world.health.extend(health.map(|health| (image(n), health)));
    }
    world.settle(Duration::from_secs(1));
    let task = shown(&world, &world.live_ids("web")[0]);
    assert_eq!(task["healthStatus"], health);
    for (n, (_, health)) in containers.iter().enumerate() {
        let own = match health {
            Some(Health::Healthy) => "HEALTHY",
            Some(Health::Unhealthy) => "UNHEALTHY",
            Some(Health::Starting) | None => "UNKNOWN",
        };
        assert_eq!(task["containers"][n]["healthStatus"], own);
    }
}

#[test]
fn events_are_newest_first_and_a_hundred_are_kept() {
    let mut world = web();
    for event in service_shown(&world)["events"].as_array().unwrap() {
        let uuid: Vec<usize> = event["id"].as_str().unwrap().split('-').map(str::len).collect();
        assert_eq!(uuid, [8, 4, 4, 4, 12]);
    }
    let (stack, name) = (stack_name(), ServiceName::new("web"));
    for n in 0..120 {
        let id = world.ids.uuid();
        world.state.event(&stack, &name, id, world.now, format!("event {n}"));
    }
    let service = service_shown(&world);
    let events = service["events"].as_array().unwrap();
    assert_eq!((events.len(), EVENTS_KEPT), (100, 100));
    assert_eq!((&events[0]["message"], &events[99]["message"]), (&json!("event 119"), &json!("event 20")));
    assert!(events.iter().all(|event| keys(event) == ["id", "createdAt", "message"]));
}

#[test]
fn a_container_says_why_it_never_ran() {
    let mut world = World::new();
    world.unpullable.insert("web:1".into());
    world.apply_stack(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    world.settle(Duration::ZERO);
    let in_stack = world.state.stack(&stack_name()).unwrap();
    let failed = in_stack.tasks.values().find(|task| !task.is_wanted()).unwrap().id.clone();
    let task = shown(&world, &failed);
    assert_eq!(task["stopCode"], "TaskFailedToStart");
    let container = &task["containers"][0];
    assert!(container["reason"].as_str().unwrap().starts_with("CannotPullContainerError: "), "{container}");
    assert_eq!(container.get("exitCode"), None);
}

#[test]
fn a_container_that_was_killed_for_its_memory_says_so() {
    let mut world = web();
    let id = world.live_ids("web")[0].clone();
    let app = world.app(&id, "app");
    let killed = ContainerState::Exited { exit_code: 137, oom_killed: true, error: String::new() };
    world.observed.containers.get_mut(&app).unwrap().state = killed.clone();
    world.containers.get_mut(&app).unwrap().state = killed;
    world.plan();
    let container = shown(&world, &id)["containers"][0].clone();
    assert_eq!(container["reason"], "OutOfMemoryError: Container killed due to memory usage");
    assert_eq!(container["exitCode"], 137);
}

#[test]
fn steady_is_all_tasks_healthy_of_one_deployment_and_none_leaving() {
    let mut world = World::up(&stack(vec![service("web", 2, vec![container("app", "web:1")])]));
    let steady = |world: &World| world.service("web").steady;
    assert!(steady(&world));
    up::scale(&mut world.state, &stack_name(), &ServiceName::new("web"), 3);
    world.settle(Duration::from_secs(39));
    assert!(world.running("web") == 3 && !steady(&world), "the third does not count as healthy yet");
    world.settle(Duration::from_secs(2));
    assert!(steady(&world));
    up::scale(&mut world.state, &stack_name(), &ServiceName::new("web"), 2);
    world.plan();
    assert!(!steady(&world), "one is leaving");
    world.settle(Duration::from_secs(60));
    assert!(steady(&world));
    world.apply_stack(&stack(vec![service("web", 2, vec![container("app", "web:2")])]));
    world.plan();
    assert!(!steady(&world), "there are two deployments");
}

#[test]
fn within_the_grace_period_an_exit_still_ends_a_task() {
    let mut patient = service("web", 1, vec![checked("app", "web:1")]);
    patient.health_check_grace_period_seconds = 300;
    let mut world = World::new();
    world.health.insert("web:1".into(), Health::Unhealthy);
    world.apply_stack(&stack(vec![patient]));
    world.settle(Duration::from_secs(10));
    let first = world.live_ids("web")[0].clone();
    world.end(&world.app(&first, "app"), 1);
    world.settle(Duration::from_secs(10));
    assert!(!world.task(&first).is_wanted());
    assert_eq!(world.running("web"), 1);
}

#[test]
fn an_eni_reads_as_ec2_describes_the_one_of_a_task() {
    let world = web();
    let id = world.live_ids("web")[0].clone();
    let task = world.task(&id);
    let (eni, _) = inspect::describe(&lens(&world), "eni", task.eni().unwrap().id.as_str()).unwrap();
    let description = format!(
        "arn:aws:ecs:us-east-1:{}:attachment/{}",
        crate::spec::ids::ACCOUNT,
        task.attached().unwrap().attachment
    );
    assert_eq!(eni["Description"], description);
    assert_eq!(
        (&eni["RequesterManaged"], &eni["Status"], &eni["InterfaceType"]),
        (&json!(true), &json!("in-use"), &json!("interface"))
    );
}

#[test]
fn a_group_reads_as_ec2_describes_it() {
    let mut spec = stack(vec![service("web", 1, vec![container("app", "web:1")])]);
    let rule = |traffic, peer| Rule { traffic, peer };
    let block = || Peer::Cidr("10.0.0.0/8".parse().unwrap());
    let group = SecurityGroup {
        ingress: vec![
            rule(Traffic::Tcp(PortRange { first: 80, last: 81 }), block()),
            rule(Traffic::Icmp { kind: Some(8), code: None }, Peer::Group(GroupName::new("default"))),
            rule(Traffic::All, block()),
        ],
        egress: Vec::new(),
        description: "who may ask".into(),
    };
    spec.security_groups.insert(GroupName::new("door"), group);
    let world = World::up(&spec);
    let (value, _) = inspect::describe(&lens(&world), "security-group", "door").unwrap();
    let default = &world.state.stack(&stack_name()).unwrap().record.groups["default"];
    assert_eq!(
        value["IpPermissions"],
        json!([
            { "IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{ "CidrIp": "10.0.0.0/8" }] },
            { "IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "UserIdGroupPairs": [{ "GroupId": default, "GroupName": "default" }] },
            { "IpProtocol": "-1", "IpRanges": [{ "CidrIp": "10.0.0.0/8" }] },
        ])
    );
    let id = value["GroupId"].as_str().unwrap();
    assert!(id.starts_with("sg-") && id.len() == "sg-".len() + 17, "{id}");
}

#[test]
fn a_subnet_counts_the_addresses_that_are_left() {
    let spec =
        |count| stack_in(vec![service("web", count, vec![container("app", "web:1")])], "10.0.0.0/24", "10.0.1.0/28");
    let world = World::up(&spec(2));
    for (name, free) in [("a", 251 - 1), ("b", 11 - 1)] {
        let (subnet, _) = inspect::describe(&lens(&world), "subnet", name).unwrap();
        assert_eq!(subnet["AvailableIpAddressCount"], free, "{subnet}");
    }
}
