//! Container instances and the modes bridge, host and none, in the simulation.

use std::collections::BTreeSet;
use std::time::Duration;

use super::definitions::{bounds, container, in_mode, service, serving, stack};
use super::simulation::{World, stack_name};
use crate::spec::ids::{NetworkMode, ServiceName};
use crate::spec::service::SchedulingStrategy;
use crate::spec::task_definition::TransportProtocol;
use crate::store::instance::InstanceStatus;
use crate::store::task::TaskStatus;

const LONG: Duration = Duration::from_secs(300);

fn bridge(name: &str, count: u32, host_port: Option<u16>) -> crate::spec::service::Service {
    in_mode(NetworkMode::Bridge, service(name, count, vec![serving("app", 80, host_port)]))
}

#[rstest::rstest]
#[case(NetworkMode::Bridge)]
#[case(NetworkMode::Host)]
#[case(NetworkMode::None)]
#[case(NetworkMode::Awsvpc)]
fn a_stack_gets_one_instance_for_each_zone_and_its_tasks_run(#[case] mode: NetworkMode) {
    let web = in_mode(mode, service("web", 2, vec![serving("app", 80, None)]));
    let mut world = World::up(&stack(vec![web]));
    world.assert_complete();
    let zones: BTreeSet<_> = world.container_instances().iter().map(|i| i.availability_zone.clone()).collect();
    assert_eq!(zones.len(), 2);
    let on: BTreeSet<_> = world.live("web").iter().map(|t| t.instance.clone().unwrap()).collect();
    assert_eq!(on.len(), 2, "spread over the zones");
}

#[test]
fn dynamic_host_ports_of_an_instance_follow_one_another() {
    let mut world = World::up(&stack(vec![bridge("web", 6, None)]));
    world.assert_complete();
    for instance in world.container_instances() {
        let tasks = world.live("web").into_iter().filter(|t| t.instance.as_ref() == Some(&instance.id));
        let ports: BTreeSet<u16> = tasks.flat_map(|t| t.bindings()).map(|b| b.host_port).collect();
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [32768, 32769, 32770]);
    }
}

#[test]
fn a_fixed_host_port_has_a_stack_that_sizes_itself_grow_and_shrink_again() {
    let mut world = World::up(&stack(vec![bridge("web", 5, Some(8080))]));
    world.assert_complete();
    assert_eq!(world.container_instances().len(), 5);
    crate::plan::up::scale(&mut world.state, &stack_name(), &ServiceName::new("web"), 1);
    world.settle(LONG);
    world.assert_complete();
    assert_eq!(world.container_instances().len(), 2, "one for each zone stays");
}

#[test]
fn a_lost_instance_takes_its_tasks_along_and_replacements_start_elsewhere() {
    let mut world = World::up(&stack(vec![bridge("web", 4, None)]));
    let lost = world.container_instances()[0].clone();
    let before = world.live_ids("web");
    world.end(&world.setting.instance_name(&stack_name(), &lost.id), 137);
    world.plan();
    for id in before.iter().filter(|id| world.task(id).instance.as_ref() == Some(&lost.id)) {
        let stop = world.task(id).stop.as_ref().unwrap();
        assert_eq!(stop.reason, format!("Host EC2 (instance {}) terminated.", lost.ec2_instance_id));
        assert_eq!(stop.code.as_str(), "TerminationNotice");
    }
    let elsewhere = |world: &World| {
        world.live("web").iter().all(|t| t.instance.as_ref() != Some(&lost.id) || t.status == TaskStatus::Running)
    };
    assert!(elsewhere(&world));
    world.settle(LONG);
    world.assert_complete();
    assert!(world.container_instances().iter().any(|i| i.id == lost.id && i.is_connected()), "it comes back, empty");
    assert_eq!(world.service("web").failed_starts, 0, "no fault of the tasks");
}

#[test]
fn draining_moves_tasks_and_keeps_the_minimum_healthy() {
    let mut world = World::up(&stack(vec![bridge("web", 4, None)]));
    let drained = world.container_instances()[0].id.clone();
    world.state.edit_instance(&stack_name(), &drained, |i| i.status = InstanceStatus::Draining);
    for _ in 0..400 {
        let steps = world.plan().steps;
        for step in steps {
            world.perform(step);
            assert!(world.running("web") >= 4, "fewer than the minimum run");
        }
    }
    world.settle(LONG);
    assert!(world.live("web").iter().all(|t| t.instance.as_ref() != Some(&drained)));
    assert_eq!(world.running("web"), 4);
}

