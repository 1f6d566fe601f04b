//! What a task definition asks of an instance.

use std::collections::BTreeSet;

use super::{HostPorts, Wish};
use crate::spec::ids::NetworkMode;
use crate::spec::placement::Placement;
use crate::spec::task_definition::{ContainerDefinition, TaskDefinition};

/// The wish of a task: the task's own cpu and memory, or else the sums of its containers', of whose memory the
/// reservation counts before the limit. Host ports count in host mode (all of them) and in bridge mode (fixed ones).
/// `zones` are those of its subnets, which bind a task in awsvpc alone.
pub fn wish_of(
    group: impl Into<String>,
    definition: &TaskDefinition,
    mode: NetworkMode,
    placement: &Placement,
    zones: Option<BTreeSet<String>>,
) -> Wish {
    let (cpu, memory) = resources_of(definition);
    let needs_eni = mode == NetworkMode::Awsvpc;
    Wish {
        group: group.into(),
        cpu,
        memory,
        fixed_ports: fixed_ports(definition, mode),
        needs_eni,
        constraints: placement.constraints.clone(),
        strategy: placement.strategy.clone(),
        zones: zones.filter(|_| needs_eni),
    }
}

/// CPU units and MiB that a task takes from its instance.
pub fn resources_of(definition: &TaskDefinition) -> (u32, u32) {
    let containers = &definition.container_definitions;
    let sum = |part: fn(&ContainerDefinition) -> u32| containers.iter().map(part).fold(0, u32::saturating_add);
    let memory = || sum(|c| c.memory_reservation.or(c.memory).unwrap_or(0));
    (definition.cpu.unwrap_or_else(|| sum(|c| c.cpu)), definition.memory.unwrap_or_else(memory))
}

fn fixed_ports(definition: &TaskDefinition, mode: NetworkMode) -> HostPorts {
    let ports = definition.port_mappings().filter_map(|mapping| {
        let port = match mode {
            NetworkMode::Host => Some(mapping.container_port),
            NetworkMode::Bridge => mapping.host_port.filter(|&port| port > 0),
            NetworkMode::Awsvpc | NetworkMode::None => None,
        };
        Some((mapping.protocol, port?))
    });
    ports.collect()
}
