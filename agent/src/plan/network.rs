//! Whether a task or an instance has all of its network, or nothing of it any more: facts of what is observed, by mode.

use std::collections::BTreeMap;

use netmodes::bridge::Attachment;

use super::Setting;
use crate::observe::{Observed, ObservedInstance};
use crate::project::ports::published_ports;
use crate::spec::ids::{ContainerName, EniId, InstanceId, StackName};
use crate::store::instance::Instance;
use crate::store::task::{Task, TaskNetwork};

/// Whether an ENI is unlinked, out of the filter, and its flows are forgotten; true when there is no VPC to ask.
pub fn is_eni_gone(observed: &Observed, setting: &Setting, stack: &StackName, eni: &EniId) -> bool {
    let Some(network) = observed.network(stack, &setting.vpc_name(stack)) else {
        return observed.running(&setting.vpc_name(stack)).is_none();
    };
    let unlinked = matches!(network.links.get(eni), Some(None));
    let filtered = network.filter.as_ref().is_none_or(|f| f.enis.contains_key(eni));
    unlinked && !filtered && observed.forgotten.contains(eni)
}

/// Whether nothing of a task is left on the network: no ENI, no host port, no link to a bridge, no tracked flow.
pub fn is_off_the_network(observed: &Observed, setting: &Setting, stack: &StackName, task: &Task) -> bool {
    match (&task.network, &task.instance) {
        (TaskNetwork::Awsvpc(attached), _) => is_eni_gone(observed, setting, stack, &attached.eni.id),
        (TaskNetwork::Bridge { attachments, .. }, Some(instance)) => {
            let name = setting.instance_name(stack, instance);
            let Some(seen) = observed.instance(instance, &name) else { return observed.running(&name).is_none() };
            is_unpublished(seen, task) && attachments.values().all(|a| seen.attachments.get(&a.id) == Some(&None))
        }
        _ => true,
    }
}

/// Whether no host port of its instance leads to a task any more.
pub fn is_unpublished(seen: &ObservedInstance, task: &Task) -> bool {
    seen.ports.as_ref().is_some_and(|there| published_ports(task).all(|port| !there.contains(&port)))
}

/// Whether a task has all of its network: what it is in, the way there, and the ports that lead to it.
pub fn is_linked(
    observed: &Observed,
    setting: &Setting,
    stack: &StackName,
    instances: &BTreeMap<InstanceId, Instance>,
    task: &Task,
) -> bool {
    let instance = task.instance.as_ref().map(|id| instances.get(id));
    // Whatever is placed waits for its instance.
    if instance.is_some_and(|instance| instance.is_none_or(|i| !i.is_connected())) {
        return false;
    }
    if setting.holders_of(stack, task).iter().any(|holder| observed.running(holder).is_none()) {
        return false;
    }
    match &task.network {
        TaskNetwork::Awsvpc(attached) => {
            let holder = observed.running(&setting.pause_name(stack, &task.id));
            let network = observed.network(stack, &setting.vpc_name(stack));
            let link = network.and_then(|n| n.links.get(&attached.eni.id)).and_then(Option::as_ref);
            matches!((&holder, link), (Some((holder, _)), Some(to)) if holder == to)
        }
        TaskNetwork::Bridge { attachments, .. } => {
            let Some(id) = &task.instance else { return false };
            let Some(seen) = observed.instance(id, &setting.instance_name(stack, id)) else { return false };
            let is_attached = |(name, attachment): (&ContainerName, &Attachment)| {
                let holder = observed.running(&setting.container_pause_name(stack, &task.id, name));
                let link = seen.attachments.get(&attachment.id).and_then(Option::as_ref);
                matches!((&holder, link), (Some((holder, _)), Some(to)) if holder == to)
            };
            let published = seen.ports.as_ref();
            attachments.iter().all(is_attached)
                && published.is_some_and(|there| published_ports(task).all(|port| there.contains(&port)))
        }
        TaskNetwork::Host { .. } | TaskNetwork::None => true,
    }
}
