//! What Docker and the kernel have, as one value that is only ever read back, never stored.
//!
//! Kept current by Docker's events and by what each step saw when it was done; a slow full look ([`crate::reconcile`])
//! is the safety net. `plan` reads it.

pub mod statistics;

use std::collections::{BTreeMap, BTreeSet};

use netmodes::bridge::{AttachmentId, PublishedPort};
use netmodes::ids::EniId;
use netmodes::security::group::Ruleset;
use netmodes::vpc::router::Router;
use serde::{Deserialize, Serialize};

use crate::plan::Setting;
use crate::project::metadata::Front;
use crate::project::zone::Zone;
use crate::runtime::{ContainerState, ObservedContainer};
use crate::spec::ids::{InstanceId, StackName, TaskId};
use crate::spec::task_definition::TransportProtocol;
use crate::store::state::State;

/// Everything observed.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The reference of the image made from our own binary, once it is in Docker.
    pub own_image: Option<String>,
    /// Containers that carry our owner's mark, by Docker name.
    pub containers: BTreeMap<String, ObservedContainer>,
    /// Images that were seen in Docker since it last started.
    pub images: BTreeSet<String>,
    /// What is known of each stack's network.
    pub networks: BTreeMap<StackName, ObservedNetwork>,
    /// What is known inside of each container instance.
    pub instances: BTreeMap<InstanceId, ObservedInstance>,
    /// ENIs whose addresses have no tracked flow any more.
    pub forgotten: BTreeSet<EniId>,
    /// Tasks whose containers have left nothing behind: their volumes and their cgroup are gone.
    pub cleared: BTreeSet<TaskId>,
    /// Pulls that run: reference, and where it stands.
    pub pulls: BTreeMap<String, String>,
    /// How many follow the flow log of a VPC; a stack that nobody follows is not in here.
    pub flow_log_followers: BTreeMap<StackName, usize>,
    /// Steps that failed and will be tried again: what the step is, and in whose words it failed.
    pub failing: BTreeMap<String, String>,
    /// Steps that run: what each is about ([`crate::plan::step::Step::object`]). What it will have made is not seen yet.
    pub under_way: BTreeSet<String>,
}

/// The namespace that a holder holds: another run of the same container holds another one (pitfall 10).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HolderId {
    /// Docker's id of the container.
    pub container: String,
    /// Its `StartedAt`.
    pub started_at: String,
}

/// What is known of a VPC's namespace.
#[derive(Debug, Clone, Default)]
pub struct ObservedNetwork {
    /// Whose namespace the rest is about; a change of holder voids it.
    pub holder: Option<HolderId>,
    /// The router that was brought there.
    pub router: Option<Router>,
    /// The ruleset that is in force.
    pub filter: Option<Ruleset>,
    /// ENIs that were linked, and to whose namespace; `None` means seen to be absent.
    pub links: BTreeMap<EniId, Option<HolderId>>,
    /// What the resolver serves, and which run of the resolver said so.
    pub zone: Option<(HolderId, Zone)>,
    /// What tasks are answered at 169.254.170.2, and which run of the resolver answers it.
    pub front: Option<(HolderId, Front)>,
}

/// What is known of the netns of a container instance.
#[derive(Debug, Clone, Default)]
pub struct ObservedInstance {
    /// Whose netns the rest is about; a change of holder voids it.
    pub holder: Option<HolderId>,
    /// Whether its bridge stands, with the settings and the address of the metadata front.
    pub bridged: bool,
    /// The host ports that lead to containers.
    pub ports: Option<BTreeSet<PublishedPort>>,
    /// Containers on its bridge, and whose netns each link leads to; `None` means seen to be absent.
    pub attachments: BTreeMap<AttachmentId, Option<HolderId>>,
    /// Ports that were found to be somebody else's.
    pub busy_ports: BTreeSet<(TransportProtocol, u16)>,
    /// What tasks are answered at 169.254.170.2, and which run of the front answers it.
    pub front: Option<(HolderId, Front)>,
}

impl Observed {
    /// The holder's identity while it runs.
    pub fn running(&self, docker_name: &str) -> Option<(HolderId, i32)> {
        let container = self.containers.get(docker_name)?;
        let ContainerState::Running { pid } = container.state else { return None };
        Some((HolderId::of(container), pid))
    }

    /// Has the fronts of some stacks published again: what answers is known no more.
    pub fn forget_fronts(&mut self, of: impl Fn(&StackName) -> bool) {
        for (_, network) in self.networks.iter_mut().filter(|(stack, _)| of(stack)) {
            network.front = None;
        }
        // An instance does not say whose it is; one publication more does no harm.
        for instance in self.instances.values_mut() {
            instance.front = None;
        }
    }

    /// Drops what was seen of tasks, ENIs and instances that are gone, or in the netns of a holder's earlier run.
    pub fn drop_stale(&mut self, state: &State, setting: &Setting) {
        let live: BTreeSet<_> = state.stacks().values().flat_map(|s| s.tasks.keys()).collect();
        self.cleared.retain(|task| live.contains(task));
        let held: BTreeSet<_> = state.stacks().values().flat_map(|s| s.enis().map(|eni| &eni.id)).collect();
        self.forgotten.retain(|eni| held.contains(eni));
        let mut known = BTreeSet::new();
        for (name, stack) in state.stacks() {
            let holder = self.running(&setting.vpc_name(name)).map(|(holder, _)| holder);
            let network = self.networks.entry(name.clone()).or_default();
            if network.holder != holder {
                *network = ObservedNetwork { holder, ..ObservedNetwork::default() };
            }
            // That something is absent is only of interest while somebody has it.
            network.links.retain(|eni, link| link.is_some() || held.contains(eni));
            for id in stack.instances.keys() {
                let holder = self.running(&setting.instance_name(name, id)).map(|(holder, _)| holder);
                let seen = self.instances.entry(id.clone()).or_default();
                if seen.holder != holder {
                    *seen = ObservedInstance { holder, ..ObservedInstance::default() };
                }
                let attached: BTreeSet<_> = stack
                    .tasks_on(id)
                    .flat_map(|task| task.attachments().map(|(_, attachment)| &attachment.id))
                    .collect();
                seen.attachments.retain(|id, link| link.is_some() || attached.contains(id));
                known.insert(id);
            }
        }
        self.instances.retain(|id, _| known.contains(id));
    }

    /// What is known inside of an instance, as long as its holder is still the one that it was seen in.
    pub fn instance(&self, id: &InstanceId, holder: &str) -> Option<&ObservedInstance> {
        let (running, _) = self.running(holder)?;
        self.instances.get(id).filter(|instance| instance.holder.as_ref() == Some(&running))
    }

    /// What is known of a stack's network, as long as its holder is still the one that it was seen in.
    pub fn network(&self, stack: &StackName, vpc_holder: &str) -> Option<&ObservedNetwork> {
        let (holder, _) = self.running(vpc_holder)?;
        self.networks.get(stack).filter(|network| network.holder.as_ref() == Some(&holder))
    }
}

impl HolderId {
    /// Of a container that was started.
    pub fn of(container: &ObservedContainer) -> Self {
        Self {
            container: container.id.0.clone(),
            started_at: container.started_at.map(|at| at.to_string()).unwrap_or_default(),
        }
    }
}
