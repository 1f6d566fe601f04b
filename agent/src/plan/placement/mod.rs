//! Which container instance a task goes to, and which tasks leave first (reference 3.5): pure, over what the caller counts.
//!
//! The scheduler makes a [`Wish`] of a deployment once and a [`Candidate`] of each container instance; [`place`] answers
//! with an instance or with the [`Refusal`] that becomes a service event. What a placed task takes from its instance is
//! the caller's to subtract before the next call, so that a call costs the same however many tasks there are.

mod capacity;
mod daemon;
mod evict;
mod member_of;
mod refusal;
mod requirements;
mod strategy;
#[cfg(test)]
mod tests;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::spec::placement::{Constraint, Strategy};
use crate::spec::task_definition::TransportProtocol;

pub use capacity::{NeededInstance, instance_type_for, needed_instance};
pub use daemon::{DaemonTargets, daemon_targets};
pub use evict::{Placed, evict_order};
pub use refusal::{Refusal, Shortage};
pub use requirements::{MOST_RESERVED_PORTS, RESERVED_PORTS, is_eligible};
pub use wish::{resources_of, wish_of};

/// The version of the container agent that `agentVersion` of a constraint is compared with: no instance here has one of
/// its own, so each passes for the one that the reference was read from.
pub const AGENT_VERSION: &str = "1.105.1";

/// A set of fixed host ports.
pub type HostPorts = BTreeSet<(TransportProtocol, u16)>;

/// A container instance, as placement sees it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Container instance id: 32 hex digits.
    pub id: &'a str,
    /// `i-…`.
    pub ec2_instance_id: &'a str,
    /// `us-east-1a`.
    pub availability_zone: &'a str,
    /// Its own and ECS's (`ecs.availability-zone`, `ecs.instance-type`, `ecs.os-type`, …).
    pub attributes: &'a BTreeMap<String, String>,
    /// CPU units that it registered.
    pub cpu: u32,
    /// MiB that it registered.
    pub memory: u32,
    /// CPU units that no task has.
    pub remaining_cpu: u32,
    /// MiB that no task has.
    pub remaining_memory: u32,
    /// ENIs that awsvpc tasks may still have; `None` where nothing bounds them (5.5).
    pub remaining_enis: Option<u32>,
    /// Fixed host ports that its tasks hold; neither dynamic ones nor [`RESERVED_PORTS`].
    pub fixed_ports: &'a HostPorts,
    /// How many tasks of each group (`service:NAME`) it has; a group without a task may be left out.
    pub tasks: &'a BTreeMap<String, u32>,
    /// RUNNING tasks of all groups.
    pub running_tasks: u32,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// Whether it is ACTIVE: neither DRAINING nor deregistered.
    pub active: bool,
    /// Whether its agent answers; a stopped instance's does not.
    pub agent_connected: bool,
}

/// What a task asks of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its group: `service:NAME`.
    pub group: String,
    /// CPU units.
    pub cpu: u32,
    /// MiB.
    pub memory: u32,
    /// Host ports that it needs by number.
    pub fixed_ports: HostPorts,
    /// Whether it gets an ENI of its own (awsvpc).
    pub needs_eni: bool,
    /// All of them must hold.
    pub constraints: Vec<Constraint>,
    /// In order; empty means spread over zones, as for every service (3.5).
    pub strategy: Vec<Strategy>,
    /// The zones of its awsvpc subnets; `None` where any will do.
    pub zones: Option<BTreeSet<String>>,
}

impl Candidate<'_> {
    /// Tasks of that group on it.
    pub fn tasks_of(&self, group: &str) -> u32 {
        self.tasks.get(group).copied().unwrap_or(0)
    }
}

/// Chooses the instance for one task: the constraints say which ones may be taken, the strategies narrow them down in
/// their order, and of those that are left the one with the fewest tasks of the group, then of all, then the smallest
/// id is taken. `chance(n)` gives a number below `n`, for the strategy `random`.
///
/// # Errors
/// When no instance will do; the refusal names the closest one and what it lacks.
pub fn place(
    wish: &Wish,
    candidates: &[Candidate<'_>],
    chance: &mut impl FnMut(usize) -> usize,
) -> Result<usize, Refusal> {
    let fit: Vec<usize> = (0..candidates.len()).filter(|&at| requirements::fits(wish, &candidates[at])).collect();
    strategy::choose(wish, candidates, fit, chance).ok_or_else(|| refusal::of(wish, candidates))
}
