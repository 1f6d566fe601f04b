//! Properties of the whole loop: it gets there from everywhere, and does nothing that it does not have to.

use std::time::Duration;

use proptest::prelude::*;

use super::definitions::*;
use super::simulation::*;
use crate::observe::Observed;
use crate::plan::up;
use crate::runtime::ContainerState;
use crate::spec::ids::ServiceName;
use crate::spec::stack::Stack;
use crate::spec::task_definition::Condition;

const LONG: Duration = Duration::from_secs(600);

fn three_services() -> Stack {
    let mut quiet = service("jobs", 1, vec![container("app", "jobs:1")]);
    quiet.discovery = None;
    stack(vec![
        service("web", 3, vec![checked("app", "web:1"), after(container("side", "side:1"), "app", Condition::Healthy)]),
        service("orders", 2, vec![container("app", "orders:1")]),
        quiet,
    ])
}

/// What may happen to a stack.
#[derive(Debug, Clone)]
enum Event {
    Restart,
    RestartDocker,
    LoseVpc(bool),
    LoseResolver(bool),
    LoseNth(usize, bool),
    Scale(u32),
    Image(u8),
    StopTask(usize),
    Steps(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Restart),
        Just(Event::RestartDocker),
        any::<bool>().prop_map(Event::LoseVpc),
        any::<bool>().prop_map(Event::LoseResolver),
        (0..40usize, any::<bool>()).prop_map(|(n, removed)| Event::LoseNth(n, removed)),
        (0..6u32).prop_map(Event::Scale),
        (0..4u8).prop_map(Event::Image),
        (0..6usize).prop_map(Event::StopTask),
        (0..60usize).prop_map(Event::Steps),
        (1..90u64).prop_map(Event::Wait),
    ]
}

impl World {
    fn happen(&mut self, event: &Event) {
        let lose = |world: &mut Self, name: &str, removed: bool| {
            if removed { world.remove(name) } else { world.end(name, 137) }
        };
        match event {
            Event::Restart => self.restart(),
            Event::RestartDocker => self.restart_docker(),
            Event::LoseVpc(removed) => lose(self, &self.setting.vpc_name(&stack_name()), *removed),
            Event::LoseResolver(removed) => lose(self, &self.setting.resolver_name(&stack_name()), *removed),
            Event::LoseNth(n, removed) => {
                if let Some(name) = self.containers.keys().nth(*n).cloned() {
                    lose(self, &name, *removed);
                }
            }
            Event::Scale(count) => {
                up::scale(&mut self.state, &stack_name(), &ServiceName::new("web"), *count);
            }
            Event::Image(tag) => {
                let mut spec = three_services();
                let orders = spec.services.get_mut("orders").unwrap();
                orders.task_definition.container_definitions[0].image = format!("orders:{tag}");
                self.apply_stack(&spec);
            }
            Event::StopTask(n) => {
                let tasks = self.live_ids("web");
                if let Some(task) = tasks.get(*n) {
                    up::stop_task(&mut self.state, &stack_name(), task, None, self.now);
                }
            }
            Event::Steps(limit) => {
                self.steps(*limit);
            }
            Event::Wait(seconds) => self.now += Duration::from_secs(*seconds),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_loop_gets_there(events in prop::collection::vec(event(), 1..12)) {
        let mut world = World::new();
        world.apply_stack(&three_services());
        for event in &events {
            world.happen(event);
        }
        world.settle(LONG * 4);
        world.assert_complete();
        world.restart();
        world.settle(LONG);
        world.assert_complete();
    }

    #[test]
    fn after_down_nothing_is_left(events in prop::collection::vec(event(), 0..8), cut in 0..60usize) {
        let mut world = World::new();
        world.apply_stack(&three_services());
        for event in &events {
            world.happen(event);
        }
        up::delete(&mut world.state, &stack_name());
        world.steps(cut);
        world.restart();
        world.settle(LONG);
        prop_assert!(world.containers.is_empty());
        prop_assert!(world.state.stacks().is_empty());
        prop_assert!(world.namespaces.is_empty());
    }
}

#[test]
fn cut_at_any_step_and_observed_anew_it_still_gets_there() {
    let mut whole = World::up(&three_services());
    whole.assert_complete();
    let total = whole.done.len();
    for cut in 0..total {
        let mut world = World::new();
        world.apply_stack(&three_services());
        world.steps(cut);
        world.restart();
        world.settle(LONG);
        world.assert_complete();
    }
}

#[test]
fn cut_at_any_step_of_leaving_nothing_is_left() {
    let mut cut = 0;
    loop {
        let mut world = World::up(&three_services());
        up::delete(&mut world.state, &stack_name());
        let all = world.steps(cut);
        world.restart();
        world.settle(LONG);
        assert!(world.containers.is_empty() && world.state.stacks().is_empty(), "cut at {cut}");
        if all {
            return;
        }
        cut += 1;
    }
}

#[test]
fn after_a_restart_of_docker_everything_comes_back() {
    let mut world = World::up(&three_services());
    world.restart_docker();
    assert!(world.containers.values().all(|c| !matches!(c.state, ContainerState::Running { .. })));
    world.settle(LONG);
    world.assert_complete();
}

#[test]
fn a_lost_vpc_holder_costs_no_task() {
    let mut world = World::up(&three_services());
    let before = world.live_ids("web");
    world.end(&world.setting.vpc_name(&stack_name()), 137);
    world.settle(LONG);
    world.assert_complete();
    assert_eq!(world.live_ids("web"), before);
}

#[test]
fn an_image_that_cannot_be_pulled_disturbs_no_other_service() {
    let mut world = World::new();
    world.unpullable.insert("orders:1".into());
    world.apply_stack(&three_services());
    world.settle(Duration::from_secs(300));
    assert_eq!((world.running("web"), world.running("jobs"), world.running("orders")), (3, 1, 0));
    assert!(world.service("web").steady && world.service("jobs").steady);
    assert_eq!(world.said("orders", "is unable to consistently start tasks successfully."), 1);
    // The same image, pushed by now.
    world.unpullable.clear();
    world.settle(Duration::from_secs(1200));
    world.assert_complete();
}

#[test]
fn one_change_among_a_thousand_tasks_is_a_few_steps() {
    let services = (0..10).map(|n| service(&format!("s{n}"), 100, vec![container("app", "i:1")])).collect();
    let mut world = World::up(&stack(services));
    world.assert_complete();
    let lost = world.live_ids("s3")[50].clone();
    world.end(&world.app(&lost, "app"), 1);
    world.done.clear();
    world.settle(Duration::from_secs(60));
    assert!(world.done.len() <= 16, "{:?}", world.done);
    world.assert_complete();
}

#[test]
fn a_plan_over_nothing_is_nothing() {
    let mut world = World::new();
    assert_eq!(world.plan(), crate::plan::Plan::default());
    world.observed = Observed::default();
    assert_eq!(world.plan().wake_at, None);
}
