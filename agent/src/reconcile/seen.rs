//! What was seen, folded into what is observed: the end of a step, an event of Docker's, the slow full look.
//!
//! What a step or an event told while a full look was under way is newer than what the look says.

use std::collections::{BTreeMap, BTreeSet};

use netmodes::bridge::{Attachment, ObservedInstance as InstanceLook};

use super::Reconciler;
use crate::apply::{NetworkLook, Seen};
use crate::observe::{HolderId, ObservedInstance, ObservedNetwork};
use crate::plan::step::FrontPlace;
use crate::project::fronts::INSTANCE_PORT;
use crate::runtime::ObservedContainer;
use crate::spec::ids::{InstanceId, StackName};
use crate::store::state::StackState;

impl Reconciler {
    pub(super) fn see(&mut self, seen: Seen) {
        match seen {
            Seen::OwnImage(image) => self.observed.own_image = Some(image),
            Seen::Container(name, container) => self.see_container(name, container),
            Seen::Image(image) => {
                self.observed.images.insert(image);
            }
            Seen::CannotStart { stack, task, container, reason } => {
                // An image may have been removed behind our back: look again before the next try.
                self.observed.images.clear();
                self.state.edit_task(&stack, &task, |record| {
                    let entry = record.containers.entry(container).or_default();
                    entry.stopped = true;
                    entry.reason = Some(reason);
                });
            }
            Seen::Router(stack, holder, router) => self.edit_network(&stack, &holder, |n| n.router = Some(router)),
            Seen::Filter(stack, holder, ruleset) => self.edit_network(&stack, &holder, |n| n.filter = Some(*ruleset)),
            Seen::Link(stack, holder, eni, owner) => self.edit_network(&stack, &holder, |n| {
                n.links.insert(eni, owner);
            }),
            Seen::Zone(stack, resolver, zone) => {
                if let Some(network) = self.observed.networks.get_mut(&stack) {
                    network.zone = Some((resolver, *zone));
                }
            }
            Seen::Bridge(instance, holder) => self.edit_instance(&instance, &holder, |seen| seen.bridged = true),
            Seen::Attachment(instance, holder, attachment, owner) => {
                self.edit_instance(&instance, &holder, |seen| {
                    seen.attachments.insert(attachment, owner);
                });
            }
            Seen::Ports(instance, holder, ports, busy) => self.edit_instance(&instance, &holder, |seen| {
                seen.ports = Some(ports);
                seen.busy_ports.extend(busy);
            }),
            Seen::Front(stack, FrontPlace::Vpc, server, front) => {
                if let Some(network) = self.observed.networks.get_mut(&stack) {
                    network.front = Some((server, *front));
                }
            }
            Seen::Front(_, FrontPlace::Instance(id), server, front) => {
                if let Some(seen) = self.observed.instances.get_mut(&id) {
                    seen.front = Some((server, *front));
                }
            }
            Seen::Forgotten(eni) => {
                self.observed.forgotten.insert(eni);
            }
            Seen::Cleared(task) => {
                self.observed.cleared.insert(task);
            }
            Seen::StackGone(stack) => {
                self.observed.networks.remove(&stack);
                self.state.remove_stack(&stack);
            }
        }
    }

    /// What is about a namespace counts only while that namespace is the one that is known.
    fn edit_network(&mut self, stack: &StackName, holder: &HolderId, edit: impl FnOnce(&mut ObservedNetwork)) {
        self.fresh_networks.insert(stack.clone());
        if let Some(network) = self.observed.networks.get_mut(stack)
            && network.holder.as_ref() == Some(holder)
        {
            edit(network);
        }
    }

    fn edit_instance(&mut self, id: &InstanceId, holder: &HolderId, edit: impl FnOnce(&mut ObservedInstance)) {
        self.fresh_instances.insert(id.clone());
        if let Some(seen) = self.observed.instances.get_mut(id)
            && seen.holder.as_ref() == Some(holder)
        {
            edit(seen);
        }
    }

