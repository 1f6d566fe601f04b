//! The service scheduler, rule by rule (reference 3.2–3.9).

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;

use super::definitions::*;
use super::simulation::*;
use crate::plan::up;
use crate::runtime::Health;
use crate::spec::ids::ServiceName;
use crate::spec::service::Service;
use crate::store::state::Rollout;
use crate::store::task::{StopCode, TaskStatus};

const MINUTE: Duration = Duration::from_secs(60);

fn web(count: u32, image: &str) -> Service {
    service("web", count, vec![container("app", image)])
}

fn scale(world: &mut World, count: u32) {
    up::scale(&mut world.state, &stack_name(), &ServiceName::new("web"), count);
}

fn images(world: &World) -> BTreeMap<String, usize> {
    let mut images = BTreeMap::new();
    for task in world.live("web") {
        *images.entry(task.definition.container_definitions[0].image.clone()).or_default() += 1;
    }
    images
}

/// What the wanted tasks are right after a deployment was asked for: old ones that go on, new ones that start.
#[rstest]
#[case::start_first(1, 100, 200, 1, 1)]
#[case::start_first_of_four(4, 100, 200, 4, 4)]
#[case::half_room(4, 100, 150, 4, 2)]
#[case::upper_is_rounded_down(3, 100, 150, 3, 1)]
#[case::stop_one_first(2, 50, 100, 1, 1)]
#[case::lower_is_rounded_up(3, 50, 100, 2, 1)]
#[case::stop_all_first(3, 0, 100, 0, 3)]
fn a_deployment_keeps_within_its_bounds(
    #[case] desired: u32,
    #[case] minimum: u32,
    #[case] maximum: u32,
    #[case] old: usize,
    #[case] new: usize,
) {
    let mut world = World::up(&stack(vec![bounds(web(desired, "web:1"), minimum, maximum)]));
    world.apply_stack(&stack(vec![bounds(web(desired, "web:2"), minimum, maximum)]));
    world.plan();
    let counts = images(&world);
    assert_eq!(counts.get("web:1").copied().unwrap_or(0), old, "old ones that go on");
    assert_eq!(counts.get("web:2").copied().unwrap_or(0), new, "new ones");

    // At no moment are there fewer healthy ones than the lower bound, or more tasks than the upper one.
    let lower = (desired * minimum).div_ceil(100) as usize;
    let upper = (desired * maximum / 100) as usize;
    for _ in 0..400 {
        world.settle(Duration::from_secs(1));
        assert!(world.running("web") >= lower && world.live("web").len() <= upper);
    }
    world.assert_complete();
    assert_eq!(images(&world), BTreeMap::from([("web:2".into(), desired as usize)]));
    assert_eq!(world.said("web", "deployment completed."), 2);
    assert_eq!(world.service("web").deployments.len(), 1);
}

#[rstest]
#[case(1, 150)]
#[case(3, 120)]
fn bounds_without_room_are_said_once_and_nothing_moves(#[case] desired: u32, #[case] maximum: u32) {
    let mut world = World::up(&stack(vec![bounds(web(desired, "web:1"), 100, maximum)]));
    world.apply_stack(&stack(vec![bounds(web(desired, "web:2"), 100, maximum)]));
    for _ in 0..3 {
        world.settle(MINUTE);
    }
    assert_eq!(images(&world), BTreeMap::from([("web:1".into(), desired as usize)]));
    assert_eq!(world.said("web", "was unable to stop or start tasks during a deployment"), 1);
}

#[test]
fn an_up_right_after_an_up_keeps_what_serves() {
    let mut world = World::new();
    world.apply_stack(&stack(vec![web(2, "web:1")]));
    world.settle(Duration::from_secs(5));
    assert_eq!(world.running("web"), 2);
    world.apply_stack(&stack(vec![web(2, "web:2")]));
    for _ in 0..60 {
        world.settle(Duration::from_secs(1));
        assert!(world.running("web") >= 2);
    }
    assert_eq!(images(&world), BTreeMap::from([("web:2".into(), 2)]));
}

#[rstest]
#[case(5, 2, 2)]
#[case(5, 3, 2)]
#[case(6, 3, 2)]
fn zones_stay_even(#[case] first: u32, #[case] then: u32, #[case] most: usize) {
    let mut world = World::up(&stack(vec![web(first, "web:1")]));
    let zones = |world: &World| {
        let mut zones: BTreeMap<String, usize> = BTreeMap::new();
        for task in world.live("web") {
            *zones.entry(task.availability_zone.clone()).or_default() += 1;
        }
        zones.values().copied().max().unwrap_or(0) - zones.values().copied().min().unwrap_or(0)
    };
    assert!(zones(&world) <= 1);
    scale(&mut world, then);
    world.settle(2 * MINUTE);
    assert_eq!(world.live("web").len(), then as usize);
    assert!(zones(&world) <= 1);
    assert!(world.live("web").len() <= most + 1);
    let stopped = world.state.stack(&stack_name()).unwrap().tasks.values().filter(|t| !t.is_wanted());
    for task in stopped {
        let stop = task.stop.as_ref().unwrap();
        assert_eq!(stop.code, StopCode::ServiceSchedulerInitiated);
        assert!(stop.reason.starts_with("Scaling activity initiated by (deployment ecs-svc/"), "{}", stop.reason);
    }
    world.assert_complete();
}

