//! Desired state as values: what `up` asked for, and the tasks that were decided on.
//!
//! `plan` changes a [`State`] and the change is on disk ([`super::sqlite`]) before anything acts on it. A lease is not a
//! row of its own: a task's record holds its ENI, and the address is leased for as long as the task is not STOPPED.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;
use netmodes::vpc::eni::Eni;
use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::task::{Attached, Task, TaskStatus};
use crate::spec::ids::{
    DeploymentId, GroupId, GroupName, InstanceId, NetworkMode, ServiceName, StackName, SubnetId, SubnetName, TaskId,
    VpcId,
};
use crate::spec::security_group::SecurityGroup;
use crate::spec::service::Service;
use crate::spec::stack::Stack;
use crate::spec::task_definition::TaskDefinition;

/// Events that are kept of a service (3.8).
pub const EVENTS_KEPT: usize = 100;

/// Everything desired, with what changed since it was last written.
#[derive(Debug, Clone, Default)]
pub struct State {
    stacks: BTreeMap<StackName, StackState>,
    dirty: BTreeSet<Key>,
    edits: u64,
}

/// A row of the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A stack without its services and tasks.
    Stack(StackName),
    /// A service of it.
    Service(StackName, ServiceName),
    /// A task of it.
    Task(StackName, TaskId),
    /// A container instance of it.
    Instance(StackName, InstanceId),
}

/// A stack, with all that is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct StackState {
    /// Its own row.
    pub record: StackRecord,
    /// Its services.
    pub services: BTreeMap<ServiceName, ServiceState>,
    /// Its tasks, stopped ones for an hour.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Its container instances.
    pub instances: BTreeMap<InstanceId, Instance>,
}

/// A stack's own row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackRecord {
    /// What the last `up` said.
    pub spec: Stack,
    /// Whether `down` was asked for.
    pub leaving: bool,
    /// Its VPC.
    pub vpc_id: VpcId,
    /// Its subnets.
    pub subnets: BTreeMap<SubnetName, SubnetRecord>,
    /// Ids of its groups.
    pub groups: BTreeMap<GroupName, GroupId>,
    /// Rules that hold beside those of the spec while tasks of an earlier network mode still serve by them.
    #[serde(default)]
    pub retiring: BTreeMap<GroupName, SecurityGroup>,
    /// The newest revision of each family: content is compared with it, and a new one is registered when it differs.
    pub families: BTreeMap<String, (u32, TaskDefinition)>,
}

/// A subnet's identity and where its leases stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetRecord {
    /// `subnet-…`.
    pub id: SubnetId,
    /// The address that was leased last; the next one is after it, so that a freed one rests.
    pub last_leased: Option<IpAddr>,
}

/// A service and its deployments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceState {
    /// How many there should be: `up` sets it, `scale` changes it.
    pub desired_count: u32,
    /// Whether the service is on its way out (DRAINING, 3.10).
    pub leaving: bool,
    /// Newest first; the first is PRIMARY.
    pub deployments: Vec<Deployment>,
    /// Newest last.
    pub events: VecDeque<Event>,
    /// Whether the steady-state event was written since something last changed.
    pub steady: bool,
    /// Tasks in a row that ended without having been RUNNING (3.7).
    pub failed_starts: u32,
    /// When the next task may be started (3.7).
    pub next_start: Option<Timestamp>,
}

/// A deployment of a service (3.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// `ecs-svc/<19 digits>`.
    pub id: DeploymentId,
    /// What its tasks are made from.
    pub service: Service,
    /// Of its task definition.
    pub revision: u32,
    /// When `up` made it.
    pub created_at: Timestamp,
    /// How far it is.
    pub rollout: Rollout,
    /// Tasks of it that failed.
    pub failed_tasks: u32,
}

/// `rolloutState` (3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Rollout {
    /// Tasks are being replaced.
    InProgress,
    /// All tasks are of this deployment.
    Completed,
    /// Given up by the circuit breaker.
    Failed,
}

/// A service event (3.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// UUID.
    pub id: String,
    /// When.
    pub created_at: Timestamp,
    /// In ECS's words.
    pub message: String,
}

