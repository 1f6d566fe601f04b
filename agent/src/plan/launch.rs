//! A new task of a deployment: where it goes and what it gets of the network (reference 1.1, 1.7, 3.5). Pure.
//!
//! [`super::services`] decides that there is to be one. Everything that is leased for it is in its record before anything is
//! made: an ENI's address, the host ports and bridge addresses of its container instance.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use netmodes::bridge::{self, Attachment, DYNAMIC_PORTS, Ports, PortsUnavailable};
use netmodes::ids::NetworkMode;
use netmodes::nft::Transport;
use netmodes::vpc::eni::{Eni, EniAddress, MacAddress};

use super::ids::Ids;
use super::placement::{self, Candidate, Wish};
use crate::observe::Observed;
use crate::project::security_groups::subnets;
use crate::spec::ids::{GroupName, InstanceId, StackName, SubnetName};
use crate::spec::service::Service;
use crate::spec::task_definition::{TaskDefinition, TransportProtocol};
use crate::store::instance::{Instance, InstanceStatus};
use crate::store::state::{Deployment, StackRecord, StackState, State};
use crate::store::task::{Attached, PortBinding, Task, TaskNetwork, TaskStatus, Times};

/// Why there is no task, as the service event says it after the service's name.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No subnet has an address left.
    NoAddress,
    /// No container instance meets what it asks for.
    NoInstance(placement::Refusal),
    /// An instance met everything, and no host port of it could be given after all.
    NoPort(PortsUnavailable),
}

impl Refusal {
    /// The event of a service in ECS's words (3.8).
    pub fn event(&self, service: &str) -> String {
        match self {
            Self::NoAddress => format!(
                "(service {service}) was unable to place a task. Reason: InsufficientFreeAddressesInSubnet: its subnets have no free address left."
            ),
            Self::NoInstance(refusal) => format!("(service {service}) {refusal}"),
            Self::NoPort(error) => format!("(service {service}) was unable to place a task. Reason: {error}."),
        }
    }
}

/// Whether a service's tasks are placed on container instances.
pub fn is_placed(service: &Service) -> bool {
    service.network_mode != NetworkMode::Awsvpc || service.on_instances
}

/// The tasks of one turn of one service: what was leased by the first is not leased by the second.
pub struct Launcher {
    leased: BTreeSet<IpAddr>,
    in_zone: BTreeMap<String, usize>,
    rooms: Vec<Room>,
}

/// What a container instance has left.
struct Room {
    id: InstanceId,
    /// As of the start of the turn; what never changes in it is read here.
    instance: Instance,
    cpu: u32,
    memory: u32,
    enis: Option<u32>,
    fixed_ports: BTreeSet<(TransportProtocol, u16)>,
    taken_ports: BTreeSet<(Transport, u16)>,
    addresses: BTreeSet<Ipv4Addr>,
    groups: BTreeMap<String, u32>,
    running: u32,
    last_port: Option<u16>,
    last_address: Option<Ipv4Addr>,
}

impl Launcher {
    /// What is taken now, in a stack. `zones` counts the service's tasks by zone.
    pub fn new(stack: &StackState, observed: &Observed, in_zone: BTreeMap<String, usize>) -> Self {
        let leased = stack.enis().flat_map(|eni| eni.addresses.iter().map(|a| a.address)).collect();
        let mut rooms: Vec<Room> = stack.instances.values().map(|instance| Room::empty(instance, observed)).collect();
        let index: BTreeMap<InstanceId, usize> =
            rooms.iter().enumerate().map(|(at, room)| (room.id.clone(), at)).collect();
        let live = stack.tasks.values().filter(|t| t.status != TaskStatus::Stopped);
        for task in live {
            if let Some(at) = task.instance.as_ref().and_then(|id| index.get(id)) {
                rooms[*at].take(task);
            }
        }
        Self { leased, in_zone, rooms }
    }

