//! What the zone that the resolver serves says of a name or a task, and why a name has no record. Pure, over the lens.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::question::nearest;
use super::reply::{About, Step};
use super::wording::list;
use crate::control::view::Lens;
use crate::plan::health::{self, HealthStatus};
use crate::project::dns;
use crate::project::zone::{Srv, Zone};
use crate::spec::ids::{ServiceName, StackName};
use crate::store::state::{ServiceState, StackState};
use crate::store::task::{Task, TaskStatus};

/// What the zone has of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// Every answer holds some of these, and no other.
    Addresses(BTreeSet<IpAddr>),
    /// SRV records, and none of an address: every answer holds some of these, and no other.
    Services(Vec<Srv>),
    /// None, and why.
    Missing {
        /// In words.
        why: String,
        /// A name that may have been meant.
        near: Option<String>,
    },
    /// Not a name of the stack's namespace: what others answer is not known beforehand.
    Elsewhere,
}

/// Looks a name up in the zone that is served to a stack; names are in lower case.
pub(super) fn record(lens: &Lens<'_>, stack_name: &StackName, name: &str) -> Record {
    let Some(stack) = lens.state.stack(stack_name) else { return Record::Elsewhere };
    let zone = zone(lens, stack_name, stack);
    if let Some(answers) = zone.names.get(name) {
        let any_healthy = answers.instances.iter().any(|i| i.healthy);
        let serving = || answers.instances.iter().filter(move |i| i.healthy == any_healthy);
        let services: Vec<Srv> = serving().filter_map(|i| i.srv.clone()).collect();
        return match services.is_empty() {
            true => Record::Addresses(serving().flat_map(|i| i.addresses.iter().copied()).collect()),
            false => Record::Services(services),
        };
    }
    let namespace = &stack.record.spec.dns_namespace;
    let below = name.strip_suffix(namespace.as_str()).and_then(|rest| rest.strip_suffix('.'));
    let Some(label) = below else {
        let other = lens.state.stacks().iter().find(|(other, s)| {
            *other != stack_name
                && name.strip_suffix(s.record.spec.dns_namespace.as_str()).is_some_and(|r| r.ends_with('.'))
        });
        return match other {
            Some((other, _)) => Record::Missing {
                why: format!("it is a name of stack `{other}`, whose namespace is known in its own VPC alone"),
                near: None,
            },
            None => Record::Elsewhere,
        };
    };
    let registered =
        stack.services.iter().find(|(_, s)| discovery_name(s).is_some_and(|n| n.eq_ignore_ascii_case(label)));
    let by_name = || stack.services.iter().find(|(service, _)| service.as_str().eq_ignore_ascii_case(label));
    match (registered, by_name()) {
        (Some((service, state)), _) => {
            let tasks: Vec<&Task> = stack.tasks.values().filter(|t| &t.service == service && t.holds_lease()).collect();
            let why = match tasks.as_slice() {
                [] => no_task(stack, service, state),
                tasks => {
                    let why: Vec<String> = tasks
                        .iter()
                        .map(|t| format!("task {} {}", t.id.short(), why_not_registered(lens, stack_name, t)))
                        .collect();
                    format!("of service `{service}`, {}", list(&why))
                }
            };
            Record::Missing { why, near: None }
        }
        (None, Some((service, state))) => match discovery_name(state) {
            Some(other) => Record::Missing {
                why: format!("service `{service}` is found under another name"),
                near: Some(format!("{other}.{namespace}")),
            },
            None => Record::Missing { why: format!("service `{service}` has no `discovery`"), near: None },
        },
        (None, None) => {
            let known: Vec<String> =
                stack.services.values().filter_map(discovery_name).map(|n| format!("{n}.{namespace}")).collect();
            let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            Record::Missing { why: format!("no service of stack `{stack_name}` is found by it"), near }
        }
    }
}

