//! The host ports of a container instance that lead to containers: what follows from its tasks (reference 1.7). Pure.

use std::collections::BTreeSet;

use netmodes::bridge::PublishedPort;

use crate::observe::Observed;
use crate::spec::ids::InstanceId;
use crate::spec::task_definition::TransportProtocol;
use crate::store::state::StackState;
use crate::store::task::{Task, TaskNetwork, TaskStatus};

/// The ports that lead to a task in bridge mode; none in another mode.
pub fn published_ports(task: &Task) -> impl Iterator<Item = PublishedPort> {
    let (attachments, bindings) = match &task.network {
        TaskNetwork::Bridge { attachments, bindings } => (Some(attachments), bindings.as_slice()),
        _ => (None, &[][..]),
    };
    bindings.iter().flat_map(move |binding| {
        let attachment = attachments.and_then(|a| a.get(&binding.container));
        attachment.into_iter().flat_map(move |attachment| {
            (0..binding.count).filter_map(move |offset| {
                Some(PublishedPort {
                    protocol: binding.protocol.into(),
                    host_port: binding.host_port.checked_add(offset)?,
                    container_address: attachment.address,
                    container_port: binding.container_port.checked_add(offset)?,
                })
            })
        })
    })
}

/// What an instance should publish: the ports of every task on it that is not on its way out, but for those that were
/// found to be another process's.
pub fn of_instance(stack: &StackState, id: &InstanceId, observed: &Observed) -> BTreeSet<PublishedPort> {
    let busy = observed.instances.get(id).map(|seen| &seen.busy_ports);
    let is_busy = |port: &PublishedPort| {
        busy.is_some_and(|busy| busy.contains(&(TransportProtocol::from(port.protocol), port.host_port)))
    };
    let staying = stack.tasks_on(id).filter(|task| task.status < TaskStatus::Deprovisioning);
    staying.flat_map(published_ports).filter(|port| !is_busy(port)).collect()
}
