//! What `up`, `scale`, `stop` and `down` change in the desired state, and the lines that tell a person. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::ids::Ids;
use crate::control::api::{ChangeLine, InstanceAction};
use crate::dataplane::metadata::question::{ProtectionChange, ProtectionState};
use crate::spec::ids::arn;
use crate::spec::ids::{InstanceId, ServiceName, StackName, TaskId};
use crate::spec::security_group::SecurityGroup;
use crate::spec::service::Service;
use crate::spec::stack::Stack;
use crate::spec::task_definition::TaskDefinition;
use crate::store::instance::InstanceStatus;
use crate::store::state::{Deployment, Rollout, ServiceState, StackRecord, StackState, State, SubnetRecord};
use crate::store::task::{Stop, StopCode, Task, TaskStatus};

/// What the name of a profile's keys begins with, among a stack's secrets.
const PROFILE: &str = "profile:";

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stack is on its way out.
    #[error("stack `{0}` is being deleted: wait until `ecsnet down {0}` is done")]
    Leaving(StackName),
    /// What cannot change while tasks run.
    #[error("stack `{stack}`: {what} cannot change while the stack is up: run `ecsnet down {stack}` first")]
    Fixed {
        /// The stack.
        stack: StackName,
        /// For example `vpc.cidr`.
        what: String,
    },
    /// A container instance that goes for good.
    #[error("container instance {} is on its way out of stack `{stack}`: another takes its place where one is needed", .instance.short())]
    InstanceLeaving {
        /// The stack.
        stack: StackName,
        /// The instance.
        instance: InstanceId,
    },
    /// A container instance that nobody knows.
    #[error("stack `{stack}` has no container instance {instance}")]
    NoInstance {
        /// The stack.
        stack: StackName,
        /// The instance.
        instance: InstanceId,
    },
}

/// Makes `spec` the desired state of its stack.
///
/// # Errors
/// When the stack is leaving, or what runs cannot be changed into it; the state is then as it was.
pub fn apply(state: &mut State, spec: &Stack, now: Timestamp, ids: &mut Ids) -> Result<Vec<ChangeLine>, Refused> {
    let name = &spec.name;
    let before = state.stack(name).map(|s| s.record.clone());
    if let Some(before) = &before {
        check_fixed(before, spec)?;
    }
    let mut lines = differences(state.stack(name).map(as_it_is).as_ref(), spec);
    let mut record = before.unwrap_or_else(|| StackRecord {
        spec: spec.clone(),
        leaving: false,
        vpc_id: ids.vpc(),
        subnets: BTreeMap::new(),
        groups: BTreeMap::new(),
        retiring: BTreeMap::new(),
        families: BTreeMap::new(),
    });
    retire_rules(&mut record, spec);
    record.spec = spec.clone();
    for subnet in &spec.vpc.subnets {
        record
            .subnets
            .entry(subnet.name.clone())
            .or_insert_with(|| SubnetRecord { id: ids.subnet(), last_leased: None });
    }
    for group in spec.security_groups.keys() {
        record.groups.entry(group.clone()).or_insert_with(|| ids.group());
    }
    record.groups.retain(|group, _| spec.security_groups.contains_key(group));

    let mut revisions = BTreeMap::new();
    for (service_name, service) in &spec.services {
        // What runs already keeps its revision, also where another service has a definition of the same family.
        let running = state.stack(name).and_then(|s| s.services.get(service_name)).and_then(|s| s.primary());
        let same = running.filter(|d| d.service.task_definition == service.task_definition).map(|d| d.revision);
        let revision = same.unwrap_or_else(|| register(&mut record.families, &service.task_definition));
        revisions.insert(service_name.clone(), revision);
    }
    state.put_stack(name, record);

    let gone: Vec<ServiceName> = state.stack(name).map_or_else(Vec::new, |s| {
        s.services.keys().filter(|service| !spec.services.contains_key(*service)).cloned().collect()
    });
    for service in gone {
        state.edit_service(name, &service, |s| s.leaving = true);
    }
    for (service_name, service) in &spec.services {
        let revision = revisions.get(service_name).copied().unwrap_or(1);
        lines.extend(apply_service(state, name, service, revision, now, ids));
    }
    Ok(lines)
}

