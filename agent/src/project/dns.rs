//! The zone that follows from a stack's desired and observed state (reference 6.2, 6.3, 6.7). Pure.

use std::collections::BTreeMap;

use netmodes::vpc::eni::private_domain;

use super::security_groups::router;
use super::zone::{Answers, Instance, Origin, PACKETS_PER_SECOND, PrivateNames, Routing, Srv, Zone, reverse_zones};
use crate::observe::Observed;
use crate::plan::Setting;
use crate::plan::health::{self, HealthStatus};
use crate::spec::ids::{ContainerName, NetworkMode, StackName};
use crate::spec::service::{RecordType, RoutingPolicy};
use crate::store::state::StackState;
use crate::store::task::{Task, TaskStatus};

/// What the resolver of a stack should serve; its generation is 0 and is given when it is written.
pub fn zone(name: &StackName, stack: &StackState, observed: &Observed, setting: &Setting) -> Zone {
    let spec = &stack.record.spec;
    let domain = private_domain(&spec.region);
    let mut authoritative = vec![Origin::new(&spec.dns_namespace), Origin::new(&domain)];
    authoritative.extend(reverse_zones(spec.vpc.cidr).into_iter().map(Origin::new));
    let mut names: BTreeMap<String, Answers> = BTreeMap::new();
    for task in stack.tasks.values().filter(|task| is_registered(task)) {
        // A task is entered where its own deployment says, until it is replaced by one of the next deployment.
        let Some(service) = stack.services.get(&task.service) else { continue };
        let own = service.deployments.iter().find(|d| d.id == task.deployment).or(service.primary());
        let Some(discovery) = own.and_then(|d| d.service.discovery.as_ref()) else { continue };
        let at = format!("{}.{}", discovery.name, spec.dns_namespace).to_ascii_lowercase();
        let healthy = health::of_task(task, name, observed, setting) != HealthStatus::Unhealthy;
        let id = task.id.as_str().to_owned();
        let addresses =
            stack.eni_of(task).into_iter().flat_map(|eni| eni.addresses.iter().map(|a| a.address)).collect();
        let target = format!("{id}.{at}");
        let srv = match &discovery.record {
            RecordType::A => None,
            RecordType::Srv { container_name, container_port } => {
                let Some(port) = reached_port(task, container_name, *container_port) else { continue };
                Some(Srv { priority: 1, weight: 1, port, target: target.clone() })
            }
        };
        // With SRV the addresses stand at the target's name alone (6.2).
        let (own, at_target) = if srv.is_some() { (Vec::new(), Some(addresses)) } else { (addresses, None) };
        let routing = match discovery.routing_policy {
            RoutingPolicy::Multivalue => Routing::Multivalue,
            RoutingPolicy::Weighted => Routing::Weighted,
        };
        let none_yet = || Answers { ttl: discovery.ttl, routing, instances: Vec::new(), ptr: Vec::new() };
        let instance = Instance { id, healthy, addresses: own, srv };
        if let Some(addresses) = at_target {
            let named = Instance { addresses, srv: None, ..instance.clone() };
            names.entry(target).or_insert_with(none_yet).instances.push(named);
        }
        names.entry(at).or_insert_with(none_yet).instances.push(instance);
    }
    Zone {
        generation: 0,
        listen: router(&stack.record).resolver_addresses(),
        authoritative,
        names,
        private_names: Some(PrivateNames { domain, blocks: vec![spec.vpc.cidr] }),
        forward: if spec.vpc.internet { setting.upstream.clone() } else { Vec::new() },
        packet_limit: Some(PACKETS_PER_SECOND),
    }
}

/// The port at which a container's port is reached from outside of the task.
pub fn reached_port(task: &Task, container: &ContainerName, container_port: u16) -> Option<u16> {
    if task.mode() == NetworkMode::Awsvpc {
        return Some(container_port);
    }
    task.bindings().iter().filter(|b| b.container == *container).find_map(|binding| {
        let offset = container_port.checked_sub(binding.container_port).filter(|offset| *offset < binding.count)?;
        binding.host_port.checked_add(offset)
    })
}

/// Whether a task is a Cloud Map instance: its deployment has a registry, its containers run, its checks have passed once, and it is not leaving (6.7).
///
/// A task whose checks have not passed yet is left out, so that a record never appears before its task can answer; one
/// whose checks fail later stays as an unhealthy instance, which is answered only when no other is healthy (6.2).
pub fn is_registered(task: &Task) -> bool {
    let up = matches!(task.status, TaskStatus::Activating | TaskStatus::Running) && task.is_wanted();
    up && task.registers && (task.was_healthy || !health::has_check(task))
}
