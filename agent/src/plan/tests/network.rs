//! What follows from a state for DNS and for the filter, over the life of a task (reference 6.2, 6.7; pitfall 1).

use std::collections::BTreeMap;
use std::time::Duration;

use super::definitions::*;
use super::simulation::*;
use crate::plan::step::Step;
use crate::plan::up;
use crate::project::security_groups::ruleset;
use crate::runtime::Health;
use crate::store::task::TaskStatus;

#[test]
fn a_name_appears_when_its_task_is_healthy_is_flagged_when_not_and_goes_before_the_task() {
    let mut world = World::new();
    world.health.insert("web:1".into(), Health::Starting);
    world.apply_stack(&stack(vec![service("web", 1, vec![checked("app", "web:1")])]));
    world.settle(Duration::from_secs(30));
    let task = world.live_ids("web")[0].clone();
    assert_eq!(world.task(&task).status, TaskStatus::Running);
    assert_eq!(world.instances("web"), BTreeMap::new());
    let app = world.app(&task, "app");
    world.set_health(&app, Health::Healthy);
    world.settle(Duration::ZERO);
    assert_eq!(world.instances("web"), BTreeMap::from([(task.as_str().to_owned(), true)]));

    up::stop_task(&mut world.state, &stack_name(), &task, None, world.now);
    let steps = world.plan().steps;
    assert_eq!(world.task(&task).status, TaskStatus::Deactivating);
    assert!(!steps.iter().any(|s| matches!(s, Step::StopContainer { .. })), "it stops after it was taken out");
    for step in steps {
        world.perform(step);
    }
    assert!(!world.instances("web").contains_key(task.as_str()));
    let steps = world.plan().steps;
    assert!(steps.iter().any(|s| matches!(s, Step::StopContainer { name, .. } if *name == app)));
}

#[test]
fn one_check_that_fails_counts_though_another_has_no_verdict() {
    let mut world = World::new();
    world.health.insert("a:1".into(), Health::Starting);
    world.health.insert("b:1".into(), Health::Starting);
    world.apply_stack(&stack(vec![service("web", 1, vec![checked("a", "a:1"), checked("b", "b:1")])]));
    world.settle(Duration::from_secs(30));
    let sick = world.live_ids("web")[0].clone();
    world.set_health(&world.app(&sick, "b"), Health::Unhealthy);
    world.plan();
    assert_eq!(world.live("web").len(), 2, "its replacement starts");
}