/// A service whose network mode changes is reached at other ports from then on: the rules for those of its old tasks hold
/// until the last of them is replaced. Nothing else about rules is ever late.
fn retire_rules(record: &mut StackRecord, spec: &Stack) {
    for (name, service) in &spec.services {
        let Some(before) = record.spec.services.get(name) else { continue };
        if before.network_mode == service.network_mode {
            continue;
        }
        for group in before.security_groups.iter().filter(|group| group.as_str() == name.as_str()) {
            let (Some(old), Some(new)) = (record.spec.security_groups.get(group), spec.security_groups.get(group))
            else {
                continue;
            };
            let gone = old.ingress.iter().filter(|rule| !new.ingress.contains(rule)).cloned();
            let held = record
                .retiring
                .entry(group.clone())
                .or_insert_with(|| SecurityGroup { ingress: Vec::new(), ..new.clone() });
            held.ingress.extend(gone);
        }
    }
}

fn check_fixed(before: &StackRecord, spec: &Stack) -> Result<(), Refused> {
    if before.leaving {
        return Err(Refused::Leaving(spec.name.clone()));
    }
    let fixed = |what: String| Err(Refused::Fixed { stack: spec.name.clone(), what });
    if before.spec.vpc.cidr != spec.vpc.cidr {
        return fixed(format!("vpc.cidr ({} → {})", before.spec.vpc.cidr, spec.vpc.cidr));
    }
    if before.spec.region != spec.region {
        return fixed(format!("region ({} → {})", before.spec.region, spec.region));
    }
    for subnet in &before.spec.vpc.subnets {
        match spec.vpc.subnets.iter().find(|s| s.name == subnet.name) {
            Some(same) if same == subnet => {}
            Some(_) => return fixed(format!("subnet {}", subnet.name)),
            None => return fixed(format!("removing subnet {}", subnet.name)),
        }
    }
    Ok(())
}

/// The revision of a definition: the family's newest when its content is the same, else a new one (2.1).
fn register(families: &mut BTreeMap<String, (u32, TaskDefinition)>, definition: &TaskDefinition) -> u32 {
    match families.get_mut(&definition.family) {
        Some((revision, newest)) if newest == definition => *revision,
        Some((revision, newest)) => {
            *revision += 1;
            *newest = definition.clone();
            *revision
        }
        None => {
            families.insert(definition.family.clone(), (1, definition.clone()));
            1
        }
    }
}

fn apply_service(
    state: &mut State,
    stack: &StackName,
    service: &Service,
    revision: u32,
    now: Timestamp,
    ids: &mut Ids,
) -> Vec<ChangeLine> {
    let name = &service.service_name;
    let before = state.stack(stack).and_then(|s| s.services.get(name)).cloned();
    let mut after = before.clone().unwrap_or_else(|| ServiceState {
        desired_count: service.desired_count,
        leaving: false,
        deployments: Vec::new(),
        events: VecDeque::new(),
        steady: false,
        failed_starts: 0,
        next_start: None,
    });
    after.desired_count = service.desired_count;
    after.leaving = false;
    let mut lines = Vec::new();
    match after.deployments.first_mut() {
        Some(primary) if !needs_deployment(&primary.service, service) && primary.rollout != Rollout::Failed => {
            primary.service = service.clone();
        }
        newest => {
            if newest.is_some() {
                let detail = format!("new deployment, task definition {}:{revision}", service.task_definition.family);
                lines.push(ChangeLine { sign: '~', what: format!("service {name}"), detail });
            }
            let deployment = Deployment {
                id: ids.deployment(),
                service: service.clone(),
                revision,
                created_at: now,
                rollout: Rollout::InProgress,
                failed_tasks: 0,
            };
            after.deployments.insert(0, deployment);
            after.failed_starts = 0;
            after.next_start = None;
        }
    }
    if before.as_ref() != Some(&after) {
        after.steady = false;
        state.put_service(stack, name, after);
    }
    lines
}

