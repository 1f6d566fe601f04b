//! The service scheduler: how many tasks of which deployment, where, and which ones go (reference 3.2, 3.5–3.9).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::health::{self, Counts, HealthStatus};
use super::ids::Ids;
use super::launch::{self, Launcher, Refusal};
use super::placement::{self, Placed};
use super::{Setting, Wake, instances};
use crate::observe::Observed;
use crate::spec::ids::{InstanceId, ServiceName, StackName, TaskId};
use crate::spec::service::SchedulingStrategy;
use crate::store::instance::InstanceStatus;
use crate::store::state::{Deployment, Rollout, State};
use crate::store::task::{Stop, StopCode, Task, TaskStatus};

/// The least and the most failures at which the circuit breaker opens (3.3).
const BREAKER_BOUNDS: (u32, u32) = (3, 200);

/// Decides for every service of a stack which tasks start and which stop.
pub fn schedule(
    state: &mut State,
    stack: &StackName,
    observed: &Observed,
    setting: &Setting,
    now: Timestamp,
    ids: &mut Ids,
    wake: &mut Wake,
) {
    let Some(in_stack) = state.stack(stack) else { return };
    let services: Vec<ServiceName> = in_stack.services.keys().cloned().collect();
    for service in services {
        Scheduler { state, stack, service: &service, observed, setting, now, ids, wake }.run();
    }
    end_retiring(state, stack);
}

/// Once no task of an earlier deployment is left, no rule of an earlier network mode is needed.
fn end_retiring(state: &mut State, stack: &StackName) {
    let Some(in_stack) = state.stack(stack).filter(|s| !s.record.retiring.is_empty()) else { return };
    let is_current = |task: &Task| {
        let service = in_stack.services.get(&task.service);
        service.and_then(|s| s.primary()).is_some_and(|primary| primary.id == task.deployment)
    };
    if in_stack.tasks.values().all(|task| task.status == TaskStatus::Stopped || is_current(task)) {
        let mut record = in_stack.record.clone();
        record.retiring.clear();
        state.put_stack(stack, record);
    }
}

struct Scheduler<'a> {
    state: &'a mut State,
    stack: &'a StackName,
    service: &'a ServiceName,
    observed: &'a Observed,
    setting: &'a Setting,
    now: Timestamp,
    ids: &'a mut Ids,
    wake: &'a mut Wake,
}

/// A live task, as the scheduler counts it.
struct Counted {
    id: TaskId,
    primary: bool,
    /// Counts as healthy for the bounds of a deployment.
    healthy: bool,
    /// Its checks fail, and its grace period is over.
    unhealthy: bool,
    /// RUNNING, healthy or not.
    running: bool,
    /// Neither scale in nor a deployment stops it (3.11).
    protected: bool,
    zone: String,
    instance: Option<InstanceId>,
    created_at: Timestamp,
}