/// Who has an ENI.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EniOwner<'a> {
    /// A task in awsvpc.
    Task(&'a Task),
    /// A container instance.
    Instance(&'a Instance),
}

impl StackState {
    /// Every ENI that there is a record of, with its owner; those of stopped tasks too.
    pub fn attached(&self) -> impl Iterator<Item = (&Attached, EniOwner<'_>)> + Clone {
        let tasks = self.tasks.values().filter_map(|t| Some((t.attached()?, EniOwner::Task(t))));
        tasks.chain(self.instances.values().map(|i| (&i.network, EniOwner::Instance(i))))
    }

    /// Every ENI that is leased, with its owner.
    pub fn leased(&self) -> impl Iterator<Item = (&Attached, EniOwner<'_>)> + Clone {
        self.attached().filter(|(_, owner)| match owner {
            EniOwner::Task(task) => task.holds_lease(),
            EniOwner::Instance(_) => true,
        })
    }

    /// Every ENI that is leased.
    pub fn enis(&self) -> impl Iterator<Item = &Eni> {
        self.leased().map(|(attached, _)| &attached.eni)
    }

    /// The ENI by which a task is on the VPC: its own, or its container instance's in bridge and host mode.
    pub fn eni_of<'a>(&'a self, task: &'a Task) -> Option<&'a Eni> {
        match task.mode() {
            NetworkMode::Awsvpc => task.eni(),
            NetworkMode::None => None,
            NetworkMode::Bridge | NetworkMode::Host => Some(&self.instances.get(task.instance.as_ref()?)?.network.eni),
        }
    }

    /// The live tasks of a container instance.
    pub fn tasks_on<'a>(&'a self, id: &'a InstanceId) -> impl Iterator<Item = &'a Task> {
        self.tasks.values().filter(move |t| t.status != TaskStatus::Stopped && t.instance.as_ref() == Some(id))
    }
}

impl ServiceState {
    /// The deployment that tasks should be of.
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.first()
    }
}

impl State {
    /// A state as it was read; nothing of it is dirty.
    pub fn loaded(stacks: BTreeMap<StackName, StackState>) -> Self {
        Self { stacks, dirty: BTreeSet::new(), edits: 0 }
    }