/// Whether a change of a service replaces its tasks: its definition, network or registry does, its count or bounds do not (3.1).
fn needs_deployment(old: &Service, new: &Service) -> bool {
    let kept = Service {
        desired_count: new.desired_count,
        deployment_configuration: new.deployment_configuration,
        health_check_grace_period_seconds: new.health_check_grace_period_seconds,
        placement: new.placement.clone(),
        ..old.clone()
    };
    kept != *new
}

/// Sets the counts of services, as UpdateService does.
pub fn scale(state: &mut State, stack: &StackName, service: &ServiceName, count: u32) {
    state.edit_service(stack, service, |s| {
        if s.desired_count != count {
            s.desired_count = count;
            s.steady = false;
        }
    });
}

/// StopTask (2.10).
pub fn stop_task(state: &mut State, stack: &StackName, task: &TaskId, reason: Option<String>, now: Timestamp) {
    state.edit_task(stack, task, |record| {
        if record.stop.is_none() && record.status != TaskStatus::Stopped {
            let reason = reason.unwrap_or_else(|| "Task stopped by user".to_owned());
            record.stop = Some(Stop { code: StopCode::UserInitiated, reason, at: now });
        }
    });
}

/// UpdateContainerInstancesState with DRAINING, or an EC2 instance that is stopped and started (3.5).
///
/// # Errors
/// When the instance is not there, or leaves.
pub fn change_instance(
    state: &mut State,
    stack: &StackName,
    id: &InstanceId,
    action: InstanceAction,
) -> Result<(), Refused> {
    let found = state.stack(stack).and_then(|s| s.instances.get(id));
    let Some(instance) = found else {
        return Err(Refused::NoInstance { stack: stack.clone(), instance: id.clone() });
    };
    if instance.leaving {
        return Err(Refused::InstanceLeaving { stack: stack.clone(), instance: id.clone() });
    }
    state.edit_instance(stack, id, |instance| match action {
        InstanceAction::Drain => instance.status = InstanceStatus::Draining,
        InstanceAction::Stop => instance.wanted = false,
        InstanceAction::Start => {
            instance.wanted = true;
            instance.status = InstanceStatus::Active;
        }
    });
    Ok(())
}

/// `down`: every service goes, then the VPC.
pub fn delete(state: &mut State, stack: &StackName) {
    let Some(in_stack) = state.stack(stack) else { return };
    let mut record = in_stack.record.clone();
    let services: Vec<ServiceName> = in_stack.services.keys().cloned().collect();
    record.leaving = true;
    state.put_stack(stack, record);
    for service in services {
        state.edit_service(stack, &service, |s| s.leaving = true);
    }
}

/// The sources of secrets that tasks of a stack may still be started with, those of older deployments too.
pub fn secrets_named(state: &State, stack: &StackName) -> BTreeSet<String> {
    let Some(in_stack) = state.stack(stack) else { return BTreeSet::new() };
    let deployments = in_stack.services.values().flat_map(|s| &s.deployments);
    let definitions = deployments.map(|d| &d.service.task_definition);
    let containers = definitions.flat_map(|d| &d.container_definitions);
    let named = containers.flat_map(|c| &c.secrets).map(|s| s.value_from.clone());
    named.chain(in_stack.record.spec.credentials_profile.as_deref().map(profile_secret)).collect()
}

/// Under which name the keys of a profile are kept among a stack's secrets.
pub fn profile_secret(profile: &str) -> String {
    format!("{PROFILE}{profile}")
}

/// Whether a secret of that name is keys that tasks are given at their credentials endpoint.
pub fn is_profile(secret: &str) -> bool {
    secret.starts_with(PROFILE)
}

/// A task's protection against scale in and deployments (3.11).
///
/// # Errors
/// The reason and the detail of ECS's failure.
pub fn protection(state: &State, task_arn: &str, now: Timestamp) -> Result<ProtectionState, (String, String)> {
    let (_, task) = protectable(state, task_arn)?;
    let expiration = task.protected_until.filter(|until| *until > now);
    Ok(ProtectionState { enabled: expiration.is_some(), expiration })
}

