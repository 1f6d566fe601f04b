//! The next status of each task, from what is observed of it (reference 2.4, 2.8, 2.9, 2.10).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::containers::{Readiness, readiness};
use super::health::{self, HealthStatus};
use super::ids::Ids;
use super::network::{is_linked, is_off_the_network};
use super::restart::{self, Run};
use super::{Setting, Wake, mounts};
use crate::observe::Observed;
use crate::project::dns::is_registered;
use crate::runtime::{ContainerState, Health, ObservedContainer};
use crate::spec::ids::{ContainerName, DeploymentId, InstanceId, ServiceName, StackName, TaskId};
use crate::spec::task_definition::ContainerDefinition;
use crate::store::instance::Instance;
use crate::store::state::State;
use crate::store::task::{ContainerRecord, PortBinding, Stop, StopCode, Task, TaskStatus};

/// A stopped task stays visible for this long (2.7).
const STOPPED_KEPT: Duration = Duration::from_secs(3600);
/// How many stopped tasks of a service are remembered.
const STOPPED_MOST: usize = 100;
/// Why a container ended that took more memory than it has (2.10).
const OUT_OF_MEMORY: &str = "OutOfMemoryError: Container killed due to memory usage";
/// The longest wait between two tries of a task that does not start (3.7).
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Failed starts in a row after which ECS says so (3.7).
const FAILURES_SAID: u32 = 3;

/// Moves every task of a stack as far as what is observed allows.
pub fn advance(
    state: &mut State,
    stack: &StackName,
    observed: &Observed,
    setting: &Setting,
    now: Timestamp,
    ids: &mut Ids,
    wake: &mut Wake,
) {
    let Some(in_stack) = state.stack(stack) else { return };
    let registered = registered(observed, stack, setting);
    let instances = in_stack.instances.clone();
    let tasks: Vec<TaskId> = in_stack.tasks.keys().cloned().collect();
    for id in tasks {
        let Some(task) = state.stack(stack).and_then(|s| s.tasks.get(&id)) else { continue };
        if task.status == TaskStatus::Stopped {
            let over = task.stopped_at.unwrap_or(now) + STOPPED_KEPT;
            if over <= now {
                state.remove_task(stack, &id);
            } else {
                wake.at(over);
            }
            continue;
        }
        let view = View { stack, observed, setting, registered: &registered, instances: &instances, now };
        let mut turn = None;
        state.edit_task_if(stack, &id, |task| {
            let (ran, was_wanted) = (task.ran, task.is_wanted());
            let mut changed = false;
            // A status may be passed through at once; each pass moves by one, so that every status has its rule in one
            // place.
            while view.advance(task) {
                changed = true;
            }
            view.wake_for_timeouts(task, wake);
            // A failure counts when it is seen, not when its remains are gone: by then the next try would have begun.
            let failed = was_wanted && is_failure(task);
            if failed || (task.ran && !ran) {
                turn = Some((failed, Origin::of(task)));
            }
            changed
        });
        match turn {
            Some((true, origin)) => count_failure(state, stack, &origin, now, ids),
            Some((false, origin)) => count_success(state, stack, &origin),
            None => {}
        }
    }
    forget_surplus(state, stack);
}

/// Of a service whose tasks end again and again, only the last ones are remembered.
fn forget_surplus(state: &mut State, stack: &StackName) {
    let Some(in_stack) = state.stack(stack) else { return };
    let mut ended: BTreeMap<&ServiceName, Vec<(Option<Timestamp>, &TaskId)>> = BTreeMap::new();
    for task in in_stack.tasks.values().filter(|t| t.status == TaskStatus::Stopped) {
        ended.entry(&task.service).or_default().push((task.stopped_at, &task.id));
    }
    let surplus = ended.into_values().flat_map(|mut tasks| {
        tasks.sort_unstable();
        let surplus = tasks.len().saturating_sub(STOPPED_MOST);
        tasks.into_iter().take(surplus).map(|(_, id)| id.clone())
    });
    for id in surplus.collect::<Vec<_>>() {
        state.remove_task(stack, &id);
    }
}

/// Where a task came from, as the throttle has to know it.
struct Origin {
    service: ServiceName,
    deployment: DeploymentId,
    created_at: Timestamp,
}

impl Origin {
    fn of(task: &Task) -> Self {
        Self { service: task.service.clone(), deployment: task.deployment.clone(), created_at: task.created_at }
    }
}

