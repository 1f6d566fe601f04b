//! The zone that follows from a stack's desired and observed state (reference 6.2, 6.3, 6.7). Pure.

use std::collections::BTreeMap;

use netmodes::vpc::eni::private_domain;

use super::security_groups::router;
use super::zone::{Answers, Instance, Origin, PACKETS_PER_SECOND, PrivateNames, Routing, Zone, reverse_zones};
use crate::observe::Observed;
use crate::plan::Setting;
use crate::plan::health::{self, HealthStatus};
use crate::spec::ids::StackName;
use crate::spec::service::RoutingPolicy;
use crate::store::state::{StackState, Task, TaskStatus};

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
        let answers = names.entry(at).or_insert_with(|| Answers {
            ttl: discovery.ttl,
            routing: match discovery.routing_policy {
                RoutingPolicy::Multivalue => Routing::Multivalue,
                RoutingPolicy::Weighted => Routing::Weighted,
            },
            instances: Vec::new(),
            ptr: Vec::new(),
        });
        answers.instances.push(Instance {
            id: task.id.as_str().to_owned(),
            healthy: health::of_task(task, name, observed, setting) != HealthStatus::Unhealthy,
            addresses: task.eni.addresses.iter().map(|a| a.address).collect(),
            srv: None,
        });
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

/// Whether a task is a Cloud Map instance: its deployment has a registry, its containers run, its checks have passed once, and it is not leaving (6.7).
///
/// A task whose checks have not passed yet is left out, so that a record never appears before its task can answer; one
/// whose checks fail later stays as an unhealthy instance, which is answered only when no other is healthy (6.2).
pub fn is_registered(task: &Task) -> bool {
    let up = matches!(task.status, TaskStatus::Activating | TaskStatus::Running) && task.is_wanted();
    up && task.registers && (task.was_healthy || !health::has_check(task))
}