#[test]
fn a_port_of_another_process_is_passed_over_when_dynamic_and_ends_the_task_when_fixed() {
    let mut world = World::new();
    world.busy_ports.extend([(TransportProtocol::Tcp, 32768), (TransportProtocol::Tcp, 8080)]);
    world.apply_stack(&stack(vec![bridge("web", 1, None), bridge("fixed", 1, Some(8080))]));
    world.settle(Duration::from_secs(20));
    let web = world.live("web")[0];
    assert_eq!((web.status, web.bindings()[0].host_port), (TaskStatus::Running, 32769));
    assert_eq!(world.service("web").failed_starts, 0, "the same task, with another port");
    assert_eq!(world.said("web", "has started 1 tasks"), 1);
    let stack = world.state.stack(&stack_name()).unwrap();
    let failed = stack.tasks.values().find(|t| t.service.as_str() == "fixed" && !t.is_wanted()).unwrap();
    let reason = &failed.stop.as_ref().unwrap().reason;
    assert!(reason.ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{reason}");
}

#[test]
fn a_port_and_an_address_are_used_again_only_when_nothing_leads_there() {
    let mut world = World::up(&stack(vec![bridge("web", 2, Some(8080))]));
    let old = world.live_ids("web");
    // The steps of the simulation refuse a container that is detached while a port leads to it.
    crate::plan::up::stop_task(&mut world.state, &stack_name(), &old[0], None, world.now);
    world.settle(LONG);
    world.assert_complete();
    assert!(world.live_ids("web").iter().any(|id| !old.contains(id)));
}

#[test]
fn the_mode_changes_by_rolling_replacement_and_leaves_nothing() {
    let in_bridge = stack(vec![bridge("web", 3, None)]);
    let in_awsvpc = stack(vec![service("web", 3, vec![serving("app", 80, None)])]);
    let in_host = stack(vec![in_mode(NetworkMode::Host, service("web", 3, vec![serving("app", 80, None)]))]);
    let mut world = World::up(&in_awsvpc);
    assert_eq!(world.container_instances().len(), 0);
    for next in [&in_bridge, &in_host, &in_bridge, &in_awsvpc] {
        world.apply_stack(next);
        for _ in 0..600 {
            let steps = world.plan().steps;
            for step in steps {
                world.perform(step);
                assert!(world.running("web") >= 3, "fewer than the minimum run");
            }
        }
        world.settle(LONG);
        world.assert_complete();
        let mode = next.services.values().next().unwrap().network_mode;
        assert!(world.live("web").iter().all(|t| t.mode() == mode));
    }
    assert_eq!(world.container_instances().len(), 0, "awsvpc on Fargate needs none");
    assert_eq!(world.containers.len(), 2 + 3 * 2);
}

#[test]
fn a_restart_of_the_agent_at_any_step_of_a_switch_gets_there() {
    let in_bridge = stack(vec![bridge("web", 2, None)]);
    let in_awsvpc = stack(vec![service("web", 2, vec![container("app", "app:1")])]);
    for cut in 0..80 {
        let mut world = World::up(&in_awsvpc);
        world.apply_stack(&in_bridge);
        let over = world.steps(cut);
        world.restart();
        world.settle(LONG);
        world.assert_complete();
        if over {
            return;
        }
    }
}

#[test]
fn an_instance_that_is_stopped_before_it_came_up_takes_its_waiting_tasks_along() {
    let mut world = World::new();
    world.apply_stack(&stack(vec![bridge("web", 2, None)]));
    world.plan();
    let stopped = world.container_instances()[0].id.clone();
    world.state.edit_instance(&stack_name(), &stopped, |i| i.wanted = false);
    world.settle(LONG);
    assert!(world.live("web").iter().all(|t| t.instance.as_ref() != Some(&stopped)));
    assert_eq!(world.running("web"), 2);
}

#[test]
fn a_daemon_has_one_task_on_each_instance_and_one_that_drains_keeps_its_own() {
    let mut daemon = bounds(bridge("logs", 0, Some(9000)), 0, 100);
    daemon.scheduling_strategy = SchedulingStrategy::Daemon;
    let mut world = World::up(&stack(vec![daemon.clone()]));
    world.assert_complete();
    let on = |world: &World| world.live("logs").iter().filter_map(|t| t.instance.clone()).collect::<BTreeSet<_>>();
    assert_eq!((on(&world).len(), world.live("logs").len()), (2, 2));
    let before = world.live_ids("logs");
    let drained = world.container_instances()[0].id.clone();
    world.state.edit_instance(&stack_name(), &drained, |i| i.status = InstanceStatus::Draining);
    world.settle(LONG);
    assert_eq!(world.live_ids("logs"), before, "nobody's task moves");
    world.state.edit_instance(&stack_name(), &drained, |i| i.status = InstanceStatus::Active);
    // Another image, with its fixed port: one stops before the next starts, and the stack does not grow.
    daemon.task_definition.container_definitions[0].image = "app:2".into();
    world.apply_stack(&stack(vec![daemon]));
    world.settle(LONG);
    world.assert_complete();
    assert_eq!((world.container_instances().len(), world.live("logs").len()), (2, 2));
    assert!(world.live_ids("logs").iter().all(|id| !before.contains(id)));
}

#[test]
fn down_leaves_nothing_of_instances() {
    let mut world = World::up(&stack(vec![bridge("web", 3, None)]));
    crate::plan::up::delete(&mut world.state, &stack_name());
    world.settle(LONG);
    assert!(world.containers.is_empty(), "{:?}", world.containers.keys());
    assert!(world.state.stack(&stack_name()).is_none());
}
