//! Desired state as values: what `up` asked for, and the tasks that were decided on.
//!
//! `plan` changes a [`State`] and the change is on disk ([`super::sqlite`]) before anything acts on it. A lease is not a
//! row of its own: a task's record holds its ENI, and the address is leased for as long as the task is not STOPPED.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;
use netmodes::vpc::eni::Eni;
use serde::{Deserialize, Serialize};

use crate::spec::ids::{
    ContainerName, DeploymentId, GroupId, GroupName, ServiceName, StackName, SubnetId, SubnetName, TaskId, VpcId,
};
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

/// `lastStatus` of a task, in order (2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    /// Its network is being made.
    Provisioning,
    /// Images and containers.
    Pending,
    /// Containers run, the registry does not know it yet.
    Activating,
    /// In service.
    Running,
    /// Leaving the registry.
    Deactivating,
    /// Containers are being told to stop.
    Stopping,
    /// Its network is being removed.
    Deprovisioning,
    /// Over; nothing of it is left but this record.
    Stopped,
}

impl TaskStatus {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A task, from the decision to start it until an hour after its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// 32 hex digits.
    pub id: TaskId,
    /// Its service.
    pub service: ServiceName,
    /// The deployment that it belongs to.
    pub deployment: DeploymentId,
    /// Of its task definition.
    pub revision: u32,
    /// What it is made from.
    pub definition: TaskDefinition,
    /// Its subnet's name.
    pub subnet: SubnetName,
    /// Its subnet's zone.
    pub availability_zone: String,
    /// Its network interface; the lease of its address.
    pub eni: Eni,
    /// UUID of the ENI's attachment (1.6).
    pub attachment: String,
    /// Names of the groups on its ENI.
    pub groups: Vec<GroupName>,
    /// Whether its service has a registry that it is entered in.
    pub registers: bool,
    /// Where it is.
    pub status: TaskStatus,
    /// Why and when it was told to stop; while absent, `desiredStatus` is RUNNING.
    pub stop: Option<Stop>,
    /// What is known of its containers beyond what Docker tells.
    pub containers: BTreeMap<ContainerName, ContainerRecord>,
    /// Whether it was ever RUNNING.
    pub ran: bool,
    /// Whether its essential checks have ever all passed.
    pub was_healthy: bool,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// When all its containers had started.
    pub started_at: Option<Timestamp>,
    /// When nothing of it was left.
    pub stopped_at: Option<Timestamp>,
    /// Grows with each change.
    pub version: u64,
}

/// The decision to stop a task (2.10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// `stopCode`.
    pub code: StopCode,
    /// `stoppedReason`.
    pub reason: String,
    /// `stoppingAt`.
    pub at: Timestamp,
}

/// `stopCode` (2.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCode {
    /// It was never RUNNING.
    TaskFailedToStart,
    /// An essential container ended (2.9).
    EssentialContainerExited,
    /// StopTask.
    UserInitiated,
    /// Scale in, deployment, failed health checks.
    ServiceSchedulerInitiated,
}

impl StopCode {
    /// As ECS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::ServiceSchedulerInitiated => "ServiceSchedulerInitiated",
        }
    }

    /// Whether the task ended by itself, asked by nobody.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::TaskFailedToStart | Self::EssentialContainerExited)
    }
}

/// What is known of a container beyond what Docker tells now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Whether its process was ever seen running.
    pub started: bool,
    /// When its process was first seen running.
    pub started_at: Option<Timestamp>,
    /// Whether its health check ever passed.
    pub was_healthy: bool,
    /// Whether it is over.
    pub stopped: bool,
    /// Absent when it never ran (2.9).
    pub exit_code: Option<i64>,
    /// `CannotPullContainerError: …` and its kin (2.10).
    pub reason: Option<String>,
    /// How often its restart policy has started it again (2.9).
    #[serde(default)]
    pub restarts: u32,
    /// When, by Docker, the run began that is to be followed by another one; that one begins later.
    #[serde(default)]
    pub restart_of: Option<Timestamp>,
}

impl Task {
    /// Whether it should go on.
    pub fn is_wanted(&self) -> bool {
        self.stop.is_none()
    }

    /// Whether it holds its address.
    pub fn holds_lease(&self) -> bool {
        self.status != TaskStatus::Stopped
    }

    /// The record of a container.
    pub fn container(&self, name: &ContainerName) -> ContainerRecord {
        self.containers.get(name).cloned().unwrap_or_default()
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
                let stack = StackState { record, services: BTreeMap::new(), tasks: BTreeMap::new() };
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