/// Whether the name of a task's service leads to it; none for a service that nobody finds by name.
pub(super) fn of_task(lens: &Lens<'_>, stack_name: &StackName, task: &Task) -> Option<Step> {
    let stack = lens.state.stack(stack_name)?;
    let service = stack.services.get(&task.service)?;
    let name = format!("{}.{}", discovery_name(service)?, stack.record.spec.dns_namespace).to_ascii_lowercase();
    let address = stack.eni_of(task)?.primary_address()?;
    let unhealthy = health::of_task(task, stack_name, lens.observed, lens.setting) == HealthStatus::Unhealthy;
    let text = match record(lens, stack_name, &name) {
        Record::Addresses(serving) if serving.contains(&address) && unhealthy => {
            format!("`{name}` leads here, although the task is UNHEALTHY: no other one is healthy")
        }
        Record::Addresses(serving) if serving.contains(&address) => format!("`{name}` leads here"),
        Record::Services(services) => match services.iter().find(|srv| srv.target.starts_with(task.id.as_str())) {
            Some(srv) => {
                let although = if unhealthy { ", although the task is UNHEALTHY" } else { "" };
                let srv = in_words(srv);
                format!("`{name}` has no A record; its {srv} leads here{although}, its target being {address}")
            }
            None => format!(
                "no SRV record of `{name}` leads here: the task {}",
                why_not_served(unhealthy, lens, stack_name, task)
            ),
        },
        Record::Addresses(_) if unhealthy && dns::is_registered(task) => {
            format!("`{name}` does not lead here: the task is UNHEALTHY, and others are not")
        }
        _ => format!("`{name}` does not lead here: the task {}", why_not_registered(lens, stack_name, task)),
    };
    Some(Step::note(About::Name, text))
}

/// `SRV 1 1 32768 1a2b….users.shop.local`
pub(super) fn in_words(srv: &Srv) -> String {
    format!("SRV {} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)
}

fn why_not_served(unhealthy: bool, lens: &Lens<'_>, stack: &StackName, task: &Task) -> String {
    match unhealthy && dns::is_registered(task) {
        true => "is UNHEALTHY, and others are not".to_owned(),
        false => why_not_registered(lens, stack, task),
    }
}

/// Why a service that has no task has none.
pub(super) fn no_task(stack: &StackState, service: &ServiceName, state: &ServiceState) -> String {
    let text = format!("service `{service}` has no task (desiredCount {})", state.desired_count);
    let stopped = stack.tasks.values().filter(|t| &t.service == service).max_by_key(|t| t.created_at);
    match stopped.and_then(|task| task.stop.as_ref()) {
        Some(stop) if state.desired_count > 0 => format!("{text}: the last one stopped: {}", stop.reason),
        _ => text,
    }
}

fn discovery_name(service: &ServiceState) -> Option<&str> {
    service.primary()?.service.discovery.as_ref().map(|d| d.name.as_str())
}

/// What is served now; before the resolver said so, what it should serve.
fn zone(lens: &Lens<'_>, name: &StackName, stack: &StackState) -> Zone {
    let served = lens.observed.networks.get(name).and_then(|n| n.zone.as_ref()).map(|(_, zone)| zone.clone());
    served.unwrap_or_else(|| dns::zone(name, stack, lens.observed, lens.setting))
}

fn why_not_registered(lens: &Lens<'_>, stack: &StackName, task: &Task) -> String {
    let health = health::of_task(task, stack, lens.observed, lens.setting);
    match task.status {
        TaskStatus::Activating | TaskStatus::Running if !task.is_wanted() => "is being stopped".to_owned(),
        TaskStatus::Activating | TaskStatus::Running if !task.registers => "is not entered in any registry".to_owned(),
        TaskStatus::Activating | TaskStatus::Running if !dns::is_registered(task) => {
            let output = health::last_output(task, stack, lens.observed, lens.setting);
            let output = if output.is_empty() { output } else { format!(": {output}") };
            match health {
                HealthStatus::Unhealthy => format!("is UNHEALTHY: its health check fails{output}"),
                other => format!("is {}: its health check has not passed yet{output}", other.as_str()),
            }
        }
        TaskStatus::Activating | TaskStatus::Running => "is about to be entered".to_owned(),
        status => format!("is {}", status.as_str()),
    }
}
