//! The steps that are possible now: what has to be done in Docker and the kernel for the decided state, and can be.
//!
//! Reads the state and what is observed; decides nothing about tasks or services. A container that carries our mark and
//! that nobody wants is removed like any other.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::containers::{self, Readiness, readiness};
use super::step::Step;
use super::tasks::{is_cleared, is_off_the_network};
use super::{Setting, mounts};
use crate::observe::{HolderId, Observed, ObservedNetwork};
use crate::project::dns;
use crate::project::security_groups::{filter, router};
use crate::runtime::labels::Role;
use crate::runtime::{ContainerSpec, ContainerState, ObservedContainer, labels};
use crate::spec::ids::{StackName, TaskId};
use crate::spec::service::LaunchType;
use crate::spec::task_definition::ContainerDefinition;
use crate::store::state::{StackState, State, Task, TaskStatus};

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

struct Stack<'a> {
    name: &'a StackName,
    stack: &'a StackState,
    observed: &'a Observed,
    setting: &'a Setting,
    image: &'a str,
    now: Timestamp,
}

impl Stack<'_> {
    fn steps(&self, steps: &mut Vec<Step>, wanted: &mut BTreeSet<String>) {
        let over = self.stack.record.leaving
            && self.stack.services.is_empty()
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
                    steps.push(Step::PublishZone { stack, resolver, zone: Box::new(wanted) });
                }
            }
            None | Some(ContainerState::Created) => steps.push(Step::StartResolver { stack, spec: Box::new(spec) }),
            Some(_) => steps.push(Step::RemoveContainer { name: resolver }),
        }
    }

    /// The image that a container of ours was made from; the newest one while there is no such container.
    fn image_of(&self, name: &str) -> &str {
        self.observed.containers.get(name).map_or(self.image, |container| &container.image)
    }

    fn is_as_wanted(&self, spec: &ContainerSpec) -> bool {
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
        let pause = self.setting.pause_name(self.name, &task.id);
        let leaving = task.status == TaskStatus::Deprovisioning;
        if leaving {
            self.deprovision(task, network, vpc, &pause, steps, wanted);
            return;
        }
        wanted.insert(pause.clone());
        for definition in &task.definition.container_definitions {
            wanted.insert(self.setting.app_name(self.name, &task.id, &definition.name));
        }
        match self.observed.containers.get(&pause) {
            Some(container) if matches!(container.state, ContainerState::Running { .. }) => {
                let holder = HolderId::of(container);
                self.link(task, network, vpc, &pause, &holder, steps);
            }
            None | Some(crate::runtime::ObservedContainer { state: ContainerState::Created, .. })
                if task.status == TaskStatus::Provisioning =>
            {
                let spec = containers::task_pause(self.name, &self.stack.record, task, self.image, self.setting);
                steps.push(Step::HoldTask { spec: Box::new(spec), cgroup: self.setting.cgroup_of(task) });
            }
            Some(_) if task.status == TaskStatus::Provisioning => {
                steps.push(Step::RemoveContainer { name: pause });
            }
            _ => {}
        }
        if task.is_wanted() && matches!(task.status, TaskStatus::Pending | TaskStatus::Activating | TaskStatus::Running)
        {
            self.restart_containers(task, network, steps);
        }
        match task.status {
            TaskStatus::Pending => self.start_containers(task, network, steps),
            TaskStatus::Stopping => self.stop_containers(task, steps),
            _ => {}
        }
    }

    fn link(
        &self,
        task: &Task,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        pause: &str,
        holder: &HolderId,
        steps: &mut Vec<Step>,
    ) {
        let Some(network) = network.filter(|network| network.router.is_some()) else { return };
        let filtered = network.filter.as_ref().is_some_and(|f| f.enis.contains_key(&task.eni.id));
        let linked = network.links.get(&task.eni.id).and_then(Option::as_ref) == Some(holder);
        if filtered && !linked {
            steps.push(Step::LinkEni {
                stack: self.name.clone(),
                vpc: vpc.to_owned(),
                holder: pause.to_owned(),
                eni: Box::new(task.eni.clone()),
            });
        }
    }

    /// Whether what starts now has its network: the link may be lost again, with the VPC's holder.
    fn is_linked(&self, task: &Task, network: Option<&ObservedNetwork>) -> bool {
        let holder = self.observed.running(&self.setting.pause_name(self.name, &task.id));
        let link = network.and_then(|n| n.links.get(&task.eni.id)).and_then(Option::as_ref);
        matches!((&holder, link), (Some((holder, _)), Some(to)) if holder == to)
    }

    fn start_container(&self, task: &Task, definition: &ContainerDefinition) -> Step {
        // Its own deployment's: a container that is started again must be the one that it was.
        let service = self.stack.services.get(&task.service);
        let deployment = service.and_then(|s| s.deployments.iter().find(|d| d.id == task.deployment).or(s.primary()));
        let launch_type = deployment.map_or(LaunchType::Fargate, |d| d.service.launch_type);
        let record = &self.stack.record;
        let name = self.setting.app_name(self.name, &task.id, &definition.name);
        // A stub that is there was made of the image that was ours then.
        let image = if definition.stub { self.image_of(&name) } else { self.image };
        let spec = containers::app(self.name, record, task, launch_type, definition, image, self.setting);
        Step::StartContainer {
            stack: self.name.clone(),
            task: task.id.clone(),
            container: definition.name.clone(),
            spec: Box::new(spec),
        }
    }

    /// Those whose restart policy was found to hold: the same container again, in place (2.9).
    fn restart_containers(&self, task: &Task, network: Option<&ObservedNetwork>, steps: &mut Vec<Step>) {
        if !self.is_linked(task, network) {
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

    fn start_containers(&self, task: &Task, network: Option<&ObservedNetwork>, steps: &mut Vec<Step>) {
        let linked = self.is_linked(task, network);
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

    /// Containers, then the link, the filter's elements and the flows, and last what held the namespace.
    fn deprovision(
        &self,
        task: &Task,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        pause: &str,
        steps: &mut Vec<Step>,
        wanted: &mut BTreeSet<String>,
    ) {
        let apps = task.definition.container_definitions.iter();
        let mut apps = apps.map(|c| self.setting.app_name(self.name, &task.id, &c.name));
        let apps_left = apps.any(|name| self.observed.containers.contains_key(&name));
        if let Some(network) = network {
            let unlinked = matches!(network.links.get(&task.eni.id), Some(None));
            let filtered = network.filter.as_ref().is_none_or(|f| f.enis.contains_key(&task.eni.id));
            if !unlinked {
                steps.push(Step::UnlinkEni { stack: self.name.clone(), vpc: vpc.to_owned(), eni: task.eni.id.clone() });
            } else if !filtered && !self.observed.forgotten.contains(&task.id) {
                steps.push(Step::ForgetFlows {
                    stack: self.name.clone(),
                    vpc: vpc.to_owned(),
                    task: task.id.clone(),
                    addresses: task.eni.addresses.iter().map(|a| a.address).collect(),
                });
            }
        }
        // App containers are nobody's wish any more; the pause goes when they and the ENI are gone.
        if apps_left || !is_off_the_network(self.observed, self.setting, self.name, task) {
            wanted.insert(pause.to_owned());
        } else if !self.observed.containers.contains_key(pause)
            && !is_cleared(self.observed, self.setting, self.name, task)
        {
            steps.push(Step::RemoveRemains {
                task: task.id.clone(),
                volumes: mounts::own_volumes(self.setting, self.name, task),
                cgroup: self.setting.cgroup_of(task).map(|cgroup| cgroup.parent),
            });
        }
    }

    /// ENIs in the VPC that no task has.
    fn strays(&self, network: &ObservedNetwork, vpc: &str, steps: &mut Vec<Step>) {
        let held = self.stack.tasks.values().filter(|t| t.status != TaskStatus::Stopped);
        let held: BTreeSet<_> = held.map(|t| &t.eni.id).collect();
        let strays = network.links.iter().filter(|(eni, link)| link.is_some() && !held.contains(eni));
        steps.extend(strays.map(|(eni, _)| Step::UnlinkEni {
            stack: self.name.clone(),
            vpc: vpc.to_owned(),
            eni: eni.clone(),
        }));
    }
}
