//! What Docker and the kernel have, as one value that is only ever read back, never stored.
//!
//! Kept current by Docker's events and by what each step saw when it was done; a slow full look ([`crate::reconcile`])
//! is the safety net. `plan` reads it.

pub mod statistics;

use std::collections::{BTreeMap, BTreeSet};

use netmodes::ids::EniId;
use netmodes::security::group::Ruleset;
use netmodes::vpc::router::Router;

use crate::project::zone::Zone;
use crate::runtime::{ContainerState, ObservedContainer};
use crate::spec::ids::{StackName, TaskId};

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
    /// Tasks whose addresses have no tracked flow any more.
    pub forgotten: BTreeSet<TaskId>,
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
}

impl Observed {
    /// The holder's identity while it runs.
    pub fn running(&self, docker_name: &str) -> Option<(HolderId, i32)> {
        let container = self.containers.get(docker_name)?;
        let ContainerState::Running { pid } = container.state else { return None };
        Some((HolderId::of(container), pid))
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
