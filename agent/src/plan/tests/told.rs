//! What Docker is told of a task's containers (reference 1.2, 1.9, 2.2, 2.3).

use std::time::Duration;

use rstest::rstest;

use super::definitions::*;
use super::simulation::*;
use crate::plan::containers::{app, task_pause};
use crate::plan::step::Step;
use crate::plan::up;
use crate::runtime::{ContainerSpec, Network};
use crate::spec::service::Service;
use crate::spec::task_definition::{ContainerDefinition, HealthCheck};
use crate::store::task::Task;

/// What Docker is told of the pause and of the one container of a task.
fn told(service: Service) -> (World, Task, ContainerSpec, ContainerSpec) {
    let world = World::up(&stack(vec![service]));
    let task = world.task(&world.live_ids("web")[0]).clone();
    let record = world.state.stack(&stack_name()).unwrap().record.clone();
    let pause = task_pause(&stack_name(), &record, &task, "own:1", &world.setting);
    let definition = task.definition.container_definitions[0].clone();
    let app = app(&stack_name(), &record, &task, &definition, "ecsnet:1", &world.setting);
    (world, task, pause, app)
}

fn of(definition: ContainerDefinition) -> ContainerSpec {
    told(service("web", 1, vec![definition])).3
}

#[test]
fn a_container_joins_the_pause_which_has_no_network_of_docker_s() {
    let (_, _, pause, app) = told(service("web", 1, vec![container("app", "web:1")]));
    assert_eq!(pause.network, Network::None);
    assert_eq!(app.network, Network::JoinContainer(pause.name));
}

#[test]
fn the_pause_has_the_names_that_all_containers_see() {
    let (_, task, pause, _) = told(service("web", 1, vec![container("app", "web:1")]));
    let address = task.eni().unwrap().primary_address().unwrap();
    let name = format!("ip-{}.ec2.internal", address.to_string().replace('.', "-"));
    assert_eq!(pause.hostname.as_ref(), Some(&name));
    assert_eq!(pause.extra_hosts, [(name, address)]);
    assert_eq!(pause.dns, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(pause.dns_search, ["ec2.internal"]);
}

#[test]
fn a_container_carries_ecs_s_labels() {
    let (_, task, _, app) = told(service("web", 1, vec![container("app", "web:1")]));
    let label = |name: &str| app.labels[&format!("com.amazonaws.ecs.{name}")].as_str();
    assert!(label("task-arn").ends_with(&format!(":task/shop/{}", task.id)));
    assert_eq!(label("container-name"), "app");
    assert_eq!(label("task-definition-family"), "web");
    assert_eq!(label("task-definition-version"), "1");
    assert!(label("cluster").ends_with("shop"));
}

#[rstest]
#[case::absent(0, 2)]
#[case::one(1, 2)]
#[case::given(256, 256)]
fn cpu_units_are_shares_and_two_at_least(#[case] cpu: u32, #[case] shares: i64) {
    assert_eq!(of(ContainerDefinition { cpu, ..container("app", "web:1") }).cpu_shares, Some(shares));
}

#[test]
fn memory_is_the_hard_limit_and_its_reservation_the_soft_one() {
    let spec =
        of(ContainerDefinition { memory: Some(512), memory_reservation: Some(128), ..container("app", "web:1") });
    assert_eq!((spec.memory_mib, spec.memory_reservation_mib), (Some(512), Some(128)));
}

#[test]
fn a_health_check_is_told_as_it_is_written_and_none_is_told_where_there_is_none() {
    let check = HealthCheck {
        command: vec!["CMD-SHELL".into(), "x".into()],
        interval: Duration::from_secs(7),
        timeout: Duration::from_secs(3),
        retries: 2,
        start_period: Duration::from_secs(11),
    };
    let told = of(ContainerDefinition { health_check: Some(check.clone()), ..container("app", "web:1") });
    let told = told.health_check.unwrap();
    assert_eq!(
        (told.command, told.interval, told.timeout, told.retries, told.start_period),
        (check.command, check.interval, check.timeout, check.retries, check.start_period)
    );
    assert!(of(container("app", "web:1")).health_check.is_none());
}

#[rstest]
#[case::left_out(None, 30)]
#[case::given(Some(2), 2)]
fn between_the_signal_and_the_kill_are_30_seconds_unless_it_says_otherwise(
    #[case] given: Option<u32>,
    #[case] seconds: u64,
) {
    let quiet = Service {
        discovery: None,
        ..service("web", 1, vec![ContainerDefinition { stop_timeout: given, ..container("app", "web:1") }])
    };
    let mut world = World::up(&stack(vec![quiet]));
    let task = world.live_ids("web")[0].clone();
    up::stop_task(&mut world.state, &stack_name(), &task, None, world.now);
    let graces: Vec<Duration> = world
        .plan()
        .steps
        .into_iter()
        .filter_map(|step| if let Step::StopContainer { grace, .. } = step { Some(grace) } else { None })
        .collect();
    assert_eq!(graces, [Duration::from_secs(seconds)]);
}