    pub(super) fn see_container(&mut self, name: String, container: Option<Box<ObservedContainer>>) {
        self.fresh_containers.insert(name.clone());
        match container {
            Some(container) if self.observed.containers.get(&name).is_some_and(|known| is_stale(known, &container)) => {
            }
            Some(container) => {
                self.observed.containers.insert(name, *container);
            }
            None => {
                self.observed.containers.remove(&name);
            }
        }
    }

    /// Takes over a full list, but for what a step works on or was heard of meanwhile: the list is older than that.
    pub(super) fn see_all(&mut self, containers: Vec<ObservedContainer>) {
        let mut listed: BTreeMap<String, ObservedContainer> =
            containers.into_iter().map(|c| (c.name.clone(), c)).collect();
        let (fresh, under_way) = (&self.fresh_containers, &self.observed.under_way);
        let is_newer = |name: &String| fresh.contains(name) || under_way.contains(&format!("container {name}"));
        listed.retain(|name, _| !is_newer(name));
        self.observed.containers.retain(|name, _| is_newer(name));
        self.observed.containers.append(&mut listed);
    }

    pub(super) fn see_instance(&mut self, id: &InstanceId, holder: &HolderId, look: &InstanceLook) {
        let Some(seen) = self.observed.instances.get_mut(id).filter(|s| s.holder.as_ref() == Some(holder)) else {
            return;
        };
        let tasks = self.state.stacks().values().flat_map(|stack| stack.tasks_on(id));
        let attached: Vec<_> = tasks.flat_map(|task| task.attachments().map(|(_, attachment)| attachment)).collect();
        compare_instance(seen, look, &attached);
    }

    /// Compares what a VPC's namespace holds with what is known of it; what differs becomes unknown, and is planned again.
    pub(super) fn see_network(&mut self, stack: &StackName, look: &NetworkLook) {
        let Some(network) = self.observed.networks.get_mut(stack) else { return };
        if network.holder.as_ref() != Some(&look.holder) {
            return;
        }
        network.router.take_if(|router| !look.vpc.router_matches(router));
        let table = network.filter.as_ref().map(netmodes::security::ruleset::table);
        if table.is_some_and(|table| table != look.table) {
            tracing::warn!(%stack, "the filter is not what it should be; repairing");
            network.filter = None;
        }
        let enis = self.state.stack(stack).map(StackState::enis).into_iter().flatten();
        let intact: BTreeSet<_> = enis.filter(|eni| look.vpc.eni_matches(eni)).map(|eni| eni.id.clone()).collect();
        network.links.retain(|eni, link| link.is_none() || intact.contains(eni));
        for eni in look.vpc.enis.keys() {
            // An ENI that nobody knows: that it is there is enough for the plan to unlink it.
            network
                .links
                .entry(eni.clone())
                .or_insert_with(|| Some(HolderId { container: String::new(), started_at: String::new() }));
        }
    }
}

/// Compares what the netns of an instance holds with what is known of it; what differs becomes unknown, and is planned again.
fn compare_instance(seen: &mut ObservedInstance, look: &InstanceLook, attached: &[&Attachment]) {
    seen.bridged &= look.bridge_ready && look.metadata_port == Some(INSTANCE_PORT);
    seen.ports.take_if(|ports| *ports != look.ports);
    // Whose a port was is asked again when it is next wanted.
    seen.busy_ports.clear();
    let intact: BTreeSet<_> = attached.iter().filter(|a| look.attachment_matches(a)).map(|a| &a.id).collect();
    seen.attachments.retain(|id, link| link.is_none() || intact.contains(id));
}

/// Whether what was seen of a container is older than what is known of it: two looks may overtake each other.
fn is_stale(known: &ObservedContainer, seen: &ObservedContainer) -> bool {
    let ran_since = known.started_at > seen.started_at;
    let ended_since = known.started_at == seen.started_at && known.state.pid().is_none() && seen.state.pid().is_some();
    known.id == seen.id && (ran_since || ended_since)
}
