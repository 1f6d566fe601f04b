//! The steps that make a container instance and keep its ports: holder, bridge, ENI, published ports.

use std::collections::BTreeSet;

use super::containers;
use super::step::{FrontPlace, Step};
use super::steps::Stack;
use crate::observe::{HolderId, ObservedInstance, ObservedNetwork};
use crate::project::{fronts, ports};
use crate::runtime::{ContainerState, ObservedContainer};
use crate::store::instance::Instance;

impl Stack<'_> {
    /// What is possible now towards an instance as its record says, or towards its end.
    pub(super) fn instance(
        &self,
        instance: &Instance,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        steps: &mut Vec<Step>,
        wanted: &mut BTreeSet<String>,
    ) {
        let name = self.setting.instance_name(self.name, &instance.id);
        let mut tasks = self.stack.tasks_on(&instance.id).peekable();
        let has_tasks = tasks.peek().is_some();
        // What was on a lost run is cleared away before there is another one.
        let is_clearing = tasks.any(|task| !task.is_wanted()) && instance.run.is_none();
        let front = self.setting.front_name(self.name, &instance.id);
        let front_left = self.observed.containers.contains_key(&front);
        if !has_tasks && (instance.leaving || !instance.wanted) {
            // The front first: a netns outlives its holder while anything is joined to it.
            if front_left {
                wanted.insert(name);
                return;
            }
            if instance.leaving && !self.is_eni_gone(&instance.network.eni) {
                if self.observed.containers.contains_key(&name) {
                    wanted.insert(name);
                }
                self.unlink(&instance.network.eni, network, vpc, steps);
            }
            return;
        }
        wanted.extend([name.clone(), front.clone()]);
        match self.observed.containers.get(&name) {
            Some(container) if matches!(container.state, ContainerState::Running { .. }) && !is_clearing => {
                let holder = HolderId::of(container);
                self.build(instance, network, vpc, &name, &holder, steps);
            }
            None | Some(ObservedContainer { state: ContainerState::Created, .. }) if is_clearing => {}
            None | Some(ObservedContainer { state: ContainerState::Created, .. }) => {
                let spec = containers::instance(self.name, &self.stack.record, instance, self.image, self.setting);
                steps.push(Step::HoldInstance { spec: Box::new(spec) });
            }
            Some(_) if front_left => steps.push(Step::RemoveContainer { name: front.clone() }),
            Some(_) => steps.push(Step::RemoveContainer { name }),
        }
    }

    fn build(
        &self,
        instance: &Instance,
        network: Option<&ObservedNetwork>,
        vpc: &str,
        name: &str,
        holder: &HolderId,
        steps: &mut Vec<Step>,
    ) {
        self.link(&instance.network.eni, network, vpc, name, holder, steps);
        let Some(seen) = self.observed.instance(&instance.id, name) else { return };
        if !seen.bridged {
            steps.push(Step::BuildBridge { instance: instance.id.clone(), holder: name.to_owned() });
            return;
        }
        let ports = ports::of_instance(self.stack, &instance.id, self.observed);
        if seen.ports.as_ref() != Some(&ports) {
            steps.push(Step::PublishPorts { instance: instance.id.clone(), holder: name.to_owned(), ports });
        }
        self.front(instance, seen, name, holder, steps);
    }

    /// Whether a container joined the run of its holder that there is now: a holder that was started again holds another netns.
    fn is_younger(&self, joined: &str, holder: &str) -> bool {
        let started = |name: &str| self.observed.containers.get(name).and_then(|c| c.started_at);
        started(joined) >= started(holder)
    }

    /// What answers the instance's tasks at 169.254.170.2.
    fn front(
        &self,
        instance: &Instance,
        seen: &ObservedInstance,
        name: &str,
        holder: &HolderId,
        steps: &mut Vec<Step>,
    ) {
        let server = self.setting.front_name(self.name, &instance.id);
        let of = |image: &str| containers::front(self.name, &instance.id, &holder.container, image, self.setting);
        match self.observed.containers.get(&server).map(|c| &c.state) {
            Some(ContainerState::Running { .. })
                if self.is_as_wanted(&of(self.image_of(&server))) && self.is_younger(&server, name) =>
            {
                let wanted = fronts::of_instance(self.scene(), instance);
                let run = self.observed.running(&server).map(|(run, _)| run);
                let answered = seen.front.as_ref().filter(|(by, _)| Some(by) == run.as_ref());
                if answered.map(|(_, front)| front) != Some(&wanted) {
                    let place = FrontPlace::Instance(instance.id.clone());
                    let front = Box::new(wanted);
                    steps.push(Step::PublishFront { stack: self.name.clone(), place, server, front });
                }
            }
            None | Some(ContainerState::Created) => steps.push(Step::StartFront {
                stack: self.name.clone(),
                instance: instance.id.clone(),
                spec: Box::new(of(self.image)),
            }),
            Some(_) => steps.push(Step::RemoveContainer { name: server }),
        }
    }
}
