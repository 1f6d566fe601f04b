//! What to do next: pure functions over desired and observed state, without I/O, clock or chance.
//!
//! [`plan`] first decides (a task's next status, how many tasks a service needs, what stops), which changes the desired
//! state and is written before anything else, and then lists the steps that are possible now. What a step has to wait for
//! is a fact in [`Observed`], never an order of the list. The loop is in [`crate::reconcile`].

pub mod check;
pub mod containers;
pub mod health;
pub mod ids;
mod instance_steps;
pub mod instances;
pub mod launch;
pub mod mounts;
pub mod network;
mod network_steps;
pub mod placement;
pub mod restart;
pub mod services;
pub mod step;
pub mod steps;
pub mod tasks;
pub mod up;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::observe::Observed;
use crate::plan::ids::Ids;
use crate::plan::step::{FrontPlace, Step};
use crate::runtime::cgroup::{Cgroups, TaskCgroup};
use crate::runtime::names::{ContainerName, Part, TaskDigits};
use crate::spec::ids::{ContainerName as Container, InstanceId, StackName, TaskId};
use crate::spec::task_definition::{IpcMode, PidMode};
use crate::store::state::State;
use crate::store::task::{Task, TaskNetwork};

/// Rounds of deciding at one moment; what is left after them is decided a moment later.
const MOST_ROUNDS: u32 = 16;

/// Fargate's own `nofile` limit (reference 2.2).
pub const FARGATE_OPEN_FILES: i64 = 65_535;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The mark on everything that is ours in Docker.
    pub owner: String,
    /// Where resolvers find their directory, on the machine that Docker runs on.
    pub data_dir: PathBuf,
    /// A task without any health source counts as healthy this long after RUNNING: 40 s in ECS (3.2).
    pub healthy_after: Duration,
    /// Where resolvers ask for other names when `internet` is true.
    pub upstream: Vec<SocketAddr>,
    /// The most open files that a container can be given on this machine; absent where nothing bounds it.
    pub most_open_files: Option<i64>,
    /// How the parent cgroups of tasks are named; else why there are none.
    pub cgroups: Result<Cgroups, String>,
}

impl Setting {
    /// The name in Docker of the container that holds a VPC's namespace.
    pub fn vpc_name(&self, stack: &StackName) -> String {
        self.name(stack, Part::Vpc)
    }

    /// The name in Docker of a stack's resolver.
    pub fn resolver_name(&self, stack: &StackName) -> String {
        self.name(stack, Part::Resolver)
    }

    /// The name in Docker of the container that holds a task's namespace.
    pub fn pause_name(&self, stack: &StackName, task: &TaskId) -> String {
        match TaskDigits::new(task.as_str()) {
            Some(digits) => self.name(stack, Part::TaskPause(digits)),
            None => String::new(),
        }
    }

    /// The name in Docker of the container that holds the netns of one container of a task, in bridge mode.
    pub fn container_pause_name(&self, stack: &StackName, task: &TaskId, container: &Container) -> String {
        match TaskDigits::new(task.as_str()) {
            Some(digits) => self.name(stack, Part::ContainerPause(digits, container.as_str().to_owned())),
            None => String::new(),
        }
    }

    /// The name in Docker of the container that holds the netns of a container instance.
    pub fn instance_name(&self, stack: &StackName, instance: &InstanceId) -> String {
        self.name(stack, Part::Instance(instance.as_str().to_owned()))
    }

    /// The name in Docker of what answers at 169.254.170.2 in the netns of a container instance.
    pub fn front_name(&self, stack: &StackName, instance: &InstanceId) -> String {
        self.name(stack, Part::Front(instance.as_str().to_owned()))
    }

    /// The names in Docker of the holders of a task: of its netns in awsvpc, of that of each container in bridge mode; and
    /// where it has no holder of the whole, one for the processes or the memory that its containers share.
    pub fn holders_of(&self, stack: &StackName, task: &Task) -> Vec<String> {
        let attachments = match &task.network {
            TaskNetwork::Bridge { attachments, .. } => Some(attachments),
            _ => None,
        };
        let shares = task.definition.pid_mode == Some(PidMode::Task) || task.definition.ipc_mode == Some(IpcMode::Task);
        let whole = task.eni().is_some() || shares;
        let whole = whole.then(|| self.pause_name(stack, &task.id));
        let each = attachments.into_iter().flat_map(BTreeMap::keys);
        whole.into_iter().chain(each.map(|name| self.container_pause_name(stack, &task.id, name))).collect()
    }

    /// The name in Docker of the container in whose netns a task is looked at from inside: the first of its containers that
    /// has one, in the order of the definition.
    pub fn netns_of(&self, stack: &StackName, task: &Task) -> Option<String> {
        let mut names = task.definition.container_definitions.iter().map(|c| &c.name);
        names.find_map(|name| self.netns_of_container(stack, task, name))
    }

