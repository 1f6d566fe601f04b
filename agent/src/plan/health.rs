//! Whether a task is healthy, and whether it counts as healthy (reference 2.3, 3.2).

use jiff::Timestamp;

use super::Setting;
use crate::observe::Observed;
use crate::runtime::{Health, ObservedContainer};
use crate::spec::ids::StackName;
use crate::spec::task_definition::ContainerDefinition;
use crate::store::task::{Task, TaskStatus};

/// `healthStatus` of a task or container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// Every essential check passes.
    Healthy,
    /// An essential check fails.
    Unhealthy,
    /// No check, or no verdict yet.
    Unknown,
}

impl HealthStatus {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What is known of one container's health. A stub runs no check: it is healthy because it runs.
pub fn of_container(definition: &ContainerDefinition, seen: Option<&ObservedContainer>) -> Option<Health> {
    let seen = seen?;
    if definition.stub {
        return seen.state.pid().map(|_| Health::Healthy);
    }
    seen.health
}

/// Whether any essential container has a health check.
pub fn has_check(task: &Task) -> bool {
    task.definition.container_definitions.iter().any(|c| c.essential && c.health_check.is_some())
}

/// Over essential containers with a check: any UNHEALTHY, else any UNKNOWN, else HEALTHY (2.3).
pub fn of_task(task: &Task, stack: &StackName, observed: &Observed, setting: &Setting) -> HealthStatus {
    let checked = task.definition.container_definitions.iter().filter(|c| c.essential && c.health_check.is_some());
    let (mut any, mut unknown) = (false, false);
    for definition in checked {
        any = true;
        let name = setting.app_name(stack, &task.id, &definition.name);
        match of_container(definition, observed.containers.get(&name)) {
            Some(Health::Unhealthy) => return HealthStatus::Unhealthy,
            Some(Health::Healthy) => {}
            Some(Health::Starting) | None => unknown = true,
        }
    }
    if any && !unknown { HealthStatus::Healthy } else { HealthStatus::Unknown }
}

/// What its containers' checks said last, on one line; empty where they said nothing.
pub fn last_output(task: &Task, stack: &StackName, observed: &Observed, setting: &Setting) -> String {
    let outputs = task.definition.container_definitions.iter().filter_map(|definition| {
        let name = setting.app_name(stack, &task.id, &definition.name);
        observed.containers.get(&name)?.last_health_output.as_deref()
    });
    let lines: Vec<&str> = outputs.flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// When a task counts as healthy for a deployment (3.2): its check passes, or, without one, it has been RUNNING for 40 s.
pub enum Counts {
    /// It does.
    Now,
    /// It will, if nothing happens.
    At(Timestamp),
    /// Not before an event says so.
    No,
}

/// Whether a task counts as healthy.
pub fn counts(task: &Task, stack: &StackName, observed: &Observed, setting: &Setting, now: Timestamp) -> Counts {
    if task.status != TaskStatus::Running || !task.is_wanted() {
        return Counts::No;
    }
    if has_check(task) {
        return match of_task(task, stack, observed, setting) {
            HealthStatus::Healthy => Counts::Now,
            _ => Counts::No,
        };
    }
    let Some(since) = task.started_at else { return Counts::No };
    let at = since + setting.healthy_after;
    if at <= now { Counts::Now } else { Counts::At(at) }
}
