//! The steps that give a task its network and take it away, by network mode (reference 1.2, 1.7, 1.8).
//!
//! awsvpc: a holder, then the ENI's link once the filter knows it. bridge: a holder for each container (pitfall 27), its link
//! to the instance's bridge; the ports are the instance's ([`super::instance_steps`]). host and none: nothing of their own.

use std::collections::BTreeSet;

use netmodes::vpc::eni::Eni;

use super::network::{is_eni_gone, is_off_the_network, is_unpublished};
use super::step::Step;
use super::steps::Stack;
use super::tasks::is_cleared;
use super::{containers, mounts};
use crate::observe::{HolderId, ObservedNetwork};
use crate::runtime::{ContainerSpec, ContainerState};
use crate::store::task::{Task, TaskNetwork, TaskStatus};

impl Stack<'_> {
    /// What a task that is not on its way out needs of the network.
    pub(super) fn provision(
        &self,
        task: &Task,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        steps: &mut Vec<Step>,
        wanted: &mut BTreeSet<String>,
    ) {
        let holders = self.setting.holders_of(self.name, task);
        let pause = self.setting.pause_name(self.name, &task.id);
        if holders.contains(&pause) {
            let spec = || containers::task_pause(self.name, &self.stack.record, task, self.image, self.setting);
            if let (Some(holder), Some(eni)) = (self.hold(task, &pause, spec, steps), task.eni()) {
                self.link(eni, network, vpc, &pause, &holder, steps);
            }
        }
        wanted.extend(holders);
        match &task.network {
            TaskNetwork::Bridge { attachments, .. } => {
                for (name, attachment) in attachments {
                    let pause = self.setting.container_pause_name(self.name, &task.id, name);
                    let spec = || {
                        let record = &self.stack.record;
                        containers::container_pause(self.name, record, task, name, self.image, self.setting)
                    };
                    let Some(pause_holder) = self.hold(task, &pause, spec, steps) else { continue };
                    let Some(instance) = task.instance.clone() else { continue };
                    let holder = self.setting.instance_name(self.name, &instance);
                    let Some(seen) = self.observed.instance(&instance, &holder).filter(|seen| seen.bridged) else {
                        continue;
                    };
                    let linked = seen.attachments.get(&attachment.id).and_then(Option::as_ref);
                    if linked != Some(&pause_holder) {
                        let attachment = attachment.clone();
                        steps.push(Step::AttachContainer { instance, holder, pause, attachment });
                    }
                }
            }
            TaskNetwork::Awsvpc(_) | TaskNetwork::Host { .. } | TaskNetwork::None => {}
        }
    }

    /// A holder of a task's network: itself when it runs, else the step towards it.
    fn hold(
        &self,
        task: &Task,
        pause: &str,
        spec: impl Fn() -> ContainerSpec,
        steps: &mut Vec<Step>,
    ) -> Option<HolderId> {
        let provisioning = task.status == TaskStatus::Provisioning;
        match self.observed.containers.get(pause) {
            Some(container) if matches!(container.state, ContainerState::Running { .. }) => {
                return Some(HolderId::of(container));
            }
            None | Some(crate::runtime::ObservedContainer { state: ContainerState::Created, .. }) if provisioning => {
                steps.push(Step::HoldTask { spec: Box::new(spec()), cgroup: self.setting.cgroup_of(task) });
            }
            Some(_) if provisioning => steps.push(Step::RemoveContainer { name: pause.to_owned() }),
            _ => {}
        }
        None
    }

    /// Links an ENI to the netns of its holder, once the filter has it.
    pub(super) fn link(
        &self,
        eni: &Eni,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        pause: &str,
        holder: &HolderId,
        steps: &mut Vec<Step>,
    ) {
        let Some(network) = network.filter(|network| network.router.is_some()) else { return };
        let filtered = network.filter.as_ref().is_some_and(|f| f.enis.contains_key(&eni.id));
        let linked = network.links.get(&eni.id).and_then(Option::as_ref) == Some(holder);
        if filtered && !linked {
            steps.push(Step::LinkEni {
                stack: self.name.clone(),
                vpc: vpc.to_owned(),
                holder: pause.to_owned(),
                eni: Box::new(eni.clone()),
            });
        }
    }

    /// Takes an ENI off the VPC: link, the filter's elements, flows.
    pub(super) fn unlink(&self, eni: &Eni, network: Option<&ObservedNetwork>, vpc: &str, steps: &mut Vec<Step>) {
        let Some(network) = network else { return };
        let unlinked = matches!(network.links.get(&eni.id), Some(None));
        let filtered = network.filter.as_ref().is_none_or(|f| f.enis.contains_key(&eni.id));
        if !unlinked {
            steps.push(Step::UnlinkEni { stack: self.name.clone(), vpc: vpc.to_owned(), eni: eni.id.clone() });
        } else if !filtered && !self.observed.forgotten.contains(&eni.id) {
            steps.push(Step::ForgetFlows {
                stack: self.name.clone(),
                vpc: vpc.to_owned(),
                eni: eni.id.clone(),
                addresses: eni.addresses.iter().map(|a| a.address).collect(),
            });
        }
    }

    /// Containers, then what they had of the network, and last what held it.
    pub(super) fn deprovision(
        &self,
        task: &Task,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        steps: &mut Vec<Step>,
        wanted: &mut BTreeSet<String>,
    ) {
        let apps = task.definition.container_definitions.iter();
        let mut apps = apps.map(|c| self.setting.app_name(self.name, &task.id, &c.name));
        let apps_left = apps.any(|name| self.observed.containers.contains_key(&name));
        match &task.network {
            TaskNetwork::Awsvpc(attached) => self.unlink(&attached.eni, network, vpc, steps),
            TaskNetwork::Bridge { .. } => self.detach(task, steps),
            TaskNetwork::Host { .. } | TaskNetwork::None => {}
        }
        // App containers are nobody's wish any more; the holders go when they and the network are gone.
        let holders = self.setting.holders_of(self.name, task);
        if apps_left || !is_off_the_network(self.observed, self.setting, self.name, task) {
            wanted.extend(holders);
        } else if !holders.iter().any(|holder| self.observed.containers.contains_key(holder))
            && !is_cleared(self.observed, self.setting, self.name, task)
        {
            steps.push(Step::RemoveRemains {
                task: task.id.clone(),
                volumes: mounts::own_volumes(self.setting, self.name, task),
                cgroup: self.setting.cgroup_of(task).map(|cgroup| cgroup.parent),
            });
        }
    }

    /// Off its instance's bridge, once no port leads to it: a port that is used again must not find an old flow.
    fn detach(&self, task: &Task, steps: &mut Vec<Step>) {
        let (TaskNetwork::Bridge { attachments, .. }, Some(instance)) = (&task.network, &task.instance) else { return };
        let holder = self.setting.instance_name(self.name, instance);
        let Some(seen) = self.observed.instance(instance, &holder).filter(|seen| is_unpublished(seen, task)) else {
            return;
        };
        for attachment in attachments.values().filter(|a| seen.attachments.get(&a.id) != Some(&None)) {
            let (instance, holder) = (instance.clone(), holder.clone());
            steps.push(Step::DetachContainer { instance, holder, attachment: attachment.clone() });
        }
    }

    /// ENIs in the VPC that no task and no instance has.
    pub(super) fn strays(&self, network: &ObservedNetwork, vpc: &str, steps: &mut Vec<Step>) {
        let held: BTreeSet<_> = self.stack.enis().map(|eni| &eni.id).collect();
        let strays = network.links.iter().filter(|(eni, link)| link.is_some() && !held.contains(eni));
        steps.extend(strays.map(|(eni, _)| Step::UnlinkEni {
            stack: self.name.clone(),
            vpc: vpc.to_owned(),
            eni: eni.clone(),
        }));
    }

    /// Whether an ENI has left nothing in the VPC.
    pub(super) fn is_eni_gone(&self, eni: &Eni) -> bool {
        is_eni_gone(self.observed, self.setting, self.name, &eni.id)
    }
}