    /// The name in Docker of the container in whose netns a container of a task is; none for one without a network.
    pub fn netns_of_container(&self, stack: &StackName, task: &Task, container: &Container) -> Option<String> {
        match &task.network {
            TaskNetwork::Awsvpc(_) => Some(self.pause_name(stack, &task.id)),
            TaskNetwork::Bridge { attachments, .. } => {
                attachments.contains_key(container).then(|| self.container_pause_name(stack, &task.id, container))
            }
            TaskNetwork::Host { .. } => Some(self.instance_name(stack, task.instance.as_ref()?)),
            TaskNetwork::None => Some(self.app_name(stack, &task.id, container)),
        }
    }

    /// The name in Docker of a task's container.
    pub fn app_name(&self, stack: &StackName, task: &TaskId, container: &Container) -> String {
        match TaskDigits::new(task.as_str()) {
            Some(digits) => self.name(stack, Part::App(digits, container.as_str().to_owned())),
            None => String::new(),
        }
    }

    /// The name in Docker of a volume that goes with its task.
    pub fn volume_name(&self, stack: &StackName, task: &TaskId, volume: &str) -> String {
        // Docker tells volumes and containers apart, so the form of an app container's name serves.
        match TaskDigits::new(task.as_str()) {
            Some(digits) => self.name(stack, Part::App(digits, volume.to_owned())),
            None => String::new(),
        }
    }

    /// The `nofile` limit of a container on Fargate that says nothing of it (reference 2.2).
    pub fn fargate_open_files(&self) -> i64 {
        self.most_open_files.map_or(FARGATE_OPEN_FILES, |most| most.min(FARGATE_OPEN_FILES))
    }

    /// The parent cgroup of a task that has a size; none where this machine cannot have one.
    pub fn cgroup_of(&self, task: &Task) -> Option<TaskCgroup> {
        let cgroups = self.cgroups.as_ref().ok()?;
        let size = TaskCgroup {
            parent: cgroups.parent_of_task(task.id.as_str()),
            cpu_units: task.definition.cpu,
            memory_mib: task.definition.memory,
        };
        (size.cpu_units.is_some() || size.memory_mib.is_some()).then_some(size)
    }

    /// The resolver's directory, on the host.
    pub fn resolver_dir(&self, stack: &StackName) -> PathBuf {
        self.data_dir.join("stacks").join(stack.as_str()).join("resolver")
    }

    /// A front's directory, on the host: beside the resolver's documents for a VPC, whose resolver is its front too.
    pub fn front_dir(&self, stack: &StackName, place: &FrontPlace) -> PathBuf {
        match place {
            FrontPlace::Vpc => self.resolver_dir(stack).join("front"),
            FrontPlace::Instance(id) => {
                self.data_dir.join("stacks").join(stack.as_str()).join("fronts").join(id.as_str())
            }
        }
    }

    /// Where the last lines of containers that are gone are kept, on the host.
    pub fn logs_dir(&self, stack: &StackName) -> PathBuf {
        self.data_dir.join("stacks").join(stack.as_str()).join("logs")
    }

    fn name(&self, stack: &StackName, part: Part) -> String {
        ContainerName::new(&self.owner, stack.as_str(), part).to_string()
    }
}

/// What follows from a look at everything.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// What is possible now, in no order that matters.
    pub steps: Vec<Step>,
    /// When something changes by the passing of time alone.
    pub wake_at: Option<Timestamp>,
}

/// Decides, which changes `state`, and says what can be done now.
pub fn plan(state: &mut State, observed: &Observed, setting: &Setting, now: Timestamp, ids: &mut Ids) -> Plan {
    let stacks: Vec<StackName> = state.stacks().keys().cloned().collect();
    let mut wake = Wake { now, at: None };
    for stack in &stacks {
        // What is decided about a service moves its tasks, and the other way round; no event would ask again.
        for round in 1.. {
            let before = state.edits();
            instances::advance(state, stack, observed, setting, now, ids, &mut wake);
            tasks::advance(state, stack, observed, setting, now, ids, &mut wake);
            services::schedule(state, stack, observed, setting, now, ids, &mut wake);
            if state.edits() == before {
                break;
            }
            if round == MOST_ROUNDS {
                wake.at(now + Duration::from_millis(1));
                break;
            }
        }
    }
    Plan { steps: steps::possible(state, observed, setting, now), wake_at: wake.at }
}

/// Collects the earliest moment at which a decision changes without an event.
#[derive(Debug)]
pub struct Wake {
    now: Timestamp,
    at: Option<Timestamp>,
}

impl Wake {
    /// Asks for another look at `at`; a moment that has passed asks for nothing.
    pub fn at(&mut self, at: Timestamp) {
        if at > self.now {
            self.at = Some(self.at.map_or(at, |earliest| earliest.min(at)));
        }
    }
}