/// A task of the newest deployment got to RUNNING: the next one need not wait.
fn count_success(state: &mut State, stack: &StackName, task: &Origin) {
    let service = state.stack(stack).and_then(|s| s.services.get(&task.service));
    let throttled = service.is_some_and(|s| {
        s.primary().is_some_and(|d| d.id == task.deployment) && (s.failed_starts > 0 || s.next_start.is_some())
    });
    if throttled {
        state.edit_service(stack, &task.service, |service| {
            service.failed_starts = 0;
            service.next_start = None;
        });
    }
}

/// Whether a task's end is one that ECS's throttle and circuit breaker count: it never ran, and nobody asked it to stop.
fn is_failure(task: &Task) -> bool {
    !task.ran && task.stop.as_ref().is_some_and(|stop| stop.code.is_failure())
}

fn count_failure(state: &mut State, stack: &StackName, task: &Origin, now: Timestamp, ids: &mut Ids) {
    let failures = state.edit_service(stack, &task.service, |service| {
        if let Some(deployment) = service.deployments.iter_mut().find(|d| d.id == task.deployment) {
            deployment.failed_tasks += 1;
        }
        // What is left of an older deployment says nothing about the one that replaced it.
        if service.primary().is_none_or(|d| d.id != task.deployment) {
            return 0;
        }
        // Tasks that were started together are one try: ten that fail at once do not wait as long as ten in a row.
        if service.next_start.is_some_and(|at| task.created_at < at) {
            return 0;
        }
        service.failed_starts += 1;
        // 1 s, 2 s, 4 s … up to a quarter of an hour.
        let wait = Duration::from_secs(1 << service.failed_starts.saturating_sub(1).min(10)).min(LONGEST_WAIT);
        service.next_start = Some(now + wait);
        service.failed_starts
    });
    if failures == Some(FAILURES_SAID) {
        let message = format!("(service {}) is unable to consistently start tasks successfully.", task.service);
        state.event(stack, &task.service, ids.uuid(), now, message);
    }
}

/// Ids of the instances that the resolver serves; `None` while it is not known to serve anything.
fn registered(observed: &Observed, stack: &StackName, setting: &Setting) -> Option<BTreeSet<String>> {
    let (resolver, _) = observed.running(&setting.resolver_name(stack))?;
    match &observed.networks.get(stack)?.zone {
        Some((served_by, zone)) if *served_by == resolver => {
            Some(zone.names.values().flat_map(|a| &a.instances).map(|i| i.id.clone()).collect())
        }
        _ => None,
    }
}

struct View<'a> {
    stack: &'a StackName,
    observed: &'a Observed,
    setting: &'a Setting,
    registered: &'a Option<BTreeSet<String>>,
    instances: &'a BTreeMap<InstanceId, Instance>,
    now: Timestamp,
}

