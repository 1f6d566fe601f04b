//! The steps that are possible now: what has to be done in Docker and the kernel for the decided state, and can be.
//!
//! Reads the state and what is observed; decides nothing about tasks or services. A container that carries our mark and
//! that nobody wants is removed like any other.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Setting;
use super::containers::{self, Readiness, readiness};
use super::network::is_linked;
use super::step::{FrontPlace, Step};
use crate::observe::{HolderId, Observed, ObservedNetwork};
use crate::project::dns;
use crate::project::fronts::{self, Scene};
use crate::project::metadata::Front;
use crate::project::security_groups::{filter, router};
use crate::runtime::labels::Role;
use crate::runtime::{ContainerSpec, ContainerState, ObservedContainer, labels};
use crate::spec::ids::{NetworkMode, StackName, TaskId};
use crate::spec::task_definition::ContainerDefinition;
use crate::store::state::{StackState, State};
use crate::store::task::{Task, TaskStatus};

/// What SIGTERM leaves before SIGKILL when the task definition says nothing (2.7).
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a user's command may lie between its creation and its start.
const TIME_TO_START: SignedDuration = SignedDuration::from_secs(60);

/// Lists them.
pub fn possible(state: &State, observed: &Observed, setting: &Setting, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    if state.stacks().is_empty() {
        // Without a stack nothing needs the image.
    } else if let Some(image) = &observed.own_image {
        for (name, stack) in state.stacks() {
            Stack { name, stack, observed, setting, image, now }.steps(&mut steps, &mut wanted);
        }
    } else {
        steps.push(Step::ImportImage);
        return steps;
    }
    let strays = observed.containers.iter().filter(|(name, c)| !wanted.contains(*name) && !is_user_s(state, c, now));
    steps.extend(strays.map(|(name, _)| Step::RemoveContainer { name: name.clone() }));
    steps
}

/// Whether a container is a user's command in the network of a task that is not being stopped. Docker removes it when the
/// command ends, unless it was down then; and who made it may have ended before it was started.
fn is_user_s(state: &State, container: &ObservedContainer, now: Timestamp) -> bool {
    let is_over = match container.state {
        ContainerState::Exited { .. } | ContainerState::Dead { .. } => true,
        ContainerState::Created => container.created_at.is_some_and(|at| now.duration_since(at) > TIME_TO_START),
        _ => false,
    };
    let label = |name| container.labels.get(name).map(String::as_str).unwrap_or_default();
    let stack = state.stack(&StackName::new(label(labels::STACK)));
    let task = stack.and_then(|stack| stack.tasks.get(&TaskId::new(label(labels::TASK))));
    !is_over
        && label(labels::ROLE) == Role::Helper.as_str()
        && task.is_some_and(|task| task.status < TaskStatus::Stopping)
}

pub(super) struct Stack<'a> {
    pub(super) name: &'a StackName,
    pub(super) stack: &'a StackState,
    pub(super) observed: &'a Observed,
    pub(super) setting: &'a Setting,
    pub(super) image: &'a str,
    now: Timestamp,
}