    /// The container instances, with what they have left.
    pub fn candidates(&self) -> Vec<Candidate<'_>> {
        self.rooms.iter().map(Room::candidate).collect()
    }

    /// A new task of `deployment`, entered into the state; on `only` when it has to be that instance (DAEMON).
    ///
    /// # Errors
    /// Why there is none, for the service's events.
    pub fn launch(
        &mut self,
        state: &mut State,
        stack: &StackName,
        deployment: &Deployment,
        only: Option<&InstanceId>,
        now: Timestamp,
        ids: &mut Ids,
    ) -> Result<Task, Refusal> {
        let service = &deployment.service;
        let definition = &service.task_definition;
        let Some(record) = state.stack(stack).map(|s| &s.record) else { return Err(Refusal::NoAddress) };
        let room = if is_placed(service) { Some(self.room(service, record, only, ids)?) } else { None };
        let zone = room.map(|at| self.rooms[at].instance.availability_zone.clone());
        let (network, availability_zone) = match (service.network_mode, room) {
            (NetworkMode::Awsvpc, _) => {
                let attached = self.attach(record, service, zone.as_deref(), ids)?;
                let zone = record.spec.vpc.subnets.iter().find(|s| s.name == attached.subnet);
                (TaskNetwork::Awsvpc(attached), zone.map(|s| s.availability_zone.clone()).unwrap_or_default())
            }
            (mode, Some(at)) => {
                let room = &mut self.rooms[at];
                (room.network(mode, definition, ids).map_err(Refusal::NoPort)?, zone.unwrap_or_default())
            }
            (_, None) => (TaskNetwork::None, String::new()),
        };
        let task = Task {
            id: ids.task(),
            service: service.service_name.clone(),
            deployment: deployment.id.clone(),
            revision: deployment.revision,
            definition: definition.clone(),
            availability_zone,
            launch_type: service.launch_type,
            instance: room.map(|at| self.rooms[at].id.clone()),
            network,
            endpoints: definition.container_definitions.iter().map(|c| (c.name.clone(), ids.secret())).collect(),
            credentials_id: ids.uuid(),
            protected_until: None,
            registers: service.discovery.is_some(),
            status: TaskStatus::Provisioning,
            stop: None,
            containers: BTreeMap::new(),
            ran: false,
            was_healthy: false,
            created_at: now,
            started_at: None,
            stopped_at: None,
            times: Times::default(),
            version: 1,
        };
        self.enter(state, stack, room, &task);
        Ok(task)
    }

    /// Writes the task down with where the leases stand now.
    fn enter(&mut self, state: &mut State, stack: &StackName, room: Option<usize>, task: &Task) {
        *self.in_zone.entry(task.availability_zone.clone()).or_default() += 1;
        if let Some(attached) = task.attached()
            && let Some(address) = attached.eni.primary_address()
        {
            self.leased.insert(address);
            state.lease(stack, &attached.subnet, address);
        }
        if let Some(room) = room.and_then(|at| self.rooms.get_mut(at)) {
            room.take(task);
            let (last_port, last_address) = (room.last_port, room.last_address);
            state.edit_instance(stack, &room.id, |instance| {
                instance.last_port = last_port;
                instance.last_bridge_address = last_address;
                instance.idle_since = None;
            });
        }
        state.put_task(stack, task.clone());
    }

    /// The instance that the task goes to.
    fn room(
        &self,
        service: &Service,
        record: &StackRecord,
        only: Option<&InstanceId>,
        ids: &mut Ids,
    ) -> Result<usize, Refusal> {
        let rooms: Vec<(usize, &Room)> =
            self.rooms.iter().enumerate().filter(|(_, room)| only.is_none_or(|id| *id == room.id)).collect();
        let candidates: Vec<Candidate<'_>> = rooms.iter().map(|(_, room)| room.candidate()).collect();
        let wish = wish(service, record);
        match placement::place(&wish, &candidates, &mut |count| ids.choice(count)) {
            Ok(index) => Ok(rooms[index].0),
            Err(refusal) => Err(Refusal::NoInstance(refusal)),
        }
    }

    /// An ENI in the zone that has the fewest of the service's tasks, or in the given one.
    fn attach(
        &self,
        record: &StackRecord,
        service: &Service,
        zone: Option<&str>,
        ids: &mut Ids,
    ) -> Result<Attached, Refusal> {
        let in_zone = |name: &str| self.in_zone.get(name).copied().unwrap_or(0);
        let named = record.spec.vpc.subnets.iter().filter(|s| service.subnets.contains(&s.name));
        let mut named: Vec<_> = named.filter(|s| zone.is_none_or(|zone| zone == s.availability_zone)).collect();
        named.sort_by_key(|s| in_zone(&s.availability_zone));
        let names = named.into_iter().map(|s| &s.name);
        lease(record, names, &service.security_groups, &self.leased, ids).ok_or(Refusal::NoAddress)
    }
}

