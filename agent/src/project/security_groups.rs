//! The router and the ruleset that follow from a stack's desired state. Pure.

use std::collections::BTreeMap;

use netmodes::ids::{EniId, GroupId};
use netmodes::security::group::{Peer, Rule, Ruleset, SecurityGroup};
use netmodes::vpc::eni::Eni;
use netmodes::vpc::router::{Router, host_link_name};
use netmodes::vpc::subnet::Subnet;

use crate::observe::{Observed, ObservedNetwork};
use crate::spec::ids::StackName;
use crate::spec::security_group as named;
use crate::store::state::{StackRecord, StackState};
use crate::store::task::TaskStatus;

/// The implied router of a stack's VPC.
pub fn router(record: &StackRecord) -> Router {
    let vpc = &record.spec.vpc;
    Router {
        cidrs: vec![vpc.cidr],
        subnets: subnets(record),
        internet: vpc.internet,
        host_link: vpc.host_access.then(|| host_link_name(&record.vpc_id)),
    }
}

/// The subnets of a stack, with their ids.
pub fn subnets(record: &StackRecord) -> Vec<Subnet> {
    let with_ids = record.spec.vpc.subnets.iter().filter_map(|subnet| {
        let id = record.subnets.get(&subnet.name)?.id.clone();
        Some(Subnet { id, availability_zone: subnet.availability_zone.clone(), cidr: subnet.cidr })
    });
    with_ids.collect()
}

/// What the filter of a stack's VPC should be: every group, and every ENI that is not on its way out.
///
/// `unlinked` says of an ENI whose task is being deprovisioned whether its link is gone: only then it leaves the filter,
/// so that its packets are judged as long as there can be any.
pub fn ruleset(stack: &StackState, unlinked: impl Fn(&EniId) -> bool) -> Ruleset {
    let record = &stack.record;
    let groups = record.spec.security_groups.iter().filter_map(|(name, group)| {
        let id = record.groups.get(name)?.clone();
        let security_group = SecurityGroup {
            id: id.clone(),
            name: name.as_str().to_owned(),
            ingress: {
                let retiring = record.retiring.get(name).into_iter().flat_map(|group| &group.ingress);
                let retiring: Vec<_> = retiring.filter(|rule| !group.ingress.contains(rule)).cloned().collect();
                rules(&[group.ingress.as_slice(), &retiring].concat(), record)
            },
            egress: rules(&group.egress, record),
        };
        Some((id, security_group))
    });
    let groups: BTreeMap<GroupId, SecurityGroup> = groups.collect();
    let tasks = stack.tasks.values().filter_map(|task| {
        let eni = task.eni()?;
        let in_force = match task.status {
            TaskStatus::Stopped => false,
            TaskStatus::Deprovisioning => !unlinked(&eni.id),
            _ => true,
        };
        in_force.then_some(eni)
    });
    let instances = stack.instances.values().map(|instance| (instance.leaving, &instance.network.eni));
    let instances = instances.filter(|(leaving, eni)| !leaving || !unlinked(&eni.id)).map(|(_, eni)| eni);
    let enis = tasks.chain(instances).map(|eni| {
        // A group that `up` took away counts no more; a task that still has it is being replaced.
        let known = eni.groups.iter().filter(|g| groups.contains_key(g)).cloned().collect();
        (eni.id.clone(), Eni { groups: known, ..eni.clone() })
    });
    Ruleset { router: router(record), enis: enis.collect(), groups, flow_log: false }
}

/// What the filter of a stack's VPC should be now: as the links are, and with a log while somebody follows it.
pub fn filter(name: &StackName, stack: &StackState, network: &ObservedNetwork, observed: &Observed) -> Ruleset {
    let ruleset = ruleset(stack, |eni| matches!(network.links.get(eni), Some(None)));
    Ruleset { flow_log: observed.flow_log_followers.contains_key(name), ..ruleset }
}

fn rules(rules: &[named::Rule], record: &StackRecord) -> Vec<Rule> {
    let with_ids = rules.iter().filter_map(|rule| {
        let peer = match &rule.peer {
            named::Peer::Cidr(block) => Peer::Cidr(*block),
            named::Peer::Group(name) => Peer::Group(record.groups.get(name)?.clone()),
        };
        Some(Rule { traffic: rule.traffic, peer })
    });
    with_ids.collect()
}
