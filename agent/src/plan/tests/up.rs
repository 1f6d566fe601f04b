//! What `up` changes, and what it refuses.

use rstest::rstest;

use super::definitions::*;
use super::simulation::*;
use crate::control::api::InstanceAction;
use crate::control::view::Lens;
use crate::plan::up::{self, Refused};
use crate::spec::ids::{GroupName, InstanceId, NetworkMode, SubnetName};
use crate::spec::service::Service;
use crate::spec::stack::Stack;
use crate::store::instance::InstanceStatus;

fn web() -> Service {
    service("web", 2, vec![container("app", "web:1")])
}

#[rstest]
#[case::same(|_: &mut Service| {}, false)]
#[case::count(|s: &mut Service| s.desired_count = 5, false)]
#[case::bounds(|s: &mut Service| s.deployment_configuration.maximum_percent = 150, false)]
#[case::grace(|s: &mut Service| s.health_check_grace_period_seconds = 9, false)]
#[case::image(|s: &mut Service| s.task_definition.container_definitions[0].image = "web:2".into(), true)]
#[case::groups(|s: &mut Service| s.security_groups.clear(), true)]
#[case::subnets(|s: &mut Service| { s.subnets.pop(); }, true)]
#[case::registry(|s: &mut Service| s.discovery = None, true)]
fn a_new_deployment_or_not(#[case] change: fn(&mut Service), #[case] makes_one: bool) {
    let mut world = World::up(&stack(vec![web()]));
    let before = world.service("web").primary().unwrap().id.clone();
    let mut changed = web();
    change(&mut changed);
    world.apply_stack(&stack(vec![changed.clone()]));
    let primary = world.service("web").primary().unwrap();
    assert_eq!(primary.id != before, makes_one);
    assert_eq!(primary.service, changed);
    assert_eq!(primary.revision, if changed.task_definition == web().task_definition { 1 } else { 2 });
    assert_eq!(world.service("web").desired_count, changed.desired_count);
}

#[test]
fn the_same_file_again_changes_nothing() {
    let mut world = World::up(&stack(vec![web()]));
    let before = world.state.stack(&stack_name()).unwrap().clone();
    let lines = up::apply(&mut world.state, &stack(vec![web()]), world.now, &mut world.ids).unwrap();
    assert!(lines.is_empty());
    assert_eq!(*world.state.stack(&stack_name()).unwrap(), before);
    assert_eq!(world.plan().steps, []);
}

#[test]
fn services_that_share_a_family_keep_their_revisions() {
    let mut other = service("other", 1, vec![container("app", "other:1")]);
    other.task_definition.family = "web".into();
    let spec = stack(vec![web(), other]);
    let mut world = World::up(&spec);
    let revisions = |world: &World| ["web", "other"].map(|s| world.service(s).primary().unwrap().revision);
    let before = revisions(&world);
    assert_ne!(before[0], before[1]);
    let families = world.state.stack(&stack_name()).unwrap().record.families.clone();
    world.apply_stack(&spec);
    assert_eq!(revisions(&world), before);
    assert_eq!(world.state.stack(&stack_name()).unwrap().record.families, families);
}

#[test]
fn ids_stay_and_new_ones_come() {
    let mut world = World::up(&stack(vec![web()]));
    let before = world.state.stack(&stack_name()).unwrap().record.clone();
    let mut spec = stack(vec![web()]);
    let mut subnet = spec.vpc.subnets[0].clone();
    subnet.name = SubnetName::new("c");
    subnet.cidr = "10.0.128.0/24".parse().unwrap();
    spec.vpc.subnets.push(subnet);
    let group = spec.security_groups["default"].clone();
    spec.security_groups.insert(GroupName::new("extra"), group);
    world.apply_stack(&spec);
    let after = &world.state.stack(&stack_name()).unwrap().record;
    assert_eq!(after.vpc_id, before.vpc_id);
    assert!(before.subnets.iter().all(|(name, s)| after.subnets[name].id == s.id));
    assert!(before.groups.iter().all(|(name, id)| &after.groups[name] == id));
    assert_eq!((after.subnets.len(), after.groups.len()), (3, 2));
}

