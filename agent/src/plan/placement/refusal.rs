//! Why a task was placed nowhere, in the words of ECS's service events (reference 3.8).

use std::fmt;

use super::{Candidate, Wish, requirements};

/// No instance would do. Prints what follows `(service NAME) ` in the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no ACTIVE instance.
    NoInstances,
    /// The instance that came closest, and what it lacks.
    Closest {
        /// Container instance id.
        instance: String,
        /// The first thing that it lacks.
        shortage: Shortage,
    },
}

/// What an instance lacks, in the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// Its agent does not answer.
    Agent,
    /// It is in none of the zones of the task's subnets.
    Attribute,
    /// A `memberOf` does not hold.
    MemberOf,
    /// It has a task of the group already.
    DistinctInstance,
    /// CPU units.
    Cpu,
    /// MiB.
    Memory,
    /// A fixed host port is taken or reserved, or it would have more than a hundred of them.
    Port,
    /// All its ENIs are taken.
    Eni,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "encountered error \"AGENT\"",
            Self::Attribute => "is missing an attribute required by your task",
            Self::MemberOf => "encountered error \"MemberOf placement constraint unsatisfied.\"",
            Self::DistinctInstance => "encountered error \"DistinctInstance placement constraint unsatisfied.\"",
            Self::Cpu => "has insufficient CPU units available",
            Self::Memory => "has insufficient memory available",
            Self::Port => "is already using a port required by your task",
            Self::Eni => "encountered error \"RESOURCE:ENI\"",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("was unable to place a task because no container instance met all of its requirements. ")?;
        match self {
            Self::NoInstances => f.write_str("Reason: No Container Instances were found in your cluster.")?,
            Self::Closest { instance, shortage } => {
                write!(f, "The closest matching (container-instance {instance}) {shortage}.")?;
            }
        }
        f.write_str(" For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.")
    }
}

impl std::error::Error for Refusal {}

/// The refusal of a wish that fits nowhere. Closest is what lacks the fewest things; of several, what fails latest in
/// the order of [`Shortage`], then the smallest id.
pub(super) fn of(wish: &Wish, candidates: &[Candidate<'_>]) -> Refusal {
    let active = candidates.iter().filter(|candidate| candidate.active);
    let lacking = active.filter_map(|candidate| {
        let shortages = requirements::shortages(wish, candidate);
        let first = *shortages.first()?;
        Some((shortages.len(), std::cmp::Reverse(first), candidate.id))
    });
    match lacking.min() {
        Some((_, std::cmp::Reverse(shortage), id)) => Refusal::Closest { instance: id.to_owned(), shortage },
        None => Refusal::NoInstances,
    }
}