/// An ENI with the next free address of the first subnet that has one.
pub fn lease<'a>(
    record: &StackRecord,
    candidates: impl Iterator<Item = &'a SubnetName>,
    groups: &[GroupName],
    leased: &BTreeSet<IpAddr>,
    ids: &mut Ids,
) -> Option<Attached> {
    let by_id = subnets(record);
    let mut candidates = candidates;
    let (name, subnet, address) = candidates.find_map(|name| {
        let subnet_record = record.subnets.get(name)?;
        let subnet = by_id.iter().find(|s| s.id == subnet_record.id)?;
        let address = subnet.next_address(leased, subnet_record.last_leased)?;
        Some((name, subnet, address))
    })?;
    let eni_id = ids.eni();
    let groups: Vec<_> = groups.iter().filter(|g| record.groups.contains_key(*g)).cloned().collect();
    let eni = Eni {
        mac: MacAddress::of_eni(&eni_id),
        id: eni_id,
        subnet: subnet.id.clone(),
        addresses: vec![EniAddress { address, prefix: subnet.cidr.prefix(), gateway: subnet.gateway() }],
        groups: groups.iter().filter_map(|g| record.groups.get(g).cloned()).collect(),
        source_check: true,
    };
    Some(Attached { eni, subnet: name.clone(), attachment: ids.uuid(), groups })
}

/// What a task of a service asks of a container instance.
pub fn wish(service: &Service, record: &StackRecord) -> Wish {
    let zones = (service.network_mode == NetworkMode::Awsvpc).then(|| {
        let own = record.spec.vpc.subnets.iter().filter(|s| service.subnets.contains(&s.name));
        own.map(|s| s.availability_zone.clone()).collect()
    });
    let group = format!("service:{}", service.service_name);
    placement::wish_of(group, &service.task_definition, service.network_mode, &service.placement, zones)
}

impl Room {
    fn empty(instance: &Instance, observed: &Observed) -> Self {
        let busy = observed.instances.get(&instance.id).map(|seen| seen.busy_ports.clone()).unwrap_or_default();
        Self {
            id: instance.id.clone(),
            cpu: instance.cpu,
            memory: instance.memory,
            enis: instance.eni_limit,
            taken_ports: busy.iter().map(|(protocol, port)| (Transport::from(*protocol), *port)).collect(),
            fixed_ports: busy,
            addresses: BTreeSet::new(),
            groups: BTreeMap::new(),
            running: 0,
            last_port: instance.last_port,
            last_address: instance.last_bridge_address,
            instance: instance.clone(),
        }
    }

    /// Counts what a task of it has.
    fn take(&mut self, task: &Task) {
        let (cpu, memory) = placement::resources_of(&task.definition);
        self.cpu = self.cpu.saturating_sub(cpu);
        self.memory = self.memory.saturating_sub(memory);
        if task.eni().is_some() {
            self.enis = self.enis.map(|left| left.saturating_sub(1));
        }
        for binding in task.bindings() {
            self.taken_ports.extend(binding.ports().map(|(protocol, port)| (protocol.into(), port)));
            if !binding.dynamic {
                self.fixed_ports.extend(binding.ports());
            }
        }
        if let TaskNetwork::Bridge { attachments, .. } = &task.network {
            self.addresses.extend(attachments.values().map(|a| a.address));
        }
        *self.groups.entry(format!("service:{}", task.service)).or_default() += 1;
        self.running += 1;
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: self.id.as_str(),
            ec2_instance_id: &self.instance.ec2_instance_id,
            availability_zone: &self.instance.availability_zone,
            attributes: &self.instance.attributes,
            cpu: self.instance.cpu,
            memory: self.instance.memory,
            remaining_cpu: self.cpu,
            remaining_memory: self.memory,
            remaining_enis: self.enis,
            fixed_ports: &self.fixed_ports,
            tasks: &self.groups,
            running_tasks: self.running,
            // One that has not come up yet is newer than any date that a constraint names.
            registered_at: self.instance.registered_at.unwrap_or(Timestamp::MAX),
            active: self.instance.status == InstanceStatus::Active && !self.instance.leaving,
            agent_connected: self.instance.takes_tasks(),
        }
    }

    /// What a task in `mode` gets here: addresses on the bridge, host ports.
    fn network(
        &mut self,
        mode: NetworkMode,
        definition: &TaskDefinition,
        ids: &mut Ids,
    ) -> Result<TaskNetwork, PortsUnavailable> {
        match mode {
            NetworkMode::Bridge => {
                let mut attachments = BTreeMap::new();
                for container in definition.container_definitions.iter().filter(|c| !c.disable_networking) {
                    let address = bridge::next_bridge_address(&self.addresses, self.last_address);
                    // 65,533 addresses: an instance's memory is gone long before.
                    let Some(address) = address else { continue };
                    self.addresses.insert(address);
                    self.last_address = Some(address);
                    attachments.insert(container.name.clone(), Attachment::new(ids.attachment(), address));
                }
                Ok(TaskNetwork::Bridge { attachments, bindings: self.bind(definition)? })
            }
            NetworkMode::Host => {
                let mappings = definition.container_definitions.iter().flat_map(|container| {
                    container.port_mappings.iter().map(|mapping| PortBinding {
                        container: container.name.clone(),
                        protocol: mapping.protocol,
                        container_port: mapping.container_port,
                        host_port: mapping.container_port,
                        count: mapping.count(),
                        dynamic: false,
                    })
                });
                Ok(TaskNetwork::Host { bindings: mappings.collect() })
            }
            NetworkMode::Awsvpc | NetworkMode::None => Ok(TaskNetwork::None),
        }
    }

    /// Chooses host ports for what asks for none, one after the other as the ECS agent does (1.7).
    fn bind(&mut self, definition: &TaskDefinition) -> Result<Vec<PortBinding>, PortsUnavailable> {
        let mappings: Vec<_> = definition
            .container_definitions
            .iter()
            .filter(|c| !c.disable_networking)
            .flat_map(|c| c.port_mappings.iter().map(move |m| (c, m)))
            .collect();
        // Fixed ones count first: a dynamic one never gets what a later mapping of the same task names.
        let mut taken = self.taken_ports.clone();
        taken.extend(mappings.iter().filter_map(|(_, m)| m.host_port.map(|port| (m.protocol.into(), port))));
        let mut ports = Ports::new(DYNAMIC_PORTS, self.last_port, &taken);
        let mut bindings = Vec::new();
        for (container, mapping) in mappings {
            let protocol = mapping.protocol.into();
            let host_port = match (mapping.host_port, mapping.last_container_port) {
                (Some(port), _) => port,
                (None, Some(_)) => ports.next_contiguous(protocol, mapping.count())?,
                (None, None) => ports.next(protocol)?,
            };
            bindings.push(PortBinding {
                container: container.name.clone(),
                protocol: mapping.protocol,
                container_port: mapping.container_port,
                host_port,
                count: mapping.count(),
                dynamic: mapping.host_port.is_none(),
            });
        }
        self.last_port = ports.last();
        Ok(bindings)
    }
}