#[rstest]
#[case::cidr(|s: &mut Stack| s.vpc.cidr = "10.1.0.0/16".parse().unwrap(), "vpc.cidr (10.0.0.0/16 → 10.1.0.0/16)")]
#[case::region(|s: &mut Stack| s.region = "eu-west-1".into(), "region (us-east-1 → eu-west-1)")]
#[case::subnet_moved(|s: &mut Stack| s.vpc.subnets[0].cidr = "10.0.128.0/24".parse().unwrap(), "subnet a")]
#[case::subnet_removed(|s: &mut Stack| { s.vpc.subnets.remove(1); }, "removing subnet b")]
fn what_is_fixed_is_refused(#[case] change: fn(&mut Stack), #[case] named: &str) {
    let mut world = World::up(&stack(vec![web()]));
    let before = world.state.stack(&stack_name()).unwrap().clone();
    let mut spec = stack(vec![web()]);
    change(&mut spec);
    let refused = up::apply(&mut world.state, &spec, world.now, &mut world.ids).unwrap_err();
    assert_eq!(refused, Refused::Fixed { stack: stack_name(), what: named.into() });
    assert_eq!(*world.state.stack(&stack_name()).unwrap(), before);
}

#[test]
fn a_stack_on_its_way_out_takes_no_up() {
    let mut world = World::up(&stack(vec![web()]));
    up::delete(&mut world.state, &stack_name());
    let refused = up::apply(&mut world.state, &stack(vec![web()]), world.now, &mut world.ids).unwrap_err();
    assert_eq!(refused, Refused::Leaving(stack_name()));
}

#[test]
fn an_instance_is_drained_stopped_and_started() {
    let mut world = World::up(&stack(vec![in_mode(NetworkMode::Bridge, web())]));
    let id = world.container_instances()[0].id.clone();
    let seen = |world: &World| {
        let instance = &world.state.stack(&stack_name()).unwrap().instances[&id];
        (instance.status, instance.wanted)
    };
    for (action, status, wanted) in [
        (InstanceAction::Drain, InstanceStatus::Draining, true),
        (InstanceAction::Stop, InstanceStatus::Draining, false),
        (InstanceAction::Start, InstanceStatus::Active, true),
        (InstanceAction::Stop, InstanceStatus::Active, false),
    ] {
        up::change_instance(&mut world.state, &stack_name(), &id, action).unwrap();
        assert_eq!(seen(&world), (status, wanted), "{action:?}");
    }
}

#[test]
fn an_instance_that_leaves_or_is_unknown_is_left_alone() {
    let mut world = World::up(&stack(vec![in_mode(NetworkMode::Bridge, web())]));
    let id = world.container_instances()[0].id.clone();
    world.state.edit_instance(&stack_name(), &id, |instance| instance.leaving = true);
    let refused = up::change_instance(&mut world.state, &stack_name(), &id, InstanceAction::Start).unwrap_err();
    assert_eq!(refused, Refused::InstanceLeaving { stack: stack_name(), instance: id.clone() });
    assert_eq!(
        refused.to_string(),
        format!(
            "container instance {} is on its way out of stack `shop`: another takes its place where one is needed",
            id.short()
        )
    );
    let nobody = InstanceId::from_bits(0);
    let refused = up::change_instance(&mut world.state, &stack_name(), &nobody, InstanceAction::Stop).unwrap_err();
    assert_eq!(refused, Refused::NoInstance { stack: stack_name(), instance: nobody });
}

#[test]
fn an_instance_is_named_by_its_id_its_ec2_id_or_its_address() {
    let world = World::up(&stack(vec![in_mode(NetworkMode::Bridge, web())]));
    let lens = Lens { state: &world.state, observed: &world.observed, setting: &world.setting };
    let instances = world.container_instances();
    for instance in &instances {
        for name in [
            instance.id.as_str().to_owned(),
            instance.id.short().to_owned(),
            instance.ec2_instance_id.clone(),
            instance.address().unwrap().to_string(),
        ] {
            assert_eq!(lens.find_instance(&name).unwrap(), (stack_name(), instance.id.clone()), "{name}");
        }
    }
    for unknown in ["", "i-0", "10.0.0.250", "zz"] {
        let error = lens.find_instance(unknown).unwrap_err();
        assert_eq!((error.message, error.exit_code), (format!("no instance `{unknown}`"), 2));
        assert!(error.hint.unwrap().contains(instances[0].id.as_str()));
    }
    let none = World::up(&stack(vec![web()]));
    let lens = Lens { state: &none.state, observed: &none.observed, setting: &none.setting };
    assert_eq!(
        lens.find_instance("a").unwrap_err().hint.unwrap(),
        "no stack has a service whose tasks are placed on instances"
    );
}
