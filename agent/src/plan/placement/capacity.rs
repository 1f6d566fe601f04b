//! Capacity that sizes itself: which instance is missing when a task fits on none (`capacity` left out of a stack).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Candidate, HostPorts, Wish, requirements};
use crate::spec::capacity::{InstanceType, attributes_of_ecs, in_family, known_instance_types};

/// The family that instances are of when nobody says otherwise.
const FAMILY: &str = "m5";

/// An instance that would take a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeededInstance<'a> {
    /// Where it goes.
    pub availability_zone: &'a str,
    /// What it is.
    pub instance_type: InstanceType,
}

/// The smallest m5 that an empty instance of which takes the task in that zone; where its constraints allow no m5, the
/// smallest type of all that they allow. `None` when no new instance would help: the task is larger than the largest, a
/// constraint wants an attribute that none would have, or a port is reserved on every instance. The new instance has to have
/// the attributes of [`attributes_of_ecs`] for this to be true of it.
pub fn instance_type_for(wish: &Wish, availability_zone: &str) -> Option<InstanceType> {
    let mut others: Vec<InstanceType> = known_instance_types().collect();
    others.sort_by_key(|known| (known.vcpus, known.memory));
    in_family(FAMILY).chain(others).find(|known| takes(wish, *known, availability_zone))
}

/// Which instance to add for a task that fits on none: in the zone that has the fewest ACTIVE instances, the earlier of
/// `zones` where several have; a zone in which no new instance would help is passed over.
pub fn needed_instance<'a>(
    wish: &Wish,
    candidates: &[Candidate<'_>],
    zones: &'a [String],
) -> Option<NeededInstance<'a>> {
    let mut instances: BTreeMap<&str, usize> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.active) {
        *instances.entry(candidate.availability_zone).or_default() += 1;
    }
    let mut by_need: Vec<&'a str> = zones.iter().map(String::as_str).collect();
    by_need.sort_by_key(|zone| instances.get(zone).copied().unwrap_or(0));
    by_need.into_iter().find_map(|availability_zone| {
        let instance_type = instance_type_for(wish, availability_zone)?;
        Some(NeededInstance { availability_zone, instance_type })
    })
}

/// Whether an empty instance of the type takes the task.
fn takes(wish: &Wish, instance_type: InstanceType, availability_zone: &str) -> bool {
    let attributes = attributes_of_ecs(availability_zone, Some(instance_type));
    let empty = Candidate {
        id: "",
        ec2_instance_id: "",
        availability_zone,
        attributes: &attributes,
        cpu: instance_type.cpu(),
        memory: instance_type.memory,
        remaining_cpu: instance_type.cpu(),
        remaining_memory: instance_type.memory,
        remaining_enis: None,
        fixed_ports: &HostPorts::new(),
        tasks: &BTreeMap::new(),
        running_tasks: 0,
        // As late as can be: a new instance is newer than whatever date a constraint names.
        registered_at: Timestamp::MAX,
        active: true,
        agent_connected: true,
    };
    requirements::fits(wish, &empty)
}
