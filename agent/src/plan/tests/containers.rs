//! What Docker is told of a task's containers, and what follows for the task from their definitions (reference 2.2–2.5).

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;

use super::definitions::*;
use super::simulation::*;
use crate::plan::containers::{app, task_pause};
use crate::plan::health::{HealthStatus, of_task};
use crate::plan::{mounts, up};
use crate::runtime::{ContainerSpec, Health, Mount};
use crate::spec::ids::ContainerName;
use crate::spec::service::LaunchType;
use crate::spec::task_definition::*;
use crate::spec::volume::*;
use crate::store::task::{Task, TaskStatus};

/// A world with one task of a service that has these containers and this around them.
fn world_of(containers: Vec<ContainerDefinition>, edit: impl FnOnce(&mut TaskDefinition)) -> (World, Task) {
    let mut world = World::new();
    let mut spec = service("web", 1, containers);
    edit(&mut spec.task_definition);
    world.apply_stack(&stack(vec![spec]));
    world.settle(Duration::from_secs(1));
    let task = world.live("web")[0].clone();
    (world, task)
}

fn told(world: &World, task: &Task, launch_type: LaunchType, container: &str) -> ContainerSpec {
    let task = &Task { launch_type, ..task.clone() };
    let record = &world.state.stack(&stack_name()).unwrap().record;
    let definition = task.definition.container(&ContainerName::new(container)).unwrap();
    app(&stack_name(), record, task, definition, "ecsnet:1", &world.setting)
}

/// What Docker is told of a container `app` alone in its task, in a cgroup of its own.
fn alone(definition: ContainerDefinition, edit: impl FnOnce(&mut TaskDefinition)) -> ContainerSpec {
    let (world, task) = world_of(vec![definition], edit);
    told(&world, &task, LaunchType::Ec2, "app")
}

fn nothing(_: &mut TaskDefinition) {}

#[rstest]
#[case::absent(0, 2)]
#[case::least(1, 2)]
#[case::some(256, 256)]
#[case::most(300_000, 262_144)]
fn cpu_is_shares(#[case] cpu: u32, #[case] shares: i64) {
    let definition = ContainerDefinition { cpu, ..container("app", "a:1") };
    assert_eq!(alone(definition, nothing).cpu_shares, Some(shares));
}

#[rstest]
#[case::none(None, None, None, (None, None))]
#[case::hard(Some(64), None, None, (Some(64), None))]
#[case::both(Some(64), Some(32), Some(128), (Some(64), Some(32)))]
#[case::task_alone(None, Some(32), Some(128), (Some(128), Some(32)))]
fn memory_is_a_hard_and_a_soft_limit(
    #[case] memory: Option<u32>,
    #[case] memory_reservation: Option<u32>,
    #[case] of_task: Option<u32>,
    #[case] expected: (Option<i64>, Option<i64>),
) {
    let definition = ContainerDefinition { memory, memory_reservation, ..container("app", "a:1") };
    let spec = alone(definition, |d| d.memory = of_task);
    assert_eq!((spec.memory_mib, spec.memory_reservation_mib), expected);
}

#[rstest]
#[case::nothing_said(Some(64), None, Some(7), (None, None))]
#[case::none_at_all(Some(64), Some(0), None, (Some(64), Some(60)))]
#[case::some(Some(64), Some(16), Some(7), (Some(80), Some(7)))]
#[case::without_a_limit(None, Some(16), Some(7), (None, None))]
fn swap_is_beyond_memory(
    #[case] memory: Option<u32>,
    #[case] max_swap: Option<u32>,
    #[case] swappiness: Option<u32>,
    #[case] expected: (Option<i64>, Option<i64>),
) {
    let spec = alone(ContainerDefinition { memory, max_swap, swappiness, ..container("app", "a:1") }, nothing);
    assert_eq!((spec.memory_swap_mib, spec.swappiness), expected);
}