#[test]
fn a_task_keeps_the_name_that_its_own_deployment_gave_it() {
    let mut world = World::up(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    let old = world.live_ids("web")[0].clone();
    let mut renamed = service("web", 1, vec![container("app", "web:1")]);
    renamed.discovery.as_mut().unwrap().name = "shop-window".into();
    world.apply_stack(&stack(vec![renamed]));
    world.settle(Duration::from_secs(1));
    assert_eq!(world.instances("web").keys().collect::<Vec<_>>(), [old.as_str()]);
    assert_eq!(world.instances("shop-window").len(), 1);
    world.settle(Duration::from_secs(60));
    assert!(world.instances("web").is_empty());
}

#[test]
fn a_registry_that_comes_later_is_for_new_tasks() {
    let mut quiet = service("web", 1, vec![container("app", "web:1")]);
    quiet.discovery = None;
    let mut world = World::up(&stack(vec![quiet]));
    let old = world.live_ids("web")[0].clone();
    world.apply_stack(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    for _ in 0..60 {
        world.settle(Duration::from_secs(1));
        assert!(!world.instances("web").contains_key(old.as_str()));
    }
    world.assert_complete();
}

#[test]
fn an_eni_stays_in_the_filter_until_its_link_is_gone_and_its_flows_go_before_its_lease() {
    let mut world = World::up(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    let task = world.live_ids("web")[0].clone();
    let eni = world.task(&task).eni().unwrap().id.clone();
    up::scale(&mut world.state, &stack_name(), &crate::spec::ids::ServiceName::new("web"), 0);
    let mut order = Vec::new();
    while world.task(&task).status != TaskStatus::Stopped {
        let in_stack = world.state.stack(&stack_name()).unwrap();
        assert!(ruleset(in_stack, |_| false).enis.contains_key(&eni));
        let unlinked = order.contains(&"UnlinkEni");
        let leaving = in_stack.tasks[&task].status == TaskStatus::Deprovisioning;
        assert_eq!(ruleset(in_stack, |_| unlinked).enis.contains_key(&eni), !(leaving && unlinked));
        for step in world.plan().steps {
            if matches!(step.kind(), "UnlinkEni" | "ApplyFilter" | "ForgetFlows") {
                order.push(step.kind());
            }
            world.perform(step);
        }
    }
    assert_eq!(order, ["UnlinkEni", "ApplyFilter", "ForgetFlows"]);
}

#[test]
fn the_link_goes_once_the_containers_have_ended_and_before_the_pause() {
    let containers = vec![container("app", "a:1"), container("side", "s:1")];
    let mut world = World::up(&stack(vec![service("web", 1, containers)]));
    let task = world.live_ids("web")[0].clone();
    let apps = [world.app(&task, "app"), world.app(&task, "side")];
    let pause = world.setting.pause_name(&stack_name(), &task);
    up::scale(&mut world.state, &stack_name(), &crate::spec::ids::ServiceName::new("web"), 0);
    let mut order = Vec::new();
    while world.task(&task).status != TaskStatus::Stopped {
        for step in world.plan().steps {
            match &step {
                Step::UnlinkEni { .. } => {
                    let ended = |name| world.containers.get(name).is_none_or(|c| c.state.pid().is_none());
                    assert!(apps.iter().all(ended), "one could still send");
                    order.push("link");
                }
                Step::StopContainer { name, .. } | Step::RemoveContainer { name } if *name == pause => {
                    order.push("pause")
                }
                _ => {}
            }
            world.perform(step);
        }
    }
    assert_eq!(order, ["link", "pause"]);
}

#[test]
fn nothing_starts_while_the_vpc_is_lost() {
    let mut world = World::new();
    world.apply_stack(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    while world.live("web").first().is_none_or(|t| t.status != TaskStatus::Pending) {
        assert!(!world.steps(1));
    }
    world.end(&world.setting.vpc_name(&stack_name()), 137);
    assert!(!world.plan().steps.iter().any(|s| matches!(s, Step::StartContainer { .. })));
    world.settle(Duration::from_secs(60));
    world.assert_complete();
}

#[test]
fn a_stack_whose_router_cannot_be_built_can_be_taken_down() {
    let mut world = World::new();
    world.unbuildable = true;
    world.apply_stack(&stack(vec![service("web", 2, vec![container("app", "app:1")])]));
    world.settle(Duration::from_secs(5));
    assert_eq!(world.running("web"), 0);
    up::delete(&mut world.state, &stack_name());
    world.settle(Duration::from_secs(60));
    assert!(world.state.stacks().is_empty() && world.containers.is_empty());
}

#[test]
fn the_filter_logs_as_long_as_somebody_follows_and_one_step_brings_it_and_takes_it_away() {
    let mut world = World::up(&stack(vec![service("web", 1, vec![container("app", "web:1")])]));
    for (followers, logs) in [(Some(2), true), (Some(1), true), (None, false)] {
        world.observed.flow_log_followers = followers.map(|count| (stack_name(), count)).into_iter().collect();
        let steps = world.plan().steps;
        // The second follower that goes changes nothing.
        assert_eq!(steps.len(), usize::from(followers != Some(1)), "{steps:?}");
        for step in steps {
            assert!(matches!(&step, Step::ApplyFilter { ruleset, .. } if ruleset.flow_log == logs), "{step:?}");
            world.perform(step);
        }
        assert_eq!(world.plan().steps, []);
    }
}
