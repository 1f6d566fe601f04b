//! The life of one task (reference 2.4, 2.8–2.10).

use std::time::Duration;

use rstest::rstest;

use super::definitions::*;
use super::simulation::*;
use crate::plan::step::Step;
use crate::plan::up;
use crate::runtime::{ContainerState, Health, ObservedContainer, labels};
use crate::spec::ids::ContainerName;
use crate::spec::task_definition::{Condition, ContainerDefinition};
use crate::store::task::{StopCode, Task, TaskStatus};

fn helper(name: &str, image: &str) -> ContainerDefinition {
    ContainerDefinition { essential: false, ..container(name, image) }
}

fn world_of(containers: Vec<ContainerDefinition>) -> World {
    let mut world = World::new();
    world.apply_stack(&stack(vec![service("web", 1, containers)]));
    world
}

/// The oldest task there ever was.
fn first(world: &World) -> &Task {
    let stack = world.state.stack(&stack_name()).unwrap();
    stack.tasks.values().min_by_key(|t| (t.created_at, t.is_wanted())).unwrap()
}

/// Whether the container `app` was started, with a dependency `dep` that does this.
#[rstest]
#[case::start(Condition::Start, None, true)]
#[case::start_though_over(Condition::Start, Some(1), true)]
#[case::complete_not_yet(Condition::Complete, None, false)]
#[case::complete(Condition::Complete, Some(3), true)]
#[case::success_not_yet(Condition::Success, None, false)]
#[case::success(Condition::Success, Some(0), true)]
fn depends_on(#[case] condition: Condition, #[case] dependency_ends: Option<i64>, #[case] starts: bool) {
    let mut world = World::new();
    if let Some(code) = dependency_ends {
        world.ending.insert("dep:1".into(), code);
    }
    let containers = vec![helper("dep", "dep:1"), after(container("app", "app:1"), "dep", condition)];
    world.apply_stack(&stack(vec![service("web", 1, containers)]));
    world.settle(Duration::from_secs(5));
    let task = first(&world);
    assert_eq!(task.container(&ContainerName::new("app")).started, starts);
    assert_eq!(world.containers.contains_key(&world.app(&task.id, "app")), starts, "it is not even created");
    assert_eq!(task.status, if starts { TaskStatus::Running } else { TaskStatus::Pending });
}

#[test]
fn depends_on_healthy_is_asked_at_the_start_only() {
    let mut world = World::new();
    world.health.insert("dep:1".into(), Health::Starting);
    let dependency = ContainerDefinition { essential: false, ..checked("dep", "dep:1") };
    let containers = vec![dependency, after(container("app", "app:1"), "dep", Condition::Healthy)];
    world.apply_stack(&stack(vec![service("web", 1, containers)]));
    world.settle(Duration::from_secs(5));
    let task = first(&world).id.clone();
    assert_eq!(world.task(&task).status, TaskStatus::Pending);
    let dep = world.app(&task, "dep");
    world.set_health(&dep, Health::Healthy);
    world.settle(Duration::from_secs(5));
    assert_eq!(world.task(&task).status, TaskStatus::Running);
    world.set_health(&dep, Health::Unhealthy);
    world.settle(Duration::from_secs(60));
    assert_eq!(world.task(&task).status, TaskStatus::Running);
}