#[test]
fn a_size_is_a_cgroup_for_all_or_else_a_limit_for_each() {
    let sized = |d: &mut TaskDefinition| (d.cpu, d.memory) = (Some(512), Some(128));
    let (mut world, task) = world_of(vec![container("app", "a:1")], sized);
    let record = world.state.stack(&stack_name()).unwrap().record.clone();
    let parent = Some(format!("/ecs/{}", task.id));
    let spec = told(&world, &task, LaunchType::Ec2, "app");
    assert_eq!((&spec.cgroup_parent, spec.cpu_quota_us), (&parent, None));
    assert_eq!(task_pause(&stack_name(), &record, &task, "ecsnet:1", &world.setting).cgroup_parent, parent);
    world.setting.cgroups = Err("systemd".into());
    let spec = told(&world, &task, LaunchType::Ec2, "app");
    assert_eq!((spec.cgroup_parent, spec.cpu_quota_us, spec.memory_mib), (None, Some(50_000), Some(128)));
    assert_eq!(alone(container("app", "a:1"), nothing).cgroup_parent, None, "a task without a size needs none");
}

#[rstest]
#[case::fargate(LaunchType::Fargate, None, None, Some(65_535))]
#[case::fargate_here(LaunchType::Fargate, None, Some(20_000), Some(20_000))]
#[case::said(LaunchType::Fargate, Some(9), None, Some(9))]
#[case::ec2(LaunchType::Ec2, None, None, None)]
fn open_files(
    #[case] launch_type: LaunchType,
    #[case] given: Option<i64>,
    #[case] most: Option<i64>,
    #[case] expected: Option<i64>,
) {
    let mut definition = container("app", "a:1");
    let ulimit = |limit| Ulimit { name: "nofile".into(), soft_limit: limit, hard_limit: limit };
    definition.ulimits = given.map(ulimit).into_iter().collect();
    let (mut world, task) = world_of(vec![definition], nothing);
    world.setting.most_open_files = most;
    let spec = told(&world, &task, launch_type, "app");
    assert_eq!(spec.ulimits.iter().find(|u| u.name == "nofile").map(|u| u.hard), expected);
}

#[test]
fn of_two_variables_with_a_name_the_later_one_counts_and_a_secret_is_only_named() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let definition = ContainerDefinition {
        environment: vec![pair("A", "file"), pair("B", "file"), pair("A", "own")],
        secrets: vec![Secret { name: "AWS_REGION".into(), value_from: "/region".into() }],
        ..container("app", "a:1")
    };
    let mut spec = alone(definition, nothing);
    spec.environment.retain(|(name, _)| !name.starts_with("ECS_"));
    assert_eq!(spec.environment, [pair("A", "own"), pair("B", "file"), pair("AWS_EXECUTION_ENV", "AWS_ECS_EC2")]);
    assert_eq!(spec.secrets, [pair("AWS_REGION", "/region")]);
}

#[rstest]
#[case::own(None, None, (None, None, None))]
#[case::host(Some(PidMode::Host), Some(IpcMode::Host), (Some("host"), Some("host"), None))]
#[case::none(None, Some(IpcMode::None), (None, Some("none"), None))]
#[case::task(Some(PidMode::Task), Some(IpcMode::Task), (Some("container:PAUSE"), Some("container:PAUSE"), Some("shareable")))]
fn processes_and_ipc(
    #[case] pid_mode: Option<PidMode>,
    #[case] ipc_mode: Option<IpcMode>,
    #[case] expected: (Option<&str>, Option<&str>, Option<&str>),
) {
    let (world, task) = world_of(vec![container("app", "a:1")], |d| (d.pid_mode, d.ipc_mode) = (pid_mode, ipc_mode));
    let record = world.state.stack(&stack_name()).unwrap().record.clone();
    let pause = task_pause(&stack_name(), &record, &task, "ecsnet:1", &world.setting);
    let spec = told(&world, &task, LaunchType::Ec2, "app");
    let named = |mode: Option<String>| mode.map(|m| m.replace(&pause.name, "PAUSE"));
    let seen = (named(spec.pid_mode), named(spec.ipc_mode), pause.ipc_mode.clone());
    assert_eq!((seen.0.as_deref(), seen.1.as_deref(), seen.2.as_deref()), expected);
}

fn docker_volume(scope: VolumeScope, autoprovision: bool) -> VolumeSource {
    let (driver_opts, labels) = (BTreeMap::from([("o".into(), "1".into())]), BTreeMap::new());
    VolumeSource::Docker(DockerVolume { scope, autoprovision, driver: None, driver_opts, labels })
}