impl Stack<'_> {
    fn steps(&self, steps: &mut Vec<Step>, wanted: &mut BTreeSet<String>) {
        let over = self.stack.record.leaving
            && self.stack.services.is_empty()
            && self.stack.instances.is_empty()
            && self.stack.tasks.values().all(|t| t.status == TaskStatus::Stopped);
        let vpc = self.setting.vpc_name(self.name);
        let resolver = self.setting.resolver_name(self.name);
        if over {
            // The resolver first: a namespace outlives its holder while anything is joined to it.
            if self.observed.containers.contains_key(&resolver) {
                wanted.insert(vpc);
            } else if !self.observed.containers.contains_key(&vpc) {
                steps.push(Step::RemoveFiles { stack: self.name.clone() });
            }
            return;
        }
        wanted.insert(vpc.clone());
        wanted.insert(resolver);
        let network = self.network(steps, &vpc);
        for instance in self.stack.instances.values() {
            self.instance(instance, network, &vpc, steps, wanted);
        }
        for task in self.stack.tasks.values().filter(|t| t.status != TaskStatus::Stopped) {
            self.task(task, network, &vpc, steps, wanted);
        }
        if let Some(network) = network {
            self.strays(network, &vpc, steps);
        }
    }

    /// The VPC itself; what is known of its network once its filter is closed. While its router cannot be built nothing is
    /// added to it, and what there is can still go.
    fn network(&self, steps: &mut Vec<Step>, vpc: &str) -> Option<&ObservedNetwork> {
        // A newer binary makes a newer image; what runs from the older one goes on.
        let running = containers::vpc(self.name, &self.stack.record, self.image_of(vpc), self.setting);
        let spec = containers::vpc(self.name, &self.stack.record, self.image, self.setting);
        let resolver = self.setting.resolver_name(self.name);
        let (holder, _) = match self.observed.running(vpc) {
            Some(holder) if self.is_as_wanted(&running) => holder,
            _ => {
                // Everything that joined the old namespace has to leave it before it can go.
                let left = [&resolver, vpc].into_iter().find(|name| self.observed.containers.contains_key(*name));
                let created = self.observed.containers.get(vpc).is_some_and(|c| c.state == ContainerState::Created);
                steps.push(match left {
                    Some(name) if !(created && name == vpc) => Step::RemoveContainer { name: name.to_owned() },
                    _ => Step::HoldVpc { stack: self.name.clone(), spec: Box::new(spec) },
                });
                return None;
            }
        };
        let network = self.observed.network(self.name, vpc)?;
        let stack = self.name.clone();
        let wanted = filter(self.name, self.stack, network, self.observed);
        if network.filter.as_ref() != Some(&wanted) {
            steps.push(Step::ApplyFilter { stack: stack.clone(), vpc: vpc.to_owned(), ruleset: Box::new(wanted) });
        }
        network.filter.as_ref()?;
        let wanted = router(&self.stack.record);
        if network.router.as_ref() != Some(&wanted) {
            steps.push(Step::BuildRouter { stack, vpc: vpc.to_owned(), router: wanted });
        }
        if network.router.is_some() {
            self.resolver(network, &holder, steps);
        }
        Some(network)
    }

    fn resolver(&self, network: &ObservedNetwork, holder: &HolderId, steps: &mut Vec<Step>) {
        let (stack, resolver) = (self.name.clone(), self.setting.resolver_name(self.name));
        let spec = containers::resolver(self.name, &holder.container, self.image, self.setting);
        let running = containers::resolver(self.name, &holder.container, self.image_of(&resolver), self.setting);
        match self.observed.containers.get(&resolver).map(|c| &c.state) {
            Some(ContainerState::Running { .. }) if self.is_as_wanted(&running) => {
                let wanted = dns::zone(self.name, self.stack, self.observed, self.setting);
                let resolver_run = self.observed.running(&resolver).map(|(run, _)| run);
                let served = network.zone.as_ref().filter(|(by, _)| Some(by) == resolver_run.as_ref());
                if served.map(|(_, zone)| zone) != Some(&wanted) {
                    let (stack, resolver) = (stack.clone(), resolver.clone());
                    steps.push(Step::PublishZone { stack, resolver, zone: Box::new(wanted) });
                }
                let wanted = fronts::of_vpc(self.scene());
                let answered = network.front.as_ref().filter(|(by, _)| Some(by) == resolver_run.as_ref());
                if answered.map(|(_, front)| front) != Some(&wanted) {
                    let front = Box::new(wanted);
                    steps.push(Step::PublishFront { stack, place: FrontPlace::Vpc, server: resolver, front });
                }
            }
            None | Some(ContainerState::Created) => steps.push(Step::StartResolver { stack, spec: Box::new(spec) }),
            Some(_) => steps.push(Step::RemoveContainer { name: resolver }),
        }
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene { name: self.name, stack: self.stack, observed: self.observed, setting: self.setting }
    }

    /// Whether the front knows a task, so that what starts now is answered when it asks.
    fn is_answered(&self, task: &Task) -> bool {
        let (server, front) = match (task.mode(), &task.instance) {
            (NetworkMode::None, _) => return true,
            (NetworkMode::Bridge | NetworkMode::Host, Some(id)) => {
                (self.setting.front_name(self.name, id), self.observed.instances.get(id).and_then(|i| i.front.as_ref()))
            }
            _ => {
                let network = self.observed.networks.get(self.name);
                (self.setting.resolver_name(self.name), network.and_then(|n| n.front.as_ref()))
            }
        };
        let run = self.observed.running(&server).map(|(run, _)| run);
        let known = |front: &Front| task.endpoints.values().all(|id| front.knows(id));
        front.is_some_and(|(by, front)| Some(by) == run.as_ref() && known(front))
    }

    /// The image that a container of ours was made from; the newest one while there is no such container.
    pub(super) fn image_of(&self, name: &str) -> &str {
        self.observed.containers.get(name).map_or(self.image, |container| &container.image)
    }

    pub(super) fn is_as_wanted(&self, spec: &ContainerSpec) -> bool {
        let seen = self.observed.containers.get(&spec.name).and_then(|c| c.labels.get(labels::SPEC));
        seen == Some(&spec.hash())
    }

    fn task(
        &self,
        task: &Task,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        steps: &mut Vec<Step>,
        wanted: &mut BTreeSet<String>,
    ) {
        if task.status == TaskStatus::Deprovisioning {
            self.deprovision(task, network, vpc, steps, wanted);
            return;
        }
        for definition in &task.definition.container_definitions {
            wanted.insert(self.setting.app_name(self.name, &task.id, &definition.name));
        }
        self.provision(task, network, vpc, steps, wanted);
        if task.is_wanted() && matches!(task.status, TaskStatus::Pending | TaskStatus::Activating | TaskStatus::Running)
        {
            self.restart_containers(task, steps);
        }
        match task.status {
            TaskStatus::Pending => self.start_containers(task, steps),
            TaskStatus::Stopping => self.stop_containers(task, steps),
            _ => {}
        }
    }

    /// Whether what starts now has its network: it may be lost again, with the holder of the VPC or of an instance.
    fn is_linked(&self, task: &Task) -> bool {
        is_linked(self.observed, self.setting, self.name, &self.stack.instances, task)
    }

    fn start_container(&self, task: &Task, definition: &ContainerDefinition) -> Step {
        let record = &self.stack.record;
        let name = self.setting.app_name(self.name, &task.id, &definition.name);
        // A stub that is there was made of the image that was ours then.
        let image = if definition.stub { self.image_of(&name) } else { self.image };
        let spec = containers::app(self.name, record, task, definition, image, self.setting);
        Step::StartContainer {
            stack: self.name.clone(),
            task: task.id.clone(),
            container: definition.name.clone(),
            spec: Box::new(spec),
        }
    }

    /// Those whose restart policy was found to hold: the same container again, in place (2.9).
    fn restart_containers(&self, task: &Task, steps: &mut Vec<Step>) {
        if !self.is_linked(task) {
            return;
        }
        for definition in &task.definition.container_definitions {
            let record = task.container(&definition.name);
            let name = self.setting.app_name(self.name, &task.id, &definition.name);
            let Some(container) = self.observed.containers.get(&name) else { continue };
            let is_over = matches!(container.state, ContainerState::Exited { .. });
            if is_over && !record.stopped && record.restart_of.is_some() && record.restart_of == container.started_at {
                steps.push(self.start_container(task, definition));
            }
        }
    }

    fn start_containers(&self, task: &Task, steps: &mut Vec<Step>) {
        let linked = self.is_linked(task) && self.is_answered(task);
        for definition in &task.definition.container_definitions {
            let record = task.container(&definition.name);
            if record.started || record.stopped {
                continue;
            }
            if !definition.stub && !self.observed.images.contains(&definition.image) {
                steps.push(Step::PullImage {
                    stack: self.name.clone(),
                    task: task.id.clone(),
                    container: definition.name.clone(),
                    image: definition.image.clone(),
                });
            } else if linked && readiness(task, definition, self.now) == Readiness::Ready {
                steps.push(self.start_container(task, definition));
            }
        }
    }

    /// In the reverse of the order in which they started: one stops when none that depends on it runs (2.4).
    fn stop_containers(&self, task: &Task, steps: &mut Vec<Step>) {
        let runs = |definition: &ContainerDefinition| {
            let name = self.setting.app_name(self.name, &task.id, &definition.name);
            self.observed.running(&name).is_some()
        };
        for definition in task.definition.container_definitions.iter().filter(|d| runs(d)) {
            let needed = task
                .definition
                .container_definitions
                .iter()
                .any(|other| other.depends_on.iter().any(|d| d.container_name == definition.name) && runs(other));
            if !needed {
                steps.push(Step::StopContainer {
                    name: self.setting.app_name(self.name, &task.id, &definition.name),
                    grace: definition.stop_timeout.map_or(STOP_TIMEOUT, |s| Duration::from_secs(s.into())),
                });
            }
        }
    }
}
