//! Container instances: which there should be, which run each is on, and what becomes of the tasks of one that is lost.
//!
//! With `capacity` in the stack file there are as many as it says. Without, the stack sizes itself as managed scaling does:
//! one for each zone while any service needs instances, more when a task finds no room ([`grow`]), and fewer when some have
//! stood idle. Pure; making them is the matter of `super::instance_steps`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use netmodes::ids::NetworkMode;

use super::ids::Ids;
use super::launch::{choose_again, is_placed, lease, wish};
use super::network::is_eni_gone;
use super::{Setting, Wake, placement};
use crate::observe::Observed;
use crate::spec::capacity::{self, InstanceGroup, InstanceType};
use crate::spec::ids::{GroupName, InstanceId, StackName};
use crate::spec::service::Service;
use crate::store::instance::{Instance, InstanceStatus};
use crate::store::state::{StackState, State};
use crate::store::task::{Stop, StopCode, Task, TaskStatus};

/// How long an instance that nothing needs stays: a deployment that follows soon finds it there.
const IDLE: Duration = Duration::from_secs(60);
/// The most instances of a stack that sizes itself: a task that never fits asks for no more than these.
const MOST: usize = 50;
/// The group on an instance when no service says one: the VPC's own.
const DEFAULT_GROUP: &str = "default";

/// Moves every instance of a stack as far as what is observed allows, and adds and retires some.
pub fn advance(
    state: &mut State,
    stack: &StackName,
    observed: &Observed,
    setting: &Setting,
    now: Timestamp,
    ids: &mut Ids,
    wake: &mut Wake,
) {
    follow_holders(state, stack, observed, setting, now);
    match state.stack(stack).map(|s| (s.record.leaving, s.record.spec.capacity.clone())) {
        None => return,
        Some((true, _)) => retire(state, stack, |_| true),
        Some((false, Some(groups))) => keep_to(state, stack, &groups, ids),
        Some((false, None)) => size_itself(state, stack, now, ids, wake),
    }
    set_groups(state, stack);
    choose_again(state, stack, observed);
    forget_gone(state, stack, observed, setting);
}

/// Notices that an instance came up, and that one was lost, with all that was on it (3.5).
fn follow_holders(state: &mut State, stack: &StackName, observed: &Observed, setting: &Setting, now: Timestamp) {
    let Some(in_stack) = state.stack(stack) else { return };
    let mut came = Vec::new();
    let mut lost = Vec::new();
    for instance in in_stack.instances.values() {
        let name = setting.instance_name(stack, &instance.id);
        let running = observed.running(&name).map(|(holder, _)| holder);
        match &instance.run {
            Some(run) if running.as_ref() != Some(run) => lost.push((instance.id.clone(), "terminated")),
            Some(_) if !instance.wanted => lost.push((instance.id.clone(), "stopped")),
            Some(_) => {}
            // Stopped before it came up: what waits for it waits in vain.
            None if !instance.wanted && in_stack.tasks_on(&instance.id).any(Task::is_wanted) => {
                lost.push((instance.id.clone(), "stopped"));
            }
            None => {
                let linked = observed
                    .network(stack, &setting.vpc_name(stack))
                    .and_then(|network| network.links.get(&instance.network.eni.id))
                    .and_then(Option::as_ref);
                let bridged = observed.instance(&instance.id, &name).is_some_and(|seen| seen.bridged);
                if bridged && linked.is_some() && linked == running.as_ref() && instance.wanted {
                    came.push((instance.id.clone(), running));
                }
            }
        }
    }
    for (id, run) in came {
        state.edit_instance(stack, &id, |instance| {
            instance.run = run;
            instance.registered_at = instance.registered_at.or(Some(now));
        });
    }
    for (id, how) in lost {
        lose(state, stack, &id, how, now);
    }
}

/// Takes an instance off its run; its tasks stop, and nothing of them can be saved.
fn lose(state: &mut State, stack: &StackName, id: &InstanceId, how: &str, now: Timestamp) {
    let Some(in_stack) = state.stack(stack) else { return };
    let Some(instance) = in_stack.instances.get(id) else { return };
    let reason = format!("Host EC2 (instance {}) {how}.", instance.ec2_instance_id);
    let tasks: Vec<_> = in_stack.tasks_on(id).filter(|t| t.is_wanted()).map(|t| t.id.clone()).collect();
    for task in tasks {
        let stop = Stop { code: StopCode::TerminationNotice, reason: reason.clone(), at: now };
        state.edit_task(stack, &task, |task| task.stop = Some(stop));
    }
    state.edit_instance(stack, id, |instance| instance.run = None);
}

