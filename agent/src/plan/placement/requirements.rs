//! What an instance must have for a task: the part of placement that is binding (reference 1.7, 3.5, 5.5).

use super::{Candidate, Shortage, Wish, member_of};
use crate::spec::placement::Constraint;
use crate::spec::task_definition::TransportProtocol;

/// TCP ports of every instance that no task can have: SSH, Docker, and the container agent's own (1.7).
pub const RESERVED_PORTS: [u16; 5] = [22, 2375, 2376, 51678, 51679];

/// The most ports that an instance reserves, [`RESERVED_PORTS`] among them; dynamic ones do not count (1.7).
pub const MOST_RESERVED_PORTS: usize = 100;

/// Whether tasks of the wish may be on the instance whatever else is there: it is ACTIVE, in one of the zones, and every
/// `memberOf` holds. A DAEMON stops its task on an instance that is not eligible any more.
pub fn is_eligible(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    candidate.active && has_zone(wish, candidate) && is_member(wish, candidate)
}

/// Whether a task fits; cheap checks come first.
pub(super) fn fits(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    has_room(wish, candidate) && is_eligible(wish, candidate)
}

/// Everything that the instance lacks, in the order of [`Shortage`]; nothing when the task fits, DRAINING apart.
pub(super) fn shortages(wish: &Wish, candidate: &Candidate<'_>) -> Vec<Shortage> {
    [
        (Shortage::Agent, candidate.agent_connected),
        (Shortage::Attribute, has_zone(wish, candidate)),
        (Shortage::MemberOf, is_member(wish, candidate)),
        (Shortage::DistinctInstance, is_distinct(wish, candidate)),
        (Shortage::Cpu, has_cpu(wish, candidate)),
        (Shortage::Memory, has_memory(wish, candidate)),
        (Shortage::Port, has_ports(wish, candidate)),
        (Shortage::Eni, has_eni(wish, candidate)),
    ]
    .into_iter()
    .filter_map(|(shortage, holds)| (!holds).then_some(shortage))
    .collect()
}

/// Whether everything holds that tasks change.
fn has_room(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    candidate.agent_connected
        && has_cpu(wish, candidate)
        && has_memory(wish, candidate)
        && has_eni(wish, candidate)
        && has_ports(wish, candidate)
        && is_distinct(wish, candidate)
}

fn has_cpu(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    wish.cpu <= candidate.remaining_cpu
}

fn has_memory(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    wish.memory <= candidate.remaining_memory
}

fn has_eni(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    !wish.needs_eni || candidate.remaining_enis != Some(0)
}

fn has_ports(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    let is_free = |port: &(TransportProtocol, u16)| {
        let reserved = port.0 == TransportProtocol::Tcp && RESERVED_PORTS.contains(&port.1);
        !reserved && !candidate.fixed_ports.contains(port)
    };
    wish.fixed_ports.is_empty()
        || (wish.fixed_ports.iter().all(is_free)
            && RESERVED_PORTS.len() + candidate.fixed_ports.len() + wish.fixed_ports.len() <= MOST_RESERVED_PORTS)
}

fn has_zone(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    wish.zones.as_ref().is_none_or(|zones| zones.contains(candidate.availability_zone))
}

fn is_distinct(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    candidate.tasks_of(&wish.group) == 0 || !wish.constraints.contains(&Constraint::DistinctInstance)
}

fn is_member(wish: &Wish, candidate: &Candidate<'_>) -> bool {
    wish.constraints.iter().all(|constraint| match constraint {
        Constraint::DistinctInstance => true,
        Constraint::MemberOf(expression) => expression.holds(&member_of::Selected(candidate)),
    })
}