impl Scheduler<'_> {
    fn run(&mut self) {
        let Some(service) = self.state.stack(self.stack).and_then(|s| s.services.get(self.service)).cloned() else {
            return;
        };
        let Some(primary) = service.primary().cloned() else { return };
        let mut tasks = self.count(&primary);
        if service.leaving {
            self.drain(&primary, &tasks);
            return;
        }
        let daemon = self.daemon_targets(&primary);
        if let Some(targets) = &daemon {
            // What is on an instance that drains stays to the last (3.5); what is where it should not be is replaced by nothing.
            tasks.retain(|task| !self.is_on_draining(task));
            for task in &mut tasks {
                task.primary &= task.instance.as_ref().is_some_and(|id| targets.contains(id));
            }
        }
        let desired = daemon.as_ref().map_or(service.desired_count, |targets| targets.len() as u32);
        let bounds = primary.service.deployment_configuration;
        let part = |percent: u32| u64::from(desired) * u64::from(percent);
        let lower = u32::try_from(part(bounds.minimum_healthy_percent).div_ceil(100)).unwrap_or(u32::MAX);
        let upper = u32::try_from(part(bounds.maximum_percent) / 100).unwrap_or(u32::MAX);

        if primary.rollout == Rollout::Failed {
            self.shrink(&primary, &tasks, desired);
            return;
        }
        if self.breaker_opens(&service.deployments, desired) {
            return;
        }
        self.start(&primary, &tasks, desired, upper, service.next_start, daemon.as_deref());
        self.stop(&primary, &tasks, desired, lower, upper);
        self.settle(&primary, &tasks, desired, upper, lower, service.steady);
    }

    fn count(&mut self, primary: &Deployment) -> Vec<Counted> {
        let Some(stack) = self.state.stack(self.stack) else { return Vec::new() };
        let live = stack.tasks.values().filter(|t| &t.service == self.service && t.is_wanted());
        let grace = std::time::Duration::from_secs(primary.service.health_check_grace_period_seconds.into());
        let mut counted = Vec::new();
        for task in live {
            let healthy = match health::counts(task, self.stack, self.observed, self.setting, self.now) {
                Counts::Now => true,
                Counts::At(at) => {
                    self.wake.at(at);
                    false
                }
                Counts::No => false,
            };
            let fails = health::of_task(task, self.stack, self.observed, self.setting) == HealthStatus::Unhealthy;
            let grace_ends = task.started_at.unwrap_or(task.created_at) + grace;
            if fails {
                self.wake.at(grace_ends);
            }
            counted.push(Counted {
                id: task.id.clone(),
                primary: task.deployment == primary.id && !self.is_moving(task, primary),
                healthy,
                unhealthy: fails && grace_ends <= self.now,
                running: task.status == TaskStatus::Running,
                protected: task.protected_until.is_some_and(|until| until > self.now),
                zone: task.availability_zone.clone(),
                instance: task.instance.clone(),
                created_at: task.created_at,
            });
        }
        counted
    }

    /// Whether a task of the newest deployment is to be replaced elsewhere: its instance drains, or goes.
    fn is_moving(&self, task: &Task, primary: &Deployment) -> bool {
        let Some(stack) = self.state.stack(self.stack) else { return false };
        let instance = task.instance.as_ref().and_then(|id| stack.instances.get(id));
        let is_daemon = primary.service.scheduling_strategy == SchedulingStrategy::Daemon;
        // Tasks of a DAEMON service stay on an instance that drains to the last (3.5).
        instance.is_some_and(|i| i.leaving || (i.status == InstanceStatus::Draining && !is_daemon))
    }

    fn is_on_draining(&self, task: &Counted) -> bool {
        let instances = self.state.stack(self.stack).map(|stack| &stack.instances);
        let instance = task.instance.as_ref().and_then(|id| instances?.get(id));
        instance.is_some_and(|instance| instance.status == InstanceStatus::Draining)
    }

    /// The instances that each have a task of a DAEMON service; `None` for any other service.
    fn daemon_targets(&self, primary: &Deployment) -> Option<Vec<InstanceId>> {
        let service = &primary.service;
        if service.scheduling_strategy != SchedulingStrategy::Daemon {
            return None;
        }
        let stack = self.state.stack(self.stack)?;
        Some(launch::daemon_targets(stack, self.observed, service))
    }

    /// DeleteService by force: everything stops, and the service goes when its tasks have.
    fn drain(&mut self, primary: &Deployment, tasks: &[Counted]) {
        let all: Vec<&Counted> = tasks.iter().collect();
        let reason = format!("Scaling activity initiated by (deployment {})", primary.id);
        self.stop_tasks(&all, &reason);
        let Some(stack) = self.state.stack(self.stack) else { return };
        let over = stack.tasks.values().filter(|t| &t.service == self.service).all(|t| t.status == TaskStatus::Stopped);
        if over {
            self.state.remove_service(self.stack, self.service);
        }
    }

    fn breaker_opens(&mut self, deployments: &[Deployment], desired: u32) -> bool {
        let Some(primary) = deployments.first() else { return false };
        let breaker = primary.service.deployment_configuration.deployment_circuit_breaker;
        let threshold = desired.div_ceil(2).clamp(BREAKER_BOUNDS.0, BREAKER_BOUNDS.1);
        if !breaker.enable || primary.rollout != Rollout::InProgress || primary.failed_tasks < threshold {
            return false;
        }
        let id = primary.id.clone();
        // A roll back that fails as well is not rolled back: it would go on for ever.
        let back_to = deployments
            .iter()
            .find(|d| d.rollout == Rollout::Completed && d.service != primary.service)
            .filter(|_| breaker.rollback)
            .cloned();
        self.event(format!("(service {}) (deployment {id}) deployment failed: tasks failed to start.", self.service));
        let fresh = self.ids.deployment();
        let now = self.now;
        let rolls_back = back_to.is_some();
        self.state.edit_service(self.stack, self.service, |service| {
            if let Some(failed) = service.deployments.first_mut() {
                failed.rollout = Rollout::Failed;
            }
            if let Some(old) = back_to {
                let again = Deployment {
                    id: fresh.clone(),
                    created_at: now,
                    rollout: Rollout::InProgress,
                    failed_tasks: 0,
                    ..old
                };
                service.deployments.insert(0, again);
                service.failed_starts = 0;
                service.next_start = None;
            }
        });
        if rolls_back {
            self.event(format!("(service {}) rolling back to deployment {fresh}.", self.service));
        }
        true
    }

    fn start(
        &mut self,
        primary: &Deployment,
        tasks: &[Counted],
        desired: u32,
        upper: u32,
        next_start: Option<Timestamp>,
        daemon: Option<&[InstanceId]>,
    ) {
        let good = tasks.iter().filter(|t| t.primary && !t.unhealthy).count() as u32;
        let wanted = desired.saturating_sub(good).min(upper.saturating_sub(tasks.len() as u32));
        // Of a DAEMON service each task has its place; others go wherever placement says.
        let places: Vec<Option<InstanceId>> = match daemon {
            None => vec![None; wanted as usize],
            Some(targets) => {
                let has = |id: &&InstanceId| {
                    tasks.iter().any(|t| t.primary && !t.unhealthy && t.instance.as_ref() == Some(*id))
                };
                targets.iter().filter(|id| !has(id)).cloned().map(Some).collect()
            }
        };
        if wanted == 0 {
            return;
        }
        if let Some(at) = next_start
            && at > self.now
        {
            self.wake.at(at);
            return;
        }
        let mut in_zone: BTreeMap<String, usize> = BTreeMap::new();
        // Tasks of an earlier deployment go soon: counted, they would leave the new ones uneven.
        for task in tasks.iter().filter(|t| t.primary) {
            *in_zone.entry(task.zone.clone()).or_default() += 1;
        }
        let Some(stack) = self.state.stack(self.stack) else { return };
        let mut launcher = Launcher::new(stack, self.observed, in_zone);
        let mut started = Vec::new();
        let mut refused = None;
        for on in places.into_iter().take(wanted as usize) {
            match launcher.launch(self.state, self.stack, primary, on.as_ref(), self.now, self.ids) {
                Ok(task) => started.push(format!("(task {})", task.id)),
                // Of a DAEMON service each task has one place only: another one may have room.
                Err(refusal) if daemon.is_some() => refused = Some(refusal),
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        if !started.is_empty() {
            self.event(format!(
                "(service {}) has started {} tasks: {}.",
                self.service,
                started.len(),
                started.join(" ")
            ));
        }
        if let Some(refusal) = refused {
            // One more instance would be one more place of a DAEMON service, and help none of the others.
            let grown = daemon.is_none()
                && matches!(refusal, Refusal::NoInstance(_))
                && instances::grow(self.state, self.stack, &primary.service, self.ids);
            if !grown {
                self.event_once(refusal.event(self.service.as_str()));
            }
        }
    }

    fn stop(&mut self, primary: &Deployment, tasks: &[Counted], desired: u32, lower: u32, upper: u32) {
        let scaling = format!("Scaling activity initiated by (deployment {})", primary.id);
        let mut healthy = tasks.iter().filter(|t| t.healthy).count() as u32;

        // Of the primary deployment, what is more than desired: those that are not up first, then so that what is left is
        // as placement would have it (3.5).
        let current: Vec<&Counted> = tasks.iter().filter(|t| t.primary && !t.unhealthy).collect();
        let mut surplus = self.surplus(primary, &current, desired);
        healthy -= surplus.iter().filter(|t| t.healthy).count() as u32;

        // Of older deployments, as many as the lower bound leaves. One that fails or is not up keeps up no bound; one that
        // is up and has not counted as healthy yet serves all the same, until others do.
        let mut old: Vec<&Counted> = tasks.iter().filter(|t| !t.primary && !t.protected).collect();
        old.sort_by_key(|t| (t.healthy, t.created_at));
        for task in old {
            let serves = task.running && !task.unhealthy;
            if !task.healthy && (!serves || healthy >= lower) {
                surplus.push(task);
            } else if task.healthy && healthy > lower {
                healthy -= 1;
                surplus.push(task);
            }
        }
        self.stop_tasks(&surplus, &scaling);

        // Unhealthy ones: their replacement starts first where maximumPercent leaves room; else one goes, and the next when
        // its replacement is healthy (3.6).
        let good = tasks.iter().filter(|t| t.primary && t.healthy).count() as u32;
        let starting = tasks.iter().filter(|t| t.primary && !t.healthy && !t.unhealthy).count() as u32;
        let no_room = good + starting < desired && tasks.len() as u32 >= upper;
        let mut failing: Vec<&Counted> = tasks.iter().filter(|t| t.primary && t.unhealthy).collect();
        failing.sort_by_key(|t| (t.created_at, &t.id));
        if good < desired {
            let next = no_room && starting == 0 && self.leaving() == 0;
            failing.truncate(usize::from(next));
        }
        if !failing.is_empty() {
            // The second stage of the circuit breaker counts failed health (3.3).
            let failed = failing.len() as u32;
            self.state.edit_service(self.stack, self.service, |service| {
                if let Some(primary) = service.deployments.first_mut() {
                    primary.failed_tasks += failed;
                }
            });
        }
        for task in &failing {
            self.event(format!("(service {}) (task {}) failed container health checks.", self.service, task.id));
        }
        self.stop_tasks(&failing, "Task failed container health checks");
    }

    /// Which of `current` go so that `desired` are left; protected ones stay.
    fn surplus<'t>(&mut self, primary: &Deployment, current: &[&'t Counted], desired: u32) -> Vec<&'t Counted> {
        let count = current.len().saturating_sub(desired as usize);
        let Some(stack) = self.state.stack(self.stack).filter(|_| count > 0) else { return Vec::new() };
        let launcher = Launcher::new(stack, self.observed, BTreeMap::new());
        let candidates = launcher.candidates();
        let (cpu, memory) = placement::resources_of(&primary.service.task_definition);
        let may_go: Vec<&Counted> = current.iter().copied().filter(|t| !t.protected).collect();
        let placed: Vec<Placed<'_>> = may_go
            .iter()
            .map(|task| Placed {
                id: task.id.as_str(),
                worth: u8::from(task.running) + u8::from(task.healthy),
                created_at: task.created_at,
                availability_zone: &task.zone,
                instance: task.instance.as_ref().and_then(|id| candidates.iter().find(|c| c.id == id.as_str())),
                cpu,
                memory,
            })
            .collect();
        let strategy = &primary.service.placement.strategy;
        let gone = placement::evict_order(&placed, strategy, count, &mut |count| self.ids.choice(count));
        gone.into_iter().map(|at| may_go[at]).collect()
    }

    /// Scale in of a service whose deployment was given up: nothing starts, and what is too much goes.
    fn shrink(&mut self, primary: &Deployment, tasks: &[Counted], desired: u32) {
        let mut all: Vec<&Counted> = tasks.iter().collect();
        all.sort_by_key(|t| (t.healthy, t.running, !t.primary, t.created_at));
        all.truncate(tasks.len().saturating_sub(desired as usize));
        self.stop_tasks(&all, &format!("Scaling activity initiated by (deployment {})", primary.id));
    }

    /// How many of the service's tasks are on their way to STOPPED.
    fn leaving(&self) -> usize {
        let Some(stack) = self.state.stack(self.stack) else { return 0 };
        let mine = stack.tasks.values().filter(|t| &t.service == self.service);
        mine.filter(|t| !t.is_wanted() && t.status != TaskStatus::Stopped).count()
    }

    fn stop_tasks(&mut self, tasks: &[&Counted], reason: &str) {
        if tasks.is_empty() {
            return;
        }
        let stop = Stop { code: StopCode::ServiceSchedulerInitiated, reason: reason.to_owned(), at: self.now };
        for task in tasks {
            self.state.edit_task(self.stack, &task.id, |record| record.stop = Some(stop.clone()));
        }
        let names: Vec<String> = tasks.iter().map(|t| format!("(task {})", t.id)).collect();
        self.event(format!(
            "(service {}) has stopped {} running tasks: {}.",
            self.service,
            tasks.len(),
            names.join(" ")
        ));
    }

    /// Says that a deployment is done and that the service is steady, once each (3.9).
    fn settle(&mut self, primary: &Deployment, tasks: &[Counted], desired: u32, upper: u32, lower: u32, said: bool) {
        let leaving = self.leaving();
        let all_there = tasks.len() as u32 == desired && tasks.iter().all(|t| t.primary && t.healthy);
        if primary.rollout == Rollout::InProgress && all_there {
            let id = primary.id.clone();
            self.state.edit_service(self.stack, self.service, |service| {
                service.deployments.truncate(1);
                if let Some(primary) = service.deployments.first_mut() {
                    primary.rollout = Rollout::Completed;
                }
            });
            self.event(format!("(service {}) (deployment {id}) deployment completed.", self.service));
        }
        let steady = all_there && leaving == 0;
        if steady != said {
            self.state.edit_service(self.stack, self.service, |service| service.steady = steady);
            if steady {
                self.event(format!("(service {}) has reached a steady state.", self.service));
            }
        }
        let blocked = !all_there && upper <= lower && tasks.iter().any(|t| !t.primary && t.healthy);
        if blocked && tasks.len() as u32 >= upper {
            self.event_once(format!(
                "(service {}) was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.",
                self.service
            ));
        }
    }

    fn event(&mut self, message: String) {
        let id = self.ids.uuid();
        self.state.event(self.stack, self.service, id, self.now, message);
    }

    /// Writes an event unless the same words stand since the service was last steady.
    fn event_once(&mut self, message: String) {
        let service = self.state.stack(self.stack).and_then(|s| s.services.get(self.service));
        let said = service.is_some_and(|s| {
            let since = s.events.iter().rev().take_while(|e| !e.message.ends_with("has reached a steady state."));
            since.into_iter().any(|e| e.message == message)
        });
        if !said {
            self.event(message);
        }
    }
}