impl View<'_> {
    /// One move; `false` when there is none.
    fn advance(&self, task: &mut Task) -> bool {
        let folded = self.fold_containers(task);
        let judged = self.judge(task) || self.yield_ports(task);
        let wanted = task.is_wanted();
        let next = match task.status {
            TaskStatus::Provisioning if !wanted => TaskStatus::Deprovisioning,
            TaskStatus::Provisioning if is_linked(self.observed, self.setting, self.stack, self.instances, task) => {
                task.times.connectivity_at = Some(self.now);
                task.times.pull_started_at = Some(self.now);
                TaskStatus::Pending
            }
            TaskStatus::Pending if !wanted => TaskStatus::Stopping,
            TaskStatus::Pending if self.all_started(task) => {
                task.started_at = Some(self.now);
                TaskStatus::Activating
            }
            TaskStatus::Activating | TaskStatus::Running if !wanted => TaskStatus::Deactivating,
            TaskStatus::Activating if self.is_in_service(task) => {
                task.ran = true;
                TaskStatus::Running
            }
            TaskStatus::Deactivating if !self.is_served(task) => TaskStatus::Stopping,
            TaskStatus::Stopping if !self.any_app_runs(task) => {
                task.times.execution_stopped_at = task.times.execution_stopped_at.or(Some(self.now));
                TaskStatus::Deprovisioning
            }
            TaskStatus::Deprovisioning if self.is_gone(task) => {
                task.stopped_at = Some(self.now);
                TaskStatus::Stopped
            }
            same => same,
        };
        let moved = next != task.status;
        task.status = next;
        folded || judged || moved
    }

    /// A host port that was found to be another process's ends the task that asks for it, or that finds no other (1.7);
    /// [`super::launch::choose_again`] comes first.
    fn yield_ports(&self, task: &mut Task) -> bool {
        if task.status != TaskStatus::Provisioning || !task.is_wanted() {
            return false;
        }
        let Some(seen) = task.instance.as_ref().and_then(|id| self.observed.instances.get(id)) else { return false };
        let is_busy = |binding: &PortBinding| binding.ports().any(|port| seen.busy_ports.contains(&port));
        let Some(busy) = task.bindings().iter().find(|binding| is_busy(binding)) else { return false };
        let reason = if busy.dynamic {
            "CannotStartContainerError: a host port is unavailable".to_owned()
        } else {
            format!(
                "CannotStartContainerError: Error response from daemon: driver failed programming external connectivity \
                 on endpoint {}: Bind for 0.0.0.0:{} failed: port is already allocated",
                busy.container, busy.host_port
            )
        };
        task.stop = Some(Stop { code: StopCode::TaskFailedToStart, reason, at: self.now });
        true
    }

    /// Takes over what Docker says of the task's containers, as long as they are there to ask.
    fn fold_containers(&self, task: &mut Task) -> bool {
        if matches!(task.status, TaskStatus::Provisioning | TaskStatus::Stopped) {
            return false;
        }
        // One that waits for another is told of it in the next pass.
        let changed: Vec<(ContainerName, ContainerRecord)> = task
            .definition
            .container_definitions
            .iter()
            .filter_map(|definition| {
                let before = task.containers.get(&definition.name);
                let after = self.fold_container(task, definition);
                (before != Some(&after)).then(|| (definition.name.clone(), after))
            })
            .collect();
        let healthy = !task.was_healthy
            && health::of_task(task, self.stack, self.observed, self.setting) == HealthStatus::Healthy;
        task.was_healthy |= healthy;
        let mut any = healthy || !changed.is_empty();
        task.containers.extend(changed);
        if task.times.pull_stopped_at.is_none() && self.has_images(task) {
            task.times.pull_stopped_at = Some(self.now);
            any = true;
        }
        let mut essential = task.definition.container_definitions.iter().filter(|c| c.essential);
        let is_over = essential.any(|c| task.containers.get(&c.name).is_some_and(|record| record.stopped));
        if is_over && task.times.execution_stopped_at.is_none() {
            task.times.execution_stopped_at = Some(self.now);
            any = true;
        }
        any
    }

    fn has_images(&self, task: &Task) -> bool {
        task.definition.container_definitions.iter().all(|c| {
            let started = task.containers.get(&c.name).is_some_and(|record| record.started);
            c.stub || started || self.observed.images.contains(&c.image)
        })
    }

    fn fold_container(&self, task: &Task, definition: &ContainerDefinition) -> ContainerRecord {
        let mut record = task.container(&definition.name);
        let name = self.setting.app_name(self.stack, &task.id, &definition.name);
        let container = self.observed.containers.get(&name);
        match container.map(|c| &c.state) {
            Some(ContainerState::Running { .. }) => {
                record.started = true;
                record.started_at = record.started_at.or(Some(self.now));
                record.was_healthy |= health::of_container(definition, container) == Some(Health::Healthy);
            }
            Some(ContainerState::Exited { .. })
                if record.restart_of.is_some() && record.restart_of == container.and_then(|c| c.started_at) =>
            {
                // It was decided that this run is not its last.
            }
            Some(ContainerState::Exited { exit_code, error, .. })
                if !record.stopped && error.is_empty() && is_restarted(task, definition, container, *exit_code) =>
            {
                record.started = true;
                record.restarts += 1;
                record.restart_of = container.and_then(|c| c.started_at);
            }
            Some(ContainerState::Exited { exit_code, oom_killed, error }) if !record.stopped => {
                record.stopped = true;
                if error.is_empty() {
                    record.started = true;
                    record.exit_code = Some(*exit_code);
                    record.reason = oom_killed.then(|| OUT_OF_MEMORY.to_owned());
                } else {
                    // The same words as in the answer to the start, whichever is seen first.
                    record.reason = Some(format!("CannotStartContainerError: Error response from daemon: {error}"));
                }
            }
            // Docker may tell why only after the end itself.
            Some(ContainerState::Exited { exit_code: 137, oom_killed: true, .. }) if record.reason.is_none() => {
                record.reason = Some(OUT_OF_MEMORY.to_owned());
            }
            Some(ContainerState::Dead { error }) if !record.stopped => {
                record.stopped = true;
                record.reason = Some(format!("DockerStateError: the container is dead: {error}"));
            }
            None if record.started && !record.stopped && task.status < TaskStatus::Deprovisioning => {
                record.stopped = true;
                record.reason = Some("DockerStateError: the container was removed by somebody else".into());
            }
            _ => {}
        }
        let waits = !record.started && !record.stopped && task.status == TaskStatus::Pending;
        if waits && let Readiness::Never(reason) = readiness(task, definition, self.now) {
            record.stopped = true;
            record.exit_code = Some(143);
            record.reason = Some(format!("CannotStartContainerError: {reason}"));
        }
        record
    }

    /// Decides whether a task that nobody asked to stop has to; `true` when it has.
    fn judge(&self, task: &mut Task) -> bool {
        if !task.is_wanted()
            || !matches!(task.status, TaskStatus::Pending | TaskStatus::Activating | TaskStatus::Running)
        {
            return false;
        }
        let essential = task.definition.container_definitions.iter().filter(|c| c.essential);
        let over = essential.map(|c| task.container(&c.name)).find(|record| record.stopped);
        if let Some(record) = over {
            let (code, reason) = match record.reason {
                Some(reason) if !record.started => (StopCode::TaskFailedToStart, reason),
                _ => (StopCode::EssentialContainerExited, "Essential container in task exited".to_owned()),
            };
            task.stop = Some(Stop { code, reason, at: self.now });
            return true;
        }
        let mut holders = self.setting.holders_of(self.stack, task).into_iter();
        if holders.any(|holder| self.observed.running(&holder).is_none()) {
            // The pause counts as an essential container (1.2); its namespace cannot be had again (pitfall 10).
            let code = if task.ran { StopCode::EssentialContainerExited } else { StopCode::TaskFailedToStart };
            let reason = "ContainerNetworkingError: container ~internal~ecs~pause exited, the task's network is lost";
            task.stop = Some(Stop { code, reason: reason.into(), at: self.now });
            return true;
        }
        false
    }

    fn all_started(&self, task: &Task) -> bool {
        task.definition.container_definitions.iter().all(|c| {
            let record = task.container(&c.name);
            record.started || record.stopped
        })
    }

    /// A task with a check is RUNNING before it passes; one without is registered first (6.7).
    fn is_in_service(&self, task: &Task) -> bool {
        !is_registered(task) || self.is_served(task)
    }

    fn is_served(&self, task: &Task) -> bool {
        let resolver_runs = self.observed.running(&self.setting.resolver_name(self.stack)).is_some();
        match self.registered {
            Some(instances) => instances.contains(task.id.as_str()),
            // Unknown while the resolver runs: it may still serve what it served before the agent was started.
            None => resolver_runs && task.status == TaskStatus::Deactivating && task.registers,
        }
    }

    fn any_app_runs(&self, task: &Task) -> bool {
        task.definition.container_definitions.iter().any(|c| {
            let name = self.setting.app_name(self.stack, &task.id, &c.name);
            // One that is being started will run in a moment and has to be stopped as any other.
            self.observed.running(&name).is_some() || self.is_under_way(&name)
        })
    }

    fn is_under_way(&self, container: &str) -> bool {
        self.observed.under_way.contains(&format!("container {container}"))
    }

    /// Whether nothing of a task is left: no container, no link, nothing in the filter, no tracked flow.
    fn is_gone(&self, task: &Task) -> bool {
        let holders = self.setting.holders_of(self.stack, task);
        let apps = task.definition.container_definitions.iter();
        let mut names = apps.map(|c| self.setting.app_name(self.stack, &task.id, &c.name)).chain(holders);
        names.all(|name| !self.observed.containers.contains_key(&name) && !self.is_under_way(&name))
            && is_off_the_network(self.observed, self.setting, self.stack, task)
            && is_cleared(self.observed, self.setting, self.stack, task)
    }

    fn wake_for_timeouts(&self, task: &Task, wake: &mut Wake) {
        if task.status != TaskStatus::Pending {
            return;
        }
        for definition in &task.definition.container_definitions {
            let since = task.container(&definition.name).started_at;
            if let (Some(limit), Some(since)) = (definition.start_timeout, since) {
                wake.at(since + Duration::from_secs(limit.into()));
            }
        }
    }
}

/// Whether the run that a container ended is to be followed by another one (2.9).
fn is_restarted(
    task: &Task,
    definition: &ContainerDefinition,
    container: Option<&ObservedContainer>,
    exit_code: i64,
) -> bool {
    let lasted = container.and_then(|c| {
        // Docker may note the start after the end of a process that ends at once.
        Duration::try_from(c.finished_at?.duration_since(c.started_at?)).ok()
    });
    let run = Run { exit_code: Some(exit_code), lasted };
    restart::is_due(definition.restart_policy.as_ref(), task.is_wanted(), run)
}

/// Whether nothing is left of what a task's containers leave behind: its volumes, its cgroup.
pub fn is_cleared(observed: &Observed, setting: &Setting, stack: &StackName, task: &Task) -> bool {
    let leaves = setting.cgroup_of(task).is_some() || !mounts::own_volumes(setting, stack, task).is_empty();
    !leaves || observed.cleared.contains(&task.id)
}