/// Brings the instances to the groups of the stack file.
fn keep_to(state: &mut State, stack: &StackName, groups: &[InstanceGroup], ids: &mut Ids) {
    let fits = |instance: &Instance| {
        groups.iter().any(|group| instance.group.as_ref() == Some(&group.name) && is_of(instance, group))
    };
    retire(state, stack, |instance| !fits(instance));
    for group in groups {
        let Some(in_stack) = state.stack(stack) else { return };
        let mut have: Vec<&Instance> =
            in_stack.instances.values().filter(|i| i.group.as_ref() == Some(&group.name) && !i.leaving).collect();
        let count = group.count as usize;
        if have.len() > count {
            // Those with the fewest tasks go first.
            have.sort_by_key(|i| {
                (std::cmp::Reverse(in_stack.tasks_on(&i.id).count()), i.registered_at.unwrap_or(Timestamp::MAX))
            });
            let surplus: BTreeSet<_> = have.split_off(count).into_iter().map(|i| i.id.clone()).collect();
            retire(state, stack, |instance| surplus.contains(&instance.id));
            continue;
        }
        let mut in_zone: BTreeMap<String, usize> =
            group.availability_zones.iter().map(|zone| (zone.clone(), 0)).collect();
        for instance in have.iter() {
            *in_zone.entry(instance.availability_zone.clone()).or_default() += 1;
        }
        for _ in have.len()..count {
            let Some(zone) = in_zone.iter().min_by_key(|(_, count)| **count).map(|(zone, _)| zone.clone()) else {
                break;
            };
            *in_zone.entry(zone.clone()).or_default() += 1;
            let size = Size {
                group: Some(group.name.clone()),
                instance_type: group.instance_type.as_deref().and_then(capacity::instance_type),
                cpu: group.cpu,
                memory: group.memory,
                eni_limit: group.task_enis(),
                attributes: group.attributes.clone(),
            };
            add(state, stack, &zone, size, ids);
        }
    }
}

fn is_of(instance: &Instance, group: &InstanceGroup) -> bool {
    let attributes = group.attributes.iter().all(|(name, value)| instance.attributes.get(name) == Some(value));
    attributes
        && instance.instance_type == group.instance_type
        && (instance.cpu, instance.memory, instance.eni_limit) == (group.cpu, group.memory, group.task_enis())
        && group.availability_zones.contains(&instance.availability_zone)
}

/// One instance for each zone while there is need of any; none without need.
fn size_itself(state: &mut State, stack: &StackName, now: Timestamp, ids: &mut Ids, wake: &mut Wake) {
    retire(state, stack, |instance| instance.group.is_some());
    let Some(in_stack) = state.stack(stack) else { return };
    let needed: Vec<Service> = placed_services(in_stack).cloned().collect();
    let busy = in_stack.tasks.values().any(|t| t.status != TaskStatus::Stopped && t.instance.is_some());
    if needed.is_empty() {
        if !busy {
            retire(state, stack, |_| true);
        }
        return;
    }
    let zones: BTreeSet<String> =
        in_stack.record.spec.vpc.subnets.iter().map(|s| s.availability_zone.clone()).collect();
    let covered: BTreeSet<&String> =
        in_stack.instances.values().filter(|i| !i.leaving).map(|i| &i.availability_zone).collect();
    let bare = zones.iter().filter(|zone| !covered.contains(zone));
    let bare: Vec<_> = bare.map(|zone| (zone.clone(), size_for(in_stack, &needed, zone))).collect();
    for (zone, size) in bare {
        add(state, stack, &zone, size, ids);
    }
    shrink(state, stack, now, wake);
}

