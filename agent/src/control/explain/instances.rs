//! The container instances of a stack as packets meet them, with who is behind each address of a bridge. Pure, over the lens.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use netmodes::ids::EniId;
use netmodes::reach::instance::{Inside, Instances};

use crate::control::view::Lens;
use crate::project::{fronts, ports};
use crate::spec::ids::{ContainerName, ServiceName, StackName, TaskId};
use crate::store::instance::Instance;
use crate::store::state::StackState;
use crate::store::task::Task;

/// A container instance.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// `i-…`, as EC2 calls it.
    pub(super) called: String,
    /// The container that holds its netns.
    pub(super) holder: String,
    /// Whether its ENI was seen to be linked to that netns.
    pub(super) linked: bool,
    /// By address on its bridge.
    pub(super) residents: BTreeMap<Ipv4Addr, Resident>,
}

/// A container on an instance's bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) service: ServiceName,
    pub(super) task: TaskId,
    pub(super) container: ContainerName,
    /// The container that holds its netns.
    pub(super) holder: String,
}

impl Resident {
    /// ``container `app` of users (1a2b3c4d)``
    pub(super) fn called(&self) -> String {
        format!("container `{}` of {} ({})", self.container, self.service, self.task.short())
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Sites {
    pub(super) by_eni: BTreeMap<EniId, Site>,
    /// The same, as the analysis of packets takes them.
    pub(super) inside: Instances,
}

impl Sites {
    /// Those of a stack.
    pub(super) fn of(lens: &Lens<'_>, name: &StackName, stack: &StackState) -> Self {
        let mut sites = Self::default();
        for instance in stack.instances.values() {
            let (site, inside) = site(lens, name, stack, instance);
            sites.by_eni.insert(instance.network.eni.id.clone(), site);
            sites.inside.insert(instance.network.eni.id.clone(), inside);
        }
        sites
    }
}

fn site(lens: &Lens<'_>, name: &StackName, stack: &StackState, instance: &Instance) -> (Site, Inside) {
    let holder = lens.setting.instance_name(name, &instance.id);
    let eni = &instance.network.eni;
    let network = lens.observed.network(name, &lens.setting.vpc_name(name));
    let link = network.and_then(|n| n.links.get(&eni.id)).and_then(Option::as_ref);
    let running = lens.observed.running(&holder).map(|(id, _)| id);
    let residents: BTreeMap<Ipv4Addr, Resident> =
        stack.tasks_on(&instance.id).flat_map(|task| residents(lens, name, task)).collect();
    let in_force = lens.observed.instance(&instance.id, &holder).and_then(|seen| seen.ports.clone());
    let inside = Inside {
        addresses: eni.addresses.iter().map(|a| a.address).collect(),
        containers: residents.keys().copied().collect(),
        ports: in_force.unwrap_or_else(|| ports::of_instance(stack, &instance.id, lens.observed)),
        metadata_port: Some(fronts::INSTANCE_PORT),
    };
    let linked = running.is_some() && link == running.as_ref();
    let called = instance.ec2_instance_id.clone();
    (Site { called, holder, linked, residents }, inside)
}

fn residents<'a>(
    lens: &Lens<'a>,
    stack: &'a StackName,
    task: &'a Task,
) -> impl Iterator<Item = (Ipv4Addr, Resident)> + use<'a> {
    let setting = lens.setting;
    task.attachments().map(move |(container, attachment)| {
        let resident = Resident {
            service: task.service.clone(),
            task: task.id.clone(),
            container: container.clone(),
            holder: setting.container_pause_name(stack, &task.id, container),
        };
        (attachment.address, resident)
    })
}

/// The address on its bridge of the container in whose netns a task is looked at, in bridge mode.
pub(super) fn bridge_address(task: &Task) -> Option<Ipv4Addr> {
    let attachments: BTreeMap<_, _> = task.attachments().collect();
    let mut names = task.definition.container_definitions.iter().map(|c| &c.name);
    names.find_map(|name| attachments.get(name)).map(|attachment| attachment.address)
}

/// Whether each container of a task in bridge mode was seen to be on its bridge.
pub(super) fn is_attached(lens: &Lens<'_>, stack: &StackName, task: &Task) -> bool {
    let Some(id) = &task.instance else { return true };
    let seen = lens.observed.instance(id, &lens.setting.instance_name(stack, id));
    task.attachments().all(|(container, attachment)| {
        let holder = lens.observed.running(&lens.setting.container_pause_name(stack, &task.id, container));
        let link = seen.and_then(|seen| seen.attachments.get(&attachment.id)).and_then(Option::as_ref);
        holder.as_ref().map(|(id, _)| id) == link && link.is_some()
    })
}

/// Whether an address is one that a sender on this instance finds within it, other than a container's.
pub(super) fn is_own(inside: &Inside, address: IpAddr) -> bool {
    inside.addresses.contains(&address) || address == netmodes::bridge::BRIDGE_ADDRESS
}