#[rstest]
#[case::host(VolumeSource::Host { source_path: "/srv".into() }, "/srv", None, false)]
#[case::empty(VolumeSource::Empty, "OWN", Some(true), true)]
#[case::task(docker_volume(VolumeScope::Task, false), "OWN", Some(true), true)]
#[case::shared(docker_volume(VolumeScope::Shared, true), "data", Some(true), false)]
#[case::shared_as_it_is(docker_volume(VolumeScope::Shared, false), "data", Some(false), false)]
#[case::efs(
    VolumeSource::Efs { file_system_id: "fs-1".into(), root_directory: "/a/../../b".into() },
    "/nowhere/efs/fs-1/a/b", None, false
)]
fn volumes(
    #[case] source: VolumeSource,
    #[case] named: &str,
    #[case] made: Option<bool>,
    #[case] goes_with_the_task: bool,
) {
    let point = MountPoint { source_volume: "data".into(), container_path: "/data".into(), read_only: true };
    let definition = ContainerDefinition { mount_points: vec![point], ..container("app", "a:1") };
    let (world, task) = world_of(vec![definition], |d| d.volumes = vec![Volume { name: "data".into(), source }]);
    let own = world.setting.volume_name(&stack_name(), &task.id, "data");
    let mounts = told(&world, &task, LaunchType::Ec2, "app").mounts;
    let [Mount { source, target, read_only, make_source, volume }] = &mounts[..] else { panic!("{mounts:?}") };
    assert_eq!(source.replace(&own, "OWN"), named);
    assert_eq!((target.as_str(), *read_only, *make_source), ("/data", true, volume.is_none()));
    assert_eq!(volume.as_ref().map(|v| v.make), made);
    let labelled = volume.as_ref().is_some_and(|v| v.labels.contains_key(crate::runtime::labels::TASK));
    assert_eq!(labelled, goes_with_the_task, "only what is the task's says so");
    assert_eq!(!mounts::own_volumes(&world.setting, &stack_name(), &task).is_empty(), goes_with_the_task);
}

#[rstest]
#[case::volume(true, false)]
#[case::size(false, true)]
#[case::neither(false, false)]
fn what_a_task_leaves_behind_goes_after_its_containers(#[case] volume: bool, #[case] size: bool) {
    let (mut world, task) = world_of(vec![container("app", "a:1")], |d| {
        d.volumes.extend(volume.then(|| Volume { name: "data".into(), source: VolumeSource::Empty }));
        d.memory = size.then_some(64);
    });
    up::stop_task(&mut world.state, &stack_name(), &task.id, None, world.now);
    world.done.clear();
    world.settle(Duration::ZERO);
    assert_eq!(world.task(&task.id).status, TaskStatus::Stopped);
    let remains = world.done.iter().filter(|kind| **kind == "RemoveRemains").count();
    assert_eq!(remains, usize::from(volume || size));
    if remains == 1 {
        let at = |kind: &str| world.done.iter().rposition(|k| *k == kind);
        assert!(at("RemoveRemains") > at("RemoveContainer") && at("RemoveRemains") > at("ForgetFlows"));
    }
}

#[test]
fn who_takes_mounts_over_waits_for_who_has_them() {
    let mut world = World::new();
    let mut heir = container("heir", "h:1");
    heir.volumes_from = vec![VolumesFrom { source_container: ContainerName::new("owner"), read_only: true }];
    let owner = ContainerDefinition { essential: false, ..container("owner", "o:1") };
    let dep = after(owner, "gate", Condition::Healthy);
    let gate = ContainerDefinition { essential: false, ..checked("gate", "g:1") };
    world.health.insert("g:1".into(), Health::Starting);
    world.apply_stack(&stack(vec![service("web", 1, vec![heir, dep, gate])]));
    world.settle(Duration::from_secs(1));
    let task = world.live("web")[0].clone();
    assert!(!task.container(&ContainerName::new("heir")).started);
    let gate = world.app(&task.id, "gate");
    world.set_health(&gate, Health::Healthy);
    world.settle(Duration::from_secs(1));
    let spec = told(&world, &task, LaunchType::Ec2, "heir");
    assert_eq!(spec.volumes_from, [(world.app(&task.id, "owner"), true)]);
    assert_eq!(world.task(&task.id).status, TaskStatus::Running);
}