#[test]
fn one_that_was_running_is_replaced_at_once_for_ever() {
    let mut world = World::up(&stack(vec![web(1, "web:1")]));
    for _ in 0..5 {
        let lost = world.live_ids("web")[0].clone();
        world.end(&world.app(&lost, "app"), 1);
        world.settle(Duration::ZERO);
        assert_eq!(world.running("web"), 1);
        assert_ne!(world.live_ids("web")[0], lost);
        assert_eq!(world.task(&lost).stop.as_ref().unwrap().code, StopCode::EssentialContainerExited);
    }
    assert_eq!(world.service("web").failed_starts, 0);
}

#[test]
fn the_wait_between_failed_starts_doubles_up_to_a_quarter_of_an_hour_and_a_corrected_image_ends_it() {
    let mut world = World::new();
    world.unpullable.insert("web:1".into());
    world.apply_stack(&stack(vec![web(3, "web:1")]));
    let mut waits = Vec::new();
    for _ in 0..13 {
        world.settle(Duration::ZERO);
        let next = world.service("web").next_start.unwrap();
        waits.push(next.duration_since(world.now).as_secs());
        world.now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
    assert_eq!(world.said("web", "is unable to consistently start tasks successfully."), 1);
    assert_eq!(world.service("web").deployments[0].rollout, Rollout::InProgress);

    // The tasks of the old image fail after the new deployment was made: that must not hold it up.
    world.plan();
    world.apply_stack(&stack(vec![web(3, "web:2")]));
    world.settle(Duration::ZERO);
    assert_eq!(world.running("web"), 3);
    assert_eq!(world.service("web").next_start, None);
}

#[rstest]
#[case::with_roll_back(true, "web:1", 1)]
#[case::without(false, "web:1", 0)]
fn the_circuit_breaker_gives_up(#[case] rollback: bool, #[case] serves: &str, #[case] rolled_back: usize) {
    let mut world = World::up(&stack(vec![breaker(web(2, "web:1"), rollback)]));
    world.unpullable.insert("web:2".into());
    world.apply_stack(&stack(vec![breaker(web(2, "web:2"), rollback)]));
    world.settle(10 * MINUTE);
    assert_eq!(world.said("web", "deployment failed: tasks failed to start."), 1);
    assert_eq!(world.said("web", "rolling back to deployment"), rolled_back);
    assert_eq!(images(&world), BTreeMap::from([(serves.to_owned(), 2)]));
    let primary = world.service("web").primary().unwrap();
    assert_eq!(primary.rollout, if rollback { Rollout::Completed } else { Rollout::Failed });

    // Given up or not, a scale in works.
    scale(&mut world, 0);
    world.settle(MINUTE);
    assert_eq!(world.live("web").len(), 0);
}

#[test]
fn a_roll_back_that_fails_is_not_rolled_back() {
    let mut world = World::up(&stack(vec![breaker(web(2, "web:1"), true)]));
    world.unpullable.extend(["web:1".to_owned(), "web:2".to_owned()]);
    world.observed.images.clear();
    world.apply_stack(&stack(vec![breaker(web(2, "web:2"), true)]));
    world.settle(120 * MINUTE);
    assert_eq!(world.said("web", "rolling back to deployment"), 1);
    assert_eq!(world.said("web", "deployment failed"), 2);
    // What the first deployment had goes on.
    assert_eq!(world.running("web"), 2);
}

#[rstest]
#[case::start_first(200, true)]
#[case::stop_first(100, false)]
fn an_unhealthy_task_is_replaced(#[case] maximum: u32, #[case] start_first: bool) {
    let mut service = bounds(service("web", 1, vec![checked("app", "web:1")]), 0, maximum);
    service.deployment_configuration.minimum_healthy_percent = if start_first { 100 } else { 0 };
    let mut world = World::up(&stack(vec![service]));
    let sick = world.live_ids("web")[0].clone();
    world.health.insert("web:1".into(), Health::Starting);
    world.set_health(&world.app(&sick, "app"), Health::Unhealthy);
    world.settle(MINUTE);
    assert_eq!(world.task(&sick).is_wanted(), start_first, "until its replacement is healthy");
    assert_eq!(world.live("web").len(), if start_first { 2 } else { 1 });
    let fresh = world.live_ids("web").into_iter().find(|id| *id != sick).unwrap();
    if start_first {
        // The zone has only the sick one, flagged; that is what Cloud Map answers then.
        assert_eq!(world.instances("web"), BTreeMap::from([(sick.as_str().to_owned(), false)]));
    }
    world.set_health(&world.app(&fresh, "app"), Health::Healthy);
    world.settle(MINUTE);
    world.assert_complete();
    let stop = world.task(&sick).stop.clone().unwrap();
    assert_eq!(
        (stop.code, stop.reason.as_str()),
        (StopCode::ServiceSchedulerInitiated, "Task failed container health checks")
    );
    assert_eq!(world.said("web", &format!("(task {sick}) failed container health checks.")), 1);
}

#[test]
fn unhealthy_tasks_without_room_go_one_at_a_time() {
    let service = bounds(service("web", 3, vec![checked("app", "web:1")]), 0, 100);
    let mut world = World::up(&stack(vec![service]));
    let sick = world.live_ids("web");
    world.health.insert("web:1".into(), Health::Starting);
    for id in &sick {
        world.set_health(&world.app(id, "app"), Health::Unhealthy);
    }
    for left in (0..3).rev() {
        world.settle(MINUTE);
        let wanted: Vec<_> = sick.iter().filter(|id| world.task(id).is_wanted()).collect();
        assert_eq!(wanted.len(), left, "the next one waits for the replacement of the one before");
        assert_eq!(world.live("web").len(), 3);
        let fresh = world.live_ids("web").into_iter().filter(|id| !sick.contains(id));
        let fresh = fresh.map(|id| world.app(&id, "app")).collect::<Vec<_>>();
        for app in fresh {
            world.set_health(&app, Health::Healthy);
        }
    }
    world.settle(MINUTE);
    world.assert_complete();
}

#[test]
fn within_its_grace_period_an_unhealthy_task_stays() {
    let mut service = service("web", 1, vec![checked("app", "web:1")]);
    service.health_check_grace_period_seconds = 300;
    let mut world = World::new();
    world.health.insert("web:1".into(), Health::Unhealthy);
    world.apply_stack(&stack(vec![service]));
    world.settle(Duration::from_secs(299));
    assert_eq!(world.live("web").len(), 1);
    let sick = world.live_ids("web")[0].clone();
    world.health.clear();
    world.settle(Duration::from_secs(2));
    assert!(!world.task(&sick).is_wanted());
    world.assert_complete();
}

#[test]
fn full_subnets_are_said_once_and_the_rest_starts_when_there_is_room() {
    // 16 addresses less the five of AWS's.
    let spec = |count| stack_in(vec![web(count, "web:1")], "10.0.0.0/28", "10.0.0.16/28");
    let mut world = World::new();
    world.apply_stack(&spec(30));
    for _ in 0..3 {
        world.settle(MINUTE);
    }
    assert_eq!(world.running("web"), 22);
    assert_eq!(world.said("web", "was unable to place a task."), 1);
    world.apply_stack(&spec(22));
    world.settle(MINUTE);
    world.assert_complete();
}

#[test]
fn a_steady_state_is_said_once_and_again_after_a_change() {
    let mut world = World::up(&stack(vec![web(1, "web:1")]));
    for _ in 0..5 {
        world.settle(MINUTE);
    }
    assert_eq!(world.said("web", "has reached a steady state."), 1);
    scale(&mut world, 2);
    world.settle(2 * MINUTE);
    assert_eq!(world.said("web", "has reached a steady state."), 2);
    world.restart();
    world.settle(2 * MINUTE);
    assert_eq!(world.said("web", "has reached a steady state."), 2);
}

#[test]
fn without_a_check_a_task_counts_as_healthy_after_40_seconds() {
    let mut world = World::new();
    world.apply_stack(&stack(vec![web(1, "web:1")]));
    world.settle(Duration::from_secs(39));
    assert_eq!(world.running("web"), 1);
    assert_eq!(world.said("web", "deployment completed."), 0);
    world.settle(Duration::from_secs(1));
    assert_eq!(world.said("web", "deployment completed."), 1);
}

#[test]
fn a_service_that_is_taken_out_goes_when_its_tasks_have() {
    let mut world = World::up(&stack(vec![web(2, "web:1"), service("orders", 1, vec![container("app", "o:1")])]));
    world.apply_stack(&stack(vec![service("orders", 1, vec![container("app", "o:1")])]));
    world.plan();
    let in_stack = world.state.stack(&stack_name()).unwrap();
    assert!(in_stack.services["web"].leaving);
    assert!(in_stack.tasks.values().filter(|t| t.service.as_str() == "web").all(|t| t.status > TaskStatus::Running));
    world.settle(MINUTE);
    assert!(!world.state.stack(&stack_name()).unwrap().services.contains_key("web"));
    world.assert_complete();
}

#[test]
fn a_scale_in_of_a_service_without_a_registry_needs_no_event_to_go_on() {
    let mut quiet = web(2, "web:1");
    quiet.discovery = None;
    let mut world = World::up(&stack(vec![quiet]));
    scale(&mut world, 1);
    let kinds: Vec<_> = world.plan().steps.iter().map(|s| s.kind()).collect();
    assert_eq!(kinds, ["PublishFront", "StopContainer"], "no zone is waited for");
}
