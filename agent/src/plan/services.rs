//! The service scheduler: how many tasks of which deployment, where, and which ones go (reference 3.2, 3.5–3.9).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use netmodes::vpc::eni::{Eni, EniAddress, MacAddress};

use super::health::{self, Counts, HealthStatus};
use super::ids::Ids;
use super::{Setting, Wake};
use crate::observe::Observed;
use crate::project::security_groups::subnets;
use crate::spec::ids::{ServiceName, StackName, TaskId};
use crate::store::state::{Deployment, Rollout, State, Stop, StopCode, Task, TaskStatus};

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
    zone: String,
    created_at: Timestamp,
}

impl Scheduler<'_> {
    fn run(&mut self) {
        let Some(service) = self.state.stack(self.stack).and_then(|s| s.services.get(self.service)).cloned() else {
            return;
        };
        let Some(primary) = service.primary().cloned() else { return };
        let tasks = self.count(&primary);
        if service.leaving {
            self.drain(&primary, &tasks);
            return;
        }
        let desired = service.desired_count;
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
        self.start(&primary, &tasks, desired, upper, service.next_start);
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
                primary: task.deployment == primary.id,
                healthy,
                unhealthy: fails && grace_ends <= self.now,
                running: task.status == TaskStatus::Running,
                zone: task.availability_zone.clone(),
                created_at: task.created_at,
            });
        }
        counted
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
    ) {
        let good = tasks.iter().filter(|t| t.primary && !t.unhealthy).count() as u32;
        let wanted = desired.saturating_sub(good).min(upper.saturating_sub(tasks.len() as u32));
        if wanted == 0 {
            return;
        }
        if let Some(at) = next_start
            && at > self.now
        {
            self.wake.at(at);
            return;
        }
        let mut started = Vec::new();
        let mut leased: BTreeSet<IpAddr> = self.state.stack(self.stack).map_or_else(BTreeSet::new, |stack| {
            let holding = stack.tasks.values().filter(|t| t.holds_lease());
            holding.flat_map(|t| t.eni.addresses.iter().map(|a| a.address)).collect()
        });
        let mut in_zone: BTreeMap<String, usize> = BTreeMap::new();
        for task in tasks {
            *in_zone.entry(task.zone.clone()).or_default() += 1;
        }
        for _ in 0..wanted {
            match self.place(primary, &leased, &in_zone) {
                Some(task) => {
                    started.push(task.id.clone());
                    leased.extend(task.eni.addresses.iter().map(|a| a.address));
                    *in_zone.entry(task.availability_zone.clone()).or_default() += 1;
                    self.state.put_task(self.stack, task);
                }
                None => {
                    self.event_once(format!(
                        "(service {}) was unable to place a task. Reason: InsufficientFreeAddressesInSubnet: its subnets have no free address left.",
                        self.service
                    ));
                    break;
                }
            }
        }
        if !started.is_empty() {
            let names: Vec<String> = started.iter().map(|id| format!("(task {id})")).collect();
            self.event(format!("(service {}) has started {} tasks: {}.", self.service, started.len(), names.join(" ")));
        }
    }

    /// A new task in the zone that has the fewest, with a lease of its own; `None` when every subnet is full.
    fn place(
        &mut self,
        deployment: &Deployment,
        leased: &BTreeSet<IpAddr>,
        in_zone: &BTreeMap<String, usize>,
    ) -> Option<Task> {
        let record = &self.state.stack(self.stack)?.record;
        let by_id = subnets(record);
        let mut candidates: Vec<_> =
            record.spec.vpc.subnets.iter().filter(|s| deployment.service.subnets.contains(&s.name)).collect();
        candidates.sort_by_key(|s| in_zone.get(s.availability_zone.as_str()).copied().unwrap_or(0));
        let (named, subnet, address) = candidates.into_iter().find_map(|named| {
            let subnet_record = record.subnets.get(&named.name)?;
            let subnet = by_id.iter().find(|s| s.id == subnet_record.id)?;
            let address = subnet.next_address(leased, subnet_record.last_leased)?;
            Some((named, subnet, address))
        })?;
        let eni_id = self.ids.eni();
        let groups: Vec<_> =
            deployment.service.security_groups.iter().filter(|g| record.groups.contains_key(*g)).cloned().collect();
        let eni = Eni {
            mac: MacAddress::of_eni(&eni_id),
            id: eni_id,
            subnet: subnet.id.clone(),
            addresses: vec![EniAddress { address, prefix: subnet.cidr.prefix(), gateway: subnet.gateway() }],
            groups: groups.iter().filter_map(|g| record.groups.get(g).cloned()).collect(),
            source_check: true,
        };
        let task = Task {
            id: self.ids.task(),
            service: self.service.clone(),
            deployment: deployment.id.clone(),
            revision: deployment.revision,
            definition: deployment.service.task_definition.clone(),
            subnet: named.name.clone(),
            availability_zone: named.availability_zone.clone(),
            eni,
            attachment: self.ids.uuid(),
            groups,
            registers: deployment.service.discovery.is_some(),
            status: TaskStatus::Provisioning,
            stop: None,
            containers: BTreeMap::new(),
            ran: false,
            was_healthy: false,
            created_at: self.now,
            started_at: None,
            stopped_at: None,
            version: 1,
        };
        self.state.lease(self.stack, &task.subnet, address);
        Some(task)
    }

    fn stop(&mut self, primary: &Deployment, tasks: &[Counted], desired: u32, lower: u32, upper: u32) {
        let scaling = format!("Scaling activity initiated by (deployment {})", primary.id);
        let mut healthy = tasks.iter().filter(|t| t.healthy).count() as u32;

        // Of the primary deployment, what is more than desired: those that are not up first, then from the fullest zone.
        let mut surplus: Vec<&Counted> = Vec::new();
        let mut current: Vec<&Counted> = tasks.iter().filter(|t| t.primary && !t.unhealthy).collect();
        while current.len() as u32 > desired {
            let crowd = |zone: &str| current.iter().filter(|t| t.zone == zone).count();
            let choice = current
                .iter()
                .enumerate()
                .min_by_key(|(_, t)| (t.healthy, t.running, std::cmp::Reverse(crowd(&t.zone)), t.created_at, &t.id));
            let Some((index, _)) = choice else { break };
            let gone = current.swap_remove(index);
            healthy -= u32::from(gone.healthy);
            surplus.push(gone);
        }

        // Of older deployments, as many as the lower bound leaves. One that fails or is not up keeps up no bound; one that
        // is up and has not counted as healthy yet serves all the same, until others do.
        let mut old: Vec<&Counted> = tasks.iter().filter(|t| !t.primary).collect();
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