#[test]
fn a_stub_is_our_own_image_and_healthy_because_it_runs() {
    let mut world = World::new();
    world.unpullable.insert("sidecar:1".into());
    let sidecar = ContainerDefinition { stub: true, ..checked("sidecar", "sidecar:1") };
    let app = after(container("app", "a:1"), "sidecar", Condition::Healthy);
    world.apply_stack(&stack(vec![service("web", 1, vec![sidecar, app])]));
    world.settle(Duration::from_secs(1));
    assert_eq!(world.running("web"), 1);
    let task = world.live("web")[0].clone();
    assert!(task.was_healthy, "the sidecar is the one container with a check");
    let spec = told(&world, &task, LaunchType::Ec2, "sidecar");
    assert_eq!((spec.image.as_str(), spec.health_check, spec.environment), ("ecsnet:1", None, Vec::new()));
    world.end(&world.app(&task.id, "sidecar"), 0);
    world.settle(Duration::ZERO);
    assert_eq!(world.task(&task.id).status, TaskStatus::Stopped, "it is essential as before");
}

/// Containers as (essential, has a check, what Docker says of it).
#[rstest]
#[case::no_check(&[(true, false, None)], HealthStatus::Unknown)]
#[case::only_beside(&[(true, false, None), (false, true, Some(Health::Healthy))], HealthStatus::Unknown)]
#[case::all(&[(true, true, Some(Health::Healthy)), (true, false, None)], HealthStatus::Healthy)]
#[case::not_yet(&[(true, true, Some(Health::Healthy)), (true, true, Some(Health::Starting))], HealthStatus::Unknown)]
#[case::one_is_not(&[(true, true, Some(Health::Starting)), (true, true, Some(Health::Unhealthy))], HealthStatus::Unhealthy)]
#[case::beside_is_not(&[(true, true, Some(Health::Healthy)), (false, true, Some(Health::Unhealthy))], HealthStatus::Healthy)]
fn health_of_a_task(#[case] containers: &[(bool, bool, Option<Health>)], #[case] expected: HealthStatus) {
    let name = |index: usize| format!("c{index}");
    let definition = |(index, (essential, has_check, _)): (usize, &(bool, bool, Option<Health>))| {
        let image = format!("{index}:1");
        let definition = if *has_check { checked(&name(index), &image) } else { container(&name(index), &image) };
        ContainerDefinition { essential: *essential, ..definition }
    };
    let (mut world, task) = world_of(containers.iter().enumerate().map(definition).collect(), nothing);
    for (index, (_, _, health)) in containers.iter().enumerate() {
        if let Some(health) = health {
            world.set_health(&world.app(&task.id, &name(index)), *health);
        }
    }
    assert_eq!(of_task(&task, &stack_name(), &world.observed, &world.setting), expected);
}

#[test]
fn a_restarted_container_is_the_same_one_and_its_task_goes_on() {
    let policy =
        RestartPolicy { enabled: true, ignored_exit_codes: vec![4], restart_attempt_period: Duration::from_secs(60) };
    let definition = ContainerDefinition { restart_policy: Some(policy), ..container("app", "a:1") };
    let (mut world, task) = world_of(vec![definition], nothing);
    let app = world.app(&task.id, "app");
    let id = world.containers[&app].id.clone();
    let record = |world: &World| world.task(&task.id).container(&ContainerName::new("app"));
    for round in 1..=2 {
        world.settle(Duration::from_secs(60));
        world.end(&app, 3);
        // What was decided is on disk before it is done, and the next agent does it.
        world.plan();
        world.restart();
        world.settle(Duration::from_secs(1));
        assert_eq!((world.running("web"), record(&world).restarts, record(&world).stopped), (1, round, false));
        assert_eq!(world.containers[&app].id, id);
    }
    world.settle(Duration::from_secs(30));
    world.end(&app, 3);
    world.settle(Duration::ZERO);
    assert_eq!((record(&world).restarts, record(&world).exit_code), (2, Some(3)), "it ran for too short a time");
    assert_eq!(world.task(&task.id).status, TaskStatus::Stopped);
}

#[test]
fn secrets_are_kept_as_long_as_a_deployment_names_them() {
    let with = |value_from: &str| {
        let secrets = vec![Secret { name: "A".into(), value_from: value_from.into() }];
        stack(vec![service("web", 1, vec![ContainerDefinition { secrets, ..container("app", "a:1") }])])
    };
    let mut world = World::up(&with("old"));
    let named = |world: &World| up::secrets_named(&world.state, &stack_name()).into_iter().collect::<Vec<_>>();
    assert_eq!(named(&world), ["old"]);
    world.apply_stack(&with("new"));
    assert_eq!(named(&world), ["new", "old"], "the older deployment may still start tasks");
    world.settle(Duration::from_secs(300));
    assert_eq!(named(&world), ["new"]);
}