/// Protects a task, or ends that, and says what holds (3.11).
///
/// # Errors
/// The reason and the detail of ECS's failure.
pub fn protect(
    state: &mut State,
    task_arn: &str,
    change: ProtectionChange,
    now: Timestamp,
) -> Result<ProtectionState, (String, String)> {
    let (stack, task) = protectable(state, task_arn)?;
    let (stack, id) = (stack.clone(), task.id.clone());
    let minutes = u64::from(change.expires_in_minutes);
    let until = change.enabled.then(|| now + std::time::Duration::from_secs(60 * minutes));
    state.edit_task(&stack, &id, |task| task.protected_until = until);
    Ok(ProtectionState { enabled: until.is_some(), expiration: until })
}

fn protectable<'a>(state: &'a State, task_arn: &str) -> Result<(&'a StackName, &'a Task), (String, String)> {
    let found = state.stacks().iter().find_map(|(name, stack)| {
        let is_it = |task: &&Task| arn::task(&stack.record.spec.region, name, &task.id) == task_arn;
        Some((name, stack.tasks.values().find(is_it).filter(|task| task.is_wanted())?))
    });
    found.ok_or_else(|| ("TASK_NOT_VALID".to_owned(), format!("{task_arn} is not a running task of a service")))
}

/// What the last `up` said, with the counts that `scale` has changed since.
fn as_it_is(stack: &StackState) -> Stack {
    let mut spec = stack.record.spec.clone();
    for (name, service) in &mut spec.services {
        if let Some(state) = stack.services.get(name) {
            service.desired_count = state.desired_count;
        }
    }
    spec
}

fn differences(before: Option<&Stack>, after: &Stack) -> Vec<ChangeLine> {
    let line = |sign, what: String, detail: String| ChangeLine { sign, what, detail };
    let mut lines = Vec::new();
    let Some(before) = before else {
        let vpc = &after.vpc;
        let host = if vpc.host_access { ", hostAccess true" } else { "" };
        lines.push(line('+', "VPC".into(), format!("{}, internet {}{host}", vpc.cidr, vpc.internet)));
        lines.extend(
            vpc.subnets
                .iter()
                .map(|s| line('+', format!("subnet {}", s.name), format!("{} in {}", s.cidr, s.availability_zone))),
        );
        lines.extend(after.security_groups.keys().map(|g| line('+', format!("security group {g}"), String::new())));
        lines.extend(after.services.values().map(added));
        return lines;
    };
    if before.vpc.internet != after.vpc.internet {
        let detail = format!(
            "internet {} → {}: its namespace is made anew, open connections break",
            before.vpc.internet, after.vpc.internet
        );
        lines.push(line('~', "VPC".into(), detail));
    }
    if before.vpc.host_access != after.vpc.host_access {
        let detail = format!("hostAccess {} → {}", before.vpc.host_access, after.vpc.host_access);
        lines.push(line('~', "VPC".into(), detail));
    }
    let subnets = after.vpc.subnets.iter().filter(|s| !before.vpc.subnets.contains(s));
    lines.extend(subnets.map(|s| line('+', format!("subnet {}", s.name), s.cidr.to_string())));
    for (name, group) in &after.security_groups {
        match before.security_groups.get(name) {
            None => lines.push(line('+', format!("security group {name}"), String::new())),
            Some(old) if old.ingress != group.ingress || old.egress != group.egress => {
                lines.push(line('~', format!("security group {name}"), "rules changed".into()));
            }
            Some(_) => {}
        }
    }
    let gone = before.security_groups.keys().filter(|g| !after.security_groups.contains_key(*g));
    lines.extend(gone.map(|g| line('-', format!("security group {g}"), String::new())));
    for (name, service) in &after.services {
        match before.services.get(name) {
            None => lines.push(added(service)),
            Some(old) if old.desired_count != service.desired_count => {
                let detail = format!("desiredCount {} → {}", old.desired_count, service.desired_count);
                lines.push(line('~', format!("service {name}"), detail));
            }
            Some(_) => {}
        }
    }
    let gone = before.services.keys().filter(|s| !after.services.contains_key(*s));
    lines.extend(gone.map(|s| line('-', format!("service {s}"), "its tasks stop".into())));
    lines
}

fn added(service: &Service) -> ChangeLine {
    let detail = format!("desiredCount {}, task definition {}", service.desired_count, service.task_definition.family);
    ChangeLine { sign: '+', what: format!("service {}", service.service_name), detail }
}