/// Retires what has stood idle, but for the last one of each zone.
fn shrink(state: &mut State, stack: &StackName, now: Timestamp, wake: &mut Wake) {
    let Some(in_stack) = state.stack(stack) else { return };
    let steady = in_stack.services.values().all(|s| s.steady || s.leaving);
    let mut in_zone: BTreeMap<&String, usize> = BTreeMap::new();
    for instance in in_stack.instances.values().filter(|i| i.takes_tasks()) {
        *in_zone.entry(&instance.availability_zone).or_default() += 1;
    }
    let mut idle = Vec::new();
    let mut over = BTreeSet::new();
    for instance in in_stack.instances.values().filter(|i| !i.leaving && i.group.is_none()) {
        let others = in_zone.get_mut(&instance.availability_zone);
        let is_idle = steady && instance.wanted && in_stack.tasks_on(&instance.id).next().is_none();
        match (is_idle, instance.idle_since, others) {
            (true, None, _) => idle.push((instance.id.clone(), Some(now))),
            (true, Some(since), Some(count)) if *count > 1 => {
                wake.at(since + IDLE);
                if since + IDLE <= now {
                    *count -= 1;
                    over.insert(instance.id.clone());
                }
            }
            (false, Some(_), _) => idle.push((instance.id.clone(), None)),
            _ => {}
        }
    }
    for (id, since) in idle {
        state.edit_instance(stack, &id, |instance| instance.idle_since = since);
    }
    retire(state, stack, |instance| over.contains(&instance.id));
}

/// One instance more for a task of `service` that found no room; `false` where the stack file says what there is, or when
/// one more would not help.
pub fn grow(state: &mut State, stack: &StackName, service: &Service, ids: &mut Ids) -> bool {
    let Some(in_stack) = state.stack(stack) else { return false };
    let record = &in_stack.record;
    if record.spec.capacity.is_some() || in_stack.instances.len() >= MOST {
        return false;
    }
    let wish = wish(service, record);
    let mut zones: Vec<String> = record.spec.vpc.subnets.iter().map(|s| s.availability_zone.clone()).collect();
    zones.retain(|zone| wish.zones.as_ref().is_none_or(|wanted| wanted.contains(zone)));
    let there = in_stack.instances.values().filter(|i| !i.leaving);
    zones.sort_by_key(|zone| there.clone().filter(|i| i.availability_zone == *zone).count());
    let needed = zones.iter().find_map(|zone| Some((zone.clone(), placement::instance_type_for(&wish, zone)?)));
    let Some((zone, kind)) = needed else { return false };
    add(state, stack, &zone, Size::of_type(kind), ids)
}

/// What the instances of a stack that sizes itself are like in a zone: the smallest type that holds each of its tasks.
fn size_for(stack: &StackState, services: &[Service], zone: &str) -> Size {
    let kinds = services.iter().filter_map(|s| placement::instance_type_for(&wish(s, &stack.record), zone));
    let largest = kinds.max_by_key(|kind| (kind.memory, kind.vcpus));
    largest.or_else(|| capacity::in_family("m5").next()).map_or_else(Size::default, Size::of_type)
}

#[derive(Debug, Clone, Default)]
struct Size {
    group: Option<String>,
    instance_type: Option<InstanceType>,
    cpu: u32,
    memory: u32,
    eni_limit: Option<u32>,
    attributes: BTreeMap<String, String>,
}

impl Size {
    fn of_type(kind: InstanceType) -> Self {
        Self { instance_type: Some(kind), cpu: kind.cpu(), memory: kind.memory, ..Self::default() }
    }
}

/// Adds an instance with its ENI; `false` when its zone has no address left.
fn add(state: &mut State, stack: &StackName, zone: &str, size: Size, ids: &mut Ids) -> bool {
    let Some(in_stack) = state.stack(stack) else { return false };
    let record = &in_stack.record;
    let leased = in_stack.enis().flat_map(|eni| eni.addresses.iter().map(|a| a.address)).collect();
    let subnets = record.spec.vpc.subnets.iter().filter(|s| s.availability_zone == zone).map(|s| &s.name);
    let groups = groups_of(in_stack, size.group.as_deref());
    let Some(network) = lease(record, subnets, &groups, &leased, ids) else { return false };
    if let Some(address) = network.eni.primary_address() {
        let subnet = network.subnet.clone();
        state.lease(stack, &subnet, address);
    }
    let mut attributes = size.attributes;
    attributes.extend(capacity::attributes_of_ecs(zone, size.instance_type));
    state.put_instance(
        stack,
        Instance {
            id: ids.instance(),
            ec2_instance_id: ids.ec2_instance(),
            group: size.group,
            instance_type: size.instance_type.map(|kind| kind.to_string()),
            cpu: size.cpu,
            memory: size.memory,
            eni_limit: size.eni_limit,
            attributes,
            availability_zone: zone.to_owned(),
            network,
            status: InstanceStatus::Active,
            wanted: true,
            leaving: false,
            run: None,
            last_port: None,
            last_bridge_address: None,
            registered_at: None,
            idle_since: None,
        },
    );
    true
}