#[rstest]
#[case::success_failed(Condition::Success, Some(1), None)]
#[case::healthy_never(Condition::Healthy, Some(0), None)]
#[case::too_late(Condition::Complete, None, Some(20))]
#[case::never_started(Condition::Start, None, None)]
fn a_dependency_that_can_hold_no_more_stops_the_dependent_with_143(
    #[case] condition: Condition,
    #[case] ends: Option<i64>,
    #[case] start_timeout: Option<u32>,
) {
    let mut world = World::new();
    world.ending.extend(ends.map(|code| ("dep:1".to_owned(), code)));
    if ends.is_none() && start_timeout.is_none() {
        world.unpullable.insert("dep:1".into());
    }
    let dependency = ContainerDefinition { essential: false, start_timeout, ..checked("dep", "dep:1") };
    let containers = vec![dependency, after(container("app", "app:1"), "dep", condition)];
    world.apply_stack(&stack(vec![service("web", 1, containers)]));
    if let Some(seconds) = start_timeout {
        world.settle(Duration::from_secs(u64::from(seconds) - 1));
        assert_eq!(first(&world).status, TaskStatus::Pending);
        world.settle(Duration::from_secs(1));
    } else {
        world.settle(Duration::ZERO);
    }
    let task = first(&world);
    let app = task.container(&ContainerName::new("app"));
    assert_eq!((app.started, app.exit_code), (false, Some(143)));
    let reason = app.reason.unwrap();
    assert!(
        reason.starts_with("CannotStartContainerError: dependency graph: container app depends on dep"),
        "{reason}"
    );
    let stop = task.stop.as_ref().unwrap();
    assert_eq!((stop.code, &stop.reason), (StopCode::TaskFailedToStart, &reason));
    assert_eq!(task.status, TaskStatus::Stopped);
}

#[rstest]
#[case::essential_with_0(true, 0)]
#[case::essential_with_1(true, 1)]
#[case::other(false, 1)]
fn the_essential_rule(#[case] essential: bool, #[case] code: i64) {
    let mut world =
        world_of(vec![container("main", "m:1"), ContainerDefinition { essential, ..container("side", "s:1") }]);
    world.settle(Duration::from_secs(1));
    let task = first(&world).id.clone();
    world.end(&world.app(&task, "side"), code);
    world.settle(Duration::ZERO);
    let task = world.task(&task);
    assert_eq!(task.container(&ContainerName::new("side")).exit_code, Some(code));
    assert_eq!(task.is_wanted(), !essential);
    if essential {
        let stop = task.stop.as_ref().unwrap();
        assert_eq!(stop.code, StopCode::EssentialContainerExited);
        assert_eq!(stop.reason, "Essential container in task exited");
        assert_eq!(task.container(&ContainerName::new("main")).exit_code, Some(143));
        assert_eq!(task.status, TaskStatus::Stopped);
    }
}

#[test]
fn a_container_removed_by_hand_is_an_exit_and_not_a_failed_start() {
    let mut world = world_of(vec![container("app", "a:1")]);
    world.settle(Duration::from_secs(1));
    let task = first(&world).id.clone();
    world.remove(&world.app(&task, "app"));
    world.settle(Duration::ZERO);
    assert_eq!(world.task(&task).stop.as_ref().unwrap().code, StopCode::EssentialContainerExited);
    assert_eq!(world.running("web"), 1);
}

#[rstest]
#[case::running(true, StopCode::EssentialContainerExited)]
#[case::pending(false, StopCode::TaskFailedToStart)]
fn a_lost_pause_ends_its_task(#[case] ran: bool, #[case] code: StopCode) {
    let slow = after(container("app", "a:1"), "dep", Condition::Complete);
    let containers = if ran { vec![container("app", "a:1")] } else { vec![helper("dep", "d:1"), slow] };
    let mut world = world_of(containers);
    world.settle(Duration::from_secs(1));
    let task = first(&world).id.clone();
    world.end(&world.setting.pause_name(&stack_name(), &task), 137);
    world.settle(Duration::ZERO);
    let stop = world.task(&task).stop.clone().unwrap();
    assert_eq!(stop.code, code);
    assert!(stop.reason.starts_with("ContainerNetworkingError: "), "{}", stop.reason);
    assert_eq!(world.task(&task).status, TaskStatus::Stopped);
}

#[rstest]
#[case(None, "Task stopped by user")]
#[case(Some("because"), "because")]
fn stop_task(#[case] given: Option<&str>, #[case] reason: &str) {
    let mut world = world_of(vec![container("app", "a:1")]);
    world.settle(Duration::from_secs(1));
    let task = first(&world).id.clone();
    up::stop_task(&mut world.state, &stack_name(), &task, given.map(str::to_owned), world.now);
    world.settle(Duration::ZERO);
    let stop = world.task(&task).stop.clone().unwrap();
    assert_eq!((stop.code, stop.reason.as_str()), (StopCode::UserInitiated, reason));
    assert_eq!(world.running("web"), 1);
    assert_eq!(world.service("web").deployments[0].failed_tasks, 0);
}