/// Chooses host ports anew for tasks that are being made, where one that was chosen turned out to be another process's (1.7).
pub fn choose_again(state: &mut State, stack: &StackName, observed: &Observed) {
    let Some(in_stack) = state.stack(stack) else { return };
    let mut changes = Vec::new();
    for instance in in_stack.instances.values() {
        let Some(busy) = observed.instances.get(&instance.id).map(|seen| &seen.busy_ports) else { continue };
        let is_busy = |binding: &PortBinding| binding.dynamic && binding.ports().any(|port| busy.contains(&port));
        let begins = |task: &&Task| task.status == TaskStatus::Provisioning && task.bindings().iter().any(is_busy);
        if busy.is_empty() || in_stack.tasks_on(&instance.id).find(begins).is_none() {
            continue;
        }
        let bound = in_stack.tasks_on(&instance.id).flat_map(|task| task.bindings()).flat_map(PortBinding::ports);
        let taken: BTreeSet<(Transport, u16)> =
            bound.chain(busy.iter().copied()).map(|(protocol, port)| (protocol.into(), port)).collect();
        let mut ports = Ports::new(DYNAMIC_PORTS, instance.last_port, &taken);
        for task in in_stack.tasks_on(&instance.id).filter(begins) {
            let mut bindings = task.bindings().to_vec();
            for binding in bindings.iter_mut().filter(|binding| is_busy(binding)) {
                // Where none is left the task stops, in the agent's words.
                if let Ok(port) = ports.next_contiguous(binding.protocol.into(), binding.count) {
                    binding.host_port = port;
                }
            }
            changes.push((instance.id.clone(), task.id.clone(), bindings, ports.last()));
        }
    }
    for (instance, task, chosen, last_port) in changes {
        state.edit_instance(stack, &instance, |instance| instance.last_port = last_port);
        state.edit_task(stack, &task, |task| {
            if let TaskNetwork::Bridge { bindings, .. } = &mut task.network {
                *bindings = chosen;
            }
        });
    }
}

/// The instances that each have a task of a DAEMON service.
pub fn daemon_targets(stack: &StackState, observed: &Observed, service: &Service) -> Vec<InstanceId> {
    let launcher = Launcher::new(stack, observed, BTreeMap::new());
    let rooms = launcher.candidates();
    let wish = wish(service, &stack.record);
    let eligible = launcher.rooms.iter().zip(&rooms).filter(|(_, room)| placement::is_eligible(&wish, room));
    eligible.map(|(room, _)| room.id.clone()).collect()
}