/// Has those instances go once their tasks have.
fn retire(state: &mut State, stack: &StackName, which: impl Fn(&Instance) -> bool) {
    let Some(in_stack) = state.stack(stack) else { return };
    let going: Vec<_> = in_stack.instances.values().filter(|i| !i.leaving && which(i)).map(|i| i.id.clone()).collect();
    for id in going {
        state.edit_instance(stack, &id, |instance| instance.leaving = true);
    }
}

/// The services whose tasks are on instances, by any deployment that still has a say.
fn placed_services(stack: &StackState) -> impl Iterator<Item = &Service> {
    let services = stack.services.values().filter(|s| !s.leaving);
    services.flat_map(|s| s.deployments.first()).map(|d| &d.service).filter(|s| is_placed(s))
}

/// The groups on an instance: what the stack file says of its group, else those of all services that may run on it.
///
/// A rule names a service's group, in whatever mode the service runs; so an instance must be in it.
fn groups_of(stack: &StackState, group: Option<&str>) -> Vec<GroupName> {
    let capacity = stack.record.spec.capacity.iter().flatten();
    let written = capacity.filter(|g| Some(g.name.as_str()) == group).find_map(|g| g.security_groups.clone());
    if let Some(written) = written {
        return written;
    }
    let deployments = stack.services.values().flat_map(|s| &s.deployments);
    let shared = deployments.filter(|d| matches!(d.service.network_mode, NetworkMode::Bridge | NetworkMode::Host));
    let groups: BTreeSet<GroupName> = shared.flat_map(|d| d.service.security_groups.iter().cloned()).collect();
    let known: Vec<_> = groups.into_iter().filter(|g| stack.record.groups.contains_key(g)).collect();
    if known.is_empty() { vec![GroupName::new(DEFAULT_GROUP)] } else { known }
}

/// As ModifyNetworkInterfaceAttribute does: the groups of what is there follow the stack file.
fn set_groups(state: &mut State, stack: &StackName) {
    let Some(in_stack) = state.stack(stack) else { return };
    let mut changes = Vec::new();
    for instance in in_stack.instances.values() {
        let names = groups_of(in_stack, instance.group.as_deref());
        if names != instance.network.groups {
            let group_ids = names.iter().filter_map(|g| in_stack.record.groups.get(g).cloned()).collect();
            changes.push((instance.id.clone(), names, group_ids));
        }
    }
    for (id, names, group_ids) in changes {
        state.edit_instance(stack, &id, |instance| {
            instance.network.groups = names;
            instance.network.eni.groups = group_ids;
        });
    }
}

/// Removes the record of an instance of which nothing is left.
fn forget_gone(state: &mut State, stack: &StackName, observed: &Observed, setting: &Setting) {
    let Some(in_stack) = state.stack(stack) else { return };
    let gone: Vec<_> = in_stack
        .instances
        .values()
        .filter(|instance| {
            let mut names =
                [setting.instance_name(stack, &instance.id), setting.front_name(stack, &instance.id)].into_iter();
            // A step under way may still make what would then be left behind: each names the instance.
            let is_busy = observed.under_way.iter().any(|object| object.contains(instance.id.as_str()));
            let is_held = is_busy || names.any(|name| observed.containers.contains_key(&name));
            instance.leaving
                && in_stack.tasks_on(&instance.id).next().is_none()
                && !is_held
                && is_eni_gone(observed, setting, stack, &instance.network.eni.id)
        })
        .map(|instance| instance.id.clone())
        .collect();
    for id in gone {
        state.remove_instance(stack, &id);
    }
}