#[test]
fn containers_stop_in_the_reverse_of_their_order() {
    let containers = vec![container("db", "d:1"), after(container("app", "a:1"), "db", Condition::Start)];
    let mut world = world_of(containers);
    world.settle(Duration::from_secs(1));
    let task = first(&world).id.clone();
    up::stop_task(&mut world.state, &stack_name(), &task, None, world.now);
    let mut stopped = Vec::new();
    for _ in 0..8 {
        for step in world.plan().steps {
            if let crate::plan::step::Step::StopContainer { name, .. } = &step {
                stopped.push(name.clone());
            }
            world.perform(step);
        }
    }
    assert_eq!(stopped, [world.app(&task, "app"), world.app(&task, "db")]);
}

#[test]
fn a_stopped_task_stays_visible_for_an_hour() {
    let mut world = world_of(vec![container("app", "a:1")]);
    world.settle(Duration::from_secs(1));
    let task = first(&world).id.clone();
    up::stop_task(&mut world.state, &stack_name(), &task, None, world.now);
    world.settle(Duration::from_secs(3599));
    assert_eq!(world.task(&task).status, TaskStatus::Stopped);
    world.settle(Duration::from_secs(2));
    assert!(!world.state.stack(&stack_name()).unwrap().tasks.contains_key(&task));
}

#[test]
fn a_container_that_is_being_started_is_waited_for_and_stopped_as_any_other() {
    let mut world = world_of(vec![container("app", "app:1")]);
    let start = loop {
        let start = world.plan().steps.into_iter().find(|step| step.kind() == "StartContainer");
        if let Some(start) = start {
            break start;
        }
        assert!(!world.steps(1), "it never came to the container");
    };
    let task = first(&world).id.clone();
    world.observed.under_way.insert(start.object());
    up::stop_task(&mut world.state, &stack_name(), &task, None, world.now);
    world.settle(Duration::from_secs(5));
    assert_eq!(world.task(&task).status, TaskStatus::Stopping, "not over before the start is");

    world.observed.under_way.clear();
    world.perform(start);
    let stops = |world: &World| world.done.iter().filter(|kind| **kind == "StopContainer").count();
    let before = stops(&world);
    world.settle(Duration::from_secs(60));
    assert_eq!(stops(&world), before + 1);
    assert_eq!(world.task(&task).status, TaskStatus::Stopped);
    world.assert_complete();
}

#[test]
fn a_user_s_command_in_a_task_s_network_is_left_alone_until_the_task_stops() {
    let mut world = World::up(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    let task = world.live_ids("web")[0].clone();
    let mut command = world.observed.containers[&world.app(&task, "app")].clone();
    command.name = "a command".into();
    command.labels.insert(labels::ROLE.into(), labels::Role::Helper.as_str().into());
    world.observed.containers.insert(command.name.clone(), command.clone());
    let removed = |steps: &[Step]| {
        steps.iter().any(|step| matches!(step, Step::RemoveContainer { name } if *name == command.name))
    };
    assert!(!removed(&world.plan().steps));
    let left = ContainerState::Exited { exit_code: 0, oom_killed: false, error: String::new() };
    for (state, age, goes) in
        [(left, 0, true), (ContainerState::Created, 59, false), (ContainerState::Created, 61, true)]
    {
        let created_at = Some(world.now - Duration::from_secs(age));
        let seen = ObservedContainer { state, created_at, ..command.clone() };
        world.observed.containers.insert(command.name.clone(), seen);
        assert_eq!(removed(&world.plan().steps), goes, "{age}");
    }
    world.observed.containers.insert(command.name.clone(), command.clone());
    up::stop_task(&mut world.state, &stack_name(), &task, None, world.now);
    // The simulated Docker does not have it, so what is planned is looked at and not done.
    while world.task(&task).status < TaskStatus::Stopping {
        let steps = world.plan().steps;
        if world.task(&task).status < TaskStatus::Stopping {
            assert!(!removed(&steps));
        }
        steps.into_iter().for_each(|step| {
            if !removed(std::slice::from_ref(&step)) {
                world.perform(step)
            }
        });
    }
    assert!(removed(&world.plan().steps));
}