    /// Grows with each change: whether a pass over the state changed anything.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    fn touch(&mut self, key: Key) {
        self.edits += 1;
        self.dirty.insert(key);
    }

    /// Every stack.
    pub fn stacks(&self) -> &BTreeMap<StackName, StackState> {
        &self.stacks
    }

    /// A stack.
    pub fn stack(&self, name: &StackName) -> Option<&StackState> {
        self.stacks.get(name)
    }

    /// Adds or replaces a stack's own row.
    pub fn put_stack(&mut self, name: &StackName, record: StackRecord) {
        self.touch(Key::Stack(name.clone()));
        match self.stacks.get_mut(name) {
            Some(stack) => stack.record = record,
            None => {
                let stack = StackState {
                    record,
                    services: BTreeMap::new(),
                    tasks: BTreeMap::new(),
                    instances: BTreeMap::new(),
                };
                self.stacks.insert(name.clone(), stack);
            }
        }
    }

    /// Removes a stack with all that is in it.
    pub fn remove_stack(&mut self, name: &StackName) {
        if let Some(stack) = self.stacks.remove(name) {
            self.touch(Key::Stack(name.clone()));
            self.dirty.extend(stack.services.into_keys().map(|s| Key::Service(name.clone(), s)));
            self.dirty.extend(stack.tasks.into_keys().map(|t| Key::Task(name.clone(), t)));
            self.dirty.extend(stack.instances.into_keys().map(|i| Key::Instance(name.clone(), i)));
        }
    }

    /// Adds or replaces a service.
    pub fn put_service(&mut self, stack: &StackName, name: &ServiceName, service: ServiceState) {
        if let Some(in_stack) = self.stacks.get_mut(stack) {
            in_stack.services.insert(name.clone(), service);
            self.touch(Key::Service(stack.clone(), name.clone()));
        }
    }

    /// Removes a service.
    pub fn remove_service(&mut self, stack: &StackName, name: &ServiceName) {
        if self.stacks.get_mut(stack).and_then(|s| s.services.remove(name)).is_some() {
            self.touch(Key::Service(stack.clone(), name.clone()));
        }
    }

    /// Changes a service in place.
    pub fn edit_service<T>(
        &mut self,
        stack: &StackName,
        name: &ServiceName,
        edit: impl FnOnce(&mut ServiceState) -> T,
    ) -> Option<T> {
        let service = self.stacks.get_mut(stack)?.services.get_mut(name)?;
        let result = edit(service);
        self.touch(Key::Service(stack.clone(), name.clone()));
        Some(result)
    }

    /// Adds or replaces a task.
    pub fn put_task(&mut self, stack: &StackName, task: Task) {
        if let Some(in_stack) = self.stacks.get_mut(stack) {
            let key = Key::Task(stack.clone(), task.id.clone());
            in_stack.tasks.insert(task.id.clone(), task);
            self.touch(key);
        }
    }

    /// Removes a task's record.
    pub fn remove_task(&mut self, stack: &StackName, task: &TaskId) {
        if self.stacks.get_mut(stack).and_then(|s| s.tasks.remove(task)).is_some() {
            self.touch(Key::Task(stack.clone(), task.clone()));
        }
    }

    /// Changes a task in place; its version grows when something differs.
    pub fn edit_task(&mut self, stack: &StackName, task: &TaskId, edit: impl FnOnce(&mut Task)) {
        self.edit_task_if(stack, task, |record| {
            let before = record.clone();
            edit(record);
            *record != before
        });
    }

    /// Changes a task in place by an edit that knows itself whether it changed anything, which costs no copy.
    pub fn edit_task_if(&mut self, stack: &StackName, task: &TaskId, edit: impl FnOnce(&mut Task) -> bool) {
        let Some(record) = self.stacks.get_mut(stack).and_then(|s| s.tasks.get_mut(task)) else { return };
        if edit(record) {
            record.version += 1;
            self.touch(Key::Task(stack.clone(), task.clone()));
        }
    }

    /// Adds or replaces a container instance.
    pub fn put_instance(&mut self, stack: &StackName, instance: Instance) {
        if let Some(in_stack) = self.stacks.get_mut(stack) {
            let key = Key::Instance(stack.clone(), instance.id.clone());
            in_stack.instances.insert(instance.id.clone(), instance);
            self.touch(key);
        }
    }

    /// Removes a container instance.
    pub fn remove_instance(&mut self, stack: &StackName, id: &InstanceId) {
        if self.stacks.get_mut(stack).and_then(|s| s.instances.remove(id)).is_some() {
            self.touch(Key::Instance(stack.clone(), id.clone()));
        }
    }

    /// Changes a container instance in place.
    pub fn edit_instance(&mut self, stack: &StackName, id: &InstanceId, edit: impl FnOnce(&mut Instance)) {
        let Some(record) = self.stacks.get_mut(stack).and_then(|s| s.instances.get_mut(id)) else { return };
        let before = record.clone();
        edit(record);
        if *record != before {
            self.touch(Key::Instance(stack.clone(), id.clone()));
        }
    }

    /// Notes which address of a subnet was leased last.
    pub fn lease(&mut self, stack: &StackName, subnet: &SubnetName, address: IpAddr) {
        let record = self.stacks.get_mut(stack).and_then(|s| s.record.subnets.get_mut(subnet));
        if let Some(record) = record {
            record.last_leased = Some(address);
            self.touch(Key::Stack(stack.clone()));
        }
    }

    /// What has to be written, and from now on counts as written.
    pub fn take_dirty(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.dirty)
    }

    /// Says again that rows have to be written, after writing them failed.
    pub fn mark_dirty(&mut self, keys: BTreeSet<Key>) {
        self.dirty.extend(keys);
    }

    /// Writes a service event; the oldest goes when there are more than [`EVENTS_KEPT`].
    pub fn event(&mut self, stack: &StackName, service: &ServiceName, id: String, at: Timestamp, message: String) {
        self.edit_service(stack, service, |state| {
            state.events.push_back(Event { id, created_at: at, message });
            while state.events.len() > EVENTS_KEPT {
                state.events.pop_front();
            }
        });
    }
}
